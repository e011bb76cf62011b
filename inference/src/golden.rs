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

use clinical::age::AGES;
use clinical::{AgeGroup, FindingValue, Profile, Urgency};

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
    "ear_problem": "no", "eye_problem": "no", "measles": "no", "oedema_both_feet": "no", "stridor_calm": "no",
    "chest_indrawing": "no", "stiff_neck": "no", "corneal_clouding": "no", "eye_pus": "no", "refuses_limb": "no",
    "painful_urination": "no", "skin_severe": "no", "skin_near_eye": "no", "skin_large": "no", "blood_in_stool": "no",
    "sunken_eyes": "no", "restless": "no", "swelling_behind_ear": "no", "ear_pain": "no", "temperature": 36.8,
    "muac": 145, "wfh_z": 0, "palmar_pallor": "none", "spo2": 98, "respiratory_rate": 28, "skin_problem": "none",
    "mouth_ulcers": "none", "cough_days": 2, "fever_days": 2, "diarrhoea_days": 2, "ear_discharge_days": 0,
    "drinking": "normal", "skin_pinch": "normal", "malaria_risk": "high", "malaria_test": "negative",
    "appetite_test": "passed", "mother_hiv": "negative", "child_virological": "not_done", "child_serology": "not_done"
}"#;

/// An infant of 20 days in whom everything was looked for and nothing was found.
pub const WELL_INFANT: &str = r#"{
    "age_days": 20, "convulsing_now": "no", "convulsions": "no", "severe_chest_indrawing": "no", "umbilicus_red": "no",
    "skin_pustules": "no", "yellow_skin": "no", "yellow_palms": "no", "yellow_first_24h": "no", "diarrhoea": "no",
    "feeding_problem": "no", "cough_or_difficult": "no", "fever": "no", "hot_to_touch": "no", "vomits_everything": "no",
    "sunken_eyes": "no", "restless": "no", "blood_in_stool": "no", "feeding": "well", "movement": "own",
    "temperature": 36.8, "respiratory_rate": 44, "weight": 3.4, "mother_hiv": "negative", "skin_pinch": "normal",
    "diarrhoea_days": 2
}"#;

/// A woman of 30 weeks in whom everything was looked for and nothing was found.
pub const WELL_MOTHER: &str = r#"{
    "maternal": "yes", "age_years": 24, "gestation_weeks": 30, "convulsing_now": "no", "convulsions": "no",
    "unconscious": "no", "vaginal_bleeding": "no", "heavy_bleeding": "no", "central_cyanosis": "no", "fever": "no",
    "severe_headache": "no", "visual_disturbance": "no", "labour": "no", "looks_very_ill": "no", "severe_vomiting": "no",
    "severe_pain": "no", "breathless": "no", "very_pale": "no", "tires_easily": "no", "swelling_face_hands": "no",
    "fetal_movement": "normal", "waters_broken": "no", "offensive_discharge": "no", "genital_ulcer": "no",
    "abdominal_mass": "no", "cough_or_difficult": "no", "bp_systolic": 110, "bp_diastolic": 70, "urine_protein": "none",
    "epigastric_pain": "no", "dizziness": "no", "pulse": 80, "weak_pulse": "no", "cold_sweats": "no",
    "fetal_heart_absent": "no", "fetal_heart": 140, "haemoglobin": 120, "temperature": 36.8, "respiratory_rate": 18,
    "spo2": 98, "palmar_pallor": "none"
}"#;

/// A grown person of 34 years in whom everything was looked for and nothing was found.
pub const WELL_ADULT: &str = r#"{
    "age_years": 34, "convulsing_now": "no", "convulsions": "no", "unconscious": "no", "confusion": "no",
    "central_cyanosis": "no", "severe_respiratory_distress": "no", "not_able_to_drink": "no", "unable_to_walk": "no",
    "heavy_bleeding": "no", "self_harm_thoughts": "no", "cough_or_difficult": "no", "cough_days": 2, "fever": "no",
    "stiff_neck": "no", "pregnancy_possible": "no", "night_sweats": "no", "weight_loss": "no", "diarrhoea": "no",
    "hiv_test": "negative", "on_hiv_treatment": "no", "malaria_test": "negative", "temperature": 36.8,
    "respiratory_rate": 16, "spo2": 98, "bp_systolic": 120, "bp_diastolic": 80, "pulse": 76
}"#;

use Expected::{Green, GreenNotOffered, NotGreen, Pink, Yellow};

/// A well patient of a group, in whom some things will be different.
fn well(group: AgeGroup) -> &'static str {
    match group {
        AgeGroup::Infant => WELL_INFANT,
        AgeGroup::Child => WELL_CHILD,
        AgeGroup::Mother => WELL_MOTHER,
        AgeGroup::Adult => WELL_ADULT,
    }
}

/// The guideline's cases as a clinician reads them, a table for each group: row of the guideline, level
/// of care, what is different from a well patient, what must come out, and why.
const TABLES: [(AgeGroup, &str); 4] = [
    (AgeGroup::Child, include_str!("../golden/child.tsv")),
    (AgeGroup::Infant, include_str!("../golden/infant.tsv")),
    (AgeGroup::Mother, include_str!("../golden/mother.tsv")),
    (AgeGroup::Adult, include_str!("../golden/adult.tsv")),
];

/// One line of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The row of the guideline.
    pub row: String,
    /// Whom it is about.
    pub group: AgeGroup,
    /// The case.
    pub case: Golden,
}

