//! The description is whole, is what the file beside the sources says, and names the roles that the router lets in.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Compares with a file of the package. With `UPDATE_SNAPSHOTS=1` the file is written instead.
fn is_snapshot(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{file} is out of date: run these tests with UPDATE_SNAPSHOTS=1 and read what changed");
}

#[test]
fn description_is_the_one_that_is_kept() {
    is_snapshot("openapi.json", &(serde_json::to_string_pretty(&document()).unwrap() + "\n"));
}

#[test]
fn problems_are_described_on_their_page() {
    is_snapshot("PROBLEMS.md", &types::page());
    let codes: Vec<&str> = PROBLEM_TYPES.iter().map(|one| one.code).collect();
    let sorted: BTreeSet<&str> = codes.iter().copied().collect();
    assert_eq!(codes, sorted.into_iter().collect::<Vec<_>>(), "sorted, each once");
}

/// Every file below `src/http` and `src/notify`.
fn sources(dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            all.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_code_that_the_sources_answer_with_is_described_with_its_status() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut all);
    let mut found = BTreeSet::new();
    for text in &all {
        for (at, _) in text.match_indices("StatusCode::") {
            let Some((status, rest)) = text[at + 12..].split_once(", \"") else { continue };
            let Ok(status) = status.parse_status() else { continue };
            let code = rest.split('"').next().unwrap_or_default();
            let known = types::find(code).is_some_and(|one| one.statuses.contains(&status));
            assert!(known, "`{code}` with {status} is not in the table of problem types");
            found.insert(code);
        }
    }
    assert!(found.len() > 30, "few codes were found: {found:?}");
}

trait ParseStatus {
    fn parse_status(&self) -> Result<u16, ()>;
}

impl ParseStatus for str {
    /// `NOT_FOUND` as 404.
    fn parse_status(&self) -> Result<u16, ()> {
        let words = self.replace('_', " ");
        let named = |code: &u16| {
            let reason = axum::http::StatusCode::from_u16(*code).ok().and_then(|status| status.canonical_reason());
            reason.is_some_and(|reason| reason.replace('-', " ").eq_ignore_ascii_case(&words))
        };
        (400..600).find(named).ok_or(())
    }
}

/// The routes that `router.rs` adds, pages of browsers aside: method and path.
fn routes() -> BTreeSet<(String, String)> {
    let text = include_str!("../../router.rs");
    let mut routes = BTreeSet::new();
    for route in text.split(".route(").skip(1) {
        // A `may(…)` names roles, never a method in front of a bracket.
        let path = route.split('"').nth(1).unwrap();
        let end = route.find(".route(").unwrap_or(route.len());
        let route = route[..end].split(".layer(").next().unwrap().split(".merge(pages").next().unwrap();
        for method in ["get", "post", "put", "delete"] {
            if [".", " "].iter().any(|before| route.contains(&format!("{before}{method}("))) {
                routes.insert((method.to_owned(), path.replace("{*", "{")));
            }
        }
    }
    let is_api =
        |path: &str| path.starts_with("/v1/") || matches!(path, "/livez" | "/readyz" | "/metrics" | "/openapi.json");
    routes.into_iter().filter(|(_, path)| is_api(path)).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described: BTreeSet<(String, String)> = document()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let routes = routes();
    assert!(routes.len() > 30, "{routes:?}");
    assert_eq!(described, routes);
}
