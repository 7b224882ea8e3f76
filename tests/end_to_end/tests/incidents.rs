//! The pipeline `incident_window` as it is shipped: accounts from MariaDB, one document each, to an API,
//! with its state in (a stand-in for) MongoDB.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bson::{Bson, DateTime, Document, doc};
use engine_end_to_end_tests::{MariaDatabase, MongoDatabase, Place, workspace};
use engine_test_tools::http::{Answer, Request, Server};
use engine_test_tools::line::Line;
use serde_json::{Value, json};

const TABLES: &str = "
CREATE TABLE debt_cust_detail (
    ACCOUNT_NUM varchar(20), ASSET_ID varchar(20), CONTACT_PERSON varchar(80), NIC varchar(20),
    ASSET_ADDRESS varchar(200), ACCOUNT_STATUS_BSS varchar(20), EMAIL varchar(80), TECNICAL_CONTACT_EMAIL varchar(80),
    MOBILE_CONTACT varchar(20), WORK_CONTACT varchar(20), LAST_PAYMENT_DAT datetime, LAST_PAYMENT_MNY decimal(12,2),
    LAST_BILL_SEQ int, LAST_BILL_DTM datetime, PROMOTION_INTEG_ID varchar(20), PRODUCT_NAME varchar(80),
    CUSTOMER_REF varchar(20), CUSTOMER_TYPE varchar(20), CUSTOMER_TYPE_ID int, CREDIT_CLASS_ID int,
    CREDIT_CLASS_NAME varchar(40), BILLING_CENTER_NAME varchar(40), CUSTOMER_SEGMENT_ID int, ZIP_CODE varchar(10),
    CITY varchar(40), PROVINCE varchar(40), LOAD_DATE datetime, KEY (LOAD_DATE), KEY (ACCOUNT_NUM));
CREATE TABLE debt_payment (
    AP_ACCOUNT_NUMBER varchar(20), ACCOUNT_PAYMENT_DAT datetime, ACCOUNT_PAYMENT_SEQ int,
    AP_ACCOUNT_PAYMENT_MNY decimal(12,2), LOAD_DATE datetime, KEY (LOAD_DATE), KEY (AP_ACCOUNT_NUMBER))";

/// The API: what it has taken, and what it answers.
struct Api {
    server: Server,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Api {
    /// `answer` is asked with the number of the request, from 0; what it answers with 2xx counts as taken.
    fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (notes, next) = (Arc::clone(&taken), Mutex::new(0));
        let server = Server::start(move |request: Request| {
            let number = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next - 1
            };
            let answer = answer(number);
            if matches!(answer, Answer::Send(200..300, ..)) {
                notes.lock().unwrap().push(request);
            }
            answer
        });
        Self { server, taken }
    }

    fn taking() -> Self {
        Self::start(|_| Answer::status(201))
    }

    fn documents(&self) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// Accounts in the order in which they came.
    fn accounts(&self) -> Vec<String> {
        self.documents().iter().map(|document| document["Account_Num"].as_str().unwrap().to_owned()).collect()
    }

    /// Requires that each account came, and that what came twice came with the same number and the same key.
    fn require_each(&self, accounts: impl IntoIterator<Item = String>) {
        let mut found: BTreeMap<String, BTreeSet<(i64, String)>> = BTreeMap::new();
        for request in self.taken.lock().unwrap().iter() {
            let document: Value = serde_json::from_slice(&request.body).unwrap();
            let key = request.header("idempotency-key").unwrap().to_owned();
            let id = document["Incident_Id"].as_i64().unwrap();
            found.entry(document["Account_Num"].as_str().unwrap().to_owned()).or_default().insert((id, key));
        }
        assert!(found.values().all(|sent| sent.len() == 1), "{found:?}");
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), accounts.into_iter().collect());
        let numbers: BTreeSet<_> = found.values().flatten().map(|(id, _)| id).collect();
        assert_eq!(numbers.len(), found.len(), "every account has a number of its own");
    }
}

/// Everything around a pipeline: databases, lines to them that can be cut, the files as they are shipped.
struct Job {
    debts: MariaDatabase,
    state: MongoDatabase,
    to_debts: Line,
    to_state: Line,
    place: Place,
}

