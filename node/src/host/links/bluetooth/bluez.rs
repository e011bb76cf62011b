//! The Bluetooth driver of Linux: BlueZ over D-Bus for finding, kernel sockets for channels.
//!
//! Whatever is missing (no adapter, `bluetoothd` restarting, a switch) is tried again later, and
//! everything else goes on. A radio from which nothing at all has been heard for long where something
//! was before is switched off and on: controllers go deaf without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bluer::adv::Advertisement;
use bluer::{Adapter, AdapterEvent, Address, AddressType, ErrorKind, Session, Uuid};
use futures::StreamExt;
use protocol::limits::CONNECTIONS_MAX;
use protocol::{DeviceId, DeviceKeys};
use tokio::sync::{Notify, Semaphore, watch};

use super::live::{Live, held};
use super::token::{self, SERVICE};
use super::{Channels, gatt, l2cap};
use crate::agent::LinkClass;
use crate::api::Refusal;
use crate::host::Log;
use crate::host::links::Rules;
use crate::host::links::counts::Counts;
use crate::host::links::radio::{self, RadioState, SWITCHES, Standing};
use crate::host::links::{Driver, Later, Pipe, Port, noise};

/// How long a channel may take to come up.
const CONNECT: Duration = Duration::from_secs(15);
/// After this long a phone advertises another token: a little before the kernel takes another address
/// (`rpa_timeout`, 15 minutes).
const TOKEN_LASTS: Duration = Duration::from_secs(15 * 60 - 20);
/// Between two tokens the radio is silent until the address has changed too: were one of them ever
/// heard with the other's neighbour, a day of them could be put in a row.
const SILENT: Duration = Duration::from_secs(40);
/// After this long without anything heard, where something was before, the radio is switched anew.
const DEAF: Duration = Duration::from_secs(20 * 60);
/// Between two reports of one phone.
const REPORT_EVERY: Duration = Duration::from_millis(800);
/// How long the call is left to the phone whose turn it is.
const LEAVES: Duration = Duration::from_secs(20);
/// How long who is connected may take to say what for.
const SPEAKS: Duration = Duration::from_secs(2);
/// How many seconds a meeting keeps the radio from looking for others.
const HOLDS_SCAN: u32 = 60;
/// After a failure.
const AGAIN: Duration = Duration::from_secs(10);
/// Phones recognised by their tokens; places remembered.
const REMEMBERED_MAX: usize = 1024;

/// Bluetooth LE over BlueZ.
pub struct Bluetooth {
    keys: DeviceKeys,
    channels: Channels,
    /// The adapter's name, such as `hci0`; `None`: the default one.
    adapter: Option<String>,
    discovery: watch::Receiver<Option<[u8; 32]>>,
    /// Milliseconds of looking, and of not looking after that.
    looks: watch::Receiver<(u64, u64)>,
    /// Phones that have been met here, by whose tokens others are told apart.
    met: Arc<Mutex<BTreeSet<DeviceId>>>,
    places: Arc<Semaphore>,
    /// Callers who were not let in.
    turned_away: Arc<AtomicU64>,
    /// One call at a time, for which the radio stops looking.
    calling: tokio::sync::Mutex<()>,
    call: Notify,
    standing: Standing,
    /// What is advertised now.
    salt: Mutex<[u8; 4]>,
    /// When phones were noticed, first and last.
    noticed: Mutex<BTreeMap<Address, (Instant, Instant)>>,
    /// With whom something is under way.
    live: Live,
    counts: Arc<Counts>,
    log: Log,
}

/// How the radio stands now.
pub async fn state(adapter: Option<&str>) -> RadioState {
    match ready(adapter, false).await {
        Ok(_) => RadioState::Ready,
        Err(state) => state,
    }
}

/// The adapter; `switches`: it is switched on where it is off.
async fn ready(name: Option<&str>, switches: bool) -> Result<(Session, Adapter), RadioState> {
    let session = Session::new().await.map_err(of_error)?;
    let adapter = match name {
        Some(name) => session.adapter(name),
        None => session.default_adapter().await,
    };
    let adapter = adapter.map_err(of_error)?;
    match adapter.is_powered().await {
        Ok(true) => {}
        Ok(false) if is_blocked() => return Err(RadioState::Blocked),
        Ok(false) if !switches => return Err(RadioState::Off),
        Ok(false) => adapter.set_powered(true).await.map_err(of_error)?,
        Err(error) => return Err(of_error(error)),
    }
    Ok((session, adapter))
}

