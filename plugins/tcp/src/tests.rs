//! The source on real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use engine_sdk::prelude::{Component, ErrorKind, Level, PushSource, json};
use engine_sdk::testing::{Appended, Host};
use serde_json::Value;

use crate::TcpSource;

/// States of what is handed over, as `plugin.h` numbers them.
const COMPLETE: i32 = 0;
const PARTIAL: i32 = 1;
const OVERSIZE: i32 = 2;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until `found` answers.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a source while `peers` does its part; stops it and gives what it handed over.
fn listen(config: Value, peers: impl FnOnce(&Host, SocketAddr)) -> (Host, Vec<Appended>) {
    /// Stops the source also when the test fails, which would wait for it otherwise.
    struct Stop<'a>(&'a Host);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let host = Host::new();
    std::thread::scope(|scope| {
        let stop = Stop(&host);
        let mut source = host.open::<TcpSource>(config).unwrap();
        let listening = scope.spawn(move || source.listen());
        let address = wait_for("listening", || {
            assert!(!listening.is_finished(), "the source stopped by itself");
            logged(&host, "listening on ").first().map(|line| line["listening on ".len()..].parse().unwrap())
        });
        peers(&host, address);
        drop(stop);
        listening.join().unwrap().unwrap();
    });
    let appended = host.appended();
    (host, appended)
}

fn local() -> Value {
    json!({"listen": "127.0.0.1:0"})
}

fn logged(host: &Host, part: &str) -> Vec<String> {
    host.log().into_iter().map(|(_, line)| line).filter(|line| line.contains(part)).collect()
}

fn send(address: SocketAddr, data: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.write_all(data).unwrap();
    peer
}

fn wait_for_records(host: &Host, count: u32) {
    wait_for("the arrival of all records", || {
        (host.appended().iter().filter(|one| one.state == COMPLETE).map(|one| one.records).sum::<u32>() == count)
            .then_some(())
    });
}

/// What arrived in `state`, joined.
fn data(appended: &[Appended], state: i32) -> Vec<u8> {
    appended.iter().filter(|one| one.state == state).flat_map(|one| one.data.clone()).collect()
}

#[test]
fn records_arrive_as_they_were_sent_with_the_name_of_their_peer() {
    let (host, appended) = listen(local(), |host, address| {
        let mut peer = send(address, b"\r\none\r\ntwo\nth");
        wait_for_records(host, 2);
        peer.write_all(b"ree\r").unwrap();
        wait_for_records(host, 3);
        assert_eq!(host.appended()[0].peer, peer.local_addr().unwrap().to_string());
    });
    assert_eq!(data(&appended, COMPLETE), b"\r\none\r\ntwo\nthree\r");
    assert_eq!(data(&appended, PARTIAL), b"");
    assert!(appended.iter().all(|one| one.connection == 1));
    assert_eq!(logged(&host, "sent 3 records, 17 bytes in all").len(), 1, "{:?}", host.log());
    assert_eq!(logged(&host, "two"), Vec::<String>::new(), "data has no place in the log");
}

#[test]
fn half_a_record_at_disconnect_is_kept_as_that() {
    let (host, appended) = listen(local(), |host, address| {
        drop(send(address, b"one\nhal"));
        drop(send(address, b"two\n\0\0 "));
        wait_for("two ends", || (logged(host, "closed by the peer").len() == 2).then_some(()));
    });
    assert_eq!(appended.iter().filter(|one| one.state == PARTIAL).count(), 1);
    assert_eq!(data(&appended, PARTIAL), b"hal");
    assert_eq!(logged(&host, "and half a record").len(), 1);
}

#[test]
fn what_the_sockets_hold_at_shutdown_is_taken_in() {
    let text = "a whole record\n".repeat(2_000) + "hal";
    let (_, appended) = listen(local(), |host, address| {
        let _peer = send(address, text.as_bytes());
        let _waiting = (0..20).map(|_| send(address, b"late\n")).collect::<Vec<_>>();
        host.cancel();
        // Sockets live until the source has ended.
        wait_for("all ends", || (logged(host, "the engine stops").len() == 21).then_some(()));
    });
    assert_eq!(appended.iter().map(|one| one.data.len()).sum::<usize>(), text.len() + 20 * "late\n".len());
    assert_eq!(data(&appended, PARTIAL), b"hal");
}

