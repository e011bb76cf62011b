//! Questions on a terminal, one by one: an empty answer is "unknown", never "no".

use std::io::{BufRead, IsTerminal, Write};

use clinical::assessment::{Question, QuestionKind};
use clinical::calendar::read_date;
use clinical::{Kind, Profile, Urgency, catalogue};
use node::api::views::visit::{Visit, VisitOpen};
use node::api::{Reply, Request, RequestId, VisitOf};
use protocol::Area;

use crate::Failure;
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
            "what a visit has answered is kept: begin again, and go on there",
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

/// A visit on this terminal: whose it is, and what answers requests about it.
pub struct Sitting<'a> {
    /// Whose.
    pub of: VisitOf,
    /// The level of care.
    pub profile: Profile,
    /// The number under which its case is written, if it has not begun already.
    pub request: RequestId,
    /// Where the case is to be written.
    pub area: Option<Area>,
    /// The day of birth, where it was said before: the age is not asked then.
    pub born: Option<String>,
    /// The phone.
    pub ask: Asks<'a>,
}

impl Sitting<'_> {
    fn ask(&self, request: Request) -> Result<Visit, Failure> {
        Ok((self.ask)(request)?.try_into()?)
    }

    fn answer(&self, name: &str, answer: String) -> Result<Visit, Failure> {
        let (of, name) = (self.of, name.to_owned());
        self.ask(Request::VisitAnswer { of, name, answer })
    }

    fn back(&self) -> Result<Visit, Failure> {
        self.ask(Request::VisitBack { of: self.of })
    }

    /// Begins the visit, or goes on with an interrupted one of the same kind.
    fn begin(&self, answer: Answers<'_>) -> Result<Visit, Failure> {
        let (of, profile, request) = (self.of, self.profile, self.request);
        let before: VisitOpen = (self.ask)(Request::VisitOpen { of })?.try_into()?;
        let anew = before.answers == 0 || !is_same(&before, answer)?;
        self.ask(Request::VisitBegin {
            of,
            profile,
            anew,
            request,
            area: self.area.clone(),
        })
    }
}

/// What answers a question.
pub type Answers<'a> = &'a mut dyn FnMut(&str) -> Result<String, Failure>;

/// Whether the patient is the one of an interrupted visit.
fn is_same(before: &VisitOpen, answer: Answers<'_>) -> Result<bool, Failure> {
    let (minutes, answers, age) = (before.minutes, before.answers, age_of(before));
    let question = format!(
        "A visit was interrupted {minutes} minutes ago after {answers} answers{age}. Is it the same patient? \
         [y: go on, n: another patient, begin anew]"
    );
    yes_or_no(&question, answer)
}

/// Whether the case of an interrupted visit is to be decided on now.
pub fn is_to_be_decided(case: &str, before: &VisitOpen) -> Result<bool, Failure> {
    let (minutes, age) = (before.minutes, age_of(before));
    let question = format!(
        "A visit was interrupted {minutes} minutes ago{age}: case {case} is kept, and not decided. Is it to be decided now? \
         [y: decide, n: another patient, begin anew]"
    );
    yes_or_no(&question, &mut line)
}

fn age_of(before: &VisitOpen) -> String {
    let age = before.age.as_deref().filter(|age| !age.is_empty());
    age.map_or(String::new(), |age| format!(" (age: {age})"))
}

/// What was answered is not thrown away by an Enter too many: asks until one of the two is said.
fn yes_or_no(question: &str, answer: Answers<'_>) -> Result<bool, Failure> {
    loop {
        let said = answer(question)?;
        if said.starts_with(['y', 'Y', 'n', 'N']) {
            return Ok(said.starts_with(['y', 'Y']));
        }
    }
}

/// Asks question after question; the phone keeps each answer and says what comes next.
pub fn findings(sitting: &Sitting<'_>) -> Result<Visit, Failure> {
    if !on_terminal() {
        return Err(Failure::new(
            "no findings were given, and there is no terminal to ask on",
            "pass --findings FILE (JSON or TOML)",
        )
        .with_code(2));
    }
    visit(sitting, &mut line)
}

