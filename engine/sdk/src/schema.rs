//! A configuration's JSON Schema, as strict as the type that reads it.

use engine_abi::{Error, Result};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The schema of a configuration's type.
pub(crate) fn of<C: JsonSchema>() -> Value {
    let mut schema = schema_for!(C);
    RecursiveTransform(bound).transform(&mut schema);
    close(&mut schema);
    schema.into()
}

/// Reads a configuration, and refuses what its schema refuses: the engine has
/// asked the schema before, a test of the author's has not.
pub(crate) fn read<C: DeserializeOwned + JsonSchema>(config: Value) -> Result<C> {
    // serde would read a struct from a list as well.
    let Value::Object(members) = &config else {
        return Err(Error::config("the configuration does not fit: it must be an object"));
    };
    let schema = of::<C>();
    let known = |name: &String| schema["properties"].get(name).is_some();
    if schema["additionalProperties"] == false
        && let Some(unknown) = members.keys().find(|name| !known(name))
    {
        let names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let hint = format!("the settings are {}", names.collect::<Vec<_>>().join(", "));
        return Err(Error::config(format!("the configuration does not fit: unknown setting `{unknown}`")).hint(hint));
    }
    serde_json::from_value(config).map_err(|error| Error::config(format!("the configuration does not fit: {error}")))
}

/// A number that its type cannot hold is found where the schema is asked, which
/// knows the setting and its line; serde knows neither.
fn bound(schema: &mut Schema) {
    let limits = match schema.get("format").and_then(Value::as_str) {
        Some("int8") => (json!(i8::MIN), json!(i8::MAX)),
        Some("int16") => (json!(i16::MIN), json!(i16::MAX)),
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        // The description must not depend on the machine.
        Some("int64" | "int") => (json!(i64::MIN), json!(i64::MAX)),
        Some("uint8") => (json!(0), json!(u8::MAX)),
        Some("uint16") => (json!(0), json!(u16::MAX)),
        Some("uint32") => (json!(0), json!(u32::MAX)),
        Some("uint64" | "uint") => (json!(0), json!(u64::MAX)),
        _ => return,
    };
    let Some(object) = schema.as_object_mut() else { return };
    for (word, exclusive, limit) in
        [("minimum", "exclusiveMinimum", limits.0), ("maximum", "exclusiveMaximum", limits.1)]
    {
        if !object.contains_key(exclusive) {
            object.entry(word).or_insert(limit);
        }
    }
}

/// A struct without `deny_unknown_fields` does not mean to take misspelt
/// settings. One that does mean it says so: it flattens a map.
fn close(schema: &mut Schema) {
    const DECIDED: [&str; 7] =
        ["additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"];
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("type").is_some_and(|kind| kind == "object") && !DECIDED.iter().any(|word| object.contains_key(*word))
    {
        object.insert("additionalProperties".into(), json!(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Forgetful {
        from: u32,
        #[schemars(range(min = 1, max = 9))]
        step: Option<i64>,
        nested: Option<Vec<Nested>>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Nested {
        port: u16,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Willing {
        #[serde(flatten)]
        rest: BTreeMap<String, u64>,
    }

    #[test]
    fn a_number_has_the_limits_of_its_type() {
        let schema = of::<Forgetful>();
        assert_eq!((&schema["properties"]["from"]["minimum"]), 0);
        assert_eq!((&schema["properties"]["from"]["maximum"]), u32::MAX);
        assert_eq!((&schema["properties"]["step"]["maximum"]), 9);
        assert_eq!((&schema["$defs"]["Nested"]["properties"]["port"]["maximum"]), u16::MAX);
    }

    #[test]
    fn a_configuration_takes_unknown_settings_only_if_it_says_so() {
        assert_eq!(of::<Forgetful>()["additionalProperties"], false);
        assert_eq!(read::<Forgetful>(json!({"from": 1})), Ok(Forgetful { from: 1, step: None, nested: None }));
        assert_eq!(
            read::<Forgetful>(json!({"from": 1, "stp": 2})),
            Err(Error::config("the configuration does not fit: unknown setting `stp`")
                .hint("the settings are from, step, nested"))
        );
        assert_ne!(of::<Willing>()["additionalProperties"], false);
        assert_eq!(read::<Willing>(json!({"any": 1})).unwrap().rest["any"], 1);
    }

    #[test]
    fn a_list_is_no_configuration() {
        let error = read::<Forgetful>(json!([1, null, null])).unwrap_err();
        assert_eq!(error.message, "the configuration does not fit: it must be an object");
    }
}
