//! One phone's body: the data folder, SQLite, bundle files, links, discovery, worker threads. No rules.
//!
//! One thread runs the agent and writes the store (`body`); links, discovery and the control socket
//! are tokio tasks that talk to it over one bounded queue, and workers (`worker`) answer requests on
//! snapshots of the store. Nothing is handed to a link before the
//! transaction that it speaks of has been committed.

mod attempts;
pub mod backup;
mod body;
pub mod bundles;
pub mod control;
pub mod folder;
mod follow;
pub mod links;
mod making;
mod power;
pub mod repair;
pub mod rogue;
pub mod sqlite;
#[cfg(test)]
mod tests;
pub mod triage;
mod vault;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::{DeviceId, DeviceKeys};
use tokio::sync::mpsc;

pub use folder::DataFolder;
pub use sqlite::DATABASE;
pub use sync::receipt;
pub use sync::space::sealing_public_key;

use body::{Body, Message};
pub use follow::Follower;

use crate::api::views::events::Event;
use crate::api::views::meetings::Progress;
use crate::api::{Answer, Refusal, Reply, Request};

/// Messages that may wait for the agent. Short, so that bytes gather in large pieces while it is
/// busy.
const QUEUE: usize = 8;

/// How long a command waits for a folder that another one uses, and between looks at it.
const FOLDER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
const FOLDER_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// Where to listen; `None`: on all interfaces, any port.
    pub listen: Option<SocketAddr>,
    /// No endpoint at all: for commands that need no link.
    pub offline: bool,
    /// Find and be found on the local network.
    pub discover: bool,
    /// Meet over Bluetooth too, where this machine has it.
    pub bluetooth: Option<BluetoothOptions>,
    /// Raise Wi-Fi networks of two phones alone, and join those of others, where this machine can.
    pub wifi: Option<WifiOptions>,
    /// Meet over no IP network.
    pub no_ip: bool,
    /// Let other programs of this machine's user ask the running phone, through a loopback socket.
    pub control: bool,
}

/// How Bluetooth is used.
#[derive(Debug, Clone)]
pub struct BluetoothOptions {
    /// Which channels.
    pub channels: links::bluetooth::Channels,
    /// The adapter, such as `hci0`; `None`: the machine's default one.
    pub adapter: Option<String>,
}

/// How Wi-Fi Direct is used.
#[derive(Debug, Clone)]
pub struct WifiOptions {
    /// The interface, such as `wlan0`; `None`: the machine's first wireless one.
    pub interface: Option<String>,
}

/// A running phone.
pub struct Host {
    runtime: tokio::runtime::Runtime,
    messages: mpsc::Sender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
    over: Option<Over>,
    happens: tokio::sync::broadcast::Sender<Event>,
    id: DeviceId,
    addresses: Vec<SocketAddr>,
    import_cut_off: bool,
}

/// Where a phone's events go, as lines for people.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The drivers that are wanted, what raises networks, and where the phone listens.
async fn drivers(
    keys: &DeviceKeys,
    options: &HostOptions,
    (key, looks): links::Rules,
    (counts, log): (Arc<links::counts::Counts>, Log),
) -> Result<(links::Drivers, Vec<SocketAddr>), Refusal> {
    let mut drivers: Vec<Arc<dyn links::Driver>> = Vec::new();
    let mut addresses = Vec::new();
    if !options.no_ip {
        let discovered = options.discover.then_some(key.clone());
        let own = (keys.id(), keys.seed());
        let shared = (counts.clone(), log.clone());
        let ip = links::Ip::bind(own, options.listen, discovered, shared).await?;
        addresses = ip.bound();
        drivers.push(Arc::new(ip));
    }
    #[cfg(all(feature = "radios", target_os = "linux"))]
    if let Some(wanted) = &options.bluetooth {
        let wanted = (wanted.channels, wanted.adapter.clone());
        let (heard, shared) = ((key.clone(), looks.clone()), (counts.clone(), log.clone()));
        let bluetooth = links::bluetooth::Bluetooth::new(keys.clone(), wanted, heard, shared);
        drivers.push(Arc::new(bluetooth));
    }
    #[cfg(all(feature = "radios", target_os = "linux"))]
    if let Some(wanted) = &options.wifi {
        let wanted = (wanted.interface.clone(), options.bluetooth.is_none());
        let wifi = links::wifi::Wifi::new(wanted, (key, looks), (counts, log));
        return Ok(((drivers, Some(Arc::new(wifi))), addresses));
    }
    #[cfg(not(all(feature = "radios", target_os = "linux")))]
    drop(looks);
    Ok(((drivers, None), addresses))
}

