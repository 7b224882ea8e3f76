//! `schemas/plugin.wit` as Rust. A module exports some of these interfaces; which
//! ones is looked up when it is loaded.

wasmtime::component::bindgen!({
    inline: r#"
        package engine:host;

        world every {
            import engine:plugin/host@1.0.0;
            import engine:plugin/input@1.0.0;
            import engine:plugin/spool@1.0.0;
            export engine:plugin/component@1.0.0;
            export engine:plugin/source@1.0.0;
            export engine:plugin/listener@1.0.0;
            export engine:plugin/transform@1.0.0;
            export engine:plugin/format@1.0.0;
            export engine:plugin/sink@1.0.0;
            export engine:plugin/writer@1.0.0;
            export engine:plugin/streams@1.0.0;
        }
    "#,
    path: "../../schemas/plugin.wit",
    world: "engine:host/every",
});

pub use engine::plugin::{host, input, spool, types};
pub use exports::engine::plugin as exported;

engine_abi::wit_errors!(engine::plugin::types);