pub(super) fn of_error(error: bluer::Error) -> RadioState {
    // Much of it has no code of its own: the bus's name for it is in the text.
    let text = error.to_string();
    let of_bus = radio::of_bus(&text);
    let kind = error.kind;
    if is_blocked() {
        RadioState::Blocked
    } else if let Some(state) = of_bus {
        state
    } else if matches!(kind, ErrorKind::NotAuthorized | ErrorKind::NotPermitted) {
        RadioState::NotPermitted
    } else if text.contains("UnknownObject")
        || matches!(kind, ErrorKind::NotFound | ErrorKind::DoesNotExist)
    {
        RadioState::NoAdapter
    } else {
        RadioState::Failed(text)
    }
}

fn is_blocked() -> bool {
    radio::blocked(Path::new(SWITCHES), "bluetooth")
}

impl Bluetooth {
    /// The driver of a phone; it uses the radio from `scan` on.
    pub fn new(
        keys: DeviceKeys,
        (channels, adapter): (Channels, Option<String>),
        (discovery, looks): Rules,
        (counts, log): (Arc<Counts>, Log),
    ) -> Self {
        Self {
            keys,
            channels,
            adapter,
            discovery,
            looks,
            met: Arc::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            turned_away: Arc::default(),
            calling: tokio::sync::Mutex::default(),
            call: Notify::new(),
            standing: Standing::of("bluetooth", "ready", log.clone()),
            salt: Mutex::default(),
            noticed: Mutex::default(),
            live: Live::default(),
            counts,
            log,
        }
    }

    /// Waits until there is a ministry whose phones can be found.
    async fn key(&self) -> Option<[u8; 32]> {
        let mut discovery = self.discovery.clone();
        let key = discovery.wait_for(Option::is_some).await.ok()?;
        *key
    }

    /// Uses the radio until something about it changes or fails.
    async fn use_radio(&self, port: &Port) -> Result<(), RadioState> {
        let Some(key) = self.key().await else {
            return Ok(());
        };
        let (_session, adapter) = ready(self.adapter.as_deref(), true).await?;
        let listener = match self.channels {
            Channels::Gatt => None,
            Channels::Any | Channels::L2cap => Some(l2cap::listen(&adapter).await?),
        };
        let served = match self.channels {
            Channels::L2cap => None,
            Channels::Any | Channels::Gatt => Some(gatt::serve(&adapter).await.map_err(of_error)?),
        };
        let (_application, callers) = served.unzip();
        let psm = listener.as_ref().map_or(0, |(_, psm)| *psm);
        if self.standing.note(RadioState::Ready) && !super::address_changes() {
            (self.log)(
                "bluetooth: this machine's address stays the same and can be followed; `kijiti doctor` says how to change that",
            );
        }
        let mut ministry = self.discovery.clone();
        ministry.mark_unchanged();
        tokio::select! {
            failed = self.advertise(&adapter, &key, psm) => failed,
            failed = self.look(&adapter, &key, port) => failed,
            () = self.accept(listener, port, key) => Err(RadioState::NoService),
            () = self.accept_gatt(callers, port, key) => Err(RadioState::NoService),
            _ = ministry.changed() => Ok(()), // another ministry, or none
        }
    }

    async fn advertise(
        &self,
        adapter: &Adapter,
        key: &[u8; 32],
        psm: u8,
    ) -> Result<(), RadioState> {
        loop {
            let mut salt = [0; 4];
            getrandom::fill(&mut salt).map_err(|e| RadioState::Failed(e.to_string()))?;
            let token = token::write(key, &self.keys.id(), psm, salt);
            *self.salt.lock().unwrap_or_else(|e| e.into_inner()) = salt;
            let advertisement = Advertisement {
                service_data: BTreeMap::from([(Uuid::from_u128(SERVICE), token.to_vec())]),
                discoverable: Some(true),
                ..Default::default()
            };
            let said = adapter.advertise(advertisement).await.map_err(of_error)?;
            tokio::time::sleep(TOKEN_LASTS).await;
            drop(said);
            self.call.notify_one(); // who looks pauses
            let _silent = self.calling.lock().await;
            tokio::time::sleep(SILENT).await;
        }
    }

