//! Rows to records.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, LargeListArray, MapArray, StructArray};
use arrow_cast::cast;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use engine_sdk::{file_piece, files_schema};

use crate::{Config, Layout};

/// How many bytes make a piece.
const PIECE: usize = 512 * 1024;

pub fn encode(config: &Config, cx: Context, input: Batches) -> Result<Batches> {
    let schema = input.schema();
    let columns = chosen(config, &schema)?;
    for (at, &column) in columns.iter().enumerate() {
        let name = schema.field(column).name();
        if columns[..at].iter().any(|&other| schema.field(other).name() == name) {
            return Err(Error::config(format!("two columns are named `{name}`, but a record can have one"))
                .hint("rename one of them before"));
        }
    }
    let writing = Writing {
        input,
        cx,
        keys: columns.iter().map(|&column| key(schema.field(column).name())).collect(),
        columns,
        array: config.layout == Layout::Array,
        omit_nulls: config.omit_nulls,
        buffer: Vec::with_capacity(PIECE + PIECE / 4),
        batch: None,
        any: false,
        begun: false,
        ended: false,
    };
    Ok(Batches::new(files_schema(), writing))
}

/// Which columns to write, in their order.
fn chosen(config: &Config, schema: &Schema) -> Result<Vec<usize>> {
    if config.columns.is_empty() {
        return Ok((0..schema.fields().len()).collect());
    }
    let place = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::config(format!("there is no column `{name}` to write"))
                .hint(format!("the columns are: {}", names.join(", ")))
        })
    };
    config.columns.iter().map(place).collect()
}

struct Writing {
    input: Batches,
    cx: Context,
    columns: Vec<usize>,
    keys: Vec<Vec<u8>>,
    array: bool,
    omit_nulls: bool,
    buffer: Vec<u8>,
    batch: Option<Rows>,
    /// A record has been written.
    any: bool,
    begun: bool,
    ended: bool,
}

/// A batch on its way.
struct Rows {
    nodes: Vec<Node>,
    next: usize,
    count: usize,
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        while self.buffer.len() < PIECE && !self.ended {
            let Some(rows) = &mut self.batch else {
                self.cx.check_cancelled()?;
                match self.input.next().transpose()? {
                    Some(batch) => {
                        let nodes = self.columns.iter().map(|&column| Node::new(batch.column(column)));
                        let nodes = nodes.collect::<Result<_>>()?;
                        self.batch = Some(Rows { nodes, next: 0, count: batch.num_rows() });
                    }
                    None => {
                        self.ended = true;
                        if self.array {
                            self.buffer.extend_from_slice(if self.any { b"\n]\n" } else { b"[]\n" });
                        }
                    }
                }
                continue;
            };
            while rows.next < rows.count && self.buffer.len() < PIECE {
                if self.array {
                    self.buffer.extend_from_slice(if self.any { b",\n" } else { b"[\n" });
                }
                self.any = true;
                let members = self.keys.iter().zip(&rows.nodes);
                write_object(members, rows.next, self.omit_nulls, &mut self.buffer);
                if !self.array {
                    self.buffer.push(b'\n');
                }
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

/// A column, ready to be written row by row.
enum Node {
    Leaf(Cells),
    Struct(StructArray, Vec<(Vec<u8>, Node)>),
    List(LargeListArray, Box<Node>),
    Map(Box<MapNode>),
}

/// A column of maps: every entry has a key and a value.
struct MapNode {
    array: MapArray,
    keys: Cells,
    values: Node,
}

impl Node {
    fn new(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Struct(fields) => {
                let array = column.as_struct().clone();
                let members = fields.iter().zip(array.columns());
                let members = members.map(|(field, column)| Ok((key(field.name()), Self::new(column)?)));
                let members = members.collect::<Result<_>>()?;
                Self::Struct(array, members)
            }
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                let array = cast(column, &DataType::LargeList(Arc::clone(field)))
                    .map_err(|error| Error::internal(error.to_string()))?;
                let array = array.as_list::<i64>().clone();
                let values = Self::new(array.values())?;
                Self::List(array, Box::new(values))
            }
            DataType::Map(..) => {
                let array = column.as_map().clone();
                let (keys, values) = (Cells::new(array.keys())?, Self::new(array.values())?);
                Self::Map(Box::new(MapNode { array, keys, values }))
            }
            _ => Self::Leaf(Cells::new(column)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Leaf(cells) => cells.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Map(map) => map.array.is_null(row),
        }
    }

    fn write(&self, row: usize, omit_nulls: bool, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match self {
            Self::Leaf(cells) => write_leaf(cells, row, out),
            Self::Struct(_, members) => {
                write_object(members.iter().map(|(key, node)| (key, node)), row, omit_nulls, out);
            }
            Self::List(array, values) => {
                let offsets = array.value_offsets();
                out.push(b'[');
                for (at, value) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    values.write(value as usize, omit_nulls, out);
                }
                out.push(b']');
            }
            Self::Map(map) => {
                let MapNode { array, keys, values } = map.as_ref();
                let offsets = array.value_offsets();
                out.push(b'{');
                for (at, entry) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    let mut name = Vec::new();
                    keys.write(entry as usize, b'T', &mut name);
                    write_string(&name, out);
                    out.push(b':');
                    values.write(entry as usize, omit_nulls, out);
                }
                out.push(b'}');
            }
        }
    }
}

fn write_object<'a>(
    members: impl Iterator<Item = (&'a Vec<u8>, &'a Node)>,
    row: usize,
    omit_nulls: bool,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let mut first = true;
    for (key, node) in members {
        if omit_nulls && node.is_null(row) {
            continue;
        }
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        out.extend_from_slice(key);
        node.write(row, omit_nulls, out);
    }
    out.push(b'}');
}

fn write_leaf(cells: &Cells, row: usize, out: &mut Vec<u8>) {
    if let Some(text) = cells.text(row) {
        return write_string(text.as_bytes(), out);
    }
    match cells {
        // JSON has no such numbers; as text they are at least not lost.
        Cells::Float32(column) if !column.value(row).is_finite() => {
            out.extend_from_slice(odd(column.value(row).into()))
        }
        Cells::Float64(column) if !column.value(row).is_finite() => out.extend_from_slice(odd(column.value(row))),
        Cells::Date(_) | Cells::Time(..) | Cells::Timestamp(..) | Cells::Binary(_) => {
            out.push(b'"');
            cells.write(row, b'T', out);
            out.push(b'"');
        }
        _ => cells.write(row, b'T', out),
    }
}

fn odd(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    }
}

/// A member's name with its colon.
fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_string(name.as_bytes(), &mut out);
    out.push(b':');
    out
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut written = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => &[
                b'\\',
                b'u',
                b'0',
                b'0',
                b'0' + (byte >> 4),
                if byte & 15 < 10 { b'0' + (byte & 15) } else { b'a' + (byte & 15) - 10 },
            ],
            _ => continue,
        };
        out.extend_from_slice(&text[written..at]);
        out.extend_from_slice(escape);
        written = at + 1;
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}
