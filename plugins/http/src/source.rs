//! The source: what an API answers, as files for a format.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use engine_sdk::prelude::*;
use engine_sdk::record_template::JsonTemplate;
use engine_sdk::types::{self, Tls};
use engine_sdk::{Runtime, file_piece, files_schema};
use indexmap::IndexMap;
use reqwest::Response;
use reqwest::header::ETAG;

use crate::answer;
use crate::asker::{Asker, Asking, Piece, Window};
use crate::client::{Api, Identity, Settings};
use crate::login::{Login, Session};
use crate::paging::{Paging, Place};
use crate::rules::{Rule, Rules, is_pointer};

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
    start: String,
    /// What is younger than this waits for the next run, such as `5m` where an API
    /// takes a while to show what is new.
    #[serde(default)]
    lag: Option<types::Duration>,
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

/// The settings of an API that is asked, ready to be used.
pub struct Questions {
    pub asker: Arc<Asker>,
    cursor: Option<(DateTime<Utc>, chrono::TimeDelta)>,
    etag: bool,
}

impl Questions {
    pub fn new(config: Config, cx: &Context) -> Result<Self> {
        let (mut headers, mut query) = (config.headers, config.query);
        if let Some(login) = &config.login {
            login.add_to(&mut headers, &mut query)?;
        }
        if let Some(paging) = &config.paging {
            paging.check(config.records_at.is_some())?;
        }
        if let Some(wrong) = config.records_at.as_ref().filter(|pointer| !is_pointer(pointer)) {
            return Err(Error::config(format!("`records_at` is `{wrong}`, which is no JSON Pointer"))
                .hint("begin it with `/`, such as `/data/items`"));
        }
        if config.method == Method::Get && config.body.is_some() {
            return Err(Error::config("`body` needs `method: POST`").hint("write `method: POST`, or leave `body` out"));
        }
        if config.etag && (config.cursor.is_some() || config.paging.is_some() || config.method != Method::Get) {
            return Err(Error::config("`etag` is about one answer to GET")
                .hint("leave `cursor`, `paging` and `method` out, or `etag`"));
        }
        let rules = Rules::new(config.answers, IndexMap::new())?;
        if rules.reject() {
            return Err(Error::config("`answers` has `then: reject`, and a question has no records to refuse")
                .hint("write `then: fail` or `then: retry`"));
        }
        if rules.read_answers() && config.records_at.is_none() {
            return Err(Error::config("`answers` looks into answers, which go to the format as they come")
                .hint("say with `records_at` where the records are"));
        }
        let mut names = vec!["now"];
        names.extend(config.cursor.is_some().then_some("window"));
        names.extend(config.paging.is_some().then_some("page"));
        // What is the same in every request stands in the address; the others are filled in for each.
        let (mut fixed, mut templates) = (IndexMap::new(), Vec::new());
        for (name, secret) in query {
            match JsonTemplate::compile(&format!("query.{name}"), &secret.reveal().into(), &names)? {
                JsonTemplate::Fixed(_) => drop(fixed.insert(name, secret)),
                template => templates.push((name, template)),
            }
        }
        let body = config.body.map(|body| JsonTemplate::compile("body", &body, &names)).transpose()?;
        let api = Api::new(&Settings {
            url: &config.url,
            query: &fixed,
            headers: &headers,
            tls: config.tls,
            ca: config.ca.map(|path| cx.resolve(path)),
            identity: config.identity.map(|it| (cx.resolve(it.certificate), cx.resolve(it.key))),
            proxy: config.proxy.as_ref(),
            connect_timeout: config.connect_timeout.0,
            timeout: config.timeout.0,
            unanswered: "it is asked again, as the pipeline's `retry` says",
        })?;
        let session = match &config.login {
            Some(login) => Session::new(login, &api, cx)?,
            None => None,
        };
        let cursor = config.cursor.map(|cursor| -> Result<_> {
            let lag = cursor.lag.map(|lag| chrono::TimeDelta::from_std(lag.0)).transpose();
            let lag = lag.map_err(|_| Error::config("`cursor.lag` is longer than any time"))?;
            Ok((time("cursor.start", &cursor.start)?, lag.unwrap_or_default()))
        });
        let asker = Asker {
            api,
            session,
            method: if config.method == Method::Get { reqwest::Method::GET } else { reqwest::Method::POST },
            query: templates,
            body,
            rules,
            records_at: config.records_at,
            paging: config.paging,
            most_answer: config.max_answer.as_usize(),
            every: config.requests_per_second.map(|rate| std::time::Duration::from_secs(1) / rate.get()),
        };
        Ok(Self { asker: Arc::new(asker), cursor: cursor.transpose()?, etag: config.etag })
    }