/// A visit's answers as a findings file.
pub fn file_of(visit: &Visit) -> Result<String, Failure> {
    serde_json::to_string(&visit.findings).map_err(|e| Failure::new(e, "begin again"))
}

/// The same with anything that answers.
pub fn visit(sitting: &Sitting<'_>, answer: Answers<'_>) -> Result<Visit, Failure> {
    let mut visit = sitting.begin(answer)?;
    // Of a month or a year alone the age is asked.
    let born = sitting.born.as_deref().and_then(read_date);
    if let Some(born) = born.filter(|day| day.len() == 10 && !visit.age_known) {
        visit = sitting.answer("age", born)?;
    }
    eprintln!(
        "Answer yes (y), no (n), or press Enter where it is not known. Numbers as digits. < takes the last answer back."
    );
    let mut told = 0;
    loop {
        let dangers = visit.danger.len();
        if dangers > told {
            say_danger(&visit);
            match answer("Go on with the other questions while transport is arranged? [y, Enter: no, <: back]")?
                .as_str()
            {
                "<" => {
                    visit = sitting.back()?;
                    continue;
                }
                "y" | "Y" | "yes" => {}
                _ => {
                    while !visit.age_known {
                        visit = one(&visit, sitting, answer)?; // the age alone is still needed for the case
                    }
                    break;
                }
            }
        }
        told = dangers;
        if visit.ask.is_some() {
            visit = one(&visit, sitting, answer)?;
            continue;
        }
        if visit.words_asked {
            break;
        }
        match answer("In your own words (Enter for none, <: back):")?.as_str() {
            "<" => visit = sitting.back()?,
            words => visit = sitting.answer(clinical::TEXT, words.into())?,
        }
    }
    Ok(visit)
}

/// A question in words.
fn worded(question: &Question, of: VisitOf) -> String {
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
        QuestionKind::Age => match of {
            VisitOf::Child | VisitOf::Triage => {
                "Age? (months; or 12h, 3d, 6w, 1y6m; or the day of birth, 2025-11-24)".to_owned()
            }
            VisitOf::Pregnancy | VisitOf::Adult => {
                "Age in years? (a guess will do; or the day of birth, 1998-11-24)".to_owned()
            }
        },
    }
}

/// Asks the question that comes next until its answer is one that can be, and keeps it.
fn one(visit: &Visit, sitting: &Sitting<'_>, answer: Answers<'_>) -> Result<Visit, Failure> {
    let Some(question) = &visit.ask else {
        return Ok(visit.clone());
    };
    loop {
        let typed = answer(&worded(question, sitting.of))?;
        if typed == "<" {
            return sitting.back();
        }
        let unusual = "is hardly ever seen. Is it right? [y, Enter: measure again]";
        // What cannot be at all is refused below.
        let can_be = |number: &f64| {
            let bounds = question.bounds;
            bounds.is_none_or(|(min, max)| (min..=max).contains(number))
        };
        if let (Some((least, most)), Ok(number)) = (question.usual, typed.parse::<f64>())
            && can_be(&number)
            && !(least..=most).contains(&number)
            && !answer(&format!("  {typed} {unusual}"))?.starts_with(['y', 'Y'])
        {
            continue;
        }
        match sitting.answer(&question.id, typed) {
            Ok(next) => return Ok(next),
            Err(wrong) if wrong.code == 2 => eprintln!("  {}", wrong.reason),
            Err(failure) => return Err(failure),
        }
    }
}

/// Asks what the rules do not read of a mother or an adult, one by one; each answer is kept. Nothing
/// more is asked of a patient who is to go at once.
pub fn rest(sitting: &Sitting<'_>, mut visit: Visit) -> Result<Visit, Failure> {
    let asked = match sitting.of {
        VisitOf::Pregnancy => catalogue::Patient::Pregnancy.asked(sitting.profile),
        VisitOf::Adult => catalogue::Patient::Adult.asked(sitting.profile),
        VisitOf::Child | VisitOf::Triage => return Ok(visit),
    };
    if visit.ask.is_some() {
        return Ok(visit);
    }
    for name in asked {
        // What a rule has asked for is not asked again.
        if visit.findings.contains_key(*name) {
            continue;
        }
        let what = catalogue::field(name)
            .map(|field| kind_in_words(field.kind))
            .unwrap_or_default();
        let question = format!("{} [{what}, Enter: not asked]", field_asked(name));
        visit = said(sitting, visit, (name, &question), &mut line)?;
    }
    Ok(visit)
}

