//! A datasource and a query as the source of a pipeline.

use serde_json::{Map, Value, json};

use crate::parameters::{Parameters, json_of};
use crate::query::{Query, Quoting, translate};
use crate::tables::{Config, Datasource};
use crate::texts::{plain, template};

/// How long a query may take to answer, in seconds, where its row does not say.
const TIMEOUT: i64 = 300;
/// How much longer the driver of a database may take, in seconds: it has to be found, and to log in.
const BESIDE: i64 = 60;
/// What pools and drivers of other programs are told, and means nothing here: a run has one connection.
const MEANS_NOTHING: [&str; 12] = [
    "pool_size",
    "max_overflow",
    "pool_timeout",
    "pool_recycle",
    "pool_pre_ping",
    "echo",
    "charset",
    "encoding",
    "autocommit",
    "application_name",
    "client_encoding",
    "use_unicode",
];

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mysql,
    Postgres,
    SqlServer,
    Mongodb,
    Oracle,
    Snowflake,
    Bigquery,
}

impl Kind {
    /// The kind that a row names.
    ///
    /// # Errors
    /// What there is, where it names another.
    pub(crate) fn read(word: &str) -> Result<Self, String> {
        match word.trim().to_lowercase().replace(['-', ' '], "_").as_str() {
            "mysql" | "mariadb" => Ok(Self::Mysql),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "mssql" | "sqlserver" | "sql_server" => Ok(Self::SqlServer),
            "mongo" | "mongodb" => Ok(Self::Mongodb),
            "oracle" => Ok(Self::Oracle),
            "snowflake" => Ok(Self::Snowflake),
            "bigquery" => Ok(Self::Bigquery),
            _ => Err(format!(
                "`db_type` is `{word}`, and there are mysql, postgresql, mssql, oracle, mongodb, bigquery and snowflake"
            )),
        }
    }

    const fn quoting(self) -> Quoting {
        match self {
            Self::Mysql => Quoting::MYSQL,
            Self::Postgres => Quoting::POSTGRES,
            Self::SqlServer => Quoting::SQL_SERVER,
            Self::Bigquery => Quoting::BIGQUERY,
            Self::Mongodb | Self::Oracle | Self::Snowflake => Quoting::STANDARD,
        }
    }
}

/// The source of a report.
///
/// # Errors
/// What is wrong with the rows, for a person, and without what may be secret.
pub(crate) fn source(datasource: &Datasource, config: &Config, parameters: &Parameters) -> Result<Value, String> {
    let kind = Kind::read(&datasource.db_type)?;
    let settings = Settings::read(&datasource.connection_config)?;
    let seconds = config.timeout_seconds.unwrap_or(TIMEOUT);
    if seconds < 1 {
        return Err(format!("`timeout_seconds` is {seconds}, and is to be 1 or more"));
    }
    let seconds = settings.read_timeout.map_or(seconds, |read| read.min(seconds));
    let mut with = connection(kind, datasource, settings)?;
    with.insert("timeout".into(), json!(format!("{seconds}s")));
    if kind == Kind::Mongodb {
        documents(&config.report_query, &mut with)?;
    } else {
        let query = translate(&config.report_query, kind.quoting()).map_err(|why| format!("`report_query`: {why}"))?;
        with.insert("query".into(), json!(plain(&query.sql)));
        with.insert("parameters".into(), bound(&query, parameters)?);
    }
    let retry = json!({"attempts": 3, "backoff": "5s"});
    Ok(match kind {
        Kind::Mysql => json!({"use": "mysql", "with": with, "retry": retry}),
        Kind::Postgres => json!({"use": "postgres", "with": with, "retry": retry}),
        Kind::SqlServer => json!({"use": "sqlserver", "with": with, "retry": retry}),
        Kind::Mongodb => json!({"use": "mongodb", "with": with, "retry": retry}),
        // A driver is a foreign program.
        Kind::Oracle | Kind::Snowflake | Kind::Bigquery => json!({
            "use": "adbc",
            "isolation": "process",
            "limits": {"memory": "2GiB", "deadline": format!("{}s", seconds + BESIDE)},
            "with": with,
            "retry": retry,
        }),
    })
}

/// The source as it is tried out, without a query of a report.
///
/// # Errors
/// Those of [`source`].
pub(crate) fn probe(datasource: &Datasource) -> Result<Value, String> {
    let query = match Kind::read(&datasource.db_type)? {
        Kind::Mongodb => r#"{"collection": "any"}"#,
        Kind::Oracle => "SELECT 1 AS answer FROM dual",
        _ => "SELECT 1 AS answer",
    };
    let config = Config { report_query: query.into(), ..Config::default() };
    source(datasource, &config, &Parameters::default())
}