    /// Looks for a while and rests for a while, as power allows; not while somebody is called.
    async fn look(&self, adapter: &Adapter, key: &[u8; 32], port: &Port) -> Result<(), RadioState> {
        adapter
            .set_discovery_filter(l2cap::filter())
            .await
            .map_err(of_error)?;
        let mut heard: Option<Instant> = None;
        loop {
            let (looks_ms, rests_ms) = *self.looks.borrow();
            // A radio that looks carries less of what is under way, for which two phones have minutes.
            let mut held = 0;
            while held < HOLDS_SCAN && !self.live.lock().is_empty() {
                held += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            {
                self.counts.scans.fetch_add(1, Relaxed);
                let _free = self.calling.lock().await;
                let events = adapter
                    .discover_devices_with_changes()
                    .await
                    .map_err(of_error)?;
                let mut events = Box::pin(events);
                let began = Instant::now();
                let end = tokio::time::sleep(Duration::from_millis(looks_ms));
                tokio::pin!(end);
                loop {
                    let event = tokio::select! {
                        () = &mut end => break,
                        () = self.call.notified() => break,
                        event = events.next() => event,
                    };
                    match event {
                        None => return Err(RadioState::NoService),
                        Some(AdapterEvent::DeviceAdded(address)) => {
                            heard = Some(Instant::now());
                            self.seen(adapter, address, key, port).await;
                        }
                        Some(_) => {}
                    }
                }
                let scanned = began.elapsed().as_millis() as u64;
                self.counts.scanned_ms.fetch_add(scanned, Relaxed);
            }
            let idle = self.live.lock().is_empty();
            if idle && heard.is_some_and(|heard| heard.elapsed() > DEAF) {
                (self.log)("bluetooth: nothing was heard for long; the radio is switched anew");
                adapter.set_powered(false).await.map_err(of_error)?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(rests_ms)).await;
        }
    }

    /// A device was noticed: if it is a phone of the ministry, the agent hears of it.
    async fn seen(&self, adapter: &Adapter, address: Address, key: &[u8; 32], port: &Port) {
        let now = Instant::now();
        let before = self.noticed(&address);
        if before.is_some_and(|(_, last)| now.duration_since(last) < REPORT_EVERY) {
            return;
        }
        let Ok(device) = adapter.device(address) else {
            return;
        };
        let data = device
            .service_data()
            .await
            .ok()
            .flatten()
            .unwrap_or_default();
        let Some(token) = data
            .get(&Uuid::from_u128(SERVICE))
            .and_then(|data| token::read(key, data))
        else {
            return;
        };
        if token.is(&self.keys.id()) {
            return;
        }
        let own = *self.salt.lock().unwrap_or_else(|e| e.into_inner());
        let first = before.map_or(now, |(first, _)| first);
        {
            let mut noticed = self.noticed.lock().unwrap_or_else(|e| e.into_inner());
            if noticed.len() >= REMEMBERED_MAX {
                noticed.clear();
            }
            noticed.insert(address, (first, now));
        }
        // Two calls at once over one connection hold each other up.
        if token.calls_first(own) && now.duration_since(first) < LEAVES {
            return;
        }
        let known = {
            let met = self.met.lock().unwrap_or_else(|e| e.into_inner());
            met.iter().find(|id| token.is(id)).copied()
        };
        let random = device
            .address_type()
            .await
            .is_ok_and(|t| t == AddressType::LeRandom);
        let kind = if random { "random" } else { "public" };
        let at = format!("{address}/{kind}/{}", token.psm);
        port.seen(
            known.unwrap_or_else(|| token.stand_in()),
            LinkClass::Bluetooth,
            at,
        )
        .await;
    }

    fn noticed(&self, address: &Address) -> Option<(Instant, Instant)> {
        let noticed = self.noticed.lock().unwrap_or_else(|e| e.into_inner());
        noticed.get(address).copied()
    }

    async fn accept(&self, listener: Option<(l2cap::Listener, u8)>, port: &Port, key: [u8; 32]) {
        let Some((listener, _)) = listener else {
            return std::future::pending().await;
        };
        while let Ok((stream, from)) = listener.accept().await {
            self.answer((stream, from.addr), port, key);
        }
    }

    async fn accept_gatt(&self, callers: Option<gatt::Callers>, port: &Port, key: [u8; 32]) {
        let Some(mut callers) = callers else {
            return std::future::pending().await;
        };
        while let Some((from, stream)) = callers.next().await {
            self.answer((stream, from), port, key);
        }
    }

    /// A call: it is greeted, and the meeting goes on beside.
    fn answer(&self, (stream, from): (impl noise::Stream, Address), port: &Port, key: [u8; 32]) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return; // whoever it is comes again
        };
        let (keys, port, log) = (self.keys.clone(), port.clone(), self.log.clone());
        let (met, turned_away) = (self.met.clone(), self.turned_away.clone());
        let live = self.live.hold(from);
        tokio::spawn(async move {
            let (_place, _live) = (place, live);
            match noise::secure(stream, false, &keys, &key).await {
                Ok(pipe) => {
                    // Whoever calls is known by its tokens too: were it taken for another, it would be
                    // called in the middle of its own meeting.
                    remember(&met, pipe.peer);
                    port.answer(LinkClass::Bluetooth, pipe).await;
                }
                Err(error) => {
                    // Whoever knocks again and again fills no log.
                    let so_far = turned_away.fetch_add(1, Relaxed).saturating_add(1);
                    if so_far.is_power_of_two() {
                        log(&format!(
                            "bluetooth: a caller was not let in ({so_far} so far): {error}"
                        ));
                    }
                }
            }
        });
    }

    async fn connect(&self, peer: DeviceId, at: &str) -> Result<Pipe, Refusal> {
        let out_of_reach = |why: String| {
            Refusal::NotReached(format!("phone {} is out of reach: {why}", peer.short()))
        };
        let place = l2cap::Place::parse(at).ok_or(Refusal::NotAnAddress)?;
        let key = *self.discovery.borrow();
        let key = key.ok_or_else(|| out_of_reach("no ministry yet".into()))?;
        self.call.notify_one();
        let _calling = self.calling.lock().await;
        let (_session, adapter) = ready(self.adapter.as_deref(), true)
            .await
            .map_err(|state| out_of_reach(format!("bluetooth: {state}")))?;
        // Two calls at once over one connection hold each other up.
        let device = adapter
            .device(place.address)
            .map_err(|e| out_of_reach(e.to_string()))?;
        let connected = || async { device.is_connected().await.unwrap_or(false) };
        if connected().await && !self.live.has(&place.address) {
            // It is about to say what it has called for, or this is what a channel that is gone left.
            tokio::time::sleep(SPEAKS).await;
            if connected().await && !self.live.has(&place.address) {
                let _ = device.disconnect().await;
            }
        }
        if connected().await {
            return Err(out_of_reach("it is calling this phone".into()));
        }
        let live = self.live.hold(place.address);
        let began = Instant::now();
        // From its last words that were heard; a phone that a person names was perhaps never noticed.
        let noticed = self.noticed(&place.address);
        let waited = noticed.map_or(Duration::ZERO, |(_, last)| began.duration_since(last));
        let l2cap = place.psm != 0 && self.channels != Channels::Gatt;
        let mut failed = String::from("it offers no channel that this phone has");
        if l2cap {
            match tokio::time::timeout(CONNECT, l2cap::connect(&adapter, &place)).await {
                Ok(Ok(stream)) => {
                    let open = began.elapsed();
                    let pipe = self
                        .greet(stream, key)
                        .await
                        .map_err(|e| out_of_reach(e.to_string()))?;
                    self.say_times("L2CAP", (waited, open), began);
                    return Ok(held(pipe, move || drop(live)));
                }
                Ok(Err(error)) => failed = error.to_string(),
                Err(_) => failed = "no answer".into(),
            }
        }
        if self.channels != Channels::L2cap {
            let stream = tokio::time::timeout(CONNECT * 2, gatt::connect(&device)).await;
            let stream = stream.map_err(|_| out_of_reach("no answer".into()))?;
            let stream = stream.map_err(|e| out_of_reach(e.to_string()))?;
            let open = began.elapsed();
            let pipe = self
                .greet(stream, key)
                .await
                .map_err(|e| out_of_reach(e.to_string()))?;
            self.say_times("GATT", (waited, open), began);
            // Unlike a channel, the connection below outlives what went over it.
            let runtime = tokio::runtime::Handle::current();
            return Ok(held(pipe, move || {
                runtime.spawn(async move {
                    let _ = device.disconnect().await;
                    drop(live);
                });
            }));
        }
        Err(out_of_reach(failed))
    }

    /// What a call took, step by step.
    fn say_times(&self, channel: &str, (waited, open): (Duration, Duration), began: Instant) {
        let greeted = began.elapsed().saturating_sub(open).as_millis();
        let (waited, open) = (waited.as_millis(), open.as_millis());
        (self.log)(&format!(
            "bluetooth: called {waited} ms after it was heard, {channel} up {open} ms after that, greeted {greeted} ms after that"
        ));
    }

    async fn greet(&self, stream: impl noise::Stream, key: [u8; 32]) -> std::io::Result<Pipe> {
        let pipe = noise::secure(stream, true, &self.keys, &key).await?;
        remember(&self.met, pipe.peer);
        Ok(pipe)
    }
}

