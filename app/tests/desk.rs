//! The ministry's desk: ceremonies, drafts that pass from desk to desk, and everything that can be
//! wrong with them.

mod common;

use std::path::Path;

use common::Desk;

const SIGN: [&str; 3] = ["ministry", "release", "sign"];
const CHECK: [&str; 3] = ["ministry", "release", "check"];
const PUBLISH: [&str; 3] = ["ministry", "release", "publish"];

impl Desk {
    fn step(&self, verb: [&str; 3], rest: &[&str]) -> String {
        self.ok("clinic", &[verb.as_slice(), rest].concat())
    }

    /// A key signs on a machine that trusts no ministry, and so cannot say whether that counts.
    fn sign_elsewhere(&self, draft: &str, key: &str) {
        self.ok(
            "elsewhere",
            &[SIGN.as_slice(), &[draft, "--key", key]].concat(),
        );
    }

    /// Has the two keys sign, and publishes.
    fn sign_and_publish(&self, draft: &str) {
        for key in ["keys/key-1.age", "keys/key-2.age"] {
            self.step(SIGN, &[draft, "--key", key]);
        }
        self.step(PUBLISH, &[draft]);
    }

    /// A new key, by its public key.
    fn key(&self, file: &str, more: &[&str]) -> String {
        let made = self.ok(
            "clinic",
            &[
                &["ministry", "new-key", "--out", file, "--work-factor", "10"],
                more,
            ]
            .concat(),
        );
        made.split_whitespace().last().unwrap().to_owned()
    }

    fn rotate(&self, extra: &[&str], file: &str) {
        self.ok(
            "clinic",
            &[&["ministry", "rotate", "--out", file], extra].concat(),
        );
        self.sign_and_publish(file);
    }

    fn enrolment_keys(&self) -> Vec<String> {
        let root = self.log()["roots"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        root["enrolment"]["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k.as_str().unwrap().to_owned())
            .collect()
    }

    fn log(&self) -> serde_json::Value {
        self.json("clinic", &["ministry", "release", "log"])
    }

    fn form(&self, name: &str, words: &str) -> String {
        self.write(name, &format!("{words}\n").repeat(3000))
    }
}

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models/triage-reference.gguf")
        .display()
        .to_string()
}

#[test]
fn a_model_is_checked_with_golden_cases_groups_size_and_deltas_before_anyone_signs() {
    let desk = Desk::enrolled();
    let mut old = std::fs::read(model()).unwrap();
    let at = old.len() - 5000;
    old[at..at + 300].fill(7);
    std::fs::write(desk.path("old.gguf"), old).unwrap();
    let draft = [
        "ministry",
        "release",
        "draft",
        "--file",
        &model(),
        "--delta-from",
        "old.gguf",
        "--first-permille",
        "100",
    ];
    let dry = desk.ok("clinic", &[&draft[..], &["--dry-run"]].concat());
    assert!(
        dry.contains("golden cases") && dry.contains("would draft"),
        "{dry}"
    );
    assert!(!desk.path("draft.json").exists());
    desk.ok("clinic", &[&draft[..], &["--out", "draft.json"]].concat());
    let said = String::from_utf8(
        desk.run("clinic", &[&CHECK[..], &["draft.json"]].concat())
            .stdout,
    )
    .unwrap();
    for words in [
        "golden cases",
        "under 2 months",
        "pink found",
        "minutes over Bluetooth",
        "comes out bit for bit",
        "100 of 1000",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert!(said.contains("0 of 2 signatures"));
}

#[test]
fn a_bundle_that_no_phone_could_run_is_found_before_it_is_signed() {
    let desk = Desk::enrolled();
    let junk = desk.form("junk.gguf", "not a model");
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "draft",
            "--file",
            &junk,
            "--out",
            "draft.json",
        ],
    );
    let (code, said) = desk.fails("clinic", &[&CHECK[..], &["draft.json"]].concat());
    assert!(code == 5 && said.contains("a check has failed"), "{said}");
}

