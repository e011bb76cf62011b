//! From words to requests, and from answers to what is shown.

use std::io::Read;
use std::path::{Path, PathBuf};

use clinical::Profile;
use distribution::TrustedState;
use node::host::folder::key_is_sealed;
use node::host::{DataFolder, Host, HostOptions, Request, ask};
use protocol::Chain;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::{Cli, Command, EnrolCommand, ModelCommand, ProfileArg, SimCommand};
use crate::codes::draw;
use crate::words::desk as words;
use crate::{
    ask as terminal, cases, demo, doctor, ministry, passphrase, say, show, simulate, train,
};
use desk::enrol::EnrolmentDesk;
use desk::files::{EnrolmentFile, RequestFile, from_text, read, unhex, write};

/// Bytes read of a findings file; longer ones are refused by their reader.
const FINDINGS_BYTES_MAX: u64 = 1024 * 1024;

/// Does what was asked.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let folder = data_folder(cli.data)?;
    let secret = secret_of(&folder)?;
    let phone = Phone {
        folder,
        secret,
        json: cli.json,
    };
    match cli.command {
        Command::Demo(args) => demo::run(&args, cli.json),
        Command::Start {
            listen,
            no_discovery,
        } => start(&phone, listen, !no_discovery),
        Command::Status => phone.shown(Request::Status, show::status),
        Command::Quota { megabytes } => {
            let bytes = megabytes.saturating_mul(1_000_000);
            phone.shown(Request::Quota { bytes }, |_| match megabytes {
                0 => println!("bundles may take all the space there is"),
                some => println!("bundles may take {some} MB; what runs, and what no other phone has, always stays"),
            })
        }
        Command::CarryQuota { megabytes } => {
            let bytes = megabytes.saturating_mul(1_000_000);
            phone.shown(Request::CarryQuota { bytes }, |_| match megabytes {
                0 => println!("sealed cases are carried without a limit"),
                some => println!("above {some} MB, what has reached its readers makes room; what has not always stays"),
            })
        }
        Command::Backup { to } => backup(&phone, &to),
        Command::Restore { from } => restore(&phone, &from),
        Command::Passphrase { remove } => seal(&phone, remove),
        Command::Ministry { command } => ministry::run(&phone, command),
        Command::Enrol { command } => run_enrol(&phone, command),
        Command::Case { command } => cases::run(&phone, command),
        Command::Triage { findings, profile } => {
            let asked = findings.is_none();
            let findings = phone.findings(findings.as_deref(), profile.into())?;
            phone.shown(
                Request::Triage {
                    findings,
                    profile: profile.into(),
                },
                show::assessment,
            )?;
            if asked {
                phone.ask(Request::VisitEnd).map(drop)
            } else {
                Ok(())
            }
        }
        Command::Meet { who } => meet(&phone, &who),
        Command::Model { command } => run_model(&phone, command),
        Command::Mirror { command } => crate::mirror::run(&phone, command),
        Command::Sim {
            command:
                SimCommand::Run {
                    scenario,
                    phones,
                    seed,
                    twice,
                },
        } => simulate::run(&scenario, phones, seed, twice, cli.json),
        Command::Bench { words } => measure(&words, cli.json),
        Command::Doctor => doctor::run(&phone.folder, cli.json),
    }
}

/// Measurements are a program of their own: what they measure beside is linked into no phone.
fn measure(words: &[std::ffi::OsString], json: bool) -> Result<(), Failure> {
    let exe = std::env::current_exe().map_err(|e| Failure::new(e, ""))?;
    let program = exe.with_file_name("kijiti-bench");
    let json = json.then_some("--json");
    let ran = std::process::Command::new(&program)
        .args(words)
        .args(json)
        .status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(e) => Err(Failure::new(
            format!("cannot run {}: {e}", program.display()),
            "build it: cargo build --release -p kijiti-bench",
        )),
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
    given
        .or_else(home)
        .ok_or_else(|| Failure::new("no home folder", "say where with --data FOLDER").with_code(2))
}

/// What opens the phone's key, if it is sealed: from the environment, or asked for.
fn secret_of(folder: &Path) -> Result<Option<String>, Failure> {
    match key_is_sealed(folder) {
        false => Ok(None),
        true => Ok(Some(passphrase::ask("This phone's passphrase: ")?)),
    }
}

/// Where a new passphrase comes from when nobody can be asked.
const NEW_PASSPHRASE_VARIABLE: &str = "KIJITI_NEW_PASSPHRASE";

