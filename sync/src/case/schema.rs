//! Every field of a case: its name, kind and code, and the rule by which words about it that were said apart are brought
//! together.
//!
//! Names and codes after WHO's core data dictionaries (smart-dak-ccc, smart-anc; LOINC first, ICD-11 for diagnoses). A field
//! that this version does not know (a newer rule pack's) is kept, carried and shown; its rule follows from its value.

use super::FindingValue;

/// How words that were said apart are brought together. In all of them *unknown* yields to anything known, and a word said
/// by somebody who had seen another takes its place only as far as the rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// A danger sign or other finding: *yes* stands until its own author takes it back or a person settles the question.
    /// (Last writer wins would let a colleague's later "no" wipe out a convulsion that was seen.)
    Sign,
    /// A measurement, a choice, a date: the last word of those who had seen each other's. Words said apart are all kept, the
    /// latest is shown and the question is put to a person. (Last writer wins would silently drop one of two temperatures.)
    Latest,
    /// A sign with degrees, from the mildest to the worst: a worse one stands until its own author takes it back or a person
    /// settles the question. (Last writer wins would let a colleague's later "drinks normally" wipe out "unable to drink".)
    Worst(&'static [&'static str]),
    /// Free words: all that stand are shown, one after the other; nothing is asked. (Last writer wins would lose an allergy
    /// written down by the other.)
    Words,
    /// Words of which none may be hidden by a later one (allergies): all stand until a person settles the question, and where one says
    /// that there are none, it is a question. (Last writer wins would hide a penicillin allergy behind "none known".)
    Kept,
    /// Consent: *no* stands over a *yes* that was said apart, and what is unknown is no consent. (Last writer wins would
    /// share a case after the mother had said no.)
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
}

const fn flag(name: &'static str) -> Field {
    Field { name, kind: Kind::Flag, merge: Merge::Sign, code: "" }
}

const fn number(name: &'static str, min: f64, max: f64, unit: &'static str, code: &'static str) -> Field {
    Field { name, kind: Kind::Number(min, max, unit), merge: Merge::Latest, code }
}

