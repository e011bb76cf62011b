//! The reference model and files of models: golden cases hold here, what is damaged is refused, a
//! course is the same for the same seed however often it was interrupted.

#![allow(clippy::disallowed_methods, reason = "a test spoils files of its own")]

mod adapter;
mod common;
mod lowers;
mod pictures;

use clinical::{Profile, Urgency};
use common::{TINY, file_of, tiny};
use inference::encode::Encoder;
use inference::{Findings, ModelError, RulePack, TriageModel, assess};
use protocol::Digest;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use teach::adapt::Base;
use teach::evaluate::{Trial, apart};
use teach::learn::{Course, Folder, Plan, Progress, learn};
use teach::net::Net;
use teach::patients::{Wording, World};
use teach::reads::TEXT_SLOTS;
use tokenizers::Tokenizer;

const REFERENCE: &[u8] = include_bytes!("../../../../models/triage-reference.gguf");

fn pack() -> RulePack {
    RulePack::built_in().unwrap()
}

#[test]
fn the_reference_model_passes_its_golden_cases_on_this_machine() {
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    assert_eq!(model.self_test(&pack()).unwrap(), 48);
    assert!(model.card().contains("NOT CLINICALLY VALIDATED"));
    assert!(REFERENCE.len() <= 25_000_000);
}

/// Beside what could be known at best, on patients half of whose phrases nobody has taught it.
#[test]
fn the_reference_model_is_near_what_could_be_known_and_its_chances_are_what_they_say() {
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    let calibration = model.calibration();
    let cool = [
        calibration.differential_temperature,
        calibration.urgency_temperature,
    ];
    let usual = World {
        wording: Wording::Both,
        ..World::LEARNING
    };
    let trial = Trial::new(usual, 4242, 1500).unwrap();
    let (best, own) = (
        trial.measure(trial.ceiling(), 0.1),
        trial.measure(
            &trial.ask_model(&model, cool).unwrap(),
            calibration.set_above,
        ),
    );
    assert!(best.top1 > 0.6 && best.divergence.abs() < 1e-9, "{best:?}");
    assert!(
        own.top1 > best.top1 - 0.055 && own.macro_top3 > best.macro_top3 - 0.06,
        "{own:?}"
    );
    assert!(own.calibration.iter().all(|error| *error < 0.08), "{own:?}");
    let [pink, ..] = own.pink;
    assert!(pink > best.pink[0] - 0.09, "{own:?} {best:?}");
}

#[test]
fn a_course_is_the_same_for_the_same_seed_however_often_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, stop: usize| {
        let folder = Folder::new(folder.path().join(name));
        let mut go_on = |now: Progress| now.step < stop;
        let (course, net) = learn(TINY, (&pack(), None), &folder, &|| 0, &mut go_on).unwrap();
        file_of(&course, &net)
    };
    let whole = run("whole", usize::MAX);
    run("parts", 2);
    let (_, _, step, _) = Folder::new(folder.path().join("parts")).open().unwrap();
    assert_eq!(step, 2);
    run("parts", 4);
    assert!(run("parts", usize::MAX) == whole, "the same bytes");
    let model = TriageModel::load("small", &whole).unwrap();
    model.self_test(&pack()).unwrap();
}

/// A cut between a checkpoint's weights and the words beside them leaves the checkpoint before; and a
/// folder goes on with its own plan, or not at all.
#[test]
fn a_checkpoint_is_whole_or_the_one_before_and_keeps_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let of = Folder::new(folder.path().join("course"));
    let mut two = |now: Progress| now.step < 2;
    learn(TINY, (&pack(), None), &of, &|| 0, &mut two).unwrap();
    std::fs::write(of.path().join("checkpoint-4.safetensors"), "cut").unwrap();
    std::fs::write(of.path().join("checkpoint.part"), "cut").unwrap();
    assert_eq!(of.open().unwrap().2, 2);
    let other = Plan { steps: 9, ..TINY };
    let refused = learn(other, (&pack(), None), &of, &|| 0, &mut |_| true)
        .map(drop)
        .unwrap_err();
    assert!(refused.to_string().contains("another plan"), "{refused}");
    learn(TINY, (&pack(), None), &of, &|| 0, &mut |_| true).unwrap(); // the control
    // What is no checkpoint's is gone, and the last one stands.
    assert!(!of.path().join("checkpoint-4.safetensors").exists());
    std::fs::write(of.path().join("checkpoint-6.safetensors"), "cut").unwrap();
    let spoilt = of.open().map(drop).unwrap_err().to_string();
    assert!(spoilt.contains("checkpoint-6.safetensors"), "{spoilt}");
}

