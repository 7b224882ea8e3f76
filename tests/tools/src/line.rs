//! A line to a server that can be cut, for tests of outages: the server itself serves other tests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Passes connections on to a server, while it is whole.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_cut: Mutex<bool>,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// To `HOST:PORT`. What the server says comes `late`.
    ///
    /// # Panics
    /// Where there is no free port.
    pub fn to(server: &str, late: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the address that was bound");
        let shared = Arc::new(Shared::default());
        let (server, accepting) = (server.to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Held while the connection is noted, so that none slips through a cut.
                let is_cut = accepting.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(server) = (!*is_cut).then(|| TcpStream::connect(&server).ok()).flatten() else { continue };
                accepting.join(client, server, late);
            }
        });
        Self { address, shared }
    }

    /// Where clients reach the server by this line.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and refuses new ones.
    pub fn cut(&self) {
        *self.shared.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        *self.shared.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

impl Shared {
    fn join(&self, client: TcpStream, server: TcpStream, late: Duration) {
        let ends = (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone());
        let (Ok(from), Ok(to), Ok(client_end), Ok(server_end)) = ends else { return };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend([client_end, server_end]);
        std::thread::spawn(move || forward(from, to, Duration::ZERO));
        std::thread::spawn(move || forward(server, client, late));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, late: Duration) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        std::thread::sleep(late);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
