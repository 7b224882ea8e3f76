//! The terminal: lines that must not be mixed up with the progress line, and
//! secrets that must not appear.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

static STATUS: Mutex<String> = Mutex::new(String::new());
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shorter secrets would turn every other word into stars.
const SHORTEST_SECRET: usize = 3;

/// Remembers texts that nothing printed or logged may hold. One that is part of
/// a public word (a password that is the user's name, say) stays visible: stars
/// in the place of a known word would tell what it is.
pub fn hide(secrets: Vec<String>, public: &[String]) {
    let hidden = |secret: &String| secret.len() >= SHORTEST_SECRET && !public.iter().any(|word| word.contains(secret));
    let mut known = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    known.extend(secrets.into_iter().filter(hidden));
    // A secret that contains another goes first.
    known.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    known.dedup();
}

/// The text without secrets.
pub fn masked(text: &str) -> String {
    let known = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().fold(text.to_owned(), |text, secret| {
        if text.contains(secret.as_str()) { text.replace(secret.as_str(), "***") } else { text }
    })
}

/// Whether a person looks at stderr.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn status() -> MutexGuard<'static, String> {
    STATUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line on stderr, above the progress line.
pub fn error_line(text: &str) {
    let status = status();
    let mut stderr = std::io::stderr().lock();
    // A closed terminal is no reason to fail.
    let _ = if status.is_empty() {
        writeln!(stderr, "{}", masked(text))
    } else {
        write!(stderr, "\r\x1b[K{}\n{}", masked(text), *status)
    };
    let _ = stderr.flush();
}

/// Prints a line on stdout.
pub fn line(text: &str) {
    let _status = status();
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", masked(text));
}

/// Shows how far things are, in one line that the next one replaces.
pub fn progress(text: &str) {
    let mut status = status();
    if *status == text {
        return;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{}", masked(text)).and_then(|()| stderr.flush());
    text.clone_into(&mut status);
}
