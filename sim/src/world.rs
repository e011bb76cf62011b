//! Phones and the links between them. A meeting is played to its end, or cut after so many frames
//! or bytes.

use std::collections::VecDeque;

use distribution::Release;
use distribution::plan::Way;
use node::agent::{Agent, Command, Event, Input, LinkClass, MeetingSummary, Output, Reply};
use node::api::Refusal;
use node::{MemoryStore, StoreError};
use protocol::certificate::Rights;
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use protocol::{Area, DeviceId, DeviceKeys, Digest, Frame, FrameReader, Now};
use rand::Rng;

use crate::ministry::Ministry;

/// Longer than any phone leaves a call to the other.
const LEFT_TO_THE_OTHER_MS: u64 = 3_000;

/// When a meeting is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Never: both say all they have to say.
    Never,
    /// After so many frames, both ways together.
    Frames(usize),
    /// After so many bytes, even in the middle of a frame.
    Bytes(u64),
}

/// One simulated phone.
pub struct SimPhone {
    /// Its mind.
    pub agent: Agent,
    /// What it keeps.
    pub store: MemoryStore,
    /// What it told its screens, newest last; emptied by whoever looks.
    pub events: Vec<Event>,
    keys: DeviceKeys,
    pub(crate) loads: u64,
    /// Seconds that its wall clock is off.
    pub clock_off_s: i64,
}

/// What a phone answered to a stranger.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// What it said.
    pub answers: Vec<Frame>,
    /// Why it refused, if it did.
    pub refused: Option<String>,
    /// Why it ended the link, if it did.
    pub closed: Option<String>,
}

/// What came of a meeting.
#[derive(Debug, Clone, Default)]
pub struct Meeting {
    /// Frames that passed.
    pub frames: usize,
    /// Bytes that passed.
    pub bytes: u64,
    /// Each side's summary, if it said one.
    pub summaries: [Option<MeetingSummary>; 2],
}

/// Many phones and one clock.
#[derive(Default)]
pub struct World {
    /// The phones.
    pub phones: Vec<SimPhone>,
    /// True time.
    pub now: Now,
    next_link: u64,
}

/// What a simulation can stumble over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A phone refused what the scenario asked.
    #[error("phone {phone} refused: {reason}")]
    Refused {
        /// Which phone.
        phone: usize,
        /// Why.
        reason: String,
    },
    /// No such phone.
    #[error("no phone {0}")]
    NoPhone(usize),
}

impl World {
    /// An empty world at the beginning of 2026.
    pub fn new() -> Self {
        Self {
            phones: Vec::new(),
            now: Now {
                mono_ms: 0,
                wall_s: 1_767_225_600,
            },
            next_link: 1,
        }
    }

    /// So many numbers for links, of which this is the first.
    pub(crate) fn next_links(&mut self, count: u64) -> u64 {
        let first = self.next_link;
        self.next_link += count;
        first
    }

    /// Adds a phone; its number.
    pub fn add(&mut self, seed: [u8; 32]) -> Result<usize, SimError> {
        let keys = DeviceKeys::from_seed(seed);
        let mut store = MemoryStore::default();
        let agent = Agent::load(keys.clone(), load_seed(&keys, 0), &mut store)?;
        self.phones.push(SimPhone {
            agent,
            store,
            events: Vec::new(),
            keys,
            loads: 1,
            clock_off_s: 0,
        });
        Ok(self.phones.len() - 1)
    }

    /// Adds so many phones that the ministry has certified for `area` with these rights.
    pub fn add_certified(
        &mut self,
        phones: usize,
        ministry: &Ministry,
        area: &Area,
        rights: Rights,
        rng: &mut impl Rng,
    ) -> Result<(), SimError> {
        for _ in 0..phones {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            let phone = self.add(seed)?;
            self.command(phone, Command::InstallTrust(ministry.root.clone()))?;
            let name = format!("phone {phone}");
            let chain = ministry.certify(self.keys(phone)?, &name, area, rights, Rights::default());
            self.command(phone, Command::InstallChain(chain))?;
        }
        Ok(())
    }

