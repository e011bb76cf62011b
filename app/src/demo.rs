//! `kijiti demo`: the whole road, on this machine, with real parts. Four processes of this program
//! on loopback, each with its own folder, key, SQLite file and endpoint; this one only tells them
//! what a person would, and shows what they say.

use std::path::{Path, PathBuf};

use clinical::{Assessment, Profile, Urgency};
use distribution::ReleaseList;
use node::api::views::case::{Case, CaseNew};
use node::api::views::cases::Cases;
use node::api::views::meetings::Meeting;
use node::api::views::releases::{Releases, Verified};
use node::api::views::status::{Documents, EnrolRequest, Enrolment, Granted};
use node::api::{DecisionInput, Refusal, Reply, Request};
use node::host::{DataFolder, rogue};
use protocol::DeviceKeys;
use protocol::signed::Signed;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::DemoArgs;
use crate::enrol::{accept, enrolment_file};
use crate::ministry::{self, area_of};
use crate::run::request_number;
use crate::show;
use crate::words::shown as words;
use desk::draft::{self, NewRelease};
use desk::enrol::EnrolmentDesk;
use desk::files::{EnrolmentFile, RootFile, from_text, read, to_text};
use desk::keys::{self, Ceremony};
use desk::sign::{self, Signer};

pub mod process;

use process::{Killer, Phone, Phones};

const EXAMPLE: &str = include_str!("../examples/severe-pneumonia.toml");
const DISTRICT: &str = "north/kilifi";
const VILLAGE: &str = "north/kilifi/mtwapa";
const MODULE: &str = "triage-model";
/// Words of the example that no courier may be able to read.
const SECRETS: [&str; 3] = ["Amina Kazungu", "chest pulling in", "chest_indrawing"];

struct Demo {
    folder: PathBuf,
    ministry: Phone,
    supervisor: Phone,
    worker: Phone,
    clinic: Phone,
    keys: PathBuf,
}

/// Shows the road.
pub fn run(args: &DemoArgs, json: bool) -> Result<(), Failure> {
    let (folder, _lock) = prepare(args.dir.as_deref())?;
    let phones = Phones::new(&folder);
    let demo = Demo {
        keys: folder.join("ministry-keys"),
        ministry: phones.phone("ministry"),
        supervisor: phones.phone("supervisor"),
        worker: phones.phone("worker"),
        clinic: phones.phone("clinic"),
        folder,
    };
    let all = vec![
        demo.ministry.clone(),
        demo.supervisor.clone(),
        demo.worker.clone(),
        demo.clinic.clone(),
    ];
    let killer = Killer::begin(all.clone(), args.kills, args.seed);
    let result = demo.show();
    killer.stop();
    let summary = result.and_then(|()| demo.summary());
    all.iter().for_each(Phone::stop);
    let mut summary = summary?;
    if let Some(object) = summary.as_object_mut() {
        object.insert("kills".into(), json!(killer.kills()));
    }
    if json {
        crate::say::json(&format!("{summary:#}"));
        return Ok(());
    }
    demo.say_summary(&summary);
    Ok(())
}

