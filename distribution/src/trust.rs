//! What a phone believes about its ministry: the chain of roots, and under the newest of them a
//! release list, a recall, revocations, delegated lists and a beacon. One object without I/O, whose
//! numbered rules follow the client workflow of the TUF specification (1.0.34, §5.3 to §5.6), with
//! list and snapshot in one document. Couriers bring the news, not servers, so there is no moment
//! at which a phone must have heard something.
//!
//! 1. The first root is the trust anchor: given at enrolment, it must be signed by its own
//!    threshold.
//! 2. A next root must have exactly the next version (§5.3.5) …
//! 3. … and be signed by the threshold of the root held and by its own (§5.3.4).
//! 4. Every other document must be signed by the threshold of its role in the newest root (§5.6.4),
//!    and name no newer root.
//! 5. Its version may not be below the one held (rollback, §5.6.5) …
//! 6. … and an equal version must be the very same document (a fork of equal version is refused).
//! 7. Within a newer list, no release of a module goes back for the same area and language, and
//!    none vanishes: what is withdrawn stays named.
//! 8. Once a root has retired the keys under which a document was signed, that document binds no
//!    longer (so a stolen key that signed a version far ahead is overcome, §5.3.11); in its place
//!    only one signed under that root or a later one is taken, so that what was signed before does
//!    not come back.
//! 9. A newer recall, and newer revocations, only add.
//! 10. A newer beacon names no older list or recall.
//! 11. A delegated list is believed under the delegation in the list held now, within its modules
//!     and area.
//! 12. The floor of time is the newest time in what is held and binds. Nothing expires by a phone's
//!     own clock; what has expired by the floor is told to people and goes on working.
//! 13. A certificate holds under the enrolment role of any root walked to, less the keys that the
//!     newest root distrusts: rotating enrolment keys un-enrols nobody, and what a stolen one
//!     signed counts no more.
//!
//! A refusal changes nothing: the state before is the state after.

mod error;
mod records;

use std::collections::BTreeMap;

use protocol::always;
use protocol::certificate::{Certificate, CertificateError};
use protocol::limits::ROOTS_PER_MEETING_MAX;
use protocol::signed::{Document, Role, Signed, Verified};
use protocol::{Area, Chain, DeviceId, Digest, VerifiedChain};

use crate::delegation::{DelegatedList, Delegation};
use crate::notices::{Beacon, Recall, Revocations};
use crate::release::{Release, ReleaseList};
use crate::root::Root;

pub use error::TrustError;
pub use records::{CurrentDocument, Offer, TrustRecords};

/// Enrolment roles that a chain is tried under, the newest first.
const ENROLMENT_ROLES_MAX: usize = 16;

/// Everything verified, and nothing else.
#[derive(Debug, Clone)]
pub struct TrustedState {
    anchor: Digest,
    roots: Vec<Verified<Root>>,
    list: Option<Verified<ReleaseList>>,
    recall: Option<Verified<Recall>>,
    revocations: Option<Verified<Revocations>>,
    beacon: Option<Verified<Beacon>>,
    delegated: BTreeMap<String, Verified<DelegatedList>>,
}

/// What rules 4 to 8 need to know of a document.
trait Dated: Document {
    const WHAT: &'static str;
    /// Whether only the keys it was signed with matter; `None`: this root names none.
    fn role(root: &Root) -> Option<&Role>;
    fn version(&self) -> u64;
    fn root(&self) -> u64;
    /// What it may not do to the one held.
    fn follow(&self, held: &Self) -> Result<(), TrustError>;
}

/// How far a phone's knowledge reaches, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The newest time that a ministry's key has signed, in seconds since 1970.
    pub floor_s: u64,
    /// The list has expired by the floor.
    pub list_expired: bool,
    /// The root has expired by the floor.
    pub root_expired: bool,
    /// The list that the beacon names, if it is newer than the one held: something newer exists.
    pub newer_list: Option<u64>,
    /// The recall that the beacon names, if it is newer than the one held.
    pub newer_recall: Option<u64>,
    /// The list was signed with keys that a root has retired since: nothing more is fetched by it.
    pub list_retired: bool,
}

