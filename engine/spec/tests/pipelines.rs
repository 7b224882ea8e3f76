//! Sound pipelines: what they become, checked, resolved and stored.

mod common;

use common::{SECRET, catalogue, checked, checked_bytes, codes, connections, environment, sound};
use engine_abi::ComponentKind;
use engine_spec::{
    Growth, OnExhausted, Position, Retry, TemplateVariables, TestInput, Unfinished, check_connections, definition,
    from_definition, parse, parse_connections, resolve, secrets,
};
use serde_json::json;
use std::time::Duration;

const PBX: &str = r#"
name: avaya_cdr
description: Call records from the PBX into PostgreSQL
source:
  use: tcp
  with: { listen: "0.0.0.0:9000", max_line: 4KiB }
  format: avaya_cdr
transforms:
  - use: pass
sinks:
  - use: postgres
    with: { connection: cdr_db, table: avaya_cdr, create: { ddl: "CREATE TABLE t ()" } }
    retry: { attempts: 9, growth: linear }
  - use: file
    name: copy
    with: { path: "out/{{ run.started | date(\"%Y\") }}.csv" }
    format: { use: csv, with: { header: true } }
retry: { backoff: 500ms, deadline: 1h }
spool: { max: 1GiB }
parallelism: 3
unfinished: give_up
tests:
  - name: start is end minus duration
    input: "170925 1547 00252                    2434 0                2432"
    expect: [{ date: 2025-09-17T15:44:08, duration: 172, calling_number: "2432" }]
  - name: nonsense is kept
    input: [{ line: x }]
    dead_letters: 1
"#;

#[test]
fn a_pipeline_is_typed_with_its_defaults() {
    let pipeline = sound(PBX);
    assert_eq!(pipeline.name, "avaya_cdr");
    assert_eq!(pipeline.source.position, Position::Source);
    assert_eq!(pipeline.sinks[1].position.to_string(), "sinks[1]");
    assert_eq!(pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>(), ["postgres", "copy"]);
    // A push source waits, and a stage's own words go over those of the pipeline.
    let retry = Retry {
        attempts: 9,
        backoff: Duration::from_millis(500),
        growth: Growth::Linear,
        max: Duration::from_secs(60),
        deadline: Some(Duration::from_secs(3600)),
        on_exhausted: OnExhausted::Wait,
    };
    assert_eq!(pipeline.sinks[0].retry, retry);
    assert_eq!((pipeline.source.retry.attempts, pipeline.source.retry.growth), (5, Growth::Double));
    assert_eq!(pipeline.unfinished, Unfinished::GiveUp);
    assert_eq!((pipeline.spool.max, pipeline.spool.segment), (1 << 30, 64 << 20));
    // The connection lies under the stage's own settings.
    let with = &pipeline.sinks[0].with;
    assert_eq!(with.value["port"], 5432);
    assert_eq!(with.place("/port").unwrap().value.to_string(), "connections.yaml:5:11");
    assert_eq!(with.place("/table").unwrap().value.line(), 12);
    assert_eq!(with.secrets, ["/url"]);
    assert!(with.value.get("connection").is_none());
    assert_eq!(pipeline.tests[1].input, TestInput::Records(vec![json!({"line": "x"})]));
    let [counts_too, counts_only] = pipeline.tests.as_slice() else { panic!("{:?}", pipeline.tests) };
    assert_eq!(counts_too.expect.as_ref().unwrap()[0]["date"], "2025-09-17T15:44:08");
    assert_eq!((&counts_only.expect, counts_only.dead_letters), (&None, 1));
}

#[test]
fn the_name_of_the_file_names_the_pipeline() {
    let text = "source: { use: file, with: { path: x }, format: csv }\nsink: { use: sqlite }\n";
    let pipeline = sound(text);
    assert_eq!((pipeline.name.as_str(), pipeline.sinks[0].retry.on_exhausted), ("pipe", OnExhausted::Fail));
    let parsed = parse(text.as_bytes(), "pipelines/My File.yaml");
    let (pipeline, diagnostics) = engine_spec::check(&parsed, &catalogue(), &connections(), &environment(&[]));
    assert!(pipeline.is_none());
    assert_eq!(diagnostics.iter().next().unwrap().message, "the file's name makes no name for the pipeline");
}

