//! A clinic's phone under attack of many strangers and of one hostile insider of each rank, as
//! processes and over real links: it keeps meeting its colleague, keeps every word that it
//! acknowledged, and starts again. Its memory and descriptors are looked at meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use node::api::Request;
use node::api::views::case::CaseNew;
use node::api::views::cases::Cases;
use node::api::views::status::Granted;
use node::host::rogue::{Rogue, besiege};
use node::host::sealing_public_key;
use protocol::certificate::CertificateRequest;
use protocol::{Area, Chain, DeviceId, DeviceKeys, Digest, Frame, Signed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use sim::insider::{Insider, Rank};

use crate::{Scene, failed, passphrase};
use app::Failure;
use app::demo::process::Phone;
use app::show;
use desk::enrol::EnrolmentDesk;

/// What the phone may take while it is attacked.
const MEMORY_MAX: u64 = 100_000_000;
/// See [`MEMORY_MAX`].
const DESCRIPTORS_MAX: usize = 128;
const AREA: &str = "north/kilifi";

/// Besieges a clinic's phone for so long.
pub fn run(strangers: u32, seconds: u64, seed: u64, json: bool) -> Result<(), Failure> {
    if strangers > 1000 || !(5..=3600).contains(&seconds) {
        return Err(Failure::new(
            "too much to try",
            "at most 1000 strangers, 5 to 3600 seconds",
        )
        .with_code(2));
    }
    let scene = Scene::new("siege")?;
    let (clinic, _) = scene.phone_as("clinic", None, AREA, "carry,read,write,grant")?;
    let (worker, chain) =
        scene.phone_as("worker", None, "north/kilifi/mtwapa", "carry,read,write")?;
    clinic.have(Request::SpaceCreate {
        area: Area::parse(AREA).map_err(failed)?,
    })?;
    grant(&clinic, &worker, chain)?;
    let rogues = rogues(&scene, &clinic, strangers, seed)?;
    let (peer, address) = clinic.address()?;
    let (peer, address): (DeviceId, SocketAddr) = (peer, address.parse().map_err(failed)?);
    let stop = Arc::new(AtomicBool::new(false));
    let siege = {
        let stop = stop.clone();
        std::thread::spawn(move || besiege(rogues, peer, address, &stop))
    };
    let mut seen = Seen::default();
    let began = Instant::now();
    let outcome = (|| {
        while began.elapsed() < Duration::from_secs(seconds) {
            seen.write(&worker)?;
            if worker.meet(&clinic, &mut |_| {}).is_ok() {
                seen.met += 1;
            }
            seen.look(&clinic);
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok::<(), Failure>(())
    })();
    stop.store(true, Ordering::Relaxed);
    let calls = siege
        .join()
        .map_err(|_| failed("the attackers' thread has ended"))??;
    outcome?;
    clinic.kill();
    clinic.start()?;
    worker.meet(&clinic, &mut |_| {})?;
    let list: Cases = clinic.ask(Request::all_cases())?;
    let held: Vec<_> = list
        .cases
        .iter()
        .map(|case| case.case.to_string())
        .collect();
    let lost = seen.cases.iter().filter(|id| !held.contains(id)).count();
    [&clinic, &worker].into_iter().for_each(Phone::stop);
    let report = json!({ "schema": "kijiti.siege/1", "strangers": strangers, "insiders": Rank::ALL.len() - 1, "seconds": seconds,
        "calls": calls, "meetings": seen.met, "memory_max_bytes": seen.memory, "descriptors_max": seen.descriptors,
        "cases": seen.cases.len(), "lost": lost });
    if json {
        app::say::json(&format!("{report:#}"));
    } else {
        println!(
            "{calls} calls by {strangers} strangers and an insider of each rank, in {seconds} s"
        );
        println!("  meetings with the colleague  {}", seen.met);
        println!("  most memory                  {}", show::size(seen.memory));
        println!("  most descriptors             {}", seen.descriptors);
        println!(
            "  acknowledged cases           {}, {lost} lost",
            seen.cases.len()
        );
        println!("  started again after a kill   yes");
    }
    let broken = [
        (seen.met == 0, "the colleague was never met"),
        (lost > 0, "acknowledged cases are lost"),
        (seen.memory > MEMORY_MAX, "the phone took more than 100 MB"),
        (
            seen.descriptors >= DESCRIPTORS_MAX,
            "the phone took 128 descriptors or more",
        ),
    ];
    match broken.iter().find(|(broken, _)| *broken) {
        Some((_, what)) => Err(Failure::new(*what, "see the figures above")),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Seen {
    met: u32,
    memory: u64,
    descriptors: usize,
    cases: Vec<String>,
}

impl Seen {
    /// The worker writes a case, and it is acknowledged.
    fn write(&mut self, worker: &Phone) -> Result<(), Failure> {
        let made: CaseNew = worker.ask(Request::CaseNew {
            findings: r#"{"age_months": 20, "convulsions": "yes"}"#.into(),
            profile: clinical::Profile::Iccm,
            head: Vec::new(),
            consent: vec![("share".into(), true)],
            area: None,
            decision: None,
            request: app::run::request_number()?,
        })?;
        self.cases.push(made.case.to_string());
        Ok(())
    }

    fn look(&mut self, phone: &Phone) {
        let Some(process) = phone.process() else {
            return;
        };
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        self.memory = self.memory.max(resident.unwrap_or(0) * 1024);
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        self.descriptors = self.descriptors.max(open);
    }
}

fn grant(clinic: &Phone, to: &Phone, chain: String) -> Result<(), Failure> {
    let granted: Granted = clinic.ask(Request::SpaceGrant {
        area: Area::parse(AREA).map_err(failed)?,
        chain,
    })?;
    let grants = vec![(granted.grant, granted.issuer.unwrap_or_default())];
    to.have(Request::EnrolAccept {
        roots: Vec::new(),
        chain: None,
        grants,
        certificates: Vec::new(),
    })
}

/// Strangers who are silent, say junk, or begin and never end; and an insider of each rank that
/// says hostile frames.
fn rogues(scene: &Scene, clinic: &Phone, strangers: u32, seed: u64) -> Result<Vec<Rogue>, Failure> {
    let root = desk::draft::load_root(&scene.keys.join("root.json"))?;
    let (clinic, _) = clinic.address()?;
    let keys_of =
        |n: u64| DeviceKeys::from_seed(*blake(seed, n).first_chunk::<32>().unwrap_or(&[1; 32]));
    let insider = |rank: Rank, n: u64| -> Result<Insider, Failure> {
        let keys = keys_of(n);
        let mut chain = None;
        if let Some(rights) = rank.rights() {
            let request =
                CertificateRequest::of(&keys, sealing_public_key(&keys), rank.name().into());
            let (request, rights) = (Signed::by(&request, &keys), rights.to_string());
            let desk = EnrolmentDesk::open(&scene.keys, None, &passphrase)?;
            let file = desk.certify(&request, AREA, (&rights, ""), None)?.done()?;
            let bytes = desk::files::unhex("chain", &file.chain.unwrap_or_default())?;
            chain = Some(Chain::from_bytes(&bytes).map_err(failed)?);
        }
        let area = Area::parse(AREA).map_err(failed)?;
        let bundles = vec![(Digest::of(b"a release"), 9)];
        let chains = chain.clone().into_iter().collect();
        Ok(Insider {
            keys,
            chain,
            root: root.clone(),
            area,
            key: None,
            bundles,
            chains,
            others: vec![clinic],
            long: 1,
        })
    };
    let seed_of = |n: u64| *blake(seed, n).first_chunk::<32>().unwrap_or(&[1; 32]);
    let mut rogues = Vec::new();
    for n in 0..u64::from(strangers) {
        let stranger = insider(Rank::Stranger, n)?;
        let opening: Vec<u8> = stranger
            .opening()
            .iter()
            .flat_map(Frame::to_bytes)
            .collect();
        let says = move |call: u64| match (n + call) % 4 {
            0 => Vec::new(),
            1 => opening
                .get(..opening.len() / 2)
                .unwrap_or_default()
                .to_vec(),
            2 => [opening.as_slice(), &[0xff; 64]].concat(),
            _ => vec![0x55; 3000],
        };
        rogues.push(Rogue {
            seed: seed_of(n),
            says: Box::new(says),
        });
    }
    for (n, rank) in Rank::ALL
        .into_iter()
        .enumerate()
        .filter(|(_, rank)| *rank != Rank::Stranger)
    {
        let number = 1_000_000 + n as u64;
        let insider = insider(rank, number)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ number);
        let says = move |_| {
            let frames: Vec<_> = (0..6).map(|_| insider.frame(&mut rng)).collect();
            insider
                .opening()
                .iter()
                .chain(&frames)
                .flat_map(Frame::to_bytes)
                .collect()
        };
        rogues.push(Rogue {
            seed: seed_of(number),
            says: Box::new(says),
        });
    }
    Ok(rogues)
}

/// Bytes that follow from two numbers.
fn blake(seed: u64, n: u64) -> Vec<u8> {
    Digest::of(&[seed.to_le_bytes(), n.to_le_bytes()].concat())
        .0
        .to_vec()
}
