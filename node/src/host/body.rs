//! The thread that runs the agent: one message at a time, one transaction each, and only then what
//! follows from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distribution::Release;
use protocol::{CaseId, DeviceId, DeviceKeys, Invariant, Now, never};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Sender;
use tokio::sync::{mpsc, oneshot, watch};

use super::control::ControlFile;
use super::links::{Links, ToSend};
use super::making::NotMade;
use super::sqlite::SqliteStore;
use super::triage::{Engine, Tried};
use super::worker::{Acted, Desk, Moment, answer_soon, clock};
use super::{DataFolder, Log, power};
use crate::agent::{
    Agent, Command, Event, Input, LinkClass, LinkId, Network, Output, Power, Reply,
};
use crate::api::views::events::Event as Happened;
use crate::api::views::meetings::Progress;
use crate::api::views::releases::Check;
use crate::api::{Answer, Refusal, Request};
use crate::store::{CaseStore, Setting, StoreError, TrustStore};
use calls::Calls;
use modules::Modules;
use requests::Requests;

mod calls;
mod modules;
mod requests;

/// How long the end of the program waits for something that is under way.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Between looks at how this machine is powered.
const POWER_EVERY_MS: u64 = 60_000;

/// Under which key this phone says where it is; `None`: to nobody.
type Discovery = Option<[u8; 32]>;

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
    Loaded {
        module: String,
        digest: protocol::Digest,
        result: Result<Tried, String>,
    },
    Made {
        release: Box<Release>,
        result: Result<PathBuf, NotMade>,
    },
    Request {
        request: Box<Request>,
        reply: ReplyTo,
    },
    /// A worker wants something done.
    Act {
        command: Box<Command>,
        /// The case that it is about, and how much of it the worker has looked at.
        seen: Option<(CaseId, u64)>,
        reply: oneshot::Sender<Acted>,
    },
    /// What came of raising a network for a phone.
    Raised {
        peer: DeviceId,
        network: Option<Network>,
    },
    /// A phone's network could not be joined.
    NotJoined {
        peer: DeviceId,
    },
    /// What a worker found out on the way, so that nobody need do so again.
    Remember(Vec<(CaseId, Vec<u8>)>),
    /// A worker is gone, and what it found damaged.
    Answered {
        looks: bool,
        aside: Vec<String>,
    },
    Stop,
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
    calls: Calls,
    requests: Requests,
    modules: Modules,
    /// What came of commands, for workers that wait until what runs now is loaded.
    owed: Vec<(oneshot::Sender<Acted>, Result<Reply, Refusal>)>,
    /// No request is begun any more.
    stopping: bool,
    /// What kinds of links the agent knows that there can be.
    classes: Vec<LinkClass>,
    /// It knows that this phone can raise networks.
    raises: bool,
    /// How this machine is powered, and when that is looked at again.
    power: (Power, u64),
    /// Who may hear where this phone is.
    discovery: watch::Sender<Discovery>,
    /// For how long radios look for neighbours and rest.
    looks: watch::Sender<(u64, u64)>,
    /// Whether the store has failed for good: the phone ends, and says so.
    broken: Option<Refusal>,
    /// What was found damaged and set aside since the program began.
    aside: Vec<String>,
    answers: BTreeMap<u64, Result<Reply, Refusal>>,
    next_ticket: u64,
    /// Why the store has just failed: the answer to whatever was asked.
    store_failed: Option<Refusal>,
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
        (discovery, looks): (watch::Sender<Discovery>, watch::Sender<(u64, u64)>),
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
            calls: Calls::default(),
            requests: Requests::default(),
            modules: Modules::default(),
            owed: Vec::new(),
            stopping: false,
            classes: Vec::new(),
            raises: false,
            power: (Power::default(), 0),
            discovery,
            looks,
            broken: None,
            aside: Vec::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            store_failed: None,
            wake: None,
            control: None,
        };
        body.load_active();
        // What a dead battery has cut off comes before anything else that changes something.
        if body.import_is_cut_off() {
            let nobody = mpsc::unbounded_channel().0;
            body.requests.push(Request::ImportGoesOn, nobody);
        }
        Ok(body)
    }

    /// Whether a file of cases was being taken in when the program ended.
    pub(super) fn import_is_cut_off(&self) -> bool {
        self.store.import().is_ok_and(|kept| kept.is_some())
    }

    /// Runs the phone until it is told to stop; an error if it cannot go on.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) -> Result<(), Refusal> {
        self.drain();
        while self.broken.is_none() {
            self.look_at_power();
            self.look_at_radios();
            self.discovery.send_if_modified(|key| {
                let now = self.agent.known().discovery_key();
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
        self.stopping = true;
        match &self.broken {
            None => self.finish(&mut queue),
            // Nothing goes on with an agent whose memory is ahead of its store.
            Some(why) => std::mem::take(&mut self.owed)
                .into_iter()
                .for_each(|(reply, _)| drop(reply.send((Err(why.clone()), Err(why.clone()))))),
        }
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

    /// What is under way is brought to its end: a command that took a release in leaves it active or
    /// parked, and what a person was having done is done.
    fn finish(&mut self, queue: &mut mpsc::Receiver<Message>) {
        let end = Instant::now() + FINISH_TIMEOUT;
        while self.modules.under_way() || self.requests.under_way() {
            let left = end.saturating_duration_since(Instant::now());
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(left, queue.recv()).await });
            match next {
                Ok(Some(
                    message @ (Message::Tried { .. }
                    | Message::Loaded { .. }
                    | Message::Made { .. }
                    | Message::Act { .. }
                    | Message::Answered { .. }),
                )) => self.handle(message),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.end_attempts();
    }

    fn clock(&self) -> Now {
        clock(self.started)
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
                self.look_at_radios(); // a radio may have come up with this very link
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
            Message::Called { call, link } => {
                if let Some(peer) = self.calls.called(call, link) {
                    self.dial_ended(peer, true);
                }
            }
            Message::CallFailed { call, failure } => {
                if let Some(peer) = self.calls.failed(call, failure) {
                    self.dial_ended(peer, false);
                }
            }
            Message::Seen { peer, class, at } => self.input(Input::Seen { peer, class, at }),
            Message::Raised { peer, network } => self.input(Input::NetworkRaised { peer, network }),
            Message::NotJoined { peer } => self.input(Input::NetworkNotJoined { peer }),
            Message::Tried { release, result } => self.tried(*release, result),
            Message::Made { release, result } => self.made(&release, result),
            Message::Loaded {
                module,
                digest,
                result,
            } => self.loaded(&module, digest, result),
            Message::Request { request, reply } => self.handle_request(*request, reply),
            Message::Act {
                command,
                seen,
                reply,
            } => self.act(*command, seen, reply),
            Message::Remember(judged) => self.remember(judged),
            Message::Answered { looks, aside } => {
                self.requests.ended(looks);
                aside.into_iter().for_each(|what| self.set_aside(what));
            }
            Message::Stop => {}
        }
        self.settle();
    }

    fn handle_request(&mut self, request: Request, reply: ReplyTo) {
        let Request::Meet { peer, address } = request else {
            self.input(Input::Woke); // a day on which somebody only reads is a day of use too
            return self.requests.push(request, reply);
        };
        match address.parse::<SocketAddr>() {
            Ok(_) if self.links.is_some() => {
                self.call((peer, LinkClass::Ip, address), Some(reply));
            }
            Ok(_) | Err(_) => {
                let _ = reply.send(Answer::Done(Err(Refusal::NotAnAddress)));
            }
        }
    }

    /// Does what a worker wants done.
    fn act(
        &mut self,
        command: Command,
        seen: Option<(CaseId, u64)>,
        reply: oneshot::Sender<Acted>,
    ) {
        let row = seen.map(|(case, _)| self.store.case_row(&case));
        let now = row.and_then(Result::ok).flatten().map(|row| row.entries);
        if now != seen.map(|(_, entries)| entries) {
            return self.owed.push((reply, Err(Refusal::CaseMoved)));
        }
        let mut other_runs = None;
        if let Command::GoBack(module) = &command {
            other_runs = Some(module.clone());
        }
        let result = self.ask_agent(command);
        if let Some(module) = other_runs.filter(|_| result.is_ok()) {
            self.load_anew(&module);
        }
        self.owed.push((reply, result));
    }

    /// Only spares work: a full disk makes the next look slower, and does no more.
    fn remember(&mut self, judged: Vec<(CaseId, Vec<u8>)>) {
        let kept = keep_judged(&mut self.store, judged).and_then(|()| self.store.commit());
        if kept.is_err() {
            self.store.roll_back();
        }
    }

    /// How things stand, for workers; not while what runs here is being loaded.
    fn settle(&mut self) {
        if self.modules.loading() || self.broken.is_some() {
            return;
        }
        for (reply, result) in std::mem::take(&mut self.owed) {
            if !reply.is_closed() {
                let _ = reply.send((result, self.moment()));
            }
        }
        while !self.stopping
            && let Some((request, reply)) = self.requests.next()
        {
            let desk = Desk {
                folder: self.folder.path().to_owned(),
                keys: self.keys.clone(),
                started: self.started,
                listening: self
                    .links
                    .as_ref()
                    .map(Links::addresses)
                    .unwrap_or_default(),
                counts: self.links.as_ref().map(Links::counts),
                aside: self.aside.clone(),
                messages: self.messages.clone(),
            };
            match self.moment() {
                Ok(moment) => {
                    let looks = request.only_looks();
                    if answer_soon(moment, desk, (request, reply)).is_err() {
                        self.requests.ended(looks); // no thread: who asked hears that nobody answers
                    }
                }
                Err(refusal) => {
                    self.requests.ended(request.only_looks());
                    let _ = reply.send(Answer::Done(Err(refusal)));
                }
            }
        }
    }

    fn moment(&self) -> Result<Moment, Refusal> {
        Ok(Moment {
            known: self.agent.snapshot(self.clock()),
            store: self.store.snapshot()?,
            engine: self.engine.clone(),
        })
    }

    fn set_aside(&mut self, what: String) {
        if self.aside.len() < ASIDE_MAX && !self.aside.contains(&what) {
            (self.log)(&format!("set aside: {what}"));
            self.aside.push(what);
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
        self.calls.all_failed(&failure);
        self.store_failed = Some(failure);
        match load_agent(&self.keys, &mut self.store) {
            Ok(agent) => {
                self.agent = agent;
                self.power = (Power::default(), 0); // it knows of none yet
                self.classes.clear();
                self.raises = false;
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
                    let durable = self.store.is_durable();
                    if let Err(broken) = never!(Invariant::SilentUntilDurable, !durable) {
                        return self.recover(broken.into());
                    }
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
                Output::LeaveLink { link } => {
                    if let Some(writer) = self.writers.remove(&link) {
                        let _ = writer.send(ToSend::End);
                    }
                }
                Output::RaiseNetwork { peer } => self.raise(peer, None),
                Output::JoinNetwork { peer, network } => self.raise(peer, Some(network)),
                Output::LeaveNetwork => self.leave_network(),
                Output::Event(event) => self.event(event),
                Output::Dial { peer, class, at } => dials.push((peer, class, at)),
                Output::Sleep(deadline) => {
                    self.wake = deadline.map(|d| d.at_ms);
                    break;
                }
            }
        }
        for (link, reason) in closed {
            self.calls.link_closed(link, reason);
        }
        for (peer, class, at) in dials {
            // Whom a person is calling already is not called beside that.
            match self.calls.calls(&peer) {
                true => self.dial_ended(peer, true),
                false => self.call((peer, class, at), None),
            }
        }
    }

    /// Raises a network for a phone, or joins the one that it has raised, beside all else.
    fn raise(&mut self, peer: DeviceId, join: Option<Network>) {
        let (messages, links) = (self.messages.clone(), self.links.clone());
        (self.log)(match join {
            None => "raising a network for this meeting",
            Some(_) => "joining the other's network for this meeting",
        });
        let log = self.log.clone();
        self.runtime.spawn(async move {
            let raiser = links.as_ref().and_then(Links::raiser);
            let message = match (raiser, join) {
                (None, None) => Message::Raised {
                    peer,
                    network: None,
                },
                (None, Some(_)) => Message::NotJoined { peer },
                (Some(raiser), None) => {
                    let raised = raiser.raise().await;
                    if let Err(state) = &raised {
                        log(&format!("wi-fi: no network was raised: {state}"));
                    }
                    let network = raised.ok();
                    Message::Raised { peer, network }
                }
                (Some(raiser), Some(network)) => match raiser.join(&network).await {
                    Ok(()) => return,
                    Err(state) => {
                        log(&format!("wi-fi: the network was not joined: {state}"));
                        Message::NotJoined { peer }
                    }
                },
            };
            let _ = messages.send(message).await;
        });
    }

    fn leave_network(&mut self) {
        if let Some(raiser) = self.links.as_ref().and_then(Links::raiser) {
            self.runtime.spawn(async move { raiser.leave().await });
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
                self.calls.progress(link, Progress::Began(named));
            }
            Event::Progress {
                link,
                lane,
                done,
                total,
            } => {
                self.calls
                    .progress(link, Progress::Lane { lane, done, total });
            }
            Event::Refused { link, peer, reason } => {
                (self.log)(&format!("refused from {}: {reason}", peer.short()));
                self.calls.progress(link, Progress::Refused(reason));
            }
            Event::TrustChanged { root, list } => {
                (self.log)(&format!("now trusting root {root}, release list {list}"))
            }
            Event::CasesChanged { envelopes } => {
                (self.log)(&format!("{envelopes} sealed changes taken in"))
            }
            Event::BundleWhole { id } => (self.log)(&format!("bundle {} is whole", id.short())),
            Event::SetAside { what } => self.set_aside(what),
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
            Event::RunsAgain { module } => {
                (self.log)(&format!("{module} is tried again"));
                self.load_anew(&module);
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
                self.calls.meeting_ended(link, summary);
            }
        }
    }

    /// Calls a phone; `reply` hears how it goes, if a person has asked for it.
    fn call(&mut self, (peer, class, at): (DeviceId, LinkClass, String), reply: Option<ReplyTo>) {
        let Some(links) = self.links.clone() else {
            return;
        };
        let call = self.calls.begin(peer, reply);
        let messages = self.messages.clone();
        self.runtime.spawn(async move {
            let said = match links.call(peer, class, &at).await {
                Ok(link) => Message::Called { call, link },
                Err(failure) => Message::CallFailed { call, failure },
            };
            let _ = messages.send(said).await;
        });
    }

    /// Tells the agent what kinds of links there can be, if that has changed.
    fn look_at_radios(&mut self) {
        let classes = self.links.as_ref().map(Links::classes).unwrap_or_default();
        if classes != self.classes {
            self.classes = classes.clone();
            self.input(Input::RadiosChanged(classes));
        }
        let raises = self.links.as_ref().is_some_and(Links::can_raise);
        if raises != self.raises {
            self.raises = raises;
            self.input(Input::RaisingChanged(raises));
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
            let _ = self.looks.send(power.looks());
            self.input(Input::PowerChanged(power));
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

/// What was judged of cases that are still here.
fn keep_judged(store: &mut SqliteStore, judged: Vec<(CaseId, Vec<u8>)>) -> Result<(), StoreError> {
    for (case, value) in judged {
        if store.case_row(&case)?.is_some() {
            store.put_setting(&Setting::now(&case), &value)?;
        }
    }
    Ok(())
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
