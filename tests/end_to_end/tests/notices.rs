//! Who is told of a run: `on_failure`, `on_recovered`, `on_success`, `on_empty`.

use std::sync::{Arc, Mutex, mpsc};

use engine_end_to_end_tests::{LIMIT, Place};
use engine_test_tools::http::{Answer, Request, Server};
use serde_json::Value;

/// Somebody who is told, by an API.
struct Desk {
    server: Server,
    told: Arc<Mutex<Vec<Request>>>,
}

impl Desk {
    fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let told: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (notes, next) = (Arc::clone(&told), Mutex::new(0));
        let server = Server::start(move |request| {
            let number = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next - 1
            };
            let answer = answer(number);
            if matches!(answer, Answer::Send(200..300, ..)) {
                notes.lock().unwrap().push(request);
            }
            answer
        });
        Self { server, told }
    }

    fn records(&self) -> Vec<Value> {
        self.told.lock().unwrap().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    fn events(&self) -> Vec<String> {
        self.records().iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect()
    }
}

/// A pipeline from a file into another, and who is told of it.
fn pipeline(desk: &Desk, more: &str) -> String {
    let told = |event: &str| format!("{event}: {{ use: http, with: {{ url: \"{}/{event}\" }} }}\n", desk.server.url());
    format!(
        "source: {{ use: file, with: {{ path: in.csv }}, format: {{ use: csv, with: {{ types: {{ a: integer }} }} }} }}\n\
         sink: {{ use: file, with: {{ path: \"out/{{{{ run.id }}}}.csv\" }}, format: csv }}\n\
         retry: {{ attempts: 1, backoff: 1ms, max: 1ms }}\n{}{}{}{more}",
        told("on_recovered"),
        told("on_success"),
        told("on_empty"),
    )
}

fn on_failure(desk: &Desk, every: &str) -> String {
    format!("on_failure: {{ use: http, with: {{ url: \"{}/on_failure\" }}, every: {every} }}\n", desk.server.url())
}

const GOOD: &str = "a\n1\n2\n";
/// A file without the column that is asked for: no run with it succeeds.
const BAD: &str = "b\n1\n";

fn run(place: &Place, input: &str) -> engine_end_to_end_tests::Ended {
    place.write("in.csv", input);
    place.engine(&["--json", "run", "p.yaml"])
}

#[test]
fn each_event_is_told_once_with_what_it_is_about() {
    let desk = Desk::start(|_| Answer::status(201));
    let place = Place::new();
    place.write("p.yaml", pipeline(&desk, &on_failure(&desk, "1h")));
    run(&place, GOOD).with_code(0);
    assert_eq!(desk.events(), ["success"]);
    run(&place, BAD).with_code(2);
    assert_eq!(desk.events(), ["success", "failure"]);
    run(&place, BAD).with_code(2);
    assert_eq!(desk.events(), ["success", "failure"], "within `every`, the next failure is no news");
    run(&place, GOOD).with_code(0);
    assert_eq!(desk.events(), ["success", "failure", "recovered", "success"]);
    run(&place, "").with_code(0);
    assert_eq!(desk.events()[4..], ["empty"]);

    let records = desk.records();
    let (success, failure, recovered) = (&records[0], &records[1], &records[2]);
    assert_eq!((&success["pipeline"], &success["read"], &success["written"]), (&"p".into(), &2.into(), &2.into()));
    assert_eq!((&success["error"], &success["failures"]), (&Value::Null, &0.into()));
    assert_eq!((&failure["error_kind"], &failure["failures"]), (&"config".into(), &1.into()));
    assert_eq!(failure["stage"], "source", "{failure}");
    assert!(failure["summary"].as_str().unwrap().starts_with("p: failed: "), "{failure}");
    assert_eq!((&recovered["failures"], &recovered["failing_since"]), (&2.into(), &failure["failing_since"]));
    assert!(failure["failing_since"].is_string(), "{failure}");
}

