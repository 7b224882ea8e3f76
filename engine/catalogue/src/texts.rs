//! Texts of rows in the places of a pipeline: what is a template there, what is none, and what stays as it is.

use engine_spec::literal;

/// A text that is nothing but itself: no reference to what is outside of it.
pub(crate) fn plain(text: &str) -> String {
    text.replace("${", "$${")
}

/// A text that is nothing but itself, in the place of a template.
pub(crate) fn fixed(text: &str) -> String {
    plain(&literal(text))
}

/// A template of a row, in which `{name}` and `{{name}}` stand for values, in the engine's own form. `value`: what
/// stands for a name there; none, where there is no such value.
///
/// # Errors
/// A name in two braces that is none. In single braces it is text: a style sheet has some.
pub(crate) fn template(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut made = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        made.push_str(&rest[..at]);
        let behind = &rest[at..];
        let (inner, length) = match (between(behind, "{{", "}}"), between(behind, "{", "}")) {
            (Some(inner), _) => (Some(inner), inner.len() + 4),
            (None, Some(inner)) => (Some(inner), inner.len() + 2),
            (None, None) => (None, 1),
        };
        let name = inner.map(str::trim).filter(|name| is_name(name));
        match name.and_then(&value) {
            Some(value) => {
                made.push_str(&value);
                rest = &behind[length..];
            }
            None if name.is_some() && behind.starts_with("{{") => {
                return Err(format!("it names `{}`, and there is no such value", name.unwrap_or_default()));
            }
            None => {
                made.push_str(&literal("{"));
                rest = &behind[1..];
            }
        }
    }
    made.push_str(rest);
    Ok(plain(&made))
}

/// What stands between two marks, where a text begins with the first.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let inner = text.strip_prefix(open)?;
    inner.split_once(close).map(|(inner, _)| inner)
}

pub(crate) fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.bytes().all(word) && !text.as_bytes()[0].is_ascii_digit()
}

/// A name for files, made of that of a report: small letters, digits, `-`.
pub(crate) fn file_stem(name: &str) -> String {
    let mut stem = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            letter if letter.is_alphanumeric() => stem.push(letter),
            _ if !stem.is_empty() && !stem.ends_with('-') => stem.push('-'),
            _ => {}
        }
    }
    let stem = stem.trim_end_matches('-');
    if stem.is_empty() { "report".to_owned() } else { stem.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<String, String> {
        template(text, |name| (name == "day").then(|| "{{ params.day }}".to_owned()))
    }

    #[test]
    fn names_in_one_or_two_braces_become_values() {
        assert_eq!(made("a-{day}.csv").unwrap(), "a-{{ params.day }}.csv");
        assert_eq!(made("a-{{ day }}.csv").unwrap(), "a-{{ params.day }}.csv");
        assert!(made("{{ dya }}").unwrap_err().contains("dya"));
    }

    struct Nothing;

    impl engine_spec::Environment for Nothing {
        fn variable(&self, name: &str) -> Option<String> {
            panic!("the variable {name} was asked for")
        }

        fn file(&self, path: &str) -> std::io::Result<String> {
            panic!("the file {path} was asked for")
        }
    }

    #[test]
    fn everything_else_is_text_and_reaches_nothing() {
        assert_eq!(made("b { color: red }").unwrap(), "b {{ '{' }} color: red }");
        let variables = engine_spec::TemplateVariables {
            run_id: String::new(),
            run_started: String::new(),
            pipeline_name: String::new(),
            window_id: 1,
            params: [("day".to_owned(), serde_json::json!("{{ run.id }}${env:HOME}"))].into(),
        };
        for text in
            ["${env:HOME}", "{% for a in b %}", "{# x #}", "$${file:/etc/passwd}", "{x}", "{{{{", "$$$${", "a}}b"]
        {
            let replaced = engine_spec::resolve_text(&made(text).unwrap(), "test", &Nothing).unwrap();
            assert_eq!(engine_spec::render_template(&replaced, &variables).unwrap(), text);
            assert_eq!(engine_spec::resolve_text(&plain(text), "test", &Nothing).unwrap(), text);
        }
    }

    #[test]
    fn files_are_called_after_their_report() {
        assert_eq!(file_stem("Sales: North / South!"), "sales-north-south");
        assert_eq!(file_stem("../.."), "report");
    }
}
