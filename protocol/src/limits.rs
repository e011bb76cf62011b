//! Every limit that a peer or a file can run into, in one place, with what must hold between them
//! checked at compile time.
//!
//! A limit is a promise to the weakest phone we serve (2 GB of memory): whatever a hostile peer
//! sends, this much and no more.

/// The wire version spoken. A peer with another major version gets a reason and a closed link.
pub const WIRE_VERSION: u32 = 2;

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
/// Bundles named in one meeting, releases first; of more, each meeting goes on where the last one
/// stopped.
pub const BUNDLES_PER_MEETING_MAX: usize = 256;
/// Bytes of bundles that are looked at again after a meeting, so that a bad card is noticed.
pub const SCRUB_BYTES: u64 = 1024 * 1024;

/// Bytes of any signed document.
pub const SIGNED_BYTES_MAX: usize = 256 * 1024;
/// Signatures on one document; a ministry has at most this many keys in a role.
pub const SIGNATURES_MAX: usize = 16;
/// Stolen enrolment keys that a root names.
pub const DISTRUSTED_MAX: usize = 64;
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
/// Of these, receipts of phones that one issuer has certified.
pub const RECEIPTS_PER_ISSUER_MAX: usize = 2048;
/// Devices revoked, all told.
pub const REVOCATIONS_MAX: usize = 4096;
/// Root versions taught in one meeting (a phone that slept for years walks this many a meeting).
pub const ROOTS_PER_MEETING_MAX: usize = 64;
/// Chains kept of one device, all issuers together: posts change, and what was written under an
/// earlier one stays.
pub const CHAINS_PER_DEVICE_MAX: usize = 32;
/// Of these, chains that one issuer has made: an issuer takes the place only of what it issued
/// itself.
pub const CHAINS_PER_ISSUER_MAX: usize = 4;
/// Devices that one issuer below the ministry has certified and whose chains are kept.
pub const DEVICES_PER_ISSUER_MAX: usize = 2048;
/// Days that a certificate holds unless its issuer says otherwise.
pub const CERTIFICATE_DAYS: u64 = 400;
/// Days before its end from which on an issuer renews a certificate when it meets the phone.
pub const RENEWAL_DAYS: u64 = 120;
/// Certificates between the ministry's keys and a phone.
pub const CHAIN_MAX: usize = 4;

/// Bytes of one sealed envelope.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Networks that one meeting raises or joins.
pub const RAISES_PER_MEETING_MAX: u32 = 3;
/// How long a network that was raised for a meeting may be of no use to it.
pub const RAISE_MS_MAX: u64 = 60_000;
/// Bytes of one parcel: what mail and message apps still take as an attachment.
pub const PARCEL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Items in one parcel.
pub const PARCEL_ITEMS_MAX: usize = 32 * 1024;
/// Files of a folder that are looked at for parcels or photos; a card may hold anything.
pub const FOLDER_FILES_MAX: usize = 20_000;
/// Bytes of one request to a phone by its own people. Large things go by file.
pub const REQUEST_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes an envelope may unfold to once opened and decompressed.
pub const ENVELOPE_PLAIN_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of envelopes in one `Envelopes` frame (one envelope always fits).
pub const ENVELOPES_FRAME_BYTES_MAX: usize = 192 * 1024;
/// Envelopes that one phone holds for others and itself.
pub const ENVELOPES_HELD_MAX: u64 = 1_000_000;
/// Sealed envelopes held of one author; a keeper may have [`KEEPER_SHARES`] times as many.
pub const ENVELOPES_PER_AUTHOR_MAX: u64 = 100_000;
/// Bytes of envelopes held of one author; likewise.
pub const ENVELOPE_BYTES_PER_AUTHOR_MAX: u64 = 128 * 1024 * 1024;
/// Notices held of one author; likewise.
pub const NOTICES_PER_AUTHOR_MAX: u64 = 4_000;
/// How many times an author's share a keeper of a space may have: its words are about everybody's.
pub const KEEPER_SHARES: u64 = 4;
/// Envelopes that one keeper says have come to it, of which a phone remembers so.
pub const DELIVERIES_PER_KEEPER_MAX: u64 = 250_000;
/// Envelopes in quarantine, all told, and of one author.
pub const QUARANTINED_MAX: u64 = 10_000;
/// See [`QUARANTINED_MAX`].
pub const QUARANTINED_PER_AUTHOR_MAX: u64 = 500;
/// Operations of one change of a case, counted before they are unfolded.
pub const OPERATIONS_PER_CHANGE_MAX: u64 = 4096;
/// Entries of one case.
pub const ENTRIES_PER_CASE_MAX: usize = 50_000;
/// Of these, entries of one phone.
pub const ENTRIES_PER_AUTHOR_MAX: usize = 10_000;
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

