//! One case.

use std::collections::BTreeMap;

use clinical::{Assessment, FindingValue, FindingsError, Urgency};
use protocol::{Area, CaseId, Digest};
use serde::{Deserialize, Serialize};

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case/2")]
pub struct Case {
    /// Which.
    pub case: CaseId,
    /// The area of its space.
    pub area: Area,
    /// Who began it, and when.
    pub begun: Option<Begun>,
    /// When this phone last changed it, RFC 3339.
    pub changed: String,
    /// How urgent it is.
    pub urgency: Option<Urgency>,
    /// The most urgent that was decided.
    pub decided: Option<Urgency>,
    /// What is known now, where that is more urgent than what was decided.
    pub undecided: Option<Urgency>,
    /// Why the rules cannot judge it now.
    pub unjudged: Option<FindingsError>,
    /// Findings by name.
    pub findings: BTreeMap<String, Finding>,
    /// Assessments, oldest first.
    pub assessments: Vec<Assessed>,
    /// Decisions, oldest first.
    pub decisions: Vec<Decision>,
    /// Doses by medicine and unit.
    pub doses: Vec<Doses>,
    /// Each dose.
    pub each_dose: Vec<Dose>,
    /// Notes, oldest first.
    pub notes: Vec<Note>,
    /// Photos, oldest first.
    pub photos: Vec<Photo>,
    /// Other cases of the same patient.
    pub same_as: Vec<CaseId>,
    /// Other cases about which people differ whether they are the same patient's.
    pub perhaps_same_as: Vec<CaseId>,
    /// It was handed to several apart.
    pub care_disputed: bool,
    /// Who cares for it, by name.
    pub cared_for_by: Vec<String>,
    /// Entries that this version does not know, in words.
    pub newer_entries: Vec<String>,
    /// Words that it builds on have not come, or are set aside.
    pub waits: bool,
    /// Its sealed envelopes here.
    pub sealed: usize,
    /// Changes that no envelope holds yet.
    pub unsent: usize,
    /// Why it does not leave this phone.
    pub stays: Option<Stays>,
    /// Phones that have shown that they hold all of it, by name.
    pub held_by: Vec<String>,
    /// Phones that have shown that they hold some of them, and lack what was added last.
    #[serde(default)]
    pub held_in_part: Vec<String>,
    /// Keepers that all of it has reached, by name.
    pub reached: Vec<String>,
}

/// Who began a case, and when by their clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Who, by name.
    pub by: String,
    /// When, RFC 3339.
    pub by_their_clock: String,
}

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The phone, its first digits.
    pub by: String,
    /// Seconds since 1970 by its clock.
    pub at_s: u64,
    /// After what.
    pub order: u64,
    /// It came by a file.
    #[serde(default)]
    pub from_file: bool,
}

/// A finding as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The value to go by.
    pub value: FindingValue,
    /// People differ.
    pub disputed: bool,
    /// Everything that was said, oldest first.
    pub said: Vec<Word>,
    /// What stands, oldest first.
    pub standing: Vec<Standing>,
}

/// A word that was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// What.
    pub value: FindingValue,
    /// Who.
    pub said: By,
}

/// A word that stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// What.
    pub value: FindingValue,
    /// Who, by name.
    pub by: String,
    /// Who has taken it in, from a file.
    #[serde(default)]
    pub from_file: bool,
}

/// An assessment as it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessed {
    /// The urgency shown.
    pub urgency: Urgency,
    /// Rules that fired or could not be cleared.
    pub rules_fired: Vec<String>,
    /// The model's differential.
    pub differential: Vec<String>,
    /// The rule pack.
    pub rules: String,
    /// The model.
    pub model: String,
    /// Whose phone.
    pub said: By,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The urgency decided.
    pub urgency: Urgency,
    /// Whether it is what the assessment said.
    pub agrees: bool,
    /// Why.
    pub reason: String,
    /// What is to be done.
    pub plan: String,
    /// The rule pack that was seen; `none` where no rules judged.
    pub rules: String,
    /// The model that was seen.
    pub model: String,
    /// The program in which it was seen.
    pub app: String,
    /// Whose.
    pub said: By,
}

/// Doses of a medicine in a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doses {
    /// The medicine.
    pub medicine: String,
    /// The unit.
    pub unit: String,
    /// How often.
    pub times: usize,
    /// How much in all.
    pub amount: f64,
}

