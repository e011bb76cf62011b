//! Measurements, each beside what one would use instead, in one run on one machine, as a ratio.

pub mod delta;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use iroh::endpoint::VarInt;
use node::host::{Failure, Request, control, links};
use protocol::DeviceId;
use serde_json::json;

use crate::demo::process::{Phone, Phones};
use crate::{ministry, show};

fn failed(e: impl ToString) -> Failure {
    Failure::new(e, "see that loopback works and the temporary folder has room")
}

/// A bundle between two real processes, verified and durable, beside a bare iroh stream of as many bytes between two processes.
pub fn link(megabytes: u64, rounds: u32, json: bool) -> Result<(), Failure> {
    if !(1..=2000).contains(&megabytes) || !(1..=50).contains(&rounds) {
        return Err(
            Failure::new("too little or too much to measure", "choose 1 to 2000 MB and 1 to 50 rounds").with_code(2)
        );
    }
    let bytes = megabytes * 1_000_000;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        bare.push(bare_round(bytes)?);
        ours.push(bundle_round(bytes, round)?);
        eprintln!(
            "round {}: bare stream {:.0} MB/s, bundle {:.0} MB/s",
            round + 1,
            bare.last().unwrap_or(&0.0),
            ours.last().unwrap_or(&0.0)
        );
    }
    let mut ratios: Vec<_> = bare.iter().zip(&ours).map(|(bare, ours)| ours / bare).collect();
    let (bare, ours, ratio) = (median(&mut bare), median(&mut ours), median(&mut ratios));
    if json {
        println!(
            "{}",
            json!({ "schema": "kijiti.bench-link/1", "megabytes": megabytes, "rounds": rounds,
            "bare_mb_per_s": bare, "bundle_mb_per_s": ours, "ratio": ratio })
        );
    } else {
        println!("bare iroh stream   {bare:>6.0} MB/s  ({megabytes} MB, median of {rounds})");
        println!("bundle, verified   {ours:>6.0} MB/s  (whole meeting: hello, pieces, digest, disk)");
        println!("ratio              {ratio:>6.2}      (median of the rounds' own ratios)");
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// This process sends, another receives and throws away.
fn bare_round(bytes: u64) -> Result<f64, Failure> {
    let exe = std::env::current_exe().map_err(failed)?;
    let mut child = std::process::Command::new(exe)
        .args(["bench", "bare-receiver"])
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let result = send_bare(&mut child, bytes);
    let _ = child.kill();
    let _ = child.wait();
    result.map(|took| rate(bytes, took))
}

fn send_bare(child: &mut Child, bytes: u64) -> Result<Duration, Failure> {
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or_else(|| failed("no receiver"))?;
    BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    let (id, address) = line.trim().split_once('@').ok_or_else(|| failed("no receiver"))?;
    let (id, address) = (id.parse::<DeviceId>().map_err(failed)?, address.parse().map_err(failed)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let endpoint = links::endpoint(&[3; 32], Some(([127, 0, 0, 1], 0).into())).await?;
        let data = vec![7u8; 256 * 1024];
        let began = Instant::now();
        let connection = links::dial(&endpoint, id, address).await?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(failed)?;
        let mut left = bytes;
        while left > 0 {
            let now = left.min(data.len() as u64);
            send.write_all(data.get(..now as usize).unwrap_or_default()).await.map_err(|e| failed(format!("{e:?}")))?;
            left -= now;
        }
        send.finish().map_err(failed)?;
        receive.read_to_end(16).await.map_err(|e| failed(format!("{e:?}")))?; // the receiver says when it has all
        let took = began.elapsed();
        connection.close(VarInt::from_u32(0), b"");
        endpoint.close().await;
        Ok(took)
    })
}

/// The other end of `bare_round`.
pub fn bare_receiver() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let endpoint = links::endpoint(&[4; 32], Some(([127, 0, 0, 1], 0).into())).await?;
        let address = endpoint.bound_sockets().first().copied().ok_or_else(|| failed("no socket"))?;
        println!("{}@{address}", DeviceId(*endpoint.id().as_bytes()));
        std::io::stdout().flush().map_err(failed)?;
        let incoming = endpoint.accept().await.ok_or_else(|| failed("closed"))?;
        let connection = incoming.await.map_err(failed)?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(failed)?;
        while receive.read_chunk(512 * 1024).await.map_err(|e| failed(format!("R {e:?}")))?.is_some() {}
        send.write_all(b"all").await.map_err(failed)?;
        send.finish().map_err(failed)?;
        connection.closed().await;
        endpoint.close().await;
        Ok(())
    })
}

/// Two phones; one publishes a bundle, the other meets it.
fn bundle_round(bytes: u64, round: u32) -> Result<f64, Failure> {
    let folder = std::env::temp_dir().join(format!("kijiti-bench-{}-{round}", std::process::id()));
    let result = bundle_round_in(&folder, bytes);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn bundle_round_in(folder: &Path, bytes: u64) -> Result<f64, Failure> {
    std::fs::create_dir_all(folder).map_err(failed)?;
    let keys = folder.join("keys");
    let ceremony = ministry::Ceremony {
        keys: 1,
        threshold: 1,
        recall_keys: 0,
        name: "Bench",
        tokens: &[],
        passphrase: Some("a bench guards nothing"),
        work_factor: Some(10),
    };
    ministry::hold(&keys, &ceremony, false)?;
    let phones = Phones::new(folder);
    let (giver, taker) = (phones.phone("giver"), phones.phone("taker"));
    for phone in [&giver, &taker] {
        phone.start()?;
        enrol(phone, &keys)?;
    }
    let bundle = random_file(folder, bytes)?;
    let mut draft = ministry::draft(
        None,
        Some(&ministry::NewRelease {
            file: &bundle,
            module: "bench",
            version: None,
            area: "all",
            language: "und",
            notes: "",
            delta_from: &[],
            beside: folder,
            stage: None,
            lineage: None,
        }),
        None,
    )?;
    for key in ministry::load_keys(&keys, ceremony.passphrase)? {
        ministry::sign(&mut draft, &ministry::Signer::Key(key))?;
    }
    for request in ministry::publish_requests(&draft) {
        giver.ask(request)?;
    }
    let (peer, address) = giver.address()?;
    let began = Instant::now();
    let meeting = control::ask(&taker.folder, &Request::Meet { peer, address }, &mut |_| {})?;
    let took = began.elapsed();
    match show::number(&meeting, "bundle_bytes_taken") {
        taken if taken == bytes => Ok(rate(bytes, took)),
        taken => Err(failed(format!("{taken} of {bytes} bytes arrived"))),
    }
}

fn enrol(phone: &Phone, keys: &Path) -> Result<(), Failure> {
    let request = phone.ask(Request::EnrolRequest { name: phone.name.clone() })?;
    let request = crate::files::from_text("the request", show::text(&request, "request"))?;
    let file =
        crate::enrol::sign_as_ministry(keys, &request, "all", "carry,read,write", "", Some("a bench guards nothing"))?;
    phone.ask(Request::EnrolAccept { roots: file.roots, chain: file.chain, grants: file.grants })?;
    Ok(())
}

fn random_file(folder: &Path, bytes: u64) -> Result<PathBuf, Failure> {
    use rand::{Rng, SeedableRng};
    let path = folder.join("bundle");
    let mut file = std::fs::File::create(&path).map_err(failed)?;
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        dice.fill_bytes(&mut block);
        let now = left.min(block.len() as u64);
        file.write_all(block.get(..now as usize).unwrap_or_default()).map_err(failed)?;
        left -= now;
    }
    Ok(path)
}
