//! The keys of a space over time. A space begins with one key; whenever a phone that can read it is
//! lost, a keeper of the space makes another, sealed to those who remain. Two keepers may do so
//! apart: epochs form a graph, not a line, and no clock orders them.
//!
//! ```text
//! share   epoch tag · parents: their keys, sealed under this one · members: this key, sealed to each (HPKE) ·
//!         left out: who has this key no more, nor any after it, until one of those is sealed to them again
//! ```
//! Who has a key can open those of all its ancestors, so a newcomer reads the history, and a lost
//! phone that was a member of an epoch taints it *and its ancestors*: none of them is used to write
//! any more.

use std::collections::{BTreeMap, BTreeSet};

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use hpke::rand_core::CryptoRng;
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::limits::{AREA_SEGMENT_CHARS_MAX, AREA_SEGMENTS_MAX, ENVELOPE_BYTES_MAX};
use protocol::{Area, DeviceId, DeviceKeys};
use zeroize::Zeroize;

use crate::space::{GrantError, Purpose, SealedKey, SpaceKey};

/// What names an epoch: eight bytes of a hash of its key.
pub type EpochTag = [u8; 8];

/// Members to whom one share is sealed (each takes about 120 bytes of an envelope, as many again
/// with a lease, and its area).
pub const MEMBERS_PER_SHARE_MAX: usize = 100;

// A member's sealed key, its lock, a place among those left out, and its area.
const _: () = assert!(
    MEMBERS_PER_SHARE_MAX * (122 + 168 + 34 + 3 + AREA_SEGMENTS_MAX * (AREA_SEGMENT_CHARS_MAX + 1))
        <= ENVELOPE_BYTES_MAX,
    "a share fits an envelope"
);

/// A key of a space, sealed to those who may read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyShare {
    /// The epoch whose key it is.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub epoch: EpochTag,
    /// The epochs that it follows.
    #[n(1)]
    pub parents: Vec<Parent>,
    /// The key, for each member.
    #[n(2)]
    pub members: Vec<SealedKey>,
    /// Days of use after which a member locks the key away.
    #[n(3)]
    pub lease_days: Option<u32>,
    /// The key again for members with a lease, each under a short code that the keeper can say over
    /// the phone.
    #[cbor(n(4), default, skip_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// Phones that had keys of the space and get this one and those after it no more.
    #[cbor(n(5), default, skip_if = "Vec::is_empty")]
    pub left_out: Vec<DeviceId>,
    /// Where each member is certified, in the order of `members`, as its keeper knows it: so a
    /// phone that has not seen a member's certificates can still tell whose word about it counts.
    #[n(6)]
    pub areas: Vec<Area>,
}

/// Somebody who may have the keys of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The phone.
    pub device: DeviceId,
    /// Its public sealing key, which it has signed itself.
    pub sealing_key: [u8; 32],
    /// Where it is certified.
    pub area: Area,
}

/// A key locked with a short code of 50 bits, stretched by scrypt (2¹⁵, r = 8: 32 MB and about a
/// tenth of a second a guess), and then sealed to its member: who carries it has nothing to guess
/// at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lock {
    /// XChaCha20-Poly1305 of the key under the code, sealed to the member.
    #[n(0)]
    pub sealed: SealedKey,
    /// Fresh randomness.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 24],
}

/// Letters of a code: Crockford's base 32, in which none are taken for each other.
const CODE_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The code with which this keeper lets a member open one lock: ten letters in two groups.
pub fn unlock_code(keeper: &DeviceKeys, member: &DeviceId, nonce: &[u8; 24]) -> String {
    let mut secret = keeper.storage_key();
    let hash = blake3::derive_key(
        "kijiti 2026-11 unlock code",
        &[&secret[..], member.as_bytes(), nonce].concat(),
    );
    secret.zeroize();
    let letter = |byte: &u8| {
        char::from(
            CODE_LETTERS
                .get(usize::from(byte & 31))
                .copied()
                .unwrap_or(b'2'),
        )
    };
    let letters: String = hash.iter().take(10).map(letter).collect();
    always!(
        letters.len() == 10 && !letters.contains(['i', 'l', 'o']),
        "no letter is read as another"
    );
    format!(
        "{}-{}",
        letters.get(..5).unwrap_or_default(),
        letters.get(5..).unwrap_or_default()
    )
}

