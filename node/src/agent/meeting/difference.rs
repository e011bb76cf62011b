//! Finding which envelopes the other lacks, part by part: a part is one urgency class of one space,
//! the most urgent first.
//!
//! Of a part that differs, the side with fewer envelopes speaks and the other listens. The speaker
//! sends symbols ([`sync::riblt`]), as many as the two sketches say are enough, or its list of
//! words where that is shorter or the difference large. The listener asks for more until it knows
//! the difference, then says which words it wants; what the speaker lacks it sends by itself. So
//! both know what to send after one and a half round trips: digests, symbols, wants.

use std::collections::{BTreeMap, BTreeSet};

use clinical::Urgency;
use protocol::defence::{self, Defence};
use protocol::frame::{Frame, PartDigest, PartIds, PartMore, PartSymbols, PartWanted, SpaceParts};
use protocol::limits::{
    IDS_PER_FRAME_MAX, IDS_PER_MEETING_MAX, PARTS_PER_MEETING_MAX, SYMBOLS_PER_PART_MAX,
};
use protocol::{DeviceId, EnvelopeId, SpaceId, always};
use sync::reconcile::{MeetingKey, read_short_ids, write_short_ids};
use sync::riblt::{Decoder, SHORT_ID_BYTES, SKETCH_BYTES, estimate, first_batch, sketch, symbols};

use super::talk::{End, refuse};
use crate::store::{Store, StoreError};

/// A space and a class of urgency, the most urgent first.
pub(super) type Part = (u8, SpaceId);
/// Beyond this estimate the list is sent: it is not much longer, and needs no luck.
const SYMBOLS_WORTH_MAX: usize = 1500;
/// What one frame of requests counts for, at least, against the ids of a meeting.
const WANTED_COST_MIN: usize = 128;
/// Walks over one part's envelopes that a meeting may cost: one for every batch of symbols and
/// every frame of requests that an honest phone sends.
const WALKS_PER_PART_MAX: u32 = 40;
const CLASSES: [Urgency; 3] = [Urgency::Pink, Urgency::Yellow, Urgency::Green];

/// Words and ids of one part, as they are durable here.
pub(super) type Words = Vec<(u64, EnvelopeId)>;

/// Enough of a word to ask for it by: who is asked knows the whole, and sends the other one too
/// should two begin alike.
fn half(word: u64) -> [u8; 4] {
    (word as u32).to_le_bytes()
}

/// What the listener of a part has heard.
struct Hearing {
    ours: Words,
    symbols: Decoder,
    list: BTreeSet<u64>,
    list_bytes: u64,
}

/// What is known of the difference.
#[derive(Default)]
pub(super) struct Difference {
    ours: BTreeMap<Part, PartDigest>,
    theirs: BTreeMap<Part, PartDigest>,
    /// All that either side has named: frames about them say which by its number here.
    parts: Vec<Part>,
    hearing: BTreeMap<Part, Hearing>,
    /// Symbols sent of parts in which this side speaks; `None` once the list was sent.
    speaking: BTreeMap<Part, Option<usize>>,
    ids_heard: usize,
    /// Envelopes that the other lacks, as far as is known.
    pub(super) lacking: Vec<(Part, EnvelopeId)>,
    /// How often more was asked for, part by part.
    mores: BTreeMap<Part, u32>,
    /// How often all of a part was walked over for the other, part by part.
    walks: BTreeMap<Part, u32>,
    /// Envelopes that the other has asked for.
    wanted: BTreeSet<(Part, EnvelopeId)>,
    /// What was walked over last: requests come one after another.
    last_walk: Option<(Part, Words)>,
}

/// Everything held of these spaces by part.
fn words_by_part(
    spaces: &BTreeSet<SpaceId>,
    key: &MeetingKey,
    store: &dyn Store,
) -> Result<BTreeMap<Part, Words>, StoreError> {
    let mut parts: BTreeMap<Part, Words> = BTreeMap::new();
    for space in spaces {
        for (id, urgency) in store.envelope_ids(*space)? {
            let class = CLASSES
                .iter()
                .position(|c| *c == urgency)
                .unwrap_or_default();
            parts
                .entry((class as u8, *space))
                .or_default()
                .push((key.short_id(&id), id));
        }
    }
    Ok(parts)
}

