//! Web servers as people have them.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a web server behaves that somebody has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manners {
    /// As RFC 9110 has it.
    Good,
    /// It knows no ranges, and says nothing of versions.
    NoRanges,
    /// It packs everything, though nobody asked.
    Packs,
    /// A login page comes instead of anything, of bundles, or with a status of its own.
    Portal,
    PortalOfBundles,
    Status511,
    /// It is in trouble for the first three requests.
    Busy,
    /// What it sends of bundles is cut in half, in chunks without a length.
    Halves,
    /// Packed as nothing here unpacks.
    Brotli,
    /// No more than 700 kB of anything at once, whatever was asked for; with or without ranges that say so.
    Parts,
    /// It hangs up after 1.5 MB without having said how long it would be.
    HangsUp,
    /// It refuses the very question for a range.
    RefusesRanges,
}

/// Serves files, and hangs up after so many bytes of bundles in all.
pub(crate) fn serve(
    root: PathBuf,
    manners: Manners,
    budget: Arc<AtomicU64>,
    served: Arc<AtomicU64>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut asked = 0;
        for stream in listener.incoming().flatten() {
            asked += 1;
            let _ = answer(stream, &root, (manners, asked), &budget, &served);
        }
    });
    format!("http://{address}")
}

/// The name that a request asks for, and from which byte on it wants the file.
fn read_request(stream: &TcpStream) -> std::io::Result<(String, Option<usize>)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut range) = (String::new(), None);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some(bytes) = header.to_lowercase().strip_prefix("range: bytes=") {
            range = bytes.split('-').next().and_then(|from| from.parse().ok());
        }
        if header.trim().is_empty() {
            let name = line.split_whitespace().nth(1).unwrap_or_default();
            return Ok((name.trim_start_matches('/').to_owned(), range));
        }
    }
}

const PAGE: &[u8] = b"\n<!DOCTYPE html><html><title>Town Wi-Fi</title>Please log in</html>";

/// Where it stops sending.
fn cut(manners: Manners, bytes: usize) -> usize {
    match manners {
        Manners::Halves => bytes / 2 + 1,
        Manners::HangsUp => bytes.min(1_500_000),
        _ => bytes,
    }
}

/// What comes in the place of any file.
fn instead(
    manners: Manners,
    asked: u32,
    bundle: bool,
) -> Option<(&'static str, String, &'static [u8])> {
    let bytes = PAGE.len();
    let page = format!("Content-Type: text/html; charset=utf-8\r\nContent-Length: {bytes}\r\n");
    match manners {
        Manners::Status511 => Some(("511 Network Authentication Required", page, PAGE)),
        Manners::Portal => Some(("200 OK", page, PAGE)),
        Manners::PortalOfBundles if bundle => Some(("200 OK", page, PAGE)),
        Manners::Busy if asked <= 3 => Some(("503 Later", "Content-Length: 0\r\n".into(), b"")),
        _ => None,
    }
}

fn answer(
    stream: TcpStream,
    root: &std::path::Path,
    (manners, asked): (Manners, u32),
    budget: &AtomicU64,
    served: &AtomicU64,
) -> std::io::Result<()> {
    let (name, range) = read_request(&stream)?;
    let mut stream = stream;
    let bundle = name.contains("bundles/");
    let mut say = |status: &str, headers: &str, body: &[u8]| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
        )?;
        stream.write_all(body)
    };
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    if let Some((status, headers, body)) = instead(manners, asked, bundle) {
        return say(status, &headers, body);
    }
    let Ok(whole) = std::fs::read(root.join(&name)) else {
        return say("404 Not Found", "Content-Length: 0\r\n", b"");
    };
    if manners == Manners::RefusesRanges && range.is_some() {
        return say("400 Bad Request", "Content-Length: 0\r\n", b"");
    }
    let from = range.filter(|_| manners != Manners::NoRanges);
    if from.is_some_and(|from| from >= whole.len()) {
        return say("416 Range Not Satisfiable", "Content-Length: 0\r\n", b"");
    }
    let mut body = &whole[from.unwrap_or(0)..];
    if manners == Manners::Parts && bundle {
        body = &body[..body.len().min(700_000)];
    }
    let mut headers = match from {
        None => String::new(),
        Some(from) => format!(
            "Content-Range: bytes {from}-{}/{}\r\n",
            whole.len() - 1,
            whole.len()
        ),
    };
    let status = if from.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    match manners {
        Manners::Packs => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&whole)?;
            // In chunks, as a server sends what it packs on the way.
            return say("200 OK", "Content-Encoding: gzip\r\n", &packed.finish()?);
        }
        Manners::Brotli => headers += "Content-Encoding: br\r\n",
        Manners::HangsUp => {}
        _ => headers += &length(body),
    }
    if !bundle {
        return say(status, &headers, body);
    }
    let half = cut(manners, body.len());
    let sent = half.min(usize::try_from(budget.load(Ordering::SeqCst)).unwrap_or(usize::MAX));
    budget.fetch_sub(sent as u64, Ordering::SeqCst);
    served.fetch_add(sent as u64, Ordering::SeqCst);
    say(status, &headers, &body[..sent])
}

pub(crate) fn counts(budget: u64) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
    (
        Arc::new(AtomicU64::new(budget)),
        Arc::new(AtomicU64::new(0)),
    )
}
