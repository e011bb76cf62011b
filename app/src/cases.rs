//! `kijiti case`: beginning cases, adding to them, and passing them on.

use std::collections::BTreeMap;
use std::path::Path;

use clinical::FindingValue;
use clinical::Urgency;
use clinical::age::{ADULT_FROM_MONTHS, CHILD_BELOW_MONTHS};
use clinical::catalogue::FIELDS;
use node::api::views::case::{Case, CaseNew, Decided, History, PhotoLooked, PhotoOut};
use node::api::views::cases::{Cases, Duplicates, HandedOver};
use node::api::views::plan::CasePlan;
use node::api::views::visit::{Visit, VisitOpen};
use node::api::{CaseWords, DecisionInput, PhotoWords, Refusal, Request, VisitOf};
use serde_json::Value;

use crate::Failure;
use crate::ask as terminal;
use crate::cli::{AddArgs, CaseCommand, DecisionArgs, Kind as Whose, NewArgs};
use crate::ministry::area_of;
use crate::run::{Phone, absolute, findings_file, request_number};
use crate::show;
use crate::words::shown as words;

mod files;

use files::{export, import, mapping, not_over, was_exported, written};

/// Does what was asked of cases.
pub fn run(phone: &Phone, command: CaseCommand) -> Result<(), Failure> {
    match command {
        CaseCommand::New(args) => new(phone, args),
        CaseCommand::Decide { case, decision } => match given(&decision)? {
            Some(decision) => {
                let request = request_number()?;
                let _: Decided = phone.ask(Request::CaseDecide {
                    case: case.clone(),
                    decision,
                    request,
                })?;
                phone.shown::<Case>(Request::CaseShow { case }, show::decisions)
            }
            None => {
                let seen: Case = phone.ask(Request::CaseShow { case: case.clone() })?;
                decide_on_terminal(phone, &case, !seen.assessments.is_empty())
            }
        },
        CaseCommand::Add(args) => add(phone, args),
        CaseCommand::HandOver {
            cases,
            to,
            from,
            reason,
        } => {
            let request = request_number()?;
            phone.shown(
                Request::CaseHandOver {
                    cases,
                    from,
                    to,
                    reason,
                    request,
                },
                |handed: &HandedOver| show::handed_over(handed),
            )
        }
        CaseCommand::List { find, after, limit } => {
            let find = find.unwrap_or_default();
            let wanted = find.clone();
            phone.shown(Request::CaseList { find, after, limit }, |list: &Cases| {
                show::case_list(list, &wanted, after);
            })
        }
        CaseCommand::Show { case } => phone.shown::<Case>(Request::CaseShow { case }, show::case),
        CaseCommand::Photo {
            case,
            out: Some(out),
            number,
            force,
            ..
        } => {
            not_over(&out, |_| force)?;
            let request = |path| Request::CasePhotoOut { case, number, path };
            written(phone, &out, request, |p: &PhotoOut| {
                show::size(p.bytes as u64)
            })
        }
        CaseCommand::Photo {
            case,
            file,
            shows,
            camera,
            light,
            ..
        } => {
            let path = absolute(&file.unwrap_or_default())?;
            let unseen = advise(phone, &path, &shows);
            let words = PhotoWords {
                shows,
                camera,
                light,
            };
            phone.shown::<Case>(
                Request::CasePhoto {
                    case,
                    path,
                    words,
                    request: request_number()?,
                },
                show::case,
            )?;
            // It is kept all the same: it may be the only one there is.
            if let Some(why) = unseen {
                eprintln!(
                    "note: nothing can be seen in the photo ({}): take it again",
                    why.reason
                );
            }
            Ok(())
        }
        CaseCommand::Plan { case } => {
            phone.shown::<CasePlan>(Request::CasePlan { case }, show::plan)
        }
        CaseCommand::Refer { case, qr } => refer(phone, case, qr),
        CaseCommand::History { case } => {
            phone.shown::<History>(Request::CaseHistory { case }, show::history)
        }
        CaseCommand::Duplicates => {
            phone.shown::<Duplicates>(Request::CaseDuplicates, show::duplicates)
        }
        CaseCommand::Fields => phone.show(&fields(), show::fields),
        CaseCommand::Export {
            cases,
            format,
            to,
            out,
            force,
        } => {
            not_over(&out, |out| force || was_exported(out))?;
            export(phone, cases, format, to.as_deref(), &out)
        }
        CaseCommand::Import {
            file,
            format,
            area,
            dry_run,
            map,
        } => import(phone, (&file, format, map.as_deref()), area, dry_run),
        CaseCommand::Mapping {
            table,
            system,
            known_by,
        } => mapping(phone, &table, &system, known_by),
    }
}

