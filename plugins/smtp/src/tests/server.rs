use super::*;

fn refused(config: Value) -> Error {
    let sent = deliver(&Host::new(), config.clone(), vec![people(&["Ann"])], vec![]).unwrap_err();
    if let Ok(mut sink) = Host::new().open::<SmtpSink>(config) {
        let checked = sink.check().unwrap_err();
        assert_eq!((checked.kind, &checked.message), (sent.kind, &sent.message), "a check says the same");
    }
    assert!(sent.hint.is_some(), "{sent}");
    sent
}

fn port(name: &str) -> u16 {
    environment(name).parse().unwrap()
}

#[test]
fn mail_goes_by_each_kind_of_encryption() {
    let mailboxes = Mailboxes::new("kinds");
    let secure = mailboxes.with(json!({"encryption": "tls", "port": port("ENGINE_TEST_SMTP_TLS_PORT")}));
    let mut open = mailboxes.with(json!({"encryption": "none", "port": port("ENGINE_TEST_SMTP_OPEN_PORT")}));
    open.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "username" | "password"));
    for config in [secure, open, mailboxes.with(json!({}))] {
        let mut sink: SmtpSink = Host::new().open(config.clone()).unwrap();
        assert!(sink.check().unwrap().summary.contains("answers"));
        deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap();
    }
    assert_eq!(mailboxes.taken().len(), 3);
}

#[test]
fn nothing_goes_to_a_server_that_is_not_who_it_should_be() {
    let mailboxes = Mailboxes::new("trust");
    let ca = environment("ENGINE_TEST_SMTP_WRONG_CA");
    let tls = json!({"encryption": "tls", "port": port("ENGINE_TEST_SMTP_TLS_PORT"), "ca": ca});
    for more in [json!({"ca": ca}), tls] {
        let error = refused(mailboxes.with(more));
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains("no verified TLS"), "{error}");
    }
    let error = refused(mailboxes.with(json!({"host": "127.0.0.2"})));
    assert!(matches!(error.kind, ErrorKind::Denied | ErrorKind::Unavailable), "{error}");
    assert!(mailboxes.taken().is_empty());
}

#[test]
fn a_server_without_starttls_gets_nothing() {
    let mailboxes = Mailboxes::new("open");
    let error = refused(mailboxes.with(json!({"port": port("ENGINE_TEST_SMTP_OPEN_PORT")})));
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("offers no STARTTLS"), "{error}");
    assert!(mailboxes.taken().is_empty());
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let mailboxes = Mailboxes::new("password");
    let error = refused(mailboxes.with(json!({"password": "canary-4711"})));
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("refuses the login of `engine`"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    let error = refused(Mailboxes::new("away").with(json!({"port": 1})));
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let error = refused(Mailboxes::new("away").with(json!({"host": "nowhere.invalid"})));
    assert!(error.message.contains("nowhere.invalid"), "{error}");
}

#[test]
fn settings_that_cannot_be_meant_are_refused_at_once() {
    let mailboxes = Mailboxes::new("settings");
    for (more, says) in [
        (json!({"from": "nobody"}), "`from`: `nobody` is no mail address"),
        (json!({"to": ["a b"]}), "`to`: `a b` is no mail address"),
        (json!({"to": []}), "nobody receives anything"),
        (json!({"subject": "{{ recrod.name }}"}), "the template `subject` knows no `recrod`"),
        (json!({"html": "{{ record.name"}), "the template `html` cannot be filled in"),
        (json!({"password": null}), "`username` has no `password`"),
        (json!({"timeout": "0s"}), "`timeout` is 0"),
        (json!({"rows": 0}), "`rows` is 0"),
        (json!({"ca": "/nowhere.pem"}), "cannot be read"),
    ] {
        let error = Host::new().open::<SmtpSink>(mailboxes.with(more)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
    }
}
