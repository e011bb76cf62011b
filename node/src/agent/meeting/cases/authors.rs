//! Whose envelopes they are: certificates that are shown before them, and who wrote what has come.

use std::collections::btree_map::Entry;

use protocol::certificate::CertificateError;
use protocol::defence::{self, Defence};
use protocol::{Chain, VerifiedChain};
use sync::{Envelope, EnvelopeError, VerifiedEnvelope};

use super::{CaseLane, Step};
use crate::agent::Phone;
use crate::agent::meeting::talk::{End, Talk, refuse};
use crate::store::{Store, StoreError};

/// Frames of certificates in one meeting.
const AUTHORS_PER_MEETING_MAX: usize = 20_000;

impl CaseLane {
    /// The chain under which an envelope was written, if the other has not been shown it.
    pub(super) fn unshown_author(
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
        let known = match self.authors_known.entry(envelope.author) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh.insert(phone.authors(envelope.author, store)?),
        };
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

    pub(super) fn handle_author_chain(
        &mut self,
        chain: &Chain,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        self.in_their_step(Step::Envelopes, "AuthorChain")?;
        if !self.active {
            return refuse("cases from a phone without a certificate");
        }
        let Some(trust) = phone.own.trust.as_ref() else {
            return refuse("this phone is not enrolled");
        };
        self.authors_heard += 1;
        if self.authors_heard > AUTHORS_PER_MEETING_MAX {
            return refuse("more certificates than a meeting may bring");
        }
        let kept = match phone.judge_met(chain) {
            Some(Ok(verified)) => Some(verified),
            // A lost phone's: kept, so that what it wrote can wait to be looked at.
            Some(Err(CertificateError::Revoked { .. })) => trust.chain_even_if_revoked(chain),
            Some(Err(error)) if !defence::stands(Defence::PassedOver) => {
                return refuse(format!("an author's certificate is not valid: {error}"));
            }
            // The ministry's keys may have changed since the courier took it in: what it is for is
            // passed over, and others go on.
            Some(Err(_)) | None => None,
        };
        if let Some(verified) = kept {
            self.authors_known
                .remove(&sync::envelope::author_key(&verified.device));
            phone.keep_shown(&verified, store)?;
        }
        Ok(())
    }

    /// The envelope with its author, and whether that phone is lost.
    pub(super) fn verify_envelope(
        &mut self,
        envelope: Envelope,
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<Option<(VerifiedEnvelope, VerifiedChain, bool)>, End> {
        let author = envelope.author;
        let chains = match self.authors_known.entry(author) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh.insert(phone.authors(author, store)?),
        };
        let mut reason = None;
        // A chain in force before one that is lost: who has a good one writes under it.
        for wanted in [false, true] {
            for (chain, lost) in chains.iter().rev().filter(|(_, lost)| *lost == wanted) {
                match envelope.clone().verify(chain) {
                    Ok(verified) => return Ok(Some((verified, chain.clone(), *lost))),
                    Err(error) => reason = Some(error),
                }
            }
        }
        self.passed_over += 1;
        match reason {
            // Its author has another post now, and the chain it wrote under has not come here:
            // others carry it.
            Some(EnvelopeError::NotAWriter) => Ok(None),
            Some(error) => refuse(error),
            // Its author's certificates have not come here, or do not hold here.
            None if defence::stands(Defence::PassedOver) => Ok(None),
            None => refuse("an envelope whose author is not certified"),
        }
    }
}
