//! Rule packs that run beside each other: the guideline's, one for mothers, a district's own. Each of
//! them looks at every case, and what any of them says counts.
//!
//! The pack that is built in is the guideline's. One of the same id is its next edition and takes its
//! place; any other runs beside it. Whatever runs, the rules of the guideline that are built in and
//! the floor look at every case too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinical::{AgeGroup, FindingValue, Profile};

use crate::findings::Findings;
use crate::rules::{Evaluation, FindingSpec, RulePack, guideline, same_meaning, with_level};

impl RulePack {
    /// The pack that is built in, or its next edition where one of `active` is that, with all others
    /// beside it.
    pub fn side_by_side(built_in: &Self, active: impl IntoIterator<Item = Arc<Self>>) -> Self {
        let (mut active, others): (Vec<_>, Vec<_>) =
            active.into_iter().partition(|pack| pack.id == built_in.id);
        let mut first = match active.is_empty() {
            true => built_in.clone(),
            false => Self::clone(&active.remove(0)),
        };
        first.beside = active.into_iter().chain(others).collect();
        first
    }

    /// This pack, and those beside it.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.beside.iter().map(AsRef::as_ref))
    }

    /// Whether it is an edition of the guideline that is built in.
    pub fn is_guideline(&self) -> bool {
        guideline().is_some_and(|built_in| built_in.id == self.id)
    }

    /// Id and edition; of several packs, joined.
    pub fn named(&self) -> String {
        let named = self
            .all()
            .map(|pack| format!("{} {}", pack.id, pack.edition));
        named.collect::<Vec<_>>().join(" + ")
    }

    /// A finding, as the first pack that knows it says it is.
    pub fn finding(&self, id: &str) -> Option<&FindingSpec> {
        self.findings_named(id).next()
    }

    /// A finding as each of the packs that know it says it is.
    pub(crate) fn findings_named(&self, id: &str) -> impl Iterator<Item = &FindingSpec> {
        self.all().filter_map(move |pack| pack.own_finding(id))
    }

    /// A finding that this pack and another one mean differently: they cannot run beside each other.
    pub fn disagrees_with(&self, other: &Self) -> Option<&str> {
        let differs = |spec: &&FindingSpec| {
            let theirs = other.own_finding(&spec.id);
            theirs.is_some_and(|theirs| {
                same_meaning(spec, theirs).is_err() && same_meaning(theirs, spec).is_err()
            })
        };
        let found = self.findings().iter().find(differs);
        found.map(|spec| spec.id.as_str())
    }

    /// Findings that are asked at a level of care, by any of the packs; danger signs first.
    pub fn questions(&self, profile: Profile, group: AgeGroup) -> Vec<&FindingSpec> {
        let mut named = BTreeSet::new();
        let asked = self
            .all()
            .flat_map(|pack| pack.own_questions(profile, group));
        let mut asked: Vec<_> = asked.filter(|spec| named.insert(&spec.id)).collect();
        asked.sort_by_key(|spec| !spec.is_danger_sign(group));
        asked
    }

    /// The questions whose gates are open, as far as they are known, to any pack that asks them:
    /// those without an answer yet, in their order. What is behind a closed gate is asked by
    /// nobody, and counts as *no* in the gates behind it.
    pub(crate) fn open_questions(
        &self,
        profile: Profile,
        findings: &Findings,
        answers: &BTreeMap<String, FindingValue>,
    ) -> Vec<&FindingSpec> {
        let mut values = with_level(findings.values(), profile);
        if matches!(findings.group(), AgeGroup::Infant | AgeGroup::Child) {
            // Nobody need say so of a child, and no question waits for it.
            values.entry("maternal".into()).or_insert(FindingValue::No);
        }
        let mut asked = self.questions(profile, findings.group());
        asked.retain(|spec| !answers.contains_key(&spec.id));
        let mut closed = BTreeSet::new();
        loop {
            let is_open = |id: &str| {
                self.all().any(|pack| {
                    let own = pack.own_questions(profile, findings.group());
                    let spec = own.into_iter().find(|spec| spec.id == id);
                    // Nobody measures again what could not be measured.
                    let measured =
                        |first| matches!(values.get(first), Some(FindingValue::Number(_)));
                    spec.is_some_and(|spec| {
                        spec.again.as_ref().is_none_or(measured)
                            && pack.gate_is_open(spec, &values, &closed)
                    })
                })
            };
            let (open, shut): (Vec<&FindingSpec>, Vec<&FindingSpec>) =
                asked.iter().copied().partition(|spec| is_open(&spec.id));
            let shut: BTreeSet<_> = shut.iter().map(|spec| spec.id.clone()).collect();
            // Each round closes one more, or is the last.
            if shut.is_subset(&closed) {
                return open;
            }
            closed.extend(shut);
        }
    }

    /// Whether this pack's own rules say what another's do, word for word.
    fn rules_are_of(&self, other: &Self) -> bool {
        self.is_guideline() && self.all_rules() == other.all_rules()
    }

    /// What every rule of the profile says of these findings, in this pack, in those beside it and in
    /// the guideline, and the floor below them. Only an edition of the guideline gives up a rule of
    /// it.
    pub fn evaluate(&self, profile: Profile, findings: &Findings) -> Evaluation {
        let mut evaluation = self.evaluate_alone(profile, findings);
        for other in &self.beside {
            evaluation.add_beside(other.evaluate_alone(profile, findings));
        }
        if let Some(built_in) = guideline().filter(|built_in| *built_in != self) {
            let known = |name: &String| built_in.own_finding(name).is_some();
            let editions = self.all().filter(|pack| pack.is_guideline());
            let given_up: Vec<_> = editions.flat_map(|pack| pack.gives_up()).cloned().collect();
            let said = built_in.evaluate_alone(profile, findings);
            evaluation.add(said, &given_up, &known);
        }
        let floor = crate::floor::evaluate(findings.values(), Some(findings.group()));
        let of_others = guideline().is_none_or(|built_in| !self.rules_are_of(built_in));
        evaluation.add_floor(floor, of_others);
        evaluation
    }
}

