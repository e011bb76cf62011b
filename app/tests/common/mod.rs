//! A desk with phones beside it: every call is the command as a person types it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use node::api::Request;
use node::host::{DataFolder, Host, HostOptions};
use serde_json::Value;

pub(crate) struct Desk {
    pub folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, phone: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kijiti"));
        command.env("KIJITI_PASSPHRASE", "twelve patients to see");
        command
            .current_dir(self.folder.path())
            .arg("--data")
            .arg(self.path(phone))
            .args(args);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    pub(crate) fn ok(&self, phone: &str, args: &[&str]) -> String {
        let output = self.run(phone, args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, phone: &str, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        serde_json::from_str(&self.ok(phone, &all)).unwrap()
    }

    /// The exit code and what was said; every error has a hint.
    pub(crate) fn fails(&self, phone: &str, args: &[&str]) -> (i32, String) {
        let output = self.run(phone, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?} should fail");
        assert!(
            said.contains("error:") && said.contains("hint:"),
            "{args:?} says {said}"
        );
        (output.status.code().unwrap(), said)
    }

    /// Runs a script in a mount namespace of its own; `None`, with a word, where that is not
    /// allowed.
    pub(crate) fn with_mounts(&self, script: &str) -> Option<(Output, String)> {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .current_dir(self.folder.path())
            .env("KIJITI", env!("CARGO_BIN_EXE_kijiti"))
            .env("EXAMPLE", example())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("not permitted") || said.contains("must be superuser") {
            eprintln!("skipped: mount namespaces cannot be made here");
            return None;
        }
        Some((output, said))
    }

    /// Drafts a release of a file, signs it with two of the ministry's keys, and publishes it on the clinic's phone.
    pub(crate) fn publish(&self, file: &str, module: &str, more: &[&str]) {
        let draft = ["ministry", "release", "draft", "--module", module];
        let rest = ["--file", file, "--out", "draft.json"];
        self.ok("clinic", &[&draft[..], &rest[..], more].concat());
        for key in ["keys/key-1.age", "keys/key-2.age"] {
            let sign = ["ministry", "release", "sign", "draft.json", "--key", key];
            self.ok("clinic", &sign);
        }
        self.ok("clinic", &["ministry", "release", "publish", "draft.json"]);
    }

    /// A phone that runs, in this process.
    pub(crate) fn start(&self, phone: &str) -> Host {
        let folder = DataFolder::open(&self.path(phone))
            .unwrap()
            .with_secret(Some("twelve patients to see".into()));
        let listen = Some("127.0.0.1:0".parse().unwrap());
        Host::start(
            folder,
            HostOptions {
                listen,
                ..HostOptions::default()
            },
            std::sync::Arc::new(|_: &str| {}),
        )
        .unwrap()
    }

    /// Two phones meet over a real link, to the end.
    pub(crate) fn meet(&self, a: &str, b: &str) {
        let met = self.met(a, b);
        assert_eq!(met["complete"], true, "{met}");
    }

    /// What comes of a meeting.
    pub(crate) fn met(&self, a: &str, b: &str) -> Value {
        let [a, b] = [a, b].map(|phone| self.start(phone));
        let meet = Request::Meet {
            peer: b.id(),
            address: b.addresses()[0].to_string(),
        };
        let met = a.request(meet, &mut |_| {});
        let met = met
            .map(|reply| reply.view().to_json().unwrap())
            .unwrap_or_default();
        a.stop();
        b.stop();
        met
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        name.to_owned()
    }

    /// A ministry, and a clinic that reads and writes for north/kilifi.
    pub(crate) fn enrolled() -> Self {
        let desk = Self::new();
        desk.ok(
            "clinic",
            &["ministry", "keys", "--out", "keys", "--work-factor", "10"],
        );
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
        let rights = "carry,read,write,grant,enrol";
        #[rustfmt::skip]
        desk.ok("clinic", &["enrol", "sign", "request.json", "--area", "north/kilifi", "--rights", rights,
            "--passes-on", "carry,read,write", "--ministry", "keys", "--out", "answer.json"]);
        desk.ok("clinic", &["enrol", "accept", "answer.json"]);
        desk.ok("clinic", &["enrol", "space", "--area", "north/kilifi"]);
        desk
    }
}

/// A case of a child with severe pneumonia, by the first digits of its id.
pub(crate) fn new_case(desk: &Desk, phone: &str, args: &[&str]) -> String {
    let example = example();
    let new = desk.json(
        phone,
        &[&["case", "new", "--findings", &example], args].concat(),
    );
    new["case"].as_str().unwrap()[..8].to_owned()
}

/// A worker of the village, certified and let into the clinic's space.
pub(crate) fn with_worker() -> Desk {
    let desk = Desk::enrolled();
    desk.ok(
        "worker",
        &[
            "enrol",
            "request",
            "--name",
            "Worker Neema",
            "--out",
            "neema.json",
        ],
    );
    desk.ok(
        "clinic",
        &[
            "enrol",
            "sign",
            "neema.json",
            "--area",
            "north/kilifi/mtwapa",
            "--out",
            "neema-answer.json",
        ],
    );
    desk.ok("worker", &["enrol", "accept", "neema-answer.json"]);
    desk.ok(
        "clinic",
        &[
            "enrol",
            "grant",
            "neema-answer.json",
            "--area",
            "north/kilifi",
            "--out",
            "grant.json",
        ],
    );
    desk.ok("worker", &["enrol", "accept", "grant.json"]);
    desk
}

pub(crate) fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/severe-pneumonia.toml")
        .display()
        .to_string()
}
