//! Who this phone is and whom it believes: its keys, its randomness, the ministry's documents and
//! its own certificates.

use std::cell::RefCell;
use std::collections::BTreeMap;

use distribution::{Release, TrustedState};
use protocol::certificate::CertificateError;
use protocol::{Area, Chain, DeviceId, DeviceKeys, Digest, Right, VerifiedChain, always};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Chains of which it is remembered that their signatures hold.
const VERIFIED_MAX: usize = 256;

/// Who this phone is and whom it believes.
pub(crate) struct Identity {
    pub keys: DeviceKeys,
    /// Automerge's name for what this start of the program writes.
    pub actor: [u8; 16],
    pub rng: ChaCha20Rng,
    pub trust: Option<TrustedState>,
    pub certificate: Option<VerifiedChain>,
    /// Chains whose signatures hold, by root version and bytes.
    verified: RefCell<BTreeMap<Digest, VerifiedChain>>,
}

impl Identity {
    /// Not certified yet.
    pub(super) fn new(keys: DeviceKeys, mut rng: ChaCha20Rng, trust: Option<TrustedState>) -> Self {
        // A new one at every start: a store that was set back to an old backup must never go on
        // under the name of a history that others hold already (Automerge would lose one of the
        // two).
        let mut actor = [0; 16];
        rng.fill_bytes(&mut actor);
        Self {
            keys,
            actor,
            rng,
            trust,
            certificate: None,
            verified: RefCell::default(),
        }
    }

    /// A copy for views. Its randomness is never drawn from (that takes it mutably, and views have it
    /// shared), and is not the phone's: no nonce may be drawn twice.
    pub(super) fn for_views(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            actor: self.actor,
            rng: ChaCha20Rng::from_seed([0; 32]),
            trust: self.trust.clone(),
            certificate: self.certificate.clone(),
            verified: self.verified.clone(),
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.keys.id()
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// The area whose things this phone holds; an uncertified phone holds public things only, of
    /// everywhere.
    pub(crate) fn area(&self) -> Area {
        let own = self.certificate.as_ref();
        own.map(|c| c.area.clone()).unwrap_or_default()
    }

    /// Whether its certificate gives it a right.
    pub(super) fn may(&self, right: Right) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|c| c.rights.has(right))
    }

    /// Whether it keeps the space of an area.
    pub(super) fn keeps(&self, area: &Area) -> bool {
        let own = self.certificate.as_ref();
        own.is_some_and(|c| c.rights.has(Right::Grant) && c.area.covers(area))
    }

    /// Releases that this phone runs or carries.
    pub(crate) fn listed(&self) -> Vec<Release> {
        let area = self.area();
        let of = |trust: &TrustedState| trust.releases_for(&area).cloned().collect::<Vec<_>>();
        self.trust.as_ref().map(of).unwrap_or_default()
    }

    /// The newest time that the ministry has signed.
    pub(super) fn floor_s(&self) -> u64 {
        self.trust
            .as_ref()
            .map_or(0, |trust| trust.freshness().floor_s)
    }

    /// A chain as the ministry's documents judge it; `None` where there is no ministry.
    pub(super) fn verify_chain(
        &self,
        chain: &Chain,
    ) -> Option<Result<VerifiedChain, CertificateError>> {
        let trust = self.trust.as_ref()?;
        // Most meetings show certificates that are known: their signatures are checked once under
        // each root.
        let root = trust.root_version().to_le_bytes();
        let key = Digest::of(&[root.as_slice(), &chain.to_bytes()].concat());
        let known = self.verified.borrow().get(&key).cloned();
        let judged = match known {
            Some(verified) => trust.still_counts(verified),
            None => trust.verify_chain(chain)?,
        };
        if let Ok(verified) = &judged {
            let mut kept = self.verified.borrow_mut();
            if kept.len() >= VERIFIED_MAX {
                kept.clear();
            }
            kept.insert(key, verified.clone());
            always!(kept.len() <= VERIFIED_MAX);
        }
        Some(judged)
    }
}
