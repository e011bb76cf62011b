//! Pairs of models as releases follow each other in the field, for the bench of deltas: one network
//! really trained on drawn cases, and what becomes of it by fine-tuning its head, all of it a
//! little or a lot, with low-rank adapters, by growing its vocabulary, and by training anew.
//!
//! ```text
//! features ‖ mean of word embeddings [batch, IN] → HIDDEN → HIDDEN → HIDDEN → which word was left out [batch, V]
//! ```

use std::io::Cursor;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokenizers::Tokenizer;

use crate::flat::features_of;
use crate::patients::{Patient, Teacher, World};
use crate::vocabulary;
use inference::rules::RulePack;

type Fail = Box<dyn std::error::Error + Send + Sync>;

/// Width of embeddings and of the input; multiples of 256, the super-block of Q4_K.
const EMBEDDING: usize = 256;
const INPUT: usize = 512;
/// Words in the vocabulary before it grows.
const VOCABULARY: usize = 1536;
/// Words read of a text.
const WORDS_MAX: usize = 32;
const BATCH: usize = 128;

/// Weights by name: shape and values.
pub type Weights = Vec<(String, Vec<usize>, Vec<f32>)>;

/// How a model is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 16-bit floats.
    F16,
    /// 8-bit codes in blocks of 32.
    Q8,
    /// 4-bit codes in blocks of 32.
    Q4,
    /// 4-bit codes in super-blocks of 256.
    Q4K,
}

impl Stored {
    /// All of them.
    pub const ALL: [Stored; 4] = [Stored::Q4K, Stored::Q4, Stored::Q8, Stored::F16];

    /// Its name in the field.
    pub fn name(self) -> &'static str {
        match self {
            Stored::F16 => "f16",
            Stored::Q8 => "Q8_0",
            Stored::Q4 => "Q4_0",
            Stored::Q4K => "Q4_K",
        }
    }

    fn dtype(self) -> GgmlDType {
        match self {
            Stored::F16 => GgmlDType::F16,
            Stored::Q8 => GgmlDType::Q8_0,
            Stored::Q4 => GgmlDType::Q4_0,
            Stored::Q4K => GgmlDType::Q4K,
        }
    }
}

/// A model that follows another.
#[derive(Debug, Clone)]
pub struct Follower {
    /// What was done.
    pub name: &'static str,
    /// Its weights.
    pub weights: Weights,
    /// ‖new − old‖ / ‖old‖ over the matrices that both have.
    pub moved: f64,
}

/// The trained model, what followed it, and cases to judge them by.
pub struct Pairs {
    /// The model that the phones hold.
    pub base: Weights,
    /// What may follow.
    pub followers: Vec<Follower>,
    judges: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    features: Vec<f32>,
    words: Vec<u32>,
    left_out: u32,
}

/// How large and how long.
#[derive(Debug, Clone, Copy)]
pub struct PairOptions {
    /// Width of the hidden layers; a multiple of 256.
    pub hidden: usize,
    /// Steps of the first training.
    pub steps: usize,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            hidden: 1536,
            steps: 300,
            seed: 1,
        }
    }
}

struct Vars(Vec<(String, Var)>);

impl Vars {
    fn new(hidden: usize, seed: u64) -> Result<Self, Fail> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let shapes = [
            ("words", VOCABULARY, EMBEDDING),
            ("hidden1", hidden, INPUT),
            ("hidden2", hidden, hidden),
            ("hidden3", hidden, hidden),
            ("head", VOCABULARY, hidden),
        ];
        let mut vars = Vec::new();
        for (name, rows, columns) in shapes {
            let bound = (6.0 / columns as f32).sqrt();
            let values: Vec<f32> = (0..rows * columns)
                .map(|_| rng.random_range(-bound..bound))
                .collect();
            vars.push((
                format!("{name}.weight"),
                Var::from_vec(values, (rows, columns), &Device::Cpu)?,
            ));
        }
        Ok(Self(vars))
    }

    fn of(weights: &Weights) -> Result<Self, Fail> {
        let var = |(name, shape, values): &(String, Vec<usize>, Vec<f32>)| {
            Ok((
                name.clone(),
                Var::from_vec(values.clone(), shape.as_slice(), &Device::Cpu)?,
            ))
        };
        Ok(Self(weights.iter().map(var).collect::<Result<_, Fail>>()?))
    }

    fn weights(&self) -> Result<Weights, Fail> {
        let one = |(name, var): &(String, Var)| {
            Ok((
                name.clone(),
                var.dims().to_vec(),
                var.as_tensor().flatten_all()?.to_vec1::<f32>()?,
            ))
        };
        self.0.iter().map(one).collect()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.0.iter().map(|(_, v)| v.as_tensor().clone()).collect()
    }
}

