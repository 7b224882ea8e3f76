//! The pipeline `cdr_to_api` as it is shipped: call records from PostgreSQL to an API that does not know
//! every domain, with mails to the team by a real mail server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use engine_end_to_end_tests::{Database, Ended, Place, Server, workspace};
use engine_test_tools::http::{self, Answer, Request};
use serde_json::{Value, json};

const TABLES: &str = "
CREATE TABLE ct_domain (id int PRIMARY KEY, name text);
CREATE TABLE cr_conn_cdr (
    accountcode text, linkedaccountcode text, dnis text, phonenumber text, callstatus text, callduration int,
    hangupcause text, calltype text, recordentrydate timestamp, domainid int);
CREATE INDEX ON cr_conn_cdr (recordentrydate)";

/// The API: it takes the records of a batch, unless one is of a domain that it does not know.
struct Api {
    server: http::Server,
    known: Arc<Mutex<BTreeSet<String>>>,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    fn start(known: &[&str], fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let known = Arc::new(Mutex::new(known.iter().map(ToString::to_string).collect::<BTreeSet<_>>()));
        let (taken, seen): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<Request>>>) = (Arc::default(), Arc::default());
        let of_server = (Arc::clone(&known), Arc::clone(&taken), Arc::clone(&seen));
        let server = http::Server::start(move |request: Request| {
            let (known, taken, seen) = &of_server;
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(request.clone());
                seen.len() - 1
            };
            if fails(number) {
                return Answer::status(503);
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let records = body["cdrdata"].as_array().unwrap();
            let domain = |record: &Value| record["domainname"].as_str().unwrap_or_default().to_owned();
            if let Some(unknown) = records.iter().map(domain).find(|domain| !known.lock().unwrap().contains(domain)) {
                let answer = json!({"msg": "Domain not configured", "domain": unknown});
                return Answer::text(200, &answer.to_string());
            }
            let key = request.header("idempotency-key").unwrap().to_owned();
            taken.lock().unwrap().extend(records.iter().map(|record| (key.clone(), record.clone())));
            Answer::text(200, r#"{"msg": "inserted"}"#)
        });
        Self { server, known, taken, seen }
    }

    /// Calls by their ids: what came once with its key counts once.
    fn calls(&self) -> BTreeMap<String, Value> {
        let mut calls: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
        for (key, record) in self.taken.lock().unwrap().iter() {
            let id = record["callid"].as_str().unwrap().to_owned();
            calls.entry(id).or_default().push((key.clone(), record.clone()));
        }
        let once = |(id, mut all): (String, Vec<(String, Value)>)| {
            all.dedup();
            assert_eq!(all.len(), 1, "{id} came under two keys: {all:?}");
            (id, all.remove(0).1)
        };
        calls.into_iter().map(once).collect()
    }
}

struct Job {
    database: Database,
    place: Place,
    team: String,
}

impl Job {
    fn new(api: &Api, test: &str) -> Self {
        let database = Server::shared().database();
        database.execute(TABLES);
        let mut place = Place::new();
        let shipped = |name: &str| std::fs::read_to_string(workspace().join("pipelines").join(name)).unwrap();
        place.write("cdr_to_api.yaml", shipped("cdr_to_api.yaml").replace("backoff: 2s", "backoff: 1ms"));
        // The mail server of the tests has an authority of its own.
        let ca = std::env::var("ENGINE_TEST_SMTP_CA").expect("run it by `tests/services run`");
        place.write("connections.yaml", format!("{}    ca: {ca}\n", shipped("connections.yaml")));
        let team = format!("team@{test}.{}.test", std::process::id());
        place.set("CDR_DATABASE_URL", database.url());
        place.set("CDR_API_URL", format!("{}/insertcdr", api.server.url()));
        place.set("CDR_API_KEY", "canary-key-4711");
        place.set("CDR_TEAM", &team);
        place.set("MAIL_PORT", std::env::var("ENGINE_TEST_SMTP_PORT").unwrap());
        place.set("MAIL_PASSWORD", std::env::var("ENGINE_TEST_SMTP_PASSWORD").unwrap());
        Self { database, place, team }
    }

    /// Calls of a domain, by a second each from this time on.
    fn calls(&self, prefix: &str, count: u32, domain: u32, from: &str) {
        self.database.execute(&format!(
            "INSERT INTO cr_conn_cdr SELECT '{prefix}' || number, 'BR1', '100', '0' || number, 'ANSWER', number, '16', 'out',
             timestamp '{from}' + number * interval '1 second', {domain} FROM generate_series(1, {count}) AS number"
        ));
    }

    fn domain(&self, id: u32, name: &str) {
        self.database.execute(&format!("INSERT INTO ct_domain VALUES ({id}, '{name}')"));
    }

    fn run(&self) -> Ended {
        self.place.engine(&["--json", "run", "--once", "cdr_to_api.yaml"])
    }

    /// The subjects of the mails to the team.
    fn mails(&self) -> Vec<String> {
        let folder = std::env::var("ENGINE_TEST_SMTP_FOLDER").unwrap();
        let mut found = Vec::new();
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|it| it == "json")
                && std::fs::read_to_string(&file).unwrap().contains(&self.team)
            {
                let text = std::fs::read_to_string(file.with_extension("eml")).unwrap();
                let subject = text.split("\r\nSubject: ").nth(1).unwrap();
                // A long one goes on in the next lines.
                let end = subject.match_indices("\r\n").find(|(at, _)| !subject[at + 2..].starts_with(' ')).unwrap().0;
                found.push(subject[..end].replace("\r\n", ""));
            }
        }
        found.sort();
        found
    }
}

