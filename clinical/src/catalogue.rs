//! Field catalogue: every field of a case with its name, kind, bounds, unit, code and merge policy,
//! and what of its values is a sign.
//!
//! A new field is one line of [`FIELDS`]: packs name it, the record merges it, exchange writes its
//! code and the forms ask for it by what stands there. Names and codes after WHO's core data
//! dictionaries (smart-dak-ccc, smart-anc; LOINC first, ICD-11 for diagnoses). A field that this
//! version does not know (a newer rule pack's) is kept, carried and shown; its rule follows from
//! its value.

use serde::{Deserialize, Serialize};

use crate::calendar::{digits, number as typed_number, read_date};
use crate::{FindingValue, Profile};

/// How concurrent writes are brought together. In all of them *unknown* yields to anything
/// known, and a word said by somebody who had seen another takes its place only as far as the rule
/// allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// A danger sign or other finding: *yes* stands until its own author takes it back or a person
    /// settles the question. (Last writer wins would let a colleague's later "no" wipe out a
    /// convulsion that was seen.)
    Sign,
    /// A measurement, a choice, a date: the last word of those who had seen each other's. Words
    /// written concurrently are all kept, the latest is shown and the question is put to a person. (Last
    /// writer wins would silently drop one of two temperatures.)
    Latest,
    /// A sign with degrees, from the mildest to the worst: a worse one stands until its own author
    /// takes it back or a person settles the question. (Last writer wins would let a colleague's
    /// later "drinks normally" wipe out "unable to drink".)
    Worst(&'static [&'static str]),
    /// Free words: all that stand are shown, one after the other; nothing is asked. (Last writer
    /// wins would lose an allergy written down by the other.)
    Words,
    /// Words of which none may be hidden by a later one (allergies): all stand until a person
    /// settles the question, and where one says that there are none, it is a question. (Last writer
    /// wins would hide a penicillin allergy behind "none known".)
    Kept,
    /// Consent: *no* stands over a concurrent *yes*, and what is unknown is no consent.
    /// (Last writer wins would share a case after the mother had said no.)
    Consent,
}

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A measurement between two bounds, in a unit (UCUM).
    Number(f64, f64, &'static str),
    /// One of these.
    Choice(&'static [&'static str]),
    /// Free words.
    Text,
    /// A date, `2026-11-24`.
    Date,
}

/// Which values of a field say that something was found, so that a rule must have read them before
/// anything is green.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    /// *Yes*, and every word that is not one of [`CALM`].
    Usual,
    /// None: it describes the situation.
    Never,
    /// Every word but these.
    AllBut(&'static [&'static str]),
    /// These words only.
    Only(&'static [&'static str]),
    /// A number outside of these bounds, the upper one excluded: wider than what rules for one age
    /// say.
    Outside(f64, f64),
}

/// Words of choices that say that nothing was found, or that nothing was looked at.
#[rustfmt::skip]
const CALM: [&str; 12] = [
    "normal", "none", "no", "well", "own", "negative", "passed", "not_done", "not_available", "invalid", "low", "unknown",
];

/// Characters of free text that are kept.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Its name; that of the rule packs where they have it.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// Its rule.
    pub merge: Merge,
    /// Its LOINC code, or empty.
    pub code: &'static str,
    sign: Sign,
}

impl Field {
    /// The id of its question among the words of a language.
    pub fn ask_id(&self) -> String {
        format!("ask-{}", self.name.replace(['.', '_'], "-"))
    }

    /// Its degrees, from the mildest to the worst, where a worse one stands.
    pub fn degrees(&self) -> Option<&'static [&'static str]> {
        match self.merge {
            Merge::Worst(degrees) => Some(degrees),
            Merge::Sign | Merge::Latest | Merge::Words | Merge::Kept | Merge::Consent => None,
        }
    }

    const fn context(self) -> Self {
        Self {
            sign: Sign::Never,
            ..self
        }
    }

    const fn calm(self, from: f64, below: f64) -> Self {
        Self {
            sign: Sign::Outside(from, below),
            ..self
        }
    }

    const fn well(self, words: &'static [&'static str]) -> Self {
        Self {
            sign: Sign::AllBut(words),
            ..self
        }
    }

    const fn ill(self, words: &'static [&'static str]) -> Self {
        Self {
            sign: Sign::Only(words),
            ..self
        }
    }
}

