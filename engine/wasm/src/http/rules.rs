//! Which hosts and addresses a guest may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine_abi::message::Permissions;
use engine_abi::{Error, Result};

/// What a stage grants, read once.
pub struct Rules {
    hosts: Vec<HostRule>,
    networks: Vec<Network>,
}

/// `api.example.com`, `*.example.com:8443`, `http://192.0.2.7:8080`.
#[derive(Debug, PartialEq, Eq)]
struct HostRule {
    tls: bool,
    host: String,
    /// Any host below `host`, and not it.
    below: bool,
    port: u16,
}

/// `10.1.0.0/16`, `fd00::/8`.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    /// Without brackets, in small letters.
    pub host: String,
    pub port: u16,
}

impl Target {
    /// As it is written in `permissions: hosts`.
    pub fn as_rule(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls { "" } else { "http://" };
        let port = if self.port == default_port(self.tls) { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}{host}{port}")
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl Rules {
    pub fn new(permissions: &Permissions) -> Result<Self> {
        let hosts = permissions.hosts.iter().map(|rule| HostRule::parse(rule)).collect::<Result<_>>()?;
        let networks = permissions.networks.iter().map(|network| Network::parse(network)).collect::<Result<_>>()?;
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

impl HostRule {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!("`permissions: hosts`: `{text}` is not a host"))
                .hint("write a name or an address, such as api.example.com, *.example.com:8443 or http://192.0.2.7:8080; without http:// the connection is encrypted")
        };
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(wrong()),
            None => (true, text),
        };
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let (host, port) = split_port(rest).ok_or_else(wrong)?;
        let named = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if host.parse::<IpAddr>().is_err() && !named(host) {
            return Err(wrong());
        }
        let port = port.unwrap_or(default_port(tls));
        Ok(Self { tls, host: host.trim_end_matches('.').to_ascii_lowercase(), below, port })
    }

    fn matches(&self, target: &Target) -> bool {
        let same = match (self.host.parse::<IpAddr>(), target.address()) {
            (Ok(granted), Some(asked)) => canonical(granted) == canonical(asked),
            _ if self.below => {
                target.host.strip_suffix(&self.host).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            }
            _ => target.host == self.host,
        };
        same && self.tls == target.tls && self.port == target.port
    }
}

/// Takes `host`, `host:port`, `[v6]`, `[v6]:port` and a bare v6 apart.
pub fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

impl Network {
    fn parse(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(address, bits)| {
            let address = canonical(address.parse().ok()?);
            let bits = bits.parse::<u8>().ok()?;
            (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
        });
        parsed.ok_or_else(|| {
            Error::config(format!("`permissions: networks`: `{text}` is not a network"))
                .hint("write an address and how many of its bits count, such as 10.1.0.0/16 or fd00::/8")
        })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(asked)) => {
                let shift = 32 - u32::from(self.bits);
                (u32::from(own) ^ u32::from(asked)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(asked)) => {
                let shift = 128 - u32::from(self.bits);
                (u128::from(own) ^ u128::from(asked)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A version 6 address that stands for one of version 4, as that.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(long) = address else { return address };
    if let Some(short) = long.to_ipv4_mapped() {
        return short.into();
    }
    let words = long.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into();
    match words {
        // NAT64 and 6to4 lead to the address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        _ => address,
    }
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
            let error = HostRule::parse(wrong).unwrap_err();
            assert!(error.hint.is_some() && error.message.contains(wrong), "{wrong}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().holds("1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn a_target_is_told_as_it_is_granted() {
        for rule in ["api.example.com", "api.example.com:8443", "http://10.0.0.1", "[::1]:8443"] {
            let parsed = HostRule::parse(rule).unwrap();
            assert_eq!(target(parsed.tls, &parsed.host, parsed.port).as_rule(), rule);
        }
    }
}
