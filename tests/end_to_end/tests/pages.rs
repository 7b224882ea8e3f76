//! The pages of a service as a browser gets them: who may see and do what, and that texts stay texts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use engine_end_to_end_tests::{Engine, Place, until, until_some};
use engine_state::State;

/// What an address answers.
struct Page {
    status: u16,
    head: String,
    body: String,
}

impl Page {
    /// What a header says.
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What its forms carry.
    fn form_key(&self) -> &str {
        let (_, rest) = self.body.split_once("name=\"form_key\" value=\"").expect("the page has a form");
        rest.split('"').next().expect("it is quoted")
    }
}

/// A browser that shows no pictures.
struct Browser {
    address: SocketAddr,
    cookie: String,
}

impl Browser {
    fn new(address: SocketAddr) -> Self {
        Self { address, cookie: String::new() }
    }

    fn send(&self, method: &str, path: &str, more: &str, body: &str) -> Page {
        let mut stream = TcpStream::connect(self.address).expect("the service listens");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncookie: {}\r\n{more}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.cookie,
            body.len()
        )
        .expect("it can be asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Page { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Page {
        self.send("GET", path, "", "")
    }

    fn post(&self, path: &str, body: &str) -> Page {
        self.send("POST", path, "", body)
    }

    /// With the cookie that it is given.
    fn log_in(&mut self, token: &str) -> Page {
        let page = self.post("/ui/login", &format!("token={token}"));
        let cookie = page.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap_or_default();
        self.cookie = cookie.to_owned();
        page
    }
}

const HOSTILE: &str = "\"'><script>alert(1)</script>";

fn place() -> Place {
    let place = Place::new();
    place.write(
        "pipelines/rows.yaml",
        format!(
            "name: rows\n\
             description: {}\n\
             schedule: {{ cron: '0 3 1 1 *' }}\n\
             source: {{ use: file, with: {{ path: rows.jsonl }}, \
             format: {{ use: json, with: {{ columns: [n], types: {{ n: integer }} }} }} }}\n\
             sink: {{ use: file, with: {{ path: out.jsonl }}, format: json }}\n",
            serde_json::json!(HOSTILE)
        ),
    );
    place.write("pipelines/rows.jsonl", "{\"n\": 1}\n{\"n\": \"</pre><script>alert(2)</script>\"}\n");
    place
}

fn serve(place: &Place) -> (Engine, SocketAddr) {
    let mut engine = place.start(&["serve", "pipelines", "--listen", "127.0.0.1:0"]);
    let line = engine.logs("the service is at http://");
    let address = line.split("http://").nth(1).and_then(|address| address.trim().parse().ok());
    let address: SocketAddr = address.expect("an address");
    until("the pipeline is there", || Browser::new(address).get("/health").status == 200);
    (engine, address)
}

fn token(place: &Place, name: &str, role: &str) -> String {
    let state = place.state();
    let state = state.to_str().expect("a path in UTF-8");
    let made = place.engine(&["--state", state, "tokens", "add", name, "--role", role]).with_code(0).stdout;
    made.split_whitespace().find(|word| word.starts_with("engine_")).expect("it prints the token").to_owned()
}

#[test]
fn what_pipelines_and_rows_say_is_shown_and_nothing_else() {
    let place = place();
    let (_engine, address) = serve(&place);
    let browser = Browser::new(address);
    let pipeline = until_some("the pipeline is there", || {
        Some(browser.get("/ui/pipelines/rows")).filter(|page| page.status == 200)
    });
    let triggered = browser.post("/ui/pipelines/rows/trigger", &format!("form_key={}", pipeline.form_key()));
    assert_eq!(triggered.status, 303);
    let led = triggered.header("location").expect("it leads on").to_owned();
    assert!(browser.get(&led).body.contains("a run of rows was asked for"));
    until("its dead letter is there", || browser.get("/ui/dead-letters/1").status == 200);
    for path in ["/ui", "/ui/pipelines/rows", "/ui/dead-letters", "/ui/dead-letters/1", "/ui/runs", "/ui/logs", "/docs"]
    {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>"), "{path}: {}", page.body);
        assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="), "{path} keeps to its policy");
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    }
    assert!(browser.get("/ui").body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(browser.get("/ui/dead-letters/1").body.contains("&lt;script&gt;alert(2)&lt;/script&gt;"));
    let missing = browser.get("/ui/pipelines/%3Cscript%3E");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("there is no pipeline `&lt;script&gt;`"), "{}", missing.body);
    // A notice is one of ours, or is not shown.
    assert!(!browser.get("/ui?notice=pay-here").body.contains("pay-here"));
}

