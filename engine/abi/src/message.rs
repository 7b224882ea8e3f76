//! The JSON messages of `plugin.h`, as types.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Cuttable, Error, Result, Scope, Shape};

/// A message, or an answer to one, as the JSON that crosses the border.
pub fn write(message: &impl Serialize) -> Result<String> {
    serde_json::to_string(message)
        .map_err(|error| Error::internal(format!("a message cannot be written as JSON: {error}")))
}

/// `open`: what an instance is made of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The configuration: checked, with secrets and templates filled in.
    pub config: Value,
    /// The pipeline's name.
    #[serde(default)]
    pub pipeline: String,
    /// The stage's name, such as `sinks.postgres`.
    #[serde(default)]
    pub stage: String,
    /// The folder that relative paths are relative to. Empty: the process's own.
    #[serde(default)]
    pub folder: String,
    /// What the stage has kept with `remember` last; `null` where there is nothing yet. Missing: nothing is kept here,
    /// as in a check.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Value>,
    /// Sinks: what this instance is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Shape>,
    /// Sinks: a format makes the files that come, which gives them no names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nameless: bool,
}

/// `null` is a value, and not the same as nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What a module that does not share the engine's process may do. By default
/// nothing, within the default limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandbox {
    /// What it may reach.
    pub permissions: Permissions,
    /// What it may use up.
    pub limits: Limits,
}

/// What a sandboxed module may reach. `Debug` shows the names of the environment without its values.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Hosts that it may send HTTP requests to: `api.example.com`, `api.example.com:8443`,
    /// `*.example.com`, `192.0.2.7`.
    pub hosts: Vec<String>,
    /// Private networks that the names of `hosts` may stand for, such as `10.1.0.0/16`.
    /// An address that `hosts` names itself needs no network.
    pub networks: Vec<String>,
    /// The environment that it sees.
    pub environment: BTreeMap<String, String>,
    /// Folders that it may read, absolute.
    pub read: Vec<String>,
    /// Folders that it may read and write, absolute.
    pub write: Vec<String>,
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions")
            .field("hosts", &self.hosts)
            .field("networks", &self.networks)
            .field("environment", &self.environment.keys())
            .field("read", &self.read)
            .field("write", &self.write)
            .finish()
    }
}

/// What a sandboxed module may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of one instance.
    pub memory_bytes: u64,
    /// Time of one call, without what it waits for its input.
    pub deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, deadline_ms: 30_000 }
    }
}

/// `check`: what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// One line for a person: `PostgreSQL 15.18, table avaya_cdr found`.
    pub summary: String,
}

/// `scope`: how much of the stream a transform must see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoped {
    /// As it is configured.
    pub scope: Scope,
}

/// `plan`: where to begin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// How far the pipeline has got: the last window's upper bound.
    #[serde(default)]
    pub cursor: Option<Value>,
    /// Where to end, included. None: with what there is. Only for sources that say
    /// `ranges`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Value>,
    /// Splits of earlier windows that the source wants to be told of ([`Plan::tell`]), and was not told of yet: some
    /// sink misses them. What they cover is not to be planned again, unless a cursor has passed it anyhow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<Split>,
}

impl PlanRequest {
    /// What [`Self::undelivered`] says, as the type that the source gave as [`Split::spec`]. Other splits are not the
    /// source's own: an older version may have planned them.
    pub fn undelivered_as<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> {
        self.undelivered.iter().filter_map(|split| split.spec_as().ok())
    }

    /// The cursor as the type that the source gave as [`Plan::upper`]; `None` at the first window.
    pub fn cursor_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        T::deserialize(cursor).map(Some).map_err(|error| {
            Error::config(format!("the cursor {cursor} is none of this source: {error}")).hint(
                "another version of the module stored it: go back to that one, or begin anew with `engine state reset`",
            )
        })
    }
}

/// `plan`: what there is to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where the next window begins; absent when the source has no cursor and
    /// every run reads everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Value>,
    /// In the order of their rows. None: there is nothing to read.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// The source wants to know when every sink has all of it: `delivered`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tell: bool,
}

/// `delivered`: a window that every sink has all of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    /// The pipeline's name.
    pub pipeline: String,
    /// The window's number.
    pub window: u64,
    /// Its splits, as `plan` described them; of a file that was cut, its pieces.
    pub splits: Vec<Split>,
}

