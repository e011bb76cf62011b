//! The assessment of a whole case: rules look again whenever more is known. A danger sign that is
//! added later, or that a colleague has seen, must not wait for somebody to think of it.

use std::collections::BTreeMap;

use clinical::age::{
    ADULT_FROM_MONTHS, AGES, AgeError, CHILD_BELOW_MONTHS, CHILD_DAYS_MAX, MONTH_DAYS,
};
use clinical::assessment::Question;
use clinical::plan::{DoseGiven, Plan};
use clinical::{AgeGroup, Assessment, FindingValue, FindingsError, Profile, Urgency};
use protocol::{CaseId, Invariant, always, never};
use record::exchange::time::{DAY_MS, moment};
use record::{AssessmentEntry, Case, CaseView, Entry};

use super::views::case::PictureRead;
use super::{Cx, Look, Refusal, cases};
use crate::agent::Command;
use crate::store::{CaseRow, Setting};

/// Findings by name.
pub type Values = BTreeMap<String, FindingValue>;
/// Ages by the name of their field: one, or none.
pub type Ages = BTreeMap<String, f64>;

/// Findings of a file, checked against the rule pack.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientFile {
    /// Which rules apply by age.
    pub group: AgeGroup,
    /// The findings.
    pub values: Values,
    /// Free words.
    pub text: String,
    /// What pictures were read as, by what they show.
    pub pictures: BTreeMap<&'static str, &'static str>,
    /// The age as it was said: of `values`, where its other forms stand beside it, this one is kept.
    pub ages: Ages,
}

/// What judges findings: rules, floor and model. A phone's is `inference`; a simulator's may err at a
/// known rate.
pub trait Assessor {
    /// Reads a findings file (JSON or TOML). Where it names no age, the one that was said beside it
    /// counts.
    fn read_file(&self, file: &str, age: &Ages) -> Result<PatientFile, FindingsError>;
    /// A findings file of somebody of no age that the rules are for, all that it says; `None` where it
    /// cannot be read.
    fn read_ageless(&self, _file: &str) -> Option<PatientFile> {
        None
    }
    /// What the floor alone says; `None`: nothing.
    fn by_floor(&self, _values: &Values) -> Option<Assessment> {
        None
    }
    /// What rules, floor and model say of a file.
    fn assess(&self, file: &PatientFile, profile: Profile) -> Assessment;
    /// What they say of words that stand in a record. Without an age that the rules are for, the
    /// floor alone speaks: `Ok(None)` if there is no age, and the error of the age if there is,
    /// where it says nothing.
    fn judge(
        &self,
        values: Values,
        ages: &Ages,
        profile: Profile,
    ) -> Result<Option<Assessment>, FindingsError>;
    /// Words of a record as the rule pack reads them: what it does not know is unknown to it.
    fn recorded(&self, values: &Values) -> Values;
    /// Reads one value as the rule pack says it must be.
    fn read_value(&self, name: &str, value: &FindingValue) -> Result<FindingValue, FindingsError>;
    /// What to ask next, and what is pink already.
    fn interview(&self, profile: Profile, answers: &Values, ages: &Ages) -> Interview;
    /// What the packs that run say to do.
    fn plan(&self, patient: &PlanFor<'_>) -> Plan;
    /// The edition of the rule pack that runs, and the name of the model, if one does.
    fn running(&self) -> (String, Option<String>);
    /// What changes whenever other rules or another model run.
    fn mark(&self) -> Vec<u8> {
        let (rules, model) = self.running();
        [rules, model.unwrap_or_default()].concat().into_bytes()
    }
    /// What a picture of `subject` shows (112 × 112 pixels, red, green, blue, row by row); `None` where
    /// nothing that runs reads such pictures.
    fn look(&self, _picture: &[u8], _subject: &str) -> Option<PictureRead> {
        None
    }
    /// Whether an assessment was the floor's alone.
    fn by_floor_alone(&self, rules: &str) -> bool;
}

/// For whom a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct PlanFor<'a> {
    /// What was judged of the findings.
    pub judged: &'a Assessment,
    /// The findings.
    pub findings: &'a Values,
    /// The age.
    pub ages: &'a Ages,
    /// The level of care.
    pub profile: Profile,
    /// Allergies, in everybody's words.
    pub allergies: &'a [String],
    /// Doses that stand in the case.
    pub given: &'a [DoseGiven],
}

