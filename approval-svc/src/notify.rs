//! Step 8: who is told what: events of approvals and freezes become notices, one for each channel that a route names.
//!
//! A notice is a row written in the transaction of what it tells of, so nothing happens untold and nothing is told that
//! did not happen. `courier` delivers them afterwards, at least once; `webhook` and `slack` know the two kinds of channel.

use std::sync::Arc;

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::freeze::Freeze;
use serde_json::{Value, json};

use crate::approvals::quorum::ANY_GROUP;
use crate::approvals::view::sentence;
use crate::store::row::Approval;
use crate::store::{ApprovalMove, Write};
use notice::{EventKind, Notice, NoticeState};
use settings::{Channel, NotifySettings, Route};

pub mod courier;
pub mod guard;
pub mod notice;
pub mod record;
pub mod settings;
pub mod slack;
pub mod webhook;

#[cfg(test)]
mod tests;

/// Longest text of somebody in a notice.
const TEXT_CHARS_MAX: usize = 300;
/// Most rules, tags or groups that a notice names.
const NAMES_MAX: usize = 8;
/// Longest body of a notice; receivers need not take more.
const BODY_BYTES_MAX: usize = 20_000;
/// Where the kinds of event are described.
const TYPE_PREFIX: &str = "dev.holdpoint";

/// Whom this service tells what.
#[derive(Clone, Debug, Default)]
pub struct Notify(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    settings: NotifySettings,
    /// Where browsers reach this service.
    public_url: Option<String>,
}

impl Notify {
    pub fn new(settings: NotifySettings, public_url: Option<&str>) -> Self {
        Self(Arc::new(Inner { settings, public_url: public_url.map(str::to_owned) }))
    }

    pub fn settings(&self) -> &NotifySettings {
        &self.0.settings
    }

    /// Whether anybody is told anything.
    pub fn is_configured(&self) -> bool {
        !self.0.settings.channels.is_empty()
    }

    /// What to write when a request is opened or escalates.
    pub fn asked(&self, event: EventKind, approval: &Approval, now_ms: u64) -> Vec<Write> {
        self.about(event, approval, now_ms)
    }

    /// What to write when an approval moves, if that is anything to be told.
    pub fn moved(&self, approval: &Approval, to: &ApprovalMove, broke_glass: bool) -> Vec<Write> {
        let event = match to.to {
            ApprovalStatus::Approved | ApprovalStatus::Denied | ApprovalStatus::Revoked => EventKind::Decided,
            ApprovalStatus::Expired
            | ApprovalStatus::Withdrawn
            | ApprovalStatus::Superseded
            | ApprovalStatus::Lapsed => EventKind::Expired,
            ApprovalStatus::Pending | ApprovalStatus::Consumed => return Vec::new(),
        };
        if !self.is_configured() {
            return Vec::new();
        }
        let after = Approval {
            status: to.to,
            reason: to.reason.clone().or_else(|| approval.reason.clone()),
            decided_by: to.decided_by.clone().or_else(|| approval.decided_by.clone()),
            ..approval.clone()
        };
        let glass = if broke_glass { self.about(EventKind::BrokenGlass, &after, to.at_ms) } else { Vec::new() };
        glass.into_iter().chain(self.about(event, &after, to.at_ms)).collect()
    }

    fn about(&self, event: EventKind, approval: &Approval, now_ms: u64) -> Vec<Write> {
        let subject = Subject::of(approval);
        let channels = self.0.settings.channels.iter().filter(|(name, channel)| {
            let routes = || self.0.settings.routes.iter().filter(|route| route.channels.contains(*name));
            let is_told = |event| routes().any(|route| route.takes(event, &subject));
            // A message that asks is changed when nobody is asked any more, whatever else its channel hears of.
            let asked = || is_told(EventKind::Opened) || is_told(EventKind::Escalated);
            is_told(event) || (channel.is_kept_true() && event.ends() && asked())
        });
        let url = self.page_of(&approval.id);
        let tenant = approval.asked.principal.tenant.as_deref();
        channels
            .map(|(channel, _)| {
                let data = |is_short| self.data(event, approval, url.as_deref(), is_short);
                self.write(channel, event, Some(&approval.id), tenant, data, now_ms)
            })
            .collect()
    }

