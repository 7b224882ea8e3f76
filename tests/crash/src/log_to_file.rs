//! A log file into a CSV file, in a folder or on a server of files, while somebody looks at that file all the time.
//! The log is put away when it was delivered.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_end_to_end_tests::{Place, csv_rows, line};
use engine_test_tools::sequence;

use crate::bounded::Cycles;
use crate::shelves::Shelf;
use crate::watched::{Target, Watcher};
use crate::{Damage, Death, Pair, Round};

const LINES: u64 = 6_000;
/// One line in so many is no call.
const MALFORMED: u64 = 500;

fn is_call(number: u64) -> bool {
    number % MALFORMED != 17
}

/// Log file → CSV on a shelf.
pub struct LogToFile<S> {
    cycles: Cycles,
    watcher: Watcher,
    target: Arc<Target>,
    _shelf: S,
}

impl<S: Shelf> Pair for LogToFile<S> {
    const NAME: &'static str = S::NAME;

    fn new(program: PathBuf, _: u64) -> Self {
        let mut place = Place::with_program(program);
        let shelf = S::new(&mut place);
        let mut log = Vec::new();
        for number in 0..LINES {
            match is_call(number) {
                true => log.extend(line(number)),
                false => log.extend(format!("malformed {number}\r\n").into_bytes()),
            }
        }
        place.write("inbox/pbx.log", log);
        place.write(
            "calls.yaml",
            format!(
                "source: {{ use: file, with: {{ path: 'inbox/*.log', after: {{ move: done }} }}, format: avaya_cdr }}\n\
                 sink: {{ {}, format: csv }}\n",
                shelf.as_sink("calls.csv")
            ),
        );
        let file = shelf.file("calls.csv");
        let whole = undisturbed(&place, &file);
        let target = Arc::new(Target { file, whole });
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
        // One letter for each line that is no call, in each cycle and in the undisturbed run.
        let runs = self.cycles.completed + 1;
        damage += self.cycles.letters((0..LINES).filter(|number| !is_call(*number)), runs);
        damage
    }
}

/// The output of a run that nobody disturbs, once its rows are known to be right.
fn undisturbed(place: &Place, path: &Path) -> Vec<u8> {
    place.engine(&["run", "calls.yaml"]).with_code(0);
    bring_back(place);
    let whole = std::fs::read(path).expect("the run has made it");
    let rows: Vec<String> =
        csv_rows(&String::from_utf8_lossy(&whole)).iter().map(|row| row.join(",").replace('T', " ")).collect();
    let mut expected = Vec::new();
    (0..LINES).filter(|number| is_call(*number)).for_each(|number| sequence::write_csv_row(number, &mut expected));
    assert!(String::from_utf8_lossy(&expected).lines().eq(rows.iter().map(String::as_str)), "other rows than calls");
    std::fs::remove_file(path).expect("it can be removed");
    whole
}

/// Puts the log back, which a run has put away when it was delivered.
fn bring_back(place: &Place) {
    let away = std::fs::rename(place.path("done/pbx.log"), place.path("inbox/pbx.log"));
    away.expect("the log is put away once it is delivered");
    assert_eq!(std::fs::read_dir(place.path("done")).expect("it is there").count(), 0, "the log was put away twice");
}

/// What a completed cycle has left.
fn judge(place: &Place, target: &Target, completed: u64) -> Damage {
    bring_back(place);
    let found = std::fs::read(&target.file).unwrap_or_default();
    let mut damage = Damage::default();
    if found != target.whole {
        let numbers = csv_rows(&String::from_utf8_lossy(&found));
        let numbers = numbers.iter().filter_map(|row| row.get(3)?.parse().ok());
        let expected: BTreeSet<u64> = (0..LINES).filter(|number| is_call(*number)).collect();
        damage = Damage::of(&expected, numbers);
        damage.torn += 1;
    }
    target.make_room(place, completed);
    damage
}
