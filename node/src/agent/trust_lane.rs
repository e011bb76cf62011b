//! The trust lane: the elder teaches the younger, before anything else. Roots first, then what
//! stops something, then what begins something.

use distribution::trust::CurrentDocument;
use distribution::{Offer, TrustedState};
use protocol::frame::{Certified, Frame, HeldDocument, Holds, Lane, LaneDone, SignedDocument};
use protocol::limits::RENEWAL_DAYS;
use protocol::{Chain, DeviceId};
use sync::envelope::author_key;

use super::meeting::{End, Meeting, refuse};
use super::{Event, Phone};
use crate::store::{Store, StoreError};

/// Kinds and names of documents that a peer may say it holds.
const HELD_MAX: usize = 64;

/// What stands for a phone's own certificates in [`Holds`].
pub(super) fn short_chain(id: &protocol::ChainId) -> Vec<u8> {
    id.0.first_chunk::<8>()
        .map_or_else(Vec::new, |short| short.to_vec())
}

/// One thing that the other is to be taught. It is made into a frame when the link can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lesson {
    /// A root of this version.
    Root(u64),
    /// The document of this kind and name that is held then.
    Document(&'static str, String),
    /// Newer certificates of the other phone itself.
    Renewed(Vec<u8>),
    /// That was all.
    Done,
}

/// What is said of the documents held besides roots and the list.
pub(super) fn held(trust: &TrustedState) -> Vec<HeldDocument> {
    let other = |d: &CurrentDocument| !matches!(d.offer, Offer::Root(_) | Offer::List(_));
    let row = |d: CurrentDocument| HeldDocument {
        kind: d.offer.kind().into(),
        name: d.name,
        version: d.version,
    };
    trust
        .current()
        .into_iter()
        .filter(other)
        .map(row)
        .take(HELD_MAX)
        .collect()
}

/// The version of a document that the other says it holds, 0 for none. What it holds of an older
/// root may be signed with keys that are retired: then ours is news whatever its number.
fn version_held(theirs: &Holds, document: &CurrentDocument, root_version: u64) -> u64 {
    match &document.offer {
        _ if theirs.root_version < root_version => 0,
        Offer::List(_) => theirs.list_version,
        offer => {
            let same = |h: &&HeldDocument| h.kind == offer.kind() && h.name == document.name;
            theirs
                .held
                .iter()
                .take(HELD_MAX)
                .find(same)
                .map_or(0, |h| h.version)
        }
    }
}

fn frame(offer: &Offer) -> Frame {
    let document = SignedDocument {
        bytes: offer.to_bytes(),
    };
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
    /// Everything that the other lacks, by what it says it holds.
    pub(super) fn begin_teaching(
        &mut self,
        theirs: &Holds,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(trust) = phone.trust.as_ref() else {
            return Ok(());
        };
        self.to_teach.extend(
            trust
                .roots_after(theirs.root_version)
                .map(|root| Lesson::Root(root.version)),
        );
        for document in trust.current() {
            if document.version > version_held(theirs, &document, trust.root_version()) {
                self.to_teach
                    .push_back(Lesson::Document(document.offer.kind(), document.name));
            }
        }
        let renewed = phone.renewed_for(&self.peer, &theirs.certificates, store)?;
        self.to_teach
            .extend(renewed.map(|chain| Lesson::Renewed(chain.to_bytes())));
        self.to_teach.push_back(Lesson::Done);
        Ok(())
    }

    /// The next thing that the other is taught.
    pub(super) fn next_lesson(&mut self, phone: &Phone) -> Option<Frame> {
        while let Some(lesson) = self.to_teach.pop_front() {
            let trust = phone.trust.as_ref()?;
            match lesson {
                Lesson::Root(version) => {
                    let root = trust.roots().iter().find(|root| root.version == version);
                    if let Some(root) = root {
                        return Some(Frame::Root(SignedDocument {
                            bytes: root.signed().to_bytes(),
                        }));
                    }
                }
                Lesson::Document(kind, name) => {
                    let document = trust
                        .current()
                        .into_iter()
                        .find(|d| d.offer.kind() == kind && d.name == name);
                    if let Some(document) = document {
                        return Some(frame(&document.offer));
                    }
                }
                Lesson::Renewed(chain) => {
                    if let Ok(chain) = Chain::from_bytes(&chain) {
                        return Some(Frame::Renewed(Certified { chain: Some(chain) }));
                    }
                }
                Lesson::Done => {
                    self.trust_done_ours = true;
                    let done = Frame::LaneDone(LaneDone {
                        lane: Lane::Trust as u8,
                    });
                    self.prove_if_ready(phone);
                    return Some(done);
                }
            }
        }
        None
    }

    /// A document from the other. A refused one is reported, and ends the meeting if no honest
    /// phone would have offered it. One that has yet to learn of a root that we hold shows, in good
    /// faith, what that root has ended.
    pub(super) fn handle_document(
        &mut self,
        kind: &str,
        document: &SignedDocument,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let offer = Offer::from_bytes(kind, &document.bytes).or_else(refuse)?;
        let Some(trust) = phone.trust.as_mut() else {
            return refuse("this phone is not enrolled");
        };
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
                phone.event(Event::Refused {
                    link: self.link,
                    peer: self.peer,
                    reason,
                });
                Ok(())
            }
            Err(error) => refuse(error),
        }
    }
}