fn code_cipher(code: &str, nonce: &[u8; 24]) -> Option<XChaCha20Poly1305> {
    let meant = |letter: char| match letter {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let letters = code
        .to_lowercase()
        .chars()
        .map(meant)
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>();
    let mut key = [0; 32];
    scrypt::scrypt(
        letters.as_bytes(),
        nonce,
        &scrypt::Params::new(15, 8, 1, 32).ok()?,
        &mut key,
    )
    .ok()?;
    let cipher = XChaCha20Poly1305::new((&key).into());
    key.zeroize();
    Some(cipher)
}

impl Lock {
    /// Locks a key for a member.
    pub fn seal(
        key: &SpaceKey,
        (to, sealing_key): (DeviceId, &[u8; 32]),
        code: &str,
        nonce: [u8; 24],
        rng: &mut impl CryptoRng,
    ) -> Option<Self> {
        let payload = Payload {
            msg: key.bytes(),
            aad: to.as_bytes(),
        };
        let locked = code_cipher(code, &nonce)?
            .encrypt((&nonce).into(), payload)
            .ok()?;
        let sealed =
            SealedKey::seal_bytes(&locked, Purpose::Lock, key.area(), to, sealing_key, rng).ok()?;
        Some(Self { sealed, nonce })
    }

    /// Opens it on the phone of its member with the code, however it was typed.
    pub fn open(&self, area: &Area, code: &str, keys: &DeviceKeys) -> Option<SpaceKey> {
        let locked = self.sealed.open_bytes(Purpose::Lock, area, keys).ok()?;
        let payload = Payload {
            msg: &locked,
            aad: self.sealed.to.as_bytes(),
        };
        let mut plain = code_cipher(code, &self.nonce)?
            .decrypt((&self.nonce).into(), payload)
            .ok()?;
        let bytes: Option<[u8; 32]> = plain.as_slice().try_into().ok();
        plain.zeroize();
        bytes.map(|bytes| SpaceKey::new(area.clone(), bytes))
    }
}

/// The key of an epoch before, sealed under that of the one after.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parent {
    /// The epoch before.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub epoch: EpochTag,
    /// Fresh randomness.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 24],
    /// XChaCha20-Poly1305 of its key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

fn history_cipher(key: &SpaceKey) -> XChaCha20Poly1305 {
    let mut bytes = blake3::derive_key("kijiti 2026-11 epoch history", key.bytes());
    let cipher = XChaCha20Poly1305::new((&bytes).into());
    bytes.zeroize();
    cipher
}

fn history_aad(area: &Area, parent: &EpochTag, child: &EpochTag) -> Vec<u8> {
    [parent.as_slice(), child, area.as_str().as_bytes()].concat()
}

impl KeyShare {
    /// The share of `key`, which follows `parents`, for these members (device and public sealing
    /// key).
    pub fn seal(
        key: &SpaceKey,
        parents: &[SpaceKey],
        members: &[Member],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, GrantError> {
        let mut sealed_parents = Vec::new();
        for parent in parents {
            let mut nonce = [0; 24];
            rng.fill_bytes(&mut nonce);
            let aad = history_aad(key.area(), &parent.epoch_tag(), &key.epoch_tag());
            let sealed = history_cipher(key)
                .encrypt(
                    (&nonce).into(),
                    Payload {
                        msg: parent.bytes(),
                        aad: &aad,
                    },
                )
                .map_err(|_| GrantError::Sealed("the cipher refused".into()))?;
            sealed_parents.push(Parent {
                epoch: parent.epoch_tag(),
                nonce,
                sealed,
            });
        }
        let areas = members.iter().map(|member| member.area.clone()).collect();
        let members = members
            .iter()
            .map(|m| SealedKey::seal(key, Purpose::Share, m.device, &m.sealing_key, rng));
        let members = members.collect::<Result<_, _>>()?;
        let share = Self {
            epoch: key.epoch_tag(),
            parents: sealed_parents,
            members,
            lease_days: None,
            locks: Vec::new(),
            left_out: Vec::new(),
            areas,
        };
        always!(share.members.len() <= MEMBERS_PER_SHARE_MAX);
        always!(share.areas.len() == share.members.len());
        Ok(share)
    }

    /// The same share on a lease: members lock the key away after so many days of use, and unlock
    /// it with a code of `keeper`'s.
    pub fn leased(
        mut self,
        key: &SpaceKey,
        days: u32,
        keeper: &DeviceKeys,
        members: &[Member],
        rng: &mut impl CryptoRng,
    ) -> Self {
        let lock = |Member {
                        device,
                        sealing_key,
                        ..
                    }: &Member| {
            let mut nonce = [0; 24];
            rng.fill_bytes(&mut nonce);
            Lock::seal(
                key,
                (*device, sealing_key),
                &unlock_code(keeper, device, &nonce),
                nonce,
                rng,
            )
        };
        self.locks = members
            .iter()
            .filter(|member| member.device != keeper.id())
            .filter_map(lock)
            .collect();
        let member = |id: &DeviceId| self.members.iter().any(|m| m.to == *id);
        always!(self.locks.iter().all(|lock| member(&lock.sealed.to)));
        self.lease_days = Some(days);
        self
    }

    /// The key, if it is sealed to this device. `None` if it is not, or is not the key that it
    /// says.
    pub fn open(&self, area: &Area, keys: &DeviceKeys) -> Option<SpaceKey> {
        let id = keys.id();
        let opened = self
            .members
            .iter()
            .filter(|m| m.to == id)
            .find_map(|m| m.open(Purpose::Share, area, keys).ok());
        opened.filter(|key| key.epoch_tag() == self.epoch)
    }

    /// The keys before it, for who holds this one.
    pub fn open_parents(&self, key: &SpaceKey) -> Vec<SpaceKey> {
        if key.epoch_tag() != self.epoch {
            return Vec::new();
        }
        let open = |parent: &Parent| {
            let aad = history_aad(key.area(), &parent.epoch, &self.epoch);
            let mut plain = history_cipher(key)
                .decrypt(
                    (&parent.nonce).into(),
                    Payload {
                        msg: &parent.sealed,
                        aad: &aad,
                    },
                )
                .ok()?;
            let bytes: Option<[u8; 32]> = plain.as_slice().try_into().ok();
            plain.zeroize();
            let opened = SpaceKey::new(key.area().clone(), bytes?);
            (opened.epoch_tag() == parent.epoch).then_some(opened)
        };
        self.parents.iter().filter_map(open).collect()
    }
}

/// What is known of the epochs of one space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    members: BTreeMap<EpochTag, BTreeSet<DeviceId>>,
    parents: BTreeMap<EpochTag, BTreeSet<EpochTag>>,
    left_out: BTreeMap<EpochTag, BTreeSet<DeviceId>>,
    areas: BTreeMap<DeviceId, BTreeSet<Area>>,
    retired: BTreeSet<EpochTag>,
}

impl Epochs {
    /// Takes in what a share says.
    pub fn add(&mut self, share: &KeyShare) {
        self.members
            .entry(share.epoch)
            .or_default()
            .extend(share.members.iter().map(|m| m.to));
        let parents = share
            .parents
            .iter()
            .map(|p| p.epoch)
            .filter(|parent| *parent != share.epoch);
        self.parents.entry(share.epoch).or_default().extend(parents);
        for (member, area) in share.members.iter().zip(&share.areas) {
            self.areas
                .entry(member.to)
                .or_default()
                .insert(area.clone());
        }
        if !share.left_out.is_empty() {
            self.left_out
                .entry(share.epoch)
                .or_default()
                .extend(&share.left_out);
        }
        always!(self.parents.len() == self.members.len());
        always!(
            self.parents
                .get(&share.epoch)
                .is_some_and(|parents| !parents.contains(&share.epoch)),
            "no epoch follows itself"
        );
    }

    /// Takes in that epochs are ended.
    pub fn retire(&mut self, epochs: impl IntoIterator<Item = EpochTag>) {
        self.retired.extend(epochs);
    }

    /// Whether an epoch is ended.
    pub fn retired(&self, epoch: &EpochTag) -> bool {
        self.retired.contains(epoch)
    }

    /// An epoch and all before it.
    fn with_ancestors(&self, epoch: EpochTag) -> BTreeSet<EpochTag> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![epoch]);
        while let Some(epoch) = next.pop() {
            if seen.insert(epoch) {
                next.extend(self.parents.get(&epoch).into_iter().flatten());
            }
        }
        seen
    }

    /// Phones that were left out of some epoch and have no key of it or of any after it. Keys made
    /// apart from that one do not bring them back, nor does the order in which all this is heard.
    pub fn left_out(&self) -> BTreeSet<DeviceId> {
        let mut out = BTreeSet::new();
        for (since, devices) in &self.left_out {
            let after = self
                .members
                .iter()
                .filter(|(epoch, _)| self.with_ancestors(**epoch).contains(since));
            let back: BTreeSet<_> = after.flat_map(|(_, members)| members).collect();
            out.extend(devices.iter().filter(|device| !back.contains(device)));
        }
        out
    }

    /// Epochs whose keys a lost phone has, or can open.
    fn tainted(&self, lost: &dyn Fn(&DeviceId) -> bool) -> BTreeSet<EpochTag> {
        let had = self
            .members
            .iter()
            .filter(|(_, members)| members.iter().any(lost));
        had.flat_map(|(epoch, _)| self.with_ancestors(*epoch))
            .collect()
    }

    /// The key to write with, of those held: neither ended nor tainted, and the furthest on;
    /// `None`: wait for a new one.
    pub fn writable<'k>(
        &self,
        held: impl IntoIterator<Item = &'k SpaceKey>,
        lost: &dyn Fn(&DeviceId) -> bool,
    ) -> Option<&'k SpaceKey> {
        let tainted = self.tainted(lost);
        let usable = held
            .into_iter()
            .filter(|key| !tainted.contains(&key.epoch_tag()) && !self.retired(&key.epoch_tag()));
        // Who has more before it is further on; between two made apart any rule will do that all
        // phones share.
        let chosen =
            usable.max_by_key(|key| (self.with_ancestors(key.epoch_tag()).len(), key.epoch_tag()));
        always!(
            chosen.is_none_or(|key| !self.members_of(&key.epoch_tag()).iter().any(lost)),
            "no lost phone reads what is written now"
        );
        chosen
    }

    /// Everyone to whom a key of the space was ever sealed.
    pub fn members(&self) -> BTreeSet<DeviceId> {
        self.members.values().flatten().copied().collect()
    }

    /// Where a member is certified, as keepers have said.
    pub fn areas_of(&self, device: &DeviceId) -> impl Iterator<Item = &Area> {
        self.areas.get(device).into_iter().flatten()
    }

    /// Everyone to whom the key of one epoch was sealed.
    pub fn members_of(&self, epoch: &EpochTag) -> BTreeSet<DeviceId> {
        self.members.get(epoch).cloned().unwrap_or_default()
    }

    /// Epochs that no other follows.
    pub fn heads(&self) -> BTreeSet<EpochTag> {
        let followed: BTreeSet<_> = self.parents.values().flatten().copied().collect();
        self.members
            .keys()
            .filter(|epoch| !followed.contains(*epoch))
            .copied()
            .collect()
    }
}
