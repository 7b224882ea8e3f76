//! Parameters: values of a run that its templates name, declared with a type and a default, set from outside; and the
//! range of time that a run is about.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use engine_abi::{Error, Result};
use serde_json::{Value, json};

use crate::diagnostic::Diagnostic;
use crate::fields::Reader;
use crate::names::{either, nearest, quoted};
use crate::node::{Entry, NodeKind};
use crate::source::Span;
use crate::template::{self, TemplateVariables, render_template};

/// The parameters that every run has: the range of time that it is about.
pub const OF_EVERY_RUN: [&str; 8] = [
    "start_datetime",
    "end_datetime",
    "start_date",
    "end_date",
    "yesterday",
    "last_week",
    "execution_time",
    "interval_hours",
];
/// How a time is written, in the pipeline's zone: databases take it as it is.
const TIME: &str = "%Y-%m-%d %H:%M:%S";
/// Where the range of a pipeline's first run begins, before its end.
const FIRST: chrono::Duration = chrono::Duration::days(1);

/// What a parameter can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `2025-09-17`.
    Date,
    /// `2025-09-17 15:44:08`.
    Datetime,
}

impl ParamKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Text, Self::Integer, Self::Number, Self::Boolean, Self::Date, Self::Datetime];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Datetime => "datetime",
        }
    }

    /// A text as a value of this kind.
    fn read(self, text: &str) -> std::result::Result<Value, String> {
        let wrong = |example: &str| format!("{} is no {}; write for example `{example}`", quoted(text), self.as_str());
        match self {
            Self::Text => Ok(json!(text)),
            Self::Integer => text.trim().parse::<i64>().map(|number| json!(number)).map_err(|_| wrong("42")),
            Self::Number => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    Ok(text.trim().parse::<i64>().map_or_else(|_| json!(number), |whole| json!(whole)))
                }
                _ => Err(wrong("0.5")),
            },
            Self::Boolean => text.trim().parse::<bool>().map(|value| json!(value)).map_err(|_| wrong("true")),
            Self::Date => match text.trim().parse::<NaiveDate>() {
                Ok(date) => Ok(json!(date.to_string())),
                Err(_) => Err(wrong("2025-09-17")),
            },
            Self::Datetime => {
                let text = text.trim().replacen('T', " ", 1);
                let day = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
                match NaiveDateTime::parse_from_str(&text, TIME).ok().or_else(day) {
                    Some(time) => Ok(json!(time.format(TIME).to_string())),
                    None => Err(wrong("2025-09-17 15:44:08")),
                }
            }
        }
    }

    /// Something of this kind, to try templates out with.
    fn example(self) -> Value {
        match self {
            Self::Text => json!("text"),
            Self::Integer | Self::Number => json!(1),
            Self::Boolean => json!(true),
            Self::Date => json!("2025-01-31"),
            Self::Datetime => json!("2025-01-31 12:34:56"),
        }
    }
}

/// A parameter of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// What it can be.
    pub kind: ParamKind,
    /// Its value where nobody sets one; a text may be a template. None: it must be set.
    pub default: Option<Value>,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// The parameters that a pipeline declares, and the time zone of its dates.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// In the order of the file.
    pub declared: Vec<Param>,
    /// Dates and times are those of this zone.
    pub zone: Tz,
}

impl Default for Params {
    fn default() -> Self {
        Self { declared: Vec::new(), zone: Tz::UTC }
    }
}

