//! Plays an exchange: sends numbered calls over TCP as fast as the other side takes them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use engine_test_tools::sequence::{self, Digest};

/// How much is written at once.
const CHUNK: usize = 64 * 1024;

/// How often lines are sent that are due.
const TICK: Duration = Duration::from_millis(5);

/// How long the other side may take to read the rest and close, once everything is sent.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// Sends numbered call records over TCP, or prints them or what they add up to.
#[derive(Parser)]
struct Options {
    /// Where to send: HOST:PORT
    #[arg(long, required_unless_present_any = ["expect", "print", "csv"])]
    to: Option<String>,
    /// How many lines
    #[arg(long)]
    lines: u64,
    /// Number of the first call
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Connections, each of which sends its share at the same time as the others
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Lines a second, over all connections together. Unset: as fast as the other side takes them
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Print the digest that the table must have instead: rows|different|duration|start|numbers
    #[arg(long, conflicts_with_all = ["to", "print", "csv"])]
    expect: bool,
    /// Print the lines instead
    #[arg(long, conflicts_with_all = ["to", "csv"])]
    print: bool,
    /// Print the decoded rows instead: date,duration,calling_number,called_number,call_code
    #[arg(long, conflicts_with = "to")]
    csv: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let end = options.first.saturating_add(options.lines);
    if end > sequence::LIMIT {
        eprintln!("pbx-send: call numbers end at {}", sequence::LIMIT);
        return ExitCode::from(2);
    }
    let numbers = options.first..end;
    let done = if options.expect {
        println!("{}", Digest::of(numbers));
        Ok(())
    } else if options.print {
        print(numbers, sequence::write_line)
    } else if options.csv {
        print(numbers, sequence::write_csv_row)
    } else {
        send_all(options.to.as_deref().unwrap_or_default(), numbers, options.connections, options.rate)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pbx-send: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(numbers: Range<u64>, write: fn(u64, &mut Vec<u8>)) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    in_chunks(numbers, write, |chunk| out.write_all(chunk))
}

/// Makes the lines of `numbers` and hands them on, some at a time.
fn in_chunks(
    numbers: impl Iterator<Item = u64>,
    write: fn(u64, &mut Vec<u8>),
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK + 256);
    for number in numbers {
        write(number, &mut chunk);
        if chunk.len() >= CHUNK {
            take(&chunk)?;
            chunk.clear();
        }
    }
    take(&chunk)
}

/// Sends every call once, over all connections together.
fn send_all(to: &str, numbers: Range<u64>, connections: u64, rate: Option<u64>) -> std::io::Result<()> {
    let started = Instant::now();
    let lines = numbers.end - numbers.start;
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..connections)
            .map(|connection| {
                let share = numbers.clone().skip(connection as usize).step_by(connections as usize);
                let pause = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate as f64));
                scope.spawn(move || send(to, share, pause))
            })
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender does not panic"))
    })?;
    eprintln!("sent {lines} lines over {connections} connections in {:.3} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Hands on what is due every few milliseconds, as an exchange does that is busy.
fn paced(
    numbers: impl Iterator<Item = u64>,
    pause: Duration,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let started = Instant::now();
    let mut numbers = numbers.peekable();
    let (mut sent, mut chunk) = (0_u64, Vec::new());
    while numbers.peek().is_some() {
        let due = (started.elapsed().as_secs_f64() / pause.as_secs_f64()) as u64;
        numbers.by_ref().take(due.saturating_sub(sent) as usize).for_each(|number| {
            sequence::write_line(number, &mut chunk);
            sent += 1;
        });
        take(&chunk)?;
        chunk.clear();
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Sends over one connection, then waits until the other side has read everything and closed.
/// `pause`: the time from one line to the next, on the average.
fn send(to: &str, numbers: impl Iterator<Item = u64>, pause: Option<Duration>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    match pause {
        None => in_chunks(numbers, sequence::write_line, |chunk| stream.write_all(chunk))?,
        Some(pause) => paced(numbers, pause, |chunk| stream.write_all(chunk))?,
    }
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(CLOSE_LIMIT))?;
    let mut answer = [0; 256];
    while stream.read(&mut answer)? > 0 {}
    Ok(())
}
