//! Cases drawn around the rules: a disease is drawn by age and prevalence, then its findings with
//! their usual frequency, then what a worker would have of it: some findings missing, counts a
//! little off, words in three languages, misspelt.
//!
//! This makes cases to learn from, not epidemiology: the frequencies are round numbers around the
//! classifications of the rule pack, and a model trained on them is a reference for the path, to be
//! fine-tuned on real cases before any clinical use.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use clinical::{AgeGroup, FindingValue, Profile, Urgency};

use inference::findings::Findings;
use inference::model::Label;
use inference::rules::{FindingKind, RulePack};

/// A disease or state, with what makes it likely to be seen.
struct Disease {
    name: &'static str,
    icd11: &'static str,
    infant: bool,
    weight: u32,
    /// Least urgency that the disease itself deserves, whatever the signs.
    floor: Urgency,
    /// `finding` → chance of yes, or `finding=choice`, or `finding~mean:spread`.
    signs: &'static [(&'static str, f64)],
    words: &'static [&'static str],
}

const G: Urgency = Urgency::Green;
const Y: Urgency = Urgency::Yellow;
const P: Urgency = Urgency::Pink;

#[rustfmt::skip]
const DISEASES: &[Disease] = &[
    Disease { name: "Severe pneumonia", icd11: "CA40.Z", infant: false, weight: 7, floor: P,
        signs: &[("cough_or_difficult", 0.98), ("chest_indrawing", 0.85), ("fast", 0.9), ("lowoxygen", 0.5), ("fever", 0.8), ("stridor_calm", 0.12), ("lethargic", 0.2), ("not_able_to_drink", 0.25), ("wheeze", 0.2)],
        words: &["fast breathing and chest pulling in", "breathing very hard", "anapumua kwa shida", "kifua kinabonyea", "respiration difficile", "grunting and cough", "kikohozi na homa kali", "toux et tirage"] },
    Disease { name: "Pneumonia", icd11: "CA40.Z", infant: false, weight: 12, floor: Y,
        signs: &[("cough_or_difficult", 0.99), ("fast", 0.95), ("fever", 0.75), ("wheeze", 0.15)],
        words: &["cough and fast breathing", "anapumua haraka", "kikohozi siku tatu", "toux et respiration rapide", "cough with fever"] },
    Disease { name: "Cough or cold", icd11: "CA0Z", infant: false, weight: 16, floor: G,
        signs: &[("cough_or_difficult", 0.97), ("fever", 0.35), ("wheeze", 0.05)],
        words: &["runny nose", "mafua", "kikohozi kidogo", "rhume", "nez qui coule", "light cough plays well"] },
    Disease { name: "Wheezing illness or asthma", icd11: "CA23", infant: false, weight: 5, floor: Y,
        signs: &[("cough_or_difficult", 0.97), ("wheeze", 0.95), ("fast", 0.5), ("chest_indrawing", 0.25), ("fever", 0.2)],
        words: &["wheezing again", "anakoroma kifuani", "sifflement", "pumu", "asthme"] },
    Disease { name: "Acute diarrhoea", icd11: "1A40.Z", infant: false, weight: 12, floor: G,
        signs: &[("diarrhoea", 1.0), ("some_dry", 0.25), ("fever", 0.25)],
        words: &["loose stools since yesterday", "anaharisha", "kuhara", "diarrhee aqueuse", "watery stool three times"] },
    Disease { name: "Diarrhoea with severe dehydration", icd11: "5C70.0", infant: false, weight: 4, floor: P,
        signs: &[("diarrhoea", 1.0), ("severe_dry", 0.95), ("lethargic", 0.5), ("vomits_everything", 0.3)],
        words: &["very dry and weak", "amekauka macho yameingia", "tres deshydrate", "sunken eyes no tears"] },
    Disease { name: "Dysentery", icd11: "1A40.Z", infant: false, weight: 4, floor: Y,
        signs: &[("diarrhoea", 1.0), ("blood_in_stool", 0.97), ("fever", 0.5)],
        words: &["blood in stool", "kuhara damu", "sang dans les selles"] },
    Disease { name: "Persistent diarrhoea", icd11: "DA90", infant: false, weight: 3, floor: Y,
        signs: &[("diarrhoea", 1.0), ("long_diarrhoea", 0.97), ("thin", 0.3)],
        words: &["diarrhoea three weeks", "anaharisha wiki tatu", "diarrhee depuis trois semaines"] },
    Disease { name: "Malaria", icd11: "1F4Z", infant: false, weight: 14, floor: Y,
        signs: &[("fever", 0.98), ("rdt_positive", 0.95), ("some_pallor", 0.25)],
        words: &["fever at night with chills", "homa na baridi", "malaria", "fievre et frissons", "hot body"] },
    Disease { name: "Severe malaria", icd11: "1F40", infant: false, weight: 4, floor: P,
        signs: &[("fever", 0.98), ("rdt_positive", 0.95), ("convulsions", 0.5), ("lethargic", 0.5), ("severe_pallor", 0.3), ("vomits_everything", 0.3), ("not_able_to_drink", 0.3)],
        words: &["convulsed at home", "degedege", "homa kali amezimia", "convulsion avec fievre"] },
    Disease { name: "Viral fever", icd11: "1D9Z", infant: false, weight: 8, floor: G,
        signs: &[("fever", 0.98), ("rdt_negative", 0.9)],
        words: &["fever only", "homa tu", "fievre simple"] },
    Disease { name: "Meningitis or sepsis", icd11: "1G40", infant: false, weight: 3, floor: P,
        signs: &[("fever", 0.95), ("stiff_neck", 0.6), ("lethargic", 0.6), ("convulsions", 0.4), ("rdt_negative", 0.6), ("not_able_to_drink", 0.4)],
        words: &["neck stiff very sleepy", "shingo ngumu", "raideur de la nuque", "does not wake well"] },
    Disease { name: "Measles", icd11: "1F03", infant: false, weight: 3, floor: Y,
        signs: &[("measles", 0.98), ("fever", 0.95), ("cough_or_difficult", 0.6), ("eye_pus", 0.3), ("shallow_ulcers", 0.3), ("deep_ulcers", 0.1)],
        words: &["rash all over", "surua", "rougeole", "red eyes and rash"] },
    Disease { name: "Ear infection", icd11: "AB0Z", infant: false, weight: 5, floor: Y,
        signs: &[("ear_problem", 1.0), ("ear_pain", 0.8), ("ear_pus", 0.5), ("fever", 0.5)],
        words: &["pulls the ear", "sikio linauma", "mal a l oreille", "usaha sikioni"] },
    Disease { name: "Mastoiditis", icd11: "AB11", infant: false, weight: 1, floor: P,
        signs: &[("ear_problem", 1.0), ("swelling_behind_ear", 0.97), ("ear_pain", 0.8), ("fever", 0.7)],
        words: &["swelling behind ear", "uvimbe nyuma ya sikio"] },
    Disease { name: "Severe acute malnutrition", icd11: "5B52", infant: false, weight: 4, floor: P,
        signs: &[("very_thin", 0.8), ("oedema_both_feet", 0.3), ("diarrhoea", 0.3), ("some_pallor", 0.4)],
        words: &["very thin", "amekonda sana", "miguu imevimba", "tres maigre"] },
    Disease { name: "Moderate acute malnutrition", icd11: "5B53", infant: false, weight: 5, floor: Y,
        signs: &[("thin", 0.97), ("diarrhoea", 0.2)],
        words: &["losing weight", "amepungua uzito", "maigrit"] },
    Disease { name: "Severe anaemia", icd11: "3A9Z", infant: false, weight: 2, floor: P,
        signs: &[("severe_pallor", 0.97), ("fever", 0.3), ("lethargic", 0.2), ("fast", 0.3)],
        words: &["white palms", "viganja vyeupe", "tres pale"] },
    Disease { name: "Anaemia", icd11: "3A9Z", infant: false, weight: 3, floor: Y,
        signs: &[("some_pallor", 0.97)], words: &["tired and pale", "upungufu wa damu", "pale"] },
    Disease { name: "Urinary tract infection", icd11: "GC08", infant: false, weight: 2, floor: Y,
        signs: &[("fever", 0.9), ("painful_urination", 0.9)],
        words: &["cries when passing urine", "mkojo unauma", "brulure urinaire"] },
    Disease { name: "Infection of bone or joint", icd11: "FB84", infant: false, weight: 1, floor: P,
        signs: &[("fever", 0.95), ("refuses_limb", 0.97)],
        words: &["will not walk knee hot", "goti limevimba", "refuse de marcher"] },
    Disease { name: "Skin infection", icd11: "1B7Z", infant: false, weight: 4, floor: Y,
        signs: &[("skin", 1.0), ("fever", 0.2)], words: &["sores on legs", "vidonda", "plaies", "boil"] },
    Disease { name: "No serious illness", icd11: "QA0Z", infant: false, weight: 8, floor: G,
        signs: &[], words: &["well child visit", "mzima", "va bien", "follow up"] },
    Disease { name: "Possible serious bacterial infection", icd11: "KA60", infant: true, weight: 10, floor: P,
        signs: &[("not_well", 0.6), ("not_at_all", 0.2), ("stimulated", 0.4), ("hot_infant", 0.5), ("cold_infant", 0.2), ("infant_fast", 0.5), ("severe_chest_indrawing", 0.3), ("convulsions", 0.15)],
        words: &["does not suck", "hanyonyi", "baby very weak", "ne tete pas", "moto mchanga ana joto"] },
    Disease { name: "Fast breathing of the young infant", icd11: "KB24", infant: true, weight: 4, floor: Y,
        signs: &[("infant_fast", 0.98), ("cough_or_difficult", 0.7)],
        words: &["breathes fast but feeds", "anapumua haraka ananyonya", "respire vite"] },
    Disease { name: "Local infection of the young infant", icd11: "KA65", infant: true, weight: 4, floor: Y,
        signs: &[("umbilicus_red", 0.7), ("skin_pustules", 0.5)],
        words: &["cord smells", "kitovu chekundu", "nombril rouge"] },
    Disease { name: "Severe jaundice of the young infant", icd11: "KA87", infant: true, weight: 2, floor: P,
        signs: &[("yellow_skin", 0.98), ("yellow_palms", 0.8), ("not_well", 0.3)],
        words: &["yellow hands", "manjano viganja", "jaune partout"] },
    Disease { name: "Jaundice of the young infant", icd11: "KA87", infant: true, weight: 4, floor: Y,
        signs: &[("yellow_skin", 0.98)], words: &["yellow face", "ngozi ya manjano", "teint jaune"] },
    Disease { name: "Feeding problem or low weight", icd11: "KB60", infant: true, weight: 4, floor: Y,
        signs: &[("feeding_problem", 0.95)], words: &["poor latch", "ananyonya kidogo", "petit poids"] },
    Disease { name: "Healthy young infant", icd11: "QA0Z", infant: true, weight: 6, floor: G,
        signs: &[], words: &["postnatal visit", "mtoto mzima", "bebe va bien"] },
];

