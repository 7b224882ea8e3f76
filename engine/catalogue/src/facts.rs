//! What the state holds of an execution: its runs, its windows, its deliveries.

use engine_abi::{Error, Result};
use engine_state::{DeliveryFilter, DeliveryRecord, Outcome, Run, State, Window};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// More deliveries of one window there are not: a report has one for each place.
const MOST_DELIVERIES: usize = 1_000;
/// A run that makes more windows than this does not end.
const MOST_WINDOWS: usize = 1_000;

/// All that the state holds of an execution.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Its run, and those that took it up, oldest first.
    pub(crate) runs: Vec<Run>,
    /// The windows that these have made.
    pub(crate) windows: Vec<Window>,
    /// What of these was begun.
    pub(crate) deliveries: Vec<DeliveryRecord>,
}

impl Facts {
    /// Looks them up. `called`: what the runs are called, or the id of the first.
    pub(crate) fn of(state: &State, pipeline: &str, called: &str) -> Result<Self> {
        let mut facts = Self { runs: state.runs_called(pipeline, called)?, ..Self::default() };
        for run in &facts.runs {
            facts.windows.extend(state.windows_of_run(pipeline, &run.id, MOST_WINDOWS)?.into_iter().rev());
        }
        for window in &facts.windows {
            let of_window = DeliveryFilter {
                pipeline: Some(pipeline.to_owned()),
                window: Some(window.id),
                limit: MOST_DELIVERIES,
                ..DeliveryFilter::default()
            };
            facts.deliveries.extend(state.deliveries(&of_window)?);
        }
        Ok(facts)
    }

    /// The run that began last.
    pub(crate) fn last(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// Ends what nobody goes on with: a run that has no end, deliveries that have not arrived. Answers whether there was
    /// anything.
    pub(crate) fn close(&self, state: &State, why: Option<&str>) -> Result<bool> {
        let why = why.unwrap_or("its execution is over");
        for window in self.windows.iter().filter(|window| window.finished.is_none()) {
            state.abandon_window(&window.pipeline, window.id, why, false)?;
        }
        let open: Vec<_> = self.runs.iter().filter(|run| run.ended.is_none()).collect();
        for run in &open {
            let error = Error::unavailable(why).hint("its report was not there to be completed");
            state.end_run(&run.id, Outcome::Failed, &json!({"interrupted": true, "errors": [error]}))?;
        }
        Ok(!open.is_empty() || self.is_unfinished())
    }

    /// Whether a window of it lacks a delivery.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.windows.iter().any(|window| window.finished.is_none())
    }
}

/// The id of an execution, by what its runs are called: the same whenever it is asked for.
pub(crate) fn id_of(called: &str) -> String {
    if let Ok(id) = uuid::Uuid::try_parse(called) {
        return id.hyphenated().to_string();
    }
    let hash = Sha256::new().chain_update("report execution ").chain_update(called).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_the_same_and_are_of_uuids_form() {
        let own = "0d9f0c2e-6f7f-4c8e-9d52-0a6a7a4b8c11";
        assert_eq!(id_of(own), own);
        let made = id_of("20260213T174805123456Z-5f0c7a1e");
        assert_eq!(made, id_of("20260213T174805123456Z-5f0c7a1e"));
        assert_eq!((made.len(), made.as_bytes()[14]), (36, b'8'));
        assert_ne!(made, id_of("20260213T174805123456Z-5f0c7a1f"));
    }
}
