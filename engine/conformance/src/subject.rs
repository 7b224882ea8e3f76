//! A component under test, and how one check of it is run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{ComponentKind, Error, ErrorKind, Result, Shape, Unit};
use engine_host::{Component, Host, Instance, Modules};
use serde_json::Value;

use crate::fixture::{Fixture, Other, Place};
use crate::suite::Session;
use crate::{Check, Fixtures, Outcome, Recorder};

/// How long one check may take. Far more than any needs: what takes this long hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a check ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What must hold did not.
    Failed(String),
    /// Something that the check needs was not there.
    NotRun(String),
    /// The component promises nothing of the kind.
    NotPromised(String),
}

/// How a check ends.
pub type Verdict = Result<(), Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(format!("{}: {error}", error.kind))
    }
}

/// Ends the check unless `holds`.
pub(crate) fn require(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Stop::Failed(what())) }
}

/// A component with one fixture.
pub(crate) struct Subject {
    pub component: Arc<Component>,
    pub fixture: Fixture,
    /// `kind name`, with the fixture's title.
    pub name: String,
    /// The module itself first, then what fixtures may name.
    modules: Vec<Arc<Modules>>,
}

impl Subject {
    /// Every component of a module, which is loaded, once for each of its fixtures.
    pub fn all(module: Arc<Modules>, fixtures: &Fixtures) -> Result<Vec<Arc<Self>>> {
        let mut subjects = Vec::new();
        for identity in module.list().iter().flat_map(|file| &file.identity().components) {
            let component = module.component(identity.kind, &identity.name)?;
            let name = format!("{} {}", identity.kind, identity.name);
            for fixture in fixtures.of(&name) {
                let modules = std::iter::once(&module).chain(&fixtures.others).map(Arc::clone).collect();
                let name = if fixture.title.is_empty() { name.clone() } else { format!("{name} ({})", fixture.title) };
                subjects.push(Arc::new(Self { component: Arc::clone(&component), fixture, name, modules }));
            }
        }
        Ok(subjects)
    }

    /// Runs one check on a thread of its own, so that neither a hang nor a panic ends the suite.
    pub fn check(self: &Arc<Self>, session: &mut Session<'_>, check: Check, work: fn(&Self) -> Verdict) {
        if !session.wants(&self.name, check) {
            return;
        }
        session.begins(&self.name, check);
        let (answer, wait) = mpsc::channel();
        let subject = Arc::clone(self);
        std::thread::spawn(move || {
            let verdict = catch_unwind(AssertUnwindSafe(|| work(&subject)))
                .unwrap_or_else(|panic| Err(Stop::Failed(format!("the suite itself panicked: {}", text_of(&panic)))));
            // Nobody waits any longer when the limit has passed.
            let _ = answer.send(verdict);
        });
        let outcome = match wait.recv_timeout(LIMIT) {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Stop::Failed(why))) => Outcome::Failed(why),
            Ok(Err(Stop::NotRun(why))) => Outcome::NotRun(why),
            Ok(Err(Stop::NotPromised(why))) => Outcome::NotPromised(why),
            Err(_) => Outcome::Failed(format!("did not end within {} s", LIMIT.as_secs())),
        };
        session.add(&self.name, check, outcome);
    }

    /// The configuration that the checks use, before placeholders are filled in.
    pub fn config(&self) -> Result<&Value, Stop> {
        let example = || self.component.description().examples.first().map(|example| &example.config);
        let config = self.fixture.config.as_ref().or_else(example);
        config.ok_or_else(|| Stop::NotRun("no conformance.json and no example says how to configure it".into()))
    }

    /// Sinks: what is given to it.
    pub fn takes(&self) -> Shape {
        self.component.description().takes.shape(self.fixture.takes == Shape::Files)
    }

    /// Sinks: how much it publishes at a time.
    pub fn unit(&self) -> Unit {
        self.component.description().unit_of(self.takes())
    }

    /// New surroundings.
    pub fn place(&self) -> Result<Place, Stop> {
        Place::new(&self.fixture)
    }

    /// A new instance with the fixture's configuration.
    pub fn open(&self, place: &Place, window: u64) -> Result<(Instance, Arc<Recorder>), Stop> {
        open(&self.component, place, &place.fill(self.config()?, window)?, self.takes())
    }

    /// An instance of a component that the fixture names.
    pub fn open_other(&self, kind: ComponentKind, other: &Other, place: &Place) -> Result<Instance, Stop> {
        let found = self.modules.iter().map(|modules| modules.component(kind, &other.component));
        // The module itself comes first; what the last place says is the most telling.
        let component = found.reduce(|first, second| first.or(second));
        let component = component
            .unwrap_or_else(|| Err(Error::config("there are no modules")))
            .map_err(|error| Stop::NotRun(format!("{error}")))?;
        Ok(open(&component, place, &place.fill(&other.config, 1)?, component.description().takes.shape(false))?.0)
    }
}

/// A new instance and the host that it talks to.
pub(crate) fn open(
    component: &Arc<Component>,
    place: &Place,
    config: &Value,
    takes: Shape,
) -> Result<(Instance, Arc<Recorder>), Stop> {
    let host = Arc::new(Recorder::default());
    Ok((component.open(&request(place, config, takes), &sandbox(place), Arc::clone(&host) as Arc<dyn Host>)?, host))
}

/// What the engine would open an instance with.
pub(crate) fn request(place: &Place, config: &Value, takes: Shape) -> OpenRequest {
    OpenRequest {
        config: config.clone(),
        pipeline: "conformance".into(),
        stage: "conformance".into(),
        folder: place.folder().display().to_string(),
        takes: Some(takes),
        ..OpenRequest::default()
    }
}

/// What a module outside of the engine's process may touch: the folder of the check.
pub(crate) fn sandbox(place: &Place) -> Sandbox {
    let mut sandbox = Sandbox::default();
    sandbox.permissions.write.push(place.folder().display().to_string());
    sandbox
}

/// Whether an error blames the component itself.
pub(crate) fn is_bug(error: &Error) -> bool {
    error.kind == ErrorKind::Internal
}

fn text_of(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
