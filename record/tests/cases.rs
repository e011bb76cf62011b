//! Cases: same changes, same case, whatever the order.

use automerge::Change;
use clinical::{FindingValue, Urgency};
use proptest::prelude::*;
use protocol::{CaseId, DeviceKeys};
use record::{Case, DecisionEntry, Entry};

const ID: CaseId = CaseId([1; 16]);

fn finding(name: &str, value: FindingValue) -> Entry {
    Entry::Finding {
        name: name.into(),
        value,
    }
}

fn decision(urgency: Urgency, plan: &str) -> Entry {
    Entry::Decision(DecisionEntry {
        urgency,
        agrees: true,
        reason: String::new(),
        plan: plan.into(),
        rules: "r".into(),
        model: "m".into(),
        app: String::new(),
    })
}

fn keys(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

#[test]
fn two_decisions_made_apart_are_both_kept() {
    let mut clinic = Case::new(ID);
    let first = clinic
        .add(
            &[finding("fever", FindingValue::Yes)],
            &keys(1),
            &[1; 16],
            5,
        )
        .unwrap();
    let mut worker = Case::new(ID);
    worker.apply(&first).unwrap();
    let ours = clinic
        .add(&[decision(Urgency::Pink, "admit")], &keys(1), &[1; 16], 9)
        .unwrap();
    let theirs = worker
        .add(&[decision(Urgency::Yellow, "wait")], &keys(2), &[2; 16], 9)
        .unwrap();
    clinic.apply(&theirs).unwrap();
    worker.apply(&ours).unwrap();
    assert_eq!(clinic.view(), worker.view());
    assert_eq!(clinic.view().decisions.len(), 2);
    assert_eq!(clinic.view().urgency(), Some(Urgency::Pink));
}

#[test]
fn unknown_yields_to_known_and_a_sign_once_seen_stays_seen() {
    let mut case = Case::new(ID);
    case.add(
        &[finding("stiff_neck", FindingValue::Yes)],
        &keys(1),
        &[1; 16],
        5,
    )
    .unwrap();
    case.add(
        &[finding("stiff_neck", FindingValue::Unknown)],
        &keys(2),
        &[2; 16],
        6,
    )
    .unwrap();
    assert_eq!(case.view().findings["stiff_neck"].value, FindingValue::Yes);
    case.add(
        &[finding("stiff_neck", FindingValue::No)],
        &keys(2),
        &[2; 16],
        7,
    )
    .unwrap();
    let state = &case.view().findings["stiff_neck"];
    assert!(state.value == FindingValue::Yes && state.disputed && state.said.len() == 3);
    case.add(
        &[finding("stiff_neck", FindingValue::No)],
        &keys(1),
        &[1; 16],
        8,
    )
    .unwrap();
    assert_eq!(
        case.view().findings["stiff_neck"].value,
        FindingValue::No,
        "its own author may take it back"
    );
}

#[test]
fn a_saved_case_opens_as_it_was_and_keeps_changes_that_wait_for_others() {
    let mut author = Case::new(ID);
    let first = author
        .add(&[finding("a", FindingValue::Yes)], &keys(1), &[1; 16], 1)
        .unwrap();
    let second = author
        .add(&[finding("b", FindingValue::No)], &keys(1), &[1; 16], 2)
        .unwrap();
    let mut other = Case::new(ID);
    other.apply(&second).unwrap();
    assert!(
        other.view().findings.is_empty(),
        "its dependency has not come yet"
    );
    let mut reopened = Case::load(ID, &other.save()).unwrap();
    reopened.apply(&first).unwrap();
    assert_eq!(reopened.view(), author.view());
}

/// A colleague who is allowed to write signs a change by hand in which another's phone speaks,
/// takes a signed change of another case, or strips the signature: nobody takes it in, and the case
/// stays as it was.
#[test]
fn nobody_speaks_in_anothers_name() {
    let said = [finding("fever", FindingValue::No)];
    let mut theirs = Case::new(ID);
    let honest = theirs.add(&said, &keys(1), &[1; 16], 1).unwrap().remove(0);
    let change = Change::from_bytes(honest.clone()).unwrap();
    let forged = record::sign(ID, &honest, &keys(2)).unwrap();
    let mut unsigned = change.decode();
    unsigned.message = None;
    let elsewhere = Case::new(CaseId([2; 16]))
        .add(&said, &keys(1), &[1; 16], 1)
        .unwrap()
        .remove(0);
    let mut case = Case::new(ID);
    for (bytes, why) in [
        (forged, "in another's name"),
        (Change::from(unsigned).raw_bytes().to_vec(), ""),
        (elsewhere, "has not signed"),
    ] {
        let error = case.apply(&[bytes]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(case.view().entry_count(), 0);
    }
    case.apply(&[honest]).unwrap();
    assert_eq!(case.view().findings["fever"].said[0].0.by, keys(1).id());
}

#[test]
fn damaged_changes_and_documents_are_refused_and_the_case_stays_as_it_was() {
    let mut author = Case::new(ID);
    let entries: Vec<_> = (0..20)
        .map(|i| finding(&format!("f{i}"), FindingValue::Number(f64::from(i))))
        .collect();
    let change = author
        .add(&entries, &keys(1), &[1; 16], 1)
        .unwrap()
        .remove(0);
    let document = author.save();
    let mut case = Case::new(ID);
    case.apply(std::slice::from_ref(&change)).unwrap();
    let before = case.view();
    for at in 0..change.len() {
        let mut spoiled = change.clone();
        spoiled[at] ^= 0x41;
        let _ = case.apply(&[spoiled]);
        assert_eq!(case.view(), before, "byte {at}");
    }
    for at in 0..document.len() {
        let mut spoiled = document.clone();
        spoiled[at] ^= 0x41;
        let _ = Case::load(ID, &spoiled);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three phones write without seeing each other's last words; everyone takes everything in,
    /// each in another order.
    #[test]
    fn same_changes_same_case_whatever_the_order(
        words in proptest::collection::vec((0usize..3, 0u8..4, 0u8..4), 1..25),
        order in proptest::collection::vec(any::<u32>(), 75),
        seen in proptest::collection::vec(any::<bool>(), 25),
    ) {
        let mut phones: Vec<_> = (0..3).map(|_| Case::new(ID)).collect();
        let mut changes: Vec<Vec<u8>> = Vec::new();
        for (i, (who, what, value)) in words.iter().enumerate() {
            let value = match value { 0 => FindingValue::Yes, 1 => FindingValue::No, 2 => FindingValue::Unknown, _ => FindingValue::Number(f64::from(*what)) };
            let entry = finding(&format!("f{what}"), value);
            let actor = [*who as u8 + 1; 16];
            let made = phones[*who].add(&[entry], &keys(*who as u8 + 1), &actor, 100).unwrap();
            if seen[i] {
                phones[(who + 1) % 3].apply(&made).unwrap();
            }
            changes.extend(made);
        }
        for (p, phone) in phones.iter_mut().enumerate() {
            let mut mine: Vec<_> = changes.iter().enumerate().collect();
            mine.sort_by_key(|(i, _)| order[(i * 3 + p) % order.len()]);
            for (_, change) in mine {
                phone.apply(&[change.clone(), change.clone()]).unwrap();
            }
        }
        prop_assert_eq!(phones[0].view(), phones[1].view());
        prop_assert_eq!(phones[1].view(), phones[2].view());
        prop_assert_eq!(phones[0].entries().len(), words.len());
    }
}

#[test]
fn debug_output_shows_nothing_of_a_patient() {
    let entry = finding("patient.name", FindingValue::Text("Amina Kazungu".into()));
    assert!(!format!("{entry:?}").contains("Amina"));
}

/// A member of the space can add, and nothing else: a change that deletes, overwrites or speaks
/// under another's key is refused.
#[test]
fn a_change_that_touches_what_others_have_said_is_refused() {
    use automerge::transaction::Transactable;
    use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc};
    let mut case = Case::new(ID);
    let first = case
        .add(
            &[finding("convulsions", FindingValue::Yes)],
            &keys(1),
            &[1; 16],
            1,
        )
        .unwrap();
    let before = case.view();
    let doc = AutoCommit::load(&case.save())
        .unwrap()
        .with_actor(ActorId::from(&[6u8; 16][..]));
    let key = doc.keys(ROOT).find(|key| key != "schema").unwrap();
    let (_, entry) = doc.get(ROOT, &key).unwrap().unwrap();
    type Harm = Box<dyn Fn(&mut AutoCommit)>;
    let victim = key.clone();
    let harms: Vec<(&str, Harm)> = vec![
        (
            "deletes an entry",
            Box::new(move |doc| doc.delete(ROOT, &victim).unwrap()),
        ),
        (
            "overwrites a field",
            Box::new({
                let entry = entry.clone();
                move |doc| doc.put(&entry, "value", false).unwrap()
            }),
        ),
        (
            "adds into an entry",
            Box::new({
                let entry = entry.clone();
                move |doc| doc.put(&entry, "extra", 1).unwrap()
            }),
        ),
        (
            "speaks under another's key",
            Box::new(|doc| {
                doc.put_object(
                    ROOT,
                    "0000000000000009-01010101010101010101010101010101-0000",
                    ObjType::Map,
                )
                .unwrap();
            }),
        ),
    ];
    for (what, harm) in harms {
        let mut forged = doc.clone().with_actor(ActorId::from(&[6u8; 16][..]));
        let heads = forged.get_heads();
        harm(&mut forged);
        forged.commit();
        let changes: Vec<Vec<u8>> = forged
            .get_changes(&heads)
            .iter()
            .map(|c| c.raw_bytes().to_vec())
            .collect();
        assert!(case.apply(&changes).is_err(), "{what}");
        let mut late = Case::new(ID);
        assert!(
            late.apply(&[changes, first.clone()].concat()).is_err(),
            "{what}, with what it touches"
        );
        assert_eq!(case.view(), before, "{what}");
    }
}

/// H6 of the review: one author's entries without end cost every reader time.
#[test]
fn h6_one_author_writes_only_so_much_into_one_case() {
    let fills = || {
        let (author, mut case) = (DeviceKeys::from_seed([1; 32]), Case::new(CaseId([3; 16])));
        let some: Vec<_> = (0..400).map(|n| Entry::Note(n.to_string())).collect();
        (0..28).all(|at_s| case.add(&some, &author, &[1; 16], at_s).is_ok())
    };
    assert!(!fills());
    assert!(
        protocol::defence::without(protocol::defence::Defence::AuthorBudgets, fills),
        "the control"
    );
}
