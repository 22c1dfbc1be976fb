//! Every operation of the API on one page: who may ask it, with what, and what comes back.

use holdpoint_core::approval::{ApprovalState, CancelHolds, ClaimRequest, OpenApproval, SignedClaim, WithdrawHold};
use holdpoint_core::audit::{EntryBatch, EntryKind, Outcome};
use holdpoint_core::candidate::CandidateReport;
use holdpoint_core::digest::Digest;
use holdpoint_core::fleet::{EndLeases, RenewLeases, SignedLeases, TakeLeases};
use holdpoint_core::freeze::Freeze;
use holdpoint_core::in_force::PolicyReport;
use holdpoint_core::inventory::ObservationBatch;
use serde_json::{Value, json};
use utoipa::PartialSchema;

use super::{Components, Operation};
use crate::approvals::batch::BatchBody;
use crate::approvals::grant::Grant;
use crate::approvals::review::ReviewBody;
use crate::approvals::revoke::RevokeBody;
use crate::approvals::view::ApprovalView;
use crate::delegations::{Delegation, DelegationBody};
use crate::freezes::{FreezeBody, FreezesView};
use crate::http::about::About;
use crate::http::approvals::ApprovalPage;
use crate::http::audit::EntryPage;
use crate::http::candidates::Candidates;
use crate::http::delegations::DelegationPage;
use crate::http::grants::{BatchAnswer, GrantPage};
use crate::http::notices::{NoticePage, TestBody};
use crate::http::policies::List;
use crate::http::record::{CallView, RecordPage};
use crate::http::status::Readiness;
use crate::inventory::view::{DefinitionsView, ServerView, ServersView};
use crate::ledger::BatchReceipt;
use crate::ledger::payloads::ShownEntry;
use crate::notify::notice::NoticeView;
use crate::tokens::Role::{self, Admin, Approver, Auditor, BreakGlass, Enforcer};

const READERS: &[Role] = &[Approver, BreakGlass, Auditor, Admin];
const EVERYBODY: &[Role] = &[Enforcer, Approver, BreakGlass, Auditor, Admin];
const VERSION: &str = "^\"[0-9]{1,18}\"$";
/// What has no version is named by a digest of how it is shown.
const TAG: &str = "^\"[0-9a-f]{16}\"$";

/// All of them, in the order of the router.
pub(super) fn all(c: &mut Components) -> Vec<Operation> {
    let mut all = approvals(c);
    all.extend(leases(c));
    all.extend(policies(c));
    all.extend(record(c));
    all.extend(authority(c));
    all.extend(inventory(c));
    all.extend(service(c));
    all
}

fn get(path: &'static str, roles: &'static [Role], summary: &'static str) -> Operation {
    Operation::new("get", path, roles, summary)
}

fn post(path: &'static str, roles: &'static [Role], summary: &'static str) -> Operation {
    Operation::new("post", path, roles, summary)
}

fn limit() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
}

fn keyed(operation: Operation) -> Operation {
    let meaning = "Sent again with the same body, it is done once (1 to 200 printable characters)";
    operation.header("Idempotency-Key", "^[!-~]{1,200}$", meaning).problems(&["idempotency-key"])
}

/// A list that comes in pages.
fn paged(operation: Operation, limit_max: &str) -> Operation {
    let cursor = json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,300}$"});
    operation.query("limit", limit(), limit_max).query("cursor", cursor, "`next_cursor` of the page before")
}

/// A change that may name what its author saw.
fn seen(operation: Operation, pattern: &str) -> Operation {
    operation.header("If-Match", pattern, "Only if it is still what was seen").problems(&["version-changed"])
}

