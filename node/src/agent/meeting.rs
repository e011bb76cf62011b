//! One meeting, from the first word to the last.
//!
//! ```text
//! Hello ⇄ Hello → Holds ⇄ Holds → trust lane ⇄ → Certified → Certified → (cases lane ⇄ ‖ bundles lane ⇄) → Bye ⇄ Bye
//! ```
//! Until both have shown certificates that count, the two are strangers: they teach each other the
//! ministry's documents, within small budgets, and say neither names nor what they carry. Whoever
//! called shows its certificate first. Each side says `LaneDone` when it has nothing more in a
//! lane. A meeting may end at any byte: everything taken in before is whole and durable, everything
//! after is as if never sent. What a peer may say depends on what has been said; a frame out of its
//! place ends the meeting with a reason and changes nothing.

use distribution::{Beacon, DelegatedList, Recall, ReleaseList, Revocations, Root};
use protocol::defence::{self, Defence};
use protocol::frame::{Bye, Certified, Frame, FrameReader, Hello, Holds, LaneDone};
use protocol::limits::{
    FRAME_MS_MAX, GREETING_MS_MAX, MEETING_MS_MAX, MEETING_SILENCE_MS_MAX, SEND_AHEAD_BYTES_MAX,
    STRANGER_AHEAD_BYTES_MAX, STRANGER_BYTES_MAX, STRANGER_FRAMES_MAX, STRANGER_MS_MAX,
    WIRE_VERSION,
};
use protocol::signed::Document;
use protocol::{DeviceId, Now, VerifiedChain};
use sync::reconcile::MeetingKey;

use super::budget::{Budget, LinkClass};
use super::bundle_lane::BundleLane;
use super::case_lane::CaseLane;
use super::{Event, LinkId, Output, Phone};
use crate::api::views::meetings::Kept;
use crate::store::{Store, StoreError};

/// Why a frame ends the meeting.
pub(super) enum End {
    /// The peer did what no phone of ours does, or what this phone refuses.
    Refuse(String),
    /// Our own store failed: nobody's fault, but the agent must be loaded anew.
    Store(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        End::Store(error)
    }
}

/// The code of a `Bye` from who refuses to go on.
const REFUSED: u32 = 5;

/// Shorthand for a refusal.
pub(super) fn refuse<T>(reason: impl ToString) -> Result<T, End> {
    Err(End::Refuse(reason.to_string()))
}

/// What came of a meeting.
#[derive(Debug, Clone, Default)]
pub struct MeetingSummary {
    /// The other's certificate name, or empty.
    pub name: String,
    /// Both sides said who they are.
    pub greeted: bool,
    /// Both said all they had to say.
    pub complete: bool,
    /// All spaces were the same on both sides at the end.
    pub in_step: bool,
    /// Why not, where both said all and still are not.
    pub not_in_step: String,
    /// One of the two would not go on, and will not the next time unless something changes.
    pub refused: bool,
    /// Envelopes given.
    pub envelopes_sent: u64,
    /// Envelopes that were new here.
    pub envelopes_taken: u64,
    /// Bytes of bundles taken in.
    pub bundle_bytes_taken: u64,
    /// Bytes of bundles given.
    pub bundle_bytes_sent: u64,
    /// Bytes sent in all.
    pub bytes_sent: u64,
    /// Bytes received in all.
    pub bytes_received: u64,
    /// Bytes that both sides spent on finding which envelopes each lacks.
    pub finding_bytes: u64,
    /// Times that one side had to wait for the other until both knew: two are one round trip.
    pub turns: u32,
    /// Roots, lists and notices that were new here.
    pub news: u64,
    /// Why it ended.
    pub reason: String,
}

