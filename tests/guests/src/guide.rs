//! Does what docs/plugin-guide.md says, command by command, in an empty folder.

use std::path::PathBuf;
use std::process::Command;

use engine_abi::{Error, Result};
use engine_author::Language;
use serde_json::{Value, json};

use crate::stamp::Stamp;
use crate::{folder, root};

/// A command of the guide, and what came of it.
#[derive(Debug)]
pub struct Step {
    /// As the guide has it.
    pub command: String,
    /// Its exit code.
    pub code: Option<i64>,
    /// What it printed.
    pub output: String,
}

/// The commands of a language's section.
fn commands(language: Language) -> Result<Vec<String>> {
    let guide = std::fs::read_to_string(root().join("docs/plugin-guide.md"))?;
    let wanted = format!("## {}", language.as_str());
    let section = guide.split("\n## ").find(|section| format!("## {section}").to_lowercase().starts_with(&wanted));
    let block = section.and_then(|section| section.split("```sh\n").nth(1)).and_then(|rest| rest.split("```").next());
    let block = block.ok_or_else(|| Error::internal(format!("the guide has no commands for {}", language.as_str())))?;
    Ok(block.lines().map(ToOwned::to_owned).collect())
}

fn record(language: Language) -> PathBuf {
    folder().join("guide").join(format!("{}.json", language.as_str()))
}

/// Where the commands of a language are run.
pub fn place(language: Language) -> PathBuf {
    folder().join("guide").join(language.as_str())
}

/// Runs the commands of a language, unless nothing has changed since the last time.
pub fn follow(language: Language) -> Result<()> {
    let place = place(language);
    let engine = folder().join("../debug/engine");
    let sources = [
        "docs/plugin-guide.md",
        "engine/abi",
        "engine/author",
        "engine/cli/src/plugins",
        "engine/sdk",
        "engine/wasm/src",
        "schemas/plugin.wit",
    ];
    let stamp = Stamp::of(&place.with_extension("stamp"), sources.iter().map(|path| root().join(path)));
    if stamp.holds() {
        return Ok(());
    }
    println!("guests: doing what the guide says for {}", language.as_str());
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place)?;
    let bin = engine.parent().unwrap_or(&place).canonicalize()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut current = place.canonicalize()?;
    let mut steps = Vec::new();
    for command in commands(language)? {
        if let Some(into) = command.strip_prefix("cd ") {
            current = current.join(into);
            continue;
        }
        let output = Command::new("bash")
            .args(["-c", &command])
            .current_dir(&current)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env_remove("ENGINE_STATE")
            // What was compiled before is not compiled again.
            .env("CARGO_TARGET_DIR", folder().join("guide/target"))
            .output()?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let code = output.status.code();
        steps.push(json!({"command": command, "code": code, "output": text}));
        if code != Some(0) {
            println!("guests: `{command}` ended with {code:?}:\n{text}");
            break;
        }
    }
    let worked = steps.iter().all(|step| step["code"] == 0);
    std::fs::write(record(language), Value::from(steps).to_string())?;
    // What failed is tried again: it may have been the network.
    if worked { stamp.set() } else { Ok(()) }
}

/// What came of the commands.
pub fn followed(language: Language) -> Vec<Step> {
    let text = std::fs::read_to_string(record(language)).expect("run `make guests`");
    let steps: Vec<Value> = serde_json::from_str(&text).expect("it was just written");
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    steps
        .iter()
        .map(|step| Step { command: text(step, "command"), code: step["code"].as_i64(), output: text(step, "output") })
        .collect()
}
