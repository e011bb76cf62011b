//! What a network reads of a patient: findings as weighted rows of an embedding table, in slots by
//! body system, and words twice: as hashed character n-grams, which a misspelling changes only in
//! part, and as word pieces.
//!
//! A feature has a name that travels inside the model file, so that a model keeps reading findings
//! rightly when the rule pack grows: `slot|field=word` (1 where a flag or choice is this word) or
//! `slot|field@left:at:right` (a soft bin: 1 at the middle, falling to 0 at both ends; an open end is
//! written `-`).

use clinical::FindingValue;
use tokenizers::{NormalizedString, Normalizer, Tokenizer};

use crate::findings::Findings;
use crate::pictures::PREFIX;

/// Rows of the table of n-grams: a power of two.
pub const GRAM_ROWS: usize = 1 << 15;
/// Characters of a gram, at least and at most; whole words are grams too.
const GRAM: std::ops::RangeInclusive<usize> = 3..=5;
/// Grams, and word pieces, that are read of a text.
const TOKENS_MAX: usize = 320;

/// One thing that a row stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// A flag or choice is this word.
    Word(String, String),
    /// A number lies about here.
    About(String, [f64; 3]),
}

/// A feature, and the slot that it is summed into.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Which slot.
    pub slot: usize,
    /// What it reads.
    pub reads: Reads,
}

impl Feature {
    /// Its name in a model file.
    pub fn name(&self) -> String {
        let bound = |x: &f64| {
            if x.is_finite() {
                x.to_string()
            } else {
                "-".to_owned()
            }
        };
        match &self.reads {
            Reads::Word(field, word) => format!("{}|{field}={word}", self.slot),
            Reads::About(field, [left, at, right]) => {
                format!(
                    "{}|{field}@{}:{at}:{}",
                    self.slot,
                    bound(left),
                    bound(right)
                )
            }
        }
    }

    /// Reads a name; `None` where it is none, or of a slot that there is not.
    pub fn parse(name: &str, slots: usize) -> Option<Self> {
        let (slot, rest) = name.split_once('|')?;
        let slot = slot.parse().ok().filter(|slot| *slot < slots)?;
        let reads = match rest.split_once('@') {
            Some((field, bounds)) => {
                let bounds: Vec<_> = bounds.split(':').collect();
                let [left, at, right] = *bounds.as_slice() else {
                    return None;
                };
                let end = |text: &str, open: f64| match text {
                    "-" => Some(open),
                    number => number.parse::<f64>().ok().filter(|x| x.is_finite()),
                };
                let about = [
                    end(left, f64::NEG_INFINITY)?,
                    end(at, f64::NAN).filter(|x| x.is_finite())?,
                    end(right, f64::INFINITY)?,
                ];
                let [left, at, right] = about;
                (left < at && at < right).then(|| Reads::About(field.to_owned(), about))?
            }
            None => {
                let (field, word) = rest.split_once('=')?;
                Reads::Word(field.to_owned(), word.to_owned())
            }
        };
        Some(Self { slot, reads })
    }

    /// How much of it these findings show, 0 to 1.
    fn weight(&self, findings: &Findings) -> f32 {
        match &self.reads {
            Reads::Word(field, word) if field.starts_with(PREFIX) => {
                let subject = field.strip_prefix(PREFIX).unwrap_or_default();
                let read = findings.pictures().get(subject);
                f32::from(u8::from(read.is_some_and(|read| read == word)))
            }
            Reads::Word(field, word) => {
                let said = match findings.value(field) {
                    FindingValue::Yes => word == "yes",
                    FindingValue::No => word == "no",
                    FindingValue::Text(said) => said == word,
                    FindingValue::Unknown | FindingValue::Number(_) => false,
                };
                f32::from(u8::from(said))
            }
            Reads::About(field, about) => match findings.value(field) {
                FindingValue::Number(number) => hat(*number, *about) as f32,
                FindingValue::Yes
                | FindingValue::No
                | FindingValue::Unknown
                | FindingValue::Text(_) => 0.0,
            },
        }
    }
}

/// A triangle: 1 in the middle, 0 from both ends on; beyond an open end it stays 1.
fn hat(x: f64, [left, at, right]: [f64; 3]) -> f64 {
    match () {
        () if x <= at && left == f64::NEG_INFINITY => 1.0,
        () if x <= at => ((x - left) / (at - left)).max(0.0),
        () if right == f64::INFINITY => 1.0,
        () => ((right - x) / (right - at)).max(0.0),
    }
}

/// Rows of one table, each with its weight, that are summed into a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Which slot.
    pub slot: usize,
    /// Which row.
    pub row: usize,
    /// By how much.
    pub weight: f32,
}