const fn field_of(name: &'static str, kind: Kind, merge: Merge, code: &'static str) -> Field {
    Field {
        name,
        kind,
        merge,
        code,
        sign: Sign::Usual,
    }
}

const fn flag(name: &'static str) -> Field {
    field_of(name, Kind::Flag, Merge::Sign, "")
}

const fn number(
    name: &'static str,
    min: f64,
    max: f64,
    unit: &'static str,
    code: &'static str,
) -> Field {
    field_of(name, Kind::Number(min, max, unit), Merge::Latest, code)
}

const fn choice(name: &'static str, choices: &'static [&'static str], code: &'static str) -> Field {
    field_of(name, Kind::Choice(choices), Merge::Latest, code)
}

/// A choice whose values go from the mildest to the worst.
const fn degree(name: &'static str, choices: &'static [&'static str]) -> Field {
    field_of(name, Kind::Choice(choices), Merge::Worst(choices), "")
}

const fn text(name: &'static str, code: &'static str) -> Field {
    field_of(name, Kind::Text, Merge::Words, code)
}

/// Words of which one is right (an id, a phone number): concurrent ones are a question.
const fn name(name: &'static str, code: &'static str) -> Field {
    field_of(name, Kind::Text, Merge::Latest, code)
}

const fn date(name: &'static str, code: &'static str) -> Field {
    field_of(name, Kind::Date, Merge::Latest, code)
}

const fn consent(name: &'static str) -> Field {
    field_of(name, Kind::Flag, Merge::Consent, "")
}

/// Words none of which a later one hides.
const fn kept(name: &'static str) -> Field {
    field_of(name, Kind::Text, Merge::Kept, "")
}

const INFINITY: f64 = f64::INFINITY;
const TEST: &[&str] = &["negative", "positive", "invalid", "not_done"];
const PALLOR: &[&str] = &["none", "some", "severe"];
/// What a photograph of skin, eye or mouth shows (the labels of smart-dak-ccc; clinical §1.2 has
/// their ICD-11 codes).
#[rustfmt::skip]
const SKIN_LABELS: &[&str] = &[
    "abscess", "cellulitis", "prurigo", "ringworm", "scabies", "chickenpox", "zoster", "zoster_of_the_eye", "impetigo",
    "molluscum", "warts", "seborrhoea", "drug_eruption", "eczema", "stevens_johnson", "kwashiorkor", "measles_rash",
    "eye_infection", "corneal_clouding", "mouth_ulcers", "thrush",
];
const PROTEIN: &[&str] = &["none", "trace", "one", "two", "three"];

/// All fields, in the order in which a screen shows them.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    // The head of every record.
    name("patient.national_id", "76435-7"),
    name("patient.name", "45392-8"),
    name("patient.family_name", "45394-4"),
    date("patient.born", "21112-8"),
    flag("patient.born_estimated"),
    number("age_years", 0.0, 120.0, "a", "29553-5"),
    number("age_months", 0.0, 1440.0, "mo", "29553-5"),
    number("age_days", 0.0, 43_830.0, "d", "29553-5"),
    number("age_hours", 0.0, 1_051_920.0, "h", "29553-5"),
    choice("patient.sex", &["female", "male", "not_specified"], "46098-0").context(),
    name("patient.caregiver", "79183-0"),
    name("patient.caregiver_relation", "79184-8"),
    name("patient.caregiver_phone", "85432-3"),
    choice("patient.mother", &["alive", "caring", "dead"], ""),
    name("patient.village", ""),
    name("patient.facility", ""),
    choice("visit.type", &["initial", "follow_up"], ""),
    choice("season", &["dry", "rains"], "").context(),
    name("visit.language", ""),
    name("visit.worker", ""),
    consent("consent.care"),
    consent("consent.share"),
    consent("consent.photo"),
    consent("consent.training"),
    date("consent_date.care", ""), date("consent_date.share", ""), date("consent_date.photo", ""),
    date("consent_date.training", ""), date("visit.consent_date", ""),
    text("text", "").context(),
    // What a reader of pictures has seen: no finding, shown with who says it. Not clinically validated.
    choice("photo.rapid_test", &["negative", "positive", "invalid"], "").context(),
    choice("photo.slide", &["negative", "positive"], "").context(),
    choice("photo.muac_tape", &["green", "yellow", "red"], "").context(),
    choice("photo.eye", &["normal", "pus", "clouded"], "").context(),
    choice("photo.mouth", &["normal", "shallow_ulcers", "deep_ulcers"], "").context(),
    choice("photo.skin", &["normal", "scabies", "ringworm", "chickenpox", "impetigo", "abscess", "cellulitis"], "").context(),
    kept("allergies").context(),
    text("medicines_now", "").context(),
    // Danger signs, asked first.
    flag("airway"), flag("convulsing_now"), flag("convulsions"),
    number("convulsion_count", 0.0, 100.0, "1", "").calm(0.0, 1.0),
    flag("convulsion_15_minutes"), flag("lethargic"), flag("not_able_to_drink"), flag("vomits_everything"),
    flag("vomits_some"),
    degree("drinking", &["normal", "eager", "poor", "vomits", "unable", "not_done"]),
    // Measured.
    number("temperature", 32.0, 45.0, "Cel", "8328-7").calm(35.5, 38.0),
    number("temperature_rectal", 32.0, 45.0, "Cel", "8332-9").calm(36.0, 38.5),
    number("temperature_second", 32.0, 45.0, "Cel", "8328-7").calm(35.5, 38.0),
    flag("no_thermometer").context(), flag("hot_to_touch"),
    number("weight", 0.3, 250.0, "kg", "3141-9").calm(2.5, INFINITY),
    number("weight_estimated", 0.3, 250.0, "kg", "8335-2"),
    number("height", 20.0, 220.0, "cm", "8308-9"),
    number("length", 20.0, 130.0, "cm", "8306-3"),
    number("muac", 60.0, 500.0, "mm", "56072-2").calm(125.0, INFINITY),
    number("wfh_z", -8.0, 8.0, "{z-score}", "").calm(-2.0, INFINITY), number("wfl_z", -8.0, 8.0, "{z-score}", "").context(),
    number("wfa_z", -8.0, 8.0, "{z-score}", "").calm(-2.0, INFINITY),
    number("respiratory_rate", 4.0, 150.0, "/min", "9303-9").calm(10.0, 60.0),
    number("respiratory_rate_second", 4.0, 150.0, "/min", "9303-9").calm(20.0, 60.0),
    number("spo2", 40.0, 100.0, "%", "59408-5").calm(90.0, INFINITY),
    // Longer than 3 seconds with cold hands is shock (WHO, emergency triage assessment and treatment, 2016).
    number("capillary_refill", 0.0, 20.0, "s", "44971-0").calm(0.0, 3.1),
    // Cough.
    flag("cough_or_difficult"), number("cough_days", 0.0, 365.0, "d", "").calm(0.0, 14.0), flag("chest_indrawing"),
    flag("stridor_calm"), flag("wheeze").context(), flag("wheeze_recurrent"),
    choice("bronchodilator_trial", &["better", "not_better", "not_done"], "").context(),
    // Diarrhoea.
    flag("diarrhoea"), number("diarrhoea_days", 0.0, 365.0, "d", "").calm(0.0, 14.0), flag("blood_in_stool"), flag("sunken_eyes"),
    degree("skin_pinch", &["normal", "slow", "very_slow"]), flag("restless"),
    // Fever and malaria.
    flag("fever").context(), number("fever_days", 0.0, 365.0, "d", "").calm(0.0, 7.0), flag("fever_every_day"),
    choice("malaria_risk", &["none", "low", "high"], "").context(), flag("travel_high_risk"), flag("stiff_neck"),
    flag("runny_nose").context(), flag("refuses_limb"), flag("joint_swollen"), flag("painful_urination"),
    choice("malaria_test", &["negative", "positive", "invalid", "not_available", "not_done"], "70569-9"),
    choice("malaria_microscopy", TEST, "32700-7"),
    number("parasite_density", 0.0, 1e7, "/uL", "").calm(0.0, 1.0), flag("other_fever_cause").context(),
    // Measles.
    flag("measles"), flag("measles_last_3_months"), flag("rash_generalised"), flag("red_eyes"), degree("mouth_ulcers", &["none", "shallow", "deep"]),
    flag("eye_pus"), flag("corneal_clouding"), flag("corneal_clouding_new"), flag("corneal_clouding_treated"),
    // Ear.
    flag("ear_problem"), flag("ear_pain"), flag("ear_discharge"), number("ear_discharge_days", 0.0, 365.0, "d", "").calm(0.0, 1.0), flag("ear_pus_seen"),
    flag("swelling_behind_ear"),
    // Nutrition and anaemia.
    flag("oedema_both_feet"), degree("palmar_pallor", PALLOR), number("haemoglobin", 10.0, 250.0, "g/L", "718-7").calm(110.0, 200.0),
    choice("appetite_test", &["passed", "failed", "not_done"], ""), flag("breastfeeding_problem"),
    // HIV and tuberculosis.
    choice("mother_hiv", &["negative", "positive"], ""), choice("child_virological", TEST, ""),
    choice("child_serology", TEST, ""), flag("breastfed_within_6_weeks").context(), flag("tb_contact"),
    flag("breastfeeding_now").context(), number("breastfeeding_stopped_weeks", 0.0, 260.0, "wk", ""),
    // Skin, eye, mouth.
    flag("eye_problem"),
    choice("skin_problem", &["none", "abscess", "cellulitis", "ringworm", "scabies", "chickenpox", "zoster", "impetigo",
        "molluscum", "warts", "eczema", "seborrhoea", "prurigo", "drug_eruption", "stevens_johnson"], ""),
    flag("skin_severe"), flag("skin_near_eye"), flag("skin_large"), flag("skin_deep"), flag("skin_hot_tender"),
    flag("skin_red_streaks"), flag("skin_nodes"), text("skin_extent", "").context(),
    choice("skin_label", SKIN_LABELS, ""),
    // Prevention.
    choice("vaccines", &["complete", "incomplete", "never"], "").context(), flag("vitamin_a_given").context(), flag("dewormed").context(),
    flag("feeding_problem"),
    // Young infants.
    degree("feeding", &["well", "not_well", "not_at_all"]), degree("movement", &["own", "stimulated", "none"]).well(&["own"]),
    flag("severe_chest_indrawing"), flag("umbilicus_red"), flag("skin_pustules"), flag("yellow_skin"),
    flag("yellow_palms"), flag("yellow_first_24h"), number("feeds_in_24h", 0.0, 40.0, "1", "").calm(8.0, INFINITY), flag("other_food"),
    text("replacement_feed", "").context(), flag("thrush"),
    // Pregnancy and after.
    flag("maternal").context(), flag("weak_pulse"), flag("cold_sweats"), flag("severe_pain"), flag("tires_easily"),
    flag("genital_ulcer"), flag("abdominal_mass"), flag("fetal_heart_absent"), flag("epigastric_pain"), flag("dizziness"),
    number("gestation_weeks", 0.0, 45.0, "wk", "18185-9"), date("last_period", "8665-2"),
    number("pregnancies_before", 0.0, 25.0, "1", ""), text("previous_problems", "").context(), flag("vaginal_bleeding"),
    flag("central_cyanosis"), flag("unconscious"), flag("severe_headache"), flag("visual_disturbance"), flag("labour"),
    flag("severe_vomiting"), flag("severe_abdominal_pain"), flag("looks_very_ill"), flag("very_pale"),
    flag("waters_broken"), flag("swelling_face_hands"), flag("breathless"),
    degree("fetal_movement", &["normal", "reduced", "none"]).well(&["normal", "not_done", "unknown"]),
    number("bp_systolic", 40.0, 300.0, "mm[Hg]", "8480-6").calm(70.0, 140.0), number("bp_diastolic", 20.0, 200.0, "mm[Hg]", "8462-4").calm(40.0, 90.0),
    number("bp_systolic_second", 40.0, 300.0, "mm[Hg]", "8480-6").calm(70.0, 140.0),
    number("bp_diastolic_second", 20.0, 200.0, "mm[Hg]", "8462-4").calm(40.0, 90.0),
    number("pulse", 20.0, 300.0, "/min", "8867-4").calm(60.0, 180.0), number("pulse_second", 20.0, 300.0, "/min", "8867-4").calm(60.0, 180.0),
    choice("urine_protein", PROTEIN, ""), number("fetal_heart", 40.0, 260.0, "/min", "55283-6").calm(110.0, 160.5),
    number("fetal_heart_second", 40.0, 260.0, "/min", "55283-6").calm(110.0, 160.5), choice("hiv_test", TEST, ""),
    choice("syphilis_test", TEST, ""), choice("hepatitis_b_test", TEST, ""), text("birth_plan", "").context(),
    number("days_since_delivery", 0.0, 60.0, "d", ""), flag("heavy_bleeding"), flag("offensive_discharge"),
    degree("bleeding_amount", &["none", "spotting", "moderate", "heavy"]),
    // Adults.
    flag("night_sweats"), flag("weight_loss"), flag("blood_in_sputum"), flag("chest_pain"), flag("unable_to_walk"),
    flag("confusion"), flag("severe_respiratory_distress"), flag("urinating_little"), flag("rash_or_bleeding"), flag("pregnancy_possible").context(), flag("on_hiv_treatment"),
    flag("tb_before"), flag("diabetes"), flag("self_harm_thoughts"),
    // What came of it.
    name("referral.facility", ""), name("referral.transport", ""), flag("referral.accepted"), flag("referral.arrived"),
    date("follow_up.date", ""), name("outcome.diagnosis", ""),
    choice("outcome", &["recovered", "died", "not_known", "under_treatment"], "").ill(&["died"]),
];

/// Whether two words are one.
const fn same(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([x, a_rest @ ..], [y, b_rest @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        a = a_rest;
        b = b_rest;
    }
    a.is_empty() && b.is_empty()
}

const fn begins(text: &str, start: &str) -> bool {
    match text.split_at_checked(start.len()) {
        Some((head, _)) => same(head, start),
        None => false,
    }
}

const fn is_among(name: &str, mut fields: &[Field]) -> bool {
    while let [field, rest @ ..] = fields {
        if same(name, field.name) {
            return true;
        }
        fields = rest;
    }
    false
}

/// Whether a field has this name: for tables of names, while they are compiled.
pub const fn is_field(name: &str) -> bool {
    is_among(name, FIELDS)
}

/// The same of all these names.
pub(crate) const fn are_fields(mut names: &[&str]) -> bool {
    while let [name, rest @ ..] = names {
        if !is_field(name) {
            return false;
        }
        names = rest;
    }
    true
}

/// Whether a name is written as all are, so that a file's way of writing it can be brought to it.
const fn is_plain(name: &str) -> bool {
    let mut letters = name.as_bytes();
    while let [letter, rest @ ..] = letters {
        if !matches!(*letter, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.') {
            return false;
        }
        letters = rest;
    }
    !name.is_empty()
}

// What everything that reads a field relies on.
const _: () = {
    let mut fields = FIELDS;
    while let [field, rest @ ..] = fields {
        assert!(is_plain(field.name));
        assert!(!is_among(field.name, rest), "a name stands once");
        match field.kind {
            Kind::Number(min, max, unit) => assert!(min < max && !unit.is_empty()),
            Kind::Choice(choices) => assert!(choices.len() >= 2),
            Kind::Flag | Kind::Text | Kind::Date => {}
        }
        // A rule of merging fits the values that it brings together.
        match field.merge {
            Merge::Sign | Merge::Consent => assert!(matches!(field.kind, Kind::Flag)),
            Merge::Words | Merge::Kept => assert!(matches!(field.kind, Kind::Text)),
            Merge::Worst(_) => assert!(matches!(field.kind, Kind::Choice(_))),
            Merge::Latest => assert!(!matches!(field.kind, Kind::Flag)),
        }
        // What a newer version's consent is known by is what ours are called.
        assert!(begins(field.name, "consent.") == matches!(field.merge, Merge::Consent));
        match (field.sign, field.kind) {
            (Sign::Outside(from, below), Kind::Number(min, max, _)) => {
                assert!(from < below && (from > min || below <= max), "never a sign");
            }
            (Sign::Outside(..), _) => assert!(matches!(field.kind, Kind::Number(..))),
            (Sign::AllBut(_) | Sign::Only(_), _) => assert!(matches!(field.kind, Kind::Choice(_))),
            (Sign::Usual | Sign::Never, _) => {}
        }
        fields = rest;
    }
};

/// Of whom a case is, where that decides what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// A woman who is pregnant or has given birth.
    Pregnancy,
    /// Somebody else of five years or more.
    Adult,
}

impl Patient {
    /// What else to ask, beside what rules read (clinical §1.4, §1.5): tests only where there is a laboratory.
    #[rustfmt::skip]
    pub const fn asked(self, profile: Profile) -> &'static [&'static str] {
        match (self, profile) {
            (Self::Pregnancy, Profile::Iccm) => &["pregnancies_before", "previous_problems", "medicines_now", "allergies", "birth_plan"],
            (Self::Pregnancy, Profile::Imci) => &[
                "malaria_test", "hiv_test", "syphilis_test", "pregnancies_before", "previous_problems", "medicines_now", "allergies", "birth_plan",
            ],
            (Self::Adult, _) => &[
                "patient.sex", "severe_headache", "breathless", "fever_days", "blood_in_sputum", "chest_pain", "rash_or_bleeding", "urinating_little", "tb_before",
                "tb_contact", "diabetes", "medicines_now", "allergies",
            ],
        }
    }
}

