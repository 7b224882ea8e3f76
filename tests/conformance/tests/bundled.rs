//! Every connector of the tree passes the suite. They are found by themselves:
//! whoever adds a folder under `plugins/` has added a test, `NAME_conforms`.

use engine_conformance::{Fixtures, check_module};
use engine_conformance_tests::{self as modules, Bundled};

// Written by build.rs: a test for each connector, and NAMES.
include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

fn conforms(name: &str) {
    let connector = Bundled::all().unwrap().into_iter().find(|connector| connector.name == name).unwrap();
    let module = connector.module().unwrap_or_else(|why| panic!("{why}"));
    let fixtures = Fixtures::of_folder(&connector.folder).unwrap_or_else(|why| panic!("{why}"));
    let report = check_module(&module, &fixtures.with_modules_in(modules::target_folder().unwrap()));
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
