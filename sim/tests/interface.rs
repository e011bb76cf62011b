//! The interface of a phone, on an agent and a store in memory: what a person may do, and that looking
//! changes nothing.

use clinical::{FindingValue, Urgency};
use node::api::views::case::{Case, CaseNew, Decided, History, Said, Stays};
use node::api::views::cases::{Cases, Duplicates, HandedOver, Next};
use node::api::views::meetings::Meetings;
use node::api::views::status::{Done, EnrolRequest, Phone, Status};
use node::api::views::visit::VisitOpen;
use node::api::{CaseWords, Class, DecisionInput, Refusal, Request, VisitOf, exchange};
use sim::Cut;
use sim::screen::Screen;

mod common;
use common::asks::{add, child, number, world};
use common::{CLINIC, Road, SUPERVISOR, WORKER};

fn decide(case: &str, urgency: Urgency, reason: &str, n: u8) -> Request {
    let decision = DecisionInput {
        urgency,
        plan: "refer".into(),
        reason: reason.into(),
    };
    Request::CaseDecide {
        case: case.into(),
        decision,
        request: number(n),
    }
}

#[test]
fn a_case_is_begun_decided_on_and_told_and_asking_again_does_nothing_twice() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(child("convulsions = yes", 1)).unwrap();
    let again: CaseNew = screen.ask(child("convulsions = yes", 1)).unwrap();
    assert_eq!(new.case, again.case, "the same request is the same case");
    assert_eq!(new.assessment.unwrap().urgency, Urgency::Pink);
    let case = new.case.to_string();
    let green = screen.ask::<Decided>(decide(&case, Urgency::Green, "looks well", 2));
    assert_eq!(green.unwrap_err(), Refusal::GreenNotOffered);
    let lower = screen
        .ask::<Decided>(decide(&case, Urgency::Yellow, "", 3))
        .unwrap_err();
    assert_eq!(lower, Refusal::NeedsReason(Urgency::Pink, Urgency::Yellow));
    assert_eq!(
        (lower.class(), Refusal::GreenNotOffered.class()),
        (Class::Usage, Class::Refused)
    );
    screen
        .ask::<Decided>(decide(&case[..8], Urgency::Pink, "", 4))
        .unwrap();
    let shown: Case = screen
        .ask(Request::CaseShow {
            case: case[..6].into(),
        })
        .unwrap();
    assert_eq!(
        (shown.urgency, shown.decided),
        (Some(Urgency::Pink), Some(Urgency::Pink))
    );
    assert!(shown.decisions[0].agrees && shown.undecided.is_none());
    let told: History = screen.ask(Request::CaseHistory { case }).unwrap();
    let decided = told
        .history
        .iter()
        .filter(|l| matches!(l.said, Said::Decision { .. }));
    assert_eq!(decided.count(), 1);
}

/// A danger that is added later is judged again, and says that the decision is no answer to it.
#[test]
fn a_danger_that_is_added_later_is_judged_and_asks_for_another_decision() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    let case = new.case.to_string();
    screen
        .ask::<Decided>(decide(&case, Urgency::Green, "", 2))
        .unwrap();
    let words = CaseWords {
        set: vec![("convulsions".into(), "yes".into())],
        ..CaseWords::default()
    };
    let shown: Case = screen.ask(add(&case, words, 3)).unwrap();
    assert_eq!(
        (shown.urgency, shown.undecided),
        (Some(Urgency::Pink), Some(Urgency::Pink))
    );
    let age = CaseWords {
        set: vec![("age_years".into(), "30".into())],
        ..CaseWords::default()
    };
    let shown: Case = screen.ask(add(&case, age, 4)).unwrap();
    assert!(
        shown.unjudged.is_some(),
        "the rules are for children, and did judge this case"
    );
    let blocked = screen
        .ask::<Decided>(decide(&case, Urgency::Pink, "", 5))
        .unwrap_err();
    assert!(matches!(blocked, Refusal::CannotJudge(_)));
}

