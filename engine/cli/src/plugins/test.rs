//! `engine plugins test`: modules on their way through the conformance suite.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::Error;
use engine_conformance::{Check, FILE, Fixtures, Line, Observer, Report, Suite, components};
use engine_host::Modules;
use serde_json::json;

use crate::arguments::{Global, Isolation, TestModules};
use crate::exit::{Exit, Failure};
use crate::{console, output, places};

pub fn run(global: &Global, command: &TestModules) -> crate::Result {
    let named = command.fixture.as_deref();
    if let Some(folder) = named.filter(|path| path.is_dir()) {
        let error = Error::config(format!("--fixture takes a file, and {} is a folder", folder.display()));
        return Err(error.hint(format!("name the file in it, such as {}", folder.join(FILE).display())).into());
    }
    let modules = if command.modules.is_empty() { open(&[built()?])? } else { open(&command.modules)? };
    if let Some(named) = named {
        require_about(named, &modules)?;
    }
    let state = places::state_for(global, &[]).ok();
    let engine = Arc::new(places::modules(global, state.as_deref(), None).map_err(Failure::environment)?);
    let bench = Bench {
        named,
        known: known(&modules),
        engine,
        isolation: command.isolation,
        filter: command.filter.as_deref(),
        json: global.json,
    };
    let several = modules.len() > 1;
    let mut outcome = Outcome::default();
    for module in modules {
        outcome.add(module.map_err(Failure::from).and_then(|module| bench.test(module)), global.json);
    }
    if outcome.checks == 0 && outcome.exit == Exit::Done {
        let filter = command.filter.as_deref().unwrap_or_default();
        return Err(Error::config(format!("no check of these modules matches `{filter}`"))
            .hint("without --filter, the report shows the components and the names of their checks")
            .into());
    }
    if several && !global.json {
        let Outcome { conforming, others, .. } = outcome;
        console::line(&format!("{conforming} of {} modules conform", conforming + others));
    }
    Ok(outcome.exit)
}

/// The folder with what was built here.
fn built() -> Result<PathBuf, Failure> {
    let folder = PathBuf::from(engine_author::MODULES);
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(Error::config("there is no module to test: nothing was built in this folder")
        .hint("run `engine plugins build` first, or name a module's file")
        .into())
}

/// The modules that were named, and those in the folders that were. One that
/// cannot be used is its error: the others are tested all the same.
fn open(paths: &[PathBuf]) -> Result<Vec<engine_abi::Result<Modules>>, Failure> {
    let mut modules = Vec::new();
    for path in paths {
        if let Err(error) = path.metadata() {
            return Err(Error::from(error)
                .context(path.display())
                .hint("name a module's file, such as target/debug/libmask.so, or a folder with modules")
                .into());
        }
        if !path.is_dir() {
            modules.push(Modules::from_file(path));
            continue;
        }
        // A module's own folder keeps what was built further down.
        let built = path.join(engine_author::MODULES);
        let path = if built.is_dir() { &built } else { path };
        let found = Modules::discover(std::slice::from_ref(path), None);
        if found.list().is_empty() && found.problems().is_empty() {
            return Err(Error::config(format!("there is no module in the folder {}", path.display()))
                .hint("folders below it are not searched; a module can also be named by its file")
                .into());
        }
        modules.extend(found.list().iter().map(|file| Modules::from_file(file.path())));
        modules.extend(found.problems().iter().cloned().map(Err));
    }
    Ok(modules)
}

/// Refuses a fixture that was named and is about none of the modules.
fn require_about(named: &Path, modules: &[engine_abi::Result<Modules>]) -> engine_abi::Result<()> {
    let fixtures = Fixtures::of_file(named)?;
    let mut usable = modules.iter().flatten().peekable();
    if usable.peek().is_none() || usable.any(|module| fixtures.are_about(&components(module))) {
        return Ok(());
    }
    Err(Error::config(format!("{} is about no component of these modules", named.display()))
        .hint("its keys are a component's kind and name, such as `sink postgres`; `engine plugins show` tells them"))
}

/// The components that a fixture can be about: those of the modules under test
/// and of their neighbours, which may share a file.
fn known(modules: &[engine_abi::Result<Modules>]) -> BTreeSet<String> {
    let modules = modules.iter().flatten();
    modules.flat_map(|module| components(module).into_iter().chain(components(&neighbours(module)))).collect()
}

fn file(module: &Modules) -> &Path {
    module.list().first().map_or(Path::new(""), |file| file.path())
}

fn neighbours(module: &Modules) -> Modules {
    let folder = places::folder_of(file(module)).ok();
    Modules::discover(folder.as_slice(), None)
}

/// Told where examples have not been enough: they are made for data of their own.
const EXAMPLES_HINT: &str = "  help: the rows of the suite have the columns n, text, amount and flag, \
                             and a sink must be read back;\n        \
                             a conformance.json beside the module says how, \
                             see \"Tests and conformance\" in docs/guide/connectors.md";

