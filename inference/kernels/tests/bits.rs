//! Every path that this processor has gives the bits of the plain one, with any number of threads.

use kernels::{
    Activations, Halves, Kind, Misfit, Packed, Path, Pool, Table, half_to_float, multiply,
};
use proptest::prelude::*;

/// Blocks as a file has them, of numbers drawn from a seed; scales are finite.
fn file(kind: Kind, rows: usize, columns: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let blocks = rows * columns / kind.block();
    let mut file: Vec<u8> = (0..blocks * kind.bytes()).map(|_| draw()).collect();
    for block in file.chunks_mut(kind.bytes()) {
        block[1] &= 0xbf; // below 2
        if kind == Kind::Q4K {
            block[3] &= 0xbf;
        }
    }
    file
}

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed ^ 0xabcd;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

/// The weights of a file, dequantized as its format says (ggml), straight from the bytes.
fn dequantized(kind: Kind, file: &[u8]) -> Vec<f64> {
    let half = |b: &[u8]| f64::from(half_to_float([b[0], b[1]]));
    let of = |block: &[u8]| -> Vec<f64> {
        let d = half(block);
        match kind {
            Kind::Q4_0 => {
                let weight = |nibble: u8| (f64::from(nibble) - 8.0) * d;
                let low = block[2..].iter().map(|b| weight(b & 15));
                low.chain(block[2..].iter().map(|b| weight(b >> 4)))
                    .collect()
            }
            Kind::Q8_0 => block[2..].iter().map(|b| f64::from(*b as i8) * d).collect(),
            Kind::Q4K => {
                let (least, scales) = (half(&block[2..]), &block[4..16]);
                let part = |j: usize| {
                    let (s, m) = match j {
                        0..4 => (scales[j] & 63, scales[j + 4] & 63),
                        _ => (
                            scales[j + 4] & 15 | scales[j - 4] >> 6 << 4,
                            scales[j + 4] >> 4 | scales[j] >> 6 << 4,
                        ),
                    };
                    let nibbles = &block[16 + j / 2 * 32..][..32];
                    let nibble = move |b: &u8| if j.is_multiple_of(2) { b & 15 } else { b >> 4 };
                    nibbles.iter().map(move |b| {
                        d * f64::from(s) * f64::from(nibble(b)) - least * f64::from(m)
                    })
                };
                (0..8).flat_map(part).collect()
            }
        }
    };
    file.chunks(kind.bytes()).flat_map(of).collect()
}

fn product(w: &Packed, x: &[f32], path: Path, pool: Option<&Pool>) -> Vec<u32> {
    let mut out = vec![f32::NAN; x.len() / w.columns() * w.rows()];
    multiply(w, x, &mut out, &mut Activations::new(), path, pool).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_path_gives_the_same_bits_with_any_number_of_threads(
        kind in 0..3usize, rows in 1..70usize, blocks in 1..5usize, m in 1..21usize, seed: u32, threads in 1..4usize, odd: bool,
    ) {
        let kind = Kind::ALL[kind];
        let columns = blocks * kind.block();
        let w = Packed::new(kind, rows, columns, &file(kind, rows, columns, seed)).unwrap();
        let mut x = numbers(m * columns, seed);
        if odd {
            // Zeros, a huge one, and what is no number at all.
            x[..32.min(m * columns)].fill(0.0);
            let last = x.len() - 1;
            (x[last], x[last / 2]) = (1e30, f32::NAN);
            // So small that their scale has no inverse, and infinite.
            let tiny = (seed % 1000) as f32 * f32::from_bits(1);
            x[32.min(last)..64.min(last)].fill(tiny);
            if seed % 2 == 0 {
                x[last / 3] = f32::NEG_INFINITY;
            }
        }
        let pool = Pool::new(threads);
        let plain = product(&w, &x, Path::Plain, None);
        for path in Path::all() {
            prop_assert!(product(&w, &x, path, None) == plain, "{path:?}");
            prop_assert!(product(&w, &x, path, Some(&pool)) == plain, "{path:?} on {threads} threads");
        }
    }
}

/// The paths that were to be tried were tried: `KERNEL_PATHS` names them, where a rig knows the processor.
#[test]
fn the_processor_has_the_paths_that_are_expected() {
    let all: Vec<_> = Path::all().iter().map(|path| format!("{path:?}")).collect();
    if let Ok(expected) = std::env::var("KERNEL_PATHS") {
        assert_eq!(all.join(" "), expected);
    }
    assert_eq!(all.first().map(String::as_str), Some("Plain"));
}

