//! What people are allergic to, and what was given already.

use clinical::Profile;
use clinical::plan::{DoseGiven, WhyWithheld};

use super::{FAST, dose, months, plan_with};

#[test]
fn allergies_withhold_and_doses_that_were_given_count() {
    let patient = months(20.0, &format!("{FAST} weight=9"));
    for words in [
        "Penicillin: rash",
        "allergic to AMOXICILLIN",
        "no penicillins please",
    ] {
        let plan = plan_with(&patient, Profile::Iccm, (&["dust", words], &[]));
        assert_eq!(
            dose(&plan, "amoxicillin"),
            Some(Err(WhyWithheld::Allergy(words.into())))
        );
    }
    for words in ["penisilini", "Amoksilini", "pen V", "PCN", "ampiclox"] {
        let plan = plan_with(&patient, Profile::Iccm, (&[words], &[]));
        let withheld = WhyWithheld::Allergy(words.into());
        assert_eq!(dose(&plan, "amoxicillin"), Some(Err(withheld)));
    }
    for words in [
        "the white tablets",
        "dawa ya kikohozi",
        "peanuts, and something pink",
        "no penecilin",
        "has been ill of penecilin",
    ] {
        let plan = plan_with(&patient, Profile::Iccm, (&[words], &[]));
        let withheld = WhyWithheld::AllergyUnclear(words.into());
        assert_eq!(dose(&plan, "amoxicillin"), Some(Err(withheld)));
    }
    for words in [
        "none",
        "no known allergies",
        "peanuts",
        "gentamicin",
        "hakuna",
        "Septrin: rash on arms",
    ] {
        let plan = plan_with(&patient, Profile::Iccm, (&[words], &[]));
        assert!(dose(&plan, "amoxicillin").unwrap().is_ok(), "{words}");
    }
    let other = plan_with(&patient, Profile::Iccm, (&["dust"], &[]));
    assert!(dose(&other, "amoxicillin").unwrap().is_ok(), "the control");
    assert!(!other.ask_allergies);
    assert!(plan_with(&patient, Profile::Iccm, (&[], &[])).ask_allergies);

    let given = |medicine: &str, given: &str| DoseGiven {
        medicine: medicine.into(),
        given: given.into(),
    };
    let doses = [
        given("Amoxicillin 250", "2026-11-27T08:00:00Z"),
        given("zinc", "2026-11-27T09:00:00Z"),
        given("amoxycillin", "2026-11-27T07:00:00Z"),
    ];
    let again = plan_with(&patient, Profile::Iccm, (&["none"], &doses));
    let amoxicillin = &again.medicines[0];
    let counted = amoxicillin.given.as_ref().unwrap();
    assert_eq!(
        (counted.doses, counted.last.as_str()),
        (2, "2026-11-27T08:00:00Z")
    );
    assert!(!amoxicillin.first_now, "a first dose is not given twice");
    assert!(other.medicines[0].first_now, "the control");
}
