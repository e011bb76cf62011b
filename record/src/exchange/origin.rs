//! What a dose of a file is known by, so that it counts once however often, from wherever and in whichever form it
//! comes: the names that its system gave it, and what was given when.
//!
//! `fhir/` names `/` what, each `-` where nothing is said. Names: digests of a system `.` of the value there, parted
//! by `+`. What: `t` and a digest of medicine, amount and instant; `d` with the day where no instant is said.

use protocol::Digest;

use super::time::moment;
use super::units::base_dose;
use crate::DoseEntry;

/// Names of one dose that are kept.
const NAMES_MAX: usize = 8;
/// A dose of which nothing is known by which to find it again.
pub(crate) const UNKNOWN: &str = "fhir/-/-";

/// How a dose of a file is like one that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// It is that one.
    Same,
    /// It is that one, and something else is said of it.
    Otherwise,
    /// As much of the same on the same day, under another name: whether it is that one nobody can tell.
    Perhaps,
}

fn short(text: &str) -> String {
    Digest::of(text.as_bytes()).short()
}

/// What a dose is known by: under these names, each a system and the value there.
pub(crate) fn origin(names: &[(&str, &str)], dose: &DoseEntry) -> String {
    let name = |(system, value): &(&str, &str)| format!("{}.{}", short(system), short(value));
    let mut named: Vec<_> = names.iter().map(name).collect();
    named.sort_unstable();
    named.dedup();
    named.truncate(NAMES_MAX);
    let named = match named.is_empty() {
        true => "-".to_owned(),
        false => named.join("+"),
    };
    let what = match moment(&dose.given) {
        None => "-".to_owned(),
        Some(at) => {
            let (amount, unit) = base_dose(dose.amount, &dose.unit);
            let medicine = dose.medicine.trim().to_lowercase();
            let (mark, when) = match at.is_exact() {
                true => ('t', at.from_ms.to_string()),
                false => ('d', at.written),
            };
            format!(
                "{mark}{}",
                short(&format!("{medicine}\n{amount:.6} {unit}\n{when}"))
            )
        }
    };
    let origin = format!("fhir/{named}/{what}");
    protocol::always!(
        parts(&origin) == Some((&named, &what)),
        "it is read as it is written"
    );
    origin
}

/// The names and the *what* of an origin.
fn parts(origin: &str) -> Option<(&str, &str)> {
    origin.strip_prefix("fhir/")?.split_once('/')
}

/// Whether two lists of names are of one dose, by the systems that both name; `None`: they name none.
fn agree(one: &str, other: &str) -> Option<bool> {
    fn names(list: &str) -> impl Iterator<Item = (&str, &str)> {
        list.split('+').filter_map(|name| name.split_once('.'))
    }
    let same = names(one).flat_map(|(system, value)| {
        let there = names(other).filter(move |(of, _)| *of == system);
        there.map(move |(_, other)| other == value)
    });
    same.reduce(|all, same| all && same)
}

/// Whether the system of a dose has taken it back under this origin.
pub fn is_of(dose: &DoseEntry, taken_back: &str) -> bool {
    match (parts(&dose.origin), parts(taken_back)) {
        (Some((names, _)), Some((back, _))) => agree(names, back) == Some(true),
        _ => !taken_back.is_empty() && dose.origin == taken_back,
    }
}

/// Whether the same was given, as far as both say.
fn is_alike(held: &DoseEntry, read: &DoseEntry) -> bool {
    let what = |dose: &DoseEntry| {
        (
            dose.medicine.trim().to_lowercase(),
            base_dose(dose.amount, &dose.unit),
        )
    };
    let ((medicine, (amount, unit)), (other, (number, of))) = (what(held), what(read));
    let apart = match (moment(&held.given), moment(&read.given)) {
        (Some(one), Some(other)) => one.is_before(other.from_ms) || other.is_before(one.from_ms),
        _ => false,
    };
    medicine == other
        && unit == of
        && (amount - number).abs() < 1e-6 * amount.abs().max(1.0)
        && !apart
}

/// How a dose that was read is like one that is here, which is known by `names` besides its origin; `None`: it is
/// another.
pub fn alike(held: &DoseEntry, names: &[String], read: &DoseEntry) -> Option<Alike> {
    protocol::always!(is_alike(read, read), "a dose is like itself");
    let named = match is_alike(held, read) {
        true => Alike::Same,
        false => Alike::Otherwise,
    };
    if !read.origin.is_empty()
        && (names.contains(&read.origin) || held.origin == read.origin)
        && read.origin != UNKNOWN
    {
        return Some(named);
    }
    let exact = |dose: &DoseEntry| {
        moment(&dose.given)
            .filter(|at| at.is_exact())
            .map(|at| at.from_ms)
    };
    if let (Some(one), Some(other)) = (exact(held), exact(read))
        && one == other
        && named == Alike::Same
    {
        return Some(Alike::Same);
    }
    let ((held_names, what), (names, other_what)) = (parts(&held.origin)?, parts(&read.origin)?);
    match agree(held_names, names) {
        Some(true) => Some(named),
        _ if what != other_what || what == "-" => None,
        None => Some(Alike::Same),
        Some(false) => Some(Alike::Perhaps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dose(names: &[(&str, &str)], amount: f64, unit: &str, given: &str) -> DoseEntry {
        let mut dose = DoseEntry {
            medicine: "Amoxicillin".into(),
            amount,
            unit: unit.into(),
            route: String::new(),
            given: given.into(),
            origin: String::new(),
        };
        dose.origin = origin(names, &dose);
        dose
    }

    #[test]
    fn a_dose_is_known_by_its_names_and_by_what_was_given_when() {
        const AT: &str = "2026-11-20T10:00:00Z";
        let held = dose(&[("v", "1"), ("a", "1")], 250.0, "mg", AT);
        for (names, amount, unit, given, expected) in [
            (
                &[("v", "1"), ("a", "1")][..],
                250.0,
                "mg",
                AT,
                Some(Alike::Same),
            ),
            (&[("a", "1")], 250.0, "mg", "", Some(Alike::Same)),
            (&[("a", "1")], 500.0, "mg", AT, Some(Alike::Otherwise)),
            (
                &[("a", "1")],
                250.0,
                "mg",
                "2026-11-21",
                Some(Alike::Otherwise),
            ),
            (
                &[("id", "new")],
                0.25,
                "g",
                "2026-11-20T13:00:00.0+0300",
                Some(Alike::Same),
            ),
            (
                &[("v", "1"), ("a", "2")],
                250.0,
                "mg",
                "2026-11-20T20:00:00Z",
                None,
            ),
            (&[("other", "1")], 250.0, "mg", "2026-11-20T20:00:00Z", None),
            (&[], 250.0, "mg", "", None),
        ] {
            let read = dose(names, amount, unit, given);
            assert_eq!(
                alike(&held, &[], &read),
                expected,
                "{names:?} {amount} {given}"
            );
        }
        let day = dose(&[("id", "1")], 250.0, "mg", "2026-11-20");
        for (names, expected) in [
            (&[("id", "1")][..], Some(Alike::Same)),
            (&[("id", "2")], Some(Alike::Perhaps)),
            (&[], Some(Alike::Same)),
        ] {
            let read = dose(names, 250.0, "mg", "2026-11-20");
            assert_eq!(alike(&day, &[], &read), expected, "{names:?}");
        }
        assert!(is_of(&held, &dose(&[("a", "1")], 1.0, "g", "").origin));
        assert!(!is_of(&held, &dose(&[("a", "2")], 250.0, "mg", AT).origin));
    }
}
