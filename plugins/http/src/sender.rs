//! Sends requests from a thread of its own, several at a time, while the next ones are made.

use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use engine_sdk::Runtime;
use engine_sdk::prelude::{Context, Error, Result};
use futures_util::stream::{FuturesUnordered, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, Method, Url};

use crate::answer::{self, Answer, Refusal};
use crate::body::{Records, Shape};
use crate::client::Api;
use crate::ledger::Id;
use crate::pledge::{Clients, Pledge, send};
use crate::rules::{Rules, names};
use crate::template::Template;

/// A request on its way.
pub struct Request {
    pub id: Id,
    pub records: Records,
    /// Which of the records are to be sent, in pieces of their own: from the first to the one behind the last.
    pub waiting: Vec<(usize, usize)>,
}

/// What became of some of the records of a request.
pub struct Part {
    /// The first and the one behind the last.
    pub records: (usize, usize),
    pub bytes: u64,
    pub answer: Answer,
}

/// What became of a request. The parts are there even where it ended with an error.
pub struct Outcome {
    pub request: Request,
    pub parts: Vec<Part>,
    pub ended: Result<()>,
}

/// How requests are sent.
pub struct Way {
    pub api: Api,
    pub pledge: Pledge,
    pub method: Method,
    pub shape: Shape,
    pub concurrency: usize,
    pub idempotency_header: Option<HeaderName>,
    pub rules: Rules,
}

/// Requests go in, outcomes come out.
pub struct Sender<'scope> {
    queue: tokio::sync::mpsc::Sender<Request>,
    outcomes: mpsc::Receiver<Outcome>,
    thread: ScopedJoinHandle<'scope, Result<()>>,
}

impl<'scope> Sender<'scope> {
    pub fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        way: &'env Way,
        runtime: &'env Runtime,
        cx: &Context,
    ) -> Result<Self> {
        let clients = Clients::of(&way.api)?;
        // One is made while others are on their way.
        let (queue, requests) = tokio::sync::mpsc::channel(1);
        let (give, outcomes) = mpsc::channel();
        let cx = cx.clone();
        let thread = std::thread::Builder::new()
            .name("http sender".into())
            .spawn_scoped(scope, move || {
                runtime.run(&cx, async {
                    let sending = Sending { way, clients, cx: &cx };
                    send_all(&sending, requests, &give).await;
                    Ok(())
                })
            })
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        Ok(Self { queue, outcomes, thread })
    }

    /// Sends a request, as soon as fewer than the most are on their way. False: no more are sent.
    pub fn send(&self, request: Request) -> bool {
        self.queue.blocking_send(request).is_ok()
    }

    /// The outcomes that are there.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.outcomes.try_iter()
    }

    /// Waits for those that are on their way.
    pub fn finish(self) -> (impl Iterator<Item = Outcome>, impl FnOnce() -> Result<()>) {
        drop(self.queue);
        let thread = self.thread;
        (self.outcomes.into_iter(), move || thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

/// What every request of a delivery needs.
struct Sending<'a> {
    way: &'a Way,
    clients: Clients,
    cx: &'a Context,
}

async fn send_all(
    sending: &Sending<'_>,
    mut requests: tokio::sync::mpsc::Receiver<Request>,
    give: &mpsc::Sender<Outcome>,
) {
    let mut flying = FuturesUnordered::new();
    let mut open = true;
    loop {
        tokio::select! {
            request = requests.recv(), if open && flying.len() < sending.way.concurrency => match request {
                Some(request) => flying.push(deliver(sending, request)),
                None => open = false,
            },
            Some(outcome) = flying.next(), if !flying.is_empty() => {
                // After an error no more begin; those that are on their way are waited for.
                open &= outcome.ended.is_ok();
                if !open {
                    requests.close();
                }
                let _ = give.send(outcome);
            }
            else => return,
        }
    }
}

/// Sends one request. Where several records were refused together, finds out which of them are.
async fn deliver(sending: &Sending<'_>, mut request: Request) -> Outcome {
    let mut parts = Vec::new();
    let count = request.records.count();
    let mut waiting = std::mem::take(&mut request.waiting);
    waiting.reverse();
    while let Some((from, to)) = waiting.pop() {
        let body = match request.records.body(&sending.way.shape, from, to) {
            Ok(body) => body,
            Err(error) => return Outcome { request, parts, ended: Err(error) },
        };
        let bytes = body.len() as u64;
        let id = request.id.part(from, to, count);
        match post(sending, id, body).await {
            Ok(Answer::Refused(refusal)) if to - from > 1 && !is_about_all(&refusal, &request.records, from, to) => {
                let (first, second) = halves(from, to);
                waiting.extend([second, first]);
            }
            Ok(answer) => parts.push(Part { records: (from, to), bytes, answer }),
            Err(error) => return Outcome { request, parts, ended: Err(error) },
        }
    }
    Outcome { request, parts, ended: Ok(()) }
}

/// Whether a refusal names each of the records: then none need be tried without the others.
fn is_about_all(refusal: &Refusal, records: &Records, from: usize, to: usize) -> bool {
    let is_meant = |at: usize| {
        let record = serde_json::from_slice(records.record(at)).unwrap_or_default();
        refusal.of.iter().all(|(column, value)| names(&record, column, value))
    };
    !refusal.of.is_empty() && (from..to).all(is_meant)
}

/// The parts that records are sent in when they were refused together.
pub fn halves(from: usize, to: usize) -> ((usize, usize), (usize, usize)) {
    let middle = from.midpoint(to);
    ((from, middle), (middle, to))
}

async fn post(sending: &Sending<'_>, id: Id, body: Vec<u8>) -> Result<Answer> {
    let Sending { way, clients, cx } = sending;
    let url: Url = way.api.url();
    let body = Bytes::from(body);
    let make = |client: &Client| {
        let mut request = client.request(way.method.clone(), url.clone()).body(body.clone());
        if !way.api.has_header(&CONTENT_TYPE) {
            let is_text = way.shape.template.as_ref().is_some_and(Template::is_text);
            request =
                request.header(CONTENT_TYPE, if is_text { "text/plain; charset=utf-8" } else { "application/json" });
        }
        match &way.idempotency_header {
            Some(header) => request.header(header, id.text()),
            None => request,
        }
    };
    let response = send(&way.pledge, &way.api, clients, cx, &url, make).await?;
    answer::read(&way.api.shown(), response, &way.rules, |text| way.api.hide(text)).await
}