/// What would not count, or no phone would run, is refused when it is signed and not after all have
/// signed: keys of another role, a bundle that fails its checks, one that is recalled.
#[test]
fn a_key_signs_only_what_counts_and_what_phones_would_run() {
    let desk = Desk::enrolled();
    let draft = |file: &str, out: &str, more: &[&str]| {
        let words = ["ministry", "release", "draft", "--file", file, "--out", out];
        desk.ok("clinic", &[&words[..], more].concat())
    };
    let sign = ["ministry", "release", "sign"];
    let signed = |name: &str| std::fs::read(desk.path(name)).unwrap();
    draft(&model(), "good.json", &[]);
    let before = signed("good.json");
    for key in [
        "keys/enrol-1.age",
        "keys/recall-1.age",
        "keys/receipts-1.age",
    ] {
        let words = [&sign[..], &["good.json", "--key", key]].concat();
        let (code, said) = desk.fails("clinic", &words);
        assert!(code == 5 && said.contains("would not count"), "{said}");
    }
    assert_eq!(signed("good.json"), before, "nothing was signed");
    // A machine that holds no ministry's documents says that it could not check.
    let words = [&sign[..], &["good.json", "--key", "keys/key-1.age"]].concat();
    let said = desk.run("nobody's", &[&words[..], &["--dry-run"]].concat());
    assert!(said.status.success() && !desk.path("nobody's").exists());
    assert!(String::from_utf8_lossy(&said.stderr).contains("was not checked"));

    let junk = desk.form("junk.gguf", "not a model");
    let told = draft(&junk, "junk.json", &[]);
    assert!(told.contains("no phone would run it"), "{told}");
    let words = [&sign[..], &["junk.json", "--key", "keys/key-1.age"]].concat();
    let (code, said) = desk.fails("clinic", &words);
    assert!(code == 5 && said.contains("nothing was signed"), "{said}");

    desk.sign_and_publish("good.json"); // the control
    let digest = blake3_of(&model());
    desk.ok(
        "clinic",
        &[
            "ministry",
            "recall",
            "--bundle",
            &digest,
            "--reason",
            "greens",
            "--out",
            "recall.json",
        ],
    );
    let key = ["recall.json", "--key", "keys/recall-1.age"];
    desk.ok("clinic", &[&sign[..], &key].concat());
    desk.ok("clinic", &["ministry", "release", "publish", "recall.json"]);
    let told = draft(&model(), "again.json", &["--module", "triage-two"]);
    assert!(told.contains("recalled: greens"), "{told}");
    let words = [&sign[..], &["again.json", "--key", "keys/key-1.age"]].concat();
    assert_eq!(desk.fails("clinic", &words).0, 5);
    let list = desk.json("clinic", &["model", "list"]);
    let active = list["active"].as_array().unwrap();
    assert!(
        active.iter().all(|module| module["kind"] == "triage"),
        "{list}"
    );
}

fn blake3_of(path: &str) -> String {
    protocol::Digest::of(&std::fs::read(path).unwrap()).to_string()
}

