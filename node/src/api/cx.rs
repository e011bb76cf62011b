//! What the interface works on: an agent, its store, whatever judges findings, and the time. A phone's
//! host is one; the simulator and the tests have one in memory.

use protocol::Now;

use super::{Assessor, Refusal};
use crate::agent::{Agent, Command, Reply};
use crate::store::Store;

/// What a phone is to the interface.
pub trait Cx {
    /// The phone's mind.
    fn agent(&self) -> &Agent;
    /// What it keeps. Reading it never writes.
    fn store(&self) -> &dyn Store;
    /// What judges findings here.
    fn assessor(&self) -> &dyn Assessor;
    /// The time.
    fn now(&self) -> Now;
    /// Fresh randomness.
    fn randomness(&mut self) -> Result<[u8; 32], Refusal>;
    /// One command: one input, one transaction.
    fn command(&mut self, command: Command) -> Result<Reply, Refusal>;

    /// One command of which only matters that it is done.
    fn done(&mut self, command: Command) -> Result<bool, Refusal> {
        Ok(self.command(command)? == Reply::Done)
    }

    /// One command that answers with a document.
    fn document(&mut self, command: Command) -> Result<Vec<u8>, Refusal> {
        match self.command(command)? {
            Reply::Document(bytes) => Ok(bytes),
            Reply::Done | Reply::Unchanged | Reply::Case(_) => Err(Refusal::Nothing),
        }
    }
}
