//! Parcels: what comes by a card, a folder or an attachment is taken in as a meeting would take it,
//! but that nothing in it ends the rest.

use std::collections::BTreeMap;

use protocol::frame::CarriedReceipt;
use protocol::{BundleId, Chain, Right};
use sync::Envelope;

use super::Phone;
use super::commands::{Answer, Reply, no};
use super::io::Event;
use super::meeting::cases::Intake;
use super::meeting::receipts;
use super::meeting::talk::End;
use crate::api::Refusal;
use crate::store::{Store, StoreError};

/// Sealed things that came by a file, or some of them: signatures inside say whose they are.
#[derive(Debug, Clone, Default)]
pub struct Parcel {
    /// Certificates of those whose words follow.
    pub chains: Vec<Chain>,
    /// Receipts of phones.
    pub receipts: Vec<CarriedReceipt>,
    /// Envelopes, in the order in which they were taken in by whoever wrote them down.
    pub envelopes: Vec<Vec<u8>>,
}

/// What came of one thing in a parcel, where only our own store ends it all.
fn passed_over(taken: Result<(), End>) -> Result<u64, StoreError> {
    match taken {
        Ok(()) => Ok(0),
        Err(End::Refuse(_)) => Ok(1),
        Err(End::Store(error)) => Err(error),
    }
}

impl Phone {
    /// A file has been put among the bundles from outside, whole.
    pub(super) fn imported(
        &mut self,
        id: BundleId,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        self.releases.bundles.remove(&id);
        self.look_at_bundles(store)?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn doubted(
        &mut self,
        id: BundleId,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let (_, _, releases, mut tx) = self.parts(store);
        releases.doubt(id, &mut tx)?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn parcels_taken(&mut self, store: &mut dyn Store) -> Result<Answer, StoreError> {
        self.after_meeting(store)?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn take_parcel(
        &mut self,
        parcel: Parcel,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(own) = self.own.certificate.as_ref() else {
            return no(Refusal::NotCertified);
        };
        if !own.rights.has(Right::Carry) && !own.rights.has(Right::Read) {
            return no(Refusal::MayNotCarry);
        }
        let mut intake = Intake::of_parcel();
        let mut nothing = 0;
        for chain in &parcel.chains {
            nothing += passed_over(intake.take_chain(chain, self, store))?;
        }
        let held = store.receipts()?.into_iter();
        let held: BTreeMap<_, _> = held.map(|(device, number, _)| (device, number)).collect();
        for receipt in &parcel.receipts {
            nothing += passed_over(receipts::take_one(receipt, &held, self, store))?;
        }
        let parsed = parcel.envelopes.into_iter().map(Envelope::parse);
        let (good, bad): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
        nothing += bad.len() as u64;
        let good = good.into_iter().flatten().collect();
        nothing += passed_over(intake.take(good, self, store))?;
        nothing += intake.passed_over + intake.refused.unwrap_or_default();
        if intake.taken > 0 {
            let envelopes = intake.taken;
            self.out.event(Event::CasesChanged { envelopes });
        }
        Ok(Ok(Reply::Taken(intake.taken, nothing)))
    }
}
