//! Step 5: the labels of one reading. A handful, so they stand in a row; those that are words of ours are not copied.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Room for our own: server, method, target and action, one of them in the way of no other.
const USUAL: usize = 6;

type Text = Cow<'static, str>;

/// Names with their values, each name once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels(Vec<(Text, Text)>);

impl Labels {
    /// What the policy wrote, with room for what the message adds.
    pub(super) fn of(written: &BTreeMap<String, String>) -> Self {
        let mut labels = Vec::with_capacity(written.len().saturating_add(USUAL));
        labels.extend(written.iter().map(|(name, value)| (Cow::Owned(name.clone()), Cow::Owned(value.clone()))));
        Self(labels)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_ref())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Puts `value` under `name`, in the place of another one.
    pub(super) fn set(&mut self, name: Text, value: Text) {
        match self.0.iter_mut().find(|(one, _)| *one == name) {
            Some((_, kept)) => *kept = value,
            None => self.0.push((name, value)),
        }
    }

    /// The same, in the room of the value before.
    pub(super) fn rename(&mut self, name: &'static str, value: &str) {
        match self.0.iter_mut().find(|(one, _)| one == name) {
            Some((_, Cow::Owned(kept))) => {
                kept.clear();
                kept.push_str(value);
            }
            Some((_, kept)) => *kept = Cow::Owned(value.to_owned()),
            None => self.0.push((Cow::Borrowed(name), Cow::Owned(value.to_owned()))),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(one, _)| one != name);
    }
}
