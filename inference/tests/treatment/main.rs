//! What the guideline's pack says to do: both sides of every row of its tables of doses, and what keeps a
//! medicine from a child who must not have it.

use std::collections::BTreeMap;

use clinical::plan::{Basis, DoseGiven, Plan, WhyWithheld};
use clinical::{FindingValue, Profile, Urgency};
use inference::treatment::Patient;
use inference::{Findings, RulePack, assess};

mod allergies;
mod packs;

const WELL: &[&str] = &[
    "convulsing_now",
    "convulsions",
    "lethargic",
    "not_able_to_drink",
    "vomits_everything",
    "airway",
];

/// A child without a danger sign, with more findings: `name=value`.
fn child(age: (&str, f64), more: &str) -> Findings {
    let mut values: BTreeMap<String, FindingValue> = WELL
        .iter()
        .map(|name| ((*name).to_owned(), FindingValue::No))
        .collect();
    for said in more.split_whitespace() {
        let (name, value) = said.split_once('=').unwrap();
        let value = match (value, value.parse()) {
            ("yes", _) => FindingValue::Yes,
            ("no", _) => FindingValue::No,
            ("?", _) => FindingValue::Unknown,
            (_, Ok(number)) => FindingValue::Number(number),
            (word, _) => FindingValue::Text(word.to_owned()),
        };
        values.insert(name.to_owned(), value);
    }
    let ages = BTreeMap::from([(age.0.to_owned(), age.1)]);
    Findings::new(values, String::new(), &ages).unwrap()
}

fn months(age: f64, more: &str) -> Findings {
    child(("age_months", age), more)
}

fn pack() -> &'static RulePack {
    static PACK: std::sync::OnceLock<RulePack> = std::sync::OnceLock::new();
    PACK.get_or_init(|| RulePack::built_in().unwrap())
}

fn plan_with(
    findings: &Findings,
    profile: Profile,
    (allergies, given): (&[&str], &[DoseGiven]),
) -> Plan {
    plan_by(pack(), findings, profile, (allergies, given))
}

fn plan_by(
    pack: &RulePack,
    findings: &Findings,
    profile: Profile,
    (allergies, given): (&[&str], &[DoseGiven]),
) -> Plan {
    let said = assess(findings, pack, profile, []).said();
    let allergies: Vec<_> = allergies.iter().map(|words| (*words).to_owned()).collect();
    pack.plan(&Patient {
        fired: &said.fired,
        urgency: said.urgency,
        findings,
        profile,
        allergies: &allergies,
        given,
    })
}

fn plan(findings: &Findings, profile: Profile) -> Plan {
    plan_with(findings, profile, (&["none known"], &[]))
}

/// How much of a medicine, or why none.
fn dose(plan: &Plan, medicine: &str) -> Option<Result<(f64, f64), WhyWithheld>> {
    let given = plan.medicines.iter().find(|m| m.medicine == medicine);
    let withheld = plan.withheld.iter().find(|m| m.medicine == medicine);
    given
        .map(|m| Ok(m.amount))
        .or_else(|| withheld.map(|m| Err(m.why.clone())))
}

const FAST: &str =
    "cough_or_difficult=yes chest_indrawing=no stridor_calm=no cough_days=3 respiratory_rate=55";

