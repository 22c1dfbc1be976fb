//! Step 8: many reviews at once, each over exactly the digest that its author saw.

use holdpoint_core::approval::ApprovalState;
use holdpoint_core::digest::Digest;
use serde::{Deserialize, Serialize};

use super::review::{ReviewBody, ReviewError};
use super::{Approvals, ReviewVerdict, grant};
use crate::once::Once;
use crate::tokens::Credential;

/// Most reviews in one batch.
pub const BATCH_REVIEWS_MAX: usize = 50;

/// Body of `POST /v1/reviews:batch`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    pub reviews: Vec<BatchReview>,
}

/// One of them. There is no way to say "all": each names what its author saw.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchReview {
    pub id: String,
    pub verdict: ReviewVerdict,
    pub call_digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Approvals {
    /// Takes each review by itself; what became of each, in their order. Under a key, each is taken once: what a service that
    /// died had taken of a batch is answered as it was, and the rest is taken now.
    pub async fn review_batch(
        &self,
        reviewer: &Credential,
        body: &BatchBody,
        once: Option<&Once>,
    ) -> Vec<(String, Result<ApprovalState, ReviewError>)> {
        let mut answers = Vec::with_capacity(body.reviews.len());
        for (at, one) in body.reviews.iter().enumerate() {
            let once = once.map(|once| once.part(at));
            answers.push((one.id.clone(), self.review_one(reviewer, one, once.as_ref()).await));
        }
        answers
    }

    async fn review_one(
        &self,
        reviewer: &Credential,
        one: &BatchReview,
        once: Option<&Once>,
    ) -> Result<ApprovalState, ReviewError> {
        if one.verdict == ReviewVerdict::Approve
            && self.store.approval(&one.id).await?.is_some_and(|approval| grant::is_destructive(&approval))
        {
            return Err(ReviewError::OneByOne);
        }
        let BatchReview { verdict, call_digest, reason, .. } = one.clone();
        let body = ReviewBody { verdict, call_digest: Some(call_digest), reason, scope: None };
        self.review_once(&one.id, reviewer, &body, None, once).await
    }
}
