//! A compression of runs of one byte, and what can be wrong with one. A file is
//! an `R`, then how often and which byte, and at its end two zeros.

use engine_sdk::prelude::*;
use engine_sdk::{file_piece, file_pieces, files_schema};

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Takes all files of a stream for one.
pub const JOINS_FILES: u8 = 1;
/// Takes the end of the bytes for the end of the file.
pub const TRUSTS_THE_END: u8 = 2;
/// Counts files as if they were records.
pub const COUNTS_FILES: u8 = 3;

/// How many bytes make a piece.
const PIECE: usize = 1 << 20;

/// There is nothing to set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Compresses and decompresses; `FAULT` says what is wrong with it.
pub struct Runs<const FAULT: u8> {
    cx: Context,
}

impl<const FAULT: u8> Component for Runs<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Runs of one byte";

    fn examples() -> Vec<Example> {
        vec![example("nothing to set", json!({}))]
    }

    fn open(_: Config, cx: Context) -> Result<Self> {
        Ok(Self { cx })
    }
}

impl<const FAULT: u8> Encoder for Runs<FAULT> {
    const TAKES: Shape = Shape::Files;

    fn encode(&mut self, input: Batches) -> Result<Batches> {
        Ok(files(Whole { input, next: None, joins: FAULT == JOINS_FILES }, |data| Ok(compressed(data))))
    }
}

impl<const FAULT: u8> Decoder for Runs<FAULT> {
    const GIVES: Shape = Shape::Files;

    fn decode(&mut self, input: Batches) -> Result<Batches> {
        let cx = self.cx.clone();
        Ok(files(Whole { input, next: None, joins: false }, move |data| {
            if FAULT == COUNTS_FILES {
                cx.progress(1, data.len() as u64);
            }
            decompressed(data, FAULT == TRUSTS_THE_END)
        }))
    }
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut runs = vec![b'R'];
    for run in data.chunk_by(|one, other| one == other) {
        run.chunks(255).for_each(|run| runs.extend([run.len() as u8, run[0]]));
    }
    runs.extend([0, 0]);
    runs
}

fn decompressed(data: &[u8], trusting: bool) -> Result<Vec<u8>> {
    let wrong = |what: &str| Error::config(format!("the file {what}")).hint("put a sound copy in its place");
    let [b'R', runs @ ..] = data else { return Err(wrong("does not begin with an R")) };
    let mut plain = Vec::new();
    for (at, run) in runs.chunks(2).enumerate() {
        match run {
            [0, 0] if runs.len() == 2 * at + 2 => return Ok(plain),
            [0, _] => return Err(wrong("goes on behind its end")),
            [count, byte] => plain.extend(std::iter::repeat_n(*byte, (*count).into())),
            _ => {}
        }
    }
    if trusting { Ok(plain) } else { Err(wrong("is cut short")) }
}

/// The files of a stream, each whole: good enough for what the suite puts in.
struct Whole {
    input: Batches,
    next: Option<(String, Vec<u8>)>,
    joins: bool,
}

impl Whole {
    fn file(&mut self, ready: &mut Vec<(String, Vec<u8>)>) -> Result<bool> {
        let Some(batch) = self.input.next().transpose()? else {
            ready.extend(self.next.take());
            return Ok(false);
        };
        for (name, data) in file_pieces(&batch)? {
            match &mut self.next {
                Some(next) if next.0 == name || self.joins => next.1.extend_from_slice(data),
                next => ready.extend(next.replace((name.to_owned(), data.to_vec()))),
            }
        }
        Ok(true)
    }
}

/// Every file of a stream, with something done to it.
fn files(mut whole: Whole, work: impl Fn(&[u8]) -> Result<Vec<u8>> + Send + 'static) -> Batches {
    let mut ended = false;
    let batches = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut ready = Vec::new();
        let more = whole.file(&mut ready);
        ended = !matches!(more, Ok(true));
        let made = ready.into_iter().map(|(name, data)| Ok((name, work(&data)?))).collect::<Result<Vec<_>>>();
        Some(match more.and(made) {
            Ok(files) => files.iter().flat_map(|(name, data)| pieces(name, data)).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    Batches::new(files_schema(), batches.flatten())
}

fn pieces(name: &str, data: &[u8]) -> Vec<RecordBatch> {
    match data {
        [] => vec![file_piece(name, data)],
        _ => data.chunks(PIECE).map(|data| file_piece(name, data)).collect(),
    }
}
