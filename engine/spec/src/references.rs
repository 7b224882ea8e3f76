//! References to the environment within texts: `${env:NAME}`,
//! `${env:NAME:-default}` and `${file:path}`; `$${` stands for `${`.

use std::collections::BTreeSet;
use std::io;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::names::nearest;
use crate::node::{Config, child};
use crate::render::{looks_secret, url_passwords};
use crate::schema_walk::Facets;
use crate::source::Span;
use crate::template;

/// Where references lead. Given by the caller: nothing here touches the system.
pub trait Environment {
    /// The value of a variable, from the real environment or a `.env` beside the
    /// pipeline, the real one first.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file; relative paths start at the pipeline's folder.
    ///
    /// # Errors
    /// As reading the file does.
    fn file(&self, path: &str) -> io::Result<String>;
}

/// A piece of a text.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Variable { raw: &'a str, name: &'a str, default: Option<&'a str> },
    File { raw: &'a str, path: &'a str },
}

/// What is wrong with a reference.
#[derive(Debug, PartialEq)]
struct Fault<'a> {
    raw: &'a str,
    message: String,
    hint: String,
}

fn parse(text: &str) -> Result<Vec<Part<'_>>, Fault<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            parts.push(Part::Text(&rest[..at - 1]));
            parts.push(Part::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        parts.push(Part::Text(&rest[..at]));
        let Some(length) = rest[at..].find('}') else {
            let hint = "add the closing `}`, or write `$${` for a plain `${`".to_owned();
            return Err(Fault { raw: &rest[at..], message: "the reference is not closed".to_owned(), hint });
        };
        let raw = &rest[at..=at + length];
        parts.push(reference(raw)?);
        rest = &rest[at + length + 1..];
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

fn reference(raw: &str) -> Result<Part<'_>, Fault<'_>> {
    const FORMS: &str = "write `${env:NAME}`, `${env:NAME:-default}` or `${file:path}`, and `$${` for a plain `${`";
    let inner = &raw[2..raw.len() - 1];
    let Some((scheme, rest)) = inner.split_once(':') else {
        let hint =
            if is_variable(inner) { format!("did you mean `${{env:{inner}}}`? {FORMS}") } else { FORMS.to_owned() };
        return Err(Fault { raw, message: format!("`{raw}` says not where to look"), hint });
    };
    match scheme {
        "env" => {
            let (name, default) = rest.split_once(":-").map_or((rest, None), |(name, text)| (name, Some(text)));
            if !is_variable(name) {
                let hint = "a name has letters, digits and `_`, and does not start with a digit".to_owned();
                return Err(Fault { raw, message: format!("`{name}` cannot be the name of a variable"), hint });
            }
            Ok(Part::Variable { raw, name, default })
        }
        "file" if rest.is_empty() => {
            Err(Fault { raw, message: "the reference names no file".to_owned(), hint: FORMS.to_owned() })
        }
        "file" => Ok(Part::File { raw, path: rest }),
        other => {
            let hint = nearest(other, ["env", "file"]).map(|right| format!("did you mean `{right}`? "));
            let hint = format!("{}{FORMS}", hint.unwrap_or_default());
            Err(Fault { raw, message: format!("there is nothing called `{other}` to refer to"), hint })
        }
    }
}

/// Whether a text can be the name of a variable: letters, digits and `_`, no digit in front.
pub(crate) fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
}

/// Whether a text takes something from outside.
pub(crate) fn has_reference(text: &str) -> bool {
    parse(text).is_ok_and(|parts| parts.iter().any(|part| !matches!(part, Part::Text(_))))
}

/// Whether the text of a secret gives the secret away: it is written out, or the
/// default of a reference is.
pub(crate) fn is_inline_secret(text: &str) -> bool {
    let Ok(parts) = parse(text) else { return false };
    if !parts.iter().any(|part| !matches!(part, Part::Text(_))) {
        return !text.is_empty() && !is_open_address(text);
    }
    let given_away = |part: &Part<'_>| match part {
        Part::Variable { default: Some(default), .. } => !default.is_empty() && !is_open_address(default),
        _ => false,
    };
    parts.iter().any(given_away) || !url_passwords(text).is_empty()
}

