//! Each kind of database, as other programs write it.

use super::*;

fn made(db_type: &str, url: &str, config: &str, query: &str) -> Result<Value, String> {
    let datasource = Datasource {
        db_type: db_type.into(),
        connection_url: url.into(),
        connection_config: config.into(),
        ..Datasource::default()
    };
    let parameters = Parameters::read(r#"{"region": "EU"}"#, true).unwrap();
    source(&datasource, &Config { report_query: query.into(), ..Config::default() }, &parameters)
}

#[test]
fn addresses_of_other_programs_become_those_of_connectors() {
    for (db_type, url, component, expected) in [
        ("mysql", "mysql+pymysql://u:p@h:3306/d?charset=utf8mb4", "mysql", "mysql://u:p@h:3306/d"),
        ("MariaDB", "mariadb://u:p@h/d", "mysql", "mysql://u:p@h/d"),
        ("postgresql", "postgresql+psycopg2://u:p@h/d", "postgres", "postgres://u:p@h/d"),
        ("postgres", "postgres://u:p@h:5433/d?application_name=x", "postgres", "postgres://u:p@h:5433/d"),
        ("mssql", "mssql+pyodbc://u:p@h/d?driver=ODBC+Driver+17+for+SQL+Server", "sqlserver", "mssql://u:p@h/d"),
        ("SQL Server", "sqlserver://u:p@h:1433/d", "sqlserver", "mssql://u:p@h:1433/d"),
    ] {
        let source = made(db_type, url, "", "SELECT 1").unwrap();
        assert_eq!((&source["use"], &source["with"]["url"]), (&json!(component), &json!(expected)));
        assert_eq!(source["with"]["timeout"], "300s");
    }
    let source =
        made("mongodb", "mongodb://u:p@h/d?replicaSet=r", "", r#"{"collection": "s", "filter": {"a": "${env:X}"}}"#);
    let with = &source.unwrap()["with"];
    assert_eq!((&with["url"], &with["collection"]), (&json!("mongodb://u:p@h/d?replicaSet=r"), &json!("s")));
    assert_eq!(with["filter"]["a"], "$${env:X}");
}

#[test]
fn drivers_are_named_and_told_what_the_address_says() {
    let source =
        made("snowflake", "snowflake://u:p%40x@acc/db/sch?warehouse=w&role=r", r#"{"pool_size": 5}"#, "SELECT 1")
            .unwrap();
    let database = &source["with"]["database"];
    assert_eq!((&source["use"], &source["isolation"]), (&json!("adbc"), &json!("process")));
    assert_eq!((&database["password"], &database["adbc.snowflake.sql.warehouse"]), (&json!("p@x"), &json!("w")));
    assert_eq!(
        (&database["adbc.snowflake.sql.account"], &database["adbc.snowflake.sql.db"]),
        (&json!("acc"), &json!("db"))
    );
    let source = made("bigquery", "bigquery://project/set", "", "SELECT 1").unwrap();
    assert_eq!(source["with"]["database"]["adbc.bigquery.sql.project_id"], "project");
    let oracle = "oracle+oracledb://u:p@h:1521/?service_name=s";
    assert!(made("oracle", oracle, "", "SELECT 1 FROM dual").unwrap_err().contains("driver"));
    let source = made("oracle", oracle, r#"{"driver": "adbc_driver_oracle", "x.y": 1}"#, "SELECT 1 FROM dual").unwrap();
    assert_eq!(source["with"]["database"], json!({"x.y": 1, "uri": "oracle://u:p@h:1521/?service_name=s"}));
    // A row must not have any file loaded.
    assert!(made("oracle", oracle, r#"{"driver": "/tmp/x.so"}"#, "SELECT 1").is_err());
}

#[test]
fn settings_of_a_connection_are_taken_and_unknown_ones_refused() {
    let config = r#"{"pool_size": 9, "connect_timeout": 3, "read_timeout": 20, "ssl": "require", "ca": "/ca.pem"}"#;
    let with = made("mysql", "mysql://u:p@h/d", config, "SELECT 1").unwrap()["with"].clone();
    assert_eq!((&with["connect_timeout"], &with["timeout"]), (&json!("3s"), &json!("20s")));
    assert_eq!((&with["tls"], &with["ca"]), (&json!("verify"), &json!("/ca.pem")));
    let with = made("postgres", "postgres://u:p@h/d?sslmode=disable", "", "SELECT 1").unwrap()["with"].clone();
    assert_eq!(with["tls"], "disable");
    for (config, word) in [
        ("{", "not JSON"),
        ("[]", "no object"),
        (r#"{"ssl": 1}"#, "ssl"),
        (r#"{"poolsize": 1}"#, "poolsize"),
        (r#"{"read_timeout": 0}"#, "read_timeout"),
    ] {
        let why = made("mysql", "mysql://u:p@h/d", config, "SELECT 1").unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn values_are_bound_and_unknown_names_told() {
    let query = "SELECT * FROM t WHERE r = '{{region}}' AND d >= :start_date AND n LIKE '{{region}}%'";
    let with = made("mysql", "mysql://u:p@h/d", "", query).unwrap()["with"].clone();
    assert_eq!(with["query"], "SELECT * FROM t WHERE r = :region AND d >= :start_date AND n LIKE :text_1");
    let expected = json!({"region": "{{ params.region }}", "start_date": "{{ params.start_date }}", "text_1": "{{ params.region }}%"});
    assert_eq!(with["parameters"], expected);
    assert!(made("mysql", "mysql://u:p@h/d", "", "SELECT :regoin").unwrap_err().contains("regoin"));
}

#[test]
fn what_is_wrong_is_told_without_the_address() {
    for (db_type, url) in [
        ("mysql", "postgres://u:hunter2@h/d"),
        ("mysql", "u:hunter2@h"),
        ("db2", "db2://u:hunter2@h/d"),
        ("snowflake", "x://u:hunter2@h"),
        ("mongodb", "mongodb+srv://u:hunter2@h/d"),
    ] {
        if let Err(why) = made(db_type, url, "", r#"{"collection": "a"}"#) {
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
