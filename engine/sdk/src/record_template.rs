//! Texts that a component fills in for each record, such as the subject of a mail:
//! `{{ record.pipeline }} has failed`. Those of the whole run are [`crate::types::Template`]s.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::RecordBatch;
use engine_abi::{Error, Result};
use minijinja::value::{Enumerator, Object, ObjectExt as _};
use minijinja::{AutoEscape, Environment, ErrorKind, Value, escape_formatter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::columns::JsonRows;

/// Steps after which a template is stopped, for each text that is made: a table of 10,000 records takes some of them,
/// a loop without an end all.
const FUEL: u64 = 50_000_000;
/// The name under which an environment has its one template.
const NAME: &str = "it";

/// A template as it stands in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RecordTemplate(String);

impl From<&str> for RecordTemplate {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl JsonSchema for RecordTemplate {
    fn schema_name() -> Cow<'static, str> {
        "RecordTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "record-template"})
    }
}

/// What values become in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// What they are.
    Nothing,
    /// Text inside of HTML.
    Html,
}

/// A template that can be filled in.
#[derive(Debug)]
pub struct Text {
    setting: String,
    environment: Environment<'static>,
}

impl RecordTemplate {
    /// As it stands in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether records change anything about it.
    pub fn is_fixed(&self) -> bool {
        !["{{", "{%", "{#"].iter().any(|mark| self.0.contains(mark))
    }

    /// Reads the template of a setting. `names`: what it may name, such as `record`.
    ///
    /// # Errors
    /// `Config`, where it is faulty or names something else.
    pub fn compile(&self, setting: &str, names: &[&str], escape: Escape) -> Result<Text> {
        let mut environment = engine_template::environment(FUEL);
        // What has no value leaves no trace.
        environment.set_formatter(
            |out, state, value| {
                if value.is_none() { Ok(()) } else { escape_formatter(out, state, value) }
            },
        );
        environment.set_auto_escape_callback(move |_| match escape {
            Escape::Nothing => AutoEscape::None,
            Escape::Html => AutoEscape::Html,
        });
        environment.add_template_owned(NAME, self.0.clone()).map_err(|error| faulty(setting, &error))?;
        let template = environment.get_template(NAME).map_err(|error| faulty(setting, &error))?;
        let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        let functions: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        unknown.retain(|name| !names.contains(&name.as_str()) && !functions.contains(&name.as_str()));
        unknown.sort();
        if let Some(name) = unknown.first() {
            let known: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            return Err(Error::config(format!("the template `{setting}` knows no `{name}`"))
                .hint(format!("it can name {}", known.join(", "))));
        }
        Ok(Text { setting: setting.to_owned(), environment })
    }
}

impl Text {
    /// The text, with these values under their names.
    ///
    /// # Errors
    /// `Config`, where a value is missing or cannot be worked with.
    pub fn fill(&self, values: &Value) -> Result<String> {
        let template = self.environment.get_template(NAME).map_err(|error| faulty(&self.setting, &error))?;
        template.render(values).map_err(|error| faulty(&self.setting, &error))
    }
}

/// A JSON value whose texts are templates. One that is a single `{{ … }}` becomes the value that stands there:
/// `"{{ page.offset }}"` is a number.
#[derive(Debug)]
pub enum JsonTemplate {
    /// Nothing to fill in.
    Fixed(serde_json::Value),
    /// A text with values in it.
    Text(Text),
    /// A value.
    Value(Expression),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object.
    Object(Vec<(String, JsonTemplate)>),
}

/// What stands in a single `{{ … }}`.
#[derive(Debug)]
pub struct Expression {
    setting: String,
    source: String,
    environment: Environment<'static>,
}

