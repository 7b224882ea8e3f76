//! Who logs in, and how: with a key, with keys that an agent holds, with a password.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_sdk::prelude::{Context, Deserialize, Error, JsonSchema, Result, Secret};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use russh::{MethodKind, MethodSet};

use crate::fault::said;
use crate::session::Guard;

/// How often a server may ask something before it lets a login in or not.
const QUESTIONS: usize = 8;

/// Where the agent is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Agent {
    /// `true`: where the variable `SSH_AUTH_SOCK` says.
    Environment(bool),
    /// The path of its socket.
    Socket(PathBuf),
}

/// The ways to log in that are set.
#[derive(Debug)]
pub struct Login {
    pub user: String,
    key: Option<Arc<PrivateKey>>,
    agent: Option<Agent>,
    password: Option<Secret>,
}

/// The settings that a [`Login`] is made of.
pub struct Settings<'a> {
    pub username: &'a str,
    pub password: Option<&'a Secret>,
    pub private_key: Option<&'a Secret>,
    pub passphrase: Option<&'a Secret>,
    pub agent: Option<&'a Agent>,
}

impl Login {
    /// Reads the settings, and the key.
    pub fn new(settings: &Settings<'_>, cx: &Context) -> Result<Self> {
        let agent = settings.agent.filter(|agent| !matches!(agent, Agent::Environment(false))).cloned();
        let wrong = |what: &str, hint: &str| Err(Error::config(what).hint(hint));
        if settings.username.is_empty() {
            return wrong("`username` is empty", "every SFTP server wants to know who logs in");
        }
        match (settings.private_key, &agent, settings.password) {
            (None, None, None) => {
                return wrong(
                    "nothing says how `username` logs in",
                    "give `password`, `private_key`, or `agent: true`",
                );
            }
            (Some(_), Some(_), _) => {
                return wrong("`private_key` and `agent` are both there", "keep one of them");
            }
            (None, ..) if settings.passphrase.is_some() => {
                return wrong("`passphrase` has no `private_key`", "it is what opens an encrypted key");
            }
            _ => {}
        }
        let key = settings.private_key.map(|key| read_key(key, settings.passphrase, cx)).transpose()?;
        let agent = agent.map(|agent| match agent {
            Agent::Socket(path) => Agent::Socket(cx.resolve(expanded(&path))),
            environment @ Agent::Environment(_) => environment,
        });
        Ok(Self {
            user: settings.username.to_owned(),
            key: key.map(Arc::new),
            agent,
            password: settings.password.cloned(),
        })
    }

    /// Logs in. A server may want several of the ways, one after the other.
    pub async fn perform(&self, handle: &mut Handle<Guard>, server: &str) -> Result<()> {
        let mut tried = Tried { methods: Vec::new(), remaining: MethodSet::empty() };
        if let Some(agent) = &self.agent
            && self.by_agent(agent, handle, &mut tried).await?
        {
            return Ok(());
        }
        if let Some(key) = &self.key {
            tried.methods.push("a key");
            let hash = rsa_hash(handle, key.algorithm().is_rsa()).await?;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let result = handle.authenticate_publickey(&self.user, key).await;
            if tried.is_in(result.map_err(broken)?) {
                return Ok(());
            }
        }
        if let Some(password) = &self.password
            && self.by_password(password, handle, &mut tried).await?
        {
            return Ok(());
        }
        if handle.is_closed() {
            return Err(Error::unavailable("the connection ended during the login"));
        }
        let by = tried.methods.join(" and ");
        let remaining: Vec<String> = tried.remaining.iter().map(String::from).collect();
        Err(Error::denied(format!(
            "{server} refuses the login of `{}` by {by}; what it would take: {}",
            said(&self.user),
            if remaining.is_empty() { "nothing more".into() } else { remaining.join(", ") }
        ))
        .hint(
            "check `username`, and `password`, `private_key` or `agent`; the server's log says more than it tells us",
        ))
    }

