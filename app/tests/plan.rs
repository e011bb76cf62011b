//! What a worker is told to do, as the command says it: doses, what keeps one back, the note that goes with
//! a child, and the table that a clinician signs.

mod common;
use common::Desk;

const FAST: &str = r#"
age_months = 14
weight = 9.4
convulsing_now = "no"
convulsions = "no"
lethargic = "no"
not_able_to_drink = "no"
vomits_everything = "no"
airway = "no"
cough_or_difficult = "yes"
cough_days = 3
chest_indrawing = "no"
stridor_calm = "no"
respiratory_rate = 48
diarrhoea = "no"
fever = "no"
muac = 140
oedema_both_feet = "no"
"#;

impl Desk {
    fn child(&self) -> String {
        self.write("fast.toml", FAST);
        #[rustfmt::skip]
        let new = self.json("clinic", &["case", "new", "--findings", "fast.toml", "--patient", "Amina", "--consent", "care"]);
        new["case"].as_str().unwrap()[..8].to_owned()
    }

    fn add(&self, case: &str, more: &[&str]) {
        self.ok("clinic", &[&["case", "add", case], more].concat());
    }

    fn plan(&self, case: &str) -> (serde_json::Value, String) {
        let words = ["case", "plan", case];
        let json = self.json("clinic", &words)["plan"].clone();
        (json, self.ok("clinic", &words))
    }
}

#[test]
fn a_dose_is_said_counted_and_kept_back_as_the_case_stands() {
    let desk = Desk::enrolled();
    let case = desk.child();
    let (plan, said) = desk.plan(&case);
    assert_eq!(plan["medicines"][0]["medicine"], "amoxicillin");
    assert_eq!(plan["medicines"][0]["milligrams"][1], 250.0);
    for words in [
        "1 tablet (250 mg) by mouth, 2 times",
        "by weight, 9.4 kg",
        "Ask about allergies first",
        "--dose \"amoxicillin 250 mg\"",
        "See the patient again in 3 days",
    ] {
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words:?} is not in {said}");
    }
    // What the plan says to write down can be written down, and counts.
    desk.add(
        &case,
        &[
            "--dose",
            "amoxicillin 250 mg",
            "--set",
            "allergies=none known",
        ],
    );
    let (plan, said) = desk.plan(&case);
    assert_eq!(plan["medicines"][0]["given"]["doses"], 1);
    assert_eq!(plan["medicines"][0]["first_now"], false);
    assert!(
        said.contains("1 dose is written") && !said.contains("Ask about"),
        "{said}"
    );
    // An allergy stands beside what was said before, and keeps the medicine back.
    desk.add(&case, &["--set", "allergies=penicillin"]);
    let (plan, _) = desk.plan(&case);
    assert!(plan["medicines"].as_array().unwrap().is_empty());
    assert_eq!(plan["withheld"][0]["why"]["allergy"], "penicillin");
}

#[test]
fn a_referral_has_a_note_and_no_course() {
    let desk = Desk::enrolled();
    let case = desk.child();
    desk.add(
        &case,
        &[
            "--set",
            "chest_indrawing=yes",
            "--set",
            "patient.village=Mtwapa",
        ],
    );
    let (plan, said) = desk.plan(&case);
    assert!(plan["refer"] == true && plan["follow_up_days"].is_null());
    assert_eq!(plan["medicines"][0]["days"], 0);
    assert!(said.contains("REFER URGENTLY"), "{said}");
    let note = desk.ok("clinic", &["case", "refer", &case, "--qr"]);
    for words in [
        "URGENT",
        "Amina, Mtwapa",
        "months 14",
        "chest indrawing",
        "Allergies: not asked",
        "█",
    ] {
        assert!(note.contains(words), "{words:?} is not in {note}");
    }
    let (code, said) = desk.fails("clinic", &["case", "plan", "ffff"]);
    assert!(code == 1 && said.contains("no case"), "{said}");
}

