//! Whether a photo shows anything: said before it is kept, while the patient is still there.
//!
//! Looked at is its brightness alone, on a small copy. Colours prove nothing about light, and no
//! picture is refused: the only one there is may be a dark one.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{PhotoError, kind_of};

/// What to do about a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Too dark.
    TooDark,
    /// Too bright, or against the light.
    TooBright,
    /// Nothing in it is sharp.
    Blurred,
    /// Too few pixels to see anything.
    TooSmall,
}

/// A photo as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// Pixels across.
    #[serde(rename = "pixels_across")]
    pub width: usize,
    /// Pixels down. (A height is a patient's.)
    #[serde(rename = "pixels_down")]
    pub height: usize,
    /// What to do about it; nothing: it will do.
    pub advice: Vec<Advice>,
}

/// Pixels that are looked at, which bounds the memory that it takes: one to four bytes each, and of a
/// progressive JPEG its coefficients.
const PIXELS_MAX: usize = 24_000_000;
/// The longer side of the small copy.
const SIDE: usize = 512;
/// The shorter side of a picture that shows something.
const SIDE_MIN: usize = 320;
/// Mean brightness below which a picture is dark, of 255.
const DARK: f64 = 45.0;
/// Share of pixels that are white, beyond which it is too bright.
const WHITE: f64 = 0.4;
/// Steps between neighbours (their Laplacian's standard deviation) in the sharpest part of a picture:
/// below, nothing in it is sharp (Pech-Pacheco et al. 2000).
const SHARP: f64 = 5.0;
/// Parts of a side, of which the sharpest counts: what is behind the patient may be blurred.
const PARTS: usize = 4;

/// Brightness, row by row.
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Looks at a photo.
///
/// # Errors
/// What is no picture, is damaged, or has more pixels than are looked at.
pub fn look(picture: &[u8]) -> Result<Quality, PhotoError> {
    let grey = grey(&decoded(picture, Wanted::Brightness)?);
    let small = shrink(&grey);
    let count = small.pixels.len().max(1) as f64;
    let mean = small.pixels.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let white = small.pixels.iter().filter(|x| **x >= 250).count() as f64 / count;
    let blurred = sharpest(&small) < SHARP;
    let found = [
        (Advice::TooSmall, grey.width.min(grey.height) < SIDE_MIN),
        (Advice::TooDark, mean < DARK),
        (Advice::TooBright, white > WHITE),
        // In the dark nothing is sharp: light comes first.
        (Advice::Blurred, blurred && mean >= DARK),
    ];
    Ok(Quality {
        width: grey.width,
        height: grey.height,
        advice: found
            .iter()
            .filter(|(_, so)| *so)
            .map(|(a, _)| *a)
            .collect(),
    })
}

/// The middle of a picture, as large a square as fits in it, at `side` × `side` pixels: red, green, blue,
/// row by row, each the mean of those that it stands for.
///
/// # Errors
/// As [`look`].
pub fn middle(picture: &[u8], side: usize) -> Result<Vec<u8>, PhotoError> {
    let colours = decoded(picture, Wanted::Colours)?;
    let (width, height) = (colours.width, colours.height);
    let square = width.min(height);
    let (left, top) = ((width - square) / 2, (height - square) / 2);
    let mut small = Vec::with_capacity(side * side * 3);
    // Pixels of one of the small ones: at least one.
    let of = |at: usize| {
        let (from, to) = (at * square / side.max(1), (at + 1) * square / side.max(1));
        from..to.max(from + 1)
    };
    for y in 0..side {
        for x in 0..side {
            let (mut sums, mut count) = ([0u64; 3], 0u64);
            for row in of(y) {
                let from = (top + row) * width + left + of(x).start;
                let pixels = colours.bytes.get(from * colours.channels..);
                let pixels = pixels.unwrap_or_default().chunks_exact(colours.channels);
                for pixel in pixels.take(of(x).len()) {
                    let pixel = match pixel {
                        [r, g, b, ..] => [*r, *g, *b],
                        [grey, ..] => [*grey; 3],
                        [] => [0; 3],
                    };
                    sums.iter_mut()
                        .zip(pixel)
                        .for_each(|(sum, x)| *sum += u64::from(x));
                    count += 1;
                }
            }
            small.extend(sums.map(|sum| (sum / count.max(1)) as u8));
        }
    }
    Ok(small)
}

/// What is wanted of a picture's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Brightness,
    Colours,
}

