//! Treatments as a pack writes them: read, checked, and told as a table.

use std::collections::BTreeSet;

use clinical::Profile;
use clinical::plan::Basis;
use serde::Deserialize;

use super::{ceiling, too_much};
use crate::logic::Expr;

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
pub(super) struct Band {
    /// Months.
    pub(super) age: Option<[f64; 2]>,
    /// kg.
    pub(super) weight: Option<[f64; 2]>,
    /// Units, the least and the most.
    #[serde(default)]
    pub(super) amount: Vec<f64>,
    /// Sources differ: nothing is said, and why.
    pub(super) differ: Option<String>,
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
    unless_given: Vec<String>,
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
pub(super) enum AdviceKind {
    Step,
    Tell,
    Return,
    FollowUp,
}

/// For which rules, at which level of care, and when.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct For {
    pub(super) rules: Vec<String>,
    pub(super) profiles: Vec<Profile>,
    pub(super) when: Option<Expr>,
    pub(super) referral: bool,
}

/// One medicine for some rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Treat {
    pub(super) whom: For,
    pub(super) medicine: String,
    pub(super) unless: Option<(Expr, String)>,
    pub(super) unless_given: Vec<String>,
    pub(super) first: bool,
    pub(super) times: u32,
    pub(super) days: u32,
    pub(super) how: String,
    pub(super) source: String,
    pub(super) bands: Vec<Band>,
    pub(super) per_kg: Option<[f64; 2]>,
}

/// Treatments of one pack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Treatments {
    pub(super) medicines: Vec<Medicine>,
    pub(super) treats: Vec<Treat>,
    pub(super) advice: Vec<(For, AdviceKind, RawAdviceWords)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawAdviceWords {
    pub(super) words: String,
    pub(super) days: Option<u32>,
    pub(super) source: String,
}

/// Whatever has fired: of all who are sent on, or of all who are not.
pub(super) const ANY: &str = "*";
/// Longest course, in days, and most doses a day, that a pack can name.
const DAYS_MAX: u32 = 60;
const TIMES_MAX: u32 = 6;
/// Most units of one dose: international units of a vitamin.
const AMOUNT_MAX: f64 = 1_000_000.0;

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
        let ids = sound_medicines(&medicines)?;
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
                unless_given: raw.unless_given,
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

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.treats.is_empty() && self.advice.is_empty()
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

    /// Doses that a phone would withhold from the lightest or youngest patient of their row: medicine,
    /// rules, and the dose.
    pub fn too_much(&self) -> impl Iterator<Item = (String, String, String)> {
        self.treats.iter().flat_map(|treat| {
            let medicine = self.medicines.iter().find(|m| m.id == treat.medicine);
            let rules = treat.whom.rules.join(", ");
            let found = medicine
                .into_iter()
                .flat_map(move |m| treat.rows_too_large(m));
            found.map(move |(name, dose)| (name, rules.clone(), dose))
        })
    }
}

impl Treat {
    fn rows_too_large(&self, medicine: &Medicine) -> Vec<(String, String)> {
        let per_kg = self.per_kg.and_then(|[_, most]| {
            let strength = medicine.mg.unwrap_or(1.0);
            // A child of 10 kg is given whole and half tablets of it: the range itself is looked at.
            too_much(medicine, most * 10.0 / strength, Basis::Weight(10.0))
                .map(|_| format!("{most} for each kg"))
        });
        let bands = self.bands.iter().filter_map(|band| {
            let most = *band.amount.last()?;
            let by = match (band.weight, band.age) {
                (Some([from, _]), _) => Basis::Weight(from),
                (None, Some([from, _])) => Basis::Age(from),
                (None, None) => Basis::Anyone,
            };
            too_much(medicine, most, by).map(|_| band.said(&medicine.unit))
        });
        let found = per_kg.into_iter().chain(bands);
        found.map(|dose| (medicine.name.clone(), dose)).collect()
    }
}

/// The ids of medicines, each once, with a name to know it by and its strength where a bound needs it.
fn sound_medicines(medicines: &[Medicine]) -> Result<BTreeSet<String>, String> {
    let mut ids = BTreeSet::new();
    for medicine in medicines {
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
    Ok(ids)
}

/// Whether a table can be followed: each row says a dose, and rows of one kind do not overlap.
fn table_is_sound(of: &str, raw: &RawTreat) -> Result<(), String> {
    if raw.times > TIMES_MAX || raw.days > DAYS_MAX {
        return Err(format!("{of}: no course is that long"));
    }
    if raw.band.is_empty() == raw.per_kg.is_none() {
        return Err(format!("{of} says no dose, or two"));
    }
    if raw.times > 0 && raw.days == 0 && !raw.referral {
        return Err(format!("{of} does not say for how many days"));
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
        let for_whom = band.age.is_some() || band.weight.is_some() || raw.band.len() == 1;
        if !dose || !for_whom || !ordered(band.age) || !ordered(band.weight) {
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

    pub(super) fn holds(part: Option<[f64; 2]>, value: f64) -> bool {
        part.is_some_and(|[from, below]| (from..below).contains(&value))
    }
}
