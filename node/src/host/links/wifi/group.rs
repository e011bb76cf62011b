//! The name and passphrase of a group.
//!
//! ```text
//! SSID        "DIRECT-" · hex of salt 6 · hex of mark 5       mark: first bytes of H(key; salt)
//! passphrase  hex of 16 more bytes of it
//! ```
//! H is BLAKE3 keyed by what follows from the ministry's discovery key. The salt is new each time, so
//! that to all others no two groups have anything in common.

use protocol::frame::Join;

use crate::agent::Network;

const SALT_BYTES: usize = 6;
const MARK_BYTES: usize = 5;
/// Channel 6 of 2.4 GHz, which every phone has everywhere.
const FREQUENCY_MHZ: u32 = 2_437;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The group of this salt.
pub fn of_salt(discovery: &[u8; 32], salt: [u8; SALT_BYTES]) -> Network {
    let key = blake3::derive_key("kijiti 2026-11 wi-fi group", discovery);
    let hash = blake3::keyed_hash(&key, &salt);
    let (mark, rest) = hash.as_bytes().split_at(MARK_BYTES);
    let network = Network {
        ssid: format!("{}{}{}", Join::PREFIX, hex(&salt), hex(mark)),
        passphrase: hex(rest.first_chunk::<16>().unwrap_or(&[0; 16])),
        frequency_mhz: FREQUENCY_MHZ,
    };
    protocol::always!(network.ssid.len() <= 32, "as long as a name may be");
    network
}

/// A group that was noticed, if it is one of this ministry's phones.
pub fn recognise(discovery: &[u8; 32], ssid: &str) -> Option<Network> {
    let digits = ssid.strip_prefix(Join::PREFIX)?.get(..2 * SALT_BYTES)?;
    let mut salt = [0; SALT_BYTES];
    for (n, byte) in salt.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(of_salt(discovery, salt)).filter(|network| network.ssid == ssid)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_group_is_recognised_by_phones_of_its_ministry_alone() {
        let ours = of_salt(&[3; 32], [1, 2, 3, 4, 5, 6]);
        assert_eq!(recognise(&[3; 32], &ours.ssid), Some(ours.clone()));
        assert_eq!(recognise(&[4; 32], &ours.ssid), None);
        let said = Join {
            ssid: ours.ssid.clone(),
            passphrase: ours.passphrase.clone(),
            frequency_mhz: ours.frequency_mhz,
        };
        assert!(said.is_sound());
        assert!(!format!("{said:?}").contains(&ours.passphrase));
        for other in [
            "",
            "DIRECT-",
            "DIRECT-xy-printer",
            "DIRECT-zzzzzzzzzzzzzzzzzzzzzz",
            "Café-12345678901234567890",
        ] {
            assert_eq!(recognise(&[3; 32], other), None, "{other}");
        }
    }

    /// A day of one phone's groups: nobody without the key tells them from another phone's.
    #[test]
    fn groups_of_one_phone_have_nothing_in_common() {
        let groups: Vec<_> = (0..200u64)
            .map(|n| {
                let [a, b, c, d, e, f, ..] = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                of_salt(&[3; 32], [a, b, c, d, e, f])
            })
            .collect();
        let parts: BTreeSet<_> = (groups.iter())
            .flat_map(|g| {
                [
                    g.ssid[7..19].to_owned(),
                    g.ssid[19..].to_owned(),
                    g.passphrase.clone(),
                ]
            })
            .collect();
        assert_eq!(parts.len(), 3 * groups.len());
    }
}
