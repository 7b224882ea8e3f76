//! Rules about the crates: who may depend on whom, and what may come in from outside.

use std::collections::{BTreeMap, BTreeSet};

use engine_tidy_tests::cargo::{self, Crate};
use engine_tidy_tests::{files, report};

/// The engine's tower: each crate and the crates of this workspace that it may use. Edges point down.
const TOWER: [(&str, &[&str]); 13] = [
    ("engine-abi", &[]),
    ("engine-spec", &["engine-abi", "engine-template"]),
    ("engine-state", &["engine-abi"]),
    ("engine-host", &["engine-abi"]),
    ("engine-runtime", &["engine-abi", "engine-spec", "engine-state", "engine-host"]),
    ("engine-server", &["engine-abi", "engine-spec", "engine-state", "engine-runtime"]),
    ("engine-catalogue", &["engine-abi", "engine-spec", "engine-state", "engine-runtime", "engine-server"]),
    ("engine-conformance", &["engine-abi", "engine-host"]),
    ("engine-wasm", &["engine-abi"]),
    ("engine-author", &["engine-abi"]),
    (
        "engine-cli",
        &[
            "engine-abi",
            "engine-spec",
            "engine-state",
            "engine-host",
            "engine-runtime",
            "engine-server",
            "engine-catalogue",
            "engine-conformance",
            "engine-author",
        ],
    ),
    ("engine-template", &[]),
    ("engine-sdk", &["engine-abi", "engine-template"]),
];

/// All that a connector sees of the engine.
const CONNECTOR_USES: &[&str] = &["engine-sdk"];
/// What its tests may use besides: it sees nothing of the engine.
const CONNECTOR_TESTS_USE: &str = "engine-test-tools";

/// The connector that a crate belongs to: the one in `plugins/NAME` itself, and those that it has of
/// its own, each in a folder below.
fn connector(package: &Crate) -> Option<&str> {
    package.folder.as_deref()?.strip_prefix("plugins/")?.split('/').next()
}

/// Whether a connector may use a crate of this workspace: the SDK, or one of its own.
fn connector_may_use(name: &str, edge: &str, crates: &[Crate]) -> bool {
    let own = || crates.iter().any(|package| package.name == edge && connector(package) == Some(name));
    CONNECTOR_USES.contains(&edge) || own()
}

#[test]
fn edges_between_crates_point_down() {
    let mut broken = Vec::new();
    let crates = cargo::own_crates();
    for package in &crates {
        let folder = package.folder.as_deref().unwrap_or_default();
        let level = TOWER.iter().find(|(name, _)| *name == package.name);
        if folder.starts_with("tests/") {
            continue;
        }
        if level.is_none() && connector(package).is_none() {
            broken.push(format!("{} ({folder}) has no place in the tower", package.name));
            continue;
        }
        let allowed = |edge: &str| {
            level.is_some_and(|(_, allowed)| allowed.contains(&edge))
                || connector(package).is_some_and(|name| connector_may_use(name, edge, &crates))
        };
        let forbidden = package.edges.iter().filter(|edge| !allowed(edge));
        broken.extend(forbidden.map(|edge| format!("{} → {edge}", package.name)));
    }
    report("these edges are not in docs/architecture.md", &broken);
}

#[test]
fn not_even_tests_join_the_sdk_and_the_host_or_two_connectors() {
    let mut broken = Vec::new();
    let crates = cargo::own_crates();
    let connectors: BTreeSet<_> =
        crates.iter().filter(|package| connector(package).is_some()).map(|package| package.name.as_str()).collect();
    for package in &crates {
        let folder = package.folder.as_deref().unwrap_or_default();
        for edge in &package.test_edges {
            let forbidden = |name| edge != CONNECTOR_TESTS_USE && !connector_may_use(name, edge, &crates);
            let engine_to_connector = folder.starts_with("engine/") && connectors.contains(edge.as_str());
            let towers_meet = matches!(
                (package.name.as_str(), edge.as_str()),
                ("engine-sdk", "engine-host") | ("engine-host", "engine-sdk")
            );
            if engine_to_connector || towers_meet || connector(package).is_some_and(forbidden) {
                broken.push(format!("{} → {edge}", package.name));
            }
        }
    }
    report("tests that need both belong under tests/", &broken);
}

#[test]
fn every_connector_is_named_after_its_folder() {
    let mut broken = Vec::new();
    for package in cargo::own_crates() {
        let Some(folder) = package.folder.as_deref().and_then(|folder| folder.strip_prefix("plugins/")) else {
            continue;
        };
        let dashed = folder.replace(['_', '/'], "-");
        // Only a connector's own crates are below its folder, and they are no modules.
        let expected =
            if folder.contains('/') { format!("engine-{dashed}") } else { format!("engine-plugin-{dashed}") };
        if package.name != expected {
            broken.push(format!("plugins/{folder} is {}, not {expected}", package.name));
        }
    }
    report("crate names of connectors", &broken);
}

#[test]
fn every_crate_says_what_it_is() {
    let silent: Vec<_> = cargo::own_crates()
        .into_iter()
        .filter(|package| package.description.trim().is_empty())
        .map(|package| package.folder.unwrap_or(package.name))
        .collect();
    report("crates without a description in Cargo.toml", &silent);
}

#[test]
fn there_is_one_arrow() {
    let lock = files::read("Cargo.lock");
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        let value = line.split('"').nth(1).unwrap_or_default();
        if line.starts_with("name = ") {
            name = value;
        } else if line.starts_with("version = ") && (name == "arrow" || name.starts_with("arrow-")) {
            versions.entry(name).or_default().insert(value);
        }
    }
    assert!(versions.contains_key("arrow-array"), "Cargo.lock no longer looks as this test expects");
    let all: BTreeSet<_> = versions.values().flatten().collect();
    let several: Vec<_> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1 || all.len() > 1)
        .map(|(name, versions)| format!("{name} {versions:?}"))
        .collect();
    report("record batches cross borders, so every arrow crate must have one and the same version", &several);
}

#[test]
fn every_licence_is_permissive() {
    let policy = files::read("deny.toml");
    let list = policy.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']')).expect("a list");
    let allowed: Vec<String> = list.0.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let refused: Vec<_> = cargo::crates()
        .into_iter()
        .filter(|package| !cargo::permits(&package.license, &allowed))
        .map(|package| format!("{} {}: '{}'", package.name, package.version, package.license))
        .collect();
    report("licences that deny.toml does not allow", &refused);
}
