//! Lines to the operators of a page.
//!
//! Programs that search or copy read what the fonts say that their shapes stand for. Where several shapes stand for a
//! text in an order of their own, as in most scripts of India, the text is written beside them (`ActualText`).

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Line, Run};
use crate::colour::Colour;
use crate::file::number as number_of;
use crate::fonts::{Face, FaceId, Fonts, Glyph, Used};

/// How much bolder letters are made, as a part of their size.
const BOLDER: f32 = 0.028;

/// Writes texts, and knows what they use of the fonts.
#[derive(Default)]
pub struct Pen {
    pub used: BTreeMap<FaceId, Used>,
    /// What the operators so far have set, inside of one text object.
    set: Option<(FaceId, f32, bool)>,
    /// For the texts of one array.
    array: Array,
}

/// Shapes that stand side by side, and corrections of where they are.
#[derive(Default)]
struct Array {
    digits: Vec<u8>,
    is_in_text: bool,
    /// By how much the next shape is to be moved to the right, in thousandths.
    shift: f32,
}

impl Array {
    fn glyph(&mut self, number: u16) {
        if self.shift.abs() >= 0.05 {
            self.close();
            thousandths(&mut self.digits, -self.shift);
        }
        self.shift = 0.0;
        if !self.is_in_text {
            self.digits.push(b'<');
            self.is_in_text = true;
        }
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.digits.extend([12, 8, 4, 0].map(|shift| DIGITS[usize::from(number >> shift & 15)]));
    }

    /// A shape at its place: how wide it is by itself is `width`.
    fn placed(&mut self, number: u16, glyph: &Glyph, width: f32) {
        self.shift += glyph.x;
        self.glyph(number);
        self.shift = glyph.advance - width - glyph.x;
    }

    fn close(&mut self) {
        if self.is_in_text {
            self.digits.push(b'>');
            self.is_in_text = false;
        }
    }

    /// Writes the shapes so far; what is to be corrected goes on behind them.
    fn flush(&mut self, out: &mut Vec<u8>) {
        self.close();
        if !self.digits.is_empty() {
            out.push(b'[');
            out.extend_from_slice(&self.digits);
            out.extend_from_slice(b"]TJ\n");
            self.digits.clear();
        }
    }
}

fn thousandths(out: &mut Vec<u8>, value: f32) {
    number_of(out, (value * 10.0).round() / 10.0);
}