/// What all modules of one call are tested with.
struct Bench<'a> {
    /// The fixture that was named.
    named: Option<&'a Path>,
    /// Components that fixtures may be about.
    known: BTreeSet<String>,
    /// The modules of this engine, for components that fixtures name.
    engine: Arc<Modules>,
    isolation: Isolation,
    filter: Option<&'a str>,
    json: bool,
}

impl Bench<'_> {
    fn test(&self, module: Modules) -> Result<Report, Failure> {
        let (path, identity) = match module.list() {
            [file] => (file.path().to_owned(), file.identity().clone()),
            _ => return Err(Error::internal("a module was opened that is not one file").into()),
        };
        let (fixture, fixtures) = self.fixtures(&path, &components(&module))?;
        let fixtures = fixtures.with_modules(Arc::new(neighbours(&module))).with_modules(Arc::clone(&self.engine));
        let module = match self.isolation {
            Isolation::None => module,
            Isolation::Process => module.isolated(&std::env::current_exe().map_err(Error::from)?),
        };
        let suite = Suite::load(module, &fixtures).map_err(Failure::environment)?;
        if !self.json {
            let with = match &fixture {
                Some(file) => format!("with {}", file.display()),
                None => format!("without a {FILE} about it: its components are run with their first examples"),
            };
            console::line(&format!("{}, module {} {}, {with}", path.display(), identity.name, identity.version));
        }
        let report = suite.run(&mut Printer { filter: self.filter.map(plain), json: self.json, component: None });
        if self.json {
            output::json(&json!({
                "module": path, "name": identity.name, "version": identity.version, "fixture": fixture,
                "conforms": report.conforms(), "totals": report.totals(), "checks": report.lines,
            }));
        } else if !report.lines.is_empty() {
            console::line(&format!("{}: {}", report.totals(), verdict(&report, self.filter.is_some())));
            if fixture.is_none() && !report.conforms() {
                console::line(EXAMPLES_HINT);
            }
        }
        Ok(report)
    }

    /// The fixtures of a module and their file: the one that was named, else the
    /// one beside the module, else the one in the folder that it was built in, else the one here; no file
    /// if it says nothing of the module.
    fn fixtures(&self, module: &Path, components: &BTreeSet<String>) -> Result<(Option<PathBuf>, Fixtures), Failure> {
        let beside = places::folder_of(module)?;
        let own = beside.ends_with(engine_author::MODULES).then(|| beside.join("../..").join(FILE));
        let places = [Some(beside.join(FILE)), own, Some(PathBuf::from(FILE))];
        let found = || places.into_iter().flatten().find(|path| path.is_file());
        let Some(file) = self.named.map(Path::to_owned).or_else(found) else { return Ok((None, Fixtures::none())) };
        let fixtures = Fixtures::of_file(&file)?;
        fixtures.require_known(&self.known)?;
        Ok((Some(file).filter(|_| fixtures.are_about(components)), fixtures))
    }
}

/// What a report comes to, in a sentence.
fn verdict(report: &Report, filtered: bool) -> &'static str {
    let totals = report.totals();
    if totals.failed > 0 {
        "the module does not conform; what FAILED must hold for every module of its kind"
    } else if totals.not_run > 0 {
        "the module is not known to conform; what was NOT RUN counts as not passed, and says what it needs"
    } else if filtered {
        "these checks hold"
    } else {
        "the module conforms"
    }
}

/// How the tests of all modules ended.
struct Outcome {
    exit: Exit,
    checks: usize,
    conforming: usize,
    others: usize,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { exit: Exit::Done, checks: 0, conforming: 0, others: 0 }
    }
}

impl Outcome {
    fn add(&mut self, tested: Result<Report, Failure>, json: bool) {
        let exit = match tested {
            Ok(report) => {
                self.checks += report.lines.len();
                if report.conforms() { Exit::Done } else { Exit::Failed }
            }
            Err(failure) => failure.print(json),
        };
        *if exit == Exit::Done { &mut self.conforming } else { &mut self.others } += 1;
        self.exit = self.exit.max(exit);
    }
}

/// Prints each check when it ends. A module that takes the process down has at
/// least shown at which check.
struct Printer {
    filter: Option<String>,
    json: bool,
    /// The component whose heading was printed last.
    component: Option<String>,
}

impl Observer for Printer {
    fn wants(&self, component: &str, check: Check) -> bool {
        let name = || plain(&format!("{component} {}", check.name()));
        self.filter.as_ref().is_none_or(|filter| name().contains(filter))
    }

    fn begins(&mut self, component: &str, check: Check) {
        if !self.json && console::is_terminal() {
            console::progress(&format!("{component}: {} …", check.name()));
        }
    }

    fn ended(&mut self, line: &Line) {
        if self.json {
            return;
        }
        console::progress("");
        if self.component.as_ref() != Some(&line.component) {
            console::line(&line.component);
            self.component = Some(line.component.clone());
        }
        console::line(&line.to_string());
    }
}

/// Letters and digits alone, so that `commit once` is `CommitOnce` too.
fn plain(text: &str) -> String {
    text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