fn approvals(c: &mut Components) -> Vec<Operation> {
    let state = c.of::<ApprovalState>();
    let body = c.of::<OpenApproval>();
    let opening =
        post("/v1/approvals", &[Enforcer], "Ask for an approval, or join the one that is open for the same call")
            .waits()
            .body(body)
            .json(200, "It is decided", state.clone())
            .json(202, "It is pending; poll `Location`", state.clone())
            .problems(&[
                "field",
                "call-digest",
                "policy-unknown",
                "round",
                "frozen",
                "hold-withdrawn",
                "hold-mismatch",
                "too-many-pending",
                "busy",
            ]);
    let page = c.of::<ApprovalPage>();
    let status = json!({"type": "string", "enum": ["pending", "approved", "denied", "expired", "withdrawn", "superseded",
                                                   "consumed", "lapsed", "revoked"]});
    let listing = get("/v1/approvals", READERS, "List approvals, the newest first")
        .query("status", status, "Only those that stand there")
        .query("server", json!({"type": "string"}), "Only of this server");
    let listing = paged(listing, "At most so many, up to 200").json(200, "A page", page);
    let view = c.of::<ApprovalView>();
    let showing = get(
        "/v1/approvals/{id}",
        EVERYBODY,
        "One approval: for a gateway its state, for people everything they may see",
    )
    .waits()
    .header("If-None-Match", VERSION, "The version that is known: wait for another")
    .json(200, "As it stands", json!({"anyOf": [view, state]}))
    .empty(304, "Still at that version")
    .problems(&["not-found"]);
    let review = c.of::<ReviewBody>();
    let reviewing = keyed(post("/v1/approvals/{id}/reviews", &[Approver, BreakGlass], "Approve or deny"))
        .header("If-Match", VERSION, "The version that was seen")
        .body(review)
        .json(201, "As it stands afterwards", state.clone())
        .problems(&[
            "not-found",
            "nothing-seen",
            "digest-changed",
            "version-changed",
            "reason-missing",
            "own-call",
            "not-in-group",
            "scope",
            "delegate-reviewed",
            "already-reviewed",
            "already-decided",
            "expired",
            "busy",
        ]);
    let claim = (c.of::<ClaimRequest>(), c.of::<SignedClaim>());
    let claiming = post("/v1/approvals/{id}/claim", &[Enforcer], "Use a grant for one live call, once")
        .body(claim.0)
        .json(200, "The signed claim", claim.1)
        .problems(&[
            "field",
            "not-found",
            "hold-unknown",
            "hold-withdrawn",
            "already-claimed",
            "consumed",
            "not-approved",
            "expired",
            "digest-changed",
            "policy-unknown",
            "policy-replaced",
            "basis-changed",
            "frozen",
            "busy",
            "internal",
        ]);
    let revoke = c.of::<RevokeBody>();
    let revoking = post("/v1/approvals/{id}/revoke", &[Approver, Admin], "Take an approval back before it is used");
    let revoking = seen(keyed(revoking), VERSION)
        .body(revoke)
        .json(200, "As it stands afterwards", state.clone())
        .problems(&["not-found", "not-approved", "busy"]);
    let (withdraw, cancel) = (c.of::<WithdrawHold>(), c.of::<CancelHolds>());
    let withdrawing = post("/v1/holds/{hold_id}/withdraw", &[Enforcer], "A live call stops waiting")
        .body(withdraw)
        .empty(204, "It does not wait any more")
        .problems(&["field", "busy"]);
    let cancelling = post("/v1/cancellations", &[Enforcer], "A client cancels its call, wherever it waits")
        .body(cancel)
        .empty(204, "Whatever waited under that key does not any more")
        .problems(&["busy"]);
    let (batch, answers) = (c.of::<BatchBody>(), c.of::<BatchAnswer>());
    let reviewing_many = keyed(post("/v1/reviews:batch", &[Approver], "Review up to 50 approvals, each by its digest"))
        .body(batch)
        .json(200, "What became of each, in their order", answers)
        .problems(&["batch-size"]);
    vec![opening, listing, showing, reviewing, claiming, revoking, withdrawing, cancelling, reviewing_many]
}

