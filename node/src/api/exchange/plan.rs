//! Where one patient of a file goes, and what of it is new there.

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;
use protocol::{Area, CaseId, Digest};
use record::exchange as files;
use record::exchange::origin::{self, Alike};
use record::{Case, CaseView, DecisionEntry, Dose, DoseEntry, Entry, Identity, Number};

use super::of_files::OfFiles;
use crate::agent::FileKnows;
use crate::api::{Cx, Format, Refusal, cases};
use crate::store::Setting;

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

/// Whether an entry has said what is taken back: a note that begins so, or a field and its value.
fn has_said(entry: &Entry, what: &str) -> bool {
    let field = entry.word().is_some_and(|(name, value)| {
        let said = what.split_once(" = ");
        said.is_some_and(|(of, words)| of == name && value.words().eq_ignore_ascii_case(words))
    });
    field || matches!(entry, Entry::Note(said) if said.starts_with(what))
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
        Entry::Dose(dose) => {
            let like = |held: &Dose| {
                let names = [held.key.clone(), held.identity()];
                origin::alike(&held.dose, &names, dose)
            };
            let found = doses.iter().filter_map(|held| Some((held, like(held)?)));
            let found: Vec<_> = found.collect();
            let same = found.iter().any(|(_, alike)| *alike == Alike::Same);
            match found.first() {
                None => true,
                Some(_) if same => false,
                Some((held, alike)) => {
                    otherwise.push(said_otherwise(&held.dose, dose, &held.id(), *alike));
                    false
                }
            }
        }
        Entry::Finding { .. } | Entry::Settled { .. } => {
            entry.word().is_some_and(|word| !findings.contains(&word))
        }
        Entry::Note(note) => match note.strip_prefix(files::TAKEN_BACK) {
            Some(what) => !said.contains(entry) && said.iter().any(|entry| has_said(entry, what)),
            None => !said.contains(entry),
        },
        other => !said.contains(&as_imported(other.clone())),
    };
    let entries = entries.into_iter().filter(|entry| new(entry)).collect();
    (entries, otherwise)
}

/// What is to be said where a dose of a file is like one that is here, and not the same in all.
fn said_otherwise(held: &DoseEntry, read: &DoseEntry, id: &str, alike: Alike) -> String {
    let words = |dose: &DoseEntry| {
        let DoseEntry {
            medicine,
            amount,
            unit,
            given,
            ..
        } = dose;
        let at = if given.is_empty() { "" } else { " of " };
        format!("{medicine} {amount} {unit}{at}{given}")
    };
    let (is, was) = (words(read), words(held));
    match alike {
        Alike::Perhaps => format!(
            "dose {is}: one of that day is here ({id}), and whether it is that one is not said: if it is another, add it"
        ),
        Alike::Same | Alike::Otherwise => format!(
            "dose {is}: it is here as {was} ({id}): if that was wrong, take it back, and add what was given"
        ),
    }
}

/// Doses that came from a file whose system has taken them back since; and in words those that somebody here has
/// given: no file takes those back.
fn taken_back(id: &CaseId, view: &CaseView, origins: &[String]) -> (Vec<Entry>, Vec<String>) {
    let (mut back, mut told) = (Vec::new(), Vec::new());
    for dose in view.doses.iter().filter(|dose| dose.counts()) {
        if origins.iter().any(|named| origin::is_of(&dose.dose, named)) {
            back.push(Entry::NotGiven {
                dose: dose.key.clone(),
                reason: "entered in error, says the file that it came from".into(),
            });
        } else if origins
            .iter()
            .any(|named| *named == dose.key || *named == dose.identity())
        {
            told.push(format!(
                "case {}: the file says that {} {} {} ({}) was not given, and here it stands: if that is so, take it back",
                id.short(), dose.dose.medicine, dose.dose.amount, dose.dose.unit, dose.id()
            ));
        }
    }
    (back, told)
}

