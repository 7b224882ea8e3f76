//! Counts, in the form in which docs/reliability.md shows them.

use std::fmt;

use crate::judge::Damage;

/// What one series of kills came to.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The pair's name.
    pub pair: &'static str,
    /// Where it was killed.
    pub place: String,
    /// How often.
    pub kills: u64,
    /// What that did.
    pub damage: Damage,
}

impl Tally {
    /// Nothing yet.
    pub fn new(pair: &'static str, place: &str) -> Self {
        Self { pair, place: place.to_owned(), kills: 0, damage: Damage::default() }
    }

    /// The head of the table.
    pub const HEAD: &'static str = "| pair | killed at | kills | lost | doubled | torn |\n|---|---|--:|--:|--:|--:|";
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pair, place, kills, damage: Damage { lost, doubled, torn } } = self;
        if *kills == 0 {
            return write!(formatter, "| {pair} | {place} | never comes there | | | |");
        }
        write!(formatter, "| {pair} | {place} | {kills} | {lost} | {doubled} | {torn} |")
    }
}