/// An independent piece of a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Unique in its window; sorts in the order of the rows.
    pub id: String,
    /// All that `read` needs to give the same rows again.
    #[serde(default)]
    pub spec: Value,
    /// Roughly how many rows it has, for progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_rows: Option<u64>,
    /// It is one file that may be cut. The engine then makes several splits of
    /// it, whose `spec` also has a member `range`, a [`ByteRange`](crate::ByteRange).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cuttable>,
}

impl Split {
    /// A split; `spec` is a struct of the source's own, or `json!({…})`.
    pub fn new(id: impl Into<String>, spec: impl Serialize) -> Result<Self> {
        let id = id.into();
        let spec = serde_json::to_value(spec)
            .map_err(|error| Error::internal(format!("the split `{id}` cannot be written down: {error}")))?;
        Ok(Self { id, spec, estimated_rows: None, cut: None })
    }

    /// Says roughly how many rows it has.
    #[must_use]
    pub fn rows(mut self, estimated: u64) -> Self {
        self.estimated_rows = Some(estimated);
        self
    }

    /// Says that it is one file of `bytes` bytes, which may be cut into pieces of about `every` bytes.
    #[must_use]
    pub fn cuttable(mut self, bytes: u64, every: u64) -> Self {
        self.cut = Some(Cuttable { bytes, every });
        self
    }

    /// What [`Split::new`] was given, to read the rows by.
    pub fn spec_as<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.spec).map_err(|error| {
            Error::internal(format!("the split `{}` does not say what to read: {error}", self.id))
                .hint("another version of the module planned it: go back to that one, or begin anew with `engine state reset`")
        })
    }
}

/// `begin_run` and `finish_run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkRun {
    /// The state's id: two engines never share one.
    pub state: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name in the pipeline.
    pub sink: String,
    /// The window's number.
    pub window: u64,
    /// The ids of the splits that will be delivered.
    #[serde(default)]
    pub splits: Vec<String>,
    /// Its rows are dead letters of earlier windows, tried again: they belong to
    /// what is there, and replace nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replay: bool,
}

impl SinkRun {
    /// A delivery of this window that no split is, under which a sink keeps with the keys of the others how far it
    /// has got with the whole window.
    pub fn marker(&self, split: &str) -> Delivery {
        let Self { state, pipeline, sink, window, .. } = self;
        Delivery {
            key: format!("{state}/{pipeline}/{sink}/{window}/{split}"),
            state: state.clone(),
            pipeline: pipeline.clone(),
            sink: sink.clone(),
            window: *window,
            split: split.to_owned(),
            ..Delivery::default()
        }
    }
}

/// `begin_run`: how the window's splits may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBegun {
    /// Several instances may deliver splits at the same time, in any order.
    /// Otherwise one instance delivers them one after the other, in their order.
    #[serde(default)]
    pub parallel: bool,
}

/// `begin_split`, `write`, `commit` and `abort`: one delivery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// What the other side keeps to know the delivery again.
    pub key: String,
    /// The state's id: two engines never share one.
    pub state: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name in the pipeline.
    pub sink: String,
    /// The window's number.
    pub window: u64,
    /// The split's id; `run` where the whole window is one delivery.
    pub split: String,
    /// Windows below this number never come again for this sink.
    #[serde(default)]
    pub settled_before: u64,
    /// What `write` answered, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// `begin_split`: the parts of the receipt that earlier attempts have kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<Value>,
    /// Nothing more is to be tried: why the rows that `answered` does not name are to be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// Why a delivery is not tried any more; for the dead letters of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The kind of the last attempt's error.
    pub code: String,
    /// What it said.
    pub reason: String,
}

/// `begin_split`: how far this delivery has got at the other side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Begun {
    /// Nothing of it is there: `write` it.
    New,
    /// What `sealed` says is complete and waits: `commit` it.
    Sealed,
    /// It arrived before.
    Committed {
        /// What the commit answered, as far as it can still be told.
        #[serde(default)]
        receipt: Receipt,
    },
}

/// `write`: what is ready to be committed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    /// Rows taken, without rejected ones. 0 for a sink that takes files.
    #[serde(default)]
    pub rows: u64,
    /// Bytes sent or stored.
    #[serde(default)]
    pub bytes: u64,
    /// The artefact's hash, in hexadecimal, where there is an artefact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the sink itself needs to commit it after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Value>,
}

