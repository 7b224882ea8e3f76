//! What an answer means.

use std::time::Duration;

use engine_sdk::prelude::{Error, Result};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

/// How much of an answer is read.
const READ: usize = 64 << 10;
/// How much of it is shown.
const SHOWN: usize = 300;

/// What became of the records of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They were taken.
    Accepted,
    /// They were refused, and would be again.
    Refused {
        /// The status.
        status: u16,
        /// What the other side said.
        reason: String,
    },
}

/// Reads an answer. Errors are those of all requests, not of these records. `hide` takes
/// out of the other side's words what it has got as a secret.
pub async fn read(shown: &str, response: Response, hide: impl Fn(String) -> String) -> Result<Answer> {
    let status = response.status();
    let location = header(response.headers(), LOCATION.as_str());
    let retry_after = header(response.headers(), RETRY_AFTER.as_str()).and_then(|text| wait(&text));
    let text = shortened(&hide(excerpt(response).await));
    if status.is_success() {
        return Ok(Answer::Accepted);
    }
    let said = if text.is_empty() { String::new() } else { format!(": {text}") };
    let what = format!("{shown} answered {status}{said}");
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
        _ => Ok(Answer::Refused { status: status.as_u16(), reason: format!("the API answered {status}{said}") }),
    }
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

/// The beginning of the answer's text. What is longer ends the connection.
async fn excerpt(mut response: Response) -> String {
    let mut bytes = Vec::new();
    // An answer that breaks off has said its status all the same.
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(READ - bytes.len())]);
        if bytes.len() == READ {
            break;
        }
    }
    clean(&String::from_utf8_lossy(&bytes))
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