/// What is said of one of a patient's cases counts for all: a case with consent of its own does not
/// leave, by any way, once somebody has said of its twin that it may not.
#[test]
fn a_case_whose_twin_may_not_be_shared_leaves_by_no_way() {
    let mut world = world();
    world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let mine: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    let twin: CaseNew = screen.ask(child("spo2 = 96", 2)).unwrap();
    let case = mine.case.to_string();
    let export = |screen: &mut Screen| {
        exchange::export(
            screen,
            std::slice::from_ref(&case),
            node::api::Format::Fhir,
            None,
        )
    };
    let hand = |n| Request::CaseHandOver {
        cases: vec![case.clone()],
        from: None,
        to: "clinic".into(),
        reason: String::new(),
        request: number(n),
    };
    assert_eq!(
        export(&mut screen).unwrap().cases,
        1,
        "the control: it may leave now"
    );
    let no = CaseWords {
        consent: vec![("share".into(), false)],
        ..CaseWords::default()
    };
    screen
        .ask::<Case>(add(&twin.case.to_string(), no, 3))
        .unwrap();
    assert_eq!(
        export(&mut screen).unwrap().cases,
        1,
        "nobody has said that they are one patient's"
    );
    let same = CaseWords {
        links: vec![(twin.case.to_string(), true)],
        ..CaseWords::default()
    };
    screen.ask::<Case>(add(&case, same, 4)).unwrap();
    assert_eq!(
        export(&mut screen).unwrap_err(),
        Refusal::MayNotLeave(mine.case)
    );
    let all = exchange::export(&mut screen, &[], node::api::Format::Csv, None).unwrap();
    assert_eq!((all.cases, all.kept_back), (0, 2));
    let handed: HandedOver = screen.ask(hand(5)).unwrap();
    assert_eq!((handed.cases.len(), handed.kept), (0, 1));
    let note = CaseWords {
        note: Some("stays here".into()),
        ..CaseWords::default()
    };
    let shown: Case = screen.ask(add(&case, note, 6)).unwrap();
    assert_eq!(shown.stays, Some(Stays::NoConsent));
    // A reader is named for sealed files alone.
    let sealed = exchange::export(&mut screen, &[], node::api::Format::Csv, Some("clinic"));
    assert_eq!(sealed.unwrap_err(), Refusal::OnlyArchivesAreSealed);
}

/// One rule of consent: what may not be shared is not sealed, not exported and not handed over.
#[test]
fn what_may_not_be_shared_leaves_by_no_way() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    let case = new.case.to_string();
    assert_eq!(new.stays, None);
    let no = CaseWords {
        consent: vec![("share".into(), false)],
        ..CaseWords::default()
    };
    let shown: Case = screen.ask(add(&case, no, 2)).unwrap();
    assert_eq!(
        shown.stays, None,
        "that there is no consent any more is told to everyone"
    );
    let note = CaseWords {
        note: Some("stays here".into()),
        ..CaseWords::default()
    };
    let shown: Case = screen.ask(add(&case, note, 3)).unwrap();
    assert_eq!((shown.stays, shown.unsent), (Some(Stays::NoConsent), 1));
    let named = [case.clone()];
    let left = exchange::export(&mut screen, &named, node::api::Format::Fhir, None);
    assert_eq!(left.unwrap_err(), Refusal::MayNotLeave(new.case));
    let all = exchange::export(&mut screen, &[], node::api::Format::Csv, None).unwrap();
    assert_eq!((all.cases, all.kept_back), (0, 1));
    let hand = Request::CaseHandOver {
        cases: vec![case.clone()],
        from: None,
        to: "clinic".into(),
        reason: String::new(),
        request: number(4),
    };
    let refused = screen.ask::<HandedOver>(hand.clone()).unwrap_err();
    assert_eq!(
        refused,
        Refusal::NoSuchPhone("clinic".into(), false),
        "not met yet"
    );
    world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let handed: HandedOver = screen.ask(hand).unwrap();
    assert_eq!((handed.cases.len(), handed.kept), (0, 1));
    // The control: with consent it leaves.
    let yes = CaseWords {
        consent: vec![("share".into(), true)],
        ..CaseWords::default()
    };
    screen.ask::<Case>(add(&case, yes, 5)).unwrap();
    let out = exchange::export(&mut screen, &named, node::api::Format::Fhir, None).unwrap();
    assert_eq!((out.cases, out.kept_back), (1, 0));
}

#[test]
fn the_list_pages_and_searches_and_says_what_is_next() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    for n in 0..7 {
        let Request::CaseNew {
            findings,
            profile,
            consent,
            area,
            decision,
            request,
            ..
        } = child("spo2 = 97", n)
        else {
            unreachable!()
        };
        let head = vec![("patient.name".into(), format!("Child {n}"))];
        let consent = if n == 3 { Vec::new() } else { consent };
        let new = Request::CaseNew {
            findings,
            profile,
            head,
            consent,
            area,
            decision,
            request,
        };
        screen.ask::<CaseNew>(new).unwrap();
    }
    let page = |find: &str, after, limit| Request::CaseList {
        find: find.into(),
        after,
        limit,
    };
    let first: Cases = screen.ask(page("", 0, Some(3))).unwrap();
    let rest: Cases = screen.ask(page("", 3, None)).unwrap();
    assert_eq!(
        (first.cases.len(), first.matching, rest.cases.len()),
        (3, 7, 4)
    );
    let found: Cases = screen.ask(page("child 3", 0, None)).unwrap();
    assert_eq!(
        (found.matching, found.cases[0].title.as_str()),
        (1, "Child 3")
    );
    assert_eq!(
        (found.cases[0].next, found.cases[0].unsent),
        (Next::Decide, true)
    );
    let both: Vec<_> = first
        .cases
        .iter()
        .chain(&rest.cases)
        .map(|row| row.case)
        .collect();
    let all: Cases = screen.ask(Request::all_cases()).unwrap();
    assert_eq!(
        both,
        all.cases.iter().map(|row| row.case).collect::<Vec<_>>()
    );
    let alike: Duplicates = screen.ask(Request::CaseDuplicates).unwrap();
    assert_eq!(alike.pairs.len(), 21, "seven children of one name");
}

