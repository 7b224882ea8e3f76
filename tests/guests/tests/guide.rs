//! The commands of docs/plugin-guide.md work as they stand there.

use engine_abi::ComponentKind;
use engine_author::Language;
use engine_guest_tests::{authored, followed};

fn works(language: Language) {
    let steps = followed(language);
    for step in &steps {
        assert_eq!(step.code, Some(0), "`{}`:\n{}", step.command, step.output);
    }
    let commands: Vec<_> =
        steps.iter().map(|step| step.command.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        commands,
        ["engine plugins new", "engine plugins build", "engine plugins test", "engine run pipeline.yaml"]
    );
    // Three calls came in, one of them with a number that is none.
    let out = authored(language, ComponentKind::Transform).join("out.csv");
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 1 + 2, "{}", steps[3].output);
    assert!(steps[3].output.contains("dead letters"), "{}", steps[3].output);
}

#[test]
fn the_rust_section_works() {
    works(Language::Rust);
}

#[test]
fn the_c_section_works() {
    works(Language::C);
}

#[test]
fn the_python_section_works() {
    works(Language::Python);
}

#[test]
fn the_javascript_section_works() {
    works(Language::JavaScript);
}
