//! The road, with real processes that are killed on the way.

use std::process::Command;

use serde_json::Value;

fn demo(folder: &std::path::Path, kills: u32, seed: u64) -> (Value, u64) {
    let dir = folder.join(format!("seed-{seed}"));
    let output = Command::new(env!("CARGO_BIN_EXE_kijiti"))
        .args([
            "--json",
            "demo",
            "--kills",
            &kills.to_string(),
            "--seed",
            &seed.to_string(),
            "--dir",
        ])
        .arg(&dir)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: {error}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    (summary["state"].clone(), summary["kills"].as_u64().unwrap())
}

#[test]
fn killing_any_phone_at_any_moment_ends_in_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let (undisturbed, none) = demo(folder.path(), 0, 0);
    assert_eq!(none, 0);
    let mut kills = 0;
    for seed in 1..=40 {
        let (state, killed) = demo(folder.path(), 8, seed);
        assert_eq!(state, undisturbed, "seed {seed}");
        kills += killed;
        if kills >= 60 {
            return;
        }
    }
    panic!("only {kills} kills in 40 runs");
}

#[test]
fn the_demo_runs_again_at_once_in_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(demo(folder.path(), 0, 0), demo(folder.path(), 0, 0));
}
