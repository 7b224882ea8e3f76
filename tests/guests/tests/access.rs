//! A guest reaches what its stage grants, and nothing else; what it was refused
//! is told with what to add.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::StringArray;
use engine_abi::message::{Limits, OpenRequest, Permissions, Sandbox, Split};
use engine_abi::{ComponentKind, Error, ErrorKind, Result};
use engine_author::Language;
use engine_conformance::Recorder;
use engine_guest_tests::probe_module;
use engine_host::{Host, Modules};
use serde_json::{Value, json};

const BOTH: [Language; 2] = [Language::Python, Language::JavaScript];

/// Reads what the probe found, one text a try.
fn probe(language: Language, config: Value, permissions: Permissions, deadline_ms: u64) -> Result<Vec<Option<String>>> {
    let component = Modules::from_file(&probe_module(language))?.component(ComponentKind::Source, "probe")?;
    let request = OpenRequest { config, pipeline: "probe".into(), stage: "source".into(), ..OpenRequest::default() };
    let sandbox = Sandbox { permissions, limits: Limits { deadline_ms, ..Limits::default() } };
    let mut instance = component.open(&request, &sandbox, Arc::new(Recorder::default()) as Arc<dyn Host>)?;
    let plan = instance.plan(&Default::default())?;
    let split = plan.splits.first().cloned().unwrap_or_else(|| Split::new("0", json!({})).expect("it is JSON"));
    let mut found = Vec::new();
    for batch in instance.read(&split)? {
        let batch = batch?;
        let texts = batch.column(1).as_any().downcast_ref::<StringArray>().expect("it is text");
        found.extend(texts.iter().map(|text| text.map(ToOwned::to_owned)));
    }
    Ok(found)
}

/// Long enough for a Python to start.
const PATIENT: u64 = 20_000;

fn hosts(hosts: &[String]) -> Permissions {
    Permissions { hosts: hosts.to_vec(), ..Permissions::default() }
}

/// A server that answers `/hello`, sends `/away` elsewhere, never ends `/endless` and never begins `/silent`.
fn server(elsewhere: Option<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, elsewhere));
        }
    });
    address
}

fn answer(mut stream: TcpStream, elsewhere: Option<SocketAddr>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    match first.split(' ').nth(1).unwrap_or_default() {
        "/hello" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        "/away" => {
            let to = elsewhere.expect("the test says where");
            write!(stream, "HTTP/1.1 302 Found\r\nlocation: http://{to}/hello\r\ncontent-length: 0\r\n\r\n")
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            // Until the guest is gone.
            while stream.write_all(b"4\r\nmore\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        _ => {
            // Until the guest is gone.
            let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
            Ok(())
        }
    }
}

fn denied(result: Result<Vec<Option<String>>>, add: &str) -> Error {
    let error = result.expect_err("it was not granted");
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    let hint = error.hint.clone().unwrap_or_default();
    assert!(hint.contains(add), "{error}");
    error
}

#[test]
fn a_host_is_reached_when_it_is_granted_and_named_when_it_is_not() {
    let address = server(None);
    let rule = format!("http://{address}");
    for language in BOTH {
        let fetch = || json!({"fetch": format!("{rule}/hello")});
        let found = probe(language, fetch(), hosts(std::slice::from_ref(&rule)), PATIENT).unwrap();
        assert!(found[0].as_ref().unwrap().starts_with("200 "), "{found:?}");
        let error = denied(probe(language, fetch(), Permissions::default(), PATIENT), &format!("hosts: [\"{rule}\"]"));
        assert!(error.message.contains(&rule) && error.message.contains("source `probe`"), "{error}");
    }
}

#[test]
fn a_name_of_a_private_address_needs_the_network_too() {
    let address = server(None);
    let rule = format!("http://localhost:{}", address.port());
    for language in BOTH {
        let fetch = || json!({"fetch": format!("{rule}/hello")});
        let named = hosts(std::slice::from_ref(&rule));
        denied(probe(language, fetch(), named.clone(), PATIENT), "networks: [");
        let networks = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
        let found = probe(language, fetch(), Permissions { networks, ..named }, PATIENT).unwrap();
        assert!(found[0].as_ref().unwrap().starts_with("200 "), "{found:?}");
    }
}

#[test]
fn a_redirect_leads_to_no_host_that_is_not_granted() {
    let other = server(None);
    let address = server(Some(other));
    let rule = format!("http://{address}");
    for language in BOTH {
        let fetch = json!({"fetch": format!("{rule}/away")});
        let followed = probe(language, fetch, hosts(std::slice::from_ref(&rule)), PATIENT);
        denied(followed, &format!("hosts: [\"http://{other}\"]"));
    }
}

#[test]
fn an_answer_without_an_end_and_one_that_never_begins_end_with_the_call() {
    let address = server(None);
    let rule = format!("http://{address}");
    for language in BOTH {
        for path in ["endless", "silent"] {
            let fetch = json!({"fetch": format!("{rule}/{path}")});
            // Warm, so that the deadline is spent on the answer.
            let began = Instant::now();
            let error = probe(language, fetch, hosts(std::slice::from_ref(&rule)), 1_500).unwrap_err();
            assert!(
                began.elapsed() < Duration::from_millis(1_500 * 3 + 2_000),
                "{path}: {:?} {error}",
                began.elapsed()
            );
            assert_ne!(error.kind, ErrorKind::Config, "{path}: {error}");
        }
    }
}

#[test]
fn a_request_that_is_written_and_never_sent_ends_with_the_call() {
    let began = Instant::now();
    let error = probe(Language::Python, json!({"clog": "http://x"}), Permissions::default(), 1_500).unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(1_500 * 3 + 2_000), "{:?} {error}", began.elapsed());
    assert!(error.message.contains("did not come to the end of"), "{error}");
}

