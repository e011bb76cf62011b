//! Rule packs: findings, definitions and rules as data (TOML), and the small interpreter that reads
//! them.
//!
//! 1. A rule fires when its condition is *yes*.
//! 2. A pink rule whose condition is *unknown* cannot be cleared: it says what to measure, and
//!    green is not offered. A rule marked `unknown = "advise"` says so and does not block (an
//!    instrument that this level of care lacks); a yellow rule marked `unknown = "block"` (breaths
//!    not counted in a cough) blocks green as well.
//! 3. Every result names rule, edition, source, and the findings that made it so.
//! 4. A sign that was found and that no rule has read is named, and green is not offered.
//! 5. Whatever the pack says, the built-in floor looks at every case ([`crate::floor`]).
//! 6. Several pink rules are one referral; all are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinical::assessment::Fired;
use clinical::catalogue::{self, is_sign};
use clinical::{AgeGroup, FindingValue, Kind, Profile, Urgency};
use serde::Deserialize;

use crate::findings::Findings;
use crate::logic::{Expr, NOTHING_CLOSED, Scope, Tri};
use crate::plausible;
use crate::treatment::{Medicine, RawAdvice, RawTreat, Treatments};

/// What values a finding can have, besides unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum FindingKind {
    /// Yes or no.
    Flag,
    /// A measurement.
    Number {
        /// Smallest possible.
        min: f64,
        /// Largest possible.
        max: f64,
        /// Its unit.
        unit: String,
    },
    /// One of these words.
    Choice(Vec<String>),
}

/// One finding that the pack knows.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingSpec {
    /// Its name.
    pub id: String,
    /// The question for the worker.
    pub ask: String,
    /// Its values.
    pub kind: FindingKind,
    /// LOINC code, or empty.
    pub code: String,
    /// Age groups of which it is a danger sign, to be asked first.
    pub required: Vec<String>,
    /// Of a number: between which values it is usual. Beyond, it is measured again.
    pub usual: Option<(f64, f64)>,
    /// Where it is asked, as `child.iccm`.
    pub asked: Vec<String>,
    /// It is asked only where this is not *no*.
    pub gate: Option<Expr>,
    /// The finding that it measures a second time: it is asked right after that one, and until it
    /// has been answered nothing is said of the first.
    pub again: Option<String>,
}

impl FindingSpec {
    /// Whether it is a danger sign in an age group, to be asked first.
    pub(crate) fn is_danger_sign(&self, group: AgeGroup) -> bool {
        self.required.iter().any(|g| g == group.name())
    }
}

/// What follows when a rule's condition is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnknown {
    /// The rule cannot be cleared: green is not offered. The default for pink.
    Block,
    /// It is said, and green may be offered.
    Advise,
    /// Nothing. The default for yellow and green.
    PassOver,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its id, stable over editions.
    pub id: String,
    /// Which children: `child` or `infant`.
    pub group: String,
    /// The classification.
    pub class: String,
    /// The colour.
    pub urgency: Urgency,
    /// Where it comes from.
    pub source: String,
    /// What to do.
    pub action: String,
    /// The condition.
    pub when: Expr,
    /// The condition as the pack writes it.
    pub said: String,
    /// What follows when the condition is unknown.
    pub unknown: WhenUnknown,
    /// Levels of care at which it holds.
    pub profiles: Vec<Profile>,
    /// Levels of care that have no instrument for it: there an unknown condition advises.
    advise: Vec<Profile>,
    /// Rules that never fire beside it: what it calls well, they call ill.
    pub excludes: Vec<String>,
    /// Of a green rule: findings that it has weighed and found too little, though they are signs.
    weighs: Vec<String>,
}

impl Rule {
    /// What it does in a profile where what it needs is not known.
    fn when_unknown(&self, profile: Profile) -> WhenUnknown {
        match (self.unknown, self.advise.contains(&profile)) {
            (WhenUnknown::Block, true) => WhenUnknown::Advise,
            (unknown, _) => unknown,
        }
    }
}

