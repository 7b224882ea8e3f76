//! What answers mean where the pipeline says more than the status does.

use std::collections::BTreeMap;

use engine_sdk::prelude::*;
use indexmap::IndexMap;

/// What an answer that fits `when` means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which answers. All that is said must hold.
    when: When,
    /// What such an answer means.
    then: Then,
    /// With `reject`: only records are refused whose columns have the values that
    /// the answer has at these JSON Pointers, such as `domainname: /domain`. The
    /// others of the request are sent again without them.
    #[serde(default)]
    of: IndexMap<String, String>,
    /// With `reject`: the code of the dead letters. Unset: `http_STATUS`.
    #[serde(default)]
    code: Option<String>,
    /// A JSON Pointer to the text that says why. Unset: the beginning of the
    /// answer.
    #[serde(default)]
    reason: Option<String>,
    /// Raises an alert, once in a run for each value that answers have at this
    /// JSON Pointer. The empty text is the whole answer.
    #[serde(default)]
    alert: Option<String>,
}

/// Which answers are meant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The status.
    #[serde(default)]
    status: Option<u16>,
    /// A JSON Pointer into the answer, such as `/errors/0/code`. Unset: the whole
    /// answer. An answer that is no JSON, or has nothing there, does not fit.
    #[serde(default)]
    at: Option<String>,
    /// The value there: a text, number, boolean or `null`.
    #[serde(default, deserialize_with = "some")]
    equals: Option<Value>,
    /// What the text there contains, in capitals or not.
    #[serde(default)]
    contains: Option<String>,
}

/// `equals: null` is a value.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What becomes of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Then {
    /// They were taken.
    Accept,
    /// They were not taken, and are sent again as the pipeline's `retry` says.
    Retry,
    /// They are refused, and become dead letters.
    Reject,
    /// The delivery fails.
    Fail,
}

/// What a rule has decided.
#[derive(Debug)]
pub enum Verdict {
    Accepted,
    Retry { reason: String },
    Refused { code: String, reason: String, of: Vec<(String, Value)>, alert: Option<Alert> },
    Fail { reason: String },
}

/// All rules, and what is taken from answers besides.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// By name: where the number stands.
    figures: IndexMap<String, String>,
}

impl Rules {
    /// Checks the settings.
    pub fn new(rules: Vec<Rule>, figures: IndexMap<String, String>) -> Result<Self> {
        for (at, rule) in rules.iter().enumerate() {
            let refuse = |what: &str, hint: &str| Err(Error::config(format!("`answers[{at}]` {what}")).hint(hint));
            let When { status, at: place, equals, contains } = &rule.when;
            if status.is_none() && place.is_none() && equals.is_none() && contains.is_none() {
                return refuse("fits every answer", "say under `when` which `status`, or what stands `at` a place");
            }
            if rule.then != Then::Reject && (rule.code.is_some() || !rule.of.is_empty()) {
                return refuse(
                    "has a `code` or `of`, which only refused records have",
                    "remove them, or write `then: reject`",
                );
            }
            let pointers = place.iter().chain(&rule.reason).chain(&rule.alert).chain(rule.of.values());
            if let Some(wrong) = pointers.into_iter().find(|pointer| !is_pointer(pointer)) {
                return refuse(
                    &format!("has `{wrong}`, which is no JSON Pointer"),
                    "begin it with `/`, such as `/message`",
                );
            }
        }
        if let Some((name, wrong)) = figures.iter().find(|(_, pointer)| !is_pointer(pointer)) {
            return Err(Error::config(format!("the figure `{name}` is at `{wrong}`, which is no JSON Pointer"))
                .hint("begin it with `/`, such as `/matched`"));
        }
        Ok(Self { rules, figures })
    }

    /// Whether one of them refuses records.
    pub fn reject(&self) -> bool {
        self.rules.iter().any(|rule| rule.then == Then::Reject)
    }

    /// Whether the text of an answer counts, besides its status.
    pub fn read_answers(&self) -> bool {
        !self.figures.is_empty() || self.rules.iter().any(Rule::reads)
    }

