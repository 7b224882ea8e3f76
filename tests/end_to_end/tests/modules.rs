//! Modules that cannot be trusted to be what they should.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_end_to_end_tests::{Ended, Place, faulty_module, lines, module, sqlite_count, workspace};
use sha2::{Digest as _, Sha256};

/// Builds the module of `tests/modules/c_faulty` that has this fault.
pub fn faulty(place: &Place, folder: &str, fault: &str) -> PathBuf {
    let sources = workspace().join("tests/modules/c_faulty");
    let out = place.write(&format!("{folder}/libfaulty.so"), "");
    let output = Command::new("cc")
        .args(["-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", &format!("-DFAULT={fault}"), "-I"])
        .arg(workspace().join("schemas"))
        .arg("-o")
        .args([&out, &sources.join("faulty.c")])
        .output()
        .expect("there is a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// A pipeline whose transform is `name`, of a module in the folder `modules`.
fn with_transform(place: &Place, name: &str) {
    place.write("pbx.log", lines(0..3));
    place.write(
        "pipe.yaml",
        format!(
            "source: {{ use: file, with: {{ path: pbx.log }}, format: avaya_cdr }}\n\
             transforms: [{{ use: {name} }}]\n\
             sink: {{ use: sqlite, with: {{ path: a.db, table: t, create: true }} }}\n"
        ),
    );
}

/// The bundled modules' folder and one more.
fn run(place: &Place, more: &Path) -> Ended {
    let bundled = module("file");
    let bundled = bundled.parent().expect("it is in a folder").display().to_string();
    place.engine(&["run", "pipe.yaml", "--plugins", &bundled, "--plugins", &more.display().to_string()])
}

#[test]
fn a_module_of_another_version_of_the_interface_is_refused_by_name() {
    let place = Place::new();
    with_transform(&place, "faulty");
    let file = faulty(&place, "modules", "OTHER_ABI_IN_MANIFEST");
    let ended = run(&place, file.parent().unwrap());
    assert!(matches!(ended.code, Some(2 | 3)), "{ended:?}");
    ended.says(&["libfaulty.so", "99"]);
    // Its neighbours are as good as ever.
    let listed = place.engine(&["plugins", "list", "--plugins", &place.path("modules").display().to_string()]);
    listed.with_code(0).says(&["libfaulty.so"]);
}

#[test]
fn a_module_whose_table_is_of_another_version_than_its_manifest_is_refused() {
    let place = Place::new();
    with_transform(&place, "faulty");
    let file = faulty(&place, "modules", "OTHER_ABI_IN_TABLE");
    let ended = run(&place, file.parent().unwrap());
    assert!(matches!(ended.code, Some(2 | 3)), "{ended:?}");
    ended.says(&["libfaulty.so"]);
}

#[test]
fn a_truncated_module_is_refused_by_name() {
    let place = Place::new();
    with_transform(&place, "faulty");
    let file = faulty(&place, "modules", "SOUND");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 60, 4096, whole.len() - 1000] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let ended = run(&place, file.parent().unwrap());
        assert!(matches!(ended.code, Some(2 | 3)), "{length} bytes: {ended:?}");
        ended.says(&["libfaulty.so"]);
    }
}

#[test]
fn two_modules_of_one_name_are_both_named() {
    let place = Place::new();
    with_transform(&place, "faulty");
    let first = faulty(&place, "modules", "SOUND");
    std::fs::copy(&first, place.path("modules/libother.so")).unwrap();
    let ended = run(&place, first.parent().unwrap());
    assert!(matches!(ended.code, Some(2 | 3)), "{ended:?}");
    ended.says(&["libfaulty.so", "libother.so", "remove one"]);
}

#[test]
fn a_module_that_is_not_as_it_was_locked_is_not_loaded() {
    let place = Place::new();
    place.write("pbx.log", lines(0..3));
    place.write(
        "pipe.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: a.db, table: t, create: true } }\n",
    );
    let mut lock = String::new();
    for name in ["file", "avaya_cdr", "sqlite"] {
        let hash: String =
            Sha256::digest(std::fs::read(module(name)).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        lock.push_str(&format!("{hash}  libengine_plugin_{name}.so\n"));
    }
    place.write("plugins.lock", &lock);
    place.engine(&["run", "pipe.yaml"]).with_code(0);
    assert_eq!(sqlite_count(&place.path("a.db"), "t"), 3);

    let (first, rest) = lock.split_at(1);
    let flipped = if first == "0" { "1" } else { "0" };
    place.write("plugins.lock", format!("{flipped}{rest}"));
    place.engine(&["run", "pipe.yaml"]).with_code(3).says(&["libengine_plugin_file.so", "plugins.lock", "sha256"]);
    assert_eq!(sqlite_count(&place.path("a.db"), "t"), 3);
}

#[test]
fn a_module_that_cannot_be_opened_fails_the_run_and_not_the_engine() {
    let place = Place::new();
    with_transform(&place, "faulty");
    let file = faulty(&place, "modules", "SOUND");
    let ended = run(&place, file.parent().unwrap());
    assert!(matches!(ended.code, Some(1..=3)), "{ended:?}");
    ended.says(&["faulty"]);
    assert_eq!(sqlite_count(&place.path("a.db"), "t"), 0);
}

/// Runs a source of the module of faulty components beside a sound pipeline.
fn beside_a_faulty_source(name: &str) -> Ended {
    let place = Place::new();
    let source = |name, sink| {
        format!(
            "source: {{ use: {name}, with: {{ rows: 100 }} }}\n\
             sink: {{ use: sqlite, with: {{ path: {sink}.db, table: t, create: true }} }}\n\
             retry: {{ attempts: 1 }}\n"
        )
    };
    place.write("sound.yaml", source("sound_source", "sound"));
    place.write("faulty.yaml", source(name, "faulty"));
    std::fs::create_dir(place.path("modules")).unwrap();
    std::fs::copy(faulty_module(), place.path("modules/libfaulty.so")).unwrap();
    std::fs::copy(module("sqlite"), place.path("modules/libsqlite.so")).unwrap();
    let modules = place.path("modules").display().to_string();
    let ended = place.engine(&["run", "sound.yaml", "faulty.yaml", "--plugins", &modules]).with_code(1);
    assert_eq!(sqlite_count(&place.path("sound.db"), "t"), 200, "{ended:?}");
    assert!(sqlite_count(&place.path("faulty.db"), "t") < 200, "{ended:?}");
    // And the engine is as able to work as before.
    place.engine(&["run", "sound.yaml", "--plugins", &modules]).with_code(0);
    ended
}

#[test]
fn a_module_that_panics_fails_its_own_pipeline_alone() {
    beside_a_faulty_source("panics_in_mid_stream").says(&["faulty", "panic"]);
}

#[test]
fn a_module_that_lies_about_its_schema_fails_its_own_pipeline_alone() {
    for name in ["announces_other_types", "sends_nulls_where_none_may_be", "sends_fewer_columns"] {
        beside_a_faulty_source(name).says(&["faulty", name]);
    }
}