    /// What to write when something is stopped or goes on.
    pub fn freeze(&self, freeze: &Freeze, status: &str, by: &str, now_ms: u64) -> Vec<Write> {
        let scope = &freeze.scope;
        let told = |name: &String| {
            let named = |route: &&Route| route.channels.contains(name);
            self.0.settings.routes.iter().filter(named).any(|route| route.takes_freeze(scope.server.as_deref()))
        };
        let data = |_: bool| {
            let sentence = match status {
                "lifted" => format!("{} goes on: lifted by {by}", scope),
                _ => format!("{} is stopped everywhere by {by}", scope),
            };
            json!({
                "event": EventKind::Freeze, "status": status, "sentence": clipped(&sentence),
                "freeze_id": freeze.id, "server": scope.server, "tool": scope.tool, "principal": scope.principal,
                "by": by, "reason": clipped(&freeze.reason), "url": self.0.public_url,
            })
        };
        let channels = self.0.settings.channels.keys().filter(|name| told(name));
        channels.map(|channel| self.write(channel, EventKind::Freeze, None, None, data, now_ms)).collect()
    }

    /// A notice that tells nothing but that it arrives; `None` where there is no such channel.
    pub fn test(&self, channel: &str, by: &str, now_ms: u64) -> Option<Notice> {
        let (name, _) = self.0.settings.channels.get_key_value(channel)?;
        let data = |_: bool| {
            let sentence = format!("A test by {by}: notices of Holdpoint arrive here.");
            json!({"event": EventKind::Test, "sentence": clipped(&sentence), "by": by, "url": self.0.public_url})
        };
        Some(self.notice(name, EventKind::Test, None, None, data, now_ms))
    }

    /// The page on which an approval is decided.
    fn page_of(&self, id: &str) -> Option<String> {
        self.0.public_url.as_ref().map(|base| format!("{base}/approvals/{id}"))
    }

    fn write(
        &self,
        channel: &str,
        event: EventKind,
        approval_id: Option<&str>,
        tenant: Option<&str>,
        data: impl Fn(bool) -> Value,
        now_ms: u64,
    ) -> Write {
        Write::AddNotice(Box::new(self.notice(channel, event, approval_id, tenant, data, now_ms)))
    }

    /// The body is a CloudEvent, so that receivers find in it what they look for. `data` says less when asked to be short.
    fn notice(
        &self,
        channel: &str,
        event: EventKind,
        approval_id: Option<&str>,
        tenant: Option<&str>,
        data: impl Fn(bool) -> Value,
        now_ms: u64,
    ) -> Notice {
        // Grows with time: notices of one approval to one channel are delivered in this order.
        let id = format!("msg_{}", uuid::Uuid::now_v7().simple());
        let body = |is_short| {
            json!({
                "specversion": "1.0", "id": id, "type": format!("{TYPE_PREFIX}.{}", event.type_name()),
                "source": self.0.public_url.as_deref().unwrap_or("holdpoint"),
                "subject": approval_id, "time": crate::text::rfc3339(now_ms),
                "datacontenttype": "application/json", "data": data(is_short),
            })
            .to_string()
        };
        let body = match body(false) {
            long if long.len() > BODY_BYTES_MAX => body(true),
            body => body,
        };
        Notice {
            channel: channel.to_owned(),
            event,
            approval_id: approval_id.map(str::to_owned),
            tenant: tenant.map(str::to_owned),
            body,
            created_at_ms: now_ms,
            state: NoticeState::Waiting,
            tries: 0,
            next_try_ms: now_ms,
            ended_at_ms: None,
            trouble: None,
            receipt: None,
            id,
        }
    }

