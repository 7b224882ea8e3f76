//! Which hosts and addresses a guest may reach.

use std::net::{IpAddr, Ipv6Addr};

use engine_abi::message::Permissions;
use engine_abi::reach::{HostRule, Network, Target, canonical};
use engine_abi::{Error, Result};

/// What a stage grants, read once.
pub struct Rules {
    hosts: Vec<HostRule>,
    networks: Vec<Network>,
}

impl Rules {
    pub fn new(permissions: &Permissions) -> Result<Self> {
        let hosts = read(&permissions.hosts, "hosts", HostRule::FORM, HostRule::parse)?;
        let networks = read(&permissions.networks, "networks", Network::FORM, Network::parse)?;
        Ok(Self { hosts, networks })
    }

    /// Whether a request may be sent there at all, before its name is looked up.
    pub fn grants(&self, target: &Target) -> bool {
        self.hosts.iter().any(|rule| rule.matches(target))
    }

    /// Whether the name of a granted host may stand for this address. A public
    /// one always may; a private one only where the pipeline says so, since who
    /// owns the name decides what it stands for.
    pub fn admits(&self, target: &Target, address: IpAddr) -> bool {
        let address = canonical(address);
        !is_private(address)
            || target.address().map(canonical) == Some(address)
            || self.networks.iter().any(|network| network.holds(address))
    }
}

fn read<R>(words: &[String], key: &str, form: &str, parse: impl Fn(&str) -> Option<R>) -> Result<Vec<R>> {
    let wrong = |word: &String| {
        Error::config(format!("`permissions: {key}`: `{word}` is not a {}", key.trim_end_matches('s'))).hint(form)
    };
    words.iter().map(|word| parse(word).ok_or_else(|| wrong(word))).collect()
}

/// Whether an address belongs to a machine, a site or a protocol, rather than to the internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            let [first, second, third, _] = it.octets();
            it.is_loopback()
                || it.is_private()
                || it.is_link_local()
                || it.is_multicast()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second))
                || (first == 198 && (18..20).contains(&second))
                || (first == 192 && second == 0 && third == 0)
        }
        IpAddr::V6(it) => {
            let first = it.segments()[0];
            it.is_loopback()
                || it == Ipv6Addr::UNSPECIFIED
                || it.is_multicast()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || first & 0xffc0 == 0xfec0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(hosts: &[&str], networks: &[&str]) -> Rules {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rules::new(&Permissions { hosts: owned(hosts), networks: owned(networks), ..Permissions::default() }).unwrap()
    }

    fn target(tls: bool, host: &str, port: u16) -> Target {
        Target { tls, host: host.into(), port }
    }

    #[test]
    fn a_host_is_granted_with_its_port_and_its_encryption() {
        let rules =
            rules(&["api.example.com", "http://plain.example.com:8080", "*.below.example", "[2001:db8::1]:8443"], &[]);
        assert!(rules.grants(&target(true, "api.example.com", 443)));
        assert!(rules.grants(&target(false, "plain.example.com", 8080)));
        assert!(rules.grants(&target(true, "a.b.below.example", 443)));
        assert!(rules.grants(&target(true, "2001:db8:0::1", 8443)));
        for refused in [
            target(false, "api.example.com", 80),
            target(true, "api.example.com", 8443),
            target(true, "plain.example.com", 8080),
            target(true, "xapi.example.com", 443),
            target(true, "api.example.com.evil", 443),
            target(true, "below.example", 443),
            target(true, "xbelow.example", 443),
        ] {
            assert!(!rules.grants(&refused), "{refused:?}");
        }
    }

    #[test]
    fn a_private_address_must_be_named_or_lie_in_a_granted_network() {
        let rules = rules(&["*.example.com", "http://127.0.0.1:8080"], &["10.1.0.0/16", "fd00::/8"]);
        let name = target(true, "x.example.com", 443);
        for public in ["93.184.216.34", "2606:4700::1", "10.1.255.1", "fd12::1", "::ffff:10.1.0.1"] {
            assert!(rules.admits(&name, public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.2.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "224.0.0.1",
            "ff02::1",
            "198.18.0.1",
        ] {
            assert!(!rules.admits(&name, private.parse().unwrap()), "{private}");
        }
        assert!(rules.admits(&target(false, "127.0.0.1", 8080), "127.0.0.1".parse().unwrap()));
        assert!(!rules.admits(&target(false, "127.0.0.1", 8080), "127.0.0.2".parse().unwrap()));
    }

    #[test]
    fn what_is_no_host_or_network_is_refused_with_a_hint() {
        for wrong in ["", "ftp://x", "a b", "x:port", "http://", "*.", "x/path", "user@x"] {
            let hosts = vec![wrong.to_owned()];
            let error = Rules::new(&Permissions { hosts, ..Permissions::default() }).err().unwrap();
            assert!(error.hint.is_some() && error.message.contains(wrong), "{wrong}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            let networks = vec![wrong.to_owned()];
            assert!(Rules::new(&Permissions { networks, ..Permissions::default() }).is_err(), "{wrong}");
        }
    }
}
