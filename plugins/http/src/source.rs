//! The source: what an API answers, as files for a format.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use engine_sdk::prelude::*;
use engine_sdk::types::{self, Tls};
use engine_sdk::{Runtime, file_piece, files_schema};
use indexmap::IndexMap;
use reqwest::Response;

use crate::answer;
use crate::asker::{Asker, Asking};
use crate::client::Identity;
use crate::login::Login;
use crate::paging::{Paging, Place};
use crate::questions::Questions;
use crate::rules::Rule;

/// How many bytes of an answer are handed on at a time.
const PIECE: usize = 256 << 10;

/// How a request asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Method {
    /// Reads.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// Asks with a body.
    #[serde(rename = "POST")]
    Post,
}

/// Asks an HTTP API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the requests go: `https://HOST/PATH`.
    pub url: String,
    /// `GET` or `POST`.
    #[serde(default)]
    pub method: Method,
    /// Headers of every request, by name.
    #[serde(default)]
    pub headers: IndexMap<String, Secret>,
    /// Parameters that are added to `url`. Unlike those in `url`, they are never
    /// shown. Their texts may be templates; one without a value is left out.
    #[serde(default)]
    pub query: IndexMap<String, Secret>,
    /// What is sent: an object or a list as JSON, a text as it is. Its texts may be
    /// templates.
    #[serde(default)]
    pub body: Option<Value>,
    /// How requests say who sends them.
    #[serde(default)]
    pub login: Option<Login>,
    /// A JSON Pointer to the records in an answer, such as `/data/items`: a list, or
    /// one object. The empty text is the whole answer. Unset: answers go to the
    /// format as they come.
    #[serde(default)]
    pub records_at: Option<String>,
    /// How an API hands out its records.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// Reads only what is new since the last run: a window of time, which the request
    /// names as `{{ window.from }}` and `{{ window.to }}`.
    #[serde(default)]
    pub cursor: Option<TimeWindow>,
    /// Reads nothing where the API says by its `ETag` that nothing has changed since
    /// the last run.
    #[serde(default)]
    pub etag: bool,
    /// What answers mean where the status alone does not say it. The first rule
    /// that fits decides. `reject` is for sinks.
    #[serde(default)]
    pub answers: Vec<Rule>,
    /// How many requests a second there may be. Unset: each follows the one before.
    #[serde(default)]
    pub requests_per_second: Option<NonZeroU32>,
    /// The largest answer that is looked into. Larger ones fail.
    #[serde(default = "default_max_answer")]
    pub max_answer: ByteSize,
    /// `disable`: another machine is reached without TLS. Unset: only this machine
    /// itself may be.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// A PEM file with the authorities that may have signed the server's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate with which the engine shows itself to the server.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The proxy through which requests go: `http://HOST:PORT`. Unset: none, also
    /// where the environment names one.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Duration,
    /// How long one request may take, with its answer.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
}

/// Windows of time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// Where the first window begins: `2026-01-01`, or a time with its zone. Without
    /// a zone it is UTC.
    pub start: String,
    /// What is younger than this waits for the next run, such as `5m` where an API
    /// takes a while to show what is new.
    #[serde(default)]
    pub lag: Option<types::Duration>,
}

pub const fn default_max_answer() -> ByteSize {
    ByteSize(64 << 20)
}

pub fn default_connect_timeout() -> Duration {
    Duration::seconds(10)
}

pub fn default_timeout() -> Duration {
    Duration::seconds(30)
}

pub struct HttpSource {
    questions: Questions,
    runtime: Runtime,
    cx: Context,
}

