//! Step 8 in a browser: several calls looked at together, each whole, and decided by exactly the digests that were shown.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::form::OwnForm;
use super::pages::{Page, frame, html, malformed};
use super::problem::Problem;
use crate::approvals::batch::{BATCH_REVIEWS_MAX, BatchBody, BatchReview};
use crate::approvals::review;
use crate::approvals::view::view_of;
use crate::approvals::{ReviewVerdict, grant};
use crate::router::App;
use crate::sessions::Session;
use crate::store::read_word;
use crate::tokens::Role;
use crate::web;
use crate::web::batch::{BatchPage, Chosen, DonePage, Item};

/// `GET /approvals/batch?id=…&id=…`
pub async fn show(
    State(app): State<App>,
    session: Session,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Page {
    let Query(query) = query.map_err(malformed)?;
    let ids: Vec<String> = query.into_iter().filter(|(name, _)| name == "id").map(|(_, id)| id).collect();
    chosen(&app, &session, ids, None, String::new(), StatusCode::OK).await
}

async fn chosen(
    app: &App,
    session: &Session,
    mut ids: Vec<String>,
    error: Option<&str>,
    draft: String,
    status: StatusCode,
) -> Page {
    let too_many = ids.len() > BATCH_REVIEWS_MAX;
    ids.truncate(BATCH_REVIEWS_MAX);
    let now_ms = app.store.now_ms().await?;
    let mut items = Vec::new();
    for id in ids {
        let Some(dossier) = app.store.dossier(&id).await? else { continue };
        let barrier = if grant::is_destructive(&dossier.approval) {
            Some(review::ReviewError::OneByOne)
        } else {
            review::barrier(&dossier, &session.person, ReviewVerdict::Approve, now_ms)
        };
        let Some(view) = view_of(dossier, &session.person, now_ms) else { continue };
        items.push(Chosen::new(&view, barrier.map(|error| error.to_string()), now_ms));
    }
    let page = BatchPage::new(frame(session, now_ms, ""), items, too_many, error, draft);
    Ok(html(status, &page))
}

/// `POST /approvals/batch`
pub async fn decide(State(app): State<App>, form: OwnForm) -> Page {
    let OwnForm { session, fields } = form;
    if session.person.role != Role::Approver {
        let detail = format!("a session of role {} does not review several calls at once", session.person.role);
        return Err(Problem::new(StatusCode::FORBIDDEN, "role", detail).into());
    }
    let verdict: ReviewVerdict =
        read_word(fields.text("verdict")).ok_or_else(|| malformed("`verdict` is no verdict"))?;
    let mut reviews = Vec::new();
    for item in fields.all("item") {
        let (id, digest) = item.split_once(' ').ok_or_else(|| malformed("`item` names no call"))?;
        let call_digest = digest.parse().map_err(|_| malformed("`item` has no digest"))?;
        reviews.push(BatchReview { id: id.to_owned(), verdict, call_digest, reason: fields.some("reason") });
    }
    if reviews.is_empty() || reviews.len() > BATCH_REVIEWS_MAX {
        return Err(malformed(format!("1 to {BATCH_REVIEWS_MAX} calls are decided together")).into());
    }
    let ids = || reviews.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    if verdict == ReviewVerdict::Approve && fields.text("opened") != "yes" {
        for one in &reviews {
            let approval = app.store.approval(&one.id).await?;
            if approval.is_some_and(|approval| web::folds(&approval.asked.call_text) > 0) {
                let error = "open every long value of the calls first, and say that you have read them";
                let draft = fields.text("reason").to_owned();
                return chosen(&app, &session, ids(), Some(error), draft, StatusCode::UNPROCESSABLE_ENTITY).await;
            }
        }
    }
    if verdict == ReviewVerdict::Deny && fields.some("reason").is_none() {
        let error = "a deny needs a reason: it is what the agents are told";
        return chosen(&app, &session, ids(), Some(error), String::new(), StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let answers = app.approvals.review_batch(&session.person, &BatchBody { reviews }, None).await;
    let now_ms = app.store.now_ms().await?;
    let mut done = Vec::new();
    for (id, answer) in answers {
        let approval = app.store.approval(&id).await?;
        let approval = approval.filter(|one| session.person.sees_tenant(one.asked.principal.tenant.as_deref()));
        done.push(Item::new(id, approval.as_ref(), answer.err().map(|error| error.to_string())));
    }
    Ok(html(StatusCode::OK, &DonePage::new(frame(&session, now_ms, ""), done)))
}