impl Pen {
    /// Begins a text object.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.set = None;
        out.extend_from_slice(b"BT\n");
    }

    /// Ends it.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.set.is_some_and(|(.., is_faint)| is_faint) {
            out.extend_from_slice(b"0 Tr\n");
        }
        out.extend_from_slice(b"ET\n");
    }

    /// A line in a text object of its own.
    pub fn alone(
        &mut self,
        fonts: &Fonts,
        line: &Line,
        place: (f32, f32),
        size: f32,
        colour: Colour,
        out: &mut Vec<u8>,
    ) {
        let operands = colour.operands();
        out.extend_from_slice(format!("{operands} rg {operands} RG\n").as_bytes());
        self.begin(out);
        self.line(fonts, line, place, size, out);
        self.end(out);
    }

    /// A line whose first letter stands at a place: from the left and from the bottom.
    pub fn line(&mut self, fonts: &Fonts, line: &Line, (mut x, y): (f32, f32), size: f32, out: &mut Vec<u8>) {
        for run in &line.runs {
            self.run(fonts, run, (x, y), size, out);
            x += run.glyphs.iter().map(|glyph| glyph.advance).sum::<f32>() * size / 1000.0;
        }
    }

    fn run(&mut self, fonts: &Fonts, run: &Run, (x, y): (f32, f32), size: f32, out: &mut Vec<u8>) {
        let face = &fonts.faces[run.face];
        let used = self.used.entry(run.face).or_default();
        let was_faint = self.set.is_some_and(|(.., is_faint)| is_faint);
        if self.set.map(|(face, size, _)| (face, size)) != Some((run.face, size)) {
            out.extend_from_slice(format!("/F{} ", run.face).as_bytes());
            number_of(out, size);
            out.extend_from_slice(b" Tf\n");
        }
        if run.is_faint != was_faint {
            if run.is_faint {
                number_of(out, size * BOLDER);
                out.extend_from_slice(b" w 2 Tr\n");
            } else {
                out.extend_from_slice(b"0 Tr\n");
            }
        }
        self.set = Some((run.face, size, run.is_faint));
        out.extend_from_slice(b"1 0 0 1 ");
        number_of(out, x);
        out.push(b' ');
        number_of(out, y);
        out.extend_from_slice(b" Tm\n");
        let array = &mut self.array;
        array.shift = 0.0;
        let mut rise = 0.0;
        let mut silent = Vec::new();
        // How far the shapes so far reach, in thousandths.
        let mut reach = 0.0;
        for part in parts(run, face, used) {
            let bytes = part.text.start..part.text.end;
            let glyphs = &run.glyphs[part.glyphs];
            match part.kind {
                Kind::Clear => glyphs.iter().zip(&part.numbers).for_each(|(glyph, number)| {
                    array.placed(*number, glyph, used.width(*number));
                }),
                Kind::Beside => {
                    array.flush(out);
                    out.extend_from_slice(b"/Span<</ActualText");
                    out.extend_from_slice(crate::file::text(&run.text[bytes]).as_bytes());
                    out.extend_from_slice(b">>BDC\n");
                    let mut at = reach;
                    for (glyph, number) in glyphs.iter().zip(&part.numbers) {
                        if glyph.is_mark() {
                            silent.push((at + glyph.x, glyph.y, used.silent(face, glyph.id)));
                            continue;
                        }
                        at += glyph.advance;
                        if glyph.y != rise {
                            array.flush(out);
                            rise = glyph.y;
                            number_of(out, rise * size / 1000.0);
                            out.extend_from_slice(b" Ts\n");
                        }
                        array.placed(*number, glyph, used.width(*number));
                    }
                    array.flush(out);
                    out.extend_from_slice(b"EMC\n");
                    if rise != 0.0 {
                        rise = 0.0;
                        out.extend_from_slice(b"0 Ts\n");
                    }
                }
                Kind::Marked => {
                    let letter = glyphs.iter().zip(&part.numbers).next();
                    letter.inspect(|(glyph, number)| array.placed(**number, glyph, used.width(**number)));
                    let behind = reach + letter.map_or(0.0, |(glyph, _)| glyph.advance);
                    let marks = glyphs.iter().skip(1);
                    silent.extend(marks.map(|it| (behind + it.x, it.y, used.silent(face, it.id))));
                }
                Kind::Carried => {
                    part.numbers.iter().for_each(|carrier| array.glyph(*carrier));
                    let mut at = reach;
                    for (place, glyph) in glyphs.iter().enumerate() {
                        match part.base {
                            Some(number) if place + 1 == glyphs.len() => {
                                array.placed(number, glyph, used.width(number));
                            }
                            _ => {
                                silent.push((at + glyph.x, glyph.y, used.silent(face, glyph.id)));
                                array.shift += glyph.advance;
                            }
                        }
                        at += glyph.advance;
                    }
                }
            }
            reach += glyphs.iter().map(|glyph| glyph.advance).sum::<f32>();
        }
        array.flush(out);
        if !silent.is_empty() {
            // Behind the letters, so that no program takes their place for the end of a word.
            out.extend_from_slice(b"/Artifact BMC\n");
            for (right, up, number) in silent {
                out.extend_from_slice(b"1 0 0 1 ");
                number_of(out, x + right * size / 1000.0);
                out.push(b' ');
                number_of(out, y + up * size / 1000.0);
                out.extend_from_slice(b" Tm\n");
                array.shift = 0.0;
                array.glyph(number);
                array.flush(out);
            }
            out.extend_from_slice(b"EMC\n");
        }
    }
}

/// How a text is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every shape stands for a part of it.
    Clear,
    /// It is written beside the shapes.
    Beside,
    /// A letter stands for itself and for its marks, which are drawn apart: the way to a mark and back would be taken
    /// for the end of a word.
    Marked,
    /// Its letters are carried by shapes that are not seen: those of a script that runs from right to left, where
    /// programs put what one shape stands for in the wrong order. Marks, which stand higher than letters, are drawn
    /// apart.
    Carried,
}

/// Shapes that stand side by side.
struct Part {
    kind: Kind,
    glyphs: Range<usize>,
    /// What they stand for: bytes of the run's text.
    text: Range<usize>,
    /// The numbers of the shapes; of what carries the letters, where they are carried.
    numbers: Vec<u16>,
    /// The number of the last shape, where it carries the first letter.
    base: Option<u16>,
}

