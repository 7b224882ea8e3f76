//! The query, as far as it can be known before there are columns.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;

use datafusion::common::ParamValues;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query as Ast, Select, SelectItem, SetExpr, Statement as Plain, Value as Literal, VisitMut, VisitorMut,
    visit_expressions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use engine_sdk::database::nearest;
use engine_sdk::prelude::*;
use futures_util::FutureExt;

use crate::config::{Config, literal};
use crate::error::failed;
use crate::{function, scope};

/// The table that the stream is.
pub const INPUT: &str = "input";
/// How deeply a query may be nested.
const DEPTH: usize = 64;

/// A query that has been looked through.
pub struct Query {
    statement: Statement,
    parameters: ParamValues,
    /// How much of the stream it must see.
    pub scope: Scope,
}

impl Query {
    /// Reads the query of a configuration. Syntax, statements, tables, functions and parameters are refused here.
    pub fn new(config: &Config, session: &SessionState) -> Result<Self> {
        let mut statement = parse(&config.query)?;
        let Statement::Statement(plain) = &statement else { return Err(no_select()) };
        let Plain::Query(ast) = &**plain else { return Err(no_select()) };
        refuse_writes(ast)?;
        check_tables(&statement, config)?;
        function::check(plain, session)?;
        check_parameters(plain, config)?;
        let scope = scope::of(ast, session).ok_or_else(|| {
            Error::config("the query does not read the stream").hint("read it from the table `input`")
        })?;
        if let Statement::Statement(plain) = &mut statement {
            let _: ControlFlow<()> = plain.visit(&mut NameColumns);
        }
        let values: Vec<_> = config.parameters.iter().map(|(name, value)| (name.as_str(), literal(value))).collect();
        Ok(Self { statement, parameters: values.into(), scope })
    }

    /// The query over the tables of `session`.
    pub fn plan(&self, session: &SessionState) -> Result<LogicalPlan> {
        // The tables are in memory: nothing is ever waited for.
        let planned = session.statement_to_plan(self.statement.clone()).now_or_never();
        let planned = planned.ok_or_else(|| Error::internal("planning waits for something"))?;
        let plan = planned.and_then(|plan| plan.with_param_values(self.parameters.clone())).map_err(failed)?;
        let nothing = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        nothing.verify_plan(&plan).map_err(failed)?;
        Ok(plan)
    }
}

fn parse(query: &str) -> Result<Statement> {
    let parsed = DFParserBuilder::new(query).with_dialect(&GenericDialect {}).with_recursion_limit(DEPTH).build();
    let mut statements: VecDeque<_> = parsed.and_then(|mut parser| parser.parse_statements()).map_err(failed)?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(Error::config("the query is empty").hint("write for example `SELECT * FROM input`")),
        (Some(_), false) => Err(Error::config("the query is more than one statement")
            .hint("write one SELECT; a second step is a second `use: sql`")),
    }
}

fn no_select() -> Error {
    Error::config("the query is no SELECT").hint("a query reads rows and gives rows; nothing else is done by SQL here")
}

/// What stands where a SELECT could, and writes.
fn refuse_writes(ast: &Ast) -> Result<()> {
    fn reads(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.into.is_none(),
            SetExpr::Query(query) => reads(&query.body),
            SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
            SetExpr::Values(_) | SetExpr::Table(_) => true,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
        }
    }
    let inner = ast.with.iter().flat_map(|with| &with.cte_tables).all(|cte| reads(&cte.query.body));
    if reads(&ast.body) && inner && ast.locks.is_empty() { Ok(()) } else { Err(no_select()) }
}

/// A computed column without a name is named by its text; DataFusion would name it by what it makes of it.
struct NameColumns;

impl VisitorMut for NameColumns {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && !is_named(expr)
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_named(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        // Of a struct it makes several columns.
        Expr::Function(function) => function::lower(&function.name).starts_with("unnest"),
        _ => false,
    }
}

/// Refuses tables that there are not, and files that are not read.
fn check_tables(statement: &Statement, config: &Config) -> Result<()> {
    let (references, _) = resolve_table_references(statement, false).map_err(failed)?;
    let mut tables = BTreeSet::new();
    for reference in references {
        let name = reference.table();
        let is_known = name == INPUT || config.inputs.contains_key(name);
        if is_known && reference.schema().is_none() {
            if name != INPUT {
                tables.insert(name.to_owned());
            }
            continue;
        }
        let known = || std::iter::once(INPUT).chain(config.inputs.keys().map(String::as_str));
        let error = Error::config(format!("there is no table `{reference}`"));
        let all = format!("the tables are {}", known().collect::<Vec<_>>().join(", "));
        return Err(match nearest(name, known()).first() {
            Some(name) => error.hint(format!("did you mean `{name}`? {all}")),
            None => error.hint(format!("{all}; a file becomes a table under `inputs`")),
        });
    }
    if let Some(unread) = config.inputs.keys().find(|name| !tables.contains(*name)) {
        return Err(Error::config(format!("the query does not read `{unread}`"))
            .hint("remove it from `inputs`, or join with it"));
    }
    Ok(())
}

fn check_parameters(statement: &Plain, config: &Config) -> Result<()> {
    let mut named = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(statement, |expr| {
        if let Expr::Value(value) = expr
            && let Literal::Placeholder(name) = &value.value
        {
            named.insert(name.clone());
        }
        ControlFlow::Continue(())
    });
    for name in &named {
        let Some(plain) = name.strip_prefix(':') else {
            return Err(Error::config(format!("`{name}` is no parameter")).hint("parameters are written `:name`"));
        };
        if !config.parameters.contains_key(plain) {
            return Err(Error::config(format!("the query names the parameter `{name}`, which has no value"))
                .hint(format!("add it: `parameters: {{ {plain}: … }}`")));
        }
    }
    match config.parameters.keys().find(|name| !named.contains(&format!(":{name}"))) {
        Some(unused) => Err(Error::config(format!("the query does not name the parameter `:{unused}`"))
            .hint("remove it from `parameters`, or use it")),
        None => Ok(()),
    }
}
