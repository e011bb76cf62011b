//! What it costs to find which envelopes each of two phones lacks: a real meeting of two simulated
//! phones, beside Automerge's own sync protocol per document, negentropy and a flat list of ids.

use automerge::sync::{State, SyncDoc};
use automerge::{AutoCommit, Automerge};
use clinical::{FindingValue, Urgency};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use node::EnvelopeStore;
use protocol::certificate::{Right, Rights};
use protocol::{Area, CaseId};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use record::{Case, Entry};
use serde_json::json;
use sim::{Cut, Ministry, World};
use sync::VerifiedEnvelope;
use sync::envelope::{Contents, seal};
use sync::space::SpaceKey;

use crate::failed;

use app::Failure;

/// Differences measured; the last row is a phone that has nothing.
const DIFFERENCES: [usize; 6] = [0, 1, 10, 100, 1000, 10_000];

/// Bytes that name an envelope.
const NAMED: u64 = 8;
/// Bytes that name one to who holds it.
const ASKED: u64 = 4;

/// One case as it was, and perhaps as it is on one side now.
struct Resident {
    before: Vec<u8>,
    envelope: VerifiedEnvelope,
    changed: Option<(Vec<u8>, VerifiedEnvelope)>,
}

/// The sets of the two sides.
struct Sides<'a> {
    ours: Vec<&'a VerifiedEnvelope>,
    theirs: Vec<&'a VerifiedEnvelope>,
}

/// Measures so many resident cases.
pub fn run(cases: usize, seed: u64, json: bool) -> Result<(), Failure> {
    if !(100..=100_000).contains(&cases) {
        return Err(Failure::new(
            "too little or too much to measure",
            "choose 100 to 100000 cases",
        )
        .with_code(2));
    }
    let area = Area::parse("north/kilifi").map_err(failed)?;
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let most = DIFFERENCES.into_iter().max().unwrap_or_default().min(cases);
    let keys = protocol::DeviceKeys::from_seed([9; 32]);
    let key = SpaceKey::new(area.clone(), [5; 32]);
    eprintln!(
        "making {cases} cases, {} of them changed and {} new ...",
        most / 2,
        most.div_ceil(2)
    );
    let all = (0..cases + most.div_ceil(2))
        .map(|i| resident(i < most / 2, &keys, &key, &mut rng))
        .collect::<Result<Vec<_>, _>>()?;
    let (old, new) = all.split_at_checked(cases).unwrap_or_default();
    let mut rows = Vec::new();
    if !json {
        println!(
            "{:<16}{:>9}{:>7}{:>9}{:>12}{:>12}{:>7}{:>11}{:>16}",
            "difference",
            "kijiti",
            "trips",
            "of need",
            "per item",
            "negentropy",
            "trips",
            "flat list",
            "Automerge sync"
        );
    }
    for differ in DIFFERENCES
        .into_iter()
        .filter(|d| *d <= most)
        .map(Some)
        .chain([None])
    {
        let d = differ.unwrap_or_default();
        let changed = old
            .iter()
            .take(d / 2)
            .filter_map(|c| c.changed.as_ref())
            .map(|(_, e)| e);
        let mut sides = Sides {
            ours: old.iter().map(|c| &c.envelope).chain(changed).collect(),
            theirs: old
                .iter()
                .chain(new.iter().take(d.div_ceil(2)))
                .map(|c| &c.envelope)
                .collect(),
        };
        if differ.is_none() {
            sides.theirs.clear();
        }
        let (bytes, trips) = meet(&sides, &area, seed)?;
        let (negentropy, passes) = negentropy(&sides)?;
        let flat = (sides.ours.len().min(sides.theirs.len()) * 8
            + sides.theirs.len().saturating_sub(old.len()) * 8) as u64;
        let per_document = automerge_sync(old, new, differ)?;
        let items = differ.unwrap_or(old.len());
        let name = differ.map_or("an empty phone".to_owned(), |d| format!("{d} of {cases}"));
        let each = if items == 0 {
            0.0
        } else {
            bytes as f64 / items as f64
        };
        let needed = NAMED * 2 * differ.unwrap_or_default() as u64
            + ASKED * (differ.unwrap_or_default() / 2) as u64;
        let of_need = if needed == 0 {
            0.0
        } else {
            bytes as f64 / needed as f64
        };
        if !json {
            println!(
                "{name:<16}{bytes:>9}{trips:>7.1}{of_need:>8.2}x{each:>10.1} B{negentropy:>12}{passes:>7.1}{flat:>11}{per_document:>16}"
            );
        }
        rows.push(
            json!({ "difference": differ, "cases": cases, "bytes": bytes, "round_trips": trips,
            "needed_bytes": needed,
            "negentropy_bytes": negentropy, "negentropy_round_trips": passes, "flat_bytes": flat,
            "automerge_bytes": per_document }),
        );
    }
    if json {
        println!(
            "{}",
            json!({ "schema": "kijiti.bench-reconcile/1", "rows": rows })
        );
    } else {
        println!("bytes both ways until both know what to send, in all columns");
        println!(
            "need: 8 bytes name a difference and 8 check it (a symbol of RIBLT's paper); 4 name each that is asked for"
        );
    }
    Ok(())
}

