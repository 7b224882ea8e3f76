//! Files.

use engine_sdk::{file_piece, files_schema};

use super::*;

/// More than one piece of a body, with bytes that are no text.
fn large() -> Vec<u8> {
    (0..=255).cycle().take(700_000).collect()
}

fn pieces(name: &str, bytes: &[u8]) -> Vec<RecordBatch> {
    match bytes {
        [] => vec![file_piece(name, b"")],
        _ => bytes.chunks(99_991).map(|piece| file_piece(name, piece)).collect(),
    }
}

#[test]
fn a_file_is_the_body_of_a_request() {
    let api = Api::taking();
    let config = api.with(json!({"method": "PUT", "filename": "calls.xlsx"}));
    let receipt = deliver(&Host::of_files(), config, pieces("", &large()), vec![]).unwrap();
    assert_eq!(receipt.bytes, 700_000);
    let [request] = &api.seen()[..] else { panic!("one request") };
    assert!(request.method == "PUT" && request.body == large());
    assert_eq!(request.header("content-length"), Some("700000"));
    assert_eq!(request.header("content-type"), Some(engine_sdk::media_type("a.xlsx")));
    assert_eq!(request.header("transfer-encoding"), None);
}

#[test]
fn a_file_is_a_field_of_a_form() {
    let api = Api::taking();
    let config = api.with(json!({"form": {"file": "report", "fields": {"token": "s3cret-token", "kind": "daily"}}}));
    let given = pieces("../Ums\u{e4}tze \"1\".csv", b"a,b\n1,2\n");
    deliver(&Host::of_files(), config, given, vec![]).unwrap();
    let [request] = &api.seen()[..] else { panic!("one request") };
    let kind = request.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = String::from_utf8(request.body.clone()).unwrap();
    let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
    assert_eq!(request.header("content-length"), Some(body.len().to_string().as_str()));
    let field =
        |name: &str, value: &str| format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    assert_eq!(parts[1..3], [field("token", "s3cret-token"), field("kind", "daily")]);
    let (head, file) = parts[3].split_once("\r\n\r\n").unwrap();
    assert_eq!(file, "a,b\n1,2\n\r\n");
    assert!(head.contains("name=\"report\"") && head.to_lowercase().contains("content-type: text/csv"), "{head}");
    assert!(head.contains("filename=\"Ums\u{e4}tze _1_.csv\""), "{head}");
    assert_eq!(parts[4], "--\r\n");
}

#[test]
fn a_file_is_a_member_of_a_json_object() {
    for length in [0, 1, 2, 3, 700_000] {
        let api = Api::taking();
        let config = api.with(json!({"json": {"content": "data", "fields": {"token": "s3cret \"token\""}}}));
        let bytes = &large()[..length];
        deliver(&Host::of_files(), config, pieces("out/a \"b\".pdf", bytes), vec![]).unwrap();
        let [request] = &api.seen()[..] else { panic!("one request") };
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
        let mut body: Value = serde_json::from_slice(&request.body).unwrap();
        let data = body["data"].take();
        let data = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data.as_str().unwrap()).unwrap();
        assert!(data == bytes, "{length}");
        assert_eq!(body, json!({"filename": "a _b_.pdf", "token": "s3cret \"token\"", "data": null}));
    }
}

#[test]
fn a_json_object_has_no_member_twice() {
    let api = Api::taking();
    for json in [json!({"content": "a", "name": "a"}), json!({"fields": {"filename": "x"}})] {
        let error = Host::of_files().open::<HttpSink>(api.with(json!({"json": json}))).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
    }
    let both = api.with(json!({"json": {}, "form": {}}));
    assert!(Host::of_files().open::<HttpSink>(both).err().unwrap().message.contains("two ways"));
}

#[test]
fn of_several_files_those_that_were_taken_are_not_sent_again() {
    let api = Api::start(|_, number| Answer::status(if number == 1 { 503 } else { 200 }));
    let host = Host::of_files();
    let files = || [pieces("a.csv", b"1"), pieces("b.csv", b""), pieces("c.csv", b"1")].concat();
    let error = deliver(&host, api.with(json!({})), files(), vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    deliver(&Host::of_files(), api.with(json!({})), files(), host.receipts()).unwrap();
    let seen = api.seen();
    let bodies: Vec<_> = seen.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned()).collect();
    assert_eq!(bodies, ["1", "", "", "1"]);
    let keys: Vec<_> = seen.iter().map(|it| it.header("idempotency-key").unwrap()).collect();
    assert!(keys[1] == keys[2] && keys[0] != keys[1] && keys[0] != keys[3], "{keys:?}");
}

#[test]
fn what_the_answer_says_counts_for_files_too() {
    let api = Api::start(|_, number| {
        Answer::text(200, [r#"{"rows": 7}"#, r#"{"error": "no such report: s3cret-token"}"#][number])
    });
    let config = api.with(json!({
        "figures": {"rows": "/rows"}, "form": {"fields": {"token": "s3cret-token"}},
        "answers": [{"when": {"at": "/error"}, "then": "reject", "reason": "/error"}],
    }));
    let receipt = deliver(&Host::of_files(), config.clone(), pieces("a.csv", b"1"), vec![]).unwrap();
    assert_eq!(receipt.figures, [("rows".to_owned(), 7)].into());
    let error = deliver(&Host::of_files(), config, pieces("a.csv", b"1"), vec![]).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "a.csv was refused: no such report: ***"));
}

#[test]
fn a_delivery_that_is_given_up_sends_nothing_and_counts_what_was_taken() {
    let api = Api::taking();
    let host = Host::of_files();
    deliver(&host, api.with(json!({})), pieces("a.csv", b"1"), vec![]).unwrap();
    give_up(&Host::of_files(), api.with(json!({})), pieces("a.csv", b"1"), host.receipts()).unwrap();
    let error = give_up(&Host::of_files(), api.with(json!({})), pieces("b.csv", b"1"), host.receipts()).unwrap_err();
    assert_eq!(error.message, "b.csv was not sent: it was down");
    assert_eq!(api.seen().len(), 1);
    deliver(&Host::of_files(), api.with(json!({})), vec![RecordBatch::new_empty(files_schema())], vec![]).unwrap();
    assert_eq!(api.seen().len(), 1);
}

#[test]
fn settings_that_are_about_something_else_are_refused() {
    let api = Api::taking();
    let refused = |host: Host, settings: Value| {
        let error = host.open::<HttpSink>(api.with(settings)).err().unwrap();
        assert!(error.kind == ErrorKind::Config && error.hint.is_some(), "{error}");
        error.message
    };
    assert_eq!(refused(Host::new(), json!({"form": {}})), "`form` is set, and no files come");
    assert_eq!(refused(Host::of_files(), json!({"batch": 7})), "`batch` is about rows, and files come");
    let aws = json!({"aws": {"region": "r", "service": "s", "access_key_id": "a", "secret_access_key": "b"}});
    assert!(refused(Host::of_files(), json!({"login": aws})).starts_with("`login: aws` signs what is sent"));
    let error = deliver(&Host::of_files(), api.with(json!({})), pieces("", b"1"), vec![]).unwrap_err();
    assert_eq!(error.message, "the file has no name");
    let several = [pieces("a.csv", b"1"), pieces("b.csv", b"2")].concat();
    let error = deliver(&Host::of_files(), api.with(json!({"method": "PUT"})), several, vec![]).unwrap_err();
    assert!(error.message.starts_with("several files come, and `method: PUT`"), "{error}");
}
