//! Treatment: from what a pack's rules say to medicines with their doses, steps before a referral, what
//! to tell and when to come back. Data of a signed pack (`[[medicine]]`, `[[treat]]`, `[[advice]]`), never
//! a model's words.
//!
//! 1. Pink is a referral: the first dose of what is named for it, and nothing that delays it. Several
//!    pink rules are one referral; a medicine that two of them name is given once.
//! 2. A dose goes by weight where one is known, else by age. What lies in no band is not guessed.
//! 3. An allergy, and what a pack forbids (`unless`), withholds a medicine and is named; so does what
//!    would forbid it and is not known.
//! 4. Doses that stand in the case count: a first dose is not given twice.

use std::collections::BTreeSet;

use clinical::assessment::Fired;
use clinical::plan::{Advice, Basis, DoseGiven, Given, Plan, Prescribed, WhyWithheld, Withheld};
use clinical::{FindingValue, Profile, Urgency};
use serde::Deserialize;

use crate::findings::Findings;
use crate::logic::{Expr, Tri};
use crate::rules::{RulePack, with_level};

/// A medicine, as a pack names it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Medicine {
    /// Its id.
    pub id: String,
    /// Its name and form.
    pub name: String,
    /// Of what a dose is counted.
    pub unit: String,
    /// mg in one unit.
    pub mg: Option<f64>,
    /// By which way.
    #[serde(default)]
    pub route: String,
    /// Beginnings of words by which people name it when they have given it.
    pub names: Vec<String>,
    /// Words of an allergy that forbid it.
    #[serde(default)]
    pub allergy: Vec<String>,
}

/// One row of a table of doses: from, below.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Band {
    /// Months.
    age: Option<[f64; 2]>,
    /// kg.
    weight: Option<[f64; 2]>,
    /// Units, the least and the most.
    #[serde(default)]
    amount: Vec<f64>,
    /// Sources differ: nothing is said, and why.
    differ: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTreat {
    rules: Vec<String>,
    medicine: String,
    #[serde(default)]
    profiles: Option<Vec<Profile>>,
    #[serde(default)]
    when: Option<String>,
    #[serde(default)]
    unless: Option<String>,
    #[serde(default)]
    unless_words: String,
    #[serde(default)]
    referral: bool,
    #[serde(default)]
    first: bool,
    #[serde(default)]
    times: u32,
    #[serde(default)]
    days: u32,
    #[serde(default)]
    how: String,
    source: String,
    #[serde(default)]
    band: Vec<Band>,
    /// mg for each kg, the least and the most.
    #[serde(default)]
    per_kg: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAdvice {
    rules: Vec<String>,
    kind: AdviceKind,
    #[serde(default)]
    profiles: Option<Vec<Profile>>,
    #[serde(default)]
    when: Option<String>,
    #[serde(default)]
    referral: bool,
    #[serde(default)]
    words: String,
    #[serde(default)]
    days: Option<u32>,
    source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AdviceKind {
    Step,
    Tell,
    Return,
    FollowUp,
}

/// For which rules, at which level of care, and when.
#[derive(Debug, Clone, PartialEq)]
struct For {
    rules: Vec<String>,
    profiles: Vec<Profile>,
    when: Option<Expr>,
    referral: bool,
}

/// One medicine for some rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Treat {
    whom: For,
    medicine: String,
    unless: Option<(Expr, String)>,
    first: bool,
    times: u32,
    days: u32,
    how: String,
    source: String,
    bands: Vec<Band>,
    per_kg: Option<[f64; 2]>,
}

/// Treatments of one pack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Treatments {
    medicines: Vec<Medicine>,
    treats: Vec<Treat>,
    advice: Vec<(For, AdviceKind, RawAdviceWords)>,
}

#[derive(Debug, Clone, PartialEq)]
struct RawAdviceWords {
    words: String,
    days: Option<u32>,
    source: String,
}

