//! What a screen shows of a case, folded from its entries: the same entries, the same view,
//! whatever the order in which they came.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use clinical::catalogue::{merge_of, rank};
use clinical::{FindingValue, Merge, Urgency};
use protocol::defence::{self, Defence};
use protocol::{CaseId, DeviceId};

use crate::case::Record;
use crate::entry::{AssessmentEntry, DecisionEntry, DoseEntry, Entry, PhotoEntry, Stamp};

/// In the place of rules and model, in a decision that came by a file.
pub const IMPORTED: &str = "imported";

/// A finding as it stands, after everyone has spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingState {
    /// The value to go by.
    pub value: FindingValue,
    /// What stands differs: a question for a person.
    pub disputed: bool,
    /// The words that stand, oldest first.
    pub standing: Vec<(Stamp, FindingValue)>,
    /// Everything that was said about it, oldest first.
    pub said: Vec<(Stamp, FindingValue)>,
}

/// A dose, and who has said that it was not given after all.
#[derive(Debug, Clone, PartialEq)]
pub struct Dose {
    /// What names it in this case.
    pub key: String,
    /// Who said that it was given.
    pub stamp: Stamp,
    /// What was given.
    pub dose: DoseEntry,
    /// Who took it back, oldest first, and why.
    pub taken_back: Vec<(Stamp, String)>,
}

impl Dose {
    /// What names it for people: eight hexadecimal digits.
    pub fn id(&self) -> String {
        protocol::Digest::of(self.key.as_bytes()).short()
    }

    /// What names it wherever it is written down: who said it, in which place, and what.
    pub fn identity(&self) -> String {
        let DoseEntry {
            medicine,
            amount,
            unit,
            ..
        } = &self.dose;
        format!(
            "{}/{}/{medicine}/{amount}/{unit}",
            self.stamp.by, self.stamp.order
        )
    }

    /// Whether it counts: nobody has taken it back.
    pub fn counts(&self) -> bool {
        self.taken_back.is_empty()
    }
}

/// A case as a screen shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseView {
    /// The case.
    pub id: CaseId,
    /// Findings by name.
    pub findings: BTreeMap<String, FindingState>,
    /// All assessments, oldest first.
    pub assessments: Vec<(Stamp, AssessmentEntry)>,
    /// The most urgent assessment on which nobody has decided who had seen it.
    pub undecided: Option<Urgency>,
    /// Who began the case, or each of the cases that are one patient's.
    pub began: BTreeSet<DeviceId>,
    /// All decisions, oldest first; none is ever dropped.
    pub decisions: Vec<(Stamp, DecisionEntry)>,
    /// All doses, oldest first; those that were taken back too.
    pub doses: Vec<Dose>,
    /// All notes, oldest first.
    pub notes: Vec<(Stamp, String)>,
    /// To whose care it was given: device ids, as text. `None` while nobody has handed it on.
    pub care: Option<FindingState>,
    /// From whom to whom it went, oldest first, and why.
    pub handovers: Vec<(Stamp, DeviceId, String)>,
    /// Other cases that people have found to be the same patient's (`true`) or not.
    pub links: BTreeMap<CaseId, FindingState>,
    /// Other cases of the patient's whose entries are in this view.
    pub beside: Vec<CaseId>,
    /// All photos, oldest first.
    pub photos: Vec<(Stamp, PhotoEntry)>,
    /// Entries of kinds that this version does not know, in words: kept and carried, and shown
    /// without being understood.
    pub newer: Vec<String>,
}

/// What people can differ about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About<'a> {
    /// A finding.
    Finding(&'a str),
    /// Whether another case is the same patient's.
    Link(CaseId),
    /// Who cares for the case.
    Care,
}

/// One word about something.
struct Word<'a> {
    key: &'a str,
    stamp: Stamp,
    value: Cow<'a, FindingValue>,
    predecessors: &'a [String],
    settles: bool,
}

