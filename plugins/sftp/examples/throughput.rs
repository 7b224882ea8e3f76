//! How fast a file goes up and down: against the server of `tests/services run --only sftp`, into its folder `bench`.
//!
//! ```sh
//! tests/services run --only sftp -- cargo run --release -p engine-plugin-sftp --example throughput -- up 1024
//! ```

use std::time::Instant;

use engine_plugin_sftp::{SftpSink, SftpSource};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use engine_sdk::{file_piece, file_pieces, files_schema};

/// As long as what formats and sources give.
const PIECE: usize = 256 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [direction, mib] = arguments.as_slice() else {
        return Err(Error::config("two arguments are needed").hint("say `up` or `down`, and how many MiB"));
    };
    let mib: usize = mib.parse().map_err(|_| Error::config(format!("{mib:?} is no number of MiB")))?;
    let variable = |name: &str| std::env::var(name).map_err(|_| Error::config(format!("{name} is not set")));
    let port: u16 = variable("ENGINE_TEST_SFTP_PORT")?.parse().map_err(|_| Error::config("the port is no number"))?;
    let config = json!({
        "host": "127.0.0.1", "port": port, "username": variable("ENGINE_TEST_SFTP_USERNAME")?,
        "password": variable("ENGINE_TEST_SFTP_PASSWORD")?,
        "known_hosts": format!("{}/known_hosts", variable("ENGINE_TEST_SFTP_HOST_KEYS")?), "path": "bench/engine",
    });
    let host = Host::new();
    let begun = Instant::now();
    if direction == "up" {
        let mut config = config;
        config["overwrite"] = json!(true);
        let mut sink: SftpSink = host.open(config)?;
        let mut delivery = Delivery { key: "throughput".into(), ..Delivery::default() };
        sink.begin_split(&delivery)?;
        let piece = file_piece("", &(0..PIECE).map(|at| (at * 7 % 253) as u8).collect::<Vec<_>>());
        let pieces = (0..mib * 1024 * 1024 / PIECE).map(move |_| Ok(piece.clone()));
        delivery.sealed = Some(sink.write(&delivery, Batches::new(files_schema(), pieces))?);
        sink.commit(&delivery)?;
    } else {
        let mut source: SftpSource = host.open(config)?;
        let mut bytes = 0;
        for split in source.plan(&PlanRequest::default())?.splits {
            for batch in source.read(&split)? {
                bytes += file_pieces(&batch?)?.map(|(_, data)| data.len()).sum::<usize>();
            }
        }
        assert_eq!(bytes, mib * 1024 * 1024, "the whole file is read");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("{direction}: {mib} MiB in {seconds:.2} s, {:.0} MiB/s, at most {peak} of memory", mib as f64 / seconds);
    Ok(())
}
