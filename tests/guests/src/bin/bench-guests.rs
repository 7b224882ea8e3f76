//! What WASM costs: the same component natively and as a guest, in interleaved
//! runs. Prints the table of docs/benchmarks.md.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{BinaryArray, Int64Array, RecordBatch, StringArray};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{Batches, ComponentKind, Result};
use engine_author::Language;
use engine_conformance::Recorder;
use engine_guest_tests::{authored, built, folder, guest};
use engine_host::{Component, Direction, Modules};
use engine_test_tools::log::{self, LogSpec};
use serde_json::json;

const LINES: u64 = 1_000_000;
const ROUNDS: usize = 7;
const BATCH_ROWS: i64 = 8192;
const BATCHES: i64 = 200;

fn main() -> Result<()> {
    println!("| work | median | least | most | reach |\n|---|---|---|---|---|");
    decode()?;
    pass_through()?;
    load()?;
    memory()
}

fn row(work: &str, mut values: Vec<f64>, unit: &str, reach: &str) {
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("| {work} | {median:.2}{unit} | {least:.2}{unit} | {most:.2}{unit} | {reach} |");
}

fn component(module: &Path, kind: ComponentKind, name: &str) -> Result<Arc<Component>> {
    Modules::from_file(module)?.component(kind, name)
}

/// How long a stream takes through a component, and how many rows come out.
fn through(
    component: &Arc<Component>,
    config: serde_json::Value,
    way: Direction,
    input: Batches,
) -> Result<(Duration, usize)> {
    let request = OpenRequest { config, ..OpenRequest::default() };
    let mut instance = component.open(&request, &Sandbox::default(), Arc::new(Recorder::default()))?;
    let began = Instant::now();
    let mut rows = 0;
    for batch in instance.apply(way, input)? {
        rows += black_box(batch?).num_rows();
    }
    Ok((began.elapsed(), rows))
}

/// A PBX log as pieces of a file, as the engine hands them to a decoder.
fn pieces(text: &Arc<Vec<u8>>) -> Batches {
    let pieces: Vec<_> = text
        .chunks(256 * 1024)
        .map(|piece| {
            let (name, data) = (StringArray::from(vec!["pbx"]), BinaryArray::from(vec![piece]));
            RecordBatch::try_from_iter([("name", Arc::new(name) as _), ("data", Arc::new(data) as _)])
                .map_err(Into::into)
        })
        .collect();
    let schema =
        pieces.first().and_then(|first: &Result<RecordBatch>| first.as_ref().ok()).expect("there are lines").schema();
    Batches::new(schema, pieces.into_iter())
}

fn decode() -> Result<()> {
    let native = folder().join("../release/libengine_plugin_avaya_cdr.so");
    let native = component(&native, ComponentKind::Format, "avaya_cdr")?;
    let wasm = component(&guest("engine_plugin_avaya_cdr"), ComponentKind::Format, "avaya_cdr")?;
    let text = Arc::new(log::write(&LogSpec { lines: LINES, malformed: 0, seed: 1 }));
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (slow, rows) = through(&wasm, json!({}), Direction::Decode, pieces(&text))?;
        let (fast, same) = through(&native, json!({}), Direction::Decode, pieces(&text))?;
        assert_eq!(rows, same);
        ratios.push(slow.as_secs_f64() / fast.as_secs_f64());
    }
    row("WASM `avaya_cdr`, 1,000,000 lines, against native", ratios, " x", "2.5 x");
    Ok(())
}

fn pass_through() -> Result<()> {
    let wasm = component(&guest("engine_hostile_guest"), ComponentKind::Transform, "hostile")?;
    let batch = || {
        let numbers = Int64Array::from_iter_values(0..BATCH_ROWS);
        let texts: StringArray = (0..BATCH_ROWS).map(|n| Some(format!("text number {n}"))).collect();
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("text", Arc::new(texts) as _)])
    };
    let batch = batch()?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let shared = batch.clone();
        let input = Batches::new(batch.schema(), (0..BATCHES).map(move |_| Ok(shared.clone())));
        let (time, _) = through(&wasm, json!({"does": "nothing"}), Direction::Apply, input)?;
        times.push(time.as_secs_f64() * 1000.0 / BATCHES as f64);
    }
    row("a batch of 8,192 rows through a WASM transform", times, " ms", "0.5 ms");
    Ok(())
}

fn load() -> Result<()> {
    let module = |language| built(&authored(language, ComponentKind::Transform)).expect("run `make guests`");
    let cases = [
        ("Rust", guest("engine_plugin_avaya_cdr"), ComponentKind::Format, "avaya_cdr", "20 ms"),
        ("C", module(Language::C), ComponentKind::Transform, "my_transform", "20 ms"),
        ("Python", module(Language::Python), ComponentKind::Transform, "my_transform", "300 ms"),
        ("JavaScript", module(Language::JavaScript), ComponentKind::Transform, "my_transform", "300 ms"),
    ];
    for (language, path, kind, name, reach) in cases {
        component(&path, kind, name)?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            black_box(component(&path, kind, name)?);
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        row(&format!("load of a cached module, {language}"), times, " ms", reach);
    }
    Ok(())
}

/// What an idle instance holds: fifty of them, divided.
fn memory() -> Result<()> {
    const INSTANCES: usize = 50;
    let wasm = component(&guest("engine_plugin_avaya_cdr"), ComponentKind::Format, "avaya_cdr")?;
    let request = OpenRequest { config: json!({}), ..OpenRequest::default() };
    let open = || wasm.open(&request, &Sandbox::default(), Arc::new(Recorder::default()));
    let _first = open()?;
    let before = resident();
    let kept = (0..INSTANCES).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let each = (resident() - before) / INSTANCES as f64 / 1024.0;
    drop(kept);
    row("resident memory of an idle instance, Rust", vec![each], " MiB", "4 MiB");
    Ok(())
}

/// KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(f64::NAN)
}
