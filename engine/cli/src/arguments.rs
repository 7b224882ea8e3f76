//! What can be asked for. The doc comments are the help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine_author::Language;

/// Moves data by pipelines: `engine run pipelines/*.yaml`.
#[derive(Debug, Parser)]
#[command(name = "engine", version, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Settings of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The state folder [env: ENGINE_STATE] [default: `.engine` beside the pipeline files]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// A folder with modules; can be repeated [default: see `engine plugins path`]
    #[arg(long, global = true, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// How lines of the log look
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub log_format: LogFormat,
    /// How many days of the log are kept
    #[arg(long, global = true, value_name = "DAYS", default_value = "30")]
    pub log_days: std::num::NonZeroU16,
    /// Where traces of runs, and the figures of a service, are sent: a collector that takes OTLP by HTTP, such as
    /// http://127.0.0.1:4318 [env: OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, global = true, value_name = "URL")]
    pub otlp: Option<String>,
    /// Log more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person
    Text,
    /// An object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pipelines until they are done, or until stopped
    Run(Run),
    /// Run pipelines on their schedules and on demand, until stopped
    Serve(Serve),
    /// Read old windows of a pipeline once more; its next run goes on where it would have without
    Backfill(Backfill),
    /// Find everything that is wrong with pipeline files
    Validate(Files),
    /// Say what a pipeline does, and what each sink is promised
    Explain(Files),
    /// Show the first rows after each stage; writes nothing
    Preview(Preview),
    /// Run the `tests:` of pipeline files
    Test(Files),
    /// The modules that are found, and where they are looked for
    #[command(subcommand)]
    Plugins(Plugins),
    /// The named connections of a folder
    #[command(subcommand)]
    Connections(Connections),
    /// The tables of reports in a database: make them, see what is wrong
    #[command(subcommand)]
    Catalogue(Catalogue),
    /// The latest runs
    Runs(Runs),
    /// Records that were refused: look, try again, give up
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// What went where: the ledger of deliveries
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// How far pipelines have got
    #[command(subcommand)]
    State(State),
    /// Who may ask a service
    #[command(subcommand)]
    Tokens(Tokens),
    /// JSON Schemas, for editors
    Schema(Schema),
    /// How the engine starts itself for a module with `isolation: process`
    #[command(hide = true)]
    PluginHost {
        /// The descriptor of a socket
        socket: i32,
        /// That of the module's file
        module: i32,
        /// That of a page of memory
        control: i32,
    },
    /// List the points at which a test can end the process
    #[cfg(feature = "failpoints")]
    Failpoints,
}