fn new(phone: &Phone, args: NewArgs) -> Result<(), Failure> {
    let asked = args.findings.is_none() && (args.kind == Whose::Child || args.set.is_empty());
    let head = [
        ("patient.name", args.patient),
        ("patient.village", args.village),
    ];
    let mut head: Vec<_> = head
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    head.extend(pairs(&args.set)?);
    // Before anybody answers twenty questions.
    for (name, value) in &head {
        clinical::catalogue::read_value(name, value).map_err(Refusal::Value)?;
    }
    let area = args.area.as_deref().map(area_of).transpose()?;
    let (decision, mut request) = (given(&args.decision)?, request_number()?);
    let mut consent: Vec<_> = args.consent.iter().map(|to| (to.clone(), true)).collect();
    let of = match args.kind {
        Whose::Child => VisitOf::Child,
        Whose::Pregnancy => VisitOf::Pregnancy,
        Whose::Adult => VisitOf::Adult,
    };
    if asked && was_to_be_decided(phone, of)? {
        return Ok(());
    }
    let mut findings = None;
    if asked {
        let ask = |request: Request| phone.reply(request);
        let profile = args.profile.into();
        let born = head.iter().find(|(name, _)| name == "patient.born");
        let sitting = terminal::Sitting {
            of,
            profile,
            request,
            area: area.clone(),
            born: born.map(|(_, day)| day.clone()),
            ask: &ask,
        };
        let mut visit = terminal::rest(&sitting, terminal::findings(&sitting)?)?;
        visit = terminal::who_and_consent(&sitting, visit, (&head, consent.is_empty()))?;
        request = visit.request;
        findings = match no_rules_for(of, &visit) {
            // Of somebody whom no rules are for the fields are kept, and a person decides.
            true => {
                let said = visit.findings.iter();
                head.extend(said.map(|(name, value)| (name.clone(), value.words())));
                None
            }
            false => Some(terminal::file_of(&visit)?),
        };
        for (name, answer) in visit.said.into_iter().filter(|(_, said)| !said.is_empty()) {
            match name.strip_prefix("consent.") {
                // What is said on the command line goes before what an interrupted visit had asked.
                Some(to) if consent.iter().any(|(said, _)| said == to) => {}
                Some(to) => consent.push((to.to_owned(), answer == "yes")),
                None if head.iter().any(|(said, _)| *said == name) => {}
                None => head.push((name, answer)),
            }
        }
    } else if args.kind == Whose::Child {
        findings = args.findings.as_deref().map(findings_file).transpose()?;
    } else if let Some(file) = &args.findings {
        head.splice(0..0, fields_of(file)?);
    }
    let mother = args.kind == Whose::Pregnancy && findings.is_none();
    if mother && !head.iter().any(|(name, _)| name == "maternal") {
        head.push(("maternal".to_owned(), "yes".to_owned()));
    }
    let request = match findings {
        Some(findings) => Request::CaseNew {
            findings,
            profile: args.profile.into(),
            head,
            consent,
            area,
            decision,
            request,
        },
        None => Request::CaseBegin {
            fields: head,
            profile: args.profile.into(),
            consent,
            area,
            decision,
            request,
        },
    };
    let new: CaseNew = phone.ask(request)?;
    phone.show(&new, |new| {
        println!("case {}", new.case);
        match &new.assessment {
            Some(assessment) => show::assessment(assessment),
            None => println!(
                "no rules of this phone judge this patient: you decide, or ask your supervisor"
            ),
        }
    })?;
    if new.assessment.is_some() && !phone.json {
        let case = new.case.to_string();
        let plan: CasePlan = phone.ask(Request::CasePlan { case })?;
        show::plan(&plan);
    }
    let short = new.case.short();
    if let Some(why) = &new.stays {
        eprintln!(
            "the case stays on this phone: {}",
            words::stays(why, &short)
        );
    }
    match (args.decision.decide, asked) {
        (None, true) => {
            decide_on_terminal(phone, &new.case.to_string(), new.assessment.is_some())?;
        }
        (None, false) if !phone.json => {
            eprintln!("not decided yet: kijiti case decide {short} --decide COLOUR --plan \"…\"");
        }
        _ => {}
    }
    match asked {
        true => phone.reply(Request::VisitEnd { of }).map(drop),
        false => Ok(()),
    }
}