/// Which word was left out: logits `[batch, V]`.
fn forward(weights: &[Tensor], rows: &[&Row]) -> Result<Tensor, Fail> {
    let [words, h1, h2, h3, head] = weights else {
        return Err("five matrices were expected".into());
    };
    let (count, device) = (rows.len(), Device::Cpu);
    let mut ids = Vec::with_capacity(count * WORDS_MAX);
    let mut mask = Vec::with_capacity(count * WORDS_MAX);
    let mut features = Vec::with_capacity(count * (INPUT - EMBEDDING));
    for row in rows {
        ids.extend(
            row.words
                .iter()
                .copied()
                .chain(std::iter::repeat(0))
                .take(WORDS_MAX),
        );
        mask.extend((0..WORDS_MAX).map(|i| if i < row.words.len() { 1f32 } else { 0.0 }));
        features.extend(
            row.features
                .iter()
                .copied()
                .chain(std::iter::repeat(0.0))
                .take(INPUT - EMBEDDING),
        );
    }
    let ids = Tensor::from_vec(ids, count * WORDS_MAX, &device)?;
    let mask = Tensor::from_vec(mask, (count, WORDS_MAX, 1), &device)?;
    let text = words
        .index_select(&ids, 0)?
        .reshape((count, WORDS_MAX, EMBEDDING))?;
    let mean = text
        .broadcast_mul(&mask)?
        .sum(1)?
        .broadcast_div(&mask.sum(1)?.clamp(1f32, f32::MAX)?)?;
    let features = Tensor::from_vec(features, (count, INPUT - EMBEDDING), &device)?;
    let mut x = Tensor::cat(&[&features, &(mean * 4.0)?], 1)?;
    for layer in [h1, h2, h3] {
        x = x.matmul(&layer.t()?)?.silu()?;
    }
    Ok(x.matmul(&head.t()?)?)
}

fn loss(weights: &[Tensor], rows: &[&Row]) -> Result<Tensor, Fail> {
    let targets: Vec<u32> = rows.iter().map(|r| r.left_out).collect();
    let targets = Tensor::from_vec(targets, rows.len(), &Device::Cpu)?;
    Ok(candle_nn::loss::cross_entropy(
        &forward(weights, rows)?,
        &targets,
    )?)
}

fn rows(
    pack: &RulePack,
    tokenizer: &Tokenizer,
    count: usize,
    seed: u64,
    local: bool,
) -> Result<Vec<Row>, Fail> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (features, teacher) = (features_of(pack), Teacher::new(World::LEARNING));
    let mut rows = Vec::new();
    while rows.len() < count {
        let case: Patient = teacher.draw(&mut rng);
        // What a district sees differs from what the country sees: every third diagnosis only.
        if local && !case.label.is_multiple_of(3) {
            continue;
        }
        let mut words = tokenizer
            .encode_fast(case.findings.text(), false)?
            .get_ids()
            .to_vec();
        words.truncate(WORDS_MAX);
        if words.len() < 3 {
            continue;
        }
        let left_out = words.remove(rng.random_range(0..words.len()));
        rows.push(Row {
            features: features.iter().map(|f| f.value(&case.findings)).collect(),
            words,
            left_out,
        });
    }
    Ok(rows)
}

fn fit(
    weights: &dyn Fn() -> Result<Vec<Tensor>, Fail>,
    learn: Vec<Var>,
    data: &[Row],
    steps: usize,
    lr: f64,
    seed: u64,
    mut enough: impl FnMut(usize) -> Result<bool, Fail>,
) -> Result<(), Fail> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut optimizer = AdamW::new(
        learn,
        ParamsAdamW {
            lr,
            weight_decay: 0.0,
            ..Default::default()
        },
    )?;
    for step in 0..steps {
        let batch: Vec<_> = (0..BATCH)
            .filter_map(|_| data.get(rng.random_range(0..data.len())))
            .collect();
        optimizer.set_learning_rate(lr * (1.0 - step as f64 / steps as f64).max(0.05));
        optimizer.backward_step(&loss(&weights()?, &batch)?)?;
        if enough(step)? {
            break;
        }
    }
    Ok(())
}

