//! The pipeline `leadpier_sync` as it is shipped: a stand-in for LeadPier, which logs in, pages and misbehaves on
//! demand, and one for the dashboard's API.

use std::sync::{Arc, Mutex};

use engine_end_to_end_tests::{Ended, Place, workspace};
use engine_state::DeadLetterStatus;
use engine_test_tools::http::{self, Answer, Request};
use serde_json::{Value, json};

const PASSWORD: &str = "canary-password-4711";

/// How LeadPier stands.
struct Leads {
    sources: Vec<Value>,
    /// How often somebody has logged in; each time with another token.
    logins: usize,
    /// The number of the only token that is taken.
    good: usize,
    /// Requests for data so far, and at which of them the token ends.
    asked: usize,
    ends_at: Option<usize>,
    error: Option<&'static str>,
}

struct LeadPier {
    server: http::Server,
    leads: Arc<Mutex<Leads>>,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl LeadPier {
    fn start(sources: Vec<Value>) -> Self {
        let leads = Leads { sources, logins: 0, good: 0, asked: 0, ends_at: None, error: None };
        let leads = Arc::new(Mutex::new(leads));
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (of_server, seen) = (Arc::clone(&leads), Arc::clone(&bodies));
        let server = http::Server::start(move |request: Request| {
            let mut leads = of_server.lock().unwrap();
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            match (request.method.as_str(), request.path.as_str()) {
                ("POST", "/v1/frontend/authenticate") => {
                    if body != json!({"username": "ann@example.com", "password": PASSWORD}) {
                        return Answer::text(200, r#"{"errorCode": "INVALID_CREDENTIALS"}"#);
                    }
                    leads.logins += 1;
                    leads.good = leads.logins;
                    let data = json!({"token": format!("token-{}", leads.logins), "email": "ann@example.com"});
                    Answer::text(200, &json!({"errorCode": "NO_ERROR", "data": data}).to_string())
                }
                ("POST", "/v1/api/stats/user/org/sources") => {
                    leads.asked += 1;
                    if leads.ends_at == Some(leads.asked) {
                        leads.good = 0;
                    }
                    if request.header("authorization") != Some(&format!("bearer token-{}", leads.good)) {
                        return Answer::status(401);
                    }
                    if let Some(error) = leads.error {
                        return Answer::text(200, &json!({"errorCode": error}).to_string());
                    }
                    let number = |name: &str| body[name].as_u64().unwrap() as usize;
                    let page: Vec<_> =
                        leads.sources.iter().skip(number("offset")).take(number("limit")).cloned().collect();
                    let data = json!({"count": leads.sources.len(), "statistics": page});
                    seen.lock().unwrap().push(body);
                    Answer::text(200, &json!({"errorCode": "NO_ERROR", "data": data}).to_string())
                }
                _ => Answer::status(404),
            }
        });
        Self { server, leads, bodies }
    }
}

/// The dashboard's API: what it was sent, and what it answers.
struct Dashboard {
    server: http::Server,
    reports: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<Mutex<Option<&'static str>>>,
}

impl Dashboard {
    fn start() -> Self {
        let reports: Arc<Mutex<Vec<Value>>> = Arc::default();
        let refuses: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let (seen, answers) = (Arc::clone(&reports), Arc::clone(&refuses));
        let server = http::Server::start(move |request: Request| {
            if request.method != "PUT" {
                return Answer::status(405);
            }
            if let Some(message) = *answers.lock().unwrap() {
                return Answer::text(200, &json!({"success": false, "message": message}).to_string());
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let total = body["data"].as_array().unwrap().len();
            seen.lock().unwrap().push(body);
            let answer = json!({
                "success": true, "matched": total - 1, "unmatched": 1, "total_received": total, "details": [], "errors": [],
            });
            Answer::text(200, &answer.to_string())
        });
        Self { server, reports, refuses }
    }
}

struct Job {
    place: Place,
    leadpier: LeadPier,
    dashboard: Dashboard,
}

impl Job {
    fn new(sources: Vec<Value>) -> Self {
        let (leadpier, dashboard) = (LeadPier::start(sources), Dashboard::start());
        let mut place = Place::new();
        let shipped = |name: &str| std::fs::read_to_string(workspace().join("pipelines").join(name)).unwrap();
        place.write("leadpier_sync.yaml", shipped("leadpier_sync.yaml").replace("backoff: 5s", "backoff: 1ms"));
        // The mail server of the tests has an authority of its own.
        let ca = std::env::var("ENGINE_TEST_SMTP_CA").expect("run it by `tests/services run`");
        place.write("connections.yaml", format!("{}    ca: {ca}\n", shipped("connections.yaml")));
        place.set("LEADPIER_URL", leadpier.server.url());
        place.set("LEADPIER_USER", "ann@example.com");
        place.set("LEADPIER_PASSWORD", PASSWORD);
        place.set("LE_API_URL", format!("{}/report", dashboard.server.url()));
        place.set("MAIL_PORT", std::env::var("ENGINE_TEST_SMTP_PORT").unwrap());
        place.set("MAIL_PASSWORD", std::env::var("ENGINE_TEST_SMTP_PASSWORD").unwrap());
        Self { place, leadpier, dashboard }
    }

    fn run(&self) -> Ended {
        self.place.engine(&["--json", "run", "--once", "leadpier_sync.yaml"])
    }

    fn logins(&self) -> usize {
        self.leadpier.leads.lock().unwrap().logins
    }
}

fn source(code: &str, visitors: impl Into<Value>) -> Value {
    json!({
        "source": code, "visitors": visitors.into(), "totalLeads": 30, "soldLeads": "12", "totalRevenue": "100.456",
        "conversionRate": 33.333333333333336, "soldRate": 40, "EPL": 3.3485, "somethingNew": {"a": 1},
    })
}

#[test]
fn sources_with_visitors_are_sent_with_their_numbers_and_counted() {
    let job = Job::new(vec![
        source("vr-b-oZaR5m-t-mlYq6o-0213", 90),
        source("mta-b_0216-cfl-e3", "7"),
        source("vr-nobody-came", 0),
        source("no code", 5),
        source("xx-unknown-prefix", 5),
    ]);
    let before = day_in_india();
    let report = job.run().with_code(0).report();
    let days = [before, day_in_india()];
    assert_eq!((report.read, report.dead_letters), (5, 2));
    let reports = job.dashboard.reports.lock().unwrap();
    let today = reports[0]["report_date"].clone();
    assert!(days.contains(&today), "{today} is none of {days:?}");
    let expected = json!({
        "report_date": today,
        "data": [
            {"campaign_code": "vr-b-oZaR5m-t-mlYq6o-0213", "clicks": 90, "leads": 30, "lead_percent": 33.33, "sales": 12,
             "sale_percent": 40.00, "revenue": 100.46, "epc": 3.35, "rpc": 1.12},
            {"campaign_code": "mta-b_0216-cfl-e3", "clicks": 7, "leads": 30, "lead_percent": 33.33, "sales": 12,
             "sale_percent": 40.00, "revenue": 100.46, "epc": 3.35, "rpc": 14.35},
        ],
    });
    assert_eq!(*reports, [expected]);
    drop(reports);
    let figures = &report.sink("http").figures;
    assert_eq!((figures["matched"], figures["unmatched"]), (1, 1));
    let codes: Vec<_> = job.place.dead_letters(DeadLetterStatus::Final).into_iter().map(|it| it.reason).collect();
    assert!(codes.iter().any(|it| it.contains("no code")) && codes.iter().any(|it| it.contains("xx-")), "{codes:?}");
    let bodies = job.leadpier.bodies.lock().unwrap();
    assert!(days.contains(&bodies[0]["periodFrom"]) && days.contains(&bodies[0]["periodTo"]), "{bodies:?}");
    assert_eq!((&bodies[0]["orderBy"], &bodies[0]["orderDirection"]), (&json!("source"), &json!("DESC")));
}

fn day_in_india() -> Value {
    let now = chrono::Utc::now() + chrono::TimeDelta::minutes(330);
    now.format("%Y-%m-%d").to_string().into()
}

#[test]
fn a_token_is_kept_across_runs_and_renewed_in_the_middle_of_the_pages() {
    let job = Job::new((0..2500).map(|number| source(&format!("vr-{number}"), 1)).collect());
    assert_eq!(job.run().with_code(0).report().read, 2500);
    assert_eq!(job.run().with_code(0).report().read, 2500);
    assert_eq!(job.logins(), 1, "the second run has the token of the first");
    // The second of three pages is refused.
    {
        let mut leads = job.leadpier.leads.lock().unwrap();
        leads.ends_at = Some(leads.asked + 2);
    }
    let ended = job.run().with_code(0);
    assert_eq!(ended.report().read, 2500);
    assert_eq!(job.logins(), 2);
    let reports = job.dashboard.reports.lock().unwrap();
    assert!(reports.iter().all(|report| report["data"].as_array().unwrap().len() == 2500));
    // Nobody but its owner can read the token, and no output shows it.
    assert!(!format!("{ended:?}").contains("token-"), "{ended:?}");
    assert!(!format!("{ended:?}").contains(PASSWORD), "{ended:?}");
}

#[test]
fn a_wrong_password_ends_the_run_and_says_so() {
    let mut job = Job::new(vec![source("vr-a", 1)]);
    job.place.set("LEADPIER_PASSWORD", "canary-wrong-4712");
    let ended = job.run().with_code(1);
    let shown = format!("{ended:?}");
    assert!(shown.contains("INVALID_CREDENTIALS") && !shown.contains("canary"), "{shown}");
    assert_eq!(job.leadpier.leads.lock().unwrap().asked, 0);
    assert!(job.dashboard.reports.lock().unwrap().is_empty());
}

#[test]
fn with_nothing_to_send_nothing_is_sent() {
    let job = Job::new(vec![source("vr-nobody-came", 0)]);
    assert_eq!(job.run().with_code(0).report().read, 1);
    let none = Job::new(vec![]);
    assert_eq!(none.run().with_code(0).report().read, 0);
    assert!(job.dashboard.reports.lock().unwrap().is_empty());
    assert!(none.dashboard.reports.lock().unwrap().is_empty());
}

#[test]
fn what_the_apis_refuse_with_status_200_is_a_failure() {
    let job = Job::new(vec![source("vr-a", 1)]);
    job.leadpier.leads.lock().unwrap().error = Some("INTERNAL_ERROR");
    let ended = job.run();
    assert_ne!(ended.code, Some(0));
    assert!(format!("{ended:?}").contains("INTERNAL_ERROR"), "{ended:?}");
    job.leadpier.leads.lock().unwrap().error = None;
    *job.dashboard.refuses.lock().unwrap() = Some("the report of that day is closed");
    let ended = job.run();
    assert_ne!(ended.code, Some(0));
    assert!(format!("{ended:?}").contains("the report of that day is closed"), "{ended:?}");
    *job.dashboard.refuses.lock().unwrap() = None;
    job.run().with_code(0);
    assert_eq!(job.dashboard.reports.lock().unwrap().len(), 1);
}
