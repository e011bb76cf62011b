//! Adapters: what stands beside a frozen base, and what does not fit is refused.

use clinical::{AgeGroup, Profile, Urgency};
use inference::model::adapter::Adapter;
use inference::{Findings, RulePack, TriageModel, assess};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use teach::adapt::{Base, Patients, RANKS, Tuned, Tuning, read_district, tune};
use teach::own;
use teach::patients::{Teacher, World};

use crate::common::{file_of, tiny};

const TUNING: Tuning = Tuning {
    seed: 3,
    steps: 8,
    batch: 16,
    rate: 1e-2,
    calibration: 200,
    ranks: Some(RANKS),
};

fn base() -> Base {
    let (course, net) = tiny(1);
    Base::new(file_of(&course, &net)).unwrap()
}

fn tuned(base: &Base, tuning: Tuning) -> Tuned {
    let world = read_district("dialect = [[\"a\", \"aa\"]]\nmore = { Measles = 9.0 }").unwrap();
    tune(base, &Patients::Drawn(Box::new(world)), tuning, &mut |_| {}).unwrap()
}

fn patients(count: usize) -> Vec<Findings> {
    let teacher = Teacher::new(World::LEARNING);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    (0..count)
        .map(|_| teacher.draw(&mut rng).findings)
        .collect()
}

/// The greatest difference between what two opinions say.
fn apart(one: &TriageModel, other: &TriageModel) -> f32 {
    let said =
        |model: &TriageModel, findings: &Findings| model.logits(findings).unwrap().0.concat();
    let pairs = patients(40).into_iter().map(|findings| {
        let (one, other) = (said(one, &findings), said(other, &findings));
        let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, f32::max)
    });
    pairs.fold(0.0, f32::max)
}

#[test]
fn an_adapter_says_beside_its_base_what_was_taught_and_what_the_merged_model_would() {
    let base = base();
    let tuned = tuned(&base, TUNING);
    let adapter = Adapter::load(&tuned.adapter(&base).unwrap()).unwrap();
    let adapted = base.model.with(&adapter, "district").unwrap();
    adapted.self_test(&RulePack::built_in().unwrap()).unwrap();
    assert!(adapted.name().ends_with("with district"));
    assert!(
        apart(&base.model, &adapted) > 0.5,
        "it has learned something"
    );

    let (net, encoder) = tuned.taught();
    let cases = patients(40);
    let read: Vec<_> = cases.iter().map(|c| encoder.encode(c).unwrap()).collect();
    let taught = net
        .forward(&read)
        .unwrap()
        .differential
        .to_vec2::<f32>()
        .unwrap();
    for (findings, taught) in cases.iter().zip(&taught) {
        let ([own, _], _) = adapted.logits(findings).unwrap();
        let most = own.iter().copied().fold(f32::MIN, f32::max);
        let all = most + own.iter().map(|x| (x - most).exp()).sum::<f32>().ln();
        let apart = own
            .iter()
            .zip(taught)
            .map(|(own, taught)| (own - all - taught).abs());
        assert!(
            apart.fold(0.0, f32::max) < 0.1,
            "what runs is what was taught"
        );
    }
    let merged = TriageModel::load("merged", &tuned.whole(&base).unwrap()).unwrap();
    assert!(apart(&merged, &adapted) < apart(&base.model, &adapted) / 2.0);
}

#[test]
fn an_adapter_that_has_learned_nothing_leaves_its_base_as_it_is() {
    let base = base();
    let nothing = Tuning {
        steps: 1,
        rate: 0.0,
        ..TUNING
    };
    let file = tuned(&base, nothing).adapter(&base).unwrap();
    let adapted = base
        .model
        .with(&Adapter::load(&file).unwrap(), "nothing")
        .unwrap();
    assert!(apart(&base.model, &adapted) < 1e-3);
}

#[test]
fn an_adapter_for_another_base_is_refused_and_stands_beside_no_other() {
    let base = base();
    let file = tuned(&base, TUNING).adapter(&base).unwrap();
    let adapter = Adapter::load(&file).unwrap();
    assert_eq!(adapter.base(), base.digest);
    let reference = include_bytes!("../../../../models/triage-reference.gguf");
    let reference = TriageModel::load("reference", reference).unwrap();
    let refused = reference
        .with(&adapter, "district")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("another shape"), "{refused}");
    let adapted = base.model.with(&adapter, "district").unwrap();
    assert!(adapted.with(&adapter, "again").is_err());
    assert!(Adapter::load(&base.file).is_err(), "a model is no adapter");
    assert!(TriageModel::load("adapter", &file).is_err());
}

