//! Reports of a catalogue, as another service writes its rows: real servers all of them, but for S3, of which there is
//! a stand-in.

pub mod rows;
mod service;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use engine_end_to_end_tests::{
    Database, MariaDatabase, Place, Post, Server, environment, sftp_host_key, until, until_some,
};
use engine_test_tools::http::{self, Answer};
use engine_test_tools::line::Line;
use serde_json::{Value, json};

use rows::Catalogue;
use service::Service;

const SALES: &str = "CREATE TABLE sales (region varchar(40), product varchar(40), amount decimal(10,2), sold date);
    INSERT INTO sales VALUES ('North', 'Tea', 12.50, '2026-01-31'), ('North', 'Coffee', 7.25, '2026-01-31'),
    ('South', 'Tea', 100.00, '2026-01-31'), ('South', 'Tea', 1.00, '2026-01-30')";

fn sales() -> Database {
    let database = Server::shared().database();
    database.execute(SALES);
    database
}

/// The datasource of a database of PostgreSQL, as programs in Python write its address.
fn datasource(catalogue: &Catalogue, database: &Database) -> i64 {
    let url = database.url().replacen("postgres://", "postgresql+psycopg2://", 1);
    catalogue.datasource(&url, "postgresql", &json!({"pool_size": 5, "connect_timeout": 5}))
}

/// A report of all sales since a day, with a file share of its own.
fn report(catalogue: &Catalogue, place: &Place, database: &Database, folder: &str) -> i64 {
    let source = datasource(catalogue, database);
    let query = "SELECT region, product, amount FROM sales WHERE sold >= '{{since}}' ORDER BY region, product;";
    let report = catalogue.report("Daily sales", query, "csv", source, &json!({"since": "2026-01-31"}));
    catalogue.delivery(report, "file_share", &json!({"path": format!("{}/", place.path(folder).display())}), 3);
    report
}