impl Component for HttpSource {
    type Config = Config;
    const SUMMARY: &'static str = "Reads what an HTTP API answers";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "a list of records in JSON, page by page",
                json!({
                    "url": "https://api.example.com/v1/calls", "login": {"bearer": "secret"},
                    "query": {"offset": "{{ page.offset }}", "limit": "{{ page.limit }}"},
                    "records_at": "/data/items", "paging": {"offset": {"limit": 1000, "count_at": "/data/count"}},
                }),
            ),
            example(
                "what is new since the last run",
                json!({
                    "url": "https://api.example.com/v1/calls", "records_at": "/calls", "paging": "link",
                    "query": {"since": "{{ window.from }}", "until": "{{ window.to }}"},
                    "cursor": {"start": "2026-01-01", "lag": "5m"},
                }),
            ),
            example("a file", json!({"url": "https://example.com/rates.csv", "etag": true})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { questions: Questions::new(config, &cx)?, runtime: Runtime::new()?, cx })
    }

    /// Asks for the first page, which changes nothing, and reads none of it.
    fn check(&mut self) -> Result<CheckReport> {
        self.questions.check(&self.runtime, &self.cx)
    }
}

impl Source for HttpSource {
    const GIVES: Shape = Shape::Files;
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        Ok(match self.questions.plan(request, &self.runtime, &self.cx)? {
            Some((piece, upper)) => Plan { upper, splits: vec![Split::new("0000", piece)?], ..Plan::default() },
            None => Plan { upper: None, splits: vec![], ..Plan::default() },
        })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let asking = Asking::new(&self.questions.asker, split.spec_as()?, &self.cx)?;
        let pages = Pages {
            asker: Arc::clone(&self.questions.asker),
            asking,
            runtime: Runtime::new()?,
            next: Some(Place::default()),
            open: None,
            cx: self.cx.clone(),
        };
        Ok(Batches::new(files_schema(), pages))
    }
}

/// A page that is being handed on.
struct Open {
    name: String,
    what: What,
    /// Nothing of it has been handed on yet: an empty one is a file all the same.
    begun: bool,
}

enum What {
    /// Held: its bytes and how far they are handed on.
    Held(Vec<u8>, usize),
    Coming(Response),
}

struct Pages {
    asker: Arc<Asker>,
    asking: Asking,
    runtime: Runtime,
    next: Option<Place>,
    open: Option<Open>,
    cx: Context,
}

impl Pages {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.cx.check_cancelled()?;
            let Some(open) = &mut self.open else {
                let Some(place) = self.next.take() else { return Ok(None) };
                self.open = Some(self.ask(&place)?);
                continue;
            };
            let first = !std::mem::replace(&mut open.begun, true);
            let data = match &mut open.what {
                What::Held(bytes, at) => {
                    let from = *at;
                    *at = bytes.len().min(from + PIECE);
                    bytes[from..*at].to_vec()
                }
                What::Coming(response) => {
                    let api = &self.asker.api;
                    let chunk = self.runtime.run(&self.cx, async {
                        let chunk = tokio::time::timeout(api.timeout(), response.chunk()).await;
                        let chunk = chunk.map_err(|_| engine_sdk::too_late(api.timeout()))?;
                        chunk.map_err(|error| answer::broken_off(&api.shown(), error))
                    })?;
                    match chunk {
                        Some(chunk) => chunk.to_vec(),
                        None if first => Vec::new(),
                        None => {
                            self.open = None;
                            continue;
                        }
                    }
                }
            };
            if data.is_empty() && !first {
                if matches!(open.what, What::Held(..)) {
                    self.open = None;
                }
                continue;
            }
            self.cx.progress(0, data.len() as u64);
            return Ok(Some(file_piece(&open.name, &data)));
        }
    }

    fn ask(&mut self, place: &Place) -> Result<Open> {
        let shown = self.asker.api.shown();
        let name = if self.asker.paging.is_some() { format!("{shown} page {}", place.index + 1) } else { shown };
        let (what, next) = if self.asker.records_at.is_some() {
            let page = self.runtime.run(&self.cx, self.asking.page(place))?;
            (What::Held(page.list(), 0), page.next)
        } else {
            let (response, next) = self.runtime.run(&self.cx, self.asking.stream(place))?;
            (What::Coming(response), next)
        };
        self.next = next;
        Ok(Open { name, what, begun: false })
    }
}

impl Iterator for Pages {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
