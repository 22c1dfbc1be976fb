//! Steps 8 and 12 over HTTP. Thin: extract, call, respond.

pub mod about;
pub mod approvals;
pub mod audit;
pub mod auth;
pub mod body;
pub mod delegations;
pub mod events;
pub mod freezes;
pub mod grants;
pub mod history;
pub mod holds;
pub mod notices;
pub mod pages;
pub mod policies;
pub mod prefer;
pub mod problem;
pub mod requester;
pub mod session;
pub mod slack;
pub mod status;