/// ‖new − old‖ / ‖old‖ over the matrices that both have.
pub fn moved(old: &Weights, new: &Weights) -> f64 {
    let (mut difference, mut size) = (0f64, 0f64);
    for ((_, _, a), (_, _, b)) in old.iter().zip(new) {
        for (a, b) in a.iter().zip(b) {
            difference += f64::from(a - b).powi(2);
            size += f64::from(*a).powi(2);
        }
    }
    (difference / size.max(f64::MIN_POSITIVE)).sqrt()
}

/// Trains the base and all that follows it; `progress` is told what is being done.
pub fn make(
    pack: &RulePack,
    options: PairOptions,
    mut progress: impl FnMut(&str),
) -> Result<Pairs, Fail> {
    progress("drawing cases");
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed + 7);
    let teacher = Teacher::new(World::LEARNING);
    let texts = (0..4000).map(|_| teacher.draw(&mut rng).findings.text().to_owned());
    let tokenizer = vocabulary::of(texts.collect(), VOCABULARY - 36)?;
    let country = rows(pack, &tokenizer, 12_000, options.seed, false)?;
    let district = rows(pack, &tokenizer, 6_000, options.seed + 1, true)?;
    let judges = rows(pack, &tokenizer, 1_500, options.seed + 2, true)?;
    progress("training the base");
    let never = |_: usize| Ok(false);
    let train = |seed: u64| -> Result<Weights, Fail> {
        let vars = Vars::new(options.hidden, seed)?;
        let all = vars.0.iter().map(|(_, v)| v.clone()).collect();
        fit(
            &|| Ok(vars.tensors()),
            all,
            &country,
            options.steps,
            1e-3,
            seed,
            never,
        )?;
        vars.weights()
    };
    let base = train(options.seed + 10)?;
    let mut followers = Vec::new();
    let mut add = |name: &'static str, weights: Weights| {
        followers.push(Follower {
            name,
            moved: moved(&base, &weights),
            weights,
        });
    };
    let part = options.steps / 4;

    progress("fine-tuning the head");
    let vars = Vars::of(&base)?;
    let head = vars
        .0
        .iter()
        .filter(|(n, _)| n == "head.weight")
        .map(|(_, v)| v.clone())
        .collect();
    fit(
        &|| Ok(vars.tensors()),
        head,
        &district,
        part,
        2e-4,
        21,
        never,
    )?;
    add("head only", vars.weights()?);

    for (name, share, lr) in [
        ("fine-tune 0.1 %", 0.001, 3e-6),
        ("fine-tune 1 %", 0.01, 3e-5),
        ("strong fine-tune", 0.08, 2e-4),
    ] {
        progress(name);
        let vars = Vars::of(&base)?;
        let all = vars.0.iter().map(|(_, v)| v.clone()).collect();
        let far = |step: usize| Ok(step % 5 == 4 && moved(&base, &vars.weights()?) >= share);
        fit(
            &|| Ok(vars.tensors()),
            all,
            &district,
            part * 2,
            lr,
            22,
            far,
        )?;
        add(name, vars.weights()?);
    }

    progress("low-rank adapters");
    add("LoRA rank 8", low_rank(&base, &district, part)?);

    progress("growing the vocabulary");
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed + 30);
    let mut grown = base.clone();
    for (name, shape, values) in &mut grown {
        if let (true, [rows, columns]) = (
            name.starts_with("words") || name.starts_with("head"),
            shape.as_mut_slice(),
        ) {
            values.extend((0..64 * *columns).map(|_| rng.random_range(-0.05..0.05f32)));
            *rows += 64;
        }
    }
    add("vocabulary grown", grown);

    progress("training anew");
    add("retrained", train(options.seed + 11)?);
    Ok(Pairs {
        base,
        followers,
        judges,
    })
}

