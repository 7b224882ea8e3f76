//! What the server knows about tables.

use engine_sdk::Error;
use engine_sdk::database::{TableName, suggestion};

use crate::connection::{Link, rows, text, value};
use crate::error::Failure;
use crate::name::{literal, quote};

/// Stands behind a column of which an index has only a prefix, and alone for an expression.
pub const PART: &str = " (in part)";

/// A column of a table.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// As the table has it.
    pub name: String,
    /// The type without sizes: `varchar`.
    pub data_type: String,
    /// As a person declares it: `varchar(50)`.
    pub declared: String,
    /// Refuses nulls.
    pub not_null: bool,
    /// Fills itself when it is left out.
    pub has_default: bool,
    /// Computed by the table; nothing can be written to it.
    pub generated: bool,
    /// The most characters of a text, bytes of a `tinytext` and the like.
    pub length: Option<usize>,
    /// Digits, or bits.
    pub precision: u8,
}

impl Column {
    pub fn is_unsigned(&self) -> bool {
        self.declared.contains("unsigned")
    }
}

/// A table or view.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its database.
    pub schema: String,
    pub name: String,
    /// None: a view.
    pub engine: Option<String>,
    /// About how many rows it has, if the server knows.
    pub estimated_rows: Option<u64>,
    /// In their order.
    pub columns: Vec<Column>,
    /// Its unique indexes, the primary key first, each with its name and columns.
    pub unique: Vec<(String, Vec<String>)>,
}

impl Table {
    /// The name with its database, as SQL text.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// The columns of its primary key, in the key's order.
    pub fn primary_key(&self) -> &[String] {
        self.unique.iter().find(|(name, _)| name == "PRIMARY").map_or(&[], |(_, columns)| columns)
    }

    /// Whether every row has a value in a column, as far as the table says.
    pub fn refuses_null(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && column.not_null)
    }
}

/// Looks a table up. None: there is none of that name.
pub async fn find(connection: &mut Link, name: &TableName) -> Result<Option<Table>, Failure> {
    let schema = name.schema.as_deref().map_or_else(|| "DATABASE()".into(), literal);
    let found = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, IF(TABLE_TYPE LIKE '%VIEW', NULL, ENGINE), TABLE_ROWS \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {}",
        literal(&name.table)
    );
    let found = rows(connection, &found).await?;
    // Servers on Windows and macOS know one spelling of a name for all; all compare without case here.
    let is_it = |row: &&mysql_async::Row| text(row, 1).as_deref() == Some(&name.table);
    let row = match found.iter().find(is_it) {
        Some(row) => row,
        None => match found.first() {
            Some(row) if value(connection, "SELECT @@lower_case_table_names").await?.as_deref() != Some("0") => row,
            _ => return Ok(None),
        },
    };
    let (schema, table) = (text(row, 0).unwrap_or_default(), text(row, 1).unwrap_or_default());
    let (engine, estimated_rows) = (text(row, 2), text(row, 3).and_then(|rows| rows.parse().ok()));
    let place = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(&schema), literal(&table));
    let columns = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE = 'NO', \
         IS_NULLABLE = 'YES' OR COLUMN_DEFAULT IS NOT NULL OR EXTRA LIKE '%auto_increment%' \
         OR EXTRA LIKE '%DEFAULT_GENERATED%', \
         EXTRA LIKE '%VIRTUAL%' OR EXTRA LIKE '%STORED%' OR EXTRA LIKE '%PERSISTENT%', \
         CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION \
         FROM information_schema.COLUMNS WHERE {place} ORDER BY ORDINAL_POSITION"
    );
    let columns = rows(connection, &columns).await?;
    let columns = columns.iter().map(|row| {
        let yes = |place| text(row, place).as_deref() == Some("1");
        let number = |place| text(row, place).and_then(|number| number.parse().ok()).unwrap_or(0);
        Column {
            name: text(row, 0).unwrap_or_default(),
            data_type: text(row, 1).unwrap_or_default().to_lowercase(),
            declared: text(row, 2).unwrap_or_default(),
            not_null: yes(3),
            has_default: yes(4),
            generated: yes(5),
            length: text(row, 6).and_then(|length| length.parse().ok()),
            precision: number(7),
        }
    });
    let columns = columns.collect();
    let indexes = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS \
         WHERE {place} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
    );
    let mut unique: Vec<(String, Vec<String>)> = vec![];
    for row in rows(connection, &indexes).await? {
        let index = text(&row, 0).unwrap_or_default();
        // A prefix, or an expression, is no column.
        let column = match (text(&row, 1), text(&row, 2)) {
            (Some(column), None) => column,
            (column, _) => column.unwrap_or_default() + PART,
        };
        match unique.last_mut() {
            Some((name, columns)) if *name == index => columns.push(column),
            _ => unique.push((index, vec![column])),
        }
    }
    Ok(Some(Table { schema, name: table, engine, estimated_rows, columns, unique }))
}

/// Looks a table up that must be there.
pub async fn require(connection: &mut Link, name: &TableName) -> Result<Table, Failure> {
    match find(connection, name).await? {
        Some(table) => Ok(table),
        None => Err(missing(connection, name).await?.into()),
    }
}

async fn missing(connection: &mut Link, name: &TableName) -> Result<Error, Failure> {
    let tables = format!(
        "SELECT IF(TABLE_SCHEMA = DATABASE(), TABLE_NAME, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)) \
         FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
         AND TABLE_NAME <> {} AND TABLE_NAME NOT LIKE '\\_engine\\_replace\\_%' ORDER BY 1 LIMIT 1000",
        literal(crate::commits::TABLE)
    );
    let tables: Vec<_> = rows(connection, &tables).await?.iter().filter_map(|row| text(row, 0)).collect();
    let suggestion = suggestion(&name.to_string(), tables.iter().map(String::as_str));
    Ok(Error::config(format!("there is no table `{name}`, or the login has no right to see it")).hint(suggestion))
}
