//! LeadPier: what each source of leads has come to in a period. A thin layer over the source `http`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use engine_sdk::Runtime;
use engine_sdk::columns::{ColumnType, RowBuilder, Value as Cell};
use engine_sdk::prelude::*;
use engine_sdk::types::{Template, Tls};
use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::asker::{Asking, Page};
use crate::paging::Place;
use crate::questions::Questions;
use crate::source::{self, default_connect_timeout, default_timeout};

/// What LeadPier tells of a source, and the columns that it becomes.
const COLUMNS: [(&str, ColumnType); 8] = [
    ("source", ColumnType::Text),
    ("visitors", ColumnType::Integer),
    ("totalLeads", ColumnType::Integer),
    ("soldLeads", ColumnType::Integer),
    ("totalRevenue", ColumnType::Number),
    ("conversionRate", ColumnType::Number),
    ("soldRate", ColumnType::Number),
    ("EPL", ColumnType::Number),
];

/// Reads the statistics of LeadPier.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where LeadPier is: `https://HOST`.
    url: String,
    /// Who logs in.
    username: String,
    /// The password.
    password: Secret,
    /// The first day of the period: `2026-01-31`. Unset: the day on which it is asked.
    #[serde(default)]
    period_from: Option<Template>,
    /// The last day of the period. Unset: the day on which it is asked.
    #[serde(default)]
    period_to: Option<Template>,
    /// The time zone in which that day is meant, such as `Asia/Kolkata`.
    #[serde(default = "default_timezone")]
    timezone: String,
    /// How many sources a page has.
    #[serde(default = "default_limit")]
    limit: u32,
    /// `disable`: another machine is reached without TLS. Unset: only this machine
    /// itself may be.
    #[serde(default)]
    tls: Option<Tls>,
    /// A PEM file with the authorities that may have signed the server's
    /// certificate. Trusted in the place of the system's own.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: Duration,
    /// How long one request may take, with its answer.
    #[serde(default = "default_timeout")]
    timeout: Duration,
}

fn default_timezone() -> String {
    "UTC".into()
}

fn default_limit() -> u32 {
    1000
}

impl Config {
    /// The same as settings of the source `http`.
    fn questions(self) -> Result<source::Config> {
        if self.timezone.parse::<chrono_tz::Tz>().is_err() {
            return Err(Error::config(format!("`timezone` is `{}`, which is none", self.timezone.escape_debug()))
                .hint("an example is `Asia/Kolkata`"));
        }
        let day = |setting: &str, day: Option<Template>| match day.map(|day| day.to_string()) {
            None => Ok(format!("{{{{ now | date('%Y-%m-%d', '{}') }}}}", self.timezone)),
            Some(day) if day.parse::<chrono::NaiveDate>().is_ok() => Ok(day),
            Some(other) => Err(Error::config(format!("`{setting}` is `{}`, which is no day", other.escape_debug()))
                .hint("write it as 2026-01-31")),
        };
        let base = self.url.trim_end_matches('/');
        let body = json!({
            "limit": "{{ page.limit }}", "offset": "{{ page.offset }}", "orderBy": "source", "orderDirection": "DESC",
            "periodFrom": day("period_from", self.period_from)?, "periodTo": day("period_to", self.period_to)?,
        });
        let settings = json!({
            "url": format!("{base}/v1/api/stats/user/org/sources"),
            "method": "POST",
            "body": body,
            "login": {"session": {
                "url": format!("{base}/v1/frontend/authenticate"),
                "body": {"username": self.username, "password": self.password.reveal()},
                "token_at": "/data/token", "success": {"at": "/errorCode", "equals": "NO_ERROR"},
                "lifetime": "2h", "value": "bearer {{ token }}",
            }},
            "records_at": "/data/statistics",
            "paging": {"offset": {"limit": self.limit, "count_at": "/data/count"}},
            "answers": [
                {"when": {"at": "/errorCode", "equals": "NO_ERROR"}, "then": "accept"},
                {"when": {"at": "/errorCode"}, "then": "retry", "reason": "/errorCode"},
            ],
        });
        let config: source::Config = serde_json::from_value(settings)
            .map_err(|error| Error::internal(format!("the settings of LeadPier are none of `http`: {error}")))?;
        let Self { tls, ca, connect_timeout, timeout, .. } = self;
        Ok(source::Config { tls, ca, connect_timeout, timeout, ..config })
    }
}

