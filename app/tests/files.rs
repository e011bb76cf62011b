//! Files of cases as other systems and spreadsheets write them, and as people handle them: what is
//! understood comes in, what is not is said, and nothing that lies there is lost.

mod common;

use common::{Desk, new_case, with_worker};
use serde_json::Value;

fn patient(name: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{name}","name":[{{"text":"{name}"}}]}}"#)
}

fn bundle(resources: &str) -> String {
    format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{resources}]}}"#)
}

fn bundle_of(name: &str) -> String {
    bundle(&format!(r#"{{"resource":{}}}"#, patient(name)))
}

/// What came of a file: cases, and what was left out, as JSON.
fn taken(desk: &Desk, name: &str, text: &str) -> Value {
    desk.write(name, text);
    desk.json("clinic", &["case", "import", name])
}

fn cases(answer: &Value) -> Vec<String> {
    let cases = answer["cases"].as_array().unwrap().iter();
    cases
        .map(|case| case.as_str().unwrap().to_owned())
        .collect()
}

fn shown(desk: &Desk, case: &str, field: &str) -> Value {
    let case = desk.json("clinic", &["case", "show", case]);
    case["findings"][field]["value"].clone()
}

/// One that may be shared, with these besides.
fn shared(desk: &Desk, more: &[&str]) -> String {
    new_case(
        desk,
        "worker",
        &[&["--consent", "care,share,photo"], more].concat(),
    )
}

#[test]
fn a_line_of_no_use_costs_the_others_nothing_and_resources_may_stand_a_line_each() {
    let desk = with_worker();
    let lines = [
        bundle_of("One"),
        bundle(""),
        "no JSON".into(),
        bundle_of("Two"),
    ]
    .join("\n");
    let answer = taken(&desk, "lines.ndjson", &lines);
    assert_eq!(cases(&answer).len(), 2, "{answer}");
    let left_out = answer["left_out"].to_string();
    assert!(left_out.contains("line 3"), "{left_out}");
    let weight = r#"{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/Bulk"},"code":{"coding":[{"system":"http://loinc.org","code":"8310-5"}]},"valueQuantity":{"value":38.4,"unit":"Cel","system":"http://unitsofmeasure.org","code":"Cel"}}"#;
    let answer = taken(
        &desk,
        "bulk.ndjson",
        &format!("{}\n{weight}\n", patient("Bulk")),
    );
    let [case] = cases(&answer).try_into().unwrap();
    assert_eq!(shown(&desk, &case, "temperature"), 38.4);
    let [alone] = cases(&taken(&desk, "alone.json", &patient("Alone")))
        .try_into()
        .unwrap();
    assert_eq!(shown(&desk, &alone, "patient.name"), "Alone");
    // Whatever a file is called: it begins as FHIR does.
    let [odd] = cases(&taken(&desk, "odd.ips", &patient("Odd")))
        .try_into()
        .unwrap();
    assert_eq!(shown(&desk, &odd, "patient.name"), "Odd");
    // An observation by itself is nobody's.
    desk.write("nobody.json", weight);
    let (code, why) = desk.fails("clinic", &["case", "import", "nobody.json"]);
    assert!(code == 2 && why.contains("Bundle"), "{why}");
}

#[test]
fn a_birth_that_is_still_to_come_is_left_out_and_said() {
    let desk = with_worker();
    let born =
        |date: &str| patient("Born").replace("\"id\"", &format!("\"birthDate\":\"{date}\",\"id\""));
    let whole = |date: &str| bundle(&format!(r#"{{"resource":{}}}"#, born(date)));
    let answer = taken(&desk, "later.json", &whole("2131-05-01"));
    let [case] = cases(&answer).try_into().unwrap();
    assert!(
        answer["left_out"].to_string().contains("still to come"),
        "{answer}"
    );
    assert!(shown(&desk, &case, "patient.born").is_null());
    let answer = taken(&desk, "year.json", &whole("2131").replace("Born", "Year"));
    assert!(
        answer["left_out"].to_string().contains("still to come"),
        "{answer}"
    );
    let answer = taken(
        &desk,
        "sooner.json",
        &whole("2001-05-01").replace("Born", "Sooner"),
    );
    let [case] = cases(&answer).try_into().unwrap();
    assert_eq!(shown(&desk, &case, "patient.born"), "2001-05-01");
}

/// A table with something else between its cells.
fn between(table: &str, delimiter: char) -> String {
    let mut quoted = false;
    let letter = |c: char| {
        quoted ^= c == '"';
        if c == ',' && !quoted { delimiter } else { c }
    };
    table.chars().map(letter).collect()
}

#[test]
fn a_table_comes_back_from_any_spreadsheet_in_its_letters() {
    let desk = with_worker();
    let case = shared(&desk, &["--patient", "Zoé"]);
    desk.ok(
        "worker",
        &[
            "case",
            "export",
            &case,
            "--format",
            "csv",
            "--out",
            "cases.csv",
        ],
    );
    let table = std::fs::read_to_string(desk.path("cases.csv")).unwrap();
    assert!(
        table.starts_with('\u{feff}'),
        "a spreadsheet shows other letters"
    );
    let plain = table.trim_start_matches('\u{feff}');
    let utf16 = table
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    let western: Vec<u8> = plain
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let files = [
        ("UPPER.CSV", table.clone().into_bytes()),
        ("semicolons.csv", between(plain, ';').into_bytes()),
        ("tabs.tsv", between(plain, '\t').into_bytes()),
        ("utf16.csv", utf16),
        ("western.csv", western),
    ];
    for (n, (name, bytes)) in files.into_iter().enumerate() {
        std::fs::write(desk.path(name), bytes).unwrap();
        let answer = desk.json("clinic", &["case", "import", name]);
        let [case] = match n {
            0 => cases(&answer).try_into().unwrap(),
            // The same words again are no news, whatever stands between them.
            _ => {
                assert!(cases(&answer).is_empty(), "{name}: {answer}");
                assert_eq!(answer["here"].as_array().unwrap().len(), 1);
                continue;
            }
        };
        assert_eq!(shown(&desk, &case, "patient.name"), "Zoé");
    }
    // JSON of other letters is refused, and says so.
    std::fs::write(desk.path("bundle.json"), b"{\"resourceType\":\"Zo\xe9\"}").unwrap();
    assert_eq!(
        desk.fails("clinic", &["case", "import", "bundle.json"]).0,
        2
    );
}

/// Whatever may be written may go out and come in again.
#[test]
fn a_long_case_comes_back_whole() {
    let desk = with_worker();
    let case = shared(&desk, &["--patient", "Long"]);
    let mut state = 1u64;
    for n in 0..12 {
        let mut word = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            format!("{:08x}", state >> 32)
        };
        let note = format!(
            "visit {n}: {}",
            (0..400).map(|_| word()).collect::<Vec<_>>().join(" ")
        );
        desk.ok("worker", &["case", "add", &case, "--note", &note]);
    }
    desk.ok("worker", &["case", "export", &case, "--out", "long.json"]);
    let answer = desk.json("clinic", &["case", "import", "long.json"]);
    let [here] = cases(&answer).try_into().unwrap();
    let held = desk.json("clinic", &["case", "show", &here]);
    let notes = held["notes"].as_array().unwrap();
    let visits = notes
        .iter()
        .filter(|n| n["note"].as_str().unwrap().starts_with("visit"));
    assert_eq!(visits.count(), 12);
    let again = desk.json("clinic", &["case", "import", "long.json"]);
    assert!(cases(&again).is_empty(), "nothing of it is news: {again}");
}

#[test]
fn an_export_writes_over_nothing_but_an_export_and_says_what_is_not_in_it() {
    let desk = with_worker();
    let case = shared(&desk, &["--patient", "Rehema"]);
    let export = |format: &str, out: &str| {
        desk.run(
            "worker",
            &["case", "export", &case, "--format", format, "--out", out],
        )
    };
    for (format, out) in [("csv", "cases.csv"), ("fhir", "cases.json")] {
        for _ in 0..2 {
            assert!(
                export(format, out).status.success(),
                "a later one takes its place"
            );
        }
        desk.write(out, "keep me");
        let refused = export(format, out);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
        assert_eq!(std::fs::read_to_string(desk.path(out)).unwrap(), "keep me");
        desk.ok(
            "worker",
            &[
                "case", "export", &case, "--format", format, "--out", out, "--force",
            ],
        );
        assert!(
            std::fs::read_to_string(desk.path(out))
                .unwrap()
                .contains("Rehema")
        );
    }
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pictures/");
    let mut pictures = std::fs::read_dir(picture)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let picture = pictures
        .find(|path| path.extension().is_some_and(|e| e == "jpg" || e == "png"))
        .unwrap();
    desk.ok(
        "worker",
        &[
            "case",
            "photo",
            &case,
            picture.to_str().unwrap(),
            "--shows",
            "rash",
        ],
    );
    let said = export("csv", "cases.csv");
    assert!(String::from_utf8_lossy(&said.stderr).contains("1 photos are not in it"));
    desk.write("photo.jpg", "keep me");
    let (code, _) = desk.fails("worker", &["case", "photo", &case, "--out", "photo.jpg"]);
    assert_eq!(
        (
            code,
            std::fs::read_to_string(desk.path("photo.jpg"))
                .unwrap()
                .as_str()
        ),
        (2, "keep me")
    );
    // Half of it is no picture.
    let whole = std::fs::read(&picture).unwrap();
    std::fs::write(desk.path("half.jpg"), &whole[..whole.len() / 2]).unwrap();
    let (code, why) = desk.fails("worker", &["case", "photo", &case, "half.jpg"]);
    assert!(code == 2 && why.contains("damaged"), "{code} {why}");
}

#[test]
fn how_much_was_left_out_is_counted() {
    let desk = with_worker();
    let unknown = r#"{"resource":{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"N"}]},"valueString":"x"}}"#;
    let unknown: Vec<_> = (0..30)
        .map(|n| unknown.replace("\"N\"", &format!("\"0-{n}\"")))
        .collect();
    let all = format!(
        r#"{{"resource":{}}},{}"#,
        patient("Many"),
        unknown.join(",")
    );
    desk.write("many.json", &bundle(&all));
    let said = desk.ok("clinic", &["case", "import", "many.json"]);
    assert!(
        said.contains("1 cases begun, 0 added to, 0 here already; 30 things left out"),
        "{said}"
    );
    assert!(said.contains("and 10 more"), "{said}");
}

/// What a file would bring is said before it is taken in, and is what it then brings.
#[test]
fn a_dry_run_says_what_an_import_then_does_and_writes_nothing() {
    let desk = Desk::enrolled();
    let one = patient("One");
    desk.write("one.json", &bundle(&format!(r#"{{"resource":{one}}}"#)));
    let counts = |file: &str, more: &[&str]| {
        let said = desk.json("clinic", &[&["case", "import", file], more].concat());
        ["new", "added_to", "unchanged"].map(|name| said[name].as_u64().unwrap())
    };
    let listed = || {
        desk.json("clinic", &["case", "list"])["cases"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(counts("one.json", &["--dry-run"]), [1, 0, 0]);
    assert_eq!(listed(), 0, "nothing was written");
    assert_eq!(counts("one.json", &[]), [1, 0, 0]);
    for dry in [&["--dry-run"][..], &[]] {
        assert_eq!(counts("one.json", dry), [0, 0, 1]);
    }
    assert_eq!(listed(), 1);
    // An own export that was added to elsewhere, as a table; and one sealed for this phone.
    let list = desk.json("clinic", &["case", "list"]);
    let id = list["cases"][0]["case"].as_str().unwrap();
    desk.ok("clinic", &["case", "add", id, "--consent", "share"]);
    desk.ok(
        "clinic",
        &["case", "export", "--format", "csv", "--out", "own.csv"],
    );
    assert_eq!(counts("own.csv", &["--dry-run"]), [0, 0, 1]);
    assert!(
        desk.ok("clinic", &["case", "import", "own.csv", "--dry-run"])
            .contains("would be: 0 cases begun, 0 added to, 1 here already")
    );
}

/// Every case that comes from others is judged: an oxygen below 90 in any of them is pink, and what a grown
/// person has is written down.
#[test]
fn dangers_in_the_files_of_others_are_judged() {
    let desk = with_worker();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../record/tests/foreign");
    let (mut dangers, mut files) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let answer = taken(&desk, &name, &text);
        let [case] = &cases(&answer)[..] else {
            panic!("{name}: {answer}")
        };
        let shown = desk.json("clinic", &["case", "show", case]);
        let oxygen = shown["findings"]["spo2"]["value"].as_f64();
        let judged = shown["assessments"].as_array().unwrap().last();
        let judged = judged.unwrap_or_else(|| panic!("{name}: nobody has judged it"));
        if oxygen.is_some_and(|oxygen| oxygen < 90.0) {
            assert_eq!(judged["urgency"], "pink", "{name}: {judged}");
            dangers += 1;
        }
        files += 1;
    }
    assert!(files >= 20 && dangers >= 4, "{dangers} of {files}");
}

/// A long file says how far it is, in and out; a short one says nothing.
#[test]
fn a_long_file_says_how_far_it_is() {
    use node::api::{Format, Request, views::meetings::Progress};
    let desk = with_worker();
    let write = |name: &str, of: usize| {
        let lines: Vec<_> = (0..of).map(|n| bundle_of(&format!("{name}{n}"))).collect();
        desk.write(&format!("{name}.ndjson"), &lines.join("\n"));
    };
    write("Few", 4);
    write("Many", 120);
    let host = desk.start("clinic");
    let told = |request: Request| {
        let mut told = Vec::new();
        let answer = host.request(request, &mut |p| match p {
            Progress::Cases { done, total } => told.push((*done, *total)),
            Progress::Began(_) | Progress::Lane { .. } | Progress::Refused(_) => {}
        });
        answer.unwrap();
        told
    };
    let import = |name: &str, dry_run: bool| Request::CaseImport {
        format: Format::Fhir,
        path: desk.path(name).display().to_string(),
        area: None,
        dry_run,
        mapping: None,
    };
    let far = [(0, 120), (50, 120), (100, 120)];
    assert_eq!(told(import("Many.ndjson", true)), far);
    assert_eq!(told(import("Many.ndjson", false)), far);
    assert_eq!(told(import("Few.ndjson", false)), [], "the control");
    let export = Request::CaseExport {
        cases: Vec::new(),
        format: Format::Csv,
        to: None,
        path: desk.path("out.csv").display().to_string(),
    };
    let told = told(export);
    assert!(told.len() == 3 && told[0].1 >= 124, "{told:?}");
    host.stop();
}

/// A register of another system's: begun by `case mapping`, edited, looked at, taken in, and once more.
#[test]
fn a_register_with_one_row_a_patient_comes_in_by_its_mapping() {
    let desk = with_worker();
    let table = "Reg;Name;weight;Fits;Clerk\n17;Amina;9,5;yes;O\n18;Baraka;11;no;O\n";
    desk.write("register.csv", table);
    let (code, why) = desk.fails("clinic", &["case", "import", "register.csv"]);
    assert!(code == 2 && why.contains("mapping"), "{why}");
    let begun = desk.ok(
        "clinic",
        &[
            "case",
            "mapping",
            "register.csv",
            "--system",
            "Kitui",
            "--known-by",
            "Reg",
        ],
    );
    assert!(
        begun.contains("system = \"Kitui\"") && begun.contains("[columns.weight]"),
        "{begun}"
    );
    assert!(begun.contains("# not read yet: Fits, Clerk\n"), "{begun}");
    let edited = begun.replace("ignore = []", "ignore = [\"Clerk\"]");
    let fits = "\n[columns.Fits]\nfield = \"convulsions\"\n";
    desk.write("register.toml", &(edited + fits));
    let import = ["case", "import", "register.csv", "--map", "register.toml"];
    let dry = desk.json("clinic", &[&import[..], &["--dry-run"]].concat());
    assert_eq!(
        (&dry["new"], &dry["left_out"]),
        (&2.into(), &Value::Array(Vec::new()))
    );
    let answer = desk.json("clinic", &import);
    let [amina, _] = cases(&answer).try_into().unwrap();
    assert_eq!(shown(&desk, &amina, "weight"), 9.5);
    let judged = desk.json("clinic", &["case", "show", &amina]);
    assert_eq!(judged["urgency"], "pink", "convulsions are judged");
    assert_eq!(desk.json("clinic", &import)["unchanged"], 2);
    // Grown by a word, it is the same case.
    desk.write(
        "register.csv",
        &table.replace("Clerk", "muac").replace("yes;O", "yes;118"),
    );
    let grown = "\n[columns.muac]\nfield = \"muac\"\nunit = \"mm\"\n";
    let mapping = std::fs::read_to_string(desk.path("register.toml")).unwrap();
    desk.write("register.toml", &(mapping.replace("\"Clerk\"", "") + grown));
    let answer = desk.json("clinic", &import);
    assert_eq!(
        (&answer["added_to"], &answer["unchanged"]),
        (&1.into(), &1.into())
    );
    assert_eq!(shown(&desk, &amina, "muac"), 118.0);
    // A mapping that cannot work, or is none, takes nothing in.
    for (text, why) in [
        ("", "missing field"),
        (&begun.replace("\"weight\"", "\"wait\""), "no field"),
    ] {
        desk.write("wrong.toml", text);
        let (code, said) = desk.fails(
            "clinic",
            &["case", "import", "register.csv", "--map", "wrong.toml"],
        );
        assert!(code != 0 && said.contains(why), "{said}");
    }
}

/// A cell is one dose: put right and taken in again, it is told, and nothing counts twice.
#[test]
fn a_dose_of_a_register_that_is_put_right_counts_once() {
    let desk = with_worker();
    desk.write("register.csv", "Reg,name,Amox\n17,Amina,250\n");
    desk.write(
        "register.toml",
        "format = \"kijiti.mapping/1\"\nsystem = \"Kitui\"\nknown_by = [\"Reg\"]\n[columns.name]\nfield = \"patient.name\"\n[columns.Amox]\ndose = \"amoxicillin\"\nunit = \"mg\"\n",
    );
    let import = ["case", "import", "register.csv", "--map", "register.toml"];
    let [amina] = cases(&desk.json("clinic", &import)).try_into().unwrap();
    let doses = || desk.json("clinic", &["case", "show", &amina])["doses"].clone();
    let first = doses();
    assert_eq!(
        (&first[0]["amount"], &first[0]["times"]),
        (&250.0.into(), &1.into())
    );
    desk.write("register.csv", "Reg,name,Amox\n17,Amina,500\n");
    let again = desk.json("clinic", &import);
    let told = again["left_out"].to_string();
    assert!(told.contains("it is here as amoxicillin 250 mg"), "{told}");
    assert_eq!(doses(), first);
}

/// A table of so many patients.
fn patients(of: usize) -> String {
    let rows = (0..of).map(|n| {
        let case = format!("{n:032x}");
        let row = |what: String| format!("{case},x,finding,{what},w,2025,1,yes\r\n");
        row(format!("patient.name,Child {n},")) + &row("spo2,97,%".into())
    });
    let head = "case,area,kind,name,value,unit,said_by,said_at,order,stands\r\n".to_owned();
    head + &rows.collect::<String>()
}

/// The program is killed while it takes in a file: what the next command sees is all of it, each patient once.
#[test]
fn a_file_whose_import_is_killed_is_all_here_at_the_next_command() {
    const PATIENTS: usize = 400;
    let desk = with_worker();
    desk.write("many.csv", &patients(PATIENTS));
    let count = |of: &serde_json::Value| of["cases"].as_array().unwrap().len();
    let before = count(&desk.json("clinic", &["case", "list"]));
    let mut import = std::process::Command::new(env!("CARGO_BIN_EXE_kijiti"));
    import.env("KIJITI_PASSPHRASE", "twelve patients to see");
    import.arg("--data").arg(desk.path("clinic"));
    import.args(["case", "import", "many.csv"]);
    import
        .current_dir(desk.path("."))
        .stdout(std::process::Stdio::null());
    let mut import = import.stderr(std::process::Stdio::null()).spawn().unwrap();
    // Some patients are written by then, and not all.
    let log = desk.path("clinic/phone.sqlite-wal");
    let written = || std::fs::metadata(&log).map_or(0, |log| log.len());
    while written() < 250_000 {
        assert_eq!(import.try_wait().unwrap(), None, "it was over before");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let here = count(&desk.json("clinic", &["case", "list"])) - before;
    assert_eq!(here, PATIENTS);
    let again = desk.json("clinic", &["case", "import", "many.csv"]);
    assert_eq!(again["unchanged"], PATIENTS, "{again}");
}
