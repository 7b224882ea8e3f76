//! The kits' own tests, and those that `engine plugins new` writes: none needs an engine.

use std::path::Path;
use std::process::Command;

use engine_author::{KINDS, Language, New};
use engine_guest_tests::root;

fn run(folder: &Path, command: &str) {
    let output = Command::new("bash").args(["-c", command]).current_dir(folder).output().expect("there is a bash");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "`{command}` in {}: {said}", folder.display());
}

/// The kit and its tests beside each other, as the tests expect them.
fn kit(language: Language, command: &str) {
    let place = tempfile::tempdir().unwrap();
    let name = language.as_str();
    let kit = root().join("engine/author/kits").join(name);
    let tests = root().join("tests/guests/kits").join(name);
    run(place.path(), &format!("cp -r '{}' kit && cp -r '{}' tests", kit.display(), tests.display()));
    run(place.path(), command);
}

/// What `engine plugins new` writes for each kind passes the test that comes with it.
fn begun(language: Language, command: &str) {
    let place = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let folder = place.path().join(format!("my-{kind}"));
        engine_author::create(&New { folder: &folder, kind, language }).unwrap();
        run(&folder, command);
    }
}

#[test]
fn the_c_kit_passes_its_tests() {
    let sanitised =
        "cc -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -I../kit -o json_test json_test.c -lm";
    kit(Language::C, &format!("cd tests && {sanitised} && ./json_test"));
}

#[test]
fn the_python_kit_passes_its_tests() {
    kit(Language::Python, "python3 -m unittest discover -s tests");
}

#[test]
fn the_javascript_kit_passes_its_tests() {
    kit(Language::JavaScript, "echo '{\"type\": \"module\"}' > package.json && node --test tests/");
}

#[test]
fn what_is_begun_in_c_passes_its_test() {
    begun(Language::C, "make test");
}

#[test]
fn what_is_begun_in_python_passes_its_test() {
    begun(Language::Python, "python3 -m unittest");
}

#[test]
fn what_is_begun_in_javascript_passes_its_test() {
    begun(Language::JavaScript, "node --test");
}