#[test]
fn release_withdraw_recall_revoke_delegate_rotate_and_beacon() {
    let desk = Desk::enrolled();
    let form = desk.form("form", "first edition");
    let draft = |file: &str, out: &str| {
        desk.ok(
            "clinic",
            &[
                "ministry",
                "release",
                "draft",
                "--module",
                "form-a",
                "--file",
                file,
                "--out",
                out,
                "--expires-days",
                "30",
            ],
        )
    };
    draft(&form, "one.json");
    desk.sign_and_publish("one.json");
    let digest = desk.log()["releases"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();

    // A recall needs one recall key, not the others.
    let recall = [
        "ministry",
        "recall",
        "--module",
        "form-a",
        "--reason",
        "asks the wrong question",
    ];
    assert!(
        desk.ok("clinic", &[&recall[..], &["--dry-run"]].concat())
            .contains("would draft a recall")
    );
    desk.ok("clinic", &[&recall[..], &["--out", "recall.json"]].concat());
    desk.sign_elsewhere("recall.json", "keys/key-1.age");
    let (code, said) = desk.fails("clinic", &[&PUBLISH[..], &["recall.json"]].concat());
    assert!(
        code == 5 && said.contains("a check has failed"),
        "another role's key is of no use: {said}"
    );
    desk.step(SIGN, &["recall.json", "--key", "keys/recall-2.age"]);
    desk.step(PUBLISH, &["recall.json"]);
    let log = desk.log();
    assert_eq!(log["recalled"][0]["digest"], digest.as_str());
    assert_eq!(
        log["releases"].as_array().unwrap().len(),
        0,
        "a recalled release is none"
    );

    // The next version, then its withdrawal.
    draft(&desk.form("form2", "second edition"), "two.json");
    desk.sign_and_publish("two.json");
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "withdraw",
            "--module",
            "form-a",
            "--out",
            "gone.json",
        ],
    );
    desk.sign_and_publish("gone.json");
    assert_eq!(desk.log()["list"]["withdrawn"][0]["version"], 2);

    // A phone is lost.
    desk.ok(
        "worker",
        &[
            "enrol",
            "request",
            "--name",
            "Worker",
            "--out",
            "worker.json",
        ],
    );
    let worker: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(desk.path("worker.json")).unwrap()).unwrap();
    let worker = worker["device"].as_str().unwrap();
    desk.ok(
        "clinic",
        &[
            "ministry",
            "revoke",
            worker,
            "--reason",
            "left on the bus",
            "--out",
            "revoke.json",
        ],
    );
    desk.step(SIGN, &["revoke.json", "--key", "keys/enrol-1.age"]);
    desk.step(PUBLISH, &["revoke.json"]);
    assert_eq!(desk.log()["revoked"][0]["device"], worker);

    // The university, and then not.
    let university = desk.ok(
        "clinic",
        &[
            "ministry",
            "new-key",
            "--out",
            "university.age",
            "--work-factor",
            "10",
        ],
    );
    let key = university.split_whitespace().last().unwrap();
    let to_north = [
        "ministry",
        "delegate",
        "university",
        "--module",
        "fine-tune",
        "--area",
        "north",
    ];
    desk.ok(
        "clinic",
        &[&to_north[..], &["--key", key, "--out", "delegate.json"]].concat(),
    );
    desk.sign_and_publish("delegate.json");
    assert_eq!(desk.log()["list"]["delegations"][0]["name"], "university");
    let form3 = desk.form("form3", "the university's edition");
    let lineage = format!(
        r#"{{"parent":"{digest}","data":"2,000 consented cases","protocol":"PCCP-7","return_to":1}}"#
    );
    desk.write("lineage.json", &lineage);
    let release = [
        "ministry",
        "release",
        "draft",
        "--delegation",
        "university",
        "--file",
        &form3,
        "--module",
        "fine-tune",
    ];
    assert_eq!(
        desk.fails(
            "clinic",
            &[&release[..], &["--area", "north", "--out", "u.json"]].concat()
        )
        .0,
        2
    );
    let told = ["--lineage", "lineage.json", "--out", "u.json"];
    assert_eq!(
        desk.fails(
            "clinic",
            &[&release[..], &["--area", "south"], &told[..]].concat()
        )
        .0,
        5
    );
    desk.ok(
        "clinic",
        &[&release[..], &["--area", "north"], &told[..]].concat(),
    );
    desk.step(SIGN, &["u.json", "--key", "university.age"]);
    desk.step(PUBLISH, &["u.json"]);
    assert!(
        desk.log()["releases"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["module"] == "fine-tune")
    );
    desk.ok(
        "clinic",
        &["ministry", "delegate", "university", "--out", "ended.json"],
    );
    desk.sign_and_publish("ended.json");
    assert_eq!(
        desk.log()["list"]["delegations"].as_array().unwrap().len(),
        0
    );

    // Beacons, though several in one second, and a rotation: one key leaves, another joins.
    let mut last = 0;
    for _ in 0..3 {
        let said = desk.ok(
            "clinic",
            &["ministry", "beacon", "--key", "keys/beacon-1.age"],
        );
        assert!(said.contains("the newest at this hour"), "{said}");
        let time = desk.log()["beacon"]["time_s"].as_u64().unwrap();
        assert!(
            time > last,
            "the time of a beacon is its version: {time} after {last}"
        );
        last = time;
    }
    let fresh = desk.ok(
        "clinic",
        &[
            "ministry",
            "new-key",
            "--out",
            "key-4.age",
            "--work-factor",
            "10",
        ],
    );
    let (joins, leaves) = (
        fresh.split_whitespace().last().unwrap(),
        &desk.log()["roots"][0]["root"]["keys"],
    );
    let leaves = leaves
        .as_array()
        .unwrap()
        .iter()
        .find(|k| !desk_signs(&desk, k.as_str().unwrap()))
        .unwrap();
    desk.ok(
        "clinic",
        &[
            "ministry",
            "rotate",
            "--add",
            joins,
            "--drop",
            leaves.as_str().unwrap(),
            "--out",
            "root.json",
        ],
    );
    desk.step(SIGN, &["root.json", "--key", "keys/key-1.age"]);
    desk.step(SIGN, &["root.json", "--key", "key-4.age"]);
    let (code, said) = desk.fails("clinic", &[&PUBLISH[..], &["root.json"]].concat());
    assert!(
        code == 5 && said.contains("1 of the 2"),
        "the old keys must agree too: {said}"
    );
    desk.step(SIGN, &["root.json", "--key", "keys/key-2.age"]);
    desk.step(PUBLISH, &["root.json"]);
    assert_eq!(desk.log()["roots"].as_array().unwrap().len(), 2);
}

/// Whether key-1 or key-2 is this key: they go on signing.
fn desk_signs(desk: &Desk, key: &str) -> bool {
    let signers = desk.log()["list"]["signed_by"].clone();
    signers.as_array().unwrap().iter().any(|k| k == key)
}