/// A rule pack.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePack {
    /// The pack's id.
    pub id: String,
    /// The edition, for people and for the record.
    pub edition: String,
    /// Counts up.
    pub version: u64,
    findings: Vec<FindingSpec>,
    defines: BTreeMap<String, Expr>,
    said_defines: Vec<(String, String)>,
    usual: BTreeMap<String, (f64, f64)>,
    rules: Vec<Rule>,
    golden: Vec<crate::golden::Golden>,
    /// Pink rules that the pack before had and this one says that it gives up.
    gives_up: Vec<String>,
    /// What it says to do.
    treatments: Treatments,
    /// Findings that it declares itself: the first so many.
    declared: usize,
    /// Packs that run beside this one ([`crate::packs`]).
    pub(crate) beside: Vec<Arc<Self>>,
}

/// The pack that is built in, used until a ministry's own arrives.
pub const BUILT_IN: &str = concat!(
    include_str!("../packs/child.toml"),
    include_str!("../packs/mother.toml"),
    include_str!("../packs/adult.toml"),
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    id: String,
    edition: String,
    version: u64,
    #[allow(dead_code)]
    pub(crate) profiles: Vec<Profile>,
    #[serde(default)]
    finding: Vec<RawFinding>,
    #[serde(default)]
    define: Vec<RawDefine>,
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default)]
    golden: Vec<crate::golden::Golden>,
    #[serde(default)]
    gives_up: Vec<String>,
    #[serde(default)]
    medicine: Vec<Medicine>,
    #[serde(default)]
    treat: Vec<RawTreat>,
    #[serde(default)]
    advice: Vec<RawAdvice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFinding {
    id: String,
    ask: String,
    #[serde(default)]
    kind: String,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    required: Vec<String>,
    usual: Option<[f64; 2]>,
    #[serde(default)]
    asked: Vec<String>,
    #[serde(rename = "if")]
    gate: Option<String>,
    again: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefine {
    name: String,
    when: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    group: String,
    class: String,
    urgency: Urgency,
    source: String,
    when: String,
    action: String,
    #[serde(default)]
    unknown: String,
    profiles: Option<Vec<Profile>>,
    #[serde(default)]
    advise: Vec<Profile>,
    #[serde(default)]
    excludes: Vec<String>,
    #[serde(default)]
    weighs: Vec<String>,
}

/// Bytes of a rule pack file, and rules in it.
const PACK_BYTES_MAX: usize = 1024 * 1024;
const RULES_MAX: usize = 2000;

impl RulePack {
    /// The pack that is built in.
    pub fn built_in() -> Result<Self, String> {
        Self::parse(BUILT_IN)
    }

    /// Reads a pack and checks that every name in it is known, and that it means the built-in
    /// findings as they are meant.
    pub fn parse(file: &str) -> Result<Self, String> {
        let mut pack = Self::read(file)?;
        if let Some(built_in) = guideline_beside(file) {
            for spec in built_in.findings.iter().cloned() {
                match pack.findings.iter().find(|own| own.id == spec.id) {
                    Some(own) => {
                        same_meaning(own, &spec)?;
                        // What is usual may be told more narrowly, and never more widely.
                        if let Some((least, most)) = spec.usual {
                            let usual = pack.usual.entry(spec.id).or_insert((least, most));
                            *usual = (usual.0.max(least), usual.1.min(most));
                        }
                    }
                    // A sign that a pack does not read can still be found: it is named then, and
                    // the floor looks at it.
                    None => {
                        pack.usual
                            .extend(spec.usual.map(|usual| (spec.id.clone(), usual)));
                        pack.findings.push(FindingSpec {
                            asked: Vec::new(),
                            gate: None,
                            ..spec
                        });
                    }
                }
            }
        }
        Ok(pack)
    }

    fn read(file: &str) -> Result<Self, String> {
        if file.len() > PACK_BYTES_MAX {
            return Err("the rule pack is too long".into());
        }
        let raw: RawPack = toml::from_str(file).map_err(|e| format!("not a rule pack: {e}"))?;
        if raw.rule.len() > RULES_MAX
            || raw.finding.len() > RULES_MAX
            || raw.define.len() > RULES_MAX
            || raw.medicine.len() + raw.treat.len() + raw.advice.len() > RULES_MAX
        {
            return Err("too many rules, findings or definitions".into());
        }
        let findings = raw
            .finding
            .into_iter()
            .map(read_finding)
            .collect::<Result<Vec<_>, _>>()?;
        let (specs, gates): (Vec<_>, Vec<_>) = findings.into_iter().unzip();
        let mut findings: Vec<FindingSpec> = specs;
        let mut known: BTreeSet<String> = findings.iter().map(|f| f.id.clone()).collect();
        known.extend(["age_hours", "age_days", "age_months", COMMUNITY].map(str::to_owned));
        // A pack may read what the guideline's asks without asking it anew.
        let built_in = guideline_beside(file).map(|pack| pack.findings.as_slice());
        known.extend(built_in.unwrap_or_default().iter().map(|f| f.id.clone()));
        let (mut defines, mut said_defines) = (BTreeMap::new(), Vec::new());
        for define in raw.define {
            let expr = read_condition(&define.name, &define.when, &known)?;
            known.insert(define.name.clone());
            said_defines.push((define.name.clone(), define.when));
            defines.insert(define.name, expr);
        }
        let rules = raw
            .rule
            .into_iter()
            .map(|rule| read_rule(rule, &known))
            .collect::<Result<Vec<_>, _>>()?;
        for (spec, gate) in findings.iter_mut().zip(gates) {
            spec.gate = gate
                .map(|when| read_condition(&spec.id, &when, &known))
                .transpose()?;
        }
        measured_twice(&findings, built_in.unwrap_or_default())?;
        let usual = findings
            .iter()
            .filter_map(|f| Some((f.id.clone(), f.usual?)))
            .collect();
        let said = (raw.medicine, raw.treat, raw.advice);
        let treatments = treatments_of(said, file, &rules, &known)?;
        let (golden, gives_up) = (raw.golden, raw.gives_up);
        let (id, edition, version) = (raw.id, raw.edition, raw.version);
        Ok(Self {
            id,
            edition,
            version,
            declared: findings.len(),
            findings,
            defines,
            said_defines,
            usual,
            rules,
            golden,
            gives_up,
            treatments,
            beside: Vec::new(),
        })
    }

    /// Cases that the pack brings, with what they must come to.
    pub fn golden(&self) -> &[crate::golden::Golden] {
        &self.golden
    }

    /// Definitions, as the pack writes them.
    pub fn definitions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.said_defines
            .iter()
            .map(|(name, when)| (name.as_str(), when.as_str()))
    }

    /// What the pack says to do.
    pub fn treatments(&self) -> &Treatments {
        &self.treatments
    }

    /// Rules that the pack says it gives up.
    pub fn gives_up(&self) -> &[String] {
        &self.gives_up
    }

    /// Pink rules of `before` that this pack has no more, and does not say that it gives up.
    pub fn lacks(&self, before: &Self) -> Vec<String> {
        let key =
            |rule: &Rule, profile: Profile| (rule.group.clone(), profile.name(), rule.id.clone());
        let pink = |pack: &Self| -> BTreeSet<_> {
            let pink = pack
                .rules
                .iter()
                .filter(|rule| rule.urgency == Urgency::Pink);
            pink.flat_map(|rule| rule.profiles.iter().map(|profile| key(rule, *profile)))
                .collect()
        };
        let own = pink(self);
        let gone = pink(before)
            .into_iter()
            .filter(|key| !own.contains(key) && !self.gives_up.contains(&key.2));
        gone.map(|(group, profile, id)| format!("{id} ({group}, {profile})"))
            .collect()
    }

    /// The findings it knows by itself.
    pub fn findings(&self) -> &[FindingSpec] {
        &self.findings
    }

    /// One of them.
    pub(crate) fn own_finding(&self, id: &str) -> Option<&FindingSpec> {
        self.findings.iter().find(|f| f.id == id)
    }

    /// All rules.
    pub fn all_rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What one condition says of these findings and this level of care ([`with_level`]), by the
    /// definitions of this pack.
    pub(crate) fn holds(&self, when: &Expr, values: &BTreeMap<String, FindingValue>) -> Tri {
        self.answer(when, values).tri
    }

    /// The same, with the findings behind it: of *unknown*, those to find out.
    pub(crate) fn answer(
        &self,
        when: &Expr,
        values: &BTreeMap<String, FindingValue>,
    ) -> crate::logic::Answer {
        when.answer(&Scope {
            findings: values,
            defines: &self.defines,
            usual: &self.usual,
            closed: &NOTHING_CLOSED,
        })
    }

    /// What a condition compares, through definitions: by name, the numbers and the words.
    pub(crate) fn compared(&self, when: &Expr) -> BTreeMap<String, (Vec<f64>, Vec<String>)> {
        let (mut compared, mut defined) = (BTreeMap::new(), BTreeSet::new());
        let mut left = vec![when];
        while let Some(expr) = left.pop() {
            let mut names = BTreeSet::new();
            expr.compared(&mut compared, &mut names);
            for name in names {
                match self.defines.get(&name) {
                    Some(inner) if defined.insert(name.clone()) => left.push(inner),
                    Some(_) => {}
                    None => drop(compared.entry(name).or_default()),
                }
            }
        }
        compared
    }

    /// The rules of a profile for an age group.
    pub fn rules(&self, profile: Profile, group: AgeGroup) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(move |r| r.group == group.name() && r.profiles.contains(&profile))
    }

    /// Findings that this pack asks at a level of care, danger signs first; those that any rule
    /// reads, if the pack does not say.
    pub(crate) fn own_questions(&self, profile: Profile, group: AgeGroup) -> Vec<&FindingSpec> {
        let place = format!("{}.{}", group.name(), profile.name());
        let mut asked: Vec<_> = self
            .findings
            .iter()
            .filter(|f| f.asked.contains(&place))
            .collect();
        if asked.is_empty() {
            asked = self.read_by_rules(profile, group);
            // What a pack only reads is asked where the guideline asks it.
            let own = self.findings.get(..self.declared).unwrap_or_default();
            asked.retain(|spec| own.iter().any(|declared| declared.id == spec.id));
        }
        asked.sort_by_key(|f| !f.is_danger_sign(group));
        asked
    }

    /// Whether the gate of a question is open, as far as it is known, at a level of care
    /// ([`with_level`]).
    pub(crate) fn gate_is_open(
        &self,
        spec: &FindingSpec,
        values: &BTreeMap<String, FindingValue>,
        closed: &BTreeSet<String>,
    ) -> bool {
        let scope = Scope {
            findings: values,
            defines: &self.defines,
            usual: &self.usual,
            closed,
        };
        spec.gate
            .as_ref()
            .is_none_or(|gate| gate.answer(&scope).tri != Tri::No)
    }

    /// Findings that any rule of a profile and group reads, danger signs first.
    pub fn read_by_rules(&self, profile: Profile, group: AgeGroup) -> Vec<&FindingSpec> {
        let mut names = BTreeSet::new();
        self.rules(profile, group)
            .for_each(|rule| rule.when.names(&mut names));
        for _ in 0..8 {
            let inner: Vec<_> = names.iter().filter_map(|n| self.defines.get(n)).collect();
            inner.into_iter().for_each(|expr| expr.names(&mut names));
        }
        let mut asked: Vec<_> = self
            .findings
            .iter()
            .filter(|f| names.contains(&f.id))
            .collect();
        asked.sort_by_key(|f| !f.is_danger_sign(group));
        asked
    }

    /// The finding whose name is most like `name`.
    pub fn nearest(&self, name: &str) -> &str {
        let shared = |id: &str| {
            id.chars()
                .zip(name.chars())
                .take_while(|(a, b)| a == b)
                .count()
        };
        let far = |id: &str| (std::cmp::Reverse(shared(id)), id.len().abs_diff(name.len()));
        let names = self.all().flat_map(|pack| &pack.findings);
        names
            .map(|f| f.id.as_str())
            .min_by_key(|id| far(id))
            .unwrap_or_default()
    }

    /// What the rules of the pack say by themselves: how a pack is tested. No case of a patient is
    /// judged so.
    pub fn evaluate_alone(&self, profile: Profile, findings: &Findings) -> Evaluation {
        let values = with_level(findings.values(), profile);
        let scope = Scope {
            findings: &values,
            defines: &self.defines,
            usual: &self.usual,
            closed: &NOTHING_CLOSED,
        };
        let mut evaluation = Evaluation::default();
        let mut read = BTreeSet::new();
        for rule in self.rules(profile, findings.group()) {
            let answer = rule.when.answer(&scope);
            // A sign is read by a rule that fired for it; of a green one, by the clauses that made it so
            // and what it says that it weighs.
            if answer.tri == Tri::Yes {
                read.extend(answer.because.iter().chain(&rule.weighs).cloned());
            }
            let unknown = rule.when_unknown(profile);
            // A finding that is unknown made nothing so; for what cannot be cleared, it is just the
            // unknown ones that count.
            let fired = answer.tri == Tri::Yes;
            let counts = |name: &&String| !fired || *findings.value(name) != FindingValue::Unknown;
            let outcome = || Outcome {
                rule: rule.id.clone(),
                class: rule.class.clone(),
                urgency: rule.urgency,
                source: rule.source.clone(),
                action: rule.action.clone(),
                findings: answer
                    .because
                    .iter()
                    .filter(counts)
                    .map(|n| (n.clone(), findings.value(n).clone()))
                    .collect(),
            };
            match (answer.tri, unknown) {
                (Tri::Yes, _) => evaluation.fired.push(outcome()),
                (Tri::Unknown, WhenUnknown::Advise) => evaluation.advised.push(outcome()),
                (Tri::Unknown, WhenUnknown::Block) => evaluation.cannot_clear.push(outcome()),
                (Tri::Unknown, WhenUnknown::PassOver) | (Tri::No, _) => {}
            }
        }
        evaluation.cannot_clear.extend(unread(findings, &read));
        evaluation.cannot_clear.extend(self.unusual(findings));
        evaluation
            .fired
            .sort_by_key(|o| std::cmp::Reverse(o.urgency));
        evaluation
    }

    /// Measurements beyond what is usual: they clear nothing.
    fn unusual(&self, findings: &Findings) -> Option<Outcome> {
        let beyond = |name: &str, value: &FindingValue| match (self.usual.get(name), value) {
            (Some((least, most)), FindingValue::Number(number)) => {
                !(*least..=*most).contains(number)
                    || plausible::is_too_slow(findings, name, *number)
            }
            (None, FindingValue::Number(number)) => plausible::is_too_slow(findings, name, *number),
            _ => false,
        };
        said_of(findings, &beyond, UNUSUAL)
    }
}

