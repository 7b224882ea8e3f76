use engine_sdk::{file_piece, files_schema};
use mail_parser::{MessagePart, MimeHeaders};

use super::*;

fn name<'a>(part: &'a MessagePart<'_>) -> &'a str {
    part.attachment_name().unwrap_or_default()
}

#[test]
fn a_file_is_attached_whatever_its_pieces() {
    let mailboxes = Mailboxes::new("a_file_is_attached");
    let mut bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    bytes.extend(b"\r\n.\r\nFrom ");
    let config = mailboxes.with(json!({"filename": "Ums\u{e4}tze \u{6771}\u{4eac}.parquet"}));
    let pieces = bytes.chunks(30_011).map(|piece| file_piece("", piece)).collect();
    let receipt = deliver(&Host::of_files(), config, pieces, vec![]).unwrap();
    assert_eq!(receipt.bytes, bytes.len() as u64);
    let [taken] = &mailboxes.taken()[..] else { panic!("one message") };
    let message = taken.message();
    assert_eq!(message.subject(), Some("report: Ums\u{e4}tze \u{6771}\u{4eac}.parquet"));
    assert_eq!(message.body_text(0).unwrap().trim(), "Ums\u{e4}tze \u{6771}\u{4eac}.parquet (100.0 KB)");
    let parts: Vec<_> = message.attachments().collect();
    assert_eq!(parts.len(), 1);
    assert_eq!(name(parts[0]), "Ums\u{e4}tze \u{6771}\u{4eac}.parquet");
    assert!(parts[0].contents() == bytes);
    let kind = parts[0].content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("application", Some("vnd.apache.parquet")));
}

#[test]
fn ends_of_lines_and_letters_of_a_text_stay_as_they_are() {
    let mailboxes = Mailboxes::new("ends_of_lines");
    let text = format!("\u{feff}a;b\nZo\u{eb};{}\r\n.\nFrom x\n", "y".repeat(2_000));
    let config = mailboxes.with(json!({"filename": "calls.csv"}));
    deliver(&Host::of_files(), config, vec![file_piece("", text.as_bytes())], vec![]).unwrap();
    let [taken] = &mailboxes.taken()[..] else { panic!("one message") };
    let message = taken.message();
    let part = message.attachments().next().unwrap();
    assert_eq!(part.contents(), text.as_bytes());
    let kind = part.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype(), kind.attribute("charset")), ("text", Some("csv"), Some("utf-8")));
}

#[test]
fn files_that_are_copied_keep_their_names_and_texts_can_tell_of_them() {
    let mailboxes = Mailboxes::new("files_that_are_copied");
    let config = mailboxes.with(json!({
        "each": true, "to": [mailboxes.at("one"), mailboxes.at("two")],
        "subject": "{{ files | length }} of {{ pipeline }}", "text": "see below",
        "html": "{% for file in files %}<b>{{ file.name }}</b> {{ file.bytes }};{% endfor %}",
    }));
    let pieces = vec![file_piece("out/a.csv", b"1\n"), file_piece("out/a.csv", b"2\n"), file_piece("../b&c.pdf", b"")];
    let host = Host::of_files();
    deliver(&host, config.clone(), pieces.clone(), vec![]).unwrap();
    let taken = mailboxes.taken();
    assert_eq!(taken.iter().map(|it| it.to.len()).collect::<Vec<_>>(), [1, 1]);
    for taken in &taken {
        let message = taken.message();
        assert_eq!(
            (message.subject(), message.body_text(0).as_deref().map(str::trim)),
            (Some("2 of report"), Some("see below"))
        );
        assert_eq!(message.body_html(0).unwrap().trim(), "<b>a.csv</b> 4;<b>b&amp;c.pdf</b> 0;");
        let parts: Vec<_> = message.attachments().map(|part| (name(part), part.contents())).collect();
        assert_eq!(parts, [("a.csv", &b"1\n2\n"[..]), ("b&c.pdf", &b""[..])]);
    }
    // Whoever has it does not get it again, and other content is another message.
    deliver(&host, config.clone(), pieces, host.receipts()).unwrap();
    assert_eq!(mailboxes.taken().len(), 2);
    deliver(&host, config, vec![file_piece("out/a.csv", b"3\n")], host.receipts()).unwrap();
    assert_eq!(mailboxes.taken().len(), 4);
}

#[test]
fn what_cannot_be_attached_is_told_before_anything_is_sent() {
    let mailboxes = Mailboxes::new("what_cannot_be_attached");
    let refused = |settings: Value, pieces: Vec<RecordBatch>| {
        let error = deliver(&Host::of_files(), mailboxes.with(settings), pieces, vec![]).unwrap_err();
        assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Config, true), "{error}");
        error.message
    };
    let piece = |name: &str| file_piece(name, &[0; 600]);
    assert_eq!(refused(json!({}), vec![piece("")]), "the file has no name");
    assert_eq!(
        refused(json!({"max_size": "1KiB"}), vec![piece("a"), piece("a")]),
        "the files of one message are larger than 1024 bytes"
    );
    assert_eq!(
        refused(json!({"filename": "a"}), vec![piece("b"), piece("c")]),
        "two files of one message would be called a"
    );
    assert_eq!(
        refused(json!({"message": "record"}), vec![piece("a")]),
        "`message: record` with a `format`: files have no records"
    );
    assert_eq!(refused(json!({"text": "{{ count }}"}), vec![piece("a")]), "the template `text` knows no `count`");
    let error = Host::new().open::<SmtpSink>(mailboxes.with(json!({"filename": "a.csv"}))).err().unwrap();
    assert_eq!(error.message, "`filename` is set, and no files come");
    assert!(mailboxes.taken().is_empty());
}

#[test]
fn files_that_are_too_large_are_named_with_where_they_are() {
    let mailboxes = Mailboxes::new("files_that_are_too_large");
    let link = "https://files.example.com/calls.csv";
    let config = mailboxes.with(json!({"filename": "calls.csv", "max_size": 1000, "link": link}));
    let pieces: Vec<_> = (0..3).map(|_| file_piece("", &[b'x'; 600])).collect();
    let receipt = deliver(&Host::of_files(), config.clone(), pieces, vec![]).unwrap();
    assert_eq!(receipt.bytes, 1800);
    assert_eq!(receipt.detail["receivers"].as_array().unwrap().len(), 1);
    deliver(&Host::of_files(), config, vec![file_piece("", &[b'x'; 600])], vec![]).unwrap();
    let taken = mailboxes.taken();
    let mut seen: Vec<_> = taken
        .iter()
        .map(|taken| {
            let message = taken.message();
            (message.body_text(0).unwrap().replace("\r\n", "\n"), message.attachments().count())
        })
        .collect();
    seen.sort();
    let large = format!("calls.csv (1.8 KB)\n\nToo large for a mail; it is here:\n{link}\n");
    assert_eq!(seen[0].0.trim_end(), large.trim_end());
    assert_eq!((seen[0].1, seen[1].0.trim_end(), seen[1].1), (0, "calls.csv (600 bytes)", 1));
}

#[test]
fn without_files_nothing_is_sent() {
    let mailboxes = Mailboxes::new("without_files");
    deliver(&Host::of_files(), mailboxes.with(json!({})), vec![RecordBatch::new_empty(files_schema())], vec![])
        .unwrap();
    assert!(mailboxes.taken().is_empty());
}
