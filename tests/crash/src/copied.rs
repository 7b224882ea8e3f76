//! A file of several parts, copied as it is to a server of files, while somebody looks at the copy all the time.

use std::path::PathBuf;
use std::sync::Arc;

use engine_end_to_end_tests::Place;
use engine_test_tools::random::Random;

use crate::bounded::Cycles;
use crate::shelves::Shelf;
use crate::watched::{Target, Watcher};
use crate::{Damage, Death, Pair, Round};

/// Two parts of an upload, and some of a third.
const BYTES: usize = 11 << 20;

/// File → a shelf.
pub struct Copied<S> {
    cycles: Cycles,
    watcher: Watcher,
    target: Arc<Target>,
    _shelf: S,
}

impl<S: Shelf> Pair for Copied<S> {
    const NAME: &'static str = S::COPIED;

    fn new(program: PathBuf, seed: u64) -> Self {
        let mut place = Place::with_program(program);
        let shelf = S::new(&mut place);
        let mut random = Random::new(seed);
        let whole: Vec<u8> = (0..BYTES / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
        place.write("calls.bin", &whole);
        let sink = shelf.as_sink("");
        place
            .write("calls.yaml", format!("source: {{ use: file, with: {{ path: calls.bin }} }}\nsink: {{ {sink} }}\n"));
        let target = Arc::new(Target { file: shelf.file("calls.bin"), whole });
        let watcher = Watcher::start(Arc::clone(&target));
        Self { cycles: Cycles::new(place), watcher, target, _shelf: shelf }
    }

    fn round(&mut self, death: &Death) -> Round {
        let (target, completed) = (Arc::clone(&self.target), self.cycles.completed);
        self.cycles.round(death, |place| judge(place, &target, completed))
    }

    fn finish(&mut self) -> Damage {
        let (target, completed) = (Arc::clone(&self.target), self.cycles.completed);
        let mut damage = self.cycles.finish(|place| judge(place, &target, completed));
        damage.torn += self.watcher.stop();
        damage
    }
}

/// What a completed cycle has left.
fn judge(place: &Place, target: &Target, completed: u64) -> Damage {
    let found = std::fs::read(&target.file);
    let (lost, torn) = (found.is_err(), found.is_ok_and(|found| found != target.whole));
    target.make_room(place, completed);
    Damage { lost: lost.into(), torn: torn.into(), doubled: 0 }
}