/// Seconds of a day.
const DAY_S: u64 = 86_400;

impl Phone {
    /// Certificates that the phone `peer` may not have yet: those that this phone has issued and
    /// that end soon, made anew; newer ones that it carries (a ministry certifies in bulk when its
    /// keys change); or, where none counts any more, those that this phone has issued, under its
    /// own newer ones. `theirs` is what the other goes by, if anything.
    fn renewed_for(
        &mut self,
        peer: &DeviceId,
        theirs: &[u8],
        store: &mut dyn Store,
    ) -> Result<Option<Chain>, StoreError> {
        let mut own: Vec<_> = self.authors(author_key(peer), store)?;
        own.retain(|(chain, lost)| chain.device == *peer && !lost);
        if self.is_lost(peer) {
            return Ok(None);
        }
        if own.is_empty() {
            let passed_on = self.passed_on(peer, store)?;
            if let Some(chain) = &passed_on {
                self.keep_chain(chain, store)?;
            }
            return Ok(passed_on.map(|chain| chain.chain().clone()));
        }
        let floor_s = self
            .trust
            .as_ref()
            .map_or(0, |trust| trust.freshness().floor_s);
        let ends = |chain: &protocol::VerifiedChain| chain.expires_s.unwrap_or(u64::MAX);
        let Some((newest, _)) = own.iter().max_by_key(|(chain, _)| ends(chain)) else {
            return Ok(None);
        };
        let soon = ends(newest) < floor_s.saturating_add(RENEWAL_DAYS * DAY_S);
        let mine = newest.chain().issuer() == Some(self.keys.id());
        if soon
            && mine
            && let Some(renewed) = self.renew(newest, floor_s)
        {
            self.keep_chain(&renewed, store)?;
            return Ok(Some(renewed.chain().clone()));
        }
        let known = own
            .iter()
            .find(|(chain, _)| short_chain(&chain.id()) == theirs);
        let longer = known.is_none_or(|(chain, _)| ends(chain) < ends(newest));
        Ok(Some(newest.chain().clone()).filter(|_| longer && short_chain(&newest.id()) != theirs))
    }

    /// What this phone has certified `peer` for, under this phone's own certificates of today: the
    /// ones above may have been made anew since.
    fn passed_on(
        &self,
        peer: &DeviceId,
        store: &dyn Store,
    ) -> Result<Option<protocol::VerifiedChain>, StoreError> {
        let Some(own) = &self.certificate else {
            return Ok(None);
        };
        let kept = store.chains(author_key(peer))?.into_iter().rev();
        let mut under_own = kept.filter_map(|bytes| {
            let chain = Chain::from_bytes(&bytes).ok()?;
            let last = (chain.issuer() == Some(self.keys.id()))
                .then(|| chain.certificates.last().cloned())??;
            self.judge(&own.chain().extended(last))?.ok()
        });
        Ok(under_own.find(|chain| chain.device == *peer))
    }

