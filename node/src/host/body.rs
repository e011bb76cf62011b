//! The thread that runs the agent: one message at a time, one transaction each, and only then what
//! follows from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use distribution::activation::{Module, runs};
use distribution::plan::Way;
use distribution::{ModuleKind, Release};
use protocol::{DeviceId, DeviceKeys, Now};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Sender;
use tokio::sync::{mpsc, watch};

use super::control::ControlFile;
use super::links::{Links, ToSend};
use super::making::{self, NotMade};
use super::sqlite::SqliteStore;
use super::triage::{Engine, Tried, try_release};
use super::{DataFolder, Log, power};
use crate::agent::{
    Agent, Command, Event, Input, LinkClass, LinkId, MeetingSummary, Output, Power, Reply,
};
use crate::api::views::events::Event as Happened;
use crate::api::views::meetings::Progress;
use crate::api::views::releases::Check;
use crate::api::{self, Answer, Refusal, Request, meetings, releases};
use crate::store::{Store, StoreError};

mod answers;

/// How long the end of the program waits for a release that is being tried.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Between looks at how this machine is powered.
const POWER_EVERY_MS: u64 = 60_000;

/// Damaged things that are named in the status.
const ASIDE_MAX: usize = 32;

/// Where an answer goes.
pub(super) type ReplyTo = mpsc::UnboundedSender<Answer>;

/// What the rest of the program tells the agent's thread.
pub(super) enum Message {
    LinkUp {
        link: LinkId,
        peer: DeviceId,
        class: LinkClass,
        dialed: bool,
        to_send: mpsc::UnboundedSender<ToSend>,
    },
    Received {
        link: LinkId,
        bytes: Vec<u8>,
    },
    Writable {
        link: LinkId,
        bytes: usize,
    },
    LinkDown {
        link: LinkId,
        why: String,
    },
    CallFailed {
        call: u64,
        failure: Refusal,
    },
    Called {
        call: u64,
        link: LinkId,
    },
    /// A driver has noticed a neighbour.
    Seen {
        peer: DeviceId,
        class: LinkClass,
        at: String,
    },
    Tried {
        release: Box<Release>,
        result: Result<(Tried, Vec<Check>), String>,
    },
    Made {
        release: Box<Release>,
        result: Result<PathBuf, NotMade>,
    },
    Request {
        request: Box<Request>,
        reply: ReplyTo,
    },
    Stop,
}

/// A call that is under way.
struct Call {
    peer: DeviceId,
    /// Who has asked for it; `None`: the agent.
    reply: Option<ReplyTo>,
}

pub(super) struct Body {
    agent: Agent,
    store: SqliteStore,
    folder: DataFolder,
    keys: DeviceKeys,
    engine: Engine,
    links: Option<Links>,
    runtime: Handle,
    messages: mpsc::Sender<Message>,
    log: Log,
    /// What happens, for any number of screens.
    happens: Sender<Happened>,
    started: Instant,
    writers: BTreeMap<LinkId, mpsc::UnboundedSender<ToSend>>,
    /// Calls under way.
    calls: BTreeMap<u64, Call>,
    /// Meetings that somebody waits for.
    meets: BTreeMap<LinkId, ReplyTo>,
    /// Meetings that ended before the caller knew their link.
    ended: BTreeMap<LinkId, Result<MeetingSummary, String>>,
    next_call: u64,
    /// How this machine is powered, and when that is looked at again.
    power: (Power, u64),
    /// Who may hear where this phone is.
    discovery: watch::Sender<Option<[u8; 32]>>,
    /// Whether the store has failed for good: the phone ends, and says so.
    broken: Option<Refusal>,
    /// What was found damaged and set aside since the program began.
    aside: Vec<String>,
    answers: BTreeMap<u64, Result<Reply, Refusal>>,
    next_ticket: u64,
    /// Why the store has just failed: the answer to whatever was asked.
    store_failed: Option<Refusal>,
    trying: Vec<protocol::Digest>,
    /// Releases that are being made out of deltas.
    making: Vec<protocol::Digest>,
    wake: Option<u64>,
    pub(super) control: Option<ControlFile>,
}

