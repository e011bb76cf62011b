//! Cases from files and as files. What is new in a file goes into the case that is the same patient's
//! here, beside what stands there, or into a case of its own. Nothing that a file says takes the place
//! of what somebody here has seen; and what leaves as a file leaves by the same rule as an envelope.

use std::collections::BTreeSet;

use crate::store::Setting;
use clinical::FindingValue;
use protocol::certificate::Right;
use protocol::{Area, CaseId, Digest};
use record::exchange::csv::Mapping;
use record::exchange::{self as files, csv, fhir, text};
use record::{Case, CaseView, DecisionEntry, Dose, DoseEntry, Entry, Identity};
use sync::archive::{self, ArchiveError, ArchivedCase};

use super::assess::reassess;
use super::entries::is_to_come;
use super::views::exchange::Imported;
use super::views::meetings::Progress;
use super::{Cx, Format, Paper, Refusal, cases};
use crate::agent::{Command, Reply};

mod out;
mod whole;

pub use out::{Export, export};
pub use whole::{Source, go_on, is_cut_off};

fn archive_refused(error: ArchiveError) -> Refusal {
    match error {
        ArchiveError::Malformed(why) => Refusal::Damaged(Paper::Archive, Some(why.into())),
        ArchiveError::TooLarge => Refusal::ArchiveTooLarge,
        ArchiveError::OtherPhone(device) => Refusal::ArchiveForAnother(device),
        ArchiveError::NoCertificate | ArchiveError::Signature(_) | ArchiveError::Sealed(_) => {
            Refusal::ArchiveSealed(error)
        }
    }
}

/// An entry as it would come back from a file, which does not say what was seen with a decision.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn as_imported(entry: Entry) -> Entry {
    let unsaid = || "imported".to_owned();
    match entry {
        Entry::Decision(d) => Entry::Decision(DecisionEntry {
            agrees: true,
            rules: unsaid(),
            model: unsaid(),
            app: String::new(),
            ..d
        }),
        Entry::Dose(dose) => Entry::Dose(DoseEntry {
            given: String::new(),
            origin: String::new(),
            ..dose
        }),
        other => other,
    }
}

/// What a file says that was not said in the case before: a word that was said once and changed
/// since is no news, and a dose that is here already, by whichever way it came, is not given again.
/// In words besides: doses that are here otherwise.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn news_of(entries: Vec<Entry>, case: &Case) -> (Vec<Entry>, Vec<String>) {
    let said: Vec<Entry> = case
        .entries()
        .iter()
        .map(|(_, entry)| as_imported(entry.clone()))
        .collect();
    let doses = case.view().doses;
    let findings: Vec<_> = said.iter().filter_map(Entry::word).collect();
    let mut otherwise = Vec::new();
    let mut new = |entry: &Entry| match entry {
        Entry::Dose(dose) => match doses
            .iter()
            .find_map(|held| same_dose(held, dose).map(|alike| (held, alike)))
        {
            None => true,
            Some((_, true)) => false,
            Some((held, false)) => {
                let (was, is) = (&held.dose, dose);
                otherwise.push(format!(
                    "dose {} {} {}: it is here as {} {} {} ({}): if that was wrong, take it back, and add what was given",
                    is.medicine, is.amount, is.unit, was.medicine, was.amount, was.unit, held.id()
                ));
                false
            }
        },
        Entry::Finding { .. } | Entry::Settled { .. } => {
            entry.word().is_some_and(|word| !findings.contains(&word))
        }
        other => !said.contains(&as_imported(other.clone())),
    };
    let entries = entries.into_iter().filter(|entry| new(entry)).collect();
    (entries, otherwise)
}