fn files(place: &Place, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place.path(folder)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// A server that keeps each request until it is let go.
fn slow() -> (http::Server, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let server = http::Server::start(move |_| {
        let _ = arrived.lock().unwrap().send(());
        // Whoever waits no longer has gone.
        let _ = released.lock().unwrap().recv();
        Answer::status(200)
    });
    (server, arrivals, release)
}

#[test]
fn a_report_reaches_everybody_on_its_schedule() {
    let (catalogue, database) = (Catalogue::new(), sales());
    let post = Post::new("catalogue", |_| 200);
    let report = report(&catalogue, &post.place, &database, "share");
    let schedule = catalogue.schedule(report, "*/2 * * * * *");
    let name = format!("catalogue-{}", std::process::id());
    let mail = catalogue.delivery(
        report,
        "email",
        &json!({
            "smtp_server": "localhost", "smtp_port": environment("ENGINE_TEST_SMTP_PORT"), "use_tls": true,
            "ca": environment("ENGINE_TEST_SMTP_CA"), "username": "engine",
            "password": environment("ENGINE_TEST_SMTP_PASSWORD"), "from_email": "engine@example.com",
            "subject_template": "{report_name} until {{end_date}}", "body_template": "From {start_datetime}.",
        }),
        3,
    );
    catalogue.recipient(mail, "to", &format!("files@{name}.test"));
    catalogue.recipient(mail, "cc", "copy@example.com");
    catalogue.delivery(
        report,
        "sftp",
        &json!({
            "host": "127.0.0.1", "port": environment("ENGINE_TEST_SFTP_PORT"),
            "username": environment("ENGINE_TEST_SFTP_USERNAME"), "password": environment("ENGINE_TEST_SFTP_PASSWORD"),
            "host_key": sftp_host_key(), "remote_path": format!("{name}/daily.csv"),
        }),
        3,
    );
    catalogue.delivery(
        report,
        "s3",
        &json!({
            "bucket": environment("ENGINE_TEST_S3_BUCKET"), "prefix": name, "filename": "daily.csv",
            "endpoint": environment("ENGINE_TEST_S3_ENDPOINT"), "access_key": environment("ENGINE_TEST_S3_ACCESS_KEY"),
            "secret_key": environment("ENGINE_TEST_S3_SECRET_KEY"),
        }),
        3,
    );
    let hook = json!({"url": post.upload_url(), "headers": {"X-Report": "daily"}, "secret": "hook-secret"});
    catalogue.delivery(report, "webhook", &hook, 3);

    let place = &post.place;
    let service = Service::start(place, catalogue.url(), &[]);
    let execution = until_some("an execution is completed", || {
        catalogue
            .rows(
                "SELECT id, schedule_id, executed_by, rows_returned FROM report_executions WHERE status = 'completed'",
            )
            .pop()
    });
    assert_eq!(execution[1..], [schedule.to_string(), "scheduler".into(), "3".into()]);
    let logs = catalogue.rows(&format!(
        "SELECT status, recipient_count, success_count, retry_count FROM report_delivery_logs WHERE execution_id = '{}' ORDER BY delivery_id",
        execution[0]
    ));
    let arrived = |count: &str| vec!["success".to_owned(), count.into(), count.into(), "0".into()];
    assert_eq!(logs, [arrived("1"), arrived("2"), arrived("1"), arrived("1"), arrived("1")]);

    let expected = "region,product,amount\nNorth,Coffee,7.25\nNorth,Tea,12.50\nSouth,Tea,100.00\n";
    let of = |folder: &str, name: &str| {
        std::fs::read_to_string(std::path::Path::new(&environment(folder)).join(name)).unwrap().replace("\r\n", "\n")
    };
    assert_eq!(of("ENGINE_TEST_SFTP_FOLDER", &format!("{name}/daily.csv")), expected);
    assert_eq!(of("ENGINE_TEST_S3_FOLDER", &format!("{name}/daily.csv")), expected);
    let shared = files(place, "share");
    assert!(shared[0].starts_with("daily-sales_") && shared[0].ends_with(".csv"), "{shared:?}");
    assert_eq!(post.attached()[0], expected.as_bytes());
    assert_eq!(post.bodies()[0], expected);
    let request = post.seen.lock().unwrap()[0].clone();
    assert_eq!((request.header("x-webhook-secret"), request.header("x-report")), (Some("hook-secret"), Some("daily")));

    let last_run =
        || catalogue.rows(&format!("SELECT last_run_at FROM report_schedules WHERE id = {schedule}"))[0][0].clone();
    let first = until_some("last_run_at is set", || Some(last_run()).filter(|at| at != "NULL"));
    until("last_run_at moves", || last_run() > first);

    // What is changed is taken, and what is wrong disables its report alone.
    catalogue.execute(&format!("UPDATE report_configs SET report_name = 'Weekly sales' WHERE id = {report}"));
    let broken = catalogue.report("Broken", "SELECT * FROM {{table}}", "csv", 1, &json!(null));
    catalogue.schedule(broken, "*/2 * * * * *");
    let (status, reloaded) = service.post("/api/scheduler/reload", &json!({}));
    assert_eq!(
        (status, &reloaded["status"], &reloaded["data"]["broken"]),
        (200, &json!("success"), &json!(2)),
        "{reloaded}"
    );
    until("the changed report runs", || files(place, "share").iter().any(|name| name.starts_with("weekly-sales_")));
    let (_, jobs) = service.get("/api/scheduler/jobs");
    let problems: Vec<_> = jobs["data"].as_array().unwrap().iter().map(|job| job["problem"].is_string()).collect();
    assert_eq!(problems, [false, true], "{jobs}");
    // One that was right before is disabled too.
    catalogue.execute("UPDATE report_datasources SET is_active = false");
    let (_, reloaded) = service.post("/api/scheduler/reload", &json!({}));
    assert_eq!(reloaded["data"]["broken"], 4, "{reloaded}");
    assert_eq!(service.post(&format!("/api/execute/{report}"), &json!({})).0, 422);
    // Once everything is at rest, each execution is one row, and no secret is anywhere.
    catalogue.execute("UPDATE report_schedules SET is_active = false");
    service.post("/api/scheduler/reload", &json!({}));
    until("nothing is at work", || {
        service.get("/api/scheduler/status").1["data"]["executions"] == json!([])
            && catalogue.rows("SELECT id FROM report_executions WHERE status = 'running'").is_empty()
    });
    let runs = place.json(&["runs", "report-1-1", "--limit", "1000"]);
    assert_eq!(runs.len(), catalogue.rows("SELECT id FROM report_executions").len());
    let ended = service.stop();
    for secret in [&environment("ENGINE_TEST_SMTP_PASSWORD"), &environment("ENGINE_TEST_S3_SECRET_KEY"), "hook-secret"]
    {
        assert!(!ended.stderr.contains(secret), "{secret} is in the log");
        assert!(!holds(&place.state(), secret), "{secret} is in the state");
    }
}

/// Whether any file of a folder holds a text.
fn holds(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    })
}

