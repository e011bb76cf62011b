//! One meeting, from the first word to the last.
//!
//! ```text
//! Hello ⇄ Hello → trust lane ⇄ → (cases lane ⇄ ‖ bundles lane ⇄) → Bye ⇄ Bye
//! ```
//! Each side says `LaneDone` when it has nothing more in a lane. A meeting may end at any byte: everything taken in
//! before is whole and durable, everything after is as if never sent. What a peer may say depends on what has been said; a
//! frame out of its place ends the meeting with a reason and changes nothing.

use distribution::{Beacon, DelegatedList, Recall, ReleaseList, Revocations, Root};
use protocol::frame::{Bye, Frame, FrameReader, Hello, LaneDone};
use protocol::limits::{SEND_AHEAD_BYTES_MAX, WIRE_VERSION};
use protocol::signed::Document;
use protocol::{DeviceId, Now, VerifiedChain};
use sync::reconcile::MeetingKey;

use super::budget::{Budget, LinkClass};
use super::bundle_lane::BundleLane;
use super::case_lane::CaseLane;
use super::{Event, LinkId, Output, Phone};
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
        Frame::SpaceParts(_) | Frame::PartIds(_) | Frame::PartSymbols(_) | Frame::PartMore(_) | Frame::PartWanted(_)
    )
}

