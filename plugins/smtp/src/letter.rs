//! From records and files to messages.

use std::sync::Arc;
use std::time::SystemTime;

use engine_sdk::counted;
use engine_sdk::minijinja::{Value, context};
use engine_sdk::prelude::{Error, Result};
use engine_sdk::record_template::{Escape, RecordTemplate, Text};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use crate::attachment::{self, Attachment};
use crate::ledger::Id;
use crate::table;

/// The longest subject, in characters: more than mail programs show.
const LONGEST_SUBJECT: usize = 400;
/// What templates may name.
pub const NAMES: [&str; 6] = ["record", "records", "count", "pipeline", "window", "values"];
/// What they may name where files come.
pub const NAMES_OF_FILES: [&str; 6] = ["file", "files", "link", "pipeline", "window", "values"];

/// How messages are made.
pub struct Form {
    pub from: Mailbox,
    pub reply_to: Vec<Mailbox>,
    pub to: Vec<Text>,
    pub cc: Vec<Text>,
    pub bcc: Vec<Text>,
    pub subject: Option<Text>,
    pub text: Option<Text>,
    pub html: Option<Text>,
    /// What is the same for all messages.
    pub values: Value,
    /// A message of its own for each receiver in `to`.
    pub each: bool,
}

/// What a message is about.
pub struct Matter<'a> {
    /// The records, or the first of them.
    pub records: &'a [Value],
    /// How many there are.
    pub count: u64,
    /// What it carries. With files, there are no records.
    pub files: &'a [Arc<Attachment>],
    /// Where the files are, if they are too large for a message.
    pub link: Option<&'a str>,
    pub pipeline: &'a str,
    pub window: u64,
}

/// A message, not yet in the form in which it is sent.
pub struct Letter {
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    subject: String,
    text: Option<String>,
    html: Option<String>,
    files: Vec<Arc<Attachment>>,
}

/// Why there is no message.
pub enum Flaw {
    /// An address that records gave is none.
    Address(String),
    /// Something that concerns all of them.
    Error(Error),
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A fixed address.
pub fn mailbox(setting: &str, text: &str) -> Result<Mailbox> {
    address_of(text.trim()).ok_or_else(|| {
        Error::config(format!("`{setting}`: `{text}` is no mail address"))
            .hint("write `name@example.com`, or `Name <name@example.com>`")
    })
}

/// Addresses that records may fill in. One that is no template is looked at now.
pub fn addresses(setting: &str, list: &[RecordTemplate], names: &[&str]) -> Result<Vec<Text>> {
    let text = |address: &RecordTemplate| {
        if address.is_fixed() {
            mailbox(setting, address.as_str())?;
        }
        address.compile(setting, names, Escape::Nothing)
    };
    list.iter().map(text).collect()
}

impl Form {
    /// The messages about something: one, or one for each receiver.
    pub fn compose(&self, matter: &Matter<'_>) -> std::result::Result<Vec<Letter>, Flaw> {
        let &Matter { records, count, files, link, pipeline, window } = matter;
        let fixed = &self.values;
        // Where there is one record, it has a name of its own.
        let values = match records {
            _ if !files.is_empty() => {
                let file = |it: &Arc<Attachment>| context! { name => it.name.as_str(), folder => it.folder.as_str(), bytes => it.size };
                let all: Vec<_> = files.iter().map(file).collect();
                // Where there is one, it has a name of its own.
                let only = if let [only] = &all[..] { only.clone() } else { Value::UNDEFINED };
                context! { file => only, files => all, link, pipeline, window, values => fixed }
            }
            [record] if count == 1 => context! { record, records, count, pipeline, window, values => fixed },
            _ => context! { records, count, pipeline, window, values => fixed },
        };
        let (to, cc, bcc) = (filled(&self.to, &values)?, filled(&self.cc, &values)?, filled(&self.bcc, &values)?);
        let text = match (&self.text, &self.html) {
            (Some(text), _) => Some(text.fill(&values)?),
            (None, Some(_)) => None,
            (None, None) if !files.is_empty() => {
                let line = |it: &Arc<Attachment>| format!("{} ({})\n", it.name, attachment::shown(it.size));
                let lines: String = files.iter().map(line).collect();
                Some(match link {
                    Some(link) => format!("{lines}\nToo large for a mail; it is here:\n{link}\n"),
                    None => lines,
                })
            }
            (None, None) => Some(table::plain(records, count)),
        };
        let files: Vec<_> = files.iter().filter(|file| !file.is_left_out).map(Arc::clone).collect();
        let html = self.html.as_ref().map(|html| html.fill(&values)).transpose()?;
        let whole = Letter { to, cc, bcc, subject: one_line(&self.subject(matter, &values)?), text, html, files };
        if self.each && whole.to.len() > 1 { Ok(whole.apart()) } else { Ok(vec![whole]) }
    }

    fn subject(&self, matter: &Matter<'_>, values: &Value) -> Result<String> {
        if let Some(subject) = &self.subject {
            return subject.fill(values);
        }
        match matter.files {
            [] => {}
            [file] => return Ok(format!("{}: {}", matter.pipeline, file.name)),
            files => return Ok(format!("{}: {}", matter.pipeline, counted(files.len(), "file"))),
        }
        // What the engine tells of a run has a summary.
        let summary = match matter.records {
            [record] if matter.count == 1 => {
                record.get_attr("summary").ok().filter(|it| !it.is_none() && !it.is_undefined())
            }
            _ => None,
        };
        let count = counted(matter.count as usize, "record");
        Ok(summary.map_or_else(|| format!("{}: {count}", matter.pipeline), |summary| summary.to_string()))
    }
}

impl Letter {
    /// A message for each receiver. Copies go with the first: who gets a copy wants one.
    fn apart(self) -> Vec<Self> {
        let Self { to, mut cc, mut bcc, subject, text, html, files } = self;
        let one = |receiver| Self {
            to: vec![receiver],
            cc: std::mem::take(&mut cc),
            bcc: std::mem::take(&mut bcc),
            subject: subject.clone(),
            text: text.clone(),
            html: html.clone(),
            files: files.clone(),
        };
        to.into_iter().map(one).collect()
    }

