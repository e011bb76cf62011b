//! What happens on a phone, as it happens: one broadcast that any number of screens follow.

use protocol::frame::Lane;
use protocol::{BundleKind, DeviceId, Digest};
use serde::{Deserialize, Serialize};

use crate::agent;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// Two phones have said who they are.
    MeetingBegan {
        /// The link, as later events name it.
        link: u64,
        /// The other phone.
        device: DeviceId,
        /// Its name by certificate, or empty.
        name: String,
    },
    /// How far a lane of a meeting is.
    Progress {
        /// The link.
        link: u64,
        /// Which lane.
        lane: Lane,
        /// Bytes or items so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Something that a phone offered was refused.
    Refused {
        /// The link.
        link: u64,
        /// Who offered it.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// A meeting is over. What moved is kept ([`super::meetings`]).
    MeetingEnded {
        /// The link.
        link: u64,
        /// Both said all they had to say.
        complete: bool,
        /// All spaces were the same on both sides at the end.
        in_step: bool,
        /// Why it ended.
        reason: String,
    },
    /// A newer root or list counts.
    TrustChanged {
        /// Version of the root.
        root: u64,
        /// Version of the list.
        list: u64,
    },
    /// Cases have changed by what a peer brought.
    CasesChanged {
        /// Envelopes that were new.
        envelopes: u64,
    },
    /// A bundle has become whole.
    BundleWhole {
        /// Its digest.
        digest: Digest,
        /// It is a photo; else a release, or a delta.
        photo: bool,
    },
    /// Something that was kept is damaged, and was set aside.
    SetAside {
        /// What.
        what: String,
    },
    /// What runs has changed.
    Activated {
        /// The module.
        module: String,
        /// Its version.
        version: u64,
    },
    /// What ran has been recalled.
    Recalled {
        /// The module.
        module: String,
        /// The ministry's words; none: no release list names the module any more.
        reason: Option<String>,
        /// The version that runs again; none: the rules alone.
        to: Option<u64>,
    },
    /// This screen was too slow: so many events before the next one are lost to it.
    Missed {
        /// How many.
        events: u64,
    },
}

/// An event with the name of its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.event/1")]
pub struct Told {
    /// What has happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Event {
    /// As screens see it; nothing for what only the host deals with.
    pub fn of(event: &agent::Event) -> Option<Self> {
        Some(match event.clone() {
            agent::Event::MeetingBegan { link, peer, name } => Self::MeetingBegan {
                link,
                device: peer,
                name,
            },
            agent::Event::Progress {
                link,
                lane,
                done,
                total,
            } => Self::Progress {
                link,
                lane,
                done,
                total,
            },
            agent::Event::Refused { link, peer, reason } => Self::Refused {
                link,
                device: peer,
                reason,
            },
            agent::Event::MeetingEnded { link, summary } => Self::MeetingEnded {
                link,
                complete: summary.complete,
                in_step: summary.in_step,
                reason: summary.reason,
            },
            agent::Event::TrustChanged { root, list } => Self::TrustChanged { root, list },
            agent::Event::CasesChanged { envelopes } => Self::CasesChanged { envelopes },
            agent::Event::BundleWhole { id } => Self::BundleWhole {
                digest: id.digest,
                photo: id.kind == BundleKind::Photo,
            },
            agent::Event::SetAside { what } => Self::SetAside { what },
            agent::Event::Activated { module, version } => Self::Activated { module, version },
            agent::Event::Recalled { module, reason, to } => Self::Recalled { module, reason, to },
            agent::Event::Reply { .. }
            | agent::Event::RunsAgain { .. }
            | agent::Event::DeltaReady { .. }
            | agent::Event::DeltaRefused { .. }
            | agent::Event::ReleaseReady { .. } => return None,
        })
    }
}
