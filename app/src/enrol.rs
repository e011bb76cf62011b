//! `kijiti enrol`: certificates for phones, and the keys of spaces.

use std::path::{Path, PathBuf};

use desk::enrol::{EnrolmentDesk, Signing, certificates_of};
use desk::files::{
    Either, EnrolDraftFile, EnrolmentFile, RequestFile, from_text, read, read_either, unhex, write,
};
use distribution::TrustedState;
use node::api::Request;
use node::api::views::status::{
    Certificates, Code, Done, EnrolRequest, Enrolment, Granted, Retired, SetAside, Status,
};
use protocol::Chain;
use protocol::certificate::CertificateRequest;
use protocol::limits::CERTIFICATE_DAYS;
use protocol::signed::Signed;

use crate::cli::EnrolCommand;
use crate::codes::draw;
use crate::ministry::{self, area_of};
use crate::run::Phone;
use crate::words::desk as words;
use crate::{Failure, passphrase, show};

/// What a file of a request, or of an answer, says of itself.
const REQUEST: &str = "kijiti.enrol-request/1";
const ANSWER: &str = "kijiti.enrolment/1";

/// Does what was asked.
pub fn run(phone: &Phone, command: EnrolCommand) -> Result<(), Failure> {
    match command {
        EnrolCommand::Request { name, out, qr } => request(phone, name, &out, qr),
        EnrolCommand::Sign {
            request,
            area,
            rights,
            passes_on,
            valid_days,
            ministry,
            clock_is_right,
            out,
            qr,
        } => {
            let terms = (area, rights, passes_on, valid_days);
            let keys = ministry.map(|folder| (folder, clock_is_right));
            let signing = sign_file(phone, &request, keys, terms)?;
            hand_back(signing, &out, qr)
        }
        EnrolCommand::Renew {
            ministry,
            all,
            without,
            valid_days,
            clock_is_right,
            out,
        } => {
            let held = held_trust(phone)?;
            let desk = EnrolmentDesk::open(&ministry, held, &passphrase::of_file)?;
            clock_is_right_for(&desk, clock_is_right)?;
            let valid_days = Some(valid_days).filter(|days| *days > 0);
            renew(phone, &desk, (all, &without), valid_days, out.as_deref())
        }
        EnrolCommand::Accept { answer } => {
            match read_either::<EnrolmentFile, EnrolDraftFile>(&answer, (ANSWER, EnrolDraftFile::SCHEMA))? {
                Either::One(file) => phone.shown::<Status>(accept(file), show::status),
                Either::Other(_) => Err(Failure::new(
                    "this is a draft: another key must sign it before it certifies anybody",
                    "take it to the next desk: `kijiti enrol sign DRAFT --ministry FOLDER --out ANSWER`",
                )
                .with_code(5)),
            }
        }
        EnrolCommand::Grant {
            certificates,
            area,
            out,
            qr,
        } => grant(phone, &certificates, &area, &out, qr),
        other => keep(phone, other),
    }
}

/// What those do who keep a space.
fn keep(phone: &Phone, command: EnrolCommand) -> Result<(), Failure> {
    match command {
        EnrolCommand::Space { area } => {
            let area = area_of(&area)?;
            phone.shown(Request::SpaceCreate { area }, |a: &Done| match a.changed {
                true => println!("the space is begun"),
                false => println!("the space was there already"),
            })
        }
        EnrolCommand::Rotate { area, without } => {
            let area = area_of(&area)?;
            let without = without
                .iter()
                .map(|who| phone.named(who))
                .collect::<Result<Vec<_>, _>>()?;
            let shown = format!("the space of {area} has a new key");
            phone.shown(Request::SpaceRotate { area, without }, |_: &Done| {
                println!("{shown}; couriers carry it to its members");
            })
        }
        EnrolCommand::Lease { area, days } => {
            let area = area_of(&area)?;
            let keys = format!("the keys of {area}");
            phone.shown(Request::SpaceLease { area, days }, |_: &Done| match days {
                0 => println!("{keys} have no end from now on"),
                some => println!("phones lock {keys} away after {some} days of use"),
            })
        }
        EnrolCommand::Unlock { code, area } => {
            let area = area_of(&area)?;
            let shown = format!("the space of {area} is unlocked");
            phone.shown(Request::SpaceUnlock { area, code }, |_: &Done| {
                println!("{shown}")
            })
        }
        EnrolCommand::UnlockCode { device, area } => {
            let (area, device) = (area_of(&area)?, phone.named(&device)?);
            let request = Request::UnlockCode { area, device };
            phone.shown(request, |a: &Code| println!("{}", a.code))
        }
        EnrolCommand::Revoke {
            device,
            area,
            reason,
        } => {
            let (area, device) = (area_of(&area)?, phone.named(&device)?);
            let request = Request::Revoke {
                area,
                device,
                reason,
            };
            phone.shown(request, |_: &Done| {
                let met = "it is met no more, and its spaces get new keys at their clinics";
                println!("phone {} is lost: {met}", device.short());
            })
        }
        EnrolCommand::Countersign { envelopes, show } => countersign(phone, &envelopes, show),
        EnrolCommand::Retire { area, keep_days } => {
            let area = area_of(&area)?;
            phone.shown(Request::SpaceRetire { area, keep_days }, |a: &Retired| {
                let gone = a.cases_gone;
                println!("{gone} closed cases are gone for good; others follow as the word spreads");
                if keep_days > 0 {
                    let from = &a.counted_from;
                    println!(
                        "days counted back from {from}, the newest time that the ministry has signed"
                    );
                }
            })
        }
        EnrolCommand::Request { .. }
        | EnrolCommand::Sign { .. }
        | EnrolCommand::Renew { .. }
        | EnrolCommand::Accept { .. }
        | EnrolCommand::Grant { .. } => Ok(()),
    }
}

