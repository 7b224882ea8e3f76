//! For sources that listen: where they do, and who may send.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

use engine_abi::{Error, ErrorKind, Result};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// An address, or all addresses that share their first bits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Reads `192.0.2.7`, `10.1.0.0/16`, `2001:db8::/32`.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is not an address or network; write for example 192.0.2.7 or 10.1.0.0/16");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.trim().parse()).map_err(|_| wrong())?;
        if prefix > bits {
            return Err(format!("`{text}`: an address of this kind has {bits} bits"));
        }
        Ok(Self { address, prefix })
    }

    /// Whether it holds `address`, which is not an IPv4 address in IPv6 clothes.
    pub fn contains(self, address: IpAddr) -> bool {
        // Bits to the left; a shift by all of them is none left to compare.
        let differing = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) != 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) != 0
            }
            _ => true,
        };
        !differing
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["192.0.2.7", "10.1.0.0/16", "2001:db8::/32"]})
    }
}

/// What to do about an address that is none.
const SPELLING: &str = "write address and port, such as 0.0.0.0:9000, 127.0.0.1:9000 or [::]:9000";

/// Whether a setting `listen` is an address with a port. Names are looked up later.
///
/// # Errors
/// `Config`, with how one is written.
pub fn check_address(listen: &str) -> Result<()> {
    let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(Error::config(format!("`listen`: `{listen}` is no address and port")).hint(SPELLING));
    }
    Ok(())
}

/// Listens on `listen`, and tells the address that this came to.
///
/// # Errors
/// `Config` where it is no address of this machine, `Denied` where the port needs more rights, `Unavailable` where
/// somebody else listens there.
pub fn bind(listen: &str) -> Result<(TcpListener, SocketAddr)> {
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|error| Error::config(format!("`listen`: `{listen}` is no address: {error}")).hint(SPELLING))?
        .collect();
    let refused = |error: std::io::Error| {
        use std::io::ErrorKind as Io;
        let (kind, hint) = match error.kind() {
            Io::AddrInUse => (
                ErrorKind::Unavailable,
                "another program, or another pipeline, listens there; stop it or choose another port",
            ),
            Io::PermissionDenied => (
                ErrorKind::Denied,
                "ports below 1024 are reserved; choose a higher one, or give the engine CAP_NET_BIND_SERVICE",
            ),
            Io::AddrNotAvailable | Io::InvalidInput => {
                (ErrorKind::Config, "the address must be one of this machine; 0.0.0.0 stands for all of them")
            }
            _ => (ErrorKind::Unavailable, "the system's message says what is missing"),
        };
        Error::new(kind, format!("cannot listen on {listen}: {error}")).hint(hint)
    };
    let listener = TcpListener::bind(&addresses[..]).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_that_share_its_first_bits() {
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("10.1.0.0/16", "10.1.255.3"));
        assert!(!contains("10.1.0.0/16", "10.2.0.1"));
        assert!(contains("10.1.2.3/15", "10.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::7"));
        assert!(!contains("2001:db8::/32", "2001:db9::7"));
        assert!(contains("::/0", "::1"));
        assert!(!contains("::/0", "192.0.2.7"));
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in ["", "pbx.example", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/-1", "::/129", "10.1"] {
            assert!(Network::parse(text).unwrap_err().contains(text), "{text}");
        }
    }
}