    /// A phone brings a bundle in, whole, as a publisher does.
    pub fn import(&mut self, phone: usize, bundle: &[u8]) -> Result<Digest, SimError> {
        let digest = self.phone(phone)?.store.import_bundle(bundle);
        self.command(phone, Command::BundleImported(digest))?;
        Ok(digest)
    }

    /// The keys of a phone.
    pub fn keys(&self, phone: usize) -> Result<&DeviceKeys, SimError> {
        self.phones
            .get(phone)
            .map(|p| &p.keys)
            .ok_or(SimError::NoPhone(phone))
    }

    fn phone(&mut self, phone: usize) -> Result<&mut SimPhone, SimError> {
        self.phones.get_mut(phone).ok_or(SimError::NoPhone(phone))
    }

    /// Kills a phone's program and starts it again from its store.
    pub fn restart(&mut self, phone: usize) -> Result<(), SimError> {
        let phone = self.phone(phone)?;
        let seed = load_seed(&phone.keys, phone.loads);
        phone.loads += 1;
        phone.agent = Agent::load(phone.keys.clone(), seed, &mut phone.store)?;
        self.settle_all()
    }

    /// Asks a phone.
    pub fn command(&mut self, phone: usize, command: Command) -> Result<Reply, SimError> {
        self.ask(phone, command)?
            .map_err(|refusal| SimError::Refused {
                phone,
                reason: format!("{refusal:?}"),
            })
    }

    /// The same, with the refusal as it is.
    pub fn ask(
        &mut self,
        phone: usize,
        command: Command,
    ) -> Result<Result<Reply, Refusal>, SimError> {
        let command = Box::new(command);
        let outputs = self.input(phone, Input::Command { ticket: 0, command })?;
        let reply = outputs.into_iter().find_map(|o| match o {
            Output::Event(Event::Reply { result, .. }) => Some(result),
            _ => None,
        });
        self.settle_all()?;
        Ok(reply.unwrap_or(Err(Refusal::Nothing)))
    }

    /// One input to one phone; its outputs. Releases that are ready wait in its events.
    pub fn input(&mut self, phone: usize, input: Input) -> Result<Vec<Output>, SimError> {
        let now = self.now;
        let phone = self.phone(phone)?;
        let wall_s = now.wall_s.saturating_add_signed(phone.clock_off_s);
        let before = phone.store.may_fail().then(|| phone.store.clone());
        if let Err(error) = phone
            .agent
            .handle_input(Now { wall_s, ..now }, input, &mut phone.store)
        {
            let Some(before) = before else {
                return Err(error.into());
            };
            // As the host does: the transaction is taken back, the mind is loaded anew, and its
            // links are gone with it.
            phone.store = before;
            let writes_left = phone.store.clone();
            phone.store.fail_after(None);
            let seed = load_seed(&phone.keys, phone.loads);
            phone.loads += 1;
            phone.agent = Agent::load(phone.keys.clone(), seed, &mut phone.store)?;
            phone.store.keep_failing_as(&writes_left);
            return Ok(Vec::new());
        }
        let mut outputs = Vec::new();
        loop {
            match phone.agent.poll_output() {
                Output::Sleep(_) => return Ok(outputs),
                Output::Event(
                    event @ (Event::ReleaseReady { .. }
                    | Event::DeltaReady { .. }
                    | Event::Refused { .. }
                    | Event::MeetingEnded { .. }),
                ) => {
                    phone.events.push(event.clone());
                    outputs.push(Output::Event(event));
                }
                output => outputs.push(output),
            }
        }
    }

    /// The host's part in activation: every simulated phone finds that the release passes its test.
    fn settle_all(&mut self) -> Result<(), SimError> {
        for phone in 0..self.phones.len() {
            self.settle(phone)?;
        }
        Ok(())
    }

    pub(crate) fn settle(&mut self, phone: usize) -> Result<(), SimError> {
        self.make_releases(phone)?;
        let ready: Vec<_> = self
            .phone(phone)?
            .events
            .extract_if(.., |e| matches!(e, Event::ReleaseReady { .. }))
            .collect();
        for event in ready {
            if let Event::ReleaseReady { release } = event {
                self.input(
                    phone,
                    Input::Command {
                        ticket: 1,
                        command: Box::new(Command::Activated(release, Vec::new())),
                    },
                )?;
            }
        }
        Ok(())
    }

