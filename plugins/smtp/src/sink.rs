//! The sink: settings, and one delivery from its first row to its last message.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use engine_sdk::counted;
use engine_sdk::prelude::*;
use engine_sdk::record_template::{Escape, RecordTemplate, Text, records};
use lettre::transport::smtp::client::SmtpConnection;

use crate::attachment::{self, Limit};
use crate::ledger::Ledger;
use crate::letter::{self, Flaw, Form, Letter, Matter, NAMES, NAMES_OF_FILES};
use crate::server::{self, Sent, Server};

/// As many refused receivers as somebody is told of in one delivery.
const MOST_ALERTS: usize = 100;
/// As many receivers as a receipt names.
const MOST_RECEIVERS: usize = 1_000;

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// TLS is asked for before anything is said, and nothing is sent without it.
    #[default]
    Starttls,
    /// TLS from the beginning.
    Tls,
    /// None: what is sent can be read on the way. A login goes to this machine
    /// itself alone.
    None,
}

impl Encryption {
    const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// What one message is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum About {
    /// All records of a delivery.
    #[default]
    Delivery,
    /// One record.
    Record,
    /// One file.
    File,
}

/// Sends rows by mail, or files as attachments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The mail server.
    host: String,
    /// Its port. Unset: 587, with `encryption: tls` 465, with `none` 25.
    #[serde(default)]
    port: Option<u16>,
    /// `starttls`, `tls` or `none`.
    #[serde(default)]
    encryption: Encryption,
    /// A PEM file with the authorities that may have signed the server's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// Who logs in. Unset: nobody does.
    #[serde(default)]
    username: Option<String>,
    /// The password of `username`.
    #[serde(default)]
    password: Option<Secret>,
    /// Who sends: `name@example.com` or `Name <name@example.com>`.
    from: String,
    /// Where answers go, if not to `from`.
    #[serde(default)]
    reply_to: Vec<String>,
    /// Who receives. Each may be a template, such as `{{ record.email }}`; one
    /// that comes out empty is nobody.
    to: Vec<RecordTemplate>,
    /// Who gets a copy.
    #[serde(default)]
    cc: Vec<RecordTemplate>,
    /// Who gets a copy without the others seeing it.
    #[serde(default)]
    bcc: Vec<RecordTemplate>,
    /// Sends a message of its own to each receiver in `to`.
    #[serde(default)]
    each: bool,
    /// What one message is about: `delivery`, all records or files of one, `record`, or `file`. The files of a
    /// `burst` are called `VALUE/NAME`, and a message about one can go to `{{ file.folder }}`.
    #[serde(default)]
    message: About,
    /// A template. Unset: the record's column `summary`, if there is one, else the
    /// pipeline's name and the number of records.
    #[serde(default)]
    subject: Option<RecordTemplate>,
    /// The text, a template. Unset, and without `html`: the records as a table.
    #[serde(default)]
    text: Option<RecordTemplate>,
    /// The text as HTML, a template; values in it are escaped.
    #[serde(default)]
    html: Option<RecordTemplate>,
    /// Values of the run that templates may name, as `{{ values.NAME }}`: `{ day: "{{ params.day }}" }`.
    #[serde(default)]
    values: BTreeMap<String, Template>,
    /// Files: the name of the attachment, such as
    /// `calls-{{ run.started | date("%Y-%m-%d") }}.csv`. Unset: the name that the file
    /// comes with, which one that a `format` makes has not.
    #[serde(default)]
    filename: Option<Template>,
    /// Files: how large they may be together. In the message they are larger by 37 %,
    /// and many servers take 25 MB.
    #[serde(default = "default_max_size")]
    max_size: ByteSize,
    /// Files: where they can be fetched, such as
    /// `https://files.example.com/calls-{{ run.started | date("%Y-%m-%d") }}.csv`. With it, files that are larger than
    /// `max_size` are not attached: the message names this place instead. Another sink has to put them there.
    #[serde(default)]
    link: Option<Template>,
    /// How many records of a delivery a message can show.
    #[serde(default = "default_rows")]
    #[schemars(range(min = 1, max = 10_000))]
    rows: usize,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: Duration,
    /// How long one answer of the server may take.
    #[serde(default = "default_timeout")]
    timeout: Duration,
}

fn default_max_size() -> ByteSize {
    ByteSize(15 << 20)
}

fn default_rows() -> usize {
    100
}

fn default_connect_timeout() -> Duration {
    Duration::seconds(10)
}

fn default_timeout() -> Duration {
    Duration::seconds(30)
}

