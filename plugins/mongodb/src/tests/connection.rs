use super::*;

fn check(config: Value) -> Result<CheckReport> {
    Host::new().open::<MongoSource>(config).unwrap().check()
}

#[test]
fn a_check_says_what_was_found() {
    let scratch = Scratch::new();
    scratch.insert([doc! {"a": 1}]);
    let report = check(scratch.with(json!({}))).unwrap();
    assert!(report.summary.contains("collection calls with 2 columns"), "{}", report.summary);
    let error = check(scratch.with(json!({"collection": "cals"}))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.hint.as_deref().unwrap_or_default().contains("calls"), "{error}");
    let host = Host::new();
    let mut sink = host.open::<MongoSink>(scratch.with(json!({"collection": "other"}))).unwrap();
    assert_eq!(sink.check().unwrap_err().kind, ErrorKind::Config);
    let mut sink = host.open::<MongoSink>(scratch.with(json!({"collection": "other", "create": true}))).unwrap();
    assert!(sink.check().unwrap().summary.contains("will be created"));
    assert_eq!(scratch.names(), ["calls"], "a check changes nothing");
}

#[test]
fn what_stands_in_the_way_is_told_apart() {
    let url = setting("ENGINE_TEST_MONGODB_URL");
    let (head, tail) = url.split_once('@').unwrap();
    let place = tail.split_once('/').unwrap();
    for (url, kind, said) in [
        (format!("{head}x@{tail}"), ErrorKind::Denied, "login"),
        (format!("mongodb://{tail}"), ErrorKind::Denied, "code 13"),
        (format!("{head}@127.0.0.1:1/{}", place.1), ErrorKind::Unavailable, "nobody answers at 127.0.0.1:1"),
        (format!("{head}@no-such-host.invalid:1/{}&tls=true", place.1), ErrorKind::Unavailable, "is not known"),
        (format!("{head}@{tail}&tls=true"), ErrorKind::Denied, "no verified TLS"),
    ] {
        let error = check(json!({"url": url, "collection": "calls", "connect_timeout": "1s"})).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(said), "{said}: {error}");
        let password = head.rsplit_once(':').unwrap().1;
        assert!(!error.to_string().contains(password), "{error}");
    }
}

#[test]
fn a_certificate_is_verified_against_the_authority_that_is_named() {
    let url = setting("ENGINE_TEST_MONGODB_TLS_URL");
    let with = |ca: Option<String>, url: &str| {
        let mut config =
            json!({"url": url, "collection": "calls", "create": true, "connect_timeout": "2s", "tls": "verify"});
        if let Some(ca) = ca {
            config["ca"] = json!(ca);
        }
        Host::new().open::<MongoSink>(config).unwrap().check()
    };
    with(Some(setting("ENGINE_TEST_MONGODB_CA")), &url).unwrap();
    for ca in [Some(setting("ENGINE_TEST_MONGODB_WRONG_CA")), None] {
        let error = with(ca, &url).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    }
    let error = with(Some("/no/such/file".into()), &url).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
}

#[test]
fn a_server_alone_takes_deliveries_and_gives_them_back() {
    let url = setting("ENGINE_TEST_MONGODB_TLS_URL");
    let name = format!("alone_{}", std::process::id());
    let config = json!({"url": url, "database": name, "collection": "calls", "connect_timeout": "5s", "ca": setting("ENGINE_TEST_MONGODB_CA")});
    let host = Host::new();
    let mut create = config.clone();
    create["create"] = json!(true);
    let mut sink: MongoSink = host.open(create).unwrap();
    assert_eq!(deliver(&mut sink, 1, calls([(1, Some("a")), (2, None)])).unwrap().rows, 2);
    let mut source: MongoSource = host.open(config).unwrap();
    assert_eq!(read(&mut source, &PlanRequest::default()).unwrap().1[0].num_rows(), 2);
}

#[test]
fn an_outage_is_told_and_does_not_outlast_the_server() {
    let own = Own::start();
    let (scratch, host) = (Scratch::at(own.url.clone()), Host::new());
    let mut sink: MongoSink = host.open(scratch.with(json!({"create": true, "connect_timeout": "2s"}))).unwrap();
    deliver(&mut sink, 1, calls([(1, Some("a"))])).unwrap();
    let mut second = delivery(2);
    second.sealed = Some(sink.write(&second, Batches::once(calls([(2, Some("b"))]))).unwrap());
    own.control("stop");
    let failed = sink.commit(&second);
    own.control("start");
    assert_eq!(failed.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(sink.begin_split(&second).unwrap(), Begun::Sealed);
    assert_eq!(sink.commit(&second).unwrap().rows, 1);
    assert_eq!(scratch.all().len(), 2);
}
