//! How much of the stream a query must see, read from its text: it must be known before there are columns.
//!
//! What is not understood here counts as [`Scope::Window`], which is always right.

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, Query, Select, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};
use engine_sdk::Scope;

use crate::function::lower;
use crate::query::INPUT;

/// What a table, or a query in the place of one, reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nothing of the stream.
    Lookup,
    /// The stream.
    Stream(Scope),
}

/// The scope of a query; `None` if it does not read the stream.
pub fn of(query: &Query, session: &SessionState) -> Option<Scope> {
    match (Reader { session, named: Vec::new() }).query(query) {
        Reach::Lookup => None,
        Reach::Stream(scope) => Some(scope),
    }
}

struct Reader<'a> {
    session: &'a SessionState,
    /// Queries with a name that may be read here, the innermost last.
    named: Vec<(String, Reach)>,
}

impl Reader<'_> {
    fn query(&mut self, query: &Query) -> Reach {
        let outer = self.named.len();
        let reach = self.inside(query);
        self.named.truncate(outer);
        reach
    }

    fn inside(&mut self, query: &Query) -> Reach {
        let mut is_plain = query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.for_clause.is_none()
            && query.pipe_operators.is_empty();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let reach = self.query(&cte.query);
            self.named.push((cte.alias.name.value.clone(), reach));
        }
        is_plain &= query.with.as_ref().is_none_or(|with| !with.recursive);
        let reach = match &*query.body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            body => self.anywhere(body),
        };
        match reach {
            Reach::Stream(_) if !is_plain => Reach::Stream(Scope::Window),
            Reach::Lookup if !is_plain => self.anywhere(query),
            reach => reach,
        }
    }

    fn select(&mut self, select: &Select) -> Reach {
        let mut from = None;
        for table in &select.from {
            let right = self.table(table);
            from = Some(match from {
                None => right,
                Some(left) => join(left, right, true, true),
            });
        }
        let Some(Reach::Stream(scope)) = from else { return self.anywhere(select) };
        let groups = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
        };
        let is_plain = !groups
            && select.distinct.is_none()
            && select.select_modifiers.is_none()
            && select.top.is_none()
            && select.having.is_none()
            && select.qualify.is_none()
            && select.named_window.is_empty()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty();
        let mut found = Found { session: self.session, scope };
        let whole = select.projection.visit(&mut found).is_break() || select.selection.visit(&mut found).is_break();
        Reach::Stream(if is_plain && !whole { found.scope } else { Scope::Window })
    }

    fn table(&mut self, table: &TableWithJoins) -> Reach {
        let mut left = self.factor(&table.relation);
        for joined in &table.joins {
            let right = self.factor(&joined.relation);
            let (constraint, keeps_left, keeps_right) = match &joined.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (on, true, true),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, true, false),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (on, false, true),
                _ => {
                    left = join(left, right, false, false);
                    continue;
                }
            };
            left = join(left, right, keeps_left, keeps_right);
            let mut found = Found { session: self.session, scope: Scope::Row };
            if constraint.visit(&mut found).is_break() {
                left = Reach::Stream(Scope::Window);
            }
        }
        left
    }

    fn factor(&mut self, factor: &TableFactor) -> Reach {
        match factor {
            TableFactor::Table { name, args: None, sample: None, .. } => {
                let name = match name.0.as_slice() {
                    [part] => part.as_ident().map(|ident| ident.value.as_str()),
                    _ => None,
                };
                let cte = self.named.iter().rev().find(|(cte, _)| Some(cte.as_str()) == name);
                match cte {
                    Some((_, reach)) => *reach,
                    None if name == Some(INPUT) => Reach::Stream(Scope::Row),
                    None => Reach::Lookup,
                }
            }
            TableFactor::Derived { lateral: false, subquery, sample: None, .. } => self.query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.table(table_with_joins),
            other => self.anywhere(other),
        }
    }

    /// Of what is not looked at more closely: whether the stream is read somewhere in it.
    fn anywhere(&self, part: &impl Visit) -> Reach {
        let streams = self.named.iter().filter(|(_, reach)| *reach != Reach::Lookup);
        let mut names: Vec<&str> = streams.map(|(name, _)| name.as_str()).collect();
        if !self.named.iter().any(|(name, _)| name == INPUT) {
            names.push(INPUT);
        }
        match part.visit(&mut Reads(names)) {
            ControlFlow::Break(()) => Reach::Stream(Scope::Window),
            ControlFlow::Continue(()) => Reach::Lookup,
        }
    }
}

/// `keeps_left`: each row of the left side finds its partners without regard to the other rows of the left side.
fn join(left: Reach, right: Reach, keeps_left: bool, keeps_right: bool) -> Reach {
    match (left, right) {
        (Reach::Lookup, Reach::Lookup) => Reach::Lookup,
        (Reach::Stream(Scope::Row | Scope::Batch), Reach::Lookup) if keeps_left => Reach::Stream(Scope::Batch),
        (Reach::Lookup, Reach::Stream(Scope::Row | Scope::Batch)) if keeps_right => Reach::Stream(Scope::Batch),
        _ => Reach::Stream(Scope::Window),
    }
}

/// Looks for what makes one row of several, or several of one.
struct Found<'a> {
    session: &'a SessionState,
    scope: Scope,
}

impl Visitor for Found<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = lower(&function.name);
        if name.starts_with("unnest") {
            self.scope = Scope::Batch;
        }
        let is_scalar = self.session.scalar_functions().contains_key(&name)
            || self.session.higher_order_functions().contains_key(&name)
            || name.starts_with("unnest");
        if function.over.is_some() || !is_scalar { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Looks for tables of these names.
struct Reads<'a>(Vec<&'a str>);

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &datafusion::sql::sqlparser::ast::ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident());
        if name.is_some_and(|name| self.0.contains(&name.value.as_str())) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
