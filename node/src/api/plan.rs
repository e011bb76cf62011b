//! What to do for a patient: the packs' treatment of what was found, with what the case says of allergies,
//! of weight and of doses that were given. The worker decides; nothing here is written down.

use clinical::FindingValue;
use clinical::date::instant;
use clinical::plan::DoseGiven;
use protocol::always;
use record::{Case, CaseView};

use super::assess::{PlanFor, heard, most_urgent};
use super::views::plan::CasePlan;
use super::{Look, Refusal, case_view, cases};

/// The plan for a case, with those of the same patient's beside it.
pub(super) fn of_case(cx: &dyn Look, case: &str) -> Result<CasePlan, Refusal> {
    let (row, cases) = cases::open_all(cx, cases::find(cx, case)?)?;
    let view = Case::view_of_same(&cases).ok_or(Refusal::CaseNotHere)?;
    let (assessor, now_s) = (cx.assessor(), cx.now().wall_s);
    let judged = most_urgent(assessor, &view, now_s)?.ok_or(Refusal::NoRulesForThis)?;
    let mut heard = heard(assessor, &view, now_s);
    // Where people differ about a weight nobody chooses one for a dose.
    let disputed = view.questions().any(|(name, _)| name == "weight");
    if disputed {
        heard.findings.remove("weight");
    }
    let (allergies, given) = (allergies(&view), given(&view));
    let plan = assessor.plan(&PlanFor {
        judged: &judged,
        findings: &heard.findings,
        ages: &heard.ages,
        profile: heard.profile,
        allergies: &allergies,
        given: &given,
    });
    always!(plan.urgency.is_none_or(|urgency| urgency == judged.urgency));
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

/// Doses that stand, and were not taken back.
fn given(view: &CaseView) -> Vec<DoseGiven> {
    let stand = view.doses.iter().filter(|dose| dose.counts());
    let dose = |dose: &record::Dose| DoseGiven {
        medicine: dose.dose.medicine.clone(),
        given: match dose.dose.given.is_empty() {
            true => instant(dose.stamp.at_s),
            false => dose.dose.given.clone(),
        },
    };
    stand.map(dose).collect()
}
