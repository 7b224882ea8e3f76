use super::*;
use crate::source::HttpSource;

const SECRET: &str = "canary-password";

/// An API whose tokens have numbers: the one with the number `good` is taken.
fn tokens(good: impl Fn(usize) -> usize + Send + Sync + 'static) -> Api {
    let logins = Arc::new(Mutex::new(0));
    Api::start(move |request, number| {
        let mut logins = logins.lock().unwrap();
        if request.path == "/login" {
            *logins += 1;
            let body = String::from_utf8(request.body.clone()).unwrap();
            if !body.contains(SECRET) {
                return Answer::text(200, r#"{"errorCode": "WRONG", "data": {"token": "none"}}"#);
            }
            let token = json!({"errorCode": "NO_ERROR", "data": {"token": format!("token-{logins}")}, "access_token": format!("token-{logins}"), "expires_in": 3600});
            return Answer::text(200, &token.to_string());
        }
        let wanted = format!("Bearer token-{}", good(number));
        if request.header("authorization") == Some(&wanted) { Answer::text(200, "[]") } else { Answer::status(401) }
    })
}

fn session(more: Value) -> Value {
    let mut login = json!({
        "url": "/login", "body": {"username": "ann", "password": SECRET}, "token_at": "/data/token",
        "success": {"at": "/errorCode", "equals": "NO_ERROR"},
    });
    login.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"login": {"session": login}, "records_at": ""})
}

fn read(host: &Host, config: Value) -> Result<()> {
    let mut source: HttpSource = host.open(config)?;
    let plan = source.plan(&PlanRequest::default())?;
    source.read(&plan.splits[0])?.try_for_each(|batch| batch.map(drop))
}

fn logins(api: &Api) -> usize {
    api.seen().iter().filter(|request| request.path == "/login").count()
}

#[test]
fn logins_that_stand_in_every_request() {
    for (login, header, value) in [
        (json!({"basic": {"username": "ann", "password": "pa:ss"}}), "authorization", "Basic YW5uOnBhOnNz"),
        (json!({"bearer": "abc-def"}), "authorization", "Bearer abc-def"),
        (json!({"api_key": {"header": "X-Key", "value": "k-1"}}), "x-key", "k-1"),
    ] {
        let api = Api::start(|_, _| Answer::text(200, "[]"));
        read(&Host::new(), api.with(json!({"login": login}))).unwrap();
        assert_eq!(api.seen()[0].header(header), Some(value));
    }
    let api = Api::start(|_, _| Answer::text(200, "[]"));
    read(&Host::new(), api.with(json!({"login": {"api_key": {"query": "key", "value": "k 1"}}}))).unwrap();
    assert_eq!(api.seen()[0].path, "/calls?key=k+1");
}

#[test]
fn a_token_is_kept_for_later_runs_until_other_credentials_are_used() {
    let api = tokens(|_| 1);
    let host = Host::new();
    let config = api.with(session(json!({"lifetime": "2h"})));
    read(&host, config.clone()).unwrap();
    read(&host, config.clone()).unwrap();
    assert_eq!(logins(&api), 1);
    let kept = host.remembered();
    assert_eq!((&kept["token"], &kept["who"]), (&json!("token-1"), &json!("ann")));
    assert!(kept["at"].as_u64().unwrap() > 0 && kept["until"].as_u64().unwrap() > kept["at"].as_u64().unwrap());
    assert!(!kept.to_string().contains(SECRET), "{kept}");
    assert!(!format!("{:?}", host.log()).contains("token-1"), "{:?}", host.log());
    let mut other = config;
    other["login"]["session"]["body"]["username"] = json!("bob");
    read(&host, other).unwrap_err();
    assert!(logins(&api) > 1, "the token of another user is not used");
}

