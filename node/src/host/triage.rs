//! The model's side of the phone: trying a release on this very phone before it runs, and judging
//! findings by what runs. Rules and model are `inference`'s; here they meet the interface.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use clinical::age::AGES;
use clinical::assessment::{Question, QuestionKind};
use clinical::plan::Plan;
use clinical::{AgeGroup, Assessment, FindingValue, FindingsError, Profile};
use distribution::{ModuleKind, Release};
use inference::findings::{read_recorded, read_value};
use inference::interview::{Step, danger, next};
use inference::model::adapter::Adapter;
use inference::pictures::{PREFIX, Readings, reading_named, subject_named};
use inference::rules::{FindingKind, FindingSpec};
use inference::treatment::Patient;
use inference::trial::{runs_beside, try_rules};
use inference::vision::{Look, Picture, PictureReader};
use inference::{Findings, RulePack, TriageModel, floor};
use protocol::Digest;

use crate::api::Assessor;
use crate::api::assess::{Ages, Interview, Next, PatientFile, PlanFor, Values};
use crate::api::views::case::{PictureRead, PictureSays};
use crate::api::views::releases::Check;

/// What runs now: a slot for each module, so that none takes another's place.
#[derive(Debug, Clone)]
pub struct Engine {
    built_in: Arc<RulePack>,
    slots: BTreeMap<String, Tried>,
    /// The rule packs that run beside each other.
    pack: Arc<RulePack>,
    /// The models that judge: bases, and those with an adapter beside them.
    judges: Vec<Arc<TriageModel>>,
}

/// What a tried release turned out to be.
#[derive(Debug, Clone)]
pub(super) enum Tried {
    Model(Digest, Arc<TriageModel>),
    Rules(Arc<RulePack>),
    /// A reader of pictures.
    Pictures(Arc<PictureReader>),
    /// What stands beside a model, what it is called, whether it was tried with that model, and whether
    /// it may stand in its place: the ministry's own may.
    Adapter {
        adapter: Arc<Adapter>,
        name: String,
        tried: bool,
        by_ministry: bool,
    },
}

/// Modules that run beside each other: each takes memory and time.
const SLOTS_MAX: usize = 8;
/// Bytes of a rule pack, of which one more is read to see that it is longer.
const RULES_BYTES_MAX: u64 = 1 << 20;

/// Loads a whole bundle from where it lies and tests it here on golden cases of its kind. Returns
/// what it is and the checks that it passed. `by_ministry`: its own list names it, not a delegation's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub(super) fn try_release(
    release: &Release,
    (file, by_ministry): (File, bool),
    engine: &Engine,
) -> Result<(Tried, Vec<Check>), String> {
    match release.kind {
        ModuleKind::Triage => try_model(release, file, engine),
        ModuleKind::Rules => try_pack(release, (file, by_ministry), engine),
        ModuleKind::Adapter => try_adapter(release, (file, by_ministry), engine),
        ModuleKind::Vision => try_pictures(release, file),
        other => Err(format!("this engine does not run modules of kind {other}")),
    }
}

fn try_model(
    release: &Release,
    file: File,
    engine: &Engine,
) -> Result<(Tried, Vec<Check>), String> {
    let mut file = BufReader::new(file);
    let model = TriageModel::read(&name_of(release), &mut file).map_err(|e| e.to_string())?;
    let cases = model.self_test(&engine.pack).map_err(|e| e.to_string())?;
    let labels = model.labels().len();
    let checks = vec![Check::ModelLoads { labels }, Check::ModelGolden { cases }];
    Ok((Tried::Model(release.digest, Arc::new(model)), checks))
}

fn try_pictures(release: &Release, file: File) -> Result<(Tried, Vec<Check>), String> {
    let mut file = BufReader::new(file);
    let reader = PictureReader::read(&name_of(release), &mut file).map_err(|e| e.to_string())?;
    let pictures = reader.self_test().map_err(|e| e.to_string())?;
    let checks = vec![Check::PicturesGolden { pictures }];
    Ok((Tried::Pictures(Arc::new(reader)), checks))
}

