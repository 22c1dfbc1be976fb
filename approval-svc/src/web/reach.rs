//! Step 8: how far beyond one call an approval may reach, as its form asks and as what came back is read.

use serde_json::Value;

use super::{Shown, shown};
use crate::approvals::grant::{Predicate, Scope};
use crate::text::span;
use holdpoint_core::decision::GrantLimits;

/// Most arguments that a form offers.
const ARGUMENTS_MAX: usize = 8;
/// Longest value that is offered to differ.
const VALUE_CHARS_MAX: usize = 200;
const MINUTE_MS: u64 = 60_000;

/// What the form of an approval offers.
#[derive(Debug)]
pub struct Reach {
    pub uses_max: u32,
    pub within: String,
    pub minutes_max: u64,
    pub arguments: Vec<Argument>,
}

/// One argument that may differ.
#[derive(Debug)]
pub struct Argument {
    /// JSON pointer below `arguments`. The template escapes it.
    pub pointer: String,
    pub name: Shown,
    /// As the call has it. The template escapes it.
    pub value: String,
    pub is_number: bool,
}

impl Reach {
    pub fn new(limits: GrantLimits, call_text: &str) -> Self {
        Self {
            uses_max: limits.uses_max,
            within: span(limits.within_ms_max),
            minutes_max: (limits.within_ms_max / MINUTE_MS).max(1),
            arguments: arguments(call_text).into_iter().take(ARGUMENTS_MAX).collect(),
        }
    }
}

/// The plain arguments of a call, those that a predicate could be about.
fn arguments(call_text: &str) -> Vec<Argument> {
    let call: Value = serde_json::from_str(call_text).unwrap_or_default();
    let Some(members) = call["params"]["arguments"].as_object() else { return Vec::new() };
    let plain = members.iter().filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        (text.chars().count() <= VALUE_CHARS_MAX).then(|| Argument {
            pointer,
            name: shown(name),
            value: text,
            is_number: value.is_number(),
        })
    });
    plain.collect()
}

/// What a form says of its reach; `None` for one call only. `field` gives the value of a field of that name.
pub fn asked(
    call_text: &str,
    limits: Option<GrantLimits>,
    field: impl Fn(&str) -> String,
) -> Result<Option<Scope>, String> {
    let uses = match field("uses").as_str() {
        "" | "1" => return Ok(None),
        text => text.parse::<u32>().map_err(|_| format!("`{text}` is no number of calls"))?,
    };
    let minutes = field("minutes");
    let minutes: u64 = minutes.parse().map_err(|_| format!("`{minutes}` is no number of minutes"))?;
    let within_ms = minutes.saturating_mul(MINUTE_MS);
    // A limit below a minute is still one that the form can reach.
    let within_ms = limits.map_or(within_ms, |limits| match minutes {
        1 => within_ms.min(limits.within_ms_max),
        _ => within_ms,
    });
    let mut scope = Scope { uses, within_ms, arguments: Default::default() };
    let call: Value = serde_json::from_str(call_text).unwrap_or_default();
    for Argument { pointer, .. } in arguments(call_text).into_iter().take(ARGUMENTS_MAX) {
        let value = field(&format!("value:{pointer}"));
        let predicate = match field(&format!("differs:{pointer}")).as_str() {
            "" => continue,
            "prefix" if !value.is_empty() => Predicate::Prefix(value),
            "lte" => Predicate::Lte(value.parse().map_err(|_| format!("`{value}` is no whole number"))?),
            "one_of" if !value.is_empty() => {
                let seen = call.pointer(&format!("/params/arguments{pointer}"));
                let is_text = seen.is_none_or(Value::is_string);
                let one = |text: &str| match is_text {
                    true => Ok(Value::String(text.to_owned())),
                    false => serde_json::from_str(text).map_err(|_| format!("`{text}` is no number")),
                };
                Predicate::OneOf(value.split(',').map(|text| one(text.trim())).collect::<Result<_, _>>()?)
            }
            _ => return Err(format!("say what `{pointer}` may be")),
        };
        scope.arguments.insert(pointer, predicate);
    }
    Ok(Some(scope))
}

#[cfg(test)]
mod tests;