const _: () = assert!(are_fields(Patient::Pregnancy.asked(Profile::Iccm)));
const _: () = assert!(are_fields(Patient::Pregnancy.asked(Profile::Imci)));
const _: () = assert!(are_fields(Patient::Adult.asked(Profile::Imci)));

/// A unit of the catalogue (UCUM) as people write it.
pub fn unit_spoken(ucum: &'static str) -> &'static str {
    match ucum {
        "Cel" => "°C",
        "a" => "years",
        "mo" => "months",
        "wk" => "weeks",
        "d" => "days",
        "h" => "hours",
        "{z-score}" => "z",
        "mm[Hg]" => "mmHg",
        "/uL" => "/µL",
        "1" => "",
        other => other,
    }
}

/// The field of this name.
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|f| f.name == name)
}

/// The rule for a field; for one that this version does not know, by what was said of it.
pub fn merge_of(name: &str, said: &FindingValue) -> Merge {
    match (field(name), said) {
        (Some(field), _) => field.merge,
        (None, _) if name.starts_with("consent.") => Merge::Consent,
        (None, FindingValue::Yes | FindingValue::No) => Merge::Sign,
        (None, FindingValue::Unknown | FindingValue::Number(_) | FindingValue::Text(_)) => {
            Merge::Latest
        }
    }
}

