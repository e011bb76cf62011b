//! Cases as the three users meet them: consent, questions, doses, duplicates, handover, files for
//! others, a sealed key, a lost phone; and what a courier's folder shows.

use std::path::Path;

use node::api::{Request, RequestId, VisitOf};
use serde_json::{Value, json};

mod common;

use common::{Desk, example, new_case, with_worker};

#[test]
fn a_case_without_consent_says_that_it_stays_and_why() {
    let desk = Desk::enrolled();
    let output = desk.run(
        "clinic",
        &[
            "case",
            "new",
            "--findings",
            &example(),
            "--patient",
            "Amina",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("stays on this phone") && said.contains("--consent share"),
        "{said}"
    );
    let list = desk.json("clinic", &["case", "list"]);
    let case = list["cases"][0]["case"].as_str().unwrap()[..8].to_owned();
    assert_eq!(
        (&list["cases"][0]["unsent"], &list["cases"][0]["title"]),
        (&json!(true), &json!("Amina"))
    );
    let given = desk.json("clinic", &["case", "add", &case, "--consent", "share,care"]);
    assert_eq!(
        (&given["unsent"], &given["stays"], &given["sealed"]),
        (&json!(0), &Value::Null, &json!(1))
    );
    desk.ok("clinic", &["case", "add", &case, "--no-consent", "share"]);
    let after = desk.json("clinic", &["case", "add", &case, "--note", "stays here"]);
    assert_eq!(after["unsent"], 1);
    assert_eq!(
        desk.fails("clinic", &["case", "add", &case, "--consent", "everything"])
            .0,
        2
    );
}

#[test]
fn words_doses_and_questions_are_added_and_settled_and_the_history_tells_all() {
    let desk = Desk::enrolled();
    let case = new_case(&desk, "clinic", &["--consent", "share"]);
    let add = |args: &[&str]| desk.json("clinic", &[&["case", "add", &case], args].concat());
    add(&[
        "--set",
        "spo2=88",
        "--set",
        "weight=8.2",
        "--dose",
        "amoxicillin 250 mg",
        "--note",
        "sent by motorbike",
    ]);
    let shown = add(&["--dose", "amoxicillin 250 mg"]);
    assert_eq!(
        shown["doses"],
        json!([{ "medicine": "amoxicillin", "unit": "mg", "times": 2, "amount": 500.0 }])
    );
    assert_eq!(shown["findings"]["spo2"]["value"], 88.0);
    for (args, expected) in [
        (&["--set", "spo2=12"][..], "40 to 100"),
        (&["--set", "sp02=88"], "case fields"),
        (&["--set", "spo2"], "FIELD=VALUE"),
        (&["--dose", "amoxicillin"], "no dose"),
        (&["--settle", "wheeze_recurrent=no"], "nothing was said"),
        (&["--hand-to", "nobody"], "is known here"),
        (&[], "nothing to add"),
        (&["--same-as", &case], "itself"),
    ] {
        let (code, said) = desk.fails("clinic", &[&["case", "add", &case], args].concat());
        assert!(
            code == 2 && said.contains(expected),
            "{args:?}: {code} {said}"
        );
    }
    assert!(
        desk.ok("clinic", &["case", "fields"])
            .contains("bp_systolic")
    );
    let history = desk.ok("clinic", &["case", "history", &case]);
    assert!(
        history.contains("spo2 = unknown")
            && history.contains("spo2 = 88")
            && history.contains("gave amoxicillin"),
        "{history}"
    );
    assert!(history.contains("Clinic") && history.contains("by their clock"));
    let shown = desk.ok("clinic", &["case", "show", &case]);
    assert!(
        shown.contains("gave      amoxicillin 500 mg in 2 doses")
            && shown.contains("held by   this phone only"),
        "{shown}"
    );
}

#[test]
fn a_dose_that_was_written_down_wrongly_is_taken_back_with_a_reason() {
    let desk = Desk::enrolled();
    let case = new_case(&desk, "clinic", &["--consent", "share"]);
    let add = |args: &[&str]| desk.json("clinic", &[&["case", "add", &case], args].concat());
    add(&[
        "--dose",
        "gentamicin 20 mg",
        "--route",
        "im",
        "--given",
        "2026-11-24T09:30:00+03:00",
    ]);
    let shown = add(&["--dose", "gentamicin 200 mg"]);
    let wrong = shown["each_dose"][1]["id"].as_str().unwrap();
    for (args, expected) in [
        (&["--not-given", wrong][..], "--reason"),
        (&["--not-given", "zz", "--reason", "x"], "no dose"),
        (&["--not-given", "", "--reason", "x"], "several"),
        (&["--dose", "zinc 20 mg", "--given", "09:30"], "its zone"),
        (&["--route", "oral"], "--dose"),
    ] {
        let output = desk.run("clinic", &[&["case", "add", &case], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && said.contains(expected),
            "{args:?}: {said}"
        );
    }
    let shown = add(&["--not-given", wrong, "--reason", "a nought too many"]);
    assert_eq!(
        shown["doses"],
        json!([{ "medicine": "gentamicin", "unit": "mg", "times": 1, "amount": 20.0 }])
    );
    let words = desk.ok("clinic", &["case", "show", &case]);
    assert!(
        words.contains("im, 2026-11-24T09:30") && words.contains("a nought too many"),
        "{words}"
    );
    let (code, said) = desk.fails(
        "clinic",
        &[
            "case",
            "add",
            &case,
            "--not-given",
            wrong,
            "--reason",
            "again",
        ],
    );
    assert!(code == 2 && said.contains("already"), "{said}");
    assert!(
        desk.ok("clinic", &["case", "history", &case])
            .contains("was not given after all")
    );
}

/// A woman in labour with a high pressure is pink at once; where no rules are for a patient, what is
/// found is kept, nobody is told that it is green, and a person decides.
#[test]
fn a_case_of_a_mother_or_an_adult_is_judged_by_the_rules_for_them_and_one_of_seven_years_by_a_person()
 {
    let desk = Desk::enrolled();
    let found = desk.write(
        "mother.toml",
        "age_years = 24\ngestation_weeks = 38\nlabour = true\nbp_systolic = 165\n",
    );
    let new = [
        "case",
        "new",
        "--kind",
        "pregnancy",
        "--findings",
        &found,
        "--patient",
        "Zawadi",
        "--consent",
        "share",
    ];
    let case = desk.json("clinic", &new)["case"].as_str().unwrap()[..8].to_owned();
    let shown = desk.json("clinic", &["case", "show", &case]);
    assert_eq!(shown["urgency"], "pink", "labour, and 165 mmHg: {shown}");
    let fired = shown["assessments"][0]["rules_fired"].to_string();
    assert!(fired.contains("P1 ") && fired.contains("P9 "), "{fired}");
    assert_eq!(
        (
            &shown["findings"]["labour"]["value"],
            shown["sealed"].as_u64()
        ),
        (&json!("yes"), Some(1))
    );
    let (code, said) = desk.fails(
        "clinic",
        &[
            "case", "decide", &case, "--decide", "green", "--plan", "home",
        ],
    );
    assert!(code == 5 && said.contains("green is not offered"), "{said}");
    desk.ok(
        "clinic",
        &[
            "case", "decide", &case, "--decide", "pink", "--plan", "refer",
        ],
    );
    assert_eq!(
        desk.json("clinic", &["case", "list"])["cases"][0]["urgency"],
        "pink"
    );
    let adult = [
        "case",
        "new",
        "--kind",
        "adult",
        "--set",
        "age_years=41",
        "--set",
        "cough_days=21",
        "--set",
        "patient.sex=male",
    ];
    assert!(desk.ok("clinic", &adult).contains("Possible tuberculosis"));
    // Nobody here has rules for a child of seven years: its danger signs are looked at, and a person
    // decides.
    let seven = [
        "case",
        "new",
        "--kind",
        "adult",
        "--set",
        "age_years=7",
        "--set",
        "cough_days=2",
    ];
    let case = desk.json("clinic", &seven)["case"].as_str().unwrap()[..8].to_owned();
    assert!(desk.ok("clinic", &seven).contains("you decide"));
    let green = [
        "case", "decide", &case, "--decide", "green", "--plan", "home",
    ];
    let (code, said) = desk.fails("clinic", &green);
    assert!(
        code == 5 && said.contains("no danger is ruled out"),
        "{said}"
    );
    let yellow = [
        "case", "decide", &case, "--decide", "yellow", "--plan", "send", "--reason", "young",
    ];
    assert!(desk.ok("clinic", &yellow).contains("without an assessment"));
    for (args, expected) in [
        (&["--set", "age_years=200"][..], "0 to 120"),
        (
            &["--set", "age_years=3", "--set", "convulsions=yes"],
            "under five years",
        ),
        (&["--set", "labour"], "FIELD=VALUE"),
        (&["--findings", "nowhere.toml"], "cannot read"),
        (&[], "no terminal"),
    ] {
        let (code, said) = desk.fails(
            "clinic",
            &[&["case", "new", "--kind", "adult"], args].concat(),
        );
        assert!(code == 2 && said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn duplicates_are_offered_and_a_person_decides() {
    let desk = Desk::enrolled();
    let a = new_case(
        &desk,
        "clinic",
        &["--patient", "Amina Kazungu", "--village", "Mtwapa"],
    );
    let b = new_case(
        &desk,
        "clinic",
        &["--patient", "Kazungu Amina", "--village", "Mtwapa"],
    );
    new_case(
        &desk,
        "clinic",
        &["--patient", "Juma Said", "--village", "Mtwapa"],
    );
    let pairs = desk.json("clinic", &["case", "duplicates"]);
    assert_eq!(pairs["pairs"].as_array().unwrap().len(), 1);
    desk.ok(
        "clinic",
        &["case", "add", &b, "--set", "oedema_both_feet=yes"],
    );
    let merged = desk.json("clinic", &["case", "add", &a, "--same-as", &b]);
    assert_eq!(
        merged["findings"]["oedema_both_feet"]["value"], "yes",
        "shown as one"
    );
    assert!(merged["same_as"][0].as_str().unwrap().starts_with(&b));
    // They have one line in the list, and what is said of either later is seen in it.
    let listed = |case: &str| {
        let list = desk.json("clinic", &["case", "list"]);
        let rows = list["cases"].as_array().unwrap().clone();
        assert_eq!(
            (rows.len(), &list["matching"]),
            (2, &json!(2)),
            "a line a patient"
        );
        let ids = |row: &Value| format!("{} {}", row["case"], row["same_as"]);
        rows.into_iter()
            .find(|row| ids(row).contains(case))
            .unwrap()
    };
    let of_both = desk.json("clinic", &["case", "show", "Amina"]);
    assert_eq!(
        of_both["findings"], merged["findings"],
        "her name is enough"
    );
    let before = listed(&a);
    desk.ok(
        "clinic",
        &[
            "case",
            "add",
            &b,
            "--settle",
            "convulsions=no",
            "--settle",
            "chest_indrawing=no",
        ],
    );
    desk.ok("clinic", &["case", "add", &b, "--set", "stiff_neck=yes"]);
    assert_eq!(
        (&before["urgency"], &listed(&a)["urgency"]),
        (&json!("pink"), &json!("pink"))
    );
    assert!(
        desk.json("clinic", &["case", "show", &b])["same_as"][0]
            .as_str()
            .unwrap()
            .starts_with(&a)
    );
    assert!(
        desk.json("clinic", &["case", "duplicates"])["pairs"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let apart = desk.json("clinic", &["case", "add", &a, "--not-same-as", &b]);
    assert_eq!(apart["same_as"], json!([]), "a decision can be taken back");
    let list = desk.json("clinic", &["case", "list"]);
    assert_eq!(
        list["cases"].as_array().unwrap().len(),
        3,
        "and each has its line again"
    );
    let (_, said) = desk.fails("clinic", &["case", "show", "Amina"]);
    assert!(said.contains("several cases"), "{said}");
}

#[test]
fn cases_go_out_as_fhir_and_csv_and_come_back() {
    let desk = Desk::enrolled();
    let case = new_case(
        &desk,
        "clinic",
        &[
            "--consent",
            "share",
            "--patient",
            "Amina",
            "--decide",
            "pink",
            "--plan",
            "refer",
        ],
    );
    new_case(
        &desk,
        "clinic",
        &["--patient", "Juma", "--consent", "share"],
    );
    let kept = new_case(&desk, "clinic", &["--patient", "Nobody"]);
    let (code, said) = desk.fails("clinic", &["case", "export", &kept, "--out", "kept.json"]);
    assert!(
        code == 5 && said.contains("no consent") && !desk.path("kept.json").exists(),
        "{said}"
    );
    desk.ok("clinic", &["case", "export", &case, "--out", "one.json"]);
    desk.ok("clinic", &["case", "export", "--out", "all.ndjson"]);
    desk.ok(
        "clinic",
        &["case", "export", "--format", "csv", "--out", "all.csv"],
    );
    assert_eq!(
        std::fs::read_to_string(desk.path("all.ndjson"))
            .unwrap()
            .lines()
            .count(),
        2
    );
    let bundle: Value =
        serde_json::from_slice(&std::fs::read(desk.path("one.json")).unwrap()).unwrap();
    assert_eq!(
        (&bundle["resourceType"], &bundle["type"]),
        (&json!("Bundle"), &json!("collection"))
    );
    let (other, third) = (Desk::enrolled(), Desk::enrolled());
    let taken_in = |at: &Desk, file: &str| {
        std::fs::write(at.path(file), std::fs::read(desk.path(file)).unwrap()).unwrap();
        at.json("clinic", &["case", "import", file])
    };
    let mut shown_as = String::new();
    for (at, file, cases) in [
        (&other, "one.json", 1),
        (&other, "all.ndjson", 1),
        (&third, "all.csv", 2),
    ] {
        let taken = taken_in(at, file);
        assert_eq!(
            taken["cases"].as_array().unwrap().len(),
            cases,
            "{file}: {taken}"
        );
        if file == "one.json" {
            shown_as = taken["cases"][0].as_str().unwrap().to_owned();
        }
    }
    for (at, file) in [
        (&other, "all.ndjson"),
        (&third, "all.csv"),
        (&desk, "all.ndjson"),
        (&desk, "all.csv"),
    ] {
        let again = taken_in(at, file);
        let here = again["here"].as_array().unwrap();
        assert_eq!((&again["cases"], here.len()), (&json!([]), 2), "{again}");
    }
    let shown = other.json("clinic", &["case", "show", &shown_as]);
    assert_eq!(
        (
            &shown["findings"]["spo2"]["value"],
            &shown["decisions"][0]["plan"]
        ),
        (&json!("unknown"), &json!("refer"))
    );
    for (name, text, expected) in [
        (
            "torn.json",
            &std::fs::read_to_string(desk.path("one.json")).unwrap()[..900],
            "cut short",
        ),
        (
            "other.json",
            "{\"resourceType\": \"Observation\"}",
            "Bundle",
        ),
        ("torn.csv", "a,b\n", "first line"),
    ] {
        let file = desk.write(name, text);
        let (code, said) = desk.fails("clinic", &["case", "import", &file]);
        assert!(
            code == 2 && said.contains(expected) && said.contains("nothing was taken in"),
            "{name}: {said}"
        );
    }
}

#[test]
fn a_sealed_archive_hands_cases_to_one_colleague_and_to_nobody_else() {
    let desk = with_worker();
    let case = new_case(
        &desk,
        "worker",
        &["--consent", "share", "--patient", "Amina Kazungu"],
    );
    let kept = new_case(&desk, "worker", &["--patient", "Juma"]);
    let export = |case: &str| {
        [
            "case",
            "export",
            case,
            "--format",
            "archive",
            "--to",
            "answer.json",
            "--out",
            "hand.kijiti",
            "--force",
        ]
        .map(str::to_owned)
    };
    let args = export(&case);
    desk.ok(
        "worker",
        &args.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let args = export(&kept);
    let (code, said) = desk.fails(
        "worker",
        &args.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert!(code == 5 && said.contains("no consent"), "{said}");
    let bytes = std::fs::read(desk.path("hand.kijiti")).unwrap();
    assert!(!bytes.windows(5).any(|w| w == b"Amina"));
    let taken = desk.json("clinic", &["case", "import", "hand.kijiti"]);
    assert_eq!(
        (&taken["cases"][0], &taken["from"]),
        (
            &desk.json("worker", &["case", "show", &case])["case"],
            &json!("Worker Neema")
        )
    );
    assert_eq!(
        desk.json("clinic", &["case", "show", &case])["findings"]["patient.name"]["value"],
        "Amina Kazungu"
    );
    let (code, said) = desk.fails("worker", &["case", "import", "hand.kijiti"]);
    assert!(code == 5 && said.contains("for phone"), "{said}");
    for (name, at) in [
        ("flipped.kijiti", bytes.len() / 2),
        ("late.kijiti", bytes.len() - 3),
    ] {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        std::fs::write(desk.path(name), &spoiled).unwrap();
        let (code, said) = desk.fails("clinic", &["case", "import", name]);
        assert!(
            (code == 5 || code == 2) && said.contains("nothing was taken in"),
            "{name}: {code} {said}"
        );
    }
    std::fs::write(desk.path("short.kijiti"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(
        desk.fails("clinic", &["case", "import", "short.kijiti"])
            .1
            .contains("damaged")
    );
}

#[test]
fn a_phone_is_enrolled_by_codes_and_one_that_is_missing_is_named() {
    let desk = Desk::enrolled();
    let codes = |printed: String| -> Vec<String> {
        printed
            .lines()
            .filter(|line| line.starts_with("KJ1/"))
            .map(str::to_owned)
            .collect()
    };
    let request = codes(desk.ok(
        "worker",
        &[
            "enrol", "request", "--name", "Neema", "--out", "n.json", "--qr",
        ],
    ));
    desk.write("request.txt", &request.join("\n"));
    let area = "north/kilifi/mtwapa";
    let answer = codes(desk.ok(
        "clinic",
        &[
            "enrol",
            "sign",
            "request.txt",
            "--area",
            area,
            "--out",
            "n-answer.json",
            "--qr",
        ],
    ));
    assert!(answer.len() > 1, "an answer takes more than one code");
    desk.write("torn.txt", &answer[0][..90]);
    assert!(
        desk.fails("worker", &["enrol", "accept", "torn.txt"])
            .1
            .contains("scan it again")
    );
    desk.write("half.txt", &answer[1..].join(" "));
    let (code, said) = desk.fails("worker", &["enrol", "accept", "half.txt"]);
    assert!(code == 2 && said.contains("1 is not there yet"), "{said}");
    desk.write(
        "answer.txt",
        &answer.iter().rev().cloned().collect::<Vec<_>>().join("\n"),
    );
    desk.ok("worker", &["enrol", "accept", "answer.txt"]);
    let grant = [
        "enrol",
        "grant",
        "answer.txt",
        "--area",
        "north/kilifi",
        "--out",
        "grant.json",
        "--qr",
    ];
    desk.write("grant.txt", &codes(desk.ok("clinic", &grant)).join("\n"));
    desk.ok("worker", &["enrol", "accept", "grant.txt"]);
    new_case(&desk, "worker", &["--consent", "share"]);
}

#[test]
fn a_worker_on_leave_hands_over_every_open_case_and_closed_ones_stay() {
    let desk = with_worker();
    let [open, closed, other] = ["Amina", "Juma", "Zawadi"]
        .map(|name| new_case(&desk, "worker", &["--consent", "share", "--patient", name]));
    desk.ok(
        "worker",
        &["case", "add", &closed, "--set", "outcome=recovered"],
    );
    let clinic = desk.json("clinic", &["status"])["device"]
        .as_str()
        .unwrap()
        .to_owned();
    let cared_for =
        |case: &str| desk.json("worker", &["case", "show", case])["cared_for_by"].clone();
    desk.ok(
        "worker",
        &[
            "case",
            "hand-over",
            &other,
            "--to",
            &clinic,
            "--reason",
            "twins",
        ],
    );
    let handed = desk.json(
        "worker",
        &["case", "hand-over", "--to", &clinic, "--reason", "on leave"],
    );
    assert_eq!(
        (handed["cases"].as_array().unwrap().len(), &handed["to"]),
        (1, &json!("Clinic")),
        "{handed}"
    );
    assert_eq!(
        [cared_for(&open), cared_for(&other)],
        [json!(["Clinic"]), json!(["Clinic"])]
    );
    assert_ne!(cared_for(&closed), json!(["Clinic"]));
    let history = desk.ok("worker", &["case", "history", &open]);
    assert!(history.contains("on leave"), "{history}");
    let nothing = desk.ok("worker", &["case", "hand-over", "--to", &clinic]);
    assert!(nothing.contains("nothing to hand over"), "{nothing}");
    let (code, said) = desk.fails("worker", &["case", "hand-over", "--to", "Nobody"]);
    assert!(code == 2 && said.contains("no phone"), "{said}");
    // One that only carries is no colleague to care for cases.
    desk.ok(
        "boda",
        &["enrol", "request", "--name", "Boda", "--out", "boda.json"],
    );
    let sign = [
        "enrol",
        "sign",
        "boda.json",
        "--area",
        "north/kilifi",
        "--rights",
        "carry",
        "--out",
        "boda-answer.json",
    ];
    desk.ok("clinic", &sign);
    desk.ok("boda", &["enrol", "accept", "boda-answer.json"]);
    let boda = desk.json("boda", &["status"])["device"]
        .as_str()
        .unwrap()
        .to_owned();
    let handed = desk.run(
        "clinic",
        &["case", "hand-over", "--from", &clinic, "--to", &boda],
    );
    assert_eq!(
        handed.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&handed.stderr)
    );
}

/// Findings of a child in whom nothing was found.
fn well_child(desk: &Desk) -> String {
    desk.write(
        "well.toml",
        "age_months = 20\nconvulsing_now = \"no\"\nconvulsions = \"no\"\nlethargic = \"no\"\nnot_able_to_drink = \"no\"\n\
         vomits_everything = \"no\"\nairway = \"no\"\ncough_or_difficult = \"no\"\ndiarrhoea = \"no\"\nfever = \"no\"\n\
         hot_to_touch = \"no\"\near_problem = \"no\"\nblood_in_stool = \"no\"\nchest_indrawing = \"no\"\nstridor_calm = \"no\"\n\
         oedema_both_feet = \"no\"\nmuac = 140\ntemperature = 36.8\n",
    )
}

/// What the rules cannot judge is no reason to believe what they said before.
#[test]
fn a_case_whose_ages_contradict_each_other_is_not_decided_until_it_is_put_right() {
    let desk = Desk::enrolled();
    let well = well_child(&desk);
    let case = [
        "case",
        "new",
        "--findings",
        &well,
        "--consent",
        "share",
        "--decide",
        "yellow",
        "--reason",
        "tired",
    ];
    let case = desk.json("clinic", &case)["case"].as_str().unwrap()[..8].to_owned();
    let shown = desk.json("clinic", &["case", "add", &case, "--set", "age_years=30"]);
    assert_eq!(
        shown["unjudged"],
        json!({ "Age": "Several" }),
        "a child does not come under other rules by a slip"
    );
    let shown = desk.json("clinic", &["case", "add", &case, "--set", "age_years=7"]);
    assert_eq!(shown["unjudged"], json!({ "Age": "NotAChild" }));
    assert!(
        desk.ok("clinic", &["case", "show", &case])
            .contains("59 months")
    );
    desk.ok(
        "clinic",
        &["case", "add", &case, "--set", "convulsions=yes"],
    );
    let (code, said) = desk.fails(
        "clinic",
        &[
            "case", "decide", &case, "--decide", "green", "--plan", "home",
        ],
    );
    assert!(
        code == 5 && said.contains("green is not offered"),
        "the floor speaks at any age: {said}"
    );
    desk.ok("clinic", &["case", "add", &case, "--set", "age_months=20"]);
    assert_eq!(
        desk.json("clinic", &["case", "list"])["cases"][0]["urgency"],
        "pink",
        "the age said last counts"
    );
    let (code, said) = desk.fails(
        "clinic",
        &["case", "add", &case, "--settle", "convulsions="],
    );
    assert!(code == 2 && said.contains("no answer"), "{said}");
    let (code, said) = desk.fails(
        "clinic",
        &["case", "add", &case, "--hand-to", &"ab".repeat(32)],
    );
    assert!(code == 2 && said.contains("known here"), "{said}");
}

#[test]
fn a_danger_sign_that_is_added_later_is_assessed_at_once() {
    let desk = Desk::enrolled();
    let well = well_child(&desk);
    let new = desk.json(
        "clinic",
        &[
            "case",
            "new",
            "--findings",
            &well,
            "--consent",
            "share",
            "--decide",
            "yellow",
            "--reason",
            "tired",
        ],
    );
    let case = new["case"].as_str().unwrap()[..8].to_owned();
    assert_ne!(new["assessment"]["urgency"], "pink", "{new}");
    let shown = desk.json(
        "clinic",
        &["case", "add", &case, "--set", "convulsions=yes"],
    );
    assert_eq!(
        (&shown["urgency"], &shown["undecided"]),
        (&json!("pink"), &json!("pink")),
        "{shown}"
    );
    assert!(
        desk.ok("clinic", &["case", "show", &case])
            .contains("decide again")
    );
    let listed = desk.json("clinic", &["case", "list"]);
    assert_eq!(listed["cases"][0]["urgency"], "pink");
    let (code, said) = desk.fails(
        "clinic",
        &[
            "case", "decide", &case, "--decide", "green", "--plan", "home",
        ],
    );
    assert!(code == 5 && said.contains("green is not offered"), "{said}");
    desk.ok(
        "clinic",
        &[
            "case", "decide", &case, "--decide", "pink", "--plan", "refer",
        ],
    );
    assert_eq!(
        desk.json("clinic", &["case", "show", &case])["undecided"],
        Value::Null
    );
}

#[test]
fn a_patient_is_written_down_before_any_key_has_come_and_leaves_when_it_does() {
    let desk = Desk::enrolled();
    desk.ok(
        "worker",
        &[
            "enrol",
            "request",
            "--name",
            "Worker Neema",
            "--out",
            "neema.json",
        ],
    );
    desk.ok(
        "clinic",
        &[
            "enrol",
            "sign",
            "neema.json",
            "--area",
            "north/kilifi/mtwapa",
            "--out",
            "neema-answer.json",
        ],
    );
    desk.ok("worker", &["enrol", "accept", "neema-answer.json"]);
    let (code, said) = desk.fails("worker", &["case", "new", "--findings", &example()]);
    assert!(code == 2 && said.contains("--area"), "{said}");
    let case = new_case(
        &desk,
        "worker",
        &["--consent", "share", "--area", "north/kilifi"],
    );
    assert_eq!(desk.json("worker", &["case", "show", &case])["unsent"], 1);
    desk.ok(
        "clinic",
        &[
            "enrol",
            "grant",
            "neema-answer.json",
            "--area",
            "north/kilifi",
            "--out",
            "grant.json",
        ],
    );
    desk.ok("worker", &["enrol", "accept", "grant.json"]);
    let shown = desk.json("worker", &["case", "show", &case]);
    assert_eq!((&shown["unsent"], &shown["sealed"]), (&json!(0), &json!(1)));
}

#[test]
fn a_store_that_is_emptied_is_not_taken_for_a_new_phone() {
    let desk = Desk::enrolled();
    new_case(&desk, "clinic", &["--consent", "share"]);
    for name in ["phone.sqlite", "phone.sqlite-wal", "phone.sqlite-shm"] {
        let _ = std::fs::remove_file(desk.path("clinic").join(name));
    }
    let (_, said) = desk.fails("clinic", &["case", "list"]);
    assert!(
        said.contains("empty or gone") && said.contains("kijiti check --repair"),
        "{said}"
    );
    std::fs::write(desk.path("clinic").join("phone.sqlite"), "").unwrap();
    assert!(
        desk.fails("clinic", &["status"])
            .1
            .contains("empty or gone")
    );
}

#[test]
fn an_answer_of_another_ministry_says_so() {
    let desk = Desk::enrolled();
    let other = Desk::enrolled();
    std::fs::copy(other.path("answer.json"), desk.path("foreign.json")).unwrap();
    let (_, said) = desk.fails("clinic", &["enrol", "accept", "foreign.json"]);
    assert!(
        said.contains("do not follow this phone's") && said.contains("another ministry"),
        "{said}"
    );
}

#[test]
fn a_lost_phone_is_revoked_and_the_space_gets_a_new_key() {
    let desk = with_worker();
    let device = desk.json("worker", &["status"])["device"]
        .as_str()
        .unwrap()
        .to_owned();
    let revoke = [
        "enrol",
        "revoke",
        &device,
        "--area",
        "north/kilifi",
        "--reason",
        "left on a bus",
    ];
    let (code, said) = desk.fails("worker", &revoke);
    assert!(code == 5 && said.contains("may not revoke"), "{said}");
    assert!(
        desk.fails("clinic", &revoke).1.contains("revoke"),
        "the clinic has no such right either"
    );
    desk.ok(
        "clinic",
        &[
            "enrol",
            "rotate",
            "--area",
            "north/kilifi",
            "--without",
            &device,
        ],
    );
    let (code, said) = desk.fails("worker", &["enrol", "rotate", "--area", "north/kilifi"]);
    assert!(code == 5 && said.contains("does not keep"), "{said}");
    assert!(
        desk.ok("clinic", &["enrol", "countersign"])
            .contains("nothing waits")
    );
    assert!(
        desk.ok("clinic", &["enrol", "retire", "--area", "north/kilifi"])
            .contains("0 closed cases")
    );
    let (code, said) = desk.fails("clinic", &["enrol", "retire", "--area", "north/kilifi"]);
    assert!(code == 5 && said.contains("ending already"), "{said}");
    assert_eq!(
        desk.fails(
            "clinic",
            &[
                "enrol",
                "rotate",
                "--area",
                "north/kilifi",
                "--without",
                "abc"
            ]
        )
        .0,
        2
    );
}

#[test]
fn a_passphrase_seals_the_key_and_a_wrong_one_opens_nothing() {
    let desk = Desk::enrolled();
    let case = new_case(&desk, "clinic", &["--patient", "Amina Kazungu"]);
    let kijiti = |passphrase: Option<&str>, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"));
        command
            .current_dir(desk.folder.path())
            .args(["--data", "clinic"])
            .args(args)
            .stdin(std::process::Stdio::null());
        command.env_remove("KIJITI_PASSPHRASE");
        passphrase.map(|p| command.env("KIJITI_PASSPHRASE", p));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let seal = desk.run("clinic", &["passphrase"]);
    assert!(
        seal.status.success(),
        "{}",
        String::from_utf8_lossy(&seal.stderr)
    );
    assert!(
        std::fs::read_to_string(desk.path("clinic/key"))
            .unwrap()
            .starts_with("-----BEGIN AGE")
    );
    assert_eq!(
        kijiti(Some("twelve patients to see"), &["case", "show", &case]).0,
        Some(0)
    );
    let (code, said) = kijiti(Some("thirteen patients"), &["case", "list"]);
    assert!(
        code == Some(4) && said.contains("wrong passphrase"),
        "{said}"
    );
    let (code, said) = kijiti(None, &["case", "list"]);
    assert!(code == Some(4) && said.contains("passphrase"), "{said}");
    assert_eq!(
        kijiti(Some("twelve patients to see"), &["passphrase", "--remove"]).0,
        Some(0)
    );
    assert_eq!(kijiti(None, &["case", "show", &case]).0, Some(0));
}

/// Words that a search finds in no file of a folder, however deep.
fn folder_has(folder: &Path, words: &[&str]) -> Option<String> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = words
                .iter()
                .find(|word| bytes.windows(word.len()).any(|w| w == word.as_bytes()));
            if let Some(word) = found {
                return Some(format!("{word} in {}", path.display()));
            }
        }
    }
    None
}

#[test]
fn neither_a_couriers_folder_nor_the_readers_own_shows_a_word_of_a_thousand_cases() {
    let desk = with_worker();
    desk.ok(
        "courier",
        &[
            "enrol",
            "request",
            "--name",
            "Courier",
            "--out",
            "courier.json",
        ],
    );
    #[rustfmt::skip]
    desk.ok("courier", &["enrol", "sign", "courier.json", "--area", "north/kilifi", "--rights", "carry", "--ministry", "keys",
        "--out", "courier-answer.json"]);
    desk.ok("courier", &["enrol", "accept", "courier-answer.json"]);
    let (worker, courier) = (desk.start("worker"), desk.start("courier"));
    let example = std::fs::read_to_string(example()).unwrap();
    for n in 0..1000u32 {
        let request = Request::CaseNew {
            findings: example.replace(
                "breathing very hard",
                &format!("Zebrafinch{n} breathing very hard"),
            ),
            profile: clinical::Profile::Iccm,
            head: vec![
                ("patient.name".into(), format!("Quetzalcoatl{n}")),
                ("patient.village".into(), format!("Xochimilco{n}")),
            ],
            consent: vec![("share".into(), true)],
            area: None,
            decision: None,
            request: RequestId(u128::from(n).to_be_bytes()),
        };
        worker.request(request, &mut |_| {}).unwrap();
    }
    let meet = Request::Meet {
        peer: courier.id(),
        address: courier.addresses()[0].to_string(),
    };
    let met = worker
        .request(meet, &mut |_| {})
        .unwrap()
        .view()
        .to_json()
        .unwrap();
    assert_eq!(
        (&met["envelopes_sent"], &met["in_step"]),
        (&json!(1000), &json!(true)),
        "{met}"
    );
    let carried = courier.request(Request::all_cases(), &mut |_| {}).unwrap();
    let carried = carried.view().to_json().unwrap();
    assert!(
        carried["sealed"][0]["envelopes"] == 1000 && carried["cases"] == json!([]),
        "{carried}"
    );
    worker.stop();
    courier.stop();
    let words = [
        "Quetzalcoatl",
        "Xochimilco",
        "Zebrafinch",
        "breathing very hard",
        "chest_indrawing",
        "malaria_test",
    ];
    assert_eq!(folder_has(&desk.path("courier"), &words), None);
    assert_eq!(
        folder_has(&desk.path("worker"), &words),
        None,
        "at rest everything readable is sealed"
    );
}

/// A real photo, with the place where it was taken in it: what comes out again shows the same and
/// tells nothing else.
#[test]
fn a_photo_is_kept_without_what_the_camera_wrote_beside_it() {
    let desk = Desk::enrolled();
    let case = new_case(&desk, "clinic", &["--consent", "share"]);
    let picture = include_bytes!("pictures/rash.jpg");
    std::fs::write(desk.path("rash.jpg"), picture).unwrap();
    let (code, said) = desk.fails("clinic", &["case", "photo", &case, "rash.jpg"]);
    assert!(code == 5 && said.contains("--consent photo"), "{said}");
    desk.ok("clinic", &["case", "add", &case, "--consent", "photo"]);
    let shown = desk.ok(
        "clinic",
        &[
            "case", "photo", &case, "rash.jpg", "--shows", "rash", "--light", "daylight",
        ],
    );
    assert!(shown.contains("photo     rash, daylight"), "{shown}");
    desk.ok("clinic", &["case", "photo", &case, "--out", "out.jpg"]);
    let out = std::fs::read(desk.path("out.jpg")).unwrap();
    let has = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    for word in [&b"Mtwapa"[..], b"Cheap Phones"] {
        assert!(has(picture, word) && !has(&out, word));
    }
    assert!(
        has(&out, b"Exif") && out.ends_with(&picture[picture.len() - 100..]),
        "upright, and the same to the eye"
    );
    // What to do about a bad one is said while the patient is there, and it is kept all the same.
    let dark = include_bytes!("../../record/tests/pictures/dark.jpg");
    std::fs::write(desk.path("dark.jpg"), dark).unwrap();
    let taken = desk.run(
        "clinic",
        &["case", "photo", &case, "dark.jpg", "--shows", "foot"],
    );
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(
        taken.status.success() && said.contains("too dark: go to a window"),
        "{said}"
    );
    assert!(String::from_utf8_lossy(&taken.stdout).contains("foot"));
    std::fs::write(
        desk.path("rash.heic"),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    )
    .unwrap();
    let (_, said) = desk.fails("clinic", &["case", "photo", &case, "rash.heic"]);
    assert!(said.contains("most compatible"), "{said}");
    std::fs::write(desk.path("torn.jpg"), &picture[..200]).unwrap();
    assert_eq!(
        desk.fails("clinic", &["case", "photo", &case, "torn.jpg"])
            .0,
        2
    );
    assert_eq!(
        desk.fails(
            "clinic",
            &[
                "case",
                "photo",
                &case,
                "--out",
                "again.jpg",
                "--number",
                "3"
            ]
        )
        .0,
        2
    );
}

/// Answers as they are typed, one after the other; what was asked.
fn typed(host: &node::host::Host, answers: &[&str]) -> (Result<Value, app::Failure>, Vec<String>) {
    typed_of(host, None, answers)
}

/// The same of a child whose day of birth was said before.
fn typed_of(
    host: &node::host::Host,
    born: Option<&str>,
    answers: &[&str],
) -> (Result<Value, app::Failure>, Vec<String>) {
    let mut left = answers.iter();
    let mut asked = Vec::new();
    let mut answer = |question: &str| {
        asked.push(question.to_owned());
        let gone = || app::Failure::new("the battery is dead", "charge it");
        left.next()
            .map(|answer| (*answer).to_owned())
            .ok_or_else(gone)
    };
    let ask = |request| Ok(host.request(request, &mut |_| {})?);
    let sitting = app::ask::Sitting {
        of: VisitOf::Child,
        profile: clinical::Profile::Iccm,
        request: node::api::RequestId([3; 16]),
        area: None,
        born: born.map(str::to_owned),
        ask: &ask,
    };
    let said = app::ask::visit(&sitting, &mut answer);
    (
        said.map(|visit| serde_json::to_value(&visit.findings).unwrap()),
        asked,
    )
}

fn node_clock_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A convulsing child is told PINK after the first answer; a value that cannot be is asked again
/// where it is typed; what was answered outlives a dead battery, and the next patient does not take
/// it on.
#[test]
fn an_interview_ends_at_a_danger_sign_checks_what_is_typed_and_is_taken_up_again() {
    let desk = Desk::enrolled();
    let host = desk.start("clinic");
    let (said, asked) = typed(&host, &["y", "", "20"]);
    assert!(
        asked[0].contains("onvulsing now")
            && asked[1].contains("transport")
            && asked[2].contains("Age"),
        "{asked:?}"
    );
    assert_eq!(said.unwrap()["convulsing_now"], "yes");
    let of = VisitOf::Child;
    host.request(Request::VisitEnd { of }, &mut |_| {}).unwrap();
    // Where the day of birth is known, the age is not asked; of a year alone it is.
    let day = clinical::date::instant(node_clock_s() - 100 * 86_400);
    let (said, asked) = typed_of(&host, Some(&day[..10]), &["y", "", ""]);
    assert!(!asked.iter().any(|a| a.contains("Age")), "{asked:?}");
    assert_eq!(said.unwrap()["age_days"], 100.0);
    host.request(Request::VisitEnd { of }, &mut |_| {}).unwrap();
    let (_, asked) = typed_of(&host, Some("2025"), &["y", "", "20"]);
    assert!(asked[2].contains("Age"), "{asked:?}");
    host.request(Request::VisitEnd { of }, &mut |_| {}).unwrap();
    // The battery dies in the middle of a visit.
    let (dead, _) = typed(&host, &["n", "20", "n", "n"]);
    assert!(dead.is_err());
    host.stop();
    let on_disk = std::fs::read(desk.path("clinic/phone.sqlite")).unwrap();
    assert!(
        !on_disk.windows(14).any(|w| w == b"convulsing_now"),
        "answers lie sealed"
    );
    let host = desk.start("clinic");
    let (_, asked) = typed(&host, &["y"]);
    assert!(
        asked[0].contains("after 4 answers")
            && asked[0].contains("age: 20")
            && !asked[1].contains("onvulsing now")
    );
    let (_, asked) = typed(&host, &["", "n"]);
    assert!(
        asked[1].contains("same patient"),
        "an Enter too many throws nothing away: {asked:?}"
    );
    assert!(
        asked[2].contains("onvulsing now"),
        "the next patient begins anew: {asked:?}"
    );
    // One step back, and a rate that nobody breathes.
    #[rustfmt::skip]
    let say = ["n", "20", "n", "<", "n", "n", "n", "n", "n", "y", "n", "n", "140", "3", "400", "130", "", "30", "n", "n", "n", ""];
    let (said, asked) = typed(&host, &say);
    let said = said.unwrap_or_else(|e| panic!("{}: {asked:#?}", e.reason));
    assert_eq!(
        (&said["respiratory_rate"], &said["cough_or_difficult"]),
        (&json!(30.0), &json!("yes")),
        "{asked:#?}"
    );
    host.stop();
}

/// What is said on the command line is looked at before anybody is asked twenty questions.
#[test]
fn a_wrong_word_on_the_command_line_is_refused_before_the_interview() {
    let desk = Desk::enrolled();
    let new = |set: &str| desk.fails("clinic", &["case", "new", "--set", set]);
    for (set, why) in [
        ("spo2=abc", "spo2"),
        ("patient.born=2025-02-30", "patient.born"),
        ("nosuch=1", "nosuch"),
    ] {
        let (code, said) = new(set);
        assert!(
            code == 2 && said.contains(why) && !said.contains("--findings"),
            "{said}"
        );
    }
    // The control: here is no terminal to ask on, which is what is said of a word that is right.
    let (_, said) = new("spo2=97");
    assert!(said.contains("--findings"), "{said}");
}

/// A child of 20 months with a cough that the chart clears.
const CLEARED: &str = r#"{"age_months": 20, "convulsing_now": "no", "convulsions": "no", "lethargic": "no", "not_able_to_drink": "no",
    "vomits_everything": "no", "airway": "no", "cough_or_difficult": "yes", "diarrhoea": "no", "fever": "no", "muac": 145,
    "oedema_both_feet": "no", "stridor_calm": "no", "chest_indrawing": "no", "respiratory_rate": 28, "cough_days": 2, "spo2": 97}"#;

const TABLE: &str = "case,area,kind,name,value,unit,said_by,said_at,order,stands\r\n";

impl Desk {
    fn cleared(&self) -> String {
        self.write("well.json", CLEARED);
        let new = [
            "case",
            "new",
            "--findings",
            "well.json",
            "--patient",
            "Amina",
            "--consent",
            "care,share",
        ];
        self.json("clinic", &new)["case"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn may_be_green(&self, case: &str) -> bool {
        let decide = [
            "case", "decide", case, "--decide", "green", "--plan", "home",
        ];
        self.run("clinic", &decide).status.success()
    }

    fn imports(&self, name: &str, text: &str) -> serde_json::Value {
        self.write(name, text);
        self.json("clinic", &["case", "import", name])
    }
}

#[test]
fn what_a_file_says_takes_the_place_of_nothing_that_was_seen_here() {
    let desk = Desk::enrolled();
    let case = desk.cleared();
    assert!(desk.may_be_green(&case), "the control");
    desk.ok("clinic", &["case", "add", &case, "--set", "spo2=84"]);
    assert!(!desk.may_be_green(&case));
    let row = |name: &str, value: &str, unit: &str| {
        format!("{case},x,finding,{name},{value},{unit},w,2019,2,yes\r\n")
    };
    desk.imports("a.csv", &[TABLE, &row("spo2", "99", "%")].concat());
    assert!(
        !desk.may_be_green(&case),
        "84 stands beside 99, as a question"
    );
    let said = desk.imports(
        "b.csv",
        &[
            TABLE,
            &row("patient.name", "Somebody Else", ""),
            &row("fever", "no", ""),
        ]
        .concat(),
    );
    assert!(
        said["left_out"].to_string().contains("another patient")
            && said["cases"][0] != case.as_str(),
        "{said}"
    );
    let shown = desk.ok("clinic", &["case", "show", &case]);
    assert!(
        shown.contains("Amina") && !shown.contains("Somebody"),
        "{shown}"
    );
    desk.fails(
        "clinic",
        &[
            "case",
            "import",
            "--format",
            "csv",
            &desk.write("c.csv", &[TABLE, &row("Fits", "TRUE", "")].concat()),
        ],
    );
}

#[test]
fn an_older_export_of_a_case_whose_name_was_put_right_is_that_case() {
    let desk = Desk::enrolled();
    let case = desk.cleared();
    desk.ok(
        "clinic",
        &["case", "export", "--format", "csv", "--out", "old.csv"],
    );
    desk.ok(
        "clinic",
        &["case", "add", &case, "--set", "patient.name=Amina Juma"],
    );
    desk.ok("clinic", &["case", "import", "old.csv"]);
    assert_eq!(
        desk.json("clinic", &["case", "list"])["cases"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn two_patients_of_another_system_are_not_one_and_an_older_file_is_no_news() {
    let desk = Desk::enrolled();
    let bundle = |patient: &str, weight: &str, at: &str| {
        format!(
            r#"{{"resourceType": "Bundle", "type": "collection", "entry": [
                {{"resource": {{"resourceType": "Patient", "id": "p", {patient}}}}},
                {{"resource": {{"resourceType": "Observation", "id": "o", "status": "final", "effectiveDateTime": "{at}", "subject": {{"reference": "Patient/p"}},
                  "code": {{"coding": [{{"system": "http://loinc.org", "code": "59408-5"}}]}},
                  "valueQuantity": {{"value": {weight}, "unit": "%", "code": "%"}}}}}}]}}"#
        )
    };
    let amina = |value: &str| {
        format!(
            r#""gender": "female", "birthDate": "2025-03-01", "name": [{{"text": "Amina"}}], "identifier": [{{{value}}}]"#
        )
    };
    let brian = |value: &str| {
        amina(value)
            .replace("female", "male")
            .replace("Amina", "Brian")
    };
    let family = r#""value": "17""#;
    let one = desk.imports("1.json", &bundle(&amina(family), "97", "2026-11-24"));
    let two = desk.imports("2.json", &bundle(&brian(family), "84", "2026-11-24"));
    assert_ne!(
        one["cases"], two["cases"],
        "a number without a system is no name"
    );
    let named = r#""system": "urn:mrn", "value": "900""#;
    let one = desk.imports("3.json", &bundle(&amina(named), "84", "2026-11-24"));
    let again = desk.imports("4.json", &bundle(&amina(named), "97", "2026-03-01"));
    assert_eq!(one["cases"], again["here"], "the control: one patient");
    let shown = desk.json(
        "clinic",
        &["case", "show", one["cases"][0].as_str().unwrap()],
    );
    assert!(
        shown.to_string().contains("84"),
        "what was there first still stands: {shown}"
    );
    let two = desk.imports("5.json", &bundle(&brian(named), "99", "2026-11-24"));
    assert_ne!(one["cases"], two["cases"], "one number, two children");
}

#[test]
fn what_is_set_beside_a_findings_file_is_judged_before_anybody_decides() {
    let desk = Desk::enrolled();
    desk.write("well.json", CLEARED);
    let new = [
        "case",
        "new",
        "--findings",
        "well.json",
        "--consent",
        "care",
        "--plan",
        "home",
        "--decide",
        "green",
    ];
    desk.ok("clinic", &new);
    for set in [
        "convulsions=yes",
        "lethargic=yes",
        "unconscious=yes",
        "stiff_neck=yes",
        "spo2=84",
        "haemoglobin=20",
    ] {
        let (code, said) = desk.fails("clinic", &[&new[..], &["--set", set]].concat());
        assert!(code == 5 || code == 2, "{set}: {said}");
    }
}

#[test]
fn k7_a_child_from_a_file_is_judged_and_a_milder_decision_needs_a_reason() {
    let desk = Desk::enrolled();
    let row = |name: &str, value: &str, unit: &str| {
        format!(
            "{},x,finding,{name},{value},{unit},w,2026,1,yes\r\n",
            "ab".repeat(16)
        )
    };
    let table = [
        TABLE,
        &row("age_months", "20", "mo"),
        &row("convulsions", "TRUE", ""),
    ]
    .concat();
    let taken = desk.imports("child.csv", &table);
    let case = taken["cases"][0].as_str().unwrap().to_owned();
    assert!(desk.ok("clinic", &["case", "show", &case]).contains("PINK"));
    let decide = [
        "case", "decide", &case, "--decide", "yellow", "--plan", "home",
    ];
    let (code, said) = desk.fails("clinic", &decide);
    assert!(code == 2 && said.contains("reason"), "{said}");
    desk.ok(
        "clinic",
        &[&decide[..], &["--reason", "seen by the doctor"]].concat(),
    );
}

#[test]
fn k8_a_word_that_the_pack_does_not_know_switches_no_rule_off() {
    let desk = Desk::enrolled();
    let case = desk.cleared();
    desk.ok(
        "clinic",
        &["case", "add", &case, "--set", "drinking=not_done"],
    );
    assert!(
        desk.ok(
            "clinic",
            &["case", "add", &case, "--set", "convulsions=yes"]
        )
        .contains("PINK")
    );
    assert!(!desk.may_be_green(&case));
}

/// A day of another calendar is one with its mark; without it, its year is noticed where it cannot be.
#[test]
fn dates_of_other_calendars_are_read_by_their_mark_and_shown() {
    let desk = with_worker();
    let born = |date: &str| {
        let set = format!("patient.born={date}");
        let out = desk.run(
            "worker",
            &["--json", "case", "new", "--kind", "adult", "--set", &set],
        );
        let said = if out.status.success() {
            out.stdout
        } else {
            out.stderr
        };
        String::from_utf8_lossy(&said).into_owned()
    };
    for (typed, refused) in [
        ("2081-10-21", "still to come"),
        ("۱۴۰۳-۱۱-۱۵", "nobody lives"),
        ("2017-13-06 EC", "no patient.born"),
    ] {
        assert!(born(typed).contains(refused), "{typed}: {}", born(typed));
    }
    let case: Value = serde_json::from_str(&born("२०४५/१०/२१ BS")).unwrap();
    let case = case["case"].as_str().unwrap();
    let given = ["--dose", "paracetamol 500 mg", "--given"];
    let add = |date: &str| {
        desk.run(
            "worker",
            &[&["case", "add", case], &given[..], &[date]].concat(),
        )
    };
    assert!(!add("2083-08-08").status.success());
    assert!(add("20/3/2018 EC").status.success());
    let shown = desk.json("worker", &["case", "show", case]);
    assert_eq!(shown["findings"]["patient.born"]["value"], "1989-02-03");
    assert_eq!(shown["each_dose"][0]["given"], "2025-11-29");
    let words = desk.ok("worker", &["--calendar", "ethiopian", "case", "show", case]);
    assert!(words.contains("1989-02-03 (1981-05-26 EC)"), "{words}");
    assert!(words.contains("2025-11-29 (2018-03-20 EC)"), "{words}");
    assert!(!desk.ok("worker", &["case", "show", case]).contains("EC"));
}
