//! Frames: what two phones say to each other on a link, one after another.
//!
//! ```text
//! length  u32 little-endian   bytes that follow, at most FRAME_BYTES_MAX
//! lane    u8                  0 meeting · 1 trust · 2 cases · 3 bundles
//! kind    u8                  the message within its lane
//! body    CBOR map with numbered fields
//! ```
//! A lane or kind that we do not know (a newer phone's) is [`Frame::Unknown`]: it is passed over,
//! and the lane ends there; the meeting goes on. Anything malformed ends the meeting.

use minicbor::{Decode, Encode};

use crate::certificate::Chain;
use crate::codec::{self, CodecError};
use crate::ids::{BundleId, SpaceId};
use crate::limits::FRAME_BYTES_MAX;

/// The three things that travel, and the talk about the meeting itself, in order of precedence.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
#[repr(u8)]
pub enum Lane {
    /// The meeting itself.
    #[n(0)]
    Meeting = 0,
    /// Roots, lists, recalls.
    #[n(1)]
    Trust = 1,
    /// Sealed changes.
    #[n(2)]
    Cases = 2,
    /// The bytes of releases.
    #[n(3)]
    Bundles = 3,
}

impl Lane {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Meeting => "meeting",
            Lane::Trust => "trust",
            Lane::Cases => "cases",
            Lane::Bundles => "bundles",
        }
    }
}

/// The first words of each side. They tell a stranger nothing: no name, no area, no ministry.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The wire version spoken.
    #[n(0)]
    pub version: u32,
    /// Shows who trusts the same ministry that this phone does too ([`Hello::tag_of`]), and nobody
    /// else which one it is.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ministry_tag: [u8; 16],
    /// Fresh randomness; both sides' together key the ids of this meeting.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    /// This phone has more than one kind of radio: the meeting may move from one link to another.
    #[cbor(n(3), default, skip_if = "is_no")]
    pub moves: bool,
    /// This phone can raise a Wi-Fi network for one meeting, or join one.
    #[cbor(n(4), default, skip_if = "is_no")]
    pub raises: bool,
}

fn is_no(yes: &bool) -> bool {
    !yes
}

impl Hello {
    /// What stands for a ministry in the hello of a phone: a hash keyed by the digest of its first
    /// root, which only those hold who trust it.
    pub fn tag_of(
        ministry: &crate::Digest,
        speaker: &crate::DeviceId,
        nonce: &[u8; 16],
    ) -> [u8; 16] {
        let key = blake3::derive_key("kijiti 2026-11 hello", &ministry.0);
        let hash = blake3::keyed_hash(&key, &[speaker.0.as_slice(), nonce].concat());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash.as_bytes()[..16]);
        tag
    }
}

/// Up to where the bytes of a meeting that may move have come: what was sent before that need not be
/// kept any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Heard {
    /// Bytes since the first word of the meeting.
    #[n(0)]
    pub bytes: u64,
}

/// The first word on a link over which a meeting goes on that began on another. It is not part of
/// the meeting's own bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resume {
    /// Which meeting: known to its two sides only.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub meeting: [u8; 16],
    /// Bytes of it that have come here: the other goes on after them.
    #[n(1)]
    pub bytes: u64,
}

/// So much is left to come here that a faster network is worth raising: said to the side that called.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Raise {
    /// Bytes.
    #[n(0)]
    pub bytes: u64,
}

/// A Wi-Fi network has been raised for this meeting (WPA2, as IEEE 802.11i names its fields).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Join {
    /// Its name.
    #[n(0)]
    pub ssid: String,
    /// Its passphrase.
    #[n(1)]
    pub passphrase: String,
    /// Its channel's frequency in MHz; 0: not known.
    #[n(2)]
    pub frequency_mhz: u32,
}

/// Says which network, and not what opens it.
impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Join({} at {} MHz)", self.ssid, self.frequency_mhz)
    }
}

impl Join {
    /// What every name of such a network begins with: no phone is led into another one.
    pub const PREFIX: &'static str = "DIRECT-";

