//! Questions on a terminal, one by one: an empty answer is "unknown", never "no".

use std::io::{BufRead, IsTerminal, Write};

use clinical::assessment::{Question, QuestionKind};
use clinical::{Kind, Profile, Urgency, catalogue};
use node::api::views::visit::{Visit, VisitOpen};
use node::api::{Reply, Request};

use crate::Failure;
use crate::cli::Kind as Whose;
use crate::show::urgency;

/// Asks on the terminal; every answer is read from standard input.
pub fn line(question: &str) -> Result<String, Failure> {
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{question} ");
    let _ = error.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(0) | Err(_) => Err(Failure::new(
            "no more answers",
            "what was answered is kept: begin again, and go on there",
        )
        .with_code(2)),
        Ok(_) => Ok(answer.trim().to_owned()),
    }
}

/// Whether a person sits there.
pub fn on_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// What a person sees who may stop: the rest is optional while transport is arranged.
fn say_danger(visit: &Visit) {
    for danger in &visit.danger {
        let signs = danger.findings.iter();
        let signs: Vec<_> = signs
            .map(|(name, value)| format!("{}: {}", name.replace('_', " "), value.spoken()))
            .collect();
        eprintln!(
            "{}  {}: {}",
            urgency(Some(Urgency::Pink)),
            danger.class,
            signs.join(", ")
        );
        eprintln!("  {}  [{}, {}]", danger.action, danger.rule, danger.source);
    }
}

/// What answers requests about a visit.
pub type Asks<'a> = &'a dyn Fn(Request) -> Result<Reply, Failure>;

fn visit_of(reply: Reply) -> Result<Visit, Failure> {
    Ok(reply.try_into()?)
}

/// Asks question after question; the phone keeps each answer and says what comes next. Returns a
/// findings file.
pub fn findings(profile: Profile, ask: Asks<'_>) -> Result<String, Failure> {
    if !on_terminal() {
        return Err(Failure::new(
            "no findings were given, and there is no terminal to ask on",
            "pass --findings FILE (JSON or TOML)",
        )
        .with_code(2));
    }
    visit(profile, ask, &mut line)
}

/// The same with anything that answers.
pub fn visit(
    profile: Profile,
    ask: Asks<'_>,
    answer: &mut dyn FnMut(&str) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let before: VisitOpen = ask(Request::VisitOpen)?.try_into()?;
    let anew = match before.answers {
        0 => true,
        answers => {
            let age = before.age.as_deref().filter(|age| !age.is_empty());
            let age = age.unwrap_or("not known yet");
            let minutes = before.minutes;
            let question = format!(
                "A visit was interrupted {minutes} minutes ago after {answers} answers (age: {age}). Is it the same patient? \
                 [y: go on, n: another patient, begin anew]"
            );
            // What was answered is not thrown away by an Enter too many.
            loop {
                let same = answer(&question)?;
                if same.starts_with(['y', 'Y', 'n', 'N']) {
                    break same.starts_with(['n', 'N']);
                }
            }
        }
    };
    eprintln!(
        "Answer yes (y), no (n), or press Enter where it is not known. Numbers as digits. < takes the last answer back."
    );
    let mut visit = visit_of(ask(Request::VisitBegin { profile, anew })?)?;
    let mut told = 0;
    loop {
        let dangers = visit.danger.len();
        if dangers > told {
            say_danger(&visit);
            match answer("Go on with the other questions while transport is arranged? [y, Enter: no, <: back]")?
                .as_str()
            {
                "<" => {
                    visit = visit_of(ask(Request::VisitBack)?)?;
                    continue;
                }
                "y" | "Y" | "yes" => {}
                _ => {
                    while !visit.age_known {
                        visit = one(&visit, ask, answer)?; // the age alone is still needed for the case
                    }
                    break;
                }
            }
        }
        told = dangers;
        if visit.ask.is_some() {
            visit = one(&visit, ask, answer)?;
            continue;
        }
        match answer("In your own words (Enter for none, <: back):")?.as_str() {
            "<" => visit = visit_of(ask(Request::VisitBack)?)?,
            "" => break,
            words => {
                visit = visit_of(ask(Request::VisitAnswer {
                    name: "text".into(),
                    answer: words.into(),
                })?)?;
                break;
            }
        }
    }
    serde_json::to_string(&visit.findings).map_err(|e| Failure::new(e, "begin again"))
}

