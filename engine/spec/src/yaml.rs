//! YAML bytes into a [`Node`], within fixed budgets.
//!
//! The parser gives events with places; the tree, the budgets and the refusals
//! are ours. Nothing here recurses, so no input can exhaust the stack.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as EventSpan, Tag, options};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Entry, Node, NodeKind, Weight};
use crate::scalar;
use crate::source::{Source, Span};

/// The largest file that is read: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;
/// How deep lists and mappings may stand within each other.
pub const MAX_DEPTH: usize = 128;
/// How many values a file may have, with what its aliases stand for counted
/// each time.
pub const MAX_NODES: usize = 100_000;
/// How many bytes of text the aliases of a file may repeat: 1 MiB.
pub const MAX_ALIAS_BYTES: usize = 1 << 20;

/// A file that was read: its text and, unless it cannot be understood at all,
/// its tree.
pub(crate) struct Read {
    pub(crate) source: Source,
    pub(crate) root: Option<Node>,
    pub(crate) diagnostics: Diagnostics,
}

/// Reads the one document of a file.
pub(crate) fn read(bytes: &[u8], file_name: &str) -> Read {
    if bytes.len() > MAX_BYTES {
        let source = Source::new(file_name, "");
        let found = Diagnostic::error("file-too-large", "the file is larger than 4 MiB")
            .at(&source.span(0..0))
            .hint("a pipeline file is a page or two of YAML; give the path of such a file");
        return Read { source, root: None, diagnostics: found.into() };
    }
    let source = Source::new(file_name, String::from_utf8_lossy(bytes));
    let refused = refused_bytes(bytes, &source);
    if let Some(found) = refused {
        return Read { source, root: None, diagnostics: found.into() };
    }
    read_source(&source)
}

/// Reads the one document of a text.
pub(crate) fn read_source(source: &Source) -> Read {
    let mut builder = Builder::new(source);
    let root = builder.build();
    Read { source: source.clone(), root, diagnostics: builder.diagnostics }
}

/// What no YAML file may hold: bytes that are not UTF-8, control characters.
fn refused_bytes(bytes: &[u8], source: &Source) -> Option<Diagnostic> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let at = error.valid_up_to();
        let found = Diagnostic::error("invalid-utf8", "the file is not UTF-8")
            .at(&source.span(at..at + '\u{fffd}'.len_utf8()))
            .label(format!("byte 0x{:02X} here", bytes[at]));
        return Some(found.hint("save the file as UTF-8"));
    }
    let is_refused = |byte: u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r');
    let at = bytes.iter().position(|byte| is_refused(*byte))?;
    let found = Diagnostic::error("control-character", "the file holds a control character")
        .at(&source.span(at..at + 1))
        .label(format!("byte 0x{:02X} here", bytes[at]));
    Some(found.hint("write it as an escape within double quotes, such as \"\\x00\""))
}

/// Stops the reading of a file whose diagnostic is already noted.
struct Stop;

struct Builder<'a> {
    source: &'a Source,
    diagnostics: Diagnostics,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_bytes: usize,
    /// Something is missing from the tree, and what follows from that would only
    /// confuse.
    incomplete: bool,
}

/// A list or mapping whose end has not been met.
struct Open {
    start: Span,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, seen: HashMap<String, Span>, key: Option<(String, Span)> },
}