    /// Whether it names a network that a phone of ours raises.
    pub fn is_sound(&self) -> bool {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let name = (9..=32).contains(&self.ssid.len()) && self.ssid.starts_with(Self::PREFIX);
        let opens = (16..=63).contains(&self.passphrase.len());
        let channel = self.frequency_mhz == 0 || (2_400..=7_200).contains(&self.frequency_mhz);
        name && opens && channel && plain(&self.ssid) && plain(&self.passphrase)
    }
}

/// The key under which phones of one ministry say on the air who they are. It follows from the digest of
/// its first root: every phone that trusts the ministry has it, lost ones too, and so has whoever reads
/// that root on a mirror. It keeps who is who from those around; it keeps no patient's words.
pub fn discovery_key(ministry: &crate::Digest) -> [u8; 32] {
    blake3::derive_key("kijiti 2026-11 discovery", &ministry.0)
}

/// What a phone holds of the ministry's documents: said to phones of the same ministry only.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Holds {
    /// The newest root held.
    #[n(0)]
    pub root_version: u64,
    /// The newest release list held; 0 for none.
    #[n(1)]
    pub list_version: u64,
    /// The other documents of the trust lane that are held; absent from phones that know of none.
    #[cbor(n(2), default, skip_if = "Vec::is_empty")]
    pub held: Vec<HeldDocument>,
    /// The first eight bytes of the id of this phone's own certificates, so that nobody brings it
    /// what it has; empty for none.
    #[cbor(n(3), with = "minicbor::bytes", default, skip_if = "Vec::is_empty")]
    pub certificates: Vec<u8>,
}

/// Who this phone is: its certificates, if it has any. The one that called says it first, and the
/// other only answers one that counts.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Certified {
    /// This phone's certificates.
    #[n(0)]
    pub chain: Option<Chain>,
}

/// The newest document of one kind that a phone holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HeldDocument {
    /// The kind: the domain under which it is signed.
    #[n(0)]
    pub kind: String,
    /// Which one of its kind (a delegation's name), or empty.
    #[n(1)]
    pub name: String,
    /// Its version; of a beacon, its time.
    #[n(2)]
    pub version: u64,
}

/// This side has nothing more to say in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LaneDone {
    /// The lane.
    #[n(0)]
    pub lane: Lane,
}

/// How much is coming in a lane, so that screens show true progress.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Coming {
    /// The lane.
    #[n(0)]
    pub lane: Lane,
    /// Envelopes or bundles.
    #[n(1)]
    pub items: u64,
    /// Their bytes.
    #[n(2)]
    pub bytes: u64,
}

/// The last words, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bye {
    /// A number for programs: 0 when all is done.
    #[n(0)]
    pub code: u32,
    /// Words for people.
    #[n(1)]
    pub reason: String,
}

/// A signed document of the trust lane, as bytes: verified by `distribution`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedDocument {
    /// The bytes of a `Signed<T>`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// What one side holds of a space: each class of urgency that holds anything is a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SpaceParts {
    /// Which space.
    #[n(0)]
    pub space: SpaceId,
    /// Its parts, the most urgent first.
    #[n(1)]
    pub parts: Vec<PartDigest>,
}

/// What one side holds of a part.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PartDigest {
    /// Of which urgency: 0 pink · 1 yellow · 2 green.
    #[n(0)]
    pub class: u8,
    /// How many envelopes.
    #[n(1)]
    pub count: u64,
    /// Sum of their ids under this meeting's key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub digest: [u8; 16],
    /// From which the size of the difference is estimated; empty where it is not needed.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sketch: Vec<u8>,
}

/// The ids of the envelopes that one side holds of a part, as 56-bit words under this meeting's
/// key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PartIds {
    /// The number of the part among all that either side has named, in the order of urgency and
    /// then of spaces.
    #[n(0)]
    pub part: u64,
    /// Seven bytes each, little-endian.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ids: Vec<u8>,
}

/// Symbols of the words that one side holds of a part: XORs of them, from which the other finds the
/// difference.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PartSymbols {
    /// Which part, as in [`PartIds`].
    #[n(0)]
    pub part: u64,
    /// The number of the first.
    #[n(1)]
    pub first: u64,
    /// Seven bytes each, little-endian.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub cells: Vec<u8>,
}

/// The symbols heard do not show the difference yet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PartMore {
    /// Which part, as in [`PartIds`].
    #[n(0)]
    pub part: u64,
    /// Symbols heard so far, or [`PartMore::THE_LIST`].
    #[n(1)]
    pub heard: u64,
}

