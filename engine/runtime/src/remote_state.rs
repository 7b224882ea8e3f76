//! A `state` component as the mirror of the state in the folder.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use engine_abi::message::{AcquireRequest, Acquired, OpenRequest, ReleaseRequest, Sandbox, StateChange, StoreRequest};
use engine_abi::{Error, ErrorKind, Result};
use engine_host::{Component, Instance};
use engine_state::Mirror;

use crate::letters::Letters;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// How long the state stays this engine's without a sign of life.
const LEASE: Duration = Duration::from_secs(30);
/// How often it gives one.
const SIGN: Duration = Duration::from_secs(10);
/// How long a change is tried again while the database does not answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The file in the state folder that names the last holder: its engine has ended
/// when another one has the folder.
const HOLDER: &str = "holder";

/// A state component at work.
pub struct RemoteState {
    shared: Arc<Shared>,
    folder: PathBuf,
    signs: Option<JoinHandle<()>>,
}

struct Shared {
    held: Mutex<Held>,
    /// Woken when the state is given back.
    over: Condvar,
    holder: String,
}

struct Held {
    instance: Instance,
    sequence: u64,
    last_sign: Instant,
    is_over: bool,
}

impl RemoteState {
    /// Opens a `state` component for the state in `folder`. Reaches nothing yet.
    ///
    /// # Errors
    /// Those of the component.
    pub fn open(component: &Arc<Component>, config: serde_json::Value, folder: &Path, beside: &Path) -> Result<Self> {
        let host = StageHost::new("state", "state", &Stop::new(), Letters::Nowhere);
        let beside = beside.display().to_string();
        let request = OpenRequest {
            config,
            pipeline: "state".into(),
            stage: "state".into(),
            folder: beside,
            ..OpenRequest::default()
        };
        let instance = component.open(&request, &Sandbox::default(), host).map_err(|error| error.at("state.yaml"))?;
        let held = Held { instance, sequence: 0, last_sign: Instant::now(), is_over: false };
        let holder = uuid::Uuid::new_v4().to_string();
        let shared = Arc::new(Shared { held: Mutex::new(held), over: Condvar::new(), holder });
        Ok(Self { shared, folder: folder.to_owned(), signs: None })
    }

    /// Gives signs of life while nothing is stored.
    fn begin_signs(&mut self) -> Result<()> {
        if self.signs.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("state holder".into()).spawn(move || shared.give_signs());
        self.signs = Some(thread.map_err(|error| Error::from(error).context("a thread cannot be started"))?);
        Ok(())
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_signs(&self) {
        let mut held = self.held();
        while !held.is_over {
            let due = SIGN.saturating_sub(held.last_sign.elapsed());
            if !due.is_zero() {
                held = self.over.wait_timeout(held, due).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let (holder, sequence) = (self.holder.clone(), held.sequence);
            let sign = StoreRequest { holder, after: sequence, sequence, ..StoreRequest::default() };
            // What a failure means shows when something is to be stored.
            match held.instance.store(&sign) {
                // It is that, too, where a change was taken without an answer: the next one finds out.
                Err(error) if error.kind == ErrorKind::Denied => tracing::debug!("{error}"),
                Err(error) => tracing::warn!("the state's database does not answer: {error}"),
                Ok(()) => {}
            }
            held.last_sign = Instant::now();
        }
    }
}

impl Held {
    fn acquire(&mut self, holder: &str, former: Option<String>) -> Result<Acquired> {
        let request = AcquireRequest {
            holder: holder.to_owned(),
            shown: shown(),
            former,
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
        };
        let acquired = self.instance.acquire(&request)?;
        self.sequence = acquired.sequence;
        self.last_sign = Instant::now();
        Ok(acquired)
    }
}

/// This engine, for the message that another one gets.
fn shown() -> String {
    format!("the engine with process id {} on {}", std::process::id(), nodename())
}

fn nodename() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Mirror for RemoteState {
    fn acquire(&mut self) -> Result<Acquired> {
        let path = self.folder.join(HOLDER);
        let named = |error: std::io::Error| Error::from(error).context(path.display());
        // A copy of the folder, on another machine or on this one, is another place.
        let place = format!("{} {}", nodename(), std::fs::metadata(&self.folder).map_err(named)?.ino());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let former = text.split_once('\n').filter(|(_, at)| at.trim() == place).map(|(former, _)| former.to_owned());
        let acquired = self.shared.held().acquire(&self.shared.holder, former).map_err(|error| error.at("state"))?;
        std::fs::write(&path, format!("{}\n{place}\n", self.shared.holder)).map_err(named)?;
        Ok(acquired)
    }

    fn load(&mut self) -> Result<Box<dyn Iterator<Item = Result<StateChange>> + '_>> {
        let batches = self.shared.held().instance.load().map_err(|error| error.at("state"))?;
        Ok(Box::new(batches.flat_map(|batch| match batch.and_then(|batch| documents(&batch)) {
            Ok(documents) => documents.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error.at("state"))],
        })))
    }

    fn store(&mut self, request: &StoreRequest) -> Result<()> {
        // Not before: what `load` gives belongs to the instance that they would use.
        self.begin_signs()?;
        let request = StoreRequest { holder: self.shared.holder.clone(), ..request.clone() };
        let mut held = self.shared.held();
        let begun = Instant::now();
        loop {
            let error = match held.instance.store(&request) {
                Ok(()) => break,
                Err(error) => error,
            };
            if error.kind != ErrorKind::Unavailable || begun.elapsed() > PATIENCE {
                return Err(error.at("state"));
            }
            tracing::warn!("the state's database does not answer, and is asked again: {error}");
            // It may have been taken without an answer: it is not sent again before that is known.
            let acquired = loop {
                std::thread::sleep(PAUSE);
                match held.acquire(&self.shared.holder, None) {
                    Ok(acquired) => break acquired,
                    Err(error) if error.kind != ErrorKind::Unavailable || begun.elapsed() > PATIENCE => {
                        return Err(error.at("state"));
                    }
                    Err(_) => {}
                }
            };
            if acquired.last.as_deref() == Some(&request.id) {
                break;
            }
        }
        held.sequence = request.sequence;
        held.last_sign = Instant::now();
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        let mut held = self.shared.held();
        held.is_over = true;
        self.shared.over.notify_all();
        held.instance.release(&ReleaseRequest { holder: self.shared.holder.clone() }).map_err(|error| error.at("state"))
    }
}

impl Drop for RemoteState {
    fn drop(&mut self) {
        self.shared.held().is_over = true;
        self.shared.over.notify_all();
        if let Some(signs) = self.signs.take() {
            let _ = signs.join();
        }
    }
}

fn documents(batch: &arrow_array::RecordBatch) -> Result<Vec<StateChange>> {
    let wrong = || {
        Error::internal("a state gave documents that are none")
            .hint("this is a bug in the module; report it to its author")
    };
    let column = |at: usize| batch.columns().get(at).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(wrong);
    let (collections, keys, texts) = (column(0)?, column(1)?, column(2)?);
    (0..batch.num_rows())
        .map(|row| {
            Ok(StateChange {
                collection: collections.value(row).to_owned(),
                key: keys.value(row).to_owned(),
                document: Some(serde_json::from_str(texts.value(row)).map_err(|_| wrong())?),
            })
        })
        .collect()
}
