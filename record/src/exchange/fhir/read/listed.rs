//! What lies in a bundle: each resource once, and what is kept out, with why.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bundle::{Bundle, plain_name};
use super::values::{items, kind_of, text_at};

/// Why a bundle as a whole is not what its resources look like.
pub(super) fn spoilt(bundle: &Value) -> Option<&'static str> {
    let set = |key: &str| {
        bundle
            .get(key)
            .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|v| !v.is_empty()))
    };
    if ["modifierExtension", "implicitRules"].into_iter().any(set) {
        return Some("the bundle carries a modifier that may turn its meaning round");
    }
    let mut resources = items(bundle, "entry")
        .iter()
        .filter_map(|entry| entry.get("resource"));
    let in_error = |r: &Value| {
        kind_of(r) == "Composition" && text_at(r, &["status"]) == Some("entered-in-error")
    };
    resources
        .any(in_error)
        .then_some("the document in this bundle says that it was entered in error")
}

/// Whether a bundle of requests only makes and updates resources, as systems send whole records to each
/// other (Synthea, national hubs): what it says is then what they are.
pub(super) fn only_writes(bundle: &Value) -> bool {
    let writes = |entry: &Value| {
        let method = text_at(entry, &["request", "method"]).unwrap_or_default();
        let whole = entry.get("resource").is_some_and(Value::is_object);
        whole && (method.eq_ignore_ascii_case("POST") || method.eq_ignore_ascii_case("PUT"))
    };
    let entries = items(bundle, "entry");
    !entries.is_empty() && entries.iter().all(writes)
}

/// Why the resource of an entry is not taken, whatever it says itself.
pub(super) fn refused(entry: &Value) -> Option<&'static str> {
    let set = |key: &str| {
        entry
            .get(key)
            .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|v| !v.is_empty()))
    };
    let deleted = text_at(entry, &["request", "method"])
        .is_some_and(|method| method.eq_ignore_ascii_case("DELETE"));
    match text_at(entry, &["response", "status"]) {
        _ if set("modifierExtension") => {
            Some("its entry carries a modifier that may turn its meaning round")
        }
        _ if deleted => Some("its entry says that it is no more"),
        Some(status) if !status.starts_with('2') => {
            Some("its entry says that it was not found, or not taken")
        }
        _ => None,
    }
}

/// The resources of a bundle, and those that are not taken.
pub(super) struct Listed<'a> {
    /// Each once, and the patients that lie within others.
    pub(super) resources: Vec<&'a Value>,
    pub(super) index: Bundle<'a>,
    /// What stands twice and not alike.
    pub(super) twice: Vec<&'a Value>,
    /// What its entry keeps out, and why.
    pub(super) not_taken: Vec<(&'a Value, &'static str)>,
}

impl<'a> Listed<'a> {
    pub(super) fn of(bundle: &'a Value) -> Self {
        let mut resources: Vec<&Value> = Vec::new();
        let mut index = Bundle::default();
        let (mut twice, mut ambiguous, mut not_taken) = (Vec::new(), BTreeSet::new(), Vec::new());
        for entry in items(bundle, "entry") {
            let Some(resource) = entry.get("resource") else {
                if !kind_of(entry).is_empty() {
                    not_taken.push((entry, "it lies in an entry, and not as its resource"));
                }
                continue;
            };
            if let Some(why) = refused(entry) {
                not_taken.push((resource, why));
                continue;
            }
            // A name that names no server is no more than kind and id.
            let url = text_at(entry, &["fullUrl"]).filter(|url| url.contains(':'));
            let url = url.map(plain_name);
            let short = text_at(resource, &["id"]).map(|id| format!("{}/{id}", kind_of(resource)));
            let known = url
                .as_deref()
                .or(short.as_deref())
                .and_then(|name| index.named.get(name))
                .copied();
            match known.filter(|_| url.is_some() || index.url_of(known).is_none()) {
                Some(same) if same == resource => continue, // said once more
                Some(other) => {
                    twice.push(resource);
                    twice.push(other);
                    continue;
                }
                None => {}
            }
            if let Some(url) = url {
                index.named.insert(url.clone(), resource);
                index.urls.push((resource, url));
            }
            if let Some(short) = short.filter(|short| !ambiguous.contains(short)) {
                match index.named.remove(&short) {
                    Some(_) => drop(ambiguous.insert(short)), // of two servers
                    None => drop(index.named.insert(short, resource)),
                }
            }
            resources.push(resource);
            let contained = items(resource, "contained").iter();
            for inner in contained.filter(|inner| kind_of(inner) == "Patient") {
                if index.add_contained(inner) {
                    resources.push(inner);
                }
            }
            if kind_of(resource) == "Patient" {
                index.patients.push(resource);
            }
        }
        protocol::always!(
            index.patients.len() <= resources.len(),
            "each patient is a resource"
        );
        Self {
            resources,
            index,
            twice,
            not_taken,
        }
    }
}

/// Whether what a resource of ours says is read; the others only repeat it, or surround it.
pub(super) fn is_read(kind: &str) -> bool {
    matches!(
        kind,
        "Patient"
            | "RelatedPerson"
            | "Observation"
            | "Consent"
            | "MedicationAdministration"
            | "ClinicalImpression"
            | "AllergyIntolerance"
            | "Media"
            | "Immunization"
            | "Procedure"
    )
}

/// Whether a resource has a name as we give it (RFC 9562, version 8), and is none that somebody put into a bundle of
/// ours.
pub(super) fn is_own_name(resource: &Value) -> bool {
    let id = text_at(resource, &["id"]).unwrap_or_default();
    let parts: Vec<_> = id.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.get(2).is_some_and(|part| part.starts_with('8'))
}
