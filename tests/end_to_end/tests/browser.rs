//! The pages of a service in a browser, used as a person uses them.

use std::process::Command;

use engine_end_to_end_tests::{Place, workspace};

const ORDERS: &str = r#"
name: orders
description: Orders of a day
timezone: Asia/Kolkata
schedule: { cron: "30 6 1 1 *" }
params:
  day: { type: date, default: "2026-02-13", description: The day in the name of the file }
source: { use: file, with: { path: orders.csv }, format: csv }
transforms:
  - use: validate
    with: { rules: { number: { pattern: "[0-9]+" } } }
sinks:
  - use: sqlite
    with: { path: orders.db, table: orders, create: true }
  - use: file
    with: { path: "out/{{ params.day }}-{{ window.id }}.csv" }
    format: csv
retry: { attempts: 1000, backoff: 50ms, max: 200ms }
"#;

/// Whatever a page shows of it must stay text.
const HOSTILE: &str = r#"
name: hostile
description: "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
source: { use: file, with: { path: hostile.jsonl }, format: { use: json, with: { columns: [n], types: { n: integer } } } }
sink: { use: file, with: { path: out/hostile.jsonl }, format: json }
"#;

#[test]
fn the_pages_work_in_a_browser() {
    let place = Place::new();
    place.write("pipelines/orders.yaml", ORDERS);
    place.write("pipelines/orders.csv", "number,customer\n1,anna\n2,bert\n3,carl\nfour,dora\n");
    place.write("pipelines/hostile.yaml", HOSTILE);
    place.write("pipelines/hostile.jsonl", "{\"n\": \"</pre><img src=x onerror=alert(1)>\"}\n");
    place.write("pipelines/broken.yaml", "name: broken\nsource: { use: flie }\n");
    place.write("pipelines/connections.yaml", "database: { use: sqlite, with: { path: orders.db } }\n");
    let mut engine = place.start(&["serve", "pipelines", "--listen", "127.0.0.1:0"]);
    let line = engine.logs("the service is at http://");
    let (_, address) = line.split_once("the service is at ").expect("it was waited for");

    let scripts = workspace().join("tests/end_to_end/browser");
    let mut command = Command::new(scripts.join("python"));
    command.arg(scripts.join("pages.py")).arg(address).arg(place.path("pipelines"));
    if std::env::var_os("UPDATE").is_some() {
        command.arg(workspace().join("docs/images"));
    }
    let used = command.output().expect("bash is there");
    let (printed, told) = (String::from_utf8_lossy(&used.stdout), String::from_utf8_lossy(&used.stderr));
    assert!(used.status.success(), "{printed}\n{told}\nthe service:\n{}", engine.log().join("\n"));

    engine.terminate();
    engine.wait().with_code(0);
}
