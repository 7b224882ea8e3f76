//! `engine test`: the `tests:` of pipeline files.

use crate::arguments::{Files, Global};
use crate::exit::Exit;
use crate::project::Project;
use crate::{console, output, places};

pub fn run(global: &Global, command: &Files) -> crate::Result {
    let state = places::state_for(global, &command.files)?;
    let project = Project::load(global, &command.files, &state)?;
    let (mut passed, mut failed) = (0, 0);
    for assembly in project.assemble()? {
        if assembly.tests.is_empty() && !global.json {
            console::line(&format!("{}: no tests; its file has no `tests:`", assembly.name));
        }
        for case in &assembly.tests {
            let result = engine_runtime::run_case(&assembly, case)?;
            let ok = result.differences.is_empty();
            if ok {
                passed += 1
            } else {
                failed += 1
            }
            if global.json {
                output::json(&serde_json::json!({"pipeline": assembly.name, "passed": ok, "case": result}));
                continue;
            }
            console::line(&format!("{} {}: {}", if ok { "passed" } else { "FAILED" }, assembly.name, case.name));
            for difference in &result.differences {
                console::line(&format!("         {difference}"));
            }
        }
    }
    if !global.json {
        console::line(&format!("{passed} passed, {failed} failed"));
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}
