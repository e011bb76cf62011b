//! A case: one Automerge document per patient, behind a type of our own.
//!
//! Everything ever said about a patient is an *entry* that is added and never changed: a finding, an assessment, a
//! decision. Each lies under a key of its own at the root of the document, so two phones never write the same place and
//! no entry can be lost by a merge; what a screen shows is folded from the entries by [`Case::view`].
//!
//! ```text
//! root map
//!   "schema"                          1
//!   "<order, 16 hex>-<actor, 32 hex>-<n>"   map { kind, by, at, … }
//! ```
//! Automerge panics on some malformed input (measured, see the design), so changes from others are applied to a copy behind
//! a net, saved and loaded again before they replace anything. A case that does not survive this is left as it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, Change, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value};
use protocol::limits::{CASE_BYTES_MAX, TEXT_CHARS_MAX};
use protocol::{CaseId, DeviceId};

mod fields;

/// How soon: the colours that workers are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Urgency {
    /// Treat at home.
    Green = 0,
    /// Treat, or see soon.
    Yellow = 1,
    /// Refer urgently.
    Pink = 2,
}

impl Urgency {
    /// The urgency of a byte on an envelope.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Urgency::Green, Urgency::Yellow, Urgency::Pink].into_iter().find(|u| *u as u8 == byte)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Urgency::Green => "green",
            Urgency::Yellow => "yellow",
            Urgency::Pink => "pink",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Urgency::Green, Urgency::Yellow, Urgency::Pink].into_iter().find(|u| u.name() == text)
    }
}

/// What was found. Unknown is a value of its own and never "no".
#[derive(Clone, PartialEq)]
pub enum FindingValue {
    /// Asked or looked for, and there.
    Yes,
    /// Asked or looked for, and not there.
    No,
    /// Not known: not asked, not measured, no answer.
    Unknown,
    /// A measurement, in the finding's unit.
    Number(f64),
    /// One of the finding's choices, or free words.
    Text(String),
}

/// Prints the kind only: what a patient said or has belongs in no log.
impl std::fmt::Debug for FindingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FindingValue::Yes | FindingValue::No | FindingValue::Unknown => "Answer(…)",
            FindingValue::Number(_) => "Number(…)",
            FindingValue::Text(_) => "Text(…)",
        })
    }
}

/// What rules and model said, as it was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct AssessmentEntry {
    /// The urgency shown.
    pub urgency: Urgency,
    /// Ids of the rules that fired or could not be cleared, with their editions.
    pub rules_fired: Vec<String>,
    /// The model's differential: `code probability`, most likely first.
    pub differential: Vec<String>,
    /// The rule pack: profile and edition.
    pub rules: String,
    /// The model: version and digest, or `none`.
    pub model: String,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionEntry {
    /// The urgency decided.
    pub urgency: Urgency,
    /// Whether it is what the assessment said.
    pub agrees: bool,
    /// Why, in words; needed when it does not agree.
    pub reason: String,
    /// What is to be done: treat, refer, follow up.
    pub plan: String,
    /// The rule pack that was seen.
    pub rules: String,
    /// The model that was seen.
    pub model: String,
}

/// One thing said about a patient.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A finding by its name.
    Finding {
        /// The finding's id in the rule pack, or `patient.…` for the head of the record.
        name: String,
        /// What was found.
        value: FindingValue,
    },
    /// An assessment.
    Assessment(AssessmentEntry),
    /// A decision.
    Decision(DecisionEntry),
}

/// Who said it, when by their clock, and after what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Larger than that of every entry its author had seen (Lamport's clock); wall clocks order nothing.
    pub order: u64,
    /// The author.
    pub by: DeviceId,
    /// Seconds since 1970 by the author's clock, a claim.
    pub at_s: u64,
}