    /// What the first rule that fits decides; none may. `text` is what of the answer is shown.
    pub fn decide(&self, status: u16, body: &[u8], text: &str) -> Option<Verdict> {
        if self.rules.is_empty() {
            return None;
        }
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let rule = self.rules.iter().find(|rule| rule.when.fits(status, json.as_ref(), body))?;
        let at = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
        let said = rule.reason.as_deref().and_then(at).filter(|value| !value.is_null()).map(plain);
        let reason = said.unwrap_or_else(|| text.to_owned());
        Some(match rule.then {
            Then::Accept => Verdict::Accepted,
            Then::Retry => Verdict::Retry { reason },
            Then::Fail => Verdict::Fail { reason },
            Then::Reject => {
                let of = rule.of.iter().filter_map(|(column, pointer)| Some((column.clone(), at(pointer)?.clone())));
                let code = rule.code.clone().unwrap_or_else(|| format!("http_{status}"));
                let alert = rule.alert.as_deref().map(|pointer| {
                    let value =
                        if pointer.is_empty() { text.to_owned() } else { at(pointer).map(plain).unwrap_or_default() };
                    let about = if value.is_empty() { String::new() } else { format!(" ({value})") };
                    Alert { key: format!("{code}/{value}"), message: format!("{code}{about}: {reason}") }
                });
                Verdict::Refused { code, reason, of: of.collect(), alert }
            }
        })
    }

    /// Adds the numbers of an answer that was taken.
    pub fn figures(&self, body: &[u8], sums: &mut BTreeMap<String, i64>) {
        if self.figures.is_empty() {
            return;
        }
        let Ok(json) = serde_json::from_slice::<Value>(body) else { return };
        for (name, pointer) in &self.figures {
            let number = json.pointer(pointer).and_then(|value| match value {
                Value::Array(list) => i64::try_from(list.len()).ok(),
                Value::String(text) => text.trim().parse().ok(),
                other => other.as_i64(),
            });
            if let Some(number) = number {
                let sum = sums.entry(name.clone()).or_default();
                *sum = sum.saturating_add(number);
            }
        }
    }
}

impl Rule {
    fn reads(&self) -> bool {
        let When { at, equals, contains, .. } = &self.when;
        at.is_some() || equals.is_some() || contains.is_some() || self.alert.is_some() || self.reason.is_some()
    }
}

impl When {
    /// Where it looks, if it does.
    pub fn place(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// Whether an answer is one of these, whatever its status.
    pub fn holds_of(&self, answer: &Value) -> bool {
        self.fits(self.status.unwrap_or(200), Some(answer), answer.to_string().as_bytes())
    }

    fn fits(&self, status: u16, json: Option<&Value>, body: &[u8]) -> bool {
        if self.status.is_some_and(|wanted| wanted != status) {
            return false;
        }
        let found = match &self.at {
            None => json.cloned(),
            Some(pointer) => json.and_then(|json| json.pointer(pointer)).cloned(),
        };
        if self.at.is_some() && found.is_none() {
            return false;
        }
        if let Some(wanted) = &self.equals
            && !found.as_ref().is_some_and(|found| is_same(found, wanted))
        {
            return false;
        }
        self.contains.as_ref().is_none_or(|wanted| {
            let text = match (&self.at, &found) {
                (Some(_), Some(found)) => plain(found),
                _ => String::from_utf8_lossy(body).into_owned(),
            };
            text.to_lowercase().contains(&wanted.to_lowercase())
        })
    }
}

/// Numbers are the same where their values are: `1` and `1.0`.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a record's column has the value that an answer names: texts and numbers alike by what they say.
pub fn names(record: &Value, column: &str, value: &Value) -> bool {
    record.get(column).is_some_and(|found| is_same(found, value) || plain(found) == plain(value))
}

/// What stands at a JSON Pointer, as a text. None: nothing, or `null`.
pub fn pointed(answer: &Value, pointer: &str) -> Option<String> {
    answer.pointer(pointer).filter(|value| !value.is_null()).map(plain)
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: Value) -> Result<Rules> {
        let all: Vec<Rule> = serde_json::from_value(rules).unwrap();
        Rules::new(all, IndexMap::new())
    }

