//! Runs the conformance suite on one module file:
//!
//! ```text
//! cargo run -p engine-conformance-tests -- target/debug/libengine_plugin_csv.so plugins/csv
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine_conformance::{FILE, Fixtures, Report, check_module};
use engine_conformance_tests::{self as modules, Bundled};

const HELP: &str = "\
Puts a module through the conformance suite and prints how each check ended.

usage: engine-conformance-tests MODULE [FOLDER]

  MODULE  the built module, such as target/debug/libengine_plugin_csv.so
  FOLDER  the connector's folder, where its conformance.json stands; left out,
          the folder of the engine's tree that is named like the module

Components that conformance.json names are looked for in the module itself and
beside it. Ends with 0 when all checks were run and hold, 1 when they do not,
2 when nothing could be checked.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let report = match arguments.as_slice() {
        [module] => check(Path::new(module), None),
        [module, folder] => check(Path::new(module), Some(folder)),
        _ => Err(HELP.to_owned()),
    };
    match report {
        Ok(report) => {
            print!("{report}");
            if report.conforms() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn check(module: &Path, folder: Option<&OsString>) -> Result<Report, String> {
    let folder = match folder {
        Some(folder) => Some(PathBuf::from(folder)),
        None => Bundled::of_module(module)?.map(|connector| connector.folder),
    };
    let examples = "its components are run with their first examples";
    let fixtures = match &folder {
        None => {
            println!("no FOLDER is given, and the tree has none for this module: {examples}");
            Fixtures::none()
        }
        Some(folder) => {
            let fixtures = Fixtures::of_folder(folder)?;
            let file = folder.join(FILE);
            match file.exists() {
                true => println!("with {}", file.display()),
                false => println!("there is no {}: {examples}", file.display()),
            }
            if folder.join("Cargo.toml").exists() {
                modules::up_to_date(module, folder)?;
            }
            fixtures
        }
    };
    let beside = module.parent().unwrap_or(Path::new("."));
    Ok(check_module(module, &fixtures.with_modules_in(beside)))
}
