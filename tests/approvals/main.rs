//! Approvals people can trust, as one suite: what a grant is bound to, and who wins each race. Steps 8 and 9.
//!
//! `matrix` is what the mesh's own users ask of an approval: bound to {caller, server, tool, arguments, policy, expiry},
//! a changed digest is rejected, a changed policy or an expiry goes back to people, and a timeout leaves a denial that
//! names the original decision. `races` sets two of them against each other. Beside these stand, for the same promises:
//! the model-based walks of `approval-svc/src/approvals/model.rs`, the whole path in `tests/e2e/held.rs`, the faults of
//! `tests/e2e/service_faults.rs`.

mod gateway;

mod described;
mod freeze;
mod grants;
mod ladder;
mod matrix;
mod notices;
mod oidc;
mod owner;
mod races;
mod signed;
mod slack;