#[test]
fn a_silent_listener_stops_at_once() {
    let (_, appended) = listen(local(), |host, address| {
        let mut peer = send(address, b"");
        wait_for("a connection", || (!logged(host, "connected").is_empty()).then_some(()));
        let start = Instant::now();
        host.cancel();
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    });
    assert_eq!(appended, []);
}

#[test]
fn a_record_without_end_costs_no_more_than_its_cap() {
    let (host, appended) = listen(json!({"listen": "127.0.0.1:0", "max_record": "1KiB"}), |host, address| {
        let mut peer = send(address, b"before\n");
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            peer.write_all(&chunk).unwrap();
        }
        peer.write_all(b"\nafter\n").unwrap();
        wait_for_records(host, 2);
    });
    assert_eq!(data(&appended, COMPLETE), b"before\nafter\n");
    assert_eq!(data(&appended, OVERSIZE), vec![b'x'; 1024]);
    assert_eq!(logged(&host, "longer than `max_record`, 1024 bytes").len(), 1);
}

#[test]
fn two_hundred_peers_at_once_lose_nothing() {
    const PEERS: usize = 200;
    let (_, appended) = listen(local(), |host, address| {
        let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| TcpStream::connect(address).unwrap()).collect();
        for round in 0..10 {
            for (number, peer) in peers.iter_mut().enumerate() {
                write!(peer, "peer {number} ").unwrap();
                write!(peer, "round {round}\r\n").unwrap();
            }
        }
        wait_for_records(host, 10 * PEERS as u32);
    });
    let mut connections: Vec<u64> = appended.iter().map(|one| one.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections.len(), PEERS);
    for connection in connections {
        let of_peer: Vec<Appended> = appended.iter().filter(|one| one.connection == connection).cloned().collect();
        let text = String::from_utf8(data(&of_peer, COMPLETE)).unwrap();
        let first = text.split(" round").next().unwrap();
        let expected: String = (0..10).map(|round| format!("{first} round {round}\r\n")).collect();
        assert_eq!(text, expected);
    }
}

#[test]
fn a_peer_that_resets_leaves_the_others_alone() {
    let (_, appended) = listen(local(), |host, address| {
        let mut steady = send(address, b"first\n");
        for _ in 0..20 {
            let reset = send(address, b"one\nhal");
            // A linger of 0 makes the system send a reset at close.
            rustix::net::sockopt::set_socket_linger(&reset, Some(Duration::ZERO)).unwrap();
        }
        wait_for("all ends", || (logged(host, "; sent ").len() == 20).then_some(()));
        steady.write_all(b"last\n").unwrap();
        wait_for("the last record", || data(&host.appended(), COMPLETE).ends_with(b"last\n").then_some(()));
    });
    assert!(appended.iter().any(|one| one.data == b"first\n"));
}

#[test]
fn further_connections_are_closed_and_a_free_place_is_taken_again() {
    let config = json!({"listen": "127.0.0.1:0", "max_connections": 2});
    let (host, appended) = listen(config, |host, address| {
        let first = send(address, b"one\n");
        let _second = send(address, b"two\n");
        wait_for_records(host, 2);
        let mut refused = TcpStream::connect(address).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
        first.shutdown(Shutdown::Both).unwrap();
        wait_for("a free place", || (!logged(host, "; sent ").is_empty()).then_some(()));
        let _third = send(address, b"three\n");
        wait_for_records(host, 3);
    });
    assert_eq!(data(&appended, COMPLETE).len(), "one\ntwo\nthree\n".len());
    assert_eq!(logged(&host, "`max_connections`").len(), 1);
}

#[test]
fn only_peers_that_are_allowed_may_send() {
    let config = |allow: &str| json!({"listen": "127.0.0.1:0", "allow": [allow]});
    let (host, appended) = listen(config("10.0.0.0/8"), |_, address| {
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(address).unwrap().read(&mut [0]).unwrap_or(0), 0);
        }
    });
    assert_eq!(appended, []);
    assert_eq!(logged(&host, "`allow` does not hold its address").len(), 1, "three of a kind are one warning");
    let (_, appended) = listen(config("127.0.0.0/8"), |host, address| {
        let _peer = send(address, b"one\n");
        wait_for_records(host, 1);
    });
    assert_eq!(data(&appended, COMPLETE), b"one\n");
}

