//! Learns columns and types from the first records.

use engine_sdk::columns::ColumnType;

use crate::Config;
use crate::record::Object;

/// A column, and whether its type was learned rather than named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
    pub learned: bool,
}

/// What the values of a column have in common so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Nothing,
    Boolean,
    Integer,
    /// Whole numbers of more than 64 bits, kept exactly.
    Long,
    Number,
    Text,
}

impl Guess {
    fn of(value: &str) -> Self {
        match value.as_bytes() {
            b"null" => Self::Nothing,
            b"true" | b"false" => Self::Boolean,
            [b'-' | b'0'..=b'9', ..] if value.contains(['.', 'e', 'E']) => Self::Number,
            [b'-' | b'0'..=b'9', ..] if value.parse::<i64>().is_ok() => Self::Integer,
            [b'-' | b'0'..=b'9', ..] if value.len() <= 38 => Self::Long,
            _ => Self::Text,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::Integer, Self::Long) | (Self::Long, Self::Integer) => Self::Long,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }

    fn kind(self) -> ColumnType {
        match self {
            Self::Boolean => ColumnType::Boolean,
            Self::Integer => ColumnType::Integer,
            Self::Long => ColumnType::Decimal(38, 0),
            Self::Number => ColumnType::Number,
            Self::Nothing | Self::Text => ColumnType::Text,
        }
    }
}

/// Whether the configuration leaves nothing to learn.
pub fn all_known(config: &Config) -> bool {
    !config.columns.is_empty() && config.columns.iter().all(|name| config.types.contains_key(name))
}

/// The columns: those named, or the keys of these records.
pub fn columns<'a>(config: &Config, records: impl Iterator<Item = Object<'a>>) -> Vec<Column> {
    let mut guesses: Vec<(String, Guess)> = config.columns.iter().map(|name| (name.clone(), Guess::Nothing)).collect();
    for Object(members) in records {
        for (at, (key, value)) in members.iter().enumerate() {
            let guess = Guess::of(value);
            // Records mostly have the same keys in the same order.
            let place = match guesses.get(at) {
                Some((name, _)) if name == key => Some(at),
                _ => guesses.iter().position(|(name, _)| name == key),
            };
            match place {
                Some(place) => guesses[place].1 = guesses[place].1.and(guess),
                None if config.columns.is_empty() => guesses.push((key.to_string(), guess)),
                None => {}
            }
        }
    }
    if config.columns.is_empty() {
        for name in config.types.keys() {
            if !guesses.iter().any(|(seen, _)| seen == name) {
                guesses.push((name.clone(), Guess::Nothing));
            }
        }
    }
    guesses
        .into_iter()
        .map(|(name, guess)| match config.types.get(&name) {
            Some(kind) => Column { name, kind: *kind, learned: false },
            None => Column { name, kind: guess.kind(), learned: true },
        })
        .collect()
}
