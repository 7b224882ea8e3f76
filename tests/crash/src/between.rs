//! From one database into another one, or to an API, which refuses some of the rows.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::PathBuf;

use engine_end_to_end_tests::Place;

use crate::bounded::Cycles;
use crate::{Damage, Death, Pair, Round};

/// Rows that every cycle moves.
pub(crate) const ROWS: u64 = 2_000;
/// One row in so many is refused: those whose number leaves [`REST`].
pub(crate) const REFUSED: u64 = 400;
pub(crate) const REST: u64 = 17;

fn is_accepted(number: u64) -> bool {
    number % REFUSED != REST
}

/// What rows come from or go to: `number`, `called_number` (the same as text) and `duration` (three times the number).
pub trait Store {
    /// An empty one. Gives the engines its address.
    fn new(place: &mut Place) -> Self;

    /// Puts the rows in and answers with the pipeline's source.
    fn as_source(&self) -> String;

    /// Makes what takes the rows, and refuses some of them, and answers with the pipeline's sink.
    fn as_sink(&self) -> String;

    /// Empties it, and answers with the numbers of rows, and whether each was whole.
    fn take(&self) -> Vec<(u64, bool)>;
}

/// Who goes with whom.
pub trait Couple {
    /// Where the rows are.
    type From: Store;
    /// Where they go.
    type To: Store;
    /// What the pair is called in the table.
    const NAME: &'static str;
}

/// A couple as a pair.
pub struct Between<C: Couple> {
    cycles: Cycles,
    _from: C::From,
    to: C::To,
    couple: PhantomData<C>,
}

impl<C: Couple> Pair for Between<C> {
    const NAME: &'static str = C::NAME;

    fn new(program: PathBuf, _: u64) -> Self {
        let mut place = Place::with_program(program);
        let (from, to) = (C::From::new(&mut place), C::To::new(&mut place));
        place.write("calls.yaml", format!("source: {}\nsink: {}\n", from.as_source(), to.as_sink()));
        Self { cycles: Cycles::new(place), _from: from, to, couple: PhantomData }
    }

    fn round(&mut self, death: &Death) -> Round {
        let to = &self.to;
        self.cycles.round(death, |_| judge(to))
    }

    fn finish(&mut self) -> Damage {
        let to = &self.to;
        let mut damage = self.cycles.finish(|_| judge(to));
        damage += self.cycles.letters((0..ROWS).filter(|number| !is_accepted(*number)), self.cycles.completed);
        damage
    }
}

/// What a completed cycle has left.
fn judge(to: &impl Store) -> Damage {
    let rows = to.take();
    let expected: BTreeSet<u64> = (0..ROWS).filter(|number| is_accepted(*number)).collect();
    let mut damage = Damage::of(&expected, rows.iter().map(|(number, _)| *number));
    damage.torn += rows.iter().filter(|(_, is_whole)| !is_whole).count() as u64;
    damage
}
