//! A real MCP server and client around the main path: a small issue tracker, and an agent that uses it.
//!
//! `tracker` is what the server does, `recorder` keeps what reached it, `mcp_server` serves both, `mcp_client` calls them.

pub mod mcp_client;
pub mod mcp_server;
pub mod recorder;
pub mod tracker;
