//! What can be wrong with how a component describes itself, takes its
//! configuration and checks it.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use engine_sdk::prelude::*;
use schemars::{Schema as JsonSchemaDocument, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;

/// How a component comes to be; what it does then is hand rows on.
pub trait Rules: Send + 'static {
    /// As in [`Component::Config`].
    type Config: DeserializeOwned + JsonSchema;

    /// As in [`Component::examples`].
    fn examples() -> Vec<Example> {
        vec![example("a column", json!({"column": "text"}))]
    }

    /// As in [`Component::open`].
    fn open(_: Self::Config) -> Result<()> {
        Ok(())
    }

    /// As in [`Component::check`].
    fn check() -> Result<CheckReport> {
        Ok(CheckReport { summary: "nothing to check".into() })
    }
}

/// A transform that follows some rules and breaks others.
pub struct Configured<R>(PhantomData<R>);

impl<R: Rules> Component for Configured<R> {
    type Config = R::Config;
    const SUMMARY: &'static str = "Hands rows on";

    fn examples() -> Vec<Example> {
        R::examples()
    }

    fn open(config: R::Config, _: Context) -> Result<Self> {
        R::open(config)?;
        Ok(Self(PhantomData))
    }

    fn check(&mut self) -> Result<CheckReport> {
        R::check()
    }
}

impl<R: Rules> Transform for Configured<R> {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        Ok(input)
    }
}

/// A configuration as it should be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sound {
    /// The column to look at.
    #[allow(dead_code, reason = "only its schema matters")]
    column: String,
}

/// A configuration that takes settings which it does not know.
#[derive(Deserialize, JsonSchema)]
pub struct Open {
    /// The column to look at.
    #[allow(dead_code, reason = "only its schema matters")]
    column: String,
    #[allow(dead_code, reason = "only its schema matters")]
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A configuration that does not say what becomes of settings which it does not know.
#[derive(Deserialize, JsonSchema)]
pub struct Undecided {
    /// The column to look at.
    #[allow(dead_code, reason = "only its schema matters")]
    column: String,
}

/// A configuration whose setting is explained nowhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Undescribed {
    #[allow(dead_code, reason = "only its schema matters")]
    column: String,
}

/// A configuration whose schema promises more than its reader does.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Anything(Value);

impl JsonSchema for Anything {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaDocument {
        let text = generator.subschema_for::<String>();
        let mut column = text.to_value();
        column["description"] = json!("The column to look at.");
        json_schema!({
            "type": "object", "additionalProperties": false,
            "properties": {"column": column}, "required": ["column"],
        })
    }
}

/// Takes settings that it does not know, and says so in its schema.
pub struct TakesUnknownSettings;

impl Rules for TakesUnknownSettings {
    type Config = Open;
}

/// Leaves `deny_unknown_fields` out; the SDK refuses them all the same.
pub struct ForgetsToDeny;

impl Rules for ForgetsToDeny {
    type Config = Undecided;
}

/// Has a setting that it does not explain.
pub struct DescribesNothing;

impl Rules for DescribesNothing {
    type Config = Undescribed;
}

/// Shows an example that does not fit its own schema.
pub struct ShowsWhatDoesNotWork;

impl Rules for ShowsWhatDoesNotWork {
    type Config = Sound;

    fn examples() -> Vec<Example> {
        vec![example("a column", json!({"column": "text"})), example("a number", json!({"column": 7}))]
    }
}

/// Opens with whatever it gets.
pub struct TakesAnything;

impl Rules for TakesAnything {
    type Config = Anything;
}

/// Panics when a setting is missing.
pub struct PanicsInOpen;

impl Rules for PanicsInOpen {
    type Config = Anything;

    fn open(config: Anything) -> Result<()> {
        let members = config.0.as_object().expect("the configuration is an object");
        assert_eq!(members.len(), 1);
        assert!(members["column"].is_string());
        Ok(())
    }
}

/// Refuses a wrong configuration with a kind that means something else.
pub struct BlamesTheLogin;

impl Rules for BlamesTheLogin {
    type Config = Anything;

    fn open(config: Anything) -> Result<()> {
        let column =
            config.0.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("column"));
        match column.and_then(Value::as_str) {
            Some(_) => Ok(()),
            None => Err(Error::denied("the configuration is wrong")),
        }
    }
}

/// Checks, and keeps what it found to itself.
pub struct SaysNothingInCheck;

impl Rules for SaysNothingInCheck {
    type Config = Sound;

    fn check() -> Result<CheckReport> {
        Ok(CheckReport::default())
    }
}

/// Calls a bug what is none.
pub struct FailsInCheck;

impl Rules for FailsInCheck {
    type Config = Sound;

    fn check() -> Result<CheckReport> {
        Err(Error::internal("the server cannot be reached"))
    }
}
