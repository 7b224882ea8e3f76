//! The log of an exchange: days of calls, with what real exchanges do to their lines, and with lines
//! that nobody can read.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Weekday};

use crate::random::Random;
use crate::record::{Call, Spacing};

/// What [`write()`] makes.
#[derive(Debug, Clone, Copy)]
pub struct LogSpec {
    /// Lines that hold text, malformed ones among them. Blank lines come on top.
    pub lines: u64,
    /// Of those, the lines that are no record.
    pub malformed: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
}

/// What `pipelines/data/pbx.log` is made of.
pub const QUICKSTART: LogSpec = LogSpec { lines: 52_000, malformed: 48, seed: 20_250_901 };

/// The first day of every log.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2025, 9, 1).unwrap();

/// Calls of a working day; a log has as many days as its lines need.
const CALLS_A_DAY: u64 = 2_400;

/// How busy each hour of a working day is, from midnight on.
const BUSYNESS: [u64; 24] = [1, 1, 1, 1, 1, 2, 4, 12, 40, 70, 80, 75, 50, 55, 75, 80, 70, 45, 20, 10, 6, 4, 2, 1];

/// Writes the log: records in the order in which the calls ended, with malformed lines among them.
pub fn write(spec: &LogSpec) -> Vec<u8> {
    let mut random = Random::new(spec.seed);
    let malformed = spec.malformed.min(spec.lines);
    let ends = call_ends(spec.lines - malformed, &mut random);
    let mut broken = vec![false; spec.lines as usize];
    broken[..malformed as usize].fill(true);
    random.shuffle(&mut broken);

    let mut log = b"\r\n".to_vec();
    let (mut ends, mut kinds) = (ends.into_iter(), MALFORMED.iter().cycle());
    let mut latest = FIRST_DAY.and_time(NaiveTime::MIN);
    for broken in broken {
        if broken {
            let (call, _) = call(latest, &mut random);
            kinds.next().expect("a cycle has no end")(&call, &mut random, &mut log);
        } else {
            latest = ends.next().expect("one call for every line that is not broken");
            let (call, spacing) = call(latest, &mut random);
            call.write_line(spacing, &mut log);
        }
        end_line(&mut random, &mut log);
    }
    log
}

/// When the calls end: as many a day as an office makes, fewer at weekends, most of them in the
/// morning and the afternoon; in order.
fn call_ends(count: u64, random: &mut Random) -> Vec<NaiveDateTime> {
    let total: u64 = BUSYNESS.iter().sum();
    let mut ends = Vec::new();
    let mut day = FIRST_DAY;
    while (ends.len() as u64) < count {
        let calls = match day.weekday() {
            Weekday::Sat => CALLS_A_DAY / 6,
            Weekday::Sun => CALLS_A_DAY / 12,
            _ => CALLS_A_DAY - CALLS_A_DAY / 10 + random.below(CALLS_A_DAY / 5),
        };
        let mut minutes: Vec<u32> = (0..calls.min(count - ends.len() as u64))
            .map(|_| {
                let mut ticket = random.below(total);
                let mut hour = 0;
                while ticket >= BUSYNESS[hour] {
                    ticket -= BUSYNESS[hour];
                    hour += 1;
                }
                hour as u32 * 60 + random.below(60) as u32
            })
            .collect();
        minutes.sort_unstable();
        ends.extend(
            minutes.into_iter().map(|minute| day.and_time(NaiveTime::MIN) + TimeDelta::minutes(i64::from(minute))),
        );
        day = day.succ_opt().expect("no log reaches the end of the calendar");
    }
    ends
}

/// A believable call, and how its line is spaced.
fn call(end: NaiveDateTime, random: &mut Random) -> (Call, Spacing) {
    let outgoing = random.one_in(3);
    let incoming = !outgoing && random.one_in(2);
    let called = if outgoing { dialled(random) } else { extension(random) };
    let calling = if incoming { subscriber(random) } else { extension(random) };
    let code = *random.pick(if outgoing { &["7", "9", "A"] } else { &["0", "0", "1", "C"] });
    let mut call = Call { end, duration: duration(random), called, code: Some(code.into()), calling: Some(calling) };
    match random.below(60) {
        0 => call.code = None,
        1 => call.calling = None,
        _ => {}
    }
    let complete = call.code.is_some() && call.calling.is_some();
    let spacing = match random.below(20) {
        0 if complete => Spacing::Compact,
        1 | 2 if complete => Spacing::Wide,
        _ => Spacing::Columns,
    };
    (call, spacing)
}