/// What assessments call a release.
fn name_of(release: &Release) -> String {
    let digest = release.digest.short();
    format!("{} version {}, {digest}", release.module, release.version)
}

/// An adapter is tried with its base, which must run: until then it waits ([`Engine::fits`]).
fn try_adapter(
    release: &Release,
    (file, by_ministry): (File, bool),
    engine: &Engine,
) -> Result<(Tried, Vec<Check>), String> {
    let adapter = Adapter::read(&mut BufReader::new(file)).map_err(|e| e.to_string())?;
    let name = name_of(release);
    let base = adapter
        .base()
        .parse()
        .map_err(|_| "its base has no digest")?;
    let mut checks = vec![Check::StandsBeside { base }];
    let mut tried = false;
    if let Some(base) = engine.base_of(&adapter) {
        let adapted = base.with(&adapter, &name).map_err(|e| e.to_string())?;
        let cases = adapted.self_test(&engine.pack).map_err(|e| e.to_string())?;
        let labels = adapted.labels().len();
        checks.push(Check::ModelLoads { labels });
        checks.push(Check::ModelGolden { cases });
        tried = true;
    }
    let adapter = Arc::new(adapter);
    Ok((
        Tried::Adapter {
            adapter,
            name,
            tried,
            by_ministry,
        },
        checks,
    ))
}

fn try_pack(
    release: &Release,
    (file, by_ministry): (File, bool),
    engine: &Engine,
) -> Result<(Tried, Vec<Check>), String> {
    let mut bytes = Vec::new();
    let read = file.take(RULES_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|e| e.to_string())?;
    let before = engine
        .packs()
        .find(|(module, _)| **module == release.module);
    let before = before.map(|(_, pack)| pack.as_ref());
    let (tried, shown) = try_rules(&bytes, before, by_ministry).map_err(|e| e.to_string())?;
    let mut checks = vec![
        Check::RulesRead { pack: shown.pack },
        Check::RulesGolden {
            cases: shown.golden,
        },
    ];
    let shown_before = shown.before.filter(|before| *before != tried.named());
    checks.extend(shown_before.map(|before| Check::RulesKept { before }));
    Ok((Tried::Rules(Arc::new(tried)), checks))
}

impl Engine {
    /// The rules that are built in, and no model.
    pub fn built_in() -> Result<Self, String> {
        let built_in = Arc::new(RulePack::built_in()?);
        Ok(Self {
            pack: built_in.clone(),
            slots: BTreeMap::new(),
            judges: Vec::new(),
            built_in,
        })
    }

    /// Whether what was tried can run beside what runs now. If not, it may later, when something else
    /// has stopped.
    pub(super) fn fits(&self, module: &str, tried: &Tried) -> Result<(), String> {
        if !self.slots.contains_key(module) && self.slots.len() >= SLOTS_MAX {
            return Err(format!("{SLOTS_MAX} modules run already"));
        }
        let pack = match tried {
            Tried::Rules(pack) => pack,
            Tried::Model(..) | Tried::Pictures(_) => return Ok(()),
            Tried::Adapter { adapter, tried, .. } => {
                if *tried && self.base_of(adapter).is_some() {
                    return Ok(());
                }
                return Err(format!(
                    "its base {}… does not run here",
                    adapter.base().get(..16).unwrap_or_default()
                ));
            }
        };
        let mut others = self.packs().filter(|(other, _)| *other != module);
        others
            .try_for_each(|(_, other)| runs_beside(pack, other))
            .map_err(|e| e.to_string())
    }

    /// A module runs from now on, in the place of what ran in its slot.
    pub(super) fn switch(&mut self, module: &str, to: Tried) {
        self.slots.insert(module.to_owned(), to);
        self.settle();
    }

    /// A module runs no more.
    pub(super) fn stop(&mut self, module: &str) {
        self.slots.remove(module);
        self.settle();
    }

    fn settle(&mut self) {
        let packs: Vec<_> = self.packs().map(|(_, pack)| pack.clone()).collect();
        self.pack = Arc::new(RulePack::side_by_side(&self.built_in, packs));
        self.judges = self.judges_now();
    }