/// What the source binds: a value for each name of the query.
fn bound(query: &Query, parameters: &Parameters) -> Result<Value, String> {
    let unknown = |name: &str| {
        format!(
            "`report_query` names `{name}`, and `parameters` has none of that name; every run has start_date and the like"
        )
    };
    let mut values = Map::new();
    for name in &query.names {
        values.insert(name.clone(), json!(parameters.value(name).ok_or_else(|| unknown(name))?));
    }
    for (name, text) in &query.texts {
        if values.contains_key(name) {
            return Err(format!("`report_query`: a parameter cannot be called `{name}`"));
        }
        let text = template(text, |name| parameters.value(name)).map_err(|why| format!("`report_query`: {why}"))?;
        values.insert(name.clone(), json!(text));
    }
    Ok(values.into())
}

/// What MongoDB is asked: `{"collection", "filter", "fields"}` or `{"collection", "pipeline"}`.
fn documents(query: &str, with: &mut Map<String, Value>) -> Result<(), String> {
    const FORM: &str =
        "write {\"collection\": \"sales\", \"filter\": {…}} or {\"collection\": \"sales\", \"pipeline\": […]}";
    if query.contains("{{") {
        return Err(format!(
            "`report_query`: a query of MongoDB takes no placeholders; use $$NOW in `pipeline`; {FORM}"
        ));
    }
    let Value::Object(asked) = json_of("report_query", query)? else {
        return Err(format!("`report_query` is no object; {FORM}"));
    };
    for (key, value) in asked {
        let known = match key.as_str() {
            "collection" | "filter" | "pipeline" | "fields" | "columns" | "nested" | "unknown_fields" | "database" => {
                key
            }
            "aggregate" => "pipeline".into(),
            "find" | "query" => "filter".into(),
            _ => return Err(format!("`report_query` has `{key}`, which is not known; {FORM}")),
        };
        with.insert(known, every_text_plain(value));
    }
    if with.contains_key("collection") { Ok(()) } else { Err(format!("`report_query` names no collection; {FORM}")) }
}

