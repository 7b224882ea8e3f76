//! The config of one component: references, secrets, formats and schema.

use std::collections::BTreeSet;

use engine_abi::ComponentDescription;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::names::quoted;
use crate::node::Config;
use crate::params::Params;
use crate::references::{Environment, has_reference, is_inline_secret, substitute};
use crate::render::url_passwords;
use crate::schema_errors::Report;
use crate::schema_walk::{Facets, is_within};
use crate::source::Span;
use crate::template;
use crate::units::{parse_bytes, parse_duration};

/// A config with its references replaced, and what its parts are.
pub(crate) struct Examined {
    pub(crate) value: Value,
    /// JSON Pointers of templates, in order.
    pub(crate) templates: Vec<String>,
    /// Those of them that may also be numbers and truth values.
    pub(crate) typed: Vec<String>,
    /// JSON Pointers of secrets, in order.
    pub(crate) secrets: Vec<String>,
}

/// Where the config stands and how strictly it is taken.
pub(crate) struct Examination<'a> {
    pub(crate) component: &'a ComponentDescription,
    /// Where the component is named.
    pub(crate) span: &'a Span,
    pub(crate) environment: &'a dyn Environment,
    /// What templates can name.
    pub(crate) params: &'a Params,
    /// How much a reference weighs that leads nowhere.
    pub(crate) missing: Severity,
    /// Whether required settings may be missing, as in a connection.
    pub(crate) partial: bool,
}

impl Examination<'_> {
    /// Looks at a config from all sides.
    pub(crate) fn of(&self, config: &Config, diagnostics: &mut Diagnostics) -> Examined {
        let schema = &self.component.schema;
        let facets = Facets::of(schema, &config.object());
        let secrets: Vec<String> = facets.with_format("secret").map(str::to_owned).collect();
        self.hide_secrets(config, &secrets, diagnostics);
        let replaced = substitute(config, &facets, self.environment, self.missing, diagnostics);
        let unknown = |pointer: &str| replaced.unknown.iter().any(|unknown| is_within(pointer, unknown));
        let (mut templates, mut typed) = (Vec::new(), Vec::new());
        for pointer in facets.with_format("template") {
            let Some(text) = replaced.value.pointer(pointer).and_then(Value::as_str) else { continue };
            templates.push(pointer.to_owned());
            if facets.allows(pointer, "number") {
                typed.push(pointer.to_owned());
            }
            if let (false, Err(fault)) = (unknown(pointer), template::check(text, self.params)) {
                let found = Diagnostic::error("bad-template", fault.message).hint(fault.hint);
                let span = self.place(config, pointer);
                diagnostics.push(found.at(&fault.part.map_or_else(|| span.clone(), |part| span.find(&part))));
            }
        }
        let outside: BTreeSet<String> = replaced.from_outside.clone();
        for (format, code) in [("duration", "bad-duration"), ("bytes", "bad-size")] {
            for pointer in facets.with_format(format).filter(|pointer| !unknown(pointer)) {
                let Some(text) = replaced.value.pointer(pointer).and_then(Value::as_str) else { continue };
                let read =
                    if format == "bytes" { parse_bytes(text).err() } else { parse_duration(text).map(drop).err() };
                let Some(problem) = read else { continue };
                let setting = pointer.rsplit('/').next().unwrap_or(pointer);
                let shown = if outside.contains(pointer) { "the value".to_owned() } else { quoted(text) };
                let found = Diagnostic::error(code, format!("{shown} is not right for `{setting}`"));
                let hint = if outside.contains(pointer) { general_form(format).to_owned() } else { problem };
                diagnostics.push(found.at(&self.place(config, pointer)).hint(hint));
            }
        }
        self.validate(config, &replaced.value, &facets, &replaced.unknown, &outside, diagnostics);
        Examined { value: replaced.value, templates, typed, secrets }
    }

    fn validate(
        &self,
        config: &Config,
        value: &Value,
        facets: &Facets,
        unknown: &BTreeSet<String>,
        outside: &BTreeSet<String>,
        diagnostics: &mut Diagnostics,
    ) {
        let mut schema = self.component.schema.clone();
        if let (true, Some(object)) = (self.partial, schema.as_object_mut()) {
            object.remove("required");
        }
        let validator = jsonschema::options().should_validate_formats(false).build(&schema);
        let validator = match validator {
            Ok(validator) => validator,
            Err(error) => {
                let name = &self.component.name;
                let found = Diagnostic::error("broken-component", format!("the schema of `{name}` is no JSON Schema"));
                diagnostics.push(found.at(self.span).note(error.to_string()).hint("report it to the module's author"));
                return;
            }
        };
        let mut report = Report {
            component: self.component,
            schema: &schema,
            config,
            span: self.span,
            facets,
            unknown,
            outside,
            diagnostics,
        };
        for error in validator.iter_errors(value) {
            report.add(&error);
        }
    }

    /// Keeps secrets out of excerpts, and says which of them stand in the file.
    fn hide_secrets(&self, config: &Config, secrets: &[String], diagnostics: &mut Diagnostics) {
        for secret in secrets {
            for (pointer, place) in config.places.iter().filter(|(pointer, _)| is_within(pointer, secret)) {
                let Some(value) = config.value.pointer(pointer) else { continue };
                if value.is_object() || value.is_array() {
                    continue;
                }
                let text = value.as_str().unwrap_or_default();
                let refers = has_reference(text);
                if !refers || !url_passwords(text).is_empty() {
                    place.value.hide();
                }
                if !is_inline_secret(text) {
                    continue;
                }
                if refers {
                    hide_defaults(&place.value);
                }
                let setting = pointer.rsplit('/').next().unwrap_or(pointer);
                let variable = variable_name(&format!("{}_{setting}", self.component.name));
                let found = Diagnostic::warning("inline-secret", format!("the secret `{setting}` stands in the file"));
                let hint = format!("write `${{env:{variable}}}` and set the variable, or put it into `.env`");
                diagnostics.push(found.at(&place.value).hint(hint));
            }
        }
    }

    fn place(&self, config: &Config, pointer: &str) -> Span {
        config.place(pointer).map_or_else(|| self.span.clone(), |place| place.value.clone())
    }
}

/// A name that an environment variable can have.
fn variable_name(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' }).collect()
}

/// The default of a reference to a secret is a secret as well.
fn hide_defaults(span: &Span) {
    let text = span.text();
    let mut from = 0;
    while let Some(at) = text[from..].find(":-").map(|at| from + at + 2) {
        let end = text[at..].find('}').map_or(text.len(), |end| at + end);
        let start = span.range().start;
        if end > at {
            span.source().span(start + at..start + end).hide();
        }
        from = end;
    }
}

fn general_form(format: &str) -> &'static str {
    match format {
        "bytes" => "a size is a whole number and a unit, such as `64KiB`, `1MiB` or `10GB`",
        _ => "a duration is a whole number and a unit, such as `500ms`, `2s`, `1m`, `1h` or `1d`",
    }
}

#[cfg(test)]
mod tests {
    use super::variable_name;

    #[test]
    fn a_variable_is_named_as_a_shell_can_set_it() {
        assert_eq!(variable_name("adbc_adbc.snowflake.sql.db"), "ADBC_ADBC_SNOWFLAKE_SQL_DB");
        assert_eq!(variable_name("http_x-api-key"), "HTTP_X_API_KEY");
    }
}
