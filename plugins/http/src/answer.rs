//! What an answer means.

use std::collections::BTreeMap;
use std::time::Duration;

use engine_sdk::prelude::{Alert, Error, Result, Value};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::rules::{Rules, Verdict};

/// How much of an answer is read, where only its beginning is shown.
const READ: usize = 64 << 10;
/// How much of one is read where what it says counts.
const READ_TO_COUNT: usize = 4 << 20;
/// How much of it is shown.
const SHOWN: usize = 300;

/// What became of the records of a request that was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// They were taken.
    Accepted {
        /// Numbers that the answer told, by name.
        figures: BTreeMap<String, i64>,
    },
    /// They were refused, and would be again.
    Refused(Refusal),
}

/// Why records were refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// For the dead letter.
    pub code: String,
    /// What the other side said.
    pub reason: String,
    /// Only records with these values in these columns are meant; none: all of them.
    pub of: Vec<(String, Value)>,
    /// Who refuses wants somebody to know.
    pub alert: Option<Alert>,
}

/// Reads an answer. Errors are those of all requests, not of these records. `hide` takes
/// out of the other side's words what it has got as a secret.
pub async fn read(shown: &str, response: Response, rules: &Rules, hide: impl Fn(String) -> String) -> Result<Answer> {
    let status = response.status();
    let location = header(response.headers(), LOCATION.as_str());
    let retry_after = header(response.headers(), RETRY_AFTER.as_str()).and_then(|text| wait(&text));
    let body = body(shown, response, rules.read_answers()).await?;
    let text = shortened(&hide(clean(&String::from_utf8_lossy(&body[..body.len().min(READ)]))));
    let said = if text.is_empty() { String::new() } else { format!(": {text}") };
    let what = format!("{shown} answered {status}{said}");
    match rules.decide(status.as_u16(), &body, &text) {
        None => {}
        Some(Verdict::Accepted) => return Ok(accepted(rules, &body)),
        Some(Verdict::Retry { reason }) => {
            let reason = shortened(&hide(clean(&reason)));
            return Err(unavailable(format!("{shown} answered {status}: {reason}"), retry_after));
        }
        Some(Verdict::Fail { reason }) => {
            let reason = shortened(&hide(clean(&reason)));
            return Err(Error::config(format!("{shown} answered {status}: {reason}"))
                .hint("a rule of `answers` says that this fails: mend what the API says, or the rule"));
        }
        Some(Verdict::Refused { code, reason, of, alert }) => {
            let reason = shortened(&hide(clean(&reason)));
            let hidden = |text: String| shortened(&hide(clean(&text)));
            let alert = alert.map(|Alert { key, message }| Alert { key: hidden(key), message: hidden(message) });
            return Ok(Answer::Refused(Refusal { code, reason, of, alert }));
        }
    }
    if status.is_success() {
        return Ok(accepted(rules, &body));
    }
    match status {
        _ if status.is_redirection() => {
            // Without its parameters, among which keys may have come back.
            let to = location.map(|to| to.split(['?', '#']).next().unwrap_or_default().to_owned());
            let to = to.map(|to| format!(" to {}", shortened(&hide(clean(&to))))).unwrap_or_default();
            Err(Error::config(format!("{shown} sends requests elsewhere{to} ({status})"))
                .hint("put the address that takes them into `url`"))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(Error::denied(what).hint("check the login or key in `headers` or `query`, and what it may do"))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
            Err(Error::config(what).hint("check `url` and `method`"))
        }
        StatusCode::TOO_MANY_REQUESTS => Err(Error::rate_limited(what, retry_after.unwrap_or(Duration::from_secs(1)))),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Err(unavailable(what, retry_after)),
        _ if status.is_server_error() => Err(unavailable(what, retry_after)),
        _ => Ok(Answer::Refused(Refusal {
            code: format!("http_{}", status.as_u16()),
            reason: format!("the API answered {status}{said}"),
            of: Vec::new(),
            alert: None,
        })),
    }
}

fn accepted(rules: &Rules, body: &[u8]) -> Answer {
    let mut figures = BTreeMap::new();
    rules.figures(body, &mut figures);
    Answer::Accepted { figures }
}

fn unavailable(what: String, retry_after: Option<Duration>) -> Error {
    let mut error =
        Error::unavailable(what).hint("the API is not well; the requests that it has not taken are sent again");
    error.retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    error
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    (until.to_utc() - chrono::Utc::now()).to_std().ok()
}

/// What was answered: all of it where it `counts`, else its beginning. What is longer ends the connection.
async fn body(shown: &str, mut response: Response, counts: bool) -> Result<Vec<u8>> {
    let most = if counts { READ_TO_COUNT } else { READ };
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > most && counts => {
                return Err(Error::unavailable(format!("{shown}: the answer is larger than {most} bytes"))
                    .hint("`answers` and `figures` look at the whole answer: have the API say less"));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(most - bytes.len())]),
            Ok(None) => return Ok(bytes),
            // An answer that breaks off has said its status all the same.
            Err(_) if !counts => return Ok(bytes),
            Err(error) => {
                return Err(Error::unavailable(format!("{shown}: the answer broke off: {}", error.without_url()))
                    .hint("whether the records were taken is not known; they are sent again"));
            }
        }
        if bytes.len() == most && !counts {
            return Ok(bytes);
        }
    }
}

/// One line, of characters that can be shown.
fn clean(text: &str) -> String {
    let words: Vec<_> =
        text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty()).collect();
    words.join(" ")
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_a_date() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(90);
        let left = wait(&soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap();
        assert!((80..=90).contains(&left.as_secs()), "{left:?}");
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(clean(" two\n\twords\u{1b}[31m "), "two words [31m");
        assert_eq!(shortened(&"ä".repeat(400)), format!("{}…", "ä".repeat(SHOWN)));
    }
}