/// Looking at a phone changes nothing that it keeps; only what was judged for a list is remembered,
/// by a command of its own.
#[test]
fn looking_changes_nothing_that_is_kept() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    screen.ask::<Cases>(Request::all_cases()).unwrap();
    let before = format!("{:?}", screen.kept().unwrap());
    let case = new.case.to_string();
    screen.ask::<Status>(Request::Status).unwrap();
    screen.ask::<Cases>(Request::all_cases()).unwrap();
    screen
        .ask::<Case>(Request::CaseShow { case: case.clone() })
        .unwrap();
    screen
        .ask::<History>(Request::CaseHistory { case })
        .unwrap();
    screen.ask::<Duplicates>(Request::CaseDuplicates).unwrap();
    screen.ask::<Meetings>(Request::Meetings).unwrap();
    screen
        .ask::<VisitOpen>(Request::VisitOpen { of: VisitOf::Child })
        .unwrap();
    assert_eq!(format!("{:?}", screen.kept().unwrap()), before);
    // The control: a word that is added is kept.
    let note = CaseWords {
        note: Some("seen".into()),
        ..CaseWords::default()
    };
    screen
        .ask::<Case>(add(&new.case.to_string(), note, 2))
        .unwrap();
    assert_ne!(format!("{:?}", screen.kept().unwrap()), before);
}

#[test]
fn meetings_are_kept_with_whom_what_moved_and_why_they_ended() {
    let mut world = world();
    Screen::at(&mut world, WORKER)
        .ask::<CaseNew>(child("spo2 = 97", 1))
        .unwrap();
    world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    world.meet(WORKER, SUPERVISOR, Cut::Frames(12)).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let kept: Meetings = screen.ask(Request::Meetings).unwrap();
    let (last, first) = (&kept.meetings[0], kept.meetings.last().unwrap());
    assert!(last.number > first.number, "the latest first");
    assert!(
        first.complete && first.envelopes_sent > 0 && first.bytes > 0,
        "{first:?}"
    );
    assert_eq!(
        (first.name.as_str(), first.device),
        ("supervisor", last.device)
    );
    let status: Status = screen.ask(Request::Status).unwrap();
    assert_eq!(status.meetings, last.number);
    assert_eq!(status.peers.len(), 1);
    assert_eq!(status.name.as_deref(), Some("worker"));
}

#[test]
fn a_file_of_cases_comes_back_as_the_same_case_and_nothing_twice() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    screen
        .ask::<CaseNew>(child("convulsions = yes", 1))
        .unwrap();
    for format in [node::api::Format::Fhir, node::api::Format::Csv] {
        let out = exchange::export(&mut screen, &[], format, None).unwrap();
        let back = exchange::import(&mut screen, format, &out.bytes, (None, false)).unwrap();
        assert!(
            back.cases.is_empty(),
            "it is here already: {:?}",
            back.left_out
        );
        let all: Cases = screen.ask(Request::all_cases()).unwrap();
        assert_eq!(all.cases.len(), 1);
    }
    // A case of which nobody says who it is counts as one, looked at or taken in.
    let nameless = br#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8310-5"}]},"valueQuantity":{"value":38.4,"unit":"Cel","code":"Cel"}}}]}"#;
    for dry_run in [true, false] {
        let format = node::api::Format::Fhir;
        let said = exchange::import(&mut screen, format, nameless, (None, dry_run)).unwrap();
        assert_eq!((said.new, said.added_to), (1, 0), "{dry_run}");
    }
    let damaged =
        exchange::import(&mut screen, node::api::Format::Fhir, b"{", (None, false)).unwrap_err();
    assert!(matches!(damaged, Refusal::FileRefused(_)));
    let whom = exchange::export(&mut screen, &[], node::api::Format::Archive, None).unwrap_err();
    assert_eq!(whom, Refusal::ArchiveForWhom);
}

