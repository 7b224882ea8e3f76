//! The sink: settings, and one delivery from its first request to its last answer.

use std::path::PathBuf;

use engine_sdk::prelude::*;
use engine_sdk::types::Tls;
use engine_sdk::{Runtime, counted};
use indexmap::IndexMap;
use serde_json::Map;

use crate::body::{Body, Shape};
use crate::client::{Api, Identity, Settings, idempotency_header as idempotency_header_of};
use crate::ledger::Ledger;
use crate::login::Login;
use crate::pledge::{Clients, Pledge, send};
use crate::rules::{Rule, Rules};
use crate::sender::{Sender, Way};
use crate::tally::Tally;
use crate::template::Template;
use crate::upload::{Envelope, Form, Json, Upload, Uploads};

/// As many connections as one client should ask of one server.
const MOST_AT_A_TIME: usize = 64;
/// As many records as fit into a body that a server still takes.
const LARGEST_BATCH: usize = 10_000;

/// How a request asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Method {
    /// Adds.
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// Puts in place.
    #[serde(rename = "PUT")]
    Put,
    /// Changes.
    #[serde(rename = "PATCH")]
    Patch,
}

/// Sends rows to an HTTP API, or files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the requests go: `https://HOST/PATH`.
    url: String,
    /// `POST`, `PUT` or `PATCH`.
    #[serde(default)]
    method: Method,
    /// Headers of every request, by name, such as `authorization`.
    #[serde(default)]
    headers: IndexMap<String, Secret>,
    /// Parameters that are added to `url`, such as a key of the API. Unlike those
    /// in `url`, they are never shown.
    #[serde(default)]
    query: IndexMap<String, Secret>,
    /// How requests say who sends them.
    #[serde(default)]
    login: Option<Login>,
    /// `disable`: another machine is reached without TLS. Unset: only this machine
    /// itself may be.
    #[serde(default)]
    tls: Option<Tls>,
    /// A PEM file with the authorities that may have signed the server's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// The certificate with which the engine shows itself to the server.
    #[serde(default)]
    identity: Option<Identity>,
    /// The proxy through which requests go: `http://HOST:PORT`. Unset: none, also
    /// where the environment names one.
    #[serde(default)]
    proxy: Option<Secret>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: Duration,
    /// How long one request may take, with its answer.
    #[serde(default = "default_timeout")]
    timeout: Duration,
    /// How many records one request holds. The last one of a delivery may hold fewer.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 10_000))]
    batch: usize,
    /// What the body of a request is: `record`, one object, or `list`, a list of
    /// objects. Unset: `record` where `batch` is 1, else `list`.
    #[serde(default)]
    body: Option<Body>,
    /// Makes the body an object, and names its member that is the list of records.
    #[serde(default)]
    records_at: Option<String>,
    /// Further members of the object that `records_at` makes, with their values.
    /// Texts may be templates.
    #[serde(default)]
    #[schemars(schema_with = "fields_schema")]
    fields: Map<String, Value>,
    /// The body, written out: an object or a list as JSON, or a text. Its texts may be
    /// templates, such as `{ text: "{{ record.summary }}" }`.
    #[serde(default)]
    template: Option<Value>,
    /// Leaves members without a value out, instead of writing `null`.
    #[serde(default)]
    omit_nulls: bool,
    /// Files: the name that each is sent under. Unset: the name that the file comes
    /// with, which one that a `format` makes has not.
    #[serde(default)]
    filename: Option<engine_sdk::types::Template>,
    /// Files: sends each as a field of a form, as browsers do. Unset: its bytes are the
    /// body.
    #[serde(default)]
    form: Option<Form>,
    /// Files: sends each inside a JSON object, its bytes as base64, for APIs that take nothing else.
    #[serde(default)]
    json: Option<Json>,
    /// How many requests may be on their way at a time. With 1 they arrive in the
    /// order of the rows.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = 64))]
    concurrency: usize,
    /// The header with a key that is the same whenever a request is sent again.
    /// `null`: none.
    #[serde(default = "default_idempotency_header")]
    idempotency_header: Option<String>,
    /// What answers mean where the status alone does not say it. The first rule
    /// that fits decides.
    #[serde(default)]
    answers: Vec<Rule>,
    /// Numbers of the answers that the run's report adds up, by name: a JSON
    /// Pointer to each, such as `matched: /matched`. A list counts by its length.
    #[serde(default)]
    figures: IndexMap<String, String>,
}

fn fields_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let text = json!({"type": "string", "format": "template"});
    let other = json!({"type": ["null", "boolean", "number", "array", "object"]});
    schemars::json_schema!({"type": "object", "additionalProperties": {"anyOf": [text, other]}})
}

fn default_connect_timeout() -> Duration {
    Duration::seconds(10)
}

