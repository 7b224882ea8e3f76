//! An HTTP server for tests: it hands each request to a function and sends what that answers.
//!
//! HTTP/1.1 with connections that stay open, a thread each; no TLS. It believes its clients, which are
//! the tests' own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// With its parameters: `/insert?key=1`.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status, headers and a body.
    Send(u16, Vec<(String, String)>, Vec<u8>),
    /// Nothing: the connection is closed.
    HangUp,
}

impl Answer {
    /// A status without anything else.
    pub fn status(status: u16) -> Self {
        Self::Send(status, vec![], vec![])
    }

    /// A status with a text.
    pub fn text(status: u16, text: &str) -> Self {
        Self::Send(status, vec![], text.into())
    }
}

/// A server on a free port of this machine. It ends with this value.
pub struct Server {
    address: std::net::SocketAddr,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Begins to listen. `answer` is called by several threads at a time.
    ///
    /// # Panics
    /// Where there is no free port.
    pub fn start(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the address that was bound");
        let over = Arc::new(AtomicBool::new(false));
        let (answer, ends) = (Arc::new(answer), Arc::clone(&over));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                // A client that goes away ends its connection, and nothing else.
                std::thread::spawn(move || serve(&connection, &*answer));
            }
        });
        Self { address, over }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // So that it notices.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: &TcpStream, answer: &dyn Fn(Request) -> Answer) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = (BufReader::new(connection), connection);
    loop {
        let request = read(&mut reader)?;
        let head_only = request.method == "HEAD";
        match answer(request) {
            Answer::HangUp => return connection.shutdown(std::net::Shutdown::Both).ok(),
            Answer::Send(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} It\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                head += "\r\n";
                let mut bytes = head.into_bytes();
                if !head_only {
                    bytes.extend_from_slice(&body);
                }
                writer.write_all(&bytes).ok()?;
            }
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Request::default() };
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
