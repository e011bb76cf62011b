//! Golden cases of the rules: patients of whom it is known what must come out. A rule pack runs
//! only if all of them come out right, those that every phone has built in and those that the pack
//! brings itself: at the desk's check, and on every phone before it is activated. They are tried on
//! the pack alone, without the floor, which would hide what the pack lacks.
//!
//! Sources: IMCI chart booklet 2014; iCCM 2011; the young infant's chart 2019; WHO smart-dak-ccc
//! v1.0.0.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use clinical::{FindingValue, Profile, Urgency};

use crate::findings::{Findings, read_value, value_of};
use crate::logic::Tri;
use crate::rules::{FindingKind, Rule, RulePack, with_level};

/// What must come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Pink.
    Pink,
    /// Yellow, and no more.
    Yellow,
    /// Yellow or pink.
    NotGreen,
    /// Green, and the worker may choose it.
    Green,
    /// Green may not be chosen: something is to be measured first.
    GreenNotOffered,
}

/// A case that a pack brings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// What it is about, for people.
    pub name: String,
    /// The level of care.
    pub profile: Profile,
    /// As in a findings file.
    pub findings: Map<String, Json>,
    /// What must come out.
    pub expected: Expected,
}

/// A child of 20 months in whom everything was looked for and nothing was found.
pub const WELL_CHILD: &str = r#"{
    "age_months": 20, "convulsing_now": "no", "convulsions": "no", "lethargic": "no", "not_able_to_drink": "no",
    "vomits_everything": "no", "airway": "no", "cough_or_difficult": "no", "diarrhoea": "no", "fever": "no",
    "temperature": 36.8, "ear_problem": "no", "measles": "no", "muac": 145, "wfh_z": 0, "oedema_both_feet": "no",
    "palmar_pallor": "none", "stridor_calm": "no", "chest_indrawing": "no", "spo2": 98, "respiratory_rate": 28,
    "stiff_neck": "no", "skin_problem": "none", "corneal_clouding": "no", "mouth_ulcers": "none", "eye_pus": "no",
    "refuses_limb": "no", "skin_severe": "no", "skin_near_eye": "no", "cough_days": 2, "fever_days": 2,
    "diarrhoea_days": 2, "blood_in_stool": "no", "sunken_eyes": "no", "restless": "no", "drinking": "normal",
    "skin_pinch": "normal", "malaria_test": "negative", "appetite_test": "passed", "mother_hiv": "negative"
}"#;

/// An infant of 20 days in whom everything was looked for and nothing was found.
pub const WELL_INFANT: &str = r#"{
    "age_days": 20, "convulsing_now": "no", "convulsions": "no", "feeding": "well", "movement": "own",
    "severe_chest_indrawing": "no", "temperature": 36.8, "respiratory_rate": 44, "umbilicus_red": "no",
    "skin_pustules": "no", "yellow_skin": "no", "yellow_palms": "no", "diarrhoea": "no", "weight": 3.4,
    "feeding_problem": "no", "cough_or_difficult": "no", "fever": "no", "hot_to_touch": "no", "vomits_everything": "no",
    "mother_hiv": "negative"
}"#;

use Expected::{Green, GreenNotOffered, NotGreen, Pink, Yellow};
use Profile::{Iccm, Imci};

