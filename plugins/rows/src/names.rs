//! Columns by the names that a configuration gives.

use engine_sdk::find_column;
use engine_sdk::prelude::*;

/// Below this likeness (0 to 1) a name that there is only confuses.
const LIKE: f64 = 0.8;

/// One name, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several, in their order.
    Many(Vec<String>),
    /// None.
    #[default]
    #[serde(skip)]
    None,
}

impl Names {
    /// The names.
    pub fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
            Self::None => &[],
        }
    }
}

/// Where the column `name` stands, which must be the only one of that name. Otherwise a `config` error with the
/// nearest name that there is, and all of them.
pub fn find(schema: &Schema, name: &str) -> Result<usize> {
    let mut same = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name);
    if let (Some(_), Some(_)) = (same.next(), same.next()) {
        return Err(Error::config(format!("two columns are named `{name}`"))
            .hint("give one of them another name where they come from"));
    }
    find_column(schema, name).map_err(|error| {
        match (nearest(name, schema.fields().iter().map(|field| field.name().as_str())), error.hint.clone()) {
            (Some(near), Some(hint)) => error.hint(format!("did you mean `{near}`? {hint}")),
            _ => error,
        }
    })
}

/// Where each of some columns stands. The same one twice is a `config` error.
pub fn find_all(schema: &Schema, names: &[String]) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let at = find(schema, name)?;
        if found.contains(&at) {
            return Err(Error::config(format!("the column `{name}` is named twice")).hint("name it once"));
        }
        found.push(at);
    }
    Ok(found)
}

/// Of some words the one that looks most like `word`.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    words
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&wanted, &word.to_lowercase()), word))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_the_nearest_one() {
        let error = find(&schema(&["caller", "called"]), "CALER").unwrap_err();
        assert_eq!(error.message, "there is no column `CALER`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `caller`? the columns are caller, called"));
        let error = find(&schema(&["caller"]), "amount").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("the columns are caller"));
    }

    #[test]
    fn a_name_that_two_columns_have_names_none_of_them() {
        let error = find(&schema(&["n", "m", "n"]), "n").unwrap_err();
        assert_eq!(error.message, "two columns are named `n`");
        assert_eq!(find(&schema(&["n", "m", "n"]), "m"), Ok(1));
    }

    #[test]
    fn a_column_cannot_be_named_twice() {
        let names = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
        let error = find_all(&schema(&["b", "a"]), &names).unwrap_err();
        assert_eq!(error.message, "the column `a` is named twice");
        assert_eq!(find_all(&schema(&["b", "a"]), &names[..2]), Ok(vec![1, 0]));
    }
}
