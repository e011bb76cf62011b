//! Products of quantized matrices, beside candle's own of the same weights, in one run.

use std::hint::black_box;
use std::time::Instant;

use app::Failure;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use kernels::{Activations, Kind, Packed, Path, multiply};
use serde_json::json;

/// Rows of weights and columns: those of the triage model, and of two sizes of Gemma 3.
const SHAPES: [(usize, usize); 6] = [
    (384, 384),
    (1152, 384),
    (1536, 384),
    (2048, 768),
    (1152, 1024),
    (6912, 1280),
];

fn fail(reason: impl ToString) -> Failure {
    Failure::new(reason.to_string(), "try again")
}

/// The least time of some rounds, in seconds: neighbours on the machine only ever add.
fn least(rounds: u32, mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    };
    (0..rounds).map(once).fold(f64::MAX, f64::min)
}

/// Measures every type, shape and number of rows.
///
/// # Errors
/// Where candle would take more threads than one.
pub fn run(rounds: u32, in_json: bool) -> Result<(), Failure> {
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok("1") {
        let reason = "candle would take every core, and ours takes one";
        return Err(Failure::new(reason, "set RAYON_NUM_THREADS=1").with_code(2));
    }
    let mut all = Vec::new();
    if !in_json {
        println!(
            "billions of products a second on one thread, the best of {rounds} rounds: ours, candle's, ours in candle's"
        );
    }
    for (kind, dtype) in [
        (Kind::Q4_0, GgmlDType::Q4_0),
        (Kind::Q8_0, GgmlDType::Q8_0),
        (Kind::Q4K, GgmlDType::Q4K),
    ] {
        for (n, k) in SHAPES.into_iter().filter(|(_, k)| k % kind.block() == 0) {
            let weights = Tensor::randn(0f32, 1.0, (n, k), &Device::Cpu).map_err(fail)?;
            let quantized = QTensor::quantize(&weights, dtype).map_err(fail)?;
            let packed = Packed::new(kind, n, k, &quantized.data().map_err(fail)?).map_err(fail)?;
            let theirs = QMatMul::from_qtensor(quantized).map_err(fail)?;
            for m in [1, 128] {
                let x = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu).map_err(fail)?;
                let flat: Vec<f32> = x.flatten_all().and_then(|x| x.to_vec1()).map_err(fail)?;
                let (mut out, mut room) = (vec![0f32; m * n], Activations::new());
                let (mut ours_s, mut theirs_s) = (f64::MAX, f64::MAX);
                // In turn, so that neighbours trouble both.
                for _ in 0..3 {
                    ours_s = ours_s.min(least(rounds, || {
                        let _ = black_box(multiply(
                            &packed,
                            &flat,
                            &mut out,
                            &mut room,
                            Path::best(),
                            None,
                        ));
                    }));
                    theirs_s = theirs_s.min(least(rounds, || drop(black_box(theirs.forward(&x)))));
                }
                let rate = |s: f64| (m * n * k) as f64 / s / 1e9;
                let ratio = theirs_s / ours_s;
                if !in_json {
                    println!(
                        "{kind:?} {m:3} x {k:4} -> {n:4}: {:6.1} {:6.1}  {ratio:.2}",
                        rate(ours_s),
                        rate(theirs_s)
                    );
                }
                all.push(json!({"kind": format!("{kind:?}"), "m": m, "k": k, "n": n, "ours": rate(ours_s), "candle": rate(theirs_s), "ratio": ratio}));
            }
        }
    }
    if in_json {
        println!(
            "{}",
            json!({"schema": "kijiti.bench-kernels/1", "path": format!("{:?}", Path::best()), "rows": all})
        );
    }
    Ok(())
}
