//! The service: schedules, the queue, files that change, what it tells of itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use engine_end_to_end_tests::{Caller, Engine, Place, Web, lines, sqlite_count, until, until_some};
use engine_test_tools::http::{Answer, Server};
use serde_json::{Value, json};

/// A pipeline that copies two rows into a file of its own each time.
fn copies(schedule: &str) -> String {
    format!(
        "{schedule}\nsource: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
         sink: {{ use: file, with: {{ path: \"out/{{{{ pipeline.name }}}}-{{{{ window.id }}}}.csv\" }}, format: csv }}\n"
    )
}

fn place() -> Place {
    let place = Place::new();
    place.write("in.csv", "a,b\n1,2\n3,4\n");
    place
}

/// A service of the folder `pipelines`… which is the place itself.
fn serve(place: &Place, more: &[&str]) -> (Engine, Web) {
    let mut engine = place.start(&[&["serve", ".", "--listen", "127.0.0.1:0"], more].concat());
    let web = Web::of(&mut engine);
    (engine, web)
}

fn ended(mut engine: Engine) {
    engine.terminate();
    engine.wait().with_code(0);
}

fn runs(web: &Web, pipeline: &str) -> Vec<Value> {
    let runs = web.get(&format!("/api/runs?limit=1000&pipeline={pipeline}")).with(200);
    runs.as_array().unwrap().clone()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn pipelines_run_on_their_schedule_and_the_service_tells_of_it_in_the_promised_shapes() {
    let place = place();
    place.write("often.yaml", copies("timezone: Asia/Kolkata\nschedule: { every: 1s }"));
    place.write("at_start.yaml", copies("schedule: { cron: \"0 0 1 1 *\", on_start: true }"));
    place.write("asked.yaml", copies(""));
    let (engine, web) = serve(&place, &[]);
    until("three runs have ended", || {
        web.get("/status?pipeline=often").with(200)["job_statistics"]["successful_runs"].as_u64() >= Some(3)
    });
    let slots: Vec<_> = runs(&web, "often").iter().map(|run| run["slot"].as_str().unwrap().to_owned()).collect();
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{slots:?}");
    assert!(slots.iter().all(|slot| slot.ends_with("00Z") || slot.len() == "2026-01-01T00:00:00Z".len()), "{slots:?}");
    assert_eq!(runs(&web, "at_start")[0]["trigger"], "start");
    assert!(runs(&web, "asked").is_empty());

    let about = web.get("/").with(200);
    assert_eq!(keys(&about), ["service", "version", "status", "endpoints"]);
    assert_eq!((&about["status"], &about["endpoints"]["health"]), (&json!("running"), &json!("/health")));
    let health = web.get("/health").with(200);
    assert_eq!(keys(&health), ["status", "scheduler_running", "timestamp"]);
    assert_eq!((&health["status"], &health["scheduler_running"]), (&json!("healthy"), &json!(true)));
    let status = web.get("/status?pipeline=often").with(200);
    assert_eq!(keys(&status), ["scheduler", "job_statistics", "last_execution"]);
    assert_eq!(keys(&status["scheduler"]), ["running", "next_run"]);
    assert!(status["scheduler"]["next_run"].as_str().unwrap().ends_with(" IST"), "{status}");
    assert_eq!(keys(&status["job_statistics"]), ["total_runs", "successful_runs", "failed_runs", "success_rate"]);
    assert_eq!(status["job_statistics"]["success_rate"], "100.00%");
    let last = &status["last_execution"];
    assert_eq!(keys(last), ["timestamp", "status", "matched_records", "unmatched_records", "currently_running"]);
    assert_eq!(
        (&last["status"], &last["matched_records"], &last["unmatched_records"]),
        (&json!("success"), &json!(2), &json!(0))
    );
    let logs = web.get("/logs?lines=2").with(200);
    assert_eq!(keys(&logs), ["log_file", "total_lines", "showing", "logs"]);
    assert_eq!((&logs["showing"], logs["logs"].as_array().unwrap().len()), (&json!(2), 2));
    let of_one = web.get("/logs?lines=1000&pipeline=at_start").with(200);
    assert!(of_one["logs"].as_array().unwrap().iter().all(|line| line.as_str().unwrap().contains(" - at_start: ")));
    assert_eq!(web.get("/status?pipeline=nothing").with(404)["error"], "not_found");
    assert_eq!(web.get("/logs?lines=0").with(400)["status"], "error");

    let deliveries = |more: &str| web.get(&format!("/api/deliveries?pipeline=often{more}")).with(200);
    let newest = deliveries("&limit=2");
    let first = &newest[0];
    let after = format!("&limit=1&after=often/{}/file/{}", first["window"], first["split"].as_str().unwrap());
    assert_eq!(deliveries(&after)[0]["window"], newest[1]["window"]);
    assert_eq!(web.get("/api/deliveries?after=often").with(400)["error"], "bad_request");

    let triggered = web.post("/trigger?pipeline=asked", "").with(200);
    assert_eq!((keys(&triggered), &triggered["status"]), (vec!["status", "message"], &json!("triggered")));
    until("the run that was asked for has ended", || {
        runs(&web, "asked").iter().any(|run| run["outcome"] == "succeeded")
    });
    assert!(place.path("out/asked-1.csv").exists());
    let metrics = web.get("/metrics");
    assert!(
        metrics.body.contains("engine_runs_total{pipeline=\"asked\",outcome=\"succeeded\"} 1\n"),
        "{}",
        metrics.body
    );
    assert!(
        metrics.body.contains("engine_rows_written_total{pipeline=\"asked\",sink=\"file\"} 2\n"),
        "{}",
        metrics.body
    );
    ended(engine);
}

#[test]
fn files_that_change_are_taken_and_one_that_is_wrong_leaves_the_others_alone() {
    let place = place();
    place.write("good.yaml", copies("schedule: { every: 1s }"));
    place.write("wrong.yaml", "source: { use: nothing }\n");
    let (engine, web) = serve(&place, &[]);
    let pipeline = |name: &str| web.get(&format!("/api/pipelines/{name}")).with(200);
    assert_eq!(pipeline("wrong")["status"], "broken");
    assert!(pipeline("wrong")["problem"].as_str().unwrap().contains("there is no source `nothing`"));
    assert_eq!(web.post("/trigger?pipeline=wrong", "").with(422)["error"], "broken");
    // Without a name the first that can be used is meant.
    until("it runs", || web.get("/status").with(200)["job_statistics"]["total_runs"].as_u64() > Some(0));

    place.write("wrong.yaml", copies("description: mended\nschedule: { every: 1s }"));
    until("the mended one runs", || !runs(&web, "wrong").is_empty());
    assert_eq!(pipeline("wrong")["description"], "mended");
    // What becomes wrong goes on as it was.
    place.write("good.yaml", "source: [\n");
    until("it is noticed", || pipeline("good")["problem"].is_string());
    let before = runs(&web, "good").len();
    until("it goes on", || runs(&web, "good").len() > before);
    // Another schedule has missed nothing.
    place.write("good.yaml", copies("schedule: { cron: \"0 0 1 1 *\" }"));
    until("it is noticed", || pipeline("good")["schedule"]["times"] == "0 0 1 1 *");
    place.write("new.yaml", copies(""));
    until("a new one is there", || web.get("/api/pipelines/new").status == 200);
    std::fs::remove_file(place.path("new.yaml")).unwrap();
    until("one that is gone is gone", || web.get("/api/pipelines/new").status == 404);
    let two = place.write("two.yaml", copies("name: good"));
    let problem = until_some("the second of a name is refused", || {
        let all = web.get("/api/pipelines").with(200);
        all.as_array().unwrap().iter().find_map(|it| it["problem"].as_str().map(str::to_owned))
    });
    assert!(problem.contains("two files hold a pipeline named `good`"), "{problem}");
    std::fs::remove_file(two).unwrap();
    ended(engine);
}

#[test]
fn a_source_that_receives_goes_on_with_its_changed_file_and_loses_nothing() {
    let place = Place::new();
    let file = |table: &str| {
        format!(
            "source: {{ use: tcp, with: {{ listen: \"127.0.0.1:0\" }}, format: avaya_cdr }}\n\
             sink: {{ use: sqlite, with: {{ path: calls.db, table: {table}, create: true }} }}\n"
        )
    };
    place.write("calls.yaml", file("calls"));
    let (mut engine, web) = serve(&place, &[]);
    let address = engine.address().expect("it listens");
    let mut caller = Caller::new(address);
    caller.send(lines(0..100));
    caller.close();
    until("the calls are there", || sqlite_count(&place.path("calls.db"), "calls") == 100);
    assert_eq!(web.get("/api/pipelines/calls").with(200)["status"], "listening");
    assert_eq!(web.post("/trigger", "").with(409)["status"], "already_running");
    place.write("calls.yaml", file("other"));
    engine.logs("its file has changed");
    let second = until_some("it listens again", || {
        let log = engine.log();
        let mut places = log.iter().filter_map(|line| line.split_once("listening on ")?.1.split_whitespace().next());
        places.nth(1).map(str::to_owned)
    });
    let mut caller = Caller::new(second.parse().unwrap());
    caller.send(lines(100..150));
    caller.close();
    until("they are in the other table", || sqlite_count(&place.path("calls.db"), "other") == 50);
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 100);
    ended(engine);
}

/// An API that answers when it is let.
struct Gate {
    open: Arc<(Mutex<usize>, Condvar)>,
    server: Server,
}

impl Gate {
    fn new() -> Self {
        let open: Arc<(Mutex<usize>, Condvar)> = Arc::default();
        let waits = Arc::clone(&open);
        let server = Server::start(move |_| {
            let mut left = waits.0.lock().unwrap();
            while *left == 0 {
                left = waits.1.wait(left).unwrap();
            }
            *left -= 1;
            Answer::text(200, "[{\"a\": 1}]")
        });
        Self { open, server }
    }

    fn let_through(&self, number: usize) {
        *self.open.0.lock().unwrap() += number;
        self.open.1.notify_all();
    }
}

#[test]
fn what_has_no_room_waits_in_order_and_is_visible() {
    let gate = Gate::new();
    let place = Place::new();
    for name in ["a", "b", "c"] {
        let url = gate.server.url();
        place.write(
            &format!("{name}.yaml"),
            format!(
                "source: {{ use: http, with: {{ url: \"{url}/rows\" }}, format: {{ use: json }} }}\n\
                 sink: {{ use: file, with: {{ path: \"{name}-{{{{ window.id }}}}.csv\" }}, format: csv }}\n"
            ),
        );
    }
    let (engine, web) = serve(&place, &["--max-runs", "1"]);
    web.post("/trigger?pipeline=a", "").with(200);
    until("it runs", || web.get("/api/pipelines/a").with(200)["status"] == "running");
    assert_eq!(web.post("/trigger?pipeline=a", "").with(409)["status"], "already_running");
    web.post("/trigger?pipeline=c", "").with(200);
    web.post("/trigger?pipeline=b", "").with(200);
    assert_eq!(web.post("/trigger?pipeline=b", "").with(409)["status"], "already_running");
    let queue = web.get("/api/queue").with(200);
    let waiting: Vec<_> =
        queue["waiting"].as_array().unwrap().iter().map(|it| it["pipeline"].as_str().unwrap()).collect();
    assert_eq!((waiting, &queue["at_work"], &queue["most"]), (vec!["c", "b"], &json!(1), &json!(1)));
    assert_eq!(web.get("/api/pipelines/c").with(200)["status"], "queued");
    gate.let_through(3);
    until("all have run", || {
        ["a", "b", "c"].iter().all(|name| runs(&web, name).iter().any(|run| run["outcome"] == "succeeded"))
    });
    let begun = |name: &str| runs(&web, name)[0]["started"].as_str().unwrap().to_owned();
    assert!(begun("a") < begun("c") && begun("c") < begun("b"));
    ended(engine);
}

#[test]
fn what_waits_outlasts_the_engine_and_a_file_that_is_wrong_or_absent_meanwhile() {
    let gate = Gate::new();
    let place = place();
    let rows = format!(
        "source: {{ use: http, with: {{ url: \"{}/rows\" }}, format: {{ use: json }} }}\n\
         sink: {{ use: file, with: {{ path: \"a-{{{{ window.id }}}}.csv\" }}, format: csv }}\n",
        gate.server.url()
    );
    place.write("a.yaml", rows);
    for name in ["broken", "absent"] {
        place.write(&format!("{name}.yaml"), copies(""));
    }
    let (mut engine, web) = serve(&place, &["--max-runs", "1"]);
    web.post("/trigger?pipeline=a", "").with(200);
    until("it runs", || web.get("/api/pipelines/a").with(200)["status"] == "running");
    for name in ["broken", "absent"] {
        web.post(&format!("/trigger?pipeline={name}"), "").with(200);
    }
    engine.kill();
    engine.wait();
    place.write("broken.yaml", "source: [\n");
    std::fs::remove_file(place.path("absent.yaml")).unwrap();
    gate.let_through(2);
    let (engine, web) = serve(&place, &["--max-runs", "1"]);
    until("what was interrupted is completed", || runs(&web, "a").iter().any(|run| run["outcome"] == "succeeded"));
    for name in ["broken", "absent"] {
        place.write(&format!("{name}.yaml"), copies(""));
        until("it has run", || runs(&web, name).iter().any(|run| run["outcome"] == "succeeded"));
        assert_eq!(runs(&web, name).len(), 1, "{name}");
    }
    ended(engine);
}

#[test]
fn a_run_can_be_stopped_and_a_schedule_paused() {
    let gate = Gate::new();
    let place = place();
    place.write(
        "asks.yaml",
        format!(
            "source: {{ use: http, with: {{ url: \"{}/rows\" }}, format: {{ use: json }} }}\n\
             sink: {{ use: file, with: {{ path: rows.csv, overwrite: true }}, format: csv }}\n",
            gate.server.url()
        ),
    );
    place.write("often.yaml", copies("schedule: { every: 1s }"));
    let (engine, web) = serve(&place, &[]);
    web.post("/api/pipelines/asks/trigger", "").with(200);
    let run = until_some("it has begun", || {
        let live = web.get("/api/pipelines/asks").with(200);
        live["run"]["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    });
    web.post(&format!("/api/runs/{run}/cancel"), "").with(200);
    until("it has stopped", || web.get(&format!("/api/runs/{run}")).with(200)["outcome"] == "stopped");
    until("it is at work no longer", || web.post(&format!("/api/runs/{run}/cancel"), "").status == 404);

    until("it runs", || !runs(&web, "often").is_empty());
    web.post("/api/pipelines/often/pause", "").with(200);
    let paused = web.get("/api/pipelines/often").with(200);
    assert_eq!((&paused["schedule"]["paused"], &paused["next_run"]), (&json!(true), &Value::Null));
    until("what had begun has ended", || web.get("/api/pipelines/often").with(200)["status"] == "paused");
    let before = runs(&web, "often").len();
    ended(engine);
    // Also for the next service; what it passes over is not made up for.
    let (engine, web) = serve(&place, &[]);
    assert_eq!(web.get("/api/pipelines/often").with(200)["status"], "paused");
    assert_eq!(runs(&web, "often").len(), before);
    web.post("/api/pipelines/often/unpause", "").with(200);
    until("it goes on", || runs(&web, "often").len() > before);
    ended(engine);
}

#[test]
fn values_of_parameters_are_given_with_a_trigger() {
    let place = place();
    place.write(
        "named.yaml",
        "params: { day: { type: date, default: \"2026-01-01\" } }\n\
         source: { use: file, with: { path: in.csv }, format: csv }\n\
         sink: { use: file, with: { path: \"out-{{ params.day }}.csv\" }, format: csv }\n",
    );
    place.write(
        "sub/places.yaml",
        "params: { region: EU }\n\
         source: { use: file, with: { path: ../in.csv }, format: csv }\n\
         sink: { use: file, with: { path: \"out/{{ params.region }}.csv\" }, format: csv }\n",
    );
    let (engine, web) = serve(&place, &["sub", "--state", ".engine"]);
    for region in ["../../away", "..", "a\\nb", "a\\u0000"] {
        let asked = web.post("/trigger?pipeline=places", &format!(r#"{{"params": {{"region": "{region}"}}}}"#));
        let message = asked.with(422)["message"].to_string();
        assert!(message.contains("is no part of a file's name"), "{message}");
    }
    web.post("/trigger?pipeline=places", r#"{"params": {"region": "US"}}"#).with(200);
    until("it has run", || place.path("sub/out/US.csv").exists());
    // A folder that is away for a moment takes nothing with it.
    std::fs::rename(place.path("sub"), place.path("away")).unwrap();
    assert_ne!(web.post("/api/reload", "").status, 200);
    assert_eq!(web.get("/api/pipelines/places").with(200)["problem"], Value::Null);
    std::fs::rename(place.path("away"), place.path("sub")).unwrap();
    web.post("/api/reload", "").with(200);
    assert_eq!(web.get("/api/pipelines/named").with(200)["params"][0]["type"], "date");
    for (wrong, says) in [
        (r#"{"params": {"day": "soon"}}"#, "is no date"),
        (r#"{"params": {"dai": "2026-01-02"}}"#, "did you mean `day`?"),
        (r#"{"params": {"day": ["2026-01-02"]}}"#, "the parameter `day` is a list or an object"),
        (&format!(r#"{{"params": {{"day": "{}"}}}}"#, "2".repeat(65 << 10)), "more than 64 KiB together"),
    ] {
        let message = web.post("/trigger", wrong).with(422)["message"].to_string();
        assert!(message.contains(says), "{message}");
    }
    web.post("/trigger", r#"{"params": {"day": null}}"#).with(200);
    until("one without a value has the default", || place.path("out-2026-01-01.csv").exists());
    until("it is at work no longer", || web.get("/api/pipelines/named").with(200)["status"] == "idle");
    assert_eq!(web.post("/trigger", "{").with(400)["error"], "bad_request");
    assert_eq!(web.post("/trigger", r#"{"parameters": {}}"#).with(400)["error"], "bad_request");
    web.post("/trigger", r#"{"params": {"day": "2026-02-03"}}"#).with(200);
    until("it has run", || place.path("out-2026-02-03.csv").exists());
    ended(engine);
}

#[test]
fn run_follows_schedules_too_and_runs_the_others_once() {
    let place = place();
    place.write("often.yaml", copies("schedule: { every: 1s }"));
    place.write("once.yaml", copies(""));
    let mut engine = place.start(&["--json", "run", "often.yaml", "once.yaml"]);
    until("it follows the schedule", || {
        place.path("out/often-2.csv").exists() && place.path("out/once-1.csv").exists()
    });
    engine.terminate();
    let ended = engine.wait().with_code(0);
    let reports: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.iter().filter(|report| report["pipeline"] == "once").count(), 1);
    assert!(reports.iter().filter(|report| report["pipeline"] == "often").count() >= 2);
    assert!(!place.path("out/once-2.csv").exists());
}

/// An API that is told, and the alarms that it was told of.
fn desk() -> (Server, Arc<Mutex<Vec<Value>>>) {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let notes = Arc::clone(&told);
    let server = Server::start(move |request| {
        notes.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
        Answer::status(200)
    });
    (server, told)
}

#[test]
fn alarms_are_raised_told_once_and_over_at_last() {
    let (desk, told) = desk();
    let place = Place::new();
    place.write(
        "calls.yaml",
        format!(
            "schedule: {{ every: 1s }}\nalarms: {{ late: 2s, silence: 3s }}\n\
             source: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
             sink: {{ use: file, with: {{ path: \"out/{{{{ window.id }}}}.csv\" }}, format: csv }}\n\
             on_alarm: {{ use: http, with: {{ url: \"{}/alarm\" }} }}\n",
            desk.url()
        ),
    );
    let (engine, web) = serve(&place, &[]);
    let raised = |name: &str| {
        let alarms = web.get("/api/pipelines/calls").with(200)["alarms"].clone();
        alarms.as_array().unwrap().iter().any(|alarm| alarm["alarm"] == name)
    };
    until("both are raised", || raised("late") && raised("silence"));
    assert!(web.get("/metrics").body.contains("engine_alarm{pipeline=\"calls\",alarm=\"late\"} 1\n"));
    for (page, says) in [("/ui", "alarm: late"), ("/ui/pipelines/calls", "Alarm: late")] {
        assert!(web.get(page).body.contains(says), "{page}");
    }
    place.write("in.csv", "a\n1\n");
    until("both are over", || !raised("late") && !raised("silence"));
    let summaries =
        || told.lock().unwrap().iter().map(|it| it["summary"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    until("all of it is told", || summaries().len() >= 4);
    ended(engine);
    let all = summaries();
    for (says, times) in [("has succeeded within 2s", 2), ("no record has come for longer than 3s", 2), ("is over", 2)]
    {
        assert_eq!(all.iter().filter(|summary| summary.contains(says)).count(), times, "{says}: {all:?}");
    }
}
