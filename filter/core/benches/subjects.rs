//! What the measurements of step 6 work on: policies of any size and calls that meet them.

#![expect(clippy::panic, reason = "no data path: a measurement without its subject is worth nothing")]

use holdpoint_core::envelope::{Annotations, Call, CallEnvelope, RouteFacts};
use holdpoint_core::identity::{ActorType, Principal};
use holdpoint_core::policy::{PolicySnapshot, compile, read_file};
use holdpoint_core::{json, mcp};

/// How many rules the policies have.
pub const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

const SERVERS: usize = 20;

/// A policy as a platform team's grows: a few rules for everybody, then rules per server, team and tool.
pub fn policy_text(rules: usize) -> String {
    let mut text = "version: \"2026-01-27\"\nservers:\n".to_owned();
    for server in 0..SERVERS {
        text += &format!(
            "  s{server}: {{risk_tags: [{}], tools: {{\"list_*\": {{action: read}}, \"delete_*\": {{action: admin}}, \
             create_issue: {{action: write, resource: \"repo:{{owner}}/{{repo}}\", risk_tags: [prod]}}}}}}\n",
            if server % 2 == 0 { "external" } else { "internal" },
        );
    }
    text += "rules:\n\
        - {id: a-reads, match: {labels: {mcp.action: read}}, decision: allow}\n\
        - {id: a-writes, match: {labels: {mcp.action: write}}, decision: require_approval, approval: {approvers: {all_of: [{group: sre}]}}}\n\
        - {id: a-prod, match: {risk_tags: [prod]}, decision: allow_with_constraints, constraints: {budgets: {max_runtime_ms: 30000, max_retries: 1}}}\n\
        - {id: a-admin, match: {mcp: {allow_actions: admin}}, decision: deny}\n";
    for number in 4..rules {
        let (server, team) = (number % SERVERS, number % 97);
        text += &match number % 5 {
            0 => format!(
                "- {{id: r{number}, match: {{mcp: {{allow_servers: s{server}, allow_tools: tool_{number}}}}}, decision: deny}}\n"
            ),
            1 => format!(
                "- {{id: r{number}, match: {{groups: [team-{number}], mcp: {{allow_servers: s{server}}}}}, decision: allow}}\n"
            ),
            2 => format!(
                "- {{id: r{number}, match: {{tenants: tenant-{number}, risk_tags: [external]}}, decision: require_approval}}\n"
            ),
            3 => format!(
                "- {{id: r{number}, match: {{mcp: {{allow_tools: \"op{number}_*\"}}, arguments: {{/amount: {{gt: {number}}}}}}}, decision: deny}}\n"
            ),
            _ => format!(
                "- {{id: r{number}, match: {{mcp: {{allow_tools: [x{number}, y{team}]}}, labels: {{mcp.action: write}}}}, decision: allow}}\n"
            ),
        };
    }
    text
}

/// The policy of that many rules, in force.
pub fn policy(rules: usize) -> PolicySnapshot {
    match read_file(&policy_text(rules)).and_then(|document| compile(&document)) {
        Ok(snapshot) => snapshot,
        Err(problems) => panic!("{problems}"),
    }
}

/// Calls as agents make them: a read, a write that waits, and one that the catalogue does not name.
pub const CALLS: [(&str, &str); 3] = [
    ("read", r#"{"name":"list_issues","arguments":{"owner":"acme","repo":"site","state":"open"}}"#),
    ("write", r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site","title":"Fix broken build"}}"#),
    ("unlisted", r#"{"name":"summarise","arguments":{"text":"Patch the CI config."}}"#),
];

/// One call with these params, as the filter hands it over.
pub fn call(params: &str) -> Call {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    let head = mcp::Head { method: b"POST", path: b"/mcp", headers: &headers };
    let message = match mcp::read(&head, body.into_bytes(), &json::Limits::default()) {
        Ok(message) => message,
        Err(malformed) => panic!("{}", malformed.detail),
    };
    let principal = Principal {
        issuer: "https://issuer".to_owned(),
        subject: "user_123".to_owned(),
        agent_id: Some("agent-7".to_owned()),
        actor_type: ActorType::Agent,
        tenant: Some("acme".to_owned()),
        groups: (0..8).map(|group| format!("group-{group}")).collect(),
        scopes: ["repo".to_owned()].into(),
    };
    let route = RouteFacts {
        metadata_server: Some("s2".to_owned()),
        host: Some("gateway".to_owned()),
        path: "/mcp".to_owned(),
        cluster: None,
    };
    Call {
        message,
        principal: principal.into(),
        route,
        headers: Vec::new(),
        annotations: Annotations::default(),
        definition: None,
    }
}

/// The call sealed under `policy`.
pub fn seal(policy: &PolicySnapshot, params: &str) -> CallEnvelope {
    match policy.seal(call(params)) {
        Ok(envelope) => envelope,
        Err((_, error)) => panic!("{error}"),
    }
}

/// The answer to a `tools/list`: every tenth tool is nothing that this policy would ever let run. As long as servers write.
#[allow(dead_code, reason = "two programs share this file, and one of them measures no lists")]
pub fn list_of_tools(tools: usize) -> String {
    let tool = |number: usize| {
        let kind = if number.is_multiple_of(10) { "delete_" } else { "list_" };
        format!(
            r#"{{"name":"{kind}{number}","title":"Tool {number}","description":"Does what tool {number} does with the repository that it is given, and says \"done\" when it has. Not for production.","inputSchema":{{"type":"object","properties":{{"owner":{{"type":"string","description":"The owner of the repository"}},"repo":{{"type":"string","description":"Its name, without the owner"}},"state":{{"type":"string","enum":["open","closed","all"],"default":"open"}},"limit":{{"type":"integer","minimum":1,"maximum":100}}}},"required":["owner","repo"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
        )
    };
    let tools: Vec<String> = (0..tools).map(tool).collect();
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{}],"nextCursor":"2"}}}}"#, tools.join(","))
}
