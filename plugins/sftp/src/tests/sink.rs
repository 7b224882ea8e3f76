use std::sync::Arc;

use super::*;

#[test]
fn nothing_is_seen_under_the_final_name_before_the_commit() {
    let (folder, host) = (Folder::new("hidden"), Host::new());
    let mut sink = folder.sink(&host, "out/deep/a.csv", false);
    let summary = sink.check().unwrap().summary;
    assert!(summary.contains("/a.csv, whose folder will be made; host key ssh-ed25519 SHA256:"), "{summary}");
    let ready = sink.write(&delivery("k"), input(&[("", "one,"), ("", "two")])).unwrap();
    assert!(folder.names("out/deep").iter().all(|name| name.starts_with(".a.csv.") && name.ends_with(".part")));
    assert_eq!((folder.names("out/deep").len(), ready.bytes), (1, 7));
    let receipt = sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(folder.names("out/deep"), ["a.csv"]);
    assert_eq!(folder.text("out/deep/a.csv"), "one,two");
    assert_eq!(receipt.sha256, ready.sha256);
    assert_eq!(receipt.sha256.unwrap(), "a173926d6f48095ddb000ec0740f1661d1ee39ed62a0fbe5110aef88eb14fb37");
    let location = receipt.location.unwrap();
    assert!(location.starts_with("sftp://engine-sftp-") && location.ends_with("/out/deep/a.csv"), "{location}");
    assert!(sink.check().unwrap().summary.contains("which is there already and is not replaced"));
}

#[test]
fn a_repeated_delivery_is_known_at_every_stage() {
    let (folder, host) = (Folder::new("repeated"), Host::new());
    let mut sink = folder.sink(&host, "a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    let first = sink.commit(&sealed("k", &ready)).unwrap();
    // Also by another instance, which knows nothing of the first.
    for mut sink in [sink, folder.sink(&host, "a.csv", false)] {
        assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { receipt: first.clone() });
        assert_eq!(sink.commit(&sealed("k", &ready)).unwrap(), first);
    }
    assert_eq!(folder.names(""), ["a.csv"]);
}

#[test]
fn a_crash_between_link_and_unlink_is_taken_for_published() {
    let (folder, host) = (Folder::new("linked"), Host::new());
    let mut sink = folder.sink(&host, "a.csv", false);
    let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
    fs::hard_link(folder.here(&folder.names("")[0]), folder.here("a.csv")).unwrap();
    assert!(matches!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Committed { .. }));
    assert_eq!(folder.names(""), ["a.csv"]);
}

#[test]
fn a_temporary_file_that_was_damaged_is_written_anew() {
    let (folder, host) = (Folder::new("damaged"), Host::new());
    let mut sink = folder.sink(&host, "a.csv", false);
    for damaged in ["ro", "ROWS"] {
        let ready = sink.write(&delivery("k"), input(&[("", "rows")])).unwrap();
        fs::write(folder.here(&folder.names("")[0]), damaged).unwrap();
        assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::New);
        assert!(folder.names("").is_empty());
    }
}

#[test]
fn beginning_anew_clears_leftovers_of_the_same_delivery_only() {
    let (folder, host) = (Folder::new("leftovers"), Host::new());
    let mut sink = folder.sink(&host, "a.csv", false);
    sink.write(&delivery("one"), input(&[("", "1")])).unwrap();
    sink.write(&delivery("two"), input(&[("", "2")])).unwrap();
    assert_eq!(folder.names("").len(), 2);
    assert_eq!(sink.begin_split(&delivery("one")).unwrap(), Begun::New);
    assert_eq!(folder.names("").len(), 1);
    sink.abort(&delivery("two")).unwrap();
    sink.abort(&delivery("two")).unwrap();
    assert!(folder.names("").is_empty());
}

