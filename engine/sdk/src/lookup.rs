//! Columns by the names that a configuration gives.

use arrow_schema::{DataType, Field, Schema};
use engine_abi::{Error, Result};

/// Where the column `name` stands; without one, a `config` error that lists the columns that there are.
pub fn find_column(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let error = Error::config(format!("there is no column `{name}`"));
        match names(schema, |_| true).as_str() {
            "" => error.hint("the stream has no columns"),
            names => error.hint(format!("the columns are {names}")),
        }
    })
}

/// Where the columns stand that a format writes: those of these names, in their order, or all where none is named.
/// A `config` error names one that there is not, and lists those that there are.
pub fn chosen_columns(schema: &Schema, names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..schema.fields().len()).collect());
    }
    let place = |name: &String| {
        schema.index_of(name).map_err(|_| {
            Error::config(format!("there is no column `{name}` to write"))
                .hint(format!("the columns are: {}", self::names(schema, |_| true)))
        })
    };
    names.iter().map(place).collect()
}

/// Refuses a list of columns that names one twice: most programs could not read it back.
pub fn named_once(setting: &str, names: &[String]) -> Result<()> {
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    match twice {
        None => Ok(()),
        Some((_, name)) => Err(Error::config(format!("`{setting}` names `{name}` twice"))
            .hint("name it once; to show a column twice, select it under two names before")),
    }
}

/// As [`find_column`], and the column's type must be `Utf8`: its array is a `StringArray`.
pub fn find_text_column(schema: &Schema, name: &str) -> Result<usize> {
    let at = find_column(schema, name)?;
    let found = schema.field(at).data_type();
    if found == &DataType::Utf8 {
        return Ok(at);
    }
    let error = Error::config(format!("the column `{name}` is not text but {found}"));
    Err(match names(schema, |field| field.data_type() == &DataType::Utf8).as_str() {
        "" => error.hint("the stream has no text columns"),
        names => error.hint(format!("the text columns are {names}")),
    })
}

fn names(schema: &Schema, wanted: impl Fn(&Field) -> bool) -> String {
    let names = schema.fields().iter().filter(|field| wanted(field)).map(|field| field.name().as_str());
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let field = |name, data_type| Field::new(name, data_type, true);
        Schema::new(vec![field("n", DataType::Int64), field("text", DataType::Utf8), field("note", DataType::Utf8)])
    }

    #[test]
    fn columns_are_chosen_in_the_order_of_their_names() {
        let chosen =
            |names: &[&str]| chosen_columns(&schema(), &names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(chosen(&[]), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(&["note", "n"]), Ok(vec![2, 0]));
        let error = chosen(&["n", "nope"]).unwrap_err();
        assert_eq!(error.message, "there is no column `nope` to write");
        assert_eq!(error.hint.as_deref(), Some("the columns are: n, text, note"));
    }

    #[test]
    fn a_column_that_is_named_twice_is_refused() {
        let named = |names: &[&str]| named_once("columns", &names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!((named(&[]), named(&["n", "text"])), (Ok(()), Ok(())));
        assert_eq!(named(&["n", "text", "n"]).unwrap_err().message, "`columns` names `n` twice");
    }

    #[test]
    fn a_column_is_found_by_its_name_and_type() {
        assert_eq!(find_column(&schema(), "n"), Ok(0));
        assert_eq!(find_text_column(&schema(), "note"), Ok(2));
    }

    #[test]
    fn a_column_that_is_not_there_or_no_text_is_a_mistake_of_the_configuration() {
        let missing = Error::config("there is no column `txt`").hint("the columns are n, text, note");
        assert_eq!(find_column(&schema(), "txt"), Err(missing.clone()));
        assert_eq!(find_text_column(&schema(), "txt"), Err(missing));
        let number = Error::config("the column `n` is not text but Int64").hint("the text columns are text, note");
        assert_eq!(find_text_column(&schema(), "n"), Err(number));
        let nothing = Error::config("there is no column `n`").hint("the stream has no columns");
        assert_eq!(find_column(&Schema::empty(), "n"), Err(nothing));
    }
}
