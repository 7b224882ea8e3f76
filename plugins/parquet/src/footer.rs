//! Looks through the description at a file's end before the library does.
//!
//! The library takes memory for as many groups of rows as a file says it has, and
//! goes as deep as its columns are nested. A file that is made to do harm would end
//! the process by either, which no caller can catch.

use crate::thrift::{DEPTH, Fault, GROUPS, Walk, kind};

/// Members of `FileMetaData` that matter here, as the format numbers them.
const SCHEMA: i64 = 2;
const ROW_GROUPS: i64 = 4;
/// The member of `SchemaElement` that says how many columns are inside one.
const CHILDREN: i64 = 5;

/// Whether the library can be given a description.
pub fn check(description: &[u8]) -> Result<(), Fault> {
    let mut walk = Walk { rest: description };
    walk.members(|walk, member, kind| match (member, kind) {
        (SCHEMA, kind::LIST) => schema(walk),
        (ROW_GROUPS, kind::LIST) => {
            let (count, kind) = walk.list()?;
            if count > GROUPS {
                return Err(Fault::TooManyGroups);
            }
            (0..count).try_for_each(|_| walk.skip(kind, 1))
        }
        _ => walk.skip(kind, 0),
    })
}

/// The columns, of which each says how many of those behind it are inside it.
fn schema(walk: &mut Walk) -> Result<(), Fault> {
    let (count, kind) = walk.list()?;
    if kind != kind::STRUCT {
        return Err(Fault::Damaged);
    }
    // How many columns are still to come, inside each column that is open.
    let mut open: Vec<u64> = Vec::new();
    for _ in 0..count {
        let mut children = 0;
        walk.members(|walk, member, kind| match (member, kind) {
            (CHILDREN, kind::I32) => {
                children = walk.integer()?;
                Ok(())
            }
            _ => walk.skip(kind, 1),
        })?;
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        if children != 0 {
            open.push(u64::try_from(children).ok().filter(|it| *it < count).ok_or(Fault::Damaged)?);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > DEPTH {
            return Err(Fault::TooDeep);
        }
    }
    Ok(())
}
