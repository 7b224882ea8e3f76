//! What the engine tells of itself: lines of the log that say what they are about, spans and figures for a collector.

use std::sync::{Arc, Mutex};

use engine_end_to_end_tests::{Place, Web, until};
use engine_test_tools::http::{Answer, Server};
use serde_json::Value;

fn place() -> Place {
    let place = Place::new();
    place.write("in.csv", "a\n1\n2\n");
    place.write(
        "copy.yaml",
        "source: { use: file, with: { path: in.csv }, format: csv }\n\
         sink: { use: file, with: { path: out.csv }, format: csv }\n",
    );
    place
}

#[test]
fn every_line_about_a_run_names_it_and_a_program_can_read_it() {
    let place = place();
    // A file that is in the way: the delivery fails, and says so.
    place.write("out.csv", "another\n");
    let ended = place.engine(&["--json", "--log-format", "json", "run", "copy.yaml"]).with_code(2);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let failed = lines.iter().find(|line| line["level"] == "ERROR").expect("it tells of the failure");
    assert_eq!((&failed["run"], &failed["pipeline"]), (&report["run"], &Value::from("copy")), "{failed}");
    // The same lines are in the file of the day.
    let logs: Vec<_> =
        std::fs::read_dir(place.path(".engine/logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let text = std::fs::read_to_string(&logs[0]).unwrap();
    assert_eq!(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>(), lines);

    let told = place.engine(&["run", "copy.yaml"]).with_code(2);
    assert!(
        told.stderr.lines().any(|line| line.contains(" - ERROR - copy") && line.contains(" run=2")),
        "{}",
        told.stderr
    );
}

#[test]
fn spans_and_figures_go_to_a_collector() {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let collector = Server::start(move |request| {
        // What is sent is Protocol Buffers, in which texts stand as they are.
        let body = String::from_utf8_lossy(&request.body).into_owned();
        notes.lock().unwrap().push((request.path, body));
        Answer::status(200)
    });
    let mut place = place();
    place.set("OTEL_METRIC_EXPORT_INTERVAL", "200");
    let url = collector.url();
    let mut engine = place.start(&["serve", ".", "--listen", "127.0.0.1:0", "--otlp", &url]);
    let web = Web::of(&mut engine);
    web.post("/trigger", "").with(200);
    let has = |path: &str, texts: &[&str]| {
        let seen = seen.lock().unwrap();
        texts.iter().all(|text| seen.iter().any(|(of, body)| of == path && body.contains(text)))
    };
    until("figures have come", || {
        has("/v1/metrics", &["engine_runs_total", "engine_rows_written_total", "service.name", "copy"])
    });
    until("the run has ended", || place.path("out.csv").exists());
    engine.terminate();
    engine.wait().with_code(0);
    // The last spans are sent at the end.
    assert!(
        has("/v1/traces", &["run", "read", "delivery", "copy"]),
        "{:?}",
        seen.lock().unwrap().iter().map(|(path, _)| path).collect::<Vec<_>>()
    );

    // One that is not there costs nothing but its spans.
    let ended = place.engine(&["run", "copy.yaml", "--otlp", "http://127.0.0.1:9"]);
    assert!(ended.code.is_some());
    place
        .engine(&["run", "copy.yaml", "--otlp", "nonsense"])
        .with_code(2)
        .says(&["nothing can be sent to the collector"]);
}
