//! The trust lane: the elder teaches the younger, before anything else.

use protocol::frame::{Frame, Hello, Lane, LaneDone, SignedDocument};
use protocol::signed::Signed;

use super::meeting::{End, Meeting, refuse};
use super::{Event, Phone};
use crate::store::Store;

impl Meeting {
    /// Everything that the other's hello shows it to lack.
    pub(super) fn say_trust(&mut self, theirs: &Hello, phone: &Phone) {
        let Some(trust) = phone.trust.as_ref() else { return };
        for root in trust.roots_after(theirs.root_version) {
            self.say(Frame::Root(SignedDocument { bytes: root.signed().to_bytes() }));
        }
        if let Some(list) = trust.list().filter(|l| l.version > theirs.list_version) {
            self.say(Frame::ReleaseList(SignedDocument { bytes: list.signed().to_bytes() }));
        }
        self.say(Frame::LaneDone(LaneDone { lane: Lane::Trust as u8 }));
        self.trust_done_ours = true;
    }

    pub(super) fn handle_root(
        &mut self,
        document: &SignedDocument,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let root = Signed::from_bytes(&document.bytes).or_else(refuse)?;
        let Some(trust) = phone.trust.as_mut() else { return refuse("this phone is not enrolled") };
        if trust.offer_root(&root).or_else(refuse)?
            && let Some(root) = trust.root()
        {
            store.put_root(root)?;
            phone.trust_changed();
        }
        Ok(())
    }

    pub(super) fn handle_list(
        &mut self,
        document: &SignedDocument,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let list = Signed::from_bytes(&document.bytes).or_else(refuse)?;
        let Some(trust) = phone.trust.as_mut() else { return refuse("this phone is not enrolled") };
        if trust.offer_list(&list).or_else(refuse)?
            && let Some(list) = trust.list()
        {
            store.put_release_list(list)?;
            phone.trust_changed();
            phone.open_bundles(store)?;
            phone.announce_ready(store)?;
        }
        Ok(())
    }
}

impl Phone {
    pub(super) fn trust_changed(&mut self) {
        self.changed();
        let (root, list) = self.trust.as_ref().map_or((0, 0), |t| (t.root_version(), t.list_version()));
        self.event(Event::TrustChanged { root, list });
    }
}