/// Keeps a phone, by whose tokens it is told apart from now on.
fn remember(met: &Mutex<BTreeSet<DeviceId>>, peer: DeviceId) {
    let mut met = met.lock().unwrap_or_else(|e| e.into_inner());
    if met.len() >= REMEMBERED_MAX {
        met.clear();
    }
    met.insert(peer);
}

impl Driver for Bluetooth {
    fn class(&self) -> LinkClass {
        LinkClass::Bluetooth
    }

    fn works(&self) -> bool {
        self.standing.works()
    }

    fn scan(self: Arc<Self>, port: Port) -> Later<'static, ()> {
        Box::pin(async move {
            loop {
                match self.use_radio(&port).await {
                    // Who switches it off is told apart from a service that has ended: both end what is heard.
                    Err(RadioState::NoService) if is_blocked() => {
                        self.standing.note(RadioState::Blocked);
                    }
                    Err(state) => {
                        self.standing.note(state);
                    }
                    Ok(()) => {}
                }
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    fn dial<'a>(&'a self, peer: DeviceId, at: &'a str) -> Later<'a, Result<Pipe, Refusal>> {
        Box::pin(async move {
            let called = self.connect(peer, at).await;
            match &called {
                Ok(_) => {}
                Err(Refusal::NotReached(why)) => (self.log)(&format!("bluetooth: {why}")),
                Err(why) => (self.log)(&format!("bluetooth: a call came to nothing: {why:?}")),
            }
            called
        })
    }

    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINISTRY: [u8; 32] = [5; 32];

    fn phone() -> Bluetooth {
        let (_, discovery) = watch::channel(Some(MINISTRY));
        let (_, looks) = watch::channel((10_000, 2_000));
        let shared = (Arc::new(Counts::default()), Arc::new(|_: &str| {}) as Log);
        let keys = DeviceKeys::from_seed([1; 32]);
        Bluetooth::new(keys, (Channels::Any, None), (discovery, looks), shared)
    }

    /// H3 of the review, over this radio: a crowd that says a byte and waits holds its few places for
    /// seconds, is sent nothing, and keeps nobody of the ministry out after that.
    #[tokio::test(start_paused = true)]
    async fn h3_a_crowd_of_strangers_holds_its_places_for_seconds_and_is_sent_nothing() {
        let bluetooth = phone();
        let (messages, mut told) = tokio::sync::mpsc::channel(64);
        let port = Port::new(messages, Arc::new(Counts::default()));
        let mut crowd = Vec::new();
        for n in 0..200 {
            let (ours, theirs) = tokio::io::duplex(4096);
            let from = Address::new([0, 0, 0, 0, 0, n]);
            bluetooth.answer((ours, from), &port, MINISTRY);
            crowd.push(theirs);
        }
        assert_eq!(bluetooth.places.available_permits(), 0);
        assert_eq!(bluetooth.live.lock().len(), CONNECTIONS_MAX);
        for stranger in &mut crowd {
            let _ = tokio::io::AsyncWriteExt::write_all(stranger, &[0]).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(bluetooth.places.available_permits(), CONNECTIONS_MAX);
        assert!(bluetooth.live.lock().is_empty());
        for stranger in &mut crowd {
            let mut heard = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(stranger, &mut heard).await;
            assert!(heard.is_empty(), "a stranger was answered");
        }
        let (ours, theirs) = tokio::io::duplex(4096);
        bluetooth.answer((ours, Address::any()), &port, MINISTRY);
        let other = DeviceKeys::from_seed([2; 32]);
        let pipe = noise::secure(theirs, true, &other, &MINISTRY)
            .await
            .unwrap();
        assert_eq!(pipe.peer, DeviceKeys::from_seed([1; 32]).id());
        assert!(told.recv().await.is_some(), "a link is up");
        let met = bluetooth.met.lock().unwrap().clone();
        assert_eq!(
            met,
            BTreeSet::from([other.id()]),
            "and it is known by its tokens"
        );
    }
}