#[test]
fn damaged_adapters_are_refused_or_harmless_and_never_panic() {
    let base = base();
    let file = tuned(&base, TUNING).adapter(&base).unwrap();
    let with = |from: &str, to: &str| crate::with(&file, from, to);
    for (what, damaged) in [
        ("rank", with("\"rank\":3", "\"rank\":9")),
        ("base", with(&base.digest, &"x".repeat(64))),
        ("patients", with("\"infant\"", "\"nobody\"")),
        ("form", with("\"features\":", "\"featurez\":")),
        (
            "coefficients",
            with("rows.coefficients", "rows.coefficientz"),
        ),
    ] {
        assert!(Adapter::load(&damaged).is_err(), "{what}");
    }
    // Behind the last tensor up to 31 bytes of nothing fill the file up: without them nothing is lost.
    for length in (0..file.len() - 32).step_by(file.len() / 60) {
        assert!(Adapter::load(&file[..length]).is_err(), "cut at {length}");
    }
    let findings = patients(1).remove(0);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut read = 0;
    for _ in 0..400 {
        let mut damaged = file.clone();
        let at = rng.random_range(0..damaged.len());
        damaged[at] ^= 1 << rng.random_range(0..8);
        if let Ok(adapter) = Adapter::load(&damaged)
            && let Ok(adapted) = base.model.with(&adapter, "damaged")
        {
            read += 1;
            let judged = assess(
                &findings,
                &RulePack::built_in().unwrap(),
                Profile::Iccm,
                [&adapted],
            );
            assert!(judged.urgency >= judged.rule_urgency);
        }
    }
    assert!(read > 0, "some bits are only weights");
}

/// Mothers whose truth the rules know: a module of their own over a base that was taught by children. One
/// of them has a name, and a measurement that nobody else has.
fn mothers(count: usize) -> String {
    let pack = RulePack::built_in().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut lines = String::new();
    for n in 0..count {
        let bleeds = rng.random_bool(0.3);
        let mut findings = serde_json::json!({
            "age_years": rng.random_range(15..45),
            "gestation_weeks": rng.random_range(8..40),
            "vaginal_bleeding": if bleeds { "yes" } else { "no" },
        });
        if rng.random_bool(0.3) {
            findings["text"] = if bleeds {
                "mama anatoka damu"
            } else {
                "mama mzima"
            }
            .into();
        }
        if n == 7 {
            findings["text"] = "Zawadi Mwakitawa wa Bomani".into();
            findings["muac"] = 187.5.into();
        }
        let urgency = if bleeds { "pink" } else { "green" };
        let label = if bleeds {
            "Bleeding in pregnancy"
        } else {
            "No danger in pregnancy"
        };
        Findings::parse(&findings.to_string(), &pack).unwrap();
        let line = serde_json::json!({ "findings": findings, "label": label, "icd11": if bleeds { "JA41" } else { "QA4Z" }, "urgency": urgency });
        lines += &format!("{line}\n");
    }
    lines
}

#[test]
fn a_module_for_mothers_is_an_adapter_that_speaks_of_them_alone() {
    let base = base();
    let own = own::read(&mothers(300), &base.model).unwrap();
    assert_eq!(own.patients, [AgeGroup::Mother]);
    let tuning = Tuning {
        steps: 120,
        ..TUNING
    };
    let file = tune(&base, &Patients::Own(own), tuning, &mut |_| {})
        .unwrap()
        .adapter(&base)
        .unwrap();
    let adapted = base
        .model
        .with(&Adapter::load(&file).unwrap(), "mothers")
        .unwrap();
    let pack = RulePack::built_in().unwrap();
    assert_eq!(adapted.self_test(&pack).unwrap(), 24);
    let texts = adapted
        .golden()
        .iter()
        .filter(|case| case.findings["text"].is_string());
    assert!(texts.count() > 12, "words are tested too");
    let ask = |bleeds: &str| {
        let said =
            format!("age_years = 20\ngestation_weeks = 20\nvaginal_bleeding = \"{bleeds}\"\n");
        adapted.opinion(&Findings::parse(&said, &pack).unwrap())
    };
    let (bleeds, well) = (ask("yes").unwrap(), ask("no").unwrap());
    assert_eq!(bleeds.differential[0].0.name, "Bleeding in pregnancy");
    assert_eq!(well.differential[0].0.name, "No danger in pregnancy");
    assert_eq!(
        (bleeds.raises_to(), well.raises_to()),
        (Some(Urgency::Pink), None)
    );
    let child = Findings::parse("age_months = 20\ncough_or_difficult = \"yes\"", &pack).unwrap();
    assert!(
        adapted.opinion(&child).is_none(),
        "of children its base speaks"
    );
}

