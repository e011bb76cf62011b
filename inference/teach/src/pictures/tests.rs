//! Drawings show what they are said to show: each reading has what tells it from the others.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

/// Clear pictures of one reading.
fn clear(subject: &str, reading: usize, count: usize) -> Vec<Drawn> {
    let at = SUBJECTS.iter().position(|s| s.name == subject);
    let all = (0..).map(|n| draw(at, &mut ChaCha8Rng::seed_from_u64(n)));
    let so = |d: &Drawn| d.reading == reading && d.taken.blur == 0 && d.taken.light > 0.8;
    all.filter(so).take(count).collect()
}

/// The share of pixels of which this is so, as a mean.
fn share(drawn: &[Drawn], so: impl Fn([f32; 3]) -> bool) -> f32 {
    let of = |d: &Drawn| {
        let pixels = d.picture.bytes().as_chunks::<3>().0;
        let count = pixels.iter().filter(|p| so(p.map(f32::from))).count();
        count as f32 / pixels.len() as f32
    };
    drawn.iter().map(of).sum::<f32>() / drawn.len() as f32
}

#[test]
fn every_subject_and_nothing_is_drawn_alike_from_the_same_randomness() {
    for subject in (0..SUBJECTS.len()).map(Some).chain([None]) {
        let of = |seed| draw(subject, &mut ChaCha8Rng::seed_from_u64(seed)).picture;
        assert!(of(1) == of(1) && of(1) != of(2), "{subject:?}");
    }
}

#[test]
fn a_positive_test_has_more_line_than_a_negative_one() {
    // Of the line's colour: red with more blue than green.
    let line = |[r, g, b]: [f32; 3]| r > 1.5 * g && b > 1.1 * g && r > 60.0;
    let of = |reading| share(&clear("rapid_test", reading, 40), line);
    assert!(of(1) > 1.2 * of(0), "{} {}", of(1), of(0));
}

#[test]
fn a_red_tape_has_more_red_and_a_green_one_more_green() {
    let red = |[r, g, b]: [f32; 3]| r > 1.9 * g && r > 1.7 * b && r > 90.0;
    let green = |[r, g, b]: [f32; 3]| g > 1.35 * r && g > 1.3 * b && g > 60.0;
    let of = |reading: usize| {
        let drawn = clear("muac_tape", reading, 40);
        (share(&drawn, red), share(&drawn, green))
    };
    let ((red_of_green, green_of_green), (red_of_red, green_of_red)) = (of(0), of(2));
    assert!(red_of_red > red_of_green && green_of_green > green_of_red);
}

#[test]
fn a_slide_with_parasites_has_more_stain_and_pus_is_yellow() {
    let stain = |[r, g, b]: [f32; 3]| b > 1.3 * g && r < 0.95 * b && g < 120.0 && b > 50.0;
    let of = |reading| share(&clear("slide", reading, 40), stain);
    assert!(of(1) > of(0), "{} {}", of(1), of(0));
    let yellow = |[r, g, b]: [f32; 3]| r > 1.35 * b && g > 1.3 * b && r > 110.0;
    let of = |reading| share(&clear("eye", reading, 60), yellow);
    assert!(of(1) > of(0), "{} {}", of(1), of(0));
}

#[test]
fn darker_skin_makes_darker_pictures_and_less_light_darker_ones() {
    let at = SUBJECTS.iter().position(|s| s.name == "skin");
    let drawn: Vec<_> = (0..240u64)
        .map(|n| draw(at, &mut ChaCha8Rng::seed_from_u64(n)))
        .collect();
    let mean = |so: &dyn Fn(&Drawn) -> bool| {
        let of: Vec<_> = drawn.iter().filter(|d| so(d)).collect();
        let sum = |d: &&Drawn| d.picture.bytes().iter().map(|b| f64::from(*b)).sum::<f64>();
        of.iter().map(sum).sum::<f64>() / of.len() as f64
    };
    for tone in 1..TONES.len() {
        assert!(
            mean(&|d| d.tone == tone) < mean(&|d| d.tone == tone - 1),
            "{tone}"
        );
    }
    assert!(mean(&|d| d.taken.light < 0.8) < mean(&|d| d.taken.light > 1.0));
}

#[test]
fn a_small_copy_is_a_fourth_as_wide() {
    let drawn = draw(Some(3), &mut ChaCha8Rng::seed_from_u64(5));
    let small = small(&drawn.picture);
    assert_eq!(small.len(), (SIDE / 4) * (SIDE / 4) * 3);
    assert_eq!(small[..3], drawn.picture.bytes()[(SIDE + 1) * 3..][..3]);
}
