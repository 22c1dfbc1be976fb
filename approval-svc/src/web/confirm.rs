//! Step 8: the question before what cannot be taken back, for browsers whose script does not ask it.

use askama::Template;

use super::{Frame, Shown, shown};

#[derive(Debug, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    pub frame: Frame,
    pub question: Shown,
    /// Where the form goes, and what it carries. The template escapes it.
    pub action: String,
    pub fields: Vec<(String, String)>,
    /// What the button says.
    pub go: String,
    /// Where to go instead.
    pub back: String,
}

impl ConfirmPage {
    pub fn new(frame: Frame, question: &str, action: &str, fields: &[(String, String)], go: &str, back: &str) -> Self {
        let kept = fields.iter().filter(|(name, _)| name != "form_token" && name != "confirmed").cloned().collect();
        Self {
            frame,
            question: shown(question),
            action: action.to_owned(),
            fields: kept,
            go: go.to_owned(),
            back: back.to_owned(),
        }
    }
}
