//! A column's values, hidden.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, new_null_array};
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Action;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// HMAC-SHA-256 under one key.
pub struct Keyed(Hmac<Sha256>);

impl Keyed {
    pub fn new(key: &Secret) -> Result<Self> {
        let keyed = Hmac::new_from_slice(key.reveal().as_bytes());
        keyed.map(Self).map_err(|_| Error::internal("a key for HMAC-SHA-256 can have any length, but this one cannot"))
    }

    fn write(&self, value: &[u8], out: &mut String) {
        let mut keyed = self.0.clone();
        keyed.update(value);
        for byte in keyed.finalize().into_bytes() {
            let digit = |at: u8| char::from(DIGITS[usize::from(at)]);
            out.extend([digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// What becomes of a column. `keyed` is there where a hash is wanted.
pub fn hide(column: &ArrayRef, action: &Action, keyed: Option<&Keyed>) -> Result<ArrayRef> {
    if *action == Action::Clear {
        return Ok(new_null_array(column.data_type(), column.len()));
    }
    let nulls = column.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut hidden = StringBuilder::new();
    if let Action::Replace(text) = action {
        (0..column.len()).for_each(|row| hidden.append_option((!is_null(row)).then_some(text)));
        return Ok(Arc::new(hidden.finish()));
    }
    let cells = Cells::new(column)?;
    let (mut value, mut out) = (Vec::new(), String::new());
    for row in 0..column.len() {
        if is_null(row) {
            hidden.append_null();
            continue;
        }
        value.clear();
        out.clear();
        cells.write(row, b'T', &mut value);
        match action {
            Action::Hash => {
                let keyed = keyed.ok_or_else(|| Error::internal("a hash is wanted, and there is no key"))?;
                keyed.write(&value, &mut out);
            }
            Action::KeepLast(kept) => stars(&value, &mut out, |at, length| length > *kept && at >= length - kept)?,
            Action::KeepFirst(kept) => stars(&value, &mut out, |at, length| length > *kept && at < *kept)?,
            Action::Clear | Action::Replace(_) => {}
        }
        hidden.append_value(&out);
    }
    Ok(Arc::new(hidden.finish()))
}

/// A star for each character that does not stay.
fn stars(text: &[u8], out: &mut String, stays: impl Fn(usize, usize) -> bool) -> Result<()> {
    let text = std::str::from_utf8(text).map_err(|_| Error::internal("a value's text is not UTF-8"))?;
    let length = text.chars().count();
    let hidden = text.chars().enumerate().map(|(at, it)| if stays(at, length) { it } else { '*' });
    out.extend(hidden);
    Ok(())
}