impl Params {
    pub(crate) fn read(reader: &mut Reader<'_>, params: Option<&Entry>, zone: Option<&Entry>) -> Self {
        let zone = zone.and_then(|entry| self::zone(reader, entry)).unwrap_or(Tz::UTC);
        let Some(entry) = params else { return Self { zone, ..Self::default() } };
        if !matches!(entry.value.kind, NodeKind::Mapping(_)) {
            let hint = "write each parameter as `name: default`, or as `name: { type: date, default: … }`";
            reader.wrong_type(&entry.value, "a mapping for `params`", Some(hint));
            return Self { zone, ..Self::default() };
        }
        let mut known = Self { declared: Vec::new(), zone };
        let declared: Vec<_> = entry.value.entries().iter().filter_map(|entry| param(reader, entry)).collect();
        for param in &declared {
            if let Some(Value::String(text)) = &param.default {
                // A default may name what every run has, and no other parameter.
                match template::check(text, &known) {
                    Err(fault) => {
                        let found = Diagnostic::error("bad-template", fault.message).hint(fault.hint);
                        reader.diagnostics.push(found.at(&param.span));
                    }
                    Ok(()) if !text.contains("{{") && !text.contains("{%") => {
                        if let Err(problem) = param.kind.read(text) {
                            let message = format!("the default of `{}` is not of its type", param.name);
                            reader
                                .diagnostics
                                .push(Diagnostic::error("bad-default", message).at(&param.span).hint(problem));
                        }
                    }
                    Ok(()) => {}
                }
            }
        }
        known.declared = declared;
        known
    }

    /// Whether a run has a parameter of that name.
    pub fn has(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Every name that `params.` can be followed by.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let own = self.declared.iter().map(|param| param.name.clone());
        own.chain(OF_EVERY_RUN.iter().map(|name| (*name).to_owned())).collect()
    }

    /// Whether somebody has said what a run is about, instead of the time since the one before.
    pub fn sets_range(&self, set: &BTreeMap<String, String>) -> bool {
        OF_EVERY_RUN.iter().any(|name| set.contains_key(*name))
    }

    /// Made-up values for all names.
    pub fn examples(&self) -> BTreeMap<String, Value> {
        let to = DateTime::from_timestamp(1_738_326_896, 0).unwrap_or_default();
        let mut values = of_range(TimeRange::first(to), self.zone);
        for param in &self.declared {
            let written = param.default.clone().filter(|value| !value.is_string());
            values.insert(param.name.clone(), written.unwrap_or_else(|| param.kind.example()));
        }
        values
    }