/// Whether a value says that something was found: a sign that some rule must have read before
/// anything can be green. Of a field that this version does not know, *yes* and every word that is
/// not calm are.
pub fn is_sign(name: &str, value: &FindingValue) -> bool {
    let sign = field(name).map_or(Sign::Usual, |field| field.sign);
    match (value, sign) {
        (FindingValue::Unknown | FindingValue::No, _) | (_, Sign::Never) => false,
        (FindingValue::Yes, _) => true,
        (FindingValue::Text(word), Sign::Only(words)) => words.contains(&word.as_str()),
        (FindingValue::Text(word), Sign::AllBut(words)) => !words.contains(&word.as_str()),
        (FindingValue::Text(word), Sign::Usual | Sign::Outside(..)) => {
            !CALM.contains(&word.as_str())
        }
        (FindingValue::Number(number), Sign::Outside(from, below)) => {
            !(from..below).contains(number)
        }
        (FindingValue::Number(_), Sign::Usual | Sign::AllBut(_) | Sign::Only(_)) => false,
    }
}

/// How bad a choice is among its field's degrees; what is no choice of this version's is the worst.
pub fn rank(degrees: &[&str], value: &FindingValue) -> usize {
    match value {
        FindingValue::Text(text) if text == "not_done" => 0,
        FindingValue::Text(text) => degrees
            .iter()
            .position(|degree| degree == text)
            .unwrap_or(degrees.len()),
        FindingValue::Unknown => 0,
        FindingValue::Yes | FindingValue::No | FindingValue::Number(_) => degrees.len(),
    }
}