pub struct SmtpSink {
    server: Server,
    form: Form,
    about: About,
    rows: usize,
    filename: Option<Template>,
    max_size: ByteSize,
    link: Option<Template>,
    /// Who has taken a message of the delivery.
    taken: BTreeSet<String>,
    /// What earlier attempts at the delivery have kept.
    answered: Vec<Value>,
    /// Who was refused in the delivery.
    alerts: BTreeMap<String, String>,
    cx: Context,
}

impl Component for SmtpSink {
    type Config = Config;
    const SUMMARY: &'static str = "Sends rows by mail, and files as attachments";

    fn examples() -> Vec<Example> {
        let mut login = json!({
            "host": "mail.example.com", "username": "engine", "password": "secret", "from": "Engine <engine@example.com>",
            "to": ["operations@example.com"],
        });
        let told = example("what the engine tells of a run, to the team", login.clone());
        login["message"] = json!("record");
        login["to"] = json!(["{{ record.email }}"]);
        login["subject"] = json!("Your invoice {{ record.number }}");
        login["text"] = json!("Dear {{ record.name }},\nplease pay {{ record.amount }}.\n");
        vec![told, example("a message for each row, to whom it names", login)]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        for (name, duration) in [("timeout", config.timeout), ("connect_timeout", config.connect_timeout)] {
            if duration.0.is_zero() {
                return Err(Error::config(format!("`{name}` is 0, and no server answers at once"))
                    .hint("give a time such as 30s"));
            }
        }
        if !(1..=10_000).contains(&config.rows) {
            return Err(Error::config(format!("`rows` is {}", config.rows)).hint("give a number from 1 to 10000"));
        }
        if config.to.is_empty() && config.cc.is_empty() && config.bcc.is_empty() {
            return Err(Error::config("nobody receives anything").hint("name somebody in `to`"));
        }
        let login = match (config.username, config.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::config("`username` has no `password`").hint("add `password`, or remove `username`"));
            }
            (None, Some(_)) => {
                return Err(Error::config("`password` has no `username`").hint("add `username`, or remove `password`"));
            }
        };
        if !cx.takes_files() && config.message == About::File {
            return Err(Error::config("`message: file` is set, and no files come")
                .hint("add `format:` to the sink, which makes a file of the rows, or write `message: record`"));
        }
        if cx.takes_files() && config.message == About::Record {
            return Err(Error::config("`message: record` with a `format`: files have no records")
                .hint("remove `format`, for a message about each record, or `message`, for one with the files"));
        }
        for (name, is_set) in [("filename", config.filename.is_some()), ("link", config.link.is_some())] {
            if !cx.takes_files() && is_set {
                return Err(Error::config(format!("`{name}` is set, and no files come"))
                    .hint(format!("add `format:` to the sink, which makes a file of the rows, or remove `{name}`")));
            }
        }
        cx.require_filename(config.filename.is_some())?;
        let names: &[&str] = if cx.takes_files() { &NAMES_OF_FILES } else { &NAMES };
        let compile = |setting: &str, template: &Option<RecordTemplate>, escape| -> Result<Option<Text>> {
            template.as_ref().map(|template| template.compile(setting, names, escape)).transpose()
        };
        let form = Form {
            from: letter::mailbox("from", &config.from)?,
            reply_to: config.reply_to.iter().map(|it| letter::mailbox("reply_to", it)).collect::<Result<_>>()?,
            to: letter::addresses("to", &config.to, names)?,
            cc: letter::addresses("cc", &config.cc, names)?,
            bcc: letter::addresses("bcc", &config.bcc, names)?,
            subject: compile("subject", &config.subject, Escape::Nothing)?,
            text: compile("text", &config.text, Escape::Nothing)?,
            html: compile("html", &config.html, Escape::Html)?,
            values: engine_sdk::minijinja::Value::from_pairs(
                config.values.iter().map(|(name, value)| (name.as_str(), &**value)),
            ),
            each: config.each,
        };
        let server = Server {
            tls: server::tls(&config.host, config.ca.map(|path| cx.resolve(path)).as_deref())?,
            port: config.port.unwrap_or(config.encryption.port()),
            host: config.host,
            encryption: config.encryption,
            login,
            connect_timeout: config.connect_timeout.0,
            timeout: config.timeout.0,
        };
        let (about, rows) = (config.message, config.rows);
        let (filename, max_size, link) = (config.filename, config.max_size, config.link);
        let (taken, alerts) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self { server, form, about, rows, filename, max_size, link, taken, answered: vec![], alerts, cx })
    }

    /// Connects and logs in, and sends nothing.
    fn check(&mut self) -> Result<CheckReport> {
        let mut connection = self.server.connect()?;
        let _ = connection.quit();
        let login = self.server.login.as_ref().map(|(user, _)| format!(", and takes the login of `{user}`"));
        Ok(CheckReport { summary: format!("{} answers{}", self.server.shown(), login.unwrap_or_default()) })
    }
}

