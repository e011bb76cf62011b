//! The house keeps its shape: who may import whom, and what the pure rooms and the agent half never
//! name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The import table of ARCHITECTURE.md, among our own rooms.
const MAY_IMPORT: [(&str, &[&str]); 8] = [
    ("kijiti-protocol", &[]),
    ("kijiti-sync", &["kijiti-protocol"]),
    ("kijiti-distribution", &["kijiti-protocol"]),
    ("kijiti-inference", &[]),
    (
        "kijiti-node",
        &[
            "kijiti-protocol",
            "kijiti-sync",
            "kijiti-distribution",
            "kijiti-inference",
        ],
    ),
    (
        "kijiti-sim",
        &[
            "kijiti-node",
            "kijiti-protocol",
            "kijiti-sync",
            "kijiti-distribution",
        ],
    ),
    ("kijiti-mobile-ffi", &["kijiti-node", "kijiti-inference"]),
    (
        "kijiti",
        &[
            "kijiti-node",
            "kijiti-inference",
            "kijiti-distribution",
            "kijiti-sim",
            "kijiti-sync",
            "kijiti-protocol",
        ],
    ),
];

/// Crates that a pure room never depends on.
const IMPURE: [&str; 8] = [
    "tokio",
    "iroh",
    "rusqlite",
    "getrandom",
    "rand",
    "socket2",
    "if-addrs",
    "chrono",
];
const PURE: [&str; 3] = ["kijiti-protocol", "kijiti-sync", "kijiti-distribution"];

fn metadata() -> cargo_metadata::Metadata {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    cargo_metadata::MetadataCommand::new()
        .manifest_path(root)
        .no_deps()
        .exec()
        .unwrap()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let metadata = metadata();
    let rooms: BTreeSet<_> = metadata
        .packages
        .iter()
        .map(|p| p.name.to_string())
        .filter(|n| n != "kijiti-fuzz")
        .collect();
    assert_eq!(
        rooms,
        table.keys().map(|k| (*k).to_owned()).collect(),
        "a room is missing from the table"
    );
    for package in metadata.packages.iter().filter(|p| p.name != "kijiti-fuzz") {
        let allowed = table[package.name.as_str()];
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == cargo_metadata::DependencyKind::Normal)
        {
            let name = dependency.name.as_str();
            assert!(
                !name.starts_with("kijiti") || allowed.contains(&name),
                "{} imports {name}",
                package.name
            );
            let pure = PURE.contains(&package.name.as_str());
            assert!(
                !pure || !IMPURE.contains(&name),
                "{} is pure and imports {name}",
                package.name
            );
        }
    }
}

#[test]
fn the_agent_half_of_node_depends_on_nothing_of_the_host_half() {
    let metadata = metadata();
    let node = metadata
        .packages
        .iter()
        .find(|p| p.name == "kijiti-node")
        .unwrap();
    for dependency in &node.dependencies {
        if IMPURE.contains(&dependency.name.as_str()) || dependency.name == "kijiti-inference" {
            assert!(
                dependency.optional,
                "{} must hang on the feature `host`",
                dependency.name
            );
        }
    }
}

#[test]
fn the_agent_half_names_no_clock_file_socket_or_thread() {
    let banned = [
        "std::time::",
        "std::fs",
        "std::net",
        "std::thread",
        "tokio",
        "HashMap",
        "SystemTime",
        "println!",
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/src");
    let mut paths = vec![
        source.join("agent.rs"),
        source.join("store.rs"),
        source.join("memory.rs"),
        source.join("agent"),
    ];
    while let Some(file) = paths.pop() {
        if file.is_dir() {
            paths.extend(std::fs::read_dir(file).unwrap().map(|f| f.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for word in banned {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn code_that_runs_on_phones_does_not_unwrap_or_index_its_way_into_a_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = [
        "protocol",
        "sync",
        "distribution",
        "inference",
        "node",
        "mobile-ffi",
    ]
    .iter()
    .map(|room| root.join(room).join("src"))
    .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in [
                ".unwrap()",
                ".expect(",
                "panic!(",
                "unreachable!(",
                "todo!(",
                "unimplemented!(",
            ] {
                let found = code
                    .lines()
                    .any(|l| !l.trim_start().starts_with("//") && l.contains(word));
                assert!(!found, "{} says {word}", path.display());
            }
        }
    }
}
