//! A bundle put together from couriers who each hold a random third, while links are cut and
//! processes killed: what every piece of it costs, and that none is lost. Real processes, real
//! files, a link held to a rate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use distribution::tree;
use node::api::Request;
use protocol::Digest;
use protocol::limits::GROUP_BYTES;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::medium::{Medium, Shape};
use crate::places::{Place, between};
use crate::{Scene, failed};
use app::Failure;
use app::demo::process::Phone;

const COURIERS: u8 = 7;
const BYTES_PER_S: f64 = 3e6;
/// What may be on its way when a link ends: the air's queue, and a piece of which the rest is
/// missing.
const CUT_BYTES_MAX: u64 = 128 * 1024;

/// How often, and with what randomness.
#[derive(Debug, Clone, Copy)]
pub struct Harm {
    /// Links cut.
    pub cuts: u32,
    /// Processes killed.
    pub kills: u32,
    /// Seed of the thirds and of the moments.
    pub seed: u64,
}

/// Puts a bundle of so many megabytes together.
pub fn run(megabytes: u64, harm: Harm, json: bool) -> Result<(), Failure> {
    if !(1..=500).contains(&megabytes) || harm.cuts + harm.kills > 1000 {
        let hint = "choose 1 to 500 MB and at most 1000 cuts and kills";
        return Err(Failure::new("too little or too much to measure", hint).with_code(2));
    }
    between(COURIERS + 1, |places| {
        Town::new(places, megabytes * 1_000_000, harm.seed)?.assemble(harm, json)
    })
}

struct Town<'a> {
    /// Its folder goes with it.
    _scene: Scene,
    places: &'a [Place],
    medium: Medium,
    receiver: Phone,
    couriers: Vec<Phone>,
    bytes: u64,
    digest: Digest,
    tree: Vec<u8>,
    rng: ChaCha8Rng,
}

impl<'a> Town<'a> {
    fn new(places: &'a [Place], bytes: u64, seed: u64) -> Result<Self, Failure> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scene = Scene::new("couriers")?;
        let bundle = scene.random_file(bytes)?;
        let data = std::fs::read(&bundle).map_err(failed)?;
        let (digest, tree) = (Digest::of(&data), tree::tree_list(&data));
        let (here, others) = places.split_first().ok_or_else(|| failed("no places"))?;
        let receiver = scene.phone("receiver", Some(here))?;
        let numbered = others.iter().enumerate();
        let couriers = numbered.map(|(i, p)| scene.phone(&format!("courier {i}"), Some(p)));
        let couriers = couriers.collect::<Result<Vec<_>, _>>()?;
        for phone in couriers.iter().chain([&receiver]) {
            scene.publish_list(phone, &bundle)?;
        }
        // Each group with a third of them, and with one at least.
        let mut thirds: Vec<Vec<u64>> = vec![Vec::new(); couriers.len()];
        for group in 0..tree::group_count(bytes) {
            let sure = rng.random_range(0..couriers.len());
            for (i, third) in thirds.iter_mut().enumerate() {
                if i == sure || rng.random_range(0..9) < 2 {
                    third.push(group);
                }
            }
        }
        for (courier, third) in couriers.iter().zip(&thirds) {
            courier.stop();
            let mut part = vec![0; data.len()];
            for group in third {
                let from = (group * GROUP_BYTES) as usize;
                let to = from + tree::group_bytes(bytes, *group) as usize;
                if let (Some(room), Some(held)) = (part.get_mut(from..to), data.get(from..to)) {
                    room.copy_from_slice(held);
                }
            }
            let folder = courier.folder.join("bundles");
            std::fs::write(folder.join(format!("{digest}.part")), part).map_err(failed)?;
            std::fs::write(folder.join(format!("{digest}.tree")), &tree).map_err(failed)?;
            courier.start()?;
        }
        let shape = Shape {
            bytes_per_s: BYTES_PER_S,
            delay: Duration::from_millis(5),
            loss: 0.0,
            shared: true,
        };
        let medium = Medium::new(shape)?;
        Ok(Self {
            _scene: scene,
            places,
            medium,
            receiver,
            couriers,
            bytes,
            digest,
            tree,
            rng,
        })
    }

    fn path(&self, end: &str) -> PathBuf {
        self.receiver
            .folder
            .join("bundles")
            .join(format!("{}{end}", self.digest))
    }

