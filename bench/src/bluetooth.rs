//! A Bluetooth channel as it is, and the same channel secured as phones secure it: what each carries, and
//! how long each takes to come up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app::Failure;
use bluer::adv::Advertisement;
use bluer::{Adapter, AdapterEvent, AddressType, Session, Uuid};
use futures::{Stream, StreamExt};
use node::host::links::Pipe;
use node::host::links::bluetooth::l2cap::{self, Place};
use node::host::links::bluetooth::token::SERVICE as SERVICE_OF_PHONES;
use node::host::links::noise::{self, Stream as Channel};
use protocol::DeviceKeys;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// By which the listening side is found: nothing of phones.
const SERVICE: Uuid = Uuid::from_u128(0x6b69_6a69_7469_6265_6e63_6800_0000_0001);
const MINISTRY: [u8; 32] = [7; 32];
const BARE: u8 = 0;
const SECURED: u8 = 1;
/// Bytes handed over at once.
const PIECE: usize = 16 * 1024;
/// Bytes taken at once. In larger pieces the bare channel carries less: it grants credits as it is read.
const READ: usize = 4096;
/// How long the other side may take to be found, or a round to come to its end.
const PATIENCE: Duration = Duration::from_secs(180);

fn bluetooth(e: impl std::fmt::Debug) -> Failure {
    let hint =
        "two adapters are needed, switched on, and bluetoothd; `kijiti doctor` says what is there";
    Failure::new(format!("{e:?}"), hint)
}

fn block<T>(what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(bluetooth)?
        .block_on(what)
}

async fn ready(name: &str) -> Result<(Session, Adapter), Failure> {
    let session = Session::new().await.map_err(bluetooth)?;
    let adapter = session.adapter(name).map_err(bluetooth)?;
    adapter.set_powered(true).await.map_err(bluetooth)?;
    Ok((session, adapter))
}

/// Listens, or is a stranger for so many seconds, or calls who listens.
pub fn run(
    adapter: &str,
    (listening, strange): (bool, Option<u64>),
    much: (usize, usize),
    as_json: bool,
) -> Result<(), Failure> {
    match strange {
        Some(seconds) => knock(adapter, seconds),
        None if listening => listen(adapter),
        None => call(adapter, much, as_json),
    }
}

/// Takes what callers send, and says so, until it is killed.
fn listen(adapter: &str) -> Result<(), Failure> {
    block(async {
        let (_session, adapter) = ready(adapter).await?;
        let (listener, psm) = l2cap::listen(&adapter).await.map_err(bluetooth)?;
        let advertisement = Advertisement {
            service_data: BTreeMap::from([(SERVICE, vec![psm])]),
            discoverable: Some(true),
            ..Default::default()
        };
        let _said = adapter.advertise(advertisement).await.map_err(bluetooth)?;
        println!("listening at channel {psm}");
        loop {
            let (stream, _) = listener.accept().await.map_err(bluetooth)?;
            if let Err(failure) = take(stream).await {
                eprintln!("a round came to nothing: {}", failure.reason);
            }
        }
    })
}

/// One round: a word for how, eight bytes for how much, and that much; it is answered with a byte.
async fn take(mut stream: impl Channel) -> Result<(), Failure> {
    let how = stream.read_u8().await.map_err(bluetooth)?;
    let bytes = stream.read_u64().await.map_err(bluetooth)?;
    let mut left = usize::try_from(bytes).map_err(bluetooth)?;
    let mut room = vec![0; READ];
    if how == BARE {
        while left > 0 {
            match stream.read(&mut room).await.map_err(bluetooth)? {
                0 => return Err(bluetooth("the channel ended")),
                read => left = left.saturating_sub(read),
            }
        }
        stream.write_u8(1).await.map_err(bluetooth)?;
        let _ = stream.read(&mut room).await; // the caller hangs up
        return Ok(());
    }
    let keys = DeviceKeys::from_seed([2; 32]);
    let secured = noise::secure(stream, false, &keys, &MINISTRY);
    let mut pipe = secured.await.map_err(bluetooth)?;
    while left > 0 {
        match pipe.receiver.read(&mut room).await.map_err(bluetooth)? {
            0 => return Err(bluetooth("the channel ended")),
            read => left = left.saturating_sub(read),
        }
    }
    pipe.sender.send(vec![1]).await.map_err(bluetooth)?;
    let _ = pipe.receiver.read(&mut room).await;
    Ok(())
}

