//! Keeps the walls and the map true: reads the sources as text and fails when one crosses a wall of the blueprint.

use std::fs;
use std::path::{Path, PathBuf};

/// A name that only some files may write.
struct Wall {
    name: &'static str,
    within: &'static str,
    allowed: &'static [&'static str],
    why: &'static str,
}

/// `within` and `allowed` are prefixes of paths relative to the root; tests are free to name anything.
const WALLS: &[Wall] = &[
    Wall {
        name: "proxy_wasm",
        within: "",
        allowed: &["filter/src/host"],
        why: "invariant 5: only filter/src/host* talks to Envoy",
    },
    Wall {
        name: "sqlx",
        within: "",
        allowed: &["approval-svc/src/store"],
        why: "invariant 5: only the store knows its database",
    },
    Wall {
        name: "axum",
        within: "approval-svc/",
        allowed: &[
            "approval-svc/src/main.rs",
            "approval-svc/src/serve.rs",
            "approval-svc/src/serve/",
            "approval-svc/src/router.rs",
            "approval-svc/src/http/",
            "approval-svc/src/http.rs",
        ],
        why: "invariant 5: only main, serve, router and http/ know the web framework",
    },
    Wall {
        name: "approval_svc",
        within: "filter/",
        allowed: &[],
        why: "invariant 6: the filter and the service meet only over HTTP",
    },
    Wall {
        name: "holdpoint_filter",
        within: "approval-svc/",
        allowed: &[],
        why: "invariant 6: the filter and the service meet only over HTTP",
    },
    core("std::time"),
    core("std::net"),
    core("std::fs"),
    core("std::env"),
    core("std::thread"),
    core("std::process"),
    core("SystemTime"),
    core("Instant"),
    core("HashMap"),
    core("HashSet"),
];

const fn core(name: &'static str) -> Wall {
    Wall {
        name,
        within: "filter/core/",
        // Measurements need a clock.
        allowed: &["filter/core/benches/"],
        why: "invariant 4: core is pure; time, counters and order are given to it",
    }
}

/// Packages that a manifest must not depend on.
const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str])] = &[
    ("filter/Cargo.toml", &["approval-svc", "sqlx", "axum", "tokio"]),
    ("filter/core/Cargo.toml", &["holdpoint-filter", "approval-svc", "proxy-wasm", "sqlx", "axum", "tokio"]),
    ("approval-svc/Cargo.toml", &["holdpoint-filter", "proxy-wasm"]),
];

/// What `README.md` files may point at: paths that begin so must exist.
const TOP_LEVEL: &[&str] = &["filter/", "approval-svc/", "envoy/", "tests/", "examples/", ".ci/", ".cargo/"];

struct SourceFile {
    path: String,
    text: String,
}

#[test]
fn walls_stand() {
    let findings: Vec<String> = sources(&["rs"]).iter().flat_map(crossings).collect();
    report(&findings);
}

#[test]
fn crossed_wall_is_found() {
    let crossing = |path: &str, text: &str| {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        crossings(&file).len()
    };
    assert_eq!(crossing("filter/src/exchange.rs", "use proxy_wasm::types;"), 1);
    assert_eq!(crossing("filter/src/host/abi.rs", "use proxy_wasm::types;"), 0);
    assert_eq!(crossing("filter/src/exchange.rs", "// proxy_wasm says so"), 0);
    assert_eq!(crossing("approval-svc/src/approvals.rs", "sqlx::query(\"\")"), 1);
    assert_eq!(crossing("approval-svc/src/http/auth.rs", "use axum::Json;"), 0);
    assert_eq!(crossing("approval-svc/src/ledger.rs", "use axum::Json;"), 1);
    assert_eq!(crossing("filter/core/src/audit.rs", "let now = SystemTime::now();"), 1);
    assert_eq!(crossing("filter/core/src/audit.rs", "let instantly = 1;"), 0);
    assert_eq!(crossing("filter/core/src/audit/tests.rs", "use std::fs;"), 0);
}

#[test]
fn manifests_keep_the_arrows() {
    let mut findings = Vec::new();
    for (manifest, forbidden) in FORBIDDEN_DEPENDENCIES {
        let text = fs::read_to_string(root().join(manifest)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let package = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if forbidden.contains(&package) {
                findings.push(format!("{manifest}:{}: depends on `{package}`", number + 1));
            }
        }
    }
    report(&findings);
}

