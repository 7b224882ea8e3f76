//! What forms came to, kept until the page is shown that they lead to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::answer::Problem;

/// The most that are kept; the oldest goes first.
const MOST: usize = 100;

/// A sentence at the top of a page.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// It went well.
    pub(super) good: bool,
    pub(super) text: String,
}

impl Notice {
    pub(super) fn of(outcome: Result<String, Problem>) -> Self {
        match outcome {
            Ok(text) => Self { good: true, text },
            Err(problem) => Self { good: false, text: problem.message },
        }
    }
}

/// Those of this process, each under a name that nobody can guess: what an address says is never shown as ours.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<VecDeque<(String, Notice)>>);

impl Notices {
    fn keep(&self, notice: Notice) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back((id.clone(), notice));
        id
    }

    pub(super) fn find(&self, id: &str) -> Option<Notice> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(known, _)| known == id).map(|(_, notice)| notice.clone())
    }

    /// Leads from a form to a page that tells what it came to.
    pub(super) fn lead(&self, page: &str, outcome: Result<String, Problem>) -> Response {
        let id = self.keep(Notice::of(outcome));
        let joint = if page.contains('?') { '&' } else { '?' };
        led(&format!("{page}{joint}notice={id}"))
    }
}

/// Leads from a form to a page.
pub(super) fn led(page: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_found_until_newer_ones_take_its_place() {
        let notices = Notices::default();
        let keep = || notices.keep(Notice::of(Ok("done".into())));
        let first = keep();
        assert_eq!(notices.find(&first).unwrap().text, "done");
        let last = std::iter::repeat_with(keep).take(MOST).last().unwrap();
        assert!(notices.find(&first).is_none() && notices.find(&last).is_some() && notices.find("").is_none());
    }
}
