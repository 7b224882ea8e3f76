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
    // What only shows when the values are in: two windows under one name, say.
    let assembled = if all.has_errors() { Ok(()) } else { check_assembly(&project) };
    if global.json {
        let named = project.files.iter().map(|file| &file.path).chain(sound.iter().map(|(path, ..)| *path));
        let files: Vec<_> = named.map(|path| path.display().to_string()).collect();
        let valid = !all.has_errors() && assembled.is_ok();
        let error = assembled.as_ref().err();
        output::json(&serde_json::json!({"valid": valid, "files": files, "diagnostics": all, "error": error}));
    } else {
        if !all.is_empty() {
            console::error_line(all.render(style()).trim_end());
        }
        if let Err(error) = &assembled {
            console::error_line(&format!("error: {error}"));
        }
        for file in &project.files {
            if let Some(pipeline) = file.pipeline.as_ref().filter(|_| assembled.is_ok()) {
                console::line(&format!("{}: pipeline {} is valid", file.path.display(), pipeline.name));
            }
        }
        for (path, count, _) in sound.iter().filter(|(.., valid)| *valid) {
            let holds = output::counted(*count, "connection");
            console::line(&format!("{}: {holds}, valid", path.display()));
        }
        if !all.is_empty() {
            console::error_line(&all.summary());
        }
    }
    Ok(if all.has_errors() || assembled.is_err() { Exit::Config } else { Exit::Done })
}

/// Puts pipelines together whose references all lead somewhere.
fn check_assembly(project: &Project) -> engine_abi::Result<()> {
    match project.assemble() {
        Err(crate::exit::Failure::Error(error, _)) => Err(error),
        // Variables that are not set are warnings here.
        Ok(_) | Err(crate::exit::Failure::Diagnostics(_)) => Ok(()),
    }
}
