//! Every limit that a peer or a file can run into, in one place, with what must hold between them checked at compile time.
//!
//! A limit is a promise to the weakest phone we serve (2 GB of memory): whatever a hostile peer sends, this much and no more.

/// The wire version spoken. A peer with another major version gets a reason and a closed link.
pub const WIRE_VERSION: u32 = 1;

/// Bytes of one frame on a link, its four-byte length not counted.
pub const FRAME_BYTES_MAX: usize = 320 * 1024;
/// Bytes of one BLAKE3 group, the unit that is checked on its own (bao, 16 KiB).
pub const GROUP_BYTES: u64 = 16 * 1024;
/// Groups in one `Piece` frame.
pub const PIECE_GROUPS_MAX: u64 = 16;
/// Bytes of pieces asked for and not yet received.
pub const PIECES_IN_FLIGHT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Ranges that a peer may have asked of us and not yet been sent.
pub const WANTS_QUEUED_MAX: usize = 64;
/// Bytes of a bundle (a 4-bit model of about 4 billion weights is 2.5 GB).
pub const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes of group hashes in one `Tree` frame.
pub const TREE_CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Bundles named in one meeting.
pub const BUNDLES_PER_MEETING_MAX: usize = 256;

/// Bytes of any signed document.
pub const SIGNED_BYTES_MAX: usize = 256 * 1024;
/// Signatures on one document; a ministry has at most this many keys in a role.
pub const SIGNATURES_MAX: usize = 16;
/// Releases in one list.
pub const RELEASES_MAX: usize = 256;
/// Deltas offered with one release.
pub const DELTAS_PER_RELEASE_MAX: usize = 8;
/// Groups of patients in a release's lineage.
pub const SUBGROUPS_MAX: usize = 64;
/// Delegations in one list.
pub const DELEGATIONS_MAX: usize = 32;
/// Bundles recalled, all told.
pub const RECALLS_MAX: usize = 1024;
/// Bytes of one sealed receipt.
pub const RECEIPT_BYTES_MAX: usize = 8 * 1024;
/// Receipts of other phones that one phone carries.
pub const RECEIPTS_HELD_MAX: usize = 4096;
/// Devices revoked, all told.
pub const REVOCATIONS_MAX: usize = 4096;
/// Root versions taught in one meeting (a phone that slept for years walks this many a meeting).
pub const ROOTS_PER_MEETING_MAX: usize = 64;
/// Chains kept of one device: posts change, and what was written under an earlier one stays.
pub const CHAINS_PER_DEVICE_MAX: usize = 8;
/// Envelopes of a meeting that may be passed over because their author's certificates do not allow them.
pub const PASSED_OVER_MAX: u64 = 1000;
/// Certificates between the ministry's keys and a phone.
pub const CHAIN_MAX: usize = 4;

/// Bytes of one sealed envelope.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Bytes an envelope may unfold to once opened and decompressed.
pub const ENVELOPE_PLAIN_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of envelopes in one `Envelopes` frame (one envelope always fits).
pub const ENVELOPES_FRAME_BYTES_MAX: usize = 192 * 1024;
/// Envelopes that one phone holds for others and itself.
pub const ENVELOPES_HELD_MAX: u64 = 1_000_000;
/// Ids in one `SpaceIds` frame.
pub const IDS_PER_FRAME_MAX: usize = 16 * 1024;
/// Ids a peer may announce in one meeting, all spaces together.
pub const IDS_PER_MEETING_MAX: usize = 1_000_000;
/// Symbols of one part in one meeting; beyond them the list is shorter.
pub const SYMBOLS_PER_PART_MAX: usize = 4096;
/// Parts (a space and an urgency) in one meeting.
pub const PARTS_PER_MEETING_MAX: usize = 3 * SPACES_PER_MEETING_MAX;
/// Spaces in one meeting.
pub const SPACES_PER_MEETING_MAX: usize = 1024;
/// Bytes of a case document once saved.
pub const CASE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Cases that are shown as one patient's.
pub const SAME_CASES_MAX: usize = 64;
/// Characters of one free-text finding or reason.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Bytes of one sealed photo.
pub const ATTACHMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Photos that one phone knows of.
pub const ATTACHMENTS_MAX: usize = 10_000;
/// Bytes of photos that one phone fetches, whatever its quota for bundles.
pub const PHOTOS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Meetings one phone holds at once.
pub const MEETINGS_MAX: usize = 32;
/// Bytes a meeting keeps ready to send; the rest is made when the link can take it.
pub const SEND_AHEAD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Milliseconds without a new group, here or there, after which two phones that wait for more from others part.
pub const ROOM_QUIET_MS_MAX: u64 = 6_000;
/// Milliseconds that a phone waits for a piece it has asked for; at the largest piece this is 4 kB/s. Slower, and another
/// phone is asked.
pub const PIECE_WAIT_MS_MAX: u64 = 60_000;
/// Milliseconds without a byte from the other side after which a meeting ends.
pub const MEETING_SILENCE_MS_MAX: u64 = 30_000;

/// Segments of an area path, and characters of one segment.
pub const AREA_SEGMENTS_MAX: usize = 8;
/// Characters of one segment of an area path.
pub const AREA_SEGMENT_CHARS_MAX: usize = 32;
/// Characters of a name (a person, a module, a version) in a signed document.
pub const NAME_CHARS_MAX: usize = 120;

const _: () = {
    assert!(GROUP_BYTES * PIECE_GROUPS_MAX + 1024 <= FRAME_BYTES_MAX as u64, "a piece fits a frame");
    assert!(TREE_CHUNK_BYTES_MAX + 1024 <= FRAME_BYTES_MAX, "a tree chunk fits a frame");
    assert!(SIGNED_BYTES_MAX + 4096 <= FRAME_BYTES_MAX, "a signed document fits a frame");
    assert!(IDS_PER_FRAME_MAX * 8 + 1024 <= FRAME_BYTES_MAX, "an id list fits a frame");
    assert!(
        ENVELOPES_FRAME_BYTES_MAX + ENVELOPE_BYTES_MAX + 4096 <= FRAME_BYTES_MAX,
        "a batch of envelopes fits a frame even when the last one just began below its bound"
    );
    assert!(SYMBOLS_PER_PART_MAX * 8 + 1024 <= FRAME_BYTES_MAX, "the symbols of a part fit a frame");
    assert!(IDS_PER_FRAME_MAX * 8 + 1024 <= FRAME_BYTES_MAX, "a chunk of ids fits a frame");
    assert!(RECEIPTS_HELD_MAX * 16 + 1024 <= FRAME_BYTES_MAX, "the list of receipts held fits a frame");
    assert!(ENVELOPE_BYTES_MAX <= u16::MAX as usize + 1, "the length of a ciphertext fits two bytes");
    assert!(SEND_AHEAD_BYTES_MAX >= 2 * FRAME_BYTES_MAX, "two frames can wait to be sent");
    assert!(TREE_CHUNK_BYTES_MAX.is_multiple_of(32), "a tree chunk holds whole hashes");
};
