//! A visit under way: each answer is kept as it is given, sealed, until the case is written, so that a
//! dead battery costs nothing; and a danger sign answers at once.

use std::collections::BTreeMap;

use clinical::age::{self, ADULT_FROM_MONTHS, Age, CHILD_BELOW_MONTHS, CHILD_DAYS_MAX, MONTH_DAYS};
use clinical::assessment::{Question, QuestionKind};
use clinical::calendar::{digits, number, read_date};
use clinical::{FindingValue, FindingsError, Kind, Profile, TEXT, catalogue};
use protocol::{CaseId, always};
use serde::{Deserialize, Serialize};

use super::assess::{Ages, Next, Values, age_from_birth};
use super::entries;
use super::request::{RequestId, VisitOf};
use super::views::visit::{Visit as Shown, VisitEnd, VisitOpen};
use super::{Assessor, Cx, Look, Refusal};
use crate::agent::Command;
use crate::store::Setting;

/// Seconds after which a visit that was interrupted is nobody's any more: the next patient must not
/// take on its answers.
const VISIT_S_MAX: u64 = 12 * 3600;
/// Answers of one visit.
const ANSWERS_MAX: usize = 400;

/// What has been answered, in order, as it was typed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Visit {
    profile: Profile,
    /// The number under which its case will be written.
    request: RequestId,
    /// When it began, by this phone's clock.
    began_s: u64,
    answers: Vec<(String, String)>,
}

/// The age as it is typed: months, or days as in 12d, or the day of birth.
const AGE: &str = "age";
/// The day of birth, where the age was typed as that.
const BORN: &str = "patient.born";

/// A number as people write it, with a comma or a point, in the digits of any script; other words as they
/// are.
fn with_point(typed: &str) -> String {
    match number(typed) {
        Some(_) => digits(typed).replacen(',', ".", 1),
        None => typed.to_owned(),
    }
}

/// Reads an age as people write it; a number alone is months of a child, and years of others. A child of
/// five to nine years, for whom there are no rules, is an adult's visit: the floor looks, a person decides.
fn read_age(of: VisitOf, typed: &str) -> Result<(String, f64), FindingsError> {
    let alone = match of {
        VisitOf::Child | VisitOf::Triage => 1.0,
        VisitOf::Pregnancy | VisitOf::Adult => 12.0,
    };
    let (name, number) = age::read(&with_point(typed), alone).ok_or(FindingsError::NotAnAge)?;
    let said = |other: &str| (name == other).then_some(number);
    let between = (CHILD_BELOW_MONTHS..ADULT_FROM_MONTHS).contains(&number);
    match Age::of(said("age_hours"), said("age_days"), said("age_months")) {
        Err(_) if of == VisitOf::Adult && name == "age_months" && between => {}
        read => drop(read.map_err(FindingsError::Age)?),
    }
    Ok((name.to_owned(), number))
}

/// An age that is typed as the day of birth, of any calendar: that day, and the age in words of [`age::read`];
/// `None`: no day was typed. A month or a year alone is too little to tell a newborn from an infant.
fn age_of_birth(now_s: u64, typed: &str) -> Result<Option<(String, String)>, Refusal> {
    let whole = |date: &String| date.len() == 10;
    let Some(date) = read_date(typed).filter(whole) else {
        // What looks like a day and is none is told so.
        let like_a_day = typed.contains(['-', '/']) && typed.contains(|c: char| c.is_numeric());
        return match like_a_day {
            true => Err(entries::finding(BORN, typed)
                .err()
                .unwrap_or(Refusal::AnswerRefused(FindingsError::NotAnAge))),
            false => Ok(None),
        };
    };
    let born = entries::finding(BORN, &date)?;
    entries::in_its_time(now_s, std::slice::from_ref(&born))?;
    let (_, days) = age_from_birth(&FindingValue::Text(date.clone()), now_s)
        .ok_or_else(|| Refusal::StillToCome(date.clone()))?;
    let age = match days <= CHILD_DAYS_MAX {
        true => format!("{days}d"),
        false => format!("{}m", (days / MONTH_DAYS).floor()),
    };
    Ok(Some((date, age)))
}

/// Reads an answer as it is typed; an empty one is *unknown*.
fn read_answer(
    assessor: &dyn Assessor,
    name: &str,
    typed: &str,
) -> Result<FindingValue, FindingsError> {
    let word = match typed.trim() {
        "" | "?" => "unknown",
        "y" | "Y" => "yes",
        "n" | "N" => "no",
        other => other,
    };
    assessor.read_value(name, &FindingValue::Text(with_point(word)))
}

