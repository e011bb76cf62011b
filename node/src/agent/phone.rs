//! What a phone knows, whoever it talks to: who it is, and three owners ([`Spaces`], [`Records`],
//! [`Releases`]) that know nothing of meetings.

use std::collections::BTreeSet;

use protocol::certificate::CertificateError;
use protocol::{Chain, DeviceKeys, Now, VerifiedChain};
use rand_chacha::ChaCha20Rng;
use sync::envelope::AuthorKey;

use super::identity::Identity;
use super::load::{load_certificate, load_number, load_trust};
use super::radios::Radios;
use super::records::Records;
use super::releases::{Releases, Shelf};
use super::spaces::Spaces;
use super::tx::{Out, Tx};
use crate::store::{Setting, Store, StoreError};

/// What the phone knows, whoever it talks to.
pub(crate) struct Phone {
    pub(super) own: Identity,
    pub(super) spaces: Spaces,
    pub(super) records: Records,
    pub(super) releases: Releases,
    pub(super) out: Out,
    /// The time at the input that is being handled.
    pub(super) now: Now,
    /// Whom it has met and calls.
    pub(super) radios: Radios,
    /// Meetings going on.
    pub(super) meetings: usize,
    /// Meetings of this phone so far: what age is told by where no clock is right.
    pub(super) meetings_so_far: u64,
    /// Complete meetings since the ministry's documents last changed that brought nothing newer.
    pub(super) unmoved_since_news: u64,
}

/// The owners, each to be borrowed alone, and what they may use.
type Parts<'a> = (&'a mut Spaces, &'a mut Records, &'a mut Releases, Tx<'a>);

impl Phone {
    /// As its store knows it; what was found damaged is left in `aside`, in words for people.
    pub(super) fn load(
        keys: DeviceKeys,
        rng: ChaCha20Rng,
        aside: &mut Vec<String>,
        store: &mut dyn Store,
    ) -> Result<Self, StoreError> {
        let own = Identity::new(keys, rng, load_trust(store, aside)?);
        let spaces = Spaces::load(&own, load_number(&Setting::days_used(), store)?, store)?;
        let mut phone = Self {
            own,
            spaces,
            records: Records::load(store)?,
            releases: Releases::load(store, aside)?,
            out: Out::new(),
            now: Now::default(),
            radios: Radios::default(),
            meetings: 0,
            meetings_so_far: load_number(&Setting::meetings(), store)?,
            unmoved_since_news: load_number(&Setting::unmoved(), store)?,
        };
        phone.own.certificate = load_certificate(&phone.own, &phone.spaces, store)?;
        phone.settle_endings(store)?; // what it is time to end since is destroyed too
        let (spaces, records, releases, mut tx) = phone.parts(store);
        releases.open_bundles(spaces, records, &mut tx)?;
        releases.apply_recalls(&mut tx)?;
        releases.announce_ready(&mut tx);
        Ok(phone)
    }

    /// Its owners, and what they may use.
    pub(super) fn parts<'a>(&'a mut self, store: &'a mut dyn Store) -> Parts<'a> {
        let tx = Tx {
            now: self.now,
            own: &mut self.own,
            store,
            out: &mut self.out,
        };
        (&mut self.spaces, &mut self.records, &mut self.releases, tx)
    }

    /// Its bundles, as the rules of what to ask for look at them.
    pub(super) fn shelf(&self) -> Shelf<'_> {
        Shelf {
            own: &self.own,
            spaces: &self.spaces,
            releases: &self.releases,
            taken_here: BTreeSet::new(),
        }
    }

    /// See [`Spaces::judge`].
    pub(super) fn judge(&self, chain: &Chain) -> Option<Result<VerifiedChain, CertificateError>> {
        self.spaces.judge(chain, &self.own)
    }

    /// See [`Spaces::judge_met`].
    pub(super) fn judge_met(
        &self,
        chain: &Chain,
    ) -> Option<Result<VerifiedChain, CertificateError>> {
        self.spaces.judge_met(chain, &self.own)
    }

    /// See [`Spaces::authors`].
    pub(super) fn authors(
        &self,
        author: AuthorKey,
        store: &dyn Store,
    ) -> Result<Vec<(VerifiedChain, bool)>, StoreError> {
        self.spaces.authors(author, &self.own, store)
    }

    /// Keeps a chain that was shown; if somebody else vouches for a phone that had only a lost
    /// one's word, the keys are looked at.
    pub(super) fn keep_shown(
        &mut self,
        chain: &VerifiedChain,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.spaces.keep_chain(chain, store)?;
        self.spaces.unchecked |= self.spaces.is_orphaned(&chain.device);
        Ok(())
    }

    /// Another phone has this one's key, or this one was set back to a copy of itself: a person is to
    /// hear of it.
    pub(super) fn note_twin(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let at_s = self.now.wall_s.to_le_bytes();
        match store.setting(&Setting::twin())? {
            Some(held) if held == at_s => Ok(()),
            _ => store.put_setting(&Setting::twin(), &at_s),
        }
    }

    pub(super) fn count_days(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let (spaces, _, _, mut tx) = self.parts(store);
        spaces.count_days(&mut tx)
    }
}
