//! Cases from files and as files. What is new in a file goes into the case that is the same patient's
//! here, beside what stands there, or into a case of its own. Nothing that a file says takes the place
//! of what somebody here has seen; and what leaves as a file leaves by the same rule as an envelope.

use std::collections::{BTreeMap, BTreeSet};

use clinical::date::instant;
use protocol::certificate::Right;
use protocol::{Area, CaseId, Digest};
use record::Entry;
use record::exchange::csv::Mapping;
use record::exchange::time::{DAY_MS, moment};
use record::exchange::{self as files, csv, fhir, text};
use sync::archive::{self, ArchiveError, ArchivedCase};

use super::assess::reassess;
use super::entries::{CLOCK_FROM_S, DAY_S, is_to_come};
use super::views::exchange::Imported;
use super::views::meetings::Progress;
use super::{Cx, Format, Paper, Refusal, cases};
use crate::agent::{Command, FileKnows, ImportStep, Reply};

mod of_files;
mod out;
mod plan;
mod whole;

use plan::{Named, plan};
use whole::SoFar;

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

/// Reads a file of another system's cases; a table of its own making by a mapping.
fn read(
    (format, until_s): (Format, Option<u64>),
    mapping: Option<&Mapping>,
    bytes: &[u8],
) -> Result<Vec<files::Imported>, Refusal> {
    let decoded = text::decode(bytes, format == Format::Csv);
    let (text, encoding) = decoded.ok_or_else(|| Refusal::NotText("the file".into()))?;
    let read = match (format, mapping) {
        (Format::Csv, Some(mapping)) => csv::read_mapped(&text, mapping),
        (Format::Csv, None) => csv::read(&text),
        (Format::Archive | Format::Fhir | Format::Ips, _) => match until_s {
            Some(until_s) => fhir::read_until(&text, until_s),
            None => fhir::read(&text),
        },
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

/// What cannot have been yet, by this phone's clock and a day more, and a dose of before the patient was born: it is
/// left out, and said.
fn out_of_time(now_s: u64, entries: &mut Vec<Entry>) -> Vec<String> {
    let born = |entry: &Entry| {
        let said = entry.word().filter(|(name, _)| *name == "patient.born");
        said.map(|(_, value)| value.words())
    };
    let day_before = entries.iter().find_map(born).and_then(|born| moment(&born));
    let day_before = day_before.map(|born| born.from_ms.saturating_sub(DAY_MS));
    let until = moment(&instant(now_s.saturating_add(DAY_S))).filter(|_| now_s >= CLOCK_FROM_S);
    let mut left_out = Vec::new();
    entries.retain(|entry| {
        let why = match (entry, born(entry)) {
            (_, Some(said)) if is_to_come(now_s, &said) => {
                Some(format!("patient.born {said}: that is still to come"))
            }
            (Entry::Dose(dose), _) => moment(&dose.given).and_then(|given| {
                let to_come = until
                    .as_ref()
                    .is_some_and(|until| given.from_ms > until.to_ms);
                let unborn = day_before.is_some_and(|born| given.to_ms < born);
                let why = match (to_come, unborn) {
                    (true, _) => "that is still to come",
                    (false, true) => "that is before the patient was born",
                    (false, false) => return None,
                };
                Some(format!(
                    "dose {} {} {} of {}: {why}",
                    dose.medicine, dose.amount, dose.unit, dose.given
                ))
            }),
            (_, _) => None,
        };
        left_out.extend(why.clone());
        why.is_none()
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
/// looked at before the first word is written, and what is cut off goes on (see `whole`).
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
        return open_archive(cx, bytes, area, pass);
    }
    // By a clock of before all phones nothing is still to come.
    let now_s = Some(cx.now().wall_s).filter(|now_s| *now_s >= CLOCK_FROM_S);
    let until = now_s.map(|now_s| now_s.saturating_add(DAY_S));
    let read = read((source.format, until), source.mapping.as_deref(), bytes)?;
    let mut said = Imported {
        dry_run,
        ..Imported::default()
    };
    let mut wanted = Vec::new();
    for mut imported in read {
        said.left_out.extend(imported.left_out.iter().cloned());
        said.in_words.extend(imported.in_words.iter().cloned());
        let later = out_of_time(cx.now().wall_s, &mut imported.entries);
        said.left_out.extend(later);
        if !imported.entries.is_empty() || !imported.taken_back.is_empty() {
            wanted.push(imported);
        }
    }
    if dry_run {
        look_over(cx, &wanted, (source.format, area, pass), &mut said)?;
        return Ok(said);
    }
    let (of, mut bundles, mut so_far) = (wanted.len(), Bundles::default(), SoFar::of(cx)?);
    let before = Named::of(cx)?;
    for (taken, imported) in wanted.into_iter().enumerate() {
        if !so_far.is_next(cx, taken)? {
            continue;
        }
        tell(cx, taken, of);
        let beside = imported.beside;
        let apart = bundles.entry(beside).or_default();
        let case = take(
            cx,
            imported,
            (source.format, area, (apart, &before)),
            (taken, &mut said),
        );
        let case = case.map_err(|why| Refusal::ImportStopped {
            taken,
            of,
            why: Box::new(why),
        })?;
        apart.extend(case.filter(|_| beside.is_some()));
    }
    Ok(said)
}

/// Cases that each bundle of several patients has come to.
type Bundles = BTreeMap<Option<Digest>, BTreeSet<CaseId>>;

/// What taking in the patients of a file would bring; refused where one of them would be.
fn look_over(
    cx: &dyn Cx,
    wanted: &[files::Imported],
    (format, area, pass): (Format, &Area, Pass),
    said: &mut Imported,
) -> Result<(), Refusal> {
    let (mut named, mut bundles) = (BTreeSet::new(), Bundles::default());
    let before = Named::of(cx)?;
    for (looked_at, imported) in wanted.iter().enumerate() {
        if pass == Pass::DryRun {
            tell(cx, looked_at, wanted.len());
        }
        let apart = bundles.entry(imported.beside).or_default();
        let plan = plan(cx, imported.clone(), (format, apart, &before))?;
        let held = plan.held.as_ref().map(|held| held.0);
        apart.extend(held.filter(|_| imported.beside.is_some()));
        let names: BTreeSet<_> = plan.known_as.iter().cloned().collect();
        let at = held.map_or_else(|| Ok(area.clone()), |id| area_of(cx, &id))?;
        cases::may_begin(cx, Some(at))?;
        said.left_out.extend(plan.said.iter().cloned());
        // A later part of the file may be the patient of an earlier one.
        let again = names.iter().any(|name| named.contains(name));
        named.extend(names);
        match (held, plan.entries.is_empty()) {
            (Some(_), true) => said.unchanged += 1,
            (Some(_), false) => said.added_to += 1,
            (None, true) => {}
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

/// Takes in one patient of a file.
fn take(
    cx: &mut dyn Cx,
    imported: files::Imported,
    (format, area, (apart, before)): (Format, &Area, (&BTreeSet<CaseId>, &Named)),
    (place, said): (usize, &mut Imported),
) -> Result<Option<CaseId>, Refusal> {
    let plan = plan(cx, imported, (format, apart, before))?;
    let known = plan.knows();
    said.left_out.extend(plan.said);
    match plan.held {
        Some((id, _)) if plan.entries.is_empty() => {
            // Another number, or a newer time of the same.
            if !plan.slots.is_empty() || !plan.of_files.is_empty() {
                cx.command(Command::Import(ImportStep::Know(id, known)))?;
            }
            said.unchanged += 1;
            said.here.push(id);
            // An import that was cut off may not have come to judge it.
            let request = fresh(cx)?;
            reassess(cx, id, request)?;
            return Ok(Some(id));
        }
        Some(_) => said.added_to += 1,
        None if plan.entries.is_empty() => return Ok(None),
        None => said.new += 1,
    }
    let (held, area) = match plan.held {
        Some((id, area)) => (Some(id), area),
        None => (None, area.clone()),
    };
    let noted = (known, SoFar::reached(place).to_bytes());
    let case = write(cx, held, &area, (plan.entries, noted))?;
    said.cases.push(case);
    Ok(Some(case))
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
    (entries, (known, so_far)): (Vec<Entry>, (FileKnows, Vec<u8>)),
) -> Result<CaseId, Refusal> {
    let mut known = Some(known);
    let mut request = [0; 16];
    for entries in in_changes(entries) {
        request = fresh(cx)?;
        let command = Command::TakeFromFile {
            case: held,
            area: area.clone(),
            entries,
            request,
            known: known.take().unwrap_or_default(),
            so_far: so_far.clone(),
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
    pass: Pass,
) -> Result<Imported, Refusal> {
    let dry_run = pass != Pass::Write;
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
    let (of, mut so_far) = (opened.len(), SoFar::of(cx)?);
    for (at, ArchivedCase { case, changes }) in opened.into_iter().enumerate() {
        if pass == Pass::Write && !so_far.is_next(cx, at)? {
            continue;
        }
        if pass != Pass::Before {
            tell(cx, at, of);
        }
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
