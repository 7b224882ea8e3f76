//! Asks an API for its records, page by page.

use std::time::{Duration, Instant};

use engine_sdk::minijinja::{self, context};
use engine_sdk::prelude::*;
use engine_sdk::record_template::JsonTemplate;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, Method, Response, StatusCode, Url};

use crate::answer;
use crate::client::Api;
use crate::paging::{Answered, Paging, Place};
use crate::pledge::{Clients, Pledge, send};
use crate::records::{self, Found};
use crate::rules::Rules;

/// How often a page is waited for that the API puts off with a time, and how long at the most.
const PUT_OFF: u32 = 5;
const LONGEST_PUT_OFF: Duration = Duration::from_secs(60);
/// How long an answer may take that is passed on piece by piece.
const LONGEST_ANSWER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a window is read with: all that it takes to ask again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// When it was planned, RFC 3339.
    pub now: String,
    /// What templates name as `window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// A window of time: from its beginning to its end, RFC 3339. Its end belongs to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub from: String,
    pub to: String,
}

/// What is asked, and how the answers are read.
pub struct Asker {
    pub api: Api,
    pub pledge: Pledge,
    pub method: Method,
    pub query: Vec<(String, JsonTemplate)>,
    pub body: Option<JsonTemplate>,
    pub rules: Rules,
    pub records_at: Option<String>,
    pub paging: Option<Paging>,
    pub most_answer: usize,
    /// The least time from one request to the next.
    pub every: Option<Duration>,
}

/// A page whose records are known.
pub struct Page {
    pub body: Vec<u8>,
    pub found: Found,
    pub next: Option<Place>,
}

/// The requests of one window.
pub struct Asking {
    asker: std::sync::Arc<Asker>,
    clients: Clients,
    piece: Piece,
    last: Option<Instant>,
    /// Which page was asked for last, and with what.
    before: Option<(u64, Url, Option<Value>)>,
    cx: Context,
}

impl Asking {
    pub fn new(asker: &std::sync::Arc<Asker>, piece: Piece, cx: &Context) -> Result<Self> {
        let clients = Clients::of(&asker.api)?;
        Ok(Self { asker: std::sync::Arc::clone(asker), clients, piece, last: None, before: None, cx: cx.clone() })
    }

    /// A page with its records, held as a whole.
    pub async fn page(&mut self, place: &Place) -> Result<Page> {
        let mut put_off = 0;
        loop {
            match self.page_now(place).await {
                Err(error) => self.wait(error, &mut put_off).await?,
                done => return done,
            }
        }
    }

    /// A page as it comes, and where the next one is: for answers that are not looked into.
    pub async fn stream(&mut self, place: &Place) -> Result<(Response, Option<Place>)> {
        let mut put_off = 0;
        let (response, url) = loop {
            match self.unread(place).await {
                Err(error) => self.wait(error, &mut put_off).await?,
                Ok(taken) => break taken,
            }
        };
        let answered = Answered { count: 0, headers: response.headers(), body: None, url: &url };
        let next = self.asker.next(place, &answered)?;
        Ok((response, next))
    }

