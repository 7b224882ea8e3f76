//! Every stage at which a delivery can be repeated.

use super::*;

/// The uploads that a part of what was sealed names.
fn uploads(ready: &Sealed) -> Vec<String> {
    ready.parts.iter().filter_map(|part| Some(part["upload"].as_str()?.to_owned())).collect()
}

/// Whether the server has anything of an upload.
fn is_there(upload: &str) -> bool {
    let folder = PathBuf::from(environment("ENGINE_TEST_S3_FOLDER"));
    folder.parent().unwrap().join(format!(".upload-{upload}.json")).exists()
}

#[test]
fn nothing_is_seen_under_the_key_before_the_commit() {
    let (place, host) = (Place::new("unseen"), Host::new());
    let mut sink = place.sink(&host, "out/a.csv", json!({}));
    let ready = sink.write(&delivery("k"), input(&[("", b"one,"), ("", b"two")])).unwrap();
    assert_eq!((ready.bytes, place.content("out/a.csv")), (7, None));
    let receipt = sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(place.content("out/a.csv").unwrap(), b"one,two");
    assert_eq!(receipt.sha256, ready.sha256);
    assert_eq!(receipt.sha256.unwrap(), "a173926d6f48095ddb000ec0740f1661d1ee39ed62a0fbe5110aef88eb14fb37");
    assert_eq!(receipt.location.unwrap(), format!("s3://engine-test/{}", place.key("out/a.csv")));
}

#[test]
fn a_repeated_delivery_is_known_at_every_stage() {
    for overwrite in [false, true] {
        let (place, host) = (Place::new("stages"), Host::new());
        let open = || place.sink(&host, "a.csv", json!({"overwrite": overwrite}));
        let ready = open().write(&delivery("k"), input(&[("", b"rows")])).unwrap();
        assert_eq!(open().begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
        let first = open().commit(&sealed("k", &ready)).unwrap();
        assert_eq!(open().begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { receipt: first.clone() });
        assert_eq!(open().commit(&sealed("k", &ready)).unwrap(), first);
        assert_eq!(place.content("a.csv").unwrap(), b"rows");
        assert!(host.remembered().is_null(), "{}", host.remembered());
    }
}

#[test]
fn what_was_sealed_and_has_lost_its_upload_is_written_anew() {
    let (place, host) = (Place::new("lost"), Host::new());
    let ready = place.sink(&host, "a.csv", json!({})).write(&delivery("k"), input(&[("", b"rows")])).unwrap();
    place.sink(&host, "a.csv", json!({})).abort(&sealed("k", &ready)).unwrap();
    let mut sink = place.sink(&host, "a.csv", json!({}));
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::New);
    deliver(&mut sink, "k", &[("", b"rows")]).unwrap();
    assert_eq!(place.content("a.csv").unwrap(), b"rows");
}

#[test]
fn beginning_anew_clears_leftovers_of_the_same_delivery_only() {
    let (place, host) = (Place::new("leftovers"), Host::new());
    let open = || place.sink(&host, "a.csv", json!({}));
    let one = uploads(&open().write(&delivery("one"), input(&[("", b"1")])).unwrap()).remove(0);
    let two = uploads(&open().write(&delivery("two"), input(&[("", b"2")])).unwrap()).remove(0);
    // Neither was sealed: a crash came before. What the stage remembers is all that is known.
    assert!(is_there(&one) && is_there(&two));
    assert_eq!(open().begin_split(&delivery("one")).unwrap(), Begun::New);
    assert!(!is_there(&one) && is_there(&two));
    let mut sink = open();
    sink.abort(&delivery("two")).unwrap();
    sink.abort(&delivery("two")).unwrap();
    assert!(!is_there(&two) && host.remembered().is_null());
}

#[test]
fn an_abort_takes_back_what_was_sealed_twice_and_although_the_work_is_to_stop() {
    let (place, host) = (Place::new("abort"), Host::new());
    let mut sink = place.sink(&host, "out/", json!({}));
    let ready = sink.write(&delivery("k"), input(&[("a", b"1"), ("b", b"2")])).unwrap();
    let uploads = uploads(&ready);
    assert!(uploads.len() == 2 && uploads.iter().all(|upload| is_there(upload)));
    host.cancel();
    sink.abort(&sealed("k", &ready)).unwrap();
    sink.abort(&sealed("k", &ready)).unwrap();
    assert!(!uploads.iter().any(|upload| is_there(upload)));
    assert_eq!((place.content("out/a"), place.content("out/b")), (None, None));
}

#[test]
fn what_has_its_name_is_not_taken_back_and_the_others_follow() {
    let (place, host) = (Place::new("follow"), Host::new());
    let open = || place.sink(&host, "out/", json!({}));
    let mut sink = open();
    let ready = sink.write(&delivery("k"), input(&[("a", b"1"), ("b", b"2")])).unwrap();
    // A commit that came as far as the first one.
    sink.commit(&sealed("k", &Sealed { parts: ready.parts[..1].to_vec(), ..ready.clone() })).unwrap();
    let error = open().abort(&sealed("k", &ready)).unwrap_err();
    assert!(error.message.contains("1 of the delivery's 2 files"), "{error}");
    assert_eq!(open().begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    open().commit(&sealed("k", &ready)).unwrap();
    assert_eq!((place.content("out/a").unwrap(), place.content("out/b").unwrap()), (b"1".to_vec(), b"2".to_vec()));
    assert!(host.remembered().is_null());
}

#[test]
fn an_input_that_fails_leaves_nothing_after_the_abort() {
    let (place, host) = (Place::new("broken"), Host::new());
    let mut sink = place.sink(&host, "a.bin", json!({"part_size": "5MiB"}));
    let part = bytes(5 << 20);
    let pieces = [Ok(file_piece("", &part)), Ok(file_piece("", b"half")), Err(Error::unavailable("gone"))];
    let broken = Batches::new(files_schema(), pieces.into_iter());
    assert_eq!(sink.write(&delivery("k"), broken).unwrap_err().message, "gone");
    let upload = host.remembered()["uploads"][0]["upload"].as_str().unwrap().to_owned();
    assert!(is_there(&upload));
    sink.abort(&delivery("k")).unwrap();
    assert!(!is_there(&upload) && host.remembered().is_null());
}

#[test]
fn work_that_is_to_stop_ends_in_the_middle_of_a_file() {
    let (place, host) = (Place::new("cancelled"), Host::new());
    let mut sink = place.sink(&host, "a.bin", json!({}));
    host.cancel();
    assert_eq!(sink.write(&delivery("k"), input(&[("", b"1")])).unwrap_err().kind, ErrorKind::Cancelled);
}
