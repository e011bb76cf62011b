//! Making a delta, on the ministry's desk: both files in memory, no hurry.

use std::collections::BTreeMap;
use std::io::Write;

use protocol::Digest;
use protocol::always;

use super::blocks::Model;
use super::intra::Intra;
use super::layout::{Span, Storage, layout};
use super::range::Encoder;
use super::{COLUMNS_MAX, DICTIONARY_MAX, Head, MADE_MAX, SLICE_BYTES};

/// How hard to try.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// zstd's level for what is not tensors.
    pub level: i32,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { level: 19 }
    }
}

/// Stretches that are the same in both files are copied if they are at least so long.
const COPY_BYTES_MIN: usize = 4096;

struct Maker<'a> {
    base: &'a [u8],
    target: &'a [u8],
    level: i32,
    out: Vec<u8>,
    models: BTreeMap<Storage, Model>,
    intra: BTreeMap<Storage, Intra>,
}

/// The delta that makes `target` out of `base`.
pub fn encode(
    base: &[u8],
    target: &[u8],
    options: EncodeOptions,
) -> Result<Vec<u8>, std::io::Error> {
    let head = Head {
        base: Digest::of(base),
        target: Digest::of(target),
        base_bytes: base.len() as u64,
        target_bytes: target.len() as u64,
    };
    let (models, intra) = (BTreeMap::new(), BTreeMap::new());
    let mut maker = Maker {
        base,
        target,
        level: options.level,
        out: head.to_bytes(),
        models,
        intra,
    };
    let before: BTreeMap<_, _> = layout(base)
        .into_iter()
        .map(|s| (s.name.clone(), s))
        .collect();
    let mut at = 0;
    for span in layout(target) {
        always!(at as u64 <= span.offset, "one after another");
        always!(
            Storage::from_number(span.storage as u8) == Some(span.storage),
            "what is written can be read"
        );
        maker.plain(at, span.offset as usize)?;
        at = (span.offset + span.bytes) as usize;
        always!(at <= target.len(), "within the file");
        match before.get(&span.name) {
            Some(old) if alike(old, &span) => maker.tensor(old, &span)?,
            _ => maker.intra(&span, span.offset as usize, at)?,
        }
    }
    maker.plain(at, target.len())?;
    Ok(maker.out)
}