impl Evaluation {
    /// Adds what another pack says. A sign that one of the two has read is read.
    fn add_beside(&mut self, other: Self) {
        let unread_by_other: BTreeSet<String> = other
            .cannot_clear
            .iter()
            .filter(|outcome| outcome.is_unread())
            .flat_map(|outcome| outcome.findings.iter().map(|(name, _)| name.clone()))
            .collect();
        for outcome in self.cannot_clear.iter_mut().filter(|o| o.is_unread()) {
            outcome
                .findings
                .retain(|(name, _)| unread_by_other.contains(name));
        }
        self.cannot_clear
            .retain(|outcome| !outcome.is_unread() || !outcome.findings.is_empty());
        let lists = [
            (&mut self.fired, other.fired),
            (&mut self.cannot_clear, other.cannot_clear),
            (&mut self.advised, other.advised),
        ];
        for (said, more) in lists {
            for outcome in more.into_iter().filter(|outcome| !outcome.is_unread()) {
                let same = |o: &&crate::rules::Outcome| {
                    (&o.rule, &o.class, o.urgency)
                        == (&outcome.rule, &outcome.class, outcome.urgency)
                };
                if said.iter().find(same).is_none() {
                    said.push(outcome);
                }
            }
        }
        self.fired.sort_by_key(|o| std::cmp::Reverse(o.urgency));
    }
}

#[cfg(test)]
mod tests {
    use clinical::Urgency;

    use super::*;
    use crate::trial::{TrialError, runs_beside, try_rules};

    const MOTHERS: &str = r#"
        id = "mothers"
        edition = "1"
        version = 1
        profiles = ["iccm", "imci"]
        [[finding]]
        id = "mother_faint"
        ask = "Does the mother feel faint?"
        asked = ["child.iccm"]
        [[rule]]
        id = "faint"
        group = "child"
        class = "A faint mother"
        urgency = "yellow"
        source = "an example"
        when = "mother_faint"
        action = "See the mother too"
        [[golden]]
        name = "faint"
        profile = "iccm"
        findings = { age_months = 20, "mother_faint" = "yes" }
        expected = "yellow"
    "#;

    fn both() -> RulePack {
        let built_in = RulePack::built_in().unwrap();
        let mothers = Arc::new(RulePack::parse(MOTHERS).unwrap());
        RulePack::side_by_side(&built_in, [mothers])
    }

    fn judged(pack: &RulePack, file: &str) -> Evaluation {
        let findings = Findings::parse(file, pack).unwrap();
        pack.evaluate(Profile::Iccm, &findings)
    }

    #[test]
    fn what_any_pack_says_counts_and_none_hides_what_another_says() {
        let faint = r#"{"age_months": 20, "mother_faint": "yes"}"#;
        let said = judged(&both(), faint);
        assert_eq!(said.urgency(), Urgency::Yellow);
        assert!(said.fired.iter().any(|o| o.rule == "faint"));
        // The guideline's own pack alone knows no such word.
        assert!(Findings::parse(faint, &RulePack::built_in().unwrap()).is_err());
        let fits = r#"{"age_months": 20, "mother_faint": "yes", "convulsions": "yes"}"#;
        let said = judged(&both(), fits);
        assert_eq!(said.urgency(), Urgency::Pink);
        assert!(said.fired.iter().any(|o| o.rule == "faint"));
    }

