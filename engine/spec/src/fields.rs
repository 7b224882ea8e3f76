//! The keys of a mapping, taken by name and type, with a diagnostic for each
//! that is not as it should be.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::{either, nearest, quoted};
use crate::node::{Entry, Node, NodeKind, Place};
use crate::source::Span;
use crate::units::{parse_bytes, parse_duration};

/// Collects what is wrong while a tree is read.
pub(crate) struct Reader<'a> {
    pub(crate) diagnostics: &'a mut Diagnostics,
}

/// A mapping whose keys are known to be right.
pub(crate) struct Fields<'a> {
    node: &'a Node,
    what: &'static str,
    /// Keys that are there in a wrong spelling. They are not missing as well.
    misspelt: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The entry of a key. A key with nothing behind it counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Entry> {
        self.node.entries().iter().find(|entry| entry.key == key && !entry.value.is_null())
    }

    /// Where to point when something is missing: the key that names the
    /// component, or the start of the mapping.
    pub(crate) fn place(&self) -> Place {
        let entries = self.node.entries();
        let named = entries.iter().find(|entry| entry.key == "use").or(entries.first());
        Place { key: None, value: named.map_or_else(|| self.node.span.clone(), |entry| entry.value.span.clone()) }
    }

    fn start(&self) -> Span {
        self.node.entries().first().map_or_else(|| self.node.span.clone(), |entry| entry.key_span.clone())
    }
}