impl TrustedState {
    /// Trust in the ministry whose first root is `anchor` (rule 1).
    pub fn new(anchor: &Signed<Root>) -> Result<Self, TrustError> {
        let claimed = anchor.read()?;
        let root = anchor
            .verify(&claimed.root)
            .map_err(|reason| TrustError::RootSignature {
                version: claimed.version,
                reason,
            })?;
        Ok(Self {
            anchor: anchor.digest(),
            roots: vec![root],
            list: None,
            recall: None,
            revocations: None,
            beacon: None,
            delegated: BTreeMap::new(),
        })
    }

    /// The digest of the first root: the name of the ministry between phones.
    pub fn ministry(&self) -> Digest {
        always!(
            self.roots
                .first()
                .is_some_and(|first| first.signed().digest() == self.anchor),
            "the anchor never changes"
        );
        self.anchor
    }

    /// The newest root.
    pub fn root(&self) -> Option<&Verified<Root>> {
        always!(!self.roots.is_empty(), "the anchor is there");
        self.roots.last()
    }

    /// The newest root's version.
    pub fn root_version(&self) -> u64 {
        self.root().map_or(0, |r| r.version)
    }

    /// All roots, oldest first.
    pub fn roots(&self) -> &[Verified<Root>] {
        &self.roots
    }

    /// The newest list.
    pub fn list(&self) -> Option<&Verified<ReleaseList>> {
        self.list.as_ref()
    }

    /// The newest list's version, 0 for none.
    pub fn list_version(&self) -> u64 {
        self.list.as_ref().map_or(0, |l| l.version)
    }

    /// What must not run any more.
    pub fn recall(&self) -> Option<&Verified<Recall>> {
        self.recall.as_ref()
    }

    /// Which devices are not believed any more.
    pub fn revocations(&self) -> Option<&Verified<Revocations>> {
        self.revocations.as_ref()
    }

    /// The last beacon seen.
    pub fn beacon(&self) -> Option<&Verified<Beacon>> {
        self.beacon.as_ref()
    }

    /// Roots newer than `version`, oldest first, as many as one meeting may carry.
    pub fn roots_after(&self, version: u64) -> impl Iterator<Item = &Verified<Root>> {
        self.roots
            .iter()
            .filter(move |r| r.version > version)
            .take(ROOTS_PER_MEETING_MAX)
    }

    /// Why a bundle must not run, if it was recalled. A recall whose keys were retired holds until
    /// the next one comes: to stop for nothing is better than to go on wrongly.
    pub fn recalled(&self, bundle: &Digest) -> Option<&str> {
        let recall = self.recall.as_ref()?;
        recall
            .recalled
            .iter()
            .find(|r| r.digest == *bundle)
            .map(|r| r.reason.as_str())
    }

    /// Why a device is not believed any more, if it was revoked.
    pub fn revoked(&self, device: &DeviceId) -> Option<&str> {
        let revocations = self.revocations.as_ref()?;
        revocations
            .revoked
            .iter()
            .find(|r| r.device == *device)
            .map(|r| r.reason.as_str())
    }

    /// Takes any document. `Ok(false)`: nothing new.
    pub fn offer(&mut self, offer: &Offer) -> Result<bool, TrustError> {
        let before = (self.root_version(), self.list_version());
        let taken = match offer {
            Offer::Root(root) => self.offer_root(root),
            Offer::List(list) => self.offer_list(list),
            Offer::Recall(recall) => offer_to(&self.roots, &mut self.recall, recall),
            Offer::Revocations(revocations) => {
                offer_to(&self.roots, &mut self.revocations, revocations)
            }
            Offer::Beacon(beacon) => offer_to(&self.roots, &mut self.beacon, beacon),
            Offer::Delegated(list) => self.offer_delegated(list),
        };
        let after = (self.root_version(), self.list_version());
        always!(after.0 >= before.0, "trust never goes back");
        always!(taken == Ok(true) || after == before);
        taken
    }

