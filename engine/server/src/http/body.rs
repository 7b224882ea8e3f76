//! Members of bodies: how they are read, and described.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// A whole number as JSON Schema has it, `7.0` included, of a size that the state can hold.
struct Whole<T>(T);

impl<'de, T: TryFrom<i64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<T: TryFrom<i64>> de::Visitor<'_> for Visitor<T> {
            type Value = Whole<T>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a whole number of 64 bits")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole<T>, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                T::try_from(number).map(Whole).map_err(wrong)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole<T>, E> {
                match i64::try_from(number) {
                    Ok(number) => self.visit_i64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole<T>, E> {
                // The bounds are 2^63.
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
                match fits && number.fract() == 0.0 {
                    true => self.visit_i64(number as i64),
                    false => Err(E::invalid_type(de::Unexpected::Float(number), &self)),
                }
            }
        }
        from.deserialize_i64(Visitor(PhantomData))
    }
}

/// For a member that is a whole number.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<T, D::Error> {
    Whole::deserialize(from).map(|Whole(number)| number)
}

/// For a member that is a list of them.
pub(crate) fn wholes<'de, D: Deserializer<'de>, T: TryFrom<i64>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Whole<T>>::deserialize(from)?.into_iter().map(|Whole(number)| number).collect())
}

/// How values of parameters are described.
pub(crate) fn values() -> Object {
    let value = [Type::String, Type::Number, Type::Boolean, Type::Null];
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Values of parameters, by name; nothing stands for the default."))
        .additional_properties(Some(ObjectBuilder::new().schema_type(SchemaType::from_iter(value))))
        .build()
}
