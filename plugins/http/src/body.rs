//! From rows to the bodies of requests.

use arrow_array::RecordBatch;
use engine_sdk::columns::{JsonRows, write_json_string};
use engine_sdk::prelude::{Deserialize, Error, JsonSchema, Result, Value};
use serde_json::Map;

use crate::template::Template;

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The record, an object.
    Record,
    /// A list of records, also where there is one.
    List,
}

/// How records become a body.
#[derive(Debug)]
pub struct Shape {
    before: Vec<u8>,
    after: Vec<u8>,
    /// A body that the pipeline has written itself, in the place of these.
    pub template: Option<Template>,
    pub batch: usize,
    omit_nulls: bool,
}

impl Shape {
    /// Reads the settings about it.
    pub fn new(
        body: Option<Body>,
        batch: usize,
        records_at: Option<&str>,
        fields: &Map<String, Value>,
        omit_nulls: bool,
    ) -> Result<Self> {
        let Some(name) = records_at else {
            if !fields.is_empty() {
                return Err(Error::config("`fields` need an object to stand in")
                    .hint("name the member of the records with `records_at`"));
            }
            let body = body.unwrap_or(if batch == 1 { Body::Record } else { Body::List });
            if body == Body::Record && batch > 1 {
                return Err(Error::config(format!("a body that is one record cannot hold {batch} of them"))
                    .hint("leave `batch` out, or write `body: list`"));
            }
            let (before, after): (&[u8], &[u8]) = if body == Body::List { (b"[", b"]") } else { (b"", b"") };
            return Ok(Self { before: before.into(), after: after.into(), template: None, batch, omit_nulls });
        };
        if body == Some(Body::Record) {
            return Err(Error::config("`records_at` names a list of records, and `body: record` is none")
                .hint("leave `body` out"));
        }
        if fields.contains_key(name) {
            return Err(Error::config(format!("`{name}` stands in `records_at` and among the `fields`"))
                .hint("give one of them another name"));
        }
        let mut before = b"{".to_vec();
        for (field, value) in fields {
            write_json_string(field.as_bytes(), &mut before);
            before.push(b':');
            before.extend_from_slice(value.to_string().as_bytes());
            before.push(b',');
        }
        write_json_string(name.as_bytes(), &mut before);
        before.extend_from_slice(b":[");
        Ok(Self { before, after: b"]}".into(), template: None, batch, omit_nulls })
    }

    /// Bodies that the pipeline writes itself.
    pub fn written(template: Template, batch: usize, omit_nulls: bool) -> Self {
        Self { before: Vec::new(), after: Vec::new(), template: Some(template), batch, omit_nulls }
    }
}

/// Rows that go together, and their records.
#[derive(Debug, Default)]
pub struct Records {
    /// Where the rows are: pieces of batches, in their order.
    pieces: Vec<RecordBatch>,
    bytes: Vec<u8>,
    /// The end of each record in `bytes`.
    ends: Vec<usize>,
}

impl Records {
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All records, one behind the other: what tells a request from others of the same shape.
    pub fn content(&self) -> &[u8] {
        &self.bytes
    }

    /// One of them.
    pub fn record(&self, at: usize) -> &[u8] {
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[begin..self.ends[at]]
    }

    /// The body with the records from `from` to `to`.
    pub fn body(&self, shape: &Shape, from: usize, to: usize) -> Result<Vec<u8>> {
        if let Some(template) = &shape.template {
            return template.body(self, from, to);
        }
        let mut body = shape.before.clone();
        for at in from..to {
            if at > from {
                body.push(b',');
            }
            body.extend_from_slice(self.record(at));
        }
        body.extend_from_slice(&shape.after);
        Ok(body)
    }

    /// The rows from `from` to `to`, in pieces.
    pub fn rows(&self, from: usize, to: usize) -> Vec<RecordBatch> {
        let (mut found, mut at) = (Vec::new(), 0);
        for piece in &self.pieces {
            let (begin, end) = (from.max(at), to.min(at + piece.num_rows()));
            if begin < end {
                found.push(piece.slice(begin - at, end - begin));
            }
            at += piece.num_rows();
        }
        found
    }

    /// Adds rows of a batch from `from` on, until there are as many as go together. Answers where it stopped.
    fn fill(&mut self, batch: &RecordBatch, rows: &JsonRows, from: usize, shape: &Shape) -> usize {
        let to = batch.num_rows().min(from + shape.batch - self.count());
        for row in from..to {
            rows.write(row, shape.omit_nulls, &mut self.bytes);
            self.ends.push(self.bytes.len());
        }
        self.pieces.push(batch.slice(from, to - from));
        to
    }
}

/// Cuts a stream of batches into records that go together, wherever one batch ends and the next begins.
#[derive(Debug)]
pub struct Cutter<'a> {
    shape: &'a Shape,
    begun: Records,
}

impl<'a> Cutter<'a> {
    pub fn new(shape: &'a Shape) -> Self {
        Self { shape, begun: Records::default() }
    }

    /// Takes a batch, and gives what has become whole with it.
    pub fn add(&mut self, batch: &RecordBatch, mut whole: impl FnMut(Records) -> Result<()>) -> Result<()> {
        let rows = JsonRows::new(batch, 0..batch.num_columns())?;
        let mut from = 0;
        while from < batch.num_rows() {
            from = self.begun.fill(batch, &rows, from, self.shape);
            if self.begun.count() == self.shape.batch {
                whole(std::mem::take(&mut self.begun))?;
            }
        }
        Ok(())
    }

    /// What is left at the end.
    pub fn finish(self) -> Option<Records> {
        Some(self.begun).filter(|records| records.count() > 0)
    }
}
