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

use clinical::assessment::Fired;
use clinical::plan::{Advice, Basis, DoseGiven, Given, Plan, Prescribed, WhyWithheld, Withheld};
use clinical::{FindingValue, Profile, Urgency};

use crate::findings::Findings;
use crate::logic::{Expr, Tri};
use crate::rules::{RulePack, guideline, with_level};

mod allergy;
mod table;

use table::{ANY, AdviceKind, Band, For, RawAdviceWords};
pub use table::{Medicine, Treat, Treatments};
pub(crate) use table::{RawAdvice, RawTreat};

/// Smallest part of a tablet that people can break.
const HALF: f64 = 0.5;

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
        let mut seen = Seen::default();
        for pack in self.all().map(with_treatments) {
            let treatments = pack.treatments();
            for treat in &treatments.treats {
                let medicine = treatments.medicines.iter().find(|m| m.id == treat.medicine);
                let rules = pack.applies(&treat.whom, patient);
                if let (Some(medicine), Some(rules)) = (medicine, rules) {
                    pack.prescribe((treat, medicine), rules, patient, (&mut plan, &mut seen));
                }
            }
            for (whom, kind, said) in &treatments.advice {
                if let Some(rules) = pack.applies(whom, patient) {
                    advise(&mut plan, *kind, said, rules);
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
        (plan, seen): (&mut Plan, &mut Seen),
    ) {
        // What the pack says first goes: the dose of one, and the reason that withholds one. Only where
        // it has no dose for this patient the next row is looked at.
        let is = |id: &str| seen.is(medicine, id);
        if let Some(other) = plan.medicines.iter_mut().find(|m| is(&m.medicine)) {
            other.rules.extend(rules);
            return;
        }
        let before = plan.withheld.iter().position(|w| is(&w.medicine));
        if let Some(withheld) = before.and_then(|at| plan.withheld.get_mut(at))
            && !withheld.why.has_no_dose()
        {
            withheld.rules.extend(rules);
            return;
        }
        let instead = |id: &String| plan.medicines.iter().any(|m| m.medicine == *id);
        if treat.unless_given.iter().any(instead) {
            return;
        }
        seen.note(medicine);
        let given = given(medicine, patient.given);
        let withheld = self.withholds((treat, medicine), patient);
        let dose = withheld.map_or_else(|| treat.dose(medicine, patient), Err);
        let dose = dose.and_then(|(amount, by)| match too_much(medicine, amount.1, by) {
            Some(per_kg) => Err(WhyWithheld::TooMuch(per_kg)),
            None => Ok((amount, by)),
        });
        match dose {
            Ok((amount, by)) => {
                if let Some(at) = before {
                    plan.withheld.remove(at);
                }
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
            Err(_) if before.is_some() => {}
            Err(why) => plan.withheld.push(Withheld {
                medicine: medicine.id.clone(),
                name: medicine.name.clone(),
                why,
                rules,
                given,
            }),
        }
    }

    /// Whether an allergy may be to any medicine: not every word of it is understood.
    fn is_unclear(&self, words: &str) -> bool {
        let medicines = self.treatments().medicines.iter();
        let stems = medicines.flat_map(|medicine| medicine.allergy.iter().map(String::as_str));
        !allergy::is_understood(&folded(words), stems)
    }

    /// Why a medicine may not be given to this patient.
    fn withholds(
        &self,
        (treat, medicine): (&Treat, &Medicine),
        patient: &Patient<'_>,
    ) -> Option<WhyWithheld> {
        // Who says "yes" and not to what may be allergic to this.
        let allergic = |words: &&String| {
            let said = folded(words);
            let of_what = |stem: &String| said.contains(stem.as_str()) || said.trim() == "yes";
            medicine.allergy.iter().any(of_what)
        };
        if let Some(words) = patient.allergies.iter().find(allergic) {
            return Some(WhyWithheld::Allergy(words.clone()));
        }
        let unclear = patient
            .allergies
            .iter()
            .find(|words| self.is_unclear(words));
        if let (false, Some(words)) = (medicine.allergy.is_empty(), unclear) {
            return Some(WhyWithheld::AllergyUnclear(words.clone()));
        }
        let (unless, words) = treat.unless.as_ref()?;
        let values = with_level(patient.findings.values(), patient.profile);
        match self.holds(unless, &values) {
            Tri::No => None,
            Tri::Yes => Some(WhyWithheld::Forbidden(words.clone())),
            Tri::Unknown => {
                let open = self.answer(unless, &values).because.into_iter().collect();
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
            && !months.is_none_or(|months| is_likely(kg, months, number("age_days")))
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

/// Tablets of one dose of a child, and IU of vitamin A, beyond which a pack is wrong whatever strength it
/// says.
const TABLETS_MAX: f64 = 4.0;
const VITAMIN_A_MAX: f64 = 200_000.0;

fn is_named_vitamin_a(medicine: &Medicine) -> bool {
    folded(&medicine.name).contains(" vitamin a ") || folded(&medicine.name).contains(" retinol")
}

fn ceiling(medicine: &Medicine) -> Option<f64> {
    let name = medicine.name.to_lowercase();
    let found = MOST_PER_KG.iter().find(|(stem, _)| name.contains(stem));
    found.map(|(_, most)| *most)
}

/// Units of a dose, or mg for each kg, where that is more than anybody gives. Without a weight, that of
/// most children of the age counts.
fn too_much(medicine: &Medicine, units: f64, by: Basis) -> Option<f64> {
    let most_units = match (medicine.unit.as_str(), is_named_vitamin_a(medicine)) {
        (_, true) => VITAMIN_A_MAX,
        ("tablet", _) => TABLETS_MAX,
        ("mL", _) => 2_000.0,
        _ => f64::INFINITY,
    };
    if units > most_units {
        return Some(units);
    }
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
fn is_likely(kg: f64, months: f64, days: Option<f64>) -> bool {
    match days.filter(|days| *days < 60.0) {
        Some(days) => (0.5..=5.5 + 0.06 * days).contains(&kg),
        None => (1.9 + 0.1 * months..=9.0 + 0.36 * months).contains(&kg),
    }
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

/// Words without accents and signs, with one blank around each: `Pénicilline (2020)` as ` penicilline 2020 `.
fn folded(words: &str) -> String {
    let lower = words.to_lowercase();
    let plain = lower.chars().map(|c| match c {
        'é' | 'è' | 'ê' => 'e',
        'à' | 'â' => 'a',
        'ï' | 'î' => 'i',
        'ô' => 'o',
        c if c.is_alphanumeric() => c,
        _ => ' ',
    });
    let plain: String = plain.collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    format!(" {} ", words.join(" "))
}

/// Whether somebody who wrote this meant the medicine: by its id, or by the beginnings of words.
fn is_named(medicine: &Medicine, written: &str) -> bool {
    let said = folded(written);
    let by_name = |stem: &String| said.contains(folded(stem).trim_end());
    said.contains(&folded(&medicine.id)) || medicine.names.iter().any(by_name)
}

/// Doses of a medicine that stand in the case.
fn given(medicine: &Medicine, doses: &[DoseGiven]) -> Option<Given> {
    let of_it = |dose: &&DoseGiven| is_named(medicine, &dose.medicine);
    let doses: Vec<_> = doses.iter().filter(of_it).collect();
    let last = doses.iter().map(|dose| dose.given.as_str()).max()?;
    Some(Given {
        doses: u32::try_from(doses.len()).unwrap_or(u32::MAX),
        last: last.to_owned(),
    })
}

/// Medicines that a plan has looked at: two packs may name one differently.
#[derive(Default)]
struct Seen(Vec<Medicine>);

impl Seen {
    fn note(&mut self, medicine: &Medicine) {
        self.0.push(medicine.clone());
    }

    /// Whether what is planned under an id is this medicine.
    fn is(&self, medicine: &Medicine, id: &str) -> bool {
        let other = self.0.iter().find(|other| other.id == id);
        id == medicine.id || other.is_some_and(|other| is_named(medicine, &other.name))
    }
}

/// A pack that says what to do; an edition of the guideline that says nothing has what is built in.
fn with_treatments(pack: &RulePack) -> &RulePack {
    let built_in = guideline().filter(|_| pack.is_guideline() && pack.treatments().is_empty());
    built_in.unwrap_or(pack)
}

/// Adds what a pack says beside medicines; the same words of two rules stand once.
fn advise(plan: &mut Plan, kind: AdviceKind, said: &RawAdviceWords, rules: Vec<String>) {
    let list = match kind {
        AdviceKind::Step => &mut plan.steps,
        AdviceKind::Tell => &mut plan.tell,
        AdviceKind::Return => &mut plan.return_at_once,
        AdviceKind::FollowUp => {
            let soonest = plan.follow_up_days.into_iter().chain(said.days).min();
            plan.follow_up_days = soonest;
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
