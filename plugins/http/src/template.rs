//! Bodies that a pipeline writes itself.

use engine_sdk::minijinja::{self, context};
use engine_sdk::prelude::*;
use engine_sdk::record_template::{JsonTemplate, json_value};
use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::body::Records;

/// A body with records in it.
#[derive(Debug)]
pub struct Template {
    node: Node,
    pipeline: String,
    /// One record a request.
    single: bool,
}

/// A part of it. Records and their members are written as they stand, so that no digit is lost.
#[derive(Debug)]
enum Node {
    Records,
    Record,
    Member(String),
    Other(Box<JsonTemplate>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Template {
    /// Reads the setting. `single`: whether requests hold one record.
    pub fn new(value: &Value, single: bool, pipeline: &str) -> Result<Self> {
        let names: &[&str] =
            if single { &["record", "records", "count", "pipeline"] } else { &["records", "count", "pipeline"] };
        Ok(Self { node: Node::new(value, names)?, pipeline: pipeline.to_owned(), single })
    }

    /// Whether the body is a text, and no JSON.
    pub fn is_text(&self) -> bool {
        matches!(&self.node, Node::Other(template) if matches!(**template, JsonTemplate::Text(_)))
    }

    /// The body for some of the records.
    pub fn body(&self, records: &Records, from: usize, to: usize) -> Result<Vec<u8>> {
        let read = |at: usize| {
            let raw: &RawValue = serde_json::from_slice(records.record(at))
                .map_err(|error| Error::internal(format!("a record is no JSON: {error}")))?;
            Ok(json_value(raw))
        };
        // What names no record needs none to be read.
        let values = if self.node.is_other() {
            let all: Vec<minijinja::Value> = (from..to).map(read).collect::<Result<_>>()?;
            let record = all.first().filter(|_| self.single).cloned();
            context! { record, records => all, count => to - from, pipeline => self.pipeline.as_str() }
        } else {
            minijinja::Value::UNDEFINED
        };
        let mut out = Vec::new();
        if let Node::Other(template) = &self.node
            && let JsonTemplate::Text(text) = &**template
        {
            return Ok(text.fill(&values)?.into_bytes());
        }
        self.node.write(records, (from, to), &values, &mut out)?;
        Ok(out)
    }
}

impl Node {
    fn new(value: &Value, names: &[&str]) -> Result<Self> {
        Ok(match value {
            Value::Array(items) => Self::List(items.iter().map(|it| Self::new(it, names)).collect::<Result<_>>()?),
            Value::Object(members) => {
                let member = |(name, value): (&String, _)| Ok((name.clone(), Self::new(value, names)?));
                Self::Object(members.iter().map(member).collect::<Result<_>>()?)
            }
            other => {
                let template = JsonTemplate::compile("template", other, names)?;
                let inner = other.as_str().and_then(|it| it.trim().strip_prefix("{{")?.strip_suffix("}}"));
                match (inner.map(str::trim), &template) {
                    (Some("records"), JsonTemplate::Value(_)) => Self::Records,
                    (Some("record"), JsonTemplate::Value(_)) => Self::Record,
                    (Some(inner), JsonTemplate::Value(_)) => match inner.strip_prefix("record.") {
                        Some(name) if is_plain(name) => Self::Member(name.to_owned()),
                        _ => Self::Other(Box::new(template)),
                    },
                    _ => Self::Other(Box::new(template)),
                }
            }
        })
    }

    /// Whether a part of it is filled in by the values of records.
    fn is_other(&self) -> bool {
        match self {
            Self::Records | Self::Record | Self::Member(_) => false,
            Self::Other(template) => !matches!(**template, JsonTemplate::Fixed(_)),
            Self::List(items) => items.iter().any(Self::is_other),
            Self::Object(members) => members.iter().any(|(_, node)| node.is_other()),
        }
    }

    fn write(
        &self,
        records: &Records,
        (from, to): (usize, usize),
        values: &minijinja::Value,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        match self {
            Self::Record => put(records.record(from)),
            Self::Records => {
                put(b"[");
                for at in from..to {
                    if at > from {
                        put(b",");
                    }
                    put(records.record(at));
                }
                put(b"]");
            }
            Self::Member(name) => {
                let members: IndexMap<String, &RawValue> = serde_json::from_slice(records.record(from))
                    .map_err(|error| Error::internal(format!("a record is no object: {error}")))?;
                let member = members.get(name).ok_or_else(|| {
                    Error::config(format!("`template` names `record.{name}`, and records have no `{name}`"))
                        .hint("write names of columns as in the stream; `omit_nulls` leaves out those without a value")
                })?;
                put(member.get().as_bytes());
            }
            Self::Other(template) => put(template.fill(values)?.to_string().as_bytes()),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(records, (from, to), values, out)?;
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, node)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    engine_sdk::columns::write_json_string(name.as_bytes(), out);
                    out.push(b':');
                    node.write(records, (from, to), values, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
        && !name.starts_with(|it: char| it.is_ascii_digit())
}
