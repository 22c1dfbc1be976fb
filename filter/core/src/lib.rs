//! The pure heart of Holdpoint: reads MCP, seals envelopes, judges them, binds approvals, shapes the record.
//!
//! Same inputs, same answers: no clock, no IO, no environment, no randomness, no threads, no globals. Time (Unix
//! milliseconds), counters and bytes are arguments. Modules stand in the order to read them, which is the order in
//! which a message meets them.

pub mod order;

pub mod digest;
pub mod json;
pub mod mcp;
pub mod trace_parent;

pub mod identity;

pub mod definition;
pub mod envelope;
pub mod secrets;

pub mod decision;
pub mod edits;
pub mod redact;
pub mod yaml;

pub mod policy;

pub mod approval;
pub mod fleet;
pub mod freeze;

pub mod audit;

pub mod config;
pub mod in_force;
pub mod inventory;
pub mod wire;

pub mod cases;
pub mod simulate;

pub mod candidate;
