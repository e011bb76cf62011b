//! Mirrors: a release goes through a folder and a web server, cut off in the middle and tampered
//! with.

#![allow(clippy::disallowed_methods)]

mod common;
mod web;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use common::Desk;
use web::{Manners, counts, serve};

/// A desk that has published a form of 4 MB, and a town that trusts the same ministry and has
/// nothing yet.
fn published() -> Desk {
    let desk = Desk::enrolled();
    let noise: Vec<u8> = (0..4_000_000u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect();
    std::fs::write(desk.path("form"), noise).unwrap();
    desk.publish("form", "form-a", &[]);
    desk.ok(
        "town",
        &["enrol", "request", "--name", "Town", "--out", "town.json"],
    );
    #[rustfmt::skip]
    desk.ok("town", &["enrol", "sign", "town.json", "--area", "north", "--rights", "carry", "--ministry", "keys",
        "--out", "town-answer.json"]);
    desk.ok("town", &["enrol", "accept", "town-answer.json"]);
    desk
}

fn bundle(desk: &Desk, phone: &str) -> Option<PathBuf> {
    let folder = std::fs::read_dir(desk.path(phone).join("bundles")).ok()?;
    let whole =
        |p: &PathBuf| p.extension().is_none() && p.metadata().is_ok_and(|m| m.len() == 4_000_000);
    folder.flatten().map(|e| e.path()).find(whole)
}

#[test]
fn a_release_travels_by_a_folder_and_twice_is_not_fetched() {
    let desk = published();
    assert!(
        desk.ok("clinic", &["mirror", "push", "card", "--dry-run"])
            .contains("1 bundles")
    );
    assert!(!desk.path("card").exists());
    desk.ok("clinic", &["mirror", "push", "card"]);
    assert!(
        desk.ok("town", &["mirror", "pull", "card"])
            .contains("1 bundles taken, 4000000 bytes")
    );
    assert!(bundle(&desk, "town").is_some());
    assert!(
        desk.ok("town", &["mirror", "pull", "card"])
            .contains("0 bundles taken")
    );
    assert!(
        desk.ok("clinic", &["mirror", "push", "card"])
            .contains("0 of them new")
    );
    let (code, said) = desk.fails("town", &["mirror", "pull", "nowhere"]);
    assert!(
        code == 1 && said.contains("whether the card is in"),
        "{said}"
    );
    std::fs::create_dir(desk.path("empty")).unwrap();
    assert!(
        desk.fails("town", &["mirror", "pull", "empty"])
            .1
            .contains("is this a mirror")
    );
}

#[test]
fn a_mirror_that_was_tampered_with_gives_nothing() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "card"]);
    let mut lists = std::fs::read_dir(desk.path("card/kijiti/documents"))
        .unwrap()
        .flatten()
        .map(|e| e.path());
    let list = lists
        .find(|p| p.to_string_lossy().contains("release-list"))
        .unwrap();
    let genuine = std::fs::read(&list).unwrap();
    let mut forged = genuine.clone();
    forged[40] ^= 1;
    std::fs::write(&list, forged).unwrap();
    let output = desk.run("town", &["mirror", "pull", "card"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("passed over: release-list"));
    assert!(bundle(&desk, "town").is_none());
    std::fs::write(&list, genuine).unwrap();

    let file = std::fs::read_dir(desk.path("card/kijiti/bundles"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2_000_000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (code, said) = desk.fails("town", &["mirror", "pull", "card"]);
    assert!(code == 5 && said.contains("not what was signed"), "{said}");
    assert!(bundle(&desk, "town").is_none());
}

#[test]
fn a_model_is_made_out_of_the_one_before_by_its_delta_and_runs() {
    let desk = Desk::enrolled();
    let reference =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/triage-reference.gguf");
    let old = std::fs::read(reference).unwrap();
    // The same model with another word on its card: what changes between releases, at its smallest.
    let at = old
        .windows(17)
        .position(|w| w == b"reference triage ")
        .unwrap();
    let with = |word: &[u8; 9]| {
        let mut file = old.clone();
        file[at..at + 9].copy_from_slice(word);
        file
    };
    let new = with(b"Reference");
    std::fs::write(desk.path("third.gguf"), with(b"REFERENCE")).unwrap();
    std::fs::write(desk.path("old.gguf"), old).unwrap();
    std::fs::write(desk.path("new.gguf"), new).unwrap();
    let publish = |more: &[&str]| {
        desk.ok(
            "clinic",
            &[
                &["ministry", "release", "draft", "--out", "draft.json"],
                more,
            ]
            .concat(),
        );
        for key in ["keys/key-1.age", "keys/key-2.age"] {
            desk.ok(
                "clinic",
                &["ministry", "release", "sign", "draft.json", "--key", key],
            );
        }
        desk.ok("clinic", &["ministry", "release", "publish", "draft.json"]);
        desk.ok("clinic", &["mirror", "push", "card"]);
    };
    for phone in ["town", "far"] {
        desk.ok(
            phone,
            &["enrol", "request", "--name", phone, "--out", "request.json"],
        );
        #[rustfmt::skip]
        desk.ok(phone, &["enrol", "sign", "request.json", "--area", "north", "--rights", "carry", "--ministry", "keys",
            "--out", "answer.json"]);
        desk.ok(phone, &["enrol", "accept", "answer.json"]);
    }
    let runs = |phone: &str, version: u64| {
        let shown = (0..100)
            .map(|_| desk.run(phone, &["--json", "model", "verify"]))
            .filter(|o| o.status.success());
        let mut versions = shown.map(|o| {
            serde_json::from_slice::<serde_json::Value>(&o.stdout).unwrap()["version"].clone()
        });
        assert!(versions.any(|v| v == version), "version {version} runs");
    };
    let small = |phone: &str| {
        let said = desk.ok(phone, &["mirror", "pull", "card"]);
        let bytes: u64 = said
            .split(", ")
            .last()
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(bytes < 9000, "deltas, not the whole: {said}");
    };
    publish(&["--file", "old.gguf"]);
    for phone in ["town", "far"] {
        desk.ok(phone, &["mirror", "pull", "card"]);
        runs(phone, 1);
    }
    publish(&["--file", "new.gguf", "--delta-from", "old.gguf"]);
    small("town");
    runs("town", 2);
    publish(&["--file", "third.gguf", "--delta-from", "new.gguf"]);
    small("town");
    runs("town", 3);
    small("far"); // two releases behind: by both deltas, one after the other
    runs("far", 3);
    for phone in ["town", "far"] {
        let left = std::fs::read_dir(desk.path(phone).join("bundles"))
            .unwrap()
            .flatten()
            .map(|e| e.path());
        assert!(
            left.into_iter()
                .all(|p| p.extension().is_none_or(|e| e == "tree")),
            "no drafts are left behind"
        );
    }
}

/// A file system of three megabytes, made in a mount namespace of its own; skipped where that is
/// not allowed.
#[test]
fn a_disk_that_fills_in_the_middle_of_a_bundle_is_explained_and_the_rest_comes_when_there_is_space()
{
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "card"]);
    let script = r#"
        mkdir small && mount -t tmpfs -o size=3m tmpfs small && cp -r town small/phone
        "$KIJITI" --data small/phone mirror pull card
        echo "code $?" >&2
        ls small/phone/bundles >&2
        mount -o remount,size=20m small
        "$KIJITI" --data small/phone mirror pull card && "$KIJITI" --data small/phone case list >/dev/null
        cp -r small/phone/bundles after
    "#;
    let Some((_, said)) = desk.with_mounts(script) else {
        return;
    };
    assert!(
        said.contains("error: the disk is full") && said.contains("hint: free some space"),
        "{said}"
    );
    let digest = bundle(&desk, "clinic")
        .unwrap()
        .file_name()
        .unwrap()
        .to_owned();
    let listed = said.lines().skip_while(|l| !l.starts_with("code")).skip(1);
    assert!(
        !listed.into_iter().any(|l| digest == l),
        "nothing unfinished has a final name: {said}"
    );
    assert_eq!(
        std::fs::metadata(desk.path("after").join(digest))
            .unwrap()
            .len(),
        4_000_000
    );
}

