//! Radios: whom to call, over which and when. Two phones that have just met and have nothing new do
//! not meet again, one that cannot be met is called less and less often, and a battery that is nearly
//! empty is kept for the patients.
//!
//! Neighbours and power are told to the agent, and a call is what it wants done: the host knows no
//! rule about it, and the simulator runs the same ones.

use std::collections::BTreeMap;

use protocol::{DeviceId, Now, always};

use super::raising::Raised;
use super::{LinkClass, Output};
use plan::CallPlan;

mod near;
mod plan;

pub use near::{Near, Standing};

/// News or not, phones look in on each other again after this long. Whoever has news calls at once, so
/// that this is only in case a word was lost; a meeting without news is some hundred packets.
const QUIET_MS: u64 = 60 * 60_000;
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
fn remember(met: &mut BTreeMap<DeviceId, LastMeeting>, peer: DeviceId, last: LastMeeting) {
    if met.len() >= REMEMBERED_MAX && !met.contains_key(&peer) {
        let oldest = met
            .iter()
            .min_by_key(|(_, last)| last.at_ms)
            .map(|(device, _)| *device);
        oldest.map(|device| met.remove(&device));
    }
    met.insert(peer, last);
    always!(met.len() <= REMEMBERED_MAX);
}

/// How a phone is powered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Power {
    /// By a cable, or nobody knows.
    #[default]
    Mains,
    /// By a battery that will do.
    Battery,
    /// By a battery that is nearly empty.
    Low,
}

impl Power {
    /// Milliseconds for which a radio that cannot always listen looks for neighbours, and for which it
    /// rests after that: by battery a sixth of the time, nearly empty a twentieth.
    pub fn looks(self) -> (u64, u64) {
        match self {
            Power::Mains => (10_000, 2_000),
            Power::Battery => (10_000, 50_000),
            Power::Low => (8_000, 152_000),
        }
    }
}

/// Bytes a second that Bluetooth LE moves between two phones in the field, as the design measured it.
const BLUETOOTH_BYTES_S: u64 = 35_000;

/// Whether raising a network for so many bytes costs less than moving them over Bluetooth: it takes some
/// ten seconds and the power of minutes of Bluetooth, so that only what would take long is worth it; with
/// a battery that is nearly empty, only what Bluetooth could hardly move at all.
pub(super) fn worth_raising(bytes: u64, power: Power) -> bool {
    let seconds = match power {
        Power::Mains => 15,
        Power::Battery => 25,
        Power::Low => 150,
    };
    bytes > seconds * BLUETOOTH_BYTES_S
}

/// A neighbour that is to be called, or is being called.
#[derive(Debug)]
struct Call {
    class: LinkClass,
    at: String,
    /// When it begins, if it has not.
    due_ms: Option<u64>,
}

/// Places remembered; of more, the one where somebody was noticed longest ago is forgotten.
const PLACES_MAX: usize = 1024;
/// After this long a place at which a phone was noticed is no place of it any more.
const PLACE_MS_MAX: u64 = 5 * 60_000;

/// How long the phone with the higher id leaves the call to the other.
const YIELD_MS: u64 = 2_500;

/// Whom this phone has met and tried to meet while the program runs, and whom it calls.
#[derive(Debug, Default)]
pub(crate) struct Radios {
    met: BTreeMap<DeviceId, LastMeeting>,
    plan: CallPlan,
    calls: BTreeMap<DeviceId, Call>,
    power: Power,
    /// What kinds of links this phone can have.
    classes: Vec<LinkClass>,
    /// It can raise a network, or join one.
    raises: bool,
    /// The one that it has raised or joined.
    pub(super) raised: Option<Raised>,
    /// Where phones were noticed last, over each radio, and when.
    places: BTreeMap<(DeviceId, LinkClass), (String, u64)>,
    /// When phones whose links are gone were last called.
    again: BTreeMap<DeviceId, u64>,
    /// Phones that were noticed last: over what, where, and when.
    noticed: BTreeMap<DeviceId, (LinkClass, String, u64)>,
}

/// A neighbour as it was noticed.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub peer: DeviceId,
    pub class: LinkClass,
    pub at: String,
    /// Certificates of it are held here.
    pub known: bool,
}

impl Radios {
    pub(crate) fn set_power(&mut self, power: Power) {
        self.power = power;
    }

    pub(crate) fn set_classes(&mut self, classes: Vec<LinkClass>) {
        self.classes = classes;
    }

    pub(crate) fn set_raises(&mut self, can: bool) {
        self.raises = can;
    }