/// The rules of the guidelines, which every phone has: a ministry's pack adds to them, and takes
/// away only what it says it gives up.
pub(crate) fn guideline() -> Option<&'static RulePack> {
    static BUILT: std::sync::OnceLock<Option<RulePack>> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| RulePack::built_in().ok()).as_ref()
}

/// What a pack says to do, for its own rules and the guideline's.
fn treatments_of(
    said: (Vec<Medicine>, Vec<RawTreat>, Vec<RawAdvice>),
    file: &str,
    rules: &[Rule],
    known: &BTreeSet<String>,
) -> Result<Treatments, String> {
    let beside = guideline_beside(file).map(|pack| pack.rules.as_slice());
    let named = beside.unwrap_or_default().iter().chain(rules);
    let floor = std::iter::once("floor".to_owned());
    let named = named.map(|rule| rule.id.clone()).chain(floor).collect();
    Treatments::read(said, &named, &|of, when| read_condition(of, when, known))
}

/// The guideline's pack, beside another one.
fn guideline_beside(file: &str) -> Option<&'static RulePack> {
    match file == BUILT_IN {
        true => None,
        false => guideline(),
    }
}

/// What is said of signs that were found and that no rule has read: id, class, action.
const UNREAD: [&str; 3] = [
    "unread",
    "A sign was found that no rule looks at here",
    "Have somebody look at it who knows more",
];

