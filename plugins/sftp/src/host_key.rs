//! Who a server must prove to be: keys that the settings pin, or those that a `known_hosts` file has recorded.
//! A key that neither knows is never accepted.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use engine_sdk::prelude::{Deserialize, Error, JsonSchema, Result};
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use sha1::Sha1;

/// One or several keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HostKey {
    /// A fingerprint such as `SHA256:…`, or a line of an OpenSSH public key.
    One(String),
    /// The same, several times: any of them will do.
    Several(Vec<String>),
}

/// What a server's key is compared with.
#[derive(Debug, Clone)]
pub enum Trust {
    Pinned(Vec<Pin>),
    Recorded(PathBuf),
}

#[derive(Debug, Clone)]
pub enum Pin {
    Fingerprint(Fingerprint),
    Key(PublicKey),
}

impl Pin {
    fn read(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = || {
            Error::config(format!("`host_key`: {text:?} is neither a fingerprint nor a public key"))
                .hint("write `SHA256:…` as `ssh-keygen -lf` shows it, or a line such as `ssh-ed25519 AAAA…`")
        };
        if text.starts_with("SHA256:") {
            return Fingerprint::from_str(text).map(Self::Fingerprint).map_err(|_| wrong());
        }
        // What `ssh-keyscan` prints has the host in front of the key.
        let words: Vec<_> = text.split_whitespace().collect();
        let first = words.iter().position(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-"));
        let key = first.and_then(|first| PublicKey::from_openssh(&words[first..].join(" ")).ok());
        key.map(Self::Key).ok_or_else(wrong)
    }

    fn is(&self, key: &PublicKey) -> bool {
        match self {
            Self::Fingerprint(fingerprint) => *fingerprint == key.fingerprint(HashAlg::Sha256),
            Self::Key(pinned) => pinned.key_data() == key.key_data(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.to_string(),
            Self::Key(key) => shown(key),
        }
    }
}

/// What is known of one server at the time of one connection.
#[derive(Debug, Clone)]
pub struct Known {
    pins: Vec<Pin>,
    revoked: Vec<PublicKey>,
    /// Where the pins come from, for messages.
    place: String,
    server: String,
    /// `ssh-keyscan` for this server.
    scan: String,
}

/// An algorithm and a fingerprint, as `ssh-keygen` shows them.
pub fn shown(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

impl Trust {
    /// Reads the settings; opens nothing.
    pub fn new(host_key: Option<&HostKey>, known_hosts: Option<PathBuf>) -> Result<Self> {
        let pins = match host_key {
            None => {
                let home = || std::env::home_dir().unwrap_or_default().join(".ssh/known_hosts");
                return Ok(Self::Recorded(known_hosts.unwrap_or_else(home)));
            }
            Some(_) if known_hosts.is_some() => {
                return Err(Error::config("`host_key` and `known_hosts` are both there")
                    .hint("keep one of them: a pinned key needs no file"));
            }
            Some(HostKey::One(key)) => vec![Pin::read(key)?],
            Some(HostKey::Several(keys)) => keys.iter().map(|key| Pin::read(key)).collect::<Result<_>>()?,
        };
        if pins.is_empty() {
            return Err(Error::config("`host_key` is an empty list, so no server can be trusted")
                .hint("write its fingerprint, `SHA256:…`, or leave it out and use `known_hosts`"));
        }
        Ok(Self::Pinned(pins))
    }

    /// What is known of a server now.
    pub fn of(&self, host: &str, port: u16) -> Result<Known> {
        let mut known = Known {
            pins: Vec::new(),
            revoked: Vec::new(),
            place: "`host_key`".into(),
            server: format!("{host}:{port}"),
            scan: format!("ssh-keyscan -p {port} {host}"),
        };
        match self {
            Self::Pinned(pins) => known.pins.clone_from(pins),
            Self::Recorded(path) => {
                known.place = path.display().to_string();
                let text = read(path)?;
                let entries: Vec<Entry> = text.lines().filter_map(entry).collect();
                let bracketed = format!("[{}]:{port}", host.to_ascii_lowercase());
                let plain = host.to_ascii_lowercase();
                // As OpenSSH does it: a server at another port may be recorded with it or, failing that, without.
                let names = if port == 22 { vec![plain] } else { vec![bracketed, plain] };
                for name in names {
                    for found in entries.iter().filter(|entry| names_it(entry.host_patterns(), &name)) {
                        match found.marker() {
                            Some(Marker::Revoked) => known.revoked.push(found.public_key().clone()),
                            Some(Marker::CertAuthority) => {}
                            None => known.pins.push(Pin::Key(found.public_key().clone())),
                        }
                    }
                    if !known.pins.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(known)
    }
}

fn read(path: &Path) -> Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::config(format!("{} cannot be read: {error}", path.display()))
            .hint("let the user that runs the engine read it, or pin the server's key with `host_key`")),
    }
}

/// One line. What is no entry, or has a kind of key that nobody uses any more, is passed over.
fn entry(line: &str) -> Option<Entry> {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() || line.starts_with('#') { None } else { line.parse().ok() }
}

fn names_it(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let matching = |pattern: &str| fits(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
            let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(matching);
            !excluded && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| matching(pattern))
        }
        HostPatterns::HashedName { salt, hash } => {
            Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|salted| salted.chain_update(name).verify_slice(hash).is_ok())
        }
    }
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(it) if *it == b'?' || *it == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                // The last star takes one more.
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|it| *it == b'*')
}

