//! What a JSON Schema finds wrong, as diagnostics at the right places.

use std::collections::BTreeSet;

use engine_abi::ComponentDescription;
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::{either, nearest, quoted};
use crate::node::{Config, child};
use crate::schema_walk::{Facets, is_within, referred};
use crate::source::Span;

/// Turns the errors of one config into diagnostics.
pub(crate) struct Report<'a> {
    pub(crate) component: &'a ComponentDescription,
    pub(crate) schema: &'a Value,
    pub(crate) config: &'a Config,
    /// Where the component is named.
    pub(crate) span: &'a Span,
    pub(crate) facets: &'a Facets,
    /// Parts whose value is not known: nothing can be said about them.
    pub(crate) unknown: &'a BTreeSet<String>,
    /// Parts whose value came from outside and is not shown.
    pub(crate) outside: &'a BTreeSet<String>,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

impl Report<'_> {
    /// Adds what one error means to someone who reads the file.
    pub(crate) fn add(&mut self, error: &ValidationError<'_>) {
        let pointer = error.instance_path().as_str();
        let alternatives = matches!(error.kind(), Kind::AnyOf { .. } | Kind::OneOfNotValid { .. });
        let is_unknown = self
            .unknown
            .iter()
            .any(|unknown| is_within(pointer, unknown) || (alternatives && is_within(unknown, pointer)));
        if is_unknown {
            return;
        }
        let within = parent(error.schema_path().as_str());
        let schema = self.schema.pointer(within).unwrap_or(&Value::Null);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                for key in unexpected {
                    self.unknown_key(pointer, key, schema);
                }
            }
            Kind::Required { property } => self.missing(pointer, property.as_str().unwrap_or_default(), schema),
            Kind::Type { .. } => self.wrong_type(pointer, error.instance(), schema),
            Kind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                self.not_a_choice(pointer, error.instance(), options);
            }
            Kind::Constant { expected_value } => {
                self.not_a_choice(pointer, error.instance(), std::slice::from_ref(expected_value));
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                self.alternatives(pointer, error.instance(), schema, context);
            }
            Kind::Minimum { limit } => self.out_of_range(pointer, format!("at least {limit}")),
            Kind::Maximum { limit } => self.out_of_range(pointer, format!("at most {limit}")),
            Kind::ExclusiveMinimum { limit } => self.out_of_range(pointer, format!("more than {limit}")),
            Kind::ExclusiveMaximum { limit } => self.out_of_range(pointer, format!("less than {limit}")),
            Kind::MinLength { limit: 1 } | Kind::MinItems { limit: 1 } => self.invalid(pointer, "must not be empty"),
            Kind::MinLength { limit } => self.invalid(pointer, &format!("needs at least {limit} characters")),
            Kind::MaxLength { limit } => self.invalid(pointer, &format!("has room for {limit} characters")),
            Kind::MinItems { limit } => self.invalid(pointer, &format!("needs at least {limit} items")),
            Kind::MaxItems { limit } => self.invalid(pointer, &format!("has room for {limit} items")),
            Kind::Pattern { pattern } => match pattern_choices(pattern) {
                Some(choices) => self.none_of(pointer, error.instance(), &choices),
                None => self.invalid(pointer, &format!("does not match the pattern {pattern}")),
            },
            Kind::UniqueItems => self.invalid(pointer, "holds the same item twice"),
            Kind::OneOfMultipleValid { .. } => self.invalid(pointer, "can be read in two ways; leave a part out"),
            _ => self.invalid(pointer, &format!("is not right: {}", error.masked_with("it"))),
        }
    }

    fn unknown_key(&mut self, pointer: &str, key: &str, schema: &Value) {
        let place = self.config.place(&child(pointer, key));
        let span = place.map_or(self.span, |place| place.key.as_ref().unwrap_or(&place.value));
        let message = format!("{} has no setting {}", self.subject(pointer), quoted(key));
        let found = Diagnostic::error("unknown-key", message).at(span);
        let known = properties(self.schema, schema);
        self.diagnostics.push(match nearest(key, known.iter().copied()) {
            Some(right) => found.label(format!("did you mean `{right}`?")),
            None if known.is_empty() => found.hint("remove it; there is nothing to set here"),
            None => found.hint(format!("expected {}", either(&known))),
        });
    }

    fn missing(&mut self, pointer: &str, property: &str, schema: &Value) {
        let known = properties(self.schema, schema);
        let whole = self.config.value.pointer(pointer).and_then(Value::as_object);
        let mut strangers =
            whole.into_iter().flat_map(|whole| whole.keys()).filter(|key| !known.contains(&key.as_str()));
        // A misspelt key is said to be unknown; it is not missing as well.
        if strangers.any(|key| nearest(key, known.iter().copied()) == Some(property)) {
            return;
        }
        let place = self.config.place(pointer);
        let span = place.map_or(self.span, |place| place.key.as_ref().unwrap_or(&place.value));
        let found = Diagnostic::error("missing-key", format!("{} needs `{property}`", self.subject(pointer))).at(span);
        let about = schema.pointer(&format!("/properties{}", child("", property)));
        let meaning = about.and_then(|about| summary(self.schema, about));
        let example = about.map_or_else(|| "…".to_owned(), |about| expected(self.schema, about));
        let parent = pointer.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("with");
        let found = found.hint(format!("add `{property}:` under `{parent}:` ({example})"));
        self.diagnostics.push(match meaning {
            Some(meaning) => found.note(format!("`{property}`: {meaning}")),
            None => found,
        });
    }

    fn wrong_type(&mut self, pointer: &str, value: &Value, schema: &Value) {
        let wanted = expected(self.schema, schema);
        let message = format!("expected {wanted}{}, found {}", self.purpose(pointer), self.shown(pointer, value));
        let found = Diagnostic::error("wrong-type", message).at(&self.place(pointer));
        let from_file = !self.outside.contains(pointer);
        let hint = match value {
            Value::Number(number) if from_file && wanted.contains("a duration") && !self.facets.is_secret(pointer) => {
                Some(format!("add the unit: `{number}s` are seconds"))
            }
            Value::Number(_) | Value::Bool(_) if from_file && wanted.contains("text") => {
                // What a secret holds is not repeated.
                Some(if self.facets.is_secret(pointer) {
                    "put it into quotes".to_owned()
                } else {
                    format!("put it into quotes: \"{}\"", self.place(pointer).text())
                })
            }
            Value::String(text) if from_file && text.parse::<f64>().is_ok() && wanted.contains("number") => {
                Some("remove the quotes".to_owned())
            }
            _ if !from_file => Some("the value comes from a reference; correct it there".to_owned()),
            _ => None,
        };
        self.diagnostics.push(match hint {
            Some(hint) => found.hint(hint),
            None => found,
        });
    }

    fn not_a_choice(&mut self, pointer: &str, value: &Value, options: &[Value]) {
        let words: Vec<String> = options
            .iter()
            .filter(|option| !option.is_null())
            .map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned))
            .collect();
        self.none_of(pointer, value, &words);
    }

    fn none_of(&mut self, pointer: &str, value: &Value, words: &[String]) {
        let message =
            format!("expected {}{}, found {}", either(words), self.purpose(pointer), self.shown(pointer, value));
        let found = Diagnostic::error("not-a-choice", message).at(&self.place(pointer));
        let hidden = self.outside.contains(pointer) || self.facets.is_secret(pointer);
        let near = value.as_str().filter(|_| !hidden).and_then(|text| nearest(text, words.iter().map(String::as_str)));
        self.diagnostics.push(match near {
            Some(right) => found.label(format!("did you mean `{right}`?")),
            None => found,
        });
    }

    /// None of several forms fits. Speaks about the one that was probably meant,
    /// or else about all.
    fn alternatives(
        &mut self,
        pointer: &str,
        value: &Value,
        schema: &Value,
        context: &[Vec<ValidationError<'static>>],
    ) {
        let wrong_here = |error: &ValidationError<'_>| {
            error.instance_path().as_str() == pointer && matches!(error.kind(), Kind::Type { .. } | Kind::FalseSchema)
        };
        let choice = |error: &ValidationError<'_>| matches!(error.kind(), Kind::Constant { .. } | Kind::Enum { .. });
        let fitting: Vec<_> = context.iter().filter(|errors| !errors.iter().any(wrong_here)).collect();
        let lacks = |error: &ValidationError<'_>| {
            error.instance_path().as_str() == pointer && matches!(error.kind(), Kind::Required { .. })
        };
        // All that fit are told apart by a key, and it has none of them.
        if fitting.len() > 1
            && fitting.iter().all(|errors| errors.iter().any(lacks))
            && let Some(object) = value.as_object()
        {
            let known: Vec<String> = properties(self.schema, schema).into_iter().map(str::to_owned).collect();
            let strangers: Vec<&String> = object.keys().filter(|key| !known.contains(key)).collect();
            if object.is_empty() {
                return self.none_of(pointer, value, &known);
            }
            if !strangers.is_empty() {
                return strangers.into_iter().for_each(|key| self.unknown_key(pointer, key, schema));
            }
        }
        let rank = |errors: &&&Vec<ValidationError<'static>>| (errors.iter().any(lacks), errors.len());
        let meant = fitting.iter().filter(|errors| !errors.iter().any(choice)).min_by_key(rank);
        if let Some(errors) = meant {
            for error in *errors {
                self.add(error);
            }
            return;
        }
        // All that fit are told apart by a word, and it is none of them.
        let choices: Vec<&ValidationError<'_>> =
            fitting.iter().flat_map(|errors| errors.iter()).filter(|e| choice(e)).collect();
        if let Some(first) = choices.first()
            && choices.iter().all(|error| error.instance_path() == first.instance_path())
        {
            let options: Vec<Value> = choices
                .iter()
                .flat_map(|error| match error.kind() {
                    Kind::Enum { options } => options.as_array().cloned().unwrap_or_default(),
                    Kind::Constant { expected_value } => vec![Value::clone(expected_value)],
                    _ => Vec::new(),
                })
                .collect();
            self.not_a_choice(first.instance_path().as_str(), first.instance(), &options);
            return;
        }
        self.wrong_type(pointer, value, schema);
    }

    fn out_of_range(&mut self, pointer: &str, bound: String) {
        let message = format!("`{}` must be {bound}", last(pointer));
        self.diagnostics.push(Diagnostic::error("out-of-range", message).at(&self.place(pointer)));
    }

    fn invalid(&mut self, pointer: &str, what: &str) {
        let subject = if pointer.is_empty() { self.subject("") } else { format!("`{}`", last(pointer)) };
        self.diagnostics.push(Diagnostic::error("invalid-value", format!("{subject} {what}")).at(&self.place(pointer)));
    }

    fn place(&self, pointer: &str) -> Span {
        self.config.place(pointer).map_or_else(|| self.span.clone(), |place| place.value.clone())
    }

    /// Whose settings they are.
    fn subject(&self, pointer: &str) -> String {
        let name = &self.component.name;
        if pointer.is_empty() { format!("`{name}`") } else { format!("`{}` of `{name}`", last(pointer)) }
    }

    fn purpose(&self, pointer: &str) -> String {
        if pointer.is_empty() { String::new() } else { format!(" for `{}`", last(pointer)) }
    }

    /// What was found, without what must not be shown.
    fn shown(&self, pointer: &str, value: &Value) -> String {
        let hidden = self.outside.contains(pointer) || self.facets.is_secret(pointer);
        match value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(_) | Value::Number(_) if !hidden => format!("`{value}`"),
            Value::String(text) if !hidden => format!("the text {}", quoted(text)),
            Value::Bool(_) => "`true` or `false`".to_owned(),
            Value::Number(_) => "a number".to_owned(),
            Value::String(_) if self.outside.contains(pointer) => "other text in the reference".to_owned(),
            Value::String(_) => "text".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
        }
    }
}

