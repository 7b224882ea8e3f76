//! Who the engine is to an API: logins that stand in every request, and those that are exchanged for a token.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine_sdk::minijinja::context;
use engine_sdk::prelude::*;
use engine_sdk::record_template::{Escape, RecordTemplate, Text};
use engine_sdk::types;
use indexmap::IndexMap;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::aws::Aws;
use crate::client::Api;
use crate::rules::{When, pointed};

/// A token is renewed this long before it ends, or earlier where it lives for a short time only.
const BEFORE: Duration = Duration::from_secs(60);
/// How much of the answer to a login is read.
const MOST_ANSWER: usize = 1 << 20;

/// How requests say who sends them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Login {
    /// A user and a password in every request.
    Basic(Basic),
    /// A token in every request: `Authorization: Bearer TOKEN`.
    Bearer(Secret),
    /// A key in every request.
    ApiKey(ApiKey),
    /// A token of an OAuth 2.0 server: for client credentials, or for a refresh token.
    Oauth2(OAuth2),
    /// A signature in every request, as AWS wants it.
    Aws(Aws),
    /// A token for which credentials are posted, as many APIs of their own have it.
    Session(SessionLogin),
}

/// A user and a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user.
    username: String,
    /// The password.
    password: Secret,
}

/// A key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The header that it stands in.
    #[serde(default)]
    header: Option<String>,
    /// Or the parameter of the address.
    #[serde(default)]
    query: Option<String>,
    /// The key.
    value: Secret,
}

/// Where a token comes from, and who wants it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// The server's token endpoint: `https://HOST/oauth/token`.
    token_url: String,
    /// The client.
    client_id: String,
    /// Its secret.
    #[serde(default)]
    client_secret: Option<Secret>,
    /// What it wants to do, separated by blanks.
    #[serde(default)]
    scope: Option<String>,
    /// Further parameters of the request, such as `audience`.
    #[serde(default)]
    parameters: IndexMap<String, Secret>,
    /// Asks with this token in the place of client credentials. A new one that the
    /// server gives out is kept and used from then on.
    #[serde(default)]
    refresh_token: Option<Secret>,
}

/// What is posted for a token, and where the token is used.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionLogin {
    /// Where credentials are posted: an address, or a path on the API's own server.
    url: String,
    /// What is posted, as a JSON object: `{ username: …, password: … }`.
    body: IndexMap<String, Secret>,
    /// A JSON Pointer to the token in the answer, such as `/data/token`.
    token_at: String,
    /// What must hold of the answer of a login that was taken. Unset: that there is
    /// a token.
    #[serde(default)]
    success: Option<When>,
    /// How long a token lives. Unset: until the API refuses it.
    #[serde(default)]
    lifetime: Option<types::Duration>,
    /// The header that the token stands in.
    #[serde(default = "default_header")]
    header: String,
    /// What stands in the header.
    #[serde(default = "default_value")]
    value: RecordTemplate,
}

fn default_header() -> String {
    "authorization".into()
}

fn default_value() -> RecordTemplate {
    "Bearer {{ token }}".into()
}

impl Login {
    /// What no message shows, besides what [`Login::add_to`] puts into headers and addresses: servers send it back
    /// without what stands around it.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Basic(basic) => vec![basic.password.reveal()],
            Self::Bearer(token) => vec![token.reveal()],
            Self::ApiKey(key) => vec![key.value.reveal()],
            Self::Oauth2(_) | Self::Aws(_) | Self::Session(_) => vec![],
        }
    }

    /// Adds what stands in every request, where the login is that.
    pub fn add_to(&self, headers: &mut IndexMap<String, Secret>, query: &mut IndexMap<String, Secret>) -> Result<()> {
        let (map, what, name, value) = match self {
            Self::Basic(Basic { username, password }) => {
                if username.contains(':') {
                    return Err(Error::config("the `username` of `login.basic` holds a `:`, which ends it")
                        .hint("leave it out"));
                }
                let value = format!("Basic {}", base64(format!("{username}:{}", password.reveal()).as_bytes()));
                (headers, "headers", "authorization", Secret::new(value))
            }
            Self::Bearer(token) => {
                (headers, "headers", "authorization", Secret::new(format!("Bearer {}", token.reveal())))
            }
            Self::ApiKey(ApiKey { header: Some(name), query: None, value }) => {
                (headers, "headers", name.as_str(), value.clone())
            }
            Self::ApiKey(ApiKey { header: None, query: Some(name), value }) => {
                (query, "query", name.as_str(), value.clone())
            }
            Self::ApiKey(_) => {
                return Err(Error::config("`login.api_key` stands in a header or in the address")
                    .hint("name one of `header` and `query`"));
            }
            Self::Oauth2(_) | Self::Aws(_) | Self::Session(_) => return Ok(()),
        };
        if map.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Error::config(format!("`{name}` stands in `login` and in `{what}`")).hint("remove one of them"));
        }
        map.insert(name.to_owned(), value);
        Ok(())
    }
}