/// The labels of the differential, in order.
pub fn labels() -> Vec<Label> {
    DISEASES
        .iter()
        .map(|d| Label {
            name: d.name.into(),
            icd11: d.icd11.into(),
        })
        .collect()
}

/// A drawn case.
#[derive(Debug, Clone)]
pub struct SyntheticCase {
    /// What a worker would have written: a findings file as JSON.
    pub file: serde_json::Value,
    /// The findings read from it.
    pub findings: Findings,
    /// Index of the disease.
    pub label: usize,
    /// The urgency it deserves: by the disease, and by the rules with everything known.
    pub urgency: Urgency,
}

/// Draws one case. The same randomness gives the same case.
pub fn draw(pack: &RulePack, rng: &mut impl Rng) -> Result<SyntheticCase, String> {
    let total: u32 = DISEASES.iter().map(|d| d.weight).sum();
    let mut pick = rng.random_range(0..total);
    let label = DISEASES
        .iter()
        .position(|d| match pick.checked_sub(d.weight) {
            Some(rest) => {
                pick = rest;
                false
            }
            None => true,
        });
    let (label, disease) = label
        .and_then(|i| DISEASES.get(i).map(|d| (i, d)))
        .ok_or("no disease drawn")?;
    let (age_name, age) = draw_age(disease.infant, rng);
    let truth = draw_truth(disease, pack, age, rng);
    let text = draw_text(disease, rng);
    let whole = to_findings(&truth, &text, age_name, age, pack)?;
    // Urgency is judged at the level where everything can be measured.
    let urgency = pack
        .evaluate(Profile::Imci, &whole.1)
        .urgency()
        .max(disease.floor);
    let seen = hide(truth, pack, whole.1.group(), rng);
    let (file, findings) = to_findings(&seen, &text, age_name, age, pack)?;
    Ok(SyntheticCase {
        file,
        findings,
        label,
        urgency,
    })
}

