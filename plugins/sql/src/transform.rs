//! The transform.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::execution::session_state::SessionState;
use engine_sdk::prelude::*;

use crate::config::Config;
use crate::depth::Depth;
use crate::error::failed;
use crate::feed::{Feed, FeedTable};
use crate::lookup::Table;
use crate::query::{INPUT, Query};
use crate::rows::RowQuery;
use crate::session::{Bounds, of_stream};
use crate::stream::Running;

/// The component.
pub struct Sql {
    query: Query,
    depth: Depth,
    session: SessionState,
    bounds: Bounds,
    lookups: BTreeMap<String, Table>,
    cx: Context,
}

impl Component for Sql {
    type Config = Config;
    const SUMMARY: &'static str = "Filters, computes, joins, groups and sorts rows with SQL";

    fn examples() -> Vec<Example> {
        vec![
            example("some rows, and a computed column", {
                json!({"query": "SELECT caller, amount * 1.2 AS gross FROM input WHERE amount > 0"})
            }),
            example("one row a caller", {
                json!({"query": "SELECT caller, count(*) AS calls, sum(duration) AS seconds FROM input GROUP BY caller ORDER BY caller"})
            }),
            example("names from a file, and a value from the pipeline", {
                json!({
                    "query": "SELECT input.*, domains.name AS domain FROM input LEFT JOIN domains ON domainid = domains.id WHERE status = :status",
                    "parameters": {"status": "answered"},
                    "inputs": {"domains": {"path": "domains.csv", "types": {"id": "integer"}}}
                })
            }),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.inputs.contains_key(INPUT) {
            return Err(Error::config("a file is named `input`, which is the stream").hint("give it another name"));
        }
        let bounds = Bounds::new(&config, &cx)?;
        let session = bounds.session();
        let depth = Depth::of(&config.query)?;
        let query = depth.work(|| Query::new(&config, &session))?;
        let tables = config.inputs.iter().map(|(name, lookup)| Ok((name.clone(), Table::new(name, lookup, &cx)?)));
        Ok(Self { query, depth, session, bounds, lookups: tables.collect::<Result<_>>()?, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        self.bounds.place()?;
        for table in self.lookups.values_mut() {
            table.load()?;
        }
        let files = engine_sdk::counted(self.lookups.len(), "file");
        Ok(CheckReport { summary: format!("the query can be read, with {files} beside the stream") })
    }
}

impl Transform for Sql {
    const SCOPE: Scope = Scope::Window;
    const NARROWS: bool = true;

    fn scope(&self) -> Scope {
        self.query.scope
    }

    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let depth = self.depth;
        let rows = depth.work(|| self.begin(input))?;
        Ok(Batches::new(rows.schema(), Deep { depth, rows: Some(rows) }))
    }
}

/// Rows that are worked on, and let go, with the room that their query needs.
struct Deep {
    depth: Depth,
    rows: Option<Batches>,
}

impl Iterator for Deep {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        self.depth.work(|| rows.next())
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        let rows = self.rows.take();
        self.depth.work(|| drop(rows));
    }
}

impl Sql {
    fn begin(&mut self, input: Batches) -> Result<Batches> {
        let feed = Feed::new(input, self.cx.clone());
        let tables = MemorySchemaProvider::new();
        tables.register_table(INPUT.into(), Arc::new(FeedTable(Arc::clone(&feed)))).map_err(failed)?;
        for (name, table) in &mut self.lookups {
            tables.register_table(name.clone(), table.load()?).map_err(failed)?;
        }
        let is_of_rows = self.query.scope == Scope::Row;
        let (runtime, workspace) = if is_of_rows { None } else { Some(self.bounds.runtime()?) }.unzip();
        let session = of_stream(&self.session, runtime, tables)?;
        let plan = self.query.plan(&session)?;
        if let Some(workspace) = workspace {
            return Ok(Running::new(&plan, &session, feed, (workspace, self.bounds.disk), self.cx.clone())?.batches());
        }
        let optimised = session.optimize(&plan).map_err(failed)?;
        let rows = RowQuery::new(&optimised, session.execution_props())?;
        let (schema, cx) = (Arc::clone(&rows.output.schema), self.cx.clone());
        Ok(Batches::new(schema, std::iter::from_fn(move || feed.next()).map(move |batch| rows.apply(&batch?, &cx))))
    }
}
