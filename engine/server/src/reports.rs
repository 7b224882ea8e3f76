//! Reports as the service sees them: whoever keeps a catalogue of them says what there is, and what became of what.

use chrono::{DateTime, Utc};
use engine_abi::Result;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::service::{Refusal, Service};

/// A catalogue of reports.
pub trait Reports: Send + Sync {
    /// Every report, on demand and of each schedule.
    fn list(&self) -> Vec<ReportEntry>;

    /// Asks for an execution, and answers with its id. It begins when there is room.
    ///
    /// # Errors
    /// Why there is none.
    fn execute(&self, service: &Service, which: Which, wish: Wish) -> std::result::Result<String, Refusal>;

    /// An execution, at work or over. None: there is none of that id.
    ///
    /// # Errors
    /// Those of the catalogue.
    fn execution(&self, id: &str) -> Result<Option<Execution>>;

    /// Tries out whether a datasource answers. None: there is none of that id.
    fn test_datasource(&self, id: i64) -> Option<Result<String>>;

    /// Tries out whether the place of a delivery answers, and sends nothing. None: there is none of that id.
    fn test_delivery(&self, id: i64) -> Option<Result<String>>;

    /// Whether it could be read when it was looked at last.
    ///
    /// # Errors
    /// Why not.
    fn reached(&self) -> Result<()>;
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// On demand.
    Config(i64),
    /// As its schedule would.
    Schedule(i64),
}

/// How an execution is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Values of its parameters, by name.
    pub parameters: Map<String, Value>,
    /// Who wants it.
    pub executed_by: Option<String>,
}

/// A report of a catalogue.
#[derive(Debug, Clone)]
pub struct ReportEntry {
    /// Its pipeline.
    pub pipeline: String,
    /// Its id.
    pub config_id: i64,
    /// What it is called.
    pub name: String,
    /// Its schedule's id, cron expression and time zone. None: it runs on demand.
    pub schedule: Option<(i64, String, String)>,
}

/// What has become of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionStatus {
    /// It is at work, or waits to be.
    Running,
    /// Everything was delivered.
    Completed,
    /// Something was not.
    Failed,
    /// It was asked to stop, or never began.
    Cancelled,
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogStatus {
    /// It is still to be made.
    Pending,
    /// It has arrived.
    Success,
    /// It has not, and will not.
    Failed,
    /// It has not, and is tried again.
    Retry,
}

/// An execution of a report.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Execution {
    /// Its id.
    pub execution_id: String,
    /// The report.
    pub config_id: i64,
    /// The schedule that it was for.
    pub schedule_id: Option<i64>,
    /// What has become of it.
    pub status: ExecutionStatus,
    /// When it began; none while it waits.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Who wanted it.
    pub executed_by: Option<String>,
    /// What asked for it, its parameters, its run.
    pub execution_context: Option<Value>,
    /// How long it took until every row was read.
    pub query_execution_time_ms: Option<i64>,
    /// Rows of the report.
    pub rows_returned: Option<i64>,
    /// Where its file is.
    pub file_generated_path: Option<String>,
    /// How large its file is.
    pub file_size_bytes: Option<i64>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Where it went.
    pub deliveries: Vec<DeliveryLog>,
}

/// A delivery of an execution.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryLog {
    /// The delivery.
    pub delivery_id: i64,
    /// What has become of it.
    pub status: LogStatus,
    /// When it had arrived.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was over, well or not.
    pub completed_at: Option<DateTime<Utc>>,
    /// How many were to get it.
    pub recipient_count: i64,
    /// How many got it.
    pub success_count: i64,
    /// How many did not.
    pub failure_count: i64,
    /// How often it was tried again.
    pub retry_count: i64,
    /// Why it has not arrived.
    pub error_message: Option<String>,
    /// Where it went, with what.
    pub delivery_details: Option<Value>,
    /// How large it was.
    pub file_size_bytes: Option<i64>,
    /// How long it took, from the report's being read.
    pub processing_time_ms: Option<i64>,
}

impl ExecutionStatus {
    /// The word for it in a database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is over.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running)
    }

    /// The status of a word. None: there is none.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Failed, Self::Cancelled].into_iter().find(|it| it.as_str() == word)
    }
}

impl LogStatus {
    /// The word for it in a database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }

    /// The status of a word. None: there is none.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Failed, Self::Retry].into_iter().find(|it| it.as_str() == word)
    }
}