/// Whether a dose of a file is one that is here: `Some(false)`: it is, and something else is said
/// of it.
fn same_dose(held: &Dose, read: &DoseEntry) -> Option<bool> {
    let what = |dose: &DoseEntry| (dose.medicine.to_lowercase(), dose.amount, dose.unit.clone());
    let alike = what(&held.dose) == what(read);
    let known = [held.key.clone(), held.identity(), held.dose.origin.clone()];
    if !read.origin.is_empty() && known.contains(&read.origin) {
        return Some(alike);
    }
    if alike && !read.given.is_empty() && read.given == held.dose.given {
        return Some(true);
    }
    // `fhir/` the name that its system gave it `/` what was given when: either makes it the same
    // one.
    let names = |origin: &str| {
        let (named, what) = origin.strip_prefix("fhir/")?.split_once('/')?;
        Some((named.to_owned(), what.to_owned()))
    };
    let ((named, what), (other, other_what)) = (names(&held.dose.origin)?, names(&read.origin)?);
    match () {
        () if what == other_what && what != "-" => Some(true),
        () if named == other && named != "-" => Some(alike),
        () => None,
    }
}

/// Whether a record of a file is of a case's patient.
fn identity(view: &CaseView, entries: &[Entry]) -> Identity {
    let words = entries.iter().filter_map(Entry::word);
    let says: Vec<_> = words.map(|(name, value)| (name, value.words())).collect();
    let says: Vec<_> = says
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    record::identity(view, &says)
}

/// Reads a file of another system's cases; a table of its own making by a mapping.
fn read(
    format: Format,
    mapping: Option<&Mapping>,
    bytes: &[u8],
) -> Result<Vec<files::Imported>, Refusal> {
    let decoded = text::decode(bytes, format == Format::Csv);
    let (text, encoding) = decoded.ok_or_else(|| Refusal::NotText("the file".into()))?;
    let read = match (format, mapping) {
        (Format::Csv, Some(mapping)) => csv::read_mapped(&text, mapping),
        (Format::Csv, None) => csv::read(&text),
        (Format::Archive | Format::Fhir | Format::Ips, _) => fhir::read(&text),
    };
    let mut read = read.map_err(|e| Refusal::FileRefused(e.to_string()))?;
    if let Some(encoding) = encoding {
        let why = format!("the file's letters are {encoding}: see that names are right");
        read.push(files::Imported {
            left_out: vec![why],
            ..files::Imported::default()
        });
    }
    Ok(read)
}

/// A birth that has not been yet, by this phone's clock and a day more: it is left out, and said.
fn born_later(now_s: u64, entries: &mut Vec<Entry>) -> Vec<String> {
    let mut left_out = Vec::new();
    entries.retain(|entry| {
        let born = entry.word().filter(|(name, _)| *name == "patient.born");
        let said = born.map(|(_, value)| value.words());
        let later = said.filter(|said| is_to_come(now_s, said));
        let why = |said: &String| format!("patient.born {said}: that is still to come");
        left_out.extend(later.as_ref().map(why));
        later.is_none()
    });
    left_out
}

