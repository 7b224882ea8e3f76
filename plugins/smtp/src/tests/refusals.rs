use super::*;

#[test]
fn a_refused_receiver_is_told_and_the_others_have_it() {
    let mailboxes = Mailboxes::new("refused");
    let config = mailboxes.with(json!({"to": [mailboxes.at("one"), mailboxes.at("refused"), mailboxes.at("two")]}));
    let receipt = deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap();
    assert_eq!(mailboxes.taken()[0].to, [mailboxes.at("one"), mailboxes.at("two")]);
    assert_eq!(receipt.alerts.len(), 1);
    assert_eq!(receipt.alerts[0].key, format!("receiver/{}", mailboxes.at("refused")));
    assert!(receipt.alerts[0].message.contains("550"), "{:?}", receipt.alerts);
}

#[test]
fn a_record_that_nobody_may_receive_is_a_dead_letter() {
    let mailboxes = Mailboxes::new("dead");
    let host = Host::new();
    let to = format!("{{{{ record.name }}}}@{}", mailboxes.domain);
    let config = mailboxes.with(json!({"message": "record", "to": [to]}));
    let receipt = deliver(&host, config.clone(), vec![people(&["one", "refused", "full", "two"])], vec![]).unwrap();
    assert_eq!(receipt.rows, 2);
    let codes: Vec<_> = host.rejections().iter().map(|letter| letter.code.clone()).collect();
    assert_eq!(codes, ["smtp_550", "smtp_552"]);
    assert!(host.rejections()[0].reason.contains("no such mailbox"), "{:?}", host.rejections());
    assert_eq!(mailboxes.taken().len(), 2);

    // A message about all records cannot refuse one of them.
    let config = mailboxes.with(json!({"to": [mailboxes.at("refused")]}));
    let error = deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("nobody gets the message"), "{error}");
}

#[test]
fn who_is_to_come_later_gets_it_by_the_next_attempt_and_nobody_twice() {
    let mailboxes = Mailboxes::new("later");
    let config = mailboxes.with(json!({"to": [mailboxes.at("one"), mailboxes.at("later"), mailboxes.at("two")]}));
    let first = Host::new();
    let error = deliver(&first, config.clone(), vec![people(&["Ann"])], vec![]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("451") && error.message.contains("later@"), "{error}");
    deliver(&Host::new(), config, vec![people(&["Ann"])], first.receipts()).unwrap();
    let taken = mailboxes.taken();
    let to: Vec<_> = taken.iter().map(|taken| taken.to.clone()).collect();
    assert_eq!(to, [vec![mailboxes.at("one"), mailboxes.at("two")], vec![mailboxes.at("later")]]);
    assert_eq!(taken[0].message().message_id(), taken[1].message().message_id(), "it is the same message");
}

