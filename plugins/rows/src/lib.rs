//! Steps between source and sink that a pipeline needs every day, without SQL.

mod convert;
mod deduplicate;
mod flatten;
mod held;
mod keys;
mod names;
mod nest;
mod select;

use deduplicate::Deduplicate;
use flatten::Flatten;
use nest::Nest;
use select::Select;

engine_sdk::module!("rows":
    transform "deduplicate" => Deduplicate,
    transform "flatten" => Flatten,
    transform "nest" => Nest,
    transform "select" => Select,
);
