//! What a pack may say of treatment: tables that can be followed, doses that somebody gives, a word for
//! everybody who is yellow.

use clinical::plan::WhyWithheld;
use clinical::{Profile, Urgency};
use inference::RulePack;

use super::{FAST, dose, months, pack, plan_by};

#[test]
fn a_pack_whose_table_of_doses_cannot_be_followed_is_refused() {
    let medicine =
        "[[medicine]]\nid = \"m\"\nname = \"M\"\nunit = \"tablet\"\nmg = 10\nnames = [\"m\"]\n";
    let with = |treat: &str| {
        let text = format!(
            "id = \"district\"\nedition = \"1\"\nversion = 1\nprofiles = [\"iccm\"]\n{medicine}[[treat]]\nmedicine = \"m\"\nsource = \"s\"\n{treat}"
        );
        RulePack::parse(&text).map(drop)
    };
    let band = |row: &str| format!("rules = [\"C2\"]\n[[treat.band]]\n{row}\n");
    with(&band("age = [2, 12]\namount = [1]")).unwrap(); // the control
    for (treat, says) in [
        ("rules = [\"C2\"]\n".to_owned(), "says no dose"),
        (band("age = [12, 2]\namount = [1]"), "a row"),
        (band("age = [2, 12]\namount = []"), "a row"),
        (band("age = [2, 12]\namount = [-1]"), "a row"),
        (band("age = [2, 12]\namount = [3, 1]"), "a row"),
        (
            band("age = [2, 12]\namount = [1]\n[[treat.band]]\nage = [11, 20]\namount = [2]"),
            "the same patient",
        ),
        ("rules = [\"C99\"]\nper_kg = [1, 2]\n".to_owned(), "no rule"),
        ("rules = [\"C2\"]\nper_kg = [2, 1]\n".to_owned(), "no dose"),
        (
            "rules = [\"C2\"]\nper_kg = [1, 2]\ndays = 400\n".to_owned(),
            "that long",
        ),
        (
            "rules = [\"C2\"]\nper_kg = [1, 2]\nunless = \"nonsense\"\n".to_owned(),
            "nonsense",
        ),
    ] {
        let refused = with(&treat).unwrap_err();
        assert!(refused.contains(says), "{treat}: {refused}");
    }
}

/// A pack that its ministry has signed may be wrong by a digit, or bad: no such dose is said.
#[test]
fn a_signed_pack_cannot_say_ten_times_a_dose() {
    let plan_of = |from: &str, to: &str, more: &str| {
        let text = inference::rules::BUILT_IN.replace(from, to);
        let pack = RulePack::parse(&text).unwrap();
        let findings = months(20.0, &format!("{FAST}{more}"));
        plan_by(&pack, &findings, Profile::Iccm, (&[], &[]))
    };
    let row = "weight = [10, 20]\namount = [2]";
    for more in ["", " weight=12"] {
        let right = plan_of(row, row, more); // the control
        assert!(dose(&right, "amoxicillin").unwrap().is_ok());
        let wrong = plan_of(row, "weight = [10, 20]\namount = [20]", more);
        let said = dose(&wrong, "amoxicillin");
        assert!(
            matches!(said, Some(Err(WhyWithheld::TooMuch(_)))),
            "{said:?}"
        );
    }
    // A strength that is wrong by a digit does not hide so many tablets; nor is vitamin A without bound.
    let weak = inference::rules::BUILT_IN.replace("mg = 250\n", "mg = 25\n");
    let weak = RulePack::parse(&weak.replace(row, "weight = [10, 20]\namount = [20]")).unwrap();
    let findings = months(20.0, &format!("{FAST} weight=12"));
    let said = dose(
        &plan_by(&weak, &findings, Profile::Iccm, (&[], &[])),
        "amoxicillin",
    );
    assert!(
        matches!(said, Some(Err(WhyWithheld::TooMuch(_)))),
        "{said:?}"
    );
    let measles = months(
        20.0,
        "fever=yes fever_days=2 malaria_test=negative measles=yes eye_pus=yes mouth_ulcers=none corneal_clouding=no",
    );
    let much = inference::rules::BUILT_IN.replace("amount = [200000]", "amount = [400000]");
    let much = RulePack::parse(&much).unwrap();
    let said = |pack| {
        dose(
            &plan_by(pack, &measles, Profile::Imci, (&[], &[])),
            "vitamin-a",
        )
    };
    assert!(matches!(said(&much), Some(Err(WhyWithheld::TooMuch(_)))));
    assert!(matches!(said(pack()), Some(Ok(_))), "the control");
    let unsaid = inference::rules::BUILT_IN.replace("mg = 250\n", "");
    let refused = RulePack::parse(&unsaid).unwrap_err();
    assert!(refused.contains("strength"), "{refused}");
}

/// An edition of the guideline that says nothing of treatment has what is built in.
#[test]
fn an_edition_without_treatments_has_those_that_are_built_in() {
    let text = inference::rules::BUILT_IN;
    let (head, tail) = text.split_once("[[medicine]]").unwrap();
    let golden = tail.find("[[golden]]").map_or("", |at| &tail[at..]);
    let bare = RulePack::parse(&format!("{head}{golden}")).unwrap();
    assert!(bare.treatments().is_empty());
    let plan = plan_by(&bare, &months(20.0, FAST), Profile::Iccm, (&[], &[]));
    assert!(dose(&plan, "amoxicillin").unwrap().is_ok());
}

/// Who is called yellow is not left without a word of what to do.
#[test]
fn every_yellow_rule_has_something_to_do() {
    for profile in Profile::ALL {
        let said = pack().treatments().rules_at(profile);
        let yellow = pack()
            .all_rules()
            .iter()
            .filter(|rule| rule.urgency == Urgency::Yellow && rule.profiles.contains(&profile));
        let silent: Vec<_> = yellow
            .filter(|rule| !said.contains(rule.id.as_str()))
            .collect();
        let silent: Vec<_> = silent
            .iter()
            .map(|rule| (&rule.id, &rule.class, &rule.action))
            .collect();
        assert!(silent.is_empty(), "{}: {silent:?}", profile.name());
    }
}

/// Two packs that name one medicine differently do not give it twice.
#[test]
fn packs_beside_each_other_give_a_medicine_once() {
    let beside = |id: &str, name: &str, stem: &str| {
        let text = format!(
            "id = \"district\"\nedition = \"1\"\nversion = 1\nprofiles = [\"iccm\"]\n[[medicine]]\nid = \"{id}\"\nname = \"{name}\"\nunit = \"mg\"\nmg = 1\nnames = [\"{stem}\"]\n[[treat]]\nrules = [\"C2\"]\nmedicine = \"{id}\"\ntimes = 2\ndays = 5\nsource = \"s\"\nper_kg = [10, 15]\n"
        );
        let district = std::sync::Arc::new(RulePack::parse(&text).unwrap());
        let both = RulePack::side_by_side(pack(), [district]);
        let findings = months(20.0, &format!("{FAST} weight=9"));
        plan_by(&both, &findings, Profile::Iccm, (&[], &[]))
            .medicines
            .into_iter()
            .map(|m| m.medicine)
            .collect::<Vec<_>>()
    };
    let twice = beside("amox-dt", "Amoxicillin syrup", "amoxi");
    assert_eq!(twice, ["amoxicillin"]);
    let other = beside("pcm", "Paracetamol syrup", "paracet"); // the control
    assert_eq!(other, ["amoxicillin", "pcm"]);
}
