//! The mail server: connecting, sending, and what its answers mean.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::Duration;

use engine_sdk::prelude::{Error, Result, Secret};
use engine_sdk::types::is_this_machine;
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Severity;

use crate::sink::Encryption;

/// The mechanisms of a login, the better one first. All of them go over TLS.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// One mail server, and how it is reached.
pub struct Server {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Option<(String, Secret)>,
    pub tls: TlsParameters,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Sent {
    /// Who has got it.
    pub taken: Vec<Address>,
    /// Who is refused for good: the status and what the server said.
    pub refused: Vec<(Address, u16, String)>,
    /// Why others have not got it yet, or nobody has.
    pub later: Option<Error>,
    /// Nothing more can be sent over the connection, or should be now.
    pub is_over: bool,
}

/// The least time that the answer to a message has, whatever `timeout` is.
const LEAST_FOR_CONTENT: Duration = Duration::from_secs(300);

/// What the engine calls itself: the machine's name, where it has one that others can know.
fn hello() -> ClientId {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let is_name = name.contains('.') && name.chars().all(|it| it.is_ascii_alphanumeric() || "-.".contains(it));
    ClientId::Domain(if is_name { name.into_owned() } else { "localhost".into() })
}

fn is_ascii(address: &Address) -> bool {
    let address: &str = address.as_ref();
    address.is_ascii()
}

/// How the other side's certificate is judged.
pub fn tls(host: &str, ca: Option<&Path>) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca {
        let unreadable = |why: String| {
            Error::config(format!("the certificate authority `{}` cannot be read: {why}", path.display()))
                .hint("`ca` is the path of a PEM file")
        };
        let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build().map_err(|error| Error::config(format!("TLS cannot be set up: {error}")).hint("check `ca`"))
}

impl Server {
    /// `HOST:PORT`, for messages.
    pub fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects and logs in.
    pub fn connect(&self) -> Result<SmtpConnection> {
        let hello = hello();
        let shown = self.shown();
        let addresses: Vec<_> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| {
                Error::unavailable(format!("the address of `{}` cannot be found: {error}", self.host))
                    .hint("check `host`")
            })?
            .collect();
        let implicit = (self.encryption == Encryption::Tls).then_some(&self.tls);
        let connection =
            SmtpConnection::connect(addresses.as_slice(), Some(self.connect_timeout), &hello, implicit, None);
        let mut connection = connection.map_err(|error| self.failed(&error, "connect"))?;
        connection
            .set_timeout(Some(self.timeout))
            .map_err(|error| Error::from(error).context(format_args!("{shown}")))?;
        if self.encryption == Encryption::Starttls {
            if !connection.can_starttls() {
                connection.abort();
                return Err(Error::denied(format!("{shown} offers no STARTTLS, and nothing is sent in the clear"))
                    .hint(
                        "use the port for submission (587), or `encryption: tls` with the port of implicit TLS (465)",
                    ));
            }
            connection.starttls(&self.tls, &hello).map_err(|error| self.failed(&error, "STARTTLS"))?;
        }
        if let Some((user, password)) = &self.login {
            // Nobody else can listen on the way to this machine itself.
            if !connection.is_encrypted() && !is_this_machine(&self.host) {
                connection.abort();
                return Err(Error::config(format!("a login would go to {shown} in the clear"))
                    .hint("leave `encryption: none` out, or `username` and `password`"));
            }
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection.auth(&MECHANISMS, &credentials).map_err(|error| match error.status() {
                Some(code) if code.severity == Severity::PermanentNegativeCompletion => {
                    Error::denied(format!("{shown} refuses the login of `{user}` ({code})"))
                        .hint("check `username` and `password`, and whether the account may send mail by SMTP")
                }
                _ => self.failed(&error, "the login"),
            })?;
        }
        Ok(connection)
    }

