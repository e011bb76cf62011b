//! Factors: what can be so of a patient beside the disease, each with its states from the mildest to
//! the worst, what is written down of them, and what is said of them. Given the diseases, factors are
//! independent; what goes together (fever, temperature, "hot body") is one factor.
//!
//! The chances are round numbers around the classifications of the guidelines, not epidemiology.

use clinical::Urgency;

use super::noise::{Spread, spread};

/// What shows of a factor's state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shows {
    /// A flag of the record: the chance of *yes* in each state.
    Flag(&'static str, &'static [f64]),
    /// A choice: in each state, the chance of each word.
    Choice(
        &'static str,
        &'static [&'static str],
        &'static [&'static [f64]],
    ),
    /// A measurement: its step, and its spread in each state, under 2 months, under 12 and from 12 on.
    Number(&'static str, f64, [&'static [Spread]; 3]),
    /// What a picture of a subject is read as: in each state, the chance of each reading.
    Picture(&'static str, &'static [&'static [f64]]),
    /// A concept of the phrases: the chance of being said in each state.
    Said(&'static str, &'static [f64]),
}

/// Of whom a factor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Child,
    Infant,
    All,
}

/// One factor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factor {
    pub name: &'static str,
    pub of: Of,
    /// What each state alone deserves.
    pub urgency: &'static [Urgency],
    /// The same in the first week of life.
    pub first_week: &'static [Urgency],
    /// The chance of each state where no disease says otherwise.
    pub usual: &'static [f64],
    pub shows: &'static [Shows],
}

const G: Urgency = Urgency::Green;
const Y: Urgency = Urgency::Yellow;
const P: Urgency = Urgency::Pink;
/// What somebody says of what is not so.
const SLIP: f64 = 0.002;
/// A sign that is overlooked, and one that is seen where there is none.
const SEEN: &[f64] = &[0.01, 0.95];
const SURE: &[f64] = &[0.005, 0.985];
const OFTEN: &[f64] = &[SLIP, 0.55];
const SOMETIMES: &[f64] = &[SLIP, 0.35];
const RARELY: &[f64] = &[SLIP, 0.18];

const fn factor(
    name: &'static str,
    of: Of,
    urgency: &'static [Urgency],
    usual: &'static [f64],
    shows: &'static [Shows],
) -> Factor {
    Factor {
        name,
        of,
        urgency,
        first_week: urgency,
        usual,
        shows,
    }
}

impl Factor {
    const fn in_first_week(self, urgency: &'static [Urgency]) -> Self {
        Self {
            first_week: urgency,
            ..self
        }
    }
}

use Of::{All, Child, Infant};
use Shows::{Choice, Flag, Number, Picture, Said};

const INFANT_HEAT: &[Spread] = &[
    spread(34.8, 0.5, 32.5, 35.4),
    spread(36.7, 0.35, 35.5, 37.9),
    spread(38.5, 0.6, 37.6, 41.0),
    spread(39.2, 0.6, 38.0, 41.5),
];
const CHILD_HEAT: &[Spread] = &[
    spread(35.0, 0.4, 33.0, 35.6),
    spread(36.8, 0.35, 35.5, 37.6),
    spread(38.3, 0.5, 37.2, 40.0),
    spread(39.6, 0.6, 38.4, 41.8),
];
const INFANT_BREATHS: &[Spread] = &[
    spread(44.0, 6.0, 24.0, 66.0),
    spread(68.0, 7.0, 50.0, 100.0),
    spread(76.0, 9.0, 55.0, 110.0),
];
const YOUNG_BREATHS: &[Spread] = &[
    spread(37.0, 5.5, 18.0, 56.0),
    spread(57.0, 5.5, 44.0, 90.0),
    spread(66.0, 8.0, 46.0, 105.0),
];
const CHILD_BREATHS: &[Spread] = &[
    spread(28.0, 5.0, 14.0, 46.0),
    spread(47.0, 5.5, 35.0, 80.0),
    spread(58.0, 8.0, 38.0, 100.0),
];
const OXYGEN: &[Spread] = &[
    spread(97.5, 1.5, 91.0, 100.0),
    spread(95.5, 2.0, 88.0, 100.0),
    spread(86.0, 4.0, 60.0, 92.0),
];
const ARM: &[Spread] = &[
    spread(146.0, 9.0, 126.0, 185.0),
    spread(119.5, 3.5, 112.0, 129.0),
    spread(107.0, 5.5, 80.0, 117.0),
];
const HEIGHT_Z: &[Spread] = &[
    spread(-0.5, 0.8, -2.1, 3.0),
    spread(-2.5, 0.35, -3.2, -1.8),
    spread(-3.6, 0.5, -6.0, -2.8),
];
const INFANT_WEIGHT: &[Spread] = &[
    spread(3.5, 0.5, 2.4, 6.0),
    spread(2.3, 0.2, 1.9, 2.8),
    spread(1.8, 0.15, 1.0, 2.1),
];
const FEVER_DAYS: &[Spread] = &[
    spread(1.0, 0.8, 0.0, 3.0),
    spread(2.6, 1.4, 1.0, 6.0),
    spread(10.0, 3.0, 7.0, 40.0),
];
const COUGH_DAYS: &[Spread] = &[spread(3.5, 2.0, 1.0, 13.0), spread(21.0, 6.0, 14.0, 90.0)];
const GUT_DAYS: &[Spread] = &[spread(2.5, 1.6, 1.0, 13.0), spread(19.0, 5.0, 14.0, 90.0)];
const EAR_DAYS: &[Spread] = &[
    spread(0.0, 0.3, 0.0, 1.0),
    spread(5.0, 3.0, 1.0, 13.0),
    spread(24.0, 7.0, 14.0, 90.0),
];
const NO_PROBLEM: [f64; 7] = [0.97, 0.005, 0.005, 0.005, 0.005, 0.005, 0.005];

