//! Cases as a list shows them: a line for each patient.

use std::collections::{BTreeMap, BTreeSet};

use clinical::date::instant;
use protocol::{CaseId, SpaceId, always};
use record::likeness;

use super::assess::{CaseNow, case_now};
use super::views::cases::{Cases, Duplicates, Next, Pair, Row, Sealed};
use super::{Look, Refusal, cases};
use crate::agent::locked;
use crate::store::CaseRow;

/// Cases among which duplicates are looked for.
const COMPARED_MAX: usize = 5000;

/// The cases of one patient: first the one that stands for them.
type Line = Vec<CaseRow>;

/// Settings and their values, to be kept.
type Settings = Vec<(CaseId, Vec<u8>)>;

/// Which cases are one patient's.
pub(super) struct Patients {
    /// For a case that stands in another's line: that other.
    line_of: BTreeMap<CaseId, CaseId>,
    /// What was judged anew to know it.
    judged: Settings,
}

impl Patients {
    /// The case in whose line a case stands: its own, where it is its patient's only one.
    pub(super) fn of(&self, case: CaseId) -> CaseId {
        self.line_of.get(&case).copied().unwrap_or(case)
    }
}

/// Which of these cases are one patient's, as far as each of them shows the other: where people
/// differ, two cases stay two. The one with most in it, else the one with the least id, stands for
/// them.
pub(super) fn patients(cx: &dyn Look, rows: &[CaseRow]) -> Result<Patients, Refusal> {
    let linked = crate::agent::linked(cx.store())?;
    let open = |row: &&CaseRow| !locked(SpaceId::of(&row.area), cx.store()).unwrap_or(true);
    let mut rows: Vec<_> = rows.iter().filter(|row| linked.contains(&row.id)).collect();
    rows.retain(open);
    let (mut same, mut judged) = (BTreeMap::new(), Vec::new());
    for row in &rows {
        let (now, fresh) = case_now(cx, row);
        judged.extend(fresh);
        same.insert(row.id, now.same);
    }
    let shows = |case: &CaseId, other| same.get(case).is_some_and(|same| same.contains(other));
    rows.sort_by_key(|row| (std::cmp::Reverse(row.entries), row.id));
    let mut line_of: BTreeMap<CaseId, CaseId> = BTreeMap::new();
    for row in rows {
        if line_of.contains_key(&row.id) {
            continue;
        }
        let others = same.get(&row.id).into_iter().flatten();
        for other in others.filter(|other| shows(other, &row.id)) {
            line_of.entry(*other).or_insert(row.id);
        }
    }
    always!(
        line_of.values().all(|line| !line_of.contains_key(line)),
        "a line stands in no other"
    );
    Ok(Patients { line_of, judged })
}

/// A line for each patient, in the order of the cases.
fn in_lines(rows: Vec<CaseRow>, line_of: &BTreeMap<CaseId, CaseId>) -> Vec<Line> {
    let (mut lines, mut places) = (Vec::<Line>::new(), BTreeMap::new());
    for row in rows {
        let stands = line_of.get(&row.id).copied().unwrap_or(row.id);
        let place = *places.entry(stands).or_insert(lines.len());
        match lines.get_mut(place) {
            Some(line) if row.id == stands => line.insert(0, row),
            Some(line) => line.push(row),
            None => lines.push(vec![row]),
        }
    }
    lines
}

/// What is to be done next about a case.
fn next(now: &CaseNow, (shut, waits, stays): (bool, bool, bool)) -> Next {
    match () {
        () if shut => Next::Unlock,
        () if now.questions > 0 => Next::Settle,
        () if now.undecided => Next::Decide,
        () if waits => Next::Await,
        () if stays => Next::LetGo,
        () => Next::Nothing,
    }
}

