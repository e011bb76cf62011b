//! Certificates made anew: given to a phone whose own end soon, and taken for this one.

use protocol::limits::RENEWAL_DAYS;
use protocol::{Certificate, Chain, DeviceId, Signed, VerifiedChain, always};
use sync::envelope::author_key;

use super::Phone;
use super::meeting::trust::short_chain;
use crate::store::{Setting, Store, StoreError};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

impl Phone {
    /// Certificates that the phone `peer` may not have yet: those that this phone has issued and
    /// that end soon, made anew; newer ones that it carries (a ministry certifies in bulk when its
    /// keys change); or, where none counts any more, those that this phone has issued, under its
    /// own newer ones. `theirs` is what the other goes by, if anything.
    pub(super) fn renewed_for(
        &mut self,
        peer: &DeviceId,
        theirs: &[u8],
        store: &mut dyn Store,
    ) -> Result<Option<Chain>, StoreError> {
        let mut own: Vec<_> = self.authors(author_key(peer), store)?;
        own.retain(|(chain, lost)| chain.device == *peer && !lost);
        if self.spaces.is_revoked(peer, &self.own) {
            return Ok(None);
        }
        if own.is_empty() {
            let passed_on = self.passed_on(peer, store)?;
            if let Some(chain) = &passed_on {
                self.spaces.keep_chain(chain, store)?;
            }
            return Ok(passed_on.map(|chain| chain.chain().clone()));
        }
        let floor_s = self.own.floor_s();
        let ends = |chain: &VerifiedChain| chain.expires_s.unwrap_or(u64::MAX);
        let Some((newest, _)) = own.iter().max_by_key(|(chain, _)| ends(chain)) else {
            return Ok(None);
        };
        let soon = ends(newest) < floor_s.saturating_add(RENEWAL_DAYS * DAY_S);
        let mine = newest.chain().issuer() == Some(self.own.keys.id());
        if soon
            && mine
            && let Some(renewed) = self.renew(newest, floor_s)
        {
            always!(renewed.device == *peer);
            always!(ends(&renewed) > ends(newest), "it holds for longer");
            self.spaces.keep_chain(&renewed, store)?;
            return Ok(Some(renewed.chain().clone()));
        }
        let known = own
            .iter()
            .find(|(chain, _)| short_chain(&chain.id()) == theirs);
        let longer = known.is_none_or(|(chain, _)| ends(chain) < ends(newest));
        Ok(Some(newest.chain().clone()).filter(|_| longer && short_chain(&newest.id()) != theirs))
    }

    /// What this phone has certified `peer` for, under this phone's own certificates of today: the
    /// ones above may have been made anew since.
    fn passed_on(
        &self,
        peer: &DeviceId,
        store: &dyn Store,
    ) -> Result<Option<VerifiedChain>, StoreError> {
        let Some(own) = &self.own.certificate else {
            return Ok(None);
        };
        let kept = store.chains(author_key(peer))?.into_iter().rev();
        let mut under_own = kept.filter_map(|bytes| {
            let chain = Chain::from_bytes(&bytes).ok()?;
            let last = (chain.issuer() == Some(self.own.keys.id()))
                .then(|| chain.certificates.last().cloned())??;
            self.judge(&own.chain().extended(last))?.ok()
        });
        Ok(under_own.find(|chain| chain.device == *peer))
    }

    /// The same certificate for another term, if this phone may still give it.
    fn renew(&self, chain: &VerifiedChain, floor_s: u64) -> Option<VerifiedChain> {
        let own = self.own.certificate.as_ref()?;
        let issued = chain.chain().certificates.last()?.read().ok()?;
        let term_s = issued.expires_s?.saturating_sub(issued.issued_s).max(DAY_S);
        let ends = own
            .expires_s
            .unwrap_or(u64::MAX)
            .min(floor_s.saturating_add(term_s));
        let renewed = Certificate {
            issued_s: floor_s,
            expires_s: Some(ends),
            ..issued.clone()
        };
        if renewed.expires_s <= issued.expires_s {
            return None;
        }
        let chain = own.chain().extended(Signed::by(&renewed, &self.own.keys));
        self.judge(&chain)?.ok()
    }

    /// Certificates of this phone itself, from another: taken if they hold for the same post and
    /// for longer, or if those that are held count no more.
    pub(super) fn take_renewed(
        &mut self,
        chain: VerifiedChain,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let counts = |held: &VerifiedChain| {
            let same = (&held.area, held.rights, held.passes_on)
                == (&chain.area, chain.rights, chain.passes_on);
            let longer = chain.expires_s.unwrap_or(u64::MAX) > held.expires_s.unwrap_or(u64::MAX);
            (same && longer) || !matches!(self.judge(held.chain()), Some(Ok(_)))
        };
        let was_enrolled = store.setting(&Setting::chain())?.is_some();
        if chain.device != self.own.keys.id()
            || !was_enrolled
            || !self.own.certificate.as_ref().is_none_or(counts)
        {
            return Ok(());
        }
        self.spaces.keep_chain(&chain, store)?;
        store.put_setting(&Setting::chain(), &chain.chain().to_bytes())?;
        self.own.certificate = Some(chain);
        self.out.changed();
        let (_, _, releases, mut tx) = self.parts(store);
        releases.write_receipt(&mut tx)
    }
}
