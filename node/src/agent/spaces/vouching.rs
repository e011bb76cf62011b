//! What lost phones wrote late: who vouches for it, and who says that a phone is lost.

use std::collections::{BTreeMap, BTreeSet};

use protocol::defence::{self, Defence};
use protocol::{Area, DeviceId, EnvelopeId, Right, VerifiedChain, always};
use sync::envelope::author_key;
use sync::notice::{Lost, short};
use sync::{Envelope, EnvelopeKind, Notice, VerifiedEnvelope};

use super::{Identity, Spaces, StoreError};
use crate::agent::commands::{Answer, Reply, no};
use crate::agent::tx::{Consequence, Tx};
use crate::api::Refusal;
use crate::store::Aside;

/// Ids in one countersignature.
const COUNTERSIGNED_MAX: usize = 1500;

impl Spaces {
    /// A keeper has said what has come to it: of that, what waits here may be opened.
    pub(super) fn vouch(
        &mut self,
        author: &VerifiedChain,
        notice: &Notice,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let delivered: BTreeSet<_> = notice.delivered_ids().collect();
        let strict = defence::stands(Defence::Vouchers);
        for (id, why) in tx.store.quarantined()? {
            if why != Aside::Late || !delivered.contains(&short(&id)) {
                continue;
            }
            let parsed = tx.store.envelope(&id)?.map(Envelope::parse);
            let Some(Ok(late)) = parsed else { continue };
            let vouches =
                late.kind == EnvelopeKind::Changes && late.author != author_key(&author.device);
            if vouches || !strict {
                tx.out.follow(Consequence::OpenQuarantined(id));
            }
        }
        Ok(())
    }

    /// Whether somebody above has countersigned an envelope, or a keeper that is not lost had taken
    /// it in.
    pub(in crate::agent) fn vouched_for(
        &self,
        envelope: &VerifiedEnvelope,
        own: &Identity,
    ) -> bool {
        if self.countersigned.contains(&envelope.id) {
            return true;
        }
        let strict = defence::stands(Defence::Vouchers);
        if strict && envelope.kind != EnvelopeKind::Changes {
            return false;
        }
        let mut keepers = self.deliveries.keepers(&envelope.id);
        keepers.any(|keeper| {
            !strict || (author_key(keeper) != envelope.author && !self.is_revoked(keeper, own))
        })
    }

    /// Says that a phone of an area is lost.
    pub(in crate::agent) fn revoke(
        &mut self,
        area: &Area,
        device: DeviceId,
        reason: String,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let Some(own) = &tx.own.certificate else {
            return no(Refusal::NotCertified);
        };
        if !own.rights.has(Right::Revoke) || !own.area.covers(area) {
            return no(Refusal::MayNotRevoke(area.clone()));
        }
        if device == tx.own.id() {
            return no(Refusal::RevokesItself);
        }
        if let Err(error) = protocol::codec::check_name("reason", &reason) {
            return no(Refusal::NoticeTooLong(error.to_string()));
        }
        let notice = Notice {
            revoked: vec![Lost { device, reason }],
            ..Notice::about(area)
        };
        self.say(&notice, tx)?;
        always!(
            self.lost.contains_key(&device),
            "what is said is so at once"
        );
        Ok(Ok(Reply::Done))
    }

    /// Lets in what lost phones wrote late: these envelopes, or all that wait.
    pub(in crate::agent) fn countersign(
        &mut self,
        wanted: &[EnvelopeId],
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        if !tx.own.may(Right::Grant) && !tx.own.may(Right::Enrol) {
            return no(Refusal::MayNotCountersign);
        }
        let late = tx.store.quarantined()?.into_iter();
        let late = late
            .filter(|(_, why)| *why == Aside::Late)
            .map(|(id, _)| id);
        let late: Vec<_> = late
            .filter(|id| wanted.is_empty() || wanted.contains(id))
            .collect();
        if late.is_empty() {
            return Ok(Ok(Reply::Unchanged));
        }
        let mut by_area: BTreeMap<Area, Vec<EnvelopeId>> = BTreeMap::new();
        for row in tx.store.spaces()? {
            let held = tx.store.envelope_ids(row.space)?.into_iter();
            let held: BTreeSet<_> = held.map(|(id, _)| id).collect();
            let of_space = late.iter().filter(|id| held.contains(id));
            by_area.entry(row.area).or_default().extend(of_space);
        }
        for (area, ids) in by_area {
            for some in ids.chunks(COUNTERSIGNED_MAX) {
                let notice = Notice {
                    countersigned: some.to_vec(),
                    ..Notice::about(&area)
                };
                self.say(&notice, tx)?;
                always!(some.iter().all(|id| self.countersigned.contains(id)));
            }
        }
        Ok(Ok(Reply::Done))
    }
}