/// A login that is exchanged for a token, and the token.
pub struct Session {
    url: Url,
    ask: Ask,
    token_at: String,
    success: Option<When>,
    /// How long a token lives, where the answer does not say it.
    lifetime: Option<Duration>,
    header: HeaderName,
    value: Text,
    /// Who logs in, for the record.
    who: String,
    /// What tells this login from one with other settings.
    mark: String,
    /// One renewal at a time: who waits for it gets its token, or why there is none.
    token: Mutex<(Kept, Option<(Instant, Error)>)>,
}

/// How a token is asked for.
enum Ask {
    Json(IndexMap<String, Secret>),
    /// The parameters of a form but for the grant; and the refresh token that the settings have.
    Form(Vec<(String, String)>, Option<Secret>),
}

/// What is there of a login. It is remembered from run to run.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Kept {
    login: String,
    token: Option<String>,
    /// Seconds since 1970 until which it is good.
    #[serde(default)]
    until: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    who: String,
    /// Seconds since 1970 at which it was given.
    #[serde(default)]
    at: u64,
}

/// What goes into a request.
pub struct Pass {
    pub header: HeaderName,
    pub value: HeaderValue,
    token: String,
}

impl Session {
    /// The login, if it is one of this kind, with the token that an earlier run has got.
    pub fn new(login: &Login, api: &Api, cx: &Context) -> Result<Option<Self>> {
        let (url, ask, token_at, success, lifetime, header, value, who) = match login {
            Login::Oauth2(it) => {
                let mut form = vec![("client_id".to_owned(), it.client_id.clone())];
                form.extend(it.client_secret.iter().map(|it| ("client_secret".to_owned(), it.reveal().to_owned())));
                form.extend(it.scope.iter().map(|it| ("scope".to_owned(), it.clone())));
                form.extend(it.parameters.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
                if it.refresh_token.is_none() && it.client_secret.is_none() {
                    return Err(Error::config("`login.oauth2` has neither `client_secret` nor `refresh_token`")
                        .hint("add one of them"));
                }
                let ask = Ask::Form(form, it.refresh_token.clone());
                let (header, value) = (default_header(), default_value());
                let who = it.client_id.clone();
                (&it.token_url, ask, "/access_token".to_owned(), None, None, header, value, who)
            }
            Login::Session(it) => {
                let names = ["username", "user", "email", "login", "client_id"];
                let who = names.iter().find_map(|name| it.body.get(*name));
                let who = who.map(|secret| secret.reveal().to_owned()).unwrap_or_default();
                let lifetime = it.lifetime.map(|lifetime| lifetime.0);
                let (header, value) = (it.header.clone(), it.value.clone());
                let ask = Ask::Json(it.body.clone());
                (&it.url, ask, it.token_at.clone(), it.success.clone(), lifetime, header, value, who)
            }
            Login::Basic(_) | Login::Bearer(_) | Login::ApiKey(_) | Login::Aws(_) => return Ok(None),
        };
        let pointers = [Some(token_at.as_str()), success.as_ref().and_then(When::place)];
        if let Some(wrong) = pointers.into_iter().flatten().find(|it| !it.is_empty() && !it.starts_with('/')) {
            return Err(Error::config(format!("`login.session` has `{wrong}`, which is no JSON Pointer"))
                .hint("begin it with `/`, such as `/data/token`"));
        }
        let header = HeaderName::try_from(header.as_str()).map_err(|_| {
            Error::config(format!("`login.session.header: {}` is no name of a header", header.escape_debug()))
                .hint("names are letters, digits and `-`")
        })?;
        if api.has_header(&header) {
            return Err(
                Error::config(format!("`{header}` stands in `login` and in `headers`")).hint("remove one of them")
            );
        }
        let url = api.join("login", url)?;
        let secrets: Vec<&str> = match &ask {
            Ask::Json(body) => body.values().map(Secret::reveal).collect(),
            Ask::Form(form, refresh) => {
                form.iter().map(|(_, value)| value.as_str()).chain(refresh.iter().map(Secret::reveal)).collect()
            }
        };
        // Who logs in, and for what, is no secret, and stands in messages.
        let shown = |secret: &&&str| match login {
            Login::Oauth2(it) => **secret == it.client_id || it.scope.as_deref() == Some(**secret),
            _ => **secret == who,
        };
        // Of a hash of passwords only as much as tells a changed one: too little to find one by trying.
        let mut digest = Sha256::new();
        for part in [url.as_str(), &token_at].into_iter().chain(secrets.iter().copied()) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mark = engine_sdk::hexadecimal::write(&digest.finalize()[..4]);
        secrets.iter().filter(|secret| !shown(secret)).for_each(|secret| api.keep_secret(secret));
        let kept: Kept = serde_json::from_value(cx.remembered().clone()).unwrap_or_default();
        let kept = if kept.login == mark { kept } else { Kept::default() };
        kept.token.iter().chain(&kept.refresh_token).for_each(|secret| api.keep_secret(secret));
        let value = value.compile("login.session.value", &["token"], Escape::Nothing)?;
        Ok(Some(Self {
            url,
            ask,
            token_at,
            success,
            lifetime,
            header,
            value,
            who,
            mark,
            token: Mutex::new((kept, None)),
        }))
    }

    /// What goes into a request. `refused`: the pass that the API has not taken; it is renewed, unless another
    /// request has done so meanwhile.
    pub async fn pass(&self, api: &Api, client: &Client, cx: &Context, refused: Option<&Pass>) -> Result<Pass> {
        let asked = Instant::now();
        let mut locked = self.token.lock().await;
        let (kept, failed) = &mut *locked;
        // A login that was refused while this one waited is not tried once more for each that waits.
        if let Some((at, error)) = failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        let now = seconds();
        let good = kept.token.as_ref().filter(|_| kept.until.is_none_or(|until| now < until));
        let token = match good.filter(|token| refused.is_none_or(|refused| refused.token != **token)) {
            Some(token) => token.clone(),
            None => match self.renew(kept, api, client, cx).await {
                Ok(token) => token,
                Err(error) => {
                    *failed = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            },
        };
        let text = self.value.fill(&context! { token => token.as_str() })?;
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::denied(format!("{} gave a token that no header can hold", Api::shown_of(&self.url)))
                .hint("check `token_at` of `login`")
        })?;
        value.set_sensitive(true);
        Ok(Pass { header: self.header.clone(), value, token })
    }