#[test]
fn a_release_comes_over_http_and_after_a_cut_goes_on_where_it_stopped() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "www"]);
    let (budget, served) = counts(2_500_000);
    let url = serve(
        desk.path("www"),
        Manners::Good,
        budget.clone(),
        served.clone(),
    );
    let (code, said) = desk.fails("town", &["mirror", "pull", &url]);
    assert!(
        code == 1 && said.contains("goes on where it stopped"),
        "{said}"
    );
    assert!(bundle(&desk, "town").is_none());
    budget.store(u64::MAX, Ordering::SeqCst);
    desk.ok("town", &["mirror", "pull", &url]);
    assert!(bundle(&desk, "town").is_some());
    assert_eq!(
        served.load(Ordering::SeqCst),
        4_000_000,
        "nothing is fetched twice"
    );
    let (code, said) = desk.fails("clinic", &["mirror", "push", &url]);
    assert!(code == 2 && said.contains("cannot be written to"), "{said}");
}

#[test]
fn web_servers_as_people_have_them_are_good_enough() {
    use Manners::*;
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "www"]);
    std::process::Command::new("cp")
        .args(["-r", "town", "as-it-was"])
        .current_dir(desk.folder.path())
        .status()
        .unwrap();
    for manners in [NoRanges, Packs, Busy, Halves, Parts, HangsUp, RefusesRanges] {
        let (budget, served) = counts(u64::MAX);
        let url = serve(desk.path("www"), manners, budget.clone(), served);
        if manners == NoRanges || manners == RefusesRanges {
            // Cut off once; then it begins at the beginning, and what was here is passed over.
            budget.store(1_500_000, Ordering::SeqCst);
            desk.fails("town", &["mirror", "pull", &url]);
            budget.store(u64::MAX, Ordering::SeqCst);
        }
        let said = match manners {
            // Three tries a minute's patience apart would be long: whoever asks again is served.
            Busy => {
                let (code, said) = desk.fails("town", &["mirror", "pull", &url]);
                assert!(code == 1 && said.contains("in trouble (503)"), "{said}");
                (0..3)
                    .map(|_| desk.run("town", &["mirror", "pull", &url]))
                    .find(|output| output.status.success())
                    .expect("it comes in the end")
                    .stdout
            }
            _ => desk.ok("town", &["mirror", "pull", &url]).into_bytes(),
        };
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("1 bundles taken"), "{said}");
        assert!(bundle(&desk, "town").is_some());
        std::fs::remove_dir_all(desk.path("town")).unwrap();
        std::process::Command::new("cp")
            .args(["-r", "as-it-was", "town"])
            .current_dir(desk.folder.path())
            .status()
            .unwrap();
    }
    for (manners, words) in [
        (Portal, "log in"),
        (PortalOfBundles, "log in"),
        (Status511, "log in"),
        (
            Brotli,
            "packs its files in a way that is not read here (br)",
        ),
    ] {
        let (budget, served) = counts(u64::MAX);
        let url = serve(desk.path("www"), manners, budget, served);
        let (code, said) = desk.fails("town", &["mirror", "pull", &url]);
        assert!(code == 1 && said.contains(words), "{said}");
        assert!(
            !said.contains("push"),
            "it is not the mirror's fault: {said}"
        );
    }
    // Nothing of a page was taken for a bundle: the next server goes on from nothing.
    let (budget, served) = counts(u64::MAX);
    let url = serve(desk.path("www"), Good, budget, served.clone());
    desk.ok("town", &["mirror", "pull", &url]);
    assert_eq!(served.load(Ordering::SeqCst), 4_000_000);
    let (_, said) = desk.fails("town", &["mirror", "pull", "http://127.0.0.1:9"]);
    assert!(said.contains("not reached"), "{said}");
}

