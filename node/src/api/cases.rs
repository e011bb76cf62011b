//! What people do with cases: begin them, decide on them, add to them, look at them.

use std::collections::BTreeSet;

use clinical::date::instant;
use clinical::{Assessment, FindingsError, Profile};
use protocol::certificate::Right;
use protocol::limits::SAME_CASES_MAX;
use protocol::{Area, CaseId, SpaceId, always};
use record::{CaseView, Entry};

use super::assess::{self, assess_fields, entries_of, entry_of, reassess};
use super::beside::{age_of_head, assess_with_head, said_once, with_what_is_beside};
use super::consent::may_leave;
use super::decide::decide;
use super::entries::{consented, finding, in_its_time, is_young, read_dose, taken_back};
use super::views::case::{CaseNew, Decided, History, Line, Stays};
use super::{
    CaseWords, Cx, DecisionInput, Look, Refusal, RequestId, case_view, handover, lists, names,
};
use crate::agent::{Command, Reply, locked};
use crate::store::CaseRow;

/// Least digits of a case id that name a case.
const CASE_PREFIX_MIN: usize = 4;

/// The space that is meant: the one named, or the only one that this phone writes for.
pub fn default_area(cx: &dyn Look, area: Option<Area>) -> Result<Area, Refusal> {
    if let Some(area) = area {
        return Ok(area);
    }
    let known = cx.known();
    let mut areas: BTreeSet<_> = known
        .space_keys()
        .iter()
        .map(|key| key.area().clone())
        .collect();
    // Without a key what is written waits for one: where the phone may write, a patient is never
    // turned away.
    if areas.is_empty() {
        let may_write = |space| known.certificate().is_some_and(|c| c.may_write_in(space));
        let spaces = cx.store().spaces()?.into_iter();
        areas = spaces
            .filter(|row| may_write(row.space))
            .map(|row| row.area)
            .collect();
    }
    let mut areas: Vec<Area> = areas.into_iter().collect();
    match (areas.pop(), areas.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            let may_write = known
                .certificate()
                .is_some_and(|c| c.rights.has(Right::Write));
            Err(Refusal::NoSpace { may_write })
        }
        (Some(last), false) => {
            areas.push(last);
            Err(Refusal::SeveralSpaces(areas))
        }
    }
}

/// Whether a case could be written here, before anybody is asked anything.
pub(super) fn may_begin(cx: &dyn Look, area: Option<Area>) -> Result<(), Refusal> {
    let area = default_area(cx, area)?;
    match cx.known().certificate() {
        Some(own) if !own.may_write_in(SpaceId::of(&area)) => Err(Refusal::MayNotWrite(area)),
        Some(_) | None => Ok(()),
    }
}

/// A case by its id or the beginning of it, or by the patient's name where only one is called so.
pub fn find(cx: &dyn Look, text: &str) -> Result<CaseId, Refusal> {
    let text = text.trim().to_lowercase();
    let rows = cx.store().cases()?;
    // A name may be digits of another case's id (Ada, Abed): then it is nobody's alone.
    let begins =
        |row: &CaseRow| text.len() >= CASE_PREFIX_MIN && row.id.to_string().starts_with(&text);
    let called = |row: &CaseRow| {
        let title = row.title.to_lowercase();
        let name = title.split(", ").next().unwrap_or_default();
        let is = |part| !text.is_empty() && part == text;
        is(title.as_str()) || is(name) || name.split_whitespace().any(is)
    };
    let meant = rows.iter().filter(|row| begins(row) || called(row));
    let mut meant: Vec<_> = meant.collect();
    if meant.is_empty() && !text.is_empty() {
        // The first words of a name, as far as they are somebody's alone.
        let words = format!("{text} ");
        let starts = |row: &&CaseRow| row.title.to_lowercase().starts_with(&words);
        meant = rows.iter().filter(starts).collect();
    }
    match meant.as_slice() {
        [only] => Ok(only.id),
        [] => Err(Refusal::NoSuchCase(text)),
        // Several cases of one patient are meant by the name of that one.
        [first, ..] => {
            let patients = lists::patients(cx, &rows)?;
            let patient = patients.of(first.id);
            let one = meant.iter().all(|row| patients.of(row.id) == patient);
            one.then_some(patient).ok_or(Refusal::SeveralCases(text))
        }
    }
}

