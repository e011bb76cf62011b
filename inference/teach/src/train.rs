//! Training the reference model, in Rust, on a phone maker's budget: two cores and a few minutes.
//! Every die is seeded, so the same seed gives the same cases and the same first weights.

use std::io::Cursor;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, Tokenizer, TokenizerBuilder};

use clinical::{Profile, Urgency};

use crate::generator::{SyntheticCase, draw, labels};
use inference::features::{Feature, features_of};
use inference::model::{ARCHITECTURE, Calibration, GoldenCase, TriageModel};
use inference::network::{Batch, EMBEDDING, HIDDEN, Network, input_columns};
use inference::rules::RulePack;

/// How to train.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// Seed of all randomness.
    pub seed: u64,
    /// Cases to learn from.
    pub cases: usize,
    /// Times each case is seen.
    pub epochs: usize,
    /// Cases in a step.
    pub batch: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            cases: 60_000,
            epochs: 6,
            batch: 128,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The model file (GGUF).
    pub file: Vec<u8>,
    /// What was measured on held-out cases, for the model card.
    pub report: Report,
}

/// Measured on held-out drawn cases.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// Held-out cases.
    pub cases: usize,
    /// The right label is the most likely one.
    pub top1: f64,
    /// The right label is among the three most likely.
    pub top3: f64,
    /// Of cases that deserve pink, the share shown as pink by rules alone and by rules with model.
    pub pink_sensitivity_rules: f64,
    /// With the model.
    pub pink_sensitivity_with_model: f64,
    /// Of green cases that rules leave green, the share that the model raises.
    pub green_raised: f64,
    /// Expected calibration error of the differential's first rank.
    pub calibration_error: f64,
    /// Share of cases on which the model abstains.
    pub abstained: f64,
}

type Fail = Box<dyn std::error::Error + Send + Sync>;

struct Row {
    features: Vec<f32>,
    words: Vec<u32>,
    label: usize,
    urgency: usize,
}

/// Trains a model; `progress` is told (step, steps, loss).
pub fn train(
    pack: &RulePack,
    options: &TrainOptions,
    mut progress: impl FnMut(usize, usize, f32),
) -> Result<Trained, Fail> {
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
    let held_out = (options.cases / 10).clamp(200, 6000);
    let drawn = (0..options.cases + held_out)
        .map(|_| draw(pack, &mut rng))
        .collect::<Result<Vec<_>, _>>()?;
    let tokenizer_json = train_tokenizer(&drawn)?;
    let mut tokenizer = Tokenizer::from_bytes(tokenizer_json.as_bytes())?;
    tokenizer.set_encode_special_tokens(true);
    let features = features_of(pack);
    let rows = drawn
        .iter()
        .map(|case| to_row(case, &features, &tokenizer))
        .collect::<Result<Vec<_>, _>>()?;
    let (learning, testing) = rows.split_at(options.cases.min(rows.len()));

    let vars = Vars::new(
        features.len(),
        labels().len(),
        tokenizer.get_vocab_size(true),
        &mut rng,
    )?;
    let network = vars.network();
    let mut optimizer = AdamW::new(
        vars.all(),
        ParamsAdamW {
            lr: 2e-3,
            weight_decay: 0.01,
            ..Default::default()
        },
    )?;
    let batch = options.batch.max(1);
    let steps = options.epochs * learning.len().div_ceil(batch);
    let mut step = 0;
    for _ in 0..options.epochs {
        let order = shuffled(learning.len(), &mut rng);
        for chunk in order.chunks(batch) {
            let rows: Vec<_> = chunk.iter().filter_map(|i| learning.get(*i)).collect();
            optimizer.set_learning_rate(2e-3 * (1.0 - step as f64 / steps as f64).max(0.02));
            let loss = loss(&network, &rows)?;
            optimizer.backward_step(&loss)?;
            step += 1;
            if step % 50 == 0 || step == steps {
                progress(step, steps, loss.to_scalar::<f32>()?);
            }
        }
    }
    let calibration = calibrate(&network, testing)?;
    finish(
        pack,
        &vars,
        &tokenizer_json,
        &features,
        calibration,
        drawn.get(options.cases..).unwrap_or_default(),
        options,
    )
}

fn to_row(case: &SyntheticCase, features: &[Feature], tokenizer: &Tokenizer) -> Result<Row, Fail> {
    Ok(Row {
        features: features.iter().map(|f| f.value(&case.findings)).collect(),
        words: tokenizer
            .encode_fast(case.findings.text(), false)?
            .get_ids()
            .to_vec(),
        label: case.label,
        urgency: case.urgency as usize,
    })
}