fn seal(phone: &Phone, remove: bool) -> Result<(), Failure> {
    let folder = DataFolder::open(&phone.folder)?.with_secret(phone.secret.clone());
    folder.keys()?;
    if remove {
        folder.seal_with(None)?;
        println!("the key lies open again: whoever has this folder can read its cases");
        return Ok(());
    }
    let fresh = match std::env::var(NEW_PASSPHRASE_VARIABLE) {
        Ok(fresh) => fresh,
        Err(_)
            if std::env::var(passphrase::PASSPHRASE_VARIABLE).is_ok() && phone.secret.is_some() =>
        {
            let hint = format!(
                "set {NEW_PASSPHRASE_VARIABLE}, or unset {} to be asked",
                passphrase::PASSPHRASE_VARIABLE
            );
            return Err(Failure::new("which passphrase is the new one?", hint).with_code(2));
        }
        Err(_) => passphrase::ask_new()?,
    };
    if fresh.chars().count() < 8 {
        return Err(Failure::new(
            "the passphrase is shorter than 8 characters",
            "choose several words",
        )
        .with_code(2));
    }
    folder.seal_with(Some(&fresh))?;
    println!("the key is sealed: cases and keys in this folder open with the passphrase only");
    Ok(())
}

fn backup(phone: &Phone, to: &Path) -> Result<(), Failure> {
    let passphrase = match key_is_sealed(&phone.folder) {
        true => None,
        // A copy lies about longer than the phone that it was made of: it is never open.
        false => Some(passphrase::ask_new()?),
    };
    let request = Request::BackUp {
        to: absolute(to)?,
        passphrase,
    };
    phone.shown(request, |b| {
        println!(
            "copied {} to {}",
            show::size(show::number(b, "bytes")),
            to.display()
        )
    })?;
    match key_is_sealed(&phone.folder) {
        true => eprintln!("it opens with this phone's passphrase"),
        false => eprintln!("it opens with the passphrase given just now"),
    }
    Ok(())
}

fn restore(phone: &Phone, from: &Path) -> Result<(), Failure> {
    let secret = match key_is_sealed(from) {
        true => Some(passphrase::ask(
            "The passphrase of the phone that was copied: ",
        )?),
        false => None,
    };
    let restored = node::host::backup::restore(from, &phone.folder, secret)?;
    let answer = json!({ "schema": "kijiti.restore/1", "device": restored.device.to_string(),
        "from": restored.from.to_string(), "cases": restored.cases, "unsent": restored.unsent });
    phone.show(&answer, show::restored);
    Ok(())
}

/// The phone that a command is for.
pub struct Phone {
    /// Its data folder.
    pub folder: PathBuf,
    secret: Option<String>,
    /// Answers are wanted as JSON.
    pub json: bool,
}

impl Phone {
    /// Asks it.
    pub fn ask(&self, request: Request) -> Result<Value, Failure> {
        Ok(ask(
            &self.folder,
            self.secret.as_deref(),
            request,
            &mut |_| {},
        )?)
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
            say::json(&format!("{answer:#}"));
        } else {
            shower(answer);
        }
    }

    /// A findings file, or the answers to questions.
    pub fn findings(&self, file: Option<&Path>, profile: Profile) -> Result<String, Failure> {
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
            None => terminal::findings(profile, &|request| self.ask(request)),
        }
    }
}

/// A fresh number for a request, so that asking again after a crash does nothing twice.
pub fn request_number() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
    Ok(desk::files::hex(&bytes))
}

/// The phone that answers may run in another folder.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|e| Failure::new(e, "write a file's name").with_code(2))?;
    Ok(absolute.display().to_string())
}

fn start(
    phone: &Phone,
    listen: Option<std::net::SocketAddr>,
    discover: bool,
) -> Result<(), Failure> {
    let folder = DataFolder::open(&phone.folder)?.with_secret(phone.secret.clone());
    let options = HostOptions {
        listen,
        offline: false,
        discover,
    };
    let mut host = Host::start(folder, options, crate::say::log())?;
    eprintln!(
        "phone {} runs on {}; stop it with Ctrl-C",
        host.id().short(),
        phone.folder.display()
    );
    for address in host.addresses() {
        eprintln!("listening on {address}");
    }
    let ended = host.wait_for_signal();
    eprintln!("stopping");
    host.stop();
    Ok(ended?)
}

fn meet(phone: &Phone, who: &str) -> Result<(), Failure> {
    let Some((peer, address)) = who.split_once('@') else {
        let hint = "write DEVICE-ID@ADDRESS:PORT as `kijiti status` of the other shows it";
        return Err(Failure::new("not a phone's address", hint).with_code(2));
    };
    let bar = show::MeetingBar::default();
    let request = Request::Meet {
        peer: peer.to_owned(),
        address: address.to_owned(),
    };
    let answer = ask(&phone.folder, phone.secret.as_deref(), request, &mut |p| {
        bar.update(p)
    });
    bar.finish();
    phone.show(&answer?, show::meeting);
    Ok(())
}