/// Why a value is none of a field's, with what would be.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum ValueError {
    /// The catalogue has no such field.
    #[error("there is no field {0:?}")]
    NoSuchField(String),
    /// Not one of the words of a flag or choice.
    #[error("{typed:?} is no {name}: write {} or unknown", .words.join(", "))]
    NotOneOf {
        /// The field.
        name: String,
        /// What was typed.
        typed: String,
        /// What would do.
        words: Vec<String>,
    },
    /// No number, or not one that can be.
    #[error("{typed:?} is no {name}: write a number from {min} to {max} ({unit}) or unknown")]
    NotWithin {
        /// The field.
        name: String,
        /// What was typed.
        typed: String,
        /// The least that can be.
        min: f64,
        /// The most that can be.
        max: f64,
        /// The field's unit (UCUM).
        unit: String,
    },
    /// No date.
    #[error(
        "{typed:?} is no {name}: write a date such as 2026-11-24 (or 2019-03-15 EC, 2083-08-08 BS) or unknown"
    )]
    NotADate {
        /// The field.
        name: String,
        /// What was typed.
        typed: String,
    },
}

/// Whether a word says yes or no, as people type it and as spreadsheets write it in the languages that they speak;
/// `None`: neither.
pub fn truth(word: &str) -> Option<bool> {
    const YES: [&str; 9] = [
        "yes",
        "y",
        "1",
        "true",
        "wahr",
        "vrai",
        "verdadeiro",
        "verdadero",
        "vero",
    ];
    const NO: [&str; 7] = ["no", "n", "0", "false", "falsch", "faux", "falso"];
    let word = digits(word.trim()).to_lowercase();
    let is = |words: &[&str]| words.contains(&word.as_str());
    (is(&YES) || is(&NO)).then(|| is(&YES))
}

