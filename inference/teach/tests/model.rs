//! The reference model: it loads within its limits, its golden cases hold here, it may raise and
//! never lowers.

use clinical::{Profile, Urgency};
use inference::{Findings, RulePack, TriageModel, assess};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use teach::generator;
use teach::train::{TrainOptions, measure, train};

const REFERENCE: &[u8] = include_bytes!("../../../models/triage-reference.gguf");

fn pack() -> RulePack {
    RulePack::built_in().unwrap()
}

#[test]
fn the_reference_model_passes_its_golden_cases_on_this_machine() {
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    assert_eq!(model.self_test(&pack()).unwrap(), 24);
    assert!(model.card().contains("NOT CLINICALLY VALIDATED"));
    assert!(REFERENCE.len() <= 5_000_000);
}

#[test]
fn the_model_never_lowers_what_the_rules_say() {
    let (pack, mut rng) = (pack(), ChaCha20Rng::seed_from_u64(99));
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    for _ in 0..2000 {
        let case = generator::draw(&pack, &mut rng).unwrap();
        for profile in [Profile::Iccm, Profile::Imci] {
            let assessed = assess(&case.findings, &pack, profile, Some(&model));
            assert!(assessed.urgency >= assessed.rule_urgency);
            let clear =
                assessed.urgency == Urgency::Green && assessed.rules.cannot_clear.is_empty();
            assert!(clear || !assessed.green_offered);
        }
    }
}

#[test]
fn on_cases_it_has_not_seen_it_ranks_well_and_finds_more_pink_than_the_rules_alone() {
    let (pack, mut rng) = (pack(), ChaCha20Rng::seed_from_u64(4242));
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    let cases: Vec<_> = (0..3000)
        .map(|_| generator::draw(&pack, &mut rng).unwrap())
        .collect();
    let report = measure(&model, &pack, &cases).unwrap();
    assert!(report.top1 > 0.85 && report.top3 > 0.95, "{report:?}");
    assert!(
        report.pink_sensitivity_with_model > report.pink_sensitivity_rules,
        "{report:?}"
    );
    assert!(
        report.green_raised < 0.02 && report.calibration_error < 0.03,
        "{report:?}"
    );
}

#[test]
fn training_is_the_same_for_the_same_seed_and_its_file_loads() {
    let options = TrainOptions {
        seed: 5,
        cases: 600,
        epochs: 1,
        batch: 64,
    };
    let first = train(&pack(), &options, |_, _, _| {}).unwrap();
    let second = train(&pack(), &options, |_, _, _| {}).unwrap();
    assert_eq!(first.file, second.file);
    TriageModel::load("small", &first.file)
        .unwrap()
        .self_test(&pack())
        .unwrap();
}

#[test]
fn damaged_model_files_are_refused_and_never_panic() {
    for cut in [0, 3, 4, 20, 100, 10_000, REFERENCE.len() - 100] {
        assert!(
            TriageModel::load("cut", &REFERENCE[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    let mut spoiled = 0;
    for at in (0..REFERENCE.len()).step_by(REFERENCE.len() / 300) {
        let mut file = REFERENCE.to_vec();
        file[at] ^= 0x55;
        // A flipped weight may load: the digest and the golden cases are what stands in its way.
        spoiled += usize::from(TriageModel::load("flipped", &file).is_err());
    }
    assert!(spoiled > 10);
}

#[test]
fn a_model_whose_golden_cases_come_out_otherwise_fails_its_self_test() {
    let text = b"\"differential\":[";
    let at = REFERENCE
        .windows(text.len())
        .position(|w| w == text)
        .unwrap()
        + text.len();
    let mut file = REFERENCE.to_vec();
    let likely = (at..).find(|i| file[*i..].starts_with(b"0.9")).unwrap();
    file[likely + 2] = b'1';
    let model = TriageModel::load("wrong", &file).unwrap();
    assert!(model.self_test(&pack()).is_err());
}

#[test]
fn the_model_reads_the_example_as_severe_pneumonia() {
    let example = include_str!("../../../app/examples/severe-pneumonia.toml");
    let findings = Findings::parse(example, &pack()).unwrap();
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    let assessed = assess(&findings, &pack(), Profile::Iccm, Some(&model));
    assert_eq!(assessed.urgency, Urgency::Pink);
    let opinion = assessed.opinion.unwrap();
    assert_eq!(opinion.differential[0].0.name, "Severe pneumonia");
    let sum: f32 = opinion.differential.iter().map(|(_, p)| p).sum();
    assert!((sum - 1.0).abs() < 0.01);
}