    async fn renew(&self, kept: &mut Kept, api: &Api, client: &Client, cx: &Context) -> Result<String> {
        let answer = self.ask(kept, api, client, cx).await?;
        let shown = Api::shown_of(&self.url);
        let at = |pointer: &str| pointed(&answer, pointer);
        let token = at(&self.token_at).filter(|_| self.success.as_ref().is_none_or(|it| it.holds_of(&answer)));
        // Whatever it is, it is not shown.
        let secrets = [self.token_at.as_str(), "/access_token", "/refresh_token", "/id_token", "/token", "/data/token"];
        secrets.into_iter().filter_map(at).for_each(|secret| api.keep_secret(&secret));
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            // An answer that is a success holds secrets where nobody looks for them: only what was asked for is told.
            let said = match self.success.as_ref().and_then(When::place) {
                Some(place) => format!("`{place}` is {}", at(place).unwrap_or_else(|| "nothing".into())),
                None => {
                    let names =
                        answer.as_object().map(|members| members.keys().map(|name| format!("`{name}`")).collect());
                    let names: Vec<String> = names.unwrap_or_default();
                    format!("there is no token at `{}`, only {}", self.token_at, names.join(", "))
                }
            };
            let said = crate::answer::shortened(&api.hide(crate::answer::clean(&said)));
            return Err(Error::denied(format!("{shown} took no login: {said}"))
                .hint("check user and password in `login`, and where it says that the token is"));
        };
        let lifetime = match &self.ask {
            Ask::Json(_) => self.lifetime,
            Ask::Form(..) => at("/expires_in").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        };
        let now = seconds();
        let until =
            lifetime.map(|lifetime| now.saturating_add(lifetime.saturating_sub(BEFORE.min(lifetime / 10)).as_secs()));
        let refresh_token = match &self.ask {
            // Whoever has credentials needs none.
            Ask::Json(_) | Ask::Form(_, None) => None,
            Ask::Form(_, Some(_)) => at("/refresh_token").or(kept.refresh_token.take()),
        };
        let (login, who) = (self.mark.clone(), self.who.clone());
        *kept = Kept { login, token: Some(token.clone()), until, refresh_token, who, at: now };
        let value = serde_json::to_value(&*kept)
            .map_err(|error| Error::internal(format!("a login cannot be remembered: {error}")))?;
        cx.remember(&value)?;
        cx.log(Level::Info, format!("logged in at {shown}"));
        Ok(token)
    }

    /// Posts what a token is given for; the answer.
    async fn ask(&self, kept: &Kept, api: &Api, client: &Client, cx: &Context) -> Result<Value> {
        let request = client.post(self.url.clone()).header(ACCEPT, "application/json");
        let request = match &self.ask {
            Ask::Json(body) => {
                let body: serde_json::Map<_, _> =
                    body.iter().map(|(name, value)| (name.clone(), value.reveal().into())).collect();
                request.header("content-type", "application/json").body(Value::Object(body).to_string())
            }
            Ask::Form(parameters, refresh) => {
                let refresh = refresh.as_ref().map(|first| kept.refresh_token.as_deref().unwrap_or(first.reveal()));
                if refresh.is_some() && !cx.remembers() {
                    return Err(Error::config(
                        "a refresh token may be used up by asking with it, and a new one would not be kept here",
                    )
                    .hint("run the pipeline: checks and previews do not log in this way"));
                }
                form(request, parameters, refresh)?
            }
        };
        let response = request.send().await.map_err(|error| api.unanswered(&self.url, &error))?;
        let (status, shown) = (response.status(), Api::shown_of(&self.url));
        let body = crate::answer::whole(&shown, response, MOST_ANSWER).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| {
                // It may be a token.
                Error::unavailable(format!("{shown} answered the login with something that is no JSON"))
                    .hint("is the address in `login` that of the login itself, and not of a page for people?")
            });
        }
        let said = crate::answer::shortened(&api.hide(crate::answer::clean(&String::from_utf8_lossy(&body))));
        let what = format!("{shown} answered the login with {status}: {said}");
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Error::rate_limited(what, Duration::from_secs(1)),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                Error::config(what).hint("check `url` of `login`")
            }
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => Error::unavailable(what),
            _ if status.is_redirection() => Error::config(what).hint("put the address that takes logins into `login`"),
            _ => Error::denied(what).hint("check the credentials in `login`"),
        })
    }
}

fn form(request: RequestBuilder, parameters: &[(String, String)], refresh: Option<&str>) -> Result<RequestBuilder> {
    let mut all = vec![("grant_type", if refresh.is_some() { "refresh_token" } else { "client_credentials" })];
    all.extend(refresh.map(|token| ("refresh_token", token)));
    all.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    // What stands behind the `?` of an address is written as forms are.
    let encoded = Url::parse_with_params("http://h", all)
        .map_err(|error| Error::internal(format!("a form cannot be written: {error}")))?;
    let body = encoded.query().unwrap_or_default().to_owned();
    Ok(request.header("content-type", "application/x-www-form-urlencoded").body(body))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn base64(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    engine_sdk::columns::write_base64(bytes, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
