//! Modules by their signed kind: two of one kind run beside each other, each in a slot of its own, and
//! what is recalled or taken back stops alone.

use std::path::Path;

use serde_json::Value;

mod common;

use common::Desk;

const DISTRICT: &str = r#"
id = "district"
edition = "1"
version = 1
profiles = ["iccm", "imci"]
[[finding]]
id = "drank_from_river"
ask = "Did the child drink from the river this week?"
asked = ["child.iccm"]
[[rule]]
id = "cholera-watch"
group = "child"
class = "Cholera in the district"
urgency = "pink"
source = "district health office, an example"
when = "drank_from_river and diarrhoea"
unknown = "advise"
action = "Refer today"
[[golden]]
name = "river and diarrhoea"
profile = "iccm"
findings = { age_months = 20, drank_from_river = "yes", diarrhoea = "yes" }
expected = "pink"
"#;

impl Desk {
    /// What runs, once so many modules do; each of them is tried when the phone next has a moment.
    fn running(&self, modules: &[&str]) -> Vec<Value> {
        for _ in 0..200 {
            let active = self.json("clinic", &["model", "list"])["active"].clone();
            let runs: Vec<_> = active.as_array().unwrap().clone();
            let runs: Vec<_> = runs
                .into_iter()
                .filter(|m| !m["current"].is_null())
                .collect();
            let names: Vec<_> = runs.iter().map(|m| m["module"].as_str().unwrap()).collect();
            if names == modules {
                return runs;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{}", self.json("clinic", &["model", "list"]));
    }

    /// Recalls what a module is.
    fn recall(&self, module: &str) {
        let recall = ["ministry", "recall", "--module", module];
        let rest = ["--reason", "an example", "--out", "r.json"];
        self.ok("clinic", &[&recall[..], &rest].concat());
        let sign = ["ministry", "release", "sign", "r.json", "--key"];
        let keys = ["keys/recall-1.age", "keys/key-1.age", "keys/key-2.age"];
        let mut signs = keys.iter().map(|key| [&sign[..], &[key]].concat());
        assert!(signs.any(|sign| self.run("clinic", &sign).status.success()));
        self.ok("clinic", &["ministry", "release", "publish", "r.json"]);
    }

    fn judged(&self, findings: &str) -> Value {
        let file = self.write("findings.toml", findings);
        let new = ["case", "new", "--findings", &file, "--patient", "Amina"];
        self.json("clinic", &new)["assessment"].clone()
    }
}

/// The reference model, and the same with another card.
fn two_models(desk: &Desk) -> [String; 2] {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/triage-reference.gguf");
    let bytes = std::fs::read(&file).unwrap();
    let mut other = bytes.clone();
    let key = b"kijiti.card";
    let at = other.windows(key.len()).position(|w| w == key).unwrap();
    let word = (at + key.len() + 20..)
        .find(|i| other[*i].is_ascii_lowercase())
        .unwrap();
    other[word] = other[word].to_ascii_uppercase();
    std::fs::write(desk.path("other.gguf"), other).unwrap();
    [file.display().to_string(), "other.gguf".to_owned()]
}

#[test]
fn two_modules_of_one_kind_run_beside_each_other_and_one_that_is_recalled_stops_alone() {
    let desk = Desk::enrolled();
    let [one, other] = two_models(&desk);
    // Names say nothing: a model may be called rules, and a pack something else.
    desk.publish(&one, "triage-model", &[]);
    desk.publish(&other, "rules-of-thumb", &[]);
    let pack = desk.write("pack.toml", DISTRICT);
    desk.publish(&pack, "district-watch", &[]);
    let guide = desk.write("guide", "how to wash hands\n");
    desk.publish(&guide, "triage-model-guide", &["--kind", "guide"]);
    let runs = desk.running(&["district-watch", "rules-of-thumb", "triage-model"]);
    let kinds: Vec<_> = runs.iter().map(|m| m["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["rules", "triage", "triage"]);

    let river = "age_months = 20\ndiarrhoea = \"yes\"\ndrank_from_river = \"yes\"\n";
    let judged = desk.judged(river);
    assert_eq!(judged["urgency"], "pink");
    assert_eq!(judged["fired"][0]["rule"], "cholera-watch");
    let models = judged["model"].as_str().unwrap();
    assert!(
        models.contains("triage-model version 1") && models.contains("rules-of-thumb version 1")
    );
    assert!(
        judged["pack"].as_str().unwrap().contains("district 1"),
        "{judged}"
    );
    // The rules of the guideline look as before.
    let fits = desk.judged("age_months = 20\nconvulsions = \"yes\"\n");
    assert_eq!(fits["urgency"], "pink");

    let listed = desk.json("clinic", &["model", "list"]);
    let digest = |module: &str| {
        let all = listed["releases"].as_array().unwrap();
        let found = all.iter().find(|r| r["module"] == module).unwrap();
        found["digest"].as_str().unwrap().to_owned()
    };
    assert_ne!(digest("triage-model"), digest("rules-of-thumb"));
    desk.recall("rules-of-thumb");
    desk.running(&["district-watch", "triage-model"]);
    let judged = desk.judged(river);
    let model = judged["model"].as_str().unwrap();
    assert!(
        model.contains("triage-model version 1") && !model.contains("rules-of-thumb"),
        "{model}"
    );
    assert_eq!(
        judged["fired"][0]["rule"], "cholera-watch",
        "the others run on"
    );
}

#[test]
fn a_module_stays_the_kind_it_is_and_a_pack_without_golden_cases_runs_nowhere() {
    let desk = Desk::enrolled();
    let pack = desk.write("pack.toml", DISTRICT);
    desk.publish(&pack, "district-watch", &[]);
    let draft = ["ministry", "release", "draft", "--out", "draft.json"];
    let [model, _] = two_models(&desk);
    let becomes = ["--module", "district-watch", "--file", &model];
    let (code, said) = desk.fails("clinic", &[&draft[..], &becomes].concat());
    assert!(
        code == 5 && said.contains("is of kind rules, and this is of kind triage"),
        "{said}"
    );
    let unknown = ["--module", "new", "--file", &model, "--kind", "form-ish"];
    let refused = desk.run("clinic", &[&draft[..], &unknown].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && said.contains("one of other, rules, triage"),
        "{said}"
    );

    let bare = DISTRICT.split("[[golden]]").next().unwrap();
    let bare = desk.write("bare.toml", bare);
    let draft = [&draft[..], &["--module", "bare", "--file", &bare]].concat();
    desk.run("clinic", &draft);
    let checked = desk.run("clinic", &["ministry", "release", "check", "draft.json"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("it brings no golden case"), "{said}");
}

/// The review's: what came through a delegation went on running after it had ended, and took the
/// guideline's place.
#[test]
fn a_module_that_no_list_names_any_more_stops_and_a_delegate_replaces_no_guideline() {
    let desk = Desk::enrolled();
    let key = office_key(&desk);
    let delegate = ["ministry", "delegate", "office", "--out", "draft.json"];
    let may = [
        "--key",
        &key,
        "--module",
        "office-pack",
        "--kind",
        "rules",
        "--area",
        "north",
    ];
    let sign_and_publish = |keys: &[&str]| {
        for key in keys {
            desk.ok(
                "elsewhere", // a machine that only signs
                &["ministry", "release", "sign", "draft.json", "--key", key],
            );
        }
        desk.run("clinic", &["ministry", "release", "publish", "draft.json"])
    };
    let ministry = ["keys/key-1.age", "keys/key-2.age"];
    desk.ok("clinic", &[&delegate[..], &may[..]].concat());
    assert!(sign_and_publish(&ministry).status.success());
    let release = |file: &str| {
        let draft = [
            "ministry",
            "release",
            "draft",
            "--delegation",
            "office",
            "--out",
            "draft.json",
        ];
        let rest = [
            "--module",
            "office-pack",
            "--area",
            "north",
            "--lineage",
            "lineage.json",
            "--file",
            file,
        ];
        desk.ok("clinic", &[&draft[..], &rest[..]].concat());
        sign_and_publish(&["office.age"])
    };
    let guideline = inference::rules::BUILT_IN.replacen("edition = \"", "edition = \"office ", 1);
    let guideline = desk.write("guideline.toml", &guideline);
    let refused = release(&guideline);
    assert_eq!(refused.status.code(), Some(5));
    let said = checked(&desk);
    assert!(said.contains("the ministry alone releases"), "{said}");

    let pack = desk.write("pack.toml", DISTRICT);
    assert!(release(&pack).status.success());
    desk.running(&["office-pack"]);
    desk.ok("clinic", &["model", "verify", "office-pack"]);
    desk.ok("clinic", &delegate);
    assert!(sign_and_publish(&ministry).status.success());
    desk.running(&[]);
    assert!(
        !desk
            .json("clinic", &["status"])
            .to_string()
            .contains("district")
    );
}

/// The office's key, and where its fine-tune comes from.
fn office_key(desk: &Desk) -> String {
    let lineage = format!(
        r#"{{"parent":"{}","data":"an example","protocol":"P1","subgroups":[],"return_to":null}}"#,
        "00".repeat(32)
    );
    desk.write("lineage.json", &lineage);
    let new_key = [
        "ministry",
        "new-key",
        "--out",
        "office.age",
        "--work-factor",
        "10",
    ];
    let key = desk.ok("clinic", &new_key);
    key.split_whitespace().last().unwrap().to_owned()
}

/// What the desk says of the draft, on one line.
fn checked(desk: &Desk) -> String {
    let checked = desk.run("clinic", &["ministry", "release", "check", "draft.json"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A model so small that it is made while one waits, and an adapter for it.
fn base_and_adapter(desk: &Desk) -> [String; 2] {
    use inference::{RulePack, TriageModel};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;
    use teach::adapt::{Base, Patients, RANKS, Tuning, read_district, tune};
    use teach::learn::{Course, Plan};
    use teach::patients::World;
    use teach::publish::{self, Stored};

    let course = Course::new(Plan::TINY, &RulePack::built_in().unwrap()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let net = teach::net::Net::new(course.shape(), &mut rng).unwrap();
    let mut beside = publish::uncalibrated();
    let draft = publish::write(&course, &net, Stored::Q8, &beside).unwrap();
    let model = TriageModel::load("draft", &draft).unwrap();
    beside.golden = publish::golden(&model, World::LEARNING, 1, 6).unwrap();
    let base = Base::new(publish::write(&course, &net, Stored::Q8, &beside).unwrap()).unwrap();
    let tuning = Tuning {
        seed: 1,
        steps: 4,
        batch: 16,
        rate: 1e-2,
        calibration: 200,
        ranks: Some(RANKS),
    };
    let district = Patients::Drawn(Box::new(read_district("more = { Malaria = 3.0 }").unwrap()));
    let tuned = tune(&base, &district, tuning, &mut |_| {}).unwrap();
    let adapter = tuned.adapter(&base).unwrap();
    [("base.gguf", &base.file), ("adapter.gguf", &adapter)].map(|(name, file)| {
        std::fs::write(desk.path(name), file).unwrap();
        name.to_owned()
    })
}

/// The same model with another card: another bundle.
fn again(desk: &Desk, base: &str) -> String {
    let mut file = std::fs::read(desk.path(base)).unwrap();
    let at = file.windows(11).position(|w| w == b"kijiti.card").unwrap() + 11 + 4 + 8;
    assert_eq!(&file[at..at + 5], b"draft");
    file[at] = b'D';
    std::fs::write(desk.path("again.gguf"), file).unwrap();
    "again.gguf".to_owned()
}

#[test]
fn an_adapter_speaks_in_its_base_s_place_waits_where_that_does_not_run_and_is_recalled_alone() {
    let desk = Desk::enrolled();
    let [base, adapter] = base_and_adapter(&desk);
    let other = again(&desk, &base);
    let draft = ["ministry", "release", "draft", "--out", "draft.json"];
    let alone = ["--module", "triage-lakeside", "--file", &adapter];
    desk.run("clinic", &[&draft[..], &alone].concat());
    let said = checked(&desk);
    assert!(said.contains("draft it with --base FILE"), "{said}");
    desk.run("clinic", &[&draft[..], &alone, &["--base", &base]].concat());
    let said = checked(&desk);
    assert!(said.contains("is no release that is listed"), "{said}");

    let of_no_adapter = ["--module", "triage-model", "--file", &base, "--base", &base];
    let (code, said) = desk.fails("clinic", &[&draft[..], &of_no_adapter].concat());
    assert!(code == 2 && said.contains("--delta-from"), "{said}");

    let state = |module: &str| {
        let listed = desk.json("clinic", &["model", "list"])["releases"].clone();
        let mut all = listed.as_array().unwrap().iter();
        all.find(|r| r["module"] == module).unwrap()["state"].clone()
    };
    let cough = "age_months = 20\ncough_or_difficult = \"yes\"\n";
    let model = || desk.judged(cough)["model"].as_str().unwrap().to_owned();
    desk.publish(&base, "triage-model", &[]);
    desk.publish(&adapter, "triage-lakeside", &["--base", &base]);
    let runs = desk.running(&["triage-lakeside", "triage-model"]);
    let kinds: Vec<_> = runs.iter().map(|m| m["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["adapter", "triage"]);
    let with = model();
    assert!(
        with.starts_with("triage-model version 1, ")
            && with.contains(" with triage-lakeside version 1, ")
            && !with.contains(';'),
        "the base does not speak beside its adapter: {with}"
    );
    let mother = desk.judged("age_years = 20\ngestation_weeks = 20\n");
    assert!(
        mother["model"]
            .as_str()
            .unwrap()
            .contains("triage-model version 1")
    );
    assert_eq!(state("triage-lakeside"), "active");

    // Another base, of the same shape: what was made for the first says nothing, and says so.
    desk.publish(&other, "triage-model", &[]);
    desk.ok("clinic", &["model", "verify", "triage-model"]);
    assert!(model().starts_with("triage-model version 2, ") && !model().contains("with"));
    assert_eq!(state("triage-lakeside"), "waits_for_base");
    desk.recall("triage-model");
    assert!(
        model().contains(" with triage-lakeside version 1, "),
        "{}",
        model()
    );
    assert_eq!(state("triage-lakeside"), "active");

    desk.recall("triage-lakeside");
    desk.running(&["triage-model"]);
    assert!(model().starts_with("triage-model version 1, ") && !model().contains("with"));
}

/// A fresh reader's: what was announced while its base was being switched on was tried with what ran
/// before, and waited until the phone was started again.
#[test]
fn an_adapter_that_comes_with_its_base_runs_without_a_restart() {
    use node::api::Request;
    let desk = common::with_worker();
    let [base, adapter] = base_and_adapter(&desk);
    desk.publish(&base, "triage-model", &[]);
    desk.publish(&adapter, "triage-lakeside", &["--base", &base]);
    let [clinic, worker] = ["clinic", "worker"].map(|phone| desk.start(phone));
    let meet = Request::Meet {
        peer: clinic.id(),
        address: clinic.addresses()[0].to_string(),
    };
    worker.request(meet, &mut |_| {}).unwrap();
    let runs = || {
        let list = worker.request(Request::ModelList, &mut |_| {}).unwrap();
        let list = list.view().to_json().unwrap();
        let active = list["active"].as_array().unwrap().clone();
        active.iter().filter(|m| !m["current"].is_null()).count()
    };
    for _ in 0..600 {
        if runs() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(runs(), 2);
    clinic.stop();
    worker.stop();
}

/// A drawing as a file, twelve times as large as the reader looks at it.
fn drawn(desk: &Desk, subject: &str, reading: &str) -> String {
    use inference::pictures::subject_named;
    use inference::vision::SIDE;
    let found = (0..600u64).map(|n| teach::see::nth(4, n)).find(|drawn| {
        let named = drawn.subject.map(|at| inference::pictures::SUBJECTS[at]);
        let right = |s: &inference::pictures::Subject| s.readings[drawn.reading] == reading;
        let clear = drawn.taken.blur == 0 && (0.8..1.15).contains(&drawn.taken.light);
        clear && named.as_ref() == subject_named(subject) && named.as_ref().is_some_and(right)
    });
    let small = found.unwrap().picture.bytes().to_vec();
    let times = 4;
    let pixels = (0..SIDE * times * SIDE * times).flat_map(|at| {
        let (x, y) = (at % (SIDE * times) / times, at / (SIDE * times) / times);
        small[(y * SIDE + x) * 3..][..3].to_vec()
    });
    let name = format!("{subject}.png");
    let file = std::fs::File::create(desk.path(&name)).unwrap();
    let size = (SIDE * times) as u32;
    let mut encoder = png::Encoder::new(file, size, size);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_image_data(&pixels.collect::<Vec<u8>>())
        .unwrap();
    name
}

/// Off until a ministry releases it, said with every word to be no proof, recalled like anything else.
#[test]
fn photographs_are_read_where_a_reader_was_released_and_nowhere_else() {
    let desk = Desk::enrolled();
    let test = drawn(&desk, "rapid_test", "positive");
    let findings = desk.write("findings.toml", "age_months = 20\nfever = \"yes\"\n");
    let said = |of: &str| {
        let photo = format!("{of}={test}");
        let triage = ["triage", "--findings", &findings, "--photo", &photo];
        let out = desk.run("clinic", &triage);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let before = said("rapid_test");
    assert!(
        before.contains("no reader of pictures runs on this phone"),
        "{before}"
    );

    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let reader = format!("{models}/vision-reference.gguf");
    desk.publish(&reader, "pictures", &[]);
    let runs = desk.running(&["pictures"]);
    assert_eq!(runs[0]["kind"], "vision");
    let shown = desk.ok("clinic", &["model", "show", "pictures"]);
    assert!(shown.contains("NOT CLINICALLY VALIDATED"), "{shown}");
    let read = said("rapid_test");
    assert!(
        read.contains("seems to show, of rapid test: positive")
            && read.contains("not clinically validated"),
        "{read}"
    );
    let other = said("eye");
    assert!(other.contains("nothing is read from it"), "{other}");
    let (code, wrong) = desk.fails(
        "clinic",
        &["triage", "--findings", &findings, "--photo", "hand=x.png"],
    );
    assert!(code == 2 && wrong.contains("rapid_test"), "{wrong}");

    desk.recall("pictures");
    desk.running(&[]);
    assert!(said("rapid_test").contains("no reader of pictures runs"));
}

/// A word beside the picture's own: what it is of is typed as people type it.
#[test]
fn what_a_photo_is_of_is_read_however_it_is_typed_and_a_case_s_photo_is_said_to_be_no_proof() {
    let desk = Desk::enrolled();
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    desk.publish(&format!("{models}/vision-reference.gguf"), "pictures", &[]);
    desk.running(&["pictures"]);
    let test = drawn(&desk, "rapid_test", "negative");
    let consents = ["--consent", "care,photo"];
    let case = common::new_case(&desk, "clinic", &consents);
    for of in ["rapid_test", "Rapid test", "rapid-test"] {
        let out = desk.run("clinic", &["case", "photo", &case, &test, "--shows", of]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            said.contains("of rapid test: negative") && said.contains("not clinically validated"),
            "{of}: {said}"
        );
    }
}
