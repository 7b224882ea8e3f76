//! The decoder as the engine drives it.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, TimeDelta};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, files_schema};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

use crate::AvayaCdr;

const LINE: &str = "170925 1547 00252                    2434 0                2432";

/// `(date, duration, calling_number, called_number, call_code)`.
type Row = (String, i32, Option<String>, Option<String>, Option<String>);

#[derive(Debug, PartialEq)]
struct Decoded {
    rows: Vec<Row>,
    /// `(name, data, code, reason)`.
    refused: Vec<(String, Vec<u8>, String, String)>,
    records: u64,
}

impl Decoded {
    fn starts(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.0.as_str()).collect()
    }

    fn codes(&self) -> Vec<&str> {
        self.refused.iter().map(|(_, _, code, _)| code.as_str()).collect()
    }
}

fn decode_with<'a>(host: &Host, config: Value, pieces: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Decoded {
    let mut decoder = host.open::<AvayaCdr>(config).unwrap();
    let pieces: Vec<_> = pieces.into_iter().map(|(name, data)| Ok(file_piece(name, data))).collect();
    let mut rows = Vec::new();
    for batch in decoder.decode(Batches::new(files_schema(), pieces.into_iter())).unwrap() {
        let batch = batch.unwrap();
        let date = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let duration = batch.column(1).as_primitive::<Int32Type>();
        let text = |column: usize, row: usize| {
            let column = batch.column(column).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        rows.extend((0..batch.num_rows()).map(|row| {
            let date = DateTime::from_timestamp_micros(date.value(row)).unwrap().naive_utc().to_string();
            (date, duration.value(row), text(2, row), text(3, row), text(4, row))
        }));
    }
    let refused = host.rejections().into_iter().map(|one| (one.name, one.data, one.code, one.reason)).collect();
    Decoded { rows, refused, records: host.records() }
}

fn decode<'a>(pieces: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Decoded {
    decode_with(&Host::new(), json!({}), pieces)
}

fn row(date: &str, duration: i32, calling: Option<&str>, called: &str, code: Option<&str>) -> Row {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    (date.into(), duration, owned(calling), owned(Some(called)), owned(code))
}

#[test]
fn a_line_becomes_a_row_that_starts_its_duration_before_the_end() {
    let decoded = decode([("pbx.log", LINE.as_bytes())]);
    assert_eq!(decoded.rows, [row("2025-09-17 15:44:08", 172, Some("2432"), "2434", Some("0"))]);
    assert_eq!((decoded.refused.len(), decoded.records), (0, 1));
}

#[test]
fn a_call_over_midnight_and_new_year_starts_the_day_before() {
    let decoded = decode([("pbx.log", &b"010100 0001 00200 1 0 2\n"[..])]);
    assert_eq!(decoded.starts(), ["1999-12-31 23:59:00"]);
}

#[test]
fn all_line_ends_nul_bytes_and_blank_lines_are_understood() {
    let text = format!("\r\n\0\0{LINE}\r\n\0 \t\0\n{LINE}\r\0\0\0{LINE}\n\n\r  \r\n{LINE}\0\r\n\0");
    let decoded = decode([("pbx.log", text.as_bytes())]);
    assert_eq!((decoded.rows.len(), decoded.refused.len(), decoded.records), (4, 0, 4));
}

#[test]
fn two_identical_lines_are_two_calls() {
    let decoded = decode([("pbx.log", format!("{LINE}\n{LINE}\n").as_bytes())]);
    assert_eq!(decoded.rows.len(), 2);
    assert_eq!(decoded.rows[0], decoded.rows[1]);
}

#[test]
fn a_malformed_line_is_kept_whole_and_its_neighbours_arrive() {
    let text = format!("{LINE}\r\n\0  171325 1547   00252 1 0 2\r\n{LINE}\r\n");
    let decoded = decode([("192.0.2.7:40112", text.as_bytes())]);
    assert_eq!((decoded.rows.len(), decoded.records), (2, 3));
    let (name, data, code, reason) = &decoded.refused[0];
    assert_eq!((name.as_str(), code.as_str()), ("192.0.2.7:40112", "bad_date"));
    assert_eq!(data, b"171325 1547   00252 1 0 2");
    assert_eq!(reason, "column 1: \"171325\" is not a date: there is no month 13");
}

