//! Rows that belong together, and what is wrong with some.

use super::*;

fn rows() -> Rows {
    let datasource = |id, is_active| Datasource {
        id,
        name: "sales".into(),
        connection_url: "mysql+pymysql://u:hunter2@h/d".into(),
        db_type: "mysql".into(),
        is_active,
        ..Datasource::default()
    };
    let config = |id, datasource_id| Config {
        id,
        report_name: "Sales".into(),
        report_query: "SELECT * FROM sales WHERE sold >= '{{start_date}}'".into(),
        output_format: "csv".into(),
        datasource_id,
        is_active: true,
        ..Config::default()
    };
    let schedule = |id, config_id, is_active| Schedule {
        id,
        config_id,
        cron_expression: "0 7 * * *".into(),
        timezone: "Asia/Kolkata".into(),
        is_active,
        ..Schedule::default()
    };
    let delivery = |id, config_id| Delivery {
        id,
        config_id,
        delivery_name: "share".into(),
        method: "file_share".into(),
        delivery_config: r#"{"path": "/mnt"}"#.into(),
        is_active: true,
        ..Delivery::default()
    };
    Rows {
        datasources: vec![datasource(1, true), datasource(2, false)],
        configs: vec![config(1, 1), config(2, 2), config(3, 9), Config { is_active: false, ..config(4, 1) }],
        schedules: vec![schedule(1, 1, true), schedule(2, 1, true), schedule(3, 1, false), schedule(4, 4, true)],
        deliveries: vec![delivery(1, 1), delivery(2, 2), delivery(3, 3)],
        recipients: Vec::new(),
    }
}

fn wrong(change: impl FnOnce(&mut Rows)) -> String {
    let mut rows = rows();
    change(&mut rows);
    reports(&rows).swap_remove(1).definition.unwrap_err()
}

#[test]
fn a_report_is_there_on_demand_and_for_each_schedule() {
    let reports = reports(&rows());
    let names: Vec<_> = reports.iter().map(|report| report.pipeline.as_str()).collect();
    assert_eq!(names, ["report-1", "report-1-1", "report-1-2", "report-2", "report-3"]);
    for report in &reports {
        assert_eq!(of_pipeline(&report.pipeline), Some((report.config, report.schedule.as_ref().map(|it| it.id))));
    }
    assert_eq!(of_pipeline("reporting"), None);
    let made = reports[1].definition.as_ref().unwrap();
    assert_eq!(made["schedule"], json!({"cron": "0 7 * * *", "timezone": "Asia/Kolkata"}));
    assert_eq!((&made["unfinished"], &made["timezone"]), (&json!("give_up"), &json!("Asia/Kolkata")));
    assert!(reports[0].definition.as_ref().unwrap().get("schedule").is_none());
}

#[test]
fn a_row_that_is_wrong_disables_its_report_alone() {
    let reports = reports(&rows());
    assert!(reports[..3].iter().all(|report| report.definition.is_ok()));
    assert!(reports[3].definition.as_ref().unwrap_err().contains("not active"));
    assert!(reports[4].definition.as_ref().unwrap_err().contains("no datasource 9"));
    for (word, why) in [
        ("db_type", wrong(|rows| rows.datasources[0].db_type = "db2".into())),
        ("not JSON", wrong(|rows| rows.configs[0].parameters = "{".into())),
        ("not JSON", wrong(|rows| rows.deliveries[0].delivery_config = "{\"password\": hunter2".into())),
        ("no active delivery", wrong(|rows| rows.deliveries[0].is_active = false)),
        ("output_format", wrong(|rows| rows.configs[0].output_format = "docx".into())),
        ("time zone", wrong(|rows| rows.schedules[0].timezone = "Mars/Olympus".into())),
        ("max_rows", wrong(|rows| rows.configs[0].max_rows = Some(-1))),
        ("no default", wrong(|rows| rows.configs[0].parameters = r#"{"a": null}"#.into())),
        ("wants a name", wrong(|rows| rows.configs[0].report_query = "SELECT * FROM {{t}}".into())),
    ] {
        assert!(why.contains(word) && !why.contains("hunter2"), "{why}");
    }
}
