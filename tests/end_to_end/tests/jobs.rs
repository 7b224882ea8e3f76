//! The pipelines as they are shipped, all of them under one service, with its state in (a stand-in for) MongoDB.

use std::sync::{Arc, Mutex};

use engine_end_to_end_tests::{
    Caller, MariaDatabase, MongoDatabase, Place, Post, Server, Web, environment, lines, sftp_host_key, until, workspace,
};
use engine_test_tools::http::{self, Answer, Request};
use serde_json::{Value, json};

const PASSWORD: &str = "canary-password-4711";
const SHIPPED: [&str; 5] =
    ["avaya_cdr.yaml", "cdr_to_api.yaml", "leadpier_sync.yaml", "incident_window.yaml", "sales_report.yaml"];

const POSTGRES: &str = "
CREATE TABLE ct_domain (id int PRIMARY KEY, name text);
CREATE TABLE cr_conn_cdr (
    accountcode text, linkedaccountcode text, dnis text, phonenumber text, callstatus text, callduration int,
    hangupcause text, calltype text, recordentrydate timestamp, domainid int);
INSERT INTO ct_domain VALUES (1, 'example.com');
INSERT INTO cr_conn_cdr (accountcode, recordentrydate, domainid)
    SELECT 'IT' || n, timestamp '2026-01-01' + n * interval '1 second', 1 FROM generate_series(1, 250) AS n;
CREATE TABLE sales (region text, product text, quantity int, amount numeric(10, 2), sold_at timestamp);
INSERT INTO sales VALUES ('North', 'Tea', 2, 12.50, '2026-01-31 10:00'), ('South', 'Tea', 1, 7.25, '2026-01-31 11:00')";

const MARIADB: &str = "
CREATE TABLE debt_cust_detail (
    ACCOUNT_NUM varchar(20), ASSET_ID varchar(20), CONTACT_PERSON varchar(80), NIC varchar(20),
    ASSET_ADDRESS varchar(200), ACCOUNT_STATUS_BSS varchar(20), EMAIL varchar(80), TECNICAL_CONTACT_EMAIL varchar(80),
    MOBILE_CONTACT varchar(20), WORK_CONTACT varchar(20), LAST_PAYMENT_DAT datetime, LAST_PAYMENT_MNY decimal(12,2),
    LAST_BILL_SEQ int, LAST_BILL_DTM datetime, PROMOTION_INTEG_ID varchar(20), PRODUCT_NAME varchar(80),
    CUSTOMER_REF varchar(20), CUSTOMER_TYPE varchar(20), CUSTOMER_TYPE_ID int, CREDIT_CLASS_ID int,
    CREDIT_CLASS_NAME varchar(40), BILLING_CENTER_NAME varchar(40), CUSTOMER_SEGMENT_ID int, ZIP_CODE varchar(10),
    CITY varchar(40), PROVINCE varchar(40), LOAD_DATE datetime);
CREATE TABLE debt_payment (
    AP_ACCOUNT_NUMBER varchar(20), ACCOUNT_PAYMENT_DAT datetime, ACCOUNT_PAYMENT_SEQ int,
    AP_ACCOUNT_PAYMENT_MNY decimal(12,2), LOAD_DATE datetime);
INSERT INTO debt_cust_detail (ACCOUNT_NUM, ASSET_ID, EMAIL, LOAD_DATE)
    SELECT lpad(seq, 8, '0'), concat('asset ', seq), concat('a', seq, '@example.com'), '2026-01-01' FROM seq_1_to_30";

