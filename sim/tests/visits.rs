//! A visit under way, what is said in it, and the plan for what stands in a case: on an agent and a store in
//! memory.

use clinical::age::AgeError;
use clinical::{FindingValue, FindingsError, Profile, Urgency};
use node::api::views::case::{Case, CaseNew};
use node::api::views::cases::Cases;
use node::api::views::plan::CasePlan;
use node::api::views::visit::{Visit, VisitEnd, VisitOpen};
use node::api::{CaseWords, Refusal, Request, RequestId, VisitOf};
use protocol::Area;
use sim::screen::Screen;
use sim::{Cut, World};

mod common;
use common::asks::{add, child, number, world};
use common::{CLINIC, Road, SUPERVISOR, WORKER};

/// A plan is for what stands in the case, allergies and doses with it; looking at it writes nothing.
#[test]
fn a_plan_is_for_what_stands_in_the_case() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(child("convulsions = yes", 1)).unwrap();
    let case = new.case.to_string();
    let plan = |case: &str| Request::CasePlan { case: case.into() };
    let first: CasePlan = screen.ask(plan(&case)).unwrap();
    assert!(first.plan.refer && first.plan.ask_allergies);
    assert_eq!(first.assessment.urgency, Urgency::Pink);
    let words = CaseWords {
        set: vec![("allergies".into(), "penicillin".into())],
        ..CaseWords::default()
    };
    screen.ask::<Case>(add(&case, words, 2)).unwrap();
    let before = format!("{:?}", screen.kept().unwrap());
    let asked: CasePlan = screen.ask(plan(&case)).unwrap();
    assert!(!asked.plan.ask_allergies, "somebody has said");
    assert_eq!(format!("{:?}", screen.kept().unwrap()), before);
    let adult = Request::CaseBegin {
        profile: Profile::Iccm,
        fields: vec![("age_years".into(), "7".into())],
        consent: Vec::new(),
        area: None,
        decision: None,
        request: number(3),
    };
    let adult: CaseNew = screen.ask(adult).unwrap();
    let none = screen.ask::<CasePlan>(plan(&adult.case.to_string()));
    assert_eq!(none, Err(Refusal::NoRulesForThis));
}

/// Where two people weighed a child and differ, nobody chooses one of the weights for a dose.
#[test]
fn a_weight_about_which_people_differ_is_not_used_for_a_dose() {
    let mut road = Road::new(1000);
    let world = &mut road.world;
    let mut screen = Screen::at(world, WORKER);
    let new: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    let case = new.case.to_string();
    let weigh = |kg: &str, n| {
        let words = CaseWords {
            set: vec![("weight".into(), kg.into())],
            ..CaseWords::default()
        };
        add(&case, words, n)
    };
    let told = |world: &mut World| {
        let mut screen = Screen::at(world, WORKER);
        let plan: CasePlan = screen
            .ask(Request::CasePlan { case: case.clone() })
            .unwrap();
        plan.plan
            .tell
            .into_iter()
            .map(|said| said.words)
            .collect::<Vec<_>>()
    };
    let everybody = |world: &mut World| {
        for (a, b) in [
            (WORKER, SUPERVISOR),
            (SUPERVISOR, CLINIC),
            (SUPERVISOR, WORKER),
        ] {
            world.meet(a, b, Cut::Never).unwrap();
        }
    };
    everybody(world);
    Screen::at(world, WORKER)
        .ask::<Case>(weigh("9", 2))
        .unwrap();
    assert_eq!(told(world), ["a dose for 9 kg"], "the control");
    Screen::at(world, CLINIC)
        .ask::<Case>(weigh("12", 3))
        .unwrap();
    everybody(world);
    everybody(world);
    assert!(told(world).is_empty(), "people differ: {:?}", told(world));
}