/// Digests of all parts of these spaces that hold anything.
pub(super) fn digests(
    spaces: &BTreeSet<SpaceId>,
    key: &MeetingKey,
    with_sketch: bool,
    store: &dyn Store,
) -> Result<BTreeMap<Part, PartDigest>, StoreError> {
    let parts = words_by_part(spaces, key, store)?;
    let digest = |(part, words): (Part, Words)| {
        let digest = PartDigest {
            class: part.0,
            count: words.len() as u64,
            digest: key.digest(words.iter().map(|(_, id)| id)),
            sketch: if with_sketch {
                sketch(words.iter().map(|(word, _)| *word)).to_vec()
            } else {
                Vec::new()
            },
        };
        (part, digest)
    };
    Ok(parts.into_iter().map(digest).collect())
}

/// The same as they are said, space by space.
pub(super) fn by_space(digests: &BTreeMap<Part, PartDigest>) -> Vec<SpaceParts> {
    let mut spaces: BTreeMap<SpaceId, Vec<PartDigest>> = BTreeMap::new();
    for ((_, space), digest) in digests {
        spaces.entry(*space).or_default().push(digest.clone());
    }
    spaces
        .into_iter()
        .map(|(space, parts)| SpaceParts { space, parts })
        .collect()
}

/// Takes in what the other says of a space, within limits.
pub(super) fn hear(said: SpaceParts, heard: &mut BTreeMap<Part, PartDigest>) -> Result<(), End> {
    for digest in said.parts {
        if usize::from(digest.class) >= CLASSES.len() || heard.len() >= PARTS_PER_MEETING_MAX {
            return refuse("more spaces than a meeting may have");
        }
        if digest.count as usize > IDS_PER_MEETING_MAX {
            return refuse("more envelopes than a phone may hold");
        }
        heard.insert((digest.class, said.space), digest);
        always!(heard.len() <= PARTS_PER_MEETING_MAX);
    }
    Ok(())
}

impl Difference {
    pub(super) fn say_ours(&mut self, ours: BTreeMap<Part, PartDigest>) {
        self.ours = ours;
    }

    pub(super) fn hear_theirs(&mut self, said: SpaceParts) -> Result<(), End> {
        hear(said, &mut self.theirs)
    }

    fn part(&self, number: u64) -> Result<Part, End> {
        let part = usize::try_from(number)
            .ok()
            .and_then(|number| self.parts.get(number))
            .copied();
        part.map_or_else(|| refuse("a part that nobody has named"), Ok)
    }

    /// What is held of a part, within the work that one meeting may cost.
    fn walk(&mut self, part: Part, key: &MeetingKey, store: &dyn Store) -> Result<&Words, End> {
        if self
            .last_walk
            .as_ref()
            .is_none_or(|(last, _)| *last != part)
        {
            let walks = self.walks.entry(part).or_default();
            *walks += 1;
            let count = self.ours.get(&part).map_or(0, |ours| ours.count);
            let most = WALKS_PER_PART_MAX.saturating_add((count / IDS_PER_FRAME_MAX as u64) as u32);
            if *walks > most && defence::stands(Defence::BoundedWork) {
                return refuse("it asks for the same again and again");
            }
            let held = words_by_part(&BTreeSet::from([part.1]), key, store)?
                .remove(&part)
                .unwrap_or_default();
            self.last_walk = Some((part, held));
        }
        match &self.last_walk {
            Some((_, words)) => Ok(words),
            None => refuse("a part that nobody has named"),
        }
    }

    fn number(&self, part: &Part) -> u64 {
        let number = self.parts.binary_search(part);
        always!(number.is_ok(), "only what was named is spoken of");
        number.unwrap_or_default() as u64
    }

    fn counts(&self, part: &Part) -> (u64, u64) {
        let count = |side: &BTreeMap<Part, PartDigest>| side.get(part).map_or(0, |d| d.count);
        (count(&self.ours), count(&self.theirs))
    }

    /// Parts that either side named and that are not the same.
    pub(super) fn differing(&self) -> Vec<Part> {
        let same = |part: &Part| {
            let digest =
                |side: &BTreeMap<Part, PartDigest>| side.get(part).map(|d| (d.count, d.digest));
            digest(&self.ours) == digest(&self.theirs)
        };
        self.parts
            .iter()
            .filter(|part| !same(part))
            .copied()
            .collect()
    }

