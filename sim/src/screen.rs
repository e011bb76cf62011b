//! A screen of a simulated phone: the same interface that command line and apps have, on a store in
//! memory and rules that a test can see through.

use clinical::age::Age;
use clinical::assessment::{Fired, Open};
use clinical::plan::{Advice, Plan};
use clinical::{Assessment, FindingValue, FindingsError, Profile, Urgency};
use node::agent::{Command, Known, Reply};
use node::api::assess::{Ages, Interview, Next, PatientFile, PlanFor, Values};
use node::api::{self, Assessor, Cx, HostFacts, Look, Refusal, Request};
use node::{MemoryStore, Store};
use protocol::Now;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::World;

/// Rules that a test can see through: a convulsion is pink, an unknown oxygen saturation cannot be
/// cleared, and all else is green.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainRules;

impl PlainRules {
    fn of(values: &Values) -> Assessment {
        let pink = values.get("convulsions") == Some(&FindingValue::Yes);
        let measured = matches!(values.get("spo2"), Some(FindingValue::Number(_)));
        let fired = pink.then(|| Fired {
            rule: "S1".into(),
            class: "Danger sign".into(),
            urgency: Urgency::Pink,
            source: "a test".into(),
            action: "Refer".into(),
            findings: vec![("convulsions".into(), FindingValue::Yes)],
        });
        let open = (!measured).then(|| Open {
            rule: "S2".into(),
            class: "Little oxygen".into(),
            source: "a test".into(),
            measure: vec!["spo2".into()],
        });
        let urgency = match (pink, measured) {
            (true, _) => Urgency::Pink,
            (false, false) => Urgency::Yellow,
            (false, true) => Urgency::Green,
        };
        Assessment {
            urgency,
            rule_urgency: urgency,
            raised_by_model: false,
            green_offered: urgency == Urgency::Green,
            fired: fired.into_iter().collect(),
            cannot_clear: open.into_iter().collect(),
            not_ruled_out: Vec::new(),
            model_opinion: None,
            pack: "plain 1 (iccm)".into(),
            model: "none".into(),
        }
    }
}

impl Assessor for PlainRules {
    fn read_file(&self, file: &str, age: &Ages) -> Result<PatientFile, FindingsError> {
        let mut values = Values::new();
        for line in file.lines().filter(|line| !line.trim().is_empty()) {
            let malformed = || FindingsError::Malformed("lines".into(), line.into());
            let (name, typed) = line.split_once('=').ok_or_else(malformed)?;
            let name = name.trim();
            let read = clinical::catalogue::read_value(name, typed.trim());
            values.insert(name.into(), read.map_err(|_| malformed())?);
        }
        let months = match values.get("age_months") {
            Some(FindingValue::Number(months)) => Some(*months),
            _ => age.get("age_months").copied(),
        };
        let age = Age::of(None, None, months).map_err(FindingsError::Age)?;
        Ok(PatientFile {
            ages: months
                .map(|months| ("age_months".to_owned(), months))
                .into_iter()
                .collect(),
            group: age.group,
            values,
            text: String::new(),
            pictures: std::collections::BTreeMap::new(),
        })
    }

    fn assess(&self, file: &PatientFile, _: Profile) -> Assessment {
        Self::of(&file.values)
    }

    fn judge(
        &self,
        values: Values,
        ages: &Ages,
        _: Profile,
    ) -> Result<Option<Assessment>, FindingsError> {
        let said = |name: &str| ages.get(name).copied();
        match Age::of(said("age_hours"), said("age_days"), said("age_months")) {
            Ok(_) => Ok(Some(Self::of(&values))),
            Err(_) if ages.is_empty() => Ok(None),
            Err(error) => Err(FindingsError::Age(error)),
        }
    }

    fn recorded(&self, values: &Values) -> Values {
        values.clone()
    }

    fn read_value(&self, name: &str, value: &FindingValue) -> Result<FindingValue, FindingsError> {
        clinical::catalogue::read_value(name, &value.words())
            .map_err(|_| FindingsError::NotAFlag(name.into()))
    }

    fn interview(&self, _: Profile, answers: &Values, ages: &Ages) -> Interview {
        let asked = ["convulsions", "spo2"]
            .into_iter()
            .find(|name| !answers.contains_key(*name));
        let question = |id: &str| clinical::assessment::Question {
            id: id.into(),
            ask: id.into(),
            kind: clinical::assessment::QuestionKind::Flag,
            choices: Vec::new(),
            unit: None,
            bounds: None,
            usual: None,
        };
        let next = match (asked, ages.is_empty()) {
            (Some(id), _) => Next::Ask(question(id)),
            (None, true) => Next::AskAge,
            (None, false) => Next::Done,
        };
        let danger = Self::of(answers).fired;
        Interview { next, danger }
    }

    fn running(&self) -> (String, Option<String>) {
        ("plain 1".into(), None)
    }

    /// Says which weight and how many doses it was asked with.
    fn plan(&self, patient: &PlanFor<'_>) -> Plan {
        let weight = match patient.findings.get("weight") {
            Some(FindingValue::Number(kg)) => Some(format!("a dose for {kg} kg")),
            _ => None,
        };
        let doses = Some(patient.given.len()).filter(|doses| *doses > 0);
        let (weight, doses) = (
            weight.into_iter(),
            doses.map(|doses| format!("{doses} doses")),
        );
        let told = |words| Advice {
            words,
            rules: Vec::new(),
            source: "a test".into(),
        };
        Plan {
            urgency: Some(patient.judged.urgency),
            refer: patient.judged.urgency == Urgency::Pink,
            ask_allergies: patient.allergies.is_empty(),
            tell: weight.chain(doses).map(told).collect(),
            ..Plan::default()
        }
    }

    fn by_floor_alone(&self, rules: &str) -> bool {
        rules == "floor"
    }
}

/// A person at a simulated phone.
pub struct Screen<'a> {
    world: &'a mut World,
    phone: usize,
    rng: ChaCha8Rng,
}

impl<'a> Screen<'a> {
    /// At this phone.
    pub fn at(world: &'a mut World, phone: usize) -> Self {
        // Fresh each time that the phone was started: no two requests have one number.
        let loads = world.phones.get(phone).map_or(0, |phone| phone.loads);
        Self {
            rng: ChaCha8Rng::seed_from_u64(phone as u64 | loads << 32),
            world,
            phone,
        }
    }

    /// Asks the phone, as any screen does.
    pub fn ask<R>(&mut self, request: Request) -> Result<R, Refusal>
    where
        R: TryFrom<api::Reply, Error = Refusal>,
    {
        let reply = api::answer(self, request, HostFacts::default());
        reply.unwrap_or(Err(Refusal::Nothing))?.try_into()
    }

    /// What the phone keeps, to compare before and after.
    pub fn kept(&self) -> Option<&MemoryStore> {
        self.world.phones.get(self.phone).map(|phone| &phone.store)
    }
}

impl Look for Screen<'_> {
    fn known(&self) -> Known<'_> {
        self.world.phones[self.phone].agent.known()
    }

    fn store(&self) -> &dyn Store {
        &self.world.phones[self.phone].store
    }

    fn assessor(&self) -> &dyn Assessor {
        &PlainRules
    }

    fn now(&self) -> Now {
        self.world.now
    }
}

impl Cx for Screen<'_> {
    fn randomness(&mut self) -> Result<[u8; 32], Refusal> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Ok(seed)
    }

    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.world
            .ask(self.phone, command)
            .unwrap_or(Err(Refusal::Nothing))
    }
}