fn run_model(phone: &Phone, command: ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::List => phone.shown(Request::ModelList, show::model_list),
        ModelCommand::Show { module } => phone.shown(Request::ModelShow { module }, |m| {
            println!(
                "{} version {}, {}",
                show::text(m, "module"),
                show::number(m, "version"),
                show::text(m, "digest")
            );
            show::checks(m);
            show::wrapped(show::text(m, "card"), 2);
        }),
        ModelCommand::Verify { module } => phone.shown(Request::ModelVerify { module }, |m| {
            println!(
                "{} version {} holds:",
                show::text(m, "module"),
                show::number(m, "version")
            );
            show::checks(m);
        }),
        ModelCommand::Back { module } => phone.shown(Request::ModelBack { module }, |m| {
            println!(
                "{} is back at version {}",
                show::text(m, "module"),
                show::number(m, "version")
            );
        }),
        ModelCommand::Train {
            out,
            seed,
            cases,
            epochs,
        } => train::run(&out, seed, cases, epochs),
    }
}

/// What this phone trusts, if there is a phone here and it is enrolled.
fn held_trust(phone: &Phone) -> Result<Option<TrustedState>, Failure> {
    if !phone.folder.join("key").exists() {
        return Ok(None);
    }
    Ok(ministry::held_trust(&phone.ask(Request::Documents)?).ok())
}

/// What has a phone take an answer.
pub fn accept(file: EnrolmentFile) -> Request {
    let EnrolmentFile {
        roots,
        chain,
        grants,
        certificates,
        ..
    } = file;
    Request::EnrolAccept {
        roots,
        chain,
        grants,
        certificates,
    }
}

/// Asks about a clock that is far from the newest time that the ministry is known to have signed.
fn clock_is_right_for(desk: &EnrolmentDesk, said: bool) -> Result<(), Failure> {
    match desk.clock_is_off().filter(|_| !said) {
        None => Ok(()),
        Some(newest_s) => ministry::ask_about_clock(newest_s, "what the ministry signed last"),
    }
}

fn renew(
    phone: &Phone,
    desk: &EnrolmentDesk,
    (all, without): (bool, &[String]),
    valid_days: Option<u64>,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let answer = phone.ask(Request::Certificates)?;
    let chains = show::list(&answer, "chains")
        .iter()
        .filter_map(|chain| chain.as_str());
    let bytes = chains
        .map(|chain| unhex("certificate", chain))
        .collect::<Result<Vec<_>, _>>()?;
    let known: Vec<_> = bytes
        .iter()
        .filter_map(|bytes| Chain::from_bytes(bytes).ok())
        .collect();
    let due = desk.due(
        &known,
        all,
        &without
            .iter()
            .map(|id| ministry::key_of(id))
            .collect::<Result<Vec<_>, _>>()?,
    );
    for (renewal, _) in &due {
        println!(
            "  {}  {} for {}: {}",
            renewal.device,
            renewal.name,
            renewal.area,
            words::why(renewal.why)
        );
    }
    match out {
        _ if due.is_empty() => {
            println!("no certificate that this phone has seen is to be made anew")
        }
        None => println!(
            "{} are to be made anew: leave out whom nobody knows, and say --out FILE",
            due.len()
        ),
        Some(out) => {
            write(out, &desk.renew(&due, valid_days)?)?;
            println!(
                "wrote {}: phones that `enrol accept` it show {} their certificates",
                out.display(),
                due.len()
            );
        }
    }
    Ok(())
}

