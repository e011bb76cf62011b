//! The rules look again whenever more is known of a case: a danger sign that is added later, or
//! that a colleague has seen, must not wait for somebody to think of it.

use std::collections::BTreeMap;

use clinical::age::MONTH_DAYS;
use clinical::{AgeGroup, FindingValue, FindingsError, Profile, Urgency};
use inference::findings::read_recorded;
use inference::{Assessment, Findings};
use protocol::CaseId;
use record::{AssessmentEntry, Case, CaseView, Entry};

use crate::store::{CaseRow, Store};

use super::super::triage::assessment_entry;
use super::*;

/// Questions of which every answer is tried; more are open in no case that people care for.
const QUESTIONS_MAX: usize = 16;

/// How a case stands, together with others of the same patient's.
pub(super) struct CaseNow {
    pub urgency: Option<Urgency>,
    /// Questions for a person.
    pub questions: u64,
    /// Words that it builds on are not here, or set aside.
    pub waits: bool,
    /// Other cases of the same patient's.
    pub same: Vec<CaseId>,
}

impl CaseNow {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.urgency.map_or(u8::MAX, |urgency| urgency as u8)];
        bytes.extend(self.questions.to_le_bytes());
        bytes.push(u8::from(self.waits));
        bytes.push(self.same.len() as u8); // at most SAME_CASES_MAX
        bytes.extend(self.same.iter().flat_map(|id| id.0));
        bytes
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (urgency, rest) = bytes.split_first()?;
        let (questions, rest) = rest.split_first_chunk::<8>()?;
        let (waits, rest) = rest.split_first()?;
        let (count, rest) = rest.split_first()?;
        let (same, rest) = rest.split_at_checked(usize::from(*count) * 16)?;
        let same = same
            .as_chunks::<16>()
            .0
            .iter()
            .map(|id| CaseId(*id))
            .collect();
        let (urgency, questions) = (Urgency::from_byte(*urgency), u64::from_le_bytes(*questions));
        let now = Self {
            urgency,
            questions,
            waits: *waits != 0,
            same,
        };
        Some((now, rest))
    }
}

impl Body {
    /// What rules, floor and model say of what stands in a case, and of every answer that people
    /// give where they differ: the most urgent. Where no age is known, or one that the rules are
    /// not for, the floor alone speaks; `None` where it has nothing to say; an error where it has
    /// not and the rules did judge this case before.
    pub(super) fn assess_now(
        &self,
        view: &CaseView,
    ) -> Result<Option<AssessmentEntry>, FindingsError> {
        let before = view.assessments.last();
        let imci = before.is_some_and(|(_, before)| before.rules.contains("(imci)"));
        let profile = if imci { Profile::Imci } else { Profile::Iccm };
        let words = view
            .findings
            .iter()
            .map(|(name, state)| (name.clone(), state.value.clone()));
        let findings = read_recorded(&words.collect(), &self.engine.pack);
        // Of several ages the one that was said last: a child grows, and a guess is put right.
        let ages = [
            ("age_hours", "age_hours", 1.0),
            ("age_days", "age_days", 1.0),
            ("age_months", "age_months", 1.0),
            ("age_years", "age_months", 12.0),
        ];
        let ages = ages.into_iter().filter_map(|(said, name, times)| {
            let state = view.findings.get(said)?;
            match &state.value {
                FindingValue::Number(number) => Some((
                    state.standing.last().map(|(stamp, _)| stamp.order),
                    name,
                    number * times,
                )),
                _ => None,
            }
        });
        let age = ages
            .max_by_key(|(order, ..)| *order)
            .map(|(_, name, number)| (name.to_owned(), number));
        // A part of a month says how many days old an infant is.
        let age = age.map(
            |(name, number)| match name == "age_months" && number < 2.0 {
                true => ("age_days".to_owned(), number * MONTH_DAYS),
                false => (name, number),
            },
        );
        let said = age.is_some();
        let born = view
            .findings
            .get("patient.born")
            .and_then(|state| self.age_from_birth(&state.value));
        let by_birth: BTreeMap<String, f64> = born.into_iter().collect();
        let ages: BTreeMap<String, f64> = if said {
            age.into_iter().collect()
        } else {
            by_birth.clone()
        };
        let adult = ages.iter().any(|(name, age)| {
            (name == "age_months" && *age >= 60.0) || (name == "age_days" && *age > 1826.0)
        });
        let disputed = view
            .questions()
            .filter(|(name, _)| !name.contains('.'))
            .take(QUESTIONS_MAX);
        let answers = disputed
            .flat_map(|(name, state)| state.standing.iter().map(move |(_, value)| (name, value)));
        let tried = answers.filter_map(|(name, value)| {
            let said = BTreeMap::from([(name.clone(), value.clone())]);
            let mut findings = findings.clone();
            findings.extend(read_recorded(&said, &self.engine.pack));
            self.engine.judge(findings, &ages, profile).ok().flatten()
        });
        // Where a date of birth says another age, the more urgent of the two shows.
        let other = (said && !by_birth.is_empty())
            .then(|| self.engine.judge(findings.clone(), &by_birth, profile));
        let other = other.and_then(Result::ok).flatten();
        match self.engine.judge(findings.clone(), &ages, profile) {
            Ok(now) => Ok(now
                .into_iter()
                .chain(tried)
                .chain(other)
                .map(|a| assessment_entry(&a))
                .max_by_key(|e| e.urgency)),
            // A case that these rules never judged (an adult's) is not theirs; one that they did
            // has become something else.
            Err(_)
                if adult
                    && before
                        .is_none_or(|(_, before)| before.rules == inference::floor::EDITION) =>
            {
                Ok(None)
            }
            Err(reason) => Err(reason),
        }
    }