#[test]
fn every_source_file_says_what_it_is() {
    let findings: Vec<String> = sources(&["rs"])
        .iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}:1: the first line must be `//! what it is`", file.path))
        .collect();
    report(&findings);
}

/// A file that nobody names is not compiled: no compiler and no test ever looks at it.
#[test]
fn every_source_file_is_compiled() {
    let files = sources(&["rs", "toml"]);
    let is_named = |file: &SourceFile| {
        let path = Path::new(&file.path);
        let (Some(dir), Some(stem)) = (path.parent(), path.file_stem().and_then(|stem| stem.to_str())) else {
            return false;
        };
        let parent = dir.with_extension("rs");
        let declares = |other: &SourceFile| {
            let at = Path::new(&other.path);
            let beside = at.parent() == Some(dir) && (at.ends_with("main.rs") || at.ends_with("lib.rs"));
            (beside || at == parent) && other.text.lines().any(|line| line.trim().ends_with(&format!("mod {stem};")))
        };
        // A module at another place, a target in a manifest, a text that another file takes in.
        let quoted = format!("{stem}.rs\"");
        // Cargo finds these by itself.
        let is_target = !file.path.contains("/src/") && (dir.ends_with("tests") || dir.ends_with("benches"));
        ["main", "lib", "build"].contains(&stem)
            || is_target
            || files.iter().any(|other| other.path != file.path && (declares(other) || other.text.contains(&quoted)))
    };
    let findings: Vec<String> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && !is_named(file))
        .map(|file| format!("{}: no file and no manifest names it", file.path))
        .collect();
    report(&findings);
}

#[test]
fn every_path_that_a_readme_names_exists() {
    let findings: Vec<String> = sources(&["md"])
        .iter()
        .flat_map(|file| {
            named_paths(&file.text)
                .into_iter()
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{}: names `{path}`, which does not exist", file.path))
        })
        .collect();
    report(&findings);
}

#[test]
fn paths_are_read_out_of_prose() {
    let text = "See `envoy/envoy.yaml`, `cargo test`, `filter/src/{a,b}.rs` and `filter/src/host*`.";
    assert_eq!(named_paths(text), ["envoy/envoy.yaml", "filter/src/a.rs", "filter/src/b.rs", "filter/src/"]);
}

#[test]
fn nothing_names_one_machine() {
    // Taken apart, so that this file does not find itself.
    let forbidden = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".org"),
    ];
    let mut findings = Vec::new();
    for file in sources(&["rs", "md", "yaml", "toml", "json", "sql", "sh", "html", "js"]) {
        for (number, line) in file.text.lines().enumerate() {
            for name in forbidden.iter().filter(|name| line.contains(**name)) {
                findings.push(format!("{}:{}: names `{name}`", file.path, number + 1));
            }
        }
    }
    report(&findings);
}

/// What the README of the tests says of a fault, a test has shown.
#[test]
fn every_test_that_the_table_of_faults_names_is_there() {
    let readme = fs::read_to_string(root().join("tests/README.md")).expect("the README of the tests");
    let table = readme.split("| What breaks |").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the table");
    let tests = sources(&["rs"]);
    let mut findings = Vec::new();
    let mut named = 0;
    for row in table.lines().skip(2).filter(|row| row.starts_with("| ")) {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        // Names of suites have no `_`.
        for name in last.split('`').skip(1).step_by(2).filter(|name| name.contains('_')) {
            named += 1;
            let sought = match name.strip_suffix('…') {
                Some(beginning) => format!("fn {beginning}"),
                None => format!("fn {name}("),
            };
            if !tests.iter().any(|file| file.text.contains(&sought)) {
                findings.push(format!("tests/README.md: no test is called `{name}`"));
            }
        }
    }
    assert!(named >= 30, "only {named} tests are named");
    report(&findings);
}

/// The number from which on every migration stands in both folders; PostgreSQL's begins with it.
const MIGRATIONS_SHARED_FROM: u32 = 99;

/// Two migrations of one number are one migration that was changed, to a database that has had either.
#[test]
fn every_migration_has_a_number_of_its_own() {
    let mut findings = Vec::new();
    for database in ["sqlite", "postgres"] {
        let names = migrations(database);
        let twice = names.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        findings.extend(
            twice.map(|pair| format!("{database}: `{}` and `{}` need numbers that differ", pair[0].1, pair[1].1)),
        );
    }
    report(&findings);
}