/// Channels that a stranger holds open to one phone, and how long it tries each.
const HELD: usize = 24;
const TRIED: Duration = Duration::from_secs(2);
/// Channels that a kernel gives to whoever asks for any (Bluetooth Core, vol. 3 A 4.22).
const CHANNELS: std::ops::RangeInclusive<u8> = 0x80..=0xff;

/// A stranger: looks for phones, opens channels to each and says nothing on them, again and again, and
/// advertises what it has heard them advertise. Says at the end how many it had opened.
fn knock(adapter: &str, seconds: u64) -> Result<(), Failure> {
    let opened = block(async {
        let (_session, adapter) = ready(adapter).await?;
        let until = Instant::now() + Duration::from_secs(seconds);
        let service = Uuid::from_u128(SERVICE_OF_PHONES);
        let mut events = Box::pin(around(&adapter).await?);
        let (mut opened, mut held, mut said) = (0, BTreeMap::<_, Vec<_>>::new(), None);
        let mut near = BTreeMap::new();
        while Instant::now() < until {
            let event = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
            if let Ok(Some(AdapterEvent::DeviceAdded(address))) = event {
                let device = adapter.device(address).map_err(bluetooth)?;
                let heard = device.service_data().await.ok().flatten();
                if let Some(token) = heard.and_then(|mut heard| heard.remove(&service)) {
                    let kind = device.address_type().await.unwrap_or(AddressType::LeRandom);
                    near.entry(address).or_insert((kind, None::<u8>));
                    said = adapter
                        .advertise(Advertisement {
                            service_data: BTreeMap::from([(service, token)]),
                            discoverable: Some(true),
                            ..Default::default()
                        })
                        .await
                        .ok();
                }
            }
            for (address, (kind, found)) in &mut near {
                let own = held.entry(*address).or_default();
                let from = found.unwrap_or(*CHANNELS.start());
                for psm in from..=found.unwrap_or(*CHANNELS.end()) {
                    let (address, kind) = (*address, *kind);
                    let place = Place { address, kind, psm };
                    let call = tokio::time::timeout(TRIED, l2cap::connect(&adapter, &place));
                    // Not this channel, or the phone is not there.
                    let Ok(Ok(stream)) = call.await else { continue };
                    opened += 1;
                    *found = Some(psm);
                    own.push(stream);
                    if own.len() > HELD {
                        own.remove(0);
                    }
                    break;
                }
            }
        }
        drop((held, said));
        Ok(opened)
    })?;
    println!("a stranger opened {opened} channels");
    Ok(())
}

/// What a round took.
struct Round {
    /// Seconds until the channel was up, until both had proved who they are, and until all was there.
    up: f64,
    greeted: f64,
    moved: f64,
}

