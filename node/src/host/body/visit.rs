//! A visit on a terminal: each answer is kept as it is given, sealed, until the case is written, so
//! that a dead battery costs nothing; and a danger sign answers at once.

use std::collections::BTreeMap;

use clinical::{FindingValue, FindingsError, Profile};
use inference::findings::read_value;
use inference::interview::{Step, danger, next};
use inference::rules::{FindingKind, FindingSpec};
use inference::{Findings, RulePack};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::answers::Answered;
use super::*;

/// Where the visit that is under way is kept.
const VISIT: &str = "visit";
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
    let ages = BTreeMap::from([(name.to_owned(), number)]);
    Findings::new(BTreeMap::new(), String::new(), &ages)?;
    Ok((name.to_owned(), number))
}

/// Reads an answer as it is typed; an empty one is *unknown*.
fn read_answer(name: &str, typed: &str, pack: &RulePack) -> Result<FindingValue, FindingsError> {
    let word = match typed.trim() {
        "" | "?" => "unknown",
        "y" | "Y" => "yes",
        "n" | "N" => "no",
        other => other,
    };
    read_value(name, &FindingValue::Text(with_point(word)), pack)
}

impl Visit {
    /// The answers, and the age if it is known; what cannot be read any more (other rules run now)
    /// is left out and asked again.
    fn read(&self, pack: &RulePack) -> (BTreeMap<String, FindingValue>, BTreeMap<String, f64>) {
        let age = self
            .answers
            .iter()
            .find(|(name, _)| name == AGE)
            .and_then(|(_, typed)| read_age(typed).ok());
        let values = self.answers.iter().filter(|(name, _)| name != AGE);
        let values = values
            .filter_map(|(name, typed)| Some((name.clone(), read_answer(name, typed, pack).ok()?)));
        (values.collect(), age.into_iter().collect())
    }
}

impl Body {
    fn visit(&self) -> Result<Option<Visit>, Refusal> {
        let kept = self.store.private(VISIT)?;
        let visit: Option<Visit> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(visit.filter(|visit| self.now().wall_s.abs_diff(visit.began_s) < VISIT_S_MAX))
    }

    fn keep_visit(&mut self, visit: Option<&Visit>) -> Result<(), Refusal> {
        let bytes = visit
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|_| Refusal::Nothing)?;
        self.store.put_private(VISIT, bytes.as_deref())?;
        self.store.commit()?;
        Ok(())
    }

    /// Begins a visit, or goes on with the one that was interrupted.
    pub(super) fn visit_begin(&mut self, profile: Profile, anew: bool) -> Answered {
        let visit = self.visit()?.filter(|_| !anew);
        let mut visit = visit.unwrap_or(Visit {
            profile,
            began_s: self.now().wall_s,
            answers: Vec::new(),
        });
        visit.profile = profile;
        self.keep_visit(Some(&visit))?;
        Ok(self.visit_json(&visit))
    }

    /// Whether a visit was interrupted, and how far it had come.
    pub(super) fn visit_open(&self) -> Answered {
        let visit = self.visit()?.unwrap_or_default();
        let age = visit
            .answers
            .iter()
            .find(|(name, _)| name == AGE)
            .map(|(_, typed)| typed);
        let minutes = self.now().wall_s.saturating_sub(visit.began_s) / 60;
        Ok(
            json!({ "schema": "kijiti.visit-open/1", "answers": visit.answers.len(), "age": age, "minutes": minutes }),
        )
    }

    /// One answer: refused where it cannot be, else kept.
    pub(super) fn visit_answer(&mut self, name: &str, typed: &str) -> Answered {
        let Some(mut visit) = self.visit()? else {
            return Err(Refusal::NoVisit);
        };
        let wrong = |reason: FindingsError| Refusal::AnswerRefused(reason);
        match name {
            AGE => drop(read_age(typed).map_err(wrong)?),
            "text" => {}
            _ => drop(read_answer(name, typed, &self.engine.pack).map_err(wrong)?),
        }
        if visit.answers.len() >= ANSWERS_MAX {
            return Err(Refusal::TooManyAnswers);
        }
        visit.answers.retain(|(known, _)| known != name);
        visit
            .answers
            .push((name.to_owned(), typed.chars().take(2000).collect()));
        self.keep_visit(Some(&visit))?;
        Ok(self.visit_json(&visit))
    }

    /// Takes the last answer back.
    pub(super) fn visit_back(&mut self) -> Answered {
        let Some(mut visit) = self.visit()? else {
            return Err(Refusal::NoVisit);
        };
        visit.answers.pop();
        self.keep_visit(Some(&visit))?;
        Ok(self.visit_json(&visit))
    }

    /// The visit is over: the case is written, or nobody wants it.
    pub(super) fn visit_end(&mut self) -> Answered {
        self.keep_visit(None)?;
        Ok(json!({ "schema": "kijiti.visit-end/1" }))
    }

    fn visit_json(&self, visit: &Visit) -> Json {
        let pack = &self.engine.pack;
        let (answers, ages) = visit.read(pack);
        let step = next(pack, visit.profile, &answers, &ages);
        let outcome = |o: inference::rules::Outcome| {
            let signs: Vec<_> = o
                .findings
                .iter()
                .map(|(name, value)| format!("{}: {}", name.replace('_', " "), value.spoken()))
                .collect();
            json!({ "rule": o.rule, "class": o.class, "action": o.action, "source": o.source, "signs": signs })
        };
        let danger: Vec<_> = danger(pack, visit.profile, &answers, &ages)
            .into_iter()
            .map(outcome)
            .collect();
        let ask = match step {
            Step::Ask(spec) => ask_json(spec),
            Step::AskAge => {
                json!({ "id": AGE, "ask": "Age: months, or days as in 12d?", "kind": "age" })
            }
            Step::Done => Json::Null,
        };
        let text = visit
            .answers
            .iter()
            .find(|(name, _)| name == "text")
            .map(|(_, words)| words.clone());
        let mut findings: BTreeMap<String, Json> = answers
            .iter()
            .map(|(n, v)| (n.clone(), value_json(v)))
            .collect();
        findings.extend(
            ages.iter()
                .map(|(name, number)| (name.clone(), json!(number))),
        );
        findings.extend(text.map(|words| ("text".to_owned(), json!(words))));
        json!({ "schema": "kijiti.visit/1", "answered": visit.answers.len(), "ask": ask, "danger": danger,
                "profile": visit.profile, "age_known": !ages.is_empty(), "findings": findings })
    }
}

fn value_json(value: &FindingValue) -> Json {
    match value {
        FindingValue::Yes => json!("yes"),
        FindingValue::No => json!("no"),
        FindingValue::Unknown => json!("unknown"),
        FindingValue::Number(number) => json!(number),
        FindingValue::Text(word) => json!(word),
    }
}

fn ask_json(spec: &FindingSpec) -> Json {
    let (kind, choices, unit) = match &spec.kind {
        FindingKind::Flag => ("flag", Vec::new(), String::new()),
        FindingKind::Number { min, max, unit } => {
            ("number", Vec::new(), format!("{unit}, {min} to {max}"))
        }
        FindingKind::Choice(choices) => ("choice", choices.clone(), String::new()),
    };
    json!({ "id": spec.id, "ask": spec.ask, "kind": kind, "choices": choices, "unit": unit,
            "usual": spec.usual.map(|(least, most)| [least, most]) })
}
