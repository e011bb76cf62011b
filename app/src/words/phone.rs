//! What a phone's refusals are to whoever reads them: what went wrong, and what to do.

use clinical::catalogue::ValueError;
use node::api::{Class, Paper, Refusal};

use super::folders;

use super::shown::{JPEG, answer, findings};
use crate::Failure;

/// What went wrong, and what to do.
pub(super) type Words = (String, String);

const ENROL_FIRST: &str = "enrol this phone first: `kijiti enrol request`";
const GO_ON: &str = "decide pink or yellow, or ask your supervisor";

pub(super) fn words(reason: impl ToString, hint: impl ToString) -> Words {
    (reason.to_string(), hint.to_string())
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.class() {
            Class::Failed => 1,
            Class::Usage => 2,
            Class::NeedsKey => 4,
            Class::Refused => 5,
        };
        let gone = matches!(refusal, Refusal::Gone(_));
        let (reason, hint) = of(&refusal);
        Self {
            gone,
            ..Self::new(reason, hint).with_code(code)
        }
    }
}

/// A refusal in words.
pub fn of(refusal: &Refusal) -> Words {
    machine(refusal)
        .or_else(|| folders::backups(refusal))
        .or_else(|| enrolment(refusal))
        .or_else(|| spaces(refusal))
        .or_else(|| releases_and_meetings(refusal))
        .or_else(|| cases(refusal))
        .or_else(|| entries(refusal))
        .or_else(|| files_of_cases(refusal))
        .unwrap_or_else(|| words(format!("{refusal:?}"), "this is a fault of the program"))
}

fn machine(refusal: &Refusal) -> Option<Words> {
    Some(match refusal {
        Refusal::Store(why) => folders::trouble(why),
        Refusal::Folder(path, why) => folders::folder(path, why),
        Refusal::Card(path, why) => folders::card(path, why),
        Refusal::InUse(path) => words(
            format!("another kijiti is running on {path}"),
            "stop it first, or choose another data folder with --data",
        ),
        Refusal::Gone(path) => words(
            format!("the kijiti that runs on {path} does not answer"),
            "it may be starting or stopping: try again in a moment",
        ),
        Refusal::Stopped => words(
            "the phone has stopped",
            "start it again with `kijiti start`",
        ),
        Refusal::WorkerDied => words(
            "the phone could not answer this and goes on",
            "this is a fault of the program: tell those who make it",
        ),
        Refusal::Busy => words("too much is asked of this phone at once", "try again"),
        Refusal::CaseMoved => words(
            "more was said of this case just now",
            "look at it again (kijiti case show), then decide",
        ),
        Refusal::Died => words(
            "the phone's own thread has died",
            "start it again; nothing that was kept is lost",
        ),
        Refusal::Nothing => words("no answer from the phone", "try again"),
        Refusal::NoRandomness(why) => words(format!("no randomness: {why}"), "restart the device"),
        Refusal::NoMachine(why) => words(why, "close other programs; is loopback up?"),
        Refusal::Installation(why) => words(why, "reinstall kijiti"),
        Refusal::KeySealed => words(
            "this phone's key is sealed with a passphrase",
            format!(
                "run it on a terminal, or set {}",
                crate::passphrase::PASSPHRASE_VARIABLE
            ),
        ),
        Refusal::KeyWrongSecret(path) => words(
            format!("wrong passphrase for {path}"),
            "type it again; nothing was changed",
        ),
        Refusal::KeyDamaged(path) => words(
            format!("the key file {path} is damaged"),
            "put it back from a copy; without it this phone must be enrolled anew in another data folder",
        ),
        Refusal::KeyMissing(path) => words(
            format!("the key of the phone in {path} is missing"),
            "put the file `key` back from a copy: without it what lies here cannot be read; nothing was changed",
        ),
        Refusal::KeyNotSealed(why) => words(format!("cannot seal the key: {why}"), "try again"),
        Refusal::Unreadable(path, why) => words(
            format!("cannot read {path}: {why}"),
            "check the name, and pass a plain file",
        ),
        Refusal::Unwritable(path, why) => {
            words(format!("cannot write {path}: {why}"), "check the folder")
        }
        Refusal::FileTooLong(path) => words(
            format!("{path} is far too long"),
            "take in fewer cases at once",
        ),
        Refusal::NotText(path) => words(
            format!("{path} is no text"),
            "an archive is read with --format archive",
        ),
        Refusal::FolderNotEmpty(path) => words(
            format!("{path} is not empty"),
            format!(
                "name a new folder, such as {}/phone; nothing was changed",
                path.trim_end_matches('/')
            ),
        ),
        Refusal::ImportStopped { taken, of, why } => {
            let (reason, hint) = self::of(why);
            words(
                format!("after {taken} of {of} patients the import stopped: {reason}"),
                format!("{hint}. The rest comes in by itself, once this phone can"),
            )
        }
        Refusal::ImportGivenUp => words(
            "a file of cases was cut off, and the rest cannot be taken in: it is damaged here, or brings this phone down",
            "import the file again, in parts if that fails: what is here is not taken twice",
        ),
        Refusal::NoPhone(path) => words(
            format!("there is no phone in {path}"),
            "check --data, and whether the card is in; a new phone begins with `kijiti enrol request`",
        ),
        _ => return None,
    })
}