impl Known {
    /// The algorithms to ask for, those of the keys that are known first: a server has one key of each kind, and
    /// shows the one that is asked for.
    pub fn algorithms(&self, weak: bool) -> Vec<Algorithm> {
        use EcdsaCurve::{NistP256, NistP384, NistP521};
        let mut all = vec![Algorithm::Ed25519];
        all.extend([NistP256, NistP384, NistP521].map(|curve| Algorithm::Ecdsa { curve }));
        all.extend([HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }));
        if weak {
            all.push(Algorithm::Rsa { hash: None });
        }
        let is_known = |algorithm: &Algorithm| {
            self.pins.iter().any(|pin| matches!(pin, Pin::Key(key) if same_kind(&key.algorithm(), algorithm)))
        };
        // Stable: those of one kind stay in their order.
        all.sort_by_key(|algorithm| !is_known(algorithm));
        all
    }

    /// Whether a server that showed another key may have the right one as well: a fingerprint does not tell its kind.
    pub fn may_have_another(&self) -> bool {
        self.pins.iter().any(|pin| matches!(pin, Pin::Fingerprint(_)))
    }

    /// Accepts a key, or says why not.
    pub fn judge(&self, key: &PublicKey, others: &[String]) -> Result<()> {
        let Self { place, server, scan, .. } = self;
        let key_shown = shown(key);
        if self.revoked.iter().any(|revoked| revoked.key_data() == key.key_data()) {
            return Err(Error::denied(format!("the host key of {server}, {key_shown}, is revoked in {place}"))
                .hint("ask the server's operator which key it has now"));
        }
        if self.pins.iter().any(|pin| pin.is(key)) {
            return Ok(());
        }
        let seen = [others, &[key_shown]].concat().join(" and ");
        if self.pins.is_empty() {
            return Err(Error::denied(format!("the host key of {server}, {seen}, is not recorded in {place}")).hint(
                format!(
                    "compare the fingerprint with the one that the server's operator tells you, and pin it: \
                     `host_key: SHA256:…`; or record the key: `{scan} >> {place}`, and compare what `ssh-keygen -lf \
                     {place}` shows"
                ),
            ));
        }
        let expected = self.pins.iter().map(Pin::shown).collect::<Vec<_>>().join(" or ");
        Err(Error::denied(format!("the host key of {server} is {seen}, and not {expected} as {place} says")).hint(
            format!(
                "somebody may stand between you and the server. Only if its operator confirms the new fingerprint, put \
                 it in the place of the old one; `{scan} | ssh-keygen -lf -` shows those that the server has"
            ),
        ))
    }
}