/// Adapters `b·a` of rank 8 on the hidden layers, trained and merged.
fn low_rank(base: &Weights, data: &[Row], steps: usize) -> Result<Weights, Fail> {
    let mut rng = ChaCha20Rng::seed_from_u64(40);
    let fixed = Vars::of(base)?;
    let mut adapters = Vec::new();
    for (name, var) in &fixed.0 {
        let (rows, columns) = var.dims2()?;
        if !name.starts_with("hidden") {
            adapters.push(None);
            continue;
        }
        let a: Vec<f32> = (0..8 * columns)
            .map(|_| rng.random_range(-0.03..0.03f32))
            .collect();
        let a = Var::from_vec(a, (8, columns), &Device::Cpu)?;
        adapters.push(Some((
            a,
            Var::from_vec(vec![0f32; rows * 8], (rows, 8), &Device::Cpu)?,
        )));
    }
    let merged = || -> Result<Vec<Tensor>, Fail> {
        let each = fixed
            .0
            .iter()
            .zip(&adapters)
            .map(|((_, w), adapter)| match adapter {
                None => Ok(w.as_tensor().clone()),
                Some((a, b)) => Ok((w.as_tensor() + b.matmul(a)?)?),
            });
        each.collect()
    };
    let learn = adapters
        .iter()
        .flatten()
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    fit(&merged, learn, data, steps, 1e-3, 23, |_| Ok(false))?;
    let flat = merged()?
        .iter()
        .map(|t| Ok(t.flatten_all()?.to_vec1::<f32>()?))
        .collect::<Result<Vec<_>, Fail>>()?;
    Ok(base
        .iter()
        .zip(flat)
        .map(|((name, shape, _), values)| (name.clone(), shape.clone(), values))
        .collect())
}

impl Pairs {
    /// The mean loss on held-out cases of the district, in nats.
    pub fn judge(&self, weights: &Weights) -> Result<f64, Fail> {
        let tensors = Vars::of(weights)?.tensors();
        let mut sum = 0.0;
        for chunk in self.judges.chunks(500) {
            let rows: Vec<_> = chunk.iter().collect();
            sum += f64::from(loss(&tensors, &rows)?.to_scalar::<f32>()?) * rows.len() as f64;
        }
        Ok(sum / self.judges.len() as f64)
    }
}

/// A GGUF file of these weights.
pub fn write_gguf(weights: &Weights, stored: Stored, version: u64) -> Result<Vec<u8>, Fail> {
    let meta = [
        ("general.architecture", Meta::String("kijiti-bench".into())),
        ("general.version", Meta::U64(version)),
        (
            "kijiti.words",
            Meta::String((0..2000).map(|i| format!("word{i} ")).collect()),
        ),
    ];
    let mut tensors = Vec::new();
    for (name, shape, values) in weights {
        let tensor = Tensor::from_vec(values.clone(), shape.as_slice(), &Device::Cpu)?;
        tensors.push((name.as_str(), QTensor::quantize(&tensor, stored.dtype())?));
    }
    let mut file = Cursor::new(Vec::new());
    let meta: Vec<_> = meta.iter().map(|(k, v)| (*k, v)).collect();
    gguf_file::write(
        &mut file,
        &meta,
        &tensors.iter().map(|(n, t)| (*n, t)).collect::<Vec<_>>(),
    )?;
    Ok(file.into_inner())
}

/// The weights of a GGUF file, dequantized.
pub fn read_gguf(file: &[u8]) -> Result<Weights, Fail> {
    let mut reader = Cursor::new(file);
    let content = gguf_file::Content::read(&mut reader)?;
    let mut names: Vec<_> = content.tensor_infos.keys().cloned().collect();
    let order = ["words", "hidden1", "hidden2", "hidden3", "head"];
    names.sort_by_key(|n| order.iter().position(|o| n.starts_with(o)));
    let mut weights = Vec::new();
    for name in names {
        let tensor = content
            .tensor(&mut reader, &name, &Device::Cpu)?
            .dequantize(&Device::Cpu)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        weights.push((name, tensor.dims().to_vec(), values));
    }
    Ok(weights)
}

const _: () = assert!(
    INPUT.is_multiple_of(256) && EMBEDDING.is_multiple_of(256) && VOCABULARY.is_multiple_of(32)
);

/// A GGUF file of new weights, quantized against an old file that was made of the weights `before`
/// ([`crate::sticky`]).
pub fn sticky(
    old: &[u8],
    before: &Weights,
    new: &Weights,
    stored: Stored,
    version: u64,
) -> Result<Vec<u8>, Fail> {
    let mut file = write_gguf(new, stored, version)?;
    let values = |name: &str| {
        new.iter()
            .find(|(n, ..)| n == name)
            .map(|(.., values)| values.as_slice())
    };
    let were = |name: &str| {
        before
            .iter()
            .find(|(n, ..)| n == name)
            .map(|(.., values)| values.as_slice())
    };
    crate::sticky::stick(old, &mut file, &values, &were)?;
    Ok(file)
}