const fn choice(name: &'static str, choices: &'static [&'static str], code: &'static str) -> Field {
    Field { name, kind: Kind::Choice(choices), merge: Merge::Latest, code }
}

/// A choice whose values go from the mildest to the worst.
const fn degree(name: &'static str, choices: &'static [&'static str]) -> Field {
    Field { name, kind: Kind::Choice(choices), merge: Merge::Worst(choices), code: "" }
}

const fn text(name: &'static str, code: &'static str) -> Field {
    Field { name, kind: Kind::Text, merge: Merge::Words, code }
}

/// Words of which one is right (an id, a phone number): said apart, they are a question.
const fn name(name: &'static str, code: &'static str) -> Field {
    Field { name, kind: Kind::Text, merge: Merge::Latest, code }
}

const fn date(name: &'static str, code: &'static str) -> Field {
    Field { name, kind: Kind::Date, merge: Merge::Latest, code }
}

const fn consent(name: &'static str) -> Field {
    Field { name, kind: Kind::Flag, merge: Merge::Consent, code: "" }
}

const TEST: &[&str] = &["negative", "positive", "invalid", "not_done"];
const PALLOR: &[&str] = &["none", "some", "severe"];
/// What a photograph of skin, eye or mouth shows (the labels of smart-dak-ccc; clinical §1.2 has their ICD-11 codes).
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
    choice("patient.sex", &["female", "male", "not_specified"], "46098-0"),
    name("patient.caregiver", "79183-0"),
    name("patient.caregiver_relation", "79184-8"),
    name("patient.caregiver_phone", "85432-3"),
    choice("patient.mother", &["alive", "caring", "dead"], ""),
    name("patient.village", ""),
    name("patient.facility", ""),
    choice("visit.type", &["initial", "follow_up"], ""),
    name("visit.language", ""),
    name("visit.worker", ""),
    consent("consent.care"),
    consent("consent.share"),
    consent("consent.photo"),
    consent("consent.training"),
    date("consent_date.care", ""), date("consent_date.share", ""), date("consent_date.photo", ""),
    date("consent_date.training", ""), date("visit.consent_date", ""),
    text("text", ""),
    Field { name: "allergies", kind: Kind::Text, merge: Merge::Kept, code: "" },
    text("medicines_now", ""),
    // Danger signs, asked first.
    flag("airway"), flag("convulsing_now"), flag("convulsions"),
    number("convulsion_count", 0.0, 100.0, "1", ""),
    flag("convulsion_15_minutes"), flag("lethargic"), flag("not_able_to_drink"), flag("vomits_everything"),
    flag("vomits_some"),
    degree("drinking", &["normal", "eager", "poor", "vomits", "unable", "not_done"]),
    // Measured.
    number("temperature", 32.0, 45.0, "Cel", "8328-7"),
    number("temperature_rectal", 32.0, 45.0, "Cel", "8332-9"),
    number("temperature_second", 32.0, 45.0, "Cel", "8328-7"),
    flag("no_thermometer"), flag("hot_to_touch"),
    number("weight", 0.3, 250.0, "kg", "3141-9"),
    number("weight_estimated", 0.3, 250.0, "kg", "8335-2"),
    number("height", 20.0, 220.0, "cm", "8308-9"),
    number("length", 20.0, 130.0, "cm", "8306-3"),
    number("muac", 60.0, 500.0, "mm", "56072-2"),
    number("wfh_z", -8.0, 8.0, "{z-score}", ""), number("wfl_z", -8.0, 8.0, "{z-score}", ""),
    number("wfa_z", -8.0, 8.0, "{z-score}", ""),
    number("respiratory_rate", 4.0, 150.0, "/min", "9303-9"),
    number("respiratory_rate_second", 4.0, 150.0, "/min", "9303-9"),
    number("spo2", 40.0, 100.0, "%", "59408-5"),
    // Cough.
    flag("cough_or_difficult"), number("cough_days", 0.0, 365.0, "d", ""), flag("chest_indrawing"),
    flag("stridor_calm"), flag("wheeze"), flag("wheeze_recurrent"),
    choice("bronchodilator_trial", &["better", "not_better", "not_done"], ""),
    // Diarrhoea.
    flag("diarrhoea"), number("diarrhoea_days", 0.0, 365.0, "d", ""), flag("blood_in_stool"), flag("sunken_eyes"),
    degree("skin_pinch", &["normal", "slow", "very_slow"]), flag("restless"),
    // Fever and malaria.
    flag("fever"), number("fever_days", 0.0, 365.0, "d", ""), flag("fever_every_day"),
    choice("malaria_risk", &["none", "low", "high"], ""), flag("travel_high_risk"), flag("stiff_neck"),
    flag("runny_nose"), flag("refuses_limb"), flag("joint_swollen"), flag("painful_urination"),
    choice("malaria_test", &["negative", "positive", "invalid", "not_available", "not_done"], "70569-9"),
    choice("malaria_microscopy", TEST, "32700-7"),
    number("parasite_density", 0.0, 1e7, "/uL", ""), flag("other_fever_cause"),
    // Measles.
    flag("measles"), flag("measles_last_3_months"), flag("rash_generalised"), flag("red_eyes"), degree("mouth_ulcers", &["none", "shallow", "deep"]),
    flag("eye_pus"), flag("corneal_clouding"), flag("corneal_clouding_new"), flag("corneal_clouding_treated"),
    // Ear.
    flag("ear_problem"), flag("ear_pain"), flag("ear_discharge"), number("ear_discharge_days", 0.0, 365.0, "d", ""), flag("ear_pus_seen"),
    flag("swelling_behind_ear"),
    // Nutrition and anaemia.
    flag("oedema_both_feet"), degree("palmar_pallor", PALLOR), number("haemoglobin", 10.0, 250.0, "g/L", "718-7"),
    choice("appetite_test", &["passed", "failed", "not_done"], ""), flag("breastfeeding_problem"),
    // HIV and tuberculosis.
    choice("mother_hiv", &["negative", "positive"], ""), choice("child_virological", TEST, ""),
    choice("child_serology", TEST, ""), flag("breastfed_within_6_weeks"), flag("tb_contact"),
    flag("breastfeeding_now"), number("breastfeeding_stopped_weeks", 0.0, 260.0, "wk", ""),
    // Skin, eye, mouth.
    choice("skin_problem", &["none", "abscess", "cellulitis", "ringworm", "scabies", "chickenpox", "zoster", "impetigo",
        "molluscum", "warts", "eczema", "seborrhoea", "prurigo", "drug_eruption", "stevens_johnson"], ""),
    flag("skin_severe"), flag("skin_near_eye"), flag("skin_large"), flag("skin_deep"), flag("skin_hot_tender"),
    flag("skin_red_streaks"), flag("skin_nodes"), text("skin_extent", ""),
    choice("skin_label", SKIN_LABELS, ""),
    // Prevention.
    choice("vaccines", &["complete", "incomplete", "never"], ""), flag("vitamin_a_given"), flag("dewormed"),
    flag("feeding_problem"),
    // Young infants.
    degree("feeding", &["well", "not_well", "not_at_all"]), degree("movement", &["own", "stimulated", "none"]),
    flag("severe_chest_indrawing"), flag("umbilicus_red"), flag("skin_pustules"), flag("yellow_skin"),
    flag("yellow_palms"), flag("yellow_first_24h"), number("feeds_in_24h", 0.0, 40.0, "1", ""), flag("other_food"),
    text("replacement_feed", ""), flag("thrush"),
    // Pregnancy and after.
    number("gestation_weeks", 0.0, 45.0, "wk", "18185-9"), date("last_period", "8665-2"),
    number("pregnancies_before", 0.0, 25.0, "1", ""), text("previous_problems", ""), flag("vaginal_bleeding"),
    flag("central_cyanosis"), flag("unconscious"), flag("severe_headache"), flag("visual_disturbance"), flag("labour"),
    flag("severe_vomiting"), flag("severe_abdominal_pain"), flag("looks_very_ill"), flag("very_pale"),
    flag("waters_broken"), flag("swelling_face_hands"), flag("breathless"),
    degree("fetal_movement", &["normal", "reduced", "none"]),
    number("bp_systolic", 40.0, 300.0, "mm[Hg]", "8480-6"), number("bp_diastolic", 20.0, 200.0, "mm[Hg]", "8462-4"),
    number("bp_systolic_second", 40.0, 300.0, "mm[Hg]", "8480-6"),
    number("bp_diastolic_second", 20.0, 200.0, "mm[Hg]", "8462-4"),
    number("pulse", 20.0, 300.0, "/min", "8867-4"), number("pulse_second", 20.0, 300.0, "/min", "8867-4"),
    choice("urine_protein", PROTEIN, ""), number("fetal_heart", 40.0, 260.0, "/min", "55283-6"),
    number("fetal_heart_second", 40.0, 260.0, "/min", "55283-6"), choice("hiv_test", TEST, ""),
    choice("syphilis_test", TEST, ""), choice("hepatitis_b_test", TEST, ""), text("birth_plan", ""),
    number("days_since_delivery", 0.0, 60.0, "d", ""), flag("heavy_bleeding"), flag("offensive_discharge"),
    degree("bleeding_amount", &["none", "spotting", "moderate", "heavy"]),
    // Adults.
    flag("night_sweats"), flag("weight_loss"), flag("blood_in_sputum"), flag("chest_pain"), flag("unable_to_walk"),
    flag("confusion"), flag("urinating_little"), flag("rash_or_bleeding"), flag("pregnancy_possible"), flag("on_hiv_treatment"),
    flag("tb_before"), flag("diabetes"), flag("self_harm_thoughts"),
    // What came of it.
    name("referral.facility", ""), name("referral.transport", ""), flag("referral.accepted"), flag("referral.arrived"),
    date("follow_up.date", ""), name("outcome.diagnosis", ""),
    choice("outcome", &["recovered", "died", "not_known", "under_treatment"], ""),
];

/// Of whom a case is, where that decides what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// A woman who is pregnant or has given birth.
    Pregnancy,
    /// Somebody else of five years or more.
    Adult,
}

