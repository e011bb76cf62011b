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

use std::collections::VecDeque;

use protocol::defence::{self, Defence};
use protocol::frame::{Bye, CaseStep, Certified, Frame, FrameReader, Hello, Lane, LaneDone};
use protocol::limits::{
    FRAME_MS_MAX, GREETING_MS_MAX, MEETING_MS_MAX, MEETING_SILENCE_MS_MAX, MOVE_MS_MAX,
    SEND_AHEAD_BYTES_MAX, STRANGER_AHEAD_BYTES_MAX, STRANGER_BYTES_MAX, STRANGER_FRAMES_MAX,
    STRANGER_MS_MAX, WIRE_VERSION,
};
use protocol::{DeviceId, Now, always};

use super::raising::Faster;
use super::{Event, LinkId, Output, Phone};
use crate::api::views::meetings::NotInStep;
use crate::store::{Store, StoreError};

pub(super) mod budget;
mod bundles;
pub(super) mod carrier;
pub(super) mod cases;
mod difference;
mod flow;
mod greeting;
mod moving;
pub(super) mod receipts;
pub(super) mod talk;
pub(super) mod trust;

use budget::LinkClass;
use bundles::BundleLane;
use carrier::{Carrier, Place};
use cases::CaseLane;
use receipts::ReceiptLane;
pub use talk::MeetingSummary;
use talk::{End, Talk, refuse};
use trust::TrustLane;

/// The code of a `Bye` from who refuses to go on.
const REFUSED: u32 = 5;

/// Whether a frame serves finding the difference.
fn finds(frame: &Frame) -> bool {
    let step = matches!(frame, Frame::StepDone(done) if done.step != CaseStep::Closing);
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
    pub(super) talk: Talk,
    pub(super) dialed: bool,
    /// The other was known before, or this phone called it.
    known: bool,
    pub(super) began_ms: u64,
    stage: Stage,
    trust: TrustLane,
    cases: CaseLane,
    bundles: BundleLane,
    receipts: ReceiptLane,
    nonce: [u8; 16],
    /// Over which link its bytes go now.
    pub(super) carrier: Carrier,
    /// This phone has more than one kind of radio.
    moves: bool,
    /// What has been said about a faster network.
    pub(super) faster: Faster,
    reader: FrameReader,
    /// Since when a frame has been on its way.
    frame_since_ms: u64,
    frames: u64,
    credit: usize,
    /// The most that the link has taken at once.
    window: usize,
    over: Option<String>,
}

impl Meeting {
    pub(super) fn begin(
        now: Now,
        (link, peer, class): (LinkId, DeviceId, LinkClass),
        (dialed, known): (bool, bool),
        phone: &mut Phone,
    ) -> Self {
        let talk = Talk {
            link,
            peer,
            last_heard_ms: now.mono_ms,
            budget: budget::of_link(class, now),
            certificate: None,
            theirs: None,
            key: None,
            summary: MeetingSummary::default(),
            outbox: VecDeque::new(),
        };
        let mut meeting = Self {
            talk,
            dialed,
            known,
            began_ms: now.mono_ms,
            stage: Stage::Greeting,
            trust: TrustLane::default(),
            cases: CaseLane::default(),
            bundles: BundleLane::default(),
            receipts: ReceiptLane::default(),
            nonce: phone.own.random(),
            carrier: Carrier::new(link, class),
            moves: phone.radios.has_several(),
            faster: Faster::default(),
            reader: FrameReader::default(),
            frame_since_ms: now.mono_ms,
            frames: 0,
            credit: 0,
            window: 0,
            over: None,
        };
        match phone.own.trust.as_ref() {
            Some(trust) => {
                let ministry_tag =
                    Hello::tag_of(&trust.ministry(), &phone.own.id(), &meeting.nonce);
                meeting.talk.say(Frame::Hello(Hello {
                    version: WIRE_VERSION,
                    ministry_tag,
                    nonce: meeting.nonce,
                    moves: meeting.moves,
                    raises: phone.radios.can_raise(),
                }));
            }
            None => meeting.part(3, "this phone is not enrolled with a ministry"),
        }
        meeting
    }

    /// Whether it takes one of the few places of phones that nobody here knows.
    pub(super) fn takes_a_strangers_place(&self) -> bool {
        self.talk.is_stranger() && !self.known
    }