fn request(phone: &Phone, name: String, out: &Path, qr: bool) -> Result<(), Failure> {
    let answer: EnrolRequest = phone.ask(Request::EnrolRequest { name })?;
    let file = RequestFile {
        schema: REQUEST.into(),
        device: answer.device.to_string(),
        request: answer.request,
    };
    write(out, &file)?;
    let next = "have it signed, then `kijiti enrol accept` the answer";
    crate::say::wrote(out, next);
    if qr { draw(&file) } else { Ok(()) }
}

/// What a phone is certified for.
struct Terms {
    area: String,
    rights: String,
    passes_on: String,
    valid_days: Option<u64>,
}

/// Certifies a phone by the ministry's keys in a folder.
fn certify(
    phone: &Phone,
    folder: &Path,
    file: &RequestFile,
    terms: &Terms,
    clock_is_right: bool,
) -> Result<Signing, Failure> {
    let request: Signed<CertificateRequest> = from_text("request", &file.request)?;
    let asks = request
        .read()
        .map_err(|e| Failure::new(e, "ask for the request again"))?;
    let days = terms
        .valid_days
        .map_or("without an end".to_owned(), |days| {
            format!("for {days} days")
        });
    // What is to be signed is said before anybody is asked for a passphrase.
    eprintln!(
        "this certifies phone {} ({}) for {}: {}, {days}",
        asks.name,
        asks.device.short(),
        terms.area,
        terms.rights
    );
    let desk = EnrolmentDesk::open(folder, held_trust(phone)?, &passphrase::of_file)?;
    clock_is_right_for(&desk, clock_is_right)?;
    let rights = (terms.rights.as_str(), terms.passes_on.as_str());
    Ok(desk.certify(&request, &terms.area, rights, terms.valid_days)?)
}

/// Signs a request, or a draft of another desk's.
fn sign_file(
    phone: &Phone,
    request: &Path,
    keys: Option<(PathBuf, bool)>,
    (area, rights, passes_on, valid_days): (
        Option<String>,
        Option<String>,
        Option<String>,
        Option<u64>,
    ),
) -> Result<Signing, Failure> {
    let usage = |why: &str, hint: &str| Err(Failure::new(why, hint).with_code(2));
    match (
        read_either(request, (REQUEST, EnrolDraftFile::SCHEMA))?,
        area,
    ) {
        (Either::One(file), Some(area)) => {
            let terms = Terms {
                area,
                rights: rights.unwrap_or_else(|| "carry,read,write".into()),
                passes_on: passes_on.unwrap_or_default(),
                valid_days: Some(valid_days.unwrap_or(CERTIFICATE_DAYS)).filter(|days| *days > 0),
            };
            match keys {
                Some((folder, clock)) => certify(phone, &folder, &file, &terms, clock),
                None => Ok(Signing::Done(sign(phone, file, terms)?)),
            }
        }
        (Either::One(_), None) => usage(
            "say where the certificate holds",
            "for example --area north/kilifi/mtwapa",
        ),
        (Either::Other(_), area)
            if area.is_some()
                || rights.is_some()
                || passes_on.is_some()
                || valid_days.is_some() =>
        {
            usage(
                "a draft says itself where it holds, what for and for how long",
                "leave that out; to certify it otherwise, begin with its request",
            )
        }
        (Either::Other(draft), _) => match keys {
            Some((folder, clock)) => sign_draft(phone, &folder, &draft, clock),
            None => usage(
                "a draft is signed with the ministry's keys",
                "say where they are: --ministry FOLDER",
            ),
        },
    }
}