/// Reads a value for a field as a person types it: `yes`, `no`, `unknown`, a number, a word. The
/// error says what would do.
pub fn read_value(name: &str, typed: &str) -> Result<FindingValue, ValueError> {
    let field = field(name).ok_or_else(|| ValueError::NoSuchField(name.to_owned()))?;
    let (name, word) = (field.name.to_owned(), typed.trim());
    if word.is_empty() || word == "unknown" {
        return Ok(FindingValue::Unknown);
    }
    let typed = word.to_owned();
    match field.kind {
        Kind::Flag => match truth(word) {
            Some(true) => Ok(FindingValue::Yes),
            Some(false) => Ok(FindingValue::No),
            None => Err(ValueError::NotOneOf {
                name,
                typed,
                words: ["yes", "no"].map(str::to_owned).to_vec(),
            }),
        },
        Kind::Number(min, max, unit) => match typed_number(word) {
            Some(n) if n >= min && n <= max => Ok(FindingValue::Number(n)),
            Some(_) | None => Err(ValueError::NotWithin {
                name,
                typed,
                min,
                max,
                unit: unit.to_owned(),
            }),
        },
        Kind::Choice(choices) => match choices.contains(&word) {
            true => Ok(FindingValue::Text(typed)),
            false => Err(ValueError::NotOneOf {
                name,
                typed,
                words: choices.iter().map(|word| (*word).to_owned()).collect(),
            }),
        },
        Kind::Text => Ok(FindingValue::Text(clip(word.trim()))),
        Kind::Date => match read_date(word) {
            Some(date) => Ok(FindingValue::Text(date)),
            None => Err(ValueError::NotADate { name, typed }),
        },
    }
}

