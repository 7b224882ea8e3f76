use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_request_holds_one_record_and_says_what_it_is() {
    let (api, host) = (Api::taking(), Host::new());
    let config = api.with(json!({
        "headers": {"Authorization": "Bearer secret"}, "query": {"auth_key": "a b"}, "method": "PUT",
    }));
    let receipt = deliver(&host, config, vec![calls([1, 2])], vec![]).unwrap();
    assert_eq!(receipt.rows, 2);
    assert!(receipt.location.unwrap().ends_with("/calls"), "what `query` adds is not shown");
    let seen = api.seen();
    assert_eq!(seen[0].method, "PUT");
    assert_eq!(seen[0].path, "/calls?auth_key=a+b");
    assert_eq!(seen[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(api.bodies(), [json!({"n": 1, "text": "call 1"}), json!({"n": 2, "text": "call 2"})]);
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn records_go_together_wherever_a_batch_ends() {
    let (api, host) = (Api::taking(), Host::new());
    let config = api.with(json!({"batch": 3, "records_at": "data", "fields": {"source": "pbx", "n": 7}}));
    let batches = vec![calls([1, 2]), calls([]), calls([3, 4, 5, 6, 7, 8]), calls([9, 10])];
    assert_eq!(deliver(&host, config, batches, vec![]).unwrap().rows, 10);
    let numbers = |body: &Value| -> Vec<_> {
        body["data"].as_array().unwrap().iter().map(|record| record["n"].as_i64().unwrap()).collect()
    };
    let bodies = api.bodies();
    assert_eq!(bodies.iter().map(numbers).collect::<Vec<_>>(), [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10]]);
    assert!(bodies.iter().all(|body| body["source"] == "pbx" && body["n"] == 7));
}

#[test]
fn a_list_is_a_list_also_of_one() {
    let (api, host) = (Api::taking(), Host::new());
    deliver(&host, api.with(json!({"batch": 2})), vec![calls([1, 2, 3])], vec![]).unwrap();
    deliver(&host, api.with(json!({"body": "list"})), vec![calls([4])], vec![]).unwrap();
    let lengths: Vec<_> = api.bodies().iter().map(|body| body.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [2, 1, 1]);
}

#[test]
fn values_are_written_as_the_format_json_writes_them() {
    let (api, host) = (Api::taking(), Host::new());
    let columns: [(&str, ArrayRef); 3] = [
        ("text", Arc::new(StringArray::from(vec![Some("a \"quoted\" \u{1}\n"), None]))),
        (
            "amount",
            Arc::new(
                arrow_array::Decimal128Array::from(vec![12_345_678_901_234_567_890, -50])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
        ),
        ("at", Arc::new(arrow_array::TimestampMillisecondArray::from(vec![0, 1_500]).with_timezone("+00:00"))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    deliver(&host, api.with(json!({"omit_nulls": true})), vec![rows], vec![]).unwrap();
    let texts: Vec<_> = api.seen().into_iter().map(|request| String::from_utf8(request.body).unwrap()).collect();
    assert_eq!(
        texts,
        [
            "{\"text\":\"a \\\"quoted\\\" \\u0001\\n\",\"amount\":123456789012345678.90,\"at\":\"1970-01-01T00:00:00Z\"}",
            "{\"amount\":-0.50,\"at\":\"1970-01-01T00:00:01.500Z\"}",
        ]
    );
}

#[test]
fn several_requests_are_on_their_way_at_a_time_and_no_more_than_asked() {
    // Each answer waits until the third request of its round is there.
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let api = Api::start(move |_, _| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        barrier.wait();
        now.fetch_sub(1, Ordering::SeqCst);
        Answer::status(200)
    });
    let host = Host::new();
    deliver(&host, api.with(json!({"concurrency": 3})), vec![calls(0..30)], vec![]).unwrap();
    let mut numbers = api.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn with_one_at_a_time_the_order_is_that_of_the_rows() {
    let (api, host) = (Api::taking(), Host::new());
    deliver(&host, api.with(json!({})), vec![calls(0..50), calls(50..100)], vec![]).unwrap();
    assert_eq!(api.numbers(), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_delivery_without_rows_sends_nothing() {
    let (api, host) = (Api::taking(), Host::new());
    assert_eq!(deliver(&host, api.with(json!({"batch": 5})), vec![calls([])], vec![]).unwrap().rows, 0);
    assert!(api.seen().is_empty());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let host = Host::new();
    for (more, said) in [
        (json!({"batch": 0}), "batch"),
        (json!({"batch": 10_001}), "batch"),
        (json!({"concurrency": 65}), "concurrency"),
        (json!({"body": "record", "batch": 2}), "record"),
        (json!({"body": "record", "records_at": "data"}), "records_at"),
        (json!({"fields": {"a": 1}}), "records_at"),
        (json!({"records_at": "a", "fields": {"a": 1}}), "fields"),
        (json!({"timeout": "0s"}), "timeout"),
        (json!({"idempotency_header": "two words"}), "idempotency_header"),
        (json!({"idempotency_header": "Content-Type"}), "idempotency_header"),
        (json!({"headers": {"idempotency-key": "x"}}), "idempotency_header"),
        (json!({"ca": "/no/such/file.pem"}), "/no/such/file.pem"),
    ] {
        let mut config = json!({"url": "http://127.0.0.1:1/"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let Err(error) = host.open::<HttpSink>(config) else { panic!("{more} was taken") };
        assert_eq!(error.kind, ErrorKind::Config, "{more}: {error}");
        assert!(error.to_string().contains(said) && error.hint.is_some(), "{more}: {error}");
    }
}

#[test]
fn two_columns_of_one_name_are_refused_before_anything_is_sent() {
    let (api, host) = (Api::taking(), Host::new());
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let fields: Vec<_> = (0..2).map(|_| Field::new("n", DataType::Int64, true)).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![numbers(), numbers()]).unwrap();
    let error = deliver(&host, api.with(json!({})), vec![rows], vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(api.seen().is_empty());
}

#[test]
fn a_check_sends_no_record_and_tells_a_refused_login() {
    let api = Api::start(|request, _| Answer::status(if request.method == "HEAD" { 405 } else { 200 }));
    let host = Host::new();
    let mut sink: HttpSink = host.open(api.with(json!({}))).unwrap();
    assert!(sink.check().unwrap().summary.contains("405"));
    let api = Api::start(|_, _| Answer::status(401));
    let mut sink: HttpSink = host.open(api.with(json!({}))).unwrap();
    assert_eq!(sink.check().unwrap_err().kind, ErrorKind::Denied);
    let mut sink: HttpSink = host.open(json!({"url": "http://127.0.0.1:1/"})).unwrap();
    let error = sink.check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("nobody answers"), "{error}");
}

#[test]
fn a_body_can_be_written_out_and_no_digit_is_lost() {
    let amount = arrow_array::Decimal128Array::from(vec![110, 12_345_678_901_234_567_890]);
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(Int64Array::from(vec![1, 2]))),
        ("amount", Arc::new(amount.with_precision_and_scale(38, 2).unwrap())),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let sent = |settings: Value| {
        let api = Api::taking();
        deliver(&Host::new(), api.with(settings), vec![rows.clone()], vec![]).unwrap();
        api.seen()
    };
    let template = json!({"text": "{{ pipeline }}: {{ record.n }} of {{ count }}", "all": ["{{ record }}"], "a": "{{ record.amount }}", "m": "{{ record.n * 2 }}", "fixed": null});
    let seen = sent(json!({"template": template}));
    assert_eq!(
        String::from_utf8_lossy(&seen[1].body),
        r#"{"text":"test: 2 of 1","all":[{"n":2,"amount":123456789012345678.90}],"a":123456789012345678.90,"m":4,"fixed":null}"#
    );
    let seen = sent(json!({"batch": 10, "template": {"data": "{{ records }}", "count": "{{ count }}"}}));
    assert_eq!(
        String::from_utf8_lossy(&seen[0].body),
        r#"{"data":[{"n":1,"amount":1.10},{"n":2,"amount":123456789012345678.90}],"count":2}"#
    );
    let seen = sent(json!({"template": "<n>{{ record.n }}</n>"}));
    assert_eq!(
        (&seen[0].body[..], seen[0].header("content-type")),
        (&b"<n>1</n>"[..], Some("text/plain; charset=utf-8"))
    );
    let seen =
        sent(json!({"template": "n={{ record.n }}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}));
    assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[test]
fn a_body_that_cannot_be_written_is_told() {
    let api = Api::taking();
    for (settings, says) in [
        (json!({"template": {}, "fields": {"a": 1}}), "whole body"),
        (json!({"template": "{{ recrod.n }}"}), "knows no `recrod`"),
        (json!({"batch": 2, "template": "{{ record.n }}"}), "knows no `record`"),
        (json!({"template": {"a": "{{ record.none }}"}}), "no `none`"),
        (json!({"template": "n = {{ record.none }}"}), "cannot be filled in"),
    ] {
        let error = deliver(&Host::new(), api.with(settings), vec![calls([1])], vec![]).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.message.contains(says), "{error}");
    }
    assert!(api.seen().is_empty());
}