impl<'a> About<'a> {
    /// What an entry speaks about and what it says, if people can differ about it.
    fn of(entry: &'a Entry) -> Option<(Self, Cow<'a, FindingValue>)> {
        let yes_no = |yes| {
            if yes {
                FindingValue::Yes
            } else {
                FindingValue::No
            }
        };
        match entry {
            Entry::Finding { name, value } | Entry::Settled { name, value } => {
                Some((Self::Finding(name), Cow::Borrowed(value)))
            }
            Entry::Link { other, same } => Some((Self::Link(*other), Cow::Owned(yes_no(*same)))),
            Entry::Handover { to, .. } => {
                Some((Self::Care, Cow::Owned(FindingValue::Text(to.to_string()))))
            }
            Entry::Assessment(_)
            | Entry::Decision(_)
            | Entry::Dose(_)
            | Entry::NotGiven { .. }
            | Entry::Note(_)
            | Entry::Photo(_) => None,
        }
    }

    /// The rule for words about it; of a finding, where versions differ, that of the first value
    /// known.
    fn merge(self, words: &[Word<'_>]) -> Merge {
        match self {
            Self::Link(_) => Merge::Consent, // where people differ, two cases stay two
            Self::Care => Merge::Latest,
            Self::Finding(name) => {
                let known = words
                    .iter()
                    .map(|w| w.value.as_ref())
                    .find(|v| **v != FindingValue::Unknown);
                merge_of(name, known.unwrap_or(&FindingValue::Unknown))
            }
        }
    }
}

impl Word<'_> {
    /// Whether this word takes the place of `other` about the same.
    fn supersedes(&self, other: &Word<'_>, merge: Merge) -> bool {
        self.predecessors.iter().any(|key| key == other.key) && self.supersedes_seen(other, merge)
    }

    /// The same of a word that this one was said over.
    fn supersedes_seen(&self, other: &Word<'_>, merge: Merge) -> bool {
        if self.key <= other.key {
            return false; // concurrent: both stand. Nobody has seen what comes later: no ring of words supersedes them all
        }
        let (unknown, other_unknown) = (
            *self.value == FindingValue::Unknown,
            *other.value == FindingValue::Unknown,
        );
        if merge == Merge::Kept && !self.settles {
            return other_unknown; // not even by who said it: that is a question to settle
        }
        if self.stamp.by == other.stamp.by {
            return self.settles || !unknown || other_unknown; // everyone may take back what they said themselves; not to know is no word against it
        }
        match (self.settles, unknown, merge) {
            (true, ..) => true,
            (false, true, _) => other_unknown,
            (false, _, Merge::Sign) => *other.value != FindingValue::Yes,
            (false, _, Merge::Words | Merge::Kept) => other_unknown,
            (false, _, Merge::Worst(choices)) => {
                rank(choices, &self.value) >= rank(choices, &other.value)
            }
            (false, _, Merge::Latest | Merge::Consent) => true,
        }
    }
}

fn by_subject(records: &[Record]) -> BTreeMap<About<'_>, Vec<Word<'_>>> {
    protocol::always!(records.is_sorted_by(|a, b| a.key <= b.key), "oldest first");
    let mut words: BTreeMap<About<'_>, Vec<Word<'_>>> = BTreeMap::new();
    for record in records {
        let Some((about, value)) = About::of(&record.entry) else {
            continue;
        };
        let settles = matches!(record.entry, Entry::Settled { .. });
        let word = Word {
            key: &record.key,
            stamp: record.stamp,
            value,
            predecessors: &record.predecessors,
            settles,
        };
        words.entry(about).or_default().push(word);
    }
    words
}

/// The words that no later one has taken the place of. One pass over what each word was said over,
/// whatever their number.
fn standing<'a, 'r>(words: &'a [Word<'r>], merge: Merge) -> Vec<&'a Word<'r>> {
    if !defence::stands(Defence::BoundedWork) {
        return words
            .iter()
            .filter(|word| !words.iter().any(|other| other.supersedes(word, merge)))
            .collect();
    }
    let by_key: BTreeMap<&str, &Word<'_>> = words.iter().map(|word| (word.key, word)).collect();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    for word in words {
        for earlier in word.predecessors {
            if let Some(other) = by_key
                .get(earlier.as_str())
                .filter(|other| word.supersedes_seen(other, merge))
            {
                gone.insert(other.key);
            }
        }
    }
    words
        .iter()
        .filter(|word| !gone.contains(word.key))
        .collect()
}

