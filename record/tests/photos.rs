//! The middle of a picture, as a reader of pictures looks at it.

use record::photo::{PhotoError, look, middle};

const GOOD: &[u8] = include_bytes!("pictures/good.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("pictures/good-progressive.jpg");
const WEBP: &[u8] = include_bytes!("pictures/good.webp");
const DARK: &[u8] = include_bytes!("pictures/dark.jpg");

/// A PNG of these pixels.
fn png(width: u32, height: u32, kind: png::ColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(kind);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(bytes).unwrap();
    drop(writer);
    file
}

#[test]
fn the_middle_square_is_taken_and_what_lies_beside_it_is_not() {
    // Six across and two down: blue, then four columns of red and green, then blue.
    let row: Vec<u8> = [
        [0, 0, 255],
        [0, 0, 255],
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [0, 0, 255],
    ]
    .concat();
    let wide = png(6, 2, png::ColorType::Rgb, &row.repeat(2));
    assert_eq!(middle(&wide, 2).unwrap(), [255, 0, 0, 0, 255, 0].repeat(2));
    assert_eq!(middle(&wide, 1).unwrap(), [127, 127, 0]);
    // A picture that is smaller than what is wanted is only spread.
    assert_eq!(
        middle(&wide, 4).unwrap()[..12],
        [255, 0, 0, 255, 0, 0, 0, 255, 0, 0, 255, 0]
    );
    let tall: Vec<u8> = [[9u8; 3], [10; 3], [30; 3], [99; 3]].concat();
    let tall = png(1, 4, png::ColorType::Rgb, &tall);
    assert_eq!(middle(&tall, 1).unwrap(), [10; 3]);
}

#[test]
fn grey_pictures_and_those_that_let_light_through_are_colours_too() {
    let grey = png(2, 2, png::ColorType::Grayscale, &[10, 20, 30, 40]);
    let expected = [[10u8; 3], [20; 3], [30; 3], [40; 3]].concat();
    assert_eq!(middle(&grey, 2).unwrap(), expected);
    let with_alpha = png(1, 1, png::ColorType::Rgba, &[1, 2, 3, 0]);
    assert_eq!(middle(&with_alpha, 1).unwrap(), [1, 2, 3]);
    let grey_alpha = png(1, 1, png::ColorType::GrayscaleAlpha, &[7, 0]);
    assert_eq!(middle(&grey_alpha, 1).unwrap(), [7, 7, 7]);
}

#[test]
fn the_same_scene_is_the_same_whatever_file_it_came_in() {
    let [a, b, c] = [GOOD, PROGRESSIVE, WEBP].map(|file| middle(file, 112).unwrap());
    let far = |a: &[u8], b: &[u8]| {
        let sum: u64 = a
            .iter()
            .zip(b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        sum as f64 / a.len() as f64
    };
    assert!(
        far(&a, &b) < 6.0 && far(&a, &c) < 12.0,
        "{} {}",
        far(&a, &b),
        far(&a, &c)
    );
    let mean = |x: &[u8]| x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    assert!(mean(&middle(DARK, 112).unwrap()) < mean(&a));
}

#[test]
fn what_is_no_picture_is_cut_short_or_too_large_is_refused_as_when_it_is_looked_at() {
    for file in [&b"words"[..], &[], &GOOD[..3], &WEBP[..40]] {
        assert_eq!(middle(file, 112).unwrap_err(), look(file).unwrap_err());
    }
    let mut heic = vec![0, 0, 0, 24];
    heic.extend(b"ftypheic");
    assert_eq!(middle(&heic, 112), Err(PhotoError::Heic));
    // A head that promises more pixels than are looked at.
    let mut huge = png(1, 1, png::ColorType::Rgb, &[1, 2, 3]);
    huge[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    assert_eq!(middle(&huge, 112), Err(PhotoError::Damaged));
}

#[test]
fn any_cut_and_any_byte_turned_over_gives_a_picture_of_that_size_or_a_reason() {
    for file in [GOOD, PROGRESSIVE, WEBP] {
        let step = (file.len() / 25).max(1);
        for at in (0..file.len()).step_by(step) {
            let mut spoilt = file.to_vec();
            spoilt[at] ^= 0xff;
            for bytes in [&file[..at], &spoilt] {
                if let Ok(small) = middle(bytes, 112) {
                    assert_eq!(small.len(), 112 * 112 * 3);
                }
            }
        }
    }
}
