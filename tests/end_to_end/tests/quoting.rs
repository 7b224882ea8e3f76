//! Values and names that would mean something in SQL stay values and names.

use engine_end_to_end_tests::{Place, Server, sqlite_rows};

/// Names and values that break out of every kind of quotes.
const TABLE: &str = r#"it's; DROP TABLE "x"; --"#;
const COLUMNS: [&str; 3] = [r#"se"lect"#, "a'b; --", "%s $1 :x ?"];
const VALUES: [&str; 3] = [r#"'); DROP TABLE "x"; --"#, r"\'; \x", "${env:HOME} {{ 1 }} $1"];

fn place() -> Place {
    let place = Place::new();
    let csv = |fields: [&str; 3]| fields.map(|field| format!("\"{}\"", field.replace('"', "\"\""))).join(",");
    place.write("in.csv", format!("{}\r\n{}\r\n", csv(COLUMNS), csv(VALUES)));
    place
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As a value in YAML's double quotes.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn select() -> String {
    format!("SELECT {} FROM {}", COLUMNS.map(quoted).join(", "), quoted(TABLE))
}

#[test]
fn quotes_are_safe_in_postgres() {
    let database = Server::shared().database();
    let mut place = place();
    place.set("URL", database.url());
    place.write(
        "odd.yaml",
        format!(
            "source: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
             sink: {{ use: postgres, with: {{ url: \"${{env:URL}}\", table: {}, create: true }} }}\n",
            yaml(&quoted(TABLE))
        ),
    );
    place.engine(&["run", "odd.yaml"]).with_code(0);
    assert_eq!(database.rows(&select()), [VALUES.map(str::to_owned)]);
}

#[test]
fn quotes_are_safe_in_sqlite() {
    let place = place();
    place.write(
        "odd.yaml",
        format!(
            "source: {{ use: file, with: {{ path: in.csv }}, format: csv }}\n\
             sink: {{ use: sqlite, with: {{ path: out.db, table: {}, create: true }} }}\n",
            yaml(TABLE)
        ),
    );
    place.engine(&["run", "odd.yaml"]).with_code(0);
    assert_eq!(sqlite_rows(&place.path("out.db"), &select()), [VALUES.map(str::to_owned)]);
}
