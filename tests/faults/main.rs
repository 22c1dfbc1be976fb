//! What breaks, and what then happens: nothing runs that was not approved, nothing runs twice, nothing is lost without a
//! word. One file per part that fails; `tests/README.md` has the table.

mod clients;
mod clock;
mod gateway;
mod seen;
mod server;
mod service;
mod soak;
mod storage;