impl Patient {
    /// What to ask, danger signs first (clinical §1.4, §1.5).
    #[rustfmt::skip]
    pub fn asked(self) -> &'static [&'static str] {
        match self {
            Self::Pregnancy => &[
                "age_years", "gestation_weeks", "days_since_delivery", "convulsing_now", "unconscious", "vaginal_bleeding",
                "heavy_bleeding", "central_cyanosis", "fever", "severe_headache", "visual_disturbance", "labour",
                "waters_broken", "looks_very_ill", "severe_vomiting", "severe_abdominal_pain", "breathless", "very_pale",
                "fetal_movement", "swelling_face_hands", "offensive_discharge", "bp_systolic", "bp_diastolic", "temperature",
                "pulse", "respiratory_rate", "spo2", "haemoglobin", "urine_protein", "fetal_heart", "malaria_test", "hiv_test",
                "syphilis_test", "pregnancies_before", "previous_problems", "medicines_now", "allergies", "birth_plan", "text",
            ],
            Self::Adult => &[
                "age_years", "patient.sex", "convulsions", "confusion", "unconscious", "central_cyanosis", "breathless",
                "not_able_to_drink", "unable_to_walk", "stiff_neck", "severe_headache", "rash_or_bleeding", "chest_pain",
                "self_harm_thoughts", "cough_or_difficult", "cough_days", "blood_in_sputum", "night_sweats", "weight_loss",
                "fever", "fever_days", "urinating_little", "pregnancy_possible", "temperature", "pulse", "respiratory_rate",
                "spo2", "bp_systolic", "bp_diastolic", "malaria_test", "hiv_test", "on_hiv_treatment", "tb_before",
                "tb_contact", "diabetes", "medicines_now", "allergies", "text",
            ],
        }
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
        (None, FindingValue::Unknown | FindingValue::Number(_) | FindingValue::Text(_)) => Merge::Latest,
    }
}