/// Of all rules that are not pink.
const ANY: &str = "*";
/// Longest course, in days, and most doses a day, that a pack can name.
const DAYS_MAX: u32 = 60;
const TIMES_MAX: u32 = 12;
/// Most units of one dose: international units of a vitamin.
const AMOUNT_MAX: f64 = 1_000_000.0;
/// Smallest part of a tablet that people can break.
const HALF: f64 = 0.5;

/// Reads a condition that a pack writes, by the names that it knows.
type Reads<'a> = &'a dyn Fn(&str, &str) -> Result<Expr, String>;

impl Treatments {
    /// Checks what a pack says: that rules, medicines and conditions are known, and that each table of
    /// doses is one a person could follow.
    pub(crate) fn read(
        (medicines, treats, advice): (Vec<Medicine>, Vec<RawTreat>, Vec<RawAdvice>),
        rules: &BTreeSet<String>,
        reads: Reads<'_>,
    ) -> Result<Self, String> {
        let mut ids = BTreeSet::new();
        for medicine in &medicines {
            let whole = medicine.mg.is_none_or(|mg| mg.is_finite() && mg > 0.0);
            if medicine.mg.is_none() && ceiling(medicine).is_some() {
                return Err(format!(
                    "the medicine {} does not say its strength",
                    medicine.id
                ));
            }
            if !ids.insert(medicine.id.clone()) || !whole || medicine.names.is_empty() {
                return Err(format!("the medicine {} is not well said", medicine.id));
            }
        }
        let whom = |of: &str, rules_for: Vec<String>, profiles, when: Option<String>, referral| {
            let unknown = rules_for
                .iter()
                .find(|id| *id != ANY && !rules.contains(*id));
            if let Some(id) = unknown {
                return Err(format!("{of} is for {id:?}, which is no rule"));
            }
            Ok(For {
                rules: rules_for,
                profiles: Option::unwrap_or_else(profiles, || Profile::ALL.to_vec()),
                when: when.map(|when| reads(of, &when)).transpose()?,
                referral,
            })
        };
        let treats = treats.into_iter().map(|raw| {
            let of = format!("the treatment with {}", raw.medicine);
            if !ids.contains(&raw.medicine) {
                return Err(format!("{of}: no such medicine"));
            }
            table_is_sound(&of, &raw)?;
            let unless = raw.unless.map(|when| reads(&of, &when)).transpose()?;
            Ok(Treat {
                whom: whom(&of, raw.rules, raw.profiles, raw.when, raw.referral)?,
                medicine: raw.medicine,
                unless: unless.map(|unless| (unless, raw.unless_words)),
                first: raw.first,
                times: raw.times,
                days: raw.days,
                how: raw.how,
                source: raw.source,
                bands: raw.band,
                per_kg: raw.per_kg,
            })
        });
        let treats = treats.collect::<Result<Vec<_>, String>>()?;
        let advice = advice.into_iter().map(|raw| {
            let of = format!("the advice {:?}", raw.words);
            if (raw.kind == AdviceKind::FollowUp) != raw.days.is_some()
                || (raw.kind != AdviceKind::FollowUp && raw.words.is_empty())
            {
                return Err(format!("{of} is not well said"));
            }
            let said = RawAdviceWords {
                words: raw.words,
                days: raw.days,
                source: raw.source,
            };
            let whom = whom(&of, raw.rules, raw.profiles, raw.when, raw.referral)?;
            Ok((whom, raw.kind, said))
        });
        Ok(Self {
            medicines,
            treats,
            advice: advice.collect::<Result<Vec<_>, String>>()?,
        })
    }

    /// Rules for which something is said to do at a level of care, beyond what is said for all.
    pub fn rules_at(&self, profile: Profile) -> BTreeSet<&str> {
        let treats = self.treats.iter().map(|treat| &treat.whom);
        let advice = self.advice.iter().map(|(whom, ..)| whom);
        let here = treats
            .chain(advice)
            .filter(|whom| whom.profiles.contains(&profile));
        here.flat_map(|whom| whom.rules.iter().map(String::as_str))
            .filter(|id| *id != ANY)
            .collect()
    }

