//! Answers on their way back through a real Envoy with two workers: lists, streams, what servers ask, what is too long.

mod call;

mod large;
mod lists;
mod replay;
mod server_requests;
mod streams;
