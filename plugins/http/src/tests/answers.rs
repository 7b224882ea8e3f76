use super::*;

fn failing(answer: Answer) -> (Error, Host, usize) {
    let (api, host) = (Api::start(move |_, _| answer.clone()), Host::new());
    let error = deliver(&host, api.with(json!({})), vec![calls(0..5)], vec![]).unwrap_err();
    (error, host, api.seen().len())
}

#[test]
fn the_status_alone_decides_what_becomes_of_a_delivery() {
    for (status, kind) in [
        (301, ErrorKind::Config),
        (401, ErrorKind::Denied),
        (403, ErrorKind::Denied),
        (404, ErrorKind::Config),
        (405, ErrorKind::Config),
        (408, ErrorKind::Unavailable),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
    ] {
        let (error, host, sent) = failing(Answer::text(status, "because of\nsomething"));
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(error.message.contains(&status.to_string()), "{error}");
        assert!(status == 301 || error.message.contains("because of something"), "{error}");
        assert_eq!(sent, 1, "{status}: nothing more is sent");
        assert!(host.rejections().is_empty() && host.receipts().is_empty());
    }
}

#[test]
fn the_time_that_the_api_asks_for_is_passed_on() {
    for status in [429, 503] {
        let wait = vec![("Retry-After".to_owned(), "7".to_owned())];
        let (error, ..) = failing(Answer::Send(status, wait, vec![]));
        assert_eq!(error.retry_after_ms, Some(7_000), "{error}");
    }
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let elsewhere = Api::taking();
    let to = vec![("Location".to_owned(), format!("{}/calls", elsewhere.server.url()))];
    let (error, ..) = failing(Answer::Send(307, to, vec![]));
    assert!(error.message.contains(&elsewhere.server.url()), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_refused_record_is_a_dead_letter_and_the_others_go_on() {
    let api = Api::start(|request, _| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if body["n"].as_i64().unwrap() % 3 == 1 {
            Answer::text(422, "{\"error\": \"no such account\"}")
        } else {
            Answer::status(204)
        }
    });
    let host = Host::new();
    let receipt = deliver(&host, api.with(json!({"concurrency": 4})), vec![calls(0..10)], vec![]).unwrap();
    assert_eq!(receipt.rows, 7);
    let refused = host.rejections();
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|it| it.code == "http_422" && it.reason.contains("no such account")), "{refused:?}");
}

#[test]
fn among_records_that_were_refused_together_the_bad_ones_are_found() {
    let api = Api::start(|request, _| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let bad = body.as_array().unwrap().iter().any(|record| matches!(record["n"].as_i64(), Some(3 | 11)));
        if bad { Answer::text(400, "bad call") } else { Answer::status(200) }
    });
    let host = Host::new();
    let receipt = deliver(&host, api.with(json!({"batch": 8})), vec![calls(0..5), calls(5..20)], vec![]).unwrap();
    assert_eq!(receipt.rows, 18);
    assert_eq!(host.rejections().len(), 2);
    let mut arrived: Vec<i64> = api
        .bodies()
        .iter()
        .filter(|body| !body.as_array().unwrap().iter().any(|record| matches!(record["n"].as_i64(), Some(3 | 11))))
        .flat_map(|body| {
            body.as_array().unwrap().iter().map(|record| record["n"].as_i64().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..20).filter(|n| ![3, 11].contains(n)).collect::<Vec<_>>(), "each good one once");
    let keys: std::collections::HashSet<_> =
        api.seen().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), api.seen().len(), "every part has a key of its own");
}

#[test]
fn a_server_that_hangs_up_or_does_not_answer_is_unavailable() {
    let (error, ..) = failing(Answer::HangUp);
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = Arc::clone(&gate);
    let api = Api::start(move |_, _| {
        held.wait();
        Answer::status(200)
    });
    let host = Host::new();
    let error = deliver(&host, api.with(json!({"timeout": "50ms"})), vec![calls([1])], vec![]).unwrap_err();
    gate.wait();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("did not answer within 50ms"), "{error}");
}

#[test]
fn no_message_holds_a_secret() {
    let host = Host::new();
    let secret = "hunter 2&more";
    let settings = json!({"query": {"auth_key": secret}, "headers": {"x-key": secret}});
    let echo = |status: u16| {
        Api::start(move |request, _| {
            let to = vec![("Location".to_owned(), format!("/elsewhere{}", request.path))];
            let said = format!("{} {}", request.path, request.header("x-key").unwrap());
            Answer::Send(status, to, said.into_bytes())
        })
    };
    for status in [307, 403, 500] {
        let error = deliver(&host, echo(status).with(settings.clone()), vec![calls([1])], vec![]).unwrap_err();
        let shown = format!("{error:?}");
        assert!(!shown.contains("hunter"), "{status}: {shown}");
    }
    deliver(&host, echo(422).with(settings), vec![calls([1])], vec![]).unwrap();
    assert!(!format!("{:?}", host.rejections()).contains("hunter"));
    let config = json!({
        "url": "http://127.0.0.1:1/calls", "query": {"auth_key": "hunter2"}, "headers": {"x-key": "hunter2"},
    });
    let error = deliver(&host, config, vec![calls([1])], vec![]).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_certificate_is_verified_against_the_authority_that_is_named() {
    let setting = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| {
            panic!("{name} is not set: run `tests/services run --only http -- cargo test -p engine-plugin-http`")
        })
    };
    let url = setting("ENGINE_TEST_HTTP_TLS_URL");
    let check = |url: &str, ca: Option<String>| {
        let mut config = json!({"url": url});
        if let Some(ca) = ca {
            config["ca"] = json!(ca);
        }
        Host::new().open::<HttpSink>(config).unwrap().check()
    };
    let ca = setting("ENGINE_TEST_HTTP_CA");
    check(&url, Some(ca.clone())).unwrap();
    // The certificate is for localhost and 127.0.0.1, and for no other name of this machine.
    let other_name = url.replace("localhost", "127.0.0.2");
    for (url, ca) in [(url.as_str(), None), (url.as_str(), Some(setting("ENGINE_TEST_HTTP_WRONG_CA")))] {
        let error = check(url, ca).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains("no verified TLS"), "{error}");
    }
    assert!(check(&other_name, Some(ca)).is_err());
}
