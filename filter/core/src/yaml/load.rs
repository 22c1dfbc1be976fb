//! Builds located nodes from the events of the YAML parser, and refuses what could be read in two ways.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Kind, Limits, Located, Node, Place, scalar};

/// Reads `text` as one YAML document.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Node, Vec<Located>> {
    let mut tree = Tree { limits, open: Vec::new(), anchors: BTreeMap::new(), root: None, nodes: 0, wrong: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0_u32;
    while let Some(event) = parser.next_event() {
        let step = match event {
            Err(error) => Err(Located { at: place(*error.marker()), message: error.info().to_owned() }),
            Ok((event, span)) => {
                if matches!(event, Event::DocumentStart(_)) {
                    documents = documents.saturating_add(1);
                }
                if documents > 1 {
                    let message = "a second document starts here; one file holds one document".to_owned();
                    Err(Located { at: place(span.start), message })
                } else {
                    tree.take(event, place(span.start))
                }
            }
        };
        if let Err(fatal) = step {
            tree.wrong.push(fatal);
            break;
        }
    }
    if tree.wrong.is_empty() {
        Ok(tree.root.unwrap_or(Node { at: Place::START, kind: Kind::Null }))
    } else {
        Err(tree.wrong)
    }
}

fn place(marker: Marker) -> Place {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(marker.line()).max(1), column: narrow(marker.col()).saturating_add(1) }
}

/// A list or mapping whose end has not been seen.
struct Open {
    at: Place,
    /// 0 when it has no anchor.
    anchor: usize,
    inside: Inside,
}

enum Inside {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        /// Every key so far and where it stands.
        seen: BTreeMap<String, Place>,
        key: Option<Node>,
    },
}

struct Tree<'l> {
    limits: &'l Limits,
    open: Vec<Open>,
    /// Finished anchored nodes and how many nodes each holds.
    anchors: BTreeMap<usize, (Node, usize)>,
    root: Option<Node>,
    nodes: usize,
    wrong: Vec<Located>,
}

impl Tree<'_> {
    /// Takes one event; the error ends the reading.
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), Located> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    let message = "this alias stands inside what it refers to; write the value out".to_owned();
                    return Err(Located { at, message });
                };
                self.count(size, at)?;
                self.attach(Node { at, kind: node.kind });
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                let is_merge = style == ScalarStyle::Plain && text == "<<" && self.expects_key();
                if is_merge {
                    self.report(at, "merge keys (`<<`) are not read; write the fields out");
                }
                let kind = self.scalar(&text, style, tag.as_deref(), at);
                self.finish(Node { at, kind }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at);
                self.open(Open { at, anchor, inside: Inside::Seq(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at);
                let inside = Inside::Map { entries: Vec::new(), seen: BTreeMap::new(), key: None };
                self.open(Open { at, anchor, inside })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let kind = match open.inside {
                    Inside::Seq(items) => Kind::Seq(items),
                    Inside::Map { entries, .. } => Kind::Map(entries),
                };
                let node = Node { at: open.at, kind };
                let size = if open.anchor == 0 { 0 } else { size(&node) };
                self.finish(node, open.anchor, size)
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Located> {
        self.count(1, open.at)?;
        if self.open.len() >= self.limits.depth_max {
            let message = format!("more than {} lists and mappings inside one another", self.limits.depth_max);
            return Err(Located { at: open.at, message });
        }
        self.open.push(open);
        Ok(())
    }

    /// Remembers an anchored node, which costs as much as an alias to it, and attaches the node.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Located> {
        if anchor != 0 {
            self.count(size, node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.attach(node);
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.inside {
            Inside::Seq(items) => items.push(node),
            Inside::Map { entries, key: key @ Some(_), .. } => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
            Inside::Map { seen, key, .. } => {
                match &node.kind {
                    Kind::Str(name) => {
                        if let Some(first) = seen.get(name) {
                            let message = format!("key `{name}` stands twice in one mapping, first at {first}");
                            self.wrong.push(Located { at: node.at, message });
                        } else {
                            seen.insert(name.clone(), node.at);
                        }
                    }
                    Kind::Int(text) | Kind::Float(text) => {
                        let message = format!("a key must be a string, found a number: write \"{text}\" in quotes");
                        self.wrong.push(Located { at: node.at, message });
                    }
                    Kind::Null | Kind::Bool(_) | Kind::Seq(_) | Kind::Map(_) => {
                        let message = format!("a key must be a string, found {}", node.kind.noun());
                        self.wrong.push(Located { at: node.at, message });
                    }
                }
                *key = Some(node);
            }
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { inside: Inside::Map { key: None, .. }, .. }))
    }

    fn count(&mut self, nodes: usize, at: Place) -> Result<(), Located> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.nodes_max {
            let message = format!("more than {} values once every alias is written out", self.limits.nodes_max);
            return Err(Located { at, message });
        }
        Ok(())
    }

    fn report(&mut self, at: Place, message: &str) {
        self.wrong.push(Located { at, message: message.to_owned() });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Kind {
        let Some(tag) = tag else {
            return if style == ScalarStyle::Plain { scalar::resolve(text) } else { Kind::Str(text.to_owned()) };
        };
        let resolved = scalar::resolve(text);
        let fits = match (core_name(tag), &resolved) {
            (Some("str"), _) => return Kind::Str(text.to_owned()),
            (Some("null"), kind) => matches!(kind, Kind::Null),
            (Some("bool"), kind) => matches!(kind, Kind::Bool(_)),
            (Some("int"), kind) => matches!(kind, Kind::Int(_)),
            (Some("float"), kind) => matches!(kind, Kind::Int(_) | Kind::Float(_)),
            (Some(_) | None, _) => false,
        };
        if !fits {
            self.report(at, "this tag is not read here; leave it out, and quote what must be a string");
        }
        resolved
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, expected: &str, at: Place) {
        if tag.is_some_and(|tag| core_name(tag) != Some(expected)) {
            self.report(at, "this tag is not read here; leave it out");
        }
    }
}

/// The name of a core schema tag: `str` of `!!str`.
fn core_name(tag: &Tag) -> Option<&str> {
    if tag.is_yaml_core_schema() { Some(&tag.suffix) } else { None }
}

/// How many nodes `node` holds, itself and keys included. Recurses no deeper than the depth limit.
fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) => 1,
        Kind::Seq(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Kind::Map(entries) => {
            entries.iter().map(|(key, value)| size(key).saturating_add(size(value))).fold(1, usize::saturating_add)
        }
    }
}
