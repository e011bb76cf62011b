//! Whom to meet: two phones that have just met and have nothing new do not meet again, and one that
//! cannot be met is called less and less often.

use std::collections::BTreeMap;

use protocol::defence::{self, Defence};
use protocol::{DeviceId, Now};

/// When news or not, phones look in on each other again.
const QUIET_MS: u64 = 10 * 60_000;
/// With news, not more often than this.
const NEWS_MS: u64 = 2_000;
/// After a first failure, a call is tried again.
const CUT_MS: u64 = 2_000;
/// The same where one of the two would not go on, and will not until something changes.
const REFUSED_MS: u64 = 60_000;
/// However often it has been refused, or cut.
const REFUSED_MS_MAX: u64 = 60 * 60_000;
/// See [`REFUSED_MS_MAX`].
const CUT_MS_MAX: u64 = 60_000;
/// Phones remembered; of more, the one met longest ago is forgotten.
const REMEMBERED_MAX: usize = 4096;

/// What is remembered of the last meeting with a phone while the program runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastMeeting {
    pub at_ms: u64,
    pub revision: u64,
    /// Tries since that did not come to their end.
    pub failures: u32,
    /// The last of them was refused.
    pub refused: bool,
}

/// Remembers how a meeting, or a call, ended.
pub(crate) fn remember(
    met: &mut BTreeMap<DeviceId, LastMeeting>,
    peer: DeviceId,
    last: LastMeeting,
) {
    if met.len() >= REMEMBERED_MAX && !met.contains_key(&peer) {
        let oldest = met
            .iter()
            .min_by_key(|(_, last)| last.at_ms)
            .map(|(device, _)| *device);
        oldest.map(|device| met.remove(&device));
    }
    met.insert(peer, last);
}

/// Whether a neighbour is worth calling.
pub(crate) fn worth_meeting(now: Now, revision: u64, last: Option<&LastMeeting>) -> bool {
    let Some(last) = last else { return true };
    let since = now.mono_ms.saturating_sub(last.at_ms);
    if last.failures > 0 {
        let (first, most) = if last.refused {
            (REFUSED_MS, REFUSED_MS_MAX)
        } else {
            (CUT_MS, CUT_MS_MAX)
        };
        let doubled = first.saturating_mul(1 << (last.failures - 1).min(16));
        return since >= doubled.min(most);
    }
    since >= QUIET_MS || (revision > last.revision && since >= NEWS_MS)
}

/// Calls under way at once.
const CALLS_MAX: usize = 4;
/// Calls within a minute to phones that nobody here knows.
const UNKNOWN_PER_MINUTE_MAX: usize = 6;
/// Addresses remembered at which nobody answered.
const ADDRESSES_MAX: usize = 512;
/// After a first call that nobody answered, the same address is tried again.
const UNANSWERED_MS: u64 = 10_000;

/// Which calls are made: what is heard of neighbours proves nothing, and must not make this phone
/// call whomever somebody likes.
#[derive(Debug, Default)]
pub struct CallPlan {
    under_way: usize,
    unknown: std::collections::VecDeque<u64>,
    /// Since when, and how often, nobody has answered for a phone at an address.
    unanswered: BTreeMap<(DeviceId, String), (u64, u32)>,
}

impl CallPlan {
    /// Whether to call a phone at an address now; if so, it is counted.
    pub fn begin(&mut self, now: Now, peer: DeviceId, address: &str, known: bool) -> bool {
        let failed = self.unanswered.get(&(peer, address.to_owned()));
        let rests = failed.is_some_and(|(at_ms, failures)| {
            let wait = UNANSWERED_MS
                .saturating_mul(1 << (failures - 1).min(16))
                .min(REFUSED_MS_MAX);
            now.mono_ms < at_ms.saturating_add(wait)
        });
        while self
            .unknown
            .front()
            .is_some_and(|at_ms| now.mono_ms >= at_ms + 60_000)
        {
            self.unknown.pop_front();
        }
        let many =
            self.under_way >= CALLS_MAX || (!known && self.unknown.len() >= UNKNOWN_PER_MINUTE_MAX);
        if (rests || many) && defence::stands(Defence::FewCalls) {
            return false;
        }
        if !known {
            self.unknown.push_back(now.mono_ms);
        }
        self.under_way += 1;
        true
    }