#[test]
fn a_file_with_other_content_is_replaced_only_when_asked() {
    let (folder, host) = (Folder::new("replaced"), Host::new());
    folder.put("a.csv", "old");
    let error = deliver(&mut folder.sink(&host, "a.csv", false), "k", &[("", "new")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("a.csv is there already") && error.message.contains(".part"), "{error}");
    assert!(error.hint.unwrap().contains("{{ window.id }}"));
    assert_eq!(folder.text("a.csv"), "old");

    deliver(&mut folder.sink(&host, "a.csv", false), "same", &[("", "old")]).unwrap();
    deliver(&mut folder.sink(&host, "a.csv", true), "other", &[("", "new")]).unwrap();
    assert_eq!(folder.text("a.csv"), "new");
    // A link is a name that is taken, wherever it leads.
    std::os::unix::fs::symlink("nowhere", folder.here("link.csv")).unwrap();
    let error = deliver(&mut folder.sink(&host, "link.csv", false), "k", &[("", "new")]).unwrap_err();
    assert!(error.message.contains("link.csv is there already"), "{error}");
}

#[test]
fn a_server_without_extensions_does_the_same_with_other_steps() {
    let (folder, host) = (Folder::new("plain"), Host::new());
    let config = |overwrite: bool| {
        connection(json!({
            "port": port("ENGINE_TEST_SFTP_OLD_PORT"), "host_key": host_key("rsa"), "weak_algorithms": true,
            "path": folder.there("a.csv"), "overwrite": overwrite,
        }))
    };
    let long = "0123456789".repeat(20_000);
    deliver(&mut host.open(config(false)).unwrap(), "first", &[("", &long)]).unwrap();
    assert_eq!(folder.text("a.csv"), long);
    deliver(&mut host.open(config(false)).unwrap(), "same", &[("", &long)]).unwrap();
    let error = deliver(&mut host.open(config(false)).unwrap(), "other", &[("", "new")]).unwrap_err();
    assert!(error.message.contains("is there already"), "{error}");
    deliver(&mut host.open(config(true)).unwrap(), "third", &[("", "new")]).unwrap();
    assert_eq!(folder.text("a.csv"), "new");
    // That which was refused is still there for the next attempt.
    assert_eq!(folder.names("").len(), 2);

    // A crash came when the old file had lost its name: given up, it gets that back; gone on with, it goes.
    for goes_on in [false, true] {
        let mut sink: SftpSink = host.open(config(true)).unwrap();
        let ready = sink.write(&delivery("k"), input(&[("", "newer")])).unwrap();
        let temporary = ready.parts[0]["temporary"].as_str().unwrap();
        let aside = format!("{}.old", temporary.rsplit('/').next().unwrap());
        fs::rename(folder.here("a.csv"), folder.here(&aside)).unwrap();
        let mut sink: SftpSink = host.open(config(true)).unwrap();
        match goes_on {
            false => sink.abort(&sealed("k", &ready)).unwrap(),
            true => {
                assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
                sink.commit(&sealed("k", &ready)).map(drop).unwrap();
            }
        }
        assert_eq!(folder.text("a.csv"), if goes_on { "newer" } else { "new" });
        assert_eq!(folder.names("").len(), 2, "{:?}", folder.names(""));
    }
}

#[test]
fn a_folder_that_may_not_be_looked_into_takes_files() {
    let (folder, host) = (Folder::new("drop"), Host::new());
    fs::create_dir(folder.here("box")).unwrap();
    fs::set_permissions(folder.here("box"), fs::Permissions::from_mode(0o1733)).unwrap();
    for path in ["box/a.csv", "box/"] {
        deliver(&mut folder.sink(&host, path, false), "k", &[("b.csv", "rows")]).unwrap();
    }
    assert_eq!(folder.names("box"), ["a.csv", "b.csv"]);
}

#[test]
fn files_keep_their_base_names_in_a_folder_and_cannot_leave_it() {
    let (folder, host) = (Folder::new("kept"), Host::new());
    let mut sink = folder.sink(&host, "out/", false);
    let pieces = [("in/a.csv", "a1"), ("in/a.csv", "a2"), ("../../b.csv", "b"), ("c\r\nd\\é?.csv", "c")];
    let receipt = deliver(&mut sink, "k", &pieces).unwrap();
    assert_eq!(folder.names("out"), ["a.csv", "b.csv", "é_.csv"]);
    assert_eq!(folder.text("out/a.csv"), "a1a2");
    assert_eq!(receipt.bytes, 6);
    assert!(receipt.location.unwrap().ends_with("/out"));
    let name_error = deliver(&mut sink, "k2", &[("in/..", "x")]).unwrap_err();
    assert_eq!(name_error.kind, ErrorKind::Config);
    assert!(deliver(&mut sink, "k3", &[("", "x")]).unwrap_err().message.contains("has no name"));
    // No files at all are none.
    assert_eq!(deliver(&mut sink, "k4", &[]).unwrap().bytes, 0);
}

#[test]
fn none_of_several_files_is_published_when_one_is_taken() {
    let (folder, host) = (Folder::new("several"), Host::new());
    folder.put("out/b.csv", "old");
    folder.own("");
    let error = deliver(&mut folder.sink(&host, "out/", false), "k", &[("a.csv", "a"), ("b.csv", "b")]).unwrap_err();
    assert!(error.message.contains("b.csv is there already"), "{error}");
    assert!(!folder.here("out/a.csv").exists());
}

#[test]
fn what_has_its_name_is_not_taken_back_and_the_others_follow() {
    let (folder, host) = (Folder::new("follow"), Host::new());
    let open = || folder.sink(&host, "out/", false);
    let mut sink = open();
    let ready = sink.write(&delivery("k"), input(&[("a", "1"), ("b", "2")])).unwrap();
    // A commit that came as far as the first one.
    sink.commit(&sealed("k", &Sealed { parts: ready.parts[..1].to_vec(), ..ready.clone() })).unwrap();
    let error = open().abort(&sealed("k", &ready)).unwrap_err();
    assert!(error.message.contains("1 of the delivery's 2 files"), "{error}");
    assert_eq!(open().begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    open().commit(&sealed("k", &ready)).unwrap();
    assert_eq!(folder.names("out"), ["a", "b"]);
}

#[test]
fn two_files_never_share_one_name() {
    let (folder, host) = (Folder::new("shared"), Host::new());
    let one_path = deliver(&mut folder.sink(&host, "a.csv", false), "k", &[("x", "1"), ("y", "2")]).unwrap_err();
    assert!(one_path.hint.unwrap().contains("end in `/`"));
    let same_base = deliver(&mut folder.sink(&host, "out/", false), "k", &[("x/a", "1"), ("y/a", "2")]).unwrap_err();
    assert!(same_base.message.contains("more than one file"));
}

#[test]
fn a_stream_without_pieces_is_an_empty_file() {
    let (folder, host) = (Folder::new("nothing"), Host::new());
    deliver(&mut folder.sink(&host, "empty.csv", false), "k", &[]).unwrap();
    assert_eq!(folder.text("empty.csv"), "");
}

#[test]
fn a_long_name_still_has_a_temporary_one() {
    let (folder, host) = (Folder::new("long"), Host::new());
    let name = "é".repeat(127);
    deliver(&mut folder.sink(&host, &name, false), "k", &[("", "x")]).unwrap();
    assert_eq!(folder.names(""), [name]);
    let error = deliver(&mut folder.sink(&host, &"é".repeat(128), false), "k", &[("", "x")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
}

#[test]
fn nobody_else_may_write_to_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, host) = (Folder::new("permissions"), Host::new());
    deliver(&mut folder.sink(&host, "deep/a.csv", false), "k", &[("", "x")]).unwrap();
    for path in ["deep", "deep/a.csv"] {
        assert_eq!(fs::metadata(folder.here(path)).unwrap().permissions().mode() & 0o022, 0);
    }
}

#[test]
fn an_input_that_fails_leaves_nothing_after_the_abort() {
    let (folder, host) = (Folder::new("failing"), Host::new());
    let mut sink = folder.sink(&host, "a.csv", false);
    let pieces = [Ok(file_piece("", b"half")), Err(Error::unavailable("gone"))];
    let broken = Batches::new(files_schema(), pieces.into_iter());
    assert_eq!(sink.write(&delivery("k"), broken).unwrap_err().kind, ErrorKind::Unavailable);
    sink.abort(&delivery("k")).unwrap();
    assert!(folder.names("").is_empty());
    deliver(&mut sink, "k", &[("", "whole")]).unwrap();
    assert_eq!(folder.text("a.csv"), "whole");
}

#[test]
fn what_the_login_may_not_do_is_denied() {
    let host = Host::new();
    let config = connection(json!({ "path": "denied/a.csv" }));
    let error = deliver(&mut host.open(config).unwrap(), "k", &[("", "x")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("making denied/.a.csv.") && error.hint.is_some(), "{error}");
    let config = connection(json!({ "path": "/new/a.csv" }));
    let error = deliver(&mut host.open(config).unwrap(), "k", &[("", "x")]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("making the folder /new"), "{error}");

    let folder = Folder::new("file-as-folder");
    folder.put("file", "");
    let mut sink = folder.sink(&host, "file/a.csv", false);
    for error in [sink.check().unwrap_err(), deliver(&mut sink, "k", &[("", "x")]).unwrap_err()] {
        assert!(error.message.contains("/file is no folder"), "{error}");
    }
}

#[test]
fn a_cancelled_delivery_is_taken_back() {
    let (folder, host) = (Folder::new("cancelled"), Arc::new(Host::new()));
    let mut sink = folder.sink(&host, "a.csv", false);
    let engine = Arc::clone(&host);
    let pieces = (0..3).map(move |at| {
        if at == 1 {
            engine.cancel();
        }
        Ok(file_piece("", b"half"))
    });
    let error = sink.write(&delivery("k"), Batches::new(files_schema(), pieces)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(folder.names("").len(), 1);
    sink.abort(&delivery("k")).unwrap();
    assert!(folder.names("").is_empty());
}

#[test]
fn a_file_of_any_length_takes_the_same_memory() {
    /// In KiB: what is under way, and what other tests have meanwhile.
    const LIMIT: u64 = 96 * 1024;
    let (folder, host) = (Folder::new("memory"), Host::new());
    let piece: Vec<u8> = (0..1_000_003_u32).map(|at| (at * 7 % 253) as u8).collect();
    let count = 192;
    let mut sink = folder.sink(&host, "large", false);
    let before = peak_memory();
    let pieces = (0..count).map({
        let piece = piece.clone();
        move |_| Ok(file_piece("", &piece))
    });
    let ready = sink.write(&delivery("k"), Batches::new(files_schema(), pieces)).unwrap();
    sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(fs::metadata(folder.here("large")).unwrap().len(), count * piece.len() as u64);

    let mut source = folder.source(&host, "large");
    let split = plan(&mut source).remove(0);
    let mut at = 0;
    for batch in source.read(&split).unwrap() {
        for (_, data) in file_pieces(&batch.unwrap()).unwrap() {
            assert!(data.iter().enumerate().all(|(n, it)| *it == piece[(at + n) % piece.len()]));
            at += data.len();
        }
    }
    assert_eq!(at, count as usize * piece.len());
    let grown = peak_memory() - before;
    assert!(grown < LIMIT, "{grown} KiB for {count} pieces of 1 MB");
}
