//! Requests on their way, each with what the login adds to it.

use std::time::SystemTime;

use engine_sdk::prelude::*;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::aws::Signer;
use crate::client::Api;
use crate::login::{Login, Pass, Session};

/// How often a login is renewed that the API does not take.
const RENEWALS: u32 = 2;

/// The clients of an API: with its headers, and without them for whoever gives out tokens.
pub struct Clients {
    pub api: Client,
    pub bare: Client,
}

impl Clients {
    pub fn of(api: &Api) -> Result<Self> {
        Ok(Self { api: api.client()?, bare: api.bare_client()? })
    }
}

/// What is done with each request, beyond what stands in all of them.
#[derive(Default)]
pub enum Pledge {
    /// Nothing.
    #[default]
    None,
    /// It has a token.
    Session(Box<Session>),
    /// It is signed.
    Signed(Signer),
}

impl Pledge {
    /// That of a login.
    pub fn new(login: Option<&Login>, api: &Api, cx: &Context) -> Result<Self> {
        login.iter().flat_map(|login| login.secrets()).for_each(|secret| api.keep_secret(secret));
        match login {
            None => Ok(Self::None),
            Some(Login::Aws(aws)) => {
                aws.secrets().for_each(|secret| api.keep_secret(secret.reveal()));
                Ok(Self::Signed(Signer::new(aws)))
            }
            Some(login) => {
                Ok(Session::new(login, api, cx)?.map_or(Self::None, |session| Self::Session(Box::new(session))))
            }
        }
    }
}

/// Sends a request with the login, which is renewed and the request sent again where the API does not take it.
/// `make` is asked for the request each time.
pub async fn send(
    pledge: &Pledge,
    api: &Api,
    clients: &Clients,
    cx: &Context,
    url: &Url,
    make: impl Fn(&Client) -> RequestBuilder,
) -> Result<Response> {
    let mut refused: Option<Pass> = None;
    for left in (0..=RENEWALS).rev() {
        let mut request = make(&clients.api);
        let pass = match pledge {
            Pledge::Session(session) => Some(session.pass(api, &clients.bare, cx, refused.as_ref()).await?),
            Pledge::Signed(_) | Pledge::None => None,
        };
        if let Some(pass) = &pass {
            request = request.header(pass.header.clone(), pass.value.clone());
        }
        let mut request = request
            .build()
            .map_err(|error| Error::internal(format!("a request cannot be made: {}", error.without_url())))?;
        if let Pledge::Signed(signer) = pledge {
            signer.sign(&mut request, SystemTime::now())?;
        }
        let response = clients.api.execute(request).await.map_err(|error| api.unanswered(url, &error))?;
        let is_refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        match pass {
            Some(pass) if is_refused && left > 0 => refused = Some(pass),
            _ => return Ok(response),
        }
    }
    Err(Error::internal("a request was neither taken nor refused"))
}
