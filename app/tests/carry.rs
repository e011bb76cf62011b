//! Sealed cases and releases by card, folder and attachment: what one phone puts there another takes
//! in, whatever else lies there and whatever became of the card.

mod common;

use std::path::{Path, PathBuf};

use common::{Desk, new_case, with_worker};
use serde_json::Value;

const SHARED: [&str; 6] = [
    "--patient",
    "Zawadi",
    "--consent",
    "care,share",
    "--village",
    "Kibokoni",
];

/// A worker with a case to share, a clinic with a form of its own to give, and a courier who reads
/// nothing.
fn village() -> Desk {
    let desk = with_worker();
    new_case(&desk, "worker", &SHARED);
    desk.ok(
        "courier",
        &[
            "enrol",
            "request",
            "--name",
            "Courier Juma",
            "--out",
            "juma.json",
        ],
    );
    #[rustfmt::skip]
    desk.ok("clinic", &["enrol", "sign", "juma.json", "--area", "north/kilifi", "--rights", "carry",
        "--out", "juma-answer.json"]);
    desk.ok("courier", &["enrol", "accept", "juma-answer.json"]);
    std::fs::write(desk.path("form"), vec![7; 50_000]).unwrap();
    desk.publish("form", "form-a", &[]);
    desk
}

fn out(desk: &Desk, phone: &str, folder: &str) -> Value {
    std::fs::create_dir_all(desk.path(folder)).unwrap();
    desk.json(phone, &["carry", "out", folder])
}

fn taken(desk: &Desk, phone: &str, folder: &str) -> Value {
    desk.json(phone, &["carry", "in", folder])
}

fn titles(desk: &Desk, phone: &str) -> Vec<String> {
    let list = desk.json(phone, &["case", "list"]);
    let rows = list["cases"].as_array().unwrap().iter();
    rows.map(|row| row["title"].as_str().unwrap().to_owned())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_of(entry.path())),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    files
}

fn files_of(folder: PathBuf) -> Vec<PathBuf> {
    files(&folder)
}

#[test]
fn cases_go_to_the_clinic_by_card_and_a_release_comes_back_on_it() {
    let desk = village();
    let given = out(&desk, "worker", "card");
    assert!(given["envelopes"].as_u64().unwrap() > 0, "{given}");
    assert!(titles(&desk, "clinic").is_empty());
    let came = taken(&desk, "clinic", "card");
    assert_eq!(came["cases"].as_array().unwrap().len(), 1, "{came}");
    assert_eq!(titles(&desk, "clinic").len(), 1);
    assert!(titles(&desk, "clinic")[0].contains("Zawadi"));
    // Once more nothing is new, either way, and nothing is written.
    let before = files(&desk.path("card"));
    assert_eq!(taken(&desk, "clinic", "card")["envelopes"], 0);
    assert_eq!(out(&desk, "worker", "card")["bytes"], 0);
    assert_eq!(files(&desk.path("card")), before);
    // The clinic's own word, its form, and that the case has come, go back.
    let given = out(&desk, "clinic", "card");
    assert_eq!(given["bundles"], 1, "{given}");
    let came = taken(&desk, "worker", "card");
    assert_eq!(came["bundles"], 1, "{came}");
    let list = desk.json("worker", &["model", "list"]);
    assert!(list.to_string().contains("form-a"), "{list}");
    let id = desk.json("worker", &["case", "list"])["cases"][0]["case"].clone();
    let shown = desk.ok("worker", &["case", "show", &id.as_str().unwrap()[..8]]);
    assert!(
        shown.contains("reached   Clinic"),
        "the clinic said so by card: {shown}"
    );
}

#[test]
fn couriers_fill_one_folder_and_can_read_nothing_of_it() {
    let desk = village();
    new_case(
        &desk,
        "clinic",
        &["--patient", "Baraka", "--consent", "care,share"],
    );
    out(&desk, "worker", "card");
    out(&desk, "clinic", "card");
    taken(&desk, "courier", "card");
    assert!(titles(&desk, "courier").is_empty());
    // By the courier's phone alone, and another card, all of it comes to the worker.
    out(&desk, "courier", "second");
    taken(&desk, "worker", "second");
    assert_eq!(titles(&desk, "worker").len(), 2);
    for card in ["card", "second"] {
        for file in files(&desk.path(card).join("kijiti/cases")) {
            let bytes = std::fs::read(&file).unwrap();
            for word in [
                "Zawadi", "Kibokoni", "Baraka", "Neema", "Juma", "kilifi", "Clinic", "root",
            ] {
                let clear = bytes
                    .windows(word.len())
                    .any(|w| w.eq_ignore_ascii_case(word.as_bytes()));
                assert!(!clear, "{word} in {}", file.display());
            }
        }
    }
}

