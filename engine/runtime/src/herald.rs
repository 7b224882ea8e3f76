//! Tells beside the work, of a run that does not end by itself.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_abi::Result;

use crate::notices;
use crate::shared::Shared;
use crate::spans::carried;

/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing is tried after something could not be told.
const PAUSE: Duration = Duration::from_secs(60);

/// At most one thread at a time, which tells what there is.
pub(crate) struct Herald {
    shared: Arc<Shared>,
    telling: Option<JoinHandle<Result<bool>>>,
    next: Instant,
}

impl Herald {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), telling: None, next: Instant::now() }
    }

    /// Begins to tell, where there is something to tell and nobody does.
    pub(crate) fn look(&mut self) -> Result<()> {
        if self.telling.as_ref().is_some_and(|telling| !telling.is_finished()) {
            return Ok(());
        }
        if self.telling.is_some() {
            let all_told = self.join()?;
            self.next = Instant::now() + if all_told { LOOK } else { PAUSE };
        }
        if self.shared.current.notices.is_empty() || Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + LOOK;
        if self.shared.state.notices(self.shared.pipeline())?.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let telling = std::thread::Builder::new()
            .name("herald".into())
            .spawn(carried(move || Ok(notices::tell(&shared.state, &shared.current, &shared.stop)?.is_empty())));
        match telling {
            Ok(telling) => self.telling = Some(telling),
            // The run's end tells it.
            Err(error) => tracing::warn!(pipeline = self.shared.pipeline(), "a thread cannot be started: {error}"),
        }
        Ok(())
    }

    /// Waits for what is being told. Answers whether all of it could be.
    pub(crate) fn join(&mut self) -> Result<bool> {
        match self.telling.take() {
            Some(telling) => telling.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
            None => Ok(true),
        }
    }
}