#[test]
fn coverage_is_known_from_receipts_and_opened_by_the_receipts_key_alone() {
    let desk = Desk::enrolled();
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "draft",
            "--file",
            &model(),
            "--out",
            "one.json",
        ],
    );
    desk.sign_and_publish("one.json");
    let covered = (0..50).find_map(|_| {
        let report = desk.json(
            "clinic",
            &["ministry", "coverage", "--key", "keys/receipts-1.age"],
        );
        (report["rows"].as_array().unwrap().len() == 1).then_some(report)
    });
    let report = covered.expect("the clinic's own receipt");
    assert_eq!(
        (
            report["rows"][0]["area"].as_str(),
            report["rows"][0]["phones"].as_u64()
        ),
        (Some("north/kilifi"), Some(1))
    );
    let (code, said) = desk.fails(
        "clinic",
        &["ministry", "coverage", "--key", "keys/key-1.age"],
    );
    assert!(code == 4 && said.contains("receipts key"), "{said}");
    assert!(desk.ok("clinic", &["quota", "500"]).contains("500 MB"));
}

#[test]
fn a_token_takes_part_through_its_program_and_a_wrong_one_is_found_out() {
    let desk = Desk::new();
    let seed = "5a".repeat(32);
    let program = format!(
        "{} ministry soft-token {seed}",
        env!("CARGO_BIN_EXE_kijiti")
    );
    #[rustfmt::skip]
    desk.ok("clinic", &["ministry", "keys", "--out", "keys", "--keys", "1", "--threshold", "2", "--token", &program,
        "--work-factor", "10"]);
    desk.ok(
        "clinic",
        &[
            "enrol",
            "request",
            "--name",
            "Desk",
            "--out",
            "request.json",
        ],
    );
    // Enrolment has keys of its own: neither the token nor the keys of releases are needed for it,
    // nor are they of use.
    for key in ["enrol-1", "enrol-2"] {
        std::fs::rename(
            desk.path(&format!("keys/{key}.age")),
            desk.path(&format!("{key}.away")),
        )
        .unwrap();
    }
    let enrol = [
        "enrol",
        "sign",
        "request.json",
        "--area",
        "all",
        "--ministry",
        "keys",
        "--out",
        "a.json",
    ];
    let (code, said) = desk.fails("clinic", &enrol);
    assert!(code == 4 && said.contains("enrol-1.age"), "{said}");
    std::fs::rename(desk.path("enrol-2.away"), desk.path("keys/enrol-2.age")).unwrap();
    desk.ok("clinic", &enrol);
    desk.ok(
        "clinic",
        &["ministry", "release", "draft", "--out", "draft.json"],
    );
    let token = format!("program:{program}");
    desk.step(SIGN, &["draft.json", "--key", &token]);
    desk.step(SIGN, &["draft.json", "--key", "keys/key-1.age"]);
    let checked = desk.step(CHECK, &["draft.json", "--root", "keys/root.json"]);
    assert!(checked.contains("2 of 2 signatures"), "{checked}");
    let broken = desk.fails(
        "clinic",
        &[&SIGN[..], &["draft.json", "--key", "program:false"]].concat(),
    );
    assert!(broken.0 == 4 && broken.1.contains("token"), "{}", broken.1);
}

#[test]
fn damaged_drafts_foreign_keys_and_wrong_passphrases_are_explained_and_change_nothing() {
    let desk = Desk::enrolled();
    desk.ok(
        "clinic",
        &["ministry", "release", "draft", "--out", "draft.json"],
    );
    let draft = std::fs::read_to_string(desk.path("draft.json")).unwrap();
    let sign = |draft: &str| {
        desk.fails(
            "clinic",
            &[&SIGN[..], &[draft, "--key", "keys/key-1.age"]].concat(),
        )
    };
    desk.write("cut.json", &draft[..draft.len() / 2]);
    assert!(sign("cut.json").1.contains("damaged"));
    let at = draft.find("\"document\": \"").unwrap() + 40;
    let mut flipped = draft.clone();
    flipped.replace_range(
        at..at + 2,
        if &draft[at..at + 2] == "ff" {
            "00"
        } else {
            "ff"
        },
    );
    desk.write("flipped.json", &flipped);
    let root = ["flipped.json", "--root", "keys/root.json"];
    let signed = desk.run(
        "clinic",
        &[&SIGN[..], &["flipped.json", "--key", "keys/key-1.age"]].concat(),
    );
    let refused = desk.run("clinic", &[&CHECK[..], &root[..]].concat());
    assert!(
        !refused.status.success() || !signed.status.success(),
        "a flipped bit is found"
    );

    let before = std::fs::read(desk.path("draft.json")).unwrap();
    let mut wrong = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"));
    wrong
        .env("KIJITI_PASSPHRASE", "thirteen patients")
        .current_dir(desk.folder.path());
    let output = wrong
        .args([&SIGN[..], &["draft.json", "--key", "keys/key-1.age"]].concat())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(4) && said.contains("wrong passphrase"),
        "{said}"
    );
    assert_eq!(std::fs::read(desk.path("draft.json")).unwrap(), before);

    desk.write("no.age", "not a key");
    assert_eq!(
        desk.fails(
            "clinic",
            &[&SIGN[..], &["draft.json", "--key", "no.age"]].concat()
        )
        .0,
        4
    );
    desk.ok(
        "clinic",
        &[
            "ministry",
            "new-key",
            "--out",
            "stranger.age",
            "--work-factor",
            "10",
        ],
    );
    desk.sign_elsewhere("draft.json", "stranger.age");
    let (_, said) = desk.fails("clinic", &[&CHECK[..], &["draft.json"]].concat());
    assert!(said.contains("a check has failed"), "{said}");
    assert!(
        desk.fails("clinic", &["ministry", "keys", "--out", "keys"])
            .1
            .contains("holds keys already")
    );
    assert_eq!(
        desk.fails(
            "clinic",
            &[
                "ministry",
                "recall",
                "--module",
                "none",
                "--reason",
                "x",
                "--dry-run"
            ]
        )
        .0,
        1
    );
    assert_eq!(
        desk.fails("clinic", &["ministry", "revoke", "zz", "--dry-run"])
            .0,
        2
    );
}

