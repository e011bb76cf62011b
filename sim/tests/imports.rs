//! A file of cases comes in whole or not at all, wherever it is cut off; and what is told of phones near by
//! and of one key on two phones.

use std::panic::{AssertUnwindSafe, catch_unwind};

use clinical::FindingValue;
use node::agent::{Command, Known, LinkClass, Reply, Standing};
use node::api::views::case::{Case, CaseNew};
use node::api::views::cases::Cases;
use node::api::views::exchange::Imported;
use node::api::views::status::{Status, Warning};
use node::api::{Assessor, Cx, Format, Look, Refusal, Request, exchange};
use node::{Input, Power, Store};
use protocol::{CaseId, DeviceId, Now};
use sim::screen::Screen;
use sim::{Cut, World};

mod common;
use common::asks::world;
use common::{CLINIC, Road, SUPERVISOR, WORKER};

const PATIENTS: usize = 3;

/// A table of some patients.
fn table() -> String {
    table_of(PATIENTS)
}

fn table_of(patients: usize) -> String {
    let mut table = String::from("case,area,kind,name,value,unit,said_by,said_at,order,stands\r\n");
    for n in 0..patients {
        let case = format!("{n:032x}");
        let rows = [
            format!("{case},x,finding,patient.name,Child {n},,w,2025,1,yes\r\n"),
            format!("{case},x,finding,spo2,9{},%,w,2025,2,yes\r\n", n % 10),
        ];
        table.extend(rows);
    }
    table
}

fn cases(world: &mut World) -> Cases {
    Screen::at(world, WORKER).ask(Request::all_cases()).unwrap()
}

/// However many writes go through before the disk is full: nothing of the file is here, or the rest of it
/// comes by itself. The control is what is here before it has gone on: a part.
#[test]
fn a_file_that_is_cut_off_at_any_write_is_not_begun_or_goes_on() {
    let whole = {
        let mut world = world();
        let mut screen = Screen::at(&mut world, WORKER);
        let came = exchange::import(&mut screen, Format::Csv, table().as_bytes(), (None, false));
        assert_eq!(came.unwrap().new, PATIENTS);
        cases(&mut world).cases
    };
    let titles = |cases: &Cases| {
        let mut titles: Vec<_> = cases.cases.iter().map(|c| c.title.clone()).collect();
        titles.sort();
        titles
    };
    let (mut nothing, mut parts, mut done) = (0, 0, false);
    for writes in 0..400 {
        let mut world = world();
        world.phones[WORKER].store.fail_after(Some(writes));
        let mut screen = Screen::at(&mut world, WORKER);
        let came = exchange::import(&mut screen, Format::Csv, table().as_bytes(), (None, false));
        let cut_off = exchange::is_cut_off(&screen);
        world.phones[WORKER].store.fail_after(None);
        world.restart(WORKER).unwrap();
        match (&came, cut_off) {
            (Ok(_), false) => {
                done = true;
                break;
            }
            (_, false) => {
                nothing += 1;
                assert!(cases(&mut world).cases.is_empty(), "{writes}");
                continue;
            }
            (_, true) => {}
        }
        let told: Status = Screen::at(&mut world, WORKER).ask(Request::Status).unwrap();
        assert!(told.warnings.contains(&Warning::ImportCutOff));
        parts += usize::from((1..PATIENTS).contains(&cases(&mut world).cases.len()));
        let mut screen = Screen::at(&mut world, WORKER);
        screen.ask::<Imported>(Request::ImportGoesOn).unwrap();
        assert!(!exchange::is_cut_off(&screen), "{writes}");
        let again: Imported = screen.ask(Request::ImportGoesOn).unwrap();
        assert_eq!(again, Imported::default(), "once");
        let here = cases(&mut world);
        assert_eq!(here.cases.len(), whole.len(), "{writes}");
        assert_eq!(titles(&here), ["Child 0", "Child 1", "Child 2"]);
        let entries = |cases: &[_]| {
            cases
                .iter()
                .map(|c: &node::api::views::cases::Row| c.entries)
                .sum::<u64>()
        };
        assert_eq!(
            entries(&here.cases),
            entries(&whole),
            "{writes}: nothing twice"
        );
    }
    assert!(done && nothing > 0 && parts > 0, "{nothing} {parts}");
}