/// The only file of a mirror's folder of bundles.
fn bundle_on(desk: &Desk, card: &str) -> PathBuf {
    let folder = desk.path(card).join("kijiti/bundles");
    let mut files = std::fs::read_dir(folder).unwrap().flatten();
    files.next().unwrap().path()
}

fn publish_another(desk: &Desk) {
    std::fs::write(desk.path("form2"), b"a newer form").unwrap();
    desk.publish("form2", "form-a", &[]);
}

#[test]
fn a_push_repairs_what_is_damaged_and_takes_away_what_nothing_names() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "card"]);
    let on_card = bundle_on(&desk, "card");
    let genuine = std::fs::read(&on_card).unwrap();
    let zeros = [&vec![0; 70_000], &genuine[70_000..]].concat();
    let half = &genuine[..2_000_000];
    for damaged in [&zeros[..], half, b""] {
        std::fs::write(&on_card, damaged).unwrap();
        assert_eq!(
            desk.run("town", &["mirror", "pull", "card"]).status.code(),
            Some(5)
        );
        let said = desk.ok("clinic", &["mirror", "push", "card"]);
        assert!(said.contains("1 of them new"), "{said}");
        assert_eq!(std::fs::read(&on_card).unwrap(), genuine);
    }
    desk.ok("town", &["mirror", "pull", "card"]);

    // Pushes that were cut off, a release that was superseded, a broken index; and a file of somebody's.
    let beside = |name: String| on_card.with_file_name(name);
    let name = on_card.file_name().unwrap().to_str().unwrap().to_owned();
    for left in [format!("{name}#1"), format!("{name}#4711")] {
        std::fs::write(beside(left), b"half").unwrap();
    }
    std::fs::write(beside("notes.txt".into()), b"mine").unwrap();
    // What a courier of another ministry carries on the same card.
    let others = beside("ab".repeat(32));
    std::fs::write(&others, b"another ministry's").unwrap();
    publish_another(&desk);
    let documents = || {
        std::fs::read_dir(desk.path("card/kijiti/documents"))
            .unwrap()
            .count()
    };
    let before = documents();
    desk.ok("clinic", &["mirror", "push", "card"]);
    assert_eq!(documents(), before, "the older list is taken away");
    assert!(others.exists(), "it is not ours to take away");
    let folder = on_card.parent().unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|found| *found != name && *found != "ab".repeat(32))
        .collect();
    names.sort();
    assert_eq!(
        (names.len(), names[1].as_str()),
        (2, "notes.txt"),
        "{names:?}"
    );
}