impl Job {
    fn new(api: &Api) -> Self {
        let (debts, state) = (MariaDatabase::new(), MongoDatabase::new());
        debts.execute(TABLES);
        let (login, rest) = debts.url().split_once('@').unwrap();
        let (address, name) = rest.split_once('/').unwrap();
        let to_debts = Line::to(address, Duration::ZERO);
        let debts_by_line = format!("{login}@{}/{name}", to_debts.address());
        let to_state = Line::to(state.address(), Duration::ZERO);
        let mut job = Self { debts, state, to_debts, to_state, place: Place::new() };
        job.place = job.machine(api, &debts_by_line);
        job
    }

    /// A machine with the files of the pipeline.
    fn machine(&self, api: &Api, debts: &str) -> Place {
        let mut place = Place::new();
        for (from, to) in [
            ("incident_window.yaml", "incident_window.yaml"),
            ("connections.yaml", "connections.yaml"),
            ("incident_state/state.yaml", "state.yaml"),
        ] {
            place.write(to, std::fs::read_to_string(workspace().join("pipelines").join(from)).unwrap());
        }
        place.set("DEBT_DATABASE_URL", debts);
        place.set("STATE_URL", self.state.url_by(&self.to_state.address().to_string()));
        place.set("INCIDENT_API_URL", format!("{}/incidents", api.server.url()));
        place.set("INCIDENT_OPERATION", "Incident creation");
        place
    }

    /// Accounts with a detail row each, loaded at this time.
    fn accounts(&self, numbers: std::ops::Range<u32>, loaded: &str) {
        let (from, to) = (numbers.start, numbers.end - 1);
        self.debts.execute(&format!(
            "INSERT INTO debt_cust_detail (ACCOUNT_NUM, ASSET_ID, EMAIL, LOAD_DATE)
             SELECT lpad(seq, 8, '0'), concat('asset ', seq), concat('a', seq, '@example.com'), '{loaded}'
             FROM seq_{from}_to_{to}"
        ));
    }

    fn run(&self) -> engine_end_to_end_tests::Ended {
        self.place.engine(&["--json", "run", "--once", "incident_window.yaml"])
    }

    fn operation(&self) -> Document {
        let mut all = self.state.all("Process_Operation");
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn last_execution(&self) -> String {
        match self.operation().get("Last_execution_dtm") {
            Some(Bson::DateTime(date)) => date.try_to_rfc3339_string().unwrap(),
            other => panic!("{other:?} is no date"),
        }
    }

    /// The newest entry of the audit trail.
    fn audit(&self) -> Document {
        let mut all = self.state.all("Process_Operation_Audit");
        all.sort_by_key(|run| {
            run.get_i64("Process_Operation_Sequence")
                .or(run.get_i32("Process_Operation_Sequence").map(i64::from))
                .unwrap()
        });
        all.pop().unwrap()
    }
}

fn named(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("{number:08}"))
}

