//! Stands in front of a server, and goes on with what a client has asked for when the client is killed.
//!
//! The stand-in for S3 stops in the middle of a request whose client has gone, and leaves an upload that is neither
//! there nor complete. No store does that: what it was asked to complete it completes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// How long the server gets for what it has been asked, after the client has gone.
const GRACE: Duration = Duration::from_secs(5);

/// Relays connections to a server for as long as the process lives, and answers with the port for them.
pub fn relay(to: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it has one").port();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            if let Ok(server) = TcpStream::connect(&to) {
                join(client, server);
            }
        }
    });
    port
}

fn join(client: TcpStream, server: TcpStream) {
    // Small packets follow one another: none waits for the answer to the last.
    for side in [&client, &server] {
        side.set_nodelay(true).expect("it is a socket");
    }
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    std::thread::spawn(move || {
        // It ends with an error where the client was killed.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        std::thread::sleep(GRACE);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let (mut buffer, mut listens) = ([0; 16 << 10], true);
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            listens = listens && to_client.write_all(&buffer[..length]).is_ok();
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}