/// A field beside the file of findings does not quietly say another thing than the file, and nobody is
/// judged as a child by rules that are not for his age.
#[test]
fn one_person_does_not_say_two_things_at_once() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let beside = |name: &str, value: &str| {
        let mut new = child("spo2 = 97", 1);
        if let Request::CaseNew { head, .. } = &mut new {
            head.push((name.into(), value.into()));
        }
        new
    };
    for (name, value, refusal) in [
        ("spo2", "80", Refusal::SaidTwice("spo2".into())),
        ("age_months", "50", Refusal::SaidTwice("age_months".into())),
        (
            "age_years",
            "30",
            Refusal::Findings(FindingsError::Age(AgeError::Several)),
        ),
        (
            "patient.born",
            "1960-01-01",
            Refusal::Findings(FindingsError::Age(AgeError::NotAChild)),
        ),
        (
            "patient.born",
            "1897-01-01",
            Refusal::TooLongAgo("1897-01-01".into()),
        ),
        (
            "patient.born",
            "2027-01-01",
            Refusal::StillToCome("2027-01-01".into()),
        ),
    ] {
        let refused = screen.ask::<CaseNew>(beside(name, value)).expect_err(name);
        assert_eq!(refused, refusal, "{name}");
    }
    let cases: Cases = screen.ask(Request::all_cases()).unwrap();
    assert_eq!(cases.matching, 0, "nothing was written");
    // The control: the same said twice.
    screen.ask::<CaseNew>(beside("spo2", "97")).unwrap();
}

#[test]
fn visits_of_different_kinds_keep_their_own_answers_names_and_consents() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let begin = |of, request: u8, anew| Request::VisitBegin {
        of,
        profile: Profile::Iccm,
        anew,
        request: RequestId([request; 16]),
        area: None,
    };
    let say = |of, name: &str, said: &str| Request::VisitAnswer {
        of,
        name: name.into(),
        answer: said.into(),
    };
    screen.ask::<Visit>(begin(VisitOf::Child, 1, true)).unwrap();
    for (name, said) in [
        ("age", "11"),
        ("convulsions", "y"),
        ("patient.name", "Y, the younger"),
        ("consent.share", "n"),
    ] {
        screen
            .ask::<Visit>(say(VisitOf::Child, name, said))
            .unwrap();
    }
    let bad = say(VisitOf::Child, "consent.share", "perhaps");
    assert!(matches!(screen.ask::<Visit>(bad), Err(Refusal::Value(_))));
    // Another patient's whole visit comes between.
    screen
        .ask::<Visit>(begin(VisitOf::Adult, 2, false))
        .unwrap();
    let adult: Visit = screen.ask(say(VisitOf::Adult, "age", "44")).unwrap();
    assert_eq!(adult.answered, 1, "the child's answers are not his");
    assert!(adult.danger.is_empty());
    let of = VisitOf::Adult;
    screen.ask::<VisitEnd>(Request::VisitEnd { of }).unwrap();

    world.restart(WORKER).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let child: Visit = screen.ask(begin(VisitOf::Child, 7, false)).unwrap();
    assert_eq!(child.danger.len(), 1);
    assert_eq!(child.said["patient.name"], "Y, the younger");
    assert_eq!(child.said["consent.share"], "no");
    assert_eq!(
        child.request,
        RequestId([1; 16]),
        "its case is written under the number it began with: once"
    );
    let anew: Visit = screen.ask(begin(VisitOf::Child, 7, true)).unwrap();
    assert_eq!((anew.answered, anew.request), (0, RequestId([7; 16])));
}

/// Nobody is asked forty questions for a case that this phone could not write.
#[test]
fn a_visit_does_not_begin_where_its_case_could_not_be_written() {
    let mut world = world();
    let begin = |of, area: Option<&str>| Request::VisitBegin {
        of,
        profile: Profile::Iccm,
        anew: true,
        request: RequestId([1; 16]),
        area: area.map(|area| Area::parse(area).unwrap()),
    };
    let mut screen = Screen::at(&mut world, WORKER);
    let elsewhere = begin(VisitOf::Child, Some("elsewhere"));
    assert!(matches!(
        screen.ask::<Visit>(elsewhere),
        Err(Refusal::MayNotWrite(_))
    ));
    screen.ask::<Visit>(begin(VisitOf::Child, None)).unwrap(); // the control
    let stranger = world.add([61; 32]).unwrap();
    let mut stranger = Screen::at(&mut world, stranger);
    assert!(matches!(
        stranger.ask::<Visit>(begin(VisitOf::Adult, None)),
        Err(Refusal::NoSpace { .. })
    ));
    stranger.ask::<Visit>(begin(VisitOf::Triage, None)).unwrap();
}