    /// Sends a message to each of its receivers that the server takes.
    pub fn send(
        &self,
        connection: &mut SmtpConnection,
        from: &Address,
        receivers: Vec<Address>,
        message: &[u8],
    ) -> Sent {
        let mut sent = Sent::default();
        let mut accepted = Vec::new();
        let mut options = Vec::new();
        let features = connection.server_info();
        let takes_unicode = features.supports_feature(Extension::SmtpUtfEight);
        let (receivers, unwritable): (Vec<_>, Vec<_>) =
            receivers.into_iter().partition(|address| takes_unicode || is_ascii(address));
        sent.refused.extend(
            unwritable
                .into_iter()
                .map(|address| (address, 553, "the server takes addresses in ASCII alone".to_owned())),
        );
        if receivers.is_empty() {
            return sent;
        }
        if takes_unicode && !receivers.iter().chain([from]).all(is_ascii) {
            options.push(MailParameter::SmtpUtfEight);
        }
        if !message.is_ascii() && features.supports_feature(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        if let Err(error) = connection.command(Mail::new(Some(from.clone()), options)) {
            sent.later = Some(self.failed(&error, &format!("the sender `{from}`")));
            sent.is_over = true;
            return sent;
        }
        for receiver in receivers {
            match connection.command(Rcpt::new(receiver.clone(), Vec::new())) {
                Ok(_) => accepted.push(receiver),
                Err(error) => match error.status() {
                    Some(code) if code.severity == Severity::PermanentNegativeCompletion => {
                        sent.refused.push((receiver, u16::from(code), said(&error)));
                    }
                    // 421 says that the server ends the connection.
                    Some(code) if u16::from(code) != 421 => {
                        sent.later = Some(self.failed(&error, &format!("the receiver `{receiver}`")));
                    }
                    _ => {
                        // The connection is gone, and with it what was accepted.
                        sent.later = Some(self.failed(&error, &format!("the receiver `{receiver}`")));
                        sent.is_over = true;
                        return sent;
                    }
                },
            }
        }
        if accepted.is_empty() {
            let _ = connection.command(Rset);
            return sent;
        }
        // What looks into messages may take its time; who does not wait for it sends them twice.
        let patient = self.timeout.max(LEAST_FOR_CONTENT);
        let _ = connection.set_timeout(Some(patient));
        let taken = connection.command(Data).and_then(|_| connection.command(Content(message)));
        let _ = connection.set_timeout(Some(self.timeout));
        match taken {
            Ok(_) => sent.taken = accepted,
            Err(error) => match error.status() {
                Some(code) if code.severity == Severity::PermanentNegativeCompletion => {
                    let why = said(&error);
                    sent.refused.extend(accepted.into_iter().map(|it| (it, u16::from(code), why.clone())));
                    // Some servers keep what has been said until now.
                    let _ = connection.command(Rset);
                }
                _ => {
                    sent.later = Some(self.failed(&error, "the message"));
                    sent.is_over = true;
                }
            },
        }
        sent
    }

    /// What an error means. `what`: what was being done.
    fn failed(&self, error: &lettre::transport::smtp::Error, what: &str) -> Error {
        let shown = self.shown();
        if error.is_tls() || has_tls_cause(error) {
            return Error::denied(format!("{shown}: no verified TLS connection could be made: {}", said(error))).hint(
                "set `ca` to the PEM file of the authority that signed the server's certificate, check `host`, and \
                 whether the port is one of implicit TLS (465) or of STARTTLS (587)",
            );
        }
        match error.status() {
            Some(code) if code.severity == Severity::TransientNegativeCompletion => {
                Error::unavailable(format!("{shown} answered {code} to {what}: {}", said(error)))
                    .hint("the mail server asks to try again later")
            }
            Some(code) if matches!(u16::from(code), 530 | 534 | 535 | 538) => {
                Error::denied(format!("{shown} answered {code} to {what}: {}", said(error)))
                    .hint("check `username`, `password` and `encryption`")
            }
            Some(code) => Error::config(format!("{shown} answered {code} to {what}: {}", said(error)))
                .hint("mend what the mail server says; `from` must be an address that the login may send as"),
            None if error.is_client() => {
                Error::config(format!("{shown}: {}", said(error))).hint("the mail server cannot do what is asked for")
            }
            None => Error::unavailable(format!("{shown} did not answer to {what}: {}", said(error)))
                .hint("check `host`, `port`, `encryption` and firewalls; whether a message was taken is not known"),
        }
    }
}

/// A message with its end, sent by one write: of two small ones the second would wait until the first has been
/// acknowledged, which takes many servers 40 ms.
struct Content<'a>(&'a [u8]);

impl std::fmt::Display for Content<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        // A dot at the beginning of a line is doubled: alone it would end the message.
        for line in text.split_inclusive("\r\n") {
            if line.starts_with('.') {
                out.write_str(".")?;
            }
            out.write_str(line)?;
        }
        out.write_str(if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" })
    }
}

/// TLS errors that came up in the middle of input or output.
fn has_tls_cause(error: &lettre::transport::smtp::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            let inner = io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
            if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
                return true;
            }
        }
        cause = found.source();
    }
    false
}

/// The server's own words, or the reason of the error, on one line.
fn said(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(found) = cause {
        let said = found.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = found.source();
    }
    let words: Vec<_> =
        text.split(|it: char| it.is_control() || it.is_whitespace()).filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_a_dot_and_no_line_of_it_does_so() {
        for (message, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..b\r\nc.\r\n", "..\r\n...b\r\nc.\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(Content(message.as_bytes()).to_string(), sent, "{message:?}");
        }
    }
}