fn draw_age(infant: bool, rng: &mut impl Rng) -> (&'static str, f64) {
    if infant {
        ("age_days", f64::from(rng.random_range(0..60u32)))
    } else {
        ("age_months", f64::from(rng.random_range(2..60u32)))
    }
}

fn chance(p: f64, rng: &mut impl Rng) -> bool {
    rng.random_bool(p.clamp(0.0, 1.0))
}

fn spread(mean: f64, width: f64, rng: &mut impl Rng) -> f64 {
    let sum: f64 = (0..4).map(|_| rng.random_range(-1.0..1.0)).sum();
    mean + sum * width / 2.0
}

/// Every finding as it really is.
fn draw_truth(
    disease: &Disease,
    pack: &RulePack,
    age: f64,
    rng: &mut impl Rng,
) -> BTreeMap<String, FindingValue> {
    let signs: BTreeMap<&str, f64> = disease.signs.iter().copied().collect();
    let has = |sign: &str, usual: f64, rng: &mut _| {
        chance(signs.get(sign).copied().unwrap_or(usual), rng)
    };
    let mut truth: BTreeMap<String, FindingValue> = BTreeMap::new();
    for finding in pack.findings() {
        if finding.kind == FindingKind::Flag {
            let yes = has(&finding.id, 0.01, rng);
            truth.insert(
                finding.id.clone(),
                if yes {
                    FindingValue::Yes
                } else {
                    FindingValue::No
                },
            );
        }
    }
    let mut put = |name: &str, value: FindingValue| truth.insert(name.to_owned(), value);
    let text = |word: &str| FindingValue::Text(word.to_owned());
    let round = |x: f64| FindingValue::Number(x.round());
    let fever = if disease.infant {
        has("hot_infant", 0.02, rng)
    } else {
        has("fever", 0.03, rng)
    };
    let cold = has("cold_infant", 0.01, rng);
    let temperature = match (fever, cold) {
        (true, _) => spread(38.8, 0.8, rng).max(37.6),
        (false, true) => spread(34.8, 0.4, rng),
        (false, false) => spread(36.7, 0.4, rng),
    };
    put(
        "temperature",
        FindingValue::Number((temperature.clamp(32.0, 43.0) * 10.0).round() / 10.0),
    );
    put(
        "hot_to_touch",
        if fever {
            FindingValue::Yes
        } else {
            FindingValue::No
        },
    );
    if !disease.infant {
        put(
            "fever",
            if fever {
                FindingValue::Yes
            } else {
                FindingValue::No
            },
        );
    }
    let fast = if disease.infant {
        has("infant_fast", 0.03, rng)
    } else {
        has("fast", 0.03, rng)
    };
    let (slow_mean, fast_mean) = match (disease.infant, age < 12.0) {
        (true, _) => (46.0, 68.0),
        (false, true) => (38.0, 58.0),
        (false, false) => (28.0, 50.0),
    };
    put(
        "respiratory_rate",
        round(spread(if fast { fast_mean } else { slow_mean }, 6.0, rng).clamp(12.0, 110.0)),
    );
    let low = has("lowoxygen", 0.01, rng);
    put(
        "spo2",
        round(
            if low {
                spread(85.0, 4.0, rng).min(89.0)
            } else {
                spread(97.0, 2.0, rng).clamp(91.0, 100.0)
            }
            .max(50.0),
        ),
    );
    let (very_thin, thin) = (has("very_thin", 0.005, rng), has("thin", 0.04, rng));
    put(
        "muac",
        round(match (very_thin, thin) {
            (true, _) => spread(108.0, 5.0, rng).min(114.0),
            (false, true) => spread(120.0, 4.0, rng).clamp(115.0, 124.0),
            (false, false) => spread(143.0, 9.0, rng).max(125.0),
        }),
    );
    put(
        "wfh_z",
        FindingValue::Number(match (very_thin, thin) {
            (true, _) => -3.4,
            (false, true) => -2.4,
            (false, false) => -0.5,
        }),
    );
    put(
        "weight",
        FindingValue::Number(if disease.infant {
            3.4
        } else {
            (4.5 + age * 0.2).min(20.0)
        }),
    );
    let (severe_dry, some_dry) = (has("severe_dry", 0.0, rng), has("some_dry", 0.02, rng));
    put(
        "sunken_eyes",
        if severe_dry || some_dry {
            FindingValue::Yes
        } else {
            FindingValue::No
        },
    );
    put(
        "restless",
        if some_dry {
            FindingValue::Yes
        } else {
            FindingValue::No
        },
    );
    put(
        "drinking",
        text(if severe_dry {
            "poor"
        } else if some_dry {
            "eager"
        } else {
            "normal"
        }),
    );
    put(
        "skin_pinch",
        text(if severe_dry {
            "very_slow"
        } else if some_dry {
            "slow"
        } else {
            "normal"
        }),
    );
    let long = has("long_diarrhoea", 0.02, rng);
    put(
        "diarrhoea_days",
        round(if long {
            spread(20.0, 4.0, rng).max(14.0)
        } else {
            spread(3.0, 1.5, rng).clamp(1.0, 13.0)
        }),
    );
    put("cough_days", round(spread(4.0, 2.0, rng).clamp(1.0, 13.0)));
    put("fever_days", round(spread(2.5, 1.2, rng).clamp(1.0, 6.0)));
    put(
        "malaria_risk",
        text(if chance(0.6, rng) { "high" } else { "low" }),
    );
    let positive = has("rdt_positive", 0.04, rng);
    put(
        "malaria_test",
        text(if positive { "positive" } else { "negative" }),
    );
    let (deep, shallow) = (
        has("deep_ulcers", 0.0, rng),
        has("shallow_ulcers", 0.01, rng),
    );
    put(
        "mouth_ulcers",
        text(if deep {
            "deep"
        } else if shallow {
            "shallow"
        } else {
            "none"
        }),
    );
    let pus = has("ear_pus", 0.0, rng);
    put(
        "ear_discharge_days",
        round(if pus {
            spread(5.0, 3.0, rng).max(1.0)
        } else {
            0.0
        }),
    );
    let (severe, some) = (
        has("severe_pallor", 0.005, rng),
        has("some_pallor", 0.04, rng),
    );
    put(
        "palmar_pallor",
        text(if severe {
            "severe"
        } else if some {
            "some"
        } else {
            "none"
        }),
    );
    let skin = has("skin", 0.02, rng);
    put(
        "skin_problem",
        text(match (skin, rng.random_range(0..4u8)) {
            (false, _) => "none",
            (_, 0) => "impetigo",
            (_, 1) => "scabies",
            (_, 2) => "abscess",
            _ => "ringworm",
        }),
    );
    let (at_all, not_well) = (has("not_at_all", 0.0, rng), has("not_well", 0.02, rng));
    put(
        "feeding",
        text(if at_all {
            "not_at_all"
        } else if not_well {
            "not_well"
        } else {
            "well"
        }),
    );
    put(
        "movement",
        text(if has("stimulated", 0.005, rng) {
            "stimulated"
        } else {
            "own"
        }),
    );
    for (name, word) in [
        ("appetite_test", "passed"),
        ("mother_hiv", "negative"),
        ("child_virological", "not_done"),
        ("child_serology", "not_done"),
    ] {
        put(name, text(word));
    }
    truth
}