    /// Every row of every table of doses, for a clinician to read and sign: the medicine, whom it is
    /// for, the dose, and the source.
    pub fn rows(&self) -> impl Iterator<Item = [String; 4]> {
        self.treats.iter().flat_map(|treat| {
            let named = self.medicines.iter().find(|m| m.id == treat.medicine);
            let (name, unit) = named.map_or(("", ""), |m| (m.name.as_str(), m.unit.as_str()));
            let levels: Vec<_> = treat.whom.profiles.iter().map(|p| p.name()).collect();
            let whom = format!("{} ({})", treat.whom.rules.join(", "), levels.join(", "));
            let course = match (treat.whom.referral, treat.times, treat.days) {
                (true, ..) => "once, before referral".to_owned(),
                (false, 0, 0) => treat.how.clone(),
                (false, 0, days) => format!("{} for {days} days", treat.how),
                (false, times, days) => format!("{times} times a day for {days} days"),
            };
            let row = move |dose: String| {
                let course = course.clone();
                [
                    name.to_owned(),
                    whom.clone(),
                    format!("{dose}, {course}"),
                    treat.source.clone(),
                ]
            };
            let per_kg = treat
                .per_kg
                .map(|[least, most]| format!("{least} to {most} mg for each kg"));
            let bands = treat.bands.iter().map(move |band| band.said(unit));
            per_kg.into_iter().chain(bands).map(row)
        })
    }
}

/// Whether a table can be followed: each row says a dose, and rows of one kind do not overlap.
fn table_is_sound(of: &str, raw: &RawTreat) -> Result<(), String> {
    if raw.times > TIMES_MAX || raw.days > DAYS_MAX {
        return Err(format!("{of}: no course is that long"));
    }
    if raw.band.is_empty() && raw.per_kg.is_none() {
        return Err(format!("{of} says no dose"));
    }
    if let Some([least, most]) = raw.per_kg
        && !(least > 0.0 && least <= most && most <= AMOUNT_MAX)
    {
        return Err(format!("{of}: {least} to {most} mg/kg is no dose"));
    }
    for band in &raw.band {
        let dose = match (band.amount.as_slice(), &band.differ) {
            ([one], None) => *one > 0.0 && *one <= AMOUNT_MAX,
            ([least, most], None) => *least > 0.0 && least <= most && *most <= AMOUNT_MAX,
            ([], Some(_)) => true,
            _ => false,
        };
        let ordered = |part: Option<[f64; 2]>| part.is_none_or(|[from, below]| from < below);
        if !dose || !ordered(band.age) || !ordered(band.weight) {
            return Err(format!("{of}: a row of its table says no dose"));
        }
    }
    for part in [|band: &Band| band.age, |band: &Band| band.weight] {
        let mut rows: Vec<_> = raw.band.iter().filter_map(part).collect();
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let overlaps = rows.windows(2).any(|two| match two {
            [[_, below], [from, _]] => below > from,
            _ => false,
        });
        if overlaps {
            return Err(format!(
                "{of}: two rows of its table are for the same patient"
            ));
        }
    }
    Ok(())
}

impl Band {
    fn said(&self, unit: &str) -> String {
        let part = |name: &str, part: Option<[f64; 2]>| {
            part.map(|[from, below]| format!("{name} {from} to below {below}"))
        };
        let whom = [part("months", self.age), part("kg", self.weight)];
        let whom: Vec<_> = whom.into_iter().flatten().collect();
        let dose = match (self.amount.as_slice(), &self.differ) {
            ([one], _) => format!("{one} {unit}"),
            ([least, most], _) => format!("{least} to {most} {unit}"),
            (_, Some(why)) => why.clone(),
            _ => String::new(),
        };
        format!("{}: {dose}", whom.join(" or "))
    }

    fn holds(part: Option<[f64; 2]>, value: f64) -> bool {
        part.is_some_and(|[from, below]| (from..below).contains(&value))
    }
}

