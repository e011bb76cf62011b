//! A case: one Automerge document per patient, behind a type of our own.
//!
//! Everything ever said about a patient is an *entry* that is added and never changed: a finding,
//! an assessment, a decision, a dose, a note … Each lies under a key of its own at the root of the
//! document, so two phones never write the same place and no entry can be lost by a merge; what a
//! screen shows is folded from the entries by [`Case::view`] under the rules of [`schema`].
//!
//! ```text
//! root map
//!   "schema"                          1
//!   "<order, 16 hex>-<actor, 32 hex>-<n>"   map { kind, order, by, at, over, … }
//! ```
//! `over` names the words about the same field that their author had seen standing: so words said
//! apart are told from words said one after the other, without any clock. A kind of entry that this
//! version does not know stays in the document, travels on, and is shown word for word. Every
//! change is signed by the phone that its entries name ([`sign`]), whoever seals it anew or hands
//! it on. Automerge panics on some malformed input (measured, see the design), so changes from
//! others are applied to a copy behind a net, saved and loaded again before they replace anything.
//! A case that does not survive this is left as it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value};
use protocol::defence::{self, Defence};
use protocol::limits::{
    CASE_BYTES_MAX, ENTRIES_PER_AUTHOR_MAX, ENTRIES_PER_CASE_MAX, SAME_CASES_MAX,
};
use protocol::{Broken, CaseId, DeviceId, DeviceKeys, Invariant, never};
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Stamp};
use crate::view::{self, CaseView};

mod changes;
mod fields;
mod raw;

pub use changes::sign;
use changes::{only_known_chunks, parse_change, signed};

/// Why a case cannot be opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CaseError {
    /// Automerge refused, or panicked, or the result did not load again. The case stays as it was.
    #[error("changes that this phone cannot take in: {0}")]
    Poisoned(String),
    /// Larger than any case may be.
    #[error("the case has grown to {0} bytes, over the limit")]
    TooLong(usize),
    /// One phone has said more of it than a phone may.
    #[error("one phone has said {0} things of this case, more than a phone may")]
    TooMany(usize),
    /// An invariant of the house did not hold.
    #[error("{0}")]
    #[serde(skip)]
    Broken(#[from] Broken),
}

/// A case, open in memory. Keep cases closed: an open one takes about 20 KB.
pub struct Case {
    id: CaseId,
    doc: AutoCommit,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Case({})", self.id.short())
    }
}

impl Case {
    /// An empty case.
    pub fn new(id: CaseId) -> Self {
        Self {
            id,
            doc: AutoCommit::new(),
        }
    }

    /// Opens a case from the bytes of [`Case::save`].
    pub fn load(id: CaseId, bytes: &[u8]) -> Result<Self, CaseError> {
        if !only_known_chunks(bytes) {
            return Err(CaseError::Poisoned(
                "not a document of this version's".into(),
            ));
        }
        guarded(|| AutoCommit::load(bytes).map_err(|e| e.to_string())).map(|doc| Self { id, doc })
    }

    /// The case's id.
    pub fn id(&self) -> CaseId {
        self.id
    }

