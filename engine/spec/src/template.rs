//! Templates: texts into which the engine puts the run's own values before a
//! component sees them, such as `reports/{{ run.started | date("%Y") }}.csv`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::names::{either, nearest};
use crate::params::Params;
use crate::pipeline::Burst;

/// What templates may name, beside `params`.
const VARIABLES: [&str; 4] = ["run.id", "run.started", "pipeline.name", "window.id"];
/// Steps after which a template is stopped. Real ones need a few dozen.
const FUEL: u64 = 10_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| engine_template::environment(FUEL));

/// The values that templates can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateVariables {
    /// `run.id`.
    pub run_id: String,
    /// `run.started`, RFC 3339 text.
    pub run_started: String,
    /// `pipeline.name`.
    pub pipeline_name: String,
    /// `window.id`.
    pub window_id: u64,
    /// `params`, by their names.
    pub params: BTreeMap<String, serde_json::Value>,
}

/// What is wrong with a template.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: String,
    /// The part of the template that is wrong, if that is known.
    pub(crate) part: Option<String>,
}

/// Puts values into a template.
///
/// # Errors
/// `Config`, when the template is faulty; [`crate::check`] finds such templates
/// beforehand.
pub fn render_template(template: &str, variables: &TemplateVariables) -> engine_abi::Result<String> {
    render(template, variables).map_err(|error| {
        let fault = explain(template, &error);
        engine_abi::Error::config(format!("a template cannot be filled in: {}", fault.message)).hint(fault.hint)
    })
}

/// Whether values of parameters are parts of names where a path names them.
pub(crate) fn check_path(template: &str, set: &BTreeMap<String, String>) -> engine_abi::Result<()> {
    let compiled = ENVIRONMENT.template_from_str(template);
    let named = compiled.map(|compiled| compiled.undeclared_variables(true)).unwrap_or_default();
    for (name, text) in set.iter().filter(|(name, _)| named.contains(&format!("params.{name}"))) {
        let leads_away = text.contains(['/', '\\']) || (!text.is_empty() && text.bytes().all(|byte| byte == b'.'));
        if leads_away || text.contains(char::is_control) {
            let message = format!("the parameter `{name}` is {text:?}, which is no part of a file's name");
            return Err(engine_abi::Error::config(message)
                .hint("it stands in a `path`: give it no `/`, no `..` and no control characters"));
        }
    }
    Ok(())
}

/// The name of a file of a burst.
///
/// # Errors
/// Those of [`render_template`].
pub fn render_burst(burst: &Burst, value: &str, variables: &TemplateVariables) -> engine_abi::Result<String> {
    render_with(&burst.filename, variables, value).map_err(|error| {
        let fault = explain(&burst.filename, &error);
        engine_abi::Error::config(format!("`burst: filename` cannot be filled in: {}", fault.message)).hint(fault.hint)
    })
}

fn render(template: &str, variables: &TemplateVariables) -> Result<String, Error> {
    render_with(template, variables, "")
}

/// `value`: what the template may name as such, where it is that of a burst.
fn render_with(template: &str, variables: &TemplateVariables, value: &str) -> Result<String, Error> {
    ENVIRONMENT.render_str(
        template,
        context! {
            run => context! { id => variables.run_id.as_str(), started => variables.run_started.as_str() },
            pipeline => context! { name => variables.pipeline_name.as_str() },
            window => context! { id => variables.window_id },
            value => value,
            params => Value::from_pairs(variables.params.iter().map(|(name, value)| (name.as_str(), plain(value)))),
        },
    )
}

/// A parameter as templates see it.
fn plain(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        other => Value::from(other.to_string()),
    }
}

/// Tries a template out with made-up values.
pub(crate) fn check(template: &str, params: &Params) -> Result<(), Fault> {
    check_with(template, params, &[])
}

