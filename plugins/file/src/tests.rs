use std::fs;
use std::io::Write;
use std::path::Path;

use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};
use tempfile::TempDir;

use crate::{FileSink, FileSource};

fn folder() -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::in_folder(folder.path());
    (folder, host)
}

fn put(folder: &TempDir, path: &str, content: &str) {
    let path = folder.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn source(host: &Host, path: &str) -> FileSource {
    host.open(json!({ "path": path })).unwrap()
}

fn read(source: &mut FileSource, split: &Split) -> Result<(String, Vec<u8>)> {
    let (mut name, mut all) = (String::new(), Vec::new());
    for batch in source.read(split)? {
        for (file, data) in file_pieces(&batch?)? {
            name = file.into();
            all.extend_from_slice(data);
        }
    }
    Ok((name, all))
}

fn plan(source: &mut FileSource) -> Vec<Split> {
    source.plan(&PlanRequest::default()).unwrap().splits
}

#[test]
fn files_that_match_are_splits_in_the_order_of_their_names() {
    let (folder, host) = folder();
    for name in ["in/b.csv", "in/a.csv", "in/.hidden.csv", "in/c.txt", "in/deep/d.csv", "in/dir.csv/x"] {
        put(&folder, name, name);
    }
    let mut source = source(&host, "in/*.csv");
    let splits = plan(&mut source);
    let files: Vec<_> = splits.iter().map(|split| read(&mut source, split).unwrap()).collect();
    assert_eq!(files, [("in/a.csv".into(), b"in/a.csv".to_vec()), ("in/b.csv".into(), b"in/b.csv".to_vec())]);
    assert!(splits[0].id < splits[1].id);
    assert_eq!(source.check().unwrap().summary, "in/*.csv: 2 files, 16 bytes together");
}

#[test]
fn a_folder_with_pattern_characters_in_its_name_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("jobs [old]");
    fs::create_dir_all(odd.join("x/y")).unwrap();
    fs::write(odd.join("x/y/a.log"), "a").unwrap();
    let host = Host::in_folder(&odd);
    let mut source = source(&host, "**/*.log");
    let splits = plan(&mut source);
    assert_eq!(read(&mut source, &splits[0]).unwrap().0, "x/y/a.log");
}

#[test]
fn a_pattern_may_match_nothing_but_a_named_file_must_be_there() {
    let (folder, host) = folder();
    assert!(plan(&mut source(&host, "*.csv")).is_empty());
    let error = source(&host, "calls.csv").plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("no such file") && error.message.ends_with("calls.csv"), "{error}");
    put(&folder, "in/a", "");
    let error = source(&host, "in").plan(&PlanRequest::default()).unwrap_err();
    assert!(error.hint.unwrap().contains("in/*"));
}

#[test]
fn an_empty_file_is_a_file() {
    let (folder, host) = folder();
    put(&folder, "empty", "");
    let mut source = source(&host, "empty");
    let splits = plan(&mut source);
    assert_eq!(read(&mut source, &splits[0]).unwrap(), ("empty".into(), vec![]));
}

#[test]
fn a_large_file_comes_in_pieces_of_bounded_size() {
    let (folder, host) = folder();
    let content = "0123456789".repeat(250_000);
    put(&folder, "large", &content);
    let mut source = source(&host, "large");
    let split = plan(&mut source).remove(0);
    assert_eq!(read(&mut source, &split).unwrap().1, content.as_bytes());
    assert_eq!(source.read(&split).unwrap().count(), 10);
}

#[test]
fn a_range_has_the_head_of_its_file_in_front_of_it() {
    let (folder, host) = folder();
    put(&folder, "large", &format!("head\none\ntwo\n{}\n", "three".repeat(1000)));
    let mut source: FileSource = host.open(json!({ "path": "large", "split": "4KiB" })).unwrap();
    let mut split = plan(&mut source).remove(0);
    let cut = split.cut.take().unwrap();
    assert_eq!((cut.bytes, cut.every), (5014, 4096));
    split.spec["range"] = json!({"head": 5, "from": 9, "to": 13, "lines": 1});
    assert_eq!(read(&mut source, &split).unwrap().1, b"head\ntwo\n");
    let range = ByteRange::of(&source.read(&split).unwrap().schema()).unwrap();
    assert_eq!(range, ByteRange { head: 5, from: 9, to: 13, lines: 1 });
    put(&folder, "small", "head\n1234");
    let mut source: FileSource = host.open(json!({ "path": "small", "split": "4KiB" })).unwrap();
    assert_eq!(plan(&mut source)[0].cut, None);
    assert_eq!(
        host.open::<FileSource>(json!({ "path": "small", "split": 4095 })).err().unwrap().kind,
        ErrorKind::Config
    );
}