/// For whom a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Patient<'a> {
    /// What the rules say of the findings: which have fired.
    pub fired: &'a [Fired],
    /// The urgency that is shown, whoever raised it.
    pub urgency: Urgency,
    /// The findings.
    pub findings: &'a Findings,
    /// The level of care.
    pub profile: Profile,
    /// Allergies, in everybody's words.
    pub allergies: &'a [String],
    /// Doses that stand in the case.
    pub given: &'a [DoseGiven],
}

impl RulePack {
    /// What to do for a patient, by this pack and those beside it.
    pub fn plan(&self, patient: &Patient<'_>) -> Plan {
        let mut plan = Plan {
            urgency: Some(patient.urgency),
            refer: patient.urgency == Urgency::Pink,
            pack: self.named(),
            ..Plan::default()
        };
        for pack in self.all() {
            let treatments = pack.treatments();
            for treat in &treatments.treats {
                let medicine = treatments.medicines.iter().find(|m| m.id == treat.medicine);
                let rules = pack.applies(&treat.whom, patient);
                if let (Some(medicine), Some(rules)) = (medicine, rules) {
                    pack.prescribe((treat, medicine), rules, patient, &mut plan);
                }
            }
            for (whom, kind, said) in &treatments.advice {
                if let Some(rules) = pack.applies(whom, patient) {
                    plan.advise(*kind, said, rules);
                }
            }
        }
        plan
    }

    /// The rules that have fired and that something is for; `None`: it is not for this patient now.
    fn applies(&self, whom: &For, patient: &Patient<'_>) -> Option<Vec<String>> {
        let refer = patient.urgency == Urgency::Pink;
        if whom.referral != refer || !whom.profiles.contains(&patient.profile) {
            return None;
        }
        let named = |id: &String| whom.rules.contains(id);
        let fired = patient.fired.iter().map(|fired| fired.rule.clone());
        let mut rules: Vec<_> = fired.filter(named).collect();
        rules.dedup();
        if rules.is_empty() && !whom.rules.iter().any(|id| id == ANY) {
            return None;
        }
        let values = with_level(patient.findings.values(), patient.profile);
        let holds = |when: &Expr| self.holds(when, &values) == Tri::Yes;
        whom.when.as_ref().is_none_or(holds).then_some(rules)
    }

    fn prescribe(
        &self,
        (treat, medicine): (&Treat, &Medicine),
        rules: Vec<String>,
        patient: &Patient<'_>,
        plan: &mut Plan,
    ) {
        if let Some(other) = plan
            .medicines
            .iter_mut()
            .find(|m| m.medicine == medicine.id)
        {
            other.rules.extend(rules);
            other.days = other.days.max(treat.days);
            return;
        }
        let given = given(medicine, patient.given);
        let withheld = self.withholds((treat, medicine), patient);
        let dose = withheld.map_or_else(|| treat.dose(medicine, patient), Err);
        let dose = dose.and_then(|(amount, by)| match too_much(medicine, amount.1, by) {
            Some(per_kg) => Err(WhyWithheld::TooMuch(per_kg)),
            None => Ok((amount, by)),
        });
        match dose {
            Ok((amount, by)) => {
                plan.ask_allergies |= !medicine.allergy.is_empty() && patient.allergies.is_empty();
                plan.medicines.push(Prescribed {
                    medicine: medicine.id.clone(),
                    name: medicine.name.clone(),
                    unit: medicine.unit.clone(),
                    amount,
                    milligrams: medicine.mg.map(|mg| (amount.0 * mg, amount.1 * mg)),
                    route: medicine.route.clone(),
                    times_a_day: if treat.whom.referral { 0 } else { treat.times },
                    days: if treat.whom.referral { 0 } else { treat.days },
                    how: treat.how.clone(),
                    first_now: (treat.first || treat.whom.referral) && given.is_none(),
                    given,
                    by,
                    rules,
                    source: treat.source.clone(),
                });
            }
            Err(why) => plan.withheld.push(Withheld {
                medicine: medicine.id.clone(),
                name: medicine.name.clone(),
                why,
                rules,
            }),
        }
    }

