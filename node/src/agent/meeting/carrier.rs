//! Session continuity: the byte stream of one meeting, which may move from one link to another and
//! neither repeats nor loses a byte.
//!
//! ```text
//! both count what they have sent and taken since the first word
//! Heard { bytes }             now and then: all up to there is here, and need not be kept
//! Resume { meeting, bytes }   first on another link, both ways: go on after there
//! ```
//! What has been sent and not been heard is kept, within a bound; a phone that never says what it has
//! heard is sent no more than that. Only two phones that have more than one kind of radio do so.

use std::collections::VecDeque;

use protocol::always;
use protocol::frame::{Frame, FrameReader, Heard, Resume};
use protocol::limits::{HEARD_EVERY_BYTES, SEND_AHEAD_BYTES_MAX};

use super::budget::LinkClass;
use crate::agent::LinkId;

/// Where the stream of a meeting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Place {
    /// On a link.
    On(LinkId),
    /// On a link to which this side has moved and the other has not yet.
    Moving(LinkId),
    /// The last link is gone and another is waited for, since then (monotone milliseconds).
    Nowhere(u64),
}

/// The stream of one meeting.
#[derive(Debug)]
pub(in crate::agent) struct Carrier {
    place: Place,
    class: LinkClass,
    /// Both sides can move.
    moves: bool,
    sent: u64,
    /// The last of what has been sent, as far as it has not been heard; nothing before both can move.
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    taken: u64,
    /// How much of that the other has been told of.
    told: u64,
    /// What has come on a new link before its first frame was whole.
    opening: FrameReader,
}

/// What came on a link to which this side is moving.
pub(in crate::agent) enum Opened {
    /// Its first frame is not whole yet.
    NotYet,
    /// The other side has moved too. This goes to it first, and this came after its word.
    On {
        /// What it has not heard, oldest first.
        again: Vec<Vec<u8>>,
        /// What came behind the word.
        rest: Vec<u8>,
    },
    /// It does not go on with this meeting.
    Not,
}

impl Carrier {
    pub(in crate::agent) fn new(link: LinkId, class: LinkClass) -> Self {
        Self {
            place: Place::On(link),
            class,
            moves: false,
            sent: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            taken: 0,
            told: 0,
            opening: FrameReader::default(),
        }
    }

    /// Both sides have said that they have more than one kind of radio.
    pub(in crate::agent) fn both_can_move(&mut self) {
        self.moves = true;
    }

    pub(in crate::agent) fn can_move(&self) -> bool {
        self.moves
    }

    pub(in crate::agent) fn class(&self) -> LinkClass {
        self.class
    }

    pub(in crate::agent) fn place(&self) -> Place {
        self.place
    }

    /// The link that it is on or is moving to.
    pub(in crate::agent) fn link(&self) -> Option<LinkId> {
        match self.place {
            Place::On(link) | Place::Moving(link) => Some(link),
            Place::Nowhere(_) => None,
        }
    }

    /// Bytes that may be made now, whatever the link takes.
    pub(in crate::agent) fn room(&self) -> usize {
        match self.place {
            Place::On(_) => SEND_AHEAD_BYTES_MAX.saturating_sub(self.kept_bytes),
            Place::Moving(_) | Place::Nowhere(_) => 0,
        }
    }

    pub(in crate::agent) fn sends(&mut self, bytes: &[u8]) {
        self.sent = self.sent.saturating_add(bytes.len() as u64);
        if self.moves {
            self.kept_bytes += bytes.len();
            self.kept.push_back(bytes.to_vec());
        }
    }

