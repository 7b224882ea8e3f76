//! Parameters of a run.

use engine_end_to_end_tests::{Database, Place, Server, until};
use serde_json::json;

const REPORT: &str = "
params:
  region: EU
  limit: { type: integer, default: 10, description: The most rows }
  day: { type: date, default: \"{{ params.yesterday }}\" }
timezone: Asia/Kolkata
source: { use: file, with: { path: calls.csv }, format: csv }
sink: { use: file, with: { path: \"out/{{ params.region }}-{{ params.day }}-{{ params.limit }}.csv\" }, format: csv }
";

fn place() -> Place {
    let place = Place::new();
    place.write("calls.csv", "number\n2432\n");
    place.write("report.yaml", REPORT);
    place
}

fn made(place: &Place) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(place.path("out"))
        .into_iter()
        .flatten()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_has_the_values_that_are_set_and_the_defaults_of_the_others() {
    let place = place();
    place.engine(&["run", "report.yaml", "--set", "region=US", "--set", "day=2025-01-31"]).with_code(0);
    assert_eq!(made(&place), ["US-2025-01-31-10.csv"]);
    place.engine(&["run", "report.yaml"]).with_code(0);
    let names = made(&place);
    let [of_yesterday, _] = &names[..] else { panic!("{names:?}") };
    assert!(of_yesterday.starts_with("EU-20") && of_yesterday.ends_with("-10.csv"), "{names:?}");
}

#[test]
fn what_is_wrong_with_a_value_is_told_before_the_run() {
    let place = place();
    for (set, told) in [
        ("regoin=US", "did you mean `region`?"),
        ("limit=ten", "`ten` is no integer; write for example `42`"),
        ("day=31.1.2025", "`31.1.2025` is no date; write for example `2025-09-17`"),
        ("region", "`region` is not NAME=VALUE"),
    ] {
        place.engine(&["run", "report.yaml", "--set", set]).with_code(2).says(&[told]);
    }
    let range = ["--set", "start_datetime=2026-02-02", "--set", "end_datetime=2026-02-01"];
    place.engine(&[&["run", "report.yaml"], &range[..]].concat()).with_code(2).says(&["after `end_datetime`"]);
    place.write("report.yaml", REPORT.replace("region: EU", "region: { description: Which one }"));
    place.engine(&["validate", "report.yaml"]).with_code(0);
    place
        .engine(&["run", "report.yaml"])
        .with_code(2)
        .says(&["the parameter `region` has no value", "set it with `--set region=…`, or give it a `default`"]);
    assert!(made(&place).is_empty());
}

#[test]
fn a_file_that_declares_them_wrongly_is_refused_where_it_does() {
    let place = place();
    for (wrong, right, told) in [
        ("params.region", "params.reggion", "did you mean `params.region`?"),
        ("default: 10,", "default: ten,", "the default of `limit` is not of its type"),
        ("type: date", "type: dat", "did you mean `date`?"),
        ("Asia/Kolkata", "Asia/Kolkatta", "did you mean `Asia/Kolkata`?"),
        ("  region: EU", "  Region: EU", "a parameter's name has small letters, digits and `_`"),
        ("params.yesterday", "params.limit", "a template knows no `params.limit`"),
    ] {
        place.write("report.yaml", REPORT.replace(wrong, right));
        place.engine(&["validate", "report.yaml"]).with_code(2).says(&[told, "report.yaml:"]);
    }
}

#[test]
fn a_query_is_bound_to_them_with_their_types() {
    let database: Database = Server::shared().database();
    database.execute(
        "CREATE TABLE sales (day date, at timestamp, region text, amount int);
         INSERT INTO sales VALUES ('2025-01-30', '2025-01-30 10:00', 'EU', 1), ('2025-01-31', '2025-01-31 10:00', 'EU', 2),
                                  ('2025-01-31', '2025-01-31 11:00', 'US', 3), ('2025-01-31', '2025-01-31 12:00', 'EU', 40)",
    );
    let mut place = Place::new();
    place.set("DATABASE_URL", database.url());
    place.write(
        "report.yaml",
        "
params:
  region: EU
  most: 10
  day: { type: date, default: 2025-01-31 }
source:
  use: postgres
  with:
    url: ${env:DATABASE_URL}
    query: |
      SELECT amount FROM sales
      WHERE region = :region AND day = :day AND amount <= :most AND at < :until ORDER BY amount
    parameters:
      region: '{{ params.region }}'
      day: '{{ params.day }}'
      most: '{{ params.most }}'
      until: '{{ params.end_datetime }}'
sink: { use: file, with: { path: 'out/{{ params.region }}.jsonl' }, format: json }
",
    );
    place.engine(&["run", "report.yaml"]).with_code(0);
    assert_eq!(std::fs::read_to_string(place.path("out/EU.jsonl")).unwrap(), "{\"amount\":2}\n");
    // A value is a value, whatever stands in it.
    place.engine(&["run", "report.yaml", "--set", "region=' OR 1=1 --"]).with_code(0);
    let rows = place.json(&["preview", "report.yaml", "--set", "region=US"]);
    assert_eq!(rows[0]["stages"][0]["rows"], json!([{"amount": 3}]));
}

/// A query for what happened since the run before, for two tables.
const SINCE: &str = "
source:
  use: postgres
  with:
    url: ${env:DATABASE_URL}
    query: SELECT number FROM events WHERE at >= :since AND at < :until ORDER BY number
    parameters: { since: '{{ params.start_datetime }}', until: '{{ params.end_datetime }}' }
sinks:
  - { name: one, use: postgres, with: { url: \"${env:DATABASE_URL}\", table: one } }
  - { name: two, use: postgres, with: { url: \"${env:DATABASE_URL}\", table: two } }
";

#[test]
fn ranges_of_time_meet_whatever_fails_in_between() {
    let database: Database = Server::shared().database();
    database.execute(
        "CREATE TABLE events (number int, at timestamp); CREATE TABLE one (number int); CREATE TABLE two (number int)",
    );
    let mut place = Place::new();
    place.set("DATABASE_URL", database.url());
    place.write("since.yaml", SINCE);
    let happens = |number: u32| {
        database.execute(&format!("INSERT INTO events VALUES ({number}, now() AT TIME ZONE 'UTC')"));
    };
    let without = |tables: &[&str]| {
        tables.iter().for_each(|table| database.execute(&format!("ALTER TABLE {table} RENAME TO {table}_away")));
        place.engine(&["run", "since.yaml"]).with_code(2);
        tables.iter().for_each(|table| database.execute(&format!("ALTER TABLE {table}_away RENAME TO {table}")));
    };
    happens(1);
    place.engine(&["run", "since.yaml"]).with_code(0);
    happens(2);
    // Nothing can be read.
    without(&["events"]);
    happens(3);
    // One of both gets its rows, the other later.
    without(&["two"]);
    happens(4);
    place.engine(&["run", "since.yaml"]).with_code(0);
    happens(5);
    // Nobody gets any: the window is given up.
    without(&["one", "two"]);
    happens(6);
    // Somebody looks at a day that was long ago.
    let long_ago = ["--set", "start_datetime=2020-01-01", "--set", "end_datetime=2020-01-02"];
    place.engine(&[&["run", "since.yaml"], &long_ago[..]].concat()).with_code(0);
    // What happened within the second of a run is for the next one.
    until("both have everything", || {
        place.engine(&["run", "since.yaml"]).with_code(0);
        ["one", "two"].iter().all(|table| database.count(table) >= 6)
    });
    for table in ["one", "two"] {
        let rows = database.rows(&format!("SELECT number::text FROM {table} ORDER BY number"));
        assert_eq!(rows.concat(), ["1", "2", "3", "4", "5", "6"], "{table}");
    }
}

#[test]
fn a_run_beside_the_schedule_with_values_of_its_own_takes_no_range_from_it() {
    let place = Place::new();
    place.write("calls.csv", "number\n2432\n");
    place.write(
        "report.yaml",
        "params: { region: EU }\nschedule: { cron: \"0 0 1 1 *\" }\n\
         source: { use: file, with: { path: calls.csv }, format: csv }\n\
         sink: { use: file, with: { path: \"out/{{ params.region }}~{{ params.start_datetime }}~{{ window.id }}.csv\" }, \
         format: csv }\n",
    );
    let run = |more: &[&str]| place.engine(&[&["run", "--once", "report.yaml"], more].concat()).with_code(0);
    run(&["--set", "region=US"]);
    run(&[]);
    let begins = |region: &str| {
        let made = made(&place);
        let names = made.iter().filter(|name| name.starts_with(region));
        names.map(|name| name.split('~').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(begins("US"), begins("EU"));
    run(&["--set", "region=US"]);
    let both = begins("US");
    assert!(both[0] < both[1], "what was read since is nobody's range any more: {both:?}");
}
