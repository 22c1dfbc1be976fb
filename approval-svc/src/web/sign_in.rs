//! Step 8: the pages of those who are not signed in, and the page that says what went wrong.

use askama::Template;

use super::Shown;

/// Says how to get a link.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage;

/// Asks whether to sign in: a program that looks behind links presses no button.
#[derive(Debug, Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    pub subject: Shown,
    pub groups: Shown,
    pub code: String,
}

/// Comes again from here: a link on another site does not bring the session's cookie, a step on this one does.
#[derive(Debug, Template)]
#[template(path = "again.html")]
pub struct AgainPage {
    pub path: String,
}

/// One sentence about what cannot be done, and what to do.
#[derive(Debug, Template)]
#[template(path = "trouble.html")]
pub struct TroublePage {
    pub title: &'static str,
    pub sentence: Shown,
}
