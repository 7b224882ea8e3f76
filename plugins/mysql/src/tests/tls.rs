//! Getting there: TLS, logins, servers that do not answer.

use super::*;

fn check(url: &str, more: serde_json::Value) -> Result<CheckReport> {
    let host = Host::new();
    let mut config = json!({"url": url, "query": "SELECT 1 AS one"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.open::<MysqlSource>(config)?.check()
}

#[test]
fn a_certificate_is_accepted_with_the_right_authority_and_name_only() {
    let url = setting("ENGINE_TEST_MYSQL_URL").replace("127.0.0.1", "localhost");
    let (ca, wrong) = (setting("ENGINE_TEST_MYSQL_CA"), setting("ENGINE_TEST_MYSQL_WRONG_CA"));
    let report = check(&url, json!({"tls": "verify", "ca": ca})).unwrap();
    assert!(report.summary.starts_with("MariaDB 10."), "{}", report.summary);
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
fn a_connection_is_protected_unless_it_is_asked_not_to_be() {
    let host = Host::new();
    let cipher = |more: serde_json::Value| {
        let query =
            "SELECT VARIABLE_VALUE AS cipher FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'";
        let mut config = json!({"url": setting("ENGINE_TEST_MYSQL_URL"), "query": query});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        texts(&read(&mut host.open(config).unwrap()).unwrap(), "cipher").remove(0)
    };
    assert!(cipher(json!({})).starts_with("TLS_"));
    assert!(cipher(json!({"tls": "verify", "ca": setting("ENGINE_TEST_MYSQL_CA")})).starts_with("TLS_"));
    assert_eq!(cipher(json!({"tls": "disable"})), "");
}

#[test]
fn an_authority_that_cannot_be_read_is_the_configurations_fault() {
    let url = setting("ENGINE_TEST_MYSQL_URL");
    let error = check(&url, json!({"tls": "verify", "ca": "/nowhere/ca.pem"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("/nowhere/ca.pem"));
}

#[test]
fn a_wrong_password_is_denied_and_not_repeated() {
    let url = setting("ENGINE_TEST_MYSQL_URL");
    let at = url.rfind('@').unwrap();
    let error = check(&format!("mysql://engine:hunter2{}", &url[at..]), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.hint.unwrap().contains("password"));
}

#[test]
fn a_database_that_is_not_there_is_the_configurations_fault() {
    let url = setting("ENGINE_TEST_MYSQL_URL").replace("/engine_test", "/nowhere");
    let error = check(&url, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.hint.unwrap().contains("database in `url`"));
}

#[test]
fn a_server_that_cannot_be_reached_is_unavailable() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = check(&format!("mysql://user:hunter2@127.0.0.1:{port}/x"), json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.hint.unwrap().contains("port"));

    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("mysql://user@127.0.0.1:{port}/x");
    let error = check(&url, json!({"connect_timeout": "50ms"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("50ms"), "{error}");
}

#[test]
fn a_host_that_nobody_knows_is_told_by_its_name() {
    let error = check("mysql://user:hunter2@nowhere.invalid/x", json!({"tls": "disable"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("nowhere.invalid"), "{error}");
    assert!(error.hint.unwrap().contains("host in `url`"));
}