/// Words that one word is said over, at most: the last ones. Of more, some go on standing, which is
/// a question and no loss.
const OVER_MAX: usize = 256;

/// What the next words are said over: the keys of the words that stand about the same, and for a
/// decision those of the assessments that nobody has decided on yet.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    words: BTreeMap<About<'a>, Vec<String>>,
    undecided: Vec<String>,
}

/// The assessments on which nobody has decided who had seen them.
fn undecided(records: &[Record]) -> impl Iterator<Item = &Record> {
    let decided = |record: &&Record| matches!(record.entry, Entry::Decision(_));
    let covered: BTreeSet<&str> = records
        .iter()
        .filter(decided)
        .flat_map(|r| &r.predecessors)
        .map(String::as_str)
        .collect();
    let assessed = |record: &&Record| matches!(record.entry, Entry::Assessment(_));
    records
        .iter()
        .filter(assessed)
        .filter(move |record| !covered.contains(record.key.as_str()))
}

impl<'a> Standing<'a> {
    /// Of these records, in the order of their keys.
    pub(crate) fn of(records: &'a [Record]) -> Self {
        let keys = |(about, words): (About<'a>, Vec<Word<'_>>)| {
            (
                about,
                standing(&words, about.merge(&words))
                    .iter()
                    .map(|w| w.key.to_owned())
                    .collect(),
            )
        };
        let undecided = undecided(records)
            .map(|record| record.key.clone())
            .collect();
        Self {
            words: by_subject(records).into_iter().map(keys).collect(),
            undecided,
        }
    }

    /// What this entry is said over.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(crate) fn under(&self, entry: &Entry) -> Vec<String> {
        match entry {
            Entry::Decision(_) => self.undecided.clone(),
            _ => {
                let seen = About::of(entry).and_then(|(about, _)| self.words.get(&about));
                let seen = seen.map(Vec::as_slice).unwrap_or_default();
                protocol::always!(seen.is_sorted(), "the last are the latest");
                seen.iter()
                    .skip(seen.len().saturating_sub(OVER_MAX))
                    .cloned()
                    .collect()
            }
        }
    }
}

/// Whether words say that there is nothing: beside others, that is a question and no answer.
pub(crate) fn denies(words: &str) -> bool {
    let words = words.trim().to_lowercase();
    let none = [
        "none",
        "no ",
        "nil",
        "nka",
        "nkda",
        "not known",
        "hakuna",
        "aucun",
        "ninguna",
        "nenhuma",
    ];
    words == "no" || none.iter().any(|start| words.starts_with(start))
}

fn settle(about: About<'_>, words: &[Word<'_>]) -> FindingState {
    let merge = about.merge(words);
    let standing = standing(words, merge);
    protocol::always!(!standing.is_empty() || words.is_empty());
    let (mut known, mut seen): (Vec<&FindingValue>, BTreeSet<String>) =
        (Vec::new(), BTreeSet::new());
    for word in &standing {
        let text = matches!(*word.value, FindingValue::Text(_));
        if *word.value != FindingValue::Unknown
            && seen.insert(format!("{text} {}", word.value.words()))
        {
            known.push(&word.value);
        }
    }
    let latest = standing
        .iter()
        .rev()
        .map(|w| w.value.as_ref())
        .find(|v| **v != FindingValue::Unknown);
    let latest = latest.cloned().unwrap_or(FindingValue::Unknown);
    let (value, disputed) = match merge {
        _ if known.len() < 2 => (latest, false),
        Merge::Sign if known.contains(&&FindingValue::Yes) => (FindingValue::Yes, true),
        Merge::Consent if known.contains(&&FindingValue::No) => (FindingValue::No, true),
        Merge::Worst(choices) => {
            let worst = known
                .iter()
                .max_by_key(|value| rank(choices, value))
                .map(|value| (*value).clone());
            (worst.unwrap_or(latest), true)
        }
        Merge::Sign | Merge::Consent | Merge::Latest => (latest, true),
        Merge::Words | Merge::Kept => {
            let denied = merge == Merge::Kept && known.iter().any(|value| denies(&value.words()));
            (
                FindingValue::Text(
                    known
                        .iter()
                        .map(|v| v.words())
                        .collect::<Vec<_>>()
                        .join(" · "),
                ),
                denied,
            )
        }
    };
    let pairs = |words: &[&Word<'_>]| {
        words
            .iter()
            .map(|w| (w.stamp, w.value.as_ref().clone()))
            .collect()
    };
    FindingState {
        value,
        disputed,
        standing: pairs(&standing),
        said: pairs(&words.iter().collect::<Vec<_>>()),
    }
}

