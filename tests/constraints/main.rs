//! Each constraint of the policy, attacked by a caller or a server that tries to exceed it, on a real Envoy with two
//! workers. One module per kind of limit; `policy` is what all of them run under.

mod policy;

mod bounds;
mod budgets;
mod clock;
mod concurrency;
mod crash;
mod fleet;
mod output;
mod past;
mod runtime;
