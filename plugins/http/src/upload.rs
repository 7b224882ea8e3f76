//! Files as requests: each is one, its bytes the body or a part of a form.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine_sdk::prelude::*;
use engine_sdk::{Runtime, file_name, file_pieces, media_type, packed_name};
use futures_util::{StreamExt, stream};
use indexmap::IndexMap;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, multipart};
use serde_json::Map;
use sha2::{Digest, Sha256};

use crate::answer::{self, Answer, Refusal};
use crate::ledger::{Id, Ledger};
use crate::pledge::{Clients, send};
use crate::sender::Way;

/// Bytes that are read of a file at a time.
const PIECE: u64 = 256 << 10;

/// A form, as browsers send files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The name of the field with the file.
    #[serde(default = "default_file")]
    file: String,
    /// Further fields, with their values.
    #[serde(default)]
    fields: IndexMap<String, Secret>,
}

fn default_file() -> String {
    "file".into()
}

/// A JSON object that a file is a member of.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// The member with the bytes of the file, as base64.
    #[serde(default = "default_content")]
    content: String,
    /// The member with the name of the file.
    #[serde(default = "default_name")]
    name: String,
    /// Further members, texts with their values.
    #[serde(default)]
    fields: IndexMap<String, Secret>,
}

fn default_content() -> String {
    "content".into()
}

fn default_name() -> String {
    "filename".into()
}

/// What a file stands in, in its request.
pub enum Envelope {
    /// In nothing: its bytes are the body.
    None,
    /// A field of a form.
    Form(Form),
    /// A member of a JSON object.
    Json(Json),
}

/// How files are sent.
pub struct Upload {
    pub filename: Option<String>,
    pub envelope: Envelope,
}

impl Json {
    /// What stands in the members beside the file may be a key of the API.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.fields.values().map(Secret::reveal)
    }

    /// Refuses two members of one name.
    pub fn checked(self) -> Result<Self> {
        let twice = if self.content == self.name { Some(&self.name) } else { None };
        match twice.or(self.fields.keys().find(|key| **key == self.content || **key == self.name)) {
            Some(key) => Err(Error::config(format!("`json` has two members `{key}`"))
                .hint("give `content`, `name` and each of `fields` a name of its own")),
            None => Ok(self),
        }
    }

    /// What stands before the bytes of a file.
    fn head(&self, file: &str) -> String {
        let mut object = Map::new();
        object.insert(self.name.clone(), file.into());
        for (name, value) in &self.fields {
            object.insert(name.clone(), value.reveal().into());
        }
        let text = Value::Object(object).to_string();
        format!("{},{}:\"", text.trim_end_matches('}'), Value::from(self.content.as_str()))
    }
}

/// What stands behind the bytes of a file in a JSON object.
const TAIL: &str = "\"}";

/// A file that waits on disk until it is whole: only then are its length and its key known.
struct Whole {
    name: String,
    given: String,
    file: Arc<File>,
    bytes: u64,
    hash: Sha256,
}

/// The files of a delivery on their way.
pub struct Uploads<'a> {
    pub way: &'a Way,
    pub upload: &'a Upload,
    pub runtime: &'a Runtime,
    pub cx: &'a Context,
    pub ledger: Ledger,
    pub given_up: Option<&'a GivenUp>,
    pub clients: Clients,
    pub bytes: u64,
    /// Files that an earlier attempt had sent.
    pub again: usize,
    /// Files so far.
    pub count: usize,
}

impl Form {
    /// What stands in the fields beside the file may be a key of the API.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.fields.values().map(Secret::reveal)
    }
}

impl Whole {
    /// `start`: its first piece.
    fn new(filename: Option<&str>, given: &str, start: &[u8]) -> Result<Self> {
        let file = tempfile::tempfile()
            .map_err(|error| Error::from(error).context("a file cannot be put aside").hint("set TMPDIR"))?;
        let (name, given) = (packed_name(file_name(filename, given)?, start), given.to_owned());
        Ok(Self { name, given, file: Arc::new(file), bytes: 0, hash: Sha256::new() })
    }