pub(crate) fn train_tokenizer(drawn: &[SyntheticCase]) -> Result<String, Fail> {
    tokenizers::parallelism::set_parallelism(false);
    let texts: Vec<&str> = drawn
        .iter()
        .map(|c| c.findings.text())
        .filter(|t| !t.is_empty())
        .collect();
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(1500)
        .min_frequency(3)
        .special_tokens(vec![
            AddedToken::from("[PAD]", true),
            AddedToken::from("[UNK]", true),
        ])
        .build();
    let model = BPE::builder().unk_token("[UNK]".into()).build()?;
    let mut tokenizer = TokenizerBuilder::<
        BPE,
        BertNormalizer,
        BertPreTokenizer,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(model)
    .with_normalizer(Some(BertNormalizer::new(true, true, Some(true), true)))
    .with_pre_tokenizer(Some(BertPreTokenizer))
    .build()?;
    tokenizer.train(&mut trainer, texts.iter())?;
    let tokenizer: Tokenizer = tokenizer.into();
    tokenizer.to_string(false)
}

struct Vars {
    words: Var,
    layers: [(Var, Var); 4],
}

impl Vars {
    fn new(
        features: usize,
        labels: usize,
        vocabulary: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, Fail> {
        let [h1, h2] = HIDDEN;
        let mut matrix = |rows: usize, columns: usize, bound: f32| -> Result<Var, Fail> {
            let values: Vec<f32> = (0..rows * columns)
                .map(|_| rng.random_range(-bound..bound))
                .collect();
            Ok(Var::from_vec(values, (rows, columns), &Device::Cpu)?)
        };
        let bound = |inputs: usize| (6.0 / inputs as f32).sqrt();
        let bias = |n: usize| Var::from_vec(vec![0f32; n], n, &Device::Cpu);
        let inputs = input_columns(features);
        Ok(Self {
            words: matrix(vocabulary, EMBEDDING, 0.1)?,
            layers: [
                (matrix(h1, inputs, bound(inputs))?, bias(h1)?),
                (matrix(h2, h1, bound(h1))?, bias(h2)?),
                (matrix(labels, h2, bound(h2))?, bias(labels)?),
                (matrix(3, h2, bound(h2))?, bias(3)?),
            ],
        })
    }

    fn all(&self) -> Vec<Var> {
        let layers = self.layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]);
        std::iter::once(self.words.clone()).chain(layers).collect()
    }

    fn network(&self) -> Network {
        let pair = |(w, b): &(Var, Var)| (w.as_tensor().clone(), b.as_tensor().clone());
        let [a, b, c, d] = &self.layers;
        Network {
            words: self.words.as_tensor().clone(),
            layers: [pair(a), pair(b), pair(c), pair(d)],
        }
    }
}

fn to_batch(rows: &[&Row]) -> Result<Batch, Fail> {
    let features: Vec<_> = rows.iter().map(|r| r.features.clone()).collect();
    let words: Vec<_> = rows.iter().map(|r| r.words.clone()).collect();
    Ok(Batch::new(&features, &words)?)
}

fn loss(network: &Network, rows: &[&Row]) -> Result<Tensor, Fail> {
    let logits = network.forward(&to_batch(rows)?)?;
    let target = |get: fn(&Row) -> usize| {
        Tensor::from_vec(
            rows.iter().map(|r| get(r) as u32).collect::<Vec<_>>(),
            rows.len(),
            &Device::Cpu,
        )
    };
    let differential = candle_nn::loss::cross_entropy(&logits.differential, &target(|r| r.label)?)?;
    let urgency = candle_nn::loss::cross_entropy(&logits.urgency, &target(|r| r.urgency)?)?;
    Ok((differential + urgency)?)
}

fn shuffled(count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    (1..count)
        .rev()
        .for_each(|i| order.swap(i, rng.random_range(0..=i)));
    order
}

/// Temperatures by least loss over a grid; thresholds so that raising is rarely wrong.
fn calibrate(network: &Network, rows: &[Row]) -> Result<Calibration, Fail> {
    let all: Vec<_> = rows.iter().collect();
    let logits = network.forward(&to_batch(&all)?)?;
    let temperature = |logits: &Tensor, get: fn(&Row) -> usize| -> Result<f64, Fail> {
        let target = Tensor::from_vec(
            rows.iter().map(|r| get(r) as u32).collect::<Vec<_>>(),
            rows.len(),
            &Device::Cpu,
        )?;
        let mut best = (f32::MAX, 1.0);
        for i in 0..40 {
            let t = 0.5 + 0.05 * f64::from(i);
            let loss =
                candle_nn::loss::cross_entropy(&(logits / t)?, &target)?.to_scalar::<f32>()?;
            if loss < best.0 {
                best = (loss, t);
            }
        }
        Ok(best.1)
    };
    Ok(Calibration {
        differential_temperature: temperature(&logits.differential, |r| r.label)?,
        urgency_temperature: temperature(&logits.urgency, |r| r.urgency)?,
        yellow_above: 0.90,
        pink_above: 0.85,
        abstain_below: 0.25,
    })
}

