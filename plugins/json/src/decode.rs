//! Records to rows.

use std::collections::VecDeque;

use engine_sdk::columns::{RowBuilder, Value};
use engine_sdk::prelude::*;

use crate::frame::{Framed, Frames};
use crate::infer::{self, Column};
use crate::record::{self, Object, Refusal, text_of};
use crate::{Config, Layout};

/// How many records are looked at to learn the columns, at most.
const LEARN_RECORDS: usize = 1_000;

/// How many bytes are looked at to learn the columns, at most (and one record).
const LEARN_BYTES: usize = 1024 * 1024;

pub fn decode(config: &Config, cx: Context, input: Batches) -> Result<Batches> {
    if let Some(unknown) = config.types.keys().find(|name| !config.columns.is_empty() && !config.columns.contains(name))
    {
        return Err(Error::config(format!("`types` names `{unknown}`, which is not among `columns`")));
    }
    if let Some((at, name)) = config.columns.iter().enumerate().find(|(at, name)| config.columns[..*at].contains(name))
    {
        return Err(Error::config(format!("`columns` names `{name}` again in place {}", at + 1)));
    }
    let mut frames = Frames::new(input, cx.clone(), config.layout, config.max_record.as_usize());
    let mut ahead = VecDeque::new();
    let mut bytes = 0;
    while !infer::all_known(config) && ahead.len() < LEARN_RECORDS && bytes < LEARN_BYTES {
        let Some(framed) = frames.next()? else { break };
        bytes += framed.data.len();
        ahead.push_back(framed);
    }
    let readable = |framed: &'_ Framed| framed.problem.is_none();
    let records = ahead.iter().filter(|framed| readable(framed)).filter_map(|framed| record::parse(&framed.data).ok());
    let columns = infer::columns(config, records);
    let rows = RowBuilder::new(columns.iter().map(|column| (column.name.as_str(), column.kind)));
    let array = config.layout == Layout::Array;
    let reading = Reading { frames, ahead, columns, rows, ignore_unknown: config.ignore_unknown, array, cx };
    Ok(Batches::new(reading.rows.schema(), reading))
}

struct Reading {
    frames: Frames,
    /// What was read to learn the columns.
    ahead: VecDeque<Framed>,
    columns: Vec<Column>,
    rows: RowBuilder,
    ignore_unknown: bool,
    /// The settings say that files are arrays.
    array: bool,
    cx: Context,
}

impl Reading {
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut records = 0;
        while !self.rows.is_full() {
            let framed = match self.ahead.pop_front() {
                Some(framed) => framed,
                None => match self.frames.next()? {
                    Some(framed) => framed,
                    None => break,
                },
            };
            records += 1;
            if let Err((code, reason)) = self.record(&framed) {
                let reason = format!("line {}: {reason}", framed.line);
                // As it can be read alone: an element needs its array.
                let alone = if self.array { [b"[".as_slice(), &framed.data, b"]"].concat() } else { framed.data };
                self.cx.reject_bytes(&framed.name, &alone, code, &reason)?;
            }
        }
        self.cx.progress(records, 0);
        if self.rows.is_empty() { Ok(None) } else { self.rows.finish().map(Some) }
    }

    fn record(&mut self, framed: &Framed) -> Result<(), Refusal> {
        if let Some((code, reason)) = &framed.problem {
            return Err((code, reason.clone()));
        }
        let Object(members) = record::parse(&framed.data)?;
        let texts: Vec<_> = members.iter().map(|(_, value)| text_of(value)).collect();
        let mut row = vec![Value::Null; self.columns.len()];
        for (at, ((key, value), text)) in members.iter().zip(&texts).enumerate() {
            // Records mostly have the same keys in the same order.
            let place = match self.columns.get(at) {
                Some(column) if column.name == *key => Some(at),
                _ => self.columns.iter().position(|column| column.name == *key),
            };
            match place {
                Some(place) => {
                    let Column { name, kind, learned } = &self.columns[place];
                    row[place] = record::read(name, *kind, *learned, value, text.as_deref())?;
                }
                None if self.ignore_unknown => {}
                None => {
                    return Err((
                        "unknown_key",
                        format!("`{key}` is not a column; name it in `columns`, or set `ignore_unknown: true`"),
                    ));
                }
            }
        }
        self.rows.push(&row);
        Ok(())
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}