/// A course goes on from a model file: what it knows it keeps, and it reads what the pack asks since.
#[test]
fn a_course_goes_on_from_a_model_file() {
    let folder = tempfile::tempdir().unwrap();
    // It was taught before the pack asked for the last of these.
    let encoder = Course::new(TINY, &pack()).unwrap().encoder;
    let mut tokenizer =
        Tokenizer::from_bytes(encoder.tokenizer_file().unwrap().as_bytes()).unwrap();
    tokenizer.set_encode_special_tokens(true);
    let (read, later) = encoder.features().split_at(encoder.features().len() - 6);
    let course = Course::with(
        TINY,
        Encoder::new(read.to_vec(), tokenizer, TEXT_SLOTS),
        World::LEARNING,
    );
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut net = Net::new(course.shape(), &mut rng).unwrap();
    let (cases, targets) = course.lesson(0).unwrap();
    net.learn(&cases, targets, 1e-2, 1).unwrap();
    let base = Base::new(file_of(&course, &net)).unwrap();
    let plan = Plan {
        seed: TINY.seed + 1,
        after: Some(Digest::of(&base.file)),
        ..TINY
    };
    let (after, begun) = base.begin(plan, &pack()).unwrap();
    assert_eq!(&after.encoder.features()[..read.len()], read);
    assert_eq!(&after.encoder.features()[read.len()..], later);
    let far = |other: &Net| {
        let says = |net: &Net| net.forward(&cases).unwrap().differential;
        let apart = (says(&net) - says(other)).unwrap().abs().unwrap();
        apart.max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    assert!(far(&begun) < 0.1, "what it knows it keeps");
    let new = Net::new(after.shape(), &mut ChaCha8Rng::seed_from_u64(9)).unwrap();
    assert!(far(&new) > 0.1, "the control knows nothing of it");
    let of = Folder::new(folder.path().join("on"));
    learn(plan, (&pack(), Some(&base)), &of, &|| 0, &mut |_| true).unwrap();
    assert_eq!(of.open().unwrap().0.plan().after, plan.after);
    let wide = Plan { width: 128, ..plan };
    assert!(base.begin(wide, &pack()).is_err());
}

#[test]
fn damaged_files_of_models_are_refused_and_never_panic() {
    let (course, net) = tiny(1);
    let file = file_of(&course, &net);
    for cut in [0, 3, 4, 20, 100, 10_000, file.len() - 100] {
        assert!(
            TriageModel::load("cut", &file[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    let mut spoiled = 0;
    // Most of the file is a table of what a model has never heard; its beginning says what it is.
    let all = (0..file.len()).step_by(file.len() / 100);
    for at in (0..100_000).step_by(1000).chain(all) {
        let mut file = file.clone();
        file[at] ^= 0x55;
        // A flipped weight may load: the digest and the golden cases are what stands in its way.
        spoiled += usize::from(TriageModel::load("flipped", &file).is_err());
    }
    assert!(spoiled > 5, "{spoiled}");
}

/// Replaces the first of some bytes by as many others.
fn with(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = file
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .expect(from);
    let mut file = file.to_vec();
    file[at..at + to.len()].copy_from_slice(to.as_bytes());
    file
}

#[test]
fn a_file_whose_parts_do_not_fit_is_refused_with_the_part_before_anything_runs() {
    let (course, net) = tiny(1);
    let file = file_of(&course, &net);
    for (from, to, expected) in [
        ("\"layers\":1", "\"layers\":2", "other tensors"),
        ("\"layers\":1", "\"layers\":9", "other tensors"),
        ("\"slots\":6", "\"slots\":2", "feature"),
        ("\"heads\":2", "\"heads\":0", "larger"),
        ("\"heads\":2", "\"heads\":7", "larger"),
        ("\"width\":64", "\"width\":96", "shape"),
        ("\"inner\":64", "\"inner\":99", "larger"),
        ("|age_days@-:0:1", "|age_days@-:1:0", "feature"),
        ("\"pink_above\":1.0", "\"pink_above\":7.0", "calibration"),
        ("kijiti-triage-2", "kijiti-triage-9", "another architecture"),
        ("grams.weight", "grems.weight", "missing"),
        ("\"type\":\"BPE\"", "\"type\":\"XYZ\"", "tokenizer"),
    ] {
        match TriageModel::load("odd", &with(&file, from, to)) {
            Err(ModelError::Malformed(why)) => assert!(why.contains(expected), "{from}: {why}"),
            other => panic!("{from} to {to}: {other:?}"),
        }
    }
    // Weights that are no numbers: the bias of the urgency, and a scale of a matrix.
    let (spoilt, name) = (net.tensors().unwrap(), "urgency.bias");
    let bias = spoilt[name].to_vec1::<f32>().unwrap();
    let bytes: Vec<u8> = bias.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(bytes, vec![0; 12], "a new network's bias is zero");
    let mut tensors = spoilt.clone();
    let nan =
        candle_core::Tensor::from_vec(vec![0f32, f32::NAN, 0.0], 3, &candle_core::Device::Cpu)
            .unwrap();
    tensors.insert(name.into(), nan);
    let beside = teach::publish::uncalibrated();
    let odd =
        teach::publish::write_tensors(&course, &net, &tensors, teach::publish::Stored::Q8, &beside)
            .unwrap();
    let refused = TriageModel::load("odd", &odd).unwrap_err().to_string();
    assert!(
        refused.contains("urgency.bias") && refused.contains("no number"),
        "{refused}"
    );
    // The control: the same with the numbers that were there.
    let whole =
        teach::publish::write_tensors(&course, &net, &spoilt, teach::publish::Stored::Q8, &beside)
            .unwrap();
    TriageModel::load("whole", &whole).unwrap();
}

/// Finite weights whose sums are not: quantized activations would hide what is no number.
#[test]
fn a_network_that_overflows_says_nothing() {
    let (course, net) = tiny(1);
    let beside = teach::publish::uncalibrated();
    let with_bias = |bias: f32| {
        let mut tensors = net.tensors().unwrap();
        for name in ["layers.0.out.bias", "layers.0.down.bias"] {
            let numbers = vec![bias; 64];
            let all =
                candle_core::Tensor::from_vec(numbers, 64, &candle_core::Device::Cpu).unwrap();
            tensors.insert(name.into(), all);
        }
        let stored = teach::publish::Stored::Q8;
        let file = teach::publish::write_tensors(&course, &net, &tensors, stored, &beside).unwrap();
        TriageModel::load("large", &file).unwrap()
    };
    let findings = Findings::parse("age_months = 30", &pack()).unwrap();
    assert!(with_bias(3e38).opinion(&findings).is_none());
    assert!(with_bias(1.0).opinion(&findings).is_some(), "the control");
}

/// Words of which it has never learned anything are no words to it. (The reference model has learned
/// something of nearly every hashed row, so there this says little: see DECISIONS.md.)
#[test]
fn a_model_abstains_from_what_it_does_not_understand() {
    let (course, mut net) = tiny(1);
    for step in 0..4 {
        let (cases, targets) = course.lesson(step).unwrap();
        net.learn(&cases, targets, 1e-2, step as i32 + 1).unwrap();
    }
    let mut beside = teach::publish::uncalibrated();
    beside.calibration.understood_above = 0.8;
    let file = teach::publish::write(&course, &net, teach::publish::Stored::Q8, &beside).unwrap();
    let model = TriageModel::load("tiny", &file).unwrap();
    let asked = |findings: &Findings| {
        let abstained = model.opinion(findings).unwrap().abstained;
        (abstained, model.logits(findings).unwrap().1)
    };
    let said = "age_months = 30\nfever = \"no\"\ntext = \"xqzzv wkjpqh zzxqv qqwzk\"";
    let (abstains, understood) = asked(&Findings::parse(said, &pack()).unwrap());
    assert!(abstains && understood < 0.8, "{understood}");
    let mut taught = (0..64).map(|n| course.case(n).0.findings);
    let taught = taught.find(|findings| !findings.text().is_empty()).unwrap();
    let (abstains, understood) = asked(&taught);
    assert!(!abstains && understood > 0.9, "the control: {understood}");
}

/// Of a patient of whom nothing is known but words it may raise, and says nothing else; it makes sense of the
/// words all the same.
#[test]
fn a_model_that_knows_nothing_but_words_raises_or_abstains() {
    let (course, net) = tiny(1);
    let with = |pink_above| {
        let mut beside = teach::publish::uncalibrated();
        beside.calibration.pink_above = pink_above;
        let file = teach::publish::write(&course, &net, teach::publish::Stored::Q8, &beside);
        TriageModel::load("tiny", &file.unwrap()).unwrap()
    };
    let of = |model: &TriageModel, said: &str| {
        let findings = Findings::parse(said, &pack()).unwrap();
        let opinion = model.opinion(&findings).unwrap();
        (
            opinion.abstained,
            opinion.raises_to(),
            opinion.understands(),
        )
    };
    let words = "age_months = 30\nseason = \"dry\"\nfever = \"unknown\"\ntext = \"hot body\"";
    assert_eq!(of(&with(1.0), words), (true, None, true));
    assert_eq!(of(&with(0.0), words), (false, Some(Urgency::Pink), true));
    let more = words.replace("\"unknown\"", "\"yes\"");
    assert_eq!(of(&with(1.0), &more), (false, None, true), "the control");
}

#[test]
fn a_model_whose_golden_cases_come_out_otherwise_fails_its_self_test() {
    let (course, net) = tiny(1);
    let file = file_of(&course, &net);
    TriageModel::load("right", &file)
        .unwrap()
        .self_test(&pack())
        .unwrap();
    let text = b"\"urgency\":[0.";
    let at = file.windows(text.len()).position(|w| w == text).unwrap() + text.len();
    let mut odd = file;
    odd[at] = if odd[at] == b'9' { b'1' } else { b'9' };
    let model = TriageModel::load("wrong", &odd).unwrap();
    assert!(matches!(
        model.self_test(&pack()),
        Err(ModelError::Golden { case: 1, .. })
    ));
}

#[test]
fn a_model_says_nothing_of_mothers_and_adults_by_whom_it_was_not_taught() {
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    for (file, says) in [
        ("age_years = 30\nfever = \"yes\"", false),
        ("maternal = \"yes\"\nfever = \"yes\"", false),
        ("age_months = 30\nfever = \"yes\"", true),
        ("age_days = 30\nfever = \"yes\"", true),
    ] {
        let findings = Findings::parse(file, &pack()).unwrap();
        assert_eq!(model.opinion(&findings).is_some(), says, "{file}");
        let judged = assess(&findings, &pack(), Profile::Iccm, Some(&model));
        assert!(says || !judged.raised_by_model);
    }
}

#[test]
fn the_model_reads_the_example_as_severe_pneumonia() {
    let example = include_str!("../../../../app/examples/severe-pneumonia.toml");
    let findings = Findings::parse(example, &pack()).unwrap();
    let model = TriageModel::load("reference", REFERENCE).unwrap();
    let assessed = assess(&findings, &pack(), Profile::Iccm, Some(&model));
    assert_eq!(assessed.urgency, Urgency::Pink);
    let opinion = assessed.opinion.unwrap();
    assert_eq!(opinion.differential[0].0.name, "Severe pneumonia");
    let sum: f32 = opinion.differential.iter().map(|(_, p)| p).sum();
    assert!((sum - 1.0).abs() < 0.01);
}

/// Words that the model makes nothing of have been read by nobody: with them, no child is sent home,
/// whatever else was looked at.
#[test]
fn words_that_the_model_does_not_understand_are_not_green() {
    let (model, pack) = (TriageModel::load("reference", REFERENCE).unwrap(), pack());
    let judge_with = |words: &str, model: Option<&TriageModel>| {
        let file = format!(
            r#"{{"age_months": 20, "convulsing_now": "no", "convulsions": "no", "lethargic": "no",
                "not_able_to_drink": "no", "vomits_everything": "no", "airway": "no", "fever": "no",
                "cough_or_difficult": "no", "diarrhoea": "no", "oedema_both_feet": "no", "muac": 140,
                "text": "{words}"}}"#
        );
        let findings = Findings::parse(&file, &pack).unwrap();
        assess(&findings, &pack, Profile::Iccm, model)
    };
    let judge = |words: &str| judge_with(words, Some(&model));
    let control = judge("");
    assert!(
        control.green_offered && control.urgency == Urgency::Green,
        "{control:?}"
    );
    let strange = judge("lips are blue");
    assert!(strange.opinion.as_ref().unwrap().abstained);
    assert!(
        !strange.green_offered && strange.urgency == Urgency::Yellow,
        "{strange:?}"
    );
    assert_eq!(
        strange.rule_urgency,
        Urgency::Green,
        "the rules say what they said"
    );
    let open = strange.said().cannot_clear;
    let said: Vec<_> = open
        .iter()
        .map(|open| (open.rule.as_str(), open.measure.join(" ")))
        .collect();
    assert_eq!(said, [("words", "text".to_owned())]);
}

/// Of the emergencies that people wrote down of children, hardly one is green beside an interview that was answered
/// with "no" throughout: what alarms by itself, or makes no sense by itself, is not cleared by answers to other
/// questions. Words of every day are.
#[test]
fn emergencies_beside_an_interview_of_no_are_hardly_ever_green() {
    let (model, pack) = (TriageModel::load("reference", REFERENCE).unwrap(), pack());
    let judge = |age: &str, words: &str| {
        let no = [
            "convulsing_now",
            "convulsions",
            "lethargic",
            "not_able_to_drink",
            "vomits_everything",
            "airway",
            "fever",
            "cough_or_difficult",
            "diarrhoea",
            "oedema_both_feet",
        ];
        let no: String = no.iter().map(|name| format!("{name} = \"no\"\n")).collect();
        let file = format!("{age}\n{no}muac = 140\ntext = {words:?}");
        let findings = Findings::parse(&file, &pack).unwrap();
        assess(&findings, &pack, Profile::Iccm, Some(&model)).urgency
    };
    let green = |age: &str, words: &str| judge(age, words) == Urgency::Green;
    assert!(green("age_months = 20", ""), "the control");
    let list: toml::Table = toml::from_str(include_str!("../../phrases/emergencies.toml")).unwrap();
    let said = |one: &toml::Value, key: &str| one[key].as_str().unwrap().to_owned();
    let all = list["emergency"].as_array().unwrap().iter();
    let all: Vec<_> = all
        .map(|one| (said(one, "age"), said(one, "text")))
        .collect();
    let of_children = all.iter().filter(|(age, _)| age.starts_with("age_months"));
    let of_children: Vec<_> = of_children.collect();
    let cleared: Vec<_> = of_children
        .iter()
        .filter(|(age, words)| green(age, words))
        .collect();
    assert!(of_children.len() > 120);
    assert!(cleared.len() * 20 <= of_children.len(), "{cleared:?}");
    let everyday = [
        "cough and runny nose",
        "anakohoa na mafua",
        "il tousse un peu",
    ];
    let cleared = everyday
        .into_iter()
        .filter(|words| green("age_months = 20", words));
    assert!(
        cleared.count() > 0,
        "words of every day are not all held back"
    );
}

/// A report would print the figures of one network under the name of another.
#[test]
fn a_file_is_known_as_that_of_its_course() {
    let (course, net) = tiny(7);
    let own = TriageModel::load("own", &file_of(&course, &net)).unwrap();
    let other = TriageModel::load("reference", REFERENCE).unwrap();
    let trial = Trial::new(World::LEARNING, 5, 64).unwrap();
    let cool = [1.0, 1.0];
    let (of_net, of_own) = (
        trial.ask_net(&course, &net, cool).unwrap(),
        trial.ask_model(&own, cool).unwrap(),
    );
    let of_other = trial.ask_model(&other, cool).unwrap();
    assert!(apart(&of_net, &of_own) < 0.05);
    assert!(apart(&of_net, &of_other) > 0.15);
}