#[derive(Debug, Args)]
pub struct Files {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub files: Files,
    /// After a request to stop, how long received data is still delivered
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub drain: Duration,
    /// How long a sink may take nothing, while others do, before it is left behind and goes on alone
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub stall: Duration,
    /// Take the columns of sources as they are now, where they are others than in the run before
    #[arg(long)]
    pub accept_schema: bool,
    /// Run each pipeline now and once, whatever its schedule says
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub set: Set,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Pipeline files, or folders of which every pipeline file counts; changes are noticed. None only with a catalogue
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Also run the reports of a database: mysql://USER:PASSWORD@HOST/DATABASE, or `${env:NAME}` or `${file:PATH}`
    #[arg(long, value_name = "URL")]
    pub catalogue: Option<String>,
    /// How often the catalogue is looked at for changes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, requires = "catalogue")]
    pub catalogue_poll: Duration,
    /// The most reports at a time; the rest waits in order
    #[arg(long, value_name = "NUMBER", default_value = "10", requires = "catalogue")]
    pub catalogue_runs: std::num::NonZeroU16,
    /// Where it is reached; elsewhere than on this machine only once there is a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: std::net::SocketAddr,
    /// A name that it is reached by, besides its addresses; can be repeated
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// A PEM file with a certificate and its chain: it is reached by HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// The most runs at a time; the rest waits in order. Sources that receive do not count
    #[arg(long, value_name = "NUMBER", default_value = "64")]
    pub max_runs: std::num::NonZeroU16,
    /// After a request to stop, how long received data is still delivered
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub drain: Duration,
    /// How long a sink may take nothing, while others do, before it is left behind and goes on alone
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub stall: Duration,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Set {
    /// The value of a parameter of the pipelines, under `params:`; may come several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct Backfill {
    /// A pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to begin: what is larger is read. A number, a day, a time, any value of the cursor
    #[arg(long, value_name = "VALUE")]
    pub from: String,
    /// Where to end, included
    #[arg(long, value_name = "VALUE")]
    pub to: String,
    /// How far each window goes: 1d, 6h, or a number [default: one window for all]
    #[arg(long, value_name = "STEP")]
    pub by: Option<String>,
    /// How long a sink may take nothing, while others do, before it is left behind and goes on alone
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub stall: Duration,
    /// Take the columns of sources as they are now, where they are others than in the run before
    #[arg(long)]
    pub accept_schema: bool,
    #[command(flatten)]
    pub set: Set,
}

#[derive(Debug, Args)]
pub struct Preview {
    /// A pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How many rows
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rows: u16,
    #[command(flatten)]
    pub set: Set,
}

#[derive(Debug, Subcommand)]
pub enum Plugins {
    /// List modules and their components
    List,
    /// Show a component: what it does, its settings, an example
    Show {
        /// The component, as in `use:`
        name: String,
    },
    /// Show where modules are looked for
    Path,
    /// Begin a module: a folder that builds, with a test, a sample pipeline and a README
    New(NewModule),
    /// Build the module of a folder, and put it where pipelines of that folder find it
    Build(BuildModule),
    /// Put modules through the conformance suite: does each keep to its contract?
    Test(TestModules),
    /// Write plugins.lock beside pipeline files: no other modules are loaded for them
    Lock(OptionalFiles),
    /// Compare the modules with plugins.lock
    Verify(OptionalFiles),
}

#[derive(Debug, Args)]
pub struct OptionalFiles {
    /// Pipeline files; none: all modules that are found, and the lock of the state folder if one is
    /// named, else of this folder
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct NewModule {
    /// The folder to make; its name becomes the component's, `-` as `_`
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// What the component is
    #[arg(long)]
    pub kind: Kind,
    /// What it is written in: rust, c, python or javascript
    #[arg(long, value_name = "LANGUAGE", default_value = "rust", value_parser = language)]
    pub lang: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    Source,
    Transform,
    Format,
    Sink,
}

#[derive(Debug, Args)]
pub struct BuildModule {
    /// The module's folder
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub folder: PathBuf,
    /// What to build [default: native for Rust, wasm for the others]
    #[arg(long)]
    pub target: Option<Target>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Target {
    /// A library of this machine
    Native,
    /// A WASM component
    Wasm,
}

#[derive(Debug, Args)]
pub struct TestModules {
    /// Module files, wherever they lie, or folders with modules [default: what `engine plugins build` built here]
    #[arg(value_name = "FILE")]
    pub modules: Vec<PathBuf>,
    /// How to run the components [default: `conformance.json` beside the module, else in the folder
    /// that it was built in, else in this one]
    #[arg(long, value_name = "FILE")]
    pub fixture: Option<PathBuf>,
    /// Where native modules run: one that crashes in a process of its own fails the check, and the
    /// next ones are done
    #[arg(long, value_name = "HOW", default_value = "none")]
    pub isolation: Isolation,
    /// Only checks whose component or name holds this text, such as `sink` or `CommitOnce`
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// In this process
    None,
    /// In a process of its own
    Process,
}

#[derive(Debug, Subcommand)]
pub enum Connections {
    /// List them
    List(Folder),
    /// Try each of them out
    Check(Folder),
}

#[derive(Debug, Subcommand)]
pub enum Catalogue {
    /// Make the tables that are missing; none is changed or dropped
    Init(CatalogueAt),
    /// Find everything that is wrong with the rows of each report
    Check(CatalogueAt),
}

#[derive(Debug, Args)]
pub struct CatalogueAt {
    /// The database: mysql://USER:PASSWORD@HOST/DATABASE, or `${env:NAME}` or `${file:PATH}`
    /// [default: `${env:ENGINE_CATALOGUE}`]
    #[arg(long, value_name = "URL", default_value = "${env:ENGINE_CATALOGUE}", hide_default_value = true)]
    pub catalogue: String,
}

#[derive(Debug, Args)]
pub struct Folder {
    /// The folder with `connections.yaml` [default: `.`, else `pipelines`]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Runs {
    /// Only of this pipeline
    #[arg(value_name = "PIPELINE")]
    pub pipeline: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// List them, the newest first
    List {
        #[command(flatten)]
        of: DeliveriesOf,
        /// Only those that have not arrived yet
        #[arg(long)]
        unsettled: bool,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show those of a window whole: hashes, answers, what is kept
    Show {
        /// The pipeline
        pipeline: String,
        /// The window's number
        window: u64,
        /// Only to this sink
        #[arg(long)]
        sink: Option<String>,
    },
    /// Deliver a window that has failed, or once more what was kept of one
    Resend {
        /// The pipeline file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The window's number
        window: u64,
        /// Only to this sink; can be repeated
        #[arg(long)]
        sink: Vec<String>,
        /// Also what has been delivered already: whoever got it gets it again
        #[arg(long)]
        again: bool,
    },
}

#[derive(Debug, Args)]
pub struct DeliveriesOf {
    /// Only of this pipeline
    #[arg(long)]
    pub pipeline: Option<String>,
    /// Only to this sink
    #[arg(long)]
    pub sink: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List them, oldest first
    List {
        #[command(flatten)]
        which: Which,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one whole
    Show {
        /// Its number
        id: i64,
    },
    /// Try them again, through the pipeline as its file says now
    Replay {
        /// The pipeline file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only this one; can be repeated
        #[arg(long)]
        id: Vec<i64>,
        /// Only of this stage, such as `source` or `sinks.postgres`
        #[arg(long)]
        stage: Option<String>,
        /// Only into this sink; can be repeated
        #[arg(long)]
        sink: Vec<String>,
    },
    /// Give them up: they stay listed as dropped
    Drop {
        #[command(flatten)]
        which: Which,
        /// Only this one; can be repeated
        #[arg(long)]
        id: Vec<i64>,
        /// All that match, without naming any
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub struct Which {
    /// Only of this pipeline
    #[arg(long)]
    pub pipeline: Option<String>,
    /// Only of this stage, such as `source` or `sinks.postgres`
    #[arg(long)]
    pub stage: Option<String>,
    /// Only with this status [default: final]
    #[arg(long)]
    pub status: Option<Status>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Status {
    Pending,
    Final,
    Replayed,
    Dropped,
}

#[derive(Debug, Subcommand)]
pub enum State {
    /// Show how far each sink has got
    Show {
        /// Only this pipeline
        pipeline: Option<String>,
    },
    /// Set where the next window of a pipeline begins
    Set {
        /// The pipeline
        pipeline: String,
        /// The value, as JSON
        value: String,
    },
    /// Forget how far a pipeline has got: it begins again
    Reset {
        /// The pipeline
        pipeline: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make one, and show it once
    Add {
        /// Whose it is
        name: String,
        /// What it allows
        #[arg(long, default_value = "read")]
        role: RoleWord,
    },
    /// List them; what they are is not known
    List,
    /// Remove one
    Remove {
        /// Whose it is
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleWord {
    /// Look
    Read,
    /// Also trigger, pause, replay, resend, drop, reload
    Operate,
}

#[derive(Debug, Args)]
pub struct Schema {
    /// `pipeline`, `connections`, or a component
    #[arg(default_value = "pipeline", value_name = "WHAT")]
    pub what: String,
    /// Write all of them into this folder instead
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    engine_spec::parse_duration(text).map_err(|error| error.to_string())
}

fn language(text: &str) -> Result<Language, String> {
    text.parse()
}