/// What is said of measurements beyond what is usual.
const UNUSUAL: [&str; 3] = [
    "unusual",
    "A measurement that is hardly ever seen",
    "Measure it again",
];

/// Words that no model here understands: no rule reads them, so nobody has, and they may say anything.
pub(crate) fn words_not_understood() -> Outcome {
    Outcome {
        rule: "words".into(),
        class: "Words that nothing here understands".into(),
        urgency: Urgency::Yellow,
        source: String::new(),
        action: "Read them again, and say what they mean as findings".into(),
        findings: vec![(clinical::TEXT.into(), FindingValue::Unknown)],
    }
}

/// Words that by themselves sound like an emergency, whatever was answered beside them.
pub(crate) fn words_that_alarm() -> Outcome {
    Outcome {
        class: "Words that sound like an emergency".into(),
        ..words_not_understood()
    }
}

/// Signs that no rule has read.
fn unread(findings: &Findings, read: &BTreeSet<String>) -> Option<Outcome> {
    let unread = |name: &str, value: &FindingValue| is_sign(name, value) && !read.contains(name);
    said_of(findings, &unread, UNREAD)
}

/// What is said of findings that no rule speaks of; nothing where there are none.
fn said_of(
    findings: &Findings,
    of: &dyn Fn(&str, &FindingValue) -> bool,
    [rule, class, action]: [&str; 3],
) -> Option<Outcome> {
    let named = findings
        .values()
        .iter()
        .filter(|(name, value)| of(name, value));
    let named: Vec<_> = named
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!named.is_empty()).then(|| Outcome {
        rule: rule.into(),
        class: class.into(),
        urgency: Urgency::Yellow,
        source: String::new(),
        action: action.into(),
        findings: named,
    })
}

