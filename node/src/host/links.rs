//! Links: the port between the agent's thread and whatever carries bytes. A driver finds neighbours,
//! dials, and hands over pipes whose other end is proved; what is a meeting's is the same for all of
//! them.
//!
//! One meeting is one pipe. The writer tells the agent how much it has sent, which is the only thing
//! that makes the agent produce more. Whom to call and when is the agent's rule; a driver calls
//! nobody by itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::DeviceId;
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use self::counts::Counts;
use self::radio::RadioState;
use super::body::Message;
use crate::agent::{LinkClass, LinkId, Network};
use crate::api::Refusal;

pub mod bluetooth;
mod changes;
mod congestion;
pub mod counts;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod credits;
pub mod discovery;
pub mod folder;
mod iroh;
pub mod noise;
pub mod radio;
mod scoped;
pub mod wifi;

pub use self::iroh::{ALPN, Ip, dial, endpoint};

/// Bytes taken from a link at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that wait for a slow link.
const SLOW_AHEAD_BYTES: usize = 64 * 1024;
/// Bytes handed to a sender at once, where there are as many.
const TOGETHER_BYTES: usize = 32 * 1024;
/// How long the last bytes may take to be acknowledged.
const FAREWELL: Duration = Duration::from_secs(2);

/// Something that is awaited, of any driver.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What carries bytes between two phones: IP, Bluetooth, a folder.
pub trait Driver: Send + Sync {
    /// What kind of link it makes.
    fn class(&self) -> LinkClass;
    /// Whether it can be used now: what has no adapter makes no links.
    fn works(&self) -> bool {
        true
    }
    /// Finds neighbours, and takes calls, until the program ends; all of it is told to the port.
    fn scan(self: Arc<Self>, port: Port) -> Later<'static, ()>;
    /// Calls a phone where it was seen, or where a person says that it is.
    fn dial<'a>(&'a self, peer: DeviceId, at: &'a str) -> Later<'a, Result<Pipe, Refusal>>;
    /// Where others reach it.
    fn addresses(&self) -> Vec<String>;
    /// Ends it.
    fn close(&self) -> Later<'_, ()>;
}

/// What raises networks for single meetings, and joins those of others.
pub trait Raiser: Send + Sync {
    /// Whether it can, now.
    fn works(&self) -> bool;
    /// Raises one, under a name and a passphrase of its own.
    fn raise(&self) -> Later<'_, Result<Network, RadioState>>;
    /// Joins one.
    fn join<'a>(&'a self, network: &'a Network) -> Later<'a, Result<(), RadioState>>;
    /// Takes down what was raised, leaves what was joined, and puts back what was there before.
    fn leave(&self) -> Later<'_, ()>;
    /// Keeps to it until the program ends: what can be used, and what is found without Bluetooth.
    fn run(self: Arc<Self>) -> Later<'static, ()>;
}

/// The sending half of a pipe.
pub trait Sender: Send {
    /// Sends all of it.
    fn send(&mut self, bytes: Vec<u8>) -> Later<'_, io::Result<()>>;
    /// Says that nothing more comes, and waits until all has been acknowledged.
    fn finish(&mut self) -> Later<'_, ()>;
}

/// A pipe to a phone whose name the driver has proved.
pub struct Pipe {
    /// Who is at the other end.
    pub peer: DeviceId,
    /// What goes there.
    pub sender: Box<dyn Sender>,
    /// What comes from there.
    pub receiver: Box<dyn AsyncRead + Send + Unpin>,
    /// Cuts it, once both halves are done with.
    pub cut: Box<dyn FnOnce() + Send>,
}

/// What the writer of a link is given.
#[derive(Debug)]
pub enum ToSend {
    /// Bytes of a frame.
    Bytes(Vec<u8>),
    /// Nothing more: end the link once everything is acknowledged.
    End,
}

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

/// Where drivers tell what they find, and hand over pipes.
#[derive(Debug, Clone)]
pub struct Port {
    messages: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

impl Port {
    pub(super) fn new(messages: mpsc::Sender<Message>, counts: Arc<Counts>) -> Self {
        Self { messages, counts }
    }

    /// A neighbour was noticed. `false`: the phone stops.
    pub async fn seen(&self, peer: DeviceId, class: LinkClass, at: String) -> bool {
        let seen = Message::Seen { peer, class, at };
        self.messages.send(seen).await.is_ok()
    }

    /// Runs a meeting over a pipe that was called from elsewhere, to its end.
    pub async fn answer(&self, class: LinkClass, pipe: Pipe) {
        let link = NEXT_LINK.fetch_add(1, Ordering::Relaxed);
        self.run(link, (class, false), pipe).await;
    }

    /// Runs a meeting over a pipe that this phone has dialled. Returns its number at once.
    fn begin(&self, class: LinkClass, pipe: Pipe) -> LinkId {
        let link = NEXT_LINK.fetch_add(1, Ordering::Relaxed);
        let port = self.clone();
        tokio::spawn(async move { port.run(link, (class, true), pipe).await });
        link
    }