/// One page of the list of cases: those whose title has the letters of `find`, from the `after`th
/// patient on. What was judged anew for it comes beside it, to be remembered.
pub(super) fn list(
    cx: &dyn Look,
    find: &str,
    (after, limit): (usize, Option<usize>),
) -> Result<(Cases, Settings), Refusal> {
    let unsent: BTreeSet<_> = cx
        .store()
        .outbox()?
        .into_iter()
        .map(|(case, _)| case)
        .collect();
    let wanted = find.trim().to_lowercase();
    let shut = |row: &CaseRow| locked(SpaceId::of(&row.area), cx.store()).unwrap_or(true);
    let rows = cx.store().cases()?;
    let Patients { line_of, judged } = patients(cx, &rows)?;
    let mut lines = in_lines(rows, &line_of);
    let named = |row: &CaseRow| !shut(row) && row.title.to_lowercase().contains(&wanted);
    lines.retain(|line| wanted.is_empty() || line.iter().any(named));
    let matching = lines.len();
    let (mut cases, mut remember) = (Vec::new(), judged);
    let page = lines.iter().skip(after);
    for line in page.take(limit.unwrap_or(usize::MAX)) {
        let Some((row, others)) = line.split_first() else {
            continue;
        };
        let (now, fresh) = case_now(cx, row);
        remember.extend(fresh);
        let waits = now.waits || others.iter().any(|row| case_now(cx, row).0.waits);
        let (shut, stays) = (shut(row), line.iter().any(|row| unsent.contains(&row.id)));
        let next = next(&now, (shut, waits, stays));
        let changed_s = line
            .iter()
            .map(|row| row.changed_s)
            .max()
            .unwrap_or(row.changed_s);
        cases.push(Row {
            case: row.id,
            same_as: others.iter().map(|row| row.id).collect(),
            area: row.area.clone(),
            title: if shut {
                "locked".into()
            } else {
                row.title.clone()
            },
            urgency: line
                .iter()
                .map(|row| row.urgency)
                .max()
                .flatten()
                .max(now.urgency),
            entries: line.iter().map(|row| row.entries).sum(),
            changed_s,
            changed: instant(changed_s),
            questions: now.questions,
            waits,
            unsent: stays,
            next,
        });
    }
    always!(cases.len() <= matching);
    always!(limit.is_none_or(|limit| cases.len() <= limit));
    Ok((
        Cases {
            cases,
            matching,
            sealed: sealed(cx)?,
        },
        remember,
    ))
}

/// Sealed cases that are carried for others.
fn sealed(cx: &dyn Look) -> Result<Vec<Sealed>, Refusal> {
    let readable = |space: SpaceId| cx.known().space_keys().iter().any(|k| k.space() == space);
    let mut sealed = Vec::new();
    for row in cx
        .store()
        .spaces()?
        .into_iter()
        .filter(|row| !readable(row.space))
    {
        let envelopes = cx
            .store()
            .envelope_rows(row.space)
            .map_or(0, |rows| rows.len());
        if envelopes > 0 {
            sealed.push(Sealed {
                area: row.area,
                envelopes,
                bytes: row.bytes,
            });
        }
    }
    Ok(sealed)
}

/// Pairs of cases that may be one patient's, the most alike first. Those that a person has decided
/// about are left out.
pub(super) fn duplicates(cx: &dyn Look) -> Result<Duplicates, Refusal> {
    let mut views = Vec::new();
    for row in cx.store().cases()?.into_iter().take(COMPARED_MAX) {
        if let Some(case) = cases::load(cx, row.id)? {
            views.push((row, case.view()));
        }
    }
    let mut pairs = Vec::new();
    for (i, (a, view)) in views.iter().enumerate() {
        for (b, other) in views.iter().skip(i + 1) {
            let decided = view.links.contains_key(&b.id) || other.links.contains_key(&a.id);
            if let Some(alike) = likeness(view, other).filter(|_| !decided) {
                pairs.push((alike, a, b));
            }
        }
    }
    always!(pairs.iter().all(|(_, a, b)| a.id != b.id));
    pairs.sort_by_key(|(alike, a, b)| (std::cmp::Reverse(*alike), a.id, b.id));
    let pair = |(alike, a, b): (u32, &CaseRow, &CaseRow)| Pair {
        alike,
        a: a.id,
        b: b.id,
        a_title: a.title.clone(),
        b_title: b.title.clone(),
    };
    Ok(Duplicates {
        pairs: pairs.into_iter().map(pair).collect(),
    })
}
