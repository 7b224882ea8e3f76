//! Files by mail and by HTTP, made of rows or copied as they are.

use std::io::Read;

use engine_end_to_end_tests::Post;

const MAIL: &str = "{ use: smtp, with: { connection: mail, to: [\"${env:MAIL_TO}\"]";
const ROWS: &str = "source: { use: file, with: { path: calls.csv }, format: csv }\n";

#[test]
fn rows_become_files_that_are_sent_once() {
    let post = Post::new("rows-become-files", |number| if number == 0 { 503 } else { 200 });
    post.place.write(
        "report.yaml",
        format!(
            "{ROWS}sinks:\n  - {MAIL}, filename: calls.csv.gz }}, format: csv, compression: gzip }}\n  \
             - {{ use: http, with: {{ url: \"${{env:UPLOAD_URL}}\", filename: calls.json }}, format: json }}\n\
             retry: {{ backoff: 1ms }}\n"
        ),
    );
    let plan = post.place.engine(&["explain", "report.yaml"]).with_code(0);
    assert_eq!(plan.stdout.matches("publishes a whole window at a time").count(), 2, "{plan:?}");
    post.place.engine(&["--json", "run", "report.yaml"]).with_code(0).report().adds_up();
    let [mailed] = &post.attached()[..] else { panic!("one attachment") };
    let mut text = String::new();
    flate2::read::GzDecoder::new(&mailed[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "number,seconds\n2432,172\n\"0,7\",5\n");
    let json = "{\"number\":\"2432\",\"seconds\":\"172\"}\n{\"number\":\"0,7\",\"seconds\":\"5\"}\n";
    assert_eq!(post.bodies(), [json, json]);
    let seen = post.seen.lock().unwrap();
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
}

#[test]
fn files_are_passed_on_as_they_are() {
    let post = Post::new("files-are-passed-on", |_| 200);
    for (name, text) in [("in/a.pdf", "%PDF"), ("in/b.pdf", "")] {
        post.place.write(name, text);
    }
    post.place.write(
        "copy.yaml",
        format!(
            "source: {{ use: file, with: {{ path: \"in/*.pdf\" }} }}\n\
             sinks:\n  - {MAIL} }} }}\n  \
             - {{ use: http, with: {{ url: \"${{env:UPLOAD_URL}}\", form: {{ fields: {{ kind: daily }} }} }} }}\n"
        ),
    );
    post.place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    assert_eq!(post.attached(), [b"%PDF".to_vec(), vec![]]);
    let bodies = post.bodies();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].contains("filename=\"a.pdf\"") && bodies[0].contains("%PDF"), "{bodies:?}");
    assert!(bodies[1].contains("filename=\"b.pdf\"") && bodies[1].contains("daily"), "{bodies:?}");
}

#[test]
fn what_does_not_fit_files_is_told_before_a_run() {
    let post = Post::new("what-does-not-fit", |_| 200);
    for (sink, told) in [
        (format!("{MAIL}, message: record }}, format: csv }}"), "`message: record` with a `format`"),
        (format!("{MAIL}, filename: calls.csv }} }}"), "`filename` is set, and no files come"),
        (format!("{MAIL} }}, format: csv }}"), "the file that `format` makes has no name"),
        (format!("{MAIL} }}, compression: gzip }}"), "`smtp` takes rows and has no use for a compression"),
        (
            "{ use: http, with: { url: \"${env:UPLOAD_URL}\", batch: 10 }, format: csv }".to_owned(),
            "`batch` is about rows, and files come",
        ),
    ] {
        post.place.write("report.yaml", format!("{ROWS}sink: {sink}\n"));
        post.place.engine(&["validate", "report.yaml"]).with_code(2).says(&[told]);
    }
    assert!(post.attached().is_empty() && post.bodies().is_empty());
}

#[test]
fn files_that_are_compressed_on_the_way_are_called_so() {
    let post = Post::new("compressed-on-the-way", |_| 200);
    post.place.write("in/a.csv", "a\n1\n");
    let sink = "{ use: http, with: { url: \"${env:UPLOAD_URL}\", form: {} }, compression: gzip }";
    let source = "source: { use: file, with: { path: in/a.csv } }";
    post.place.write("copy.yaml", format!("{source}\nsink: {sink}\n"));
    post.place.engine(&["--json", "run", "copy.yaml"]).with_code(0);
    let body = post.bodies().concat();
    assert!(body.contains("filename=\"a.csv.gz\"") && body.contains("application/gzip"), "{body}");
}

#[test]
fn a_connection_may_say_how_files_are_called() {
    let post = Post::new("a-connection-with-a-name", |_| 200);
    let connections = std::fs::read_to_string(post.place.path("connections.yaml")).unwrap();
    post.place.write("connections.yaml", connections + "    filename: calls.csv\n");
    post.place.engine(&["connections", "check"]).with_code(0);
}