    async fn run(&self, link: LinkId, (class, dialed): (LinkClass, bool), pipe: Pipe) {
        // The agent hands out no more than SEND_AHEAD_BYTES_MAX at a time, so this queue is bounded
        // by it.
        let (to_send, queue) = mpsc::unbounded_channel();
        let up = Message::LinkUp {
            link,
            peer: pipe.peer,
            class,
            dialed,
            to_send,
        };
        if self.messages.send(up).await.is_err() {
            return;
        }
        let bytes = match class {
            LinkClass::Ip => SEND_AHEAD_BYTES_MAX,
            // Seconds of it, so that what is urgent waits for little and a move repeats little.
            LinkClass::Bluetooth => SLOW_AHEAD_BYTES,
        };
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        let _ = self.messages.send(Message::Writable { link, bytes }).await;
        let mut writer = tokio::spawn(write(link, pipe.sender, queue, self.messages.clone()));
        // The link ends with either side of it: once the last word is said, nothing more is waited
        // for.
        let why = tokio::select! {
            why = self.read(link, pipe.receiver) => why,
            _ = &mut writer => "this phone ended the link".to_owned(),
        };
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let _ = self.messages.send(Message::LinkDown { link, why }).await;
        if !writer.is_finished() {
            let _ = tokio::time::timeout(FAREWELL * 2, writer).await;
        }
        (pipe.cut)();
    }

    /// Reads until the end; returns why it ended.
    async fn read(&self, link: LinkId, mut receive: Box<dyn AsyncRead + Send + Unpin>) -> String {
        // Packets are small and the agent's queue is short: while it is busy, bytes gather here and
        // go over in one piece.
        loop {
            let mut bytes = Vec::with_capacity(READ_BYTES);
            match receive.read_buf(&mut bytes).await {
                Ok(1..) => {
                    let received = Message::Received { link, bytes };
                    if self.messages.send(received).await.is_err() {
                        return "this phone stops".into();
                    }
                }
                Ok(0) => return "the other phone ended the link".into(),
                Err(error) => return format!("the link is gone ({error})"),
            }
        }
    }
}

async fn write(
    link: LinkId,
    mut sender: Box<dyn Sender>,
    mut queue: mpsc::UnboundedReceiver<ToSend>,
    messages: mpsc::Sender<Message>,
) {
    let mut ends = false;
    while !ends {
        let Some(ToSend::Bytes(mut bytes)) = queue.recv().await else {
            break;
        };
        // What waits behind it goes with it: a radio's packets are large, and a rest is as slow as a whole
        // one.
        while bytes.len() < TOGETHER_BYTES
            && let Ok(next) = queue.try_recv()
        {
            match next {
                ToSend::Bytes(more) => bytes.extend_from_slice(&more),
                ToSend::End => {
                    ends = true;
                    break;
                }
            }
        }
        let sent = bytes.len();
        if sender.send(bytes).await.is_err() {
            break;
        }
        let writable = Message::Writable { link, bytes: sent };
        if messages.send(writable).await.is_err() {
            break;
        }
    }
    let _ = tokio::time::timeout(FAREWELL, sender.finish()).await;
}

/// What radios go by: the ministry's discovery key, and for how long they look and rest, in
/// milliseconds, as power allows.
pub type Rules = (
    tokio::sync::watch::Receiver<Option<[u8; 32]>>,
    tokio::sync::watch::Receiver<(u64, u64)>,
);

/// What carries bytes, and what raises networks.
pub(super) type Drivers = (Vec<Arc<dyn Driver>>, Option<Arc<dyn Raiser>>);

/// The drivers of this phone.
#[derive(Clone)]
pub(super) struct Links {
    drivers: Vec<Arc<dyn Driver>>,
    raiser: Option<Arc<dyn Raiser>>,
    port: Port,
    counts: Arc<Counts>,
}

impl Links {
    pub(super) fn new(port: Port, (drivers, raiser): Drivers, counts: Arc<Counts>) -> Self {
        if let Some(raiser) = &raiser {
            tokio::spawn(raiser.clone().run());
        }
        for driver in &drivers {
            tokio::spawn(driver.clone().scan(port.clone()));
        }
        Self {
            drivers,
            raiser,
            port,
            counts,
        }
    }

    /// What raises networks here.
    pub(super) fn raiser(&self) -> Option<Arc<dyn Raiser>> {
        self.raiser.clone()
    }

    /// Whether it can now.
    pub(super) fn can_raise(&self) -> bool {
        self.raiser.as_ref().is_some_and(|raiser| raiser.works())
    }

    /// What they have cost.
    pub(super) fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// What kinds of links there can be now.
    pub(super) fn classes(&self) -> Vec<LinkClass> {
        let working = self.drivers.iter().filter(|driver| driver.works());
        working.map(|driver| driver.class()).collect()
    }

    /// Where others reach this phone.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.drivers.iter().flat_map(|d| d.addresses()).collect()
    }

    /// Calls a phone; the link is reported like any other. Returns its number.
    pub(super) async fn call(
        &self,
        peer: DeviceId,
        class: LinkClass,
        at: &str,
    ) -> Result<LinkId, Refusal> {
        let driver = self.drivers.iter().find(|driver| driver.class() == class);
        let driver = driver.ok_or(Refusal::NotAnAddress)?;
        let pipe = driver.dial(peer, at).await?;
        Ok(self.port.begin(class, pipe))
    }

    /// Ends them all.
    pub(super) async fn close(&self) {
        for driver in &self.drivers {
            driver.close().await;
        }
    }
}
