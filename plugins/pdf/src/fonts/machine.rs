//! Fonts of the user's folder and of the machine.
//!
//! Only the tables that say what a font holds are read: a machine can have gigabytes of fonts.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use harfrust::font::Font;
use read_fonts::types::NameId;

use super::face::is_upright;

/// Where machines keep fonts.
const PLACES: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];
/// As many files as are looked at, and as deep as folders go.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 8;
/// A table that says which characters there are is smaller.
const LARGEST_TABLE: u32 = 8 << 20;
/// As many fonts as one file may hold.
const MOST_FONTS: u32 = 64;

/// A font that was found.
pub struct Found {
    pub path: PathBuf,
    pub index: u32,
    family: Option<String>,
    pub is_bold: bool,
    /// How far it is from an ordinary font: what is slanted, thin or heavy comes last, and the machine's after the
    /// user's.
    pub distance: u32,
    /// The characters that it has, as ranges.
    ranges: Vec<(u32, u32)>,
}

impl Found {
    pub fn has(&self, it: char) -> bool {
        let code = u32::from(it);
        let at = self.ranges.partition_point(|(_, last)| *last < code);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= code)
    }

    pub fn is_of(&self, family: &str) -> bool {
        self.family.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(family))
    }
}

/// All fonts of the user's folder, then of the machine's.
pub fn search(folder: Option<&Path>) -> Vec<Found> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share/fonts"));
    let machine = PLACES.iter().map(PathBuf::from).chain(home).map(|place| (place, 10_000));
    let places = folder.map(|folder| (folder.to_owned(), 0)).into_iter().chain(machine);
    let mut found = Vec::new();
    for (place, distance) in places {
        let mut files = Vec::new();
        collect(&place, 0, &mut files);
        // Folders have no order of their own, and the same rows become the same file.
        files.sort();
        found.extend(files.iter().flat_map(|path| fonts(path, distance).unwrap_or_default()));
    }
    found
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if files.len() >= MOST_FILES {
            return;
        }
        let ending = path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("ttf" | "otf" | "ttc" | "otc") => files.push(path),
            _ if depth < DEEPEST && path.is_dir() => collect(&path, depth + 1, files),
            _ => {}
        }
    }
}

/// The fonts of a file that can be embedded.
fn fonts(path: &Path, distance: u32) -> Option<Vec<Found>> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut head = [0; 12];
    file.read_exact(&mut head).ok()?;
    let mut starts = vec![0];
    if head.starts_with(b"ttcf") {
        let count = u32::from_be_bytes(*head.last_chunk()?).min(MOST_FONTS);
        let bytes = part(&mut file, 12, count * 4)?;
        starts = bytes.chunks_exact(4).filter_map(|it| Some(u32::from_be_bytes(*it.first_chunk()?))).collect();
    }
    let fonts = starts.into_iter().zip(0..).filter_map(|(start, index)| font(&mut file, path, start, index, distance));
    Some(fonts.collect())
}

fn part(file: &mut std::fs::File, start: u32, length: u32) -> Option<Vec<u8>> {
    if length > LARGEST_TABLE {
        return None;
    }
    file.seek(SeekFrom::Start(start.into())).ok()?;
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn font(file: &mut std::fs::File, path: &Path, start: u32, index: u32, distance: u32) -> Option<Found> {
    let head = part(file, start, 12)?;
    let count = u16::from_be_bytes([head[4], head[5]]);
    let records = part(file, start.checked_add(12)?, u32::from(count) * 16)?;
    let is_there = |name: &[u8; 4]| records.chunks_exact(16).any(|record| record.starts_with(name));
    // Pictures, such as those of faces, cannot be embedded; nor can letters whose shape varies be cut out of all.
    if !(is_there(b"glyf") || is_there(b"CFF ")) || is_there(b"CBDT") || is_there(b"sbix") {
        return None;
    }
    // A small font of the tables that are asked for, as if they were all.
    let (mut directory, mut content) = (head[..4].to_vec(), Vec::new());
    let wanted: Vec<&[u8]> = records
        .chunks_exact(16)
        .filter(|record| matches!(&record[..4], b"OS/2" | b"cmap" | b"head" | b"maxp" | b"name" | b"post"))
        .collect();
    directory.extend_from_slice(&(wanted.len() as u16).to_be_bytes());
    directory.extend_from_slice(&[0; 6]);
    for record in &wanted {
        let number = |at: usize| Some(u32::from_be_bytes(*record.get(at..)?.first_chunk()?));
        let table = part(file, number(8)?, number(12)?)?;
        let place = 12 + 16 * wanted.len() + content.len();
        directory.extend_from_slice(&record[..8]);
        directory.extend_from_slice(&u32::try_from(place).ok()?.to_be_bytes());
        directory.extend_from_slice(&record[12..]);
        content.extend_from_slice(&table);
        content.resize(content.len().next_multiple_of(4), 0);
    }
    directory.extend_from_slice(&content);
    let font = Font::new(directory, 0)?;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut codes: Vec<u32> = font.charmap().unicodes().filter(|(_, id)| id.to_u32() != 0).map(|(it, _)| it).collect();
    codes.sort_unstable();
    for code in codes {
        match ranges.last_mut() {
            Some((_, last)) if code <= *last + 1 => *last = code,
            _ => ranges.push((code, code)),
        }
    }
    let name = |id| {
        let name = font.names().get(id)?;
        Some(name.english_or_first()?.name().chars().collect::<String>())
    };
    let weight = font.default_attributes().weight.value();
    let slant = if is_upright(&font) { 0 } else { 2_000 };
    Some(Found {
        path: path.to_owned(),
        index,
        family: name(NameId::TYPOGRAPHIC_FAMILY_NAME).or_else(|| name(NameId::FAMILY_NAME)),
        is_bold: weight >= 600.0,
        distance: distance + slant + (weight - 400.0).abs() as u32,
        ranges,
    })
}