    /// Both have named what they hold: what to say of the parts in which this side speaks.
    pub(super) fn begin(
        &mut self,
        us: DeviceId,
        them: DeviceId,
        key: &MeetingKey,
        store: &dyn Store,
    ) -> Result<Vec<Frame>, StoreError> {
        let mut frames = Vec::new();
        self.parts = self
            .ours
            .keys()
            .chain(self.theirs.keys())
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let differing = self.differing();
        let mut held = words_by_part(
            &differing.iter().map(|(_, space)| *space).collect(),
            key,
            store,
        )?;
        for part in differing {
            let ours = held.remove(&part).unwrap_or_default();
            let (our_count, their_count) = self.counts(&part);
            if (our_count, us) > (their_count, them) {
                let symbols = Decoder::new(key.checker());
                let hearing = Hearing {
                    ours,
                    symbols,
                    list: BTreeSet::new(),
                    list_bytes: 0,
                };
                self.hearing.insert(part, hearing);
                if their_count == 0 {
                    self.resolve(part, &BTreeSet::new(), true, &mut frames);
                }
                continue;
            }
            always!(our_count <= their_count, "who has fewer speaks");
            let guess = self.guess(&part);
            let batch = first_batch(guess);
            let far_apart = (their_count - our_count) * 5 > their_count;
            if far_apart || guess > SYMBOLS_WORTH_MAX || ours.len() <= batch {
                self.say_list(part, &ours, &mut frames);
            } else {
                self.say_symbols(part, &ours, batch, &mut frames);
            }
        }
        let mut heard = self.hearing.keys();
        always!(heard.all(|part| !self.speaking.contains_key(part)));
        Ok(frames)
    }

    /// About how much a part differs, by the sketches if there are any.
    fn guess(&self, part: &Part) -> usize {
        let sketch = |side: &BTreeMap<Part, PartDigest>| {
            side.get(part)
                .and_then(|d| <[u8; SKETCH_BYTES]>::try_from(d.sketch.as_slice()).ok())
        };
        let (ours, theirs) = self.counts(part);
        let least = ours.abs_diff(theirs) as usize;
        match (sketch(&self.ours), sketch(&self.theirs)) {
            (Some(a), Some(b)) => estimate(&a, &b).max(least).max(1),
            _ => least + 16,
        }
    }

    /// Says the words that were counted: others may have come since from a third phone, and are at
    /// the end.
    fn say_list(&mut self, part: Part, ours: &Words, frames: &mut Vec<Frame>) {
        self.speaking.insert(part, None);
        let number = self.number(&part);
        let counted = ours.get(..self.counts(&part).0 as usize).unwrap_or(ours);
        for chunk in counted.chunks(IDS_PER_FRAME_MAX) {
            let ids = write_short_ids(chunk.iter().map(|(word, _)| *word));
            frames.push(Frame::PartIds(PartIds { part: number, ids }));
        }
    }

    fn say_symbols(&mut self, part: Part, ours: &Words, count: usize, frames: &mut Vec<Frame>) {
        let first = self.speaking.get(&part).copied().flatten().unwrap_or(0);
        let cells = symbols(ours.iter().map(|(word, _)| *word), first, first + count);
        always!(cells.len() == count, "as many as are noted");
        always!(
            first + count <= SYMBOLS_PER_PART_MAX,
            "no more than are taken"
        );
        self.speaking.insert(part, Some(first + count));
        let cells = write_short_ids(cells);
        frames.push(Frame::PartSymbols(PartSymbols {
            part: self.number(&part),
            first: first as u64,
            cells,
        }));
    }

    pub(super) fn handle_symbols(&mut self, said: &PartSymbols) -> Result<Vec<Frame>, End> {
        let part = self.part(said.part)?;
        let Some(hearing) = self.hearing.get_mut(&part) else {
            return refuse("symbols that nobody waits for");
        };
        let Some(theirs) = read_short_ids(&said.cells) else {
            return refuse("symbols of a wrong length");
        };
        let heard = hearing.symbols.heard();
        always!(heard <= SYMBOLS_PER_PART_MAX);
        // Each batch costs a walk over all words of the part: a later one is at least as large as
        // our own phones ask for.
        let least = if heard == 0 {
            1
        } else {
            (heard / 4).min(SYMBOLS_PER_PART_MAX - heard)
        };
        if theirs.len() < least.max(1)
            || said.first != heard as u64
            || heard + theirs.len() > SYMBOLS_PER_PART_MAX
        {
            return refuse("symbols out of their place");
        }
        let ours = symbols(
            hearing.ours.iter().map(|(word, _)| *word),
            heard,
            heard + theirs.len(),
        );
        let mut frames = Vec::new();
        if hearing.symbols.take(&theirs, &ours) {
            let found = hearing.symbols.difference().clone();
            self.resolve(part, &found, false, &mut frames);
        } else {
            let heard = if hearing.symbols.false_decode() {
                PartMore::THE_LIST
            } else {
                hearing.symbols.heard() as u64
            };
            *self.mores.entry(part).or_default() += 1;
            frames.push(Frame::PartMore(PartMore {
                part: said.part,
                heard,
            }));
        }
        Ok(frames)
    }

