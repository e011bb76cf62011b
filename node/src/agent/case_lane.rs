//! The cases lane: which envelopes does the other lack?
//!
//! 1. Each side names the spaces that both have a part in, with count and digest, then says *step 0 done*.
//! 2. For every space that differs, each sends its ids, then *step 1 done*.
//! 3. Each says how much is coming, sends what the other lacks, most urgent first, each author's certificates before their
//!    first envelope, then *lane done*.
//! 4. Each recomputes its digests from what is durable and sends them, then *step 2 done*. Only equal digests are "in step".

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::bytes::ByteVec;
use protocol::frame::{AuthorChain, Coming, Envelopes, Frame, Lane, LaneDone, SpaceDigest, SpaceIds, StepDone};
use protocol::limits::{
    ENVELOPES_FRAME_BYTES_MAX, ENVELOPES_HELD_MAX, IDS_PER_FRAME_MAX, IDS_PER_MEETING_MAX, SPACES_PER_MEETING_MAX,
};
use protocol::{Area, Chain, DeviceId, EnvelopeId, Now, Right, SpaceId, VerifiedChain};
use sync::envelope::AuthorKey;
use sync::reconcile::read_words;
use sync::{Envelope, VerifiedEnvelope};

use super::meeting::{End, Meeting, refuse};
use super::{Event, Phone};
use crate::store::{Store, StoreError};

/// How far one side is in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Step {
    /// Spaces and digests.
    #[default]
    Digests,
    /// Ids of spaces that differ.
    Ids,
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
    our_digests: BTreeMap<SpaceId, SpaceDigest>,
    their_digests: BTreeMap<SpaceId, SpaceDigest>,
    their_ids: BTreeMap<SpaceId, BTreeSet<u64>>,
    ids_heard: usize,
    to_send: VecDeque<EnvelopeId>,
    authors_sent: BTreeSet<DeviceId>,
    authors_known: BTreeMap<AuthorKey, Vec<VerifiedChain>>,
    coming: (u64, u64),
    total_sending: u64,
    in_step: BTreeMap<SpaceId, bool>,
}

impl CaseLane {
    pub(super) fn done(&self) -> bool {
        !self.active || (self.ours == Step::Done && self.theirs == Step::Done)
    }

    pub(super) fn close(&mut self) {
        self.active = false;
    }

    /// Spaces that either side named and that are not the same.
    fn differing(&self) -> Vec<SpaceId> {
        let all: BTreeSet<_> = self.our_digests.keys().chain(self.their_digests.keys()).copied().collect();
        let same = |space: &SpaceId| {
            let count = |d: Option<&SpaceDigest>| d.map(|d| (d.count, d.digest));
            count(self.our_digests.get(space)) == count(self.their_digests.get(space))
        };
        all.into_iter().filter(|space| !same(space)).collect()
    }
}

impl Meeting {
    pub(super) fn begin_cases(&mut self, phone: &Phone, store: &mut dyn Store) -> Result<(), End> {
        let takes = |c: &VerifiedChain| c.rights.has(Right::Carry) || c.rights.has(Right::Read);
        let (Some(theirs), Some(ours)) = (self.certificate.as_ref(), phone.certificate.as_ref()) else { return Ok(()) };
        if !takes(theirs) || !takes(ours) {
            return Ok(());
        }
        self.cases.active = true;
        self.cases.our_digests = self.space_digests(&phone.spaces_for(theirs, store)?, store)?;
        let digests: Vec<_> = self.cases.our_digests.values().cloned().collect();
        digests.into_iter().for_each(|digest| self.say(Frame::SpaceDigest(digest)));
        self.say(Frame::StepDone(StepDone { step: 0 }));
        self.cases.ours = Step::Ids;
        Ok(())
    }

    fn space_digests(
        &self,
        spaces: &BTreeSet<SpaceId>,
        store: &dyn Store,
    ) -> Result<BTreeMap<SpaceId, SpaceDigest>, StoreError> {
        let Some(key) = &self.key else { return Ok(BTreeMap::new()) };
        let digest = |space: &SpaceId| {
            let ids = store.envelope_ids(*space)?;
            let digest = key.digest(ids.iter().map(|(id, _)| id));
            Ok((*space, SpaceDigest { space: *space, count: ids.len() as u64, digest }))
        };
        spaces.iter().take(SPACES_PER_MEETING_MAX).map(digest).collect()
    }

    pub(super) fn handle_space_digest(&mut self, digest: SpaceDigest) -> Result<(), End> {
        self.in_their_step(Step::Digests, "SpaceDigest")?;
        self.cases.their_digests.insert(digest.space, digest);
        if self.cases.their_digests.len() > SPACES_PER_MEETING_MAX {
            return refuse("more spaces than a meeting may have");
        }
        Ok(())
    }

