use super::*;

#[test]
fn files_that_match_are_splits_in_the_order_of_their_names() {
    let (folder, host) = (Folder::new("matching"), Host::new());
    for name in ["in/b.csv", "in/a.csv", "in/.hidden.csv", "in/c.txt", "in/deep/d.csv", "in/dir.csv/x", "in/é.csv"] {
        folder.put(name, name);
    }
    std::os::unix::fs::symlink("c.txt", folder.here("in/link.csv")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.here("in/dangling.csv")).unwrap();
    std::os::unix::fs::symlink("..", folder.here("in/deep/circle")).unwrap();
    let found = |pattern: &str| {
        let mut source = folder.source(&host, pattern);
        let splits = plan(&mut source);
        assert!(splits.iter().is_sorted_by_key(|split| &split.id));
        splits.iter().map(|split| read(&mut source, split).unwrap()).collect::<Vec<_>>()
    };
    let names = |pattern: &str| {
        let cut = format!("{}/", folder.name);
        found(pattern).into_iter().map(|(name, _)| name.strip_prefix(&cut).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("in/*.csv"), ["in/a.csv", "in/b.csv", "in/link.csv", "in/é.csv"]);
    assert_eq!(found("in/[ab].csv")[1], (folder.there("in/b.csv"), b"in/b.csv".to_vec()));
    assert_eq!(found("in/link.csv")[0].1, b"in/c.txt");
    assert_eq!(names("in/.h*.csv"), ["in/.hidden.csv"]);
    assert_eq!(names("**/d.csv"), ["in/deep/d.csv"]);
    assert_eq!(names("**/[bd].csv"), ["in/b.csv", "in/deep/d.csv"]);
    assert_eq!(names("in/**/?"), ["in/dir.csv/x"]);
    assert_eq!(names("i?/**").len(), 7);
    assert_eq!(names("*/a.csv"), ["in/a.csv"]);
    assert!(names("nowhere/*.csv").is_empty());
    let absolute = format!("/files/{}", folder.there("in/a.cs?"));
    let mut source: SftpSource = host.open(connection(json!({ "path": absolute }))).unwrap();
    let splits = plan(&mut source);
    assert_eq!(read(&mut source, &splits[0]).unwrap().0, absolute.replace('?', "v"));
}

#[test]
fn a_pattern_may_match_nothing_but_a_named_file_must_be_there() {
    let (folder, host) = (Folder::new("named"), Host::new());
    assert!(plan(&mut folder.source(&host, "*.csv")).is_empty());
    let error = folder.source(&host, "calls.csv").plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("no such file: sftp://engine-sftp-"), "{error}");
    assert!(error.message.ends_with("/calls.csv"), "{error}");
    folder.put("in/a", "");
    let error = folder.source(&host, "in").plan(&PlanRequest::default()).unwrap_err();
    assert!(error.hint.unwrap().contains("in/*"));
}

#[test]
fn an_empty_file_is_a_file() {
    let (folder, host) = (Folder::new("empty"), Host::new());
    folder.put("empty", "");
    let mut source = folder.source(&host, "empty");
    let splits = plan(&mut source);
    assert_eq!(read(&mut source, &splits[0]).unwrap(), (folder.there("empty"), vec![]));
}

#[test]
fn a_large_file_comes_in_pieces_of_bounded_size() {
    let (folder, host) = (Folder::new("large"), Host::new());
    // Longer than what is under way at a time, and no multiple of anything.
    let content: Vec<u8> = (0..9_000_001_u32).map(|at| (at % 251) as u8).collect();
    folder.put("large", &content);
    let mut source = folder.source(&host, "large");
    let split = plan(&mut source).remove(0);
    assert!(read(&mut source, &split).unwrap().1 == content);
    assert_eq!(source.read(&split).unwrap().count(), content.len().div_ceil(261_120));
    // The old one gives less at a time, and has no way to say so.
    let old = json!({
        "port": port("ENGINE_TEST_SFTP_OLD_PORT"), "host_key": host_key("rsa"), "weak_algorithms": true,
        "path": folder.there("large"),
    });
    let mut source: SftpSource = host.open(connection(old)).unwrap();
    assert!(read(&mut source, &split).unwrap().1 == content);
}

