//! Screens that follow what happens on a running phone. A slow one loses events and is told so; it
//! never holds up the phone or another screen.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use crate::api::Refusal;
use crate::api::views::events::Event;

/// Events that a screen may be behind.
const BEHIND_MAX: usize = 256;

/// Where what happens is told.
pub(super) fn broadcast() -> Sender<Event> {
    broadcast::channel(BEHIND_MAX).0
}

/// One screen.
#[derive(Debug)]
pub struct Follower {
    events: Receiver<Event>,
    runtime: Handle,
}

impl Follower {
    pub(super) fn of(events: &Sender<Event>, runtime: Handle) -> Self {
        let events = events.subscribe();
        Self { events, runtime }
    }

    /// The next event, once it happens; `None` if nothing does for so long.
    ///
    /// # Errors
    /// The phone has stopped.
    pub fn next(&mut self, wait: Duration) -> Result<Option<Event>, Refusal> {
        let next = async { tokio::time::timeout(wait, self.events.recv()).await };
        match self.runtime.block_on(next) {
            Err(_) => Ok(None),
            Ok(Ok(event)) => Ok(Some(event)),
            Ok(Err(RecvError::Lagged(events))) => Ok(Some(Event::Missed { events })),
            Ok(Err(RecvError::Closed)) => Err(Refusal::Stopped),
        }
    }
}
