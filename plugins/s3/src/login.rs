//! The keys that requests are signed with: those of the settings, or those that this machine has been given.
//!
//! Without keys in the settings they are looked for where AWS's own tools do: the environment, the file of
//! profiles, the container, the machine's role. The latter two end after some hours, and are asked for again.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use engine_sdk::prelude::*;
use engine_sdk::types::is_this_machine;
use reqwest::{StatusCode, Url};
use tokio::sync::Mutex;

use crate::client::Way;

/// Keys that end sooner than this are asked for again.
const AHEAD: Duration = Duration::from_secs(300);
/// How long a role's keys are waited for: whoever gives them is on this machine or beside it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most of what such an answer has.
const LONGEST_ANSWER: usize = 64 << 10;

/// What is looked up in the environment.
type Variables = fn(&str) -> Option<String>;

/// Who signs.
pub struct Login {
    fixed: Option<Identity>,
    variables: Variables,
    /// Those of a role, and when they end.
    found: Mutex<Option<(Identity, Option<SystemTime>)>>,
    /// To whoever gives a role's keys.
    way: Way,
}

/// What gives a role's keys.
#[derive(Deserialize)]
struct Role {
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "SecretAccessKey")]
    secret: String,
    #[serde(rename = "Token")]
    token: Option<String>,
    #[serde(rename = "Expiration")]
    ends: Option<String>,
}

