//! Activations: i8, with an f32 scale and the sum of the integers for each 32.

use crate::matmul::Path;

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
    pub(crate) fn set(&mut self, x: &[f32], columns: usize, zero: i32, path: Path) {
        (self.rows, self.columns) = (x.len() / columns.max(1), columns);
        let blocks = x.len() / 32;
        self.numbers.resize(x.len(), 0);
        self.scales.resize(blocks, 0.0);
        self.offsets.resize(blocks, 0);
        self.sums.resize(blocks, 0.0);
        self.quantize_by(path, x);
        for (offset, (total, scale)) in self
            .offsets
            .iter_mut()
            .zip(self.sums.iter_mut().zip(&self.scales))
        {
            *total = *offset as f32 * *scale;
            *offset *= -zero;
        }
    }

    #[cfg_attr(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        allow(unsafe_code, reason = "the processor was asked for these instructions")
    )]
    fn quantize_by(&mut self, path: Path, x: &[f32]) {
        #[cfg(target_arch = "aarch64")]
        use crate::arm as own;
        #[cfg(target_arch = "x86_64")]
        use crate::x86 as own;
        match path == Path::Plain {
            // SAFETY: `multiply` takes only paths that the processor has; all but the plain one have AVX2 or NEON.
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            false => unsafe { own::quantize(self, x) },
            _ => self.quantize(x),
        }
    }

    /// Numbers and scales, and the sums of the numbers as offsets: what every other path must give.
    fn quantize(&mut self, x: &[f32]) {
        let blocks = x.chunks_exact(32).zip(self.numbers.chunks_exact_mut(32));
        let meta = self.scales.iter_mut().zip(&mut self.offsets);
        for ((x, numbers), (scale, sum)) in blocks.zip(meta) {
            let most = x
                .iter()
                .fold(0f32, |most, x| if x.abs() > most { x.abs() } else { most });
            let by;
            (*scale, by) = scale_of(most);
            *sum = 0;
            for (number, x) in numbers.iter_mut().zip(x) {
                // Ties to even, as the processors' own instructions round; what is no number is 0.
                let whole = (x * by).round_ties_even() as i32;
                let whole = whole.clamp(-127, 127);
                *number = whole as i8;
                *sum += whole;
            }
        }
    }
}

/// The scale of numbers up to `most`, and what each is multiplied by.
pub(crate) fn scale_of(most: f32) -> (f32, f32) {
    let scale = if most.is_finite() { most / 127.0 } else { 0.0 };
    (scale, if scale > 0.0 { 1.0 / scale } else { 0.0 })
}
