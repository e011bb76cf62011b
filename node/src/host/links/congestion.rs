//! Congestion control over one hop: how fast to send. QUIC's usual control (CUBIC) takes every lost packet for
//! congestion and crawls on a radio that loses two in a hundred; its BBR, experimental here, left a
//! quarter of the links unused that `kijiti-bench link --shaped` measures. Between two phones
//! nobody else's queue is on the way, so delay tells all: the window grows until a small queue
//! stands at the radio and then keeps it there (as LEDBAT, RFC 6817, does). Loss counts only when
//! it is heavy.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory};

/// The queue that is kept standing: enough that the radio is never idle, little enough that a call
/// is not held up.
const QUEUE: Duration = Duration::from_millis(50);
/// Part of the bytes lost above which nothing grows, and above which the window shrinks.
const LOSS_STAY: f64 = 0.08;
const LOSS_SHRINK: f64 = 0.16;
/// How often the standing queue is let out, to see how long the way itself takes now.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const INITIAL_WINDOW: u64 = 14_720;
const WINDOW_MAX: u64 = 32 << 20;
const PACKETS_MIN: u64 = 4;

/// Makes one [`OneHop`] for each path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OneHopConfig;

impl ControllerFactory for OneHopConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(OneHop::new(now, current_mtu))
    }
}

/// What has been seen since the packets of this round began to leave.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// The packet whose acknowledgement ends the round.
    end: u64,
    least: Option<Duration>,
    latest: Duration,
    acked: u64,
    lost: u64,
    limited: bool,
}

/// The window of one path. Times are the connection's, bytes are UDP payload.
#[derive(Debug, Clone)]
pub(super) struct OneHop {
    window: u64,
    packet: u64,
    starting: bool,
    /// Least time there and back in the last and in this period of [`LOOK_AGAIN`].
    least: [Option<Duration>; 2],
    period_began: Instant,
    /// The window of a round that lets the standing queue out.
    looking: Option<u64>,
    sent: u64,
    round: Round,
    /// Bytes lost and acknowledged of late; older ones count less and less.
    lost: f64,
    acked: f64,
}

impl OneHop {
    fn new(now: Instant, packet: u16) -> Self {
        Self {
            window: INITIAL_WINDOW,
            packet: packet.into(),
            starting: true,
            least: [None; 2],
            period_began: now,
            looking: None,
            sent: 0,
            round: Round::default(),
            lost: 0.0,
            acked: 0.0,
        }
    }

    /// How long the way takes when nothing stands in a queue.
    fn base(&self) -> Option<Duration> {
        self.least.iter().flatten().min().copied()
    }

    fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let took = now.saturating_duration_since(sent);
        let least = |known: Option<Duration>| Some(known.map_or(took, |k| k.min(took)));
        self.round.least = least(self.round.least);
        if let Some(period) = self.least.get_mut(1) {
            *period = least(*period);
        }
        self.round.latest = took;
        self.round.acked += bytes;
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(
            &mut self.round,
            Round {
                end: self.sent,
                ..Round::default()
            },
        );
        self.lost = self.lost * 0.75 + round.lost as f64;
        self.acked = self.acked * 0.75 + round.acked as f64;
        let looked = self.looking.take().is_some();
        let (Some(base), Some(least)) = (self.base(), round.least) else {
            return;
        };
        if now.duration_since(self.period_began) >= LOOK_AGAIN {
            self.period_began = now;
            self.least = [self.least.get(1).copied().flatten(), None];
            let empty = self.window as f64 * base.as_secs_f64() / least.as_secs_f64();
            self.looking = (!self.starting).then_some((empty * 0.9) as u64);
        }
        let queue = least.saturating_sub(base);
        // On a slow link a queue is a matter of packets rather than of time.
        let packets =
            least.as_secs_f64() * (PACKETS_MIN * self.packet) as f64 / self.window.max(1) as f64;
        let wanted = QUEUE.max(Duration::from_secs_f64(packets.min(1.0)));
        self.starting &= round.latest.saturating_sub(base) < wanted / 2;
        let loss = self.lost / (self.lost + self.acked).max(1.0);
        if loss > LOSS_SHRINK {
            self.starting = false;
            (self.lost, self.acked) = (0.0, 0.0);
            self.window = self.window * 7 / 10;
        } else if queue > wanted {
            self.starting = false;
            let fit = (base + wanted).as_secs_f64() / least.as_secs_f64();
            self.window = (self.window as f64 * fit.max(0.7)) as u64;
        } else if round.limited && !looked && loss <= LOSS_STAY {
            let free = 1.0 - queue.as_secs_f64() / wanted.as_secs_f64();
            let grown = self.window as f64 * if self.starting { 1.0 } else { free / 4.0 };
            self.window += (grown as u64).max(if free > 0.1 { self.packet } else { 0 });
        }
        self.window = self.window.clamp(PACKETS_MIN * self.packet, WINDOW_MAX);
    }
}

