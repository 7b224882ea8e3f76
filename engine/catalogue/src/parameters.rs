//! The parameters of a report: those of its row, those that every run has, and what templates call them.

use std::collections::BTreeMap;

use engine_spec::OF_EVERY_RUN;
use serde_json::{Map, Value, json};

use crate::texts;

/// What a report's texts can name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    /// Those of the row, by the engine's names: what `params:` of a pipeline says of each.
    declared: Map<String, Value>,
    /// The engine's names by those of the row.
    called: BTreeMap<String, String>,
}

impl Parameters {
    /// Reads `{"name": default, …}`, `{"name": {"type", "default"}, …}` or `[{"name", "type", "default"}, …]`.
    /// `scheduled`: what every run has is that of the schedule, and not a default of the same name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &str, scheduled: bool) -> Result<Self, String> {
        let mut found = Self::default();
        for (name, said) in entries(text)? {
            let own = own_name(&name);
            if found.called.values().any(|known| *known == own) {
                return Err(format!("`parameters`: two of them are called `{own}`"));
            }
            found.called.insert(name.clone(), own.clone());
            let of_every_run = OF_EVERY_RUN.contains(&own.as_str());
            if of_every_run && (scheduled || said.default.is_none()) {
                continue;
            }
            let mut param = Map::new();
            if let Some(kind) = said.kind {
                param.insert("type".into(), json!(kind));
            }
            if let Some(default) = said.default {
                param.insert("default".into(), default_of(&name, default)?);
            }
            // One that says nothing is a text.
            param.entry("type").or_insert_with(|| json!(kind_of(said.value.as_ref())));
            found.declared.insert(own, param.into());
        }
        Ok(found)
    }

    /// What the pipeline says under `params:`.
    pub(crate) fn declared(&self) -> &Map<String, Value> {
        &self.declared
    }

    /// What a template of the engine has in the place of a name; none, where there is no such parameter.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.own(name).map(|own| format!("{{{{ params.{own} }}}}"))
    }

    /// The engine's name of a parameter.
    pub(crate) fn own(&self, name: &str) -> Option<String> {
        let of_every_run = OF_EVERY_RUN.iter().find(|known| **known == name).map(|name| (*name).to_owned());
        self.called.get(name).cloned().or(of_every_run)
    }

    /// The engine's names by those of the row.
    pub(crate) fn called(&self) -> &BTreeMap<String, String> {
        &self.called
    }

    /// A parameter that no run of a schedule could have a value for.
    pub(crate) fn without_value<'a>(&self, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
        let mut names = names;
        names.find(|name| {
            let declared = self.own(name).and_then(|own| self.declared.get(&own));
            declared.is_some_and(|param| param.get("default").is_none())
        })
    }
}

struct Said {
    kind: Option<&'static str>,
    default: Option<Value>,
    value: Option<Value>,
}

fn entries(text: &str) -> Result<Vec<(String, Said)>, String> {
    let entries: Vec<(String, Value)> = match json_of("parameters", text)? {
        Value::Null => Vec::new(),
        Value::Object(object) => object.into_iter().collect(),
        Value::Array(items) => {
            let named = |item: Value| {
                let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
                name.map(|name| (name, item)).ok_or("`parameters`: an element of the list has no `name`".to_owned())
            };
            items.into_iter().map(named).collect::<Result<_, _>>()?
        }
        _ => return Err("`parameters` is no object: write {\"name\": default}".into()),
    };
    entries.into_iter().map(|(name, value)| Ok((name.clone(), said(&name, value)?))).collect()
}