#[test]
fn a_listener_for_everyone_says_so() {
    let warnings = |config: Value| {
        let (host, _) = listen(config, |_, _| {});
        host.log().iter().filter(|(level, _)| *level == Level::Warn as i32).count()
    };
    assert_eq!(warnings(json!({"listen": "0.0.0.0:0"})), 1);
    assert_eq!(warnings(json!({"listen": "0.0.0.0:0", "allow": ["127.0.0.1"]})), 0);
    assert_eq!(warnings(local()), 0);
}

#[test]
fn a_connection_that_is_silent_for_too_long_is_closed_and_not_before() {
    let (host, appended) = listen(json!({"listen": "127.0.0.1:0", "idle": "200ms"}), |_, address| {
        let start = Instant::now();
        let mut peer = send(address, b"one\nhal");
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
        assert!(start.elapsed() >= Duration::from_millis(200));
    });
    assert_eq!((data(&appended, COMPLETE), data(&appended, PARTIAL)), (b"one\n".to_vec(), b"hal".to_vec()));
    assert_eq!(logged(&host, "silent for 200ms").len(), 1);
}

/// The limit holds for a whole process, so the source runs in one of its own.
#[test]
fn accepting_goes_on_after_the_system_was_out_of_files() {
    const MARK: &str = "ENGINE_TCP_TEST_FEW_FILES";
    if std::env::var_os(MARK).is_none() {
        let name = "tests::accepting_goes_on_after_the_system_was_out_of_files";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(MARK, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        return;
    }
    let (host, _) = listen(local(), |host, address| {
        let mut peers: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        wait_for("eight connections", || (logged(host, "connected").len() == 8).then_some(()));
        // From here on this process opens no file more: the listener cannot accept.
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let fewer = rustix::process::Rlimit { current: Some(20), ..before };
        // The socket of a peer is made before the limit, and connects after it.
        let late =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        rustix::process::setrlimit(rustix::process::Resource::Nofile, fewer).unwrap();
        rustix::net::connect(&late, &address).unwrap();
        wait_for("a warning", || (!logged(host, "no connection can be accepted").is_empty()).then_some(()));
        for peer in &mut peers {
            peer.write_all(b"still here\n").unwrap();
        }
        wait_for_records(host, 8);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
        TcpStream::from(late).write_all(b"late\n").unwrap();
        wait_for_records(host, 9);
    });
    assert_eq!(logged(&host, "no connection can be accepted").len(), 1);
}

#[test]
fn addresses_that_cannot_be_used_are_told_apart() {
    let host = Host::new();
    let check = |listen: &str| host.open::<TcpSource>(json!({"listen": listen})).unwrap().check();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = check(&taken.local_addr().unwrap().to_string()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("127.0.0.1") && error.hint.unwrap().contains("another program"));
    for wrong in ["9000", "127.0.0.1", "127.0.0.1:66000", ":9000", ""] {
        let error = host.open::<TcpSource>(json!({"listen": wrong})).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config, "{wrong}");
        assert!(error.hint.unwrap().contains("127.0.0.1:9000"), "{wrong}");
    }
    assert_eq!(check("192.0.2.1:0").unwrap_err().kind, ErrorKind::Config);
    assert!(check("127.0.0.1:0").unwrap().summary.ends_with("is free to listen on"));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let host = Host::new();
    for (setting, value) in [
        ("max_record", json!(0)),
        ("max_record", json!("1GiB")),
        ("max_connections", json!(0)),
        ("max_connections", json!(100_000)),
        ("idle", json!("0s")),
        ("allow", json!(["pbx.example"])),
        ("port", json!(9000)),
    ] {
        let mut config = local();
        config[setting] = value;
        assert_eq!(host.open::<TcpSource>(config).err().unwrap().kind, ErrorKind::Config, "{setting}");
    }
}

#[test]
fn every_example_opens() {
    for example in TcpSource::examples() {
        Host::new().open::<TcpSource>(example.config).unwrap();
    }
}