#[test]
fn a_visit_is_kept_at_every_answer_and_outlives_the_program() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let profile = Profile::Iccm;
    let answer = |name: &str, said: &str| Request::VisitAnswer {
        of: VisitOf::Child,
        name: name.into(),
        answer: said.into(),
    };
    let early = screen.ask::<Visit>(answer("spo2", "97")).unwrap_err();
    assert_eq!(early, Refusal::NoVisit);
    screen
        .ask::<Visit>(Request::VisitBegin {
            of: VisitOf::Child,
            profile,
            anew: true,
            request: RequestId([9; 16]),
            area: None,
        })
        .unwrap();
    let visit: Visit = screen.ask(answer("convulsions", "y")).unwrap();
    assert_eq!(
        (visit.answered, visit.danger.len()),
        (1, 1),
        "a danger sign answers at once"
    );
    world.restart(WORKER).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let open: VisitOpen = screen
        .ask(Request::VisitOpen { of: VisitOf::Child })
        .unwrap();
    assert_eq!(open.answers, 1);
    let visit: Visit = screen
        .ask(Request::VisitBegin {
            of: VisitOf::Child,
            profile,
            anew: false,
            request: RequestId([9; 16]),
            area: None,
        })
        .unwrap();
    assert_eq!(visit.findings.get("convulsions"), Some(&FindingValue::Yes));
    let bad = screen.ask::<Visit>(answer("age", "ninety")).unwrap_err();
    assert!(matches!(bad, Refusal::AnswerRefused(_)));
    let visit: Visit = screen.ask(answer("age", "11")).unwrap();
    assert!(visit.age_known);
    let visit: Visit = screen
        .ask(Request::VisitBack { of: VisitOf::Child })
        .unwrap();
    assert!(!visit.age_known && visit.answered == 1);
    screen
        .ask::<VisitEnd>(Request::VisitEnd { of: VisitOf::Child })
        .unwrap();
    let open: VisitOpen = screen
        .ask(Request::VisitOpen { of: VisitOf::Child })
        .unwrap();
    assert_eq!(open.answers, 0);
}

/// A visit whose case is written is over, though nobody has decided yet: its case is named, and nothing is
/// answered that no case would have.
#[test]
fn a_visit_whose_case_is_written_names_it_and_takes_no_more_answers() {
    let mut world = world();
    let of = VisitOf::Child;
    let begin = |anew, n| Request::VisitBegin {
        of,
        profile: Profile::Iccm,
        anew,
        request: number(n),
        area: None,
    };
    let mut screen = Screen::at(&mut world, WORKER);
    screen.ask::<Visit>(begin(true, 9)).unwrap();
    let answered = Request::VisitAnswer {
        of,
        name: "age".into(),
        answer: "11".into(),
    };
    screen.ask::<Visit>(answered).unwrap();
    let new: CaseNew = screen.ask(child("spo2 = 97", 9)).unwrap();
    world.restart(WORKER).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let open: VisitOpen = screen.ask(Request::VisitOpen { of }).unwrap();
    assert_eq!((open.answers, open.case), (1, Some(new.case)));
    let anew: Visit = screen.ask(begin(false, 10)).unwrap();
    assert_eq!(
        (anew.answered, anew.request),
        (0, number(10)),
        "the next patient has answers of their own"
    );
}

