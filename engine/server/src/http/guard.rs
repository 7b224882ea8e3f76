//! Who gets in: the name that was asked for, where a request comes from, who sends it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Shared;
use super::answer::Problem;
use super::listen::LARGEST_HEAD;
use super::mask;
use crate::tokens::Role;
use crate::web;

/// The cookie of somebody who has logged in: his token.
pub(crate) const COOKIE: &str = "engine_token";
/// What anybody may see who reaches the address.
const OPEN: [&str; 5] = ["/health", "/ui/login", "/ui/style.css", "/ui/script.js", "/ui/icon.svg"];
/// What somebody may ask for who may else only look.
const LOG_OUT: &str = "/ui/logout";
/// The most that an answer has; longer ones are cut into pages.
const LARGEST_ANSWER: usize = 64 << 20;

/// Somebody who got in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) role: Role,
    /// Whose token it was; nobody's where none is needed.
    pub(crate) name: Option<String>,
    /// What the forms of his pages carry.
    pub(crate) form_key: String,
}

/// Which names the service is asked for by.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    listen: SocketAddr,
    named: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(listen: SocketAddr, named: &[String]) -> Self {
        Self { listen, named: named.iter().map(|name| name.to_lowercase()).collect() }
    }

    /// Whether a request for that host is for us. A name that nobody has told us may be anybody's, who had it lead
    /// here; an address cannot be led.
    fn know(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        if self.named.iter().any(|known| known == name || *known == host) {
            return true;
        }
        match name.parse::<IpAddr>() {
            Ok(address) => {
                let listens = self.listen.ip();
                address == listens || listens.is_unspecified() || (address.is_loopback() && listens.is_loopback())
            }
            Err(_) => name == "localhost",
        }
    }
}

/// Lets a request in, or says why not; and looks after what goes out.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let is_page = web::is_page(request.uri().path());
    let is_described = matches!(request.uri().path(), "/openapi.json" | "/docs");
    let answer = match admit(&shared, &request) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        // A person is asked for a token, a program is told.
        Err(problem) if is_page && problem.code == StatusCode::UNAUTHORIZED => {
            (StatusCode::SEE_OTHER, [(header::LOCATION, "/ui/login")]).into_response()
        }
        Err(problem) if is_page => web::refused(problem),
        Err(problem) => {
            let mut answer = problem.clone().into_response();
            if problem.code == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            answer
        }
    };
    finish(&shared, is_described, answer).await
}

fn admit(shared: &Shared, request: &Request) -> Result<Visitor, Problem> {
    let headers = request.headers();
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if length > LARGEST_HEAD {
        let message = format!("the headers have more than {} KiB", LARGEST_HEAD >> 10);
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", message));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let host = host.ok_or_else(|| Problem::bad_request("the request names no host"))?;
    if !shared.hosts.know(host) {
        let message =
            format!("this service is not known as `{host}`; start it with `--host {}` if it is", name_of(host));
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message));
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe && is_foreign(headers, host) {
        let message = "the request comes from a page of another site";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", message));
    }
    let visitor = who(shared, headers);
    let is_open = OPEN.contains(&request.uri().path());
    let is_open_to_readers = is_safe || is_open || request.uri().path() == LOG_OUT;
    let needed = if is_open_to_readers { Role::Read } else { Role::Operate };
    match visitor {
        Some(visitor) if visitor.role >= needed => Ok(visitor),
        Some(visitor) => {
            let name = visitor.name.unwrap_or_default();
            let message = format!("the token `{name}` may only look; this needs the role `operate`");
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message))
        }
        None if is_open => Ok(Visitor { role: Role::Read, name: None, form_key: String::new() }),
        None => {
            let message = "send a token: `Authorization: Bearer …`; `engine tokens add` makes one";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
        }
    }
}

fn name_of(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}

