//! Measures what a process of its own costs a module: decodes call records in
//! this process and in another one, in turns.
//!
//! ```text
//! make bench-modules
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{BinaryArray, RecordBatch, StringArray};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{Batches, ComponentKind, Error, Result};
use engine_host::{Arrival, Component, Direction, Host, Level, Modules, Rejection};

const ROWS: usize = 1_000_000;
const ROUNDS: usize = 7;
/// What the engine hands to a decoder at a time.
const PIECE_BYTES: usize = 256 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program is its own `engine plugin-host`.
    if let [command, socket, module, control] = arguments.as_slice()
        && command == "plugin-host"
    {
        return engine_host::serve_module([socket, module, control].map(|number| number.parse().unwrap_or(-1)));
    }
    let measured = match arguments.as_slice() {
        [module] => measure(Path::new(module)),
        _ => Err(Error::config("usage: isolation MODULE, the built module of `avaya_cdr`")),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(module: &Path) -> Result<()> {
    let find = |modules: Modules| modules.component(ComponentKind::Format, "avaya_cdr");
    let here = find(Modules::from_file(module)?)?;
    let apart = find(Modules::from_file(module)?.isolated(&std::env::current_exe()?))?;
    let file = pieces()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((decode(&here, &file)?, decode(&apart, &file)?));
    }
    let opened = Instant::now();
    drop(open(&apart)?);
    let opened = opened.elapsed();
    let rate = |time: Duration| ROWS as f64 / time.as_secs_f64() / 1e6;
    let (here, apart) = (median(rounds.iter().map(|round| round.0)), median(rounds.iter().map(|round| round.1)));
    // The machine drifts: only what was measured one after the other compares.
    let ratio = |(here, apart): &(Duration, Duration)| here.as_secs_f64() / apart.as_secs_f64();
    let mut ratios: Vec<_> = rounds.iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    println!("in the engine's process  {here:.0?}, {:.2} million rows a second", rate(here));
    println!("in a process of its own  {apart:.0?}, {:.2} million rows a second", rate(apart));
    println!("ratio                    {:.2} ({:.2} to {:.2})", ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
    println!("to start and end one     {opened:.1?}");
    Ok(())
}

fn open(component: &Arc<Component>) -> Result<engine_host::Instance> {
    let config = serde_json::json!({});
    let request = OpenRequest { config, ..OpenRequest::default() };
    component.open(&request, &Sandbox::default(), Arc::new(Silent))
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}

/// The time from the first piece to the last row.
fn decode(component: &Arc<Component>, file: &[RecordBatch]) -> Result<Duration> {
    let mut instance = open(component)?;
    let began = Instant::now();
    let file = file.to_vec();
    let input = Batches::new(file[0].schema(), file.into_iter().map(Ok));
    let mut rows = 0;
    for batch in instance.apply(Direction::Decode, input)? {
        rows += batch?.num_rows();
    }
    let took = began.elapsed();
    if rows == ROWS { Ok(took) } else { Err(Error::internal(format!("{rows} rows instead of {ROWS}"))) }
}

/// Lines as a PBX prints them, as pieces of one file.
fn pieces() -> Result<Vec<RecordBatch>> {
    let mut text = String::new();
    for number in 0..ROWS {
        let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
        let (calling, called) = (1000 + number * 7919 % 9000, 1000 + number * 104_729 % 9000);
        text.push_str(&format!("170925 {hour:02}{minute:02} 0{:02}{second:02}{:20}{called} 0", minute % 60, ""));
        text.push_str(&format!("{:16}{calling}\r\n", ""));
    }
    let piece = |data: &[u8]| {
        let names = StringArray::from(vec!["calls"]);
        let columns = [("name", Arc::new(names) as _), ("data", Arc::new(BinaryArray::from(vec![data])) as _)];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))?)
    };
    text.as_bytes().chunks(PIECE_BYTES).map(piece).collect()
}

/// A host that keeps nothing.
struct Silent;

impl Host for Silent {
    fn log(&self, _: Level, message: &str) {
        eprintln!("{message}");
    }
    fn cancelled(&self) -> bool {
        false
    }
    fn deadline(&self) -> Option<Duration> {
        None
    }
    fn progress(&self, _: u64, _: u64) {}
    fn filtered(&self, _: u64) {}
    fn reject(&self, rejection: Rejection) -> Result<()> {
        Err(Error::internal(format!("a line was refused: {}", rejection.reason)))
    }
    fn receipt(&self, _: serde_json::Value) -> Result<()> {
        Ok(())
    }

    fn remember(&self, _: serde_json::Value) -> Result<()> {
        Ok(())
    }
    fn append(&self, _: Arrival<'_>) -> Result<u64> {
        Ok(0)
    }
    fn durable(&self, _: u64) -> Result<()> {
        Ok(())
    }
}
