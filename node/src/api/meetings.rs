//! Meetings as they end, and the last ones, which are kept.

use super::views::meetings::{Kept, Meeting, Meetings};
use super::{Look, Refusal};
use crate::agent::MeetingSummary;
use crate::store::{Family, Setting};

/// What came of a meeting, or why it came to nothing.
pub fn outcome(summary: &MeetingSummary) -> Result<Meeting, Refusal> {
    let reason = summary.reason.clone();
    match (summary.complete, summary.refused) {
        (false, true) => Err(Refusal::MeetingRefused(reason)),
        (false, false) => Err(Refusal::MeetingCut(reason)),
        (true, _) => Ok(Meeting {
            name: summary.name.clone(),
            complete: summary.complete,
            in_step: summary.in_step,
            not_in_step: summary.not_in_step,
            envelopes_sent: summary.envelopes_sent,
            envelopes_taken: summary.envelopes_taken,
            bundle_bytes_sent: summary.bundle_bytes_sent,
            bundle_bytes_taken: summary.bundle_bytes_taken,
            bytes_sent: summary.bytes_sent,
            bytes_received: summary.bytes_received,
            finding_bytes: summary.finding_bytes,
            finding_round_trips: f64::from(summary.turns) / 2.0,
            reason,
        }),
    }
}

/// Meetings that are kept: the last ones.
pub const MEETINGS_KEPT: u64 = 200;

/// Where a meeting is kept, by its number, and as what.
pub fn kept(meeting: &Kept) -> (Setting, Vec<u8>) {
    let place = Setting::meeting(meeting.number % MEETINGS_KEPT);
    (place, serde_json::to_vec(meeting).unwrap_or_default())
}

/// The meetings that are kept, the latest first.
pub fn list(cx: &dyn Look) -> Result<Meetings, Refusal> {
    let kept = cx.store().settings(&Family::meetings())?;
    let read = |(_, bytes): &(String, Vec<u8>)| serde_json::from_slice::<Kept>(bytes).ok();
    let mut meetings: Vec<_> = kept.iter().filter_map(read).collect();
    meetings.sort_by_key(|meeting| std::cmp::Reverse(meeting.number));
    Ok(Meetings { meetings })
}
