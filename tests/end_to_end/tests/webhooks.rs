//! Records that come by HTTP: whoever got 200 finds them in the table, whatever dies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use engine_end_to_end_tests::{Engine, Place, until};
use rusqlite::Connection;

const TOKEN: &str = "canary-token-4711";

fn hooks() -> Place {
    let place = Place::new();
    place.write(
        "hooks.yaml",
        format!(
            "source:\n\
             \x20 use: http_server\n\
             \x20 with: {{ listen: '127.0.0.1:0', path: /hooks, token: {TOKEN} }}\n\
             \x20 format: {{ use: json, with: {{ columns: [n, text], types: {{ n: integer }} }} }}\n\
             sink:\n\
             \x20 use: sqlite\n\
             \x20 with: {{ path: hooks.db, table: hooks, create: true }}\n"
        ),
    );
    place
}

fn start(place: &Place) -> (Engine, SocketAddr) {
    let mut engine = place.start(&["--json", "run", "hooks.yaml"]);
    let address = engine.address().expect("it listens");
    (engine, address)
}

/// The status of the answer; 0 without one.
fn post(address: SocketAddr, body: &str) -> u16 {
    let send = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "POST /hooks HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    send().ok().and_then(|answer| answer.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
}

fn numbers(place: &Place) -> Vec<i64> {
    let read = || -> rusqlite::Result<Vec<i64>> {
        let connection = Connection::open(place.path("hooks.db"))?;
        let mut statement = connection.prepare("SELECT n FROM hooks ORDER BY n")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    read().unwrap_or_default()
}

#[test]
fn what_was_answered_with_200_arrives_once_also_when_the_engine_is_killed() {
    let place = hooks();
    let mut taken = Vec::new();
    for round in 0..3 {
        let (mut engine, address) = start(&place);
        for number in round * 100..round * 100 + 20 {
            let body = format!("{{\n  \"n\": {number},\n  \"text\": \"a\\nb\"\n}}");
            if post(address, &body) == 200 {
                taken.push(number);
            }
        }
        // With what was answered, and wherever it is by now.
        engine.kill();
        engine.wait();
    }
    assert_eq!(taken.len(), 60);
    let (mut engine, address) = start(&place);
    assert_eq!(post(address, "[{\"n\": 1000}, {\"n\": \"no number\"}, 7, {\"n\": 1001, \"text\": null}]"), 200);
    taken.extend([1000, 1001]);
    until("all records arrive", || numbers(&place).len() >= taken.len());
    until("two dead letters are kept", || place.final_letters() == 2);
    engine.terminate();
    let ended = engine.wait().with_code(0);
    assert_eq!(numbers(&place), taken);
    assert!(!format!("{ended:?}").contains(TOKEN), "{ended:?}");
    assert_eq!(post(address, "{}"), 0, "nobody listens any more");
}