/// What comes next in an interview.
#[derive(Debug, Clone, PartialEq)]
pub struct Interview {
    /// The next question.
    pub next: Next,
    /// What is pink already.
    pub danger: Vec<clinical::assessment::Fired>,
}

/// What to ask next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask this.
    Ask(Question),
    /// Ask how old the patient is.
    AskAge,
    /// Everything that this level of care asks has been asked.
    Done,
}

/// Questions of which every answer is tried; more are open in no case that people care for.
const QUESTIONS_MAX: usize = 16;

/// Other cases of the same patient's that are named beside one; a byte counts them.
const SAME_NOTED_MAX: usize = u8::MAX as usize;

/// How a case stands, together with others of the same patient's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseNow {
    /// How urgent it is.
    pub urgency: Option<Urgency>,
    /// Questions for a person.
    pub questions: u64,
    /// Words that it builds on are not here, or set aside.
    pub waits: bool,
    /// Nobody has decided since it was judged as it is now.
    pub undecided: bool,
    /// Other cases of the same patient's.
    pub same: Vec<CaseId>,
}

impl CaseNow {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.urgency.map_or(u8::MAX, |urgency| urgency as u8)];
        bytes.extend(self.questions.to_le_bytes());
        bytes.push(u8::from(self.waits) | u8::from(self.undecided) << 1);
        always!(self.same.len() <= SAME_NOTED_MAX);
        bytes.push(self.same.len() as u8); // at most SAME_NOTED_MAX
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
        let now = Self {
            urgency: Urgency::from_byte(*urgency),
            questions: u64::from_le_bytes(*questions),
            waits: *waits & 1 != 0,
            undecided: *waits & 2 != 0,
            same,
        };
        Some((now, rest))
    }
}

/// An assessment as it is kept: what was shown, with rule and model versions.
pub fn entry_of(assessment: &Assessment) -> AssessmentEntry {
    let fired = assessment.fired.iter();
    let fired = fired.map(|o| format!("{} {} [{}]", o.rule, o.class, o.source));
    let open = assessment.cannot_clear.iter();
    let open = open.map(|o| format!("cannot clear {} {} [{}]", o.rule, o.class, o.source));
    let ranked = assessment
        .model_opinion
        .iter()
        .flat_map(|o| &o.differential);
    AssessmentEntry {
        urgency: assessment.urgency,
        rules_fired: fired.chain(open).collect(),
        differential: ranked
            .map(|r| format!("{} {} {:.2}", r.icd11, r.name, r.probability))
            .collect(),
        rules: assessment.pack.clone(),
        model: assessment.model.clone(),
    }
}

/// What a picture was read as, as an entry of a case.
pub fn picture_read(subject: &str, word: &str) -> Entry {
    Entry::Finding {
        name: format!("photo.{subject}"),
        value: FindingValue::Text(word.to_owned()),
    }
}

/// Findings of a file as entries of a case.
pub fn entries_of(file: &PatientFile) -> Vec<Entry> {
    let text = (!file.text.is_empty()).then(|| Entry::Finding {
        name: clinical::TEXT.into(),
        value: FindingValue::Text(file.text.clone()),
    });
    let finding = |(name, value): (&String, &FindingValue)| Entry::Finding {
        name: name.clone(),
        value: value.clone(),
    };
    let derived = |name: &str| AGES.contains(&name) && !file.ages.contains_key(name);
    let said = file.values.iter().filter(|(name, _)| !derived(name));
    let pictures = file.pictures.iter();
    let pictures = pictures.map(|(subject, word)| picture_read(subject, word));
    said.map(finding).chain(pictures).chain(text).collect()
}

/// The age that was said last of a case: a child grows, and a guess is put right. A part of a month
/// says how many days old an infant is. Of several that were written at once (records of earlier
/// versions), an infant's days and hours are the ones that were said, and a child's months.
fn age_said(view: &CaseView) -> Option<(String, f64)> {
    let fields = [
        ("age_months", "age_months", 1.0),
        ("age_years", "age_months", 12.0),
        ("age_hours", "age_hours", 1.0),
        ("age_days", "age_days", 1.0),
    ];
    let said = fields.into_iter().filter_map(|(said, name, times)| {
        let state = view.findings.get(said)?;
        let FindingValue::Number(number) = &state.value else {
            return None;
        };
        let order = state.standing.last().map(|(stamp, _)| stamp.order);
        Some((order, name, number * times))
    });
    let said: Vec<_> = said.collect();
    let last = said.iter().map(|(order, ..)| *order).max()?;
    let mut latest = said.iter().filter(|(order, ..)| *order == last);
    let is_infant = |(_, name, number): &&(_, &str, f64)| *name == "age_months" && *number < 2.0;
    let (_, name, number) = latest
        .clone()
        .find(|said| !is_infant(said))
        .or_else(|| latest.next())?;
    Some(match *name == "age_months" && *number < 2.0 {
        true => ("age_days".to_owned(), number * MONTH_DAYS),
        false => ((*name).to_owned(), *number),
    })
}

