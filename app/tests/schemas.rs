//! What `--json` prints keeps its form: each schema's keys, and what kind of value each has, stand in
//! `app/tests/schemas`. Whoever changes one raises its version and writes its file anew
//! (`WRITE_SCHEMAS=1 cargo test --release --test schemas`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use node::api::views::events::Event;
use node::api::{Request, VisitOf, views};
use node::host::Host;
use serde_json::{Map, Value};

mod common;
use common::{Desk, example, with_worker};

/// The form of a value: kinds instead of values, one example of each list.
fn form(value: &Value) -> Value {
    match value {
        Value::Null => Value::from("null"),
        Value::Bool(_) => Value::from("yes or no"),
        Value::Number(_) => Value::from("number"),
        Value::String(_) => Value::from("text"),
        Value::Array(items) => Value::Array(items.iter().map(form).take(1).collect()),
        Value::Object(fields) => {
            // Findings are named by the catalogue, not by the schema.
            let named = fields
                .keys()
                .any(|name| clinical::catalogue::field(name).is_some());
            let fields: BTreeMap<_, _> = fields.iter().collect();
            let of = |(name, value): (&String, &Value)| (name.clone(), form(value));
            let forms: Map<_, _> = match named {
                false => fields.into_iter().map(of).collect(),
                true => fields
                    .into_iter()
                    .take(1)
                    .map(|(_, value)| ("<field>".to_owned(), form(value)))
                    .collect(),
            };
            Value::Object(forms)
        }
    }
}

fn file_of(schema: &str) -> PathBuf {
    let name = schema.replace('/', "-") + ".json";
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/schemas")
        .join(name)
}

/// Notes the form of an answer, and of every answer within it that has a schema of its own.
fn note(answer: &Value, forms: &mut BTreeMap<String, Value>) {
    let schema = answer["schema"]
        .as_str()
        .unwrap_or_else(|| panic!("no schema: {answer}"));
    let mut form = form(answer);
    form["schema"] = Value::from(schema);
    forms.insert(schema.to_owned(), form);
}

#[test]
fn what_the_command_prints_has_the_form_that_is_written_down() {
    let desk = Desk::enrolled();
    std::fs::create_dir(desk.path("card")).unwrap();
    let mut forms = BTreeMap::new();
    let mut see = |line: &str| {
        let answer = desk.json("clinic", &line.split(' ').collect::<Vec<_>>());
        note(&answer, &mut forms);
        answer
    };
    let new = format!(
        "case new --findings {} --patient Amina --consent care,share",
        example()
    );
    let case = see(&format!("{new} --decide pink --plan refer"));
    let case = case["case"].as_str().unwrap().to_owned();
    see(&new); // so that two cases may be one patient's
    let add = format!("case add {case} --note seen --dose");
    let dose = ["amoxicillin 250 mg"];
    let words: Vec<_> = add.split(' ').chain(dose).collect();
    desk.json("clinic", &words);
    for line in [
        "status",
        "case list",
        &format!("case show {case}"),
        &format!("case history {case}"),
        "case duplicates",
        "case fields",
        &format!("case decide {case} --decide pink --plan refer"),
        &format!("triage --findings {}", example()),
        "meetings",
        "enrol space --area north/kilifi",
        "enrol rotate --area north/kilifi",
        "enrol retire --area north/kilifi --keep-days 9",
        "enrol countersign --show",
        "quota 100",
        "case export --out cases.json",
        "case import cases.json",
        "carry out card",
        "carry in card",
        "check",
    ] {
        see(line);
    }
    let refused = desk.run("clinic", &["--json", "case", "show", "nobody"]);
    note(
        &serde_json::from_slice(&refused.stderr).unwrap(),
        &mut forms,
    );
    compare(forms);
}

/// Compares forms with those that are written down, or writes them.
fn compare(forms: BTreeMap<String, Value>) {
    let written = std::env::var_os("WRITE_SCHEMAS").is_some();
    for (schema, form) in forms {
        let (file, text) = (file_of(&schema), format!("{form:#}\n"));
        if written {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            known, text,
            "{schema} has changed: raise its version, and write it anew"
        );
    }
}

/// A phone that runs, asked as a screen asks it.
struct Screen(Host);

impl Screen {
    fn ask(&self, request: Request) -> Value {
        let reply = self.0.request(request, &mut |_| {});
        json(reply.unwrap().view())
    }
}

fn json(view: &dyn views::erased::View) -> Value {
    view.to_json().unwrap()
}

