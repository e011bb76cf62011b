//! How much a meeting may carry: cases always, bundles as far as the link and the time go; and how
//! much may be held of one author, so that nobody's words crowd out everybody's.

use std::collections::BTreeMap;

use distribution::spread::Budget;
use protocol::defence::{self, Defence};
use protocol::limits::{
    ENVELOPE_BYTES_PER_AUTHOR_MAX, ENVELOPES_HELD_MAX, ENVELOPES_PER_AUTHOR_MAX, KEEPER_SHARES,
    NOTICES_PER_AUTHOR_MAX, QUARANTINED_PER_AUTHOR_MAX,
};
use protocol::{Now, Right, VerifiedChain, always};
use sync::envelope::AuthorKey;
use sync::{EnvelopeKind, VerifiedEnvelope};

use crate::store::{AuthorUsage, Store, StoreError};

/// What is held of each author of whom something has come in this meeting, and of all together.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    usage: BTreeMap<AuthorKey, AuthorUsage>,
    held: Option<u64>,
}

impl Budgets {
    /// Whether there is room for an envelope of this author.
    pub(super) fn room_for(
        &mut self,
        envelope: &VerifiedEnvelope,
        author: &VerifiedChain,
        lost: bool,
        store: &dyn Store,
    ) -> Result<bool, StoreError> {
        let held = match self.held {
            Some(held) => held,
            None => *self.held.insert(store.envelope_count()?),
        };
        if held >= ENVELOPES_HELD_MAX {
            return Ok(false);
        }
        if !defence::stands(Defence::AuthorBudgets) {
            return Ok(true);
        }
        let usage = match self.usage.get(&envelope.author) {
            Some(usage) => *usage,
            None => *self
                .usage
                .entry(envelope.author)
                .or_insert(store.usage_of(envelope.author)?),
        };
        let shares = if author.rights.has(Right::Grant) {
            KEEPER_SHARES
        } else {
            1
        };
        let count = match envelope.kind {
            EnvelopeKind::Changes => usage.envelopes < ENVELOPES_PER_AUTHOR_MAX * shares,
            EnvelopeKind::Notice => usage.notices < NOTICES_PER_AUTHOR_MAX * shares,
        };
        let bytes = usage.bytes.saturating_add(envelope.bytes().len() as u64);
        let waits = !lost || usage.quarantined < QUARANTINED_PER_AUTHOR_MAX;
        Ok(count && waits && bytes <= ENVELOPE_BYTES_PER_AUTHOR_MAX * shares)
    }

    /// It was taken in.
    pub(super) fn count(&mut self, envelope: &VerifiedEnvelope, lost: bool) {
        self.held = self.held.map(|held| held.saturating_add(1));
        always!(self.held.is_none_or(|held| held <= ENVELOPES_HELD_MAX));
        let usage = self.usage.entry(envelope.author).or_default();
        usage.envelopes += u64::from(envelope.kind == EnvelopeKind::Changes);
        usage.notices += u64::from(envelope.kind == EnvelopeKind::Notice);
        usage.bytes = usage.bytes.saturating_add(envelope.bytes().len() as u64);
        usage.quarantined += u64::from(lost);
        let most = ENVELOPE_BYTES_PER_AUTHOR_MAX * KEEPER_SHARES;
        always!(usage.bytes <= most || !defence::stands(Defence::AuthorBudgets));
    }
}

/// What kind of link two phones have (see the design's table of radios).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkClass {
    /// Any IP network: 1–20 MB/s and more.
    Ip,
    /// Bluetooth LE: 20–140 kB/s.
    Bluetooth,
}

impl LinkClass {
    /// Which of two is faster: the greater one.
    pub(in crate::agent) fn speed(self) -> u8 {
        match self {
            LinkClass::Bluetooth => 0,
            LinkClass::Ip => 1,
        }
    }
}

/// What a fresh link may move of bundles. Bluetooth: what the median chance meeting of four minutes
/// can move at 35 kB/s.
pub(super) fn of_link(class: LinkClass, now: Now) -> Budget {
    match class {
        LinkClass::Ip => Budget::new(8 << 30, 30, now),
        LinkClass::Bluetooth => Budget::new(8 << 20, 8, now),
    }
}