#[test]
fn an_execution_on_demand_has_its_parameters_and_waits_for_room() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    let (server, arrivals, release) = slow();
    catalogue.delivery(report, "webhook", &json!({"url": server.url()}), 0);
    let service = Service::start(&place, catalogue.url(), &["--catalogue-runs", "1"]);

    let mut ids = Vec::new();
    for since in ["2026-01-30", "2026-01-31", "2026-02-01"] {
        let body = json!({"parameters": {"since": since}, "executed_by": "ann"});
        let (status, started) = service.post(&format!("/api/execute/{report}"), &body);
        assert_eq!((status, &started["message"]), (200, &json!("Report execution started")), "{started}");
        assert_eq!((&started["data"]["status"], &started["data"]["config_id"]), (&json!("RUNNING"), &json!(report)));
        ids.push(started["data"]["execution_id"].as_str().unwrap().to_owned());
    }
    arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
    let (_, status) = service.get("/api/scheduler/status");
    assert_eq!(status["data"]["waiting"].as_array().unwrap().len(), 2, "{status}");
    for id in &ids {
        assert_eq!(service.get(&format!("/api/execution/{id}")).1["data"]["status"], "RUNNING");
    }
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    for (id, rows) in ids.iter().zip([4, 3, 0]) {
        let found = until_some("it is completed", || {
            let found = service.get(&format!("/api/execution/{id}")).1;
            (found["data"]["status"] != "RUNNING").then_some(found)
        });
        let found = &found["data"];
        assert_eq!(
            (&found["status"], &found["rows_returned"], &found["executed_by"]),
            (&json!("COMPLETED"), &json!(rows), &json!("ann")),
            "{found}"
        );
        assert!(found["execution_context"]["parameters"]["since"].is_string(), "{found}");
        assert!(found["query_execution_time_ms"].is_number() && found["file_generated_path"].is_string(), "{found}");
    }
    assert_eq!(files(&place, "share").len(), 3);
    until("all are in the catalogue", || {
        catalogue.rows("SELECT id FROM report_executions WHERE status = 'completed' AND executed_by = 'ann'").len() == 3
    });

    assert_eq!(service.post("/api/execute/99", &json!({})).0, 404);
    let (status, wrong) = service.post(&format!("/api/execute/{report}"), &json!({"parameters": {"sinse": "x"}}));
    assert_eq!((status, &wrong["status"]), (422, &json!("error")), "{wrong}");
    assert_eq!(service.get("/api/execution/nothing").0, 404);
    let (status, tried) = service.post("/api/test-datasource/1", &json!({}));
    assert_eq!((status, &tried["status"]), (200, &json!("success")), "{tried}");
    let (status, tried) = service.post("/api/test-delivery/1", &json!({}));
    assert_eq!((status, &tried["status"]), (200, &json!("success")), "{tried}");
    catalogue.execute("UPDATE report_datasources SET connection_url = 'postgresql://u:hunter2@127.0.0.1:1/x'");
    let (status, tried) = service.post("/api/test-datasource/1", &json!({}));
    assert!(status == 503 && !tried.to_string().contains("hunter2"), "{tried}");
    assert_eq!(service.post("/api/test-delivery/99", &json!({})).0, 404);
    service.stop();
}

