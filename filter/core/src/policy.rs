//! Step 6: the policy, from text to decision: document → snapshot → evaluate.
//!
//! `PolicyDocument` is the policy as written and checked value by value; `compile` makes the `PolicySnapshot` that
//! seals calls (step 5) and decides them. File, Envoy configuration, tests and replay all go this one way.

mod document;
mod glob;
mod member;
mod number;
mod pointer;
mod template;
mod truth;

mod canonical;
mod catalogue;
mod compile;

mod bases;
mod bounds;
mod condition;
mod evaluate;
mod index;
mod pins;
mod scopes;
mod trace;

mod may_ever;
mod past;
mod server_request;
mod strictest_answer;

mod lint;

#[cfg(test)]
pub(crate) mod tests;

pub use catalogue::ServerError;
pub use compile::{PolicySnapshot, compile};
pub use document::{
    AFTER_MS_MAX, ActionClass, After, BeforeStart, Bound, Credential, Entry, Match, Pin, PolicyDocument,
    RESERVED_RULE_IDS, RateWindow, Recognition, Rule, RuleConstraints, Scalar, Selection, Server, VERSIONS, ValueTest,
    read_candidate, read_document, read_file,
};
pub use glob::Glob;
pub use lint::{Finding, annotated, lint};
pub use may_ever::Onlooker;
pub use number::Number;
pub use past::{NoUsage, Past, UnknownUsage, UsageView};
pub use pins::{PIN_RULE_ID, PinStanding};
pub use pointer::{Pointer, Segment};
pub use server_request::ServerRequestDecision;
pub use template::{DotSegment, Fact, Template};
pub use trace::{ConditionTrace, Effect, ReadingTrace, RuleTrace, Trace};
pub use truth::Truth;

pub(crate) use catalogue::{CatalogueServer, Listed, Listing};
pub(crate) use document::CREDENTIAL_HEADERS;
