//! The network that learns to read pictures, held against slow and simple ones.

use super::*;
use crate::pictures::TONES;

#[test]
fn the_gradient_of_windows_is_what_small_steps_say() {
    let side = 4;
    let numbers: Vec<f32> = (0..side * side * 2)
        .map(|n| (n as f32 * 0.37).sin())
        .collect();
    let weights: Vec<f32> = (0..4 * window_numbers(2))
        .map(|n| (n as f32 * 0.11).cos())
        .collect();
    let weights = Tensor::from_vec(weights, (1, 4, window_numbers(2)), &Device::Cpu).unwrap();
    let sum_of = |numbers: Vec<f32>| {
        let x = Var::from_vec(numbers, (1, side * side, 2), &Device::Cpu).unwrap();
        let windows = x.as_tensor().apply_op1(Unfold { side }).unwrap();
        let sum = ((windows * &weights).unwrap()).sum_all().unwrap();
        (x, sum)
    };
    let (x, sum) = sum_of(numbers.clone());
    let grads = sum.backward().unwrap();
    let g: Vec<f32> = grads
        .get(x.as_tensor())
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    for at in [0, 7, 18, 31] {
        let mut near = numbers.clone();
        near[at] += 0.5;
        let (_, other) = sum_of(near);
        let [a, b] = [&sum, &other].map(|s| s.to_scalar::<f32>().unwrap());
        assert!(
            ((b - a) / 0.5 - g[at]).abs() < 1e-3,
            "{at}: {} {}",
            (b - a) / 0.5,
            g[at]
        );
    }
}

/// What teaches and what runs on a phone are the same network.
#[test]
fn the_phone_s_network_says_what_the_taught_one_does() {
    let tower = learn(Plan::TINY, &mut |_, _| {}).unwrap();
    let reader = PictureReader::load("tiny", &pack(&tower, Plan::TINY, 40).unwrap()).unwrap();
    for n in 0..7 {
        let drawn = nth(9, n);
        let [what, reads] = tower
            .forward(&pixels_of(std::slice::from_ref(&drawn)).unwrap())
            .unwrap();
        let taught = [what, reads].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        let said = reader.logits(&drawn.picture).unwrap();
        for (taught, said) in taught.iter().flatten().zip(said.iter().flatten()) {
            // Weights and activations of eight bits.
            assert!((taught - said).abs() < 0.12, "{n}: {taught} {said}");
        }
    }
}

#[test]
fn a_file_gives_back_the_network_that_it_was_made_of() {
    let tower = learn(Plan::TINY, &mut |_, _| {}).unwrap();
    let again = Tower::of_file(&pack(&tower, Plan::TINY, 40).unwrap()).unwrap();
    assert_eq!(tower.weights.len(), again.weights.len());
    for (name, weight) in &tower.weights {
        let other = again.weights[name].var.as_tensor();
        let far = (weight.var.as_tensor() - other).unwrap().abs().unwrap();
        let far: f32 = far.max_all().unwrap().to_scalar().unwrap();
        assert!(far < 0.01, "{name}: {far}");
    }
    assert!(Tower::of_file(b"GGUF").is_err());
}

#[test]
fn a_foe_changes_no_byte_further_than_it_may_and_makes_the_network_worse() {
    let tower = learn(Plan::TINY, &mut |_, _| {}).unwrap();
    let drawn: Vec<_> = (0..6).map(|n| nth(2, n)).collect();
    let fooled = tower.fool(&drawn, 5, 4).unwrap();
    let loss = |pictures: &[Drawn]| {
        let loss = tower.loss(&pixels_of(pictures).unwrap(), pictures).unwrap();
        loss.to_scalar::<f32>().unwrap()
    };
    let mut worse = drawn.clone();
    for (drawn, picture) in worse.iter_mut().zip(fooled) {
        let pairs = drawn.picture.bytes().iter().zip(picture.bytes());
        assert!(pairs.clone().all(|(a, b)| a.abs_diff(*b) <= 6));
        assert!(pairs.clone().any(|(a, b)| a != b));
        drawn.picture = picture;
    }
    assert!(
        loss(&worse) > loss(&drawn),
        "{} {}",
        loss(&worse),
        loss(&drawn)
    );
}

#[test]
fn pictures_of_all_subjects_readings_and_tones_are_drawn_and_none_of_those_reported_on_is_learned()
{
    let (mut seen, mut tones) = (std::collections::BTreeSet::new(), [0; TONES.len()]);
    for n in 0..900 {
        let drawn = nth(3, n);
        seen.insert((drawn.subject, drawn.reading));
        tones[drawn.tone] += 1;
        assert_eq!(drawn.subject.is_none(), n % 7 == 6);
    }
    assert_eq!(seen.len(), readings() + 1);
    assert!(tones.iter().all(|count| *count > 90), "{tones:?}");
    let seeds = [
        Plan::REFERENCE.seed,
        SET_ON,
        SET_ON + 1,
        REPORTED,
        REPORTED + 1,
    ];
    let different = seeds.iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(different.len(), seeds.len());
}