/// A change of one database's schema alone is a statement that fails on the other.
#[test]
fn every_migration_stands_in_both_folders() {
    let shared = |database| {
        let names = migrations(database).into_iter();
        names.filter(|(number, _)| *number >= MIGRATIONS_SHARED_FROM).collect::<Vec<_>>()
    };
    assert_eq!(shared("sqlite"), shared("postgres"), "the same numbers and names in migrations/sqlite and /postgres");
    assert!(migrations("postgres").iter().all(|(number, _)| *number >= MIGRATIONS_SHARED_FROM));
}

/// Number and name of each, in order.
fn migrations(database: &str) -> Vec<(u32, String)> {
    let folder = root().join("approval-svc/migrations").join(database);
    let files = fs::read_dir(folder).expect("the migrations").map(|file| file.expect("a file").file_name());
    let number = |name: &str| name.split('_').next().and_then(|digits| digits.parse().ok()).expect("a number first");
    let mut names: Vec<(u32, String)> =
        files.map(|name| name.to_string_lossy().into_owned()).map(|name| (number(&name), name)).collect();
    names.sort();
    assert!(!names.is_empty(), "no migrations were found");
    names
}

#[test]
fn base_configuration_carries_the_quickstart_policy() {
    let read = |path| fs::read_to_string(root().join(path)).unwrap_or_default();
    let base = read("envoy/envoy.yaml");
    let (_, block) = base.split_once("value: |\n").unwrap_or_default();
    let indent = " ".repeat(20);
    let carried =
        block.lines().map_while(|line| line.strip_prefix(&indent)).fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(
        carried,
        read("examples/quickstart/policy.yaml"),
        "envoy/envoy.yaml and examples/quickstart/policy.yaml must hold the same document"
    );
}

/// The lines of a file that name what a wall keeps out.
fn crossings(file: &SourceFile) -> Vec<String> {
    let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if is_test {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let walls = WALLS.iter().filter(|wall| {
        file.path.starts_with(wall.within) && !wall.allowed.iter().any(|allowed| file.path.starts_with(allowed))
    });
    for wall in walls {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if names(code, wall.name) {
                findings.push(format!("{}:{}: names `{}` ({})", file.path, number + 1, wall.name, wall.why));
            }
        }
    }
    findings
}

/// Whether `code` contains `name` as a whole word.
fn names(code: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The repository paths in backticks, braces spread, a pattern cut to the directory that must exist.
fn named_paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("```")) {
        for quoted in line.split('`').skip(1).step_by(2) {
            let plain = |character: char| character.is_ascii_alphanumeric() || "_./-{},*".contains(character);
            let is_path = TOP_LEVEL.iter().any(|top| quoted.starts_with(top));
            if !is_path || !quoted.chars().all(plain) {
                continue;
            }
            for path in spread(quoted) {
                let fixed = match path.split_once('*') {
                    Some((fixed, _)) => fixed.rsplit_once('/').map_or(fixed, |(dir, _)| dir).to_owned() + "/",
                    None => path,
                };
                paths.push(fixed);
            }
        }
    }
    paths
}

/// `a{b,c}d` as `abd` and `acd`.
fn spread(pattern: &str) -> Vec<String> {
    let parts = pattern
        .split_once('{')
        .and_then(|(before, rest)| rest.split_once('}').map(|(inside, after)| (before, inside, after)));
    match parts {
        Some((before, inside, after)) => {
            inside.split(',').flat_map(|choice| spread(&format!("{before}{choice}{after}"))).collect()
        }
        None => vec![pattern.to_owned()],
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the repository with one of these endings, in a fixed order; what cargo and git own is left out.
fn sources(endings: &[&str]) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name.as_str()) {
                    dirs.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(&format!(".{ending}"))) {
                let relative = path.strip_prefix(root()).unwrap_or(&path);
                files.push(SourceFile {
                    path: relative.to_string_lossy().into_owned(),
                    text: fs::read_to_string(&path).unwrap_or_default(),
                });
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(!files.is_empty(), "no {endings:?} files below {}", root().display());
    files
}

fn report(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
