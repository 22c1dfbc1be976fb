//! Every route on one page, with the roles that may take it. Steps 8 and 12 over HTTP.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::routing::{MethodRouter, get, post};

use crate::approvals::Approvals;
use crate::delegations::Delegations;
use crate::freezes::Freezes;
use crate::http::{
    about, approvals, audit, auth, batch_page, candidates, delegations, delegations_page, events, freezes,
    freezes_page, grants, grants_page, history, holds, inventory, inventory_page, leases, notices, openapi, pages,
    policies, policies_page, problem, record, record_page, requester, session, slack, status, traced,
};
use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::oidc::Oidc;
use crate::otlp::requests::RequestSpans;
use crate::revocations::Revocations;
use crate::store::Store;
use crate::supervise::Tasks;
use crate::tokens::Role::{self, Admin, Approver, Auditor, BreakGlass, Enforcer};
use crate::trail::Trail;

#[cfg(test)]
mod tests;

/// Most bytes of one request's body.
const BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// What the handlers call. One pointer: every call that waits, thousands of them, keeps some of them.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl From<Parts> for App {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What an [`App`] is made of.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub approvals: Approvals,
    pub delegations: Delegations,
    pub freezes: Freezes,
    pub inventory: Inventory,
    pub ledger: Ledger,
    pub trail: Trail,
    pub metrics: Arc<Metrics>,
    pub limits: Arc<Limits>,
    pub oidc: Oidc,
    pub revocations: Revocations,
    /// Where a collector is told of requests; `None` where there is none.
    pub request_spans: Option<RequestSpans>,
    pub tasks: Tasks,
}

/// The whole API.
pub fn router(app: App) -> Router {
    let may = |roles: &'static [Role]| Gate { app: app.clone(), roles };
    let routes = Router::new()
        .route("/v1/approvals", may(&[Enforcer]).post(approvals::open).merge(may(READERS).get(approvals::list)))
        .route("/v1/approvals/{id}", may(EVERYBODY).get(approvals::show))
        .route("/v1/approvals/{id}/reviews", may(&[Approver, BreakGlass]).post(approvals::review))
        .route("/v1/approvals/{id}/claim", may(&[Enforcer]).post(approvals::claim))
        .route("/v1/approvals/{id}/revoke", may(&[Approver, Admin]).post(approvals::revoke))
        .route("/v1/holds/{hold_id}/withdraw", may(&[Enforcer]).post(holds::withdraw))
        .route("/v1/cancellations", may(&[Enforcer]).post(holds::cancel))
        .route("/v1/leases", may(&[Enforcer]).post(leases::take))
        .route("/v1/leases/{holder}/renew", may(&[Enforcer]).post(leases::renew))
        .route("/v1/leases/{holder}/end", may(&[Enforcer]).post(leases::end))
        .route("/v1/policies", may(EVERYBODY).get(policies::list))
        .route(
            "/v1/policies/candidates",
            may(&[Enforcer]).post(candidates::report).merge(may(EVERYBODY).get(candidates::list)),
        )
        .route("/v1/policies/in-force", may(&[Enforcer]).post(policies::report))
        .route(
            "/v1/policies/{snapshot_id}",
            may(&[Enforcer, Admin]).put(policies::register).merge(may(EVERYBODY).get(policies::show)),
        )
        .route("/v1/audit/entries", may(&[Enforcer]).post(audit::append))
        .route("/v1/audit", may(&[Auditor, Admin]).get(audit::list))
        .route("/v1/audit/{seq}", may(&[Auditor, BreakGlass, Admin]).get(audit::show))
        .route("/v1/audit/{seq}/proof", may(&[Auditor, Admin]).get(audit::proof))
        .route("/v1/record", may(READERS).get(record::search))
        .route("/v1/record/{seq}/call", may(READERS).get(record::call))
        .route("/v1/log/tile/{level}/{*index}", may(&[Auditor, Admin]).get(audit::tile))
        .route("/v1/log/consistency", may(&[Auditor, Admin]).get(audit::consistency))
        .route("/v1/log/checkpoint", may(&[Auditor, Admin]).get(audit::checkpoint))
        .route("/v1/reviews:batch", may(&[Approver]).post(grants::batch))
        .route("/v1/grants", may(READERS).get(grants::list))
        .route("/v1/grants/{id}", may(READERS).get(grants::show))
        .route("/v1/grants/{id}/revoke", may(&[Approver, Admin]).post(grants::revoke))
        .route("/v1/delegations", may(&[Approver]).post(delegations::add).merge(may(READERS).get(delegations::list)))
        .route("/v1/delegations/{id}", may(READERS).get(delegations::show))
        .route("/v1/delegations/{id}/end", may(&[Approver, Admin]).post(delegations::end))
        .route("/v1/freezes", may(&[Admin]).post(freezes::add).merge(may(EVERYBODY).get(freezes::list)))
        .route("/v1/freezes/{id}/lift", may(&[Admin]).post(freezes::lift))
        .route("/v1/notices", may(&[Auditor, Admin]).get(notices::list))
        .route("/v1/notices/{id}", may(&[Auditor, Admin]).get(notices::show))
        .route("/v1/notices/{id}/retry", may(&[Admin]).post(notices::retry))
        .route("/v1/notices:test", may(&[Admin]).post(notices::test))
        .route("/v1/inventory/observations", may(&[Enforcer]).post(inventory::observe))
        .route("/v1/inventory/servers", may(READERS).get(inventory::servers))
        .route("/v1/inventory/servers/{server}", may(READERS).get(inventory::server))
        .route("/v1/inventory/servers/{server}/definitions", may(READERS).get(inventory::definitions))
        .route("/v1/service", may(EVERYBODY).get(about::show))
        .route("/v1/events", may(READERS).get(events::stream))
        .merge(pages_router())
        .merge(public_router(&app))
        .route("/livez", get(status::live))
        .route("/openapi.json", get(openapi::show))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(auth::say_wire));
    // Only where a collector is told: each layer is memory of every call that waits.
    match app.request_spans.clone() {
        Some(spans) => {
            routes.layer(middleware::from_fn_with_state((app.clone(), spans), traced::trace)).with_state(app)
        }
        None => routes.with_state(app),
    }
}