/// A decoded picture: so many bytes a pixel, row by row; of two or four channels the last is no colour.
struct Colours {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

fn decoded(picture: &[u8], wanted: Wanted) -> Result<Colours, PhotoError> {
    let kind = kind_of(picture)?;
    let read = || match kind {
        "jpg" => jpeg(picture, wanted),
        "png" => png(picture),
        _ => webp(picture),
    };
    let read = catch_unwind(AssertUnwindSafe(read)).ok().flatten();
    let whole = |c: &Colours| c.channels > 0 && c.bytes.len() == c.width * c.height * c.channels;
    read.filter(whole).ok_or(PhotoError::Damaged)
}

fn fits(width: usize, height: usize) -> bool {
    width > 0
        && height > 0
        && width
            .checked_mul(height)
            .is_some_and(|all| all <= PIXELS_MAX)
}

fn jpeg(picture: &[u8], wanted: Wanted) -> Option<Colours> {
    let (space, channels) = match wanted {
        Wanted::Brightness => (ColorSpace::Luma, 1),
        Wanted::Colours => (ColorSpace::RGB, 3),
    };
    let options = DecoderOptions::default().jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(picture), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions().filter(|(w, h)| fits(*w, *h))?;
    let bytes = decoder.decode().ok()?;
    Some(Colours {
        width,
        height,
        channels,
        bytes,
    })
}

fn png(picture: &[u8]) -> Option<Colours> {
    let limits = png::Limits {
        bytes: PIXELS_MAX * 4,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(picture), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let size = reader
        .output_buffer_size()
        .filter(|_| fits(width, height))?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).ok()?;
    bytes.truncate(frame.buffer_size());
    Some(Colours {
        width,
        height,
        channels: frame.color_type.samples(),
        bytes,
    })
}

fn webp(picture: &[u8]) -> Option<Colours> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(picture)).ok()?;
    decoder.set_memory_limit(PIXELS_MAX * 4);
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let size = decoder
        .output_buffer_size()
        .filter(|_| fits(width, height))?;
    let mut bytes = vec![0; size];
    decoder.read_image(&mut bytes).ok()?;
    Some(Colours {
        width,
        height,
        channels: if decoder.has_alpha() { 4 } else { 3 },
        bytes,
    })
}

/// Brightness of colours (ITU-R BT.601, in 256ths).
fn grey(colours: &Colours) -> Grey {
    let one = |pixel: &[u8]| match pixel {
        [r, g, b, ..] => {
            let sum = 77 * u32::from(*r) + 150 * u32::from(*g) + 29 * u32::from(*b);
            (sum >> 8) as u8
        }
        [grey, ..] => *grey,
        [] => 0,
    };
    Grey {
        width: colours.width,
        height: colours.height,
        pixels: (colours.bytes.chunks_exact(colours.channels))
            .map(one)
            .collect(),
    }
}

/// A small copy: each pixel is the mean of those that it stands for.
fn shrink(grey: &Grey) -> Grey {
    let times = grey.width.max(grey.height).div_ceil(SIDE).max(1);
    let (width, height) = (grey.width.div_ceil(times), grey.height.div_ceil(times));
    let mut sums = vec![(0u32, 0u32); width * height];
    for (y, row) in grey.pixels.chunks_exact(grey.width.max(1)).enumerate() {
        for (x, pixel) in row.iter().enumerate() {
            if let Some((sum, count)) = sums.get_mut(y / times * width + x / times) {
                *sum += u32::from(*pixel);
                *count += 1;
            }
        }
    }
    let mean = |(sum, count): (u32, u32)| (sum / count.max(1)) as u8;
    Grey {
        width,
        height,
        pixels: sums.into_iter().map(mean).collect(),
    }
}

