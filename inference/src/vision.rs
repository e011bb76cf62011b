//! The reader of pictures as it comes in a release of its own: what a picture shows, or that it cannot say.
//!
//! ```text
//! picture [112, 112, 4] → 4 × (windows of 4 × 4, a product, norm, gelu), each half as wide: 56, 28, 14, 7
//!   → 49 slots, and one before them that gathers  [50, width]
//!   → layers × (norm, attention, norm, gelu) → norm of slot 0
//!   → what it is [subjects + nothing of them], its readings [all subjects' readings]
//! ```
//! (Windows before attention: Xiao et al. 2021, "Early convolutions help transformers see better".)
//!
//! It abstains where the picture is not what it is said to be, where it is unsure, and where four views of
//! the picture (as it is, turned, mirrored, softened) are not read alike: noise that was made to fool a
//! network seldom survives all of them (Guo et al. 2018). Whoever sees the network can make noise that does:
//! a reading is shown to a worker, and no rule reads it.
//!
//! NOT CLINICALLY VALIDATED: see [`crate::pictures`].

use std::io::{Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::float::gelu;
use crate::layers::{Layer, Linear, Norm, Room, Unfit};
use crate::model::{GOLDEN_TOLERANCE, ModelError, file, malformed, tensors::Tensors};
use crate::pictures::{SUBJECTS, Subject};
use crate::transformer::softmax;

/// The architecture name in the file.
pub const ARCHITECTURE: &str = "kijiti-vision-1";
/// Pixels of a side of what is looked at.
pub const SIDE: usize = 112;
/// Slots: what four halvings leave of a picture, and one before them that gathers what they say.
pub const SLOTS: usize = (SIDE / 16) * (SIDE / 16) + 1;
/// Numbers of a pixel as a network takes it: red, green, blue, and one that is always the same, by which it
/// knows where the picture ends.
pub const CHANNELS: usize = 4;
/// Pixels of a window's side; windows begin every other pixel, and one before the picture.
const WINDOW: usize = 4;
/// Numbers of a window of so many channels.
pub const fn window_numbers(channels: usize) -> usize {
    WINDOW * WINDOW * channels
}

/// Channels after each halving: an eighth of the width, a quarter, a half, all of it.
pub fn channels(width: usize) -> [usize; 4] {
    [width / 8, width / 4, width / 2, width]
}

/// Where a window's pixel lies, if within the picture: window `(x, y)`, its pixel `(i, j)`.
fn place_in(side: usize, (x, y): (usize, usize), (i, j): (usize, usize)) -> Option<usize> {
    let within = |at: usize| at.checked_sub(1).filter(|at| *at < side);
    Some(within(2 * y + j)? * side + within(2 * x + i)?)
}

/// The windows of a picture `[side, side, channels]`, one behind the other: `[side/2 · side/2, 16 · channels]`;
/// beyond its edge are zeros.
pub fn unfold(x: &[f32], side: usize, channels: usize, out: &mut Vec<f32>) {
    out.clear();
    let half = side / 2;
    for window in 0..half * half {
        for pixel in 0..WINDOW * WINDOW {
            let window = (window % half, window / half);
            let at = place_in(side, window, (pixel % WINDOW, pixel / WINDOW));
            match at.and_then(|at| x.get(at * channels..(at + 1) * channels)) {
                Some(pixel) => out.extend_from_slice(pixel),
                None => out.resize(out.len() + channels, 0.0),
            }
        }
    }
}

/// The way back: what each number of the windows says, added up where it came from.
pub fn fold(windows: &[f32], side: usize, channels: usize, out: &mut [f32]) {
    let half = side / 2;
    for (n, from) in windows.chunks_exact(channels.max(1)).enumerate() {
        let (window, pixel) = (n / (WINDOW * WINDOW), n % (WINDOW * WINDOW));
        let window = (window % half, window / half);
        let at = place_in(side, window, (pixel % WINDOW, pixel / WINDOW));
        if let Some(to) = at.and_then(|at| out.get_mut(at * channels..(at + 1) * channels)) {
            crate::layers::add(to, from);
        }
    }
}
/// Pixels of a golden picture's side, each of which stands for 4 × 4.
pub const GOLDEN_SIDE: usize = SIDE / 4;
/// Bytes of a file that this engine takes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const GOLDEN_MAX: usize = 64;

/// A picture of 112 × 112 pixels: red, green, blue, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture(Vec<u8>);

/// Prints no pixel: a picture belongs in no log.
impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture")
    }
}

