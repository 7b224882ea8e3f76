//! `engine plugins new` and `engine plugins build`: modules of one's own.

use std::path::Path;

use engine_abi::{ComponentKind, Result};
use engine_author::{Build, New};
use engine_host::Modules;
use serde_json::json;

use crate::arguments::{BuildModule, Global, Kind, NewModule, Target};
use crate::exit::Exit;
use crate::{console, output};

pub fn new(global: &Global, command: &NewModule) -> crate::Result {
    let kind = match command.kind {
        Kind::Source => ComponentKind::Source,
        Kind::Transform => ComponentKind::Transform,
        Kind::Format => ComponentKind::Format,
        Kind::Sink => ComponentKind::Sink,
    };
    let name = engine_author::create(&New { folder: &command.folder, kind, language: command.lang })?;
    if global.json {
        output::json(&json!({"folder": command.folder, "kind": kind, "name": name, "language": command.lang.as_str()}));
        return Ok(Exit::Done);
    }
    let folder = command.folder.display();
    console::line(&format!("made {folder}: the {kind} `{name}` in {}", command.lang.as_str()));
    console::line("");
    console::line("Next:");
    if command.folder != Path::new(".") {
        let quote = if folder.to_string().contains(char::is_whitespace) { "'" } else { "" };
        console::line(&format!("  cd {quote}{folder}{quote}"));
    }
    console::line("  engine plugins build       build it");
    console::line("  engine plugins test        does it keep to the contract of its kind?");
    console::line("  engine run pipeline.yaml   use it");
    Ok(Exit::Done)
}

pub fn build(global: &Global, command: &BuildModule) -> crate::Result {
    let target = command.target.map(|target| match target {
        Target::Native => engine_author::Target::Native,
        Target::Wasm => engine_author::Target::Wasm,
    });
    let modules = Modules::discover(&[], None);
    let componentize = |request: &_, bytes: &[u8]| modules.componentize(request, bytes);
    let built = engine_author::build(&Build { folder: &command.folder, target, componentize: &componentize })?;
    describe(&built.module)?;
    if global.json {
        output::json(&json!({"module": built.module, "bytes": built.bytes}));
    } else {
        let shown = built.module.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&built.module);
        console::line(&format!("built {} ({} KiB)", shown.display(), built.bytes.div_ceil(1024)));
    }
    Ok(Exit::Done)
}

/// Lets the components of a WASM module say what they are: what is built must be what its manifest lists.
/// Its machine code is kept, so that this is also the wait that its first use would be.
fn describe(module: &Path) -> Result<()> {
    if module.extension().is_none_or(|extension| extension != "wasm") {
        return Ok(());
    }
    let modules = Modules::from_file(module)?;
    for (kind, name) in modules.names() {
        let described = modules.component(kind, &name);
        described.map_err(|error| error.context(format_args!("{} was built, and cannot be used", module.display())))?;
    }
    Ok(())
}
