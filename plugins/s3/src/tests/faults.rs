//! What the real server never does.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine_test_tools::http::{Answer, Request, Server};

use super::*;

/// A server that notes what comes, and answers as a test wants it.
struct Fake {
    server: Server,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// `answer`: None, for what a store answers that takes everything and has nothing.
    fn start(answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let server = Server::start(move |request: Request| {
            let answer = answer(&request).unwrap_or_else(|| usual(&request));
            notes.lock().unwrap().push(request);
            answer
        });
        Self { server, seen }
    }

    fn with(&self, more: Value) -> Value {
        merged(example(), merged(json!({"endpoint": self.server.url(), "timeout": "20s"}), more))
    }

    /// What came: method and path.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|it| format!("{} {}", it.method, it.path)).collect()
    }

    fn delivered(&self, content: &[u8], more: Value) -> Result<Receipt> {
        let host = Host::new();
        deliver(&mut host.open(self.with(more))?, "k", &[("", content)])
    }
}

fn tagged(tag: &str) -> Answer {
    Answer::Send(200, vec![("etag".into(), format!("\"{tag}\""))], vec![])
}

fn usual(request: &Request) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("HEAD", _) => Answer::status(404),
        ("POST", path) if path.contains("uploads=") => Answer::text(200, "<R><UploadId>u1</UploadId></R>"),
        ("POST", _) => {
            Answer::text(200, "<CompleteMultipartUploadResult><ETag>t</ETag></CompleteMultipartUploadResult>")
        }
        ("PUT", _) => tagged("p"),
        ("GET", path) if path.contains("uploads=") => Answer::text(200, "<ListMultipartUploadsResult/>"),
        ("DELETE", _) => Answer::status(204),
        _ => Answer::status(400),
    }
}

