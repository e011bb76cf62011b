//! Bluetooth LE: phones find each other by a token that means something to their ministry's phones
//! only, and meet over an L2CAP channel, or over GATT where the other has none.

#[cfg(all(feature = "radios", target_os = "linux"))]
mod bluez;
#[cfg(all(feature = "radios", target_os = "linux"))]
mod gatt;
#[cfg(all(feature = "radios", target_os = "linux"))]
pub mod l2cap;
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

/// Where BlueZ is told what to do.
const SETTINGS: &str = "/etc/bluetooth/main.conf";

/// Whether this machine's Bluetooth address changes, as BlueZ is set up (`Privacy` in its settings; off
/// by default): where it does not, a day of this phone's words can be put in a row by it.
pub fn address_changes() -> bool {
    hides(&std::fs::read_to_string(SETTINGS).unwrap_or_default())
}

fn hides(settings: &str) -> bool {
    let said = settings
        .lines()
        .filter_map(|line| line.trim().split_once('='));
    let mut privacy = said.filter(|(name, _)| name.trim() == "Privacy");
    let on = |(_, value): (&str, &str)| {
        matches!(value.trim(), "device" | "network/on" | "limited-device")
    };
    privacy.next_back().is_some_and(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_changes_where_the_settings_say_so() {
        assert!(hides("[General]\nPrivacy=device\n"));
        assert!(hides("Privacy = network/on"));
        for other in [
            "",
            "[General]\n#Privacy=device",
            "Privacy=off",
            "Name=Privacy=device",
        ] {
            assert!(!hides(other), "{other}");
        }
    }
}