#[test]
fn a_pack_is_a_table_to_sign_and_an_edition_says_what_it_changes() {
    let desk = Desk::new();
    let table = desk.ok("nobody", &["ministry", "pack"]);
    for words in [
        "| C2 (child, iccm)",
        "respiratory rate at least 50",
        "Amoxicillin",
        "75 mL for each kg",
        "Clear the airway",
        "beta lactam",
        "Read and agreed",
    ] {
        assert!(table.contains(words), "{words:?} is not in the table");
    }
    let next = inference::rules::BUILT_IN
        .replace("edition = \"2026-11\"", "edition = \"2027-01\"")
        .replace("respiratory_rate >= 50", "respiratory_rate >= 45");
    desk.write("next.toml", &next);
    let told = desk.ok(
        "nobody",
        &["ministry", "pack", "next.toml", "--against-built-in"],
    );
    assert!(
        told.contains("CHANGED fast breathing") && told.contains("2027-01"),
        "{told}"
    );
    let same = desk.ok("nobody", &["ministry", "pack", "--against-built-in"]);
    assert!(same.contains("Nothing is changed"), "{same}");
    desk.write("bad.toml", "not a pack");
    let (code, said) = desk.fails("nobody", &["ministry", "pack", "bad.toml"]);
    assert!(code == 2 && said.contains("no rule pack"), "{said}");
    assert!(!desk.path("nobody").exists(), "reading makes no phone");
}

/// A weight that was typed wrongly and put right leaves no z-score behind that nobody has said.
#[test]
fn what_followed_from_a_weight_goes_with_it() {
    let desk = Desk::enrolled();
    let file = desk.write("thin.toml", "age_months = 10\nweight = 4\nlength = 68\n");
    let new = [
        "case",
        "new",
        "--findings",
        &file,
        "--profile",
        "imci",
        "--consent",
        "share",
    ];
    let case = desk.json("clinic", &new)["case"].as_str().unwrap()[..8].to_owned();
    let shown = desk.json("clinic", &["case", "show", &case]);
    assert!(
        shown["assessments"][0]["rules_fired"]
            .to_string()
            .contains("N2 "),
        "{shown}"
    );
    let findings = shown["findings"].as_object().unwrap();
    assert!(
        findings.contains_key("weight") && !findings.contains_key("wfh_z"),
        "{findings:?}"
    );
    let shown = desk.json("clinic", &["case", "add", &case, "--set", "weight=8.2"]);
    let last = shown["assessments"].as_array().unwrap().last().unwrap();
    assert!(!last["rules_fired"].to_string().contains("N2 "), "{last}");
}

/// An infant of 30 days is 30 days old however often it is judged again: a plan for a newborn would be
/// another plan.
#[test]
fn a_stored_infant_keeps_its_age() {
    let desk = Desk::enrolled();
    for (said, rule, others) in [
        ("age_days = 30", "Y2", "Y1"),
        ("age_hours = 720", "Y2", "Y1"),
        ("age_days = 5", "Y1", "Y2"),
    ] {
        let file = desk.write(
            "infant.toml",
            &format!("{said}\nweight = 4\nrespiratory_rate = 60\nrespiratory_rate_second = 62\n"),
        );
        let new = [
            "case",
            "new",
            "--findings",
            &file,
            "--profile",
            "imci",
            "--consent",
            "share",
        ];
        let case = desk.json("clinic", &new)["case"].as_str().unwrap()[..8].to_owned();
        let plan = desk.json("clinic", &["case", "plan", &case]);
        let fired = plan["assessment"]["fired"].to_string();
        let told = format!("{said}: {fired}");
        assert!(fired.contains(&format!("\"{rule}\"")), "{told}");
        assert!(!fired.contains(&format!("\"{others}\"")), "{told}");
    }
}

