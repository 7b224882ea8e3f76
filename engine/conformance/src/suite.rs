//! A loaded module, and its way through the checks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::{ComponentKind, Result};
use engine_host::Modules;

use crate::subject::Subject;
use crate::{
    Check, Fixtures, Line, Outcome, Report, components, compression, description, flow, format, sink, source, state,
};

/// What stands for the module as a whole in the lines of a report.
const MODULE: &str = "module";

/// Decides which checks are run and is told of each. A module that takes the
/// process down leaves no report: what was told until then is all there is.
pub trait Observer {
    /// Whether a check of a component is run.
    fn wants(&self, _component: &str, _check: Check) -> bool {
        true
    }
    /// A check begins.
    fn begins(&mut self, _component: &str, _check: Check) {}
    /// A check has ended.
    fn ended(&mut self, _line: &Line) {}
}

/// Wants every check.
impl Observer for () {}

/// A module that is loaded, with its components and how to run each of them.
pub struct Suite {
    module: PathBuf,
    subjects: Vec<Arc<Subject>>,
}

impl Suite {
    /// Loads a module that [`Modules::from_file`] has opened. Fails when it cannot
    /// be loaded or its table is not what its manifest says.
    pub fn load(module: Modules, fixtures: &Fixtures) -> Result<Self> {
        let path = module.list().first().map(|file| file.path().to_owned()).unwrap_or_default();
        Ok(Self { module: path, subjects: Subject::all(Arc::new(module), fixtures)? })
    }

    /// Runs the checks that `observer` wants.
    pub fn run(&self, observer: &mut dyn Observer) -> Report {
        let mut session = Session { report: Report::new(&self.module), observer };
        if session.wants(MODULE, Check::Loads) {
            session.add(MODULE, Check::Loads, Outcome::Passed);
        }
        for subject in &self.subjects {
            run(subject, &mut session);
        }
        session.report
    }
}

/// Puts all components of one module file through the whole suite.
pub fn check_module(path: &Path, fixtures: &Fixtures) -> Report {
    check(path, Modules::from_file(path), fixtures)
}

/// As [`check_module`], but with a process for each instance; `program` is the engine's.
pub fn check_isolated_module(path: &Path, fixtures: &Fixtures, program: &Path) -> Report {
    check(path, Modules::from_file(path).map(|module| module.isolated(program)), fixtures)
}

fn check(path: &Path, module: Result<Modules>, fixtures: &Fixtures) -> Report {
    let suite = module.and_then(|module| {
        fixtures.require_known(&components(&module))?;
        Suite::load(module, fixtures)
    });
    match suite {
        Ok(suite) => suite.run(&mut ()),
        Err(error) => {
            let mut report = Report::new(path);
            let outcome = Outcome::Failed(error.to_string());
            report.lines.push(Line { component: MODULE.into(), check: Check::Loads, outcome });
            report
        }
    }
}

fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    let component = subject.component.description();
    description::run(subject, session);
    match component.kind {
        ComponentKind::Source if component.push => source::run_push(subject, session),
        ComponentKind::Source => source::run(subject, session),
        ComponentKind::Transform => flow::run(subject, session),
        ComponentKind::Format => {
            flow::run(subject, session);
            match component.is_compression() {
                true => compression::run(subject, session),
                false => format::run(subject, session),
            }
        }
        ComponentKind::Sink => {
            flow::run(subject, session);
            sink::run(subject, session);
        }
        ComponentKind::State => state::run(subject, session),
    }
}

/// The checks of one module while they are run.
pub(crate) struct Session<'a> {
    report: Report,
    observer: &'a mut dyn Observer,
}

impl Session<'_> {
    pub fn wants(&self, component: &str, check: Check) -> bool {
        self.observer.wants(component, check)
    }

    pub fn begins(&mut self, component: &str, check: Check) {
        self.observer.begins(component, check);
    }

    pub fn add(&mut self, component: &str, check: Check, outcome: Outcome) {
        let line = Line { component: component.to_owned(), check, outcome };
        self.observer.ended(&line);
        self.report.lines.push(line);
    }
}
