//! A delivery as a sink of a pipeline.

use serde_json::{Map, Value, json};

use crate::parameters::{Parameters, json_of};
use crate::tables::{Delivery, Recipient};
use crate::texts::{file_stem, fixed, plain, template};

/// Attempts after the first, and minutes to the second one, where a row does not say.
const RETRIES: i64 = 3;
const MINUTES: i64 = 5;
/// The most attempts after the first, and the most minutes between two.
const MOST_RETRIES: i64 = 100;
const MOST_MINUTES: i64 = 1_440;
/// How long the files of a delivery are kept: an attempt that comes later sends the same ones.
const KEPT: &str = "1d";
/// How the sinks are called, in front of the delivery's id.
const PREFIX: &str = "delivery-";

/// What a report calls its files, and what they are.
#[derive(Debug, Clone)]
pub(crate) struct Form<'a> {
    pub(crate) report: &'a str,
    pub(crate) ending: &'static str,
    pub(crate) format: Value,
    pub(crate) zone: &'a str,
    pub(crate) parameters: &'a Parameters,
}

/// The sink's name.
pub(crate) fn sink_name(delivery: i64) -> String {
    format!("{PREFIX}{delivery}")
}

/// The sink of a delivery. `recipients`: those that are active.
///
/// # Errors
/// What is wrong with the rows, for a person, and without what may be secret.
pub(crate) fn sink(delivery: &Delivery, recipients: &[&Recipient], form: &Form<'_>) -> Result<Value, String> {
    let Value::Object(said) = json_of("delivery_config", &delivery.delivery_config)? else {
        return Err("`delivery_config` is no object".into());
    };
    let mut said = Said { said, form };
    let (component, with) = match delivery.method.as_str() {
        "email" => ("smtp", email(&mut said, recipients)?),
        "sftp" => ("sftp", sftp(&mut said)?),
        "s3" => ("s3", s3(&mut said)?),
        "webhook" => ("http", webhook(&mut said)?),
        "file_share" => ("file", file_share(&mut said)?),
        other => return Err(format!("`method` is `{other}`; there are email, sftp, webhook, s3 and file_share")),
    };
    said.nothing_left()?;
    Ok(json!({
        "use": component,
        "name": sink_name(delivery.id),
        "with": with,
        "format": form.format,
        "keep": KEPT,
        "retry": retry(delivery)?,
    }))
}

/// `retry_interval_minutes`, twice, three times it, as often as `max_retry` says.
fn retry(delivery: &Delivery) -> Result<Value, String> {
    let bounded = |name: &str, value: Option<i64>, usual: i64, most: i64| match value.unwrap_or(usual) {
        value if (0..=most).contains(&value) => Ok(value),
        value => Err(format!("`{name}` is {value}, and is to be from 0 to {most}")),
    };
    let retries = bounded("max_retry", delivery.max_retry, RETRIES, MOST_RETRIES)?;
    let minutes = bounded("retry_interval_minutes", delivery.retry_interval_minutes, MINUTES, MOST_MINUTES)?;
    let longest = format!("{}m", minutes * retries.max(1));
    Ok(json!({"attempts": retries + 1, "backoff": format!("{minutes}m"), "growth": "linear", "max": longest}))
}

/// What `delivery_config` says, of which everything is to be understood.
struct Said<'a> {
    said: Map<String, Value>,
    form: &'a Form<'a>,
}

