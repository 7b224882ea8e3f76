//! Pictures: PNG and JPEG files as a page takes them.
//!
//! PDF knows the packing of both, so that most pictures go in as they are. Of a PNG with an alpha channel, that channel
//! becomes a picture of its own.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::file::{File, Reference};

/// A logo of more pixels would make a huge report, and take a lot of memory here.
const MOST_PIXELS: u64 = 25_000_000;
/// So does one whose pixels have many bytes: an alpha channel is taken out of what is unpacked.
const MOST_BYTES: u64 = 64 << 20;

/// A picture.
#[derive(Debug, Clone)]
pub struct Image {
    pub width: u32,
    pub height: u32,
    /// Of the stream's dictionary.
    entries: String,
    data: Vec<u8>,
    /// The same of the picture that says how opaque each pixel is.
    alpha: Option<(String, Vec<u8>)>,
}

impl Image {
    /// Reads a file; an error says what is wrong with it.
    pub fn read(bytes: Vec<u8>) -> Result<Self, String> {
        match bytes.as_slice() {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', rest @ ..] => png(rest),
            [0xff, 0xd8, rest @ ..] => {
                let (head, content) = jpeg(rest).ok_or("it is no JPEG picture that can be shown")?;
                let Head { width, height, entries } = head;
                // Inside of the pixels, no byte 0xff stands before one such as this.
                if !content.windows(2).any(|pair| pair == [0xff, 0xd9]) {
                    return Err("the JPEG picture ends in its middle; save it again".into());
                }
                Ok(Self { width, height, entries, data: bytes, alpha: None })
            }
            _ => Err("it is neither a PNG nor a JPEG picture".into()),
        }
    }

    /// Writes the picture.
    pub fn write(&self, reference: Reference, file: &mut File) {
        let mut entries = self.entries.clone();
        if let Some((alpha, data)) = &self.alpha {
            let mask = file.reserve();
            file.packed(mask, alpha, data);
            entries.push_str(&format!("/SMask {mask}"));
        }
        file.packed(reference, &entries, &self.data);
    }
}

fn entries(width: u32, height: u32, space: &str, bits: u8) -> String {
    format!("/Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace{space}/BitsPerComponent {bits}")
}

/// What a picture is, before its pixels.
struct Head {
    width: u32,
    height: u32,
    /// Of the dictionary.
    entries: String,
}

/// What a JPEG picture is, and its pixels.
fn jpeg(mut rest: &[u8]) -> Option<(Head, &[u8])> {
    let (mut is_adobe, mut head) = (false, None);
    loop {
        let [0xff, marker, after @ ..] = rest else { return None };
        // Bytes that fill up, and markers without content.
        if matches!(marker, 0xff | 0x01 | 0xd0..=0xd8) {
            rest = if *marker == 0xff { &rest[1..] } else { after };
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
        let content = after.get(2..length)?;
        match marker {
            0xee => is_adobe = content.starts_with(b"Adobe"),
            0xc0..=0xc2 => {
                let &[8, h1, h2, w1, w2, components, ..] = content else { return None };
                let (width, height) = (u16::from_be_bytes([w1, w2]), u16::from_be_bytes([h1, h2]));
                let (space, inverted) = match components {
                    1 => ("/DeviceGray", ""),
                    3 => ("/DeviceRGB", ""),
                    // Programs of Adobe write inks as their opposites.
                    4 if is_adobe => ("/DeviceCMYK", "/Decode[1 0 1 0 1 0 1 0]"),
                    4 => ("/DeviceCMYK", ""),
                    _ => return None,
                };
                if width == 0 || height == 0 {
                    return None;
                }
                let (width, height) = (width.into(), height.into());
                let entries = format!("{}{inverted}/Filter/DCTDecode", entries(width, height, space, 8));
                head = Some(Head { width, height, entries });
            }
            0xda => return Some((head?, after.get(length..)?)),
            0xd9 => return None,
            _ => {}
        }
        rest = after.get(length..)?;
    }
}

/// What the chunks of a PNG hold.
#[derive(Default)]
struct Chunks {
    head: Option<[u8; 13]>,
    palette: Vec<u8>,
    transparency: Vec<u8>,
    packed: Vec<u8>,
}

fn chunks(mut rest: &[u8]) -> Option<Chunks> {
    let mut found = Chunks::default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let content = after.get(..length)?;
        match &head[4..] {
            b"IHDR" => found.head = content.try_into().ok(),
            b"PLTE" => found.palette = content.to_vec(),
            b"tRNS" => found.transparency = content.to_vec(),
            b"IDAT" => found.packed.extend_from_slice(content),
            b"IEND" => return Some(found),
            _ => {}
        }
        rest = after.get(length + 4..)?;
    }
    None
}