/// Entries in as many groups as keep each change small: what may be written may come in again.
fn in_changes(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    const BYTES: usize = 8 * 1024;
    let mut groups: Vec<Vec<Entry>> = Vec::new();
    let mut room = 0;
    for entry in entries {
        let bytes = format!("{entry:?}").len();
        match groups.last_mut().filter(|_| bytes <= room) {
            Some(group) => group.push(entry),
            None => {
                groups.push(vec![entry]);
                room = BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    groups
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// It is only said what it would bring.
    DryRun,
    /// Whether anything would be refused, before anything is written.
    Before,
    /// It is written.
    Write,
}

/// Takes in a file of cases, or only says what that would bring. Everything that could refuse a part of it is
/// looked at before the first word is written, and what is cut off goes on ([`whole`]).
pub fn import(
    cx: &mut dyn Cx,
    source: impl Into<Source>,
    bytes: &[u8],
    (area, dry_run): (Option<Area>, bool),
) -> Result<Imported, Refusal> {
    let (source, area) = (source.into(), cases::default_area(cx, area)?);
    match dry_run {
        true => take_in(cx, (&source, &area), bytes, Pass::DryRun),
        false => {
            go_on(cx)?; // one that was cut off comes first
            take_in(cx, (&source, &area), bytes, Pass::Before)?;
            whole::begin(cx, (&source, &area), bytes)?;
            let taken = take_in_whole(cx, (&source, &area), bytes)?;
            whole::end(cx)?;
            Ok(taken)
        }
    }
}

/// Takes in a file that is kept until all of it is in.
fn take_in_whole(
    cx: &mut dyn Cx,
    (source, area): (&Source, &Area),
    bytes: &[u8],
) -> Result<Imported, Refusal> {
    take_in(cx, (source, area), bytes, Pass::Write)
}

fn take_in(
    cx: &mut dyn Cx,
    (source, area): (&Source, &Area),
    bytes: &[u8],
    pass: Pass,
) -> Result<Imported, Refusal> {
    let dry_run = pass != Pass::Write;
    if source.format == Format::Archive {
        return open_archive(cx, bytes, area, dry_run);
    }
    let read = read(source.format, source.mapping.as_deref(), bytes)?;
    let mut said = Imported {
        dry_run,
        ..Imported::default()
    };
    let mut wanted = Vec::new();
    for mut imported in read {
        said.left_out.extend(imported.left_out.iter().cloned());
        let later = born_later(cx.now().wall_s, &mut imported.entries);
        said.left_out.extend(later);
        if !imported.entries.is_empty() {
            wanted.push(imported);
        }
    }
    if dry_run {
        look_over(cx, &wanted, (source.format, area, pass), &mut said)?;
        return Ok(said);
    }
    let of = wanted.len();
    for (taken, imported) in wanted.into_iter().enumerate() {
        tell(cx, taken, of);
        let at = (source.format, area);
        take(cx, imported, at, &mut said).map_err(|why| Refusal::ImportStopped {
            taken,
            of,
            why: Box::new(why),
        })?;
    }
    Ok(said)
}

/// What taking in the patients of a file would bring; refused where one of them would be.
fn look_over(
    cx: &dyn Cx,
    wanted: &[files::Imported],
    (format, area, pass): (Format, &Area, Pass),
    said: &mut Imported,
) -> Result<(), Refusal> {
    let mut named = BTreeSet::new();
    for (looked_at, imported) in wanted.iter().enumerate() {
        if pass == Pass::DryRun {
            tell(cx, looked_at, wanted.len());
        }
        let plan = plan(cx, imported.clone(), format)?;
        let names: BTreeSet<_> = plan.known_as.iter().cloned().collect();
        let held = plan.held.map(|held| held.0);
        let at = held.map_or_else(|| Ok(area.clone()), |id| area_of(cx, &id))?;
        cases::may_begin(cx, Some(at))?;
        said.left_out.extend(plan.said.iter().cloned());
        // A later part of the file may be the patient of an earlier one.
        let again = names.iter().any(|name| named.contains(name));
        named.extend(names);
        match (held, plan.entries.is_empty()) {
            (Some(_), true) => said.unchanged += 1,
            (Some(_), false) => said.added_to += 1,
            (None, _) if again => said.added_to += 1,
            (None, _) => said.new += 1,
        }
    }
    Ok(())
}

/// Tells how far a file of many cases is, now and then.
pub(super) fn tell(cx: &dyn Cx, done: usize, total: usize) {
    const EVERY: usize = 50;
    if done.is_multiple_of(EVERY) && total > EVERY {
        let [done, total] = [done, total].map(|n| n as u64);
        cx.progress(Progress::Cases { done, total });
    }
}

fn area_of(cx: &dyn Cx, id: &CaseId) -> Result<Area, Refusal> {
    let row = cx.store().case_row(id)?;
    row.map(|row| row.area).ok_or(Refusal::CaseNotHere)
}

/// What a record of a file is known by here: as a whole, with who the patient is, and by itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn known_as(imported: &files::Imported) -> [Setting; 2] {
    let name = imported.known_as.clone().unwrap_or_else(|| {
        let said = imported.entries.iter().map(|entry| match entry {
            Entry::Finding { name, value } | Entry::Settled { name, value } => {
                format!("{name} {}", value.words())
            }
            other => format!("{other:?}"),
        });
        said.collect::<Vec<_>>().join("\n")
    });
    let who = imported.entries.iter().filter_map(|entry| match entry {
        Entry::Finding {
            name,
            value: FindingValue::Text(word),
        } if name.starts_with("patient.") => Some(format!("{name} {}", word.to_lowercase())),
        _ => None,
    });
    let whole = [vec![name.clone()], who.collect()].concat().join("\n");
    [whole, name].map(|name| Setting::known_as(&Digest::of(name.as_bytes())))
}

/// What becomes of one patient of a file.
struct Plan {
    /// The case that is the same one here, and its area.
    held: Option<(CaseId, Area)>,
    /// What is new.
    entries: Vec<Entry>,
    /// What it is known by from then on.
    known_as: Vec<Setting>,
    /// What is to be said of it.
    said: Vec<String>,
}

/// Where one patient of a file goes: what is new into the case that is the same one here, or into
/// a case of its own that says of which it is a copy. Nothing is written under an id that another
/// phone has given.
fn plan(cx: &dyn Cx, imported: files::Imported, format: Format) -> Result<Plan, Refusal> {
    let mut left_out = Vec::new();
    let [whole, alone] = known_as(&imported);
    let mut candidates: Vec<_> = imported.case.into_iter().collect();
    // A case of another phone's that came by a file before is one of our own by now, in whatever form it comes.
    let by_case = imported.case.map(|id| {
        let name = format!("case {id}");
        Setting::known_as(&Digest::of(name.as_bytes()))
    });
    let numbered = imported.numbered.as_ref().map(|number| {
        let name = format!("number {number}");
        Setting::known_as(&Digest::of(name.as_bytes()))
    });
    let names = [&whole, &alone].into_iter().chain(&by_case);
    for setting in names.chain(&numbered) {
        let kept = cx.store().setting(setting)?;
        candidates.extend(kept.and_then(|bytes| CaseId::from_slice(&bytes)));
    }
    let (mut here, mut other) = (None, false);
    for id in candidates {
        let (Some(row), Some(case)) = (cx.store().case_row(&id)?, cases::load(cx, id)?) else {
            continue;
        };
        let name = match identity(&case.view(), &imported.entries) {
            Identity::Another(name) => name,
            same @ (Identity::Same | Identity::Corrected(_)) => {
                left_out.extend(put_right(&id, same));
                here = Some((id, row.area));
                break;
            }
        };
        other = true;
        let why =
            format!("the file speaks of another patient ({name} differs); it is a case of its own");
        left_out.push(format!("case {}: {why}", id.short()));
    }
    let (held, entries) = match here {
        Some((id, area)) => {
            let case = cases::load(cx, id)?.ok_or(Refusal::CaseNotHere)?;
            let (news, otherwise) = news_of(imported.entries, &case);
            left_out.extend(otherwise);
            (Some((id, area)), news)
        }
        None => {
            let word = match format {
                Format::Fhir | Format::Ips => "fhir",
                Format::Csv => "csv",
                Format::Archive => "archive",
            };
            let said_by = imported
                .said_by()
                .map(|said| Entry::Note(record::clip(&said)));
            let taken = Entry::Note(format!("taken in from a {word} file"));
            let link = imported.case.filter(|_| !other);
            let link = link.map(|other| Entry::Link { other, same: true });
            let around: Vec<_> = [taken].into_iter().chain(said_by).chain(link).collect();
            (None, imported.entries.into_iter().chain(around).collect())
        }
    };
    let mut known_as = vec![whole];
    known_as.extend((held.is_none() && !other).then_some(alone));
    known_as.extend(by_case.filter(|_| held.is_none() && !other));
    known_as.extend(numbered.filter(|_| !other));
    Ok(Plan {
        held,
        entries,
        known_as,
        said: left_out,
    })
}

/// What is to be said where a file puts right who the patient of a case is.
fn put_right(id: &CaseId, identity: Identity) -> Option<String> {
    let Identity::Corrected(name) = identity else {
        return None;
    };
    let why = "is said otherwise under the same number, and stands beside what was said: settle it";
    Some(format!("case {}: {name} {why}", id.short()))
}

/// Takes in one patient of a file.
fn take(
    cx: &mut dyn Cx,
    imported: files::Imported,
    (format, area): (Format, &Area),
    said: &mut Imported,
) -> Result<(), Refusal> {
    let plan = plan(cx, imported, format)?;
    said.left_out.extend(plan.said);
    match plan.held {
        Some((id, _)) if plan.entries.is_empty() => {
            said.unchanged += 1;
            let here = format!("case {}: it is here already", id.short());
            said.left_out.push(here);
            // An import that was cut off may not have come to judge it.
            let request = fresh(cx)?;
            return reassess(cx, id, request);
        }
        Some(_) => said.added_to += 1,
        None => said.new += 1,
    }
    let (held, area) = match plan.held {
        Some((id, area)) => (Some(id), area),
        None => (None, area.clone()),
    };
    said.cases
        .push(write(cx, held, &area, (plan.entries, plan.known_as))?);
    Ok(())
}

fn fresh(cx: &mut dyn Cx) -> Result<[u8; 16], Refusal> {
    let mut request = [0; 16];
    request
        .iter_mut()
        .zip(cx.randomness()?)
        .for_each(|(byte, fresh)| *byte = fresh);
    Ok(request)
}

/// Writes entries into a case, or into a new one, in as many changes as they need; and judges it.
fn write(
    cx: &mut dyn Cx,
    mut held: Option<CaseId>,
    area: &Area,
    (entries, known_as): (Vec<Entry>, Vec<Setting>),
) -> Result<CaseId, Refusal> {
    let mut known_as = Some(known_as);
    let mut request = [0; 16];
    for entries in in_changes(entries) {
        request = fresh(cx)?;
        let command = Command::TakeFromFile {
            case: held,
            area: area.clone(),
            entries,
            request,
            known_as: known_as.take().unwrap_or_default(),
        };
        held = match cx.command(command)? {
            Reply::Case(id) => Some(id),
            Reply::Done | Reply::Unchanged | Reply::Document(_) | Reply::Taken(..) => {
                return Err(Refusal::Nothing);
            }
        };
    }
    let id = held.ok_or(Refusal::Nothing)?;
    reassess(cx, id, request)?;
    Ok(id)
}

fn open_archive(
    cx: &mut dyn Cx,
    bytes: &[u8],
    area: &Area,
    dry_run: bool,
) -> Result<Imported, Refusal> {
    let archive = archive::read(bytes).map_err(archive_refused)?;
    let from = cx
        .known()
        .judge(&archive.from)
        .map_err(|why| why.map_or(Refusal::NoMinistry, Refusal::WriterRefused))?;
    if !from.rights.has(Right::Write) {
        return Err(Refusal::WriterMayNotWrite(from.name.clone()));
    }
    let opened = cx.known().open_archive(&archive).map_err(archive_refused)?;
    let mut said = Imported {
        from: Some(from.name.clone()),
        dry_run,
        ..Imported::default()
    };
    let of = opened.len();
    for (at, ArchivedCase { case, changes }) in opened.into_iter().enumerate() {
        tell(cx, at, of);
        let changes: Vec<Vec<u8>> = changes.into_iter().map(Into::into).collect();
        let held = cases::load(cx, case)?.map(|mut held| held.changes());
        let known = |change: &Vec<u8>| held.iter().flatten().any(|held| held == change);
        match (&held, changes.iter().all(known)) {
            (None, _) => said.new += 1,
            (Some(_), true) => {
                said.unchanged += 1;
                continue;
            }
            (Some(_), false) => said.added_to += 1,
        }
        if dry_run {
            continue;
        }
        cx.command(Command::TakeCase {
            case,
            area: area.clone(),
            changes,
        })?;
        said.cases.push(case);
    }
    Ok(said)
}
