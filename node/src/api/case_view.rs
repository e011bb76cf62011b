//! One case, as [`views::case`](super::views::case) shows it.

use std::collections::BTreeSet;

use clinical::FindingsError;
use clinical::age::AgeError;
use clinical::date::instant;
use protocol::{DeviceId, Digest, always};
use record::{CaseView, Dose as Given, Entry, FindingState, Stamp};
use sync::envelope::author_key;

use super::decide::UNJUDGED;
use super::views::case::{
    Assessed, Begun, By, Case, Decision, Dose, Doses, Finding, Note, Photo, Said, Standing,
    TakenBack, Word,
};
use super::{Look, Refusal, assess, cases, names};
use crate::agent::{Whereabouts, whereabouts};
use crate::store::CaseRow;

fn by(stamp: &Stamp) -> By {
    By {
        by: stamp.by.short(),
        at_s: stamp.at_s,
        order: stamp.order,
        from_file: stamp.from_file,
    }
}

/// One case by its id or the beginning of it.
pub fn show(cx: &dyn Look, case: &str) -> Result<Case, Refusal> {
    let (row, view) = cases::open(cx, cases::find(cx, case)?)?;
    of(cx, &row, &view)
}

/// A case as it stands.
pub(super) fn of(cx: &dyn Look, row: &CaseRow, view: &CaseView) -> Result<Case, Refusal> {
    let decided = view.decisions.iter().map(|(_, d)| d.urgency).max();
    let (by_rules, unjudged) = match cases::judged_now(cx, view) {
        Ok(None) if assess::wants_age(view, cx.now().wall_s) => {
            (None, Some(FindingsError::Age(AgeError::Missing)))
        }
        Ok(entry) => (entry.map(|entry| entry.urgency), None),
        Err(Refusal::CannotJudge(error)) => (None, Some(error)),
        Err(other) => return Err(other),
    };
    let now = by_rules.max(view.urgency());
    let stamps = view
        .findings
        .values()
        .flat_map(|state| &state.said)
        .map(|(stamp, _)| *stamp);
    let stamps = stamps.chain(view.decisions.iter().map(|(stamp, _)| *stamp));
    let begun = stamps.min_by_key(|stamp| stamp.order).map(|stamp| Begun {
        by: names::name_of(cx, &stamp.by),
        by_their_clock: instant(stamp.at_s),
    });
    let finding = |(name, state): (&String, &FindingState)| (name.clone(), finding(cx, state));
    let unsure = view
        .links
        .iter()
        .filter(|(_, state)| state.disputed)
        .map(|(other, _)| *other);
    let Whereabouts {
        envelopes,
        held_by,
        held_in_part,
        reached,
        unsent,
    } = whereabouts(row, cx.known(), cx.store())?;
    let named = |cx: &dyn Look, phones: &BTreeSet<DeviceId>| {
        let names = phones.iter().map(|device| names::name_of(cx, device));
        names.collect()
    };
    let met = cx.store().peers()?.into_iter().map(|p| p.device);
    let known: Vec<_> = met.chain([cx.known().id()]).collect();
    let reached = reached.into_iter().map(|keeper| {
        match known.iter().find(|device| author_key(device) == keeper) {
            Some(device) => names::name_of(cx, device),
            None => names::name_of_author(cx, keeper),
        }
    });
    Ok(Case {
        case: view.id,
        area: row.area.clone(),
        begun,
        changed: instant(row.changed_s),
        urgency: now,
        decided,
        undecided: now.filter(|now| decided.is_some_and(|decided| *now > decided)),
        unjudged,
        findings: view.findings.iter().map(finding).collect(),
        assessments: assessments(view),
        decisions: decisions(view),
        doses: doses(view),
        each_dose: view.doses.iter().map(|given| dose(cx, given)).collect(),
        notes: view
            .notes
            .iter()
            .map(|(s, n)| Note {
                note: n.clone(),
                said: by(s),
            })
            .collect(),
        photos: photos(view),
        same_as: view.same_as().collect(),
        perhaps_same_as: unsure.collect(),
        care_disputed: view.care.as_ref().is_some_and(|care| care.disputed),
        cared_for_by: view
            .responsible()
            .iter()
            .map(|d| names::name_of(cx, d))
            .collect(),
        newer_entries: view.newer.clone(),
        waits: cases::load(cx, row.id)?.is_some_and(|case| case.waiting() > 0),
        sealed: envelopes,
        unsent,
        stays: cases::stays(cx, &view.id)?,
        held_by: named(cx, &held_by),
        held_in_part: named(cx, &held_in_part),
        reached: reached.collect(),
    })
}

