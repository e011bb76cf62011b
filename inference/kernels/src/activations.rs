//! Activations: i8, with an f32 scale and the sum of the integers for each 32.

/// The rows of a product's input, quantized. Kept by the caller, so that it grows once.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// `[rows, columns]`.
    pub(crate) numbers: Vec<i8>,
    /// One for each 32.
    pub(crate) scales: Vec<f32>,
    /// The sum of the integers of each 32, times minus the zero point of the weights.
    pub(crate) offsets: Vec<i32>,
    /// The sum of the integers of each 32, times the scale.
    pub(crate) sums: Vec<f32>,
}

impl Activations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes rows of `columns` numbers, for weights whose zero is stored as `zero`. A number that is not
    /// finite counts as none.
    pub(crate) fn set(&mut self, x: &[f32], columns: usize, zero: i32) {
        (self.rows, self.columns) = (x.len() / columns.max(1), columns);
        let blocks = x.len() / 32;
        self.numbers.resize(x.len(), 0);
        self.scales.resize(blocks, 0.0);
        self.offsets.resize(blocks, 0);
        self.sums.resize(blocks, 0.0);
        let meta = self
            .scales
            .iter_mut()
            .zip(&mut self.offsets)
            .zip(&mut self.sums);
        let blocks = x.chunks_exact(32).zip(self.numbers.chunks_exact_mut(32));
        for ((x, numbers), ((scale, offset), total)) in blocks.zip(meta) {
            let most = x
                .iter()
                .fold(0f32, |most, x| if x.abs() > most { x.abs() } else { most });
            *scale = if most.is_finite() { most / 127.0 } else { 0.0 };
            let by = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
            let mut sum = 0i32;
            for (number, x) in numbers.iter_mut().zip(x) {
                // Ties to even, as the processors' own instructions round; what is no number is 0.
                let whole = (x * by).round_ties_even() as i32;
                let whole = whole.clamp(-127, 127);
                *number = whole as i8;
                sum += whole;
            }
            *offset = sum * -zero;
            *total = sum as f32 * *scale;
        }
    }
}