#[test]
fn amoxicillin_of_the_community_goes_by_age_or_weight() {
    for (age, weight, tablets) in [
        (2.0, "", 1.0),
        (11.9, "", 1.0),
        (12.0, "", 2.0),
        (59.0, "", 2.0),
        (6.0, " weight=4", 1.0),
        (11.0, " weight=9.9", 1.0),
        (11.0, " weight=10", 2.0),
        (50.0, " weight=19.9", 2.0),
        (14.0, " weight=9.9", 1.0),
    ] {
        let plan = plan(&months(age, &format!("{FAST}{weight}")), Profile::Iccm);
        let medicine = &plan.medicines[0];
        assert_eq!(plan.urgency, Some(Urgency::Yellow));
        assert_eq!(medicine.medicine, "amoxicillin");
        assert_eq!(medicine.amount, (tablets, tablets), "{age} months{weight}");
        assert_eq!(
            medicine.milligrams,
            Some((tablets * 250.0, tablets * 250.0))
        );
        assert_eq!((medicine.times_a_day, medicine.days), (2, 5));
        assert!(medicine.first_now && medicine.rules == ["C2"] && !plan.refer);
        let by_weight = matches!(medicine.by, Basis::Weight(_));
        assert_eq!(by_weight, !weight.is_empty());
        assert_eq!(plan.follow_up_days, Some(3));
        assert!(!plan.return_at_once.is_empty());
    }
    // Below and above the table nothing is guessed, and a slip of the hand is not a weight.
    for (age, weight, why) in [
        (3.0, 3.9, WhyWithheld::NotInTable),
        (59.0, 32.0, WhyWithheld::WeightUnlikely(32.0)),
        (3.0, 19.0, WhyWithheld::WeightUnlikely(19.0)),
        (48.0, 5.0, WhyWithheld::WeightUnlikely(5.0)),
    ] {
        let plan = plan(
            &months(age, &format!("{FAST} weight={weight}")),
            Profile::Iccm,
        );
        assert_eq!(dose(&plan, "amoxicillin"), Some(Err(why)), "{age} {weight}");
    }
}

#[test]
fn doses_for_each_kg_lie_within_what_the_guideline_says() {
    for (weight, tablets) in [
        (5.0, 1.0),
        (7.0, 1.0),
        (8.0, 1.5),
        (10.0, 1.5),
        (12.0, 2.0),
        (14.0, 2.0),
    ] {
        let plan = plan(
            &months(20.0, &format!("{FAST} spo2=97 weight={weight}")),
            Profile::Imci,
        );
        let (least, most) = dose(&plan, "amoxicillin").unwrap().unwrap();
        assert_eq!((least, most), (tablets, tablets), "{weight} kg");
        let per_kg = least * 250.0 / weight;
        assert!((35.0..=50.0).contains(&per_kg), "{per_kg} mg/kg");
    }
    // Where no half tablet fits, and where nobody could weigh, the community's table stands in: no
    // weight of a child is without a dose.
    let unweighed = plan(&months(20.0, &format!("{FAST} spo2=97")), Profile::Imci);
    assert_eq!(dose(&unweighed, "amoxicillin"), Some(Ok((2.0, 2.0))));
    for tenths in 45..=200_u32 {
        let (kg, age) = (
            f64::from(tenths) / 10.0,
            if tenths < 120 { 20.0 } else { 55.0 },
        );
        let said = plan(
            &months(age, &format!("{FAST} spo2=97 weight={kg}")),
            Profile::Imci,
        );
        let (tablets, _) = dose(&said, "amoxicillin").unwrap().unwrap();
        let per_kg = tablets * 250.0 / kg;
        assert!((25.0..=60.0).contains(&per_kg), "{kg} kg: {per_kg} mg/kg");
        assert!(said.withheld.is_empty(), "{:?}", said.withheld);
    }
    let some = "diarrhoea=yes diarrhoea_days=3 blood_in_stool=no restless=yes sunken_eyes=yes drinking=eager skin_pinch=slow weight=8.5";
    let plan_b = plan(&months(12.0, some), Profile::Imci);
    assert_eq!(
        dose(&plan_b, "ors"),
        Some(Ok((638.0, 638.0))),
        "75 mL for each kg"
    );
}

