//! Whom to meet: two phones that have just met and have nothing new do not meet again.

use protocol::Now;

/// When news or not, phones look in on each other again.
const QUIET_MS: u64 = 10 * 60_000;
/// With news, not more often than this.
const NEWS_MS: u64 = 2_000;

/// What is remembered of a complete meeting while the program runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastMeeting {
    pub at_ms: u64,
    pub revision: u64,
}

/// Whether a neighbour is worth calling.
pub(crate) fn worth_meeting(now: Now, revision: u64, last: Option<&LastMeeting>) -> bool {
    let Some(last) = last else { return true };
    let since = now.mono_ms.saturating_sub(last.at_ms);
    since >= QUIET_MS || (revision > last.revision && since >= NEWS_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_without_news_rest_and_phones_with_news_meet() {
        let now = Now { mono_ms: 100_000, wall_s: 0 };
        let last = LastMeeting { at_ms: 90_000, revision: 5 };
        assert!(worth_meeting(now, 5, None));
        assert!(!worth_meeting(now, 5, Some(&last)));
        assert!(worth_meeting(now, 6, Some(&last)));
        assert!(worth_meeting(now.plus_ms(QUIET_MS), 5, Some(&last)));
    }
}