impl Body {
    pub(super) fn open(
        folder: DataFolder,
        keys: DeviceKeys,
        links: Option<Links>,
        runtime: Handle,
        messages: mpsc::Sender<Message>,
        (log, happens): (Log, Sender<Happened>),
        discovery: watch::Sender<Option<[u8; 32]>>,
    ) -> Result<Self, Refusal> {
        let mut store = SqliteStore::open(folder.path(), &keys)?;
        let agent = load_agent(&keys, &mut store)?;
        let engine = Engine::built_in().map_err(Refusal::Installation)?;
        let mut body = Self {
            agent,
            store,
            folder,
            keys,
            engine,
            links,
            runtime,
            messages,
            log,
            happens,
            started: Instant::now(),
            writers: BTreeMap::new(),
            calls: BTreeMap::new(),
            meets: BTreeMap::new(),
            ended: BTreeMap::new(),
            next_call: 1,
            power: (Power::default(), 0),
            discovery,
            broken: None,
            aside: Vec::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            store_failed: None,
            trying: Vec::new(),
            making: Vec::new(),
            wake: None,
            control: None,
        };
        body.load_active();
        Ok(body)
    }

    /// Runs the phone until it is told to stop; an error if it cannot go on.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) -> Result<(), Refusal> {
        self.drain();
        while self.broken.is_none() {
            self.look_at_power();
            self.discovery.send_if_modified(|key| {
                let now = self.agent.discovery_key();
                std::mem::replace(key, now) != now
            });
            let sleep = self.wake.map_or(Duration::from_secs(60), |at| {
                Duration::from_millis(at.saturating_sub(self.clock().mono_ms).clamp(1, 60_000))
            });
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(sleep, queue.recv()).await });
            match next {
                Ok(None | Some(Message::Stop)) => break,
                Ok(Some(message)) => self.handle(message),
                Err(_) => self.input(Input::Woke),
            }
        }
        self.finish_trying(&mut queue);
        for writer in self.writers.values() {
            let _ = writer.send(ToSend::End);
        }
        if let Some(links) = self.links.take() {
            self.runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(3), links.close())
                    .await
                    .ok()
            });
        }
        self.broken.map_or(Ok(()), Err)
    }

    /// A release that is being tried is tried to its end: a command that took it in leaves it
    /// active or parked.
    fn finish_trying(&mut self, queue: &mut mpsc::Receiver<Message>) {
        while !self.trying.is_empty() || !self.making.is_empty() {
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(TRY_TIMEOUT, queue.recv()).await });
            match next {
                Ok(Some(Message::Tried { release, result })) => self.tried(*release, result),
                Ok(Some(Message::Made { release, result })) => self.made(&release, result),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn clock(&self) -> Now {
        let wall_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        Now {
            mono_ms: self.started.elapsed().as_millis() as u64,
            wall_s,
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::LinkUp {
                link,
                peer,
                class,
                dialed,
                to_send,
            } => {
                self.writers.insert(link, to_send);
                self.input(Input::LinkUp {
                    link,
                    peer,
                    class,
                    dialed,
                });
            }
            Message::Received { link, bytes } => self.input(Input::LinkReceived { link, bytes }),
            Message::Writable { link, bytes } => self.input(Input::LinkWritable { link, bytes }),
            Message::LinkDown { link, why } => {
                self.writers.remove(&link);
                self.input(Input::LinkDown { link, why });
            }
            Message::Called { call, link } => self.called(call, link),
            Message::CallFailed { call, failure } => self.call_failed(call, failure),
            Message::Seen { peer, class, at } => self.input(Input::Seen { peer, class, at }),
            Message::Tried { release, result } => self.tried(*release, result),
            Message::Made { release, result } => self.made(&release, result),
            Message::Request { request, reply } => self.handle_request(*request, reply),
            Message::Stop => {}
        }
    }

    /// One input, one transaction, then its outputs.
    fn input(&mut self, input: Input) {
        let now = self.clock();
        let done = self
            .agent
            .handle_input(now, input, &mut self.store)
            .and_then(|()| self.store.commit());
        match done {
            Ok(()) => self.drain(),
            Err(error) => self.recover(error),
        }
    }

    /// The store failed: everything goes back to the last commit, and the phone starts from there.
    fn recover(&mut self, error: StoreError) {
        (self.log)(&format!(
            "the store failed, starting from what is durable: {error}"
        ));
        self.store.roll_back();
        for writer in self.writers.values() {
            let _ = writer.send(ToSend::End);
        }
        self.writers.clear();
        let failure = Refusal::from(error);
        for (_, reply) in std::mem::take(&mut self.meets) {
            let _ = reply.send(Answer::Done(Err(failure.clone())));
        }
        self.store_failed = Some(failure);
        match load_agent(&self.keys, &mut self.store) {
            Ok(agent) => {
                self.agent = agent;
                self.power = (Power::default(), 0); // it knows of none yet
                self.drain();
            }
            Err(failure) => self.broken = Some(failure), // whoever watches the program starts it anew
        }
    }

    fn drain(&mut self) {
        let (mut closed, mut dials) = (Vec::new(), Vec::new());
        loop {
            match self.agent.poll_output() {
                Output::Transmit { link, bytes } => {
                    if let Some(writer) = self.writers.get(&link) {
                        let _ = writer.send(ToSend::Bytes(bytes));
                    }
                }
                Output::CloseLink { link, reason } => {
                    if let Some(writer) = self.writers.remove(&link) {
                        let _ = writer.send(ToSend::End);
                    }
                    closed.push((link, reason));
                }
                Output::Event(event) => self.event(event),
                Output::Dial { peer, class, at } => dials.push((peer, class, at)),
                Output::Sleep(deadline) => {
                    self.wake = deadline.map(|d| d.at_ms);
                    break;
                }
            }
        }
        for (link, reason) in closed {
            // A call that never became a meeting still owes its caller an answer.
            if let Some(reply) = self.meets.remove(&link) {
                let _ = reply.send(Answer::Done(Err(Refusal::CallEnded(reason))));
            }
        }
        for (peer, class, at) in dials {
            // Whom a person is calling already is not called beside that.
            match self.calls.values().any(|call| call.peer == peer) {
                true => self.dial_ended(peer, true),
                false => self.call((peer, class, at), None),
            }
        }
    }

    fn dial_ended(&mut self, peer: DeviceId, answered: bool) {
        self.input(Input::DialEnded { peer, answered });
    }

    fn event(&mut self, event: Event) {
        if let Some(happened) = Happened::of(&event) {
            let _ = self.happens.send(happened); // nobody need be looking
        }
        match event {
            Event::Reply { ticket, result } => {
                self.answers.insert(ticket, result);
            }
            Event::MeetingBegan { link, peer, name } => {
                let named = Some(name).filter(|name| !name.is_empty());
                let shown = named.as_deref().unwrap_or("a phone without a certificate");
                (self.log)(&format!("meeting {shown} ({})", peer.short()));
                self.progress(link, Progress::Began(named));
            }
            Event::Progress {
                link,
                lane,
                done,
                total,
            } => {
                self.progress(link, Progress::Lane { lane, done, total });
            }
            Event::Refused { link, peer, reason } => {
                (self.log)(&format!("refused from {}: {reason}", peer.short()));
                self.progress(link, Progress::Refused(reason));
            }
            Event::TrustChanged { root, list } => {
                (self.log)(&format!("now trusting root {root}, release list {list}"))
            }
            Event::CasesChanged { envelopes } => {
                (self.log)(&format!("{envelopes} sealed changes taken in"))
            }
            Event::BundleWhole { id } => (self.log)(&format!("bundle {} is whole", id.short())),
            Event::SetAside { what } => {
                (self.log)(&format!("set aside: {what}"));
                if self.aside.len() < ASIDE_MAX && !self.aside.contains(&what) {
                    self.aside.push(what);
                }
            }
            Event::DeltaReady { release, way } => self.make_soon(release, way),
            Event::DeltaRefused { digest, reason } => {
                (self.log)(&format!(
                    "delta {} is thrown away: {reason}",
                    digest.short()
                ));
            }
            Event::ReleaseReady { release } => self.try_soon(*release),
            Event::Activated { module, version } => {
                (self.log)(&format!("{module} version {version} is active"))
            }
            Event::Recalled { module, reason, to } => {
                let now = to.map_or("the rules alone stand".to_owned(), |v| {
                    format!("version {v} runs again")
                });
                (self.log)(&match reason {
                    Some(reason) => {
                        format!("{module} was recalled by the ministry ({reason}): {now}")
                    }
                    None => format!("{module} is in no release list any more and stops"),
                });
                self.load_anew(&module);
            }
            Event::MeetingEnded { link, summary } => {
                (self.log)(&format!("meeting over: {}", summary.reason));
                self.meeting_ended(link, summary);
            }
        }
    }

    fn progress(&self, link: LinkId, value: Progress) {
        if let Some(reply) = self.meets.get(&link) {
            let _ = reply.send(Answer::Progress(value));
        }
    }

    fn meeting_ended(&mut self, link: LinkId, summary: MeetingSummary) {
        match self.meets.remove(&link) {
            Some(reply) => {
                let _ = reply.send(Answer::Done(meetings::outcome(&summary).map(Into::into)));
            }
            None => {
                self.ended.insert(link, Ok(summary));
                while self.ended.len() > 64 {
                    self.ended.pop_first();
                }
            }
        }
    }

    /// Calls a phone; `reply` hears how it goes, if a person has asked for it.
    fn call(&mut self, (peer, class, at): (DeviceId, LinkClass, String), reply: Option<ReplyTo>) {
        let Some(links) = self.links.clone() else {
            return;
        };
        let call = self.next_call;
        self.next_call += 1;
        self.calls.insert(call, Call { peer, reply });
        let messages = self.messages.clone();
        self.runtime.spawn(async move {
            let said = match links.call(peer, class, &at).await {
                Ok(link) => Message::Called { call, link },
                Err(failure) => Message::CallFailed { call, failure },
            };
            let _ = messages.send(said).await;
        });
    }

    fn call_failed(&mut self, call: u64, failure: Refusal) {
        match self.calls.remove(&call) {
            Some(Call {
                reply: Some(reply), ..
            }) => {
                let _ = reply.send(Answer::Done(Err(failure)));
            }
            Some(Call { peer, reply: None }) => self.dial_ended(peer, false),
            None => {}
        }
    }

    fn called(&mut self, call: u64, link: LinkId) {
        let reply = match self.calls.remove(&call) {
            Some(Call {
                reply: Some(reply), ..
            }) => reply,
            Some(Call { peer, reply: None }) => return self.dial_ended(peer, true),
            None => return,
        };
        match self.ended.remove(&link) {
            Some(Ok(summary)) => {
                let _ = reply.send(Answer::Done(meetings::outcome(&summary).map(Into::into)));
            }
            Some(Err(reason)) => {
                let _ = reply.send(Answer::Done(Err(Refusal::CallEnded(reason))));
            }
            None => {
                self.meets.insert(link, reply);
            }
        }
    }

    /// Tells the agent how this machine is powered, if that has changed; once a minute, however much
    /// else there is to do.
    fn look_at_power(&mut self) {
        let (before, due_ms) = self.power;
        let now_ms = self.clock().mono_ms;
        if now_ms < due_ms {
            return;
        }
        let power = power::read(Path::new(power::SUPPLIES));
        self.power = (power, now_ms.saturating_add(POWER_EVERY_MS));
        if power != before {
            self.input(Input::PowerChanged(power));
        }
    }

    /// Makes a release out of deltas on a thread of its own.
    fn make_soon(&mut self, release: Box<Release>, way: Way) {
        if self.making.contains(&release.digest) {
            return;
        }
        self.making.push(release.digest);
        let (folder, messages) = (
            self.store.bundles.folder().to_owned(),
            self.messages.clone(),
        );
        std::thread::spawn(move || {
            let result = making::make(&folder, &release, &way);
            let _ = messages.blocking_send(Message::Made { release, result });
        });
    }

    fn made(&mut self, release: &Release, result: Result<PathBuf, NotMade>) {
        self.making.retain(|d| *d != release.digest);
        let what = format!("{} version {}", release.module, release.version);
        match result {
            Ok(file) => match self.store.bundles.adopt(&file, &release.digest) {
                Ok(()) => {
                    (self.log)(&format!(
                        "{what} was made out of the one before, digest {}",
                        release.digest.short()
                    ));
                    let _ = self.ask_agent(Command::BundleImported(release.digest));
                }
                Err(error) => (self.log)(&format!("{what} could not be kept: {error}")),
            },
            Err(NotMade {
                delta: Some(delta),
                reason,
            }) => {
                let _ = self.ask_agent(Command::DeltaFailed(delta, reason));
            }
            Err(NotMade {
                delta: None,
                reason,
            }) => (self.log)(&format!("{what} could not be made now: {reason}")),
        }
    }

    /// Whether a release may be tried: not one that has brought the program down twice.
    fn begin_attempt(&mut self, module: &str, digest: protocol::Digest) -> bool {
        let began = self.ask_agent(Command::AttemptBegins {
            module: module.to_owned(),
            digest,
        });
        if began == Ok(Reply::Unchanged) {
            (self.log)(&format!(
                "{module} is parked: the program stopped twice while it was being loaded"
            ));
        }
        began != Ok(Reply::Unchanged)
    }

    /// Tries a release on a thread of its own: a bad model may be slow, and must not hold up a
    /// meeting.
    fn try_soon(&mut self, release: Release) {
        if self.trying.contains(&release.digest) || !runs(release.kind) {
            return;
        }
        if !self.begin_attempt(&release.module, release.digest) {
            return;
        }
        self.trying.push(release.digest);
        let path = self
            .store
            .bundles
            .path(&protocol::BundleId::release(release.digest));
        let by_ministry = releases::by_ministry(&self.agent, &release);
        let (engine, messages) = (self.engine.clone(), self.messages.clone());
        std::thread::spawn(move || {
            let result = std::fs::File::open(path)
                .map_err(|e| e.to_string())
                .and_then(|file| try_release(&release, (file, by_ministry), &engine));
            let _ = messages.blocking_send(Message::Tried {
                release: Box::new(release),
                result,
            });
        });
    }

    fn tried(&mut self, release: Release, result: Result<(Tried, Vec<Check>), String>) {
        self.trying.retain(|d| *d != release.digest);
        let module = release.module.clone();
        let _ = self.ask_agent(Command::AttemptEnds {
            module: module.clone(),
        });
        match result {
            Ok((tried, passed)) => {
                if let Err(reason) = self.engine.fits(&module, &tried) {
                    return (self.log)(&format!("{module} waits: {reason}"));
                }
                let mut checks = releases::checks(&self.agent, &release);
                checks.extend(passed);
                let kept = serde_json::to_vec(&checks).unwrap_or_default();
                let switched = self.ask_agent(Command::Activated(Box::new(release), kept));
                if matches!(switched, Ok(Reply::Done | Reply::Unchanged)) {
                    self.engine.switch(&module, tried);
                }
            }
            Err(reason) => {
                (self.log)(&format!(
                    "{module} version {} failed its test here: {reason}",
                    release.version
                ));
                let _ = self.ask_agent(Command::ActivationFailed(Box::new(release), reason));
            }
        }
    }

    /// Loads what was active when the program stopped, rules first. What does not load any more is
    /// not used: the rules that are built in stand.
    fn load_active(&mut self) {
        let mut active: Vec<_> = self
            .agent
            .activations()
            .filter_map(|(module, activation)| Some((module.clone(), activation.current.clone()?)))
            .collect();
        active.sort_by_key(|(_, current)| current.kind != ModuleKind::Rules);
        for (module, current) in active {
            self.load_module(module, current);
        }
    }

    /// Loads what is active of a module. One that has brought the program down twice is parked here,
    /// and the one before it is loaded instead.
    fn load_module(&mut self, module: String, current: Module) {
        let current = match self.begin_attempt(&module, current.digest) {
            true => Some(current),
            false => self.running(&module),
        };
        if let Some(current) = current {
            self.load_one(&module, &current);
        }
        let _ = self.ask_agent(Command::AttemptEnds { module });
    }

    /// What is active of a module.
    fn running(&self, module: &str) -> Option<Module> {
        self.agent.activation(module)?.current.clone()
    }

    /// Something else runs of a module now, or nothing.
    fn load_anew(&mut self, module: &str) {
        self.engine.stop(module);
        if let Some(current) = self.running(module) {
            self.load_module(module.to_owned(), current);
        }
    }

    fn load_one(&mut self, module: &str, current: &Module) {
        let releases = self.agent.trust().map(|t| t.releases()).unwrap_or_default();
        let release = releases
            .into_iter()
            .find(|r| r.module == module && r.digest == current.digest)
            .cloned();
        let release = release.unwrap_or_else(|| releases::release_of(module, current));
        let id = protocol::BundleId::release(current.digest);
        let path = self.store.bundles.path(&id);
        let opened = std::fs::File::open(path).map_err(|e| e.to_string());
        let by_ministry = releases::by_ministry(&self.agent, &release);
        let tried = |file| {
            let (tried, _) = try_release(&release, (file, by_ministry), &self.engine)?;
            self.engine.fits(module, &tried).map(|()| tried)
        };
        match opened.and_then(tried) {
            Ok(tried) => self.engine.switch(module, tried),
            Err(reason) => (self.log)(&format!("{module} is not used: {reason}")),
        }
    }

    /// Asks the agent and returns its answer.
    fn ask_agent(&mut self, command: Command) -> Result<Reply, Refusal> {
        // What follows from one command may be another: each has its own ticket.
        self.store_failed = None;
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.input(Input::Command {
            ticket,
            command: Box::new(command),
        });
        match self
            .answers
            .remove(&ticket)
            .or_else(|| self.store_failed.take().map(Err))
        {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal::Nothing),
        }
    }
}

fn load_agent(keys: &DeviceKeys, store: &mut SqliteStore) -> Result<Agent, Refusal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    let agent = Agent::load(keys.clone(), seed, store)?;
    store.commit()?;
    Ok(agent)
}

/// The engine is shared with threads that only read it.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<inference::TriageModel>>();
};