impl Login {
    pub fn new(id: Option<&Secret>, secret: Option<&Secret>, token: Option<&Secret>) -> Result<Self> {
        let fixed = match (id, secret) {
            (Some(id), Some(secret)) => Some(identity(id.reveal(), secret.reveal(), token.map(Secret::reveal))),
            (None, None) if token.is_some() => {
                return Err(Error::config("`session_token` has no keys").hint("add `access_key` and `secret_key`"));
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::config("`access_key` has no `secret_key`").hint("add it, or remove `access_key`"));
            }
            (None, Some(_)) => {
                return Err(Error::config("`secret_key` has no `access_key`").hint("add it, or remove `secret_key`"));
            }
        };
        let way = Way::new(None, None, PATIENCE, PATIENCE)?;
        Ok(Self { fixed, variables: |name| std::env::var(name).ok(), found: Mutex::default(), way })
    }

    /// The keys, as they are now.
    pub async fn identity(&self) -> Result<Identity> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut found = self.found.lock().await;
        if let Some((identity, ends)) = &*found
            && ends.is_none_or(|ends| ends > SystemTime::now() + AHEAD)
        {
            return Ok(identity.clone());
        }
        match (self.find().await, &*found) {
            (Ok((identity, ends)), _) => {
                *found = Some((identity.clone(), ends));
                Ok(identity)
            }
            // Those from before are good for a while.
            (Err(_), Some((identity, Some(ends)))) if *ends > SystemTime::now() => Ok(identity.clone()),
            (Err(error), _) => Err(error),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    async fn find(&self) -> Result<(Identity, Option<SystemTime>)> {
        let variable = |name: &str| self.variable(name);
        if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok((identity(&id, &secret, variable("AWS_SESSION_TOKEN").as_deref()), None));
        }
        if let Some(found) = self.of_profile()? {
            return Ok((found, None));
        }
        if let Some(role) = self.of_container().await? {
            return held(&role);
        }
        if !variable("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"))
            && let Some(role) = self.of_machine().await?
        {
            return held(&role);
        }
        Err(Error::denied("there are no keys to sign requests with").hint(
            "set `access_key` and `secret_key`, such as `${env:AWS_ACCESS_KEY_ID}`; there are none in the environment \
             and in no profile, and neither the container nor the machine has a role",
        ))
    }

    /// Those of `AWS_PROFILE` in the file of profiles.
    fn of_profile(&self) -> Result<Option<Identity>> {
        let own = self.variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let Some(path) = self.variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or(own) else {
            return Ok(None);
        };
        let asked = self.variable("AWS_PROFILE");
        let profile = asked.as_deref().unwrap_or("default");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && asked.is_none() => return Ok(None),
            Err(error) => return Err(Error::from(error).context(format_args!("reading {}", path.display()))),
        };
        match (of_section(&text, profile), asked.is_some()) {
            (Some(found), _) => Ok(Some(found)),
            (None, false) => Ok(None),
            (None, true) => Err(Error::config(format!("{} has no keys for the profile `{profile}`", path.display()))
                .hint("only keys are read there: for a role or a single sign-on, let AWS's tools export keys")),
        }
    }

    async fn of_container(&self) -> Result<Option<Role>> {
        let address = match self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => Some(format!("http://169.254.170.2{path}")),
            None => self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        };
        let Some(address) = address else { return Ok(None) };
        let wrong = |what: &str| Error::config(format!("the container's address for keys {what}"));
        let url = Url::parse(&address).map_err(|_| wrong("is none"))?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" && !is_this_machine(host) && !NEAR.contains(&host) {
            return Err(wrong("is that of another machine, without TLS"));
        }
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => Some(
                std::fs::read_to_string(&path)
                    .map_err(|error| Error::from(error).context(format_args!("reading {path}")))?,
            ),
            None => self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let mut request = self.way.client.get(url.clone());
        if let Some(token) = token {
            request = request.header("authorization", token.trim());
        }
        let text = self.text(&url, request).await?;
        serde_json::from_str(&text).map(Some).map_err(|_| wrong("answers something else"))
    }

    /// Those of the role that the machine has at AWS; None: it is no machine of AWS's, or has none.
    async fn of_machine(&self) -> Result<Option<Role>> {
        let base = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base.as_deref().unwrap_or("http://169.254.169.254").trim_end_matches('/');
        let url = |path: &str| {
            Url::parse(&format!("{base}/latest/{path}"))
                .map_err(|error| Error::config(format!("the machine's address for keys is none: {error}")))
        };
        let at = url("api/token")?;
        let request = self.way.client.put(at.clone()).header("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let answer = match request.send().await {
            // Nobody is there, at a machine that is not AWS's; or somebody who knows no tokens.
            Err(_) => return Ok(None),
            Ok(answer) if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS => {
                return Ok(None);
            }
            Ok(answer) => answer,
        };
        let token = self.answered(&at, answer).await?;
        let get = |at: &Url| self.way.client.get(at.clone()).header("x-aws-ec2-metadata-token", &token);
        let at = url("meta-data/iam/security-credentials/")?;
        let answer = get(&at).send().await.map_err(|error| self.way.unanswered(&at, &error))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let names = self.answered(&at, answer).await?;
        let Some(name) = names.lines().next().filter(|name| !name.is_empty()) else { return Ok(None) };
        let at = url(&format!("meta-data/iam/security-credentials/{name}"))?;
        let text = self.text(&at, get(&at)).await?;
        serde_json::from_str(&text).map(Some).map_err(|_| Error::unavailable("the machine's role has no keys just now"))
    }

    async fn text(&self, url: &Url, request: reqwest::RequestBuilder) -> Result<String> {
        let response = request.send().await.map_err(|error| self.way.unanswered(url, &error))?;
        self.answered(url, response).await
    }

    async fn answered(&self, url: &Url, mut response: reqwest::Response) -> Result<String> {
        if !response.status().is_success() {
            let status = response.status();
            return Err(Error::unavailable(format!("asking for keys at {url}: the answer is {status}")));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.way.unanswered(url, &error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_ANSWER {
                return Err(Error::unavailable(format!("asking for keys at {url}: the answer is too long")));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| Error::unavailable(format!("asking for keys at {url}: the answer is no text")))
    }
}

/// Where containers of AWS's ask, besides themselves.
const NEAR: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

fn identity(id: &str, secret: &str, token: Option<&str>) -> Identity {
    Credentials::new(id, secret, token.map(str::to_owned), None, "the pipeline's settings").into()
}

fn held(role: &Role) -> Result<(Identity, Option<SystemTime>)> {
    let ends = role.ends.as_deref().map(chrono::DateTime::parse_from_rfc3339).transpose();
    let ends = ends.map_err(|_| Error::unavailable("a role's keys do not say until when they are good"))?;
    Ok((identity(&role.id, &role.secret, role.token.as_deref()), ends.map(SystemTime::from)))
}

/// The keys of one profile: `[NAME]`, and lines `name = value` below it.
fn of_section(text: &str, profile: &str) -> Option<Identity> {
    let (mut within, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            within = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| within) {
            match name.trim() {
                "aws_access_key_id" => id = Some(value.trim()),
                "aws_secret_access_key" => secret = Some(value.trim()),
                "aws_session_token" => token = Some(value.trim()),
                _ => {}
            }
        }
    }
    Some(identity(id?, secret?, token))
}

#[cfg(test)]
mod tests;
