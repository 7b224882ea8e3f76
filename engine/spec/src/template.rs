//! Templates: texts into which the engine puts the run's own values before a
//! component sees them, such as `reports/{{ run.started | date("%Y") }}.csv`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use chrono::DateTime;
use chrono::format::{Item, StrftimeItems};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};

use crate::names::{either, nearest};

/// What templates may name.
const VARIABLES: [&str; 4] = ["run.id", "run.started", "pipeline.name", "window.id"];
/// Steps after which a template is stopped. Real ones need a few dozen.
const FUEL: u64 = 10_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A text comes out with all of its line breaks.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.add_filter("date", date);
    environment
});

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

fn render(template: &str, variables: &TemplateVariables) -> Result<String, Error> {
    ENVIRONMENT.render_str(
        template,
        context! {
            run => context! { id => variables.run_id.as_str(), started => variables.run_started.as_str() },
            pipeline => context! { name => variables.pipeline_name.as_str() },
            window => context! { id => variables.window_id },
        },
    )
}

/// Tries a template out with made-up values.
pub(crate) fn check(template: &str) -> Result<(), Fault> {
    let compiled = ENVIRONMENT.template_from_str(template).map_err(|error| explain(template, &error))?;
    let mut named: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    named.sort();
    for name in named {
        if VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let hint = match nearest(&name, VARIABLES) {
            Some(right) => format!("did you mean `{right}`?"),
            None => format!("a template may name {}", either(&VARIABLES)),
        };
        return Err(Fault { message: format!("a template knows no `{name}`"), hint, part: Some(name) });
    }
    let example = TemplateVariables {
        run_id: "0b9f6d2e".to_owned(),
        run_started: "2025-01-31T12:34:56+00:00".to_owned(),
        pipeline_name: "example".to_owned(),
        window_id: 1,
    };
    render(template, &example).map(drop).map_err(|error| explain(template, &error))
}

fn explain(template: &str, error: &Error) -> Fault {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let part = error.range().and_then(|range| template.get(range)).map(str::to_owned);
    let hint = match error.kind() {
        ErrorKind::SyntaxError => "a template is text with `{{ run.id }}` and the like in it".to_owned(),
        ErrorKind::UnknownFilter => "dates are written with `{{ run.started | date(\"%Y-%m-%d\") }}`".to_owned(),
        ErrorKind::OutOfFuel => "keep templates to a few names".to_owned(),
        _ => format!("a template may name {}", either(&VARIABLES)),
    };
    Fault { message: detail, hint, part }
}

/// The filter `date`: an RFC 3339 text in the given strftime form.
fn date(value: &str, form: &str, zone: Option<&str>) -> Result<String, Error> {
    let refused = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let time = DateTime::parse_from_rfc3339(value)
        .map_err(|_| refused("`date` needs a time, such as `run.started`".to_owned()))?;
    let items: Vec<Item<'_>> = StrftimeItems::new(form).collect();
    if items.contains(&Item::Error) {
        return Err(refused(format!("`{form}` is no form of a date; an example is `%Y-%m-%d`")));
    }
    let mut text = String::new();
    let written = match zone {
        None => write!(text, "{}", time.format_with_items(items.into_iter())),
        Some(zone) => {
            let known: chrono_tz::Tz = zone
                .parse()
                .map_err(|_| refused(format!("`{zone}` is no time zone; an example is `Europe/Dublin`")))?;
            write!(text, "{}", time.with_timezone(&known).format_with_items(items.into_iter()))
        }
    };
    written.map_err(|_| refused(format!("`{form}` is no form of a date; an example is `%Y-%m-%d`")))?;
    Ok(text)
}

/// A text that a template gives back unchanged.
pub(crate) fn literal(text: &str) -> String {
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

    fn variables() -> TemplateVariables {
        TemplateVariables {
            run_id: "r1".into(),
            run_started: "2025-09-17T15:44:08+05:30".into(),
            pipeline_name: "avaya_cdr".into(),
            window_id: 7,
        }
    }

    #[test]
    fn names_and_dates_are_put_in() {
        let template = "{{ pipeline.name }}-{{ run.started | date(\"%Y%m%d\") }}-{{ window.id }}\n";
        assert_eq!(render_template(template, &variables()).unwrap(), "avaya_cdr-20250917-7\n");
    }

    #[test]
    fn a_date_is_that_of_a_time_zone_where_one_is_named() {
        let of = |started: &str, template: &str| {
            let variables = TemplateVariables { run_started: started.into(), ..variables() };
            render_template(template, &variables)
        };
        let in_india = "{{ run.started | date('%Y-%m-%d %H:%M', 'Asia/Kolkata') }}";
        assert_eq!(of("2026-03-01T18:30:00Z", in_india).unwrap(), "2026-03-02 00:00");
        // Clocks go forward that night.
        let in_ireland = "{{ run.started | date('%H:%M', 'Europe/Dublin') }}";
        assert_eq!(of("2026-03-29T01:30:00Z", in_ireland).unwrap(), "02:30");
        assert!(check("{{ run.started | date('%Y', 'Asia/Kolkatta') }}").unwrap_err().message.contains("Kolkatta"));
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
