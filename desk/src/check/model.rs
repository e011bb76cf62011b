//! Models and adapters, tried at the desk as on a phone.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use distribution::Release;
use inference::model::adapter::Adapter;
use inference::vision::PictureReader;
use inference::{ModelError, RulePack, TriageModel};
use teach::evaluate::subgroups;

use super::{Beside, Check, Files, PATIENTS, SEED};

impl Files<'_> {
    /// An adapter, tried with its base.
    pub(super) fn check_adapter(
        &self,
        release: &Release,
        (path, by_ministry): (&Path, bool),
    ) -> Vec<Check> {
        let tried = || -> Result<Vec<Check>, String> {
            let opened = |path: &Path| Ok(BufReader::new(File::open(path)?));
            let words = |e: std::io::Error| e.to_string();
            let refused = |e: ModelError| e.to_string();
            let adapter = Adapter::read(&mut opened(path).map_err(words)?).map_err(refused)?;
            let mut at_hand = self.bases.iter().chain(&self.bundles);
            let base = at_hand.find(|(_, held)| held.to_string() == adapter.base());
            let Some((base, _)) = base else {
                let short = adapter.base().get(..16).unwrap_or_default();
                return Err(format!(
                    "its base {short}… is not at hand: draft it with --base FILE, the model that phones run"
                ));
            };
            let mut file = opened(base).map_err(words)?;
            let base = TriageModel::read("base", &mut file).map_err(refused)?;
            let model = base.with(&adapter, &release.module).map_err(refused)?;
            let stands = |base: &&Release| base.digest.to_string() == adapter.base();
            let mut bases = self.listed.iter().filter(stands);
            let beside = Beside {
                base: adapter.base().get(..16).unwrap_or_default().to_owned(),
                patients: adapter
                    .patients()
                    .iter()
                    .map(|group| group.name())
                    .collect(),
                in_place: by_ministry,
                listed: bases.any(|base| base.area.covers(&release.area)),
            };
            let beside = Check::StandsBeside(release.clone(), beside);
            let tried = tried_model(&model)?;
            Ok(std::iter::once(beside).chain(tried).collect())
        };
        tried().unwrap_or_else(|e| vec![Check::ModelFails(release.clone(), e)])
    }
}

pub(super) fn check_model(release: &Release, path: &Path) -> Vec<Check> {
    let fails = |e: String| vec![Check::ModelFails(release.clone(), e)];
    let tried = || -> Result<Vec<Check>, String> {
        let mut bundle = BufReader::new(File::open(path).map_err(|e| e.to_string())?);
        let name = format!("{} version {}", release.module, release.version);
        let model = TriageModel::read(&name, &mut bundle).map_err(|e| e.to_string())?;
        tried_model(&model)
    };
    tried().unwrap_or_else(fails)
}

/// A reader of pictures, and its golden pictures.
pub(super) fn check_pictures(release: &Release, path: &Path) -> Vec<Check> {
    let tried = || -> Result<usize, String> {
        let mut bundle = BufReader::new(File::open(path).map_err(|e| e.to_string())?);
        let reader = PictureReader::read(&release.module, &mut bundle);
        let tested = reader.and_then(|reader| reader.self_test());
        tested.map_err(|e| e.to_string())
    };
    vec![match tried() {
        Ok(golden) => Check::ModelGolden(golden),
        Err(reason) => Check::ModelFails(release.clone(), reason),
    }]
}

/// A model's golden cases, and how it does on groups of patients.
fn tried_model(model: &TriageModel) -> Result<Vec<Check>, String> {
    let pack = RulePack::built_in()?;
    let golden = model.self_test(&pack).map_err(|e| e.to_string())?;
    let groups = subgroups(model, &pack, SEED, PATIENTS);
    let measured = groups.into_iter().map(Check::ModelGroup);
    Ok(std::iter::once(Check::ModelGolden(golden))
        .chain(measured)
        .collect())
}