/// Reads a line of a table. `None`: it is not one.
fn read_line(group: AgeGroup, line: &str) -> Option<Line> {
    let mut columns = line.split('\t');
    let (row, level, different) = (columns.next()?, columns.next()?, columns.next()?);
    let (expected, because) = (columns.next()?, columns.next()?);
    let mut changes = Map::new();
    for change in different.split(' ').filter(|word| word.contains('=')) {
        let (name, value) = change.split_once('=')?;
        let number = value.parse::<f64>().ok().map(Json::from);
        changes.insert(name.into(), number.unwrap_or_else(|| value.into()));
    }
    let whom = group.name();
    Some(Line {
        row: row.to_owned(),
        group,
        case: Golden {
            name: format!("row {row}, a well {whom}, but {different}: {because}"),
            profile: Profile::parse(level)?,
            findings: with_changes(well(group), changes)?,
            expected: match expected {
                "pink" => Pink,
                "yellow" => Yellow,
                "green" => Green,
                "not-green" => NotGreen,
                "not-offered" => GreenNotOffered,
                _ => return None,
            },
        },
    })
}

/// A patient as a findings file, with some things different.
fn changed(base: &str, changes: &str) -> Option<Map<String, Json>> {
    with_changes(base, serde_json::from_str(changes).ok()?)
}

fn with_changes(base: &str, changes: Map<String, Json>) -> Option<Map<String, Json>> {
    let mut file: Map<String, Json> = serde_json::from_str(base).ok()?;
    if changes.keys().any(|name| AGES.contains(&name.as_str())) {
        file.retain(|name, _| !AGES.contains(&name.as_str()));
    }
    if changes.contains_key("days_since_delivery") {
        file.retain(|name, _| !PREGNANT_ONLY.contains(&name.as_str()));
    }
    file.extend(changes);
    Some(file)
}

/// What is said of a woman who has not given birth yet.
const PREGNANT_ONLY: [&str; 6] = [
    "gestation_weeks",
    "labour",
    "waters_broken",
    "fetal_movement",
    "fetal_heart",
    "fetal_heart_absent",
];

/// The cases that every phone has built in.
///
/// # Errors
/// A line that is none, which no build has.
pub fn lines() -> Result<&'static [Line], String> {
    static READ: std::sync::OnceLock<Result<Vec<Line>, String>> = std::sync::OnceLock::new();
    let read = READ.get_or_init(|| {
        let tables = TABLES.iter().flat_map(|(group, table)| {
            let lines = table.lines().skip(1).filter(|line| !line.is_empty());
            lines.map(|line| {
                read_line(*group, line).ok_or_else(|| format!("no golden case: {line}"))
            })
        });
        tables.collect()
    });
    read.as_deref().map_err(Clone::clone)
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

/// In what an age of a group is said.
fn age_unit(group: AgeGroup) -> &'static str {
    match group {
        AgeGroup::Infant => "age_days",
        AgeGroup::Child | AgeGroup::Mother | AgeGroup::Adult => "age_months",
    }
}

/// Patients for whom each rule of a pack speaks, drawn from the rules themselves.
pub(crate) fn draw(pack: &RulePack) -> impl Iterator<Item = Golden> {
    draw_all(pack).into_iter().map(|(_, case)| case)
}

fn draw_all(guideline: &RulePack) -> Vec<(String, Golden)> {
    let mut drawn = Vec::new();
    for rule in guideline
        .all_rules()
        .iter()
        .filter(|rule| rule.urgency > Urgency::Green)
    {
        let Some(group) = AgeGroup::ALL
            .into_iter()
            .find(|group| group.name() == rule.group)
        else {
            continue;
        };
        let (base, age) = (well(group), age_unit(group));
        let compared = guideline.compared(&rule.when);
        let ages = compared
            .get(age)
            .map(|(bounds, _)| bounds.clone())
            .unwrap_or_default();
        let ages = ages
            .iter()
            .flat_map(|bound| [bound - 1.0, *bound])
            .map(|n| n as u64);
        let usual = if matches!(group, AgeGroup::Infant | AgeGroup::Child) {
            20
        } else {
            300
        };
        let mut ages: Vec<u64> = ages.chain([usual]).collect();
        ages.retain(|age| match group {
            AgeGroup::Infant => *age < 60,
            AgeGroup::Child => (2..60).contains(age),
            AgeGroup::Mother | AgeGroup::Adult => *age >= 120,
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
                    let whom = group.name();
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
    let given_up = |line: &Line| pack.gives_up().contains(&line.row);
    let cases = lines()?.iter().filter(|line| !given_up(line));
    let cases: Vec<_> = cases.map(|line| &line.case).collect();
    for case in cases.iter().copied().chain(pack.golden()) {
        try_case(pack, case)?;
    }
    let held = at_least()
        .iter()
        .filter(|(rule, _)| !pack.gives_up().contains(rule));
    let held: Vec<_> = held.map(|(_, case)| case).collect();
    held.iter().try_for_each(|case| try_case(pack, case))?;
    Ok(cases.len() + pack.golden().len() + held.len())
}

/// Tries one line of the tables on a pack, alone.
///
/// # Errors
/// What came out instead, in words.
pub fn try_line(pack: &RulePack, line: &Line) -> Result<(), String> {
    try_case(pack, &line.case)
}

/// The rules of a pack, alone, that fire for a line of the tables.
pub fn fired(pack: &RulePack, line: &Line) -> Vec<String> {
    let findings = Findings::of_golden(&line.case.findings, pack);
    let said = findings.map(|findings| pack.evaluate_alone(line.case.profile, &findings));
    said.map(|said| said.fired.into_iter().map(|o| o.rule).collect())
        .unwrap_or_default()
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
