//! The model's side of the phone: trying a release on this very phone before it runs, and judging
//! findings by what runs. Rules and model are `inference`'s; here they meet the interface.

use std::sync::Arc;

use clinical::assessment::{Question, QuestionKind};
use clinical::{Assessment, FindingValue, FindingsError, Profile};
use distribution::Release;
use inference::findings::{read_recorded, read_value};
use inference::interview::{Step, danger, next};
use inference::rules::{FindingKind, FindingSpec};
use inference::trial::try_rules;
use inference::{Findings, RulePack, TriageModel, floor};

use crate::api::Assessor;
use crate::api::assess::{Ages, Interview, Next, PatientFile, Values};
use crate::api::views::releases::Check;

/// What runs now.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The rule pack.
    pub pack: Arc<RulePack>,
    /// The model, if one does.
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

/// Loads a whole bundle and tests it here. Returns what it is and the checks that it passed.
pub(super) fn try_release(
    release: &Release,
    bytes: &[u8],
    pack: &RulePack,
) -> Result<(Tried, Vec<Check>), String> {
    if release.module.starts_with(MODEL_MODULE) {
        let digest = release.digest.short();
        let name = format!("{} version {}, {digest}", release.module, release.version);
        let model = TriageModel::load(&name, bytes).map_err(|e| e.to_string())?;
        let cases = model.self_test(pack).map_err(|e| e.to_string())?;
        let labels = model.labels().len();
        let checks = vec![Check::ModelLoads { labels }, Check::ModelGolden { cases }];
        return Ok((Tried::Model(Arc::new(model)), checks));
    }
    if release.module.starts_with(RULES_MODULE) {
        let (tried, shown) = try_rules(bytes, pack).map_err(|e| e.to_string())?;
        let checks = vec![
            Check::RulesRead { pack: shown.pack },
            Check::RulesGolden {
                cases: shown.golden,
            },
            Check::RulesKept {
                before: shown.before,
            },
        ];
        return Ok((Tried::Rules(Arc::new(tried)), checks));
    }
    Err(format!(
        "this engine does not run modules named {}",
        release.module
    ))
}

impl Engine {
    /// The rules that are built in, and no model.
    pub fn built_in() -> Result<Self, String> {
        Ok(Self {
            pack: Arc::new(RulePack::built_in()?),
            model: None,
        })
    }

    fn of(&self, findings: &Findings, profile: Profile) -> Assessment {
        inference::assess(findings, &self.pack, profile, self.model.as_deref()).said()
    }
}

fn question(spec: &FindingSpec) -> Question {
    let (kind, choices, unit, bounds) = match &spec.kind {
        FindingKind::Flag => (QuestionKind::Flag, Vec::new(), None, None),
        FindingKind::Number { min, max, unit } => (
            QuestionKind::Number,
            Vec::new(),
            Some(unit.clone()),
            Some((*min, *max)),
        ),
        FindingKind::Choice(words) => (QuestionKind::Choice, words.clone(), None, None),
    };
    Question {
        id: spec.id.clone(),
        ask: spec.ask.clone(),
        kind,
        choices,
        unit,
        bounds,
        usual: spec.usual,
    }
}

impl Assessor for Engine {
    fn read_file(&self, file: &str) -> Result<PatientFile, FindingsError> {
        let findings = Findings::parse(file, &self.pack)?;
        Ok(PatientFile {
            group: findings.group(),
            values: findings.values().clone(),
            text: findings.text().to_owned(),
        })
    }

    fn assess(&self, file: &PatientFile, profile: Profile) -> Assessment {
        let findings = Findings::of_parts(file.group, file.values.clone(), file.text.clone());
        self.of(&findings, profile)
    }

    fn judge(
        &self,
        values: Values,
        ages: &Ages,
        profile: Profile,
    ) -> Result<Option<Assessment>, FindingsError> {
        match Findings::new(values.clone(), String::new(), ages) {
            Ok(findings) => Ok(Some(self.of(&findings, profile))),
            Err(error) => match inference::assess_without_age(&values) {
                Some(floor) => Ok(Some(floor.said())),
                None if ages.is_empty() => Ok(None),
                None => Err(error),
            },
        }
    }

    fn recorded(&self, values: &Values) -> Values {
        read_recorded(values, &self.pack)
    }

    fn read_value(&self, name: &str, value: &FindingValue) -> Result<FindingValue, FindingsError> {
        read_value(name, value, &self.pack)
    }

    fn interview(&self, profile: Profile, answers: &Values, ages: &Ages) -> Interview {
        let next = match next(&self.pack, profile, answers, ages) {
            Step::Ask(spec) => Next::Ask(question(spec)),
            Step::AskAge => Next::AskAge,
            Step::Done => Next::Done,
        };
        let danger = danger(&self.pack, profile, answers, ages);
        Interview {
            next,
            danger: danger.iter().map(inference::rules::Outcome::said).collect(),
        }
    }

    fn running(&self) -> (String, Option<String>) {
        let pack = format!("{} {}", self.pack.id, self.pack.edition);
        (
            pack,
            self.model.as_ref().map(|model| model.name().to_owned()),
        )
    }

    fn by_floor_alone(&self, rules: &str) -> bool {
        rules == floor::EDITION
    }
}
