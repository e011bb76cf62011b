use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

const SMALL: Shape = Shape {
    slots: 3,
    width: 32,
    heads: 2,
    inner: 64,
    layers: 1,
    labels: 4,
    features: 6,
    pieces: 5,
};

fn case(label: usize) -> Encoded {
    let row = |row| Row {
        slot: row % 3,
        row,
        weight: 1.0,
    };
    Encoded {
        features: vec![row(label), row(5)],
        grams: vec![row(100 + label)],
        pieces: vec![row(1)],
    }
}

fn lesson() -> (Vec<Encoded>, [Vec<f32>; 2]) {
    let cases = (0..4).map(case).collect();
    let one_of = |n: usize, of: usize| (0..of).map(move |i| f32::from(u8::from(i == n)));
    let labels = (0..4).flat_map(|n| one_of(n, 4)).collect();
    let colours = (0..4).flat_map(|n| one_of(n % 3, 3)).collect();
    (cases, [labels, colours])
}

#[test]
fn a_network_learns_what_it_is_shown_and_goes_on_from_a_checkpoint_as_if_it_had_not_stopped() {
    let mut net = Net::new(SMALL, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let (cases, targets) = lesson();
    let first = net.learn(&cases, targets.clone(), 3e-3, 1).unwrap();
    for step in 2..60 {
        net.learn(&cases, targets.clone(), 3e-3, step).unwrap();
    }
    let kept = net.checkpoint().unwrap();
    let mut other = Net::new(SMALL, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    other.restore(|name| kept.get(name).cloned()).unwrap();
    let mut losses = [0.0; 2];
    for step in 60..64 {
        losses = [&mut net, &mut other]
            .map(|net| net.learn(&cases, targets.clone(), 3e-3, step).unwrap());
    }
    assert_eq!(losses[0], losses[1]);
    assert!(losses[0] < first / 10.0, "{first} {losses:?}");
    assert!(
        other
            .restore(|name| kept.get(name).filter(|_| name != "norm.bias").cloned())
            .is_err()
    );
}