/// An address without a password in it. Web addresses can be secrets as a whole.
fn is_open_address(text: &str) -> bool {
    text.contains("://") && !text.starts_with("http") && looks_secret(text).is_empty()
}

/// Whether the text of a secret can be stored as it is: it is made of references
/// without defaults, or is an address whose password is such a reference.
pub(crate) fn is_storable(text: &str) -> bool {
    let Ok(parts) = parse(text) else { return false };
    let defaults = parts.iter().any(|part| matches!(part, Part::Variable { default: Some(_), .. }));
    let plain = parts.iter().any(|part| matches!(part, Part::Text(_)));
    let names_password = text.contains("://") && text.contains(":${") && text.contains("}@");
    !defaults && (!plain || (names_password && looks_secret(text).is_empty()))
}

/// Replaces the references of a text that stands in no file. Messages call it `what`.
///
/// # Errors
/// References that are faulty, or lead nowhere.
pub fn resolve_text(text: &str, what: &str, environment: &dyn Environment) -> Result<String, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut lookup = Lookup { environment, missing: Severity::Error, diagnostics: &mut diagnostics };
    let replaced = lookup.text(text, what, None, |value| value);
    replaced.text.filter(|_| !diagnostics.has_errors()).ok_or(diagnostics)
}

/// A config whose references were replaced.
pub(crate) struct Substituted {
    /// The config. What could not be replaced stands as it was written.
    pub(crate) value: Value,
    /// JSON Pointers of texts that could not be replaced.
    pub(crate) unknown: BTreeSet<String>,
    /// JSON Pointers of texts that came from outside, whole or in part.
    pub(crate) from_outside: BTreeSet<String>,
}

/// Replaces every reference of a config. Values are taken as they are: never
/// read as YAML, never searched for references, never rendered as templates.
pub(crate) fn substitute(
    config: &Config,
    facets: &Facets,
    environment: &dyn Environment,
    missing: Severity,
    diagnostics: &mut Diagnostics,
) -> Substituted {
    let lookup = Lookup { environment, missing, diagnostics };
    let mut work = Work { config, facets, lookup, unknown: BTreeSet::new(), from_outside: BTreeSet::new() };
    let value = work.replace(&config.object(), "");
    Substituted { value, unknown: work.unknown, from_outside: work.from_outside }
}

struct Work<'a> {
    config: &'a Config,
    facets: &'a Facets,
    lookup: Lookup<'a>,
    unknown: BTreeSet<String>,
    from_outside: BTreeSet<String>,
}

impl Work<'_> {
    fn replace(&mut self, value: &Value, pointer: &str) -> Value {
        match value {
            Value::String(text) => self.text(text, pointer),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.replace(item, &format!("{pointer}/{at}")))
                .collect::<Vec<_>>()
                .into(),
            Value::Object(object) => object
                .iter()
                .map(|(key, value)| (key.clone(), self.replace(value, &child(pointer, key))))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str, pointer: &str) -> Value {
        let span = self.config.place(pointer).map(|place| place.value.clone());
        let setting = pointer.rsplit('/').next().unwrap_or(pointer);
        let is_template = self.facets.has_format(pointer, "template");
        let written = |value: String| if is_template { template::literal(&value) } else { value };
        let replaced = self.lookup.text(text, setting, span.as_ref(), written);
        if replaced.from_outside {
            self.from_outside.insert(pointer.to_owned());
        }
        match replaced.text {
            Some(value) if replaced.is_whole => self.facets.retype(pointer, value),
            Some(value) => Value::String(value),
            None => {
                self.unknown.insert(pointer.to_owned());
                Value::String(text.to_owned())
            }
        }
    }
}

/// Looks up what references stand for, and says which of them lead nowhere.
pub(crate) struct Lookup<'a> {
    pub(crate) environment: &'a dyn Environment,
    /// How much a reference weighs that leads nowhere.
    pub(crate) missing: Severity,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

/// A text with its references replaced.
pub(crate) struct Replaced {
    /// The text, unless a reference is faulty or leads nowhere.
    pub(crate) text: Option<String>,
    /// Whether it came from outside, whole or in part.
    pub(crate) from_outside: bool,
    /// Whether it is one reference and nothing else.
    pub(crate) is_whole: bool,
}

