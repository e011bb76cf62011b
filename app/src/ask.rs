//! Questions on a terminal, one by one: an empty answer is "unknown", never "no".

use std::io::{BufRead, IsTerminal, Write};

use node::host::Failure;
use serde_json::{Map, Value, json};
use sync::case::schema::{self, Kind};

use crate::cli::Kind as Whose;

/// Asks on the terminal; every answer is read from standard input.
pub fn line(question: &str) -> Result<String, Failure> {
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{question} ");
    let _ = error.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(0) | Err(_) => Err(Failure::new("no more answers", "nothing was kept; begin again").with_code(2)),
        Ok(_) => Ok(answer.trim().to_owned()),
    }
}

/// Whether a person sits there.
pub fn on_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks for the age, then lets `questions` say what to ask, and returns a findings file.
pub fn findings(questions: &mut dyn FnMut(bool) -> Result<Value, Failure>) -> Result<String, Failure> {
    if !on_terminal() {
        return Err(Failure::new(
            "no findings were given, and there is no terminal to ask on",
            "pass --findings FILE (JSON or TOML)",
        )
        .with_code(2));
    }
    eprintln!("Answer yes (y), no (n), or press Enter where it is not known. Numbers as digits.");
    let mut file = Map::new();
    let infant = loop {
        let age = line("Age: months, or days as in 12d?")?;
        let (key, number) = match age.strip_suffix('d') {
            Some(days) => ("age_days", days.trim().parse::<f64>()),
            None => ("age_months", age.parse::<f64>()),
        };
        match number {
            Ok(number) if key == "age_days" || number >= 2.0 => {
                file.insert(key.into(), json!(number));
                break key == "age_days" && number < 60.0;
            }
            _ => eprintln!("  write for example 11, or 40d for an infant under 2 months"),
        }
    };
    let asked = questions(infant)?;
    let empty = Vec::new();
    for question in asked.get("questions").and_then(Value::as_array).unwrap_or(&empty) {
        let text = |key: &str| question.get(key).and_then(Value::as_str).unwrap_or_default();
        let id = text("id").to_owned();
        let value = match text("kind") {
            "flag" => flag(text("ask"))?,
            "number" => number(text("ask"), text("unit"))?,
            _ => choice(text("ask"), question.get("choices"))?,
        };
        file.insert(id, value);
    }
    let words = line("In your own words (Enter for none):")?;
    if !words.is_empty() {
        file.insert("text".into(), json!(words));
    }
    Ok(Value::Object(file).to_string())
}

/// Asks the fields of a patient whom no rules here are for, one by one.
pub fn fields(whose: Whose) -> Result<Vec<(String, String)>, Failure> {
    let asked = match whose {
        Whose::Pregnancy => schema::Patient::Pregnancy.asked(),
        Whose::Adult | Whose::Child => schema::Patient::Adult.asked(),
    };
    if !on_terminal() {
        let hint = "pass --findings FILE, or --set FIELD=VALUE as often as needed";
        return Err(Failure::new("no findings were given, and there is no terminal to ask on", hint).with_code(2));
    }
    eprintln!("Answer, or press Enter where it is not known. Numbers as digits.");
    let mut fields = Vec::new();
    for name in asked {
        let what = schema::field(name).map(|field| kind_in_words(field.kind)).unwrap_or_default();
        loop {
            let answer = line(&format!("{} [{what}]", name.replace(['_', '.'], " ")))?;
            let answer = if answer.is_empty() { "unknown".to_owned() } else { answer };
            match schema::read_value(name, &answer) {
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

fn flag(ask: &str) -> Result<Value, Failure> {
    loop {
        match line(&format!("{ask} [y/n/Enter]"))?.to_lowercase().as_str() {
            "y" | "yes" => return Ok(json!("yes")),
            "n" | "no" => return Ok(json!("no")),
            "" | "?" | "unknown" => return Ok(json!("unknown")),
            _ => eprintln!("  write y, n, or nothing"),
        }
    }
}

fn number(ask: &str, unit: &str) -> Result<Value, Failure> {
    loop {
        let answer = line(&format!("{ask} ({unit}) [Enter: not measured]"))?;
        match answer.parse::<f64>() {
            Ok(number) => return Ok(json!(number)),
            Err(_) if answer.is_empty() || answer == "unknown" => return Ok(json!("unknown")),
            Err(_) => eprintln!("  write a number, or nothing"),
        }
    }
}

fn choice(ask: &str, choices: Option<&Value>) -> Result<Value, Failure> {
    let choices: Vec<&str> =
        choices.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    loop {
        let answer = line(&format!("{ask} [{}, Enter: not known]", choices.join(", ")))?;
        match answer.as_str() {
            "" | "unknown" => return Ok(json!("unknown")),
            word if choices.contains(&word) => return Ok(json!(word)),
            _ => eprintln!("  write one of the words in brackets, or nothing"),
        }
    }
}
