//! The stream as a table of DataFusion: pulled by the thread that runs the query, batch by batch.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as Planned, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};
use engine_sdk::prelude::*;

use crate::kept::Kept;

/// What the planner is told of the stream's size: more than any file, so that a join holds the file in
/// memory and lets the stream pass.
const ENDLESS: usize = 1 << 48;

/// The rows of one stream.
pub struct Feed {
    schema: SchemaRef,
    rows: Mutex<Option<Batches>>,
    kept: OnceLock<Kept>,
    cx: Context,
}

impl Feed {
    /// Rows that are pulled when the query asks for them.
    pub fn new(rows: Batches, cx: Context) -> Arc<Self> {
        Arc::new(Self { schema: rows.schema(), rows: Mutex::new(Some(rows)), kept: OnceLock::new(), cx })
    }

    /// The next rows.
    pub fn next(&self) -> Option<Result<RecordBatch>> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.cx.check_cancelled().map(|()| rows.as_mut().and_then(Iterator::next)).transpose();
        if !matches!(next, Some(Ok(Ok(_)))) {
            *rows = None;
        }
        next.map(|next| next.and_then(|batch| batch))
    }

    /// Reads all rows into a file, so that they can be read more than once. Answers how large it is.
    pub fn keep(&self, folder: &Path, most: u64) -> Result<u64> {
        let kept = Kept::new(&self.schema, std::iter::from_fn(|| self.next()), folder, most)?;
        let bytes = kept.bytes;
        // Nobody else keeps it: a query is run by one thread.
        let _ = self.kept.set(kept);
        Ok(bytes)
    }

    /// The rows for one reading of them.
    fn reading(self: Arc<Self>) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        let Some(kept) = self.kept.get() else { return Box::new(std::iter::from_fn(move || self.next())) };
        match kept.rows() {
            Ok(rows) => Box::new(rows.map(move |batch| {
                self.cx.check_cancelled()?;
                Ok(batch?)
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// Reads what a query with a `LIMIT` has left: every row that was read is accounted for, and so is an
    /// error behind the last row that was needed.
    pub fn drain(&self) -> Result<()> {
        while let Some(batch) = self.next() {
            batch?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The stream as the planner sees it.
#[derive(Debug)]
pub struct FeedTable(pub Arc<Feed>);

#[async_trait::async_trait]
impl TableProvider for FeedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Planned<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned();
        let schema = match &columns {
            Some(columns) => Arc::new(self.0.schema.project(columns)?),
            None => Arc::clone(&self.0.schema),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(FeedExec { feed: Arc::clone(&self.0), columns, properties: Arc::new(properties) }))
    }
}

/// The stream at work.
#[derive(Debug)]
pub struct FeedExec {
    feed: Arc<Feed>,
    columns: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for FeedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FeedExec: columns={:?}", self.columns)
    }
}

impl ExecutionPlan for FeedExec {
    fn name(&self) -> &'static str {
        "FeedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Planned<TreeNodeRecursion>,
    ) -> Planned<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Planned<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("the stream has nothing below it") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Planned<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Planned<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(ENDLESS);
        statistics.total_byte_size = Precision::Inexact(ENDLESS);
        Ok(Arc::new(statistics))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Planned<SendableRecordBatchStream> {
        let (feed, columns) = (Arc::clone(&self.feed), self.columns.clone());
        let mut rows = None;
        let batches = std::iter::from_fn(move || {
            // Only now it is known how often the stream is read.
            let batch = rows.get_or_insert_with(|| Arc::clone(&feed).reading()).next()?;
            let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)));
            Some(match &columns {
                Some(columns) => batch.and_then(|batch| Ok(batch.project(columns)?)),
                None => batch,
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures_util::stream::iter(batches))))
    }
}

/// How often a query reads the stream.
pub fn readings(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = usize::from(plan.as_ref().name() == "FeedExec");
    own + plan.children().into_iter().map(readings).sum::<usize>()
}