    /// Whether a network can be raised or joined, and meetings can move to it.
    pub(crate) fn can_raise(&self) -> bool {
        self.raises && self.classes.contains(&LinkClass::Ip) && self.has_several()
    }

    /// How this phone is powered.
    pub(crate) fn power(&self) -> Power {
        self.power
    }

    /// Whether meetings can move between kinds of links.
    pub(crate) fn has_several(&self) -> bool {
        self.classes.len() > 1
    }

    /// Remembers where a phone was noticed.
    fn note_place(&mut self, now: Now, (peer, class): (DeviceId, LinkClass), at: &str) {
        if !self.has_several() {
            return;
        }
        self.places
            .insert((peer, class), (at.to_owned(), now.mono_ms));
        if self.places.len() > PLACES_MAX {
            let oldest = self.places.iter().min_by_key(|(_, (_, at_ms))| *at_ms);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|oldest| self.places.remove(&oldest));
        }
        always!(self.places.len() <= PLACES_MAX);
    }

    /// A phone that is being met was noticed; it is called there if the meeting `wants` that.
    pub(crate) fn seen_again(
        &mut self,
        now: Now,
        peer: DeviceId,
        class: LinkClass,
        at: String,
        wants: bool,
    ) -> Option<Output> {
        self.note_place(now, (peer, class), &at);
        (wants && self.begin_call(now, peer, (class, &at), true, None)).then_some(Output::Dial {
            peer,
            class,
            at,
        })
    }

    /// A phone whose link is gone is called where it was noticed last, over the fastest radio but
    /// for the one that has just failed; over that one too, every other time.
    pub(crate) fn call_again(
        &mut self,
        now: Now,
        peer: DeviceId,
        lost: LinkClass,
        since_ms: u64,
        every_ms: u64,
    ) -> Option<Output> {
        let last = self
            .again
            .get(&peer)
            .copied()
            .filter(|at_ms| *at_ms >= since_ms);
        if self.calls.contains_key(&peer)
            || last.is_some_and(|at_ms| now.mono_ms < at_ms + every_ms)
        {
            return None;
        }
        self.again
            .retain(|_, at_ms| now.mono_ms < *at_ms + PLACE_MS_MAX);
        self.again.insert(peer, now.mono_ms);
        let near = |(key, (_, at_ms)): &(&(DeviceId, LinkClass), &(String, u64))| {
            key.0 == peer && now.mono_ms < at_ms + PLACE_MS_MAX
        };
        let places = self.places.iter().filter(near);
        let first_try = last.is_none();
        let best =
            places.max_by_key(|((_, class), _)| ((*class != lost) == first_try, class.speed()));
        let ((_, class), (at, _)) = best?;
        let (class, at) = (*class, at.clone());
        let call = Call {
            class,
            at: at.clone(),
            due_ms: None,
        };
        self.plan.under_way += 1;
        self.calls.insert(peer, call);
        Some(Output::Dial { peer, class, at })
    }

    /// When it may be called again.
    pub(crate) fn next_again_ms(&self, peer: &DeviceId, every_ms: u64) -> Option<u64> {
        let near = self.places.keys().any(|(of, _)| of == peer);
        let last = self.again.get(peer).copied().unwrap_or(0);
        (near && !self.calls.contains_key(peer)).then_some(last.saturating_add(every_ms))
    }

    /// Begins a call, if there is a place for one.
    fn begin_call(
        &mut self,
        now: Now,
        peer: DeviceId,
        (class, at): (LinkClass, &str),
        known: bool,
        due_ms: Option<u64>,
    ) -> bool {
        if self.calls.contains_key(&peer) || !self.plan.begin(now, peer, at, known) {
            return false;
        }
        let at = at.to_owned();
        self.calls.insert(peer, Call { class, at, due_ms });
        always!(self.plan.under_way == self.calls.len());
        true
    }

    /// The last meeting with a phone.
    pub(crate) fn last(&self, peer: &DeviceId) -> Option<&LastMeeting> {
        self.met.get(peer)
    }

    pub(crate) fn remember(&mut self, peer: DeviceId, last: LastMeeting) {
        remember(&mut self.met, peer, last);
    }

    /// Something has changed: who was refused may be welcome now.
    pub(crate) fn forgive(&mut self) {
        self.met.values_mut().for_each(|last| last.failures = 0);
    }

    /// Whether a phone is worth calling, if it is near.
    pub(crate) fn worth_meeting(&self, now: Now, revision: u64, peer: &DeviceId) -> bool {
        worth_meeting(now, revision, self.met.get(peer), self.power)
    }

    /// A neighbour was noticed that is worth meeting. The phone with the lower id calls at once, the
    /// other only if nothing has come of that.
    pub(crate) fn seen(&mut self, now: Now, own: DeviceId, near: Neighbour) -> Option<Output> {
        let Neighbour {
            peer,
            class,
            at,
            known,
        } = near;
        always!(peer != own, "a phone is no neighbour of its own");
        self.note_place(now, (peer, class), &at);
        let rests = self.power == Power::Low && !known;
        let due_ms = (own > peer).then(|| now.mono_ms.saturating_add(YIELD_MS));
        if rests || !self.begin_call(now, peer, (class, &at), known, due_ms) {
            return None;
        }
        due_ms.is_none().then_some(Output::Dial { peer, class, at })
    }

    /// Calls whose time has come; those with whom this phone is meeting meanwhile are spared.
    pub(crate) fn due(&mut self, now: Now, meeting: impl Fn(&DeviceId) -> bool) -> Vec<Output> {
        let mut dials = Vec::new();
        let due = |call: &Call| call.due_ms.is_some_and(|due| now.mono_ms >= due);
        let waiting: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, call)| due(call))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in waiting {
            if meeting(&peer) {
                self.ended(now, peer, true);
                continue;
            }
            if let Some(call) = self.calls.get_mut(&peer) {
                call.due_ms = None;
                let (class, at) = (call.class, call.at.clone());
                dials.push(Output::Dial { peer, class, at });
            }
        }
        always!(!self.calls.values().any(due), "no call that is due is left");
        dials
    }

    /// When the next call is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.calls.values().filter_map(|call| call.due_ms).min()
    }

    /// A call has come to its end: somebody answered, or nobody did.
    pub(crate) fn ended(&mut self, now: Now, peer: DeviceId, answered: bool) {
        if let Some(call) = self.calls.remove(&peer) {
            self.plan.end(now, peer, &call.at, answered);
            always!(self.plan.under_way == self.calls.len());
        }
    }
}

