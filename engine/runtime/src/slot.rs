//! A component of a run and its open instance.

use std::sync::Arc;

use engine_abi::{Error, Result};
use engine_host::Instance;
use engine_spec::TemplateVariables;
use serde_json::Value;

use crate::assembly::Part;
use crate::stage_host::StageHost;

/// Keeps an instance open from window to window, for as long as its
/// configuration stays the same and it works.
pub(crate) struct Slot {
    pub(crate) part: Part,
    pub(crate) host: Arc<StageHost>,
    open: Option<(Value, Instance)>,
}

impl Slot {
    pub(crate) fn new(part: &Part, host: Arc<StageHost>) -> Self {
        Self { part: part.clone(), host, open: None }
    }

    /// The open instance, opened now if need be.
    pub(crate) fn instance(&mut self, variables: &TemplateVariables) -> Result<&mut Instance> {
        let config = self.part.render(variables)?;
        let (_, instance) = match self.open.take() {
            Some(open) if open.0 == config => self.open.insert(open),
            _ => {
                let instance = self.part.open(config.clone(), self.host.remembered()?, Arc::clone(&self.host) as _)?;
                self.open.insert((config, instance))
            }
        };
        Ok(instance)
    }

    /// The open instance, for whoever works with it from now on; the next one is opened anew.
    pub(crate) fn take(&mut self, variables: &TemplateVariables) -> Result<Instance> {
        self.instance(variables)?;
        self.open.take().map(|(_, instance)| instance).ok_or_else(|| Error::internal("no instance was opened"))
    }

    /// The instance, if it is open.
    pub(crate) fn opened(&mut self) -> Option<&mut Instance> {
        self.open.as_mut().map(|(_, instance)| instance)
    }

    /// Lets the instance go after a failure: the next attempt gets a fresh one.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}
