//! A visit under way: each answer is kept as it is given, sealed, until the case is written, so that a
//! dead battery costs nothing; and a danger sign answers at once.

use clinical::age::Age;
use clinical::assessment::{Question, QuestionKind};
use clinical::{FindingValue, FindingsError, Profile};
use protocol::always;
use serde::{Deserialize, Serialize};

use super::assess::{Ages, Next, Values};
use super::views::visit::{Visit as Shown, VisitEnd, VisitOpen};
use super::{Assessor, Cx, Look, Refusal};
use crate::agent::Command;

/// Seconds after which a visit that was interrupted is nobody's any more: the next patient must not
/// take on its answers.
const VISIT_S_MAX: u64 = 12 * 3600;
/// Answers of one visit.
const ANSWERS_MAX: usize = 400;

/// What has been answered, in order, as it was typed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Visit {
    profile: Profile,
    /// When it began, by this phone's clock.
    began_s: u64,
    answers: Vec<(String, String)>,
}

/// The age as it is typed: months, or days as in 12d.
const AGE: &str = "age";

/// A number as people write it, with a comma or a point.
fn with_point(typed: &str) -> String {
    match typed.split_once(',') {
        Some((whole, rest)) if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{whole}.{rest}")
        }
        _ => typed.to_owned(),
    }
}

/// Reads `11`, `11m`, `1y`, `2.5` or `40d`.
fn read_age(typed: &str) -> Result<(String, f64), FindingsError> {
    let typed = with_point(&typed.trim().to_lowercase());
    let (name, digits, times) = match typed.char_indices().next_back() {
        Some((at, 'd')) => ("age_days", typed.get(..at), 1.0),
        Some((at, 'm')) => ("age_months", typed.get(..at), 1.0),
        Some((at, 'y')) => ("age_months", typed.get(..at), 12.0),
        _ => ("age_months", Some(typed.as_str()), 1.0),
    };
    let number = digits
        .unwrap_or_default()
        .trim()
        .parse::<f64>()
        .map(|number| number * times);
    let number = number.map_err(|_| FindingsError::NotAnAge)?;
    let said = |other: &str| (name == other).then_some(number);
    Age::of_child(None, said("age_days"), said("age_months")).map_err(FindingsError::Age)?;
    Ok((name.to_owned(), number))
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

impl Visit {
    /// The answers, and the age if it is known; what cannot be read any more (other rules run now)
    /// is left out and asked again.
    fn read(&self, assessor: &dyn Assessor) -> (Values, Ages) {
        let age = self
            .answers
            .iter()
            .find(|(name, _)| name == AGE)
            .and_then(|(_, typed)| read_age(typed).ok());
        let values = self.answers.iter().filter(|(name, _)| name != AGE);
        let values = values.filter_map(|(name, typed)| {
            Some((name.clone(), read_answer(assessor, name, typed).ok()?))
        });
        (values.collect(), age.into_iter().collect())
    }
}

fn kept(cx: &dyn Look) -> Result<Option<Visit>, Refusal> {
    let kept = cx.store().visit()?;
    let visit: Option<Visit> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(visit.filter(|visit| cx.now().wall_s.abs_diff(visit.began_s) < VISIT_S_MAX))
}

fn keep(cx: &mut dyn Cx, visit: Option<&Visit>) -> Result<(), Refusal> {
    let bytes = visit
        .map(serde_json::to_vec)
        .transpose()
        .map_err(|_| Refusal::Nothing)?;
    cx.command(Command::KeepVisit(bytes)).map(drop)
}

/// Begins a visit, or goes on with the one that was interrupted.
pub(super) fn begin(cx: &mut dyn Cx, profile: Profile, anew: bool) -> Result<Shown, Refusal> {
    let visit = kept(cx)?.filter(|_| !anew);
    let mut visit = visit.unwrap_or(Visit {
        profile,
        began_s: cx.now().wall_s,
        answers: Vec::new(),
    });
    visit.profile = profile;
    keep(cx, Some(&visit))?;
    Ok(shown(cx, &visit))
}

/// Whether a visit was interrupted, and how far it had come.
pub(super) fn interrupted(cx: &dyn Look) -> Result<VisitOpen, Refusal> {
    let visit = kept(cx)?.unwrap_or_default();
    let age = visit
        .answers
        .iter()
        .find(|(name, _)| name == AGE)
        .map(|(_, typed)| typed.clone());
    let minutes = cx.now().wall_s.saturating_sub(visit.began_s) / 60;
    Ok(VisitOpen {
        answers: visit.answers.len(),
        age,
        minutes,
    })
}

/// One answer: refused where it cannot be, else kept.
pub(super) fn answer(cx: &mut dyn Cx, name: &str, typed: &str) -> Result<Shown, Refusal> {
    let Some(mut visit) = kept(cx)? else {
        return Err(Refusal::NoVisit);
    };
    match name {
        AGE => drop(read_age(typed).map_err(Refusal::AnswerRefused)?),
        "text" => {}
        _ => {
            read_answer(cx.assessor(), name, typed).map_err(Refusal::AnswerRefused)?;
        }
    }
    if visit.answers.len() >= ANSWERS_MAX {
        return Err(Refusal::TooManyAnswers);
    }
    visit.answers.retain(|(known, _)| known != name);
    visit
        .answers
        .push((name.to_owned(), typed.chars().take(2000).collect()));
    always!(visit.answers.len() <= ANSWERS_MAX);
    keep(cx, Some(&visit))?;
    Ok(shown(cx, &visit))
}

/// Takes the last answer back.
pub(super) fn back(cx: &mut dyn Cx) -> Result<Shown, Refusal> {
    let Some(mut visit) = kept(cx)? else {
        return Err(Refusal::NoVisit);
    };
    visit.answers.pop();
    keep(cx, Some(&visit))?;
    Ok(shown(cx, &visit))
}

/// The visit is over: the case is written, or nobody wants it.
pub(super) fn end(cx: &mut dyn Cx) -> Result<VisitEnd, Refusal> {
    keep(cx, None)?;
    Ok(VisitEnd {})
}

fn shown(cx: &dyn Look, visit: &Visit) -> Shown {
    let (answers, ages) = visit.read(cx.assessor());
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
    let text = visit.answers.iter().find(|(name, _)| name == "text");
    let text = text.map(|(name, words)| (name.clone(), FindingValue::Text(words.clone())));
    let age_known = !ages.is_empty();
    let ages = ages
        .into_iter()
        .map(|(name, number)| (name, FindingValue::Number(number)));
    Shown {
        answered: visit.answers.len(),
        ask,
        danger: interview.danger,
        profile: visit.profile,
        age_known,
        findings: answers.into_iter().chain(ages).chain(text).collect(),
    }
}
