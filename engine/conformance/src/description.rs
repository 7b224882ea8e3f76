//! What holds for every component, whatever its kind: its description, how it
//! takes configurations, and that instances do not know of each other.

use std::sync::Arc;

use engine_abi::message::{PlanRequest, Split};
use engine_abi::{ComponentKind, ErrorKind};
use serde_json::{Value, json};

use crate::subject::{Stop, Subject, Verdict, is_bug, request, require, sandbox};
use crate::suite::Session;
use crate::{Check, Recorder, flow, source};

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::Schema, schema);
    subject.check(session, Check::Examples, examples);
    subject.check(session, Check::BadConfig, bad_config);
    subject.check(session, Check::CheckCall, check_call);
    subject.check(session, Check::Neighbours, neighbours);
}

fn schema(subject: &Subject) -> Verdict {
    let description = subject.component.description();
    require(!description.summary.trim().is_empty(), || "the summary is empty".into())?;
    jsonschema::meta::validate(&description.schema)
        .map_err(|error| Stop::Failed(format!("the schema is not a JSON Schema: {error}")))?;
    require(description.schema["type"] == "object", || "the schema is not of an object".into())?;
    require(description.schema["additionalProperties"] == false, || {
        "the schema takes unknown settings: `additionalProperties` is not false".into()
    })?;
    let settings = description.schema["properties"].as_object().into_iter().flatten();
    for (name, setting) in settings {
        let described = setting["description"].as_str().is_some_and(|text| !text.trim().is_empty());
        require(described, || format!("the setting `{name}` has no description"))?;
    }
    Ok(())
}

fn examples(subject: &Subject) -> Verdict {
    let description = subject.component.description();
    let validator = jsonschema::validator_for(&description.schema)
        .map_err(|error| Stop::Failed(format!("the schema cannot be used: {error}")))?;
    require(!description.examples.is_empty(), || "there is no example".into())?;
    for example in &description.examples {
        require(!example.title.trim().is_empty(), || "an example has no title".into())?;
        if let Err(error) = validator.validate(&example.config) {
            return Err(Stop::Failed(format!("the example `{}` does not fit the schema: {error}", example.title)));
        }
    }
    Ok(())
}

/// Configurations that cannot be right, made from one that is.
fn wrong_configs(schema: &Value, good: &Value) -> Vec<(String, Value)> {
    let mut wrong = vec![
        ("a number".to_owned(), json!(7)),
        ("a text".to_owned(), json!("config")),
        ("null".to_owned(), json!(null)),
        ("a list".to_owned(), json!([])),
    ];
    let mut unknown = good.clone();
    unknown["no_such_setting"] = json!(1);
    wrong.push(("an unknown setting".into(), unknown));
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !required.is_empty() {
        wrong.push(("nothing at all".into(), json!({})));
    }
    for name in good.as_object().into_iter().flatten().map(|(name, _)| name) {
        // No setting of any type takes a list of objects in a list.
        let mut mistyped = good.clone();
        mistyped[name] = json!([[{"wrong": ["type"]}]]);
        wrong.push((format!("a wrong type for `{name}`"), mistyped));
    }
    for name in required {
        let mut missing = good.clone();
        if missing.as_object_mut().is_some_and(|members| members.shift_remove(name).is_some()) {
            wrong.push((format!("`{name}` missing"), missing));
        }
    }
    wrong
}

fn bad_config(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let good = place.fill(subject.config()?, 1)?;
    for (what, config) in wrong_configs(&subject.component.description().schema, &good) {
        match subject.component.open(
            &request(&place, &config, subject.takes()),
            &sandbox(&place),
            Arc::new(Recorder::default()),
        ) {
            Ok(_) => return Err(Stop::Failed(format!("{what} was accepted"))),
            Err(error) => {
                require(error.kind == ErrorKind::Config, || {
                    format!("{what} was answered with {}: {error}", error.kind)
                })?;
                require(!error.message.trim().is_empty(), || format!("{what} was refused without a message"))?;
            }
        }
    }
    Ok(())
}

fn check_call(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let (mut instance, _) = subject.open(&place, 1)?;
    match instance.check() {
        Ok(found) => {
            let lines = found.summary.trim().lines().count();
            require(lines == 1, || format!("the summary has {lines} lines instead of one"))
        }
        Err(error) if is_bug(&error) => Err(error.into()),
        Err(error) => require(!error.message.trim().is_empty(), || format!("{} without a message", error.kind)),
    }
}

fn neighbours(subject: &Subject) -> Verdict {
    let place = source::filled_place(subject)?;
    let (mut failing, _) = subject.open(&place, 1)?;
    let (mut other, _) = subject.open(&place, 1)?;
    let before = other.check().map_err(|error| error.kind);
    let description = subject.component.description();
    match description.kind {
        ComponentKind::Transform | ComponentKind::Format => {
            flow::fail_on_purpose(subject, &mut failing)?;
            // While the failed one is still there: it may hold what the other needs.
            flow::work(subject, &mut other)?;
        }
        ComponentKind::Source if !description.push => {
            let nonsense = Split { id: "0000".into(), spec: json!({"no_such_place": true}), ..Split::default() };
            // Some sources ignore what they do not know; what matters is that nothing breaks.
            if let Ok(rows) = failing.read(&nonsense) {
                rows.take(1).for_each(drop);
            }
            other.plan(&PlanRequest::default())?;
        }
        _ => {}
    }
    let after = other.check().map_err(|error| error.kind);
    require(before.is_ok() == after.is_ok(), || format!("check answered {before:?} before and {after:?} after"))
}