fn refusal(status: u16, code: &str) -> Answer {
    Answer::text(status, &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

#[test]
fn a_part_that_fails_is_sent_once_and_its_upload_thrown_away() {
    for (answer, kind) in [
        (refusal(500, "InternalError"), ErrorKind::Unavailable),
        (Answer::HangUp, ErrorKind::Unavailable),
        (refusal(503, "SlowDown"), ErrorKind::RateLimited),
        (refusal(400, "BadDigest"), ErrorKind::Unavailable),
        (refusal(404, "NoSuchUpload"), ErrorKind::Unavailable),
        (refusal(403, "RequestTimeTooSkewed"), ErrorKind::Config),
        (Answer::status(200), ErrorKind::Unavailable),
    ] {
        let given = answer.clone();
        let fake = Fake::start(move |request| request.path.contains("partNumber=2").then(|| given.clone()));
        let error = fake.delivered(&bytes(11 << 20), json!({"part_size": "5MiB", "concurrency": 1})).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        let seen = fake.seen();
        let parts = seen.iter().filter(|it| it.starts_with("PUT") && it.contains("partNumber=2")).count();
        assert_eq!(parts, 1, "{seen:?}");
        assert!(
            seen.last().unwrap().starts_with("DELETE")
                && !seen.iter().any(|it| it.ends_with("POST /calls/a?uploadId=u1"))
        );
    }
}

#[test]
fn a_part_that_arrives_with_another_checksum_is_none() {
    let fake = Fake::start(|request| {
        let other = vec![("etag".into(), "p".into()), ("x-amz-checksum-sha256".into(), "AAAA".into())];
        request.path.contains("partNumber").then(|| Answer::Send(200, other, vec![]))
    });
    let error = fake.delivered(b"rows", json!({})).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("another checksum"), "{error}");
}

#[test]
fn completing_says_what_it_is_about_and_is_believed_only_when_it_says_so() {
    let fake = Fake::start(|_| None);
    fake.delivered(b"rows", json!({})).unwrap();
    let seen = fake.seen.lock().unwrap();
    let complete = seen.iter().find(|it| it.method == "POST" && it.path.contains("uploadId")).unwrap();
    assert_eq!((complete.header("if-none-match"), complete.header("x-amz-mp-object-size")), (Some("*"), Some("4")));
    let body = String::from_utf8(complete.body.clone()).unwrap();
    assert!(body.contains("<PartNumber>1</PartNumber><ETag>&quot;p&quot;</ETag><ChecksumSHA256>"), "{body}");
    drop(seen);

    let completes = |request: &Request| request.method == "POST" && request.path.contains("uploadId");
    for (answer, kind) in [
        (Answer::text(200, "<Error><Code>InternalError</Code></Error>"), ErrorKind::Unavailable),
        (Answer::text(200, ""), ErrorKind::Unavailable),
        (Answer::text(200, "<R><ChecksumSHA256>AAAA-1</ChecksumSHA256></R>"), ErrorKind::Internal),
        (refusal(409, "ConditionalRequestConflict"), ErrorKind::Unavailable),
        (refusal(404, "NoSuchUpload"), ErrorKind::Unavailable),
        (refusal(412, "PreconditionFailed"), ErrorKind::Config),
        (refusal(501, "NotImplemented"), ErrorKind::Config),
        (refusal(403, "AccessDenied"), ErrorKind::Denied),
    ] {
        let fake = Fake::start(move |request| completes(request).then(|| answer.clone()));
        let error = fake.delivered(b"rows", json!({})).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
    let fake = Fake::start(|_| None);
    fake.delivered(b"rows", json!({"overwrite": true, "checksum": "none"})).unwrap();
    let seen = fake.seen.lock().unwrap();
    assert!(seen.iter().all(|it| it.header("if-none-match").is_none()));
    assert!(seen.iter().all(|it| it.method != "PUT" || it.header("x-amz-checksum-sha256").is_none()));
}

#[test]
fn a_bucket_elsewhere_is_said_with_its_region() {
    let fake =
        Fake::start(|_| Some(Answer::Send(301, vec![("x-amz-bucket-region".into(), "eu-west-1".into())], vec![])));
    let error = fake.delivered(b"rows", json!({})).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("`eu-west-1`"), "{error}");
}

#[test]
fn uploads_that_earlier_runs_have_left_are_thrown_away_and_no_others() {
    let old = "2020-01-01T00:00:00.000Z";
    let new = chrono::Utc::now().to_rfc3339();
    let upload = |key: &str, id: &str, begun: &str| {
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>")
    };
    let first =
        [upload("out/a", "mine", old), upload("out/b", "young", &new), upload("out/deep/c", "other", old)].concat();
    let second = upload("out/d", "late", old);
    let fake = Fake::start(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path.contains("key-marker=out%2Fb") => Some(Answer::text(200, &format!("<L>{second}</L>"))),
        ("GET", path) if path.contains("uploads=") => Some(Answer::text(
            200,
            &format!("<L>{first}<IsTruncated>true</IsTruncated><NextKeyMarker>out/b</NextKeyMarker></L>"),
        )),
        _ => None,
    });
    let host = Host::new();
    let mut sink: S3Sink = host.open(fake.with(json!({"path": "out/"}))).unwrap();
    sink.finish_run(&SinkRun::default()).unwrap();
    let thrown: Vec<_> = fake.seen().into_iter().filter(|it| it.starts_with("DELETE")).collect();
    assert_eq!(thrown, ["DELETE /calls/out/a?uploadId=mine", "DELETE /calls/out/d?uploadId=late"]);

    // What the stage remembers is thrown away under whatever key it had.
    let remembered = json!({"uploads": [
        {"delivery": "d", "key": "was/here", "upload": "remembered", "begun": 1_577_836_800},
        {"delivery": "d", "key": "was/here", "upload": "at work", "begun": chrono::Utc::now().timestamp()},
    ]});
    host.remember(remembered);
    let mut sink: S3Sink = host.open(fake.with(json!({"path": "a"}))).unwrap();
    sink.finish_run(&SinkRun::default()).unwrap();
    assert_eq!(fake.seen().last().unwrap(), "DELETE /calls/was/here?uploadId=remembered");
    assert_eq!(host.remembered()["uploads"].as_array().unwrap().len(), 1);
}

#[test]
fn an_upload_that_is_being_completed_by_a_request_from_before_is_waited_for() {
    // 403 for what is no longer an upload; the object appears at the third look.
    let (mark, looks) = (Arc::new(Mutex::new(String::new())), AtomicUsize::new(0));
    let fake = Fake::start(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", path) if path.contains("uploads=") => {
            *mark.lock().unwrap() = request.header("x-amz-meta-engine-upload").unwrap_or_default().into();
            None
        }
        ("POST", _) => Some(refusal(403, "AccessDenied")),
        ("HEAD", _) if looks.fetch_add(1, Ordering::SeqCst) > 2 => {
            let mark = mark.lock().unwrap().clone();
            Some(Answer::Send(200, vec![("x-amz-meta-engine-upload".into(), mark)], b"rows".to_vec()))
        }
        ("GET", path) if path.contains("uploadId=") => {
            Some(Answer::text(200, "<L><Part><PartNumber>1</PartNumber><Size>4</Size></Part></L>"))
        }
        _ => None,
    });
    assert_eq!(fake.delivered(b"rows", json!({})).unwrap().bytes, 4);

    let fake = Fake::start(|request| match request.path.contains("uploadId=") {
        true if request.method == "POST" => Some(refusal(403, "AccessDenied")),
        true if request.method == "GET" => Some(refusal(404, "NoSuchUpload")),
        _ => None,
    });
    let error = fake.delivered(b"rows", json!({})).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("the upload is gone"), "{error}");
}

