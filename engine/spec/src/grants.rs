//! What a stage grants its module, with values from outside put in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use engine_abi::message::{Permissions, Sandbox};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::names::quoted;
use crate::references::{Environment, Lookup};
use crate::sandbox::{Grant, Grants, Isolation, SandboxWords};

/// Who runs a module and what it may do. `Debug` shows no value of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedSandbox {
    /// Who runs the module.
    pub isolation: Isolation,
    /// What it may do. Folders are as written: relative ones start at the pipeline's folder.
    pub sandbox: Sandbox,
}

impl SandboxWords {
    /// Puts in everything from outside; `missing` is how much weighs what is not there.
    pub(crate) fn resolve(
        &self,
        environment: &dyn Environment,
        missing: Severity,
        diagnostics: &mut Diagnostics,
    ) -> ResolvedSandbox {
        let mut lookup = Lookup { environment, missing, diagnostics };
        let words = &self.permissions;
        let variables = words.environment.items.iter();
        let variables: BTreeMap<String, String> = variables
            .filter_map(|name| Some((name.text.clone(), lookup.variable(&name.text, "environment", &name.span)?)))
            .collect();
        let mut list = |rule: &Rule, grants: &Grants| -> Vec<String> {
            grants.items.iter().filter_map(|grant| rule.apply(grant, &mut lookup)).collect()
        };
        let permissions = Permissions {
            hosts: list(&HOST, &words.hosts),
            networks: list(&NETWORK, &words.networks),
            environment: variables,
            read: list(&READ, &words.read),
            write: list(&WRITE, &words.write),
        };
        ResolvedSandbox { isolation: self.isolation, sandbox: Sandbox { permissions, limits: self.limits.limits() } }
    }
}

/// What the items of a list look like. What a host or a network means is known to those who connect;
/// here is found what can be none.
struct Rule {
    key: &'static str,
    code: &'static str,
    noun: &'static str,
    is_right: fn(&str) -> bool,
    form: &'static str,
}

const HOST: Rule = Rule {
    key: "hosts",
    code: "bad-host",
    noun: "host",
    is_right: is_host,
    form: "write a name or an address, such as `api.example.com`, `*.example.com:8443` or `http://192.0.2.7:8080`; \
           without `http://` the connection is encrypted",
};
const NETWORK: Rule = Rule {
    key: "networks",
    code: "bad-network",
    noun: "network",
    is_right: is_network,
    form: "write an address and how many of its bits count, such as `10.1.0.0/16` or `fd00::/8`",
};
const READ: Rule = Rule {
    key: "read",
    code: "bad-folder",
    noun: "folder",
    is_right: is_folder,
    form: "write its path: relative ones start at the pipeline's folder, `.` is that folder itself",
};
const WRITE: Rule = Rule { key: "write", ..READ };

impl Rule {
    /// The item with its references replaced; nothing, with a diagnostic, where it is wrong.
    fn apply(&self, grant: &Grant, lookup: &mut Lookup<'_>) -> Option<String> {
        let Grant { text, span } = grant;
        let replaced = lookup.text(text, self.key, Some(span), |value| value);
        let value = replaced.text?;
        if (self.is_right)(&value) {
            return Some(value);
        }
        // A password may stand in front of it.
        let is_private = text.contains('@') || value.contains('@');
        if is_private {
            span.hide();
        }
        let shown = match (replaced.from_outside || is_private, value.as_str()) {
            (true, _) => "the value".to_owned(),
            (_, "") => "an empty text".to_owned(),
            (_, text) => quoted(text),
        };
        let found = Diagnostic::error(self.code, format!("{shown} is not a {}", self.noun)).at(span);
        lookup.diagnostics.push(found.hint(self.form));
        None
    }
}

fn is_host(text: &str) -> bool {
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return false,
        None => text,
    };
    let rest = rest.strip_prefix("*.").unwrap_or(rest);
    let Some((host, port)) = split_port(rest) else { return false };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = !host.is_empty() && host.bytes().all(of_name);
    (is_name || host.parse::<IpAddr>().is_ok()) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` and a bare v6.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return if rest.is_empty() { Some((host, None)) } else { Some((host, Some(rest.strip_prefix(':')?))) };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    bits.parse::<u8>().is_ok_and(|bits| bits <= if address.is_ipv4() { 32 } else { 128 })
}

fn is_folder(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_what_is_none() {
        for right in [
            "api.example.com",
            "API.Example.com.",
            "*.example.org:8443",
            "http://192.0.2.7:8080",
            "https://x",
            "[2001:db8::1]:8443",
            "[::1]",
            "::1",
            "host_of-mine",
        ] {
            assert!(is_host(right), "{right}");
        }
        for wrong in
            ["", "ftp://x", "a b", "x:port", "http://", "*.", "x/path", "user@x", "x:99999", "[::1]x", "*", "[x y]"]
        {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn networks_have_an_address_and_no_more_bits_than_it() {
        for right in ["10.1.0.0/16", "fd00::/8", "0.0.0.0/0", "::/128"] {
            assert!(is_network(right), "{right}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129", "10.0.0.0/-1"] {
            assert!(!is_network(wrong), "{wrong}");
        }
    }
}
