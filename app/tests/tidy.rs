//! The house keeps its shape: who may import whom, and what the pure rooms and the agent half never
//! name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The import table of ARCHITECTURE.md, among our own rooms. The bench may import anything.
const MAY_IMPORT: [(&str, &[&str]); 13] = [
    ("protocol", &[]),
    ("clinical", &[]),
    ("keyfile", &["protocol"]),
    ("record", &["clinical", "protocol"]),
    ("sync", &["clinical", "protocol"]),
    ("distribution", &["protocol"]),
    ("inference", &["clinical"]),
    ("teach", &["clinical", "inference"]),
    (
        "desk",
        &[
            "distribution",
            "inference",
            "keyfile",
            "protocol",
            "sync",
            "teach",
        ],
    ),
    (
        "node",
        &[
            "clinical",
            "distribution",
            "inference",
            "keyfile",
            "protocol",
            "record",
            "sync",
        ],
    ),
    (
        "sim",
        &[
            "clinical",
            "distribution",
            "node",
            "protocol",
            "record",
            "sync",
        ],
    ),
    ("mobile-ffi", &["clinical", "node", "protocol"]),
    (
        "app",
        &[
            "clinical",
            "desk",
            "distribution",
            "inference",
            "keyfile",
            "node",
            "protocol",
            "record",
            "sim",
            "sync",
            "teach",
        ],
    ),
];

/// Crates that nobody ships.
const NOT_SHIPPED: [&str; 2] = ["fuzz", "bench"];

/// A room by its package's name.
fn room(package: &str) -> Option<&str> {
    if package == "kijiti" {
        Some("app")
    } else {
        package.strip_prefix("kijiti-")
    }
}

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
const PURE: [&str; 5] = ["protocol", "clinical", "record", "sync", "distribution"];

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
    let packages: Vec<_> = metadata
        .packages
        .iter()
        .map(|package| (room(&package.name).unwrap(), package))
        .filter(|(room, _)| !NOT_SHIPPED.contains(room))
        .collect();
    let rooms: BTreeSet<_> = packages.iter().map(|(room, _)| *room).collect();
    assert_eq!(
        rooms,
        table.keys().copied().collect(),
        "a room is missing from the table"
    );
    for (name, package) in packages {
        let normal =
            |d: &&cargo_metadata::Dependency| d.kind == cargo_metadata::DependencyKind::Normal;
        for dependency in package.dependencies.iter().filter(normal) {
            let imported = dependency.name.as_str();
            let ours = room(imported);
            assert!(
                ours.is_none_or(|r| table[name].contains(&r)),
                "{name} imports {imported}"
            );
            let pure = PURE.contains(&name);
            assert!(
                !pure || !IMPURE.contains(&imported),
                "{name} is pure and imports {imported}"
            );
        }
    }
}

/// A phone links no training, no competitor's code and no ministry tools.
#[test]
fn a_phone_links_no_desk_no_training_and_no_competitor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root)
        .exec()
        .unwrap();
    let resolve = metadata.resolve.as_ref().unwrap();
    let name = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let phone = resolve
        .nodes
        .iter()
        .find(|node| name(&node.id) == "kijiti-mobile-ffi")
        .unwrap();
    let (mut linked, mut open) = (BTreeSet::new(), vec![phone]);
    while let Some(node) = open.pop() {
        let normal = node.deps.iter().filter(|dep| {
            dep.dep_kinds
                .iter()
                .any(|k| k.kind == cargo_metadata::DependencyKind::Normal)
        });
        for dep in normal {
            if linked.insert(name(&dep.pkg)) {
                open.extend(resolve.nodes.iter().find(|node| node.id == dep.pkg));
            }
        }
    }
    assert!(
        linked.contains("kijiti-node") && linked.contains("iroh"),
        "{linked:?}"
    );
    for never in [
        "kijiti-desk",
        "kijiti-teach",
        "kijiti-bench",
        "candle-nn",
        "negentropy",
        "clap",
    ] {
        assert!(!linked.contains(never), "a phone links {never}");
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
        source.join("memory"),
        source.join("agent"),
        source.join("api.rs"),
        source.join("api"),
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

/// The names of an enum's variants, read from its text.
fn variants(file: &str, name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, body) = text.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let named = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    named
        .map(|line| line.split(['(', ',', ' ']).next().unwrap().to_owned())
        .collect()
}

/// No person reads the name of a code: each refusal and each check of the desk has words.
#[test]
fn every_refusal_has_words() {
    for (file, name, words) in [
        (
            "node/src/api/refusal.rs",
            "Refusal",
            "app/src/words/phone.rs",
        ),
        ("desk/src/refusal.rs", "Refusal", "app/src/words/desk.rs"),
        ("desk/src/check.rs", "Check", "app/src/words/desk.rs"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(words);
        let words = std::fs::read_to_string(path).unwrap();
        let variants = variants(file, name);
        assert!(variants.len() > 20, "{file}");
        for variant in variants {
            let named = words.contains(&format!("{name}::{variant}"));
            assert!(named, "{name}::{variant} has no words");
        }
    }
}
