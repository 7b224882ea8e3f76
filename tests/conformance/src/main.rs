//! Runs the conformance suite on one module file:
//!
//! ```text
//! cargo run -p engine-conformance-tests -- target/debug/libengine_plugin_csv.so plugins/csv
//! ```
//!
//! The folder is where its `conformance.json` stands, if it has one. Components
//! that this file names are looked for beside the module.

use std::path::Path;
use std::process::ExitCode;

use engine_conformance_tests::{Fixtures, check_module};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (module, fixtures) = match arguments.as_slice() {
        [module] => (module, Ok(Fixtures::none())),
        [module, folder] => (module, Fixtures::of_folder(Path::new(folder))),
        _ => {
            eprintln!("usage: engine-conformance-tests MODULE [FOLDER OF conformance.json]");
            return ExitCode::from(2);
        }
    };
    let fixtures = match fixtures {
        Ok(fixtures) => fixtures.with_modules_in(Path::new(module).parent().unwrap_or(Path::new("."))),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let report = check_module(Path::new(module), &fixtures);
    print!("{report}");
    if report.conforms() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
