//! Takes in the lines that peers send over UDP.

use std::io::ErrorKind as Io;
use std::net::UdpSocket;

use engine_sdk::prelude::*;

/// Where to listen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port, such as `127.0.0.1:5514`. Port 0 takes a free one.
    listen: String,
}

/// The largest datagram that UDP can carry, in bytes.
const LARGEST: usize = 65_535;
/// How often the loop looks whether it should stop.
const CANCEL_CHECK: std::time::Duration = std::time::Duration::from_millis(100);

struct UdpSource {
    config: Config,
    cx: Context,
}

impl UdpSource {
    fn bind(&self) -> Result<UdpSocket> {
        let listen = &self.config.listen;
        UdpSocket::bind(listen).map_err(|error| Error::from(error).context(format_args!("cannot listen on {listen}")))
    }
}

impl Component for UdpSource {
    type Config = Config;
    const SUMMARY: &'static str = "Takes in the lines that peers send over UDP";

    fn examples() -> Vec<Example> {
        vec![example("from this machine, on a free port", json!({"listen": "127.0.0.1:0"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { config, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let address = self.bind()?.local_addr()?;
        Ok(CheckReport { summary: format!("{address} is free to listen on") })
    }
}

impl PushSource for UdpSource {
    fn listen(&mut self) -> Result<()> {
        let socket = self.bind()?;
        socket.set_read_timeout(Some(CANCEL_CHECK))?;
        self.cx.log(Level::Info, format!("listening on {}", socket.local_addr()?));
        // One byte more than fits, for the line end that is added below.
        let mut buffer = vec![0; LARGEST + 1];
        while !self.cx.cancelled() {
            let (length, peer) = match socket.recv_from(&mut buffer[..LARGEST]) {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), Io::WouldBlock | Io::TimedOut | Io::Interrupted) => continue,
                Err(error) => return Err(Error::from(error).context("receiving failed")),
            };
            let ended = buffer[..length].ends_with(b"\n");
            buffer[length] = b'\n';
            let data = &buffer[..length + usize::from(!ended)];
            let records = data.iter().filter(|byte| **byte == b'\n').count() as u32;
            // A peer's port stands for its connection. Blocks while the spool is full.
            let arrival = Arrival::Complete { data, records };
            match self.cx.append(u64::from(peer.port()), &peer.to_string(), arrival) {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::Cancelled => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

engine_sdk::module!("udp": push_source "udp" => UdpSource);

#[cfg(test)]
mod tests {
    use engine_sdk::testing::Host;

    use super::*;

    #[test]
    fn what_a_peer_sends_is_handed_over_with_its_line_end() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let host = Host::new();
        let mut source: UdpSource = host.open(json!({"listen": free.to_string()})).unwrap();
        std::thread::scope(|scope| {
            let listening = scope.spawn(|| source.listen());
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            while host.appended().is_empty() {
                // Sent again until the listener is there: UDP loses what nobody takes.
                peer.send_to(b"a call", free).ok();
                std::thread::yield_now();
            }
            host.cancel();
            listening.join().unwrap().unwrap();
        });
        assert_eq!(host.appended()[0].data, b"a call\n");
    }
}
