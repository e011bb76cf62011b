//! The cases lane: which envelopes does the other lack?
//!
//! 1. Each side names the parts (space and urgency) that both have a hand in, with count, digest
//!    and sketch, then says *step 0 done*.
//! 2. For every part that differs, the two find out what each lacks ([`super::difference`]); who
//!    has heard all it needs says *step 1 done*.
//! 3. Each says how much is coming, sends what the other lacks, most urgent first, each author's
//!    certificates before their first envelope, then *lane done*.
//! 4. Each recomputes its digests from what is durable and sends them, then *step 2 done*. Only
//!    equal digests are "in step".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::bytes::ByteVec;
use protocol::frame::{
    AuthorChain, CaseStep, Coming, Envelopes, Frame, Lane, LaneDone, PartDigest, SpaceParts,
    StepDone,
};
use protocol::limits::{ENVELOPES_FRAME_BYTES_MAX, PARTS_PER_MEETING_MAX, SPACES_PER_MEETING_MAX};
use protocol::{
    Chain, ChainId, EnvelopeId, Invariant, Right, SpaceId, VerifiedChain, always, never,
};
use sync::{Envelope, EnvelopeError};

use super::difference::{Difference, Part, by_space, digests, hear};
use super::talk::{End, Talk, refuse};
use crate::agent::spaces::Spaces;
use crate::agent::{Event, Phone};
use crate::api::views::meetings::NotInStep;
use crate::store::{Store, StoreError};

mod intake;

pub(in crate::agent) use intake::Intake;

/// Spaces up to which sketches are sent along: with more, idle meetings would cost too much.
const SKETCHED_SPACES_MAX: usize = 16;

/// How far one side is in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Step {
    /// Spaces and digests.
    #[default]
    Digests,
    /// What each side lacks of parts that differ.
    Finding,
    /// Envelopes.
    Envelopes,
    /// Digests again, from what is durable.
    Closing,
    /// Nothing more.
    Done,
}

#[derive(Default)]
pub(super) struct CaseLane {
    active: bool,
    ours: Step,
    theirs: Step,
    difference: Difference,
    to_send: VecDeque<EnvelopeId>,
    /// Chains that the other has been shown.
    authors_sent: BTreeSet<ChainId>,
    /// What the other has given.
    intake: Intake,
    coming: (u64, u64),
    total_sending: u64,
    /// Parts that the other says are durable there.
    closing: BTreeMap<Part, PartDigest>,
}

impl CaseLane {
    pub(super) fn done(&self) -> bool {
        !self.active || (self.ours == Step::Done && self.theirs == Step::Done)
    }

    pub(super) fn close(&mut self) {
        self.active = false;
    }

    /// Bytes of envelopes that are still to come, about.
    pub(super) fn left_here(&self) -> u64 {
        let (items, bytes) = self.coming;
        let left = items.saturating_sub(self.intake.taken);
        (bytes / items.max(1)).saturating_mul(left)
    }
}

