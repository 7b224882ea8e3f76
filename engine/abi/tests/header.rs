//! The Rust mirror and the header agree, size by size and offset by offset:
//! a C program prints what the compiler sees in `schemas/plugin.h`.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;

use engine_abi::ffi::*;
use engine_abi::{ABI_VERSION, ComponentKind, ErrorKind, MODULE_SYMBOL};

macro_rules! layout {
    ($($c:literal = $rust:ty { $($field:ident),* $(,)? })*) => {{
        let mut rust = String::new();
        let mut c = String::new();
        $(
            writeln!(rust, "{} {}", $c, size_of::<$rust>()).unwrap();
            writeln!(c, "printf(\"{0} %zu\\n\", sizeof({0}));", $c).unwrap();
            $(
                writeln!(rust, "{}.{} {}", $c, stringify!($field), offset_of!($rust, $field)).unwrap();
                writeln!(c, "printf(\"{0}.{1} %zu\\n\", offsetof({0}, {1}));", $c, stringify!($field)).unwrap();
            )*
        )*
        (rust, c)
    }};
}

/// Compiles and runs a C program against the header; answers with what it prints.
fn run_c(body: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("layout.c");
    let program = folder.path().join("layout");
    std::fs::write(
        &source,
        format!("#include <stdio.h>\n#include \"plugin.h\"\nint main(void) {{\n{body}\nreturn 0; }}\n"),
    )
    .unwrap();
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", schemas, "-o"])
        .args([&program, &source])
        .output()
        .expect("a C compiler named `cc`");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap()
}

#[test]
fn every_struct_has_the_size_and_offsets_of_the_header() {
    let (rust, c) = layout! {
        "EngineText" = Text { data, length }
        "EngineBytes" = Bytes { data, length }
        "EngineReply" = Reply { context, put }
        "EngineRejection" = Rejection { size, reason, code, name, data, rows, schema }
        "EngineRecord" = Record { size, state, connection, records, peer, data }
        "EngineHost" = Host {
            size, context, log, cancelled, deadline, progress, filtered, reject, receipt, remember, append, durable,
        }
        "EngineComponent" = Component {
            size, kind, name, describe, open, check, plan, read, listen, apply, begin_run, begin_split, write, commit,
            abort, finish_run, last_error, close, acquire, load, store, release, scope, delivered,
        }
        "EngineModule" = Module { size, abi_version, name, version, component_count, components }
        "struct ArrowArray" = FFI_ArrowArray {}
        "struct ArrowSchema" = FFI_ArrowSchema {}
        "struct ArrowArrayStream" = FFI_ArrowArrayStream { get_schema, get_next, get_last_error, release, private_data }
    };
    assert_eq!(rust, run_c(&c));
}

#[test]
fn every_number_has_the_value_of_the_header() {
    let mut rust = format!("{ABI_VERSION}\n");
    let mut c = String::from("printf(\"%d\\n\", ENGINE_ABI_VERSION);");
    let mut expect = |name: &str, value: i32| {
        writeln!(rust, "{name} {value}").unwrap();
        writeln!(c, "printf(\"{name} %d\\n\", {name});").unwrap();
    };
    expect("ENGINE_OK", OK);
    for kind in ErrorKind::ALL {
        expect(&format!("ENGINE_{}", kind.as_str().to_uppercase()), kind.status());
    }
    for kind in ComponentKind::ALL {
        expect(&format!("ENGINE_{}", kind.as_str().to_uppercase()), kind.number());
    }
    expect("ENGINE_LOG_ERROR", log_level::ERROR);
    expect("ENGINE_LOG_WARN", log_level::WARN);
    expect("ENGINE_LOG_INFO", log_level::INFO);
    expect("ENGINE_LOG_DEBUG", log_level::DEBUG);
    expect("ENGINE_LOG_TRACE", log_level::TRACE);
    expect("ENGINE_RECORD_COMPLETE", record_state::COMPLETE);
    expect("ENGINE_RECORD_PARTIAL", record_state::PARTIAL);
    expect("ENGINE_RECORD_OVERSIZE", record_state::OVERSIZE);
    expect("ENGINE_APPLY", direction::APPLY);
    expect("ENGINE_DECODE", direction::DECODE);
    expect("ENGINE_ENCODE", direction::ENCODE);
    expect("ENGINE_CUT", direction::CUT);
    // The symbol's name is part of the header as well.
    c.push_str(&format!("(void)sizeof(&{MODULE_SYMBOL});"));
    assert_eq!(rust, run_c(&c));
}