    fn decided(list: Value, status: u16, body: &str) -> Option<Verdict> {
        rules(list).unwrap().decide(status, body.as_bytes(), body)
    }

    #[test]
    fn the_first_rule_of_which_all_holds_decides() {
        let list = json!([
            {"when": {"status": 200, "at": "/success", "equals": false}, "then": "fail", "reason": "/message"},
            {"when": {"at": "/code", "equals": 7}, "then": "retry"},
            {"when": {"status": 409}, "then": "accept"},
        ]);
        let decide = |status, body| decided(list.clone(), status, body);
        assert!(matches!(
            decide(200, r#"{"success": false, "message": "no"}"#), Some(Verdict::Fail { reason }) if reason == "no"
        ));
        assert!(decide(201, r#"{"success": false}"#).is_none());
        assert!(decide(200, r#"{"success": true}"#).is_none());
        assert!(decide(200, "<html>").is_none());
        assert!(matches!(decide(500, r#"{"code": 7.0}"#), Some(Verdict::Retry { .. })));
        assert!(matches!(decide(409, ""), Some(Verdict::Accepted)));
    }

    #[test]
    fn a_refusal_says_of_what_and_why_and_raises_an_alert_by_value() {
        let list = json!([{
            "when": {"at": "/msg", "contains": "domain NOT configured"}, "then": "reject",
            "code": "domain_not_configured", "reason": "/msg", "of": {"domainname": "/domain"}, "alert": "/domain",
        }]);
        let body = r#"{"msg": "Domain not configured!", "domain": "a.example"}"#;
        let Some(Verdict::Refused { code, reason, of, alert }) = decided(list, 200, body) else {
            panic!("not refused")
        };
        assert_eq!((code.as_str(), reason.as_str()), ("domain_not_configured", "Domain not configured!"));
        assert_eq!(of, [("domainname".to_owned(), json!("a.example"))]);
        let alert = alert.unwrap();
        assert_eq!(alert.key, "domain_not_configured/a.example");
        assert_eq!(alert.message, "domain_not_configured (a.example): Domain not configured!");
    }

    #[test]
    fn null_is_a_value_and_nothing_is_none() {
        let list = json!([{"when": {"at": "/error", "equals": null}, "then": "accept"}]);
        assert!(decided(list.clone(), 500, r#"{"error": null}"#).is_some());
        assert!(decided(list, 500, "{}").is_none());
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for (list, says) in [
            (json!([{"when": {}, "then": "accept"}]), "fits every answer"),
            (json!([{"when": {"status": 200}, "then": "accept", "code": "x"}]), "only refused records"),
            (json!([{"when": {"at": "msg", "equals": 1}, "then": "fail"}]), "no JSON Pointer"),
        ] {
            let error = rules(list).unwrap_err();
            assert!(error.message.contains(says) && error.hint.is_some(), "{error}");
        }
        let figures = [("matched".to_owned(), "matched".to_owned())].into_iter().collect();
        assert!(Rules::new(vec![], figures).unwrap_err().message.contains("figure `matched`"));
    }

    #[test]
    fn figures_are_numbers_or_lengths_of_lists_and_are_added_up() {
        let figures = [("matched", "/matched"), ("unmatched", "/lists/1"), ("absent", "/none")];
        let figures = figures.map(|(name, pointer)| (name.to_owned(), pointer.to_owned())).into_iter().collect();
        let rules = Rules::new(vec![], figures).unwrap();
        let mut sums = BTreeMap::new();
        rules.figures(br#"{"matched": 3, "lists": [[], ["a", "b"]]}"#, &mut sums);
        rules.figures(br#"{"matched": "4"}"#, &mut sums);
        rules.figures(b"no JSON", &mut sums);
        assert_eq!(sums, [("matched".to_owned(), 7), ("unmatched".to_owned(), 2)].into());
    }

    #[test]
    fn a_record_is_named_by_what_its_column_says() {
        let record = json!({"domain": "a.example", "id": 7});
        assert!(names(&record, "domain", &json!("a.example")) && names(&record, "id", &json!("7")));
        assert!(!names(&record, "domain", &json!("b.example")) && !names(&record, "other", &json!(null)));
    }
}
