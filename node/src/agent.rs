//! One phone's mind, without I/O. Inputs come in one at a time; what follows from each is in the
//! store before any of it is transmitted.
//!
//! `Phone` is what the phone knows whoever it talks to; a `Meeting` is what it knows of one talk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use distribution::bundle::{Fetch, Groups};
use distribution::plan::Way;
use distribution::{Activation, Release, TrustedState};
use protocol::certificate::CertificateRequest;
use protocol::codec;
use protocol::defence::{self, Defence};
use protocol::frame::Lane;
use protocol::limits::{MEETINGS_MAX, STRANGERS_MAX};
use protocol::signed::{Signed, Verified};
use protocol::{
    BundleId, Chain, Deadline, DeviceId, DeviceKeys, Digest, EnvelopeId, Now, SpaceId,
    VerifiedChain,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use sync::SpaceKey;
use sync::archive::{self, Archive, ArchiveError, ArchivedCase};
use sync::space::sealing_public_key;

use crate::api::{Refusal, meetings};
use crate::store::{PeerRow, Store, StoreError};

mod budget;
mod bundle_lane;
mod case_lane;
mod cases;
mod commands;
mod delivery;
mod difference;
mod flow;
mod holdings;
mod keyring;
mod lease;
mod load;
mod meeting;
mod receipts;
mod retirement;
mod schedule;
mod trust_lane;

pub use budget::LinkClass;
pub use cases::Preview;
pub use commands::{Command, Reply};
pub use delivery::{Whereabouts, heard, whereabouts};
use keyring::Keyring;
pub use lease::locked;
use load::{
    load_activations, load_bad_deltas, load_certificate, load_number, load_quota, load_trust,
};
use meeting::Meeting;
pub use meeting::MeetingSummary;
pub use schedule::CallPlan;

/// Milliseconds that a phone that nobody here knows has for itself before another may take its
/// place.
const STRANGER_LEAST_MS: u64 = 3_000;

/// A link, as the host numbers them.
pub type LinkId = u64;

/// What happens to a phone.
#[derive(Debug, Clone)]
pub enum Input {
    /// An authenticated byte pipe to `peer` is there.
    LinkUp {
        /// The host's number for it.
        link: LinkId,
        /// Who is at the other end, proved by the link.
        peer: DeviceId,
        /// What kind of link it is.
        class: LinkClass,
        /// Whether this phone called.
        dialed: bool,
    },
    /// Bytes arrived.
    LinkReceived {
        /// On which link.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The link can take this many more bytes. Only this makes a meeting produce.
    LinkWritable {
        /// Which link.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// The link is gone.
    LinkDown {
        /// Which link.
        link: LinkId,
        /// Why, for logs.
        why: String,
    },
    /// A person or the host asks for something; answered by [`Event::Reply`] with the same ticket.
    Command {
        /// Returned with the answer.
        ticket: u64,
        /// What is asked.
        command: Box<Command>,
    },
    /// A deadline has come.
    Woke,
}

/// What a phone wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// On which link.
        link: LinkId,
        /// The bytes: one frame.
        bytes: Vec<u8>,
    },
    /// End the link once everything before has been sent.
    CloseLink {
        /// Which link.
        link: LinkId,
        /// Why, for logs.
        reason: String,
    },
    /// Something that a screen or the host wants to know.
    Event(Event),
    /// Nothing more until an input or this moment.
    Sleep(Option<Deadline>),
}

/// What screens and the host are told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The answer to a command.
    Reply {
        /// The command's ticket.
        ticket: u64,
        /// What came of it.
        result: Result<Reply, Refusal>,
    },
    /// Both sides have said who they are.
    MeetingBegan {
        /// The link.
        link: LinkId,
        /// Who.
        peer: DeviceId,
        /// Their name by certificate, or empty.
        name: String,
    },
    /// How far a lane is.
    Progress {
        /// The link.
        link: LinkId,
        /// Which lane.
        lane: Lane,
        /// Bytes or items so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Something offered was refused.
    Refused {
        /// The link.
        link: LinkId,
        /// Who offered it.
        peer: DeviceId,
        /// Why, for people.
        reason: String,
    },
    /// A newer root or list has been taken in.
    TrustChanged {
        /// Root version.
        root: u64,
        /// List version.
        list: u64,
    },
    /// Cases have changed by what a peer brought.
    CasesChanged {
        /// How many envelopes were new.
        envelopes: u64,
    },
    /// A bundle has become whole.
    BundleWhole {
        /// Which.
        id: BundleId,
    },
    /// Something that was kept is damaged: it was set aside, and the phone goes on without it.
    SetAside {
        /// What, for people.
        what: String,
    },
    /// Deltas and their base are here: the host makes the release out of them.
    DeltaReady {
        /// The release.
        release: Box<Release>,
        /// What to apply, in order, and to what.
        way: Way,
    },
    /// A delta did not make what it should.
    DeltaRefused {
        /// The delta.
        digest: Digest,
        /// Why, for people.
        reason: String,
    },
    /// A whole bundle waits to be tried and activated by the host.
    ReleaseReady {
        /// The release.
        release: Box<Release>,
    },
    /// What runs has changed.
    Activated {
        /// The module.
        module: String,
        /// Its version.
        version: u64,
    },
    /// What ran has been recalled and runs no more.
    Recalled {
        /// The module.
        module: String,
        /// The ministry's words.
        reason: String,
        /// The version that it returned to; `None`: the rules alone.
        to: Option<u64>,
    },
    /// A meeting is over.
    MeetingEnded {
        /// The link.
        link: LinkId,
        /// What came of it.
        summary: MeetingSummary,
    },
}

/// A bundle that is being fetched or served.
pub(crate) struct Bundle {
    pub fetch: Fetch,
    pub whole: bool,
    /// Groups asked of someone and not yet here.
    pub asked: Groups,
    /// Over which link the tree list is being fetched.
    pub tree_from: Option<LinkId>,
    /// How many of the phones that are being met have each group; empty while none has named any.
    pub seen: Vec<u16>,
}

impl Bundle {
    pub(crate) fn new(fetch: Fetch, whole: bool) -> Self {
        let asked = Groups::none(fetch.groups().count());
        Self {
            fetch,
            whole,
            asked,
            tree_from: None,
            seen: Vec::new(),
        }
    }
}

/// What the phone knows, whoever it talks to.
pub(crate) struct Phone {
    pub keys: DeviceKeys,
    pub actor: [u8; 16],
    pub rng: ChaCha20Rng,
    pub trust: Option<TrustedState>,
    pub certificate: Option<VerifiedChain>,
    pub space_keys: Vec<SpaceKey>,
    /// What is known of the keys of each space, and of phones that keepers have said to be lost.
    pub keyring: Keyring,
    /// Photos that are passed on to nobody, because consent to them was withdrawn.
    pub withheld: BTreeSet<Digest>,
    pub bundles: BTreeMap<BundleId, Bundle>,
    pub activations: BTreeMap<String, Activation>,
    pub outputs: VecDeque<Output>,
    /// Counts what is new here, so that two phones without news do not meet again.
    pub revision: u64,
    pub met: BTreeMap<DeviceId, schedule::LastMeeting>,
    /// Groups that have come lately, for the neighbours that are being met; the first number is
    /// that of the oldest.
    pub news: (u64, VecDeque<(BundleId, u64, u64)>),
    /// When a group last came, in monotone milliseconds.
    pub last_group_ms: u64,
    /// Meetings going on.
    pub meetings: usize,
    /// Deltas that did not make what they should, and are not tried again.
    pub bad_deltas: BTreeSet<Digest>,
    /// Which certified phones have shown a bundle whole and served a piece of it; what none has
    /// served is not thrown away.
    pub copies: BTreeMap<BundleId, BTreeSet<DeviceId>>,
    /// The last photo that was named in a meeting: the next meeting goes on behind it.
    pub named_last: Option<BundleId>,
    /// Where looking over what lies on the disk goes on.
    pub scrubbed: (Option<BundleId>, u64),
    /// Envelopes during whose opening the program came down, and how often.
    pub suspects: BTreeMap<EnvelopeId, u8>,
    /// The one of them that is being opened alone.
    pub opening_alone: Option<EnvelopeId>,
    /// Envelopes that are being opened, as they are marked.
    pub opening: Option<BTreeMap<EnvelopeId, u8>>,
    /// Some envelopes wait to be opened.
    pub some_wait: bool,
    /// Days on which this phone has been used.
    pub days_used: u64,
    /// Bytes of bundles that may lie here.
    pub quota_bytes: u64,
    /// The date by this phone's clock, as it was last looked at.
    pub day: Option<u64>,
    /// Somebody may be lost since the keys of spaces were last looked at.
    pub check_keys: bool,
    /// Chains whose signatures hold, by root version and bytes.
    pub verified: std::cell::RefCell<BTreeMap<Digest, VerifiedChain>>,
    /// Bytes of envelopes that have reached their readers and may still lie here.
    pub carry_quota_bytes: u64,
    /// Meetings of this phone so far: what age is told by where no clock is right.
    pub meetings_so_far: u64,
    /// Complete meetings since the ministry's documents last changed that brought nothing newer.
    pub unmoved_since_news: u64,
}

/// One phone.
pub struct Agent {
    phone: Phone,
    meetings: BTreeMap<LinkId, Meeting>,
    asleep: bool,
}

pub(crate) mod setting {
    pub const CHAIN: &str = "chain";
    pub const ACTIVATIONS: &str = "activations";
    pub const RECEIPT: &str = "receipt";
    pub const QUOTA: &str = "bundle-quota";
    pub const BAD_DELTAS: &str = "bad-deltas";
    pub const UNMOVED: &str = "unmoved-since-news";
    pub const CARRY_QUOTA: &str = "carry-quota";
    pub const MEETINGS: &str = "meetings";
    pub const LEASE_DAY: &str = "lease-day";
    pub const DAYS_USED: &str = "days-used";
    /// The phone of whose backup this one was made.
    pub const RESTORED_FROM: &str = "restored-from";
    /// The meetings that are kept, by number.
    pub const MEETING: &str = "meeting/";
}

impl Agent {
    /// The phone as its store knows it. `seed` is fresh randomness at every load: nonces come from
    /// it.
    pub fn load(
        keys: DeviceKeys,
        seed: [u8; 32],
        store: &mut dyn Store,
    ) -> Result<Self, StoreError> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        // A new one at every start: a store that was set back to an old backup must never go on
        // under the name of a history that others hold already (Automerge would lose one of the
        // two).
        let mut actor = [0; 16];
        rng.fill_bytes(&mut actor);
        let mut aside = Vec::new();
        let trust = load_trust(store, &mut aside)?;
        let activations = load_activations(store, &mut aside)?;
        let mut phone = Phone {
            keys,
            actor,
            rng,
            trust,
            certificate: None,
            space_keys: store.space_keys()?,
            keyring: Keyring::default(),
            withheld: cases::load_withheld(store)?,
            check_keys: true,
            verified: std::cell::RefCell::default(),
            day: None,
            bundles: BTreeMap::new(),
            activations,
            named_last: None,
            scrubbed: (None, 0),
            suspects: store.attempts(),
            opening_alone: None,
            opening: None,
            some_wait: true,
            days_used: load_number(setting::DAYS_USED, store)?,
            outputs: VecDeque::new(),
            revision: 1,
            met: BTreeMap::new(),
            news: (0, VecDeque::new()),
            last_group_ms: 0,
            meetings: 0,
            bad_deltas: load_bad_deltas(store)?,
            copies: BTreeMap::new(),
            quota_bytes: load_quota(setting::QUOTA, store)?,
            carry_quota_bytes: load_quota(setting::CARRY_QUOTA, store)?,
            meetings_so_far: load_number(setting::MEETINGS, store)?,
            unmoved_since_news: load_number(setting::UNMOVED, store)?,
        };
        let parked: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        phone.suspects.retain(|id, _| !parked.contains(id));
        phone.load_keyring(store)?;
        phone.certificate = load_certificate(&phone, store)?;
        phone.open_bundles(store)?;
        phone.obey_recalls(store)?;
        phone.announce_ready(store)?;
        aside.extend(store.set_aside());
        aside
            .into_iter()
            .for_each(|what| phone.event(Event::SetAside { what }));
        Ok(Self {
            phone,
            meetings: BTreeMap::new(),
            asleep: false,
        })
    }

    /// This phone's name.
    pub fn id(&self) -> DeviceId {
        self.phone.keys.id()
    }

    /// Its request for a certificate under a name.
    pub fn certificate_request(&self, name: String) -> Signed<CertificateRequest> {
        let keys = &self.phone.keys;
        Signed::by(
            &CertificateRequest::of(keys, sealing_public_key(keys), name),
            keys,
        )
    }

    /// Opens an archive that is for this phone.
    pub fn open_archive(
        &self,
        archive: &Verified<Archive>,
    ) -> Result<Vec<ArchivedCase>, ArchiveError> {
        archive::open(archive, &self.phone.keys)
    }

    /// Seals cases for a phone; `None` where this phone is not certified itself.
    pub fn write_archive(
        &self,
        cases: &[ArchivedCase],
        to: (DeviceId, &[u8; 32]),
        rng: &mut ChaCha20Rng,
    ) -> Option<Result<Vec<u8>, ArchiveError>> {
        let own = self.phone.certificate.as_ref()?.chain();
        Some(archive::write(cases, to, (own, &self.phone.keys), rng))
    }

    /// What it believes of its ministry, once enrolled.
    pub fn trust(&self) -> Option<&TrustedState> {
        self.phone.trust.as_ref()
    }

    /// Its own certificate, once enrolled.
    pub fn certificate(&self) -> Option<&VerifiedChain> {
        self.phone.certificate.as_ref()
    }

    /// The keys of the spaces it reads.
    pub fn space_keys(&self) -> &[SpaceKey] {
        &self.phone.space_keys
    }

    /// Whether a sealed photo has been announced that this phone takes notice of.
    pub fn knows_photo(&self, digest: &Digest) -> bool {
        self.phone.keyring.photo(digest).is_some()
    }

    /// The key with which this phone writes into the space of an area; `None`: what is written
    /// waits.
    pub fn write_key(&self, area: &protocol::Area) -> Option<&SpaceKey> {
        self.phone.write_key(area)
    }

    /// Believes a chain, as a meeting would.
    pub fn judge(&self, chain: &Chain) -> Result<VerifiedChain, String> {
        match self.phone.judge(chain) {
            Some(Ok(verified)) => Ok(verified),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("this phone trusts no ministry yet".into()),
        }
    }

    /// Meetings of this phone so far.
    pub fn meetings_so_far(&self) -> u64 {
        self.phone.meetings_so_far
    }

    /// What runs of a module.
    pub fn activation(&self, module: &str) -> Option<&Activation> {
        self.phone.activations.get(module)
    }

    /// What runs, by module.
    pub fn activations(&self) -> impl Iterator<Item = (&String, &Activation)> {
        self.phone.activations.iter()
    }

    /// Complete meetings since the ministry's documents last changed that brought nothing newer:
    /// what tells a phone without a clock that what it holds is still the newest, or that it is
    /// being kept from the rest.
    pub fn meetings_without_news(&self) -> u64 {
        self.phone.unmoved_since_news
    }

    /// Whether to call a neighbour that has appeared, or to let it be.
    pub fn worth_meeting(&self, now: Now, peer: DeviceId) -> bool {
        let meeting = self.meetings.values().any(|m| m.peer == peer);
        !meeting && schedule::worth_meeting(now, self.phone.revision, self.phone.met.get(&peer))
    }

    /// What a phone needs to find those of its own ministry near it, and to be found by them;
    /// nobody else can tell who it is.
    pub fn discovery_key(&self) -> Option<[u8; 32]> {
        let ministry = self.phone.trust.as_ref()?.ministry();
        Some(protocol::frame::discovery_key(&ministry))
    }

    /// Takes one input. On an error the caller rolls the store back, drops this agent and loads
    /// another.
    pub fn handle_input(
        &mut self,
        now: Now,
        input: Input,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.asleep = false;
        self.phone.count_days(now, store)?;
        match input {
            Input::LinkUp {
                link,
                peer,
                class,
                dialed,
            } => self.handle_link_up(now, link, peer, class, dialed, store)?,
            Input::LinkReceived { link, bytes } => {
                if let Some(meeting) = self.meetings.get_mut(&link) {
                    meeting.handle_bytes(now, bytes, &mut self.phone, store)?;
                }
            }
            Input::LinkWritable { link, bytes } => {
                if let Some(meeting) = self.meetings.get_mut(&link) {
                    meeting.add_credit(bytes);
                }
            }
            Input::LinkDown { link, why } => self.end_meeting(now, link, &why, store)?,
            Input::Command { ticket, command } => {
                let result = self.phone.handle_command(now, *command, store)?;
                self.phone.event(Event::Reply { ticket, result });
            }
            Input::Woke => self.end_overdue_meetings(now),
        }
        self.advance(now, store)
    }

    /// What to do next; `Sleep` when there is nothing more.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.phone.outputs.pop_front() {
            return output;
        }
        self.asleep = true;
        if self.phone.some_wait {
            return Output::Sleep(Some(Deadline {
                at_ms: 0,
                why: "something waits to be opened",
            }));
        }
        let due = |m: &Meeting| {
            m.piece_due_ms()
                .into_iter()
                .chain(m.quiet_due_ms(&self.phone))
                .chain([m.due().0])
                .min()
        };
        let at = self.meetings.values().filter_map(due).min();
        Output::Sleep(at.map(|at_ms| Deadline {
            at_ms,
            why: "a silent meeting",
        }))
    }

    fn handle_link_up(
        &mut self,
        now: Now,
        link: LinkId,
        peer: DeviceId,
        class: LinkClass,
        dialed: bool,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let ours = self.id();
        if peer == ours || self.meetings.len() >= MEETINGS_MAX {
            self.phone.close(link, "no room for another meeting");
            return Ok(());
        }
        if let Some((other, kept)) = self
            .meetings
            .iter()
            .find(|(_, m)| m.peer == peer)
            .map(|(l, m)| (*l, m.dialed))
        {
            // Both called at once: the call of the phone with the lower id stays, on both sides.
            // The same side called twice: it has started anew, and the earlier call is dead.
            if dialed != kept && kept == (ours < peer) {
                self.phone.close(link, "already meeting this phone");
                return Ok(());
            }
            self.phone.close(other, "a newer call takes its place");
            self.end_meeting(now, other, "a newer call takes its place", store)?;
        }
        let known = dialed || !store.chain_rows(&peer)?.is_empty();
        if !known && !self.make_room_for_a_stranger(now, store)? {
            self.phone
                .close(link, "no room for another phone that nobody here knows");
            return Ok(());
        }
        let meeting = Meeting::begin(now, link, peer, class, dialed, known, &mut self.phone);
        self.meetings.insert(link, meeting);
        Ok(())
    }

    /// Few phones that nobody here knows are met at once. A new one takes the place of the one that
    /// has been here longest, if that has had its time.
    fn make_room_for_a_stranger(
        &mut self,
        now: Now,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        let strangers: Vec<_> = self
            .meetings
            .iter()
            .filter(|(_, m)| m.takes_a_strangers_place())
            .collect();
        if strangers.len() < STRANGERS_MAX || !defence::stands(Defence::Strangers) {
            return Ok(true);
        }
        let oldest = strangers.into_iter().min_by_key(|(_, m)| m.began_ms);
        let Some(link) = oldest
            .filter(|(_, m)| now.mono_ms >= m.began_ms + STRANGER_LEAST_MS)
            .map(|(link, _)| *link)
        else {
            return Ok(false);
        };
        self.phone.close(link, "it makes room for others");
        self.end_meeting(now, link, "it makes room for others", store)?;
        Ok(true)
    }

    /// Lets every meeting say what it now can, and ends those that are over.
    fn advance(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        if std::mem::take(&mut self.phone.check_keys) {
            self.phone.settle_retirements(now, store)?;
            self.phone.renew_keys(now, store)?;
            self.phone.seal_what_waits(now, store)?;
        }
        if self.phone.some_wait {
            self.phone.open_waiting(now, store)?;
        }
        self.phone.meetings = self.meetings.len();
        for meeting in self.meetings.values_mut() {
            meeting.advance(now, &mut self.phone, store)?;
        }
        let over: Vec<_> = self
            .meetings
            .iter()
            .filter(|(_, m)| m.over().is_some())
            .map(|(link, _)| *link)
            .collect();
        for link in over {
            let reason = self
                .meetings
                .get(&link)
                .and_then(Meeting::over)
                .unwrap_or_default();
            self.phone.close(link, &reason);
            self.end_meeting(now, link, &reason, store)?;
        }
        Ok(())
    }

    fn end_meeting(
        &mut self,
        now: Now,
        link: LinkId,
        reason: &str,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(meeting) = self.meetings.remove(&link) else {
            return Ok(());
        };
        meeting.release_asked(&mut self.phone);
        let summary = meeting.summary(reason);
        let certified = meeting.certificate.is_some() || !defence::stands(Defence::Strangers);
        if summary.greeted && certified {
            self.phone.meetings_so_far += 1;
            store.put_setting(setting::MEETINGS, &self.phone.meetings_so_far.to_le_bytes())?;
            let known = store.peer(&meeting.peer)?;
            store.put_peer(&PeerRow {
                device: meeting.peer,
                name: summary.name.clone(),
                meetings: known.map_or(0, |p| p.meetings).saturating_add(1),
                last_met_s: now.wall_s,
                in_step: summary.in_step,
                at_meeting: self.phone.meetings_so_far,
            })?;
            let (place, kept) = meetings::kept(&summary.kept(&meeting.peer, now, &self.phone));
            store.put_setting(&place, &kept)?;
            self.phone.note_delivered(now, store)?;
            self.phone.let_go_of_delivered(store)?;
            self.phone.scrub_some(store)?;
        }
        if summary.complete && summary.news == 0 && certified {
            self.phone.unmoved_since_news += 1;
            store.put_setting(
                setting::UNMOVED,
                &self.phone.unmoved_since_news.to_le_bytes(),
            )?;
        }
        let failures = match summary.complete {
            true => 0,
            false => self
                .phone
                .met
                .get(&meeting.peer)
                .map_or(0, |last| last.failures)
                .saturating_add(1),
        };
        let revision = match summary.complete {
            true => self.phone.revision,
            false => self
                .phone
                .met
                .get(&meeting.peer)
                .map_or(0, |last| last.revision),
        };
        let refused = summary.refused || (!summary.complete && !summary.greeted);
        let last = schedule::LastMeeting {
            at_ms: now.mono_ms,
            revision,
            failures,
            refused,
        };
        schedule::remember(&mut self.phone.met, meeting.peer, last);
        self.phone.event(Event::MeetingEnded { link, summary });
        Ok(())
    }

    fn end_overdue_meetings(&mut self, now: Now) {
        for meeting in self.meetings.values_mut() {
            let (due, why) = meeting.due();
            if now.mono_ms >= due {
                meeting.abandon(why);
            } else if meeting.piece_due_ms().is_some_and(|due| now.mono_ms >= due) {
                meeting.abandon("pieces were asked for and none came");
            }
        }
    }
}

