//! `mode: replace`: the rows of a window go into a table beside the target, and take the place of
//! the target's rows at the window's end, in one transaction.
//!
//! The target itself stays, and with it all that hangs on it: grants, indexes, views. The mode
//! `replace` of ADBC's bulk ingest would drop it, and show readers the table half-way.

use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::commits;
use crate::driver::Session;
use crate::name::Target;

/// What the keys of deliveries have as the split of a window whose table beside the target is its own.
const BEGUN: &str = "*begun*";
/// And of one that has taken its place.
const FINISHED: &str = "*finished*";

/// The table beside the target: one of a sink and a target.
pub fn beside(run: &SinkRun, target: &Target) -> Target {
    let place = [run.state.as_str(), &run.pipeline, &run.sink, &target.to_string()].join("\0");
    let digest = engine_sdk::hexadecimal::write(&Sha256::digest(place.as_bytes())[..8]);
    target.beside(&format!("_engine_replace_{digest}"))
}

/// Takes away what another window has left beside the target, once a window. Outside of a transaction.
pub fn prepare(session: &mut Session, run: &SinkRun, target: &Target, commits: &Target) -> Result<()> {
    let marker = run.marker(BEGUN);
    if commits::find(session, commits, &marker)?.is_some() {
        return Ok(());
    }
    drop_table(session, &beside(run, target))?;
    Ok(commits::add(session, commits, &marker, &Receipt::default())?)
}

/// Puts the window's rows in the place of the target's. Done before: only takes away what is left over.
pub fn finish(session: &mut Session, run: &SinkRun, target: &Target, commits: &Target, create: bool) -> Result<()> {
    let (marker, begun, beside) = (run.marker(FINISHED), run.marker(BEGUN), beside(run, target));
    if commits::find(session, commits, &marker)?.is_none() {
        // Without it no delivery has come: all that there is of the window are dead letters.
        let rows = match commits::find(session, commits, &begun)? {
            Some(_) => session.table(&beside)?,
            None => None,
        };
        let quote = session.access().quote();
        if rows.is_some() && create && session.table(target)?.is_none() {
            let like = format!("CREATE TABLE {} AS SELECT * FROM {} WHERE 1 = 0", target.sql(quote), beside.sql(quote));
            session.execute_text(like).map_err(|refused| refused.error.context(format!("table {target}")))?;
        }
        session.begin()?;
        match swap(session, &marker, target, &beside, commits, rows.as_ref()) {
            Ok(()) => session.commit()?,
            Err(error) => {
                session.roll_back()?;
                return Err(error);
            }
        }
    }
    drop_table(session, &beside)
}

fn swap(
    session: &mut Session,
    marker: &Delivery,
    target: &Target,
    beside: &Target,
    commits: &Target,
    rows: Option<&Schema>,
) -> Result<()> {
    let quote = session.access().quote();
    // First: whoever is second waits here, and has changed nothing.
    commits::add(session, commits, marker, &Receipt::default()).map_err(|refused| match refused.kind {
        ErrorKind::Rejected => Error::unavailable(format!("the rows of {target} are being replaced by somebody else")),
        _ => refused.error,
    })?;
    let Some(rows) = rows else { return Ok(()) };
    let columns = quote.list(rows.fields().iter().map(|field| field.name().as_str()));
    let delete = format!("DELETE FROM {}", target.sql(quote));
    let insert = format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {}", target.sql(quote), beside.sql(quote));
    for statement in [delete, insert] {
        session
            .execute_text(statement)
            .map_err(|refused| refused.error.context(format!("table {target} keeps its old rows")))?;
    }
    Ok(())
}

fn drop_table(session: &mut Session, table: &Target) -> Result<()> {
    if session.table(table)?.is_none() {
        return Ok(());
    }
    let quote = session.access().quote();
    Ok(session.execute_text(format!("DROP TABLE {}", table.sql(quote)))?)
}
