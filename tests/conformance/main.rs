//! The official conformance suite: whatever it says of a server or a client directly, it says of the same through Envoy and
//! the filter. Steps 1 to 11.

mod suite;
mod switch;

mod client;
mod server;