fn paper(paper: Paper) -> (&'static str, &'static str) {
    match paper {
        Paper::Root => ("root", "ask for the file again"),
        Paper::Request => ("request", "ask for the request again"),
        Paper::Chain => ("certificate", "ask for the file again"),
        Paper::Grant => ("grant", "ask for the file again"),
        Paper::Document => ("document", "ask for the file again"),
        Paper::Archive => (
            "archive",
            "nothing was taken in; mend the file or its mapping, or ask for it again",
        ),
    }
}

fn enrolment(refusal: &Refusal) -> Option<Words> {
    Some(match refusal {
        Refusal::NoMinistry => words("this phone trusts no ministry yet", ENROL_FIRST),
        Refusal::OtherMinistry => words(
            "this phone already trusts another ministry",
            "use another data folder with --data",
        ),
        Refusal::RootsDoNotFollow(name, why) => words(
            format!(
                "the roots of this answer, of {name}, do not follow this phone's: {}",
                of(why).0
            ),
            "another ministry's answer? ask your own supervisor, or use another data folder with --data; nothing was changed",
        ),
        Refusal::NotTrusted(why) => words(why.to_string(), "nothing has changed"),
        Refusal::RootNotTrusted(why) => words(
            why.to_string().to_string(),
            "ask the ministry for its root file again",
        ),
        Refusal::Damaged(what, why) => {
            let (name, hint) = paper(*what);
            let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            words(format!("the {name} is damaged{why}"), hint)
        }
        Refusal::NameRefused(why) => words(why.to_string(), "choose a shorter name"),
        Refusal::NotCertified => words("this phone is not certified", ENROL_FIRST),
        Refusal::MayNotCarry => words(
            "this phone's certificate lets it neither carry nor read cases",
            "ask whoever certified it for the right to carry",
        ),
        Refusal::ChainRefused(why) => {
            words(why, "ask for a new certificate, or for the file again")
        }
        Refusal::OtherPhonesChain => words(
            "the certificate is for another phone",
            "pass the answer to the phone that made the request",
        ),
        Refusal::MayNotCertify(why) => words(
            why,
            "give fewer rights, or a smaller area, or ask someone above",
        ),
        Refusal::CertifiesPast(why) => words(
            why.to_string(),
            "give it more days, or have your own renewed",
        ),
        Refusal::GrantNotSigned(why) => words(
            format!("the grant is not signed by its issuer: {why}"),
            "ask for a new grant",
        ),
        Refusal::MayNotGrantThis => words(
            "the issuer may not grant this space",
            "ask the clinic whose space it is",
        ),
        Refusal::GrantForAnother(why) => {
            words(why, "pass the grant to the phone that it was made for")
        }
        Refusal::NotAnArea(why) => words(why, "for example north/kilifi/mtwapa"),
        Refusal::NotRights(why) => words(why, "for example --rights carry,read,write"),
        Refusal::NotListening(why) => words(why, "choose another address with --listen"),
        Refusal::NotAnId(why) => words(
            why,
            "write the whole id, as `kijiti --json status` shows it",
        ),
        _ => return None,
    })
}