    /// The host's part in deltas: the release is made out of what is here, or the delta is blamed.
    fn make_releases(&mut self, phone: usize) -> Result<(), SimError> {
        let ready: Vec<_> = self
            .phone(phone)?
            .events
            .extract_if(.., |e| matches!(e, Event::DeltaReady { .. }))
            .collect();
        for event in ready {
            let Event::DeltaReady { release, way } = event else {
                continue;
            };
            let command = match make(&self.phone(phone)?.store, &release, &way) {
                Ok(bundle) => {
                    Command::BundleImported(self.phone(phone)?.store.import_bundle(&bundle))
                }
                Err((delta, reason)) => Command::DeltaFailed(delta, reason),
            };
            self.input(
                phone,
                Input::Command {
                    ticket: 1,
                    command: Box::new(command),
                },
            )?;
        }
        Ok(())
    }

    /// A stranger calls a phone and says these words, one every `pace_ms`, whatever the phone
    /// answers; then it leaves.
    pub fn hear(
        &mut self,
        phone: usize,
        peer: DeviceId,
        talk: &[Vec<u8>],
        pace_ms: u64,
    ) -> Result<Heard, SimError> {
        let link = self.next_link;
        self.next_link += 1;
        let mut outputs = self.input(
            phone,
            Input::LinkUp {
                link,
                peer,
                class: LinkClass::Ip,
                dialed: false,
            },
        )?;
        outputs.extend(self.input(
            phone,
            Input::LinkWritable {
                link,
                bytes: SEND_AHEAD_BYTES_MAX,
            },
        )?);
        for bytes in talk {
            outputs.extend(self.input(
                phone,
                Input::LinkReceived {
                    link,
                    bytes: bytes.clone(),
                },
            )?);
            outputs.extend(self.input(
                phone,
                Input::LinkWritable {
                    link,
                    bytes: SEND_AHEAD_BYTES_MAX,
                },
            )?);
            self.now = self.now.plus_ms(pace_ms);
            outputs.extend(self.input(phone, Input::Woke)?);
        }
        outputs.extend(self.input(
            phone,
            Input::LinkDown {
                link,
                why: "gone".into(),
            },
        )?);
        self.settle(phone)?;
        let mut heard = Heard::default();
        let mut reader = FrameReader::default();
        for output in outputs {
            match output {
                Output::Transmit { bytes, .. } => {
                    reader.push(bytes);
                    heard.answers.extend(reader.next_frame().ok().flatten());
                }
                Output::Event(Event::Refused { reason, .. }) => heard.refused = Some(reason),
                Output::CloseLink { reason, .. } => heard.closed = Some(reason),
                _ => {} // nothing that is heard
            }
        }
        Ok(heard)
    }

    /// Phone `a` notices phone `b` near it. Whether it calls, at once or after it has left that to
    /// the other.
    pub fn calls(&mut self, a: usize, b: usize) -> Result<bool, SimError> {
        let peer = self.keys(b)?.id();
        let dials = |outputs: &[Output]| {
            let to =
                |output: &Output| matches!(output, Output::Dial { peer: to, .. } if *to == peer);
            outputs.iter().any(to)
        };
        let seen = Input::Seen {
            peer,
            class: LinkClass::Ip,
            at: "near".into(),
        };
        let mut calls = dials(&self.input(a, seen)?);
        if !calls {
            self.now = self.now.plus_ms(LEFT_TO_THE_OTHER_MS);
            calls = dials(&self.input(a, Input::Woke)?);
        }
        if calls {
            let answered = true;
            self.input(a, Input::DialEnded { peer, answered })?;
        }
        Ok(calls)
    }

    /// Two phones meet. What one sends arrives at the other in order; after the cut nothing does,
    /// and both are told.
    pub fn meet(&mut self, a: usize, b: usize, cut: Cut) -> Result<Meeting, SimError> {
        self.meet_over(a, b, cut, &mut |_, bytes| vec![bytes])
    }

