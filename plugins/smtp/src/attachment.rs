//! The files of a delivery, as a message carries them.

use std::sync::{Arc, OnceLock};

use engine_sdk::prelude::{Batches, Context, Error, Result};
use engine_sdk::{file_name, file_pieces, hexadecimal, media_type, packed_name};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment as Part, Body, SinglePart};
use sha2::{Digest, Sha256};

/// A file.
#[derive(Debug)]
pub struct Attachment {
    pub name: String,
    /// The first part of the name that it came with, if that has several: the value of a burst.
    pub folder: String,
    /// Empty where it is left out.
    pub bytes: Vec<u8>,
    /// In bytes, also of one that is left out.
    pub size: u64,
    /// It is too large, and the message says where it is.
    pub is_left_out: bool,
    content: OnceLock<String>,
}

impl Attachment {
    /// What tells it from others.
    pub fn content(&self) -> String {
        let content = || format!("{} {}", hexadecimal::write(&Sha256::digest(&self.bytes)), self.name);
        self.content.get_or_init(content).clone()
    }

    /// The part of a message that it becomes.
    pub fn part(&self) -> Result<SinglePart> {
        let internal =
            |what: &dyn std::fmt::Display| Error::internal(format!("{} cannot be attached: {what}", self.name));
        let kind = media_type(&self.name);
        // What formats write is UTF-8.
        let charset = if kind.starts_with("text/") { "; charset=utf-8" } else { "" };
        let kind = ContentType::parse(&format!("{kind}{charset}")).map_err(|error| internal(&error))?;
        // Any other encoding may change ends of lines on the way.
        let body = Body::new_with_encoding(self.bytes.clone(), ContentTransferEncoding::Base64);
        let body = body.map_err(|_| internal(&"it has no base64"))?;
        Ok(Part::new(self.name.clone()).body(body, kind))
    }
}

/// How much is attached.
#[derive(Clone, Copy)]
pub struct Limit {
    /// Bytes of all files of a message.
    pub most: u64,
    /// The message can say where larger ones are.
    pub link: bool,
    /// Each goes in a message of its own.
    pub apart: bool,
}

/// Reads all files of a delivery. Where they are too large together and the message can say where they are, none is
/// attached.
pub fn read(input: Batches, filename: Option<&str>, limit: Limit, cx: &Context) -> Result<Vec<Arc<Attachment>>> {
    let Limit { most, link, apart } = limit;
    let mut files: Vec<(String, Attachment)> = Vec::new();
    let mut bytes = 0;
    for batch in input {
        cx.check_cancelled()?;
        for (given, data) in file_pieces(&batch?)? {
            if apart && files.last().is_none_or(|(open, _)| open != given) {
                bytes = 0;
            }
            bytes += data.len() as u64;
            let is_left_out = bytes > most;
            if is_left_out && link {
                // Of one message.
                let first = if apart { files.len().saturating_sub(1) } else { 0 };
                for (_, file) in files[first..].iter_mut().filter(|(open, _)| !apart || open == given) {
                    (file.bytes, file.is_left_out) = (Vec::new(), true);
                }
            } else if is_left_out {
                return Err(Error::config(format!("the files of one message are larger than {most} bytes"))
                    .hint("compress them, say with `link` where they can be fetched, or raise `max_size`"));
            }
            match files.last_mut() {
                Some((open, file)) if open == given => {
                    file.size += data.len() as u64;
                    if !is_left_out {
                        file.bytes.extend_from_slice(data);
                    }
                }
                _ => {
                    let name = packed_name(file_name(filename, given)?, data);
                    if !apart && files.iter().any(|(_, other)| other.name == name) {
                        return Err(Error::config(format!("two files of one message would be called {name}"))
                            .hint("leave `filename` out, so that files keep their names, or name them differently"));
                    }
                    let bytes = if is_left_out { Vec::new() } else { data.to_vec() };
                    let size = data.len() as u64;
                    let folder = given.split_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned());
                    let file = Attachment { name, folder, bytes, size, is_left_out, content: OnceLock::new() };
                    files.push((given.to_owned(), file));
                }
            }
        }
    }
    Ok(files.into_iter().map(|(_, file)| Arc::new(file)).collect())
}

/// A size for a person.
pub fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