/// A phone whose program is killed at one of the commands to come.
struct Killed<'a> {
    screen: Screen<'a>,
    commands: usize,
    /// It may write no cases any more.
    refuses: bool,
}

impl Look for Killed<'_> {
    fn known(&self) -> Known<'_> {
        self.screen.known()
    }

    fn store(&self) -> &dyn Store {
        self.screen.store()
    }

    fn assessor(&self) -> &dyn Assessor {
        self.screen.assessor()
    }

    fn now(&self) -> Now {
        self.screen.now()
    }
}

impl Cx for Killed<'_> {
    fn randomness(&mut self) -> Result<[u8; 32], Refusal> {
        self.screen.randomness()
    }

    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        match self.commands.checked_sub(1) {
            Some(left) => self.commands = left,
            None => std::panic::resume_unwind(Box::new("killed")),
        }
        if self.refuses && matches!(command, Command::TakeFromFile { .. }) {
            return Err(Refusal::NoSpace { may_write: false });
        }
        self.screen.command(command)
    }
}

/// Whether something comes to its end before the program is killed.
fn lives(world: &mut World, commands: usize, run: impl Fn(&mut Killed<'_>)) -> bool {
    let mut killed = Killed {
        screen: Screen::at(world, WORKER),
        commands,
        refuses: false,
    };
    let lived = catch_unwind(AssertUnwindSafe(|| run(&mut killed))).is_ok();
    world.restart(WORKER).unwrap();
    lived
}

fn takes(cx: &mut Killed<'_>) {
    exchange::import(cx, Format::Csv, table().as_bytes(), (None, false)).unwrap();
}

/// Killed at every command in turn, and once more while it goes on: all of it is here in the end.
#[test]
fn a_program_that_is_killed_in_a_file_goes_on_there() {
    for commands in 0.. {
        let mut world = world();
        if lives(&mut world, commands, takes) {
            assert!(commands > PATIENTS, "{commands}");
            break;
        }
        let begun = exchange::is_cut_off(&Screen::at(&mut world, WORKER));
        assert_eq!(begun, commands > 1);
        lives(&mut world, 2, |cx| drop(exchange::go_on(cx)));
        let mut screen = Screen::at(&mut world, WORKER);
        screen.ask::<Imported>(Request::ImportGoesOn).unwrap();
        let here = cases(&mut world).cases.len();
        assert_eq!(here, if begun { PATIENTS } else { 0 }, "{commands}");
    }
}

/// What brings the program down each time is left in the end, and said; another file comes in after that.
#[test]
fn a_file_that_brings_the_program_down_is_not_begun_for_ever() {
    let mut world = world();
    assert!(!lives(&mut world, 3, takes));
    for _ in 0..5 {
        assert!(!lives(&mut world, 1, |cx| drop(exchange::go_on(cx))));
        assert!(exchange::is_cut_off(&Screen::at(&mut world, WORKER)));
    }
    let mut screen = Screen::at(&mut world, WORKER);
    assert_eq!(exchange::go_on(&mut screen), Err(Refusal::ImportGivenUp));
    assert!(!exchange::is_cut_off(&screen));
    let told: Status = screen.ask(Request::Status).unwrap();
    assert!(told.warnings.contains(&Warning::ImportGivenUp));
    assert!(lives(&mut world, 1000, takes));
    assert_eq!(cases(&mut world).cases.len(), PATIENTS);
    let told: Status = Screen::at(&mut world, WORKER).ask(Request::Status).unwrap();
    assert!(
        !told.warnings.contains(&Warning::ImportGivenUp),
        "it is all in"
    );
}

/// However often a long file is cut off, as long as it comes further each time it is never left.
#[test]
fn a_file_that_comes_further_each_time_is_never_left() {
    let mut world = world();
    let long = |cx: &mut Killed<'_>| {
        let table = table_of(60);
        exchange::import(cx, Format::Csv, table.as_bytes(), (None, false)).unwrap();
    };
    assert!(!lives(&mut world, 3, long));
    let mut cuts = 0;
    while !lives(&mut world, 12, |cx| drop(exchange::go_on(cx).unwrap())) {
        cuts += 1;
        assert!(cuts < 40);
    }
    assert!(cuts >= 3, "{cuts}");
    assert_eq!(cases(&mut world).cases.len(), 60);
}

