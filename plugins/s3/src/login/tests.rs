use engine_test_tools::http::{Answer, Request, Server};

use super::*;
use crate::background::Background;

const ROLE: &str = r#"{"Code": "Success", "AccessKeyId": "ROLE", "SecretAccessKey": "s3cret", "Token": "t0ken",
                      "Expiration": "2099-01-01T00:00:00Z"}"#;

fn login(variables: Variables) -> Login {
    Login { variables, ..Login::new(None, None, None).unwrap() }
}

/// Whose keys are found: id, secret, token.
fn found(login: &std::sync::Arc<Login>) -> Result<(String, String, Option<String>)> {
    let login = std::sync::Arc::clone(login);
    let identity = Background::new()?.take_back(Duration::from_secs(30), async move { login.identity().await })?;
    let keys = identity.data::<Credentials>().unwrap();
    let (id, secret) = (keys.access_key_id().to_owned(), keys.secret_access_key().to_owned());
    Ok((id, secret, keys.session_token().map(str::to_owned)))
}

/// The variables of one test: they are looked up by a function, which can hold nothing.
macro_rules! variables {
    ($($name:literal => $value:expr),* $(,)?) => {{
        static VALUES: std::sync::OnceLock<Vec<(&str, String)>> = std::sync::OnceLock::new();
        VALUES.get_or_init(|| vec![$(($name, $value.to_string())),*]);
        |name| VALUES.get()?.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }};
}

#[test]
fn keys_come_from_the_environment_before_anything_else() {
    let all = std::sync::Arc::new(login(variables! {
        "AWS_ACCESS_KEY_ID" => "ID", "AWS_SECRET_ACCESS_KEY" => "SECRET", "AWS_SESSION_TOKEN" => "TOKEN",
        "AWS_PROFILE" => "nobody",
    }));
    assert_eq!(found(&all).unwrap(), ("ID".into(), "SECRET".into(), Some("TOKEN".into())));
}

#[test]
fn keys_come_from_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let text =
        "# mine\n[default]\naws_access_key_id=A\naws_secret_access_key = B=\n\n[ other ]\naws_access_key_id = C\n";
    std::fs::write(&path, text).unwrap();
    let path = path.display();
    let default = std::sync::Arc::new(login(variables! { "AWS_SHARED_CREDENTIALS_FILE" => path }));
    assert_eq!(found(&default).unwrap(), ("A".into(), "B=".into(), None));
    let half = std::sync::Arc::new(login(variables! {
        "AWS_SHARED_CREDENTIALS_FILE" => path, "AWS_PROFILE" => "other",
    }));
    let error = found(&half).unwrap_err();
    assert!(error.kind == ErrorKind::Config && error.message.contains("`other`"), "{error}");
}

#[test]
fn keys_come_from_the_container_and_are_kept_while_they_are_good() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let server = Server::start(move |request: Request| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match request.header("authorization") {
            Some("a token") => Answer::text(200, ROLE),
            _ => Answer::status(401),
        }
    });
    let address = server.url();
    let login = std::sync::Arc::new(login(variables! {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => address, "AWS_CONTAINER_AUTHORIZATION_TOKEN" => "a token",
    }));
    for _ in 0..2 {
        assert_eq!(found(&login).unwrap(), ("ROLE".into(), "s3cret".into(), Some("t0ken".into())));
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn keys_are_asked_of_no_other_machine_in_the_clear() {
    let elsewhere = login(variables! { "AWS_CONTAINER_CREDENTIALS_FULL_URI" => "http://203.0.113.1/keys" });
    assert_eq!(found(&std::sync::Arc::new(elsewhere)).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn keys_come_from_the_role_of_the_machine() {
    let server = Server::start(move |request: Request| {
        let has_token = request.header("x-aws-ec2-metadata-token") == Some("a token");
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => Answer::text(200, "a token"),
            ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => Answer::text(200, "engine\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/engine") if has_token => Answer::text(200, ROLE),
            _ => Answer::status(401),
        }
    });
    let address = server.url();
    let role = std::sync::Arc::new(login(variables! { "AWS_EC2_METADATA_SERVICE_ENDPOINT" => address }));
    assert_eq!(found(&role).unwrap().0, "ROLE");
    let server = Server::start(|_: Request| Answer::status(404));
    let address = server.url();
    let none = std::sync::Arc::new(login(variables! { "AWS_EC2_METADATA_SERVICE_ENDPOINT" => address }));
    let error = found(&none).unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.hint.unwrap().contains("access_key"));
    let off = std::sync::Arc::new(login(variables! { "AWS_EC2_METADATA_DISABLED" => "true" }));
    assert_eq!(found(&off).unwrap_err().kind, ErrorKind::Denied);
}

#[test]
fn a_machine_that_has_a_role_and_does_not_tell_it_is_asked_again() {
    let server = Server::start(|_: Request| Answer::status(503));
    let address = server.url();
    let role = std::sync::Arc::new(login(variables! { "AWS_EC2_METADATA_SERVICE_ENDPOINT" => address }));
    assert_eq!(found(&role).unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn keys_are_used_as_long_as_they_are_good_where_there_are_no_new_ones() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let soon = (chrono::Utc::now() + chrono::TimeDelta::seconds(60)).to_rfc3339();
    let server = Server::start(move |_: Request| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Answer::text(200, &ROLE.replace("2099-01-01T00:00:00Z", &soon)),
        _ => Answer::status(503),
    });
    let address = server.url();
    let login = std::sync::Arc::new(login(variables! { "AWS_CONTAINER_CREDENTIALS_FULL_URI" => address }));
    for _ in 0..2 {
        assert_eq!(found(&login).unwrap().0, "ROLE");
    }
}

#[test]
fn keys_of_the_settings_are_two() {
    let (id, secret) = (Secret::new("ID"), Secret::new("SECRET"));
    for (id, secret, token) in [
        (Some(&id), None, None),
        (None, Some(&secret), None),
        (None, None, Some(&secret)),
        (Some(&id), None, Some(&id)),
    ] {
        assert!(Login::new(id, secret, token).err().unwrap().hint.is_some());
    }
    let both = std::sync::Arc::new(Login::new(Some(&id), Some(&secret), None).unwrap());
    assert_eq!(found(&both).unwrap(), ("ID".into(), "SECRET".into(), None));
}
