//! Every connector of the tree passes the suite. They are found by themselves:
//! whoever adds a folder under `plugins/` has added the tests `NAME_conforms` and
//! `NAME_conforms_isolated`.

use engine_conformance::{Fixtures, check_isolated_module, check_module};
use engine_conformance_tests::{self as modules, Bundled};

// Written by build.rs: the tests of each connector, and NAMES.
include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Where the module runs.
#[derive(PartialEq)]
enum Isolation {
    None,
    Process,
}

fn conforms(name: &str, isolation: Isolation) {
    let connector = Bundled::all().unwrap().into_iter().find(|connector| connector.name == name).unwrap();
    let module = connector.module().unwrap_or_else(|why| panic!("{why}"));
    let fixtures = Fixtures::of_folder(&connector.folder).unwrap_or_else(|why| panic!("{why}"));
    let fixtures = fixtures.with_modules_in(modules::target_folder().unwrap());
    let report = match isolation {
        Isolation::None => check_module(&module, &fixtures),
        Isolation::Process => {
            check_isolated_module(&module, &fixtures, &modules::program().unwrap_or_else(|why| panic!("{why}")))
        }
    };
    println!("{report}");
    assert!(
        report.conforms(),
        "{name} does not conform (servers: `tests/services run -- …`): {:#?}",
        report.complaints()
    );
}

#[test]
fn every_connector_has_its_test() {
    let found: Vec<_> = Bundled::all().unwrap().into_iter().map(|connector| connector.name).collect();
    assert_eq!(NAMES, found, "run `cargo build`, so that Cargo.lock holds what plugins/ holds");
}
