//! Phones as separate processes of the `kijiti` program, each with its own data folder. A process that
//! is found dead is started again, as a phone would be after its battery died; every request can be
//! asked again without doing anything twice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use node::api::views::meetings::{Meeting, Progress};
use node::api::views::status::Status;
use node::api::{Answer, Refusal, Reply, Request};
use node::host::control;
use protocol::DeviceId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Failure;

/// How long a phone may take to answer for the first time.
const START: Duration = Duration::from_secs(20);
/// How often a request is asked before it is given up.
pub(super) const TRIES: u32 = 200;

/// Where the phones of one show live.
#[derive(Debug, Clone)]
pub struct Phones {
    folder: PathBuf,
}

/// Where a phone's process runs.
#[derive(Debug, Clone)]
pub struct Site {
    /// In this network namespace, if not in this process's own.
    pub namespace: Option<String>,
    /// Where it listens.
    pub address: IpAddr,
}

/// One phone's process.
#[derive(Debug, Clone)]
pub struct Phone {
    /// What the show calls it.
    pub name: String,
    /// Its data folder.
    pub folder: PathBuf,
    site: Site,
    child: Arc<Mutex<Option<Child>>>,
    away: Arc<AtomicBool>,
}

impl Phones {
    /// Phones under `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// A phone that is not running yet.
    pub fn phone(&self, name: &str) -> Phone {
        self.phone_at(
            name,
            Site {
                namespace: None,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            },
        )
    }

    /// The same, at a place of its own.
    pub fn phone_at(&self, name: &str, site: Site) -> Phone {
        let folder = self.folder.join(name);
        Phone {
            name: name.to_owned(),
            folder,
            site,
            child: Arc::default(),
            away: Arc::default(),
        }
    }
}

/// The program that phones run: this one, or the one beside it that this one measures.
pub fn program() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("kijiti"))
}

impl Phone {
    fn spawn(&self) -> Result<Child, Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(
                format!("cannot start {}: {e}", self.name),
                "check memory and disk",
            )
        };
        let _ = std::fs::remove_file(self.folder.join("control")); // a killed phone leaves its door standing
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .map_err(failed)?;
        let program = program().map_err(failed)?;
        let mut command = match &self.site.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut inside = Command::new("ip");
                inside.args(["netns", "exec", namespace]).arg(program);
                inside
            }
        };
        command
            .arg("--data")
            .arg(&self.folder)
            .args([
                "start",
                "--no-discovery",
                "--listen",
                &SocketAddr::new(self.site.address, 0).to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)
    }

    /// Starts the process, or starts it again if it has died, and waits until it answers.
    pub fn start(&self) -> Result<(), Failure> {
        self.away.store(false, Ordering::SeqCst);
        let began = Instant::now();
        while began.elapsed() < START {
            if !self.alive() {
                let child = self.spawn()?;
                *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
            }
            if self.ask_once(&Request::Status, &mut |_| {}).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(3).collect();
        Err(Failure::new(
            format!("{} does not start: {}", self.name, last.join(" / ")),
            "see its log in its data folder",
        ))
    }

    fn alive(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child
            .as_mut()
            .is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// The number of its process, while it runs.
    pub fn process(&self) -> Option<u32> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_ref().map(Child::id)
    }

    /// Kills the process as a dead battery would. `false` if there was none.
    pub fn kill(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(process) = child.as_mut() else {
            return false;
        };
        if self.away.load(Ordering::SeqCst) || !matches!(process.try_wait(), Ok(None)) {
            return false;
        }
        let killed = process.kill().is_ok();
        let _ = process.wait();
        killed
    }

    /// Asks the phone as it is now: at its control socket, which is in the phone's own namespace.
    pub fn ask_once(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, Failure> {
        let Some(namespace) = &self.site.namespace else {
            return Ok(control::ask(&self.folder, request, progress)?);
        };
        let failed = |e: String| Failure {
            gone: true,
            ..Failure::new(e, "see that the phone runs")
        };
        let asked = serde_json::to_string(request).map_err(|e| failed(e.to_string()))?;
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe().map_err(|e| failed(e.to_string()))?);
        inside.arg("--data").arg(&self.folder).args(["ask", &asked]);
        let output = inside.output().map_err(|e| failed(e.to_string()))?;
        let answer = serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))?;
        match answer {
            Answer::Done(result) => Ok(result?),
            Answer::Progress(_) => Err(failed("no answer".into())),
        }
    }

    /// Asks the phone, starting it again if it has died, until there is an answer.
    pub fn ask<R>(&self, request: Request) -> Result<R, Failure>
    where
        R: TryFrom<Reply, Error = Refusal>,
    {
        Ok(R::try_from(self.tell(&request, &mut |_| {})?)?)
    }

    /// The same where nobody looks at the answer.
    pub fn have(&self, request: Request) -> Result<(), Failure> {
        self.tell(&request, &mut |_| {}).map(drop)
    }

    /// The same, telling of progress.
    fn tell(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, Failure> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.ask_once(request, progress) {
                Err(failure) if failure.gone => {
                    last = Some(failure);
                    std::thread::sleep(Duration::from_millis(10));
                    self.start()?;
                }
                answer => return answer,
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("no answer", "")))
    }

    /// Its device id and where it listens now.
    pub fn address(&self) -> Result<(DeviceId, String), Failure> {
        let status: Status = self.ask(Request::Status)?;
        Ok((
            status.device,
            status.listening.into_iter().next().unwrap_or_default(),
        ))
    }

    /// Meets another phone, again and again until a meeting has come to its end.
    pub fn meet(
        &self,
        other: &Phone,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Meeting, Failure> {
        let mut last = None;
        for _ in 0..TRIES {
            let (peer, address) = other.address()?;
            match self.tell(&Request::Meet { peer, address }, progress) {
                Ok(meeting) => return Ok(meeting.try_into()?),
                Err(failure) => last = Some(failure),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(last.unwrap_or_else(|| Failure::new("no meeting", "")))
    }

    /// Ends the process politely (SIGTERM) and waits for it.
    pub fn stop(&self) {
        self.away.store(true, Ordering::SeqCst);
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            let _ = Command::new("kill")
                .arg(child.id().to_string())
                .stderr(Stdio::null())
                .status();
            let began = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        if Arc::strong_count(&self.child) == 1 {
            let _ = self.kill();
        }
    }
}

/// Kills random phones at random moments, a set number of times.
pub struct Killer {
    left: Arc<AtomicU32>,
    done: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Killer {
    /// Begins to kill.
    pub fn begin(phones: Vec<Phone>, kills: u32, seed: u64) -> Self {
        let killer = Self {
            left: Arc::new(AtomicU32::new(kills)),
            done: Arc::default(),
            stop: Arc::default(),
        };
        let (left, done, stop) = (
            killer.left.clone(),
            killer.done.clone(),
            killer.stop.clone(),
        );
        std::thread::spawn(move || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            while left.load(Ordering::SeqCst) > 0 && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(rng.random_range(5..160)));
                let victim = phones.get(rng.random_range(0..phones.len().max(1)));
                if victim.is_some_and(Phone::kill) {
                    left.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        killer
    }

    /// How often it has killed.
    pub fn kills(&self) -> u32 {
        self.done.load(Ordering::SeqCst)
    }

    /// Stops it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