    /// The values of a run. `set`: what somebody has said, by name.
    ///
    /// # Errors
    /// `Config` for a name that is not declared, a text that is not of its parameter's type, or a parameter without a
    /// value.
    pub fn values(
        &self,
        set: &BTreeMap<String, String>,
        range: TimeRange,
        variables: &TemplateVariables,
    ) -> Result<BTreeMap<String, Value>> {
        let names = self.names();
        if let Some(name) = set.keys().find(|name| !names.contains(*name)) {
            let hint = match nearest(name, names.iter().map(String::as_str)) {
                Some(right) => format!("did you mean `{right}`?"),
                None => format!("there are {}", either(&names.iter().map(String::as_str).collect::<Vec<_>>())),
            };
            return Err(Error::config(format!("the pipeline has no parameter `{name}`")).hint(hint));
        }
        let mut values = of_range(range, self.zone);
        for name in OF_EVERY_RUN {
            if let (Some(text), false) = (set.get(name), self.declared.iter().any(|param| param.name == name)) {
                let kind = if name == "interval_hours" {
                    ParamKind::Number
                } else if values[name].as_str().is_some_and(|value| value.contains(' ')) {
                    ParamKind::Datetime
                } else {
                    ParamKind::Date
                };
                values.insert(name.to_owned(), read(name, kind, text)?);
            }
        }
        if set.contains_key("start_datetime") || set.contains_key("end_datetime") {
            // As they are written they are in the order of time.
            let [from, to] = ["start_datetime", "end_datetime"].map(|name| values[name].as_str().unwrap_or_default());
            if from > to {
                return Err(Error::config(format!("`start_datetime` is {from}, after `end_datetime`, which is {to}"))
                    .hint("set both, the earlier one as `start_datetime`"));
            }
        }
        let of_run = TemplateVariables { params: values.clone(), ..variables.clone() };
        for Param { name, kind, default, .. } in &self.declared {
            let value = match (set.get(name), default) {
                (Some(text), _) => read(name, *kind, text)?,
                (None, Some(Value::String(text))) => read(name, *kind, &render_template(text, &of_run)?)?,
                (None, Some(value)) => value.clone(),
                (None, None) => {
                    return Err(Error::config(format!("the parameter `{name}` has no value"))
                        .hint(format!("set it with `--set {name}=…`, or give it a `default`")));
                }
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

fn read(name: &str, kind: ParamKind, text: &str) -> Result<Value> {
    kind.read(text).map_err(|problem| Error::config(format!("the parameter `{name}`: {problem}")))
}

/// What a run is about, in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Where the one before ends.
    pub from: DateTime<Utc>,
    /// The run's slot, or when it began.
    pub to: DateTime<Utc>,
}

impl TimeRange {
    /// That of a run before which there was nothing, and that has no schedule: a day.
    pub fn first(to: DateTime<Utc>) -> Self {
        Self { from: to - FIRST, to }
    }
}

fn of_range(range: TimeRange, zone: Tz) -> BTreeMap<String, Value> {
    let TimeRange { from, to } = range;
    let hours = (to - from).num_seconds() as f64 / 3600.0;
    let (from, to) = (from.with_timezone(&zone).naive_local(), to.with_timezone(&zone).naive_local());
    let before = |days: u64| to.date().checked_sub_days(Days::new(days)).unwrap_or(to.date()).to_string();
    let values = [
        json!(from.format(TIME).to_string()),
        json!(to.format(TIME).to_string()),
        json!(from.date().to_string()),
        json!(to.date().to_string()),
        json!(before(1)),
        json!(before(7)),
        json!(to.format(TIME).to_string()),
        // Whole hours are the usual case, and look better as such.
        if hours.fract() == 0.0 { json!(hours as i64) } else { json!((hours * 100.0).round() / 100.0) },
    ];
    OF_EVERY_RUN.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

pub(crate) fn zone(reader: &mut Reader<'_>, entry: &Entry) -> Option<Tz> {
    let text = reader.text(entry)?;
    let zone = text.parse::<Tz>();
    if zone.is_err() {
        let found = Diagnostic::error("bad-time-zone", format!("{} is no time zone", quoted(&text)));
        let found = found.at(&entry.value.span);
        reader.diagnostics.push(match nearest(&text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(right) => found.hint(format!("did you mean `{right}`?")),
            None => found.hint("time zones are named as `Europe/Dublin`, `Asia/Kolkata` or `UTC`"),
        });
    }
    zone.ok()
}

/// `name: default`, or `name: {type, default, description}`.
fn param(reader: &mut Reader<'_>, entry: &Entry) -> Option<Param> {
    let name = entry.key.clone();
    let allowed = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    if !name.starts_with(|it: char| it.is_ascii_lowercase()) || !name.chars().all(allowed) {
        let found = Diagnostic::error("bad-name", "a parameter's name has small letters, digits and `_`");
        reader.diagnostics.push(found.at(&entry.key_span).hint("begin it with a letter: templates say `params.NAME`"));
        return None;
    }
    let span = entry.key_span.clone();
    if !matches!(entry.value.kind, NodeKind::Mapping(_)) {
        let default = scalar(reader, entry)?;
        return Some(Param { name, kind: kind_of(&default), default: Some(default), description: None, span });
    }
    let fields = reader.fields(&entry.value, "a parameter", &["type", "default", "description"])?;
    let default = fields.get("default").and_then(|entry| scalar(reader, entry));
    let kind = fields.get("type").and_then(|entry| reader.choice(entry, &ParamKind::ALL, ParamKind::as_str));
    let kind = kind.or_else(|| default.as_ref().map(kind_of)).unwrap_or(ParamKind::Text);
    let default = match default {
        Some(value) if !fits(kind, &value) => {
            let message = format!("the default of `{name}` is not of its type");
            let found = Diagnostic::error("bad-default", message).at(&entry.value.span);
            reader.diagnostics.push(found.hint(format!("its type is `{}`", kind.as_str())));
            None
        }
        // What YAML takes for a number may be meant as text.
        Some(value) if kind == ParamKind::Text && !value.is_string() => Some(json!(value.to_string())),
        other => other,
    };
    let description = fields.get("description").and_then(|entry| reader.text(entry));
    Some(Param { name, kind, default, description, span })
}

/// Whether a default can be of a kind; of a text it is looked at elsewhere.
fn fits(kind: ParamKind, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::String(_)) | (ParamKind::Text, _) => true,
        (ParamKind::Integer, value) => value.is_i64(),
        (ParamKind::Number, value) => value.is_number(),
        (ParamKind::Boolean, value) => value.is_boolean(),
        (ParamKind::Date | ParamKind::Datetime, _) => false,
    }
}

fn kind_of(value: &Value) -> ParamKind {
    match value {
        Value::Bool(_) => ParamKind::Boolean,
        Value::Number(number) if number.is_i64() => ParamKind::Integer,
        Value::Number(_) => ParamKind::Number,
        _ => ParamKind::Text,
    }
}

fn scalar(reader: &mut Reader<'_>, entry: &Entry) -> Option<Value> {
    let value = entry.value.to_json();
    match value {
        Value::Null => None,
        Value::Array(_) | Value::Object(_) => {
            reader.wrong_type(&entry.value, "one value", Some("a parameter is a text, a number or a truth value"));
            None
        }
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_run_is_about_the_time_since_the_last_one_in_the_pipelines_zone() {
        let range = TimeRange { from: at("2026-03-01T17:00:00Z"), to: at("2026-03-01T19:30:00Z") };
        let values = of_range(range, chrono_tz::Asia::Kolkata);
        let text = |name: &str| values[name].as_str().unwrap().to_owned();
        assert_eq!(text("start_datetime"), "2026-03-01 22:30:00");
        assert_eq!(text("end_datetime"), "2026-03-02 01:00:00");
        assert_eq!((text("start_date"), text("end_date")), ("2026-03-01".into(), "2026-03-02".into()));
        assert_eq!((text("yesterday"), text("last_week")), ("2026-03-01".into(), "2026-02-23".into()));
        assert_eq!(text("execution_time"), text("end_datetime"));
        assert_eq!(values["interval_hours"], json!(2.5));
        let first = of_range(TimeRange::first(at("2026-03-01T19:30:00Z")), Tz::UTC);
        assert_eq!((&first["start_date"], &first["interval_hours"]), (&json!("2026-02-28"), &json!(24)));
    }

    #[test]
    fn texts_are_read_as_their_parameters_type() {
        for (kind, text, value) in [
            (ParamKind::Text, " a ", Some(json!(" a "))),
            (ParamKind::Integer, "42", Some(json!(42))),
            (ParamKind::Integer, "4.2", None),
            (ParamKind::Number, "4.5", Some(json!(4.5))),
            (ParamKind::Number, "inf", None),
            (ParamKind::Boolean, "true", Some(json!(true))),
            (ParamKind::Boolean, "yes", None),
            (ParamKind::Date, "2025-02-29", None),
            (ParamKind::Date, "2024-02-29", Some(json!("2024-02-29"))),
            (ParamKind::Datetime, "2024-02-29T10:00:00", Some(json!("2024-02-29 10:00:00"))),
            (ParamKind::Datetime, "2024-02-29", Some(json!("2024-02-29 00:00:00"))),
            (ParamKind::Datetime, "10:00", None),
        ] {
            assert_eq!(kind.read(text).ok(), value, "{kind:?} {text}");
        }
    }
}
