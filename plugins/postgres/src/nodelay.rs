//! Small packets at once.
//!
//! The driver (sqlx 0.9.0) leaves Nagle's algorithm on, which version 0.8 did not: a known fault,
//! <https://github.com/transact-rs/sqlx/issues/4335>. A COPY ends with a small packet behind the rows: it
//! waits until the server confirms these, and the server waits 40 ms to do so. The driver does not give its
//! socket away, so it is looked for among those of the process. To be taken out once the driver does it.

use std::future::Future;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::net::{SocketAddrAny, getpeername, sockopt};

/// How soon after it was made a connection is found: logging in takes several packets, each of which
/// waits. What waits goes out when the option is set.
const LOOK: Duration = Duration::from_millis(2);
/// A login that takes longer than this many looks does not wait for packets.
const LOOKS: u32 = 100;

/// Waits for a connection to that port, and lets it send small packets at once from its beginning.
pub async fn connect<T>(connecting: impl Future<Output = T>, port: u16) -> T {
    let mut connecting = std::pin::pin!(connecting);
    for _ in 0..LOOKS {
        tokio::select! {
            biased;
            connected = &mut connecting => {
                on_connections_to(port);
                return connected;
            }
            () = tokio::time::sleep(LOOK) => {
                if on_connections_to(port) {
                    break;
                }
            }
        }
    }
    let connected = connecting.await;
    on_connections_to(port);
    connected
}

/// Turns Nagle's algorithm off on every TCP connection of this process to that port: at worst on one
/// that is not ours, which does it no harm. Does nothing where the system does not list descriptors.
/// Answers whether there was one.
fn on_connections_to(port: u16) -> bool {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return false };
    let mut found = false;
    for number in descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok()) {
        // SAFETY: no one is kept from closing it, and what is done with it fails then, or meets another
        // descriptor, of which only a TCP connection to this port is touched.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(Some(peer)) = getpeername(descriptor) else { continue };
        if peer_port(&peer) == Some(port) && sockopt::tcp_nodelay(descriptor) == Ok(false) {
            found |= sockopt::set_tcp_nodelay(descriptor, true).is_ok();
        }
    }
    found
}

fn peer_port(peer: &SocketAddrAny) -> Option<u16> {
    std::net::SocketAddr::try_from(peer.clone()).ok().map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_to_the_port_sends_small_packets_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (ours, others) =
            (TcpStream::connect(address).unwrap(), TcpStream::connect(other.local_addr().unwrap()).unwrap());
        assert!(on_connections_to(address.port()));
        assert!(!on_connections_to(address.port()), "there is no other");
        assert!(ours.nodelay().unwrap());
        assert!(!others.nodelay().unwrap());
    }
}
