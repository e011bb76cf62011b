//! What follows from an input, drained from a queue with a bound: no part of a phone calls another
//! round.

use protocol::{BundleId, always};

use super::load::load_certificate;
use super::tx::Consequence;
use super::{Event, Phone};
use crate::store::{Setting, Store, StoreError};

/// Consequences of one input. What a peer can say, and what is held, is limited, so honest inputs
/// stay far below; one that does not is rolled back.
const CONSEQUENCES_MAX: usize = 1 << 20;

impl Phone {
    /// Does what follows, until nothing does.
    pub(super) fn settle(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        for _ in 0..CONSEQUENCES_MAX {
            let Some(next) = self.out.consequences.pop_front() else {
                return Ok(());
            };
            self.handle_consequence(next, store)?;
        }
        self.out.consequences.clear();
        Err(StoreError::Other(
            "more followed from one input than may".into(),
        ))
    }

    fn handle_consequence(
        &mut self,
        consequence: Consequence,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        if consequence == Consequence::SettleEndings {
            return self.settle_endings(store);
        }
        let (spaces, records, releases, mut tx) = self.parts(store);
        match consequence {
            Consequence::TakeKey(key) => {
                let taken = spaces.take_key(key, &mut tx)?;
                let mut tags = taken.iter().map(|key| (key.space(), key.epoch_tag()));
                always!(tags.all(|(space, tag)| !spaces.retired(space, &tag)));
                for key in &taken {
                    records.open_carried(key, spaces, &mut tx)?;
                }
                if !taken.is_empty() {
                    tx.out.follow(Consequence::SealWaiting);
                }
            }
            Consequence::OpenQuarantined(id) => records.open_late(&id, spaces, &mut tx)?,
            Consequence::RenewKeys => spaces.renew_keys(&mut tx)?,
            Consequence::ForgetPhotosOfRevoked => {
                releases.forget_photos(spaces.drop_photos_of_revoked(tx.own), &mut tx)?;
            }
            Consequence::SettleEndings => {}
            Consequence::Reconsider(case) => records.reconsider(&case, spaces, &mut tx)?,
            Consequence::SealWaiting => records.seal_what_waits(spaces, &mut tx)?,
            Consequence::Withhold(blob) => {
                releases.bundles.remove(&BundleId::photo(blob));
            }
            Consequence::OpenBundles => releases.open_bundles(spaces, records, &mut tx)?,
        }
        Ok(())
    }

    /// What is done between inputs: keys are looked at if somebody may be lost, and what waits to
    /// be opened is opened.
    pub(super) fn look_after(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if std::mem::take(&mut self.spaces.unchecked) {
            self.out.follow(Consequence::SettleEndings);
            self.out.follow(Consequence::RenewKeys);
            self.out.follow(Consequence::SealWaiting);
        }
        self.settle(store)?;
        if self.records.some_wait {
            let (spaces, records, _, mut tx) = self.parts(store);
            records.open_waiting(spaces, &mut tx)?;
            self.settle(store)?;
        }
        let (_, _, releases, mut tx) = self.parts(store);
        releases.retry(&mut tx)
    }

    /// What is done after a meeting: what came is said, what has arrived may go, and a little of
    /// the disk is looked over.
    pub(super) fn after_meeting(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        self.note_delivered(store)?;
        self.settle(store)?;
        self.evict_delivered(store)?;
        let (_, _, releases, mut tx) = self.parts(store);
        releases.scrub_some(&mut tx)
    }

    /// Keeps what the ministry has said and has just been accepted, and does what follows from it:
    /// recalls are applied at once.
    pub(super) fn trust_changed(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = self.own.trust.as_ref() else {
            return Ok(());
        };
        store.put_trust_records(&trust.records())?;
        let (root, list) = (trust.root_version(), trust.list_version());
        self.out.changed();
        self.unmoved_since_news = 0;
        store.put_setting(&Setting::unmoved(), &0u64.to_le_bytes())?;
        self.out.event(Event::TrustChanged { root, list });
        self.radios.forgive();
        self.own.certificate = load_certificate(&self.own, &self.spaces, store)?;
        self.spaces.unchecked = true;
        let (spaces, records, releases, mut tx) = self.parts(store);
        releases.apply_recalls(&mut tx)?;
        releases.write_receipt(&mut tx)?;
        releases.open_bundles(spaces, records, &mut tx)?;
        releases.announce_ready(&mut tx);
        Ok(())
    }
}
