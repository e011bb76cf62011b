//! A worker: answers one request on a thread of its own, beside the agent. It looks at a snapshot of
//! what the phone knows, keeps and runs, and has the agent do what changes anything, one command at a
//! time; after each it looks at a new snapshot. So assessments, lists, exports and copies hold up no
//! meeting, and reading cannot write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use protocol::{CaseId, DeviceKeys, Now};
use tokio::sync::{mpsc, oneshot};

use super::body::{Message, ReplyTo};
use super::links::counts::Counts;
use super::sqlite::SqliteStore;
use super::triage::Engine;
use crate::agent::{Command, Known, Reply, Snapshot};
use crate::api::views::meetings::Progress;
use crate::api::{self, Answer, Assessor, Concern, Cx, HostFacts, Look, Refusal, Request};
use crate::store::{CaseStore, Store, TrustStore};

mod answers;
mod carry;

/// How often a request is begun anew because more was said of its case.
const TRIES_MAX: usize = 3;

/// What a phone knows, keeps and runs at one moment.
pub(super) struct Moment {
    pub known: Snapshot,
    pub store: SqliteStore,
    pub engine: Engine,
}

/// What came of a command, and how things stand after it.
pub(super) type Acted = (Result<Reply, Refusal>, Result<Moment, Refusal>);

/// What a worker is given beside the moment.
pub(super) struct Desk {
    pub folder: PathBuf,
    pub keys: DeviceKeys,
    pub started: Instant,
    pub listening: Vec<String>,
    /// What its radios have cost, where it has any in use.
    pub counts: Option<std::sync::Arc<Counts>>,
    /// What was found damaged so far.
    pub aside: Vec<String>,
    pub messages: mpsc::Sender<Message>,
}

struct Worker {
    moment: Moment,
    desk: Desk,
    reply: ReplyTo,
}

/// Tells the agent's thread that a worker is gone, however it ended.
struct Gone {
    messages: mpsc::Sender<Message>,
    looks: bool,
    aside: Vec<String>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let (looks, aside) = (self.looks, std::mem::take(&mut self.aside));
        let _ = (self.messages).blocking_send(Message::Answered { looks, aside });
    }
}

/// Answers a request on a thread of its own; an error if there is none to be had.
pub(super) fn answer_soon(
    moment: Moment,
    desk: Desk,
    (request, reply): (Request, ReplyTo),
) -> std::io::Result<()> {
    let mut worker = Worker {
        moment,
        desk,
        reply: reply.clone(),
    };
    let work = move || {
        // Made here: were it dropped by the agent's own thread, that would wait for itself.
        let mut gone = Gone {
            messages: worker.desk.messages.clone(),
            looks: request.only_looks(),
            aside: Vec::new(),
        };
        let answer = catch_unwind(AssertUnwindSafe(|| worker.answer_request(request)));
        gone.aside = worker.moment.store.set_aside();
        drop(worker); // its snapshot ends before anybody hears of the answer
        let _ = reply.send(Answer::Done(answer.unwrap_or(Err(Refusal::WorkerDied))));
    };
    std::thread::Builder::new().spawn(work).map(drop)
}

/// The time of a program that started then.
pub(super) fn clock(started: Instant) -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Now {
        mono_ms: started.elapsed().as_millis() as u64,
        wall_s: wall.map_or(0, |d| d.as_secs()),
    }
}

/// What this program has cost since it began, as far as the machine tells.
fn cost(counts: &Counts) -> api::Cost {
    let threads = std::fs::read_dir("/proc/self/task").ok();
    let woken = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    // CPU time: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    let ticks = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| {
            let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
            fields
                .map(|ticks| ticks.parse::<u64>().ok())
                .sum::<Option<u64>>()
        });
    api::Cost {
        wakeups: threads.map(|threads| threads.flatten().filter_map(woken).sum()),
        processor_ms: ticks.map(|ticks| ticks.saturating_mul(10)),
        spent: counts.spent(),
    }
}

impl Look for Worker {
    fn known(&self) -> Known<'_> {
        self.moment.known.known()
    }

    fn store(&self) -> &dyn Store {
        &self.moment.store
    }

    fn assessor(&self) -> &dyn Assessor {
        &self.moment.engine
    }

    fn now(&self) -> Now {
        clock(self.desk.started)
    }

    fn progress(&self, how_far: Progress) {
        // Whoever asked may be gone: the work goes on.
        let _ = self.reply.send(Answer::Progress(how_far));
    }
}

impl Cx for Worker {
    fn randomness(&mut self) -> Result<[u8; 32], Refusal> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
        Ok(seed)
    }

    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        let (reply, acted) = oneshot::channel();
        let seen = self.seen(&command)?;
        // While a snapshot is looked at, the write-ahead log only grows.
        self.moment.store.roll_back();
        let command = Box::new(command);
        let message = Message::Act {
            command,
            seen,
            reply,
        };
        let sent = self.desk.messages.blocking_send(message);
        sent.map_err(|_| Refusal::Stopped)?;
        let (result, moment) = acted.blocking_recv().map_err(|_| Refusal::Stopped)?;
        self.moment = moment?;
        result
    }
}

impl Worker {
    /// Of a case that a command adds to: how much of it was looked at.
    fn seen(&self, command: &Command) -> Result<Option<(CaseId, u64)>, Refusal> {
        let Command::AddToCase { case: Some(id), .. } = command else {
            return Ok(None);
        };
        let row = self.moment.store.case_row(id)?;
        Ok(row.map(|row| (*id, row.entries)))
    }

    fn answer_here(&mut self, request: Request, facts: HostFacts) -> Result<api::Reply, Refusal> {
        api::answer(self, request, facts).unwrap_or(Err(Refusal::Nothing))
    }

    /// Begins again where more was said of a case than was looked at.
    fn until_it_stands(
        &mut self,
        mut answer: impl FnMut(&mut Self) -> Result<api::Reply, Refusal>,
    ) -> Result<api::Reply, Refusal> {
        (0..TRIES_MAX)
            .map(|_| answer(self))
            .find(|answer| *answer != Err(Refusal::CaseMoved))
            .unwrap_or(Err(Refusal::CaseMoved))
    }

    fn host_facts(&self, request: &Request) -> HostFacts {
        let counted = matches!(request, Request::Status | Request::EnrolAccept { .. });
        let bundle_bytes = counted.then(|| self.moment.store.bundles.bytes_held());
        HostFacts {
            listening: self.desk.listening.clone(),
            data: self.desk.folder.display().to_string(),
            set_aside: self.desk.aside.clone(),
            bundle_bytes: bundle_bytes.unwrap_or_default(),
            cost: self.desk.counts.as_ref().map(|counts| cost(counts)),
        }
    }

    fn answer_request(&mut self, request: Request) -> Result<api::Reply, Refusal> {
        let facts = self.host_facts(&request);
        match request.concern() {
            Concern::FilesOut => self.answer_of_files(request),
            Concern::Views => {
                let looked = api::look(self, request, facts)?;
                if !looked.judged.is_empty() {
                    let message = Message::Remember(looked.judged);
                    let _ = self.desk.messages.blocking_send(message);
                }
                Ok(looked.reply)
            }
            // What was judged is what is written of: where a meeting has brought more meanwhile, all
            // is looked at again. A request that comes twice is done once.
            Concern::FilesIn => {
                self.until_it_stands(|worker| worker.answer_of_files(request.clone()))
            }
            Concern::Cases => {
                self.until_it_stands(|worker| worker.answer_here(request.clone(), facts.clone()))
            }
            Concern::Visit | Concern::Keeping | Concern::Links => self.answer_here(request, facts),
        }
    }
}
