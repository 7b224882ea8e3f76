//! Steps that look at one row at a time: what a pipeline does every day, without SQL.

mod convert;
mod select;

use select::Select;

engine_sdk::module!("rows": transform "select" => Select);
