//! Who is near, and why the two are not meeting, for whoever asks.

use protocol::{DeviceId, Now, always};

use super::{LinkClass, PLACE_MS_MAX, Power, Radios};

/// Phones that are shown as near; of more, the one noticed longest ago is left out.
const NOTICED_MAX: usize = 256;

/// A phone that is near, for whoever asks who is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// Who it says it is.
    pub device: DeviceId,
    /// Over what it was noticed last.
    pub radio: LinkClass,
    /// Seconds since.
    pub noticed_s: u64,
    /// How it stands to this phone.
    pub standing: Standing,
}

/// How a phone that is near stands to this one: why the two are not meeting, if they are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// The two are meeting.
    Meeting,
    /// It is being called.
    Called,
    /// They have met, and there is nothing new since.
    NothingNew,
    /// Its turn comes: few are called at once, and not at once again.
    Waits,
    /// Nobody has answered where it was noticed.
    NoAnswer {
        /// So many calls in a row.
        calls: u32,
    },
    /// One of the two would not go on at the last meeting.
    Refused,
    /// The last meeting was cut off.
    CutOff,
    /// Nobody here knows it, and this battery is nearly empty.
    SavesPower,
    /// It says that it is this phone: its key is on two phones, or somebody pretends.
    ThisPhone,
}

impl Radios {
    /// A phone was noticed near by, whether or not it is worth a call.
    pub(crate) fn notice(&mut self, now: Now, (peer, class): (DeviceId, LinkClass), at: &str) {
        self.noticed
            .insert(peer, (class, at.to_owned(), now.mono_ms));
        if self.noticed.len() > NOTICED_MAX {
            let oldest = self.noticed.iter().min_by_key(|(_, (.., at_ms))| *at_ms);
            let oldest = oldest.map(|(peer, _)| *peer);
            oldest.map(|oldest| self.noticed.remove(&oldest));
        }
        always!(self.noticed.len() <= NOTICED_MAX);
    }

    /// The phones that are near now, and how each stands to this one.
    pub(crate) fn near(
        &self,
        now: Now,
        own: DeviceId,
        (revision, meeting): (u64, impl Fn(&DeviceId) -> bool),
    ) -> Vec<Near> {
        let recent = |at_ms: &u64| now.mono_ms < at_ms.saturating_add(PLACE_MS_MAX);
        let noticed = self.noticed.iter().filter(|(_, (.., at_ms))| recent(at_ms));
        let near = noticed.map(|(peer, (class, at, at_ms))| {
            let unanswered = self.plan.unanswered(peer, at);
            let standing = match self.met.get(peer) {
                _ if *peer == own => Standing::ThisPhone,
                _ if meeting(peer) => Standing::Meeting,
                _ if self.calls.contains_key(peer) => Standing::Called,
                _ if unanswered > 0 => Standing::NoAnswer { calls: unanswered },
                Some(last) if last.failures > 0 && last.refused => Standing::Refused,
                Some(last) if last.failures > 0 => Standing::CutOff,
                Some(last) if revision > last.revision => Standing::Waits,
                Some(_) => Standing::NothingNew,
                None if self.power == Power::Low => Standing::SavesPower,
                None => Standing::Waits,
            };
            Near {
                device: *peer,
                radio: *class,
                noticed_s: now.mono_ms.saturating_sub(*at_ms) / 1000,
                standing,
            }
        });
        near.collect()
    }
}