    /// Takes a next root (rules 2 and 3). `Ok(false)`: one already walked past.
    pub fn offer_root(&mut self, offered: &Signed<Root>) -> Result<bool, TrustError> {
        let claimed = offered.read()?;
        let version = claimed.version;
        let held = self.root_version();
        if self
            .roots
            .iter()
            .any(|r| r.version == version && r.signed().digest() == offered.digest())
        {
            return Ok(false);
        }
        if version != held.saturating_add(1) {
            return Err(TrustError::RootVersion {
                held,
                offered: version,
            });
        }
        let refused = |reason| TrustError::RootSignature { version, reason };
        if let Some(root) = self.root() {
            offered.verify(&root.root).map_err(refused)?;
        }
        let verified = offered.verify(&claimed.root).map_err(refused)?;
        self.roots.push(verified);
        always!(
            self.roots
                .is_sorted_by(|a, b| b.version == a.version.saturating_add(1)),
            "no root is passed over"
        );
        // A beacon of retired keys must not hold the floor of time up (rule 12). All else waits for
        // its successor.
        let Self { roots, beacon, .. } = self;
        beacon.take_if(|b| !binds(roots, b));
        Ok(true)
    }

    /// Takes a release list (rules 4 to 8). `Ok(false)`: the very list that is held.
    pub fn offer_list(&mut self, offered: &Signed<ReleaseList>) -> Result<bool, TrustError> {
        let new = offer_to(&self.roots, &mut self.list, offered)?;
        if let (true, Some(list)) = (new, &self.list) {
            // A delegation that the ministry ended, or whose keys it changed, begins anew at the
            // least version it says.
            let roots = &self.roots;
            self.delegated.retain(|name, held| {
                Self::verify_delegated_ever(roots, list, name, held.signed()).is_some()
            });
            always!(self.delegated.len() <= list.delegations.len());
        }
        Ok(new)
    }

    /// Takes a delegated list (rule 11, and 5 and 6 within it).
    fn offer_delegated(&mut self, offered: &Signed<DelegatedList>) -> Result<bool, TrustError> {
        const WHAT: &str = "delegated list";
        let verified = self.verify_delegated(offered)?;
        if let Some(held) = self.delegated.get(&verified.delegation) {
            let (held_version, offered_version) = (held.version, verified.version);
            if held.signed().digest() == offered.digest()
                && self.verify_delegated(held.signed()).is_ok()
            {
                return Ok(false);
            }
            // What the delegation's keys of today did not sign (they were changed) holds nothing
            // back.
            if self
                .delegation(&verified.delegation)
                .is_some_and(|d| held.signed().verify(&d.role).is_ok())
            {
                if offered_version == held_version && self.verify_delegated(held.signed()).is_ok() {
                    return Err(TrustError::Fork {
                        what: WHAT.into(),
                        version: held_version,
                    });
                }
                if offered_version < held_version {
                    return Err(TrustError::Rollback {
                        what: WHAT.into(),
                        held: held_version,
                        offered: offered_version,
                    });
                }
                for old in &held.releases {
                    let lower = |r: &&Release| r.key() == old.key() && r.version < old.version;
                    if let Some(new) = verified.releases.iter().find(lower) {
                        let (list, module) = (offered_version, old.module.clone());
                        let (held, offered) = (old.version, new.version);
                        return Err(TrustError::ReleaseRollback {
                            list,
                            module,
                            held,
                            offered,
                        });
                    }
                }
            }
        }
        self.delegated.insert(verified.delegation.clone(), verified);
        Ok(true)
    }

    fn verify_delegated(
        &self,
        offered: &Signed<DelegatedList>,
    ) -> Result<Verified<DelegatedList>, TrustError> {
        let name = offered.read()?.delegation;
        let unknown = || TrustError::NoDelegation(name.clone());
        let root = self.root().ok_or_else(unknown)?;
        let list = self
            .list
            .as_ref()
            .filter(|l| binds(&self.roots, l))
            .ok_or_else(unknown)?;
        Self::verify_under(offered, &name, root, list)
    }

    fn delegation(&self, name: &str) -> Option<&Delegation> {
        self.list
            .as_ref()?
            .delegations
            .iter()
            .find(|d| d.name == name)
    }

