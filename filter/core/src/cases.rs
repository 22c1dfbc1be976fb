//! Steps 3 to 6 with inputs from a file: `cases.yaml`, calls and the decision that is expected of each.
//!
//! One reader for `holdpoint policy test` and for the tests of this project, which also send the same calls through
//! Envoy. Reading is strict: a case that is misspelt must not pass by testing nothing.

mod expect;
mod past;
mod read;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::decision::Decision;
use crate::digest::Digest;
use crate::envelope::{Annotations, Call, CallEnvelope, RouteFacts};
use crate::identity::Principal;
use crate::mcp::{self, Head};
use crate::policy::PolicySnapshot;
use crate::yaml::Place;

pub use expect::{Difference, Expected, approvers, constraints};
pub use past::PastCalls;
pub use read::{read_call, read_cases};

/// One file of cases.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// The file of the policy they are about, relative to the file of cases.
    pub policy: String,
    pub cases: Vec<Case>,
}

/// One call and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub at: Place,
    pub name: String,
    pub call: CallAsSent,
    pub expected: Expected,
}

/// A call as Envoy would see it: bytes, headers, route and proven identity.
#[derive(Clone, Debug)]
pub struct CallAsSent {
    /// The body, a JSON-RPC message.
    pub body: String,
    /// Names in lower case, in the order they are sent.
    pub headers: Vec<(String, String)>,
    pub route: RouteFacts,
    pub principal: Principal,
    /// What the server's last `tools/list` said of the tool.
    pub annotations: Annotations,
    /// Digest of the definition in that list.
    pub definition: Option<Digest>,
    /// What ran before it, in that order.
    pub before: Vec<Earlier>,
}

/// A call that ran before another.
#[derive(Clone, Debug)]
pub struct Earlier {
    pub at: Place,
    pub call: CallAsSent,
    /// How long before.
    pub ago_ms: u64,
}

/// What became of a call under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Decided(Box<Decision>),
    /// It never got as far as a rule; the text says why.
    Refused(String),
}

impl CallAsSent {
    /// Reads and seals it under `snapshot`. The error says why the filter would refuse it before any rule.
    pub fn seal(&self, snapshot: &PolicySnapshot) -> Result<CallEnvelope, String> {
        let headers: Vec<(Vec<u8>, Vec<u8>)> =
            self.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect();
        let head = Head { method: b"POST", path: self.route.path.as_bytes(), headers: &headers };
        let message = mcp::read(&head, self.body.clone().into_bytes(), &crate::json::Limits::default())
            .map_err(|malformed| malformed.detail)?;
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let (principal, route, annotations) = (self.principal.clone().into(), self.route.clone(), self.annotations);
        let call = Call { message, principal, route, headers, annotations, definition: self.definition };
        snapshot.seal(call).map_err(|(_, error)| error.to_string())
    }

    /// What ran before it, as the filter would have it in mind. The error says why that cannot have run.
    pub fn past(&self, snapshot: &PolicySnapshot) -> Result<PastCalls, String> {
        PastCalls::of(&self.before, snapshot)
    }

    /// What the filter would do with it, were `snapshot` in force, nothing else running, and nothing run before but what
    /// is said here.
    pub fn judge(&self, snapshot: &PolicySnapshot) -> Judged {
        let sealed = self.seal(snapshot).and_then(|envelope| Ok((envelope, self.past(snapshot)?)));
        match sealed {
            Ok((envelope, past)) => {
                Judged::Decided(Box::new(Arc::unwrap_or_clone(snapshot.evaluate(&envelope, &past).decision)))
            }
            Err(why) => Judged::Refused(why),
        }
    }
}