#[test]
fn what_is_appended_after_planning_is_not_read() {
    let (folder, host) = folder();
    put(&folder, "log", "one\n");
    let mut source = source(&host, "log");
    let split = plan(&mut source).remove(0);
    fs::OpenOptions::new().append(true).open(folder.path().join("log")).unwrap().write_all(b"two\n").unwrap();
    assert_eq!(read(&mut source, &split).unwrap().1, b"one\n");
}

#[test]
fn a_file_that_no_longer_is_what_was_planned_is_refused() {
    let (folder, host) = folder();
    let path = folder.path().join("log");
    put(&folder, "log", "one two");
    let mut source = source(&host, "log");
    let split = plan(&mut source).remove(0);

    fs::write(&path, "one").unwrap();
    let error = read(&mut source, &split).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("shorter than planned: 3 bytes instead of 7"), "{error}");

    // In its place, so that it stays the same file.
    for longer in ["ONE two three", "one TWO three"] {
        fs::write(&path, longer).unwrap();
        let error = read(&mut source, &split).unwrap_err();
        assert_eq!(error.message, "log was written to since it was planned, and not only at its end");
    }
    fs::write(&path, "ONE TWO").unwrap();
    assert_eq!(read(&mut source, &split).unwrap_err().message, "log was written to since it was planned");

    put(&folder, "new", "another file, and longer");
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(read(&mut source, &split).unwrap_err().message.contains("another file"));

    fs::remove_file(&path).unwrap();
    assert!(read(&mut source, &split).unwrap_err().message.contains("no such file"));
}

fn delivery(key: &str) -> Delivery {
    Delivery { key: key.into(), ..Delivery::default() }
}

fn sealed(key: &str, sealed: &Sealed) -> Delivery {
    Delivery { sealed: Some(sealed.clone()), ..delivery(key) }
}

fn sink(host: &Host, path: &str, overwrite: bool) -> FileSink {
    host.open(json!({ "path": path, "overwrite": overwrite })).unwrap()
}

fn input(pieces: &[(&str, &str)]) -> Batches {
    let batches: Vec<_> = pieces.iter().map(|(name, data)| Ok(file_piece(name, data.as_bytes()))).collect();
    Batches::new(files_schema(), batches.into_iter())
}

fn deliver(sink: &mut FileSink, key: &str, pieces: &[(&str, &str)]) -> Result<Receipt> {
    assert_eq!(sink.begin_split(&delivery(key))?, Begun::New);
    let ready = sink.write(&delivery(key), input(pieces))?;
    sink.commit(&sealed(key, &ready))
}

#[test]
fn nothing_is_seen_under_the_final_name_before_the_commit() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "out/deep/a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "one,"), ("", "two")])).unwrap();
    let out = folder.path().join("out/deep");
    assert!(names(&out).iter().all(|name| name.starts_with(".a.csv.") && name.ends_with(".part")));
    assert_eq!(ready.bytes, 7);
    let receipt = sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(names(&out), ["a.csv"]);
    assert_eq!(fs::read_to_string(out.join("a.csv")).unwrap(), "one,two");
    assert_eq!(receipt.sha256, ready.sha256);
    assert_eq!(receipt.sha256.unwrap(), "a173926d6f48095ddb000ec0740f1661d1ee39ed62a0fbe5110aef88eb14fb37");
}

#[test]
fn a_repeated_delivery_is_known_at_every_stage() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    let first = sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { receipt: first.clone() });
    assert_eq!(sink.commit(&sealed("k", &ready)).unwrap(), first);
    assert_eq!(names(folder.path()), ["a.csv"]);
}

#[test]
fn a_crash_between_link_and_unlink_is_taken_for_published() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
    let temporary = folder.path().join(&names(folder.path())[0]);
    fs::hard_link(&temporary, folder.path().join("a.csv")).unwrap();
    assert!(matches!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { .. }));
    assert_eq!(names(folder.path()), ["a.csv"]);
}

