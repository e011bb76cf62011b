//! wpa_supplicant over D-Bus (`fi.w1.wpa_supplicant1`): raising a group without a person, and joining one.
//!
//! A network that a person has joined is never left for this: then nothing is raised or joined here.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use dbus::Path;
use dbus::arg::{PropMap, RefArg, Variant};
use dbus::channel::Channel;
use dbus::nonblock::stdintf::org_freedesktop_dbus::Properties;
use dbus::nonblock::{Proxy, SyncConnection};
use tokio::task::AbortHandle;

use super::group;
use super::manager::Manager;
use crate::agent::Network;
use crate::host::links::radio::{self, RadioState, SWITCHES};

const SERVICE: &str = "fi.w1.wpa_supplicant1";
const ROOT: &str = "/fi/w1/wpa_supplicant1";
const INTERFACE: &str = "fi.w1.wpa_supplicant1.Interface";
const NETWORK: &str = "fi.w1.wpa_supplicant1.Network";
const P2P: &str = "fi.w1.wpa_supplicant1.Interface.P2PDevice";
/// Where the service is asked, if it is not the system's bus.
const BUS: &str = "KIJITI_WIFI_BUS";
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a group may take to come up, and to be joined.
const COMES_UP: Duration = Duration::from_secs(25);

/// A network of ours that is up.
pub(super) enum Held {
    /// The group's interface, and the network as it was written down.
    Raised(Path<'static>, Path<'static>),
    /// The network that was joined, and those that were on before.
    Joined(Path<'static>, Vec<Path<'static>>),
    /// What NetworkManager looks after, raised or joined.
    Managed(Manager, Path<'static>),
}

/// One interface of the service's.
pub(super) struct Interface {
    bus: Arc<SyncConnection>,
    path: Path<'static>,
    name: String,
    reads: AbortHandle,
    /// The service was told of it just now.
    made: bool,
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

pub(super) fn of_error(error: dbus::Error) -> RadioState {
    let name = error.name().unwrap_or_default();
    let none = name.ends_with("InterfaceUnknown") || name.ends_with("UnknownMethod");
    match radio::of_bus(name) {
        Some(state) => state,
        None if none => RadioState::NoAdapter,
        None => RadioState::Failed(error.message().unwrap_or(name).to_owned()),
    }
}

/// Whether Wi-Fi Direct can be used here.
pub async fn state(interface: Option<&str>) -> RadioState {
    match open(interface).await {
        Ok(interface) => {
            let state = interface.state().await.unwrap_or_else(|state| state);
            if interface.made {
                // Who only looks leaves the machine as it was.
                let root = interface.at(&Path::from(ROOT));
                let given_back = root.method_call(SERVICE, "RemoveInterface", (&interface.path,));
                let _: Result<(), dbus::Error> = given_back.await;
            }
            state
        }
        Err(state) => state,
    }
}

/// The bus of the services that look after Wi-Fi.
pub(super) fn connect() -> Result<(Arc<SyncConnection>, AbortHandle), RadioState> {
    let failed = |_: dbus::Error| RadioState::NoService;
    let channel = match std::env::var(BUS) {
        Ok(address) => {
            let mut channel = Channel::open_private(&address).map_err(failed)?;
            channel.register().map_err(failed)?;
            channel
        }
        Err(_) => Channel::get_private(dbus::channel::BusType::System).map_err(failed)?,
    };
    let (resource, bus) = dbus_tokio::connection::from_channel::<SyncConnection>(channel)
        .map_err(|e| RadioState::Failed(e.to_string()))?;
    let reads = tokio::spawn(resource).abort_handle();
    Ok((bus, reads))
}

pub(super) async fn open(wanted: Option<&str>) -> Result<Interface, RadioState> {
    if radio::blocked(FilePath::new(SWITCHES), "wlan") {
        return Err(RadioState::Blocked);
    }
    let (bus, reads) = connect()?;
    let root = Proxy::new(SERVICE, ROOT, ANSWER, bus.clone());
    let wireless = || first_wireless(FilePath::new("/sys/class/net"));
    let name = wanted
        .map(str::to_owned)
        .or_else(wireless)
        .ok_or(RadioState::NoAdapter)?;
    let found: Result<(Path<'static>,), _> = root
        .method_call(SERVICE, "GetInterface", (name.as_str(),))
        .await;
    let mut made_now = false;
    let path = match found {
        Ok((path,)) => path,
        Err(error)
            if error
                .name()
                .is_some_and(|name| name.ends_with("InterfaceUnknown")) =>
        {
            let mut arguments = PropMap::new();
            arguments.insert("Ifname".into(), Variant(Box::new(name.clone())));
            arguments.insert("Driver".into(), Variant(Box::new("nl80211".to_owned())));
            let made: Result<(Path<'static>,), _> = root
                .method_call(SERVICE, "CreateInterface", (arguments,))
                .await;
            made_now = true;
            made.map_err(of_error)?.0
        }
        Err(error) => return Err(of_error(error)),
    };
    Ok(Interface {
        bus,
        path,
        name,
        reads,
        made: made_now,
    })
}

/// The machine's first wireless interface, but for those of groups.
fn first_wireless(interfaces: &FilePath) -> Option<String> {
    let mut names: Vec<_> = std::fs::read_dir(interfaces)
        .ok()?
        .flatten()
        .filter(|interface| interface.path().join("phy80211").exists())
        .filter_map(|interface| interface.file_name().into_string().ok())
        .filter(|name| !name.starts_with("p2p-"))
        .collect();
    names.sort();
    names.into_iter().next()
}

/// Whether an interface's capabilities name P2P.
fn raises_groups(able: &PropMap) -> bool {
    let modes = able.get("Modes").and_then(|modes| modes.0.as_iter());
    let mut modes = modes.into_iter().flatten().filter_map(RefArg::as_str);
    modes.any(|mode| mode == "p2p")
}

fn named(path: &Path<'static>) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(path.clone()))
}

fn text(text: &str) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(text.to_owned()))
}

impl Interface {
    fn at(&self, path: &Path<'static>) -> Proxy<'static, Arc<SyncConnection>> {
        Proxy::new(SERVICE, path.clone(), ANSWER, self.bus.clone())
    }

    fn own(&self) -> Proxy<'static, Arc<SyncConnection>> {
        self.at(&self.path)
    }

