//! Functions of f32 by operations that are the same on every processor: what runs on a phone and what
//! teaches it are made of the same ones.

/// What keeps a row without spread from being divided by nothing.
pub const EPSILON: f32 = 1e-5;

/// e to the x, right to 2e-7, by operations that are the same everywhere (Cephes): a polynomial on
/// ±½ ln 2, and the exponent put in as bits.
#[inline]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + 12_582_912.0) - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let terms = [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.500_000_1,
    ];
    let sum = terms
        .iter()
        .fold(1.987_569_1e-4, |sum, term| sum * r + term);
    (sum * r * r + r + 1.0) * f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23)
}

const ROOT: f32 = 1.595_769;
const CUBE: f32 = 0.044_715;

/// The share of `x` that the gaussian error unit lets through, in its form with tanh (Hendrycks and
/// Gimpel 2016).
fn let_through(x: f32) -> f32 {
    1.0 / (1.0 + exp(-ROOT * (x + CUBE * x * x * x)))
}

/// The gaussian error unit.
#[inline]
pub fn gelu(x: f32) -> f32 {
    x * let_through(x)
}

/// Its slope.
#[inline]
pub fn gelu_slope(x: f32) -> f32 {
    let share = let_through(x);
    share + x * share * (1.0 - share) * ROOT * (1.0 + 3.0 * CUBE * x * x)
}

/// A sum in sixteen parts, which are added in their order.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut parts = [0f32; 16];
    for (a, b) in a.iter().zip(b) {
        parts
            .iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(part, (a, b))| *part += a * b);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    parts.iter().sum::<f32>() + rest
}
