//! Phones in one room on one medium, as real processes: a supervisor brings a release, and
//! everybody wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use node::api::Request;
use serde_json::json;

use crate::medium::{Medium, Shape};
use crate::places::{Place, between};
use crate::{Scene, failed};
use app::Failure;
use app::demo::process::Phone;

/// How much longer than perfect is waited for.
const PATIENCE: f64 = 6.0;

/// So many phones, the first of which has the release, all meeting each other at once.
pub fn run(phones: usize, megabytes: f64, megabytes_per_s: f64, json: bool) -> Result<(), Failure> {
    if !(2..=32).contains(&phones)
        || !(0.1..=200.0).contains(&megabytes)
        || !(0.1..=50.0).contains(&megabytes_per_s)
    {
        let hint = "choose 2 to 32 phones, 0.1 to 200 MB and 0.1 to 50 MB/s";
        return Err(Failure::new("too little or too much to measure", hint).with_code(2));
    }
    between(phones as u8, |places| {
        meet(places, megabytes, megabytes_per_s, json)
    })
}

fn meet(places: &[Place], megabytes: f64, megabytes_per_s: f64, json: bool) -> Result<(), Failure> {
    let phones = places.len();
    let scene = Scene::new("room")?;
    let bytes = (megabytes * 1e6) as u64;
    let bytes_per_s = megabytes_per_s * 1e6;
    let numbered = places.iter().enumerate();
    let all = numbered
        .map(|(i, p)| scene.phone(&format!("phone {i}"), Some(p)))
        .collect::<Result<Vec<_>, _>>()?;
    let bundle = scene.random_file(bytes)?;
    let digest = protocol::Digest::of(&std::fs::read(&bundle).map_err(failed)?).to_string();
    let first = all.first().ok_or_else(|| failed("no phones"))?;
    scene.publish(first, &bundle)?;
    let shape = Shape {
        bytes_per_s,
        delay: Duration::from_millis(2),
        loss: 0.0,
        shared: true,
    };
    let medium = Medium::new(shape)?;
    let perfect = bytes as f64 * (phones - 1) as f64 / bytes_per_s;
    let mut calls = Vec::new();
    for (at, phone) in all.iter().enumerate() {
        let (peer, address) = phone.address()?;
        let address: SocketAddr = address.parse().map_err(failed)?;
        for (caller, place) in all.iter().zip(places).skip(at + 1) {
            let address = medium.path(place.gateway, address)?.to_string();
            let request = Request::Meet { peer, address };
            calls.push((caller.clone(), phone.clone(), request));
        }
    }
    let began = Instant::now();
    let holds = |phone: &Phone| phone.folder.join("bundles").join(&digest).is_file();
    let over = Arc::new(AtomicBool::new(false));
    for (caller, other, request) in calls {
        // Neighbours that hear of each other call again while one of them lacks something, as
        // `start` does by its beacons.
        let (over, digest) = (over.clone(), digest.clone());
        std::thread::spawn(move || {
            let lacks = |phone: &Phone| !phone.folder.join("bundles").join(&digest).is_file();
            while !over.load(Ordering::Relaxed) && (lacks(&caller) || lacks(&other)) {
                let _ = caller.ask_once(&request, &mut |_| {});
                std::thread::sleep(Duration::from_secs(2));
            }
        });
    }
    let mut whole = 0;
    while whole < phones && began.elapsed().as_secs_f64() < perfect * PATIENCE + 30.0 {
        std::thread::sleep(Duration::from_millis(100));
        let now = all.iter().filter(|phone| holds(phone)).count();
        if now > whole {
            whole = now;
            eprintln!(
                "{whole} of {phones} phones hold it after {:.0} s",
                began.elapsed().as_secs_f64()
            );
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    if whole < phones {
        return Err(failed(format!(
            "only {whole} of {phones} phones hold the release after {seconds:.0} s"
        )));
    }
    let ratio = seconds / perfect;
    if json {
        println!(
            "{}",
            json!({ "schema": "kijiti.bench-room/1", "phones": phones, "bytes": bytes, "bytes_per_s": bytes_per_s,
            "seconds": seconds, "perfect_seconds": perfect, "ratio": ratio })
        );
    } else {
        println!("{phones} phones, {megabytes} MB, one medium of {megabytes_per_s} MB/s:");
        println!("all hold it after  {seconds:>6.0} s");
        println!(
            "perfect swarming   {perfect:>6.0} s  (each byte once to each phone, nothing else on the air)"
        );
        println!("ratio              {ratio:>6.2}");
    }
    Ok(())
}
