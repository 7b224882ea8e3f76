//! The settings that source and sink have in common, and where they lead to.

use std::path::PathBuf;

use engine_sdk::prelude::*;
use engine_sdk::types::{Tls, is_this_machine};
use reqwest::Url;

/// Parts of less than this are refused by S3, but for the last one.
const SMALLEST_PART: u64 = 5 << 20;
/// Parts of more than this are refused.
const LARGEST_PART: u64 = 5 << 30;

pub const fn default_part_size() -> ByteSize {
    ByteSize(5 << 20)
}

pub const fn default_concurrency() -> usize {
    4
}

pub fn default_connect_timeout() -> Duration {
    Duration::seconds(10)
}

pub fn default_timeout() -> Duration {
    Duration::seconds(300)
}

/// What a store is reached by.
pub struct Settings<'a> {
    pub bucket: &'a str,
    pub region: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub path_style: Option<bool>,
    pub tls: Option<Tls>,
    pub ca: Option<PathBuf>,
    pub proxy: Option<&'a Secret>,
    pub access_key: Option<&'a Secret>,
    pub secret_key: Option<&'a Secret>,
    pub session_token: Option<&'a Secret>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

impl Settings<'_> {
    pub fn region(&self) -> &str {
        self.region.unwrap_or("us-east-1")
    }

    /// Where the bucket is, without a `/` at the end.
    pub fn base(&self) -> Result<String> {
        let bucket = self.bucket;
        if bucket.is_empty() || !bucket.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it)) {
            return Err(Error::config(format!("`bucket`: `{bucket}` is no name of a bucket"))
                .hint("write the name alone; what stands before keys belongs into `path`"));
        }
        let region = self.region();
        if region.is_empty() || !region.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
            return Err(Error::config(format!("`region`: `{region}` is none")).hint("write it as `eu-west-1`"));
        }
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        let aws = format!("https://s3.{region}.amazonaws.com{china}");
        let url = endpoint(self.endpoint.unwrap_or(&aws), self.tls)?;
        // A certificate for `*.HOST` is none for a name with another dot in it.
        let by_path = self.path_style.unwrap_or(self.endpoint.is_some() || bucket.contains('.'));
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(match by_path {
            true => format!("{scheme}://{host}{port}/{bucket}"),
            false => format!("{scheme}://{bucket}.{host}{port}"),
        })
    }

    pub fn check_times(&self) -> Result<()> {
        for (name, duration) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if duration.0.is_zero() {
                return Err(Error::config(format!("`{name}` is 0, and no server answers at once"))
                    .hint("give a time such as 30s"));
            }
        }
        Ok(())
    }
}

/// Checks how much is on its way at a time. `is_upload`: the parts are those of uploads, which have limits.
pub fn check_parts(part_size: ByteSize, concurrency: usize, is_upload: bool) -> Result<()> {
    if !(1..=64).contains(&concurrency) {
        return Err(Error::config(format!("`concurrency` is {concurrency}")).hint("give a number from 1 to 64"));
    }
    let smallest = if is_upload { SMALLEST_PART } else { 64 << 10 };
    if !(smallest..=LARGEST_PART).contains(&part_size.0) {
        let from = if is_upload { "5MiB" } else { "64KiB" };
        return Err(Error::config(format!("`part_size` is {} bytes", part_size.0))
            .hint(format!("give a size from {from} to 5GiB; as many as `concurrency` of them are in memory")));
    }
    Ok(())
}

fn endpoint(text: &str, tls: Option<Tls>) -> Result<Url> {
    const SPELLING: &str = "write https://HOST or https://HOST:PORT";
    let wrong = |what: String| Err(Error::config(format!("`endpoint` {what}")).hint(SPELLING));
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return wrong(format!("is no address: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config("`endpoint` holds a login, which messages would show")
            .hint("write it apart: `access_key` and `secret_key`"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return wrong("has more than a host and a port".into());
    }
    match (url.scheme(), tls) {
        ("https", Some(Tls::Disable)) => {
            Err(Error::config("`endpoint` asks for TLS and `tls: disable` for none").hint("leave one of them out"))
        }
        ("https", _) => Ok(url),
        ("http", Some(Tls::Verify)) => wrong("has no TLS, and `tls: verify` asks for it".into()),
        ("http", None) if !is_this_machine(url.host_str().unwrap_or_default()) => {
            Err(Error::config("`endpoint` names another machine without TLS: files could be read on the way")
                .hint("write https; where the store has no TLS, write `tls: disable`"))
        }
        ("http", _) => Ok(url),
        (other, _) => wrong(format!("begins with `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<'a>(bucket: &'a str, endpoint: Option<&'a str>, path_style: Option<bool>) -> Settings<'a> {
        Settings {
            bucket,
            region: Some("eu-west-1"),
            endpoint,
            path_style,
            tls: None,
            ca: None,
            proxy: None,
            access_key: None,
            secret_key: None,
            session_token: None,
            connect_timeout: Duration::seconds(1),
            timeout: Duration::seconds(1),
        }
    }

    #[test]
    fn a_bucket_is_a_host_at_aws_and_a_path_elsewhere() {
        let base = |bucket, endpoint, style| settings(bucket, endpoint, style).base().unwrap();
        assert_eq!(base("calls", None, None), "https://calls.s3.eu-west-1.amazonaws.com");
        assert_eq!(base("my.calls", None, None), "https://s3.eu-west-1.amazonaws.com/my.calls");
        assert_eq!(base("calls", Some("http://127.0.0.1:9000"), None), "http://127.0.0.1:9000/calls");
        assert_eq!(base("calls", Some("https://[::1]:1/"), None), "https://[::1]:1/calls");
        assert_eq!(base("calls", Some("https://s3.example.com"), Some(false)), "https://calls.s3.example.com");
        let china = Settings { region: Some("cn-north-1"), ..settings("calls", None, None) };
        assert_eq!(china.base().unwrap(), "https://calls.s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (bucket, endpoint) in [
            ("", None),
            ("calls/in", None),
            ("calls", Some("minio:9000")),
            ("calls", Some("http://minio.example.com:9000")),
            ("calls", Some("https://minio.example.com/calls")),
            ("calls", Some("https://user:hunter2@minio.example.com")),
            ("calls", Some("minio.example.com")),
        ] {
            let error = settings(bucket, endpoint, None).base().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{bucket} {endpoint:?}");
            assert!(error.hint.is_some() && !error.message.contains("hunter2"), "{error}");
        }
        let open = Settings { tls: Some(Tls::Disable), ..settings("calls", Some("http://minio.example.com"), None) };
        open.base().unwrap();
        let odd = Settings { region: Some("eu west"), ..settings("calls", None, None) };
        assert_eq!(odd.base().unwrap_err().kind, ErrorKind::Config);
        for (size, concurrency, is_upload) in
            [(8 << 20, 0, true), (8 << 20, 65, true), (4 << 20, 4, true), (1, 4, false)]
        {
            assert!(check_parts(ByteSize(size), concurrency, is_upload).unwrap_err().hint.is_some());
        }
        check_parts(ByteSize(4 << 20), 4, false).unwrap();
    }
}
