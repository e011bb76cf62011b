//! The house keeps its shape: who may import whom, and what the pure rooms and the agent half never
//! name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// The import table of ARCHITECTURE.md, among our own rooms. The bench may import anything.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("protocol", &[]),
    ("clinical", &[]),
    ("keyfile", &["protocol"]),
    ("record", &["clinical", "protocol"]),
    ("sync", &["clinical", "protocol"]),
    ("distribution", &["protocol"]),
    ("kernels", &[]),
    ("inference", &["clinical", "kernels"]),
    ("teach", &["clinical", "inference", "protocol"]),
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

/// What cargo says of this workspace; with `resolve`, of everything that it links too.
fn metadata(resolve: bool) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--manifest-path"]);
    cargo.arg(root);
    if !resolve {
        cargo.arg("--no-deps");
    }
    serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let metadata = metadata(false);
    let packages: Vec<_> = list(&metadata, "packages")
        .iter()
        .map(|package| (room(package["name"].as_str().unwrap()).unwrap(), package))
        .filter(|(room, _)| !NOT_SHIPPED.contains(room))
        .collect();
    let rooms: BTreeSet<_> = packages.iter().map(|(room, _)| *room).collect();
    assert_eq!(
        rooms,
        table.keys().copied().collect(),
        "a room is missing from the table"
    );
    for (name, package) in packages {
        let dependencies = list(package, "dependencies").iter();
        for dependency in dependencies.filter(|d| d["kind"].is_null()) {
            let imported = dependency["name"].as_str().unwrap();
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
    let metadata = metadata(true);
    let packages = list(&metadata, "packages").iter();
    let names: BTreeMap<_, _> = packages
        .map(|p| (p["id"].as_str().unwrap(), p["name"].as_str().unwrap()))
        .collect();
    let nodes = list(&metadata["resolve"], "nodes").iter();
    let nodes: BTreeMap<_, _> = nodes.map(|n| (n["id"].as_str().unwrap(), n)).collect();
    let phone = names.iter().find(|(_, name)| **name == "kijiti-mobile-ffi");
    let (mut linked, mut open) = (BTreeSet::new(), vec![*phone.unwrap().0]);
    while let Some(id) = open.pop() {
        let normal = list(nodes[id], "deps").iter().filter(|dep| {
            let kinds = list(dep, "dep_kinds").iter();
            kinds.into_iter().any(|kind| kind["kind"].is_null())
        });
        for dep in normal {
            let id = dep["pkg"].as_str().unwrap();
            if linked.insert(names[id]) {
                open.push(id);
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
    let metadata = metadata(false);
    let mut packages = list(&metadata, "packages").iter();
    let node = packages.find(|p| p["name"] == "kijiti-node").unwrap();
    for dependency in list(node, "dependencies") {
        let name = dependency["name"].as_str().unwrap();
        if IMPURE.contains(&name) || name == "kijiti-inference" {
            assert_eq!(
                dependency["optional"], true,
                "{name} must hang on the feature `host`"
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
            &["app/src/words/phone.rs", "app/src/words/folders.rs"][..],
        ),
        ("desk/src/refusal.rs", "Refusal", &["app/src/words/desk.rs"]),
        ("desk/src/check.rs", "Check", &["app/src/words/checks.rs"]),
    ] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let words = words
            .iter()
            .map(|words| std::fs::read_to_string(root.join(words)).unwrap());
        let words = words.collect::<String>();
        let variants = variants(file, name);
        assert!(variants.len() > 20, "{file}");
        for variant in variants {
            let named = words.contains(&format!("{name}::{variant}"));
            assert!(named, "{name}::{variant} has no words");
        }
    }
}

/// A newcomer runs the demo, then the tests: what both link is compiled once. A dependency that only
/// tests have must not switch on a feature of something that the program links too.
#[test]
fn tests_switch_on_no_feature_of_what_the_program_links() {
    let tree = |edges: &str| -> BTreeSet<String> {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo
            .args([
                "tree",
                "--workspace",
                "--prefix",
                "none",
                "-f",
                "{p} {f}",
                "-e",
            ])
            .arg(edges)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let told = String::from_utf8(cargo.output().unwrap().stdout).unwrap();
        told.lines()
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .filter(|line| !line.contains('/')) // our own are compiled anew for the tests' controls
            .collect()
    };
    let (program, tests) = (tree("normal,build"), tree("normal,build,dev"));
    assert!(program.iter().any(|line| line.starts_with("iroh v")));
    let package = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    let linked: BTreeSet<_> = program.iter().map(|line| package(line)).collect();
    let other = tests.difference(&program);
    let twice: Vec<_> = other
        .filter(|line| linked.contains(&package(line)))
        .collect();
    assert!(twice.is_empty(), "compiled twice: {twice:?}");
}

/// `unsafe` stands in the kernels alone: every other crate denies it, and none makes an exception, but
/// for the phone library, in which uniffi's macros write some and nobody else does.
#[test]
fn unsafe_code_stands_in_the_kernels_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let metadata = metadata(false);
    let mut denied = 0;
    for package in list(&metadata, "packages") {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(manifest).unwrap();
        let inherits = text.contains("[lints]\nworkspace = true");
        denied += usize::from(inherits);
        let name = package["name"].as_str().unwrap();
        let may = ["kijiti-kernels", "kijiti-mobile-ffi"].contains(&name);
        assert!(inherits || may, "{manifest}");
    }
    assert!(denied > 10);
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"deny\""));
    let exception = ["allow(unsafe", "expect(unsafe"].map(|word| format!("{word}_code"));
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && name != ".git" && name != "kernels" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(
                    !exception.iter().any(|word| text.contains(word)),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

/// What is built in is in the program once: a `const` of it would be in each part of the program that
/// names it.
#[test]
fn the_program_holds_its_model_once() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_kijiti")).unwrap();
    let model = app::REFERENCE_MODEL;
    let piece = &model[model.len() / 3..][..64];
    let found = program.windows(64).filter(|w| *w == piece).count();
    assert_eq!(found, 1);
}
