//! The rows of a catalogue, as another service writes them.

use std::ops::Deref;

use engine_end_to_end_tests::{MariaDatabase, Place};
use serde_json::Value;

/// A catalogue of a test's own.
pub struct Catalogue {
    database: MariaDatabase,
}

impl Deref for Catalogue {
    type Target = MariaDatabase;

    fn deref(&self) -> &MariaDatabase {
        &self.database
    }
}

/// A text in SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

impl Catalogue {
    /// One with its tables and no rows.
    pub fn new() -> Self {
        let database = MariaDatabase::new();
        Place::new().engine(&["catalogue", "init", "--catalogue", database.url()]).with_code(0);
        Self { database }
    }

    /// The one in a database.
    pub fn of(database: MariaDatabase) -> Self {
        Self { database }
    }

    fn insert(&self, table: &str, columns: &str, values: &str) -> i64 {
        self.execute(&format!("INSERT INTO {table} ({columns}) VALUES ({values})"));
        self.rows(&format!("SELECT max(id) FROM {table}"))[0][0].parse().unwrap()
    }

    pub fn datasource(&self, url: &str, db_type: &str, config: &Value) -> i64 {
        let values = format!("'sales', {}, '{db_type}', {}", quoted(url), quoted(&config.to_string()));
        self.insert("report_datasources", "name, connection_url, db_type, connection_config", &values)
    }

    pub fn report(&self, name: &str, query: &str, format: &str, datasource: i64, parameters: &Value) -> i64 {
        let parameters = if parameters.is_null() { "NULL".into() } else { quoted(&parameters.to_string()) };
        let values = format!("{}, {}, '{format}', {datasource}, {parameters}", quoted(name), quoted(query));
        self.insert("report_configs", "report_name, report_query, output_format, datasource_id, parameters", &values)
    }

    pub fn schedule(&self, report: i64, cron: &str) -> i64 {
        let values = format!("{report}, '{cron}', 'Asia/Kolkata'");
        self.insert("report_schedules", "config_id, cron_expression, timezone", &values)
    }

    /// One that is tried again at once.
    pub fn delivery(&self, report: i64, method: &str, config: &Value, retries: u32) -> i64 {
        let values = format!("{report}, '{method}', '{method}', {}, {retries}, 0", quoted(&config.to_string()));
        let columns = "config_id, delivery_name, method, delivery_config, max_retry, retry_interval_minutes";
        self.insert("report_deliveries", columns, &values)
    }

    pub fn recipient(&self, delivery: i64, kind: &str, value: &str) {
        let values = format!("{delivery}, '{kind}', {}", quoted(value));
        self.insert("report_delivery_recipients", "delivery_id, recipient_type, recipient_value", &values);
    }
}