#[test]
fn zinc_ors_vitamin_a_and_the_malaria_medicine_change_at_their_bounds() {
    let runny = "diarrhoea=yes diarrhoea_days=3 blood_in_stool=no";
    for (age, zinc, ors) in [
        (2.0, 0.5, (50.0, 100.0)),
        (5.9, 0.5, (50.0, 100.0)),
        (6.0, 1.0, (50.0, 100.0)),
        (23.9, 1.0, (50.0, 100.0)),
        (24.0, 1.0, (100.0, 200.0)),
        (59.0, 1.0, (100.0, 200.0)),
    ] {
        let muac = if age < 6.0 { "" } else { " muac=140" };
        let plan = plan(&months(age, &format!("{runny}{muac}")), Profile::Iccm);
        assert_eq!(dose(&plan, "zinc"), Some(Ok((zinc, zinc))), "{age} months");
        assert_eq!(dose(&plan, "ors"), Some(Ok(ors)), "{age} months");
    }
    let malaria = "fever=yes fever_days=2 malaria_test=positive";
    for (weight, wanted) in [
        (5.0, Ok((1.0, 1.0))),
        (13.9, Ok((1.0, 1.0))),
        (15.0, Ok((2.0, 2.0))),
        (21.0, Ok((2.0, 2.0))),
    ] {
        let age = if weight < 10.0 { 20.0 } else { 36.0 };
        let plan = plan(
            &months(age, &format!("{malaria} weight={weight}")),
            Profile::Iccm,
        );
        assert_eq!(dose(&plan, "al"), Some(wanted), "{weight} kg");
    }
    for weight in [14.0, 14.9] {
        let plan = plan(
            &months(36.0, &format!("{malaria} weight={weight}")),
            Profile::Iccm,
        );
        let differ = matches!(dose(&plan, "al"), Some(Err(WhyWithheld::SourcesDiffer(_))));
        assert!(differ, "between two sources nobody is guessed for");
    }
    let unweighed = plan(&months(36.0, malaria), Profile::Imci);
    assert_eq!(dose(&unweighed, "al"), Some(Err(WhyWithheld::NeedsWeight)));
    let measles = "fever=yes fever_days=2 malaria_test=negative measles=yes eye_pus=yes mouth_ulcers=none corneal_clouding=no";
    for (age, units) in [
        (5.9, 50_000.0),
        (6.0, 100_000.0),
        (11.9, 100_000.0),
        (12.0, 200_000.0),
    ] {
        let plan = plan(&months(age, measles), Profile::Imci);
        assert_eq!(
            dose(&plan, "vitamin-a"),
            Some(Ok((units, units))),
            "{age} months"
        );
    }
}

#[test]
fn a_referral_is_one_with_first_doses_alone() {
    let severe = format!("{FAST} chest_indrawing=yes diarrhoea=yes diarrhoea_days=20 weight=9");
    let community = plan(&months(20.0, &severe), Profile::Iccm);
    assert!(community.refer && community.follow_up_days.is_none());
    assert_eq!(dose(&community, "amoxicillin"), Some(Ok((1.0, 1.0))));
    let amoxicillin = &community.medicines[0];
    assert_eq!(
        (amoxicillin.times_a_day, amoxicillin.days),
        (0, 0),
        "the first dose alone"
    );
    assert!(amoxicillin.first_now);
    assert_eq!(dose(&community, "zinc"), None, "nothing that delays it");
    assert!(!community.steps.is_empty() && community.return_at_once.is_empty());
    // Who cannot swallow has nothing by mouth; where that is not known, it is to be found out.
    let cannot = plan(
        &months(20.0, &format!("{severe} vomits_everything=yes")),
        Profile::Iccm,
    );
    assert!(matches!(
        dose(&cannot, "amoxicillin"),
        Some(Err(WhyWithheld::Forbidden(_)))
    ));
    let unknown = plan(
        &months(20.0, &format!("{severe} vomits_everything=?")),
        Profile::Iccm,
    );
    match dose(&unknown, "amoxicillin") {
        Some(Err(WhyWithheld::NotRuledOut(names, _))) => assert_eq!(names, ["vomits_everything"]),
        other => panic!("{other:?}"),
    }
    let facility = plan(
        &months(20.0, &format!("{FAST} stridor_calm=yes weight=9")),
        Profile::Imci,
    );
    assert_eq!(dose(&facility, "ampicillin"), Some(Ok((450.0, 450.0))));
    assert_eq!(dose(&facility, "gentamicin"), Some(Ok((68.0, 68.0))));
    let infant = child(("age_days", 20.0), "temperature=38.4 weight=3.2");
    let infant = plan(&infant, Profile::Imci);
    assert_eq!(dose(&infant, "ampicillin"), Some(Ok((160.0, 160.0))));
    assert_eq!(dose(&infant, "gentamicin"), Some(Ok((16.0, 24.0))));
}

