//! Compares what arrived with what should have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use engine_end_to_end_tests::Place;
use engine_state::{DeadLetterStatus, Outcome, Payload, RunFilter, State};

/// What must all be 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records that are nowhere.
    pub lost: u64,
    /// Records that are somewhere more than once.
    pub doubled: u64,
    /// Rows with other content than their record, files that were seen half.
    pub torn: u64,
}

impl Damage {
    /// Compares the numbers of records that arrived with those that were to.
    pub fn of(expected: &BTreeSet<u64>, arrived: impl IntoIterator<Item = u64>) -> Self {
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        arrived.into_iter().for_each(|number| *times.entry(number).or_default() += 1);
        let lost = expected.iter().filter(|number| !times.contains_key(number)).count() as u64;
        let doubled = times.values().map(|times| times - 1).sum();
        // A number that nobody sent is no record either.
        let torn = times.keys().filter(|number| !expected.contains(number)).count() as u64;
        Self { lost, doubled, torn }
    }
}

impl std::ops::AddAssign for Damage {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.torn += other.torn;
    }
}

/// The number of the record that a line or a called number holds: the fourth
/// field of a call, or what stands behind the word of a line that is no call.
pub(crate) fn number_of(text: &str) -> Option<u64> {
    let mut fields = text.split_whitespace();
    let number = match fields.next()? {
        "malformed" => fields.next()?,
        first => fields.nth(2).unwrap_or(first),
    };
    number.parse().ok()
}

/// The numbers of the records that are dead letters of one status.
pub fn written_numbers(place: &Place, status: DeadLetterStatus) -> Vec<u64> {
    let letters = place.dead_letters(status);
    if letters.is_empty() {
        return Vec::new();
    }
    let state = State::read(&place.state()).expect("the state can be read");
    let number = |letter: &engine_state::DeadLetter| {
        let found = match state.payload(letter.id).expect("a payload can be read")? {
            Payload::Raw { bytes, .. } => number_of(&String::from_utf8_lossy(&bytes)),
            Payload::Row { .. } => {
                let row: BTreeMap<String, serde_json::Value> = serde_json::from_str(&letter.display).ok()?;
                row.get("called_number").and_then(|number| number.as_str()).and_then(number_of)
            }
        };
        Some(found.unwrap_or_else(|| panic!("no number in {letter:?}")))
    };
    letters.iter().filter_map(number).collect()
}

/// The pipeline's last run, if it is known to have ended well: then it is not taken
/// up again, and another one would read everything once more.
pub fn settled(state: &Path, pipeline: &str) -> Option<String> {
    // The engine may have been killed before it had made the state.
    let state = State::read(state).ok()?;
    let filter = RunFilter { pipeline: Some(pipeline.to_owned()), limit: 1 };
    let last = state.runs(&filter).expect("runs can be listed");
    Some(last.first().filter(|run| run.outcome == Some(Outcome::Succeeded))?.id.clone())
}

/// Fails unless nothing is left to do: no open window, no letter of an attempt.
pub(crate) fn assert_at_rest(place: &Place, pipeline: &str) {
    let state = State::read(&place.state()).expect("the state can be read");
    let open = state.unfinished_windows(pipeline).expect("windows can be listed");
    assert!(open.is_empty(), "{} windows are open at the end: {open:?}", open.len());
    let pending = place.dead_letters(DeadLetterStatus::Pending);
    assert!(pending.is_empty(), "letters of unfinished attempts at the end: {pending:?}");
    let position = state.position(pipeline).expect("the position can be read");
    for cursor in state.cursors(pipeline).expect("cursors can be listed") {
        assert_eq!(cursor.value, position, "sink {} has not got everything", cursor.sink);
    }
}
