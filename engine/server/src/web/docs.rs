//! The HTTP interface for a person: made once, of the same description that programs read.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use utoipa::openapi::OpenApi as Document;

use super::fields::Guest;
use super::page::Page;
use super::parts::wide;

pub(super) async fn page(guest: Guest, content: Arc<Markup>) -> Response {
    Page::new("HTTP API", "/docs").show(&guest, &content)
}

/// One way to ask.
struct Operation<'a> {
    method: String,
    path: &'a str,
    told: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> String {
        let letters = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
        format!("{}{}", self.method, self.path.chars().map(letters).collect::<String>())
    }

    fn summary(&self) -> String {
        let text = |name: &str| self.told[name].as_str().map(str::to_owned);
        [text("summary"), text("description")].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// All that can be asked, by what it is about.
pub(super) fn content(document: &Document) -> Markup {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut by_tag: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, told) in item.as_object().into_iter().flatten() {
            let tag = told["tags"][0].as_str().unwrap_or_default();
            by_tag.entry(tag).or_default().push(Operation { method: method.clone(), path, told });
        }
    }
    let tags: Vec<_> = document["tags"].as_array().into_iter().flatten().collect();
    let of = |tag: &Value| tag["name"].as_str().and_then(|name| by_tag.get(name)).map_or(&[][..], Vec::as_slice);
    html! {
        p.lead { (document["info"]["description"].as_str().unwrap_or_default()) }
        p {
            "The same for programs, as OpenAPI: " a href="/openapi.json" { "/openapi.json" } ". "
            "Everything that goes wrong is answered with " a href="#schema-Problem" { "Problem" } "."
        }
        @for tag in &tags {
            @let name = tag["name"].as_str().unwrap_or_default();
            section.tag aria-labelledby={ "tag-" (name.replace(' ', "-")) } {
                h2 id={ "tag-" (name.replace(' ', "-")) } { (name) }
                p { (tag["description"].as_str().unwrap_or_default()) "." }
                @for operation in of(tag) { (one(operation, &document)) }
            }
        }
        section aria-labelledby="schemas" {
            h2 #schemas { "What is sent and answered" }
            @for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
                h3 id={ "schema-" (name) } { (name) }
                @if let Some(said) = schema["description"].as_str() { p { (said) } }
                (members(name, schema))
            }
        }
    }
}

fn one(operation: &Operation<'_>, document: &Value) -> Markup {
    let Operation { method, path, told } = operation;
    let body = &told["requestBody"]["content"]["application/json"]["schema"];
    html! {
        details.operation id=(operation.id()) {
            summary { span.method.(method) { (method.to_uppercase()) } " " code { (path) } " " span.said { (operation.summary()) } }
            @if let Some(parameters) = told["parameters"].as_array().filter(|it| !it.is_empty()) {
                (wide(&format!("Parameters of {path}"), &parameters_table(parameters)))
            }
            @if !body.is_null() { p { "Body, as JSON: " (kind(body)) } }
            (wide(&format!("Answers of {path}"), &answers(&told["responses"])))
            pre tabindex="0" { (example(operation, document)) }
        }
    }
}