impl Sink for SmtpSink {
    const TAKES: Takes = Takes::Either;
    const PROMISE: Promise = Promise::AtLeastOnce;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        self.answered.clone_from(&delivery.answered);
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let mut post = Post {
            ledger: Ledger::new(&delivery.key, &std::mem::take(&mut self.answered))?,
            server: &self.server,
            form: &self.form,
            connection: None,
            cx: &self.cx,
            bytes: 0,
            again: 0,
            alerts: BTreeMap::new(),
            taken: BTreeSet::new(),
            given_up: delivery.given_up.as_ref(),
            later: None,
            per_record: self.about == About::Record,
        };
        let rows = match self.about {
            _ if self.cx.takes_files() => {
                let limit =
                    Limit { most: self.max_size.0, link: self.link.is_some(), apart: self.about == About::File };
                let files = attachment::read(input, self.filename.as_deref(), limit, &self.cx)?;
                let each = if self.about == About::File { 1 } else { files.len().max(1) };
                for files in files.chunks(each) {
                    let link = self.link.as_deref().filter(|_| files.iter().any(|file| file.is_left_out));
                    post.one(&Matter { files, link, ..matter(delivery) })?;
                }
                post.bytes = files.iter().map(|file| file.size).sum();
                0
            }
            About::Record => post.each_record(delivery, input)?,
            About::Delivery | About::File => post.all(delivery, input, self.rows)?,
        };
        if let Some(mut connection) = post.connection.take() {
            let _ = connection.quit();
        }
        if let Some(error) = post.later {
            return Err(error);
        }
        if post.again > 0 {
            let messages = counted(post.again, "message");
            self.cx.log(Level::Info, format!("{messages} had been sent before and were not sent again"));
        }
        (self.alerts, self.taken) = (post.alerts, post.taken);
        Ok(Sealed { rows, bytes: post.bytes, ..Sealed::default() })
    }

    /// Every message was answered in `write`.
    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let sealed = delivery.sealed.clone().unwrap_or_default();
        let alerts = std::mem::take(&mut self.alerts).into_iter().map(|(key, message)| Alert { key, message });
        let taken = std::mem::take(&mut self.taken);
        // Who got a message each is known by the records.
        let detail = if self.about == About::Record { Value::Null } else { json!({"receivers": taken}) };
        Ok(Receipt {
            detail,
            rows: sealed.rows,
            bytes: sealed.bytes,
            location: Some(self.server.shown()),
            alerts: alerts.collect(),
            ..Receipt::default()
        })
    }

    /// What was sent cannot be taken back.
    fn abort(&mut self, _: &Delivery) -> Result<()> {
        Ok(())
    }
}

/// A delivery at work.
struct Post<'a> {
    ledger: Ledger,
    server: &'a Server,
    form: &'a Form,
    connection: Option<SmtpConnection>,
    cx: &'a Context,
    bytes: u64,
    /// Messages that everybody had got before.
    again: usize,
    alerts: BTreeMap<String, String>,
    /// Who has taken a message.
    taken: BTreeSet<String>,
    /// Nothing is sent any more, and why.
    given_up: Option<&'a GivenUp>,
    /// Why somebody has to get a message later: the first reason.
    later: Option<Error>,
    /// Each message is about one record.
    per_record: bool,
}

/// A delivery of which nothing is known yet.
fn matter(delivery: &Delivery) -> Matter<'_> {
    Matter { records: &[], count: 0, files: &[], link: None, pipeline: &delivery.pipeline, window: delivery.window }
}

/// Why a record was refused.
struct Refused {
    code: String,
    reason: String,
}

