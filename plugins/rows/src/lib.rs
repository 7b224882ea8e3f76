//! Steps between source and sink that a pipeline needs every day, without SQL.

mod convert;
mod deduplicate;
mod flatten;
mod held;
mod keys;
mod names;
mod nest;
mod redact;
mod select;
mod shown;
mod validate;

use deduplicate::Deduplicate;
use flatten::Flatten;
use nest::Nest;
use redact::Redact;
use select::Select;
use validate::Validate;

engine_sdk::module!("rows":
    transform "deduplicate" => Deduplicate,
    transform "flatten" => Flatten,
    transform "nest" => Nest,
    transform "redact" => Redact,
    transform "select" => Select,
    transform "validate" => Validate,
);
