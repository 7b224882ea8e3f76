//! Whole numbers that do not fit are errors. DataFusion's own operators start again from the other end.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// Puts [`Checked`] in the place of `+`, `-` and `*` of whole numbers. Runs after the types are known.
#[derive(Debug)]
pub struct CheckArithmetic;

impl AnalyzerRule for CheckArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let mut schema = DFSchema::empty();
            for input in plan.inputs() {
                schema.merge(input.schema());
            }
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                // Downwards: the types of operators are found faster than those of functions.
                let checked = expr.transform_down(|expr| check(expr, &schema))?;
                Ok(checked.update_data(|expr| name.restore(expr)))
            })
        })
        .map(|checked| checked.data)
    }

    fn name(&self) -> &'static str {
        "check_arithmetic"
    }
}

fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
    let kernel = match op {
        Operator::Plus => Kernel::Add,
        Operator::Minus => Kernel::Subtract,
        Operator::Multiply => Kernel::Multiply,
        _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
    };
    // A type that is not known here, such as a column of an outer query, is left as it is.
    let is_whole = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_integer());
    if !is_whole(&left) || !is_whole(&right) || left.get_type(schema)? != right.get_type(schema)? {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    }
    let function = Arc::new(ScalarUDF::from(Checked::new(kernel)));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![*left, *right]))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    Add,
    Subtract,
    Multiply,
}

/// One operation on two columns of whole numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    kernel: Kernel,
    signature: Signature,
}

impl Checked {
    fn new(kernel: Kernel) -> Self {
        Self { kernel, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.kernel {
            Kernel::Add => "add",
            Kernel::Subtract => "subtract",
            Kernel::Multiply => "multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments
            .first()
            .cloned()
            .ok_or_else(|| datafusion::common::internal_datafusion_err!("an operator without operands"))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kernel = match self.kernel {
            Kernel::Add => numeric::add,
            Kernel::Subtract => numeric::sub,
            Kernel::Multiply => numeric::mul,
        };
        let [left, right] = arguments.args.as_slice() else {
            return datafusion::common::internal_err!("an operator has two operands");
        };
        let scalar = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(value) => Some(value.to_scalar()).transpose(),
            ColumnarValue::Array(_) => Ok(None),
        };
        let result: ArrayRef = match (left, right, scalar(left)?, scalar(right)?) {
            (_, _, Some(left), Some(right)) => {
                let result = kernel(&left, &right)?;
                return datafusion::scalar::ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
            }
            (ColumnarValue::Array(left), _, _, Some(right)) => kernel(left, &right)?,
            (_, ColumnarValue::Array(right), Some(left), _) => kernel(&left, right)?,
            (ColumnarValue::Array(left), ColumnarValue::Array(right), ..) => kernel(left, right)?,
            _ => return datafusion::common::internal_err!("an operand is neither a column nor a value"),
        };
        Ok(ColumnarValue::Array(result))
    }
}
