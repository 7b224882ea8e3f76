//! What an API is asked, from the settings of a source to the requests of a window.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use engine_sdk::Runtime;
use engine_sdk::prelude::*;
use engine_sdk::record_template::JsonTemplate;
use indexmap::IndexMap;
use reqwest::header::ETAG;

use crate::asker::{Asker, Asking, Piece, Window};
use crate::client::{Api, Settings};
use crate::pledge::Pledge;
use crate::rules::{Rules, is_pointer};
use crate::source::{Config, Method};

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
        let pledge = Pledge::new(config.login.as_ref(), &api, cx)?;
        let cursor = config.cursor.map(|cursor| -> Result<_> {
            let lag = cursor.lag.map(|lag| chrono::TimeDelta::from_std(lag.0)).transpose();
            let lag = lag.map_err(|_| Error::config("`cursor.lag` is longer than any time"))?;
            Ok((time("cursor.start", &cursor.start)?, lag.unwrap_or_default()))
        });
        let asker = Asker {
            api,
            pledge,
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
            None => now.checked_sub_signed(lag).unwrap_or(from).trunc_subsecs(0),
        };
        if to <= from {
            return Ok(None);
        }
        let window = Window { from: written(from), to: written(to) };
        // As it was asked for: whoever asks for old windows knows them by these words.
        let upper = request.upper.clone().unwrap_or_else(|| json!(window.to));
        Ok(Some((piece(Some(window)), Some(upper))))
    }

    /// Asks for the first page.
    pub fn check(&self, runtime: &Runtime, cx: &Context) -> Result<CheckReport> {
        let shown = self.asker.api.shown();
        let Some((piece, _)) = self.plan(&PlanRequest::default(), runtime, cx)? else {
            return Ok(CheckReport { summary: format!("{shown}: nothing is asked before the cursor's start") });
        };
        let mut asking = Asking::new(&self.asker, piece, cx)?;
        let status = runtime.run(cx, asking.check())?;
        Ok(CheckReport { summary: format!("{shown} answers ({status})") })
    }
}

/// A time of the settings or a position. Without a zone it is UTC.
fn time(setting: &str, text: &str) -> Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
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