impl CaseView {
    /// The records of one document, or of several that are one patient's. Links are those of all of
    /// them.
    pub(crate) fn fold(id: CaseId, documents: Vec<Vec<Record>>, newer: Vec<String>) -> Self {
        let several = documents.len() > 1;
        let began = documents.iter().filter_map(|records| records.first());
        let began = began.map(|record| record.stamp.by).collect();
        let mut records = documents.concat();
        records.sort_by(|a, b| a.key.cmp(&b.key));
        let count = records.len();
        let (mut findings, mut links, mut care) = (BTreeMap::new(), BTreeMap::new(), None);
        for (about, words) in by_subject(&records) {
            let state = settle(about, &words);
            match about {
                About::Finding(name) => drop(findings.insert(name.to_owned(), state)),
                About::Link(other) => drop(links.insert(other, state)),
                About::Care => care = Some(state),
            }
        }
        let mut view = Self {
            id,
            findings,
            assessments: Vec::new(),
            undecided: undecided(&records).filter_map(Record::urgency).max(),
            began,
            decisions: Vec::new(),
            doses: Vec::new(),
            notes: Vec::new(),
            handovers: Vec::new(),
            links,
            beside: Vec::new(),
            care,
            photos: Vec::new(),
            newer,
        };
        let mut taken_back = Vec::new();
        for Record {
            key, stamp, entry, ..
        } in records
        {
            match entry {
                Entry::Finding { .. } | Entry::Settled { .. } | Entry::Link { .. } => {}
                Entry::Assessment(assessment) => view.assessments.push((stamp, assessment)),
                Entry::Decision(decision) => view.decisions.push((stamp, decision)),
                Entry::Dose(dose) => {
                    view.doses.push(Dose {
                        key,
                        stamp,
                        dose,
                        taken_back: Vec::new(),
                    });
                }
                Entry::NotGiven { dose, reason } => taken_back.push((dose, stamp, reason)),
                Entry::Note(words) => view.notes.push((stamp, words)),
                Entry::Handover { to, reason } => view.handovers.push((stamp, to, reason)),
                Entry::Photo(photo) => view.photos.push((stamp, photo)),
            }
        }
        let by_key: BTreeMap<String, usize> = view
            .doses
            .iter()
            .enumerate()
            .map(|(n, d)| (d.key.clone(), n))
            .collect();
        protocol::always!(view.entry_count() + taken_back.len() == count);
        for (dose, stamp, reason) in taken_back {
            if let Some(dose) = by_key.get(&dose).and_then(|n| view.doses.get_mut(*n)) {
                dose.taken_back.push((stamp, reason));
            }
        }
        view.fold_copies(several);
        view
    }

    /// What came by a file and by a meeting too is one dose, one note and one decision: a copy
    /// names what it is a copy of.
    fn fold_copies(&mut self, several: bool) {
        let there: BTreeSet<String> = self
            .doses
            .iter()
            .flat_map(|dose| [dose.key.clone(), dose.identity()])
            .collect();
        let mut copies = BTreeSet::new();
        self.doses.retain(|dose| {
            let origin = dose.dose.origin.as_str();
            origin.is_empty() || (!there.contains(origin) && copies.insert(origin.to_owned()))
        });
        if several {
            let (mut notes, mut decisions) = (BTreeSet::new(), Vec::new());
            self.notes.retain(|(_, note)| notes.insert(note.clone()));
            self.decisions.retain(|(_, d)| {
                let said = (d.urgency, d.plan.clone(), d.reason.clone());
                let copy = d.rules == IMPORTED && decisions.contains(&said);
                decisions.push(said);
                !copy
            });
        }
    }

