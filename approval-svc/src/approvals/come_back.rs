//! Step 8: what a client that cannot wait longer takes with it: the token of its next round, and a page to look at.
//!
//! A token is for one call of one principal, for as long as its approval could be used, and for a bounded number of
//! rounds. It gives nothing by itself: the repeated call finds its approval by its own digest. A status page shows where
//! an approval stands to whoever has its address; it shows no arguments, and nobody can decide there.

use holdpoint_core::approval::{ApprovalState, ApprovalStatus, ComeBack, OpenApproval};

use super::Approvals;
use super::open::OpenError;
use crate::store::StoreError;
use crate::store::row::Dossier;

/// Rounds after which a client is told in words: some give up for good after ten.
const ROUNDS_MAX: u32 = 8;
const ROUND: &str = "round";
const STATUS: &str = "status";

impl Approvals {
    /// The number of the round that `asked` begins: 1 without a token.
    pub(super) fn round(&self, asked: &OpenApproval, now_ms: u64) -> Result<u32, OpenError> {
        let Some(token) = &asked.round else { return Ok(1) };
        let mut parts = token.splitn(3, '.');
        let (Some(number), Some(until_ms), Some(seal)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(OpenError::Round);
        };
        let (Ok(number), Ok(until_ms)) = (number.parse::<u32>(), until_ms.parse::<u64>()) else {
            return Err(OpenError::Round);
        };
        if until_ms <= now_ms || !self.signer.is_sealed(ROUND, &round_text(asked, number, until_ms), seal) {
            return Err(OpenError::Round);
        }
        Ok(number.saturating_add(1))
    }

    /// The state with what its client takes along, while it may come back once more.
    pub(super) fn with_come_back(&self, state: ApprovalState, asked: &OpenApproval, number: u32) -> ApprovalState {
        if state.status != ApprovalStatus::Pending || number > ROUNDS_MAX {
            return state;
        }
        let until_ms = state.expires_at_ms.saturating_add(asked.requirement.claim_within_ms);
        let seal = self.signer.seal(ROUND, &round_text(asked, number, until_ms));
        let token = format!("{number}.{until_ms}.{seal}");
        // The hold's number makes it another address each time, as some clients insist.
        let page = format!("{}.{}", state.id, asked.hold_id);
        let status_url =
            self.public_url.as_ref().map(|base| format!("{base}/status/{page}.{}", self.signer.seal(STATUS, &page)));
        ApprovalState { come_back: Some(ComeBack { token, status_url }), ..state }
    }

    /// The approval whose status page this is; `None` for an address that was never given.
    pub async fn by_status_page(&self, page: &str) -> Result<Option<Dossier>, StoreError> {
        let Some((page, seal)) = page.rsplit_once('.') else { return Ok(None) };
        let Some((id, _)) = page.split_once('.').filter(|_| self.signer.is_sealed(STATUS, page, seal)) else {
            return Ok(None);
        };
        self.store.dossier(id).await
    }
}

fn round_text(asked: &OpenApproval, number: u32, until_ms: u64) -> String {
    let principal = &asked.principal;
    let agent = principal.agent_id.as_deref().unwrap_or_default();
    // The digest covers the principal too; the names stand here so that no one fact carries the whole weight.
    [
        &number.to_string(),
        &until_ms.to_string(),
        &asked.call_digest.to_string(),
        &principal.issuer,
        &principal.subject,
        agent,
    ]
    .join("\n")
}
