//! Step 8: takes a grant back before it is used.

use holdpoint_core::approval::{ApprovalState, ApprovalStatus};
use serde::{Deserialize, Serialize};

use super::grant::RevokeGrantError;
use super::{Approvals, Attempt, StuckError, TRIES_MAX};
use crate::ledger::clip;
use crate::once::Once;
use crate::store::StoreError;
use crate::tokens::Credential;

/// Body of `POST /v1/approvals/{id}/revoke`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why nothing was taken back.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    #[error("there is no approval `{0}`: list them with GET /v1/approvals")]
    NotFound(String),
    #[error("the approval is {0}: only an approved one that is not yet used can be revoked")]
    NotApproved(ApprovalStatus),
    #[error("the approval is at version {version} by now: look at it again")]
    VersionChanged { version: u64 },
    #[error(transparent)]
    Stuck(#[from] StuckError),
}

impl From<StoreError> for RevokeError {
    fn from(error: StoreError) -> Self {
        Self::Stuck(error.into())
    }
}

impl Approvals {
    /// Moves an approved call that has not run to `revoked`, and takes back how far it reached beyond that call; the
    /// approval as it stands afterwards. Only if it stands at `if_version`, where one is given.
    pub async fn revoke(
        &self,
        id: &str,
        by: &Credential,
        body: &RevokeBody,
        if_version: Option<u64>,
        once: Option<&Once>,
    ) -> Result<ApprovalState, RevokeError> {
        for _ in 0..TRIES_MAX {
            let Some(approval) = self.store.approval(id).await? else {
                return Err(RevokeError::NotFound(id.to_owned()));
            };
            if !by.sees_tenant(approval.asked.principal.tenant.as_deref()) {
                return Err(RevokeError::NotFound(id.to_owned()));
            }
            if if_version.is_some_and(|seen| seen != approval.version) {
                return Err(RevokeError::VersionChanged { version: approval.version });
            }
            if approval.status != ApprovalStatus::Approved {
                return Err(RevokeError::NotApproved(approval.status));
            }
            // The wider reach first: no moment is left in which the call is revoked and its repeat still runs.
            for grant in self.grants(by).await?.into_iter().filter(|grant| grant.approval_id == id) {
                match self.revoke_grant(&grant.id, by, None, None).await {
                    Ok(_) | Err(RevokeGrantError::NotFound(_) | RevokeGrantError::Changed) => {}
                    Err(RevokeGrantError::Stuck(error)) => return Err(error.into()),
                }
            }
            let now_ms = self.store.now_ms().await?;
            let (by, reason) = (Some(by.name()), body.reason.as_deref().map(clip));
            let state = ApprovalState {
                status: ApprovalStatus::Revoked,
                version: approval.version + 1,
                reason: reason.clone(),
                decided_by: by.clone(),
                ..approval.state()
            };
            let answer = once.map(|once| once.keep(&state, now_ms)).transpose()?;
            match self.close(&approval, ApprovalStatus::Revoked, by, reason, now_ms, answer).await? {
                Attempt::Done => return Ok(state),
                Attempt::Lost(_) => {}
            }
        }
        Err(StuckError::Busy.into())
    }
}
