//! Names as SQL, and values as arguments of a statement: none is ever part of its text.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use engine_sdk::database::{Parameters, Scalar, Statement, TableName, Window};
use engine_sdk::{Error, Result};
use tiberius::ColumnData;
use tiberius::numeric::Numeric;

use crate::kind::Kind;

/// An identifier as SQL text, quoted always.
pub fn quote(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// Identifiers as a list.
pub fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// The name of a table as SQL text.
pub fn quote_table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.table)),
        None => quote(&name.table),
    }
}

/// What a statement is sent with: the values of `@P1`, `@P2`, …
#[derive(Debug, Default, Clone)]
pub struct Arguments(Vec<ColumnData<'static>>);

impl Arguments {
    /// Adds a value. Answers its name.
    pub fn add(&mut self, value: ColumnData<'static>) -> String {
        self.0.push(value);
        format!("@P{}", self.0.len())
    }

    pub fn text(&mut self, text: impl Into<String>) -> String {
        self.add(ColumnData::String(Some(Cow::Owned(text.into()))))
    }

    pub fn whole(&mut self, number: i64) -> String {
        self.add(ColumnData::I64(Some(number)))
    }

    pub fn bytes(&mut self, bytes: impl Into<Vec<u8>>) -> String {
        self.add(ColumnData::Binary(Some(Cow::Owned(bytes.into()))))
    }

    /// A parameter's value.
    fn scalar(&mut self, value: &Scalar) -> String {
        match value {
            Scalar::Null => self.add(ColumnData::String(None)),
            Scalar::Boolean(value) => self.add(ColumnData::Bit(Some(*value))),
            Scalar::Integer(number) => self.whole(*number),
            Scalar::Number(number) => self.add(ColumnData::F64(Some(*number))),
            Scalar::Text(text) => self.text(text),
        }
    }

    /// The values, in their order.
    pub fn into_values(self) -> Vec<ColumnData<'static>> {
        self.0
    }

    /// Their declarations, as `sp_executesql` takes them; None without values.
    pub fn declared(&self) -> Option<String> {
        let declare = |(at, value): (usize, &ColumnData<'static>)| {
            let declared = match value {
                ColumnData::Bit(_) => "bit".to_owned(),
                ColumnData::I64(_) => "bigint".to_owned(),
                ColumnData::F64(_) => "float".to_owned(),
                ColumnData::Binary(_) => "varbinary(8000)".to_owned(),
                ColumnData::Numeric(Some(number)) => format!("numeric({}, {})", number.precision(), number.scale()),
                ColumnData::String(Some(text)) if text.len() > 4000 => "nvarchar(max)".to_owned(),
                _ => "nvarchar(4000)".to_owned(),
            };
            format!("@P{} {declared}", at + 1)
        };
        let all: Vec<_> = self.0.iter().enumerate().map(declare).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// A statement and its values.
#[derive(Debug, Default, Clone)]
pub struct Call {
    pub sql: String,
    pub arguments: Arguments,
}

impl From<String> for Call {
    fn from(sql: String) -> Self {
        Self { sql, arguments: Arguments::default() }
    }
}

/// As what the values of a cursor are sent and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Whole and decimal numbers.
    Numbers,
    /// Of which the server shows two of four digits.
    Money,
    Days,
    /// `datetime`, whose thirds of hundredths are compared with their like.
    Ticks,
    /// `smalldatetime`
    Minutes,
    Moments,
    /// With their zone.
    Instants,
    /// Texts, by the column's collation.
    Texts,
    /// `rowversion`: eight bytes, shown as `0x…`.
    Versions,
}

impl Values {
    /// None: such a column cannot be a cursor.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Byte | Kind::Small | Kind::Int | Kind::Big | Kind::Decimal(..) => Some(Self::Numbers),
            Kind::Money(_) => Some(Self::Money),
            Kind::Date => Some(Self::Days),
            Kind::DateTime => Some(Self::Ticks),
            Kind::SmallDateTime => Some(Self::Minutes),
            Kind::DateTime2 => Some(Self::Moments),
            Kind::Offset => Some(Self::Instants),
            Kind::Text => Some(Self::Texts),
            Kind::RowVersion => Some(Self::Versions),
            _ => None,
        }
    }

    pub fn are_times(self) -> bool {
        matches!(self, Self::Days | Self::Ticks | Self::Minutes | Self::Moments | Self::Instants)
    }

    /// A column's value as text that [`Values::write`] takes, as SQL text.
    pub fn shown(self, column: &str) -> String {
        match self {
            Self::Numbers => format!("CAST({column} AS nvarchar(50))"),
            Self::Money => format!("CAST(CAST({column} AS decimal(19, 4)) AS nvarchar(50))"),
            Self::Days => format!("CONVERT(nvarchar(10), {column}, 23)"),
            Self::Ticks | Self::Minutes | Self::Moments => format!("CONVERT(nvarchar(27), {column}, 121)"),
            Self::Instants => format!("CONVERT(nvarchar(34), {column}, 121)"),
            Self::Texts => format!("CAST({column} AS nvarchar(max))"),
            Self::Versions => format!("CONVERT(nvarchar(18), CAST({column} AS binary(8)), 1)"),
        }
    }

    /// Adds a value. Answers what stands for it in a comparison.
    pub fn write(self, value: &Scalar, arguments: &mut Arguments) -> Result<String> {
        let Some(text) = value.text() else { return Ok("NULL".into()) };
        let wrong = |what: &str, hint: &str| Error::config(format!("the cursor's value `{text}` is {what}")).hint(hint);
        match self {
            Self::Numbers | Self::Money => {
                let number = number(&text).ok_or_else(|| {
                    wrong(
                        "no number",
                        "the cursor's column holds numbers: set `cursor.start` or the stored cursor to one",
                    )
                })?;
                Ok(arguments.add(number))
            }
            Self::Texts => Ok(arguments.text(text)),
            Self::Versions => {
                let bytes = version(&text).ok_or_else(|| wrong("no rowversion", "write `0x` and sixteen digits"))?;
                Ok(format!("CAST({} AS binary(8))", arguments.bytes(bytes)))
            }
            _ => {
                let moment = moment(&text, self == Self::Instants).ok_or_else(|| {
                    wrong(
                        "no time",
                        "write `2026-01-31` or `2026-01-31 12:00:00`, and a zone only for a datetimeoffset",
                    )
                })?;
                let name = arguments.text(moment);
                Ok(match self {
                    Self::Days => format!("CAST({name} AS date)"),
                    Self::Ticks => format!("CAST(CAST({name} AS datetime2(7)) AS datetime)"),
                    Self::Minutes => format!("CAST(CAST({name} AS datetime2(7)) AS smalldatetime)"),
                    Self::Instants => format!("CAST({name} AS datetimeoffset(7))"),
                    _ => format!("CAST({name} AS datetime2(7))"),
                })
            }
        }
    }
}