impl Reader<'_> {
    /// The keys of a mapping; a diagnostic for each key that is not `allowed`.
    pub(crate) fn fields<'a>(
        &mut self,
        node: &'a Node,
        what: &'static str,
        allowed: &[&'static str],
    ) -> Option<Fields<'a>> {
        let NodeKind::Mapping(entries) = &node.kind else {
            let keys = either(allowed);
            self.wrong_type(node, &format!("a mapping for {what}"), Some(&format!("its keys are {keys}")));
            return None;
        };
        let mut misspelt = Vec::new();
        for entry in entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str())) {
            let found = Diagnostic::error("unknown-key", format!("{what} has no key {}", quoted(&entry.key)));
            let found = found.at(&entry.key_span);
            self.diagnostics.push(match nearest(&entry.key, allowed.iter().copied()) {
                Some(right) => {
                    misspelt.push(right);
                    found.label(format!("did you mean `{right}`?"))
                }
                None => found.hint(format!("expected {}", either(allowed))),
            });
        }
        Some(Fields { node, what, misspelt })
    }

    /// The entry of a key that must be there.
    pub(crate) fn required<'a>(&mut self, fields: &Fields<'a>, key: &str, hint: &str) -> Option<&'a Entry> {
        if let Some(entry) = fields.get(key) {
            return Some(entry);
        }
        if fields.misspelt.contains(&key) {
            return None;
        }
        let empty = fields.node.entries().iter().find(|entry| entry.key == key);
        let found = match empty {
            Some(entry) => Diagnostic::error("missing-key", format!("`{key}` is empty")).at(&entry.key_span),
            None => Diagnostic::error("missing-key", format!("{} needs `{key}`", fields.what)).at(&fields.start()),
        };
        self.diagnostics.push(found.hint(hint));
        None
    }

    /// The text of an entry.
    pub(crate) fn text(&mut self, entry: &Entry) -> Option<String> {
        self.text_of(&entry.value, &format!("text for `{}`", entry.key))
    }

    /// The text of a node that must be one, such as an item of a list.
    pub(crate) fn text_of(&mut self, node: &Node, expected: &str) -> Option<String> {
        if let Some(text) = node.as_text() {
            return Some(text.to_owned());
        }
        let quotes = matches!(node.kind, NodeKind::Number(_) | NodeKind::Bool(_));
        let hint = quotes.then(|| format!("put it into quotes: \"{}\"", node.span.text()));
        self.wrong_type(node, expected, hint.as_deref());
        None
    }

    /// Which of a few words an entry is.
    pub(crate) fn choice<T: Copy>(&mut self, entry: &Entry, all: &[T], word: fn(T) -> &'static str) -> Option<T> {
        let text = self.text(entry)?;
        let found = all.iter().copied().find(|choice| word(*choice) == text);
        if found.is_none() {
            let words: Vec<_> = all.iter().map(|choice| word(*choice)).collect();
            let problem = Diagnostic::error("not-a-choice", format!("expected {}", either(&words)));
            let problem = problem.at(&entry.value.span);
            self.diagnostics.push(match nearest(&text, words) {
                Some(right) => problem.hint(format!("did you mean `{right}`?")),
                None => problem,
            });
        }
        found
    }

    /// The items of an entry that must be a list.
    pub(crate) fn list<'a>(&mut self, entry: &'a Entry) -> &'a [Node] {
        match &entry.value.kind {
            NodeKind::Sequence(items) => items,
            NodeKind::Mapping(_) => {
                let hint = "put `- ` in front of it to make it the only item";
                self.wrong_type(&entry.value, &format!("a list for `{}`", entry.key), Some(hint));
                &[]
            }
            kind => {
                let is_item = matches!(kind, NodeKind::Text(_) | NodeKind::Number(_));
                let hint = is_item.then_some("put it between `[` and `]` to make it the only item");
                self.wrong_type(&entry.value, &format!("a list for `{}`", entry.key), hint);
                &[]
            }
        }
    }

    /// The whole number of an entry, within bounds.
    pub(crate) fn integer(&mut self, entry: &Entry, least: u64, most: u64) -> Option<u64> {
        let NodeKind::Number(number) = &entry.value.kind else {
            let is_digits = entry.value.as_text().is_some_and(|text| text.parse::<u64>().is_ok());
            let hint = is_digits.then_some("remove the quotes");
            self.wrong_type(&entry.value, &format!("a whole number for `{}`", entry.key), hint);
            return None;
        };
        let found = number.as_u64().filter(|number| (least..=most).contains(number));
        if found.is_none() {
            let bounds = if most == u64::MAX { format!("from {least}") } else { format!("from {least} to {most}") };
            let problem = Diagnostic::error("out-of-range", format!("`{}` is a whole number {bounds}", entry.key));
            self.diagnostics.push(problem.at(&entry.value.span).label(format!("found {number}")));
        }
        found
    }

    /// The duration of an entry.
    pub(crate) fn duration(&mut self, entry: &Entry) -> Option<Duration> {
        let text = match &entry.value.kind {
            NodeKind::Text(text) => text.clone(),
            NodeKind::Number(number) => number.to_string(),
            _ => {
                self.wrong_type(&entry.value, "a duration such as `2s`", None);
                return None;
            }
        };
        self.unit("bad-duration", &text, entry, parse_duration(&text))
    }

    /// The size of an entry, in bytes.
    pub(crate) fn bytes(&mut self, entry: &Entry) -> Option<u64> {
        let text = match &entry.value.kind {
            NodeKind::Text(text) => text.clone(),
            NodeKind::Number(number) => number.to_string(),
            _ => {
                self.wrong_type(&entry.value, "a size such as `64KiB`", None);
                return None;
            }
        };
        self.unit("bad-size", &text, entry, parse_bytes(&text))
    }

    fn unit<T>(&mut self, code: &'static str, text: &str, entry: &Entry, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| {
            let found = Diagnostic::error(code, format!("{} is not right for `{}`", quoted(text), entry.key));
            self.diagnostics.push(found.at(&entry.value.span).hint(problem));
        })
        .ok()
    }

    /// Says that something else was expected.
    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str, hint: Option<&str>) {
        let found = Diagnostic::error("wrong-type", format!("expected {expected}, found {}", node.describe()));
        let found = found.at(&node.span);
        self.diagnostics.push(match hint {
            Some(hint) => found.hint(hint),
            None => found,
        });
    }
}
