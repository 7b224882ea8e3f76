//! Puts every delivery into a folder, as a file of its own.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use engine_sdk::file_pieces;
use engine_sdk::prelude::*;

/// Where the files go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder, relative to the pipeline file. It must exist.
    folder: Template,
}

struct DropBox {
    folder: PathBuf,
    cx: Context,
}

impl DropBox {
    /// A name that no other delivery of any engine has: the key as a file name.
    fn published(&self, delivery: &Delivery) -> PathBuf {
        self.folder.join(delivery.key.replace('/', "."))
    }

    /// Where it is written first. Readers of the folder ignore hidden files.
    fn unfinished(&self, delivery: &Delivery) -> PathBuf {
        self.folder.join(format!(".{}.part", delivery.key.replace('/', ".")))
    }

    fn receipt(&self, delivery: &Delivery) -> Result<Receipt> {
        let path = self.published(delivery);
        let bytes = path.metadata()?.len();
        Ok(Receipt { bytes, location: Some(path.display().to_string()), ..Receipt::default() })
    }
}

impl Component for DropBox {
    type Config = Config;
    const SUMMARY: &'static str = "Puts every delivery into a folder, as a file of its own";

    fn examples() -> Vec<Example> {
        vec![example("beside the pipeline file", json!({"folder": "."}))]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        Ok(Self { folder: cx.resolve(&*config.folder), cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        if !self.folder.is_dir() {
            return Err(Error::config(format!("{} is not a folder", self.folder.display())).hint("make it first"));
        }
        Ok(CheckReport { summary: format!("writes into {}", self.folder.display()) })
    }
}

impl Sink for DropBox {
    const TAKES: Takes = Takes::Files;
    const PROMISE: Promise = Promise::Idempotent;
    const UNIT: Unit = Unit::Split;

    fn begin_split(&mut self, delivery: &Delivery) -> Result<Begun> {
        if self.published(delivery).exists() {
            return Ok(Begun::Committed { receipt: self.receipt(delivery)? });
        }
        self.abort(delivery)?;
        Ok(Begun::New)
    }

    fn write(&mut self, delivery: &Delivery, input: Batches) -> Result<Sealed> {
        let path = self.unfinished(delivery);
        let writing = |error: std::io::Error| Error::from(error).context(format_args!("writing {}", path.display()));
        let mut file = File::create(&path).map_err(writing)?;
        let mut bytes = 0;
        for batch in input {
            self.cx.check_cancelled()?;
            for (_, data) in file_pieces(&batch?)? {
                file.write_all(data).map_err(writing)?;
                bytes += data.len() as u64;
            }
        }
        file.sync_all().map_err(writing)?;
        Ok(Sealed { bytes, ..Sealed::default() })
    }

    fn commit(&mut self, delivery: &Delivery) -> Result<Receipt> {
        let path = self.published(delivery);
        if !path.exists() {
            let publishing =
                |error: std::io::Error| Error::from(error).context(format_args!("publishing {}", path.display()));
            std::fs::rename(self.unfinished(delivery), &path).map_err(publishing)?;
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(publishing)?;
        }
        self.receipt(delivery)
    }

    fn abort(&mut self, delivery: &Delivery) -> Result<()> {
        match std::fs::remove_file(self.unfinished(delivery)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

engine_sdk::module!("drop_box": sink "drop_box" => DropBox);

#[cfg(test)]
mod tests {
    use engine_sdk::testing::Host;
    use engine_sdk::{file_piece, files_schema};

    use super::*;

    #[test]
    fn nothing_is_seen_before_commit_and_a_second_engine_start_finds_it_there() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::in_folder(folder.path());
        let delivery = Delivery { key: "s/calls/box/1/0000".into(), ..Delivery::default() };
        let config = json!({"folder": "."});

        let mut sink: DropBox = host.open(config.clone()).unwrap();
        assert_eq!(sink.begin_split(&delivery).unwrap(), Begun::New);
        let pieces = vec![Ok(file_piece("", b"one,")), Ok(file_piece("", b"two\n"))];
        let sealed = sink.write(&delivery, Batches::new(files_schema(), pieces.into_iter())).unwrap();
        assert_eq!(sealed.bytes, 8);
        assert!(!folder.path().join("s.calls.box.1.0000").exists());
        sink.commit(&delivery).unwrap();
        assert_eq!(std::fs::read(folder.path().join("s.calls.box.1.0000")).unwrap(), b"one,two\n");

        let mut sink: DropBox = host.open(config).unwrap();
        assert!(matches!(sink.begin_split(&delivery).unwrap(), Begun::Committed { .. }));
    }
}