/// Whether a browser says that another site's page sends this.
fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    text("origin").is_some_and(|origin| {
        let own = origin.split_once("://").map(|(_, authority)| authority);
        !own.is_some_and(|own| own.eq_ignore_ascii_case(host))
    })
}

fn who(shared: &Shared, headers: &HeaderMap) -> Option<Visitor> {
    let secret = secret_of(headers);
    let tokens = shared.tokens();
    if tokens.list().is_empty() {
        // Nobody but this machine reaches it: without tokens the service listens nowhere else.
        return Some(Visitor { role: Role::Operate, name: None, form_key: form_key(shared, "") });
    }
    let secret = secret?;
    let token = tokens.find(&secret)?;
    Some(Visitor { role: token.role, name: Some(token.name.clone()), form_key: form_key(shared, &secret) })
}

/// The token of a request: of a program in a header, of a browser in a cookie.
fn secret_of(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, secret)) = header.and_then(|header| header.split_once(' ')) {
        return scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned());
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

/// What a form must carry: no other site's page can know it.
fn form_key(shared: &Shared, secret: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&shared.secret) else { return String::new() };
    mac.update(secret.as_bytes());
    engine_abi::hexadecimal::write(&mac.finalize().into_bytes())
}

impl Visitor {
    /// Whether a form is one of his own pages'.
    pub(crate) fn has_sent(&self, key: &str) -> bool {
        !self.form_key.is_empty() && bool::from(self.form_key.as_bytes().ct_eq(key.as_bytes()))
    }

    /// Whether he may do more than look.
    pub(crate) fn operates(&self) -> bool {
        self.role >= Role::Operate
    }
}

/// Takes secrets out of an answer, and says what a browser may do with it.
///
/// `is_described`: it is the description of the interface, in which nothing else stands.
async fn finish(shared: &Shared, is_described: bool, answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST_ANSWER).await else {
        let code = StatusCode::INTERNAL_SERVER_ERROR;
        return Problem::new(code, "internal", "the answer could not be made").into_response();
    };
    // What comes from outside of the service is in JSON and in pages.
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let masked = match (std::str::from_utf8(&bytes), is_described) {
        (Ok(text), false) if kind.starts_with("application/json") => mask::json(text, &*shared.mask),
        (Ok(text), false) if kind.starts_with("text/html") => Some(mask::html(text, &*shared.mask)),
        _ => None,
    };
    let body = masked.map_or_else(|| Body::from(bytes), Body::from);
    parts.headers.remove(header::CONTENT_LENGTH);
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                  form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_its_addresses_and_the_names_it_was_told() {
        let hosts = |listen: &str, named: &[&str]| {
            let named: Vec<_> = named.iter().map(ToString::to_string).collect();
            Hosts::new(listen.parse().unwrap(), &named)
        };
        let local = hosts("127.0.0.1:8000", &[]);
        for host in ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.1"] {
            assert!(local.know(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example"]
        {
            assert!(!local.know(host), "{host}");
        }
        let open = hosts("0.0.0.0:8000", &["engine.example"]);
        assert!(open.know("10.0.0.1:8000") && open.know("Engine.Example:443") && open.know("[fd00::1]"));
        assert!(!open.know("evil.example"));
    }

    #[test]
    fn a_page_of_another_site_is_told_from_ones_own() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            pairs.iter().for_each(|(name, value)| _ = headers.insert(*name, value.parse().unwrap()));
            headers
        };
        let host = "127.0.0.1:8000";
        assert!(!is_foreign(&headers(&[]), host));
        assert!(!is_foreign(&headers(&[("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")]), host));
        for pairs in [
            [("origin", "http://evil.example"), ("x", "y")],
            [("origin", "null"), ("x", "y")],
            [("origin", "http://127.0.0.1:8001"), ("x", "y")],
            [("sec-fetch-site", "cross-site"), ("x", "y")],
            [("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8000")],
        ] {
            assert!(is_foreign(&headers(&pairs), host), "{pairs:?}");
        }
    }
}