#[test]
fn a_document_holds_all_rows_of_its_account_and_a_payment_alone_makes_it_new() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.debts.execute(
        "INSERT INTO debt_cust_detail VALUES
            ('A1', 'X', 'Ann Äs', '12V', 'Street 1', 'OK', 'ann@example.com', NULL, '0771', NULL, '2025-01-02 03:04:05',
             12.30, 7, '2025-01-01', 'P1', 'Fibre', 'C1', 'Person', 3, 4, 'Gold', 'North', 5, '10', 'Kandy', 'Central',
             '2025-02-01 10:00:00'),
            ('A1', 'X', 'Ann Äs', '12V', 'Street 1', 'OK', 'ann@example.com', 'tech@example.com', '0771', NULL, NULL,
             NULL, 8, '2025-01-31', 'P1', 'Fibre', 'C1', 'Person', 3, 4, 'Gold', 'North', 5, '10', 'Kandy', 'Central',
             '2025-02-01 11:00:00'),
            ('A1', 'Y', 'Ann Äs', '12V', 'Street 2', 'OK', 'ann@example.com', NULL, '0771', NULL, NULL,
             NULL, 8, '2025-01-31', NULL, 'Phone', 'C1', 'Person', 3, 4, 'Gold', 'North', 5, '10', 'Kandy', 'Central',
             '2025-02-01 10:00:00');\n
         INSERT INTO debt_payment VALUES
            ('A1', '2025-01-15', 1, 5.00, '2025-02-01 10:00:00'), ('A1', '2025-01-20', 2, 100.25, '2025-02-01 10:00:00'),
            ('A2', '2025-01-21', 1, 1.00, '2025-02-01 11:00:00'),
            ('A3', '2025-01-21', 1, 1.00, now() + INTERVAL 1 DAY), (NULL, '2025-01-21', 1, 1.00, '2025-02-01 09:00:00');\n
         INSERT INTO debt_cust_detail (ASSET_ID, LOAD_DATE) VALUES ('nobody', '2025-02-01 09:00:00')",
    );
    job.run().with_code(0);
    let documents = api.documents();
    assert_eq!(api.accounts().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["A1".into(), "A2".into()]));
    let first = documents.iter().find(|document| document["Account_Num"] == "A1").unwrap();
    let created = first["Created_Dtm"].as_str().unwrap();
    assert!(created.ends_with(".000Z") && created.len() == 24, "{created}");
    let address = |street: &str| json!({"Street": street, "City": "Kandy", "Province": "Central", "Zip_Code": "10"});
    assert_eq!(
        *first,
        json!({
            "Doc_Version": "1.0",
            "Incident_Id": first["Incident_Id"],
            "Account_Num": "A1",
            "Created_Dtm": created,
            "Contact_Details": [
                {"type": "email", "value": "ann@example.com"},
                {"type": "email", "value": "tech@example.com"},
                {"type": "mobile", "value": "0771"},
            ],
            "Product_Details": [
                {"Asset_Id": "X", "Product_Name": "Fibre", "Promotion_Integ_Id": "P1", "Status": "OK", "Address": address("Street 1")},
                {"Asset_Id": "Y", "Product_Name": "Phone", "Promotion_Integ_Id": null, "Status": "OK", "Address": address("Street 2")},
            ],
            "Customer_Details": {
                "Customer_Ref": "C1", "Contact_Person": "Ann Äs", "Nic": "12V", "Customer_Type": "Person",
                "Customer_Type_Id": 3, "Customer_Segment_Id": 5,
            },
            "Account_Details": {
                "Status": "OK", "Credit_Class_Id": 4, "Credit_Class": "Gold", "Billing_Center": "North",
                // The newest row has no payment: both are the older one's.
                "Last_Payment_Dtm": "2025-01-02T03:04:05.000Z", "Last_Payment_Amount": 12.30,
            },
            "Last_Actions": [{
                "Payment_Seq": 2, "Payment_Dtm": "2025-01-20T00:00:00.000Z", "Payment_Amount": 100.25,
                "Bill_Seq": 8, "Bill_Dtm": "2025-01-31T00:00:00.000Z",
            }],
        })
    );
    let second = documents.iter().find(|document| document["Account_Num"] == "A2").unwrap();
    assert_eq!(second["Account_Details"]["Last_Payment_Dtm"], "1900-01-01T00:00:00.000Z");
    assert_eq!((&second["Product_Details"], &second["Contact_Details"]), (&json!([]), &json!([])));
    assert_eq!(second["Last_Actions"][0]["Payment_Dtm"], "2025-01-21T00:00:00.000Z");
    assert_eq!(job.last_execution(), "2025-02-01T11:00:00Z");

    // A payment alone, and one with the newest time of before that came too late: a tie that was never read.
    job.debts.execute("INSERT INTO debt_payment VALUES ('A1', '2025-02-01', 3, 7.00, '2025-02-01 12:00:00')");
    job.run().with_code(0);
    let newest = api.documents().pop().unwrap();
    assert_eq!((&newest["Account_Num"], &newest["Last_Actions"][0]["Payment_Seq"]), (&json!("A1"), &json!(3)));
    assert_eq!(newest["Product_Details"], first["Product_Details"], "of all rows, not only those of the window");
    assert_ne!(newest["Incident_Id"], first["Incident_Id"]);
    assert_eq!(api.documents().len(), 3);
    assert_eq!(job.last_execution(), "2025-02-01T12:00:00Z");
}

#[test]
fn without_new_rows_nothing_is_sent_and_the_operation_stays_where_it_is() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.accounts(1..4, "2025-02-01 10:00:00");
    job.run().with_code(0);
    let before = job.operation();
    assert_eq!(before.get_str("Operation_name").unwrap(), "Incident creation");
    assert_eq!(before.get("Process_Operation_Sequence").unwrap().to_string(), "1");
    assert!(matches!(
        (before.get("created_dtm"), before.get("end_dtm")),
        (Some(Bson::DateTime(_)), Some(Bson::DateTime(_)))
    ));
    let ended = job.run().with_code(0);
    assert!(ended.stdout.contains("no new data"), "{ended:?}");
    assert_eq!(api.documents().len(), 3);
    let after = job.operation();
    assert_eq!(after.get("Last_execution_dtm"), before.get("Last_execution_dtm"));
    assert_eq!(after.get("Process_Operation_Sequence").unwrap().to_string(), "2");
    let audit = job.audit();
    assert_eq!((audit.get_str("outcome").unwrap(), audit.get_array("windows").unwrap().len()), ("succeeded", 0));
}

