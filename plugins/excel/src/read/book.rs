//! A workbook: its sheets, the looks of its cells, the texts that they share.

use std::collections::HashMap;
use std::io::Read;

use engine_sdk::prelude::*;
use engine_sdk::spool::Whole;

use super::archive::{Archive, Part};
use super::cells::Cells;
use super::look::Look;
use super::strings::Strings;
use super::xml::{Token, Xml, resolve};
use crate::config::{Config, SheetName};

/// How large a part may be that says what is in others, unpacked, in bytes.
const LARGEST_PART: u64 = 64 << 20;
/// As many sheets as anybody has.
const MOST_SHEETS: usize = 10_000;
/// What a file begins with that is packed, and one of older programs.
const PACKED: &[u8] = b"PK";
const OLD: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

const SAVE: &str = "save it as .xlsx, the format of Excel since 2007, and run again";
const WHOLE: &str = "put the whole file in its place and run again; files should be written under another name and \
                     renamed when they are complete";

/// A workbook, open.
pub struct Book {
    archive: Archive,
    pub sheets: Vec<Listed>,
    pub from_1904: bool,
    /// By the numbers of styles.
    pub looks: Vec<Look>,
    pub strings: Strings,
}

/// A sheet with cells.
pub struct Listed {
    pub name: String,
    /// From 1, among sheets of all kinds.
    pub place: usize,
    pub is_hidden: bool,
    path: String,
}

/// Where a part of the workbook is.
struct Related {
    kind: String,
    target: String,
}

/// Says what is wrong with a file.
pub fn damaged(file: &Whole, why: impl std::fmt::Display) -> Error {
    Error::config(format!("{} cannot be read: {why}", file.title()))
        .hint("put a sound copy in its place and run again; if other programs read it, report this message")
}

/// What was read of a file, unless something is wrong with it.
fn sound<T>(file: &Whole, read: Result<T, String>) -> Result<T> {
    read.map_err(|why| damaged(file, why))
}

impl Book {
    pub fn open(file: Whole, config: &Config, cx: &Context) -> Result<Self> {
        check_kind(&file)?;
        let archive = sound(&file, Archive::open(file.clone(), cx.clone()))?;
        let package = sound(&file, relations(&archive, ""))?;
        let main = package.into_values().find(|it| it.kind == "officeDocument").map(|it| it.target);
        let main = main.unwrap_or_else(|| "xl/workbook.xml".into());
        if main.ends_with(".bin") {
            return Err(other(&file, "it is a binary workbook (.xlsb)", SAVE));
        }
        let related = sound(&file, relations(&archive, &main))?;
        let Some(part) = sound(&file, small(&archive, &main))? else {
            let content = sound(&file, archive.part("content.xml"))?;
            return Err(match content.is_some() {
                true => other(&file, "it is an OpenDocument file, such as .ods", SAVE),
                false => other(&file, "there is no workbook in it", SAVE),
            });
        };
        let mut book =
            Self { sheets: Vec::new(), from_1904: false, looks: Vec::new(), strings: Strings::default(), archive };
        sound(&file, book.sheets(part, &related))?;
        let of = |kind: &str| related.values().find(|it| it.kind == kind).map(|it| it.target.as_str());
        let missing = |path: &str| damaged(&file, format!("its part {path} is missing"));
        if let Some(path) = of("styles") {
            let part = sound(&file, small(&book.archive, path))?.ok_or_else(|| missing(path))?;
            book.looks = sound(&file, looks(part))?;
        }
        if let Some(path) = of("sharedStrings") {
            let part = sound(&file, book.archive.part(path))?.ok_or_else(|| missing(path))?;
            let most = config.max_texts;
            let strings = sound(&file, Strings::read(part, most.as_usize()))?;
            book.strings = strings.ok_or_else(|| {
                Error::config(format!("{}: its cells share more than {} bytes of texts", file.title(), most.0))
                    .hint("raise `max_texts`, if there is as much memory, or save the table as CSV")
            })?;
        }
        Ok(book)
    }

