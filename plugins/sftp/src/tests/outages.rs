//! One server goes away and comes back; no other test uses it.

use std::process::Command;

use super::*;

fn control(action: &str) {
    let done = Command::new(environment("ENGINE_TEST_SFTP_CTL")).arg(action).status().unwrap();
    assert!(done.success(), "{action}");
}

/// The server with what it is for.
fn config(path: String) -> Value {
    connection(json!({ "port": port("ENGINE_TEST_SFTP_CTL_PORT"), "path": path }))
}

#[test]
fn a_server_that_dies_in_the_middle_is_waited_for_and_nothing_half_is_seen() {
    let (folder, host) = (Folder::new("outage"), Host::new());
    let mut sink: SftpSink = host.open(config(folder.there("a.bin"))).unwrap();
    let piece = vec![b'x'; 1 << 20];
    assert_eq!(sink.begin_split(&delivery("k")).unwrap(), Begun::New);
    let dying = (0..32).map({
        let piece = piece.clone();
        move |at| {
            if at == 16 {
                control("stop");
            }
            Ok(file_piece("", &piece))
        }
    });
    let error = sink.write(&delivery("k"), Batches::new(files_schema(), dying)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.hint.is_some(), "{error}");
    let names = folder.names("");
    assert!(names.iter().all(|name| name.ends_with(".part")), "{names:?}");
    // While it is away, nothing can be taken back, and the next attempt says the same.
    assert_eq!(sink.abort(&delivery("k")).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(sink.begin_split(&delivery("k")).unwrap_err().kind, ErrorKind::Unavailable);

    control("start");
    assert_eq!(sink.begin_split(&delivery("k")).unwrap(), Begun::New);
    assert!(folder.names("").is_empty());
    let whole = (0..32).map({
        let piece = piece.clone();
        move |_| Ok(file_piece("", &piece))
    });
    let ready = sink.write(&delivery("k"), Batches::new(files_schema(), whole)).unwrap();
    // Sealed, and then it goes away before it is published.
    control("stop");
    assert_eq!(sink.commit(&sealed("k", &ready)).unwrap_err().kind, ErrorKind::Unavailable);
    control("start");
    assert_eq!(sink.begin_split(&sealed("k", &ready)).unwrap(), Begun::Sealed);
    sink.commit(&sealed("k", &ready)).unwrap();
    assert_eq!(folder.names(""), ["a.bin"]);
    assert_eq!(fs::metadata(folder.here("a.bin")).unwrap().len(), 32 << 20);

    let mut source: SftpSource = host.open(config(folder.there("a.bin"))).unwrap();
    let split = plan(&mut source).remove(0);
    let mut reading = source.read(&split).unwrap();
    reading.next().unwrap().unwrap();
    control("stop");
    let error = reading.find_map(Result::err).expect("what was not read yet cannot come");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    drop(reading);
    control("start");
    assert_eq!(read(&mut source, &split).unwrap().1.len(), 32 << 20);
    // A connection that nobody uses may end: that is noticed at once, or by the next piece of work.
    control("stop");
    control("start");
    let again = read(&mut source, &split).or_else(|error| {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        read(&mut source, &split)
    });
    assert_eq!(again.unwrap().1.len(), 32 << 20);
}