impl MeetingSummary {
    /// As it is kept.
    pub(super) fn kept(&self, peer: &DeviceId, now: Now, phone: &Phone) -> Kept {
        Kept {
            number: phone.meetings_so_far,
            device: *peer,
            name: self.name.clone(),
            at_s: now.wall_s,
            complete: self.complete,
            in_step: self.in_step,
            envelopes_sent: self.envelopes_sent,
            envelopes_taken: self.envelopes_taken,
            bundle_bytes_sent: self.bundle_bytes_sent,
            bundle_bytes_taken: self.bundle_bytes_taken,
            bytes: self.bytes_sent.saturating_add(self.bytes_received),
            reason: self.reason.clone(),
        }
    }
}

/// The kind of a document of the trust lane.
fn document_kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Root(_) => Root::DOMAIN,
        Frame::Recall(_) => Recall::DOMAIN,
        Frame::Revocations(_) => Revocations::DOMAIN,
        Frame::ReleaseList(_) => ReleaseList::DOMAIN,
        Frame::Delegated(_) => DelegatedList::DOMAIN,
        Frame::Beacon(_) => Beacon::DOMAIN,
        _ => "",
    }
}

/// Whether a frame serves finding the difference.
fn finds(frame: &Frame) -> bool {
    let step = matches!(frame, Frame::StepDone(done) if done.step < 2);
    step || matches!(
        frame,
        Frame::SpaceParts(_)
            | Frame::PartIds(_)
            | Frame::PartSymbols(_)
            | Frame::PartMore(_)
            | Frame::PartWanted(_)
    )
}

/// How far the talk about the meeting itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Our hello is out, theirs is awaited.
    Greeting,
    /// Roots and lists pass.
    Trust,
    /// Who is the other?
    Proving,
    /// Cases and bundles pass.
    Exchange,
    /// We have said goodbye.
    Parting,
    /// It is over.
    Over,
}

pub(crate) struct Meeting {
    pub(super) link: LinkId,
    pub(super) peer: DeviceId,
    pub(super) dialed: bool,
    pub(super) last_heard_ms: u64,
    pub(super) stage: Stage,
    pub(super) budget: Budget,
    pub(super) certificate: Option<VerifiedChain>,
    pub(super) theirs: Option<Holds>,
    /// What the other is still to be taught.
    pub(super) to_teach: std::collections::VecDeque<super::trust_lane::Lesson>,
    pub(super) trust_done_ours: bool,
    pub(super) trust_done_theirs: bool,
    pub(super) cases: CaseLane,
    pub(super) bundles: BundleLane,
    pub(super) key: Option<MeetingKey>,
    pub(super) summary: MeetingSummary,
    pub(super) receipts_heard: bool,
    /// Receipts that the other lacks, and has not been sent yet.
    pub(super) receipts_to_send: std::collections::VecDeque<DeviceId>,
    /// The other was known before, or this phone called it.
    pub(super) known: bool,
    pub(super) began_ms: u64,
    nonce: [u8; 16],
    reader: FrameReader,
    /// Since when a frame has been on its way.
    frame_since_ms: u64,
    frames: u64,
    credit: usize,
    /// The most that the link has taken at once.
    window: usize,
    /// Small frames that go before lanes.
    outbox: std::collections::VecDeque<Frame>,
    over: Option<String>,
}