impl PartMore {
    /// Symbols do not help: the list is asked for.
    pub const THE_LIST: u64 = u64::MAX;
}

/// Words that the listener of a part lacks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PartWanted {
    /// Which part, as in [`PartIds`].
    #[n(0)]
    pub part: u64,
    /// The lower four bytes of each word, little-endian: who is asked knows the whole.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ids: Vec<u8>,
}

/// A certificate chain that the envelopes after it need.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct AuthorChain {
    /// The author's certificates.
    #[n(0)]
    pub chain: Chain,
}

/// Sealed changes, most urgent first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Envelopes {
    /// Whole envelopes, as `sync` reads them.
    #[n(0)]
    pub envelopes: Vec<minicbor::bytes::ByteVec>,
}

/// What one side holds of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Have {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// Whether all of it is there, checked.
    #[n(1)]
    pub whole: bool,
    /// Whether the group hashes are there.
    #[n(2)]
    pub tree: bool,
    /// One bit a group, lowest bit first; empty when whole.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub groups: Vec<u8>,
    /// Its bytes.
    #[n(4)]
    pub bytes: u64,
}

/// A request for a run of groups of a bundle, or for its group hashes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Want {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// Whether the group hashes are wanted instead of groups.
    #[n(1)]
    pub tree: bool,
    /// First group.
    #[n(2)]
    pub first: u64,
    /// How many groups.
    #[n(3)]
    pub count: u64,
}

/// A run of group hashes (32 bytes each), in order from the first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tree {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// Where in the list these bytes begin.
    #[n(1)]
    pub offset: u64,
    /// The hashes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hashes: Vec<u8>,
}

/// A run of whole groups (the last of a bundle may be short).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Piece {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// First group.
    #[n(1)]
    pub first: u64,
    /// The bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// A run of groups that this side has now, since it named what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HaveAlso {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// First group.
    #[n(1)]
    pub first: u64,
    /// How many groups.
    #[n(2)]
    pub count: u64,
}

/// Groups that this side named and has not any more: its disk did not keep them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lacks {
    /// The bundle.
    #[n(0)]
    pub bundle: BundleId,
    /// First group.
    #[n(1)]
    pub first: u64,
    /// How many groups; 0: the group hashes.
    #[n(2)]
    pub count: u64,
}

/// Which receipts one side carries: the newest of each phone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReceiptsHeld {
    /// The first eight bytes of a device's id, and its newest receipt's number, 16 bytes each.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub held: Vec<u8>,
}

/// Sealed receipts.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Receipts {
    /// Each of a certified device.
    #[n(0)]
    pub receipts: Vec<CarriedReceipt>,
}

/// A receipt on its way, with the certificates of its device: nobody carries one of a device that
/// nobody has certified.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct CarriedReceipt {
    /// A signed document of its device.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub receipt: Vec<u8>,
    /// The device's certificates.
    #[n(1)]
    pub chain: Chain,
}

macro_rules! frames {
    ($($(#[$doc:meta])* $lane:ident $kind:literal => $name:ident($body:ty)),+ $(,)?) => {
        /// One message.
        #[derive(Debug, Clone)]
        pub enum Frame {
            $($(#[$doc])* $name($body),)+
            /// A message of a newer version.
            Unknown {
                /// Its lane.
                lane: u8,
                /// Its kind.
                kind: u8,
            },
        }

        /// Lane and kind of every message.
        const KINDS: &[(u8, u8)] = &[$((Lane::$lane as u8, $kind)),+];

        impl Frame {
            /// The frame's bytes, length included.
            pub fn to_bytes(&self) -> Vec<u8> {
                // Pieces are nearly all that is ever sent: their room is taken at once instead of
                // by growing.
                let room = if let Frame::Piece(piece) = self { piece.bytes.len() + 128 } else { 256 };
                let mut bytes = Vec::with_capacity(room);
                bytes.extend_from_slice(&[0; 6]);
                let (lane, kind) = match self {
                    $(Frame::$name(body) => {
                        codec::encode_into(body, &mut bytes);
                        (Lane::$lane as u8, $kind)
                    })+
                    Frame::Unknown { lane, kind } => {
                        bytes.push(0xa0);
                        (*lane, *kind)
                    }
                };
                crate::always!(bytes.len() > 6, "a head and a body");
                let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX).to_le_bytes();
                if let [a, b, c, d, l, k, ..] = bytes.as_mut_slice() {
                    (*a, *b, *c, *d) = (length[0], length[1], length[2], length[3]);
                    (*l, *k) = (lane, kind);
                }
                bytes
            }

            /// Reads a frame without its length.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
                let [lane, kind, body @ ..] = bytes else {
                    return Err(CodecError::malformed("frame", "shorter than its head"));
                };
                match (*lane, *kind) {
                    $((lane, $kind) if lane == Lane::$lane as u8 => {
                        codec::decode(stringify!($name), body).map(Frame::$name)
                    })+
                    (lane, kind) => Ok(Frame::Unknown { lane, kind }),
                }
            }

            /// The message's name, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Frame::$name(_) => stringify!($name),)+
                    Frame::Unknown { .. } => "Unknown",
                }
            }
        }
    };
}