    /// What a receiver may know of an approval: never its arguments.
    fn data(&self, event: EventKind, approval: &Approval, url: Option<&str>, is_short: bool) -> Value {
        let asked = &approval.asked;
        if is_short {
            return json!({"event": event, "approval_id": approval.id, "status": approval.status, "url": url});
        }
        let groups = match (event, &asked.requirement.escalation) {
            (EventKind::Escalated, Some(next)) => &next.all_of,
            _ => &asked.requirement.all_of,
        };
        let rules = asked.reasons.iter().take(NAMES_MAX);
        let rules: Vec<Value> =
            rules.map(|rule| json!({"id": clipped(&rule.rule_id), "text": clipped(&rule.text)})).collect();
        json!({
            "event": event, "approval_id": approval.id, "status": approval.status,
            "sentence": clipped(&sentence(approval)),
            "requester": {"issuer": clipped(&asked.principal.issuer), "subject": clipped(&asked.principal.subject),
                          "agent_id": asked.principal.agent_id.as_deref().map(clipped)},
            "tenant": asked.principal.tenant.as_deref().map(clipped),
            "server": clipped(&asked.server), "method": clipped(&asked.method),
            "target": asked.target.as_deref().map(clipped), "rules": rules,
            "risk_tags": asked.envelope.meta.risk_tags.iter().take(NAMES_MAX).map(|tag| clipped(tag)).collect::<Vec<_>>(),
            "approvers": groups.iter().take(NAMES_MAX).collect::<Vec<_>>(),
            "expires_at_ms": approval.expires_at_ms, "decided_by": approval.decided_by.as_deref().map(clipped),
            "reason": approval.reason.as_deref().map(clipped), "call_digest": asked.call_digest, "url": url,
        })
    }
}

/// What routes look at.
struct Subject<'a> {
    groups: Vec<&'a ApproverGroup>,
    escalated_to: Vec<&'a ApproverGroup>,
    server: &'a str,
    tenant: Option<&'a str>,
    risk_tags: Vec<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(approval: &'a Approval) -> Self {
        let asked = &approval.asked;
        Self {
            groups: asked.requirement.all_of.iter().collect(),
            escalated_to: asked.requirement.escalation.iter().flat_map(|next| &next.all_of).collect(),
            server: &asked.server,
            tenant: asked.principal.tenant.as_deref(),
            risk_tags: asked.envelope.meta.risk_tags.iter().map(String::as_str).collect(),
        }
    }
}

impl Route {
    fn takes(&self, event: EventKind, subject: &Subject<'_>) -> bool {
        // Those who are asked: at first the rule's own groups, by escalation the further ones, in the end all of them.
        let asked: Vec<&ApproverGroup> = match event {
            EventKind::Opened => subject.groups.clone(),
            EventKind::Escalated => subject.escalated_to.clone(),
            EventKind::BrokenGlass | EventKind::Decided | EventKind::Expired | EventKind::Freeze | EventKind::Test => {
                subject.groups.iter().chain(&subject.escalated_to).copied().collect()
            }
        };
        let is_ours = |group: &&ApproverGroup| group.group == ANY_GROUP || self.groups.contains(&group.group);
        self.events.contains(&event)
            && (self.groups.is_empty() || asked.iter().any(is_ours))
            && (self.servers.is_empty() || self.servers.iter().any(|glob| glob.matches(subject.server)))
            && (self.tenants.is_empty() || subject.tenant.is_some_and(|tenant| self.tenants.contains(tenant)))
            && (self.risk_tags.is_empty() || subject.risk_tags.iter().any(|tag| self.risk_tags.contains(*tag)))
    }

    /// What is stopped everywhere concerns every group; a route for some servers hears of those, and of what names none.
    fn takes_freeze(&self, server: Option<&str>) -> bool {
        let is_server_ours =
            server.is_none_or(|server| self.servers.is_empty() || self.servers.iter().any(|glob| glob.matches(server)));
        self.events.contains(&EventKind::Freeze) && self.tenants.is_empty() && is_server_ours
    }
}

impl Channel {
    /// Whether its messages are changed when what they say is over.
    fn is_kept_true(&self) -> bool {
        match self {
            Self::Slack(_) => true,
            Self::Webhook(_) => false,
        }
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