/// Whether the patient of an adult's visit is too old for the rules for children, and too young for those for adults.
fn no_rules_for(of: VisitOf, visit: &Visit) -> bool {
    let months = visit.findings.get("age_months");
    let between = matches!(months, Some(FindingValue::Number(months))
        if (CHILD_BELOW_MONTHS..ADULT_FROM_MONTHS).contains(months));
    of == VisitOf::Adult && between
}

/// Whether the last visit was interrupted before anybody decided on its case, and that was done now.
fn was_to_be_decided(phone: &Phone, of: VisitOf) -> Result<bool, Failure> {
    let open: VisitOpen = phone.ask(Request::VisitOpen { of })?;
    let Some(id) = open.case.filter(|_| terminal::on_terminal()) else {
        return Ok(false);
    };
    let case = id.to_string();
    // A case that has gone, or is locked, keeps nobody from the next patient.
    let shown = phone.ask::<Case>(Request::CaseShow { case: case.clone() });
    let waits = |view: &Case| view.decided.is_none() || view.undecided.is_some();
    let view = shown.ok().filter(waits);
    let decide = view.is_some() && terminal::is_to_be_decided(&id.short(), &open)?;
    if let (Some(view), true) = (view, decide) {
        let judged = !view.assessments.is_empty();
        if !phone.json {
            show::case(&view);
        }
        // Of somebody whom no rules here are for there is no plan.
        if judged && !phone.json {
            let plan: CasePlan = phone.ask(Request::CasePlan { case: case.clone() })?;
            show::plan(&plan);
        }
        decide_on_terminal(phone, &case, judged)?;
    }
    phone.reply(Request::VisitEnd { of })?;
    Ok(decide)
}

/// Prints the note that goes with a patient.
fn refer(phone: &Phone, case: String, qr: bool) -> Result<(), Failure> {
    let plan: CasePlan = phone.ask(Request::CasePlan { case })?;
    let note = show::note(&plan);
    phone.show(&plan, |_| {
        note.lines().for_each(|line| show::wrapped(line, 0))
    })?;
    match qr && !phone.json {
        true => crate::codes::draw_text(&note),
        false => Ok(()),
    }
}

/// Fields and their values from a file, JSON or TOML.
fn fields_of(file: &Path) -> Result<Vec<(String, String)>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::new(
            format!("cannot read {shown}: {e}"),
            "pass a text file, JSON or TOML",
        )
        .with_code(2)
    })?;
    let read: Result<BTreeMap<String, Value>, String> = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|e| e.to_string()),
        false => toml::from_str(&text).map_err(|e| e.to_string()),
    };
    let wrong = |e| {
        let reason = format!("{shown} is no file of findings: {e}");
        Failure::new(
            reason,
            "write lines such as: age_years = 34, fever = \"yes\"",
        )
        .with_code(2)
    };
    let word = |value: Value| match value {
        Value::String(word) => word,
        Value::Bool(yes) => if yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    };
    Ok(read
        .map_err(wrong)?
        .into_iter()
        .map(|(name, value)| (name, word(value)))
        .collect())
}

fn given(args: &DecisionArgs) -> Result<Option<DecisionInput>, Failure> {
    let decision = |typed: &String| {
        let urgency = Urgency::parse(&typed.to_lowercase()).ok_or_else(|| {
            let reason = format!("{typed:?} is not a colour");
            Failure::new(reason, "write pink, yellow or green").with_code(2)
        })?;
        Ok(DecisionInput {
            urgency,
            plan: args.plan.clone(),
            reason: args.reason.clone(),
        })
    };
    args.decide.as_ref().map(decision).transpose()
}

