//! Fonts inside of the file: no more of them than the pages show.

use std::collections::HashMap;

use engine_sdk::prelude::*;
use subsetter::GlyphRemapper;

use super::face::{Face, has_table};
use crate::file::{File, Reference};

/// As many as a page can tell apart, with some to spare for those without a text.
const MOST_NUMBERS: usize = 60_000;

/// What the pages show of a font.
///
/// A shape has a number in the file for each text that it stands for, so that all of them can be searched. Fonts of
/// PostScript outlines have one number a shape.
#[derive(Default)]
pub struct Used {
    glyphs: GlyphRemapper,
    numbers: HashMap<(u16, bool), Vec<u16>>,
    /// By their numbers.
    shapes: Vec<Shape>,
}

struct Shape {
    /// Its number in the font that is embedded.
    glyph: u16,
    text: Option<Box<str>>,
    width: f32,
}

impl Used {
    /// The number of a shape that stands for a text; none where it has one for another text only.
    pub fn number(&mut self, face: &Face, glyph: u16, text: &str) -> Option<u16> {
        self.find(face, glyph, Some(text), false)
    }

    /// The number of a shape that stands for a text and takes no space.
    pub fn carrier(&mut self, face: &Face, text: &str) -> Option<u16> {
        if face.is_cff {
            return None;
        }
        self.find(face, face.alone(' ')?, Some(text), true)
    }

    /// The number of a shape that stands for nothing.
    pub fn silent(&mut self, face: &Face, glyph: u16) -> u16 {
        self.find(face, glyph, None, false).unwrap_or_default()
    }

    fn find(&mut self, face: &Face, glyph: u16, text: Option<&str>, is_flat: bool) -> Option<u16> {
        if self.shapes.is_empty() {
            // The first number is that of what is missing.
            self.shapes.push(Shape { glyph: 0, text: None, width: face.width(0) });
        }
        if face.is_cff {
            return self.only(face, glyph, text);
        }
        let known = self.numbers.entry((glyph, is_flat)).or_default();
        let same = |number: &&u16| self.shapes[usize::from(**number)].text.as_deref() == text;
        if let Some(number) = known.iter().find(same) {
            return Some(*number);
        }
        if self.shapes.len() >= MOST_NUMBERS && text.is_some() {
            return None;
        }
        let number = u16::try_from(self.shapes.len()).ok()?;
        let width = if is_flat { 0.0 } else { face.width(glyph) };
        self.shapes.push(Shape { glyph: self.glyphs.remap(glyph), text: text.map(Into::into), width });
        known.push(number);
        Some(number)
    }

    fn only(&mut self, face: &Face, glyph: u16, text: Option<&str>) -> Option<u16> {
        let number = self.glyphs.remap(glyph);
        if usize::from(number) >= self.shapes.len() {
            self.shapes.push(Shape { glyph: number, text: None, width: face.width(glyph) });
        }
        let shape = &mut self.shapes[usize::from(number)];
        match (text, &shape.text) {
            (Some(text), Some(known)) => (**known == *text).then_some(number),
            (Some(text), None) => {
                shape.text = Some(text.into());
                Some(number)
            }
            (None, _) => Some(number),
        }
    }

    pub fn width(&self, number: u16) -> f32 {
        self.shapes[usize::from(number)].width
    }

    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }
}

/// Writes a font.
pub fn write(file: &mut File, reference: Reference, at: usize, face: &Face, used: &Used) -> Result<()> {
    let fault = |error| Error::internal(format!("the font {} cannot be embedded: {error}", face.name));
    let font = subsetter::subset(face.data.as_ref(), face.index, &used.glyphs).map_err(fault)?;
    // Six letters say that a font is not complete; they tell fonts of one name apart.
    let letters: String = (0..6).rev().map(|place| char::from(b'A' + (at / 26_usize.pow(place) % 26) as u8)).collect();
    let name = format!("/{letters}+{}", face.name);
    let program = file.reserve();
    let (kind, key, map) = if face.is_cff {
        let table = table(&font, b"CFF ").unwrap_or(&font);
        file.stream(program, "/Subtype/CIDFontType0C", table)?;
        ("/CIDFontType0", "/FontFile3", String::new())
    } else {
        file.stream(program, &format!("/Length1 {}", font.len()), &font)?;
        let map = file.reserve();
        let glyphs: Vec<u8> = used.shapes.iter().flat_map(|shape| shape.glyph.to_be_bytes()).collect();
        file.stream(map, "", &glyphs)?;
        ("/CIDFontType2", "/FontFile2", format!("/CIDToGIDMap {map}"))
    };
    let metrics = face.font.metrics();
    let bounds = &metrics.bounds;
    let scale = f64::from(face.scale());
    let to = |value: f64| (value * scale).round();
    let line = metrics.h_line();
    let (ascent, descent) = line.map_or((900.0, -250.0), |it| (to(it.ascender.to_f64()), to(it.descender.to_f64())));
    let capital = metrics.cap_height.map_or(700.0, |it| to(it.to_f64()));
    let [left, bottom, right, top] = [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max].map(|it| to(it.to_f64()));
    let descriptor = file.add(&format!(
        "<</Type/FontDescriptor/FontName{name}/Flags 4/FontBBox[{left} {bottom} {right} {top}]/ItalicAngle 0\
         /Ascent {ascent}/Descent {descent}/CapHeight {capital}/StemV {}{key} {program}>>",
        if face.is_bold { 140 } else { 80 }
    ));
    let widths: Vec<String> = used.shapes.iter().map(|it| format!("{}", (it.width * 100.0).round() / 100.0)).collect();
    let descendant = file.add(&format!(
        "<</Type/Font/Subtype{kind}/BaseFont{name}/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>\
         /FontDescriptor {descriptor}/DW 0/W[0[{}]]{map}>>",
        widths.join(" ")
    ));
    let texts = file.reserve();
    file.stream(texts, "", meanings(&used.shapes).as_bytes())?;
    file.put(
        reference,
        &format!(
            "<</Type/Font/Subtype/Type0/BaseFont{name}/Encoding/Identity-H/DescendantFonts[{descendant}]/ToUnicode {texts}>>"
        ),
    );
    Ok(())
}

/// What the shapes stand for, as programs that search or copy read it.
fn meanings(shapes: &[Shape]) -> String {
    let mut out = String::from(
        "/CIDInit/ProcSet findresource begin\n12 dict begin\nbegincmap\n\
         /CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>>def\n\
         /CMapName/Adobe-Identity-UCS def\n/CMapType 2 def\n\
         1 begincodespacerange\n<0000><FFFF>\nendcodespacerange\n",
    );
    let known: Vec<(usize, &str)> =
        shapes.iter().enumerate().filter_map(|(number, shape)| Some((number, shape.text.as_deref()?))).collect();
    // A block takes a hundred.
    for block in known.chunks(100) {
        out.push_str(&format!("{} beginbfchar\n", block.len()));
        for (number, text) in block {
            out.push_str(&format!("<{number:04X}><"));
            text.encode_utf16().for_each(|unit| out.push_str(&format!("{unit:04X}")));
            out.push_str(">\n");
        }
        out.push_str("endbfchar\n");
    }
    out.push_str("endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend\n");
    out
}

/// A table of a font file.
fn table<'a>(font: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    if !has_table(font, 0, name) {
        return None;
    }
    let record = font.get(12..)?.chunks_exact(16).find(|record| record.starts_with(name))?;
    let number = |at: usize| Some(u32::from_be_bytes(*record.get(at..)?.first_chunk()?) as usize);
    let start = number(8)?;
    font.get(start..start.checked_add(number(12)?)?)
}