/// Whether the rows of one can be laid beside the rows of the other.
fn alike(old: &Span, new: &Span) -> bool {
    let carried = new.columns <= COLUMNS_MAX; // no phone takes longer rows
    old.storage == new.storage && old.columns == new.columns && carried && new.row_bytes().is_some()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Maker<'_> {
    fn of_base(&self, start: usize, end: usize) -> &[u8] {
        self.base.get(start..end).unwrap_or_default()
    }

    fn of_target(&self, start: usize, end: usize) -> &[u8] {
        self.target.get(start..end).unwrap_or_default()
    }

    /// Bytes that are no tensor, with what lay about there in the base as dictionary.
    fn plain(&mut self, start: usize, end: usize) -> Result<(), std::io::Error> {
        let mut at = start;
        while at < end {
            let stop = end.min(at + MADE_MAX as usize / 2);
            let here = self.of_target(at, stop);
            if here.len() >= 64 && self.of_base(at, stop) == here {
                self.copy(at, stop - at);
                at = stop;
                continue;
            }
            let reach = DICTIONARY_MAX as usize / 4;
            let from = at.saturating_sub(reach).min(self.base.len());
            let to = (stop + reach).min(self.base.len());
            always!(from <= to && to - from <= DICTIONARY_MAX as usize);
            let with = pack(here, self.of_base(from, to), self.level)?;
            let without = pack(here, &[], self.level)?;
            let (packed, from, to) = if with.len() < without.len() {
                (with, from, to)
            } else {
                (without, 0, 0)
            };
            always!(packed.len() as u64 <= 2 * MADE_MAX, "phones take it");
            self.out.push(2);
            for number in [from, to - from, stop - at, packed.len()] {
                varint(&mut self.out, number as u64);
            }
            self.out.extend_from_slice(&packed);
            at = stop;
        }
        Ok(())
    }

    fn copy(&mut self, offset: usize, bytes: usize) {
        always!(offset + bytes <= self.base.len(), "within the base");
        let mut done = 0;
        while done < bytes {
            let now = (bytes - done).min(MADE_MAX as usize);
            self.out.push(1);
            varint(&mut self.out, (offset + done) as u64);
            varint(&mut self.out, now as u64);
            done += now;
        }
    }

    /// A tensor that the base has too: rows that are the same are copied, others are coded against
    /// theirs, new ones stand intra.
    fn tensor(&mut self, old: &Span, new: &Span) -> Result<(), std::io::Error> {
        let row = new.row_bytes().unwrap_or(1).max(1) as usize;
        always!(new.bytes.is_multiple_of(row as u64), "rows are whole");
        let (old_at, new_at) = (old.offset as usize, new.offset as usize);
        let both = (old.bytes.min(new.bytes) as usize) / row * row;
        let same = |at: usize, end: usize| {
            self.of_base(old_at + at, old_at + end) == self.of_target(new_at + at, new_at + end)
        };
        let step = row * COPY_BYTES_MIN.div_ceil(row);
        let mut runs: Vec<(bool, usize, usize)> = Vec::new();
        let mut at = 0;
        while at < both {
            let end = both.min(at + step);
            let equal = same(at, end);
            match runs.last_mut() {
                Some((kind, _, last)) if *kind == equal => *last = end,
                _ => runs.push((equal, at, end)),
            }
            at = end;
        }
        always!(runs.iter().map(|(_, a, b)| b - a).sum::<usize>() == both);
        let mut begins = true;
        for (equal, start, end) in runs {
            if equal {
                self.copy(old_at + start, end - start);
                continue;
            }
            if !self.blocks(old, new, start, end, begins)? {
                self.intra(new, new_at + start, new_at + end)?;
                continue;
            }
            begins = false;
        }
        self.intra(new, new_at + both, new_at + new.bytes as usize)
    }

    /// Bytes of a tensor that nothing in the base is like, by how often their values come; or as
    /// plain bytes, if that is shorter.
    fn intra(&mut self, span: &Span, start: usize, end: usize) -> Result<(), std::io::Error> {
        let before = self.out.len();
        self.plain(start, end)?;
        let block = span.storage.block().1;
        if start == end || !(end - start).is_multiple_of(block) {
            return Ok(());
        }
        let held = self.intra.get(&span.storage).cloned();
        let mut model = held.unwrap_or_else(|| Intra::new(span.storage));
        let mut out = Vec::new();
        for part in self
            .of_target(start, end)
            .chunks(SLICE_BYTES / block * block)
        {
            let mut coder = Encoder::new();
            let mut copy = part.to_vec();
            model.code(&mut coder, &mut copy);
            always!(copy == part, "what is read is what was written");
            let packed = coder.finish();
            out.extend_from_slice(&[5, span.storage as u8]);
            [part.len() / block, packed.len()]
                .into_iter()
                .for_each(|n| varint(&mut out, n as u64));
            out.extend_from_slice(&packed);
        }
        if out.len() < self.out.len() - before {
            self.out.truncate(before);
            self.out.extend_from_slice(&out);
            self.intra.insert(span.storage, model);
        }
        Ok(())
    }

    /// Codes rows against those of the base. `false`, and nothing is written, if they are better
    /// off without it.
    fn blocks(
        &mut self,
        old: &Span,
        new: &Span,
        start: usize,
        end: usize,
        begins: bool,
    ) -> Result<bool, std::io::Error> {
        let block = new.storage.block().1;
        let held = self.models.get(&new.storage).cloned();
        let mut model = held.unwrap_or_else(|| Model::new(new.storage));
        if begins {
            model.begin(new.columns as usize);
        }
        let mut out = Vec::new();
        let mut at = start;
        while at < end {
            let stop = end.min(at + SLICE_BYTES / block * block);
            let mut coder = Encoder::new();
            let wanted = self.of_target(new.offset as usize + at, new.offset as usize + stop);
            let mut copy = wanted.to_vec();
            let from = self.of_base(old.offset as usize + at, old.offset as usize + stop);
            model.code(&mut coder, from, &mut copy);
            always!(copy == wanted, "what is read is what was written");
            let packed = coder.finish();
            out.extend_from_slice(&[3, new.storage as u8, u8::from(begins && at == start)]);
            let numbers = [
                old.offset as usize + at,
                new.columns as usize,
                (stop - at) / block,
                packed.len(),
            ];
            numbers.into_iter().for_each(|n| varint(&mut out, n as u64));
            out.extend_from_slice(&packed);
            at = stop;
        }
        // Weights that have nothing in common with the old ones are smaller on their own.
        if out.len() * 10 > (end - start) * 6 {
            let before = (self.out.len(), self.intra.clone());
            self.intra(new, new.offset as usize + start, new.offset as usize + end)?;
            let alone = self.out.len() - before.0;
            self.out.truncate(before.0);
            self.intra = before.1;
            if alone < out.len() {
                return Ok(false);
            }
        }
        self.models.insert(new.storage, model);
        self.out.extend_from_slice(&out);
        Ok(true)
    }
}

fn pack(bytes: &[u8], dictionary: &[u8], level: i32) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), level, dictionary)?;
    encoder.include_contentsize(false)?;
    encoder.include_checksum(false)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    if !dictionary.is_empty() {
        encoder.window_log(25)?;
        encoder.long_distance_matching(true)?;
    }
    encoder.write_all(bytes)?;
    encoder.finish()
}