    /// Why a medicine may not be given to this patient.
    fn withholds(
        &self,
        (treat, medicine): (&Treat, &Medicine),
        patient: &Patient<'_>,
    ) -> Option<WhyWithheld> {
        let allergic = |words: &&String| {
            let said = words.to_lowercase();
            medicine
                .allergy
                .iter()
                .any(|stem| said.contains(stem.as_str()))
        };
        if let Some(words) = patient.allergies.iter().find(allergic) {
            return Some(WhyWithheld::Allergy(words.clone()));
        }
        let (unless, words) = treat.unless.as_ref()?;
        let values = with_level(patient.findings.values(), patient.profile);
        match self.holds(unless, &values) {
            Tri::No => None,
            Tri::Yes => Some(WhyWithheld::Forbidden(words.clone())),
            Tri::Unknown => {
                let names: Vec<_> = self.compared(unless).into_keys().collect();
                let known = |name: &String| {
                    values
                        .get(name)
                        .is_some_and(|value| *value != FindingValue::Unknown)
                };
                let open = names.into_iter().filter(|name| !known(name)).collect();
                Some(WhyWithheld::NotRuledOut(open, words.clone()))
            }
        }
    }
}

impl Treat {
    /// One dose for a patient, in units.
    fn dose(
        &self,
        medicine: &Medicine,
        patient: &Patient<'_>,
    ) -> Result<((f64, f64), Basis), WhyWithheld> {
        let number = |name: &str| match patient.findings.values().get(name) {
            Some(FindingValue::Number(number)) => Some(*number),
            Some(
                FindingValue::Yes
                | FindingValue::No
                | FindingValue::Text(_)
                | FindingValue::Unknown,
            )
            | None => None,
        };
        let (weight, months) = (number("weight"), number("age_months"));
        let by_kg = self.per_kg.is_some() || self.bands.iter().any(|band| band.weight.is_some());
        if let (Some(kg), true) = (weight, by_kg)
            && !months.is_none_or(|months| is_likely(kg, months))
        {
            return Err(WhyWithheld::WeightUnlikely(kg));
        }
        if let Some(per_kg) = self.per_kg {
            let kg = weight.ok_or(WhyWithheld::NeedsWeight)?;
            let amount = by_weight(per_kg, kg, medicine).ok_or(WhyWithheld::NotInTable)?;
            return Ok((amount, Basis::Weight(kg)));
        }
        let by_age = self.bands.iter().any(|band| band.age.is_some());
        let (found, by) = match (weight.filter(|_| by_kg), months.filter(|_| by_age)) {
            (Some(kg), _) => {
                let band = self.bands.iter().find(|band| Band::holds(band.weight, kg));
                (band, Basis::Weight(kg))
            }
            (None, Some(months)) => {
                let band = self.bands.iter().find(|band| Band::holds(band.age, months));
                (band, Basis::Age(months))
            }
            (None, None) if by_kg => return Err(WhyWithheld::NeedsWeight),
            (None, None) => (self.bands.first(), Basis::Anyone),
        };
        let band = found.ok_or(WhyWithheld::NotInTable)?;
        match (&band.differ, band.amount.as_slice()) {
            (Some(why), _) => Err(WhyWithheld::SourcesDiffer(why.clone())),
            (None, [one]) => Ok(((*one, *one), by)),
            (None, [least, most]) => Ok(((*least, *most), by)),
            (None, _) => Err(WhyWithheld::NotInTable),
        }
    }
}

/// The most mg of a medicine for each kg of a child that one dose can be, whatever a pack says: about
/// twice what the guideline gives. A signed pack may be wrong too.
const MOST_PER_KG: [(&str, f64); 9] = [
    ("amoxi", 100.0),
    ("amoxy", 100.0),
    ("ampicil", 100.0),
    ("artemether", 8.0),
    ("ceftriax", 120.0),
    ("ciproflox", 30.0),
    ("gentam", 10.0),
    ("paracetamol", 30.0),
    ("zinc", 10.0),
];

