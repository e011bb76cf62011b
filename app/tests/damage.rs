//! A phone on a bad card: each of its files in turn gone, cut, emptied, overwritten, with a bit that fell over, or a
//! folder in its place. It starts or says exactly what to do; nothing is lost that another phone holds; and it is
//! whole again after it has met one.

#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

use serde_json::Value;

mod common;
use common::{Desk, new_case, with_worker};

/// What becomes of a file.
type Damage = (&'static str, fn(&Path, &[u8]));

const DAMAGES: [Damage; 9] = [
    ("gone", |file, _| std::fs::remove_file(file).unwrap()),
    ("a folder", |file, _| {
        std::fs::remove_file(file).unwrap();
        std::fs::create_dir(file).unwrap();
    }),
    ("empty", |file, _| std::fs::write(file, b"").unwrap()),
    ("half", |file, was| {
        std::fs::write(file, &was[..was.len() / 2]).unwrap()
    }),
    ("one byte", |file, was| {
        std::fs::write(file, &was[..was.len().min(1)]).unwrap();
    }),
    ("its last page gone", |file, was| {
        std::fs::write(file, &was[..was.len().saturating_sub(4096)]).unwrap();
    }),
    ("zeros", |file, was| {
        std::fs::write(file, vec![0; was.len()]).unwrap()
    }),
    ("a bit at its beginning", |file, was| flip(file, was, 3)),
    ("a bit in its middle", |file, was| {
        flip(file, was, was.len() / 2)
    }),
];

fn flip(file: &Path, was: &[u8], at: usize) {
    let mut now = was.to_vec();
    if let Some(byte) = now.get_mut(at) {
        *byte ^= 1;
    }
    std::fs::write(file, now).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status();
    assert!(copied.unwrap().success());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

fn picture() -> Vec<u8> {
    let (side, mut file) = (256, Vec::new());
    let pixels: Vec<u8> = (0..side * side)
        .flat_map(|i| [(i * 5) as u8, (i / side * 3) as u8, (i ^ (i / side)) as u8])
        .collect();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    file
}

/// A worker with a case and a photo, a clinic that holds both and a release; and what the photo was.
fn two_phones() -> (Desk, String, Vec<u8>) {
    let desk = with_worker();
    let noise: Vec<u8> = (0..200_000u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect();
    std::fs::write(desk.path("form"), noise).unwrap();
    desk.publish("form", "form-a", &[]);
    let case = new_case(
        &desk,
        "worker",
        &["--patient", "Amina", "--consent", "care,share,photo"],
    );
    std::fs::write(desk.path("rash.png"), picture()).unwrap();
    desk.ok(
        "worker",
        &["case", "photo", &case, "rash.png", "--shows", "skin"],
    );
    for _ in 0..2 {
        desk.meet("worker", "clinic");
    }
    desk.ok("clinic", &["case", "photo", &case, "--out", "photo.jpg"]);
    let photo = std::fs::read(desk.path("photo.jpg")).unwrap();
    (desk, case, photo)
}

#[test]
fn every_file_of_a_phone_may_be_damaged_and_what_others_hold_comes_back() {
    let (desk, case, photo) = two_phones();
    copy(&desk.path("worker"), &desk.path("as-it-was"));
    copy(&desk.path("clinic"), &desk.path("clinic-as-it-was"));
    let form = std::fs::read(desk.path("form")).unwrap();
    for file in files(&desk.path("as-it-was")) {
        let name = file
            .strip_prefix(desk.path("as-it-was"))
            .unwrap()
            .to_owned();
        let was = std::fs::read(&file).unwrap();
        for (how, damage) in DAMAGES {
            if was.is_empty() && how != "gone" && how != "a folder" {
                continue;
            }
            let what = format!("{} {how}", name.display());
            copy(&desk.path("as-it-was"), &desk.path("worker"));
            copy(&desk.path("clinic-as-it-was"), &desk.path("clinic"));
            damage(&desk.path("worker").join(&name), &was);
            let shows = || {
                let shown = desk.run("worker", &["case", "show", &case]);
                shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("Amina")
            };
            if name == Path::new("key") {
                // Without its key it is no phone; nothing is changed until the key is there again.
                let (_, said) = desk.fails("worker", &["case", "list"]);
                assert!(
                    said.contains("key") && said.contains("from a copy"),
                    "{what}: {said}"
                );
                desk.fails("worker", &["check", "--repair"]);
                copy(&file, &desk.path("worker/key"));
                assert!(shows(), "{what}");
                continue;
            }
            let began = desk.run("worker", &["status"]);
            if !began.status.success() {
                let said = String::from_utf8_lossy(&began.stderr).into_owned();
                assert!(said.contains("kijiti check --repair"), "{what}: {said}");
            }
            let checked = desk.json("worker", &["check", "--repair"]);
            if checked["is_another"] == true {
                enrol_again(&desk);
            }
            for _ in 0..3 {
                desk.meet("worker", "clinic");
            }
            assert!(shows(), "{what}: the case is lost ({checked})");
            #[rustfmt::skip]
            desk.ok("worker", &["case", "photo", &case, "--out", "again.jpg", "--force"]);
            assert_eq!(
                std::fs::read(desk.path("again.jpg")).unwrap(),
                photo,
                "{what}"
            );
            let bundles = files(&desk.path("worker/bundles"));
            assert!(
                bundles
                    .iter()
                    .any(|file| std::fs::read(file).unwrap() == form),
                "{what}: the release is not whole"
            );
            let checked: Value = desk.json("worker", &["check"]);
            assert!(
                checked["store_sound"] == true && checked["damaged"].as_array().unwrap().is_empty(),
                "{what}: {checked}"
            );
        }
    }
}

/// A phone that is another now is certified anew, and reads what it read.
fn enrol_again(desk: &Desk) {
    for (phone, asked) in [
        (
            "worker",
            "enrol request --name Neema-again --out again.json",
        ),
        (
            "clinic",
            "enrol sign again.json --area north/kilifi/mtwapa --out again-answer.json",
        ),
        ("worker", "enrol accept again-answer.json"),
        (
            "clinic",
            "enrol grant again-answer.json --area north/kilifi --out again-grant.json",
        ),
        ("worker", "enrol accept again-grant.json"),
    ] {
        let words: Vec<_> = asked.split(' ').collect();
        desk.ok(phone, &words);
    }
}

/// Found before anybody opens them; and what is damaged is not looked at twice at the same place.
#[test]
fn a_photo_whose_file_has_changed_is_fetched_anew_without_being_asked_for() {
    let (desk, case, photo) = two_phones();
    let files = files(&desk.path("worker/bundles/photos"));
    let file = files
        .iter()
        .find(|file| file.extension().is_none())
        .unwrap();
    let was = std::fs::read(file).unwrap();
    flip(file, &was, was.len() / 2);
    for _ in 0..4 {
        desk.meet("worker", "clinic"); // each time as a program of its own
    }
    desk.ok(
        "worker",
        &["case", "photo", &case, "--out", "again.jpg", "--force"],
    );
    assert_eq!(std::fs::read(desk.path("again.jpg")).unwrap(), photo);
    // Opened before it was found: it says so, and comes again.
    flip(file, &was, was.len() / 2);
    let (_, said) = desk.fails(
        "worker",
        &["case", "photo", &case, "--out", "again.jpg", "--force"],
    );
    assert!(said.contains("meet a phone that has it"), "{said}");
    desk.meet("worker", "clinic");
    desk.ok(
        "worker",
        &["case", "photo", &case, "--out", "again.jpg", "--force"],
    );
    let (code, said) = {
        flip(file, &was, 0);
        desk.fails("worker", &["check"])
    };
    assert!(code == 1 && said.contains("check --repair"), "{said}");
}

/// What can be made anew is, whatever lies in its place.
#[test]
fn folders_for_files_and_files_for_folders_are_put_aside() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--patient", "Amina"]);
    let at = |name: &str| desk.path("clinic").join(name);
    for folder in ["lock", "control", "phone.sqlite-journal"] {
        let _ = std::fs::remove_file(at(folder));
        std::fs::create_dir(at(folder)).unwrap();
        std::fs::write(at(folder).join("somebody's"), "mine").unwrap();
    }
    std::fs::remove_dir_all(at("bundles")).unwrap();
    for file in ["bundles", "mirror", ".repairing"] {
        std::fs::write(at(file), "mine").unwrap();
    }
    assert!(desk.ok("clinic", &["case", "list"]).contains("Amina"));
    desk.ok("clinic", &["check"]);
    let running = desk.start("clinic"); // its door is a file again
    running.stop();
    assert_eq!(
        std::fs::read(at("lock.aside-1/somebody's")).unwrap(),
        b"mine"
    );
    let (_, said) = desk.fails(
        "clinic",
        &[
            "case",
            "export",
            "--format",
            "csv",
            "--force",
            "--out",
            "clinic/key",
        ],
    );
    assert!(said.contains("own folder"), "{said}");
    assert!(desk.ok("clinic", &["case", "list"]).contains("Amina"));
}

/// Bundles that somebody keeps on a card, by a link: while the card is not in, the link stays.
#[test]
fn a_link_to_a_card_that_is_not_in_stays() {
    let desk = Desk::enrolled();
    let bundles = desk.path("clinic/bundles");
    std::fs::remove_dir_all(&bundles).unwrap();
    std::os::unix::fs::symlink(desk.path("card"), &bundles).unwrap();
    desk.run("clinic", &["case", "list"]);
    assert!(bundles.is_symlink());
    std::fs::create_dir(desk.path("card")).unwrap();
    desk.ok("clinic", &["case", "list"]);
    assert!(bundles.is_symlink());
}

/// A command waits for one that uses the folder for a moment.
#[test]
fn check_waits_for_a_command_that_is_under_way() {
    let desk = Desk::enrolled();
    let held = node::host::DataFolder::open(&desk.path("clinic")).unwrap();
    std::thread::scope(|scope| {
        let checked = scope.spawn(|| desk.run("clinic", &["check"]).status.success());
        std::thread::sleep(std::time::Duration::from_millis(800));
        drop(held);
        assert!(checked.join().unwrap());
    });
}

/// A set of keys is whole or none, wherever its making was cut off.
#[test]
fn half_a_set_of_keys_is_no_ministrys() {
    let desk = Desk::new();
    let keys = ["ministry", "keys", "--out", "keys", "--work-factor", "8"];
    std::fs::create_dir_all(desk.path("keys/.making")).unwrap();
    std::fs::write(desk.path("keys/.making/key-1.age"), "half").unwrap();
    desk.ok("none", &keys);
    let names = || files(&desk.path("keys"));
    let whole = names();
    assert!(whole.len() >= 6 && !desk.path("keys/.making").exists());
    // Cut off while it was put into its place: it is there the next time, and is not made again.
    std::fs::create_dir(desk.path("keys/.making")).unwrap();
    for file in ["root.json", "key-2.age"] {
        std::fs::rename(
            desk.path("keys").join(file),
            desk.path("keys/.making").join(file),
        )
        .unwrap();
    }
    let (_, said) = desk.fails("none", &keys);
    assert!(said.contains("holds keys already"), "{said}");
    assert_eq!(names(), whole);
    // Beside another set nothing of it is put over that.
    std::fs::create_dir(desk.path("keys/.making")).unwrap();
    for file in ["root.json", "key-1.age"] {
        std::fs::write(desk.path("keys/.making").join(file), "another").unwrap();
    }
    desk.fails("none", &keys);
    assert_ne!(
        std::fs::read(desk.path("keys/key-1.age")).unwrap(),
        b"another"
    );
}
