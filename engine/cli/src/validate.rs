//! `engine validate`: everything that is wrong with pipeline files, at once.

use engine_spec::Diagnostics;

use crate::arguments::{Files, Global};
use crate::exit::{Exit, style};
use crate::project::{CONNECTIONS, Project};
use crate::{connections, console, output, places};

pub fn run(global: &Global, command: &Files) -> crate::Result {
    let state = places::state_for(global, &command.files).unwrap_or_default();
    let project = Project::load(global, &command.files, &state)?;
    let mut all = Diagnostics::new();
    for file in &project.files {
        all.extend(file.diagnostics.clone());
    }
    let named: Vec<_> =
        command.files.iter().filter(|path| path.file_name().is_some_and(|name| name == CONNECTIONS)).collect();
    let mut sound = Vec::new();
    for path in named {
        if let Err(error) = std::fs::metadata(path) {
            return Err(engine_abi::Error::from(error).context(path.display()).into());
        }
        let (around, _, found) = connections::examine(global, &places::folder_of(path)?)?;
        sound.push((path, around.connections.entries.len() as u64, !found.has_errors()));
        all.extend(found);
    }
    all.sort();
    let refusals = project.refusals();
    let valid = !all.has_errors() && refusals.is_empty();
    if global.json {
        let named = project.files.iter().map(|file| &file.path).chain(sound.iter().map(|(path, ..)| *path));
        let files: Vec<_> = named.map(|path| path.display().to_string()).collect();
        output::json(&serde_json::json!({"valid": valid, "files": files, "diagnostics": all, "errors": refusals}));
    } else {
        if !all.is_empty() {
            console::error_line(all.render(style()).trim_end());
        }
        for error in &refusals {
            console::error_line(&format!("error: {error}"));
        }
        for file in &project.files {
            if let Some(pipeline) = file.pipeline.as_ref().filter(|_| refusals.is_empty()) {
                console::line(&format!("{}: pipeline {} is valid", file.path.display(), pipeline.name));
            }
        }
        for (path, count, _) in sound.iter().filter(|(.., valid)| *valid) {
            let holds = output::counted(*count, "connection");
            console::line(&format!("{}: {holds}, valid", path.display()));
        }
        if !all.is_empty() && refusals.is_empty() {
            console::error_line(&all.summary());
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Config })
}