/// The same, where it may name more.
pub(crate) fn check_with(template: &str, params: &Params, more: &[&str]) -> Result<(), Fault> {
    let compiled = ENVIRONMENT.template_from_str(template).map_err(|error| explain(template, &error))?;
    let mut named: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    named.sort();
    let params_named = || params.names().into_iter().map(|name| format!("params.{name}"));
    for name in named {
        if VARIABLES.contains(&name.as_str())
            || more.contains(&name.as_str())
            || params_named().any(|param| param == name)
        {
            continue;
        }
        let known: Vec<String> = VARIABLES.iter().map(|name| (*name).to_owned()).chain(params_named()).collect();
        let hint = match nearest(&name, known.iter().map(String::as_str)) {
            Some(right) => format!("did you mean `{right}`?"),
            None => may_name(),
        };
        return Err(Fault { message: format!("a template knows no `{name}`"), hint, part: Some(name) });
    }
    let example = TemplateVariables {
        run_id: "0b9f6d2e".to_owned(),
        run_started: "2025-01-31T12:34:56+00:00".to_owned(),
        pipeline_name: "example".to_owned(),
        window_id: 1,
        params: params.examples(),
    };
    render(template, &example).map(drop).map_err(|error| explain(template, &error))
}

fn may_name() -> String {
    format!("a template may name {}, or `params.NAME` of a parameter", either(&VARIABLES))
}

fn explain(template: &str, error: &Error) -> Fault {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let part = error.range().and_then(|range| template.get(range)).map(str::to_owned);
    let hint = match error.kind() {
        ErrorKind::SyntaxError => "a template is text with `{{ run.id }}` and the like in it".to_owned(),
        ErrorKind::UnknownFilter => "dates are written with `{{ run.started | date(\"%Y-%m-%d\") }}`".to_owned(),
        ErrorKind::OutOfFuel => "keep templates to a few names".to_owned(),
        _ => may_name(),
    };
    Fault { message: detail, hint, part }
}

/// A text that a template gives back unchanged.
pub fn literal(text: &str) -> String {
    let mut safe = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        safe.push_str(&rest[..at]);
        // Alone a brace is text, but its neighbour may come from elsewhere.
        safe.push_str("{{ '{' }}");
        rest = &rest[at + 1..];
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str) -> Result<(), Fault> {
        super::check(template, &Params::default())
    }

    fn variables() -> TemplateVariables {
        TemplateVariables {
            run_id: "r1".into(),
            run_started: "2025-09-17T15:44:08+05:30".into(),
            pipeline_name: "avaya_cdr".into(),
            window_id: 7,
            params: [("region".to_owned(), serde_json::json!("EU"))].into(),
        }
    }

    #[test]
    fn names_and_dates_are_put_in() {
        let template = "{{ pipeline.name }}-{{ run.started | date(\"%Y%m%d\") }}-{{ window.id }}\n";
        assert_eq!(render_template(template, &variables()).unwrap(), "avaya_cdr-20250917-7\n");
    }

    #[test]
    fn parameters_are_named_by_what_is_declared() {
        let params = "{{ params.region }} {{ pipeline.name }}";
        assert_eq!(render_template(params, &variables()).unwrap(), "EU avaya_cdr");
        assert_eq!(check("{{ params.start_date }}"), Ok(()));
        assert_eq!(check("{{ params.start_dat }}").unwrap_err().hint, "did you mean `params.start_date`?");
        assert!(check("{{ params.region }}").is_err());
    }

    #[test]
    fn wrong_names_filters_and_forms_are_found_without_a_run() {
        let unknown = check("{{ run.startd }}").unwrap_err();
        assert_eq!(
            (unknown.message.as_str(), unknown.hint.as_str()),
            ("a template knows no `run.startd`", "did you mean `run.started`?")
        );
        assert!(check("{{ run.id | dat('%Y') }}").unwrap_err().message.contains("dat"));
        assert!(check("{{ run.started | date('%Q') }}").unwrap_err().message.contains("%Q"));
        assert!(check("{{ run.started | date('%Y', 'Asia/Kolkatta') }}").unwrap_err().message.contains("Kolkatta"));
        assert!(check("{{ run.id").is_err());
        assert!(check("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}").is_err());
        assert_eq!(check("plain {text}"), Ok(()));
    }

    #[test]
    fn a_literal_survives_whatever_it_holds() {
        for text in ["{{ run.id }}", "{% raw %}{{{", "{# #}", "{", "plain"] {
            assert_eq!(render_template(&literal(text), &variables()).unwrap(), text);
        }
    }
}
