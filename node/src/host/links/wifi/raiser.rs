//! When groups are raised, joined and left: for a meeting, for a person, or to find others where there is
//! no Bluetooth.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::group;
use super::supplicant::{Held, Interface, open, state};
use crate::agent::Network;
use crate::host::Log;
use crate::host::links::counts::Counts;
use crate::host::links::radio::{RadioState, Standing};
use crate::host::links::{Later, Raiser, Rules};

/// Between two looks at whether it can be used.
const LOOKS_EVERY: Duration = Duration::from_secs(60);
/// Without Bluetooth: how long a group stays without anybody, and with somebody at most.
const HOLDS: Duration = Duration::from_secs(45);
/// See [`HOLDS`].
const HOLDS_MAX: Duration = Duration::from_secs(20 * 60);

/// Wi-Fi over wpa_supplicant.
pub struct Wifi {
    /// The interface, such as `wlan0`; `None`: the first.
    interface: Option<String>,
    discovery: watch::Receiver<Option<[u8; 32]>>,
    looks: watch::Receiver<(u64, u64)>,
    /// Others are found by Wi-Fi itself: there is no Bluetooth here.
    alone: bool,
    held: tokio::sync::Mutex<Option<Held>>,
    standing: Standing,
    /// The name of a group that could not be joined.
    failed: Mutex<String>,
    counts: Arc<Counts>,
    log: Log,
}

impl Wifi {
    /// Wi-Fi of a phone; it is used from `run` on. `alone`: without Bluetooth, others are found by it.
    pub fn new(
        (interface, alone): (Option<String>, bool),
        (discovery, looks): Rules,
        (counts, log): (Arc<Counts>, Log),
    ) -> Self {
        Self {
            interface,
            discovery,
            looks,
            alone,
            held: tokio::sync::Mutex::default(),
            standing: Standing::of("wi-fi", "ready to raise networks", log.clone()),
            failed: Mutex::default(),
            counts,
            log,
        }
    }

    /// A group of this ministry's, which nobody has seen yet.
    fn fresh(&self) -> Result<Network, RadioState> {
        let key = *self.discovery.borrow();
        let key = key.ok_or_else(|| RadioState::Failed("no ministry yet".into()))?;
        let mut salt = [0; 6];
        getrandom::fill(&mut salt).map_err(|e| RadioState::Failed(e.to_string()))?;
        let mut network = group::of_salt(&key, salt);
        if !self.alone {
            // It is told over the meeting itself: nothing that others could know leads to it.
            network.passphrase = group::passphrase()?;
        }
        Ok(network)
    }

    async fn put_up(&self, join: Option<&Network>) -> Result<Network, RadioState> {
        let mut held = self.held.lock().await;
        let interface = open(self.interface.as_deref()).await?;
        if let Some(before) = held.take() {
            interface.leave(before).await;
        }
        let network = match join {
            Some(network) => network.clone(),
            None => self.fresh()?,
        };
        *held = Some(match join {
            Some(network) => interface.join(network).await?,
            None => interface.raise(&network).await?,
        });
        Ok(network)
    }

    /// What cannot be taken down now, as the service does not answer, is still held.
    async fn take_down(&self) {
        let mut held = self.held.lock().await;
        if held.is_some()
            && let Ok(interface) = open(self.interface.as_deref()).await
            && let Some(before) = held.take()
        {
            interface.leave(before).await;
        }
    }