/// Asks for a decision; nothing is preselected.
fn decide_on_terminal(phone: &Phone, case: &str, judged: bool) -> Result<(), Failure> {
    if !terminal::on_terminal() {
        return Err(Failure::new(
            "no decision was given",
            "add --decide pink, yellow or green",
        )
        .with_code(2));
    }
    // The case is written already: whoever stops here decides on it later, and does not begin it
    // again.
    let answer = |question: &str| {
        terminal::line(question).map_err(|_| {
            let short = case.get(..8).unwrap_or(case);
            let hint =
                format!("decide on it: kijiti case decide {short} --decide COLOUR --plan \"…\"");
            Failure::new(
                format!("no more answers; case {short} is kept, and not decided"),
                hint,
            )
            .with_code(2)
        })
    };
    loop {
        let urgency = loop {
            let urgency = answer("Your decision: pink, yellow or green?")?;
            match Urgency::parse(&urgency.to_lowercase()) {
                Some(urgency) => break urgency,
                None => eprintln!("  {urgency:?} is not a colour: write pink, yellow or green"),
            }
        };
        let plan = answer("What is to be done?")?;
        let why = match judged {
            true => "Why (needed if you decide otherwise than the rules)?",
            false => "Why (needed: no rules have judged this patient)?",
        };
        let mut reason = answer(why)?;
        while !judged && reason.is_empty() {
            reason = answer(why)?;
        }
        let decision = DecisionInput {
            urgency,
            plan,
            reason,
        };
        let request = Request::CaseDecide {
            case: case.to_owned(),
            decision,
            request: request_number()?,
        };
        match phone.reply(request) {
            Ok(_) => {
                return phone.shown::<Case>(
                    Request::CaseShow {
                        case: case.to_owned(),
                    },
                    show::decisions,
                );
            }
            Err(failure) if failure.code == 2 || failure.code == 5 => show::failure(&failure),
            Err(failure) => return Err(failure),
        }
    }
}

/// Who the patient is, as far as that was not said on the command line.
fn pairs(given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::new(
            format!("{text:?} is no FIELD=VALUE"),
            "for example --set spo2=88",
        )
        .with_code(2)),
    };
    given.iter().map(pair).collect()
}

fn add(phone: &Phone, args: AddArgs) -> Result<(), Failure> {
    let given = |uses: Vec<String>, given: bool| uses.into_iter().map(move |to| (to, given));
    let links = |cases: Vec<String>, same: bool| cases.into_iter().map(move |case| (case, same));
    let words = CaseWords {
        set: pairs(&args.set)?,
        settle: pairs(&args.settle)?,
        consent: given(args.consent, true)
            .chain(given(args.no_consent, false))
            .collect(),
        note: args.note,
        dose: args.dose,
        route: args.route,
        given: args.given,
        not_given: args.not_given,
        hand_to: args.hand_to,
        reason: args.reason,
        links: links(args.same_as, true)
            .chain(links(args.not_same_as, false))
            .collect(),
    };
    let request = Request::CaseAdd {
        case: args.case,
        words: Box::new(words),
        request: request_number()?,
    };
    phone.shown::<Case>(request, show::case)
}

fn fields() -> show::Fields {
    let field = |field: &clinical::Field| show::FieldSaid {
        name: field.name.to_owned(),
        written: terminal::kind_in_words(field.kind),
    };
    show::Fields {
        fields: FIELDS.iter().map(field).collect(),
    }
}

/// Says what to do about a picture while the patient is still there. Why one cannot be looked at, if so.
fn advise(phone: &Phone, path: &str, shows: &str) -> Option<Failure> {
    look(phone, path, shows).err()
}

/// Looks at a picture: says what to do about it, and what it seems to show.
pub(crate) fn look(phone: &Phone, path: &str, shows: &str) -> Result<PhotoLooked, Failure> {
    let looked = phone.ask::<PhotoLooked>(Request::PhotoLook {
        path: path.to_owned(),
        shows: shows.trim().replace([' ', '-'], "_").to_lowercase(),
    })?;
    for advice in &looked.quality.advice {
        eprintln!("note: the photo is {}", words::photo_advice(*advice));
    }
    if let Some(seen) = &looked.seen {
        eprintln!("note: {}", words::picture_read(seen));
    }
    Ok(looked)
}
