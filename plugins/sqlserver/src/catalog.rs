//! What the server knows about tables and queries.

use engine_sdk::Error;
use engine_sdk::database::{TableName, suggestion};

use crate::connection::{Link, number, rows, text};
use crate::error::{Failure, Refusal};
use crate::name::{Arguments, Call, quote, quote_table};
use crate::questions::{COLUMNS, DESCRIBE, FIND, TABLES, UNIQUE};

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
    /// Counts by itself.
    pub identity: bool,
    /// Computed by the table; nothing can be written to it.
    pub generated: bool,
    /// Has a value when it is left out.
    pub defaulted: bool,
    /// How texts are compared.
    pub collation: Option<String>,
    /// Of texts that are no Unicode: how their characters are stored.
    pub code_page: Option<u16>,
    /// In bytes, of texts and bytes. None: any.
    pub length: Option<usize>,
    pub precision: u8,
    pub scale: u8,
}

impl Column {
    /// Fills itself when it is left out.
    pub fn has_default(&self) -> bool {
        !self.not_null || self.identity || self.defaulted
    }
}

/// A table or view.
#[derive(Debug, Clone)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub is_view: bool,
    /// About how many rows it has, if the server knows.
    pub estimated_rows: Option<u64>,
    /// In their order.
    pub columns: Vec<Column>,
    /// Its unique indexes, the primary key first, each with its name and columns.
    pub unique: Vec<(String, Vec<String>)>,
    /// Whether the first of them is the primary key.
    pub has_primary_key: bool,
}

impl Table {
    /// The name with its schema, as SQL text.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// The columns of its primary key, in the key's order.
    pub fn primary_key(&self) -> &[String] {
        self.unique.first().filter(|_| self.has_primary_key).map_or(&[], |(_, columns)| columns)
    }

    /// Whether every row has a value in a column, as far as the table says.
    pub fn refuses_null(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && column.not_null)
    }
}

/// A query about one table, by its name as SQL text.
pub fn about(sql: &str, table: &str) -> Call {
    let mut arguments = Arguments::default();
    arguments.text(table);
    Call { sql: sql.into(), arguments }
}

/// Looks a table up. None: there is none of that name.
pub async fn find(connection: &mut Link, name: &TableName) -> Result<Option<Table>, Failure> {
    let found = rows(connection, about(FIND, &quote_table(name))).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let (schema, table) = (text(row, 0).unwrap_or_default(), text(row, 1).unwrap_or_default());
    let is_view = text(row, 2).as_deref() == Some("V");
    let estimated_rows = number(row, 3).and_then(|rows| rows.try_into().ok());
    let quoted = format!("{}.{}", quote(&schema), quote(&table));
    let columns = rows(connection, about(COLUMNS, &quoted)).await?;
    let columns = columns.iter().map(|row| {
        let number = |place| number(row, place).unwrap_or(0);
        let column = Column {
            name: text(row, 0).unwrap_or_default(),
            data_type: text(row, 1).unwrap_or_default().to_lowercase(),
            declared: String::new(),
            not_null: number(5) == 0,
            identity: number(6) != 0,
            generated: number(7) != 0,
            defaulted: number(8) != 0,
            collation: text(row, 9),
            code_page: u16::try_from(number(10)).ok().filter(|page| *page != 0),
            length: usize::try_from(number(2)).ok(),
            precision: number(3) as u8,
            scale: number(4) as u8,
        };
        Column { declared: declared(&column), generated: column.generated || column.data_type == "timestamp", ..column }
    });
    let columns = columns.collect();
    let indexes = rows(connection, about(UNIQUE, &quoted)).await?;
    let has_primary_key = indexes.first().is_some_and(|row| number(row, 2) == Some(1));
    let mut unique: Vec<(String, Vec<String>)> = vec![];
    for row in indexes {
        let (index, column) = (text(&row, 0).unwrap_or_default(), text(&row, 1).unwrap_or_default());
        match unique.last_mut() {
            Some((name, columns)) if *name == index => columns.push(column),
            _ => unique.push((index, vec![column])),
        }
    }
    Ok(Some(Table { schema, name: table, is_view, estimated_rows, columns, unique, has_primary_key }))
}

/// A column's type as it stands in a statement.
fn declared(column: &Column) -> String {
    let Column { data_type, precision, scale, .. } = column;
    let sized = |unit: usize| match column.length {
        Some(bytes) => format!("{data_type}({})", bytes / unit),
        None => format!("{data_type}(max)"),
    };
    match data_type.as_str() {
        "char" | "varchar" | "binary" | "varbinary" => sized(1),
        "nchar" | "nvarchar" => sized(2),
        "decimal" | "numeric" => format!("{data_type}({precision}, {scale})"),
        "time" | "datetime2" | "datetimeoffset" => format!("{data_type}({scale})"),
        _ => data_type.clone(),
    }
}

/// Looks a table up that must be there.
pub async fn require(connection: &mut Link, name: &TableName) -> Result<Table, Failure> {
    if let Some(table) = find(connection, name).await? {
        return Ok(table);
    }
    let tables: Vec<_> = rows(connection, TABLES.to_owned()).await?.iter().filter_map(|row| text(row, 0)).collect();
    let suggestion = suggestion(&name.to_string(), tables.iter().map(String::as_str));
    Err(Error::config(format!("there is no table `{name}`, or the login has no right to see it"))
        .hint(suggestion)
        .into())
}

/// A column of a query.
pub struct Described {
    pub name: String,
    /// The type without sizes.
    pub data_type: String,
    pub precision: u8,
    pub scale: u8,
}

/// The columns that a query gives, without running it.
pub async fn describe(connection: &mut Link, query: &Call) -> Result<Vec<Described>, Failure> {
    let mut arguments = Arguments::default();
    arguments.text(&query.sql);
    // No value is an empty text: a null would have no type.
    arguments.text(query.arguments.declared().unwrap_or_default());
    let described = rows(connection, Call { sql: DESCRIBE.into(), arguments }).await?;
    let mut columns = vec![];
    for row in &described {
        if let Some(number) = number(row, 4) {
            let message = text(row, 5).unwrap_or_default();
            return Err(Failure::Refused(Refusal { number: number.try_into().unwrap_or(0), class: 16, message }));
        }
        let Some(declared) = text(row, 1) else { continue };
        columns.push(Described {
            name: text(row, 0).unwrap_or_default(),
            data_type: declared.split('(').next().unwrap_or_default().to_lowercase(),
            precision: number(row, 2).unwrap_or(0) as u8,
            scale: number(row, 3).unwrap_or(0) as u8,
        });
    }
    if columns.is_empty() {
        return Err(Error::config("the query gives no columns").hint("a source reads: give it a SELECT").into());
    }
    Ok(columns)
}