fn resident(
    change: bool,
    keys: &protocol::DeviceKeys,
    key: &SpaceKey,
    rng: &mut ChaCha20Rng,
) -> Result<Resident, Failure> {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let id = CaseId(id);
    let mut case = Case::new(id);
    let say = |case: &mut Case, names: std::ops::Range<u32>, rng: &mut ChaCha20Rng| {
        let finding = |n: u32| Entry::Finding {
            name: format!("finding_{n}"),
            value: FindingValue::Number(f64::from(n)),
        };
        let entries: Vec<_> = names.map(finding).collect();
        let changes = case
            .add(&entries, keys, &id.0, 1_800_000_000)
            .map_err(failed)?;
        let changes = changes.into_iter().map(Into::into).collect();
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let urgency = match rng.random_range(0..10) {
            0 => Urgency::Pink,
            1..4 => Urgency::Yellow,
            _ => Urgency::Green,
        };
        seal(&Contents { case: id, changes }, key, urgency, keys, nonce).map_err(failed)
    };
    let envelope = say(&mut case, 0..8, rng)?;
    let before = case.save();
    let changed = if change {
        let envelope = say(&mut case, 8..10, rng)?;
        Some((case.save(), envelope))
    } else {
        None
    };
    Ok(Resident {
        before,
        envelope,
        changed,
    })
}

/// Two couriers meet, by the code that phones run: bytes spent on finding, and round trips.
fn meet(sides: &Sides, area: &Area, seed: u64) -> Result<(u64, f64), Failure> {
    let ministry = Ministry::new(seed as u8, 1, 1);
    let mut world = World::new();
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let rights = Rights::of(&[Right::Carry]);
    world
        .add_certified(2, &ministry, area, rights, &mut rng)
        .map_err(failed)?;
    for (phone, set) in [(0, &sides.ours), (1, &sides.theirs)] {
        let store = &mut world
            .phones
            .get_mut(phone)
            .ok_or_else(|| failed("no phone"))?
            .store;
        for envelope in set {
            store.put_envelope(envelope, area).map_err(failed)?;
        }
    }
    let meeting = world.meet(0, 1, Cut::Never).map_err(failed)?;
    let [Some(summary), _] = meeting.summaries else {
        return Err(failed("the meeting did not end"));
    };
    Ok((summary.finding_bytes, f64::from(summary.turns) / 2.0))
}

/// Bytes and round trips of negentropy over ids in order of time, with as short words as ours for
/// what is then asked for.
fn negentropy(sides: &Sides) -> Result<(u64, f64), Failure> {
    let side = |set: &[&VerifiedEnvelope]| {
        let mut storage = NegentropyStorageVector::with_capacity(set.len());
        for (time, envelope) in (0..).zip(set) {
            storage
                .insert(time, Id::from_byte_array(envelope.id.0))
                .map_err(failed)?;
        }
        storage.seal().map_err(failed)?;
        Negentropy::owned(storage, 0).map_err(failed)
    };
    let (mut ours, mut theirs) = (side(&sides.ours)?, side(&sides.theirs)?);
    let mut message = ours.initiate().map_err(failed)?;
    let (mut bytes, mut trips) = (0, 0.0);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    loop {
        bytes += message.len();
        let answer = theirs.reconcile(&message).map_err(failed)?;
        bytes += answer.len();
        trips += 1.0;
        match ours
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .map_err(failed)?
        {
            Some(next) => message = next,
            None => {
                let asked = if need.is_empty() { 0.0 } else { 0.5 };
                return Ok((bytes as u64 + ASKED * need.len() as u64, trips + asked));
            }
        }
    }
}

/// Bytes of Automerge's sync protocol, document by document, without the changes themselves; each
/// needs its 16-byte name too.
fn automerge_sync(
    old: &[Resident],
    new: &[Resident],
    differ: Option<usize>,
) -> Result<u64, Failure> {
    let changed = differ.unwrap_or_default() / 2;
    let mut bytes = 0;
    for (i, case) in old.iter().enumerate() {
        let ours = case
            .changed
            .as_ref()
            .filter(|_| i < changed)
            .map_or(&case.before, |(now, _)| now);
        bytes += 16 + document_sync(ours, Some(&case.before).filter(|_| differ.is_some()))?;
    }
    for case in new.iter().take(differ.unwrap_or_default().div_ceil(2)) {
        bytes += 16 + document_sync(&case.before, None)?;
    }
    Ok(bytes)
}

fn document_sync(ours: &[u8], theirs: Option<&Vec<u8>>) -> Result<u64, Failure> {
    let load = |bytes: &[u8]| Automerge::load(bytes).map_err(failed);
    let (mut a, mut b) = (
        load(ours)?,
        theirs.map_or(Ok(AutoCommit::new().document().clone()), |t| load(t))?,
    );
    let (mut states, mut bytes) = ([State::new(), State::new()], 0);
    for _ in 0..10 {
        let [to_b, to_a] = &mut states;
        let (there, back) = (a.generate_sync_message(to_b), b.generate_sync_message(to_a));
        if there.is_none() && back.is_none() {
            break;
        }
        for (message, doc, state) in [(there, &mut b, &mut *to_a), (back, &mut a, &mut *to_b)] {
            let Some(message) = message else { continue };
            let changes: usize = message.changes.iter().map(|c| c.len()).sum();
            bytes += message.clone().encode().len().saturating_sub(changes) as u64;
            doc.receive_sync_message(state, message).map_err(failed)?;
        }
    }
    Ok(bytes)
}
