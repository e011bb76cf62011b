//! A canvas on which soft shapes are painted, and the camera that takes a picture of it.

use rand::{Rng, RngExt};

use inference::vision::{Picture, SIDE};

use super::Taken;

/// Red, green, blue, 0 to 255.
pub(super) type Colour = [f32; 3];

/// One colour on its way to another.
pub(super) fn mixed(a: Colour, b: Colour, share: f32) -> Colour {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)
}

/// A soft shape in the canvas's own measure: -1 to 1 in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub at: [f32; 2],
    /// Half of its width and height.
    pub half: [f32; 2],
    /// By how much it is turned, in radians.
    pub turn: f32,
    pub colour: Colour,
    /// How much of what is below it covers.
    pub cover: f32,
    /// Over which distance its edge fades.
    pub soft: f32,
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Oval,
    Rectangle,
    /// An oval's edge, so thick.
    Ring(f32),
}

impl Stroke {
    pub(super) fn oval(at: [f32; 2], half: [f32; 2], colour: Colour) -> Self {
        Self {
            at,
            half,
            turn: 0.0,
            colour,
            cover: 1.0,
            soft: 0.02,
            form: Form::Oval,
        }
    }

    pub(super) fn rectangle(at: [f32; 2], half: [f32; 2], colour: Colour) -> Self {
        Self {
            form: Form::Rectangle,
            ..Self::oval(at, half, colour)
        }
    }

    pub(super) fn soft(self, soft: f32) -> Self {
        Self { soft, ..self }
    }

    pub(super) fn cover(self, cover: f32) -> Self {
        Self { cover, ..self }
    }

    pub(super) fn turned(self, turn: f32) -> Self {
        Self { turn, ..self }
    }

    pub(super) fn ring(self, thick: f32) -> Self {
        Self {
            form: Form::Ring(thick),
            ..self
        }
    }
}

/// What is painted on: its pixels, and where the camera stands.
pub(super) struct Canvas {
    pixels: Vec<Colour>,
    /// From pixels to the canvas's measure: turn, scale, shift.
    turn: f32,
    scale: f32,
    shift: [f32; 2],
    mirrored: bool,
}