impl Meeting {
    pub(super) fn begin(
        now: Now,
        link: LinkId,
        peer: DeviceId,
        class: LinkClass,
        dialed: bool,
        known: bool,
        phone: &mut Phone,
    ) -> Self {
        let mut meeting = Self {
            link,
            peer,
            dialed,
            last_heard_ms: now.mono_ms,
            stage: Stage::Greeting,
            budget: Budget::new(class, now),
            certificate: None,
            theirs: None,
            to_teach: std::collections::VecDeque::new(),
            trust_done_ours: false,
            trust_done_theirs: false,
            cases: CaseLane::default(),
            bundles: BundleLane::default(),
            key: None,
            summary: MeetingSummary::default(),
            receipts_heard: false,
            receipts_to_send: std::collections::VecDeque::new(),
            known,
            began_ms: now.mono_ms,
            nonce: phone.own.random(),
            reader: FrameReader::default(),
            frame_since_ms: now.mono_ms,
            frames: 0,
            credit: 0,
            window: 0,
            outbox: std::collections::VecDeque::new(),
            over: None,
        };
        match phone.own.trust.as_ref() {
            Some(trust) => {
                let ministry_tag =
                    Hello::tag_of(&trust.ministry(), &phone.own.id(), &meeting.nonce);
                meeting.say(Frame::Hello(Hello {
                    version: WIRE_VERSION,
                    ministry_tag,
                    nonce: meeting.nonce,
                }));
            }
            None => meeting.part(3, "this phone is not enrolled with a ministry"),
        }
        meeting
    }

    /// Whether the other has not shown a certificate that counts.
    pub(super) fn is_stranger(&self) -> bool {
        self.certificate.is_none() && defence::stands(Defence::Strangers)
    }

    /// Whether it takes one of the few places of phones that nobody here knows.
    pub(super) fn takes_a_strangers_place(&self) -> bool {
        self.is_stranger() && !self.known
    }

    /// Bytes that may be made for the link now: the little that a stranger is sent ahead, or all
    /// that the link takes.
    fn credit_now(&self) -> usize {
        if self.over.is_some() {
            return self.credit.max(1); // the last word may be sent on credit: a refused peer must hear why
        }
        let under_way = self.window.saturating_sub(self.credit);
        match self.is_stranger() {
            true => self
                .credit
                .min(STRANGER_AHEAD_BYTES_MAX.saturating_sub(under_way)),
            false => self.credit,
        }
    }

    /// When this meeting ends if nothing happens before, and why.
    pub(super) fn due(&self) -> (u64, &'static str) {
        let strangers = defence::stands(Defence::Strangers);
        let greeting = (self.stage == Stage::Greeting && strangers)
            .then_some((self.began_ms + GREETING_MS_MAX, "no greeting came in time"));
        let stranger = (self.is_stranger() && self.stage < Stage::Exchange).then_some((
            self.began_ms + STRANGER_MS_MAX,
            "it did not show in time who it is",
        ));
        let frame = (self.reader.waits() && strangers).then_some((
            self.frame_since_ms + FRAME_MS_MAX,
            "what it said did not come to an end in time",
        ));
        let always = [
            (
                self.last_heard_ms + MEETING_SILENCE_MS_MAX,
                "nothing was heard for too long",
            ),
            (
                self.began_ms + MEETING_MS_MAX,
                "the meeting had lasted long enough",
            ),
        ];
        let dues = always
            .into_iter()
            .chain(greeting)
            .chain(stranger)
            .chain(frame);
        dues.min().unwrap_or((u64::MAX, ""))
    }