    /// Groups in the receiver's files that are what was signed.
    fn held(&self) -> Result<u64, Failure> {
        let data = std::fs::read(self.path(""))
            .or_else(|_| std::fs::read(self.path(".part")))
            .unwrap_or_default();
        let count = tree::group_count(self.bytes);
        let right = |(i, hash): &(u64, &[u8; 32])| {
            let from = (i * GROUP_BYTES) as usize;
            let group = data.get(from..from + tree::group_bytes(self.bytes, *i) as usize);
            group.is_some_and(|group| tree::group_hash(group, *i, count) == **hash)
        };
        Ok((0..count)
            .zip(self.tree.as_chunks::<32>().0)
            .filter(right)
            .count() as u64)
    }

    /// Whether the bundle has its final name; it may have it only when it is right.
    fn whole(&self) -> Result<bool, Failure> {
        match std::fs::read(self.path("")) {
            Err(_) => Ok(false),
            Ok(data) if Digest::of(&data) == self.digest => Ok(true),
            Ok(_) => Err(failed(
                "a file that is not what was signed has a final name",
            )),
        }
    }

    fn assemble(mut self, harm: Harm, json: bool) -> Result<(), Failure> {
        let began = Instant::now();
        let events = (harm.cuts + harm.kills).max(1);
        let step = self.bytes as f64 / BYTES_PER_S / f64::from(events);
        let (mut cuts, mut kills, mut meetings, mut shrunk) = (0, 0, 0u32, 0);
        while !self.whole()? {
            if began.elapsed() > Duration::from_secs(600) {
                return Err(failed("it did not come together in ten minutes"));
            }
            let gateway = self
                .places
                .first()
                .ok_or_else(|| failed("no places"))?
                .gateway;
            let courier = self
                .couriers
                .choose(&mut self.rng)
                .ok_or_else(|| failed("no couriers"))?
                .clone();
            let (peer, address) = courier.address()?;
            let address: SocketAddr = address.parse().map_err(failed)?;
            let path = self.medium.path(gateway, address)?;
            let request = Request::Meet {
                peer,
                address: path.to_string(),
            };
            let caller = self.receiver.clone();
            meetings += 1;
            let meeting =
                std::thread::spawn(move || caller.ask_once(&request, &mut |_| {}).is_ok());
            // Time enough to greet, and then any moment: about as many harms as were asked for fit
            // the whole.
            let patience = Duration::from_secs_f64(0.1 + step * self.rng.random_range(0.0..2.0));
            let until = Instant::now()
                + if cuts + kills < events {
                    patience
                } else {
                    Duration::from_secs(60)
                };
            while Instant::now() < until && !meeting.is_finished() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if meeting.is_finished() {
                continue;
            }
            let kill =
                kills < harm.kills && (cuts >= harm.cuts || self.rng.random_range(0..3) == 0);
            if !kill {
                cuts += 1;
                self.medium.cut(path); // and the receiver calls somebody else
            } else {
                let victim = if self.rng.random_range(0..2) == 0 {
                    &self.receiver
                } else {
                    &courier
                };
                kills += u32::from(victim.kill());
                let held = self.held()?;
                victim.start()?;
                shrunk += u32::from(self.held()? < held);
            }
            // A meeting that was cut ends when the other's silence is noticed; nobody waits for it
            // here.
            drop(meeting);
        }
        let count = tree::group_count(self.bytes);
        let air = self.medium.inward();
        let held = self.held()?;
        let (share, seconds) = (
            air as f64 / self.bytes as f64,
            began.elapsed().as_secs_f64(),
        );
        if json {
            println!(
                "{}",
                json!({ "schema": "kijiti.bench-couriers/1", "bytes": self.bytes, "cuts": cuts, "kills": kills,
                "meetings": meetings, "seconds": seconds, "bytes_to_receiver": air, "groups_lost": shrunk })
            );
        } else {
            println!(
                "{} MB from {COURIERS} couriers with a third each, {meetings} meetings,",
                self.bytes / 1_000_000
            );
            println!("{cuts} links cut and {kills} processes killed: whole after {seconds:.0} s");
            println!(
                "groups right on disk    {held} of {count}; kills after which any was gone: {shrunk}"
            );
            println!(
                "bytes to the receiver   {air} ({:.2} x the bundle: headers, hellos, and what was on its way when cut)",
                share
            );
        }
        let allowed =
            self.bytes as f64 * 1.02 * 1.1 + f64::from(cuts + kills) * CUT_BYTES_MAX as f64;
        match shrunk == 0 && air as f64 <= allowed {
            true => Ok(()),
            false => Err(failed("pieces that were here were lost, or fetched again")),
        }
    }
}

impl Drop for Town<'_> {
    fn drop(&mut self) {
        for phone in self.couriers.iter().chain([&self.receiver]) {
            phone.kill();
        }
    }
}