#[test]
fn a_phone_that_may_not_says_so_by_a_code() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, SUPERVISOR);
    let begun = screen.ask::<CaseNew>(child("spo2 = 97", 1)).unwrap_err();
    assert_eq!(begun, Refusal::NoSpace { may_write: false });
    assert_eq!(begun.class(), Class::NeedsKey);
    let area = protocol::Area::parse("north/kilifi").unwrap();
    let space = screen
        .ask::<Done>(Request::SpaceCreate { area: area.clone() })
        .unwrap_err();
    assert_eq!(space, Refusal::MayNotBegin(area));
    let name = "x".repeat(10_000);
    let asked = screen
        .ask::<EnrolRequest>(Request::EnrolRequest { name })
        .unwrap_err();
    assert!(matches!(asked, Refusal::NameRefused(_)));
    let none = screen
        .ask::<Case>(Request::CaseShow {
            case: "abcd".into(),
        })
        .unwrap_err();
    assert_eq!(none, Refusal::NoSuchCase("abcd".into()));
}

/// A request that is begun anew because a meeting has brought a danger sign writes down what the rules
/// say now, and not only what they said when it was begun.
#[test]
fn a_request_begun_anew_is_judged_anew() {
    let mut road = Road::new(1001);
    let begun: CaseNew = Screen::at(&mut road.world, WORKER)
        .ask(child("", 1))
        .unwrap();
    let judged = |road: &mut Road| {
        let mut screen = Screen::at(&mut road.world, WORKER);
        node::api::assess::reassess(&mut screen, begun.case, [5; 16]).unwrap();
        let view = road.view(WORKER, begun.case).unwrap();
        view.assessments.last().unwrap().1.urgency
    };
    let oxygen = FindingValue::Number(97.0);
    road.write(WORKER, Some(begun.case), "spo2", oxygen, 2);
    assert_eq!(judged(&mut road), Urgency::Green, "the control");
    road.write(
        WORKER,
        Some(begun.case),
        "convulsions",
        FindingValue::Yes,
        3,
    );
    assert_eq!(judged(&mut road), Urgency::Pink);
}

/// People say names, not digits; where a name is not one patient's, digits are asked for.
#[test]
fn a_case_and_a_phone_are_found_by_name_where_it_is_only_theirs() {
    let mut world = world();
    world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let first: CaseNew = screen.ask(child("spo2 = 97", 1)).unwrap();
    let show = |screen: &mut Screen, case: &str| {
        screen.ask::<Case>(Request::CaseShow { case: case.into() })
    };
    for name in ["Amina Kazungu", "amina", " KAZUNGU "] {
        assert_eq!(show(&mut screen, name).unwrap().case, first.case, "{name}");
    }
    let none = show(&mut screen, "Amin").unwrap_err();
    assert_eq!(none, Refusal::NoSuchCase("amin".into()));
    let mut twin = child("spo2 = 97", 7);
    if let Request::CaseNew { head, .. } = &mut twin {
        head[0].1 = "Baby A Otieno".into();
    }
    let twin: CaseNew = screen.ask(twin).unwrap();
    let first_words = show(&mut screen, "baby a").unwrap();
    assert_eq!(
        first_words.case, twin.case,
        "the first words, where they are one's alone"
    );
    assert_eq!(
        show(&mut screen, "").unwrap_err(),
        Refusal::NoSuchCase(String::new())
    );
    screen.ask::<CaseNew>(child("spo2 = 96", 2)).unwrap();
    let several = show(&mut screen, "Amina").unwrap_err();
    assert_eq!(several, Refusal::SeveralCases("amina".into()));
    // A name that is also how another case's id begins is nobody's alone.
    let Request::CaseNew {
        findings,
        profile,
        consent,
        ..
    } = child("spo2 = 95", 3)
    else {
        unreachable!()
    };
    let begins = first.case.to_string()[..6].to_owned();
    let twin = Request::CaseNew {
        findings,
        profile,
        head: vec![("patient.name".into(), begins.clone())],
        consent,
        area: None,
        decision: None,
        request: number(3),
    };
    screen.ask::<CaseNew>(twin).unwrap();
    assert_eq!(
        show(&mut screen, &begins).unwrap_err(),
        Refusal::SeveralCases(begins)
    );
    let phone = |screen: &mut Screen, who: &str| {
        screen.ask::<Phone>(Request::FindPhone { who: who.into() })
    };
    let clinic = phone(&mut screen, "Clinic").unwrap();
    assert_eq!(clinic.name.as_deref(), Some("clinic"));
    let digits = clinic.device.to_string();
    assert_eq!(phone(&mut screen, &digits[..8]).unwrap(), clinic);
    assert!(matches!(
        phone(&mut screen, "nobody"),
        Err(Refusal::NoSuchPhone(_, false))
    ));
}