/// Bytes of one sealed photo.
pub const ATTACHMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Photos that one phone knows of.
pub const ATTACHMENTS_MAX: usize = 10_000;
/// Of these, photos that one author has announced, and their bytes.
pub const ATTACHMENTS_PER_AUTHOR_MAX: usize = 2_000;
/// See [`ATTACHMENTS_PER_AUTHOR_MAX`].
pub const ATTACHMENT_BYTES_PER_AUTHOR_MAX: u64 = 1024 * 1024 * 1024;
/// Bundle files open at once.
pub const FILES_OPEN_MAX: usize = 16;
/// Bytes of photos that one phone fetches, whatever its quota for bundles.
pub const PHOTOS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Meetings one phone holds at once.
pub const MEETINGS_MAX: usize = 32;
/// Of these, meetings with phones that have not shown a certificate in force.
pub const STRANGERS_MAX: usize = 4;
/// Milliseconds in which whoever calls must have greeted.
pub const GREETING_MS_MAX: u64 = 15_000;
/// Milliseconds in which a phone must have shown a certificate in force, teaching included.
pub const STRANGER_MS_MAX: u64 = 60_000;
/// Bytes that are sent ahead to a phone that has not shown a certificate in force, and taken from
/// it in all.
pub const STRANGER_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are taken from a phone before it has shown a certificate in force: every root and
/// list there can be.
pub const STRANGER_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Frames that are taken from a phone before it has shown a certificate in force.
pub const STRANGER_FRAMES_MAX: u64 = 256;
/// Milliseconds that one frame may take to arrive.
pub const FRAME_MS_MAX: u64 = 90_000;
/// Milliseconds that a meeting may last.
pub const MEETING_MS_MAX: u64 = 6 * 60 * 60_000;
/// Connections open at once, those that are being greeted and those that are being closed included.
pub const CONNECTIONS_MAX: usize = 64;
/// Bytes a meeting keeps ready to send; the rest is made when the link can take it.
pub const SEND_AHEAD_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes after which a meeting that may move says what has come.
pub const HEARD_EVERY_BYTES: u64 = 64 * 1024;
/// Milliseconds that a meeting whose link is gone waits for another.
pub const MOVE_MS_MAX: u64 = 25_000;
/// Milliseconds without a new group, here or there, after which two phones that wait for more from
/// others part.
pub const ROOM_QUIET_MS_MAX: u64 = 6_000;
/// Milliseconds that a phone waits for a piece it has asked for; at the largest piece this is 4
/// kB/s. Slower, and another phone is asked.
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
    assert!(
        GROUP_BYTES * PIECE_GROUPS_MAX + 1024 <= FRAME_BYTES_MAX as u64,
        "a piece fits a frame"
    );
    assert!(
        TREE_CHUNK_BYTES_MAX + 1024 <= FRAME_BYTES_MAX,
        "a tree chunk fits a frame"
    );
    assert!(
        SIGNED_BYTES_MAX + 4096 <= FRAME_BYTES_MAX,
        "a signed document fits a frame"
    );
    assert!(
        IDS_PER_FRAME_MAX * 8 + 1024 <= FRAME_BYTES_MAX,
        "an id list fits a frame"
    );
    assert!(
        ENVELOPES_FRAME_BYTES_MAX + ENVELOPE_BYTES_MAX + 4096 <= FRAME_BYTES_MAX,
        "a batch of envelopes fits a frame even when the last one just began below its bound"
    );
    assert!(
        STRANGERS_MAX < MEETINGS_MAX,
        "strangers leave room for colleagues"
    );
    assert!(
        CONNECTIONS_MAX >= 2 * MEETINGS_MAX,
        "a meeting that is being closed does not keep the next one out"
    );
    assert!(
        OPERATIONS_PER_CHANGE_MAX as usize <= ENTRIES_PER_CASE_MAX,
        "one change fits a case"
    );
    assert!(
        CHAINS_PER_ISSUER_MAX < CHAINS_PER_DEVICE_MAX,
        "one issuer leaves room for others"
    );
    assert!(
        ATTACHMENTS_PER_AUTHOR_MAX < ATTACHMENTS_MAX,
        "one author leaves room for others"
    );
    assert!(
        QUARANTINED_PER_AUTHOR_MAX < QUARANTINED_MAX,
        "one author leaves room for others"
    );
    assert!(
        ENVELOPES_PER_AUTHOR_MAX * KEEPER_SHARES < ENVELOPES_HELD_MAX,
        "one author leaves room for others"
    );
    assert!(
        SYMBOLS_PER_PART_MAX * 8 + 1024 <= FRAME_BYTES_MAX,
        "the symbols of a part fit a frame"
    );
    assert!(
        RECEIPTS_HELD_MAX * 16 + 1024 <= FRAME_BYTES_MAX,
        "the list of receipts held fits a frame"
    );
    assert!(
        ENVELOPE_BYTES_MAX <= u16::MAX as usize + 1,
        "the length of a ciphertext fits two bytes"
    );
    assert!(
        SEND_AHEAD_BYTES_MAX >= 2 * FRAME_BYTES_MAX,
        "two frames can wait to be sent"
    );
    assert!(
        TREE_CHUNK_BYTES_MAX.is_multiple_of(32),
        "a tree chunk holds whole hashes"
    );
    // One of many leaves room for the others.
    assert!(ENTRIES_PER_AUTHOR_MAX < ENTRIES_PER_CASE_MAX);
    assert!(RECEIPTS_PER_ISSUER_MAX < RECEIPTS_HELD_MAX);
    assert!(ATTACHMENT_BYTES_PER_AUTHOR_MAX < PHOTOS_BYTES_MAX);
    // What is a part of something fits it.
    assert!(ENVELOPE_PLAIN_BYTES_MAX <= CASE_BYTES_MAX);
    assert!(ATTACHMENT_BYTES_MAX <= ATTACHMENT_BYTES_PER_AUTHOR_MAX);
    assert!(ATTACHMENT_BYTES_MAX <= BUNDLE_BYTES_MAX);
    // The first of two waits ends first.
    assert!(RENEWAL_DAYS < CERTIFICATE_DAYS);
    assert!(GREETING_MS_MAX < STRANGER_MS_MAX);
    assert!(ROOM_QUIET_MS_MAX < MEETING_SILENCE_MS_MAX);
    assert!(MOVE_MS_MAX < MEETING_SILENCE_MS_MAX);
    assert!(HEARD_EVERY_BYTES * 2 < SEND_AHEAD_BYTES_MAX as u64);
};
