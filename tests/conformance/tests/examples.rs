//! The examples of docs/guide/connectors.md pass the suite as they stand.

use engine_conformance::{Fixtures, check_module};
use engine_conformance_tests as modules;

fn conforms(name: &str) {
    let folder = modules::workspace().join("tests/modules/rust").join(name);
    let module = modules::built(&folder, &format!("engine_example_{name}")).unwrap_or_else(|why| panic!("{why}"));
    let fixtures = Fixtures::of_folder(&folder).unwrap_or_else(|why| panic!("{why}"));
    let report = check_module(&module, &fixtures.with_modules_in(modules::target_folder().unwrap()));
    println!("{report}");
    assert!(report.conforms(), "{name} does not conform: {:#?}", report.complaints());
}

#[test]
fn mask_conforms() {
    conforms("mask");
}

#[test]
fn countdown_conforms() {
    conforms("countdown");
}

#[test]
fn drop_box_conforms() {
    conforms("drop_box");
}

#[test]
fn udp_conforms() {
    conforms("udp");
}
