//! From words to requests, and from answers to what is shown.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::Profile;
use node::host::{DataFolder, DecisionInput, Failure, Host, HostOptions, Request, ask};
use serde_json::Value;

use crate::cli::{
    BenchCommand, CaseCommand, Cli, Command, DecisionArgs, EnrolCommand, ModelCommand, ProfileArg, SimCommand,
};
use crate::files::{EnrolmentFile, RequestFile, from_text, read, write};
use crate::{ask as terminal, bench, demo, desk, doctor, enrol, show, simulate, train};

/// Bytes read of a findings file; longer ones are refused by their reader.
const FINDINGS_BYTES_MAX: u64 = 1024 * 1024;

/// Does what was asked.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let phone = Phone { folder: data_folder(cli.data)?, json: cli.json };
    match cli.command {
        Command::Demo(args) => demo::run(&args, cli.json),
        Command::Start { listen, no_discovery } => start(&phone, listen, !no_discovery),
        Command::Status => phone.shown(Request::Status, show::status),
        Command::Quota { megabytes } => {
            let bytes = megabytes.saturating_mul(1_000_000);
            phone.shown(Request::Quota { bytes }, |_| match megabytes {
                0 => println!("bundles may take all the space there is"),
                some => println!("bundles may take {some} MB; what runs, and what no other phone has, always stays"),
            })
        }
        Command::Ministry { command } => desk::run(&phone, command),
        Command::Enrol { command } => run_enrol(&phone, command),
        Command::Case { command } => run_case(&phone, command),
        Command::Triage { findings, profile } => {
            let findings = phone.findings(findings.as_deref(), profile.into())?;
            phone.shown(Request::Triage { findings, profile: profile.into() }, show::assessment)
        }
        Command::Meet { who } => meet(&phone, &who),
        Command::Model { command } => run_model(&phone, command),
        Command::Mirror { command } => crate::mirror::run(&phone, command),
        Command::Sim { command: SimCommand::Run { scenario, phones, seed, twice } } => {
            simulate::run(&scenario, phones, seed, twice, cli.json)
        }
        Command::Bench { command: BenchCommand::Link { shaped: true, .. } } => bench::link::shaped(cli.json),
        Command::Bench { command: BenchCommand::Link { megabytes, rounds, blobs, .. } } => {
            bench::link::loopback(megabytes, rounds, blobs.as_deref(), cli.json)
        }
        Command::Bench { command: BenchCommand::Room { phones, megabytes, rate } } => {
            bench::room::run(phones, megabytes, rate, cli.json)
        }
        Command::Bench { command: BenchCommand::Delta { hidden, steps, seed, keep } } => {
            bench::delta::run(hidden, steps, seed, keep.as_deref(), cli.json)
        }
        Command::Bench { command: BenchCommand::Couriers { megabytes, cuts, kills, seed } } => {
            bench::couriers::run(megabytes, bench::couriers::Harm { cuts, kills, seed }, cli.json)
        }
        Command::Bench { command: BenchCommand::Reconcile { cases, seed } } => {
            bench::reconcile::run(cases, seed, cli.json)
        }
        Command::Bench { command: BenchCommand::Ask { request } } => bench::ask(&phone.folder, &request),
        Command::Bench { command: BenchCommand::BareReceiver { listen } } => bench::link::bare_receiver(listen),
        Command::Bench { command: BenchCommand::BareSender { id, address, bytes, listen } } => {
            bench::link::bare_sender(&id, &address, bytes, listen)
        }
        Command::Doctor => doctor::run(&phone.folder, cli.json),
    }
}

impl From<ProfileArg> for Profile {
    fn from(arg: ProfileArg) -> Self {
        match arg {
            ProfileArg::Iccm => Profile::Iccm,
            ProfileArg::Imci => Profile::Imci,
        }
    }
}

fn data_folder(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".kijiti"));
    given.or_else(home).ok_or_else(|| Failure::new("no home folder", "say where with --data FOLDER").with_code(2))
}

/// The phone that a command is for.
#[derive(Debug)]
pub struct Phone {
    /// Its data folder.
    pub folder: PathBuf,
    json: bool,
}

impl Phone {
    /// Asks it.
    pub fn ask(&self, request: Request) -> Result<Value, Failure> {
        ask(&self.folder, request, &mut |_| {})
    }

