//! Envelopes are opened behind a durable mark: what brings the program down while it is opened is
//! suspected, opened alone the next time, and parked after the second.

use protocol::defence::{self, Defence};
use protocol::{EnvelopeId, always};
use sync::{Envelope, EnvelopeKind, SpaceKey};

use super::Records;
use crate::agent::spaces::Spaces;
use crate::agent::tx::Tx;
use crate::store::{Aside, Store, StoreError};

/// Beginnings without an end after which an envelope is parked.
const OPENINGS_MAX: u8 = 2;

/// Whether an envelope is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    Now,
    /// Another one is being opened alone.
    Later,
    Never,
}

impl Records {
    /// Envelopes are about to be opened: what they hold may bring the program down, and this mark
    /// outlives that. `true`: whoever asked is to say when they were opened; else somebody else
    /// will.
    pub(in crate::agent) fn begin_opening(
        &mut self,
        ids: impl IntoIterator<Item = EnvelopeId>,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        let ids: Vec<_> = ids.into_iter().collect();
        if !defence::stands(Defence::OpeningMark) || ids.is_empty() {
            return Ok(false);
        }
        let first = self.opening.is_none();
        let mut marked = self.opening.take().unwrap_or_else(|| self.suspects.clone());
        always!(
            !first || self.opening_alone.is_none(),
            "no opening is left over"
        );
        if first {
            // What was suspected before is opened alone, so that nothing honest falls with it.
            let may = |id: &&EnvelopeId| {
                self.suspects
                    .get(id)
                    .is_some_and(|count| *count < OPENINGS_MAX)
            };
            self.opening_alone = ids.iter().find(may).copied();
        }
        match self.opening_alone {
            Some(id) => {
                marked.insert(
                    id,
                    self.suspects
                        .get(&id)
                        .copied()
                        .unwrap_or_default()
                        .saturating_add(1),
                );
            }
            None => {
                for id in &ids {
                    marked.entry(*id).or_insert(1);
                }
            }
        }
        let named = |id: EnvelopeId| marked.contains_key(&id);
        always!(
            self.opening_alone.is_none_or(named),
            "what is opened is marked"
        );
        store.put_attempts(&marked)?;
        self.opening = Some(marked);
        Ok(first)
    }

    /// They were opened, and the program still stands.
    pub(in crate::agent) fn end_opening(
        &mut self,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        if self.opening.take().is_none() {
            return Ok(());
        }
        if let Some(id) = self.opening_alone.take() {
            self.suspects.remove(&id);
        }
        store.put_attempts(&self.suspects)
    }

    /// Opens one of the envelopes that had to wait while another was opened alone.
    pub(in crate::agent) fn open_waiting(
        &mut self,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let waiting = tx.store.quarantined()?.into_iter();
        let mut waiting = waiting.filter(|(_, why)| *why == Aside::Alone);
        match waiting.next() {
            Some((id, _)) => self.open_alone(&id, spaces, tx),
            None => {
                self.some_wait = false;
                Ok(())
            }
        }
    }

    /// Whether an envelope is to be opened now; what brought the program down twice is parked, and
    /// what is suspected waits for its turn.
    fn opens_now(&self, id: &EnvelopeId) -> Opens {
        match self.suspects.get(id) {
            _ if !defence::stands(Defence::OpeningMark) => Opens::Now,
            None => match self.opening_alone {
                Some(_) => Opens::Later,
                None => Opens::Now,
            },
            Some(count) if *count >= OPENINGS_MAX => Opens::Never,
            Some(_) if self.opening_alone == Some(*id) => Opens::Now,
            Some(_) => Opens::Later,
        }
    }

    /// Whether an envelope may be opened now. If not, it is set aside, and why is written down.
    pub(in crate::agent) fn may_open(
        &mut self,
        id: &EnvelopeId,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        match self.opens_now(id) {
            Opens::Now => return Ok(true),
            Opens::Never => store.put_quarantine(id, &Aside::Parked)?,
            Opens::Later => {
                store.put_quarantine(id, &Aside::Alone)?;
                self.some_wait = true;
            }
        }
        Ok(false)
    }

    /// Opens what waited for somebody to vouch for it, if it waits still.
    pub(in crate::agent) fn open_late(
        &mut self,
        id: &EnvelopeId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let aside = tx.store.quarantined()?;
        let waits = aside
            .iter()
            .any(|(held, why)| held == id && *why == Aside::Late);
        match waits {
            true => self.open_alone(id, spaces, tx),
            false => Ok(()),
        }
    }

    /// Opens an envelope that was set aside, behind a mark of its own.
    fn open_alone(
        &mut self,
        id: &EnvelopeId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let outermost = self.begin_opening([*id], tx.store)?;
        self.open_quarantined(id, spaces, tx)?;
        match outermost {
            true => self.end_opening(tx.store),
            false => Ok(()),
        }
    }

    fn open_quarantined(
        &mut self,
        id: &EnvelopeId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        tx.store.remove_quarantine(id)?;
        let Some(Ok(envelope)) = tx.store.envelope(id)?.map(Envelope::parse) else {
            return Ok(());
        };
        let authors = spaces.authors(envelope.author, tx.own, tx.store)?;
        let judged = authors
            .iter()
            .find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain)));
        match judged {
            Some((verified, chain)) if verified.kind == EnvelopeKind::Notice => {
                spaces.apply_notice(&verified, chain, tx)
            }
            Some((verified, _)) => self.open_envelope(&verified, spaces, tx),
            None => Ok(()),
        }
    }

    /// Opens what has been carried of a key's epoch.
    pub(in crate::agent) fn open_carried(
        &mut self,
        key: &SpaceKey,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let epoch = key.epoch_tag();
        let mut rows = tx.store.envelope_rows(key.space())?;
        rows.retain(|row| row.epoch == epoch && row.bytes > 0);
        // Within a meeting's frame the mark is there already; else what was carried for this key is
        // marked now.
        let outermost = self.begin_opening(rows.iter().map(|row| row.id), tx.store)?;
        for row in rows {
            self.open_row(&row.id, spaces, tx)?;
        }
        match outermost {
            true => self.end_opening(tx.store),
            false => Ok(()),
        }
    }

    fn open_row(
        &mut self,
        id: &EnvelopeId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let Some(Ok(envelope)) = tx.store.envelope(id)?.map(Envelope::parse) else {
            return Ok(());
        };
        let authors = spaces.authors(envelope.author, tx.own, tx.store)?;
        let judged = authors
            .into_iter()
            .find_map(|(chain, lost)| Some((envelope.clone().verify(&chain).ok()?, lost)));
        match judged {
            Some((verified, lost)) if !lost || spaces.vouched_for(&verified, tx.own) => {
                self.open_envelope(&verified, spaces, tx)
            }
            Some((verified, _)) => tx.store.put_quarantine(&verified.id, &Aside::Late),
            None => Ok(()),
        }
    }
}
