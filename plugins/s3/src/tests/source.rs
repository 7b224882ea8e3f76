//! What is found, and that it is what was planned.

use super::*;

#[test]
fn objects_that_match_are_splits_in_the_order_of_their_keys() {
    let (place, host) = (Place::new("match"), Host::new());
    for name in ["in/b.csv", "in/a.csv", "in/.hidden.csv", "in/c.txt", "in/deep/d.csv", "in/ä +%&.csv"] {
        place.put(name, name.as_bytes());
    }
    let mut source = place.source(&host, "in/*.csv", json!({}));
    let splits = plan(&mut source);
    let files: Vec<_> = splits.iter().map(|split| read(&mut source, split).unwrap()).collect();
    let expected = ["in/a.csv", "in/b.csv", "in/ä +%&.csv"].map(|name| (place.key(name), name.as_bytes().to_vec()));
    assert_eq!(files, expected);
    assert!(splits[0].id < splits[1].id);
}

#[test]
fn more_objects_than_a_page_has_are_all_found() {
    let (place, host) = (Place::new("pages"), Host::new());
    for at in 0..2_345 {
        place.put(&format!("in/{at:05}.txt"), b"x");
    }
    let splits = plan(&mut place.source(&host, "in/*.txt", json!({})));
    let keys: Vec<_> = splits.iter().map(|split| split.spec["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, (0..2_345).map(|at| place.key(&format!("in/{at:05}.txt"))).collect::<Vec<_>>());
}

#[test]
fn a_pattern_may_match_nothing_but_a_named_object_must_be_there() {
    let (place, host) = (Place::new("none"), Host::new());
    assert!(plan(&mut place.source(&host, "*.csv", json!({}))).is_empty());
    let fails = |more| place.source(&host, "a.csv", more).plan(&PlanRequest::default()).unwrap_err();
    let error = fails(json!({}));
    assert!(error.kind == ErrorKind::Config && error.message.starts_with("no such object: s3://"), "{error}");
    assert_eq!(fails(json!({"secret_key": "wrong"})).kind, ErrorKind::Denied);
    let pattern = json!({"bucket": "no-such-bucket", "path": "*.csv"});
    assert_eq!(fails(pattern).kind, ErrorKind::Config);
}

#[test]
fn an_empty_object_is_a_file() {
    let (place, host) = (Place::new("empty"), Host::new());
    place.put("empty", b"");
    let mut source = place.source(&host, "empty", json!({}));
    let splits = plan(&mut source);
    assert_eq!(read(&mut source, &splits[0]).unwrap(), (place.key("empty"), vec![]));
}

#[test]
fn a_large_object_comes_in_pieces_of_bounded_size() {
    let (place, host) = (Place::new("pieces"), Host::new());
    let content = bytes(2_500_000);
    place.put("large", &content);
    for (part_size, concurrency) in [("64KiB", 1), ("1000000", 3), ("8MiB", 4)] {
        let more = json!({"part_size": part_size, "concurrency": concurrency});
        let mut source = place.source(&host, "large", more);
        let split = plan(&mut source).remove(0);
        assert!(read(&mut source, &split).unwrap().1 == content, "{part_size}");
        let largest = source
            .read(&split)
            .unwrap()
            .map(|batch| file_pieces(&batch.unwrap()).unwrap().map(|it| it.1.len()).sum::<usize>());
        assert!(largest.max().unwrap() <= 256 << 10);
    }
}

#[test]
fn an_object_that_no_longer_is_what_was_planned_is_refused() {
    let (place, host) = (Place::new("changed"), Host::new());
    place.put("a", b"one two");
    let mut source = place.source(&host, "a", json!({}));
    let split = plan(&mut source).remove(0);
    for content in [&b"one"[..], b"ONE TWO", b"one two three"] {
        place.put("a", content);
        let error = read(&mut source, &split).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.ends_with("/a was changed since it was planned"), "{error}");
    }
    std::fs::remove_file(place.file("a")).unwrap();
    assert!(read(&mut source, &split).unwrap_err().message.ends_with("is no longer there"));
    place.put("a", b"one two");
    assert_eq!(read(&mut source, &split).unwrap().1, b"one two");
}

#[test]
fn an_object_that_changes_while_it_is_read_is_refused() {
    let (place, host) = (Place::new("changing"), Host::new());
    place.put("a", &bytes(300_000));
    let mut source = place.source(&host, "a", json!({"part_size": "64KiB", "concurrency": 1}));
    let split = plan(&mut source).remove(0);
    let mut batches = source.read(&split).unwrap();
    batches.next().unwrap().unwrap();
    place.put("a", &bytes(300_001));
    let error = batches.find_map(Result::err).unwrap();
    assert!(error.message.ends_with("was changed since it was planned"), "{error}");
}

fn delivered(source: &mut S3Source, plan: Plan) {
    let window = Delivered { pipeline: "p".into(), window: 1, splits: plan.splits };
    source.delivered(&window).unwrap();
    // Again, as after a crash.
    source.delivered(&window).unwrap();
}

#[test]
fn only_what_is_newer_than_the_run_before_is_read() {
    let (place, host) = (Place::new("new"), Host::new());
    let mut source = place.source(&host, "*.csv", json!({"only_new": true}));
    let mut cursor = None;
    let mut names = || {
        let plan = source.plan(&PlanRequest { cursor: cursor.clone(), ..PlanRequest::default() }).unwrap();
        assert!(!plan.tell);
        cursor = plan.upper;
        let name = |split: &Split| split.spec["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        plan.splits.iter().map(name).collect::<Vec<_>>()
    };
    let written = |name: &str, content: &str, seconds: u64| {
        place.put(name, content.as_bytes());
        let file = std::fs::File::options().write(true).open(place.file(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    assert!(names().is_empty());
    written("a.csv", "a", 100);
    written("b.csv", "b", 100);
    assert_eq!(names(), ["a.csv", "b.csv"]);
    assert!(names().is_empty());
    written("b.csv", "b in the same second", 100);
    written("c.csv", "c", 100);
    written("old.csv", "old", 99);
    written("a.csv", "a", 101);
    assert_eq!(names(), ["a.csv"].iter().chain(&["b.csv", "c.csv"]).copied().collect::<Vec<_>>());
    assert!(names().is_empty());
}

#[test]
fn what_every_sink_has_is_deleted_or_moved_and_never_replaces_an_object() {
    let (place, host) = (Place::new("away"), Host::new());
    let done = place.key("done");
    deliver(&mut place.sink(&host, "in/a b.csv", json!({"metadata": {"origin": "pbx"}})), "k", &[("", b"a")]).unwrap();
    place.put("done/a b.csv", b"older");
    let mut source = place.source(&host, "in/**/*.csv", json!({"after": {"move": done}}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert!(plan.tell && plan.splits.len() == 1);
    delivered(&mut source, plan.clone());
    assert_eq!(place.content("in/a b.csv"), None);
    assert_eq!(place.content("done/a b.csv").unwrap(), b"older");
    assert_eq!(place.content("done/a b.2.csv").unwrap(), b"a");
    assert!(host.log().is_empty(), "{:?}", host.log());

    // A crash between copying and deleting: the copy is known again, and no second one made.
    place.put("in/c.csv", b"c");
    let plan = source.plan(&PlanRequest::default()).unwrap();
    delivered(&mut source, plan.clone());
    place.put("in/c.csv", b"c");
    delivered(&mut source, plan);
    assert_eq!((place.content("in/c.csv"), place.content("done/c.2.csv")), (None, None));
    assert_eq!(place.content("done/c.csv").unwrap(), b"c");

    place.put("in/d.csv", b"d");
    let within = json!({"after": {"move": place.key("in/done")}});
    let error = place.source(&host, "in/**/*.csv", within).plan(&PlanRequest::default()).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("finds them again"), "{error}");
    let mut source = place.source(&host, "in/*.csv", json!({"after": "delete"}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    // Some sink misses it: whoever plans meanwhile leaves it out.
    place.put("in/e.csv", b"e");
    let meanwhile = PlanRequest { undelivered: plan.splits.clone(), ..PlanRequest::default() };
    let meanwhile = source.plan(&meanwhile).unwrap().splits;
    assert_eq!((meanwhile.len(), &meanwhile[0].spec["key"]), (1, &json!(place.key("in/e.csv"))));
    delivered(&mut source, plan);
    assert_eq!(place.content("in/d.csv"), None);
}

#[test]
fn what_was_changed_after_the_plan_stays() {
    for after in [json!("delete"), json!({"move": "done"})] {
        let (place, host) = (Place::new("stays"), Host::new());
        place.put("a.csv", b"a");
        let mut source = place.source(&host, "*.csv", json!({"after": after}));
        let plan = source.plan(&PlanRequest::default()).unwrap();
        place.put("a.csv", b"a and more");
        delivered(&mut source, plan);
        assert_eq!(place.content("a.csv").unwrap(), b"a and more");
        assert!(host.log().iter().any(|(_, line)| line.contains("stays")), "{:?}", host.log());
    }
}
