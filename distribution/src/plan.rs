//! How a phone comes to a release in the fewest bytes: the whole bundle, one delta, or a chain of
//! deltas, given what it holds and what it could be given just now.

use std::collections::BTreeMap;

use protocol::Digest;
use protocol::always;

use crate::release::{Delta, Release};

/// A way to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Bytes that are still missing of it.
    pub missing_bytes: u64,
    /// The deltas in the order in which they are applied; empty for the whole bundle.
    pub deltas: Vec<Delta>,
    /// What the first of them starts from.
    pub base: Option<Digest>,
}

/// What is missing here of releases and can be had where `there` says so: by the cheapest way to each.
pub fn wanted<'a>(
    releases: impl Iterator<Item = &'a Release>,
    here: impl Fn(&Digest) -> bool,
    there: impl Fn(&Digest) -> bool,
) -> Vec<(Digest, u64)> {
    let missing = |digest: &Digest, bytes: u64| match here(digest) {
        true => Some(0),
        false => there(digest).then_some(bytes),
    };
    let mut wanted = Vec::new();
    for release in releases.filter(|r| !here(&r.digest)) {
        match best_way(release, &here, missing) {
            Some(way) if way.deltas.is_empty() => wanted.push((release.digest, release.bytes)),
            Some(way) => wanted.extend(way.deltas.iter().map(|d| (d.digest, d.bytes))),
            None => {}
        }
    }
    wanted.retain(|(digest, _)| !here(digest));
    wanted
}

/// The way to `release` with the fewest missing bytes. `held` says whether a bundle is here whole;
/// `missing` says how many bytes of a bundle would have to be fetched, `None` if it cannot be had.
pub fn best_way(
    release: &Release,
    held: impl Fn(&Digest) -> bool,
    missing: impl Fn(&Digest, u64) -> Option<u64>,
) -> Option<Way> {
    let whole = missing(&release.digest, release.bytes).map(|missing_bytes| Way {
        missing_bytes,
        deltas: Vec::new(),
        base: None,
    });
    // Shortest paths over the few deltas of one release (Bellman–Ford): what has been reached, and
    // how.
    let mut reached: BTreeMap<Digest, Way> = BTreeMap::new();
    for _ in 0..release.deltas.len() {
        for delta in &release.deltas {
            let from = match reached.get(&delta.base) {
                // What is here costs nothing, whatever else could be made into it.
                _ if held(&delta.base) => Way {
                    missing_bytes: 0,
                    deltas: Vec::new(),
                    base: Some(delta.base),
                },
                Some(way) => way.clone(),
                None => continue,
            };
            let Some(missing_bytes) = missing(&delta.digest, delta.bytes) else {
                continue;
            };
            let mut way = Way {
                missing_bytes: from.missing_bytes.saturating_add(missing_bytes),
                ..from
            };
            way.deltas.push(delta.clone());
            let made = release.made_by(delta).digest;
            if reached
                .get(&made)
                .is_none_or(|known| way.missing_bytes < known.missing_bytes)
            {
                reached.insert(made, way);
            }
        }
    }
    let by_deltas = reached.remove(&release.digest);
    let way = match (whole, by_deltas) {
        (Some(whole), Some(deltas)) if whole.missing_bytes <= deltas.missing_bytes => Some(whole),
        (whole, deltas) => deltas.or(whole),
    };
    let made = |delta: &Delta| release.made_by(delta).digest;
    let steps = way.as_ref().map(|way| way.deltas.as_slice());
    let steps = steps.unwrap_or_default();
    always!(steps.is_sorted_by(|a, b| made(a) == b.base), "a chain");
    always!(steps.last().is_none_or(|d| made(d) == release.digest));
    always!(steps.len() <= release.deltas.len(), "no step twice");
    let base = steps.first().map(|delta| delta.base);
    always!(way.as_ref().is_none_or(|way| way.base == base));
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Step;
    use protocol::Area;

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn delta(base: u8, name: u8, bytes: u64, makes: Option<u8>) -> Delta {
        let makes = makes.map(|m| Step {
            digest: digest(m),
            bytes: 1000,
        });
        Delta {
            base: digest(base),
            digest: digest(name),
            bytes,
            makes,
        }
    }

    fn release(deltas: Vec<Delta>) -> Release {
        Release {
            module: "m".into(),
            version: 3,
            digest: digest(3),
            bytes: 1000,
            area: Area::default(),
            language: "und".into(),
            engine_min: 1,
            notes: String::new(),
            deltas,
            stage: None,
            lineage: None,
            kind: crate::ModuleKind::Other,
        }
    }

    /// From what is here, even where a delta could make it too.
    #[test]
    fn what_is_held_is_not_made_again() {
        let release = release(vec![delta(1, 12, 10, Some(2)), delta(2, 23, 10, None)]);
        let held = |d: &Digest| *d == digest(1) || *d == digest(2);
        let way = best_way(&release, held, |_, bytes| Some(bytes)).unwrap();
        assert_eq!((way.base, way.deltas.len()), (Some(digest(2)), 1));
    }

    #[test]
    fn the_cheapest_of_whole_delta_and_chain_is_taken() {
        let release = release(vec![
            delta(2, 23, 60, None),
            delta(1, 12, 50, Some(2)),
            delta(1, 13, 200, None),
        ]);
        let all = |_: &Digest, bytes: u64| Some(bytes);
        let way = |held: u8, missing: &dyn Fn(&Digest, u64) -> Option<u64>| {
            best_way(&release, |d| *d == digest(held), missing)
        };
        let names = |way: Option<Way>| {
            way.map(|w| w.deltas.iter().map(|d| d.digest.0[0]).collect::<Vec<_>>())
        };
        assert_eq!(
            names(way(1, &all)),
            Some(vec![12, 23]),
            "two small steps beat one large"
        );
        assert_eq!(names(way(2, &all)), Some(vec![23]));
        assert_eq!(names(way(9, &all)), Some(vec![]), "with no base, the whole");
        let no_step = |d: &Digest, bytes: u64| (*d != digest(12)).then_some(bytes);
        assert_eq!(names(way(1, &no_step)), Some(vec![13]));
        let nearly_whole = |d: &Digest, bytes: u64| Some(if *d == digest(3) { 20 } else { bytes });
        assert_eq!(
            names(way(2, &nearly_whole)),
            Some(vec![]),
            "what is nearly here is finished"
        );
        assert_eq!(names(way(9, &|d, b| (*d != digest(3)).then_some(b))), None);
    }

    #[test]
    fn a_circle_of_deltas_is_no_way() {
        let release = release(vec![delta(5, 56, 1, Some(6)), delta(6, 65, 1, Some(5))]);
        let way = best_way(&release, |_| false, |d, b| (*d != digest(3)).then_some(b));
        assert_eq!(way, None);
    }
}