#[test]
fn one_file_sent_by_any_app_is_the_same_and_may_be_renamed() {
    let desk = village();
    out(&desk, "worker", "card");
    let parcel = files(&desk.path("card/kijiti/cases")).remove(0);
    std::fs::create_dir(desk.path("Downloads")).unwrap();
    std::fs::copy(&parcel, desk.path("Downloads/from Neema (1).kijiti")).unwrap();
    let came = taken(&desk, "clinic", "Downloads");
    assert_eq!(came["cases"].as_array().unwrap().len(), 1, "{came}");
    let came = taken(&desk, "courier", "Downloads/from Neema (1).kijiti");
    assert!(came["envelopes"].as_u64().unwrap() > 0, "{came}");
}

#[test]
fn garbage_and_damaged_files_are_passed_over_with_a_reason_and_mended() {
    let desk = village();
    out(&desk, "worker", "card");
    let cases = desk.path("card/kijiti/cases");
    let parcel = files(&cases).remove(0);
    let good = std::fs::read(&parcel).unwrap();
    // The end of it is lost.
    std::fs::write(&parcel, &good[..good.len() - 40]).unwrap();
    std::fs::write(cases.join("holiday.jpg"), b"not ours").unwrap();
    std::fs::write(
        cases.join(format!("{}.kijiti", "0".repeat(32))),
        b"kijitiP9 later",
    )
    .unwrap();
    std::fs::write(
        cases.join(format!("{}.kijiti", "1".repeat(32))),
        [b"kijitiP1".as_slice(), &vec![0; 20 << 20]].concat(),
    )
    .unwrap();
    std::fs::write(desk.path("card/empty.kijiti"), b"").unwrap();
    let came = taken(&desk, "clinic", "card");
    let passed = came["passed_over"].as_array().unwrap();
    let why = |name: &str| {
        let row = passed
            .iter()
            .find(|row| row["file"].as_str().unwrap().starts_with(name));
        row.unwrap_or_else(|| panic!("{name}: {came}"))["why"].clone()
    };
    assert_eq!(why("holiday"), "not_a_parcel");
    assert_eq!(why("0000"), "later");
    assert_eq!(why("1111"), "too_long");
    assert_eq!(why("empty"), "not_a_parcel");
    assert_eq!(passed.len(), 5, "{came}");
    let said = desk.ok("clinic", &["carry", "in", "card"]);
    assert!(said.contains("damaged or cut off"), "{said}");
    // Whoever has it puts it there again; the clinic has all.
    out(&desk, "worker", "card");
    taken(&desk, "clinic", "card");
    assert_eq!(titles(&desk, "clinic").len(), 1);
    let reread = taken(&desk, "courier", "card");
    assert!(reread["envelopes"].as_u64().unwrap() > 0);
}

#[test]
fn strangers_parcels_and_changed_releases_do_nothing() {
    let desk = village();
    out(&desk, "worker", "card");
    out(&desk, "clinic", "card");
    // Another ministry's phone, and one of none.
    let other = Desk::enrolled();
    let card = desk.path("card").display().to_string();
    let came = taken(&other, "clinic", &card);
    assert_eq!(came["envelopes"], 0);
    let passed = came["passed_over"].as_array().unwrap();
    assert!(
        !passed.is_empty() && passed.iter().all(|row| row["why"] == "unopened"),
        "{came}"
    );
    let (_, said) = desk.fails("nobody", &["carry", "in", "card"]);
    assert!(said.contains("enrol"), "{said}");
    // A release that was changed on the card runs nowhere; its card is mended by who has it.
    let form = files(&desk.path("card/kijiti/bundles")).remove(0);
    let mut bytes = std::fs::read(&form).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&form, &bytes).unwrap();
    let came = taken(&desk, "worker", "card");
    assert_eq!(came["bundles"], 0);
    assert!(
        came["passed_over"].to_string().contains("not_what_it_says"),
        "{came}"
    );
    assert_eq!(out(&desk, "clinic", "card")["bundles"], 1);
    assert_eq!(taken(&desk, "worker", "card")["bundles"], 1);
}