    pub(in crate::agent) fn takes(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes as u64);
    }

    /// A word about what has come, if it is time for one.
    pub(in crate::agent) fn next_heard(&mut self) -> Option<Frame> {
        let due = self.moves && self.taken.saturating_sub(self.told) >= HEARD_EVERY_BYTES;
        due.then(|| {
            self.told = self.taken;
            Frame::Heard(Heard { bytes: self.taken })
        })
    }

    /// The other says what it has heard. `false`: it cannot have.
    pub(in crate::agent) fn hears(&mut self, bytes: u64) -> bool {
        let base = self.sent.saturating_sub(self.kept_bytes as u64);
        if bytes > self.sent {
            return false;
        }
        let mut over = bytes.saturating_sub(base) as usize;
        while over > 0
            && let Some(first) = self.kept.front_mut()
        {
            let part = over.min(first.len());
            first.drain(..part);
            self.kept_bytes -= part;
            over -= part;
            if first.is_empty() {
                self.kept.pop_front();
            }
        }
        always!(over == 0, "no more is heard than was kept");
        true
    }

    /// The link is gone.
    pub(in crate::agent) fn falls(&mut self, now_ms: u64) {
        self.place = Place::Nowhere(now_ms);
        self.opening = FrameReader::default();
    }

    /// This side goes on over another link; what it says there first. From now on nothing is taken
    /// from the earlier one.
    pub(in crate::agent) fn moves_to(
        &mut self,
        link: LinkId,
        class: LinkClass,
        meeting: [u8; 16],
    ) -> Frame {
        self.place = Place::Moving(link);
        self.class = class;
        self.opening = FrameReader::default();
        self.told = self.taken;
        Frame::Resume(Resume {
            meeting,
            bytes: self.taken,
        })
    }

    /// The other's word on the link that both go on over: what it has not heard is to be sent again.
    /// `None`: it speaks of another meeting, or of bytes that nobody has.
    pub(in crate::agent) fn goes_on(
        &mut self,
        said: &Resume,
        meeting: [u8; 16],
    ) -> Option<Vec<Vec<u8>>> {
        let Place::Moving(link) = self.place else {
            return None;
        };
        let base = self.sent.saturating_sub(self.kept_bytes as u64);
        if said.meeting != meeting || said.bytes < base || !self.hears(said.bytes) {
            return None;
        }
        self.place = Place::On(link);
        Some(self.kept.iter().cloned().collect())
    }

    /// Bytes that came on the link to which this side is moving.
    pub(in crate::agent) fn opens(&mut self, bytes: Vec<u8>, meeting: [u8; 16]) -> Opened {
        self.opening.push(bytes);
        match self.opening.next_frame() {
            Ok(None) => Opened::NotYet,
            Ok(Some(Frame::Resume(said))) => match self.goes_on(&said, meeting) {
                Some(again) => Opened::On {
                    again,
                    rest: self.opening.take_rest(),
                },
                None => Opened::Not,
            },
            Ok(Some(_)) | Err(_) => Opened::Not,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEETING: [u8; 16] = [7; 16];

    fn movable() -> Carrier {
        let mut carrier = Carrier::new(1, LinkClass::Bluetooth);
        carrier.both_can_move();
        carrier
    }

    proptest! {
        /// Two carriers, whose links die anywhere: what one has sent is what the other has taken.
        #[test]
        fn a_stream_that_moves_repeats_and_loses_nothing(
            steps in prop::collection::vec((0u8..4, 1usize..5000), 1..200),
        ) {
            let (mut from, mut to) = (movable(), movable());
            let (mut wire, mut out, mut said, mut next) = (VecDeque::new(), Vec::new(), Vec::new(), 0u8);
            let mut link = 1;
            for (step, size) in steps {
                match step {
                    0 | 1 if from.room() >= size => {
                        let bytes: Vec<u8> = (0..size).map(|_| { next = next.wrapping_add(1); next }).collect();
                        from.sends(&bytes);
                        said.extend_from_slice(&bytes);
                        wire.push_back(bytes);
                    }
                    2 => {
                        if let Some(bytes) = wire.pop_front() {
                            to.takes(bytes.len());
                            out.extend(bytes);
                        }
                        if let Some(Frame::Heard(heard)) = to.next_heard() {
                            prop_assert!(from.hears(heard.bytes));
                        }
                    }
                    3 => {
                        link += 1;
                        // Half of the next piece still arrives.
                        if let Some(bytes) = wire.pop_front() {
                            let half = &bytes[..bytes.len() / 2];
                            to.takes(half.len());
                            out.extend_from_slice(half);
                        }
                        wire.clear();
                        let asks = from.moves_to(link, LinkClass::Ip, MEETING);
                        let answers = to.moves_to(link, LinkClass::Ip, MEETING);
                        let (Frame::Resume(asks), Frame::Resume(answers)) = (asks, answers) else { unreachable!() };
                        prop_assert_eq!(to.goes_on(&asks, MEETING), Some(vec![]));
                        wire.extend(from.goes_on(&answers, MEETING).unwrap());
                    }
                    _ => {}
                }
            }
            wire.iter().for_each(|bytes| out.extend_from_slice(bytes));
            prop_assert_eq!(out, said);
            prop_assert!(from.kept_bytes <= SEND_AHEAD_BYTES_MAX);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut carrier = movable();
        carrier.sends(&[0; 100]);
        assert!(!carrier.hears(101) && carrier.hears(40) && carrier.hears(7));
        assert_eq!(carrier.kept_bytes, 60);
        let resume = |meeting, bytes| Resume { meeting, bytes };
        assert_eq!(
            carrier.goes_on(&resume(MEETING, 50), MEETING),
            None,
            "it is not moving"
        );
        carrier.moves_to(2, LinkClass::Ip, MEETING);
        for wrong in [
            resume([8; 16], 50),
            resume(MEETING, 39),
            resume(MEETING, 101),
        ] {
            assert_eq!(carrier.goes_on(&wrong, MEETING), None);
        }
        assert_eq!(carrier.room(), 0);
        assert_eq!(
            carrier.goes_on(&resume(MEETING, 50), MEETING),
            Some(vec![vec![0; 50]])
        );
        assert!(matches!(
            movable_to(3).opens(vec![255; 8], MEETING),
            Opened::Not
        ));
        assert!(matches!(
            movable_to(3).opens(vec![1], MEETING),
            Opened::NotYet
        ));
    }

    fn movable_to(link: LinkId) -> Carrier {
        let mut carrier = movable();
        carrier.moves_to(link, LinkClass::Ip, MEETING);
        carrier
    }

    #[test]
    fn who_never_says_what_it_heard_is_sent_no_more_than_is_kept() {
        let mut carrier = movable();
        while carrier.room() > 0 {
            carrier.sends(&vec![0; carrier.room().min(65_536)]);
        }
        assert_eq!(carrier.kept_bytes, SEND_AHEAD_BYTES_MAX);
        assert!(carrier.hears(1000) && carrier.room() == 1000);
    }
}
