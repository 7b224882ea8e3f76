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

/// What an answer says before its body.
struct Head {
    shown: String,
    status: StatusCode,
    /// Where requests are sent instead.
    location: Option<String>,
    retry_after: Option<Duration>,
}

impl Head {
    fn of(shown: &str, response: &Response, hide: impl Fn(String) -> String) -> Self {
        // Without its parameters, among which keys may have come back.
        let location = header(response.headers(), LOCATION.as_str());
        let location = location.map(|to| to.split(['?', '#']).next().unwrap_or_default().to_owned());
        Self {
            shown: shown.to_owned(),
            status: response.status(),
            location: location.map(|to| shortened(&hide(clean(&to)))),
            retry_after: header(response.headers(), RETRY_AFTER.as_str()).and_then(|text| wait(&text)),
        }
    }

    /// The error that a rule says an answer is. None: it is none.
    fn ruled(&self, verdict: &Verdict, hide: impl Fn(String) -> String) -> Option<Error> {
        let what =
            |reason: &str| format!("{} answered {}: {}", self.shown, self.status, shortened(&hide(clean(reason))));
        match verdict {
            Verdict::Retry { reason } => Some(unavailable(what(reason), self.retry_after)),
            Verdict::Fail { reason } => Some(
                Error::config(what(reason))
                    .hint("a rule of `answers` says that this fails: mend what the API says, or the rule"),
            ),
            Verdict::Accepted | Verdict::Refused { .. } => None,
        }
    }

    /// What the status means where it is not about the records of a request. None: it may be. `said`: what the
    /// other side said besides.
    fn error(&self, said: &str) -> Option<Error> {
        let what = format!("{} answered {}{said}", self.shown, self.status);
        Some(match self.status {
            status if status.is_redirection() => {
                let to = self.location.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
                Error::config(format!("{} sends requests elsewhere{to} ({status})", self.shown))
                    .hint("put the address that takes them into `url`")
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Error::denied(what).hint("check `login`, or the key in `headers` or `query`, and what it may do")
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                Error::config(what).hint("check `url` and `method`")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Error::rate_limited(what, self.retry_after.unwrap_or(Duration::from_secs(1)))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => unavailable(what, self.retry_after),
            status if status.is_server_error() => unavailable(what, self.retry_after),
            _ => return None,
        })
    }
}

/// Reads the answer to records. Errors are those of all requests, not of these records. `hide` takes
/// out of the other side's words what it has got as a secret.
pub async fn read(shown: &str, response: Response, rules: &Rules, hide: impl Fn(String) -> String) -> Result<Answer> {
    let head = Head::of(shown, &response, &hide);
    let status = head.status;
    let body = body(shown, response, rules.read_answers()).await?;
    let (text, said) = said(&body, &hide);
    if let Some(verdict) = rules.decide(status.as_u16(), &body, &text) {
        if let Some(error) = head.ruled(&verdict, &hide) {
            return Err(error);
        }
        let Verdict::Refused { code, reason, of, alert } = verdict else { return Ok(accepted(rules, &body)) };
        let hidden = |text: &str| shortened(&hide(clean(text)));
        let alert = alert.map(|Alert { key, message }| Alert { key: hidden(&key), message: hidden(&message) });
        return Ok(Answer::Refused(Refusal { code, reason: hidden(&reason), of, alert }));
    }
    if status.is_success() {
        return Ok(accepted(rules, &body));
    }
    match head.error(&said) {
        Some(error) => Err(error),
        None => Ok(Answer::Refused(Refusal {
            code: format!("http_{}", status.as_u16()),
            reason: format!("the API answered {status}{said}"),
            of: Vec::new(),
            alert: None,
        })),
    }
}

/// Reads the answer to a question: all that there is of it, but no more than so many bytes.
pub async fn asked(
    shown: &str,
    response: Response,
    rules: &Rules,
    most: usize,
    hide: impl Fn(String) -> String,
) -> Result<Vec<u8>> {
    let head = Head::of(shown, &response, &hide);
    let status = head.status;
    let body = if status.is_success() || rules.read_answers() {
        whole(shown, response, most).await?
    } else {
        body(shown, response, false).await?
    };
    let (text, said) = said(&body, &hide);
    match rules.decide(status.as_u16(), &body, &text) {
        Some(verdict) => match head.ruled(&verdict, &hide) {
            Some(error) => Err(error),
            None => Ok(body),
        },
        None if status.is_success() => Ok(body),
        None => Err(head.error(&said).unwrap_or_else(|| unasked(&head, &said))),
    }
}

/// An answer whose body is not looked into, where it is one that was asked for.
pub async fn unread(
    shown: &str,
    response: Response,
    rules: &Rules,
    hide: impl Fn(String) -> String,
) -> Result<Response> {
    let head = Head::of(shown, &response, &hide);
    let verdict = rules.decide(head.status.as_u16(), &[], "");
    let is_taken = verdict.as_ref().map_or(head.status.is_success(), |it| matches!(it, Verdict::Accepted));
    if is_taken {
        return Ok(response);
    }
    let (_, said) = said(&body(shown, response, false).await?, &hide);
    let ruled = verdict.as_ref().and_then(|verdict| head.ruled(verdict, &hide));
    Err(ruled.or_else(|| head.error(&said)).unwrap_or_else(|| unasked(&head, &said)))
}

fn unasked(head: &Head, said: &str) -> Error {
    Error::config(format!("{} answered {}{said}", head.shown, head.status))
        .hint("the API does not take the request: check `url`, `query`, `headers` and `body`")
}

/// What was said, to be shown: alone, and behind something else.
fn said(body: &[u8], hide: impl Fn(String) -> String) -> (String, String) {
    let text = shortened(&hide(clean(&String::from_utf8_lossy(&body[..body.len().min(READ)]))));
    let said = if text.is_empty() { String::new() } else { format!(": {text}") };
    (text, said)
}

/// All that was answered.
pub async fn whole(shown: &str, mut response: Response, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken_off(shown, error))? {
        if bytes.len() + chunk.len() > most {
            return Err(Error::config(format!("{shown}: the answer is larger than {most} bytes"))
                .hint("ask for fewer records at a time, or raise `max_answer`"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What went wrong while an answer came.
pub fn broken_off(shown: &str, error: reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::unavailable(format!("{shown}: the answer did not come within `timeout`"))
            .hint("ask for less at a time, or raise `timeout`");
    }
    Error::unavailable(format!("{shown}: the answer broke off: {}", error.without_url()))
        .hint("the connection ended too early, or what came cannot be unpacked; it is asked again")
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
pub fn clean(text: &str) -> String {
    let words: Vec<_> =
        text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty()).collect();
    words.join(" ")
}

pub fn shortened(line: &str) -> String {
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
