//! Takes secrets out of what is answered, without harming its form: only values are looked at, never names, numbers
//! or markup.

use serde_json::Value;

/// Takes secrets out of a text.
type Mask<'a> = &'a dyn Fn(&str) -> String;

/// Of JSON. `None`: it is none.
pub(crate) fn json(text: &str, mask: Mask<'_>) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    walk(&mut value, mask);
    Some(value.to_string())
}

fn walk(value: &mut Value, mask: Mask<'_>) {
    match value {
        Value::String(text) => *text = mask(text),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, mask)),
        Value::Object(members) => members.values_mut().for_each(|member| walk(member, mask)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Of a page: the texts between its tags.
pub(crate) fn html(page: &str, mask: Mask<'_>) -> String {
    let mut masked = String::with_capacity(page.len());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        masked.push_str(&between(&rest[..at], mask));
        let end = rest[at..].find('>').map_or(rest.len(), |end| at + end + 1);
        masked.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    masked.push_str(&between(rest, mask));
    masked
}

/// A text as it stands in a page: a secret in it may be escaped.
fn between(text: &str, mask: Mask<'_>) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let masked = mask(&plain);
    match masked == plain {
        true => text.to_owned(),
        false => masked.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(text: &str) -> String {
        ["status", "12", "a\"b", "<&>"].iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    #[test]
    fn a_secret_that_is_a_word_of_the_form_harms_nothing() {
        let text = r#"{"status":"success","rows":120,"message":"status a\"b","list":["12",{"status":12}]}"#;
        let masked = json(text, &hide).unwrap();
        assert_eq!(masked, r#"{"status":"success","rows":120,"message":"*** ***","list":["***",{"status":12}]}"#);
        assert_eq!(json("no json", &hide), None);
    }

    #[test]
    fn a_page_keeps_its_tags_and_loses_secrets_that_stand_escaped() {
        let page = r#"<p class="status" data-n="12">status &lt;&amp;&gt; a&quot;b, 7 &amp; 8</p>12"#;
        let masked = r#"<p class="status" data-n="12">*** *** ***, 7 &amp; 8</p>***"#;
        assert_eq!(html(page, &hide), masked);
    }
}