/// A name that conditions can read: whether this is the community level, which has few instruments.
const COMMUNITY: &str = "at_community";

/// Findings with the level of care beside them, as conditions read it.
pub(crate) fn with_level(
    values: &BTreeMap<String, FindingValue>,
    profile: Profile,
) -> BTreeMap<String, FindingValue> {
    let community = if profile == Profile::Iccm {
        FindingValue::Yes
    } else {
        FindingValue::No
    };
    values
        .iter()
        .map(|(n, v)| (n.clone(), v.clone()))
        .chain([(COMMUNITY.to_owned(), community)])
        .collect()
}

/// A pack may add choices and words to a finding that is built in, and must not mean something else
/// by it.
pub(crate) fn same_meaning(own: &FindingSpec, built_in: &FindingSpec) -> Result<(), String> {
    let same = match (&own.kind, &built_in.kind) {
        (FindingKind::Flag, FindingKind::Flag) => true,
        (
            FindingKind::Number { min, max, unit },
            FindingKind::Number {
                min: least,
                max: most,
                unit: meant,
            },
        ) => unit == meant && min == least && max == most,
        (FindingKind::Choice(words), FindingKind::Choice(meant)) => {
            meant.iter().all(|word| words.contains(word))
        }
        _ => false,
    };
    match same {
        true => Ok(()),
        false => Err(format!(
            "finding {} means something else here than on every phone",
            own.id
        )),
    }
}

