//! What an answer that is no success means.

use std::time::Duration;

use engine_sdk::prelude::{Error, Result};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::xml::Element;

/// How much of a store's own words is shown.
const SHOWN: usize = 300;
/// How long to wait where a store asks for less without saying how long.
const SLOWER: Duration = Duration::from_secs(1);

/// An answer that is no success.
#[derive(Debug)]
pub struct Fault {
    pub status: StatusCode,
    /// Such as `NoSuchKey`; empty where the answer has no body.
    pub code: String,
    message: String,
    /// Where the bucket is, if the store says so.
    region: Option<String>,
    retry_after: Option<Duration>,
}

impl Fault {
    pub fn new(status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let error = Element::read(body).ok().filter(|error| error.name == "Error").unwrap_or_default();
        let stated = Some(error.text_of("Region").to_owned()).filter(|region| !region.is_empty());
        Self {
            status,
            code: error.text_of("Code").to_owned(),
            message: clean(error.text_of("Message")),
            region: header("x-amz-bucket-region").or(stated),
            retry_after: header(RETRY_AFTER.as_str()).and_then(|text| wait(&text)),
        }
    }

    /// Whether what was asked for is not there; a bucket that is not there is another matter.
    pub fn is_absent(&self) -> bool {
        match self.code.as_str() {
            "NoSuchKey" | "NoSuchUpload" | "NotFound" => true,
            // The answer to HEAD has no words.
            "" => self.status == StatusCode::NOT_FOUND,
            _ => false,
        }
    }

    /// Whether a condition of the request did not hold.
    pub fn is_precondition(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED
    }

    /// The error that it is. `doing`: such as `reading s3://calls/a.csv`; `bucket`: its name.
    pub fn error(self, doing: &str, bucket: &str) -> Error {
        let Self { status, code, message, region, retry_after } = self;
        let said = match (code.is_empty(), message.is_empty()) {
            (true, _) => status.to_string(),
            (false, true) => format!("{} {code}", status.as_u16()),
            (false, false) => format!("{} {code}: {message}", status.as_u16()),
        };
        let what = format!("{doing}: the store answered {said}");
        let elsewhere = || {
            let place =
                region.as_deref().map_or("another region".to_owned(), |region| format!("the region `{region}`"));
            Error::config(format!("{doing}: the bucket `{bucket}` is in {place}")).hint("set `region` to it")
        };
        match code.as_str() {
            "NoSuchBucket" => {
                Error::config(what).hint("check `bucket` and `endpoint`; buckets are not made by the engine")
            }
            "NoSuchKey" => Error::config(what).hint("check `path`"),
            "InvalidBucketName" => Error::config(what).hint("check `bucket`"),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => elsewhere(),
            "RequestTimeTooSkewed" => {
                Error::config(what).hint("this machine's clock is more than 15 minutes off: set it, best by NTP")
            }
            "InvalidAccessKeyId" => Error::denied(what).hint("check `access_key`, and that it is one of this store"),
            "SignatureDoesNotMatch" => {
                Error::denied(what).hint("check `secret_key` and `region`; a proxy on the way must not change requests")
            }
            "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" => {
                Error::denied(what).hint("get new temporary keys: `access_key`, `secret_key` and `session_token`")
            }
            "InvalidObjectState" => {
                Error::config(what).hint("the object is archived: restore it, or leave it out of `path`")
            }
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Error::denied(what).hint(allow(bucket)),
            "SlowDown" | "TooManyRequests" | "RequestLimitExceeded" | "ThrottlingException" | "Throttling" => {
                Error::rate_limited(what, retry_after.unwrap_or(SLOWER)).hint("lower `concurrency` if this goes on")
            }
            "InvalidStorageClass" => Error::config(what).hint("check `storage_class`"),
            "EntityTooLarge" | "EntityTooSmall" => Error::config(what).hint("check `part_size`"),
            "KMS.DisabledException" | "KMS.NotFoundException" | "KMS.KMSInvalidStateException" => {
                Error::config(what).hint("check the key in `encryption`")
            }
            "NotImplemented" => Error::config(what).hint(
                "the store lacks something: try `checksum: none`; one that knows no conditions needs `overwrite: true`",
            ),
            // Bytes were changed on the way, or did not all come.
            "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "IncompleteBody"
            | "RequestTimeout"
            | "ConditionalRequestConflict"
            | "OperationAborted" => Error::unavailable(what),
            _ => by_status(status, what, retry_after, bucket, elsewhere),
        }
    }
}

