//! gzip (RFC 1952), in safe Rust.

use std::io::{self, BufRead, Read};

use engine_sdk::files_schema;
use engine_sdk::prelude::*;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use crate::method::{Fault, Method};
use crate::pieces::Pieces;
use crate::{decode, encode};

/// How gzip compresses. Decompressing takes no settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compressing: 0 only wraps, 1 is the fastest, 9 gives the smallest files.
    #[serde(default = "six")]
    #[schemars(range(min = 0, max = 9))]
    level: u8,
}

fn six() -> u8 {
    6
}

/// The compression, in both directions.
pub struct Gzip {
    level: u8,
    cx: Context,
}

impl Component for Gzip {
    type Config = Config;
    const SUMMARY: &'static str = "Decompresses and compresses files with gzip";

    fn examples() -> Vec<Example> {
        vec![example("as gzip does", json!({})), example("the smallest files", json!({"level": 9}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.level > 9 {
            return Err(Error::config(format!("`level` is {}, and gzip has 0 to 9", config.level)));
        }
        Ok(Self { level: config.level, cx })
    }
}

impl Decoder for Gzip {
    const GIVES: Shape = Shape::Files;

    fn decode(&mut self, input: Batches) -> Result<Batches> {
        Ok(decode::decode::<Self>(self.cx.clone(), input))
    }
}

impl Encoder for Gzip {
    const TAKES: Shape = Shape::Files;

    fn encode(&mut self, input: Batches) -> Result<Batches> {
        Ok(encode::encode::<Self>(self.level, self.cx.clone(), input))
    }
}

/// Decompresses one file, which is one member or several, one behind the other.
/// What follows a member is looked at here: the few bytes of something else must
/// not pass for a member that is cut short.
pub struct Reader {
    member: GzDecoder<Pieces>,
}

impl Method for Gzip {
    const NAME: &'static str = "gzip";
    /// It never refers back farther than 32 KiB.
    const WINDOW_MIB: u32 = 1;

    type Reader = Reader;
    type Writer = GzEncoder<Vec<u8>>;

    fn can_begin(first: &[u8]) -> bool {
        let length = first.len().min(3);
        first[..length] == [0x1F, 0x8B, 8][..length]
    }

    fn reader(pieces: Pieces) -> io::Result<Self::Reader> {
        Ok(Reader { member: GzDecoder::new(pieces) })
    }

    fn read(reader: &mut Self::Reader, into: &mut [u8]) -> std::result::Result<usize, Fault> {
        loop {
            let read = reader.member.read(into).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Fault::CutShort,
                _ => Fault::Damaged,
            })?;
            if read > 0 {
                return Ok(read);
            }
            let pieces = reader.member.get_mut();
            let rest = pieces.fill_buf().map_err(|_| Fault::Damaged)?;
            match (rest.is_empty(), Self::can_begin(rest)) {
                (true, _) => return Ok(0),
                (false, false) => return Err(Fault::Damaged),
                (false, true) => {
                    let pieces = std::mem::replace(pieces, Pieces::new(Batches::empty(files_schema())));
                    reader.member = GzDecoder::new(pieces);
                }
            }
        }
    }

    fn pieces(reader: &mut Self::Reader) -> &mut Pieces {
        reader.member.get_mut()
    }

    fn end(reader: Self::Reader) -> Pieces {
        reader.member.into_inner()
    }

    fn writer(level: u8) -> io::Result<Self::Writer> {
        // No name and no time: the same file becomes the same bytes on every day.
        Ok(GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(level.into())))
    }

    fn written(writer: &mut Self::Writer) -> &mut Vec<u8> {
        writer.get_mut()
    }

    fn finish(writer: Self::Writer) -> io::Result<Vec<u8>> {
        writer.finish()
    }
}
