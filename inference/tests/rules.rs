//! The clinical rules: boundaries from both sides, danger signs one by one, and what unknown means.

use std::collections::BTreeMap;

use clinical::age::AgeError;
use clinical::{FindingValue, FindingsError, Profile, Urgency};
use inference::golden::{self, WELL_CHILD, WELL_INFANT};
use inference::logic::{Expr, NOTHING_CLOSED, Scope, Tri};
use inference::rules::{Evaluation, FindingKind};
use inference::{Findings, RulePack};

fn pack() -> RulePack {
    RulePack::built_in().unwrap()
}

fn with(base: &str, changes: &str) -> Findings {
    let mut file: serde_json::Map<String, serde_json::Value> = serde_json::from_str(base).unwrap();
    let changes: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(changes).unwrap();
    for (name, value) in changes {
        if name.starts_with("age_") {
            file.retain(|key, _| !key.starts_with("age_"));
        }
        file.insert(name, value);
    }
    Findings::parse(&serde_json::Value::Object(file).to_string(), &pack()).unwrap()
}

fn judge(base: &str, changes: &str, profile: Profile) -> Evaluation {
    pack().evaluate(profile, &with(base, changes))
}

fn fires(base: &str, changes: &str, profile: Profile, rule: &str) -> bool {
    judge(base, changes, profile)
        .fired
        .iter()
        .any(|o| o.rule == rule)
}

#[test]
fn a_child_with_nothing_found_is_green_in_both_profiles() {
    for (base, profile) in [
        (WELL_CHILD, Profile::Iccm),
        (WELL_CHILD, Profile::Imci),
        (WELL_INFANT, Profile::Iccm),
        (WELL_INFANT, Profile::Imci),
    ] {
        let judged = judge(base, "{}", profile);
        assert_eq!(
            judged.urgency(),
            Urgency::Green,
            "{profile:?} {:?}",
            judged.fired
        );
        assert!(
            judged.green_offered(),
            "{profile:?} cannot clear {:?}",
            judged.cannot_clear
        );
    }
}

