//! Which changes are let into a case: they only add, and the phone that they name has signed them.
//!
//! The signature lies in the change's message, in base64: the phone's id (32 bytes) and its Ed25519
//! signature (domain `change`) over the case id (16 bytes) and the raw bytes of the change's body
//! without that message ([`super::raw`]). So it is checked before anything is unfolded. It travels
//! and is kept with the change: it still holds when somebody else seals the change under another
//! key, hands it over in an archive, or restores it from a backup.

use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{Change, ExpandedChange, ScalarValue};
use data_encoding::BASE64_NOPAD;
use protocol::defence::{self, Defence};
use protocol::limits::OPERATIONS_PER_CHANGE_MAX;
use protocol::{CaseId, DeviceId, DeviceKeys, keys};

use super::raw::RawChange;
use super::{CaseError, guarded};

const DOMAIN: &str = "change";

/// What is signed of a change of a case.
fn signing_input(case: CaseId, raw: &RawChange<'_>) -> Vec<u8> {
    [case.as_bytes().as_slice(), &raw.unsigned_body()].concat()
}

/// Signs a change of a case, as any Automerge makes it, in the name of a phone.
pub fn sign(case: CaseId, change: &[u8], by: &DeviceKeys) -> Result<Vec<u8>, CaseError> {
    guarded(|| {
        let change = plain_change(change)?;
        Ok(signed(case, &change, by)?.raw_bytes().to_vec())
    })
}

/// A change with its author's signature in the place of its message. An error if it has more
/// operations than a change may have.
pub(super) fn signed(case: CaseId, change: &Change, by: &DeviceKeys) -> Result<Change, String> {
    let mut plain = change.decode();
    plain.message = None;
    let bare = Change::from(plain.clone());
    let input = signing_input(case, &RawChange::read(bare.raw_bytes())?);
    let seal = [by.id().0.as_slice(), &by.sign(DOMAIN, &input)].concat();
    plain.message = Some(BASE64_NOPAD.encode(&seal));
    let change = Change::from(plain);
    protocol::always!(
        RawChange::read(change.raw_bytes()).is_ok_and(|raw| signer(case, &raw) == Ok(by.id()))
    );
    Ok(change)
}

/// The phone that has signed the raw bytes of a change of this case.
fn signer(case: CaseId, raw: &RawChange<'_>) -> Result<DeviceId, String> {
    let seal = BASE64_NOPAD
        .decode(raw.message.as_bytes())
        .unwrap_or_default();
    let parts = seal
        .split_first_chunk::<32>()
        .and_then(|(id, rest)| Some((DeviceId(*id), rest.try_into().ok()?)));
    let Some((author, signature)) = parts else {
        return Err("a change that nobody has signed".into());
    };
    match keys::verify(&author, DOMAIN, &signing_input(case, raw), signature) {
        true => Ok(author),
        false => Err(format!(
            "a change that phone {} has not signed, though it says so",
            author.short()
        )),
    }
}

/// All entries of a change name the phone that has signed it.
fn names_only(author: DeviceId, expanded: &ExpandedChange) -> Result<(), String> {
    let mut authors = expanded
        .operations
        .iter()
        .filter(|op| op.key == Key::Map("by".into()))
        .map(|op| match &op.action {
            OpType::Put(ScalarValue::Bytes(id)) => DeviceId::from_slice(id),
            OpType::Make(_)
            | OpType::Delete
            | OpType::Increment(_)
            | OpType::Put(_)
            | OpType::MarkBegin(_)
            | OpType::MarkEnd(_) => None,
        });
    let Some(first) = authors.next() else {
        return Err("a change without an author".into());
    };
    match first == Some(author) && authors.all(|other| other == Some(author)) {
        true => Ok(()),
        false => Err(format!(
            "a change that phone {} has signed in another's name",
            author.short()
        )),
    }
}

/// Whether bytes are what [`Case::save`] writes: one document chunk, then changes that wait for
/// others. Automerge would read other kinds too, and a damaged one of those can keep it busy for
/// minutes and take gigabytes (found by the fuzzer).
pub(super) fn only_known_chunks(bytes: &[u8]) -> bool {
    let (mut rest, mut first) = (bytes, true);
    while !rest.is_empty() {
        // magic 4 · checksum 4 · kind 1 · length (LEB128)
        let Some((kind, after)) = rest.get(8..).and_then(<[u8]>::split_first) else {
            return false;
        };
        let digits = after
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .filter(|at| *at < 9);
        let Some((length, data)) = digits.and_then(|at| after.split_at_checked(at + 1)) else {
            return false;
        };
        let length = length
            .iter()
            .rev()
            .fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        let known = if first {
            *kind == 0
        } else {
            (1..=2).contains(kind)
        };
        let next = usize::try_from(length)
            .ok()
            .and_then(|length| data.get(length..));
        let (true, Some(next)) = (known, next) else {
            return false;
        };
        (rest, first) = (next, false);
    }
    !first
}

fn plain_change(bytes: &[u8]) -> Result<Change, String> {
    if bytes.get(8) != Some(&1) {
        return Err("not a plain change".into());
    }
    Change::from_bytes(bytes.to_vec()).map_err(|e| e.to_string())
}

/// Reads one change of a case: operations counted and signature checked over its raw bytes first.
/// Automerge does not check the checksum of a bare change and inflates compressed ones without a
/// limit, so both are settled here: chunk type 1 (plain) only, and the first bytes of its hash as
/// the checksum says.
pub(super) fn parse_change(case: CaseId, bytes: &[u8]) -> Result<Change, String> {
    let raw = RawChange::read(bytes)?;
    let early = defence::stands(Defence::RawSignature);
    let author = if early {
        Some(signer(case, &raw)?)
    } else {
        None
    };
    let change = plain_change(bytes)?;
    if bytes.get(4..8) != Some(&change.hash().0[..4]) {
        return Err("a change whose checksum does not hold".into());
    }
    let expanded = change.decode();
    protocol::always!(
        expanded.operations.len() as u64 <= OPERATIONS_PER_CHANGE_MAX
            || !defence::stands(Defence::CountedOperations),
        "counted before they were unfolded"
    );
    only_adds(&expanded)?;
    names_only(author.map_or_else(|| signer(case, &raw), Ok)?, &expanded)?;
    Ok(change)
}

/// A change may only add: entries under keys of its own actor at the root, and what lies within
/// them. One that deletes, overwrites or writes into what others have said is refused, whoever
/// signed it.
fn only_adds(change: &ExpandedChange) -> Result<(), String> {
    let own_key = format!("-{}-", change.actor_id.to_hex_string());
    for op in &change.operations {
        let adds = matches!(op.action, OpType::Make(_) | OpType::Put(_))
            && op.pred.iter().next().is_none();
        let its_own = match (&op.obj, &op.key) {
            (ObjectId::Root, Key::Map(key)) => key == "schema" || key.contains(&own_key),
            (ObjectId::Root, Key::Seq(_)) => false,
            (ObjectId::Id(OpId(counter, actor)), _) => {
                *actor == change.actor_id && *counter >= change.start_op.get()
            }
        };
        if !adds || !its_own {
            return Err("a change that touches what was said before".into());
        }
    }
    Ok(())
}
