use std::io::Write as _;

use engine_sdk::file_pieces;

use super::*;
use crate::source::HttpSource;

/// All files that a source gives, with their names.
fn files(source: &mut HttpSource) -> Result<Vec<(String, String)>> {
    let plan = source.plan(&PlanRequest::default())?;
    let mut files: Vec<(String, String)> = Vec::new();
    for split in &plan.splits {
        for batch in source.read(split)? {
            for (name, data) in file_pieces(&batch?)? {
                let data = String::from_utf8(data.to_vec()).unwrap();
                match files.last_mut() {
                    Some((last, all)) if last == name => all.push_str(&data),
                    _ => files.push((name.to_owned(), data)),
                }
            }
        }
    }
    Ok(files)
}

fn asked(api: &Api, more: Value) -> Result<Vec<String>> {
    let host = Host::new();
    let mut source: HttpSource = host.open(api.with(more))?;
    Ok(files(&mut source)?.into_iter().map(|(_, data)| data).collect())
}

/// Numbers of which a page has as many as it is asked for.
fn numbered(total: u64) -> Api {
    Api::start(move |request, _| {
        let parameter = |name: &str| {
            let found = request.path.split(['?', '&']).find_map(|it| it.strip_prefix(&format!("{name}=")));
            found.and_then(|text| text.parse::<u64>().ok())
        };
        let (offset, limit) = (parameter("offset").unwrap_or(0), parameter("limit").unwrap_or(u64::MAX));
        let items: Vec<_> = (offset..total.min(offset.saturating_add(limit))).map(|n| json!({"n": n})).collect();
        Answer::text(200, &json!({"data": {"items": items, "count": total}}).to_string())
    })
}

#[test]
fn a_file_is_passed_on_as_it_is() {
    let api = Api::start(|_, _| Answer::text(200, "a,b\n1,2\n"));
    let host = Host::new();
    let mut source: HttpSource = host.open(api.with(json!({}))).unwrap();
    let name = format!("{}/calls", api.server.url());
    assert_eq!(files(&mut source).unwrap(), [(name, "a,b\n1,2\n".to_owned())]);
    let empty = Api::start(|_, _| Answer::status(204));
    assert_eq!(asked(&empty, json!({})).unwrap(), [""], "an empty file is one");
}

#[test]
fn pages_are_read_until_the_last_one() {
    let api = numbered(5);
    let settings = json!({
        "query": {"offset": "{{ page.offset }}", "limit": "{{ page.limit }}", "kind": "a b"}, "records_at": "/data/items",
        "paging": {"offset": {"limit": 2, "count_at": "/data/count"}},
    });
    let pages = asked(&api, settings).unwrap();
    assert_eq!(pages, [r#"[{"n":0},{"n":1}]"#, r#"[{"n":2},{"n":3}]"#, r#"[{"n":4}]"#]);
    let paths: Vec<_> = api.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[1], "/calls?kind=a+b&offset=2&limit=2");
    assert_eq!(paths.len(), 3);
    assert_eq!(asked(&numbered(0), json!({"records_at": "/data/items"})).unwrap(), ["[]"]);
}

#[test]
fn a_body_is_filled_in_and_numbers_stay_numbers() {
    let api = Api::start(|request, _| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let next = if body["cursor"].is_null() { json!("second") } else { Value::Null };
        Answer::text(200, &json!({"rows": [body], "next": next}).to_string())
    });
    let settings = json!({
        "method": "POST", "body": {"page": "{{ page.number }}", "cursor": "{{ page.cursor }}", "day": "{{ now | date('%Y') }}"},
        "records_at": "/rows", "paging": {"cursor": {"at": "/next"}},
    });
    let pages = asked(&api, settings).unwrap();
    let of = |page: &str| serde_json::from_str::<Value>(page).unwrap()[0].clone();
    assert_eq!((&of(&pages[0])["page"], &of(&pages[0])["cursor"]), (&json!(1), &Value::Null));
    assert_eq!((&of(&pages[1])["page"], &of(&pages[1])["cursor"]), (&json!(2), &json!("second")));
    assert_eq!(of(&pages[0])["day"].as_str().unwrap().len(), 4);
}

