//! What a call that waits occupies: there are ten thousand of them.

use std::mem::size_of_val;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;

use super::*;
use crate::http::path::Path;
use crate::tokens::{Credential, Proof};

#[tokio::test]
async fn call_that_waits_keeps_little_in_memory() {
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
    let app = App::from(desk.app.clone());
    let show = approvals::show(State(app.clone()), Extension(credential), Path("a".to_owned()), HeaderMap::new());
    let show_bytes = size_of_val(&show);
    assert!(show_bytes < 3_072, "a poll's own frame takes {show_bytes} bytes");
    let open = approvals::open(State(app), HeaderMap::new(), crate::http::body::Body(asked(1, "a", "b")));
    let open_bytes = size_of_val(&open);
    assert!(open_bytes < 4_096, "the frame of a call that opens and then waits takes {open_bytes} bytes");
}
