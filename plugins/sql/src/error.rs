//! What DataFusion answers, as errors of the engine.

use arrow_schema::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use engine_sdk::database::nearest;
use engine_sdk::prelude::*;

/// Whether a row's values are to blame, so that other rows may pass.
pub fn is_of_values(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(
            **error,
            ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::CastError(_)
                | ArrowError::ParseError(_)
                | ArrowError::ComputeError(_)
                | ArrowError::InvalidArgumentError(_)
                | ArrowError::OffsetOverflowError(_)
        ),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => is_of_values(inner),
        DataFusionError::Shared(inner) => is_of_values(inner),
        DataFusionError::Collection(all) => all.iter().all(is_of_values),
        _ => false,
    }
}

/// What is wrong, without the classes and traces that DataFusion puts around it.
pub fn reason(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => reason(inner),
        DataFusionError::Shared(inner) => reason(inner),
        DataFusionError::Collection(all) => all.first().map_or_else(String::new, reason),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => "division by zero".into(),
            ArrowError::ArithmeticOverflow(message)
            | ArrowError::CastError(message)
            | ArrowError::ParseError(message)
            | ArrowError::ComputeError(message)
            | ArrowError::InvalidArgumentError(message) => message.clone(),
            other => other.to_string(),
        },
        DataFusionError::SQL(error, _) => syntax(error),
        DataFusionError::Plan(message)
        | DataFusionError::Execution(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::ResourcesExhausted(message)
        | DataFusionError::Configuration(message) => message.clone(),
        other => other.strip_backtrace(),
    }
}

/// ` at Line: 1, Column: 8` becomes `, line 1, column 8 of the query`.
fn syntax(error: &ParserError) -> String {
    let (ParserError::TokenizerError(message) | ParserError::ParserError(message)) = error else {
        return "the query is nested too deeply".into();
    };
    match message.rsplit_once(" at Line: ") {
        Some((what, place)) => format!("{what}, line {} of the query", place.replace("Column:", "column")),
        None => message.clone(),
    }
}

/// An error of planning or running a query. One that the input had, or a file, comes out as it was.
pub fn failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => failed(*inner),
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => failed(inner),
            Err(shared) => failed_shared(&shared),
        },
        DataFusionError::Collection(mut all) if !all.is_empty() => failed(all.swap_remove(0)),
        DataFusionError::External(carried) => match carried.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::internal(other.to_string()),
        },
        DataFusionError::ArrowError(error, trace) => match *error {
            ArrowError::ExternalError(carried) => match carried.downcast::<DataFusionError>() {
                Ok(own) => failed(*own),
                Err(other) => ArrowError::ExternalError(other).into(),
            },
            ArrowError::IoError(_, error) => of_disk(error),
            other => classified(&DataFusionError::ArrowError(Box::new(other), trace)),
        },
        DataFusionError::IoError(error) => of_disk(error),
        other => classified(&other),
    }
}

/// The system's errors have a number or a kind of their own; the one that has neither is the cap on disk.
fn of_disk(error: std::io::Error) -> Error {
    if error.raw_os_error().is_none() && error.kind() == std::io::ErrorKind::Other {
        return too_much_disk();
    }
    Error::from(error).context("what does not fit into memory cannot be kept on disk")
}

fn failed_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => failed_shared(inner),
        DataFusionError::Shared(inner) => failed_shared(inner),
        DataFusionError::External(carried) => match carried.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => Error::internal(carried.to_string()),
        },
        other => classified(other),
    }
}

fn classified(error: &DataFusionError) -> Error {
    let reason = reason(error);
    match error {
        DataFusionError::SQL(..) => Error::config(format!("the query is no SQL: {reason}")),
        DataFusionError::SchemaError(schema, _) => of_columns(schema),
        DataFusionError::ResourcesExhausted(_) => {
            Error::config(format!("the query needs more memory than `memory` allows: {reason}")).hint("raise `memory`")
        }
        DataFusionError::Plan(_) | DataFusionError::Configuration(_) => {
            Error::config(format!("the query does not hold: {reason}"))
        }
        DataFusionError::NotImplemented(_) => Error::config(format!("the query asks for what there is not: {reason}")),
        other if is_of_values(other) => {
            Error::config(format!("the query met a value that it cannot work with: {reason}"))
                .hint("TRY_CAST gives no value where CAST fails, and NULLIF(x, 0) keeps a division from failing")
        }
        _ => Error::internal(reason),
    }
}

fn too_much_disk() -> Error {
    Error::config("the query needs more room on disk than `disk` allows")
        .hint("raise `disk`, or let fewer rows in with WHERE")
}

fn of_columns(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => missing_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::config(format!("`{}` stands for more than one column", field.name))
                .hint("write the table in front of it, such as `input.name`")
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            two_columns(name)
        }
    }
}

/// Two columns of the result have one name.
pub fn two_columns(name: &str) -> Error {
    Error::config(format!("two columns would be named `{name}`")).hint("give one of them another name with AS")
}

fn missing_column(field: &Column, valid: &[Column]) -> Error {
    let error = Error::config(format!("there is no column `{}`", field.flat_name()));
    let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    if let Some(cased) = names.iter().find(|name| name.eq_ignore_ascii_case(&field.name)) {
        return error.hint(format!("names are taken exactly as they are written: `{cased}`"));
    }
    if names.is_empty() {
        return error.hint("there are no columns here");
    }
    let all = format!("the columns are {}", names.join(", "));
    match nearest(&field.name, names).first() {
        Some(name) => error.hint(format!("did you mean `{name}`? {all}")),
        None => error.hint(all),
    }
}