    /// The most urgent that any decision says, or any assessment on which nobody has decided who
    /// had seen it: a danger that was found since, or apart, is not decided yet.
    pub fn urgency(&self) -> Option<Urgency> {
        self.decisions
            .iter()
            .map(|(_, d)| d.urgency)
            .chain(self.undecided)
            .max()
    }

    /// Other cases that people have found to be this patient's, by what is said in any of them.
    pub fn same_as(&self) -> impl Iterator<Item = CaseId> {
        let said = self.links.iter();
        let said = said.filter(|(_, state)| state.value == FindingValue::Yes);
        let said = said.map(|(other, _)| *other).filter(|id| *id != self.id);
        let named: BTreeSet<_> = said.chain(self.beside.iter().copied()).collect();
        named.into_iter()
    }

    /// Whether the patient, or who speaks for the patient, has consented to this use: `share`,
    /// `photo`, `training`, `care`. What is not known is no consent.
    pub fn consents(&self, to: &str) -> bool {
        self.findings
            .get(&format!("consent.{to}"))
            .is_some_and(|f| f.value == FindingValue::Yes)
    }

    /// Questions that a person must settle: findings, links to other cases, and who cares for the
    /// case, where people differ.
    pub fn question_count(&self) -> usize {
        let others = self
            .links
            .values()
            .chain(&self.care)
            .filter(|state| state.disputed);
        self.questions().count() + others.count()
    }

    /// Findings about which people differ.
    pub fn questions(&self) -> impl Iterator<Item = (&String, &FindingState)> {
        self.findings.iter().filter(|(_, state)| state.disputed)
    }

    /// Who cares for this case: to whom it was handed last, or who began it. Several, where it was
    /// handed to several apart.
    pub fn responsible(&self) -> Vec<DeviceId> {
        if let Some(care) = &self.care {
            let is_phone = |to: &FindingValue| to.words().parse::<DeviceId>().is_ok();
            protocol::always!(care.standing.iter().all(|(_, to)| is_phone(to)));
            let standing = care
                .standing
                .iter()
                .filter_map(|(_, value)| value.words().parse().ok());
            return standing.collect::<BTreeSet<_>>().into_iter().collect();
        }
        self.began.iter().copied().collect()
    }

    /// Whether the case has an outcome, and nobody says otherwise.
    pub fn closed(&self) -> bool {
        let ended = |(_, value): &(Stamp, FindingValue)| match value {
            FindingValue::Text(outcome) => outcome != "under_treatment",
            FindingValue::Unknown => true,
            FindingValue::Yes | FindingValue::No | FindingValue::Number(_) => false,
        };
        self.findings
            .get("outcome")
            .is_some_and(|s| s.value != FindingValue::Unknown && s.standing.iter().all(ended))
    }

    /// The doses given of each medicine and not taken back: how many, and how much in each unit.
    pub fn doses_given(&self) -> BTreeMap<(&str, &str), (usize, f64)> {
        let mut given = BTreeMap::new();
        for Dose { dose, .. } in self.doses.iter().filter(|dose| dose.counts()) {
            let (count, amount) = given
                .entry((dose.medicine.as_str(), dose.unit.as_str()))
                .or_insert((0, 0.0));
            *count += 1;
            *amount += dose.amount;
        }
        given
    }

    /// Entries in all, of kinds that this version knows.
    pub fn entry_count(&self) -> usize {
        let said: usize = self.findings.values().map(|f| f.said.len()).sum();
        said + self.assessments.len()
            + self.decisions.len()
            + self
                .doses
                .iter()
                .map(|dose| 1 + dose.taken_back.len())
                .sum::<usize>()
            + self.notes.len()
            + self.handovers.len()
            + self
                .links
                .values()
                .map(|state| state.said.len())
                .sum::<usize>()
            + self.photos.len()
    }
}