/// Whose day of birth was said has said an age: the file need not.
#[test]
fn a_day_of_birth_is_an_age() {
    let desk = Desk::enrolled();
    let file = desk.write(
        "ageless.toml",
        "cough_or_difficult = \"yes\"\nrespiratory_rate = 44\n",
    );
    let new = |more: &[&str]| {
        let named = ["case", "new", "--findings", &file, "--profile", "imci"];
        desk.run("clinic", &[&named[..], more].concat())
    };
    let ageless = new(&[]);
    let said = String::from_utf8_lossy(&ageless.stderr).into_owned();
    assert!(
        !ageless.status.success() && said.contains("the age is missing"),
        "{said}"
    );
    // 44 breaths are fast from twelve months on, and not before.
    let days = |days: u64| {
        let now = std::time::SystemTime::now();
        let born = now - std::time::Duration::from_secs(days * 86_400);
        let born_s = born
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let date = clinical::date::instant(born_s);
        format!("patient.born={}", &date[..10])
    };
    for (born, age, fast) in [
        (days(500), "", true),
        (days(250), "", false),
        (String::new(), "age_months=20", true),
        (String::new(), "age_years=1", true),
        (String::new(), "age_days=250", false),
    ] {
        let set = if born.is_empty() { age } else { &born };
        let new = new(&["--set", set, "--json"]);
        assert!(
            new.status.success(),
            "{}",
            String::from_utf8_lossy(&new.stderr)
        );
        let shown: serde_json::Value = serde_json::from_slice(&new.stdout).unwrap();
        assert_eq!(
            shown["assessment"]["fired"].to_string().contains("\"C2\""),
            fast,
            "{set}: {shown}"
        );
    }
}

/// A dose against an allergy is said out loud, and so is that nothing takes its place.
#[test]
fn what_was_given_against_an_allergy_is_said() {
    let desk = Desk::enrolled();
    let file = desk.write(
        "cough.toml",
        "age_months = 14\ncough_or_difficult = \"yes\"\nrespiratory_rate = 48\n",
    );
    let new = [
        "case",
        "new",
        "--findings",
        &file,
        "--profile",
        "imci",
        "--consent",
        "share",
    ];
    let case = desk.json("clinic", &new)["case"].as_str().unwrap()[..8].to_owned();
    desk.ok(
        "clinic",
        &["case", "add", &case, "--set", "allergies=penicillin"],
    );
    let plan = desk.ok("clinic", &["case", "plan", &case]);
    assert!(
        plan.contains("ask who supervises") && !plan.contains("WAS GIVEN"),
        "{plan}"
    );
    desk.ok(
        "clinic",
        &["case", "add", &case, "--dose", "amoxicillin 250 mg"],
    );
    let plan = desk.ok("clinic", &["case", "plan", &case]);
    assert!(plan.contains("WAS GIVEN"), "{plan}");
}

/// Of two answers to one question neither is dropped in silence.
#[test]
fn a_finding_that_is_said_twice_is_refused() {
    let desk = Desk::new();
    let file = desk.write(
        "twice.json",
        r#"{"age_months": 20, "convulsing_now": "yes", "convulsing_now": "no"}"#,
    );
    let (code, said) = desk.fails("nobody", &["triage", "--findings", &file]);
    assert!(
        code != 0 && said.contains("convulsing_now") && said.contains("twice"),
        "{said}"
    );
}