#[test]
fn every_general_danger_sign_alone_is_pink_and_unknown_forbids_green() {
    for sign in [
        "convulsing_now",
        "convulsions",
        "lethargic",
        "not_able_to_drink",
        "vomits_everything",
        "airway",
    ] {
        for profile in [Profile::Iccm, Profile::Imci] {
            let yes = judge(WELL_CHILD, &format!(r#"{{"{sign}": "yes"}}"#), profile);
            assert_eq!(yes.urgency(), Urgency::Pink, "{sign}");
            assert!(
                yes.fired
                    .iter()
                    .any(|o| o.findings.contains(&(sign.to_owned(), FindingValue::Yes))),
                "{sign} is not named"
            );
            let unknown = judge(WELL_CHILD, &format!(r#"{{"{sign}": "unknown"}}"#), profile);
            assert!(!unknown.green_offered(), "{sign} unknown and green offered");
            let measure = unknown
                .cannot_clear
                .iter()
                .flat_map(|o| &o.findings)
                .any(|(name, _)| name == sign);
            assert!(measure, "{sign} is not asked for");
        }
    }
}

/// Rule, profile, base, the change just outside, the change just inside.
#[rustfmt::skip]
const BOUNDARIES: &[(&str, Profile, &str, &str, &str)] = &[
    ("C2", Profile::Iccm, WELL_CHILD, r#"{"age_months": 11, "cough_or_difficult": "yes", "respiratory_rate": 49}"#, r#"{"age_months": 11, "cough_or_difficult": "yes", "respiratory_rate": 50}"#),
    ("C2", Profile::Imci, WELL_CHILD, r#"{"age_months": 12, "cough_or_difficult": "yes", "respiratory_rate": 39}"#, r#"{"age_months": 12, "cough_or_difficult": "yes", "respiratory_rate": 40}"#),
    ("C2", Profile::Imci, WELL_CHILD, r#"{"age_months": 11, "cough_or_difficult": "yes", "respiratory_rate": 45}"#, r#"{"age_months": 12, "cough_or_difficult": "yes", "respiratory_rate": 45}"#),
    ("C1-oxygen", Profile::Iccm, WELL_CHILD, r#"{"cough_or_difficult": "yes", "spo2": 90}"#, r#"{"cough_or_difficult": "yes", "spo2": 89}"#),
    ("C1-oxygen", Profile::Imci, WELL_CHILD, r#"{"cough_or_difficult": "yes", "spo2": 90}"#, r#"{"cough_or_difficult": "yes", "spo2": 89}"#),
    ("C14", Profile::Iccm, WELL_CHILD, r#"{"cough_or_difficult": "yes", "cough_days": 13}"#, r#"{"cough_or_difficult": "yes", "cough_days": 14}"#),
    ("C14", Profile::Imci, WELL_CHILD, r#"{"cough_or_difficult": "yes", "cough_days": 14}"#, r#"{"cough_or_difficult": "yes", "cough_days": 15}"#),
    ("D5", Profile::Iccm, WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 13}"#, r#"{"diarrhoea": "yes", "diarrhoea_days": 14}"#),
    ("D5", Profile::Imci, WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 13}"#, r#"{"diarrhoea": "yes", "diarrhoea_days": 14}"#),
    ("F8", Profile::Iccm, WELL_CHILD, r#"{"fever": "yes", "fever_days": 6}"#, r#"{"fever": "yes", "fever_days": 7}"#),
    ("F8", Profile::Imci, WELL_CHILD, r#"{"fever": "yes", "fever_days": 7}"#, r#"{"fever": "yes", "fever_days": 8}"#),
    ("F4", Profile::Imci, WELL_CHILD, r#"{"temperature": 37.4}"#, r#"{"temperature": 37.5}"#),
    ("N3", Profile::Iccm, WELL_CHILD, r#"{"muac": 115, "wfh_z": "unknown"}"#, r#"{"muac": 114, "wfh_z": "unknown"}"#),
    ("N4", Profile::Iccm, WELL_CHILD, r#"{"muac": 125, "wfh_z": "unknown"}"#, r#"{"muac": 124, "wfh_z": "unknown"}"#),
    ("N4", Profile::Imci, WELL_CHILD, r#"{"wfh_z": -2}"#, r#"{"wfh_z": -2.1}"#),
    ("N3", Profile::Imci, WELL_CHILD, r#"{"wfh_z": -3}"#, r#"{"wfh_z": -3.1}"#),
    ("H1", Profile::Imci, WELL_CHILD, r#"{"age_months": 17, "child_serology": "positive"}"#, r#"{"age_months": 18, "child_serology": "positive"}"#),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"temperature": 37.9}"#, r#"{"temperature": 38.0}"#),
    ("Y1", Profile::Iccm, WELL_INFANT, r#"{"temperature": 35.5}"#, r#"{"temperature": 35.4}"#),
    ("Y1-2014", Profile::Imci, WELL_INFANT, r#"{"temperature": 37.4}"#, r#"{"temperature": 37.5}"#),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"age_days": 7, "respiratory_rate": 60}"#, r#"{"age_days": 6, "respiratory_rate": 60}"#),
    ("Y2", Profile::Imci, WELL_INFANT, r#"{"respiratory_rate": 59}"#, r#"{"respiratory_rate": 60}"#),
    ("Y2", Profile::Imci, WELL_INFANT, r#"{"respiratory_rate": 60, "respiratory_rate_second": 59}"#, r#"{"respiratory_rate": 60, "respiratory_rate_second": 60}"#),
    ("J1", Profile::Imci, WELL_INFANT, r#"{"age_hours": 24, "yellow_skin": "yes", "yellow_first_24h": "no"}"#, r#"{"age_hours": 23, "yellow_skin": "yes", "yellow_first_24h": "no"}"#),
    ("J3", Profile::Imci, WELL_INFANT, r#"{"age_days": 20, "yellow_skin": "yes", "yellow_first_24h": "no"}"#, r#"{"age_days": 21, "yellow_skin": "yes", "yellow_first_24h": "no"}"#),
    ("W1", Profile::Imci, WELL_INFANT, r#"{"age_days": 3, "weight": 2.1}"#, r#"{"age_days": 3, "weight": 2.0}"#),
    ("W1", Profile::Imci, WELL_INFANT, r#"{"age_days": 7, "weight": 1.9}"#, r#"{"age_days": 6, "weight": 1.9}"#),
];

#[test]
fn boundaries_hold_from_both_sides() {
    for (rule, profile, base, outside, inside) in BOUNDARIES {
        assert!(
            !fires(base, outside, *profile, rule),
            "{rule} {profile:?} fires at {outside}"
        );
        assert!(
            fires(base, inside, *profile, rule),
            "{rule} {profile:?} does not fire at {inside}"
        );
    }
}

/// Rule, profile, findings that make it fire, its colour.
#[rustfmt::skip]
const EXAMPLES: &[(&str, Profile, &str, &str, Urgency)] = &[
    ("C2c", Profile::Iccm, WELL_CHILD, r#"{"cough_or_difficult": "yes", "chest_indrawing": "yes"}"#, Urgency::Pink),
    ("C2", Profile::Imci, WELL_CHILD, r#"{"cough_or_difficult": "yes", "chest_indrawing": "yes"}"#, Urgency::Yellow),
    ("C1", Profile::Imci, WELL_CHILD, r#"{"cough_or_difficult": "yes", "stridor_calm": "yes"}"#, Urgency::Pink),
    ("C1", Profile::Iccm, WELL_CHILD, r#"{"cough_or_difficult": "yes", "stridor_calm": "yes"}"#, Urgency::Pink),
    ("C3", Profile::Iccm, WELL_CHILD, r#"{"cough_or_difficult": "yes"}"#, Urgency::Green),
    ("D1", Profile::Imci, WELL_CHILD, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "skin_pinch": "very_slow"}"#, Urgency::Pink),
    ("D1", Profile::Iccm, WELL_CHILD, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "drinking": "poor"}"#, Urgency::Pink),
    ("D2", Profile::Imci, WELL_CHILD, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "drinking": "eager"}"#, Urgency::Yellow),
    ("D3", Profile::Iccm, WELL_CHILD, r#"{"diarrhoea": "yes"}"#, Urgency::Green),
    ("D4", Profile::Imci, WELL_CHILD, r#"{"diarrhoea": "yes", "diarrhoea_days": 15, "sunken_eyes": "yes", "drinking": "eager"}"#, Urgency::Pink),
    ("D6", Profile::Imci, WELL_CHILD, r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#, Urgency::Yellow),
    ("D6", Profile::Iccm, WELL_CHILD, r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#, Urgency::Pink),
    ("F1", Profile::Imci, WELL_CHILD, r#"{"fever": "yes", "stiff_neck": "yes"}"#, Urgency::Pink),
    ("F2", Profile::Iccm, WELL_CHILD, r#"{"fever": "yes", "malaria_test": "positive"}"#, Urgency::Yellow),
    ("F3", Profile::Iccm, WELL_CHILD, r#"{"fever": "yes", "malaria_test": "not_available", "malaria_risk": "high"}"#, Urgency::Yellow),
    ("F3", Profile::Iccm, WELL_CHILD, r#"{"fever": "yes", "malaria_test": "invalid", "malaria_risk": "high"}"#, Urgency::Yellow),
    ("F6", Profile::Imci, WELL_CHILD, r#"{"fever": "yes", "refuses_limb": "yes"}"#, Urgency::Pink),
    ("F7", Profile::Imci, WELL_CHILD, r#"{"fever": "yes", "painful_urination": "yes"}"#, Urgency::Yellow),
    ("M1", Profile::Imci, WELL_CHILD, r#"{"measles": "yes", "mouth_ulcers": "deep"}"#, Urgency::Pink),
    ("M2", Profile::Imci, WELL_CHILD, r#"{"measles": "yes", "eye_pus": "yes"}"#, Urgency::Yellow),
    ("M3", Profile::Imci, WELL_CHILD, r#"{"measles": "yes"}"#, Urgency::Green),
    ("E1", Profile::Imci, WELL_CHILD, r#"{"ear_problem": "yes", "swelling_behind_ear": "yes"}"#, Urgency::Pink),
    ("E2", Profile::Imci, WELL_CHILD, r#"{"ear_problem": "yes", "ear_pain": "yes", "swelling_behind_ear": "no"}"#, Urgency::Yellow),
    ("E3", Profile::Imci, WELL_CHILD, r#"{"ear_problem": "yes", "ear_pain": "no", "ear_discharge_days": 14, "swelling_behind_ear": "no"}"#, Urgency::Yellow),
    ("E4", Profile::Imci, WELL_CHILD, r#"{"ear_problem": "yes", "ear_pain": "no", "ear_discharge_days": 0, "swelling_behind_ear": "no"}"#, Urgency::Green),
    ("N1", Profile::Iccm, WELL_CHILD, r#"{"oedema_both_feet": "yes"}"#, Urgency::Pink),
    ("N1", Profile::Imci, WELL_CHILD, r#"{"wfh_z": -3.5, "appetite_test": "failed"}"#, Urgency::Pink),
    ("N2", Profile::Imci, WELL_CHILD, r#"{"wfh_z": -3.5, "appetite_test": "not_done"}"#, Urgency::Pink),
    ("N5", Profile::Imci, WELL_CHILD, r#"{}"#, Urgency::Green),
    ("A1", Profile::Imci, WELL_CHILD, r#"{"palmar_pallor": "severe"}"#, Urgency::Pink),
    ("A2", Profile::Iccm, WELL_CHILD, r#"{"palmar_pallor": "some"}"#, Urgency::Yellow),
    ("C2h", Profile::Imci, WELL_CHILD, r#"{"cough_or_difficult": "yes", "chest_indrawing": "yes", "mother_hiv": "positive"}"#, Urgency::Pink),
    ("D6", Profile::Iccm, WELL_CHILD, r#"{"blood_in_stool": "yes"}"#, Urgency::Pink),
    ("C1-oxygen", Profile::Iccm, WELL_CHILD, r#"{"spo2": 85}"#, Urgency::Pink),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"temperature": 39.0, "temperature_rectal": 37.9}"#, Urgency::Pink),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"temperature_rectal": 35.8, "temperature_second": 35.7}"#, Urgency::Pink),
    ("N2", Profile::Imci, WELL_CHILD, r#"{"age_months": 4, "wfh_z": -3.5, "appetite_test": "passed"}"#, Urgency::Pink),
    ("A3", Profile::Iccm, WELL_CHILD, r#"{}"#, Urgency::Green),
    ("H2", Profile::Imci, WELL_CHILD, r#"{"mother_hiv": "positive", "child_virological": "negative", "breastfed_within_6_weeks": "yes"}"#, Urgency::Yellow),
    ("H3", Profile::Imci, WELL_CHILD, r#"{}"#, Urgency::Green),
    ("S1", Profile::Imci, WELL_CHILD, r#"{"skin_problem": "stevens_johnson"}"#, Urgency::Pink),
    ("S1b", Profile::Imci, WELL_CHILD, r#"{"skin_problem": "ringworm", "skin_severe": "yes"}"#, Urgency::Pink),
    ("S1c", Profile::Imci, WELL_CHILD, r#"{"skin_problem": "impetigo", "skin_large": "yes"}"#, Urgency::Yellow),
    ("S2", Profile::Imci, WELL_CHILD, r#"{"corneal_clouding": "yes"}"#, Urgency::Pink),
    ("S3", Profile::Imci, WELL_CHILD, r#"{"eye_pus": "yes"}"#, Urgency::Yellow),
    ("S4", Profile::Imci, WELL_CHILD, r#"{"skin_problem": "scabies"}"#, Urgency::Yellow),
    ("Y1", Profile::Iccm, WELL_INFANT, r#"{"feeding": "not_well"}"#, Urgency::Pink),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"movement": "stimulated"}"#, Urgency::Pink),
    ("Y1", Profile::Imci, WELL_INFANT, r#"{"severe_chest_indrawing": "yes"}"#, Urgency::Pink),
    ("Y2", Profile::Iccm, WELL_INFANT, r#"{"respiratory_rate": 64}"#, Urgency::Pink),
    ("Y3", Profile::Imci, WELL_INFANT, r#"{"umbilicus_red": "yes"}"#, Urgency::Yellow),
    ("Y4", Profile::Imci, WELL_INFANT, r#"{}"#, Urgency::Green),
    ("J1", Profile::Imci, WELL_INFANT, r#"{"yellow_palms": "yes"}"#, Urgency::Pink),
    ("J2", Profile::Imci, WELL_INFANT, r#"{"yellow_skin": "yes", "yellow_first_24h": "no"}"#, Urgency::Yellow),
    ("Yd1", Profile::Imci, WELL_INFANT, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "skin_pinch": "very_slow"}"#, Urgency::Pink),
    ("Yd2", Profile::Imci, WELL_INFANT, r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "skin_pinch": "slow"}"#, Urgency::Yellow),
    ("Yd3", Profile::Imci, WELL_INFANT, r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#, Urgency::Pink),
    ("W2", Profile::Imci, WELL_INFANT, r#"{"feeding_problem": "yes"}"#, Urgency::Yellow),
    ("YC", Profile::Iccm, WELL_INFANT, r#"{"umbilicus_red": "yes"}"#, Urgency::Pink),
];

#[test]
fn every_rule_has_an_example_that_fires_it_with_its_colour_and_a_source() {
    let mut shown = std::collections::BTreeSet::from(["G1", "H4"]);
    for (rule, profile, base, findings, urgency) in EXAMPLES {
        let judged = judge(base, findings, *profile);
        let outcome = judged
            .fired
            .iter()
            .find(|o| o.rule == *rule)
            .unwrap_or_else(|| panic!("{rule} at {findings}"));
        assert_eq!(outcome.urgency, *urgency, "{rule}");
        assert!(!outcome.source.is_empty() && !outcome.action.is_empty());
        shown.insert(rule);
    }
    shown.extend(BOUNDARIES.iter().map(|(rule, ..)| *rule));
    let lines = golden::lines().unwrap();
    let pack = pack();
    let fired: Vec<String> = lines
        .iter()
        .flat_map(|line| golden::fired(&pack, line))
        .collect();
    shown.extend(fired.iter().map(String::as_str));
    for profile in [Profile::Iccm, Profile::Imci] {
        for group in clinical::AgeGroup::ALL {
            for rule in pack.rules(profile, group) {
                assert!(
                    shown.contains(rule.id.as_str()),
                    "no example for {}",
                    rule.id
                );
            }
        }
    }
}

#[test]
fn ages_in_days_are_never_rounded_to_months() {
    use clinical::AgeGroup::{Child, Infant};
    let group = |age: &str| {
        with(
            if age.contains("days") {
                WELL_INFANT
            } else {
                WELL_CHILD
            },
            age,
        )
        .group()
    };
    assert_eq!(group(r#"{"age_days": 59}"#), Infant);
    assert_eq!(group(r#"{"age_months": 2}"#), Child);
    let error = |file: &str| Findings::parse(file, &pack()).unwrap_err();
    assert_eq!(
        error(r#"{"age_months": 1}"#),
        FindingsError::Age(AgeError::InfantInMonths)
    );
    assert_eq!(
        error(r#"{"age_months": 60}"#),
        FindingsError::Age(AgeError::NotAChild)
    );
    assert_eq!(error("{}"), FindingsError::Age(AgeError::Missing));
}

#[test]
fn an_unknown_oxygen_saturation_is_not_a_normal_one() {
    let cough = r#"{"cough_or_difficult": "yes", "spo2": "unknown"}"#;
    // Neither at home nor at the facility is there always an oximeter (2014: "if available"): it is
    // said, and does not keep every cough from being green.
    for profile in [Profile::Iccm, Profile::Imci] {
        let judged = judge(WELL_CHILD, cough, profile);
        assert!(judged.green_offered());
        assert!(
            judged.advised.iter().any(|o| o.rule == "C1-oxygen"
                && o.findings == [("spo2".to_owned(), FindingValue::Unknown)])
        );
    }
}

#[test]
fn breaths_not_counted_and_fevers_not_tested_are_not_green() {
    for profile in [Profile::Iccm, Profile::Imci] {
        let cough = judge(
            WELL_CHILD,
            r#"{"cough_or_difficult": "yes", "respiratory_rate": "unknown"}"#,
            profile,
        );
        assert!(
            !cough.green_offered() && cough.cannot_clear.iter().any(|o| o.rule == "C2"),
            "{profile:?}"
        );
        let fever = judge(
            WELL_CHILD,
            r#"{"fever": "yes", "malaria_test": "unknown", "malaria_risk": "high"}"#,
            profile,
        );
        assert!(
            !fever.green_offered() && fever.cannot_clear.iter().any(|o| o.rule == "F2"),
            "{profile:?}"
        );
        let safe = judge(
            WELL_CHILD,
            r#"{"fever": "yes", "malaria_test": "unknown", "malaria_risk": "none"}"#,
            profile,
        );
        assert!(safe.green_offered(), "{profile:?} {:?}", safe.cannot_clear);
        let infant = judge(WELL_INFANT, r#"{"respiratory_rate": "unknown"}"#, profile);
        assert!(!infant.green_offered(), "{profile:?}");
    }
}

#[test]
fn a_sign_that_needs_only_eyes_or_a_question_forbids_green_while_unknown() {
    #[rustfmt::skip]
    let open = [
        (WELL_CHILD, r#"{"fever": "yes", "stiff_neck": "unknown"}"#, Profile::Iccm),
        (WELL_CHILD, r#"{"cough_or_difficult": "yes", "stridor_calm": "unknown"}"#, Profile::Iccm),
        (WELL_CHILD, r#"{"palmar_pallor": "unknown"}"#, Profile::Imci),
        (WELL_CHILD, r#"{"measles": "yes", "mouth_ulcers": "unknown"}"#, Profile::Iccm),
        (WELL_CHILD, r#"{"age_months": 4, "wfh_z": "unknown"}"#, Profile::Imci),
        (WELL_INFANT, r#"{"cough_or_difficult": "unknown"}"#, Profile::Iccm),
    ];
    for (base, findings, profile) in open {
        assert!(
            !judge(base, findings, profile).green_offered(),
            "{findings}"
        );
    }
    let both = Findings::parse(r#"{"age_months": 30, "age_days": 200}"#, &pack()).unwrap_err();
    assert_eq!(both, FindingsError::Age(AgeError::Several));
    assert!(!fires(
        WELL_CHILD,
        r#"{"age_days": 364, "cough_or_difficult": "yes", "respiratory_rate": 45}"#,
        Profile::Iccm,
        "C2"
    ));
    assert!(fires(
        WELL_CHILD,
        r#"{"age_days": 365, "cough_or_difficult": "yes", "respiratory_rate": 45}"#,
        Profile::Iccm,
        "C2"
    ));
}

#[test]
fn bad_values_say_what_would_be_good() {
    let bad = |good: &str, bad: &str| {
        assert!(WELL_CHILD.contains(good));
        Findings::parse(&WELL_CHILD.replace(good, bad), &pack()).unwrap_err()
    };
    let (name, unit) = ("temperature".to_owned(), "°C".to_owned());
    assert_eq!(
        bad("36.8", "400"),
        FindingsError::Impossible(name, 400.0, unit, 32.0, 45.0)
    );
    assert!(matches!(
        bad("\"temperature\"", "\"temprature\""),
        FindingsError::NoSuchFinding(name, _, near) if name == "temprature" && near == "temperature"
    ));
    assert!(matches!(
        bad("\"drinking\": \"normal\"", "\"drinking\": \"gladly\""),
        FindingsError::NotAChoice(name, words) if name == "drinking" && words.contains(&"unable".into())
    ));
    let not_a_flag = bad("\"fever\": \"no\"", "\"fever\": 3");
    assert_eq!(not_a_flag, FindingsError::NotAFlag("fever".into()));
    assert!(matches!(bad("36.8", "}"), FindingsError::Malformed(form, _) if form == "JSON"));
}

#[test]
fn the_built_in_pack_passes_every_golden_case_of_the_guidelines() {
    let tried = golden::try_pack(&pack());
    assert!(tried.as_ref().is_ok_and(|cases| *cases > 120), "{tried:?}");
}

/// A pack as the ministry signs it, with one thing changed.
fn spoilt(from: &str, to: &str) -> RulePack {
    let text = inference::rules::BUILT_IN;
    assert!(text.contains(from), "{from}");
    RulePack::parse(&text.replace(from, to)).unwrap()
}

/// K1 of the clinical review: packs that silence rules are refused with the case that failed; and
/// if one runs all the same, the floor still says pink for every general danger sign.
#[test]
fn k1_a_signed_pack_without_rules_or_with_spoilt_ones_is_refused_and_the_floor_still_speaks() {
    let (head, _) = inference::rules::BUILT_IN
        .split_once("# ── Rules, sick child")
        .unwrap();
    let packs = [
        ("without rules", RulePack::parse(head).unwrap()),
        (
            "500 breaths",
            spoilt("respiratory_rate >= 40", "respiratory_rate >= 500"),
        ),
        (
            "a gate turned round",
            spoilt(
                "cough_or_difficult and cough_days >= 14",
                "not cough_or_difficult and cough_days >= 14",
            ),
        ),
        (
            "no convulsions",
            spoilt(
                "convulsing_now or convulsions or lethargic",
                "convulsing_now or lethargic",
            ),
        ),
    ];
    for (what, pack) in packs {
        let refused = golden::try_pack(&pack).unwrap_err();
        assert!(
            refused.starts_with("golden case failed"),
            "{what}: {refused}"
        );
        // A test hook: it is asked all the same.
        for sign in [
            "convulsing_now",
            "convulsions",
            "lethargic",
            "not_able_to_drink",
            "vomits_everything",
            "airway",
        ] {
            for (base, profile) in [
                (WELL_CHILD, Profile::Iccm),
                (WELL_CHILD, Profile::Imci),
                (WELL_INFANT, Profile::Iccm),
            ] {
                let findings = with(base, &format!(r#"{{"{sign}": "yes"}}"#));
                assert_eq!(
                    pack.evaluate(profile, &findings).urgency(),
                    Urgency::Pink,
                    "{what}: {sign}"
                );
            }
        }
        // The control: without the floor the pack that has no rules says green to a convulsing
        // child.
        let convulsing = with(WELL_CHILD, r#"{"convulsions": "yes"}"#);
        if matches!(what, "without rules" | "no convulsions") {
            assert_eq!(
                pack.evaluate_alone(Profile::Iccm, &convulsing).urgency(),
                Urgency::Green,
                "{what}"
            );
        }
    }
}

#[test]
fn a_pack_with_fewer_pink_rules_needs_an_explicit_word_and_none_redefines_a_built_in_finding() {
    let (before, rules) = (pack(), inference::rules::BUILT_IN);
    let at = rules.find("[[rule]]\nid = \"C14\"").unwrap();
    let end = at + 8 + rules[at + 8..].find("[[rule]]").unwrap();
    let fewer = [&rules[..at], &rules[end..]].concat();
    assert_eq!(
        RulePack::parse(&fewer).unwrap().lacks(&before),
        ["C14 (child, iccm)"]
    );
    let said = fewer.replace("version = 1\n", "version = 2\ngives_up = [\"C14\"]\n");
    assert!(RulePack::parse(&said).unwrap().lacks(&before).is_empty());
    assert!(pack().lacks(&before).is_empty());
    for (from, to) in [
        (
            "id = \"spo2\"",
            "id = \"spo2\"\nkind = \"number\"\nmin = 95\nmax = 100",
        ),
        (
            "id = \"spo2\"",
            "id = \"spo2\"\nkind = \"number\"\nmin = 0\nmax = 100",
        ),
        ("id = \"spo2\"", "id = \"spo2\"\nkind = \"flag\""),
        ("id = \"spo2\"", "id = \"spo2\"\ncode = \"8310-5\""),
        (
            "id = \"temperature\"",
            "id = \"temperature\"\nunit = \"[degF]\"",
        ),
        (
            "id = \"stiff_neck\"",
            "id = \"stiff_neck\"\nkind = \"choice\"\nchoices = [\"no\", \"yes\"]",
        ),
    ] {
        let refused = RulePack::parse(&rules.replacen(from, to, 1));
        assert!(
            rules.contains(from) && refused.unwrap_err().contains("means something else"),
            "{to}"
        );
    }
    // What every phone knows may be repeated, and a choice may be given more words; no word of it
    // can be taken away.
    for (from, to) in [
        (
            "id = \"spo2\"",
            "id = \"spo2\"\nkind = \"number\"\nmin = 40\nmax = 100\nunit = \"%\"\ncode = \"59408-5\"",
        ),
        (
            "id = \"temperature\"",
            "id = \"temperature\"\nunit = \"°C\"",
        ),
        (
            "id = \"drinking\"",
            "id = \"drinking\"\nkind = \"choice\"\nchoices = [\"normal\", \"gulps\"]",
        ),
    ] {
        let same = RulePack::parse(&rules.replacen(from, to, 1)).unwrap();
        let words = &same.finding("drinking").unwrap().kind;
        assert!(
            matches!(words, FindingKind::Choice(words) if words.iter().any(|word| word == "unable")),
            "{to}"
        );
    }
}

/// K2, K3: a severe sign that was found is never green, whatever its gate says and whichever age
/// group it belongs to.
#[test]
fn k2_k3_a_recorded_severe_sign_is_pink_or_named_whatever_its_gate_says() {
    let gates =
        r#""cough_or_difficult": "no", "fever": "no", "diarrhoea": "no", "ear_problem": "no""#;
    for sign in [
        r#""stridor_calm": "yes""#,
        r#""stiff_neck": "yes""#,
        r#""swelling_behind_ear": "yes""#,
        r#""drinking": "unable""#,
        r#""sunken_eyes": "yes", "skin_pinch": "very_slow""#,
        r#""chest_indrawing": "yes""#,
    ] {
        let judged = judge(WELL_CHILD, &format!("{{{gates}, {sign}}}"), Profile::Iccm);
        assert_eq!(judged.urgency(), Urgency::Pink, "{sign}");
    }
    let fast = judge(
        WELL_CHILD,
        &format!(r#"{{{gates}, "respiratory_rate": 72}}"#),
        Profile::Iccm,
    );
    assert_eq!(fast.urgency(), Urgency::Yellow);
    for sign in [
        r#""airway": "yes""#,
        r#""lethargic": "yes""#,
        r#""stiff_neck": "yes""#,
        r#""spo2": 72"#,
    ] {
        let judged = judge(WELL_INFANT, &format!("{{{sign}}}"), Profile::Imci);
        assert_eq!(judged.urgency(), Urgency::Pink, "{sign}");
    }
    // What no rule of the group reads is named and blocks green.
    let ear = judge(
        WELL_INFANT,
        r#"{"swelling_behind_ear": "yes"}"#,
        Profile::Imci,
    );
    let named = ear
        .cannot_clear
        .iter()
        .find(|o| o.rule == "unread")
        .unwrap();
    assert_eq!(
        named.findings,
        [("swelling_behind_ear".to_owned(), FindingValue::Yes)]
    );
    assert!(!ear.green_offered());
}

/// K4 to K6.
#[test]
fn k4_k5_k6_exposed_children_impossible_rates_and_missing_answers_are_never_green() {
    let exposed = r#"{"mother_hiv": "positive", "child_virological": "not_done", "breastfed_within_6_weeks": "no"}"#;
    assert_eq!(
        judge(WELL_CHILD, exposed, Profile::Imci).urgency(),
        Urgency::Yellow
    );
    assert_eq!(
        judge(WELL_INFANT, r#"{"mother_hiv": "positive"}"#, Profile::Imci).urgency(),
        Urgency::Yellow
    );
    for rate in [5, 14] {
        let cough = format!(r#"{{"cough_or_difficult": "yes", "respiratory_rate": {rate}}}"#);
        assert!(
            !judge(WELL_CHILD, &cough, Profile::Iccm).green_offered(),
            "{rate}"
        );
    }
    assert!(Findings::parse(r#"{"age_months": 20, "respiratory_rate": 0}"#, &pack()).is_err());
    let only = Findings::parse(r#"{"age_months": 20, "convulsions": "yes"}"#, &pack()).unwrap();
    assert_eq!(
        pack().evaluate(Profile::Iccm, &only).urgency(),
        Urgency::Pink,
        "missing is unknown, and no error"
    );
    let nothing = Findings::parse(r#"{"age_months": 20}"#, &pack()).unwrap();
    assert!(!pack().evaluate(Profile::Iccm, &nothing).green_offered());
}

/// Rows that a later reader found: signs that some rule had looked at, without firing for them, had
/// counted as read.
#[test]
fn a_sign_is_read_only_by_a_rule_that_fires_for_it() {
    let cases = [
        (WELL_CHILD, r#"{"movement": "none"}"#),
        (WELL_CHILD, r#"{"malaria_test": "positive"}"#),
        (WELL_CHILD, r#"{"mouth_ulcers": "deep"}"#),
        (
            WELL_CHILD,
            r#"{"mouth_ulcers": "shallow", "measles": "unknown"}"#,
        ),
        (WELL_CHILD, r#"{"eye_pus": "yes", "measles": "unknown"}"#),
        (
            WELL_CHILD,
            r#"{"ear_pain": "yes", "ear_discharge_days": 5}"#,
        ),
        (
            WELL_CHILD,
            r#"{"painful_urination": "yes", "fever": "unknown"}"#,
        ),
        (
            WELL_CHILD,
            r#"{"skin_near_eye": "yes", "skin_problem": "unknown"}"#,
        ),
        (WELL_CHILD, r#"{"appetite_test": "failed"}"#),
        (
            WELL_CHILD,
            r#"{"diarrhoea": "yes", "sunken_eyes": "yes", "restless": "yes", "skin_pinch": "slow", "drinking": "unknown"}"#,
        ),
        (
            WELL_CHILD,
            r#"{"fever": "yes", "malaria_risk": "high", "malaria_test": "not_done"}"#,
        ),
        (WELL_CHILD, r#"{"fever": "yes", "malaria_test": "invalid"}"#),
        (
            WELL_INFANT,
            r#"{"temperature": 39, "temperature_second": 37.9}"#,
        ),
        (WELL_INFANT, r#"{"temperature_second": 39}"#),
        (
            WELL_INFANT,
            r#"{"respiratory_rate": 55, "respiratory_rate_second": 75}"#,
        ),
    ];
    for (base, changes) in cases {
        for profile in [Profile::Iccm, Profile::Imci] {
            let judged = judge(base, changes, profile);
            assert!(
                judged.urgency() > Urgency::Green || !judged.green_offered(),
                "{profile:?} {changes}"
            );
        }
    }
}

/// A pack that silences a rule which no golden case looks at takes nothing away: the guidelines'
/// own rules look as well.
#[test]
fn a_pack_takes_no_rule_of_the_guidelines_away_but_by_an_explicit_word() {
    let text = inference::rules::BUILT_IN;
    let silent = text.replace(
        "when = \"diarrhoea and (blood_in_stool or diarrhoea_days >= 14)\"",
        "when = \"age_days < 0\"",
    );
    assert_ne!(silent, text);
    let infant = with(
        WELL_INFANT,
        r#"{"diarrhoea": "yes", "blood_in_stool": "yes"}"#,
    );
    let judged = RulePack::parse(&silent)
        .unwrap()
        .evaluate(Profile::Imci, &infant);
    assert_eq!(judged.urgency(), Urgency::Pink, "{:?}", judged.fired);
    let said = silent.replace("version = 1\n", "version = 2\ngives_up = [\"Yd3\"]\n");
    let judged = RulePack::parse(&said)
        .unwrap()
        .evaluate(Profile::Imci, &infant);
    assert!(
        judged.fired.iter().all(|o| o.rule != "Yd3"),
        "the ministry has said so"
    );
}

#[test]
fn k2_k8_what_a_record_says_and_no_rule_reads_blocks_green_and_is_named() {
    let (word, number) = (
        |word: &str| FindingValue::Text(word.to_owned()),
        FindingValue::Number,
    );
    let file: BTreeMap<String, serde_json::Value> = serde_json::from_str(WELL_CHILD).unwrap();
    let said = |value: serde_json::Value| {
        value
            .as_f64()
            .map_or_else(|| word(value.as_str().unwrap()), number)
    };
    let file: BTreeMap<String, FindingValue> = file
        .into_iter()
        .map(|(name, value)| (name, said(value)))
        .collect();
    for calm in [
        ("haemoglobin", number(120.0)),
        ("vitamin_a_given", word("yes")),
        ("allergies", word("penicillin")),
    ] {
        let mut file = file.clone();
        file.insert(calm.0.into(), calm.1.clone());
        let values = inference::findings::read_recorded(&file, &pack());
        let findings = Findings::new(
            values,
            String::new(),
            &[("age_months".to_owned(), 20.0)].into(),
        )
        .unwrap();
        assert!(
            pack().evaluate(Profile::Iccm, &findings).green_offered(),
            "{calm:?}, the control"
        );
    }
    for (name, value) in [
        ("very_pale", word("yes")),
        ("drinking", word("gladly")),
        ("unconscious", word("yes")),
        ("malaria_microscopy", word("positive")),
        ("parasite_density", number(300_000.0)),
        ("haemoglobin", number(20.0)),
        ("wfl_z", number(-5.0)),
        ("wfa_z", number(-6.0)),
        ("weight", number(2.1)),
        ("convulsion_count", number(3.0)),
        ("temperature_second", number(41.0)),
        ("respiratory_rate_second", number(80.0)),
        ("feeds_in_24h", number(0.0)),
        ("bleeding_amount", word("heavy")),
        ("fetal_movement", word("none")),
        ("pulse", number(30.0)),
        ("bp_systolic", number(60.0)),
        ("fever_days", number(9.0)),
        ("diarrhoea_days", number(20.0)),
        ("hiv_test", word("positive")),
        ("outcome", word("died")),
        ("a_sign_of_next_year", word("yes")),
    ] {
        let mut file = file.clone();
        file.insert(name.into(), value);
        let values = inference::findings::read_recorded(&file, &pack());
        let ages = BTreeMap::from([("age_months".to_owned(), 20.0)]);
        let findings = Findings::new(values, String::new(), &ages).unwrap();
        let judged = pack().evaluate(Profile::Iccm, &findings);
        assert!(!judged.green_offered(), "{name}");
        let named = judged
            .cannot_clear
            .iter()
            .chain(&judged.fired)
            .flat_map(|o| &o.findings);
        // A score for length is one for height to the rules.
        let shown = if name == "wfl_z" { "wfh_z" } else { name };
        assert!(
            named
                .into_iter()
                .any(|(finding, _)| finding.starts_with(shown)),
            "{name} is not named"
        );
    }
}

/// A green rule that names a sign of the guidelines, added by a pack, hides nothing.
#[test]
fn a_green_rule_that_a_pack_adds_reads_no_sign_of_the_guidelines() {
    let hides = inference::rules::BUILT_IN.to_owned()
        + "\n[[rule]]\nid = \"X1\"\ngroup = \"infant\"\nclass = \"nothing\"\nurgency = \"green\"\nsource = \"none\"\n\
           when = \"swelling_behind_ear or not swelling_behind_ear\"\naction = \"nothing\"\n";
    let ear = with(WELL_INFANT, r#"{"swelling_behind_ear": "yes"}"#);
    let judged = RulePack::parse(&hides)
        .unwrap()
        .evaluate(Profile::Imci, &ear);
    assert!(!judged.green_offered(), "{:?}", judged.fired);
}

/// Every condition of the pack with one gate turned round or one threshold far away: what makes a
/// rule of the guidelines silent is refused, and the patient is named. What remains can only say
/// more than the guidelines do.
#[test]
fn k1_a_gate_turned_round_or_a_threshold_moved_is_refused_whichever_rule_it_is() {
    let text = inference::rules::BUILT_IN;
    let from = text.find("[[define]]").unwrap();
    let mut spoilt: Vec<(String, String)> = Vec::new();
    for (at, _) in text.match_indices("when = \"").filter(|(at, _)| *at > from) {
        let start = at + 8;
        let end = start + text[start..].find('"').unwrap();
        let when = &text[start..end];
        let mut with = |changed: String| {
            spoilt.push((
                when.to_owned(),
                [&text[..start], &changed, &text[end..]].concat(),
            ))
        };
        for gate in [
            "cough_or_difficult",
            "diarrhoea",
            "fevered",
            "measles",
            "ear_problem",
            "eye_problem",
            "severe_wasting",
        ] {
            let Some(at) = when
                .find(gate)
                .filter(|at| !when[..*at].ends_with("known("))
            else {
                continue;
            };
            let whole = when[at + gate.len()..]
                .chars()
                .next()
                .is_none_or(|c| !c.is_alphanumeric() && c != '_');
            if whole && !when[..at].ends_with("not ") {
                with([&when[..at], "not ", &when[at..]].concat());
            }
        }
        for (at, found) in when.match_indices(['<', '>']) {
            let rest = when[at + 1..].trim_start_matches('=').trim_start();
            let digits: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.' || *c == '-')
                .collect();
            let Ok(bound) = digits.parse::<f64>() else {
                continue;
            };
            let place = when.len() - rest.len();
            let moved = if found == "<" {
                bound / 3.0 - 9.0
            } else {
                bound * 3.0 + 9.0
            };
            with(format!(
                "{}{moved}{}",
                &when[..place],
                &when[place + digits.len()..]
            ));
        }
    }
    assert!(spoilt.len() > 100, "{}", spoilt.len());
    // What passes all the same is no less careful than the guidelines on a thousand patients drawn
    // at random.
    let guideline = pack();
    let patients: Vec<_> = (0..1_000).map(|n| drawn(&guideline, n)).collect();
    let colour = |pack: &RulePack, (profile, findings): &(Profile, Findings)| {
        let said = pack.evaluate_alone(*profile, findings);
        said.urgency()
    };
    let meant: Vec<_> = patients
        .iter()
        .map(|patient| colour(&guideline, patient))
        .collect();
    let mut refused = 0;
    for (when, text) in &spoilt {
        let Ok(pack) = RulePack::parse(text) else {
            continue;
        };
        if golden::try_pack(&pack).is_err() {
            refused += 1;
            continue;
        }
        for (patient, urgency) in patients.iter().zip(&meant) {
            assert!(colour(&pack, patient) >= *urgency, "{when}: {patient:?}");
        }
    }
    assert!(refused > 75, "{refused} of {}", spoilt.len());
}

/// A patient of whom a few things are different from a well one, at random.
fn drawn(pack: &RulePack, seed: u64) -> (Profile, Findings) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let base = [WELL_CHILD, WELL_INFANT][next(2)];
    let mut file: serde_json::Map<String, serde_json::Value> = serde_json::from_str(base).unwrap();
    for _ in 0..1 + next(7) {
        let spec = &pack.findings()[next(pack.findings().len())];
        let value = match &spec.kind {
            FindingKind::Flag => ["yes", "yes", "no", "unknown"][next(4)].into(),
            FindingKind::Choice(words) => words[next(words.len())].as_str().into(),
            FindingKind::Number { min, max, .. } => {
                let (least, most) = spec.usual.unwrap_or((*min, *max));
                (((least + (most - least) * next(1000) as f64 / 1000.0) * 10.0).round() / 10.0)
                    .into()
            }
        };
        file.insert(spec.id.clone(), value);
    }
    let findings = Findings::parse(&serde_json::Value::Object(file).to_string(), pack).unwrap();
    ([Profile::Iccm, Profile::Imci][next(2)], findings)
}

/// The controls of K2, K3, K4 and K5: with the gate as it was, without the sign or the rule, or
/// with nothing that is usual, what the reviewers saw happens again.
#[test]
fn without_their_mends_the_rows_of_the_review_succeed() {
    let text = inference::rules::BUILT_IN;
    let gate = " or (known(stridor_calm) and stridor_calm)";
    assert!(text.contains(gate));
    let stridor = with(WELL_CHILD, r#"{"stridor_calm": "yes"}"#);
    let alone = |text: &str, findings: &Findings| {
        RulePack::parse(text)
            .unwrap()
            .evaluate_alone(Profile::Iccm, findings)
    };
    assert_eq!(alone(text, &stridor).urgency(), Urgency::Pink);
    assert!(
        alone(&text.replace(gate, ""), &stridor).urgency() < Urgency::Pink,
        "K2"
    );
    let (sign, lethargic) = (
        "(known(lethargic) and lethargic) or ",
        with(WELL_INFANT, r#"{"lethargic": "yes"}"#),
    );
    assert_eq!(alone(text, &lethargic).urgency(), Urgency::Pink);
    assert!(
        alone(&text.replace(sign, ""), &lethargic).urgency() < Urgency::Pink,
        "K3"
    );
    let count = Expr::parse("respiratory_rate >= 40").unwrap();
    let five = BTreeMap::from([("respiratory_rate".to_owned(), FindingValue::Number(5.0))]);
    let fast = |usual: BTreeMap<String, (f64, f64)>| {
        count
            .answer(&Scope {
                findings: &five,
                defines: &BTreeMap::new(),
                usual: &usual,
                closed: &NOTHING_CLOSED,
            })
            .tri
    };
    assert_eq!(
        fast([("respiratory_rate".to_owned(), (10.0, 120.0))].into()),
        Tri::Unknown
    );
    assert_eq!(fast(BTreeMap::new()), Tri::No, "K5");
    let at = text
        .find("[[rule]]\nid = \"H2\"\ngroup = \"infant\"")
        .unwrap();
    let end = text[at + 8..]
        .find("[[rule]]")
        .map_or(text.len(), |next| at + 8 + next);
    let exposed = with(WELL_INFANT, r#"{"mother_hiv": "positive"}"#);
    let imci = |text: &str| {
        RulePack::parse(text)
            .unwrap()
            .evaluate_alone(Profile::Imci, &exposed)
            .urgency()
    };
    assert!(
        imci(text) > Urgency::Green
            && imci(&[&text[..at], &text[end..]].concat()) == Urgency::Green,
        "K4"
    );
}

/// A validly signed edition can say anything of what to do. What the floor says stands before it.
#[test]
fn under_the_rules_of_others_the_floor_says_its_own_words_first() {
    let text = inference::rules::BUILT_IN.replacen(
        "when = \"danger\"\naction = \"Refer urgently\"",
        "when = \"danger\"\naction = \"Stay at home\"",
        1,
    );
    let edition = RulePack::parse(&text).unwrap();
    let findings =
        Findings::parse(r#"{"age_months": 20, "convulsing_now": "yes"}"#, &edition).unwrap();
    let said = edition.evaluate(Profile::Iccm, &findings);
    let actions: Vec<_> = said
        .fired
        .iter()
        .map(|o| (o.rule.as_str(), o.action.as_str()))
        .collect();
    assert_eq!(actions[0], ("floor", "Refer urgently"), "{actions:?}");
    // The control: the guideline's own rules say it themselves, once.
    let said = RulePack::built_in()
        .unwrap()
        .evaluate(Profile::Iccm, &findings);
    assert!(
        said.fired
            .iter()
            .all(|o| o.rule != "floor" && o.action != "Stay at home")
    );
}
