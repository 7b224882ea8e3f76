//! What a row costs on each hot path, in instructions, stays within its budget. `UPDATE=1` writes the
//! budgets anew, and the table in docs/benchmarks.md.
//!
//! A count is the same on a busy machine as on an idle one. That makes it a guard, where a time would
//! have to be taken often and compared with care; what it says of time is only a hint.

mod budgets;
mod count;
mod page;

use budgets::Budgets;
use engine_instruction_tests::{HOT_PATHS, HotPath};

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

#[test]
fn a_row_costs_what_the_budgets_say() {
    let program = &count::build();
    // Each in a thread of its own, since most of the time goes into waiting for valgrind.
    let counts: Vec<(&str, u64)> = std::thread::scope(|scope| {
        let count = |path: &'static HotPath| (path.name, count::instructions_a_row(program, path));
        let running: Vec<_> = HOT_PATHS.iter().map(|path| scope.spawn(move || count(path))).collect();
        running.into_iter().map(|path| path.join().expect("it was counted")).collect()
    });
    for (name, count) in &counts {
        println!("{name:20} {count:6} instructions a row");
    }
    let mut budgets = Budgets::read();
    if updating() {
        budgets.set(&counts);
        budgets.write();
    }
    let broken = budgets.broken(&counts);
    assert!(broken.is_empty(), "instructions a row:\n  {}", broken.join("\n  "));
    page::check(&budgets);
}