    pub(super) fn handle_list(&mut self, said: &PartIds) -> Result<Vec<Frame>, End> {
        let part = self.part(said.part)?;
        let their_count = self.counts(&part).1;
        let Some(hearing) = self.hearing.get_mut(&part) else {
            return refuse("ids that nobody waits for");
        };
        let Some(words) = read_short_ids(&said.ids) else {
            return refuse("ids of a wrong length");
        };
        self.ids_heard += said.ids.len() / SHORT_ID_BYTES;
        hearing.list_bytes += said.ids.len() as u64;
        if self.ids_heard > IDS_PER_MEETING_MAX
            || hearing.list_bytes > their_count * SHORT_ID_BYTES as u64
        {
            return refuse("more ids than were said to be there");
        }
        hearing.list.extend(words);
        let mut frames = Vec::new();
        if hearing.list_bytes == their_count * SHORT_ID_BYTES as u64 {
            let theirs = std::mem::take(&mut hearing.list);
            self.resolve(part, &theirs, true, &mut frames);
        }
        Ok(frames)
    }

    /// The difference of a part is known: all the other's words, or only those that one side lacks.
    fn resolve(
        &mut self,
        part: Part,
        words: &BTreeSet<u64>,
        all_theirs: bool,
        frames: &mut Vec<Frame>,
    ) {
        let Some(hearing) = self.hearing.remove(&part) else {
            return;
        };
        let ours: BTreeSet<u64> = hearing.ours.iter().map(|(word, _)| *word).collect();
        let lacks = |word: &u64| words.contains(word) != all_theirs;
        self.lacking.extend(
            hearing
                .ours
                .iter()
                .filter(|(word, _)| lacks(word))
                .map(|(_, id)| (part, *id)),
        );
        let wanted: Vec<u64> = words.difference(&ours).copied().collect();
        let part = self.number(&part);
        for chunk in wanted.chunks(IDS_PER_FRAME_MAX) {
            let ids = chunk.iter().flat_map(|word| half(*word)).collect();
            frames.push(Frame::PartWanted(PartWanted { part, ids }));
        }
    }

    /// The listener needs more of a part.
    pub(super) fn handle_more(
        &mut self,
        more: &PartMore,
        key: &MeetingKey,
        store: &dyn Store,
    ) -> Result<Vec<Frame>, End> {
        let part = self.part(more.part)?;
        let Some(Some(sent)) = self.speaking.get(&part).copied() else {
            return refuse("a request for more of nothing");
        };
        let the_list = more.heard == PartMore::THE_LIST;
        if !the_list && more.heard != sent as u64 {
            return refuse("a request for more before all was heard");
        }
        *self.mores.entry(part).or_default() += 1;
        let held = self.walk(part, key, store)?.clone();
        let mut frames = Vec::new();
        let again = sent / 4 + 8;
        if the_list
            || sent + again > SYMBOLS_WORTH_MAX.min(held.len()) * 3 / 2
            || sent + again > SYMBOLS_PER_PART_MAX
        {
            self.say_list(part, &held, &mut frames);
        } else {
            self.say_symbols(part, &held, again, &mut frames);
        }
        Ok(frames)
    }

    pub(super) fn handle_wanted(
        &mut self,
        wanted: &PartWanted,
        key: &MeetingKey,
        store: &dyn Store,
    ) -> Result<(), End> {
        let part = self.part(wanted.part)?;
        let (halves, []) = wanted.ids.as_chunks::<4>() else {
            return refuse("ids of a wrong length");
        };
        let words: BTreeSet<[u8; 4]> = halves.iter().copied().collect();
        if words.is_empty() {
            return refuse("a request for nothing");
        }
        // A frame costs a walk over all that is held: many small ones are as dear as large ones.
        self.ids_heard += words.len().max(WANTED_COST_MIN);
        if !self.speaking.contains_key(&part) || self.ids_heard > IDS_PER_MEETING_MAX {
            return refuse("wants that nobody asked for");
        }
        if !defence::stands(Defence::BoundedWork) {
            self.last_walk = None;
        }
        let held = self.walk(part, key, store)?;
        let wanted: Vec<_> = held
            .iter()
            .filter(|(w, _)| words.contains(&half(*w)))
            .map(|(_, id)| (part, *id))
            .collect();
        // Each once, however often it is asked for.
        let more = wanted
            .into_iter()
            .filter(|want| self.wanted.insert(*want))
            .collect::<Vec<_>>();
        self.lacking.extend(more);
        Ok(())
    }

