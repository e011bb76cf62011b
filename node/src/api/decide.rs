//! Decisions: a person decides, against what was shown.

use clinical::Urgency;
use record::{AssessmentEntry, DecisionEntry};

use super::{DecisionInput, Refusal};

/// In the place of rules and model, where a decision was made without any.
pub const UNJUDGED: &str = "none";

/// A decision against what was shown: another urgency needs a reason, and green needs to have been
/// offered. Where no rules could look at the case, nobody has ruled out a danger.
pub fn decide(
    input: &DecisionInput,
    seen: Option<&AssessmentEntry>,
) -> Result<DecisionEntry, Refusal> {
    let urgency = input.urgency;
    let reasoned = !input.reason.trim().is_empty();
    let made = |agrees: bool, rules: &str, model: &str| DecisionEntry {
        urgency,
        agrees,
        reason: input.reason.clone(),
        plan: input.plan.clone(),
        rules: rules.to_owned(),
        model: model.to_owned(),
        app: concat!("kijiti ", env!("CARGO_PKG_VERSION"), " (en)").to_owned(),
    };
    match seen {
        None if urgency == Urgency::Green => Err(Refusal::GreenUnjudged),
        None if !reasoned => Err(Refusal::UnjudgedNeedsReason),
        None => Ok(made(false, UNJUDGED, UNJUDGED)),
        Some(seen) if urgency == Urgency::Green && seen.urgency != Urgency::Green => {
            Err(Refusal::GreenNotOffered)
        }
        Some(seen) if urgency != seen.urgency && !reasoned => {
            Err(Refusal::NeedsReason(seen.urgency, urgency))
        }
        Some(seen) => Ok(made(urgency == seen.urgency, &seen.rules, &seen.model)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(urgency: Urgency) -> AssessmentEntry {
        AssessmentEntry {
            urgency,
            rules_fired: Vec::new(),
            differential: Vec::new(),
            rules: "who-child".into(),
            model: "none".into(),
        }
    }

    fn input(urgency: Urgency, reason: &str) -> DecisionInput {
        DecisionInput {
            urgency,
            plan: "refer".into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn green_is_decided_only_where_it_was_offered() {
        use Urgency::{Green, Pink, Yellow};
        for shown in [Pink, Yellow] {
            let green = decide(&input(Green, "she looks well"), Some(&seen(shown)));
            assert_eq!(green, Err(Refusal::GreenNotOffered));
        }
        assert_eq!(
            decide(&input(Green, "well"), None),
            Err(Refusal::GreenUnjudged)
        );
        assert!(
            decide(&input(Green, ""), Some(&seen(Green)))
                .unwrap()
                .agrees
        );
    }

    #[test]
    fn another_urgency_needs_a_reason_and_says_that_it_differs() {
        use Urgency::{Pink, Yellow};
        let lower = decide(&input(Yellow, " "), Some(&seen(Pink)));
        assert_eq!(lower, Err(Refusal::NeedsReason(Pink, Yellow)));
        let made = decide(&input(Yellow, "seen by the nurse"), Some(&seen(Pink))).unwrap();
        assert_eq!((made.agrees, made.rules.as_str()), (false, "who-child"));
        assert_eq!(
            decide(&input(Pink, ""), None),
            Err(Refusal::UnjudgedNeedsReason)
        );
        assert_eq!(
            decide(&input(Pink, "bleeds"), None).unwrap().rules,
            UNJUDGED
        );
    }
}
