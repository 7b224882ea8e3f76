//! Who may ask: tokens, of which only a hash is stored.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use engine_abi::{Error, Result, hexadecimal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The file's name in the state folder.
const FILE: &str = "tokens.json";
/// What every token begins with, so that one that leaks is recognised.
const PREFIX: &str = "engine_";

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Also trigger, pause, replay, resend, drop, reload.
    Operate,
}

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// A token, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The SHA-256 of it, in hexadecimal. A token has 256 random bits, which no table holds.
    sha256: String,
    /// When it was made, in RFC 3339.
    pub created: String,
}

/// The tokens of a state folder.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    path: PathBuf,
    tokens: Vec<Token>,
}

impl Tokens {
    /// Reads those of a state folder; none where there is no file.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let tokens = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::config(format!("{} holds no tokens: {error}", path.display()))
                    .hint("remove the file and make the tokens anew with `engine tokens add`")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::from(error).context(path.display())),
        };
        Ok(Self { path, tokens })
    }

    /// Makes a token and stores its hash. What it answers is shown once and never again.
    ///
    /// # Errors
    /// `Config` when there is one of that name.
    pub fn add(&mut self, name: &str, role: Role) -> Result<String> {
        if name.trim().is_empty() || name.contains(char::is_control) {
            return Err(Error::config("a token has a name, which is shown instead of it"));
        }
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(Error::config(format!("there is a token of the name `{name}`"))
                .hint("choose another name, or remove that one with `engine tokens remove`"));
        }
        // Two of the system's random numbers of 122 bits each.
        let secret = format!("{PREFIX}{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let now: DateTime<Utc> = Utc::now();
        let created = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        self.tokens.push(Token { name: name.to_owned(), role, sha256: hexadecimal::write(&hash(&secret)), created });
        self.store()?;
        Ok(secret)
    }

    /// Removes one. Answers whether it was there.
    pub fn remove(&mut self, name: &str) -> Result<bool> {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        if self.tokens.len() == before {
            return Ok(false);
        }
        self.store()?;
        Ok(true)
    }

    /// All of them.
    pub fn list(&self) -> &[Token] {
        &self.tokens
    }

    /// Whose a token is. It takes the same time for every token that is none.
    pub fn find(&self, secret: &str) -> Option<&Token> {
        let hash = hexadecimal::write(&hash(secret));
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.sha256.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(token);
            }
        }
        found
    }

    /// Whole or not at all, for its owner alone.
    fn store(&self) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let beside = self.path.with_extension("part");
        let named = |error: std::io::Error| Error::from(error).context(self.path.display());
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .map_err(named)?;
        let text = serde_json::to_vec_pretty(&self.tokens).map_err(|error| Error::internal(error.to_string()))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(named)?;
        std::fs::rename(&beside, &self.path).map_err(named)
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_what_it_is_and_stored_as_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::read(folder.path()).unwrap();
        let (reader, operator) =
            (tokens.add("grafana", Role::Read).unwrap(), tokens.add("anna", Role::Operate).unwrap());
        let tokens = Tokens::read(folder.path()).unwrap();
        assert_eq!(tokens.find(&reader).map(|it| (it.name.as_str(), it.role)), Some(("grafana", Role::Read)));
        assert_eq!(tokens.find(&operator).map(|it| it.role), Some(Role::Operate));
        for wrong in ["", "engine_", &reader[..reader.len() - 1], &format!("{reader}0")] {
            assert!(tokens.find(wrong).is_none());
        }
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains(&reader) && !text.contains(&operator));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut tokens = tokens;
        assert!(tokens.add("anna", Role::Read).is_err());
        assert!(tokens.remove("anna").unwrap() && !tokens.remove("anna").unwrap());
        assert!(Tokens::read(folder.path()).unwrap().find(&operator).is_none());
    }
}
