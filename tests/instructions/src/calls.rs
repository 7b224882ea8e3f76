//! The rows: calls as a table `avaya_cdr` holds them, and in the other forms in which they travel.
//!
//! A block of them is made before a path begins and goes through it again and again. So what making it
//! costs is the same however many rows there are, and does not count.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

/// Rows in a block: about as many as the engine hands to a stage at a time.
pub const BLOCK: usize = 4096;

/// The names of the columns, as a CSV file begins with them.
pub const CSV_HEADER: &str = "date,duration,calling_number,called_number,call_code\n";

/// 2024-01-01, in seconds since 1970.
const FIRST_DAY: u64 = 1_704_067_200;

/// One call. Like those of the benchmarks, without any randomness.
struct Call {
    /// When it began, in seconds after the first day's midnight.
    start: u64,
    /// In seconds.
    duration: u64,
    /// Some have none.
    calling: Option<String>,
    called: String,
    code: &'static str,
}

fn calls() -> impl Iterator<Item = Call> {
    (1..=BLOCK as u64).map(|number| Call {
        start: number * 31,
        duration: number * 7_907 % 3_600,
        calling: (number % 100 != 7).then(|| format!("{:04}", number * 104_723 % 10_000)),
        called: match number % 3 {
            0 => format!("0{}", 900_000_000 + number * 15_485_857 % 99_999_999),
            _ => format!("{:04}", number * 1_299_689 % 10_000),
        },
        code: ["0", "1", "7", "9", "A", "C"][number as usize % 6],
    })
}

/// Day of January, hour, minute, second.
fn clock(seconds: u64) -> (u64, u64, u64, u64) {
    (1 + seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// As rows.
pub fn batch() -> RecordBatch {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let schema = Schema::new(vec![
        Field::new("date", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("duration", DataType::Int32, true),
        text("calling_number"),
        text("called_number"),
        text("call_code"),
    ]);
    let starts = calls().map(|call| ((FIRST_DAY + call.start) * 1_000_000) as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(starts)),
        Arc::new(Int32Array::from_iter_values(calls().map(|call| call.duration as i32))),
        Arc::new(StringArray::from_iter(calls().map(|call| call.calling))),
        Arc::new(StringArray::from_iter_values(calls().map(|call| call.called))),
        Arc::new(StringArray::from_iter_values(calls().map(|call| call.code))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length")
}

/// As CSV, without the names of the columns.
pub fn csv() -> String {
    let mut text = String::new();
    for Call { start, duration, calling, called, code } in calls() {
        let (day, hour, minute, second) = clock(start);
        let calling = calling.unwrap_or_default();
        let date = format_args!("2024-01-{day:02} {hour:02}:{minute:02}:{second:02}");
        writeln!(text, "{date},{duration},{calling},{called},{code}").expect("a text takes text");
    }
    text
}

/// As a PBX prints them, at the minute in which each ended.
pub fn lines() -> Vec<String> {
    let line = |Call { start, duration, calling, called, code }: Call| {
        let (day, hour, minute, _) = clock(start + duration);
        let (_, hours, minutes, seconds) = clock(duration);
        let calling = calling.map(|calling| format!("{:16} {calling}", "")).unwrap_or_default();
        format!(
            "{day:02}0124 {hour:02}{minute:02} {hours}{minutes:02}{seconds:02}{:20}{called} {code}{calling}\r\n",
            ""
        )
    };
    calls().map(line).collect()
}
