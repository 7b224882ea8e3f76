//! The program `engine`: reads what the user asks for, puts the parts together,
//! and turns what comes back into text and an exit code.
//!
//! Nothing is decided here that a library could decide: the pipeline file is
//! `engine-spec`'s, modules are `engine-host`'s, runs are `engine-runtime`'s.

mod arguments;
mod backfill;
mod catalogue;
mod connections;
mod console;
mod control;
mod dead_letters;
mod deliveries;
mod environment;
mod exit;
mod explain;
#[cfg(feature = "failpoints")]
mod failpoints;
mod files;
mod logging;
mod output;
mod places;
mod plugins;
mod preview;
mod project;
mod remote;
mod run;
mod runs;
mod sandbox;
mod schema;
mod serve;
mod state;
mod telemetry;
mod test;
mod tokens;
mod validate;

use clap::Parser;

use arguments::{Arguments, Command};
use exit::Exit;

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::parse();
    // A variable that is empty is one that is not set.
    let state = || std::env::var_os("ENGINE_STATE").filter(|folder| !folder.is_empty());
    arguments.global.state = arguments.global.state.or_else(|| state().map(Into::into));
    let collector = || std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|url| !url.is_empty());
    arguments.global.otlp = arguments.global.otlp.or_else(collector);
    #[cfg(feature = "failpoints")]
    failpoints::arm();
    let result = match &arguments.command {
        Command::Run(command) => run::run(&arguments.global, command),
        Command::Serve(command) => serve::run(&arguments.global, command),
        Command::Backfill(command) => backfill::run(&arguments.global, command),
        Command::Validate(command) => validate::run(&arguments.global, command),
        Command::Explain(command) => explain::run(&arguments.global, command),
        Command::Preview(command) => preview::run(&arguments.global, command),
        Command::Test(command) => test::run(&arguments.global, command),
        Command::Plugins(command) => plugins::run(&arguments.global, command),
        Command::Connections(command) => connections::run(&arguments.global, command),
        Command::Catalogue(command) => catalogue::run(&arguments.global, command),
        Command::Runs(command) => runs::run(&arguments.global, command),
        Command::DeadLetters(command) => dead_letters::run(&arguments.global, command),
        Command::Deliveries(command) => deliveries::run(&arguments.global, command),
        Command::State(command) => state::run(&arguments.global, command),
        Command::Tokens(command) => tokens::run(&arguments.global, command),
        Command::Schema(command) => schema::run(&arguments.global, command),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => failpoints::list(),
        Command::PluginHost { socket, module, control } => {
            return engine_host::serve_module([*socket, *module, *control]);
        }
    };
    telemetry::finish();
    result.unwrap_or_else(|error| error.print(arguments.global.json)).code()
}

/// What a command comes to.
type Result<T = Exit> = std::result::Result<T, exit::Failure>;
