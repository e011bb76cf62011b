//! Documents on their way into the trusted state, and the state as it lies in a store.

use protocol::always;
use protocol::signed::{Document, Signed, Verified};

use super::{Dated, TrustError, TrustedState, binds};
use crate::delegation::DelegatedList;
use crate::notices::{Beacon, Recall, Revocations};
use crate::release::ReleaseList;
use crate::root::Root;

/// Any document that a phone may be offered.
#[derive(Debug, Clone)]
pub enum Offer {
    /// A root.
    Root(Signed<Root>),
    /// A recall.
    Recall(Signed<Recall>),
    /// Revoked devices.
    Revocations(Signed<Revocations>),
    /// A release list.
    List(Signed<ReleaseList>),
    /// A delegation's releases.
    Delegated(Signed<DelegatedList>),
    /// A beacon.
    Beacon(Signed<Beacon>),
}

impl Offer {
    /// Reads a document of the kind with this name.
    pub fn from_bytes(kind: &str, bytes: &[u8]) -> Result<Self, TrustError> {
        let offer = match kind {
            "root" => Self::Root(Signed::from_bytes(bytes)?),
            "recall" => Self::Recall(Signed::from_bytes(bytes)?),
            "revocations" => Self::Revocations(Signed::from_bytes(bytes)?),
            "release-list" => Self::List(Signed::from_bytes(bytes)?),
            "delegated-list" => Self::Delegated(Signed::from_bytes(bytes)?),
            "beacon" => Self::Beacon(Signed::from_bytes(bytes)?),
            _ => {
                return Err(
                    protocol::codec::CodecError::malformed("document", "an unknown kind").into(),
                );
            }
        };
        always!(offer.kind() == kind, "read as what it is signed as");
        Ok(offer)
    }

    /// The kind's name: the domain under which it is signed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Root(_) => Root::DOMAIN,
            Self::Recall(_) => Recall::DOMAIN,
            Self::Revocations(_) => Revocations::DOMAIN,
            Self::List(_) => ReleaseList::DOMAIN,
            Self::Delegated(_) => DelegatedList::DOMAIN,
            Self::Beacon(_) => Beacon::DOMAIN,
        }
    }

    /// The document as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Root(d) => d.to_bytes(),
            Self::Recall(d) => d.to_bytes(),
            Self::Revocations(d) => d.to_bytes(),
            Self::List(d) => d.to_bytes(),
            Self::Delegated(d) => d.to_bytes(),
            Self::Beacon(d) => d.to_bytes(),
        }
    }
}

/// The whole state as it is kept: (kind, signed bytes), roots first and oldest first. Comes only
/// out of a [`TrustedState`], so that a store cannot be given anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustRecords(Vec<(&'static str, Vec<u8>)>);

impl TrustRecords {
    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(kind, bytes)| (*kind, bytes.as_slice()))
    }
}

/// A document that a phone may pass on: signed with keys that are still the ministry's.
#[derive(Debug, Clone)]
pub struct CurrentDocument {
    /// The document.
    pub offer: Offer,
    /// Which one of its kind (a delegation's name), or empty.
    pub name: String,
    /// Its version; of a beacon, its time.
    pub version: u64,
}

impl TrustedState {
    /// What can be passed on besides the roots, in the order in which it travels: what stops
    /// something comes first.
    pub fn current(&self) -> Vec<CurrentDocument> {
        let unnamed = |offer, version| CurrentDocument {
            offer,
            name: String::new(),
            version,
        };
        let recall = self.recall.iter().filter(|d| binds(&self.roots, d));
        let revocations = self.revocations.iter().filter(|d| binds(&self.roots, d));
        let list = self.list.iter().filter(|d| binds(&self.roots, d));
        let mut current: Vec<_> = recall
            .map(|d| unnamed(Offer::Recall(d.signed().clone()), d.version))
            .collect();
        current.extend(
            revocations.map(|d| unnamed(Offer::Revocations(d.signed().clone()), d.version)),
        );
        current.extend(list.map(|d| unnamed(Offer::List(d.signed().clone()), d.version)));
        current.extend(self.delegated().map(|d| CurrentDocument {
            offer: Offer::Delegated(d.signed().clone()),
            name: d.delegation.clone(),
            version: d.version,
        }));
        current.extend(
            self.beacon
                .iter()
                .map(|d| unnamed(Offer::Beacon(d.signed().clone()), d.time_s)),
        );
        always!(
            current
                .iter()
                .all(|d| d.name.is_empty() != matches!(d.offer, Offer::Delegated(_))),
            "only delegated lists are told apart by name"
        );
        current
    }