/// Rows of words that a file says anything of.
fn rows(file: &[u8]) -> [Vec<u32>; 2] {
    use candle_core::quantized::gguf_file::{Content, Value};
    let content = Content::read(&mut std::io::Cursor::new(file)).unwrap();
    ["kijiti.rows.grams", "kijiti.rows.pieces"].map(|key| {
        let Value::Array(rows) = &content.metadata[key] else {
            panic!("{key}");
        };
        rows.iter().map(|row| row.to_u32().unwrap()).collect()
    })
}

/// A fresh reader's: the words of one patient of sixty could be read out of the rows that had learned.
#[test]
fn what_one_patient_alone_says_leaves_no_trace_in_an_adapter() {
    let base = base();
    let own = own::read(&mothers(300), &base.model).unwrap();
    let tuned = tune(&base, &Patients::Own(own), TUNING, &mut |_| {}).unwrap();
    let file = tuned.adapter(&base).unwrap();
    let said = |text: &str| {
        let pack = RulePack::built_in().unwrap();
        let file = format!("age_years = 20\ngestation_weeks = 20\ntext = \"{text}\"");
        let encoded = base
            .model
            .encoder()
            .encode(&Findings::parse(&file, &pack).unwrap())
            .unwrap();
        encoded
            .grams
            .iter()
            .map(|row| row.row as u32)
            .collect::<Vec<_>>()
    };
    let [grams, _] = rows(&file);
    let has = |text: &str| said(text).iter().filter(|row| grams.contains(row)).count();
    assert_eq!(has("damu"), said("damu").len(), "what many say is learned");
    for word in ["Zawadi", "Bomani", "Mwakitawa"] {
        // What it shares with others' words may be there; the word itself is not.
        let whole = said(word).last().copied().unwrap();
        assert!(
            !grams.contains(&whole) && has(word) < said(word).len(),
            "{word}"
        );
    }
    for secret in [&b"187.5"[..], b"awadi", b"muac"] {
        assert!(file.windows(secret.len()).all(|w| w != secret));
    }
}

/// A fresh reader's: an adapter that was unsure of everything silenced a base that had raised to pink.
#[test]
fn where_an_adapter_abstains_or_is_a_delegate_s_its_base_is_heard() {
    use inference::model::Calibration;
    let (course, net) = tiny(1);
    let calibrated = |calibration: Calibration| {
        let beside = teach::publish::Beside {
            calibration,
            ..teach::publish::uncalibrated()
        };
        let file = teach::publish::write(&course, &net, teach::publish::Stored::Q8, &beside);
        Base::new(file.unwrap()).unwrap()
    };
    let usual = teach::publish::uncalibrated().calibration;
    let raises = calibrated(Calibration {
        pink_above: 0.0,
        ..usual.clone()
    });
    let file = tuned(&raises, TUNING).adapter(&raises).unwrap();
    let with = |from: &str, to: &str| {
        let adapter = Adapter::load(&crate::with(&file, from, to)).unwrap();
        raises.model.with(&adapter, "district").unwrap()
    };
    let pack = RulePack::built_in().unwrap();
    let findings = Findings::parse("age_months = 20\ncough_or_difficult = \"yes\"", &pack).unwrap();
    let shown = |models: [&TriageModel; 2]| assess(&findings, &pack, Profile::Iccm, models).urgency;
    let value = |key: &str| {
        let text = String::from_utf8_lossy(&file).into_owned();
        let from = text.find(&format!("\"{key}\":")).unwrap();
        let rest = &text[from..];
        let end = rest.find([',', '}']).unwrap();
        rest[..end].to_owned()
    };
    let quiet = |key: &str, to: &str| {
        let from = value(key);
        let mut to = format!("\"{key}\":{to}");
        while to.len() < from.len() {
            to.push('0');
        }
        (from, to)
    };
    let (from, to) = quiet("pink_above", "1.");
    let calm = with(&from, &to);
    let calm_alone = shown([&raises.model, &calm]);
    assert!(
        calm_alone < Urgency::Pink,
        "the ministry's own stands in its base's place"
    );
    let calm = calm.heard_beside();
    assert_eq!(
        shown([&raises.model, &calm]),
        Urgency::Pink,
        "a delegate's does not"
    );
    let (from, to) = quiet("abstain_below", "1.");
    let unsure = with(&from, &to);
    assert!(unsure.opinion(&findings).unwrap().abstained);
    assert_eq!(shown([&raises.model, &unsure]), Urgency::Pink);
}

