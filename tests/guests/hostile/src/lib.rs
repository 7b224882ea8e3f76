//! A transform that does, as a guest, everything that a module must not. What it
//! does is a setting, so that one build serves all tests.
//!
//! On any other target it is empty: a native library of it would be one more
//! module in the folder of those that are built.
#![cfg(target_family = "wasm")]

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, make_array};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use engine_sdk::prelude::*;

/// What to do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    does: Does,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Does {
    /// Passes everything through.
    Nothing,
    /// Never comes back.
    Loop,
    /// Asks for memory until there is none.
    MemoryBomb,
    /// Calls itself until the stack is full.
    StackOverflow,
    /// Divides by zero, in a way that the language does not catch.
    Trap,
    /// Panics with a message.
    Panic,
    /// Gives a million batches of one row.
    TinyBatches,
    /// Gives batches for ever.
    EndlessBatches,
    /// Gives one batch larger than its memory allows twice.
    HugeBatch,
    /// Gives text that is not UTF-8.
    BadText,
    /// Gives offsets that point beyond the data.
    BadOffsets,
    /// Announces a number, and gives text.
    SchemaLie,
    /// Gives a null where it announced none.
    NullLie,
    /// Logs without an end.
    LogFlood,
    /// Loops while it opens.
    LoopInOpen,
    /// Loops while it checks.
    LoopInCheck,
}

struct Hostile {
    does: Does,
    cx: Context,
}

impl Component for Hostile {
    type Config = Config;
    const SUMMARY: &'static str = "Does what a module must not";

    fn examples() -> Vec<Example> {
        vec![example("nothing", json!({"does": "nothing"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if matches!(config.does, Does::LoopInOpen) {
            turn();
        }
        Ok(Self { does: config.does, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        if matches!(self.does, Does::LoopInCheck) {
            turn();
        }
        Ok(CheckReport { summary: "hostile".into() })
    }
}

/// For ever, in a way that no compiler removes.
fn turn() {
    let mut turns = 0_u64;
    while black_box(turns) != u64::MAX {
        turns += 1;
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    black_box(deeper(depth + 1)) + here[7]
}

impl Transform for Hostile {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let number = || Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let text = || Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
        let one = |schema: SchemaRef, column: ArrayRef| {
            let batch = RecordBatch::try_new(
                Arc::new(Schema::new(vec![Field::new("x", column.data_type().clone(), true)])),
                vec![column],
            );
            Ok(Batches::new(schema, std::iter::once(batch.map_err(Error::from))))
        };
        match self.does {
            Does::TinyBatches => Ok(tiny(number(), 1_000_000)),
            Does::EndlessBatches => Ok(tiny(number(), usize::MAX)),
            Does::HugeBatch => one(number(), Arc::new(Int64Array::from_iter_values(0..40_000_000))),
            Does::BadText => one(text(), made(1, vec![0, 2], b"\xff\xfe")),
            // The end of the first text lies behind the end of the last.
            Does::BadOffsets => one(text(), made(2, vec![0, 1 << 20, 2], b"ab")),
            Does::SchemaLie => one(number(), Arc::new(StringArray::from(vec!["one"]))),
            Does::NullLie => one(number(), Arc::new(Int64Array::from(vec![None]))),
            does => {
                let (schema, cx) = (input.schema(), self.cx.clone());
                Ok(Batches::new(schema, input.inspect(move |_| misbehave(does, &cx))))
            }
        }
    }
}

fn tiny(schema: SchemaRef, count: usize) -> Batches {
    let columns = Arc::clone(&schema);
    let batches = (0..count)
        .map(move |_| Ok(RecordBatch::try_new(Arc::clone(&columns), vec![Arc::new(Int64Array::from(vec![1]))])?));
    Batches::new(schema, batches)
}

/// An array of texts that nobody has checked.
fn made(length: usize, offsets: Vec<i32>, text: &'static [u8]) -> ArrayRef {
    let builder = ArrayData::builder(DataType::Utf8).len(length);
    let builder = builder.buffers(vec![Buffer::from_vec(offsets), Buffer::from(text)]);
    // SAFETY: none; the array is only written out, and whoever reads it must find out.
    make_array(unsafe { builder.build_unchecked() })
}

fn misbehave(does: Does, cx: &Context) {
    match does {
        Does::Loop => turn(),
        Does::StackOverflow => {
            black_box(deeper(0));
        }
        Does::MemoryBomb => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        Does::Trap => std::process::abort(),
        Does::Panic => panic!("on purpose"),
        Does::LogFlood => loop {
            cx.log(Level::Info, "again");
        },
        _ => {}
    }
}

/// Listens, and hears nothing.
pub struct Listener {
    does: Does,
    cx: Context,
}

impl Component for Listener {
    type Config = Config;
    const SUMMARY: &'static str = "Listens as a module must not";

    fn examples() -> Vec<Example> {
        vec![example("nothing", json!({"does": "nothing"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { does: config.does, cx })
    }
}

impl PushSource for Listener {
    fn listen(&mut self) -> Result<()> {
        while !matches!(self.does, Does::Nothing) || !self.cx.cancelled() {
            black_box(&self.does);
        }
        Ok(())
    }
}

engine_sdk::module!("hostile": transform "hostile" => Hostile, push_source "hostile_listener" => Listener);
