//! Which calls are made, and which are left: few at once, few to strangers, and none for a while where
//! nobody has answered.

use std::collections::BTreeMap;

use protocol::defence::{self, Defence};
use protocol::{DeviceId, Now, always};

use super::REFUSED_MS_MAX;

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
pub(crate) struct CallPlan {
    pub(super) under_way: usize,
    unknown: std::collections::VecDeque<u64>,
    /// Since when, and how often, nobody has answered for a phone at an address.
    unanswered: BTreeMap<(DeviceId, String), (u64, u32)>,
}

impl CallPlan {
    /// Whether to call a phone at an address now; if so, it is counted.
    pub(super) fn begin(&mut self, now: Now, peer: DeviceId, address: &str, known: bool) -> bool {
        let failed = self.unanswered.get(&(peer, address.to_owned()));
        always!(failed.is_none_or(|(_, failures)| *failures > 0));
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
        let stands = defence::stands(Defence::FewCalls);
        always!(self.under_way <= CALLS_MAX || !stands);
        true
    }

    /// How often in a row nobody has answered for a phone at an address.
    pub(super) fn unanswered(&self, peer: &DeviceId, address: &str) -> u32 {
        let failed = self.unanswered.get(&(*peer, address.to_owned()));
        failed.map_or(0, |(_, failures)| *failures)
    }

    /// A call has come to its end.
    pub(super) fn end(&mut self, now: Now, peer: DeviceId, address: &str, answered: bool) {
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
        always!(self.unanswered.len() <= ADDRESSES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