fn parameters_table(parameters: &[Value]) -> Markup {
    html! {
        table {
            caption { "Parameters" }
            thead { tr { @for name in ["Name", "In", "Type", "What it is"] { th scope="col" { (name) } } } }
            tbody {
                @for parameter in parameters {
                    tr {
                        th.code scope="row" { (parameter["name"].as_str().unwrap_or_default()) }
                        td {
                            (parameter["in"].as_str().unwrap_or_default())
                            @if parameter["required"] == true { ", needed" }
                        }
                        td { (kind(&parameter["schema"])) }
                        td { (parameter["description"].as_str().unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

fn answers(responses: &Value) -> Markup {
    html! {
        table {
            caption { "Answers" }
            thead { tr { @for name in ["Status", "When", "Body"] { th scope="col" { (name) } } } }
            tbody {
                @for (code, answer) in responses.as_object().into_iter().flatten() {
                    @let body = answer["content"].as_object().into_iter().flatten().next();
                    tr {
                        th scope="row" { (code) }
                        td { (answer["description"].as_str().unwrap_or_default()) }
                        td {
                            @if let Some((media, content)) = body {
                                (kind(&content["schema"])) @if media != "application/json" { " (" (media) ")" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The members of an object, or the words of a choice.
fn members(name: &str, schema: &Value) -> Markup {
    let needed = |member: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|it| it == member));
    html! {
        @if let Some(properties) = schema["properties"].as_object() {
            (wide(&format!("Members of {name}"), &html! {
                table {
                    thead { tr { @for name in ["Member", "Type", "What it is"] { th scope="col" { (name) } } } }
                    tbody {
                        @for (name, member) in properties {
                            tr {
                                th.code scope="row" { (name) }
                                td { (kind(member)) @if !needed(name) { ", can be left out" } }
                                td {
                                    (member["description"].as_str().unwrap_or_default())
                                    @if !member["example"].is_null() { " " span.aside { "Such as " code { (member["example"]) } } }
                                }
                            }
                        }
                    }
                }
            }))
        } @else { p { (kind(schema)) } }
    }
}

/// What a value can be.
fn kind(schema: &Value) -> Markup {
    let any = ["oneOf", "anyOf", "allOf"].iter().find_map(|name| schema[*name].as_array());
    html! {
        @if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            a href={ "#schema-" (name) } { (name) }
        } @else if let Some(words) = schema["enum"].as_array() {
            @for (index, word) in words.iter().enumerate() { @if index > 0 { ", " } code { (text(word)) } }
        } @else if let Some(any) = any {
            @for (index, choice) in any.iter().enumerate() { @if index > 0 { " or " } (kind(choice)) }
        } @else if !schema["items"].is_null() {
            "list of " (kind(&schema["items"]))
        } @else {
            (type_words(&schema["type"]))
            @if let Some(format) = schema["format"].as_str() { " (" (format) ")" }
        }
    }
}

fn type_words(of: &Value) -> String {
    match of {
        Value::Array(words) => words.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::Null => "anything".into(),
        word => text(word),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A command that asks.
fn example(operation: &Operation<'_>, document: &Value) -> String {
    let mut lines = vec![format!("curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:8000{}", operation.path)];
    if operation.method != "get" {
        lines[0] = lines[0].replacen("curl", &format!("curl -X {}", operation.method.to_uppercase()), 1);
    }
    let body = &operation.told["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        lines.push("  -H 'Content-Type: application/json'".into());
        lines.push(format!("  -d '{}'", sample(body, document)));
    }
    lines.join(" \\\n")
}

/// A value that fits a schema: what must be said, and the lists and objects that may be.
fn sample(schema: &Value, document: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return sample(&document["components"]["schemas"][name], document);
    }
    if let Some(any) = ["oneOf", "anyOf"].iter().find_map(|name| schema[*name].as_array()) {
        let known = any.iter().find(|choice| choice["type"] != "null");
        return known.map_or(Value::Null, |choice| sample(choice, document));
    }
    let is = |word: &str| {
        let of = &schema["type"];
        of == word || of.as_array().is_some_and(|words| words.iter().any(|it| it == word))
    };
    if is("object") {
        let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let member = |name: &str| (name.to_owned(), sample(&schema["properties"][name], document));
        return Value::Object(needed.map(member).collect());
    }
    match () {
        () if is("array") => Value::Array(Vec::new()),
        () if is("integer") || is("number") => Value::from(1),
        () if is("boolean") => Value::from(true),
        () => Value::from("calls"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stands_on_the_page_with_what_it_takes_and_answers() {
        let (_, document) = crate::http::openapi::routes();
        let page = content(&document).into_string();
        for path in document.paths.paths.keys() {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        }
        for text in [
            "curl -X POST -H &apos;Authorization".replace("&apos;", "'"),
            r##"<a href="#schema-PipelineView">PipelineView</a>"##.into(),
            r#"id="schema-Problem""#.into(),
            "-d '{&quot;pipeline&quot;:&quot;calls&quot;,&quot;window&quot;:1}'".into(),
        ] {
            assert!(page.contains(&text), "{text}");
        }
        // Whatever is referred to is there.
        for reference in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{reference}\"")), "{reference}");
        }
    }
}
