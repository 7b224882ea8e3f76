//! Asking a service by HTTP, as a program would.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::engine::Engine;
use crate::wait::LIMIT;

/// A service that can be asked.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where it is.
    pub address: SocketAddr,
    token: Option<String>,
}

/// What it answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head, as it was sent.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answered {
    /// The body, which is JSON.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, self.body))
    }

    /// The JSON of an answer with this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn with(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self.json()
    }
}

impl Web {
    /// The service that an engine has begun to be.
    #[track_caller]
    pub fn of(engine: &mut Engine) -> Self {
        let line = engine.logs("the service is at ");
        let (_, address) = line.split_once("://").expect("it says where");
        let address = address.split_whitespace().next().and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {line}")), token: None }
    }

    /// The same, asked with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.trim().to_owned()), ..self.clone() }
    }

    /// Asks for a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[], "")
    }

    /// Asks for something to be done; `body`: JSON, or nothing.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answered {
        self.ask("POST", path, &[("Content-Type", "application/json")], body)
    }

    /// Asks with headers of one's own.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request += &format!("Host: {}\r\n", self.address);
        }
        if let Some(token) = &self.token {
            request += &format!("Authorization: Bearer {token}\r\n");
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.exchange(request.as_bytes()).expect("the service answers")
    }

    /// Sends bytes as they are, and takes what comes back.
    ///
    /// # Errors
    /// When the connection breaks before there is an answer.
    pub fn exchange(&self, request: &[u8]) -> std::io::Result<Answered> {
        let mut stream = self.connect()?;
        stream.write_all(request)?;
        Self::answer_of(&mut stream)
    }

    /// A connection.
    ///
    /// # Errors
    /// When it is refused.
    pub fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Everything that comes until the other side ends.
    ///
    /// # Errors
    /// When the connection breaks before there is an answer.
    pub fn answer_of(stream: &mut TcpStream) -> std::io::Result<Answered> {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            read?;
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "no answer"));
        };
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok(Answered { status, head: head.to_owned(), body: body.to_owned() })
    }
}
