//! Steps 8 and 12 over HTTP. Thin: extract, call, respond.

pub mod about;
pub mod approvals;
pub mod audit;
pub mod auth;
pub mod batch_page;
pub mod body;
pub mod delegations;
pub mod delegations_page;
pub mod events;
pub mod form;
pub mod freezes;
pub mod freezes_page;
pub mod grants;
pub mod grants_page;
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