#[test]
fn what_has_no_consent_is_not_put_there_and_is_said() {
    let desk = with_worker();
    new_case(
        &desk,
        "worker",
        &["--patient", "Zawadi", "--consent", "care"],
    );
    let given = out(&desk, "worker", "card");
    assert!(given["waiting"].as_u64().unwrap() > 0, "{given}");
    taken(&desk, "clinic", "card");
    assert!(titles(&desk, "clinic").is_empty());
}

#[test]
fn a_card_that_is_not_there_or_may_not_be_written_is_told() {
    let desk = village();
    let (_, said) = desk.fails("worker", &["carry", "out", "no-such-card"]);
    assert!(said.contains("is the card in"), "{said}");
    assert!(
        !desk.path("no-such-card").exists(),
        "nothing is put where no card is"
    );
    let (_, said) = desk.fails("worker", &["carry", "in", "no-such-card"]);
    assert!(
        said.contains("no-such-card") && said.contains("is the card in"),
        "{said}"
    );
    std::fs::write(desk.path("a-file"), b"x").unwrap();
    let (_, said) = desk.fails("worker", &["carry", "out", "a-file"]);
    assert!(said.contains("a-file"), "{said}");
    let script = r#"mkdir ro full && mount -t tmpfs -o size=64k tmpfs full && mount -t tmpfs -o ro tmpfs ro || exit 9
        dd if=/dev/zero of=full/films bs=4k count=16 2>/dev/null
        "$KIJITI" --data worker carry out full; echo "full $?" >&2
        ls full/kijiti/cases >&2
        "$KIJITI" --data worker carry out ro; echo "ro $?" >&2
        "$KIJITI" --data worker case list >&2"#;
    let Some((_, said)) = desk.with_mounts(script) else {
        return;
    };
    assert!(
        said.contains("full is full") && said.contains("goes on where it stopped"),
        "{said}"
    );
    assert!(
        said.contains("ro cannot be written") && said.contains("lock"),
        "{said}"
    );
    assert!(!said.contains(".part"), "{said}");
    assert!(said.contains("Zawadi"), "{said}");
}

#[test]
fn a_running_phone_carries_and_watches_a_folder() {
    let desk = village();
    let mut clinic = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"))
        .current_dir(desk.folder.path())
        .env("KIJITI_PASSPHRASE", "twelve patients to see")
        .args([
            "--data",
            "clinic",
            "start",
            "--no-discovery",
            "--links",
            "ip",
            "--folder",
            "card",
        ])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    out(&desk, "worker", "card");
    let came = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        titles(&desk, "clinic").len() == 1
    });
    // It answers who carries by hand besides.
    out(&desk, "clinic", "second");
    let _ = clinic.kill();
    let _ = clinic.wait();
    assert!(came, "the clinic watches the card");
    // What it put there meanwhile brings its form to the worker.
    assert_eq!(taken(&desk, "worker", "card")["bundles"], 1);
}