#[test]
fn a_token_that_is_not_taken_is_renewed_and_at_most_twice() {
    // The first token is refused in the middle of the pages.
    let api = tokens(|number| if number < 2 { 1 } else { 2 });
    let host = Host::new();
    let config = api.with(session(json!({})));
    read(&host, config.clone()).unwrap();
    read(&host, config).unwrap();
    assert_eq!(logins(&api), 2);
    assert_eq!(host.remembered()["token"], "token-2");
    let never = tokens(|_| 0);
    let error = read(&Host::new(), never.with(session(json!({})))).unwrap_err();
    assert_eq!((error.kind, logins(&never)), (ErrorKind::Denied, 3), "{error}");
}

#[test]
fn a_token_whose_time_is_over_is_renewed_before_it_is_used() {
    let api = tokens(|_| 2);
    let host = Host::new();
    let config = api.with(session(json!({"lifetime": "2h"})));
    read(&host, config.clone()).unwrap();
    assert_eq!(logins(&api), 2);
    let mut kept = host.remembered();
    kept["until"] = json!(1);
    host.remember(kept);
    let before = api.seen().len();
    let _ = read(&host, config);
    assert_eq!(api.seen()[before].path, "/login");
}

#[test]
fn a_refused_login_is_told_without_what_was_said() {
    let api = tokens(|_| 1);
    let mut config = api.with(session(json!({})));
    config["login"]["session"]["body"]["password"] = json!("canary-wrong");
    let error = read(&Host::new(), config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("WRONG") && error.message.contains("/login"), "{error}");
    for (status, kind) in
        [(401, ErrorKind::Denied), (400, ErrorKind::Denied), (500, ErrorKind::Unavailable), (404, ErrorKind::Config)]
    {
        // Servers have been seen to send back what they got.
        let api = Api::start(move |request, _| Answer::Send(status, vec![], request.body.clone()));
        let error = read(&Host::new(), api.with(session(json!({})))).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
}

#[test]
fn the_header_and_what_stands_in_it_can_be_others() {
    let api = Api::start(|request, _| match request.path.as_str() {
        "/login" => Answer::text(200, r#"{"id": 77}"#),
        _ if request.header("x-session") == Some("id=77") => Answer::text(200, "[]"),
        _ => Answer::status(401),
    });
    let config = json!({
        "login": {"session": {
            "url": "/login", "body": {"user": "ann"}, "token_at": "/id", "header": "X-Session", "value": "id={{ token }}",
        }},
    });
    read(&Host::new(), api.with(config)).unwrap();
}

#[test]
fn oauth_asks_with_client_credentials_and_keeps_a_new_refresh_token() {
    let api = tokens(|_| 1);
    let url = format!("{}/login", api.server.url());
    let oauth = json!({"token_url": url, "client_id": "me", "client_secret": SECRET, "scope": "read all"});
    let host = Host::new();
    read(&host, api.with(json!({"login": {"oauth2": oauth}, "headers": {"X-Api": "canary-header"}}))).unwrap();
    let asked = &api.seen()[0];
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        format!("grant_type=client_credentials&client_id=me&client_secret={SECRET}&scope=read+all")
    );
    assert_eq!(asked.header("x-api"), None, "who gives out tokens gets no header of the API");
    assert!(host.remembered()["until"].as_u64().unwrap() > 0);

    // Each refresh token can be used once.
    let given = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&given);
    let api = Api::start(move |request, _| {
        if request.path != "/token" {
            return Answer::text(200, "[]");
        }
        let body = String::from_utf8(request.body.clone()).unwrap();
        let mut seen = seen.lock().unwrap();
        seen.push(body);
        Answer::text(
            200,
            &json!({"access_token": "a", "expires_in": 0, "refresh_token": format!("r{}", seen.len())}).to_string(),
        )
    });
    let oauth = json!({"token_url": "/token", "client_id": "me", "refresh_token": "r0"});
    let host = Host::new();
    for _ in 0..3 {
        read(&host, api.with(json!({"login": {"oauth2": oauth}}))).unwrap();
    }
    let used = |number: usize| format!("grant_type=refresh_token&refresh_token=r{number}&client_id=me");
    assert_eq!(*given.lock().unwrap(), [used(0), used(1), used(2)]);
}