    /// What a findings file comes to together with what was said beside it; `None`: nothing of that
    /// is a finding.
    pub(super) fn assess_with_head(
        &self,
        file: &Findings,
        head: &[Entry],
        profile: Profile,
    ) -> Option<Assessment> {
        let mut born = None;
        let mut said = BTreeMap::new();
        for entry in head {
            let Entry::Finding { name, value } = entry else {
                continue;
            };
            match name.contains('.') {
                true if name == "patient.born" => born = self.age_from_birth(value),
                true => {}
                false => drop(said.insert(name.clone(), value.clone())),
            }
        }
        let mut values = file.values().clone();
        for (name, value) in read_recorded(&said, &self.engine.pack) {
            match values.get(&name) {
                Some(FindingValue::Yes) => {}
                _ => drop(values.insert(name, value)),
            }
        }
        let age = if file.group() == AgeGroup::Infant {
            "age_hours"
        } else {
            "age_months"
        };
        let of_file = match values.get(age) {
            Some(FindingValue::Number(number)) => Some((age.to_owned(), *number)),
            _ => None,
        };
        let judged = [of_file, born].into_iter().flatten().filter_map(|age| {
            self.engine
                .judge(values.clone(), &BTreeMap::from([age]), profile)
                .ok()
                .flatten()
        });
        judged.max_by_key(|assessment| assessment.urgency)
    }

    /// The age that follows from a date of birth, today.
    fn age_from_birth(&self, born: &FindingValue) -> Option<(String, f64)> {
        let FindingValue::Text(born) = born else {
            return None;
        };
        let born_s = clinical::date::seconds_of_date(born)?;
        let days = self.now().wall_s.checked_sub(born_s)? / 86_400;
        Some(("age_days".to_owned(), days as f64))
    }

    /// How a case stands on this phone, whoever wrote what down: kept until more is said of it, or
    /// of another case of the same patient's.
    pub(super) fn now_of(&mut self, row: &CaseRow) -> CaseNow {
        let kept = format!("now/{}", row.id);
        if let Ok(Some(bytes)) = self.store.setting(&kept)
            && let Some((now, rest)) = CaseNow::read(&bytes)
            && rest == self.mark_of(row, &now)
        {
            return now;
        }
        let opened = self.open_cases(row.id).ok().and_then(|(_, cases)| {
            Some((
                Case::view_of_same(&cases)?,
                cases.first().is_some_and(|case| case.waiting() > 0),
            ))
        });
        let Some((view, waits)) = opened else {
            return CaseNow {
                urgency: row.urgency,
                questions: row.questions,
                waits: false,
                same: Vec::new(),
            };
        };
        let judged = self
            .assess_now(&view)
            .ok()
            .flatten()
            .map(|entry| entry.urgency);
        let same = view.same_as().filter(|other| *other != row.id).collect();
        let questions = view.question_count() as u64;
        let now = CaseNow {
            urgency: judged.max(view.urgency()).max(row.urgency),
            questions,
            waits,
            same,
        };
        let bytes = [now.to_bytes(), self.mark_of(row, &now)].concat();
        let _ = self.store.put_setting(&kept, &bytes); // a full disk only makes the next list slower
        now
    }

    /// What changes when more is said, or when other rules look at it.
    fn mark_of(&self, row: &CaseRow, now: &CaseNow) -> Vec<u8> {
        let entries = |id: &CaseId| {
            self.store
                .case_row(id)
                .ok()
                .flatten()
                .map_or(0, |row| row.entries)
        };
        let counts = std::iter::once(row.entries).chain(now.same.iter().map(entries));
        let model = self.engine.model.as_ref().map_or("", |model| model.name());
        counts
            .flat_map(u64::to_le_bytes)
            .chain(self.engine.pack.edition.bytes())
            .chain(model.bytes())
            .collect()
    }

    /// Writes down what the rules say now, if it is another than they said last.
    pub(super) fn reassess(&mut self, id: CaseId, request: [u8; 16]) -> Result<(), Refusal> {
        let (row, view) = self.open_case(id)?;
        let now = self.assess_now(&view).map_err(Refusal::CannotJudge)?;
        let Some(now) = now else { return Ok(()) };
        let same = |(_, last): &(_, AssessmentEntry)| {
            last.urgency == now.urgency && last.rules_fired == now.rules_fired
        };
        if view.assessments.last().is_some_and(same) {
            return Ok(());
        }
        let mut request = request;
        request[14] ^= 0x80; // a number of its own, that follows from the one asked with
        self.add(Some(id), row.area, vec![Entry::Assessment(now)], request)
            .map(drop)
    }
}
