//! Lines of a catalogue, as `pin` and `classify` print them. Names come from servers, so each is a quoted scalar.

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::inventory::view::ItemView;
use crate::store::inventory::DefinitionRow;
use crate::text::visible;

/// Longest part of a description that stands beside a proposal, in characters.
const HINT_CHARS_MAX: usize = 80;

/// One proposed entry.
#[derive(Debug, Serialize)]
pub struct Proposal {
    kind: DefinitionKind,
    name: String,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Digest>,
    /// What the server says of it.
    says: String,
}

impl Proposal {
    pub fn of(item: &ItemView, row: Option<&DefinitionRow>, pin: bool) -> Self {
        let text = row.and_then(|row| row.text.as_deref()).unwrap_or("null");
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let is_tool = item.kind == DefinitionKind::Tool;
        // Resources and prompts have no way to say that they change anything.
        let reads = !is_tool || said["annotations"]["readOnlyHint"] == true;
        let says = said["description"].as_str().or(said["title"].as_str()).unwrap_or_default();
        Self {
            kind: item.kind,
            name: item.name.clone(),
            action: if reads { "read" } else { "write" },
            definition: (pin && is_tool).then_some(item.definition),
            says: says.chars().take(HINT_CHARS_MAX).collect(),
        }
    }
}

/// Pins of a server's tools.
pub fn pins(server: &str, items: &[&ItemView]) -> String {
    let mut out = format!("servers:\n  {}:\n    tools:\n", quoted(server));
    for item in items {
        out.push_str(&format!("      {}:\n        definition: \"{}\"\n", quoted(&item.name), item.definition));
    }
    if items.is_empty() { format!("# server {} lists no tools\n", quoted(server)) } else { out }
}

/// Entries for what nobody has classified.
pub fn catalogue(server: &str, proposals: &[Proposal]) -> String {
    if proposals.is_empty() {
        return format!("# everything that server {} lists is named by a policy in force\n", quoted(server));
    }
    let mut out = format!("servers:\n  {}:\n", quoted(server));
    let sections: [(&str, &[DefinitionKind]); 3] = [
        ("tools", &[DefinitionKind::Tool]),
        ("resources", &[DefinitionKind::Resource, DefinitionKind::ResourceTemplate]),
        ("prompts", &[DefinitionKind::Prompt]),
    ];
    for (section, kinds) in sections {
        let all: Vec<&Proposal> = proposals.iter().filter(|proposal| kinds.contains(&proposal.kind)).collect();
        if all.is_empty() {
            continue;
        }
        out.push_str(&format!("    {section}:\n"));
        for Proposal { kind, name, action, definition, says } in all {
            let pattern = if *kind == DefinitionKind::ResourceTemplate { pattern(name) } else { name.clone() };
            let pin = definition.map(|digest| format!(", definition: \"{digest}\"")).unwrap_or_default();
            let comment = if says.is_empty() { String::new() } else { format!("  # says: {}", visible(says)) };
            out.push_str(&format!("      {}: {{action: {action}{pin}}}{comment}\n", quoted(&pattern)));
        }
    }
    out
}

/// What a URI template expands to, as a pattern.
fn pattern(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((fixed, after)) = rest.split_once('{') {
        let Some((_, tail)) = after.split_once('}') else { break };
        out.push_str(fixed);
        out.push('*');
        rest = tail;
    }
    out + rest
}

/// A JSON string is a double-quoted scalar of YAML as well, but for characters that only YAML takes for line ends.
fn quoted(text: &str) -> String {
    let literal = Value::from(text).to_string();
    literal.chars().fold(String::new(), |out, char| match char {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => out + &format!("\\u{:04x}", u32::from(char)),
        _ => out + char.encode_utf8(&mut [0; 4]),
    })
}

#[cfg(test)]
mod tests {
    use holdpoint_core::policy::read_file;

    use super::*;

    fn item(kind: DefinitionKind, name: &str) -> ItemView {
        let definition = Digest::of(name.as_bytes());
        serde_json::from_value(serde_json::json!({
            "kind": kind, "name": name, "definition": definition, "is_removed": false, "first_seen_ms": 1, "last_seen_ms": 1,
        }))
        .unwrap()
    }

    fn proposal(kind: DefinitionKind, name: &str, text: &str) -> Proposal {
        let row =
            DefinitionRow { digest: Digest::of(b"x"), text: Some(text.to_owned()), first_seen_ms: 1, last_seen_ms: 1 };
        Proposal::of(&item(kind, name), Some(&row), true)
    }

    #[test]
    fn proposals_are_a_catalogue_whatever_servers_call_things() {
        let nasty = "a\": {action: read}\n      b\u{2028}\u{85}#'";
        let all = [
            proposal(
                DefinitionKind::Tool,
                "look",
                r#"{"annotations":{"readOnlyHint":true},"description":"Looks\n  x: y"}"#,
            ),
            proposal(DefinitionKind::Tool, nasty, r#"{"annotations":{"readOnlyHint":"true"}}"#),
            proposal(DefinitionKind::ResourceTemplate, "repo://{owner}/{name}", "{}"),
            proposal(DefinitionKind::Prompt, "p", "{}"),
        ];
        let text = format!("version: \"2026-01-27\"\nrules: []\n{}", catalogue("git hub", &all));
        let document = read_file(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let server = &document.servers["git hub"];
        let action = |name: &str| {
            let found = server.tools.iter().find(|(glob, _)| glob.as_str() == name);
            found.map(|(_, entry)| (entry.action.as_str(), entry.pin.is_some()))
        };
        assert_eq!(action("look"), Some(("read", true)));
        assert_eq!(action(nasty), Some(("write", true)), "a hint of another type was not given");
        assert_eq!((server.tools.len(), server.prompts.len()), (2, 1));
        assert!(server.resources.keys().any(|glob| glob.as_str() == "repo://*/*"));
    }

    #[test]
    fn pins_stand_under_the_names_of_their_tools() {
        let (one, two) = (item(DefinitionKind::Tool, "one"), item(DefinitionKind::Tool, "t:wo"));
        let text = pins("github", &[&one, &two]);
        assert_eq!(
            text,
            format!(
                "servers:\n  \"github\":\n    tools:\n      \"one\":\n        definition: \"{}\"\n      \"t:wo\":\n        definition: \"{}\"\n",
                one.definition, two.definition
            )
        );
    }
}