#[test]
fn a_temporary_file_that_was_damaged_is_written_anew() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
    fs::write(folder.path().join(&names(folder.path())[0]), "ro").unwrap();
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::New);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn beginning_anew_clears_leftovers_of_the_same_delivery_only() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "a.csv", false);
    sink.write(&delivery("one"), input(&[("", "1")])).unwrap();
    sink.write(&delivery("two"), input(&[("", "2")])).unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    assert_eq!(sink.begin_split(&delivery("one")).unwrap(), Begun::New);
    assert_eq!(names(folder.path()).len(), 1);
    sink.abort(&delivery("two")).unwrap();
    sink.abort(&delivery("two")).unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_file_with_other_content_is_replaced_only_when_asked() {
    let (folder, host) = folder();
    put(&folder, "a.csv", "old");
    let error = deliver(&mut sink(&host, "a.csv", false), "k", &[("", "new")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("a.csv is there already") && error.message.contains(".part"), "{error}");
    assert!(error.hint.unwrap().contains("{{ window.id }}"));
    assert_eq!(fs::read_to_string(folder.path().join("a.csv")).unwrap(), "old");

    deliver(&mut sink(&host, "a.csv", false), "same", &[("", "old")]).unwrap();
    deliver(&mut sink(&host, "a.csv", true), "other", &[("", "new")]).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("a.csv")).unwrap(), "new");
}

#[test]
fn files_keep_their_base_names_in_a_folder_and_cannot_leave_it() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "out/", false);
    let pieces = [("in/a.csv", "a1"), ("in/a.csv", "a2"), ("../../b.csv", "b")];
    let receipt = deliver(&mut sink, "k", &pieces).unwrap();
    let out = folder.path().join("out");
    assert_eq!(names(&out), ["a.csv", "b.csv"]);
    assert_eq!(fs::read_to_string(out.join("a.csv")).unwrap(), "a1a2");
    assert_eq!(receipt.bytes, 5);
    let name_error = deliver(&mut sink, "k2", &[("in/..", "x")]).unwrap_err();
    assert_eq!(name_error.kind, ErrorKind::Config);
    assert!(deliver(&mut sink, "k3", &[("", "x")]).unwrap_err().message.contains("has no name"));
}

#[test]
fn none_of_several_files_is_published_when_one_is_taken() {
    let (folder, host) = folder();
    put(&folder, "out/b.csv", "old");
    let error = deliver(&mut sink(&host, "out/", false), "k", &[("a.csv", "a"), ("b.csv", "b")]).unwrap_err();
    assert!(error.message.contains("b.csv is there already"), "{error}");
    assert!(!folder.path().join("out/a.csv").exists());
}