impl Said<'_> {
    fn value(&mut self, name: &str) -> Option<Value> {
        self.said.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A text; a number is one as well.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(format!("`delivery_config`: `{name}` is no text")),
        }
    }

    fn required(&mut self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("`delivery_config` has no `{name}`"))
    }

    fn port(&mut self, name: &str) -> Result<Option<u16>, String> {
        let port = self.text(name)?.map(|text| text.trim().parse::<u16>());
        port.transpose().map_err(|_| format!("`delivery_config`: `{name}` is no port"))
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::Number(number)) => Ok(Some(number.as_i64() != Some(0))),
            Some(_) => Err(format!("`delivery_config`: `{name}` is true or false")),
        }
    }

    /// Puts texts that are nothing but themselves under the names that the component has for them.
    fn take(&mut self, with: &mut Map<String, Value>, names: &[(&str, &str)]) -> Result<(), String> {
        for (name, setting) in names {
            if let Some(text) = self.text(name)? {
                with.insert((*setting).to_owned(), json!(plain(&text)));
            }
        }
        Ok(())
    }

    /// The file's name. `among_others`: it lies beside those of other runs, some of which begin in the same second.
    fn filename(&mut self, among_others: bool) -> Result<String, String> {
        let Form { report, ending, zone, .. } = self.form;
        match self.text("filename")? {
            Some(text) => self.template("filename", &text),
            None => {
                let stem = fixed(&file_stem(report));
                let run = if among_others { "_{{ run.id[-8:] }}" } else { "" };
                Ok(format!("{stem}_{{{{ run.started | date(\"%Y%m%d_%H%M%S\", \"{zone}\") }}}}{run}.{ending}"))
            }
        }
    }

    fn template(&self, name: &str, text: &str) -> Result<String, String> {
        let value = |asked: &str| match asked {
            "report_name" => Some(fixed(self.form.report)),
            asked => self.form.parameters.value(asked),
        };
        template(text, value).map_err(|why| format!("`delivery_config`: `{name}`: {why}"))
    }

    /// The path of a file: what a row says, and behind a folder the file's name.
    fn path(&mut self, name: &str) -> Result<String, String> {
        let (text, filename) = (self.text(name)?.unwrap_or_default(), self.filename(true)?);
        let path = self.template(name, &text)?;
        let last = text.rsplit('/').next().unwrap_or_default();
        Ok(match () {
            () if text.is_empty() => filename,
            () if text.ends_with('/') => format!("{path}{filename}"),
            // What has an ending is a file.
            () if last.contains('.') && name != "prefix" => path,
            () => format!("{path}/{filename}"),
        })
    }

    fn nothing_left(self) -> Result<(), String> {
        match self.said.into_iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(format!("`delivery_config` has `{name}`, which is not known for this method")),
            None => Ok(()),
        }
    }
}

fn email(said: &mut Said<'_>, recipients: &[&Recipient]) -> Result<Value, String> {
    let mut with = Map::new();
    with.insert("host".into(), json!(plain(&said.required("smtp_server")?)));
    let port = said.port("smtp_port")?;
    let encryption = match (said.flag("use_tls")?.unwrap_or(true), port) {
        (true, Some(465)) => "tls",
        (true, _) => "starttls",
        (false, _) => "none",
    };
    with.insert("encryption".into(), json!(encryption));
    if let Some(port) = port {
        with.insert("port".into(), json!(port));
    }
    let from = said.required("from_email")?;
    with.insert("from".into(), json!(plain(&from)));
    said.take(&mut with, &[("username", "username"), ("password", "password"), ("ca", "ca")])?;
    for recipient in recipients {
        let list = match recipient.recipient_type.to_lowercase().as_str() {
            "to" | "email" | "user" | "" => "to",
            "cc" => "cc",
            "bcc" => "bcc",
            other => return Err(format!("`recipient_type` is `{other}`; there are to, cc and bcc")),
        };
        let list = with.entry(list).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!(fixed(recipient.recipient_value.trim())));
        }
    }
    if !["to", "cc", "bcc"].iter().any(|list| with.contains_key(*list)) {
        return Err("it has no active recipient".into());
    }
    with.entry("to").or_insert_with(|| json!([]));
    let mut values = Map::new();
    let subject = said.text("subject_template")?.unwrap_or_else(|| "{report_name}".to_owned());
    with.insert("subject".into(), json!(message(said, "subject_template", &subject, &mut values)?));
    if let Some(body) = said.text("body_template")? {
        let setting = if body.trim_start().starts_with('<') { "html" } else { "text" };
        with.insert(setting.into(), json!(message(said, "body_template", &body, &mut values)?));
    }
    with.insert("values".into(), values.into());
    with.insert("filename".into(), json!(said.filename(false)?));
    Ok(with.into())
}

