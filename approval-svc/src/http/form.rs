//! Step 8 in a browser: a form of one of our own pages, with the session it was sent by.

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};

use super::pages::{PageError, malformed};
use super::session::{is_own_form, not_own_form};
use crate::router::App;
use crate::sessions::Session;

/// Most fields of one form.
const FIELDS_MAX: usize = 500;

/// The fields of a form that carries the token of its session.
pub struct OwnForm {
    pub session: Session,
    pub fields: Fields,
}

/// Names and values in the order they were sent.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the first field of this name without blanks around it; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// The same, if it is not empty.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Every value of this name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether its sender was asked once more, and said yes.
    pub fn is_confirmed(&self) -> bool {
        self.text("confirmed") == "yes"
    }
}

impl FromRequest<App> for OwnForm {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, app).await?;
        let request = Request::from_parts(parts, body);
        let form = Form::<Vec<(String, String)>>::from_request(request, app).await;
        let Form(fields) = form.map_err(|error| PageError::from(malformed(error)).into_response())?;
        if fields.len() > FIELDS_MAX {
            return Err(PageError::from(malformed("it has too many fields")).into_response());
        }
        let fields = Fields(fields);
        if !is_own_form(&session, fields.text("form_token")) {
            return Err(not_own_form());
        }
        Ok(Self { session, fields })
    }
}