    /// One round of finding others without Bluetooth: a group that is there is joined; else, every
    /// other time, one is raised for a while. Who has met leaves.
    async fn round(&self, raises: bool) -> Result<(), RadioState> {
        let key = *self.discovery.borrow();
        let Some(key) = key else { return Ok(()) };
        let found = open(self.interface.as_deref()).await?.find(&key).await?;
        // One that was there in vain (gone since, or a stranger's copy of its name) is not tried again at once.
        let failed = self
            .failed
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone();
        let found = found.filter(|network| network.ssid != failed);
        self.counts.scans.fetch_add(1, Relaxed);
        if found.is_none() && !raises {
            return Ok(());
        }
        let put_up = self.put_up(found.as_ref()).await;
        let tried = found.as_ref().filter(|_| put_up.is_err());
        *self.failed.lock().unwrap_or_else(|e| e.into_inner()) = tried
            .map(|network| network.ssid.clone())
            .unwrap_or_default();
        put_up?;
        let verb = if found.is_some() { "joined" } else { "raised" };
        (self.log)(&format!("wi-fi: {verb} a group"));
        let began = tokio::time::Instant::now();
        let mut used = false;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let meets = self.counts.open.load(Relaxed) > 0;
            used |= meets;
            // Who joined leaves once it has met; who raised stays for others until its time is over.
            let over = match (meets, used && found.is_some()) {
                (true, _) => began.elapsed() > HOLDS_MAX,
                (false, true) => began.elapsed() > Duration::from_secs(10),
                (false, false) => began.elapsed() > HOLDS,
            };
            if over {
                break;
            }
        }
        self.take_down().await;
        Ok(())
    }
}

/// A hotspot that a person has raised, or joined, until it is dropped by [`Hotspot::leave`].
pub struct Hotspot {
    interface: Interface,
    held: Held,
}

impl Hotspot {
    /// Raises one with a name and a passphrase that nobody has used yet.
    pub async fn raise(interface: Option<&str>) -> Result<(Self, Network), RadioState> {
        let interface = open(interface).await?;
        let mut fresh = [0; 38];
        getrandom::fill(&mut fresh).map_err(|e| RadioState::Failed(e.to_string()))?;
        let (salt, key) = fresh.split_first_chunk::<6>().unwrap_or((&[0; 6], &[]));
        let key = key.first_chunk::<32>().copied().unwrap_or_default();
        let network = Network {
            passphrase: group::passphrase()?,
            ..group::of_salt(&key, *salt)
        };
        let held = interface.raise_for_people(&network).await?;
        Ok((Self { interface, held }, network))
    }

    /// Joins one.
    pub async fn join(interface: Option<&str>, network: &Network) -> Result<Self, RadioState> {
        let interface = open(interface).await?;
        let held = interface.join(network).await?;
        Ok(Self { interface, held })
    }

    /// Takes it down, or leaves it.
    pub async fn leave(self) {
        self.interface.leave(self.held).await;
    }
}

impl Raiser for Wifi {
    fn works(&self) -> bool {
        self.standing.works()
    }

    fn raise(&self) -> Later<'_, Result<Network, RadioState>> {
        Box::pin(self.put_up(None))
    }

    fn join<'a>(&'a self, network: &'a Network) -> Later<'a, Result<(), RadioState>> {
        Box::pin(async move { self.put_up(Some(network)).await.map(drop) })
    }

    fn leave(&self) -> Later<'_, ()> {
        Box::pin(self.take_down())
    }

    fn run(self: Arc<Self>) -> Later<'static, ()> {
        Box::pin(async move {
            let key = *self.discovery.borrow();
            if let (Some(key), Ok(interface)) = (key, open(self.interface.as_deref()).await) {
                let _ = interface.sweep(&key).await;
            }
            loop {
                let free = self.held.lock().await.is_none();
                if free {
                    self.standing.note(state(self.interface.as_deref()).await);
                }
                if !self.alone {
                    tokio::time::sleep(LOOKS_EVERY).await;
                    continue;
                }
                let mut chance = [0; 2];
                let _ = getrandom::fill(&mut chance);
                let [raises, waits] = chance;
                if self.works()
                    && let Err(state) = self.round(raises & 1 == 1).await
                {
                    self.standing.note(state);
                }
                let (_, rests_ms) = *self.looks.borrow();
                let rests = rests_ms.max(2_000) + u64::from(waits) * 16;
                tokio::time::sleep(Duration::from_millis(rests)).await;
            }
        })
    }
}
