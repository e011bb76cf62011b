//! A bundle between two real processes, verified and durable on both sides, beside a bare iroh
//! stream and iroh-blobs, on plain loopback and over links held to a rate.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iroh::endpoint::VarInt;
use node::api::Request;
use node::api::views::meetings::Meeting;
use node::host::links;
use protocol::DeviceId;
use serde_json::json;

use crate::medium::{Medium, Shape};
use crate::places::{Place, between};
use crate::{Scene, failed, median};
use app::Failure;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The links of the field: name, bytes in a second, delay one way in ms, part lost, megabytes sent
/// over it.
const LINKS: [(&str, f64, u64, f64, f64); 3] = [
    ("Bluetooth, 60 kB/s, 100 ms", 60e3, 100, 0.0, 4.0),
    ("poor Wi-Fi, 2 MB/s, 20 ms, 2 % lost", 2e6, 20, 0.02, 60.0),
    ("Wi-Fi, 20 MB/s", 20e6, 2, 0.0, 200.0),
];

/// Measures plain loopback: `blobs` is the program of `rigs/blobs`, if it was built.
pub fn loopback(
    megabytes: u64,
    rounds: u32,
    blobs: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    if !(1..=2000).contains(&megabytes) || !(1..=50).contains(&rounds) {
        return Err(Failure::new(
            "too little or too much to measure",
            "choose 1 to 2000 MB and 1 to 50 rounds",
        )
        .with_code(2));
    }
    let bytes = megabytes * 1_000_000;
    let (mut bare, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (bare_rate, our_rate) = (bare_round(bytes, None)?, bundle_round(bytes, None)?);
        let their_rate = blobs
            .map(|program| blobs_round(program, bytes))
            .transpose()?;
        let shown = their_rate
            .map(|r| format!(", iroh-blobs {r:.0} MB/s"))
            .unwrap_or_default();
        eprintln!(
            "round {round}: bare stream {bare_rate:.0} MB/s{shown}, bundle {our_rate:.0} MB/s"
        );
        bare.push(bare_rate);
        ours.push(our_rate);
        theirs.extend(their_rate);
    }
    let ratio = |others: &[f64]| {
        median(
            &mut ours
                .iter()
                .zip(others)
                .map(|(ours, other)| ours / other)
                .collect::<Vec<_>>(),
        )
    };
    let (to_bare, to_blobs) = (ratio(&bare), ratio(&theirs));
    let (bare, ours, theirs) = (median(&mut bare), median(&mut ours), median(&mut theirs));
    if json {
        println!(
            "{}",
            json!({ "schema": "kijiti.bench-link/2", "megabytes": megabytes, "rounds": rounds, "bare_mb_per_s": bare,
            "bundle_mb_per_s": ours, "blobs_mb_per_s": theirs, "ratio_to_bare": to_bare, "ratio_to_blobs": to_blobs })
        );
        return Ok(());
    }
    println!(
        "bare iroh stream   {bare:>6.0} MB/s  ({megabytes} MB, median of {rounds}; nothing checked, nothing kept)"
    );
    if blobs.is_some() {
        println!("iroh-blobs         {theirs:>6.0} MB/s  (its file store on both sides, verified)");
    }
    println!(
        "bundle             {ours:>6.0} MB/s  (the whole meeting: hello, checked pieces, digest, durable file)"
    );
    println!("to the bare stream {to_bare:>6.2}       (median of the rounds' own ratios)");
    if blobs.is_some() {
        println!("to iroh-blobs      {to_blobs:>6.2}");
    }
    Ok(())
}

/// Measures the links of the field.
pub fn shaped(json: bool) -> Result<(), Failure> {
    between(2, |places| match places {
        [a, b] => shaped_between(a, b, json),
        _ => Err(failed("two places were asked for")),
    })
}

/// Two places and the link between them.
#[derive(Debug, Clone, Copy)]
struct Road<'a> {
    shape: Shape,
    ends: [&'a Place; 2],
}

fn shaped_between(a: &Place, b: &Place, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (name, bytes_per_s, delay_ms, loss, megabytes) in LINKS {
        let shape = Shape {
            bytes_per_s,
            delay: Duration::from_millis(delay_ms),
            loss,
            shared: false,
        };
        let bytes = (megabytes * 1e6) as u64;
        let part = |rate: f64| rate * 1e6 / bytes_per_s;
        let road = Road {
            shape,
            ends: [a, b],
        };
        let bare = part(bare_round(bytes, Some(road))?);
        let ours = part(bundle_round(bytes, Some(road))?);
        if !json {
            println!(
                "{name:<38} {megabytes:>5} MB   bare stream {:>5.1} %   bundle {:>5.1} % of the link",
                bare * 100.0,
                ours * 100.0
            );
        }
        rows.push(
            json!({ "link": name, "bytes": bytes, "bare_goodput": bare, "bundle_goodput": ours }),
        );
    }
    if json {
        println!(
            "{}",
            json!({ "schema": "kijiti.bench-shaped/1", "links": rows })
        );
    }
    Ok(())
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// This very program at a place.
fn this_program(place: Option<&Place>) -> Result<Command, Failure> {
    let exe = std::env::current_exe().map_err(failed)?;
    let Some(place) = place else {
        return Ok(Command::new(exe));
    };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &place.namespace]).arg(exe);
    Ok(command)
}

