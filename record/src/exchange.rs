//! Cases as other systems read them: [`fhir`] bundles (HL7 FHIR R4), [`csv`] tables. Each is
//! written and read here; what is read becomes entries like any others.

pub mod csv;
pub mod fhir;
pub mod origin;
pub mod text;
pub mod time;
pub mod units;

use std::collections::BTreeMap;

use clinical::catalogue::{self, merge_of, rank};
use clinical::{FindingValue, Merge};
use protocol::CaseId;

use crate::entry::Entry;

/// The name of our fields and colours towards other systems.
pub const SYSTEM: &str = "https://kijiti.org/fhir/field";

/// The name of a field as a file writes it: ours, however its letters are written; a newer
/// version's only as we write names.
pub(crate) fn field_name(written: &str) -> Option<String> {
    let name: String = written.trim().to_lowercase().replace([' ', '-'], "_");
    (catalogue::field(&name).is_some() || name == written && !name.is_empty()).then_some(name)
}

/// Lines of who had said what that a case is given.
const SAID_BY_MAX: usize = 40;

/// How a note begins that says of another that its system has taken it back.
pub const TAKEN_BACK: &str = "taken back by its system: ";

/// A number, or a name, under which a system keeps a patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisterNumber {
    /// Whose it is. Two people have two numbers of one system.
    pub system: String,
    /// What it is.
    pub value: String,
}

/// A case that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The case of ours that this is a copy of, if what was read names one: never the id under
    /// which it is kept here.
    pub case: Option<CaseId>,
    /// What the file's record is known by where it comes from, so that the same file read twice is
    /// one case.
    pub known_as: Option<String>,
    /// The numbers under which systems keep the patient: by any of them a record is found again in which who the
    /// patient is was put right, or which has got another number since.
    pub numbers: Vec<RegisterNumber>,
    /// What its record is called in the file.
    pub own_id: Option<String>,
    /// The bundle in which it stands beside other patients: two of one bundle are two.
    pub beside: Option<protocol::Digest>,
    /// Doses that its system has taken back, by their origin.
    pub taken_back: Vec<String>,
    /// Of when the newest measurement of a field is, as far as it says, as [`time::moment`] counts.
    pub measured: BTreeMap<String, i64>,
    /// What it says.
    pub entries: Vec<Entry>,
    /// Who had said what in the file, by their name and time there: what is taken in becomes this
    /// phone's word.
    pub said: BTreeMap<String, Vec<String>>,
    /// What is kept in words alone, as a note.
    pub in_words: Vec<String>,
    /// Resources that are nobody's, by their kind.
    pub of_nobody: BTreeMap<String, usize>,
    /// What could not be taken over, in words; it stays in the file that was read.
    pub left_out: Vec<String>,
}

impl Imported {
    /// Notes that somebody said something in the file.
    pub(crate) fn say(&mut self, who: String, what: &str) {
        let said = self.said.entry(who).or_default();
        if !said.iter().any(|other| other == what) {
            said.push(what.to_owned());
        }
    }

    /// Who had said what, a line each, for notes in the case; of a great many, the first.
    pub fn said_by(&self) -> impl Iterator<Item = String> {
        let line =
            |(who, what): (&String, &Vec<String>)| format!("{who} had said: {}", what.join(", "));
        self.said.iter().take(SAID_BY_MAX).map(line)
    }

    /// A file's words become those of one phone, and one phone's later words take the place of its
    /// earlier ones: so what people differed about is settled here, on the safe side, and said in a
    /// note. Consent to share is not taken from a file: it is asked for where the case now lies.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(crate) fn settled(mut self) -> Self {
        let mut said: BTreeMap<String, Vec<FindingValue>> = BTreeMap::new();
        self.entries.retain(|entry| match entry {
            Entry::Finding { name, value } | Entry::Settled { name, value } => {
                said.entry(name.clone()).or_default().push(value.clone());
                false
            }
            _ => true,
        });
        for (name, values) in said {
            let mut known: Vec<&FindingValue> = Vec::new();
            for value in values.iter().filter(|v| **v != FindingValue::Unknown) {
                if !known.contains(&value) {
                    known.push(value);
                }
            }
            let merge = known
                .first()
                .map_or(Merge::Latest, |value| merge_of(&name, value));
            let safe = match merge {
                Merge::Sign => {
                    let not_no = || known.iter().find(|v| ***v != FindingValue::No); // a word that nobody understood
                    known
                        .iter()
                        .find(|v| ***v == FindingValue::Yes)
                        .or_else(not_no)
                }
                Merge::Consent => known.iter().find(|v| ***v == FindingValue::No),
                Merge::Worst(choices) => known.iter().max_by_key(|value| rank(choices, value)),
                Merge::Latest | Merge::Words | Merge::Kept => None,
            };
            // Of words none is lost: an allergy stays beside a "none known" that was written after
            // it.
            let all = (matches!(merge, Merge::Words | Merge::Kept) && known.len() > 1).then(|| {
                FindingValue::Text(
                    known
                        .iter()
                        .map(|v| v.words())
                        .collect::<Vec<_>>()
                        .join(" · "),
                )
            });
            let value = all
                .or_else(|| safe.or(known.last()).map(|v| (**v).clone()))
                .unwrap_or(FindingValue::Unknown);
            if name == "consent.share" && value == FindingValue::Yes {
                self.left_out
                    .push("consent to share: ask for it here".into());
                continue;
            }
            if known.len() > 1 {
                let words: Vec<_> = known.iter().map(|v| v.words()).collect();
                self.entries.push(Entry::Note(format!(
                    "people had said of {name}: {}",
                    words.join(", ")
                )));
            }
            if merge == Merge::Latest && known.len() > 1 {
                // Which of them is right nobody can tell here: they stand beside each other, as a
                // question.
                let word = |value: &&FindingValue| Entry::Finding {
                    name: name.clone(),
                    value: (*value).clone(),
                };
                self.entries.extend(known.iter().map(word));
                continue;
            }
            self.entries.push(Entry::Finding { name, value });
        }
        self
    }
}

/// Why nothing can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Not what it should be, or damaged.
    #[error("{0}")]
    Malformed(String),
}