/// A newborn's weight with a slip of the hand is not dosed by.
#[test]
fn a_newborn_does_not_weigh_eight_kilograms() {
    for (kg, likely) in [(3.2, true), (5.4, true), (8.2, false), (0.32, false)] {
        let newborn = child(("age_days", 3.0), &format!("temperature=38.4 weight={kg}"));
        let said = dose(&plan(&newborn, Profile::Imci), "gentamicin").unwrap();
        assert_eq!(said.is_ok(), likely, "{kg} kg: {said:?}");
    }
}

/// Random children: no medicine stands twice or both given and withheld, every dose has a source, a
/// referral has no course, and green and yellow have no referral.
#[test]
fn whatever_is_found_a_plan_is_one_that_can_be_followed() {
    let pack = pack();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = |below: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % below
    };
    let (mut given, mut withheld, mut referred) = (0, 0, 0);
    for _ in 0..4000 {
        let age = 2.0 + roll(58) as f64;
        let mut said = String::new();
        for spec in pack.findings() {
            let value = match (&spec.kind, roll(4)) {
                (_, 0) => continue,
                (inference::rules::FindingKind::Flag, n) => {
                    ["no", "no", "yes"][n as usize - 1].to_owned()
                }
                (inference::rules::FindingKind::Number { min, max, .. }, _) => {
                    (min + (max - min) * roll(1000) as f64 / 1000.0).to_string()
                }
                (inference::rules::FindingKind::Choice(words), _) => {
                    words[roll(words.len() as u64) as usize].clone()
                }
            };
            said.push_str(&format!(" {}={value}", spec.id));
        }
        let profile = Profile::ALL[roll(2) as usize];
        let plan = plan(&months(age, &said), profile);
        let names: Vec<_> = plan.medicines.iter().map(|m| &m.medicine).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len(), "{plan:?}");
        for medicine in &plan.medicines {
            assert!(medicine.amount.0 > 0.0 && medicine.amount.0 <= medicine.amount.1);
            assert!(!medicine.source.is_empty() && !medicine.rules.is_empty());
            assert!(!plan.refer || (medicine.days == 0 && medicine.first_now));
            assert!(
                plan.withheld
                    .iter()
                    .all(|other| other.medicine != medicine.medicine)
            );
        }
        assert_eq!(plan.refer, plan.urgency == Some(Urgency::Pink));
        assert!(!plan.refer || !plan.steps.is_empty());
        given += plan.medicines.len();
        withheld += plan.withheld.len();
        referred += usize::from(plan.refer);
    }
    assert!(
        given > 1000 && withheld > 1000 && referred > 1000,
        "{given} {withheld} {referred}"
    );
}