/// One process sends, another receives and throws away.
fn bare_round(bytes: u64, road: Option<Road>) -> Result<f64, Failure> {
    let [from, to] = road.map_or([None, None], |r| r.ends.map(Some));
    let listen = to.map_or(LOCALHOST, |place| place.address);
    let mut receiver = this_program(to)?
        .args(["bare-receiver", &listen.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let send = |receiver: &mut Child| {
        let line = first_line(receiver)?;
        let (id, address) = line.split_once('@').ok_or_else(|| failed("no receiver"))?;
        let (_medium, address) = through(road, address.parse().map_err(failed)?)?;
        let listen = from.map_or(LOCALHOST, |place| place.address);
        let words = [
            "bare-sender",
            id,
            &address.to_string(),
            &bytes.to_string(),
            &listen.to_string(),
        ];
        let output = this_program(from)?
            .args(words)
            .stderr(Stdio::inherit())
            .output()
            .map_err(failed)?;
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse::<f64>()
            .map_err(failed)
    };
    let seconds = send(&mut receiver);
    let _ = receiver.kill();
    let _ = receiver.wait();
    seconds.map(|seconds| bytes as f64 / 1e6 / seconds)
}

/// The first line that a process says.
fn first_line(child: &mut Child) -> Result<String, Failure> {
    let mut line = String::new();
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| failed("the other process says nothing"))?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .map_err(failed)?;
    Ok(line.trim().to_owned())
}

/// Where `target` is reached, through a medium if there is to be one.
fn through(
    road: Option<Road>,
    target: SocketAddr,
) -> Result<(Option<Medium>, SocketAddr), Failure> {
    let Some(road) = road else {
        return Ok((None, target));
    };
    let medium = Medium::new(road.shape)?;
    let [from, _] = road.ends;
    let address = medium.path(from.gateway, target)?;
    Ok((Some(medium), address))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)
}

/// The sending process of `bare_round`: prints the seconds that it took.
pub fn bare_sender(id: &str, address: &str, bytes: u64, listen: IpAddr) -> Result<(), Failure> {
    let (id, address) = (
        id.parse::<DeviceId>().map_err(failed)?,
        address.parse().map_err(failed)?,
    );
    runtime()?.block_on(async {
        let endpoint = links::endpoint(&[3; 32], Some((listen, 0).into())).await?;
        let data = vec![7u8; 256 * 1024];
        let began = Instant::now();
        let connection = links::dial(&endpoint, id, address).await?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(failed)?;
        let mut left = bytes;
        while left > 0 {
            let now = left.min(data.len() as u64);
            send.write_all(data.get(..now as usize).unwrap_or_default())
                .await
                .map_err(failed)?;
            left -= now;
        }
        send.finish().map_err(failed)?;
        receive.read_to_end(16).await.map_err(failed)?; // the receiver says when it has all
        println!("{}", began.elapsed().as_secs_f64());
        connection.close(VarInt::from_u32(0), b"");
        endpoint.close().await;
        Ok(())
    })
}

/// The receiving process of `bare_round`.
pub fn bare_receiver(listen: IpAddr) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let endpoint = links::endpoint(&[4; 32], Some((listen, 0).into())).await?;
        let address = endpoint
            .bound_sockets()
            .first()
            .copied()
            .ok_or_else(|| failed("no socket"))?;
        println!("{}@{address}", DeviceId(*endpoint.id().as_bytes()));
        std::io::stdout().flush().map_err(failed)?;
        let incoming = endpoint.accept().await.ok_or_else(|| failed("closed"))?;
        let connection = incoming.await.map_err(failed)?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(failed)?;
        while receive
            .read_chunk(512 * 1024)
            .await
            .map_err(failed)?
            .is_some()
        {}
        send.write_all(b"all").await.map_err(failed)?;
        send.finish().map_err(failed)?;
        connection.closed().await;
        endpoint.close().await;
        Ok(())
    })
}

/// Two phones; one publishes a bundle, the other meets it.
fn bundle_round(bytes: u64, road: Option<Road>) -> Result<f64, Failure> {
    let scene = Scene::new("link")?;
    let [from, to] = road.map_or([None, None], |r| r.ends.map(Some));
    let (taker, giver) = (scene.phone("taker", from)?, scene.phone("giver", to)?);
    let bundle = scene.random_file(bytes)?;
    scene.publish(&giver, &bundle)?;
    let (peer, address) = giver.address()?;
    let (_medium, address) = through(road, address.parse().map_err(failed)?)?;
    let began = Instant::now();
    let request = Request::Meet {
        peer,
        address: address.to_string(),
    };
    let meeting: Meeting = taker.ask_once(&request, &mut |_| {})?.try_into()?;
    let took = began.elapsed();
    match meeting.bundle_bytes_taken {
        taken if taken == bytes => Ok(rate(bytes, took)),
        taken => Err(failed(format!("{taken} of {bytes} bytes arrived"))),
    }
}

/// The same by iroh-blobs.
fn blobs_round(program: &Path, bytes: u64) -> Result<f64, Failure> {
    let scene = Scene::new("blobs")?;
    let bundle = scene.random_file(bytes)?;
    let missing = |e: std::io::Error| {
        Failure::new(
            format!("cannot run {}: {e}", program.display()),
            "build it first: cargo build --release --manifest-path rigs/blobs/Cargo.toml",
        )
    };
    let mut giver = Command::new(program)
        .arg("give")
        .args([&bundle, &scene.folder.join("giver")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    let offer = first_line(&mut giver);
    let taken = offer.and_then(|offer| {
        let taker = Command::new(program)
            .arg("take")
            .args(offer.split(' '))
            .arg(scene.folder.join("taker"))
            .output();
        let output = taker.map_err(missing)?;
        let seconds = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse::<f64>();
        seconds.map_err(|_| failed(String::from_utf8_lossy(&output.stderr)))
    });
    drop(giver.stdin.take());
    let _ = giver.kill();
    let _ = giver.wait();
    taken.map(|seconds| bytes as f64 / 1e6 / seconds)
}