impl CaseLane {
    /// A frame of this lane.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn handle(
        &mut self,
        frame: Frame,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        match frame {
            Frame::Coming(coming) => {
                self.handle_coming(&coming);
                Ok(())
            }
            Frame::SpaceParts(said) => self.handle_space_digest(said),
            finding @ (Frame::PartIds(_)
            | Frame::PartSymbols(_)
            | Frame::PartMore(_)
            | Frame::PartWanted(_)) => self.handle_finding(talk, &finding, store),
            Frame::StepDone(said) => self.handle_step_done(talk, said.step, phone, store),
            Frame::AuthorChain(author) => self.handle_author_chain(&author.chain, phone, store),
            Frame::Envelopes(envelopes) => self.handle_envelopes(talk, envelopes, phone, store),
            Frame::PartsInStep(said) => self.handle_in_step(said),
            other => refuse(format!("{} out of its place", other.name())),
        }
    }

    pub(super) fn begin_cases(
        &mut self,
        talk: &mut Talk,
        phone: &Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let takes = |c: &VerifiedChain| c.rights.has(Right::Carry) || c.rights.has(Right::Read);
        let why_not = match (talk.certificate.as_ref(), phone.own.certificate.as_ref()) {
            (_, None) => Some(NotInStep::Uncertified),
            (None, _) => Some(NotInStep::OtherUncertified),
            (Some(theirs), Some(ours)) if !takes(theirs) || !takes(ours) => {
                Some(NotInStep::MayNotCarry)
            }
            _ => None,
        };
        talk.summary.not_in_step = why_not;
        let Some(theirs) = talk.certificate.as_ref().filter(|_| why_not.is_none()) else {
            return Ok(());
        };
        always!(self.ours == Step::Digests, "the lane begins once");
        self.active = true;
        let Some(key) = talk.key.clone() else {
            return Ok(());
        };
        let spaces = spaces_shared(theirs, store)?;
        let digests = digests(&spaces, &key, spaces.len() <= SKETCHED_SPACES_MAX, store)?;
        always!(
            digests.len() <= PARTS_PER_MEETING_MAX,
            "no more than is heard"
        );
        by_space(&digests)
            .into_iter()
            .for_each(|said| talk.say(Frame::SpaceParts(said)));
        self.difference.say_ours(digests);
        talk.say(Frame::StepDone(StepDone {
            step: CaseStep::Digests,
        }));
        self.ours = Step::Finding;
        Ok(())
    }

    fn handle_space_digest(&mut self, said: SpaceParts) -> Result<(), End> {
        self.in_their_step(Step::Digests, "SpaceParts")?;
        self.difference.hear_theirs(said)
    }

    /// Words about the difference: symbols, lists, requests.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    fn handle_finding(
        &mut self,
        talk: &mut Talk,
        frame: &Frame,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let Some(key) = talk.key.clone().filter(|_| self.active) else {
            return Ok(());
        };
        if self.theirs == Step::Digests {
            return refuse(format!("{} out of its place", frame.name()));
        }
        let difference = &mut self.difference;
        let answer = match frame {
            Frame::PartSymbols(said) => difference.handle_symbols(said)?,
            Frame::PartIds(said) => difference.handle_list(said)?,
            Frame::PartMore(more) => difference.handle_more(more, &key, store)?,
            Frame::PartWanted(wanted) => {
                difference.handle_wanted(wanted, &key, store)?;
                Vec::new()
            }
            _ => Vec::new(),
        };
        answer.into_iter().for_each(|frame| talk.say(frame));
        self.end_finding_if_ready(talk, store)
    }

    /// This side has heard all it needs: its requests are said.
    fn end_finding_if_ready(&mut self, talk: &mut Talk, store: &mut dyn Store) -> Result<(), End> {
        if self.ours != Step::Finding || self.theirs < Step::Finding {
            return Ok(());
        }
        if self.difference.heard_all() {
            talk.say(Frame::StepDone(StepDone {
                step: CaseStep::Finding,
            }));
            self.ours = Step::Envelopes;
            self.begin_envelopes(talk, store)?;
        }
        Ok(())
    }

    fn handle_step_done(
        &mut self,
        talk: &mut Talk,
        step: CaseStep,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        match (step, self.theirs) {
            (_, _) if !self.active => Ok(()),
            (CaseStep::Digests, Step::Digests) => {
                self.theirs = Step::Finding;
                let (us, Some(key)) = (phone.own.id(), talk.key.clone()) else {
                    return Ok(());
                };
                let said = self.difference.begin(us, talk.peer, &key, store)?;
                talk.summary.turns = if self.difference.differing().is_empty() {
                    1
                } else {
                    3
                };
                said.into_iter().for_each(|frame| talk.say(frame));
                self.end_finding_if_ready(talk, store)
            }
            (CaseStep::Finding, Step::Finding) => {
                self.theirs = Step::Envelopes;
                self.begin_envelopes(talk, store)
            }
            (CaseStep::Closing, Step::Closing) => {
                self.theirs = Step::Done;
                self.finish_cases(talk, phone, store)
            }
            _ => refuse("a step out of its place"),
        }
    }

    fn in_their_step(&self, step: Step, what: &str) -> Result<(), End> {
        if self.active && self.theirs != step {
            return refuse(format!("{what} out of its place"));
        }
        Ok(())
    }

    /// Once both have said what they want: how much is coming.
    fn begin_envelopes(&mut self, talk: &mut Talk, store: &mut dyn Store) -> Result<(), End> {
        if self.ours != Step::Envelopes || self.theirs < Step::Envelopes {
            return Ok(());
        }
        let mut lacking = std::mem::take(&mut self.difference.lacking);
        talk.summary.turns += 2 * self.difference.mores();
        lacking.sort_by_key(|((class, _), _)| *class); // stable: within an urgency, oldest first
        let mut bytes = 0;
        for (_, id) in &lacking {
            bytes += store.envelope(id)?.map_or(0, |b| b.len() as u64);
        }
        always!(self.to_send.is_empty(), "it is found out once");
        self.to_send = lacking.into_iter().map(|(_, id)| id).collect();
        self.total_sending = self.to_send.len() as u64;
        talk.say(Frame::Coming(Coming {
            lane: Lane::Cases,
            items: self.total_sending,
            bytes,
        }));
        Ok(())
    }

    fn handle_coming(&mut self, coming: &Coming) {
        if coming.lane == Lane::Cases {
            self.coming = (coming.items, coming.bytes);
        }
    }

    pub(super) fn next_case_frame(
        &mut self,
        talk: &mut Talk,
        phone: &Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        let lane = &mut *self;
        if !lane.active || lane.ours != Step::Envelopes || lane.theirs < Step::Envelopes {
            return Ok(None);
        }
        if lane.to_send.is_empty() {
            always!(talk.summary.envelopes_sent <= lane.total_sending);
            lane.ours = Step::Closing;
            return Ok(Some(Frame::LaneDone(LaneDone { lane: Lane::Cases })));
        }
        self.next_envelopes(talk, phone, store).map(Some)
    }

    /// The next batch; the certificates of an author who has not been shown yet go first.
    fn next_envelopes(
        &mut self,
        talk: &mut Talk,
        phone: &Phone,
        store: &mut dyn Store,
    ) -> Result<Frame, StoreError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(id) = self.to_send.front() {
            let Some(envelope) = store.envelope(id)? else {
                self.to_send.pop_front();
                continue;
            };
            if let Some(chain) = self.unshown_author(talk, &envelope, phone, store)? {
                if batch.is_empty() {
                    self.authors_sent.insert(chain.id());
                    return Ok(Frame::AuthorChain(AuthorChain {
                        chain: chain.chain().clone(),
                    }));
                }
                break;
            }
            self.to_send.pop_front();
            bytes += envelope.len();
            batch.push(ByteVec::from(envelope));
            talk.summary.envelopes_sent += 1;
            if bytes > ENVELOPES_FRAME_BYTES_MAX {
                break;
            }
        }
        Ok(Frame::Envelopes(Envelopes { envelopes: batch }))
    }

    /// The chain under which an envelope was written, if the other has not been shown it.
    fn unshown_author(
        &mut self,
        talk: &Talk,
        envelope: &[u8],
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<Option<VerifiedChain>, StoreError> {
        let Ok(envelope) = Envelope::parse(envelope.to_vec()) else {
            return Ok(None);
        };
        let theirs = talk.certificate.as_ref().map(VerifiedChain::id);
        let known = self.intake.authors(envelope.author, phone, store)?;
        let under = known
            .iter()
            .rev()
            .find(|(chain, _)| envelope.allowed_to(chain).unwrap_or(false));
        let Some((chain, _)) = under else {
            return Ok(None);
        };
        let shown = theirs == Some(chain.id()) || self.authors_sent.contains(&chain.id());
        Ok((!shown).then(|| chain.clone()))
    }

    fn handle_author_chain(
        &mut self,
        chain: &Chain,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        self.in_their_step(Step::Envelopes, "AuthorChain")?;
        if !self.active {
            return refuse("cases from a phone without a certificate");
        }
        self.intake.take_chain(chain, phone, store)
    }

    fn handle_envelopes(
        &mut self,
        talk: &mut Talk,
        envelopes: Envelopes,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        self.in_their_step(Step::Envelopes, "Envelopes")?;
        if !self.active {
            return refuse("cases from a phone without a certificate");
        }
        always!(talk.certificate.is_some(), "the lane is open");
        let mut parsed = Vec::new();
        for bytes in envelopes.envelopes {
            match Envelope::parse(bytes.into()) {
                Ok(envelope) => parsed.push(envelope),
                Err(EnvelopeError::Version(_)) => {} // a newer phone's: others carry it
                Err(error) => return refuse(error),
            }
        }
        let before = self.intake.taken;
        let taken = self.intake.take(parsed, phone, store);
        talk.summary.envelopes_taken += self.intake.taken - before;
        taken?;
        let (items, _) = self.coming;
        let done = talk.summary.envelopes_taken.min(items);
        phone.out.event(Event::Progress {
            link: talk.link,
            lane: Lane::Cases,
            done,
            total: items,
        });
        Ok(())
    }

    /// The other has sent all it had: say what is now durable here.
    pub(super) fn handle_cases_sent(&mut self) -> Result<(), End> {
        if !self.active {
            return Ok(());
        }
        if self.theirs != Step::Envelopes {
            return refuse("LaneDone out of its place");
        }
        self.theirs = Step::Closing;
        Ok(())
    }

    /// Once both have sent everything: digests from what is durable.
    pub(super) fn say_in_step_if_ready(
        &mut self,
        talk: &mut Talk,
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        if !self.active || self.ours != Step::Closing || self.theirs < Step::Closing {
            return Ok(());
        }
        let (Some(theirs), Some(key)) = (talk.certificate.as_ref(), talk.key.as_ref()) else {
            return Ok(());
        };
        always!(self.to_send.is_empty(), "all is said before");
        let now = digests(&spaces_shared(theirs, store)?, key, false, store)?;
        by_space(&now)
            .into_iter()
            .for_each(|said| talk.say(Frame::PartsInStep(said)));
        talk.say(Frame::StepDone(StepDone {
            step: CaseStep::Closing,
        }));
        self.ours = Step::Done;
        Ok(())
    }

    fn handle_in_step(&mut self, said: SpaceParts) -> Result<(), End> {
        self.in_their_step(Step::Closing, "PartsInStep")?;
        hear(said, &mut self.closing)
    }

    /// In step: the other named every part that both have a hand in with the digest that is durable
    /// here, and no other.
    fn finish_cases(
        &mut self,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let (Some(theirs), Some(key)) = (talk.certificate.as_ref(), talk.key.as_ref()) else {
            return Ok(());
        };
        let now = digests(&spaces_shared(theirs, store)?, key, false, store)?;
        talk.summary.in_step = now == self.closing;
        talk.summary.not_in_step = match (talk.summary.in_step, self.intake.passed_over) {
            (true, _) => None,
            (false, 0) => Some(NotInStep::MoreWritten),
            (false, some) => Some(NotInStep::AuthorsUnknown(some)),
        };
        if talk.summary.in_step {
            // In step with envelopes still to send would be in step with something else.
            never!(Invariant::Converges, !self.to_send.is_empty())?;
            for space in spaces_shared(theirs, store)? {
                let position = store.last_position(space)?;
                store.put_cursor(&talk.peer, space, position)?;
            }
        }
        if talk.summary.envelopes_taken > 0 {
            phone.out.event(Event::CasesChanged {
                envelopes: talk.summary.envelopes_taken,
            });
        }
        Ok(())
    }
}

/// Spaces in which both have a part, as many as a meeting may have.
fn spaces_shared(
    theirs: &VerifiedChain,
    store: &dyn Store,
) -> Result<BTreeSet<SpaceId>, StoreError> {
    Ok(Spaces::of(theirs, store)?
        .into_iter()
        .take(SPACES_PER_MEETING_MAX)
        .collect())
}
