//! The ledger of deliveries, and a delivery once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use engine_end_to_end_tests::{Place, Post};
use serde_json::Value;

const MAIL: &str =
    "{ use: smtp, with: { connection: mail, to: [\"${env:MAIL_TO}\"], filename: calls.csv }, format: csv";
const UPLOAD: &str = "{ use: http, with: { url: \"${env:UPLOAD_URL}\", filename: calls.csv }, format: csv";
const ROWS: &str = "source: { use: file, with: { path: calls.csv }, format: csv }\n";
const CALLS: &str = "number,seconds\n2432,172\n\"0,7\",5\n";

fn deliveries(place: &Place) -> Vec<Value> {
    place.json(&["deliveries", "list"])
}

#[test]
fn what_was_delivered_is_sent_again_only_when_that_is_said_and_as_it_was() {
    let post = Post::new("sent-again", |_| 200);
    let place = &post.place;
    place.write("report.yaml", format!("{ROWS}sinks:\n  - {MAIL}, keep: 1h }}\n  - {UPLOAD} }}\n"));
    place.engine(&["--json", "run", "report.yaml"]).with_code(0).report().adds_up();
    let listed = deliveries(place);
    let of = |sink: &str| listed.iter().find(|it| it["sink"] == sink).unwrap().clone();
    let (mail, upload) = (of("smtp"), of("http"));
    assert_eq!((&mail["status"], &mail["rows"], &mail["attempts"]), (&"delivered".into(), &2.into(), &1.into()));
    assert_eq!(mail["kept"][0]["bytes"], CALLS.len());
    assert!(mail["answer"]["receivers"][0].as_str().unwrap().starts_with("files@sent-again"), "{mail}");
    assert_eq!(upload["kept"], Value::Null);

    place.write("calls.csv", "number,seconds\n1,1\n");
    place
        .engine(&["deliveries", "resend", "report.yaml", "1"])
        .with_code(2)
        .says(&["sink `smtp` has delivered window 1 already on ", "say `--again` to deliver it once more"]);
    place
        .engine(&["deliveries", "resend", "report.yaml", "1", "--again", "--sink", "http"])
        .with_code(2)
        .says(&["nothing is kept of window 1 for http", "give the sink `keep: 7d`"]);
    place
        .engine(&["deliveries", "resend", "report.yaml", "1", "--again", "--sink", "nobody"])
        .with_code(2)
        .says(&["window 1 was not for a sink `nobody`", "it was for smtp, http"]);
    place.engine(&["deliveries", "resend", "report.yaml", "7"]).with_code(2).says(&["there is no window 7 of report"]);
    assert_eq!(post.attached().len(), 1);

    let report = place.engine(&["--json", "deliveries", "resend", "report.yaml", "1", "--again"]).with_code(0).report();
    assert_eq!((report.read, report.sink("smtp").written), (0, 2));
    assert_eq!(post.attached(), [CALLS.as_bytes(), CALLS.as_bytes()]);
    assert_eq!(post.bodies(), [CALLS]);
    // A sending again is no reading: the next run reads what there is then.
    let report = place.engine(&["--json", "run", "report.yaml"]).with_code(0).report();
    assert_eq!(report.read, 1);
    let shown = place.json(&["deliveries", "show", "report", "1"]);
    assert_eq!(shown.len(), 2);
    let text = place.engine(&["deliveries", "show", "report", "1", "--sink", "smtp"]).with_code(0).stdout;
    assert!(text.contains("kept      one file, 32 B, sha256 "), "{text}");
}