/// A case's row.
pub fn row(cx: &dyn Look, id: CaseId) -> Result<CaseRow, Refusal> {
    cx.store().case_row(&id)?.ok_or(Refusal::CaseNotHere)
}

/// A document, unless its space is locked here.
pub fn load(cx: &dyn Look, id: CaseId) -> Result<Option<record::Case>, Refusal> {
    let row = cx.store().case_row(&id)?;
    let shut = |row: &CaseRow| locked(SpaceId::of(&row.area), cx.store()).unwrap_or(true);
    if let Some(row) = row.filter(shut) {
        return Err(Refusal::Locked(row.area));
    }
    let Some(document) = cx.store().case(&id)? else {
        return Ok(None);
    };
    let loaded = record::Case::load(id, &document);
    loaded
        .map(Some)
        .map_err(|error| Refusal::of_case(error, Refusal::CaseDamaged))
}

/// A case with all that people have found to be the same patient's.
pub fn open_all(cx: &dyn Look, id: CaseId) -> Result<(CaseRow, Vec<record::Case>), Refusal> {
    let found = cx.store().case_row(&id)?;
    let (Some(row), Some(case)) = (found, load(cx, id)?) else {
        return Err(Refusal::CaseNotHere);
    };
    let named_by = |this| Ok(crate::agent::named_by(this, cx.store())?);
    let same = case.and_same(|other| load(cx, other), named_by)?;
    always!(same.len() <= SAME_CASES_MAX);
    always!(same.first().is_some_and(|own| own.id() == id));
    Ok((row, same))
}

/// The same as a screen shows it.
pub fn open(cx: &dyn Look, id: CaseId) -> Result<(CaseRow, CaseView), Refusal> {
    let (row, cases) = open_all(cx, id)?;
    Ok((
        row,
        record::Case::view_of_same(&cases).ok_or(Refusal::CaseNotHere)?,
    ))
}

/// Adds entries to a case, or begins one.
pub fn add(
    cx: &mut dyn Cx,
    case: Option<CaseId>,
    area: Area,
    entries: Vec<Entry>,
    request: RequestId,
) -> Result<CaseId, Refusal> {
    let request = request.0;
    match cx.command(Command::AddToCase {
        case,
        area,
        entries,
        request,
    })? {
        Reply::Case(id) => Ok(id),
        Reply::Done | Reply::Unchanged | Reply::Document(_) | Reply::Taken(..) => {
            Err(Refusal::Nothing)
        }
    }
}

/// What a new case is begun with beside its findings.
#[derive(Clone)]
pub struct Beginning {
    /// Who the patient is, and what was consented to.
    pub head: Vec<Entry>,
    /// The space.
    pub area: Option<Area>,
    /// A decision, if it is made at once.
    pub decision: Option<DecisionInput>,
    /// The request's number.
    pub request: RequestId,
}