/// A rule that fired, or that could not be cleared.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The rule's id.
    pub rule: String,
    /// The classification.
    pub class: String,
    /// The colour.
    pub urgency: Urgency,
    /// Where the rule comes from.
    pub source: String,
    /// What to do.
    pub action: String,
    /// The findings behind it: those that fired, or those to measure.
    pub findings: Vec<(String, FindingValue)>,
}

impl Outcome {
    /// Whether it names signs that no rule of a pack has read.
    pub(crate) fn is_unread(&self) -> bool {
        self.rule == UNREAD[0]
    }

    /// As it is shown.
    pub fn said(&self) -> Fired {
        Fired {
            rule: self.rule.clone(),
            class: self.class.clone(),
            urgency: self.urgency,
            source: self.source.clone(),
            action: self.action.clone(),
            findings: self.findings.clone(),
        }
    }
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// Rules that fired, the most urgent first.
    pub fired: Vec<Outcome>,
    /// Rules that cannot be ruled out and forbid green: what to measure.
    pub cannot_clear: Vec<Outcome>,
    /// Pink rules that cannot be ruled out with the instruments of this level.
    pub advised: Vec<Outcome>,
}

impl Evaluation {
    /// Adds what the rules of the guidelines say, where the pack does not say it too and has not
    /// given it up. A sign of the guidelines (`known`) is read by a rule of the pack only if that
    /// says yellow or pink for it.
    pub(crate) fn add(
        &mut self,
        guideline: Evaluation,
        gives_up: &[String],
        known: &dyn Fn(&String) -> bool,
    ) {
        let new = |held: &[Outcome], outcome: &Outcome| {
            !gives_up.contains(&outcome.rule)
                && !held
                    .iter()
                    .any(|o| o.rule == outcome.rule && o.urgency >= outcome.urgency)
        };
        let fired: Vec<_> = guideline
            .fired
            .into_iter()
            .filter(|o| new(&self.fired, o))
            .collect();
        self.fired.extend(fired);
        let (unread, open): (Vec<_>, Vec<_>) = guideline
            .cannot_clear
            .into_iter()
            .partition(|o| o.rule == UNREAD[0]);
        let open: Vec<_> = open
            .into_iter()
            .filter(|o| new(&self.cannot_clear, o) && new(&self.fired, o))
            .collect();
        self.cannot_clear.extend(open);
        let named: BTreeSet<String> = self
            .fired
            .iter()
            .filter(|o| o.urgency > Urgency::Green)
            .chain(&self.cannot_clear)
            .flat_map(|o| o.findings.iter().map(|(name, _)| name.clone()))
            .collect();
        for mut outcome in unread {
            outcome
                .findings
                .retain(|(name, _)| known(name) && !named.contains(name));
            if !outcome.findings.is_empty() {
                self.cannot_clear.push(outcome);
            }
        }
        self.fired.sort_by_key(|o| std::cmp::Reverse(o.urgency));
    }

