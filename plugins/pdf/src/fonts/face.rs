//! One font: its letters, and how they are put together.

use std::cell::RefCell;
use std::sync::Arc;

use harfrust::font::{Font, Kind, attribute::Style};
use harfrust::{Buffer, Direction, GlyphId, Script, ShapeOptions, ShapePlan, ShaperFont};

/// How texts of a script are shaped in a direction.
type Plan = (Option<Script>, Direction, Arc<ShapePlan>);

/// A shape of a font, and where it stands. All lengths are thousandths of the letters' size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    pub id: u16,
    /// Where the text begins that it stands for, in bytes of the run's text.
    pub cluster: u32,
    /// How far the next one is.
    pub advance: f32,
    /// By how much it is moved from its place.
    pub x: f32,
    pub y: f32,
}

impl Glyph {
    /// Whether it stands above, below or inside of the one before.
    pub fn is_mark(&self) -> bool {
        self.advance == 0.0
    }
}

/// The bytes of a font.
#[derive(Clone)]
pub enum Data {
    BuiltIn(&'static [u8]),
    Read(Arc<Vec<u8>>),
}

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::BuiltIn(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }
}

/// A font.
pub struct Face {
    pub data: Data,
    /// Which one, in a file with several.
    pub index: u32,
    pub font: Font,
    /// As the file names it.
    pub name: String,
    pub is_bold: bool,
    /// Whether its outlines are those of PostScript.
    pub is_cff: bool,
    /// From its own units to thousandths.
    scale: f32,
    /// Of the characters up to `~`, without any rules: shape and width.
    ascii: [(u16, f32); 128],
    plans: RefCell<Vec<Plan>>,
    buffer: RefCell<Buffer>,
}

impl Face {
    pub fn built_in(bytes: &'static [u8]) -> Option<Self> {
        Self::new(Data::BuiltIn(bytes), Font::new(bytes, 0)?, 0)
    }

    pub fn read(bytes: Vec<u8>, index: u32) -> Option<Self> {
        let bytes = Arc::new(bytes);
        let blob = harfrust::font::Blob::Shared(Arc::new(Data::Read(Arc::clone(&bytes))));
        Self::new(Data::Read(bytes), Font::new(blob, index)?, index)
    }

    fn new(data: Data, font: Font, index: u32) -> Option<Self> {
        let is_cff = match font.kind() {
            Kind::Sfnt(..) => !has_table(data.as_ref(), index, b"glyf"),
            _ => return None,
        };
        if is_cff && !has_table(data.as_ref(), index, b"CFF ") {
            return None;
        }
        let attributes = font.default_attributes();
        let scale = 1000.0 / f32::from(font.units_per_em().max(1));
        let name = font.names().get(read_fonts::types::NameId::POSTSCRIPT_NAME);
        let name = name.and_then(|name| Some(name.english_or_first()?.name().chars().collect::<String>()));
        let (charmap, metrics) = (font.charmap(), font.glyph_metrics());
        let mut ascii = [(0, 0.0); 128];
        for (code, place) in ascii.iter_mut().enumerate().skip(32).take(95) {
            let glyph = charmap.map_unicode(code as u32).unwrap_or_default();
            *place = (glyph.to_u32() as u16, metrics.h_advance(glyph) * scale);
        }
        // Names of a PDF have no spaces or brackets.
        let is_plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
        let name: String = name.unwrap_or_default().chars().filter(is_plain).take(60).collect();
        Some(Self {
            data,
            index,
            is_bold: attributes.weight.value() >= 600.0,
            is_cff,
            scale,
            ascii,
            name: if name.is_empty() { "Font".into() } else { name },
            plans: RefCell::default(),
            buffer: RefCell::new(Buffer::new()),
            font,
        })
    }

    /// Whether a character has a shape.
    pub fn has(&self, it: char) -> bool {
        self.alone(it).is_some()
    }

    /// The shape of a character that stands alone.
    pub fn alone(&self, it: char) -> Option<u16> {
        let glyph = self.font.charmap().map_unicode(u32::from(it))?;
        u16::try_from(glyph.to_u32()).ok().filter(|glyph| *glyph != 0)
    }

    /// The shape and width of a letter of ASCII, as it stands alone.
    pub fn ascii(&self, byte: u8) -> (u16, f32) {
        self.ascii[usize::from(byte & 127)]
    }

    /// How wide a shape is, in thousandths.
    pub fn width(&self, glyph: u16) -> f32 {
        self.font.glyph_metrics().h_advance(GlyphId::new(glyph.into())) * self.scale
    }

    /// From the font's units to thousandths of the letters' size.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The shapes of a text of one script and direction, from left to right.
    pub fn shape(&self, text: &str, script: Option<Script>, is_right_to_left: bool) -> Vec<Glyph> {
        let direction = if is_right_to_left { Direction::RightToLeft } else { Direction::LeftToRight };
        let plan = self.plan(script, direction);
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.set_direction(direction);
        buffer.set_script(script);
        buffer.push_str(text);
        let shaper = ShaperFont::new(&self.font);
        if harfrust::shape(&shaper, &mut buffer, ShapeOptions::new().plan(Some(&plan))).is_err() {
            return Vec::new();
        }
        let glyphs = buffer.glyph_infos().iter().zip(buffer.glyph_positions());
        let glyph = |(info, position): (&harfrust::GlyphInfo, &harfrust::GlyphPosition)| Glyph {
            id: u16::try_from(info.glyph_id).unwrap_or_default(),
            cluster: info.cluster,
            advance: position.x_advance as f32 * self.scale,
            x: position.x_offset as f32 * self.scale,
            y: position.y_offset as f32 * self.scale,
        };
        glyphs.map(glyph).collect()
    }

    fn plan(&self, script: Option<Script>, direction: Direction) -> Arc<ShapePlan> {
        let mut plans = self.plans.borrow_mut();
        if let Some((.., plan)) = plans.iter().find(|(known, way, _)| *known == script && *way == direction) {
            return Arc::clone(plan);
        }
        let plan = Arc::new(ShapePlan::new(&self.font, direction, script, None, &[]));
        plans.push((script, direction, Arc::clone(&plan)));
        plan
    }
}

/// Whether letters stand upright.
pub fn is_upright(font: &Font) -> bool {
    font.default_attributes().style == Style::Normal
}

/// Whether a file has a table.
pub fn has_table(data: &[u8], index: u32, name: &[u8; 4]) -> bool {
    let number = |at: usize| Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?));
    let start = if data.starts_with(b"ttcf") { number(12 + 4 * index as usize) } else { Some(0) };
    let records = start.and_then(|start| {
        let count = u16::from_be_bytes(*data.get(start as usize + 4..)?.first_chunk()?);
        data.get(start as usize + 12..)?.get(..usize::from(count) * 16)
    });
    records.is_some_and(|records| records.chunks_exact(16).any(|record| record.starts_with(name)))
}