/// A folder for the show, emptied; another one if a show is running there.
fn prepare(dir: Option<&Path>) -> Result<(PathBuf, DataFolder), Failure> {
    let name = |i: u32| {
        if i == 0 {
            "kijiti-demo".to_owned()
        } else {
            format!("kijiti-demo-{i}")
        }
    };
    let choices = match dir {
        Some(dir) => vec![dir.to_owned()],
        None => (0..20)
            .map(|i| std::env::temp_dir().join(name(i)))
            .collect(),
    };
    let mut last = None;
    for folder in choices {
        let fresh = !folder.exists() || folder.join("lock").exists() || is_empty(&folder);
        if !fresh {
            let hint = "choose an empty folder with --dir";
            last = Some(Failure::new(
                format!("{} holds other things", folder.display()),
                hint,
            ));
            continue;
        }
        match DataFolder::open(&folder) {
            Ok(lock) => {
                for part in [
                    "ministry-keys",
                    "ministry",
                    "supervisor",
                    "worker",
                    "clinic",
                    "handouts",
                ] {
                    let _ = std::fs::remove_dir_all(folder.join(part));
                }
                return Ok((folder, lock));
            }
            Err(failure) => last = Some(Failure::from(failure)),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new("no folder for the demo", "choose one with --dir")))
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn head(title: &str) {
    eprintln!();
    eprintln!(
        "── {title} {}",
        "─".repeat(74usize.saturating_sub(title.chars().count()))
    );
}

/// A sentence of the show, broken at words. On standard error: standard output is for data.
fn say(sentence: &str) {
    let mut line = String::new();
    for word in sentence.split_whitespace() {
        if line.chars().count() + word.chars().count() > 76 {
            eprintln!("  {}", line.trim_end());
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    eprintln!("  {}", line.trim_end());
}

impl Demo {
    fn show(&self) -> Result<(), Failure> {
        self.set_up()?;
        let old_list = self.publish()?;
        self.carry_out()?;
        self.activate()?;
        self.attack(&old_list)?;
        let case = self.assess()?;
        self.carry_back(&case)?;
        self.return_decision(&case)
    }

    fn set_up(&self) -> Result<(), Failure> {
        head("Four phones");
        for phone in [&self.ministry, &self.supervisor, &self.worker, &self.clinic] {
            phone.start()?;
        }
        say("Four processes run on loopback, each with its own key, SQLite file and endpoint.");
        keys::hold(
            &self.keys,
            &ceremony(),
            &|| passphrase(Path::new("")),
            false,
        )?;
        say("The ministry has made three keys, two of which must sign, and its root.");
        self.enrol_by_ministry(&self.ministry, "Ministry desk", "all", "carry", "")?;
        self.enrol_by_ministry(
            &self.supervisor,
            "Supervisor Juma",
            DISTRICT,
            "carry,enrol",
            "carry,read,write",
        )?;
        self.enrol_by_ministry(
            &self.clinic,
            "Clinic Kilifi",
            DISTRICT,
            "carry,read,write,grant",
            "",
        )?;
        self.clinic.have(Request::SpaceCreate {
            area: area_of(DISTRICT)?,
        })?;
        self.enrol_worker()?;
        say(
            "Enrolled: the supervisor (may carry and enrol, may not read), the clinic (reads, writes, grants), and, certified \
             by the supervisor, the worker (reads and writes). The clinic has granted the worker the key of its space.",
        );
        let first = self.sign_and_publish(None)?;
        drop(first);
        Ok(())
    }

    /// Files that people in the show pass around.
    fn handouts(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("handouts");
        std::fs::create_dir_all(&folder).map_err(|e| Failure::new(e, "check the free space"))?;
        Ok(folder)
    }

    fn enrol_by_ministry(
        &self,
        phone: &Phone,
        name: &str,
        area: &str,
        rights: &str,
        passes: &str,
    ) -> Result<(), Failure> {
        let request: EnrolRequest = phone.ask(Request::EnrolRequest { name: name.into() })?;
        let request = from_text("request", &request.request)?;
        let signing = EnrolmentDesk::open(&self.keys, None, &passphrase)?.certify(
            &request,
            area,
            (rights, passes),
            None,
        )?;
        self.accept(phone, signing.done()?)
    }

    fn accept(&self, phone: &Phone, file: EnrolmentFile) -> Result<(), Failure> {
        phone.have(accept(file))
    }

    fn enrol_worker(&self) -> Result<(), Failure> {
        let request: EnrolRequest = self.worker.ask(Request::EnrolRequest {
            name: "Worker Neema".into(),
        })?;
        let answer: Enrolment = self.supervisor.ask(Request::EnrolSign {
            request: request.request,
            name: None,
            area: area_of(VILLAGE)?,
            rights: "carry,read,write".into(),
            passes_on: String::new(),
            valid_days: None,
        })?;
        let granted: Granted = self.clinic.ask(Request::SpaceGrant {
            area: area_of(DISTRICT)?,
            chain: answer.chain.clone(),
        })?;
        let mut file = enrolment_file(answer);
        file.grants
            .push((granted.grant, granted.issuer.unwrap_or_default()));
        self.accept(&self.worker, file)
    }

    /// Drafts, signs with two of three keys, and publishes on the ministry's phone. Returns the
    /// list that was current before.
    fn sign_and_publish(&self, bundle: Option<&Path>) -> Result<String, Failure> {
        let held = ministry::held_trust(&self.ministry.ask(Request::Documents)?)?;
        let before = held.list().map(|l| to_text(l.signed())).unwrap_or_default();
        let new = bundle.map(|file| NewRelease {
            file,
            module: MODULE,
            kind: None,
            version: None,
            area: "all",
            language: "und",
            notes: "reference model, not clinically validated",
            delta_from: &[],
            bases: &[],
            beside: Path::new("unused"),
            stage: None,
            lineage: None,
        });
        let mut draft = draft::draft(Some(&held), new.as_ref(), None)?;
        for key in keys::load_keys(&self.keys, "key", &passphrase)?
            .into_iter()
            .take(2)
        {
            sign::sign(&mut draft, &Signer::Key(key))?;
        }
        for request in ministry::publish_requests(&draft) {
            self.ministry.have(request)?;
        }
        Ok(before)
    }

    fn publish(&self) -> Result<String, Failure> {
        head("The ministry publishes the reference model");
        let bundle = self.handouts()?.join("triage-reference.gguf");
        std::fs::write(&bundle, crate::REFERENCE_MODEL)
            .map_err(|e| Failure::new(e, "check the free space"))?;
        let old_list = self.sign_and_publish(Some(&bundle))?;
        let releases: Releases = self.ministry.ask(Request::ModelList)?;
        for release in &releases.releases {
            say(&format!(
                "Release list {}: {} version {}, {}, digest {}, signed by two of three keys.",
                releases.release_list.unwrap_or_default(),
                release.module,
                release.version,
                show::size(release.bytes),
                release.digest.to_string().get(..16).unwrap_or_default()
            ));
        }
        Ok(old_list)
    }

    fn meet(&self, caller: &Phone, other: &Phone) -> Result<Meeting, Failure> {
        let bar = show::MeetingBar::default();
        let meeting = caller.meet(other, &mut |p| bar.update(p));
        bar.finish();
        let meeting = meeting?;
        say(&format!(
            "{} met {}: {} of releases and {} sealed changes taken, {} sealed changes given, {} over the link.",
            caller.name,
            other.name,
            show::size(meeting.bundle_bytes_taken),
            meeting.envelopes_taken,
            meeting.envelopes_sent,
            show::size(meeting.bytes_sent + meeting.bytes_received)
        ));
        Ok(meeting)
    }

    fn carry_out(&self) -> Result<(), Failure> {
        head("The supervisor meets the ministry, then rides away");
        self.meet(&self.supervisor, &self.ministry)?;
        self.ministry.stop();
        say("The ministry is out of reach from here on: its process is stopped.");
        Ok(())
    }

    fn activate(&self) -> Result<(), Failure> {
        head("The worker meets the supervisor");
        self.meet(&self.worker, &self.supervisor)?;
        let model = self.model_runs()?;
        say(&format!(
            "The worker's phone checked, in this order, and activated version {}:",
            model.version
        ));
        for check in &model.checks {
            say(&format!("✓ {}", words::check(check)));
        }
        Ok(())
    }

    /// Waits until the worker's phone runs the release. The self-test runs beside the meeting; and a
    /// release over which the phone was killed twice has to wait until it has been up for a while.
    fn model_runs(&self) -> Result<Verified, Failure> {
        let began = std::time::Instant::now();
        let module = MODULE.to_owned();
        loop {
            let asked = self.worker.ask(Request::ModelVerify {
                module: module.clone(),
            });
            match asked {
                Err(_) if began.elapsed().as_secs() < 60 => {
                    std::thread::sleep(std::time::Duration::from_millis(30));
                }
                answer => return answer,
            }
        }
    }

    /// Asks the worker's phone while it runs the release: a phone that was killed is asked again
    /// only when it runs once more, so what it says is the same however often that was.
    fn ask_with_model<R>(&self, request: &Request) -> Result<R, Failure>
    where
        R: TryFrom<Reply, Error = Refusal>,
    {
        let mut last = None;
        for _ in 0..process::TRIES {
            self.model_runs()?;
            match self.worker.ask_once(request, &mut |_| {}) {
                Err(failure) if failure.gone => last = Some(failure),
                answer => return Ok(R::try_from(answer?)?),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("no answer", "")))
    }

    fn attack(&self, old_list: &str) -> Result<(), Failure> {
        head("A stranger offers a forged release and a rolled-back list");
        let root: RootFile = read(&self.keys.join("root.json"), "kijiti.root/1")?;
        let root: Signed<distribution::Root> = from_text("root", &root.root)?;
        let list = || held_list(&self.worker.ask(Request::Documents)?);
        let genuine = list()?
            .ok_or_else(|| Failure::new("the worker holds no list", "run the demo again"))?;
        let mut forged = genuine.read().map_err(|e| Failure::new(e, ""))?;
        forged.version += 1;
        for release in &mut forged.releases {
            release.version += 1;
            release.digest = protocol::Digest::of(b"a model that calls everything green");
        }
        // One real key has been stolen; the threshold is two, and the stranger's own keys do not
        // count.
        let stolen = keys::load_keys(&self.keys, "key", &passphrase)?;
        let mut forgery = Signed::by(&forged, &DeviceKeys::from_seed([66; 32]));
        stolen
            .iter()
            .take(1)
            .for_each(|key| forgery.add_signature(key));
        let rollback: Signed<ReleaseList> = from_text("old list", old_list)?;
        for (what, list) in [
            ("A forged list, signed with one stolen key", forgery),
            ("The list from before", rollback),
        ] {
            let reason = self.offer(root.digest(), &list)?;
            say(&format!("{what} → refused: {reason}."));
        }
        if list()?.map(|l| l.digest()) != Some(genuine.digest()) {
            return Err(Failure::new(
                "the worker's list has changed under attack",
                "this is a fault of kijiti: report it",
            ));
        }
        say("The worker's phone is as it was before.");
        Ok(())
    }

    /// Offers a list to the worker as a stranger would; the reason that comes back.
    fn offer(
        &self,
        ministry: protocol::Digest,
        list: &Signed<ReleaseList>,
    ) -> Result<String, Failure> {
        let mut last = None;
        for _ in 0..100 {
            let (peer, address) = self.worker.address()?;
            let address = address.parse().map_err(|e| Failure::new(e, ""))?;
            match rogue::offer_list(peer, address, ministry, list.to_bytes()) {
                Ok(reason) => return Ok(reason),
                Err(failure) => last = Some(Failure::from(failure)),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("the worker was never reached", "")))
    }

    fn assess(&self) -> Result<String, Failure> {
        head("The worker sees a child of 11 months");
        let findings = self.handouts()?.join("severe-pneumonia.toml");
        std::fs::write(&findings, EXAMPLE).map_err(|e| Failure::new(e, "check the free space"))?;
        say(&format!("Findings: {}", findings.display()));
        let created: CaseNew = self.ask_with_model(&Request::CaseNew {
            findings: EXAMPLE.into(),
            profile: Profile::Iccm,
            head: vec![
                ("patient.name".into(), "Amina Kazungu".into()),
                ("patient.village".into(), "Mtwapa".into()),
            ],
            consent: vec![("care".into(), true), ("share".into(), true)],
            area: None,
            decision: None,
            request: request_number()?,
        })?;
        let case = created.case.to_string();
        let shown = created.assessment.filter(|a| a.urgency == Urgency::Pink);
        let assessment = shown.ok_or_else(|| {
            let hint = "this is a fault of kijiti: report it";
            Failure::new("the example was not pink", hint)
        })?;
        say_assessment(&assessment);
        let decision = DecisionInput {
            urgency: Urgency::Pink,
            plan: "First dose of amoxicillin, refer to Kilifi".into(),
            reason: String::new(),
        };
        self.decide(&self.worker, &case, decision)?;
        say(&format!(
            "The worker decides: pink, first dose and referral. Case {} is sealed.",
            case.get(..8).unwrap_or_default()
        ));
        Ok(case)
    }

    fn decide(&self, phone: &Phone, case: &str, decision: DecisionInput) -> Result<(), Failure> {
        phone.have(Request::CaseDecide {
            case: case.into(),
            decision,
            request: request_number()?,
        })
    }

    fn carry_back(&self, case: &str) -> Result<(), Failure> {
        head("The supervisor carries the sealed case to the clinic");
        self.meet(&self.supervisor, &self.worker)?;
        let carried: Cases = self.supervisor.ask(Request::all_cases())?;
        for sealed in &carried.sealed {
            say(&format!(
                "On the supervisor's phone: {} sealed changes ({}), {} cases that it can read.",
                sealed.envelopes,
                show::size(sealed.bytes),
                carried.cases.len()
            ));
        }
        match words_in(&self.supervisor.folder) {
            None => say("None of the patient's words is anywhere in the supervisor's data folder."),
            Some(word) => {
                let reason = format!("the courier's folder contains {word:?}");
                return Err(Failure::new(reason, "this is a fault of kijiti: report it"));
            }
        }
        self.meet(&self.supervisor, &self.clinic)?;
        let seen: Case = self.clinic.ask(Request::CaseShow { case: case.into() })?;
        say(&format!(
            "The clinic opens case {}: {} findings, urgency {}.",
            case.get(..8).unwrap_or_default(),
            seen.findings.len(),
            seen.urgency.map_or("unknown", Urgency::name)
        ));
        let plan = "Admitted with oxygen; see the child again on day 3".to_owned();
        self.decide(
            &self.clinic,
            case,
            DecisionInput {
                urgency: Urgency::Pink,
                plan,
                reason: String::new(),
            },
        )?;
        say("The clinic adds its decision: admitted with oxygen.");
        Ok(())
    }

    fn return_decision(&self, case: &str) -> Result<(), Failure> {
        head("On the next round the answer comes back");
        self.meet(&self.supervisor, &self.clinic)?;
        self.meet(&self.worker, &self.supervisor)?;
        let seen: Case = self.worker.ask(Request::CaseShow { case: case.into() })?;
        for decision in &seen.decisions {
            say(&format!(
                "On the worker's phone: {} — {}",
                decision.urgency.name(),
                decision.plan
            ));
        }
        Ok(())
    }

    /// The state at the end, the same however often a phone was killed on the way.
    fn summary(&self) -> Result<Value, Failure> {
        let case_of = |phone: &Phone| -> Result<(Value, usize), Failure> {
            let cases: Cases = phone.ask(Request::all_cases())?;
            let id = cases
                .cases
                .first()
                .map(|c| c.case.to_string())
                .unwrap_or_default();
            let case: Case = phone.ask(Request::CaseShow { case: id })?;
            let mut value = serde_json::to_value(&case).map_err(|e| Failure::new(e, ""))?;
            forget_who_and_when(&mut value);
            Ok((value, case.decisions.len()))
        };
        let ((worker, decisions), (clinic, _)) = (case_of(&self.worker)?, case_of(&self.clinic)?);
        self.model_runs()?;
        let models: Releases = self.worker.ask(Request::ModelList)?;
        let sealed: Cases = self.supervisor.ask(Request::all_cases())?;
        let carried = sealed.sealed.first().map_or(0, |s| s.envelopes);
        if worker != clinic || decisions != 2 {
            return Err(Failure::new(
                "worker and clinic do not hold the same case",
                "this is a fault of kijiti: report it",
            ));
        }
        Ok(json!({
            "schema": "kijiti.demo/1",
            "data": self.folder.display().to_string(),
            "state": {
                "release_list": models.release_list,
                "active": models.active,
                "case": worker,
                "sealed_on_courier": carried,
                "readable_on_courier": sealed.cases.len(),
            },
        }))
    }

    fn say_summary(&self, summary: &Value) {
        head("What happened");
        let state = summary.get("state").cloned().unwrap_or_default();
        let count = |name: &str| state.get(name).and_then(Value::as_u64).unwrap_or(0);
        say(&format!(
            "One release out: list {}, verified and active in the village. One case back: worker and clinic hold the same case \
             with {} decisions; the courier holds {} sealed changes and can read {} cases. Two attacks refused.",
            count("release_list"),
            state
                .pointer("/case/decisions")
                .and_then(Value::as_array)
                .map_or(0, Vec::len),
            count("sealed_on_courier"),
            count("readable_on_courier"),
        ));
        let kills = summary.get("kills").and_then(Value::as_u64).unwrap_or(0);
        if kills > 0 {
            say(&format!(
                "{kills} times a phone was killed on the way and started again."
            ));
        }
        println!(
            "The data of the four phones lies in {}",
            self.folder.display()
        );
        println!(
            "Look around: kijiti --data {}/worker case list",
            self.folder.display()
        );
    }
}

/// What the worker sees.
fn say_assessment(assessment: &Assessment) {
    say(&format!(
        "{} — the worker sees:",
        show::urgency(Some(assessment.urgency))
    ));
    for fired in assessment
        .fired
        .iter()
        .filter(|o| o.urgency != Urgency::Green)
    {
        let because = fired.findings.iter();
        let because: Vec<_> = because
            .map(|(name, value)| format!("{} = {}", name.replace('_', " "), value.spoken()))
            .collect();
        say(&format!(
            "· {} [{}]: {}",
            fired.class,
            fired.source,
            because.join(", ")
        ));
    }
    for open in assessment
        .not_ruled_out
        .iter()
        .filter(|o| o.rule == "C1-oxygen")
    {
        say(&format!(
            "· the oxygen saturation is unknown, which is not normal: {} is not ruled out",
            open.class
        ));
    }
    let opinion = assessment.model_opinion.iter();
    for ranked in opinion.flat_map(|o| &o.differential).take(3) {
        let percent = ranked.probability * 100.0;
        say(&format!(
            "· model: {} {percent:.0} % (ICD-11 {})",
            ranked.name, ranked.icd11
        ));
    }
}

/// Takes out what differs from run to run: ids, authors, times.
fn forget_who_and_when(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for key in [
                "said",
                "case",
                "sealed",
                "held_by",
                "reached",
                "changed",
                "by_their_clock",
            ] {
                object.remove(key);
            }
            object.values_mut().for_each(forget_who_and_when);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_who_and_when),
        _ => {}
    }
}

/// The first of the patient's words found in any file of a folder, compressed or not being no
/// excuse.
fn words_in(folder: &Path) -> Option<&'static str> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // The reference model knows the names of findings and is no secret.
            if path.parent().is_some_and(|p| p.ends_with("bundles")) {
                continue;
            }
            let bytes = std::fs::read(path).unwrap_or_default();
            let found = SECRETS
                .into_iter()
                .find(|word| bytes.windows(word.len()).any(|w| w == word.as_bytes()));
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The passphrase of the demo's keys: known to everyone.
fn passphrase(_: &Path) -> Result<String, desk::Refusal> {
    Ok("a demo guards nothing".to_owned())
}

/// The release list that a phone holds.
fn held_list(answer: &Documents) -> Result<Option<Signed<ReleaseList>>, Failure> {
    match ministry::held_trust(answer) {
        Ok(trust) => Ok(trust.list().map(|l| l.signed().clone())),
        Err(_) => Ok(None),
    }
}

/// The demo's ministry.
fn ceremony() -> Ceremony<'static> {
    Ceremony {
        keys: 3,
        threshold: 2,
        recall_keys: 1,
        enrol_keys: 1,
        enrol_threshold: 1,
        name: "Ministry of Health",
        tokens: &[],
        work_factor: Some(10),
    }
}
