//! What DataFusion is allowed to know and to do.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ScalarUDF, Volatility};
use datafusion::optimizer::Analyzer;
use datafusion::prelude::SessionConfig;
use engine_sdk::prelude::*;

use crate::checked::CheckArithmetic;
use crate::config::{Config, LEAST_MEMORY};
use crate::error::failed;
use crate::workspace::Workspace;

/// Rows of a batch inside a query.
const ROWS: usize = 8192;
/// What a sort sets aside to merge what it has spilled, of all memory, and at most.
const MERGE_SHARE: usize = 8;
const MERGE_BYTES: usize = 10 << 20;
/// What a query tells of the machine, and not of its rows.
const WITHHELD: [&str; 1] = ["version"];

/// Functions that a query may call.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| {
        !WITHHELD.contains(&function.name()) && function.signature().volatility != Volatility::Volatile
    });
    functions
}

/// Functions that give another value at each call, and so other rows when a delivery is repeated.
pub fn volatile_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| function.signature().volatility == Volatility::Volatile);
    functions
}

/// The bounds of one instance.
#[derive(Debug, Clone)]
pub struct Bounds {
    memory: usize,
    /// The most room on disk.
    pub disk: u64,
    spill: Option<PathBuf>,
}

impl Bounds {
    /// The bounds that a user has set.
    pub fn new(config: &Config, cx: &Context) -> Result<Self> {
        if config.memory < LEAST_MEMORY {
            return Err(Error::config("`memory` is less than 1MiB, in which no query could work")
                .hint("leave it away: it is 64MiB then"));
        }
        let spill = config.spill.as_ref().map(|folder| cx.resolve(folder));
        Ok(Self { memory: config.memory.as_usize(), disk: config.disk.0, spill })
    }

    /// Where what does not fit into memory goes. The folder must be there.
    pub fn place(&self) -> Result<PathBuf> {
        let Some(folder) = &self.spill else { return Ok(std::env::temp_dir()) };
        if folder.is_dir() {
            return Ok(folder.clone());
        }
        Err(Error::config(format!("`spill` names {}, which is no folder", folder.display()))
            .hint("make the folder, or leave `spill` away"))
    }

    /// Memory and disk of one stream. Everything on disk goes with the workspace.
    pub fn runtime(&self) -> Result<(Arc<RuntimeEnv>, Workspace)> {
        let workspace = Workspace::new(&self.place()?)?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![workspace.folder().to_owned()]))
            .with_max_temp_directory_size(self.disk);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.memory)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(|error| failed(error).context("the folder for what does not fit into memory"))?;
        Ok((runtime, workspace))
    }

    fn options(&self) -> ConfigOptions {
        let mut options = ConfigOptions::new();
        let parser = &mut options.sql_parser;
        // Names are taken exactly as they are written, as everywhere in the engine.
        parser.enable_ident_normalization = false;
        // `1.2` is a decimal, as in the standard: money stays exact.
        parser.parse_float_as_decimal = true;
        parser.map_string_types_to_utf8view = false;
        parser.collect_spans = true;
        // The one thread of a stage: rows keep their order, and a run gives the same rows as the last.
        options.execution.target_partitions = 1;
        options.execution.planning_concurrency = 1;
        options.execution.sort_spill_reservation_bytes = (self.memory / MERGE_SHARE).min(MERGE_BYTES);
        options.execution.collect_statistics = false;
        options
    }

    /// A session without tables, files or anything that changes something.
    pub fn session(&self) -> SessionState {
        let mut config = SessionConfig::from(self.options());
        config = config.with_batch_size(ROWS).with_information_schema(false);
        let mut analyzer = Analyzer::new();
        analyzer.rules.push(Arc::new(CheckArithmetic));
        SessionStateBuilder::new()
            .with_config(config)
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_analyzer_rules(analyzer.rules)
            .build()
    }
}

/// The session of one stream: its own tables, memory and disk.
pub fn of_stream(
    session: &SessionState,
    runtime: Option<Arc<RuntimeEnv>>,
    tables: MemorySchemaProvider,
) -> Result<SessionState> {
    let catalog = session.config_options().catalog.clone();
    let provider = MemoryCatalogProvider::new();
    provider.register_schema(&catalog.default_schema, Arc::new(tables)).map_err(failed)?;
    let catalogs = datafusion::catalog::MemoryCatalogProviderList::new();
    datafusion::catalog::CatalogProviderList::register_catalog(&catalogs, catalog.default_catalog, Arc::new(provider));
    let mut builder = SessionStateBuilder::new_from_existing(session.clone()).with_catalog_list(Arc::new(catalogs));
    if let Some(runtime) = runtime {
        builder = builder.with_runtime_env(runtime);
    }
    let mut session = builder.build();
    // The moment that `now()` is.
    session.mark_start_execution();
    Ok(session)
}
