//! Taking in what others have carried, at a meeting or by a parcel: whose envelopes they are, whether
//! there is room for them, and what follows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::certificate::CertificateError;
use protocol::defence::{self, Defence};
use protocol::{Area, Chain, SpaceId, VerifiedChain};
use sync::envelope::AuthorKey;
use sync::{Envelope, EnvelopeError, EnvelopeKind, VerifiedEnvelope};

use crate::agent::Phone;
use crate::agent::meeting::budget::Budgets;
use crate::agent::meeting::talk::{End, refuse};
use crate::store::{Store, StoreError};

/// Certificates that come in one meeting, or for one parcel.
const AUTHORS_MAX: usize = 20_000;

/// What one meeting, or one parcel, brings.
#[derive(Default)]
pub(in crate::agent) struct Intake {
    /// Envelopes that were new here.
    pub(in crate::agent) taken: u64,
    /// Envelopes that stay with others: their authors are not known here, or there is no room.
    pub(in crate::agent) passed_over: u64,
    /// Of a parcel: what no honest phone passes on ends nothing, and is counted.
    pub(in crate::agent) refused: Option<u64>,
    /// Certificates heard.
    heard: usize,
    /// What is held of authors of whom something has come.
    budgets: Budgets,
    known: BTreeMap<AuthorKey, Vec<(VerifiedChain, bool)>>,
}

impl Intake {
    /// What a parcel brings.
    pub(in crate::agent) fn of_parcel() -> Self {
        Self {
            refused: Some(0),
            ..Self::default()
        }
    }

    /// Everyone with this short name, as [`Phone::authors`] says; looked up once.
    pub(super) fn authors(
        &mut self,
        author: AuthorKey,
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<&[(VerifiedChain, bool)], StoreError> {
        let known = match self.known.entry(author) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(fresh) => fresh.insert(phone.authors(author, store)?),
        };
        Ok(known)
    }

    /// Certificates of an author whose envelopes follow.
    pub(in crate::agent) fn take_chain(
        &mut self,
        chain: &Chain,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let Some(trust) = phone.own.trust.as_ref() else {
            return refuse("this phone is not enrolled");
        };
        self.heard += 1;
        if self.heard > AUTHORS_MAX {
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
            self.known
                .remove(&sync::envelope::author_key(&verified.device));
            phone.keep_shown(&verified, store)?;
        }
        Ok(())
    }

    /// Takes envelopes in, in their order.
    ///
    /// # Errors
    /// The first that no honest phone passes on ends a meeting; what came before it stays.
    pub(in crate::agent) fn take(
        &mut self,
        envelopes: Vec<Envelope>,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        // Only what this phone has a key for is opened here.
        let mine = |e: &&Envelope| {
            let mut keys = phone.spaces.keys.iter();
            keys.any(|key| key.epoch_tag() == e.epoch_tag)
        };
        // A notice may bring the key of what comes after it.
        let keys_come = envelopes.iter().any(|e| e.kind == EnvelopeKind::Notice);
        let opens = |e: &&Envelope| mine(e) || (keys_come && e.kind == EnvelopeKind::Changes);
        let to_open: Vec<_> = envelopes.iter().filter(opens).map(|e| e.id).collect();
        let outermost = phone.records.begin_opening(to_open, store)?;
        let taken = (envelopes.into_iter()).try_for_each(|envelope| {
            let before = self.passed_over;
            let taken = self.take_one(envelope, phone, store);
            match (taken, &mut self.refused) {
                (Err(End::Refuse(_)), Some(refused)) => {
                    *refused += u64::from(self.passed_over == before); // counted once
                    Ok(())
                }
                (taken, _) => taken,
            }
        });
        if outermost && !matches!(taken, Err(End::Store(_))) {
            phone.records.end_opening(store)?;
        }
        taken
    }

    fn take_one(
        &mut self,
        envelope: Envelope,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let Some((verified, author, lost)) = self.verify(envelope, phone, store)? else {
            return Ok(());
        };
        let area = area_of(&verified, &author);
        if !area.meets(&phone.own.area()) {
            return refuse("an envelope of another area");
        }
        let has_room = self.budgets.room_for(&verified, &author, lost, store)?;
        if !has_room {
            self.passed_over += 1; // it stays with whoever has room for it
            return Ok(());
        }
        let (spaces, records, _, mut tx) = phone.parts(store);
        let taken = match lost {
            false => records.take_envelope(&verified, &area, spaces, &mut tx)?,
            true => records.take_late(&verified, &area, spaces, &mut tx)?,
        };
        phone.settle(store)?;
        if !taken {
            return Ok(());
        }
        // What this phone has written it holds: this was written elsewhere with its key.
        if author.device == phone.own.keys.id() {
            phone.note_twin(store)?;
        }
        self.budgets.count(&verified, lost);
        store.use_chain(&author.id())?;
        self.taken += 1;
        if !lost && verified.kind == EnvelopeKind::Notice {
            let (spaces, _, _, mut tx) = phone.parts(store);
            spaces.apply_notice(&verified, &author, &mut tx)?;
            phone.settle(store)?;
            self.known.clear(); // somebody may be lost, or a certificate may count again
        } else if lost && !defence::stands(Defence::Vouchers) {
            let notice = verified.notice().ok();
            let deliveries = &mut phone.spaces.deliveries;
            notice
                .iter()
                .for_each(|notice| deliveries.take(&author, notice));
        }
        Ok(())
    }

    /// The envelope with its author, and whether that phone is lost.
    fn verify(
        &mut self,
        envelope: Envelope,
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<Option<(VerifiedEnvelope, VerifiedChain, bool)>, End> {
        let chains = self.authors(envelope.author, phone, store)?;
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

/// The area whose space an envelope belongs to.
fn area_of(envelope: &VerifiedEnvelope, author: &VerifiedChain) -> Area {
    let said = envelope.notice().ok().map(|notice| notice.area);
    said.or_else(|| {
        author
            .area
            .upward()
            .find(|a| SpaceId::of(a) == envelope.space)
    })
    .unwrap_or_default()
}
