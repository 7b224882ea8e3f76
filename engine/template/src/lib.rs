//! Templates as the engine and its components fill them in: what is undefined is an error, a template that takes
//! too many steps is stopped, and times have the filter `date`.

use std::fmt::Write as _;

use chrono::DateTime;
use chrono::format::{Item, StrftimeItems};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

/// An environment whose templates are stopped after so many steps.
pub fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A text comes out with all of its line breaks.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(fuel));
    environment.add_filter("date", date);
    environment
}

/// The filter `date`: an RFC 3339 text in the given strftime form, in a time zone where one is named.
fn date(value: &str, form: &str, zone: Option<&str>) -> Result<String, Error> {
    let refused = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let time = DateTime::parse_from_rfc3339(value)
        .map_err(|_| refused(format!("`date` needs a time with a zone, and `{value}` is none")))?;
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

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn a_date_is_that_of_a_time_zone_where_one_is_named() {
        let of = |time: &str, template: &str| environment(1000).render_str(template, context! { time });
        let in_india = "{{ time | date('%Y-%m-%d %H:%M', 'Asia/Kolkata') }}";
        assert_eq!(of("2026-03-01T18:30:00Z", in_india).unwrap(), "2026-03-02 00:00");
        // Clocks go forward that night.
        let in_ireland = "{{ time | date('%H:%M', 'Europe/Dublin') }}";
        assert_eq!(of("2026-03-29T01:30:00Z", in_ireland).unwrap(), "02:30");
        assert_eq!(of("2026-03-29T01:30:00+05:30", "{{ time | date('%H:%M') }}\n").unwrap(), "01:30\n");
        for (time, template) in [
            ("yesterday", in_india),
            ("2026-03-01T18:30:00Z", "{{ time | date('%Q') }}"),
            ("2026-03-01T18:30:00Z", "{{ time | date('%Y', 'Asia/Kolkatta') }}"),
            ("2026-03-01T18:30:00Z", "{{ tim }}"),
            ("2026-03-01T18:30:00Z", "{% for a in range(9999) %}x{% endfor %}"),
        ] {
            assert!(of(time, template).is_err(), "{template}");
        }
    }
}
