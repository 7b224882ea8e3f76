//! Which run and which split a line of the log is about. Spans belong to threads: whoever starts one carries them over.

use tracing::Span;

/// Of everything that a run does.
pub(crate) fn of_run(pipeline: &str, run: &str) -> Span {
    tracing::info_span!("run", pipeline, run)
}

/// Of reading a split.
pub(crate) fn of_reading(window: u64, split: &str) -> Span {
    tracing::info_span!("read", window, split)
}

/// Of one attempt at a delivery.
pub(crate) fn of_delivery(window: u64, split: &str, sink: &str) -> Span {
    tracing::info_span!("delivery", window, split, sink)
}

/// Work for another thread, in the spans of this one.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}