    #[test]
    fn a_sign_that_one_pack_reads_is_read_and_one_that_none_reads_blocks_green() {
        let said = judged(&both(), r#"{"age_months": 20, "mother_faint": "yes"}"#);
        assert!(!said.cannot_clear.iter().any(|o| o.is_unread()));
        let cough = r#"{"age_months": 20, "cough_or_difficult": "yes"}"#;
        let alone = judged(&RulePack::built_in().unwrap(), cough);
        assert_eq!(
            judged(&both(), cough),
            alone,
            "a pack that reads nothing changes nothing"
        );
    }

    #[test]
    fn questions_are_those_of_all_packs_each_once() {
        let (pack, alone) = (both(), RulePack::built_in().unwrap());
        let ids = |pack: &RulePack| -> Vec<String> {
            let asked = pack.questions(Profile::Iccm, AgeGroup::Child);
            asked.iter().map(|spec| spec.id.clone()).collect()
        };
        let (all, few) = (ids(&pack), ids(&alone));
        assert_eq!(all.len(), few.len() + 1);
        assert!(all.contains(&"mother_faint".to_owned()));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn the_next_edition_takes_the_guidelines_place_and_another_pack_does_not() {
        let built_in = RulePack::built_in().unwrap();
        let next = crate::rules::BUILT_IN.replacen("edition = \"", "edition = \"next ", 1);
        let next = Arc::new(RulePack::parse(&next).unwrap());
        let mothers = Arc::new(RulePack::parse(MOTHERS).unwrap());
        let pack = RulePack::side_by_side(&built_in, [mothers, next.clone()]);
        assert_eq!(pack.named(), format!("{} + mothers 1", next.named()));
        assert!(both().named().starts_with(&built_in.named()));
    }

    #[test]
    fn a_pack_beside_the_guideline_gives_up_nothing_of_it() {
        let greedy = MOTHERS.replacen(
            "profiles",
            "gives_up = [\"convulsions\", \"danger\"]\nprofiles",
            1,
        );
        let greedy = Arc::new(RulePack::parse(&greedy).unwrap());
        let pack = RulePack::side_by_side(&RulePack::built_in().unwrap(), [greedy]);
        let said = judged(&pack, r#"{"age_months": 20, "convulsions": "yes"}"#);
        assert_eq!(said.urgency(), Urgency::Pink);
    }

    #[test]
    fn packs_that_mean_different_things_by_one_word_do_not_run_together() {
        let other = MOTHERS.replacen(
            "ask = \"Does the mother feel faint?\"",
            "ask = \"How faint?\"\nkind = \"number\"\nmin = 0\nmax = 9\nunit = \"\"",
            1,
        );
        let other = other.replacen("when = \"mother_faint\"", "when = \"mother_faint > 3\"", 1);
        let [a, b] = [MOTHERS, &other].map(|text| RulePack::parse(text).unwrap());
        assert_eq!(a.disagrees_with(&b), Some("mother_faint"));
        assert_eq!(a.disagrees_with(&RulePack::built_in().unwrap()), None);
    }

    #[test]
    fn an_edition_of_the_guideline_is_the_ministrys_alone_and_one() {
        let next = crate::rules::BUILT_IN.replacen("edition = \"", "edition = \"next ", 1);
        let tried = |by_ministry| try_rules(next.as_bytes(), None, by_ministry).map(drop);
        assert_eq!(tried(true), Ok(()));
        assert_eq!(tried(false), Err(TrialError::Guideline));
        let [next, built_in] =
            [&next, crate::rules::BUILT_IN].map(|text| RulePack::parse(text).unwrap());
        assert_eq!(runs_beside(&next, &built_in), Err(TrialError::Guideline));
        let mothers = RulePack::parse(MOTHERS).unwrap();
        assert_eq!(runs_beside(&next, &mothers), Ok(()));
    }

    #[test]
    fn what_a_pack_only_reads_is_asked_where_the_guideline_asks_it() {
        let silent = MOTHERS
            .replacen("asked = [\"child.iccm\"]", "", 1)
            .replacen(
                "when = \"mother_faint\"",
                "when = \"mother_faint or diarrhoea_days > 20\"",
                1,
            );
        let silent = Arc::new(RulePack::parse(&silent).unwrap());
        let pack = RulePack::side_by_side(&RulePack::built_in().unwrap(), [silent]);
        let file = r#"{"age_months": 20, "diarrhoea": "no"}"#;
        let findings = Findings::parse(file, &pack).unwrap();
        let open = pack.open_questions(Profile::Iccm, &findings, findings.said());
        let is_open = |id: &str| open.iter().any(|spec| spec.id == id);
        assert!(!is_open("diarrhoea_days") && is_open("mother_faint"));
    }
}