fn spaces(refusal: &Refusal) -> Option<Words> {
    let clinic = "ask the clinic whose space it is";
    Some(match refusal {
        Refusal::MayNotBegin(area) => words(
            format!("this phone may not begin the space of {area}"),
            "ask for the right `grant` there",
        ),
        Refusal::NoKeyFor(area) => words(
            format!("this phone has no key for the space of {area}"),
            "only its keepers can grant it",
        ),
        Refusal::MayNotGrant => words(
            "this phone may not grant spaces",
            "ask for the right `grant`",
        ),
        Refusal::MayNotRead(name) => words(
            format!("{name} is not certified to read cases"),
            "certify it with the right `read` first, or choose another phone",
        ),
        Refusal::NotKeeper(area) => words(
            format!("this phone does not keep the space of {area}"),
            clinic,
        ),
        Refusal::NoOlderKey => words(
            "the space has no older key to end",
            "change its key first: `kijiti enrol rotate`",
        ),
        Refusal::EndingAlready => words(
            "the older keys are ending already",
            "they end once a second keeper asks for it too, or after a week of use",
        ),
        Refusal::ChangesWait(waiting) => words(
            format!(
                "{waiting} changes of lost phones wait under these keys, and would be gone for good"
            ),
            "look at them first: `kijiti status`, then `kijiti enrol countersign`",
        ),
        Refusal::NotLocked(area) => words(
            format!("the space of {area} is not locked on this phone"),
            "see `kijiti status`",
        ),
        Refusal::CodeUsed => words(
            "this code was used already",
            "ask for the keys to be shared anew: `kijiti enrol lease`",
        ),
        Refusal::CodeWrong => words(
            "the code does not unlock it",
            "read it again, letter by letter; or meet whoever keeps the space",
        ),
        Refusal::Lost(name) => words(
            format!("{name} is lost"),
            "name a phone that is in somebody's hands",
        ),
        Refusal::NotLeased => words(
            "this phone has leased no key to that one",
            "see its device id, or share anew: `kijiti enrol lease`",
        ),
        Refusal::MayNotRevoke(area) => words(
            format!("this phone may not revoke phones of {area}"),
            "ask for the right `revoke`, or the ministry",
        ),
        Refusal::RevokesItself => words(
            "this phone cannot revoke itself",
            "ask somebody above, or the ministry",
        ),
        Refusal::NoticeTooLong(why) => words(why, "write it shorter"),
        Refusal::MayNotCountersign => words(
            "this phone may not countersign",
            "ask a supervisor or the clinic",
        ),
        _ => return None,
    })
}

fn releases_and_meetings(refusal: &Refusal) -> Option<Words> {
    let list = "see `kijiti model list`";
    Some(match refusal {
        Refusal::NotListed(module) => words(
            format!("{module} is not in the release list any more"),
            "meet a phone with a newer list",
        ),
        Refusal::NotActive(module) => words(
            format!("no release of {module} is active on this phone"),
            list,
        ),
        Refusal::NoEarlier(module) => {
            words(format!("no earlier release of {module} is kept"), list)
        }
        Refusal::BundleDamaged => {
            words("the bundle on disk is damaged", "meet a phone that has it")
        }
        Refusal::BundleUnknown(digest) => {
            words(format!("bundle {} is not known here", digest.short()), list)
        }
        Refusal::TestFailed(why) => words(why, "return to the release before: `kijiti model back`"),
        Refusal::NotAnAddress => words(
            "not a phone's address",
            "write kijiti meet DEVICE-ID@ADDRESS:PORT as `kijiti status` of the other shows it",
        ),
        Refusal::NotReached(why) => words(
            why,
            "is it running and on the same network? `kijiti status` there shows its address",
        ),
        Refusal::CallEnded(why) => words(why, "try again"),
        Refusal::MeetingRefused(why) => words(
            format!("the meeting was refused: {why}"),
            "meeting again will end the same way until that is mended; `kijiti status` shows this phone's certificates",
        ),
        Refusal::MeetingCut(why) => words(
            format!("the meeting was cut: {why}"),
            "meet again: it goes on where it stopped",
        ),
        _ => return None,
    })
}