    /// Each model, and each with an adapter that was made for it.
    fn judges_now(&self) -> Vec<Arc<TriageModel>> {
        let mut judges = Vec::new();
        for (digest, model) in self.bases() {
            judges.push(model.clone());
            for slot in self.slots.values() {
                if let Tried::Adapter {
                    adapter,
                    name,
                    by_ministry,
                    ..
                } = slot
                    && is_of(adapter, digest)
                    && let Ok(adapted) = model.with(adapter, name)
                {
                    judges.push(Arc::new(match by_ministry {
                        true => adapted,
                        false => adapted.heard_beside(),
                    }));
                }
            }
        }
        judges
    }

    /// Adapters that are loaded and whose base does not run.
    pub(super) fn mute(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|(module, slot)| match slot {
            Tried::Adapter { adapter, .. } if self.base_of(adapter).is_none() => {
                Some(module.as_str())
            }
            Tried::Adapter { .. } | Tried::Model(..) | Tried::Rules(_) | Tried::Pictures(_) => None,
        })
    }

    fn bases(&self) -> impl Iterator<Item = (&Digest, &Arc<TriageModel>)> {
        self.slots.values().filter_map(|tried| match tried {
            Tried::Model(digest, model) => Some((digest, model)),
            Tried::Rules(_) | Tried::Adapter { .. } | Tried::Pictures(_) => None,
        })
    }

    /// The model that an adapter was made for, if it runs.
    fn base_of(&self, adapter: &Adapter) -> Option<&Arc<TriageModel>> {
        let mut bases = self.bases();
        let base = bases.find(|(digest, _)| is_of(adapter, digest));
        base.map(|(_, model)| model)
    }

    /// Whether something of a module has been loaded.
    pub(super) fn holds(&self, module: &str) -> bool {
        self.slots.contains_key(module)
    }

    fn packs(&self) -> impl Iterator<Item = (&String, &Arc<RulePack>)> {
        self.slots.iter().filter_map(|(module, tried)| match tried {
            Tried::Rules(pack) => Some((module, pack)),
            Tried::Model(..) | Tried::Adapter { .. } | Tried::Pictures(_) => None,
        })
    }

    /// The reader of pictures, if one runs; of several, that of the first module.
    fn pictures(&self) -> Option<&PictureReader> {
        self.slots.values().find_map(|tried| match tried {
            Tried::Pictures(reader) => Some(reader.as_ref()),
            Tried::Model(..) | Tried::Adapter { .. } | Tried::Rules(_) => None,
        })
    }

    /// Whether something that runs reads pictures of this.
    pub(super) fn reads_pictures_of(&self, subject: &str) -> bool {
        self.pictures().is_some() && subject_named(subject).is_some()
    }

    fn models(&self) -> impl Iterator<Item = &TriageModel> {
        self.judges.iter().map(Arc::as_ref)
    }

    /// The card of the model that runs in a slot.
    pub(super) fn card(&self, module: &str) -> Option<String> {
        match self.slots.get(module)? {
            Tried::Model(_, model) => Some(model.card().to_owned()),
            Tried::Adapter { adapter, .. } => Some(adapter.card().to_owned()),
            Tried::Pictures(reader) => Some(reader.card().to_owned()),
            Tried::Rules(_) => None,
        }
    }

    fn of(&self, findings: &Findings, profile: Profile) -> Assessment {
        inference::assess(findings, &self.pack, profile, self.models()).said()
    }
}