#[test]
fn the_components_of_a_faulty_file_are_known_before_the_catalogue() {
    let parsed =
        parse(b"source: { use: tcp, format: { use: csv } }\nsinks: [{ use: a, compression: { use: x }, format: csv }, 7, { us: b }]\n", "p");
    let expected = [
        (ComponentKind::Source, "tcp"),
        (ComponentKind::Format, "csv"),
        (ComponentKind::Sink, "a"),
        (ComponentKind::Format, "x"),
    ];
    assert_eq!(parsed.components(), expected.map(|(kind, name)| (kind, name.to_owned())));
    assert_eq!(parsed.isolated(), []);
    let parsed = parse(
        b"source: { use: tcp, isolation: process, format: csv }\n\
          sinks: [{ use: a, format: { use: x, isolation: process }, isolation: none }, { use: a, isolation: process }]\n",
        "p",
    );
    let expected = [(ComponentKind::Source, "tcp"), (ComponentKind::Format, "x"), (ComponentKind::Sink, "a")];
    assert_eq!(parsed.isolated(), expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[test]
fn references_take_the_type_that_the_schema_wants() {
    let text = "
source:
  use: tcp
  with:
    listen: ${env:HOST}:${env:PORT}
    connections: ${env:COUNT}
    verbose: ${env:VERBOSE}
    allow: [\"${env:PORT}\", \"$${env:PORT}\"]
  format: avaya_cdr
sink: { use: sqlite }
";
    let variables = [("HOST", "${env:PORT}"), ("PORT", "9000"), ("COUNT", " 12 "), ("VERBOSE", "true")];
    let (pipeline, diagnostics) = checked_bytes(text.as_bytes(), &variables);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let mut catalogue = catalogue();
    let sink = catalogue.get(ComponentKind::Sink, "file").cloned().unwrap();
    catalogue.add(engine_abi::ComponentDescription { name: "sqlite".into(), schema: json!({}), ..sink });
    let resolved = resolve(&pipeline.unwrap(), &catalogue, &environment(&variables)).unwrap();
    // A value is never searched for further references.
    let expected = json!({
        "listen": "${env:PORT}:9000", "connections": 12, "verbose": true, "allow": ["9000", "${env:PORT}"],
    });
    assert_eq!(resolved.source.with.value, expected);
}

#[test]
fn a_value_from_outside_that_does_not_fit_is_refused_without_being_shown() {
    let text = "source: { use: tcp, with: { listen: x, connections: \"${env:COUNT}\", idle: \"${env:IDLE}\" }, format: csv }\nsink: { use: sqlite }\n";
    let (_, diagnostics) = checked_bytes(text.as_bytes(), &[("COUNT", SECRET), ("IDLE", SECRET)]);
    let found: Vec<_> = diagnostics.iter().map(|found| (found.code, found.message.as_str())).collect();
    let expected = [
        ("wrong-type", "expected a whole number for `connections`, found other text in the reference"),
        ("bad-duration", "the value is not right for `idle`"),
    ];
    assert_eq!(found, expected);
    assert!(!diagnostics.to_string().contains(SECRET));
}

#[test]
fn a_run_refuses_everything_that_is_not_set_at_once() {
    let text = "
source: { use: postgres, with: { url: \"${env:A}\", table: \"${env:B}\" } }
sink: { use: postgres, with: { url: \"${file:/none}\", table: \"${env:C:-t}\" } }
";
    let (pipeline, diagnostics) = checked(text);
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 3));
    let refused = resolve(&pipeline.unwrap(), &catalogue(), &environment(&[])).unwrap_err();
    let found: Vec<_> = refused.iter().map(|found| found.code).collect();
    assert_eq!((refused.errors(), found), (3, vec!["variable-not-set", "variable-not-set", "file-not-read"]));
    let error = engine_abi::Error::from(refused);
    assert_eq!(error.kind, engine_abi::ErrorKind::Config);
    assert_eq!(error.message, "pipe.yaml:2:40: the environment variable `A` is not set (and 2 more)");
}

#[test]
fn templates_are_filled_in_when_the_run_is_known() {
    let text = "
source: { use: file, with: { path: x }, format: csv }
sink: { use: file, with: { path: \"${env:DIR}/{{ window.id }}.csv\" }, format: csv }
";
    let variables = [("DIR", "{{ run.id }}{%")];
    let (pipeline, diagnostics) = checked_bytes(text.as_bytes(), &variables);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    let resolved = resolve(&pipeline.unwrap(), &catalogue(), &environment(&variables)).unwrap();
    let given = TemplateVariables {
        run_id: "r".into(),
        run_started: "2025-01-01T00:00:00Z".into(),
        pipeline_name: "p".into(),
        window_id: 3,
        params: Default::default(),
    };
    assert_eq!(resolved.sinks[0].with.templates, ["/path"]);
    // What comes from the environment is text, whatever it looks like.
    assert_eq!(resolved.sinks[0].with.render(&given).unwrap(), json!({"path": "{{ run.id }}{%/3.csv"}));
}

const GUARDED: &str = r#"
source:
  use: postgres
  with:
    url: postgres://app:c4n4ry-hunter2@db/cdr
    table: t
    headers: { a: c4n4ry-hunter2, b: "${env:TOKEN}", c: "${env:NONE:-c4n4ry-hunter2}", d: "x${env:TOKEN}" }
sink:
  use: postgres
  with: { url: "postgres://app:${env:TOKEN}@db/cdr", table: "mysql://u:c4n4ry-hunter2@h/x" }
"#;

#[test]
fn a_stored_definition_has_no_secret_and_comes_back_whole() {
    let pipeline = sound(GUARDED);
    let stored = definition(&pipeline);
    assert!(!stored.to_string().contains(SECRET), "{stored}");
    let with = &stored["source"]["with"];
    assert_eq!(with["url"], json!({"$current": "/source/with/url"}));
    assert_eq!(with["headers"]["b"], "${env:TOKEN}");
    assert_eq!(with["headers"]["d"], json!({"$current": "/source/with/headers/d"}));
    assert_eq!(stored["sinks"][0]["with"]["url"], "postgres://app:${env:TOKEN}@db/cdr");

    let again = from_definition(&stored, Some(&pipeline)).unwrap();
    assert_eq!(again.source.with.value, pipeline.source.with.value);
    assert_eq!(again.sinks[0].with.value, pipeline.sinks[0].with.value);
    assert_eq!(definition(&again), stored);
    assert!(!format!("{again:?}").contains(SECRET));
}

#[test]
fn a_definition_keeps_everything_that_a_window_needs() {
    let pipeline = sound(PBX);
    let stored = definition(&pipeline);
    let again = from_definition(&stored, Some(&pipeline)).unwrap();
    assert_eq!(definition(&again), stored);
    assert_eq!(again.sinks[0].retry, pipeline.sinks[0].retry);
    assert_eq!(again.spool.max, pipeline.spool.max);
    assert_eq!(again.parallelism.map(usize::from), Some(3));
    assert_eq!(again.sinks[1].format.as_ref().unwrap().with.value, json!({"header": true}));
    assert!(again.tests.is_empty());
}

const PACKED: &str = "
source: { use: file, with: { path: x }, compression: gzip, format: csv }
sink: { use: file, with: { path: y }, compression: { use: gzip, with: { level: 9, password: c4n4ry-hunter2 } }, format: csv }
";

#[test]
fn a_definition_keeps_compressions_and_one_from_before_them_still_loads() {
    let pipeline = sound(PACKED);
    let stored = definition(&pipeline);
    assert!(!stored.to_string().contains(SECRET), "{stored}");
    let again = from_definition(&stored, Some(&pipeline)).unwrap();
    assert_eq!(definition(&again), stored);
    assert_eq!(again.source.compression.as_ref().unwrap().component, "gzip");
    let compression = again.sinks[0].compression.as_ref().unwrap();
    assert_eq!(compression.with.value, json!({"level": 9, "password": SECRET}));
    let resolved = resolve(&again, &catalogue(), &environment(&[])).unwrap();
    assert_eq!(resolved.sinks[0].compression.as_ref().unwrap().with.value["level"], 9);
    assert_eq!(secrets(&resolved), [SECRET]);

    let mut before = stored;
    before["source"].as_object_mut().unwrap().shift_remove("compression");
    before["sinks"][0].as_object_mut().unwrap().shift_remove("compression");
    let old = from_definition(&before, Some(&pipeline)).unwrap();
    assert!(old.stages().all(|stage| stage.compression.is_none()));
    assert_eq!(definition(&old), before);
}

#[test]
fn files_that_are_copied_can_be_decompressed_and_compressed_on_the_way() {
    for (source, sink) in
        [("", "compression: gzip"), ("compression: unpack", ""), ("compression: gzip", "compression: pack")]
    {
        sound(&format!(
            "source: {{ use: file, with: {{ path: 'in/*' }}, {source} }}\nsink: {{ use: file, with: {{ path: out/ }}, {sink} }}\n"
        ));
    }
    // One side with a format and one without needs rows after all.
    let half = PACKED.replacen(", format: csv", "", 1);
    assert_eq!(codes(&half)[0], "missing-format");
}

#[test]
fn a_secret_is_taken_from_the_stage_of_the_same_name_or_not_at_all() {
    let sinks = |first: &str, second: &str| {
        let sink =
            |name: &str| format!("  - {{ use: postgres, name: {name}, with: {{ url: pass-{name}, table: t }} }}\n");
        format!("source: {{ use: file, with: {{ path: x }}, format: csv }}\nsinks:\n{}{}", sink(first), sink(second))
    };
    let stored = definition(&sound(&sinks("a", "b")));
    let swapped = sound(&sinks("b", "a"));
    let again = from_definition(&stored, Some(&swapped)).unwrap();
    assert_eq!(again.sinks[0].with.value["url"], "pass-a");
    let refused = from_definition(&stored, Some(&sound(&sinks("a", "c")))).unwrap_err();
    assert_eq!(refused.iter().map(|found| found.code).collect::<Vec<_>>(), ["definition-changed"]);
    assert!(refused.to_string().contains("`/sinks/1/with/url`"));
    assert!(from_definition(&json!({"name": 1}), None).is_err());
}

#[test]
fn all_secrets_of_a_run_are_known_and_none_is_debugged() {
    let variables = [("TOKEN", "t0k/n%40")];
    let (pipeline, diagnostics) = checked_bytes(GUARDED.as_bytes(), &variables);
    let pipeline = pipeline.unwrap();
    let resolved = resolve(&pipeline, &catalogue(), &environment(&variables)).unwrap();
    let known = secrets(&resolved);
    for secret in [SECRET, "t0k/n%40", "t0k/n@", "postgres://app:t0k/n%40@db/cdr", "xt0k/n%40"] {
        assert!(known.iter().any(|known| known == secret), "{secret} is not among {known:?}");
    }
    for shown in [format!("{resolved:?}"), format!("{pipeline:?}"), format!("{diagnostics:?}"), diagnostics.to_string()]
    {
        assert!(!shown.contains(SECRET) && !shown.contains("t0k"), "{shown}");
    }
    assert_eq!(diagnostics.warnings(), 3, "{diagnostics}");
}

#[test]
fn a_secret_from_a_file_loses_its_last_line_break_only() {
    let text = "source: { use: postgres, with: { url: \"${file:/run/secret}\", table: t } }\nsink: { use: postgres, with: { connection: cdr_db, table: t } }\n";
    let resolved = resolve(&sound(text), &catalogue(), &environment(&[])).unwrap();
    assert_eq!(resolved.source.with.value["url"], SECRET);
    assert_eq!(resolved.sinks[0].with.value["url"], "postgres://localhost/cdr");
}

#[test]
fn a_spool_is_refused_where_nothing_is_spooled() {
    let text = "source: { use: file, with: { path: x }, format: csv }\nsink: { use: sqlite }\nspool: { max: 1GiB }\n";
    assert_eq!(codes(text), ["useless-key"]);
}

#[test]
fn connections_are_checked_by_themselves() {
    let text =
        "a: { use: postgres, with: { tabel: t, url: \"${env:X}\" } }\nb: { use: postgre }\nc: { usee: file }\nd: 1\n";
    let (connections, mut found) = parse_connections(text.as_bytes(), "connections.yaml");
    assert_eq!(connections.entries.keys().collect::<Vec<_>>(), ["a", "b"]);
    found.extend(check_connections(&connections, &catalogue(), &environment(&[])));
    found.sort();
    let found: Vec<_> = found.iter().map(|found| (found.code, found.span.as_ref().unwrap().line())).collect();
    let expected =
        [("unknown-key", 1), ("variable-not-set", 1), ("unknown-component", 2), ("unknown-key", 3), ("wrong-type", 4)];
    assert_eq!(found, expected);
    assert!(parse_connections(b"", "connections.yaml").1.is_empty());
}

#[test]
fn a_fault_in_a_connection_is_shown_in_its_file() {
    let (faulty, _) = parse_connections(b"db: { use: postgres, with: { url: x, port: many } }\n", "connections.yaml");
    let parsed =
        parse(b"source: { use: postgres, with: { connection: db, table: t } }\nsink: { use: sqlite }\n", "p.yaml");
    let (_, diagnostics) = engine_spec::check(&parsed, &catalogue(), &faulty, &environment(&[]));
    let places: Vec<_> =
        diagnostics.iter().map(|found| (found.code, found.span.as_ref().unwrap().to_string())).collect();
    let expected = [("inline-secret", "connections.yaml:1:35"), ("wrong-type", "connections.yaml:1:44")];
    assert_eq!(places, expected.map(|(code, place)| (code, place.to_owned())));
}