fn policies(c: &mut Components) -> Vec<Operation> {
    let list = c.of::<List>();
    let listing = get("/v1/policies", EVERYBODY, "Registered policies, each with the gateways that have it in force");
    let listing = paged(listing, "At most so many, up to 1000").json(200, "The newest first", list);
    let report = c.of::<PolicyReport>();
    let reporting = post("/v1/policies/in-force", &[Enforcer], "A gateway says what it has put in force")
        .body(report)
        .empty(204, "Noted")
        .problems(&["field", "policy-unknown", "conflict"]);
    let (candidate, candidates) = (c.of::<CandidateReport>(), c.of::<Candidates>());
    let trying =
        post("/v1/policies/candidates", &[Enforcer], "A gateway says what a candidate would have decided otherwise")
            .body(candidate)
            .empty(204, "Noted")
            .problems(&["field", "conflict"]);
    let tried =
        get("/v1/policies/candidates", EVERYBODY, "What candidates would have decided otherwise, over all gateways")
            .json(200, "The latest first", candidates)
            .problems(&["other-tenants"]);
    let any = json!({"type": "object"});
    let registering = Operation::new(
        "put",
        "/v1/policies/{snapshot_id}",
        &[Enforcer, Admin],
        "Register a policy under the digest of its text",
    )
    .body(any.clone())
    .empty(200, "It was registered before")
    .empty(201, "It is registered")
    .problems(&["snapshot-id", "conflict"]);
    let showing = get("/v1/policies/{snapshot_id}", EVERYBODY, "One registered policy, byte for byte")
        .json(200, "Its canonical text", any)
        .problems(&["snapshot-id", "not-found"]);
    vec![listing, trying, tried, reporting, registering, showing]
}

fn leases(c: &mut Components) -> Vec<Operation> {
    let (take, taken, renew, end) =
        (c.of::<TakeLeases>(), c.of::<SignedLeases>(), c.of::<RenewLeases>(), c.of::<EndLeases>());
    let taking = post("/v1/leases", &[Enforcer], "A gateway takes places under limits that hold for all gateways")
        .body(take)
        .json(200, "They are taken, or which rule lets no more calls run", taken)
        .problems(&["field", "conflict"]);
    let renewing = post("/v1/leases/{holder}/renew", &[Enforcer], "A call with places still runs")
        .body(renew)
        .empty(204, "It keeps them")
        .problems(&["field", "not-found", "conflict"]);
    let ending = post("/v1/leases/{holder}/end", &[Enforcer], "A call with places has ended")
        .body(end)
        .empty(204, "They are free")
        .problems(&["field", "conflict"]);
    vec![taking, renewing, ending]
}

fn record(c: &mut Components) -> Vec<Operation> {
    const READ: &[Role] = &[Auditor, Admin];
    let (batch, receipt) = (c.of::<EntryBatch>(), c.of::<BatchReceipt>());
    let appending = post("/v1/audit/entries", &[Enforcer], "A gateway reports what it decided, each entry once")
        .body(batch)
        .json(200, "How many were new", receipt)
        .problems(&["batch-size", "field", "entry-kind", "entry-too-long", "busy"]);
    let page = c.of::<EntryPage>();
    let number = json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
    let listing = get("/v1/audit", READ, "Entries of the record, in their order")
        .query("after", number.clone(), "Only those with a greater sequence number")
        .query("limit", limit(), "At most so many, up to 1000")
        .query(
            "cursor",
            json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,300}$"}),
            "Instead of `after`: `next_cursor`",
        )
        .json(200, "A page; NDJSON where `Accept` asks for application/x-ndjson", page);
    let shown = c.of::<ShownEntry>();
    let one = get(
        "/v1/audit/{seq}",
        &[Auditor, BreakGlass, Admin],
        "One entry, and for auditors what stands beside it: arguments and result, as far as they are kept",
    )
    .json(200, "The entry", shown)
    .problems(&["not-found"]);
    let proof =
        get("/v1/audit/{seq}/proof", READ, "One entry with the proof that it stands in the log (C2SP tlog-proof)")
            .text(200, "text/plain", "Entry, proof and signed checkpoint")
            .problems(&["not-found"]);
    let tile = get("/v1/log/tile/{level}/{*index}", READ, "Hashes of the log's tree, or its entries (C2SP tlog-tiles)")
        .text(200, "application/octet-stream", "The tile")
        .problems(&["not-found", "other-tenants"]);
    let hashes = json!({"type": "array", "items": Digest::schema()});
    let mut consistency =
        get("/v1/log/consistency", READ, "That the log of `old` entries is the beginning of the one of `new`")
            .query("old", number.clone(), "A size of the log")
            .query("new", number, "A later one")
            .json(200, "The hashes between them", hashes)
            .problems(&["not-found"]);
    for parameter in &mut consistency.parameters {
        parameter["required"] = json!(true);
    }
    let checkpoint = get("/v1/log/checkpoint", READ, "The signed head of the log")
        .text(200, "text/plain", "A signed note")
        .problems(&["not-found", "conflict"]);
    let (found, whole) = (c.of::<RecordPage>(), c.of::<CallView>());
    let text = || json!({"type": "string", "maxLength": 1000});
    let time = || json!({"type": "integer", "minimum": 0, "maximum": u64::MAX});
    let kinds = EntryKind::schema();
    let searching = get("/v1/record", READERS, "Entries of the record by what they say, the latest first")
        .query("since_ms", time(), "Only from then on")
        .query("until_ms", time(), "Only before then")
        .query("kind", json!(kinds), "Only of this kind")
        .query("verdict", json!({"type": "string", "enum": ["allow", "require_approval", "deny"]}), "Only so decided")
        .query("outcome", json!(Outcome::schema()), "Only of calls that ended so")
        .query("who", text(), "Only for, or by, this subject or agent; the whole name")
        .query("server", text(), "Only of this server")
        .query("tool", text(), "Only of this tool, resource or prompt")
        .query("rule", text(), "Only where this rule took part")
        .query("trace", text(), "Only of this trace")
        .query("approval", text(), "Only about this approval")
        .query("call", json!(Digest::schema()), "Only of calls with this digest")
        .query("limit", limit(), "At most so many, up to 200")
        .query(
            "cursor",
            json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,300}$"}),
            "`next_cursor` of the page before",
        )
        .json(200, "A page; approvers see entries about calls, and who is bound to a tenant its own", found);
    let telling = get("/v1/record/{seq}/call", READERS, "All that the record says of the call of one entry")
        .json(200, "In the order of what happened", whole)
        .problems(&["not-found"]);
    vec![appending, listing, one, searching, telling, proof, tile, consistency, checkpoint]
}

