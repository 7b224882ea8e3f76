//! A service with a dozen pipelines on a schedule of a second, into tables of SQLite and files that are called after the
//! time that their run is about. Every slot is run once, or is one that the schedule passes over: nothing of it is lost
//! or doubled. And the times of the files meet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine_end_to_end_tests::{Place, Web, sqlite_count, until};
use engine_state::{Outcome, Run, RunFilter, State};

use crate::{Damage, Death};

/// Pipelines of each kind.
const OF_A_KIND: usize = 4;
/// What becomes of times at which no engine ran.
const KINDS: [&str; 3] = ["all", "latest", "none"];
/// Rows of every run.
const ROWS: u64 = 40;
/// The slots are a second apart.
const EVERY: i64 = 1_000;
/// A service decides on a slot within this, and begins to look within that, however busy the machine is.
const DECIDES_WITHIN: i64 = 3_000;
const LOOKS_WITHIN: i64 = 10_000;

/// What a file is called.
const RANGE: &str = "{{ params.start_datetime }}~{{ params.end_datetime }}~{{ window.id }}.csv";

/// A service that dies again and again.
pub struct Scheduled {
    place: Place,
    /// When a service was at work, in milliseconds since 1970.
    lives: Vec<(i64, i64)>,
}

fn names() -> impl Iterator<Item = (String, &'static str)> {
    KINDS.into_iter().flat_map(|kind| (0..OF_A_KIND).map(move |at| (format!("{kind}_{at}"), kind)))
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

impl Scheduled {
    /// Sets it up for an engine.
    pub fn new(program: PathBuf) -> Self {
        let place = Place::with_program(program);
        let rows: String = (0..ROWS).map(|number| format!("{number},{}\n", number * 3)).collect();
        place.write("in/rows.csv", format!("number,duration\n{rows}"));
        for (name, missed) in names() {
            place.write(
                &format!("pipelines/{name}.yaml"),
                format!(
                    "schedule: {{ every: 1s, missed: {missed}, overlap: queue }}\n\
                     source: {{ use: file, with: {{ path: ../in/rows.csv }}, format: csv }}\n\
                     sinks:\n  \
                     - {{ use: sqlite, with: {{ path: {name}.db, table: rows, create: true }} }}\n  \
                     - {{ use: file, with: {{ path: \"{name}/{RANGE}\" }}, format: csv }}\n"
                ),
            );
        }
        Self { place, lives: Vec::new() }
    }

    /// Lets a service work until it is killed. Answers false where it never came to the point.
    pub fn life(&mut self, death: &Death, patience: Duration) -> bool {
        let begun = Instant::now();
        let point = match death {
            Death::At(point) => point.as_str(),
            Death::After(_) => "",
        };
        self.place.set("ENGINE_FAILPOINT", point);
        let from = now();
        let mut engine = self.place.start(&["serve", "pipelines", "--listen", "127.0.0.1:0"]);
        let killed = match death {
            Death::After(delay) => {
                std::thread::sleep(delay.saturating_sub(begun.elapsed()));
                engine.kill();
                true
            }
            Death::At(_) => {
                while engine.runs() && begun.elapsed() < patience {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let killed = !engine.runs();
                engine.kill();
                killed
            }
        };
        engine.wait();
        self.lives.push((from, now()));
        killed
    }

    /// Lets a last service do what was left, and counts the damage.
    pub fn finish(&mut self) -> Damage {
        self.place.set("ENGINE_FAILPOINT", "");
        let from = now();
        let mut engine = self.place.start(&["serve", "pipelines", "--listen", "127.0.0.1:0"]);
        let web = Web::of(&mut engine);
        let state = State::read(&self.place.path("pipelines/.engine")).expect("the service has made it");
        // A slot of this life has run everywhere, so all that was left has run before it.
        until("every pipeline has run again", || {
            let is_new = |run: &Run| run.slot.is_some_and(|slot| slot.timestamp_millis() > from + EVERY);
            names().all(|(name, _)| {
                state.last_succeeded_run(&name).expect("it can be read").is_some_and(|run| is_new(&run))
            })
        });
        assert!(web.get("/health").body.contains("healthy"));
        engine.terminate();
        engine.wait().with_code(0);
        self.lives.push((from, now()));
        let mut damage = Damage::default();
        for (name, kind) in names() {
            damage += self.judge(&state, &name, kind);
        }
        damage
    }

    fn judge(&self, state: &State, name: &str, kind: &str) -> Damage {
        let runs =
            state.runs(&RunFilter { pipeline: Some(name.to_owned()), limit: 1_000_000 }).expect("they can be read");
        let mut slots: BTreeMap<i64, u64> = BTreeMap::new();
        for run in runs.iter().filter(|run| run.outcome == Some(Outcome::Succeeded)) {
            *slots.entry(run.slot.map_or(0, |slot| slot.timestamp_millis())).or_default() += 1;
        }
        let waiting: BTreeSet<i64> = state
            .waiting()
            .expect("it can be read")
            .iter()
            .filter(|it| it.pipeline == name)
            .filter_map(|it| Some(it.slot?.timestamp_millis()))
            .collect();
        let mut damage = Damage::default();
        damage.doubled += slots.values().map(|times| times - 1).sum::<u64>();
        let failed = runs.iter().filter(|run| run.outcome == Some(Outcome::Failed)).count() as u64;
        damage.lost += failed;
        let (first, last) =
            (slots.keys().next().copied().unwrap_or_default(), slots.keys().last().copied().unwrap_or_default());
        let mut slot = first;
        while slot <= last {
            if !slots.contains_key(&slot) && !waiting.contains(&slot) && (kind == "all" || !self.was_missed(slot)) {
                eprintln!("{name}: no run for the slot {slot}");
                damage.lost += 1;
            }
            slot += EVERY;
        }
        // Rows of a run that was taken up are there once, like those of any other.
        let rows = sqlite_count(&self.place.path(format!("pipelines/{name}.db")), "rows");
        let expected = slots.len() as u64 * ROWS;
        damage.lost += expected.saturating_sub(rows);
        damage.doubled += rows.saturating_sub(expected);
        damage += self.judge_ranges(name, slots.len());
        damage
    }

    /// Whether each file's time begins where that of the one before ends.
    fn judge_ranges(&self, name: &str, slots: usize) -> Damage {
        let files = std::fs::read_dir(self.place.path(format!("pipelines/{name}"))).expect("every pipeline has run");
        let mut ranges: Vec<(String, String)> = files
            .filter_map(|file| {
                let file = file.expect("it can be read").file_name().into_string().ok()?;
                let mut parts = file.strip_suffix(".csv")?.split('~');
                Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
            })
            .collect();
        ranges.sort();
        let mut damage = Damage::default();
        damage.lost += slots.saturating_sub(ranges.len()) as u64;
        damage.doubled += ranges.len().saturating_sub(slots) as u64;
        for pair in ranges.windows(2) {
            let ((_, ends), (begins, _)) = (&pair[0], &pair[1]);
            if ends != begins {
                eprintln!("{name}: a range ends at {ends}, and the next one begins at {begins}");
            }
            damage.lost += u64::from(ends < begins);
            damage.doubled += u64::from(ends > begins);
        }
        damage
    }

    /// Whether no service can have been there to decide on a slot.
    fn was_missed(&self, slot: i64) -> bool {
        let dead = self.lives.windows(2).map(|pair| (pair[0].1, pair[1].0));
        dead.into_iter().any(|(died, next)| died - DECIDES_WITHIN < slot && slot < next + LOOKS_WITHIN)
    }
}
