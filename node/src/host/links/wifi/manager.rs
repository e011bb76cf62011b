//! NetworkManager over D-Bus (`org.freedesktop.NetworkManager`, 1.16 and later): where it looks after an
//! interface, networks are raised and joined through it, as it would undo what is done behind its back.
//!
//! What is asked of it is volatile and bound to this program: when that ends, however it does, the network
//! goes too, and what was there before comes back.

use std::sync::Arc;
use std::time::Duration;

use dbus::Path;
use dbus::arg::{PropMap, RefArg, Variant};
use dbus::nonblock::stdintf::org_freedesktop_dbus::Properties;
use dbus::nonblock::{Proxy, SyncConnection};
use tokio::task::AbortHandle;

use super::supplicant::{connect, of_error};
use crate::agent::Network;
use crate::host::links::radio::RadioState;

const SERVICE: &str = "org.freedesktop.NetworkManager";
const ROOT: &str = "/org/freedesktop/NetworkManager";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const ACTIVE: &str = "org.freedesktop.NetworkManager.Connection.Active";
/// `NM_ACTIVE_CONNECTION_STATE`: it is up, and it has come to its end.
const ACTIVATED: u32 = 2;
/// See [`ACTIVATED`].
const DEACTIVATED: u32 = 4;
/// Of 2.4 GHz, which every phone has everywhere.
const CHANNEL: u32 = 6;
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a network may take to come up: addresses included.
const COMES_UP: Duration = Duration::from_secs(60);

/// NetworkManager, which looks after an interface.
pub(super) struct Manager {
    bus: Arc<SyncConnection>,
    reads: AbortHandle,
    device: Path<'static>,
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

/// What is asked of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// This machine is its access point, and gives out addresses where it can.
    Raises,
    /// The same where it cannot: phones of ours need none.
    RaisesBare,
    Joins,
}

type Settings = std::collections::HashMap<&'static str, PropMap>;

fn put<T: RefArg + 'static>(group: &mut PropMap, name: &str, value: T) {
    group.insert(name.into(), Variant(Box::new(value)));
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// A connection as NetworkManager's settings name its parts.
fn settings(network: &Network, role: Role) -> Settings {
    let mut connection = PropMap::new();
    put(&mut connection, "type", text("802-11-wireless"));
    put(&mut connection, "id", network.ssid.clone());
    put(&mut connection, "autoconnect", false);
    let mut wireless = PropMap::new();
    put(&mut wireless, "ssid", network.ssid.as_bytes().to_vec());
    let mode = if role == Role::Joins {
        "infrastructure"
    } else {
        "ap"
    };
    put(&mut wireless, "mode", text(mode));
    let mut security = PropMap::new();
    put(&mut security, "key-mgmt", text("wpa-psk"));
    put(&mut security, "psk", network.passphrase.clone());
    let mut v4 = PropMap::new();
    let method = match role {
        Role::Raises => "shared",
        Role::RaisesBare => "link-local",
        Role::Joins => "auto",
    };
    put(&mut v4, "method", text(method));
    put(&mut v4, "may-fail", true);
    let mut v6 = PropMap::new();
    put(&mut v6, "method", text("link-local"));
    if role == Role::Joins {
        // What is on it is met; it is no way to anywhere else.
        put(&mut v4, "never-default", true);
    } else {
        put(&mut wireless, "band", text("bg"));
        put(&mut wireless, "channel", CHANNEL);
        put(&mut security, "proto", vec![text("rsn")]);
        put(&mut security, "pairwise", vec![text("ccmp")]);
        put(&mut security, "group", vec![text("ccmp")]);
    }
    Settings::from([
        ("connection", connection),
        ("802-11-wireless", wireless),
        ("802-11-wireless-security", security),
        ("ipv4", v4),
        ("ipv6", v6),
    ])
}

