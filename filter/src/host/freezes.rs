//! Fetches what an administrator has stopped from each plugin's service, every few seconds on each worker, and keeps it
//! for VMs that come later.

use std::rc::Rc;

use holdpoint_core::freeze::SignedFreezes;

use super::{CALLOUTS, Waiting, abi, call_out, in_force_of, with_desk};
use crate::exchange::{Callout, CalloutAnswer};

/// A freeze must hold everywhere within five seconds, a lost answer and a slow one included.
const POLL_EVERY_MS: u64 = 1_500;
/// When an answer counts as lost: it went with the root context that asked.
const ANSWER_MS_MAX: u64 = 6_000;

/// Where the plugin's list stands in Envoy's shared data: a VM that is loaded while the service is away begins with it.
fn shared_key(plugin: &str) -> String {
    format!("holdpoint/freezes/{plugin}")
}

/// Asks when it is time. The effective context must be a root context.
pub(super) fn poll(plugin: &Rc<str>, now_ms: u64) {
    if let Some(Some(token)) = with_desk(plugin, |desk| desk.freezes_turn.take_lost(now_ms, ANSWER_MS_MAX)) {
        CALLOUTS.with_borrow_mut(|all| all.remove(&token));
    }
    let version = with_desk(plugin, |desk| {
        let is_due = desk.freezes_turn.is_due(now_ms, false);
        is_due.then(|| {
            desk.freezes_turn.rest_until(now_ms.saturating_add(POLL_EVERY_MS));
            desk.freezes.version()
        })
    });
    let (Some(Some(version)), Some(config)) = (version, in_force_of(plugin)) else { return };
    if let Some(token) = call_out(&Callout::freezes(&config.approval, version)) {
        CALLOUTS.with_borrow_mut(|all| all.insert(token, Waiting::Freezes(Rc::clone(plugin))));
        with_desk(plugin, |desk| desk.freezes_turn.sent(token, now_ms));
    }
}

/// The service answered. Whatever is not a newer list that its key signed changes nothing.
pub(super) fn answered(plugin: &str, answer: &CalloutAnswer) {
    with_desk(plugin, |desk| desk.freezes_turn.answered());
    if let Some(code) = answer.refusal() {
        // Allowed calls go on through a freeze that this gateway does not hear of.
        log::error!("holdpoint: the service does not tell what is frozen: {code}");
    }
    if answer.status == Some(200) && take(plugin, &answer.body) {
        let key = shared_key(plugin);
        let (_, cas) = abi::shared_data(&key).unwrap_or_default();
        // Lost races do not matter: every worker fetches for itself, and the next change is written again.
        let _ = abi::set_shared_data(&key, &answer.body, cas);
    }
}

/// Takes what an earlier VM of this Envoy has left.
pub(super) fn remember(plugin: &str) {
    if let Ok((bytes, _)) = abi::shared_data(&shared_key(plugin))
        && !bytes.is_empty()
    {
        take(plugin, &bytes);
    }
}

fn take(plugin: &str, bytes: &[u8]) -> bool {
    let Ok(signed) = serde_json::from_slice::<SignedFreezes>(bytes) else {
        log::warn!("holdpoint: the list of freezes cannot be read");
        return false;
    };
    let Some(config) = in_force_of(plugin) else { return false };
    match with_desk(plugin, |desk| desk.freezes.take(&signed, &config.approval.service_keys)) {
        Some(Ok(is_news)) => is_news,
        Some(Err(error)) => {
            log::error!("holdpoint: {error}");
            false
        }
        None => false,
    }
}
