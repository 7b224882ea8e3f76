//! Lines of `key=value`, with a tab between two of them; `\t`, `\n`, `\r` and `\\` stand in values.

use std::collections::BTreeMap;

use engine_sdk::columns::{Cells, Columns, RowBuilder, Value as Cell};
use engine_sdk::prelude::*;
use engine_sdk::{file_piece, file_pieces, files_schema};

/// The settings, as a pipeline has them under `format: with:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Reading: the columns by name, and their types.
    #[serde(default)]
    columns: Columns,
}

pub struct KeyValues(Config, Context);

impl Component for KeyValues {
    type Config = Config;
    const SUMMARY: &'static str = "Lines of key=value";

    fn examples() -> Vec<Example> {
        vec![example("calls", json!({"columns": {"caller": "text", "seconds": "integer"}}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self(config, cx))
    }
}

impl Decoder for KeyValues {
    fn decode(&mut self, input: Batches) -> Result<Batches> {
        let types = self.0.columns.clone();
        let rows = RowBuilder::new(types.iter().map(|(name, kind)| (name.as_str(), *kind)));
        let (schema, cx) = (rows.schema(), self.1.clone());
        let mut lines = Lines { types, rows, cx, name: String::new(), rest: Vec::new() };
        // An end of the input is one more file's beginning: what is left of the last line is a line.
        let ended = std::iter::once(Ok(file_piece("", b"")));
        let batches = input.chain(ended).flat_map(move |batch| batch.and_then(|batch| lines.take(&batch)).transpose());
        Ok(Batches::new(schema, batches))
    }
}

/// What is left of the last line, and the rows so far.
struct Lines {
    types: Columns,
    rows: RowBuilder,
    cx: Context,
    name: String,
    rest: Vec<u8>,
}

impl Lines {
    /// Reads the lines of some pieces, which may be cut anywhere.
    fn take(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        self.cx.check_cancelled()?;
        for (name, data) in file_pieces(batch)? {
            if name != self.name {
                let last = std::mem::take(&mut self.rest);
                if !last.is_empty() {
                    self.line(&last)?;
                }
                name.clone_into(&mut self.name);
            }
            for piece in data.split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(piece);
                if self.rest.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.rest);
                    self.line(&line)?;
                }
            }
        }
        if self.rows.is_empty() { Ok(None) } else { self.rows.finish().map(Some) }
    }

    /// A line becomes a row, or a dead letter.
    fn line(&mut self, line: &[u8]) -> Result<()> {
        self.cx.progress(1, line.len() as u64);
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match String::from_utf8(text.to_vec()).map_err(|_| "it is not UTF-8".to_owned()).and_then(|text| self.row(&text)) {
            Ok(()) => Ok(()),
            Err(reason) => self.cx.reject_bytes(&self.name, line, "bad_line", &reason),
        }
    }

    fn row(&mut self, text: &str) -> Result<(), String> {
        let mut fields = BTreeMap::new();
        for field in text.split('\t').filter(|_| !text.is_empty()) {
            let known = field.split_once('=').filter(|(key, _)| self.types.contains_key(*key));
            let (key, value) = known.ok_or_else(|| format!("`{field}` is no key of a column with its value"))?;
            fields.insert(key, unescape(value));
        }
        let cells = self.types.iter().map(|(name, kind)| match fields.get(name.as_str()) {
            Some(text) => kind.read(text).map_err(|_| format!("`{text}` is no {kind}")),
            None => Ok(Cell::Null),
        });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        self.rows.push(&cells);
        Ok(())
    }
}

impl Encoder for KeyValues {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        let cx = self.1.clone();
        let files = input.map(move |batch| {
            cx.check_cancelled()?;
            Ok(file_piece("", &lines_of(&batch?)?))
        });
        // A stream without rows is an empty file, not none.
        let files = std::iter::once(Ok(file_piece("", b""))).chain(files);
        Ok(Batches::new(files_schema(), files))
    }
}

fn lines_of(batch: &RecordBatch) -> Result<Vec<u8>> {
    let columns = batch.columns().iter().map(Cells::new).collect::<Result<Vec<_>>>()?;
    let (schema, mut lines) = (batch.schema(), Vec::new());
    for row in 0..batch.num_rows() {
        let start = lines.len();
        for (field, cells) in schema.fields().iter().zip(&columns).filter(|(_, cells)| !cells.is_null(row)) {
            if lines.len() > start {
                lines.push(b'\t');
            }
            lines.extend_from_slice(field.name().as_bytes());
            lines.push(b'=');
            let mut value = Vec::new();
            cells.write(row, b'T', &mut value);
            escape(&value, &mut lines);
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

const ESCAPES: [(u8, u8); 4] = [(b'\\', b'\\'), (b'\t', b't'), (b'\n', b'n'), (b'\r', b'r')];

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match ESCAPES.iter().find(|(plain, _)| plain == byte) {
            Some((_, letter)) => out.extend_from_slice(&[b'\\', *letter]),
            None => out.push(*byte),
        }
    }
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        let next = characters.next();
        let known = ESCAPES.iter().find(|(_, letter)| next == Some(char::from(*letter)));
        match known {
            Some((byte, _)) => plain.push(char::from(*byte)),
            None => plain.extend(['\\'].into_iter().chain(next)),
        }
    }
    plain
}

engine_sdk::module!("{{name}}": format "{{name}}" => KeyValues);

#[cfg(test)]
mod tests {
    use engine_sdk::testing::Host;

    use super::*;

    #[test]
    fn rows_come_back_and_a_bad_line_costs_no_other() {
        let host = Host::new();
        let columns = json!({"columns": {"caller": "text", "seconds": "integer"}});
        let mut format: KeyValues = host.open(columns).unwrap();
        let text = b"caller=a\\tb\tseconds=172\nseconds=soon\nseconds=1";
        let pieces = text.chunks(3).map(|piece| Ok(file_piece("calls", piece))).collect::<Vec<_>>();
        let rows = format.decode(Batches::new(files_schema(), pieces.into_iter())).unwrap();
        let rows = rows.collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        assert_eq!(host.rejections().len(), 1);
        let lines: Vec<u8> = rows.iter().flat_map(|batch| lines_of(batch).unwrap()).collect();
        assert_eq!(lines, b"caller=a\\tb\tseconds=172\nseconds=1\n");
    }
}