/// Whether the age that was said last is a grown person's, where another one makes a child of the same
/// patient: a slip, by which a child must not come under other rules.
fn grew_up_at_once(view: &CaseView, said: &Ages) -> bool {
    let grown = said
        .get("age_months")
        .is_some_and(|months| *months >= ADULT_FROM_MONTHS);
    let days = [
        ("age_hours", 1.0 / 24.0),
        ("age_days", 1.0),
        ("age_months", MONTH_DAYS),
    ];
    let child = |(name, times): &(&str, f64)| {
        let state = view.findings.get(*name);
        matches!(state.map(|s| &s.value), Some(FindingValue::Number(n)) if n * times <= CHILD_DAYS_MAX)
    };
    grown && days.iter().any(child)
}

/// The age that follows from a date of birth, now.
pub(super) fn age_from_birth(born: &FindingValue, now_s: u64) -> Option<(String, f64)> {
    let FindingValue::Text(born) = born else {
        return None;
    };
    let born_s = clinical::date::seconds_of_date(born)?;
    let lived_s = i64::try_from(now_s).ok()?.checked_sub(born_s)?;
    let days = u64::try_from(lived_s).ok()? / 86_400;
    Some(("age_days".to_owned(), days as f64))
}

/// The least and the most that somebody may be old of whose birth only the month or the year is known.
fn ages_between(view: &CaseView, known: &Ages, now_s: u64) -> Vec<Ages> {
    let born = view.findings.get("patient.born").map(|born| &born.value);
    let (Some(FindingValue::Text(born)), true) = (born, known.is_empty()) else {
        return Vec::new();
    };
    let (Some(born), Some(now)) = (moment(born), moment(&clinical::date::instant(now_s))) else {
        return Vec::new();
    };
    if born.to_ms - born.from_ms <= DAY_MS {
        return Vec::new(); // the day is known
    }
    let lived = |since_ms: i64| u64::try_from(now.from_ms - since_ms).ok();
    let ages = [born.to_ms.min(now.from_ms), born.from_ms].map(lived);
    let days =
        |lived_ms: u64| Ages::from([("age_days".to_owned(), (lived_ms / DAY_MS as u64) as f64)]);
    ages.into_iter().flatten().map(days).collect()
}

/// Whether somebody is too old for the rules for children, so that where those for adults do not speak
/// either, nobody judges: the floor alone looks.
fn is_no_child(ages: &Ages) -> bool {
    ages.iter().any(|(name, age)| {
        (name == "age_months" && *age >= CHILD_BELOW_MONTHS)
            || (name == "age_days" && *age > CHILD_DAYS_MAX)
    })
}

/// What stands in a case, as the rules read it.
pub(super) struct Heard {
    /// The level of care at which it was judged before.
    pub profile: Profile,
    /// The findings.
    pub findings: Values,
    /// The age that is read: the one that was said, else by the date of birth.
    pub ages: Ages,
    by_birth: Ages,
    said: bool,
}

impl Heard {
    /// Whether the age that was said and the one by the date of birth lie further apart than rounding.
    pub(super) fn ages_differ(&self) -> bool {
        let days = |ages: &Ages| {
            let (name, number) = ages.iter().next()?;
            Some(match name.as_str() {
                "age_hours" => number / 24.0,
                "age_months" => number * MONTH_DAYS,
                _ => *number,
            })
        };
        let both = days(&self.ages).zip(days(&self.by_birth));
        self.said && both.is_some_and(|(said, born)| (said - born).abs() > 62.0)
    }
}

/// What stands in a case, as the rules read it.
pub(super) fn heard(assessor: &dyn Assessor, view: &CaseView, now_s: u64) -> Heard {
    let before = view.assessments.last();
    let imci = before.is_some_and(|(_, before)| before.rules.contains("(imci)"));
    let words = view
        .findings
        .iter()
        .map(|(name, state)| (name.clone(), state.value.clone()));
    let age = age_said(view);
    let said = age.is_some();
    let born = view.findings.get("patient.born");
    let by_birth: Ages = born
        .and_then(|state| age_from_birth(&state.value, now_s))
        .into_iter()
        .collect();
    Heard {
        profile: if imci { Profile::Imci } else { Profile::Iccm },
        findings: assessor.recorded(&words.collect()),
        ages: match said {
            true => age.into_iter().collect(),
            false => by_birth.clone(),
        },
        by_birth,
        said,
    }
}