fn finish(
    pack: &RulePack,
    vars: &Vars,
    tokenizer_json: &str,
    features: &[Feature],
    calibration: Calibration,
    held_out: &[SyntheticCase],
    options: &TrainOptions,
) -> Result<Trained, Fail> {
    // Golden results come from the quantized file itself: written once without any, loaded, asked,
    // and written again.
    let none_yet = [GoldenCase {
        findings: serde_json::Value::Null,
        differential: vec![],
        urgency: vec![],
    }];
    let draft = write(
        vars,
        tokenizer_json,
        features,
        &calibration,
        &none_yet,
        "draft",
    )?;
    let model = TriageModel::load("draft", &draft)?;
    let golden = held_out.iter().take(24).map(|case| {
        let (differential, urgency) = model.probabilities(&case.findings)?;
        Ok(GoldenCase {
            findings: case.file.clone(),
            differential,
            urgency,
        })
    });
    let golden = golden.collect::<Result<Vec<_>, Fail>>()?;
    let report = measure(&model, pack, held_out)?;
    let card = card(pack, &report, options);
    let file = write(vars, tokenizer_json, features, &calibration, &golden, &card)?;
    TriageModel::load("reference", &file)?.self_test(pack)?;
    Ok(Trained { file, report })
}

fn write(
    vars: &Vars,
    tokenizer_json: &str,
    features: &[Feature],
    calibration: &Calibration,
    golden: &[GoldenCase],
    card: &str,
) -> Result<Vec<u8>, Fail> {
    let names: Vec<_> = features.iter().map(Feature::name).collect();
    let meta = [
        ("general.architecture", Meta::String(ARCHITECTURE.into())),
        (
            "kijiti.features",
            Meta::String(serde_json::to_string(&names)?),
        ),
        (
            "kijiti.labels",
            Meta::String(serde_json::to_string(&labels())?),
        ),
        (
            "kijiti.calibration",
            Meta::String(serde_json::to_string(calibration)?),
        ),
        ("kijiti.tokenizer", Meta::String(tokenizer_json.into())),
        (
            "kijiti.golden",
            Meta::String(serde_json::to_string(golden)?),
        ),
        ("kijiti.card", Meta::String(card.into())),
    ];
    let q8 = |v: &Var| QTensor::quantize(v.as_tensor(), GgmlDType::Q8_0);
    let f32s = |v: &Var| QTensor::quantize(v.as_tensor(), GgmlDType::F32);
    let mut tensors = vec![("words.weight".to_owned(), q8(&vars.words)?)];
    for (name, (weight, bias)) in ["hidden1", "hidden2", "differential", "urgency"]
        .iter()
        .zip(&vars.layers)
    {
        tensors.push((format!("{name}.weight"), q8(weight)?));
        tensors.push((format!("{name}.bias"), f32s(bias)?));
    }
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(
        &mut file,
        &meta.iter().map(|(k, v)| (*k, v)).collect::<Vec<_>>(),
        &tensors
            .iter()
            .map(|(n, t)| (n.as_str(), t))
            .collect::<Vec<_>>(),
    )?;
    Ok(file.into_inner())
}

/// Measures a model on drawn cases.
pub fn measure(
    model: &TriageModel,
    pack: &RulePack,
    cases: &[SyntheticCase],
) -> Result<Report, Fail> {
    let (mut top1, mut top3, mut abstained) = (0, 0, 0);
    let (mut pink, mut pink_rules, mut pink_model) = (0, 0, 0);
    let (mut green, mut raised) = (0, 0);
    let mut bins = [(0u32, 0f64, 0f64); 10];
    let names = labels();
    for case in cases {
        let opinion = model
            .opinion(&case.findings)
            .ok_or("the model failed on a drawn case")?;
        let right = names.get(case.label).map(|l| &l.name);
        let first = opinion
            .differential
            .first()
            .ok_or("an empty differential")?;
        let hit = Some(&first.0.name) == right;
        top1 += usize::from(hit);
        top3 += usize::from(
            opinion
                .differential
                .iter()
                .take(3)
                .any(|(l, _)| Some(&l.name) == right),
        );
        abstained += usize::from(opinion.abstained);
        if let Some(bin) = bins.get_mut(((first.1 * 10.0) as usize).min(9)) {
            *bin = (
                bin.0 + 1,
                bin.1 + f64::from(first.1),
                bin.2 + f64::from(u8::from(hit)),
            );
        }
        let by_rules = pack.evaluate(Profile::Iccm, &case.findings).urgency();
        let with_model = opinion.raises_to().map_or(by_rules, |u| u.max(by_rules));
        if case.urgency == Urgency::Pink {
            pink += 1;
            pink_rules += usize::from(by_rules == Urgency::Pink);
            pink_model += usize::from(with_model == Urgency::Pink);
        }
        if case.urgency == Urgency::Green && by_rules == Urgency::Green {
            green += 1;
            raised += usize::from(with_model > Urgency::Green);
        }
    }
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    let error: f64 = bins.iter().map(|(_, said, was)| (said - was).abs()).sum();
    Ok(Report {
        cases: cases.len(),
        top1: share(top1, cases.len()),
        top3: share(top3, cases.len()),
        pink_sensitivity_rules: share(pink_rules, pink),
        pink_sensitivity_with_model: share(pink_model, pink),
        green_raised: share(raised, green),
        calibration_error: error / cases.len().max(1) as f64,
        abstained: share(abstained, cases.len()),
    })
}

