//! Options of drivers, which have names and values that only a driver knows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine_sdk::prelude::*;
use schemars::{Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde::Deserializer;

/// Options by their names, as the driver's documentation has them.
pub type Options = BTreeMap<String, OptionText>;
/// Options that may hold a password.
pub type SecretOptions = BTreeMap<String, SecretText>;

/// An option's value: a text, a number, `true` or `false`. Drivers take all of them as texts.
#[derive(Debug, Clone)]
pub struct OptionText(pub String);

impl<'de> Deserialize<'de> for OptionText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Text(String),
            Whole(i64),
            Number(f64),
            Switch(bool),
        }
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Text(text) => text,
            Any::Whole(number) => number.to_string(),
            Any::Number(number) => number.to_string(),
            Any::Switch(switch) => switch.to_string(),
        }))
    }
}

impl JsonSchema for OptionText {
    fn schema_name() -> Cow<'static, str> {
        "OptionText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({"type": ["string", "integer", "number", "boolean"]})
    }
}

/// As [`OptionText`], and a secret.
#[derive(Debug, Clone)]
pub struct SecretText(pub Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OptionText::deserialize(deserializer).map(|text| Self(Secret::new(text.0)))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({"type": ["string", "integer", "number", "boolean"], "format": "secret", "writeOnly": true})
    }
}