#[test]
fn a_delivery_that_fails_is_logged_and_the_others_arrive() {
    let (catalogue, database) = (Catalogue::new(), sales());
    let post = Post::new("catalogue-fails", |_| 503);
    let report = report(&catalogue, &post.place, &database, "share");
    catalogue.delivery(report, "webhook", &json!({"url": post.upload_url()}), 2);
    let service = Service::start(&post.place, catalogue.url(), &[]);
    // Each execution stands for itself, whatever the one before has left.
    for number in 1..=2 {
        let (_, started) = service.post(&format!("/api/execute/{report}"), &json!({}));
        let id = started["data"]["execution_id"].as_str().unwrap().to_owned();
        let logs = until_some("it has failed", || {
            let rows =
                catalogue.rows(&format!("SELECT status, error_message FROM report_executions WHERE id = '{id}'"));
            rows.first().filter(|row| row[0] == "failed" && row[1].contains("503")).cloned()
        });
        assert!(logs[1].contains("delivery-2"), "{logs:?}");
        let logs = catalogue.rows(&format!(
            "SELECT status, success_count, failure_count, retry_count FROM report_delivery_logs WHERE execution_id = '{id}' ORDER BY delivery_id"
        ));
        let log = |words: [&str; 4]| words.map(str::to_owned).to_vec();
        assert_eq!(logs, [log(["success", "1", "0", "0"]), log(["failed", "0", "1", "2"])]);
        assert_eq!(post.seen.lock().unwrap().len(), number * 3);
    }
    service.stop();
}

#[test]
fn a_killed_execution_is_completed_once() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    let (server, arrivals, release) = slow();
    catalogue.delivery(report, "webhook", &json!({"url": server.url()}), 3);
    let schedule = catalogue.schedule(report, "0 0 1 1 *");
    let service = Service::start(&place, catalogue.url(), &[]);
    let (_, started) = service.post(&format!("/api/scheduler/trigger/{schedule}"), &json!({}));
    let id = started["data"]["execution_id"].as_str().unwrap().to_owned();
    arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
    until("the share has its file", || files(&place, "share").len() == 1);
    until("it is in the catalogue", || {
        !catalogue.rows("SELECT id FROM report_executions WHERE status = 'running'").is_empty()
    });
    service.kill();
    let service = Service::start(&place, catalogue.url(), &[]);
    // One for the request that was on its way, and one for that which comes again.
    (0..2).for_each(|_| release.send(()).unwrap());
    let rows = until_some("it is completed", || {
        let rows = catalogue.rows("SELECT id, status, schedule_id FROM report_executions");
        rows.iter().all(|row| row[1] != "running").then_some(rows)
    });
    assert_eq!(rows, [[id, "completed".to_owned(), schedule.to_string()]]);
    assert_eq!(catalogue.rows("SELECT status FROM report_delivery_logs"), [["success"], ["success"]]);
    assert_eq!(files(&place, "share").len(), 1);
    service.stop();
}

#[test]
fn an_execution_that_nobody_can_complete_is_failed_and_leaves_nothing_to_the_next() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    let (server, arrivals, release) = slow();
    catalogue.delivery(report, "webhook", &json!({"url": server.url()}), 3);
    let service = Service::start(&place, catalogue.url(), &[]);
    service.post(&format!("/api/execute/{report}"), &json!({}));
    arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
    until("the share has its file", || files(&place, "share").len() == 1);
    until("it is in the catalogue", || catalogue.rows("SELECT status FROM report_executions") == [["running"]]);
    service.kill();
    catalogue.execute("UPDATE report_datasources SET is_active = false");
    let service = Service::start(&place, catalogue.url(), &[]);
    until("it has failed", || catalogue.rows("SELECT status FROM report_executions") == [["failed"]]);
    let logs = catalogue.rows("SELECT status FROM report_delivery_logs ORDER BY delivery_id");
    assert_eq!(logs, [["success"], ["failed"]]);
    catalogue.execute("UPDATE report_datasources SET is_active = true");
    service.post("/api/scheduler/reload", &json!({}));
    let (_, started) = service.post(&format!("/api/execute/{report}"), &json!({}));
    let id = started["data"]["execution_id"].as_str().unwrap().to_owned();
    (0..2).for_each(|_| release.send(()).unwrap());
    until("the next one is completed", || {
        catalogue.rows(&format!("SELECT status FROM report_executions WHERE id = '{id}'")) == [["completed"]]
    });
    let logs = catalogue.rows(&format!("SELECT status FROM report_delivery_logs WHERE execution_id = '{id}'"));
    assert_eq!(logs, [["success"], ["success"]]);
    assert_eq!(files(&place, "share").len(), 2);
    service.stop();
}