/// The least spread of light of a picture (levels of 256, squared), and the most of it that may lie between
/// neighbours (1: noise). Of two thousand drawn pictures none is beyond either (`what_is_no_photograph_at_all_is_not_read`).
const SPREAD_LEAST: f32 = 2.0;
const BETWEEN_MOST: f32 = 0.6;

impl Picture {
    /// Of its bytes; `None` unless there are so many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == SIDE * SIDE * 3).then_some(Self(bytes))
    }

    /// A black one.
    pub fn black() -> Self {
        Self(vec![0; SIDE * SIDE * 3])
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether anything is to be seen: neither one colour all over, nor pixels that have nothing to do with
    /// their neighbours. By the spread of the light, and what share of it lies between neighbours.
    pub fn shows_anything(&self) -> bool {
        let light = |x: usize, y: usize| {
            let at = (y * SIDE + x) * 3;
            let pixel = self.0.get(at..at + 3).unwrap_or(&[0; 3]);
            pixel.iter().map(|byte| f32::from(*byte)).sum::<f32>() / 3.0
        };
        let all = || (0..SIDE * SIDE).map(|at| light(at % SIDE, at / SIDE));
        let count = (SIDE * SIDE) as f32;
        let mean = all().sum::<f32>() / count;
        let spread = all().map(|light| (light - mean).powi(2)).sum::<f32>() / count;
        let beside = (0..SIDE * (SIDE - 1)).map(|at| {
            let (x, y) = (at % (SIDE - 1), at / (SIDE - 1));
            (light(x, y) - light(x + 1, y)).powi(2) / 2.0
        });
        let between = beside.sum::<f32>() / (SIDE * (SIDE - 1)) as f32;
        spread >= SPREAD_LEAST && between <= BETWEEN_MOST * spread
    }

    /// Of another one's pixels: where each pixel comes from.
    fn moved(&self, from: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let places = (0..SIDE * SIDE).map(|at| from(at % SIDE, at / SIDE));
        let pixels = places.flat_map(|(x, y)| {
            let at = (y * SIDE + x) * 3;
            self.0.get(at..at + 3).unwrap_or(&[0; 3]).iter().copied()
        });
        Self(pixels.collect())
    }

    /// Each pixel the mean of itself and its neighbours.
    fn softened(&self) -> Self {
        let mut soft = Vec::with_capacity(self.0.len());
        for y in 0..SIDE {
            for x in 0..SIDE {
                for colour in 0..3 {
                    let (mut sum, mut count) = (0u32, 0u32);
                    for ny in y.saturating_sub(1)..(y + 2).min(SIDE) {
                        for nx in x.saturating_sub(1)..(x + 2).min(SIDE) {
                            let pixel = self.0.get((ny * SIDE + nx) * 3 + colour);
                            sum += u32::from(pixel.copied().unwrap_or_default());
                            count += 1;
                        }
                    }
                    soft.push((sum / count.max(1)) as u8);
                }
            }
        }
        Self(soft)
    }

    /// As it is, turned, mirrored, and softened.
    fn views(&self) -> [Self; 4] {
        [
            self.clone(),
            self.moved(|x, y| (SIDE - 1 - y, x)),
            self.moved(|x, y| (SIDE - 1 - x, y)),
            self.softened(),
        ]
    }

    /// The pixels as a network takes them: `[112, 112, 4]`.
    pub fn numbers(&self) -> Vec<f32> {
        let number = |x: u8| (f32::from(x) - 128.0) / 64.0;
        let pixels = self.0.as_chunks::<3>().0.iter();
        pixels
            .flat_map(|[r, g, b]| [number(*r), number(*g), number(*b), 1.0])
            .collect()
    }

    /// A golden picture, each of whose pixels stands for 4 × 4.
    fn golden(small: &[u8]) -> Option<Self> {
        if small.len() != GOLDEN_SIDE * GOLDEN_SIDE * 3 {
            return None;
        }
        let places = (0..SIDE * SIDE).map(|at| (at % SIDE / 4, at / SIDE / 4));
        let pixels = places.flat_map(|(x, y)| {
            let at = (y * GOLDEN_SIDE + x) * 3;
            small.get(at..at + 3).unwrap_or(&[0; 3]).iter().copied()
        });
        Self::new(pixels.collect())
    }
}