#[test]
fn another_name_ends_the_open_record_and_a_name_may_come_again() {
    let half = LINE.as_bytes().split_at(30);
    let decoded = decode([("a", half.0), ("b", LINE.as_bytes()), ("a", half.1), ("a", b"\n"), ("b", LINE.as_bytes())]);
    assert_eq!((decoded.rows.len(), decoded.records), (2, 4));
    assert_eq!(decoded.codes(), ["too_few_fields", "too_few_fields"]);
    assert!(decoded.refused.iter().all(|(name, ..)| name == "a"));
}

#[test]
fn a_record_longer_than_the_cap_is_refused_with_its_beginning() {
    let long = vec![b'x'; 5_000];
    let text = [&long[..], b"\n", LINE.as_bytes(), b"\n", &long].concat();
    for pieces in [vec![&text[..]], text.chunks(7).collect()] {
        let decoded = decode(pieces.into_iter().map(|piece| ("pbx.log", piece)));
        assert_eq!((decoded.rows.len(), decoded.records), (1, 3));
        assert_eq!(decoded.codes(), ["too_long", "too_long"]);
        assert_eq!(decoded.refused[0].1, &long[..4_096]);
        assert!(decoded.refused[0].3.contains("5000 bytes"), "{}", decoded.refused[0].3);
    }
}

#[test]
fn the_zone_of_the_pbx_is_honoured_and_a_time_that_its_clock_skipped_is_refused() {
    let text = "300325 0310 02000 1 0 2\n300325 0230 00100 1 0 2\n";
    let decoded = decode_with(&Host::new(), json!({"time_zone": "Europe/Berlin"}), [("pbx.log", text.as_bytes())]);
    assert_eq!(decoded.starts(), ["2025-03-30 01:50:00"]);
    assert_eq!(decoded.codes(), ["bad_time"]);
    assert!(decoded.refused[0].3.contains("column 8: \"0230\": the clocks of Europe/Berlin"));
    assert_eq!(decode([("pbx.log", text.as_bytes())]).starts(), ["2025-03-30 02:50:00", "2025-03-30 02:29:00"]);
}

#[test]
fn a_flood_of_malformed_lines_is_summarised_in_the_log() {
    let host = Host::new();
    let text = "no record\n".repeat(20_000) + "170925 2547 00000 1\n";
    let decoded = decode_with(&host, json!({}), [("pbx.log", text.as_bytes())]);
    assert_eq!((decoded.refused.len(), decoded.records), (20_001, 20_001));
    let log = host.log();
    assert_eq!(log.len(), 6);
    assert!(log[0].1.starts_with("pbx.log: kept a malformed line as a dead letter: too_few_fields: \"no record\""));
    assert_eq!(log[5].1, "kept 20001 malformed lines as dead letters in all: too_few_fields 20000, bad_time 1");
}

#[test]
fn a_long_stream_comes_in_batches_of_bounded_size() {
    let host = Host::new();
    let mut decoder = host.open::<AvayaCdr>(json!({})).unwrap();
    let piece = file_piece("pbx.log", format!("{LINE}\r\n").repeat(20_000).as_bytes());
    let input = Batches::new(files_schema(), std::iter::repeat_n(Ok(piece), 2));
    let rows: Vec<usize> = decoder.decode(input).unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(rows, [8_192, 8_192, 8_192, 8_192, 7_232]);
    assert_eq!(host.records(), 40_000);
}

#[test]
fn a_stream_without_records_has_the_columns_and_no_rows() {
    let host = Host::new();
    let mut decoder = host.open::<AvayaCdr>(json!({})).unwrap();
    let mut rows = decoder.decode(Batches::empty(files_schema())).unwrap();
    assert_eq!(rows.schema(), crate::decoding::schema());
    assert!(rows.next().is_none());
    assert_eq!(decode([("pbx.log", &b"\r\n\0\r\n"[..])]).records, 0);
}

