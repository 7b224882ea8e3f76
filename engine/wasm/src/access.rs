//! What a guest sees of the machine through WASI: clocks, random numbers, and
//! what its stage grants.

use engine_abi::message::Permissions;
use engine_abi::{Error, Result};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use crate::noise::Noise;
use crate::state::Engine;

/// The world of a guest.
pub fn wasi(permissions: &Permissions, engine: Engine) -> Result<WasiCtx> {
    let mut wasi = WasiCtxBuilder::new();
    // What a guest prints goes to the log, and there is nobody to ask.
    wasi.stdout(Noise::new(engine)).stderr(Noise::new(engine));
    // A guest has the thread to itself: files need no second one.
    wasi.allow_blocking_current_thread(true);
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    for (name, value) in &permissions.environment {
        wasi.env(name, value);
    }
    let folders = [(&permissions.read, FsPerms::ReadOnly, "read"), (&permissions.write, FsPerms::ReadWrite, "write")];
    for (folders, access, word) in folders {
        for folder in folders {
            // Under its own name, so that paths in a configuration mean the same in and outside of the guest.
            wasi.preopened_dir(folder, folder, access).map_err(|error| {
                Error::config(format!("the folder {folder} of `permissions: {word}` cannot be opened: {error:#}"))
                    .hint("make the folder, or correct its name")
            })?;
        }
    }
    Ok(wasi.build())
}
