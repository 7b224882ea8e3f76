//! What states say of each other's holders.

use engine_abi::Error;

/// For [`StateStore::acquire`](crate::StateStore::acquire): another engine has the state
/// `name`. `shown`: as it wants to be shown. `ago`, `lease`: seconds since its last sign
/// of life, and how long it may go without one.
pub fn held(name: &str, shown: &str, ago: i64, lease: i64) -> Error {
    Error::unavailable(format!("the state `{name}` is held by {shown}, last seen {ago} s ago"))
        .hint(format!("stop that engine, or wait: if it has ended without a word, the state is free after {lease} s"))
}

/// Nobody has the state, but it was another one's a moment ago.
pub fn given_back(name: &str) -> Error {
    Error::unavailable(format!("the state `{name}` was given back or changed meanwhile"))
}

/// For [`StateStore::store`](crate::StateStore::store): this engine has lost the state.
/// `now`: what [`held`] or [`given_back`] says of it.
pub fn lost(now: &Error) -> Error {
    Error::denied(format!("this engine has lost the state: {}", now.message))
        .hint("end this engine; the other one goes on with what it has left")
}
