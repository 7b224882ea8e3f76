//! One bucket: its operations, each of which is one request.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use engine_sdk::prelude::{Error, Result};
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, LAST_MODIFIED};
use reqwest::{Method, StatusCode};

use crate::ask::{Ask, header};
pub use crate::ask::{Headers, Store};
use crate::checksum::{Checksum, Sums, sha256_of};
use crate::fault;
use crate::sign;
use crate::xml::{Element, escaped};

/// Where an upload's own word stands: whoever finds it at an object knows which upload made it.
pub const UPLOAD_MARK: &str = "x-amz-meta-engine-upload";
/// The same of an object that was moved: where it comes from.
pub const MOVED_MARK: &str = "x-amz-meta-engine-moved";

/// What an object has besides its content and its metadata, and takes along to another key.
const KEPT: [&str; 9] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
];

/// An object that is there. Tags stand without their quotes, which not every store gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub size: u64,
    pub etag: String,
    /// When it was written, in nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    /// What [`UPLOAD_MARK`] says.
    pub mark: Option<String>,
    /// What [`MOVED_MARK`] says.
    pub moved: Option<String>,
    /// What it takes along to another key.
    pub kept: Headers,
    pub sums: Sums,
}

/// One line of a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    /// Empty where the store's lists have none.
    pub etag: String,
    /// When it was written, in nanoseconds since 1970.
    pub modified_ns: Option<i64>,
}

/// An upload that is not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub key: String,
    pub upload: String,
    /// When it was begun, if the store says so.
    pub begun: Option<SystemTime>,
}

/// Where the next page of uploads begins: the last key and upload of this one.
pub type Marker = (String, String);

/// A part that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// What the store calls it.
    pub etag: String,
    /// Its sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<String>,
}

/// What became of an upload that was to be completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Completed {
    Done,
    /// Its key has an object.
    Taken,
    /// It is not there: completed before, or thrown away.
    Gone,
}