#[test]
fn files_that_are_left_in_the_middle_disturb_no_others() {
    let (folder, host) = (Folder::new("left"), Host::new());
    let content = |with: u8| vec![with; 6_000_000];
    folder.put("a", content(b'a'));
    folder.put("b", content(b'b'));
    let mut source = folder.source(&host, "?");
    let splits = plan(&mut source);
    let mut left = source.read(&splits[0]).unwrap();
    left.next().unwrap().unwrap();
    assert!(read(&mut source, &splits[1]).unwrap().1 == content(b'b'));
    left.next().unwrap().unwrap();
    drop(left);
    for _ in 0..3 {
        drop(source.read(&splits[0]).unwrap());
    }
    assert!(read(&mut source, &splits[0]).unwrap().1 == content(b'a'));
}

#[test]
fn a_file_that_no_longer_is_what_was_planned_is_refused() {
    let (folder, host) = (Folder::new("changed"), Host::new());
    folder.put("log", "one two");
    let path = folder.here("log");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut source = folder.source(&host, "log");
    let split = plan(&mut source).remove(0);
    for (content, says) in [
        ("one", "log is shorter than planned: 3 bytes instead of 7"),
        ("one two three", "log is longer than planned: 13 bytes instead of 7"),
    ] {
        fs::write(&path, content).unwrap();
        let error = read(&mut source, &split).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.ends_with(says), "{error}");
    }
    fs::write(&path, "ONE TWO").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(60)).unwrap();
    assert!(read(&mut source, &split).unwrap_err().message.ends_with("log was written to since it was planned"));
    file.set_modified(modified).unwrap();
    assert_eq!(read(&mut source, &split).unwrap().1, b"ONE TWO");

    // In the middle of reading.
    let content = vec![b'x'; 9_000_000];
    folder.put("long", &content);
    let mut source = folder.source(&host, "long");
    let split = plan(&mut source).remove(0);
    let mut reading = source.read(&split).unwrap();
    reading.next().unwrap().unwrap();
    fs::File::options().write(true).open(folder.here("long")).unwrap().set_len(6_000_000).unwrap();
    let error = reading.find_map(Result::err).expect("the file has become shorter");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.ends_with("long changes while it is read"), "{error}");

    fs::remove_file(&path).unwrap();
    let mut source = folder.source(&host, "*");
    let split = Split::new("0", json!({ "path": folder.there("log"), "size": 7 })).unwrap();
    assert!(read(&mut source, &split).unwrap_err().message.contains("no such file"));
}

