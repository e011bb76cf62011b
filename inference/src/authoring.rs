//! What the author of a pack is told before a clinician signs it: rules that no case reaches, bounds of
//! which the golden cases know one side only, and rules that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;

use crate::findings::Findings;
use crate::golden::{self, Golden};
use crate::rules::{Evaluation, Rule, RulePack};

/// Something that its author should look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Remark {
    /// No golden case makes this rule fire: nobody knows that it can.
    NeverFires {
        /// The rule.
        rule: String,
        /// Of which group.
        group: String,
    },
    /// The golden cases have this number on one side of a bound only.
    OneSided {
        /// The rule.
        rule: String,
        /// The finding.
        finding: String,
        /// The bound.
        bound: f64,
    },
    /// A dose is more than anybody gives: a phone withholds it.
    TooMuch {
        /// The medicine.
        medicine: String,
        /// For which rules.
        rules: String,
        /// The dose: of which patient, and how much.
        dose: String,
    },
    /// A rule fires beside one that it says never does (`excludes`).
    Contradicts {
        /// The rule.
        rule: String,
        /// The other.
        other: String,
        /// The case.
        case: String,
    },
}

/// What the cases have shown of a pack.
#[derive(Default)]
struct Shown {
    /// Rules that fired: id, group, class, level of care.
    fired: BTreeSet<(String, String, String, &'static str)>,
    /// By group and finding, the numbers of cases that somebody wrote.
    numbers: BTreeMap<(String, String), Vec<f64>>,
    /// Rules that fired together and never should, with a case.
    together: BTreeMap<(String, String), String>,
}

/// Tries a pack, alone, on the guideline's golden cases and its own; for contradictions, on those drawn
/// from its own rules too.
///
/// # Errors
/// A golden case that cannot be read.
pub fn remarks(pack: &RulePack) -> Result<Vec<Remark>, String> {
    let mut shown = Shown::default();
    for case in golden::lines()?.iter().map(|line| &line.case) {
        shown.by(pack, case, true);
    }
    pack.golden()
        .iter()
        .for_each(|case| shown.by(pack, case, true));
    // What is drawn from the rules reaches them all and both sides of everything: it shows nothing of
    // what somebody has written.
    golden::draw(pack).for_each(|case| shown.by(pack, &case, false));
    let never = pack.all_rules().iter().filter(|rule| !shown.fires(rule));
    let never = never.map(|rule| Remark::NeverFires {
        rule: rule.id.clone(),
        group: rule.group.clone(),
    });
    let together = shown.together.iter().map(|((rule, other), case)| {
        let (rule, other, case) = (rule.clone(), other.clone(), case.clone());
        Remark::Contradicts { rule, other, case }
    });
    let doses = pack.treatments().too_much();
    let doses = doses.map(|(medicine, rules, dose)| Remark::TooMuch {
        medicine,
        rules,
        dose,
    });
    let all = never.chain(shown.one_sided(pack)).chain(together);
    Ok(all.chain(doses).collect())
}

impl Shown {
    fn by(&mut self, pack: &RulePack, case: &Golden, written: bool) {
        let Ok(findings) = Findings::of_golden(&case.findings, pack) else {
            return; // a case about findings that this pack means otherwise
        };
        let said = pack.evaluate_alone(case.profile, &findings);
        for both in contradicting(pack, &said) {
            self.together
                .entry(both)
                .or_insert_with(|| case.name.clone());
        }
        if !written {
            return;
        }
        let group = findings.group().name().to_owned();
        for (name, value) in findings.values() {
            if let FindingValue::Number(number) = value {
                let numbers = self.numbers.entry((group.clone(), name.clone()));
                numbers.or_default().push(*number);
            }
        }
        let level = case.profile.name();
        let fired = said.fired.into_iter();
        self.fired
            .extend(fired.map(|o| (o.rule, group.clone(), o.class, level)));
    }

    /// Whether a rule has fired at one of its levels of care.
    fn fires(&self, rule: &Rule) -> bool {
        rule.profiles.iter().any(|profile| {
            let key = (
                rule.id.clone(),
                rule.group.clone(),
                rule.class.clone(),
                profile.name(),
            );
            self.fired.contains(&key)
        })
    }

    /// Bounds near which the cases have numbers on one side only.
    fn one_sided(&self, pack: &RulePack) -> Vec<Remark> {
        let (mut remarks, mut told) = (Vec::new(), BTreeSet::new());
        for rule in pack.all_rules() {
            for (finding, (bounds, _)) in pack.compared(&rule.when) {
                let key = (rule.group.clone(), finding.clone());
                let known = self
                    .numbers
                    .get(&key)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                for bound in bounds
                    .into_iter()
                    .filter(|bound| !both_sides(known, *bound))
                {
                    if told.insert((key.clone(), bound.to_bits())) {
                        let (rule, finding) = (rule.id.clone(), finding.clone());
                        remarks.push(Remark::OneSided {
                            rule,
                            finding,
                            bound,
                        });
                    }
                }
            }
        }
        remarks
    }
}

/// Whether there are numbers near a bound on both of its sides, to whichever the bound belongs.
fn both_sides(known: &[f64], bound: f64) -> bool {
    let near = 1f64.max(bound.abs() / 8.0);
    let near = || known.iter().filter(|n| (**n - bound).abs() <= near);
    let (below, above) = (near().any(|n| *n < bound), near().any(|n| *n > bound));
    let at = near().any(|n| *n == bound);
    (below && (above || at)) || (above && at)
}

/// Rules beside others that they say never fire with them.
fn contradicting(pack: &RulePack, said: &Evaluation) -> Vec<(String, String)> {
    let fires = |id: &String| said.fired.iter().any(|o| o.rule == *id);
    let of = |rule: &Rule| {
        let both = rule
            .excludes
            .iter()
            .filter(|other| fires(&rule.id) && fires(other));
        both.map(|other| (rule.id.clone(), other.clone()))
            .collect::<Vec<_>>()
    };
    pack.all_rules().iter().flat_map(of).collect()
}