/// Whether two algorithms are about the same kind of key.
pub fn same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn known(file: &str, host: &str, port: u16) -> Known {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        std::fs::write(&path, file).unwrap();
        Trust::Recorded(path).of(host, port).unwrap()
    }

    #[test]
    fn a_host_is_found_by_every_form_of_its_name() {
        let key = PublicKey::from_openssh(ONE).unwrap();
        // `ssh-keygen -H` made the last one, of `[files.example.com]:2222`.
        for (names, host, port) in [
            ("files.example.com", "files.example.com", 22),
            ("a,files.example.com\t", "Files.Example.com", 22),
            ("[files.example.com]:2222", "files.example.com", 2222),
            ("files.example.com", "files.example.com", 2222),
            ("*.example.com", "files.example.com", 22),
            ("f?les.*,!other.example.com", "files.example.com", 22),
            ("|1|ca2YFHXBlCq4Y+0HwsFwSUu3Jvw=|HASH", "files.example.com", 22),
        ] {
            let names = match names.strip_suffix("|HASH") {
                None => names.to_owned(),
                Some(salt) => {
                    let HostPatterns::HashedName { salt: bytes, .. } =
                        format!("{salt}|{}=", "A".repeat(27)).parse().unwrap()
                    else {
                        panic!("it is hashed")
                    };
                    let hash = Hmac::<Sha1>::new_from_slice(&bytes).unwrap().chain_update(host).finalize();
                    let hash = <[u8; 20]>::try_from(&hash.into_bytes()[..]).unwrap();
                    HostPatterns::HashedName { salt: bytes, hash }.to_string()
                }
            };
            let known = known(&format!("# mine\n\nnonsense\n{names}  {ONE} comment\n"), host, port);
            known.judge(&key, &[]).unwrap_or_else(|error| panic!("{names}: {error}"));
        }
        for (names, host) in [
            ("example.com", "files.example.com"),
            ("*.example.com,!files.example.com", "files.example.com"),
            ("[files.example.com]:2222", "files.example.com"),
            ("@cert-authority files.example.com", "files.example.com"),
        ] {
            let error = known(&format!("{names} {ONE}\n"), host, 22).judge(&key, &[]).unwrap_err();
            assert!(error.message.contains("is not recorded in"), "{names}: {error}");
        }
        let file = format!("files.example.com {ONE}\n@revoked * {ONE}\n");
        let error = known(&file, "files.example.com", 22).judge(&key, &[]).unwrap_err();
        assert!(error.message.contains("is revoked"), "{error}");
    }

    #[test]
    fn keys_are_pinned_as_people_have_them() {
        let key = PublicKey::from_openssh(ONE).unwrap();
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        for pin in [ONE.to_owned(), format!("{ONE} root@files"), format!("[files]:22 {ONE}"), fingerprint] {
            assert!(Pin::read(&pin).unwrap().is(&key), "{pin}");
        }
        for wrong in ["", "MD5:aa:bb", "SHA256:short", "ssh-ed25519 AAAA", "yes"] {
            assert!(Pin::read(wrong).unwrap_err().hint.unwrap().contains("ssh-keygen"), "{wrong}");
        }
        assert!(Trust::new(Some(&HostKey::Several(vec![])), None).is_err());
        assert!(Trust::new(Some(&HostKey::One(ONE.into())), Some("x".into())).is_err());
    }

    #[test]
    fn what_is_known_is_asked_for_first() {
        let file = format!("h {ONE}\n");
        assert_eq!(known(&file, "h", 22).algorithms(false)[0], Algorithm::Ed25519);
        let rsa = Algorithm::Rsa { hash: None };
        assert!(!known("", "h", 22).algorithms(false).contains(&rsa));
        assert_eq!(known("", "h", 22).algorithms(true).last(), Some(&rsa));
    }
}
