//! How a plan looks, and the note that goes with a patient who is sent on.

use clinical::FindingValue;
use clinical::plan::{Advice, Basis, Prescribed, WhyWithheld, Withheld};
use node::api::views::case::{Case, Decision};
use node::api::views::plan::CasePlan;

use super::{plain, urgency, value, wrapped};

/// What to do for a patient.
pub fn plan(case: &CasePlan) {
    let (p, short) = (&case.plan, case.case.case.short());
    println!("plan      {}", urgency(p.urgency));
    if p.refer {
        wrapped(
            "REFER URGENTLY. What is here is done at once; nothing that is not at hand is waited for.",
            2,
        );
    }
    if p.ask_allergies {
        let ask = "Ask about allergies first: nobody has said whether there are any";
        wrapped(
            &format!("{ask} (kijiti case add {short} --set allergies=…)."),
            2,
        );
    }
    if !p.allergies.is_empty() {
        wrapped(
            &format!("Allergies written down: {}.", p.allergies.join("; ")),
            2,
        );
    }
    if !p.settle.is_empty() {
        let names: Vec<_> = p.settle.iter().map(|name| plain(name)).collect();
        let names = names.join(", ");
        wrapped(
            &format!(
                "People differ about {names}, by which doses go: settle that before a medicine."
            ),
            2,
        );
    }
    p.medicines.iter().for_each(|m| medicine(m, &short));
    p.withheld.iter().for_each(withheld);
    advice("", &p.steps);
    advice("Tell: ", &p.tell);
    advice("", &p.return_at_once);
    match p.follow_up_days {
        Some(1) => wrapped("See the patient again tomorrow.", 2),
        Some(days) => wrapped(&format!("See the patient again in {days} days."), 2),
        None => {}
    }
    if p.medicines.is_empty() && p.withheld.is_empty() && p.steps.is_empty() && p.tell.is_empty() {
        wrapped("The packs that run say nothing more of what to do.", 2);
    }
    wrapped(
        &format!(
            "By {}. It advises, you decide; thresholds and doses are to be reviewed by the country's own clinicians.",
            p.pack
        ),
        2,
    );
}

/// A number as people write it.
fn number(number: f64) -> String {
    match (number.fract() == 0.5, number.trunc() == 0.0) {
        (true, true) => "½".to_owned(),
        (true, false) => format!("{}½", number.trunc()),
        (false, _) => format!("{number}"),
    }
}

fn range((least, most): (f64, f64), unit: &str) -> String {
    let unit = match (unit, most > 1.0) {
        ("tablet", true) => "tablets",
        (unit, _) => unit,
    };
    match least == most {
        true => format!("{} {unit}", number(least)),
        false => format!("{} to {} {unit}", number(least), number(most)),
    }
}

/// One dose of a medicine, in one line.
fn one_dose(m: &Prescribed) -> String {
    let mg = m.milligrams.filter(|_| m.unit != "mg");
    let mg = mg.map_or(String::new(), |mg| format!(" ({})", range(mg, "mg")));
    let way = match m.route.as_str() {
        "oral" => " by mouth",
        "im" => " into the muscle",
        _ => "",
    };
    format!("{}{mg}{way}", range(m.amount, &m.unit))
}

fn medicine(m: &Prescribed, case: &str) {
    let course = match (m.times_a_day, m.days, m.how.is_empty()) {
        (0, 0, true) => "once".to_owned(),
        (0, 0, false) => m.how.clone(),
        (0, days, _) => format!("{} for {days} days", m.how),
        (1, days, _) => format!("once a day for {days} days"),
        (times, days, _) => format!("{times} times a day for {days} days"),
    };
    wrapped(&format!("{}: {}, {course}.", m.name, one_dose(m)), 2);
    let by = match m.by {
        Basis::Weight(kg) => format!("by weight, {kg} kg"),
        Basis::Age(months) => format!("by age, {} months", months.floor()),
        Basis::Anyone => "the same for all".to_owned(),
    };
    let first = match (&m.given, m.first_now) {
        (Some(given), _) => {
            let doses = match given.doses {
                1 => "1 dose is".to_owned(),
                some => format!("{some} doses are"),
            };
            format!(" {doses} written down already, the last at {}.", given.last)
        }
        (None, true) if m.amount.0 < m.amount.1 => " Begin now.".to_owned(),
        (None, true) => {
            let (amount, unit) = match m.milligrams {
                Some((mg, _)) => (mg, "mg"),
                None => (m.amount.0, m.unit.as_str()),
            };
            let dose = format!("{} {amount} {unit}", m.medicine);
            format!(
                " Give the first dose now; given, it is written down by: kijiti case add {case} --dose \"{dose}\"."
            )
        }
        (None, false) => String::new(),
    };
    wrapped(
        &format!("{by}; for {} ({}).{first}", m.rules.join(", "), m.source),
        4,
    );
}

