//! What happens to a phone, what it wants done, and what screens and the host are told.

use distribution::Release;
use distribution::plan::Way;
use protocol::frame::Lane;
use protocol::{BundleId, Deadline, DeviceId, Digest};

use super::{Command, LinkClass, MeetingSummary, Network, Power, Reply};
use crate::api::Refusal;

/// A link, as the host numbers them.
pub type LinkId = u64;

/// What happens to a phone.
#[derive(Debug, Clone)]
pub enum Input {
    /// An authenticated byte pipe to `peer` is there.
    LinkUp {
        /// The host's number for it.
        link: LinkId,
        /// Who is at the other end, proved by the link.
        peer: DeviceId,
        /// What kind of link it is.
        class: LinkClass,
        /// Whether this phone called.
        dialed: bool,
    },
    /// Bytes arrived.
    LinkReceived {
        /// On which link.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The link can take this many more bytes. Only this makes a meeting produce.
    LinkWritable {
        /// Which link.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// The link is gone.
    LinkDown {
        /// Which link.
        link: LinkId,
        /// Why, for logs.
        why: String,
    },
    /// A person or the host asks for something; answered by [`Event::Reply`] with the same ticket.
    Command {
        /// Returned with the answer.
        ticket: u64,
        /// What is asked.
        command: Box<Command>,
    },
    /// A deadline has come.
    Woke,
    /// A neighbour was noticed.
    Seen {
        /// Who it says it is; only a call proves it.
        peer: DeviceId,
        /// Over what.
        class: LinkClass,
        /// Where to call it, in the words of its driver.
        at: String,
    },
    /// What was to be dialled has come to its end; if somebody answered, the link is told of beside.
    DialEnded {
        /// Who was called.
        peer: DeviceId,
        /// Whether somebody answered there.
        answered: bool,
    },
    /// How the phone is powered has changed.
    PowerChanged(Power),
    /// What kinds of links this phone can have now.
    RadiosChanged(Vec<LinkClass>),
    /// Whether this phone can raise a network of its own, or join another's.
    RaisingChanged(bool),
    /// What came of [`Output::RaiseNetwork`]; `None`: it could not be raised.
    NetworkRaised {
        /// For whom.
        peer: DeviceId,
        /// How to join it.
        network: Option<Network>,
    },
    /// Nothing came of [`Output::JoinNetwork`]; a network that was joined is noticed as it is used.
    NetworkNotJoined {
        /// For whom.
        peer: DeviceId,
    },
}

/// What a phone wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// On which link.
        link: LinkId,
        /// The bytes: one frame.
        bytes: Vec<u8>,
    },
    /// End the link once everything before has been sent.
    CloseLink {
        /// Which link.
        link: LinkId,
        /// Why, for logs.
        reason: String,
    },
    /// The meeting goes on over another link: end this one at once, whatever is still on its way.
    LeaveLink {
        /// Which link.
        link: LinkId,
    },
    /// Call a neighbour; the host says how that ended with [`Input::DialEnded`].
    Dial {
        /// Whom.
        peer: DeviceId,
        /// Over what.
        class: LinkClass,
        /// Where, as it was seen.
        at: String,
    },
    /// Raise a network for the meeting with a phone; answered by [`Input::NetworkRaised`].
    RaiseNetwork {
        /// For whom.
        peer: DeviceId,
    },
    /// Join the network that a phone has raised.
    JoinNetwork {
        /// Whose.
        peer: DeviceId,
        /// How.
        network: Network,
    },
    /// Take down the network that was raised, or leave the one that was joined.
    LeaveNetwork,
    /// Something that a screen or the host wants to know.
    Event(Event),
    /// Nothing more until an input or this moment.
    Sleep(Option<Deadline>),
}

/// What screens and the host are told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The answer to a command.
    Reply {
        /// The command's ticket.
        ticket: u64,
        /// What came of it.
        result: Result<Reply, Refusal>,
    },
    /// Both sides have said who they are.
    MeetingBegan {
        /// The link.
        link: LinkId,
        /// Who.
        peer: DeviceId,
        /// Their name by certificate, or empty.
        name: String,
    },
    /// How far a lane is.
    Progress {
        /// The link.
        link: LinkId,
        /// Which lane.
        lane: Lane,
        /// Bytes or items so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Something offered was refused.
    Refused {
        /// The link.
        link: LinkId,
        /// Who offered it.
        peer: DeviceId,
        /// Why, for people.
        reason: String,
    },
    /// A newer root or list has been taken in.
    TrustChanged {
        /// Root version.
        root: u64,
        /// List version.
        list: u64,
    },
    /// Cases have changed by what a peer brought.
    CasesChanged {
        /// How many envelopes were new.
        envelopes: u64,
    },
    /// A bundle has become whole.
    BundleWhole {
        /// Which.
        id: BundleId,
    },
    /// Something that was kept is damaged: it was set aside, and the phone goes on without it.
    SetAside {
        /// What, for people.
        what: String,
    },
    /// Deltas and their base are here: the host makes the release out of them.
    DeltaReady {
        /// The release.
        release: Box<Release>,
        /// What to apply, in order, and to what.
        way: Way,
    },
    /// A delta did not make what it should.
    DeltaRefused {
        /// The delta.
        digest: Digest,
        /// Why, for people.
        reason: String,
    },
    /// A whole bundle waits to be tried and activated by the host.
    ReleaseReady {
        /// The release.
        release: Box<Release>,
    },
    /// What runs has changed.
    Activated {
        /// The module.
        module: String,
        /// Its version.
        version: u64,
    },
    /// What had to wait since the program came down over it is what runs again: it is to be loaded.
    RunsAgain {
        /// The module.
        module: String,
    },
    /// What ran has been recalled and runs no more.
    Recalled {
        /// The module.
        module: String,
        /// The ministry's words; `None`: no release list names the module any more.
        reason: Option<String>,
        /// The version that it returned to; `None`: the rules alone.
        to: Option<u64>,
    },
    /// A meeting is over.
    MeetingEnded {
        /// The link.
        link: LinkId,
        /// What came of it.
        summary: MeetingSummary,
    },
}