impl Phone {
    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: &str) {
        self.outputs.push_back(Output::CloseLink {
            link,
            reason: reason.to_owned(),
        });
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// Something here is new to others.
    pub(crate) fn changed(&mut self) {
        self.revision += 1;
    }

    /// The area whose things this phone holds; an uncertified phone holds public things only, of
    /// everywhere.
    pub(crate) fn area(&self) -> protocol::Area {
        self.certificate
            .as_ref()
            .map(|c| c.area.clone())
            .unwrap_or_default()
    }

    /// Releases that this phone runs or carries.
    pub(crate) fn releases(&self) -> Vec<Release> {
        let area = self.area();
        self.trust
            .iter()
            .flat_map(|t| t.releases_for(&area).cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Tells the host which whole bundles wait to be activated: the newest of each module, the
    /// nearest area first.
    pub(crate) fn announce_ready(&mut self, _store: &mut dyn Store) -> Result<(), StoreError> {
        let area = self.area();
        let idle = distribution::activation::Activation::default();
        let mut meant: BTreeMap<String, (Release, bool)> = BTreeMap::new();
        for release in self.releases() {
            let runs = self.activations.get(&release.module).unwrap_or(&idle);
            let ready = self
                .bundles
                .get(&BundleId::release(release.digest))
                .is_some_and(|b| b.whole)
                && release.staged_for(&self.keys.id(), &area);
            // While something runs, it goes on until the one that is meant is here; while nothing
            // runs, any that is here will do.
            let counts = release.area.covers(&area)
                && runs.may_run(&release)
                && (ready || runs.current.is_some());
            let rank = |r: &Release| (r.area.as_str().len(), r.version);
            if counts
                && meant
                    .get(&release.module)
                    .is_none_or(|(other, _)| rank(&release) > rank(other))
            {
                meant.insert(release.module.clone(), (release, ready));
            }
        }
        for (release, ready) in meant.into_values() {
            if ready
                && self
                    .activations
                    .get(&release.module)
                    .unwrap_or(&idle)
                    .wants(&release)
            {
                self.event(Event::ReleaseReady {
                    release: Box::new(release),
                });
            }
        }
        Ok(())
    }

    /// Spaces in which the phone whose certificate this is has a part, of those that `store` holds.
    pub(crate) fn spaces_for(
        &self,
        certificate: &VerifiedChain,
        store: &dyn Store,
    ) -> Result<BTreeSet<SpaceId>, StoreError> {
        let held = store.spaces()?;
        Ok(held
            .into_iter()
            .filter(|row| row.area.meets(&certificate.area))
            .map(|row| row.space)
            .collect())
    }

    pub(crate) fn save_activations(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        store.put_setting(setting::ACTIVATIONS, &codec::encode(&self.activations))?;
        self.write_receipt(store)
    }
}
