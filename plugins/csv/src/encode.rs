//! Rows to text.

use arrow_array::ArrayRef;
use engine_sdk::columns::Cells;
use engine_sdk::marks::Marks;
use engine_sdk::prelude::*;
use engine_sdk::{chosen_columns, file_piece, files_schema};

use crate::config::{Config, Dialect, LineEnding, Quoting};
use crate::text::BYTE_ORDER_MARK;

/// How many bytes make a piece. Between 128 KiB and 2 MiB it makes no difference to the time.
const PIECE: usize = 512 * 1024;

pub fn encode(config: &Config, dialect: Dialect, cx: Context, input: Batches) -> Result<Batches> {
    let schema = input.schema();
    let columns = chosen_columns(&schema, &config.columns)?;
    for &column in &columns {
        let field = schema.field(column);
        if field.data_type().is_nested() {
            return Err(Error::config(format!(
                "column `{}` is of the type {}, which does not fit into one field",
                field.name(),
                field.data_type()
            ))
            .hint("choose other columns with `columns`, turn it into text before, or write JSON"));
        }
    }
    let mut buffer = Vec::with_capacity(PIECE + PIECE / 4);
    let style = Style::new(config, dialect);
    if config.header && !columns.is_empty() {
        for (at, &column) in columns.iter().enumerate() {
            style.delimit(at, &mut buffer);
            style.text(schema.field(column).name(), at == 0, false, &mut buffer);
        }
        buffer.extend_from_slice(style.line_end);
    }
    let writing = Writing { input, cx, style, columns, buffer, batch: None, begun: false };
    Ok(Batches::new(files_schema(), writing))
}

struct Writing {
    input: Batches,
    cx: Context,
    style: Style,
    columns: Vec<usize>,
    buffer: Vec<u8>,
    batch: Option<Rows>,
    begun: bool,
}

/// A batch on its way.
struct Rows {
    columns: Vec<Column>,
    next: usize,
    count: usize,
}

/// A column of it.
struct Column {
    cells: Cells,
    /// None of its texts has a byte that could ask for quotes.
    is_plain: bool,
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        while self.buffer.len() < PIECE {
            let Some(rows) = &mut self.batch else {
                self.cx.check_cancelled()?;
                let Some(batch) = self.input.next().transpose()? else { break };
                let columns = self.columns.iter().map(|&column| self.style.column(batch.column(column)));
                self.batch = Some(Rows { columns: columns.collect::<Result<_>>()?, next: 0, count: batch.num_rows() });
                continue;
            };
            while rows.next < rows.count && self.buffer.len() < PIECE {
                self.style.row(&rows.columns, rows.next, &mut self.buffer);
                rows.next += 1;
            }
            if rows.next == rows.count {
                self.batch = None;
            }
        }
        // A stream without rows is a file all the same.
        if self.begun && self.buffer.is_empty() {
            return Ok(None);
        }
        self.begun = true;
        let piece = file_piece("", &self.buffer);
        self.buffer.clear();
        Ok(Some(piece))
    }
}

impl Iterator for Writing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}

/// How cells become fields.
struct Style {
    dialect: Dialect,
    /// Bytes that a field must not hold without quotes.
    special: [u8; 4],
    /// Whether numbers and times could hold such a byte.
    odd: bool,
    always: bool,
    guard: bool,
    /// What stands for no value; the first is written.
    nulls: Vec<String>,
    line_end: &'static [u8],
}

impl Style {
    fn new(config: &Config, dialect: Dialect) -> Self {
        let in_values = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:/= ".contains(&byte);
        Self {
            dialect,
            special: [dialect.delimiter, dialect.quote, b'\n', b'\r'],
            odd: in_values(dialect.delimiter) || in_values(dialect.quote) || dialect.comment.is_some_and(in_values),
            always: config.quoting == Quoting::Always,
            guard: config.guard_formulas,
            nulls: config.nulls.clone(),
            line_end: match config.line_ending {
                LineEnding::Lf => b"\n",
                LineEnding::Crlf => b"\r\n",
            },
        }
    }

    #[inline]
    fn delimit(&self, at: usize, out: &mut Vec<u8>) {
        if at > 0 {
            out.push(self.dialect.delimiter);
        }
    }

    /// A column of a batch. All its texts are looked through together, since hardly any has to be quoted.
    fn column(&self, column: &ArrayRef) -> Result<Column> {
        let cells = Cells::new(column)?;
        let [delimiter, quote, ..] = self.special;
        // Where there is no comment, any of the others will do.
        let comment = self.dialect.comment.unwrap_or(quote);
        let suspicious = [delimiter, quote, b'\n', b'\r', b' ', b'\t', comment, BYTE_ORDER_MARK[0]];
        let is_plain = cells.texts().is_some_and(|texts| Marks::new(texts, suspicious).next().is_none());
        Ok(Column { cells, is_plain })
    }

    fn row(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        for (at, Column { cells, is_plain }) in columns.iter().enumerate() {
            self.delimit(at, out);
            if cells.is_null(row) {
                out.extend_from_slice(self.nulls.first().map_or(b"", |text| text.as_bytes()));
            } else if let Some(text) = cells.text(row) {
                self.text(text, at == 0, *is_plain, out);
            } else if self.always || self.odd {
                let begin = out.len();
                cells.write(row, b' ', out);
                let value = out.split_off(begin);
                self.field(&value, at == 0, false, out);
            } else {
                cells.write(row, b' ', out);
            }
        }
        out.extend_from_slice(self.line_end);
    }

    fn text(&self, text: &str, first: bool, is_plain: bool, out: &mut Vec<u8>) {
        if self.guard && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            // The apostrophe was not looked at, and it may be the quote.
            self.field(format!("'{text}").as_bytes(), first, false, out);
        } else {
            self.field(text.as_bytes(), first, is_plain, out);
        }
    }

    fn field(&self, field: &[u8], first: bool, is_plain: bool, out: &mut Vec<u8>) {
        let quoted = self.always
            || field.is_empty()
            || self.nulls.iter().any(|null| null.as_bytes() == field)
            || !is_plain && self.is_special(field, first);
        if !quoted {
            return out.extend_from_slice(field);
        }
        let Dialect { quote, escape, .. } = self.dialect;
        out.push(quote);
        for &byte in field {
            if byte == quote || byte == escape {
                out.push(escape);
            }
            out.push(byte);
        }
        out.push(quote);
    }

    /// Whether a field would be read as something else without quotes.
    fn is_special(&self, field: &[u8], first: bool) -> bool {
        field.iter().any(|byte| self.special.contains(byte))
            || matches!(field, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
            || (first && field.first().copied() == self.dialect.comment)
            || (first && field.starts_with(BYTE_ORDER_MARK))
    }
}