impl Manager {
    /// NetworkManager, if it runs and looks after this interface.
    pub(super) async fn of(interface: &str) -> Option<Self> {
        let (bus, reads) = connect().ok()?;
        let root = Proxy::new(SERVICE, ROOT, ANSWER, bus.clone());
        let found: Result<(Path<'static>,), _> = root
            .method_call(SERVICE, "GetDeviceByIpIface", (interface,))
            .await;
        let manager = Self {
            bus,
            reads,
            device: found.ok()?.0,
        };
        let device = manager.at(&manager.device);
        let managed: bool = device.get(DEVICE, "Managed").await.ok()?;
        managed.then_some(manager)
    }

    fn at(&self, path: &Path<'static>) -> Proxy<'static, Arc<SyncConnection>> {
        Proxy::new(SERVICE, path.clone(), ANSWER, self.bus.clone())
    }

    /// Raises a network, whose addresses it gives out where it has what that needs.
    pub(super) async fn raise(&self, network: &Network) -> Result<Path<'static>, RadioState> {
        match self.put_up(network, Role::Raises).await {
            Ok(active) => Ok(active),
            Err(RadioState::NotPermitted) => Err(RadioState::NotPermitted),
            Err(_) => self.put_up(network, Role::RaisesBare).await,
        }
    }

    /// Joins a network.
    pub(super) async fn join(&self, network: &Network) -> Result<Path<'static>, RadioState> {
        self.put_up(network, Role::Joins).await
    }

    async fn put_up(&self, network: &Network, role: Role) -> Result<Path<'static>, RadioState> {
        let mut how = PropMap::new();
        put(&mut how, "persist", text("volatile"));
        put(&mut how, "bind-activation", text("dbus-client"));
        let root = self.at(&Path::from(ROOT));
        let asked = (
            settings(network, role),
            self.device.clone(),
            Path::from("/"),
            how,
        );
        let (_, active, _): (Path<'static>, Path<'static>, PropMap) = root
            .method_call(SERVICE, "AddAndActivateConnection2", asked)
            .await
            .map_err(of_error)?;
        let up = async {
            loop {
                match self.at(&active).get::<u32>(ACTIVE, "State").await {
                    Ok(ACTIVATED) => return Ok(()),
                    // One that has ended is taken off the bus.
                    Ok(DEACTIVATED) | Err(_) => {
                        let why = format!("NetworkManager gave {} up", network.ssid);
                        return Err(RadioState::Failed(why));
                    }
                    Ok(_) => tokio::time::sleep(Duration::from_millis(250)).await,
                }
            }
        };
        let late = || RadioState::Failed(format!("{} did not come up in time", network.ssid));
        let up = tokio::time::timeout(COMES_UP, up).await;
        match up.map_err(|_| late()).flatten() {
            Ok(()) => Ok(active),
            Err(state) => {
                self.leave(&active).await;
                Err(state)
            }
        }
    }

    /// Takes it down, or leaves it; what is gone already is left well.
    pub(super) async fn leave(&self, active: &Path<'static>) {
        let root = self.at(&Path::from(ROOT));
        let _: Result<(), _> = root
            .method_call(SERVICE, "DeactivateConnection", (active.clone(),))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_joined_is_no_way_elsewhere_and_one_that_is_raised_is_an_access_point() {
        let network = Network {
            ssid: "DIRECT-x".into(),
            passphrase: "secret-secret".into(),
            frequency_mhz: 0,
        };
        let said = |role, group: &str, name: &str| {
            let settings = settings(&network, role);
            let value = settings[group].get(name)?.0.as_str()?.to_owned();
            Some(value)
        };
        let mode = |role| said(role, "802-11-wireless", "mode").unwrap();
        assert_eq!(mode(Role::Joins), "infrastructure");
        assert_eq!(
            (mode(Role::Raises), mode(Role::RaisesBare)),
            ("ap".into(), "ap".into())
        );
        let joins = settings(&network, Role::Joins);
        assert!(joins["ipv4"].contains_key("never-default"));
        for role in [Role::Joins, Role::Raises, Role::RaisesBare] {
            assert_eq!(
                said(role, "802-11-wireless-security", "psk").as_deref(),
                Some("secret-secret")
            );
            assert_eq!(said(role, "ipv6", "method").as_deref(), Some("link-local"));
        }
    }
}
