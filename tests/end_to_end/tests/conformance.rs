//! `engine plugins test`, as an author uses it: a built module anywhere, and
//! what the suite says of it.

use std::path::Path;

use engine_end_to_end_tests::{Ended, Place, example_module, faulty_module, workspace};
use serde_json::{Value, json};

use crate::modules::faulty;

/// A place with a copy of an example of the guide, without its fixture.
fn with_module(name: &str) -> Place {
    let place = Place::new();
    place.write("module.so", std::fs::read(example_module(name)).unwrap());
    place
}

/// The fixture of an example of the guide.
fn fixture(name: &str) -> String {
    let path = workspace().join("tests/modules/rust").join(name).join("conformance.json");
    std::fs::read_to_string(path).unwrap()
}

fn test(place: &Place, more: &[&str]) -> Ended {
    place.engine(&[&["plugins", "test"], more].concat())
}

/// Fails unless all of these texts were printed.
#[track_caller]
fn prints(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.stdout.contains(text), "{text:?} is not in\n{}", ended.stdout);
    }
}

#[test]
fn a_fixture_beside_the_module_is_found_and_all_checks_pass() {
    let place = with_module("mask");
    place.write("conformance.json", fixture("mask"));
    let module = place.path("module.so").display().to_string();
    let ended = Place::new().engine(&["plugins", "test", &module]).with_code(0);
    prints(
        &ended,
        &[
            &format!("module.so, module mask 0.1.0, with {}", place.path("conformance.json").display()),
            "transform mask\n",
            "  passed        OneRow             A stream of one row is worked on.\n",
            " passed, 0 failed, 0 not run, 0 not promised: the module conforms\n",
        ],
    );
}

#[test]
fn a_fixture_in_the_current_folder_or_named_is_used_too() {
    let place = with_module("mask");
    std::fs::create_dir(place.path("built")).unwrap();
    std::fs::rename(place.path("module.so"), place.path("built/module.so")).unwrap();
    place.write("conformance.json", fixture("mask"));
    prints(&test(&place, &["built/module.so"]).with_code(0), &["with conformance.json\n"]);
    std::fs::rename(place.path("conformance.json"), place.path("mine.json")).unwrap();
    prints(&test(&place, &["built/module.so", "--fixture", "mine.json"]).with_code(0), &["with mine.json\n"]);
}

#[test]
fn a_sink_is_read_back_by_a_connector_of_the_engine() {
    let place = with_module("drop_box");
    place.write("conformance.json", fixture("drop_box"));
    prints(&test(&place, &["module.so"]).with_code(0), &["sink drop_box\n", "CommitOnce", "the module conforms"]);
}

#[test]
fn without_a_fixture_it_is_said_what_failed_or_was_not_run_and_what_may_be_missing() {
    let place = with_module("mask");
    let ended = test(&place, &["module.so"]).with_code(1);
    prints(&ended, &["without a conformance.json about it", "FAILED        OneRow", "there is no column `number`"]);
    prints(
        &ended,
        &["the module does not conform", "help: the rows of the suite have the columns n, text, amount and"],
    );

    let place = with_module("drop_box");
    let ended = test(&place, &["module.so", "--filter", "Order"]).with_code(1);
    prints(&ended, &["NOT RUN       Order", "readback", "0 passed, 0 failed, 1 not run", "not known to conform"]);
}

#[test]
fn a_faulty_component_is_caught_and_a_filter_picks_it() {
    let place = Place::new();
    let module = faulty_module().display().to_string();
    let ended = test(&place, &[&module, "--filter", "transform loses_rows"]).with_code(1);
    prints(&ended, &["FAILED        RowsAddUp", "1 failed"]);
    assert!(!ended.stdout.contains("panics_in_close"), "{}", ended.stdout);
    prints(
        &test(&place, &[&module, "--filter", "transform loses_rows onerow"]).with_code(0),
        &["1 passed", "these checks hold"],
    );
    let ended = test(&place, &[&module, "--filter", "no such check"]).with_code(2);
    ended.says(&["no check of these modules matches `no such check`", "without --filter"]);
}

