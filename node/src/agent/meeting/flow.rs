//! How much is asked for ahead of what has come, by how fast it comes: a few seconds' worth. More
//! would make a slow link's asker silent for so long that the other takes it for gone, and would
//! lose more at a cut; less would let a fast link idle.

use protocol::always;
use protocol::limits::{GROUP_BYTES, PIECE_GROUPS_MAX, PIECES_IN_FLIGHT_BYTES_MAX};

/// Asked for before anything is known of the link: 26 seconds of the slowest Bluetooth.
const FIRST_BYTES: u64 = 256 * 1024;
/// Seconds of the link that are asked for ahead.
const AHEAD_S: u64 = 4;
/// Time over which the rate is taken.
const WINDOW_MS: u64 = 250;

/// What one meeting's link has shown it carries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    bytes_per_s: Option<u64>,
    counted: u64,
    since_ms: u64,
}

impl Flow {
    /// Something is asked for after nothing was.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.counted = 0;
        self.since_ms = now_ms;
        let piece = self.piece_groups() * GROUP_BYTES;
        always!(piece <= self.ahead_bytes(), "a piece may be asked for");
    }

    /// A piece has come.
    pub(super) fn took(&mut self, now_ms: u64, bytes: u64) {
        self.counted = self.counted.saturating_add(bytes);
        let took_ms = now_ms.saturating_sub(self.since_ms);
        if took_ms >= WINDOW_MS || self.counted >= self.ahead_bytes() {
            self.bytes_per_s = Some(self.counted.saturating_mul(1000) / took_ms.max(1));
            self.begin(now_ms);
        }
    }

    /// Bytes that may be asked for and not yet here.
    pub(super) fn ahead_bytes(&self) -> u64 {
        let few = GROUP_BYTES * 2;
        self.bytes_per_s.map_or(FIRST_BYTES, |rate| {
            rate.saturating_mul(AHEAD_S)
                .clamp(few, PIECES_IN_FLIGHT_BYTES_MAX)
        })
    }

    /// Groups that one piece may have: a fiftieth of a second's worth, for half a piece is lost at
    /// a cut.
    pub(super) fn piece_groups(&self) -> u64 {
        self.bytes_per_s.map_or(4, |rate| {
            (rate / 50 / GROUP_BYTES).clamp(1, PIECE_GROUPS_MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_link_is_asked_for_seconds_and_a_fast_one_for_all_that_is_allowed() {
        let mut flow = Flow::default();
        assert_eq!(flow.ahead_bytes(), FIRST_BYTES);
        flow.begin(0);
        flow.took(1100, 64 * 1024); // 60 kB/s
        assert!((200_000..280_000).contains(&flow.ahead_bytes()), "{flow:?}");
        assert_eq!(flow.piece_groups(), 1);
        flow.begin(2000);
        for _ in 0..100 {
            flow.took(2001, 256 * 1024);
        }
        assert_eq!(
            (flow.ahead_bytes(), flow.piece_groups()),
            (PIECES_IN_FLIGHT_BYTES_MAX, PIECE_GROUPS_MAX)
        );
        flow.took(u64::MAX, u64::MAX);
        flow.took(5, 1); // a clock that goes back breaks nothing
        assert!(flow.ahead_bytes() >= GROUP_BYTES * 2);
    }
}
