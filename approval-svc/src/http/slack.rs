//! Step 8 over HTTP: what people press in Slack. Proven by Slack's signature over the bytes as they came, before anything
//! is read from them.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Url;

use super::problem::Problem;
use crate::notify::guard::system_lookup;
use crate::notify::slack::action::{ActionError, pressed, verified};
use crate::notify::{courier, settings::Channel};
use crate::router::App;

/// `POST /v1/slack/actions`
pub async fn act(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let settings = app.approvals.notify.settings();
    let now_ms = app.store.now_ms().await?;
    let signed = (header("x-slack-request-timestamp"), header("x-slack-signature"));
    let app_of = verified(settings, signed.0, signed.1, &body, now_ms)?;
    let payload = payload_of(&body).ok_or(ActionError::Shape)?;
    let Some(pressed) = pressed(settings, app_of, &payload)? else { return Ok(StatusCode::OK.into_response()) };
    // Slack wants its answer within three seconds; a decision takes milliseconds.
    let told = match pressed.decide(&app.approvals).await {
        Ok(()) => return Ok(StatusCode::OK.into_response()),
        Err(ActionError::Store(error)) => return Err(error.into()),
        Err(error) => format!("Not done: {error}."),
    };
    // Only the person who pressed hears why nothing happened; that they hear it may take its time.
    let (slack, user, delivery) = (pressed.slack.clone(), pressed.user.clone(), settings.delivery);
    tokio::spawn(async move {
        let whispered = match courier::client(&Channel::Slack(slack.clone()), &delivery, &system_lookup()) {
            Ok(http) => slack.whisper(&http, &user, &told).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = whispered {
            tracing::warn!(why, "somebody in Slack could not be told why their button did nothing");
        }
    });
    Ok(StatusCode::OK.into_response())
}

/// The one field of the form that Slack sends.
fn payload_of(body: &[u8]) -> Option<String> {
    // A form is written as a query is.
    let text = std::str::from_utf8(body).ok()?;
    let mut url = Url::parse("http://slack.invalid/").ok()?;
    url.set_query(Some(text));
    let mut fields = url.query_pairs().filter(|(name, _)| name == "payload");
    match (fields.next(), fields.next()) {
        (Some((_, payload)), None) => Some(payload.into_owned()),
        _ => None,
    }
}

impl From<ActionError> for Problem {
    fn from(error: ActionError) -> Self {
        let (status, code) = match error {
            ActionError::Store(error) => return error.into(),
            ActionError::Review(error) => return error.into(),
            ActionError::Signature => (StatusCode::UNAUTHORIZED, "slack-signature"),
            ActionError::Shape => (StatusCode::BAD_REQUEST, "malformed-form"),
            ActionError::Stranger(_) | ActionError::Elsewhere => (StatusCode::FORBIDDEN, "slack-user"),
            ActionError::PageOnly | ActionError::Changed => (StatusCode::CONFLICT, "page-only"),
        };
        Self::new(status, code, error.to_string())
    }
}