/// Mostly some minutes, sometimes unanswered, rarely hours.
fn duration(random: &mut Random) -> u32 {
    let seconds = match random.below(100) {
        0..12 => 0,
        12..70 => 5 + random.below(180),
        70..98 => 60 + random.below(1_740),
        _ => 1_800 + random.below(14_400),
    };
    seconds as u32
}

fn extension(random: &mut Random) -> String {
    format!("2{:03}", random.below(600))
}

/// A number of the public network, with its leading zeros.
fn subscriber(random: &mut Random) -> String {
    let number = 100_000_000 + random.below(900_000_000);
    if random.one_in(8) { format!("00{number:010}") } else { format!("0{number}") }
}

/// What people dial: mostly a subscriber, sometimes a feature code with `*` and `#`.
fn dialled(random: &mut Random) -> String {
    match random.below(30) {
        0 => format!("*{:02}#", random.below(100)),
        1 => format!("#{}*{}", random.below(10), extension(random)),
        _ => subscriber(random),
    }
}

/// Ends a line, and adds what the wire adds: NUL bytes and blank lines between records.
fn end_line(random: &mut Random, log: &mut Vec<u8>) {
    log.extend_from_slice(if random.one_in(25) { b"\n" } else { b"\r\n" });
    match random.below(200) {
        0..4 => log.extend(std::iter::repeat_n(0, 1 + random.below(4) as usize)),
        4 => log.extend_from_slice(b"\r\n"),
        _ => {}
    }
}

/// Appends one line that is no record, made from a call that would have been one.
type Malform = fn(&Call, &mut Random, &mut Vec<u8>);

/// The kinds of malformed lines, used in turn.
pub const MALFORMED: [Malform; 16] = [
    // A day that its month does not have, month 13.
    |call, _, log| replace(call, 0, b"310225", log),
    |call, _, log| replace(call, 2, b"13", log),
    // Letters in the date, and a date that is written differently.
    |call, _, log| replace(call, 2, b"SE", log),
    |call, _, log| {
        log.extend_from_slice(call.end.format("%d/%m/%y").to_string().as_bytes());
        log.extend_from_slice(&line(call)[6..]);
    },
    // Hour 25, minute 61.
    |call, _, log| replace(call, 7, b"25", log),
    |call, _, log| replace(call, 9, b"61", log),
    // Durations with 75 seconds, 61 minutes, a letter, a sign.
    |call, _, log| replace(call, 15, b"75", log),
    |call, _, log| replace(call, 13, b"61", log),
    |call, _, log| replace(call, 13, b"O", log),
    |call, _, log| replace(call, 12, b"-", log),
    // Too few fields: torn in the time, and nothing after the duration.
    |call, _, log| log.extend_from_slice(&line(call)[..9]),
    |call, _, log| log.extend_from_slice(&line(call)[..17]),
    // Not UTF-8, and not even text.
    |call, _, log| replace(call, 38, &[0xc3, 0x28, 0xff], log),
    |_, random, log| log.extend((0..48).map(|_| 0x80 | random.below(128) as u8)),
    // What a person or another program leaves in a log.
    |_, _, log| log.extend_from_slice(b"DATE   TIME DUR                      CALLED CODE            CALLING"),
    |call, _, log| {
        let banner = format!("*** link restarted at {} ***", call.end.format("%H:%M"));
        log.extend_from_slice(banner.as_bytes());
    },
];

fn line(call: &Call) -> Vec<u8> {
    let mut line = Vec::new();
    call.write_line(Spacing::Columns, &mut line);
    line
}

/// Appends the call's line with `bytes` written over what stands at `column`.
fn replace(call: &Call, column: usize, bytes: &[u8], log: &mut Vec<u8>) {
    let mut line = line(call);
    line[column..column + bytes.len()].copy_from_slice(bytes);
    log.extend_from_slice(&line);
}
