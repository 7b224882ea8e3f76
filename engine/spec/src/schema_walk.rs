//! What a JSON Schema says about each part of a config: types and formats.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Number, Value};

use crate::node::child;

/// How many `$ref`s are followed without a step into the config. Bounds schemas
/// that refer to themselves.
const MAX_REFERENCES: usize = 32;

/// Types and formats by JSON Pointer, over all branches of the schema that may
/// apply.
#[derive(Debug, Default)]
pub(crate) struct Facets {
    parts: BTreeMap<String, Facet>,
}

#[derive(Debug, Default)]
struct Facet {
    types: BTreeSet<String>,
    formats: BTreeSet<String>,
}

impl Facets {
    /// What `schema` says about the parts of `config`.
    pub(crate) fn of(schema: &Value, config: &Value) -> Self {
        let mut walk = Walk { root: schema, facets: Self::default(), seen: HashSet::new() };
        walk.visit(schema, config, "", 0);
        walk.facets
    }

    /// Whether a part may have a format.
    pub(crate) fn has_format(&self, pointer: &str, format: &str) -> bool {
        self.parts.get(pointer).is_some_and(|facet| facet.formats.contains(format))
    }

    /// Whether a part may be of a type, which the schema names.
    pub(crate) fn allows(&self, pointer: &str, type_name: &str) -> bool {
        self.parts.get(pointer).is_some_and(|facet| facet.types.contains(type_name))
    }

    /// The parts that may have a format, in the order of their pointers.
    pub(crate) fn with_format<'a>(&'a self, format: &'a str) -> impl Iterator<Item = &'a str> {
        self.parts.iter().filter(move |(_, facet)| facet.formats.contains(format)).map(|(pointer, _)| pointer.as_str())
    }

    /// Whether a part belongs to one that is a secret.
    pub(crate) fn is_secret(&self, pointer: &str) -> bool {
        self.with_format("secret").any(|secret| is_within(pointer, secret))
    }

    /// A text from outside as the type that the schema wants. It stays text when
    /// text is welcome or when it does not read as anything else.
    pub(crate) fn retype(&self, pointer: &str, text: String) -> Value {
        let Some(types) = self.parts.get(pointer).map(|facet| &facet.types) else { return Value::String(text) };
        let wants = |name: &str| types.contains(name);
        if types.is_empty() || wants("string") {
            return Value::String(text);
        }
        let trimmed = text.trim();
        if wants("integer") || wants("number") {
            let whole = trimmed.parse::<i64>().map(Number::from).or_else(|_| trimmed.parse::<u64>().map(Number::from));
            if let Ok(number) = whole {
                return Value::Number(number);
            }
        }
        if wants("number")
            && let Some(number) = trimmed.parse::<f64>().ok().and_then(Number::from_f64)
        {
            return Value::Number(number);
        }
        match trimmed {
            "true" if wants("boolean") => Value::Bool(true),
            "false" if wants("boolean") => Value::Bool(false),
            "" if wants("null") => Value::Null,
            _ => Value::String(text),
        }
    }
}

/// Whether a pointer names `outer` or a part of it.
pub(crate) fn is_within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The schema that a `$ref` within `root` means.
pub(crate) fn referred<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    let reference = schema.get("$ref")?.as_str()?;
    root.pointer(reference.strip_prefix('#')?)
}

struct Walk<'a> {
    root: &'a Value,
    facets: Facets,
    /// Schemas, by address, that were visited for a part: branches that meet
    /// again would otherwise multiply at every level.
    seen: HashSet<(*const Value, String)>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, schema: &'a Value, config: &Value, pointer: &str, references: usize) {
        if references > MAX_REFERENCES || !self.seen.insert((std::ptr::from_ref(schema), pointer.to_owned())) {
            return;
        }
        if let Some(target) = referred(self.root, schema) {
            self.visit(target, config, pointer, references + 1);
        }
        self.note(schema, pointer);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for branch in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                self.visit(branch, config, pointer, references + 1);
            }
        }
        for keyword in ["then", "else"] {
            if let Some(branch) = schema.get(keyword) {
                self.visit(branch, config, pointer, references + 1);
            }
        }
        match config {
            Value::Object(object) => {
                for (key, value) in object {
                    let named = schema.get("properties").and_then(|properties| properties.get(key));
                    if let Some(below) = named.or_else(|| schema.get("additionalProperties")) {
                        self.visit(below, value, &child(pointer, key), 0);
                    }
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let fixed = schema.get("prefixItems").and_then(|fixed| fixed.get(at));
                    if let Some(below) = fixed.or_else(|| schema.get("items")) {
                        self.visit(below, item, &format!("{pointer}/{at}"), 0);
                    }
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, schema: &Value, pointer: &str) {
        let mut types = BTreeSet::new();
        match schema.get("type") {
            Some(Value::String(name)) => {
                types.insert(name.clone());
            }
            Some(Value::Array(names)) => types.extend(names.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
        let choices = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        types.extend(choices.chain(schema.get("const")).map(|choice| type_of(choice).to_owned()));
        let format = schema.get("format").and_then(Value::as_str);
        if types.is_empty() && format.is_none() {
            return;
        }
        let facet = self.facets.parts.entry(pointer.to_owned()).or_default();
        facet.types.extend(types);
        facet.formats.extend(format.map(str::to_owned));
    }
}

/// The name of a value's type in JSON Schema.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
