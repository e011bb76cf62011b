//! Bluetooth LE: phones find each other by a token that means something to their ministry's phones
//! only, and meet over an L2CAP channel, or over GATT where the other has none.

#[cfg(all(feature = "radios", target_os = "linux"))]
mod bluez;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod gatt;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod l2cap;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod live;
pub mod token;

#[cfg(all(feature = "radios", target_os = "linux"))]
pub use bluez::{Bluetooth, state};

/// Which channels a phone offers and takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// L2CAP, and GATT where that cannot be had.
    Any,
    /// L2CAP alone.
    L2cap,
    /// GATT alone: what old phones have.
    Gatt,
}

/// How a radio stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RadioState {
    /// It can be used.
    Ready,
    /// The service that looks after it (`bluetoothd`, `wpa_supplicant`) does not answer.
    NoService,
    /// That service does not let this user in.
    NotPermitted,
    /// This machine has none.
    NoAdapter,
    /// It is switched off by `rfkill` or a switch.
    Blocked,
    /// It cannot do what is needed: raise networks of its own (P2P).
    Unsupported,
    /// A person uses it for something else, and is not disturbed.
    InUse,
    /// It does not work, for this reason.
    Failed(String),
}
