//! Wi-Fi networks of two phones alone (Wi-Fi Direct, IEEE 802.11 with P2P groups): raised by one, joined by
//! the other with a passphrase that neither has to type. What a ministry's phones need to recognise each
//! other's groups and to open them follows from its discovery key; the rest is IP, by link-local
//! addresses, found like on any network.

pub mod group;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod manager;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod raiser;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod supplicant;

#[cfg(all(feature = "radios", target_os = "linux"))]
pub use raiser::{Hotspot, Wifi};
#[cfg(all(feature = "radios", target_os = "linux"))]
pub use supplicant::state;
