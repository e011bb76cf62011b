//! Diseases and states: how frequent, when, where, at which age, and what each makes of the factors.

use clinical::Urgency;

/// A disease or state of the differential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disease {
    pub name: &'static str,
    pub icd11: &'static str,
    pub infant: bool,
    pub weight: f64,
    /// What it deserves by itself, whatever shows.
    pub floor: Urgency,
    /// The chance of being gravely ill with it ([`GRAVE`]).
    pub grave: f64,
    /// Dry season, rains.
    pub seasons: [f64; 2],
    /// Highland, lakeside, dry plains.
    pub places: [f64; 3],
    /// 2–11, 12–23, 24–59 months; of an infant: the first week, the rest.
    pub ages: [f64; 3],
    /// Factors, with the chance of each of their states.
    pub makes: &'static [(&'static str, &'static [f64])],
}

const G: Urgency = Urgency::Green;
const Y: Urgency = Urgency::Yellow;
const P: Urgency = Urgency::Pink;
const EVEN: [f64; 3] = [1.0, 1.0, 1.0];
const ALWAYS: [f64; 2] = [1.0, 1.0];

/// What grave illness of any kind makes of a child or infant.
pub(super) const GRAVE: &[(&str, &[f64])] = &[
    ("wakefulness", &[0.25, 0.2, 0.45, 0.1]),
    ("drinks", &[0.25, 0.1, 0.35, 0.3]),
    ("vomit", &[0.45, 0.3, 0.25]),
    ("convulsion", &[0.85, 0.13, 0.02]),
    ("feeds", &[0.15, 0.55, 0.3]),
    ("moves", &[0.3, 0.55, 0.15]),
    ("dryness", &[0.75, 0.2, 0.05]),
    ("breaths", &[0.5, 0.35, 0.15]),
    ("oxygen", &[0.7, 0.2, 0.1]),
    ("airway", &[0.985, 0.015]),
];

const fn of(
    (name, icd11): (&'static str, &'static str),
    weight: f64,
    floor: Urgency,
    grave: f64,
    makes: &'static [(&'static str, &'static [f64])],
) -> Disease {
    Disease {
        name,
        icd11,
        infant: false,
        weight,
        floor,
        grave,
        seasons: ALWAYS,
        places: EVEN,
        ages: EVEN,
        makes,
    }
}

impl Disease {
    const fn in_infants(self) -> Self {
        Self {
            infant: true,
            ..self
        }
    }

    const fn seasons(self, dry: f64, rains: f64) -> Self {
        Self {
            seasons: [dry, rains],
            ..self
        }
    }

    const fn places(self, highland: f64, lakeside: f64, plains: f64) -> Self {
        Self {
            places: [highland, lakeside, plains],
            ..self
        }
    }

    const fn ages(self, first: f64, second: f64, third: f64) -> Self {
        Self {
            ages: [first, second, third],
            ..self
        }
    }
}

const FEVER: &[f64] = &[0.0, 0.15, 0.55, 0.3];
const SOME_FEVER: &[f64] = &[0.005, 0.6, 0.3, 0.095];
const HIGH_FEVER: &[f64] = &[0.0, 0.04, 0.4, 0.56];
const YES: &[f64] = &[0.03, 0.97];
const MOSTLY: &[f64] = &[0.2, 0.8];
const HALF: &[f64] = &[0.5, 0.5];
const SOME: &[f64] = &[0.75, 0.25];
const FEW: &[f64] = &[0.9, 0.1];

