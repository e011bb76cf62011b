//! What the author of a pack is told before a clinician signs it: rules that no case reaches, bounds of
//! which the golden cases know one side only, and rules that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;

use crate::findings::Findings;
use crate::golden;
use crate::rules::{Evaluation, RulePack};

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

/// Tries a pack, alone, on the guideline's golden cases and its own; for contradictions, on those drawn
/// from its own rules too.
///
/// # Errors
/// A golden case that cannot be read.
pub fn remarks(pack: &RulePack) -> Result<Vec<Remark>, String> {
    let cases = golden::lines()?.into_iter().map(|line| line.case);
    let written = cases
        .chain(pack.golden().iter().cloned())
        .map(|case| (true, case));
    let cases = written.chain(golden::draw(pack).map(|case| (false, case)));
    let mut fired: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut numbers: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    let mut contradictions: BTreeMap<(String, String), String> = BTreeMap::new();
    for (written, case) in cases {
        let Ok(findings) = Findings::of_golden(&case.findings, pack) else {
            continue; // a case about findings that this pack means otherwise
        };
        let said = pack.evaluate_alone(case.profile, &findings);
        // What is drawn from the rules reaches them all: only cases that somebody wrote count here.
        let group = findings.group().name();
        if written {
            for (name, value) in findings.values() {
                if let FindingValue::Number(number) = value {
                    numbers
                        .entry((group.to_owned(), name.clone()))
                        .or_default()
                        .push(*number);
                }
            }
            fired.extend(
                said.fired
                    .iter()
                    .map(|o| (o.rule.clone(), group.to_owned(), o.class.clone())),
            );
        }
        for (rule, other) in contradicting(pack, &said) {
            contradictions
                .entry((rule, other))
                .or_insert_with(|| case.name.clone());
        }
    }
    let never = pack
        .all_rules()
        .iter()
        .filter(|rule| !fired.contains(&(rule.id.clone(), rule.group.clone(), rule.class.clone())));
    let mut remarks: Vec<_> = never
        .map(|rule| Remark::NeverFires {
            rule: rule.id.clone(),
            group: rule.group.clone(),
        })
        .collect();
    let mut sided = BTreeSet::new();
    for rule in pack.all_rules() {
        for (finding, (bounds, _)) in pack.compared(&rule.when) {
            let key = (rule.group.clone(), finding.clone());
            let known = numbers.get(&key).map(Vec::as_slice).unwrap_or_default();
            for bound in bounds {
                // Near the bound, or it shows nothing of it.
                let near = 1f64.max(bound.abs() / 8.0);
                let known = known.iter().filter(|n| (**n - bound).abs() <= near);
                let on = |side: &dyn Fn(f64) -> bool| known.clone().any(|n| side(*n));
                let below = on(&|n| n < bound) && on(&|n| n >= bound);
                let upto = on(&|n| n <= bound) && on(&|n| n > bound);
                if !(below || upto)
                    && sided.insert((rule.group.clone(), finding.clone(), bound.to_bits()))
                {
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
    remarks.extend(
        contradictions
            .into_iter()
            .map(|((rule, other), case)| Remark::Contradicts { rule, other, case }),
    );
    Ok(remarks)
}

/// Rules beside others that they say never fire with them.
fn contradicting(pack: &RulePack, said: &Evaluation) -> Vec<(String, String)> {
    let fires = |id: &String| said.fired.iter().any(|o| o.rule == *id);
    let of = |rule: &crate::rules::Rule| {
        let both = rule
            .excludes
            .iter()
            .filter(|other| fires(&rule.id) && fires(other));
        both.map(|other| (rule.id.clone(), other.clone()))
            .collect::<Vec<_>>()
    };
    pack.all_rules().iter().flat_map(of).collect()
}