/// Visits under way, by whose they are.
type Visits = BTreeMap<VisitOf, Visit>;

/// What is known of a patient by whose visit it is.
fn known_of(of: VisitOf) -> Option<(String, String)> {
    let maternal = || ("maternal".to_owned(), "yes".to_owned());
    (of == VisitOf::Pregnancy).then(maternal)
}

/// Whether an answer is a field of the record, and none that the rules read.
fn is_said(assessor: &dyn Assessor, name: &str) -> bool {
    let unread = || {
        let field = catalogue::field(name).is_some();
        field && assessor.read_value(name, &FindingValue::Unknown).is_err()
    };
    name.contains('.') || (name != TEXT && unread())
}

impl Visit {
    /// Answers that somebody gave: an age that was typed as the day of birth is one.
    fn said_by_people(&self, of: VisitOf) -> usize {
        let known = usize::from(known_of(of).is_some());
        let has = |wanted: &str| self.answers.iter().any(|(name, _)| name == wanted);
        let born = usize::from(has(AGE) && has(BORN));
        self.answers.len().saturating_sub(known + born)
    }

    /// The answers, and the age if it is known; what cannot be read any more (other rules run now)
    /// is left out and asked again.
    fn read(&self, of: VisitOf, assessor: &dyn Assessor) -> (Values, Ages) {
        let age = self
            .answers
            .iter()
            .find(|(name, _)| name == AGE)
            .and_then(|(_, typed)| read_age(of, typed).ok());
        let asked =
            |(name, _): &&(String, String)| name != AGE && name != TEXT && !is_said(assessor, name);
        let values = self.answers.iter().filter(asked);
        let values = values.filter_map(|(name, typed)| {
            Some((name.clone(), read_answer(assessor, name, typed).ok()?))
        });
        (values.collect(), age.into_iter().collect())
    }
}

/// The visits that are somebody's still. One that an older version kept is not read: it is begun anew.
fn kept(cx: &dyn Look) -> Result<Visits, Refusal> {
    let kept = cx.store().visit()?;
    let visits: Option<Visits> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut visits = visits.unwrap_or_default();
    visits.retain(|_, visit| cx.now().wall_s.abs_diff(visit.began_s) < VISIT_S_MAX);
    Ok(visits)
}

fn keep(cx: &mut dyn Cx, visits: &Visits) -> Result<(), Refusal> {
    let bytes = match visits.is_empty() {
        true => None,
        false => Some(serde_json::to_vec(visits).map_err(|_| Refusal::Nothing)?),
    };
    cx.command(Command::KeepVisit(bytes)).map(drop)
}

/// The case of a visit, if it is written.
fn written(cx: &dyn Look, visit: &Visit) -> Result<Option<CaseId>, Refusal> {
    let done = cx.store().setting(&Setting::request(&visit.request.0))?;
    Ok(done.and_then(|bytes| CaseId::from_slice(&bytes)))
}

/// Begins a visit, or goes on with the one that was interrupted.
pub(super) fn begin(
    cx: &mut dyn Cx,
    of: VisitOf,
    (profile, request): (Profile, RequestId),
    anew: bool,
) -> Result<Shown, Refusal> {
    let mut visits = kept(cx)?;
    let before = visits.remove(&of).filter(|_| !anew);
    // What is answered once the case is written would be in no case.
    let before = match before {
        Some(visit) if written(cx, &visit)?.is_some() => None,
        before => before,
    };
    let mut visit = before.unwrap_or(Visit {
        profile,
        request,
        began_s: cx.now().wall_s,
        answers: known_of(of).into_iter().collect(),
    });
    visit.profile = profile;
    let shown = shown(cx, of, &visit);
    visits.insert(of, visit);
    keep(cx, &visits)?;
    Ok(shown)
}

/// Whether a visit was interrupted, and how far it had come.
pub(super) fn interrupted(cx: &dyn Look, of: VisitOf) -> Result<VisitOpen, Refusal> {
    let visits = kept(cx)?;
    let Some(visit) = visits.get(&of) else {
        return Ok(VisitOpen::default());
    };
    let age = visit
        .answers
        .iter()
        .find(|(name, _)| name == AGE)
        .map(|(_, typed)| typed.clone());
    Ok(VisitOpen {
        answers: visit.said_by_people(of),
        age,
        minutes: cx.now().wall_s.saturating_sub(visit.began_s) / 60,
        case: written(cx, visit)?,
    })
}

