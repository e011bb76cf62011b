//! Cases go out as files and come in again, twice, on two phones that also meet: they are the same cases, nobody
//! is there twice, and every dose counts once. `CASES` says how many (60; the night takes 1,000).

#![allow(clippy::disallowed_methods)] // the environment may say how many

use std::collections::BTreeMap;

use clinical::catalogue::{FIELDS, Kind, Merge};
use clinical::{FindingValue, Profile};
use node::api::views::case::{Case, CaseNew};
use node::api::views::cases::Cases;
use node::api::views::status::Certificates;
use node::api::{CaseWords, Format, Request, RequestId, exchange};
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sim::screen::Screen;
use sim::{Cut, World};

mod common;
use common::asks::world;
use common::{CLINIC, WORKER};

fn cases() -> u64 {
    let asked = std::env::var("CASES").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(60)
}

fn number(rng: &mut ChaCha20Rng) -> RequestId {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    RequestId(id)
}

/// Words with whatever breaks tables, quotes, terminals and spreadsheets.
const WORDS: [&str; 12] = [
    "Amina Kazungu",
    "O'Brien \"Pat\"",
    "=1+1",
    "semi;colon, comma",
    "ሰላም",
    "علي",
    "two\nlines",
    "a\ttab",
    "-5",
    "not known",
    " spaces ",
    "née Ngũgĩ 🌍",
];

fn any<T: Copy>(rng: &mut ChaCha20Rng, of: &[T]) -> T {
    of[rng.next_u32() as usize % of.len()]
}

/// A value that a person could type.
fn typed(rng: &mut ChaCha20Rng, kind: Kind) -> String {
    match kind {
        Kind::Flag => any(rng, &["yes", "no", "unknown"]).to_owned(),
        Kind::Number(least, most, _) => {
            let share = f64::from(rng.next_u32()) / f64::from(u32::MAX);
            format!("{:.1}", (least + share * (most - least)).clamp(least, most))
        }
        Kind::Choice(of) => any(rng, of).to_owned(),
        Kind::Text => any(rng, &WORDS).to_owned(),
        Kind::Date => format!(
            "20{:02}-{:02}-{:02}",
            rng.next_u32() % 26,
            1 + rng.next_u32() % 12,
            1 + rng.next_u32() % 28
        ),
    }
}

/// Begins a case of somebody, with doses and notes.
fn begin(screen: &mut Screen, rng: &mut ChaCha20Rng, n: u64) -> String {
    let age = (6 + rng.next_u32() % 60).to_string();
    let mut fields = vec![
        (
            "patient.name".to_owned(),
            format!("{} {n}", any(rng, &WORDS).trim()),
        ),
        ("age_years".to_owned(), age),
    ];
    for field in FIELDS {
        let own = field.name.starts_with("age_") || field.name == "patient.name";
        let never = own || field.merge == Merge::Consent || field.name.starts_with("picture.");
        if !never && rng.next_u32().is_multiple_of(4) {
            fields.push((field.name.to_owned(), typed(rng, field.kind)));
        }
    }
    let consent =
        ["care", "photo", "training"].map(|to| (to.to_owned(), rng.next_u32().is_multiple_of(2)));
    let request = Request::CaseBegin {
        fields: fields.clone(),
        profile: Profile::Iccm,
        consent: consent
            .into_iter()
            .chain([("share".to_owned(), true)])
            .collect(),
        area: None,
        decision: None,
        request: number(rng),
    };
    let new: CaseNew = screen
        .ask(request)
        .unwrap_or_else(|e| panic!("{e:?}: {fields:?}"));
    let case = new.case.to_string();
    for _ in 0..rng.next_u32() % 4 {
        let dose = any(
            rng,
            &["amoxicillin 250 mg", "zinc 20 mg", "paracetamol 500 mg"],
        );
        let words = CaseWords {
            dose: Some(dose.to_owned()),
            note: Some(any(rng, &WORDS).to_owned()),
            ..CaseWords::default()
        };
        let add = Request::CaseAdd {
            case: case.clone(),
            words: Box::new(words),
            request: number(rng),
        };
        screen.ask::<Case>(add).unwrap();
    }
    case
}

/// What has to come back: findings, doses by medicine, notes.
type Told = (
    BTreeMap<String, FindingValue>,
    Vec<(String, String)>,
    Vec<String>,
);

fn told(world: &mut World, phone: usize, case: &str) -> Told {
    let shown: Case = Screen::at(world, phone)
        .ask(Request::CaseShow {
            case: case.to_owned(),
        })
        .unwrap();
    let findings = shown.findings.into_iter().map(|(name, f)| (name, f.value));
    let doses = shown.doses.iter().map(|d| {
        (
            d.medicine.clone(),
            format!("{} {} in {}", d.amount, d.unit, d.times),
        )
    });
    let mut notes: Vec<_> = shown.notes.into_iter().map(|n| n.note).collect();
    // What an import says of itself: that it was one, and who had said what.
    notes.retain(|note| !note.starts_with("taken in from a") && !note.contains(" had said: "));
    notes.sort();
    notes.dedup();
    (findings.collect(), doses.collect(), notes)
}

fn count(world: &mut World, phone: usize) -> usize {
    let all: Cases = Screen::at(world, phone).ask(Request::all_cases()).unwrap();
    all.cases.len()
}