fn run_enrol(phone: &Phone, command: EnrolCommand) -> Result<(), Failure> {
    match command {
        EnrolCommand::Request { name, out, qr } => {
            let answer = phone.ask(Request::EnrolRequest { name })?;
            let file: RequestFile = serde_json::from_value(answer).map_err(|e| Failure::new(e, ""))?;
            write(&out, &file)?;
            println!("wrote {}: have it signed, then `kijiti enrol accept` the answer", out.display());
            if qr { draw(&file) } else { Ok(()) }
        }
        EnrolCommand::Sign { request, area, rights, passes_on, valid_days, ministry, clock_is_right, out, qr } => {
            let valid_days = Some(valid_days).filter(|days| *days > 0);
            let file: RequestFile = read(&request, "kijiti.enrol-request/1")?;
            let answer: EnrolmentFile = match ministry {
                Some(folder) => {
                    let request = from_text("request", &file.request)?;
                    let desk = EnrolmentDesk::open(&folder, held_trust(phone)?, &passphrase::of_file)?;
                    clock_is_right_for(&desk, clock_is_right)?;
                    desk.certify(&request, &area, (&rights, &passes_on), valid_days)?
                }
                None => {
                    let request = file.request;
                    let sign = Request::EnrolSign { request, name: None, area, rights, passes_on, valid_days };
                    serde_json::from_value(phone.ask(sign)?).map_err(|e| Failure::new(e, ""))?
                }
            };
            write(&out, &answer)?;
            println!("wrote {}: give it back to phone {}", out.display(), file.device.get(..8).unwrap_or_default());
            if qr { draw(&answer) } else { Ok(()) }
        }
        EnrolCommand::Renew { ministry, all, without, valid_days, clock_is_right, out } => {
            let desk = EnrolmentDesk::open(&ministry, held_trust(phone)?, &passphrase::of_file)?;
            clock_is_right_for(&desk, clock_is_right)?;
            renew(phone, &desk, (all, &without), Some(valid_days).filter(|days| *days > 0), out.as_deref())
        }
        EnrolCommand::Accept { answer } => {
            let file: EnrolmentFile = read(&answer, "kijiti.enrolment/1")?;
            phone.shown(accept(file), show::status)
        }
        EnrolCommand::Space { area } => phone.shown(Request::SpaceCreate { area }, |a| {
            println!("{}", if show::flag(a, "created") { "the space is begun" } else { "the space was there already" });
        }),
        EnrolCommand::Grant { certificates, area, out, qr } => {
            let file: EnrolmentFile = read(&certificates, "kijiti.enrolment/1")?;
            let Some(chain) = file.chain else {
                return Err(
                    Failure::new("no certificates in the file", "pass the answer file of the phone").with_code(2)
                );
            };
            let granted = phone.ask(Request::SpaceGrant { area, chain })?;
            let grants = vec![(show::text(&granted, "grant").to_owned(), show::text(&granted, "issuer").to_owned())];
            let file = EnrolmentFile {
                schema: "kijiti.enrolment/1".into(),
                roots: Vec::new(),
                chain: None,
                grants,
                certificates: Vec::new(),
            };
            write(&out, &file)?;
            println!("wrote {}: give it to the phone it is for, or let couriers carry it there", out.display());
            if qr { draw(&file) } else { Ok(()) }
        }
        EnrolCommand::Rotate { area, without } => phone.shown(Request::SpaceRotate { area, without }, |a| {
            println!("the space of {} has a new key; couriers carry it to its members", show::text(a, "area"));
        }),
        EnrolCommand::Lease { area, days } => phone.shown(Request::SpaceLease { area, days }, |a| match days {
            0 => println!("the keys of {} have no end from now on", show::text(a, "area")),
            some => println!("phones lock the keys of {} away after {some} days of use", show::text(a, "area")),
        }),
        EnrolCommand::Unlock { code, area } => phone.shown(Request::SpaceUnlock { area, code }, |a| {
            println!("the space of {} is unlocked", show::text(a, "area"));
        }),
        EnrolCommand::UnlockCode { device, area } => {
            phone.shown(Request::UnlockCode { area, device }, |a| println!("{}", show::text(a, "code")))
        }
        EnrolCommand::Revoke { device, area, reason } => phone.shown(Request::Revoke { area, device, reason }, |a| {
            let device = show::text(a, "revoked").get(..8).unwrap_or_default();
            println!("phone {device} is lost: it is met no more, and its spaces get new keys at their clinics");
        }),
        EnrolCommand::Countersign { envelopes, show: true } => {
            phone.shown(Request::Countersign { envelopes, show: true }, show::set_aside)
        }
        EnrolCommand::Countersign { envelopes, show } => {
            phone.shown(Request::Countersign { envelopes, show }, |a| match show::flag(a, "changed") {
                true => println!("countersigned: what was set aside is in its cases now, here and wherever it comes"),
                false => println!("nothing waits to be countersigned here"),
            })
        }
        EnrolCommand::Retire { area, keep_days } => phone.shown(Request::SpaceRetire { area, keep_days }, |a| {
            println!(
                "{} closed cases are gone for good; others follow as the word spreads",
                show::number(a, "cases_gone")
            );
            if keep_days > 0 {
                println!(
                    "days counted back from {}, the newest time that the ministry has signed",
                    show::text(a, "counted_from")
                );
            }
        }),
    }
}
