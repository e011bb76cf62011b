//! Envelopes are opened behind a durable mark: what brings the program down while it is opened is
//! suspected, opened alone the next time, and parked after the second.

use protocol::defence::{self, Defence};
use protocol::{EnvelopeId, Now};
use sync::{Envelope, EnvelopeKind};

use super::{LATE, Phone};
use crate::store::{Store, StoreError};

/// Why an envelope is not opened any more.
const PARKED: &str =
    "the program stopped twice while it was being opened: it is not opened any more";
/// Why an envelope is not opened yet.
const WAITS: &str = "it waits while another is opened alone";
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

impl Phone {
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
        now: Now,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let next = store
            .quarantined()?
            .into_iter()
            .find(|(_, why)| why == WAITS)
            .map(|(id, _)| id);
        let Some(id) = next else {
            self.some_wait = false;
            return Ok(());
        };
        let outermost = self.begin_opening([id], store)?;
        self.open_aside(now, &id, store)?;
        if outermost {
            self.end_opening(store)
        } else {
            Ok(())
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
            Opens::Never => store.put_quarantine(id, PARKED)?,
            Opens::Later => {
                store.put_quarantine(id, WAITS)?;
                self.some_wait = true;
            }
        }
        Ok(false)
    }

    pub(in crate::agent) fn open_countersigned(
        &mut self,
        now: Now,
        id: &EnvelopeId,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        if !store
            .quarantined()?
            .iter()
            .any(|(held, why)| held == id && why == LATE)
        {
            return Ok(());
        }
        let outermost = self.begin_opening([*id], store)?;
        self.open_aside(now, id, store)?;
        if outermost {
            self.end_opening(store)
        } else {
            Ok(())
        }
    }

    /// Opens an envelope that was set aside.
    pub(in crate::agent) fn open_aside(
        &mut self,
        now: Now,
        id: &EnvelopeId,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        store.remove_quarantine(id)?;
        let Some(Ok(envelope)) = store.envelope(id)?.map(Envelope::parse) else {
            return Ok(());
        };
        let authors = self.authors(envelope.author, store)?;
        match authors
            .iter()
            .find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain)))
        {
            Some((verified, chain)) if verified.kind == EnvelopeKind::Notice => {
                self.heed(now, &verified, chain, store)
            }
            Some((verified, _)) => self.open_envelope(now, &verified, store),
            None => Ok(()),
        }
    }
}
