//! Kills the engine, at random moments and between any two of its writes, lets it
//! go on, and compares what arrived with what was taken.
//!
//! A [`Pair`] is a source and a sink with a feeder and a judge. It goes through
//! *rounds*: an engine starts, works, and is killed (or kills itself at a
//! failpoint); at the end it may finish undisturbed, and the pair counts what is
//! lost, doubled or torn. The moments come from a seed that is printed;
//! `ENGINE_CRASH_SEED` repeats it, `ENGINE_CRASH_KILLS` sets how many.

pub mod between;
pub mod bounded;
mod build;
pub mod copied;
pub mod file_to_postgres;
mod judge;
pub mod log_to_file;
pub mod postgres_replaced;
pub mod postgres_to_sqlite;
mod relay;
pub mod scheduled;
pub mod shelves;
pub mod stores;
mod tally;
pub mod tcp_to_postgres;
mod watched;

pub use build::program_with_failpoints;
pub use judge::{Damage, settled, written_numbers};
pub use tally::Tally;

use std::path::PathBuf;
use std::time::Duration;

use engine_test_tools::random::Random;

/// How one engine of a pair came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// It was killed.
    Killed,
    /// It did all that it had to before that.
    Done,
}

/// When an engine is to be killed.
#[derive(Debug, Clone)]
pub enum Death {
    /// So long after it was started.
    After(Duration),
    /// By itself, at a failpoint: `NAME:N`.
    At(String),
}

/// A source and a sink.
pub trait Pair {
    /// What it is called in the table.
    const NAME: &'static str;

    /// Sets the pair up for an engine.
    fn new(program: PathBuf, seed: u64) -> Self;

    /// Lets an engine work until it is killed or done.
    fn round(&mut self, death: &Death) -> Round;

    /// Lets an engine finish undisturbed, and counts the damage.
    fn finish(&mut self) -> Damage;
}

/// Kills a pair's engine at so many random moments.
pub fn random_kills<P: Pair>(program: PathBuf, kills: u64, seed: u64) -> Tally {
    /// Before this, no process has done anything.
    const EARLIEST: Duration = Duration::from_millis(10);
    const LATEST: Duration = Duration::from_millis(400);
    let mut random = Random::new(seed);
    let mut pair = P::new(program, seed);
    let mut tally = Tally::new(P::NAME, "random moments");
    let mut latest = LATEST;
    while tally.kills < kills {
        let span = (latest - EARLIEST).as_micros() as u64;
        let death = Death::After(EARLIEST + Duration::from_micros(random.below(span)));
        match pair.round(&death) {
            Round::Killed => tally.kills += 1,
            // Too late for this machine: it is done in less.
            Round::Done => latest = (latest * 9 / 10).max(EARLIEST * 3),
        }
    }
    tally.damage = pair.finish();
    tally
}

/// Kills a pair's engine at a point: where it first comes to it, there again while
/// the next engine mends what that has left, and where one comes to it for the
/// second time. The tally says how many of the three were reached.
pub fn kills_at<P: Pair>(program: PathBuf, point: &str, seed: u64) -> Tally {
    let mut pair = P::new(program, seed);
    let mut tally = Tally::new(P::NAME, point);
    for occurrence in [1, 1, 2] {
        match pair.round(&Death::At(format!("{point}:{occurrence}"))) {
            Round::Killed => tally.kills += 1,
            Round::Done if tally.kills == 0 => break,
            Round::Done => {}
        }
    }
    tally.damage = pair.finish();
    tally
}
