//! The keys of deliveries, in a table beside the rows: inserted in the rows' own transaction, so
//! that both are there or neither is. In standard SQL alone.

use arrow_array::cast::AsArray;
use engine_sdk::database::Scalar;
use engine_sdk::prelude::*;

use crate::driver::{Refused, Session};
use crate::name::Target;
use crate::sql::Draft;
use crate::value::Bound;

/// The table, in the schema of the table that is written to.
pub const TABLE: &str = "_engine_commits";

/// The names that tell deliveries apart, in characters. A key of all four and the window's number
/// still fits into the index of every database that has been looked at.
const NAME: usize = 150;
/// The longest text that all databases keep in a plain column, in characters.
const RECEIPT: usize = 4000;

/// Where the keys of deliveries to a table are.
pub fn beside(target: &Target) -> Target {
    target.beside(TABLE)
}

/// Makes the table if it is missing. Outside of a transaction: some databases commit what is open.
pub fn ensure(session: &mut Session, commits: &Target) -> Result<()> {
    if session.table(commits)?.is_some() {
        return Ok(());
    }
    let quote = session.access().quote();
    let name = |name: &str| format!("{} VARCHAR({NAME}) NOT NULL", quote.name(name));
    let create = format!(
        "CREATE TABLE {} ({}, {}, {}, {} NUMERIC(19) NOT NULL, {}, {} VARCHAR({RECEIPT}) NOT NULL, PRIMARY KEY ({}))",
        commits.sql(quote),
        name("state"),
        name("pipeline"),
        name("sink"),
        quote.name("win"),
        name("split"),
        quote.name("receipt"),
        quote.list(["state", "pipeline", "sink", "win", "split"]),
    );
    let Err(refused) = session.execute_text(create.clone()) else { return Ok(()) };
    // Somebody else was quicker.
    if session.table(commits)?.is_some() {
        return Ok(());
    }
    let error = refused.error.context(format!("the table {commits} for the keys of deliveries"));
    Err(match refused.kind {
        ErrorKind::Denied => error.hint(format!("let somebody who may create it: {create}")),
        ErrorKind::Config => {
            error.hint(format!("make the table by hand, with these columns in the database's own types: {create}"))
        }
        _ => error,
    })
}

/// The receipt of a delivery that has been committed.
pub fn find(session: &mut Session, commits: &Target, delivery: &Delivery) -> Result<Option<Receipt>> {
    let quote = session.access().quote();
    let mut draft = Draft::new(quote);
    let is_this = same(session, &mut draft, delivery)?;
    let (win, split) = (draft.value(window(delivery.window)?), draft.value(name(&delivery.split)?));
    draft.text = format!(
        "SELECT {} FROM {} WHERE {is_this} AND {} = {win} AND {} = {split}",
        quote.name("receipt"),
        commits.sql(quote),
        quote.name("win"),
        quote.name("split")
    );
    for batch in session.rows(&draft)? {
        if batch.num_rows() > 0 {
            let receipt = arrow_cast::cast(batch.column(0), &DataType::Utf8).ok();
            let receipt = receipt.as_ref().and_then(|texts| texts.as_string_opt::<i32>()).map(|texts| texts.value(0));
            // An older or newer engine's receipt is still a commit.
            return Ok(Some(receipt.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()));
        }
    }
    Ok(None)
}

/// Adds a delivery's key and forgets those that never come again.
pub fn add(session: &mut Session, commits: &Target, delivery: &Delivery, receipt: &Receipt) -> Result<(), Refused> {
    let quote = session.access().quote();
    let mut draft = Draft::new(quote);
    let values = [
        draft.value(name(&delivery.state)?),
        draft.value(name(&delivery.pipeline)?),
        draft.value(name(&delivery.sink)?),
        draft.value(window(delivery.window)?),
        draft.value(name(&delivery.split)?),
        draft.value(Scalar::from(text(receipt)?)),
    ];
    draft.text = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        commits.sql(quote),
        quote.list(["state", "pipeline", "sink", "win", "split", "receipt"]),
        values.join(", ")
    );
    session.execute(&draft)?;
    let mut draft = Draft::new(quote);
    let is_this = same(session, &mut draft, delivery)?;
    let before = draft.value(window(delivery.settled_before)?);
    draft.text = format!("DELETE FROM {} WHERE {is_this} AND {} < {before}", commits.sql(quote), quote.name("win"));
    session.execute(&draft)
}

/// The condition that finds the deliveries of one sink.
fn same(session: &Session, draft: &mut Draft, delivery: &Delivery) -> Result<String> {
    let quote = session.access().quote();
    let columns = [("state", &delivery.state), ("pipeline", &delivery.pipeline), ("sink", &delivery.sink)];
    let mut conditions = vec![];
    for (column, value) in columns {
        conditions.push(format!("{} = {}", quote.name(column), draft.value(name(value)?)));
    }
    Ok(conditions.join(" AND "))
}

/// A name as a value. One that is cut would be another one's.
fn name(name: &str) -> Result<Scalar> {
    if name.chars().count() <= NAME {
        return Ok(Scalar::from(name));
    }
    Err(Error::config(format!("`{name}` is too long for the table of deliveries, which holds {NAME} characters"))
        .hint("give the pipeline or the sink a shorter name"))
}

/// A receipt as text. What makes it too long is left out: how much was written is what counts.
fn text(receipt: &Receipt) -> Result<String> {
    let written = |receipt: &Receipt| {
        serde_json::to_string(receipt).map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))
    };
    let whole = written(receipt)?;
    if whole.chars().count() <= RECEIPT {
        return Ok(whole);
    }
    written(&Receipt { rows: receipt.rows, bytes: receipt.bytes, ..Receipt::default() })
}

fn window(number: u64) -> Result<Bound> {
    let number =
        i64::try_from(number).map_err(|_| Error::internal(format!("window {number} is too large a number")))?;
    Ok(Scalar::from(number).into())
}