/// How large a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width of a slot.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Width between the two products of a layer.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
}

impl Shape {
    fn is_sound(&self) -> bool {
        (32..=512).contains(&self.width)
            && self.width.is_multiple_of(32)
            && (1..=16).contains(&self.heads)
            && self.width.is_multiple_of(self.heads)
            && (32..=2048).contains(&self.inner)
            && self.inner.is_multiple_of(32)
            && (1..=12).contains(&self.layers)
    }
}

/// Numbers set on pictures of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Temperature of what a picture is.
    pub what_temperature: f64,
    /// Temperature of the readings.
    pub reading_temperature: f64,
    /// Abstain where it is less likely than this to be what it is said to be.
    pub is_above: f32,
    /// Abstain where the likeliest reading is below this.
    pub sure_above: f32,
}

/// A picture with its published result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenPicture {
    /// Its pixels in hexadecimal, 28 × 28.
    pub pixels: String,
    /// What comes out for what it is.
    pub what: Vec<f32>,
}

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Look {
    /// This reading, with its probability.
    Reads(&'static str, f32),
    /// It does not look like what it is said to be.
    NotThis,
    /// It may be read in more than one way.
    Unsure,
}

/// Why a reader abstains; all on but in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defences {
    /// Where the picture is not what it is said to be.
    pub what: bool,
    /// Where its views are not read alike.
    pub views: bool,
}

impl Defences {
    /// All of them.
    pub const ALL: Self = Self {
        what: true,
        views: true,
    };
}

/// A reader of pictures.
pub struct PictureReader {
    name: String,
    shape: Shape,
    /// Of each halving, product and norm.
    halvings: Vec<(Linear, Norm)>,
    slots: Vec<f32>,
    layers: Vec<Layer>,
    norm: Norm,
    /// What it is, and its readings.
    heads: [Linear; 2],
    thresholds: Thresholds,
    golden: Vec<GoldenPicture>,
    card: String,
}

impl std::fmt::Debug for PictureReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PictureReader({})", self.name)
    }
}

/// All readings, one subject's after the other's.
pub fn readings() -> usize {
    SUBJECTS.iter().map(|s| s.readings.len()).sum()
}

/// Where a subject stands, and where its readings begin.
pub fn place_of(subject: &Subject) -> Option<(usize, usize)> {
    let at = SUBJECTS.iter().position(|other| other == subject)?;
    let before = SUBJECTS.iter().take(at);
    Some((at, before.map(|s| s.readings.len()).sum()))
}

impl PictureReader {
    /// Reads a file that is in memory. `name` is what it will be called.
    ///
    /// # Errors
    /// What is none, or out of its limits.
    pub fn load(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        Self::read(name, &mut Cursor::new(bytes))
    }

    /// Reads a file where it lies.
    ///
    /// # Errors
    /// What is none, or out of its limits.
    pub fn read(name: &str, reader: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        catch_unwind(AssertUnwindSafe(|| Self::read_checked(name, reader)))
            .unwrap_or_else(|_| Err(malformed("the file breaks its reader")))
    }