/// Why a case cannot be opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// Automerge refused, or panicked, or the result did not load again. The case stays as it was.
    #[error("changes that this phone cannot take in: {0}")]
    Poisoned(String),
    /// Larger than any case may be.
    #[error("the case has grown to {0} bytes, over the limit")]
    TooLong(usize),
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
        Self { id, doc: AutoCommit::new() }
    }

    /// Opens a case from the bytes of [`Case::save`].
    pub fn load(id: CaseId, bytes: &[u8]) -> Result<Self, CaseError> {
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

    /// Adds entries as one change by `by`, and returns that change for sealing. `actor` is this installation's own
    /// random name, never reused after a restore (two histories under one name would lose one of them).
    pub fn add(
        &mut self,
        entries: &[Entry],
        by: DeviceId,
        actor: &[u8; 16],
        at_s: u64,
    ) -> Result<Vec<Vec<u8>>, CaseError> {
        self.doc.set_actor(ActorId::from(&actor[..]));
        let before = self.doc.get_heads();
        let order = self.entries().iter().map(|(stamp, _)| stamp.order).max().unwrap_or(0).saturating_add(1);
        let stamp = Stamp { order, by, at_s };
        let refused = |e: automerge::AutomergeError| CaseError::Poisoned(e.to_string());
        if self.doc.get(ROOT, "schema").map_err(refused)?.is_none() {
            self.doc.put(ROOT, "schema", 1).map_err(refused)?;
        }
        for (n, entry) in entries.iter().enumerate() {
            let key = format!("{order:016x}-{}-{n}", CaseId(*actor));
            let object = self.doc.put_object(ROOT, key, ObjType::Map).map_err(refused)?;
            fields::write(&mut self.doc, &object, &stamp, entry).map_err(refused)?;
        }
        self.doc.commit_with(CommitOptions::default().with_time(i64::try_from(at_s).unwrap_or(i64::MAX)));
        Ok(self.doc.get_changes(&before).iter().map(|c| c.raw_bytes().to_vec()).collect())
    }

    /// Takes in changes from others, in any order and any number of times. On any trouble the case is as before.
    pub fn apply(&mut self, changes: &[impl AsRef<[u8]>]) -> Result<(), CaseError> {
        let mut copy = self.doc.clone();
        let (merged, bytes) = guarded(|| {
            let changes = changes.iter().map(|c| parse_change(c.as_ref())).collect::<Result<Vec<_>, _>>()?;
            copy.apply_changes(changes).map_err(|e| e.to_string())?;
            let bytes = copy.save();
            let reloaded = AutoCommit::load(&bytes).map_err(|e| format!("it does not load again: {e}"))?;
            Ok((reloaded, bytes.len()))
        })?;
        if bytes > CASE_BYTES_MAX {
            return Err(CaseError::TooLong(bytes));
        }
        self.doc = merged;
        Ok(())
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> Vec<(Stamp, Entry)> {
        let mut entries: Vec<_> = self
            .doc
            .keys(ROOT)
            .filter_map(|key| match self.doc.get(ROOT, &key) {
                Ok(Some((Value::Object(ObjType::Map), object))) => fields::read(&self.doc, &object).map(|e| (key, e)),
                _ => None,
            })
            .collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// What a screen shows.
    pub fn view(&self) -> CaseView {
        CaseView::fold(self.id, self.entries())
    }
}

/// Runs what may panic inside Automerge.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, CaseError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(CaseError::Poisoned),
        Err(_) => Err(CaseError::Poisoned("Automerge panicked on it".into())),
    }
}

/// Reads one change. Automerge does not check the checksum of a bare change and inflates compressed ones without a limit,
/// so both are settled here: chunk type 1 (plain) only, and the first bytes of its hash as the checksum says.
fn parse_change(bytes: &[u8]) -> Result<Change, String> {
    if bytes.get(8) != Some(&1) {
        return Err("not a plain change".into());
    }
    let change = Change::from_bytes(bytes.to_vec()).map_err(|e| e.to_string())?;
    if bytes.get(4..8) != Some(&change.hash().0[..4]) {
        return Err("a change whose checksum does not hold".into());
    }
    Ok(change)
}

/// A finding as it stands, after everyone has spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingState {
    /// The value to go by.
    pub value: FindingValue,
    /// Two people found different things: a question for a person.
    pub disputed: bool,
    /// Everything that was said about it, oldest first.
    pub said: Vec<(Stamp, FindingValue)>,
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
    /// All decisions, oldest first; none is ever dropped.
    pub decisions: Vec<(Stamp, DecisionEntry)>,
}

impl CaseView {
    fn fold(id: CaseId, entries: Vec<(Stamp, Entry)>) -> Self {
        let mut view = Self { id, findings: BTreeMap::new(), assessments: Vec::new(), decisions: Vec::new() };
        let mut said: BTreeMap<String, Vec<(Stamp, FindingValue)>> = BTreeMap::new();
        for (stamp, entry) in entries {
            match entry {
                Entry::Finding { name, value } => said.entry(name).or_default().push((stamp, value)),
                Entry::Assessment(assessment) => view.assessments.push((stamp, assessment)),
                Entry::Decision(decision) => view.decisions.push((stamp, decision)),
            }
        }
        view.findings = said.into_iter().map(|(name, said)| (name, settle(said))).collect();
        view
    }

    /// The most urgent that any decision, or else any assessment, says.
    pub fn urgency(&self) -> Option<Urgency> {
        let decided = self.decisions.iter().map(|(_, d)| d.urgency).max();
        decided.or_else(|| self.assessments.iter().map(|(_, a)| a.urgency).max())
    }
}

/// The value to go by: each author's latest word counts; unknown yields to anything known; among different authors a *yes*
/// stands over a *no* (a sign once seen stays seen), otherwise the latest. Different known words are a dispute.
fn settle(said: Vec<(Stamp, FindingValue)>) -> FindingState {
    let mut latest: BTreeMap<DeviceId, &(Stamp, FindingValue)> = BTreeMap::new();
    said.iter().for_each(|word| {
        latest.insert(word.0.by, word);
    });
    let mut known: Vec<_> = latest.values().filter(|(_, v)| *v != FindingValue::Unknown).collect();
    known.sort_by_key(|(stamp, _)| *stamp);
    let disputed = known.windows(2).any(|w| matches!(w, [a, b] if a.1 != b.1));
    let yes = known.iter().find(|(_, v)| *v == FindingValue::Yes);
    let value = yes.or(known.last()).map_or(FindingValue::Unknown, |(_, v)| v.clone());
    FindingState { value, disputed, said }
}

/// Cuts free text to its limit.
pub fn clip(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
