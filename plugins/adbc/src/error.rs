//! What the errors of drivers mean, and what their messages must not show.

use adbc_core::error::{Error as Refusal, Status};
use engine_sdk::prelude::*;

/// A value of fewer characters is looked for in messages only if its option's name says that it is
/// a secret: `443` and `on` are in many a message that has nothing to do with them.
const SHORT: usize = 4;
/// What a value is replaced by.
const HIDDEN: &str = "***";
/// As much of a driver's message as is shown, in characters. Some hold whole answers of a server.
const SHOWN: usize = 2000;

/// Texts that no message may show.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// The values of options, with what stands in them.
    pub fn of<'a>(options: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut texts = vec![];
        for (name, value) in options {
            // Neither says anything about anybody.
            if !value.is_empty() && value != "true" && value != "false" {
                texts.extend(Some(value.to_owned()).filter(|text| text.chars().count() >= SHORT || is_secret(name)));
            }
            texts.extend(inside(value));
        }
        // A text that holds another one goes first.
        texts.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        texts.dedup();
        Self(texts)
    }

    /// A text without them.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// Whether an option's name says that its value is a secret however short it is.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 8] = ["password", "passwd", "pwd", "token", "secret", "passphrase", "passcode", "private_key"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// The secrets inside of an address: a driver may show a part of it alone.
/// `scheme://user:PASSWORD@host/?token=SECRET`, and `host=… password=SECRET`.
fn inside(value: &str) -> Vec<String> {
    let mut found = vec![];
    let behind_scheme = value.split_once("://").map_or(value, |(_, rest)| rest);
    // A password may itself hold an `@` that nobody has escaped.
    if let Some((login, _)) = behind_scheme.rsplit_once('@')
        && let Some((_, password)) = login.split_once(':')
    {
        found.push(password.to_owned());
    }
    for part in value.split(['?', '&', ';', ' ', '\t', '\n']) {
        match part.split_once('=') {
            Some((name, value)) if is_secret(name) => found.push(value.trim_matches(['\'', '"']).to_owned()),
            Some(_) => {}
            // The rest of a password with a space in it that nobody has quoted.
            None if part.contains("://") => {}
            None => {
                let part = part.trim_matches(['\'', '"']);
                found.extend(Some(part.to_owned()).filter(|part| part.chars().count() >= SHORT));
            }
        }
    }
    let decoded: Vec<_> = found.iter().filter_map(|text| percent_decoded(text)).collect();
    found.extend(decoded);
    found.retain(|text| !text.is_empty());
    found
}

/// None where nothing is escaped, or the result is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = vec![];
    let digit = |bytes: &mut std::str::Bytes<'_>| bytes.next().and_then(|byte| char::from(byte).to_digit(16));
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => u8::try_from(digit(&mut bytes)? * 16 + digit(&mut bytes)?).ok()?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok().filter(|decoded| decoded != text)
}

/// What an error means. Its status and SQLSTATE decide; no message is read.
pub fn kind(refusal: &Refusal) -> ErrorKind {
    let state = sqlstate(refusal);
    if let Some(kind) = state.as_deref().and_then(kind_of_sqlstate) {
        return kind;
    }
    match refusal.status {
        // Cancelled, if the engine has not asked for it: by an administrator, say. Drivers say `Internal` and `Unknown` of everything that they have no better word for: of a lock or a
        // connection that broke, mostly. Trying again a few times costs less than giving up on those.
        Status::IO | Status::Timeout | Status::Unknown | Status::Internal | Status::Cancelled => ErrorKind::Unavailable,
        Status::Unauthenticated | Status::Unauthorized => ErrorKind::Denied,
        Status::InvalidData | Status::Integrity => ErrorKind::Rejected,
        Status::NotImplemented | Status::NotFound | Status::AlreadyExists | Status::InvalidArguments => {
            ErrorKind::Config
        }
        Status::InvalidState | Status::Ok => ErrorKind::Internal,
    }
}