#[test]
fn a_model_is_quantized_against_the_one_that_phones_have() {
    use teach::pairs::{Stored, read_gguf, write_gguf};
    let desk = Desk::new();
    let weights = read_gguf(&std::fs::read(model()).unwrap()).unwrap();
    std::fs::write(
        desk.path("weights.gguf"),
        write_gguf(&weights, Stored::F16, 2).unwrap(),
    )
    .unwrap();
    let run = |weights: &str| {
        let model = model();
        [
            "ministry",
            "release",
            "requantize",
            "--old",
            &model,
            "--weights",
            weights,
            "--out",
            "new.gguf",
        ]
        .map(str::to_owned)
    };
    fn words(args: &[String]) -> Vec<&str> {
        args.iter().map(String::as_str).collect()
    }
    let said = desk.ok("none", &words(&run("weights.gguf")));
    assert!(
        said.contains("blocks keep their scales") && said.contains("with fresh scales"),
        "{said}"
    );
    assert!(
        desk.path("new.gguf").exists() && said.contains("without --old-weights"),
        "{said}"
    );
    let both = [
        run("weights.gguf").to_vec(),
        vec!["--old-weights".into(), "weights.gguf".into()],
    ]
    .concat();
    assert!(
        !desk
            .ok("none", &words(&both))
            .contains("without --old-weights")
    );
    desk.write("words", "no model");
    let (code, said) = desk.fails("none", &words(&run("words")));
    assert!(code == 2 && said.contains("two GGUF files"), "{said}");
    assert!(
        desk.fails("none", &words(&run(&model())))
            .1
            .contains("quantized already")
    );
}

