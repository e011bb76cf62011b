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
use crate::host::links::radio::RadioState;

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

/// A passphrase that nobody can know.
pub fn passphrase() -> Result<String, RadioState> {
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).map_err(|e| RadioState::Failed(e.to_string()))?;
    Ok(hex(&fresh))
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

/// What a person's phone scans to join a network: `WIFI:T:WPA;S:name;P:passphrase;;`, as cameras and
/// settings of phones read it (ZXing's form).
pub fn to_code(network: &Network) -> String {
    let plain = |text: &str| -> String {
        let special = |c: char| matches!(c, '\\' | ';' | ',' | ':' | '"');
        text.chars()
            .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
            .collect()
    };
    let Network {
        ssid, passphrase, ..
    } = network;
    format!("WIFI:T:WPA;S:{};P:{};;", plain(ssid), plain(passphrase))
}

/// Reads such a code, whoever showed it; `None`: it is none, or of a network without a passphrase.
pub fn of_code(code: &str) -> Option<Network> {
    let mut fields = std::collections::BTreeMap::new();
    let (mut field, mut escaped) = (String::new(), false);
    for c in code.trim().strip_prefix("WIFI:")?.chars() {
        match (c, escaped) {
            ('\\', false) => escaped = true,
            (';', false) => {
                if let Some((name, value)) = std::mem::take(&mut field).split_once(':') {
                    fields.insert(name.to_ascii_uppercase(), value.to_owned());
                }
            }
            (c, _) => {
                field.push(c);
                escaped = false;
            }
        }
    }
    let network = Network {
        ssid: fields.remove("S")?,
        passphrase: fields.remove("P")?,
        frequency_mhz: 0,
    };
    // IEEE 802.11: a name of 32 bytes at most; WPA2: 8 to 63 characters.
    let sound =
        (1..=32).contains(&network.ssid.len()) && (8..=63).contains(&network.passphrase.len());
    sound.then_some(network)
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

    #[test]
    fn a_code_is_read_as_it_was_shown_and_as_other_phones_show_theirs() {
        let ours = of_salt(&[3; 32], [1, 2, 3, 4, 5, 6]);
        let read = of_code(&to_code(&ours)).unwrap();
        assert_eq!((read.ssid, read.passphrase), (ours.ssid, ours.passphrase));
        let odd = Network {
            ssid: "Kijiji; \"5\", a:b\\".into(),
            passphrase: "p:a;s,s\\phrase".into(),
            frequency_mhz: 0,
        };
        assert_eq!(of_code(&to_code(&odd)), Some(odd));
        let android = of_code("WIFI:S:AndroidAP_1234;T:WPA;P:abcd1234;H:false;;").unwrap();
        assert_eq!(
            (&*android.ssid, &*android.passphrase),
            ("AndroidAP_1234", "abcd1234")
        );
        for other in [
            "",
            "https://example.org",
            "WIFI:",
            "WIFI:T:nopass;S:cafe;;",
            "WIFI:S:x;P:short;;",
        ] {
            assert_eq!(of_code(other), None, "{other}");
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