/// Calls who listens, in turns bare and secured, and prints what each carried.
fn call(adapter: &str, (kilobytes, rounds): (usize, usize), as_json: bool) -> Result<(), Failure> {
    let bytes = kilobytes.saturating_mul(1000);
    let measured = block(async {
        let (_session, adapter) = ready(adapter).await?;
        let found = tokio::time::timeout(PATIENCE, find(&adapter));
        let place = found.await.map_err(bluetooth)??;
        let mut measured = Vec::new();
        for round in 0..rounds.saturating_mul(2) {
            let how = if round % 2 == 0 { BARE } else { SECURED };
            let named = if how == BARE { "bare" } else { "secured" };
            eprintln!("round {round}: {named}");
            let one = tokio::time::timeout(PATIENCE, one(&adapter, &place, (how, bytes)));
            measured.push((how, one.await.map_err(bluetooth)??));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(measured)
    })?;
    let of = |way: u8, what: fn(&Round) -> f64| {
        let rounds = measured.iter().filter(|(how, _)| *how == way);
        crate::median(&mut rounds.map(|(_, round)| what(round)).collect::<Vec<_>>())
    };
    let rate = |way| bytes as f64 / of(way, |round| round.moved) / 1e3;
    let (bare, secured) = (rate(BARE), rate(SECURED));
    let ms = |seconds: f64| seconds * 1e3;
    let (up, greeted) = (
        ms(of(SECURED, |round| round.up)),
        ms(of(SECURED, |round| round.greeted)),
    );
    if as_json {
        app::say::json(
            &json!({ "schema": "kijiti.bench-bluetooth/1", "kilobytes": kilobytes, "rounds": rounds,
                "bare_kb_per_s": bare, "secured_kb_per_s": secured, "ratio": secured / bare, "up_ms": up, "greeted_ms": greeted })
            .to_string(),
        );
        return Ok(());
    }
    println!(
        "bare channel {bare:.1} kB/s, secured {secured:.1} kB/s, ratio {:.3}",
        secured / bare
    );
    println!("channel up after {up:.0} ms, greeted {greeted:.0} ms after that");
    Ok(())
}

/// What is heard around, as it comes.
async fn around(adapter: &Adapter) -> Result<impl Stream<Item = AdapterEvent> + use<>, Failure> {
    let filter = adapter.set_discovery_filter(l2cap::filter()).await;
    filter.map_err(bluetooth)?;
    adapter
        .discover_devices_with_changes()
        .await
        .map_err(bluetooth)
}

async fn find(adapter: &Adapter) -> Result<Place, Failure> {
    let mut events = Box::pin(around(adapter).await?);
    while let Some(event) = events.next().await {
        let AdapterEvent::DeviceAdded(address) = event else {
            continue;
        };
        let device = adapter.device(address).map_err(bluetooth)?;
        let said = device.service_data().await.map_err(bluetooth)?;
        if let Some(&[psm]) = said.unwrap_or_default().get(&SERVICE).map(Vec::as_slice) {
            let kind = device.address_type().await.unwrap_or(AddressType::LeRandom);
            return Ok(Place { address, kind, psm });
        }
    }
    Err(bluetooth("bluetoothd has ended"))
}

async fn one(
    adapter: &Adapter,
    place: &Place,
    (how, bytes): (u8, usize),
) -> Result<Round, Failure> {
    let began = Instant::now();
    let mut stream = l2cap::connect(adapter, place).await.map_err(bluetooth)?;
    let up = began.elapsed().as_secs_f64();
    stream.write_u8(how).await.map_err(bluetooth)?;
    stream.write_u64(bytes as u64).await.map_err(bluetooth)?;
    let began = Instant::now();
    let mut answer = [0];
    if how == BARE {
        let piece = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let now = piece.get(..left.min(PIECE)).unwrap_or_default();
            stream.write_all(now).await.map_err(bluetooth)?;
            left -= now.len();
        }
        stream.read_exact(&mut answer).await.map_err(bluetooth)?;
        let moved = began.elapsed().as_secs_f64();
        return Ok(Round {
            up,
            greeted: 0.0,
            moved,
        });
    }
    let keys = DeviceKeys::from_seed([1; 32]);
    let mut pipe: Pipe = noise::secure(stream, true, &keys, &MINISTRY)
        .await
        .map_err(bluetooth)?;
    let greeted = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE);
        pipe.sender.send(vec![0; now]).await.map_err(bluetooth)?;
        left -= now;
    }
    pipe.receiver
        .read_exact(&mut answer)
        .await
        .map_err(bluetooth)?;
    let moved = began.elapsed().as_secs_f64();
    Ok(Round { up, greeted, moved })
}