    /// Bytes that may be made for the link now: the little that a stranger is sent ahead, or all
    /// that the link takes.
    fn credit_now(&self) -> usize {
        let room = self.carrier.room();
        if self.over.is_some() {
            return self.credit.max(1).min(room); // the last word may be sent on credit: a refused peer must hear why
        }
        let under_way = self.window.saturating_sub(self.credit);
        match self.talk.is_stranger() {
            true => self
                .credit
                .min(STRANGER_AHEAD_BYTES_MAX.saturating_sub(under_way)),
            false => self.credit.min(room),
        }
    }

    /// When this meeting ends if nothing happens before, and why.
    pub(super) fn due(&self) -> (u64, &'static str) {
        let strangers = defence::stands(Defence::Strangers);
        let greeting = (self.stage == Stage::Greeting && strangers)
            .then_some((self.began_ms + GREETING_MS_MAX, "no greeting came in time"));
        let stranger = (self.talk.is_stranger() && self.stage < Stage::Exchange).then_some((
            self.began_ms + STRANGER_MS_MAX,
            "it did not show in time who it is",
        ));
        let frame = (self.reader.waits() && strangers).then_some((
            self.frame_since_ms + FRAME_MS_MAX,
            "what it said did not come to an end in time",
        ));
        let always = [
            (
                self.talk.last_heard_ms + MEETING_SILENCE_MS_MAX,
                "nothing was heard for too long",
            ),
            (
                self.began_ms + MEETING_MS_MAX,
                "the meeting had lasted long enough",
            ),
        ];
        let nowhere = match self.carrier.place() {
            Place::Nowhere(since_ms) => Some((since_ms + MOVE_MS_MAX, "its link is gone")),
            Place::On(_) | Place::Moving(_) => None,
        };
        let dues = always
            .into_iter()
            .chain(nowhere)
            .chain(greeting)
            .chain(stranger)
            .chain(frame);
        dues.min().unwrap_or((u64::MAX, ""))
    }