    /// Asks it, and shows the answer.
    pub fn shown(&self, request: Request, shower: impl FnOnce(&Value)) -> Result<(), Failure> {
        let answer = self.ask(request)?;
        self.show(&answer, shower);
        Ok(())
    }

    /// Shows an answer: as JSON if that was asked for.
    pub fn show(&self, answer: &Value, shower: impl FnOnce(&Value)) {
        if self.json {
            println!("{answer:#}");
        } else {
            shower(answer);
        }
    }

    fn findings(&self, file: Option<&Path>, profile: Profile) -> Result<String, Failure> {
        match file {
            Some(path) => {
                let mut text = String::new();
                let limited = std::fs::File::open(path).map(|file| file.take(FINDINGS_BYTES_MAX));
                let read = limited.and_then(|mut file| file.read_to_string(&mut text));
                read.map(|_| text).map_err(|e| {
                    let reason = format!("cannot read {}: {e}", path.display());
                    Failure::new(reason, "pass a text file, JSON or TOML").with_code(2)
                })
            }
            None => terminal::findings(&mut |infant| self.ask(Request::Questions { profile, infant })),
        }
    }
}

/// A fresh number for a request, so that asking again after a crash does nothing twice.
pub fn request_number() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
    Ok(crate::files::hex(&bytes))
}

fn start(phone: &Phone, listen: Option<std::net::SocketAddr>, discover: bool) -> Result<(), Failure> {
    let folder = DataFolder::open(&phone.folder)?;
    let options = HostOptions { listen, offline: false, discover };
    let host = Host::start(folder, options, Arc::new(|line: &str| eprintln!("{line}")))?;
    eprintln!("phone {} runs on {}; stop it with Ctrl-C", host.id().short(), phone.folder.display());
    for address in host.addresses() {
        eprintln!("listening on {address}");
    }
    host.wait_for_signal();
    eprintln!("stopping");
    host.stop();
    Ok(())
}

fn meet(phone: &Phone, who: &str) -> Result<(), Failure> {
    let Some((peer, address)) = who.split_once('@') else {
        let hint = "write DEVICE-ID@ADDRESS:PORT as `kijiti status` of the other shows it";
        return Err(Failure::new("not a phone's address", hint).with_code(2));
    };
    let bar = show::MeetingBar::default();
    let request = Request::Meet { peer: peer.to_owned(), address: address.to_owned() };
    let answer = ask(&phone.folder, request, &mut |p| bar.update(p));
    bar.finish();
    phone.show(&answer?, show::meeting);
    Ok(())
}

fn run_case(phone: &Phone, command: CaseCommand) -> Result<(), Failure> {
    match command {
        CaseCommand::New { findings, profile, patient, village, area, decision } => {
            let asked = findings.is_none();
            let findings = phone.findings(findings.as_deref(), profile.into())?;
            let patient = [("name", patient), ("village", village)];
            let patient = patient.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
            let answer = phone.ask(Request::CaseNew {
                findings,
                profile: profile.into(),
                patient,
                area,
                decision: given(&decision),
                request: request_number()?,
            })?;
            phone.show(&answer, |answer| {
                println!("case {}", show::text(answer, "case"));
                answer.get("assessment").into_iter().for_each(show::assessment);
            });
            match (decision.decide, asked) {
                (None, true) => decide_on_terminal(phone, show::text(&answer, "case")),
                (None, false) if !phone.json => {
                    let id = show::text(&answer, "case").get(..8).unwrap_or_default();
                    eprintln!("not decided yet: kijiti case decide {id} --decide COLOUR --plan \"…\"");
                    Ok(())
                }
                _ => Ok(()),
            }
        }
        CaseCommand::Decide { case, decision } => match given(&decision) {
            Some(decision) => {
                let request = request_number()?;
                phone.ask(Request::CaseDecide { case: case.clone(), decision, request })?;
                phone.shown(Request::CaseShow { case }, show::decisions)
            }
            None => decide_on_terminal(phone, &case),
        },
        CaseCommand::List => phone.shown(Request::CaseList, show::case_list),
        CaseCommand::Show { case } => phone.shown(Request::CaseShow { case }, show::case),
    }
}

fn given(args: &DecisionArgs) -> Option<DecisionInput> {
    let decision = |urgency: &String| DecisionInput {
        urgency: urgency.clone(),
        plan: args.plan.clone(),
        reason: args.reason.clone(),
    };
    args.decide.as_ref().map(decision)
}

