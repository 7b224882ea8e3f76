//! Hostile input: always a diagnostic with a place, never a panic, never slow.

mod common;

use std::time::{Duration, Instant};

use engine_spec::{MAX_BYTES, MAX_DEPTH, parse, parse_connections, parse_dotenv};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same inputs in every run; another seed gives others.
const SEED: u64 = 20_261_122;
/// Far above what any of them takes, so that a busy machine does not matter.
const FAST: Duration = Duration::from_secs(20);

fn only_code(bytes: &[u8]) -> String {
    let started = Instant::now();
    let parsed = parse(bytes, "pipe.yaml");
    let rendered = parsed.diagnostics.to_string();
    assert!(started.elapsed() < FAST, "took {:?}", started.elapsed());
    assert!(rendered.len() < 200_000);
    let found: Vec<_> = parsed.diagnostics.iter().collect();
    assert!(parsed.document.is_none() && found.iter().all(|found| found.span.is_some()), "{rendered}");
    found.iter().map(|found| found.code).collect::<Vec<_>>().join(" ")
}

#[test]
fn deep_nesting_is_refused_in_every_form() {
    assert_eq!(only_code("[".repeat(10_000).as_bytes()), "too-deep");
    assert_eq!(only_code("{a: ".repeat(10_000).as_bytes()), "too-deep");
    assert_eq!(only_code("- ".repeat(10_000).as_bytes()), "too-deep");
    let block: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert_eq!(only_code(block.as_bytes()), "too-deep");
    let mixed = format!("{}{}{}", "- ".repeat(100), "[".repeat(100), "]".repeat(100));
    assert_eq!(only_code(mixed.as_bytes()), "too-deep");
    let aliased =
        format!("a: &a {}1{}\nb: {}*a{}\n", "[".repeat(100), "]".repeat(100), "[".repeat(100), "]".repeat(100));
    assert_eq!(only_code(aliased.as_bytes()), "too-deep");
    let deepest = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(parse(deepest.as_bytes(), "p").document.is_some());
}

#[test]
fn aliases_have_a_budget_of_values_and_of_bytes() {
    let mut laughs = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        laughs.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
    }
    assert_eq!(only_code(laughs.as_bytes()), "alias-bomb");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(100));
    assert_eq!(only_code(long.as_bytes()), "alias-bomb");
    let nested = format!("{}x{}", (0..120).map(|level| format!("[&a{level} ")).collect::<String>(), "]".repeat(120));
    assert!(parse(nested.as_bytes(), "p").document.is_some());
    assert_eq!(only_code(b"a: &a [*a]\n"), "alias-of-itself");
    assert!(parse(b"a: &a [1, 2]\nb: *a\n", "p").document.unwrap().get("b").unwrap().items().len() == 2);
}

#[test]
fn size_and_number_of_values_are_bounded() {
    assert_eq!(only_code(&vec![b'#'; MAX_BYTES + 1]), "file-too-large");
    assert_eq!(only_code("[a]\n".replace('a', &"1,".repeat(200_000)).as_bytes()), "too-many-values");
    let comment = format!("{}\nname: x\n", "#".repeat(MAX_BYTES - 100));
    assert!(parse(comment.as_bytes(), "p").document.is_some());
}

#[test]
fn thousands_of_faults_are_said_a_few_hundred_times() {
    let twice: String = (0..30_000).map(|at| format!("k{}: 1\n", at % 3)).collect();
    let started = Instant::now();
    let parsed = parse(twice.as_bytes(), "pipe.yaml");
    assert_eq!(parsed.diagnostics.len(), 200);
    assert!(started.elapsed() < FAST);
}

#[test]
fn what_yaml_cannot_hold_is_named() {
    assert_eq!(only_code(b"a: \xff\xfe"), "invalid-utf8");
    assert_eq!(only_code(b"a: b\0c: d"), "control-character");
    assert_eq!(only_code(b"a:\n\t- b\n"), "tab");
    assert_eq!(only_code(b"{a: 1, [b]: 2}"), "wrong-type");
    assert_eq!(only_code(b"{a: 1"), "yaml-syntax");
    assert_eq!(only_code(b"a: [1}"), "yaml-syntax");
    assert_eq!(only_code(b"a: @x"), "yaml-syntax");
    for (text, code) in [
        ("a: !env X", "unknown-tag"),
        ("a: &x {b: 1}\nc: {<<: *x}", "merge-key"),
        ("a: 123456789012345678901234567890", "number-too-large"),
        ("a: 0123", "leading-zero"),
    ] {
        assert_eq!(parse(text.as_bytes(), "p").diagnostics.iter().next().unwrap().code, code, "{text}");
    }
}

#[test]
fn the_places_of_a_tree_are_those_of_the_text() {
    let text = "é: \"ü\"\r\nb:\r\n  - {c: 'x'}\r\n  - |\r\n    text\r\n";
    let root = parse(text.as_bytes(), "p.yaml").document.unwrap();
    let span = &root.get("é").unwrap().span;
    assert_eq!((span.text(), span.line(), span.column()), ("\"ü\"", 1, 4));
    let items = root.get("b").unwrap().items();
    assert_eq!(items[0].span.text(), "{c: 'x'}");
    assert_eq!(items[0].entries()[0].key_span.to_string(), "p.yaml:3:6");
    assert_eq!(items[1].as_text(), Some("text\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, diagnostics) = common::checked_bytes(&bytes, &[]);
        prop_assert!(diagnostics.has_errors());
        drop(diagnostics.render(engine_spec::Style::Coloured));
        drop(parse_connections(&bytes, "c"));
        drop(parse_dotenv(&String::from_utf8_lossy(&bytes), ".env"));
    }

    /// Pieces of pipelines in any order come closer to the insides than bytes do.
    #[test]
    fn arbitrary_pieces_of_pipelines_never_panic(pieces in proptest::collection::vec(
        prop_oneof![
            Just("source:"), Just("sinks:"), Just(" "), Just("\n"), Just("  "), Just("- "), Just("use: postgres"),
            Just("with:"), Just("url: "), Just("${env:"), Just("A}"), Just(":-"), Just("{{ "), Just(" }}"), Just("{"),
            Just("}"), Just("["), Just("]"), Just(", "), Just(": "), Just("&a "), Just("*a "), Just("|\n"), Just("\""),
            Just("é"), Just("\t"), Just("://u:p@h"), Just("password: x"), Just("5"), Just("create: "), Just("format: csv"),
            Just("retry:"), Just("tests:"), Just("path: "), Just("use: file"), Just("- use: tcp"), Just("!!str "), Just("? "),
        ],
        0..60,
    )) {
        let (pipeline, diagnostics) = common::checked_bytes(pieces.concat().as_bytes(), &[]);
        prop_assert_eq!(pipeline.is_none(), diagnostics.has_errors());
        drop(diagnostics.render(engine_spec::Style::Plain));
    }
}
