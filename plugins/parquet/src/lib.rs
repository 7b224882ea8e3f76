//! Parquet, in both directions.
//!
//! Writing holds one group of rows, and gives the file piece by piece. Reading
//! puts each file aside until it is whole, since what is in it stands at its end.

mod chunks;
mod decode;
mod encode;
mod footer;
mod guard;
mod pages;
mod spool;
#[cfg(test)]
mod tests;
mod thrift;
mod types;

use engine_sdk::prelude::*;

/// How the file looks. Settings marked "writing" matter in that direction alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which columns to read or write, in this order. Without it, all of them.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Writing: how values are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Writing: how much time to spend on compressing: 1 to 19 with `zstd` (without
    /// it 3), 1 to 9 with `gzip` (without it 6). The others have no levels.
    #[serde(default)]
    #[schemars(range(min = 1, max = 19))]
    pub level: Option<u8>,
    /// Writing: how large a group of rows gets, compressed, before it goes out: 64KiB
    /// to 1GiB. It ends after 1,048,576 rows in any case. Larger groups make files a
    /// little smaller and read faster; two to three times as much is held in memory.
    #[serde(default = "sixteen_mebibytes")]
    pub row_group: ByteSize,
}

/// How values are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Fast, and read by everyone.
    #[default]
    Snappy,
    /// The smallest files in good time.
    Zstd,
    /// For readers that know nothing newer.
    Gzip,
    /// As fast as Snappy. Older readers do not know it.
    Lz4,
    /// Not at all.
    None,
}

fn sixteen_mebibytes() -> ByteSize {
    ByteSize(16 * 1024 * 1024)
}

/// The format, in both directions.
pub struct Parquet {
    config: Config,
    cx: Context,
}

impl Component for Parquet {
    type Config = Config;
    const SUMMARY: &'static str = "Parquet files";

    fn examples() -> Vec<Example> {
        vec![
            example("as the rows are", json!({})),
            example(
                "some columns, compressed well",
                json!({"columns": ["text", "n"], "compression": "zstd", "level": 9}),
            ),
            example("large groups, for large tables", json!({"row_group": "64MiB"})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        encode::properties(&config)?;
        if let Some((at, name)) =
            config.columns.iter().enumerate().find(|(at, name)| config.columns[..*at].contains(name))
        {
            return Err(Error::config(format!("`columns` names `{name}` again in place {}", at + 1)));
        }
        Ok(Self { config, cx })
    }
}

impl Decoder for Parquet {
    fn decode(&mut self, input: Batches) -> Result<Batches> {
        decode::decode(&self.config, self.cx.clone(), input)
    }
}

impl Encoder for Parquet {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.config, self.cx.clone(), input)
    }
}

engine_sdk::module!("parquet": format "parquet" => Parquet);