#[test]
fn a_cancelled_execution_leaves_nothing_to_the_next() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    let (server, arrivals, release) = slow();
    catalogue.delivery(report, "webhook", &json!({"url": server.url()}), 3);
    let schedule = catalogue.schedule(report, "0 0 1 1 *");
    catalogue.execute("UPDATE report_schedules SET last_run_at = '2026-01-30 18:30:00'");
    let service = Service::start(&place, catalogue.url(), &[]);
    let ask = |service: &Service| {
        let (_, started) = service.post(&format!("/api/scheduler/trigger/{schedule}"), &json!({}));
        started["data"]["execution_id"].as_str().unwrap().to_owned()
    };
    let cancelled = ask(&service);
    arrivals.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(service.post(&format!("/api/scheduler/trigger/{schedule}"), &json!({})).0, 409);
    until("the share has its file", || files(&place, "share").len() == 1);
    let (_, runs) = service.get("/api/runs?pipeline=report-1-1");
    let run = runs[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(service.post(&format!("/api/runs/{run}/cancel"), &json!({})).0, 200);
    let found = until_some("it is cancelled", || {
        let found = service.get(&format!("/api/execution/{cancelled}")).1["data"].clone();
        (found["status"] != "RUNNING").then_some(found)
    });
    assert_eq!(found["status"], "CANCELLED", "{found}");
    // The first run begins where the row says that the last one was, in the schedule's zone.
    assert_eq!(found["execution_context"]["parameters"]["start_datetime"], "2026-01-31 00:00:00", "{found}");
    (0..2).for_each(|_| release.send(()).unwrap());
    until("the cancelled one has ended", || service.get("/api/scheduler/status").1["data"]["executions"] == json!([]));
    let next = ask(&service);
    until("the next one is completed", || {
        catalogue.rows(&format!("SELECT status FROM report_executions WHERE id = '{next}'")) == [["completed"]]
    });
    assert_eq!(files(&place, "share").len(), 2);
    service.stop();
}

#[test]
fn a_stopped_execution_goes_on_with_the_next_engine() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    let busy = Arc::new(Mutex::new(true));
    let answers = Arc::clone(&busy);
    let server = http::Server::start(move |_| Answer::status(if *answers.lock().unwrap() { 503 } else { 200 }));
    let hook = catalogue.delivery(report, "webhook", &json!({"url": server.url()}), 3);
    catalogue.execute(&format!("UPDATE report_deliveries SET retry_interval_minutes = 60 WHERE id = {hook}"));
    let service = Service::start(&place, catalogue.url(), &[]);
    service.post(&format!("/api/execute/{report}"), &json!({}));
    until("a retry is logged", || {
        catalogue.rows("SELECT status FROM report_delivery_logs WHERE status = 'retry'").len() == 1
    });
    service.stop();
    assert_eq!(catalogue.rows("SELECT status FROM report_executions"), [["running"]]);
    *busy.lock().unwrap() = false;
    let service = Service::start(&place, catalogue.url(), &[]);
    until("it is completed", || catalogue.rows("SELECT status FROM report_executions") == [["completed"]]);
    assert_eq!(catalogue.rows("SELECT status FROM report_delivery_logs"), [["success"], ["success"]]);
    assert_eq!(files(&place, "share").len(), 1);
    service.stop();
}