/// Whether a record of a file is of a case's patient.
fn identity(view: &CaseView, entries: &[Entry], number: Number) -> Identity {
    let words = entries.iter().filter_map(Entry::word);
    let says: Vec<_> = words.map(|(name, value)| (name, value.words())).collect();
    let says: Vec<_> = says
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    record::identity(view, &says, number)
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
pub(super) struct Plan {
    /// The case that is the same one here, and its area.
    pub(super) held: Option<(CaseId, Area)>,
    /// What is new.
    pub(super) entries: Vec<Entry>,
    /// What it is known by from then on.
    pub(super) known_as: Vec<Setting>,
    /// Its places among those who are under its numbers, where it has none there yet.
    pub(super) slots: Vec<Setting>,
    /// What files have said of it beside, if that is more than before.
    pub(super) of_files: Vec<u8>,
    /// What is to be said of it.
    pub(super) said: Vec<String>,
}

/// People who are under one number of a register, and are each found again.
const UNDER_ONE_NUMBER_MAX: usize = 32;

/// Cases that a patient of a file may be here; and who is under each of its numbers, with the next free place there.
#[derive(Default)]
struct Candidates {
    found: Vec<(CaseId, Number)>,
    under: Vec<(BTreeSet<CaseId>, Option<Setting>)>,
}

fn candidates(
    cx: &dyn Cx,
    imported: &files::Imported,
    names: &[Setting],
) -> Result<Candidates, Refusal> {
    let kept = |setting: &Setting| -> Result<Option<CaseId>, Refusal> {
        let kept = cx.store().setting(setting)?;
        Ok(kept.and_then(|bytes| CaseId::from_slice(&bytes)))
    };
    let own = imported.case.into_iter().map(|id| (id, Number::Own));
    let mut found: Vec<_> = own.collect();
    if let Some(setting) = imported.case.map(by_case) {
        found.extend(kept(&setting)?.map(|id| (id, Number::Own)));
    }
    for setting in names {
        found.extend(kept(setting)?.map(|id| (id, Number::Register)));
    }
    let mut under = Vec::new();
    for files::RegisterNumber { system, value } in &imported.numbers {
        let (mut here, mut free) = (BTreeSet::new(), None);
        for n in 0..UNDER_ONE_NUMBER_MAX {
            let name = format!("number {n} {system}|{value}");
            let slot = Setting::known_as(&Digest::of(name.as_bytes()));
            match kept(&slot)? {
                Some(id) => drop(here.insert(id)),
                None => {
                    free = Some(slot);
                    break;
                }
            }
        }
        found.extend(here.iter().map(|id| (*id, Number::Register)));
        under.push((here, free));
    }
    Ok(Candidates { found, under })
}

/// Who a patient of a file is here.
struct Found {
    /// The case, and whether something of it is put right.
    here: Option<(CaseId, Area, Identity)>,
    /// Cases that are somebody else's, and by what.
    others: Vec<(CaseId, &'static str, Number)>,
    /// It may be one of several people, and does not say which.
    several: bool,
}

/// Whoever agrees in the most of what says who a patient is; whom something was put right of only where nobody is
/// the same in all.
fn who_it_is(
    cx: &dyn Cx,
    imported: &files::Imported,
    found: &[(CaseId, Number)],
    apart: &BTreeSet<CaseId>,
) -> Result<Found, Refusal> {
    let (mut may_be, mut others) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (id, number) in found {
        if apart.contains(id) || !seen.insert(*id) {
            continue;
        }
        let (Some(row), Some(case)) = (cx.store().case_row(id)?, cases::load(cx, *id)?) else {
            continue;
        };
        let view = case.view();
        let of_files = OfFiles::of(cx, id)?;
        if *number == Number::Register && of_files.is_another(&imported.numbers) {
            others.push((*id, "another number of the same register", *number));
            continue;
        }
        match identity(&view, &imported.entries, *number) {
            Identity::Another(name) => others.push((*id, name, *number)),
            same @ (Identity::Same | Identity::Corrected(_)) => {
                let own = *number == Number::Own;
                let rank = (
                    own,
                    same == Identity::Same,
                    agreeing(&view, &imported.entries),
                );
                may_be.push((rank, (*id, row.area, same)));
            }
        }
    }
    let best = may_be.iter().map(|(rank, _)| *rank).max();
    let mut first = may_be.into_iter().filter(|(rank, _)| Some(*rank) == best);
    let here = first.next();
    Ok(Found {
        several: first.next().is_some(),
        here: here.map(|(_, here)| here),
        others,
    })
}

/// In how much of what says who a patient is a record agrees with a case.
fn agreeing(view: &CaseView, entries: &[Entry]) -> usize {
    let agrees = |entry: &&Entry| {
        let said = entry
            .word()
            .filter(|(name, _)| name.starts_with("patient."));
        said.is_some_and(|(name, value)| {
            let here = view.findings.get(name).map(|state| &state.said);
            here.into_iter().flatten().any(|(_, held)| held == value)
        })
    };
    entries.iter().filter(agrees).count()
}

/// What a record of a file is called, for whoever looks it up there.
fn said_to_be(imported: &files::Imported) -> String {
    let number = imported.numbers.first();
    let number = number.map(|number| format!("{} {}", number.system, number.value));
    format!(
        "the record of {}",
        number.unwrap_or_default().replace('\n', " ")
    )
}

/// A case of another phone's that came by a file before is one of our own by now, in whatever form it comes.
fn by_case(id: CaseId) -> Setting {
    Setting::known_as(&Digest::of(format!("case {id}").as_bytes()))
}

/// Cases that were here before a file, by the patient's name.
pub(super) struct Named(BTreeMap<String, Vec<CaseId>>);

/// Cases of one name that are looked at.
const NAMESAKES_MAX: usize = 8;

impl Named {
    pub(super) fn of(cx: &dyn Cx) -> Result<Self, Refusal> {
        let mut named: BTreeMap<String, Vec<CaseId>> = BTreeMap::new();
        for row in cx.store().cases()? {
            let name = row.title.split(", ").next().unwrap_or_default();
            named.entry(name.to_lowercase()).or_default().push(row.id);
        }
        Ok(Self(named))
    }

    /// A case that may be the patient's of a record which no number leads to: the same name, and the same day of
    /// birth or telephone, and nothing that differs. A person says whether it is.
    fn perhaps(
        &self,
        cx: &dyn Cx,
        entries: &[Entry],
        apart: &BTreeSet<CaseId>,
    ) -> Result<Option<CaseId>, Refusal> {
        let said = |field: &str| {
            let mut words = entries.iter().filter_map(Entry::word);
            let (_, value) = words.find(|(name, _)| *name == field)?;
            Some(value.words().to_lowercase())
        };
        let namesakes = said("patient.name").and_then(|name| self.0.get(&name));
        let others = namesakes
            .into_iter()
            .flatten()
            .filter(|id| !apart.contains(id));
        for id in others.take(NAMESAKES_MAX) {
            let Some(case) = cases::load(cx, *id)? else {
                continue;
            };
            let view = case.view();
            let agrees = |field: &str| {
                let state = view.findings.get(field);
                state.is_some_and(|state| said(field) == Some(state.value.words().to_lowercase()))
            };
            let known = agrees("patient.born") || agrees("patient.caregiver_phone");
            if known && identity(&view, entries, Number::Register) == Identity::Same {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }
}

/// Where one patient of a file goes: what is new into the case that is the same one here, or into
/// a case of its own that says of which it is a copy. Nothing is written under an id that another
/// phone has given, nor into a case `apart`, of somebody beside whom it stands.
pub(super) fn plan(
    cx: &dyn Cx,
    imported: files::Imported,
    (format, apart, named): (Format, &BTreeSet<CaseId>, &Named),
) -> Result<Plan, Refusal> {
    let mut left_out = Vec::new();
    let says = imported.entries.iter().any(stands);
    let [whole, alone] = known_as(&imported);
    let names = [whole.clone(), alone.clone()];
    let Candidates { found, under } = candidates(cx, &imported, &names)?;
    let Found {
        here,
        others,
        several,
    } = who_it_is(cx, &imported, &found, apart)?;
    if several {
        return Ok(Plan::nobody_s(&imported));
    }
    let other = here.is_none() && !others.is_empty();
    // Under a case's own id somebody else: it is no copy of that case.
    let no_copy = other && others.iter().any(|(.., number)| *number == Number::Own);
    if let (Some((id, name, _)), true) = (others.first(), other) {
        let why =
            format!("the file speaks of another patient ({name} differs); it is a case of its own");
        left_out.push(format!("case {}: {why}", id.short()));
    }
    let before = here
        .as_ref()
        .map(|(id, ..)| OfFiles::of(cx, id))
        .transpose()?
        .unwrap_or_default();
    let mut of_files = before.clone();
    of_files.know(&imported.numbers);
    let measured = imported.measured.clone();
    if here.is_none()
        && says
        && let Some(id) = named.perhaps(cx, &imported.entries, apart)?
    {
        left_out.push(may_be(&id));
    }
    let (held, entries) = match here {
        Some((id, area, same)) => {
            left_out.extend(put_right(&id, same));
            let case = cases::load(cx, id)?.ok_or(Refusal::CaseNotHere)?;
            let (news, told) = new_in(&case, imported.clone(), &before);
            left_out.extend(told);
            (Some((id, area)), news)
        }
        None if !says => (None, Vec::new()),
        None => (None, as_new(imported.clone(), format, no_copy)),
    };
    let mut known_as = vec![whole];
    known_as.extend((held.is_none() && !other).then_some(alone));
    let own = imported.case.filter(|_| held.is_none() && !no_copy);
    known_as.extend(own.map(by_case));
    of_files.measure(&measured, &entries);
    let own = held.as_ref().map(|(id, _)| *id);
    let free = under
        .into_iter()
        .filter(|(here, _)| own.is_none_or(|own| !here.contains(&own)));
    Ok(Plan {
        slots: free.filter_map(|(_, slot)| slot).collect(),
        of_files: of_files.unless(&before),
        held,
        entries,
        known_as,
        said: left_out,
    })
}

/// What is to be said of a case that may be the patient's whom a file has made another one of.
fn may_be(id: &CaseId) -> String {
    let how =
        "may be the same patient's as one that is new here: look at both, and say so if it is";
    format!("case {}: {how}", id.short())
}

/// What is new in a case that is here, and what is to be said of the rest.
fn new_in(case: &Case, imported: files::Imported, before: &OfFiles) -> (Vec<Entry>, Vec<String>) {
    let (id, view, mut entries) = (case.id(), case.view(), imported.entries);
    let whose = |what: String| format!("case {}: {what}", id.short());
    let (back, mut told) = taken_back(&id, &view, &imported.taken_back);
    let older = before.take_older(&view, &imported.measured, &mut entries);
    told.extend(older.into_iter().map(whose));
    let (mut news, otherwise) = news_of(entries, case);
    told.extend(otherwise.into_iter().map(whose));
    news.extend(back);
    (news, told)
}

/// What a case begins with of which this is all that is known here.
fn as_new(imported: files::Imported, format: Format, no_copy: bool) -> Vec<Entry> {
    let word = match format {
        Format::Fhir | Format::Ips => "fhir",
        Format::Csv => "csv",
        Format::Archive => "archive",
    };
    let said_by = imported
        .said_by()
        .map(|said| Entry::Note(record::clip(&said)));
    let taken = Entry::Note(format!("taken in from a {word} file"));
    let link = imported.case.filter(|_| !no_copy);
    let link = link.map(|other| Entry::Link { other, same: true });
    let around: Vec<_> = [taken].into_iter().chain(said_by).chain(link).collect();
    let entries = imported.entries.into_iter().filter(stands);
    entries.chain(around).collect()
}

/// Whether an entry says something by itself, and not only that something is taken back.
fn stands(entry: &Entry) -> bool {
    !matches!(entry, Entry::Note(note) if note.starts_with(files::TAKEN_BACK))
}

/// What is to be said where a file puts right who the patient of a case is.
fn put_right(id: &CaseId, identity: Identity) -> Option<String> {
    let Identity::Corrected(name) = identity else {
        return None;
    };
    let why = "is said otherwise under the same number, and stands beside what was said: settle it";
    Some(format!("case {}: {name} {why}", id.short()))
}

impl Plan {
    /// Of a record that may be of one of several people and does not say which.
    fn nobody_s(imported: &files::Imported) -> Self {
        let why = "several people are under its number here, and it does not say which of them: not taken in";
        Self {
            held: None,
            entries: Vec::new(),
            known_as: Vec::new(),
            slots: Vec::new(),
            of_files: Vec::new(),
            said: vec![format!("{}: {why}", said_to_be(imported))],
        }
    }

    /// By what it is found again, as far as that is not kept yet.
    pub(super) fn knows(&self) -> FileKnows {
        FileKnows {
            as_names: self.known_as.iter().chain(&self.slots).cloned().collect(),
            beside: self.of_files.clone(),
        }
    }
}
