//! Receives records by HTTP and counts them: the other side of a measured push.
//!
//! `receiver [--delay MS]` prints its port. `POST` and `PUT` with a JSON body are answered with 200 after
//! the delay, `/hang` never. `GET` tells what came: requests, bytes, records, and the sum of their `id`s;
//! `DELETE` forgets it. A request with an `Idempotency-Key` that came before counts as repeated.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Seen {
    requests: u64,
    repeated: u64,
    bytes: u64,
    records: u64,
    ids: u64,
    keys: HashSet<String>,
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let delay = match arguments.next().as_deref() {
        None => Duration::ZERO,
        Some("--delay") => {
            let milliseconds = arguments.next().and_then(|text| text.parse().ok());
            Duration::from_millis(milliseconds.unwrap_or_else(|| usage()))
        }
        Some(_) => usage(),
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let seen = Arc::new(Mutex::new(Seen::default()));
    for connection in listener.incoming().map_while(Result::ok) {
        let seen = Arc::clone(&seen);
        std::thread::spawn(move || serve(&connection, delay, &seen));
    }
    Ok(())
}

fn usage() -> ! {
    eprintln!("usage: receiver [--delay MILLISECONDS]");
    std::process::exit(2);
}

fn serve(connection: &TcpStream, delay: Duration, seen: &Mutex<Seen>) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = (BufReader::with_capacity(256 << 10, connection), connection);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let (method, rest) = line.split_once(' ')?;
        let (method, hangs) = (method.to_owned(), rest.starts_with("/hang"));
        let (mut length, mut key) = (0, None);
        loop {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            } else if name.eq_ignore_ascii_case("idempotency-key") {
                key = Some(value.trim().to_owned());
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        let answer = match method.as_str() {
            "GET" => {
                let seen = seen.lock().ok()?;
                let Seen { requests, repeated, bytes, records, ids, .. } = &*seen;
                format!(
                    r#"{{"requests": {requests}, "repeated": {repeated}, "bytes": {bytes}, "records": {records}, "ids": {ids}}}"#
                )
            }
            "DELETE" => {
                *seen.lock().ok()? = Seen::default();
                "{}".to_owned()
            }
            _ if hangs => loop {
                std::thread::park();
            },
            _ => {
                std::thread::sleep(delay);
                let (records, ids) = count(&body);
                let mut seen = seen.lock().ok()?;
                seen.requests += 1;
                seen.bytes += length as u64;
                if key.is_some_and(|key| !seen.keys.insert(key)) {
                    seen.repeated += 1;
                } else {
                    seen.records += records;
                    seen.ids = seen.ids.wrapping_add(ids);
                }
                "{}".to_owned()
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        writer.write_all(head.as_bytes()).ok()?;
    }
}

/// How many records there are, and the sum of their numbers `id`.
fn count(body: &[u8]) -> (u64, u64) {
    const NAME: &[u8] = b"\"id\":";
    let (mut records, mut ids, mut rest) = (0, 0_u64, body);
    while let Some(at) = rest.windows(NAME.len()).position(|it| it == NAME) {
        rest = &rest[at + NAME.len()..];
        let digits = rest.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
        (records, ids) = (records + 1, ids.wrapping_add(number));
    }
    (records, ids)
}
