//! What is said of drivers and logins that do not work, and what is never said.

use super::*;
use crate::options::SecretOptions;

fn refused(driver: &str, more: Value) -> Error {
    let host = Host::new();
    let mut config = json!({"driver": driver, "query": "SELECT 1"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut source: AdbcSource = host.open(config).unwrap();
    source.check().unwrap_err()
}

#[test]
fn a_driver_that_is_not_there_or_none_is_told_apart() {
    let error = refused("/nowhere/libadbc_driver_x.so", json!({}));
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Config, "there is no ADBC driver /nowhere/libadbc_driver_x.so")
    );
    let error = refused("adbc_driver_that_nobody_has", json!({}));
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.starts_with("ADBC driver adbc_driver_that_nobody_has cannot be loaded: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libnotes.so");
    std::fs::write(&text, "no library").unwrap();
    let error = refused(text.to_str().unwrap(), json!({}));
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("libnotes.so cannot be loaded: "), "{error}");
    // A library, but of something else.
    let error = refused("libm.so.6", json!({}));
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("AdbcDriverInit"), "{error}");
    assert!(error.hint.unwrap().contains("`entrypoint`"));
}

#[test]
fn a_path_is_relative_to_the_pipeline_file_and_an_entry_point_can_be_named() {
    let mut scratch = Scratch::sqlite();
    std::os::unix::fs::symlink(setting("ENGINE_TEST_ADBC_SQLITE"), scratch.folder.path().join("driver.so")).unwrap();
    scratch.config["driver"] = json!("./driver.so");
    scratch.source(json!({"query": "SELECT 1", "entrypoint": "AdbcDriverSqliteInit"})).check().unwrap();
}

#[test]
fn an_option_that_the_driver_does_not_know_is_named() {
    let error = refused(&setting("ENGINE_TEST_ADBC_SQLITE"), json!({"database": {"colour": "reddish"}}));
    assert!(error.message.contains("colour"), "{error}");
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(!error.message.contains("reddish"), "{error}");
    let scratch = Scratch::sqlite();
    let mut source = scratch.source(json!({"query": "SELECT 1", "statement": {"colour": 1}}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let error = source.read(&plan.splits[0]).unwrap_err();
    assert!(error.message.contains("option `colour` of `statement`"), "{error}");
}

#[test]
fn a_login_that_is_refused_is_denied_and_nothing_shows_the_password() {
    let driver = setting("ENGINE_TEST_ADBC_POSTGRES");
    let url = setting("ENGINE_TEST_POSTGRES_URL");
    let (login, server) = url.split_once('@').unwrap();
    let password = login.rsplit_once(':').unwrap().1;
    for wrong in [
        url.replace(password, "hunter2"),
        format!("postgresql://engine:hunter%322@{server}"),
        url.replace("engine_test", "nowhere").replace(password, "hunter2"),
    ] {
        let error = refused(&driver, json!({"database": {"uri": wrong}}));
        assert!(matches!(error.kind, ErrorKind::Denied | ErrorKind::Unavailable), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
        assert!(error.message.starts_with("ADBC driver "), "{error}");
    }
    // The driver quotes what it cannot read.
    for wrong in ["postgresql://engine:hunter2@[", "host=127.0.0.1 password=hunter2 colour=red", "hunter2 hunter2"] {
        let error = refused(&driver, json!({"database": {"uri": wrong}}));
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    // A right of the login's that is missing.
    let mut scratch = Scratch::postgres();
    scratch.sql("CREATE TABLE calls (id bigint)");
    let role = format!("{}_reader", scratch.schema.clone().unwrap());
    scratch.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"));
    let uri = format!("postgresql://{role}:hunter2@{server}");
    let table = format!("{}.calls", scratch.schema.clone().unwrap());
    let config = json!({"driver": driver, "database": {"uri": uri}, "table": table});
    let error = scratch.host.open::<AdbcSource>(config).unwrap().check().unwrap_err();
    scratch.sql(&format!("DROP ROLE {role}"));
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let driver = setting("ENGINE_TEST_ADBC_POSTGRES");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(&driver, json!({"database": {"uri": format!("postgresql://engine:hunter2@{free}/calls")}}));
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(!error.message.contains("hunter2"));
}

#[test]
fn settings_that_make_no_sense_are_refused_without_a_driver() {
    let host = Host::new();
    let refused = |config: Value| host.open::<AdbcSource>(config).err().expect("it is refused").message;
    assert!(refused(json!({"driver": "", "table": "calls"})).contains("must not be empty"));
    assert!(refused(json!({"driver": "x"})).contains("either `table` or `query`"));
    assert!(refused(json!({"driver": "x", "query": "SELECT 1", "catalog": "c"})).contains("`catalog` belongs to"));
    assert!(refused(json!({"driver": "x", "table": "a.b.c"})).contains("is not the name of a table"));
    assert!(refused(json!({"driver": "x", "query": "SELECT :a"})).contains("`parameters` has no value"));
    let options = serde_json::from_value::<SecretOptions>(json!({"password": "hunter2", "port": 1})).unwrap();
    let shown = format!("{options:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
