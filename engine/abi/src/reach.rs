//! What the words of `permissions: hosts` and `networks` mean, for who checks a
//! pipeline file and for who sends the requests.

use std::net::{IpAddr, Ipv4Addr};

/// `api.example.com`, `*.example.com:8443`, `http://192.0.2.7:8080`.
#[derive(Debug, PartialEq, Eq)]
pub struct HostRule {
    tls: bool,
    host: String,
    /// Any host below `host`, and not it.
    below: bool,
    port: u16,
}

/// `10.1.0.0/16`, `fd00::/8`.
#[derive(Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Encrypted.
    pub tls: bool,
    /// Without brackets, in small letters.
    pub host: String,
    /// The port, also where it is the usual one.
    pub port: u16,
}

impl Target {
    /// As it is written in `permissions: hosts`.
    pub fn as_rule(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls { "" } else { "http://" };
        let port = if self.port == Self::default_port(self.tls) { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}{host}{port}")
    }

    /// The usual port.
    pub const fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }

    /// The address that it names instead of a host.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl HostRule {
    /// How one is written, for a hint.
    pub const FORM: &str = "write a name or an address, such as `api.example.com`, `*.example.com:8443` or \
                            `http://192.0.2.7:8080`; without `http://` the connection is encrypted";

    /// Reads a rule; nothing, where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return None,
            None => (true, text),
        };
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let (host, port) = split_port(rest)?;
        let named = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if host.parse::<IpAddr>().is_err() && !named(host) {
            return None;
        }
        let port = port.unwrap_or(Target::default_port(tls));
        Some(Self { tls, host: host.trim_end_matches('.').to_ascii_lowercase(), below, port })
    }

    /// Whether a request may be sent there.
    pub fn matches(&self, target: &Target) -> bool {
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
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
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
    /// How one is written, for a hint.
    pub const FORM: &str = "write an address and how many of its bits count, such as `10.1.0.0/16` or `fd00::/8`";

    /// Reads a network; nothing, where the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits) = (canonical(address.parse().ok()?), bits.parse::<u8>().ok()?);
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }

    /// Whether an address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
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
pub fn canonical(address: IpAddr) -> IpAddr {
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
            assert!(HostRule::parse(right).is_some(), "{right}");
        }
        for wrong in
            ["", "ftp://x", "a b", "x:port", "http://", "*.", "x/path", "user@x", "x:99999", "[::1]x", "*", "[x y]"]
        {
            assert!(HostRule::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn networks_have_an_address_and_no_more_bits_than_it() {
        for right in ["10.1.0.0/16", "fd00::/8", "0.0.0.0/0", "::/128"] {
            assert!(Network::parse(right).is_some(), "{right}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129", "10.0.0.0/-1"] {
            assert!(Network::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Network::parse("0.0.0.0/0").unwrap().holds("1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn a_target_is_told_as_it_is_granted() {
        for rule in ["api.example.com", "api.example.com:8443", "http://10.0.0.1", "[::1]:8443"] {
            let HostRule { tls, host, port, .. } = HostRule::parse(rule).unwrap();
            assert_eq!(Target { tls, host, port }.as_rule(), rule);
        }
    }
}