fn png(bytes: &[u8]) -> Result<Image, String> {
    let chunks = chunks(bytes).ok_or("the PNG picture ends in its middle")?;
    let head = chunks.head.ok_or("the PNG picture has no head")?;
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (width, height, bits, kind) = (number(0), number(4), head[8], head[9]);
    if head[12] != 0 {
        return Err("the PNG picture is interlaced; save it without that".into());
    }
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("the picture has {width} × {height} pixels, which is too many; make it smaller"));
    }
    let channels: usize = match (kind, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        _ => return Err("the PNG picture is of a kind that there is not".into()),
    };
    let line = (width as usize * channels * usize::from(bits)).div_ceil(8);
    let size = (line + 1) * height as usize;
    if size as u64 > MOST_BYTES {
        let (has, most) = (size >> 20, MOST_BYTES >> 20);
        return Err(format!("the picture has {has} MiB, unpacked, and {most} is the most; make it smaller"));
    }
    let mut raw = Vec::with_capacity(size);
    let read = ZlibDecoder::new(chunks.packed.as_slice()).take(size as u64 + 1).read_to_end(&mut raw);
    if read.is_err() || raw.len() != size {
        return Err("the content of the PNG picture is damaged".into());
    }
    let space = match kind {
        0 | 4 => "/DeviceGray".to_owned(),
        3 => {
            let digits: String = chunks.palette.iter().map(|byte| format!("{byte:02X}")).collect();
            let last = (chunks.palette.len() / 3).checked_sub(1).ok_or("the PNG picture has no palette")?;
            format!("[/Indexed/DeviceRGB {last}<{digits}>]")
        }
        _ => "/DeviceRGB".to_owned(),
    };
    let mut entries = entries(width, height, &space, bits);
    let has_mask = kind == 3 && !chunks.transparency.is_empty();
    if !matches!(kind, 4 | 6) && !has_mask {
        // One colour of the picture may stand for nothing.
        if !chunks.transparency.is_empty() {
            let values = chunks.transparency.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]]));
            let range: String = values.map(|value| format!("{value} {value} ")).collect();
            entries.push_str(&format!("/Mask[{range}]"));
        }
        entries.push_str(&format!(
            "/Filter/FlateDecode/DecodeParms<</Predictor 15/Colors {channels}/BitsPerComponent {bits}/Columns {width}>>"
        ));
        return Ok(Image { width, height, entries, data: chunks.packed, alpha: None });
    }
    let step = (channels * usize::from(bits)).div_ceil(8);
    let rows = unfiltered(raw, line, step).ok_or("the PNG picture has a filter that there is not")?;
    let (colours, alpha) = if has_mask {
        let index = |row: &[u8], at: usize| {
            let bit = at * usize::from(bits);
            row[bit / 8] >> (8 - usize::from(bits) - bit % 8) & (0xff >> (8 - bits))
        };
        let opaque = |index: u8| chunks.transparency.get(usize::from(index)).copied().unwrap_or(255);
        let alpha = rows.chunks_exact(line).flat_map(|row| (0..width as usize).map(move |at| opaque(index(row, at))));
        let alpha: Vec<u8> = alpha.collect();
        (rows, alpha)
    } else {
        let of_alpha = usize::from(bits) / 8;
        let (mut colours, mut alpha) = (Vec::with_capacity(rows.len()), Vec::new());
        for pixel in rows.chunks_exact(step) {
            let (colour, opaque) = pixel.split_at(step - of_alpha);
            colours.extend_from_slice(colour);
            alpha.extend_from_slice(opaque);
        }
        (colours, alpha)
    };
    entries.push_str("/Filter/FlateDecode");
    let bits = if has_mask { 8 } else { bits };
    let mask = format!("{}/Filter/FlateDecode", self::entries(width, height, "/DeviceGray", bits));
    Ok(Image { width, height, entries, data: packed(&colours), alpha: Some((mask, packed(&alpha))) })
}

fn packed(data: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::new(6));
    // A Vec takes everything.
    let _ = packer.write_all(data);
    packer.finish().unwrap_or_default()
}

/// The rows of pixels, from what is stored: differences to their neighbours. `step`: bytes from a pixel to the next.
fn unfiltered(raw: Vec<u8>, line: usize, step: usize) -> Option<Vec<u8>> {
    let mut rows: Vec<u8> = Vec::with_capacity(raw.len());
    for stored in raw.chunks_exact(line + 1) {
        let above = rows.len().checked_sub(line);
        let start = rows.len();
        for (at, byte) in stored[1..].iter().enumerate() {
            let left = if at >= step { rows[start + at - step] } else { 0 };
            let up = above.map_or(0, |above| rows[above + at]);
            let corner = above.filter(|_| at >= step).map_or(0, |above| rows[above + at - step]);
            let guess = match stored[0] {
                0 => 0,
                1 => left,
                2 => up,
                3 => u16::midpoint(left.into(), up.into()) as u8,
                4 => nearest(left, up, corner),
                _ => return None,
            };
            rows.push(byte.wrapping_add(guess));
        }
    }
    Some(rows)
}

/// The one of three neighbours that is nearest to what a plane through them has here.
fn nearest(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let [to_left, to_up, to_corner] = [a, b, c].map(|it| (a + b - c - it).abs());
    if to_left <= to_up && to_left <= to_corner {
        left
    } else if to_up <= to_corner {
        up
    } else {
        corner
    }
}