#[test]
fn what_the_login_may_not_read_is_denied() {
    let (folder, host) = (Folder::new("forbidden"), Host::new());
    folder.put("secret", "x");
    fs::set_permissions(folder.here("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut source = folder.source(&host, "secret");
    let split = plan(&mut source).remove(0);
    let error = read(&mut source, &split).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("forbidden-") && error.hint.is_some(), "{error}");
}

fn delivered(source: &mut SftpSource, plan: Plan) {
    let window = Delivered { pipeline: "p".into(), window: 1, splits: plan.splits };
    source.delivered(&window).unwrap();
    // Again, as after a crash.
    source.delivered(&window).unwrap();
}

/// A source that does something with what was delivered.
fn with_after(folder: &Folder, host: &Host, after: Value) -> SftpSource {
    host.open(connection(json!({ "path": folder.there("in/*.csv"), "after": after }))).unwrap()
}

#[test]
fn only_what_is_newer_than_the_run_before_is_read() {
    let (folder, host) = (Folder::new("newer"), Host::new());
    let config = connection(json!({ "path": folder.there("*.csv"), "only_new": true }));
    let mut source: SftpSource = host.open(config).unwrap();
    let mut cursor = None;
    let mut names = || {
        let plan = source.plan(&PlanRequest { cursor: cursor.clone(), ..PlanRequest::default() }).unwrap();
        assert!(!plan.tell);
        cursor = plan.upper;
        let path = |split: &Split| split.spec["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        plan.splits.iter().map(path).collect::<Vec<_>>()
    };
    let written = |name: &str, seconds: u64| {
        folder.put(name, name);
        let file = fs::File::options().write(true).open(folder.here(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    assert!(names().is_empty());
    written("a.csv", 100);
    written("b.csv", 100);
    assert_eq!(names(), ["a.csv", "b.csv"]);
    assert!(names().is_empty());
    written("c.csv", 100);
    written("old.csv", 99);
    written("a.csv", 101);
    assert_eq!(names(), ["a.csv", "c.csv"]);
    assert!(names().is_empty());
}

#[test]
fn what_every_sink_has_is_deleted_or_moved_and_never_replaces_a_file() {
    let (folder, host) = (Folder::new("away"), Host::new());
    folder.put("in/a.csv", "a");
    folder.put("done/a.csv", "older");
    folder.own("");
    let mut source = with_after(&folder, &host, json!({ "move": folder.there("done/") }));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert!(plan.tell);
    delivered(&mut source, plan);
    assert_eq!(folder.names("done"), ["a.2.csv", "a.csv"]);
    assert_eq!(folder.text("done/a.2.csv"), "a");
    assert!(folder.names("in").is_empty());

    folder.put("in/b.csv", "b");
    let mut source = with_after(&folder, &host, json!({ "move": folder.there("new/folder") }));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    folder.own("");
    delivered(&mut source, plan);
    assert_eq!(folder.names("new/folder"), ["b.csv"]);

    folder.put("in/c.csv", "c");
    folder.own("");
    let mut source = with_after(&folder, &host, json!("delete"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    // Some sink misses it: whoever plans meanwhile leaves it out.
    folder.put("in/d.csv", "d");
    let meanwhile = PlanRequest { undelivered: plan.splits.clone(), ..PlanRequest::default() };
    let meanwhile = source.plan(&meanwhile).unwrap().splits;
    assert_eq!((meanwhile.len(), &meanwhile[0].spec["path"]), (1, &json!(folder.there("in/d.csv"))));
    fs::remove_file(folder.here("in/d.csv")).unwrap();
    delivered(&mut source, plan);
    assert!(folder.names("in").is_empty());
}

#[test]
fn a_folder_in_which_files_would_be_found_again_is_refused() {
    let (folder, host) = (Folder::new("again"), Host::new());
    folder.put("in/a.csv", "a");
    for (path, to, is_refused) in [
        ("in/**/*.csv", "in/done", true),
        ("in/*.csv", "in", true),
        ("./in/**", "in/../in/b", true),
        ("in/*.csv", "in/done", false),
        ("in/**/*.csv", "done", false),
    ] {
        let after = json!({ "path": folder.there(path), "after": { "move": folder.there(to) } });
        let planned = host.open::<SftpSource>(connection(after)).unwrap().plan(&PlanRequest::default());
        let refused = planned.err().map(|error| error.message);
        assert_eq!(refused.is_some_and(|message| message.contains("finds them again")), is_refused, "{path} {to}");
    }
}

#[test]
fn what_was_written_to_after_the_plan_stays() {
    let (folder, host) = (Folder::new("stays"), Host::new());
    folder.put("in/a.csv", "a");
    folder.own("");
    let mut source = with_after(&folder, &host, json!("delete"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    folder.put("in/a.csv", "a and more");
    delivered(&mut source, plan);
    assert_eq!(folder.names("in"), ["a.csv"]);
    assert!(host.log().iter().any(|(_, line)| line.contains("stays")), "{:?}", host.log());
}

#[test]
fn what_may_not_be_put_away_is_denied() {
    let (folder, host) = (Folder::new("kept-by-root"), Host::new());
    // It and its folder belong to whoever runs the tests.
    folder.put("in/a.csv", "a");
    for after in [json!("delete"), json!({ "move": folder.there("done") })] {
        let mut source = with_after(&folder, &host, after);
        let plan = source.plan(&PlanRequest::default()).unwrap();
        let window = Delivered { pipeline: "p".into(), window: 1, splits: plan.splits };
        assert_eq!(source.delivered(&window).unwrap_err().kind, ErrorKind::Denied);
    }
    let config = connection(json!({ "path": "*", "after": { "move": " / " } }));
    assert_eq!(host.open::<SftpSource>(config).err().unwrap().kind, ErrorKind::Config);
}
