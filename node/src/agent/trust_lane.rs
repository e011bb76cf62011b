//! The trust lane: the elder teaches the younger, before anything else. Roots first, then what stops something, then what
//! begins something.

use distribution::trust::CurrentDocument;
use distribution::{Offer, TrustedState};
use protocol::frame::{Frame, HeldDocument, Hello, Lane, LaneDone, SignedDocument};

use super::meeting::{End, Meeting, refuse};
use super::{Event, Phone};
use crate::store::{Store, StoreError};

/// Kinds and names of documents that a peer may say it holds.
const HELD_MAX: usize = 64;

/// What our hello says of the documents held besides roots and the list.
pub(super) fn held(trust: &TrustedState) -> Vec<HeldDocument> {
    let other = |d: &CurrentDocument| !matches!(d.offer, Offer::Root(_) | Offer::List(_));
    let row = |d: CurrentDocument| HeldDocument { kind: d.offer.kind().into(), name: d.name, version: d.version };
    trust.current().into_iter().filter(other).map(row).take(HELD_MAX).collect()
}

/// The version of a document that the other says it holds, 0 for none. What it holds of an older root may be signed with
/// keys that are retired: then ours is news whatever its number.
fn version_held(theirs: &Hello, document: &CurrentDocument, root_version: u64) -> u64 {
    match &document.offer {
        _ if theirs.root_version < root_version => 0,
        Offer::List(_) => theirs.list_version,
        offer => {
            let same = |h: &&HeldDocument| h.kind == offer.kind() && h.name == document.name;
            theirs.held.iter().take(HELD_MAX).find(same).map_or(0, |h| h.version)
        }
    }
}

fn frame(offer: &Offer) -> Frame {
    let document = SignedDocument { bytes: offer.to_bytes() };
    match offer {
        Offer::Root(_) => Frame::Root(document),
        Offer::Recall(_) => Frame::Recall(document),
        Offer::Revocations(_) => Frame::Revocations(document),
        Offer::List(_) => Frame::ReleaseList(document),
        Offer::Delegated(_) => Frame::Delegated(document),
        Offer::Beacon(_) => Frame::Beacon(document),
    }
}

impl Meeting {
    /// Everything that the other's hello shows it to lack.
    pub(super) fn say_trust(&mut self, theirs: &Hello, phone: &Phone) {
        let Some(trust) = phone.trust.as_ref() else { return };
        for root in trust.roots_after(theirs.root_version) {
            self.say(Frame::Root(SignedDocument { bytes: root.signed().to_bytes() }));
        }
        for document in trust.current() {
            if document.version > version_held(theirs, &document, trust.root_version()) {
                self.say(frame(&document.offer));
            }
        }
        self.say(Frame::LaneDone(LaneDone { lane: Lane::Trust as u8 }));
        self.trust_done_ours = true;
    }

    /// A document from the other. A refused one is reported, and ends the meeting if no honest phone would have offered it.
    /// One that has yet to learn of a root that we hold shows, in good faith, what that root has ended.
    pub(super) fn handle_document(
        &mut self,
        kind: &str,
        document: &SignedDocument,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let offer = Offer::from_bytes(kind, &document.bytes).or_else(refuse)?;
        let Some(trust) = phone.trust.as_mut() else { return refuse("this phone is not enrolled") };
        let their_root = self.theirs.as_ref().map_or(0, |h| h.root_version);
        let learning = their_root < trust.root_version() && !matches!(offer, Offer::Root(_));
        match trust.offer(&offer) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.summary.news += 1;
                Ok(phone.trust_changed(store)?)
            }
            Err(error) if learning || !error.is_hostile() => {
                let reason = format!("passed over: {error}");
                phone.event(Event::Refused { link: self.link, peer: self.peer, reason });
                Ok(())
            }
            Err(error) => refuse(error),
        }
    }
}

impl Phone {
    /// Keeps what has just been accepted, and does what follows from it: recalls are obeyed at once.
    pub(super) fn trust_changed(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = self.trust.as_ref() else { return Ok(()) };
        store.put_trust_records(&trust.records())?;
        let (root, list) = (trust.root_version(), trust.list_version());
        self.changed();
        self.unmoved_since_news = 0;
        store.put_setting(super::setting::UNMOVED, &0u64.to_le_bytes())?;
        self.event(Event::TrustChanged { root, list });
        self.certificate = super::load_certificate(self, store)?;
        self.check_keys = true;
        self.obey_recalls(store)?;
        self.write_receipt(store)?;
        self.open_bundles(store)?;
        self.announce_ready(store)
    }

    /// What was recalled stops, is not served and is not kept.
    pub(super) fn obey_recalls(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = self.trust.as_ref() else { return Ok(()) };
        let recalled: Vec<_> = self.bundles.keys().filter(|digest| trust.recalled(digest).is_some()).copied().collect();
        let mut stopped = Vec::new();
        for (module, activation) in &mut self.activations {
            if let Some(reason) = activation.obey(|digest| trust.recalled(digest).map(str::to_owned)) {
                let to = activation.current.as_ref().map(|m| m.version);
                stopped.push(Event::Recalled { module: module.clone(), reason, to });
            }
        }
        for digest in recalled {
            self.bundles.remove(&digest);
            store.remove_bundle(&digest)?;
        }
        if !stopped.is_empty() {
            self.save_activations(store)?;
            stopped.into_iter().for_each(|event| self.event(event));
        }
        Ok(())
    }
}