/// All of them; where two go together, the one that stands first names the case among those of one
/// urgency.
#[rustfmt::skip]
pub(super) const DISEASES: &[Disease] = &[
    of(("Poisoning", "NE61"), 0.7, P, 0.25, &[("accident", &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]), ("vomit", &[0.5, 0.35, 0.15]), ("belly", HALF)]).ages(0.5, 2.0, 1.0),
    of(("Injury or burn", "ND56.Z"), 1.2, P, 0.2, &[("accident", &[0.0, 0.62, 0.38, 0.0, 0.0, 0.0]), ("limb", SOME)]).ages(0.5, 1.2, 1.6),
    of(("Bite or sting", "NE61.Z"), 0.5, P, 0.15, &[("accident", &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), ("limb", FEW)]).seasons(0.8, 1.4).places(0.7, 1.0, 1.6),
    of(("Foreign body in the airway", "ND72.Z"), 0.35, P, 0.1, &[("accident", &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]), ("stridor", HALF), ("airway", SOME), ("cough", HALF)]).ages(1.4, 1.4, 0.6),
    of(("Meningitis or sepsis", "1D00.Z"), 1.8, P, 0.7, &[("heat", HIGH_FEVER), ("neck", &[0.4, 0.6]), ("convulsion", &[0.7, 0.25, 0.05]), ("chills", FEW)]).ages(1.6, 1.0, 0.7),
    of(("Severe malaria", "1F40.Z"), 2.6, P, 0.65, &[("heat", HIGH_FEVER), ("parasites", YES), ("convulsion", &[0.6, 0.33, 0.07]), ("chills", HALF), ("pallor", &[0.4, 0.35, 0.25])]).seasons(0.6, 1.5).places(0.25, 1.8, 0.7),
    of(("Severe pneumonia", "CA40.Z"), 3.4, P, 0.35, &[("cough", YES), ("breaths", &[0.08, 0.52, 0.4]), ("indrawing", &[0.15, 0.45, 0.4]), ("oxygen", &[0.2, 0.35, 0.45]), ("heat", FEVER), ("stridor", &[0.93, 0.07]), ("wheezes", SOME)]).ages(1.8, 1.0, 0.6).places(1.4, 1.0, 0.8),
    of(("Croup or upper airway obstruction", "CA06.0"), 0.7, P, 0.15, &[("cough", YES), ("stridor", &[0.08, 0.92]), ("heat", SOME_FEVER), ("breaths", &[0.5, 0.4, 0.1]), ("nose", HALF)]).ages(1.0, 1.6, 0.7),
    of(("Diarrhoea with severe dehydration", "5C70.0"), 1.8, P, 0.5, &[("stools", YES), ("dryness", &[0.02, 0.13, 0.85]), ("drinks", &[0.1, 0.2, 0.45, 0.25]), ("vomit", &[0.45, 0.35, 0.2])]).ages(1.5, 1.2, 0.5).seasons(0.9, 1.2),
    of(("Severe acute malnutrition", "5B52"), 2.2, P, 0.12, &[("flesh", &[0.12, 0.13, 0.75]), ("oedema", &[0.7, 0.3]), ("drinks", &[0.6, 0.05, 0.3, 0.05]), ("pallor", &[0.5, 0.42, 0.08])]).ages(0.8, 1.6, 0.7).places(0.8, 0.9, 1.6),
    of(("Severe anaemia", "3A9Z"), 1.1, P, 0.2, &[("pallor", &[0.02, 0.13, 0.85]), ("breaths", &[0.55, 0.35, 0.1])]).places(0.6, 1.5, 0.9),
    of(("Mastoiditis", "AB11.Z"), 0.4, P, 0.05, &[("mastoid", YES), ("ear_hurts", MOSTLY), ("heat", FEVER), ("ear_runs", &[0.4, 0.35, 0.25])]),
    of(("Infection of bone or joint", "FB84.Z"), 0.5, P, 0.08, &[("heat", FEVER), ("limb", YES)]).ages(0.6, 0.9, 1.3),
    of(("Severe infection of the skin", "1B70.Z"), 0.6, P, 0.1, &[("skin", &[0.0, 0.0, 0.0, 0.0, 0.1, 0.4, 0.5]), ("skin_spreads", &[0.1, 0.9]), ("heat", FEVER)]),
    of(("Measles", "1F03.Z"), 1.4, Y, 0.1, &[("rash", &[0.05, 0.95]), ("heat", FEVER), ("cough", MOSTLY), ("nose", MOSTLY), ("eye", &[0.55, 0.37, 0.08]), ("mouth", &[0.55, 0.35, 0.1])]).seasons(1.4, 0.7),
    of(("Malaria", "1F4Z"), 8.0, Y, 0.02, &[("heat", FEVER), ("parasites", YES), ("chills", HALF), ("pallor", &[0.7, 0.27, 0.03]), ("vomit", &[0.7, 0.28, 0.02])]).seasons(0.6, 1.5).places(0.25, 1.8, 0.7),
    of(("Pneumonia", "CA40.Z"), 7.0, Y, 0.02, &[("cough", YES), ("breaths", &[0.06, 0.86, 0.08]), ("heat", FEVER), ("oxygen", &[0.5, 0.47, 0.03]), ("wheezes", FEW), ("indrawing", &[0.93, 0.06, 0.01])]).ages(1.5, 1.0, 0.8).places(1.3, 1.0, 0.8),
    of(("Wheezing illness or asthma", "CA23.Z"), 2.4, Y, 0.02, &[("cough", YES), ("wheezes", &[0.05, 0.95]), ("breaths", &[0.5, 0.42, 0.08]), ("heat", SOME_FEVER), ("indrawing", &[0.85, 0.11, 0.04])]).ages(0.7, 1.2, 1.1),
    of(("Tuberculosis or chronic cough", "1B1Z"), 0.8, Y, 0.01, &[("cough", YES), ("cough_lasts", &[0.06, 0.94]), ("flesh", &[0.6, 0.3, 0.1]), ("house", HALF), ("heat", SOME_FEVER), ("heat_lasts", &[0.3, 0.4, 0.3])]),
    of(("Dysentery", "1A40.Z"), 1.8, Y, 0.03, &[("stools", YES), ("blood", &[0.04, 0.96]), ("heat", SOME_FEVER), ("belly", HALF), ("dryness", &[0.75, 0.22, 0.03])]),
    of(("Persistent diarrhoea", "DA90.Z"), 1.2, Y, 0.02, &[("stools", YES), ("stools_last", YES), ("flesh", &[0.6, 0.3, 0.1]), ("dryness", &[0.75, 0.22, 0.03])]).ages(1.2, 1.4, 0.5),
    of(("Diarrhoea with some dehydration", "5C70.1"), 3.0, Y, 0.03, &[("stools", YES), ("dryness", &[0.06, 0.9, 0.04]), ("drinks", &[0.2, 0.7, 0.09, 0.01]), ("wakefulness", &[0.4, 0.58, 0.018, 0.002]), ("vomit", &[0.6, 0.37, 0.03])]).ages(1.4, 1.2, 0.6),
    of(("Ear infection", "AB0Z"), 3.0, Y, 0.004, &[("ear_hurts", &[0.2, 0.8]), ("ear_runs", &[0.45, 0.4, 0.15]), ("heat", SOME_FEVER)]),
    of(("Urinary tract infection", "GC08.Z"), 1.0, Y, 0.01, &[("heat", FEVER), ("urine", &[0.12, 0.88]), ("belly", SOME)]),
    of(("Eye infection", "9A60.Z"), 1.4, Y, 0.002, &[("eye", &[0.03, 0.95, 0.02]), ("nose", SOME)]).seasons(1.3, 0.8),
    of(("Local skin disease", "ME66.Z"), 3.2, Y, 0.003, &[("skin", &[0.03, 0.3, 0.25, 0.12, 0.25, 0.05, 0.0]), ("heat", &[0.004, 0.85, 0.12, 0.026])]),
    of(("Moderate acute malnutrition", "5B53"), 2.4, Y, 0.01, &[("flesh", &[0.06, 0.9, 0.04]), ("drinks", &[0.75, 0.03, 0.21, 0.01])]).ages(0.8, 1.5, 0.8).places(0.8, 0.9, 1.5),
    of(("Anaemia", "3A9Z"), 1.8, Y, 0.005, &[("pallor", &[0.06, 0.9, 0.04]), ("worms", SOME)]).places(0.7, 1.4, 0.9),
    of(("HIV exposure", "QC90.6"), 0.8, Y, 0.005, &[("mother", &[0.02, 0.98]), ("thrush", SOME)]),
    of(("Worms", "1F9Z"), 1.0, Y, 0.001, &[("worms", &[0.15, 0.85]), ("belly", MOSTLY)]).ages(0.1, 1.0, 1.6),
    of(("Acute diarrhoea", "1A40.Z"), 6.0, G, 0.01, &[("stools", YES), ("dryness", &[0.93, 0.068, 0.002]), ("vomit", &[0.7, 0.28, 0.02]), ("heat", SOME_FEVER)]).ages(1.3, 1.2, 0.7),
    of(("Cough or cold", "CA0Z"), 9.0, G, 0.003, &[("cough", &[0.06, 0.94]), ("nose", &[0.25, 0.75]), ("heat", SOME_FEVER), ("breaths", &[0.94, 0.058, 0.002])]),
    of(("Viral fever", "1D9Z"), 5.0, G, 0.008, &[("heat", FEVER), ("nose", SOME), ("vomit", &[0.8, 0.19, 0.01])]),
    of(("No serious illness", "QA0Z"), 5.0, G, 0.0, &[("going", &[0.15, 0.2, 0.65])]),
    of(("Possible serious bacterial infection", "KA60"), 3.4, P, 0.45, &[("infant_heat", &[0.2, 0.25, 0.3, 0.25]), ("feeds", &[0.25, 0.55, 0.2]), ("moves", &[0.5, 0.4, 0.1]), ("breaths", &[0.4, 0.4, 0.2]), ("infant_indrawing", &[0.7, 0.3]), ("convulsion", &[0.85, 0.12, 0.03])]).in_infants().ages(1.5, 0.9, 0.9),
    of(("Severe jaundice of the young infant", "KA87"), 0.8, P, 0.15, &[("yellow", &[0.0, 0.06, 0.94]), ("feeds", &[0.6, 0.32, 0.08])]).in_infants().ages(1.8, 0.7, 0.7),
    of(("Very low weight or born early", "KA21.4"), 0.9, P, 0.12, &[("weight", &[0.02, 0.18, 0.8]), ("feeds", &[0.5, 0.42, 0.08]), ("infant_heat", &[0.3, 0.66, 0.03, 0.01])]).in_infants().ages(2.0, 0.5, 0.5),
    of(("Fast breathing of the young infant", "KB24"), 1.4, Y, 0.03, &[("breaths", &[0.02, 0.78, 0.2]), ("cough", MOSTLY), ("nose", HALF)]).in_infants(),
    of(("Local infection of the young infant", "KA65"), 1.6, Y, 0.02, &[("cord", &[0.35, 0.65]), ("pustules", &[0.5, 0.5])]).in_infants().ages(1.5, 0.8, 0.8),
    of(("Jaundice of the young infant", "KA87"), 1.6, Y, 0.01, &[("yellow", &[0.02, 0.94, 0.04])]).in_infants().ages(1.8, 0.7, 0.7),
    of(("Diarrhoea of the young infant", "1A40.Z"), 0.8, Y, 0.04, &[("stools", YES), ("dryness", &[0.6, 0.32, 0.08])]).in_infants().ages(0.5, 1.2, 1.2),
    of(("Feeding problem or low weight", "KB60"), 1.8, Y, 0.01, &[("latch", &[0.08, 0.92]), ("weight", &[0.5, 0.45, 0.05]), ("thrush", SOME)]).in_infants(),
    of(("HIV exposure of the young infant", "QC90.6"), 0.5, Y, 0.005, &[("mother", &[0.02, 0.98])]).in_infants(),
    of(("Cold of the young infant", "CA0Z"), 1.6, G, 0.01, &[("cough", MOSTLY), ("nose", &[0.2, 0.8]), ("breaths", &[0.95, 0.045, 0.005])]).in_infants().ages(0.4, 1.2, 1.2),
    of(("Healthy young infant", "QA0Z"), 2.6, G, 0.0, &[("going", &[0.15, 0.1, 0.75])]).in_infants(),
];