/// Whether a neighbour is worth calling. With little power left, news wait as long as silence does.
fn worth_meeting(now: Now, revision: u64, last: Option<&LastMeeting>, power: Power) -> bool {
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
    let news_ms = match power {
        Power::Mains | Power::Battery => NEWS_MS,
        Power::Low => QUIET_MS,
    };
    since >= QUIET_MS || (revision > last.revision && since >= news_ms)
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
        assert!(worth_meeting(now, 5, None, Power::Mains));
        assert!(!worth_meeting(now, 5, Some(&last), Power::Mains));
        assert!(worth_meeting(now, 6, Some(&last), Power::Mains));
        assert!(worth_meeting(
            now.plus_ms(QUIET_MS),
            5,
            Some(&last),
            Power::Mains
        ));
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
            worth_meeting(at(2_000), 5, Some(&last(1, false)), Power::Mains)
                && !worth_meeting(at(1_000), 5, Some(&last(1, false)), Power::Mains)
        );
        assert!(
            !worth_meeting(at(59_000), 9, Some(&last(1, true)), Power::Mains)
                && worth_meeting(at(60_000), 5, Some(&last(1, true)), Power::Mains)
        );
        assert!(!worth_meeting(
            at(200_000),
            5,
            Some(&last(3, true)),
            Power::Mains
        ));
        assert!(worth_meeting(
            at(REFUSED_MS_MAX),
            5,
            Some(&last(u32::MAX, true)),
            Power::Mains
        ));
        assert!(worth_meeting(
            at(CUT_MS_MAX),
            5,
            Some(&last(u32::MAX, false)),
            Power::Mains
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

    fn near(n: u8, known: bool) -> Neighbour {
        Neighbour {
            peer: DeviceId([n; 32]),
            class: LinkClass::Ip,
            at: format!("10.0.0.{n}:1"),
            known,
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            mono_ms: ms,
            wall_s: 0,
        }
    }

    /// A phone whose link is gone is called over another radio first, then over the same, and after
    /// a while of silence not at all.
    #[test]
    fn a_phone_whose_link_is_gone_is_called_where_it_was_noticed() {
        let peer = DeviceId([9; 32]);
        let mut radios = Radios::default();
        radios.set_classes(vec![LinkClass::Bluetooth, LinkClass::Ip]);
        let note = |radios: &mut Radios, class, at: &str| {
            assert!(
                radios
                    .seen_again(self::at(0), peer, class, at.into(), false)
                    .is_none()
            );
        };
        note(&mut radios, LinkClass::Ip, "10.0.0.9:1");
        note(&mut radios, LinkClass::Bluetooth, "AA");
        let mut call = |ms, lost| match radios.call_again(at(ms), peer, lost, 1_000, 2_000) {
            Some(Output::Dial { class, .. }) => {
                radios.ended(at(ms), peer, false);
                Some(class)
            }
            _ => None,
        };
        assert_eq!(call(1_000, LinkClass::Ip), Some(LinkClass::Bluetooth));
        assert_eq!(call(1_500, LinkClass::Ip), None, "not at once again");
        assert_eq!(call(3_000, LinkClass::Ip), Some(LinkClass::Ip));
        assert_eq!(
            call(PLACE_MS_MAX + 1, LinkClass::Ip),
            None,
            "it was there long ago"
        );
    }

    /// A phone with one kind of radio remembers no places: its meetings move nowhere.
    #[test]
    fn places_are_few_and_only_for_phones_that_can_move() {
        let mut radios = Radios::default();
        let fill = |radios: &mut Radios| {
            for n in 0..2 * PLACES_MAX as u64 {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&n.to_be_bytes());
                let (peer, place) = (DeviceId(id), format!("10.0.0.1:{n}"));
                radios.seen_again(at(n), peer, LinkClass::Ip, place, false);
            }
        };
        fill(&mut radios);
        assert!(radios.places.is_empty());
        radios.set_classes(vec![LinkClass::Bluetooth, LinkClass::Ip]);
        fill(&mut radios);
        assert_eq!(radios.places.len(), PLACES_MAX);
    }

    /// What takes Bluetooth a quarter of a minute is worth a network on a cable; with an empty battery only
    /// what it could hardly move at all; nothing never is.
    #[test]
    fn a_network_is_raised_for_what_bluetooth_would_take_long_for() {
        let all = [Power::Mains, Power::Battery, Power::Low];
        let least = |power: Power| (0..400).find(|n| worth_raising(n * 25_000, power));
        let least: Vec<_> = all.into_iter().map(|power| least(power).unwrap()).collect();
        assert!(least.is_sorted(), "{least:?}");
        assert!(least[0] * 25_000 > 10 * BLUETOOTH_BYTES_S, "{least:?}");
        assert!(
            least[2] * 25_000 < 8 << 20,
            "less than a whole budget of Bluetooth"
        );
        assert!(all.iter().all(|power| !worth_raising(0, *power)));
        assert!(all.iter().all(|power| worth_raising(u64::MAX, *power)));
    }

    #[test]
    fn the_lower_id_calls_at_once_and_the_higher_one_only_if_nothing_has_come_of_it() {
        let own = DeviceId([5; 32]);
        let mut radios = Radios::default();
        assert!(matches!(
            radios.seen(at(0), own, near(9, true)),
            Some(Output::Dial { peer, .. }) if peer == DeviceId([9; 32])
        ));
        assert!(
            radios.seen(at(1), own, near(9, true)).is_none(),
            "it is being called"
        );
        assert!(radios.seen(at(0), own, near(2, true)).is_none());
        assert!(radios.seen(at(0), own, near(3, true)).is_none());
        assert_eq!(radios.next_due_ms(), Some(YIELD_MS));
        assert!(radios.due(at(YIELD_MS - 1), |_| false).is_empty());
        let met = DeviceId([2; 32]);
        let due = radios.due(at(YIELD_MS), |peer| *peer == met);
        assert!(
            matches!(due.as_slice(), [Output::Dial { peer, .. }] if *peer == DeviceId([3; 32]))
        );
        assert_eq!(radios.next_due_ms(), None);
        radios.ended(at(9_000), DeviceId([9; 32]), false);
        assert!(
            radios.seen(at(9_001), own, near(9, true)).is_none(),
            "nobody answered there"
        );
        assert!(radios.seen(at(99_000), own, near(9, true)).is_some());
    }

    #[test]
    fn a_battery_that_is_nearly_empty_calls_no_strangers_and_lets_news_wait() {
        let own = DeviceId([1; 32]);
        for (power, calls) in [
            (Power::Mains, true),
            (Power::Battery, true),
            (Power::Low, false),
        ] {
            let mut radios = Radios::default();
            radios.set_power(power);
            assert_eq!(
                radios.seen(at(0), own, near(9, false)).is_some(),
                calls,
                "{power:?}"
            );
            assert!(radios.seen(at(0), own, near(8, true)).is_some());
            let last = LastMeeting {
                at_ms: 0,
                revision: 5,
                failures: 0,
                refused: false,
            };
            radios.remember(DeviceId([7; 32]), last);
            assert_eq!(
                radios.worth_meeting(at(NEWS_MS), 6, &DeviceId([7; 32])),
                calls
            );
            assert!(radios.worth_meeting(at(QUIET_MS), 6, &DeviceId([7; 32])));
        }
    }
}