    /// A delegated list under the list that names its keys, whichever root it was believed under.
    fn verify_delegated_ever(
        roots: &[Verified<Root>],
        list: &ReleaseList,
        name: &str,
        kept: &Signed<DelegatedList>,
    ) -> Option<Verified<DelegatedList>> {
        roots
            .iter()
            .rev()
            .find_map(|root| Self::verify_under(kept, name, root, list).ok())
    }

    fn verify_under(
        offered: &Signed<DelegatedList>,
        name: &str,
        root: &Root,
        list: &ReleaseList,
    ) -> Result<Verified<DelegatedList>, TrustError> {
        const WHAT: &str = "delegated list";
        let unknown = || TrustError::NoDelegation(name.to_owned());
        let delegation = list
            .delegations
            .iter()
            .find(|d| d.name == name)
            .ok_or_else(unknown)?;
        let forged = |reason| TrustError::Signature {
            what: WHAT.into(),
            reason,
        };
        let verified = offered.verify(&delegation.role).map_err(forged)?;
        if delegation.both {
            offered.verify(&root.releases).map_err(forged)?;
        }
        if verified.version < delegation.version_min {
            let (held, offered) = (delegation.version_min, verified.version);
            return Err(TrustError::Rollback {
                what: WHAT.into(),
                held,
                offered,
            });
        }
        if let Some(stray) = verified.releases.iter().find(|r| !delegation.covers(r)) {
            let (module, area) = (stray.module.clone(), stray.area.to_string());
            return Err(TrustError::OutsideDelegation {
                delegation: name.to_owned(),
                module,
                area,
            });
        }
        Ok(verified)
    }

    /// Delegated lists that the list held has a place for. Others are kept, so that a delegation
    /// that comes back does not go back, and mean nothing.
    pub fn delegated(&self) -> impl Iterator<Item = &Verified<DelegatedList>> {
        self.delegated
            .values()
            .filter(|d| self.verify_delegated(d.signed()).is_ok())
    }

    /// Whether the list held is signed with keys that are still the ministry's.
    pub fn list_binds(&self) -> bool {
        self.list.as_ref().is_some_and(|l| binds(&self.roots, l))
    }

    /// Every release that is current: the ministry's own, then those of its delegations for what it
    /// has none itself. Recalled ones are not among them, and none are when the list's keys were
    /// retired.
    pub fn releases(&self) -> Vec<&Release> {
        let Some(list) = self.list.as_ref().filter(|_| self.list_binds()) else {
            return Vec::new();
        };
        let own = |release: &Release| list.releases.iter().any(|r| r.key() == release.key());
        let delegated = self
            .delegated()
            .flat_map(|d| &d.releases)
            .filter(|r| !own(r));
        list.releases
            .iter()
            .chain(delegated)
            .filter(|r| self.recalled(&r.digest).is_none())
            .collect()
    }

