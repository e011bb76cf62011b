//! The command as the three users type it: a whole enrolment, release and case by files; and bad
//! input.

use std::io::BufRead;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

mod common;

use common::{Desk, example};

#[test]
fn a_ministry_publishes_by_files_and_a_worker_assesses_and_decides() {
    let desk = Desk::enrolled();
    let model = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models/triage-reference.gguf")
        .display()
        .to_string();
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "draft",
            "--file",
            &model,
            "--out",
            "draft.json",
        ],
    );
    let check = [
        "ministry",
        "release",
        "check",
        "draft.json",
        "--root",
        "keys/root.json",
    ];
    assert!(
        desk.fails("clinic", &check)
            .1
            .contains("only 0 of the 2 signatures")
    );
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "sign",
            "draft.json",
            "--key",
            "keys/key-1.age",
        ],
    );
    let (code, said) = desk.fails(
        "clinic",
        &[
            "ministry",
            "release",
            "sign",
            "draft.json",
            "--key",
            "keys/key-1.age",
        ],
    );
    assert!(code == 5 && said.contains("already"), "{said}");
    assert!(
        desk.fails("clinic", &check).1.contains("only 1 of the 2"),
        "one key counts once"
    );
    let (code, said) = desk.fails("clinic", &["ministry", "release", "publish", "draft.json"]);
    assert!(
        code == 5 && said.contains("1 of the 2 signatures"),
        "{code} {said}"
    );
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "sign",
            "draft.json",
            "--key",
            "keys/key-3.age",
        ],
    );
    desk.ok("clinic", &["ministry", "release", "publish", "draft.json"]);
    // The self-test runs when the phone next has a moment.
    let verified = (0..100).find_map(|_| {
        let output = desk.run("clinic", &["--json", "model", "verify"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
    });
    assert!(verified.unwrap()["checks"].as_array().unwrap().len() >= 7);

    let new = desk.json(
        "clinic",
        &[
            "case",
            "new",
            "--findings",
            &example(),
            "--patient",
            "Amina",
        ],
    );
    assert_eq!(new["assessment"]["urgency"], "pink");
    let case = new["case"].as_str().unwrap().to_owned();
    let decide = |args: &[&'static str]| [["case", "decide", &case[..8]].as_slice(), args].concat();
    assert_eq!(
        desk.fails(
            "clinic",
            &decide(&["--decide", "green", "--reason", "looks well"])
        )
        .0,
        5
    );
    assert_eq!(desk.fails("clinic", &decide(&["--decide", "yellow"])).0, 2);
    desk.ok(
        "clinic",
        &decide(&[
            "--decide",
            "yellow",
            "--reason",
            "referred yesterday, back with antibiotics",
        ]),
    );
    let shown = desk.json("clinic", &["case", "show", &case[..8]]);
    assert_eq!(shown["decisions"][0]["agrees"], false);
    assert!(
        shown["decisions"][0]["model"]
            .as_str()
            .unwrap()
            .contains("version 1")
    );
    assert!(
        shown["decisions"][0]["rules"]
            .as_str()
            .unwrap()
            .contains("2026-11")
    );
    assert_eq!(shown["findings"]["spo2"]["value"], "unknown");
}

#[test]
fn bad_findings_are_explained_and_nothing_is_kept() {
    let desk = Desk::enrolled();
    let example = std::fs::read_to_string(example()).unwrap();
    let cases = [
        (
            "hot.toml",
            example.replace("temperature = 38.6", "temperature = 400"),
            "between 32 and 45",
        ),
        (
            "broken.toml",
            example.replace("spo2 = ", "spo2 == "),
            "not valid TOML",
        ),
        (
            "broken.json",
            "{\"age_months\": 11,".to_owned(),
            "not valid JSON",
        ),
        (
            "age.toml",
            example.replace("age_months = 11", ""),
            "age is missing",
        ),
        (
            "other.toml",
            example.replace("wheeze", "weeze"),
            "did you mean",
        ),
    ];
    for (name, text, expected) in cases {
        let file = desk.write(name, &text);
        for verb in [
            vec!["triage", "--findings", &file],
            vec!["case", "new", "--findings", &file],
        ] {
            let (code, said) = desk.fails("clinic", &verb);
            assert!(
                code == 2 && said.contains(expected),
                "{name}: {code} {said}"
            );
        }
    }
    assert_eq!(
        desk.json("clinic", &["case", "list"])["cases"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn wrong_names_files_and_folders_are_explained() {
    let desk = Desk::enrolled();
    assert!(
        desk.fails("clinic", &["case", "show", "deadbeef"])
            .1
            .contains("no case")
    );
    assert!(
        desk.fails("clinic", &["meet", "nobody"])
            .1
            .contains("DEVICE-ID@")
    );
    assert!(
        desk.fails("clinic", &["model", "show"])
            .1
            .contains("no release")
    );
    assert_eq!(
        desk.fails("stranger", &["case", "new", "--findings", &example()])
            .0,
        2
    );
    desk.write(
        "torn.json",
        "{\"schema\": \"kijiti.enrolment/1\", \"roots\": [\"00",
    );
    assert!(
        desk.fails("stranger", &["enrol", "accept", "torn.json"])
            .1
            .contains("damaged")
    );
    assert!(
        desk.fails("stranger", &["enrol", "accept", "request.json"])
            .1
            .contains("another kind of file")
    );
    let begins = ["enrol", "request", "--name", "Stranger", "--out", "s.json"];
    desk.ok("stranger", &begins);
    let (code, said) = desk.fails("stranger", &["enrol", "accept", "answer.json"]);
    assert!(code == 5 && said.contains("another phone"), "{said}");
    assert_eq!(
        desk.fails(
            "clinic",
            &["ministry", "release", "sign", "nothing.json", "--key", "k"]
        )
        .0,
        1
    );
    let (_, said) = desk.fails("/proc/kijiti", &begins);
    assert!(said.contains("cannot be"), "{said}");
    let text = desk.write("plain", "not a folder");
    assert!(
        desk.fails(&format!("{text}/phone"), &begins)
            .1
            .contains("cannot be used")
    );
}

#[test]
fn a_second_process_on_a_folder_is_refused_and_other_commands_reach_the_first() {
    let desk = Desk::enrolled();
    let mut running = Command::new(env!("CARGO_BIN_EXE_kijiti"))
        .arg("--data")
        .arg(desk.path("clinic"))
        .args(["start", "--listen", "127.0.0.1:0", "--no-discovery"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().starts_with("listening on")),
        "the phone does not start"
    );
    assert!(
        !desk.json("clinic", &["status"])["listening"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let (_, said) = desk.fails("clinic", &["start"]);
    assert!(said.contains("another kijiti is running"), "{said}");
    desk.ok(
        "clinic",
        &["case", "new", "--findings", &example(), "--decide", "pink"],
    );
    assert!(
        Command::new("kill")
            .arg(running.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(running.wait().unwrap().success(), "SIGTERM is a clean end");
    assert!(!desk.path("clinic/control").exists());
    assert_eq!(
        desk.json("clinic", &["case", "list"])["cases"][0]["urgency"],
        "pink"
    );
}

#[test]
fn commands_at_once_on_one_folder_wait_for_each_other() {
    let desk = Desk::enrolled();
    let ask = || {
        Command::new(env!("CARGO_BIN_EXE_kijiti"))
            .arg("--data")
            .arg(desk.path("clinic"))
            .args(["case", "list"])
            .output()
            .unwrap()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for asked in asked {
            let output = asked.join().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
    });
}

#[test]
fn a_read_only_data_folder_is_explained() {
    let desk = Desk::enrolled();
    let script = r#"mount --bind clinic clinic && mount -o remount,ro,bind clinic clinic && "$KIJITI" --data clinic case list"#;
    let Some((_, said)) = desk.with_mounts(script) else {
        return;
    };
    assert!(
        said.contains("/clinic cannot be written") && said.contains("hint:"),
        "{said}"
    );
    desk.ok("clinic", &["case", "list"]);
}

/// A file system of one megabyte, made in a mount namespace of its own; skipped where that is not
/// allowed.
#[test]
fn a_full_disk_is_explained_and_loses_nothing() {
    let desk = Desk::enrolled();
    let script = r#"
        set -e
        mkdir small && mount -t tmpfs -o size=900k tmpfs small && cp -r clinic small/phone
        "$KIJITI" --json --data small/phone case new --findings "$EXAMPLE" --decide pink > first.json
        dd if=/dev/zero of=small/filler bs=1k 2>/dev/null || true
        set +e
        for i in 1 2 3; do "$KIJITI" --data small/phone case new --findings "$EXAMPLE" --decide pink; done
        rm small/filler
        "$KIJITI" --json --data small/phone case list
    "#;
    let Some((output, said)) = desk.with_mounts(script) else {
        return;
    };
    assert!(
        said.contains("error: the disk is full") && said.contains("hint: free some space"),
        "{said}"
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    let list: Value = serde_json::from_str(&stdout[stdout.find("{\n").unwrap()..]).unwrap();
    let cases = list["cases"].as_array().unwrap();
    let first: Value =
        serde_json::from_slice(&std::fs::read(desk.path("first.json")).unwrap()).unwrap();
    assert!(cases.iter().any(|c| c["case"] == first["case"]), "{said}");
}

#[test]
fn the_simulated_village_prints_its_curve_and_the_seed_decides() {
    let desk = Desk::new();
    let run = |seed: &str| {
        desk.ok(
            "none",
            &[
                "sim", "run", "village", "--phones", "60", "--seed", seed, "--twice",
            ],
        )
    };
    assert!(run("1").contains("day   1"));
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
    assert!(
        desk.fails("none", &["sim", "run", "city"])
            .1
            .contains("village")
    );
}