/// What a worker has of it: instruments that are not there, questions not asked, counts a little
/// off.
fn hide(
    mut truth: BTreeMap<String, FindingValue>,
    pack: &RulePack,
    group: AgeGroup,
    rng: &mut impl Rng,
) -> BTreeMap<String, FindingValue> {
    let share = rng.random_range(0.0..0.5);
    for finding in pack.findings() {
        let required = finding.required.iter().any(|of| of == group.name());
        let missing = match finding.id.as_str() {
            "spo2" => 0.6,
            "wfh_z" | "temperature_rectal" | "respiratory_rate_second" | "temperature_second" => {
                0.95
            }
            "mother_hiv" | "child_virological" | "child_serology" | "appetite_test" => 0.7,
            _ if required => 0.03,
            _ => share,
        };
        if chance(missing, rng) {
            truth.insert(finding.id.clone(), FindingValue::Unknown);
        } else if finding.id == "respiratory_rate"
            && let Some(FindingValue::Number(rate)) = truth.get_mut("respiratory_rate")
        {
            *rate = (*rate + f64::from(rng.random_range(-2..=2i32))).clamp(10.0, 118.0);
        }
    }
    truth
}

fn draw_text(disease: &Disease, rng: &mut impl Rng) -> String {
    if disease.words.is_empty() || chance(0.35, rng) {
        return String::new();
    }
    let phrase = disease
        .words
        .get(rng.random_range(0..disease.words.len()))
        .copied()
        .unwrap_or_default();
    let mut letters: Vec<char> = phrase.chars().collect();
    if chance(0.4, rng) && letters.len() > 4 {
        let at = rng.random_range(1..letters.len() - 1);
        match rng.random_range(0..3u8) {
            0 => letters.swap(at, at - 1),
            1 => {
                letters.remove(at);
            }
            _ => letters.insert(at, letters.get(at).copied().unwrap_or('a')),
        }
    }
    letters.into_iter().collect()
}

fn to_findings(
    values: &BTreeMap<String, FindingValue>,
    text: &str,
    age_name: &str,
    age: f64,
    pack: &RulePack,
) -> Result<(serde_json::Value, Findings), String> {
    let mut file = serde_json::Map::new();
    file.insert(age_name.to_owned(), age.into());
    if !text.is_empty() {
        file.insert("text".into(), text.into());
    }
    for (name, value) in values {
        let json = match value {
            FindingValue::Number(number) => (*number).into(),
            FindingValue::Text(word) => word.clone().into(),
            other => other.spoken().into(),
        };
        file.insert(name.clone(), json);
    }
    let file = serde_json::Value::Object(file);
    let findings = Findings::parse(&file.to_string(), pack).map_err(|e| e.to_string())?;
    Ok((file, findings))
}
