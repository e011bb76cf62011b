//! A file of cases is taken in whole or not at all: before the first word of it is written, the file itself is
//! kept, sealed, in one transaction; what a dead battery or a full disk cuts off goes on from there before
//! anything else is written (a redo log of one entry). What is here already is taken in once.

use protocol::{Area, always};
use record::exchange::csv::Mapping;
use serde::{Deserialize, Serialize};

use super::{Imported, take_in_whole};
use crate::agent::{Command, ImportStep};
use crate::api::{Cx, Format, Look, Refusal};
use crate::store::Setting;

/// As what a file of cases is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The form.
    pub format: Format,
    /// How a table of another system's is read, one row a patient.
    pub mapping: Option<Box<Mapping>>,
}

impl From<Format> for Source {
    fn from(format: Format) -> Self {
        Self {
            format,
            mapping: None,
        }
    }
}

/// Times that a file is gone on with and comes no further, before it is left: it may be what brings the program
/// down.
const TRIES_MAX: u8 = 5;
/// After so many patients of whom there was nothing to write it is noted how far a file is.
const NOTED_EVERY: usize = 8;
/// Bytes of a file that was kept, however small it was packed.
const BYTES_MAX: usize = 64 << 20;
/// How hard it is packed: fast.
const LEVEL: i32 = 1;

/// A file that is being taken in.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    source: Source,
    area: Area,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SoFar {
    /// Times that it was gone on with since it came this far.
    tries: u8,
    /// Patients that are in.
    reached: usize,
}

impl SoFar {
    /// As it was noted last.
    pub(super) fn of(cx: &dyn Look) -> Result<Self, Refusal> {
        let kept = cx.store().setting(&Setting::import_so_far())?;
        let kept = kept.and_then(|bytes| <[u8; 9]>::try_from(bytes).ok());
        let Some([tries, reached @ ..]) = kept else {
            return Ok(Self::default());
        };
        let reached = usize::try_from(u64::from_le_bytes(reached)).unwrap_or_default();
        Ok(Self { tries, reached })
    }

    /// All patients before this place are in.
    pub(super) fn reached(place: usize) -> Self {
        Self {
            tries: 0,
            reached: place,
        }
    }

    /// As it is noted.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let reached = (self.reached as u64).to_le_bytes();
        [[self.tries].as_slice(), &reached].concat()
    }

    fn note(self, cx: &mut dyn Cx) -> Result<(), Refusal> {
        cx.command(Command::Import(ImportStep::Note(self.to_bytes())))
            .map(drop)
    }

    /// Whether a patient of the file is still to be taken in, by its place; what lies before is, is noted now and
    /// then.
    pub(super) fn is_next(&mut self, cx: &mut dyn Cx, at: usize) -> Result<bool, Refusal> {
        if at < self.reached {
            return Ok(false);
        }
        if at >= self.reached.saturating_add(NOTED_EVERY) {
            *self = Self::reached(at);
            self.note(cx)?;
        }
        Ok(true)
    }
}

/// The length of the head, little-endian; the head; the file, packed.
fn write(pending: &Pending, packed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let head = serde_json::to_vec(pending).map_err(|_| Refusal::Nothing)?;
    let length = (head.len() as u32).to_le_bytes();
    Ok([length.as_slice(), &head, packed].concat())
}

fn read(bytes: &[u8]) -> Option<(Pending, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (head, packed) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((serde_json::from_slice(head).ok()?, packed))
}

/// Keeps a file that is about to be taken in.
pub(super) fn begin(
    cx: &mut dyn Cx,
    (source, area): (&Source, &Area),
    bytes: &[u8],
) -> Result<(), Refusal> {
    let packed = zstd::bulk::compress(bytes, LEVEL).map_err(|_| Refusal::Nothing)?;
    let pending = Pending {
        source: source.clone(),
        area: area.clone(),
    };
    SoFar::default().note(cx)?;
    keep(cx, Some(write(&pending, &packed)?))
}

/// It is in.
pub(super) fn end(cx: &mut dyn Cx) -> Result<(), Refusal> {
    keep(cx, None)
}

fn keep(cx: &mut dyn Cx, bytes: Option<Vec<u8>>) -> Result<(), Refusal> {
    cx.command(Command::Import(ImportStep::Keep(bytes)))
        .map(drop)
}

/// Whether a file that was being taken in was cut off.
pub fn is_cut_off(cx: &dyn Look) -> bool {
    cx.store().import().is_ok_and(|kept| kept.is_some())
}

/// Whether what stopped a file may pass by itself: a full disk, a program that ends, keys that are locked away. What
/// does not, such as a right that was taken away, would keep every other file out for ever.
fn passes(why: &Refusal) -> bool {
    if let Refusal::ImportStopped { why, .. } = why {
        return passes(why);
    }
    matches!(
        why,
        Refusal::Store(_)
            | Refusal::Stopped
            | Refusal::Nothing
            | Refusal::Busy
            | Refusal::CaseMoved
            | Refusal::Locked(_)
    )
}

/// Takes in the rest of a file that was cut off; nothing where none was.
pub fn go_on(cx: &mut dyn Cx) -> Result<Imported, Refusal> {
    let Some(bytes) = cx.store().import()? else {
        return Ok(Imported::default());
    };
    // Damaged, or of another version.
    let Some((pending, packed)) = read(&bytes) else {
        cx.command(Command::Import(ImportStep::GiveUp))?;
        return Err(Refusal::ImportGivenUp);
    };
    let mut so_far = SoFar::of(cx)?;
    let plain = zstd::bulk::decompress(packed, BYTES_MAX);
    let (false, Ok(plain)) = (so_far.tries >= TRIES_MAX, plain) else {
        cx.command(Command::Import(ImportStep::GiveUp))?;
        return Err(Refusal::ImportGivenUp);
    };
    so_far.tries = so_far.tries.saturating_add(1);
    always!(so_far.tries <= TRIES_MAX);
    so_far.note(cx)?;
    let taken = take_in_whole(cx, (&pending.source, &pending.area), &plain);
    if let Err(why) = &taken {
        if !passes(why) {
            cx.command(Command::Import(ImportStep::GiveUp))?;
            return taken;
        }
        // It has stopped by itself, and was not brought down: that is no try.
        let mut so_far = SoFar::of(cx)?;
        so_far.tries = so_far.tries.saturating_sub(1);
        let _ = so_far.note(cx);
        return taken;
    }
    end(cx)?;
    taken
}