#[test]
fn a_store_that_does_not_list_uploads_is_delivered_to() {
    let fake = Fake::start(|request| (request.method == "GET").then(|| refusal(501, "NotImplemented")));
    let host = Host::new();
    let mut sink: S3Sink = host.open(fake.with(json!({}))).unwrap();
    for _ in 0..2 {
        sink.finish_run(&SinkRun::default()).unwrap();
    }
    assert_eq!(host.log().len(), 1, "{:?}", host.log());
    deliver(&mut sink, "k", &[("", b"rows")]).unwrap();
}

/// A server of one answer for HEAD and one for GET, byte by byte.
fn raw(head: String, get: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(std::result::Result::ok) {
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|read| read > 0) {
                request.push(byte[0]);
            }
            let answer = if request.starts_with(b"HEAD") { head.as_bytes() } else { &get };
            // A client that has gone is the test's own end.
            let _ = connection.write_all(answer);
        }
    });
    address
}

#[test]
fn an_answer_that_is_cut_short_or_changed_on_the_way_is_no_object() {
    use base64::Engine as _;
    let content = b"0123456789";
    let sum = base64::engine::general_purpose::STANDARD.encode(crate::checksum::sha256_of(content));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"e\"\r\nx-amz-checksum-sha256: {sum}\r\nconnection: close\r\n\r\n"
    );
    let get = |length: usize, body: &str| {
        format!("HTTP/1.1 206 It\r\ncontent-length: {length}\r\netag: \"e\"\r\nconnection: close\r\n\r\n{body}")
            .into_bytes()
    };
    let fetched = |get: Vec<u8>| {
        let host = Host::new();
        let config = merged(example(), json!({"endpoint": raw(head.clone(), get), "timeout": "20s"}));
        let mut source: S3Source = host.open(config).unwrap();
        let split = plan(&mut source).remove(0);
        read(&mut source, &split)
    };
    assert_eq!(fetched(get(10, "0123456789")).unwrap().1, content);
    for (length, body, says) in [
        (10, "01234", "the connection broke"),
        (5, "01234", "ended after 5 of 10 bytes"),
        (12, "0123456789ab", "more than was asked for"),
        (10, "0123456780", "another content than its checksum says"),
    ] {
        let error = fetched(get(length, body)).unwrap_err();
        assert!(error.kind == ErrorKind::Unavailable && error.message.contains(says), "{error}");
    }
}

#[test]
fn what_is_packed_stays_as_it_is_kept() {
    let packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\x04\0C\xbe\xb7\xe8\x01\0\0\0";
    let fake = Fake::start(move |request| {
        let headers = vec![("etag".into(), "\"e\"".into()), ("content-encoding".into(), "gzip".into())];
        (request.method != "POST")
            .then(|| Answer::Send(if request.method == "GET" { 206 } else { 200 }, headers, packed.to_vec()))
    });
    let host = Host::new();
    let mut source: S3Source = host.open(fake.with(json!({}))).unwrap();
    let split = plan(&mut source).remove(0);
    assert_eq!(read(&mut source, &split).unwrap().1, packed);
}

#[test]
fn a_store_that_gives_no_tags_cannot_be_read() {
    let fake = Fake::start(|request| match request.method.as_str() {
        "HEAD" => Some(Answer::status(200)),
        _ => Some(Answer::text(200, "<L><Contents><Key>a1</Key><Size>1</Size></Contents></L>")),
    });
    let host = Host::new();
    let mut source: S3Source = host.open(fake.with(json!({"path": "a*"}))).unwrap();
    let error = source.plan(&PlanRequest::default()).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("has no ETag"), "{error}");
}

#[test]
fn requests_have_the_token_of_temporary_keys_and_go_through_the_proxy() {
    let fake = Fake::start(|_| None);
    let host = Host::new();
    let config = merged(
        example(),
        json!({
            "endpoint": "http://store.invalid", "tls": "disable", "proxy": fake.server.url(), "session_token": "t0ken",
        }),
    );
    deliver(&mut host.open::<S3Sink>(config).unwrap(), "k", &[("", b"rows")]).unwrap();
    let seen = fake.seen.lock().unwrap();
    assert!(seen.iter().all(|it| it.header("x-amz-security-token") == Some("t0ken")));
    assert!(seen.iter().all(|it| it.header("host") == Some("store.invalid")), "{seen:?}");
}
