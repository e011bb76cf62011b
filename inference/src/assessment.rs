//! One assessment: rules first, then the model, which may raise urgency and never lower it.

use std::collections::BTreeMap;

use clinical::assessment::Open;
use clinical::{FindingValue, Profile, Urgency};

use crate::findings::Findings;
use crate::floor;
use crate::model::{Opinion, TriageModel};
use crate::rules::{self, Evaluation, Outcome, RulePack};

/// What is shown to the worker, who decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The colour shown.
    pub urgency: Urgency,
    /// The colour by rules alone.
    pub rule_urgency: Urgency,
    /// What the rules say.
    pub rules: Evaluation,
    /// What the model says, if one runs.
    pub opinion: Option<Opinion>,
    /// The model has raised the colour above the rules'.
    pub raised_by_model: bool,
    /// Whether the worker may choose green.
    pub green_offered: bool,
    /// The rule pack: `id edition (profile)`.
    pub pack: String,
    /// The model: `version N, digest`, or `none`.
    pub model: String,
}

/// What the models that are heard say, and what they are called. A base is not heard where an adapter
/// that stands in its place has an opinion; where that abstains, or fails, it is.
fn opinions<'m>(
    findings: &Findings,
    models: impl IntoIterator<Item = &'m TriageModel>,
) -> (Vec<&'m str>, Option<Opinion>) {
    let (adapted, bases): (Vec<_>, Vec<_>) = models.into_iter().partition(|m| m.is_adapted());
    let said = adapted
        .iter()
        .map(|model| (*model, model.opinion(findings)));
    let said: Vec<_> = said.collect();
    let replaced = |base: &TriageModel| {
        let decided = |(_, said): &&(&TriageModel, Option<Opinion>)| {
            said.as_ref().is_some_and(|opinion| !opinion.abstained)
        };
        let mut deciding = said.iter().filter(decided);
        deciding.any(|(adapted, _)| adapted.stands_for(base))
    };
    let heard = bases.into_iter().filter(|base| !replaced(base));
    let mut all: Vec<_> = heard.map(|base| (base, base.opinion(findings))).collect();
    all.extend(said);
    all.sort_by_key(|(model, _)| model.name());
    // What raises the most, then what does not abstain; the first of several.
    let rank = |said: &Opinion| (said.raises_to(), !said.abstained);
    let mut heard = None::<Opinion>;
    let mut names = Vec::new();
    for (model, said) in all {
        names.push(model.name());
        if let Some(said) = said
            && heard.as_ref().is_none_or(|other| rank(&said) > rank(other))
        {
            heard = Some(said);
        }
    }
    (names, heard)
}

/// Assesses findings. Without a model the rules stand alone; of several, the one that raises the
/// most is heard, the first of those that raise as much.
pub fn assess<'m>(
    findings: &Findings,
    pack: &RulePack,
    profile: Profile,
    models: impl IntoIterator<Item = &'m TriageModel>,
) -> Assessment {
    let mut rules = pack.evaluate(profile, findings);
    let rule_urgency = rules.urgency();
    let models: Vec<_> = models.into_iter().collect();
    let (model, opinion) = opinions(findings, models.iter().copied());
    if !findings.text().trim().is_empty() {
        // Beside sixteen answers of no, nothing in a sentence alarms any more: it is heard by itself as well.
        let (_, alone) = opinions(&findings.words_alone(), models);
        let understands = |said: &Option<Opinion>| said.as_ref().is_some_and(Opinion::understands);
        let alarms = |said: &Option<Opinion>| {
            said.as_ref().and_then(Opinion::raises_to) == Some(Urgency::Pink)
        };
        if !understands(&opinion) || !understands(&alone) {
            rules.cannot_clear.push(rules::words_not_understood());
        } else if alarms(&alone) && !alarms(&opinion) {
            rules.cannot_clear.push(rules::words_that_alarm());
        }
    }
    // A pink rule that cannot be cleared is not green: see someone soon, and measure.
    let least = if rules.cannot_clear.is_empty() {
        rule_urgency
    } else {
        rule_urgency.max(Urgency::Yellow)
    };
    let raised = opinion
        .as_ref()
        .and_then(Opinion::raises_to)
        .map_or(least, |u| u.max(least));
    Assessment {
        urgency: raised,
        rule_urgency,
        green_offered: rules.green_offered() && raised == Urgency::Green,
        rules,
        raised_by_model: raised > least,
        opinion,
        pack: format!("{} ({}), {}", pack.named(), profile.name(), floor::EDITION),
        model: match model.is_empty() {
            true => "none".into(),
            false => model.join("; "),
        },
    }
}

/// What the floor alone says, of a patient whose age is not known or whom the pack has no rules
/// for. `None` if it says nothing: that is no colour.
pub fn assess_without_age(values: &BTreeMap<String, FindingValue>) -> Option<Assessment> {
    let fired = floor::evaluate(values, None);
    let urgency = fired.iter().map(|outcome| outcome.urgency).max()?;
    Some(Assessment {
        urgency,
        rule_urgency: urgency,
        rules: Evaluation {
            fired,
            ..Evaluation::default()
        },
        opinion: None,
        raised_by_model: false,
        green_offered: false,
        pack: floor::EDITION.to_owned(),
        model: "none".into(),
    })
}

impl Assessment {
    /// As it is shown, kept and passed on.
    pub fn said(&self) -> clinical::Assessment {
        let open = |o: &Outcome| Open {
            rule: o.rule.clone(),
            class: o.class.clone(),
            source: o.source.clone(),
            measure: o.findings.iter().map(|(name, _)| name.clone()).collect(),
        };
        clinical::Assessment {
            urgency: self.urgency,
            rule_urgency: self.rule_urgency,
            raised_by_model: self.raised_by_model,
            green_offered: self.green_offered,
            fired: self.rules.fired.iter().map(Outcome::said).collect(),
            cannot_clear: self.rules.cannot_clear.iter().map(open).collect(),
            not_ruled_out: self.rules.advised.iter().map(open).collect(),
            model_opinion: self.opinion.as_ref().map(Opinion::said),
            pack: self.pack.clone(),
            model: self.model.clone(),
        }
    }
}