/// A template of a message, which names values of the run by `values`.
fn message(said: &Said<'_>, name: &str, text: &str, values: &mut Map<String, Value>) -> Result<String, String> {
    let named = std::cell::RefCell::new(values);
    let value = |asked: &str| {
        let value = match asked {
            "report_name" => fixed(said.form.report),
            asked => said.form.parameters.value(asked)?,
        };
        named.borrow_mut().insert(asked.to_owned(), json!(value));
        Some(format!("{{{{ values.{asked} }}}}"))
    };
    template(text, value).map_err(|why| format!("`delivery_config`: `{name}`: {why}"))
}

fn sftp(said: &mut Said<'_>) -> Result<Value, String> {
    let mut with = Map::new();
    for name in ["host", "username"] {
        with.insert(name.into(), json!(plain(&said.required(name)?)));
    }
    if let Some(port) = said.port("port")? {
        with.insert("port".into(), json!(port));
    }
    let names = ["password", "private_key", "passphrase", "host_key"].map(|name| (name, name));
    said.take(&mut with, &names)?;
    with.insert("path".into(), json!(said.path("remote_path")?));
    with.insert("overwrite".into(), json!(true));
    Ok(with.into())
}

fn s3(said: &mut Said<'_>) -> Result<Value, String> {
    let mut with = Map::new();
    with.insert("bucket".into(), json!(plain(&said.required("bucket")?)));
    let names = ["region", "endpoint", "access_key", "secret_key", "session_token", "ca"].map(|name| (name, name));
    said.take(&mut with, &names)?;
    if said.flag("use_tls")? == Some(false) {
        with.insert("tls".into(), json!("disable"));
    }
    with.insert("path".into(), json!(said.path("prefix")?.trim_start_matches('/')));
    with.insert("overwrite".into(), json!(true));
    Ok(with.into())
}

/// The file is the body, and a header shows who sends it.
fn webhook(said: &mut Said<'_>) -> Result<Value, String> {
    let mut with = Map::new();
    with.insert("url".into(), json!(plain(&said.required("url")?)));
    if let Some(method) = said.text("method")? {
        let method = method.to_uppercase();
        if !["POST", "PUT", "PATCH"].contains(&method.as_str()) {
            return Err(format!("`delivery_config`: `method` is `{method}`; there are POST, PUT and PATCH"));
        }
        with.insert("method".into(), json!(method));
    }
    match said.value("headers") {
        None => {}
        Some(Value::Object(headers)) => {
            let mut own = Map::new();
            for (name, value) in headers {
                let text = match value {
                    Value::String(text) => text,
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    _ => return Err(format!("`delivery_config`: the header `{name}` is no text")),
                };
                own.insert(name, json!(plain(&text)));
            }
            with.insert("headers".into(), own.into());
        }
        Some(_) => return Err("`delivery_config`: `headers` is no object".into()),
    }
    if let Some(secret) = said.text("secret")? {
        with.insert("login".into(), json!({"api_key": {"header": "X-Webhook-Secret", "value": plain(&secret)}}));
    }
    said.take(&mut with, &[("ca", "ca")])?;
    if said.flag("use_tls")? == Some(false) {
        with.insert("tls".into(), json!("disable"));
    }
    with.insert("filename".into(), json!(said.filename(false)?));
    Ok(with.into())
}

fn file_share(said: &mut Said<'_>) -> Result<Value, String> {
    let is_absolute = said.said.get("path").and_then(Value::as_str).is_some_and(|path| path.starts_with('/'));
    if !is_absolute {
        return Err("`delivery_config`: `path` is to begin with `/`".into());
    }
    Ok(json!({"path": said.path("path")?, "overwrite": true}))
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
