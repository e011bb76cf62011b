//! `kijiti bench cases`: a phone that holds very many sealed changes. What its running process
//! takes in memory, and how long its list of cases takes to open, beside what an application does
//! that opens every document.

use std::time::Instant;

use automerge::{AutoCommit, ReadDoc};
use clinical::{FindingValue, Urgency};
use node::api::Request;
use node::api::views::cases::Cases;
use node::host::folder::DataFolder;
use node::host::sqlite::SqliteStore;
use node::store::CaseRow;
use node::{CaseStore, EnvelopeStore};
use protocol::{Area, CaseId, DeviceKeys};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use record::{Case, Entry};
use serde_json::json;
use sync::SpaceKey;
use sync::envelope::{Contents, seal};

use crate::{Scene, failed, median};
use app::Failure;
use app::show::size;

/// Envelopes of one case: a first visit and follow-ups.
const ENVELOPES_PER_CASE: usize = 5;
/// Findings of a first visit.
const FINDINGS: u32 = 30;
/// Times that each list is opened.
const ROUNDS: usize = 5;
/// Changes of one transaction while the phone is filled.
const COMMIT_EVERY: usize = 5000;

/// Fills a phone and measures it.
pub fn run(envelopes: usize, seed: u64, as_json: bool) -> Result<(), Failure> {
    if !(100..=1_000_000).contains(&envelopes) {
        return Err(Failure::new(
            "too little or too much to measure",
            "choose 100 to 1000000 envelopes",
        )
        .with_code(2));
    }
    let scene = Scene::new("cases")?;
    let phone = scene.phone("clinic", None)?;
    let empty = resident(&phone)?;
    phone.stop();
    eprintln!(
        "making {envelopes} sealed changes of {} cases ...",
        envelopes / ENVELOPES_PER_CASE
    );
    let cases = fill(&phone.folder, envelopes, seed)?;
    phone.start()?;
    phone.have(Request::all_cases())?;
    let full = resident(&phone)?;
    let mut listed = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let list: Cases = phone.ask(Request::all_cases())?;
        listed.push(began.elapsed().as_secs_f64());
        let shown = list.cases.len();
        if shown != cases {
            return Err(failed(format!("{shown} of {cases} cases were listed")));
        }
    }
    phone.stop();
    let opened = open_all(&phone.folder)?;
    let listed = median(&mut listed);
    let report = json!({
        "schema": "kijiti.bench-cases/1", "envelopes": envelopes, "cases": cases,
        "memory_bytes": full, "memory_empty_bytes": empty, "list_s": listed, "open_every_document_s": opened,
        "ratio": opened / listed,
    });
    if as_json {
        println!("{report:#}");
        return Ok(());
    }
    println!("a phone that holds {envelopes} sealed changes of {cases} cases");
    println!(
        "  memory of the running phone   {} ({} when it held none)",
        size(full),
        size(empty)
    );
    println!(
        "  list of cases, as a screen asks for it   {:.0} ms",
        listed * 1e3
    );
    println!(
        "  opening every document instead           {:.0} ms: {:.1} times as long",
        opened * 1e3,
        opened / listed
    );
    Ok(())
}

/// Resident memory of a running phone.
fn resident(phone: &app::demo::process::Phone) -> Result<u64, Failure> {
    let id = phone
        .process()
        .ok_or_else(|| failed("the phone does not run"))?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).map_err(failed)?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    Ok(kib * 1024)
}

/// Writes cases and their envelopes as a phone does that has taken them in.
fn fill(folder: &std::path::Path, envelopes: usize, seed: u64) -> Result<usize, Failure> {
    let data = DataFolder::open(folder)?;
    let keys = data.keys()?;
    let mut store = SqliteStore::open(data.path(), &keys)?;
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let area = Area::parse("north/kilifi").map_err(failed)?;
    let key = SpaceKey::new(area.clone(), [5; 32]);
    store.put_space_key(&key)?;
    let cases = envelopes / ENVELOPES_PER_CASE;
    for n in 0..cases {
        one_case(&mut store, &keys, (&key, &area), &mut rng)?;
        if n % (COMMIT_EVERY / ENVELOPES_PER_CASE) == 0 {
            store.commit()?;
        }
    }
    store.commit()?;
    Ok(cases)
}

fn one_case(
    store: &mut SqliteStore,
    keys: &DeviceKeys,
    (key, area): (&SpaceKey, &Area),
    rng: &mut ChaCha20Rng,
) -> Result<(), Failure> {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let mut case = Case::new(CaseId(id));
    for visit in 0..ENVELOPES_PER_CASE as u32 {
        let names = if visit == 0 {
            0..FINDINGS
        } else {
            FINDINGS * visit..FINDINGS * visit + 2
        };
        let finding = |n: u32| Entry::Finding {
            name: format!("finding_{n}"),
            value: FindingValue::Number(f64::from(n)),
        };
        let entries: Vec<_> = names.map(finding).collect();
        let changes = case
            .add(&entries, keys, &id, 1_800_000_000)
            .map_err(failed)?;
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let contents = Contents {
            case: CaseId(id),
            changes: changes.into_iter().map(Into::into).collect(),
        };
        let envelope = seal(&contents, key, Urgency::Yellow, keys, nonce).map_err(failed)?;
        store.put_envelope(&envelope, area)?;
    }
    let row = CaseRow {
        id: CaseId(id),
        area: area.clone(),
        title: "Amina Kazungu, Mtwapa".into(),
        urgency: Some(Urgency::Yellow),
        changed_s: 1_800_000_000,
        entries: u64::from(FINDINGS) + 2 * (ENVELOPES_PER_CASE as u64 - 1),
        questions: 0,
        tags: vec![key.case_tag(&CaseId(id))],
    };
    Ok(store.put_case(&row, &case.save())?)
}

/// Seconds to open every document with Automerge alone and read how many entries it has.
fn open_all(folder: &std::path::Path) -> Result<f64, Failure> {
    let data = DataFolder::open(folder)?;
    let store = SqliteStore::open(data.path(), &data.keys()?)?;
    let rows = store.cases()?;
    let began = Instant::now();
    let mut entries = 0;
    for row in &rows {
        let document = store
            .case(&row.id)?
            .ok_or_else(|| failed("a case without a document"))?;
        entries += AutoCommit::load(&document)
            .map_err(failed)?
            .length(automerge::ROOT);
    }
    let seconds = began.elapsed().as_secs_f64();
    if entries < rows.len() {
        Err(failed("documents without entries"))
    } else {
        Ok(seconds)
    }
}