impl Canvas {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let quarter = rng.random_range(0..4) as f32 * std::f32::consts::FRAC_PI_2;
        Self {
            pixels: vec![[128.0; 3]; SIDE * SIDE],
            turn: quarter + rng.random_range(-0.35..0.35),
            scale: rng.random_range(0.85..1.2),
            shift: [rng.random_range(-0.12..0.12), rng.random_range(-0.12..0.12)],
            mirrored: rng.random_bool(0.5),
        }
    }

    pub(super) fn fill(&mut self, colour: Colour) {
        self.pixels.fill(colour);
    }

    /// Where a pixel lies in the canvas's measure.
    fn place(&self, at: usize) -> [f32; 2] {
        let of = |pixel: usize| (pixel as f32 + 0.5) / (SIDE as f32 / 2.0) - 1.0;
        let (x, y) = (of(at % SIDE), of(at / SIDE));
        let x = if self.mirrored { -x } else { x };
        let (sin, cos) = self.turn.sin_cos();
        [
            (x * cos + y * sin) * self.scale + self.shift[0],
            (y * cos - x * sin) * self.scale + self.shift[1],
        ]
    }

    pub(super) fn paint(&mut self, stroke: Stroke) {
        let (sin, cos) = stroke.turn.sin_cos();
        let reach = stroke.half[0].hypot(stroke.half[1]) + stroke.soft;
        for at in 0..self.pixels.len() {
            let [x, y] = self.place(at);
            let (dx, dy) = (x - stroke.at[0], y - stroke.at[1]);
            if dx.abs() > reach || dy.abs() > reach {
                continue;
            }
            let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let [a, b] = stroke.half;
            // How far outside, about.
            let outside = match stroke.form {
                Form::Rectangle => (u.abs() - a).max(v.abs() - b),
                Form::Oval => ((u / a).hypot(v / b) - 1.0) * a.min(b),
                Form::Ring(thick) => (((u / a).hypot(v / b) - 1.0) * a.min(b)).abs() - thick / 2.0,
            };
            let share = (0.5 - outside / stroke.soft.max(1e-3)).clamp(0.0, 1.0) * stroke.cover;
            if share > 0.0
                && let Some(pixel) = self.pixels.get_mut(at)
            {
                *pixel = mixed(*pixel, stroke.colour, share);
            }
        }
    }

    /// Blotches that everything has.
    pub(super) fn texture(&mut self, strength: f32, rng: &mut impl Rng) {
        for _ in 0..14 {
            let at = [rng.random_range(-1.3..1.3), rng.random_range(-1.3..1.3)];
            let half = [rng.random_range(0.1..0.5), rng.random_range(0.1..0.5)];
            let dark = if rng.random_bool(0.5) { 0.0 } else { 255.0 };
            let cover = rng.random_range(0.0..strength);
            let blotch = Stroke::oval(at, half, [dark; 3]).soft(0.3).cover(cover);
            self.paint(blotch.turned(rng.random_range(0.0..3.1)));
        }
    }

    /// Puts parts of the picture in other places.
    pub(super) fn shuffled(&mut self, rng: &mut impl Rng) {
        let parts = 4;
        let part = SIDE / parts;
        let before = self.pixels.clone();
        let mut order: Vec<usize> = (0..parts * parts).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        for (to, from) in order.into_iter().enumerate() {
            for y in 0..part {
                for x in 0..part {
                    let of = |p: usize| (p / parts * part + y) * SIDE + p % parts * part + x;
                    if let (Some(pixel), Some(other)) =
                        (self.pixels.get_mut(of(to)), before.get(of(from)))
                    {
                        *pixel = *other;
                    }
                }
            }
        }
    }

    /// Noise instead of a picture.
    pub(super) fn noise(&mut self, rng: &mut impl Rng) {
        for pixel in &mut self.pixels {
            *pixel = std::array::from_fn(|_| rng.random_range(0.0..255.0));
        }
    }

    /// As a camera takes it.
    pub(super) fn taken(mut self, how: Taken, rng: &mut impl Rng) -> Picture {
        for _ in 0..how.blur {
            self.blur();
        }
        let warm = rng.random_range(-0.12..0.12f32);
        let towards = rng.random_range(0.0..std::f32::consts::TAU);
        let (sin, cos) = towards.sin_cos();
        let fall = rng.random_range(0.0..0.35f32);
        let grain = rng.random_range(1.0..7.0f32);
        let mut bytes = Vec::with_capacity(SIDE * SIDE * 3);
        for (at, pixel) in self.pixels.iter().enumerate() {
            let of = |pixel: usize| pixel as f32 / (SIDE as f32 / 2.0) - 1.0;
            let along = of(at % SIDE) * cos + of(at / SIDE) * sin;
            let light = how.light * (1.0 + fall * along);
            for (colour, x) in pixel.iter().enumerate() {
                let warmth = 1.0 + warm * (1.0 - colour as f32);
                let noise = rng.random_range(-grain..grain) + rng.random_range(-grain..grain);
                bytes.push((x * light * warmth + noise).clamp(0.0, 255.0) as u8);
            }
        }
        // The canvas has as many pixels as a picture.
        Picture::new(bytes).unwrap_or_else(Picture::black)
    }

    fn blur(&mut self) {
        let before = self.pixels.clone();
        for (at, pixel) in self.pixels.iter_mut().enumerate() {
            let (x, y) = (at % SIDE, at / SIDE);
            let (mut sum, mut count) = ([0f32; 3], 0f32);
            for ny in y.saturating_sub(1)..(y + 2).min(SIDE) {
                for nx in x.saturating_sub(1)..(x + 2).min(SIDE) {
                    let other = before.get(ny * SIDE + nx).copied().unwrap_or_default();
                    sum = std::array::from_fn(|i| sum[i] + other[i]);
                    count += 1.0;
                }
            }
            *pixel = sum.map(|sum| sum / count);
        }
    }
}
