//! How other commands reach the running phone: JSON lines over a loopback socket, with a token that
//! only the owner of the data folder can read.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::limits::REQUEST_BYTES_MAX;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::DataFolder;
use super::body::Message;
use super::folder::write_secret;
use crate::api::views::meetings::Progress;
use crate::api::{Answer, Refusal, Reply, Request};

/// Bytes of one line: a request, and its token.
const LINE_BYTES_MAX: u64 = REQUEST_BYTES_MAX + 1024;
/// How long is spent on telling somebody that there is no time.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);
/// Requests that are being said or answered at once.
const ASKING_MAX: usize = 64;
/// How long one may take to say what it asks, token first.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The control file: removed when the phone stops.
#[derive(Debug)]
pub struct ControlFile(PathBuf);

impl Drop for ControlFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Serialize, Deserialize)]
struct Door {
    address: std::net::SocketAddr,
    token: String,
}

#[derive(Serialize, Deserialize)]
struct Knock {
    token: String,
    request: Request,
}

/// Listens for requests until the program ends.
pub(super) async fn serve(
    folder: &DataFolder,
    messages: mpsc::Sender<Message>,
) -> Result<ControlFile, Refusal> {
    let trouble = |e: std::io::Error| Refusal::NoMachine(format!("no control socket: {e}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(trouble)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    let token = protocol::Digest(secret).to_string();
    let door = Door {
        address: listener.local_addr().map_err(trouble)?,
        token: token.clone(),
    };
    let path = folder.path().join("control");
    let text = serde_json::to_string(&door).map_err(|e| Refusal::NoMachine(e.to_string()))?;
    write_secret(&path, &text).map_err(trouble)?;
    tokio::spawn(async move {
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(ASKING_MAX));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Any program of this machine may knock; who holds no token must not keep those
                    // out that do.
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        tokio::spawn(tokio::time::timeout(BUSY_TIMEOUT, say_busy(stream)));
                        continue;
                    };
                    let (token, messages) = (token.clone(), messages.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        answer(stream, token, messages).await;
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(ControlFile(path))
}

/// Says that nobody has time; what was asked is read first, or the word would not arrive.
async fn say_busy(stream: tokio::net::TcpStream) {
    let (read, mut write) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(read.take(LINE_BYTES_MAX));
    let _ = reader.read_line(&mut String::new()).await;
    let busy = serde_json::to_string(&Answer::Done(Err(Refusal::Busy)));
    let line = format!("{}\n", busy.unwrap_or_default());
    let _ = write.write_all(line.as_bytes()).await;
}

async fn answer(stream: tokio::net::TcpStream, token: String, messages: mpsc::Sender<Message>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(read.take(LINE_BYTES_MAX));
    match tokio::time::timeout(KNOCK_TIMEOUT, reader.read_line(&mut line)).await {
        Ok(Ok(1..)) => {}
        Ok(Ok(0) | Err(_)) | Err(_) => return,
    }
    let Some(knock) = read_knock(&line).filter(|k| k.token == token) else {
        return;
    };
    let (reply, mut answers) = mpsc::unbounded_channel();
    if messages
        .send(Message::Request {
            request: Box::new(knock.request),
            reply,
        })
        .await
        .is_err()
    {
        return;
    }
    while let Some(answer) = answers.recv().await {
        let Ok(mut text) = serde_json::to_string(&answer) else {
            return;
        };
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn read_knock(line: &str) -> Option<Knock> {
    serde_json::from_str(line).ok()
}

/// Reads a request as the control socket does, and says nothing of it: for the fuzz target.
pub fn read_request(line: &str) -> bool {
    read_knock(line).is_some()
}

/// Asks the phone that runs in `folder`; [`Refusal::Gone`] where none answers.
pub fn ask(
    folder: &Path,
    request: &Request,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Reply, Refusal> {
    let asked = ask_or_in_use(folder, request, progress);
    asked.map_err(|refusal| {
        if let Refusal::InUse(folder) = refusal {
            return Refusal::Gone(folder);
        }
        refusal
    })
}

/// The same; [`Refusal::InUse`] where nothing was asked yet, so that it may be asked again.
pub(super) fn ask_or_in_use(
    folder: &Path,
    request: &Request,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Reply, Refusal> {
    request.within_limit()?;
    // Nothing was asked yet: somebody else uses the folder, or is just starting or ending.
    let in_use = || Refusal::InUse(folder.display().to_string());
    let text = std::fs::read_to_string(folder.join("control")).map_err(|_| in_use())?;
    let door: Door = serde_json::from_str(&text).map_err(|_| in_use())?;
    let mut stream = std::net::TcpStream::connect_timeout(&door.address, Duration::from_secs(3))
        .map_err(|_| in_use())?;
    stream
        .set_write_timeout(Some(KNOCK_TIMEOUT))
        .map_err(|_| in_use())?;
    let knock = Knock {
        token: door.token,
        request: request.clone(),
    };
    let line = serde_json::to_string(&knock).map_err(|_| in_use())?;
    writeln!(stream, "{line}").map_err(|_| in_use())?;
    // From here on it may have been done: nobody asks again by himself.
    let gone = || Refusal::Gone(folder.display().to_string());
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|_| gone())?;
        match serde_json::from_str::<Answer>(&line).map_err(|_| gone())? {
            Answer::Progress(value) => progress(&value),
            Answer::Done(result) => return result,
        }
    }
    Err(gone())
}