fn authority(c: &mut Components) -> Vec<Operation> {
    let (grants, grant) = (c.of::<GrantPage>(), c.of::<Grant>());
    let listing_grants = get("/v1/grants", READERS, "Approvals that reach further calls, in force");
    let listing_grants = paged(listing_grants, "At most so many, up to 500").json(200, "A page", grants);
    let showing_grant = get("/v1/grants/{id}", READERS, "One of them")
        .header("If-None-Match", TAG, "What is known")
        .json(200, "As it stands", grant.clone())
        .empty(304, "Still that")
        .problems(&["not-found"]);
    let revoking = seen(keyed(post("/v1/grants/{id}/revoke", &[Approver, Admin], "Take one of them back")), TAG)
        .json(200, "As it was", grant)
        .problems(&["not-found", "busy"]);
    let (lend, lent, all) = (c.of::<DelegationBody>(), c.of::<Delegation>(), c.of::<DelegationPage>());
    let lending = keyed(post("/v1/delegations", &[Approver], "Lend your groups to somebody until a date"))
        .body(lend)
        .json(201, "What was lent", lent.clone())
        .problems(&["field", "reason-missing", "not-in-group", "not-found"]);
    let listing = paged(get("/v1/delegations", READERS, "What is lent"), "At most so many, up to 500").json(
        200,
        "A page of those that concern you",
        all,
    );
    let showing = get("/v1/delegations/{id}", READERS, "One of them")
        .header("If-None-Match", TAG, "What is known")
        .json(200, "As it stands", lent.clone())
        .empty(304, "Still that")
        .problems(&["not-found"]);
    let ending = seen(keyed(post("/v1/delegations/{id}/end", &[Approver, Admin], "Take it back")), TAG)
        .json(200, "As it was", lent)
        .problems(&["not-found"]);
    let (body, freeze, list) = (c.of::<FreezeBody>(), c.of::<Freeze>(), c.of::<FreezesView>());
    let freezing = keyed(post("/v1/freezes", &[Admin], "Stop a server, a tool or a caller on every gateway"))
        .body(body)
        .json(201, "What is stopped", freeze.clone())
        .problems(&["field", "reason-missing", "too-many-freezes", "not-found"]);
    let frozen = get("/v1/freezes", EVERYBODY, "What is stopped, signed for gateways")
        .header("If-None-Match", VERSION, "The version that is known")
        .json(200, "The list", list)
        .empty(304, "Still at that version")
        .problems(&["internal"]);
    let lifting = seen(keyed(post("/v1/freezes/{id}/lift", &[Admin], "Let it go on")), VERSION)
        .json(200, "What was stopped", freeze)
        .problems(&["not-found"]);
    vec![listing_grants, showing_grant, revoking, lending, listing, showing, ending, freezing, frozen, lifting]
}

