//! A log file into a CSV file, while somebody looks at that file all the time. The log is put away when it was
//! delivered.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use engine_end_to_end_tests::{Place, csv_rows, line};
use engine_test_tools::sequence;

use crate::bounded::Cycles;
use crate::{Damage, Death, Pair, Round};

const LINES: u64 = 6_000;
/// One line in so many is no call.
const MALFORMED: u64 = 500;

fn is_call(number: u64) -> bool {
    number % MALFORMED != 17
}

/// Log file → CSV.
pub struct FileToCsv {
    cycles: Cycles,
    watcher: Watcher,
    /// What the file must hold whenever it is there.
    whole: Arc<Vec<u8>>,
}

impl Pair for FileToCsv {
    const NAME: &'static str = "log file → CSV";

    fn new(program: PathBuf, _: u64) -> Self {
        let place = Place::with_program(program);
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
            "source: { use: file, with: { path: 'inbox/*.log', after: { move: done } }, format: avaya_cdr }\n\
             sink: { use: file, with: { path: out/calls.csv, overwrite: true }, format: csv }\n",
        );
        let whole = Arc::new(undisturbed(&place));
        let watcher = Watcher::start(place.path("out/calls.csv"), Arc::clone(&whole));
        Self { cycles: Cycles::new(place), watcher, whole }
    }

    fn round(&mut self, death: &Death) -> Round {
        let (whole, completed) = (Arc::clone(&self.whole), self.cycles.completed);
        self.cycles.round(death, |place| judge(place, &whole, completed))
    }

    fn finish(&mut self) -> Damage {
        let (whole, completed) = (Arc::clone(&self.whole), self.cycles.completed);
        let mut damage = self.cycles.finish(|place| judge(place, &whole, completed));
        damage.torn += self.watcher.stop();
        // One letter for each line that is no call, in each cycle and in the undisturbed run.
        let runs = self.cycles.completed + 1;
        damage += self.cycles.letters((0..LINES).filter(|number| !is_call(*number)), runs);
        damage
    }
}

/// The output of a run that nobody disturbs, once its rows are known to be right.
fn undisturbed(place: &Place) -> Vec<u8> {
    place.engine(&["run", "calls.yaml"]).with_code(0);
    bring_back(place);
    let path = place.path("out/calls.csv");
    let whole = std::fs::read(&path).expect("the run has made it");
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
fn judge(place: &Place, whole: &[u8], completed: u64) -> Damage {
    bring_back(place);
    let path = place.path("out/calls.csv");
    let found = std::fs::read(&path).unwrap_or_default();
    let mut damage = Damage::default();
    if found != whole {
        let numbers = csv_rows(&String::from_utf8_lossy(&found));
        let numbers = numbers.iter().filter_map(|row| row.get(3)?.parse().ok());
        let expected: BTreeSet<u64> = (0..LINES).filter(|number| is_call(*number)).collect();
        damage = Damage::of(&expected, numbers);
        damage.torn += 1;
    }
    let left = std::fs::read_dir(place.path("out")).expect("it is there").count();
    assert_eq!(left, 1, "something is left beside the file");
    // Half of the cycles make the file, half of them replace it.
    if completed.is_multiple_of(2) {
        std::fs::remove_file(path).expect("it can be removed");
    }
    damage
}

/// Looks at a file again and again.
struct Watcher {
    stop: Arc<AtomicBool>,
    torn: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(path: PathBuf, whole: Arc<Vec<u8>>) -> Self {
        let (stop, torn) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&torn));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if std::fs::read(&path).is_ok_and(|found| found != *whole) {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        Self { stop, torn, thread: Some(thread) }
    }

    /// Answers how often the file was not whole.
    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
        self.torn.load(Ordering::SeqCst)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
