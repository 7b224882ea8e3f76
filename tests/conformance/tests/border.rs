//! Files that are no modules, and modules that break the border itself: each
//! is refused before it can do harm, with a message that says what to do.

use std::path::{Path, PathBuf};

use engine_abi::{ComponentKind, Error, ErrorKind};
use engine_conformance::{Check, Fixtures, Outcome, check_module};
use engine_conformance_tests as modules;
use engine_host::{Lock, Modules};

fn c_module(fault: &str) -> PathBuf {
    let folder = modules::workspace().join("tests/modules/c_faulty");
    modules::compile_c(&folder, "engine_faulty_table", &[&format!("FAULT={fault}")]).unwrap()
}

/// A new folder with copies of files under other names.
fn folder_with(files: &[(&str, &Path)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in files {
        std::fs::copy(file, folder.path().join(name)).unwrap();
    }
    folder
}

fn discover(folder: &tempfile::TempDir, lock: Option<Lock>) -> Modules {
    Modules::discover(&[folder.path().to_owned()], lock)
}

/// Everything that a person is told, with the folder's name taken out.
fn text(error: &Error, folder: &tempfile::TempDir) -> String {
    let path = folder.path().canonicalize().unwrap();
    error.to_string().replace(&path.display().to_string(), "DIR")
}

/// What is said about the one file of a folder that cannot be used.
fn problem(folder: &tempfile::TempDir) -> String {
    let modules = discover(folder, None);
    let [problem] = modules.problems() else { panic!("one problem expected: {:?}", modules.problems()) };
    assert_eq!(problem.kind, ErrorKind::Config);
    assert!(modules.list().is_empty());
    text(problem, folder)
}

/// What is said when the component `faulty` is asked for.
fn refusal(fault: &str) -> String {
    let folder = folder_with(&[("libx.so", &c_module(fault))]);
    let error = discover(&folder, None).component(ComponentKind::Transform, "faulty").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    text(&error, &folder)
}

#[test]
fn the_module_that_the_faulty_ones_are_made_from_is_sound() {
    let folder = folder_with(&[("libx.so", &c_module("SOUND"))]);
    assert!(discover(&folder, None).component(ComponentKind::Transform, "faulty").is_ok());
}

#[test]
fn a_truncated_file_is_damaged() {
    let whole = std::fs::read(c_module("SOUND")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libx.so"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        problem(&folder).lines().last().unwrap(),
        "  help: the file is damaged or not a shared library of this machine; build or copy it again"
    );
    // However much is missing, it is noticed without running anything.
    for eighth in 0..8 {
        std::fs::write(folder.path().join("libx.so"), &whole[..whole.len() * eighth / 8]).unwrap();
        let said = problem(&folder);
        assert!(said.starts_with("module DIR/libx.so cannot be read: "), "{eighth}/8: {said}");
    }
}

#[test]
fn a_text_file_is_no_module() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libx.so"), "INPUT(libc.so.6)\n".repeat(20)).unwrap();
    let said = problem(&folder);
    assert!(said.starts_with("module DIR/libx.so cannot be read: "), "{said}");
    assert!(
        said.ends_with("\n  help: the file is damaged or not a shared library of this machine; build or copy it again")
    );
}

#[test]
fn a_module_of_another_version_is_refused_without_being_run() {
    let folder = folder_with(&[("libx.so", &c_module("OTHER_ABI_IN_MANIFEST"))]);
    assert_eq!(
        problem(&folder),
        "module DIR/libx.so is built for version 99 of the module interface, this engine speaks version 1\n  \
         help: build the module against this engine's schemas/plugin.h or SDK"
    );
    // Its manifest is right: only the table tells.
    let said = refusal("OTHER_ABI_IN_TABLE");
    assert!(said.contains("99") && said.contains("version"), "{said}");
}

