//! `GET /openapi.json`: the whole API, described. Records describe themselves (utoipa); `operations` lists what can be asked.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::IntoResponse;
use holdpoint_core::wire::PROBLEM_WIRE;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::problem::types::{self, PROBLEM_TYPES};
use crate::tokens::Role;

mod operations;
#[cfg(test)]
mod tests;

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /openapi.json`
pub async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.as_str())
}

/// One thing that can be asked.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Empty where no credential is needed.
    roles: &'static [Role],
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
    problems: Vec<&'static str>,
}

/// The records that the description names.
#[derive(Default)]
struct Components(BTreeMap<String, RefOr<Schema>>);

impl Components {
    /// A reference to `T`, which is described from now on.
    fn of<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        let mut described = vec![(name.clone(), T::schema())];
        T::schemas(&mut described);
        for (name, schema) in described {
            let kept = self.0.entry(name.clone()).or_insert_with(|| schema.clone());
            debug_assert!(*kept == schema, "two types are called `{name}`: rename one");
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

impl Operation {
    fn new(method: &'static str, path: &'static str, roles: &'static [Role], summary: &'static str) -> Self {
        let mut problems = Vec::new();
        if !roles.is_empty() {
            problems.extend(["token", "token-unfit", "role", "rate-limited", "store-unavailable"]);
        }
        if roles.contains(&Role::Enforcer) {
            problems.push(PROBLEM_WIRE);
        }
        let mut parameters = Vec::new();
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let name = name.trim_start_matches('*');
            parameters.push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
            problems.push("malformed-path");
        }
        Self { method, path, summary, roles, parameters, body: None, answers: Vec::new(), problems }
    }

    fn query(mut self, name: &str, schema: Value, meaning: &str) -> Self {
        self.parameters.push(json!({"name": name, "in": "query", "description": meaning, "schema": schema}));
        if !self.problems.contains(&"malformed-query") {
            self.problems.push("malformed-query");
        }
        self
    }

    fn header(mut self, name: &str, pattern: &str, meaning: &str) -> Self {
        let schema = json!({"type": "string", "pattern": pattern});
        self.parameters.push(json!({"name": name, "in": "header", "description": meaning, "schema": schema}));
        if !self.problems.contains(&"malformed-header") {
            self.problems.push("malformed-header");
        }
        self
    }

    fn waits(self) -> Self {
        self.header("Prefer", "^wait=[0-9]{1,2}$", "How many seconds to wait for a change, at most 60 (RFC 7240)")
    }

    fn body(mut self, schema: Value) -> Self {
        self.body = Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}));
        self.problems.extend(["malformed-body", "body-incomplete", "body-too-large"]);
        self
    }

    fn json(mut self, status: u16, meaning: &str, schema: Value) -> Self {
        let content = json!({"application/json": {"schema": schema}});
        self.answers.push((status, json!({"description": meaning, "content": content})));
        self
    }

    fn text(mut self, status: u16, kind: &str, meaning: &str) -> Self {
        self.answers.push((status, json!({"description": meaning, "content": {kind: {"schema": {"type": "string"}}}})));
        self
    }

    fn empty(mut self, status: u16, meaning: &str) -> Self {
        self.answers.push((status, json!({"description": meaning})));
        self
    }

    fn problems(mut self, codes: &[&'static str]) -> Self {
        self.problems.extend(codes);
        self
    }

    fn described(self) -> Value {
        let mut responses: BTreeMap<String, Value> =
            self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in self.problems {
            for status in types::find(code).map_or(&[][..], |found| found.statuses) {
                let codes = by_status.entry(*status).or_default();
                if !codes.contains(&code) {
                    codes.push(code);
                }
            }
        }
        for (status, mut codes) in by_status {
            codes.sort_unstable();
            let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
            let problem = json!({"description": codes.join(", "), "content": content});
            match responses.entry(status.to_string()) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(problem)),
                // A status that both an answer and a problem have: either content.
                std::collections::btree_map::Entry::Occupied(mut taken) => {
                    taken.get_mut()["content"]["application/problem+json"] =
                        json!({"schema": {"$ref": "#/components/schemas/Problem"}});
                }
            }
        }
        let roles: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        let mut described = json!({
            "summary": self.summary, "operationId": operation_id(self.method, self.path), "parameters": self.parameters,
            "responses": responses, "x-roles": roles,
            "security": if roles.is_empty() { json!([]) } else { json!([{"bearer": []}]) },
        });
        if let Some(body) = self.body {
            described["requestBody"] = body;
        }
        described
    }
}

fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = std::iter::once(method).chain(words.skip_while(|word| *word == "v1")).collect();
    words.join("_")
}

/// The description, whole.
fn document() -> Value {
    let mut components = Components::default();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations::all(&mut components) {
        // OpenAPI knows no parameter that spans steps of a path; it is one text with slashes in it.
        let (method, path) = (operation.method, operation.path);
        paths.entry(path).or_default().insert(method.to_owned(), operation.described());
    }
    let paths: BTreeMap<String, Map<String, Value>> =
        paths.into_iter().map(|(path, methods)| (path.replace("{*", "{"), methods)).collect();
    let mut schemas = json!(components.0);
    let codes: Vec<&str> = PROBLEM_TYPES.iter().map(|one| one.code).collect();
    let types: BTreeMap<&str, Value> =
        PROBLEM_TYPES.iter().map(|one| (one.code, json!({"statuses": one.statuses, "meaning": one.meaning}))).collect();
    schemas["Problem"] = json!({
        "x-types": types,
        "type": "object", "description": "Why something was not done (RFC 9457)",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "code": {"type": "string", "enum": codes, "description": "Stable; approval-svc/PROBLEMS.md describes each"},
            "detail": {"type": "string", "description": "For people: do not match on it"},
        },
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdpoint", "version": env!("CARGO_PKG_VERSION"),
            "description": "Human approval for MCP calls: approvals, their reviews and grants, the record.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {
                "type": "http", "scheme": "bearer",
                "description": "A token of `holdpoint token create`, or a JWT of an identity provider that the service takes",
            }},
        },
    })
}
