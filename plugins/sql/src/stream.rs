//! Queries that see the stream as a whole: run by DataFusion, on the thread that asks for the rows.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use engine_sdk::Runtime;
use engine_sdk::prelude::*;
use futures_util::StreamExt;

use crate::error::failed;
use crate::feed::{Feed, readings};
use crate::output::Output;
use crate::workspace::Workspace;

/// A query at work. Ends, with everything that it holds, when it is dropped.
pub struct Running {
    // Before the runtime, which drives it.
    rows: Option<SendableRecordBatchStream>,
    /// Before the first row, because the query reads the stream more than once: how much may be kept.
    keeps: Option<(u64, Arc<DiskManager>)>,
    feed: Arc<Feed>,
    runtime: Runtime,
    output: Output,
    cx: Context,
    /// Where all of them have what does not fit into memory.
    workspace: Workspace,
}

impl Running {
    /// Begins a query whose tables are in `session`.
    pub fn new(
        plan: &LogicalPlan,
        session: &SessionState,
        feed: Arc<Feed>,
        (workspace, disk): (Workspace, u64),
        cx: Context,
    ) -> Result<Self> {
        let runtime = Runtime::new()?;
        let (physical, rows) = runtime.block_on(async {
            let physical = session.create_physical_plan(plan).await.map_err(failed)?;
            let rows = physical.execute(0, session.task_ctx()).map_err(failed)?;
            Ok::<_, Error>((physical, rows))
        })?;
        let keeps = (readings(&physical) > 1).then(|| (disk, Arc::clone(&session.runtime_env().disk_manager)));
        let output = Output::new(&physical.schema())?;
        Ok(Self { rows: Some(rows), keeps, feed, runtime, output, cx, workspace })
    }

    /// The rows as they go on.
    pub fn batches(self) -> Batches {
        Batches::new(Arc::clone(&self.output.schema), self)
    }

    fn pull(&mut self) -> Result<Option<RecordBatch>> {
        if let Some((most, disk)) = self.keeps.take() {
            let bytes = self.feed.keep(self.workspace.folder(), most)?;
            let left = most.saturating_sub(bytes);
            disk.set_max_temp_directory_size(left).map_err(failed)?;
        }
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let batch = self.runtime.run(&self.cx, async { rows.next().await.transpose().map_err(failed) })?;
        match batch {
            Some(batch) => Ok(Some(self.output.convert(&batch)?)),
            None => {
                self.rows = None;
                self.feed.drain()?;
                Ok(None)
            }
        }
    }
}

impl Iterator for Running {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.pull();
        if batch.is_err() {
            self.rows = None;
        }
        batch.transpose()
    }
}
