use super::*;

#[test]
fn a_delivery_is_one_message_with_its_records_as_a_table() {
    let mailboxes = Mailboxes::new("table");
    let config = mailboxes.with(json!({"rows": 2, "reply_to": ["desk@example.com"]}));
    let receipt = deliver(&Host::new(), config, vec![people(&["Ann"]), people(&["Bo", "Cy"])], vec![]).unwrap();
    assert_eq!(receipt.rows, 3);
    let taken = mailboxes.taken();
    assert_eq!(taken.len(), 1);
    let message = taken[0].message();
    assert_eq!(taken[0].from, "engine@example.com");
    assert_eq!(message.subject(), Some("report: 3 records"));
    let text = message.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "name  number\n----  ------\nAnn   1\nBo    1\n\n… and 1 more");
    let reply_to = message.reply_to().and_then(|it| it.first()).and_then(|it| it.address());
    assert_eq!(reply_to, Some("desk@example.com"));
    let id = message.message_id().unwrap();
    assert!(id.ends_with("@example.com") && message.date().is_some(), "{id}");
}

#[test]
fn each_record_is_a_message_to_whom_it_names() {
    let mailboxes = Mailboxes::new("records");
    let config = mailboxes.with(json!({
        "message": "record", "to": [format!("{{{{ record.name }}}} <{{{{ record.name | lower }}}}@{}>", mailboxes.domain)],
        "subject": "Invoice {{ record.number }}", "text": "Dear {{ record.name }},\n.\n..\nsee you\n",
        "html": "<p>Dear {{ record.name }} & co</p>",
    }));
    let receipt = deliver(&Host::new(), config, vec![people(&["Ann", "Zoë"])], vec![]).unwrap();
    assert_eq!(receipt.rows, 2);
    let taken = mailboxes.taken();
    assert_eq!(taken.len(), 2);
    let first = taken[0].message();
    assert_eq!(first.subject(), Some("Invoice 1"));
    assert_eq!(taken[0].to, [mailboxes.at("ann")]);
    let text = first.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "Dear Ann,\n.\n..\nsee you", "lines of dots arrive");
    assert_eq!(first.body_html(0).unwrap().trim_end(), "<p>Dear Ann & co</p>");
    assert!(taken[1].message().body_text(0).unwrap().contains("Zoë"));
}

#[test]
fn who_gets_a_blind_copy_is_seen_by_nobody() {
    let mailboxes = Mailboxes::new("bcc");
    let config = mailboxes.with(json!({"cc": [mailboxes.at("two")], "bcc": [mailboxes.at("secret")]}));
    deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap();
    let taken = mailboxes.taken();
    assert_eq!(taken[0].to, ["one", "two", "secret"].map(|name| mailboxes.at(name)));
    let text = String::from_utf8_lossy(&taken[0].bytes).into_owned();
    assert!(text.contains(&mailboxes.at("two")) && !text.contains("secret"), "{text}");
}

#[test]
fn each_receiver_can_have_a_message_of_its_own() {
    let mailboxes = Mailboxes::new("each");
    let config = mailboxes
        .with(json!({"each": true, "to": [mailboxes.at("one"), mailboxes.at("two")], "bcc": [mailboxes.at("all")]}));
    deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap();
    let to: Vec<_> = mailboxes.taken().into_iter().map(|taken| taken.to).collect();
    assert_eq!(to, [vec![mailboxes.at("one"), mailboxes.at("all")], vec![mailboxes.at("two")]]);
}

#[test]
fn what_a_run_tells_has_its_summary_as_subject() {
    let mailboxes = Mailboxes::new("summary");
    let columns: [(&str, ArrayRef); 2] = [
        ("summary", Arc::new(StringArray::from(vec!["p: failed: sinks.postgres: no such table"]))),
        ("error", Arc::new(StringArray::from(vec!["no such table"]))),
    ];
    let told = RecordBatch::try_from_iter(columns).unwrap();
    deliver(&Host::new(), mailboxes.with(json!({})), vec![told], vec![]).unwrap();
    assert_eq!(mailboxes.taken()[0].message().subject(), Some("p: failed: sinks.postgres: no such table"));
}

#[test]
fn no_record_can_begin_a_header() {
    let mailboxes = Mailboxes::new("injection");
    let evil = "Ann\r\nBcc: victim@example.com\r\n\r\nhello";
    let config = mailboxes.with(json!({"message": "record", "subject": "For {{ record.name }}", "text": "t"}));
    deliver(&Host::new(), config, vec![people(&[evil])], vec![]).unwrap();
    let taken = mailboxes.taken();
    let message = taken[0].message();
    assert_eq!(message.subject(), Some("For Ann Bcc: victim@example.com hello"));
    assert!(message.bcc().is_none() && taken[0].to == [mailboxes.at("one")]);

    let host = Host::new();
    let config = mailboxes.with(json!({"message": "record", "to": ["{{ record.name }}@example.com"]}));
    let receipt = deliver(&host, config, vec![people(&[evil, "no address", "<>"])], vec![]).unwrap();
    assert_eq!(receipt.rows, 0);
    assert!(host.rejections().iter().all(|letter| letter.code == "bad_address"), "{:?}", host.rejections());
    assert_eq!(mailboxes.taken().len(), 1, "nothing more was sent");
}

#[test]
fn a_long_line_and_a_long_subject_arrive() {
    let mailboxes = Mailboxes::new("long");
    let line = "wörd ".repeat(2_000);
    let config =
        mailboxes.with(json!({"subject": format!("Gr\u{fc}\u{df}e {}", "x".repeat(200)), "text": format!("{line}\n")}));
    deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap();
    let taken = mailboxes.taken();
    let message = taken[0].message();
    assert_eq!(message.subject(), Some(format!("Grüße {}", "x".repeat(200)).as_str()));
    assert_eq!(message.body_text(0).unwrap().trim_end(), line.trim_end());
    let longest = taken[0].bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest <= 999, "no line is longer than mail allows: {longest}");
}

#[test]
fn without_records_nothing_is_sent() {
    let mailboxes = Mailboxes::new("nothing");
    for message in ["record", "delivery"] {
        let config = mailboxes.with(json!({"message": message}));
        assert_eq!(deliver(&Host::new(), config, vec![people(&[])], vec![]).unwrap().rows, 0);
    }
    assert!(mailboxes.taken().is_empty());
}