#[test]
fn reports_run_while_the_catalogue_is_away_and_are_written_when_it_is_back() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let report = report(&catalogue, &place, &database, "share");
    catalogue.schedule(report, "* * * * * *");
    let (login, rest) = catalogue.url().split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let line = Line::to(server, Duration::ZERO);
    let mut service =
        Service::start(&place, &format!("{login}@{}/{name}", line.address()), &["--catalogue-poll", "1s"]);
    until("a report runs", || !files(&place, "share").is_empty());
    line.cut();
    let seen = files(&place, "share").len();
    until("reports go on", || files(&place, "share").len() >= seen + 2);
    service.engine.logs("its reports go on as they were");
    let (status, away) = service.post("/api/scheduler/reload", &json!({}));
    assert_eq!((status, &away["status"]), (503, &json!("error")), "{away}");
    line.mend();
    catalogue.execute("UPDATE report_schedules SET is_active = false");
    until("nothing is at work", || {
        service.get("/api/scheduler/jobs").1["data"] == json!([])
            && catalogue.rows("SELECT id FROM report_executions WHERE status = 'running'").is_empty()
    });
    let runs = place.json(&["runs", "report-1-1", "--limit", "1000"]);
    until("every run is in the catalogue", || {
        catalogue.rows("SELECT id FROM report_executions WHERE status = 'completed'").len() == runs.len()
    });
    service.stop();
    // At the start, what waits for a report must not be forgotten.
    line.cut();
    let url = format!("{login}@{}/{name}", line.address());
    place.engine(&["serve", "--listen", "127.0.0.1:0", "--catalogue", &url]).with_code(3);
}

#[test]
fn a_pipeline_of_a_file_is_not_called_as_a_report() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    report(&catalogue, &place, &database, "share");
    place.write(
        "files/mine.yaml",
        "name: report-1\nsource: { use: file, with: { path: in.csv }, format: csv }\n\
         sink: { use: file, with: { path: out.csv }, format: csv }\n",
    );
    let service = Service::start(&place, catalogue.url(), &["files"]);
    until("both are there", || service.get("/api/pipelines").1.as_array().is_some_and(|all| all.len() == 2));
    let all = service.get("/api/pipelines").1;
    let problem = |name: &str| {
        let of_name = all.as_array().unwrap().iter().find(|it| it["name"].as_str().unwrap().ends_with(name));
        of_name.unwrap_or_else(|| panic!("{all}"))["problem"].as_str().map(str::to_owned)
    };
    assert_eq!(problem("report-1"), None);
    let told = problem("mine.yaml").unwrap();
    assert!(told.contains("`report-1` is a name that reports of the catalogue have"), "{told}");
    service.stop();
}

#[test]
fn a_row_that_the_catalogue_refuses_keeps_no_other_from_being_written() {
    let (catalogue, database, place) = (Catalogue::new(), sales(), Place::new());
    let (refused, written) =
        (report(&catalogue, &place, &database, "first"), report(&catalogue, &place, &database, "second"));
    catalogue.execute(&format!("ALTER TABLE report_executions ADD CONSTRAINT odd CHECK (config_id <> {refused})"));
    let mut service = Service::start(&place, catalogue.url(), &[]);
    for id in [refused, written] {
        assert_eq!(service.post(&format!("/api/execute/{id}"), &json!({})).0, 200);
    }
    let completed = "SELECT config_id FROM report_executions WHERE status = 'completed' ORDER BY config_id";
    until("the other one is completed", || catalogue.rows(completed) == [[written.to_string()]]);
    service.engine.logs("refuses a row");
    assert_eq!(files(&place, "first").len(), 1);
    catalogue.execute("ALTER TABLE report_executions DROP CONSTRAINT odd");
    until("both are", || catalogue.rows(completed) == [[refused.to_string()], [written.to_string()]]);
    service.stop();
}