/// Every API that the pipelines speak to: what each was asked, and an answer that satisfies it.
struct Apis {
    server: http::Server,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Apis {
    fn start() -> Self {
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let server = http::Server::start(move |request: Request| {
            let answer = match request.path.split('?').next().unwrap_or_default() {
                "/v1/frontend/authenticate" => json!({"errorCode": "NO_ERROR", "data": {"token": "token-1"}}),
                "/v1/api/stats/user/org/sources" => json!({"errorCode": "NO_ERROR", "data": statistics(&request)}),
                "/report" => {
                    let body: Value = serde_json::from_slice(&request.body).unwrap();
                    let total = body["data"].as_array().unwrap().len();
                    json!({"success": true, "matched": total - 1, "unmatched": 1, "total_received": total})
                }
                "/insertcdr" => json!({"msg": "inserted"}),
                _ => json!({}),
            };
            notes.lock().unwrap().push(request);
            Answer::text(200, &answer.to_string())
        });
        Self { server, seen }
    }

    /// The bodies that a path was sent.
    fn bodies(&self, path: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let of_path = seen.iter().filter(|request| request.path.split('?').next() == Some(path));
        of_path.map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }
}

/// A page of what LeadPier knows: three sources, one of which nobody has visited.
fn statistics(request: &Request) -> Value {
    let source = |name: &str, visitors: u32| {
        json!({
            "source": name, "visitors": visitors, "totalLeads": 5, "soldLeads": 2, "totalRevenue": "12.345",
            "conversionRate": 25.0, "soldRate": 40.0, "EPL": 2.5,
        })
    };
    let all = [source("vr-b-oZaR5m-t-0213", 20), source("mta-b_0216-cfl-e3", 10), source("vr-quiet", 0)];
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let number = |name: &str| body[name].as_u64().unwrap_or_default() as usize;
    let page: Vec<_> = all.iter().skip(number("offset")).take(number("limit")).cloned().collect();
    json!({"count": all.len(), "statistics": page})
}

/// The files as they are shipped, and an environment in which they find the servers of the tests.
fn set_up(place: &mut Place, apis: &Apis, postgres: &str, debts: &str, state: &str, team: &str) {
    let shipped = |name: &str| std::fs::read_to_string(workspace().join("pipelines").join(name)).unwrap();
    for name in SHIPPED {
        place.write(&format!("pipelines/{name}"), shipped(name));
    }
    place.write("state/state.yaml", shipped("incident_state/state.yaml"));
    // The servers of the tests have keys and authorities of their own, and other ports.
    let partner = "    host: \"${env:PARTNER_HOST:-localhost}\"\n";
    let (port, key) = (environment("ENGINE_TEST_SFTP_PORT"), sftp_host_key());
    let connections = shipped("connections.yaml");
    assert!(connections.contains(partner));
    let connections =
        connections.replace(partner, &format!("    host: 127.0.0.1\n    port: {port}\n    host_key: \"{key}\"\n"));
    place.write("pipelines/connections.yaml", format!("{connections}    ca: {}\n", environment("ENGINE_TEST_SMTP_CA")));
    let api = apis.server.url();
    for (name, value) in [
        ("CDR_LISTEN", "127.0.0.1:0".to_owned()),
        ("CDR_DATABASE_URL", postgres.to_owned()),
        ("SALES_DATABASE_URL", postgres.to_owned()),
        ("DEBT_DATABASE_URL", debts.to_owned()),
        ("STATE_URL", state.to_owned()),
        ("INCIDENT_API_URL", format!("{api}/incidents")),
        ("CDR_API_URL", format!("{api}/insertcdr")),
        ("LEADPIER_URL", api.clone()),
        ("LEADPIER_USER", "ann@example.com".to_owned()),
        ("LEADPIER_PASSWORD", PASSWORD.to_owned()),
        ("LE_API_URL", format!("{api}/report")),
        ("PARTNER_USER", environment("ENGINE_TEST_SFTP_USERNAME")),
        ("PARTNER_PASSWORD", environment("ENGINE_TEST_SFTP_PASSWORD")),
        ("ARCHIVE_ENDPOINT", environment("ENGINE_TEST_S3_ENDPOINT")),
        ("ARCHIVE_BUCKET", environment("ENGINE_TEST_S3_BUCKET")),
        ("ARCHIVE_ACCESS_KEY", environment("ENGINE_TEST_S3_ACCESS_KEY")),
        ("ARCHIVE_SECRET_KEY", environment("ENGINE_TEST_S3_SECRET_KEY")),
        ("REPORT_HOOK_URL", format!("{api}/reports")),
        ("MAIL_PORT", environment("ENGINE_TEST_SMTP_PORT")),
        ("MAIL_PASSWORD", environment("ENGINE_TEST_SMTP_PASSWORD")),
        ("REPORT_TEAM", team.to_owned()),
        ("REPORT_FOLDER", place.path("reports").display().to_string()),
    ] {
        place.set(name, value);
    }
}

fn last(web: &Web, pipeline: &str) -> Value {
    web.get(&format!("/api/pipelines/{pipeline}")).with(200)["last_run"].clone()
}

#[test]
fn the_shipped_pipelines_run_under_one_service() {
    let calls = Server::shared().database();
    calls.execute(POSTGRES);
    let (debts, state, apis) = (MariaDatabase::new(), MongoDatabase::new(), Apis::start());
    debts.execute(MARIADB);
    let mut post = Post::new("jobs", |_| 200);
    let team = format!("files@jobs-{}.test", std::process::id());
    let state_url = state.url_by(state.address());
    set_up(&mut post.place, &apis, calls.url(), debts.url(), &state_url, &team);
    let place = &post.place;
    let mut engine = place.start(&["serve", "pipelines", "--state", "state", "--listen", "127.0.0.1:0"]);
    let web = Web::of(&mut engine);
    let all = web.get("/api/pipelines").with(200);
    let broken: Vec<_> = all.as_array().unwrap().iter().filter(|it| it["problem"].is_string()).collect();
    assert!(all.as_array().unwrap().len() == SHIPPED.len() && broken.is_empty(), "{broken:?}");
    let succeeded = |pipeline: &str| {
        let run = last(&web, pipeline);
        assert_ne!(run["outcome"], "failed", "{run}");
        run["outcome"] == "succeeded"
    };

    // Call records from the exchange: the source receives all the time.
    let mut caller = Caller::new(engine.address().expect("it listens"));
    caller.send(lines(0..200));
    caller.close();
    // Leads: at the start of the service, then every ten minutes.
    until("the leads are at the dashboard", || succeeded("leadpier_sync"));
    let [report] = &apis.bodies("/report")[..] else { panic!("one report") };
    assert_eq!(report["data"].as_array().unwrap().len(), 2, "{report}");
    let status = web.get("/status?pipeline=leadpier_sync").with(200);
    let execution = &status["last_execution"];
    assert_eq!((&execution["matched_records"], &execution["unmatched_records"]), (&json!(1), &json!(1)), "{status}");

    // What has a schedule runs on demand too.
    for pipeline in ["cdr_to_api", "incident_window"] {
        assert_eq!(web.post(&format!("/trigger?pipeline={pipeline}"), "").with(200)["status"], "triggered");
    }
    let day = json!({"params": {"day": "2026-01-31"}}).to_string();
    web.post("/trigger?pipeline=sales_report", &day).with(200);
    until("the calls are at the API", || succeeded("cdr_to_api"));
    let sent: usize = apis.bodies("/insertcdr").iter().map(|body| body["cdrdata"].as_array().unwrap().len()).sum();
    assert_eq!(sent, 250);
    until("the incidents are at the API", || succeeded("incident_window"));
    assert_eq!(apis.bodies("/incidents").len(), 30);
    until("the report is with everybody", || succeeded("sales_report"));
    assert_eq!(post.attached().len(), 1);
    assert!(place.path("reports/sales-2026-01-31.csv.gz").exists());
    let deliveries = web.get("/api/deliveries?pipeline=sales_report").with(200);
    let arrived = deliveries.as_array().unwrap().iter().filter(|it| it["status"] == "delivered").count();
    assert_eq!(arrived, 5, "{deliveries}");
    until("the calls are in the table", || calls.count("avaya_cdr") == 200);

    // Where the state is, other programs can read how it stands.
    assert!(!state.all("Process_Operation").is_empty());
    engine.terminate();
    let ended = engine.wait().with_code(0);
    assert!(!ended.stderr.contains(PASSWORD) && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}
