//! Rendered pictures to learn from: rapid tests, slides, MUAC tapes, eyes, mouths and skin, in light and
//! dark, sharp and blurred, on six skin tones; and pictures of nothing.
//!
//! NOT CLINICALLY VALIDATED: drawings of what a textbook says, which prove the path and nothing else.

mod paint;
mod scenes;

use rand::{Rng, RngExt};

use inference::pictures::SUBJECTS;
use inference::vision::{Picture, SIDE};

use paint::Canvas;
pub use scenes::TONES;

/// A drawn picture, and what is so of it.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The picture.
    pub picture: Picture,
    /// Which subject, by its place in [`SUBJECTS`]; `None`: none of them.
    pub subject: Option<usize>,
    /// Which of its readings.
    pub reading: usize,
    /// Of which skin, by its place in [`TONES`].
    pub tone: usize,
    /// How it was taken.
    pub taken: Taken,
}

/// How a picture was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// How bright: 1 as it should be.
    pub light: f32,
    /// Pixels, of 112, over which it is blurred.
    pub blur: usize,
}

/// Draws one picture: of `subject`, or of nothing. The same randomness gives the same picture.
pub fn draw(subject: Option<usize>, rng: &mut impl Rng) -> Drawn {
    let taken = Taken {
        light: rng.random_range(0.5..1.3),
        blur: [0, 0, 0, 1, 1, 2][rng.random_range(0..6usize)],
    };
    let tone = rng.random_range(0..TONES.len());
    let readings = subject.and_then(|at| SUBJECTS.get(at)).map(|s| s.readings);
    let reading = rng.random_range(0..readings.map_or(1, <[_]>::len));
    let mut canvas = Canvas::new(rng);
    match subject.and_then(|at| SUBJECTS.get(at)) {
        Some(subject) => scenes::draw(&mut canvas, (subject.name, reading), tone, rng),
        None => scenes::nothing(&mut canvas, tone, rng),
    }
    Drawn {
        picture: canvas.taken(taken, rng),
        subject,
        reading,
        tone,
        taken,
    }
}

/// The same at a fourth of its size, as golden pictures are kept.
pub fn small(picture: &Picture) -> Vec<u8> {
    let bytes = picture.bytes();
    let places = (0..SIDE * SIDE / 16).map(|at| (at % (SIDE / 4) * 4 + 1, at / (SIDE / 4) * 4 + 1));
    let pixels = places.flat_map(|(x, y)| {
        let at = (y * SIDE + x) * 3;
        bytes.get(at..at + 3).unwrap_or(&[0; 3]).iter().copied()
    });
    pixels.collect()
}

#[cfg(test)]
mod tests;
