use super::*;

/// Calls of domains, of which an API knows some.
fn of_domains(domains: &[&str]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(Int64Array::from_iter_values(0..domains.len() as i64))),
        ("domainname", Arc::new(StringArray::from(domains.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Refuses a whole request for its first record of a domain that it does not know, with status 200.
fn picky() -> Api {
    Api::start(|request, _| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let unknown = body["cdrdata"].as_array().unwrap().iter().find_map(|record| {
            record["domainname"].as_str().filter(|domain| domain.starts_with("new")).map(str::to_owned)
        });
        match unknown {
            Some(domain) => Answer::text(200, &json!({"msg": "Domain Not Configured", "domain": domain}).to_string()),
            None => Answer::text(200, r#"{"msg": "ok", "matched": 1, "errors": ["a", "b"]}"#),
        }
    })
}

fn settings(api: &Api, batch: usize) -> Value {
    api.with(json!({
        "batch": batch, "records_at": "cdrdata",
        "answers": [{
            "when": {"status": 200, "at": "/msg", "contains": "domain not configured"}, "then": "reject",
            "code": "domain_not_configured", "reason": "/msg", "of": {"domainname": "/domain"}, "alert": "/domain",
        }],
        "figures": {"matched": "/matched", "wrong": "/errors"},
    }))
}

#[test]
fn only_the_records_that_the_answer_names_are_refused() {
    let api = picky();
    let host = Host::new();
    let domains = ["a", "new1", "new1", "b", "new2", "a", "a", "b"];
    let receipt = deliver(&host, settings(&api, 8), vec![of_domains(&domains)], vec![]).unwrap();
    assert_eq!(receipt.rows, 5);
    let refused: Vec<_> = host.rejections().iter().map(|letter| letter.code.clone()).collect();
    assert_eq!(refused, ["domain_not_configured"; 3]);
    assert!(host.rejections().iter().all(|letter| letter.reason == "Domain Not Configured"));
    let keys: Vec<_> = receipt.alerts.iter().map(|alert| alert.key.as_str()).collect();
    assert_eq!(keys, ["domain_not_configured/new1", "domain_not_configured/new2"], "each once");
    assert!(receipt.alerts[0].message.contains("new1"), "{:?}", receipt.alerts);
}

#[test]
fn a_request_whose_records_are_all_named_is_sent_once() {
    let api = picky();
    let host = Host::new();
    deliver(&host, settings(&api, 100), vec![of_domains(&["new1"; 100])], vec![]).unwrap();
    assert_eq!(api.seen().len(), 1);
    assert_eq!(host.rejections().iter().map(|letter| letter.rows.as_ref().unwrap().num_rows()).sum::<usize>(), 100);
}

#[test]
fn numbers_of_the_answers_are_added_up_also_over_attempts() {
    let api = Api::start(|_, number| match number {
        2 => Answer::status(503),
        _ => Answer::text(200, r#"{"matched": 2, "errors": ["a"]}"#),
    });
    let first = Host::new();
    deliver(&first, settings(&api, 1), vec![of_domains(&["a"; 5])], vec![]).unwrap_err();
    let receipt = deliver(&Host::new(), settings(&api, 1), vec![of_domains(&["a"; 5])], first.receipts()).unwrap();
    assert_eq!(receipt.figures, [("matched".to_owned(), 10), ("wrong".to_owned(), 5)].into());
}

#[test]
fn an_answer_can_be_a_failure_although_its_status_is_good() {
    let rule = |then: &str| json!([{"when": {"at": "/success", "equals": false}, "then": then, "reason": "/message"}]);
    for (then, kind) in [("fail", ErrorKind::Config), ("retry", ErrorKind::Unavailable)] {
        let api = Api::start(|_, _| Answer::text(200, r#"{"success": false, "message": "no report for that date"}"#));
        let config = api.with(json!({"answers": rule(then)}));
        let error = deliver(&Host::new(), config, vec![calls([1, 2])], vec![]).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.message.contains("no report for that date"), "{error}");
    }
}

#[test]
fn an_answer_that_counts_must_be_whole() {
    let huge = Arc::new(vec![b' '; 5 << 20]);
    let api = Api::start(move |_, _| Answer::Send(200, vec![], huge.to_vec()));
    let error = deliver(&Host::new(), settings(&api, 1), vec![of_domains(&["a"])], vec![]).unwrap_err();
    assert!(error.message.contains("larger than") && error.hint.is_some(), "{error}");
    // Where only the status counts, its end is not waited for.
    deliver(&Host::new(), api.with(json!({})), vec![calls([1])], vec![]).unwrap();
}

#[test]
fn a_secret_in_an_answer_is_not_shown() {
    let api = Api::start(|request, _| {
        let told = request.header("x-key").unwrap_or_default().to_owned();
        Answer::text(200, &json!({"msg": format!("domain not configured for {told}"), "domain": told}).to_string())
    });
    let host = Host::new();
    let mut config = settings(&api, 1);
    config["headers"] = json!({"x-key": "canary-4711"});
    config["answers"][0]["of"] = json!({});
    let receipt = deliver(&host, config, vec![of_domains(&["a"])], vec![]).unwrap();
    let text = format!("{:?} {:?}", receipt.alerts, host.rejections());
    assert!(!text.contains("canary") && text.contains("***"), "{text}");
}
