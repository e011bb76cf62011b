//! Products of quantized matrices, beside candle's own of the same weights and llama.cpp's of the same shape, in
//! one run.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use app::Failure;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use kernels::{Activations, Kind, Packed, multiply};
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

/// What llama.cpp takes for one product: seconds of its best round, and the buffer that held its weights.
fn of_ggml(
    program: &Path,
    kind: Kind,
    [m, k, n]: [usize; 3],
    rounds: u32,
) -> Result<(f64, String), Failure> {
    let name = match kind {
        Kind::Q4_0 => "Q4_0",
        Kind::Q8_0 => "Q8_0",
        Kind::Q4K => "Q4_K",
    };
    let args = [m, k, n, rounds as usize].map(|number| number.to_string());
    let ran = Command::new(program).arg(name).args(args).output();
    let ran = ran.map_err(|e| fail(format!("{}: {e}", program.display())))?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let parsed = said
        .split_once(' ')
        .and_then(|(seconds, buffer)| Some((seconds.parse().ok()?, buffer.trim().to_owned())));
    parsed.ok_or_else(|| {
        let reason = format!("{} said no time ({})", program.display(), ran.status);
        Failure::new(reason, "build it with rigs/kernels-beside.sh")
    })
}

/// Ours and others' times of one product, in seconds: the best of all rounds.
struct Times {
    ours: f64,
    candle: f64,
    ggml: Option<(f64, String)>,
}

/// One product, measured in turn, so that neighbours trouble all.
fn times(
    (kind, dtype): (Kind, GgmlDType),
    [m, k, n]: [usize; 3],
    rounds: u32,
    ggml: Option<&Path>,
) -> Result<Times, Failure> {
    let weights = Tensor::randn(0f32, 1.0, (n, k), &Device::Cpu).map_err(fail)?;
    let quantized = QTensor::quantize(&weights, dtype).map_err(fail)?;
    let packed = Packed::new(kind, n, k, &quantized.data().map_err(fail)?).map_err(fail)?;
    let theirs = QMatMul::from_qtensor(quantized).map_err(fail)?;
    let x = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu).map_err(fail)?;
    let flat: Vec<f32> = x.flatten_all().and_then(|x| x.to_vec1()).map_err(fail)?;
    let (mut out, mut room) = (vec![0f32; m * n], Activations::new());
    let mut times = Times {
        ours: f64::MAX,
        candle: f64::MAX,
        ggml: None,
    };
    for _ in 0..3 {
        let ours = least(rounds, || {
            let path = kernels::Path::best();
            let _ = black_box(multiply(&packed, &flat, &mut out, &mut room, path, None));
        });
        times.ours = times.ours.min(ours);
        let candle = least(rounds, || drop(black_box(theirs.forward(&x))));
        times.candle = times.candle.min(candle);
        if let Some(program) = ggml {
            let (seconds, buffer) = of_ggml(program, kind, [m, k, n], rounds)?;
            let best = times.ggml.map_or(seconds, |(best, _)| seconds.min(best));
            times.ggml = Some((best, buffer));
        }
    }
    Ok(times)
}

/// Measures every type, shape and number of rows, beside llama.cpp's if there is a program that measures it.
///
/// # Errors
/// Where candle would take more threads than one, or the program says no time.
pub fn run(rounds: u32, ggml: Option<&Path>, in_json: bool) -> Result<(), Failure> {
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok("1") {
        let reason = "candle would take every core, and ours takes one";
        return Err(Failure::new(reason, "set RAYON_NUM_THREADS=1").with_code(2));
    }
    let path = kernels::Path::best();
    if !in_json {
        println!(
            "billions of products a second on one thread ({path:?}), the best of 3 x {rounds} rounds in turn"
        );
        println!("                            ours candle   in its | llama.cpp  in its");
    }
    let mut all = Vec::new();
    for (kind, dtype) in [
        (Kind::Q4_0, GgmlDType::Q4_0),
        (Kind::Q8_0, GgmlDType::Q8_0),
        (Kind::Q4K, GgmlDType::Q4K),
    ] {
        for (n, k) in SHAPES.into_iter().filter(|(_, k)| k % kind.block() == 0) {
            for m in [1, 128] {
                let times = times((kind, dtype), [m, k, n], rounds, ggml)?;
                let rate = |s: f64| (m * n * k) as f64 / s / 1e9;
                let ratio = times.candle / times.ours;
                let beside = times
                    .ggml
                    .map(|(seconds, buffer)| (rate(seconds), seconds / times.ours, buffer));
                if !in_json {
                    let beside = beside
                        .as_ref()
                        .map_or(String::new(), |(rate, ratio, buffer)| {
                            format!(" | {rate:6.1}  {ratio:.2} ({buffer})")
                        });
                    println!(
                        "{kind:?} {m:3} x {k:4} -> {n:4}: {:6.1} {:6.1}  {ratio:6.2}{beside}",
                        rate(times.ours),
                        rate(times.candle)
                    );
                }
                all.push(json!({
                    "kind": format!("{kind:?}"), "m": m, "k": k, "n": n,
                    "ours": rate(times.ours), "candle": rate(times.candle), "ratio": ratio,
                    "llama_cpp": beside.as_ref().map(|(rate, ..)| rate),
                    "llama_cpp_ratio": beside.as_ref().map(|(_, ratio, _)| ratio),
                    "llama_cpp_buffer": beside.map(|(.., buffer)| buffer),
                }));
            }
        }
    }
    if in_json {
        println!(
            "{}",
            json!({"schema": "kijiti.bench-kernels/1", "path": format!("{path:?}"), "rows": all})
        );
    }
    Ok(())
}