    /// What tells it from others of its delivery.
    pub fn content(&self) -> Vec<String> {
        let addresses = self.to.iter().chain(&self.cc).chain(&self.bcc).map(ToString::to_string);
        let texts = [Some(&self.subject), self.text.as_ref(), self.html.as_ref()];
        let texts = texts.into_iter().map(|text| text.cloned().unwrap_or_default());
        addresses.chain(texts).chain(self.files.iter().map(|file| file.content())).collect()
    }

    /// Everybody who gets it, each once.
    pub fn receivers(&self) -> Vec<Address> {
        let mut all: Vec<Address> = Vec::new();
        for mailbox in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            if !all.contains(&mailbox.email) {
                all.push(mailbox.email.clone());
            }
        }
        all
    }

    /// As it is sent: without those who get it unseen.
    pub fn bytes(&self, form: &Form, id: Id) -> Result<Vec<u8>> {
        let domain = form.from.email.domain();
        let mut builder = Message::builder()
            .message_id(Some(format!("<{}@{domain}>", id.text())))
            .date(SystemTime::now())
            .from(form.from.clone())
            .subject(self.subject.clone());
        for mailbox in &form.reply_to {
            builder = builder.reply_to(mailbox.clone());
        }
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        for mailbox in &self.cc {
            builder = builder.cc(mailbox.clone());
        }
        // Its headers name no receiver where all of them are unseen, and lettre wants to know one.
        let envelope = lettre::address::Envelope::new(Some(form.from.email.clone()), self.receivers());
        let envelope = envelope.map_err(|error| Error::internal(format!("a message has no envelope: {error}")))?;
        let builder = builder.envelope(envelope);
        let message = if self.files.is_empty() {
            match self.body() {
                Body::One(part) => builder.singlepart(part),
                Body::Both(parts) => builder.multipart(parts),
            }
        } else {
            let parts = match self.body() {
                Body::One(part) => MultiPart::mixed().singlepart(part),
                Body::Both(parts) => MultiPart::mixed().multipart(parts),
            };
            let all = self.files.iter().try_fold(parts, |parts, file| Ok::<_, Error>(parts.singlepart(file.part()?)));
            builder.multipart(all?)
        };
        let message = message.map_err(|error| Error::internal(format!("a message cannot be made: {error}")))?;
        Ok(message.formatted())
    }

    fn body(&self) -> Body {
        match (&self.text, &self.html) {
            (Some(text), Some(html)) => Body::Both(MultiPart::alternative_plain_html(text.clone(), html.clone())),
            (None, Some(html)) => Body::One(SinglePart::html(html.clone())),
            (text, None) => Body::One(SinglePart::plain(text.clone().unwrap_or_default())),
        }
    }
}

/// What a message says.
enum Body {
    One(SinglePart),
    /// The same as text and as HTML.
    Both(MultiPart),
}

/// The addresses that are there; an empty text is none, and so is one with an empty address.
fn filled(list: &[Text], values: &Value) -> std::result::Result<Vec<Mailbox>, Flaw> {
    let mut found = Vec::new();
    for address in list {
        let text = address.fill(values)?;
        let text = text.trim();
        if text.is_empty() || text.ends_with("<>") {
            continue;
        }
        // A line break would begin another header.
        let address = Some(text).filter(|text| !text.chars().any(char::is_control)).and_then(address_of);
        found.push(address.ok_or_else(|| Flaw::Address(format!("{text:?} is no mail address")))?);
    }
    Ok(found)
}

/// `ADDRESS`, or `NAME <ADDRESS>` where the name may be any text: one with a comma, say.
fn address_of(text: &str) -> Option<Mailbox> {
    let mailbox = text.parse().ok().or_else(|| {
        let (name, address) = text.strip_suffix('>')?.split_once('<')?;
        let name = name.trim();
        Some(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address.parse().ok()?))
    });
    mailbox.and_then(|mailbox: Mailbox| {
        // As names of hosts are looked up; servers that know no other letters take it.
        let domain = idna::domain_to_ascii(mailbox.email.domain()).ok()?;
        Some(Mailbox::new(mailbox.name, Address::new(mailbox.email.user(), domain).ok()?))
    })
}

/// What stands in one header: no line break can begin another.
fn one_line(text: &str) -> String {
    let words: Vec<_> =
        text.split(|it: char| it.is_control() || it.is_whitespace()).filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(LONGEST_SUBJECT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_text_and_domains_are_looked_up() {
        for (text, name, address) in [
            ("a@example.com", None, "a@example.com"),
            ("Doe, John <j@example.com>", Some("Doe, John"), "j@example.com"),
            ("ACME (Dublin) Ltd. <a@example.com>", Some("ACME (Dublin) Ltd."), "a@example.com"),
            ("<a@example.com>", None, "a@example.com"),
            ("J\u{f6}rg <j@m\u{fc}nchen.example>", Some("J\u{f6}rg"), "j@xn--mnchen-3ya.example"),
        ] {
            let found = address_of(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.name.as_deref(), found.email.to_string().as_str()), (name, address));
        }
        for text in ["", "nobody", "a@", "A <B <a@example.com>", "a@example.com>, <b@example.com"] {
            assert!(address_of(text).is_none(), "{text}");
        }
    }
}
