//! What a case is called in a list.

use clinical::FindingValue;
use record::CaseView;

/// What a person knows a case by.
pub(super) fn title(view: &CaseView) -> String {
    let text = |name: &str| match view.findings.get(name).map(|f| &f.value) {
        Some(FindingValue::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let parts = ["patient.name", "patient.family_name", "patient.village"]
        .into_iter()
        .filter_map(text);
    parts.collect::<Vec<_>>().join(", ")
}