    pub(super) fn add_credit(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes).min(SEND_AHEAD_BYTES_MAX);
        self.window = self.window.max(self.credit);
    }

    pub(super) fn say(&mut self, frame: Frame) {
        self.outbox.push_back(frame);
    }

    /// Why the meeting is over, if it is and the last word is on its way.
    pub(super) fn over(&self) -> Option<String> {
        self.over.clone().filter(|_| self.outbox.is_empty())
    }

    pub(super) fn abandon(&mut self, reason: &str) {
        self.outbox.clear();
        self.stage = Stage::Over;
        self.over = Some(reason.to_owned());
    }

    fn part(&mut self, code: u32, reason: &str) {
        self.outbox.clear();
        self.say(Frame::Bye(Bye {
            code,
            reason: reason.chars().take(300).collect(),
        }));
        self.stage = Stage::Over;
        self.over = Some(reason.to_owned());
    }

    pub(super) fn summary(&self, reason: &str) -> MeetingSummary {
        MeetingSummary {
            reason: reason.to_owned(),
            ..self.summary.clone()
        }
    }

    pub(super) fn handle_bytes(
        &mut self,
        now: Now,
        bytes: Vec<u8>,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.last_heard_ms = now.mono_ms;
        self.summary.bytes_received += bytes.len() as u64;
        if !self.reader.waits() {
            self.frame_since_ms = now.mono_ms;
        }
        self.reader.push(bytes);
        while self.stage != Stage::Over {
            let frame = match self.reader.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => frame,
                Err(error) => {
                    self.refuse(&error.to_string(), phone);
                    break;
                }
            };
            self.frame_since_ms = now.mono_ms;
            self.frames += 1;
            if self.is_stranger()
                && (self.frames > STRANGER_FRAMES_MAX
                    || self.summary.bytes_received > STRANGER_BYTES_MAX)
            {
                self.refuse(
                    "more words than one may say before showing who one is",
                    phone,
                );
                break;
            }
            if finds(&frame) {
                self.summary.finding_bytes += self.reader.frame_bytes() as u64;
            }
            match self.handle_frame(now, frame, phone, store) {
                Ok(()) => {}
                Err(End::Refuse(reason)) => self.refuse(&reason, phone),
                Err(End::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: &str, phone: &mut Phone) {
        self.summary.refused = true;
        phone.out.event(Event::Refused {
            link: self.link,
            peer: self.peer,
            reason: reason.to_owned(),
        });
        self.part(REFUSED, reason);
    }

    fn handle_frame(
        &mut self,
        now: Now,
        frame: Frame,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let name = frame.name();
        let kind = document_kind(&frame);
        match (frame, self.stage) {
            (Frame::Hello(hello), Stage::Greeting) => self.handle_hello(&hello, phone),
            (Frame::Holds(holds), Stage::Trust) if self.theirs.is_none() => {
                self.begin_teaching(&holds, phone, store)?;
                self.theirs = Some(holds);
                Ok(())
            }
            (Frame::Renewed(renewed), Stage::Trust)
                if self.theirs.is_some() && !self.trust_done_theirs =>
            {
                match renewed.chain.as_ref().and_then(|chain| phone.judge(chain)) {
                    Some(Ok(chain)) => Ok(phone.take_renewed(chain, store)?),
                    _ => Ok(()),
                }
            }
            (Frame::Certified(said), Stage::Proving) => {
                self.handle_certified(now, &said, phone, store)
            }
            (Frame::Bye(bye), _) => {
                self.handle_bye(bye);
                Ok(())
            }
            (Frame::LaneDone(done), Stage::Trust | Stage::Exchange) => {
                self.handle_lane_done(&done, phone)
            }
            (
                Frame::Root(document)
                | Frame::Recall(document)
                | Frame::Revocations(document)
                | Frame::ReleaseList(document)
                | Frame::Delegated(document)
                | Frame::Beacon(document),
                Stage::Trust,
            ) if self.theirs.is_some() && !self.trust_done_theirs => {
                self.handle_document(kind, &document, phone, store)
            }
            (Frame::Coming(coming), Stage::Exchange) => {
                self.handle_coming(&coming);
                Ok(())
            }
            (Frame::SpaceParts(digest), Stage::Exchange) => self.handle_space_digest(digest),
            (
                frame @ (Frame::PartIds(_)
                | Frame::PartSymbols(_)
                | Frame::PartMore(_)
                | Frame::PartWanted(_)),
                Stage::Exchange,
            ) => self.handle_finding(&frame, store),
            (Frame::StepDone(step), Stage::Exchange) => {
                self.handle_step_done(step.step, phone, store)
            }
            (Frame::AuthorChain(author), Stage::Exchange) => {
                self.handle_author_chain(&author.chain, phone, store)
            }
            (Frame::Envelopes(envelopes), Stage::Exchange) => {
                self.handle_envelopes(envelopes, phone, store)
            }
            (Frame::PartsInStep(digest), Stage::Exchange) => self.handle_in_step(digest),
            (Frame::ReceiptsHeld(held), Stage::Exchange) => self.handle_receipts_held(&held, store),
            (Frame::Lacks(lacks), Stage::Exchange) => self.handle_lacks(&lacks, phone),
            (Frame::Receipts(receipts), Stage::Exchange) => {
                self.handle_receipts(&receipts, phone, store)
            }
            (Frame::Have(have), Stage::Exchange) => self.handle_have(&have, phone),
            (Frame::HavesDone(done), Stage::Exchange) => {
                self.handle_haves_done(done.step == 1, now, phone)
            }
            (Frame::Got(got), Stage::Exchange) => self.handle_got(now, &got, phone),
            (Frame::Want(want), Stage::Exchange) => self.handle_want(want, phone),
            (Frame::Tree(tree), Stage::Exchange) => self.handle_tree(&tree, phone, store),
            (Frame::Piece(piece), Stage::Exchange) => self.handle_piece(&piece, phone, store),
            // Said before the other heard our goodbye: let it pass.
            (_, Stage::Parting) => Ok(()),
            (Frame::Unknown { lane, .. }, Stage::Trust | Stage::Proving | Stage::Exchange) => {
                self.close_lane(lane);
                self.prove_if_ready(phone);
                Ok(())
            }
            _ => refuse(format!("{name} out of its place")),
        }
    }

    fn handle_hello(&mut self, hello: &Hello, phone: &mut Phone) -> Result<(), End> {
        let Some(trust) = phone.own.trust.as_ref() else {
            return refuse("this phone is not enrolled");
        };
        if hello.version != WIRE_VERSION {
            return refuse(format!(
                "wire version {} is spoken there, {WIRE_VERSION} here",
                hello.version
            ));
        }
        if hello.ministry_tag != Hello::tag_of(&trust.ministry(), &self.peer, &hello.nonce) {
            return refuse("the other phone belongs to another ministry");
        }
        self.key = Some(MeetingKey::from_nonces(&self.nonce, &hello.nonce));
        self.stage = Stage::Trust;
        self.summary.greeted = true;
        self.say(Frame::Holds(Holds {
            root_version: trust.root_version(),
            list_version: if trust.list_binds() {
                trust.list_version()
            } else {
                0
            },
            held: super::trust_lane::held(trust),
            certificates: phone
                .own
                .certificate
                .as_ref()
                .map_or_else(Vec::new, |c| super::trust_lane::short_chain(&c.id())),
        }));
        Ok(())
    }

    fn handle_bye(&mut self, bye: Bye) {
        let reason: String = bye
            .reason
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        if self.stage == Stage::Parting && bye.code == 0 {
            self.summary.complete = true;
            self.abandon("all is said");
        } else if bye.code == 0 && self.everything_done() {
            self.summary.complete = true;
            self.say(Frame::Bye(Bye {
                code: 0,
                reason: "all is said".into(),
            }));
            self.stage = Stage::Over;
            self.over = Some("all is said".into());
        } else {
            self.summary.refused = bye.code == REFUSED;
            self.abandon(&format!("the other phone ended the meeting: {reason}"));
        }
    }

    fn handle_lane_done(&mut self, done: &LaneDone, phone: &mut Phone) -> Result<(), End> {
        match (done.lane, self.stage) {
            (1, Stage::Trust) if self.theirs.is_some() => {
                self.trust_done_theirs = true;
                self.prove_if_ready(phone);
                Ok(())
            }
            (2, Stage::Exchange) => self.handle_cases_sent(),
            (3, Stage::Exchange) => {
                self.bundles.done_theirs = true;
                Ok(())
            }
            _ => refuse("LaneDone out of its place"),
        }
    }

    /// Once both have taught each other: who called shows who it is, under the newest root.
    pub(super) fn prove_if_ready(&mut self, phone: &Phone) {
        if self.stage != Stage::Trust || !self.trust_done_ours || !self.trust_done_theirs {
            return;
        }
        self.stage = Stage::Proving;
        if self.dialed {
            self.say_certified(phone);
        }
    }

    fn say_certified(&mut self, phone: &Phone) {
        let chain = phone.own.certificate.as_ref().map(|c| c.chain().clone());
        self.say(Frame::Certified(Certified { chain }));
    }

    /// The other shows who it is. Who was called answers only one whose certificate counts.
    fn handle_certified(
        &mut self,
        now: Now,
        said: &Certified,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let judged = said.chain.as_ref().and_then(|chain| phone.judge_met(chain));
        match judged {
            Some(Ok(verified)) if verified.device == self.peer => {
                phone.keep_shown(&verified, store)?;
                self.summary.name = verified.name.clone();
                self.certificate = Some(verified);
            }
            Some(Ok(_)) => return refuse("the certificate shown belongs to another phone"),
            Some(Err(error)) => {
                return refuse(format!("the certificate shown is not valid: {error}"));
            }
            None => {}
        }
        if !self.dialed {
            match self.certificate {
                Some(_) => self.say_certified(phone),
                None => self.say(Frame::Certified(Certified { chain: None })),
            }
        }
        self.stage = Stage::Exchange;
        phone.out.event(Event::MeetingBegan {
            link: self.link,
            peer: self.peer,
            name: self.summary.name.clone(),
        });
        let open = self.certificate.is_some() && phone.own.certificate.is_some();
        if open || !defence::stands(Defence::Strangers) {
            self.begin_cases(phone, store)?;
            self.say_receipts_held(store)?;
            self.begin_bundles(now, phone);
            return Ok(());
        }
        self.summary.not_in_step = match phone.own.certificate {
            None => "this phone is not certified, so nothing but the ministry's documents was exchanged",
            Some(_) => "the other phone is not certified, so nothing but the ministry's documents was exchanged",
        }
        .to_owned();
        Ok(())
    }

    /// A newer phone said something in this lane that we do not know: the lane ends here.
    fn close_lane(&mut self, lane: u8) {
        match lane {
            1 => self.trust_done_theirs = self.theirs.is_some(),
            2 => self.cases.close(),
            3 => self.bundles.close(),
            _ => {}
        }
    }

    fn everything_done(&self) -> bool {
        self.stage == Stage::Exchange && self.cases.done() && self.bundles.done()
    }

    /// Says as much as the link takes: small words first, then cases, then bundles.
    pub(super) fn advance(
        &mut self,
        now: Now,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        while self.credit_now() > 0 {
            let Some(frame) = self.next_frame(now, phone, store)? else {
                break;
            };
            let bytes = frame.to_bytes();
            if finds(&frame) {
                self.summary.finding_bytes += bytes.len() as u64;
            }
            self.credit = self.credit.saturating_sub(bytes.len());
            self.summary.bytes_sent += bytes.len() as u64;
            phone.out.outputs.push_back(Output::Transmit {
                link: self.link,
                bytes,
            });
        }
        if self.everything_done() && self.outbox.is_empty() {
            self.stage = Stage::Parting;
            self.say(Frame::Bye(Bye {
                code: 0,
                reason: "all is said".into(),
            }));
            return self.advance(now, phone, store);
        }
        Ok(())
    }

    fn next_frame(
        &mut self,
        now: Now,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        self.say_in_step_if_ready(store)?;
        if let Some(frame) = self.outbox.pop_front() {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.next_lesson(phone) {
            return Ok(Some(frame));
        }
        if self.stage != Stage::Exchange {
            return Ok(None);
        }
        if let Some(frame) = self.next_receipts(phone, store)? {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.next_case_frame(phone, store)? {
            return Ok(Some(frame));
        }
        self.next_bundle_frame(now, phone, store)
    }
}
