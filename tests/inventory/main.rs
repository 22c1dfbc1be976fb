//! What servers say of their tools, through a real Envoy with two workers: learned, pinned, shown to who approves, listed.
//!
//! The server here changes its tools while the gateway runs, as a server does that has been taken over.

mod server;

mod commands;
mod learned;
mod pinned;
mod sdk;
