//! What a document looks like, as a configuration writes it.

use std::borrow::Cow;

use engine_sdk::prelude::*;
use indexmap::IndexMap;
use schemars::{Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde_json::Map;

use crate::names::{Names, nearest};

/// The words that make something else of a mapping than an object.
const WORDS: [&str; 4] = ["column", "constant", "each", "object"];

/// A column that rows are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub column: String,
    /// Whether the largest value comes first.
    pub descending: bool,
}

impl Order {
    /// Reads `COLUMN`, `COLUMN asc` and `COLUMN desc`.
    pub fn parse(text: &str) -> Self {
        let (column, descending) = match text.rsplit_once(' ') {
            Some((column, "desc")) => (column, true),
            Some((column, "asc")) => (column, false),
            _ => (text, false),
        };
        Self { column: column.trim().to_owned(), descending }
    }
}

/// The fields of a document, as they were written. What stands in them is read by [`Node::document`].
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Document(Map<String, Value>);

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "Document".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({"type": "object", "minProperties": 1, "additionalProperties": true})
    }
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// The first value that there is in a column.
    Column {
        /// The column.
        name: String,
        /// What stands there where there is no value.
        default: Option<Value>,
    },
    /// A text, a number, true, false or null.
    Constant(Value),
    /// Fields by name, in their order.
    Object(IndexMap<String, Node>),
    /// An element for each of the rows, or of groups of them.
    Each(Box<Each>),
    /// Elements one by one.
    List(Vec<Node>),
}

/// A list that rows make.
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    /// What a row, or a group of them, becomes.
    pub element: Node,
    /// Columns that make rows one element. None: every row is one.
    pub distinct: Vec<String>,
    /// Columns that a row must have values in.
    pub present: Vec<String>,
    /// How the rows are sorted.
    pub order: Vec<Order>,
    /// The most elements.
    pub limit: Option<usize>,
}

impl Node {
    /// Reads the whole of a document.
    pub fn document(document: &Document) -> Result<Self> {
        Self::object("document", &document.0)
    }

    fn read(path: &str, value: &Value) -> Result<Self> {
        Ok(match value {
            Value::String(name) => Self::Column { name: name.clone(), default: None },
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Constant(value.clone()),
            Value::Array(elements) if elements.is_empty() => {
                return Err(Error::config(format!("`{path}` is a list without elements"))
                    .hint("write its elements, or `each:` for one of each row"));
            }
            Value::Array(elements) => {
                let elements = elements.iter().enumerate();
                Self::List(elements.map(|(at, it)| Self::read(&format!("{path}[{at}]"), it)).collect::<Result<_>>()?)
            }
            Value::Object(members) => match WORDS.into_iter().find(|word| members.contains_key(*word)) {
                Some("column") => Self::column(path, members)?,
                Some("constant") => Self::constant(path, members)?,
                Some("each") => Self::Each(Box::new(Each::read(path, members)?)),
                Some(_) => {
                    require_known(path, members, &["object"])?;
                    match &members["object"] {
                        Value::Object(fields) => Self::object(&format!("{path}.object"), fields)?,
                        _ => return Err(wrong(path, "object", "the fields of an object by their names")),
                    }
                }
                None => Self::object(path, members)?,
            },
        })
    }

    fn object(path: &str, members: &Map<String, Value>) -> Result<Self> {
        if members.is_empty() {
            return Err(Error::config(format!("`{path}` is an object without fields")).hint("write its fields"));
        }
        let fields = members.iter();
        let fields = fields.map(|(name, it)| Ok((name.clone(), Self::read(&format!("{path}.{name}"), it)?)));
        Ok(Self::Object(fields.collect::<Result<_>>()?))
    }

    fn column(path: &str, members: &Map<String, Value>) -> Result<Self> {
        require_known(path, members, &["column", "default"])?;
        let Value::String(name) = &members["column"] else { return Err(wrong(path, "column", "a column's name")) };
        let default = members.get("default").filter(|it| !it.is_null()).cloned();
        if default.as_ref().is_some_and(|it| it.is_object() || it.is_array()) {
            return Err(wrong(path, "default", "a text, a number, true or false"));
        }
        Ok(Self::Column { name: name.clone(), default })
    }

    fn constant(path: &str, members: &Map<String, Value>) -> Result<Self> {
        require_known(path, members, &["constant"])?;
        match &members["constant"] {
            Value::Object(_) | Value::Array(_) => Err(wrong(path, "constant", "a text, a number, true, false or null")),
            constant => Ok(Self::Constant(constant.clone())),
        }
    }

    /// The names of all columns in it.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column { name, .. } => vec![name],
            Self::Constant(_) => Vec::new(),
            Self::Object(fields) => fields.values().flat_map(Self::columns).collect(),
            Self::List(elements) => elements.iter().flat_map(Self::columns).collect(),
            Self::Each(each) => {
                let mut columns = each.element.columns();
                columns.extend(each.distinct.iter().chain(&each.present).map(String::as_str));
                columns.extend(each.order.iter().map(|order| order.column.as_str()));
                columns
            }
        }
    }
}

