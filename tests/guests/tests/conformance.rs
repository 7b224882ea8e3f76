//! The one suite: a connector passes it as a WASM component like as a native
//! library, made from the same source, and so does what `engine plugins new`
//! begins in each language.

use std::path::Path;

use engine_abi::ComponentKind;
use engine_author::Language;
use engine_conformance::{Fixtures, Line, Report, check_module};
use engine_guest_tests::{authored, built, folder, guest, root};

/// The modules that are built with the engine: fixtures name some of them.
fn bundled() -> std::path::PathBuf {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    folder().join("..").join(profile)
}

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

fn author(language: Language) {
    for kind in ComponentKind::ALL {
        let place = authored(language, kind);
        conforms(&built(&place).unwrap(), &place);
    }
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn what_is_begun_in_rust_conforms() {
    author(Language::Rust);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn what_is_begun_in_c_conforms() {
    author(Language::C);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn what_is_begun_in_python_conforms() {
    author(Language::Python);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn what_is_begun_in_javascript_conforms() {
    author(Language::JavaScript);
}