    /// Adds what the floor says, where no pink rule has named the sign already; under the rules of others
    /// than the guideline's it is said all the same, and first: what they say to do may be anything.
    pub(crate) fn add_floor(&mut self, floor: Vec<Outcome>, of_others: bool) {
        if of_others {
            self.fired.splice(0..0, floor);
            self.fired.sort_by_key(|o| std::cmp::Reverse(o.urgency));
            return;
        }
        for mut outcome in floor {
            let named = |name: &String| {
                let pink = self.fired.iter().filter(|o| o.urgency == Urgency::Pink);
                pink.flat_map(|o| &o.findings)
                    .any(|(other, _)| other == name)
            };
            outcome.findings.retain(|(name, _)| !named(name));
            if !outcome.findings.is_empty() {
                self.fired.push(outcome);
            }
        }
        self.fired.sort_by_key(|o| std::cmp::Reverse(o.urgency));
    }

    /// The most urgent colour that fired; green if nothing did.
    pub fn urgency(&self) -> Urgency {
        self.fired
            .iter()
            .map(|o| o.urgency)
            .max()
            .unwrap_or(Urgency::Green)
    }

    /// Whether green may be offered at all.
    pub fn green_offered(&self) -> bool {
        self.cannot_clear.is_empty() && self.urgency() != Urgency::Pink
    }
}