frames! {
    /// First words.
    Meeting 0 => Hello(Hello),
    /// Nothing more in a lane.
    Meeting 1 => LaneDone(LaneDone),
    /// How much is coming.
    Meeting 2 => Coming(Coming),
    /// Last words.
    Meeting 3 => Bye(Bye),
    /// What is held of the ministry's documents.
    Meeting 4 => Holds(Holds),
    /// Who this phone is.
    Meeting 5 => Certified(Certified),
    /// Up to where this side has heard.
    Meeting 6 => Heard(Heard),
    /// A meeting goes on over another link.
    Meeting 7 => Resume(Resume),
    /// A faster network is worth raising.
    Meeting 8 => Raise(Raise),
    /// A network has been raised.
    Meeting 9 => Join(Join),
    /// A root document.
    Trust 0 => Root(SignedDocument),
    /// A release list.
    Trust 1 => ReleaseList(SignedDocument),
    /// What must not run any more.
    Trust 2 => Recall(SignedDocument),
    /// Which devices are not believed any more.
    Trust 3 => Revocations(SignedDocument),
    /// A delegation's releases.
    Trust 4 => Delegated(SignedDocument),
    /// What is newest, and when.
    Trust 5 => Beacon(SignedDocument),
    /// Newer certificates of the phone that hears it.
    Trust 6 => Renewed(Certified),
    // Cases 0, 1, 5 to 8, 10 and 11 were earlier words for finding the difference: never given to
    // others.
    /// An author's certificates.
    Cases 2 => AuthorChain(AuthorChain),
    /// Sealed changes.
    Cases 3 => Envelopes(Envelopes),
    /// All digests, or all ids, have been said: the step that ends.
    Cases 4 => StepDone(StepDone),
    /// What one side holds of a space.
    Cases 9 => SpaceParts(SpaceParts),
    /// Ids of a part that differs.
    Cases 15 => PartIds(PartIds),
    /// Symbols of a part that differs.
    Cases 16 => PartSymbols(PartSymbols),
    /// A request for more symbols.
    Cases 12 => PartMore(PartMore),
    /// A request for envelopes.
    Cases 13 => PartWanted(PartWanted),
    /// What is durable after the exchange.
    Cases 14 => PartsInStep(SpaceParts),
    /// What one side holds of a bundle.
    Bundles 0 => Have(Have),
    /// A request for groups.
    Bundles 1 => Want(Want),
    /// Group hashes.
    Bundles 2 => Tree(Tree),
    /// Groups.
    Bundles 3 => Piece(Piece),
    /// All of this side's bundles have been named.
    Bundles 4 => HavesDone(HavesDone),
    /// Groups that have come since the haves were said.
    Bundles 5 => HaveAlso(HaveAlso),
    /// Which receipts of phones this side carries.
    Bundles 6 => ReceiptsHeld(ReceiptsHeld),
    /// Sealed receipts that the other lacks.
    Bundles 7 => Receipts(Receipts),
    /// Groups that are not there after all.
    Bundles 8 => Lacks(Lacks),
}

