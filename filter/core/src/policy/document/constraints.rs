//! Reads `constraints:` of a rule: what a call must keep to, and what becomes of its answer.

use std::collections::{BTreeMap, BTreeSet};

use super::read::globs;
use super::{Bound, RateWindow, RuleConstraints, arguments};
use crate::decision::{LimitScope, OutputLimits, RateKey, RedactionLevel};
use crate::fleet;
use crate::policy::pointer::Pointer;
use crate::redact::Pattern;
use crate::yaml::{Cursor, Problems};

const DAY_MS: u64 = 86_400_000;
const RETRIES_MAX: u64 = 100;
const JOBS_MAX: u64 = 1_000_000;
const CALLS_MAX: u64 = 1_000_000;
const OUTPUT_BYTES_MAX: u64 = 1 << 40;
const BOUNDS_MAX: usize = 64;

const KEYS: [(&str, RateKey); 4] =
    [("actor", RateKey::Actor), ("tool", RateKey::Tool), ("server", RateKey::Server), ("tenant", RateKey::Tenant)];

const SCOPES: [(&str, LimitScope); 2] = [("process", LimitScope::Process), ("fleet", LimitScope::Fleet)];

const LEVELS: [(&str, RedactionLevel); 3] =
    [("none", RedactionLevel::None), ("secrets", RedactionLevel::Secrets), ("full", RedactionLevel::Full)];

pub(super) fn read(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<RuleConstraints> {
    const FIELDS: [&str; 5] = ["budgets", "toolchain", "arguments", "output", "redaction_level"];
    let fields = cursor.fields(&FIELDS, problems)?;
    if FIELDS.iter().all(|name| fields.get(name).is_none()) {
        cursor.problem(format!("expected one of {}: none of them constrains nothing", FIELDS.join(", ")), problems);
        return None;
    }
    let mut read = RuleConstraints::default();
    if let Some(field) = fields.get("budgets") {
        budgets(&field, &mut read, problems);
    }
    if let Some(field) = fields.get("toolchain")
        && let Some(fields) = field.fields(&["allowed_tools"], problems)
        && let Some(tools) = fields.require("allowed_tools", problems)
    {
        read.allowed_tools = globs(&tools, problems);
    }
    if let Some(field) = fields.get("arguments") {
        read.arguments = bounds(&field, problems);
    }
    if let Some(field) = fields.get("output") {
        output(&field, &mut read.output, problems);
    }
    if let Some(field) = fields.get("redaction_level") {
        read.output.redaction_level = field.one_of("redaction level", &LEVELS, problems).unwrap_or_default();
    }
    Some(read)
}

fn budgets(cursor: &Cursor<'_>, read: &mut RuleConstraints, problems: &mut Problems) {
    const FIELDS: [&str; 7] =
        ["max_runtime_ms", "max_retries", "max_concurrent_jobs", "max_calls", "per_ms", "key", "scope"];
    let Some(fields) = cursor.fields(&FIELDS, problems) else { return };
    let mut number = |name: &str, least: u64, most: u64| {
        fields.get(name).and_then(|field| field.whole_number(least..=most, problems))
    };
    let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    read.max_runtime_ms = number("max_runtime_ms", 1, DAY_MS);
    read.max_retries = small(number("max_retries", 0, RETRIES_MAX));
    read.max_concurrent_jobs = small(number("max_concurrent_jobs", 1, JOBS_MAX));
    let calls_max = small(number("max_calls", 1, CALLS_MAX));
    let per_ms = number("per_ms", 1, DAY_MS);
    let key = fields.get("key").and_then(|field| field.one_of("key", &KEYS, problems));
    match (fields.get("max_calls"), fields.get("per_ms")) {
        (Some(_), Some(_)) => {
            read.rate = calls_max.zip(per_ms).map(|(calls_max, per_ms)| RateWindow {
                calls_max,
                per_ms,
                key: key.unwrap_or(RateKey::Actor),
            });
        }
        (Some(one), None) | (None, Some(one)) => one.problem("`max_calls` and `per_ms` belong together", problems),
        (None, None) => {
            if let Some(field) = fields.get("key") {
                field.problem("`key` says by what `max_calls` counts, which is missing", problems);
            }
        }
    }
    if let Some(field) = fields.get("scope") {
        read.scope = field.one_of("scope", &SCOPES, problems).unwrap_or_default();
        if fields.get("max_concurrent_jobs").or_else(|| fields.get("max_calls")).is_none() {
            field.problem("`scope` says what `max_concurrent_jobs` or `max_calls` counts, which are missing", problems);
        }
    }
    // The service keeps a row for each call.
    let counted =
        [("max_concurrent_jobs", read.max_concurrent_jobs), ("max_calls", read.rate.map(|rate| rate.calls_max))];
    for (name, most) in counted {
        if let (LimitScope::Fleet, Some(field), Some(most)) = (read.scope, fields.get(name), most)
            && u64::from(most) > fleet::CALLS_MAX
        {
            field.problem(format!("with `scope: fleet` at most {} calls are counted", fleet::CALLS_MAX), problems);
        }
    }
    if FIELDS.iter().all(|name| fields.get(name).is_none()) {
        cursor.problem("expected max_runtime_ms, max_retries, max_concurrent_jobs or max_calls", problems);
    }
}

fn bounds(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<Pointer, Bound> {
    let mut bounds = BTreeMap::new();
    for (text, cursor) in cursor.entries(problems).unwrap_or_default() {
        let pointer = Pointer::parse(text).map_err(|message| cursor.problem(message, problems)).ok();
        let test = arguments::test_beside(&cursor, &["optional"], problems);
        let optional = cursor
            .node()
            .get("optional")
            .is_some_and(|node| cursor.field("optional", node).boolean(problems) == Some(true));
        let (Some(pointer), Some(test)) = (pointer, test) else { continue };
        bounds.insert(pointer, Bound { test, optional });
    }
    if bounds.len() > BOUNDS_MAX {
        cursor.problem(format!("a rule bounds at most {BOUNDS_MAX} arguments"), problems);
    }
    bounds
}

fn output(cursor: &Cursor<'_>, read: &mut OutputLimits, problems: &mut Problems) {
    const FIELDS: [&str; 2] = ["max_bytes", "redact"];
    let Some(fields) = cursor.fields(&FIELDS, problems) else { return };
    read.max_bytes = fields.get("max_bytes").and_then(|field| field.whole_number(1..=OUTPUT_BYTES_MAX, problems));
    if let Some(field) = fields.get("redact") {
        read.redact = patterns(&field, problems);
    }
    if FIELDS.iter().all(|name| fields.get(name).is_none()) {
        cursor.problem("expected max_bytes or redact", problems);
    }
}

fn patterns(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeSet<String> {
    let mut patterns = BTreeSet::new();
    for item in cursor.one_or_more(problems).unwrap_or_default() {
        let Some(text) = item.string(problems) else { continue };
        match Pattern::parse(text) {
            Ok(_) => {
                patterns.insert(text.to_owned());
            }
            Err(message) => item.problem(message, problems),
        }
    }
    patterns
}