/// A sealed photo goes by card once its case may leave with it, and is opened where the case is read; one
/// whose consent is taken back goes no more.
#[test]
fn sealed_photos_go_by_card_as_far_as_consent_does() {
    let desk = with_worker();
    let consent = ["--patient", "Zawadi", "--consent", "care,share,photo"];
    let case = new_case(&desk, "worker", &consent);
    let picture = include_bytes!("pictures/rash.jpg");
    std::fs::write(desk.path("rash.jpg"), picture).unwrap();
    let photo = ["case", "photo", &case, "rash.jpg", "--shows", "rash"];
    desk.ok("worker", &photo);
    assert_eq!(out(&desk, "worker", "card")["photos"], 1);
    let came = taken(&desk, "clinic", "card");
    assert_eq!(came["photos"], 1, "{came}");
    desk.ok("clinic", &["case", "photo", &case, "--out", "out.jpg"]);
    let seen = std::fs::read(desk.path("out.jpg")).unwrap();
    assert!(seen.ends_with(&picture[picture.len() - 100..]));
    // On the card it is sealed, under a name that says nothing.
    let sealed = files(&desk.path("card/kijiti/photos")).remove(0);
    let bytes = std::fs::read(&sealed).unwrap();
    assert!(
        !bytes
            .windows(40)
            .any(|w| w == &picture[picture.len() - 40..])
    );
    // A photo that nobody has announced, and one that was changed, are not taken.
    let strange = desk.path("card/kijiti/photos").join("ab".repeat(32));
    std::fs::write(&strange, b"who knows").unwrap();
    std::fs::write(&sealed, [bytes.as_slice(), b"more"].concat()).unwrap();
    let came = taken(&desk, "worker", "card");
    assert_eq!(came["photos"], 0, "{came}");
    desk.ok("worker", &["case", "add", &case, "--no-consent", "photo"]);
    assert_eq!(
        out(&desk, "worker", "third")["photos"],
        0,
        "consent was taken back"
    );
}

/// Whatever a folder holds beside, nothing makes a phone wait, follow links elsewhere, or read devices.
#[test]
fn pipes_links_devices_and_folders_on_a_card_do_no_harm() {
    let desk = village();
    out(&desk, "worker", "card");
    let cases = desk.path("card/kijiti/cases");
    let name = |digit: &str| cases.join(format!("{}.kijiti", digit.repeat(32)));
    let pipe = std::process::Command::new("mkfifo").arg(name("2")).status();
    assert!(pipe.unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", name("3")).unwrap();
    std::os::unix::fs::symlink(desk.path("nowhere"), name("4")).unwrap();
    std::os::unix::fs::symlink(desk.path("clinic/key"), name("5")).unwrap();
    std::fs::create_dir(name("6")).unwrap();
    std::fs::create_dir(desk.path("card/kijiti/bundles").join("77".repeat(32))).unwrap();
    let mut long = cases.clone();
    long.push("x".repeat(200) + ".kijiti");
    std::fs::write(long, b"kijitiP1").unwrap();
    let came = taken(&desk, "clinic", "card");
    assert_eq!(came["cases"].as_array().unwrap().len(), 1, "{came}");
    let passed = came["passed_over"].as_array().unwrap();
    assert!(passed.len() >= 4, "{came}");
    // What it said is fit for a terminal, and a second phone's things go beside it.
    let said = desk.ok("clinic", &["carry", "in", "card"]);
    assert!(!said.contains('\u{1b}'), "{said}");
    assert!(out(&desk, "clinic", "card")["envelopes"].as_u64().unwrap() > 0);
}

/// Two phones put things into one folder at the same moment, again and again: neither loses anything.
#[test]
fn two_phones_at_one_folder_at_once_lose_nothing() {
    let desk = village();
    let clinic_case = new_case(
        &desk,
        "clinic",
        &["--patient", "Baraka", "--consent", "care,share"],
    );
    std::thread::scope(|scope| {
        for phone in ["worker", "clinic", "courier"] {
            let desk = &desk;
            scope.spawn(move || {
                for _ in 0..3 {
                    out(desk, phone, "shared folder/with spaces/");
                    taken(desk, phone, "shared folder/with spaces/");
                }
            });
        }
    });
    for phone in ["worker", "clinic"] {
        taken(&desk, phone, "shared folder/with spaces");
        assert_eq!(titles(&desk, phone).len(), 2, "{phone}");
    }
    desk.ok("worker", &["case", "show", &clinic_case]);
    let left = files(&desk.path("shared folder/with spaces"));
    let drafts = left
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "part"));
    assert_eq!(drafts.count(), 0, "{left:?}");
}