fn finding(cx: &dyn Look, state: &FindingState) -> Finding {
    let said = state.said.iter();
    let standing = state.standing.iter();
    Finding {
        value: state.value.clone(),
        disputed: state.disputed,
        said: said
            .map(|(stamp, v)| Word {
                value: v.clone(),
                said: by(stamp),
            })
            .collect(),
        standing: standing
            .map(|(s, v)| Standing {
                value: v.clone(),
                by: names::name_of(cx, &s.by),
                from_file: s.from_file,
            })
            .collect(),
    }
}

fn assessments(view: &CaseView) -> Vec<Assessed> {
    let assessed = view.assessments.iter().map(|(stamp, a)| Assessed {
        urgency: a.urgency,
        rules_fired: a.rules_fired.clone(),
        differential: a.differential.clone(),
        rules: a.rules.clone(),
        model: a.model.clone(),
        said: by(stamp),
    });
    assessed.collect()
}

fn decisions(view: &CaseView) -> Vec<Decision> {
    let decided = view.decisions.iter().map(|(stamp, d)| Decision {
        urgency: d.urgency,
        agrees: d.agrees,
        reason: d.reason.clone(),
        plan: d.plan.clone(),
        rules: d.rules.clone(),
        model: d.model.clone(),
        app: d.app.clone(),
        said: by(stamp),
    });
    decided.collect()
}

fn doses(view: &CaseView) -> Vec<Doses> {
    let given = view.doses_given().into_iter();
    let sum = |((medicine, unit), (times, amount)): ((&str, &str), (usize, f64))| Doses {
        medicine: medicine.to_owned(),
        unit: unit.to_owned(),
        times,
        amount,
    };
    let doses: Vec<_> = given.map(sum).collect();
    let times = || doses.iter().map(|doses| doses.times).sum::<usize>();
    let counted = || view.doses.iter().filter(|given| given.counts()).count();
    always!(times() == counted(), "every dose counts once");
    doses
}

fn dose(cx: &dyn Look, given: &Given) -> Dose {
    let back = given.taken_back.iter();
    Dose {
        id: given.id(),
        medicine: given.dose.medicine.clone(),
        amount: given.dose.amount,
        unit: given.dose.unit.clone(),
        route: given.dose.route.clone(),
        given: given.dose.given.clone(),
        by: names::name_of(cx, &given.stamp.by),
        from_file: given.stamp.from_file,
        taken_back: back
            .map(|(s, why)| TakenBack {
                by: names::name_of(cx, &s.by),
                why: why.clone(),
            })
            .collect(),
    }
}

fn photos(view: &CaseView) -> Vec<Photo> {
    let photos = view.photos.iter().map(|(stamp, p)| Photo {
        shows: p.shows.clone(),
        camera: p.camera.clone(),
        light: p.light.clone(),
        blob: p.blob,
        bytes: p.bytes,
        said: by(stamp),
    });
    photos.collect()
}

/// One thing that was said.
pub(super) fn said(cx: &dyn Look, entry: &Entry) -> Said {
    match entry.clone() {
        Entry::Finding { name, value } => Said::Finding(name, value),
        Entry::Settled { name, value } => Said::Settled(name, value),
        Entry::Link { other, same } => Said::Link(other, same),
        Entry::Assessment(a) => Said::Assessment(a.urgency, a.rules, a.model),
        Entry::Decision(d) => Said::Decision {
            urgency: d.urgency,
            agrees: (d.rules != UNJUDGED).then_some(d.agrees),
            reason: d.reason,
            plan: d.plan,
            rules: d.rules,
            model: d.model,
            app: d.app,
        },
        Entry::Dose(d) => Said::Dose {
            medicine: d.medicine,
            amount: d.amount,
            unit: d.unit,
            route: d.route,
            given: d.given,
        },
        Entry::NotGiven { dose, reason } => {
            Said::NotGiven(Digest::of(dose.as_bytes()).short(), reason)
        }
        Entry::Note(note) => Said::Note(note),
        Entry::Handover { to, reason } => Said::Handover(names::name_of(cx, &to), reason),
        Entry::Photo(p) => Said::Photo(p.shows),
    }
}