impl JsonTemplate {
    /// Reads the templates in the value of a setting. `names`: what they may name.
    ///
    /// # Errors
    /// `Config`, where one is faulty or names something else.
    pub fn compile(setting: &str, value: &serde_json::Value, names: &[&str]) -> Result<Self> {
        Ok(match value {
            serde_json::Value::String(text) => Self::text(setting, text, names)?,
            serde_json::Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::compile(setting, item, names)).collect::<Result<_>>()?)
            }
            serde_json::Value::Object(members) => {
                let member = |(name, value): (&String, _)| Ok((name.clone(), Self::compile(setting, value, names)?));
                Self::Object(members.iter().map(member).collect::<Result<_>>()?)
            }
            fixed => Self::Fixed(fixed.clone()),
        })
    }

    fn text(setting: &str, text: &str, names: &[&str]) -> Result<Self> {
        let template = RecordTemplate::from(text);
        if template.is_fixed() {
            return Ok(Self::Fixed(text.into()));
        }
        let compiled = template.compile(setting, names, Escape::Nothing)?;
        let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        Ok(match inner.filter(|inner| !inner.contains("{{") && !inner.contains("}}")) {
            Some(inner) => {
                // `{{- … -}}` trims what stands around it, and here nothing does.
                let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
                let source = inner.strip_suffix(['-', '+']).unwrap_or(inner).trim().to_owned();
                compiled.environment.compile_expression(&source).map_err(|error| faulty(setting, &error))?;
                Self::Value(Expression { setting: setting.to_owned(), source, environment: compiled.environment })
            }
            None => Self::Text(compiled),
        })
    }

    /// The value, with these values under their names.
    ///
    /// # Errors
    /// `Config`, where a value is missing or cannot be worked with.
    pub fn fill(&self, values: &Value) -> Result<serde_json::Value> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text) => text.fill(values)?.into(),
            Self::Value(expression) => expression.fill(values)?,
            Self::List(items) => {
                serde_json::Value::Array(items.iter().map(|item| item.fill(values)).collect::<Result<_>>()?)
            }
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| Ok((name.clone(), value.fill(values)?));
                serde_json::Value::Object(members.iter().map(member).collect::<Result<_>>()?)
            }
        })
    }
}

impl Expression {
    fn fill(&self, values: &Value) -> Result<serde_json::Value> {
        let faulty = |error: minijinja::Error| faulty(&self.setting, &error);
        let value = self.environment.compile_expression(&self.source).and_then(|it| it.eval(values)).map_err(faulty)?;
        if value.is_undefined() {
            return Err(faulty(ErrorKind::UndefinedError.into()));
        }
        serde_json::to_value(&value).map_err(|error| {
            Error::config(format!("the template `{}` gives no value: {error}", self.setting))
                .hint("it must give a text, a number, a truth value, a list or an object")
        })
    }
}

fn faulty(setting: &str, error: &minijinja::Error) -> Error {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let hint = match error.kind() {
        ErrorKind::UndefinedError => {
            "write names of columns as in the stream: `{{ record.NAME }}`, or \
                                      `{{ record.NAME | default('…') }}` for one that may be missing"
        }
        ErrorKind::OutOfFuel => "it takes too many steps: make it shorter",
        _ => "a template looks like `{{ record.NAME }}`",
    };
    Error::config(format!("the template `{setting}` cannot be filled in: {what}")).hint(hint)
}

/// The rows of a batch, one value each: texts, whole numbers, truth values, lists and objects; every other
/// number is the text of its digits, and what has no value is `none`, of which a text shows nothing.
///
/// # Errors
/// `Config`, where a column has no form as text.
pub fn records(batch: &RecordBatch) -> Result<impl Iterator<Item = Value>> {
    let rows = JsonRows::new(batch, 0..batch.num_columns())?;
    let count = batch.num_rows();
    let mut line = Vec::new();
    Ok((0..count).map(move |row| {
        line.clear();
        rows.write(row, false, &mut line);
        serde_json::from_slice::<&RawValue>(&line).map(json_value).unwrap_or_default()
    }))
}