    /// The whole case, with changes that still wait for others.
    pub fn save(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    /// Every change of the case, in an order in which they can be taken in.
    pub fn changes(&mut self) -> Vec<Vec<u8>> {
        self.doc
            .get_changes(&[])
            .iter()
            .map(|change| change.raw_bytes().to_vec())
            .collect()
    }

    /// Adds entries as one change, signed with the keys of their author, and returns that change
    /// for sealing. `actor` is this installation's own random name, never reused after a restore
    /// (two histories under one name would lose one of them).
    pub fn add(
        &mut self,
        entries: &[Entry],
        by: &DeviceKeys,
        actor: &[u8; 16],
        at_s: u64,
    ) -> Result<Vec<Vec<u8>>, CaseError> {
        self.add_beside(entries, Some(&[]), by, actor, at_s)
    }

    /// The same by somebody who saw other cases of the same patient's beside this one: what they
    /// say is said over those too. `None`: by somebody who has seen nothing of what stands here,
    /// such as whoever wrote a file: it stands beside, as a question.
    pub fn add_beside(
        &mut self,
        entries: &[Entry],
        others: Option<&[Case]>,
        by: &DeviceKeys,
        actor: &[u8; 16],
        at_s: u64,
    ) -> Result<Vec<Vec<u8>>, CaseError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let (beside, from_file) = (others.unwrap_or_default(), others.is_none());
        let mut seen: Vec<_> = beside
            .iter()
            .chain([&*self])
            .flat_map(|case| case.records().0)
            .collect();
        seen.sort_by(|a, b| a.key.cmp(&b.key));
        let order = seen
            .iter()
            .map(|record| record.stamp.order)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        protocol::always!(seen.iter().all(|r| r.stamp.order < order) || order == u64::MAX);
        let stamp = Stamp::of(order, by.id(), (at_s, from_file));
        let standing = view::Standing::of(if others.is_some() { &seen } else { &[] });
        let before = self.doc.get_heads();
        let mut copy = self.doc.clone();
        copy.set_actor(ActorId::from(&actor[..]));
        let refused = |e: automerge::AutomergeError| CaseError::Poisoned(e.to_string());
        if copy.get(ROOT, "schema").map_err(refused)?.is_none() {
            copy.put(ROOT, "schema", 1).map_err(refused)?;
        }
        // Where somebody has said the last number of all, the next additions share it.
        let prefix = format!("{order:016x}-{}-", CaseId(*actor));
        let taken = copy.keys(ROOT).filter(|key| key.starts_with(&prefix));
        for (n, entry) in (taken.count()..).zip(entries) {
            let key = format!("{prefix}{n:04}");
            let object = copy.put_object(ROOT, key, ObjType::Map).map_err(refused)?;
            fields::write(&mut copy, &object, &stamp, entry, &standing.under(entry))
                .map_err(refused)?;
            protocol::always!(fields::comes_back(&copy, &object, &stamp, entry));
        }
        copy.commit_with(
            CommitOptions::default().with_time(i64::try_from(at_s).unwrap_or(i64::MAX)),
        );
        let made = copy
            .get_changes(&before)
            .iter()
            .map(|change| signed(self.id, change, by))
            .collect::<Result<Vec<_>, _>>();
        let made = made.map_err(CaseError::Poisoned)?;
        protocol::always!(made.len() == 1, "entries are one change");
        let bytes = made
            .iter()
            .map(|change| change.raw_bytes().to_vec())
            .collect();
        copy = self.doc.clone();
        self.doc.apply_changes(made).map_err(refused)?;
        if let Err(error) = self.within_budgets() {
            self.doc = copy;
            return Err(error);
        }
        Ok(bytes)
    }

    /// Takes in changes from others, in any order and any number of times. On any trouble the case
    /// is as before.
    pub fn apply(&mut self, changes: &[impl AsRef<[u8]>]) -> Result<(), CaseError> {
        let mut copy = self.doc.clone();
        let (merged, bytes) = guarded(|| {
            let changes = changes
                .iter()
                .map(|c| parse_change(self.id, c.as_ref()))
                .collect::<Result<Vec<_>, _>>()?;
            copy.apply_changes(changes).map_err(|e| e.to_string())?;
            let bytes = copy.save();
            let reloaded =
                AutoCommit::load(&bytes).map_err(|e| format!("it does not load again: {e}"))?;
            Ok((reloaded, bytes.len()))
        })?;
        if bytes > CASE_BYTES_MAX {
            return Err(CaseError::TooLong(bytes));
        }
        let mut before = std::mem::replace(&mut self.doc, merged);
        let (heads, doc) = (before.get_heads(), &mut self.doc);
        let lost = heads
            .iter()
            .any(|head| doc.get_change_by_hash(head).is_none());
        never!(Invariant::SameCase, lost)?; // what was merged is merged for good
        if let Err(error) = self.within_budgets() {
            self.doc = before;
            return Err(error);
        }
        protocol::always!(self.doc.length(ROOT) >= before.length(ROOT), "it grows");
        Ok(())
    }