/// An age that a date of birth contradicts is settled before a dose goes by it.
#[test]
fn ages_that_differ_are_named_before_a_dose_goes_by_one() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    // The world begins on 2026-01-01; the child is said to be 20 months old.
    for (n, born, named) in [(1, "2024-05-01", false), (2, "2025-05-01", true)] {
        let mut new = child("spo2 = 97", n);
        if let Request::CaseNew { head, .. } = &mut new {
            head.push(("patient.born".into(), born.into()));
        }
        let new: CaseNew = screen.ask(new).unwrap();
        let case = new.case.to_string();
        let plan: CasePlan = screen.ask(Request::CasePlan { case }).unwrap();
        let settle = plan.plan.settle.iter().any(|name| name == "patient.born");
        assert_eq!(settle, named, "born {born}: {:?}", plan.plan.settle);
    }
}

/// A dose of an illness long ago is none of this one.
#[test]
fn a_dose_counts_for_a_fortnight() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    for (n, given, counts) in [
        (1, "2025-12-20T08:00:00Z", true),
        (3, "2025-12-10T08:00:00Z", false),
    ] {
        let new: CaseNew = screen.ask(child("spo2 = 97", n)).unwrap();
        let case = new.case.to_string();
        let words = CaseWords {
            dose: Some("zinc 20 mg".into()),
            given: given.into(),
            ..CaseWords::default()
        };
        screen.ask::<Case>(add(&case, words, n + 1)).unwrap();
        let plan: CasePlan = screen.ask(Request::CasePlan { case }).unwrap();
        let said = plan.plan.tell.iter().any(|said| said.words == "1 doses");
        assert_eq!(said, counts, "{given}: {:?}", plan.plan.tell);
    }
}

/// The world begins on 2026-01-01: an age typed as the day of birth is that age, and the day is kept.
#[test]
fn an_age_may_be_typed_as_the_day_of_birth() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let of = VisitOf::Child;
    let begin = Request::VisitBegin {
        of,
        profile: Profile::Iccm,
        anew: true,
        request: RequestId([9; 16]),
        area: None,
    };
    screen.ask::<Visit>(begin).unwrap();
    let say = |typed: &str| Request::VisitAnswer {
        of,
        name: "age".into(),
        answer: typed.into(),
    };
    // 2018-03-28 of the Ethiopian calendar is 2025-12-07; digits may be of another script.
    for typed in ["2025-12-07", "2018-03-28 EC", "२०२५-१२-०७"] {
        let visit: Visit = screen.ask(say(typed)).unwrap();
        let days = FindingValue::Number(25.0);
        assert_eq!(visit.findings.get("age_days"), Some(&days), "{typed}");
        assert_eq!(visit.said["patient.born"], "2025-12-07");
        assert_eq!(visit.answered, 1, "one answer");
    }
    let open: VisitOpen = screen.ask(Request::VisitOpen { of }).unwrap();
    assert_eq!(open.age.as_deref(), Some("25d"));
    // Months typed after all, or the answer taken back: the day goes with it.
    let visit: Visit = screen.ask(say("3")).unwrap();
    assert!(visit.age_known && !visit.said.contains_key("patient.born"));
    screen.ask::<Visit>(say("2025-12-07")).unwrap();
    let visit: Visit = screen.ask(Request::VisitBack { of }).unwrap();
    assert!(!visit.age_known && visit.said.is_empty() && visit.answered == 0);
    for (typed, why) in [
        ("2026-02-01", Refusal::StillToCome("2026-02-01".into())),
        ("1850-02-01", Refusal::TooLongAgo("1850-02-01".into())),
    ] {
        assert_eq!(screen.ask::<Visit>(say(typed)).unwrap_err(), why);
    }
    for (typed, of_a_day) in [
        ("2025", false),
        ("2019-05-01", false), // six years: no rules
        ("2025-12", false),    // a newborn or an infant
        ("2025-02-30", true),
        ("24/11/2025", true),
    ] {
        let refused = screen.ask::<Visit>(say(typed)).unwrap_err();
        let day = matches!(refused, Refusal::Value(_));
        let age = matches!(refused, Refusal::AnswerRefused(_));
        assert!(if of_a_day { day } else { age }, "{typed}: {refused:?}");
    }
}