    /// Everything held, in the order in which it can be walked again.
    pub fn records(&self) -> TrustRecords {
        let mut offers: Vec<_> = self
            .roots
            .iter()
            .map(|r| Offer::Root(r.signed().clone()))
            .collect();
        offers.extend(
            self.recall
                .iter()
                .map(|d| Offer::Recall(d.signed().clone())),
        );
        offers.extend(
            self.revocations
                .iter()
                .map(|d| Offer::Revocations(d.signed().clone())),
        );
        offers.extend(self.list.iter().map(|d| Offer::List(d.signed().clone())));
        offers.extend(
            self.delegated
                .values()
                .map(|d| Offer::Delegated(d.signed().clone())),
        );
        offers.extend(
            self.beacon
                .iter()
                .map(|d| Offer::Beacon(d.signed().clone())),
        );
        always!(
            matches!(offers.first(), Some(Offer::Root(_))),
            "the anchor comes first"
        );
        TrustRecords(offers.iter().map(|o| (o.kind(), o.to_bytes())).collect())
    }

    /// The state that these records hold, every signature checked again: a store is a file that
    /// others may have touched. A document of retired keys is believed under the root that was
    /// newest when it came (rule 8). `None`: no root.
    pub fn restore(records: &[(String, Vec<u8>)]) -> Result<Option<Self>, TrustError> {
        let mut state: Option<Self> = None;
        records
            .iter()
            .try_for_each(|(kind, bytes)| Self::restore_one(&mut state, kind, bytes))?;
        Ok(state)
    }

    /// The same of a file that may be damaged: what does not hold is passed over, and the errors
    /// say what that was.
    pub fn restore_what_holds(records: &[(String, Vec<u8>)]) -> (Option<Self>, Vec<TrustError>) {
        let mut state: Option<Self> = None;
        let errors = records
            .iter()
            .filter_map(|(kind, bytes)| Self::restore_one(&mut state, kind, bytes).err());
        let errors = errors.collect();
        (state, errors)
    }

    fn restore_one(state: &mut Option<Self>, kind: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let offer = Offer::from_bytes(kind, bytes)?;
        match (state.as_mut(), &offer) {
            (None, Offer::Root(root)) => *state = Some(Self::new(root)?),
            (None, _) => {}
            (Some(state), Offer::Root(root)) => drop(state.offer_root(root)?),
            (Some(state), Offer::Recall(d)) => state.recall = state.verify_kept(d),
            (Some(state), Offer::Revocations(d)) => state.revocations = state.verify_kept(d),
            (Some(state), Offer::List(d)) => state.list = state.verify_kept(d),
            (Some(state), Offer::Beacon(d)) => state.beacon = state.verify_kept(d),
            (Some(state), Offer::Delegated(d)) => state.keep_delegated(d),
        }
        Ok(())
    }

    /// A delegated list is a fact under the list that names its keys, whether that list's own keys
    /// are retired or not.
    fn keep_delegated(&mut self, kept: &Signed<DelegatedList>) {
        let (Some(list), Ok(name)) = (&self.list, kept.read().map(|d| d.delegation)) else {
            return;
        };
        if let Some(kept) = Self::verify_delegated_ever(&self.roots, list, &name, kept) {
            self.delegated.insert(name, kept);
        }
    }

    fn verify_kept<T: Dated>(&self, kept: &Signed<T>) -> Option<Verified<T>> {
        self.roots
            .iter()
            .rev()
            .find_map(|root| kept.verify(T::role(root)?).ok())
    }
}
