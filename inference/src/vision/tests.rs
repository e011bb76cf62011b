//! Pictures as a network takes them, and the rooms between.

use super::*;

/// A picture in which every pixel is another.
fn picture() -> Picture {
    let bytes = (0..SIDE * SIDE).flat_map(|at| {
        let (x, y) = (at % SIDE, at / SIDE);
        [(x * 2) as u8, (y * 2) as u8, ((x ^ y) & 0xff) as u8]
    });
    Picture::new(bytes.collect()).unwrap()
}

fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    let at = (y * SIDE + x) * 3;
    picture.bytes()[at..at + 3].try_into().unwrap()
}

#[test]
fn a_picture_has_so_many_bytes_and_no_other_number() {
    for bytes in [0, 3, SIDE * SIDE * 3 - 1, SIDE * SIDE * 3 + 1] {
        assert_eq!(Picture::new(vec![0; bytes]), None);
    }
    assert!(Picture::new(vec![0; SIDE * SIDE * 3]) == Some(Picture::black()));
    // No pixel stands in a log.
    assert_eq!(format!("{:?}", picture()), "Picture");
}

#[test]
fn views_are_the_same_picture_turned_mirrored_and_softened() {
    let picture = picture();
    let [same, turned, mirrored, softened] = picture.views();
    assert!(same == picture);
    let last = SIDE - 1;
    for (x, y) in [(0, 0), (5, 90), (last, 3), (last, last)] {
        assert_eq!(pixel(&turned, y, last - x), pixel(&picture, x, y));
        assert_eq!(pixel(&mirrored, last - x, y), pixel(&picture, x, y));
    }
    // Four quarter turns, or two mirrors, bring it back.
    let mut again = picture.clone();
    for _ in 0..4 {
        again = again.views()[1].clone();
    }
    assert!(again == picture && mirrored.views()[2] == picture);
    // The mean of nine; at a corner, of four.
    assert_eq!(pixel(&softened, 10, 20)[..2], [20, 40]);
    assert_eq!(pixel(&softened, 0, 0)[..2], [1, 1]);
    let flat = Picture::new([9, 99, 199].repeat(SIDE * SIDE)).unwrap();
    assert!(flat.views().iter().all(|view| *view == flat));
}

#[test]
fn windows_hold_each_pixel_four_times_those_at_an_edge_less_often_and_zeros_beyond_it() {
    let side = 6;
    let x: Vec<f32> = (1..=side * side).map(|n| n as f32).collect();
    let mut windows = Vec::new();
    unfold(&x, side, 1, &mut windows);
    assert_eq!(windows.len(), 9 * window_numbers(1));
    // The first window begins one pixel before the picture in both directions.
    assert_eq!(windows[..4], [0.0; 4]);
    assert_eq!(windows[4..8], [0.0, 1.0, 2.0, 3.0]);
    for (at, pixel) in x.iter().enumerate() {
        // Two windows in each direction, of the outermost row or column one.
        let of = |place: usize| {
            if place == 0 || place == side - 1 {
                1
            } else {
                2
            }
        };
        let often = of(at % side) * of(at / side);
        assert_eq!(
            windows.iter().filter(|w| *w == pixel).count(),
            often,
            "{pixel}"
        );
    }
}

/// ⟨unfold x, y⟩ = ⟨x, fold y⟩: what training relies on.
#[test]
fn folding_is_the_way_back_of_unfolding() {
    for (side, channels) in [(4, 1), (8, 3), (14, 4)] {
        let mut state = 7u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / 8_388_608.0 - 1.0
        };
        let x: Vec<f32> = (0..side * side * channels).map(|_| draw() as f32).collect();
        let mut windows = Vec::new();
        unfold(&x, side, channels, &mut windows);
        let y: Vec<f32> = windows.iter().map(|_| draw() as f32).collect();
        let mut back = vec![0f32; x.len()];
        fold(&y, side, channels, &mut back);
        let product = |a: &[f32], b: &[f32]| -> f64 {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let far = product(&windows, &y) - product(&x, &back);
        assert!(far.abs() < 1e-3, "{side} {channels}: {far}");
    }
}

#[test]
fn numbers_are_colours_around_zero_and_one_that_says_here_is_a_picture() {
    let numbers = picture().numbers();
    assert_eq!(numbers.len(), SIDE * SIDE * CHANNELS);
    assert!(numbers.chunks(CHANNELS).all(|pixel| pixel[3] == 1.0));
    assert_eq!(numbers[..4], [-2.0, -2.0, -2.0, 1.0]);
    assert!(numbers.iter().all(|x| (-2.0..=127.0 / 64.0).contains(x)));
}

#[test]
fn golden_pixels_stand_for_sixteen_each_and_their_digits_are_read_or_refused() {
    let small: Vec<u8> = (0..GOLDEN_SIDE * GOLDEN_SIDE * 3)
        .map(|n| n as u8)
        .collect();
    let golden = Picture::golden(&small).unwrap();
    for (x, y) in [(0, 0), (17, 40), (SIDE - 1, SIDE - 1)] {
        let at = (y / 4 * GOLDEN_SIDE + x / 4) * 3;
        assert_eq!(pixel(&golden, x, y), small[at..at + 3]);
    }
    assert_eq!(Picture::golden(&small[1..]), None);
    assert_eq!(bytes_of("00ff7a"), Some(vec![0, 255, 0x7a]));
    for wrong in ["0", "0g", "é0", "  "] {
        assert_eq!(bytes_of(wrong), None, "{wrong:?}");
    }
}

#[test]
fn every_subject_has_a_place_of_its_own_and_readings_that_can_be_named() {
    use crate::pictures::{reading_named, subject_named};
    let mut from = 0;
    for (n, subject) in SUBJECTS.iter().enumerate() {
        assert_eq!(place_of(subject), Some((n, from)), "{}", subject.name);
        assert_eq!(subject_named(subject.name), Some(subject));
        for reading in subject.readings {
            assert_eq!(
                reading_named(subject.name, reading),
                Some((subject.name, *reading))
            );
        }
        assert_eq!(reading_named(subject.name, "purple"), None);
        from += subject.readings.len();
    }
    assert_eq!((from, subject_named("hand")), (readings(), None));
    let other = Subject {
        name: "hand",
        readings: &["open"],
    };
    assert_eq!(place_of(&other), None);
}

#[test]
fn shapes_that_a_phone_would_choke_on_are_refused() {
    let sound = Shape {
        width: 128,
        heads: 4,
        inner: 512,
        layers: 2,
    };
    assert!(sound.is_sound());
    for wrong in [
        Shape { width: 0, ..sound },
        Shape {
            width: 130,
            ..sound
        },
        Shape {
            width: 1024,
            ..sound
        },
        Shape { heads: 0, ..sound },
        Shape { heads: 3, ..sound },
        Shape { inner: 33, ..sound },
        Shape {
            inner: 1 << 20,
            ..sound
        },
        Shape { layers: 0, ..sound },
        Shape {
            layers: 99,
            ..sound
        },
    ] {
        assert!(!wrong.is_sound(), "{wrong:?}");
    }
}
