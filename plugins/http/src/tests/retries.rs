use std::collections::HashMap;

use super::*;

/// Everything that was taken, by its idempotency key.
fn taken(api: &Api, refuses: impl Fn(usize) -> bool) -> HashMap<String, Value> {
    api.seen()
        .iter()
        .enumerate()
        .filter(|(number, _)| !refuses(*number))
        .map(|(_, request)| {
            let key = request.header("idempotency-key").unwrap().to_owned();
            (key, serde_json::from_slice(&request.body).unwrap())
        })
        .collect()
}

#[test]
fn what_was_taken_before_an_outage_is_not_sent_again() {
    for concurrency in [1, 4] {
        let down = |number: usize| number == 20;
        let api = Api::start(move |_, number| Answer::status(if down(number) { 503 } else { 200 }));
        let config = api.with(json!({"concurrency": concurrency}));
        let first = Host::new();
        let error = deliver(&first, config.clone(), vec![calls(0..100)], vec![]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        let before = api.seen().len();
        assert!(before < 30, "after the error no more are begun: {before}");
        let second = Host::new();
        let receipt = deliver(&second, config, vec![calls(0..100)], first.receipts()).unwrap();
        assert_eq!(receipt.rows, 100);
        assert_eq!(api.seen().len(), 101, "each once, and the one that was not taken twice");
        let mut numbers: Vec<_> = taken(&api, down).values().map(|body| body["n"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_request_without_an_answer_is_told_before_one_that_was_refused_for_good() {
    let both = std::sync::Barrier::new(2);
    let api = Api::start(move |request, _| {
        both.wait();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        if body["n"] == 1 { Answer::status(404) } else { Answer::HangUp }
    });
    let config = api.with(json!({"concurrency": 2}));
    let error = deliver(&Host::new(), config, vec![calls([1, 2])], vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[test]
fn requests_that_are_alike_are_each_sent_once() {
    let down = |number: usize| number == 3;
    let api = Api::start(move |_, number| Answer::status(if down(number) { 500 } else { 200 }));
    let first = Host::new();
    let rows = || vec![calls([7, 7, 7]), calls([7, 7, 7])];
    deliver(&first, api.with(json!({})), rows(), vec![]).unwrap_err();
    deliver(&Host::new(), api.with(json!({})), rows(), first.receipts()).unwrap();
    assert_eq!(taken(&api, down).len(), 6, "six calls that are alike are six calls");
    assert_eq!(api.seen().len(), 7);
}

#[test]
fn a_record_that_has_changed_meanwhile_is_sent() {
    let api = Api::start(|_, number| Answer::status(if number == 2 { 500 } else { 200 }));
    let first = Host::new();
    deliver(&first, api.with(json!({})), vec![calls([1, 2, 3])], vec![]).unwrap_err();
    // One is gone, one is new.
    deliver(&Host::new(), api.with(json!({})), vec![calls([2, 4, 3])], first.receipts()).unwrap();
    assert_eq!(api.numbers(), [1, 2, 3, 4, 3]);
}

#[test]
fn a_record_that_was_refused_is_refused_again_and_stays_a_dead_letter() {
    let api = Api::start(|request, number| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        Answer::status(match body["n"].as_i64() {
            Some(1) => 422,
            _ if number == 2 => 500,
            _ => 200,
        })
    });
    let (first, second) = (Host::new(), Host::new());
    deliver(&first, api.with(json!({})), vec![calls([0, 1, 2])], vec![]).unwrap_err();
    let receipt = deliver(&second, api.with(json!({})), vec![calls([0, 1, 2])], first.receipts()).unwrap();
    assert_eq!((receipt.rows, second.rejections().len()), (2, 1));
    assert_eq!(api.numbers(), [0, 1, 2, 1, 2]);
}

#[test]
fn an_input_that_breaks_off_fails_the_delivery_and_keeps_what_was_taken() {
    let (api, host) = (Api::taking(), Host::new());
    let mut sink: HttpSink = host.open(api.with(json!({}))).unwrap();
    let rows = calls([1, 2]);
    let broken = [Ok(rows.clone()), Err(Error::unavailable("the stage before has failed"))];
    let error = sink.write(&delivery(), Batches::new(rows.schema(), broken.into_iter())).unwrap_err();
    assert_eq!(error.message, "the stage before has failed");
    deliver(&Host::new(), api.with(json!({})), vec![calls([1, 2, 3])], host.receipts()).unwrap();
    assert_eq!(api.numbers(), [1, 2, 3]);
}

#[test]
fn a_delivery_that_was_asked_to_stop_ends_although_the_api_does_not_answer() {
    let gate = Arc::new(std::sync::Barrier::new(2));
    let (held, host) = (Arc::clone(&gate), Arc::new(Host::new()));
    let cancelling = Arc::clone(&host);
    let api = Api::start(move |_, _| {
        cancelling.cancel();
        held.wait();
        Answer::status(200)
    });
    let error = deliver(&host, api.with(json!({})), vec![calls(0..10)], vec![]).unwrap_err();
    gate.wait();
    assert_eq!(error.kind, ErrorKind::Cancelled);
}

#[test]
fn of_a_batch_that_was_taken_in_part_only_the_rest_is_sent_again() {
    // The record 5 is refused until the third delivery; the API is down once in between.
    let api = Api::start(|request, number| {
        let records: Value = serde_json::from_slice(&request.body).unwrap();
        let bad = records.as_array().unwrap().iter().any(|record| record["n"] == 5);
        match bad {
            _ if number == 7 => Answer::status(503),
            true if number < 8 => Answer::text(422, "not yet"),
            _ => Answer::status(200),
        }
    });
    let config = api.with(json!({"batch": 8}));
    let rows = || vec![calls(0..16)];
    let (first, second) = (Host::new(), Host::new());
    deliver(&first, config.clone(), rows(), vec![]).unwrap_err();
    let before = api.seen().len();
    let receipt = deliver(&second, config, rows(), first.receipts()).unwrap();
    assert_eq!((receipt.rows, second.rejections().len()), (16, 0));
    let again: Vec<i64> = api.bodies()[before..]
        .iter()
        .flat_map(|body| {
            body.as_array().unwrap().iter().map(|record| record["n"].as_i64().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(again, [5, 8, 9, 10, 11, 12, 13, 14, 15], "what was taken in halves is not sent again");
}

#[test]
fn of_a_delivery_that_is_given_up_only_what_was_not_taken_is_refused() {
    // Of the second request only the half with record 7 is refused, together with everything from then on.
    let api = Api::start(|request, number| match number {
        0 | 2 => Answer::status(201),
        1 => Answer::status(422),
        _ if request.body.is_empty() => Answer::status(500),
        _ => Answer::status(503),
    });
    let config = api.with(json!({"batch": 4}));
    let (first, second) = (Host::new(), Host::new());
    deliver(&first, config.clone(), vec![calls(0..10)], vec![]).unwrap_err();
    let before = api.seen().len();
    let receipt = give_up(&second, config, vec![calls(0..10)], first.receipts()).unwrap();
    assert_eq!(api.seen().len(), before, "nothing is sent any more");
    assert_eq!(receipt.rows, 6, "those of the first request, and half of the second");
    let refused = second.rejections();
    assert_eq!(refused.len(), 2, "the other half, and the last request");
    assert!(refused.iter().all(|letter| letter.code == "unavailable" && letter.reason == "it was down"), "{refused:?}");
}
