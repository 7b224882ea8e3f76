//! zstd (RFC 8878), with the library of its makers.

use std::io::{self, BufRead};

use engine_sdk::prelude::*;
use zstd::stream::write::Encoder as Writer;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use crate::method::{Fault, Method};
use crate::pieces::Pieces;
use crate::{decode, encode};

/// How far back data may refer: the logarithm that the library itself allows
/// where nobody asks for more.
const WINDOW_LOG: u32 = 27;

/// `ZSTD_error_frameParameter_windowTooLarge`, as an answer of the library.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();

/// How zstd compresses. Decompressing takes no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compressing: 1 is the fastest, 19 gives the smallest files and takes by
    /// far the longest.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 19))]
    level: u8,
}

fn three() -> u8 {
    3
}

/// The compression, in both directions.
pub struct Zstd {
    level: u8,
    cx: Context,
}

impl Component for Zstd {
    type Config = Config;
    const SUMMARY: &'static str = "Decompresses and compresses files with zstd";

    fn examples() -> Vec<Example> {
        vec![example("as zstd does", json!({})), example("smaller files", json!({"level": 9}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if !(1..=19).contains(&config.level) {
            return Err(Error::config(format!("`level` is {}, and zstd has 1 to 19", config.level)));
        }
        Ok(Self { level: config.level, cx })
    }
}

impl Decoder for Zstd {
    const GIVES: Shape = Shape::Files;

    fn decode(&mut self, input: Batches) -> Result<Batches> {
        Ok(decode::decode::<Self>(self.cx.clone(), input))
    }
}

impl Encoder for Zstd {
    const TAKES: Shape = Shape::Files;

    fn encode(&mut self, input: Batches) -> Result<Batches> {
        Ok(encode::encode::<Self>(self.level, self.cx.clone(), input))
    }
}

/// Decompresses one file. It speaks with the library itself, whose answers tell
/// a window that is too large from data that is damaged.
pub struct Reader {
    context: DCtx<'static>,
    pieces: Pieces,
    /// Inside a frame; so also before the first, which every file has.
    inside: bool,
}

impl Method for Zstd {
    const NAME: &'static str = "zstd";
    const WINDOW_MIB: u32 = 1 << (WINDOW_LOG - 20);

    type Reader = Reader;
    type Writer = Writer<'static, Vec<u8>>;

    fn can_begin(first: &[u8]) -> bool {
        // A frame, or one that is there to be skipped.
        let begins = |magic: [u8; 4]| first.iter().zip(magic).all(|(byte, expected)| *byte == expected);
        begins([0x28, 0xB5, 0x2F, 0xFD]) || (0x50..=0x5F).any(|kind| begins([kind, 0x2A, 0x4D, 0x18]))
    }

    fn reader(pieces: Pieces) -> io::Result<Self::Reader> {
        let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .map_err(|code| io::Error::other(zstd::zstd_safe::get_error_name(code)))?;
        Ok(Reader { context, pieces, inside: true })
    }

    fn read(reader: &mut Self::Reader, into: &mut [u8]) -> std::result::Result<usize, Fault> {
        let Reader { context, pieces, inside } = reader;
        loop {
            let input = pieces.fill_buf().map_err(|_| Fault::Damaged)?;
            let ended = input.is_empty();
            if ended && !*inside {
                return Ok(0);
            }
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(&mut *into));
            let left = context.decompress_stream(&mut to, &mut from).map_err(|code| match code {
                WINDOW_TOO_LARGE => Fault::TooFarBack,
                _ => Fault::Damaged,
            })?;
            let (taken, given) = (from.pos(), to.pos());
            *inside = left != 0;
            pieces.consume(taken);
            if given > 0 {
                return Ok(given);
            }
            if ended && *inside {
                return Err(Fault::CutShort);
            }
        }
    }

    fn pieces(reader: &mut Self::Reader) -> &mut Pieces {
        &mut reader.pieces
    }

    fn end(reader: Self::Reader) -> Pieces {
        reader.pieces
    }

    fn writer(level: u8) -> io::Result<Self::Writer> {
        let mut writer = Writer::new(Vec::new(), level.into())?;
        writer.include_checksum(true)?;
        Ok(writer)
    }

    fn written(writer: &mut Self::Writer) -> &mut Vec<u8> {
        writer.get_mut()
    }

    fn finish(writer: Self::Writer) -> io::Result<Vec<u8>> {
        writer.finish()
    }
}
