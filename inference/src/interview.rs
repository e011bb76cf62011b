//! The interview: which question comes next. A danger sign answers at once; a question is asked
//! only where its gate is open, and only at the levels of care that the pack names for it; what
//! must be measured twice is measured again at once, before anything is said of it.

use std::collections::{BTreeMap, BTreeSet};

use clinical::{AgeGroup, FindingValue, Profile, Urgency};

use crate::findings::Findings;
use crate::floor;
use crate::rules::{Evaluation, FindingSpec, Outcome, RulePack};

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<'a> {
    /// Ask this.
    Ask(&'a FindingSpec),
    /// Ask how old the patient is.
    AskAge,
    /// Everything that this level of care asks has been asked.
    Done,
}

/// The first question of all: it is asked before the age.
const FIRST: &str = "convulsing_now";

/// What comes next, after these answers. An answer that is not known is an answer: it is not asked
/// again.
pub fn next<'a>(
    pack: &'a RulePack,
    profile: Profile,
    answers: &BTreeMap<String, FindingValue>,
    ages: &BTreeMap<String, f64>,
) -> Step<'a> {
    if let Some(first) = pack
        .finding(FIRST)
        .filter(|first| !answers.contains_key(&first.id))
    {
        return Step::Ask(first);
    }
    let findings = match Findings::new(answers.clone(), String::new(), ages) {
        Ok(findings) if !ages.is_empty() => findings,
        // A mother is judged without her age, and asked for it all the same.
        Ok(_) => return Step::AskAge,
        Err(_) if ages.is_empty() => return Step::AskAge,
        // No rules are for this age: what the floor looks at is asked.
        Err(_) => {
            let signs = floor::ALWAYS.iter().filter_map(|sign| pack.finding(sign));
            let mut left = signs.filter(|spec| !answers.contains_key(&spec.id));
            return left.next().map_or(Step::Done, Step::Ask);
        }
    };
    let open = pack.open_questions(profile, &findings, answers);
    // Both numbers of a blood pressure are measured before either is measured again.
    let waits_for = |spec: &FindingSpec| {
        let mut names = BTreeSet::new();
        spec.gate.iter().for_each(|gate| gate.names(&mut names));
        open.iter().any(|other| names.contains(&other.id))
    };
    let again = open
        .iter()
        .find(|spec| measured_once(spec, answers).is_some() && !waits_for(spec));
    again
        .or(open.first())
        .map_or(Step::Done, |spec| Step::Ask(spec))
}

/// What has been measured, and is to be measured again by this question.
fn measured_once<'a>(
    spec: &'a FindingSpec,
    answers: &BTreeMap<String, FindingValue>,
) -> Option<&'a String> {
    let first = spec.again.as_ref();
    first.filter(|first| matches!(answers.get(*first), Some(FindingValue::Number(_))))
}

/// What is pink already, by what has been answered so far.
pub fn danger(
    pack: &RulePack,
    profile: Profile,
    answers: &BTreeMap<String, FindingValue>,
    ages: &BTreeMap<String, f64>,
) -> Vec<Outcome> {
    let evaluation = match Findings::new(answers.clone(), String::new(), ages) {
        Ok(findings) => {
            let mut settled = answers.clone();
            for spec in pack.open_questions(profile, &findings, answers) {
                measured_once(spec, answers).map(|first| settled.remove(first));
            }
            // The same findings with fewer of them are findings.
            let settled = Findings::new(settled, String::new(), ages).unwrap_or(findings);
            pack.evaluate(profile, &settled)
        }
        Err(_) => Evaluation {
            fired: floor::evaluate(answers, None),
            ..Evaluation::default()
        },
    };
    evaluation
        .fired
        .into_iter()
        .filter(|outcome| outcome.urgency == Urgency::Pink)
        .collect()
}

/// The most questions that can be asked of one patient.
pub fn most(pack: &RulePack, profile: Profile, group: AgeGroup) -> usize {
    pack.questions(profile, group).len()
}