/// Begins a case from a findings file.
pub fn begin(
    cx: &mut dyn Cx,
    file: &str,
    profile: Profile,
    with: Beginning,
) -> Result<CaseNew, Refusal> {
    let area = default_area(cx, with.area.clone())?;
    let (assessor, now_s) = (cx.assessor(), cx.now().wall_s);
    in_its_time(now_s, &with.head)?;
    let age = age_of_head(&with.head, now_s);
    let (file, alone) = match assessor.read_file(file, &age) {
        Ok(file) => {
            let alone = assessor.assess(&file, profile);
            (file, alone)
        }
        // A danger sign is one at any age, or none, in the file or beside it.
        Err(why @ FindingsError::Age(_)) => {
            let ageless = assessor.read_ageless(file);
            let judged = ageless.and_then(|file| {
                let floor = assessor.by_floor(&with_what_is_beside(assessor, &file, &with.head))?;
                Some((file, floor))
            });
            judged.ok_or(Refusal::Findings(why))?
        }
        Err(why) => return Err(Refusal::Findings(why)),
    };
    said_once(&file, &with.head, now_s)?;
    let with_head = assess_with_head(assessor, &file, &with.head, profile, now_s);
    let assessment = with_head
        .filter(|with| with.urgency > alone.urgency)
        .unwrap_or(alone);
    let found = entries_of(&file).into_iter();
    let entries = with.head.iter().cloned().chain(found).collect();
    written(cx, area, entries, Some(assessment), &with)
}

/// Writes a case that begins, with what it was judged and decided.
fn written(
    cx: &mut dyn Cx,
    area: Area,
    mut entries: Vec<Entry>,
    assessment: Option<Assessment>,
    with: &Beginning,
) -> Result<CaseNew, Refusal> {
    let kept = assessment.as_ref().map(entry_of);
    entries.extend(kept.clone().map(Entry::Assessment));
    if let Some(decision) = &with.decision {
        entries.push(Entry::Decision(decide(decision, kept.as_ref())?));
    }
    let case = add(cx, None, area, entries, with.request)?;
    let stays = stays(cx, &case)?;
    Ok(CaseNew {
        case,
        decided: with.decision.is_some(),
        stays,
        assessment,
    })
}

/// Begins a case of a mother or an adult by fields of the record; of somebody whom no rules here are
/// for too, and then without an assessment.
pub fn begin_with_fields(
    cx: &mut dyn Cx,
    profile: Profile,
    with: Beginning,
) -> Result<CaseNew, Refusal> {
    let area = default_area(cx, with.area.clone())?;
    let (assessor, now_s) = (cx.assessor(), cx.now().wall_s);
    in_its_time(now_s, &with.head)?;
    let said = |entry: &Entry| matches!(entry, Entry::Finding { name, .. } if !name.starts_with("consent."));
    if !with.head.iter().any(said) {
        return Err(Refusal::NothingSaid);
    }
    if with.head.iter().any(is_young) {
        return Err(Refusal::IsAChild);
    }
    let assessment = assess_fields(assessor, &with.head, profile, now_s);
    written(cx, area, with.head.clone(), assessment, &with)
}

/// Decides on a case.
pub fn decide_on(
    cx: &mut dyn Cx,
    case: &str,
    decision: &DecisionInput,
    request: RequestId,
) -> Result<Decided, Refusal> {
    let id = find(cx, case)?;
    reassess(cx, id, request.0)?; // nobody decides on what was known yesterday
    let (row, view) = open(cx, id)?;
    let seen = view.assessments.last().map(|(_, assessment)| assessment);
    let entry = Entry::Decision(decide(decision, seen)?);
    let case = add(cx, Some(id), row.area, vec![entry], request)?;
    Ok(Decided { case })
}

/// Adds what a person says to a case, all of it or nothing.
pub fn add_words(
    cx: &mut dyn Cx,
    case: &str,
    words: &CaseWords,
    request: RequestId,
) -> Result<CaseId, Refusal> {
    let id = find(cx, case)?;
    let (row, view) = open(cx, id)?;
    let mut entries = entries_said(&view, words)?;
    in_its_time(cx.now().wall_s, &entries)?;
    if let Some(to) = &words.hand_to {
        let (to, reason) = (handover::colleague(cx, to)?, words.reason.clone());
        entries.push(Entry::Handover { to, reason });
    }
    let mut links = Vec::new();
    for (other, same) in &words.links {
        let other = find(cx, other)?;
        if other == id {
            return Err(Refusal::LinkedToItself);
        }
        entries.push(Entry::Link { other, same: *same });
        links.push((other, *same));
    }
    if entries.is_empty() {
        return Err(Refusal::NothingToAdd);
    }
    add(cx, Some(id), row.area, entries, request)?;
    // The other case learns of it too, under a number that follows from this one's.
    for (n, (other, same)) in (1u8..).zip(links) {
        let (row, _) = open(cx, other)?;
        let mut request = request;
        request.0[15] ^= n;
        add(
            cx,
            Some(other),
            row.area,
            vec![Entry::Link { other: id, same }],
            request,
        )?;
    }
    // What was said is kept even where the rules cannot judge it: the screen says so.
    let _ = reassess(cx, id, request.0);
    Ok(id)
}

