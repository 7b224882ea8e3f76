//! What the pairs whose source ends have in common: they go through cycles.
//! A cycle is one run of the pipeline, completed by as many engines as it takes.

use std::time::Instant;

use engine_end_to_end_tests::{Engine, Place};
use engine_state::DeadLetterStatus;

use crate::judge::settled;
use crate::{Damage, Death, Round, written_numbers};

/// The pipeline's name and file name.
pub(crate) const PIPELINE: &str = "calls";

/// A pair whose source ends.
pub(crate) struct Cycles {
    pub(crate) place: Place,
    /// Cycles that are completed.
    pub(crate) completed: u64,
    /// Whether one has begun that is not.
    open: bool,
    /// The run that ended well when the cycle began.
    before: Option<String>,
    damage: Damage,
}

impl Cycles {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, completed: 0, open: false, before: None, damage: Damage::default() }
    }

    fn start(&mut self, point: Option<&str>) -> Engine {
        if !std::mem::replace(&mut self.open, true) {
            self.before = settled(&self.place.state(), PIPELINE);
        }
        match point {
            Some(point) => self.place.set("ENGINE_FAILPOINT", point),
            None => self.place.set("ENGINE_FAILPOINT", ""),
        }
        self.place.start(&["--json", "run", "calls.yaml"])
    }

    /// One engine. `judge` looks at what a cycle has brought once it is
    /// completed, and makes room for the next.
    pub(crate) fn round(&mut self, death: &Death, judge: impl FnOnce(&Place) -> Damage) -> Round {
        let point = match death {
            Death::At(point) => Some(point.as_str()),
            Death::After(_) => None,
        };
        let started = Instant::now();
        let mut engine = self.start(point);
        if let Death::After(delay) = death {
            std::thread::sleep(delay.saturating_sub(started.elapsed()));
            engine.kill();
        }
        let ended = engine.wait();
        if ended.code.is_some() {
            ended.with_code(0);
            self.complete(judge);
            return Round::Done;
        }
        // Killed after its last write: there is nothing that another could do.
        if settled(&self.place.state(), PIPELINE).is_some_and(|run| self.before.as_ref() != Some(&run)) {
            self.complete(judge);
        }
        Round::Killed
    }

    fn complete(&mut self, judge: impl FnOnce(&Place) -> Damage) {
        self.open = false;
        self.completed += 1;
        self.damage += judge(&self.place);
    }

    /// Whether every one of so many runs has left one letter of each refused record.
    pub(crate) fn letters(&self, refused: impl Iterator<Item = u64>, runs: u64) -> Damage {
        let letters = written_numbers(&self.place, DeadLetterStatus::Final);
        let mut damage = Damage::default();
        for number in refused {
            let times = letters.iter().filter(|letter| **letter == number).count() as u64;
            damage.lost += runs.saturating_sub(times);
            damage.doubled += times.saturating_sub(runs);
        }
        damage
    }

    /// Completes the open cycle undisturbed, and answers with the damage of all.
    pub(crate) fn finish(&mut self, judge: impl FnOnce(&Place) -> Damage) -> Damage {
        if self.open {
            self.start(None).wait().with_code(0);
            self.complete(judge);
        }
        crate::judge::assert_at_rest(&self.place, PIPELINE);
        self.damage
    }
}
