//! `engine preview`: the first rows after each stage. Nothing is written.

use engine_state::State;

use crate::arguments::{self, Global};
use crate::exit::Exit;
use crate::project::Project;
use crate::{console, output, places};

pub fn run(global: &Global, command: &arguments::Preview) -> crate::Result {
    let files = [command.file.clone()];
    let folder = places::state_for(global, &files)?;
    let project = Project::load(global, &files, &folder)?;
    for assembly in project.assemble_with(&command.set)? {
        let state = if State::exists(&folder) { Some(State::read(&folder)?) } else { None };
        let preview = engine_runtime::preview(&assembly, state.as_ref(), usize::from(command.rows))?;
        if global.json {
            output::json(&preview);
            continue;
        }
        for stage in &preview.stages {
            let columns: Vec<_> = stage.columns.iter().map(|(name, of)| format!("{name} {of}")).collect();
            console::line(&format!("{} ({}): {}", stage.stage, stage.component, columns.join(", ")));
            for row in &stage.rows {
                console::line(&format!("  {}", output::short(&row.to_string(), 400)));
            }
            for (reason, record) in &stage.dead_letters {
                console::line(&format!("  refused: {reason}: {}", output::short(&record.to_string(), 200)));
            }
        }
        for note in &preview.notes {
            console::line(&format!("note: {note}"));
        }
    }
    Ok(Exit::Done)
}
