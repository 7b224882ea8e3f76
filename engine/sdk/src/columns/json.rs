//! Rows as JSON objects, as every format and API gets them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeListArray, MapArray, RecordBatch, StructArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use engine_abi::{Error, Result};

use super::Cells;

/// The rows of a batch, ready to be written one by one.
///
/// A value is written exactly: a decimal with all its digits, as a number; dates
/// and times as ISO 8601, binary values as base64, numbers that JSON does not
/// have (`NaN`) as text; lists and objects as what they are.
pub struct JsonRows {
    members: Vec<(Vec<u8>, Node)>,
}

impl JsonRows {
    /// Takes some columns of a batch, in this order.
    ///
    /// # Errors
    /// `Config`, where a column is of a type that has no JSON.
    pub fn new(batch: &RecordBatch, columns: impl IntoIterator<Item = usize>) -> Result<Self> {
        let schema = batch.schema_ref();
        let members = columns.into_iter().map(|at| Ok((key(schema.field(at).name()), Node::new(batch.column(at))?)));
        Ok(Self { members: members.collect::<Result<_>>()? })
    }

    /// Writes a row as an object; `omit_nulls` leaves members without a value out.
    pub fn write(&self, row: usize, omit_nulls: bool, out: &mut Vec<u8>) {
        write_object(&self.members, row, omit_nulls, out);
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
                write_object(members, row, omit_nulls, out);
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
                    write_json_string(&name, out);
                    out.push(b':');
                    values.write(entry as usize, omit_nulls, out);
                }
                out.push(b'}');
            }
        }
    }
}

fn write_object(members: &[(Vec<u8>, Node)], row: usize, omit_nulls: bool, out: &mut Vec<u8>) {
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
        return write_json_string(text.as_bytes(), out);
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
    write_json_string(name.as_bytes(), &mut out);
    out.push(b':');
    out
}

/// Writes a text with its quotes.
pub fn write_json_string(text: &[u8], out: &mut Vec<u8>) {
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
