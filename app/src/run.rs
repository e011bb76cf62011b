//! From words to requests, and from answers to what is shown.

use std::io::Read;
use std::path::{Path, PathBuf};

use clinical::Profile;
use node::api::views;
use node::api::views::case::PictureSays;
use node::api::views::meetings::Meeting;
use node::api::views::releases::{Active, Releases, Verified};
use node::api::views::status::{BackedUp, Done, Status};
use node::api::{Refusal, Reply, Request, RequestId, VisitOf};
use node::host::folder::key_is_sealed;
use node::host::links::bluetooth::Channels;
use node::host::{BluetoothOptions, DataFolder, Host, HostOptions, WifiOptions, ask};
use protocol::DeviceId;
use serde::Serialize;

use crate::Failure;
use crate::cli::{
    BluetoothChannels, Cli, Command, LinkKind, ModelCommand, ProfileArg, RadioArgs, SimCommand,
};
use crate::{
    ask as terminal, carry, cases, demo, doctor, enrol, hotspot, ministry, passphrase, say, show,
    simulate,
};

/// Bytes read of a findings file; longer ones are refused by their reader.
const FINDINGS_BYTES_MAX: u64 = 1024 * 1024;

/// Does what was asked.
pub fn run(cli: Cli) -> Result<(), Failure> {
    show::by_calendar(cli.calendar.map(Into::into));
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
            folder,
            radios,
        } => start(phone, (listen, folder), !no_discovery, &radios),
        Command::Status => phone.shown::<Status>(Request::Status, show::status),
        Command::Meetings => phone.shown(Request::Meetings, show::meetings),
        Command::Quota { megabytes } => {
            let bytes = megabytes.saturating_mul(1_000_000);
            phone.shown(Request::Quota { bytes }, |_: &Done| match megabytes {
                0 => println!("bundles may take all the space there is"),
                some => println!("bundles may take {some} MB; what runs, and what no other phone has, always stays"),
            })
        }
        Command::CarryQuota { megabytes } => {
            let bytes = megabytes.saturating_mul(1_000_000);
            phone.shown(Request::CarryQuota { bytes }, |_: &Done| match megabytes {
                0 => println!("sealed cases are carried without a limit"),
                some => println!("above {some} MB, what has reached its readers makes room; what has not always stays"),
            })
        }
        Command::Carry { command } => carry::run(&phone, command),
        Command::Backup { to } => backup(&phone, &to),
        Command::Restore { from } => restore(&phone, &from),
        Command::Check { repair } => check(&phone, repair),
        Command::Passphrase { remove } => seal(&phone, remove),
        Command::Ministry { command } => ministry::run(&phone, command),
        Command::Enrol { command } => enrol::run(&phone, command),
        Command::Case { command } => cases::run(&phone, command),
        Command::Triage {
            findings,
            photos,
            profile,
        } => triage(&phone, (findings.as_deref(), &photos), profile.into()),
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
        Command::Hotspot { join, interface } => hotspot::run(join.as_deref(), interface.as_deref()),
        Command::Doctor {
            watch: true,
            every,
            lines,
        } => doctor::watch(&phone, every, lines),
        Command::Doctor { .. } => doctor::run(&phone.folder, cli.json),
        Command::Completions { shell } => completions(shell),
    }
}

/// Prints what completes the command's words in a shell.
fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut command = <crate::cli::Cli as clap::CommandFactory>::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "kijiti", &mut script);
    crate::say::script(&String::from_utf8_lossy(&script));
    Ok(())
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

