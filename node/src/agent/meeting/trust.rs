//! The trust lane: the elder teaches the younger, before anything else. Roots first, then what
//! stops something, then what begins something.

use std::collections::VecDeque;

use distribution::trust::CurrentDocument;
use distribution::{
    Beacon, DelegatedList, Offer, Recall, ReleaseList, Revocations, Root, TrustedState,
};
use protocol::frame::{Certified, Frame, HeldDocument, Holds, Lane, LaneDone, SignedDocument};
use protocol::signed::Document;
use protocol::{Chain, Invariant, always, never};

use super::talk::{End, Talk, refuse};
use crate::agent::{Event, Phone};
use crate::store::{Store, StoreError};

/// Kinds and names of documents that a peer may say it holds.
const HELD_MAX: usize = 64;

/// What stands for a phone's own certificates in [`Holds`].
pub(in crate::agent) fn short_chain(id: &protocol::ChainId) -> Vec<u8> {
    id.0.first_chunk::<8>()
        .map_or_else(Vec::new, |short| short.to_vec())
}

/// One thing that the other is to be taught. It is made into a frame when the link can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lesson {
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
        offer @ Offer::Root(_)
        | offer @ Offer::Recall(_)
        | offer @ Offer::Revocations(_)
        | offer @ Offer::Delegated(_)
        | offer @ Offer::Beacon(_) => {
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

/// The kind of a document of the trust lane.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn document_kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Root(_) => Root::DOMAIN,
        Frame::Recall(_) => Recall::DOMAIN,
        Frame::Revocations(_) => Revocations::DOMAIN,
        Frame::ReleaseList(_) => ReleaseList::DOMAIN,
        Frame::Delegated(_) => DelegatedList::DOMAIN,
        Frame::Beacon(_) => Beacon::DOMAIN,
        _ => "",
    }
}

/// How far the two are in teaching each other.
#[derive(Default)]
pub(super) struct TrustLane {
    /// What the other is still to be taught.
    to_teach: VecDeque<Lesson>,
    pub(super) done_ours: bool,
    pub(super) done_theirs: bool,
}

impl TrustLane {
    /// A frame of this lane.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn handle(
        &mut self,
        frame: Frame,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let (name, kind) = (frame.name(), document_kind(&frame));
        let learns = talk.theirs.is_some() && !self.done_theirs;
        match frame {
            Frame::Holds(holds) if talk.theirs.is_none() => {
                self.begin_teaching(talk, &holds, phone, store)?;
                talk.theirs = Some(holds);
                Ok(())
            }
            Frame::Renewed(renewed) if learns => {
                match renewed.chain.as_ref().and_then(|chain| phone.judge(chain)) {
                    Some(Ok(chain)) => Ok(phone.take_renewed(chain, store)?),
                    _ => Ok(()),
                }
            }
            Frame::Root(document)
            | Frame::Recall(document)
            | Frame::Revocations(document)
            | Frame::ReleaseList(document)
            | Frame::Delegated(document)
            | Frame::Beacon(document)
                if learns =>
            {
                self.handle_document(talk, kind, &document, phone, store)
            }
            _ => refuse(format!("{name} out of its place")),
        }
    }

    /// Everything that the other lacks, by what it says it holds.
    fn begin_teaching(
        &mut self,
        talk: &Talk,
        theirs: &Holds,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(trust) = phone.own.trust.as_ref() else {
            return Ok(());
        };
        always!(self.to_teach.is_empty(), "each is taught once");
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
        let renewed = phone.renewed_for(&talk.peer, &theirs.certificates, store)?;
        self.to_teach
            .extend(renewed.map(|chain| Lesson::Renewed(chain.to_bytes())));
        self.to_teach.push_back(Lesson::Done);
        Ok(())
    }

    /// The next thing that the other is taught.
    pub(super) fn next_lesson(&mut self, phone: &Phone) -> Option<Frame> {
        while let Some(lesson) = self.to_teach.pop_front() {
            let trust = phone.own.trust.as_ref()?;
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
                    always!(self.to_teach.is_empty(), "that was all");
                    self.done_ours = true;
                    return Some(Frame::LaneDone(LaneDone { lane: Lane::Trust }));
                }
            }
        }
        None
    }

    /// A document from the other. A refused one is reported, and ends the meeting if no honest
    /// phone would have offered it. One that has yet to learn of a root that we hold shows, in good
    /// faith, what that root has ended.
    fn handle_document(
        &mut self,
        talk: &mut Talk,
        kind: &str,
        document: &SignedDocument,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let offer = Offer::from_bytes(kind, &document.bytes).or_else(refuse)?;
        let Some(trust) = phone.own.trust.as_mut() else {
            return refuse("this phone is not enrolled");
        };
        let their_root = talk.theirs.as_ref().map_or(0, |h| h.root_version);
        let learning = their_root < trust.root_version() && !matches!(offer, Offer::Root(_));
        let before = trust.root_version();
        match trust.offer(&offer) {
            Ok(false) => Ok(()),
            Ok(true) => {
                never!(Invariant::TrustMonotone, trust.root_version() < before)?;
                talk.summary.news += 1;
                Ok(phone.trust_changed(store)?)
            }
            Err(error) if learning || !error.is_hostile() => {
                let reason = format!("passed over: {error}");
                phone.out.event(Event::Refused {
                    link: talk.link,
                    peer: talk.peer,
                    reason,
                });
                Ok(())
            }
            Err(error) => refuse(error),
        }
    }
}
