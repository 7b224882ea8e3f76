//! Serves the stand-in until it is ended, and prints its address: for what needs a server to talk to, such as the
//! conformance suite, where there is no SQL Server. `cargo run -p engine-plugin-sqlserver --example stand_in [ADDRESS]`
#![allow(dead_code, reason = "what only the connector's own tests use")]

#[path = "../questions.rs"]
mod questions;
#[path = "server/mod.rs"]
mod server;

fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let server = server::StandIn::at(&address, |_| {});
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
