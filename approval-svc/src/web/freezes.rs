//! Step 7: what is stopped everywhere, and the form of those who stop.

use askama::Template;
use holdpoint_core::freeze::Freeze;

use super::inbox::Stop;
use super::{Frame, Shown, shown};

/// `GET /freezes`
#[derive(Debug, Template)]
#[template(path = "freezes.html")]
pub struct FreezesPage {
    pub frame: Frame,
    pub freezes: Vec<FreezeRow>,
    pub is_admin: bool,
    pub error: Option<Shown>,
}

#[derive(Debug)]
pub struct FreezeRow {
    pub id: String,
    pub stop: Stop,
}

impl FreezesPage {
    pub fn new(frame: Frame, freezes: &[Freeze], is_admin: bool, error: Option<String>) -> Self {
        let now_ms = frame.now_ms;
        let row = |freeze: &Freeze| FreezeRow { id: freeze.id.clone(), stop: Stop::new(freeze, now_ms) };
        Self { freezes: freezes.iter().map(row).collect(), is_admin, error: error.as_deref().map(shown), frame }
    }
}
