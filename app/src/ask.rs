//! Questions on a terminal, one by one: an empty answer is "unknown", never "no".

use std::io::{BufRead, IsTerminal, Write};

use clinical::{Kind, Profile, catalogue};
use node::host::Request;
use serde_json::Value;

use crate::Failure;
use crate::cli::Kind as Whose;
use crate::show::{list, number, text, urgency};

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
fn say_danger(visit: &Value) {
    for danger in list(visit, "danger") {
        let signs: Vec<_> = list(danger, "signs")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        eprintln!(
            "{}  {}: {}",
            urgency("pink"),
            text(danger, "class"),
            signs.join(", ")
        );
        eprintln!(
            "  {}  [{}, {}]",
            text(danger, "action"),
            text(danger, "rule"),
            text(danger, "source")
        );
    }
}

/// Asks question after question; the phone keeps each answer and says what comes next. Returns a
/// findings file.
pub fn findings(
    profile: Profile,
    ask: &dyn Fn(Request) -> Result<Value, Failure>,
) -> Result<String, Failure> {
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
    ask: &dyn Fn(Request) -> Result<Value, Failure>,
    answer: &mut dyn FnMut(&str) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let before = ask(Request::VisitOpen)?;
    let anew = match number(&before, "answers") {
        0 => true,
        answers => {
            let age = Some(text(&before, "age"))
                .filter(|age| !age.is_empty())
                .unwrap_or("not known yet");
            let minutes = number(&before, "minutes");
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
    let mut visit = ask(Request::VisitBegin { profile, anew })?;
    let age_known = |visit: &Value| {
        visit
            .get("age_known")
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    let mut told = 0;
    loop {
        let dangers = list(&visit, "danger").len();
        if dangers > told {
            say_danger(&visit);
            match answer("Go on with the other questions while transport is arranged? [y, Enter: no, <: back]")?
                .as_str()
            {
                "<" => {
                    visit = ask(Request::VisitBack)?;
                    continue;
                }
                "y" | "Y" | "yes" => {}
                _ => {
                    while !age_known(&visit) {
                        visit = one(&visit, ask, answer)?; // the age alone is still needed for the case
                    }
                    break;
                }
            }
        }
        told = dangers;
        if !visit.get("ask").is_none_or(Value::is_null) {
            visit = one(&visit, ask, answer)?;
            continue;
        }
        match answer("In your own words (Enter for none, <: back):")?.as_str() {
            "<" => visit = ask(Request::VisitBack)?,
            "" => break,
            words => {
                visit = ask(Request::VisitAnswer {
                    name: "text".into(),
                    answer: words.into(),
                })?;
                break;
            }
        }
    }
    Ok(visit.get("findings").unwrap_or(&Value::Null).to_string())
}

/// Asks the question that comes next until its answer is one that can be, and keeps it.
fn one(
    visit: &Value,
    ask: &dyn Fn(Request) -> Result<Value, Failure>,
    answer: &mut dyn FnMut(&str) -> Result<String, Failure>,
) -> Result<Value, Failure> {
    let question = visit.get("ask").unwrap_or(&Value::Null);
    let name = text(question, "id").to_owned();
    let choices: Vec<_> = list(question, "choices")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let asked = match text(question, "kind") {
        "flag" => format!("{} [y/n/Enter]", text(question, "ask")),
        "number" => format!(
            "{} ({}) [Enter: not measured]",
            text(question, "ask"),
            text(question, "unit")
        ),
        "choice" => format!(
            "{} [{}, Enter: not known]",
            text(question, "ask"),
            choices.join(", ")
        ),
        _ => text(question, "ask").to_owned(),
    };
    let usual = list(question, "usual")
        .iter()
        .filter_map(Value::as_f64)
        .collect::<Vec<_>>();
    loop {
        let typed = answer(&asked)?;
        if typed == "<" {
            return ask(Request::VisitBack);
        }
        if let ([least, most], Ok(number)) = (usual.as_slice(), typed.parse::<f64>())
            && !(*least..=*most).contains(&number)
            && !answer(&format!(
                "  {typed} is hardly ever seen. Is it right? [y, Enter: measure again]"
            ))?
            .starts_with(['y', 'Y'])
        {
            continue;
        }
        match ask(Request::VisitAnswer {
            name: name.clone(),
            answer: typed,
        }) {
            Ok(next) => return Ok(next),
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