/// How much more often two go together than by chance; those of one kind never do, nor does health
/// with anything.
pub(super) fn together(a: &str, b: &str) -> f64 {
    const KINDS: [&[&str]; 8] = [
        &[
            "Severe pneumonia",
            "Pneumonia",
            "Wheezing illness or asthma",
            "Cough or cold",
            "Croup or upper airway obstruction",
            "Tuberculosis or chronic cough",
        ],
        &[
            "Diarrhoea with severe dehydration",
            "Dysentery",
            "Persistent diarrhoea",
            "Diarrhoea with some dehydration",
            "Acute diarrhoea",
        ],
        &[
            "Severe malaria",
            "Malaria",
            "Viral fever",
            "Meningitis or sepsis",
        ],
        &["Severe acute malnutrition", "Moderate acute malnutrition"],
        &["Severe anaemia", "Anaemia"],
        &[
            "Poisoning",
            "Injury or burn",
            "Bite or sting",
            "Foreign body in the airway",
        ],
        &["Severe infection of the skin", "Local skin disease"],
        &[
            "Severe jaundice of the young infant",
            "Jaundice of the young infant",
        ],
    ];
    const HEALTHY: [&str; 2] = ["No serious illness", "Healthy young infant"];
    const OFTEN: [(&str, &str, f64); 8] = [
        ("Measles", "Pneumonia", 5.0),
        ("Severe acute malnutrition", "Persistent diarrhoea", 6.0),
        ("Severe acute malnutrition", "Acute diarrhoea", 2.5),
        ("Malaria", "Anaemia", 3.0),
        ("Severe malaria", "Severe anaemia", 4.0),
        ("HIV exposure", "Severe pneumonia", 2.5),
        ("Moderate acute malnutrition", "Acute diarrhoea", 2.0),
        (
            "Very low weight or born early",
            "Possible serious bacterial infection",
            3.0,
        ),
    ];
    let one_kind = |kind: &&[&str]| kind.contains(&a) && kind.contains(&b);
    if a == b || HEALTHY.contains(&a) || HEALTHY.contains(&b) || KINDS.iter().any(one_kind) {
        return 0.0;
    }
    let pair = |(x, y, _): &&(&str, &str, f64)| (*x == a && *y == b) || (*x == b && *y == a);
    OFTEN.iter().find(pair).map_or(1.0, |(_, _, times)| *times)
}