fn cases(refusal: &Refusal) -> Option<Words> {
    let list = "see `kijiti case list`";
    Some(match refusal {
        Refusal::NoSpace { may_write: true } => words(
            "this phone has no key for any space yet",
            "name the area whose space it is, such as --area north/kilifi: the case is kept here and leaves when the key comes",
        ),
        Refusal::NoSpace { may_write: false } => words(
            "this phone has no key for any space",
            "enrol it: `kijiti enrol request`, then `kijiti enrol accept` with the answer; or meet the clinic, which brings it",
        ),
        Refusal::SeveralSpaces(areas) => {
            let areas: Vec<_> = areas.iter().map(ToString::to_string).collect();
            words(
                "this phone writes for several spaces",
                format!("add --area, one of: {}", areas.join(", ")),
            )
        }
        Refusal::MayNotWrite(area) => words(
            format!("this phone may not write cases of {area}"),
            "enrol it with the right `write` there",
        ),
        Refusal::Locked(area) => words(
            format!("the cases of {area} are locked on this phone"),
            format!(
                "call whoever keeps the space for a code, then kijiti enrol unlock CODE --area {area}"
            ),
        ),
        Refusal::NoSuchCase(text) => words(format!("no case {text:?} on this phone"), list),
        Refusal::SeveralCases(text) => words(
            format!("several cases are called {text:?}, or begin so"),
            "write digits of the id, as `kijiti case list` shows it",
        ),
        Refusal::CaseNotHere => words("the case is not here", list),
        Refusal::CaseDamaged(why) => {
            words(why, "copy the data folder away and ask your supervisor")
        }
        Refusal::CaseRefuses(why) => words(why.to_string(), "nothing was written"),
        Refusal::ChangeTooLong(bytes) => words(
            format!("{bytes} bytes are more than is sealed at once"),
            "write less at once; nothing was written",
        ),
        Refusal::RequestTooLong(bytes) => words(
            format!("{bytes} bytes are more than a phone is asked at once"),
            "say less at once, or split the file; nothing was written",
        ),
        Refusal::NoRulesForThis => words(
            "no rules of this phone judge this patient, so there is no plan",
            "decide yourself, or ask your supervisor",
        ),
        Refusal::GreenUnjudged => words(
            "green is not offered: no rules of this phone judge this patient, so no danger is ruled out",
            GO_ON,
        ),
        Refusal::GreenNotOffered => words(
            "green is not offered: something was found that is to be treated or looked at, or a danger could not be ruled out",
            "measure what is missing, or decide pink or yellow",
        ),
        Refusal::UnjudgedNeedsReason => words(
            "no rules have judged this patient: deciding needs a reason",
            "add --reason \"why\"",
        ),
        Refusal::NeedsReason(assessed, decided) => words(
            format!(
                "the assessment says {}; deciding {} needs a reason",
                assessed.name(),
                decided.name()
            ),
            "add --reason \"why\"",
        ),
        Refusal::CannotJudge(why) => words(
            format!(
                "the rules cannot judge what is known of this case now: {}",
                findings(why).0
            ),
            "put right what is wrong, or say what is missing: kijiti case add CASE --set …",
        ),
        Refusal::NoVisit => words("no visit has begun", "begin again"),
        Refusal::AnswerRefused(why) => {
            let reason = answer(why);
            words(reason, "answer again, or press Enter where it is not known")
        }
        Refusal::TooManyAnswers => words("too many answers", "end this visit first"),
        _ => return None,
    })
}