fn parts(run: &Run, face: &Face, used: &mut Used) -> Vec<Part> {
    let glyphs = &run.glyphs;
    let mut parts: Vec<Part> = Vec::new();
    let mut from = 0;
    while from < glyphs.len() {
        let cluster = glyphs[from].cluster;
        let to = from + glyphs[from..].iter().take_while(|glyph| glyph.cluster == cluster).count();
        // The text ends where that of the next shapes in reading order begins.
        let next = if run.is_right_to_left { from.checked_sub(1) } else { Some(to) };
        let end = next.and_then(|at| glyphs.get(at)).map_or(run.text.len(), |glyph| glyph.cluster as usize);
        let bytes = cluster as usize..end.max(cluster as usize);
        let part = part(run, face, used, from..to, bytes);
        let is_space = run.text[part.text.clone()].chars().all(char::is_whitespace);
        match parts.last_mut() {
            // Neighbours of one kind are one part; but words keep apart, so that each is found where it stands.
            Some(last) if last.kind == part.kind && matches!(part.kind, Kind::Clear | Kind::Beside) && !is_space => {
                last.glyphs.end = part.glyphs.end;
                last.text = last.text.start.min(part.text.start)..last.text.end.max(part.text.end);
                last.numbers.extend(part.numbers);
            }
            _ => parts.push(part),
        }
        from = to;
    }
    parts
}

/// The shapes of one part of a text that cannot be told apart.
fn part(run: &Run, face: &Face, used: &mut Used, range: Range<usize>, bytes: Range<usize>) -> Part {
    let (glyphs, text) = (&run.glyphs[range.clone()], &run.text[bytes.clone()]);
    let made = |kind, numbers, base| Part { kind, glyphs: range.clone(), text: bytes.clone(), numbers, base };
    let is_level = glyphs.iter().all(|glyph| glyph.y == 0.0);
    let letters = text.chars().count();
    // What joins or divides letters is not seen, and takes no space.
    if glyphs.len() == 1
        && glyphs[0].advance == 0.0
        && face.alone(' ') == Some(glyphs[0].id)
        && let Some(number) = used.carrier(face, text)
    {
        return Part { kind: Kind::Carried, numbers: vec![number], base: None, glyphs: range, text: bytes };
    }
    if is_level
        && glyphs.len() == 1
        && (letters == 1 || !run.is_right_to_left)
        && let Some(number) = used.number(face, glyphs[0].id, text)
    {
        return made(Kind::Clear, vec![number], None);
    }
    if run.is_right_to_left && letters > 0 {
        let carriers = |used: &mut Used, text: &str| -> Option<Vec<u16>> {
            text.chars().rev().map(|it| used.carrier(face, it.encode_utf8(&mut [0; 4]))).collect()
        };
        let first = text.chars().next().map_or(0, char::len_utf8);
        // The letter itself stands at the end of its marks, as seen from the left.
        let last = glyphs.last().filter(|glyph| glyph.y == 0.0 && glyph.x == 0.0);
        let base = last.and_then(|glyph| used.number(face, glyph.id, &text[..first]));
        let rest = if base.is_some() { &text[first..] } else { text };
        if let Some(numbers) = carriers(used, rest) {
            return made(Kind::Carried, numbers, base);
        }
    }
    if let [letter, marks @ ..] = glyphs
        && !run.is_right_to_left
        && !letter.is_mark()
        && (letter.x, letter.y) == (0.0, 0.0)
        && !marks.is_empty()
        && marks.iter().all(Glyph::is_mark)
        && let Some(number) = used.number(face, letter.id, text)
    {
        return made(Kind::Marked, vec![number], None);
    }
    // Letters side by side, each with the shape that it has alone.
    let stands_alone =
        |(glyph, it): (&Glyph, char)| face.alone(it) == Some(glyph.id) && glyph.x == 0.0 && !glyph.is_mark();
    if is_level && !run.is_right_to_left && letters == glyphs.len() && glyphs.iter().zip(text.chars()).all(stands_alone)
    {
        let number = |(glyph, it): (&Glyph, char)| used.number(face, glyph.id, it.encode_utf8(&mut [0; 4]));
        if let Some(numbers) = glyphs.iter().zip(text.chars()).map(number).collect() {
            return made(Kind::Clear, numbers, None);
        }
    }
    // For programs that know nothing of texts beside shapes: the letters that have a shape of their own.
    let number = |glyph: &Glyph| {
        let own = text.chars().find(|it| face.alone(*it) == Some(glyph.id));
        let own = own.and_then(|it| used.number(face, glyph.id, it.encode_utf8(&mut [0; 4])));
        own.unwrap_or_else(|| used.silent(face, glyph.id))
    };
    made(Kind::Beside, glyphs.iter().map(number).collect(), None)
}