#[test]
fn what_has_its_name_is_not_taken_back_and_the_others_follow() {
    let (folder, host) = folder();
    let open = || sink(&host, "out/", false);
    let mut sink = open();
    let ready = sink.write(&delivery("k"), input(&[("a", "1"), ("b", "2")])).unwrap();
    // A commit that came as far as the first one.
    sink.commit(&sealed("k", &Sealed { parts: ready.parts[..1].to_vec(), ..ready.clone() })).unwrap();
    let error = open().abort(&sealed("k", &ready)).unwrap_err();
    assert!(error.message.contains("1 of the delivery's 2 files"), "{error}");
    assert_eq!(open().begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    open().commit(&sealed("k", &ready)).unwrap();
    assert_eq!(names(&folder.path().join("out")), ["a", "b"]);
}

#[test]
fn two_files_never_share_one_name() {
    let (_folder, host) = folder();
    let one_path = deliver(&mut sink(&host, "a.csv", false), "k", &[("x", "1"), ("y", "2")]).unwrap_err();
    assert!(one_path.hint.unwrap().contains("end in `/`"));
    let same_base = deliver(&mut sink(&host, "out/", false), "k", &[("x/a", "1"), ("y/a", "2")]).unwrap_err();
    assert!(same_base.message.contains("more than one file"));
}

#[test]
fn a_stream_without_pieces_is_an_empty_file() {
    let (folder, host) = folder();
    deliver(&mut sink(&host, "empty.csv", false), "k", &[]).unwrap();
    assert_eq!(fs::read(folder.path().join("empty.csv")).unwrap(), b"");
}

#[test]
fn a_name_that_is_too_long_is_cut_before_anything_is_published() {
    let (folder, host) = folder();
    let long = format!("{}.csv", "n".repeat(400));
    deliver(&mut sink(&host, "out/", false), "k", &[("a.csv", "1"), (&long, "2")]).unwrap();
    let names = names(&folder.path().join("out"));
    assert!(names.len() == 2 && names[1].len() <= 200 && names[1].ends_with(".csv"), "{names:?}");
}

#[test]
fn a_long_name_still_has_a_temporary_one() {
    let (folder, host) = folder();
    let name = "é".repeat(127);
    deliver(&mut sink(&host, &name, false), "k", &[("", "x")]).unwrap();
    assert_eq!(names(folder.path()), [name]);
}

#[test]
fn nobody_else_may_write_to_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, host) = folder();
    deliver(&mut sink(&host, "a.csv", false), "k", &[("", "x")]).unwrap();
    let mode = fs::metadata(folder.path().join("a.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0);
}

#[test]
fn an_input_that_fails_leaves_nothing_after_the_abort() {
    let (folder, host) = folder();
    let mut sink = sink(&host, "a.csv", false);
    let pieces = [Ok(file_piece("", b"half")), Err(Error::unavailable("gone"))];
    let broken = Batches::new(files_schema(), pieces.into_iter());
    assert_eq!(sink.write(&delivery("k"), broken).unwrap_err().kind, ErrorKind::Unavailable);
    sink.abort(&delivery("k")).unwrap();
    assert!(names(folder.path()).is_empty());
}

fn delivered(source: &mut FileSource, plan: Plan) {
    let window = Delivered { pipeline: "p".into(), window: 1, splits: plan.splits };
    source.delivered(&window).unwrap();
    // Again, as after a crash.
    source.delivered(&window).unwrap();
}

#[test]
fn only_what_is_newer_than_the_run_before_is_read() {
    let (folder, host) = folder();
    let mut source: FileSource = host.open(json!({"path": "*.csv", "only_new": true})).unwrap();
    let mut cursor = None;
    let mut names = || {
        let plan = source.plan(&PlanRequest { cursor: cursor.clone(), ..PlanRequest::default() }).unwrap();
        assert!(!plan.tell);
        cursor = plan.upper;
        plan.splits.iter().map(|split| split.spec["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let written = |name: &str, seconds: u64| {
        put(&folder, name, name);
        let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
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
    let (folder, host) = folder();
    put(&folder, "in/a.csv", "a");
    put(&folder, "done/a.csv", "older");
    let mut source: FileSource = host.open(json!({"path": "in/*.csv", "after": {"move": "done"}})).unwrap();
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert!(plan.tell);
    delivered(&mut source, plan);
    assert_eq!(names(&folder.path().join("done")), ["a.2.csv", "a.csv"]);
    assert_eq!(fs::read_to_string(folder.path().join("done/a.2.csv")).unwrap(), "a");
    assert!(names(&folder.path().join("in")).is_empty());

    put(&folder, "in/b.csv", "b");
    let mut source: FileSource = host.open(json!({"path": "in/*.csv", "after": "delete"})).unwrap();
    let plan = source.plan(&PlanRequest::default()).unwrap();
    delivered(&mut source, plan);
    assert!(names(&folder.path().join("in")).is_empty());
}

#[test]
fn what_was_written_to_after_the_plan_stays() {
    let (folder, host) = folder();
    put(&folder, "in/a.csv", "a");
    let mut source: FileSource = host.open(json!({"path": "in/*.csv", "after": "delete"})).unwrap();
    let plan = source.plan(&PlanRequest::default()).unwrap();
    put(&folder, "in/a.csv", "a and more");
    delivered(&mut source, plan);
    assert_eq!(names(&folder.path().join("in")), ["a.csv"]);
    assert!(host.log().iter().any(|(_, line)| line.contains("stays")), "{:?}", host.log());
}

#[test]
fn a_move_needs_a_folder() {
    let (_folder, host) = folder();
    let opened = host.open::<FileSource>(json!({"path": "*.csv", "after": {"move": " / "}}));
    assert_eq!(opened.err().unwrap().kind, ErrorKind::Config);
}