    /// The same certificate for another term, if this phone may still give it.
    fn renew(
        &self,
        chain: &protocol::VerifiedChain,
        floor_s: u64,
    ) -> Option<protocol::VerifiedChain> {
        let own = self.certificate.as_ref()?;
        let issued = chain.chain().certificates.last()?.read().ok()?;
        let term_s = issued.expires_s?.saturating_sub(issued.issued_s).max(DAY_S);
        let ends = own
            .expires_s
            .unwrap_or(u64::MAX)
            .min(floor_s.saturating_add(term_s));
        let renewed = protocol::Certificate {
            issued_s: floor_s,
            expires_s: Some(ends),
            ..issued.clone()
        };
        if renewed.expires_s <= issued.expires_s {
            return None;
        }
        let chain = own
            .chain()
            .extended(protocol::Signed::by(&renewed, &self.keys));
        self.judge(&chain)?.ok()
    }

    /// Certificates of this phone itself, from another: taken if they hold for the same post and
    /// for longer, or if those that are held count no more.
    pub(super) fn take_renewed(
        &mut self,
        chain: protocol::VerifiedChain,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let counts = |held: &protocol::VerifiedChain| {
            let same = (&held.area, held.rights, held.passes_on)
                == (&chain.area, chain.rights, chain.passes_on);
            let longer = chain.expires_s.unwrap_or(u64::MAX) > held.expires_s.unwrap_or(u64::MAX);
            (same && longer) || !matches!(self.judge(held.chain()), Some(Ok(_)))
        };
        let was_enrolled = store.setting(super::setting::CHAIN)?.is_some();
        if chain.device != self.keys.id()
            || !was_enrolled
            || !self.certificate.as_ref().is_none_or(counts)
        {
            return Ok(());
        }
        self.keep_chain(&chain, store)?;
        store.put_setting(super::setting::CHAIN, &chain.chain().to_bytes())?;
        self.certificate = Some(chain);
        self.changed();
        self.write_receipt(store)
    }

    /// Keeps what has just been accepted, and does what follows from it: recalls are obeyed at
    /// once.
    pub(super) fn trust_changed(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = self.trust.as_ref() else {
            return Ok(());
        };
        store.put_trust_records(&trust.records())?;
        let (root, list) = (trust.root_version(), trust.list_version());
        self.changed();
        self.unmoved_since_news = 0;
        store.put_setting(super::setting::UNMOVED, &0u64.to_le_bytes())?;
        self.event(Event::TrustChanged { root, list });
        self.met.values_mut().for_each(|last| last.failures = 0); // who was refused may be welcome now
        self.certificate = super::load_certificate(self, store)?;
        self.check_keys = true;
        self.obey_recalls(store)?;
        self.write_receipt(store)?;
        self.open_bundles(store)?;
        self.announce_ready(store)
    }

    /// What was recalled stops, is not served and is not kept.
    pub(super) fn obey_recalls(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = self.trust.as_ref() else {
            return Ok(());
        };
        let releases = self
            .bundles
            .keys()
            .filter(|id| id.kind == protocol::BundleKind::Release);
        let recalled: Vec<_> = releases
            .filter(|id| trust.recalled(&id.digest).is_some())
            .copied()
            .collect();
        let mut stopped = Vec::new();
        for (module, activation) in &mut self.activations {
            if let Some(reason) =
                activation.obey(|digest| trust.recalled(digest).map(str::to_owned))
            {
                let to = activation.current.as_ref().map(|m| m.version);
                stopped.push(Event::Recalled {
                    module: module.clone(),
                    reason,
                    to,
                });
            }
        }
        for id in recalled {
            self.bundles.remove(&id);
            store.remove_bundle(&id)?;
        }
        if !stopped.is_empty() {
            self.save_activations(store)?;
            stopped.into_iter().for_each(|event| self.event(event));
        }
        Ok(())
    }
}