#[test]
fn what_is_no_district_and_what_are_no_cases_is_refused_with_what_to_do() {
    let base = base();
    let refused = |text: &str| read_district(text).unwrap_err().to_string();
    assert!(refused("more = { Malarya = 2.0 }").contains("there are"));
    assert!(refused("more = { Malaria = -1.0 }").contains("number"));
    assert!(refused("place = 7").contains("lakeside"));
    assert!(refused("plaice = 1").contains("plaice"));
    let refused = |text: &str| own::read(text, &base.model).unwrap_err().to_string();
    assert!(refused("{}").contains("line 1"));
    assert!(
        refused("\n{\"findings\": {}, \"label\": \"x\", \"urgency\": \"pink\"}").contains("line 2")
    );
    assert!(refused(&mothers(20)).contains("too few"));
    // A child among mothers by mistake does not make it speak of children.
    let child = "{\"findings\": {\"age_months\": 20}, \"label\": \"No danger in pregnancy\", \"urgency\": \"green\"}";
    let mixed = mothers(220) + child;
    assert!(
        refused(&mixed).contains("1 cases of the kind child"),
        "{}",
        refused(&mixed)
    );
    // One misspelt label does not throw the model's away.
    let known = &base.model.labels()[0].name;
    let misspelt = mothers(220).replacen("No danger in pregnancy", known, 1);
    assert!(refused(&misspelt).contains("name the model's labels, or new ones only"));
    let uncoded = mothers(220).replacen("\"icd11\":\"JA41\"", "\"icd11\":\"\"", 1);
    assert!(own::read(&uncoded, &base.model).is_ok() || refused(&uncoded).contains("icd11"));
    let two_codes = mothers(220).replacen("JA41", "JA42", 1);
    assert!(refused(&two_codes).contains("was JA4"));
}

/// A fresh reader's: of twelve cases without a green one, everybody was raised to yellow.
#[test]
fn a_threshold_for_which_cases_are_too_few_is_the_base_s() {
    let base = base();
    let own = own::read(&mothers(220), &base.model).unwrap();
    let pink = own
        .known
        .iter()
        .filter(|case| case.urgency == Urgency::Pink);
    let few: Vec<_> = pink.take(12).cloned().collect();
    let before = base.model.calibration();
    let mut known = few;
    known.iter_mut().for_each(|case| case.label = 0);
    let found = teach::publish::calibrate_on(&base.model, &known, before).unwrap();
    assert_eq!(
        [
            found.pink_above,
            found.yellow_above,
            found.abstain_below,
            found.understood_above,
            found.set_above
        ],
        [
            before.pink_above,
            before.yellow_above,
            before.abstain_below,
            before.understood_above,
            before.set_above
        ]
    );
}

#[test]
fn a_model_is_calibrated_anew_and_keeps_its_weights() {
    let base = base();
    let mut beside = teach::publish::uncalibrated();
    let world = read_district("more = { Malaria = 5.0 }").unwrap();
    beside.calibration = teach::publish::calibrate(&base.model, world, 1, 300).unwrap();
    let file = teach::publish::with_beside(&base.file, &beside).unwrap();
    let again = teach::publish::with_beside(&base.file, &beside).unwrap();
    assert_eq!(file, again);
    let anew = TriageModel::load("anew", &file).unwrap();
    assert_eq!(apart(&base.model, &anew), 0.0);
    assert_eq!(anew.calibration(), &beside.calibration);
    assert_ne!(anew.calibration(), base.model.calibration());
}

/// The modules in the repository: the file, what its cases are drawn from, and how many of 300 come first at least.
const MODULES: [(&[u8], &str, usize); 2] = [
    (
        include_bytes!("../../../../models/triage-maternal.gguf"),
        include_str!("../../modules/maternal.toml"),
        150,
    ),
    (
        include_bytes!("../../../../models/triage-agricultural.gguf"),
        include_str!("../../modules/agricultural.toml"),
        140,
    ),
];

/// Each stands beside the reference model as it is, is what it was published as, and names the diseases of its own
/// patients; of children none says anything.
#[test]
fn the_modules_of_mothers_and_of_farms_stand_beside_the_reference_model() {
    let base =
        Base::new(include_bytes!("../../../../models/triage-reference.gguf").to_vec()).unwrap();
    let pack = RulePack::built_in().unwrap();
    for (file, described, least) in MODULES {
        let module = Adapter::load(file).unwrap();
        let anew = "made anew with the base: see CONTRIBUTING.md";
        assert_eq!(module.base(), base.digest, "{anew}");
        let module = base.model.with(&module, "module").unwrap();
        assert!(module.self_test(&pack).unwrap() > 0);
        let described = teach::patients::described::Described::read(described).unwrap();
        let labels = described.labels();
        let (mut first, cases) = (0, 300);
        for n in 0..cases {
            let case = described.draw(0x7E57, n);
            let findings = Findings::parse(&case.findings.to_string(), &pack).unwrap();
            let opinion = module.opinion(&findings).unwrap();
            first += usize::from(opinion.differential[0].0 == labels[case.label]);
        }
        assert!(first > least, "{first} of {cases}");
        let child = Findings::parse("age_months = 20\nfever = \"yes\"", &pack).unwrap();
        assert!(module.opinion(&child).is_none());
    }
}
