//! Group commit: one thread makes durable what many have appended.

use std::sync::{Arc, PoisonError};

use fail::fail_point;

use super::writer::Shared;

/// Syncs until the spool closes; what was appended by then is durable when it ends.
pub(crate) fn run(shared: &Shared) {
    let mut inner = shared.lock();
    loop {
        inner = shared
            .dirty
            .wait_while(inner, |inner| !inner.is_dirty() && !inner.closing && inner.broken.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        if !inner.is_dirty() || inner.broken.is_some() {
            return;
        }
        // Others join meanwhile, unless someone waits for what is there.
        inner = shared
            .dirty
            .wait_timeout_while(inner, shared.options.group_commit, |inner| !inner.urgent && !inner.closing)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        inner.urgent = false;
        let (file, start, end) = (Arc::clone(&inner.active), inner.active_start(), inner.end);
        drop(inner);
        let synced = shared.sync(&file, start);
        if synced.is_ok() {
            fail_point!("spool::synced");
        }
        inner = shared.lock();
        match synced {
            Ok(()) => inner.durable = inner.durable.max(end),
            Err(error) => shared.give_up(&mut inner, error),
        }
        shared.durable.notify_all();
    }
}