/// Whether each of these stands once.
const fn each_once(mut kinds: &[(u8, u8)]) -> bool {
    while let [(lane, kind), rest @ ..] = kinds {
        let mut others = rest;
        while let [(other_lane, other_kind), more @ ..] = others {
            if *lane == *other_lane && *kind == *other_kind {
                return false;
            }
            others = more;
        }
        kinds = rest;
    }
    true
}

// The second of two messages of one lane and kind would be read as the first.
const _: () = assert!(each_once(KINDS));

/// Steps of the cases lane that end with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum CaseStep {
    /// All parts have been named with their digests.
    #[n(0)]
    Digests,
    /// All that is needed of the difference has been heard.
    #[n(1)]
    Finding,
    /// All parts have been named as they are durable now.
    #[n(2)]
    Closing,
}

impl CaseStep {
    /// All of them, in order.
    pub const ALL: [CaseStep; 3] = [CaseStep::Digests, CaseStep::Finding, CaseStep::Closing];
}

/// The end of a step of the cases lane.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StepDone {
    /// Which step.
    #[n(0)]
    pub step: CaseStep,
}

/// All of this side's bundles have been named.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HavesDone {
    /// This side is meeting other phones too, and may get more from them. A number on the wire: 1
    /// for yes.
    #[cbor(n(0), with = "as_number")]
    pub in_company: bool,
}

/// Yes and no as 1 and 0.
mod as_number {
    use minicbor::decode::Error;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        yes: &bool,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.u8(u8::from(*yes))?.ok()
    }

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<bool, Error> {
        Ok(decoder.u8()? == 1)
    }
}

/// Cuts a byte stream into frames, holding at most one frame's bytes.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    frame_bytes: usize,
}

impl FrameReader {
    /// Bytes of the last frame, its length included.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// What has come behind the last frame, taken out.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.start.min(self.buffer.len()));
        *self = Self::default();
        rest
    }

    /// Whether part of a frame has come and the rest is awaited.
    pub fn waits(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Adds bytes from the link; when nothing waits they are taken over without copying.
    pub fn push(&mut self, bytes: Vec<u8>) {
        crate::always!(self.start <= self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer = bytes;
            self.start = 0;
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next whole frame, `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, CodecError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((head, after)) = rest.split_first_chunk::<4>() else {
            return Ok(self.shrink());
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(CodecError::TooLong {
                what: "frame".into(),
                bytes: length,
                max: FRAME_BYTES_MAX,
            });
        }
        let Some(body) = after.get(..length) else {
            return Ok(self.shrink());
        };
        let frame = Frame::from_bytes(body)?;
        self.frame_bytes = 4 + length;
        self.start += self.frame_bytes;
        crate::always!(self.start <= self.buffer.len());
        Ok(Some(frame))
    }

    /// Moves what is left to the front, so that the buffer never outgrows a frame and one read from
    /// the link.
    fn shrink(&mut self) -> Option<Frame> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        crate::always!(self.buffer.len() < 4 + FRAME_BYTES_MAX, "part of one frame");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting_of_the_stream() {
        let frames = [
            Frame::LaneDone(LaneDone { lane: Lane::Cases }),
            Frame::Bye(Bye {
                code: 0,
                reason: "done".into(),
            }),
            Frame::Piece(Piece {
                bundle: BundleId::photo(crate::Digest([3; 32])),
                first: 9,
                bytes: vec![7; 5000],
            }),
        ];
        let stream: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        for size in [1, 2, 3, 7, 100, 10_000] {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(size) {
                reader.push(bytes.to_vec());
                while let Some(frame) = reader.next_frame().unwrap() {
                    seen.push(frame.to_bytes());
                }
            }
            assert_eq!(seen.concat(), stream, "cut into {size}");
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_it_is_held() {
        let mut reader = FrameReader::default();
        reader.push(u32::MAX.to_le_bytes().to_vec());
        assert!(matches!(
            reader.next_frame(),
            Err(CodecError::TooLong { .. })
        ));
    }

    #[test]
    fn a_newer_message_is_unknown_and_not_an_error() {
        let bytes = Frame::Unknown { lane: 2, kind: 99 }.to_bytes();
        assert!(matches!(
            Frame::from_bytes(&bytes[4..]),
            Ok(Frame::Unknown { lane: 2, kind: 99 })
        ));
    }
}