/// One danger sign and nothing else, an age that no rules are for, a field that no rule reads: pink, and
/// never an error.
#[test]
fn a_danger_sign_in_a_file_is_pink_whatever_else_stands_there() {
    let desk = Desk::enrolled();
    for file in [
        "convulsing_now = \"yes\"",
        "age_years = 7\nconvulsing_now = \"yes\"",
        "age_months = 20\nconvulsing_now = \"yes\"\nchest_pain = \"yes\"",
        "age_months = 20\nconvulsing_now = \"yes\"\nparasite_density = 12",
        "convulsing_now = \"yes\"\ntext = \"fits\"",
    ] {
        let path = desk.write("danger.toml", file);
        let judged = desk.json("clinic", &["triage", "--findings", &path]);
        assert_eq!(judged["urgency"], "pink", "{file}: {judged}");
        let new = desk.json("clinic", &["case", "new", "--findings", &path]);
        assert_eq!(new["assessment"]["urgency"], "pink", "{file}: {new}");
        let shown = desk.json(
            "clinic",
            &["case", "show", &new["case"].as_str().unwrap()[..8]],
        );
        assert_eq!(
            shown["findings"]["convulsing_now"]["value"], "yes",
            "{shown}"
        );
    }
    // Nothing that the file says is lost, and a sign beside it counts as one in it.
    let path = desk.write(
        "seven.toml",
        "age_years = 7\nlethargic = \"yes\"\ntext = \"fell from a tree\"",
    );
    let new = desk.json("clinic", &["case", "new", "--findings", &path]);
    let shown = desk.json(
        "clinic",
        &["case", "show", &new["case"].as_str().unwrap()[..8]],
    );
    let said = |name: &str| shown["findings"][name]["value"].clone();
    assert_eq!(
        (said("age_years"), said("text")),
        (7.0.into(), "fell from a tree".into()),
        "{shown}"
    );
    let path = desk.write(
        "calm.toml",
        "convulsing_now = \"no\"\ncough_or_difficult = \"yes\"",
    );
    let beside = ["case", "new", "--findings", &path, "--set"];
    let new = desk.json("clinic", &[&beside[..], &["lethargic=yes"]].concat());
    assert_eq!(new["assessment"]["urgency"], "pink", "{new}");
    let (_, told) = desk.fails("clinic", &[&beside[..], &["convulsing_now=yes"]].concat());
    assert!(told.contains("convulsing_now"), "said twice: {told}");
    // The control: where there is none, what is missing is said.
    for (file, said) in [
        ("cough_or_difficult = \"yes\"", "the age is missing"),
        ("age_years = 7\nfever = \"yes\"", "--kind adult"),
        (
            "age_months = 20\nchest_pain = \"perhaps\"",
            "write one of: yes, no",
        ),
        ("age_months = 20\nparasite_density = -4", "cannot be"),
    ] {
        let path = desk.write("none.toml", file);
        let (code, told) = desk.fails("clinic", &["triage", "--findings", &path]);
        assert!(code == 2 && told.contains(said), "{file}: {code} {told}");
    }
}

/// Whoever decides that a child must go gets the plan and the note of a child that must go.
#[test]
fn a_decision_above_the_assessment_is_what_the_plan_is_for() {
    let desk = Desk::enrolled();
    let file = desk.write("cough.toml", FAST);
    let new = |more: &[&str]| {
        let named = ["case", "new", "--findings", &file, "--consent", "share"];
        let new = desk.json("clinic", &[&named[..], more].concat());
        assert_eq!(new["assessment"]["urgency"], "yellow");
        let case = new["case"].as_str().unwrap()[..8].to_owned();
        (
            desk.json("clinic", &["case", "plan", &case]),
            desk.ok("clinic", &["case", "refer", &case]),
        )
    };
    let (plan, note) = new(&[
        "--decide",
        "pink",
        "--reason",
        "she looks worse than the chart says",
    ]);
    assert_eq!(
        (&plan["plan"]["urgency"], &plan["plan"]["refer"]),
        (&"pink".into(), &true.into()),
        "{plan}"
    );
    assert!(plan["plan"]["follow_up_days"].is_null(), "{plan}");
    assert!(
        note.contains("URGENT") && note.contains("she looks worse than the chart says"),
        "{note}"
    );
    // The control: as assessed, she is treated at home.
    let (plan, note) = new(&["--decide", "yellow"]);
    assert_eq!(plan["plan"]["urgency"], "yellow", "{plan}");
    assert!(!note.contains("URGENT"), "{note}");
}
