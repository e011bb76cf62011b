//! What `--json` prints keeps its form: each schema's keys, and what kind of value each has, stand in
//! `app/tests/schemas`. Whoever changes one raises its version and writes its file anew
//! (`WRITE_SCHEMAS=1 cargo test --release --test schemas`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

mod common;
use common::{Desk, example};

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
fn every_schema_has_the_form_that_is_written_down() {
    let desk = Desk::enrolled();
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
        &format!("case decide {case} --decide pink --plan refer"),
        &format!("triage --findings {}", example()),
        "model list",
        "meetings",
        "enrol space --area north/kilifi",
        "enrol rotate --area north/kilifi",
        "enrol retire --area north/kilifi --keep-days 9",
        "enrol countersign --show",
        "quota 100",
        "case export --out cases.json",
        "case import cases.json",
    ] {
        see(line);
    }
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