impl Lookup<'_> {
    /// Replaces the references of a text. Messages call it `setting`; `written` is how a value
    /// from outside stands in it.
    pub(crate) fn text(
        &mut self,
        text: &str,
        setting: &str,
        span: Option<&Span>,
        written: impl Fn(String) -> String,
    ) -> Replaced {
        let parts = match parse(text) {
            Ok(parts) => parts,
            Err(fault) => {
                let found = Diagnostic::error("bad-reference", fault.message).hint(fault.hint);
                self.say(found, span, fault.raw);
                return Replaced { text: None, from_outside: false, is_whole: false };
            }
        };
        let is_whole = matches!(parts.as_slice(), [Part::Variable { .. } | Part::File { .. }]);
        let mut replaced = Replaced { text: Some(String::new()), from_outside: false, is_whole };
        for part in parts {
            let value = match part {
                Part::Text(text) => Some(text.to_owned()),
                Part::Variable { raw, name, default } => {
                    let default = default.map(str::to_owned);
                    let value = self.environment.variable(name).or(default);
                    if value.is_none() {
                        self.not_set(name, setting, span, raw);
                    }
                    replaced.from_outside = true;
                    value.map(&written)
                }
                Part::File { raw, path } => {
                    replaced.from_outside = true;
                    self.file(path, span, raw).map(&written)
                }
            };
            replaced.text = replaced.text.zip(value).map(|(before, value)| before + &value);
        }
        replaced
    }

    /// The value of a variable that is named without a reference.
    pub(crate) fn variable(&mut self, name: &str, setting: &str, span: &Span) -> Option<String> {
        let value = self.environment.variable(name);
        if value.is_none() {
            self.not_set(name, setting, Some(span), name);
        }
        value
    }

    fn not_set(&mut self, name: &str, setting: &str, span: Option<&Span>, raw: &str) {
        let message = format!("the environment variable `{name}` is not set");
        let found = Diagnostic { severity: self.missing, ..Diagnostic::error("variable-not-set", message) };
        let found = found.label(format!("needed for `{setting}`"));
        let hint = format!("run with `{name}=…`, or write it into `.env` beside the pipeline file");
        self.say(found.hint(hint), span, raw);
    }

    fn file(&mut self, path: &str, span: Option<&Span>, raw: &str) -> Option<String> {
        match self.environment.file(path) {
            Ok(mut content) => {
                // Editors and `echo` end a file with a line break that nobody means.
                let kept = content.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text).len());
                content.truncate(kept.unwrap_or(content.len()));
                Some(content)
            }
            Err(error) => {
                let message = format!("the file `{path}` cannot be read");
                let found = Diagnostic { severity: self.missing, ..Diagnostic::error("file-not-read", message) };
                let found = found.label(error.to_string());
                self.say(found.hint("create it, or correct the path"), span, raw);
                None
            }
        }
    }

    fn say(&mut self, found: Diagnostic, span: Option<&Span>, raw: &str) {
        self.diagnostics.push(match span {
            Some(span) => found.at(&span.find(raw)),
            None => found,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_plain_text() {
        let parts = parse("a ${env:HOST:-local:1} b $${env:X} ${file:/run/secret}").unwrap();
        let variable = Part::Variable { raw: "${env:HOST:-local:1}", name: "HOST", default: Some("local:1") };
        let file = Part::File { raw: "${file:/run/secret}", path: "/run/secret" };
        let texts = [Part::Text(" b "), Part::Text("${"), Part::Text("env:X} ")];
        let [between, escaped, after] = texts;
        assert_eq!(parts, [Part::Text("a "), variable, between, escaped, after, file]);
        assert_eq!(parse("$ {env:X} $$"), Ok(vec![Part::Text("$ {env:X} $$")]));
    }

    #[test]
    fn faulty_references_are_refused_with_what_to_write() {
        assert!(parse("${HOME}").unwrap_err().hint.starts_with("did you mean `${env:HOME}`?"));
        assert_eq!(parse("x ${env:A").unwrap_err().message, "the reference is not closed");
        assert!(parse("${evn:A}").unwrap_err().hint.starts_with("did you mean `env`?"));
        assert!(parse("${env:1A}").is_err() && parse("${env:}").is_err() && parse("${file:}").is_err());
    }
}