/// Cuts free text to its limit.
pub fn clip(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_read_as_spreadsheets_write_them() {
        for (word, says) in [
            (" Yes ", Some(true)),
            ("TRUE", Some(true)),
            ("WAHR", Some(true)),
            ("Verdadeiro", Some(true)),
            ("1", Some(true)),
            ("no", Some(false)),
            ("FALSCH", Some(false)),
            ("FAUX", Some(false)),
            ("0", Some(false)),
            ("", None),
            ("x", None),
            ("unknown", None),
            ("2", None),
        ] {
            assert_eq!(truth(word), says, "{word:?}");
        }
        assert_eq!(read_value("convulsions", "WAHR"), Ok(FindingValue::Yes));
        assert!(read_value("convulsions", "perhaps").is_err());
    }

    #[test]
    fn names_are_unique_and_consents_are_consents() {
        let mut names: Vec<_> = FIELDS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]));
        let consents = FIELDS.iter().filter(|f| f.name.starts_with("consent."));
        assert_eq!(consents.filter(|f| f.merge == Merge::Consent).count(), 4);
        let mut asked = Patient::Pregnancy
            .asked(Profile::Imci)
            .iter()
            .chain(Patient::Adult.asked(Profile::Imci));
        assert!(asked.all(|name| names.contains(name)));
    }

    #[test]
    fn values_are_read_within_their_bounds_only() {
        assert_eq!(read_value("spo2", "88"), Ok(FindingValue::Number(88.0)));
        assert_eq!(read_value("spo2", ""), Ok(FindingValue::Unknown));
        assert!(
            read_value("spo2", "12")
                .unwrap_err()
                .to_string()
                .contains("40 to 100")
        );
        assert!(read_value("spo2", "NaN").is_err());
        assert!(
            read_value("outcome", "well")
                .unwrap_err()
                .to_string()
                .contains("recovered")
        );
        assert!(read_value("patient.born", "24.11.2026").is_err());
        assert!(read_value("patient.born", "2026-13").is_err());
        assert_eq!(
            read_value("nothing", "yes"),
            Err(ValueError::NoSuchField("nothing".into()))
        );
    }

    #[test]
    fn a_sign_is_what_some_rule_must_have_read() {
        let said = |name: &str, word: &str| is_sign(name, &read_value(name, word).unwrap());
        assert!(
            said("stiff_neck", "yes")
                && !said("stiff_neck", "no")
                && !said("stiff_neck", "unknown")
        );
        assert!(!said("fever", "yes") && !said("allergies", "penicillin"));
        assert!(
            said("movement", "none") && said("movement", "stimulated") && !said("movement", "own")
        );
        assert!(
            said("fetal_movement", "none")
                && said("fetal_movement", "reduced")
                && !said("fetal_movement", "normal")
        );
        assert!(said("outcome", "died") && !said("outcome", "under_treatment"));
        assert!(
            said("temperature", "38")
                && said("temperature", "35.4")
                && !said("temperature", "37.9")
        );
        assert!(!said("age_days", "3") && said("spo2", "89") && !said("spo2", "90"));
        assert!(said("capillary_refill", "4") && !said("capillary_refill", "3"));
        assert!(
            is_sign("of_a_newer_pack", &FindingValue::Yes)
                && !is_sign("of_a_newer_pack", &FindingValue::Number(3.0))
        );
        assert!(is_sign(
            "of_a_newer_pack",
            &FindingValue::Text("severe".into())
        ));
    }

    #[test]
    fn degrees_are_choices_from_the_mildest_to_the_worst() {
        for field in FIELDS {
            let Some(degrees) = field.degrees() else {
                continue;
            };
            assert_eq!(field.kind, Kind::Choice(degrees), "{}", field.name);
            assert!(
                !is_sign(field.name, &FindingValue::Text(degrees[0].into())),
                "{}",
                field.name
            );
            let worst = degrees
                .iter()
                .rev()
                .find(|degree| **degree != "not_done")
                .unwrap();
            assert!(
                is_sign(field.name, &FindingValue::Text((*worst).into())),
                "{}",
                field.name
            );
        }
        let severe = FindingValue::Text("severe".into());
        assert!(rank(PALLOR, &severe) > rank(PALLOR, &FindingValue::Text("some".into())));
        assert!(rank(PALLOR, &FindingValue::Text("newer word".into())) > rank(PALLOR, &severe));
    }

    #[test]
    fn bounds_units_and_question_ids_are_sound() {
        for field in FIELDS {
            if let Kind::Number(min, max, unit) = field.kind {
                assert!(min < max && !unit.is_empty(), "{}", field.name);
                if let Sign::Outside(from, below) = field.sign {
                    assert!(
                        from < below && (from > min || below <= max),
                        "{} is never a sign",
                        field.name
                    );
                }
            }
            assert!(
                field
                    .ask_id()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
    }
}
