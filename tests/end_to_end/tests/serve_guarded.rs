//! The service, asked by those who should not: it says no, and goes on.

use std::io::Write as _;

use engine_end_to_end_tests::{Engine, Place, Web, until};

fn place() -> Place {
    let place = Place::new();
    place.write("in.csv", "a\n1\n");
    place.write(
        "copy.yaml",
        "source: { use: file, with: { path: in.csv }, format: csv }\n\
         sink: { use: file, with: { path: \"out-{{ window.id }}.csv\" }, format: csv }\n",
    );
    place
}

fn serve(place: &Place, more: &[&str]) -> (Engine, Web) {
    let mut engine = place.start(&[&["serve", ".", "--listen", "127.0.0.1:0"], more].concat());
    let web = Web::of(&mut engine);
    (engine, web)
}

#[test]
fn with_tokens_each_may_what_its_role_allows() {
    let place = place();
    let add = |name: &str, role: &str| {
        place.engine(&["tokens", "add", name, "--role", role, "--state", ".engine"]).with_code(0).stdout
    };
    let (reader, operator) = (add("grafana", "read"), add("anna", "operate"));
    let (mut engine, web) = serve(&place, &[]);
    let (reads, operates, guesses) =
        (web.with_token(&reader), web.with_token(&operator), web.with_token("engine_0000"));
    assert_eq!(web.get("/health").status, 200);
    for nobody in [&web, &guesses] {
        let refused = nobody.get("/api/pipelines");
        assert_eq!(refused.with(401)["error"], "unauthorized");
        assert!(refused.head.to_lowercase().contains("www-authenticate: bearer"), "{}", refused.head);
        assert_eq!(nobody.post("/trigger", "").status, 401);
    }
    assert_eq!(reads.get("/api/pipelines").status, 200);
    assert_eq!(reads.post("/trigger", "").with(403)["error"], "forbidden");
    assert_eq!(operates.post("/trigger", "").with(200)["status"], "triggered");
    // Neither the state nor the log has them.
    let everything: String = ["tokens.json", "state.db", "state.db-wal"]
        .iter()
        .map(|name| {
            String::from_utf8_lossy(&std::fs::read(place.path(format!(".engine/{name}"))).unwrap_or_default())
                .into_owned()
        })
        .collect();
    assert!(!everything.contains(reader.trim()) && !engine.log().join("\n").contains(reader.trim()));
    let listed = place.engine(&["tokens", "list", "--state", ".engine"]).with_code(0).stdout;
    assert!(listed.contains("grafana") && listed.contains("operate") && !listed.contains(operator.trim()));
    place.engine(&["tokens", "remove", "grafana", "--state", ".engine"]).with_code(0);
    operates.post("/api/reload", "").with(200);
    assert_eq!(reads.get("/api/pipelines").status, 401);
    let late = web.with_token(&add("late", "read"));
    engine.hang_up();
    until("the new one is known", || late.get("/api/pipelines").status == 200);
    place.engine(&["tokens", "remove", "late", "--state", ".engine"]).with_code(0);
    engine.hang_up();
    until("it is known no longer", || late.get("/api/pipelines").status == 401);
    engine.terminate();
    engine.wait().with_code(0);
}

#[test]
fn elsewhere_than_on_this_machine_it_listens_only_with_a_token() {
    let place = place();
    let refused = place.engine(&["serve", ".", "--listen", "0.0.0.0:0"]).with_code(2);
    refused.says(&["without a token the service listens at no address but this machine's own", "engine tokens add"]);
}

#[test]
fn requests_from_elsewhere_and_of_other_names_are_refused() {
    let place = place();
    let (engine, web) = serve(&place, &["--host", "engine.example"]);
    let asked = |method: &str, path: &str, headers: &[(&str, &str)]| web.ask(method, path, headers, "").status;
    assert_eq!(asked("GET", "/api/pipelines", &[("Host", "engine.example")]), 200);
    assert_eq!(asked("GET", "/api/pipelines", &[("Host", "evil.example")]), 421);
    assert_eq!(asked("POST", "/trigger", &[("Host", "evil.example")]), 421);
    assert_eq!(asked("POST", "/trigger", &[("Origin", "http://evil.example")]), 403);
    assert_eq!(asked("POST", "/trigger", &[("Sec-Fetch-Site", "cross-site")]), 403);
    let own = format!("http://{}", web.address);
    assert_eq!(asked("POST", "/trigger", &[("Origin", &own), ("Sec-Fetch-Site", "same-origin")]), 200);
    let head = web.get("/health").head.to_lowercase();
    for says in
        ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "cache-control: no-store"]
    {
        assert!(head.contains(says), "{says} is not in\n{head}");
    }
    drop(engine);
}

