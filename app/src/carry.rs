//! `kijiti carry`: sealed cases and releases by card, by folder, or as an attachment; and the folder
//! that a running phone watches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use node::api::Request;
use node::api::views::carry::{CarriedIn, CarriedOut, PassedOver, Why};
use node::api::views::status::Status;

use crate::Failure;
use crate::cli::CarryCommand;
use crate::run::{Phone, absolute};
use crate::show::{size, wrapped};

/// How often a watched folder is looked at.
const LOOKS_EVERY: Duration = Duration::from_secs(10);
/// How often what is new on the phone is put there, though nothing came.
const GIVES_EVERY: u32 = 30;

/// Runs one of the commands.
pub fn run(phone: &Phone, command: CarryCommand) -> Result<(), Failure> {
    match command {
        CarryCommand::Out { to } => {
            let to = absolute(&to)?;
            phone.shown(Request::CarryOut { to }, given)
        }
        CarryCommand::In { from } => {
            let single = from.is_file();
            let from = absolute(&from)?;
            let came: CarriedIn = phone.ask(Request::CarryIn { from })?;
            phone.show(&came, taken)?;
            match came.passed_over.first() {
                Some(refused) if single && came == nothing_but(&came) => Err(Failure::new(
                    format!(
                        "nothing of {} was taken in: {}",
                        one_line(&refused.file),
                        why(&refused.why)
                    ),
                    "name a file or a folder that `kijiti carry out` wrote",
                )
                .with_code(5)),
                _ => Ok(()),
            }
        }
    }
}

/// What came, if nothing did but files that were passed over.
fn nothing_but(came: &CarriedIn) -> CarriedIn {
    CarriedIn {
        passed_over: came.passed_over.clone(),
        ..CarriedIn::default()
    }
}

/// A file's name, whatever its owner has put into it, on one line.
fn one_line(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().map(shown).collect()
}

fn given(out: &CarriedOut) {
    let parts = [
        counted(
            out.envelopes,
            "sealed change of cases",
            "sealed changes of cases",
        ),
        counted(out.photos, "sealed photo", "sealed photos"),
        counted(out.bundles, "release", "releases"),
    ];
    match list(&parts) {
        Some(parts) => println!("put there: {parts} ({})", size(out.bytes)),
        None if out.bytes > 0 => println!("put there: papers ({})", size(out.bytes)),
        None => println!("nothing new to put there: it has all that this phone holds"),
    }
    if out.there > 0 {
        println!("{} sealed changes were there already", out.there);
    }
    if out.waiting > 0 {
        let why = "wait on this phone for consent or a key, and were not put there";
        wrapped(&format!("{} changes of cases {why}", out.waiting), 0);
    }
    passed_over(&out.passed_over);
}

fn taken(taken: &CarriedIn) {
    let parts = [
        counted(
            taken.envelopes,
            "sealed change of cases",
            "sealed changes of cases",
        ),
        counted(
            taken.documents,
            "paper of the ministry's",
            "papers of the ministry's",
        ),
        counted(taken.photos, "sealed photo", "sealed photos"),
        counted(taken.bundles, "release", "releases"),
    ];
    match list(&parts) {
        Some(parts) => println!("taken in: {parts}"),
        None if taken.parcels == 0 && taken.passed_over.is_empty() => println!(
            "nothing of kijiti's was found there: name the card itself, or a file that `kijiti carry out` wrote"
        ),
        None => println!("nothing new there for this phone"),
    }
    if !taken.cases.is_empty() {
        println!("cases that are new or have changed: {}", taken.cases.len());
    }
    if taken.not_for_us > 0 {
        let why = "not this area's, or not signed by anybody that this phone knows";
        wrapped(
            &format!(
                "{} there are nothing for this phone: {why}",
                taken.not_for_us
            ),
            0,
        );
    }
    passed_over(&taken.passed_over);
}

fn counted(count: u64, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    }
}

