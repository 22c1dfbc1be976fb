//! Step 8: a button pressed in Slack, proven to come from Slack, by somebody whom the settings know.

use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{APPROVE, Buttons, DENY, Slack, digest_prefix};
use crate::approvals::review::{ReviewBody, ReviewError};
use crate::approvals::{Approvals, ReviewVerdict};
use crate::delegations;
use crate::notify::settings::{Channel, NotifySettings};
use crate::notify::webhook::mac;
use crate::store::StoreError;
use crate::tokens::{Credential, Proof, Role};
use holdpoint_core::digest::hex_encode;

/// How far Slack's clock and ours may be apart.
const SKEW_SECONDS_MAX: u64 = 300;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    #[error("the signature is none of a Slack channel with buttons, or is too old")]
    Signature,
    #[error("the message is not of a kind that this service asks for")]
    Shape,
    #[error("nobody here stands for your user in Slack (`{0}`): an operator can name you under `people`")]
    Stranger(String),
    #[error("this button is of another channel")]
    Elsewhere,
    #[error("this call is decided on its page only")]
    PageOnly,
    #[error("the button is of another call: open its page")]
    Changed,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was pressed.
#[derive(Debug)]
pub struct Pressed<'a> {
    pub slack: &'a Slack,
    buttons: &'a Buttons,
    pub user: String,
    channel: String,
    verdict: ReviewVerdict,
    approval_id: String,
    digest_prefix: String,
}

/// The channel whose secret signed these bytes, as they came.
pub fn verified<'a>(
    settings: &'a NotifySettings,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now_ms: u64,
) -> Result<(&'a Slack, &'a Buttons), ActionError> {
    let seconds: u64 = timestamp.parse().map_err(|_| ActionError::Signature)?;
    if seconds.abs_diff(now_ms / 1_000) > SKEW_SECONDS_MAX {
        return Err(ActionError::Signature);
    }
    let base = [b"v0:", timestamp.as_bytes(), b":", body].concat();
    let channels = settings.channels.values().filter_map(|channel| match channel {
        Channel::Slack(slack) => slack.buttons.as_ref().map(|buttons| (slack, buttons)),
        Channel::Webhook(_) => None,
    });
    let mut signed = channels.filter(|(_, buttons)| {
        let own = format!("v0={}", hex_encode(&mac(buttons.signing_secret.text().as_bytes(), &base)));
        own.as_bytes().ct_eq(signature.as_bytes()).into()
    });
    // Channels of one workspace share its app, and so its secret; which of them it was, the message says.
    signed.next().ok_or(ActionError::Signature)
}

/// Reads what was pressed; `None` for what needs no answer, such as a link.
pub fn pressed<'a>(
    settings: &'a NotifySettings,
    (slack, buttons): (&'a Slack, &'a Buttons),
    payload: &str,
) -> Result<Option<Pressed<'a>>, ActionError> {
    let payload: Value = serde_json::from_str(payload).map_err(|_| ActionError::Shape)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(ActionError::Shape);
    let action = &payload["actions"][0];
    let verdict = match action["action_id"].as_str() {
        Some(APPROVE) => ReviewVerdict::Approve,
        Some(DENY) => ReviewVerdict::Deny,
        _ => return Ok(None),
    };
    let value = text(&action["value"])?;
    let (approval_id, digest_prefix) = value.split_once(':').ok_or(ActionError::Shape)?;
    let channel = text(&payload["channel"]["id"])?;
    let here = settings.channels.values().find_map(|other| match other {
        Channel::Slack(other) if other.channel == channel => {
            let theirs = other.buttons.as_ref()?;
            (theirs.signing_secret == buttons.signing_secret).then_some((other, theirs))
        }
        Channel::Slack(_) | Channel::Webhook(_) => None,
    });
    let (slack, buttons) = here.unwrap_or((slack, buttons));
    Ok(Some(Pressed {
        slack,
        buttons,
        user: text(&payload["user"]["id"])?,
        channel,
        verdict,
        approval_id: approval_id.to_owned(),
        digest_prefix: digest_prefix.to_owned(),
    }))
}

impl Pressed<'_> {
    /// Takes it as the review of whom the user stands for: by the same rules as any other.
    pub async fn decide(&self, approvals: &Approvals) -> Result<(), ActionError> {
        if self.channel != self.slack.channel {
            return Err(ActionError::Elsewhere);
        }
        let person = self.buttons.people.get(&self.user).ok_or_else(|| ActionError::Stranger(self.user.clone()))?;
        let mut reviewer = Credential {
            role: Role::Approver,
            issuer: person.issuer.clone(),
            subject: person.subject.clone(),
            groups: person.groups.clone(),
            tenant: person.tenant.clone(),
            client_id: None,
            proof: Proof::Nothing,
            lent: Vec::new(),
        };
        reviewer.lent = delegations::lent_to(&*approvals.store, &reviewer.person()).await?;
        let Some(approval) = approvals.store.approval(&self.approval_id).await? else {
            return Err(ReviewError::NotFound(self.approval_id.clone()).into());
        };
        if self.verdict == ReviewVerdict::Approve && !self.buttons.may_decide(&approval) {
            return Err(ActionError::PageOnly);
        }
        // The message showed the whole call, and its digest names it.
        if self.digest_prefix != digest_prefix(&approval) {
            return Err(ActionError::Changed);
        }
        let reason = match self.verdict {
            ReviewVerdict::Approve => None,
            ReviewVerdict::Deny => Some(format!("denied in Slack by {}, without further words", person.subject)),
        };
        let body =
            ReviewBody { verdict: self.verdict, call_digest: Some(approval.asked.call_digest), reason, scope: None };
        approvals.review(&self.approval_id, &reviewer, &body, None).await?;
        Ok(())
    }
}
