//! Requests that wait for their turn: any few that only look at once, and one that changes something,
//! each on a thread of its own. None is answered while what runs here is being loaded: what is judged
//! is judged by all of it.

use std::collections::VecDeque;

use super::ReplyTo;
use crate::api::Request;

/// Looks at once: a phone has few cores.
const LOOKS_MAX: usize = 2;

/// Requests in the order in which they came.
#[derive(Default)]
pub(super) struct Requests {
    waiting: VecDeque<(Request, ReplyTo)>,
    looks: usize,
    changes: bool,
}

impl Requests {
    /// One more.
    pub(super) fn push(&mut self, request: Request, reply: ReplyTo) {
        self.waiting.push_back((request, reply));
    }

    /// The next one whose turn it is; it is under way from now on.
    pub(super) fn next(&mut self) -> Option<(Request, ReplyTo)> {
        let free = |looks: bool| match looks {
            true => self.looks < LOOKS_MAX,
            false => !self.changes,
        };
        let at = (self.waiting.iter()).position(|(request, _)| free(request.only_looks()))?;
        let next = self.waiting.remove(at)?;
        match next.0.only_looks() {
            true => self.looks += 1,
            false => self.changes = true,
        }
        Some(next)
    }

    /// One that was under way is answered.
    pub(super) fn ended(&mut self, looks: bool) {
        match looks {
            true => self.looks = self.looks.saturating_sub(1),
            false => self.changes = false,
        }
    }

    /// Whether any is under way.
    pub(super) fn under_way(&self) -> bool {
        self.changes || self.looks > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: u64 = 0;

    fn push(requests: &mut Requests, request: Request) {
        requests.push(request, tokio::sync::mpsc::unbounded_channel().0);
    }

    #[test]
    fn changes_go_one_after_another_and_looks_do_not_wait_for_them() {
        let mut requests = Requests::default();
        push(&mut requests, Request::Quota { bytes: 1 });
        push(&mut requests, Request::Quota { bytes: 2 });
        (0..3).for_each(|_| push(&mut requests, Request::Status));
        let turn = |requests: &mut Requests| match requests.next()?.0 {
            Request::Quota { bytes } => Some(bytes),
            _ => Some(LOOK),
        };
        assert_eq!(turn(&mut requests), Some(1));
        assert_eq!(turn(&mut requests), Some(LOOK));
        assert_eq!(turn(&mut requests), Some(LOOK));
        assert_eq!(
            turn(&mut requests),
            None,
            "a third look, or a second change"
        );
        requests.ended(false);
        assert_eq!(turn(&mut requests), Some(2));
        requests.ended(true);
        assert_eq!(turn(&mut requests), Some(LOOK));
        requests.ended(true);
        requests.ended(true);
        requests.ended(false);
        assert!(!requests.under_way());
    }
}