pub struct LeadPier {
    questions: Questions,
    runtime: Runtime,
    cx: Context,
}

impl Component for LeadPier {
    type Config = Config;
    const SUMMARY: &'static str = "Reads what each source of leads has come to at LeadPier";

    fn examples() -> Vec<Example> {
        vec![example(
            "the numbers of today",
            json!({
                "url": "https://leadpier.example.com", "username": "ann@example.com", "password": "secret",
                "timezone": "Asia/Kolkata",
            }),
        )]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.limit == 0 {
            return Err(Error::config("`limit` is 0").hint("give the size of a page, such as 1000"));
        }
        Ok(Self { questions: Questions::new(config.questions()?, &cx)?, runtime: Runtime::new()?, cx })
    }

    /// Logs in and asks for the first page.
    fn check(&mut self) -> Result<CheckReport> {
        self.questions.check(&self.runtime, &self.cx)
    }
}

impl Source for LeadPier {
    fn plan(&mut self, request: &PlanRequest) -> Result<Plan> {
        let planned = self.questions.plan(request, &self.runtime, &self.cx)?;
        let splits = planned.map(|(piece, _)| Split::new("0000", piece)).transpose()?;
        Ok(Plan { upper: None, splits: splits.into_iter().collect(), ..Plan::default() })
    }

    fn read(&mut self, split: &Split) -> Result<Batches> {
        let asking = Asking::new(&self.questions.asker, split.spec_as()?, &self.cx)?;
        let rows = Rows { asking, runtime: Runtime::new()?, next: Some(Place::default()), cx: self.cx.clone() };
        Ok(Batches::new(RowBuilder::new(COLUMNS).schema(), rows))
    }
}

/// A page as a batch.
struct Rows {
    asking: Asking,
    runtime: Runtime,
    next: Option<Place>,
    cx: Context,
}

impl Rows {
    fn batch(&mut self, place: &Place) -> Result<RecordBatch> {
        let page: Page = self.runtime.run(&self.cx, self.asking.page(place))?;
        let text = page.list();
        let records: Vec<&RawValue> = serde_json::from_slice(&text)
            .map_err(|error| Error::internal(format!("a list of records is none: {error}")))?;
        let mut rows = RowBuilder::new(COLUMNS);
        for record in &records {
            let members: IndexMap<String, Value> = match serde_json::from_str(record.get()) {
                Ok(members) => members,
                Err(error) => {
                    let text: ArrayRef = Arc::new(StringArray::from(vec![record.get()]));
                    let row = RecordBatch::try_from_iter([("record", text)])
                        .map_err(|error| Error::internal(format!("a refused record cannot be kept: {error}")))?;
                    self.cx.reject_rows(&row, "bad_record", &format!("the record is no object: {error}"))?;
                    continue;
                }
            };
            let texts = COLUMNS.map(|(name, _)| members.get(name).and_then(text_of));
            let cells = COLUMNS.iter().zip(&texts).map(|((name, kind), text)| match text {
                None => Ok(Cell::Null),
                Some(text) => kind.read(text).map_err(|why| (why.code, format!("{name}: `{text}` {}", why.reason))),
            });
            match cells.collect::<std::result::Result<Vec<_>, _>>() {
                Ok(cells) => rows.push(&cells),
                Err((code, reason)) => self.cx.reject_rows(&as_texts(&texts)?, code, &reason)?,
            }
        }
        self.cx.progress(records.len() as u64, text.len() as u64);
        self.next = page.next;
        rows.finish()
    }
}

/// A value as a text. Numbers may come as either.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

/// A record of which something cannot be read, for a dead letter.
fn as_texts(texts: &[Option<String>]) -> Result<RecordBatch> {
    let columns = COLUMNS.iter().zip(texts).map(|((name, _), text)| {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text.as_deref()]));
        (*name, column, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::internal(format!("a refused record cannot be kept: {error}")))
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.next.take()?;
        Some(self.cx.check_cancelled().and_then(|()| self.batch(&place)))
    }
}