#[test]
fn rows_of_one_time_are_neither_lost_nor_sent_twice() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.accounts(1..6, "2025-02-01 10:00:00");
    job.run().with_code(0);
    job.accounts(6..11, "2025-02-01 10:00:01");
    job.run().with_code(0);
    job.run().with_code(0);
    assert_eq!(api.documents().len(), 10);
    api.require_each(named(1..11));
    let audit = job.state.all("Process_Operation_Audit");
    let window = |run: &Document| run.get_array("windows").unwrap()[0].as_document().unwrap().clone();
    let second = audit.iter().find(|run| run.get("Process_Operation_Sequence").unwrap().to_string() == "2").unwrap();
    let at = |text: &str| Bson::DateTime(DateTime::parse_rfc3339_str(text).unwrap());
    assert_eq!(window(second).get("start"), Some(&at("2025-02-01T10:00:00Z")));
    assert_eq!(window(second).get("end"), Some(&at("2025-02-01T10:00:01Z")));
}

#[test]
fn an_operation_goes_on_where_a_script_has_ended() {
    let at = DateTime::parse_rfc3339_str("2025-02-01T10:00:00Z").unwrap();
    for stored in [
        Bson::DateTime(at),
        Bson::Document(doc! {"$date": "2025-02-01T10:00:00.000Z"}),
        Bson::String("2025-02-01T10:00:00.000Z".into()),
    ] {
        let api = Api::taking();
        let job = Job::new(&api);
        job.accounts(1..6, "2025-02-01 10:00:00");
        job.accounts(6..8, "2025-02-01 10:00:01");
        job.state.insert(
            "Process_Operation",
            &doc! {"Operation_name": "Incident creation", "Process_Operation_Sequence": 41, "Last_execution_dtm": stored},
        );
        job.run().with_code(0);
        api.require_each(named(6..8));
        let operation = job.operation();
        assert_eq!(operation.get("Process_Operation_Sequence").unwrap().to_string(), "42");
        assert_eq!(job.last_execution(), "2025-02-01T10:00:01Z");
    }
}

#[test]
fn an_api_that_goes_down_in_the_middle_gets_what_it_has_not_taken() {
    let down = |number: usize| (40..60).contains(&number);
    let api = Api::start(move |number| Answer::status(if down(number) { 503 } else { 201 }));
    let job = Job::new(&api);
    job.place.write("incident_window.yaml", quick(&job));
    job.accounts(1..101, "2025-02-01 10:00:00");
    let ended = job.run().with_code(1);
    ended.says(&["503"]);
    assert_eq!(api.documents().len(), 40);
    assert_eq!(job.operation().get("Last_execution_dtm"), None, "nothing is whole yet");
    let audit = job.audit();
    assert_eq!(audit.get_str("outcome").unwrap(), "failed");
    let error = audit.get_document("error").unwrap();
    assert_eq!(error.get_str("kind").unwrap(), "unavailable");
    assert!(error.get_str("message").unwrap().contains("503"), "{error}");
    // It is well again after some more tries, and gets the rest.
    while job.run().code != Some(0) {}
    assert_eq!(api.documents().len(), 100, "each once");
    api.require_each(named(1..101));
    assert_eq!(job.last_execution(), "2025-02-01T10:00:00Z");
    let windows = |run: &Document| run.get_array("windows").unwrap().clone();
    assert_eq!(windows(&job.audit())[..1], windows(&audit), "who completes a window tells of it too");
}

/// The pipeline without pauses between attempts.
fn quick(job: &Job) -> String {
    let text = std::fs::read_to_string(job.place.path("incident_window.yaml")).unwrap();
    text.replace("attempts: 3, backoff: 2s", "attempts: 1, backoff: 1ms")
}

#[test]
fn a_source_that_is_away_costs_a_run_and_nothing_else() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.place.write("incident_window.yaml", quick(&job));
    job.accounts(1..11, "2025-02-01 10:00:00");
    job.to_debts.cut();
    let ended = job.run();
    assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
    assert!(api.documents().is_empty());
    assert_eq!(job.audit().get_document("error").unwrap().get_str("kind").unwrap(), "unavailable");
    job.to_debts.mend();
    job.run().with_code(0);
    assert_eq!(api.documents().len(), 10);
    api.require_each(named(1..11));
}

