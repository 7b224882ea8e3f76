//! What the library says of files that are damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Works on what a file holds. The library panics on some files that are damaged, and
/// what it was at is not used any more then.
///
/// # Errors
/// What is wrong with the file, as the library says it.
pub fn careful<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(short(&error.to_string())),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it makes no sense");
            let text = short(text);
            // Dropping it could panic again.
            std::mem::forget(payload);
            Err(text)
        }
    }
}

/// Without who says it and where. A part of the file may stand in it, of any length.
fn short(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let prefixes = ["Parquet error: ", "Parquet argument error: ", "External: ", "Arrow: ", "EOF: ", "NYI: "];
    let text = prefixes.iter().fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