/// Reads a value for a field as a person types it: `yes`, `no`, `unknown`, a number, a word. The error says what would do.
pub fn read_value(name: &str, typed: &str) -> Result<FindingValue, String> {
    let field = field(name).ok_or_else(|| format!("there is no field {name:?}: `kijiti case fields` lists them"))?;
    let typed = typed.trim();
    if typed.is_empty() || typed == "unknown" {
        return Ok(FindingValue::Unknown);
    }
    let wrong = |wanted: String| format!("{typed:?} is no {name}: write {wanted} or unknown");
    match field.kind {
        Kind::Flag => match typed.to_lowercase().as_str() {
            "yes" | "y" | "true" | "1" => Ok(FindingValue::Yes),
            "no" | "n" | "false" | "0" => Ok(FindingValue::No),
            _ => Err(wrong("yes, no".into())),
        },
        Kind::Number(min, max, unit) => match typed.parse::<f64>() {
            Ok(n) if n >= min && n <= max => Ok(FindingValue::Number(n)),
            Ok(_) | Err(_) => Err(wrong(format!("a number from {min} to {max} ({unit})"))),
        },
        Kind::Choice(choices) => match choices.contains(&typed) {
            true => Ok(FindingValue::Text(typed.into())),
            false => Err(wrong(choices.join(", "))),
        },
        Kind::Text => Ok(FindingValue::Text(super::clip(typed))),
        Kind::Date => match is_date(typed) {
            true => Ok(FindingValue::Text(typed.into())),
            false => Err(wrong("a date such as 2026-11-24".into())),
        },
    }
}

/// `YYYY-MM-DD`, `YYYY-MM` or `YYYY` (FHIR's `date`).
pub fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let year = |part: &str| digits(part, 4) && part != "0000";
    let within = |part: &str, most: u32| digits(part, 2) && part.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n));
    match parts.as_slice() {
        [y] => year(y),
        [y, month] => year(y) && within(month, 12),
        [y, month, day] => year(y) && within(month, 12) && within(day, days_in(y, month)),
        _ => false,
    }
}

/// Days of a month of the Gregorian calendar.
fn days_in(year: &str, month: &str) -> u32 {
    let year = year.parse::<u32>().unwrap_or(1);
    match month {
        "02" if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    }
}

/// A date, or an instant with its zone: `2026-11-24`, `2026-11-24T09:30:00Z`, `2026-11-24T09:30:00+03:00` (FHIR's `dateTime`).
pub fn is_instant(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return is_date(text) };
    let two = |part: &str, most: u32| {
        part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u32>().is_ok_and(|n| n <= most)
    };
    let clock = |text: &str, parts: usize| {
        let read: Vec<_> = text.split(':').collect();
        read.len() == parts && read.iter().zip([23, 59, 59]).all(|(part, most)| two(part, most))
    };
    let (time, zone) = match (time.strip_suffix('Z'), time.rsplit_once(['+', '-'])) {
        (Some(time), _) => (time, true),
        (None, Some((time, zone))) => (time, clock(zone, 2)),
        (None, None) => (time, false),
    };
    date.len() == 10 && is_date(date) && clock(time, 3) && zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_consents_are_consents() {
        let mut names: Vec<_> = FIELDS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]));
        let consents = FIELDS.iter().filter(|f| f.name.starts_with("consent."));
        assert_eq!(consents.filter(|f| f.merge == Merge::Consent).count(), 4);
        let mut asked = Patient::Pregnancy.asked().iter().chain(Patient::Adult.asked());
        assert!(asked.all(|name| names.contains(name)));
    }

    #[test]
    fn instants_have_a_zone() {
        for good in ["2026-11-24", "2026-11-24T09:30:00Z", "2026-11-24T09:30:59+03:00", "2026-11-24T23:59:00-11:30"] {
            assert!(is_instant(good), "{good}");
        }
        for bad in
            ["09:30", "2026-11-24T09:30:00", "2026-11-24T24:00:00Z", "2026-11T09:30:00Z", "2026-11-24T09:30Z", "", "T"]
        {
            assert!(!is_instant(bad), "{bad}");
        }
    }

    #[test]
    fn values_are_read_within_their_bounds_only() {
        assert_eq!(read_value("spo2", "88"), Ok(FindingValue::Number(88.0)));
        assert_eq!(read_value("spo2", ""), Ok(FindingValue::Unknown));
        assert!(read_value("spo2", "12").unwrap_err().contains("40 to 100"));
        assert!(read_value("spo2", "NaN").is_err());
        assert!(read_value("outcome", "well").unwrap_err().contains("recovered"));
        assert!(read_value("patient.born", "24.11.2026").is_err());
        assert!(read_value("patient.born", "2026-13").is_err());
        assert!(read_value("nothing", "yes").unwrap_err().contains("case fields"));
    }
}
