//! A delivery from its first request to its last answer.

use std::collections::BTreeMap;

use engine_sdk::prelude::*;

use crate::answer::{Answer, Refusal};
use crate::body::{Cutter, Records, Shape};
use crate::ledger::{Id, Ledger};
use crate::sender::{Outcome, Request, Sender};

/// As many things as somebody can be told of one delivery.
const MOST_ALERTS: usize = 1_000;

/// A delivery at work.
pub struct Tally<'a> {
    pub ledger: Ledger,
    cx: &'a Context,
    rows: u64,
    bytes: u64,
    /// Requests that an earlier attempt had sent.
    pub again: usize,
    /// Nothing more is sent.
    is_over: bool,
    /// The first error of a request.
    pub error: Option<Error>,
    /// What somebody should know, by its key.
    alerts: BTreeMap<String, String>,
}

impl<'a> Tally<'a> {
    pub fn new(ledger: Ledger, cx: &'a Context) -> Self {
        Self { ledger, cx, rows: 0, bytes: 0, again: 0, is_over: false, error: None, alerts: BTreeMap::new() }
    }

    /// What the delivery came to, and what the answers have told beside.
    pub fn end(self) -> (Sealed, Receipt) {
        let alerts = self.alerts.into_iter().map(|(key, message)| Alert { key, message });
        let told = Receipt { figures: self.ledger.figures, alerts: alerts.collect(), ..Receipt::default() };
        (Sealed { rows: self.rows, bytes: self.bytes, ..Sealed::default() }, told)
    }

    pub fn send(&mut self, sender: &Sender<'_>, shape: &Shape, input: Batches) -> Result<()> {
        let mut cutter = Cutter::new(shape);
        for batch in input {
            self.cx.check_cancelled()?;
            cutter.add(&batch?, |records| self.submit(sender, records))?;
            if self.is_over {
                return Ok(());
            }
        }
        match cutter.finish() {
            Some(records) => self.submit(sender, records),
            None => Ok(()),
        }
    }

    /// Sends nothing any more: counts what was taken, and refuses the rest.
    pub fn refuse_rest(&mut self, shape: &Shape, input: Batches, why: &GivenUp) -> Result<()> {
        let mut cutter = Cutter::new(shape);
        let mut refuse = |records: Records| -> Result<()> {
            let (_, waiting) = self.missing(&records);
            for (from, to) in waiting {
                for rows in records.rows(from, to) {
                    self.cx.reject_rows(&rows, &why.code, &why.reason)?;
                }
            }
            Ok(())
        };
        for batch in input {
            cutter.add(&batch?, &mut refuse)?;
        }
        cutter.finish().map_or(Ok(()), refuse)
    }

    /// A request's id, and which of its records no earlier attempt has sent; the others are counted.
    fn missing(&mut self, records: &Records) -> (Id, Vec<(usize, usize)>) {
        let count = records.count();
        let id = self.ledger.id(records.content());
        let waiting = self.ledger.missing(id, count);
        let missing: usize = waiting.iter().map(|(from, to)| to - from).sum();
        if missing < count {
            self.rows += (count - missing) as u64;
            self.again += 1;
        }
        (id, waiting)
    }

    fn submit(&mut self, sender: &Sender<'_>, records: Records) -> Result<()> {
        for outcome in sender.outcomes() {
            self.count(outcome)?;
        }
        if self.is_over {
            return Ok(());
        }
        let (id, waiting) = self.missing(&records);
        // Where no more are sent, an outcome says why, or the sender itself at its end.
        if !waiting.is_empty() {
            self.is_over = !sender.send(Request { id, records, waiting });
        }
        Ok(())
    }

    pub fn count(&mut self, outcome: Outcome) -> Result<()> {
        let Outcome { request, parts, ended } = outcome;
        for part in parts {
            let (from, to) = part.records;
            match part.answer {
                Answer::Accepted { figures } => {
                    self.rows += (to - from) as u64;
                    self.bytes += part.bytes;
                    self.ledger.taken(request.id.part(from, to, request.records.count()), &figures, self.cx)?;
                }
                // A dead letter of this attempt is forgotten if it fails: the record is sent again, and refused again.
                Answer::Refused(Refusal { code, reason, alert, .. }) => {
                    for rows in request.records.rows(from, to) {
                        self.cx.reject_rows(&rows, &code, &reason)?;
                    }
                    if let Some(Alert { key, message }) = alert
                        && self.alerts.len() < MOST_ALERTS
                    {
                        self.alerts.entry(key).or_insert(message);
                    }
                }
            }
        }
        if let Err(error) = ended {
            self.is_over = true;
            // Who is told that no attempt can help takes it that nothing was sent, which a request without an answer
            // does not say: its error goes first.
            let is_better = |known: &Error| error.kind.is_retryable() && !known.kind.is_retryable();
            if self.error.as_ref().is_none_or(is_better) {
                self.error = Some(error);
            }
        }
        Ok(())
    }
}