/// A finding by its name in the catalogue, which says what it is; what a pack repeats must say the
/// same, and numbers may be bounded more closely. A name of the pack's own says everything itself.
fn read_finding(raw: RawFinding) -> Result<(FindingSpec, Option<String>), String> {
    let bounds = raw.min.zip(raw.max);
    let own = |raw: &RawFinding| match (raw.kind.as_str(), bounds) {
        ("" | "flag", _) => Ok(FindingKind::Flag),
        ("number", Some((min, max))) if min < max => Ok(FindingKind::Number {
            min,
            max,
            unit: raw.unit.clone(),
        }),
        ("choice", _) if !raw.choices.is_empty() => Ok(FindingKind::Choice(raw.choices.clone())),
        (kind, _) => Err(format!(
            "finding {}: {kind:?} needs bounds or choices",
            raw.id
        )),
    };
    let Some(field) = catalogue::field(&raw.id) else {
        return Ok((spec(own(&raw)?, raw.code.clone(), &raw), raw.gate));
    };
    let other = || {
        format!(
            "finding {} means something else here than on every phone",
            raw.id
        )
    };
    let kind = match (field.kind, raw.kind.as_str()) {
        (Kind::Flag, "" | "flag") => FindingKind::Flag,
        (Kind::Number(least, most, unit), "" | "number") => {
            let (min, max) = bounds.unwrap_or((least, most));
            let said =
                raw.unit.is_empty() || raw.unit == unit || raw.unit == catalogue::unit_spoken(unit);
            if !(said && least <= min && min < max && max <= most) {
                return Err(other());
            }
            FindingKind::Number {
                min,
                max,
                unit: catalogue::unit_spoken(unit).to_owned(),
            }
        }
        (Kind::Choice(words), "" | "choice") => {
            let more = raw
                .choices
                .iter()
                .filter(|word| !words.contains(&word.as_str()));
            FindingKind::Choice(
                words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .chain(more.cloned())
                    .collect(),
            )
        }
        (Kind::Flag | Kind::Number(..) | Kind::Choice(_) | Kind::Text | Kind::Date, _) => {
            return Err(other());
        }
    };
    if !raw.code.is_empty() && raw.code != field.code {
        return Err(other());
    }
    Ok((spec(kind, field.code.to_owned(), &raw), raw.gate))
}

fn spec(kind: FindingKind, code: String, raw: &RawFinding) -> FindingSpec {
    FindingSpec {
        id: raw.id.clone(),
        ask: raw.ask.clone(),
        kind,
        code,
        required: raw.required.clone(),
        usual: raw.usual.map(|[least, most]| (least, most)),
        asked: raw.asked.clone(),
        gate: None,
        again: raw.again.clone(),
    }
}

/// Only numbers are measured a second time: a sign that is there is said at once.
fn measured_twice(findings: &[FindingSpec], built_in: &[FindingSpec]) -> Result<(), String> {
    let is_number = |id: &str| {
        let of_this = |spec: &&FindingSpec| spec.id == id;
        let spec = findings.iter().chain(built_in).find(of_this);
        spec.is_some_and(|spec| matches!(spec.kind, FindingKind::Number { .. }))
    };
    let wrong = |spec: &&FindingSpec| {
        let first = spec.again.as_deref();
        first.is_some_and(|first| first == spec.id || !is_number(first) || !is_number(&spec.id))
    };
    match findings.iter().find(wrong) {
        Some(spec) => Err(format!(
            "{} measures nothing again: `again` names another number",
            spec.id
        )),
        None => Ok(()),
    }
}

fn read_condition(of: &str, when: &str, known: &BTreeSet<String>) -> Result<Expr, String> {
    let expr = Expr::parse(when).map_err(|e| format!("{of}: {e}"))?;
    let mut names = BTreeSet::new();
    expr.names(&mut names);
    match names.into_iter().find(|n| !known.contains(n)) {
        Some(name) => Err(format!(
            "{of} reads {name:?}, which is no finding and not defined above it"
        )),
        None => Ok(expr),
    }
}

fn read_rule(raw: RawRule, known: &BTreeSet<String>) -> Result<Rule, String> {
    let when = read_condition(&raw.id, &raw.when, known)?;
    let unknown = match (raw.unknown.as_str(), raw.urgency) {
        ("block", _) | ("", Urgency::Pink) => WhenUnknown::Block,
        ("advise", _) => WhenUnknown::Advise,
        ("", Urgency::Yellow | Urgency::Green) => WhenUnknown::PassOver,
        (other, _) => return Err(format!("{}: unknown = {other:?}", raw.id)),
    };
    Ok(Rule {
        id: raw.id,
        group: raw.group,
        class: raw.class,
        urgency: raw.urgency,
        source: raw.source,
        action: raw.action,
        when,
        said: raw.when,
        unknown,
        profiles: raw
            .profiles
            .unwrap_or_else(|| vec![Profile::Iccm, Profile::Imci]),
        advise: raw.advise,
        excludes: raw.excludes,
        weighs: raw.weighs,
    })
}