fn card(pack: &RulePack, report: &Report, options: &TrainOptions) -> String {
    format!(
        "Kijiti reference triage model. NOT CLINICALLY VALIDATED: trained on drawn cases only, to prove the path.\n\
         For: ranking a differential beside the rules, and raising urgency. Never for: lowering urgency, or use without a \
         health worker's decision.\n\
         Trained by `kijiti model train --seed {} --cases {} --epochs {}` on cases drawn around {} {}.\n\
         Held-out drawn cases: {}; right label first {:.1} %, among three {:.1} %; of pink cases, pink by rules {:.1} %, \
         with model {:.1} %; green cases raised {:.2} %; calibration error {:.3}; abstained {:.1} %.",
        options.seed,
        options.cases,
        options.epochs,
        pack.id,
        pack.edition,
        report.cases,
        report.top1 * 100.0,
        report.top3 * 100.0,
        report.pink_sensitivity_rules * 100.0,
        report.pink_sensitivity_with_model * 100.0,
        report.green_raised * 100.0,
        report.calibration_error,
        report.abstained * 100.0,
    )
}

/// How a model does on one group of synthetic patients.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GroupResult {
    /// Which group.
    pub name: &'static str,
    /// Cases in it.
    pub cases: usize,
    /// Of a thousand that deserve pink, shown pink by rules and model together.
    pub sensitivity_permille: u32,
    /// Of a thousand that deserve green and that the rules leave green, not raised.
    pub specificity_permille: u32,
}

/// Measures a model beside the rules on groups of freshly synthetic patients.
pub fn subgroups(
    model: &TriageModel,
    pack: &RulePack,
    seed: u64,
    cases: usize,
) -> Result<Vec<GroupResult>, Fail> {
    const GROUPS: [&str; 5] = [
        "under 2 months",
        "2-11 months",
        "12-59 months",
        "with words",
        "without words",
    ];
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut counts = [[0usize; 5]; GROUPS.len()]; // cases, pink, found, green, left
    for _ in 0..cases {
        let case = draw(pack, &mut rng)?;
        let number = |name: &str| match case.findings.value(name) {
            clinical::FindingValue::Number(n) => Some(*n),
            _ => None,
        };
        let age = match (number("age_days"), number("age_months")) {
            (Some(days), _) if days < 60.0 => 0,
            (_, Some(months)) if months < 12.0 => 1,
            _ => 2,
        };
        let words = if case.findings.text().is_empty() {
            4
        } else {
            3
        };
        let by_rules = pack.evaluate(Profile::Iccm, &case.findings).urgency();
        let raised = model.opinion(&case.findings).and_then(|o| o.raises_to());
        let shown = raised.map_or(by_rules, |u| u.max(by_rules));
        let (pink, green) = (
            case.urgency == Urgency::Pink,
            case.urgency == Urgency::Green && by_rules == Urgency::Green,
        );
        for group in [age, words] {
            if let Some([all, pinks, found, greens, left]) = counts.get_mut(group) {
                *all += 1;
                *pinks += usize::from(pink);
                *found += usize::from(pink && shown == Urgency::Pink);
                *greens += usize::from(green);
                *left += usize::from(green && shown == Urgency::Green);
            }
        }
    }
    let permille = |part: usize, of: usize| (part * 1000 / of.max(1)) as u32;
    let rows = GROUPS
        .iter()
        .zip(counts)
        .map(|(name, [all, pinks, found, greens, left])| GroupResult {
            name,
            cases: all,
            sensitivity_permille: permille(found, pinks),
            specificity_permille: permille(left, greens),
        });
    Ok(rows.collect())
}
