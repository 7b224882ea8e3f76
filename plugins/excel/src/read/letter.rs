//! A row that was refused, as a workbook of its own: it stands where it stood, below its header, and can be read again
//! with the same settings.

use engine_sdk::prelude::*;

use super::book::Book;
use super::cells::{Content, Row};
use super::table::Table;
use crate::cell::{self, Shown};
use crate::config::SheetName;
use crate::sheet::{Ended, letters};
use crate::styles::{GENERAL, Styles};
use crate::workbook;
use crate::zip::Archive;

/// The bytes of it.
pub fn letter(book: &Book, table: &Table, sheet: Option<&SheetName>) -> Result<Vec<u8>> {
    let place = match sheet {
        Some(SheetName::Place(place)) => *place as usize,
        _ => 1,
    };
    let (mut archive, mut styles, mut sheets) = (Archive::default(), Styles::default(), Vec::new());
    archive.add("_rels/.rels", workbook::PACKAGE)?;
    let mut xml = Vec::new();
    for number in 1..=place {
        xml.clear();
        xml.extend_from_slice(workbook::SHEET.as_bytes());
        xml.extend_from_slice(b"<sheetData>");
        if number == place {
            for row in table.header.iter().chain([&table.row]) {
                put(book, row, &mut styles, &mut xml);
            }
        }
        xml.extend_from_slice(b"</sheetData></worksheet>");
        archive.begin(workbook::sheet(number));
        archive.write(&xml)?;
        archive.end()?;
        let name = if number == place { table.sheet.clone() } else { format!("({number})") };
        sheets.push(Ended { name, filter: None, header: false, left_out: Vec::new() });
    }
    for (name, part) in workbook::parts(&sheets, &styles, book.from_1904) {
        archive.add(name, &part)?;
    }
    archive.finish()?;
    Ok(archive.out().to_vec())
}

/// Appends a row.
fn put(book: &Book, row: &Row, styles: &mut Styles, xml: &mut Vec<u8>) {
    let number = row.number.to_string();
    xml.extend_from_slice(format!("<row r=\"{number}\">").as_bytes());
    for found in &row.cells {
        let letters = letters(found.column);
        let place = [letters.as_bytes(), number.as_bytes()];
        let (shown, style, value) = match &found.content {
            Content::Number(value) => {
                let look = book.looks.get(found.style).copied().unwrap_or_default();
                let (style, _) = styles.of(look.format().unwrap_or(GENERAL).to_owned());
                (Shown::Number, format!("\" s=\"{style}"), value.to_string())
            }
            Content::Boolean(value) => (Shown::Boolean, String::new(), u8::from(*value).to_string()),
            Content::Text(text) => (Shown::Text, String::new(), row.text(text).to_owned()),
            Content::Shared(at) => (Shown::Text, String::new(), book.strings.get(*at).unwrap_or_default().to_owned()),
            Content::Iso(text) => (Shown::Number, "\" t=\"d".to_owned(), crate::text::escaped(row.text(text))),
            Content::Error(text) => (Shown::Number, "\" t=\"e".to_owned(), crate::text::escaped(row.text(text))),
        };
        cell::write(shown, &place, style.as_bytes(), value.as_bytes(), xml);
    }
    xml.extend_from_slice(b"</row>");
}