/// Whether no rules look at a case because nobody has said how old the patient is.
pub(super) fn wants_age(view: &CaseView, now_s: u64) -> bool {
    let born = view.findings.get("patient.born");
    let known = born.is_some_and(|born| age_from_birth(&born.value, now_s).is_some());
    let found = view
        .findings
        .iter()
        .any(|(name, state)| !name.contains('.') && state.value != FindingValue::Unknown);
    found && !known && age_said(view).is_none() && view.assessments.is_empty()
}

/// What rules, floor and model say of what stands in a case, as it is kept.
pub fn assess(
    assessor: &dyn Assessor,
    view: &CaseView,
    now_s: u64,
) -> Result<Option<AssessmentEntry>, Refusal> {
    let judged = most_urgent(assessor, view, now_s)?;
    Ok(judged.as_ref().map(entry_of))
}

/// What rules, floor and model say of what stands in a case, and of every answer that people give
/// where they differ: the most urgent. Where no age is known, or one that the rules are not for, the
/// floor alone speaks; `None` where it has nothing to say; an error where it has not and the rules did
/// judge this case before.
pub(super) fn most_urgent(
    assessor: &dyn Assessor,
    view: &CaseView,
    now_s: u64,
) -> Result<Option<Assessment>, Refusal> {
    let before = view.assessments.last();
    let Heard {
        profile,
        findings,
        ages,
        by_birth,
        said,
    } = heard(assessor, view, now_s);
    if grew_up_at_once(view, &ages) {
        // The floor speaks at any age.
        let floor = assessor
            .judge(findings, &Ages::new(), profile)
            .ok()
            .flatten();
        let contradict = Refusal::CannotJudge(FindingsError::Age(AgeError::Several));
        return floor.map(Some).ok_or(contradict);
    }
    let disputed = view
        .questions()
        .filter(|(name, _)| !name.contains('.'))
        .take(QUESTIONS_MAX);
    let answers = disputed
        .flat_map(|(name, state)| state.standing.iter().map(move |(_, value)| (name, value)));
    let tried = answers.filter_map(|(name, value)| {
        let said = BTreeMap::from([(name.clone(), value.clone())]);
        let mut findings = findings.clone();
        findings.extend(assessor.recorded(&said));
        assessor.judge(findings, &ages, profile).ok().flatten()
    });
    // Where a date of birth says another age, the more urgent of the two shows.
    let other = (said && !by_birth.is_empty())
        .then(|| assessor.judge(findings.clone(), &by_birth, profile));
    let other = other.and_then(Result::ok).flatten();
    // Nor is anybody calmed because only the year of the birth is known.
    let between = ages_between(view, &ages, now_s).into_iter();
    let between =
        between.filter_map(|ages| assessor.judge(findings.clone(), &ages, profile).ok()?);
    match assessor.judge(findings.clone(), &ages, profile) {
        Ok(now) => {
            let all: Vec<_> = now
                .into_iter()
                .chain(tried)
                .chain(other)
                .chain(between)
                .collect();
            let lowered = all.iter().any(|a| a.urgency < a.rule_urgency);
            never!(Invariant::RulesFirst, lowered)?;
            let most = all.iter().map(|a| a.rule_urgency).max();
            let shown = all.into_iter().max_by_key(|a| a.urgency);
            let shown_urgency = shown.as_ref().map(|a| a.urgency);
            never!(Invariant::EveryRuleLooks, shown_urgency < most)?;
            Ok(shown)
        }
        // A case that no rules ever judged (of a child of seven years) is not theirs; one that they did
        // has become something else.
        Err(_)
            if is_no_child(&ages)
                && before.is_none_or(|(_, before)| assessor.by_floor_alone(&before.rules)) =>
        {
            Ok(None)
        }
        Err(reason) => Err(Refusal::CannotJudge(reason)),
    }
}