/// The phone's folder, by a name that is the same wherever a program that answers stands.
fn data_folder(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = || home.map(|home| Path::new(&home).join(".kijiti"));
    let folder = given.filter(|given| !given.as_os_str().is_empty());
    let usage = |e: String| Failure::new(e, "say where with --data FOLDER").with_code(2);
    let folder = folder
        .or_else(home)
        .ok_or_else(|| usage("no home folder".into()))?;
    std::path::absolute(folder).map_err(|e| usage(e.to_string()))
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
    phone.must_be_there()?;
    let folder = DataFolder::open_waiting(&phone.folder)?.with_secret(phone.secret.clone());
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
    phone.shown(request, |b: &BackedUp| {
        println!("copied {} to {}", show::size(b.bytes), to.display())
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
    phone.show(&restored, show::restored)
}

fn check(phone: &Phone, repair: bool) -> Result<(), Failure> {
    let checked = node::host::repair::check(&phone.folder, phone.secret.clone(), repair)?;
    phone.show(&checked, show::checked)?;
    let sound = checked.store_sound && checked.damaged.is_empty();
    match sound || checked.repaired {
        true => Ok(()),
        false => Err(Failure::new(
            "something of this phone is damaged",
            "`kijiti check --repair` mends it as far as that can be done; nothing is thrown away",
        )),
    }
}

/// Assesses without keeping anything; where there is no phone, by what is built in, and no phone is begun.
fn triage(
    phone: &Phone,
    asked: (Option<&Path>, &[String]),
    profile: Profile,
) -> Result<(), Failure> {
    if phone.exists() {
        return triage_on(phone, asked, profile);
    }
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(|e| Failure::new(e, "restart"))?;
    let digits: String = number.iter().map(|b| format!("{b:02x}")).collect();
    let nobody = Phone {
        folder: std::env::temp_dir().join(format!("kijiti-{digits}")),
        secret: None,
        json: phone.json,
    };
    drop(DataFolder::open(&nobody.folder)?.keys()?);
    let done = triage_on(&nobody, asked, profile);
    let _ = std::fs::remove_dir_all(&nobody.folder);
    done
}

fn triage_on(
    phone: &Phone,
    (file, photos): (Option<&Path>, &[String]),
    profile: Profile,
) -> Result<(), Failure> {
    let of = VisitOf::Triage;
    let findings = match file {
        Some(file) => with_photos(phone, findings_file(file)?, photos)?,
        None => terminal::file_of(&terminal::findings(&terminal::Sitting {
            of,
            profile,
            request: request_number()?,
            area: None,
            born: None,
            ask: &|request| phone.reply(request),
        })?)?,
    };
    phone.shown(Request::Triage { findings, profile }, show::assessment)?;
    match file {
        None => phone.reply(Request::VisitEnd { of }).map(drop),
        Some(_) => Ok(()),
    }
}

/// A findings file with what photographs were read as; one that cannot be read adds nothing.
fn with_photos(phone: &Phone, file: String, photos: &[String]) -> Result<String, Failure> {
    let mut file = file;
    for photo in photos {
        let wrong = || {
            let how = "write what it is of and its file: --photo eye=FILE (rapid_test, slide, muac_tape, eye, mouth, skin)";
            Failure::new(format!("{photo:?} is no photograph"), how).with_code(2)
        };
        let (of, path) = photo.split_once('=').ok_or_else(wrong)?;
        let known = inference::pictures::subject_named(of).ok_or_else(wrong)?;
        let looked = cases::look(phone, &absolute(Path::new(path))?, of)?;
        if !looked.quality.advice.is_empty() {
            eprintln!("note: nothing is read from a photo like this: take it again");
        } else if looked.seen.is_none() {
            eprintln!(
                "note: no reader of pictures runs on this phone, so the photo is not read (kijiti model list)"
            );
        }
        let Some(PictureSays::Reads { word, .. }) = looked.seen.map(|seen| seen.said) else {
            continue;
        };
        let name = format!("{}{}", inference::pictures::PREFIX, known.name);
        // Names and words are of a list: nothing in them ends a string.
        file = match file.trim_start().strip_prefix('{') {
            Some(rest) if rest.trim() == "}" => format!("{{\"{name}\": \"{word}\"}}"),
            Some(rest) => format!("{{\"{name}\": \"{word}\", {rest}"),
            None => format!("\"{name}\" = \"{word}\"\n{file}"),
        };
    }
    Ok(file)
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
    /// Whether somebody has begun one in this folder.
    pub fn exists(&self) -> bool {
        node::host::folder::is_begun(&self.folder)
    }

    /// Refuses where there is none.
    pub fn must_be_there(&self) -> Result<(), Failure> {
        match self.exists() {
            true => Ok(()),
            false => Err(Refusal::NoPhone(self.folder.display().to_string()).into()),
        }
    }

    /// Asks it.
    pub fn ask<R>(&self, request: Request) -> Result<R, Failure>
    where
        R: TryFrom<Reply, Error = Refusal>,
    {
        Ok(self.reply(request)?.try_into()?)
    }

    /// Asks it, whatever the answer is.
    pub fn reply(&self, request: Request) -> Result<Reply, Failure> {
        let bar = show::MeetingBar::default();
        let secret = self.secret.as_deref();
        let answer = ask(&self.folder, secret, request, &mut |p| match self.json {
            true => {} // what is said beside the answer is JSON, too
            false => bar.update(p),
        });
        bar.clear();
        Ok(answer?)
    }

    /// A phone by its id, by the beginning of it, or by its name where this one knows it.
    pub fn named(&self, who: &str) -> Result<DeviceId, Failure> {
        if let Ok(device) = who.trim().parse() {
            return Ok(device);
        }
        let found: views::status::Phone = self.ask(Request::FindPhone {
            who: who.to_owned(),
        })?;
        Ok(found.device)
    }

    /// Asks it, and shows the answer.
    pub fn shown<R>(&self, request: Request, shower: impl FnOnce(&R)) -> Result<(), Failure>
    where
        R: TryFrom<Reply, Error = Refusal> + Serialize,
    {
        self.show(&self.ask(request)?, shower)
    }

    /// Shows an answer: as JSON if that was asked for.
    pub fn show<R: Serialize>(&self, answer: &R, shower: impl FnOnce(&R)) -> Result<(), Failure> {
        if !self.json {
            shower(answer);
            return Ok(());
        }
        let text = serde_json::to_string_pretty(answer).map_err(|e| Failure::new(e, ""))?;
        say::json(&text);
        Ok(())
    }
}

/// A file of findings.
pub fn findings_file(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let opened: std::io::Result<Box<dyn Read>> = match path.as_os_str() == "-" {
        true => Ok(Box::new(std::io::stdin())),
        false => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let limited = opened.map(|file| file.take(FINDINGS_BYTES_MAX));
    let read = limited.and_then(|mut file| file.read_to_string(&mut text));
    read.map(|_| text).map_err(|e| {
        let reason = format!("cannot read {}: {e}", path.display());
        Failure::new(reason, "pass a text file, JSON or TOML").with_code(2)
    })
}

/// A fresh number for a request, so that asking again after a crash does nothing twice.
pub fn request_number() -> Result<RequestId, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
    Ok(RequestId(bytes))
}

/// The phone that answers may run in another folder.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|e| Failure::new(e, "write a file's name").with_code(2))?;
    Ok(absolute.display().to_string())
}

fn start(
    phone: Phone,
    (listen, watched): (Option<std::net::SocketAddr>, Option<PathBuf>),
    discover: bool,
    radios: &RadioArgs,
) -> Result<(), Failure> {
    let folder = DataFolder::open_waiting(&phone.folder)?.with_secret(phone.secret.clone());
    let bluetooth = radios.links.contains(&LinkKind::Bluetooth) && discover;
    let wifi = radios.links.contains(&LinkKind::WifiDirect) && discover;
    let options = HostOptions {
        listen,
        offline: false,
        discover,
        bluetooth: bluetooth.then(|| BluetoothOptions {
            channels: match radios.bluetooth {
                BluetoothChannels::Any => Channels::Any,
                BluetoothChannels::L2cap => Channels::L2cap,
                BluetoothChannels::Gatt => Channels::Gatt,
            },
            adapter: radios.adapter.clone(),
        }),
        wifi: wifi.then(|| WifiOptions {
            interface: radios.wifi_interface.clone(),
        }),
        no_ip: !radios.links.contains(&LinkKind::Ip) && !wifi,
        control: true,
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
    if let Some(folder) = watched {
        carry::watch(phone, folder);
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
    let peer = phone.named(peer)?;
    let bar = show::MeetingBar::default();
    let request = Request::Meet {
        peer,
        address: address.to_owned(),
    };
    let secret = phone.secret.as_deref();
    let answer = ask(&phone.folder, secret, request, &mut |p| bar.update(p));
    bar.finish();
    let meeting: Meeting = answer?.try_into()?;
    phone.show(&meeting, show::meeting)
}

fn run_model(phone: &Phone, command: ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::List => phone.shown::<Releases>(Request::ModelList, show::model_list),
        ModelCommand::Show { module } => {
            phone.shown(Request::ModelShow { module }, |m: &Active| {
                println!("{} version {}, {}", m.module, m.version, m.digest);
                show::checks(&m.checks);
                show::wrapped(m.card.as_deref().unwrap_or_default(), 2);
            })
        }
        ModelCommand::Verify { module } => {
            phone.shown(Request::ModelVerify { module }, |m: &Verified| {
                println!("{} version {} holds:", m.module, m.version);
                show::checks(&m.checks);
            })
        }
        ModelCommand::Back { module } => {
            phone.shown(Request::ModelBack { module }, |m: &Active| {
                println!("{} is back at version {}", m.module, m.version);
            })
        }
    }
}