#[test]
fn tables_are_made_once_and_reports_are_checked() {
    let (database, place) = (MariaDatabase::new(), Place::new());
    let url = database.url();
    place.engine(&["catalogue", "check", "--catalogue", url]).with_code(2).says(&["engine catalogue init"]);
    for _ in 0..2 {
        place.engine(&["catalogue", "init", "--catalogue", url]).with_code(0);
    }
    let catalogue = Catalogue::of(database);
    assert_eq!(catalogue.rows("SHOW TABLES").len(), 7);
    let mut place = place;
    place.set("ENGINE_CATALOGUE", catalogue.url());
    place.engine(&["catalogue", "check"]).with_code(0);
    let sales = sales();
    let good = report(&catalogue, &place, &sales, "share");
    let cron = catalogue.schedule(good, "61 * * * *");
    let bad = catalogue.report("Bad", "SELECT :nothing", "csv", 1, &json!(null));
    place.engine(&["--json", "catalogue", "check"]).with_code(2);
    let ended = place.engine(&["--json", "catalogue", "check"]);
    let found: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        found.iter().map(|it| (it["config_id"].clone(), it["schedule_id"].clone(), it["ok"].clone())).collect();
    assert_eq!(
        told,
        [
            (json!(good), json!(null), json!(true)),
            (json!(good), json!(cron), json!(false)),
            (json!(bad), json!(null), json!(false))
        ],
        "{}",
        ended.stdout
    );
    assert!(found[1]["problem"].as_str().unwrap().contains("cron"), "{}", found[1]);
    place.engine(&["catalogue", "check", "--catalogue", "mysql://u:hunter2@127.0.0.1:1/x"]).with_code(3);
}

#[test]
fn what_rows_become_is_understood_by_every_connector_and_format() {
    let (catalogue, place) = (Catalogue::new(), Place::new());
    let query = "SELECT a FROM b WHERE c >= '{{start_datetime}}' AND d LIKE '{{end_date}}%'";
    let documents = r#"{"collection": "b", "pipeline": [{"$match": {"a": "x"}}]}"#;
    let config = json!({"ssl": "verify", "connect_timeout": 5, "read_timeout": 60, "pool_size": 5});
    let driver = json!({"driver": "adbc_driver_oracle", "pool_size": 5});
    for (format, url, db_type, config, query) in [
        ("csv", "mysql+pymysql://u:p@db.example.com/d?charset=utf8mb4", "mysql", &config, query),
        ("xlsx", "postgresql+asyncpg://u:p@db.example.com/d?sslmode=require", "postgresql", &config, query),
        ("json", "mssql+pyodbc://u:p@db.example.com/d?driver=x", "mssql", &config, query),
        ("pdf", "mongodb://u:p@db.example.com/d", "mongodb", &config, documents),
        ("csv", "snowflake://u:p@account/d/s?warehouse=w", "snowflake", &json!({}), query),
        ("csv", "bigquery://project/set", "bigquery", &json!({}), query),
        ("csv", "oracle+oracledb://u:p@db.example.com:1521/?service_name=s", "oracle", &driver, query),
    ] {
        let source = catalogue.datasource(url, db_type, config);
        let report = catalogue.report(
            db_type,
            query,
            format,
            source,
            &json!({"region": {"type": "text", "default": "{{yesterday}}"}}),
        );
        catalogue.schedule(report, "*/5 * * * *");
        let mail = json!({"smtp_server": "m.example.com", "from_email": "a@example.com", "username": "u", "password": "p",
            "subject_template": "{report_name} {{ yesterday }}", "body_template": "<b>{region}</b>", "smtp_port": 465});
        let mail = catalogue.delivery(report, "email", &mail, 3);
        catalogue.recipient(mail, "bcc", "b@example.com");
        let place =
            json!({"bucket": "b", "prefix": "x/{region}", "region": "eu-west-1", "access_key": "a", "secret_key": "s"});
        catalogue.delivery(report, "s3", &place, 3);
        let server =
            json!({"host": "h.example.com", "port": 22, "username": "u", "password": "p", "remote_path": "/in"});
        catalogue.delivery(report, "sftp", &server, 3);
        catalogue.delivery(
            report,
            "webhook",
            &json!({"url": "https://h.example.com/x", "method": "POST", "secret": "s"}),
            3,
        );
    }
    let ended = place.engine(&["catalogue", "check", "--catalogue", catalogue.url()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}
