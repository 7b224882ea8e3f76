//! Native modules in processes of their own: what one does to its process, it
//! does not do to the engine.
//!
//! Each instance has a process. The engine starts itself (`engine plugin-host`)
//! with three descriptors: a socket for [`wire`] frames, the module's open file,
//! and a page of memory ([`control`]). The process restricts itself ([`confine`]),
//! loads the module like the engine would, and serves one instance of it
//! ([`child`]). The engine calls that through [`calls`], behind the same C table
//! as any component; [`link`] is the conversation, [`spawn`] starts and ends
//! the process, [`words`] says what became of it.
//!
//! Why it is made like this: docs/decisions/2026-11-28-isolation-by-process.md.

mod calls;
mod child;
mod clock;
mod confine;
mod control;
mod link;
mod module;
mod output;
mod remote;
mod served;
mod socket;
mod spawn;
mod wire;
mod words;

pub use child::serve as serve_module;
pub(crate) use module::{IsolatedModule, OWN_PROGRAM};
