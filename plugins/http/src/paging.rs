//! How the pages of an answer follow each other.

use engine_sdk::minijinja::{self, context};
use engine_sdk::prelude::*;
use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde_json::value::RawValue;

use crate::records::text_at;
use crate::rules::is_pointer;

/// Pages after which an API is taken to send the same ones for ever.
const MOST_PAGES: u64 = 1_000_000;

/// How an API hands out its records.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// So many records from a place on: `{{ page.offset }}` and `{{ page.limit }}`
    /// in the request.
    Offset(ByOffset),
    /// Pages with numbers: `{{ page.number }}`, and `{{ page.limit }}`.
    Number(ByNumber),
    /// A word of each answer asks for the next page: `{{ page.cursor }}`, which is
    /// nothing for the first one.
    Cursor(ByCursor),
    /// The header `Link` of each answer has the address of the next page.
    Link,
    /// The answer has the address of the next page.
    Next(ByNext),
}

/// Pages by offset.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByOffset {
    /// How many records a page has.
    limit: u64,
    /// A JSON Pointer to how many records there are. Unset: a page with fewer than
    /// `limit` is the last one.
    #[serde(default)]
    count_at: Option<String>,
}

/// Pages by number.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByNumber {
    /// The number of the first page.
    #[serde(default = "one")]
    first: u64,
    /// How many records a page has. A page with fewer is the last one. Unset: one
    /// without any is.
    #[serde(default)]
    limit: Option<u64>,
    /// A JSON Pointer to the number of the last page, counted from 1.
    #[serde(default)]
    pages_at: Option<String>,
}

/// Pages by a word of the answer before.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByCursor {
    /// A JSON Pointer to the word. Nothing, `null`, `false` or an empty text there
    /// ends the pages.
    #[serde(default)]
    at: Option<String>,
    /// Or the header that it stands in.
    #[serde(default)]
    header: Option<String>,
}

/// Pages by addresses in the answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByNext {
    /// A JSON Pointer to the address. Nothing or `null` there ends the pages.
    at: String,
}

fn one() -> u64 {
    1
}

/// Which page is asked for.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// How many pages came before.
    pub index: u64,
    offset: u64,
    cursor: Option<String>,
    /// The address that the page before has named.
    pub url: Option<Url>,
}

/// What an answer says about the next page.
pub struct Answered<'a> {
    /// How many records it has.
    pub count: u64,
    pub headers: &'a HeaderMap,
    /// The answer, where it is JSON.
    pub body: Option<&'a RawValue>,
    /// Where it was asked for.
    pub url: &'a Url,
}

