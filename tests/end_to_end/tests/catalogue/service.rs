//! `engine serve` at work, and what it is asked over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use engine_end_to_end_tests::{Ended, Engine, Place, until};
use serde_json::{Value, json};

/// A service with a catalogue.
pub struct Service {
    pub engine: Engine,
    address: String,
}

impl Service {
    pub fn start(place: &Place, catalogue: &str, more: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0", "--catalogue", catalogue], more].concat();
        let mut engine = place.start(&arguments);
        let line = engine.logs("the service is at http://");
        let (_, address) = line.split_once("the service is at http://").unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        let service = Self { engine, address };
        until("the reports are there", || service.get("/api/pipelines").1 != json!([]));
        service
    }

    /// A status, and the JSON that came with it.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let of_body = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        write!(stream, "{head}{}\r\n{body}", if body.is_empty() { "" } else { &of_body }).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.engine.kill();
        self.engine.wait();
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Ended {
        self.engine.terminate();
        self.engine.wait().with_code(0)
    }
}