/// Writes an answer, or what goes on to the next desk.
fn hand_back(signing: Signing, out: &Path, qr: bool) -> Result<(), Failure> {
    match signing {
        Signing::Done(answer) => {
            write(out, &answer)?;
            let next = match (&answer.chain, answer.certificates.len()) {
                (Some(_), _) => "give it back to the phone".to_owned(),
                (None, count) => shown_by_phones(count),
            };
            crate::say::wrote(out, &next);
            if qr { draw(&answer) } else { Ok(()) }
        }
        Signing::GoesOn { file, have, needed } => {
            write(out, &file)?;
            crate::say::wrote(out, &words::goes_on(out, have, needed));
            if qr { draw(&file) } else { Ok(()) }
        }
    }
}

/// Signs a draft of another desk's; what it certifies is said before anybody is asked for a passphrase.
fn sign_draft(
    phone: &Phone,
    folder: &Path,
    draft: &EnrolDraftFile,
    clock_is_right: bool,
) -> Result<Signing, Failure> {
    for signed in certificates_of(draft)? {
        let (certificate, signatures) = (signed.read(), signed.signers().count());
        let certificate = certificate.map_err(|e| Failure::new(e, "ask for the file again"))?;
        eprintln!("{}", words::certifies(&certificate, signatures));
    }
    let desk = EnrolmentDesk::open(folder, held_trust(phone)?, &passphrase::of_file)?;
    clock_is_right_for(&desk, clock_is_right)?;
    Ok(desk.sign_draft(draft)?)
}

fn shown_by_phones(count: usize) -> String {
    format!("phones that `enrol accept` it show {count} their certificates")
}

/// Certifies a phone by this one.
fn sign(phone: &Phone, file: RequestFile, terms: Terms) -> Result<EnrolmentFile, Failure> {
    let answer: Enrolment = phone.ask(Request::EnrolSign {
        request: file.request,
        name: None,
        area: area_of(&terms.area)?,
        rights: terms.rights,
        passes_on: terms.passes_on,
        valid_days: terms.valid_days,
    })?;
    Ok(enrolment_file(answer))
}

/// An answer as a file.
pub fn enrolment_file(answer: Enrolment) -> EnrolmentFile {
    EnrolmentFile {
        schema: ANSWER.into(),
        roots: answer.roots,
        chain: Some(answer.chain),
        grants: answer.grants,
        certificates: Vec::new(),
    }
}

fn grant(
    phone: &Phone,
    certificates: &Path,
    area: &str,
    out: &Path,
    qr: bool,
) -> Result<(), Failure> {
    let file: EnrolmentFile = read(certificates, ANSWER)?;
    let Some(chain) = file.chain else {
        let hint = "pass the answer file of the phone";
        return Err(Failure::new("no certificates in the file", hint).with_code(2));
    };
    let area = area_of(area)?;
    let granted: Granted = phone.ask(Request::SpaceGrant { area, chain })?;
    let file = EnrolmentFile {
        schema: ANSWER.into(),
        roots: Vec::new(),
        chain: None,
        grants: vec![(granted.grant, granted.issuer.unwrap_or_default())],
        certificates: Vec::new(),
    };
    write(out, &file)?;
    let next = "give it to the phone it is for, or let couriers carry it there";
    crate::say::wrote(out, next);
    if qr { draw(&file) } else { Ok(()) }
}

fn countersign(phone: &Phone, envelopes: &[String], show: bool) -> Result<(), Failure> {
    let envelope = |text: &String| {
        text.parse().map_err(|e| {
            Failure::new(e, "write ids as `kijiti --json status` shows them").with_code(2)
        })
    };
    let envelopes = envelopes
        .iter()
        .map(envelope)
        .collect::<Result<Vec<_>, Failure>>()?;
    let request = Request::Countersign { envelopes, show };
    match show {
        true => phone.shown::<SetAside>(request, show::set_aside),
        false => phone.shown(request, |a: &Done| match a.changed {
            true => println!(
                "countersigned: what was set aside is in its cases now, here and wherever it comes"
            ),
            false => println!("nothing waits to be countersigned here"),
        }),
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
    let answer: Certificates = phone.ask(Request::Certificates)?;
    let bytes = answer
        .chains
        .iter()
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
            .map(|who| phone.named(who))
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
        Some(out) => hand_back(desk.renew(&due, valid_days)?, out, false)?,
    }
    Ok(())
}