#[test]
fn what_a_call_got_along_without_is_not_the_cause_of_a_later_error() {
    for language in BOTH {
        let forgiving = json!({"forgive": "http://192.0.2.1"});
        let error = probe(language, forgiving, Permissions::default(), PATIENT).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.message.contains("the other service is down"), "{error}");
    }
}

#[test]
fn the_environment_holds_what_is_granted_and_nothing_else() {
    for language in BOTH {
        let config = || json!({"environment": "API_TOKEN"});
        // Whatever the engine's own environment has.
        let hidden = probe(language, json!({"environment": "PATH"}), Permissions::default(), PATIENT).unwrap();
        assert_eq!(hidden, [None]);
        let environment = BTreeMap::from([("API_TOKEN".to_owned(), "t0ken".to_owned())]);
        let found = probe(language, config(), Permissions { environment, ..Permissions::default() }, PATIENT).unwrap();
        assert_eq!(found, [Some("t0ken".to_owned())]);
    }
}

#[test]
fn folders_are_there_as_granted() {
    for language in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let (inside, new) = (folder.path().join("in.txt"), folder.path().join("new.txt"));
        std::fs::write(&inside, "inside").unwrap();
        let read = || json!({"read": inside});
        let write = || json!({"write": new});
        let granted = |write: bool| {
            let folders = vec![folder.path().display().to_string()];
            match write {
                true => Permissions { write: folders, ..Permissions::default() },
                false => Permissions { read: folders, ..Permissions::default() },
            }
        };
        let refused = probe(language, read(), Permissions::default(), PATIENT).unwrap_err();
        assert!(refused.message.contains("in.txt"), "{refused}");
        assert_eq!(probe(language, read(), granted(false), PATIENT).unwrap(), [Some("inside".to_owned())]);
        assert!(probe(language, write(), granted(false), PATIENT).is_err());
        assert!(!new.exists());
        assert!(probe(language, write(), granted(true), PATIENT).is_ok());
        assert_eq!(std::fs::read_to_string(&new).unwrap(), "hostile\n");
        let outside = json!({"read": folder.path().join("../../etc/passwd")});
        assert!(probe(language, outside, granted(true), PATIENT).is_err());
        // A link is followed within what is granted, and not out of it.
        let (secret, link) = (tempfile::NamedTempFile::new().unwrap(), folder.path().join("link.txt"));
        std::os::unix::fs::symlink(secret.path(), &link).unwrap();
        assert!(probe(language, json!({"read": link}), granted(true), PATIENT).is_err());
    }
}