    /// Two phones meet over a link that does what none should: `air` is given every frame with its
    /// number, and what it returns arrives instead.
    pub fn meet_over(
        &mut self,
        a: usize,
        b: usize,
        cut: Cut,
        air: &mut dyn FnMut(usize, Vec<u8>) -> Vec<Vec<u8>>,
    ) -> Result<Meeting, SimError> {
        let mut meeting = Meeting::default();
        let sides = [a, b];
        let ids = [self.keys(a)?.id(), self.keys(b)?.id()];
        let link = self.next_link;
        self.next_link += 1;
        let mut queue: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
        let mut open = [true, true];
        for side in 0..2 {
            let (phone, peer) = (sides[side], ids[1 - side]);
            let up = Input::LinkUp {
                link,
                peer,
                class: LinkClass::Ip,
                dialed: side == 0,
            };
            let outputs = self.input(phone, up)?;
            collect(side, outputs, &mut queue, &mut open, &mut meeting);
            let outputs = self.input(
                phone,
                Input::LinkWritable {
                    link,
                    bytes: SEND_AHEAD_BYTES_MAX,
                },
            )?;
            collect(side, outputs, &mut queue, &mut open, &mut meeting);
        }
        while let Some((from, mut bytes)) = queue.pop_front() {
            let over = match cut {
                Cut::Never => false,
                Cut::Frames(frames) => meeting.frames >= frames,
                Cut::Bytes(limit) => {
                    bytes.truncate(limit.saturating_sub(meeting.bytes) as usize);
                    meeting.bytes >= limit
                }
            };
            if over {
                break;
            }
            meeting.frames += 1;
            meeting.bytes += bytes.len() as u64;
            let to = 1 - from;
            let sent = bytes.len();
            for bytes in air(meeting.frames - 1, bytes) {
                let outputs = self.input(sides[to], Input::LinkReceived { link, bytes })?;
                collect(to, outputs, &mut queue, &mut open, &mut meeting);
            }
            if open[from] {
                let outputs = self.input(sides[from], Input::LinkWritable { link, bytes: sent })?;
                collect(from, outputs, &mut queue, &mut open, &mut meeting);
            }
        }
        for (side, phone) in sides.into_iter().enumerate() {
            let outputs = self.input(
                phone,
                Input::LinkDown {
                    link,
                    why: "out of range".into(),
                },
            )?;
            collect(side, outputs, &mut queue, &mut open, &mut meeting);
            self.settle(phone)?;
        }
        Ok(meeting)
    }
}

fn collect(
    side: usize,
    outputs: Vec<Output>,
    queue: &mut VecDeque<(usize, Vec<u8>)>,
    open: &mut [bool; 2],
    meeting: &mut Meeting,
) {
    for output in outputs {
        match output {
            Output::Transmit { bytes, .. } => queue.push_back((side, bytes)),
            Output::CloseLink { .. } => open[side] = false,
            Output::Event(Event::MeetingEnded { summary, .. }) => {
                meeting.summaries[side] = Some(summary)
            }
            Output::LeaveLink { .. } => open[side] = false,
            Output::Event(_)
            | Output::Dial { .. }
            | Output::RaiseNetwork { .. }
            | Output::JoinNetwork { .. }
            | Output::LeaveNetwork
            | Output::Sleep(_) => {}
        }
    }
}

fn make(store: &MemoryStore, release: &Release, way: &Way) -> Result<Vec<u8>, (Digest, String)> {
    let mut held = way.base.unwrap_or(Digest([0; 32]));
    let mut bundle = store.whole_bundle(&held).unwrap_or_default().to_vec();
    for step in &way.deltas {
        let made = release.made_by(step);
        let delta = store.whole_bundle(&step.digest).unwrap_or_default();
        let mut next = Vec::new();
        let mut keep = |bytes: &[u8]| {
            next.extend_from_slice(bytes);
            Ok(())
        };
        distribution::delta::apply(
            delta,
            (held, bundle.as_slice()),
            (made.digest, made.bytes),
            &mut keep,
        )
        .map_err(|e| (step.digest, e.to_string()))?;
        (held, bundle) = (made.digest, next);
    }
    Ok(bundle)
}

fn load_seed(keys: &DeviceKeys, loads: u64) -> [u8; 32] {
    let mut seed = keys.sealing_seed();
    for (byte, salt) in seed.iter_mut().zip(loads.to_le_bytes()) {
        *byte ^= salt;
    }
    seed
}