fn entries(refusal: &Refusal) -> Option<Words> {
    Some(match refusal {
        Refusal::Findings(why) => findings(why),
        Refusal::Value(ValueError::NoSuchField(name)) => words(
            format!("there is no field {name:?}"),
            "kijiti case fields shows what can be written",
        ),
        Refusal::Value(why) => words(why, "kijiti case fields shows what can be written"),
        Refusal::SaidTwice(name) => words(
            format!("{name} is given twice, with different values"),
            "write it once: in the file of findings, or with --set",
        ),
        Refusal::NothingSaid => words(
            "nothing is said of the patient",
            "add findings: see `kijiti case fields`",
        ),
        Refusal::IsAChild => words(
            "this is a child under five years",
            "leave out --kind: the rules for children look at everyone under five years",
        ),
        Refusal::NotAConsent(to) => words(
            format!("{to:?} is nothing to consent to"),
            "write care, share, photo or training",
        ),
        Refusal::EmptyNote => words("an empty note", "write what there is to say"),
        Refusal::NotATime(given) => words(
            format!("{given:?} is no time at which a dose was given"),
            "write a date such as 2026-11-24, or a time with its zone: 2026-11-24T09:30:00+03:00",
        ),
        Refusal::StillToCome(date) => words(
            format!("{date} is still to come"),
            "write the day it was, one of another calendar with its mark (2017-05-26 EC, 2081-10-21 BS); if it is right, set this phone's clock",
        ),
        Refusal::TooLongAgo(date) => words(
            format!("nobody lives who was born in {date}"),
            "write it by the calendar with years such as 2026, or with the mark of its own: 2017-05-26 EC, 2081-10-21 BS",
        ),
        Refusal::NotADose(text) => words(
            format!("{text:?} is no dose that is given at once"),
            "write for example --dose \"amoxicillin 250 mg\", with a point in 0.5; is the unit right?",
        ),
        Refusal::DoseMissing => words(
            "route and time belong to a dose",
            "add --dose \"amoxicillin 250 mg\"",
        ),
        Refusal::NoSuchDose(dose, several) => {
            let what = if *several { "several doses" } else { "no dose" };
            words(
                format!("{what} {dose:?} in this case"),
                "`kijiti case show` names each dose",
            )
        }
        Refusal::DoseTakenBack => {
            words("that dose is taken back already", "see `kijiti case show`")
        }
        Refusal::DoseReasonMissing => {
            words("a dose is taken back for a reason", "add --reason \"why\"")
        }
        Refusal::NoAnswer(name) => words(
            format!("no answer for {name}"),
            format!("write --settle {name}=…, or {name}=unknown"),
        ),
        Refusal::NotSaid(name) => words(
            format!("nothing was said about {name:?} in this case"),
            "see `kijiti case show`",
        ),
        Refusal::LinkedToItself => {
            words("a case cannot be linked to itself", "name the other case")
        }
        Refusal::NothingToAdd => words("nothing to add", "see `kijiti case add --help`"),
        Refusal::NoSuchPhone(text, false) => words(
            format!("no phone {text:?} is known here"),
            "write its name, or its device id as its `kijiti status` shows it",
        ),
        Refusal::NoSuchPhone(text, true) => words(
            format!("several phones are called {text:?}"),
            "write the device id",
        ),
        Refusal::PhoneUnknown(device) => words(
            format!("no phone {} is known here", device.short()),
            "meet it first, or one that has met it",
        ),
        Refusal::CarriesOnly(name) => words(
            format!("{name} carries cases and cannot read them"),
            "hand them to a phone that may read cases",
        ),
        Refusal::TheirsAlready => words(
            "these cases are that phone's already",
            "name another phone after --to",
        ),
        _ => return None,
    })
}

fn files_of_cases(refusal: &Refusal) -> Option<Words> {
    let writer = "ask your supervisor who wrote it";
    Some(match refusal {
        Refusal::NoPhotoConsent => words(
            "there is no consent to take photos of this patient",
            "ask, and write it down: kijiti case add CASE --consent photo",
        ),
        Refusal::PictureTooLarge => words(
            "the picture is larger than 8 MB",
            "make it smaller: a side of 1600 points is enough",
        ),
        Refusal::PictureRefused(why) => words(why.to_string(), JPEG),
        Refusal::NoSuchPhoto(count) => {
            words(format!("this case has {count} photos"), "count from 1")
        }
        Refusal::PhotoNotHere => words(
            "the photo has not come to this phone yet",
            "meet a phone that has it",
        ),
        Refusal::PhotoDamaged(why) => words(why.to_string(), "meet a phone that has it"),
        Refusal::MayNotLeave(case) => words(
            format!(
                "case {} may not leave this phone: no consent to share it",
                case.short()
            ),
            "leave it out, or ask for consent: kijiti case add CASE --consent share",
        ),
        Refusal::OnlyArchivesAreSealed => words(
            "FHIR and CSV are written in clear, for nobody in particular",
            "seal cases for one colleague with `--format archive --to FILE`; nothing was written",
        ),
        Refusal::ArchiveForWhom => words(
            "for whom is the archive?",
            "add --to with the answer file of the phone that shall read it",
        ),
        Refusal::ArchiveTooLarge => words(
            "too many cases for one archive: export fewer at once",
            "name some of the cases, and write several archives",
        ),
        Refusal::ArchiveForAnother(device) => words(
            format!(
                "this archive is for phone {}, not for this one",
                device.short()
            ),
            "pass it to the phone that it was written for; nothing was taken in",
        ),
        Refusal::ArchiveSealed(why) => words(
            why,
            "the file was changed or cut short on its way: ask for it again; nothing was taken in",
        ),
        Refusal::WriterRefused(why) => words(
            format!("the archive's writer is not believed: {why}"),
            writer,
        ),
        Refusal::WriterMayNotWrite(name) => {
            words(format!("{name} is not certified to write cases"), writer)
        }
        Refusal::FileRefused(why) => words(why, "nothing was taken in; ask for the file again"),
        _ => return None,
    })
}
