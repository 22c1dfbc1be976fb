//! Step 6: a caller whose token lacks a scope that the catalogue demands is denied, whatever the rules say.

use crate::decision::{Decision, Reason, Verdict};
use crate::envelope::CallEnvelope;

/// The rule id under which such a denial stands.
const RULE_ID: &str = "required_scopes";

/// What one reading came to and by what, once the caller's token has been looked at.
pub(super) fn of_reading<'d>(envelope: &CallEnvelope, verdict: Verdict, decided_by: &'d str) -> (Verdict, &'d str) {
    let lacks = !envelope.credential().missing_scopes.is_empty();
    match verdict {
        Verdict::Allow | Verdict::RequireApproval if lacks => (Verdict::Deny, RULE_ID),
        Verdict::Allow | Verdict::RequireApproval | Verdict::Deny => (verdict, decided_by),
    }
}

/// `decision`, or the denial that missing scopes make of it. Rules that deny anyway keep the first word: what they
/// conceal is not given away here.
pub(super) fn demanded(mut decision: Decision, envelope: &CallEnvelope) -> Decision {
    let missing = &envelope.credential().missing_scopes;
    if missing.is_empty() {
        return decision;
    }
    let named = missing.iter().map(|scope| format!("`{scope}`")).collect::<Vec<String>>().join(", ");
    let reason = Reason {
        rule_id: RULE_ID.to_owned(),
        text: format!("the caller's token lacks scopes that server `{}` demands here: {named}", envelope.server()),
        remediation: Some(format!("Call again with a token that carries all of {named}")),
    };
    match decision.verdict {
        Verdict::Deny => decision.reasons.push(reason),
        Verdict::Allow | Verdict::RequireApproval => {
            decision.verdict = Verdict::Deny;
            decision.approval = None;
            decision.reasons.insert(0, reason);
        }
    }
    decision
}