/// Asks who a child is, and what is consented to, where that was not answered before. Nothing is taken
/// for granted: an empty answer is no consent.
pub fn who_and_consent(
    sitting: &Sitting<'_>,
    mut visit: Visit,
    (known, consents): (&[(String, String)], bool),
) -> Result<Visit, Failure> {
    let who = [
        ("patient.name", "The child's name? [Enter: not asked]"),
        ("patient.village", "The village? [Enter: not asked]"),
    ];
    let child = sitting.of == VisitOf::Child;
    for (name, question) in who.into_iter().filter(|_| child) {
        if !known.iter().any(|(said, _)| said == name) {
            visit = said(sitting, visit, (name, question), &mut line)?;
        }
    }
    let questions = [
        (
            "consent.care",
            "Does the patient, or the caregiver, agree to be cared for? [y/n/Enter]",
        ),
        (
            "consent.share",
            "May colleagues and the clinic see this case? [y/n/Enter]",
        ),
        ("consent.photo", "May photos be taken? [y/n/Enter]"),
        (
            "consent.training",
            "May the case be used, without names, to improve the tools? [y/n/Enter]",
        ),
    ];
    for question in questions.into_iter().filter(|_| consents) {
        visit = said(sitting, visit, question, &mut line)?;
    }
    Ok(visit)
}

/// Asks one thing that the rules do not read, until its answer is one that can be.
fn said(
    sitting: &Sitting<'_>,
    visit: Visit,
    (name, question): (&str, &str),
    answer: Answers<'_>,
) -> Result<Visit, Failure> {
    if visit.said.contains_key(name) {
        return Ok(visit);
    }
    loop {
        match sitting.answer(name, answer(question)?) {
            Ok(next) => return Ok(next),
            Err(wrong) if wrong.code == 2 => eprintln!("  {}", wrong.reason),
            Err(failure) => return Err(failure),
        }
    }
}

/// The question for a field that no rule reads; of others, the name.
fn field_asked(name: &str) -> String {
    let question = match name {
        "malaria_test" => "Malaria test",
        "hiv_test" => "HIV test, the last that is known",
        "syphilis_test" => "Syphilis test",
        "pregnancies_before" => "How many pregnancies before this one?",
        "previous_problems" => "Which problems were there in pregnancies before?",
        "medicines_now" => "Which medicines are taken now?",
        "allergies" => "Allergies? To which medicine or food, or none",
        "birth_plan" => "Where is the birth planned, and who takes her there?",
        "patient.sex" => "Sex",
        "severe_headache" => "Severe headache?",
        "breathless" => "Short of breath?",
        "fever_days" => "Fever for how many days?",
        "blood_in_sputum" => "Coughs up blood?",
        "chest_pain" => "Pain in the chest?",
        "rash_or_bleeding" => "A rash, or bleeding into the skin?",
        "urinating_little" => "Passes little urine?",
        "tb_before" => "Treated for tuberculosis before?",
        "tb_contact" => "Lives with somebody who has tuberculosis?",
        "diabetes" => "Diabetes?",
        other => return other.replace(['_', '.'], " "),
    };
    question.to_owned()
}

/// What can be written into a field.
pub fn kind_in_words(kind: Kind) -> String {
    match kind {
        Kind::Flag => "yes, no".to_owned(),
        Kind::Number(min, max, unit) => format!("{min} to {max} {unit}"),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Text => "words".to_owned(),
        Kind::Date => {
            "a date, 2026-11-24 (or of another calendar: 2019-03-15 EC, 2083-08-08 BS)".to_owned()
        }
    }
}