    /// No one phone says so much of a case that others could say no more.
    fn within_budgets(&self) -> Result<(), CaseError> {
        if self.doc.length(ROOT) <= ENTRIES_PER_AUTHOR_MAX
            || !defence::stands(Defence::AuthorBudgets)
        {
            return Ok(());
        }
        let (records, newer) = self.records();
        let mut by_author: BTreeMap<DeviceId, usize> = BTreeMap::new();
        records
            .iter()
            .for_each(|record| *by_author.entry(record.stamp.by).or_default() += 1);
        let most = by_author
            .into_values()
            .max()
            .unwrap_or_default()
            .max(newer.len());
        match most <= ENTRIES_PER_AUTHOR_MAX && records.len() + newer.len() <= ENTRIES_PER_CASE_MAX
        {
            true => Ok(()),
            false => Err(CaseError::TooMany(most)),
        }
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> Vec<(Stamp, Entry)> {
        self.records()
            .0
            .into_iter()
            .map(|record| (record.stamp, record.entry))
            .collect()
    }

    /// Every entry with its place, oldest first, and in words those of kinds that this version does
    /// not know.
    fn records(&self) -> (Vec<Record>, Vec<String>) {
        let (mut records, mut newer) = (Vec::new(), Vec::new());
        for key in self.doc.keys(ROOT).filter(|key| key != "schema") {
            let Ok(Some((Value::Object(ObjType::Map), object))) = self.doc.get(ROOT, &key) else {
                continue;
            };
            match fields::read(&self.doc, &object, key) {
                Some(record) => records.push(record),
                None => newer.push(fields::in_words(&self.doc, &object)),
            }
        }
        records.sort_by(|a, b| a.key.cmp(&b.key));
        protocol::always!(records.is_sorted_by(|a, b| a.key < b.key), "no key twice");
        (records, newer)
    }

    /// What a screen shows.
    pub fn view(&self) -> CaseView {
        let (records, newer) = self.records();
        CaseView::fold(self.id, vec![records], newer)
    }

    /// This case and those that people have found to be the same patient's, as far as `load` has
    /// them. It counts whichever of the two cases says it (`named_by`: the others that name one),
    /// unless this one says itself that it is not so.
    pub fn and_same<E>(
        self,
        mut load: impl FnMut(CaseId) -> Result<Option<Case>, E>,
        mut named_by: impl FnMut(CaseId) -> Result<Vec<CaseId>, E>,
    ) -> Result<Vec<Case>, E> {
        let (mut named, mut cases) = (vec![self.id], vec![self]);
        let mut next = 0;
        while let Some(case) = cases.get(next) {
            next += 1;
            let view = case.view();
            let denied = |other: &CaseId| view.links.contains_key(other);
            let mut same: Vec<_> = view.same_as().collect();
            same.extend(named_by(view.id)?.into_iter().filter(|by| !denied(by)));
            for other in same {
                // Those that have not come here take no place of one that has.
                let room = cases.len() < SAME_CASES_MAX && named.len() < 16 * SAME_CASES_MAX;
                if !named.contains(&other) && room {
                    named.push(other);
                    cases.extend(load(other)?);
                }
            }
        }
        protocol::always!(cases.len() <= SAME_CASES_MAX.min(named.len()));
        Ok(cases)
    }

    /// What a screen shows of several cases that a person has found to be one patient's: the first
    /// names the view.
    pub fn view_of_same(cases: &[Case]) -> Option<CaseView> {
        let (records, newer): (Vec<_>, Vec<_>) = cases.iter().map(Case::records).unzip();
        let (first, others) = cases.split_first()?;
        let mut view = CaseView::fold(first.id, records, newer.concat());
        view.beside = others.iter().map(Case::id).collect();
        Some(view)
    }

    /// Changes that wait for others on which they build.
    pub fn waiting(&self) -> usize {
        self.doc.get_missing_deps(&[]).len()
    }
}

/// One entry with its place in the document and the words that its author saw standing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub key: String,
    pub stamp: Stamp,
    pub entry: Entry,
    pub predecessors: Vec<String>,
}

impl Record {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(crate) fn urgency(&self) -> Option<clinical::Urgency> {
        match &self.entry {
            Entry::Assessment(assessment) => Some(assessment.urgency),
            Entry::Decision(decision) => Some(decision.urgency),
            _ => None,
        }
    }
}

/// Runs what may panic inside Automerge.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, CaseError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(CaseError::Poisoned),
        Err(_) => Err(CaseError::Poisoned("Automerge panicked on it".into())),
    }
}

#[cfg(test)]
mod tests {
    use clinical::FindingValue;

    use super::*;

    fn finding(name: &str) -> Entry {
        let value = FindingValue::Yes;
        let name = name.to_owned();
        Entry::Finding { name, value }
    }

    /// A colleague's entry with the last number of all: whatever is added after it keeps a place of its
    /// own, and other phones take it in.
    #[test]
    fn after_the_last_number_of_all_a_case_can_still_be_added_to() {
        let keys = |n| DeviceKeys::from_seed([n; 32]);
        let mut case = Case::new(CaseId([7; 16]));
        let first = case
            .add(&[finding("cough")], &keys(1), &[1; 16], 1)
            .unwrap();
        let mut copy = case.doc.clone();
        copy.set_actor(ActorId::from(&[2; 16][..]));
        let key = format!("{:016x}-{}-0000", u64::MAX, CaseId([2; 16]));
        let object = copy.put_object(ROOT, key, ObjType::Map).unwrap();
        let (order, by, at_s) = (u64::MAX, keys(2).id(), 1);
        let from_file = false;
        let stamp = Stamp {
            order,
            by,
            at_s,
            from_file,
        };
        fields::write(&mut copy, &object, &stamp, &finding("fever"), &[]).unwrap();
        copy.commit();
        let before = case.doc.get_heads();
        let made: Vec<_> = copy.get_changes(&before);
        let made: Vec<Vec<u8>> = (made.iter())
            .map(|c| signed(case.id, c, &keys(2)).unwrap().raw_bytes().to_vec())
            .collect();
        case.apply(&made).unwrap();
        let mut all = [first, made].concat();
        for name in ["diarrhoea", "convulsions", "stiff_neck"] {
            all.extend(case.add(&[finding(name)], &keys(1), &[1; 16], 2).unwrap());
        }
        assert_eq!(case.entries().len(), 5, "nothing was written over");
        let mut other = Case::new(case.id);
        other.apply(&all).unwrap();
        assert_eq!(other.entries().len(), 5);
    }
}