fn list(parts: &[Option<String>]) -> Option<String> {
    let said: Vec<_> = parts.iter().flatten().map(String::as_str).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// Files that were passed over, and what to do.
fn passed_over(files: &[PassedOver]) {
    for file in files.iter().take(SHOWN_MAX) {
        let name = one_line(&file.file);
        wrapped(&format!("passed over {name}: {}", why(&file.why)), 0);
    }
    if files.len() > SHOWN_MAX {
        println!("and {} more", files.len() - SHOWN_MAX);
    }
}

/// Files that are named as passed over.
const SHOWN_MAX: usize = 20;

fn why(why: &Why) -> String {
    match why {
        Why::NotAParcel => "it is something else than kijiti writes".to_owned(),
        Why::Later => "a newer kijiti wrote it: update this one".to_owned(),
        Why::Unopened => "it is another ministry's, or damaged where it begins".to_owned(),
        Why::Cut => "it was cut short: write it again with `kijiti carry out`, or send it again".to_owned(),
        Why::TooMany => "there are too many files: carry in again once some are gone".to_owned(),
        Why::InTheWay => "something else lies where it should be: take that away".to_owned(),
        Why::TooLong => "it is longer than any file that kijiti writes".to_owned(),
        Why::Damaged(parts) => format!(
            "{parts} of its parts are damaged or cut off, the others were read; `kijiti carry out` of a phone that holds them puts them there again"
        ),
        Why::Unreadable(why) => why.clone(),
        Why::NotWhatItSays => {
            "what it holds is not what its name says; `kijiti carry out` of a phone that has it mends it".to_owned()
        }
        Why::TooLongForCard => "it is longer than a card's file may be (4 GB)".to_owned(),
    }
}

/// What a watched folder looked like: names, sizes, times.
type Seen = BTreeSet<(PathBuf, u64, Option<SystemTime>)>;

fn seen(folder: &Path) -> Seen {
    let within = ["", "kijiti/cases", "kijiti/photos", "kijiti/bundles"];
    // Of other people's files beside there may be any number.
    let ours = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy().to_lowercase();
        name.contains(".kijiti") || name.parse::<protocol::Digest>().is_ok()
    };
    let files = within
        .iter()
        .filter_map(|under| std::fs::read_dir(folder.join(under)).ok())
        .flatten()
        .flatten()
        .filter(|file| ours(&file.file_name()));
    let said = files.filter_map(|file| {
        let there = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((file.path(), there.len(), there.modified().ok()))
    });
    said.take(protocol::limits::FOLDER_FILES_MAX).collect()
}

/// Watches a folder beside a running phone: what appears there is taken in, and what is new here is put
/// there, once somebody has carried something out to it.
pub fn watch(phone: Phone, folder: PathBuf) {
    let work = move || {
        let (mut last, mut quiet, mut said) = (None, GIVES_EVERY, String::new());
        let log = crate::say::log();
        loop {
            // What lies there is looked at again when it has changed, when this phone may read more than before,
            // and when the last try came to nothing.
            let now = Some((seen(&folder), may(&phone)));
            quiet += 1;
            if now != last || quiet >= GIVES_EVERY {
                quiet = 0;
                let (line, now) = match both_ways(&phone, &folder, now != last) {
                    Ok(line) => (line, now),
                    Err(failure) => (failure.to_string(), None),
                };
                if !line.is_empty() && line != said {
                    log(&format!("{}: {line}", folder.display()));
                }
                said = line;
                last = now; // what came meanwhile, from here too, is looked at next time
            }
            std::thread::sleep(LOOKS_EVERY);
        }
    };
    let _ = std::thread::Builder::new()
        .name("folder".into())
        .spawn(work);
}

/// What this phone may read and carry, as far as that makes a folder worth another look.
fn may(phone: &Phone) -> Option<(Option<String>, usize, Option<u64>)> {
    let status: Status = phone.ask(Request::Status).ok()?;
    Some((status.name, status.spaces.len(), status.release_list))
}

fn both_ways(phone: &Phone, folder: &Path, changed: bool) -> Result<String, Failure> {
    if !folder.is_dir() {
        return Ok("not there now; it is watched for".to_owned());
    }
    let path = absolute(folder)?;
    let mut said = Vec::new();
    if changed {
        let taken: CarriedIn = phone.ask(Request::CarryIn { from: path.clone() })?;
        if taken.envelopes + taken.bundles + taken.photos + taken.documents > 0 {
            said.push(format!(
                "took in {} sealed changes, {} photos, {} releases",
                taken.envelopes, taken.photos, taken.bundles
            ));
        }
        if !taken.passed_over.is_empty() {
            let hint = "`kijiti carry in` says why";
            said.push(format!(
                "{} files passed over ({hint})",
                taken.passed_over.len()
            ));
        }
    }
    if folder.join("kijiti").is_dir() {
        let given: CarriedOut = phone.ask(Request::CarryOut { to: path })?;
        if given.bytes > 0 && given.envelopes + given.photos + given.bundles == 0 {
            said.push("put there papers of the ministry's and receipts".to_owned());
        } else if given.bytes > 0 {
            said.push(format!(
                "put there {} sealed changes, {} photos, {} releases",
                given.envelopes, given.photos, given.bundles
            ));
        }
    }
    if !folder.join("kijiti").is_dir() && said.is_empty() {
        said.push("nothing is put there until `kijiti carry out` has been, once".to_owned());
    }
    Ok(said.join("; "))
}
