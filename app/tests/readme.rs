//! The README's blocks run as they stand, from top to bottom, in one shell; and nobody's job takes more commands than
//! a newcomer has patience for.

#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

mod common;
use common::Desk;

/// The commands of each indented block, a line each, without what is said beside them.
fn blocks() -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let mut blocks: Vec<Vec<String>> = vec![Vec::new()];
    let mut more = false;
    for line in readme.lines() {
        let Some(command) = line.strip_prefix("    ").filter(|l| !l.trim().is_empty()) else {
            if blocks.last().is_some_and(|block| !block.is_empty()) {
                blocks.push(Vec::new());
            }
            continue;
        };
        let command = command.split("  # ").next().unwrap().trim();
        let Some(block) = blocks
            .last_mut()
            .filter(|_| !command.is_empty() && !command.starts_with('#'))
        else {
            continue;
        };
        match block.last_mut().filter(|_| more) {
            Some(before) => {
                before.pop(); // the backslash
                let _ = write!(before, "{command}");
            }
            None => block.push(command.to_owned()),
        }
        more = command.ends_with('\\');
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// What has to be there that is not the README's to make: a lost phone, a clinic that is near; and what stands in
/// capitals.
const BEFORE: &str = r#"
set -eu
export KIJITI_PASSPHRASE="twelve patients to see"
id() { python3 -c 'import json, sys; print(json.load(sys.stdin)["device"])'; }
lose() {
    lost() { kijiti --data lost "$@"; }
    lost enrol request --name "Worker Asha" --out asha.json
    s enrol sign asha.json --area north/kilifi/mtwapa --out asha-answer.json
    lost enrol accept asha-answer.json
}
near() { # the clinic, as a phone that runs: its id and address
    kijiti --data clinic start --listen 127.0.0.1:0 --no-discovery 2>near.log &
    near=$!
    until kijiti --data clinic --json status >near.json 2>/dev/null && grep -q '"127' near.json; do sleep 0.1; done
    python3 -c 'import json; s = json.load(open("near.json")); print(s["device"] + "@" + s["listening"][0])' >near.txt
}
for_a_while() { # what runs until somebody stops it
    timeout --signal=INT 3 "$@" || test $? = 124
}
asks() { # what asks, where nobody answers: what is known by then is kept
    code=0
    "$@" </dev/null || code=$?
    test $code = 2
}
ran() { echo "ran: $*" >>ran.txt; }
"#;

/// A line as the test runs it: with what stands in capitals filled in, and what never ends ended.
fn as_run(line: &str, card: &str, path: &str) -> String {
    let mut line = line
        .replace("$PWD/target/release:$PATH", "$PATH")
        .replace("/media/card", card);
    let program = line.split(' ').next().unwrap().to_owned();
    if line.starts_with("export PATH=") {
        line = path.to_owned();
    }
    let data = match program.as_str() {
        "w" => "worker",
        "c" => "clinic",
        _ => "",
    };
    match line {
            line if line.contains("enrol revoke DEVICE-ID") => {
                line.replace("DEVICE-ID", "$(kijiti --data lost --json status | id)")
            }
            line if line.contains("unlock-code DEVICE-ID") => {
                line.replace("DEVICE-ID", "$(kijiti --data worker --json status | id)")
            }
            line if line.contains("meet DEVICE-ID@") => format!(
                "near\n{}\nkill -INT $near; wait $near",
                line.replace("DEVICE-ID@ADDRESS:PORT", "$(cat near.txt)")
            ),
            line if line.contains(" DOSE ") => line.replace(
                "DOSE",
                "$(w --json case show Amina | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"each_dose\"][0][\"id\"])')",
            ),
            line if line.starts_with(&format!("{program} start")) => {
                line.replacen(&program, &format!("for_a_while kijiti --data {data}"), 1)
            }
            line if line == "w case new" || line == "w case new --kind pregnancy" => {
                line.replacen("w ", "asks w ", 1)
            }
            line => line,
        }
}

#[test]
fn every_block_of_the_readme_runs_as_it_stands() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3 here");
        return;
    }
    let desk = Desk::new();
    let room = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for part in ["models", "app"] {
        std::os::unix::fs::symlink(room.join(part).canonicalize().unwrap(), desk.path(part))
            .unwrap();
    }
    std::fs::write(desk.path("rash.jpg"), include_bytes!("pictures/rash.jpg")).unwrap();
    desk.write(
        "register.csv",
        "Reg no,name,sex,muac\n17,Zawadi Kombo,female,118\n18,Juma Baya,male,135\n",
    );
    std::fs::create_dir(desk.path("card")).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_kijiti"));
    let path = format!("PATH=\"{}:$PATH\"", program.parent().unwrap().display());
    let mut script = BEFORE.to_owned();
    let mut commands = 0;
    for line in blocks().iter().flatten() {
        if line.starts_with("cargo ") {
            continue; // the two commands that everybody runs first
        }
        commands += 1;
        if line.contains("enrol revoke") {
            script += "lose\n";
        }
        let line = as_run(line, &desk.path("card").display().to_string(), &path);
        let _ = writeln!(script, "{line}\nran {commands}");
    }
    let ran = Command::new("bash")
        .args(["-c", &script])
        .current_dir(desk.folder.path())
        .env_remove("KIJITI_DATA")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let done = std::fs::read_to_string(desk.path("ran.txt")).unwrap_or_default();
    assert!(
        ran.status.success() && done.lines().count() == commands,
        "{} of {commands} commands ran, then: {}",
        done.lines().count(),
        String::from_utf8_lossy(&ran.stderr)
            .lines()
            .rev()
            .take(12)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn no_job_takes_more_commands_than_a_newcomer_has_patience_for() {
    let blocks = blocks();
    let with = |words: &str| {
        let found = blocks
            .iter()
            .find(|block| block.iter().any(|line| line.contains(words)));
        found
            .unwrap_or_else(|| panic!("no block with {words}"))
            .len()
    };
    assert!(
        with("ministry keys") <= 18,
        "the ministry: keys, four phones, a release"
    );
    assert!(
        with("enrol space") <= 12,
        "the supervisor: a worker's phone, and who may read"
    );
    assert!(
        with("case plan") <= 8,
        "the worker: a child, and a colleague"
    );
}
