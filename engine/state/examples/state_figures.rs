//! What the spool and the state cost: one million lines of 60 bytes in records of
//! 16 KiB, read again; and deliveries of one split each.
//!
//! `cargo run --release -p engine-state --example state_figures [FOLDER]`

use std::path::PathBuf;
use std::time::Instant;

use engine_abi::Unit;
use engine_abi::message::{Receipt, Sealed, Split};
use engine_state::spool::{Framing, Record};
use engine_state::{Delivery, NewWindow, SinkPlan, Spool, SpoolOptions, State, WindowKind};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

const LINES: usize = 1_000_000;
const LINE: &[u8; 60] = b"170925 1547 00252                    2434 0            2432\n";
const RECORD_BYTES: usize = 16 << 10;
const DELIVERIES: u64 = 200;

/// Seconds of wall clock and of this process's processor time.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let processor = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (wall, before) = (Instant::now(), processor());
    let value = work();
    println!("{what}: {:.3} s, processor {:.3} s", wall.elapsed().as_secs_f64(), processor() - before);
    value
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let spool = Spool::open(&folder.path().join("spool"), SpoolOptions::default())?;
    let per_record = RECORD_BYTES / LINE.len();
    let bytes = LINE.repeat(per_record);
    timed("append 1,000,000 lines, durable", || -> engine_abi::Result<()> {
        for _ in 0..LINES.div_ceil(per_record) {
            spool.append(&Record {
                connection: 1,
                peer: "192.0.2.7:50112",
                received: 0,
                frames: per_record as u32,
                framing: Framing::Complete,
                bytes: &bytes,
            })?;
        }
        spool.flush().map(|_| ())
    })?;
    timed("read them, verified", || -> engine_abi::Result<()> {
        let mut records = spool.read(spool.start(), spool.durable_end())?;
        while records.next()?.is_some() {}
        Ok(())
    })?;
    timed("cut them into ranges of 1 MiB", || -> engine_abi::Result<()> {
        let mut at = spool.start();
        while at < spool.durable_end() {
            at = spool.cut(at, 1 << 20)?;
        }
        Ok(())
    })?;

    let path = folder.path().join("state");
    let state = timed("make a state", || State::open(&path))?;
    timed("200 deliveries: window, attempt, seal, settle", || -> engine_abi::Result<()> {
        for number in 0..DELIVERIES {
            let window = state.create_window(&NewWindow {
                pipeline: "p".into(),
                run: "run".into(),
                kind: WindowKind::Read,
                lower: Some(json!(number)),
                upper: Some(json!(number + 1)),
                splits: vec![Split { id: "0000".into(), ..Split::default() }],
                definition: json!({ "name": "p" }),
                context: json!({}),
                sinks: vec![SinkPlan { name: "s".into(), unit: Unit::Split }],
                replays: Vec::new(),
                backfill: None,
                tells: false,
                about: None,
            })?;
            let delivery = Delivery { pipeline: "p".into(), sink: "s".into(), window: window.id, split: "0000".into() };
            state.attempt(&delivery)?;
            state.seal(&delivery, &Sealed::default())?;
            state.settle(&delivery, &Receipt::default(), 1, 1)?;
        }
        Ok(())
    })?;
    drop(state);
    timed("open it again", || State::open(&path))?;
    Ok(())
}
