//! The policy enforcement point: a proxy-wasm filter that judges MCP calls inside Envoy and holds the risky ones.
//!
//! Modules stand in the order to read them. Only `host` knows Envoy; all else is plain code with native tests, which
//! would not link if it reached a host call.
#![deny(unsafe_code)]

pub mod definitions;
pub mod enforce;
pub mod exchange;
pub mod identity;
pub mod past;
pub mod refusal;
pub mod session;
pub mod shared_table;
pub mod standing;
pub mod usage;

pub mod audit_buffer;
pub mod candidate_table;
pub mod desk;
pub mod inventory_buffer;
pub mod line;
pub mod lists;
pub mod metrics;
pub mod queue;
pub mod worker;

#[cfg(any(test, target_arch = "wasm32"))]
mod allocator;
#[cfg(target_arch = "wasm32")]
mod host;