/// A question in words.
fn worded(question: &Question) -> String {
    let ask = &question.ask;
    match question.kind {
        QuestionKind::Flag => format!("{ask} [y/n/Enter]"),
        QuestionKind::Number => {
            let unit = question.unit.as_deref().unwrap_or_default();
            let (min, max) = question.bounds.unwrap_or_default();
            format!("{ask} ({unit}, {min} to {max}) [Enter: not measured]")
        }
        QuestionKind::Choice => {
            format!("{ask} [{}, Enter: not known]", question.choices.join(", "))
        }
        QuestionKind::Age => "Age: months, or days as in 12d?".to_owned(),
    }
}

/// Asks the question that comes next until its answer is one that can be, and keeps it.
fn one(
    visit: &Visit,
    ask: Asks<'_>,
    answer: &mut dyn FnMut(&str) -> Result<String, Failure>,
) -> Result<Visit, Failure> {
    let Some(question) = &visit.ask else {
        return Ok(visit.clone());
    };
    loop {
        let typed = answer(&worded(question))?;
        if typed == "<" {
            return visit_of(ask(Request::VisitBack)?);
        }
        let unusual = "is hardly ever seen. Is it right? [y, Enter: measure again]";
        if let (Some((least, most)), Ok(number)) = (question.usual, typed.parse::<f64>())
            && !(least..=most).contains(&number)
            && !answer(&format!("  {typed} {unusual}"))?.starts_with(['y', 'Y'])
        {
            continue;
        }
        let name = question.id.clone();
        match ask(Request::VisitAnswer {
            name,
            answer: typed,
        }) {
            Ok(next) => return visit_of(next),
            Err(wrong) if wrong.code == 2 => eprintln!("  {}", wrong.reason),
            Err(failure) => return Err(failure),
        }
    }
}

/// Asks the fields of a patient whom no rules here are for, one by one.
pub fn fields(whose: Whose) -> Result<Vec<(String, String)>, Failure> {
    let asked = match whose {
        Whose::Pregnancy => catalogue::Patient::Pregnancy.asked(),
        Whose::Adult | Whose::Child => catalogue::Patient::Adult.asked(),
    };
    if !on_terminal() {
        let hint = "pass --findings FILE, or --set FIELD=VALUE as often as needed";
        return Err(Failure::new(
            "no findings were given, and there is no terminal to ask on",
            hint,
        )
        .with_code(2));
    }
    eprintln!("Answer, or press Enter where it is not known. Numbers as digits.");
    let mut fields = Vec::new();
    for name in asked {
        let what = catalogue::field(name)
            .map(|field| kind_in_words(field.kind))
            .unwrap_or_default();
        loop {
            let answer = line(&format!("{} [{what}]", name.replace(['_', '.'], " ")))?;
            let answer = if answer.is_empty() {
                "unknown".to_owned()
            } else {
                answer
            };
            match catalogue::read_value(name, &answer) {
                Ok(_) => break fields.push(((*name).to_owned(), answer)),
                Err(wrong) => eprintln!("  {wrong}"),
            }
        }
    }
    Ok(fields)
}

/// What can be written into a field.
pub fn kind_in_words(kind: Kind) -> String {
    match kind {
        Kind::Flag => "yes, no".to_owned(),
        Kind::Number(min, max, unit) => format!("{min} to {max} {unit}"),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Text => "words".to_owned(),
        Kind::Date => "a date, 2026-11-24".to_owned(),
    }
}