impl Host {
    /// Starts the phone in `folder`, which is locked while it runs.
    pub fn start(folder: DataFolder, options: HostOptions, log: Log) -> Result<Self, Refusal> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Refusal::NoMachine(format!("no threads: {e}")))?;
        let keys = folder.keys()?;
        let id = keys.id();
        let (messages, queue) = mpsc::channel(QUEUE);
        let (discovery, key) = tokio::sync::watch::channel(None);
        let (looks, _) = tokio::sync::watch::channel(crate::agent::Power::default().looks());
        let (mut links, mut addresses) = (None, Vec::new());
        let counts = Arc::new(links::counts::Counts::default());
        if !options.offline {
            let shared = (counts.clone(), log.clone());
            let rules = (key, looks.subscribe());
            let made = runtime.block_on(drivers(&keys, &options, rules, shared))?;
            addresses = made.1;
            let _inside = runtime.enter();
            let port = links::Port::new(messages.clone(), counts.clone());
            links = Some(links::Links::new(port, made.0, counts));
        }
        let control = match options.control {
            true => Some(runtime.block_on(control::serve(&folder, messages.clone()))?),
            false => None,
        };
        let happens = follow::broadcast();
        let mut body = Body::open(
            folder,
            keys,
            links,
            runtime.handle().clone(),
            messages.clone(),
            (log, happens.clone()),
            (discovery, looks),
        )?;
        body.control = control;
        let import_cut_off = body.import_is_cut_off();
        let (thread, over) = run(body, queue)?;
        Ok(Self {
            runtime,
            messages,
            thread: Some(thread),
            over: Some(over),
            happens,
            id,
            addresses,
            import_cut_off,
        })
    }

    /// This phone's name.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Follows what happens from now on, beside any others that do.
    pub fn follow(&self) -> Follower {
        Follower::of(&self.happens, self.runtime.handle().clone())
    }

    /// Asks the phone; `progress` is told of everything before the answer.
    pub fn request(
        &self,
        request: Request,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Reply, Refusal> {
        request.within_limit()?;
        let (reply, mut answers) = mpsc::unbounded_channel();
        let gone = || Refusal::Stopped;
        let message = Message::Request {
            request: Box::new(request),
            reply,
        };
        self.messages.blocking_send(message).map_err(|_| gone())?;
        loop {
            match answers.blocking_recv().ok_or_else(gone)? {
                Answer::Progress(value) => progress(&value),
                Answer::Done(result) => return result,
            }
        }
    }

    /// Waits for Ctrl-C or SIGTERM. An error if the phone has ended by itself.
    pub fn wait_for_signal(&mut self) -> Result<(), Refusal> {
        let over = self.over.take();
        self.runtime.block_on(async {
            let ended = async {
                match over {
                    Some(over) => over.await.unwrap_or(Err(Refusal::Stopped)),
                    None => std::future::pending().await,
                }
            };
            let terminate = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => {
                        signal.recv().await;
                    }
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => Ok(()),
                () = terminate => Ok(()),
                ended = ended => ended,
            }
        })
    }

    /// Ends every meeting and closes the store.
    pub fn stop(mut self) {
        let _ = self.messages.blocking_send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.runtime
            .shutdown_timeout(std::time::Duration::from_millis(500));
    }
}

/// How a phone ended.
type Over = tokio::sync::oneshot::Receiver<Result<(), Refusal>>;

/// Runs the phone on a thread of its own. However that ends, whoever waits hears of it: a process
/// that lives on without its phone would be watched by nobody.
fn run(
    body: Body,
    queue: mpsc::Receiver<Message>,
) -> Result<(std::thread::JoinHandle<()>, Over), Refusal> {
    let (ended, over) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("agent".into())
        .spawn(move || {
            let run =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || body.run(queue)));
            let _ = ended.send(run.unwrap_or(Err(Refusal::Died)));
        })
        .map_err(|e| Refusal::NoMachine(format!("no thread: {e}")))?;
    Ok((thread, over))
}

/// Asks the phone in `folder`: the one that runs there, or else one started for this request alone.
/// `secret` opens its key, if that is sealed.
pub fn ask(
    folder: &std::path::Path,
    secret: Option<&str>,
    request: Request,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Reply, Refusal> {
    if !request.begins_a_phone() && !folder::is_begun(folder) {
        return Err(Refusal::NoPhone(folder.display().to_string()));
    }
    // Somebody else may be using the folder for a moment: a command of the same kind, or a phone that
    // is just starting or ending.
    let wait_until = std::time::Instant::now() + FOLDER_TIMEOUT;
    loop {
        let answer = ask_once(folder, secret, &request, progress);
        let in_use = matches!(answer, Err(Refusal::InUse(_) | Refusal::Busy));
        if !in_use || std::time::Instant::now() >= wait_until {
            return answer;
        }
        std::thread::sleep(FOLDER_PAUSE);
    }
}

fn ask_once(
    folder: &std::path::Path,
    secret: Option<&str>,
    request: &Request,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Reply, Refusal> {
    match DataFolder::open(folder) {
        Ok(data) => {
            let options = HostOptions {
                offline: !request.needs_link(),
                control: request.needs_link(),
                ..HostOptions::default()
            };
            let host = Host::start(
                data.with_secret(secret.map(str::to_owned)),
                options,
                Arc::new(|_| {}),
            )?;
            if host.import_cut_off {
                // If it cannot go on now, the phone works all the same, and `status` says so; that it is left is said
                // at once.
                let went_on = host.request(Request::ImportGoesOn, progress);
                if let Err(given_up @ Refusal::ImportGivenUp) = went_on {
                    host.stop();
                    return Err(given_up);
                }
            }
            let answer = host.request(request.clone(), progress);
            host.stop();
            answer
        }
        Err(Refusal::InUse(_)) => control::ask_or_in_use(folder, request, progress),
        Err(failure) => Err(failure),
    }
}
