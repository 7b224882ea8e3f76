//! A mailbox, and a receiver of files by HTTP.

use std::sync::{Arc, Mutex};

use engine_test_tools::http::{Answer, Request, Server};

use crate::place::Place;

/// A place with a mailbox of its own and a receiver of files.
pub struct Post {
    /// The place.
    pub place: Place,
    server: Server,
    /// What the receiver was sent.
    pub seen: Arc<Mutex<Vec<Request>>>,
    name: String,
}

impl Post {
    /// `answer`: the status by the number of the request, from 0.
    pub fn new(test: &str, answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let server = Server::start(move |request| {
            let mut notes = notes.lock().unwrap();
            notes.push(request);
            Answer::status(answer(notes.len() - 1))
        });
        let name = format!("{test}-{}", std::process::id());
        let mut place = Place::new();
        let environment = |name: &str| std::env::var(name).expect("run it by `tests/services run`");
        place.set("MAIL_PORT", environment("ENGINE_TEST_SMTP_PORT"));
        place.set("MAIL_PASSWORD", environment("ENGINE_TEST_SMTP_PASSWORD"));
        place.set("MAIL_TO", format!("files@{name}.test"));
        place.set("UPLOAD_URL", format!("{}/reports", server.url()));
        place.write(
            "connections.yaml",
            format!(
                "mail:\n  use: smtp\n  with:\n    host: localhost\n    port: \"${{env:MAIL_PORT}}\"\n    ca: {}\n    \
                 username: engine\n    password: \"${{env:MAIL_PASSWORD}}\"\n    from: engine@example.com\n",
                environment("ENGINE_TEST_SMTP_CA")
            ),
        );
        place.write("calls.csv", "number,seconds\n2432,172\n\"0,7\",5\n");
        Self { place, server, seen, name }
    }

    /// Where the receiver of files is.
    pub fn upload_url(&self) -> String {
        format!("{}/reports", self.server.url())
    }

    /// What was attached to the mails, in the order in which they came.
    pub fn attached(&self) -> Vec<Vec<u8>> {
        let folder = format!("{}/{}", std::env::var("ENGINE_TEST_SMTP_FOLDER").unwrap(), self.name);
        let files = std::fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<_> = files.map(|it| it.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// What the receiver was sent, as texts.
    pub fn bodies(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect()
    }
}