#[test]
fn a_machine_gets_one_object_a_module() {
    let place = with_module("mask");
    place.write("conformance.json", fixture("mask"));
    let found = place.json(&["plugins", "test", "module.so", "--filter", "mask OneRow"]).remove(0);
    let check = json!({"component": "transform mask", "check": "OneRow", "outcome": "passed"});
    assert_eq!((&found["name"], &found["conforms"], &found["checks"]), (&json!("mask"), &json!(true), &json!([check])));
    assert_eq!(found["totals"], json!({"passed": 1, "failed": 0, "not_run": 0, "not_promised": 0}));

    std::fs::remove_file(place.path("conformance.json")).unwrap();
    let ended = test(&place, &["module.so", "--filter", "OneRow", "--json"]).with_code(1);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let why = found.pointer("/checks/0/why").and_then(Value::as_str).unwrap_or_default();
    assert!(why.contains("there is no column `number`"), "{found}");
}

#[test]
fn a_folder_means_every_module_in_it_and_one_that_is_broken_spares_the_others() {
    let place = with_module("mask");
    for (name, file) in [("mask", "libmask.so"), ("udp", "libudp.so")] {
        place.write(&format!("modules/{file}"), std::fs::read(example_module(name)).unwrap());
    }
    // Shared by both: each finds what is about it.
    place.write("modules/conformance.json", fixture("mask"));
    let ended = test(&place, &["modules", "--filter", "Schema"]).with_code(0);
    prints(&ended, &["transform mask\n", "source udp\n", "2 of 2 modules conform\n"]);

    place.write("modules/libbroken.so", "INPUT(libc.so.6)\n");
    let ended = test(&place, &["modules", "--filter", "Schema"]).with_code(2);
    prints(&ended, &["transform mask\n", "source udp\n", "2 of 3 modules conform\n"]);
    ended.says(&["libbroken.so cannot be read"]);
}

#[test]
fn what_is_no_module_is_refused_with_what_to_do() {
    let place = with_module("mask");
    place.write("notes.txt", "no module\n");
    std::fs::create_dir(place.path("empty")).unwrap();
    let library = Path::new("/proc/self/exe").canonicalize().unwrap().display().to_string();
    for (named, said) in [
        ("notes.txt", &["module notes.txt cannot be read", "help: "][..]),
        ("nowhere.so", &["nowhere.so: No such file", "name a module's file"][..]),
        ("empty", &["there is no module in the folder empty", "help: "][..]),
        (&library, &["is no module: it has no section `engine_manifest`", "engine_sdk::module!"][..]),
    ] {
        test(&place, &[named]).with_code(2).says(said);
    }
}

#[test]
fn a_module_that_cannot_be_loaded_is_one_of_the_environment() {
    let place = Place::new();
    let module = faulty(&place, "modules", "NO_SYMBOL").display().to_string();
    test(&place, &[&module]).with_code(3).says(&["libfaulty.so does not export `engine_module_v1`"]);
    let module = faulty(&place, "modules", "OTHER_ABI_IN_MANIFEST").display().to_string();
    test(&place, &[&module]).with_code(2).says(&["libfaulty.so is built for version 99"]);
}

#[test]
fn a_fixture_that_is_wrong_is_refused_before_anything_is_run() {
    let place = with_module("mask");
    for (text, said) in [
        ("{", &["mine.json: it must be an object with keys such as `sink postgres`"][..]),
        (r#"{"transform mask": {"confg": {}}}"#, &["mine.json: the fixture of `transform mask`", "`config`"][..]),
        (r#"{"transform mask": []}"#, &["the list of fixtures of `transform mask` is empty"][..]),
        (r#"{"transform mask": {}, "sink mask": {}}"#, &["about `sink mask`", "what it has: `transform mask`"][..]),
        (r#"{"sink mask": {}}"#, &["mine.json is about no component of these modules"][..]),
    ] {
        place.write("mine.json", text);
        let ended = test(&place, &["module.so", "--fixture", "mine.json"]).with_code(2);
        ended.says(said);
        assert_eq!(ended.stdout, "", "{text}");
    }
    test(&place, &["module.so", "--fixture", "."]).with_code(2).says(&["--fixture takes a file", "./conformance.json"]);
    test(&place, &["module.so", "--fixture", "nowhere.json"]).with_code(2).says(&["nowhere.json: No such file"]);
}