#[test]
fn publishing_checks_first_and_a_draft_changed_after_a_signature_gathers_no_more() {
    let desk = Desk::enrolled();
    desk.write("letter.txt", "not a model");
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "draft",
            "--file",
            "letter.txt",
            "--notes",
            "hello",
            "--out",
            "d.json",
        ],
    );
    desk.ok(
        "elsewhere",
        &[
            "ministry",
            "release",
            "sign",
            "d.json",
            "--key",
            "keys/key-1.age",
        ],
    );
    let draft = std::fs::read_to_string(desk.path("d.json")).unwrap();
    desk.write("changed.json", &draft.replace("68656c6c6f", "68656c6c70"));
    let (code, said) = desk.fails(
        "elsewhere",
        &[
            "ministry",
            "release",
            "sign",
            "changed.json",
            "--key",
            "keys/key-2.age",
        ],
    );
    assert!(code == 2 && said.contains("changed after key"), "{said}");
    desk.ok(
        "elsewhere",
        &[
            "ministry",
            "release",
            "sign",
            "d.json",
            "--key",
            "keys/key-2.age",
        ],
    );
    let (code, said) = desk.fails("clinic", &["ministry", "release", "publish", "d.json"]);
    assert!(code == 5 && said.contains("a check has failed"), "{said}");
    assert!(
        desk.json("clinic", &["model", "list"])["releases"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn after_stolen_keys_were_rotated_out_nothing_they_signed_is_taken_over_and_a_recall_is_seen() {
    let desk = Desk::enrolled();
    let sign = |draft: &str, keys: &[&str]| {
        for key in keys {
            desk.ok(
                "clinic",
                &[
                    "ministry",
                    "release",
                    "sign",
                    draft,
                    "--key",
                    &format!("keys/{key}.age"),
                ],
            );
        }
        desk.ok("clinic", &["ministry", "release", "publish", draft]);
    };
    let far = u64::MAX.to_string();
    desk.write("form", "a form");
    #[rustfmt::skip]
    desk.ok("clinic", &["ministry", "release", "draft", "--file", "form", "--module", "form-a", "--version-number", &far,
        "--out", "far.json"]);
    sign("far.json", &["key-1", "key-2"]);
    desk.write("next", "the next form");
    let after = [
        "ministry",
        "release",
        "draft",
        "--file",
        "next",
        "--module",
        "form-a",
        "--out",
        "next.json",
    ];
    assert!(
        desk.fails("clinic", &after).1.contains("version"),
        "no number comes after the last, and that is said"
    );
    let new_key = |name: &str| {
        let said = desk.ok(
            "clinic",
            &["ministry", "new-key", "--out", name, "--work-factor", "10"],
        );
        said.split_whitespace().last().unwrap().to_owned()
    };
    let (fourth, fifth) = (new_key("keys/key-4.age"), new_key("keys/key-5.age"));
    let stolen = desk.log()["roots"][0]["root"]["keys"]
        .as_array()
        .unwrap()
        .clone();
    let mut rotate = vec![
        "ministry",
        "rotate",
        "--out",
        "root.json",
        "--add",
        &fourth,
        "--add",
        &fifth,
    ];
    stolen
        .iter()
        .for_each(|key| rotate.extend(["--drop", key.as_str().unwrap()]));
    let said = desk.ok("clinic", &rotate);
    assert!(
        said.contains("leaves") && !said.contains("enrolled again"),
        "{said}"
    );
    sign("root.json", &["key-1", "key-2", "key-4", "key-5"]);
    assert!(
        !desk.ok("clinic", &["status"]).contains("enrol it again"),
        "other keys have enrolled it"
    );
    let said = desk.ok("clinic", &after);
    assert!(said.contains("nothing of it is taken over"), "{said}");
    sign("next.json", &["key-4", "key-5"]);
    let list = desk.json("clinic", &["model", "list"]);
    let versions: Vec<_> = list["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["version"].as_u64())
        .collect();
    assert_eq!(versions, [Some(1)], "the far-ahead release is gone");
    let days = [
        "ministry",
        "release",
        "draft",
        "--expires-days",
        "999999999999",
        "--out",
        "x",
    ];
    assert_eq!(desk.run("clinic", &days).status.code(), Some(2));
    let digest = desk.json("clinic", &["model", "list"])["releases"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    #[rustfmt::skip]
    desk.ok("clinic", &["ministry", "recall", "--bundle", &digest, "--reason", "wrong dose for babies", "--out", "recall.json"]);
    sign("recall.json", &["recall-1"]);
    assert!(
        desk.ok("clinic", &["status"])
            .contains("wrong dose for babies")
    );
    assert!(
        desk.ok("clinic", &["model", "list"])
            .contains("recalled: wrong dose for babies")
    );
}

/// H8 of the review: keys of enrolment rotate by themselves. One that merely leaves un-enrols
/// nobody; one that was stolen is distrusted, and what it certified counts no more until it is
/// certified anew.
#[test]
fn h8_a_key_of_enrolment_that_leaves_un_enrols_nobody_and_a_stolen_one_is_distrusted() {
    let desk = Desk::enrolled();
    let fresh = desk.key("keys/enrol-3.age", &[]);
    let keys = desk.enrolment_keys();
    assert_eq!(keys.len(), 2);
    let drop: Vec<_> = keys
        .iter()
        .flat_map(|key| ["--drop", key])
        .chain(["--enrol", &fresh])
        .collect();
    desk.rotate(&drop, "leave.json");
    assert!(
        !desk.ok("clinic", &["status"]).contains("enrol it again"),
        "who has left is still believed"
    );
    let distrust: Vec<_> = keys.iter().flat_map(|key| ["--distrust", key]).collect();
    desk.rotate(&distrust, "stolen.json");
    assert!(
        desk.ok("clinic", &["status"]).contains("enrol it again"),
        "what a stolen key has signed counts no more"
    );
}

#[test]
fn after_a_stolen_key_of_enrolment_one_file_and_meetings_certify_everyone_anew() {
    let desk = common::with_worker();
    let believed = |phone: &str| !desk.ok(phone, &["status"]).contains("enrol it again");
    let renew = ["enrol", "renew", "--ministry", "keys"];
    assert!(
        desk.ok("clinic", &renew).contains("no certificate"),
        "nothing is to be done"
    );
    let fresh = desk.key("keys/enrol-3.age", &[]);
    let keys = desk.enrolment_keys();
    let stolen: Vec<_> = keys
        .iter()
        .flat_map(|key| ["--distrust", key])
        .chain(["--enrol", &fresh])
        .collect();
    desk.rotate(&stolen, "stolen.json");
    assert!(!believed("clinic"));
    // The worker hears of the stolen key before there is anything new for it.
    let _ = desk.met("clinic", "worker");
    assert!(!believed("worker"));

    let listed = desk.ok("clinic", &renew);
    assert!(
        listed.contains("Clinic for north/kilifi: its key is distrusted")
            && listed.contains("--out"),
        "{listed}"
    );
    let id = listed.split_whitespace().next().unwrap();
    assert!(
        desk.ok("clinic", &[&renew[..], &["--without", id]].concat())
            .contains("no certificate")
    );
    desk.ok("clinic", &[&renew[..], &["--out", "renewed.json"]].concat());
    desk.ok("clinic", &["enrol", "accept", "renewed.json"]);
    assert!(believed("clinic"));
    desk.meet("clinic", "worker");
    assert!(
        believed("worker"),
        "the clinic has passed it on to those that it certified"
    );
    let all = desk.ok("clinic", &[&renew[..], &["--all"]].concat());
    assert!(all.contains("as was asked"), "{all}");
}

#[test]
fn a_first_root_is_made_of_keys_that_were_made_one_per_machine() {
    let desk = Desk::new();
    for machine in ["minister", "director", "office", "district"] {
        std::fs::create_dir(desk.path(machine)).unwrap();
    }
    let [a, b, c] =
        ["minister", "director", "office"].map(|m| desk.key(&format!("{m}/key.age"), &[]));
    let enrol = desk.key("district/enrol-1.age", &[]);
    let [recall, beacon] =
        ["recall", "beacon"].map(|name| desk.key(&format!("office/{name}.age"), &[]));
    let receipts = desk.key("office/receipts.age", &["--for-receipts"]);
    let draft = [
        "ministry", "root", "draft", "--key", &a, "--key", &b, "--key", &c, "--enrol", &enrol,
    ];
    let rest = [
        "--recall",
        &recall,
        "--beacon",
        &beacon,
        "--receipts",
        &receipts,
        "--out",
        "root-draft.json",
    ];
    let (code, _) = desk.fails(
        "clinic",
        &[&draft[..], &["--threshold", "4"], &rest].concat(),
    );
    assert_eq!(code, 2, "four of three");
    desk.ok(
        "clinic",
        &[&draft[..], &["--threshold", "2"], &rest].concat(),
    );
    let finish = [
        "ministry",
        "root",
        "finish",
        "root-draft.json",
        "--out",
        "district/root.json",
    ];
    desk.step(SIGN, &["root-draft.json", "--key", "minister/key.age"]);
    let (code, said) = desk.fails("clinic", &finish);
    assert!(
        code == 5 && said.contains("1 of the 2 signatures"),
        "{said}"
    );
    desk.step(SIGN, &["root-draft.json", "--key", "office/key.age"]);
    desk.ok("clinic", &finish);
    desk.fails("clinic", &finish);

    desk.ok(
        "clinic",
        &[
            "enrol",
            "request",
            "--name",
            "Clinic",
            "--out",
            "request.json",
        ],
    );
    desk.ok(
        "clinic",
        &[
            "enrol",
            "sign",
            "request.json",
            "--area",
            "all",
            "--ministry",
            "district",
            "--out",
            "answer.json",
        ],
    );
    desk.ok("clinic", &["enrol", "accept", "answer.json"]);
    let form = desk.form("form", "first edition");
    let draft = [
        "ministry",
        "release",
        "draft",
        "--module",
        "form-a",
        "--file",
        &form,
        "--out",
        "draft.json",
    ];
    desk.ok("clinic", &draft);
    for machine in ["director", "office"] {
        desk.step(
            SIGN,
            &["draft.json", "--key", &format!("{machine}/key.age")],
        );
    }
    desk.step(PUBLISH, &["draft.json"]);
    desk.ok(
        "clinic",
        &["ministry", "coverage", "--key", "office/receipts.age"],
    );
}

#[test]
fn a_pack_gives_up_a_pink_rule_by_the_word_of_who_checks_and_not_by_its_own() {
    let desk = Desk::enrolled();
    let rules = inference::rules::BUILT_IN;
    let at = rules.find("[[rule]]\nid = \"Yd3\"").unwrap();
    let end = at + 8 + rules[at + 8..].find("[[rule]]").unwrap();
    let fewer = [&rules[..at], &rules[end..]].concat();
    let said = fewer.replace("version = 1\n", "version = 2\ngives_up = [\"Yd3\"]\n");
    for (pack, words) in [(&fewer, "must be"), (&said, "say --gives-up Yd3")] {
        let file = desk.write("rules.toml", pack);
        desk.ok(
            "clinic",
            &[
                "ministry",
                "release",
                "draft",
                "--module",
                "rules",
                "--file",
                &file,
                "--out",
                "draft.json",
            ],
        );
        let shown = String::from_utf8(
            desk.run("clinic", &[&CHECK[..], &["draft.json"]].concat())
                .stdout,
        )
        .unwrap();
        assert!(shown.contains(words), "{words}: {shown}");
        let (code, _) = desk.fails(
            "clinic",
            &[&CHECK[..], &["draft.json", "--gives-up", "Yd4"]].concat(),
        );
        assert_eq!(code, 5);
    }
    for key in ["keys/key-1.age", "keys/key-2.age"] {
        desk.step(SIGN, &["draft.json", "--key", key]);
    }
    let (code, _) = desk.fails("clinic", &[&PUBLISH[..], &["draft.json"]].concat());
    assert_eq!(code, 5, "nobody has said that it may");
    desk.step(PUBLISH, &["draft.json", "--gives-up", "Yd3"]);
}

impl Desk {
    /// Two of three keys enrol, each on a machine of its own.
    fn of_two_desks() -> Self {
        let desk = Self::new();
        for out in ["keys", "others"] {
            assert!(desk.keys_that_enrol(out, "2").status.success());
        }
        for (machine, key) in [("capital", "1"), ("coast", "2"), ("again", "1")] {
            std::fs::create_dir(desk.path(machine)).unwrap();
            for file in [&format!("enrol-{key}.age"), "root.json"] {
                let to = desk.path(machine).join(file);
                std::fs::copy(desk.path("keys").join(file), to).unwrap();
            }
        }
        let request = ["enrol", "request", "--name", "Neema", "--out", "r.json"];
        desk.ok("worker", &request);
        desk
    }

    fn keys_that_enrol(&self, out: &str, threshold: &str) -> std::process::Output {
        #[rustfmt::skip]
        let words = ["ministry", "keys", "--out", out, "--work-factor", "10", "--enrol-keys", "3", "--enrol-threshold", threshold];
        self.run("clinic", &words)
    }

    /// Signs a request or a draft at a desk: the exit code, and what was said.
    fn sign_at(&self, keys: &str, file: &str, out: &str, more: &[&str]) -> (Option<i32>, String) {
        let words = ["enrol", "sign", file, "--ministry", keys, "--out", out];
        let output = self.run("elsewhere", &[&words[..], more].concat());
        let [out, err] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
        (output.status.code(), format!("{out}{err}"))
    }
}

const FOR_KILIFI: [&str; 4] = ["--area", "north/kilifi", "--rights", "carry,read"];

/// Where two keys must enrol, a certificate goes from desk to desk, and one desk alone enrols nobody.
#[test]
fn an_enrolment_goes_from_desk_to_desk_as_a_draft() {
    let desk = Desk::of_two_desks();
    let four_of_three = desk.keys_that_enrol("more", "4").status.code();
    assert_eq!(four_of_three, Some(2));
    let (_, first) = desk.sign_at("capital", "r.json", "draft.json", &FOR_KILIFI);
    assert!(first.contains("1 of 2 keys have signed"), "{first}");
    let (_, refused) = desk.fails("worker", &["enrol", "accept", "draft.json"]);
    assert!(refused.contains("another key must sign"), "{refused}");
    let (code, second) = desk.sign_at("coast", "draft.json", "answer.json", &[]);
    assert_eq!(code, Some(0), "{second}");
    let shown = second.contains("certifies phone Neema");
    assert!(
        shown && second.contains("for north/kilifi: carry,read"),
        "{second}"
    );
    desk.ok("worker", &["enrol", "accept", "answer.json"]);
    let status = desk.ok("worker", &["status"]);
    assert!(status.contains("enrolled  Neema, north/kilifi"), "{status}");
}

/// A draft that was changed on the way gathers no more signatures, nor does one of another ministry's, and one
/// key counts once.
#[test]
fn a_draft_of_an_enrolment_is_signed_as_it_stands_by_another_key_of_its_ministry() {
    let desk = Desk::of_two_desks();
    desk.sign_at("capital", "r.json", "draft.json", &FOR_KILIFI);
    let text = std::fs::read_to_string(desk.path("draft.json")).unwrap();
    let mut forged: serde_json::Value = serde_json::from_str(&text).unwrap();
    let certificate = forged["certificates"][0].as_str().unwrap().to_owned();
    forged["certificates"][0] = certificate.replace("6e6f727468", "736f757468").into(); // north: south
    desk.write("forged.json", &forged.to_string());
    let none: &[&str] = &[];
    for (keys, file, more, code, why) in [
        ("again", "draft.json", none, 5, "carries the signature"),
        ("others", "draft.json", none, 5, "another ministry"),
        ("coast", "forged.json", none, 2, "was changed after key"),
        ("coast", "draft.json", &FOR_KILIFI, 2, "says itself where"),
        (
            "coast",
            "draft.json",
            &["--valid-days", "5"],
            2,
            "says itself",
        ),
        ("coast", "r.json", none, 2, "say where"),
    ] {
        let (exit, said) = desk.sign_at(keys, file, "x.json", more);
        assert!(exit == Some(code) && said.contains(why), "{why}: {said}");
        assert!(!desk.path("x.json").exists());
    }
}