#[test]
fn decoding_stops_when_it_is_cancelled_and_passes_errors_on() {
    let host = Host::new();
    let mut decoder = host.open::<AvayaCdr>(json!({})).unwrap();
    let broken = std::iter::once(Err(Error::unavailable("the disk went away")));
    let mut rows = decoder.decode(Batches::new(files_schema(), broken)).unwrap();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Unavailable);
    assert!(rows.next().is_none());

    host.cancel();
    let mut rows = decoder.decode(Batches::once(file_piece("pbx.log", LINE.as_bytes()))).unwrap();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn settings_that_cannot_work_are_refused_with_what_to_write_instead() {
    let host = Host::new();
    for (config, part) in [
        (json!({"time_zone": "Mars/Olympus"}), "Mars/Olympus"),
        (json!({"max_record": "1"}), "max_record"),
        (json!({"max_record": "1GiB"}), "max_record"),
        (json!({"date_order": "ymd"}), "ymd"),
        (json!({"dates": "dmy"}), "dates"),
    ] {
        let error = host.open::<AvayaCdr>(config).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(part), "{}", error.message);
    }
}

fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(0x00c0_ffee), failure_persistence: None, ..Default::default() }
}

/// Bytes as a hostile PBX might send them: noise, pieces of lines, whole lines.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(format!("{LINE}\r\n").into_bytes()),
        2 => "[0-9]{6} [0-9]{4} [0-9]{5} {1,20}[0-9]{1,4}( {1,20}[0-9A-C]{1,3}){0,3}".prop_map(String::into_bytes),
        2 => proptest::sample::select(vec![&b"\r\n"[..], b"\n", b"\r", b"\0\0", b" ", b"\t"]).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => (0..200_usize).prop_map(|length| vec![b'7'; length]),
    ];
    proptest::collection::vec(part, 0..20).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(fixed(256))]

    #[test]
    fn the_cuts_between_pieces_change_nothing(
        bytes in wire(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| ("pbx", &bytes[cut[0]..cut[1]]));
        let config = json!({"max_record": 100});
        let whole = decode_with(&Host::new(), config.clone(), [("pbx", &bytes[..])]);
        prop_assert_eq!(decode_with(&Host::new(), config, pieces), whole);
    }

    #[test]
    fn every_record_is_a_row_or_a_dead_letter(bytes in wire()) {
        let decoded = decode([("pbx", &bytes[..])]);
        let blank = |line: &&[u8]| line.iter().all(|byte| b"\0 \t".contains(byte));
        let records = bytes.split(|byte| b"\r\n".contains(byte)).filter(|line| !blank(line)).count();
        prop_assert_eq!(decoded.records, records as u64);
        prop_assert_eq!(decoded.rows.len() + decoded.refused.len(), records);
    }

    #[test]
    fn a_call_that_was_printed_is_read_back(
        minute in 0..52_596_000_i64,
        duration in 0..36_000_i32,
        called in "[0-9*#]{1,20}",
        code in proptest::option::of("[0-9A-Z]"),
        calling in proptest::option::of("[0-9*#]{3,20}"),
        gap in 1..20_usize,
        months_first in any::<bool>(),
    ) {
        let end = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap() + TimeDelta::minutes(minute);
        let start = end - TimeDelta::seconds(i64::from(duration));
        let (hours, minutes, seconds) = (duration / 3600, duration / 60 % 60, duration % 60);
        let (layout, order) = if months_first { ("%m%d%y %H%M", "mdy") } else { ("%d%m%y %H%M", "dmy") };
        let space = " ".repeat(gap);
        let mut line = format!("{} {hours}{minutes:02}{seconds:02}{space}{called}", end.format(layout));
        line.extend(code.iter().map(|code| format!(" {code}")));
        line.extend(calling.iter().map(|calling| format!("{space}{calling}")));
        let decoded = decode_with(&Host::new(), json!({"date_order": order}), [("pbx", line.as_bytes())]);
        prop_assert_eq!(decoded.rows, [(start.to_string(), duration, calling, Some(called), code)], "{}", line);
    }
}