fn said(name: &str, value: Value) -> Result<Said, String> {
    let Value::Object(object) = value else {
        let default = Some(value.clone()).filter(|value| !value.is_null());
        return Ok(Said { kind: None, default, value: Some(value) });
    };
    let kind = match object.get("type").and_then(Value::as_str).map(str::to_lowercase).as_deref() {
        None => None,
        Some("string" | "text" | "str" | "varchar") => Some("text"),
        Some("int" | "integer" | "bigint") => Some("integer"),
        Some("number" | "float" | "double" | "decimal") => Some("number"),
        Some("bool" | "boolean") => Some("boolean"),
        Some("date") => Some("date"),
        Some("datetime" | "timestamp") => Some("datetime"),
        Some(other) => {
            return Err(format!(
                "`parameters`: `{name}` is of no type `{other}`; there are text, integer, number, boolean, date and datetime"
            ));
        }
    };
    let default = ["default", "default_value", "value"].iter().find_map(|key| object.get(*key)).cloned();
    let default = default.filter(|value| !value.is_null());
    Ok(Said { kind, value: default.clone(), default })
}

fn kind_of(value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(number)) if number.is_i64() => "integer",
        Some(Value::Number(_)) => "number",
        _ => "text",
    }
}

/// A default: a text may name what every run has.
fn default_of(name: &str, default: Value) -> Result<Value, String> {
    match default {
        Value::String(text) => {
            let of_run = |name: &str| OF_EVERY_RUN.contains(&name).then(|| format!("{{{{ params.{name} }}}}"));
            let made = texts::template(&text, of_run);
            // A parameter's default is no setting of a stage: nothing in it is a reference.
            let made = made.map_err(|why| format!("`parameters`: the default of `{name}`: {why}"))?;
            Ok(Value::String(made.replace("$${", "${")))
        }
        Value::Array(_) | Value::Object(_) => Err(format!("`parameters`: the default of `{name}` is not one value")),
        value => Ok(value),
    }
}

/// The engine's name: small letters, digits and `_`.
fn own_name(name: &str) -> String {
    let mut own = String::new();
    for letter in name.chars() {
        match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => own.push(letter),
            _ => own.push('_'),
        }
    }
    if own.starts_with(|first: char| first.is_ascii_lowercase()) { own } else { format!("p{own}") }
}

/// JSON of a column, which may be empty.
///
/// # Errors
/// Where it is none, without the text: it may hold secrets.
pub(crate) fn json_of(column: &str, text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text)
        .map_err(|error| format!("`{column}` is not JSON: line {}, column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_each_of_their_forms() {
        for text in [
            r#"{"Region": "EU", "most": 5}"#,
            r#"{"Region": {"type": "string", "default": "EU"}, "most": {"type": "int", "default": 5}}"#,
            r#"[{"name": "Region", "default": "EU"}, {"name": "most", "default_value": 5}]"#,
        ] {
            let found = Parameters::read(text, true).unwrap();
            assert_eq!(found.declared()["region"], json!({"type": "text", "default": "EU"}), "{text}");
            assert_eq!(found.declared()["most"], json!({"type": "integer", "default": 5}), "{text}");
            assert_eq!(found.value("Region").unwrap(), "{{ params.region }}");
            assert_eq!(found.value("end_date").unwrap(), "{{ params.end_date }}");
            assert_eq!(found.value("other"), None);
        }
    }

    #[test]
    fn a_schedule_has_the_range_of_its_run_and_a_report_on_demand_its_defaults() {
        let text = r#"{"start_date": "2026-01-01", "day": "{{yesterday}}"}"#;
        assert!(Parameters::read(text, true).unwrap().declared().get("start_date").is_none());
        let on_demand = Parameters::read(text, false).unwrap();
        assert_eq!(on_demand.declared()["start_date"]["default"], "2026-01-01");
        assert_eq!(on_demand.declared()["day"]["default"], "{{ params.yesterday }}");
    }

    #[test]
    fn what_is_wrong_is_told_without_its_text() {
        for text in
            ["{\"a\": \"hunter2\"", "[1]", "5", r#"{"a": [1]}"#, r#"{"a": {"type": "blob"}}"#, r#"{"a": 1, "A": 2}"#]
        {
            let why = Parameters::read(text, true).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
