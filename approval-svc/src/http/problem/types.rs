//! Every problem type: its code, the statuses it comes with, and what it means. The page `approval-svc/PROBLEMS.md` and
//! `/openapi.json` are made from this table, and no problem comes out of the service that is not in it.

use holdpoint_core::approval::{PROBLEM_POLICY_UNKNOWN, PROBLEM_ROUND};
use holdpoint_core::freeze::PROBLEM_FROZEN;
use holdpoint_core::in_force::PROBLEM_POLICY_REPLACED;
use holdpoint_core::wire::PROBLEM_WIRE;

/// One problem type.
#[derive(Debug)]
pub struct ProblemType {
    pub code: &'static str,
    pub statuses: &'static [u16],
    /// What happened, and what whoever meets it should do.
    pub meaning: &'static str,
}

const fn of(code: &'static str, statuses: &'static [u16], meaning: &'static str) -> ProblemType {
    ProblemType { code, statuses, meaning }
}

/// All of them, by code.
pub const PROBLEM_TYPES: &[ProblemType] = &[
    of("already-claimed", &[409], "This hold has used its grant with another nonce. Ask for the call anew."),
    of("already-decided", &[409], "Somebody was faster, or the approval has ended. Look at it again."),
    of("already-reviewed", &[409], "One person counts once. Nothing is left to do."),
    of("basis-changed", &[409], "The rules that took part have changed since people looked. The call is asked anew."),
    of("batch-size", &[422], "Too many items at once, or none. Split the batch."),
    of("body-incomplete", &[400, 408], "The body did not arrive whole, or too slowly. Send it again."),
    of("body-too-large", &[413], "More than 2 MiB at once. Send less."),
    of("busy", &[503], "Others kept changing the same thing. Try again."),
    of("call-digest", &[422], "`call_digest` is not the digest of `call_text`. Compute it again."),
    of("conflict", &[409], "What was to be changed has changed meanwhile. Read it again."),
    of("consumed", &[409], "The grant has been used by another hold. Ask for the call anew."),
    of("delegate-reviewed", &[409], "Somebody has reviewed in your place: your authority counts once."),
    of("digest-changed", &[409], "What was seen is not what is asked. Look at the approval again."),
    of("entry-kind", &[422], "Entries of this kind are the service's own. Leave them out."),
    of("entry-too-long", &[422], "An entry is longer than the log keeps. Send digests, not contents."),
    of("expired", &[410], "Its time ran out before anybody decided, or claimed. An identical call asks anew."),
    of("field", &[422], "A field has a value that is not possible; the detail names it."),
    of("foreign-origin", &[403], "A form was sent from another site. Open the page itself."),
    of("form-token", &[403], "A form was not made for this session. Open the page again."),
    of(
        PROBLEM_FROZEN,
        &[409],
        "An administrator has stopped this. The detail says why; it is lifted by an administrator.",
    ),
    of("hold-mismatch", &[409], "This `hold_id` stands for another call. Use a new random one."),
    of("hold-unknown", &[409], "The hold does not wait on this approval. Open first."),
    of("hold-withdrawn", &[409], "The hold has ended: its client left. Nothing may run."),
    of("idempotency-key", &[400, 422], "The `Idempotency-Key` is not usable, or was used for another body."),
    of("internal", &[500], "A fault of the service; its log has more."),
    of("link-used", &[410], "A sign-in link works once, for ten minutes. Ask for a new one."),
    of("malformed-body", &[400], "The body is not the JSON that this path takes; the detail says where."),
    of("malformed-form", &[400], "A form cannot be read. Open the page again."),
    of("malformed-header", &[400], "A header has a value that cannot be read; the detail names it."),
    of("malformed-path", &[400], "A part of the path cannot be read, for instance because it is not UTF-8."),
    of("malformed-query", &[400], "The query has an unknown parameter, or a value that cannot be read."),
    of("no-such-method", &[405], "The path does not take this method; `Allow` lists those it takes."),
    of("no-such-route", &[404], "There is no such path. The API starts at /v1."),
    of("not-approved", &[409], "It is not approved, so it cannot be claimed or revoked."),
    of("not-dead", &[409], "The notice was not given up, so there is nothing to try again."),
    of("not-found", &[404], "There is nothing under this name, or nothing that is yours to see."),
    of("not-in-group", &[403], "None of your groups is one that is needed. The detail lists both."),
    of("nothing-seen", &[428], "Say what you saw: `call_digest`, or the version in `If-Match`."),
    of("one-by-one", &[409], "A destructive call is not approved in a batch. Approve it by itself."),
    of("other-tenants", &[403], "It would show what belongs to other tenants."),
    of("own-call", &[403], "You asked for this call, as a person or as its agent. Somebody else must review it."),
    of("page-only", &[409], "It cannot be decided by a button. Open the page."),
    of(PROBLEM_POLICY_REPLACED, &[409], "The gateway has replaced the policy that is cited. Judge the call again."),
    of(PROBLEM_POLICY_UNKNOWN, &[409], "The cited policy is not registered. Register it, and ask again."),
    of("rate-limited", &[429], "Too many requests of one credential or address. Wait for `Retry-After` seconds."),
    of("reason-missing", &[422], "A reason is required here. Say one."),
    of("role", &[403], "The credential's role may not do this. The detail names those that may."),
    of(PROBLEM_ROUND, &[422], "The `round` was not given for this call, or is too old. Ask without it."),
    of("scope", &[422], "The rules do not allow an approval to reach that far."),
    of("slack-signature", &[401], "The request is not signed by Slack, or too old."),
    of("slack-user", &[403], "No approver is linked to this Slack user."),
    of("snapshot-id", &[400, 422], "The id is no digest, or not the digest of the policy that was sent."),
    of("store-unavailable", &[503], "The database cannot be used just now. Nothing was changed: try again."),
    of("token", &[401], "The credential is missing, unknown, revoked, expired or not signed for this service."),
    of("token-unfit", &[403], "The identity provider's token is genuine, and not one that a person decides with."),
    of("too-many-freezes", &[409], "As many freezes as the gateways take are in force. Lift those that are over."),
    of("too-many-pending", &[429], "The requester has too many pending approvals. Wait until some are decided."),
    of("version-changed", &[412], "It has changed since you looked (`If-Match`). Look at it again."),
    of(
        PROBLEM_WIRE,
        &[409],
        "Filter and service are more than one minor version apart. The detail says which to upgrade.",
    ),
];

/// The type of this code.
pub fn find(code: &str) -> Option<&'static ProblemType> {
    PROBLEM_TYPES.iter().find(|one| one.code == code)
}

/// The table as a page.
#[cfg(test)]
pub fn page() -> String {
    let mut page = String::from(
        "# Problems\n\nEvery error of the service's API is `application/problem+json` (RFC 9457). `type` is \
         `https://holdpoint.dev/problems/` and the `code` below; both stay as they are. `title` is the status in words, \
         `detail` says what happened and what to do, for people: do not match on it. This page is made from the table in \
         `approval-svc/src/http/problem/types.rs`, and a test keeps them the same.\n\n| Code | Status | What it means |\n\
         |---|---|---|\n",
    );
    for ProblemType { code, statuses, meaning } in PROBLEM_TYPES {
        let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
        page.push_str(&format!("| `{code}` | {} | {meaning} |\n", statuses.join(", ")));
    }
    page
}