/// All factors.
#[rustfmt::skip]
pub(super) const FACTORS: &[Factor] = &[
    // General danger signs.
    factor("heat", Child, &[Y, G, G, G], &[0.004, 0.93, 0.05, 0.016], &[
        Flag("fever", &[0.02, 0.03, 0.93, 0.98]), Flag("hot_to_touch", &[0.005, 0.03, 0.9, 0.98]),
        Number("temperature", 0.1, [CHILD_HEAT, CHILD_HEAT, CHILD_HEAT]),
        Said("fever", &[SLIP, SLIP, 0.5, 0.65]),
    ]),
    // Of a young infant both are signs of a serious infection.
    factor("infant_heat", Infant, &[P, G, P, P], &[0.004, 0.966, 0.022, 0.008], &[
        Flag("fever", &[0.02, 0.03, 0.93, 0.98]), Flag("hot_to_touch", &[0.005, 0.03, 0.9, 0.98]),
        Number("temperature", 0.1, [INFANT_HEAT, INFANT_HEAT, INFANT_HEAT]),
        Said("fever", &[SLIP, SLIP, 0.5, 0.65]), Said("infant_cold", &[0.3, SLIP, SLIP, SLIP]),
    ]),
    factor("heat_lasts", Child, &[G, G, P], &[0.55, 0.44, 0.01], &[
        Number("fever_days", 1.0, [FEVER_DAYS, FEVER_DAYS, FEVER_DAYS]), Said("fever_long", &[SLIP, SLIP, 0.4]),
    ]),
    factor("chills", Child, &[G, G], &[0.99, 0.01], &[Said("chills", SOMETIMES)]),
    factor("convulsion", All, &[G, P, P], &[0.996, 0.003, 0.001], &[
        Flag("convulsions", &[0.003, 0.97, 0.95]), Flag("convulsing_now", &[0.0005, 0.03, 0.97]), Said("convulsion", &[SLIP, 0.7, 0.8]),
    ]),
    factor("wakefulness", Child, &[G, G, P, P], &[0.94, 0.055, 0.004, 0.001], &[
        Flag("lethargic", &[0.005, 0.01, 0.93, 0.99]), Flag("restless", &[0.02, 0.9, 0.1, 0.01]),
        Said("restless", &[SLIP, 0.2, SLIP, SLIP]), Said("lethargic", &[SLIP, 0.005, 0.5, 0.15]), Said("unconscious", &[SLIP, SLIP, 0.02, 0.7]),
    ]),
    factor("drinks", Child, &[G, G, Y, P], &[0.955, 0.03, 0.012, 0.003], &[
        Choice("drinking", &["normal", "eager", "poor", "unable"], &[&[0.96, 0.02, 0.018, 0.002], &[0.1, 0.85, 0.045, 0.005], &[0.08, 0.02, 0.85, 0.05], &[0.005, 0.005, 0.09, 0.9]]),
        Flag("not_able_to_drink", &[0.003, 0.004, 0.05, 0.96]),
        Said("thirsty", &[SLIP, 0.35, SLIP, SLIP]), Said("not_drinking", &[SLIP, SLIP, 0.03, 0.6]), Said("poor_appetite", &[0.03, 0.02, 0.25, 0.1]),
    ]),
    factor("vomit", All, &[G, G, P], &[0.94, 0.055, 0.005], &[
        Flag("vomits_everything", &[0.003, 0.03, 0.95]), Said("vomits_some", &[SLIP, 0.35, 0.05]), Said("vomits_all", &[SLIP, 0.01, 0.55]),
    ]),
    factor("airway", All, &[G, P], &[0.9995, 0.0005], &[Flag("airway", &[0.002, 0.9])]),
    // Breathing.
    factor("cough", All, &[G, G], &[0.95, 0.05], &[Flag("cough_or_difficult", SURE), Said("cough", OFTEN)]),
    factor("cough_lasts", Child, &[G, Y], &[0.985, 0.015], &[Number("cough_days", 1.0, [COUGH_DAYS, COUGH_DAYS, COUGH_DAYS]), Said("cough_long", SOMETIMES)]),
    factor("breaths", All, &[G, Y, Y], &[0.965, 0.03, 0.005], &[
        Number("respiratory_rate", 1.0, [INFANT_BREATHS, YOUNG_BREATHS, CHILD_BREATHS]), Said("fast_breathing", &[SLIP, 0.3, 0.45]),
    ]).in_first_week(&[G, P, P]),
    // Seen by those who look, or distress so great that whoever comes speaks of it.
    factor("indrawing", Child, &[G, Y, P], &[0.997, 0.0025, 0.0005], &[Flag("chest_indrawing", &[0.01, 0.91, 0.96]), Said("chest_indrawing", &[SLIP, 0.2, 0.6])]),
    factor("infant_indrawing", Infant, &[G, P], &[0.995, 0.005], &[Flag("severe_chest_indrawing", &[0.006, 0.93]), Said("chest_indrawing", SOMETIMES)]),
    factor("stridor", Child, &[G, P], &[0.998, 0.002], &[Flag("stridor_calm", SEEN), Said("stridor", SOMETIMES)]),
    factor("wheezes", Child, &[G, G], &[0.985, 0.015], &[Flag("wheeze", &[0.01, 0.9]), Said("wheeze", SOMETIMES)]),
    factor("oxygen", All, &[G, G, P], &[0.93, 0.068, 0.002], &[
        Number("spo2", 1.0, [OXYGEN, OXYGEN, OXYGEN]), Said("blue", &[SLIP, SLIP, 0.3]),
    ]),
    factor("nose", All, &[G, G], &[0.9, 0.1], &[Said("runny_nose", SOMETIMES)]),
    // Gut.
    factor("stools", All, &[G, G], &[0.95, 0.05], &[Flag("diarrhoea", SURE), Said("diarrhoea", OFTEN)]),
    factor("stools_last", Child, &[G, Y], &[0.985, 0.015], &[Number("diarrhoea_days", 1.0, [GUT_DAYS, GUT_DAYS, GUT_DAYS]), Said("diarrhoea_long", SOMETIMES)]),
    factor("blood", Child, &[G, Y], &[0.993, 0.007], &[Flag("blood_in_stool", &[0.006, 0.93]), Said("blood_stool", OFTEN)]),
    factor("dryness", All, &[G, Y, P], &[0.975, 0.022, 0.003], &[
        Flag("sunken_eyes", &[0.02, 0.75, 0.92]),
        Choice("skin_pinch", &["normal", "slow", "very_slow"], &[&[0.96, 0.035, 0.005], &[0.2, 0.75, 0.05], &[0.04, 0.14, 0.82]]),
        Said("sunken_eyes", &[SLIP, 0.2, 0.4]),
    ]),
    factor("belly", Child, &[G, G], &[0.96, 0.04], &[Said("belly_pain", SOMETIMES)]),
    factor("worms", Child, &[G, G], &[0.97, 0.03], &[Said("worms", SOMETIMES)]),
    // Fever.
    factor("parasites", Child, &[G, Y], &[0.94, 0.06], &[
        Choice("malaria_test", &["negative", "positive", "invalid"], &[&[0.955, 0.03, 0.015], &[0.05, 0.935, 0.015]]),
        Picture("rapid_test", &[&[0.945, 0.04, 0.015], &[0.06, 0.925, 0.015]]), Picture("slide", &[&[0.93, 0.07], &[0.12, 0.88]]),
    ]),
    factor("neck", Child, &[G, P], &[0.998, 0.002], &[Flag("stiff_neck", &[0.005, 0.9]), Said("stiff_neck", SOMETIMES), Said("headache", &[0.02, 0.2])]),
    factor("limb", Child, &[G, P], &[0.996, 0.004], &[Flag("refuses_limb", SEEN), Said("limb", SOMETIMES), Said("joint", RARELY)]),
    factor("urine", Child, &[G, Y], &[0.99, 0.01], &[Flag("painful_urination", SEEN), Said("urine_pain", OFTEN)]),
    factor("rash", Child, &[G, G], &[0.99, 0.01], &[Flag("measles", &[0.004, 0.9]), Said("rash", OFTEN), Said("red_eyes", &[SLIP, 0.3])]),
    factor("mouth", All, &[G, Y, P], &[0.985, 0.012, 0.003], &[
        Choice("mouth_ulcers", &["none", "shallow", "deep"], &[&[0.985, 0.013, 0.002], &[0.1, 0.85, 0.05], &[0.02, 0.1, 0.88]]), Said("mouth_ulcers", &[SLIP, 0.35, 0.45]),
        Picture("mouth", &[&[0.96, 0.035, 0.005], &[0.08, 0.87, 0.05], &[0.02, 0.08, 0.9]]),
    ]),
    factor("thrush", All, &[G, Y], &[0.985, 0.015], &[Said("thrush", SOMETIMES)]),
    factor("eye", Child, &[G, Y, P], &[0.975, 0.022, 0.003], &[
        Flag("eye_problem", &[0.01, 0.95, 0.97]), Flag("eye_pus", &[0.005, 0.9, 0.2]), Flag("corneal_clouding", &[0.001, 0.01, 0.9]),
        Said("eye_pus", &[SLIP, 0.4, 0.05]), Said("eye_cloudy", &[SLIP, 0.01, 0.45]),
        Picture("eye", &[&[0.96, 0.035, 0.005], &[0.07, 0.91, 0.02], &[0.03, 0.05, 0.92]]),
    ]),
    // Ear.
    factor("ear_hurts", Child, &[G, Y], &[0.975, 0.025], &[Flag("ear_pain", &[0.01, 0.93]), Said("ear_pain", OFTEN)]),
    factor("ear_runs", Child, &[G, Y, Y], &[0.985, 0.01, 0.005], &[
        Number("ear_discharge_days", 1.0, [EAR_DAYS, EAR_DAYS, EAR_DAYS]), Said("ear_pus", &[SLIP, 0.4, 0.4]),
    ]),
    factor("mastoid", Child, &[G, P], &[0.9985, 0.0015], &[Flag("swelling_behind_ear", &[0.003, 0.93]), Said("behind_ear", OFTEN)]),
    // Nutrition, blood, HIV.
    factor("flesh", Child, &[G, Y, P], &[0.945, 0.045, 0.01], &[
        Number("muac", 1.0, [ARM, ARM, ARM]), Number("wfh_z", 0.1, [HEIGHT_Z, HEIGHT_Z, HEIGHT_Z]), Said("thin", &[SLIP, 0.2, 0.45]),
        Picture("muac_tape", &[&[0.965, 0.03, 0.005], &[0.06, 0.9, 0.04], &[0.01, 0.06, 0.93]]),
    ]),
    factor("oedema", Child, &[G, P], &[0.998, 0.002], &[Flag("oedema_both_feet", &[0.003, 0.93]), Said("swollen_feet", OFTEN)]),
    factor("pallor", Child, &[G, Y, P], &[0.94, 0.055, 0.005], &[
        Choice("palmar_pallor", &["none", "some", "severe"], &[&[0.95, 0.045, 0.005], &[0.15, 0.8, 0.05], &[0.02, 0.18, 0.8]]), Said("pale", &[SLIP, 0.2, 0.45]),
    ]),
    factor("mother", All, &[G, Y], &[0.95, 0.05], &[
        Choice("mother_hiv", &["negative", "positive"], &[&[0.995, 0.005], &[0.03, 0.97]]), Said("hiv_mother", &[SLIP, 0.12]),
    ]),
    factor("house", All, &[G, Y], &[0.98, 0.02], &[Flag("tb_contact", &[0.005, 0.9]), Said("tb_contact", &[SLIP, 0.3])]),
    // Skin, of which one is the worst that shows.
    factor("skin", Child, &[G, Y, Y, Y, Y, Y, Y], &NO_PROBLEM, &[
        Choice("skin_problem", &["none", "scabies", "ringworm", "chickenpox", "impetigo", "abscess", "cellulitis"], &[
            &[0.982, 0.003, 0.003, 0.003, 0.003, 0.003, 0.003], &[0.03, 0.9, 0.02, 0.01, 0.03, 0.005, 0.005], &[0.03, 0.03, 0.91, 0.005, 0.015, 0.005, 0.005],
            &[0.02, 0.02, 0.005, 0.92, 0.025, 0.005, 0.005], &[0.02, 0.03, 0.01, 0.02, 0.9, 0.015, 0.005], &[0.02, 0.005, 0.005, 0.005, 0.015, 0.9, 0.05],
            &[0.02, 0.005, 0.005, 0.005, 0.015, 0.05, 0.9]]),
        Said("itch", &[SLIP, 0.5, 0.1, 0.1, 0.05, SLIP, SLIP]), Said("ringworm", &[SLIP, SLIP, 0.45, SLIP, SLIP, SLIP, SLIP]),
        Said("blisters", &[SLIP, SLIP, SLIP, 0.5, SLIP, SLIP, SLIP]), Said("crusts", &[SLIP, SLIP, SLIP, SLIP, 0.45, SLIP, SLIP]),
        Said("boil", &[SLIP, SLIP, SLIP, SLIP, SLIP, 0.5, 0.03]), Said("skin_hot", &[SLIP, SLIP, SLIP, SLIP, SLIP, 0.05, 0.5]),
        Picture("skin", &[
            &[0.94, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01], &[0.04, 0.86, 0.03, 0.03, 0.02, 0.01, 0.01], &[0.03, 0.03, 0.88, 0.02, 0.02, 0.01, 0.01],
            &[0.03, 0.03, 0.02, 0.87, 0.03, 0.01, 0.01], &[0.03, 0.02, 0.02, 0.03, 0.86, 0.03, 0.01], &[0.03, 0.01, 0.01, 0.01, 0.03, 0.86, 0.05],
            &[0.04, 0.01, 0.01, 0.01, 0.02, 0.05, 0.86]]),
    ]),
    factor("skin_spreads", Child, &[G, P], &[0.998, 0.002], &[Flag("skin_severe", &[0.01, 0.9])]),
    // What befell the child: said, and not asked by the chart.
    factor("accident", All, &[G, P, P, P, P, P], &[0.9988, 0.0004, 0.0002, 0.0002, 0.0002, 0.0002], &[
        Said("injury", &[SLIP, 0.85, SLIP, 0.02, SLIP, SLIP]), Said("burn", &[SLIP, SLIP, 0.88, SLIP, SLIP, SLIP]), Said("bite", &[SLIP, 0.02, SLIP, 0.88, SLIP, SLIP]),
        Said("poison", &[SLIP, SLIP, SLIP, SLIP, 0.88, 0.01]), Said("choking", &[SLIP, SLIP, SLIP, SLIP, 0.01, 0.85]),
    ]),
    // The young infant.
    factor("feeds", Infant, &[G, P, P], &[0.965, 0.03, 0.005], &[
        Choice("feeding", &["well", "not_well", "not_at_all"], &[&[0.96, 0.035, 0.005], &[0.07, 0.88, 0.05], &[0.01, 0.1, 0.89]]),
        Said("infant_feeds_badly", &[SLIP, 0.45, 0.1]), Said("infant_not_feeding", &[SLIP, 0.02, 0.6]),
    ]),
    factor("moves", Infant, &[G, P, P], &[0.99, 0.008, 0.002], &[
        Choice("movement", &["own", "stimulated", "none"], &[&[0.985, 0.014, 0.001], &[0.08, 0.88, 0.04], &[0.01, 0.12, 0.87]]), Said("infant_weak", &[SLIP, 0.4, 0.6]),
    ]),
    factor("cord", Infant, &[G, Y], &[0.985, 0.015], &[Flag("umbilicus_red", SEEN), Said("infant_cord", OFTEN)]),
    factor("pustules", Infant, &[G, Y], &[0.985, 0.015], &[Flag("skin_pustules", SEEN), Said("infant_pustules", OFTEN)]),
    factor("yellow", Infant, &[G, Y, P], &[0.96, 0.035, 0.005], &[
        Flag("yellow_skin", &[0.02, 0.94, 0.97]), Flag("yellow_palms", &[0.003, 0.03, 0.9]), Said("infant_yellow", &[SLIP, 0.45, 0.2]), Said("infant_yellow_palms", &[SLIP, 0.01, 0.4]),
    ]),
    factor("weight", Infant, &[G, Y, P], &[0.94, 0.05, 0.01], &[
        Number("weight", 0.1, [INFANT_WEIGHT, INFANT_WEIGHT, INFANT_WEIGHT]), Said("small", &[SLIP, 0.3, 0.5]),
    ]),
    factor("latch", Infant, &[G, Y], &[0.97, 0.03], &[Flag("feeding_problem", &[0.02, 0.9])]),
    // How it goes, in general.
    factor("going", All, &[G, G, G], &[0.95, 0.045, 0.005], &[Said("improving", &[SLIP, 0.35, 0.05]), Said("well", &[SLIP, 0.01, 0.6])]),
];
