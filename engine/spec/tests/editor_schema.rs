//! The schemas for editors agree with what the engine accepts.

mod common;

use common::{CONNECTIONS, catalogue};
use engine_abi::ComponentKind;
use engine_spec::{Catalogue, connections_schema, parse, parse_connections, pipeline_schema};
use serde_json::Value;

fn faults(schema: &Value, text: &str) -> Vec<String> {
    let document = parse(text.as_bytes(), "p.yaml").document.unwrap().to_json();
    jsonschema::validator_for(schema).unwrap().iter_errors(&document).map(|error| error.to_string()).collect()
}

const SOUND: &str = "
source:
  use: tcp
  with: { listen: a, max_line: 64KiB, connections: \"${env:COUNT}\", idle: 2s }
  format: avaya_cdr
transforms:
  - { use: pass }
  - use: guest
    isolation: process
    limits: { memory: 256MiB, deadline: 30s }
    permissions:
      hosts: [api.example.com, \"*.example.org:8443\", \"http://192.0.2.7:8080\", \"[2001:db8::1]:8443\", \"${env:HOST}\"]
      networks: [10.1.0.0/16, \"fd00::/8\"]
      environment: [API_TOKEN]
      read: [lookup]
      write: [/var/spool/x]
sinks:
  - use: postgres
    with: { connection: db, mode: upsert, create: true, port: 5432 }
  - { use: postgres, name: b, with: { url: x, table: t }, retry: { backoff: 2s, growth: linear, on_exhausted: wait } }
  - { use: file, with: { path: x }, compression: { use: gzip, limits: { memory: 1048576 }, with: { level: 9 } }, format: { use: csv, with: { header: true } } }
  - { use: file, name: c, with: { path: y }, compression: pack, format: csv }
spool: { max: 1GiB, segment: 1024 }
unfinished: give_up
tests: [{ name: a, input: b, expect: [{ c: 1 }] }]
";

#[test]
fn a_sound_pipeline_is_sound_in_the_editor() {
    let schema = pipeline_schema(&catalogue());
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(faults(&schema, SOUND), Vec::<String>::new());
}

#[test]
fn what_the_engine_refuses_is_underlined_in_the_editor() {
    let schema = pipeline_schema(&catalogue());
    for (right, wrong) in [
        ("listen: a", "lissten: a"),
        ("use: tcp", "use: tpc"),
        ("max_line: 64KiB", "max_line: 64 lots"),
        ("\"${env:COUNT}\"", "many"),
        ("mode: upsert", "mode: upset"),
        ("connection: db, ", ""),
        ("header: true", "head: true"),
        ("level: 9", "level: 10"),
        ("compression: pack", "compression: csv"),
        ("format: csv }", "format: gzip }"),
        ("spool: ", "spol: "),
        ("segment: 1024", "segment: 1 lot"),
        ("backoff: 2s", "backoff: 2 sec"),
        ("growth: linear", "growth: square"),
        ("unfinished: give_up", "unfinished: forget"),
        ("input: b, ", ""),
        ("{ use: pass }", "{ use: pass, format: csv }"),
        ("isolation: process", "isolation: processs"),
        ("memory: 256MiB", "memory: much"),
        ("memory: 1048576", "memory: 1048575"),
        ("deadline: 30s", "deadline: 30"),
        ("[api.example.com", "[ftp://api.example.com"),
        ("[10.1.0.0/16", "[10.1.0.0"),
        ("[API_TOKEN]", "[API-TOKEN]"),
        ("read: [lookup]", "read: lookup"),
        ("permissions:", "permission:"),
    ] {
        let text = SOUND.replacen(right, wrong, 1);
        assert_ne!(text, SOUND, "{right}");
        assert!(!faults(&schema, &text).is_empty(), "{wrong} is not underlined");
    }
}

#[test]
fn connections_have_a_schema_of_their_own() {
    let schema = connections_schema(&catalogue());
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(faults(&schema, CONNECTIONS), Vec::<String>::new());
    assert!(!faults(&schema, &CONNECTIONS.replace("port:", "prt:")).is_empty());
    assert!(!faults(&schema, &CONNECTIONS.replace("use: file", "use: csv")).is_empty());
    assert!(parse_connections(CONNECTIONS.as_bytes(), "connections.yaml").1.is_empty());
}

#[test]
fn the_order_in_which_components_are_found_does_not_matter() {
    let first = catalogue();
    let mut second = Catalogue::new();
    let mut components: Vec<_> = first.components().cloned().collect();
    components.reverse();
    components.into_iter().for_each(|component| second.add(component));
    assert_eq!(pipeline_schema(&first).to_string(), pipeline_schema(&second).to_string());
    assert_eq!(connections_schema(&first).to_string(), connections_schema(&second).to_string());
    assert_eq!(second.names(ComponentKind::Source).collect::<Vec<_>>(), ["file", "postgres", "tcp"]);
}