#[test]
fn a_manifest_that_is_not_json_is_named() {
    let folder = folder_with(&[("libx.so", &c_module("BAD_MANIFEST"))]);
    let said = problem(&folder);
    assert!(said.starts_with("module DIR/libx.so has a manifest that cannot be read: "), "{said}");
    assert!(said.ends_with("must hold JSON as described in schemas/plugin.h"), "{said}");
}

#[test]
fn a_name_that_cannot_be_written_everywhere_is_refused_without_being_run() {
    let folder = folder_with(&[("libx.so", &c_module("BAD_NAME"))]);
    assert_eq!(
        problem(&folder),
        "module DIR/libx.so names a transform `Faulty-1`\n  \
         help: a name is small letters, digits and `_`, and begins with a letter; this is a bug in the module"
    );
}

#[test]
fn a_library_without_the_symbol_says_what_is_missing() {
    assert_eq!(
        refusal("NO_SYMBOL"),
        "module DIR/libx.so does not export `engine_module_v1`\n  \
         help: see schemas/plugin.h; with the SDK, `engine_sdk::module!` exports it"
    );
}

#[test]
fn a_table_that_breaks_the_interface_says_how() {
    let broken = [
        ("MANIFEST_LISTS_MORE", "its manifest lists "),
        ("NO_TABLE", ""),
        ("SHORT_COMPONENT", "transform `faulty` lacks check, last_error, close, apply"),
        ("BAD_DESCRIPTION", "the description of transform `faulty` cannot be read: "),
        ("UNKNOWN_KIND", "component `faulty` has the unknown kind 42"),
    ];
    for (fault, how) in broken {
        let said = refusal(fault);
        assert!(said.starts_with(&format!("module DIR/libx.so breaks the module interface: {how}")), "{fault}: {said}");
        assert!(said.ends_with("\n  help: this is a bug in the module; report it to its author"), "{fault}: {said}");
    }
}

#[test]
fn what_does_not_load_is_caught_by_the_suite() {
    for fault in ["OTHER_ABI_IN_MANIFEST", "OTHER_ABI_IN_TABLE", "MANIFEST_LISTS_MORE", "NO_SYMBOL", "SHORT_COMPONENT"]
    {
        let report = check_module(&c_module(fault), &Fixtures::none());
        let [line] = report.lines.as_slice() else { panic!("{fault}: {report}") };
        assert_eq!(line.check, Check::Loads, "{fault}");
        assert!(matches!(line.outcome, Outcome::Failed(_)), "{fault}: {report}");
    }
}

#[test]
fn a_module_that_the_lock_does_not_hold_is_not_loaded() {
    let folder = folder_with(&[("libx.so", &c_module("SOUND"))]);
    let hash = discover(&folder, None).list()[0].sha256().unwrap().to_owned();
    let lock = |text: String| Some(Lock::parse(&text, Path::new("plugins.lock")).unwrap());
    let find = |lock| discover(&folder, lock).component(ComponentKind::Transform, "faulty");

    assert!(find(lock(format!("{hash}  libx.so\n"))).is_ok());

    let changed = find(lock(format!("{}  libx.so\n", "0".repeat(64)))).unwrap_err();
    assert_eq!(changed.kind, ErrorKind::Denied);
    assert_eq!(
        text(&changed, &folder),
        format!(
            "module DIR/libx.so has changed since it was locked: its sha256 is {hash}, and plugins.lock does not hold it\n  \
             help: if you trust the file, `engine plugins lock` with the pipeline files writes the lock anew"
        )
    );
    let unknown = find(lock(String::new())).unwrap_err();
    assert!(unknown.message.starts_with("module ") && unknown.message.contains("is not in the lock"), "{unknown}");
}

#[test]
fn two_modules_with_one_component_are_both_named() {
    let module = c_module("SOUND");
    let folder = folder_with(&[("liba.so", &module), ("libb.so", &module)]);
    let error = discover(&folder, None).component(ComponentKind::Transform, "faulty").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_eq!(
        text(&error, &folder),
        "two modules have a transform named `faulty`: DIR/liba.so and DIR/libb.so\n  \
         help: remove one of the files from the plugin folders"
    );
}
