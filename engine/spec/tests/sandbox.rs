//! Who runs a module and what it may do: read, resolved, stored.

mod common;

use std::time::Duration;

use common::{SECRET, catalogue, checked, checked_bytes, environment, sound};
use engine_abi::message::{Limits, Permissions, Sandbox};
use engine_spec::{
    Isolation, Pipeline, ResolvedSandbox, SandboxWords, definition, format_bytes, format_duration, from_definition,
    resolve, secrets,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

const GRANTED: &str = r#"
source:
  use: file
  with: { path: x }
  format: { use: csv, isolation: process, limits: { memory: 1MiB }, permissions: { environment: [CSV_TOKEN] } }
transforms:
  - use: guest
    limits: { deadline: 90s }
    permissions:
      hosts: [api.example.com, "*.example.org:8443", "${env:API:-http://192.0.2.7:8080}"]
      networks: [10.1.0.0/16]
      environment: [API_TOKEN]
      read: [lookup, "${env:SHARED}/words"]
      write: [/var/spool/x]
sinks:
  - { use: file, with: { path: a }, compression: { use: gzip, isolation: none }, format: csv }
  - { use: postgres, with: { connection: cdr_db, table: t }, isolation: process }
"#;
const VARIABLES: [(&str, &str); 3] = [("API_TOKEN", SECRET), ("CSV_TOKEN", "c5v-t0ken"), ("SHARED", "/srv")];

fn granted() -> Pipeline {
    let (pipeline, diagnostics) = checked_bytes(GRANTED.as_bytes(), &VARIABLES);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    pipeline.unwrap()
}

#[test]
fn a_stage_and_its_format_have_sandboxes_of_their_own_and_by_default_the_least() {
    let resolved = resolve(&granted(), &catalogue(), &environment(&VARIABLES)).unwrap();
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let default = Limits::default();
    let permissions = Permissions {
        hosts: texts(&["api.example.com", "*.example.org:8443", "http://192.0.2.7:8080"]),
        networks: texts(&["10.1.0.0/16"]),
        environment: [("API_TOKEN".to_owned(), SECRET.to_owned())].into(),
        read: texts(&["lookup", "/srv/words"]),
        write: texts(&["/var/spool/x"]),
    };
    let limits = Limits { deadline_ms: 90_000, ..default };
    let expected = ResolvedSandbox { isolation: Isolation::None, sandbox: Sandbox { permissions, limits } };
    assert_eq!(resolved.transforms[0].sandbox, expected);
    assert_eq!(resolved.source.sandbox, ResolvedSandbox::default());
    let format = &resolved.source.format.as_ref().unwrap().sandbox;
    assert_eq!((format.isolation, format.sandbox.limits.memory_bytes), (Isolation::Process, 1 << 20));
    assert_eq!(format.sandbox.permissions.environment["CSV_TOKEN"], "c5v-t0ken");
    assert_eq!(resolved.sinks[0].compression.as_ref().unwrap().sandbox, ResolvedSandbox::default());
    assert_eq!(resolved.sinks[1].sandbox.isolation, Isolation::Process);
}

#[test]
fn what_a_module_sees_of_the_environment_is_shown_to_nobody() {
    let pipeline = granted();
    let resolved = resolve(&pipeline, &catalogue(), &environment(&VARIABLES)).unwrap();
    let known = secrets(&resolved);
    assert!(known.contains(&SECRET.to_owned()) && known.contains(&"c5v-t0ken".to_owned()), "{known:?}");
    assert!(!known.iter().any(|secret| secret.contains("srv")), "{known:?}");
    let stored = definition(&pipeline);
    for shown in [format!("{resolved:?}"), format!("{pipeline:?}"), stored.to_string()] {
        assert!(shown.contains("API_TOKEN"), "{shown}");
        assert!(!shown.contains(SECRET) && !shown.contains("c5v"), "{shown}");
    }
}

#[test]
fn a_variable_of_a_module_that_is_not_set_is_told_like_any_other() {
    let (pipeline, warned) = checked(GRANTED);
    assert_eq!((warned.errors(), warned.warnings()), (0, 3), "{warned}");
    let refused = resolve(&pipeline.unwrap(), &catalogue(), &environment(&[])).unwrap_err();
    let found: Vec<_> = refused.iter().map(|found| (found.code, found.message.as_str())).collect();
    let not_set =
        ["CSV_TOKEN", "API_TOKEN", "SHARED"].map(|name| format!("the environment variable `{name}` is not set"));
    assert_eq!(found, not_set.each_ref().map(|message| ("variable-not-set", message.as_str())));
    let shown = refused.to_string();
    assert!(shown.contains("^^^^^^^^^ needed for `environment`") && shown.contains("into `.env` beside"), "{shown}");
}

#[test]
fn a_host_from_outside_that_is_none_is_refused_without_being_shown() {
    let text = GRANTED.replace("http://192.0.2.7:8080", "ftp://elsewhere");
    let (_, diagnostics) = checked_bytes(text.as_bytes(), &[&VARIABLES[..], &[("API", "c4n4ry-hunter2 x")]].concat());
    let found: Vec<_> = diagnostics.iter().map(|found| (found.code, found.message.as_str())).collect();
    assert_eq!(found, [("bad-host", "the value is not a host")]);
    assert!(!diagnostics.to_string().contains(SECRET));
}

#[test]
fn a_definition_keeps_names_limits_and_isolation_and_one_from_before_them_still_loads() {
    let pipeline = granted();
    let stored = definition(&pipeline);
    let transform = &stored["transforms"][0];
    assert_eq!(transform["limits"], json!({"deadline": "90s"}));
    assert_eq!(transform["permissions"]["environment"], json!(["API_TOKEN"]));
    assert_eq!(transform["permissions"]["read"], json!(["lookup", "${env:SHARED}/words"]));
    assert_eq!(stored["source"]["format"]["isolation"], "process");
    assert!(stored["source"].get("permissions").is_none() && transform.get("isolation").is_none());
    let again = from_definition(&stored, Some(&pipeline)).unwrap();
    assert_eq!(definition(&again), stored);
    let environment = environment(&VARIABLES);
    let [first, second] = [&pipeline, &again].map(|it| resolve(it, &catalogue(), &environment).unwrap());
    for (first, second) in first.stages().zip(second.stages()) {
        assert_eq!(first.sandbox, second.sandbox);
    }

    let plain = definition(&sound("source: { use: file, with: { path: x }, format: csv }\nsink: { use: sqlite }\n"));
    let text = plain.to_string();
    assert!(!["isolation", "limits", "permissions"].iter().any(|key| text.contains(key)), "{text}");
    assert!(from_definition(&plain, None).unwrap().stages().all(|stage| stage.sandbox == SandboxWords::default()));
}

#[test]
fn an_open_window_gets_what_its_modules_may_do_from_the_file_as_it_is_now() {
    let then = definition(&granted());
    let now = sound(&GRANTED.replace("90s", "5m").replace("[API_TOKEN]", "[OTHER]"));
    let again = from_definition(&then, Some(&now)).unwrap();
    let sandboxes = |pipeline: &Pipeline| definition(pipeline)["transforms"][0]["limits"].clone();
    assert_eq!(sandboxes(&again), sandboxes(&now));
    assert_eq!(again.transforms[0].sandbox, now.transforms[0].sandbox);
    // A stage of another name has nothing to say about this one.
    let renamed = sound(&GRANTED.replace("- use: guest", "- use: guest\n    name: other"));
    assert_eq!(definition(&from_definition(&then, Some(&renamed)).unwrap()), then);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, rng_seed: RngSeed::Fixed(20_261_122), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_granted_comes_back_from_its_definition(
        isolated in any::<bool>(),
        memory in proptest::option::of(1_u64 << 20..1 << 50),
        deadline in proptest::option::of(10_u64..86_400_000),
        hosts in proptest::collection::vec("(http://)?(\\*\\.)?[a-z0-9.-]{1,12}(:[1-9][0-9]{0,3})?", 0..4),
        networks in proptest::collection::vec("10\\.[1-9]\\.0\\.0/[12][0-9]", 0..3),
        names in proptest::collection::btree_set("[A-Za-z_][A-Za-z0-9_]{0,8}", 0..4),
        folders in proptest::collection::vec("[^\\x00-\\x1f$\\x7f-\\u{ffff}]{1,12}", 0..4),
    ) {
        let mut stage = json!({"use": "guest", "permissions": {
            "hosts": hosts, "networks": networks, "environment": names, "read": folders, "write": folders,
        }});
        if isolated {
            stage["isolation"] = json!("process");
        }
        let mut limits = serde_json::Map::new();
        limits.extend(memory.map(|memory| ("memory".to_owned(), json!(format_bytes(memory)))));
        limits.extend(deadline.map(|it| ("deadline".to_owned(), json!(format_duration(Duration::from_millis(it))))));
        stage["limits"] = Value::Object(limits);
        let text = json!({
            "source": {"use": "file", "with": {"path": "x"}, "format": "csv"},
            "transforms": [stage], "sink": {"use": "file", "with": {"path": "y"}, "format": "csv"},
        });
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
        let (pipeline, diagnostics) = checked_bytes(text.to_string().as_bytes(), &variables);
        prop_assert!(!diagnostics.has_errors(), "{}", diagnostics);
        let pipeline = pipeline.unwrap();
        let again = from_definition(&definition(&pipeline), None).unwrap();
        let environment = environment(&variables);
        let [first, second] = [&pipeline, &again].map(|it| resolve(it, &catalogue(), &environment).unwrap());
        let granted = &first.transforms[0].sandbox;
        prop_assert_eq!(granted, &second.transforms[0].sandbox);
        prop_assert_eq!(granted.isolation == Isolation::Process, isolated);
        let default = Limits::default();
        let expected = Limits {
            memory_bytes: memory.unwrap_or(default.memory_bytes),
            deadline_ms: deadline.unwrap_or(default.deadline_ms),
        };
        prop_assert_eq!(granted.sandbox.limits, expected);
        prop_assert_eq!(&granted.sandbox.permissions.hosts, &hosts);
        prop_assert_eq!(&granted.sandbox.permissions.read, &folders);
        prop_assert!(granted.sandbox.permissions.environment.keys().eq(names.iter()));
    }
}