    /// A call has come to its end.
    pub fn end(&mut self, now: Now, peer: DeviceId, address: &str, answered: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        let key = (peer, address.to_owned());
        if answered {
            self.unanswered.remove(&key);
            return;
        }
        let failures = self
            .unanswered
            .get(&key)
            .map_or(0, |(_, failures)| *failures)
            .saturating_add(1);
        if self.unanswered.len() >= ADDRESSES_MAX && !self.unanswered.contains_key(&key) {
            let oldest = self
                .unanswered
                .iter()
                .min_by_key(|(_, (at_ms, _))| *at_ms)
                .map(|(key, _)| key.clone());
            oldest.map(|oldest| self.unanswered.remove(&oldest));
        }
        self.unanswered.insert(key, (now.mono_ms, failures));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_without_news_rest_and_phones_with_news_meet() {
        let now = Now {
            mono_ms: 100_000,
            wall_s: 0,
        };
        let last = LastMeeting {
            at_ms: 90_000,
            revision: 5,
            failures: 0,
            refused: false,
        };
        assert!(worth_meeting(now, 5, None));
        assert!(!worth_meeting(now, 5, Some(&last)));
        assert!(worth_meeting(now, 6, Some(&last)));
        assert!(worth_meeting(now.plus_ms(QUIET_MS), 5, Some(&last)));
    }

    /// H2 of the review, and its control: whoever can say beacons makes a phone call whomever he
    /// likes.
    #[test]
    fn h2_a_flood_of_beacons_brings_about_a_handful_of_calls() {
        let flood = || {
            let (mut plan, now) = (
                CallPlan::default(),
                Now {
                    mono_ms: 0,
                    wall_s: 0,
                },
            );
            let mut begins = |n: u32| {
                let peer = DeviceId([n as u8; 32]);
                let begun = plan.begin(now, peer, "192.0.2.1:9", false);
                if begun {
                    plan.end(now, peer, "192.0.2.1:9", false);
                }
                begun
            };
            (0..2000).filter(|n| begins(*n)).count()
        };
        assert_eq!(flood(), UNKNOWN_PER_MINUTE_MAX);
        assert_eq!(defence::without(Defence::FewCalls, flood), 2000);
    }

    #[test]
    fn calls_are_few_at_once_and_few_to_strangers_and_rest_where_nobody_answers() {
        let at = |ms| Now {
            mono_ms: ms,
            wall_s: 0,
        };
        let id = |n: u8| DeviceId([n; 32]);
        let mut plan = CallPlan::default();
        let began = (0..200)
            .filter(|n| plan.begin(at(0), id(*n), "10.0.0.1:1", false))
            .count();
        assert_eq!(began, CALLS_MAX);
        (0..CALLS_MAX as u8).for_each(|n| plan.end(at(1), id(n), "10.0.0.1:1", false));
        assert!(
            !plan.begin(at(5_000), id(0), "10.0.0.1:1", true),
            "nobody answered there"
        );
        assert!(
            plan.begin(at(5_000), id(0), "10.0.0.2:1", true),
            "elsewhere somebody may"
        );
        plan.end(at(6_000), id(0), "10.0.0.2:1", true);
        let mut unknown = 0;
        for n in 0..50 {
            if plan.begin(at(7_000), id(n), "10.0.0.9:1", false) {
                unknown += 1;
                plan.end(at(7_000), id(n), "10.0.0.9:1", true);
            }
        }
        assert_eq!(unknown, UNKNOWN_PER_MINUTE_MAX - CALLS_MAX);
        for n in 0..3000u32 {
            plan.end(at(8_000), id(1), &format!("10.0.0.1:{n}"), false);
        }
        assert!(plan.unanswered.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn who_cannot_be_met_is_called_less_and_less_often() {
        let last = |failures, refused| LastMeeting {
            at_ms: 0,
            revision: 5,
            failures,
            refused,
        };
        let at = |ms| Now {
            mono_ms: ms,
            wall_s: 0,
        };
        assert!(
            worth_meeting(at(2_000), 5, Some(&last(1, false)))
                && !worth_meeting(at(1_000), 5, Some(&last(1, false)))
        );
        assert!(
            !worth_meeting(at(59_000), 9, Some(&last(1, true)))
                && worth_meeting(at(60_000), 5, Some(&last(1, true)))
        );
        assert!(!worth_meeting(at(200_000), 5, Some(&last(3, true))));
        assert!(worth_meeting(
            at(REFUSED_MS_MAX),
            5,
            Some(&last(u32::MAX, true))
        ));
        assert!(worth_meeting(
            at(CUT_MS_MAX),
            5,
            Some(&last(u32::MAX, false))
        ));
        let mut met = BTreeMap::new();
        for n in 0..2 * REMEMBERED_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            remember(
                &mut met,
                DeviceId(id),
                LastMeeting {
                    at_ms: n,
                    ..last(0, false)
                },
            );
        }
        assert_eq!(met.len(), REMEMBERED_MAX);
    }
}
