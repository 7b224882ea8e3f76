//! What `engine plugins new` begins, in each language and for each kind, passes
//! the suite as it is.

use engine_author::{KINDS, Language};
use engine_conformance::{Fixtures, check_module};
use engine_guest_tests::{authored, built, bundled};

fn author(language: Language) {
    for kind in KINDS {
        let place = authored(language, kind);
        let fixtures = Fixtures::of_folder(&place).unwrap().with_modules_in(bundled());
        let report = check_module(&built(&place).unwrap(), &fixtures);
        assert!(report.conforms(), "{report}");
    }
}

#[test]
fn what_is_begun_in_rust_conforms() {
    author(Language::Rust);
}

#[test]
fn what_is_begun_in_c_conforms() {
    author(Language::C);
}

#[test]
fn what_is_begun_in_python_conforms() {
    author(Language::Python);
}

#[test]
fn what_is_begun_in_javascript_conforms() {
    author(Language::JavaScript);
}
