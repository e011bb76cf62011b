//! What the owners of a phone may use while one input is handled, and what they leave behind.
//!
//! One input is one transaction of the store. What follows from a fact is put into a queue
//! ([`Consequence`]) that the phone drains ([`super::consequence`]): owners never call each other
//! round.

use std::collections::VecDeque;

use protocol::{Digest, EnvelopeId, Now};
use sync::SpaceKey;

use super::identity::Identity;
use super::{Event, LinkId, Output};
use crate::store::Store;

/// What follows from a fact that has just been established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    /// The key of a space has been opened: it is taken, with those before it, and what has been
    /// carried for it is opened.
    TakeKey(SpaceKey),
    /// An envelope that was set aside is looked at again.
    OpenQuarantined(EnvelopeId),
    /// Somebody may be lost: keys that they have are replaced.
    RenewKeys,
    /// What lost phones have announced is dropped.
    ForgetPhotosOfRevoked,
    /// Keys may be due to end.
    SettleEndings,
    /// What waits, for a key or for consent, may leave.
    SealWaiting,
    /// What another case of the same patient's has changed may matter to this one.
    Reconsider(protocol::CaseId),
    /// A photo is passed on to nobody any more.
    Withhold(Digest),
    /// Bundles are wanted that were not before.
    OpenBundles,
}

/// What a phone wants done, what follows for it, and how often something was new to others.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(super) outputs: VecDeque<Output>,
    pub(super) consequences: VecDeque<Consequence>,
    /// Counts what is new here, so that two phones without news do not meet again.
    pub(super) revision: u64,
}

impl Out {
    pub(super) fn new() -> Self {
        Self {
            revision: 1, // a phone that was just loaded has met nobody yet
            ..Self::default()
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn close(&mut self, link: LinkId, reason: &str) {
        let reason = reason.to_owned();
        self.outputs.push_back(Output::CloseLink { link, reason });
    }

    /// Something here is new to others.
    pub(super) fn changed(&mut self) {
        self.revision += 1;
    }

    /// Something follows. What looks at everything of its kind follows once, after all else that
    /// waits.
    pub(super) fn follow(&mut self, consequence: Consequence) {
        let one = matches!(
            consequence,
            Consequence::TakeKey(_) | Consequence::OpenQuarantined(_) | Consequence::Withhold(_)
        );
        if !one {
            self.consequences.retain(|waits| *waits != consequence);
        }
        self.consequences.push_back(consequence);
    }
}

/// One input being handled: the time, who this phone is, its store, and what it leaves behind.
pub(super) struct Tx<'a> {
    pub now: Now,
    pub own: &'a mut Identity,
    pub store: &'a mut dyn Store,
    pub out: &'a mut Out,
}
