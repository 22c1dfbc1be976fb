//! What a call that waits occupies: there are ten thousand of them.

use std::mem::size_of_val;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;

use super::*;
use crate::http::path::Path;
use crate::tokens::{Credential, Proof};

#[tokio::test]
async fn poll_that_waits_keeps_little_in_memory() {
    let desk = desk().await;
    let credential = Credential {
        role: Role::Enforcer,
        issuer: "local".to_owned(),
        subject: "edge".to_owned(),
        groups: Default::default(),
        tenant: None,
        client_id: None,
        proof: Proof::Nothing,
        lent: Vec::new(),
    };
    let show = approvals::show(State(desk.app.clone()), Extension(credential), Path("a".to_owned()), HeaderMap::new());
    let show_bytes = size_of_val(&show);
    assert!(show_bytes < 4_096, "a poll's own frame takes {show_bytes} bytes");
}
