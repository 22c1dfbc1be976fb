//! Step 6: a tool whose definition is not the one that the catalogue pins is denied or put before people, whatever the
//! rules say. Step 11: and in lists.

use std::collections::BTreeSet;

use super::compile::PolicySnapshot;
use super::document::Pin;
use crate::decision::{ApprovalRequirement, Decision, Reason, Verdict};
use crate::definition::DefinitionKind;
use crate::digest::Digest;
use crate::envelope::CallEnvelope;

/// The rule id under which a pin decides.
pub const PIN_RULE_ID: &str = "pinned_definition";

/// How the definition that was seen stands to the pinned ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinStanding {
    AsPinned,
    Changed,
    /// No list with the tool has been seen.
    Unseen,
}

impl Pin {
    /// How `seen` stands to it.
    pub fn standing(&self, seen: Option<Digest>) -> PinStanding {
        match seen {
            Some(seen) if self.digests.contains(&seen) => PinStanding::AsPinned,
            Some(_) => PinStanding::Changed,
            None => PinStanding::Unseen,
        }
    }

    /// The least strict verdict that calls get.
    fn demands(&self, standing: PinStanding) -> Verdict {
        match standing {
            PinStanding::AsPinned => Verdict::Allow,
            PinStanding::Changed => self.on_change,
            PinStanding::Unseen => self.on_unseen,
        }
    }
}

/// `decision`, or what a pin makes of it. Rules that are stricter keep the first word: what they conceal is not given
/// away here.
pub(super) fn demanded(mut decision: Decision, envelope: &CallEnvelope) -> Decision {
    let Some(pin) = envelope.pin() else { return decision };
    let standing = pin.standing(envelope.call().definition);
    let demanded = pin.demands(standing);
    if demanded == Verdict::Allow {
        return decision;
    }
    let reason = reason(standing, envelope);
    if demanded == Verdict::RequireApproval && decision.verdict != Verdict::Deny {
        let both = decision.approval.iter().chain([&pin.approval]);
        decision.approval = Some(ApprovalRequirement::all_together(both));
    }
    if demanded > decision.verdict {
        decision.verdict = demanded;
        decision.reasons.insert(0, reason);
    } else {
        decision.reasons.push(reason);
    }
    if decision.verdict == Verdict::Deny {
        decision.approval = None;
    }
    decision
}

fn reason(standing: PinStanding, envelope: &CallEnvelope) -> Reason {
    let (tool, server) = (envelope.target().unwrap_or_default(), envelope.server());
    let (text, remediation) = match standing {
        PinStanding::AsPinned => ("its definition is the pinned one".to_owned(), None),
        PinStanding::Changed => (
            format!("server `{server}` now describes tool `{tool}` in another way than the policy knows"),
            Some("Do not work around this: someone has to look at the new definition and pin it".to_owned()),
        ),
        PinStanding::Unseen => (
            format!("how server `{server}` describes tool `{tool}` has not been seen since the gateway started"),
            Some("List the tools of this server (tools/list), then call again".to_owned()),
        ),
    };
    Reason { rule_id: PIN_RULE_ID.to_owned(), text, remediation }
}

impl PolicySnapshot {
    /// Whether the catalogue pins a definition of this tool.
    pub fn pins(&self, server: &str, tool: &str) -> bool {
        self.pin(server, tool).is_some()
    }

    /// The definitions of this tool that the catalogue pins.
    pub fn pinned(&self, server: &str, tool: &str) -> BTreeSet<Digest> {
        self.pin(server, tool).map(|pin| pin.digests.clone()).unwrap_or_default()
    }

    /// Whether the catalogue says of this tool, resource, template or prompt what it means.
    pub fn names(&self, server: &str, kind: DefinitionKind, name: &str) -> bool {
        let Some(server) = self.catalogue.server(server) else { return false };
        let listing = match kind {
            DefinitionKind::Tool => &server.tools,
            DefinitionKind::Resource | DefinitionKind::ResourceTemplate => &server.resources,
            DefinitionKind::Prompt => &server.prompts,
        };
        !listing.look_up(name).is_empty()
    }

    /// Whether no call of a tool that is defined like this could pass, for it is not the pinned definition.
    pub fn pin_denies(&self, server: &str, tool: &str, seen: Digest) -> bool {
        let pin = self.pin(server, tool);
        pin.is_some_and(|pin| pin.demands(pin.standing(Some(seen))) == Verdict::Deny)
    }

    fn pin(&self, server: &str, tool: &str) -> Option<&Pin> {
        let server = self.catalogue.server(server)?;
        server.tools.look_up(tool).into_iter().find_map(|listed| listed.pin.as_ref())
    }
}
