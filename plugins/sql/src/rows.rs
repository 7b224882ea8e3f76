//! Queries that look at one row at a time: worked on batch by batch, by the stage's own thread.
//!
//! Where a batch fails it is halved until the rows that are to blame stand alone; they become dead
//! letters, and their neighbours go on.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatchOptions, new_empty_array};
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use engine_sdk::prelude::*;

use crate::error::{failed, is_of_values, reason};
use crate::output::Output;

/// The code of a row that the query cannot work with.
pub const CODE: &str = "sql_error";

/// What is done to a batch, in order.
#[derive(Debug)]
enum Step {
    Keep(Vec<usize>, SchemaRef),
    Filter(Arc<dyn PhysicalExpr>),
    Compute(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
    /// The planner has found that no row can pass.
    Nothing(SchemaRef),
}

/// A query over one stream.
pub struct RowQuery {
    steps: Vec<Step>,
    pub output: Output,
}

impl RowQuery {
    /// From an optimised plan of nothing but filters and projections.
    pub fn new(plan: &LogicalPlan, properties: &ExecutionProps) -> Result<Self> {
        let mut steps = Vec::new();
        collect(plan, properties, &mut steps)?;
        Ok(Self { steps, output: Output::new(plan.schema().as_arrow())? })
    }

    /// The rows that a batch becomes.
    pub fn apply(&self, batch: &RecordBatch, cx: &Context) -> Result<RecordBatch> {
        let mut done = Vec::new();
        self.narrow(batch, cx, &mut done)?;
        match done.as_slice() {
            [one] => Ok(one.clone()),
            [] => Ok(empty(&self.output.schema)),
            several => Ok(concat_batches(&self.output.schema, several)?),
        }
    }

    fn narrow(&self, rows: &RecordBatch, cx: &Context, done: &mut Vec<RecordBatch>) -> Result<()> {
        cx.check_cancelled()?;
        let count = rows.num_rows();
        match self.evaluate(rows) {
            Ok(output) => {
                let filtered = count - output.num_rows();
                if filtered > 0 {
                    cx.filtered(filtered as u64);
                }
                if output.num_rows() > 0 {
                    done.push(output);
                }
                Ok(())
            }
            Err(error) if !is_of_values(&error) => Err(failed(error)),
            Err(error) if count <= 1 => cx.reject_rows(rows, CODE, &reason(&error)),
            Err(_) => {
                let middle = count / 2;
                self.narrow(&rows.slice(0, middle), cx, done)?;
                self.narrow(&rows.slice(middle, count - middle), cx, done)
            }
        }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let mut rows = rows.clone();
        for step in &self.steps {
            rows = match step {
                Step::Keep(columns, schema) => {
                    with_columns(schema, columns.iter().map(|at| Arc::clone(rows.column(*at))).collect(), &rows)?
                }
                Step::Filter(predicate) => {
                    let keep = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
                    let keep = keep.as_boolean_opt().ok_or_else(|| {
                        DataFusionError::Plan(format!("WHERE is not true or false, but {}", keep.data_type()))
                    })?;
                    filter_record_batch(&rows, keep)?
                }
                Step::Compute(columns, schema) => {
                    let compute = |column: &Arc<dyn PhysicalExpr>| column.evaluate(&rows)?.into_array(rows.num_rows());
                    let columns = columns.iter().map(compute).collect::<Result<Vec<_>, _>>()?;
                    with_columns(schema, columns, &rows)?
                }
                Step::Nothing(schema) => empty(schema),
            };
        }
        Ok(self.output.convert(&rows)?)
    }
}

fn with_columns(
    schema: &SchemaRef,
    columns: Vec<arrow_array::ArrayRef>,
    rows: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &count)
}

fn empty(schema: &SchemaRef) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect();
    let count = RecordBatchOptions::new().with_row_count(Some(0));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &count).expect("empty columns of the schema's types")
}

/// The steps of a plan, the first one first.
fn collect(plan: &LogicalPlan, properties: &ExecutionProps, steps: &mut Vec<Step>) -> Result<()> {
    let physical = |expr: &Expr, schema: &DFSchema| {
        create_physical_expr(expr, schema, properties, &PhysicalPlanningContext::default()).map_err(failed)
    };
    match plan {
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
            if let Some(columns) = &scan.projection {
                steps.push(Step::Keep(columns.clone(), schema(plan)));
            }
            Ok(())
        }
        LogicalPlan::EmptyRelation(nothing) if !nothing.produce_one_row => {
            steps.push(Step::Nothing(schema(plan)));
            Ok(())
        }
        LogicalPlan::SubqueryAlias(alias) => collect(&alias.input, properties, steps),
        LogicalPlan::Filter(filter) => {
            collect(&filter.input, properties, steps)?;
            steps.push(Step::Filter(physical(&filter.predicate, filter.input.schema())?));
            Ok(())
        }
        LogicalPlan::Projection(projection) => {
            collect(&projection.input, properties, steps)?;
            let input = projection.input.schema();
            let columns = projection.expr.iter().map(|expr| physical(expr, input)).collect::<Result<_>>()?;
            steps.push(Step::Compute(columns, schema(plan)));
            Ok(())
        }
        other => Err(Error::internal(format!("a query of single rows has the step {}", other.display()))),
    }
}

/// The columns of a step; whether a value is missing is looked at where they go on.
fn schema(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
