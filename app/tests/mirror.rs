//! Mirrors: a release goes through a folder and a web server, cut off in the middle and tampered
//! with.

#![allow(clippy::disallowed_methods)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::Desk;

/// A desk that has published a form of 4 MB, and a town that trusts the same ministry and has
/// nothing yet.
fn published() -> Desk {
    let desk = Desk::enrolled();
    let noise: Vec<u8> = (0..4_000_000u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
        .collect();
    std::fs::write(desk.path("form"), noise).unwrap();
    desk.ok(
        "clinic",
        &[
            "ministry",
            "release",
            "draft",
            "--module",
            "form-a",
            "--file",
            "form",
            "--out",
            "draft.json",
        ],
    );
    for key in ["keys/key-1.age", "keys/key-2.age"] {
        desk.ok(
            "clinic",
            &["ministry", "release", "sign", "draft.json", "--key", key],
        );
    }
    desk.ok("clinic", &["ministry", "release", "publish", "draft.json"]);
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

/// Serves files with ranges, and hangs up after so many bytes of bundles in all.
fn serve(root: PathBuf, budget: Arc<AtomicU64>, served: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &root, &budget, &served);
        }
    });
    format!("http://{address}")
}

fn answer(
    stream: TcpStream,
    root: &std::path::Path,
    budget: &AtomicU64,
    served: &AtomicU64,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut range) = (String::new(), None);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some(bytes) = header.to_lowercase().strip_prefix("range: bytes=") {
            let (a, b) = bytes.trim().split_once('-').unwrap();
            range = Some((a.parse::<usize>().unwrap(), b.parse::<usize>().unwrap()));
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut stream = stream;
    let name = line
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches('/');
    let mut whole = Vec::new();
    match std::fs::File::open(root.join(name)) {
        Ok(mut file) => file.read_to_end(&mut whole)?,
        Err(_) => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    };
    let total = whole.len();
    let (status, start, end) = match range {
        Some((start, end)) => ("206 Partial Content", start, (end + 1).min(total)),
        None => ("200 OK", 0, total),
    };
    let body = &whole[start..end];
    if name.contains("bundles/") {
        if budget.load(Ordering::SeqCst) < body.len() as u64 {
            return Ok(()); // the line goes dead
        }
        budget.fetch_sub(body.len() as u64, Ordering::SeqCst);
        served.fetch_add(body.len() as u64, Ordering::SeqCst);
    }
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{total}\r\nETag: \"1\"\r\n\
         Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\nConnection: close\r\n\r\n",
        body.len(),
        end.max(1) - 1
    )?;
    stream.write_all(body)
}

#[test]
fn a_release_comes_over_http_and_after_a_cut_goes_on_where_it_stopped() {
    let desk = published();
    desk.ok("clinic", &["mirror", "push", "www"]);
    let (budget, served) = (
        Arc::new(AtomicU64::new(2_500_000)),
        Arc::new(AtomicU64::new(0)),
    );
    let url = serve(desk.path("www"), budget.clone(), served.clone());
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
