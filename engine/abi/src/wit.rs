//! `schemas/plugin.wit` is turned into Rust on both sides of it; what both need
//! of the result stands here.

/// Conversions between the `error` of `plugin.wit`, as bindings in `$types` have it,
/// and [`Error`](crate::Error).
#[macro_export]
macro_rules! wit_errors {
    ($types:path) => {
        const _: () = {
            use types::ErrorKind as Theirs;
            use $crate::ErrorKind as Own;
            use $types as types;

            impl From<types::Error> for $crate::Error {
                fn from(error: types::Error) -> Self {
                    let kind = match error.kind {
                        Theirs::Config => Own::Config,
                        Theirs::Denied => Own::Denied,
                        Theirs::Unavailable => Own::Unavailable,
                        Theirs::RateLimited => Own::RateLimited,
                        Theirs::Rejected => Own::Rejected,
                        Theirs::Internal => Own::Internal,
                        Theirs::Cancelled => Own::Cancelled,
                    };
                    let mut own = Self::new(kind, error.message);
                    own.hint = error.hint;
                    own.retry_after_ms = error.retry_after_ms;
                    own
                }
            }

            impl From<$crate::Error> for types::Error {
                fn from(error: $crate::Error) -> Self {
                    let kind = match error.kind {
                        Own::Config => Theirs::Config,
                        Own::Denied => Theirs::Denied,
                        Own::Unavailable => Theirs::Unavailable,
                        Own::RateLimited => Theirs::RateLimited,
                        Own::Rejected => Theirs::Rejected,
                        Own::Internal => Theirs::Internal,
                        Own::Cancelled => Theirs::Cancelled,
                    };
                    Self { kind, message: error.message, hint: error.hint, retry_after_ms: error.retry_after_ms }
                }
            }
        };
    };
}
