//! The one suite: a connector passes it as a WASM component like as a native
//! library, made from the same source.

use std::path::Path;

use engine_conformance::{Fixtures, Line, Report, check_module};
use engine_guest_tests::{bundled, guest, root};

fn report(module: &Path, fixtures: &Path) -> Report {
    let fixtures = Fixtures::of_folder(fixtures).unwrap().with_modules_in(bundled());
    check_module(module, &fixtures)
}

fn conforms(module: &Path, fixtures: &Path) -> Vec<Line> {
    let report = report(module, fixtures);
    assert!(report.conforms(), "{report}");
    report.lines
}

fn same_as_native(name: &str) {
    let fixtures = root().join("plugins").join(name);
    let library = format!("engine_plugin_{name}");
    let wasm = conforms(&guest(&library), &fixtures);
    let native = conforms(&bundled().join(format!("lib{library}.so")), &fixtures);
    assert_eq!(wasm, native, "the same checks with the same outcomes");
}

#[test]
fn csv_conforms_as_wasm_like_natively() {
    same_as_native("csv");
}

#[test]
fn json_conforms_as_wasm_like_natively() {
    same_as_native("json");
}

#[test]
fn avaya_cdr_conforms_as_wasm_like_natively() {
    same_as_native("avaya_cdr");
}