#[test]
fn what_has_failed_is_completed_from_what_was_kept_without_its_source() {
    let status = Arc::new(AtomicU16::new(503));
    let answer = Arc::clone(&status);
    let post = Post::new("completed-from-kept", move |_| answer.load(Ordering::SeqCst));
    let place = &post.place;
    place.write("report.yaml", format!("{ROWS}sink: {UPLOAD}, keep: 1h, retry: {{ attempts: 2, backoff: 1ms }} }}\n"));
    place.engine(&["run", "report.yaml"]).with_code(1);
    let [failed] = &place.json(&["deliveries", "list", "--unsettled"])[..] else { panic!("one delivery") };
    assert_eq!((&failed["status"], &failed["attempts"]), (&"failed".into(), &2.into()));
    assert!(failed["failure"]["message"].as_str().unwrap().contains("503"), "{failed}");
    let text = place.engine(&["deliveries", "list"]).with_code(0).stdout;
    assert!(text.contains("failed") && text.contains("503"), "{text}");

    std::fs::remove_file(place.path("calls.csv")).unwrap();
    status.store(200, Ordering::SeqCst);
    let report = place.engine(&["--json", "deliveries", "resend", "report.yaml", "1"]).with_code(0).report();
    assert_eq!((report.resumed, report.sink("http").written), (1, 2));
    assert_eq!(post.bodies(), [CALLS; 3]);
    assert!(place.json(&["deliveries", "list", "--unsettled"]).is_empty());
    assert_eq!(deliveries(place)[0]["failure"], Value::Null);
}

#[test]
fn artefacts_are_kept_for_their_time() {
    let post = Post::new("kept-for-their-time", |_| 200);
    let place = &post.place;
    let pipeline = |keep: &str| place.write("report.yaml", format!("{ROWS}sink: {UPLOAD}, keep: {keep} }}\n"));
    pipeline("1h");
    place.engine(&["run", "report.yaml"]).with_code(0);
    place.engine(&["run", "report.yaml"]).with_code(0);
    assert!(deliveries(place).iter().all(|it| it["kept"] != Value::Null));
    pipeline("1ms");
    place.engine(&["run", "report.yaml"]).with_code(0);
    let kept = |window: u64| deliveries(place).iter().any(|it| it["window"] == window && it["kept"] != Value::Null);
    assert!(!kept(1) && !kept(2) && kept(3));
    let mode = std::fs::metadata(place.path(".engine/kept/report/3-http-run.pieces")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
}

#[test]
fn rows_are_not_kept() {
    let place = Place::new();
    place.write("calls.csv", CALLS);
    let sink = "{ use: sqlite, with: { path: calls.db, table: calls, create: true }, keep: 1h }";
    place.write("report.yaml", format!("{ROWS}sink: {sink}\n"));
    place.engine(&["run", "report.yaml"]).with_code(2).says(&["sink `sqlite` takes rows, and `keep` keeps files"]);
}

#[test]
fn without_rows_nothing_is_sent_where_that_is_said() {
    let post = Post::new("without-rows", |_| 200);
    let place = &post.place;
    place.write("calls.csv", "number,seconds\n");
    place.write("report.yaml", format!("{ROWS}sinks:\n  - {MAIL} }}\n  - {UPLOAD}, empty: skip }}\n"));
    place.engine(&["run", "report.yaml"]).with_code(0);
    assert_eq!(post.attached(), [b"number,seconds\n"]);
    assert!(post.bodies().is_empty());
    let listed = deliveries(place);
    let skipped = listed.iter().find(|it| it["sink"] == "http");
    assert!(skipped.is_none_or(|it| it["status"] == "skipped"), "{listed:?}");
    place.write("calls.csv", CALLS);
    place.engine(&["run", "report.yaml"]).with_code(0);
    assert_eq!(post.bodies(), [CALLS]);
}

#[test]
fn more_rows_than_there_may_be_are_not_delivered() {
    let post = Post::new("more-rows", |_| 200);
    let place = &post.place;
    for (most, code, sent) in [(1, 2, 0), (2, 0, 1)] {
        place.write("report.yaml", format!("max_rows: {most}\n{ROWS}sink: {UPLOAD} }}\n"));
        let ended = place.engine(&["run", "report.yaml"]).with_code(code);
        assert_eq!(post.bodies().len(), sent);
        if code != 0 {
            ended.says(&["there are more than 1 rows, which is the pipeline's `max_rows`"]);
        }
    }
}
