//! Each way to deliver, as a sink.

use super::*;

fn made(method: &str, config: Value, recipients: &[(&str, &str)]) -> Result<Value, String> {
    let delivery = Delivery {
        id: 4,
        method: method.into(),
        delivery_config: config.to_string(),
        max_retry: Some(2),
        retry_interval_minutes: Some(10),
        ..Delivery::default()
    };
    let parameters = Parameters::read("", true).unwrap();
    let form = Form {
        report: "Sales {North}",
        ending: "xlsx",
        format: json!("excel"),
        zone: "Asia/Kolkata",
        parameters: &parameters,
    };
    let rows: Vec<_> = recipients
        .iter()
        .map(|(kind, value)| Recipient {
            recipient_type: (*kind).into(),
            recipient_value: (*value).into(),
            ..Recipient::default()
        })
        .collect();
    sink(&delivery, &rows.iter().collect::<Vec<_>>(), &form)
}

const STAMPED: &str = "sales-north_{{ run.started | date(\"%Y%m%d_%H%M%S\", \"Asia/Kolkata\") }}.xlsx";

#[test]
fn mails_have_their_receivers_and_templates() {
    let config = json!({
        "smtp_server": "mail.example.com", "smtp_port": 587, "username": "u", "password": "${env:X}", "use_tls": true,
        "from_email": "a@example.com", "subject_template": "{report_name} of {{end_date}}",
        "body_template": "<p style=\"x{y}\">From {start_date}</p>",
    });
    let sink = made("email", config, &[("to", "b@example.com"), ("CC", "{{ x }}@example.com")]).unwrap();
    let with = &sink["with"];
    assert_eq!((&sink["use"], &sink["name"], &sink["keep"]), (&json!("smtp"), &json!("delivery-4"), &json!("1d")));
    assert_eq!((&with["encryption"], &with["port"]), (&json!("starttls"), &json!(587)));
    assert_eq!(with["password"], "$${env:X}");
    assert_eq!(with["to"], json!(["b@example.com"]));
    assert_eq!(with["cc"], json!(["{{ '{' }}{{ '{' }} x }}@example.com"]));
    assert_eq!(with["subject"], "{{ values.report_name }} of {{ values.end_date }}");
    assert_eq!(with["values"]["end_date"], "{{ params.end_date }}");
    assert_eq!(with["html"], "<p style=\"x{{ '{' }}y}\">From {{ values.start_date }}</p>");
    assert_eq!(with["filename"], STAMPED);
    let server = json!({"smtp_server": "m", "from_email": "a@b.c", "smtp_port": "465"});
    assert_eq!(made("email", server.clone(), &[("to", "b@c.d")]).unwrap()["with"]["encryption"], "tls");
    assert!(made("email", server, &[]).unwrap_err().contains("recipient"));
}

#[test]
fn places_for_files_are_folders_or_files() {
    let sftp = |path: &str| {
        let config =
            json!({"host": "h", "username": "u", "password": "p", "host_key": "SHA256:x", "remote_path": path});
        made("sftp", config, &[]).unwrap()["with"]["path"].clone()
    };
    let stamped = STAMPED.replace(".xlsx", "_{{ run.id[-8:] }}.xlsx");
    assert_eq!(sftp("in"), format!("in/{stamped}"));
    assert_eq!(sftp("/in/"), format!("/in/{stamped}"));
    assert_eq!(sftp("in/sales-{end_date}.xlsx"), "in/sales-{{ params.end_date }}.xlsx");
    let config = json!({"bucket": "b", "prefix": "/a.b", "region": "r", "endpoint": "http://h:9000", "access_key": "k",
        "secret_key": "s", "use_tls": false, "filename": "{end_date}.xlsx"});
    let with = made("s3", config, &[]).unwrap()["with"].clone();
    assert_eq!(with["path"], "a.b/{{ params.end_date }}.xlsx");
    assert_eq!((&with["tls"], &with["overwrite"]), (&json!("disable"), &json!(true)));
    assert_eq!(
        made("file_share", json!({"path": "/mnt/x"}), &[]).unwrap()["with"]["path"],
        format!("/mnt/x/{stamped}")
    );
    assert!(made("file_share", json!({"path": "x"}), &[]).is_err());
}

#[test]
fn webhooks_get_the_file_and_a_secret() {
    let config = json!({"url": "https://h/x", "method": "put", "headers": {"X-A": "1", "X-B": 2}, "secret": "s"});
    let with = made("webhook", config, &[]).unwrap()["with"].clone();
    assert_eq!(with["method"], "PUT");
    assert_eq!(with["headers"], json!({"X-A": "1", "X-B": "2"}));
    assert_eq!(with["login"]["api_key"], json!({"header": "X-Webhook-Secret", "value": "s"}));
    assert!(made("webhook", json!({"url": "https://h/x", "method": "GET"}), &[]).is_err());
}

#[test]
fn retries_grow_by_their_interval() {
    let sink = made("file_share", json!({"path": "/x"}), &[]).unwrap();
    assert_eq!(sink["retry"], json!({"attempts": 3, "backoff": "10m", "growth": "linear", "max": "20m"}));
}

#[test]
fn what_is_not_known_is_told() {
    for (method, config, word) in [
        ("fax", json!({}), "fax"),
        ("sftp", json!({"username": "u"}), "host"),
        ("s3", json!({"bucket": "b", "buckett": "c"}), "buckett"),
        ("file_share", json!([]), "object"),
        ("file_share", json!({"path": "/x/{{ dya }}"}), "dya"),
    ] {
        let why = made(method, config, &[]).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}
