//! Every connector of the tree passes the suite. They are found by themselves:
//! whoever adds a folder under `plugins/` has added a test.

use engine_conformance_tests::modules::{self, Bundled};
use engine_conformance_tests::{Fixtures, check_module};

#[test]
fn every_bundled_component_conforms() {
    let folder = modules::target_folder().unwrap();
    let mut complaints = Vec::new();
    for connector in Bundled::all().unwrap() {
        let report = connector.module().and_then(|module| {
            let fixtures = Fixtures::of_folder(&connector.folder)?.with_modules_in(&folder);
            Ok(check_module(&module, &fixtures))
        });
        match report {
            Ok(report) => {
                println!("{report}");
                complaints.extend(report.complaints().into_iter().map(|line| format!("{}: {line:?}", connector.name)));
            }
            Err(why) => complaints.push(format!("{}: {why}", connector.name)),
        }
    }
    assert!(complaints.is_empty(), "these do not conform:\n{}", complaints.join("\n"));
}