    async fn property<T>(&self, path: &Path<'static>, name: &str) -> Result<T, RadioState>
    where
        T: for<'b> dbus::arg::Get<'b> + 'static,
    {
        self.at(path).get(INTERFACE, name).await.map_err(of_error)
    }

    /// Every interface of the service's, those of groups among them.
    async fn all(&self) -> Result<Vec<Path<'static>>, RadioState> {
        let all = self.at(&Path::from(ROOT)).get(SERVICE, "Interfaces").await;
        all.map_err(of_error)
    }

    /// Whether it can raise groups, and is not in use for what a person wants.
    async fn state(&self) -> Result<RadioState, RadioState> {
        let able: PropMap = self.property(&self.path, "Capabilities").await?;
        if !raises_groups(&able) {
            return Ok(RadioState::Unsupported);
        }
        match self.current().await? {
            Some(_) => Ok(RadioState::InUse),
            None => Ok(RadioState::Ready),
        }
    }

    /// The network that it is on.
    async fn current(&self) -> Result<Option<Path<'static>>, RadioState> {
        let current: Path<'static> = self.property(&self.path, "CurrentNetwork").await?;
        Ok(Some(current).filter(|path| &**path != "/"))
    }

    pub(super) async fn raise(&self, network: &Network) -> Result<Held, RadioState> {
        let mut said = PropMap::new();
        said.insert("ssid".into(), text(&network.ssid));
        said.insert("psk".into(), text(&network.passphrase));
        said.insert("key_mgmt".into(), text("WPA-PSK"));
        said.insert("proto".into(), text("RSN"));
        said.insert("pairwise".into(), text("CCMP"));
        said.insert("mode".into(), Variant(Box::new(3_i32)));
        said.insert("disabled".into(), Variant(Box::new(2_i32)));
        let own = self.own();
        let (written,): (Path<'static>,) = (own.method_call(P2P, "AddPersistentGroup", (said,)))
            .await
            .map_err(of_error)?;
        let mut add = PropMap::new();
        add.insert("persistent_group_object".into(), named(&written));
        let frequency = i32::try_from(network.frequency_mhz).unwrap_or_default();
        add.insert("frequency".into(), Variant(Box::new(frequency)));
        let added: Result<(), _> = own.method_call(P2P, "GroupAdd", (add,)).await;
        let raised = match added.map_err(of_error) {
            Ok(()) => self.group_up(&network.ssid).await,
            Err(state) => Err(state),
        };
        match raised {
            Ok(group) => Ok(Held::Raised(group, written)),
            Err(state) => {
                let forget: Result<(), _> = own
                    .method_call(P2P, "RemovePersistentGroup", (written,))
                    .await;
                forget.map_err(of_error)?;
                Err(state)
            }
        }
    }

    /// Raises a network for people: by NetworkManager where that looks after the interface.
    pub(super) async fn raise_for_people(&self, network: &Network) -> Result<Held, RadioState> {
        match Manager::of(&self.name).await {
            None => self.raise(network).await,
            Some(_) if self.current().await?.is_some() => Err(RadioState::InUse),
            Some(manager) => {
                let active = manager.raise(network).await?;
                Ok(Held::Managed(manager, active))
            }
        }
    }

    /// The interface of a group that has just been added, once it is up.
    async fn group_up(&self, ssid: &str) -> Result<Path<'static>, RadioState> {
        let up = async {
            loop {
                for path in self.all().await? {
                    let name: String = self.property(&path, "Ifname").await.unwrap_or_default();
                    let state: String = self.property(&path, "State").await.unwrap_or_default();
                    let ours = name.starts_with("p2p-") && state == "completed";
                    if ours && self.ssid_of_group(&path).await == ssid {
                        return Ok(path);
                    }
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let late = || RadioState::Failed(format!("the group {ssid} did not come up in time"));
        tokio::time::timeout(COMES_UP, up)
            .await
            .map_err(|_| late())?
    }

    /// The name of the group that an interface is in; empty if there is none.
    async fn ssid_of_group(&self, path: &Path<'static>) -> String {
        let group: Result<Path<'static>, _> = self.at(path).get(P2P, "Group").await;
        let Ok(group) = group else {
            return String::new();
        };
        let ssid: Result<Vec<u8>, _> = self
            .at(&group)
            .get("fi.w1.wpa_supplicant1.Group", "SSID")
            .await;
        String::from_utf8(ssid.unwrap_or_default()).unwrap_or_default()
    }

    /// Networks that are switched on.
    async fn enabled(&self) -> Vec<Path<'static>> {
        let all: Vec<Path<'static>> = self
            .property(&self.path, "Networks")
            .await
            .unwrap_or_default();
        let mut on = Vec::new();
        for network in all {
            let enabled = self.at(&network).get(NETWORK, "Enabled").await;
            if enabled.unwrap_or(false) {
                on.push(network);
            }
        }
        on
    }

    /// Takes down groups of this ministry's, and leaves those that were joined, which a program of ours
    /// has left when it was killed.
    pub(super) async fn sweep(&self, key: &[u8; 32]) -> Result<(), RadioState> {
        for path in self.all().await? {
            if group::recognise(key, &self.ssid_of_group(&path).await).is_some() {
                let _: Result<(), _> = self.at(&path).method_call(P2P, "Disconnect", ()).await;
            }
        }
        let networks: Vec<Path<'static>> = self.property(&self.path, "Networks").await?;
        for path in networks {
            let of_ours = self.at(&path).get::<PropMap>(NETWORK, "Properties").await;
            let ssid = of_ours.as_ref().ok().and_then(|all| all.get("ssid"));
            let ssid = ssid.and_then(|ssid| ssid.0.as_str()).unwrap_or_default();
            if group::recognise(key, ssid.trim_matches('"')).is_some() {
                let own = self.own();
                let _: Result<(), _> = own.method_call(INTERFACE, "RemoveNetwork", (path,)).await;
            }
        }
        Ok(())
    }

    pub(super) async fn join(&self, network: &Network) -> Result<Held, RadioState> {
        if self.current().await?.is_some() {
            return Err(RadioState::InUse);
        }
        if let Some(manager) = Manager::of(&self.name).await {
            let active = manager.join(network).await?;
            return Ok(Held::Managed(manager, active));
        }
        let mut said = PropMap::new();
        said.insert("ssid".into(), text(&network.ssid));
        said.insert("psk".into(), text(&network.passphrase));
        said.insert("key_mgmt".into(), text("WPA-PSK"));
        if network.frequency_mhz != 0 {
            said.insert("scan_freq".into(), text(&network.frequency_mhz.to_string()));
        }
        let (own, before) = (self.own(), self.enabled().await);
        let (added,): (Path<'static>,) = (own.method_call(INTERFACE, "AddNetwork", (said,)))
            .await
            .map_err(of_error)?;
        let joined = async {
            let selected: Result<(), _> = own
                .method_call(INTERFACE, "SelectNetwork", (added.clone(),))
                .await;
            selected.map_err(of_error)?;
            loop {
                let state: String = self.property(&self.path, "State").await?;
                if state == "completed" {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let late = || RadioState::Failed(format!("{} was not joined in time", network.ssid));
        let joined = tokio::time::timeout(COMES_UP, joined).await;
        let held = Held::Joined(added, before);
        match joined.map_err(|_| late()).flatten() {
            // Selecting ours has switched the others off: were this program killed, they would stay so.
            Ok(()) => {
                if let Held::Joined(_, before) = &held {
                    self.enable(before).await;
                }
                Ok(held)
            }
            Err(state) => {
                self.leave(held).await;
                Err(state)
            }
        }
    }

    /// Whatever is gone already is left well.
    pub(super) async fn leave(&self, held: Held) {
        let own = self.own();
        match held {
            Held::Managed(manager, active) => manager.leave(&active).await,
            Held::Raised(group, written) => {
                let _: Result<(), _> = self.at(&group).method_call(P2P, "Disconnect", ()).await;
                let _: Result<(), _> = own
                    .method_call(P2P, "RemovePersistentGroup", (written,))
                    .await;
            }
            Held::Joined(network, before) => {
                let _: Result<(), _> = own
                    .method_call(INTERFACE, "RemoveNetwork", (network,))
                    .await;
                self.enable(&before).await;
            }
        }
    }

    /// Switches networks on, which is not the same as joining one.
    async fn enable(&self, networks: &[Path<'static>]) {
        for network in networks {
            let _ = self.at(network).set(NETWORK, "Enabled", true).await;
        }
    }

    /// Looks for groups of the ministry's phones.
    pub(super) async fn find(&self, key: &[u8; 32]) -> Result<Option<Network>, RadioState> {
        let mut how = PropMap::new();
        how.insert("Type".into(), text("active"));
        let own = self.own();
        let scans: Result<(), _> = own.method_call(INTERFACE, "Scan", (how,)).await;
        scans.map_err(of_error)?;
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            if !self.property::<bool>(&self.path, "Scanning").await? {
                break;
            }
        }
        let seen: Vec<Path<'static>> = self.property(&self.path, "BSSs").await?;
        for bss in seen {
            let ssid: Result<Vec<u8>, _> =
                self.at(&bss).get("fi.w1.wpa_supplicant1.BSS", "SSID").await;
            let ssid = ssid.unwrap_or_default();
            let ssid = std::str::from_utf8(&ssid).unwrap_or_default();
            if let Some(network) = group::recognise(key, ssid) {
                return Ok(Some(network));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_groups_are_not_the_machines_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert_eq!(first_wireless(at), None);
        for name in ["p2p-wlan0-0", "wlan1", "wlan0"] {
            std::fs::create_dir_all(at.join(name).join("phy80211")).unwrap();
        }
        std::fs::create_dir(at.join("eth0")).unwrap();
        assert_eq!(first_wireless(at).as_deref(), Some("wlan0"));
    }
}