impl Paging {
    /// Checks the settings.
    pub fn check(&self, has_records: bool) -> Result<()> {
        let pointers = match self {
            Self::Offset(it) => it.count_at.iter().collect::<Vec<_>>(),
            Self::Number(it) => it.pages_at.iter().collect(),
            Self::Cursor(it) => it.at.iter().collect(),
            Self::Next(it) => vec![&it.at],
            Self::Link => vec![],
        };
        if let Some(wrong) = pointers.into_iter().find(|pointer| !is_pointer(pointer)) {
            return Err(Error::config(format!("`paging` has `{wrong}`, which is no JSON Pointer"))
                .hint("begin it with `/`, such as `/data/count`"));
        }
        let limit = match self {
            Self::Offset(it) => Some(it.limit),
            Self::Number(it) => it.limit,
            _ => None,
        };
        if limit == Some(0) {
            return Err(Error::config("`paging` has a `limit` of 0").hint("give the size of a page, such as 1000"));
        }
        match self {
            Self::Cursor(it) if it.at.is_some() == it.header.is_some() => {
                Err(Error::config("`paging.cursor` needs to know where the word for the next page stands")
                    .hint("name one of `at` and `header`"))
            }
            _ if self.reads() && !has_records => {
                Err(Error::config("`paging` looks into the answers, and `records_at` does not say where records are")
                    .hint("write `records_at: /PLACE`; where the whole answer is a list, `records_at: \"\"`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it looks into the answers.
    fn reads(&self) -> bool {
        !matches!(self, Self::Link | Self::Cursor(ByCursor { at: None, .. }))
    }

    /// What templates can name as `page`.
    pub fn values(paging: Option<&Self>, place: &Place) -> minijinja::Value {
        let limit = match paging {
            Some(Self::Offset(it)) => Some(it.limit),
            Some(Self::Number(it)) => it.limit,
            _ => None,
        };
        let first = match paging {
            Some(Self::Number(it)) => it.first,
            _ => 1,
        };
        context! { offset => place.offset, number => place.index + first, limit, cursor => place.cursor.as_deref() }
    }

    /// The page after this one. None: it was the last.
    pub fn next(&self, place: &Place, answer: &Answered<'_>) -> Result<Option<Place>> {
        let index = place.index + 1;
        if index >= MOST_PAGES {
            return Err(Error::config(format!("the API has sent {MOST_PAGES} pages and no end of them"))
                .hint("check `paging`: do the requests differ from page to page?"));
        }
        let said = |pointer: &str| answer.body.and_then(|body| text_at(body, pointer));
        let number = |pointer: &str| -> Result<u64> {
            let text = said(pointer).ok_or_else(|| missing(pointer))?;
            text.trim().parse().map_err(|_| missing(pointer))
        };
        let next = Place { index, offset: place.offset + answer.count, ..Place::default() };
        Ok(match self {
            Self::Offset(ByOffset { limit, count_at }) => {
                let goes_on = match count_at {
                    Some(pointer) => {
                        let count = number(pointer)?;
                        if answer.count == 0 && next.offset < count {
                            return Err(Error::unavailable(format!(
                                "the API says that there are {count} records, and has none from {} on",
                                next.offset
                            ))
                            .hint(
                                "does it hand out so many at the most? Ask for shorter periods, or page by a cursor",
                            ));
                        }
                        next.offset < count
                    }
                    None => answer.count >= *limit,
                };
                goes_on.then_some(next)
            }
            Self::Number(ByNumber { limit, pages_at, .. }) => {
                let goes_on = match (pages_at, limit) {
                    (Some(pointer), _) => index < number(pointer)?,
                    (None, Some(limit)) => answer.count >= *limit,
                    (None, None) => answer.count > 0,
                };
                goes_on.then_some(next)
            }
            Self::Cursor(ByCursor { at, header }) => {
                let word = match (at, header) {
                    (Some(pointer), _) => said(pointer).filter(|word| word != "false"),
                    (None, Some(name)) => answer.headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned),
                    (None, None) => None,
                };
                let word = word.filter(|word| !word.is_empty());
                if word.is_some() && word == place.cursor {
                    return Err(Error::config("the API names the same page again and again")
                        .hint("does the request say `{{ page.cursor }}`?"));
                }
                word.map(|word| Place { cursor: Some(word), ..next })
            }
            Self::Link => match answer.headers.get_all(LINK).iter().find_map(|it| next_of(it.to_str().ok()?)) {
                Some(link) => Some(Place { url: Some(followed(answer.url, &link)?), ..next }),
                None => None,
            },
            Self::Next(ByNext { at }) => match said(at).filter(|link| !link.is_empty() && link != "false") {
                Some(link) => Some(Place { url: Some(followed(answer.url, &link)?), ..next }),
                None => None,
            },
        })
    }
}

fn missing(pointer: &str) -> Error {
    Error::unavailable(format!(
        "the answer has no number at `{pointer}`, and whether there are more pages is not known"
    ))
    .hint("check `paging`, and what the API answers")
}

/// The address of the next page. It is data: it never leads to another server, which would get the login.
fn followed(from: &Url, link: &str) -> Result<Url> {
    let to = from.join(link).map_err(|error| {
        Error::config(format!("the API's address of the next page is none: {error}")).hint("check `paging`")
    })?;
    if to.origin() != from.origin() {
        let origin = to.origin().ascii_serialization();
        return Err(Error::denied(format!("the API's next page is on another server, {origin}"))
            .hint("nothing is asked there, since it would get the login; if it is right, read from there"));
    }
    if to == *from {
        return Err(Error::config("the API names the same page again and again").hint("check `paging`"));
    }
    Ok(to)
}

/// The target of `rel="next"` in a header `Link`.
fn next_of(header: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, others) = match after.find('<') {
            Some(at) => after.split_at(at),
            None => (after, ""),
        };
        let is_next = parameters.split(';').filter_map(|it| it.trim().trim_end_matches(',').split_once('=')).any(
            |(name, value)| {
                let relations = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.split(' ').any(|it| it.eq_ignore_ascii_case("next"))
            },
        );
        if is_next {
            return Some(target.to_owned());
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(settings: Value) -> Paging {
        serde_json::from_value(settings).unwrap()
    }

    fn raw(body: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(body).unwrap()
    }

    /// The places that follow each other when answers come with these counts and bodies.
    fn places(paging: &Paging, answers: &[(u64, Value)]) -> Vec<minijinja::Value> {
        let (mut place, mut seen) = (Some(Place::default()), Vec::new());
        let url = Url::parse("https://api.example.com/v1/calls?a=1").unwrap();
        for (count, body) in answers {
            let Some(at) = place else { panic!("it ended after {} pages", seen.len()) };
            seen.push(Paging::values(Some(paging), &at));
            let (headers, body) = (HeaderMap::new(), raw(body));
            let answer = Answered { count: *count, headers: &headers, body: Some(&body), url: &url };
            place = paging.next(&at, &answer).unwrap();
        }
        assert!(place.is_none(), "it did not end");
        seen
    }

    fn all(values: &[minijinja::Value], name: &str) -> Vec<String> {
        values.iter().map(|value| value.get_attr(name).unwrap().to_string()).collect()
    }

    #[test]
    fn offsets_end_with_the_count_or_with_a_short_page() {
        let counted = paging(json!({"offset": {"limit": 2, "count_at": "/n"}}));
        let seen = places(&counted, &[(2, json!({"n": 5})), (2, json!({"n": "5"})), (1, json!({"n": 5}))]);
        assert_eq!(all(&seen, "offset"), ["0", "2", "4"]);
        assert_eq!(all(&seen, "limit"), ["2", "2", "2"]);
        // There were more a moment ago.
        places(&counted, &[(2, json!({"n": 9})), (1, json!({"n": 3}))]);
        let short = paging(json!({"offset": {"limit": 2}}));
        assert_eq!(all(&places(&short, &[(2, json!([])), (1, json!([]))]), "offset"), ["0", "2"]);
        let url = Url::parse("http://h/").unwrap();
        let (headers, body) = (HeaderMap::new(), raw(&Value::Null));
        let answer = Answered { count: 2, headers: &headers, body: Some(&body), url: &url };
        let error = counted.next(&Place::default(), &answer).unwrap_err();
        assert!(error.message.contains("`/n`"), "{error}");
        // What is missing is not taken for the end.
        let body = raw(&json!({"n": 9}));
        let answer = Answered { count: 0, headers: &headers, body: Some(&body), url: &url };
        let error = counted.next(&Place { index: 1, offset: 2, ..Place::default() }, &answer).unwrap_err();
        assert!(error.kind == ErrorKind::Unavailable && error.message.contains("none from 2 on"), "{error}");
    }

    #[test]
    fn numbers_end_with_the_last_page() {
        let from_zero = paging(json!({"number": {"first": 0}}));
        assert_eq!(
            all(&places(&from_zero, &[(9, json!([])), (1, json!([])), (0, json!([]))]), "number"),
            ["0", "1", "2"]
        );
        let limited = paging(json!({"number": {"limit": 2}}));
        assert_eq!(all(&places(&limited, &[(2, json!([])), (1, json!([]))]), "number"), ["1", "2"]);
        let told = paging(json!({"number": {"pages_at": "/pages"}}));
        assert_eq!(places(&told, &[(1, json!({"pages": 2})), (1, json!({"pages": 2}))]).len(), 2);
    }

    #[test]
    fn words_go_on_until_there_is_none() {
        let cursor = paging(json!({"cursor": {"at": "/next"}}));
        let seen = places(&cursor, &[(1, json!({"next": "b"})), (1, json!({"next": 7})), (1, json!({"next": null}))]);
        assert_eq!(all(&seen, "cursor"), ["None", "b", "7"]);
        for end in [json!({}), json!({"next": ""}), json!({"next": false})] {
            places(&cursor, &[(1, end)]);
        }
        let url = Url::parse("http://h/").unwrap();
        let (headers, body) = (HeaderMap::new(), raw(&json!({"next": "b"})));
        let answer = Answered { count: 1, headers: &headers, body: Some(&body), url: &url };
        let again = Place { cursor: Some("b".into()), ..Place::default() };
        assert!(cursor.next(&again, &answer).unwrap_err().message.contains("same page"));
    }

    #[test]
    fn addresses_are_followed_on_the_same_server_alone() {
        let next = paging(json!({"next": {"at": "/next"}}));
        let url = Url::parse("https://api.example.com/v1/calls?page=1").unwrap();
        let headers = HeaderMap::new();
        let follow = |link: &str| {
            let body = raw(&json!({"next": link}));
            let answer = Answered { count: 1, headers: &headers, body: Some(&body), url: &url };
            next.next(&Place::default(), &answer).map(|place| place.and_then(|place| place.url).map(String::from))
        };
        assert_eq!(follow("?page=2").unwrap().unwrap(), "https://api.example.com/v1/calls?page=2");
        assert_eq!(follow("https://api.example.com/x").unwrap().unwrap(), "https://api.example.com/x");
        for elsewhere in ["https://evil.example/x", "http://api.example.com/x", "//127.0.0.1/", "file:///etc/passwd"] {
            assert_eq!(follow(elsewhere).unwrap_err().kind, ErrorKind::Denied, "{elsewhere}");
        }
        assert!(follow("?page=1").unwrap_err().message.contains("same page"));
    }

    #[test]
    fn the_header_link_is_read() {
        for (header, expected) in [
            (r#"<https://h/2>; rel="next""#, Some("https://h/2")),
            (r#"<https://h/1>; rel="prev", </x,y?a=1>; title="a"; rel=next"#, Some("/x,y?a=1")),
            (r#"<https://h/9>; rel="last next""#, Some("https://h/9")),
            (r#"<https://h/1>; rel="prev""#, None),
            ("nonsense", None),
        ] {
            assert_eq!(next_of(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        for (settings, has_records, says) in [
            (json!({"offset": {"limit": 0}}), true, "`limit` of 0"),
            (json!({"offset": {"limit": 1}}), false, "records_at"),
            (json!({"cursor": {}}), true, "stands"),
            (json!({"next": {"at": "next"}}), true, "no JSON Pointer"),
        ] {
            let error = paging(settings).check(has_records).unwrap_err();
            assert!(format!("{error} {:?}", error.hint).contains(says), "{error}");
        }
        paging(json!("link")).check(false).unwrap();
    }
}