/// The standard deviation of the Laplacian in the sharpest part.
fn sharpest(grey: &Grey) -> f64 {
    let at = |x: usize, y: usize| {
        let pixel = grey.pixels.get(y * grey.width + x);
        f64::from(pixel.copied().unwrap_or_default())
    };
    let mut parts = [[(0f64, 0f64, 0f64); PARTS]; PARTS];
    for y in 1..grey.height.saturating_sub(1) {
        for x in 1..grey.width.saturating_sub(1) {
            let around = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1);
            let step = around - 4.0 * at(x, y);
            let part = parts.get_mut(y * PARTS / grey.height);
            if let Some(part) = part.and_then(|row| row.get_mut(x * PARTS / grey.width)) {
                *part = (part.0 + step, part.1 + step * step, part.2 + 1.0);
            }
        }
    }
    let spread = |(sum, squares, count): &(f64, f64, f64)| {
        let count = count.max(1.0);
        (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
    };
    parts.iter().flatten().map(spread).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of something: skin with a rash, lit from the side.
    fn scene(width: usize, height: usize) -> Grey {
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let light = 90.0 + 60.0 * x as f64 / width as f64;
                let (u, v) = (x % 64, y % 64);
                let spot = if (u as f64 - 32.0).hypot(v as f64 - 32.0) < 12.0 {
                    -40.0
                } else {
                    0.0
                };
                pixels.push((light + spot) as u8);
            }
        }
        Grey {
            width,
            height,
            pixels,
        }
    }

    fn with(grey: &Grey, of: impl Fn(f64) -> f64) -> Grey {
        let pixels = grey
            .pixels
            .iter()
            .map(|x| of(f64::from(*x)).clamp(0.0, 255.0) as u8);
        Grey {
            pixels: pixels.collect(),
            ..*grey
        }
    }

    /// Every pixel is the mean of a square around it.
    fn blurred(grey: &Grey, by: usize) -> Grey {
        let mut pixels = Vec::new();
        for y in 0..grey.height {
            for x in 0..grey.width {
                let (mut sum, mut count) = (0usize, 0usize);
                for v in y.saturating_sub(by)..(y + by + 1).min(grey.height) {
                    for u in x.saturating_sub(by)..(x + by + 1).min(grey.width) {
                        sum += usize::from(grey.pixels[v * grey.width + u]);
                        count += 1;
                    }
                }
                pixels.push((sum / count) as u8);
            }
        }
        Grey { pixels, ..*grey }
    }

    fn as_png(grey: &Grey) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, grey.width as u32, grey.height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&grey.pixels).unwrap();
        writer.finish().unwrap();
        file
    }

    fn as_webp(grey: &Grey) -> Vec<u8> {
        let mut file = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut file);
        let (width, height) = (grey.width as u32, grey.height as u32);
        encoder
            .encode(&grey.pixels, width, height, image_webp::ColorType::L8)
            .unwrap();
        file
    }

    fn advice(grey: &Grey) -> Vec<Advice> {
        let looked = look(&as_png(grey)).unwrap();
        assert_eq!((looked.width, looked.height), (grey.width, grey.height));
        assert_eq!(look(&as_webp(grey)).unwrap(), looked, "whatever the file");
        looked.advice
    }

    #[test]
    fn what_is_wrong_with_a_photo_is_said_and_a_good_one_is_left_alone() {
        let good = scene(640, 480);
        assert_eq!(advice(&good), []);
        assert_eq!(advice(&with(&good, |x| x * 0.2)), [Advice::TooDark]);
        assert_eq!(advice(&with(&good, |x| x * 2.6)), [Advice::TooBright]);
        assert_eq!(advice(&blurred(&good, 14)), [Advice::Blurred]);
        assert_eq!(advice(&scene(200, 200)), [Advice::TooSmall]);
        // Dark skin in good light is no dark picture.
        assert_eq!(advice(&with(&good, |x| x * 0.5)), []);
        let large = scene(3000, 2000);
        assert_eq!(advice(&large), []);
    }

    /// Pictures as cameras write them, made by Pillow of the same scene in colour.
    #[test]
    fn pictures_of_cameras_are_looked_at_too() {
        let good = look(include_bytes!("../../tests/pictures/good.jpg")).unwrap();
        assert_eq!((good.width, good.height, good.advice.len()), (640, 480, 0));
        let of = |picture: &[u8]| look(picture).unwrap().advice;
        assert_eq!(
            of(include_bytes!("../../tests/pictures/good-progressive.jpg")),
            []
        );
        assert_eq!(of(include_bytes!("../../tests/pictures/good.webp")), []);
        assert_eq!(
            of(include_bytes!("../../tests/pictures/dark.jpg")),
            [Advice::TooDark]
        );
        assert_eq!(
            of(include_bytes!("../../tests/pictures/blurred.jpg")),
            [Advice::Blurred]
        );
    }

    #[test]
    fn damaged_pictures_and_bombs_are_refused_and_never_panic() {
        let file = as_png(&scene(400, 400));
        for length in (0..file.len()).step_by(97) {
            let _ = look(&file[..length]);
        }
        for at in (0..file.len()).step_by(53) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x41;
            let _ = look(&damaged);
        }
        let mut bomb = file.clone();
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]); // 65,536 by 65,536
        assert_eq!(look(&bomb), Err(PhotoError::Damaged));
        assert_eq!(look(b"\xff\xd8\xff\xe0"), Err(PhotoError::Damaged));
        assert_eq!(look(b"GIF89a"), Err(PhotoError::NotAPicture));
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        assert_eq!(look(heic), Err(PhotoError::Heic));
        assert_eq!(super::super::without_metadata(heic), Err(PhotoError::Heic));
    }
}