fn every_text_plain(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(&text)),
        Value::Array(items) => items.into_iter().map(every_text_plain).collect::<Vec<_>>().into(),
        Value::Object(object) => {
            object.into_iter().map(|(key, value)| (key, every_text_plain(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// `connection_config`.
#[derive(Default)]
struct Settings {
    connect_timeout: Option<i64>,
    read_timeout: Option<i64>,
    tls: Option<&'static str>,
    ca: Option<String>,
    /// Those of a driver.
    others: Map<String, Value>,
}

impl Settings {
    fn read(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let object = match json_of("connection_config", text)? {
            Value::Null => return Ok(found),
            Value::Object(object) => object,
            _ => return Err("`connection_config` is no object".into()),
        };
        for (key, value) in object {
            let seconds = |value: &Value| match value.as_f64() {
                Some(seconds) if (1.0..=86_400.0).contains(&seconds) => Ok(Some(seconds.ceil() as i64)),
                _ => Err(format!("`connection_config`: `{key}` is a number of seconds, from 1 to 86400")),
            };
            match key.as_str() {
                _ if value.is_null() => {}
                "connect_timeout" => found.connect_timeout = seconds(&value)?,
                "read_timeout" => found.read_timeout = seconds(&value)?,
                "ssl" => {
                    found.tls = match value.as_str() {
                        Some("disable") => Some("disable"),
                        // There is no encryption here that does not know whom it speaks to.
                        Some("require" | "verify") => Some("verify"),
                        _ => return Err("`connection_config`: `ssl` is disable, require or verify".into()),
                    }
                }
                "ca" => match value.as_str() {
                    Some(path) => found.ca = Some(path.to_owned()),
                    None => return Err("`connection_config`: `ca` is the path of a PEM file".into()),
                },
                key if MEANS_NOTHING.contains(&key) => {}
                _ => _ = found.others.insert(key, value),
            }
        }
        Ok(found)
    }
}

/// The settings of a connection.
fn connection(kind: Kind, datasource: &Datasource, settings: Settings) -> Result<Map<String, Value>, String> {
    if matches!(kind, Kind::Oracle | Kind::Snowflake | Kind::Bigquery) {
        return crate::datasource::driver::connection(kind, &datasource.connection_url, settings);
    }
    let (url, asked) = address(kind, &datasource.connection_url)?;
    if let Some(name) = settings.others.keys().next() {
        return Err(format!(
            "`connection_config` has `{name}`, which is not known; there are connect_timeout, read_timeout, ssl and ca"
        ));
    }
    let mut with = Map::new();
    with.insert("url".into(), json!(plain(&url)));
    if let Some(tls) = settings.tls.or(asked) {
        with.insert("tls".into(), json!(tls));
    }
    if let Some(ca) = settings.ca {
        with.insert("ca".into(), json!(plain(&ca)));
    }
    if let Some(seconds) = settings.connect_timeout {
        with.insert("connect_timeout".into(), json!(format!("{seconds}s")));
    }
    Ok(with)
}

/// An address as the connectors take it, and what its parameters say about TLS.
fn address(kind: Kind, url: &str) -> Result<(String, Option<&'static str>), String> {
    let (schemes, scheme): (&[&str], _) = match kind {
        Kind::Mysql => (&["mysql", "mariadb"], "mysql"),
        Kind::Postgres => (&["postgres", "postgresql"], "postgres"),
        Kind::SqlServer => (&["mssql", "sqlserver"], "mssql"),
        _ => (&["mongodb"], "mongodb"),
    };
    let wrong =
        || format!("`connection_url` is no address of this `db_type`: write {scheme}://USER:PASSWORD@HOST/DATABASE");
    let (said, rest) = url.trim().split_once("://").ok_or_else(wrong)?;
    // `mysql+pymysql`: which library another program uses.
    let said = said.split('+').next().unwrap_or(said).to_lowercase();
    if !schemes.contains(&said.as_str()) {
        return Err(wrong());
    }
    if kind == Kind::Mongodb {
        // `mongodb+srv` stays what it is, for the connector to refuse.
        return Ok((url.trim().to_owned(), None));
    }
    let (base, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if base.is_empty() || base.starts_with('/') {
        return Err(wrong());
    }
    let mut tls = None;
    for parameter in parameters.split('&').filter_map(|parameter| parameter.split_once('=')) {
        match (parameter.0.to_lowercase().as_str(), parameter.1.to_lowercase().as_str()) {
            ("sslmode" | "ssl_mode", "disable" | "disabled") => tls = Some("disable"),
            (
                "sslmode" | "ssl_mode",
                "require" | "required" | "verify-ca" | "verify-full" | "verify_ca" | "verify_identity",
            ) => {
                tls = Some("verify");
            }
            ("encrypt", "yes" | "true" | "mandatory") => tls = Some("verify"),
            _ => {}
        }
    }
    Ok((format!("{scheme}://{base}"), tls))
}

/// Databases that are reached through a driver.
mod driver {
    use super::*;

    pub(super) fn connection(kind: Kind, url: &str, settings: Settings) -> Result<Map<String, Value>, String> {
        let mut options = settings.others;
        let named = options.shift_remove("driver");
        let named = named.as_ref().and_then(Value::as_str);
        let driver = match (kind, named) {
            (_, Some(name)) => name,
            (Kind::Snowflake, None) => "adbc_driver_snowflake",
            (Kind::Bigquery, None) => "adbc_driver_bigquery",
            _ => return Err("`connection_config` names no ADBC `driver`, and this `db_type` needs one".into()),
        };
        // A row says which of the installed drivers, and not which file is loaded.
        if driver.is_empty() || !driver.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            return Err("`connection_config`: `driver` is the name of an installed ADBC driver, and no path".into());
        }
        for (key, value) in from_url(kind, url)? {
            options.entry(key).or_insert(value);
        }
        let mut with = Map::new();
        with.insert("driver".into(), json!(driver));
        if kind == Kind::Bigquery {
            with.insert("quote".into(), json!("backtick"));
        }
        with.insert("database".into(), every_text_plain(options.into()));
        Ok(with)
    }

    /// Options that an address stands for.
    fn from_url(kind: Kind, url: &str) -> Result<Vec<(String, Value)>, String> {
        let url = url.trim();
        let wrong = || "`connection_url` is no address of this `db_type`".to_owned();
        let Some((scheme, rest)) = url.split_once("://") else {
            return if url.is_empty() { Ok(Vec::new()) } else { Err(wrong()) };
        };
        let scheme = scheme.split('+').next().unwrap_or(scheme);
        let (base, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = base.split_once('/').unwrap_or((base, ""));
        let mut found = Vec::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                found.push((key.to_owned(), json!(decoded(value))));
            }
        };
        match kind {
            Kind::Snowflake if scheme == "snowflake" => {
                let (login, account) = authority.rsplit_once('@').unwrap_or(("", authority));
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let (database, schema) = path.split_once('/').unwrap_or((path, ""));
                add("username", user);
                add("password", password);
                add("adbc.snowflake.sql.account", account);
                add("adbc.snowflake.sql.db", database);
                add("adbc.snowflake.sql.schema", schema);
                for (key, value) in parameters.split('&').filter_map(|parameter| parameter.split_once('=')) {
                    if matches!(key, "warehouse" | "role") {
                        add(&format!("adbc.snowflake.sql.{key}"), value);
                    }
                }
            }
            Kind::Bigquery if scheme == "bigquery" => {
                add("adbc.bigquery.sql.project_id", authority);
                add("adbc.bigquery.sql.dataset_id", path);
            }
            Kind::Oracle if scheme == "oracle" => found.push(("uri".into(), json!(format!("oracle://{rest}")))),
            _ => return Err(wrong()),
        }
        Ok(found)
    }

    /// `%XX` as what it stands for.
    fn decoded(text: &str) -> String {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((first, behind)) = rest.split_first() {
            let hexadecimal = || u8::from_str_radix(std::str::from_utf8(behind.get(..2)?).ok()?, 16).ok();
            match hexadecimal().filter(|_| *first == b'%') {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &behind[2..];
                }
                None => {
                    bytes.push(*first);
                    rest = behind;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
#[path = "datasource_tests.rs"]
mod tests;
