//! Paragraphs to lines of shapes: directions, scripts and fonts.

use std::borrow::Cow;
use std::ops::Range;

use unicode_bidi::{Level, ParagraphBidiInfo};
use unicode_script::{Script, UnicodeScript};

use super::lines::{Advances, broken};
use super::{Laid, Line, Run};
use crate::fonts::{FaceId, Fonts, script};

/// Lays a text out: in as many lines as it has, or in lines of at most a width.
pub fn laid(fonts: &mut Fonts, text: &str, bold: bool, most: Option<f32>) -> Laid {
    let mut laid = Laid::default();
    for (at, paragraph) in text.split('\n').enumerate() {
        let paragraph = cleaned(paragraph);
        let info = ParagraphBidiInfo::new(&paragraph, None);
        if at == 0 {
            laid.is_right_to_left = info.paragraph_level.is_rtl();
        }
        let whole = line(fonts, &info, 0..paragraph.len(), bold);
        let advances = advances(&whole, &paragraph);
        let (ranges, narrowest) = broken(&paragraph, &advances, most);
        laid.narrowest = laid.narrowest.max(narrowest);
        match ranges.as_slice() {
            [range] if range.end == paragraph.len() => laid.lines.push(whole.line),
            ranges => {
                let lines = ranges.iter().map(|range| line(fonts, &info, range.clone(), bold).line);
                laid.lines.extend(lines);
            }
        }
    }
    laid.width = laid.lines.iter().fold(0.0, |width, line| width.max(line.width));
    laid
}

/// What has no shape, and would be a box: tabulators and the like become spaces.
fn cleaned(text: &str) -> Cow<'_, str> {
    let is_control = |it: char| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains(is_control) { text.replace(is_control, " ").into() } else { text.into() }
}

/// A line, and where in the paragraph its runs begin.
struct Placed {
    line: Line,
    starts: Vec<usize>,
}

fn advances(placed: &Placed, text: &str) -> Advances {
    let mut parts: Vec<(usize, f32)> = Vec::new();
    for (run, start) in placed.line.runs.iter().zip(&placed.starts) {
        for glyph in &run.glyphs {
            let place = start + glyph.cluster as usize;
            match parts.last_mut() {
                Some((known, width)) if *known == place => *width += glyph.advance,
                _ => parts.push((place, glyph.advance)),
            }
        }
    }
    Advances::new(parts, text.len())
}

/// A part of one direction, script and font.
struct Item {
    range: Range<usize>,
    level: Level,
    script: Script,
    face: FaceId,
}

fn line(fonts: &mut Fonts, info: &ParagraphBidiInfo<'_>, range: Range<usize>, bold: bool) -> Placed {
    let mut placed = Placed { line: Line::default(), starts: Vec::new() };
    if range.is_empty() {
        return placed;
    }
    // Spaces at the end of a line, which would have a direction of their own, are not part of it.
    let items = items(fonts, info.text, &info.levels, range, bold, &mut placed.line.missing);
    let order = ParagraphBidiInfo::reorder_visual(&items.iter().map(|item| item.level).collect::<Vec<_>>());
    for item in order.into_iter().filter_map(|at| items.get(at)) {
        let text = &info.text[item.range.clone()];
        let is_right_to_left = item.level.is_rtl();
        let glyphs = fonts.faces[item.face].shape(text, script(item.script), is_right_to_left);
        placed.line.width += glyphs.iter().map(|glyph| glyph.advance).sum::<f32>();
        placed.starts.push(item.range.start);
        let is_faint = fonts.is_faint(item.face, bold);
        placed.line.runs.push(Run { face: item.face, is_faint, is_right_to_left, text: text.into(), glyphs });
    }
    placed
}

fn items(
    fonts: &mut Fonts,
    text: &str,
    levels: &[Level],
    range: Range<usize>,
    bold: bool,
    missing: &mut Vec<char>,
) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for (at, it) in text[range.clone()].char_indices() {
        let at = range.start + at;
        let (level, own) = (levels[at], it.script());
        let is_common = matches!(own, Script::Common | Script::Inherited);
        let before = items.last_mut().filter(|item| item.level == level);
        // What joins letters, marks and spaces are shown as what they stand behind.
        let follows = own == Script::Inherited || it == ' ' || is_hidden(it);
        let face = match &before {
            Some(item) if follows && (fonts.faces[item.face].has(it) || is_hidden(it)) => item.face,
            Some(item) if !is_common && item.script == own && fonts.faces[item.face].has(it) => item.face,
            _ => fonts.face_of(it, bold).unwrap_or_else(|| {
                if !is_hidden(it) {
                    missing.push(it);
                }
                fonts.main(bold)
            }),
        };
        match before {
            Some(item) if item.face == face && (is_common || item.script == own || item.script == Script::Common) => {
                item.range.end = at + it.len_utf8();
                if !is_common {
                    item.script = own;
                }
            }
            _ => {
                let script = if is_common { Script::Common } else { own };
                items.push(Item { range: at..at + it.len_utf8(), level, script, face });
            }
        }
    }
    items
}

/// Characters that are not shown, but change how others are.
fn is_hidden(it: char) -> bool {
    matches!(
        it,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}'
    )
}