/// `commit`: what the other side answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Rows that are there now through this delivery. 0 for a sink that takes files.
    #[serde(default)]
    pub rows: u64,
    /// Bytes that are there now through this delivery.
    #[serde(default)]
    pub bytes: u64,
    /// The artefact's hash, where there is an artefact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it is, for a person: a table, a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Numbers that the other side told, by name. The run's report has their sums.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, i64>,
    /// What somebody should be told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Anything else that is worth keeping.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// Something about a delivery that is worth telling a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about: in a run, one key is told of once.
    pub key: String,
    /// What happened, and what to do about it.
    pub message: String,
}

/// `acquire`: who wants to hold the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireRequest {
    /// Unique: this engine, since it has begun.
    pub holder: String,
    /// The engine for a person: `engine on host7, process 4711`.
    pub shown: String,
    /// A former holder of this machine that is known to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// How long the state is held without a sign of life, in milliseconds.
    pub lease_ms: u64,
}

/// `acquire`: the state, as it is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquired {
    /// How many changes it has; 0: it is empty.
    pub sequence: u64,
    /// The form of its documents; what the last `store` said.
    #[serde(default)]
    pub layout: u64,
    /// The id of its last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Where pipelines begin that the state does not know yet, by their names: what
    /// the database holds of them from before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, Value>,
}

/// One document of the state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// Which sort of document: `windows`, `cursors`; letters and `_`.
    pub collection: String,
    /// What tells it from others of its collection: JSON text of an array.
    pub key: String,
    /// What it is now: an object of texts, numbers, nulls and `{"bytes": hexadecimal}`.
    /// None: it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

/// `store`: documents that change together, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreRequest {
    /// As in [`AcquireRequest::holder`]; filled in by whoever speaks to the component.
    #[serde(default)]
    pub holder: String,
    /// Unique: this change.
    pub id: String,
    /// How many changes the state must have before. No changes, and the same number
    /// as in `sequence`: a sign of life.
    pub after: u64,
    /// How many it has afterwards.
    pub sequence: u64,
    /// The form of the documents.
    pub layout: u64,
    /// The documents.
    pub changes: Vec<StateChange>,
    /// What pipelines have done with it, for whoever looks into the database. The
    /// documents hold all of it as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

/// What one pipeline has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The pipeline's name.
    pub pipeline: String,
    /// Up to where everything was delivered to all its sinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Value>,
    /// Its runs that begin or end with this change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<OperationRun>,
}

/// A run that begins or ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationRun {
    /// Unique.
    pub id: String,
    /// What began it: `command`, `schedule`.
    pub trigger: String,
    /// When it began, as RFC 3339.
    pub started: String,
    /// When it ended, as RFC 3339. None: it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// `succeeded`, `failed`, `stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The windows that it has begun, gone on with or completed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<OperationWindow>,
    /// What it reports: counts, errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
}

/// A window of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationWindow {
    /// Its number.
    pub id: u64,
    /// Where it begins, without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<Value>,
    /// Where it ends, with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Value>,
}

/// `release`: by whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// As in [`AcquireRequest::holder`].
    pub holder: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Piece {
        first: u32,
    }

    #[test]
    fn a_split_gives_back_what_it_was_made_of() {
        let split = Split::new("0001", Piece { first: 7 }).unwrap().rows(3);
        assert_eq!(split, Split { id: "0001".into(), spec: json!({"first": 7}), estimated_rows: Some(3), cut: None });
        assert_eq!(split.spec_as::<Piece>(), Ok(Piece { first: 7 }));
    }

    #[test]
    fn what_a_module_sees_of_the_environment_is_not_debugged() {
        let environment = [("API_TOKEN".to_owned(), "hunter2".to_owned())].into();
        let shown = format!("{:?}", Permissions { environment, ..Permissions::default() });
        assert!(shown.contains("API_TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_split_or_cursor_of_another_kind_is_named() {
        let error = Split::new("0001", json!({"from": 7})).unwrap().spec_as::<Piece>().unwrap_err();
        assert_eq!(error.message, "the split `0001` does not say what to read: missing field `first`");
        let request = |cursor| PlanRequest { cursor, ..PlanRequest::default() };
        assert_eq!(request(None).cursor_as::<u32>(), Ok(None));
        assert_eq!(request(Some(json!(7))).cursor_as::<u32>(), Ok(Some(7)));
        let error = request(Some(json!("x"))).cursor_as::<u32>().unwrap_err();
        assert!(error.message.starts_with("the cursor \"x\" is none of this source: "), "{error}");
    }
}