/// A patient as a network reads it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// Of the table of features.
    pub features: Vec<Row>,
    /// Of the table of n-grams.
    pub grams: Vec<Row>,
    /// Of the table of word pieces.
    pub pieces: Vec<Row>,
}

/// Reads patients.
#[derive(Debug, Clone)]
pub struct Encoder {
    features: Vec<Feature>,
    tokenizer: Tokenizer,
    /// Slots of n-grams and of word pieces.
    text: [usize; 2],
}

impl Encoder {
    /// With these features, and slots for grams and pieces.
    pub fn new(features: Vec<Feature>, tokenizer: Tokenizer, text: [usize; 2]) -> Self {
        Self {
            features,
            tokenizer,
            text,
        }
    }

    /// The same with more features, whose rows follow.
    pub fn with(&self, more: &[Feature]) -> Self {
        let mut all = self.clone();
        all.features.extend_from_slice(more);
        all
    }

    /// The features, in the order of their rows.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// Rows of the table of word pieces.
    pub fn pieces(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The tokenizer, as a file carries it.
    ///
    /// # Errors
    /// What the library says.
    pub fn tokenizer_file(&self) -> Result<String, String> {
        self.tokenizer.to_string(false).map_err(|e| e.to_string())
    }

    /// What a network reads of these findings.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn encode(&self, findings: &Findings) -> Result<Encoded, String> {
        let shown = self.features.iter().enumerate().map(|(row, feature)| Row {
            slot: feature.slot,
            row,
            weight: feature.weight(findings),
        });
        let features = shown.filter(|row| row.weight > 0.0).collect();
        let [gram_slot, piece_slot] = self.text;
        let pieces = self.tokenizer.encode_fast(findings.text(), false);
        let pieces = pieces.map_err(|e| e.to_string())?;
        let pieces = pieces.get_ids().iter().map(|id| *id as usize);
        Ok(Encoded {
            features,
            grams: spread(self.grams(findings.text())?.into_iter(), gram_slot),
            pieces: spread(pieces, piece_slot),
        })
    }

    /// The rows of a text's n-grams: three to five letters of each word and its ends, and the word.
    fn grams(&self, text: &str) -> Result<Vec<usize>, String> {
        let mut normal = NormalizedString::from(text);
        if let Some(normalizer) = self.tokenizer.get_normalizer() {
            normalizer
                .normalize(&mut normal)
                .map_err(|e| e.to_string())?;
        }
        let mut grams = Vec::new();
        let words = normal.get().split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            let ended: Vec<char> = format!("<{word}>").chars().collect();
            for length in GRAM {
                grams.extend(ended.windows(length).map(row_of));
            }
            if !GRAM.contains(&ended.len()) {
                grams.push(row_of(&ended));
            }
            if grams.len() > TOKENS_MAX {
                break;
            }
        }
        Ok(grams)
    }
}

/// The row of a gram (FNV-1a, 32 bits).
fn row_of(gram: &[char]) -> usize {
    let hash = gram.iter().fold(0x811c_9dc5u32, |hash, letter| {
        (hash ^ u32::from(*letter)).wrapping_mul(0x0100_0193)
    });
    // The upper bits are mixed better.
    ((hash >> 15) ^ hash) as usize & (GRAM_ROWS - 1)
}

/// Rows into one slot, so weighed that longer texts do not weigh more than they say.
fn spread(rows: impl Iterator<Item = usize>, slot: usize) -> Vec<Row> {
    let rows: Vec<_> = rows.take(TOKENS_MAX).collect();
    let weight = 1.0 / (rows.len().max(1) as f32).sqrt();
    let row = |row| Row { slot, row, weight };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_refused() {
        for name in [
            "0|age_months@-:2:6",
            "3|cough_or_difficult=yes",
            "9|muac@115:119.5:125",
        ] {
            assert_eq!(Feature::parse(name, 10).unwrap().name(), name);
        }
        for wrong in [
            "",
            "a|b=c",
            "10|x=yes",
            "1|x",
            "1|x@1:2",
            "1|x@3:2:1",
            "1|x@-:-:-",
            "1|x@-:NaN:2",
        ] {
            assert_eq!(Feature::parse(wrong, 10), None, "{wrong}");
        }
    }

    #[test]
    fn soft_bins_sum_to_one_between_and_beyond() {
        let about = |left, at, right| [left, at, right];
        let bins = [
            about(f64::NEG_INFINITY, 36.0, 37.0),
            about(36.0, 37.0, 39.0),
            about(37.0, 39.0, f64::INFINITY),
        ];
        for x in [30.0, 36.0, 36.3, 37.0, 38.5, 39.0, 44.0] {
            let sum: f64 = bins.iter().map(|bin| hat(x, *bin)).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{x}");
        }
    }
}