impl Each {
    fn read(path: &str, members: &Map<String, Value>) -> Result<Self> {
        require_known(path, members, &["each", "distinct", "present", "order", "limit"])?;
        let limit = match members.get("limit") {
            None => None,
            Some(limit) => {
                let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
                Some(limit.ok_or_else(|| wrong(path, "limit", "a whole number from 1"))?)
            }
        };
        Ok(Self {
            element: Node::read(&format!("{path}.each"), &members["each"])?,
            distinct: names(path, "distinct", members)?,
            present: names(path, "present", members)?,
            order: names(path, "order", members)?.iter().map(|text| Order::parse(text)).collect(),
            limit,
        })
    }
}

fn names(path: &str, word: &str, members: &Map<String, Value>) -> Result<Vec<String>> {
    let Some(value) = members.get(word) else { return Ok(Vec::new()) };
    let names = serde_json::from_value::<Names>(value.clone()).ok();
    let names = names.filter(|names| !names.list().is_empty());
    Ok(names.ok_or_else(|| wrong(path, word, "a column's name, or a list of names"))?.list().to_vec())
}

fn wrong(path: &str, word: &str, wanted: &str) -> Error {
    Error::config(format!("`{path}.{word}` must be {wanted}"))
        .hint(format!("where `{word}` is a field of the document, put the fields around it under `object:`"))
}

fn require_known(path: &str, members: &Map<String, Value>, known: &[&str]) -> Result<()> {
    let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let word = known[0];
    let near = nearest(unknown, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    let what = format!("`{path}` has `{word}`, which takes no `{unknown}` beside it");
    Err(Error::config(what).hint(format!(
        "{}beside `{word}` may stand: {}; where `{word}` is a field of the document, put the fields under `object:`",
        near.unwrap_or_default(),
        if known.len() > 1 { known[1..].join(", ") } else { "nothing".into() }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: Value) -> Result<Node> {
        Node::document(&serde_json::from_value(document).unwrap())
    }

    fn column(name: &str) -> Node {
        Node::Column { name: name.into(), default: None }
    }

    #[test]
    fn a_text_is_a_column_and_what_else_stands_for_itself_does() {
        let Node::Object(fields) = read(json!({
            "a": "A", "n": 1.5, "nothing": null, "text": {"constant": "A"},
            "d": {"column": "D", "default": 0}, "o": {"p": "P"}, "words": {"object": {"each": "E", "column": "C"}},
            "fixed": ["A", {"constant": true}],
        }))
        .unwrap() else {
            panic!()
        };
        assert_eq!(fields["a"], column("A"));
        assert_eq!(fields["n"], Node::Constant(json!(1.5)));
        assert_eq!(fields["nothing"], Node::Constant(Value::Null));
        assert_eq!(fields["text"], Node::Constant(json!("A")));
        assert_eq!(fields["d"], Node::Column { name: "D".into(), default: Some(json!(0)) });
        assert_eq!(fields["o"], Node::Object([("p".to_owned(), column("P"))].into_iter().collect()));
        let words = [("each".to_owned(), column("E")), ("column".to_owned(), column("C"))];
        assert_eq!(fields["words"], Node::Object(words.into_iter().collect()));
        assert_eq!(fields["fixed"], Node::List(vec![column("A"), Node::Constant(json!(true))]));
    }

    #[test]
    fn a_list_says_which_rows_become_elements() {
        let each = json!({"each": "E", "distinct": "D", "present": ["P"], "order": ["O desc", "a b"], "limit": 2});
        let Node::Object(fields) = read(json!({"list": each})).unwrap() else { panic!() };
        let Node::Each(each) = &fields["list"] else { panic!() };
        let order = |column: &str, descending| Order { column: column.into(), descending };
        assert_eq!(each.order, [order("O", true), order("a b", false)]);
        assert_eq!(fields["list"].columns(), ["E", "D", "P", "O", "a b"]);
        assert_eq!(Order::parse("x desc asc"), order("x desc", false));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (document, said, hint) in [
            (json!({"a": {}}), "`document.a` is an object without fields", "write its fields"),
            (json!({"a": [{"b": []}]}), "`document.a[0].b` is a list without elements", "each"),
            (
                json!({"a": {"each": "E", "distnct": "D"}}),
                "`document.a` has `each`, which takes no `distnct`",
                "did you mean `distinct`?",
            ),
            (json!({"a": {"each": "E", "limit": 0}}), "`document.a.limit` must be a whole number from 1", "object:"),
            (json!({"a": {"each": "E", "order": 1}}), "`document.a.order` must be a column's name", "object:"),
            (json!({"a": {"column": 1}}), "`document.a.column` must be a column's name", "object:"),
            (json!({"a": {"column": "C", "default": []}}), "`document.a.default` must be", "object:"),
            (json!({"a": {"constant": {}}}), "`document.a.constant` must be", "object:"),
            (json!({"a": {"constant": 1, "b": 1}}), "takes no `b` beside it", "may stand: nothing"),
            (json!({"a": {"object": "x"}}), "`document.a.object` must be the fields", "object:"),
        ] {
            let error = read(document).unwrap_err();
            assert!(error.message.contains(said) && error.hint.as_ref().unwrap().contains(hint), "{error}");
        }
    }
}