/// A release and a parcel as apps hand them on: alone, renamed, in the folder that people see.
#[test]
fn whatever_an_app_makes_of_a_file_s_name_it_is_taken() {
    let desk = village();
    out(&desk, "clinic", "card");
    let release = files(&desk.path("card/kijiti/bundles")).remove(0);
    out(&desk, "worker", "other");
    let parcel = files(&desk.path("other/kijiti/cases")).remove(0);
    // The release is named by the list, which lies in a parcel; then the file alone is enough.
    desk.ok("courier", &["carry", "in", "card/kijiti/cases"]);
    for parcel in files(&desk.path("card/kijiti/cases")) {
        desk.ok("courier", &["carry", "in", parcel.to_str().unwrap()]);
    }
    std::fs::copy(&release, desk.path("form-from-a-friend.bin")).unwrap();
    let came = taken(&desk, "courier", "form-from-a-friend.bin");
    assert_eq!(came["bundles"], 1, "{came}");
    desk.write("letter.txt", "hello");
    let (code, said) = desk.fails("courier", &["carry", "in", "letter.txt"]);
    assert!(
        code == 5 && said.contains("something else than kijiti writes"),
        "{said}"
    );
    for name in ["X.KIJITI", "x.kijiti.bin", "x.kijiti (1)"] {
        std::fs::create_dir_all(desk.path(name)).unwrap();
        std::fs::copy(&parcel, desk.path(name).join(name)).unwrap();
        assert_eq!(taken(&desk, "clinic", name)["parcels"], 1, "{name}");
    }
    assert_eq!(titles(&desk, "clinic").len(), 1);
    // Who names the folder on the card means the card; who names another is told.
    assert_eq!(taken(&desk, "clinic", "other/kijiti")["parcels"], 1);
    let said = desk.ok("clinic", &["carry", "in", "keys"]);
    assert!(
        said.contains("nothing of kijiti's was found there"),
        "{said}"
    );
    let (_, said) = desk.fails("clinic", &["carry", "out", "clinic/bundles"]);
    assert!(
        said.contains("its own folder") || said.contains("own folder"),
        "{said}"
    );
}

/// A stick whose folders lead elsewhere: nothing is swept, written or read there. And what another phone writes is
/// no draft of ours, however old a wrong clock makes it.
#[test]
fn folders_that_lead_elsewhere_are_left_alone_and_so_are_others_drafts() {
    let desk = village();
    std::fs::create_dir_all(desk.path("home")).unwrap();
    std::fs::create_dir_all(desk.path("stick/kijiti")).unwrap();
    std::os::unix::fs::symlink(desk.path("home"), desk.path("stick/kijiti/cases")).unwrap();
    let old = |name: &str| {
        desk.write(name, "half");
        let age = std::time::SystemTime::now() - std::time::Duration::from_secs(9 * 86_400);
        let file = std::fs::File::options()
            .write(true)
            .open(desk.path(name))
            .unwrap();
        file.set_modified(age).unwrap();
        file
    };
    old("home/0123456789abcdef.part");
    let (_, said) = desk.fails("worker", &["carry", "out", "stick"]);
    assert!(said.contains("is a link"), "{said}");
    assert_eq!(files(&desk.path("home")).len(), 1);
    let came = taken(&desk, "clinic", "stick");
    assert_eq!(came["passed_over"][0]["why"], "in_the_way", "{came}");
    out(&desk, "worker", "card");
    old("card/kijiti/cases/movie.mp4.part");
    old("card/kijiti/cases/0123456789abcdef.part");
    let busy = old("card/kijiti/cases/fedcba9876543210.part");
    busy.lock().unwrap();
    out(&desk, "worker", "card");
    let left = files(&desk.path("card/kijiti/cases"));
    let left: Vec<_> = left
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "part"))
        .collect();
    assert_eq!(
        left.len(),
        2,
        "somebody's film, and what is being written: {left:?}"
    );
    // Whoever holds the card may read what lies there, and add to it.
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.path("card/kijiti/cases")), 0o777);
    let parcels = files(&desk.path("card/kijiti/cases"));
    let parcel = parcels
        .iter()
        .find(|f| f.extension().is_some_and(|e| e == "kijiti"))
        .unwrap();
    assert_eq!(mode(parcel), 0o644);
    // Something of the same name in the way costs nothing but the name.
    std::fs::create_dir_all(
        desk.path("third/kijiti/cases")
            .join(parcel.file_name().unwrap()),
    )
    .unwrap();
    assert!(out(&desk, "worker", "third")["envelopes"].as_u64() > Some(0));
    assert_eq!(
        taken(&desk, "clinic", "third")["cases"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
