//! Getting there: TLS, logins, servers that do not answer.

use super::*;

fn check(url: &str, more: serde_json::Value) -> Result<CheckReport> {
    let host = Host::new();
    let mut config = json!({"url": url, "query": "SELECT 1"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.open::<PostgresSource>(config)?.check()
}

#[test]
fn a_certificate_is_accepted_with_the_right_authority_and_name_only() {
    let url = setting("ENGINE_TEST_POSTGRES_URL").replace("127.0.0.1", "localhost");
    let (ca, wrong) = (setting("ENGINE_TEST_POSTGRES_CA"), setting("ENGINE_TEST_POSTGRES_WRONG_CA"));
    check(&url, json!({"tls": "verify", "ca": ca})).unwrap();
    for refused in [json!({"tls": "verify", "ca": wrong}), json!({"tls": "verify"})] {
        let error = check(&url, refused).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.hint.unwrap().contains("`ca`"));
    }
    // The server listens there too, under a name that its certificate does not have.
    let other = url.replace("localhost", "127.0.0.2");
    assert_eq!(check(&other, json!({"tls": "verify", "ca": ca})).unwrap_err().kind, ErrorKind::Denied);
    check(&other, json!({"tls": "disable"})).unwrap();
}

#[test]
fn an_authority_that_cannot_be_read_is_the_configurations_fault() {
    let url = setting("ENGINE_TEST_POSTGRES_URL");
    let error = check(&url, json!({"tls": "verify", "ca": "/nowhere/ca.pem"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("/nowhere/ca.pem"));
}

#[test]
fn a_wrong_password_is_denied_and_not_repeated() {
    let url = setting("ENGINE_TEST_POSTGRES_URL");
    let at = url.rfind('@').unwrap();
    let error = check(&format!("postgres://engine:hunter2{}", &url[at..]), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_database_that_is_not_there_is_the_configurations_fault() {
    let url = setting("ENGINE_TEST_POSTGRES_URL").replace("/engine_test", "/nowhere");
    assert_eq!(check(&url, json!({})).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_server_that_cannot_be_reached_is_unavailable() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = check(&format!("postgres://user:hunter2@127.0.0.1:{port}/x"), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!error.to_string().contains("hunter2"), "{error}");

    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://user@127.0.0.1:{port}/x");
    let error = check(&url, json!({"connect_timeout": "50ms"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("50ms"), "{error}");
}

#[test]
fn every_cause_has_words_that_say_what_to_do() {
    let url = setting("ENGINE_TEST_POSTGRES_URL");
    let (login, server) = url.split_at(url.rfind('@').unwrap());
    let database = &server[server.rfind('/').unwrap()..];
    // A port on which nothing listens any more, and a server that knows no TLS.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = plain.accept().unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        stream.write_all(b"N").unwrap();
    });
    for (url, more, kind, said) in [
        (
            format!("{login}@nowhere.invalid{database}"),
            json!({}),
            ErrorKind::Unavailable,
            "host named `nowhere.invalid`",
        ),
        (format!("{login}@{closed}{database}"), json!({}), ErrorKind::Unavailable, "nothing listens on that port"),
        (format!("{login}@{address}{database}"), json!({"tls": "verify"}), ErrorKind::Denied, "`tls: disable`"),
        (format!("{}x{server}", login), json!({}), ErrorKind::Denied, "check user, password"),
        (url.replace(database, "/no_such_database"), json!({}), ErrorKind::Config, "or create it"),
        (url.clone(), json!({"query": "SELECT 1 FROM no_such_table"}), ErrorKind::Config, "no_such_table"),
    ] {
        let error = check(&url, more).unwrap_err();
        let text = format!("{error} {}", error.hint.clone().unwrap_or_default());
        assert!(error.kind == kind && text.contains(said), "{said}: {text}");
    }
    answering.join().unwrap();
}
