//! The model's side of the phone: trying a release on this very phone before it runs, and turning
//! findings into entries of a case. Rules and model are `inference`'s; here they meet the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use clinical::{FindingValue, Profile};
use distribution::Release;
use inference::trial::try_rules;
use inference::{Assessment, Findings, RulePack, TriageModel};
use record::{AssessmentEntry, Entry};

/// What runs now.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub pack: Arc<RulePack>,
    pub model: Option<Arc<TriageModel>>,
}

/// What a tried release turned out to be.
#[derive(Debug, Clone)]
pub(super) enum Tried {
    Model(Arc<TriageModel>),
    Rules(Arc<RulePack>),
}

/// The modules that this engine runs, by the beginning of their names.
pub(super) const MODEL_MODULE: &str = "triage-model";
pub(super) const RULES_MODULE: &str = "rules";

/// Whether this engine runs such a module; others are carried for phones that do.
pub(super) fn runs(module: &str) -> bool {
    module.starts_with(MODEL_MODULE) || module.starts_with(RULES_MODULE)
}

/// Loads a whole bundle and tests it here. Returns what it is and the checks that it passed, in
/// words.
pub(super) fn try_release(
    release: &Release,
    bytes: &[u8],
    pack: &RulePack,
) -> Result<(Tried, Vec<String>), String> {
    if release.module.starts_with(MODEL_MODULE) {
        let name = format!(
            "{} version {}, {}",
            release.module,
            release.version,
            release.digest.short()
        );
        let model = TriageModel::load(&name, bytes).map_err(|e| e.to_string())?;
        let golden = model.self_test(pack).map_err(|e| e.to_string())?;
        let checks = vec![
            format!("loads within its limits, {} labels", model.labels().len()),
            format!("{golden} of {golden} golden cases come out as published on this phone"),
        ];
        return Ok((Tried::Model(Arc::new(model)), checks));
    }
    if release.module.starts_with(RULES_MODULE) {
        let (tried, shown) = try_rules(bytes, pack).map_err(|e| e.to_string())?;
        let golden = shown.golden;
        let checks = vec![
            format!("every rule of {} reads known findings", shown.pack),
            format!(
                "{golden} of {golden} golden cases come out as the guidelines say, by its rules alone"
            ),
            format!(
                "every pink rule of {} is there, or given up by an explicit word",
                shown.before
            ),
        ];
        return Ok((Tried::Rules(Arc::new(tried)), checks));
    }
    Err(format!(
        "this engine does not run modules named {}",
        release.module
    ))
}

/// Findings as entries of a case.
pub(super) fn finding_entries(findings: &Findings) -> Vec<Entry> {
    let text = (!findings.text().is_empty()).then(|| Entry::Finding {
        name: "text".into(),
        value: FindingValue::Text(findings.text().to_owned()),
    });
    let entry = |(name, value): (&String, &FindingValue)| Entry::Finding {
        name: name.clone(),
        value: value.clone(),
    };
    findings.values().iter().map(entry).chain(text).collect()
}

/// An assessment as it is kept: what was shown, with rule and model versions.
pub(super) fn assessment_entry(assessment: &Assessment) -> AssessmentEntry {
    let fired = assessment
        .rules
        .fired
        .iter()
        .map(|o| format!("{} {} [{}]", o.rule, o.class, o.source));
    let open = assessment
        .rules
        .cannot_clear
        .iter()
        .map(|o| format!("cannot clear {} {} [{}]", o.rule, o.class, o.source));
    let ranked = assessment
        .opinion
        .iter()
        .flat_map(|o| o.differential.iter().take(5));
    AssessmentEntry {
        urgency: assessment.urgency,
        rules_fired: fired.chain(open).collect(),
        differential: ranked
            .map(|(label, p)| format!("{} {} {:.2}", label.icd11, label.name, p))
            .collect(),
        rules: assessment.pack.clone(),
        model: assessment.model.clone(),
    }
}

impl Engine {
    pub(super) fn built_in() -> Result<Self, String> {
        Ok(Self {
            pack: Arc::new(RulePack::built_in()?),
            model: None,
        })
    }

    /// What rules and floor say of words that stand in a record. Without an age that the rules are
    /// for, the floor alone: `Ok(None)` if there is no age, and the error of the age if there is,
    /// where it says nothing.
    pub(super) fn judge(
        &self,
        values: BTreeMap<String, FindingValue>,
        ages: &BTreeMap<String, f64>,
        profile: Profile,
    ) -> Result<Option<Assessment>, clinical::FindingsError> {
        match Findings::new(values.clone(), String::new(), ages) {
            Ok(findings) => Ok(Some(inference::assess(
                &findings,
                &self.pack,
                profile,
                self.model.as_deref(),
            ))),
            Err(error) => match inference::assess_without_age(&values) {
                Some(floor) => Ok(Some(floor)),
                None if ages.is_empty() => Ok(None),
                None => Err(error),
            },
        }
    }

    pub(super) fn assess(
        &self,
        file: &str,
        profile: Profile,
    ) -> Result<(Findings, Assessment), clinical::FindingsError> {
        let findings = Findings::parse(file, &self.pack)?;
        let assessment = inference::assess(&findings, &self.pack, profile, self.model.as_deref());
        Ok((findings, assessment))
    }
}