    pub(super) fn add_credit(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes).min(SEND_AHEAD_BYTES_MAX);
        self.window = self.window.max(self.credit);
        always!(self.credit <= self.window, "what is on its way is the rest");
        always!(self.window <= SEND_AHEAD_BYTES_MAX);
    }

    /// Why the meeting is over, if it is and the last word is on its way.
    pub(super) fn over(&self) -> Option<String> {
        self.over.clone().filter(|_| self.talk.outbox.is_empty())
    }

    pub(super) fn abandon(&mut self, reason: &str) {
        self.talk.outbox.clear();
        self.stage = Stage::Over;
        self.over = Some(reason.to_owned());
    }

    fn part(&mut self, code: u32, reason: &str) {
        self.talk.outbox.clear();
        self.talk.say(Frame::Bye(Bye {
            code,
            reason: reason.chars().take(300).collect(),
        }));
        self.stage = Stage::Over;
        self.over = Some(reason.to_owned());
    }

    pub(super) fn summary(&self, reason: &str) -> MeetingSummary {
        MeetingSummary {
            reason: reason.to_owned(),
            ..self.talk.summary.clone()
        }
    }

    pub(super) fn handle_bytes(
        &mut self,
        now: Now,
        bytes: Vec<u8>,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.talk.last_heard_ms = now.mono_ms;
        self.talk.summary.bytes_received += bytes.len() as u64;
        self.carrier.takes(bytes.len());
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
            if self.talk.is_stranger()
                && (self.frames > STRANGER_FRAMES_MAX
                    || self.talk.summary.bytes_received > STRANGER_BYTES_MAX)
            {
                self.refuse(
                    "more words than one may say before showing who one is",
                    phone,
                );
                break;
            }
            if finds(&frame) {
                self.talk.summary.finding_bytes += self.reader.frame_bytes() as u64;
            }
            match self.handle_frame(frame, phone, store) {
                Ok(()) => {}
                Err(End::Refuse(reason)) => self.refuse(&reason, phone),
                Err(End::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: &str, phone: &mut Phone) {
        self.talk.summary.refused = true;
        phone.out.event(Event::Refused {
            link: self.talk.link,
            peer: self.talk.peer,
            reason: reason.to_owned(),
        });
        self.part(REFUSED, reason);
    }

    fn handle_frame(
        &mut self,
        frame: Frame,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let name = frame.name();
        self.faster.hears(&frame);
        let talk = &mut self.talk;
        match (frame, self.stage) {
            (Frame::Hello(hello), Stage::Greeting) => self.handle_hello(&hello, phone),
            (Frame::Certified(said), Stage::Proving) => self.handle_certified(&said, phone, store),
            (Frame::Bye(bye), _) => {
                self.handle_bye(bye);
                Ok(())
            }
            (Frame::LaneDone(done), Stage::Trust | Stage::Exchange) => {
                self.handle_lane_done(&done, phone)
            }
            (Frame::Heard(heard), Stage::Exchange | Stage::Parting) => self.handle_heard(&heard),
            (Frame::Resume(_), Stage::Greeting) => self.handle_lost_resume(),
            (frame @ (Frame::Raise(_) | Frame::Join(_)), Stage::Exchange) => {
                self.faster.handle(frame, (talk.peer, self.dialed), phone)
            }
            (
                frame @ (Frame::Holds(_)
                | Frame::Renewed(_)
                | Frame::Root(_)
                | Frame::Recall(_)
                | Frame::Revocations(_)
                | Frame::ReleaseList(_)
                | Frame::Delegated(_)
                | Frame::Beacon(_)),
                Stage::Trust,
            ) => self.trust.handle(frame, talk, phone, store),
            (
                frame @ (Frame::Coming(_)
                | Frame::SpaceParts(_)
                | Frame::PartIds(_)
                | Frame::PartSymbols(_)
                | Frame::PartMore(_)
                | Frame::PartWanted(_)
                | Frame::StepDone(_)
                | Frame::AuthorChain(_)
                | Frame::Envelopes(_)
                | Frame::PartsInStep(_)),
                Stage::Exchange,
            ) => self.cases.handle(frame, talk, phone, store),
            (frame @ (Frame::ReceiptsHeld(_) | Frame::Receipts(_)), Stage::Exchange) => {
                self.receipts.handle(frame, talk, phone, store)
            }
            (
                frame @ (Frame::Have(_)
                | Frame::HavesDone(_)
                | Frame::HaveAlso(_)
                | Frame::Want(_)
                | Frame::Lacks(_)
                | Frame::Tree(_)
                | Frame::Piece(_)),
                Stage::Exchange,
            ) => self.bundles.handle(frame, talk, phone, store),
            (_, Stage::Parting) => Ok(()), // said before the other heard our goodbye
            (Frame::Unknown { lane, .. }, Stage::Trust | Stage::Proving | Stage::Exchange) => {
                self.close_lane(lane);
                self.prove_if_ready(phone);
                Ok(())
            }
            _ => refuse(format!("{name} out of its place")),
        }
    }

    fn handle_lane_done(&mut self, done: &LaneDone, phone: &mut Phone) -> Result<(), End> {
        match (done.lane, self.stage) {
            (Lane::Trust, Stage::Trust) if self.talk.theirs.is_some() => {
                self.trust.done_theirs = true;
                self.prove_if_ready(phone);
                Ok(())
            }
            (Lane::Cases, Stage::Exchange) => self.cases.handle_cases_sent(),
            (Lane::Bundles, Stage::Exchange) => {
                self.bundles.done_theirs = true;
                Ok(())
            }
            _ => refuse("LaneDone out of its place"),
        }
    }

    /// Once both have taught each other: who called shows who it is, under the newest root.
    pub(super) fn prove_if_ready(&mut self, phone: &Phone) {
        if self.stage != Stage::Trust || !self.trust.done_ours || !self.trust.done_theirs {
            return;
        }
        always!(self.talk.key.is_some(), "both have greeted");
        self.stage = Stage::Proving;
        if self.dialed {
            self.say_certified(phone);
        }
    }

    fn say_certified(&mut self, phone: &Phone) {
        let chain = phone.own.certificate.as_ref().map(|c| c.chain().clone());
        self.talk.say(Frame::Certified(Certified { chain }));
    }

    /// The other shows who it is. Who was called answers only one whose certificate counts.
    fn handle_certified(
        &mut self,
        said: &Certified,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let judged = said.chain.as_ref().and_then(|chain| phone.judge_met(chain));
        match judged {
            Some(Ok(verified)) if verified.device == self.talk.peer => {
                phone.keep_shown(&verified, store)?;
                self.talk.summary.name = verified.name.clone();
                self.talk.certificate = Some(verified);
            }
            Some(Ok(_)) => return refuse("the certificate shown belongs to another phone"),
            Some(Err(error)) => {
                return refuse(format!("the certificate shown is not valid: {error}"));
            }
            None => {}
        }
        if !self.dialed {
            match self.talk.certificate {
                Some(_) => self.say_certified(phone),
                None => self.talk.say(Frame::Certified(Certified { chain: None })),
            }
        }
        let shown = self.talk.certificate.as_ref();
        always!(shown.is_none_or(|shown| shown.device == self.talk.peer));
        self.stage = Stage::Exchange;
        phone.out.event(Event::MeetingBegan {
            link: self.talk.link,
            peer: self.talk.peer,
            name: self.talk.summary.name.clone(),
        });
        let open = self.talk.certificate.is_some() && phone.own.certificate.is_some();
        if open || !defence::stands(Defence::Strangers) {
            let talk = &mut self.talk;
            self.cases.begin_cases(talk, phone, store)?;
            self.receipts.say_receipts_held(talk, store)?;
            self.bundles.begin_bundles(talk, phone);
            return Ok(());
        }
        self.talk.summary.not_in_step = match phone.own.certificate {
            None => Some(NotInStep::Uncertified),
            Some(_) => Some(NotInStep::OtherUncertified),
        };
        Ok(())
    }

    /// A newer phone said something in this lane that we do not know: the lane ends here.
    fn close_lane(&mut self, lane: u8) {
        match lane {
            1 => self.trust.done_theirs = self.talk.theirs.is_some(),
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
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        while self.credit_now() > 0 {
            let Some(frame) = self.next_frame(phone, store)? else {
                break;
            };
            let bytes = frame.to_bytes();
            if finds(&frame) {
                self.talk.summary.finding_bytes += bytes.len() as u64;
            }
            self.credit = self.credit.saturating_sub(bytes.len());
            self.talk.summary.bytes_sent += bytes.len() as u64;
            self.carrier.sends(&bytes);
            let Some(link) = self.carrier.link() else {
                break; // not reached: there is no room without a link
            };
            phone
                .out
                .outputs
                .push_back(Output::Transmit { link, bytes });
        }
        if self.everything_done() && self.talk.outbox.is_empty() {
            self.stage = Stage::Parting;
            self.talk.say(Frame::Bye(Bye {
                code: 0,
                reason: "all is said".into(),
            }));
            return self.advance(phone, store);
        }
        Ok(())
    }

    fn next_frame(
        &mut self,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        let talk = &mut self.talk;
        if self.stage == Stage::Over {
            return Ok(talk.outbox.pop_front()); // nothing follows a Bye
        }
        self.cases.say_in_step_if_ready(talk, store)?;
        if let Some(frame) = self.carrier.next_heard() {
            return Ok(Some(frame));
        }
        if let Some(frame) = talk.outbox.pop_front() {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.trust.next_lesson(phone) {
            self.prove_if_ready(phone);
            return Ok(Some(frame));
        }
        if self.stage != Stage::Exchange {
            return Ok(None);
        }
        if let Some(frame) = self.receipts.next_receipts(phone, store)? {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.cases.next_case_frame(talk, phone, store)? {
            return Ok(Some(frame));
        }
        self.bundles.next_bundle_frame(talk, phone, store)
    }

    /// Bytes that are still to come here.
    pub(super) fn left_here(&self, phone: &Phone) -> u64 {
        let cases = self.cases.left_here();
        cases.saturating_add(self.bundles.left_here(phone))
    }

    /// When a piece that was asked for is so late that another phone is asked. Without a link none comes.
    pub(super) fn piece_due_ms(&self) -> Option<u64> {
        let linked = matches!(self.carrier.place(), Place::On(_));
        self.bundles.piece_due_ms().filter(|_| linked)
    }

    /// When two phones that wait for others to bring more give up waiting.
    pub(super) fn quiet_due_ms(&self, phone: &Phone) -> Option<u64> {
        self.bundles.quiet_due_ms(phone)
    }

    /// What was asked of the other and has not come may be asked of others.
    pub(super) fn release_asked(&self, phone: &mut Phone) {
        self.bundles.release_asked(&self.talk, phone);
    }
}
