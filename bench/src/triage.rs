//! One assessment on one thread: how long it takes, what it keeps in memory, and how long a model takes
//! to be ready. `rigs/triage-onnx.py` runs the same weights and the same patients with onnxruntime.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use app::Failure;
use inference::TriageModel;
use inference::encode::{Encoded, Row};
use inference::pictures::SUBJECTS;
use inference::vision::PictureReader;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use teach::patients::{Teacher, World};

fn fail(reason: impl ToString) -> Failure {
    Failure::new(
        reason.to_string(),
        "pass --model models/triage-reference.gguf",
    )
}

/// Kilobytes that this process keeps in memory.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.and_then(|line| line.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

/// The time below which this share of some lie, in milliseconds.
fn ms(of: &[Duration], share: f64) -> f64 {
    let mut of: Vec<f64> = of.iter().map(|d| d.as_secs_f64() * 1e3).collect();
    of.sort_by(f64::total_cmp);
    let at = (share * of.len() as f64) as usize;
    of.get(at.min(of.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Measures a model on drawn patients; writes what it reads of them to `encoded` for others.
pub fn run(
    file: &Path,
    vision: Option<&Path>,
    cases: usize,
    encoded: Option<&Path>,
    in_json: bool,
) -> Result<(), Failure> {
    let before = resident_kb();
    let began = Instant::now();
    let mut open =
        BufReader::new(File::open(file).map_err(|e| fail(format!("{}: {e}", file.display())))?);
    let model = TriageModel::read("bench", &mut open).map_err(fail)?;
    let ready = began.elapsed();
    let kept = resident_kb().saturating_sub(before);
    let (teacher, mut rng) = (Teacher::new(World::LEARNING), ChaCha8Rng::seed_from_u64(12));
    let patients: Vec<_> = (0..cases)
        .map(|_| teacher.draw(&mut rng).findings)
        .collect();
    let (mut whole, mut network) = (Vec::new(), Vec::new());
    let mut read = Vec::new();
    for patient in &patients {
        let began = Instant::now();
        model.logits(patient).map_err(fail)?;
        whole.push(began.elapsed());
        let encoding = model.encoder().encode(patient).map_err(fail)?;
        let began = Instant::now();
        let logits = model.network().forward(&encoding, None).map_err(fail)?;
        network.push(began.elapsed());
        read.push((encoding, logits));
    }
    if let Some(path) = encoded {
        let mut out = File::create(path).map_err(fail)?;
        let all: Vec<Value> = read
            .iter()
            .map(|(encoding, logits)| written(encoding, logits))
            .collect();
        out.write_all(Value::from(all).to_string().as_bytes())
            .map_err(fail)?;
    }
    let pictures = vision.map(|file| pictures_of(file, cases)).transpose()?;
    let said = json!({
        "picture": pictures,
        "schema": "kijiti.bench-triage/1", "cases": cases, "weights": model.network().weights(),
        "path": format!("{:?}", kernels::Path::best()), "ready_ms": ready.as_secs_f64() * 1e3, "kept_mb": kept as f64 / 1024.0,
        "assessment_ms": {"p50": ms(&whole, 0.5), "p95": ms(&whole, 0.95)},
        "network_ms": {"p50": ms(&network, 0.5), "p95": ms(&network, 0.95)},
    });
    match in_json {
        true => println!("{said}"),
        false => print(&said),
    }
    Ok(())
}

/// For people.
fn print(said: &Value) {
    println!("{} weights, path {}", said["weights"], said["path"]);
    println!(
        "ready in {:.0} ms, {:.1} MB kept",
        said["ready_ms"].as_f64().unwrap_or_default(),
        said["kept_mb"].as_f64().unwrap_or_default()
    );
    for what in ["assessment_ms", "network_ms"] {
        let of = |share: &str| said[what][share].as_f64().unwrap_or_default();
        println!(
            "{what}: {:.2} of half, {:.2} of 95 in a hundred",
            of("p50"),
            of("p95")
        );
    }
    if let Some(of) = said["picture"].as_object() {
        let number = |name: &str| of[name].as_f64().unwrap_or_default();
        println!(
            "a picture, in four views: ready in {:.0} ms, {:.1} MB kept; {:.2} ms of half, {:.2} of 95 in a hundred",
            number("ready_ms"),
            number("kept_mb"),
            number("p50_ms"),
            number("p95_ms")
        );
    }
}

/// Looking at one picture, decoded and made small.
fn pictures_of(file: &Path, count: usize) -> Result<Value, Failure> {
    let before = resident_kb();
    let began = Instant::now();
    let open = File::open(file).map_err(|e| fail(format!("{}: {e}", file.display())))?;
    let reader = PictureReader::read("bench", &mut BufReader::new(open)).map_err(fail)?;
    let ready = began.elapsed();
    let kept = resident_kb().saturating_sub(before);
    let mut took = Vec::new();
    for n in 0..count.min(400) as u64 {
        let drawn = teach::see::nth(99, n);
        let Some(subject) = drawn.subject.and_then(|at| SUBJECTS.get(at)) else {
            continue;
        };
        let began = Instant::now();
        reader.look(&drawn.picture, subject).map_err(fail)?;
        took.push(began.elapsed());
    }
    Ok(json!({
        "ready_ms": ready.as_secs_f64() * 1e3, "kept_mb": kept as f64 / 1024.0,
        "p50_ms": ms(&took, 0.5), "p95_ms": ms(&took, 0.95),
    }))
}

fn written(encoding: &Encoded, logits: &[Vec<f32>; 2]) -> Value {
    let rows = |rows: &[Row]| -> Value {
        rows.iter()
            .map(|row| json!([row.slot, row.row, row.weight]))
            .collect::<Vec<_>>()
            .into()
    };
    json!({
        "features": rows(&encoding.features), "grams": rows(&encoding.grams), "pieces": rows(&encoding.pieces),
        "differential": logits[0], "urgency": logits[1],
    })
}
