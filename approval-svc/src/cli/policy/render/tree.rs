//! Edits of a configuration as nodes: what `policy render` makes of the embedded base. Before step 1.

use anyhow::{Context, bail};
use holdpoint_core::yaml::{self, Kind, Node, Place};

/// A piece of configuration that is written here: it must be YAML.
pub fn snippet(text: &str) -> anyhow::Result<Node> {
    yaml::read(text, &yaml::Limits::default()).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("a built-in piece of configuration cannot be read: {}", all.join("; "))
    })
}

pub fn text(value: impl Into<String>) -> Node {
    node(Kind::Str(value.into()))
}

pub fn whole(value: u64) -> Node {
    node(Kind::Int(value.to_string()))
}

pub fn list(items: impl IntoIterator<Item = Node>) -> Node {
    node(Kind::Seq(items.into_iter().collect()))
}

pub fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Node)>) -> Node {
    node(Kind::Map(entries.into_iter().map(|(key, value)| (text(key), value)).collect()))
}

/// A duration as protobuf's JSON form has it.
pub fn seconds(ms: u64) -> Node {
    if ms.is_multiple_of(1_000) {
        text(format!("{}s", ms / 1_000))
    } else {
        text(format!("{}.{:03}s", ms / 1_000, ms % 1_000))
    }
}

fn node(kind: Kind) -> Node {
    Node { at: Place::START, kind }
}

/// The node at a path of keys and indices, `static_resources/listeners/0`. The keys that configurations here have hold no `/`.
pub fn at<'n>(root: &'n mut Node, path: &str) -> anyhow::Result<&'n mut Node> {
    let mut here = root;
    for step in path.split('/') {
        here = match &mut here.kind {
            Kind::Map(entries) => {
                entries.iter_mut().find(|(key, _)| key.as_str() == Some(step)).map(|(_, value)| value)
            }
            Kind::Seq(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => None,
        }
        .with_context(|| format!("the base configuration has nothing at `{path}`"))?;
    }
    Ok(here)
}

/// Sets a key of a mapping: in its place if it is there, else at the end.
pub fn set(map: &mut Node, key: &str, value: Node) -> anyhow::Result<()> {
    let Kind::Map(entries) = &mut map.kind else { bail!("the base configuration has no mapping for `{key}`") };
    match entries.iter_mut().find(|(name, _)| name.as_str() == Some(key)) {
        Some((_, old)) => *old = value,
        None => entries.push((text(key), value)),
    }
    Ok(())
}

/// The items of a list.
pub fn items(node: &mut Node) -> anyhow::Result<&mut Vec<Node>> {
    match &mut node.kind {
        Kind::Seq(items) => Ok(items),
        _ => bail!("the base configuration has no list where one belongs"),
    }
}

/// The item of a list that has this `name`.
pub fn named<'n>(list: &'n mut Node, name: &str) -> anyhow::Result<&'n mut Node> {
    items(list)?
        .iter_mut()
        .find(|item| item.get("name").and_then(Node::as_str) == Some(name))
        .with_context(|| format!("the base configuration has no `{name}`"))
}