#[test]
fn requests_at_the_same_time_wait_for_one_renewal() {
    // All of the first requests are refused, the later ones are not.
    let api = tokens(|_| 2);
    let host = Host::new();
    let mut config = api.with(json!({"concurrency": 8}));
    config["login"] = session(json!({}))["login"].clone();
    let receipt = deliver(&host, config, vec![calls(0..32)], vec![]).unwrap();
    assert_eq!((receipt.rows, logins(&api)), (32, 2));
    let keys: Vec<_> = api.seen().iter().filter_map(|it| it.header("idempotency-key").map(str::to_owned)).collect();
    let different: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(different.len(), 32, "a request that is sent again has the same key");
}

#[test]
fn requests_are_signed_as_they_are_sent() {
    let api = Api::taking();
    let aws = json!({
        "region": "eu-west-1", "service": "execute-api", "access_key_id": "AKID", "secret_access_key": SECRET,
        "session_token": "canary-session",
    });
    deliver(&Host::new(), api.with(json!({"login": {"aws": aws}})), vec![calls([1])], vec![]).unwrap();
    let seen = &api.seen()[0];
    let authorization = seen.header("authorization").unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
    assert!(authorization.contains("host;") && authorization.contains("x-amz-date"), "{authorization}");
    assert_eq!(seen.header("x-amz-security-token"), Some("canary-session"));
}

#[test]
fn no_token_is_shown_wherever_a_server_puts_it() {
    const TOKEN: &str = "canary-token-9";
    for (answer, more) in [
        (json!({"errorCode": "NO_ERROR", "data": {"jwt": TOKEN}}), json!({})),
        (json!({"errorCode": "LOCKED", "data": {"token": TOKEN}}), json!({})),
        (json!({"errorCode": TOKEN, "data": {"token": TOKEN}}), json!({})),
        (json!({"token": TOKEN}), json!({"success": null})),
    ] {
        let api = Api::start(move |_, _| Answer::text(200, &answer.to_string()));
        let error = read(&Host::new(), api.with(session(more))).unwrap_err();
        assert!(error.kind == ErrorKind::Denied && !format!("{error:?}").contains(TOKEN), "{error:?}");
    }
    let api = Api::start(|_, _| Answer::text(200, &format!("access_token={TOKEN}")));
    let error = read(&Host::new(), api.with(session(json!({})))).unwrap_err();
    assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
    // Sent back without what stood around it.
    for login in [json!({"bearer": TOKEN}), json!({"basic": {"username": "ann", "password": TOKEN}})] {
        let api = Api::start(|_, _| Answer::text(403, &format!("not you: {TOKEN}")));
        let error = read(&Host::new(), api.with(json!({"login": login}))).unwrap_err();
        assert!(error.message.contains("not you") && !error.message.contains(TOKEN), "{error}");
    }
}

#[test]
fn a_refused_login_is_not_tried_for_each_request_that_waits() {
    let api = Api::start(|_, _| Answer::status(401));
    let mut config = api.with(json!({"concurrency": 16}));
    config["login"] = session(json!({}))["login"].clone();
    let error = deliver(&Host::new(), config, vec![calls(0..64)], vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(logins(&api) <= 2, "{} logins", logins(&api));
}

#[test]
fn credentials_go_on_to_be_used_where_the_server_gives_a_refresh_token_too() {
    let given = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&given);
    let api = Api::start(move |request, _| {
        if request.path != "/token" {
            return Answer::text(200, "[]");
        }
        seen.lock().unwrap().push(String::from_utf8(request.body.clone()).unwrap());
        Answer::text(200, r#"{"access_token": "a", "expires_in": 0, "refresh_token": "r"}"#)
    });
    let oauth = json!({"token_url": "/token", "client_id": "me", "client_secret": SECRET});
    let host = Host::new();
    for _ in 0..2 {
        read(&host, api.with(json!({"login": {"oauth2": oauth}}))).unwrap();
    }
    let asked = given.lock().unwrap();
    assert!(asked.iter().all(|body| body.starts_with("grant_type=client_credentials")), "{asked:?}");
}
