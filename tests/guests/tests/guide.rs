//! The commands of docs/plugin-guide.md work as they stand there.

use engine_author::Language;
use engine_guest_tests::followed;

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
    assert!(steps[3].output.contains("2 rows"), "{}", steps[3].output);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn the_rust_section_works() {
    works(Language::Rust);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn the_c_section_works() {
    works(Language::C);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn the_python_section_works() {
    works(Language::Python);
}

#[test]
#[ignore = "needs the guests in every language: `make guests`"]
fn the_javascript_section_works() {
    works(Language::JavaScript);
}
