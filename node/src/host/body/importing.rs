//! Cases from files: what is new in them goes into the case that is the same patient's here, beside
//! what stands there, or into a case of its own. Nothing that a file says takes the place of what
//! somebody here has seen.

use clinical::FindingValue;
use protocol::Area;
use protocol::certificate::Right;
use record::exchange::{Imported, csv, fhir};
use record::{Case, CaseView, DecisionEntry, Dose, DoseEntry, Entry};
use serde_json::json;
use sync::archive::{self, ArchivedCase};

use super::answers::{Answered, from_hex};
use super::keeping::{archive_failure, exchange_failure};
use super::*;
use crate::api::Paper;

/// An entry as it would come back from a file, which does not say what was seen with a decision.
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
fn news_of(entries: Vec<Entry>, case: &Case) -> (Vec<Entry>, Vec<String>) {
    let said: Vec<Entry> = case
        .entries()
        .iter()
        .map(|(_, entry)| as_imported(entry.clone()))
        .collect();
    let doses = case.view().doses;
    let finding = |entry: &Entry| match entry {
        Entry::Finding { name, value } | Entry::Settled { name, value } => {
            Some((name.clone(), value.clone()))
        }
        _ => None,
    };
    let findings: Vec<_> = said.iter().filter_map(finding).collect();
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
            finding(entry).is_some_and(|word| !findings.contains(&word))
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

/// Something that a file and a case say of who the patient is, and say otherwise.
fn another_patient(view: &CaseView, entries: &[Entry]) -> Option<&'static str> {
    [
        "patient.name",
        "patient.family_name",
        "patient.sex",
        "patient.born",
        "patient.national_id",
    ]
    .into_iter()
    .find(|name| {
        let plain = |value: &FindingValue| match value {
            FindingValue::Text(text) => Some(
                text.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase(),
            ),
            _ => None,
        };
        let Some(here) = view.findings.get(*name) else {
            return false;
        };
        let said = entries.iter().filter_map(|entry| match entry {
            Entry::Finding { name: other, value } if other == name => plain(value),
            _ => None,
        });
        // What was put right since was said of this patient too: an older export of the same
        // case is no stranger's.
        let here: Vec<_> = here
            .said
            .iter()
            .filter_map(|(_, value)| plain(value))
            .collect();
        said.into_iter()
            .any(|word| !here.is_empty() && !here.contains(&word))
    })
}

impl Body {
    pub(super) fn case_import(&mut self, format: &str, text: &str, area: Option<&str>) -> Answered {
        let area = self.default_area(area)?;
        if format == "archive" {
            return self.open_archive(text, area);
        }
        let read = match format {
            "csv" => csv::read(text),
            "fhir" => match fhir::read(text) {
                Ok(cases) => Ok(cases),
                // One bundle a line.
                Err(whole) => {
                    let lines: Vec<_> = text
                        .lines()
                        .filter(|line| !line.trim().is_empty())
                        .collect();
                    let bundles = lines
                        .iter()
                        .map(|line| fhir::read(line))
                        .collect::<Result<Vec<_>, _>>();
                    if lines.len() > 1 {
                        bundles.map(|cases| cases.concat())
                    } else {
                        Err(whole)
                    }
                }
            },
            other => {
                return Err(Refusal::NotAnId(other.to_owned()));
            }
        };
        let (mut made, mut left_out) = (Vec::new(), Vec::new());
        for imported in read.map_err(exchange_failure)? {
            left_out.extend(imported.left_out.iter().cloned());
            if !imported.entries.is_empty() {
                match self.take_imported(imported, format, &area, &mut left_out)? {
                    (id, true) => made.push(id.to_string()),
                    (id, false) => {
                        left_out.push(format!("case {}: it is here already", id.short()))
                    }
                }
            }
        }
        Ok(json!({ "schema": "kijiti.case-import/1", "cases": made, "left_out": left_out }))
    }