/// A copy of a phone's store goes on beside it: what the copy writes comes to the phone by a third one, and the
/// phone tells of it. The control is the third one, which has written nothing itself.
#[test]
fn what_was_written_elsewhere_with_this_phone_s_key_is_told() {
    let told = |world: &mut World, phone: usize| {
        let status: Status = Screen::at(world, phone).ask(Request::Status).unwrap();
        let twin = |w: &Warning| matches!(w, Warning::KeyElsewhere { .. });
        status.warnings.iter().any(twin)
    };
    let mut road = Road::new(1000);
    let copy = road.world.phones[WORKER].store.clone();
    road.write(WORKER, None, "fever", FindingValue::Yes, 1);
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    road.world.restart(WORKER).unwrap();
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert!(!told(&mut road.world, WORKER), "one phone alone");
    road.world.phones[WORKER].store = copy;
    road.world.restart(WORKER).unwrap();
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert!(told(&mut road.world, WORKER));
    assert!(!told(&mut road.world, SUPERVISOR));
}

/// Who is near, and why the two are not meeting.
#[test]
fn who_is_near_is_told_with_why_it_is_not_met() {
    let mut world = world();
    let ids = [SUPERVISOR, CLINIC].map(|phone| world.keys(phone).unwrap().id());
    let stranger = DeviceId([9; 32]);
    let notice = |world: &mut World, peer: DeviceId| {
        let (class, at) = (LinkClass::Ip, "10.0.0.9:1".to_owned());
        world
            .input(WORKER, Input::Seen { peer, class, at })
            .unwrap();
    };
    let near = |world: &World| -> Vec<(DeviceId, Standing)> {
        let snapshot = world.phones[WORKER].agent.snapshot(world.now);
        let near = snapshot.known().near().iter();
        near.map(|near| (near.device, near.standing)).collect()
    };
    let standing = |world: &World, peer| near(world).into_iter().find(|n| n.0 == peer).unwrap().1;
    assert!(near(&world).is_empty());
    world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    notice(&mut world, ids[0]);
    notice(&mut world, ids[1]);
    world
        .input(WORKER, Input::PowerChanged(Power::Low))
        .unwrap();
    notice(&mut world, stranger);
    assert_eq!(standing(&world, ids[0]), Standing::NothingNew);
    assert_eq!(standing(&world, ids[1]), Standing::Called);
    assert_eq!(standing(&world, stranger), Standing::SavesPower);
    let (peer, answered) = (ids[1], false);
    world
        .input(WORKER, Input::DialEnded { peer, answered })
        .unwrap();
    assert_eq!(standing(&world, peer), Standing::NoAnswer { calls: 1 });
    // Who says that it is this phone is shown, and called by nobody; nothing is kept of a word that anybody with the
    // ministry's discovery key can say. Whoever was noticed long ago is gone.
    let own = world.keys(WORKER).unwrap().id();
    notice(&mut world, own);
    assert_eq!(standing(&world, own), Standing::ThisPhone);
    let told: Status = Screen::at(&mut world, WORKER).ask(Request::Status).unwrap();
    assert!(told.warnings.is_empty(), "{:?}", told.warnings);
    world.now = world.now.plus_ms(6 * 60_000);
    assert!(near(&world).is_empty());
    // However many say that they are there, a bounded number is kept.
    for n in 0..2000_u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        notice(&mut world, DeviceId(id));
    }
    assert_eq!(near(&world).len(), 256);
}

/// A bundle of patients: id, number, what else is said of who it is, and a temperature.
fn bundle(patients: &[(&str, &str, &str, f64)]) -> Vec<u8> {
    let entries = patients.iter().map(|(id, number, who, temperature)| {
        format!(
            r#"{{"resource":{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"http://r.example","value":"{number}"}}]{who}}}}},{{"resource":{{"resourceType":"Observation","id":"o{id}","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"8310-5"}}]}},"subject":{{"reference":"Patient/{id}"}},"valueQuantity":{{"value":{temperature},"unit":"Cel","code":"Cel"}}}}}}"#
        )
    });
    let entries: Vec<_> = entries.collect();
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#,
        entries.join(",")
    );
    bundle.into_bytes()
}

fn comes(world: &mut World, bytes: &[u8]) -> Imported {
    let mut screen = Screen::at(world, WORKER);
    let came = exchange::import(&mut screen, Format::Fhir, bytes, (None, false)).unwrap();
    world.restart(WORKER).unwrap(); // no two requests have one number
    came
}