/// Level (both where none is named), well child or infant, what is different, and what must come
/// out.
#[rustfmt::skip]
const GUIDELINE: &[(Option<Profile>, &str, &str, Expected)] = &[
    (None, WELL_CHILD, r#"{}"#, Green),
    (None, WELL_INFANT, r#"{}"#, Green),
    // Each general danger sign, found and not known.
    (None, WELL_CHILD, r#"{"convulsing_now": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"convulsions": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"lethargic": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"not_able_to_drink": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"vomits_everything": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"airway": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"convulsing_now": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"convulsions": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"lethargic": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"not_able_to_drink": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"vomits_everything": "unknown"}"#, GreenNotOffered),
    // Cough: both sides of each threshold, and what is unknown.
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes"}"#, Green),
    (None, WELL_CHILD, r#"{"age_months": 11, "cough_or_difficult": "yes", "respiratory_rate": 49}"#, Green),
    (None, WELL_CHILD, r#"{"age_months": 11, "cough_or_difficult": "yes", "respiratory_rate": 50}"#, Yellow),
    (None, WELL_CHILD, r#"{"age_months": 2, "cough_or_difficult": "yes", "respiratory_rate": 50}"#, Yellow),
    (None, WELL_CHILD, r#"{"age_months": 12, "cough_or_difficult": "yes", "respiratory_rate": 39}"#, Green),
    (None, WELL_CHILD, r#"{"age_months": 12, "cough_or_difficult": "yes", "respiratory_rate": 40}"#, Yellow),
    (None, WELL_CHILD, r#"{"age_months": 59, "cough_or_difficult": "yes", "respiratory_rate": 40}"#, Yellow),
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes", "respiratory_rate": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes", "respiratory_rate": 5}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes", "stridor_calm": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes", "spo2": 89}"#, Pink),
    (None, WELL_CHILD, r#"{"cough_or_difficult": "yes", "spo2": 90}"#, Green),
    (Some(Iccm), WELL_CHILD, r#"{"cough_or_difficult": "yes", "chest_indrawing": "yes"}"#, Pink),
    (Some(Imci), WELL_CHILD, r#"{"cough_or_difficult": "yes", "chest_indrawing": "yes"}"#, NotGreen),
    (Some(Iccm), WELL_CHILD, r#"{"cough_or_difficult": "yes", "cough_days": 14}"#, Pink),
    (Some(Iccm), WELL_CHILD, r#"{"cough_or_difficult": "yes", "cough_days": 13}"#, Green),
    (Some(Imci), WELL_CHILD, r#"{"cough_or_difficult": "yes", "cough_days": 15}"#, NotGreen),
    // Diarrhoea.
    (None, WELL_CHILD, r#"{"diarrhoea": "yes"}"#, Green),
    (None, WELL_CHILD, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "skin_pinch": "very_slow"}"#, Pink),
    (None, WELL_CHILD, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "skin_pinch": "slow"}"#, NotGreen),
    (Some(Iccm), WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 14}"#, Pink),
    (Some(Iccm), WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 13}"#, Green),
    (Some(Imci), WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 14}"#, NotGreen),
    (Some(Iccm), WELL_CHILD, r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#, Pink),
    (Some(Imci), WELL_CHILD, r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#, NotGreen),
    // Fever.
    (None, WELL_CHILD, r#"{"fever": "yes"}"#, Green),
    (None, WELL_CHILD, r#"{"fever": "yes", "malaria_test": "positive"}"#, NotGreen),
    (None, WELL_CHILD, r#"{"fever": "yes", "malaria_test": "unknown"}"#, GreenNotOffered),
    (None, WELL_CHILD, r#"{"fever": "yes", "stiff_neck": "yes"}"#, Pink),
    (Some(Iccm), WELL_CHILD, r#"{"fever": "yes", "fever_days": 7}"#, Pink),
    (Some(Iccm), WELL_CHILD, r#"{"fever": "yes", "fever_days": 6}"#, Green),
    (Some(Imci), WELL_CHILD, r#"{"fever": "yes", "fever_days": 8}"#, NotGreen),
    (None, WELL_CHILD, r#"{"measles": "yes", "corneal_clouding": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"ear_problem": "yes", "swelling_behind_ear": "yes"}"#, Pink),
    // Nutrition and anaemia.
    (None, WELL_CHILD, r#"{"oedema_both_feet": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"oedema_both_feet": "unknown"}"#, GreenNotOffered),
    (Some(Iccm), WELL_CHILD, r#"{"muac": 114, "wfh_z": "unknown"}"#, Pink),
    (None, WELL_CHILD, r#"{"muac": 115, "wfh_z": "unknown"}"#, Yellow),
    (None, WELL_CHILD, r#"{"muac": 124, "wfh_z": "unknown"}"#, Yellow),
    (None, WELL_CHILD, r#"{"muac": 125, "wfh_z": "unknown"}"#, Green),
    (None, WELL_CHILD, r#"{"palmar_pallor": "severe"}"#, Pink),
    // A severe sign known to be there, whatever its gate says.
    (None, WELL_CHILD, r#"{"stridor_calm": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"stiff_neck": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"swelling_behind_ear": "yes"}"#, Pink),
    (None, WELL_CHILD, r#"{"sunken_eyes": "yes", "skin_pinch": "very_slow"}"#, Pink),
    (None, WELL_CHILD, r#"{"respiratory_rate": 72}"#, NotGreen),
    // HIV at the facility.
    (Some(Imci), WELL_CHILD, r#"{"mother_hiv": "positive", "child_virological": "not_done", "breastfed_within_6_weeks": "no"}"#, NotGreen),
    (Some(Imci), WELL_INFANT, r#"{"mother_hiv": "positive"}"#, NotGreen),
    // The young infant.
    (None, WELL_INFANT, r#"{"convulsing_now": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"convulsions": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"feeding": "not_at_all"}"#, Pink),
    (None, WELL_INFANT, r#"{"feeding": "not_well"}"#, Pink),
    (None, WELL_INFANT, r#"{"movement": "stimulated"}"#, Pink),
    (None, WELL_INFANT, r#"{"movement": "none"}"#, Pink),
    (None, WELL_INFANT, r#"{"severe_chest_indrawing": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"temperature": 38.0}"#, Pink),
    (None, WELL_INFANT, r#"{"temperature": 37.4}"#, Green),
    (None, WELL_INFANT, r#"{"temperature": 35.4}"#, Pink),
    (None, WELL_INFANT, r#"{"temperature": 35.5}"#, Green),
    (None, WELL_INFANT, r#"{"age_days": 6, "respiratory_rate": 60}"#, Pink),
    (None, WELL_INFANT, r#"{"age_days": 7, "respiratory_rate": 60}"#, NotGreen),
    (None, WELL_INFANT, r#"{"respiratory_rate": 59}"#, Green),
    (None, WELL_INFANT, r#"{"feeding": "unknown"}"#, GreenNotOffered),
    (None, WELL_INFANT, r#"{"movement": "unknown"}"#, GreenNotOffered),
    (None, WELL_INFANT, r#"{"convulsions": "unknown"}"#, GreenNotOffered),
    (None, WELL_INFANT, r#"{"severe_chest_indrawing": "unknown"}"#, GreenNotOffered),
    (None, WELL_INFANT, r#"{"airway": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"lethargic": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"stiff_neck": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"spo2": 89}"#, Pink),
    (None, WELL_INFANT, r#"{"yellow_skin": "yes", "yellow_palms": "yes"}"#, Pink),
    (None, WELL_INFANT, r#"{"umbilicus_red": "yes"}"#, NotGreen),
];

/// A patient as a findings file, with some things different.
fn changed(base: &str, changes: &str) -> Option<Map<String, Json>> {
    let mut file: Map<String, Json> = serde_json::from_str(base).ok()?;
    let changes: Map<String, Json> = serde_json::from_str(changes).ok()?;
    if changes.keys().any(|name| name.starts_with("age_")) {
        file.retain(|name, _| !name.starts_with("age_"));
    }
    file.extend(changes);
    Some(file)
}

/// The cases that every phone has built in.
pub fn guideline() -> Vec<Golden> {
    let mut cases = Vec::new();
    for (level, base, changes, expected) in GUIDELINE {
        let levels: &[Profile] = if level.is_some() {
            level.as_slice()
        } else {
            &[Iccm, Imci]
        };
        for profile in levels {
            let whom = if *base == WELL_CHILD {
                "a well child"
            } else {
                "a well infant"
            };
            let findings = changed(base, changes).unwrap_or_default();
            cases.push(Golden {
                name: format!("{whom}, but {changes}"),
                profile: *profile,
                findings,
                expected: *expected,
            });
        }
    }
    cases
}

/// Patients that one rule is tried on at one age with so many differences, at most.
const DRAWN_MAX: usize = 8_000;
/// How many things are different from a well child at once.
const DIFFERENT_MAX: usize = 4;

/// A well patient, as values and as a file, and what may be different: each thing with its values.
struct Drawing<'a> {
    guideline: &'a RulePack,
    rule: &'a Rule,
    values: BTreeMap<String, FindingValue>,
    things: Vec<(String, Vec<(Json, FindingValue)>)>,
    /// What was found to make the rule speak, as places in `things`, the least of it.
    found: Vec<Vec<(usize, usize)>>,
    left: usize,
}

impl Drawing<'_> {
    /// Changes `more` things after those that are changed, and notes for what the rule speaks that
    /// it did not speak for less.
    fn draw(&mut self, changed: &mut Vec<(usize, usize)>, more: usize) {
        let from = changed.last().map_or(0, |(thing, _)| thing + 1);
        for thing in from..self.things.len() {
            let (name, count) = self
                .things
                .get(thing)
                .map(|(n, v)| (n.clone(), v.len()))
                .unwrap_or_default();
            for value in 0..count {
                changed.push((thing, value));
                let less = |found: &Vec<(usize, usize)>| {
                    found.iter().all(|change| changed.contains(change))
                };
                if self.left > 0 && !self.found.iter().any(less) {
                    let said = self
                        .things
                        .get(thing)
                        .and_then(|(_, values)| values.get(value))
                        .map(|(_, v)| v.clone());
                    let before = said.and_then(|said| self.values.insert(name.clone(), said));
                    match more {
                        1 => {
                            self.left -= 1;
                            if self.guideline.holds(&self.rule.when, &self.values) == Tri::Yes {
                                self.found.push(changed.clone());
                            }
                        }
                        _ => self.draw(changed, more - 1),
                    }
                    match before {
                        Some(before) => self.values.insert(name.clone(), before),
                        None => self.values.remove(&name),
                    };
                }
                changed.pop();
            }
        }
    }
}

/// On both sides of everything that a condition compares: found, not found and not known of every
/// sign, and a little below and above every number.
fn things_compared(
    guideline: &RulePack,
    rule: &Rule,
    well: &BTreeMap<String, FindingValue>,
) -> Vec<(String, Vec<(Json, FindingValue)>)> {
    let mut things = Vec::new();
    for (name, (mut bounds, words)) in guideline.compared(&rule.when) {
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let Some(spec) = guideline.finding(&name) else {
            continue;
        }; // an age, or the level of care
        let said: Vec<Json> = match &spec.kind {
            FindingKind::Flag => ["yes", "no", "unknown"].map(Json::from).to_vec(),
            FindingKind::Choice(_) => words
                .into_iter()
                .map(Json::from)
                .chain([Json::from("unknown")])
                .collect(),
            FindingKind::Number { min, max, .. } => {
                let near = bounds
                    .iter()
                    .flat_map(|bound| [bound - 0.1, *bound, bound + 0.1]);
                let within = near
                    .filter(|n| (*min..=*max).contains(n))
                    .map(|n| (n * 10.0).round() / 10.0);
                within
                    .map(Json::from)
                    .chain([Json::from("unknown")])
                    .collect()
            }
        };
        let value = |json: Json| {
            read_value(&name, &value_of(&json), guideline)
                .ok()
                .map(|value| (json, value))
        };
        let other = |(_, value): &(Json, FindingValue)| {
            well.get(&name).unwrap_or(&FindingValue::Unknown) != value
        };
        things.push((
            name.clone(),
            said.into_iter().filter_map(value).filter(other).collect(),
        ));
    }
    things
}

/// For each rule of the guidelines that is more than green, patients for whom it speaks, with the
/// least that makes it speak: what a pack must say at least. They are drawn once, from the rules
/// themselves.
fn at_least() -> &'static [(String, Golden)] {
    static DRAWN: std::sync::OnceLock<Vec<(String, Golden)>> = std::sync::OnceLock::new();
    DRAWN.get_or_init(|| {
        RulePack::built_in()
            .map(|guideline| draw_all(&guideline))
            .unwrap_or_default()
    })
}

fn draw_all(guideline: &RulePack) -> Vec<(String, Golden)> {
    let mut drawn = Vec::new();
    for rule in guideline
        .all_rules()
        .iter()
        .filter(|rule| rule.urgency > Urgency::Green)
    {
        let infant = rule.group == "infant";
        let (base, age) = if infant {
            (WELL_INFANT, "age_days")
        } else {
            (WELL_CHILD, "age_months")
        };
        let compared = guideline.compared(&rule.when);
        let ages = compared
            .get(age)
            .map(|(bounds, _)| bounds.clone())
            .unwrap_or_default();
        let ages = ages
            .iter()
            .flat_map(|bound| [bound - 1.0, *bound])
            .map(|n| n as u64);
        let mut ages: Vec<u64> = ages.chain([20]).collect();
        ages.retain(|age| {
            if infant {
                *age < 60
            } else {
                (2..60).contains(age)
            }
        });
        ages.sort_unstable();
        ages.dedup();
        for profile in &rule.profiles {
            for number in &ages {
                let Some(well) = changed(base, &format!(r#"{{"{age}": {number}}}"#)) else {
                    continue;
                };
                let Ok(findings) = Findings::of_golden(&well, guideline) else {
                    continue;
                };
                let values = with_level(findings.values(), *profile);
                let things = things_compared(guideline, rule, &values);
                let mut drawing = Drawing {
                    guideline,
                    rule,
                    values,
                    things,
                    found: Vec::new(),
                    left: DRAWN_MAX,
                };
                for more in 1..=DIFFERENT_MAX {
                    drawing.left = DRAWN_MAX;
                    drawing.draw(&mut Vec::new(), more);
                }
                for found in &drawing.found {
                    let change = |(thing, value): &(usize, usize)| {
                        let (name, values) = drawing.things.get(*thing)?;
                        Some((name.clone(), values.get(*value)?.0.clone()))
                    };
                    let changes: Map<String, Json> = found.iter().filter_map(change).collect();
                    let mut findings = well.clone();
                    findings.extend(changes.clone());
                    let whom = if infant { "infant" } else { "child" };
                    let name = format!(
                        "a well {whom} ({age} {number}), but {}: {}",
                        Json::Object(changes),
                        rule.class
                    );
                    let expected = if rule.urgency == Urgency::Pink {
                        Pink
                    } else {
                        NotGreen
                    };
                    drawn.push((
                        rule.id.clone(),
                        Golden {
                            name,
                            profile: *profile,
                            findings,
                            expected,
                        },
                    ));
                }
            }
        }
    }
    drawn
}

/// Tries a pack, alone, on all golden cases, its own and those built in, and on both sides of
/// everything that the rules of the guidelines compare. How many came out as they must.
///
/// # Errors
/// The first that did not, in words.
pub fn try_pack(pack: &RulePack) -> Result<usize, String> {
    if !pack.is_guideline() {
        // It runs beside the guideline's rules, which are tried by themselves.
        pack.golden()
            .iter()
            .try_for_each(|case| try_case(pack, case))?;
        return Ok(pack.golden().len());
    }
    let cases = guideline();
    for case in cases.iter().chain(pack.golden()) {
        try_case(pack, case)?;
    }
    let held = at_least()
        .iter()
        .filter(|(rule, _)| !pack.gives_up().contains(rule));
    let held: Vec<_> = held.map(|(_, case)| case).collect();
    held.iter().try_for_each(|case| try_case(pack, case))?;
    Ok(cases.len() + pack.golden().len() + held.len())
}

fn try_case(pack: &RulePack, case: &Golden) -> Result<(), String> {
    let findings = Findings::of_golden(&case.findings, pack)
        .map_err(|e| format!("golden case {:?}: {e}", case.name))?;
    let said = pack.evaluate_alone(case.profile, &findings);
    let (urgency, offered) = (said.urgency(), said.green_offered());
    let right = match case.expected {
        Pink => urgency == Urgency::Pink,
        Yellow => urgency == Urgency::Yellow,
        NotGreen => urgency > Urgency::Green,
        Green => urgency == Urgency::Green && offered,
        GreenNotOffered => urgency > Urgency::Green || !offered,
    };
    if right {
        return Ok(());
    }
    let must = match case.expected {
        Pink => "pink",
        Yellow => "yellow",
        NotGreen => "yellow or pink",
        Green => "green",
        GreenNotOffered => "not green before something is measured",
    };
    let rules: Vec<_> = said
        .fired
        .iter()
        .chain(&said.cannot_clear)
        .map(|o| o.rule.as_str())
        .collect();
    let by = if rules.is_empty() {
        "no rule".to_owned()
    } else {
        rules.join(", ")
    };
    let offered = if offered {
        ""
    } else {
        ", not offered as green"
    };
    Err(format!(
        "golden case failed ({}): {} must be {must}, and comes out {}{offered} by {by}",
        case.profile.name(),
        case.name,
        urgency.name()
    ))
}