    async fn by_agent(&self, agent: &Agent, handle: &mut Handle<Guard>, tried: &mut Tried) -> Result<bool> {
        tried.methods.push("the keys of the agent");
        let unreachable = |error: &dyn std::fmt::Display| {
            Error::unavailable(format!("the SSH agent cannot be used: {}", said(&error.to_string()))).hint(
                "start it (`ssh-agent`), add the key (`ssh-add`), and let `SSH_AUTH_SOCK` or `agent` say where it is",
            )
        };
        let mut client = match agent {
            Agent::Socket(path) => AgentClient::connect_uds(path).await,
            Agent::Environment(_) => AgentClient::connect_env().await,
        }
        .map_err(|error| unreachable(&error))?;
        for identity in client.request_identities().await.map_err(|error| unreachable(&error))? {
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let hash = rsa_hash(handle, key.algorithm().is_rsa()).await?;
                    handle.authenticate_publickey_with(&self.user, key, hash, &mut client).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let hash = rsa_hash(handle, certificate.algorithm().is_rsa()).await?;
                    handle.authenticate_certificate_with(&self.user, certificate, hash, &mut client).await
                }
            };
            if tried.is_in(result.map_err(|error| unreachable(&error))?) {
                return Ok(true);
            }
            if handle.is_closed() {
                break;
            }
        }
        Ok(false)
    }

    /// By the method `password`, or by answering what the server asks: many servers have the second alone.
    async fn by_password(&self, password: &Secret, handle: &mut Handle<Guard>, tried: &mut Tried) -> Result<bool> {
        tried.methods.push("a password");
        if tried.may(MethodKind::Password) {
            let result = handle.authenticate_password(&self.user, password.reveal()).await;
            if tried.is_in(result.map_err(broken)?) {
                return Ok(true);
            }
        }
        if !tried.remaining.contains(&MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let mut answer = handle.authenticate_keyboard_interactive_start(&self.user, None::<String>).await;
        for _ in 0..QUESTIONS {
            match answer.map_err(broken)? {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    tried.remaining = remaining_methods;
                    return Ok(false);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    // What is shown while it is typed is no password.
                    let given =
                        prompts.iter().map(|prompt| if prompt.echo { "" } else { password.reveal() }.to_owned());
                    answer = handle.authenticate_keyboard_interactive_respond(given.collect()).await;
                }
            }
        }
        Ok(false)
    }
}

/// What has been tried, and what the server would still take.
struct Tried {
    methods: Vec<&'static str>,
    remaining: MethodSet,
}

impl Tried {
    fn is_in(&mut self, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                self.remaining = remaining_methods;
                false
            }
        }
    }

    fn may(&self, method: MethodKind) -> bool {
        self.remaining.is_empty() || self.remaining.contains(&method)
    }
}

fn broken(error: russh::Error) -> Error {
    Error::unavailable(format!("the login was interrupted: {}", said(&error.to_string())))
}

/// The hash to sign with: an RSA key has none of its own, and SHA-1 is never used.
async fn rsa_hash(handle: &Handle<Guard>, is_rsa: bool) -> Result<Option<HashAlg>> {
    if !is_rsa {
        return Ok(None);
    }
    let best = handle.best_supported_rsa_hash().await.map_err(broken)?;
    Ok(Some(best.flatten().unwrap_or(HashAlg::Sha512)))
}

/// `~/` in front of a path is the home of the user that runs the engine.
pub fn expanded(path: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        Err(_) => path.to_owned(),
    }
}

/// A key of a file, or of the setting's own text.
fn read_key(key: &Secret, passphrase: Option<&Secret>, cx: &Context) -> Result<PrivateKey> {
    let text = key.reveal().trim();
    // No path has lines, and every form of a key has.
    let is_text = text.contains("-----BEGIN") || text.contains('\n');
    let read = match is_text {
        true => text.to_owned(),
        false => {
            let path = cx.resolve(expanded(Path::new(text)));
            std::fs::read_to_string(path).map_err(|error| {
                // The path is not shown: it may be a key that somebody wrote on one line.
                Error::config(format!("the file that `private_key` names cannot be read: {error}"))
                    .hint("give its path, or the key itself with `${file:…}` or `${env:…}`")
            })?
        }
    };
    let secret = passphrase.map(Secret::reveal);
    decode_secret_key(&read, secret).map_err(|error| match (error, secret) {
        (russh::keys::Error::KeyIsEncrypted, None) => Error::config("`private_key` is encrypted")
            .hint("give its `passphrase`, or add it to an agent and use `agent: true`"),
        (_, Some(_)) => Error::config("`private_key` cannot be opened with `passphrase`")
            .hint("try it with `ssh-keygen -y -f FILE`; OpenSSH, PEM and PuTTY keys are read"),
        (_, None) => Error::config("`private_key` is no private key that can be read")
            .hint("OpenSSH, PEM and PuTTY keys are read; `ssh-keygen -p -f FILE` writes the first"),
    })
}