fn is_of(adapter: &Adapter, digest: &Digest) -> bool {
    adapter.base() == digest.to_string()
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

/// What pictures were read as, out of what stands in a record: models are told, rules never.
fn take_readings(values: &mut Values) -> Readings {
    let read = |(name, value): (&String, &FindingValue)| {
        let (subject, FindingValue::Text(word)) = (name.strip_prefix(PREFIX)?, value) else {
            return None;
        };
        reading_named(subject, word)
    };
    let readings = values.iter().filter_map(read).collect();
    values.retain(|name, _| !name.starts_with(PREFIX));
    readings
}

impl Assessor for Engine {
    fn read_file(&self, file: &str, age: &Ages) -> Result<PatientFile, FindingsError> {
        let findings = Findings::parse_beside(file, &self.pack, age)?;
        Ok(PatientFile {
            group: findings.group(),
            values: findings.said().clone(),
            text: findings.text().to_owned(),
            pictures: findings.pictures().clone(),
            ages: findings.age_said().clone(),
        })
    }

    fn read_ageless(&self, file: &str) -> Option<PatientFile> {
        let (findings, ages) = Findings::ageless(file, &self.pack).ok()?;
        let mut values = findings.said().clone();
        values.retain(|name, _| !AGES.contains(&name.as_str()));
        let said = ages.iter();
        values.extend(said.map(|(name, age)| (name.clone(), FindingValue::Number(*age))));
        Some(PatientFile {
            group: findings.group(),
            values,
            text: findings.text().to_owned(),
            pictures: findings.pictures().clone(),
            ages,
        })
    }

    fn by_floor(&self, values: &Values) -> Option<Assessment> {
        inference::assess_without_age(values).map(|floor| floor.said())
    }

    fn assess(&self, file: &PatientFile, profile: Profile) -> Assessment {
        let findings = Findings::of_parts(file.group, file.values.clone(), file.text.clone());
        self.of(&findings.with_pictures(file.pictures.clone()), profile)
    }

    fn judge(
        &self,
        values: Values,
        ages: &Ages,
        profile: Profile,
    ) -> Result<Option<Assessment>, FindingsError> {
        let (mut values, mut text) = (values, String::new());
        if let Some(FindingValue::Text(said)) = values.remove(clinical::TEXT) {
            text = said;
        }
        let pictures = take_readings(&mut values);
        match Findings::new(values.clone(), text, ages) {
            Ok(findings) => Ok(Some(self.of(&findings.with_pictures(pictures), profile))),
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
        let models: Vec<_> = self.models().map(TriageModel::name).collect();
        let models = Some(models.join("; ")).filter(|names| !names.is_empty());
        (self.pack.named(), models)
    }

    fn mark(&self) -> Vec<u8> {
        let packs = self.packs().map(|(_, pack)| pack);
        let packs = packs.map(|pack| format!("{} {};", pack.named(), pack.version));
        let models = self.models().map(|model| format!("{};", model.name()));
        packs.chain(models).collect::<String>().into_bytes()
    }

    fn plan(&self, patient: &PlanFor<'_>) -> Plan {
        let plan = |findings: &Findings| {
            self.pack.plan(&Patient {
                fired: &patient.judged.fired,
                urgency: patient.judged.urgency,
                findings,
                profile: patient.profile,
                allergies: patient.allergies,
                given: patient.given,
            })
        };
        let values = patient.findings.clone();
        match Findings::new(values.clone(), String::new(), patient.ages) {
            Ok(findings) => plan(&findings),
            // No age, or none that the rules are for: what to do on the way is said, and no dose.
            Err(_) => Plan {
                medicines: Vec::new(),
                withheld: Vec::new(),
                ask_allergies: false,
                follow_up_days: None,
                ..plan(&Findings::of_parts(AgeGroup::Child, values, String::new()))
            },
        }
    }

    fn look(&self, picture: &[u8], subject: &str) -> Option<PictureRead> {
        let (reader, subject) = (self.pictures()?, subject_named(subject)?);
        let picture = Picture::new(picture.to_vec())?;
        let said = match reader.look(&picture, subject).ok()? {
            Look::Reads(word, probability) => PictureSays::Reads {
                word: word.to_owned(),
                probability,
            },
            Look::NotThis => PictureSays::NotThis,
            Look::Unsure => PictureSays::Unsure,
        };
        Some(PictureRead {
            subject: subject.name.to_owned(),
            said,
            by: reader.name().to_owned(),
        })
    }

    fn by_floor_alone(&self, rules: &str) -> bool {
        rules == floor::EDITION
    }
}
