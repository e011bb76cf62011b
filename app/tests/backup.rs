//! A phone copied to a card, and what becomes of the copy.

use serde_json::{Value, json};

mod common;

use common::{Desk, new_case, with_worker};

/// A phone falls into the river: what it had when it was copied goes on under a new phone's name,
/// and nothing is lost on the way.
#[test]
fn a_backup_becomes_another_phone_and_what_it_had_not_sent_leaves_from_there() {
    let desk = with_worker();
    let new = |patient: &str| {
        new_case(
            &desk,
            "worker",
            &["--patient", patient, "--consent", "share"],
        )
    };
    let amina = new("Amina");
    let kept = new_case(&desk, "worker", &["--patient", "Kaingu"]); // no consent: it has not left
    let output = desk.run("worker", &["backup", "card"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("passphrase")
    );
    let key = std::fs::read_to_string(desk.path("card/key")).unwrap();
    assert!(key.contains("AGE ENCRYPTED"), "a copy is never open");
    let later = new("Juma"); // after the copy: lost with the phone, unless it meets somebody
    for (folder, args) in [
        ("worker", &["backup", "keys"][..]),
        ("clinic", &["backup", "card"]),
        ("worker", &["restore", "card"]),
        ("fresh", &["restore", "nowhere"]),
        ("fresh", &["restore", "keys"]),
    ] {
        assert_eq!(desk.fails(folder, args).0, 2, "{args:?}");
    }
    // The disk of the copy fills up half-way: there is no phone then, and no half of one.
    std::fs::rename(desk.path("card/phone.sqlite"), desk.path("away")).unwrap();
    std::fs::write(
        desk.path("card/phone.sqlite"),
        &std::fs::read(desk.path("away")).unwrap()[..9000],
    )
    .unwrap();
    desk.fails("fresh", &["restore", "card"]);
    assert!(!desk.path("fresh").exists());
    std::fs::rename(desk.path("away"), desk.path("card/phone.sqlite")).unwrap();
    // Restored while the old one is still about: two phones, not one twice.
    let restored = desk.json("second", &["restore", "card"]);
    assert_eq!(
        (&restored["cases"], restored["unsent"].as_u64() > Some(0)),
        (&json!(2), true)
    );
    let [old, device] = ["from", "device"].map(|name| restored[name].as_str().unwrap().to_owned());
    let status = desk.json("second", &["status"]);
    assert_eq!(
        (&status["device"], &status["restored_from"]),
        (&json!(device), &json!(old))
    );
    assert_eq!(status["name"], Value::Null, "it is certified anew");
    assert!(desk.ok("second", &["case", "list"]).contains("Amina"));
    desk.ok(
        "second",
        &[
            "case",
            "add",
            &kept,
            "--note",
            "seen again",
            "--consent",
            "share",
        ],
    );
    desk.ok(
        "second",
        &[
            "enrol",
            "request",
            "--name",
            "Neema again",
            "--out",
            "again.json",
        ],
    );
    desk.ok(
        "clinic",
        &[
            "enrol",
            "sign",
            "again.json",
            "--area",
            "north/kilifi/mtwapa",
            "--out",
            "again-answer.json",
        ],
    );
    desk.ok("second", &["enrol", "accept", "again-answer.json"]);
    desk.ok(
        "clinic",
        &[
            "enrol",
            "grant",
            "again-answer.json",
            "--area",
            "north/kilifi",
            "--out",
            "again-grant.json",
        ],
    );
    desk.ok("second", &["enrol", "accept", "again-grant.json"]);
    desk.ok("second", &["case", "add", &kept, "--dose", "zinc 20 mg"]);
    assert_eq!(
        desk.json("second", &["case", "show", &kept])["unsent"],
        0,
        "sealed by the phone that is now"
    );
    desk.ok(
        "second",
        &[
            "case",
            "hand-over",
            "--from",
            &old[..8],
            "--to",
            "Neema again",
        ],
    );
    desk.ok(
        "worker",
        &["case", "add", &amina, "--note", "from the old phone"],
    );
    desk.meet("clinic", "second");
    desk.meet("clinic", "worker");
    desk.meet("clinic", "second");
    for phone in ["clinic", "second"] {
        for case in [&amina, &kept, &later] {
            desk.ok(phone, &["case", "show", case]);
        }
        let notes = desk.json(phone, &["case", "show", &amina])["notes"].clone();
        assert_eq!(notes[0]["note"], "from the old phone", "{phone}");
        assert_eq!(
            desk.json(phone, &["case", "show", &kept])["cared_for_by"],
            json!(["Neema again"]),
            "{phone}"
        );
        let history = desk.ok(phone, &["case", "history", &kept]);
        assert!(
            history.contains("Worker Neema") && history.contains("Neema again"),
            "{history}"
        );
    }
}

/// A copy opens with the passphrase of the phone that was copied, and so does what becomes of it.
#[test]
fn a_sealed_backup_needs_the_passphrase() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--patient", "Amina"]);
    let with = |phrase: &str, phone: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"));
        command
            .env("KIJITI_PASSPHRASE", phrase)
            .env("KIJITI_NEW_PASSPHRASE", phrase)
            .current_dir(desk.folder.path());
        command
            .arg("--data")
            .arg(desk.path(phone))
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    let phrase = "pole pole ndio mwendo";
    assert!(with(phrase, "clinic", &["passphrase"]).status.success());
    assert!(with(phrase, "clinic", &["backup", "card"]).status.success());
    let wrong = with("haraka haraka", "second", &["restore", "card"]);
    assert!(
        !wrong.status.success()
            && String::from_utf8_lossy(&wrong.stderr).contains("wrong passphrase")
    );
    assert!(
        with(phrase, "second", &["restore", "card"])
            .status
            .success()
    );
    assert!(
        !with("haraka haraka", "second", &["case", "list"])
            .status
            .success(),
        "sealed as the copy was"
    );
    let list = with(phrase, "second", &["case", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("Amina"));
}

/// The phone is lost before the clinic has heard of its cases, and called lost before its copy has
/// come there: what the copy passes on waits to be countersigned, and the clinic's list says so
/// instead of showing a case that looks empty.
#[test]
fn cases_of_a_lost_phone_that_its_copy_passes_on_are_seen_to_wait() {
    let desk = with_worker();
    let enrol = |phone: &str, rights: &str| {
        let (request, answer) = (format!("{phone}.json"), format!("{phone}-answer.json"));
        desk.ok(
            phone,
            &["enrol", "request", "--name", phone, "--out", &request],
        );
        let sign = [
            "enrol",
            "sign",
            &request,
            "--area",
            "north/kilifi",
            "--rights",
            rights,
            "--ministry",
            "keys",
        ];
        desk.ok("clinic", &[&sign[..], &["--out", &answer]].concat());
        desk.ok(phone, &["enrol", "accept", &answer]);
        answer
    };
    enrol("supervisor", "carry,enrol,revoke");
    let case = new_case(
        &desk,
        "worker",
        &["--patient", "Amina", "--consent", "share"],
    );
    desk.ok("worker", &["backup", "card"]);
    let old = desk.json("worker", &["status"])["device"]
        .as_str()
        .unwrap()
        .to_owned();
    desk.ok(
        "supervisor",
        &[
            "enrol",
            "revoke",
            &old,
            "--area",
            "north/kilifi",
            "--reason",
            "in the river",
        ],
    );
    desk.meet("supervisor", "clinic");
    desk.ok("second", &["restore", "card"]);
    let answer = enrol("second", "carry,read,write");
    desk.ok(
        "clinic",
        &[
            "enrol",
            "grant",
            &answer,
            "--area",
            "north/kilifi",
            "--out",
            "second-grant.json",
        ],
    );
    desk.ok("second", &["enrol", "accept", "second-grant.json"]);
    desk.ok(
        "second",
        &[
            "case",
            "add",
            &case,
            "--note",
            "the old phone is in the river",
        ],
    );
    desk.meet("second", "clinic");
    let listed = || desk.json("clinic", &["case", "list"])["cases"][0].clone();
    assert_eq!(
        (&listed()["waits"], &listed()["urgency"]),
        (&json!(true), &Value::Null),
        "{}",
        listed()
    );
    assert!(
        desk.ok("clinic", &["case", "show", &case])
            .contains("countersign")
    );
    assert!(
        desk.ok("clinic", &["enrol", "countersign", "--show"])
            .contains("chest_indrawing = yes")
    );
    desk.ok("clinic", &["enrol", "countersign"]);
    assert_eq!(
        (&listed()["waits"], &listed()["urgency"]),
        (&json!(false), &json!("pink")),
        "{}",
        listed()
    );
}

/// A full card, a second card, a card that is used every week: into whatever folder people name.
#[test]
fn a_phone_is_restored_into_any_folder_that_is_empty_and_copied_again_onto_its_copy() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--patient", "Amina"]);
    std::fs::create_dir_all(desk.path("card/lost+found")).unwrap();
    desk.ok("clinic", &["backup", "card/"]);
    new_case(&desk, "clinic", &["--patient", "Juma"]);
    desk.ok("clinic", &["backup", "card"]); // next week
    for folder in ["made", "here", "behind"] {
        std::fs::create_dir(desk.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink("behind", desk.path("link")).unwrap();
    let restore = |within: &str, folder: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"))
            .env("KIJITI_PASSPHRASE", "twelve patients to see")
            .current_dir(desk.path(within))
            .args(["--data", folder, "restore"])
            .arg(desk.path("card/"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{folder}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    for (within, folder, phone) in [
        (".", "slash/", "slash"),
        (".", "made/", "made"),
        ("here", ".", "here"),
        (".", "link", "behind"),
    ] {
        restore(within, folder);
        let list = desk.ok(phone, &["case", "list"]);
        assert!(list.contains("Amina") && list.contains("Juma"), "{list}");
    }
    assert!(desk.path("link").is_symlink());
    // A copy that was cut off before it had a key is begun again; half a copy of ours is nobody's.
    std::fs::create_dir_all(desk.path("half/bundles")).unwrap();
    std::fs::write(desk.path("half/phone.sqlite.new"), b"half").unwrap();
    desk.ok("clinic", &["backup", "half"]);
    desk.ok("from-half", &["restore", "half"]);
    // What only looks like it is somebody's.
    for (folder, file) in [
        ("work", "bundles/thesis"),
        ("old", "backup"),
        ("keyless", "phone.sqlite"),
    ] {
        let there = desk.path(folder).join(file);
        std::fs::create_dir_all(there.parent().unwrap()).unwrap();
        std::fs::write(&there, "mine").unwrap();
        let (_, said) = desk.fails("clinic", &["backup", folder]);
        assert!(said.contains("is not empty"), "{said}");
        assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    }
    // Two at once into one folder: one phone stands there, and whoever was second is told.
    let both = || desk.run("both", &["restore", "card"]);
    let ran = std::thread::scope(|scope| {
        let ran = [scope.spawn(both), scope.spawn(both)];
        ran.map(|ran| ran.join().unwrap().status.success())
    });
    assert!(ran[0] != ran[1], "{ran:?}");
    assert!(desk.ok("both", &["case", "list"]).contains("Juma"));
    // Cut off in the middle, and run again.
    std::fs::create_dir_all(desk.path("cut/.restoring/bundles")).unwrap();
    std::fs::write(desk.path("cut/phone.sqlite"), b"half").unwrap();
    restore(".", "cut");
    assert!(desk.ok("cut", &["case", "list"]).contains("Juma"));
}

/// Half a copy, an empty one, one with a bit that fell over: refused, wherever it is damaged.
#[test]
fn a_damaged_backup_is_refused_and_says_which_file() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--patient", "Amina"]);
    desk.ok("clinic", &["backup", "card"]);
    for file in ["phone.sqlite", "key"] {
        let genuine = std::fs::read(desk.path("card").join(file)).unwrap();
        let mut flipped = genuine.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 4;
        for damaged in [&b""[..], &genuine[..genuine.len() - 1], &flipped] {
            std::fs::write(desk.path("card").join(file), damaged).unwrap();
            // Without what it says of itself an empty file is one all the same.
            for of_itself in [true, false] {
                if !of_itself && !damaged.is_empty() {
                    continue;
                }
                if !of_itself {
                    std::fs::rename(desk.path("card/backup"), desk.path("away")).unwrap();
                }
                let (_, said) = desk.fails("fresh", &["restore", "card"]);
                assert!(said.contains("damaged") && said.contains(file), "{said}");
                assert!(!desk.path("fresh").exists());
                if !of_itself {
                    std::fs::rename(desk.path("away"), desk.path("card/backup")).unwrap();
                }
            }
        }
        std::fs::write(desk.path("card").join(file), genuine).unwrap();
    }
    desk.ok("fresh", &["restore", "card"]);
}

/// What a copy says of itself is part of it; to look at a copy would change it; and of photos that are damaged or gone
/// whoever restores it hears. The control is the whole copy.
#[test]
fn a_backup_without_what_it_says_of_itself_is_refused_and_a_lost_photo_is_told() {
    let desk = Desk::enrolled();
    let case = new_case(&desk, "clinic", &["--consent", "share"]);
    desk.ok("clinic", &["case", "add", &case, "--consent", "photo"]);
    std::fs::write(desk.path("rash.jpg"), include_bytes!("pictures/rash.jpg")).unwrap();
    desk.ok(
        "clinic",
        &["case", "photo", &case, "rash.jpg", "--shows", "rash"],
    );
    desk.ok("clinic", &["backup", "card"]);
    let of_itself = std::fs::read(desk.path("card/backup")).unwrap();
    for damaged in [None, Some(&b""[..]), Some(&of_itself[..40])] {
        std::fs::remove_file(desk.path("card/backup")).unwrap();
        if let Some(damaged) = damaged {
            std::fs::write(desk.path("card/backup"), damaged).unwrap();
        }
        let (_, said) = desk.fails("fresh", &["restore", "card"]);
        assert!(
            said.contains("damaged") && said.contains("backup is not"),
            "{said}"
        );
        std::fs::write(desk.path("card/backup"), &of_itself).unwrap();
    }
    let (_, said) = desk.fails("card", &["case", "list"]);
    assert!(
        said.contains("is a backup") && said.contains("restore"),
        "{said}"
    );
    let whole = desk.json("whole", &["restore", "card"]);
    assert_eq!(whole["missing"], 0, "looking has changed nothing");
    let photos = std::fs::read_dir(desk.path("card/bundles/photos")).unwrap();
    let photo = photos
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_none())
        .unwrap();
    let bytes = std::fs::read(&photo).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for (n, damaged) in [Some(&flipped[..]), Some(&b""[..]), None]
        .into_iter()
        .enumerate()
    {
        std::fs::remove_file(&photo).unwrap();
        if let Some(damaged) = damaged {
            std::fs::write(&photo, damaged).unwrap();
        }
        let to = format!("lost-{n}");
        assert_eq!(desk.json(&to, &["restore", "card"])["missing"], 1);
        std::fs::write(&photo, &bytes).unwrap();
    }
}
