//! Measurements as they are written down: a normal spread, cut at its ends and rounded to steps, with
//! the chance of each reading.

use rand::{Rng, RngExt};

/// How a measurement spreads in one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub mean: f64,
    pub sd: f64,
    /// The least and the most that are written down.
    pub within: (f64, f64),
}

/// A spread as tables write it: mean, standard deviation, least, most.
pub(super) const fn spread(mean: f64, sd: f64, least: f64, most: f64) -> Spread {
    Spread {
        mean,
        sd,
        within: (least, most),
    }
}

impl Spread {
    /// One reading, to a multiple of `step`. `blur` widens the spread: 1 is as it stands.
    pub(super) fn draw(&self, step: f64, blur: f64, rng: &mut impl Rng) -> f64 {
        let reading = self.mean + self.sd * blur * standard(rng);
        let (least, most) = self.within;
        let steps = (reading.clamp(least, most) / step).round();
        // Multiples of tenths as they are written, not as they are added up.
        (steps * step * 1000.0).round() / 1000.0
    }

    /// The chance of a reading: what the spread holds between the halves of a step below and above;
    /// at its ends, all beyond too.
    pub(super) fn chance(&self, reading: f64, step: f64, blur: f64) -> f64 {
        let (least, most) = self.within;
        let (lowest, highest) = ((least / step).round(), (most / step).round());
        let at = (reading / step).round();
        if at < lowest || at > highest {
            return 0.0;
        }
        let below = |steps: f64| normal((steps * step - self.mean) / (self.sd * blur));
        let from = if at <= lowest { 0.0 } else { below(at - 0.5) };
        let to = if at >= highest { 1.0 } else { below(at + 0.5) };
        (to - from).max(0.0)
    }
}

/// A standard normal number (Box and Muller 1958).
fn standard(rng: &mut impl Rng) -> f64 {
    let (a, b): (f64, f64) = (
        rng.random_range(f64::MIN_POSITIVE..1.0),
        rng.random_range(0.0..1.0),
    );
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// The standard normal distribution function, right to 1e-7 (Abramowitz and Stegun 7.1.26).
fn normal(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let sum = series.iter().fold(0.0, |sum, term| (sum + term) * t);
    let error = 1.0 - sum * (-z * z).exp();
    if x < 0.0 {
        (1.0 - error) / 2.0
    } else {
        (1.0 + error) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn chances_of_all_readings_are_one_and_are_how_often_they_are_drawn() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (temperature, step) = (spread(38.6, 0.7, 37.5, 41.5), 0.1);
        let readings: Vec<f64> = (375..=415).map(|tenths| f64::from(tenths) / 10.0).collect();
        let sum: f64 = readings
            .iter()
            .map(|r| temperature.chance(*r, step, 1.0))
            .sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let drawn: Vec<f64> = (0..40_000)
            .map(|_| temperature.draw(step, 1.0, &mut rng))
            .collect();
        for reading in [37.5, 38.0, 38.6, 40.0] {
            let seen = drawn
                .iter()
                .filter(|d| (**d - reading).abs() < 0.01)
                .count() as f64
                / 4e4;
            let said = temperature.chance(reading, step, 1.0);
            assert!((seen - said).abs() < 0.006, "{reading}: {seen} {said}");
        }
        assert_eq!(temperature.chance(37.0, step, 1.0), 0.0);
    }
}