    /// What the next window reads. None: there is nothing new.
    pub fn plan(
        &self,
        request: &PlanRequest,
        runtime: &Runtime,
        cx: &Context,
    ) -> Result<Option<(Piece, Option<Value>)>> {
        let now = Utc::now();
        let piece = |window| Piece { now: written(now), window };
        let Some((start, lag)) = self.cursor else {
            if request.upper.is_some() {
                return Err(Error::config("without a `cursor` there are no windows that could be read again")
                    .hint("write `cursor: { start: TIME }` under the source's `with`"));
            }
            if !self.etag {
                return Ok(Some((piece(None), None)));
            }
            let known = request.cursor.as_ref().and_then(|cursor| cursor.get("etag")?.as_str());
            let mut asking = Asking::new(&self.asker, piece(None), cx)?;
            let headers = runtime.run(cx, asking.changed(known))?;
            return Ok(headers.map(|headers| {
                let mark = headers.get(ETAG).and_then(|mark| mark.to_str().ok());
                (piece(None), mark.map(|mark| json!({"etag": mark})))
            }));
        };
        let position = |value: &Value| -> Result<DateTime<Utc>> {
            let text = value.as_str().ok_or_else(|| {
                Error::config(format!("the cursor stands at {value}, which is no time"))
                    .hint("it was another one before: begin anew with `engine state reset`")
            })?;
            time("cursor", text)
        };
        let from = request.cursor.as_ref().map(position).transpose()?.unwrap_or(start);
        let to = match &request.upper {
            Some(upper) => position(upper)?,
            None => (now - lag).trunc_subsecs(0),
        };
        if to <= from {
            return Ok(None);
        }
        let window = Window { from: written(from), to: written(to) };
        let upper = json!(window.to);
        Ok(Some((piece(Some(window)), Some(upper))))
    }
}

/// A time of the settings or a position. Without a zone it is UTC.
fn time(setting: &str, text: &str) -> Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let naive = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let naive = naive.or_else(|| text.parse::<chrono::NaiveDate>().ok().map(|date| date.into()));
    naive.map(|naive| naive.and_utc()).ok_or_else(|| {
        Error::config(format!("`{setting}` is `{text}`, which is no time"))
            .hint("write 2026-01-31, or 2026-01-31T12:00:00+05:30")
    })
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
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
        check(&self.questions, &self.runtime, &self.cx)
    }
}

/// Asks for the first page.
pub fn check(questions: &Questions, runtime: &Runtime, cx: &Context) -> Result<CheckReport> {
    let shown = questions.asker.api.shown();
    let Some((piece, _)) = questions.plan(&PlanRequest::default(), runtime, cx)? else {
        return Ok(CheckReport { summary: format!("{shown}: nothing is asked before the cursor's start") });
    };
    let mut asking = Asking::new(&questions.asker, piece, cx)?;
    let status = runtime.run(cx, asking.check())?;
    Ok(CheckReport { summary: format!("{shown} answers ({status})") })
}

impl Source for HttpSource {
    const GIVES: Shape = Shape::Files;
    const RANGES: bool = true;

    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        Ok(match self.questions.plan(request, &self.runtime, &self.cx)? {
            Some((piece, upper)) => Plan { upper, splits: vec![Split::new("0000", piece)?] },
            None => Plan { upper: None, splits: vec![] },
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
                    let chunk = self.runtime.run(&self.cx, async {
                        response.chunk().await.map_err(|error| answer::broken_off(&self.asker.api.shown(), error))
                    })?;
                    chunk.map(|chunk| chunk.to_vec()).unwrap_or_default()
                }
            };
            if data.is_empty() && !first {
                self.open = None;
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