impl Post<'_> {
    /// A message, or several, for each record. Answers how many records have one.
    fn each_record(&mut self, delivery: &Delivery, input: Batches) -> Result<u64> {
        let mut rows = 0;
        for batch in input {
            let batch = batch?;
            for (at, record) in records(&batch)?.enumerate() {
                match self.about(&Matter { records: &[record], count: 1, ..matter(delivery) })? {
                    Ok(()) => rows += 1,
                    Err(Refused { code, reason }) => self.cx.reject_rows(&batch.slice(at, 1), &code, &reason)?,
                }
            }
        }
        Ok(rows)
    }

    /// One message about all records, of which it can show the first.
    fn all(&mut self, delivery: &Delivery, input: Batches, most: usize) -> Result<u64> {
        let (mut first, mut count) = (Vec::new(), 0);
        for batch in input {
            self.cx.check_cancelled()?;
            let batch = batch?;
            count += batch.num_rows() as u64;
            let room = most - first.len();
            first.extend(records(&batch.slice(0, room.min(batch.num_rows())))?);
        }
        if count == 0 {
            return Ok(0);
        }
        self.one(&Matter { records: &first, count, ..matter(delivery) })?;
        Ok(count)
    }

    /// One message about all that a delivery has.
    fn one(&mut self, matter: &Matter<'_>) -> Result<()> {
        match self.about(matter)? {
            Ok(()) => Ok(()),
            // Its rows have gone by: the engine makes dead letters of them.
            Err(Refused { reason, .. }) if self.given_up.is_some() => Err(Error::unavailable(reason)),
            Err(Refused { reason, .. }) => Err(Error::config(format!("nobody gets the message: {reason}"))
                .hint("check `to`, `from`, and what the mail server says")),
        }
    }

    /// Makes the messages about something and sends them.
    fn about(&mut self, matter: &Matter<'_>) -> Result<std::result::Result<(), Refused>> {
        let per_record = self.per_record;
        let letters = match self.form.compose(matter) {
            Ok(letters) => letters,
            Err(Flaw::Address(reason)) => return Ok(Err(Refused { code: "bad_address".into(), reason })),
            // Of a record, it is the record's; the others go on.
            Err(Flaw::Error(error)) if per_record => {
                return Ok(Err(Refused { code: "template".into(), reason: error.message }));
            }
            Err(Flaw::Error(error)) => return Err(error),
        };
        let mut refused = Vec::new();
        let mut taken = false;
        for letter in &letters {
            taken |= self.send(letter, &mut refused)?;
        }
        if taken {
            for (receiver, Refused { reason, .. }) in refused {
                if self.alerts.len() < MOST_ALERTS {
                    let message = format!("`{receiver}` gets no mail: {reason}");
                    self.alerts.entry(format!("receiver/{receiver}")).or_insert(message);
                }
            }
            return Ok(Ok(()));
        }
        Ok(Err(match refused.into_iter().next() {
            Some((receiver, Refused { code, reason })) => Refused { code, reason: format!("`{receiver}`: {reason}") },
            None => Refused { code: "no_receiver".into(), reason: "nobody is named to receive it".into() },
        }))
    }

    /// Sends a message to those who have not got it. Answers whether somebody has it by now.
    fn send(&mut self, letter: &Letter, refused: &mut Vec<(lettre::Address, Refused)>) -> Result<bool> {
        let id = self.ledger.message(&letter.content());
        let all = letter.receivers();
        let missing: Vec<_> = all.iter().filter(|it| !self.ledger.has(id, it.as_ref())).cloned().collect();
        let had = missing.len() < all.len();
        if !self.per_record {
            let had = all.iter().filter(|it| !missing.contains(it));
            self.taken.extend(had.take(MOST_RECEIVERS).map(ToString::to_string));
        }
        if missing.is_empty() {
            self.again += usize::from(had);
            return Ok(had);
        }
        if let Some(GivenUp { code, reason }) = self.given_up {
            let why = || Refused { code: code.clone(), reason: reason.clone() };
            refused.extend(missing.into_iter().map(|receiver| (receiver, why())));
            return Ok(had);
        }
        self.cx.check_cancelled()?;
        if self.cx.deadline().is_some_and(|left| left.is_zero()) {
            return Err(Error::unavailable("the messages were not sent in the time that the delivery may take"));
        }
        let bytes = letter.bytes(self.form, id)?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.server.connect()?),
        };
        let Sent { taken, refused: by_server, later, is_over } =
            self.server.send(connection, &self.form.from.email, missing, &bytes);
        let names: Vec<_> = taken.iter().map(ToString::to_string).collect();
        self.ledger.keep(id, names.iter().map(String::as_str), self.cx)?;
        if !self.per_record && self.taken.len() < MOST_RECEIVERS {
            self.taken.extend(names);
        }
        let is_late = later.is_some();
        if let Some(error) = later {
            if is_over {
                self.connection = None;
                return Err(self.later.take().unwrap_or(error));
            }
            // It is about one receiver: the others need not wait.
            self.later.get_or_insert(error);
        }
        if !taken.is_empty() {
            self.bytes += bytes.len() as u64;
        }
        let shown = self.server.shown();
        refused.extend(by_server.into_iter().map(|(receiver, status, reason)| {
            (
                receiver,
                Refused { code: format!("smtp_{status}"), reason: format!("{shown} answered {status}: {reason}") },
            )
        }));
        // Whoever gets it later is no reason to refuse the record.
        Ok(had || is_late || !taken.is_empty())
    }
}
