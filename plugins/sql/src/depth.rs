//! How deeply a query nests. A chain such as `a OR b OR c …` is a tree as deep as it is long, and everything that is
//! done to it goes down that tree.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use engine_sdk::prelude::*;

/// The most words and signs between two commas, at one level of brackets.
const MAX_TOKENS: usize = 1_000;
/// Above this a chain is worked on with room of its own.
const SHORT: usize = 200;
/// Room for the longest chain, of which only what is used is ever taken.
const STACK_BYTES: usize = 64 << 20;

/// Whether a query fits on the stack of any thread, or needs room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    is_short: bool,
}

impl Depth {
    /// Measures a query, and refuses one that is too long to be worked on.
    pub fn of(query: &str) -> Result<Self> {
        // What is no SQL is refused by the parser, with its place.
        let tokens = Tokenizer::new(&GenericDialect {}, query).tokenize().unwrap_or_default();
        let (mut levels, mut longest) = (vec![0usize], 0);
        for token in tokens {
            match token {
                Token::Whitespace(_) => continue,
                Token::LParen | Token::LBracket | Token::LBrace => levels.push(0),
                Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => drop(levels.pop()),
                Token::Comma => *levels.last_mut().expect("the outermost level stays") = 0,
                _ => {}
            }
            let level = levels.last_mut().expect("the outermost level stays");
            *level += 1;
            longest = longest.max(*level);
        }
        if longest > MAX_TOKENS {
            return Err(Error::config(format!(
                "the query chains {longest} words and signs, and may chain {MAX_TOKENS}"
            ))
            .hint("write a list (`x IN (…)`) instead of a chain, or join with a file"));
        }
        Ok(Self { is_short: longest <= SHORT })
    }

    /// Does something to the query.
    pub fn work<R>(self, work: impl FnOnce() -> R) -> R {
        if self.is_short { work() } else { stacker::grow(STACK_BYTES, work) }
    }
}