fn by_status(
    status: StatusCode,
    what: String,
    retry_after: Option<Duration>,
    bucket: &str,
    elsewhere: impl FnOnce() -> Error,
) -> Error {
    match status.as_u16() {
        301 => elsewhere(),
        401 | 403 => Error::denied(what).hint(allow(bucket)),
        407 => Error::denied(what).hint("the proxy wants a login: write it into `proxy`"),
        429 => Error::rate_limited(what, retry_after.unwrap_or(SLOWER)),
        status if status >= 500 && status != 501 => match retry_after {
            Some(wait) => Error::rate_limited(what, wait),
            None => Error::unavailable(what),
        },
        // A bucket that was made a moment ago is not known everywhere yet.
        307 | 408 | 409 | 425 => Error::unavailable(what),
        404 => Error::config(what).hint("check `bucket` and `path`"),
        _ => Error::config(what).hint("the store refuses the request: check the settings against what it says"),
    }
}

fn allow(bucket: &str) -> String {
    format!("the keys must be allowed to do this in the bucket `{bucket}`; the connector's page names the permissions")
}

/// Refuses an answer of success whose body is an error all the same: completing takes so long that the status is
/// sent before.
pub fn within(body: &str, headers: &HeaderMap) -> std::result::Result<Result<Element>, Fault> {
    let read = Element::read(body);
    match &read {
        Ok(element) if element.name == "Error" => {
            let status = match element.text_of("Code") {
                "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
                "NoSuchUpload" => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Err(Fault::new(status, headers, body))
        }
        _ => Ok(read),
    }
}

/// One short line, of characters that can be shown.
fn clean(text: &str) -> String {
    let words: Vec<_> =
        text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The time that an answer asks to wait: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    (at.to_utc() - chrono::Utc::now()).to_std().ok()
}

#[cfg(test)]
mod tests {
    use engine_sdk::ErrorKind;

    use super::*;

    fn error(status: u16, code: &str, headers: &[(&'static str, &str)]) -> Error {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>the\n  words</Message></Error>");
        let body = if code.is_empty() { String::new() } else { body };
        Fault::new(StatusCode::from_u16(status).unwrap(), &headers, &body).error("reading s3://calls/a", "calls")
    }

    #[test]
    fn the_code_decides_and_where_there_is_none_the_status() {
        use ErrorKind::{Config, Denied, RateLimited, Unavailable};
        for (status, code, kind) in [
            (404, "NoSuchBucket", Config),
            (404, "NoSuchKey", Config),
            (403, "AccessDenied", Denied),
            (403, "SignatureDoesNotMatch", Denied),
            (403, "InvalidAccessKeyId", Denied),
            (400, "ExpiredToken", Denied),
            (403, "RequestTimeTooSkewed", Config),
            (403, "InvalidObjectState", Config),
            (301, "PermanentRedirect", Config),
            (400, "AuthorizationHeaderMalformed", Config),
            (307, "TemporaryRedirect", Unavailable),
            (503, "SlowDown", RateLimited),
            (503, "ServiceUnavailable", Unavailable),
            (500, "InternalError", Unavailable),
            (400, "BadDigest", Unavailable),
            (400, "RequestTimeout", Unavailable),
            (409, "ConditionalRequestConflict", Unavailable),
            (501, "NotImplemented", Config),
            (400, "InvalidArgument", Config),
            (301, "", Config),
            (401, "", Denied),
            (403, "", Denied),
            (404, "", Config),
            (429, "", RateLimited),
            (502, "", Unavailable),
            (503, "", Unavailable),
        ] {
            let error = error(status, code, &[]);
            assert_eq!(error.kind, kind, "{status} {code}");
            assert!(error.message.starts_with("reading s3://calls/a: "), "{error}");
            assert!(error.hint.is_some() || kind == Unavailable || code.is_empty(), "{error}");
        }
    }

    #[test]
    fn a_time_to_wait_and_a_region_are_passed_on() {
        let busy = error(503, "", &[("retry-after", "7")]);
        assert_eq!((busy.kind, busy.retry_after_ms), (ErrorKind::RateLimited, Some(7000)));
        let elsewhere = error(301, "PermanentRedirect", &[("x-amz-bucket-region", "eu-west-1")]);
        assert_eq!(elsewhere.message, "reading s3://calls/a: the bucket `calls` is in the region `eu-west-1`");
        assert_eq!(wait("soon"), None);
        let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(90);
        assert!((80..=90).contains(&wait(&soon.to_rfc2822()).unwrap().as_secs()));
        let absent =
            |status, body: &str| Fault::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body).is_absent();
        assert!(absent(404, "") && absent(404, "<Error><Code>NoSuchUpload</Code></Error>"));
        assert!(!absent(404, "<Error><Code>NoSuchBucket</Code></Error>") && !absent(403, ""));
    }

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(error(400, "InvalidRequest", &[]).message.lines().count(), 1);
        assert_eq!(clean(&"ä\u{1b}".repeat(400)).chars().count(), SHOWN + 1);
    }
}
