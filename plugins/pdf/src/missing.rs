//! Characters that no font has.

use engine_sdk::prelude::*;
use indexmap::IndexMap;

/// As many are told one by one.
const MOST_TOLD: usize = 50;
/// As many are told apart.
const MOST_KNOWN: usize = 2_000;

/// Which there were, and where.
#[derive(Default)]
pub struct Missing {
    /// How often each stood in which column.
    seen: IndexMap<char, IndexMap<String, u64>>,
    beyond: u64,
}

impl Missing {
    /// Counts what a line has.
    pub fn count(&mut self, characters: &[char], place: &str) {
        for it in characters {
            if self.seen.len() >= MOST_KNOWN && !self.seen.contains_key(it) {
                self.beyond += 1;
                continue;
            }
            let places = self.seen.entry(*it).or_default();
            match places.get_mut(place) {
                Some(count) => *count += 1,
                None => {
                    places.insert(place.to_owned(), 1);
                }
            }
        }
    }

    /// Tells each character once.
    pub fn tell(&self, cx: &Context) {
        for (it, places) in self.seen.iter().take(MOST_TOLD) {
            let places: Vec<String> = places.iter().map(|(place, count)| format!("{count} in {place}")).collect();
            cx.log(
                Level::Warn,
                format!(
                    "no font has U+{:04X} ({it}), which is shown as a box: {}. Put a font that has it into a folder, and \
                     name that with `fonts`",
                    u32::from(*it),
                    places.join(", ")
                ),
            );
        }
        let more = self.seen.len().saturating_sub(MOST_TOLD);
        if more > 0 || self.beyond > 0 {
            cx.log(
                Level::Warn,
                format!(
                    "no font has {more} further characters either, nor {} others that were not told apart",
                    self.beyond
                ),
            );
        }
    }
}