/// What a screen asks of a case, of a visit and of the phone.
fn requests(case: &str, path: &dyn Fn(&str) -> String) -> [Request; 16] {
    let profile = clinical::Profile::Iccm;
    let decision = node::api::DecisionInput {
        urgency: clinical::Urgency::Pink,
        plan: "refer".into(),
        reason: String::new(),
    };
    let photo = node::api::PhotoWords {
        shows: "a rash".into(),
        camera: String::new(),
        light: String::new(),
    };
    [
        Request::Idle,
        Request::VisitBegin {
            of: VisitOf::Child,
            profile,
            anew: true,
            request: node::api::RequestId([3; 16]),
            area: None,
        },
        Request::VisitOpen { of: VisitOf::Child },
        Request::VisitEnd { of: VisitOf::Child },
        Request::CasePlan {
            case: case.to_owned(),
        },
        Request::CaseDecide {
            case: case.to_owned(),
            decision,
            request: node::api::RequestId([9; 16]),
        },
        Request::CasePhoto {
            case: case.to_owned(),
            path: path("photo.jpg"),
            words: photo,
            request: node::api::RequestId([8; 16]),
        },
        Request::PhotoLook {
            path: path("photo.jpg"),
            shows: "skin".to_owned(),
        },
        Request::CasePhotoOut {
            case: case.to_owned(),
            number: 1,
            path: path("out.jpg"),
        },
        Request::CaseHandOver {
            cases: vec![case.to_owned()],
            from: None,
            to: "Worker Neema".into(),
            reason: "she lives there".into(),
            request: node::api::RequestId([7; 16]),
        },
        Request::EnrolRequest {
            name: "Clinic".into(),
        },
        Request::Receipts,
        Request::Documents,
        Request::Certificates,
        Request::Import {
            path: path("photo.jpg"),
        },
        Request::BackUp {
            to: path("copy"),
            passphrase: Some("twelve patients to see".into()),
        },
    ]
}

#[test]
fn what_a_screen_is_told_has_the_form_that_is_written_down() {
    let desk = with_worker();
    let mut forms = BTreeMap::new();
    let case = desk.json(
        "clinic",
        &[
            "case",
            "new",
            "--findings",
            &example(),
            "--patient",
            "Amina",
            "--consent",
            "share,photo",
        ],
    );
    let case = case["case"].as_str().unwrap()[..8].to_owned();
    std::fs::write(desk.path("photo.jpg"), include_bytes!("pictures/rash.jpg")).unwrap();
    let screen = Screen(desk.start("clinic"));
    let path = |name: &str| desk.path(name).display().to_string();
    let mut follower = screen.0.follow();
    let worker = desk.start("worker");
    let meet = Request::Meet {
        peer: worker.id(),
        address: worker.addresses()[0].to_string(),
    };
    note(&screen.ask(meet), &mut forms);
    let event: Option<Event> = follower.next(std::time::Duration::from_secs(5)).unwrap();
    let mut event = json(&event.unwrap());
    event["schema"] = Value::from("kijiti.event/1");
    note(&event, &mut forms);
    let who = "worker neema".to_owned();
    let more = [Request::FindPhone { who }];
    for request in requests(&case, &path).into_iter().chain(more) {
        note(&screen.ask(request), &mut forms);
    }
    screen.0.stop();
    worker.stop();
    forms.remove("kijiti.case/2"); // seen with more in it above
    compare(forms);
}

#[test]
fn what_the_desk_prints_of_releases_has_the_form_that_is_written_down() {
    let desk = Desk::enrolled();
    let mut forms = BTreeMap::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/triage-reference.gguf");
    let model = model.display().to_string();
    let draft = [
        "ministry",
        "release",
        "draft",
        "--file",
        &model,
        "--out",
        "draft.json",
    ];
    desk.ok("clinic", &draft);
    for key in ["keys/key-1.age", "keys/key-2.age"] {
        desk.ok(
            "clinic",
            &["ministry", "release", "sign", "draft.json", "--key", key],
        );
    }
    let mut see = |line: &str| {
        let answer = desk.json("clinic", &line.split(' ').collect::<Vec<_>>());
        note(&answer, &mut forms);
    };
    see("ministry release check draft.json");
    desk.ok("clinic", &["ministry", "release", "publish", "draft.json"]);
    for line in [
        "model list",
        "model show",
        "model verify",
        "ministry release log",
        "ministry coverage --key keys/receipts-1.age",
        "doctor",
    ] {
        see(line);
    }
    compare(forms);
}

/// Schemas of files, whose form their own tests hold, and what only a long or a rare command prints.
const ELSEWHERE: [&str; 12] = [
    "backup-files/1",
    "coverage/1",
    "demo/1",
    "draft/2",
    "enrol-draft/1",
    "enrolment/1",
    "grant/1",
    "mirror/1",
    "restore/1",
    "root/1",
    "siege/1",
    "unlock-code/1",
];

#[test]
fn every_schema_is_written_down_or_said_to_be_held_elsewhere() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut left: Vec<PathBuf> = ["app/src", "node/src", "desk/src"]
        .map(|folder| room.join(folder))
        .into();
    let mut named = std::collections::BTreeSet::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for piece in text.split("\"kijiti.").skip(1) {
            let name = piece.split('"').next().unwrap();
            if name.contains('/') {
                named.insert(name.to_owned());
            }
        }
    }
    assert!(named.len() > 30, "{named:?}");
    let unknown = named.iter().filter(|name| {
        !file_of(&format!("kijiti.{name}")).exists() && !ELSEWHERE.contains(&name.as_str())
    });
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
}