    pub fn file(&self) -> &Whole {
        self.archive.file()
    }

    /// Reads the list of sheets.
    fn sheets(&mut self, part: impl Read, related: &HashMap<String, Related>) -> Result<(), String> {
        let (mut xml, mut place) = (Xml::new(part), 0);
        while let Some(token) = xml.next()? {
            let Token::Start { name, attributes, .. } = token else { continue };
            match name {
                b"workbookPr" => {
                    self.from_1904 = matches!(attributes.get("date1904"), Some(b"1" | b"true" | b"on"));
                }
                b"sheet" => {
                    place += 1;
                    let related = attributes.text("id")?.and_then(|id| related.get(&id));
                    let mut name = attributes.text("name")?.unwrap_or_default();
                    resolve(&mut name, 0);
                    let is_hidden = attributes.get("state").is_some_and(|state| state != b"visible");
                    // Others have charts, or macros of old.
                    let Some(Related { target, .. }) = related.filter(|it| it.kind == "worksheet") else { continue };
                    if self.sheets.len() >= MOST_SHEETS {
                        return Err(format!("it has more than {MOST_SHEETS} sheets"));
                    }
                    self.sheets.push(Listed { name, place, is_hidden, path: target.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Which sheets are to be read, by their places in the list.
    pub fn chosen(&self, wanted: Option<&SheetName>) -> Result<Vec<usize>> {
        let visible = (0..self.sheets.len()).filter(|at| !self.sheets[*at].is_hidden);
        let found = match wanted {
            None => visible.take(1).collect(),
            Some(name) if name.is_all() => visible.collect(),
            Some(SheetName::Place(place)) => {
                let place = *place as usize;
                self.sheets.iter().position(|it| it.place == place).into_iter().collect()
            }
            Some(SheetName::Name(name)) => {
                let same = |it: &Listed| it.name == *name || it.name.to_lowercase() == name.to_lowercase();
                self.sheets.iter().position(same).into_iter().collect::<Vec<_>>()
            }
        };
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<_> = self.sheets.iter().take(20).map(|it| it.name.as_str()).collect();
        let title = self.file().title();
        Err(match wanted {
            Some(SheetName::Name(name)) if name != "*" => Error::config(format!("{title} has no sheet `{name}`")),
            Some(SheetName::Place(place)) => Error::config(format!("{title} has no sheet number {place} with cells")),
            _ => Error::config(format!("{title} has no sheet that is shown")),
        }
        .hint(match names.is_empty() {
            true => "there is no sheet with cells in it".to_owned(),
            false => format!("its sheets are: {}", names.join(", ")),
        }))
    }

    /// Begins to read the cells of a sheet.
    pub fn cells(&self, at: usize) -> Result<Cells> {
        let Listed { name, path, .. } = &self.sheets[at];
        let part = sound(self.file(), self.archive.part(path))?;
        let part = part.ok_or_else(|| damaged(self.file(), format!("its sheet {name} is missing")))?;
        Ok(Cells::new(part, self.strings.count()))
    }
}

/// Looks whether a file could be a workbook of this kind at all.
fn check_kind(file: &Whole) -> Result<()> {
    if file.bytes == 0 {
        return Err(other(file, "it is empty", WHOLE));
    }
    let mut begin = vec![0; file.bytes.min(OLD.len() as u64) as usize];
    file.read(&mut begin, 0)?;
    if begin == OLD {
        return Err(match is_protected(file) {
            true => Error::config(format!("{} is protected with a password", file.title()))
                .hint("save it without one (File, Info, Protect Workbook) and run again"),
            false => other(file, "it is a workbook of the format before 2007 (.xls)", SAVE),
        });
    }
    if !begin.starts_with(PACKED) {
        return Err(other(file, "it begins with other bytes", "check `path` and `format`"));
    }
    Ok(())
}

/// Whether the list of an old container has what encrypted workbooks are kept in.
fn is_protected(file: &Whole) -> bool {
    let mut head = [0; 52];
    if file.read(&mut head, 0).is_err() {
        return false;
    }
    let sector = u64::from(u32::from_le_bytes([head[48], head[49], head[50], head[51]]));
    let size = 1_u64 << u16::from_le_bytes([head[30], head[31]]).min(12);
    let mut list = [0; 1024];
    let begin = (sector + 1) * size;
    let length = file.bytes.saturating_sub(begin).min(1024) as usize;
    let name: Vec<u8> = "Encrypt".encode_utf16().flat_map(u16::to_le_bytes).collect();
    file.read(&mut list[..length], begin).is_ok() && list.windows(name.len()).any(|it| it == name)
}

fn other(file: &Whole, why: &str, hint: &str) -> Error {
    Error::config(format!("{} is no workbook of the kind .xlsx: {why}", file.title())).hint(hint)
}

/// A part that is small.
fn small(archive: &Archive, path: &str) -> Result<Option<Bounded>, String> {
    Ok(archive.part(path)?.map(|part| Bounded { part, left: LARGEST_PART }))
}

/// Refuses what is larger than it can be.
struct Bounded {
    part: Part,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.part.read(into)?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            std::io::Error::other(format!(
                "a part of it that describes others is larger than {} MiB",
                LARGEST_PART >> 20
            ))
        })?;
        Ok(length)
    }
}

/// What belongs to a part of the workbook, by the names that the part gives it. Its path: empty for the workbook.
fn relations(archive: &Archive, path: &str) -> Result<HashMap<String, Related>, String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let list = join(folder, &format!("_rels/{name}.rels"));
    let mut found = HashMap::new();
    let Some(part) = small(archive, &list)? else { return Ok(found) };
    let mut xml = Xml::new(part);
    while let Some(token) = xml.next()? {
        let Token::Start { name: b"Relationship", attributes, .. } = token else { continue };
        let (id, kind, target) = (attributes.text("Id")?, attributes.text("Type")?, attributes.text("Target")?);
        if let (Some(id), Some(kind), Some(target)) = (id, kind, target) {
            // Two families of addresses end alike.
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            found.insert(id, Related { kind, target: join(folder, &target) });
        }
    }
    Ok(found)
}

/// A path of one folder, seen from the root.
fn join(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|it| !it.is_empty()).collect(),
    };
    for part in target.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What the styles of cells make of numbers.
fn looks(part: impl Read) -> Result<Vec<Look>, String> {
    let (mut formats, mut looks) = (HashMap::new(), Vec::new());
    let (mut xml, mut is_inside) = (Xml::new(part), false);
    while let Some(token) = xml.next()? {
        match token {
            Token::Start { name: b"numFmt", attributes, .. } => {
                let number = attributes.text("numFmtId")?.and_then(|it| it.parse::<u32>().ok());
                if let (Some(number), Some(code)) = (number, attributes.text("formatCode")?) {
                    formats.insert(number, Look::of(&code));
                }
            }
            Token::Start { name: b"cellXfs", is_empty, .. } => is_inside = !is_empty,
            Token::End(b"cellXfs") => is_inside = false,
            Token::Start { name: b"xf", attributes, .. } if is_inside => {
                let number = attributes.text("numFmtId")?.and_then(|it| it.parse().ok()).unwrap_or(0);
                looks.push(formats.get(&number).copied().unwrap_or(Look::built_in(number)));
            }
            _ => {}
        }
    }
    Ok(looks)
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn paths_of_parts_are_seen_from_the_root() {
        for (folder, target, path) in [
            ("xl", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "/xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "../xl/./styles.xml", "xl/styles.xml"),
            ("", "_rels/.rels", "_rels/.rels"),
            ("", "../../a", "a"),
            ("xl", "worksheets\\sheet1.xml", "xl/worksheets/sheet1.xml"),
        ] {
            assert_eq!(join(folder, target), path);
        }
    }
}
