//! Step 8 over HTTP: which service this is, which key it signs with, and whom it takes the caller for.

use axum::Json;
use axum::extract::{Extension, State};
use holdpoint_core::wire::WIRE;
use serde::Serialize;

use crate::oidc::IssuerStanding;
use crate::router::App;
use crate::tokens::{Credential, Role};

/// Answer of `GET /v1/service`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct About {
    version: &'static str,
    /// Which version of the language between filter and service it speaks; filters one minor version apart are served.
    wire: String,
    /// What gateways must trust: `approval.service_key`.
    service_key: String,
    /// Signs beside it until every gateway trusts the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_key: Option<String>,
    /// Which database keeps the state, in which version; absent while it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    caller: Caller,
    /// Identity providers whose tokens are taken.
    issuers: Vec<IssuerStanding>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Caller {
    role: Role,
    issuer: String,
    subject: String,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

/// `GET /v1/service`
pub async fn show(State(app): State<App>, Extension(caller): Extension<Credential>) -> Json<About> {
    let Credential { role, issuer, subject, groups, tenant, .. } = caller;
    Json(About {
        version: env!("CARGO_PKG_VERSION"),
        wire: WIRE.to_string(),
        service_key: app.approvals.signer.public(),
        previous_key: app.approvals.signer.previous_key().map(|key| key.to_string()),
        database: app.store.database().await.ok(),
        caller: Caller { role, issuer, subject, groups: groups.into_iter().collect(), tenant },
        issuers: app.oidc.standings(),
    })
}
