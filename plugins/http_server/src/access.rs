//! Who may send: those who have the token, or sign what they send.

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use sha2::{Digest, Sha256};

/// How senders sign: HMAC-SHA-256 of the body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The header with the signature, such as `X-Hub-Signature-256`.
    header: String,
    /// What both sides know.
    secret: Secret,
    /// What stands in front of the signature, such as `sha256=`.
    #[serde(default)]
    prefix: String,
    /// How it is written.
    #[serde(default)]
    encoding: Encoding,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Two hexadecimal digits a byte.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// What requests must have.
#[derive(Clone, Default)]
pub struct Access {
    /// The hash of the token: to compare hashes takes as long whatever is wrong.
    token: Option<[u8; 32]>,
    signature: Option<Signed>,
}

#[derive(Clone)]
struct Signed {
    header: HeaderName,
    prefix: String,
    encoding: Encoding,
    key: Hmac<Sha256>,
}

impl Access {
    pub fn new(token: Option<&Secret>, signature: Option<&Signature>) -> Result<Self> {
        let empty = |what: &str| {
            Error::config(format!("`{what}` is empty, and everybody would have it")).hint("set it, or leave it out")
        };
        if token.is_some_and(|token| token.reveal().is_empty()) {
            return Err(empty("token"));
        }
        let signature = signature.map(|it| {
            if it.secret.reveal().is_empty() {
                return Err(empty("signature.secret"));
            }
            let header = HeaderName::try_from(it.header.as_str()).map_err(|_| {
                Error::config(format!("`signature.header: {}` is no name of a header", it.header.escape_debug()))
                    .hint("names are letters, digits and `-`")
            })?;
            let key = Hmac::new_from_slice(it.secret.reveal().as_bytes())
                .map_err(|error| Error::internal(format!("a key of HMAC is refused: {error}")))?;
            Ok(Signed { header, prefix: it.prefix.clone(), encoding: it.encoding, key })
        });
        let token = token.map(|token| Sha256::digest(token.reveal()).into());
        Ok(Self { token, signature: signature.transpose()? })
    }

    /// Whether anything is asked for.
    pub fn asks(&self) -> bool {
        self.token.is_some() || self.signature.is_some()
    }

    /// Whether the headers have the token.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|text| text.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            let digest: [u8; 32] = Sha256::digest(given.trim()).into();
            scheme.eq_ignore_ascii_case("bearer") && digest == *token
        })
    }

    /// Whether a body is signed.
    pub fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(signed) = &self.signature else { return true };
        let given = headers.get(&signed.header).and_then(|value| value.to_str().ok());
        let given = given.and_then(|text| text.trim().strip_prefix(signed.prefix.as_str()));
        let Some(given) = given.and_then(|text| signed.encoding.read(text)) else { return false };
        let mut mac = signed.key.clone();
        mac.update(body);
        mac.verify_slice(&given).is_ok()
    }
}

impl Encoding {
    fn read(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hexadecimal::read(&text.to_ascii_lowercase()),
            Self::Base64 => base64(text),
        }
    }
}

/// Reads base64, with its padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| -> Option<u32> {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::new();
    for part in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for byte in part {
            bits = (bits << 6) | value(*byte)?;
        }
        bits <<= 6 * (4 - part.len());
        let whole = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        bytes.extend_from_slice(whole.get(..part.len().checked_sub(1).filter(|length| *length > 0)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_the_whole_token() {
        let access = Access::new(Some(&Secret::new("abc")), None).unwrap();
        for given in ["Bearer abc", "bearer  abc"] {
            assert!(access.knows(&headers("authorization", given)), "{given}");
        }
        for given in ["Bearer ab", "Bearer abcd", "Basic abc", "abc", "Bearer"] {
            assert!(!access.knows(&headers("authorization", given)), "{given}");
        }
        assert!(!access.knows(&HeaderMap::new()));
        assert!(Access::new(Some(&Secret::new("")), None).is_err());
    }

    #[test]
    fn a_signature_is_of_the_body() {
        // RFC 4231, case 2.
        let (key, body) = ("Jefe", b"what do ya want for nothing?");
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let base64 = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        let access = |prefix: &str, encoding: &str| {
            let settings = json!({"header": "X-Signature", "secret": key, "prefix": prefix, "encoding": encoding});
            Access::new(None, Some(&serde_json::from_value(settings).unwrap())).unwrap()
        };
        let (in_hex, in_base64) = (access("sha256=", "hex"), access("", "base64"));
        assert!(in_hex.is_signed(&headers("x-signature", &format!("sha256={hex}")), body));
        assert!(in_hex.is_signed(&headers("x-signature", &format!("sha256={}", hex.to_uppercase())), body));
        assert!(in_base64.is_signed(&headers("x-signature", base64), body));
        for wrong in [hex, "sha256=", "sha256=5b", &format!("sha1={hex}"), &format!("sha256={}0", &hex[..63])] {
            assert!(!in_hex.is_signed(&headers("x-signature", wrong), body), "{wrong}");
        }
        assert!(!in_hex.is_signed(&headers("x-signature", &format!("sha256={hex}")), b"another"));
        assert!(!in_hex.is_signed(&HeaderMap::new(), body));
    }

    #[test]
    fn base64_is_read_exactly() {
        for (text, bytes) in [("", &b""[..]), ("TQ==", b"M"), ("TWE", b"Ma"), ("TWFu", b"Man"), ("_-8=", b"\xff\xef")] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!((base64("T"), base64("TWFuT"), base64("T\u{e4}=")), (None, None, None));
    }
}
