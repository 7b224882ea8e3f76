//! What becomes of files.

use super::*;

#[test]
fn an_object_with_other_content_is_replaced_only_when_asked() {
    let (place, host) = (Place::new("taken"), Host::new());
    place.put("a.csv", b"old");
    let error = deliver(&mut place.sink(&host, "a.csv", json!({})), "k", &[("", b"new")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains(&place.key("a.csv")) && error.message.contains("is there already"), "{error}");
    assert!(error.hint.unwrap().contains("overwrite"));
    assert_eq!(place.content("a.csv").unwrap(), b"old");

    // The same content, written by nobody's upload: its bytes tell.
    deliver(&mut place.sink(&host, "a.csv", json!({})), "same", &[("", b"old")]).unwrap();
    deliver(&mut place.sink(&host, "a.csv", json!({"overwrite": true})), "other", &[("", b"new")]).unwrap();
    assert_eq!(place.content("a.csv").unwrap(), b"new");
}

#[test]
fn a_key_that_is_taken_after_the_look_is_not_replaced() {
    for (content, is_same) in [(b"new", true), (b"old", false)] {
        let (place, host) = (Place::new("race"), Host::new());
        let mut sink = place.sink(&host, "a.csv", json!({}));
        let ready = sink.write(&delivery("k"), input(&[("", b"new")])).unwrap();
        let made = crate::upload::Made::deserialize(&ready.parts[0]).unwrap();
        place.put("a.csv", content);
        // As it comes where somebody else was faster: the condition does not hold.
        let published = sink.publisher().unwrap().publish(&made, false);
        assert_eq!(published.is_ok(), is_same, "{published:?}");
        assert_eq!(place.content("a.csv").unwrap(), content);
    }
}

#[test]
fn files_keep_their_names_behind_a_prefix_and_cannot_leave_it() {
    let (place, host) = (Place::new("names"), Host::new());
    let mut sink = place.sink(&host, "out/", json!({}));
    let pieces: [(&str, &[u8]); 4] =
        [("in/a.csv", b"a1"), ("in/a.csv", b"a2"), ("../../b.csv", b"b"), ("ä +%?.csv", b"")];
    let receipt = deliver(&mut sink, "k", &pieces).unwrap();
    assert_eq!(place.content("out/a.csv").unwrap(), b"a1a2");
    assert_eq!(place.content("out/b.csv").unwrap(), b"b");
    assert_eq!(place.content("out/ä +%?.csv").unwrap(), b"");
    assert_eq!(receipt.bytes, 5);
    for name in ["in/..", "in/", ""] {
        let error = deliver(&mut sink, "k2", &[(name, b"x")]).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.hint.is_some(), "{name}: {error}");
    }
    let same = deliver(&mut sink, "k3", &[("x/a", b"1"), ("y/a", b"2")]).unwrap_err();
    assert!(same.message.contains("more than one file"), "{same}");
}

#[test]
fn none_of_several_files_is_published_when_one_is_taken() {
    let (place, host) = (Place::new("several"), Host::new());
    place.put("out/b.csv", b"old");
    let mut sink = place.sink(&host, "out/", json!({}));
    let error = deliver(&mut sink, "k", &[("a.csv", b"a"), ("b.csv", b"b")]).unwrap_err();
    assert!(error.message.contains("b.csv is there already"), "{error}");
    assert_eq!(place.content("out/a.csv"), None);
}

#[test]
fn a_stream_without_pieces_is_an_empty_object() {
    let (place, host) = (Place::new("empty"), Host::new());
    let mut sink = place.sink(&host, "empty.csv", json!({}));
    let ready = sink.write(&delivery("k"), input(&[])).unwrap();
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(place.content("empty.csv").unwrap(), b"");
    assert!(matches!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { .. }));
    sink.commit(&sealed("k", &ready)).unwrap();
    assert!(sink.commit(&sealed("k", &ready)).is_ok());
    place.put("full.csv", b"full");
    let error = deliver(&mut place.sink(&host, "full.csv", json!({})), "k", &[]).unwrap_err();
    assert!(error.message.contains("is there already"), "{error}");
    deliver(&mut place.sink(&host, "out/", json!({})), "k", &[]).unwrap();
}

#[test]
fn a_large_file_goes_up_in_parts_and_comes_down_in_ranges() {
    let (place, host) = (Place::new("large"), Host::new());
    let content = bytes((64 << 20) + 12_345);
    for (name, checksum) in [("sha256", "sha256"), ("crc32c", "crc32c"), ("none", "none")] {
        let mut sink = place.sink(&host, name, json!({"part_size": "5MiB", "checksum": checksum, "concurrency": 3}));
        let pieces: Vec<_> = content.chunks(777_777).map(|piece| ("", piece)).collect();
        let receipt = deliver(&mut sink, "k", &pieces).unwrap();
        assert_eq!(receipt.bytes, content.len() as u64);
        assert!(place.content(name).unwrap() == content, "{checksum}");
        let mut source = place.source(&host, name, json!({"part_size": "3MiB"}));
        let splits = plan(&mut source);
        assert!(read(&mut source, &splits[0]).unwrap().1 == content);
    }
}