    pub(super) fn handle_space_ids(&mut self, ids: &SpaceIds) -> Result<(), End> {
        self.in_their_step(Step::Ids, "SpaceIds")?;
        let Some(words) = read_words(&ids.ids) else { return refuse("ids of a wrong length") };
        self.cases.ids_heard += words.len();
        if self.cases.ids_heard > IDS_PER_MEETING_MAX || self.cases.their_ids.len() > SPACES_PER_MEETING_MAX {
            return refuse("more ids than a meeting may have");
        }
        self.cases.their_ids.entry(ids.space).or_default().extend(words);
        Ok(())
    }

    pub(super) fn handle_step_done(&mut self, step: u8, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        match (step, self.cases.theirs) {
            (_, _) if !self.cases.active => Ok(()),
            (0, Step::Digests) => {
                self.cases.theirs = Step::Ids;
                self.say_ids(store)
            }
            (1, Step::Ids) => {
                self.cases.theirs = Step::Envelopes;
                self.begin_envelopes(store)
            }
            (2, Step::Closing) => {
                self.cases.theirs = Step::Done;
                self.finish_cases(phone, store)
            }
            _ => refuse("a step out of its place"),
        }
    }

    fn in_their_step(&self, step: Step, what: &str) -> Result<(), End> {
        if self.cases.active && self.cases.theirs != step {
            return refuse(format!("{what} out of its place"));
        }
        Ok(())
    }

    fn say_ids(&mut self, store: &mut dyn Store) -> Result<(), End> {
        let Some(key) = self.key.clone() else { return Ok(()) };
        for space in self.cases.differing() {
            let ids: Vec<_> = store.envelope_ids(space)?.into_iter().map(|(id, _)| id).collect();
            for chunk in ids.chunks(IDS_PER_FRAME_MAX) {
                self.say(Frame::SpaceIds(SpaceIds { space, ids: key.words(chunk) }));
            }
        }
        self.say(Frame::StepDone(StepDone { step: 1 }));
        self.cases.ours = Step::Envelopes;
        Ok(())
    }

    fn begin_envelopes(&mut self, store: &mut dyn Store) -> Result<(), End> {
        let Some(key) = self.key.clone() else { return Ok(()) };
        let mut lacking = Vec::new();
        for space in self.cases.differing() {
            let theirs = self.cases.their_ids.remove(&space).unwrap_or_default();
            let ours = store.envelope_ids(space)?;
            lacking.extend(ours.into_iter().filter(|(id, _)| !theirs.contains(&key.word(id))));
        }
        lacking.sort_by_key(|(_, urgency)| std::cmp::Reverse(*urgency)); // stable: within an urgency, oldest first
        let mut bytes = 0;
        for (id, _) in &lacking {
            bytes += store.envelope(id)?.map_or(0, |b| b.len() as u64);
        }
        self.cases.to_send = lacking.into_iter().map(|(id, _)| id).collect();
        self.cases.total_sending = self.cases.to_send.len() as u64;
        self.say(Frame::Coming(Coming { lane: Lane::Cases as u8, items: self.cases.total_sending, bytes }));
        Ok(())
    }

    pub(super) fn handle_coming(&mut self, coming: &Coming) {
        if coming.lane == Lane::Cases as u8 {
            self.cases.coming = (coming.items, coming.bytes);
        }
    }

    pub(super) fn next_case_frame(
        &mut self,
        phone: &Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        let lane = &mut self.cases;
        if !lane.active || lane.ours != Step::Envelopes || lane.theirs < Step::Envelopes {
            return Ok(None);
        }
        if lane.to_send.is_empty() {
            lane.ours = Step::Closing;
            return Ok(Some(Frame::LaneDone(LaneDone { lane: Lane::Cases as u8 })));
        }
        self.next_envelopes(phone, store).map(Some)
    }

