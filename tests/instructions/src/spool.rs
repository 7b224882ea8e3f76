//! The spool, as a push source fills it.

use engine_abi::Result;
use engine_state::spool::{Framing, Record};
use engine_state::{Spool, SpoolOptions};

use crate::{BLOCK, calls, require};

pub fn append(blocks: usize) -> Result<()> {
    let lines = calls::lines();
    let folder = tempfile::tempdir()?;
    let spool = Spool::open(folder.path(), SpoolOptions::default())?;
    let mut rows = 0;
    for _ in 0..blocks {
        for line in &lines {
            spool.append(&Record {
                connection: 1,
                peer: "192.0.2.7:50112",
                received: 1_704_067_200_000_000,
                frames: 1,
                framing: Framing::Complete,
                bytes: line.as_bytes(),
            })?;
            rows += 1;
        }
    }
    spool.flush()?;
    require("lines", rows, blocks * BLOCK)
}
