//! What the interface works on: an agent, its store, whatever judges findings, and the time. A phone's
//! host is one; the simulator and the tests have one in memory.

use protocol::Now;

use super::views::meetings::Progress;
use super::{Assessor, Refusal};
use crate::agent::{Command, Known, Reply};
use crate::store::Store;

/// What requests that only look work on: nothing here writes.
pub trait Look {
    /// What the phone knows.
    fn known(&self) -> Known<'_>;
    /// What it keeps.
    fn store(&self) -> &dyn Store;
    /// What judges findings here.
    fn assessor(&self) -> &dyn Assessor;
    /// The time.
    fn now(&self) -> Now;
    /// Tells whoever asked how far it is, before the answer.
    fn progress(&self, _: Progress) {}
}

/// What all requests work on.
pub trait Cx: Look {
    /// Fresh randomness.
    fn randomness(&mut self) -> Result<[u8; 32], Refusal>;
    /// One command: one input, one transaction. What the phone knows and keeps is as it stands after
    /// it from then on.
    fn command(&mut self, command: Command) -> Result<Reply, Refusal>;

    /// One command of which only matters that it is done.
    fn done(&mut self, command: Command) -> Result<bool, Refusal> {
        Ok(self.command(command)? == Reply::Done)
    }

    /// One command that answers with a document.
    fn document(&mut self, command: Command) -> Result<Vec<u8>, Refusal> {
        match self.command(command)? {
            Reply::Document(bytes) => Ok(bytes),
            Reply::Done | Reply::Unchanged | Reply::Case(_) | Reply::Taken(..) => {
                Err(Refusal::Nothing)
            }
        }
    }
}