/// Asks for a decision; nothing is preselected.
fn decide_on_terminal(phone: &Phone, case: &str) -> Result<(), Failure> {
    if !terminal::on_terminal() {
        return Err(Failure::new("no decision was given", "add --decide pink, yellow or green").with_code(2));
    }
    loop {
        let urgency = terminal::line("Your decision: pink, yellow or green?")?;
        let plan = terminal::line("What is to be done?")?;
        let reason = terminal::line("Why (needed if you decide otherwise)?")?;
        let decision = DecisionInput { urgency, plan, reason };
        let request = Request::CaseDecide { case: case.to_owned(), decision, request: request_number()? };
        match phone.ask(request) {
            Ok(_) => return phone.shown(Request::CaseShow { case: case.to_owned() }, show::decisions),
            Err(failure) if failure.code == 2 || failure.code == 5 => show::failure(&failure),
            Err(failure) => return Err(failure),
        }
    }
}

fn run_model(phone: &Phone, command: ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::List => phone.shown(Request::ModelList, show::model_list),
        ModelCommand::Show { module } => phone.shown(Request::ModelShow { module }, |m| {
            println!("{} version {}, {}", show::text(m, "module"), show::number(m, "version"), show::text(m, "digest"));
            show::checks(m);
            show::wrapped(show::text(m, "card"), 2);
        }),
        ModelCommand::Verify { module } => phone.shown(Request::ModelVerify { module }, |m| {
            println!("{} version {} holds:", show::text(m, "module"), show::number(m, "version"));
            show::checks(m);
        }),
        ModelCommand::Back { module } => phone.shown(Request::ModelBack { module }, |m| {
            println!("{} is back at version {}", show::text(m, "module"), show::number(m, "version"));
        }),
        ModelCommand::Train { out, seed, cases, epochs } => train::run(&out, seed, cases, epochs),
    }
}

fn run_enrol(phone: &Phone, command: EnrolCommand) -> Result<(), Failure> {
    match command {
        EnrolCommand::Request { name, out } => {
            let answer = phone.ask(Request::EnrolRequest { name })?;
            let file: RequestFile = serde_json::from_value(answer).map_err(|e| Failure::new(e, ""))?;
            write(&out, &file)?;
            println!("wrote {}: have it signed, then `kijiti enrol accept` the answer", out.display());
            Ok(())
        }
        EnrolCommand::Sign { request, area, rights, passes_on, ministry, out } => {
            let file: RequestFile = read(&request, "kijiti.enrol-request/1")?;
            let answer: EnrolmentFile = match ministry {
                Some(folder) => {
                    let request = from_text("the request", &file.request)?;
                    enrol::sign_as_ministry(&folder, &request, &area, &rights, &passes_on, None)?
                }
                None => {
                    let request = file.request;
                    let sign = Request::EnrolSign { request, name: None, area, rights, passes_on };
                    serde_json::from_value(phone.ask(sign)?).map_err(|e| Failure::new(e, ""))?
                }
            };
            write(&out, &answer)?;
            println!("wrote {}: give it back to phone {}", out.display(), file.device.get(..8).unwrap_or_default());
            Ok(())
        }
        EnrolCommand::Accept { answer } => {
            let file: EnrolmentFile = read(&answer, "kijiti.enrolment/1")?;
            let accept = Request::EnrolAccept { roots: file.roots, chain: file.chain, grants: file.grants };
            phone.shown(accept, show::status)
        }
        EnrolCommand::Space { area } => phone.shown(Request::SpaceCreate { area }, |a| {
            println!("{}", if show::flag(a, "created") { "the space is begun" } else { "the space was there already" });
        }),
        EnrolCommand::Grant { certificates, area, out } => {
            let file: EnrolmentFile = read(&certificates, "kijiti.enrolment/1")?;
            let Some(chain) = file.chain else {
                return Err(
                    Failure::new("no certificates in the file", "pass the answer file of the phone").with_code(2)
                );
            };
            let granted = phone.ask(Request::SpaceGrant { area, chain })?;
            let grants = vec![(show::text(&granted, "grant").to_owned(), show::text(&granted, "issuer").to_owned())];
            let file = EnrolmentFile { schema: "kijiti.enrolment/1".into(), roots: Vec::new(), chain: None, grants };
            write(&out, &file)?;
            println!("wrote {}: give it to the phone it is for", out.display());
            Ok(())
        }
    }
}
