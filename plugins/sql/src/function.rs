//! The functions of a query, looked up before there are columns.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{Expr, Function, ObjectName, Spanned, Statement, visit_expressions};
use engine_sdk::database::nearest;
use engine_sdk::prelude::*;

use crate::session::volatile_functions;

/// What the planner knows beside the functions that it is given.
const PLANNED: [&str; 2] = ["unnest", "unnest_outer"];

/// How a function is looked up: case does not matter.
pub fn lower(name: &ObjectName) -> String {
    name.to_string().to_lowercase()
}

/// Refuses functions that there are not.
pub fn check(statement: &Statement, session: &SessionState) -> Result<()> {
    let found = visit_expressions(statement, |expr| match expr {
        Expr::Function(function) => match known(function, session) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        },
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn known(function: &Function, session: &SessionState) -> Result<()> {
    let name = lower(&function.name);
    let is_known = session.scalar_functions().contains_key(&name)
        || session.aggregate_functions().contains_key(&name)
        || session.window_functions().contains_key(&name)
        || session.higher_order_functions().contains_key(&name)
        || PLANNED.contains(&name.as_str());
    if is_known {
        return Ok(());
    }
    let start = function.name.span().start;
    let place = format!("line {}, column {} of the query", start.line, start.column);
    let is_volatile =
        |udf: &std::sync::Arc<datafusion::logical_expr::ScalarUDF>| udf.name() == name || udf.aliases().contains(&name);
    if volatile_functions().iter().any(is_volatile) {
        return Err(Error::config(format!("`{name}` gives another value each time, {place}")).hint(
            "a delivery that is repeated must have the same rows: make such values in the source or the target",
        ));
    }
    let error = Error::config(format!("there is no function `{name}`, {place}"));
    let mut names: BTreeSet<&str> = session.scalar_functions().keys().map(String::as_str).collect();
    names.extend(session.aggregate_functions().keys().map(String::as_str));
    names.extend(session.window_functions().keys().map(String::as_str));
    Err(match nearest(&name, names).first() {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None => error.hint(
            "the functions are those of DataFusion: https://datafusion.apache.org/user-guide/sql/scalar_functions.html",
        ),
    })
}