/// What the plan tells people to write down is counted when it is written down, of every medicine; a word
/// in which a name only stands somewhere is not it.
#[test]
fn every_dose_that_a_plan_names_is_counted_by_that_name() {
    let some = "diarrhoea=yes diarrhoea_days=3 blood_in_stool=yes restless=yes sunken_eyes=yes drinking=eager skin_pinch=slow fever=yes fever_days=2 malaria_test=positive malaria_risk=high weight=9 stiff_neck=no measles=yes eye_pus=yes mouth_ulcers=none corneal_clouding=no";
    let findings = months(20.0, &format!("{FAST} spo2=97 {some}"));
    let first = plan(&findings, Profile::Imci);
    assert!(first.medicines.len() >= 5, "{:?}", first.medicines);
    let doses: Vec<_> = first
        .medicines
        .iter()
        .map(|m| DoseGiven {
            medicine: m.medicine.clone(),
            given: "2026-11-27T08:00:00Z".into(),
        })
        .collect();
    let again = plan_with(&findings, Profile::Imci, (&["none"], &doses));
    for medicine in &again.medicines {
        let given = medicine.given.as_ref().map(|given| given.doses);
        assert_eq!(given, Some(1), "{}", medicine.medicine);
        assert!(!medicine.first_now);
    }
    let others = ["Ringer's lactate", "lactulose", "norsk", "halothane"].map(|words| DoseGiven {
        medicine: words.into(),
        given: String::new(),
    });
    let none = plan_with(&findings, Profile::Imci, (&["none"], &others));
    assert!(
        none.medicines
            .iter()
            .all(|m| m.given.is_none() && m.first_now)
    );
}

/// A referral for one reason does not cost the first dose of what is due for another; a drip or an
/// injection stands instead of a tablet; what is more is not given beside it.
#[test]
fn a_referral_keeps_the_first_dose_of_what_is_due() {
    let red = plan(&months(20.0, &format!("{FAST} muac=110")), Profile::Iccm);
    assert!(red.refer && dose(&red, "amoxicillin").unwrap().is_ok());
    let pale = format!("{FAST} spo2=97 weight=9 palmar_pallor=severe");
    let pale = plan(&months(20.0, &pale), Profile::Imci);
    assert!(pale.refer && dose(&pale, "amoxicillin").unwrap().is_ok());
    assert_eq!(dose(&pale, "ampicillin"), None);
    let stiff = format!("{FAST} spo2=97 weight=9 fever=yes stiff_neck=yes");
    let meningitis = plan(&months(20.0, &stiff), Profile::Imci);
    assert_eq!(dose(&meningitis, "ceftriaxone"), Some(Ok((900.0, 900.0))));
    assert_eq!(dose(&meningitis, "ampicillin"), None, "one or the other");
    assert_eq!(dose(&meningitis, "amoxicillin"), None);
    let findings = months(20.0, &stiff);
    let allergic = plan_with(&findings, Profile::Imci, (&["céfalexin"], &[]));
    assert!(matches!(
        dose(&allergic, "ceftriaxone"),
        Some(Err(WhyWithheld::Allergy(_)))
    ));
    assert!(
        dose(&allergic, "ampicillin").unwrap().is_ok(),
        "and not nothing"
    );
    for words in ["pénicilline", "yes", "Augmentin (rash)"] {
        let plan = plan_with(&months(20.0, FAST), Profile::Iccm, (&[words], &[]));
        assert!(
            matches!(
                dose(&plan, "amoxicillin"),
                Some(Err(WhyWithheld::Allergy(_)))
            ),
            "{words}"
        );
    }
    // Plan B is not lost behind the dose of another rule.
    let both = "diarrhoea=yes diarrhoea_days=3 blood_in_stool=yes restless=yes sunken_eyes=yes drinking=eager skin_pinch=slow";
    let weighed = plan(&months(12.0, &format!("{both} weight=8.5")), Profile::Imci);
    assert_eq!(dose(&weighed, "ors"), Some(Ok((638.0, 638.0))));
    let unweighed = plan(&months(12.0, both), Profile::Imci);
    assert_eq!(
        dose(&unweighed, "ors"),
        Some(Ok((50.0, 100.0))),
        "never nothing"
    );
    let convulsing = plan(
        &months(20.0, &format!("{FAST} convulsing_now=yes")),
        Profile::Iccm,
    );
    assert!(
        convulsing.steps[0].words.contains("airway"),
        "{:?}",
        convulsing.steps
    );
    assert!(
        convulsing
            .steps
            .iter()
            .all(|step| !step.words.contains("sugar"))
    );
}

