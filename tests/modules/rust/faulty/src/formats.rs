//! A format of tab-separated lines, and what can be wrong with one. The first
//! line holds the columns' names; `\t`, `\n` and `\\` are escapes, `\N` is null.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use engine_sdk::prelude::*;
use engine_sdk::{file_piece, file_pieces, files_schema};

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Takes the end of a piece for the end of a line.
pub const CUTS_AT_PIECES: u8 = 1;
/// Panics on what is not UTF-8.
pub const TRUSTS_BYTES: u8 = 2;
/// Does not say how many records it has seen.
pub const COUNTS_NOTHING: u8 = 3;
/// Writes a backslash as it is.
pub const FORGETS_TO_ESCAPE: u8 = 4;
/// Cuts a file one byte behind the beginning of a line.
pub const CUTS_INSIDE: u8 = 5;

/// There is nothing to set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Reads and writes lines; `FAULT` says what is wrong with it.
pub struct Tabbed<const FAULT: u8> {
    cx: Context,
}

impl<const FAULT: u8> Component for Tabbed<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Tab-separated lines";

    fn examples() -> Vec<Example> {
        vec![example("nothing to set", json!({}))]
    }

    fn open(_: Config, cx: Context) -> Result<Self> {
        Ok(Self { cx })
    }
}

impl<const FAULT: u8> Encoder for Tabbed<FAULT> {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        let names: Vec<_> = input.schema().fields().iter().map(|field| field.name().clone()).collect();
        let header = file_piece("", (names.join("\t") + "\n").as_bytes());
        let lines = input.map(|batch| lines::<FAULT>(&batch?));
        Ok(Batches::new(files_schema(), std::iter::once(Ok(header)).chain(lines)))
    }
}

fn lines<const FAULT: u8>(batch: &RecordBatch) -> Result<RecordBatch> {
    let options = FormatOptions::default();
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(|error| Error::config(error.to_string()))?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for (at, formatter) in formatters.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\t" };
            let value = if batch.column(at).is_null(row) {
                "\\N".into()
            } else {
                escape::<FAULT>(&formatter.value(row).to_string())
            };
            text.push_str(separator);
            text.push_str(&value);
        }
        text.push('\n');
    }
    Ok(file_piece("", text.as_bytes()))
}

fn escape<const FAULT: u8>(text: &str) -> String {
    let text = if FAULT == FORGETS_TO_ESCAPE { text.to_owned() } else { text.replace('\\', "\\\\") };
    text.replace('\t', "\\t").replace('\n', "\\n")
}

/// A value as it stands in a line; `None` for null.
fn unescape(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (plain, false) => value.push(plain),
            _ => match characters.next() {
                Some('t') => value.push('\t'),
                Some('n') => value.push('\n'),
                other => value.extend(other),
            },
        }
    }
    Some(value)
}

impl<const FAULT: u8> Decoder for Tabbed<FAULT> {
    const CUTS: bool = matches!(FAULT, SOUND | CUTS_INSIDE);

    fn cut(&mut self, file: Batches) -> Result<Cuts> {
        let mut text = Vec::new();
        for batch in file {
            file_pieces(&batch?)?.for_each(|(_, data)| text.extend_from_slice(data));
        }
        let ends = (0..text.len()).filter(|at| text[*at] == b'\n').map(|at| at as u64 + 1);
        let ends: Vec<u64> = ends.filter(|end| *end < text.len() as u64).collect();
        let head = ends.first().copied().unwrap_or_default();
        let wrong = u64::from(FAULT == CUTS_INSIDE);
        let cut = move |(lines, at): (usize, u64)| Ok(Cut { head, at: at + wrong, lines: lines as u64 });
        Ok(Box::new(ends.into_iter().enumerate().skip(1).map(cut)))
    }

    fn decode(&mut self, mut input: Batches) -> Result<Batches> {
        let mut lines = Lines::<FAULT>::default();
        let mut ready = Vec::new();
        // The first line says which columns there are.
        while ready.is_empty() {
            match input.next().transpose()? {
                Some(batch) => ready = lines.take(&batch)?,
                None => {
                    ready = lines.rest();
                    break;
                }
            }
        }
        let header = if ready.is_empty() { Vec::new() } else { ready.remove(0) };
        let header = String::from_utf8(header).map_err(|_| Error::config("the first line is not UTF-8"));
        let header = if FAULT == TRUSTS_BYTES { header.expect("everything is UTF-8") } else { header? };
        if header.contains('\0') {
            return Err(Error::config("the first line holds a NUL, which no column's name may"));
        }
        let names = header.split('\t').filter(|name| !name.is_empty());
        let schema =
            Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()));
        let (cx, columns, mut first) = (self.cx.clone(), Arc::clone(&schema), Some(ready));
        let mut ended = false;
        let batches = std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let ready = match first.take().map(Ok).or_else(|| input.next().map(|batch| lines.take(&batch?))) {
                Some(ready) => ready,
                None => {
                    ended = true;
                    Ok(lines.rest())
                }
            };
            Some(ready.and_then(|ready| rows::<FAULT>(&cx, &columns, ready)))
        });
        Ok(Batches::new(schema, batches))
    }
}

/// Cuts pieces into lines.
#[derive(Default)]
struct Lines<const FAULT: u8> {
    begun: Vec<u8>,
}

impl<const FAULT: u8> Lines<FAULT> {
    fn take(&mut self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for (_, data) in file_pieces(batch)? {
            self.begun.extend_from_slice(data);
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.begun, rest);
                line.pop();
                lines.push(line);
            }
            if FAULT == CUTS_AT_PIECES {
                lines.extend(self.rest());
            }
        }
        Ok(lines)
    }

    /// The last line, which may lack its end.
    fn rest(&mut self) -> Vec<Vec<u8>> {
        Some(std::mem::take(&mut self.begun)).filter(|line| !line.is_empty()).into_iter().collect()
    }
}

fn rows<const FAULT: u8>(cx: &Context, schema: &SchemaRef, lines: Vec<Vec<u8>>) -> Result<RecordBatch> {
    let mut columns = vec![Vec::new(); schema.fields().len()];
    let mut rows = 0;
    for line in lines {
        if FAULT != COUNTS_NOTHING {
            cx.progress(1, line.len() as u64);
        }
        let text = std::str::from_utf8(&line);
        if FAULT == TRUSTS_BYTES {
            text.expect("everything is UTF-8");
        }
        let values = text.map(|text| text.split('\t').map(unescape).collect::<Vec<_>>()).unwrap_or_default();
        if values.len() != columns.len() {
            cx.reject_bytes("", &line, "bad_line", "the line has another number of columns than the first one")?;
            continue;
        }
        rows += 1;
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    let count = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &count)
        .map_err(|error| Error::internal(error.to_string()))
}