    /// Takes in one patient of a file: what is new goes into the case that is the same one here, or
    /// into a case of its own that says of which it is a copy. Nothing is written under an id that
    /// another phone has given.
    fn take_imported(
        &mut self,
        imported: Imported,
        format: &str,
        area: &Area,
        left_out: &mut Vec<String>,
    ) -> Result<(protocol::CaseId, bool), Refusal> {
        let said_by: Vec<_> = imported
            .said_by()
            .map(|said| Entry::Note(record::clip(&said)))
            .collect();
        let known_as = imported.known_as.clone().unwrap_or_else(|| {
            let said: Vec<_> = imported
                .entries
                .iter()
                .map(|entry| format!("{entry:?} {}", self.entry_words(entry)))
                .collect();
            said.join("\n")
        });
        let who = imported.entries.iter().filter_map(|entry| match entry {
            Entry::Finding {
                name,
                value: FindingValue::Text(word),
            } if name.starts_with("patient.") => Some(format!("{name} {}", word.to_lowercase())),
            _ => None,
        });
        let whole = [vec![known_as.clone()], who.collect()].concat().join("\n");
        let [whole, setting] = [whole, known_as]
            .map(|name| format!("imported/{}", protocol::Digest::of(name.as_bytes())));
        let mut candidates: Vec<_> = imported.case.into_iter().collect();
        for setting in [&whole, &setting] {
            candidates.extend(
                self.store
                    .setting(setting)?
                    .and_then(|bytes| protocol::CaseId::from_slice(&bytes)),
            );
        }
        let (mut here, mut other) = (None, false);
        for id in candidates {
            let (Some(row), Some(case)) = (self.store.case_row(&id)?, self.load_case(id)?) else {
                continue;
            };
            match another_patient(&case.view(), &imported.entries) {
                None => {
                    here = Some((id, row.area));
                    break;
                }
                Some(name) => {
                    other = true;
                    let why = format!(
                        "the file speaks of another patient ({name} differs); it is a case of its own"
                    );
                    left_out.push(format!("case {}: {why}", id.short()));
                }
            }
        }
        let mut request = [0; 16];
        getrandom::fill(&mut request).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
        let (held, area, link) = match here {
            Some((id, area)) => (Some(id), area, None),
            None if other => (None, area.clone(), None),
            None => (
                None,
                area.clone(),
                imported.case.map(|other| Entry::Link { other, same: true }),
            ),
        };
        let said: Vec<Entry> = match held {
            Some(id) => {
                let case = self.load_case(id)?.ok_or_else(|| Refusal::CaseNotHere)?;
                let (news, otherwise) = news_of(imported.entries, &case);
                left_out.extend(otherwise);
                if news.is_empty() {
                    return Ok((id, false));
                }
                news
            }
            None => imported.entries,
        };
        let taken = Entry::Note(format!("taken in from a {format} file"));
        let around = held
            .is_none()
            .then(|| [taken].into_iter().chain(said_by).chain(link))
            .into_iter()
            .flatten();
        let entries = said.into_iter().chain(around).collect();
        let id = match held {
            Some(case) => {
                self.command(Command::AddFromFile {
                    case,
                    area,
                    entries,
                    request,
                })?;
                case
            }
            None => self.add(None, area, entries, request)?,
        };
        self.store.put_setting(&whole, id.as_bytes())?;
        if held.is_none() && !other {
            self.store.put_setting(&setting, id.as_bytes())?;
        }
        self.store.commit()?;
        self.reassess(id, request)?;
        Ok((id, true))
    }

    fn open_archive(&mut self, text: &str, area: Area) -> Answered {
        let bytes = from_hex(Paper::Archive, text.trim())?;
        let archive = archive::read(&bytes).map_err(archive_failure)?;
        let from = self
            .agent
            .judge(&archive.from)
            .map_err(|e| Refusal::WriterRefused(e.to_string()))?;
        if !from.rights.has(Right::Write) {
            return Err(Refusal::WriterMayNotWrite(from.name.clone()));
        }
        let cases = archive::open(&archive, &self.keys).map_err(archive_failure)?;
        let mut made = Vec::new();
        for ArchivedCase { case, changes } in cases {
            let changes = changes.into_iter().map(Into::into).collect();
            self.command(Command::TakeCase {
                case,
                area: area.clone(),
                changes,
            })?;
            made.push(case.to_string());
        }
        Ok(
            json!({ "schema": "kijiti.case-import/1", "cases": made, "left_out": [], "from": from.name }),
        )
    }
}