#[test]
fn a_state_that_is_away_stops_a_run_before_anything_is_sent() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.accounts(1..11, "2025-02-01 10:00:00");
    job.to_state.cut();
    job.run().with_code(3).says(&["MongoDB"]);
    assert!(api.documents().is_empty());
    job.to_state.mend();
    job.run().with_code(0);
    api.require_each(named(1..11));
}

#[test]
fn a_state_that_goes_away_while_documents_are_sent_loses_none() {
    for comes_back in [true, false] {
        let cut = Arc::new(Mutex::new(None::<Arc<Line>>));
        let cutting = Arc::clone(&cut);
        let api = Api::start(move |number| {
            if number == 50
                && let Some(line) = cutting.lock().unwrap().take()
            {
                line.cut();
            }
            Answer::status(201)
        });
        let job = Job::new(&api);
        // By another line, which the API cuts.
        let line = Arc::new(Line::to(job.state.address(), Duration::ZERO));
        let mut place = job.machine(&api, job.debts.url());
        place.set("STATE_URL", job.state.url_by(&line.address().to_string()));
        *cut.lock().unwrap() = Some(Arc::clone(&line));
        job.accounts(1..401, "2025-02-01 10:00:00");
        let mut run = place.start(&["run", "--once", "incident_window.yaml"]);
        run.logs("the state's database does not answer, and is asked again");
        if comes_back {
            line.mend();
            run.wait().with_code(0);
            assert_eq!(api.documents().len(), 400, "it waited, and sent each once");
        } else {
            run.kill();
            run.wait();
            line.mend();
            place.engine(&["run", "--once", "incident_window.yaml"]).with_code(0);
        }
        api.require_each(named(1..401));
    }
}

#[test]
fn an_engine_that_is_killed_between_an_answer_and_the_state_sends_the_same_again() {
    let (ready, wait) = mpsc::channel();
    let ready = Mutex::new(ready);
    let api = Api::start(move |number| {
        if number == 70 {
            ready.lock().unwrap().send(()).unwrap();
        }
        Answer::status(201)
    });
    let job = Job::new(&api);
    job.accounts(1..201, "2025-02-01 10:00:00");
    let mut engine = job.place.start(&["run", "--once", "incident_window.yaml"]);
    wait.recv_timeout(engine_end_to_end_tests::LIMIT).unwrap();
    engine.kill();
    engine.wait();
    let sent = api.documents().len();
    assert!(sent < 200, "it was killed in the middle");
    job.run().with_code(0);
    api.require_each(named(1..201));
}

#[test]
fn of_two_engines_one_works_and_the_other_says_who_does() {
    let gate = Arc::new(std::sync::Barrier::new(2));
    let (held, (begun, wait)) = (Arc::clone(&gate), mpsc::channel());
    let begun = Mutex::new(begun);
    let api = Api::start(move |number| {
        if number == 0 {
            begun.lock().unwrap().send(()).unwrap();
            held.wait();
        }
        Answer::status(201)
    });
    let job = Job::new(&api);
    let other = job.machine(&api, job.debts.url());
    job.accounts(1..11, "2025-02-01 10:00:00");
    let first = job.place.start(&["run", "--once", "incident_window.yaml"]);
    wait.recv_timeout(engine_end_to_end_tests::LIMIT).unwrap();
    let said = format!("held by the engine with process id {} on ", first.id());
    other.engine(&["run", "--once", "incident_window.yaml"]).with_code(3).says(&[&said]);
    gate.wait();
    first.wait().with_code(0);
    other.engine(&["run", "--once", "incident_window.yaml"]).with_code(0);
    assert_eq!(api.documents().len(), 10);
    api.require_each(named(1..11));
}

#[test]
fn a_hundred_thousand_accounts_go_through_a_bounded_engine() {
    let api = Api::taking();
    let job = Job::new(&api);
    job.accounts(1..100_001, "2025-02-01 10:00:00");
    let ended = job.run().with_code(0);
    ended.report().adds_up();
    api.require_each(named(1..100_001));
    assert_eq!(api.documents().len(), 100_000);
    println!("at most {} MiB of memory", ended.peak_kib / 1024);
    // Most of it is DataFusion itself, as the tests build it; the documents alone are 66 MiB.
    assert!(ended.peak_kib < 320 << 10, "{} KiB of memory", ended.peak_kib);
}
