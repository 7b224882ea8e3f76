//! Fonts: which one has a character, and what of it goes into the file.

mod embed;
mod face;
mod machine;

use std::collections::HashMap;
use std::path::PathBuf;

use engine_sdk::prelude::*;
use harfrust::Script;

pub use embed::{Used, write};
pub use face::{Face, Glyph};

use machine::Found;

/// The fonts that are built in, in the order in which they are asked. The first two are the same letters.
const BUILT_IN: [&[u8]; 6] = [
    include_bytes!("../../fonts/NotoSans-Regular.ttf"),
    include_bytes!("../../fonts/NotoSans-Bold.ttf"),
    include_bytes!("../../fonts/NotoSansArabic-Regular.ttf"),
    include_bytes!("../../fonts/NotoSansDevanagari-Regular.ttf"),
    include_bytes!("../../fonts/NotoSansSinhala-Regular.ttf"),
    include_bytes!("../../fonts/NotoSansTamil-Regular.ttf"),
];
/// Fonts beyond the built-in ones that one report may use.
const MOST_FACES: usize = 24;
/// Files of a font are read as a whole.
const LARGEST_FILE: u64 = 64 << 20;

/// The number of a face.
pub type FaceId = usize;

/// All fonts of a report.
pub struct Fonts {
    pub faces: Vec<Face>,
    /// The faces of ordinary and of bold text, in the order in which they are asked.
    order: [Vec<FaceId>; 2],
    /// Which face has a character; `None`: no font has it.
    known: HashMap<(char, bool), Option<FaceId>>,
    /// The user's folder, searched before the machine's.
    folder: Option<PathBuf>,
    /// What was found there; `None`: nobody has looked yet.
    found: Option<Vec<Found>>,
}

impl Fonts {
    /// The built-in fonts, and a family of the user's before them.
    pub fn new(folder: Option<PathBuf>, family: Option<&str>) -> Result<Self> {
        let damaged = || Error::internal("a built-in font cannot be read");
        let faces = BUILT_IN.iter().map(|bytes| Face::built_in(bytes).ok_or_else(damaged));
        let mut fonts = Self {
            faces: faces.collect::<Result<_>>()?,
            order: [vec![0, 2, 3, 4, 5], vec![1, 0, 2, 3, 4, 5]],
            known: HashMap::new(),
            folder,
            found: None,
        };
        if let Some(family) = family {
            fonts.prefer(family)?;
        }
        Ok(fonts)
    }

    /// Puts a family before all others.
    fn prefer(&mut self, family: &str) -> Result<()> {
        let mut regular = None;
        let mut bold = None;
        for (at, found) in self.found().iter().enumerate().filter(|(_, found)| found.is_of(family)) {
            let place = if found.is_bold { &mut bold } else { &mut regular };
            // The first of the user's folder, and of upright letters where there are some.
            let better = place.is_none_or(|it: (usize, u32)| found.distance < it.1);
            if better {
                *place = Some((at, found.distance));
            }
        }
        let Some((regular, _)) = regular.or(bold) else {
            return Err(Error::config(format!(
                "`font`: there is no family {family:?} with a font that can be embedded"
            ))
            .hint("put its files (.ttf, .otf, .ttc) into the folder `fonts`, or leave `font` out"));
        };
        let fault = |path: PathBuf| {
            Error::config(format!("`font`: {} cannot be read", path.display())).hint("use another file or family")
        };
        let regular = self.load(regular).map_err(fault)?;
        self.order[0].insert(0, regular);
        let bold = bold.map(|(at, _)| self.load(at).map_err(fault)).transpose()?;
        // Without bold letters, ordinary ones are made bolder.
        self.order[1].insert(0, bold.unwrap_or(regular));
        if bold.is_some() {
            self.order[1].insert(1, regular);
        }
        Ok(())
    }

    fn found(&mut self) -> &[Found] {
        let folder = &self.folder;
        self.found.get_or_insert_with(|| machine::search(folder.as_deref()))
    }

    /// Takes a font that was found; where it cannot be used, its path.
    fn load(&mut self, at: usize) -> Result<FaceId, PathBuf> {
        let Some(found) = self.found.as_ref().and_then(|it| it.get(at)) else { return Err(PathBuf::new()) };
        let (path, index) = (found.path.clone(), found.index);
        let is_small = std::fs::metadata(&path).is_ok_and(|it| it.len() <= LARGEST_FILE);
        let bytes = if is_small { std::fs::read(&path).ok() } else { None };
        let face = bytes.and_then(|bytes| Face::read(bytes, index)).ok_or(path)?;
        self.faces.push(face);
        Ok(self.faces.len() - 1)
    }

    /// The face for most texts.
    pub fn main(&self, bold: bool) -> FaceId {
        self.order[usize::from(bold)][0]
    }

    /// Whether a face's letters are to be made bolder for bold text.
    pub fn is_faint(&self, face: FaceId, bold: bool) -> bool {
        bold && !self.faces[face].is_bold
    }

    /// The face that has a character.
    pub fn face_of(&mut self, it: char, bold: bool) -> Option<FaceId> {
        if let Some(face) = self.known.get(&(it, bold)) {
            return *face;
        }
        let order = &self.order[usize::from(bold)];
        let face = order.iter().copied().find(|face| self.faces[*face].has(it)).or_else(|| self.more(it));
        self.known.insert((it, bold), face);
        face
    }

    /// Looks for a character in the fonts of the folder and of the machine.
    fn more(&mut self, it: char) -> Option<FaceId> {
        if self.faces.len() >= BUILT_IN.len() + MOST_FACES {
            return None;
        }
        loop {
            let found = self.found().iter().enumerate().filter(|(_, found)| found.has(it));
            let (at, _) = found.min_by_key(|(_, found)| found.distance)?;
            if let Ok(face) = self.load(at) {
                self.order.iter_mut().for_each(|order| order.push(face));
                return Some(face);
            }
            // Not one that can be used: not asked again.
            self.found.as_mut()?.remove(at);
        }
    }
}

/// A script, as fonts name it.
pub fn script(script: unicode_script::Script) -> Option<Script> {
    let name = script.short_name().as_bytes().first_chunk::<4>()?;
    Script::from_iso15924_tag(harfrust::Tag::new(name))
}
