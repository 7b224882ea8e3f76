//! Names of tables and columns.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;

/// How the database's SQL quotes names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quote {
    /// `"name"`, as the standard has it: PostgreSQL, Oracle, Snowflake, SQLite.
    #[default]
    Double,
    /// `` `name` ``: BigQuery, MySQL, Databricks.
    Backtick,
    /// `[name]`: SQL Server.
    Bracket,
}

impl Quote {
    /// A name as SQL text.
    pub fn name(self, name: &str) -> String {
        match self {
            Self::Double => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Backtick => format!("`{}`", name.replace('`', "``")),
            Self::Bracket => format!("[{}]", name.replace(']', "]]")),
        }
    }

    /// Names as a list.
    pub fn list<'a>(self, names: impl IntoIterator<Item = &'a str>) -> String {
        names.into_iter().map(|name| self.name(name)).collect::<Vec<_>>().join(", ")
    }
}

/// A table, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub catalog: Option<String>,
    pub schema: Option<String>,
    pub table: String,
}

impl Target {
    /// Takes the settings `catalog` and `table`.
    pub fn new(catalog: Option<String>, table: &str) -> Result<Self> {
        let TableName { schema, table } = TableName::parse(table)?;
        if catalog.is_some() && schema.is_none() {
            return Err(Error::config("`catalog` needs the table's schema").hint("write `table: SCHEMA.TABLE`"));
        }
        Ok(Self { catalog, schema, table })
    }

    /// Another table in the same place.
    pub fn beside(&self, table: &str) -> Self {
        Self { table: table.to_owned(), ..self.clone() }
    }

    /// The error of a table that is not there.
    pub fn missing(&self) -> Error {
        Error::config(format!("there is no table {self}"))
            .hint("check its name, its schema and its upper and lower case")
    }

    /// As SQL text.
    pub fn sql(&self, quote: Quote) -> String {
        let parts = [self.catalog.as_deref(), self.schema.as_deref(), Some(self.table.as_str())];
        parts.into_iter().flatten().map(|part| quote.name(part)).collect::<Vec<_>>().join(".")
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in [&self.catalog, &self.schema].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_name_whatever_is_in_it() {
        let target = Target::new(Some("my`project".into()), "reports.\"a.b]\"").unwrap();
        assert_eq!(target.sql(Quote::Double), r#""my`project"."reports"."a.b]""#);
        assert_eq!(target.sql(Quote::Backtick), "`my``project`.`reports`.`a.b]`");
        assert_eq!(target.sql(Quote::Bracket), "[my`project].[reports].[a.b]]]");
        assert_eq!(target.to_string(), "my`project.reports.a.b]");
        assert_eq!(Target::new(None, "\"a\"\"b\"").unwrap().sql(Quote::Double), "\"a\"\"b\"");
        assert!(Target::new(Some("project".into()), "calls").unwrap_err().message.contains("needs the table's schema"));
    }
}