/// Cases as a file, an archive for the phone that reads it.
fn exported(world: &mut World, from: usize, to: usize, format: Format) -> Vec<u8> {
    if format != Format::Archive {
        let out = exchange::export(&mut Screen::at(world, from), &[], format, None);
        return out.unwrap().bytes;
    }
    let all: Certificates = Screen::at(world, to).ask(Request::Certificates).unwrap();
    all.chains
        .iter()
        .filter_map(|chain| {
            let sealed = exchange::export(&mut Screen::at(world, from), &[], format, Some(chain));
            let sealed = sealed.ok()?.bytes;
            let opened =
                exchange::import(&mut Screen::at(world, to), format, &sealed, (None, true));
            opened.ok().map(|_| sealed)
        })
        .next()
        .unwrap()
}

/// Writes each case into the folder `EXPORTS`, for whoever judges files of this form.
fn keep(world: &mut World, format: Format, ids: &[String]) {
    let Some(folder) =
        std::env::var_os("EXPORTS").filter(|_| matches!(format, Format::Fhir | Format::Ips))
    else {
        return;
    };
    for id in ids {
        let mut screen = Screen::at(world, WORKER);
        let out = exchange::export(&mut screen, std::slice::from_ref(id), format, None).unwrap();
        let file = std::path::Path::new(&folder).join(format!("{format:?}-{id}.json"));
        std::fs::write(file, out.bytes).unwrap();
    }
}

fn round_trip(format: Format) {
    let mut world = world();
    let mut rng = ChaCha20Rng::from_seed([format as u8 + 7; 32]);
    let ids: Vec<_> = (0..cases())
        .map(|n| begin(&mut Screen::at(&mut world, WORKER), &mut rng, n))
        .collect();
    let before: Vec<_> = ids.iter().map(|id| told(&mut world, WORKER, id)).collect();
    let send = |world: &mut World, from: usize, to: usize| {
        let out = exported(world, from, to, format);
        let mut screen = Screen::at(world, to);
        let dry = exchange::import(&mut screen, format, &out, (None, true)).unwrap();
        let first = exchange::import(&mut screen, format, &out, (None, false)).unwrap();
        assert_eq!(
            (dry.new, dry.added_to, dry.unchanged),
            (first.new, first.added_to, first.unchanged),
            "a dry run says what is done"
        );
        let again = exchange::import(&mut screen, format, &out, (None, false)).unwrap();
        assert_eq!(
            (again.new, again.added_to),
            (0, 0),
            "{format:?}: {:?}",
            again.left_out
        );
        first
    };
    keep(&mut world, format, &ids);
    let first = send(&mut world, WORKER, CLINIC);
    assert_eq!(first.new, ids.len(), "{:?}", first.left_out);
    assert_eq!(count(&mut world, CLINIC), ids.len());
    for _ in 0..2 {
        world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    for (id, before) in ids.iter().zip(&before) {
        for phone in [WORKER, CLINIC] {
            let now = told(&mut world, phone, id);
            assert_eq!(now.0, before.0, "{format:?}: findings of {id} on {phone}");
            assert_eq!(now.1, before.1, "{format:?}: doses of {id} on {phone}");
            assert_eq!(now.2, before.2, "{format:?}: notes of {id} on {phone}");
        }
    }
    // Back again by file, and by meeting.
    let back = send(&mut world, CLINIC, WORKER);
    assert_eq!(back.new, 0, "{:?}", back.left_out);
    for _ in 0..2 {
        world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    }
    for (id, before) in ids.iter().zip(&before) {
        assert_eq!(&told(&mut world, CLINIC, id), before, "{format:?}: {id}");
    }
}

#[test]
fn as_fhir() {
    round_trip(Format::Fhir);
}

#[test]
fn as_fhir_summaries() {
    round_trip(Format::Ips);
}

#[test]
fn as_an_archive() {
    round_trip(Format::Archive);
}

#[test]
fn as_a_table() {
    round_trip(Format::Csv);
}

/// The same cases as a table and as bundles, in either order: nobody is there twice, and no dose counts twice.
#[test]
fn as_one_form_after_the_other() {
    for forms in [
        [Format::Csv, Format::Fhir],
        [Format::Fhir, Format::Csv],
        [Format::Ips, Format::Fhir],
        [Format::Csv, Format::Ips],
    ] {
        let mut world = world();
        let mut rng = ChaCha20Rng::from_seed([forms[0] as u8 + 7 * forms[1] as u8 + 70; 32]);
        let ids: Vec<_> = (0..cases().min(40))
            .map(|n| begin(&mut Screen::at(&mut world, WORKER), &mut rng, n))
            .collect();
        for (n, form) in forms.into_iter().enumerate() {
            let out = exported(&mut world, WORKER, CLINIC, form);
            let mut screen = Screen::at(&mut world, CLINIC);
            let came = exchange::import(&mut screen, form, &out, (None, false)).unwrap();
            let new = if n == 0 { ids.len() } else { 0 };
            assert_eq!(came.new, new, "{forms:?}: {:?}", came.left_out);
        }
        assert_eq!(count(&mut world, CLINIC), ids.len());
        for _ in 0..2 {
            world.meet(WORKER, CLINIC, Cut::Never).unwrap();
        }
        for id in &ids {
            let [here, there] = [WORKER, CLINIC].map(|phone| told(&mut world, phone, id));
            assert_eq!((&here.0, &here.1), (&there.0, &there.1), "{forms:?}: {id}");
        }
    }
}