struct Anchored {
    node: Node,
    weight: Weight,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            diagnostics: Diagnostics::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            alias_bytes: 0,
            incomplete: false,
        }
    }

    fn build(&mut self) -> Option<Node> {
        let options = options! {
            emit_comments: false,
            emit_unresolved_aliases: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let mut root = None;
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(self.source.text(), options) {
            let (event, place) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.syntax(&error);
                    return None;
                }
            };
            let span = self.span(&place);
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents > 1 {
                    let found =
                        Diagnostic::error("several-documents", "a file holds one document; here a second starts");
                    self.diagnostics.push(found.at(&span).hint("put each pipeline into a file of its own"));
                    return None;
                }
            }
            match self.event(event, &place, span) {
                Ok(Some(node)) => root = Some(node),
                Ok(None) => {}
                Err(Stop) => return None,
            }
            if self.diagnostics.is_full() {
                return None;
            }
        }
        root.filter(|_| !self.incomplete)
    }

    /// The root, when this event completes it.
    fn event(&mut self, event: Event<'_>, place: &EventSpan, span: Span) -> Result<Option<Node>, Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), place, span),
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", place);
                self.start(span, anchor, OpenKind::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", place);
                self.start(span, anchor, OpenKind::Mapping { entries: Vec::new(), seen: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Alias(id) => self.alias(id, &span),
            Event::UnresolvedAlias(name) => {
                let found =
                    Diagnostic::error("unknown-anchor", format!("there is no anchor `&{name}` above this place"));
                let hint = format!(
                    "mark the value that is meant with `&{name}`, or put a text that begins with `*` into quotes"
                );
                self.diagnostics.push(found.at(&span).hint(hint));
                self.incomplete = true;
                self.attach(Node { kind: NodeKind::Null, span })
            }
            _ => Ok(None),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: &EventSpan,
        span: Span,
    ) -> Result<Option<Node>, Stop> {
        self.count(&span)?;
        let tag_name = tag.and_then(Tag::core_suffix);
        if tag.is_some() && (tag_name.is_none() || matches!(tag_name, Some("seq" | "map"))) {
            self.check_tag(tag, "", place);
        }
        let is_key = matches!(self.open.last(), Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. }));
        let plain = style == ScalarStyle::Plain;
        let kind = if is_key {
            NodeKind::Text(text.to_owned())
        } else {
            scalar::resolve(text, plain, tag_name, &span, &mut self.diagnostics)
        };
        let node = Node { kind, span };
        self.remember(anchor, &node)?;
        self.attach(node)
    }

    fn start(&mut self, start: Span, anchor: usize, kind: OpenKind) -> Result<Option<Node>, Stop> {
        self.refuse_as_key(&start)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(self.too_deep(&start));
        }
        self.count(&start)?;
        self.open.push(Open { start, anchor, kind });
        Ok(None)
    }

    fn end(&mut self, end: &Span) -> Result<Option<Node>, Stop> {
        let Some(open) = self.open.pop() else { return Ok(None) };
        let (kind, last) = match open.kind {
            OpenKind::Sequence(items) => {
                let last = items.last().map(|item| item.span.range().end);
                (NodeKind::Sequence(items), last)
            }
            OpenKind::Mapping { entries, .. } => {
                let last = entries.last().map(|entry| entry.value.span.range().end);
                (NodeKind::Mapping(entries), last)
            }
        };
        // The end of a block collection is where the next thing starts; the last
        // value is the better border. A flow collection has its closing bracket.
        let start = open.start.range().start;
        let written = self.source.text().as_bytes().get(start);
        let closed = matches!(written, Some(b'[' | b'{'));
        let until = if closed { end.range().end } else { last.unwrap_or(start).max(start) };
        let node = Node { kind, span: self.source.span(start..until) };
        self.remember(open.anchor, &node)?;
        self.attach(node)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Option<Node>, Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            let found = Diagnostic::error("alias-of-itself", "the alias stands within the value that it repeats");
            self.diagnostics.push(found.at(span).hint("a value cannot hold itself; write out what is meant"));
            return Err(Stop);
        };
        let Weight { nodes, bytes, depth } = anchored.weight;
        let is_key = matches!(self.open.last(), Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. }));
        if is_key {
            let found = Diagnostic::error("alias-as-key", "an alias cannot be a key");
            self.diagnostics.push(found.at(span).hint("write the key out"));
            return Err(Stop);
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        self.charge(nodes, bytes, span)?;
        let node = self.anchors[&id].node.clone();
        self.attach(node)
    }

    /// Keeps what an anchor marks. The copy counts like an alias: anchors within
    /// anchors would otherwise multiply unseen.
    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor == 0 {
            return Ok(());
        }
        let weight = Weight::of(node);
        self.charge(weight.nodes, weight.bytes, &node.span)?;
        self.anchors.insert(anchor, Anchored { node: node.clone(), weight });
        Ok(())
    }

    fn charge(&mut self, nodes: usize, bytes: usize, span: &Span) -> Result<(), Stop> {
        self.alias_bytes = self.alias_bytes.saturating_add(bytes);
        if self.alias_bytes > MAX_ALIAS_BYTES || self.nodes.saturating_add(nodes) > MAX_NODES {
            let found = Diagnostic::error("alias-bomb", "the aliases of this file stand for more than it may hold");
            let found = found.at(span).label("the budget ends here");
            self.diagnostics
                .push(found.hint("write out what is meant; a file may hold 100000 values and repeat 1 MiB"));
            return Err(Stop);
        }
        self.nodes += nodes;
        Ok(())
    }

    fn count(&mut self, span: &Span) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let found = Diagnostic::error("too-many-values", "the file has more than 100000 values").at(span);
            self.diagnostics.push(found.hint("keep data in files of its own and read it with a source"));
            return Err(Stop);
        }
        Ok(())
    }

    fn attach(&mut self, node: Node) -> Result<Option<Node>, Stop> {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => return Ok(Some(node)),
            Some(OpenKind::Sequence(items)) => items.push(node),
            Some(OpenKind::Mapping { entries, seen, key }) => match key.take() {
                None => {
                    if let NodeKind::Text(text) = node.kind {
                        *key = Some((text, node.span));
                    }
                }
                Some((text, span)) => {
                    if let Some(first) = seen.get(&text) {
                        let found = Diagnostic::error("duplicate-key", format!("the key `{text}` is there twice"));
                        let found = found.at(&span).label("the second time").note_at("the first is here", first);
                        self.diagnostics.push(found.hint("remove one of them"));
                    } else if text == "<<" {
                        let found = Diagnostic::error("merge-key", "merge keys (`<<`) are not part of YAML 1.2");
                        let found = found.at(&span);
                        self.diagnostics.push(found.hint("write the keys out, or use an alias for a whole value"));
                    } else {
                        seen.insert(text.clone(), span.clone());
                        entries.push(Entry { key: text, key_span: span, value: node });
                    }
                }
            },
        }
        Ok(None)
    }

    fn refuse_as_key(&mut self, span: &Span) -> Result<(), Stop> {
        let Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. }) = self.open.last() else { return Ok(()) };
        let found = Diagnostic::error("wrong-type", "a key must be text, not a list or a mapping").at(span);
        self.diagnostics.push(found.hint("text that starts with `{` or `[` needs quotes"));
        Err(Stop)
    }

    fn too_deep(&mut self, span: &Span) -> Stop {
        let found = Diagnostic::error("too-deep", "lists and mappings stand more than 128 deep within each other");
        self.diagnostics.push(found.at(span).hint("a pipeline needs a dozen levels; is a bracket not closed?"));
        Stop
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, place: &EventSpan) {
        let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(expected)) else { return };
        let span = place.tag_span().map_or_else(|| self.span(place), |tag| self.span(&tag));
        let found = Diagnostic::error("unknown-tag", format!("the tag `{}` means nothing here", tag.original()));
        self.diagnostics.push(found.at(&span).hint("remove it; text that starts with `!` needs quotes"));
    }

    fn span(&self, place: &EventSpan) -> Span {
        self.source.span(place.byte_range().unwrap_or(0..0))
    }

    fn syntax(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or_default();
        let end = self.source.text().get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
        let span = self.source.span(at..end);
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            self.too_deep(&span);
            return;
        }
        let found = match error.kind() {
            ErrorKind::TabInIndentation
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => {
                Diagnostic::error("tab", "a tab cannot indent YAML").hint("indent with spaces")
            }
            ErrorKind::UnclosedQuotedScalar => {
                Diagnostic::error("yaml-syntax", "a quoted text is not closed").hint("add the closing quote")
            }
            ErrorKind::UnclosedFlowCollection { open } => {
                Diagnostic::error("yaml-syntax", format!("`{open}` is not closed")).hint("add the closing bracket")
            }
            ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
                Diagnostic::error("yaml-syntax", format!("`{open}` is closed by `{close}`"))
            }
            ErrorKind::MappingValueNotAllowed => Diagnostic::error("yaml-syntax", "a `:` makes no key in this place")
                .hint("text that holds `: ` needs quotes; keys of one mapping need the same indentation"),
            ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey => {
                Diagnostic::error("yaml-syntax", "expected a key and `:`")
                    .hint("keys of one mapping need the same indentation and a `:` each")
            }
            ErrorKind::UnexpectedCharacter { character } => {
                Diagnostic::error("yaml-syntax", format!("`{}` cannot start a value", character.escape_default()))
                    .hint("put the text into quotes")
            }
            other => Diagnostic::error("yaml-syntax", format!("this is not YAML: {other}")),
        };
        // The tab is met before the place where it turns out to be wrong.
        let tab = at.checked_sub(1).filter(|before| self.source.text().as_bytes().get(*before) == Some(&b'\t'));
        let span = tab.map_or(span, |tab| self.source.span(tab..tab + 1));
        self.diagnostics.push(found.at(&span));
    }
}