    /// Waits as long as the API asks for; gives the error back where it asks for nothing, or too often.
    async fn wait(&self, error: Error, put_off: &mut u32) -> Result<()> {
        let wait = error.retry_after_ms.map(Duration::from_millis);
        let Some(wait) = wait.filter(|wait| *put_off < PUT_OFF && *wait <= LONGEST_PUT_OFF) else { return Err(error) };
        *put_off += 1;
        self.cx.log(Level::Info, format!("waiting {wait:?}, as the API asks: {error}"));
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn page_now(&mut self, place: &Place) -> Result<Page> {
        let (response, url) = self.response(place, None).await?;
        let asker = &self.asker;
        let shown = Api::shown_of(&url);
        let (status, headers) = (response.status(), response.headers().clone());
        let hide = |text: String| asker.api.hide(text);
        let body = answer::asked(&shown, response, &asker.rules, asker.most_answer, hide).await?;
        let none = Found { place: 0..0, is_list: false, count: 0 };
        if status == StatusCode::NO_CONTENT {
            return Ok(Page { body, found: none, next: None });
        }
        let beginning = || String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
        let said = || answer::shortened(&asker.api.hide(answer::clean(&beginning())));
        let pointer = asker.records_at.as_deref().unwrap_or_default();
        let root = records::parse(&body, &shown, said)?;
        let found = records::find(&body, root, pointer, &shown)?;
        let answered = Answered { count: found.count, headers: &headers, body: Some(root), url: &url };
        let next = asker.next(place, &answered)?;
        Ok(Page { body, found, next })
    }

    /// What marks the present answer, unless it is still the one with this mark. None: it is.
    pub async fn changed(&mut self, mark: Option<&str>) -> Result<Option<HeaderMap>> {
        let (response, url) = self.response(&Place::default(), mark).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        Ok(Some(self.asker.taken(response, &url).await?.headers().clone()))
    }

    /// Whether the first page can be had.
    pub async fn check(&mut self) -> Result<StatusCode> {
        Ok(self.unread(&Place::default()).await?.0.status())
    }

    /// The answer to the request for a page, where it is one that was asked for.
    async fn unread(&mut self, place: &Place) -> Result<(Response, Url)> {
        let (response, url) = self.response(place, None).await?;
        Ok((self.asker.taken(response, &url).await?, url))
    }

    async fn response(&mut self, place: &Place, mark: Option<&str>) -> Result<(Response, Url)> {
        let asker = &self.asker;
        if let (Some(every), Some(last)) = (asker.every, self.last) {
            tokio::time::sleep_until((last + every).into()).await;
        }
        self.last = Some(Instant::now());
        let values = asker.values(&self.piece, place);
        let url = asker.url(&values, place)?;
        let body = asker.body.as_ref().map(|body| body.fill(&values)).transpose()?;
        if let Some((index, last, sent)) = &self.before
            && *index < place.index
            && (last, sent) == (&url, &body)
        {
            return Err(Error::config("the next page would be asked for as the one before, and be the same")
                .hint("name in the request what tells pages apart, such as `{{ page.offset }}`"));
        }
        self.before = Some((place.index, url.clone(), body.clone()));
        let mark = mark.and_then(|mark| HeaderValue::from_str(mark).ok());
        let make = |client: &Client| {
            let mut request = client.request(asker.method.clone(), url.clone());
            if !asker.api.has_header(&ACCEPT) {
                request = request.header(ACCEPT, "application/json, */*");
            }
            if asker.records_at.is_none() {
                // Whoever takes the pieces decides how long it takes; each of them has a time of its own.
                request = request.timeout(LONGEST_ANSWER);
            }
            if let Some(mark) = &mark {
                request = request.header(IF_NONE_MATCH, mark);
            }
            match &body {
                // A text is sent as it is; its kind stands in `headers`.
                Some(Value::String(text)) => request.body(text.clone()),
                Some(json) if asker.api.has_header(&CONTENT_TYPE) => request.body(json.to_string()),
                Some(json) => request.header(CONTENT_TYPE, "application/json").body(json.to_string()),
                None => request,
            }
        };
        let sent = send(&asker.pledge, &asker.api, &self.clients, &self.cx, &url, make);
        let response = tokio::time::timeout(asker.api.timeout(), sent).await.map_err(|_| {
            let (shown, timeout) = (Api::shown_of(&url), asker.api.timeout());
            Error::unavailable(format!("{shown} did not answer within {timeout:?}"))
                .hint("the API is slow or does not answer; `timeout` says how long it may take")
        })??;
        Ok((response, url))
    }
}

impl Page {
    /// The records as a list in JSON.
    pub fn list(&self) -> Vec<u8> {
        let records = &self.body[self.found.place.clone()];
        match (self.found.is_list, self.found.count) {
            (true, _) => records.to_vec(),
            (false, 0) => b"[]".to_vec(),
            (false, _) => [b"[", records, b"]"].concat(),
        }
    }
}

impl Asker {
    /// An answer that is not looked into.
    async fn taken(&self, response: Response, url: &Url) -> Result<Response> {
        answer::unread(&Api::shown_of(url), response, &self.rules, |text| self.api.hide(text)).await
    }

    fn next(&self, place: &Place, answered: &Answered<'_>) -> Result<Option<Place>> {
        self.paging.as_ref().map_or(Ok(None), |paging| paging.next(place, answered))
    }

    fn values(&self, piece: &Piece, place: &Place) -> minijinja::Value {
        let window = piece.window.as_ref().map(|it| context! { from => it.from.as_str(), to => it.to.as_str() });
        context! { now => piece.now.as_str(), window, page => Paging::values(self.paging.as_ref(), place) }
    }

    /// The address of a page. What has no value is left out.
    fn url(&self, values: &minijinja::Value, place: &Place) -> Result<Url> {
        if let Some(url) = &place.url {
            return Ok(self.with_fixed(url));
        }
        let mut url = self.api.url();
        for (name, template) in &self.query {
            let text = match template.fill(values)? {
                Value::Null => continue,
                Value::String(text) => text,
                other => other.to_string(),
            };
            url.query_pairs_mut().append_pair(name, &text);
        }
        Ok(url)
    }

    /// An address that the API has named, with the parameters that stand in every request, such as a key.
    fn with_fixed(&self, url: &Url) -> Url {
        let mut url = url.clone();
        let own = self.api.url();
        for (name, value) in own.query_pairs() {
            let is_there = url.query_pairs().any(|(known, _)| known == name);
            if !is_there {
                url.query_pairs_mut().append_pair(&name, &value);
            }
        }
        url
    }
}