/// A dose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dose {
    /// What names it for people.
    pub id: String,
    /// The medicine.
    pub medicine: String,
    /// How much.
    pub amount: f64,
    /// Of what.
    pub unit: String,
    /// By which way.
    pub route: String,
    /// When it was given.
    pub given: String,
    /// Who said so, by name.
    pub by: String,
    /// Who has taken it in, from a file.
    #[serde(default)]
    pub from_file: bool,
    /// Who says that it was not given after all.
    pub taken_back: Vec<TakenBack>,
}

/// That a dose was not given after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenBack {
    /// Who says so, by name.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The words.
    pub note: String,
    /// Whose.
    pub said: By,
}

/// A photo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Photo {
    /// What it shows.
    pub shows: String,
    /// The camera.
    pub camera: String,
    /// The light.
    pub light: String,
    /// The sealed blob.
    pub blob: Digest,
    /// Its bytes.
    pub bytes: u64,
    /// Whose.
    pub said: By,
}

/// Why a case does not leave this phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stays {
    /// The keys of its space are locked.
    Locked(Area),
    /// There is no consent to share it.
    NoConsent,
    /// This phone is not enrolled.
    NotEnrolled,
    /// The key of its space was ended, or has not come yet.
    NoKey,
    /// It is about to be sealed.
    AboutToBeSealed,
}

/// A case that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-new/2")]
pub struct CaseNew {
    /// Which.
    pub case: CaseId,
    /// Whether it is decided already.
    pub decided: bool,
    /// Why it does not leave this phone.
    pub stays: Option<Stays>,
    /// What rules and model say; `None` where no rules are for the patient.
    pub assessment: Option<Assessment>,
}

/// A case that was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-decide/1")]
pub struct Decided {
    /// Which.
    pub case: CaseId,
}

/// Everything that was said, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-history/2")]
pub struct History {
    /// Of which case.
    pub case: Option<CaseId>,
    /// Each thing.
    pub history: Vec<Line>,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub said: Said,
    /// Who, by name.
    pub by: String,
    /// The phone, its first digits.
    pub phone: String,
    /// Who has taken it in, from a file.
    #[serde(default)]
    pub from_file: bool,
    /// After what.
    pub order: u64,
    /// When, by their clock, RFC 3339.
    pub by_their_clock: String,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A finding and its value.
    Finding(String, FindingValue),
    /// An answer to the question what a finding is.
    Settled(String, FindingValue),
    /// Whether another case is the same patient's.
    Link(CaseId, bool),
    /// An assessment: urgency, rules, model.
    Assessment(Urgency, String, String),
    /// A decision.
    Decision {
        /// The urgency decided.
        urgency: Urgency,
        /// Whether it is what the assessment said; `None` where there was none.
        agrees: Option<bool>,
        /// Why.
        reason: String,
        /// What is to be done.
        plan: String,
        /// The rule pack that was seen.
        rules: String,
        /// The model that was seen.
        model: String,
        /// The program in which it was seen.
        app: String,
    },
    /// A dose.
    Dose {
        /// The medicine.
        medicine: String,
        /// How much.
        amount: f64,
        /// Of what.
        unit: String,
        /// By which way.
        route: String,
        /// When it was given.
        given: String,
    },
    /// A dose, by its id, that was not given after all, and why.
    NotGiven(String, String),
    /// A note.
    Note(String),
    /// To whom it was handed, by name, and why.
    Handover(String, String),
    /// A photo, and what it shows.
    Photo(String),
}

/// A picture that was looked at before it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.photo-look/2")]
pub struct PhotoLooked {
    /// Its size, and what to do about it.
    #[serde(flatten)]
    pub quality: record::photo::Quality,
    /// What it seems to show, where a reader of pictures runs and was told what it is.
    pub seen: Option<PictureRead>,
}

/// What a reader of pictures says of one. NOT CLINICALLY VALIDATED, wherever it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureRead {
    /// What it was said to be.
    #[serde(rename = "picture_of")]
    pub subject: String,
    /// What it says.
    pub said: PictureSays,
    /// Who says it.
    #[serde(rename = "read_by")]
    pub by: String,
}

/// What a picture shows, or that it cannot be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureSays {
    /// This, with its probability.
    Reads {
        /// Such as `positive`.
        word: String,
        /// 0 to 1.
        probability: f32,
    },
    /// It does not look like what it is said to be.
    NotThis,
    /// It may be read in more than one way.
    Unsure,
}

/// A photo that was written to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.photo/1")]
pub struct PhotoOut {
    /// What it shows.
    pub shows: String,
    /// Bytes of the picture.
    pub bytes: usize,
}
