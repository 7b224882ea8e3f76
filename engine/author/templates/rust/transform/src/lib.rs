//! Brings phone numbers into one form: `+`, country and digits.

use engine_sdk::prelude::*;

/// The settings, as a pipeline has them under `with:`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The text column with the numbers.
    column: String,
}

pub struct PhoneNumbers(Config, Context);

impl Component for PhoneNumbers {
    type Config = Config;
    const SUMMARY: &'static str = "Brings phone numbers into one form";

    fn examples() -> Vec<Example> {
        vec![example("the number of a caller", json!({"column": "caller"}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self(config, cx))
    }
}

impl Transform for PhoneNumbers {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        map_text(input, &self.1, &self.0.column, |text| {
            let digits: String = text.chars().filter(|it| !" ()/.-".contains(*it)).collect();
            let number = match digits.strip_prefix('+').or_else(|| digits.strip_prefix("00")) {
                Some(number) => number.to_owned(),
                None => digits.replacen('0', "49", usize::from(digits.starts_with('0'))),
            };
            match number.len() >= 5 && number.bytes().all(|it| it.is_ascii_digit()) {
                true => Verdict::Keep(format!("+{number}")),
                false => Verdict::Reject { code: "bad_number", reason: format!("`{text}` is no phone number") },
            }
        })
    }
}

engine_sdk::module!("{{name}}": transform "{{name}}" => PhoneNumbers);

#[cfg(test)]
mod tests {
    use arrow_array::create_array;
    use engine_sdk::testing::Host;

    use super::*;

    #[test]
    fn every_way_to_write_a_number_becomes_the_same_and_words_are_refused() {
        let host = Host::new();
        let mut numbers: PhoneNumbers = host.open(json!({"column": "caller"})).unwrap();
        let callers = create_array!(Utf8, [Some("030 / 123-456"), Some("0049 (30) 123456"), Some("unknown"), None]) as _;
        let rows = RecordBatch::try_from_iter_with_nullable([("caller", callers, true)]).unwrap();
        let out = numbers.apply(Batches::once(rows)).unwrap().next().unwrap().unwrap();
        let expected = create_array!(Utf8, [Some("+4930123456"), Some("+4930123456"), None]) as _;
        assert_eq!(out.column(0), &expected);
        assert_eq!(host.rejections()[0].code, "bad_number");
    }
}
