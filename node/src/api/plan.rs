//! What to do for a patient: the packs' treatment of what was found, with what the case says of allergies,
//! of weight and of doses that were given. The worker decides; nothing here is written down.

use clinical::date::{instant, seconds_of_date};
use clinical::plan::DoseGiven;
use clinical::{Assessment, FindingValue};
use protocol::always;
use record::{Case, CaseView};

use super::assess::{Heard, PlanFor, heard, most_urgent};
use super::views::plan::CasePlan;
use super::{Look, Refusal, case_view, cases};

/// The plan for a case, with those of the same patient's beside it.
pub(super) fn of_case(cx: &dyn Look, case: &str) -> Result<CasePlan, Refusal> {
    let (row, cases) = cases::open_all(cx, cases::find(cx, case)?)?;
    let view = Case::view_of_same(&cases).ok_or(Refusal::CaseNotHere)?;
    let (assessor, now_s) = (cx.assessor(), cx.now().wall_s);
    let judged = most_urgent(assessor, &view, now_s)?.ok_or(Refusal::NoRulesForThis)?;
    let mut heard = heard(assessor, &view, now_s);
    // Where people differ about a weight or an age nobody chooses one for a dose.
    let settle = to_settle(&view, &heard);
    if settle.iter().any(|name| name == "weight") {
        heard.findings.remove("weight");
    }
    if settle.iter().any(|name| name != "weight") {
        heard.ages.clear();
    }
    let (allergies, given) = (allergies(&view), given(&view, now_s));
    // Whoever has decided that it is more urgent has decided what is to be done.
    let decided = view
        .urgency()
        .map_or(judged.urgency, |decided| decided.max(judged.urgency));
    let meant = Assessment {
        urgency: decided,
        ..judged.clone()
    };
    let mut plan = assessor.plan(&PlanFor {
        judged: &meant,
        findings: &heard.findings,
        ages: &heard.ages,
        profile: heard.profile,
        allergies: &allergies,
        given: &given,
    });
    plan.allergies = allergies;
    plan.settle = settle;
    always!(plan.urgency.is_none_or(|urgency| urgency == decided));
    Ok(CasePlan {
        plan,
        assessment: judged,
        case: case_view::of(cx, &row, &view)?,
    })
}

/// Allergies, in everybody's words: none of them is hidden by a later one.
fn allergies(view: &CaseView) -> Vec<String> {
    let state = view.findings.get("allergies");
    let standing = state.into_iter().flat_map(|state| &state.standing);
    let words = standing.filter_map(|(_, value)| match value {
        FindingValue::Text(words) if !words.trim().is_empty() => Some(words.clone()),
        FindingValue::Yes => Some("yes".to_owned()),
        FindingValue::No => Some("none".to_owned()),
        FindingValue::Text(_) | FindingValue::Number(_) | FindingValue::Unknown => None,
    });
    words.collect()
}

/// What doses go by, and people differ about; an age that a date of birth contradicts is one too.
fn to_settle(view: &CaseView, heard: &Heard) -> Vec<String> {
    let by = |name: &str| name == "weight" || name == "patient.born" || name.starts_with("age_");
    let differ = view.questions().map(|(name, _)| name.clone());
    let mut names: Vec<_> = differ.filter(|name| by(name)).collect();
    if heard.ages_differ() && !names.iter().any(|name| name == "patient.born") {
        names.push("patient.born".to_owned());
    }
    names
}

/// Days after which a dose is of another illness: the longest course of the guideline.
const COURSE_DAYS: i64 = 14;

/// Doses of this illness that stand, and were not taken back.
fn given(view: &CaseView, now_s: u64) -> Vec<DoseGiven> {
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let long_ago = |dose: &record::Dose| {
        let day = dose.dose.given.get(..10).and_then(seconds_of_date);
        let day = day.or(i64::try_from(dose.stamp.at_s).ok());
        day.is_some_and(|day| now_s.saturating_sub(day) > COURSE_DAYS * 86_400)
    };
    let stand = view
        .doses
        .iter()
        .filter(|dose| dose.counts() && !long_ago(dose));
    let dose = |dose: &record::Dose| DoseGiven {
        medicine: dose.dose.medicine.clone(),
        given: match dose.dose.given.is_empty() {
            true => instant(dose.stamp.at_s),
            false => dose.dose.given.clone(),
        },
    };
    stand.map(dose).collect()
}