/// The classes of SQL:2003, and what databases have added to them.
fn kind_of_sqlstate(state: &str) -> Option<ErrorKind> {
    Some(match (state.get(..2)?, state) {
        (_, "42501") | ("28", _) => ErrorKind::Denied,
        // A connection that broke, a transaction that must be tried again, what is short, who intervened, locks.
        (_, "55P03" | "55006") | ("08" | "40" | "53" | "57" | "58", _) => ErrorKind::Unavailable,
        ("22" | "23" | "44", _) => ErrorKind::Rejected,
        ("0A" | "3D" | "3F" | "42", _) => ErrorKind::Config,
        _ => return None,
    })
}

/// None: the driver gives none.
pub fn sqlstate(refusal: &Refusal) -> Option<String> {
    // A character of C, which is signed on some machines.
    #[allow(clippy::unnecessary_cast)]
    let state: String = refusal.sqlstate.iter().map(|byte| char::from(*byte as u8)).collect();
    (state.chars().all(|letter| letter.is_ascii_alphanumeric()) && state != "00000").then_some(state)
}

/// A driver's error as the engine's, without the texts that it must not show. Never `Rejected`.
pub fn failure(refusal: &Refusal, secrets: &Secrets) -> Error {
    let message = secrets.hide(refusal.message.trim());
    let message = message.char_indices().nth(SHOWN).map_or(message.as_str(), |(end, _)| &message[..end]);
    let message = match message {
        // What the driver manager writes where there is nothing.
        "" | "<empty>" => "it gives no reason",
        message => message,
    };
    let state = sqlstate(refusal).map(|state| format!(" (SQLSTATE {state})")).unwrap_or_default();
    // What the data is to blame for is a row's fault only where a row is known.
    let kind = match kind(refusal) {
        ErrorKind::Rejected => ErrorKind::Config,
        kind => kind,
    };
    let error = Error::new(kind, format!("the driver refused: {message}{state}"));
    match (kind, refusal.status) {
        (ErrorKind::Denied, _) => error.hint("check the login under `database`, and what it may do"),
        (_, Status::NotImplemented) => error.hint("this driver cannot do it; its documentation says what it can"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: Status, state: &str) -> Refusal {
        let mut refusal = Refusal::with_message_and_status("no", status);
        for (place, letter) in refusal.sqlstate.iter_mut().zip(state.bytes()) {
            *place = letter.try_into().unwrap();
        }
        refusal
    }

    #[test]
    fn the_state_decides_before_the_status() {
        assert_eq!(kind(&refusal(Status::IO, "")), ErrorKind::Unavailable);
        assert_eq!(kind(&refusal(Status::IO, "28P01")), ErrorKind::Denied);
        assert_eq!(kind(&refusal(Status::Internal, "40001")), ErrorKind::Unavailable);
        assert_eq!(kind(&refusal(Status::Unknown, "42P01")), ErrorKind::Config);
        assert_eq!(kind(&refusal(Status::IO, "42501")), ErrorKind::Denied);
        assert_eq!(kind(&refusal(Status::InvalidArguments, "00000")), ErrorKind::Config);
        assert_eq!(kind(&refusal(Status::InvalidArguments, "\u{1}\u{2}\u{3}\u{4}\u{5}")), ErrorKind::Config);
    }

    #[test]
    fn no_value_of_an_option_is_shown_and_no_secret_inside_of_one() {
        let secrets = Secrets::of(
            [
                ("uri", "postgres://app:p%40ss@db.example:5432/calls?sslpassword=letmein"),
                ("password", "abc"),
                ("port", "443"),
                ("dsn", "host=h user=u password='pass words' "),
                ("account", "AB12345"),
            ]
            .into_iter(),
        );
        let said = "p@ss p%40ss letmein abc 443 'pass words at AB12345 db.example";
        assert_eq!(secrets.hide(said), "*** *** *** *** 443 '*** *** at *** db.example");
        let secrets = Secrets::of([("uri", "postgres://app:p@ss:w/rd@db/calls")].into_iter());
        assert_eq!(secrets.hide("p@ss:w/rd is wrong"), "*** is wrong");
    }

    #[test]
    fn a_message_is_hidden_before_it_is_cut() {
        let secrets = Secrets::of([("password", "hunter2")].into_iter());
        let mut refusal = refusal(Status::IO, "");
        refusal.message = format!("{}hunter2", "x".repeat(SHOWN - 3));
        assert!(!failure(&refusal, &secrets).message.contains("hun"));
    }
}