/// What the fields of a record come to, of a mother or an adult; `None` where no rules are for the
/// patient and the floor has nothing to say.
pub(super) fn assess_fields(
    assessor: &dyn Assessor,
    fields: &[Entry],
    profile: Profile,
    now_s: u64,
) -> Option<Assessment> {
    let (mut ages, mut born, mut said) = (Ages::new(), None, Values::new());
    for entry in fields {
        let Entry::Finding { name, value } = entry else {
            continue;
        };
        match (name.as_str(), value) {
            ("age_years", FindingValue::Number(years)) => {
                ages.insert("age_months".into(), years * 12.0);
            }
            (name, FindingValue::Number(number)) if AGES.contains(&name) => {
                ages.insert(name.into(), *number);
            }
            ("patient.born", value) => born = age_from_birth(value, now_s),
            _ => drop(said.insert(name.clone(), value.clone())),
        }
    }
    if ages.is_empty() {
        ages.extend(born);
    }
    let values = assessor.recorded(&said);
    assessor.judge(values, &ages, profile).ok().flatten()
}

/// How a case stands on a phone, whoever wrote what down. What was found before is kept until more is
/// said of the case, or of another one of the same patient's; `Some` is new and to be remembered.
pub fn case_now(cx: &dyn Look, row: &CaseRow) -> (CaseNow, Option<(CaseId, Vec<u8>)>) {
    let kept = Setting::now(&row.id);
    if let Ok(Some(bytes)) = cx.store().setting(&kept)
        && let Some((now, rest)) = CaseNow::read(&bytes)
        && rest == mark(cx, row, &now)
    {
        return (now, None);
    }
    let opened = cases::open_all(cx, row.id).ok().and_then(|(_, cases)| {
        let waits = cases.first().is_some_and(|case| case.waiting() > 0);
        Some((Case::view_of_same(&cases)?, waits))
    });
    let Some((view, waits)) = opened else {
        let now = CaseNow {
            urgency: row.urgency,
            questions: row.questions,
            waits: false,
            undecided: false,
            same: Vec::new(),
        };
        return (now, None);
    };
    let judged = assess(cx.assessor(), &view, cx.now().wall_s).ok().flatten();
    let decided = view.decisions.iter().map(|(_, d)| d.urgency).max();
    let urgency = judged
        .map(|entry| entry.urgency)
        .max(view.urgency())
        .max(row.urgency);
    let now = CaseNow {
        urgency,
        undecided: decided.is_none() || decided < urgency,
        questions: view.question_count() as u64,
        waits,
        same: view.same_as().take(SAME_NOTED_MAX).collect(),
    };
    let bytes = [now.to_bytes(), mark(cx, row, &now)].concat();
    always!(CaseNow::read(&bytes).is_some_and(|(read, _)| read == now));
    (now, Some((row.id, bytes)))
}

/// What changes when more is said, or when other rules look at it.
fn mark(cx: &dyn Look, row: &CaseRow, now: &CaseNow) -> Vec<u8> {
    let entries = |id: &CaseId| {
        cx.store()
            .case_row(id)
            .ok()
            .flatten()
            .map_or(0, |row| row.entries)
    };
    let named = |id: &CaseId| crate::agent::named_by(*id, cx.store()).unwrap_or_default();
    let patient = || std::iter::once(&row.id).chain(&now.same);
    let counts = std::iter::once(row.entries).chain(now.same.iter().map(entries));
    let counts = counts.chain(patient().map(|id| named(id).len() as u64));
    let runs = cx.assessor().mark();
    counts.flat_map(u64::to_le_bytes).chain(runs).collect()
}

/// Writes down what the rules say now, if it is another than they said last.
pub fn reassess(cx: &mut dyn Cx, id: CaseId, request: [u8; 16]) -> Result<(), Refusal> {
    let (row, view) = cases::open(cx, id)?;
    let now = assess(cx.assessor(), &view, cx.now().wall_s)?;
    let Some(now) = now else { return Ok(()) };
    let same = |(_, last): &(_, AssessmentEntry)| {
        last.urgency == now.urgency && last.rules_fired == now.rules_fired
    };
    if view.assessments.last().is_some_and(same) {
        return Ok(());
    }
    // A number of its own, that follows from the one asked with and from what was looked at: where a
    // request is begun anew because more was said meanwhile, what the rules say now is written too.
    let mut request = request;
    request[14] ^= 0x80;
    let looked_at = row.entries.to_le_bytes();
    (request.iter_mut().zip(looked_at)).for_each(|(byte, seen)| *byte ^= seen);
    let entries = vec![Entry::Assessment(now)];
    cx.command(Command::AddToCase {
        case: Some(id),
        area: row.area,
        entries,
        request,
    })
    .map(drop)
}
