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

use engine_abi::{Error, ErrorKind};

/// An error of a guest, or for one.
impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        use types::ErrorKind as Kind;
        let kind = match error.kind {
            Kind::Config => ErrorKind::Config,
            Kind::Denied => ErrorKind::Denied,
            Kind::Unavailable => ErrorKind::Unavailable,
            Kind::RateLimited => ErrorKind::RateLimited,
            Kind::Rejected => ErrorKind::Rejected,
            Kind::Internal => ErrorKind::Internal,
            Kind::Cancelled => ErrorKind::Cancelled,
        };
        let mut own = Self::new(kind, error.message);
        own.hint = error.hint;
        own.retry_after_ms = error.retry_after_ms;
        own
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        use types::ErrorKind as Kind;
        let kind = match error.kind {
            ErrorKind::Config => Kind::Config,
            ErrorKind::Denied => Kind::Denied,
            ErrorKind::Unavailable => Kind::Unavailable,
            ErrorKind::RateLimited => Kind::RateLimited,
            ErrorKind::Rejected => Kind::Rejected,
            ErrorKind::Internal => Kind::Internal,
            ErrorKind::Cancelled => Kind::Cancelled,
        };
        Self { kind, message: error.message, hint: error.hint, retry_after_ms: error.retry_after_ms }
    }
}