    /// The releases meant for a phone in `area`, or that a courier for that area should carry.
    pub fn releases_for<'a>(&'a self, area: &'a Area) -> impl Iterator<Item = &'a Release> + 'a {
        self.releases()
            .into_iter()
            .filter(move |r| r.area.meets(area))
    }

    /// Believes a device's chain under the enrolment role of the newest root, or of an earlier one
    /// (rule 13), unless one of its devices was revoked.
    pub fn verify_chain(&self, chain: &Chain) -> Option<Result<VerifiedChain, CertificateError>> {
        Some(
            self.enrolled(chain)?
                .and_then(|verified| self.still_counts(verified)),
        )
    }

    /// What a chain whose signatures have been verified under this root is worth now: nobody in it
    /// is lost, and none is over.
    ///
    /// # Errors
    /// [`CertificateError::Revoked`] or [`CertificateError::Expired`].
    pub fn still_counts(&self, verified: VerifiedChain) -> Result<VerifiedChain, CertificateError> {
        let chain = verified.chain();
        for (position, certificate) in (1..).zip(&chain.certificates) {
            if let Some(reason) = certificate
                .read()
                .ok()
                .and_then(|c| self.revoked(&c.device).map(str::to_owned))
            {
                return Err(CertificateError::Revoked { position, reason });
            }
        }
        let floor_s = self.freshness().floor_s;
        let over = |c: &Signed<Certificate>| {
            c.read()
                .is_ok_and(|c| c.expires_s.is_some_and(|end_s| floor_s >= end_s))
        };
        match chain.certificates.iter().position(over) {
            Some(at) => Err(CertificateError::Expired(at + 1)),
            None => Ok(verified),
        }
    }

    /// The chain of a device, lost or expired, if it holds but for that: to keep what a lost phone
    /// wrote until somebody looks at it, and to let an expired one hand over what it has.
    pub fn chain_even_if_revoked(&self, chain: &Chain) -> Option<VerifiedChain> {
        self.enrolled(chain)?.ok()
    }

    /// Rule 13. The newest root's own error, if none believes it.
    fn enrolled(&self, chain: &Chain) -> Option<Result<VerifiedChain, CertificateError>> {
        let distrusted = &self.root()?.distrusted;
        let mut tried: Vec<Role> = Vec::new();
        let mut first_error = None;
        for root in self.roots.iter().rev() {
            let keys = root
                .enrolment
                .keys
                .iter()
                .filter(|key| !distrusted.contains(key))
                .copied()
                .collect();
            let role = Role {
                keys,
                threshold: root.enrolment.threshold,
            };
            if tried.contains(&role) || tried.len() >= ENROLMENT_ROLES_MAX {
                continue;
            }
            match chain.verify(&role) {
                Ok(verified) => return Some(Ok(verified)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
            tried.push(role);
        }
        always!(tried.len() <= ENROLMENT_ROLES_MAX);
        first_error.map(Err)
    }

    /// How far what is held reaches (rule 12).
    pub fn freshness(&self) -> Freshness {
        let Some(root) = self.root() else {
            return Freshness::default();
        };
        let roots = &self.roots;
        let list = self.list.as_ref().filter(|l| binds(roots, l));
        let recall = self.recall.as_ref().filter(|r| binds(roots, r));
        let revocations = self.revocations.as_ref().filter(|r| binds(roots, r));
        let times = [
            Some(root.issued_s),
            list.map(|l| l.issued_s),
            recall.map(|r| r.issued_s),
            revocations.map(|r| r.issued_s),
            self.beacon.as_ref().map(|b| b.time_s),
        ];
        let floor_s = times.into_iter().flatten().max().unwrap_or(0);
        let past = |expires_s: Option<u64>| expires_s.is_some_and(|e| floor_s > e);
        let beacon = self.beacon.as_ref();
        Freshness {
            floor_s,
            list_expired: list.is_some_and(|l| past(l.expires_s)),
            root_expired: past(root.expires_s),
            newer_list: beacon.map(|b| b.list).filter(|l| *l > self.list_version()),
            newer_recall: beacon
                .map(|b| b.recall)
                .filter(|r| *r > self.recall.as_ref().map_or(0, |r| r.version)),
            list_retired: self.list.is_some() && list.is_none(),
        }
    }
}

/// Whether a document held is signed with keys of the newest root's role.
fn binds<T: Dated>(roots: &[Verified<Root>], held: &Verified<T>) -> bool {
    roots
        .last()
        .and_then(|root| T::role(root))
        .is_some_and(|role| held.signed().verify(role).is_ok())
}

/// The first root of the newest stretch of roots in which a role has stayed the same.
fn role_since<T: Dated>(roots: &[Verified<Root>]) -> u64 {
    let Some(newest) = roots.last() else { return 0 };
    let same = roots
        .iter()
        .rev()
        .take_while(|r| T::role(r) == T::role(newest));
    let since = same.last().map_or(0, |r| r.version);
    always!(since <= newest.version);
    since
}

/// Rules 4 to 10.
fn offer_to<T: Dated>(
    roots: &[Verified<Root>],
    held: &mut Option<Verified<T>>,
    offered: &Signed<T>,
) -> Result<bool, TrustError> {
    let what = T::WHAT;
    let root = roots.last().ok_or(TrustError::NoRole(what.into()))?;
    if held
        .as_ref()
        .is_some_and(|h| h.signed().digest() == offered.digest() && binds(roots, h))
    {
        return Ok(false);
    }
    let role = T::role(root).ok_or(TrustError::NoRole(what.into()))?;
    let verified = offered
        .verify(role)
        .map_err(|reason| TrustError::Signature {
            what: what.into(),
            reason,
        })?;
    if verified.root() > root.version {
        return Err(TrustError::RootFirst {
            what: what.into(),
            named: verified.root(),
            held: root.version,
        });
    }
    if let Some(held) = held {
        if !binds(roots, held) {
            let (named, retired) = (verified.root(), role_since::<T>(roots));
            if named < retired {
                return Err(TrustError::RetiredKeys {
                    what: what.into(),
                    named,
                    retired,
                });
            }
        } else {
            let (held_version, offered_version) = (held.version(), verified.version());
            if offered_version < held_version {
                return Err(TrustError::Rollback {
                    what: what.into(),
                    held: held_version,
                    offered: offered_version,
                });
            }
            if offered_version == held_version {
                return Err(TrustError::Fork {
                    what: what.into(),
                    version: held_version,
                });
            }
            verified.follow(held)?;
        }
    }
    *held = Some(verified);
    always!(held.as_ref().is_some_and(|held| binds(roots, held)));
    Ok(true)
}

impl Dated for ReleaseList {
    const WHAT: &'static str = "release list";

    fn role(root: &Root) -> Option<&Role> {
        Some(&root.releases)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn root(&self) -> u64 {
        self.root.unwrap_or(1)
    }

    /// Rule 7.
    fn follow(&self, held: &Self) -> Result<(), TrustError> {
        let current = held.releases.iter().map(|r| (r.key(), r.version));
        for (key, version) in current.chain(held.withdrawn.iter().map(|w| (w.key(), w.version))) {
            let list = self.version;
            let release = self
                .releases
                .iter()
                .find(|r| r.key() == key)
                .map(|r| r.version);
            let withdrawn = self
                .withdrawn
                .iter()
                .find(|w| w.key() == key)
                .map(|w| w.version);
            let module = key.0.to_owned();
            match release.or(withdrawn) {
                None => return Err(TrustError::ReleaseVanished { list, module }),
                Some(offered) if offered < version => {
                    return Err(TrustError::ReleaseRollback {
                        list,
                        module,
                        held: version,
                        offered,
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Dated for Recall {
    const WHAT: &'static str = "recall";

    fn role(root: &Root) -> Option<&Role> {
        root.recall.as_ref()
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn root(&self) -> u64 {
        self.root
    }

    /// Rule 9.
    fn follow(&self, held: &Self) -> Result<(), TrustError> {
        let kept = |old: &Digest| self.recalled.iter().any(|r| r.digest == *old);
        if held.recalled.iter().all(|r| kept(&r.digest)) {
            return Ok(());
        }
        Err(TrustError::TakenBack {
            what: Self::WHAT.into(),
            version: self.version,
            held: held.version,
        })
    }
}

impl Dated for Revocations {
    const WHAT: &'static str = "list of revoked phones";

    fn role(root: &Root) -> Option<&Role> {
        Some(&root.enrolment)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn root(&self) -> u64 {
        self.root
    }

    /// Rule 9.
    fn follow(&self, held: &Self) -> Result<(), TrustError> {
        let kept = |old: &DeviceId| self.revoked.iter().any(|r| r.device == *old);
        if held.revoked.iter().all(|r| kept(&r.device)) {
            return Ok(());
        }
        Err(TrustError::TakenBack {
            what: Self::WHAT.into(),
            version: self.version,
            held: held.version,
        })
    }
}

impl Dated for Beacon {
    const WHAT: &'static str = "beacon";

    fn role(root: &Root) -> Option<&Role> {
        root.beacon.as_ref()
    }

    fn version(&self) -> u64 {
        self.time_s
    }

    fn root(&self) -> u64 {
        self.root
    }

    /// Rule 10; after a new root the numbers of lists may begin anew.
    fn follow(&self, held: &Self) -> Result<(), TrustError> {
        let back = |what| {
            Err(TrustError::BeaconBack {
                time_s: self.time_s,
                what,
            })
        };
        match self {
            _ if self.root > held.root => Ok(()),
            _ if self.list < held.list => back("list".into()),
            _ if self.recall < held.recall => back("recall".into()),
            _ => Ok(()),
        }
    }
}