    fn add(&mut self, data: &[u8]) -> Result<()> {
        let written = (&*self.file).write_all(data);
        written.map_err(|error| Error::from(error).context(format_args!("{} cannot be put aside", self.name)))?;
        self.hash.update(data);
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// The file as a member of a JSON object, read while it is sent, and how long that is.
    fn json(&self, json: &Json) -> (reqwest::Body, u64) {
        let head = json.head(&self.name);
        let length = (head.len() + TAIL.len()) as u64 + self.bytes.div_ceil(3) * 4;
        let (file, end) = (Arc::clone(&self.file), self.bytes);
        let encoded = stream::unfold(0, move |at| {
            let file = Arc::clone(&file);
            async move {
                // Whole groups of three bytes: nothing is left for the next piece.
                let mut piece = vec![0; (PIECE / 3 * 3).min(end - at) as usize];
                if piece.is_empty() {
                    return None;
                }
                let read = file.read_exact_at(&mut piece, at);
                let next = if read.is_ok() { at + piece.len() as u64 } else { end };
                Some((read.map(|()| Bytes::from(STANDARD.encode(&piece))), next))
            }
        });
        let part = |text: String| stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
        let body = part(head).chain(encoded).chain(part(TAIL.to_owned()));
        (reqwest::Body::wrap_stream(body), length)
    }

    /// The file as the body of a request, read while it is sent.
    fn body(&self) -> reqwest::Body {
        let (file, end) = (Arc::clone(&self.file), self.bytes);
        reqwest::Body::wrap_stream(stream::unfold(0, move |at| {
            let file = Arc::clone(&file);
            async move {
                let mut piece = vec![0; PIECE.min(end - at) as usize];
                if piece.is_empty() {
                    return None;
                }
                let read = file.read_exact_at(&mut piece, at);
                // After an error there is nothing more to read.
                let next = if read.is_ok() { at + piece.len() as u64 } else { end };
                Some((read.map(|()| Bytes::from(piece)), next))
            }
        }))
    }
}

impl Uploads<'_> {
    /// Sends the files, one after the other.
    pub fn send_all(&mut self, input: Batches) -> Result<()> {
        let mut open: Option<Whole> = None;
        for batch in input {
            self.cx.check_cancelled()?;
            for (given, data) in file_pieces(&batch?)? {
                if open.as_ref().is_none_or(|file| file.given != given) {
                    if let Some(whole) = open.take() {
                        self.send(&whole)?;
                    }
                    open = Some(Whole::new(self.upload.filename.as_deref(), given, data)?);
                    self.count += 1;
                    if self.count > 1 && self.way.method == Method::PUT {
                        return Err(Error::config(
                            "several files come, and `method: PUT` would put each in the place of the one before",
                        )
                        .hint("write `method: POST`, or read one file a run"));
                    }
                }
                if let Some(file) = &mut open {
                    file.add(data)?;
                }
            }
        }
        open.map_or(Ok(()), |whole| self.send(&whole))
    }

    fn send(&mut self, whole: &Whole) -> Result<()> {
        let content = [&whole.hash.clone().finalize()[..], whole.name.as_bytes()].concat();
        let id = self.ledger.id(&content);
        if self.ledger.missing(id, 1).is_empty() {
            self.again += 1;
            self.bytes += whole.bytes;
            return Ok(());
        }
        if let Some(GivenUp { reason, .. }) = self.given_up {
            return Err(Error::unavailable(format!("{} was not sent: {reason}", whole.name)));
        }
        match self.ask(whole, id)? {
            Answer::Accepted { figures } => {
                self.bytes += whole.bytes;
                self.ledger.taken(id, &figures, self.cx)?;
                // A file takes its time: one is not sent twice for an answer that was lost.
                self.ledger.keep(self.cx)
            }
            Answer::Refused(Refusal { reason, .. }) => {
                Err(Error::config(format!("{} was refused: {reason}", whole.name))
                    .hint("mend what the API says, or say with `answers` what this answer means"))
            }
        }
    }

    fn ask(&self, whole: &Whole, id: Id) -> Result<Answer> {
        let Self { way, clients, cx, .. } = self;
        let url = way.api.url();
        self.runtime.run(cx, async {
            let make = |client: &Client| self.request(client, whole, id);
            let response = send(&way.pledge, &way.api, clients, cx, &url, make).await?;
            answer::read(&way.api.shown(), response, &way.rules, |text| way.api.hide(text)).await
        })
    }

    fn request(&self, client: &Client, whole: &Whole, id: Id) -> RequestBuilder {
        let Way { api, method, idempotency_header, .. } = self.way;
        let kind = media_type(&whole.name);
        let mut request = client.request(method.clone(), api.url());
        request = match &self.upload.envelope {
            Envelope::Form(Form { file, fields }) => {
                let part = multipart::Part::stream_with_length(whole.body(), whole.bytes).file_name(whole.name.clone());
                let part = part.headers(HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]));
                let texts = fields.iter().fold(multipart::Form::new(), |form, (name, value)| {
                    form.text(name.clone(), value.reveal().to_owned())
                });
                request.multipart(texts.part(file.clone(), part))
            }
            Envelope::Json(json) => {
                let (body, length) = whole.json(json);
                request.header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, length).body(body)
            }
            Envelope::None => {
                if !api.has_header(&CONTENT_TYPE) {
                    request = request.header(CONTENT_TYPE, kind);
                }
                request.header(CONTENT_LENGTH, whole.bytes).body(whole.body())
            }
        };
        match idempotency_header {
            Some(header) => request.header(header, id.text()),
            None => request,
        }
    }
}