impl Controller for OneHop {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, largest_pn: u64) {
        self.sent = largest_pn;
    }

    fn on_cwnd_limited(&mut self) {
        self.round.limited = true;
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        _pn: u64,
        _app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.acknowledged(now, sent, bytes);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        _in_flight: u64,
        _app_limited: bool,
        largest: Option<u64>,
    ) {
        if largest.is_some_and(|pn| pn >= self.round.end) {
            self.end_round(now);
        }
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        is_ecn: bool,
        lost_bytes: u64,
        _largest_lost_pn: u64,
    ) {
        self.round.lost += lost_bytes;
        if is_persistent_congestion {
            // The other was out of reach: what comes back is a new link.
            self.window = INITIAL_WINDOW;
            self.starting = true;
            (self.lost, self.acked) = (0.0, 0.0);
        } else if is_ecn {
            self.starting = false;
            self.window = (self.window * 7 / 10).max(PACKETS_MIN * self.packet);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.packet = new_mtu.into();
    }

    fn window(&self) -> u64 {
        self.looking
            .unwrap_or(self.window)
            .max(PACKETS_MIN * self.packet)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A link that carries a packet each `packet_us`, takes `way_ms` there and back, and loses
    /// every `lose`th; how much of it was used in the second half of a minute, and the mean wait in
    /// its queue in ms.
    fn used(packet_us: u64, way_ms: u64, lose: Option<u64>) -> (f64, f64) {
        let begin = Instant::now();
        let at = |us: u64| begin + Duration::from_micros(us);
        let mut hop = OneHop::new(begin, 1200);
        let (mut pn, mut free_us, mut in_flight) = (0u64, 0u64, 0u64);
        let mut on_way: VecDeque<(u64, u64, u64, bool)> = VecDeque::new();
        let (mut carried, mut waited) = (0u64, 0u64);
        let mut now_us = 0;
        while now_us < 60_000_000 {
            while in_flight + 1200 <= hop.window() {
                free_us = free_us.max(now_us) + packet_us;
                pn += 1;
                hop.on_sent(at(now_us), 1200, pn);
                on_way.push_back((
                    free_us + way_ms * 1000,
                    now_us,
                    pn,
                    lose.is_some_and(|n| pn % n == 0),
                ));
                in_flight += 1200;
                if now_us > 30_000_000 {
                    carried += u64::from(free_us <= 60_000_000);
                    waited += free_us - packet_us - now_us;
                }
            }
            hop.on_cwnd_limited();
            let Some((arrives, sent, number, lost)) = on_way.pop_front() else {
                break;
            };
            now_us = arrives;
            in_flight -= 1200;
            match lost {
                true => hop.on_congestion_event(at(now_us), at(sent), false, false, 1200, number),
                false => hop.acknowledged(at(now_us), at(sent), 1200),
            }
            hop.on_end_acks(at(now_us), in_flight, false, Some(number));
        }
        (
            carried as f64 * packet_us as f64 / 30e6,
            waited as f64 / carried.max(1) as f64 / 1000.0,
        )
    }

    #[test]
    fn a_link_is_full_and_its_queue_short_whether_it_loses_packets_or_not() {
        for (packet_us, way_ms) in [(20_000, 200), (600, 40), (60, 4)] {
            for lose in [None, Some(50), Some(20)] {
                let (share, wait_ms) = used(packet_us, way_ms, lose);
                assert!(
                    share > 0.96,
                    "{packet_us} us, {way_ms} ms, loses {lose:?}: {share:.3} used"
                );
                assert!(
                    wait_ms < 130.0,
                    "{packet_us} us, {way_ms} ms: {wait_ms:.0} ms in the queue"
                );
            }
        }
    }

    #[test]
    fn heavy_loss_makes_it_smaller_and_silence_makes_it_begin_again() {
        let begin = Instant::now();
        let mut hop = OneHop::new(begin, 1200);
        hop.window = 1 << 20;
        hop.acknowledged(begin + Duration::from_millis(30), begin, 10_000);
        hop.on_congestion_event(begin, begin, false, false, 10_000, 1);
        hop.on_end_acks(begin + Duration::from_millis(30), 0, false, Some(1));
        assert!(hop.window() < 1 << 20);
        hop.on_congestion_event(begin, begin, true, false, 10_000, 2);
        assert_eq!(hop.window(), INITIAL_WINDOW);
    }
}
