//! The table of the budgets in docs/benchmarks.md.

use std::fmt::Write;
use std::path::Path;

use engine_instruction_tests::HOT_PATHS;

use crate::budgets::Budgets;
use crate::updating;

const BEGIN: &str = "<!-- instructions -->\n";
const END: &str = "<!-- /instructions -->";

/// Requires that the page shows the budgets, or writes them into it.
pub fn check(budgets: &Budgets) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let page = std::fs::read_to_string(&file).expect("there is a docs/benchmarks.md");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the table begins");
    let (_, after) = rest.split_once(END).expect("the page says where the table ends");
    let fresh = format!("{before}{BEGIN}{}{END}{after}", table(budgets));
    if updating() {
        std::fs::write(&file, fresh).expect("the page can be written");
    } else {
        assert!(fresh == page, "docs/benchmarks.md does not show the budgets as they are: run `make budgets`");
    }
}

fn table(budgets: &Budgets) -> String {
    let (mut names, mut line) = (String::from("| path | what |"), String::from("|---|---|"));
    for architecture in budgets.architectures() {
        write!(names, " {architecture} |").expect("a text takes text");
        line.push_str("---:|");
    }
    let mut table = format!("{names}\n{line}\n");
    for path in HOT_PATHS {
        write!(table, "| `{}` | {} |", path.name, path.what).expect("a text takes text");
        for architecture in budgets.architectures() {
            let budget = budgets.of(architecture, path.name).map(|budget| budget.to_string());
            write!(table, " {} |", budget.unwrap_or_default()).expect("a text takes text");
        }
        table.push('\n');
    }
    table
}

#[test]
fn every_path_has_a_row() {
    let mut budgets = Budgets::default();
    budgets.set(&[("csv_decode", 1234)]);
    let table = table(&budgets);
    assert_eq!(table.lines().count(), 2 + HOT_PATHS.len(), "{table}");
    assert!(table.contains("module `csv` | 1234 |\n"), "{table}");
}
