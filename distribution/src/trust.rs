//! What a phone believes about its ministry: the chain of roots and the newest release list. One object without I/O, whose
//! numbered rules follow the client workflow of the TUF specification (1.0.34, §5.3 and §5.4–5.6), with list and snapshot
//! in one document and no timestamp role (couriers, not servers, bring news).
//!
//! 1. The first root is the trust anchor: given at enrolment, it must be signed by its own threshold.
//! 2. A next root must have exactly the next version (§5.3.5) …
//! 3. … and be signed by the threshold of the root held and by its own (§5.3.4).
//! 4. A list must be signed by the threshold of the release role of the newest root (§5.6.4).
//! 5. A list's version may not be below the one held (rollback, §5.6.5) …
//! 6. … and an equal version must be the very same list (a fork of equal version is refused).
//! 7. Within a newer list, no release of a module goes back for the same area and language.
//!
//! A refusal changes nothing: the state before is the state after.

use protocol::codec::CodecError;
use protocol::limits::ROOTS_PER_MEETING_MAX;
use protocol::signed::{SignatureError, Signed, Verified};
use protocol::{Area, Chain, Digest, VerifiedChain};

use crate::release::{Release, ReleaseList};
use crate::root::Root;

/// Why a root or a list is refused, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not a document of this kind.
    #[error("not a valid document: {0}")]
    Malformed(#[from] CodecError),
    /// Rules 1 and 3.
    #[error("root {version} is not signed by the ministry: {reason}")]
    RootSignature {
        /// The version it claims.
        version: u64,
        /// What the signature check said.
        reason: SignatureError,
    },
    /// Rule 2.
    #[error("root {offered} does not follow root {held}")]
    RootVersion {
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// Rule 4.
    #[error("the release list is not signed by the ministry (forged?): {0}")]
    ListSignature(SignatureError),
    /// Rule 5.
    #[error("release list {offered} is older than list {held} that this phone holds (rollback)")]
    Rollback {
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// Rule 6.
    #[error("two different release lists carry version {0}")]
    Fork(u64),
    /// Rule 7.
    #[error("list {list} takes {module} back from version {held} to {offered}")]
    ReleaseRollback {
        /// The list's version.
        list: u64,
        /// The module.
        module: String,
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
}

/// The chain of roots and the newest list, all verified.
#[derive(Debug, Clone)]
pub struct TrustedState {
    anchor: Digest,
    roots: Vec<Verified<Root>>,
    list: Option<Verified<ReleaseList>>,
}

impl TrustedState {
    /// Trust in the ministry whose first root is `anchor` (rule 1).
    pub fn new(anchor: &Signed<Root>) -> Result<Self, TrustError> {
        let claimed = anchor.read()?;
        let root = anchor
            .verify(&claimed.root)
            .map_err(|reason| TrustError::RootSignature { version: claimed.version, reason })?;
        Ok(Self { anchor: anchor.digest(), roots: vec![root], list: None })
    }

    /// The digest of the first root: the name of the ministry between phones.
    pub fn ministry(&self) -> Digest {
        self.anchor
    }

    /// The newest root.
    pub fn root(&self) -> Option<&Verified<Root>> {
        self.roots.last()
    }

    /// The newest root's version.
    pub fn root_version(&self) -> u64 {
        self.root().map_or(0, |r| r.version)
    }

    /// The newest list.
    pub fn list(&self) -> Option<&Verified<ReleaseList>> {
        self.list.as_ref()
    }

    /// The newest list's version, 0 for none.
    pub fn list_version(&self) -> u64 {
        self.list.as_ref().map_or(0, |l| l.version)
    }

    /// Roots newer than `version`, oldest first, as many as one meeting may carry.
    pub fn roots_after(&self, version: u64) -> impl Iterator<Item = &Verified<Root>> {
        self.roots.iter().filter(move |r| r.version > version).take(ROOTS_PER_MEETING_MAX)
    }

    /// Takes a next root (rules 2 and 3). `Ok(false)`: one already walked past.
    pub fn offer_root(&mut self, offered: &Signed<Root>) -> Result<bool, TrustError> {
        let claimed = offered.read()?;
        let version = claimed.version;
        let held = self.root_version();
        if self.roots.iter().any(|r| r.version == version && r.signed().digest() == offered.digest()) {
            return Ok(false);
        }
        if version != held.saturating_add(1) {
            return Err(TrustError::RootVersion { held, offered: version });
        }
        let refused = |reason| TrustError::RootSignature { version, reason };
        if let Some(root) = self.root() {
            offered.verify(&root.root).map_err(refused)?;
        }
        let verified = offered.verify(&claimed.root).map_err(refused)?;
        self.roots.push(verified);
        Ok(true)
    }

    /// Takes a release list (rules 4 to 7). `Ok(false)`: the very list that is held.
    pub fn offer_list(&mut self, offered: &Signed<ReleaseList>) -> Result<bool, TrustError> {
        let Some(root) = self.root() else { return Ok(false) };
        let verified = offered.verify(&root.releases).map_err(TrustError::ListSignature)?;
        if let Some(held) = &self.list {
            if verified.version < held.version {
                return Err(TrustError::Rollback { held: held.version, offered: verified.version });
            }
            if verified.version == held.version {
                let same = held.signed().digest() == offered.digest();
                return if same { Ok(false) } else { Err(TrustError::Fork(held.version)) };
            }
            check_no_release_goes_back(held, &verified)?;
        }
        self.list = Some(verified);
        Ok(true)
    }

    /// The releases meant for a phone in `area`, or that a courier for that area should carry.
    pub fn releases_for<'a>(&'a self, area: &'a Area) -> impl Iterator<Item = &'a Release> + 'a {
        self.list.iter().flat_map(|l| l.releases.iter()).filter(move |r| r.area.meets(area))
    }

    /// Believes a device's chain under the newest root's enrolment role.
    pub fn verify_chain(&self, chain: &Chain) -> Option<Result<VerifiedChain, protocol::CertificateError>> {
        Some(chain.verify(&self.root()?.enrolment))
    }
}

fn check_no_release_goes_back(held: &ReleaseList, offered: &ReleaseList) -> Result<(), TrustError> {
    for old in &held.releases {
        let same = |r: &&Release| r.module == old.module && r.area == old.area && r.language == old.language;
        if let Some(new) = offered.releases.iter().find(same)
            && new.version < old.version
        {
            return Err(TrustError::ReleaseRollback {
                list: offered.version,
                module: old.module.clone(),
                held: old.version,
                offered: new.version,
            });
        }
    }
    Ok(())
}