#[test]
fn nonsense_gets_the_right_answer_and_never_a_file() {
    let place = place();
    let (mut engine, web) = serve(&place, &[]);
    for (path, status) in [
        ("/../../../etc/passwd", 404),
        ("/..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/api/pipelines/..%2f..%2fetc%2fpasswd", 404),
        ("/api/pipelines/%00", 404),
        ("/api/pipelines/%ff", 400),
        ("/api/runs?limit=0", 400),
        ("/api/runs?limit=99999999999", 400),
        ("/api/runs?nothing=1", 400),
        ("/api/dead-letters/abc", 400),
        ("/api/dead-letters/7", 404),
        ("/api/dead-letters?status=lost", 400),
        ("/logs?lines=-1", 400),
        ("/api/runs/nothing", 404),
    ] {
        let answered = web.get(path);
        assert_eq!(answered.with(status)["status"], "error", "{path}");
        assert!(!answered.body.contains("root:"), "{path}");
    }
    assert_eq!(web.ask("DELETE", "/health", &[], "").with(405)["error"], "method_not_allowed");
    for (body, status) in [("{", 400), ("[]", 400), ("{\"params\": 1}", 400), ("\u{0}", 400)] {
        assert_eq!(web.post("/trigger", body).with(status)["status"], "error", "{body:?}");
    }
    assert_eq!(
        web.ask("POST", "/trigger", &[("Content-Type", "text/plain")], "{}").with(415)["error"],
        "unsupported_media_type"
    );
    assert_eq!(web.post("/api/dead-letters/replay", "{\"pipeline\": \"copy\"}").with(404)["error"], "not_found");
    assert_eq!(
        web.post("/api/deliveries/resend", "{\"pipeline\": \"copy\", \"window\": 7}").with(404)["error"],
        "not_found"
    );
    for raw in [&b"nonsense\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let _ = web.exchange(raw);
    }
    assert_eq!(web.get("/health").status, 200);
    assert!(!engine.log().iter().any(|line| line.contains("panicked")));
    engine.terminate();
    engine.wait().with_code(0);
}

#[test]
fn who_never_ends_a_request_is_let_go() {
    let place = place();
    let (engine, web) = serve(&place, &[]);
    let mut greets = web.connect().unwrap();
    greets.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let mut trickles = web.connect().unwrap();
    trickles.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(web.get("/health").status, 200);
    // Each comes to its end without an answer to what was never asked.
    for stream in [&mut greets, &mut trickles] {
        assert!(!matches!(Web::answer_of(stream), Ok(answered) if answered.status == 200));
    }
    drop(engine);
}

/// A GiB of body, a thousand connections that say nothing, heads without an end: memory stays as it was.
#[test]
fn floods_are_borne_in_bounded_memory() {
    let place = place();
    let (mut engine, web) = serve(&place, &[]);
    assert_eq!(web.get("/health").status, 200);
    let before = resident(engine.id());

    let mut large = web.connect().unwrap();
    let head = format!(
        "POST /trigger HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        web.address,
        1_u64 << 30
    );
    large.write_all(head.as_bytes()).unwrap();
    let piece = vec![b' '; 1 << 20];
    // Until the other side has had enough.
    let sent = (0..1024).take_while(|_| large.write_all(&piece).is_ok()).count();
    assert!(sent < 1024, "all of it was taken");
    if let Ok(answered) = Web::answer_of(&mut large) {
        assert_eq!(answered.status, 413);
    }
    let chunked = format!(
        "POST /trigger HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        web.address
    );
    let mut large = web.connect().unwrap();
    large.write_all(chunked.as_bytes()).unwrap();
    let piece = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    let sent = (0..1024).take_while(|_| large.write_all(&piece).is_ok()).count();
    assert!(sent < 1024, "all of it was taken");

    let mut endless = web.connect().unwrap();
    endless.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n", web.address).as_bytes()).unwrap();
    let line = format!("X-A: {}\r\n", "a".repeat(1000));
    let sent = (0..1000).take_while(|_| endless.write_all(line.as_bytes()).is_ok()).count();
    let answered = Web::answer_of(&mut endless).map(|answered| answered.status);
    assert!(!matches!(answered, Ok(200)), "a head of {sent} KB was taken");

    let silent: Vec<_> = (0..1_000).filter_map(|_| web.connect().ok()).collect();
    assert_eq!(silent.len(), 1_000);
    assert_eq!(web.get("/health").status, 200);
    assert_eq!(web.get("/api/pipelines").status, 200);
    let grown = resident(engine.id()).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
    drop(silent);
    engine.terminate();
    engine.wait().with_code(0);
}

/// What a process holds in memory, in KiB.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