fn inventory(c: &mut Components) -> Vec<Operation> {
    let (batch, servers, server) = (c.of::<ObservationBatch>(), c.of::<ServersView>(), c.of::<ServerView>());
    let definitions = c.of::<DefinitionsView>();
    let kind = json!({"type": "string", "enum": ["tool", "resource", "resource_template", "prompt"]});
    let observing = post("/v1/inventory/observations", &[Enforcer], "Tell what servers said of themselves")
        .body(batch)
        .empty(204, "Taken in")
        .problems(&["batch-size", "field", "busy"]);
    let listing = paged(get("/v1/inventory/servers", READERS, "Servers that were seen"), "At most so many, up to 500")
        .json(200, "By name", servers);
    let showing = get("/v1/inventory/servers/{server}", READERS, "What one server offers, who calls it, what changed")
        .json(200, "As it was last seen", server)
        .problems(&["not-found"]);
    let comparing = get("/v1/inventory/servers/{server}/definitions", READERS, "Every definition of one entry")
        .query("kind", kind, "What it is")
        .query("name", json!({"type": "string"}), "Its name, URI or URI template")
        .json(200, "The latest first", definitions)
        .problems(&["not-found", "malformed-query"]);
    vec![observing, listing, showing, comparing]
}

fn service(c: &mut Components) -> Vec<Operation> {
    let (notices, notice, test) = (c.of::<NoticePage>(), c.of::<NoticeView>(), c.of::<TestBody>());
    let state = json!({"type": "string", "enum": ["waiting", "delivered", "dead"]});
    let text = json!({"type": "string"});
    let listing = get("/v1/notices", &[Auditor, Admin], "Who was told what")
        .query("state", state, "Only those that stand there")
        .query("approval", text.clone(), "Only of this approval")
        .query("channel", text, "Only to this channel");
    let listing = paged(listing, "At most so many, up to 500").json(200, "The newest first", notices);
    let showing = get("/v1/notices/{id}", &[Auditor, Admin], "One notice")
        .header("If-None-Match", TAG, "What is known")
        .json(200, "As it stands", notice.clone())
        .empty(304, "Still that")
        .problems(&["not-found"]);
    let retrying = post("/v1/notices/{id}/retry", &[Admin], "Try a notice again that was given up");
    let retrying = seen(keyed(retrying), TAG).json(200, "As it stands", notice.clone()).problems(&[
        "not-found",
        "not-dead",
        "conflict",
    ]);
    let testing = keyed(post("/v1/notices:test", &[Admin], "Send a test to a channel"))
        .body(test)
        .json(202, "It is on its way", notice)
        .problems(&["not-found", "conflict"]);
    let about = c.of::<About>();
    let telling = get("/v1/service", EVERYBODY, "Which service this is, its public key, and whom it takes you for")
        .json(200, "About the service", about);
    let events = get("/v1/events", READERS, "What happens to approvals, live, as server-sent events")
        .header("Last-Event-ID", "^[0-9]{1,18}$", "Go on after this one")
        .text(200, "text/event-stream", "Lasts until the credential does not hold any more");
    let slack =
        post("/v1/slack/actions", &[], "A button of a Slack message; signed by Slack").empty(200, "Taken").problems(&[
            "slack-signature",
            "slack-user",
            "page-only",
            "not-found",
            "malformed-body",
            "body-too-large",
            "rate-limited",
        ]);
    let readiness = c.of::<Readiness>();
    let ready = get("/readyz", &[], "Whether a write could happen now and every task runs")
        .json(200, "Ready", readiness.clone())
        .json(503, "Not ready", readiness)
        .problems(&["rate-limited"]);
    let metrics = get("/metrics", &[], "What the service counts, in the OpenMetrics text format")
        .text(200, "application/openmetrics-text", "Metrics")
        .problems(&["rate-limited", "store-unavailable", "internal"]);
    let live = get("/livez", &[], "Whether the service lives").text(200, "text/plain", "It does");
    let this = get("/openapi.json", &[], "This description").json(200, "OpenAPI 3.1", json!({"type": "object"}));
    vec![listing, showing, retrying, testing, telling, events, slack, ready, metrics, live, this]
}