fn default_timeout() -> Duration {
    Duration::seconds(30)
}

fn default_batch() -> usize {
    1
}

fn default_concurrency() -> usize {
    1
}

fn default_idempotency_header() -> Option<String> {
    Some("Idempotency-Key".into())
}

pub struct HttpSink {
    way: Way,
    /// Files come, and no rows.
    upload: Option<Upload>,
    runtime: Runtime,
    /// What earlier attempts at the delivery have kept.
    answered: Vec<Value>,
    /// What the answers to the delivery have told.
    told: Receipt,
    cx: Context,
}

impl Component for HttpSink {
    type Config = Config;
    const SUMMARY: &'static str = "Sends rows to an HTTP API, as JSON, or files";

    fn examples() -> Vec<Example> {
        vec![
            example(
                "one request a row",
                json!({"url": "https://api.example.com/incidents", "headers": {"authorization": "Bearer secret"}}),
            ),
            example(
                "100 records a request, ten requests at a time, wrapped as the API wants them",
                json!({
                    "url": "https://api.example.com/insertcdr", "query": {"auth_key": "secret"}, "batch": 100,
                    "concurrency": 10, "records_at": "cdrdata", "fields": {"servicename": "pbx"},
                }),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        config.fits(cx.takes_files())?;
        cx.require_filename(config.filename.is_some())?;
        within("batch", config.batch, LARGEST_BATCH)?;
        within("concurrency", config.concurrency, MOST_AT_A_TIME)?;
        let (mut headers, mut query) = (config.headers, config.query);
        if let Some(login) = &config.login {
            login.add_to(&mut headers, &mut query)?;
        }
        let idempotency_header = config.idempotency_header.as_deref();
        let idempotency_header = idempotency_header.map(|name| idempotency_header_of(name, &headers));
        let api = Api::new(&Settings {
            url: &config.url,
            query: &query,
            headers: &headers,
            tls: config.tls,
            ca: config.ca.map(|path| cx.resolve(path)),
            identity: config.identity.map(|it| (cx.resolve(it.certificate), cx.resolve(it.key))),
            proxy: config.proxy.as_ref(),
            connect_timeout: config.connect_timeout.0,
            timeout: config.timeout.0,
            unanswered: "the request may have been taken; it is sent again with the same idempotency key",
        })?;
        let records_at = config.records_at.as_deref();
        let shape = match &config.template {
            None => Shape::new(config.body, config.batch, records_at, &config.fields, config.omit_nulls)?,
            Some(_) if config.body.is_some() || records_at.is_some() || !config.fields.is_empty() => {
                return Err(Error::config(
                    "`template` is the whole body, and `body`, `records_at` or `fields` are there too",
                )
                .hint("put everything into `template`: {{ records }} is the list of records"));
            }
            Some(template) => {
                let template = Template::new(template, config.batch == 1, cx.pipeline())?;
                Shape::written(template, config.batch, config.omit_nulls)
            }
        };
        let method = match config.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
        };
        let idempotency_header = idempotency_header.transpose()?;
        let rules = Rules::new(config.answers, config.figures)?;
        let pledge = Pledge::new(config.login.as_ref(), &api, &cx)?;
        config.form.iter().flat_map(Form::secrets).for_each(|secret| api.keep_secret(secret));
        config.json.iter().flat_map(Json::secrets).for_each(|secret| api.keep_secret(secret));
        let envelope = match (config.form, config.json) {
            (Some(form), None) => Envelope::Form(form),
            (None, Some(json)) => Envelope::Json(json.checked()?),
            (None, None) => Envelope::None,
            (Some(_), Some(_)) => {
                return Err(Error::config("`form` and `json` are two ways to send one file").hint("remove one of them"));
            }
        };
        let filename = config.filename.map(|it| it.to_string());
        let upload = cx.takes_files().then_some(Upload { filename, envelope });
        let way = Way { api, pledge, method, shape, concurrency: config.concurrency, idempotency_header, rules };
        Ok(Self { way, upload, runtime: Runtime::new()?, answered: vec![], told: Receipt::default(), cx })
    }

    /// Asks without sending anything. An API that takes only what it is made for answers this in many
    /// ways; what counts is that it answers, and does not refuse the login.
    fn check(&mut self) -> Result<CheckReport> {
        let Way { api, pledge, .. } = &self.way;
        let clients = Clients::of(api)?;
        let status = self.runtime.run(&self.cx, async {
            let ask = |client: &reqwest::Client| client.head(api.url());
            Ok(send(pledge, api, &clients, &self.cx, &api.url(), ask).await?.status())
        })?;
        if matches!(status.as_u16(), 401 | 403 | 407) {
            return Err(Error::denied(format!("{} answered {status}", api.shown()))
                .hint("check `login`, or the key in `headers` or `query`, and what it may do"));
        }
        Ok(CheckReport { summary: format!("{} answers ({status} to HEAD)", api.shown()) })
    }
}

impl Config {
    /// Whether what is set is about what comes.
    fn fits(&self, files: bool) -> Result<()> {
        let of_files =
            [("filename", self.filename.is_some()), ("form", self.form.is_some()), ("json", self.json.is_some())];
        let of_rows = [
            ("batch", self.batch != default_batch()),
            ("body", self.body.is_some()),
            ("records_at", self.records_at.is_some()),
            ("fields", !self.fields.is_empty()),
            ("template", self.template.is_some()),
            ("omit_nulls", self.omit_nulls),
            ("concurrency", self.concurrency != default_concurrency()),
        ];
        let found =
            |settings: &[(&'static str, bool)]| settings.iter().find(|(_, is_set)| *is_set).map(|(name, _)| *name);
        match (files, found(&of_files), found(&of_rows)) {
            (false, Some(name), _) => Err(Error::config(format!("`{name}` is set, and no files come"))
                .hint(format!("add `format:` to the sink, which makes a file of the rows, or remove `{name}`"))),
            (true, _, Some(name)) => Err(Error::config(format!("`{name}` is about rows, and files come"))
                .hint(format!("remove `{name}`, or `format:`, which makes a file of the rows"))),
            (true, ..) if matches!(self.login, Some(Login::Aws(_))) => {
                Err(Error::config("`login: aws` signs what is sent, and files are sent while they are read")
                    .hint("use another login"))
            }
            _ => Ok(()),
        }
    }
}

fn within(name: &str, number: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(Error::config(format!("`{name}` is {number}")).hint(format!("give a number from 1 to {most}")))
}

impl Sink for HttpSink {
    const TAKES: Takes = Takes::Either;
    const PROMISE: Promise = Promise::AtLeastOnce;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.answered.clone_from(&delivery.answered);
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        if let Some(upload) = &self.upload {
            let mut uploads = Uploads {
                way: &self.way,
                upload,
                runtime: &self.runtime,
                cx: &self.cx,
                ledger: Ledger::new(&delivery.key, &std::mem::take(&mut self.answered))?,
                given_up: delivery.given_up.as_ref(),
                clients: Clients::of(&self.way.api)?,
                bytes: 0,
                again: 0,
                count: 0,
            };
            uploads.send_all(input)?;
            let Uploads { ledger, bytes, again, .. } = uploads;
            if again > 0 {
                let files = counted(again, "file");
                self.cx.log(Level::Info, format!("{files} had been taken before and were not sent again"));
            }
            self.told = Receipt { figures: ledger.figures, ..Receipt::default() };
            return Ok(Sealed { bytes, ..Sealed::default() });
        }
        check_columns(&input.schema())?;
        let ledger = Ledger::new(&delivery.key, &std::mem::take(&mut self.answered))?;
        let mut tally = Tally::new(ledger, &self.cx);
        if let Some(given_up) = &delivery.given_up {
            tally.refuse_rest(&self.way.shape, input, given_up)?;
            let (sealed, told) = tally.end();
            self.told = told;
            return Ok(sealed);
        }
        std::thread::scope(|scope| {
            let sender = Sender::start(scope, &self.way, &self.runtime, &self.cx)?;
            let read = tally.send(&sender, &self.way.shape, input);
            let (outcomes, ended) = sender.finish();
            let counted: Result<()> = outcomes.into_iter().try_for_each(|outcome| tally.count(outcome));
            let ended = ended();
            // Kept whatever has happened: these requests need not be sent again.
            let kept = tally.ledger.keep(&self.cx);
            read?;
            counted?;
            ended?;
            kept
        })?;
        if let Some(error) = tally.error {
            return Err(error);
        }
        if tally.again > 0 {
            let requests = counted(tally.again, "request");
            self.cx.log(Level::Info, format!("{requests} had been taken before and were not sent again"));
        }
        let (sealed, told) = tally.end();
        self.told = told;
        Ok(sealed)
    }

    /// Every request was answered in `write`.
    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let sealed = delivery.sealed.clone().unwrap_or_default();
        let location = Some(self.way.api.shown());
        let told = std::mem::take(&mut self.told);
        Ok(Receipt { rows: sealed.rows, bytes: sealed.bytes, location, ..told })
    }

    /// What was taken cannot be taken back.
    fn abort(&mut self, _: &Delivery) -> Result<()> {
        Ok(())
    }
}

fn check_columns(schema: &Schema) -> Result<()> {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) => Err(Error::config(format!("two columns are named `{name}`, but a record can have one"))
            .hint("rename one of them before")),
        None => Ok(()),
    }
}