/// What of a person's words concerns the case alone.
fn entries_said(view: &CaseView, words: &CaseWords) -> Result<Vec<Entry>, Refusal> {
    let mut entries = Vec::new();
    for (name, value) in &words.set {
        entries.push(finding(name, value)?);
    }
    for (name, value) in &words.settle {
        if value.trim().is_empty() {
            return Err(Refusal::NoAnswer(name.clone()));
        }
        if !view.findings.contains_key(name) {
            return Err(Refusal::NotSaid(name.clone()));
        }
        let Entry::Finding { name, value } = finding(name, value)? else {
            continue;
        };
        entries.push(Entry::Settled { name, value });
    }
    for (to, given) in &words.consent {
        entries.push(consented(to, *given)?);
    }
    if let Some(note) = &words.note {
        if note.trim().is_empty() {
            return Err(Refusal::EmptyNote);
        }
        entries.push(Entry::Note(record::clip(note.trim())));
    }
    match &words.dose {
        Some(dose) => entries.push(read_dose(dose, words)?),
        None if words.route.is_empty() && words.given.is_empty() => {}
        None => return Err(Refusal::DoseMissing),
    }
    if let Some(dose) = &words.not_given {
        entries.push(taken_back(view, dose, &words.reason)?);
    }
    Ok(entries)
}

/// Why a case does not leave this phone, if it does not.
pub fn stays(cx: &dyn Look, id: &CaseId) -> Result<Option<Stays>, Refusal> {
    if !cx.store().outbox()?.iter().any(|(case, _)| case == id) {
        return Ok(None);
    }
    let area = row(cx, *id)?.area;
    if locked(SpaceId::of(&area), cx.store())? {
        return Ok(Some(Stays::Locked(area)));
    }
    let (row, same) = open_all(cx, *id)?;
    Ok(Some(
        match (may_leave(&same), cx.known().write_key(&row.area)) {
            (false, _) => Stays::NoConsent,
            (true, _) if cx.known().certificate().is_none() => Stays::NotEnrolled,
            (true, None) => Stays::NoKey,
            (true, Some(_)) => Stays::AboutToBeSealed,
        },
    ))
}

/// Everything that was said, in the order in which it was: by whom, on which phone, and by which
/// rules and model.
pub fn history(cx: &dyn Look, case: &str) -> Result<History, Refusal> {
    let (_, cases) = open_all(cx, find(cx, case)?)?;
    let case = cases.first().map(record::Case::id);
    let mut entries: Vec<_> = cases.iter().flat_map(record::Case::entries).collect();
    entries.sort_by_key(|(stamp, _)| *stamp);
    let line = |(stamp, entry): (record::Stamp, Entry)| Line {
        said: case_view::said(cx, &entry),
        by: names::name_of(cx, &stamp.by),
        phone: stamp.by.short(),
        from_file: stamp.from_file,
        order: stamp.order,
        by_their_clock: instant(stamp.at_s),
    };
    Ok(History {
        case,
        history: entries.into_iter().map(line).collect(),
    })
}

/// What the rules cannot judge of a case now, or how urgent it is.
pub(super) fn judged_now(
    cx: &dyn Look,
    view: &CaseView,
) -> Result<Option<record::AssessmentEntry>, Refusal> {
    assess::assess(cx.assessor(), view, cx.now().wall_s)
}