/// A value of JSON as templates see it: every number that is no whole one of 64 bits is the text of its digits.
pub fn json_value(raw: &RawValue) -> Value {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: indexmap::IndexMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
            let members = members.into_iter().map(|(name, member)| (name, json_value(member)));
            Value::from_object(Members(members.collect()))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            items.into_iter().map(json_value).collect::<Vec<_>>().into()
        }
        Some(b'"') => serde_json::from_str::<String>(text).unwrap_or_default().into(),
        Some(b't') => true.into(),
        Some(b'f') => false.into(),
        Some(b'n') | None => Value::from(()),
        // A decimal keeps all its digits.
        Some(_) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}

/// An object whose members keep their order.
#[derive(Debug)]
struct Members(indexmap::IndexMap<String, Value>);

impl Object for Members {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|members| Box::new(members.0.keys().map(|name| Value::from(name.as_str()))))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Decimal128Array, Int64Array, StringArray};
    use minijinja::context;

    use super::*;

    fn filled(template: &str, escape: Escape) -> Result<String> {
        let amount = Decimal128Array::from(vec![12_345_678_901_234_567_890]).with_precision_and_scale(38, 2).unwrap();
        let columns: [(&str, ArrayRef); 4] = [
            ("name", Arc::new(StringArray::from(vec!["<b>&"]))),
            ("count", Arc::new(Int64Array::from(vec![7]))),
            ("amount", Arc::new(amount)),
            ("nothing", Arc::new(StringArray::from(vec![None::<&str>]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let record = records(&batch).unwrap().next().unwrap();
        RecordTemplate::from(template).compile("subject", &["record"], escape)?.fill(&context! { record })
    }

    #[test]
    fn values_of_a_record_are_put_in() {
        let template = "{{ record.name }}: {{ record.count + 1 }}, {{ record.amount }}{{ record.nothing }}\n";
        assert_eq!(filled(template, Escape::Nothing).unwrap(), "<b>&: 8, 123456789012345678.90\n");
        let whole = filled("{{ record | tojson }}", Escape::Nothing).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        let expected = r#"{"name": "<b>&", "count": 7, "amount": "123456789012345678.90", "nothing": null}"#;
        assert_eq!(whole, serde_json::from_str::<serde_json::Value>(expected).unwrap());
        assert_eq!(filled("{{ record.name }}", Escape::Html).unwrap(), "&lt;b&gt;&amp;");
    }

    #[test]
    fn a_single_value_in_json_stays_what_it_is() {
        let template = serde_json::json!({
            "offset": "{{ page.offset + 1 }}", "text": "from {{ page.offset }} on", "all": ["{{ page.list }}", 7, null],
            "none": "{{ page.none }}", "plain": "{ }", "trimmed": "{{- page.offset -}}", "two": "{{ page.offset }}{{ page.offset }}",
        });
        let values = context! { page => context! { offset => 6, list => vec!["a"], none => () } };
        let compiled = JsonTemplate::compile("body", &template, &["page"]).unwrap();
        let expected = serde_json::json!({
            "offset": 7, "text": "from 6 on", "all": [["a"], 7, null], "none": null, "plain": "{ }", "trimmed": 6, "two": "66",
        });
        assert_eq!(compiled.fill(&values).unwrap(), expected);
        let unknown = JsonTemplate::compile("body", &serde_json::json!(["{{ pag.offset }}"]), &["page"]).unwrap_err();
        assert!(unknown.message.contains("`body` knows no `pag`"), "{unknown}");
        let missing = JsonTemplate::compile("body", &serde_json::json!("{{ page.of }}"), &["page"]).unwrap();
        assert!(missing.fill(&values).unwrap_err().message.contains("`body`"));
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told_with_its_setting() {
        for (template, says) in [
            ("{{ record.name", "cannot be filled in"),
            ("{{ recrod.name }}", "knows no `recrod`"),
            ("{{ record.none }}", "cannot be filled in"),
            ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "cannot be filled in"),
        ] {
            let error = filled(template, Escape::Nothing).unwrap_err();
            assert!(error.message.contains("`subject`") && error.message.contains(says), "{error}");
            assert!(error.hint.is_some(), "{error}");
        }
    }
}
