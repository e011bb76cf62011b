//! Entries: what is said about a patient, once and for all. An entry is added and never changed.

use clinical::catalogue::merge_of;
use clinical::{FindingValue, Merge, Urgency};
use protocol::{CaseId, DeviceId};

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
    /// The program and the language in which it was seen; empty where nobody said.
    pub app: String,
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
    /// A person's answer to the question what a finding is, where people differ: it takes the place
    /// of what stood.
    Settled {
        /// The finding.
        name: String,
        /// What it is.
        value: FindingValue,
    },
    /// A dose that was given. Doses only add up: two that were given apart are two doses.
    Dose(DoseEntry),
    /// A person's word that a dose, which they see here, was not given after all. It is counted no
    /// more and stays in sight. (Last writer wins would let two corrections made apart take back
    /// one dose, or bring it back.)
    NotGiven {
        /// Which: the key that [`crate::Dose`] has in a view.
        dose: String,
        /// Why.
        reason: String,
    },
    /// Free words about the case.
    Note(String),
    /// The case is somebody else's to care for from here.
    Handover {
        /// Whose.
        to: DeviceId,
        /// Why.
        reason: String,
    },
    /// A person's decision whether another case is the same patient's.
    Link {
        /// The other case.
        other: CaseId,
        /// Whether it is.
        same: bool,
    },
    /// A photo, sealed in a blob of its own.
    Photo(PhotoEntry),
}

impl Entry {
    /// What it says of a finding, whoever says it: by its name.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub fn word(&self) -> Option<(&str, &FindingValue)> {
        match self {
            Self::Finding { name, value } | Self::Settled { name, value } => Some((name, value)),
            _ => None,
        }
    }

    /// That the patient, or who speaks for the patient, consents to a use (`care`, `share`,
    /// `photo`, `training`) or not.
    pub fn consent(to: &str, given: bool) -> Self {
        let value = if given {
            FindingValue::Yes
        } else {
            FindingValue::No
        };
        let name = format!("consent.{to}");
        protocol::always!(merge_of(&name, &value) == Merge::Consent);
        Self::Finding { name, value }
    }
}

/// A dose that was given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DoseEntry {
    /// Which medicine.
    pub medicine: String,
    /// How much.
    pub amount: f64,
    /// Of what: `mg`, `mL`, `tablet`.
    pub unit: String,
    /// By which way: `oral`, `im`; empty where nobody said.
    pub route: String,
    /// When, as whoever gave it says; empty where nobody said.
    pub given: String,
    /// What this is a copy of, where it came by a file ([`crate::Dose::key`] or
    /// [`crate::Dose::identity`] of the first): both are one dose. Empty where it is none.
    pub origin: String,
}

/// A photo: what it shows, and the key of the blob that holds it.
#[derive(Clone, PartialEq)]
pub struct PhotoEntry {
    /// The digest of the sealed blob.
    pub blob: protocol::Digest,
    /// The key that opens it.
    pub key: [u8; 32],
    /// Bytes of the blob.
    pub bytes: u64,
    /// What it shows, in a word.
    pub shows: String,
    /// The camera that took it; empty where nobody said.
    pub camera: String,
    /// The light it was taken in (daylight, lamp, flash); empty where nobody said.
    pub light: String,
}

/// Prints neither key nor words.
impl std::fmt::Debug for PhotoEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PhotoEntry({})", self.blob.short())
    }
}

/// Who said it, when by their clock, and after what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Larger than that of every entry its author had seen (Lamport's clock); wall clocks order
    /// nothing.
    pub order: u64,
    /// The author.
    pub by: DeviceId,
    /// Seconds since 1970 by the author's clock, a claim.
    pub at_s: u64,
    /// It came by a file: the author has taken it in, and not seen it.
    pub from_file: bool,
}

impl Stamp {
    /// `said`: when, and whether by a file.
    pub(crate) fn of(order: u64, by: DeviceId, said: (u64, bool)) -> Self {
        let (at_s, from_file) = said;
        Self {
            order,
            by,
            at_s,
            from_file,
        }
    }
}