/// Twins of whom nobody has said a name, alike in all: two, however often the file comes.
#[test]
fn twins_who_are_alike_in_all_are_two_however_often_they_come() {
    let mut world = world();
    let who = r#","name":[{"text":"Baby Otieno"}],"birthDate":"2025-12-01","gender":"male""#;
    let twins = bundle(&[("a", "M-7", who, 37.1), ("b", "M-7", who, 39.9)]);
    assert_eq!(comes(&mut world, &twins).new, 2);
    for _ in 0..2 {
        let again = comes(&mut world, &twins);
        assert_eq!(
            (again.new, again.added_to, again.unchanged),
            (0, 0, 2),
            "{again:?}"
        );
    }
    assert_eq!(cases(&mut world).cases.len(), 2);
}

/// A number that two people have had: what says a name goes to whoever has it, what says none goes to nobody and is
/// told. The control is a number that one has.
#[test]
fn a_record_without_a_name_under_a_number_of_several_goes_to_nobody() {
    let mut world = world();
    let named = |name: &str| format!(r#","name":[{{"text":"{name}"}}]"#);
    let record = |name: &str, at: f64| bundle(&[("p", "R-1", name, at)]);
    assert_eq!(
        comes(&mut world, &record(&named("Amina Juma"), 37.0)).new,
        1
    );
    assert_eq!(
        comes(&mut world, &record("", 37.2)).added_to,
        1,
        "the control"
    );
    assert_eq!(
        comes(&mut world, &record(&named("Halima Said"), 38.0)).new,
        1
    );
    let nameless = comes(&mut world, &record("", 40.5));
    assert_eq!(
        (nameless.new, nameless.added_to, nameless.cases.len()),
        (0, 0, 0)
    );
    let told = nameless.left_out.join("\n");
    assert!(
        told.contains("several people are under its number"),
        "{told}"
    );
    for name in ["Halima Said", "Amina Juma"] {
        assert_eq!(
            comes(&mut world, &record(&named(name), 40.1)).added_to,
            1,
            "{name}"
        );
    }
    assert_eq!(cases(&mut world).cases.len(), 2, "nobody is copied");
}

/// What is kept of a file and cannot be read any more is told, and stops nothing.
#[test]
fn a_kept_file_that_is_damaged_is_told() {
    let mut world = world();
    let damaged = Some(b"not what was written".to_vec());
    let keep = Command::Import(node::agent::ImportStep::Keep(damaged));
    world.command(WORKER, keep).unwrap();
    world.restart(WORKER).unwrap();
    let mut screen = Screen::at(&mut world, WORKER);
    let left = screen.ask::<Imported>(Request::ImportGoesOn).unwrap_err();
    assert_eq!(left, Refusal::ImportGivenUp);
    let told: Status = screen.ask(Request::Status).unwrap();
    assert!(told.warnings.contains(&Warning::ImportGivenUp));
    assert_eq!(comes(&mut world, &bundle(&[("p", "R", "", 37.0)])).new, 1);
    let told: Status = Screen::at(&mut world, WORKER).ask(Request::Status).unwrap();
    assert!(!told.warnings.contains(&Warning::ImportGivenUp));
}

/// One dose in every form that a case leaves in: taken in by one form after another it is one.
#[test]
fn a_dose_is_one_by_whatever_forms_it_comes() {
    let mut world = world();
    let mut screen = Screen::at(&mut world, WORKER);
    let new: CaseNew = screen.ask(common::asks::child("spo2 = 97", 1)).unwrap();
    let words = node::api::CaseWords {
        dose: Some("amoxicillin 250 mg".into()),
        ..Default::default()
    };
    let id = new.case.to_string();
    screen
        .ask::<Case>(common::asks::add(&id, words, 2))
        .unwrap();
    let forms = [Format::Fhir, Format::Csv, Format::Ips];
    let files = forms.map(|form| {
        (
            form,
            exchange::export(&mut screen, &[], form, None)
                .unwrap()
                .bytes,
        )
    });
    for (first, second) in [(0, 1), (1, 0), (2, 1), (1, 2), (0, 2)] {
        let mut world = common::asks::world();
        for at in [first, second] {
            let (form, bytes) = &files[at];
            exchange::import(
                &mut Screen::at(&mut world, CLINIC),
                *form,
                bytes,
                (None, false),
            )
            .unwrap();
            world.restart(CLINIC).unwrap();
        }
        let mut screen = Screen::at(&mut world, CLINIC);
        let all: Cases = screen.ask(Request::all_cases()).unwrap();
        assert_eq!(all.cases.len(), 1, "{first} {second}");
        let case = all.cases[0].case.to_string();
        let shown: Case = screen.ask(Request::CaseShow { case }).unwrap();
        assert_eq!(
            (shown.doses.len(), shown.doses[0].times),
            (1, 1),
            "{first} {second}"
        );
    }
}

/// Two of one bundle are two, though they have a number and a whole name between them; the control is the same two in
/// files of their own, where one day of birth of two is taken for put right.
#[test]
fn two_patients_of_one_bundle_are_two() {
    let born = |day: &str| format!(r#","name":[{{"text":"Amina Juma"}}],"birthDate":"{day}""#);
    let (one, other) = (born("2024-05-01"), born("2025-05-01"));
    let mut world = world();
    let both = bundle(&[("a", "R-1", &one, 37.1), ("b", "R-1", &other, 39.9)]);
    assert_eq!(comes(&mut world, &both).new, 2);
    let again = comes(&mut world, &both);
    assert_eq!(
        (again.new, again.added_to, again.here.len()),
        (0, 0, 2),
        "{again:?}"
    );
    let mut world = common::asks::world();
    assert_eq!(
        comes(&mut world, &bundle(&[("a", "R-1", &one, 37.1)])).new,
        1
    );
    let control = comes(&mut world, &bundle(&[("b", "R-1", &other, 39.9)]));
    assert_eq!((control.new, control.added_to), (0, 1));
}

/// A dose that its own system takes back counts no more, and one that another system takes back by the same name
/// does: the number is another's.
#[test]
fn a_dose_that_its_system_takes_back_counts_no_more() {
    let given = |number: &str, status: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{"resourceType":"Patient","id":"p","identifier":[{{"system":"http://r.example","value":"{number}"}}],"name":[{{"text":"Amina Juma"}}]}}}},{{"resource":{{"resourceType":"MedicationAdministration","id":"d","status":"{status}","subject":{{"reference":"Patient/p"}},"medicationCodeableConcept":{{"text":"amoxicillin"}},"effectiveDateTime":"2025-12-30T08:00:00Z","dosage":{{"dose":{{"value":250,"unit":"mg"}}}}}}}}]}}"#
        )
    };
    let counted = |world: &mut World| -> usize {
        let listed = cases(world).cases;
        let mut screen = Screen::at(world, WORKER);
        let mut doses = |case: CaseId| {
            let case = case.to_string();
            let shown: Case = screen.ask(Request::CaseShow { case }).unwrap();
            shown.doses.iter().map(|dose| dose.times).sum::<usize>()
        };
        listed.iter().map(|row| doses(row.case)).sum()
    };
    for (number, status, left) in [
        ("R-1", "completed", 1),
        ("R-1", "entered-in-error", 0),
        ("R-1", "not-done", 0),
        ("R-2", "entered-in-error", 1),
    ] {
        let mut world = world();
        comes(&mut world, given("R-1", "completed").as_bytes());
        comes(&mut world, given(number, status).as_bytes());
        assert_eq!(counted(&mut world), left, "{number} {status}");
    }
}

/// A file that was cut off and may not come in any more is left and told: it keeps no other file out. The control is
/// a full disk, which passes.
#[test]
fn a_file_that_may_not_come_in_any_more_keeps_no_other_out() {
    let mut world = world();
    assert!(!lives(&mut world, 3, takes));
    world.phones[WORKER].store.fail_after(Some(0));
    let full = exchange::go_on(&mut Screen::at(&mut world, WORKER));
    assert!(full.is_err() && exchange::is_cut_off(&Screen::at(&mut world, WORKER)));
    world.phones[WORKER].store.fail_after(None);
    world.restart(WORKER).unwrap();
    let refuses = |cx: &mut Killed<'_>| {
        cx.refuses = true;
        assert!(exchange::go_on(cx).is_err());
    };
    assert!(lives(&mut world, 1000, refuses));
    let mut screen = Screen::at(&mut world, WORKER);
    assert!(!exchange::is_cut_off(&screen));
    let told: Status = screen.ask(Request::Status).unwrap();
    assert!(told.warnings.contains(&Warning::ImportGivenUp));
    assert!(lives(&mut world, 1000, takes), "another comes in");
}
