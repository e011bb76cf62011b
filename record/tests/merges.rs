//! Typed merges: each rule with an example that would be dangerous under last-writer-wins, and all
//! of them together over random concurrent edits.

use std::collections::BTreeSet;

use clinical::{FindingValue, Urgency};
use proptest::prelude::*;
use protocol::{CaseId, DeviceKeys};
use record::{AssessmentEntry, Case, CaseView, DecisionEntry, DoseEntry, Entry, likeness};

const ID: CaseId = CaseId([1; 16]);

fn keys(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

fn finding(name: &str, value: FindingValue) -> Entry {
    Entry::Finding {
        name: name.into(),
        value,
    }
}

fn text(words: &str) -> FindingValue {
    FindingValue::Text(words.into())
}

fn assessed(urgency: Urgency) -> Entry {
    let (rules, model) = ("r".to_owned(), "none".to_owned());
    Entry::Assessment(AssessmentEntry {
        urgency,
        rules_fired: vec![],
        differential: vec![],
        rules,
        model,
    })
}

fn decided(urgency: Urgency) -> Entry {
    let (rules, model) = ("r".to_owned(), "none".to_owned());
    let (reason, plan) = (String::new(), String::new());
    Entry::Decision(DecisionEntry {
        urgency,
        agrees: true,
        reason,
        plan,
        rules,
        model,
        app: String::new(),
    })
}

/// Two phones that hold one case and may write apart.
struct Apart {
    worker: Case,
    clinic: Case,
    made: [Vec<Vec<u8>>; 2],
}

impl Apart {
    fn new(begin: Vec<Entry>) -> Self {
        let mut worker = Case::new(ID);
        let first = worker.add(&begin, &keys(1), &[1; 16], 100).unwrap();
        let mut clinic = Case::new(ID);
        clinic.apply(&first).unwrap();
        Self {
            worker,
            clinic,
            made: [Vec::new(), Vec::new()],
        }
    }

    /// The worker's clock is right, the clinic's 20 years ahead: it must not matter.
    fn worker(&mut self, entry: Entry) {
        self.made[0].extend(self.worker.add(&[entry], &keys(1), &[1; 16], 200).unwrap());
    }

    fn clinic(&mut self, entry: Entry) {
        self.made[1].extend(
            self.clinic
                .add(&[entry], &keys(2), &[2; 16], 700_000_000)
                .unwrap(),
        );
    }

    fn meet(&mut self) -> CaseView {
        let [ours, theirs] = std::mem::take(&mut self.made);
        self.clinic.apply(&ours).unwrap();
        self.worker.apply(&theirs).unwrap();
        assert_eq!(self.worker.view(), self.clinic.view());
        self.worker.view()
    }

    fn value(&mut self, name: &str) -> (FindingValue, bool) {
        let view = self.meet();
        let state = &view.findings[name];
        (state.value.clone(), state.disputed)
    }
}

#[test]
fn a_danger_sign_that_was_seen_outlives_a_later_no_until_a_person_settles_it() {
    let mut case = Apart::new(vec![finding("convulsions", FindingValue::Yes)]);
    case.clinic(finding("convulsions", FindingValue::No));
    assert_eq!(
        case.value("convulsions"),
        (FindingValue::Yes, true),
        "last-writer-wins would say no"
    );
    case.clinic(Entry::Settled {
        name: "convulsions".into(),
        value: FindingValue::No,
    });
    assert_eq!(case.value("convulsions"), (FindingValue::No, false));
    case.worker(finding("convulsions", FindingValue::Yes));
    assert_eq!(
        case.value("convulsions"),
        (FindingValue::Yes, false),
        "seen again, by one who knew what was settled"
    );
}

#[test]
fn a_settlement_does_not_silence_what_was_said_apart_from_it() {
    let mut case = Apart::new(vec![finding("stiff_neck", FindingValue::No)]);
    case.clinic(Entry::Settled {
        name: "stiff_neck".into(),
        value: FindingValue::No,
    });
    case.worker(finding("stiff_neck", FindingValue::Yes));
    assert_eq!(case.value("stiff_neck"), (FindingValue::Yes, true));
}

#[test]
fn two_temperatures_taken_apart_are_a_question_and_one_after_the_other_are_not() {
    let mut case = Apart::new(vec![finding("temperature", FindingValue::Unknown)]);
    case.worker(finding("temperature", FindingValue::Number(34.9)));
    case.clinic(finding("temperature", FindingValue::Number(37.0)));
    let view = case.meet();
    let state = &view.findings["temperature"];
    assert!(
        state.disputed && state.standing.len() == 2,
        "last-writer-wins would lose the low one"
    );
    case.worker(finding("temperature", FindingValue::Number(36.2)));
    assert_eq!(
        case.value("temperature"),
        (FindingValue::Number(36.2), false),
        "said by one who had seen both"
    );
}

#[test]
fn unknown_is_not_no_and_never_wipes_out_what_is_known() {
    let mut case = Apart::new(vec![
        finding("not_able_to_drink", FindingValue::Yes),
        finding("muac", FindingValue::Number(112.0)),
    ]);
    case.clinic(finding("not_able_to_drink", FindingValue::Unknown));
    case.clinic(finding("muac", FindingValue::Unknown));
    assert_eq!(case.value("not_able_to_drink"), (FindingValue::Yes, false));
    assert_eq!(case.value("muac"), (FindingValue::Number(112.0), false));
}

#[test]
fn not_to_know_any_more_takes_back_no_danger_of_ones_own() {
    let mut case = Apart::new(vec![finding("convulsions", FindingValue::Yes)]);
    case.worker(finding("convulsions", FindingValue::Unknown));
    assert_eq!(
        case.value("convulsions"),
        (FindingValue::Yes, false),
        "phones are shared: the next to type had not seen it"
    );
    case.worker(Entry::Settled {
        name: "convulsions".into(),
        value: FindingValue::Unknown,
    });
    assert_eq!(
        case.value("convulsions"),
        (FindingValue::Unknown, false),
        "a person may say so on purpose"
    );
}

#[test]
fn two_cases_stay_two_where_people_differ_until_a_person_settles_it() {
    let other = CaseId([9; 16]);
    let mut case = Apart::new(vec![finding("fever", FindingValue::Yes)]);
    case.worker(Entry::Link { other, same: true });
    case.clinic(Entry::Link { other, same: false });
    let view = case.meet();
    assert_eq!(
        (view.same_as().count(), view.question_count()),
        (0, 1),
        "last-writer-wins would show two children as one"
    );
    case.worker(Entry::Link { other, same: true });
    let view = case.meet();
    assert_eq!(
        (view.same_as().collect::<Vec<_>>(), view.question_count()),
        (vec![other], 0),
        "said by one who had seen both"
    );
}

#[test]
fn a_danger_found_after_a_decision_shows_until_somebody_decides_again() {
    let mut case = Apart::new(vec![assessed(Urgency::Green), decided(Urgency::Green)]);
    assert_eq!(case.meet().urgency(), Some(Urgency::Green));
    case.worker(assessed(Urgency::Pink));
    assert_eq!(case.meet().urgency(), Some(Urgency::Pink));
    case.clinic(decided(Urgency::Yellow));
    assert_eq!(
        case.meet().urgency(),
        Some(Urgency::Yellow),
        "decided by one who had seen it"
    );
}

/// A decision is on what whoever decided had seen, not on what came to have a smaller number.
#[test]
fn a_danger_found_apart_is_not_hidden_by_a_later_number_of_somebody_who_had_not_seen_it() {
    let mut case = Apart::new(vec![assessed(Urgency::Green), decided(Urgency::Green)]);
    case.worker(assessed(Urgency::Pink));
    (0..4).for_each(|n| case.clinic(Entry::Note(format!("note {n}"))));
    case.clinic(decided(Urgency::Green));
    assert_eq!(case.meet().urgency(), Some(Urgency::Pink));
    case.clinic(decided(Urgency::Yellow));
    assert_eq!(case.meet().urgency(), Some(Urgency::Yellow));
}

/// A phone that is set back to a backup says the same thing otherwise: both of its own words stand.
#[test]
fn a_restored_backup_takes_back_nothing_that_it_does_not_know() {
    let mut phone = Case::new(ID);
    let first = phone
        .add(
            &[finding("fever", FindingValue::Yes)],
            &keys(1),
            &[1; 16],
            1,
        )
        .unwrap();
    let lost = phone
        .add(
            &[finding("convulsions", FindingValue::Yes)],
            &keys(1),
            &[1; 16],
            2,
        )
        .unwrap();
    let mut restored = Case::new(ID);
    restored.apply(&first).unwrap();
    restored
        .add(
            &[Entry::Note("after the restore".into())],
            &keys(1),
            &[9; 16],
            3,
        )
        .unwrap();
    restored
        .add(
            &[finding("convulsions", FindingValue::No)],
            &keys(1),
            &[9; 16],
            4,
        )
        .unwrap();
    restored.apply(&lost).unwrap();
    let state = &restored.view().findings["convulsions"];
    assert!(
        state.value == FindingValue::Yes && state.disputed,
        "a danger sign would be gone under last-writer-wins"
    );
}

#[test]
fn a_sign_with_degrees_stays_as_bad_as_it_was_seen() {
    for (name, bad, mild) in [
        ("drinking", "unable", "normal"),
        ("movement", "none", "own"),
        ("palmar_pallor", "severe", "not_done"),
    ] {
        let mut case = Apart::new(vec![finding(name, text(bad))]);
        case.clinic(finding(name, text(mild)));
        assert_eq!(
            case.value(name),
            (text(bad), true),
            "a colleague's milder word is a question"
        );
        case.worker(finding(name, text(mild)));
        assert_eq!(
            case.value(name),
            (text(mild), false),
            "its author may take it back"
        );
        case.clinic(finding(name, text(bad)));
        assert_eq!(
            case.value(name),
            (text(bad), false),
            "worse is believed at once"
        );
    }
}

#[test]
fn a_case_is_not_closed_while_anybody_says_that_it_goes_on() {
    let mut case = Apart::new(vec![finding("fever", FindingValue::Yes)]);
    assert!(!case.meet().closed());
    case.worker(finding("outcome", text("under_treatment")));
    case.clinic(finding("outcome", text("recovered")));
    assert!(
        !case.meet().closed(),
        "last-writer-wins would let it be deleted"
    );
    case.worker(Entry::Settled {
        name: "outcome".into(),
        value: text("recovered"),
    });
    assert!(case.meet().closed());
}

#[test]
fn free_words_of_both_stay() {
    let mut case = Apart::new(vec![finding("allergies", FindingValue::Unknown)]);
    case.worker(finding("allergies", text("penicillin")));
    case.clinic(finding("allergies", text("none that the mother knows of")));
    let (value, disputed) = case.value("allergies");
    let FindingValue::Text(words) = value else {
        panic!("words were expected")
    };
    assert!(
        words.contains("penicillin") && words.contains("mother") && disputed,
        "an allergy and its denial are a question"
    );
    case.clinic(finding("allergies", text("asked again: none")));
    let (FindingValue::Text(words), _) = case.value("allergies") else {
        panic!("words were expected")
    };
    assert!(
        words.contains("penicillin"),
        "a colleague's later words do not wipe out an allergy: {words}"
    );
}

#[test]
fn consent_withdrawn_anywhere_stands_over_consent_given_apart() {
    let mut case = Apart::new(vec![Entry::consent("share", true)]);
    case.worker(Entry::consent("share", false));
    case.clinic(Entry::consent("share", true));
    assert!(
        !case.meet().consents("share"),
        "the clinic had not heard of the withdrawal"
    );
    case.clinic(Entry::consent("share", true));
    assert!(
        case.meet().consents("share"),
        "asked again by one who knew, and given"
    );
    assert!(
        !case.meet().consents("photo"),
        "what was never asked is no consent"
    );
}

#[test]
fn doses_given_apart_add_up() {
    let dose = |amount: f64| {
        Entry::Dose(DoseEntry {
            medicine: "amoxicillin".into(),
            amount,
            unit: "mg".into(),
            ..DoseEntry::default()
        })
    };
    let mut case = Apart::new(vec![finding("weight", FindingValue::Number(9.0))]);
    case.worker(dose(250.0));
    case.clinic(dose(250.0));
    let view = case.meet();
    assert_eq!(
        view.doses_given()[&("amoxicillin", "mg")],
        (2, 500.0),
        "last-writer-wins would hide a double dose"
    );
}

#[test]
fn a_dose_taken_back_counts_no_more_and_stays_in_sight_however_often_it_is_taken_back() {
    let dose = |amount: f64| {
        Entry::Dose(DoseEntry {
            medicine: "gentamicin".into(),
            amount,
            unit: "mg".into(),
            ..DoseEntry::default()
        })
    };
    let mut case = Apart::new(vec![dose(20.0), dose(200.0)]);
    let wrong = case.meet().doses[1].key.clone();
    let back = |why: &str| Entry::NotGiven {
        dose: wrong.clone(),
        reason: why.into(),
    };
    case.worker(back("written down twice"));
    case.clinic(back("the syringe is full still"));
    case.clinic(dose(20.0));
    let view = case.meet();
    assert_eq!(view.doses_given()[&("gentamicin", "mg")], (2, 40.0));
    let dose = &view.doses[1];
    assert_eq!(
        (dose.dose.amount, dose.taken_back.len(), dose.counts()),
        (200.0, 2, false),
        "both reasons are kept"
    );
    assert_eq!(view.entry_count(), 5);
}

#[test]
fn a_case_handed_over_apart_is_a_question_and_both_care_for_it_until_it_is_answered() {
    let mut case = Apart::new(vec![finding("fever", FindingValue::Yes)]);
    assert_eq!(case.meet().responsible(), [keys(1).id()], "who began it");
    case.worker(Entry::Handover {
        to: keys(3).id(),
        reason: "on leave".into(),
    });
    case.clinic(Entry::Handover {
        to: keys(4).id(),
        reason: "referred".into(),
    });
    let view = case.meet();
    assert_eq!((view.handovers.len(), view.question_count()), (2, 1));
    let both = view.responsible();
    assert!(
        both.len() == 2 && [3, 4].iter().all(|n| both.contains(&keys(*n).id())),
        "nobody's under last-writer-wins"
    );
    case.clinic(Entry::Handover {
        to: keys(3).id(),
        reason: "stays near home".into(),
    });
    let view = case.meet();
    assert_eq!(
        (view.responsible(), view.question_count()),
        (vec![keys(3).id()], 0)
    );
}

/// Two cases that are one patient's: what is said while both are seen is said over the words of
/// both.
#[test]
fn a_question_between_two_cases_of_one_patient_can_be_settled() {
    let case = |n: u8, value| {
        let mut case = Case::new(CaseId([n; 16]));
        let other = CaseId([3 - n; 16]);
        let entries = [
            finding("convulsions", value),
            Entry::Link { other, same: true },
        ];
        case.add(&entries, &keys(n), &[n; 16], 1).unwrap();
        case
    };
    let (mut a, mut b) = (case(1, FindingValue::Yes), case(2, FindingValue::No));
    let view = |a: &mut Case, b: &mut Case| {
        let copy = |case: &mut Case| Case::load(case.id(), &case.save()).unwrap();
        let (first, other) = (copy(a), copy(b));
        let mut others = [Some(other)].into_iter();
        let cases = first
            .and_same(|_| Ok::<_, ()>(others.next().flatten()), |_| Ok(Vec::new()))
            .unwrap();
        Case::view_of_same(&cases).unwrap()
    };
    assert!(view(&mut a, &mut b).findings["convulsions"].disputed);
    let settled = Entry::Settled {
        name: "convulsions".into(),
        value: FindingValue::Yes,
    };
    a.add_beside(
        &[settled],
        Some(std::slice::from_ref(&b)),
        &keys(1),
        &[1; 16],
        2,
    )
    .unwrap();
    let state = &view(&mut a, &mut b).findings["convulsions"];
    assert_eq!(
        (&state.value, state.disputed, state.said.len()),
        (&FindingValue::Yes, false, 3)
    );
}

#[test]
fn two_cases_of_one_patient_are_found_and_shown_as_one_by_a_persons_decision() {
    let patient = |name: &str, months: f64, village: &str| {
        vec![
            finding("patient.name", text(name)),
            finding("age_months", FindingValue::Number(months)),
            finding("patient.village", text(village)),
        ]
    };
    let case = |n: u8, entries: &[Entry]| {
        let mut case = Case::new(CaseId([n; 16]));
        case.add(entries, &keys(n), &[n; 16], 1).unwrap();
        case
    };
    let a = case(1, &patient("Amina Kazungu", 11.0, "Mtwapa"));
    let mut b = case(2, &patient("Kazungu, Aminah", 12.0, "mtwapa"));
    let elsewhere = case(3, &patient("Amina Kazungu", 11.0, "Kilifi"));
    let older = case(4, &patient("Amina Kazungu", 40.0, "Mtwapa"));
    let other = case(5, &patient("Juma Said", 11.0, "Mtwapa"));
    let alike = |x: &Case| likeness(&a.view(), &x.view());
    assert!(alike(&b).is_some_and(|n| n >= 70), "{:?}", alike(&b));
    assert_eq!(
        [alike(&elsewhere), alike(&older), alike(&other)],
        [None, None, None]
    );
    b.add(
        &[
            finding("stiff_neck", FindingValue::Yes),
            Entry::Link {
                other: a.id(),
                same: true,
            },
        ],
        &keys(2),
        &[2; 16],
        2,
    )
    .unwrap();
    let both = Case::view_of_same(&[a, b]).unwrap();
    assert_eq!(both.findings["stiff_neck"].value, FindingValue::Yes);
    assert_eq!(both.findings["patient.name"].said.len(), 2);
    assert_eq!(both.same_as().collect::<Vec<_>>(), [CaseId([2; 16])]);
}

/// A sex typed wrongly, or a village written otherwise, beside a birth date that agrees; a newborn that has
/// got its name since. Without that one date or number they stay two people.
#[test]
fn one_word_that_differs_does_not_make_two_patients_of_one() {
    let text = |s: &str| FindingValue::Text(s.into());
    let case = |n: u8, said: &[(&str, &str)]| {
        let entries: Vec<_> = said
            .iter()
            .map(|(name, value)| finding(name, text(value)))
            .collect();
        let mut case = Case::new(CaseId([n; 16]));
        case.add(&entries, &keys(n), &[n; 16], 1).unwrap();
        case.view()
    };
    let born = ("patient.born", "2025-12-03");
    let pair = |a: &[(&str, &str)], b: &[(&str, &str)]| likeness(&case(1, a), &case(2, b));
    let (girl, boy) = (("patient.sex", "female"), ("patient.sex", "male"));
    let name = ("patient.name", "Amina Test");
    assert!(pair(&[name, girl, born], &[name, boy, born]).is_some());
    assert_eq!(pair(&[name, girl], &[name, boy]), None);
    let (village, more) = (
        ("patient.village", "Mtwapa"),
        ("patient.village", "Mtwapa village"),
    );
    let elsewhere = ("patient.village", "Kibokoni");
    assert!(pair(&[name, village], &[name, more]).is_some());
    assert!(pair(&[name, village, born], &[name, elsewhere, born]).is_some());
    assert_eq!(pair(&[name, village], &[name, elsewhere]), None);
    assert_eq!(
        pair(&[name, girl, village, born], &[name, boy, elsewhere, born]),
        None
    );
    let phone = ("patient.caregiver_phone", "0700 000 001");
    let newborn = ("patient.name", "Baby of Zawadi");
    assert!(
        pair(
            &[newborn, born, phone],
            &[name, born, ("patient.caregiver_phone", "0700000001")]
        )
        .is_some()
    );
    assert_eq!(pair(&[newborn, born], &[name, born]), None);
    let (one, two) = (("patient.national_id", "1"), ("patient.national_id", "2"));
    assert_eq!(pair(&[name, born, one], &[name, born, two]), None);
}

#[test]
fn entries_of_a_newer_version_are_kept_carried_and_counted() {
    use automerge::transaction::Transactable;
    use automerge::{AutoCommit, ObjType, ROOT};
    let mut newer = AutoCommit::new().with_actor(automerge::ActorId::from(&[0xaa; 16][..]));
    newer.put(ROOT, "schema", 9).unwrap();
    let entry = newer
        .put_object(
            ROOT,
            "0000000000000001-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000",
            ObjType::Map,
        )
        .unwrap();
    newer.put(&entry, "kind", "hologram").unwrap();
    newer.put(&entry, "angle", 30).unwrap();
    newer.put(&entry, "seen_by_mother", true).unwrap();
    newer
        .put(
            &entry,
            "by",
            automerge::ScalarValue::Bytes(keys(2).id().0.to_vec()),
        )
        .unwrap();
    let sign = |change: &[u8]| record::sign(ID, change, &keys(2)).unwrap();
    let change: Vec<Vec<u8>> = newer
        .get_changes(&[])
        .iter()
        .map(|c| sign(c.raw_bytes()))
        .collect();
    let mut case = Case::new(ID);
    case.apply(&change).unwrap();
    case.add(
        &[finding("fever", FindingValue::Yes)],
        &keys(1),
        &[1; 16],
        1,
    )
    .unwrap();
    let view = case.view();
    assert_eq!((view.newer.len(), view.findings.len()), (1, 1));
    assert_eq!(
        view.newer,
        ["hologram: angle 30, seen_by_mother yes"],
        "shown without being understood"
    );
    let reloaded = Case::load(ID, &case.save()).unwrap();
    assert_eq!(
        reloaded.view().newer.len(),
        1,
        "an old phone passes on what it does not understand"
    );
}

/// One random word of a phone: who, which field, what value, and whether everyone hears it at once.
type Edit = (usize, u8, u8, bool);

fn entry(what: u8, value: u8) -> Entry {
    let flag = [FindingValue::Yes, FindingValue::No, FindingValue::Unknown][usize::from(value % 3)]
        .clone();
    let dose = DoseEntry {
        medicine: "ors".into(),
        amount: f64::from(value) + 1.0,
        unit: "mL".into(),
        ..DoseEntry::default()
    };
    match what % 8 {
        0 => finding("convulsions", flag),
        1 => finding(
            "temperature",
            FindingValue::Number(36.0 + f64::from(value % 4)),
        ),
        2 => finding("allergies", text(&format!("word {}", value % 3))),
        3 => finding("consent.share", flag),
        4 => Entry::Settled {
            name: "convulsions".into(),
            value: flag,
        },
        5 => Entry::Dose(dose),
        6 => Entry::Handover {
            to: keys(value % 3).id(),
            reason: String::new(),
        },
        _ => Entry::Note(format!("note {value}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was written concurrently, and in whatever order it comes: one view everywhere, no word lost,
    /// and the safe side of each rule.
    #[test]
    fn concurrent_edits_converge_and_keep_to_their_rules(
        edits in proptest::collection::vec((0usize..4, any::<u8>(), any::<u8>(), any::<bool>()), 1..30),
        order in proptest::collection::vec(any::<u32>(), 120),
    ) {
        let edits: Vec<Edit> = edits;
        let mut phones: Vec<_> = (0..4).map(|_| Case::new(ID)).collect();
        let mut changes: Vec<Vec<u8>> = Vec::new();
        let (mut back, mut given) = (BTreeSet::new(), 0.0);
        for (who, what, value, heard) in &edits {
            let actor = [*who as u8 + 1; 16];
            let seen = phones[*who].view().doses;
            let said = match seen.last().filter(|_| what % 16 == 13) {
                Some(dose) => Entry::NotGiven { dose: dose.key.clone(), reason: format!("{value}") },
                None => entry(*what, *value),
            };
            if let Entry::NotGiven { dose, .. } = &said {
                back.insert(dose.clone());
            } else if let Entry::Dose(dose) = &said {
                given += dose.amount;
            }
            let made = phones[*who].add(&[said], &keys(*who as u8 + 1), &actor, u64::from(*value)).unwrap();
            if *heard {
                for (n, phone) in phones.iter_mut().enumerate() {
                    if n != *who { phone.apply(&made).unwrap(); }
                }
            }
            changes.extend(made);
        }
        for (p, phone) in phones.iter_mut().enumerate() {
            let mut mine: Vec<_> = changes.iter().enumerate().collect();
            mine.sort_by_key(|(i, _)| order[(i * 4 + p) % order.len()]);
            mine.into_iter().for_each(|(_, change)| phone.apply(std::slice::from_ref(change)).unwrap());
        }
        let view = phones[0].view();
        for phone in &phones[1..] {
            prop_assert_eq!(&phone.view(), &view);
        }
        prop_assert_eq!(view.entry_count(), edits.len());
        let taken_back: f64 = view.doses.iter().filter(|d| back.contains(&d.key)).map(|d| d.dose.amount).sum();
        prop_assert_eq!(view.doses_given().values().map(|(_, amount)| amount).sum::<f64>(), given - taken_back);
        for (name, state) in &view.findings {
            let known = |v: &FindingValue| *v != FindingValue::Unknown;
            let stands = |value: &FindingValue| state.standing.iter().any(|(_, v)| v == value);
            prop_assert!(!state.standing.is_empty(), "something always stands");
            prop_assert!(known(&state.value) == state.standing.iter().any(|(_, v)| known(v)));
            if name == "convulsions" { prop_assert_eq!(state.value == FindingValue::Yes, stands(&FindingValue::Yes)); }
            if name == "consent.share" && stands(&FindingValue::No) { prop_assert_eq!(&state.value, &FindingValue::No); }
        }
    }
}
