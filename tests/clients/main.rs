//! Software that nobody here wrote, around a real Envoy with the filter: other people's clients, other people's servers.

mod client_script;
mod scripts;

mod agents;
mod examples;
mod story;
mod waits;

mod server_calls;
mod server_process;
mod server_speaks;
mod servers;