    /// The next batch; the certificates of an author who has not been shown yet go first.
    fn next_envelopes(&mut self, phone: &Phone, store: &mut dyn Store) -> Result<Frame, StoreError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(id) = self.cases.to_send.front() {
            let Some(envelope) = store.envelope(id)? else {
                self.cases.to_send.pop_front();
                continue;
            };
            if let Some(chain) = self.unshown_author(&envelope, phone, store)? {
                if batch.is_empty() {
                    self.cases.authors_sent.insert(chain.device);
                    return Ok(Frame::AuthorChain(AuthorChain { chain: chain.chain().clone() }));
                }
                break;
            }
            self.cases.to_send.pop_front();
            bytes += envelope.len();
            batch.push(ByteVec::from(envelope));
            self.summary.envelopes_sent += 1;
            if bytes > ENVELOPES_FRAME_BYTES_MAX {
                break;
            }
        }
        Ok(Frame::Envelopes(Envelopes { envelopes: batch }))
    }

    fn unshown_author(
        &self,
        envelope: &[u8],
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<Option<VerifiedChain>, StoreError> {
        let Ok(envelope) = Envelope::parse(envelope.to_vec()) else { return Ok(None) };
        let shown = |c: &VerifiedChain| c.device == self.peer || self.cases.authors_sent.contains(&c.device);
        let chains = phone.verified_chains(envelope.author, store)?;
        Ok(chains.into_iter().find(|c| !shown(c)))
    }

    pub(super) fn handle_author_chain(
        &mut self,
        chain: &Chain,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        self.in_their_step(Step::Envelopes, "AuthorChain")?;
        let Some(trust) = phone.trust.as_ref() else { return refuse("this phone is not enrolled") };
        match trust.verify_chain(chain) {
            Some(Ok(verified)) => Ok(store.put_chain(&verified)?),
            Some(Err(error)) => refuse(format!("an author's certificate is not valid: {error}")),
            None => Ok(()),
        }
    }

    pub(super) fn handle_envelopes(
        &mut self,
        now: Now,
        envelopes: Envelopes,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        self.in_their_step(Step::Envelopes, "Envelopes")?;
        if !self.cases.active {
            return refuse("cases from a phone without a certificate");
        }
        let mut held = store.envelope_count()?;
        for bytes in envelopes.envelopes {
            let envelope = Envelope::parse(bytes.into()).or_else(refuse)?;
            let (verified, area) = self.verify_envelope(envelope, phone, store)?;
            if !area.meets(&phone.area()) {
                return refuse("an envelope of another area");
            }
            if held >= ENVELOPES_HELD_MAX {
                return refuse("this phone holds as many envelopes as it may");
            }
            if phone.take_envelope(now, &verified, &area, store)? {
                held += 1;
                self.summary.envelopes_taken += 1;
            }
        }
        let (items, _) = self.cases.coming;
        let done = self.summary.envelopes_taken.min(items);
        phone.event(Event::Progress { link: self.link, lane: "cases", done, total: items });
        Ok(())
    }

    fn verify_envelope(
        &mut self,
        envelope: Envelope,
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<(VerifiedEnvelope, Area), End> {
        let author = envelope.author;
        let chains = match self.cases.authors_known.entry(author) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh.insert(phone.verified_chains(author, store)?),
        };
        let mut reason = None;
        for chain in chains {
            match envelope.clone().verify(chain) {
                Ok(verified) => {
                    let area = chain.area.upward().find(|a| SpaceId::of(a) == verified.space).unwrap_or_default();
                    return Ok((verified, area));
                }
                Err(error) => reason = Some(error.to_string()),
            }
        }
        refuse(reason.unwrap_or_else(|| "an envelope whose author is not certified".into()))
    }

    /// The other has sent all it had: say what is now durable here.
    pub(super) fn handle_cases_sent(&mut self) -> Result<(), End> {
        if !self.cases.active {
            return Ok(());
        }
        if self.cases.theirs != Step::Envelopes {
            return refuse("LaneDone out of its place");
        }
        self.cases.theirs = Step::Closing;
        Ok(())
    }

    /// Once both have sent everything: digests from what is durable.
    pub(super) fn say_in_step_if_ready(&mut self, phone: &Phone, store: &dyn Store) -> Result<(), StoreError> {
        if !self.cases.active || self.cases.ours != Step::Closing || self.cases.theirs < Step::Closing {
            return Ok(());
        }
        let Some(theirs) = self.certificate.as_ref() else { return Ok(()) };
        let now = self.space_digests(&phone.spaces_for(theirs, store)?, store)?;
        now.into_values().for_each(|digest| self.say(Frame::InStep(digest)));
        self.say(Frame::StepDone(StepDone { step: 2 }));
        self.cases.ours = Step::Done;
        Ok(())
    }

    pub(super) fn handle_in_step(&mut self, digest: &SpaceDigest, store: &dyn Store) -> Result<(), End> {
        self.in_their_step(Step::Closing, "InStep")?;
        let ours = self.space_digests(&BTreeSet::from([digest.space]), store)?;
        self.cases.in_step.insert(digest.space, ours.get(&digest.space) == Some(digest));
        if self.cases.in_step.len() > SPACES_PER_MEETING_MAX {
            return refuse("more spaces than a meeting may have");
        }
        Ok(())
    }

    /// In step: every space that both have a part in was named by the other with the digest that is durable here.
    fn finish_cases(&mut self, phone: &mut Phone, store: &dyn Store) -> Result<(), End> {
        let Some(theirs) = self.certificate.as_ref() else { return Ok(()) };
        let shared = phone.spaces_for(theirs, store)?;
        self.summary.in_step = shared.iter().all(|space| self.cases.in_step.get(space) == Some(&true));
        if self.summary.envelopes_taken > 0 {
            phone.event(Event::CasesChanged { envelopes: self.summary.envelopes_taken });
        }
        Ok(())
    }
}

impl Phone {
    /// The valid chains of authors with this short name.
    pub(super) fn verified_chains(
        &self,
        author: AuthorKey,
        store: &dyn Store,
    ) -> Result<Vec<VerifiedChain>, StoreError> {
        let Some(trust) = self.trust.as_ref() else { return Ok(Vec::new()) };
        let chains = store.chains(author)?.into_iter().filter_map(|bytes| Chain::from_bytes(&bytes).ok());
        Ok(chains.filter_map(|chain| trust.verify_chain(&chain)?.ok()).collect())
    }
}
