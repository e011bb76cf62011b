//! A plan: what the guideline says to do for what was found. A worker decides; nothing here is given
//! by itself.

use serde::{Deserialize, Serialize};

use crate::Urgency;

/// What to do (`kijiti.plan/1`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.plan/1")]
pub struct Plan {
    /// The urgency that it is for.
    pub urgency: Option<Urgency>,
    /// To be sent to where more can be done, and now: of several reasons, one referral.
    pub refer: bool,
    /// Medicines and their doses; before a referral the first dose of each alone.
    pub medicines: Vec<Prescribed>,
    /// Medicines that the guideline names and that are not given here, and why.
    pub withheld: Vec<Withheld>,
    /// What to do now, in this order.
    pub steps: Vec<Advice>,
    /// What to tell whoever cares for the patient.
    pub tell: Vec<Advice>,
    /// When to come back at once.
    pub return_at_once: Vec<Advice>,
    /// Days after which to see the patient again; of several, the soonest.
    pub follow_up_days: Option<u32>,
    /// Nobody has said whether the patient has allergies: to be asked before a medicine of these.
    pub ask_allergies: bool,
    /// Allergies that are written down, in everybody's words.
    pub allergies: Vec<String>,
    /// What doses go by, and people differ about: to be settled before a medicine.
    pub settle: Vec<String>,
    /// The packs that it comes from.
    pub pack: String,
}

/// A sentence of a pack, and the rule and source that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// What to do or to say.
    pub words: String,
    /// The rules that it is for.
    pub rules: Vec<String>,
    /// Where it comes from.
    pub source: String,
}

/// One medicine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prescribed {
    /// Its id in the pack.
    pub medicine: String,
    /// Its name and form, as it stands on the packet.
    pub name: String,
    /// Of what one dose is counted: `tablet`, `mL`, `mg`.
    pub unit: String,
    /// How much one dose is, in units: the least and the most that are right. Mostly they are equal.
    pub amount: (f64, f64),
    /// The same in mg, where the pack says how much is in one unit.
    pub milligrams: Option<(f64, f64)>,
    /// By which way.
    pub route: String,
    /// How often a day; 0: as the words of `how` say.
    pub times_a_day: u32,
    /// For how many days; 0: this dose alone.
    pub days: u32,
    /// How, beyond that: `after each loose stool`.
    pub how: String,
    /// The first dose is given here and now.
    pub first_now: bool,
    /// Doses of it that stand in the case: how many, and when the last was.
    pub given: Option<Given>,
    /// What the dose was chosen by.
    pub by: Basis,
    /// The rules that it is for.
    pub rules: Vec<String>,
    /// Where the dose comes from.
    pub source: String,
}

/// What a dose was chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Weight, in kg.
    Weight(f64),
    /// Age, in months.
    Age(f64),
    /// The same for all.
    Anyone,
}

/// Doses that were given already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// How many.
    pub doses: u32,
    /// When the last was, as whoever gave it says; empty: not said.
    pub last: String,
}

/// A medicine that is not given here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Withheld {
    /// Its id in the pack.
    pub medicine: String,
    /// Its name and form.
    pub name: String,
    /// Why.
    pub why: WhyWithheld,
    /// The rules that it was for.
    pub rules: Vec<String>,
    /// Doses of it that stand in the case all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
}

/// Why a medicine is not given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyWithheld {
    /// The patient is allergic to it: the words that say so.
    Allergy(String),
    /// An allergy is written down that names nothing that is known: it may be to this.
    AllergyUnclear(String),
    /// What forbids it was found: the pack's words.
    Forbidden(String),
    /// Whether what would forbid it is so is not known: what to find out, and the pack's words.
    NotRuledOut(Vec<String>, String),
    /// Its dose goes by weight, and none is known.
    NeedsWeight,
    /// Its dose goes by weight, and that one, in kg, can hardly be this child's: to be weighed again.
    WeightUnlikely(f64),
    /// More of it than anybody gives, in mg for each kg or in units of one dose: the pack is wrong.
    TooMuch(f64),
    /// Neither weight nor age is in the table of doses.
    NotInTable,
    /// Sources differ here: the national table decides.
    SourcesDiffer(String),
}

impl WhyWithheld {
    /// Whether nothing forbids it, and a table merely has no dose for this patient.
    pub fn has_no_dose(&self) -> bool {
        match self {
            Self::NeedsWeight | Self::NotInTable => true,
            Self::Allergy(_)
            | Self::AllergyUnclear(_)
            | Self::Forbidden(_)
            | Self::NotRuledOut(..)
            | Self::WeightUnlikely(_)
            | Self::TooMuch(_)
            | Self::SourcesDiffer(_) => false,
        }
    }
}

/// A dose that stands in a case, for [`Plan`]: the medicine as it was written, and when it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoseGiven {
    /// The medicine.
    pub medicine: String,
    /// When, as whoever gave it says; empty: not said.
    pub given: String,
}
