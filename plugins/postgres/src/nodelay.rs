//! Small packets at once.
//!
//! The driver (sqlx 0.9.0) leaves Nagle's algorithm on, which version 0.8 did not and the next one will not
//! (<https://github.com/transact-rs/sqlx/issues/4335>). A COPY ends with a small packet behind the rows: it
//! waits until the server confirms these, and the server waits 40 ms to do so. The driver does not give its
//! socket away, so it is looked for among those of the process. Goes away with the driver's next version.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::{SocketAddrAny, getpeername, sockopt};

/// Turns Nagle's algorithm off on every TCP connection of this process to that port: at worst on one
/// that is not ours, which does it no harm. Does nothing where the system does not list descriptors.
pub fn on_connections_to(port: u16) {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return };
    for number in descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok()) {
        // SAFETY: no one is kept from closing it, and what is done with it fails then, or meets another
        // descriptor, of which only a TCP connection to this port is touched.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(Some(peer)) = getpeername(descriptor) else { continue };
        if peer_port(&peer) == Some(port) {
            let _ = sockopt::set_tcp_nodelay(descriptor, true);
        }
    }
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
        on_connections_to(address.port());
        assert!(ours.nodelay().unwrap());
        assert!(!others.nodelay().unwrap());
    }
}
