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
    pub bytes: Vec<u8>,
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

/// Reads all files of a delivery, which may have so many bytes together.
pub fn read(input: Batches, filename: Option<&str>, most: u64, cx: &Context) -> Result<Vec<Arc<Attachment>>> {
    let mut files: Vec<(String, Attachment)> = Vec::new();
    let mut bytes = 0;
    for batch in input {
        cx.check_cancelled()?;
        for (given, data) in file_pieces(&batch?)? {
            bytes += data.len() as u64;
            if bytes > most {
                return Err(Error::config(format!("the files of one message are larger than {most} bytes"))
                    .hint("compress them, deliver them to a place for files instead, or raise `max_size`"));
            }
            match files.last_mut() {
                Some((open, file)) if open == given => file.bytes.extend_from_slice(data),
                _ => {
                    let name = packed_name(file_name(filename, given)?, data);
                    if files.iter().any(|(_, other)| other.name == name) {
                        return Err(Error::config(format!("two files of one message would be called {name}"))
                            .hint("leave `filename` out, so that files keep their names, or name them differently"));
                    }
                    files.push((given.to_owned(), Attachment { name, bytes: data.to_vec(), content: OnceLock::new() }));
                }
            }
        }
    }
    Ok(files.into_iter().map(|(_, file)| Arc::new(file)).collect())
}

/// A size for a person.
pub fn shown(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