#[test]
fn records_are_sent_with_their_domains_and_each_once() {
    let api = Api::start(&["a.example", "b.example"], |_| false);
    let job = Job::new(&api, "calls");
    job.domain(1, "a.example");
    job.domain(2, "b.example");
    job.calls("A", 250, 1, "2026-01-01 10:00:00");
    job.calls("B", 30, 2, "2026-01-01 11:00:00");
    let report = job.run().with_code(0).report();
    assert_eq!((report.read, report.sink("http").written), (280, 280));
    let calls = api.calls();
    assert_eq!(calls.len(), 280);
    let expected = json!({
        "domainname": "a.example", "callid": "A7", "cli": "100", "phonenumber": "07", "status": "ANSWER",
        "callduration": 7, "hangupcause": "16", "calltype": "out", "entrydate": "2026-01-01 10:00:07",
    });
    assert_eq!(calls["A7"], expected);
    let seen = api.seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "100 records a request");
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body["servicename"], "calls");
    assert!(seen[0].path.contains("auth_key=canary-key-4711"), "{}", seen[0].path);
    drop(seen);
    // What is new, and nothing else.
    job.calls("C", 5, 1, "2026-01-01 12:00:00");
    assert_eq!(job.run().with_code(0).report().read, 5);
    assert_eq!(api.calls().len(), 285);
    assert!(job.mails().is_empty());
}

#[test]
fn a_domain_that_the_api_does_not_know_costs_one_mail_and_its_records_wait() {
    let api = Api::start(&["a.example"], |_| false);
    let job = Job::new(&api, "domains");
    job.domain(1, "a.example");
    job.domain(2, "new.example");
    job.calls("A", 120, 1, "2026-01-01 10:00:00");
    job.calls("N", 130, 2, "2026-01-01 10:00:00");
    let report = job.run().with_code(0).report();
    assert_eq!((report.sink("http").written, report.sink("http").dead_letters), (120, 130));
    assert_eq!(api.calls().len(), 120);
    let subject = "cdr_to_api: domain_not_configured (new.example): Domain not configured";
    assert_eq!(job.mails(), [subject], "one mail for the domain and the run");

    api.known.lock().unwrap().insert("new.example".into());
    job.place.engine(&["dead-letters", "replay", "cdr_to_api.yaml"]).with_code(0);
    assert_eq!(api.calls().len(), 250, "each call once");
    assert_eq!(job.run().with_code(0).report().read, 0);
    assert_eq!(job.mails().len(), 1);
}

#[test]
fn an_api_that_is_down_gets_everything_later_and_the_team_hears_of_it() {
    let api = Api::start(&["a.example"], |number| (3..30).contains(&number));
    let job = Job::new(&api, "down");
    job.domain(1, "a.example");
    job.calls("A", 1000, 1, "2026-01-01 10:00:00");
    // Three attempts, then the records that were not taken are dead letters, and no others.
    let report = job.run().with_code(0).report();
    let (written, dead) = (report.sink("http").written, report.sink("http").dead_letters);
    assert!(written > 0 && dead > 0 && written + dead == 1000, "{report:?}");
    assert_eq!(api.calls().len() as u64, written);
    for _ in 0..20 {
        if api.calls().len() < 1000 {
            job.place.engine(&["dead-letters", "replay", "cdr_to_api.yaml"]);
        }
    }
    assert_eq!(api.calls().len(), 1000);
}

#[test]
fn a_range_is_sent_by_a_backfill_and_a_wrong_one_is_refused() {
    let api = Api::start(&["a.example"], |_| false);
    let job = Job::new(&api, "range");
    job.domain(1, "a.example");
    job.calls("A", 10, 1, "2026-01-01 10:00:00");
    job.calls("B", 10, 1, "2026-01-02 10:00:00");
    job.run().with_code(0);
    let before = api.seen.lock().unwrap().len();
    let backfill =
        |from: &str, to: &str| job.place.engine(&["backfill", "cdr_to_api.yaml", "--from", from, "--to", to]);
    backfill("2026-01-01 00:00:00", "2026-01-01 23:59:59").with_code(0);
    let seen = api.seen.lock().unwrap();
    assert_eq!(seen.len(), before + 1);
    let body: Value = serde_json::from_slice(&seen[before].body).unwrap();
    assert_eq!(body["cdrdata"].as_array().unwrap().len(), 10, "those of the day");
    drop(seen);
    backfill("2026-01-03 00:00:00", "2026-01-01 00:00:00").with_code(2);
}

#[test]
fn only_broadcasts_and_another_domain_when_it_is_asked_for() {
    let api = Api::start(&["custom.example"], |_| false);
    let mut job = Job::new(&api, "broadcasts");
    job.place.set("CDR_BROADCAST", "true");
    job.place.set("CDR_CUSTOM_DOMAIN", "custom.example");
    job.calls("IT", 5, 1, "2026-01-01 10:00:00");
    job.calls("X", 5, 1, "2026-01-01 10:00:00");
    assert_eq!(job.run().with_code(0).report().read, 5);
    let calls = api.calls();
    assert!(calls.keys().all(|id| id.starts_with("IT")), "{calls:?}");
    assert!(calls.values().all(|call| call["domainname"] == "custom.example"));
}

#[test]
fn a_run_that_fails_is_told_by_mail() {
    let api = Api::start(&[], |_| false);
    let job = Job::new(&api, "failure");
    job.database.execute("DROP TABLE ct_domain");
    let ended = job.run();
    assert_ne!(ended.code, Some(0));
    let mails = job.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].starts_with("cdr_to_api: failed: source: "), "{mails:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}
