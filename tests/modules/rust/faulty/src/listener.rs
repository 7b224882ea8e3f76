//! A push source to which nobody ever sends anything.

use std::time::{Duration, Instant};

use engine_sdk::prelude::*;

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Listens on although it was asked to stop.
pub const NEVER_HANGS_UP: u8 = 1;

/// Even a listener that never hangs up must not outlive the tests.
const LONGEST: Duration = Duration::from_secs(15);

/// There is nothing to set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Listens; `FAULT` says what is wrong with it.
pub struct Listener<const FAULT: u8> {
    cx: Context,
}

impl<const FAULT: u8> Component for Listener<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Listens";

    fn examples() -> Vec<Example> {
        vec![example("nothing to set", json!({}))]
    }

    fn open(_: Config, cx: Context) -> Result<Self> {
        Ok(Self { cx })
    }
}

impl<const FAULT: u8> PushSource for Listener<FAULT> {
    fn listen(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            if self.cx.cancelled() && FAULT != NEVER_HANGS_UP {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