/// What browsers open. A session's cookie lets in here, a token does not.
fn pages_router() -> Router<App> {
    Router::new()
        .route("/", get(pages::home))
        .route("/approvals", get(pages::inbox))
        .route("/approvals/batch", get(batch_page::show).post(batch_page::decide))
        .route("/approvals/{id}", get(pages::show))
        .route("/approvals/{id}/row", get(pages::row))
        .route("/approvals/{id}/review", post(pages::decide))
        .route("/approvals/{id}/timeline", get(record_page::of_approval))
        .route("/record", get(record_page::search))
        .route("/record/{seq}", get(record_page::show))
        .route("/inventory", get(inventory_page::list))
        .route("/inventory/{server}", get(inventory_page::server))
        .route("/inventory/{server}/definition", get(inventory_page::definition))
        .route("/policies", get(policies_page::list))
        .route("/history", get(history::search))
        .route("/grants", get(grants_page::list))
        .route("/grants/{id}/revoke", post(grants_page::revoke))
        .route("/delegations", get(delegations_page::list).post(delegations_page::add))
        .route("/delegations/{id}/end", post(delegations_page::end))
        .route("/freezes", get(freezes_page::list).post(freezes_page::add))
        .route("/freezes/{id}/lift", post(freezes_page::lift))
        .route("/live", get(pages::live))
        .route("/logout", post(pages::sign_out))
        .route("/web/page.css", get(pages::css))
        .route("/web/page.js", get(pages::js))
        .route("/web/mark.svg", get(pages::mark))
        .layer(middleware::from_fn(session::guard))
}

/// What needs no credential, and therefore a limit for each address.
fn public_router(app: &App) -> Router<App> {
    let pages = Router::new()
        .route("/status/{page}", get(requester::show))
        .route("/login", get(pages::ask_to_sign_in).post(pages::sign_in))
        .layer(middleware::from_fn(session::guard));
    Router::new()
        .route("/v1/slack/actions", post(slack::act))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
        .merge(pages)
        .layer(middleware::from_fn_with_state(app.clone(), auth::admit_stranger))
}

/// Those who see approvals whole.
const READERS: &[Role] = &[Approver, BreakGlass, Auditor, Admin];
const EVERYBODY: &[Role] = &[Enforcer, Approver, BreakGlass, Auditor, Admin];

/// Puts a route behind a token of one of the roles.
struct Gate {
    app: App,
    roles: &'static [Role],
}

impl Gate {
    fn get<T: 'static>(self, handler: impl Handler<T, App>) -> MethodRouter<App> {
        self.guard(get(handler))
    }

    fn post<T: 'static>(self, handler: impl Handler<T, App>) -> MethodRouter<App> {
        self.guard(post(handler))
    }

    fn put<T: 'static>(self, handler: impl Handler<T, App>) -> MethodRouter<App> {
        self.guard(axum::routing::put(handler))
    }

    fn guard(self, route: MethodRouter<App>) -> MethodRouter<App> {
        let roles = self.roles;
        let admit = move |State(app): State<App>, request: Request, next: Next| auth::admit(app, roles, request, next);
        route.layer(middleware::from_fn_with_state(self.app, admit))
    }
}