fn number(text: &str) -> Option<ColumnData<'static>> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(ColumnData::I64(Some(whole)));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !are_digits(digits) || !are_digits(fraction) || (fraction.is_empty() && text.contains('.'))
    {
        return None;
    }
    if digits.len() + fraction.len() > 38 {
        return None;
    }
    let number = format!("{whole}{fraction}").parse().ok()?;
    Some(ColumnData::Numeric(Some(Numeric::new_with_scale(number, fraction.len() as u8))))
}

fn version(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 16)?;
    (0..8).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// In the one form that means the same in every language of a session.
fn moment(text: &str, has_zone: bool) -> Option<String> {
    if has_zone {
        let zoned = ["%Y-%m-%d %H:%M:%S%.f %:z", "%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f%:z"];
        if let Some(moment) = zoned.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()) {
            return Some(moment.format("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()).map(|text| seven(&text));
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.to_string());
    }
    let text = text.strip_suffix('Z').filter(|_| has_zone).unwrap_or(text);
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let moment = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(seven(&moment.format("%Y-%m-%dT%H:%M:%S%.f").to_string()))
}

/// With seven digits behind the seconds, as many as the server takes.
fn seven(text: &str) -> String {
    let (clock, rest) = text.split_at(19);
    let end = rest.find(['+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(end);
    let digits = format!("{:0<7}", fraction.trim_start_matches('.'));
    format!("{clock}.{}{zone}", &digits[..7])
}

/// A query with its values beside it. `window`: what its bounds are, NULL if there is none.
pub fn rendered(statement: &Statement, parameters: &Parameters, window: Option<(&Window, Values)>) -> Result<Call> {
    let (window, values) = window.unzip();
    let mut arguments = Arguments::default();
    let sql = statement.render(|name| {
        let value = Statement::value(name, parameters, window)?;
        let is_bound = name == engine_sdk::database::WINDOW_START || name == engine_sdk::database::WINDOW_END;
        match values {
            Some(values) if is_bound => values.write(&value, &mut arguments),
            _ => Ok(arguments.scalar(&value)),
        }
    })?;
    Ok(Call { sql, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_inside_names_are_doubled() {
        assert_eq!(quote("a]; drop table x; --"), "[a]]; drop table x; --]");
        assert_eq!(quote_list(["a", "[b]"]), "[a], [[b]]]");
    }

    fn write(values: Values, value: &str) -> Result<(String, String)> {
        let mut arguments = Arguments::default();
        let sql = values.write(&Scalar::from(value), &mut arguments)?;
        Ok((sql, format!("{:?}", arguments.into_values())))
    }

    #[test]
    fn values_of_a_cursor_are_what_its_column_holds_or_refused() {
        let check = |values, value, sql: &str, sent: &str| {
            let (found, argument) = write(values, value).unwrap();
            assert_eq!(found, sql, "{value}");
            assert!(argument.contains(sent), "{argument}");
        };
        check(Values::Numbers, "-3", "@P1", "I64(Some(-3))");
        check(Values::Numbers, "18446744073709551615", "@P1", "18446744073709551615.0");
        check(Values::Numbers, "-0.05", "@P1", "Numeric");
        check(Values::Moments, "2026-01-31 12:00:00.25", "CAST(@P1 AS datetime2(7))", "2026-01-31T12:00:00.2500000");
        check(Values::Moments, "2026-01-31T12:00:00.1234567", "CAST(@P1 AS datetime2(7))", "00.1234567");
        check(Values::Days, "2026-01-31", "CAST(@P1 AS date)", "2026-01-31");
        check(Values::Ticks, "2026-01-31", "CAST(CAST(@P1 AS datetime2(7)) AS datetime)", "2026-01-31");
        check(
            Values::Instants,
            "2026-01-31 12:00:00.5000000 -05:00",
            "CAST(@P1 AS datetimeoffset(7))",
            "2026-01-31T12:00:00.5000000-05:00",
        );
        check(Values::Versions, "0x00000000000007d1", "CAST(@P1 AS binary(8))", "209");
        check(Values::Texts, "a'b; DROP TABLE x", "@P1", "a'b; DROP TABLE x");
        for (values, value) in [
            (Values::Numbers, "1; DROP TABLE x"),
            (Values::Numbers, "1e5"),
            (Values::Numbers, ""),
            (Values::Numbers, "1."),
            (Values::Numbers, "123456789012345678901234567890123456789"),
            (Values::Moments, "2026-02-30"),
            (Values::Moments, "2026-01-31 12:00:00 +01:00"),
            (Values::Days, "' OR 1"),
            (Values::Versions, "0x12"),
        ] {
            assert!(write(values, value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_query_gets_its_values_beside_it() {
        let statement = Statement::parse("SELECT :a, ':a', :b, :a", engine_sdk::database::Quoting::SQL_SERVER).unwrap();
        let parameters = [("a".to_owned(), Scalar::from("'; --")), ("b".to_owned(), Scalar::Integer(7))].into();
        let call = rendered(&statement, &parameters, None).unwrap();
        assert_eq!(call.sql, "SELECT @P1, ':a', @P2, @P3");
        assert_eq!(call.arguments.declared().unwrap(), "@P1 nvarchar(4000), @P2 bigint, @P3 nvarchar(4000)");
    }
}
