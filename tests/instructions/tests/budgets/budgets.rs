//! The committed budgets, and what breaks them.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::path::PathBuf;

use serde_json::json;

/// How far from its budget a count may be, in percent, to either side.
const TOLERANCE: u64 = 5;

/// How far from its budget a count may be, in percent, for the budget to be left as it is when budgets
/// are made anew: counts move by less than that from one run to the next.
const SETTLED: u64 = 1;

/// Instructions a row: by the processor's architecture, since each has instructions of its own, and by
/// path.
#[derive(Debug, Default)]
pub struct Budgets(BTreeMap<String, BTreeMap<String, u64>>);

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("budgets.json")
}

impl Budgets {
    /// Those that are committed.
    pub fn read() -> Self {
        let text = std::fs::read_to_string(file()).expect("there is a budgets.json");
        Self(serde_json::from_str(&text).expect("budgets.json holds numbers by architecture and path"))
    }

    /// Writes them down.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&json!(self.0)).expect("numbers are JSON");
        std::fs::write(file(), text + "\n").expect("budgets.json can be written");
    }

    /// Makes what was counted on this machine the budgets of its architecture.
    pub fn set(&mut self, counts: &[(&str, u64)]) {
        let budget = |&(path, count): &(&str, u64)| {
            let settled = self.of(ARCH, path).filter(|budget| is_within(SETTLED, count, *budget));
            (path.to_owned(), settled.unwrap_or(count))
        };
        let budgets = counts.iter().map(budget).collect();
        self.0.insert(ARCH.to_owned(), budgets);
    }

    /// The architectures that have budgets.
    pub fn architectures(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The budget of a path.
    pub fn of(&self, architecture: &str, path: &str) -> Option<u64> {
        self.0.get(architecture)?.get(path).copied()
    }

    /// What is wrong with what was counted on this machine, a sentence each.
    pub fn broken(&self, counts: &[(&str, u64)]) -> Vec<String> {
        let counted = counts.iter().filter_map(|&(path, count)| match self.of(ARCH, path) {
            Some(budget) => off(path, count, budget),
            None => Some(format!("{path}: {count}, and there is no budget for {ARCH}: `make budgets` makes one")),
        });
        let paths = self.0.get(ARCH).into_iter().flat_map(BTreeMap::keys);
        let gone = paths.filter(|path| !counts.iter().any(|(known, _)| known == path));
        counted.chain(gone.map(|path| format!("{path}: has a budget and is no path; run `make budgets`"))).collect()
    }
}

fn is_within(percent: u64, count: u64, budget: u64) -> bool {
    count.abs_diff(budget) * 100 <= budget * percent
}

/// Says so where a count is too far from its budget.
fn off(path: &str, count: u64, budget: u64) -> Option<String> {
    if is_within(TOLERANCE, count, budget) {
        return None;
    }
    let percent = count.abs_diff(budget) as f64 / budget as f64 * 100.0;
    Some(if count > budget {
        format!(
            "{path}: {count}, {percent:.1} % more than its budget of {budget}. Find what costs them; where that is \
             worth it, `make budgets` raises the budget"
        )
    } else {
        format!(
            "{path}: {count}, {percent:.1} % fewer than its budget of {budget}. Well done: `make budgets` lowers the \
             budget, so that they stay saved"
        )
    })
}

#[test]
fn a_count_may_be_five_percent_off_to_either_side() {
    assert_eq!([950, 1000, 1050].map(|count| off("csv", count, 1000)), [None, None, None]);
    let more = off("csv", 1051, 1000).unwrap();
    assert!(more.starts_with("csv: 1051, 5.1 % more than its budget of 1000."), "{more}");
    let fewer = off("csv", 900, 1000).unwrap();
    assert!(fewer.contains("10.0 % fewer") && fewer.contains("`make budgets` lowers"), "{fewer}");
}

#[test]
fn a_path_without_a_budget_and_a_budget_without_a_path_are_told() {
    let mut budgets = Budgets::default();
    let none = budgets.broken(&[("csv", 7)]);
    assert!(none[0].starts_with("csv: 7, and there is no budget"), "{none:?}");
    budgets.set(&[("csv", 7), ("gone", 8)]);
    assert_eq!(budgets.broken(&[("csv", 7)]), ["gone: has a budget and is no path; run `make budgets`"]);
}

#[test]
fn budgets_move_only_where_counts_have_moved() {
    let mut budgets = Budgets::default();
    budgets.set(&[("csv", 1000), ("copy", 1000)]);
    budgets.set(&[("csv", 1010), ("copy", 989)]);
    assert_eq!(["csv", "copy"].map(|path| budgets.of(ARCH, path)), [Some(1000), Some(989)]);
}