#[test]
fn a_form_is_taken_only_from_ones_own_page() {
    let place = place();
    let (_engine, address) = serve(&place);
    let browser = Browser::new(address);
    let key = until_some("the pipeline is there", || {
        Some(browser.get("/ui/pipelines/rows")).filter(|page| page.status == 200)
    });
    let key = key.form_key();
    for (path, body) in [
        ("/ui/pipelines/rows/trigger", ""),
        ("/ui/pipelines/rows/trigger", "form_key="),
        ("/ui/pipelines/rows/pause", "form_key=0123456789abcdef"),
        ("/ui/dead-letters", "decision=drop&all=yes&pipeline=rows"),
        ("/ui/deliveries/resend", "pipeline=rows&window=1"),
        ("/ui/connections/check", "name=database"),
        ("/ui/runs/1/cancel", ""),
        ("/ui/reload", ""),
    ] {
        let page = browser.post(path, body);
        assert_eq!(page.status, 403, "{path}");
        assert!(page.body.contains("load the page anew"), "{}", page.body);
    }
    let keyed = format!("form_key={key}");
    let foreign = browser.send("POST", "/ui/pipelines/rows/pause", "origin: http://evil.example\r\n", &keyed);
    assert_eq!(foreign.status, 403);
    assert!(foreign.body.contains("a page of another site") && foreign.body.starts_with("<!DOCTYPE html>"));
    assert!(!browser.get("/ui/pipelines/rows").body.contains("is paused"));

    assert_eq!(browser.post("/ui/pipelines/rows/pause", &keyed).status, 303);
    assert!(browser.get("/ui/pipelines/rows").body.contains("The schedule is paused"));
    // Whatever a form says of where it came from, nobody is led elsewhere.
    for (form, page) in [("/ui/dead-letters", "/ui/dead-letters"), ("/ui/deliveries/resend", "/ui/deliveries")] {
        for back in ["//evil.example", "https://evil.example/ui", "/%5Cevil.example", "PAGE?%0d%0aset-cookie:a=b"] {
            let back = back.replace("PAGE", page);
            let led = browser.post(form, &format!("{keyed}&decision=drop&back={back}"));
            assert_eq!((led.status, led.header("set-cookie")), (303, None), "{}", led.head);
            let own = format!("{page}?notice=");
            assert!(led.header("location").is_some_and(|to| to.starts_with(&own)), "{}", led.head);
        }
    }
}

#[test]
fn a_run_that_nobody_works_on_is_not_taken_for_one_at_work() {
    let place = place();
    // An engine has died in it, and no file is left that another run could be of.
    let state = State::open(&place.path("pipelines/.engine")).expect("a state can be made");
    let run = state.begin_run("gone", "command", chrono::Utc::now()).expect("a run begins");
    drop(state);
    let (_engine, address) = serve(&place);
    let browser = Browser::new(address);
    for path in ["/ui/runs", &format!("/ui/runs/{run}")] {
        let page = browser.get(path).body;
        assert!(page.contains(">interrupted</span>") && !page.contains(">running</span>"), "{path}: {page}");
    }
    for path in ["/api/runs", &format!("/api/runs/{run}")] {
        let told = browser.get(path).body;
        assert!(told.contains("\"status\":\"interrupted\",\"outcome\":null"), "{path}: {told}");
    }
}

#[test]
fn who_may_only_look_sees_no_forms_and_who_has_no_token_sees_nothing() {
    let place = place();
    let (reader, operator) = (token(&place, "rita", "read"), token(&place, "otto", "operate"));
    let mut command = vec!["--state".to_owned(), place.state().display().to_string()];
    command.extend(["serve", "pipelines", "--listen", "127.0.0.1:0"].map(str::to_owned));
    let mut engine = place.start(&command);
    let line = engine.logs("the service is at http://");
    let address = line.split("http://").nth(1).and_then(|address| address.trim().parse().ok()).expect("an address");

    let mut browser = Browser::new(address);
    for path in ["/ui", "/ui/runs", "/ui/dead-letters/1", "/docs"] {
        let page = browser.get(path);
        assert_eq!((page.status, page.header("location")), (303, Some("/ui/login")), "{path}");
        assert!(!page.body.contains("rows"));
    }
    assert_eq!(browser.get("/ui/login").status, 200);
    assert_eq!(browser.get("/ui/style.css").status, 200);
    let wrong = browser.log_in("engine_wrong");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(wrong.body.contains("there is no such token"), "{}", wrong.body);

    let known = browser.log_in(&reader);
    assert_eq!((known.status, known.header("location")), (303, Some("/ui")));
    let cookie = known.header("set-cookie").expect("it is given a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let overview =
        until_some("the pipeline is there", || Some(browser.get("/ui")).filter(|page| page.body.contains(">rows<")));
    assert!(overview.body.contains("rita (read)"));
    let pipeline = browser.get("/ui/pipelines/rows");
    assert!(!pipeline.body.contains("Run now") && !pipeline.body.contains("Pause the schedule"), "{}", pipeline.body);
    // The way out is the only form that a reader has.
    assert_eq!(pipeline.body.matches("method=\"post\"").count(), 1);
    let key = format!("form_key={}", pipeline.form_key());
    let refused = browser.post("/ui/pipelines/rows/trigger", &key);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("may only look"), "{}", refused.body);
    // The key of one visitor is not that of another.
    let reader_key = key;
    let left = browser.post("/ui/logout", &reader_key);
    assert_eq!((left.status, left.header("location")), (303, Some("/ui/login")));
    assert!(left.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));

    browser.log_in(&operator);
    assert_eq!(browser.post("/ui/pipelines/rows/trigger", &reader_key).status, 403);
    let key = format!("form_key={}", browser.get("/ui/pipelines/rows").form_key());
    assert_eq!(browser.post("/ui/pipelines/rows/trigger", &key).status, 303);
}