    fn read_checked(name: &str, reader: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        let content = file::open(reader, ARCHITECTURE, FILE_BYTES_MAX)?;
        let shape: Shape = file::read_json(&content, "kijiti.shape", 4096)?;
        let thresholds: Thresholds = file::read_json(&content, "kijiti.thresholds", 4096)?;
        let golden: Vec<GoldenPicture> = file::read_json(&content, "kijiti.golden", 1 << 20)?;
        let subjects: Vec<(String, Vec<String>)> =
            file::read_json(&content, "kijiti.subjects", 4096)?;
        let same = |(subject, (name, readings)): (&Subject, &(String, Vec<String>))| {
            subject.name == name.as_str() && subject.readings.iter().eq(readings.iter())
        };
        if subjects.len() != SUBJECTS.len() || !SUBJECTS.iter().zip(&subjects).all(same) {
            return Err(malformed("it reads other things than this engine knows"));
        }
        let sane = |t: f64| (0.05..=20.0).contains(&t);
        let share = |p: f32| (0.0..=1.0).contains(&p);
        let sound = shape.is_sound()
            && (1..=GOLDEN_MAX).contains(&golden.len())
            && sane(thresholds.what_temperature)
            && sane(thresholds.reading_temperature)
            && share(thresholds.is_above)
            && share(thresholds.sure_above);
        if !sound {
            return Err(malformed(
                "its shape, thresholds or golden pictures are out of range",
            ));
        }
        let mut tensors = Tensors {
            content: &content,
            reader,
        };
        let (halvings, slots, layers, norm, heads) =
            tensors.tower(&shape, [SUBJECTS.len() + 1, readings()])?;
        let card = file::text(&content, "kijiti.card")?.to_owned();
        Ok(Self {
            name: name.to_owned(),
            shape,
            halvings,
            slots,
            layers,
            norm,
            heads,
            thresholds,
            golden,
            card,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The card, for people.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// Its golden pictures.
    pub fn golden(&self) -> &[GoldenPicture] {
        &self.golden
    }

    /// What a picture is, and its readings, as logits.
    ///
    /// # Errors
    /// Where its weights give no numbers.
    pub fn logits(&self, picture: &Picture) -> Result<[Vec<f32>; 2], ModelError> {
        let unfit = |e: Unfit| malformed(e);
        let mut room = Room::default();
        let (mut seen, mut side, mut channels) = (picture.numbers(), SIDE, CHANNELS);
        let (mut windows, mut products) = (Vec::new(), Vec::new());
        for (product, norm) in &self.halvings {
            unfold(&seen, side, channels, &mut windows);
            (product.of(&windows, &mut products, &mut room.activations)).map_err(unfit)?;
            norm.of(&products, &mut seen);
            seen.iter_mut().for_each(|x| *x = gelu(*x));
            (side, channels) = (side / 2, product.bias.len());
        }
        let mut x = self.slots.clone();
        let rest = x.get_mut(self.shape.width..).unwrap_or_default();
        crate::layers::add(rest, &seen);
        for (at, layer) in self.layers.iter().enumerate() {
            let last = at + 1 == self.layers.len();
            let how = (self.shape.heads, last);
            layer.of(None, &mut x, &mut room, how).map_err(unfit)?;
        }
        // Quantized activations have no place for what is no number: it is refused before they hide it.
        if !x.iter().all(|x| x.is_finite()) {
            return Err(malformed("its weights give no numbers"));
        }
        self.norm.of(&x, &mut room.normal);
        let [mut what, mut readings] = [Vec::new(), Vec::new()];
        let [first, second] = &self.heads;
        (first.of(&room.normal, &mut what, &mut room.activations)).map_err(unfit)?;
        (second.of(&room.normal, &mut readings, &mut room.activations)).map_err(unfit)?;
        Ok([what, readings])
    }

    /// What a picture that is said to be of `subject` shows.
    ///
    /// # Errors
    /// Where its weights give no numbers.
    pub fn look(&self, picture: &Picture, subject: &Subject) -> Result<Look, ModelError> {
        self.look_with(picture, subject, Defences::ALL)
    }

    /// The same with these defences.
    ///
    /// # Errors
    /// Where its weights give no numbers.
    pub fn look_with(
        &self,
        picture: &Picture,
        subject: &Subject,
        defences: Defences,
    ) -> Result<Look, ModelError> {
        catch_unwind(AssertUnwindSafe(|| self.looked(picture, subject, defences)))
            .unwrap_or_else(|_| Err(malformed("its weights break the engine")))
    }

    fn looked(
        &self,
        picture: &Picture,
        subject: &Subject,
        defences: Defences,
    ) -> Result<Look, ModelError> {
        let (at, from) = place_of(subject).ok_or_else(|| malformed("no such subject"))?;
        if defences.what && !picture.shows_anything() {
            return Ok(Look::NotThis);
        }
        let views = picture.views();
        let taken = if defences.views { 4 } else { 1 };
        // The least that any view says of each.
        let mut least_of = vec![1f32; subject.readings.len()];
        let (mut least, mut first) = (1f32, None);
        let mut alike = true;
        for view in views.iter().take(taken) {
            let [what, readings] = self.logits(view)?;
            let what = softmax(&what, self.thresholds.what_temperature);
            least = least.min(what.get(at).copied().unwrap_or_default());
            let own = readings.get(from..from + least_of.len());
            let own = own.unwrap_or_default();
            let own = softmax(own, self.thresholds.reading_temperature);
            let best = own.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let best = best.map(|(at, _)| at);
            alike &= *first.get_or_insert(best) == best;
            let both = least_of.iter_mut().zip(&own);
            both.for_each(|(least, p)| *least = least.min(*p));
        }
        if defences.what && least < self.thresholds.is_above {
            return Ok(Look::NotThis);
        }
        let best = least_of
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1));
        let best = best.and_then(|(at, sum)| Some((*subject.readings.get(at)?, *sum)));
        Ok(match best {
            Some((reading, p)) if alike && p >= self.thresholds.sure_above => {
                Look::Reads(reading, p)
            }
            _ => Look::Unsure,
        })
    }

    /// Looks at every golden picture on this machine; all must come out as published. Returns how many
    /// there are.
    ///
    /// # Errors
    /// The first that does not.
    pub fn self_test(&self) -> Result<usize, ModelError> {
        for (i, golden) in self.golden.iter().enumerate() {
            let wrong = |reason: &str| ModelError::Golden {
                case: i + 1,
                reason: reason.to_owned(),
            };
            let small = bytes_of(&golden.pixels).ok_or_else(|| wrong("its pixels are none"))?;
            let picture = Picture::golden(&small).ok_or_else(|| wrong("it has another size"))?;
            let [what, _] = self.logits(&picture)?;
            let what = softmax(&what, self.thresholds.what_temperature);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= GOLDEN_TOLERANCE;
            if what.len() != golden.what.len() || !what.iter().zip(&golden.what).all(near) {
                return Err(wrong("its probabilities are not the published ones"));
            }
        }
        Ok(self.golden.len())
    }

    /// A golden picture of one that is smaller, as it comes out here.
    ///
    /// # Errors
    /// Pixels of another number.
    pub fn golden_of(&self, small: &[u8]) -> Result<GoldenPicture, ModelError> {
        let picture = Picture::golden(small).ok_or_else(|| malformed("of another size"))?;
        let [what, _] = self.logits(&picture)?;
        Ok(GoldenPicture {
            pixels: small.iter().map(|byte| format!("{byte:02x}")).collect(),
            what: softmax(&what, self.thresholds.what_temperature),
        })
    }
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hexadecimal.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    match rest.is_empty() {
        true => pairs.iter().map(byte).collect(),
        false => None,
    }
}

/// Whether a file says that it is a reader of pictures, whatever else is in it.
pub fn is_picture_reader(file: &mut (impl Read + Seek)) -> bool {
    file::says(file, ARCHITECTURE)
}

#[cfg(test)]
mod tests;