#[test]
fn what_an_object_is_made_with_is_told_to_the_store() {
    let (place, host) = (Place::new("headers"), Host::new());
    let more = json!({
        "metadata": {"Origin": "pbx 7"}, "tags": {"kind": "a&b"}, "content_type": "text/x-calls", "encryption": "AES256",
        "storage_class": "STANDARD",
    });
    deliver(&mut place.sink(&host, "a.csv", more), "k", &[("", b"rows")]).unwrap();
    let kept = |key: &str| {
        use base64::Engine as _;
        let coded = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let name = format!(".bucket-{}.object-{}.metadata.json", coded("engine-test"), coded(key));
        let path = PathBuf::from(environment("ENGINE_TEST_S3_FOLDER")).parent().unwrap().join(name);
        serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()
    };
    let attributes = kept(&place.key("a.csv"));
    assert_eq!(attributes["content_type"], "text/x-calls");
    assert_eq!(attributes["user_metadata"]["origin"], "pbx 7");
    assert_eq!(attributes["user_metadata"]["engine-upload"].as_str().unwrap().len(), 32);
    deliver(&mut place.sink(&host, "b.csv", json!({})), "k", &[("", b"rows")]).unwrap();
    assert_eq!(kept(&place.key("b.csv"))["content_type"], "text/csv");
}

#[test]
fn a_link_is_told_where_it_was_asked_for_and_works() {
    let (place, host) = (Place::new("link"), Host::new());
    let mut sink = place.sink(&host, "out/", json!({"link": "1h"}));
    let receipt = deliver(&mut sink, "k", &[("a b.csv", b"rows")]).unwrap();
    let [alert] = &receipt.alerts[..] else { panic!("one alert: {receipt:?}") };
    let link = alert.message.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(alert.key, format!("link/{}", place.key("out/a b.csv")));
    let secret = environment("ENGINE_TEST_S3_SECRET_KEY");
    assert!(link.contains("X-Amz-Expires=3600") && !alert.message.contains(&secret), "{}", alert.message);
    let second = std::time::Duration::from_secs(1);
    let way = crate::client::Way::new(None, None, second, 20 * second).unwrap();
    let fetched = crate::background::Background::new().unwrap().take_back(30 * second, async move {
        let answer = way.client.get(&link).send().await.unwrap();
        Ok((answer.status().as_u16(), answer.bytes().await.unwrap()))
    });
    assert_eq!(fetched.unwrap(), (200, "rows".into()));
    let none = deliver(&mut place.sink(&host, "c.csv", json!({})), "k", &[("", b"rows")]).unwrap();
    assert!(none.alerts.is_empty());
}

#[test]
fn a_check_says_what_is_there() {
    let (place, host) = (Place::new("check"), Host::new());
    place.put("a.csv", b"old");
    let summary = |name: &str, more| place.sink(&host, name, more).check().unwrap().summary;
    assert!(summary("a.csv", json!({})).contains("is not replaced"));
    assert!(summary("a.csv", json!({"overwrite": true})).ends_with("which will be replaced"));
    assert!(summary("b.csv", json!({})).ends_with("when it does"));
    let mut source = place.source(&host, "*.csv", json!({}));
    assert!(source.check().unwrap().summary.ends_with("*.csv: 1 object of 3 bytes"));
}

#[test]
fn who_may_not_and_what_is_not_there_is_said() {
    let (place, host) = (Place::new("denied"), Host::new());
    let fails = |more: Value| deliver(&mut place.sink(&host, "a", more), "k", &[("", b"x")]).unwrap_err();
    let wrong = fails(json!({"secret_key": "wrong-s3cret"}));
    assert_eq!(wrong.kind, ErrorKind::Denied);
    assert!(!format!("{wrong:?}").contains("wrong-s3cret"));
    assert_eq!(fails(json!({"access_key": "nobody"})).kind, ErrorKind::Denied);
    // The server makes buckets when they are written to; S3 does not.
    let missing = place.sink(&host, "a", json!({"bucket": "no-such-bucket"})).check().unwrap_err();
    assert!(missing.kind == ErrorKind::Config && missing.message.contains("NoSuchBucket"), "{missing}");
    let gone = fails(json!({"endpoint": "http://127.0.0.1:9"}));
    assert!(gone.kind == ErrorKind::Unavailable && gone.hint.is_some(), "{gone}");
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let host = Host::new();
    for more in [
        json!({"path": ""}),
        json!({"path": "/a"}),
        json!({"path": "a/../b"}),
        json!({"part_size": "1MiB"}),
        json!({"concurrency": 0}),
        json!({"link": "8d"}),
        json!({"link": "0s"}),
        json!({"metadata": {"two words": "x"}}),
        json!({"metadata": {"x": "ä"}}),
        json!({"metadata": {"Engine-Upload": "x"}}),
        json!({"content_type": "a\nb"}),
        json!({"encryption": {"kms": ""}}),
        json!({"secret_key": null}),
        json!({"ca": "no/such.pem"}),
        json!({"proxy": "socks5://h"}),
        json!({"timeout": "0s"}),
        json!({"tags": (0..11).map(|at| (at.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>()}),
    ] {
        let error = host.open::<S3Sink>(merged(example(), more.clone())).err().unwrap();
        assert!(error.kind == ErrorKind::Config && error.hint.is_some(), "{more}: {error}");
    }
    let sources = [
        json!({"path": "a/"}),
        json!({"path": "a["}),
        json!({"part_size": "1KiB"}),
        json!({"after": {"move": " / "}}),
        json!({"after": {"move": "../done"}}),
    ];
    for more in sources {
        let error = host.open::<S3Source>(merged(example(), more.clone())).err().unwrap();
        assert!(error.kind == ErrorKind::Config && error.hint.is_some(), "{more}: {error}");
    }
}