/// How far the talk about the meeting itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Our hello is out, theirs is awaited.
    Greeting,
    /// Roots and lists pass.
    Trust,
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
    pub(super) theirs: Option<Hello>,
    pub(super) trust_done_ours: bool,
    pub(super) trust_done_theirs: bool,
    pub(super) cases: CaseLane,
    pub(super) bundles: BundleLane,
    pub(super) key: Option<MeetingKey>,
    pub(super) summary: MeetingSummary,
    pub(super) receipts_heard: bool,
    nonce: [u8; 16],
    reader: FrameReader,
    credit: usize,
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
            trust_done_ours: false,
            trust_done_theirs: false,
            cases: CaseLane::default(),
            bundles: BundleLane::default(),
            key: None,
            summary: MeetingSummary::default(),
            receipts_heard: false,
            nonce: phone.random(),
            reader: FrameReader::default(),
            credit: 0,
            outbox: std::collections::VecDeque::new(),
            over: None,
        };
        match phone.trust.as_ref() {
            Some(trust) => meeting.say(Frame::Hello(Hello {
                version: WIRE_VERSION,
                ministry: trust.ministry(),
                root_version: trust.root_version(),
                list_version: if trust.list_binds() { trust.list_version() } else { 0 },
                chain: phone.certificate.as_ref().map(|c| c.chain().clone()),
                nonce: meeting.nonce,
                free_bytes: 0,
                held: super::trust_lane::held(trust),
            })),
            None => meeting.part(3, "this phone is not enrolled with a ministry"),
        }
        meeting
    }

    pub(super) fn add_credit(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes).min(SEND_AHEAD_BYTES_MAX);
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
        self.say(Frame::Bye(Bye { code, reason: reason.chars().take(300).collect() }));
        // The last word may be sent on credit: a refused peer must hear why.
        self.credit = self.credit.max(1);
        self.stage = Stage::Over;
        self.over = Some(reason.to_owned());
    }

    pub(super) fn summary(&self, reason: &str) -> MeetingSummary {
        MeetingSummary { reason: reason.to_owned(), ..self.summary.clone() }
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
        phone.event(Event::Refused { link: self.link, peer: self.peer, reason: reason.to_owned() });
        self.part(REFUSED, reason);
    }

    fn handle_frame(&mut self, now: Now, frame: Frame, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        let name = frame.name();
        let kind = document_kind(&frame);
        match (frame, self.stage) {
            (Frame::Hello(hello), Stage::Greeting) => self.handle_hello(hello, phone),
            (Frame::Bye(bye), _) => {
                self.handle_bye(bye);
                Ok(())
            }
            (Frame::LaneDone(done), Stage::Trust | Stage::Exchange) => self.handle_lane_done(&done, phone, store),
            (
                Frame::Root(document)
                | Frame::Recall(document)
                | Frame::Revocations(document)
                | Frame::ReleaseList(document)
                | Frame::Delegated(document)
                | Frame::Beacon(document),
                Stage::Trust,
            ) if !self.trust_done_theirs => self.handle_document(kind, &document, phone, store),
            (Frame::Coming(coming), Stage::Exchange) => {
                self.handle_coming(&coming);
                Ok(())
            }
            (Frame::SpaceParts(digest), Stage::Exchange) => self.handle_space_digest(digest),
            (
                frame @ (Frame::PartIds(_) | Frame::PartSymbols(_) | Frame::PartMore(_) | Frame::PartWanted(_)),
                Stage::Exchange,
            ) => self.handle_finding(&frame, store),
            (Frame::StepDone(step), Stage::Exchange) => self.handle_step_done(step.step, phone, store),
            (Frame::AuthorChain(author), Stage::Exchange) => self.handle_author_chain(&author.chain, phone, store),
            (Frame::Envelopes(envelopes), Stage::Exchange) => self.handle_envelopes(now, envelopes, phone, store),
            (Frame::PartsInStep(digest), Stage::Exchange) => self.handle_in_step(digest),
            (Frame::ReceiptsHeld(held), Stage::Exchange) => self.handle_receipts_held(&held, store),
            (Frame::Receipts(receipts), Stage::Exchange) => self.handle_receipts(&receipts, phone, store),
            (Frame::Have(have), Stage::Exchange) => self.handle_have(&have, phone),
            (Frame::HavesDone(done), Stage::Exchange) => self.handle_haves_done(done.step == 1, now, phone),
            (Frame::Got(got), Stage::Exchange) => self.handle_got(now, &got, phone),
            (Frame::Want(want), Stage::Exchange) => self.handle_want(want, phone),
            (Frame::Tree(tree), Stage::Exchange) => self.handle_tree(&tree, phone, store),
            (Frame::Piece(piece), Stage::Exchange) => self.handle_piece(&piece, phone, store),
            // Said before the other heard our goodbye: let it pass.
            (_, Stage::Parting) => Ok(()),
            (Frame::Unknown { lane, .. }, Stage::Trust | Stage::Exchange) => {
                self.close_lane(lane);
                Ok(())
            }
            _ => refuse(format!("{name} out of its place")),
        }
    }

    fn handle_hello(&mut self, hello: Hello, phone: &mut Phone) -> Result<(), End> {
        let Some(trust) = phone.trust.as_ref() else { return refuse("this phone is not enrolled") };
        if hello.version != WIRE_VERSION {
            return refuse(format!("wire version {} is spoken there, {WIRE_VERSION} here", hello.version));
        }
        if hello.ministry != trust.ministry() {
            return refuse("the other phone belongs to another ministry");
        }
        self.key = Some(MeetingKey::from_nonces(&self.nonce, &hello.nonce));
        self.stage = Stage::Trust;
        self.summary.greeted = true;
        self.say_trust(&hello, phone);
        self.theirs = Some(hello);
        Ok(())
    }

    fn handle_bye(&mut self, bye: Bye) {
        let reason: String = bye.reason.chars().filter(|c| !c.is_control()).take(300).collect();
        if self.stage == Stage::Parting && bye.code == 0 {
            self.summary.complete = true;
            self.abandon("all is said");
        } else if bye.code == 0 && self.everything_done() {
            self.summary.complete = true;
            self.say(Frame::Bye(Bye { code: 0, reason: "all is said".into() }));
            self.stage = Stage::Over;
            self.over = Some("all is said".into());
        } else {
            self.summary.refused = bye.code == REFUSED;
            self.abandon(&format!("the other phone ended the meeting: {reason}"));
        }
    }

    fn handle_lane_done(&mut self, done: &LaneDone, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        match done.lane {
            1 => {
                self.trust_done_theirs = true;
                self.begin_exchange_if_ready(phone, store)
            }
            2 => self.handle_cases_sent(),
            3 => {
                self.bundles.done_theirs = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Once both have taught each other: who is the other, under the newest root?
    pub(super) fn begin_exchange_if_ready(&mut self, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        if self.stage != Stage::Trust || !self.trust_done_ours || !self.trust_done_theirs {
            return Ok(());
        }
        self.stage = Stage::Exchange;
        let chain = self.theirs.as_ref().and_then(|h| h.chain.as_ref());
        if let Some(chain) = chain {
            match phone.judge_met(chain) {
                Some(Ok(verified)) if verified.device == self.peer => {
                    store.put_chain(&verified)?;
                    phone.check_keys |= phone.keyring.is_orphaned(&verified.device);
                    self.summary.name = verified.name.clone();
                    self.certificate = Some(verified);
                }
                Some(Ok(_)) => return refuse("the certificate shown belongs to another phone"),
                Some(Err(error)) => return refuse(format!("the certificate shown is not valid: {error}")),
                None => {}
            }
        }
        phone.event(Event::MeetingBegan { link: self.link, peer: self.peer, name: self.summary.name.clone() });
        self.begin_cases(phone, store)?;
        self.say_receipts_held(store)?;
        self.begin_bundles(phone);
        Ok(())
    }

    /// A newer phone said something in this lane that we do not know: the lane ends here.
    fn close_lane(&mut self, lane: u8) {
        match lane {
            1 => self.trust_done_theirs = true,
            2 => self.cases.close(),
            3 => self.bundles.close(),
            _ => {}
        }
    }

    fn everything_done(&self) -> bool {
        self.stage == Stage::Exchange && self.cases.done() && self.bundles.done()
    }

    /// Says as much as the link takes: small words first, then cases, then bundles.
    pub(super) fn advance(&mut self, now: Now, phone: &mut Phone, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.stage == Stage::Trust && self.trust_done_ours && self.trust_done_theirs {
            self.settle(phone, |m, phone| m.begin_exchange_if_ready(phone, store))?;
        }
        while self.credit > 0 {
            let Some(frame) = self.next_frame(now, phone, store)? else { break };
            let bytes = frame.to_bytes();
            if finds(&frame) {
                self.summary.finding_bytes += bytes.len() as u64;
            }
            self.credit = self.credit.saturating_sub(bytes.len());
            self.summary.bytes_sent += bytes.len() as u64;
            phone.outputs.push_back(Output::Transmit { link: self.link, bytes });
        }
        if self.everything_done() && self.outbox.is_empty() {
            self.stage = Stage::Parting;
            self.say(Frame::Bye(Bye { code: 0, reason: "all is said".into() }));
            return self.advance(now, phone, store);
        }
        Ok(())
    }

    fn settle(
        &mut self,
        phone: &mut Phone,
        step: impl FnOnce(&mut Self, &mut Phone) -> Result<(), End>,
    ) -> Result<(), StoreError> {
        match step(self, phone) {
            Ok(()) => Ok(()),
            Err(End::Refuse(reason)) => {
                self.refuse(&reason, phone);
                Ok(())
            }
            Err(End::Store(error)) => Err(error),
        }
    }

    fn next_frame(&mut self, now: Now, phone: &mut Phone, store: &mut dyn Store) -> Result<Option<Frame>, StoreError> {
        self.say_in_step_if_ready(phone, store)?;
        if let Some(frame) = self.outbox.pop_front() {
            return Ok(Some(frame));
        }
        if self.stage != Stage::Exchange {
            return Ok(None);
        }
        if let Some(frame) = self.next_case_frame(phone, store)? {
            return Ok(Some(frame));
        }
        self.next_bundle_frame(now, phone, store)
    }
}