#[test]
fn links_are_followed_with_the_key_and_on_the_same_server() {
    let api = Api::start(|request, number| {
        let link = match number {
            0 => vec![("Link".to_owned(), "</calls?page=2>; rel=\"next\"".to_owned())],
            _ => vec![],
        };
        Answer::Send(200, link, request.path.clone().into_bytes())
    });
    let pages = asked(&api, json!({"query": {"key": "secret"}, "paging": "link"})).unwrap();
    assert_eq!(pages, ["/calls?key=secret", "/calls?page=2&key=secret"]);

    let elsewhere = Api::taking();
    let url = elsewhere.server.url();
    let next = json!({"items": [], "next": format!("{url}/stolen")}).to_string();
    let api = Api::start(move |_, _| Answer::text(200, &next));
    let error = asked(&api, json!({"records_at": "/items", "paging": {"next": {"at": "/next"}}})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(elsewhere.seen().is_empty(), "nothing is asked there");
}

#[test]
fn a_window_of_time_goes_on_where_the_last_one_ended() {
    let api = Api::start(|_, _| Answer::text(200, "[]"));
    let host = Host::new();
    let settings = json!({
        "query": {"from": "{{ window.from }}", "to": "{{ window.to | date('%s') }}"}, "records_at": "",
        "cursor": {"start": "2026-01-01", "lag": "1h"},
    });
    let mut source: HttpSource = host.open(api.with(settings)).unwrap();
    let first = source.plan(&PlanRequest::default()).unwrap();
    let upper = first.upper.clone().unwrap();
    let at: chrono::DateTime<chrono::Utc> = upper.as_str().unwrap().parse().unwrap();
    let age = chrono::Utc::now() - at;
    assert!(age >= chrono::TimeDelta::hours(1) && age < chrono::TimeDelta::hours(2), "{age}");
    source.read(&first.splits[0]).unwrap().for_each(|batch| drop(batch.unwrap()));
    assert_eq!(api.seen()[0].path, format!("/calls?from=2026-01-01T00%3A00%3A00Z&to={}", at.timestamp()));
    // A split says all that it takes to read it again, also much later.
    source.read(&first.splits[0]).unwrap().for_each(|batch| drop(batch.unwrap()));
    assert_eq!(api.seen()[0], api.seen()[1]);
    let again = source.plan(&PlanRequest { cursor: Some(upper), ..PlanRequest::default() }).unwrap();
    assert!(again.splits.is_empty(), "nothing is old enough yet");
    let old = PlanRequest {
        cursor: Some(json!("2025-01-01 00:00:00")),
        upper: Some(json!("2025-01-02")),
        ..PlanRequest::default()
    };
    let plan = source.plan(&old).unwrap();
    assert_eq!(plan.upper, Some(json!("2025-01-02")), "as it was asked for");
    source.read(&plan.splits[0]).unwrap().for_each(|batch| drop(batch.unwrap()));
    assert_eq!(api.seen()[2].path, "/calls?from=2025-01-01T00%3A00%3A00Z&to=1735776000");
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let api = Api::start(|request, _| match request.header("if-none-match") {
        Some("\"v1\"") => Answer::status(304),
        _ => Answer::Send(200, vec![("ETag".into(), "\"v1\"".into())], b"a\n1\n".to_vec()),
    });
    let host = Host::new();
    let mut source: HttpSource = host.open(api.with(json!({"etag": true}))).unwrap();
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!((plan.splits.len(), plan.upper.clone()), (1, Some(json!({"etag": "\"v1\""}))));
    let again = source.plan(&PlanRequest { cursor: plan.upper, ..PlanRequest::default() }).unwrap();
    assert!(again.splits.is_empty());
}

#[test]
fn an_api_that_asks_for_patience_is_waited_for_page_by_page() {
    let api = Api::start(|_, number| match number {
        0 | 2 => Answer::Send(429, vec![("Retry-After".into(), "0".into())], vec![]),
        1 => Answer::text(200, r#"{"items": [1], "next": "b"}"#),
        3 => Answer::Send(503, vec![("Retry-After".into(), "0".into())], vec![]),
        _ => Answer::text(200, r#"{"items": [2]}"#),
    });
    let settings = json!({
        "query": {"at": "{{ page.cursor }}"}, "records_at": "/items", "paging": {"cursor": {"at": "/next"}},
    });
    assert_eq!(asked(&api, settings).unwrap(), ["[1]", "[2]"]);
    let paths: Vec<_> = api.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/calls", "/calls", "/calls?at=b", "/calls?at=b", "/calls?at=b"], "no page is asked for twice");
    let never = Api::start(|_, _| Answer::Send(429, vec![("Retry-After".into(), "0".into())], vec![]));
    assert_eq!(asked(&never, json!({"records_at": ""})).unwrap_err().kind, ErrorKind::RateLimited);
    let long = Api::start(|_, _| Answer::Send(429, vec![("Retry-After".into(), "3600".into())], vec![]));
    let error = asked(&long, json!({})).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(3_600_000)));
}

#[test]
fn what_is_wrong_with_an_answer_is_told_apart() {
    let page = || "<!DOCTYPE html><title>Sorry</title>";
    for (status, body, settings, kind, says) in [
        (200, page(), json!({"records_at": ""}), ErrorKind::Unavailable, "no JSON"),
        (200, r#"{"a": 1}"#, json!({"records_at": "/items"}), ErrorKind::Unavailable, "nothing at `/items`"),
        (500, "", json!({}), ErrorKind::Unavailable, "500"),
        (404, "", json!({}), ErrorKind::Config, "404"),
        (401, "", json!({}), ErrorKind::Denied, "401"),
        (400, "no such parameter", json!({"records_at": ""}), ErrorKind::Config, "no such parameter"),
        (302, "", json!({}), ErrorKind::Config, "elsewhere"),
        (
            200,
            r#"{"ok": false, "why": "down"}"#,
            json!({"records_at": "", "answers": [{"when": {"at": "/ok", "equals": false}, "then": "retry", "reason": "/why"}]}),
            ErrorKind::Unavailable,
            "down",
        ),
        (
            200,
            "[1, 2, 3, 4, 5, 6, 7]",
            json!({"records_at": "", "max_answer": "10"}),
            ErrorKind::Config,
            "larger than 10",
        ),
    ] {
        let api = Api::start(move |_, _| Answer::text(status, body));
        let error = asked(&api, settings).unwrap_err();
        assert!(error.kind == kind && error.message.contains(says) && error.hint.is_some(), "{error:?}");
    }
    let cut = Api::start(|_, number| if number == 0 { Answer::HangUp } else { Answer::text(200, "[]") });
    assert_eq!(asked(&cut, json!({})).unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn compressed_answers_are_unpacked_up_to_a_limit() {
    let packed = |text: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    let answer = |body: Vec<u8>| Answer::Send(200, vec![("Content-Encoding".into(), "gzip".into())], body);
    let small = packed(b"[{\"n\": 1}]");
    let api = Api::start(move |_, _| answer(small.clone()));
    assert_eq!(asked(&api, json!({"records_at": ""})).unwrap(), ["[{\"n\": 1}]"]);
    assert!(api.seen()[0].header("accept-encoding").unwrap().contains("zstd"));
    // 64 MiB of blanks in some 64 KiB.
    let bomb = packed(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let api = Api::start(move |_, _| answer(bomb.clone()));
    let error = asked(&api, json!({"records_at": "", "max_answer": "1MiB"})).unwrap_err();
    assert!(error.message.contains("larger than 1048576 bytes"), "{error}");
    let broken = Api::start(move |_, _| answer(b"no gzip".to_vec()));
    assert_eq!(asked(&broken, json!({})).unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn requests_keep_to_their_rate() {
    let api = numbered(4);
    let settings = json!({
        "query": {"offset": "{{ page.offset }}", "limit": "1"}, "records_at": "/data/items",
        "paging": {"offset": {"limit": 1, "count_at": "/data/count"}}, "requests_per_second": 50,
    });
    let begun = std::time::Instant::now();
    assert_eq!(asked(&api, settings).unwrap().len(), 4);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(60), "three waits of 20 ms");
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let api = Api::taking();
    for (settings, says) in [
        (json!({"body": {}}), "method: POST"),
        (json!({"records_at": "items"}), "no JSON Pointer"),
        (json!({"query": {"at": "{{ page.offset }}"}}), "knows no `page`"),
        (json!({"query": {"at": "{{ window.from }}"}}), "knows no `window`"),
        (json!({"etag": true, "method": "POST"}), "`etag`"),
        (json!({"cursor": {"start": "soon"}}), "`soon`"),
        (json!({"answers": [{"when": {"status": 200}, "then": "reject"}]}), "reject"),
        (json!({"answers": [{"when": {"at": "/a"}, "then": "fail"}]}), "records_at"),
        (json!({"login": {"api_key": {"value": "k"}}}), "header"),
        (json!({"login": {"bearer": "k"}, "headers": {"Authorization": "x"}}), "remove one"),
    ] {
        let error = Host::new().open::<HttpSource>(api.with(settings.clone())).err().unwrap();
        let whole = format!("{error} {}", error.hint.clone().unwrap_or_default());
        assert!(error.kind == ErrorKind::Config && whole.contains(says), "{settings}: {whole}");
    }
    assert!(api.seen().is_empty());
}

#[test]
fn a_check_asks_for_the_first_page_alone() {
    let api = numbered(5);
    let settings = json!({
        "query": {"offset": "{{ page.offset }}", "limit": "{{ page.limit }}"}, "records_at": "/data/items",
        "paging": {"offset": {"limit": 2, "count_at": "/data/count"}},
    });
    let host = Host::new();
    let mut source: HttpSource = host.open(api.with(settings)).unwrap();
    assert!(source.check().unwrap().summary.contains("200"));
    assert_eq!(api.seen().len(), 1);
}

#[test]
fn a_request_that_asks_for_the_same_page_again_is_an_error() {
    let api = numbered(5);
    for paging in [json!({"offset": {"limit": 2, "count_at": "/data/count"}}), json!({"number": {}})] {
        let settings = json!({"query": {"limit": "2"}, "records_at": "/data/items", "paging": paging});
        let error = asked(&api, settings).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.message.contains("as the one before"), "{error}");
    }
    // Also where the API names the page, and the key is added to its address.
    let api = Api::start(|_, _| Answer::text(200, r#"{"items": [1], "next": "/calls"}"#));
    let settings = json!({"query": {"key": "secret"}, "records_at": "/items", "paging": {"next": {"at": "/next"}}});
    assert_eq!(asked(&api, settings).unwrap_err().kind, ErrorKind::Config);
    assert!(api.seen().len() < 3);
}

#[test]
fn an_answer_that_is_passed_on_has_time_while_it_comes() {
    // Longer than the timeout in all, but never silent for as long.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut stream, &mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").unwrap();
        for _ in 0..4 {
            stream.write_all(b"a\n").unwrap();
            wait.recv().unwrap();
        }
        // And now nothing more.
        let _ = wait.recv();
    });
    let host = Host::new();
    let mut source: HttpSource = host.open(json!({"url": url, "timeout": "400ms"})).unwrap();
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let begun = std::time::Instant::now();
    let mut pieces = source.read(&plan.splits[0]).unwrap();
    for _ in 0..4 {
        pieces.next().unwrap().unwrap();
        // The sink takes its time.
        while begun.elapsed() < std::time::Duration::from_millis(500) {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
    }
    let error = pieces.next().unwrap().unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("400ms"), "{error}");
    drop(go);
    thread.join().unwrap();
}

#[test]
fn what_the_pipeline_says_goes_before_what_is_usual() {
    let api = Api::start(|request, _| match request.header("accept") {
        Some("text/csv") => Answer::text(200, "a\n1\n"),
        _ => Answer::status(404),
    });
    assert_eq!(asked(&api, json!({"headers": {"accept": "text/csv"}})).unwrap(), ["a\n1\n"]);
    let rules = json!([{"when": {"status": 404}, "then": "retry"}]);
    assert_eq!(asked(&api, json!({"answers": rules})).unwrap_err().kind, ErrorKind::Unavailable);
}