/// One answer: refused where it cannot be, else kept.
pub(super) fn answer(
    cx: &mut dyn Cx,
    of: VisitOf,
    name: &str,
    typed: &str,
) -> Result<Shown, Refusal> {
    let mut visits = kept(cx)?;
    let Some(visit) = visits.get_mut(&of) else {
        return Err(Refusal::NoVisit);
    };
    let is_said = is_said(cx.assessor(), name);
    let (typed, born) = match (is_said, name) {
        (true, _) => (said(name, typed)?, None),
        (false, AGE) => match age_of_birth(cx.now().wall_s, typed)? {
            Some((born, age)) => (age, Some(born)),
            None => (typed.to_owned(), None),
        },
        (false, _) => (typed.to_owned(), None),
    };
    match name {
        _ if is_said => {}
        AGE => drop(read_age(of, &typed).map_err(Refusal::AnswerRefused)?),
        TEXT => {}
        _ => {
            read_answer(cx.assessor(), name, &typed).map_err(Refusal::AnswerRefused)?;
        }
    }
    if visit.answers.len() >= ANSWERS_MAX {
        return Err(Refusal::TooManyAnswers);
    }
    visit.answers.retain(|(known, _)| known != name);
    if name == AGE {
        visit.answers.retain(|(known, _)| known != BORN);
        visit
            .answers
            .extend(born.map(|born| (BORN.to_owned(), born)));
    }
    visit
        .answers
        .push((name.to_owned(), typed.chars().take(2000).collect()));
    always!(visit.answers.len() <= ANSWERS_MAX);
    let shown = shown(cx, of, visit);
    keep(cx, &visits)?;
    Ok(shown)
}

/// An answer about a field of the record, as it will be written; empty: not known, or nobody has said.
fn said(name: &str, typed: &str) -> Result<String, Refusal> {
    let consent = name.starts_with("consent.");
    let kind = catalogue::field(name).map(|field| field.kind);
    let typed = match (typed.trim(), kind) {
        ("" | "?", _) if consent || name.starts_with("patient.") => return Ok(String::new()),
        ("" | "?", _) => "unknown".to_owned(),
        ("y" | "Y", Some(Kind::Flag)) => "yes".to_owned(),
        ("n" | "N", Some(Kind::Flag)) => "no".to_owned(),
        (number, Some(Kind::Number(..))) => with_point(number),
        (other, _) => other.to_owned(),
    };
    catalogue::read_value(name, &typed).map_err(Refusal::Value)?;
    Ok(typed)
}

/// Takes the last answer back.
pub(super) fn back(cx: &mut dyn Cx, of: VisitOf) -> Result<Shown, Refusal> {
    let mut visits = kept(cx)?;
    let Some(visit) = visits.get_mut(&of) else {
        return Err(Refusal::NoVisit);
    };
    if visit.said_by_people(of) > 0 {
        let last = visit.answers.pop();
        if last.is_some_and(|(name, _)| name == AGE) {
            visit.answers.retain(|(name, _)| name != BORN);
        }
    }
    let shown = shown(cx, of, visit);
    keep(cx, &visits)?;
    Ok(shown)
}

/// The visit is over: the case is written, or nobody wants it.
pub(super) fn end(cx: &mut dyn Cx, of: VisitOf) -> Result<VisitEnd, Refusal> {
    let mut visits = kept(cx)?;
    visits.remove(&of);
    keep(cx, &visits)?;
    Ok(VisitEnd {})
}

fn shown(cx: &dyn Look, of: VisitOf, visit: &Visit) -> Shown {
    let (answers, ages) = visit.read(of, cx.assessor());
    let interview = cx.assessor().interview(visit.profile, &answers, &ages);
    let ask = match interview.next {
        Next::Ask(question) => Some(question),
        Next::AskAge => Some(Question {
            id: AGE.into(),
            ask: String::new(),
            kind: QuestionKind::Age,
            choices: Vec::new(),
            unit: None,
            bounds: None,
            usual: None,
        }),
        Next::Done => None,
    };
    let text = visit.answers.iter().find(|(name, _)| name == TEXT);
    let words_asked = text.is_some();
    let text = text.filter(|(_, words)| !words.is_empty());
    let text = text.map(|(name, words)| (name.clone(), FindingValue::Text(words.clone())));
    let age_known = !ages.is_empty();
    let ages = ages
        .into_iter()
        .map(|(name, number)| (name, FindingValue::Number(number)));
    Shown {
        answered: visit.said_by_people(of),
        ask,
        danger: interview.danger,
        profile: visit.profile,
        age_known,
        words_asked,
        findings: answers.into_iter().chain(ages).chain(text).collect(),
        said: visit
            .answers
            .iter()
            .filter(|(name, _)| is_said(cx.assessor(), name))
            .cloned()
            .collect(),
        request: visit.request,
    }
}