#[test]
fn a_delivery_that_was_cut_sends_the_messages_that_are_missing() {
    let mailboxes = Mailboxes::new("cut");
    let to = format!("{{{{ record.name }}}}@{}", mailboxes.domain);
    for word in ["busy", "broken"] {
        let config = mailboxes.with(json!({"message": "record", "to": [to], "subject": word}));
        let people = || vec![people(&["one", word, "two"])];
        let first = Host::new();
        let error = deliver(&first, config.clone(), people(), vec![]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        deliver(&Host::new(), config, people(), first.receipts()).unwrap();
        let sent: Vec<_> = mailboxes.taken();
        let sent: Vec<_> = sent.iter().filter(|taken| taken.message().subject() == Some(word)).collect();
        let to: Vec<_> = sent.iter().flat_map(|taken| taken.to.clone()).collect();
        // Of the connection that broke, the message was taken; whether it was, nobody could say.
        let expected = match word {
            "broken" => vec!["one", "broken", "two"],
            _ => vec!["one", "busy", "two"],
        };
        assert_eq!(to, expected.into_iter().map(|name| mailboxes.at(name)).collect::<Vec<_>>());
    }
}

#[test]
fn of_a_delivery_that_is_given_up_only_what_was_not_sent_is_refused() {
    let mailboxes = Mailboxes::new("given-up");
    let to = format!("{{{{ record.name }}}}@{}", mailboxes.domain);
    let config = mailboxes.with(json!({"message": "record", "to": [to]}));
    let people = || vec![people(&["one", "broken", "two"])];
    let (first, second) = (Host::new(), Host::new());
    deliver(&first, config.clone(), people(), vec![]).unwrap_err();
    let receipt = give_up(&second, config, people(), first.receipts()).unwrap();
    assert_eq!((receipt.rows, mailboxes.taken().len()), (1, 1));
    let refused: Vec<_> = second.rejections().into_iter().map(|letter| (letter.code, letter.reason)).collect();
    let why = |name: &str| ("unavailable".to_owned(), format!("`{}`: it was down", mailboxes.at(name)));
    assert_eq!(refused, [why("broken"), why("two")]);

    // One message for several: who has not got it is told of.
    let config = mailboxes.with(json!({"to": [mailboxes.at("three"), mailboxes.at("later")]}));
    let (first, second) = (Host::new(), Host::new());
    deliver(&first, config.clone(), people(), vec![]).unwrap_err();
    let receipt = give_up(&second, config, people(), first.receipts()).unwrap();
    assert_eq!((receipt.rows, second.rejections().len()), (3, 0));
    let told: Vec<_> = receipt.alerts.into_iter().map(|alert| alert.message).collect();
    assert_eq!(told, [format!("`{}` gets no mail: it was down", mailboxes.at("later"))]);
}

#[test]
fn who_is_to_come_later_does_not_hold_up_the_others() {
    let mailboxes = Mailboxes::new("held-up");
    let to = format!("{{{{ record.name }}}}@{}", mailboxes.domain);
    let config = mailboxes.with(json!({"message": "record", "to": [to]}));
    let people = || vec![people(&["one", "later", "two"])];
    let first = Host::new();
    let error = deliver(&first, config.clone(), people(), vec![]).unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains("later@"), "{error}");
    assert_eq!(mailboxes.taken().len(), 2);
    let receipt = deliver(&Host::new(), config, people(), first.receipts()).unwrap();
    let to: Vec<_> = mailboxes.taken().into_iter().flat_map(|taken| taken.to).collect();
    assert_eq!((receipt.rows, to), (3, vec![mailboxes.at("one"), mailboxes.at("two"), mailboxes.at("later")]));
}

#[test]
fn a_record_whose_message_cannot_be_made_costs_itself() {
    let mailboxes = Mailboxes::new("unmade");
    let host = Host::new();
    let text = "{{ record.name[5:] | int }}";
    let config = mailboxes.with(json!({"message": "record", "subject": "a number", "text": text}));
    let receipt = deliver(&host, config, vec![people(&["Mr.1 7", "Mr.1 no", "Mr.1 8"])], vec![]).unwrap();
    let refused: Vec<_> = host.rejections().into_iter().map(|letter| letter.code).collect();
    assert_eq!((receipt.rows, mailboxes.taken().len(), refused), (2, 2, vec!["template".to_owned()]));
}

#[test]
fn a_receiver_whose_address_the_server_cannot_take_is_refused_alone() {
    let mailboxes = Mailboxes::new("letters");
    let domain = &mailboxes.domain;
    let open = environment("ENGINE_TEST_SMTP_OPEN_PORT").parse::<u16>().unwrap();
    let mut config = mailboxes.with(json!({
        "port": open, "encryption": "none", "message": "record", "to": [format!("{{{{ record.name }}}}@{domain}")],
    }));
    for name in ["username", "password", "ca"] {
        config.as_object_mut().unwrap().remove(name);
    }
    let host = Host::new();
    let receipt = deliver(&host, config, vec![people(&["one", "j\u{f6}rg", "two"])], vec![]).unwrap();
    let refused: Vec<_> = host.rejections().into_iter().map(|letter| letter.code).collect();
    assert_eq!((receipt.rows, refused), (2, vec!["smtp_553".to_owned()]));
    // Where it can, everybody has one.
    let config = mailboxes.with(json!({"to": [format!("j\u{f6}rg@{domain}")]}));
    assert_eq!(deliver(&Host::new(), config, vec![people(&["Ann"])], vec![]).unwrap().rows, 1);
}