#[test]
fn a_mirror_whose_index_is_damaged_or_gone_is_not_taken_back_and_what_is_in_the_way_is_put_aside() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "card"]);
    desk.ok("town", &["mirror", "pull", "card"]);
    publish_another(&desk);
    desk.ok("clinic", &["mirror", "push", "card"]);
    // A phone that is behind pushes to a mirror whose index is damaged or gone: it goes on from what lies there.
    for index in [&b"{\"schema\""[..], b""] {
        std::fs::write(desk.path("card/kijiti/index.json"), index).unwrap();
        if index.is_empty() {
            std::fs::remove_file(desk.path("card/kijiti/index.json")).unwrap();
        }
        std::fs::remove_dir_all(desk.path("behind")).ok();
        std::process::Command::new("cp")
            .args(["-r", "town", "behind"])
            .current_dir(desk.folder.path())
            .status()
            .unwrap();
        let said = desk.ok("behind", &["mirror", "push", "card"]);
        assert!(said.contains("now has release list 2"), "{said}");
    }
    // Folders in the way are put aside.
    for name in ["index.json", "documents", "bundles"] {
        let there = desk.path("card/kijiti").join(name);
        if name == "index.json" {
            std::fs::remove_file(&there).unwrap();
            std::fs::create_dir(&there).unwrap();
            continue;
        }
        let file = std::fs::read_dir(&there)
            .unwrap()
            .flatten()
            .next()
            .unwrap()
            .path();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    }
    desk.ok("clinic", &["mirror", "push", "card"]);
    assert!(
        desk.run("late", &["mirror", "pull", "card"]).status.code() == Some(2),
        "no phone there"
    );
    std::fs::write(desk.path("card/kijiti/index.json"), b"{\"schema\"").unwrap();
    let (_, said) = desk.fails("town", &["mirror", "pull", "card"]);
    assert!(said.contains("the index is damaged"), "{said}");
    desk.ok("clinic", &["mirror", "push", "card"]);
    assert!(desk.ok("town", &["mirror", "pull", "card"]).contains("→ 2"));
}

#[test]
fn a_push_never_takes_a_mirror_back_and_never_takes_another_ministrys() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "card"]);
    desk.ok("town", &["mirror", "pull", "card"]);
    publish_another(&desk);
    desk.ok("clinic", &["mirror", "push", "card"]);
    let said = desk.ok("town", &["mirror", "push", "card"]);
    assert!(
        said.contains("was ahead") && said.contains("now has release list 2"),
        "{said}"
    );
    let status = desk.json("town", &["status"]);
    assert_eq!(status["release_list"], 2, "{status}");
    let other = published();
    let card = desk.path("card");
    let card = card.to_str().unwrap();
    let before = std::fs::read(desk.path("card/kijiti/index.json")).unwrap();
    let (code, said) = other.fails("clinic", &["mirror", "push", card]);
    assert!(code == 5 && said.contains("another ministry"), "{said}");
    assert_eq!(
        std::fs::read(desk.path("card/kijiti/index.json")).unwrap(),
        before
    );
}

#[test]
fn two_pulls_at_once_take_turns_and_a_running_phone_takes_in_by_a_relative_name() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "www"]);
    let pull = || desk.run("town", &["mirror", "pull", "www"]);
    let outputs = std::thread::scope(|scope| {
        let both = [scope.spawn(pull), scope.spawn(pull)];
        both.map(|pulled| pulled.join().unwrap())
    });
    for output in outputs {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(bundle(&desk, "town").is_some());
}
