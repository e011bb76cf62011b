//! What has reached whom. A phone that was in step with this one holds all that this one held then;
//! a clinic says openly which envelopes have come, and couriers carry that back. What has arrived
//! may make room on a courier's phone for what has not; what has not arrived never does.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Area, BundleKind, DeviceId, Right, SpaceId, always};
use sync::Notice;
use sync::envelope::{AuthorKey, author_key};
use sync::notice::{short, short_photo};

use super::Phone;
use super::load::load_number;
use super::records::photos_taken_here;
use crate::store::{EnvelopeRow, Family, Setting, Store, StoreError};

/// Ids in one notice.
const DELIVERED_PER_NOTICE_MAX: usize = 7000;

impl Phone {
    /// Says which sealed envelopes have come to this phone since it last said so, where it keeps
    /// the space; and which photos.
    pub(super) fn note_delivered(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if !self.own.may(Right::Grant) || !self.own.may(Right::Read) {
            return Ok(());
        }
        for area in self.spaces.areas_read() {
            self.note_delivered_in(&area, store)?;
        }
        self.note_photos(store)
    }

    fn note_delivered_in(&mut self, area: &Area, store: &mut dyn Store) -> Result<(), StoreError> {
        let space = SpaceId::of(area);
        let noted = load_number(&Setting::noted(space), store)?;
        if store.last_position(space)? <= noted {
            return Ok(());
        }
        let own = author_key(&self.own.id());
        let waits: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        let mut rows = store.envelope_rows(space)?;
        rows.retain(|row| {
            let news = row.position > noted && row.author != own && row.bytes > 0;
            news && !waits.contains(&row.id)
        });
        let arrived: Vec<_> = rows.iter().map(|row| short(&row.id)).collect();
        for some in arrived.chunks(DELIVERED_PER_NOTICE_MAX) {
            let notice = Notice {
                delivered: some.concat(),
                ..Notice::about(area)
            };
            let (spaces, _, _, mut tx) = self.parts(store);
            spaces.say(&notice, &mut tx)?;
        }
        let last = store.last_position(space)?;
        always!(last > noted, "what was noted only grows");
        store.put_setting(&Setting::noted(space), &last.to_le_bytes())
    }

    /// Says which sealed photos have come to this phone whole, where it keeps the space and others
    /// took them.
    fn note_photos(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let taken_here = photos_taken_here(store)?;
        let (spaces, _, releases, mut tx) = self.parts(store);
        let mut news: BTreeMap<Area, Vec<u8>> = BTreeMap::new();
        for (id, bundle) in &releases.bundles {
            let here = id.kind == BundleKind::Photo && bundle.whole;
            if !here || taken_here.contains(&id.digest) || spaces.photo_arrived(&id.digest) {
                continue;
            }
            let photo = spaces.photo(&id.digest);
            let Some(photo) = photo.filter(|photo| spaces.reads(&photo.area)) else {
                continue;
            };
            let said = news.entry(photo.area.clone()).or_default();
            if said.len() < 8 * DELIVERED_PER_NOTICE_MAX {
                said.extend(short_photo(&id.digest));
            }
        }
        for (area, photos) in news {
            always!(photos.len() <= 8 * DELIVERED_PER_NOTICE_MAX);
            let notice = Notice {
                photos,
                ..Notice::about(&area)
            };
            if tx.own.keeps(&area) {
                spaces.say(&notice, &mut tx)?;
            }
        }
        Ok(())
    }

    /// A courier evicts the bytes of what has arrived, oldest and least urgent first, until they
    /// fit its quota.
    pub(super) fn evict_delivered(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let quota = self.records.carry_quota_bytes;
        if quota == u64::MAX {
            return Ok(());
        }
        let own = author_key(&self.own.id());
        for space in store.spaces()? {
            let mut held = space.bytes;
            let deliveries = &self.spaces.deliveries;
            if self.spaces.reads(&space.area) || held <= quota {
                continue;
            }
            let urgency: BTreeMap<_, _> = store.envelope_ids(space.space)?.into_iter().collect();
            let mut spare = store.envelope_rows(space.space)?;
            spare.retain(|row| {
                let arrived = deliveries.of(&row.id).next().is_some();
                row.bytes > 0 && row.author != own && arrived
            });
            spare.sort_by_key(|row| (urgency.get(&row.id).copied(), row.position));
            for row in spare {
                if held <= quota {
                    break;
                }
                store.evict(&row.id)?;
                held -= row.bytes;
            }
        }
        Ok(())
    }
}

/// Something of an author has come at this meeting.
pub(super) fn heard_of(author: AuthorKey, store: &mut dyn Store) -> Result<(), StoreError> {
    let meeting = load_number(&Setting::meetings(), store)? + 1;
    if load_number(&Setting::heard(&author), store)? != meeting {
        store.put_setting(&Setting::heard(&author), &meeting.to_le_bytes())?;
    }
    Ok(())
}

/// Which of this phone's meetings last brought something of each author.
pub fn heard(store: &dyn Store) -> Result<Vec<(AuthorKey, u64)>, StoreError> {
    let mut heard = Vec::new();
    for (author, value) in store.settings(&Family::heard())? {
        let author = u64::from_str_radix(&author, 16).ok();
        heard.extend(
            author
                .map(u64::to_be_bytes)
                .zip(value.try_into().ok().map(u64::from_le_bytes)),
        );
    }
    Ok(heard)
}

/// How far a case has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its sealed envelopes here.
    pub envelopes: usize,
    /// Phones that have shown that they hold all of them.
    pub held_by: BTreeSet<DeviceId>,
    /// Phones that have shown that they hold some of them, and lack the newest.
    pub held_in_part: BTreeSet<DeviceId>,
    /// Keepers that all of them have reached, by short name.
    pub reached: BTreeSet<AuthorKey>,
    /// Changes that no envelope holds yet.
    pub unsent: usize,
}

/// How far a case has come, from what phones have shown and keepers have said.
pub fn whereabouts(
    row: &crate::store::CaseRow,
    known: super::Known<'_>,
    store: &dyn Store,
) -> Result<Whereabouts, StoreError> {
    let space = SpaceId::of(&row.area);
    let mut envelopes = Vec::new();
    for tag in &row.tags {
        envelopes.extend(store.case_envelopes(space, *tag)?);
    }
    let positions = envelopes.iter().map(|e| e.position);
    let last = positions.clone().max().unwrap_or(u64::MAX);
    let first = positions.min().unwrap_or(u64::MAX);
    let cursors = store.cursors()?;
    let between = |from: u64, below: u64| {
        let here = cursors.iter().filter(move |(_, of, _)| *of == space);
        let there = here.filter(move |(_, _, at)| (from..below).contains(at));
        there.map(|(device, ..)| *device).collect()
    };
    let deliveries = &known.spaces.deliveries;
    let keepers = deliveries.phones();
    let has = |keeper: &AuthorKey, e: &EnvelopeRow| {
        e.author == *keeper || deliveries.of(&e.id).any(|said| said == *keeper)
    };
    let reached = keepers
        .into_iter()
        .filter(|k| !envelopes.is_empty() && envelopes.iter().all(|e| has(k, e)));
    Ok(Whereabouts {
        envelopes: envelopes.len(),
        held_by: between(last, u64::MAX),
        held_in_part: between(first, last),
        reached: reached.collect(),
        unsent: store
            .outbox()?
            .iter()
            .filter(|(case, _)| *case == row.id)
            .count(),
    })
}
