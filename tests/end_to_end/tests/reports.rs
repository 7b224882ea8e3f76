//! The report job: a query becomes files, and the files reach people and places. Real servers all of them, but for
//! S3, of which there is a stand-in.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use engine_end_to_end_tests::{Database, MariaDatabase, Post, Server, environment, sftp_host_key};

/// A report of a database, with six places to go to.
struct Report {
    post: Post,
    /// What its files and folders are called after.
    name: String,
}

impl Report {
    fn new(test: &str, source: &str, url: &str) -> Self {
        let mut post = Post::new(test, |_| 200);
        let name = format!("{test}-{}", std::process::id());
        let place = &mut post.place;
        place.set("DATABASE_URL", url);
        place.set("REPORT", &name);
        place.set("SHARE", environment("ENGINE_TEST_SAMBA_FOLDER"));
        for name in [
            "SFTP_PORT",
            "SFTP_USERNAME",
            "SFTP_PASSWORD",
            "S3_ENDPOINT",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
            "S3_BUCKET",
        ] {
            place.set(name, environment(&format!("ENGINE_TEST_{name}")));
        }
        place.set("SFTP_HOST_KEY", sftp_host_key());
        place.write("report.yaml", REPORT.replace("SOURCE", source));
        Self { post, name }
    }

    /// A file in the folder of a server of the tests.
    fn file(&self, folder: &str, name: &str) -> PathBuf {
        PathBuf::from(environment(folder)).join(&self.name).join(name)
    }
}

const REPORT: &str = r#"
name: sales_report
params:
  day: { type: date, default: "{{ params.yesterday }}" }
source:
  use: SOURCE
  with:
    url: ${env:DATABASE_URL}
    query: SELECT region, product, amount, sold FROM sales WHERE sold = :day ORDER BY region, product
    parameters: { day: "{{ params.day }}" }
sinks:
  - use: smtp
    with: { connection: mail, to: ["${env:MAIL_TO}"], filename: "sales-{{ params.day }}.xlsx" }
    format: { use: excel, with: { totals: { amount: sum } } }
    keep: 1h
  - use: sftp
    with:
      host: 127.0.0.1
      port: "${env:SFTP_PORT}"
      username: "${env:SFTP_USERNAME}"
      password: "${env:SFTP_PASSWORD}"
      host_key: "${env:SFTP_HOST_KEY}"
      path: "${env:REPORT}/sales-{{ params.day }}.pdf"
    format: { use: pdf, with: { title: "Sales of {{ params.day }}" } }
  - use: s3
    with:
      endpoint: "${env:S3_ENDPOINT}"
      access_key: "${env:S3_ACCESS_KEY}"
      secret_key: "${env:S3_SECRET_KEY}"
      bucket: "${env:S3_BUCKET}"
      path: "${env:REPORT}/sales-{{ params.day }}.parquet"
    format: parquet
  - use: http
    with: { url: "${env:UPLOAD_URL}", filename: "sales-{{ params.day }}.json", json: { content: data } }
    format: json
  - use: file
    name: share
    with: { path: "${env:SHARE}/${env:REPORT}/sales-{{ params.day }}.csv.zip" }
    format: csv
    compression: { use: zip, with: { filename: "sales-{{ params.day }}.csv" } }
  - use: file
    name: regions
    with: { path: "${env:REPORT}/" }
    format: csv
    burst: { by: region, filename: "{{ value }}-{{ params.day }}.csv" }
retry: { attempts: 3, backoff: 10ms }
"#;

const SALES: &str = "CREATE TABLE sales (region varchar(40), product varchar(40), amount decimal(10,2), sold date);
    INSERT INTO sales VALUES ('North', 'Tea', 12.50, '2026-01-31'), ('North', 'Coffee', 7.25, '2026-01-31'),
    ('South', 'Tea', 100.00, '2026-01-31'), ('South', 'Tea', 1.00, '2026-01-30')";

fn reaches_everybody(report: &Report) {
    let place = &report.post.place;
    place.engine(&["validate", "report.yaml"]).with_code(0);
    let ran = place.engine(&["--json", "run", "report.yaml", "--set", "day=2026-01-31"]).with_code(0).report();
    ran.adds_up();
    assert_eq!(ran.read, 3);

    let [mailed] = &report.post.attached()[..] else { panic!("one attachment") };
    assert!(mailed.starts_with(b"PK\x03\x04"), "a workbook");
    let pdf = report.file("ENGINE_TEST_SFTP_FOLDER", "sales-2026-01-31.pdf");
    let text = Command::new("pdftotext").args(["-layout".as_ref(), pdf.as_os_str(), "-".as_ref()]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for cell in ["Sales of 2026-01-31", "North", "Coffee", "7.25", "South", "100.00"] {
        assert!(text.contains(cell), "{cell} is not in\n{text}");
    }
    let parquet = std::fs::read(report.file("ENGINE_TEST_S3_FOLDER", "sales-2026-01-31.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let posted: serde_json::Value = serde_json::from_str(&report.post.bodies()[0]).unwrap();
    assert_eq!(posted["filename"], "sales-2026-01-31.json");

    // As others see it on the share.
    let share = format!("//127.0.0.1/{}", environment("ENGINE_TEST_SAMBA_SHARE"));
    let get = format!("get {}/sales-2026-01-31.csv.zip -", report.name);
    let port = environment("ENGINE_TEST_SAMBA_PORT");
    let seen = Command::new("smbclient").args([&share, "-p", &port, "-N", "-c", &get]).output().unwrap();
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(seen.stdout)).unwrap();
    let mut csv = String::new();
    archive.by_name("sales-2026-01-31.csv").unwrap().read_to_string(&mut csv).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    let of =
        |region: &str| std::fs::read_to_string(place.path(format!("{}/{region}-2026-01-31.csv", report.name))).unwrap();
    assert_eq!((of("North").lines().count(), of("South").lines().count()), (3, 2));

    let listed = place.json(&["deliveries", "list"]);
    assert_eq!(listed.len(), 6);
    assert!(listed.iter().all(|it| it["status"] == "delivered" && it["rows"] == 3), "{listed:?}");
    let hashed = listed.iter().filter(|it| it["sha256"].is_string()).count();
    assert!(hashed >= 4, "{listed:?}");
    // The same day again: what has arrived counts as delivered, at places that keep what they have.
    place.engine(&["run", "report.yaml", "--set", "day=2026-01-31"]).with_code(0);
}

#[test]
fn a_report_of_postgres_reaches_everybody() {
    let database: Database = Server::shared().database();
    database.execute(SALES);
    reaches_everybody(&Report::new("report-of-postgres", "postgres", database.url()));
}

#[test]
fn a_report_of_mariadb_reaches_everybody() {
    let database = MariaDatabase::new();
    database.execute(SALES);
    reaches_everybody(&Report::new("report-of-mariadb", "mysql", database.url()));
}
