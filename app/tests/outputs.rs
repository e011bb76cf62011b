//! Where results go, and what is not made by the way.

use std::io::Read;

mod common;
use common::{Desk, new_case};

#[test]
fn pipes_links_devices_and_neighbours_stay_what_they_are() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--consent", "share"]);
    let request =
        |out: &str| desk.run("clinic", &["enrol", "request", "--name", "X", "--out", out]);
    let is_request = |text: &[u8]| {
        let read: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(read["schema"], "kijiti.enrol-request/1");
    };
    // `-` and the name that the system has for it.
    for out in ["-", "/dev/stdout"] {
        let output = request(out);
        is_request(&output.stdout);
        assert!(String::from_utf8_lossy(&output.stderr).contains("have it signed"));
    }
    assert!(!desk.path("-").exists());
    std::os::unix::fs::symlink("/proc/self/fd/1", desk.path("stdout")).unwrap();
    is_request(&request("stdout").stdout);
    assert!(desk.path("stdout").is_symlink());
    // A link is followed, also to where nothing is yet.
    std::os::unix::fs::symlink("request.json", desk.path("link")).unwrap();
    for _ in 0..2 {
        assert!(request("link").status.success());
        is_request(&std::fs::read(desk.path("request.json")).unwrap());
        assert!(desk.path("link").is_symlink());
    }
    // A named pipe is written to, by the phone's files too.
    assert!(
        std::process::Command::new("mkfifo")
            .arg(desk.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let pipe = desk.path("pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::fs::File::open(pipe)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    });
    desk.ok(
        "clinic",
        &["case", "export", "--format", "csv", "--out", "pipe"],
    );
    assert!(reader.join().unwrap().contains("chest_indrawing"));
    let output = desk.run(
        "clinic",
        &["case", "export", "--format", "fhir", "--out", "-"],
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"Bundle\""));
    // What lies beside is somebody's, and what lies there too.
    for name in ["report.writing", "report.new", "notes.txt"] {
        desk.write(name, "mine");
    }
    desk.ok(
        "clinic",
        &["case", "export", "--format", "csv", "--out", "report.csv"],
    );
    for out in ["notes.txt", "keys/key-1.age", "report.csv"] {
        let (_, said) = desk.fails("clinic", &["enrol", "request", "--name", "X", "--out", out]);
        assert!(said.contains("is there already"), "{said}");
    }
    for name in ["report.writing", "report.new", "notes.txt"] {
        assert_eq!(std::fs::read_to_string(desk.path(name)).unwrap(), "mine");
    }
}

#[test]
fn what_only_looks_begins_no_phone() {
    let desk = Desk::new();
    desk.write("cases.csv", "case,area,field,value\n");
    for asked in [
        &["status"][..],
        &["meetings"],
        &["case", "list"],
        &["case", "new", "--set", "patient.name=A", "--kind", "adult"],
        &["case", "import", "cases.csv"],
        &["model", "list"],
        &["mirror", "pull", "."],
        &["mirror", "push", "card"],
        &["carry", "in", "."],
        &["backup", "card"],
        &["enrol", "space", "--area", "north"],
        &["doctor"],
        &["passphrase"],
    ] {
        let output = desk.run("mistyped", asked);
        assert!(!desk.path("mistyped").exists(), "{asked:?} began a phone");
        if asked != ["doctor"] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("there is no phone in"), "{asked:?}: {said}");
        }
    }
    // Names that nobody sees, or that turn the line round, name no phone.
    for name in ["", "   ", "Ne\u{200b}ema", "\u{202e}ameeN", "\u{7}bell"] {
        let asked = ["enrol", "request", "--name", name, "--out", "unseen.json"];
        let (code, said) = desk.fails("unseen", &asked);
        assert!(code == 2 && said.contains("name"), "{name:?}: {said}");
        assert!(!desk.path("unseen.json").exists());
    }
    let example = common::example();
    assert!(
        desk.ok("mistyped", &["triage", "--findings", &example])
            .contains("PINK")
    );
    assert!(!desk.path("mistyped").exists());
    std::fs::create_dir(desk.path("cwd")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"))
        .args(["enrol", "request", "--name", "X", "--out", "x.json"])
        .env("HOME", "")
        .env_remove("KIJITI_DATA")
        .current_dir(desk.path("cwd"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(desk.path("cwd")).unwrap().count(), 0);
}

#[test]
fn who_asks_for_json_is_refused_in_json() {
    let desk = Desk::enrolled();
    for (asked, code) in [
        (&["case", "show", "abcdef"][..], 1),
        (&["case", "show"], 2),
        (&["no-such-command"], 2),
        (&["enrol", "accept", "nothing.json"], 1),
        (&["mirror", "push", "https://example.org"], 2),
    ] {
        let output = desk.run("clinic", &[&["--json"], asked].concat());
        let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|e| {
            panic!(
                "{asked:?}: {e}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        assert!(output.stdout.is_empty());
        assert_eq!(said["schema"], "kijiti.failure/1");
        assert_eq!(
            (said["code"].as_i64(), output.status.code()),
            (Some(code), Some(code as i32))
        );
        assert!(
            !said["reason"].as_str().unwrap().is_empty()
                && !said["hint"].as_str().unwrap().is_empty()
        );
    }
}

#[test]
fn what_is_without_end_is_no_release() {
    let desk = Desk::enrolled();
    let draft = [
        "ministry", "release", "draft", "--module", "x", "--out", "d.json",
    ];
    let endless = [&draft[..], &["--file", "/dev/zero"]].concat();
    let (_, said) = desk.fails("clinic", &endless);
    assert!(said.contains("no plain file"), "{said}");
}