fn tablets(plan: &Plan, medicine: &str) -> Option<f64> {
    let found = plan.medicines.iter().find(|m| m.medicine == medicine);
    found.map(|m| m.amount.0)
}

/// Nobody weighs in the community: a positive test is treated there by age, as iCCM's form has it.
#[test]
fn malaria_in_the_community_is_treated_by_age_where_nobody_weighed() {
    let ill = "fever=yes fever_days=2 malaria_test=positive";
    for (age, weight, expected) in [
        (2.0, "", Some(1.0)),
        (35.9, "", Some(1.0)),
        (36.0, "", Some(2.0)),
        (59.0, "", Some(2.0)),
        (35.0, " weight=15.5", Some(2.0)),
        (35.0, " weight=14.5", None),
    ] {
        let plan = plan(&months(age, &format!("{ill}{weight}")), Profile::Iccm);
        assert_eq!(
            tablets(&plan, "al"),
            expected,
            "{age} months{weight}: {plan:?}"
        );
    }
    let at_a_facility = plan(&months(20.0, ill), Profile::Imci);
    assert_eq!(tablets(&at_a_facility, "al"), None);
}

/// Row F2 is for a child without a severe class: with one, artesunate is named and no tablets are.
#[test]
fn a_severe_fever_with_a_positive_test_is_given_one_medicine_against_malaria() {
    let ill = "fever=yes fever_days=2 malaria_test=positive weight=12";
    let mild = plan(&months(20.0, ill), Profile::Imci);
    assert_eq!(tablets(&mild, "al"), Some(1.0));
    let severe = plan(
        &months(20.0, &format!("{ill} convulsions=yes")),
        Profile::Imci,
    );
    assert_eq!(tablets(&severe, "al"), None, "{severe:?}");
    assert!(
        severe
            .steps
            .iter()
            .any(|step| step.words.contains("Artesunate"))
    );
}

/// A first dose before a referral is the same dose as at home: 35 to 50 mg for each kg.
#[test]
fn the_first_amoxicillin_before_a_referral_goes_by_weight_too() {
    for (kg, expected) in [
        (9.5, 1.5),
        (9.9, 1.5),
        (10.0, 1.5),
        (12.0, 2.0),
        (22.0, 3.5),
    ] {
        let said =
            format!("cough_or_difficult=yes chest_indrawing=yes mother_hiv=positive weight={kg}");
        let age = if kg > 15.0 { 50.0 } else { 14.0 };
        let findings = months(age, &said);
        let plan = plan(&findings, Profile::Imci);
        let dose = plan.medicines.iter().find(|m| m.medicine == "amoxicillin");
        let mg_per_kg = dose.map(|m| m.amount.0 * 250.0 / kg);
        assert!(
            mg_per_kg.is_some_and(|mg| (35.0..=50.0).contains(&mg)),
            "{kg} kg: {plan:?}"
        );
        assert_eq!(dose.map(|m| m.amount.0), Some(expected), "{kg} kg");
    }
}

/// What no phone would say, the author is told of before anybody signs.
#[test]
fn a_dose_that_nobody_gives_is_shown_to_the_author() {
    use inference::authoring::{Remark, remarks};
    let wrong = inference::rules::BUILT_IN
        .replacen(
            "weight = [10, 20]\namount = [2]",
            "weight = [10, 20]\namount = [40]",
            1,
        )
        .replacen("per_kg = [50, 50]", "per_kg = [500, 500]", 1);
    let told = remarks(&RulePack::parse(&wrong).unwrap()).unwrap();
    let medicines: Vec<_> = told
        .iter()
        .filter_map(|remark| match remark {
            Remark::TooMuch { medicine, .. } => Some(medicine.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        matches!(medicines.as_slice(), [a, b] if a.contains("Amoxicillin") && b.contains("Ampicillin")),
        "{told:?}"
    );
    let right = remarks(pack()).unwrap();
    assert!(
        !right
            .iter()
            .any(|remark| matches!(remark, Remark::TooMuch { .. })),
        "{right:?}"
    );
}