impl Store {
    /// Looks for an object.
    pub async fn head(&self, key: &str) -> Result<Option<Found>> {
        let ask = Ask::new(Method::HEAD, key, "looking for").header("x-amz-checksum-mode", "ENABLED");
        match self.ask(ask).await? {
            Ok((response, _)) => {
                let header = |name: &str| header(response.headers(), name);
                Ok(Some(Found {
                    size: header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()).unwrap_or_default(),
                    etag: header(ETAG.as_str()).map(|etag| plain(&etag)).unwrap_or_default(),
                    modified_ns: header(LAST_MODIFIED.as_str())
                        .and_then(|text| chrono::DateTime::parse_from_rfc2822(&text).ok()?.timestamp_nanos_opt()),
                    mark: header(UPLOAD_MARK),
                    moved: header(MOVED_MARK),
                    kept: kept(response.headers()),
                    sums: Sums { sha256: header("x-amz-checksum-sha256"), crc32c: header("x-amz-checksum-crc32c") },
                }))
            }
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(self.fault(fault, "looking for", key)),
        }
    }

    /// Reads the bytes from `from` up to `to`, of the object as it was when it had this `etag`.
    pub async fn range(&self, key: &str, etag: &str, from: u64, to: u64) -> Result<Bytes> {
        const DOING: &str = "reading";
        let ask = Ask::new(Method::GET, key, DOING)
            .header("range", format!("bytes={from}-{}", to - 1))
            .header("if-match", format_args!("\"{etag}\""));
        let doing = |error: Error| error.context(self.doing(DOING, key));
        let (mut response, url) = match self.ask(ask).await? {
            Ok(answer) => answer,
            Err(fault) if fault.is_precondition() || fault.status == StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(self.changed(key));
            }
            Err(fault) if fault.is_absent() => {
                return Err(Error::config(format!("{} is no longer there", self.shown(key)))
                    .hint("put it back, so that this window gives the same rows again"));
            }
            Err(fault) => return Err(self.fault(fault, DOING, key)),
        };
        // Not every store knows the condition.
        if header(response.headers(), ETAG.as_str()).is_some_and(|found| plain(&found) != etag) {
            return Err(self.changed(key));
        }
        if response.status() != StatusCode::PARTIAL_CONTENT && from > 0 {
            return Err(doing(Error::config("the store gives no ranges of objects")).hint("raise `part_size`"));
        }
        let length = to - from;
        let mut bytes = Vec::with_capacity(length as usize);
        while let Some(chunk) = response.chunk().await.map_err(|error| doing(self.unanswered(&url, &error)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > length {
                return Err(doing(Error::unavailable("the store gave more than was asked for")));
            }
        }
        if (bytes.len() as u64) < length {
            let got = bytes.len();
            return Err(doing(Error::unavailable(format!("the answer ended after {got} of {length} bytes"))));
        }
        Ok(bytes.into())
    }

    /// An object that is another one by now.
    pub fn changed(&self, key: &str) -> Error {
        Error::config(format!("{} was changed since it was planned", self.shown(key))).hint(
            "put the object back as it was, so that this window gives the same rows again; new content belongs into \
             a new object",
        )
    }

    /// Makes an object without content. `false`: its key has one.
    pub async fn put_empty(&self, key: &str, headers: &Headers, overwrite: bool) -> Result<bool> {
        const DOING: &str = "writing";
        let mut ask = Ask::new(Method::PUT, key, DOING);
        ask.headers.clone_from(headers);
        if !overwrite {
            ask = ask.header("if-none-match", "*");
        }
        match self.ask(ask).await? {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_precondition() => Ok(false),
            Err(fault) => Err(self.fault(fault, DOING, key)),
        }
    }

    /// Begins an upload; answers its id.
    pub async fn begin_upload(&self, key: &str, headers: &Headers, checksum: Checksum) -> Result<String> {
        let mut ask = Ask::new(Method::POST, key, "beginning an upload of").query("uploads", "");
        ask.headers.clone_from(headers);
        if let Some(name) = checksum.name() {
            ask = ask.header("x-amz-checksum-algorithm", name);
        }
        match self.document(ask).await?.text_of("UploadId") {
            "" => Err(Error::unavailable(format!("{}: the store began an upload without an id", self.shown(key)))),
            id => Ok(id.to_owned()),
        }
    }

    /// Sends a part.
    pub async fn part(&self, key: &str, upload: &str, number: usize, bytes: Bytes, checksum: Checksum) -> Result<Part> {
        const DOING: &str = "uploading a part of";
        let sha256 = sha256_of(&bytes);
        let sum = checksum.of(&bytes, &sha256);
        let mut ask =
            Ask::new(Method::PUT, key, DOING).query("partNumber", number).query("uploadId", upload).body(bytes);
        ask.sha256 = Some(sha256);
        if let (Some(name), Some(sum)) = (checksum.header(), &sum) {
            ask = ask.header(name, sum);
        }
        let (response, _) = match self.ask(ask).await? {
            Ok(answer) => answer,
            Err(fault) if fault.is_absent() => {
                return Err(Error::unavailable(format!("{}: the upload is gone", self.shown(key)))
                    .hint("does a lifecycle rule, or somebody else, throw unfinished uploads away?"));
            }
            Err(fault) => return Err(self.fault(fault, DOING, key)),
        };
        let answered = checksum.header().and_then(|name| header(response.headers(), name));
        if answered.is_some() && answered != sum {
            return Err(Error::unavailable(format!("{}: a part arrived with another checksum", self.shown(key))));
        }
        match header(response.headers(), ETAG.as_str()) {
            Some(etag) => Ok(Part { etag, sum }),
            None => Err(Error::unavailable(format!("{}: the store took a part without naming it", self.shown(key)))),
        }
    }

    /// Makes an object of the parts of an upload.
    pub async fn complete(
        &self,
        key: &str,
        upload: &str,
        (parts, size): (&[Part], u64),
        checksum: Checksum,
        overwrite: bool,
    ) -> Result<Completed> {
        const DOING: &str = "completing the upload of";
        let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (at, Part { etag, sum }) in parts.iter().enumerate() {
            let sum = match (checksum.element(), sum) {
                (Some(element), Some(sum)) => format!("<{element}>{sum}</{element}>"),
                _ => String::new(),
            };
            let number = at + 1;
            body += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag>{sum}</Part>", escaped(etag));
        }
        body += "</CompleteMultipartUpload>";
        let mut ask = Ask::new(Method::POST, key, DOING)
            .query("uploadId", upload)
            .header("content-type", "application/xml")
            .header("x-amz-mp-object-size", size)
            .body(body);
        if !overwrite {
            ask = ask.header("if-none-match", "*");
        }
        let fault = match self.ask(ask).await? {
            Ok((response, url)) => {
                let headers = response.headers().clone();
                let text = self.text(response, &url).await.map_err(|error| error.context(self.doing(DOING, key)))?;
                match fault::within(&text, &headers) {
                    Ok(document) => return self.completed(key, &document?, parts, checksum),
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        match fault {
            fault if fault.is_precondition() => Ok(Completed::Taken),
            fault if fault.is_absent() => Ok(Completed::Gone),
            fault => Err(self.fault(fault, DOING, key)),
        }
    }

    fn completed(&self, key: &str, document: &Element, parts: &[Part], checksum: Checksum) -> Result<Completed> {
        let stated = checksum.element().map(|element| document.text_of(element)).filter(|sum| sum.contains('-'));
        let ours = checksum.of_parts(parts.iter().filter_map(|part| part.sum.as_deref()));
        if stated.is_some_and(|stated| ours.as_deref() != Some(stated)) {
            return Err(Error::internal(format!(
                "{}: the store made an object with another checksum",
                self.shown(key)
            ))
            .hint("do not use the object; report this to whoever runs the store"));
        }
        Ok(Completed::Done)
    }

    /// Throws an upload away; one that is gone is no error.
    pub async fn abort(&self, key: &str, upload: &str) -> Result<()> {
        const DOING: &str = "throwing away an upload of";
        match self.ask(Ask::new(Method::DELETE, key, DOING).query("uploadId", upload)).await? {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_absent() => Ok(()),
            Err(fault) => Err(self.fault(fault, DOING, key)),
        }
    }

    /// How many parts of an upload have arrived, and their bytes. None: the upload is not there.
    pub async fn arrived(&self, key: &str, upload: &str) -> Result<Option<(usize, u64)>> {
        const DOING: &str = "looking at the upload of";
        let (mut count, mut bytes, mut marker) = (0, 0, String::new());
        loop {
            let mut ask = Ask::new(Method::GET, key, DOING);
            if !marker.is_empty() {
                ask = ask.query("part-number-marker", &marker);
            }
            let (response, url) = match self.ask(ask.query("uploadId", upload)).await? {
                Ok(answer) => answer,
                Err(fault) if fault.is_absent() => return Ok(None),
                Err(fault) => return Err(self.fault(fault, DOING, key)),
            };
            let page = Element::read(&self.text(response, &url).await?)?;
            for part in page.all("Part") {
                count += 1;
                bytes += part.text_of("Size").parse::<u64>().unwrap_or_default();
            }
            let next = page.text_of("NextPartNumberMarker");
            if page.text_of("IsTruncated") != "true" || next.is_empty() || next == marker {
                return Ok(Some((count, bytes)));
            }
            marker = next.to_owned();
        }
    }

    /// Whether nothing of an upload is there any more.
    pub async fn is_gone(&self, key: &str, upload: &str) -> Result<bool> {
        Ok(matches!(self.arrived(key, upload).await?, None | Some((0, _))))
    }

    /// One page of the objects whose keys begin with a prefix, and the word for the next one.
    pub async fn list(&self, prefix: &str, after: Option<&str>, most: u32) -> Result<(Vec<Listed>, Option<String>)> {
        let mut ask = Ask::new(Method::GET, "", "listing");
        if let Some(after) = after {
            ask = ask.query("continuation-token", after);
        }
        ask = ask.query("list-type", 2).query("max-keys", most).query("prefix", prefix);
        let page = self.document(ask).await?;
        let listed = |object: &Element| {
            let size = object.text_of("Size").parse().ok()?;
            let modified = chrono::DateTime::parse_from_rfc3339(object.text_of("LastModified"));
            Some(Listed {
                key: object.text_of("Key").into(),
                size,
                etag: plain(object.text_of("ETag")),
                modified_ns: modified.ok().and_then(|modified| modified.timestamp_nanos_opt()),
            })
        };
        let objects: Option<Vec<_>> = page.all("Contents").map(listed).collect();
        let objects = objects.ok_or_else(|| Error::unavailable("the store's list has an object without a size"))?;
        let next = page.text_of("NextContinuationToken");
        let more = page.text_of("IsTruncated") == "true" && !next.is_empty();
        Ok((objects, more.then(|| next.to_owned())))
    }

    /// One page of the uploads that are not completed, and where the next one begins.
    pub async fn unfinished(&self, prefix: &str, after: Option<Marker>) -> Result<(Vec<Unfinished>, Option<Marker>)> {
        let mut ask = Ask::new(Method::GET, "", "looking for unfinished uploads in");
        if let Some((key, upload)) = after {
            ask = ask.query("key-marker", key);
            if !upload.is_empty() {
                ask = ask.query("upload-id-marker", upload);
            }
        }
        let page = self.document(ask.query("prefix", prefix).query("uploads", "")).await?;
        let uploads = page.all("Upload").map(|upload| Unfinished {
            key: upload.text_of("Key").into(),
            upload: upload.text_of("UploadId").into(),
            begun: chrono::DateTime::parse_from_rfc3339(upload.text_of("Initiated")).ok().map(SystemTime::from),
        });
        let next = (page.text_of("NextKeyMarker").to_owned(), page.text_of("NextUploadIdMarker").to_owned());
        let more = page.text_of("IsTruncated") == "true" && !next.0.is_empty();
        Ok((uploads.collect(), more.then_some(next)))
    }

    /// An address at which whoever has it can fetch an object, for as long as `expires`.
    pub async fn link(&self, key: &str, expires: Duration) -> Result<String> {
        let identity = self.login().identity().await?;
        sign::sign_link(&identity, self.region(), &self.url(key, &[])?, expires, SystemTime::now())
    }
}

fn kept(headers: &HeaderMap) -> Headers {
    let is_kept = |name: &str| KEPT.contains(&name) || (name.starts_with("x-amz-meta-") && name != MOVED_MARK);
    let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
    kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

fn plain(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}