    /// How often one part's finding went back and forth beyond the first time, at most.
    pub(super) fn mores(&self) -> u32 {
        self.mores.values().copied().max().unwrap_or(0)
    }

    /// Nothing more is to be heard before this side knows what it wants.
    pub(super) fn heard_all(&self) -> bool {
        self.hearing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::store::EnvelopeStore;
    use protocol::{Area, CaseId, DeviceKeys};
    use sync::space::SpaceKey;
    use sync::{envelope::Contents, envelope::seal};

    use super::*;
    use crate::MemoryStore;

    /// H6 of the review, and its control: small requests, now for one part and now for another, each
    /// cost a walk over all that is held.
    #[test]
    fn h6_wishes_for_the_same_again_and_again_end_the_meeting() {
        let walks = || {
            let (keys, key) = (
                DeviceKeys::from_seed([1; 32]),
                MeetingKey::from_nonces(&[1; 16], &[2; 16]),
            );
            let mut store = MemoryStore::default();
            let areas = ["north", "south"].map(|name| Area::parse(name).unwrap());
            for (area, n) in areas.iter().zip(1..) {
                let contents = Contents {
                    case: CaseId([n; 16]),
                    changes: Vec::new(),
                };
                let space_key = SpaceKey::new(area.clone(), [5; 32]);
                let envelope = seal(&contents, &space_key, Urgency::Pink, &keys, [n; 24]).unwrap();
                store.put_envelope(&envelope, area).unwrap();
            }
            let spaces = areas.iter().map(SpaceId::of).collect();
            let ours = digests(&spaces, &key, true, &store).unwrap();
            let theirs = by_space(&ours);
            let mut difference = Difference::default();
            difference.say_ours(ours);
            for mut said in theirs {
                said.parts[0].count = 100;
                assert!(difference.hear_theirs(said).is_ok());
            }
            difference
                .begin(DeviceId([1; 32]), DeviceId([2; 32]), &key, &store)
                .unwrap();
            for n in 0..190u64 {
                let want = PartWanted {
                    part: n % 2,
                    ids: vec![7; 4],
                };
                if difference.handle_wanted(&want, &key, &store).is_err() {
                    break;
                }
            }
            difference.walks.values().sum::<u32>()
        };
        assert!(walks() <= 2 * (WALKS_PER_PART_MAX + 1));
        assert_eq!(defence::without(Defence::BoundedWork, walks), 190);
    }

    #[test]
    fn what_a_third_phone_brings_between_count_and_list_is_not_said() {
        let (keys, area, key) = (
            DeviceKeys::from_seed([1; 32]),
            Area::default(),
            MeetingKey::from_nonces(&[1; 16], &[2; 16]),
        );
        let space_key = SpaceKey::new(area.clone(), [5; 32]);
        let spaces = BTreeSet::from([space_key.space()]);
        let mut store = MemoryStore::default();
        let bring = |store: &mut MemoryStore, n: u8| {
            let contents = Contents {
                case: CaseId([n; 16]),
                changes: Vec::new(),
            };
            let envelope = seal(&contents, &space_key, Urgency::Pink, &keys, [n; 24]).unwrap();
            store.put_envelope(&envelope, &area).unwrap();
        };
        (0..3).for_each(|n| bring(&mut store, n));
        let ours = digests(&spaces, &key, true, &store).unwrap();
        let mut theirs = by_space(&ours);
        theirs[0].parts[0].count = 100;
        let mut difference = Difference::default();
        difference.say_ours(ours);
        assert!(difference.hear_theirs(theirs.remove(0)).is_ok());
        bring(&mut store, 9);
        let said = difference
            .begin(DeviceId([1; 32]), DeviceId([2; 32]), &key, &store)
            .unwrap();
        assert!(
            matches!(said.as_slice(), [Frame::PartIds(list)] if list.ids.len() == 3 * SHORT_ID_BYTES),
            "{said:?}"
        );
    }
}