/// The plain path is a product of the file's weights: as near as activations of 8 bits can be.
#[test]
fn the_plain_path_is_the_product_of_the_weights_of_the_file() {
    for kind in Kind::ALL {
        let (rows, columns, m) = (37, 512, 3);
        let bytes = file(kind, rows, columns, 7);
        let w = Packed::new(kind, rows, columns, &bytes).unwrap();
        let weights = dequantized(kind, &bytes);
        let x = numbers(m * columns, 9);
        let mut out = vec![0f32; m * rows];
        multiply(&w, &x, &mut out, &mut Activations::new(), Path::Plain, None).unwrap();
        let mut row = vec![0f32; columns];
        for r in 0..rows {
            row.fill(0.0);
            w.add_row(r, 1.0, &mut row);
            let of_file = &weights[r * columns..(r + 1) * columns];
            let far = row
                .iter()
                .zip(of_file)
                .map(|(a, b)| (f64::from(*a) - b).abs())
                .fold(0.0, f64::max);
            let most = of_file.iter().map(|w| w.abs()).fold(0.0, f64::max);
            assert!(far <= most * 1e-5, "{kind:?} row {r}: {far}");
            for i in 0..m {
                let exact: f64 = of_file
                    .iter()
                    .zip(&x[i * columns..])
                    .map(|(w, x)| w * f64::from(*x))
                    .sum();
                let long: f64 = of_file.iter().map(|w| w * w).sum::<f64>().sqrt();
                let error =
                    (f64::from(out[i * rows + r]) - exact).abs() / (long * (columns as f64).sqrt());
                assert!(error < 4e-4, "{kind:?}: {error}");
            }
        }
    }
}

#[test]
fn rows_of_halves_are_added_as_they_are() {
    // 1, -2, the smallest of all, and 65504.
    let halves = [0x3c00u16, 0xc000, 0x0001, 0x7bff].map(u16::to_le_bytes);
    let table = Table::Halves(Halves::new(2, 2, halves.as_flattened()).unwrap());
    let mut out = [1.0, 1.0];
    table.add_row(0, 2.0, &mut out);
    table.add_row(2, 2.0, &mut out);
    assert_eq!(out, [3.0, -3.0]);
    out = [0.0; 2];
    table.add_row(1, 1.0, &mut out);
    assert_eq!(out, [2f32.powi(-24), 65504.0]);
    assert_eq!((table.rows(), table.columns()), (2, 2));
    let infinite = 0x7c00u16.to_le_bytes();
    assert_eq!(Halves::new(1, 1, &infinite), Err(Misfit::NotFinite));
    assert_eq!(Halves::new(2, 1, &infinite), Err(Misfit::Bytes(4)));
}

#[test]
fn what_does_not_fit_is_refused_and_never_read() {
    let bytes = file(Kind::Q4_0, 4, 64, 1);
    assert_eq!(Packed::new(Kind::Q4_0, 4, 65, &bytes), Err(Misfit::Columns));
    assert_eq!(Packed::new(Kind::Q4_0, 4, 0, &[]), Err(Misfit::Columns));
    assert_eq!(
        Packed::new(Kind::Q4_0, 5, 64, &bytes),
        Err(Misfit::Bytes(180))
    );
    let mut spoilt = bytes.clone();
    spoilt[1] = 0x7c;
    assert_eq!(
        Packed::new(Kind::Q4_0, 4, 64, &spoilt),
        Err(Misfit::NotFinite)
    );
    let w = Packed::new(Kind::Q4_0, 4, 64, &bytes).unwrap();
    let kept = Packed::from_data(Kind::Q4_0, 4, 64, w.data().to_vec()).unwrap();
    assert_eq!(kept, w);
    assert!(Packed::from_data(Kind::Q4_0, 20, 64, w.data().to_vec()).is_err());
    for (x, out) in [(63, 4), (64, 3), (128, 4)] {
        let (x, mut out) = (vec![0f32; x], vec![0f32; out]);
        let refused = multiply(
            &w,
            &x,
            &mut out,
            &mut Activations::new(),
            Path::best(),
            None,
        );
        assert_eq!(refused, Err(Misfit::Shape));
    }
}

/// What is hard to round: halves, the largest, the smallest, what has no sign, what is none.
#[test]
fn numbers_that_are_hard_to_round_come_out_alike_on_every_path() {
    let bytes = file(Kind::Q8_0, 16, 32, 3);
    let w = Packed::new(Kind::Q8_0, 16, 32, &bytes).unwrap();
    let halves: Vec<f32> = (0..32).map(|n| n as f32 - 15.5).chain([127.0]).collect();
    let rows: [Vec<f32>; 8] = [
        halves[1..].to_vec(),
        vec![f32::MAX; 32],
        vec![f32::MIN_POSITIVE; 32],
        vec![f32::from_bits(1); 32],
        vec![-0.0; 32],
        vec![f32::NAN; 32],
        vec![f32::INFINITY; 32],
        (0..32u32)
            .map(|n| f32::from_bits(n.wrapping_mul(0x9e37_79b9)))
            .collect(),
    ];
    for (n, row) in rows.iter().enumerate() {
        let plain = product(&w, row, Path::Plain, None);
        for path in Path::all() {
            assert!(product(&w, row, path, None) == plain, "row {n}, {path:?}");
        }
    }
    // All at once, so that the wide tiles see them too.
    let all = rows.concat();
    let plain = product(&w, &all, Path::Plain, None);
    for path in Path::all() {
        assert!(product(&w, &all, path, None) == plain, "{path:?}");
    }
}
