//! The HTTP interface of a service, asked everything that its description allows and much that it does not: what it
//! answers is what the description says, and never a fault of its own.

use std::process::Command;

use engine_end_to_end_tests::{Place, Web, until, workspace};
use serde_json::json;

use crate::catalogue::rows::Catalogue;

/// Leaves dead letters, and files that can be sent again.
const ORDERS: &str = r#"
name: orders
schedule: { cron: "30 6 1 1 *" }
source: { use: file, with: { path: orders.csv }, format: csv }
transforms:
  - use: validate
    with: { rules: { number: { pattern: "[0-9]+" } } }
sinks:
  - use: sqlite
    with: { path: orders.db, table: orders, create: true }
  - use: file
    with: { path: "out/{{ window.id }}.csv" }
    format: csv
    keep: 7d
"#;

/// Has parameters, and leaves dead letters too.
const DAILY: &str = r#"
name: daily
params:
  day: { type: date, default: "2026-02-13" }
  region: { type: text, default: north }
source: { use: file, with: { path: orders.csv }, format: csv }
transforms:
  - use: validate
    with: { rules: { number: { pattern: "[0-9]+" } } }
sink: { use: file, with: { path: "out/{{ params.day }}-{{ window.id }}.csv" }, format: csv }
"#;

/// One that receives.
const CALLS: &str = r#"
name: calls
source: { use: tcp, with: { listen: "127.0.0.1:0" }, format: avaya_cdr }
sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }
"#;

/// A report with a schedule, a delivery that works and one to where nobody answers; and one that cannot run.
fn reports(place: &Place) -> Catalogue {
    let catalogue = Catalogue::new();
    catalogue.execute(
        "CREATE TABLE sales (region varchar(40), amount decimal(10,2));
        INSERT INTO sales VALUES ('North', 12.50), ('South', 100.00)",
    );
    let url = catalogue.url().replacen("mysql://", "mysql+pymysql://", 1);
    let source = catalogue.datasource(&url, "mysql", &json!({}));
    let query = "SELECT region, amount FROM sales WHERE region <> '{{without}}'";
    let report = catalogue.report("Daily sales", query, "csv", source, &json!({"without": "East"}));
    catalogue.schedule(report, "0 0 1 1 *");
    catalogue.delivery(report, "file_share", &json!({"path": format!("{}/", place.path("share").display())}), 0);
    catalogue.delivery(report, "webhook", &json!({"url": "http://127.0.0.1:1/hook"}), 0);
    catalogue.report("Broken", "SELECT * FROM {{table}}", "csv", source, &json!(null));
    catalogue
}

#[test]
fn the_service_answers_as_it_is_described_whatever_it_is_asked() {
    let place = Place::new();
    place.write("pipelines/orders.yaml", ORDERS);
    place.write("pipelines/daily.yaml", DAILY);
    place.write("pipelines/calls.yaml", CALLS);
    place.write("pipelines/broken.yaml", "name: broken\nsource: { use: flie }\n");
    place.write("pipelines/connections.yaml", "database: { use: sqlite, with: { path: orders.db } }\n");
    place.write("pipelines/orders.csv", "number,customer\n1,anna\n2,bert\nfour,carl\nfive,dora\nsix,emil\n");
    let catalogue = reports(&place);
    // Once there is a token, each route must ask for it.
    let state = ["--state", ".engine"];
    let add = ["tokens", "add", "abuse", "--role", "operate"];
    let token = place.engine(&[&add, &state[..]].concat()).with_code(0).stdout;
    let arguments = ["serve", "pipelines", "--listen", "127.0.0.1:0", "--catalogue", catalogue.url()];
    let mut engine = place.start(&[&arguments, &state[..]].concat());
    let web = Web::of(&mut engine).with_token(&token);
    until("the reports are there", || {
        web.get("/api/scheduler/jobs").with(200)["data"].as_array().is_some_and(|jobs| jobs.len() == 1)
    });
    for path in ["/trigger?pipeline=orders", "/trigger?pipeline=daily", "/api/execute/1", "/api/scheduler/trigger/1"] {
        web.post(path, "").with(200);
    }
    until("everything has run once", || {
        let runs = web.get("/api/runs").with(200);
        runs.as_array().is_some_and(|runs| runs.iter().filter(|run| run["outcome"].is_string()).count() == 4)
    });

    let abused = Command::new(workspace().join("tests/end_to_end/abuse/schemathesis"))
        .arg(format!("http://{}", web.address))
        .env("ENGINE_ABUSE_TOKEN", token.trim())
        .output()
        .expect("bash is there");
    let (found, told) = (String::from_utf8_lossy(&abused.stdout), String::from_utf8_lossy(&abused.stderr));
    assert!(abused.status.success(), "{found}\n{told}\nthe service:\n{}", engine.log().join("\n"));

    assert_eq!(web.get("/health").with(200)["status"], "healthy");
    assert!(!engine.log().iter().any(|line| line.contains("panicked")), "{}", engine.log().join("\n"));
    engine.terminate();
    engine.wait().with_code(0);
}