/// What a schema wants, in words.
fn expected(root: &Value, schema: &Value) -> String {
    let mut words = Vec::new();
    collect_expected(root, schema, 0, &mut words);
    let mut unique: Vec<String> = Vec::new();
    for word in words {
        if !unique.contains(&word) {
            unique.push(word);
        }
    }
    match unique.as_slice() {
        [] => "something else".to_owned(),
        [only] => only.clone(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

fn collect_expected(root: &Value, schema: &Value, depth: usize, words: &mut Vec<String>) {
    if depth > 8 {
        return;
    }
    if let Some(target) = referred(root, schema) {
        return collect_expected(root, target, depth + 1, words);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        for branch in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            collect_expected(root, branch, depth + 1, words);
        }
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        words.extend(options.iter().filter(|option| !option.is_null()).map(choice));
        return;
    }
    if let Some(constant) = schema.get("const") {
        words.push(choice(constant));
        return;
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let format = schema.get("format").and_then(Value::as_str);
    words.extend(names.into_iter().filter(|name| *name != "null").map(|name| {
        match (name, format) {
            ("string", Some("duration")) => "a duration such as `2s`",
            ("string", Some("bytes")) => "a size such as `64KiB`",
            ("string", _) => "text",
            ("integer", _) => "a whole number",
            ("number", _) => "a number",
            ("boolean", _) => "`true` or `false`",
            ("array", _) => "a list",
            _ => "a mapping",
        }
        .to_owned()
    }));
}

fn choice(option: &Value) -> String {
    option.as_str().map_or_else(|| format!("`{option}`"), |text| format!("`{text}`"))
}

/// The choices of a pattern such as `^(text|decimal\\([0-9]+\\))$`: words as they are,
/// and `…` for the parts that vary. None when the pattern has another form.
fn pattern_choices(pattern: &str) -> Option<Vec<String>> {
    let inner = pattern.strip_prefix("^(")?.strip_suffix(")$")?;
    let mut choices = vec![String::new()];
    let mut varies = false;
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            // What is grouped within an alternative cannot be told in a few words.
            '(' | ')' => return None,
            '|' => {
                choices.push(String::new());
                varies = false;
                continue;
            }
            '[' => {
                characters.by_ref().find(|character| *character == ']')?;
                None
            }
            '\\' => characters.next().filter(|escaped| !escaped.is_alphanumeric()),
            '.' => None,
            character => Some(character),
        };
        let repeated = characters.next_if(|next| matches!(next, '*' | '+' | '?')).is_some();
        let choice = choices.last_mut()?;
        match literal {
            Some(literal) if !repeated => {
                choice.push(literal);
                varies = false;
            }
            // Blanks that may be left out are not worth a word.
            Some(' ') => {}
            _ if !varies => {
                choice.push('…');
                varies = true;
            }
            _ => {}
        }
    }
    choices.iter().all(|choice| !choice.is_empty()).then_some(choices)
}

/// The first line of what a schema says about itself.
fn summary(root: &Value, schema: &Value) -> Option<String> {
    let text = schema.get("description").or_else(|| referred(root, schema)?.get("description"))?.as_str()?;
    text.lines().next().map(|line| line.trim_end_matches('.').to_owned()).filter(|line| !line.is_empty())
}

/// The keys that a schema names, over all branches that may apply.
fn properties<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a str> {
    const MAX_BRANCHES: usize = 100;
    let mut known = Vec::new();
    let mut left = vec![schema];
    for _ in 0..MAX_BRANCHES {
        let Some(schema) = left.pop() else { break };
        let named = schema.get("properties").and_then(Value::as_object);
        known.extend(named.into_iter().flat_map(|object| object.keys().map(String::as_str)));
        left.extend(referred(root, schema));
        let branches = ["oneOf", "anyOf", "allOf"].map(|keyword| schema.get(keyword).and_then(Value::as_array));
        left.extend(branches.into_iter().flatten().flatten());
    }
    known
}

fn parent(pointer: &str) -> &str {
    pointer.rfind('/').map_or("", |at| &pointer[..at])
}

/// The last name of a pointer, or the name of the list that an item is in.
fn last(pointer: &str) -> String {
    let mut names = pointer.rsplit('/').filter(|name| !name.is_empty());
    let name = names.next().unwrap_or_default();
    let is_index = name.bytes().all(|byte| byte.is_ascii_digit());
    let name = if is_index { names.next().unwrap_or(name) } else { name };
    name.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::pattern_choices;

    #[test]
    fn a_pattern_of_alternatives_reads_as_choices() {
        let choices = pattern_choices(r"^(text|integer|decimal\( *[0-9]+ *, *[0-9]+ *\))$").unwrap();
        assert_eq!(choices, ["text", "integer", "decimal(…,…)"]);
        for other in ["^[a-z]+$", "^(a(b|c))$", "^(|a)$", "text"] {
            assert_eq!(pattern_choices(other), None, "{other}");
        }
    }
}