fn ceiling(medicine: &Medicine) -> Option<f64> {
    let name = medicine.name.to_lowercase();
    let found = MOST_PER_KG.iter().find(|(stem, _)| name.contains(stem));
    found.map(|(_, most)| *most)
}

/// mg for each kg, where that is more than anybody gives. Without a weight, that of most children of the
/// age counts.
fn too_much(medicine: &Medicine, units: f64, by: Basis) -> Option<f64> {
    let most = ceiling(medicine)?;
    let kg = match by {
        Basis::Weight(kg) => kg,
        Basis::Age(months) if months < 12.0 => f64::midpoint(months, 9.0),
        Basis::Age(months) => months / 6.0 + 8.0,
        Basis::Anyone => 3.0,
    };
    let per_kg = medicine.mg.unwrap_or(1.0) * units / kg;
    (per_kg > most).then_some(per_kg)
}

/// Whether a weight can be that of a child of so many months: wider than three standard deviations of
/// the WHO's growth standards on either side, so that it refuses slips of the hand and no child.
fn is_likely(kg: f64, months: f64) -> bool {
    let least = if months < 2.0 {
        0.5
    } else {
        1.9 + 0.1 * months
    };
    (least..=9.0 + 0.36 * months).contains(&kg)
}

/// Units for a weight: whole and half tablets that lie within the range, or the range itself of what is
/// measured in mg or mL.
fn by_weight(per_kg: [f64; 2], kg: f64, medicine: &Medicine) -> Option<(f64, f64)> {
    let in_one = medicine.mg.unwrap_or(1.0);
    let [least, most] = per_kg.map(|mg| mg * kg / in_one);
    if medicine.unit != "tablet" {
        // What a syringe or a cup shows: whole mg or mL, inside the range or nearest to it.
        let whole = (least.ceil(), most.floor());
        let nearest = f64::midpoint(least, most).round().max(1.0);
        return Some(match whole.0 <= whole.1 && whole.0 > 0.0 {
            true => whole,
            false => (nearest, nearest),
        });
    }
    let halves = (least / HALF).ceil() * HALF;
    (halves > 0.0 && halves <= most).then_some((halves, halves))
}

/// Doses of a medicine that stand in the case.
fn given(medicine: &Medicine, doses: &[DoseGiven]) -> Option<Given> {
    let of_it = |dose: &&DoseGiven| {
        let said = dose.medicine.to_lowercase();
        medicine
            .names
            .iter()
            .any(|stem| said.contains(stem.as_str()))
    };
    let doses: Vec<_> = doses.iter().filter(of_it).collect();
    let last = doses.iter().map(|dose| dose.given.as_str()).max()?;
    Some(Given {
        doses: u32::try_from(doses.len()).unwrap_or(u32::MAX),
        last: last.to_owned(),
    })
}

trait Advises {
    fn advise(&mut self, kind: AdviceKind, said: &RawAdviceWords, rules: Vec<String>);
}

impl Advises for Plan {
    fn advise(&mut self, kind: AdviceKind, said: &RawAdviceWords, rules: Vec<String>) {
        let list = match kind {
            AdviceKind::Step => &mut self.steps,
            AdviceKind::Tell => &mut self.tell,
            AdviceKind::Return => &mut self.return_at_once,
            AdviceKind::FollowUp => {
                let soonest = self.follow_up_days.into_iter().chain(said.days).min();
                self.follow_up_days = soonest;
                return;
            }
        };
        match list.iter_mut().find(|advice| advice.words == said.words) {
            Some(advice) => advice.rules.extend(rules),
            None => list.push(Advice {
                words: said.words.clone(),
                rules,
                source: said.source.clone(),
            }),
        }
    }
}