fn withheld(w: &Withheld) {
    let why = match &w.why {
        WhyWithheld::Allergy(words) => format!(
            "not given: allergy ({words}). What to give instead is not in the pack: ask who supervises today, or refer"
        ),
        WhyWithheld::AllergyUnclear(words) => format!(
            "not before this is clear: an allergy is written down that is not understood ({words}). Find out to what, and write that: the medicine, the food, or none"
        ),
        WhyWithheld::Forbidden(words) => format!("not given: {words}"),
        WhyWithheld::NotRuledOut(names, words) => {
            let names: Vec<_> = names.iter().map(|name| plain(name)).collect();
            format!("not before this is known: {} ({words})", names.join(", "))
        }
        WhyWithheld::NeedsWeight => {
            "its dose goes by weight: weigh the child, or use the national table".to_owned()
        }
        WhyWithheld::WeightUnlikely(kg) => {
            format!("{kg} kg can hardly be right at this age: weigh again")
        }
        WhyWithheld::TooMuch(_) => {
            "the pack says more than anybody gives: tell the ministry, and take the dose from the national table".to_owned()
        }
        WhyWithheld::NotInTable => {
            "this weight or age is not in the table of doses: ask your supervisor".to_owned()
        }
        WhyWithheld::SourcesDiffer(words) => {
            format!("take the dose from the national table: {words}")
        }
    };
    wrapped(&format!("{}: {why}.", w.name), 2);
    if let Some(given) = &w.given {
        let warning = match &w.why {
            WhyWithheld::Allergy(_) | WhyWithheld::Forbidden(_) => {
                "It WAS GIVEN all the same: give no more, watch for a rash, swelling or hard breathing, and tell who supervises now"
            }
            _ => "It was given already",
        };
        let doses = given.doses;
        wrapped(
            &format!(
                "{warning} ({doses} written down, the last at {}).",
                given.last
            ),
            4,
        );
    }
}

fn advice(head: &str, list: &[Advice]) {
    for said in list {
        wrapped(&format!("{head}{}.", said.words), 2);
    }
}

/// The note that goes with a patient: who it is, why, what was found and given, and by whom.
pub fn note(p: &CasePlan) -> String {
    let c = &p.case;
    let mut lines = vec![format!(
        "REFERRAL NOTE  {}",
        match p.plan.refer {
            true => "URGENT",
            false => "",
        }
    )];
    let said = |name: &str| c.findings.get(name).map(|finding| finding.value.spoken());
    let named = said("patient.name").unwrap_or_else(|| "name not written down".into());
    let village = said("patient.village").map_or(String::new(), |place| format!(", {place}"));
    lines.push(format!(
        "Patient: {named}{village}  (case {})",
        c.case.short()
    ));
    let age = age_field(c);
    let about = ["patient.sex", "patient.born", age, "weight"];
    let about = about.iter().filter_map(|name| {
        let name_said = name.rsplit('.').next().unwrap_or(name);
        Some(format!("{} {}", plain(name_said), said(name)?))
    });
    lines.push(about.collect::<Vec<_>>().join(", "));
    for fired in p
        .assessment
        .fired
        .iter()
        .filter(|fired| fired.urgency == p.assessment.urgency)
    {
        lines.push(format!("Why: {} [{}]", fired.class, fired.rule));
    }
    let more = |decision: &&Decision| decision.urgency > p.assessment.urgency;
    for decision in c.decisions.iter().filter(more) {
        let reason = match decision.reason.is_empty() {
            true => String::new(),
            false => format!(": {}", decision.reason),
        };
        let urgency = decision.urgency.name().to_uppercase();
        lines.push(format!(
            "Why: decided {urgency} by {}{reason}",
            decision.said.by
        ));
    }
    if p.assessment.raised_by_model {
        lines.push("Why: the model has raised the urgency above the rules".to_owned());
    }
    lines.push(format!("Found: {}", found(c)));
    lines.push(match p.plan.allergies.is_empty() {
        true => "Allergies: not asked".to_owned(),
        false => format!("Allergies: {}", p.plan.allergies.join("; ")),
    });
    lines.push(doses(c));
    if let Some(begun) = &c.begun {
        lines.push(format!(
            "Seen by {} at {} (their clock)",
            begun.by, begun.by_their_clock
        ));
    }
    lines.push(format!("By {}; advice, decided by the worker", p.plan.pack));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// The field that says the age best: in years, months or days of which there are two at least.
fn age_field(c: &Case) -> &'static str {
    let number = |name: &str| match c.findings.get(name).map(|finding| &finding.value) {
        Some(FindingValue::Number(number)) => Some(*number),
        _ => None,
    };
    let fields = ["age_years", "age_months", "age_days", "age_hours"];
    let whole = fields
        .iter()
        .find(|name| number(name).is_some_and(|n| n >= 2.0));
    let any = fields.iter().find(|name| number(name).is_some());
    whole.or(any).copied().unwrap_or("age_hours")
}

/// What was given and stands.
fn doses(c: &Case) -> String {
    let given: Vec<_> = c
        .each_dose
        .iter()
        .filter(|dose| dose.taken_back.is_empty())
        .map(|dose| {
            let when = if dose.given.is_empty() {
                "time not written"
            } else {
                &dose.given
            };
            format!("{} {} {} ({when})", dose.medicine, dose.amount, dose.unit)
        })
        .collect();
    match given.is_empty() {
        true => "Given: nothing written down".to_owned(),
        false => format!("Given: {}", given.join("; ")),
    }
}

/// Signs that were found, and measurements; what was looked for and not found last.
fn found(c: &Case) -> String {
    let clinical = c.findings.iter().filter(|(name, _)| {
        !name.contains('.')
            && !name.starts_with("age_")
            && !["weight", "allergies", "text"].contains(&name.as_str())
    });
    let (mut there, mut not) = (Vec::new(), Vec::new());
    for (name, finding) in clinical {
        match &finding.value {
            FindingValue::Yes => there.push(plain(name)),
            FindingValue::No => not.push(plain(name)),
            FindingValue::Number(number) => there.push(format!("{} {number}", plain(name))),
            FindingValue::Text(_) => {
                there.push(format!("{} {}", plain(name), value(&finding.value)));
            }
            FindingValue::Unknown => {}
        }
    }
    match not.is_empty() {
        true => there.join(", "),
        false => format!("{}; not found: {}", there.join(", "), not.join(", ")),
    }
}
