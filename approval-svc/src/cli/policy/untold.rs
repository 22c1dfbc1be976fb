//! Rules whose approvers nobody tells that they are asked, by a notify file. Before step 6.

use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::policy::{Finding, PolicyDocument, Rule};

use crate::notify::notice::EventKind;
use crate::notify::settings::NotifySettings;

const LINT: &str = "nobody-notified";

/// One warning for each group of a rule that no route reaches, in the order of the rules.
pub fn lint(document: &PolicyDocument, notify: &NotifySettings) -> Vec<Finding> {
    document.rules.iter().filter(|rule| !rule.is_observed).flat_map(|rule| of_rule(rule, notify)).collect()
}

fn of_rule(rule: &Rule, notify: &NotifySettings) -> Vec<Finding> {
    let Some(approval) = &rule.approval else { return Vec::new() };
    let escalated = approval.escalation.as_ref().map(|next| next.all_of.as_slice()).unwrap_or_default();
    let untold = |event: EventKind, groups: &[ApproverGroup]| {
        let groups = groups.iter().filter(|group| !notify.covers(event, &group.group));
        groups.map(|group| (event, group.group.clone())).collect::<Vec<_>>()
    };
    let all = [untold(EventKind::Opened, &approval.all_of), untold(EventKind::Escalated, escalated)].concat();
    let finding = |(event, group): (EventKind, String)| Finding {
        lint: LINT,
        at: rule.at,
        subject: format!("rule `{}`", rule.id),
        message: format!(
            "nobody of group `{group}` is sure to be notified when a call is {}: add a route for the group that no \
             server, tenant or risk tag narrows",
            event.as_str()
        ),
    };
    all.into_iter().map(finding).collect()
}
