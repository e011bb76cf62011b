//! What a phone advertises: ten bytes that change, and say who it is to those alone who have the
//! ministry's discovery key.
//!
//! ```text
//! salt 4 · channel 1 · ministry 1 · device 4
//! channel   the L2CAP channel (PSM), xor the first byte of  H(key; salt)
//! ministry  the second byte of it: to all others noise, to phones of the ministry "one of ours"
//! device    the first four bytes of  H(key; salt · device id)
//! ```
//! H is keyed BLAKE3. As with Bluetooth's own resolvable addresses, who knows a phone recognises it by
//! trying; who does not sees a phone of the ministry that it has not met. A token proves nothing: the
//! call does.

use protocol::DeviceId;

/// Bytes of a token: what a legacy advertisement leaves beside its flags and a service of its own.
pub const TOKEN_BYTES: usize = 10;
/// The service under which tokens are advertised, and GATT is served.
pub const SERVICE: u128 = 0x7d2f_0001_6b69_4a69_7469_6b69_6a69_7469;
/// The characteristic that carries packets both ways.
pub const PACKETS: u128 = 0x7d2f_0002_6b69_4a69_7469_6b69_6a69_7469;

/// A token that has been read: a phone of the ministry is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    key: [u8; 32],
    salt: [u8; 4],
    device: [u8; 4],
    /// The L2CAP channel that it listens on; 0: none.
    pub psm: u8,
}

fn derived(discovery: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("kijiti 2026-11 bluetooth token", discovery)
}

fn masks(key: &[u8; 32], salt: [u8; 4]) -> [u8; 2] {
    let hash = blake3::keyed_hash(key, &salt);
    *hash.as_bytes().first_chunk().unwrap_or(&[0; 2])
}

fn device_tag(key: &[u8; 32], salt: [u8; 4], id: &DeviceId) -> [u8; 4] {
    let hash = blake3::keyed_hash(key, &[salt.as_slice(), id.as_bytes()].concat());
    *hash.as_bytes().first_chunk().unwrap_or(&[0; 4])
}

/// What this phone advertises, for as long as this salt lasts.
pub fn write(discovery: &[u8; 32], id: &DeviceId, psm: u8, salt: [u8; 4]) -> [u8; TOKEN_BYTES] {
    let key = derived(discovery);
    let [channel, ministry] = masks(&key, salt);
    let [a, b, c, d] = salt;
    let [e, f, g, h] = device_tag(&key, salt, id);
    [a, b, c, d, psm ^ channel, ministry, e, f, g, h]
}

/// Reads what a phone advertises; `None`: it is none of the ministry's.
pub fn read(discovery: &[u8; 32], bytes: &[u8]) -> Option<Token> {
    let [a, b, c, d, channel, ministry, e, f, g, h] =
        *<&[u8; TOKEN_BYTES]>::try_from(bytes).ok()?;
    let (key, salt) = (derived(discovery), [a, b, c, d]);
    let [mask, ours] = masks(&key, salt);
    (ministry == ours).then_some(Token {
        key,
        salt,
        device: [e, f, g, h],
        psm: channel ^ mask,
    })
}

impl Token {
    /// Whether this phone says that it is there.
    pub fn is(&self, id: &DeviceId) -> bool {
        device_tag(&self.key, self.salt, id) == self.device
    }

    /// Whether the phone that advertises this calls before this one, whose salt of the moment is `own`:
    /// both go by it, whether they know each other or not.
    pub fn calls_first(&self, own: [u8; 4]) -> bool {
        self.salt < own
    }

    /// What stands for a phone that nobody here has met, as long as its token lasts: who it is shows
    /// when it is called. It is higher than nearly any: whose turn it is has been told by the salts, and
    /// the lower one calls at once.
    pub fn stand_in(&self) -> DeviceId {
        let seen = [self.salt, self.device].concat();
        let mut id = blake3::derive_key("kijiti 2026-11 unmet phone", &seen);
        id[0] = u8::MAX;
        DeviceId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [3; 32];

    fn id(n: u8) -> DeviceId {
        DeviceId([n; 32])
    }

    #[test]
    fn a_token_says_who_and_where_to_those_who_know() {
        let bytes = write(&KEY, &id(7), 0x85, [1, 2, 3, 4]);
        let token = read(&KEY, &bytes).unwrap();
        assert_eq!(token.psm, 0x85);
        assert!(token.is(&id(7)) && !token.is(&id(8)));
        assert_ne!(token.stand_in(), id(7));
        assert_eq!(token.stand_in(), read(&KEY, &bytes).unwrap().stand_in());
        assert!(token.calls_first([1, 2, 3, 5]) && !token.calls_first([0, 9, 9, 9]));
        for length in [0, 9, 11, 40] {
            assert_eq!(read(&KEY, &vec![1; length]), None);
        }
    }

    /// A day's tokens of twenty phones, as a stranger captures them: nothing tells which are of one
    /// phone. The control: with the key each is told at once.
    #[test]
    fn a_days_tokens_of_a_phone_cannot_be_linked_without_the_key() {
        let mut salts = 0u32;
        let mut day = |n: u8, psm: u8| -> Vec<[u8; TOKEN_BYTES]> {
            let mut next = || {
                salts += 1;
                let hash = blake3::hash(&salts.to_le_bytes());
                write(&KEY, &id(n), psm, *hash.as_bytes().first_chunk().unwrap())
            };
            (0..96).map(|_| next()).collect()
        };
        let phones: Vec<_> = (0..20).map(|n| day(n, 0x80 + n)).collect();
        let same = |a: &[u8; TOKEN_BYTES], b: &[u8; TOKEN_BYTES]| {
            a.iter().zip(b).filter(|(a, b)| a == b).count()
        };
        // Bytes at which two tokens agree, of one phone and of two: chance alone, 10 of 256.
        let (mut own, mut others) = ((0, 0), (0, 0));
        for (i, a) in phones.iter().enumerate() {
            for (j, b) in phones.iter().enumerate().filter(|(j, _)| *j >= i) {
                for (x, a) in a.iter().enumerate() {
                    for b in b.iter().skip(if i == j { x + 1 } else { 0 }) {
                        let of = if i == j { &mut own } else { &mut others };
                        *of = (of.0 + same(a, b), of.1 + 1);
                    }
                }
            }
        }
        let share = |(same, pairs): (usize, usize)| same as f64 / pairs as f64;
        assert!((share(own) - 10.0 / 256.0).abs() < 0.002, "{}", share(own));
        assert!(
            (share(others) - 10.0 / 256.0).abs() < 0.002,
            "{}",
            share(others)
        );
        let told = phones.iter().enumerate().flat_map(|(n, day)| {
            day.iter()
                .map(move |bytes| read(&KEY, bytes).unwrap().is(&id(n as u8)))
        });
        assert!(told.into_iter().all(|told| told));
    }

    #[test]
    fn to_another_ministry_nearly_all_tokens_are_noise() {
        let foreign = (0..2560u32).filter(|n| {
            let bytes = write(&[4; 32], &id(1), 0x85, n.to_le_bytes());
            read(&KEY, &bytes).is_some()
        });
        assert!(foreign.count() < 30, "one in 256 is called in vain");
    }
}
