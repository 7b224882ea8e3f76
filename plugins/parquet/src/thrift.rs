//! Thrift's compact protocol, in which a file's descriptions are written: as much of
//! it as finding a member takes.

use std::fmt;

/// How deep the columns may be nested, and what describes them.
pub const DEPTH: usize = 64;

/// How many groups of rows a file can have.
pub const GROUPS: u64 = 32_767;

/// What is wrong with a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ends before its end, or is no description.
    Damaged,
    /// Columns inside columns, more than anybody needs.
    TooDeep,
    /// More groups of rows than a file can have.
    TooManyGroups,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => write!(out, "what it says of its content is damaged"),
            Self::TooDeep => write!(out, "its columns are nested more than {DEPTH} deep"),
            Self::TooManyGroups => write!(out, "it says that it has more than {GROUPS} groups of rows"),
        }
    }
}

/// Kinds of values.
pub mod kind {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// Goes through a description.
pub struct Walk<'a> {
    pub rest: &'a [u8],
}

impl Walk<'_> {
    /// Goes through the members of a struct: their number and kind.
    pub fn members(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut number: i64 = 0;
        loop {
            let head = self.byte()?;
            if head & 0x0F == kind::STOP {
                return Ok(());
            }
            number = match head >> 4 {
                0 => self.integer()?,
                more => number + i64::from(more),
            };
            each(self, number, head & 0x0F)?;
        }
    }

    /// How many elements a list has, and of which kind. Each takes a byte or more.
    pub fn list(&mut self) -> Result<(u64, u8), Fault> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            count => count.into(),
        };
        if count > self.rest.len() as u64 {
            return Err(Fault::Damaged);
        }
        Ok((count, head & 0x0F))
    }

    /// Leaves a member out.
    pub fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Fault> {
        match kind {
            // It stands in the member's head.
            kind::TRUE | kind::FALSE => Ok(()),
            kind => self.skip_element(kind, depth),
        }
    }

    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault::TooDeep);
        }
        match kind {
            kind::TRUE | kind::FALSE | kind::BYTE => self.take(1),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(drop),
            kind::DOUBLE => self.take(8),
            kind::UUID => self.take(16),
            kind::BINARY => {
                let length = self.number()?;
                self.take(length)
            }
            kind::LIST | kind::SET => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth + 1))
            }
            kind::MAP => {
                let count = self.number()?;
                if count > self.rest.len() as u64 {
                    return Err(Fault::Damaged);
                }
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth + 1)?;
                    self.skip_element(kinds & 0x0F, depth + 1)
                })
            }
            kind::STRUCT => self.members(|walk, _, kind| walk.skip(kind, depth + 1)),
            _ => Err(Fault::Damaged),
        }
    }

    fn take(&mut self, length: u64) -> Result<(), Fault> {
        let length = usize::try_from(length).map_err(|_| Fault::Damaged)?;
        self.rest = self.rest.get(length..).ok_or(Fault::Damaged)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (&byte, rest) = self.rest.split_first().ok_or(Fault::Damaged)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Fault::Damaged)
    }

    /// A number with a sign, which stands in the lowest bit.
    pub fn integer(&mut self) -> Result<i64, Fault> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}