#[test]
fn a_job_that_flaps_is_told_of_once() {
    let desk = Desk::start(|_| Answer::status(201));
    let place = Place::new();
    let text = pipeline(&desk, &on_failure(&desk, "1h"));
    let without_success: Vec<_> = text.lines().filter(|line| !line.starts_with("on_success")).collect();
    place.write("p.yaml", without_success.join("\n"));
    for _ in 0..3 {
        run(&place, BAD).with_code(2);
        run(&place, GOOD).with_code(0);
    }
    assert_eq!(desk.events(), ["failure", "recovered"]);
    // Without a quiet time, each is told.
    let file = place.path("p.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("every: 1h", "every: 1ms");
    std::fs::write(&file, text).unwrap();
    run(&place, BAD).with_code(2);
    run(&place, BAD).with_code(2);
    assert_eq!(desk.events()[2..], ["failure", "failure"]);
    assert_eq!(desk.records()[3]["failures"], 2);
}

#[test]
fn what_cannot_be_told_is_told_by_the_next_run_with_the_same_key() {
    let desk = Desk::start(|number| Answer::status(if number < 2 { 503 } else { 201 }));
    let place = Place::new();
    place.write("p.yaml", pipeline(&desk, ""));
    let report = run(&place, GOOD).with_code(0).report();
    assert!(report.notes[0].contains("`on_success` could not be told"), "{report:?}");
    // The first one is still refused, and those behind it wait.
    run(&place, GOOD).with_code(0);
    assert!(desk.events().is_empty());
    run(&place, "").with_code(0);
    assert_eq!(desk.events(), ["success", "success", "empty"]);
    let told = desk.told.lock().unwrap();
    let keys: std::collections::BTreeSet<_> =
        told.iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn an_engine_that_dies_while_it_tells_does_so_when_it_is_back() {
    let (ready, wait) = mpsc::channel();
    let (killed, dead) = mpsc::channel::<()>();
    let (ready, dead) = (Mutex::new(ready), Mutex::new(dead));
    let desk = Desk::start(move |number| {
        if number > 0 {
            return Answer::status(201);
        }
        ready.lock().unwrap().send(()).unwrap();
        // It has been asked, and answers nobody.
        let _ = dead.lock().unwrap().recv();
        Answer::HangUp
    });
    let place = Place::new();
    place.write("p.yaml", pipeline(&desk, ""));
    place.write("in.csv", GOOD);
    let mut engine = place.start(&["run", "p.yaml"]);
    wait.recv_timeout(LIMIT).unwrap();
    engine.kill();
    engine.wait();
    killed.send(()).unwrap();
    run(&place, "").with_code(0);
    assert_eq!(desk.events(), ["success", "empty"]);
}

#[test]
fn any_sink_can_tell_and_a_file_is_one_for_each_notice() {
    let desk = Desk::start(|_| Answer::status(201));
    let place = Place::new();
    let told =
        "on_failure:\n  use: file\n  with: { path: \"told/{{ window.id }}.csv\" }\n  format: csv\n  every: 1ms\n";
    place.write("p.yaml", pipeline(&desk, told));
    run(&place, BAD).with_code(2);
    run(&place, BAD).with_code(2);
    let files: Vec<_> = std::fs::read_dir(place.path("told")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.starts_with("event,pipeline,run,summary,started,ended,"), "{text}");
        assert!(text.contains("\nfailure,p,"), "{text}");
    }
}

#[test]
fn a_notice_that_says_nothing_useful_is_refused_before_a_run() {
    let place = Place::new();
    let text = "source: { use: file, with: { path: in.csv }, format: csv }\n\
                sink: { use: file, name: on_empty, with: { path: out.csv }, format: csv }\n\
                on_success: { use: http, with: { url: \"https://example.com\" }, every: 1h }\n\
                on_failure: { use: file, with: { path: told.csv } }\n\
                on_recovered: { use: http, name: n, with: { url: \"https://example.com\" } }\n\
                on_failed: { use: http }\n";
    place.write("p.yaml", text);
    let ended = place.engine(&["validate", "p.yaml"]).with_code(2);
    ended.says(&[
        "`on_empty` is the name of a notice",
        "`on_success` is told each time",
        "format",
        "`name`",
        "did you mean `on_failure`",
    ]);
}

#[test]
fn an_alert_is_told_once_for_each_value_and_run() {
    let desk = Desk::start(|_| Answer::status(201));
    let api = Server::start(|request: Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        match body["domain"].as_str() {
            Some("known") => Answer::text(200, r#"{"matched": 1}"#),
            domain => Answer::text(200, &serde_json::json!({"msg": "not configured", "domain": domain}).to_string()),
        }
    });
    let place = Place::new();
    let text = format!(
        "source: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
         sink:\n  use: http\n  with:\n    url: \"{}/\"\n    figures: {{ matched: /matched }}\n    answers:\n    \
         - when: {{ at: /msg, contains: NOT configured }}\n      then: reject\n      code: unknown_domain\n      \
         of: {{ domain: /domain }}\n      alert: /domain\n\
         on_alert: {{ use: http, with: {{ url: \"{}/alert\" }} }}\n",
        api.url(),
        desk.server.url()
    );
    place.write("p.yaml", text);
    let report = run(&place, "domain\nknown\na\nb\na\nknown\n").with_code(0).report();
    assert_eq!((report.sink("http").written, report.sink("http").dead_letters), (2, 3), "{report:?}");
    assert_eq!(report.sink("http").figures["matched"], 2);
    let alerts: Vec<_> = desk.records().iter().map(|record| record["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(alerts, ["unknown_domain/a", "unknown_domain/b"]);
    assert_eq!(desk.records()[0]["event"], "alert");
    run(&place, "domain\na\n").with_code(0);
    assert_eq!(desk.records().len(), 3, "another run tells again");
}
