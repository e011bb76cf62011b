//! Requests about cases: beginning them, adding to them, showing them.

use clinical::{FindingValue, Profile, Urgency};
use protocol::{Area, CaseId, DeviceId, SpaceId};
use record::likeness;
use record::{Case, CaseView, Entry, Stamp};
use serde_json::{Value as Json, json};
use sync::envelope::author_key;

use super::super::requests::{CaseWords, DecisionInput};
use super::super::triage::{assessment_entry, finding_entries};
use super::answers::{Answered, parse_area, parse_request};
use super::words::{UNJUDGED, consented, decide, finding, is_young, read_dose, taken_back};
use super::*;
use crate::agent::{Whereabouts, locked, setting, whereabouts};
use crate::store::CaseRow;

/// Least digits of a case id that name a case.
const CASE_PREFIX_MIN: usize = 4;
/// Cases among which duplicates are looked for.
const COMPARED_MAX: usize = 5000;

impl Body {
    pub(super) fn default_area(&self, area: Option<&str>) -> Result<Area, Refusal> {
        if let Some(text) = area {
            return parse_area(text);
        }
        let mut areas: std::collections::BTreeSet<_> = self
            .agent
            .space_keys()
            .iter()
            .map(|key| key.area().clone())
            .collect();
        // Without a key what is written waits for one: where the phone may write, a patient is
        // never turned away.
        let may_write = |space| {
            self.agent
                .certificate()
                .is_some_and(|c| c.may_write_in(space))
        };
        if areas.is_empty() {
            areas = self
                .store
                .spaces()?
                .into_iter()
                .filter(|row| may_write(row.space))
                .map(|row| row.area)
                .collect();
        }
        match areas.iter().collect::<Vec<_>>().as_slice() {
            [] if self
                .agent
                .certificate()
                .is_some_and(|c| c.rights.has(protocol::certificate::Right::Write)) =>
            {
                Err(Refusal::NoSpace { may_write: true })
            }
            [] => Err(Refusal::NoSpace { may_write: false }),
            [only] => Ok((*only).clone()),
            several => Err(Refusal::SeveralSpaces(
                several.iter().map(|area| (*area).clone()).collect(),
            )),
        }
    }

    pub(super) fn case_new(
        &mut self,
        file: &str,
        profile: Profile,
        head: Vec<Entry>,
        area: Area,
        decision: Option<DecisionInput>,
        request: &str,
    ) -> Answered {
        let request = parse_request(request)?;
        let (findings, assessment) = self
            .engine
            .assess(file, profile)
            .map_err(|e| Refusal::Findings(e))?;
        let with_head = self.assess_with_head(&findings, &head, profile);
        let assessment = with_head
            .filter(|with| with.urgency > assessment.urgency)
            .unwrap_or(assessment);
        let mut entries = head;
        entries.extend(finding_entries(&findings));
        let kept = assessment_entry(&assessment);
        entries.push(Entry::Assessment(kept.clone()));
        if let Some(decision) = &decision {
            entries.push(Entry::Decision(decide(decision, Some(&kept))?));
        }
        let id = self.add(None, area, entries, request)?;
        let stays = self.stays(&id)?;
        Ok(
            json!({ "schema": "kijiti.case-new/1", "case": id.to_string(), "decided": decision.is_some(),
                   "stays": stays, "assessment": assessment.said() }),
        )
    }

    /// A case of somebody whom no rules here are for.
    pub(super) fn case_begin(
        &mut self,
        mut entries: Vec<Entry>,
        area: Area,
        decision: Option<DecisionInput>,
        request: &str,
    ) -> Answered {
        let request = parse_request(request)?;
        if !entries.iter().any(
            |entry| matches!(entry, Entry::Finding { name, .. } if !name.starts_with("consent.")),
        ) {
            return Err(Refusal::NothingSaid);
        }
        if entries.iter().any(is_young) {
            return Err(Refusal::IsAChild);
        }
        if let Some(decision) = &decision {
            entries.push(Entry::Decision(decide(decision, None)?));
        }
        let id = self.add(None, area, entries, request)?;
        let stays = self.stays(&id)?;
        Ok(
            json!({ "schema": "kijiti.case-new/1", "case": id.to_string(), "decided": decision.is_some(),
                   "stays": stays, "assessment": null }),
        )
    }

    pub(super) fn case_decide(
        &mut self,
        case: &str,
        decision: &DecisionInput,
        request: &str,
    ) -> Answered {
        let request = parse_request(request)?;
        let id = self.find_case(case)?;
        self.reassess(id, request)?; // nobody decides on what was known yesterday
        let (row, view) = self.open_case(id)?;
        let entry = Entry::Decision(decide(
            decision,
            view.assessments.last().map(|(_, assessment)| assessment),
        )?);
        let id = self.add(Some(id), row.area, vec![entry], request)?;
        Ok(json!({ "schema": "kijiti.case-decide/1", "case": id.to_string() }))
    }

    pub(super) fn add(
        &mut self,
        case: Option<CaseId>,
        area: Area,
        entries: Vec<Entry>,
        request: [u8; 16],
    ) -> Result<CaseId, Refusal> {
        match self.command(Command::AddToCase {
            case,
            area,
            entries,
            request,
        })? {
            Reply::Case(id) => Ok(id),
            Reply::Done | Reply::Unchanged | Reply::Document(_) => Err(Refusal::Nothing),
        }
    }

    pub(super) fn find_case(&self, text: &str) -> Result<CaseId, Refusal> {
        let rows = self.store.cases()?;
        let text = text.trim().to_lowercase();
        let named: Vec<_> = rows
            .iter()
            .filter(|r| r.id.to_string().starts_with(&text))
            .collect();
        match named.as_slice() {
            [only] if text.len() >= CASE_PREFIX_MIN => Ok(only.id),
            [] | [_] => Err(Refusal::NoSuchCase(text.clone())),
            [_, _, ..] => Err(Refusal::SeveralCases(text.clone())),
        }
    }

    /// A case with all that people have found to be the same patient's.
    pub(super) fn open_cases(&self, id: CaseId) -> Result<(CaseRow, Vec<Case>), Refusal> {
        let row = self.store.case_row(&id)?;
        let (Some(row), Some(case)) = (row, self.load_case(id)?) else {
            return Err(Refusal::CaseNotHere);
        };
        Ok((row, case.and_same(|other| self.load_case(other))?))
    }

    /// The same as a screen shows it.
    pub(super) fn open_case(&self, id: CaseId) -> Result<(CaseRow, CaseView), Refusal> {
        let (row, cases) = self.open_cases(id)?;
        let view = Case::view_of_same(&cases).ok_or_else(|| Refusal::CaseNotHere)?;
        Ok((row, view))
    }

    /// A case's row.
    pub(super) fn find_row(&self, id: CaseId) -> Result<CaseRow, Refusal> {
        let row = self.store.case_row(&id)?;
        row.ok_or_else(|| Refusal::CaseNotHere)
    }

    /// A document, unless its space is locked here.
    pub(super) fn load_case(&self, id: CaseId) -> Result<Option<Case>, Refusal> {
        let row = self.store.case_row(&id)?;
        if let Some(row) =
            row.filter(|row| locked(SpaceId::of(&row.area), &self.store).unwrap_or(true))
        {
            return Err(Refusal::Locked(row.area.clone()));
        }
        let Some(document) = self.store.case(&id)? else {
            return Ok(None);
        };
        let loaded = Case::load(id, &document);
        loaded
            .map(Some)
            .map_err(|e| Refusal::CaseDamaged(e.to_string()))
    }

    /// The name that a phone's certificate gives it.
    pub(super) fn name_of(&self, device: &DeviceId) -> String {
        self.certified_name(device)
            .unwrap_or_else(|| format!("phone {}", device.short()))
    }

    /// The same, if there ever was one.
    pub(super) fn certified_name(&self, device: &DeviceId) -> Option<String> {
        let chains = self.store.chains(author_key(device)).unwrap_or_default();
        let leaves = chains.iter().filter_map(|bytes| {
            protocol::Chain::from_bytes(bytes)
                .ok()?
                .certificates
                .last()?
                .read()
                .ok()
        });
        let named = leaves.into_iter().rfind(|leaf| leaf.device == *device);
        named.map(|leaf| leaf.name)
    }

    /// Why a case does not leave this phone, if it does not.
    fn stays(&self, id: &CaseId) -> Result<Option<String>, Refusal> {
        if !self.store.unsent()?.iter().any(|(case, _)| case == id) {
            return Ok(None);
        }
        let row = self.find_row(*id)?;
        if locked(SpaceId::of(&row.area), &self.store)? {
            return Ok(Some(format!(
                "the keys of {} are locked here: it waits for the code of who keeps the space",
                row.area
            )));
        }
        let (row, view) = self.open_case(*id)?;
        let why = match (view.consents("share"), self.agent.write_key(&row.area)) {
            (false, _) => "no consent to share it: kijiti case add CASE --consent share",
            (true, _) if self.agent.certificate().is_none() => {
                "this phone is not enrolled: kijiti enrol request"
            }
            (true, None) => {
                "the key of its space was ended because a phone was lost, or has not come yet: meet the clinic"
            }
            (true, Some(_)) => "it is about to be sealed",
        };
        Ok(Some(why.to_owned()))
    }

    fn case_json(&self, row: &CaseRow, view: &CaseView) -> Answered {
        let by = |stamp: &Stamp| json!({ "by": stamp.by.short(), "at_s": stamp.at_s, "order": stamp.order });
        let mut findings = serde_json::Map::new();
        for (name, state) in &view.findings {
            let said: Vec<_> = state
                .said
                .iter()
                .map(|(stamp, v)| json!({ "value": value_json(v), "said": by(stamp) }))
                .collect();
            let standing: Vec<_> = state
                .standing
                .iter()
                .map(|(stamp, v)| json!({ "value": value_json(v), "by": self.name_of(&stamp.by) }))
                .collect();
            let state = json!({ "value": value_json(&state.value), "disputed": state.disputed, "said": said, "standing": standing });
            findings.insert(name.clone(), state);
        }
        let assessments = view.assessments.iter().map(|(stamp, a)| {
            json!({ "urgency": a.urgency.name(), "rules_fired": a.rules_fired, "differential": a.differential,
                "rules": a.rules, "model": a.model, "said": by(stamp) })
        });
        let decisions = view.decisions.iter().map(|(stamp, d)| {
            json!({ "urgency": d.urgency.name(), "agrees": d.agrees, "reason": d.reason, "plan": d.plan,
                "rules": d.rules, "model": d.model, "app": d.app, "said": by(stamp) })
        });
        let doses = view.doses_given().into_iter().map(|((medicine, unit), (count, amount))| {
            json!({ "medicine": medicine, "unit": unit, "times": count, "amount": amount })
        });
        let each_dose = view.doses.iter().map(|given| {
            let why = given.taken_back.iter().map(|(stamp, why)| json!({ "by": self.name_of(&stamp.by), "why": why }));
            json!({ "id": given.id(), "medicine": given.dose.medicine, "amount": given.dose.amount, "unit": given.dose.unit,
                "route": given.dose.route, "given": given.dose.given, "by": self.name_of(&given.stamp.by),
                "taken_back": why.collect::<Vec<_>>() })
        });
        let notes = view
            .notes
            .iter()
            .map(|(stamp, note)| json!({ "note": note, "said": by(stamp) }));
        let same = view
            .same_as()
            .filter(|other| *other != view.id)
            .map(|other| other.to_string());
        let unsure = view
            .links
            .iter()
            .filter(|(_, state)| state.disputed)
            .map(|(other, _)| other.to_string());
        let photos = view.photos.iter().map(
            |(stamp, p)| json!({ "shows": p.shows, "camera": p.camera, "light": p.light, "blob": p.blob.to_string(), "bytes": p.bytes, "said": by(stamp) }),
        );
        let decided = view.decisions.iter().map(|(_, d)| d.urgency).max();
        let stamps = view
            .findings
            .values()
            .flat_map(|state| &state.said)
            .map(|(stamp, _)| *stamp);
        let stamps = stamps.chain(view.decisions.iter().map(|(stamp, _)| *stamp));
        let begun = stamps.min_by_key(|stamp| stamp.order);
        let judged = self.assess_now(view);
        let unjudged = judged.as_ref().err().cloned();
        let now = [judged.ok().flatten().map(|a| a.urgency), view.urgency()]
            .into_iter()
            .flatten()
            .max();
        let undecided = now
            .filter(|now| decided.is_some_and(|decided| *now > decided))
            .map(Urgency::name);
        let waits = self
            .load_case(row.id)?
            .is_some_and(|case| case.waiting() > 0);
        let Whereabouts {
            envelopes,
            held_by,
            reached,
            unsent,
        } = whereabouts(row, &self.store)?;
        let clinics: Vec<_> = self
            .store
            .peers()?
            .iter()
            .map(|p| p.device)
            .chain([self.agent.id()])
            .collect();
        let reached: Vec<String> = reached
            .iter()
            .map(
                |keeper| match clinics.iter().find(|device| author_key(device) == *keeper) {
                    Some(device) => self.name_of(device),
                    None => self.name_of_author(keeper),
                },
            )
            .collect();
        Ok(json!({
            "schema": "kijiti.case/1",
            "case": view.id.to_string(),
            "area": row.area.to_string(),
            "begun": begun.map(|stamp| json!({ "by": self.name_of(&stamp.by), "by_their_clock": clinical::date::instant(stamp.at_s) })),
            "changed": clinical::date::instant(row.changed_s),
            "urgency": now.map(Urgency::name),
            "decided": decided.map(Urgency::name),
            "undecided": undecided,
            "unjudged": unjudged,
            "findings": findings,
            "assessments": assessments.collect::<Vec<_>>(),
            "decisions": decisions.collect::<Vec<_>>(),
            "doses": doses.collect::<Vec<_>>(),
            "each_dose": each_dose.collect::<Vec<_>>(),
            "notes": notes.collect::<Vec<_>>(),
            "photos": photos.collect::<Vec<_>>(),
            "same_as": same.collect::<Vec<_>>(),
            "perhaps_same_as": unsure.collect::<Vec<_>>(),
            "care_disputed": view.care.as_ref().is_some_and(|care| care.disputed),
            "cared_for_by": view.responsible().iter().map(|device| self.name_of(device)).collect::<Vec<_>>(),
            "newer_entries": view.newer,
            "waits": waits,
            "sealed": envelopes,
            "unsent": unsent,
            "stays": self.stays(&view.id)?,
            "held_by": held_by.iter().map(|device| self.name_of(device)).collect::<Vec<_>>(),
            "reached": reached,
        }))
    }

    pub(super) fn name_of_author(&self, author: &sync::envelope::AuthorKey) -> String {
        let chains = self.store.chains(*author).unwrap_or_default();
        let leaf = chains.iter().find_map(|bytes| {
            protocol::Chain::from_bytes(bytes)
                .ok()?
                .certificates
                .last()?
                .read()
                .ok()
        });
        leaf.map_or_else(|| "a clinic".to_owned(), |leaf| leaf.name)
    }

    pub(super) fn case_show(&self, case: &str) -> Answered {
        let (row, view) = self.open_case(self.find_case(case)?)?;
        self.case_json(&row, &view)
    }

    pub(super) fn case_list(&mut self) -> Answered {
        let waiting: std::collections::BTreeSet<_> = self
            .store
            .unsent()?
            .into_iter()
            .map(|(case, _)| case)
            .collect();
        let rows = self.store.cases()?;
        let now: Vec<_> = rows.iter().map(|row| self.now_of(row)).collect();
        let cases: Vec<_> = rows
            .iter()
            .zip(now)
            .map(|(row, now)| {
                let shut = locked(SpaceId::of(&row.area), &self.store).unwrap_or(true);
                let title = if shut { "locked" } else { row.title.as_str() };
                json!({ "case": row.id.to_string(), "area": row.area.to_string(), "title": title,
                    "urgency": now.urgency.max(row.urgency).map(Urgency::name), "entries": row.entries,
                    "changed_s": row.changed_s, "changed": clinical::date::instant(row.changed_s),
                    "questions": now.questions, "waits": now.waits, "unsent": waiting.contains(&row.id) })
            })
            .collect();
        let readable =
            |space: &SpaceId| self.agent.space_keys().iter().any(|k| k.space() == *space);
        let sealed: Vec<_> = self
            .store
            .spaces()?
            .iter()
            .filter(|row| !readable(&row.space))
            .map(|row| {
                let sealed = self
                    .store
                    .envelope_rows(row.space)
                    .map(|rows| rows.len())
                    .unwrap_or(0);
                json!({ "area": row.area.to_string(), "envelopes": sealed, "bytes": row.bytes })
            })
            .filter(|row| row.get("envelopes").and_then(Json::as_u64) != Some(0))
            .collect();
        Ok(json!({ "schema": "kijiti.case-list/1", "cases": cases, "sealed": sealed }))
    }

    /// One thing that was said, for people.
    pub(super) fn entry_words(&self, entry: &Entry) -> String {
        match entry {
            Entry::Finding { name, value } => format!("{name} = {}", value.words()),
            Entry::Settled { name, value } => format!("settled: {name} = {}", value.words()),
            Entry::Link { other, same: true } => {
                format!("the same patient as case {}", other.short())
            }
            Entry::Link { other, same: false } => {
                format!("not the same patient as case {}", other.short())
            }
            Entry::Assessment(a) => format!(
                "assessed {} by {} and {}",
                a.urgency.name(),
                a.rules,
                a.model
            ),
            Entry::Decision(d) => {
                let agrees = match (d.rules.as_str(), d.agrees) {
                    (UNJUDGED, _) => "without an assessment",
                    (_, true) => "as assessed",
                    (_, false) => "otherwise than assessed",
                };
                format!(
                    "decided {} {agrees}{}; seen{}: {} and {}; {}",
                    d.urgency.name(),
                    if d.reason.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", d.reason)
                    },
                    if d.app.is_empty() {
                        String::new()
                    } else {
                        format!(" in {}", d.app)
                    },
                    d.rules,
                    d.model,
                    d.plan
                )
            }
            Entry::Dose(d) => {
                let what = format!("gave {} {} {}", d.medicine, d.amount, d.unit);
                let said = [&what, &d.route, &d.given]
                    .into_iter()
                    .filter(|words| !words.is_empty());
                said.cloned().collect::<Vec<_>>().join(", ")
            }
            Entry::NotGiven { dose, reason } => {
                format!(
                    "dose {} was not given after all: {reason}",
                    protocol::Digest::of(dose.as_bytes()).short()
                )
            }
            Entry::Note(note) => format!("noted: {note}"),
            Entry::Handover { to, reason } => format!("handed to {}: {reason}", self.name_of(to)),
            Entry::Photo(p) => format!("photo of {}", p.shows),
        }
    }

    /// Everything that was said, in the order in which it was: by whom, on which phone, and by
    /// which rules and model.
    pub(super) fn case_history(&self, case: &str) -> Answered {
        let (_, cases) = self.open_cases(self.find_case(case)?)?;
        let id = cases.first().map(|case| case.id().to_string());
        let entries = cases.iter().flat_map(Case::entries);
        let mut lines: Vec<_> = entries
            .map(|(stamp, entry)| (stamp, self.entry_words(&entry)))
            .collect();
        lines.sort();
        let lines: Vec<_> = lines
            .into_iter()
            .map(|(stamp, what)| {
                json!({ "what": what, "by": self.name_of(&stamp.by), "phone": stamp.by.short(), "order": stamp.order,
                        "by_their_clock": clinical::date::instant(stamp.at_s) })
            })
            .collect();
        Ok(json!({ "schema": "kijiti.case-history/1", "case": id, "history": lines }))
    }

    /// Pairs of cases that may be one patient's, the most alike first. Those that a person has
    /// decided about are left out.
    pub(super) fn case_duplicates(&self) -> Answered {
        let mut views = Vec::new();
        for row in self.store.cases()?.into_iter().take(COMPARED_MAX) {
            if let Some(case) = self.load_case(row.id)? {
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
        pairs.sort_by_key(|(alike, a, b)| (std::cmp::Reverse(*alike), a.id, b.id));
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(alike, a, b)| {
                json!({ "alike": alike, "a": a.id.to_string(), "b": b.id.to_string(), "a_title": a.title, "b_title": b.title })
            })
            .collect();
        Ok(json!({ "schema": "kijiti.case-duplicates/1", "pairs": pairs }))
    }

    /// Adds what a person says to a case, all of it or nothing.
    pub(super) fn case_add(&mut self, case: &str, words: &CaseWords, request: &str) -> Answered {
        let request = parse_request(request)?;
        let id = self.find_case(case)?;
        let (row, view) = self.open_case(id)?;
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
        if words
            .note
            .as_ref()
            .is_some_and(|note| note.trim().is_empty())
        {
            return Err(Refusal::EmptyNote);
        }
        entries.extend(
            words
                .note
                .iter()
                .map(|note| Entry::Note(record::clip(note))),
        );
        entries.extend(
            words
                .dose
                .iter()
                .map(|dose| read_dose(dose, words))
                .collect::<Result<Vec<_>, _>>()?,
        );
        if words.dose.is_none() && !(words.route.is_empty() && words.given.is_empty()) {
            return Err(Refusal::DoseMissing);
        }
        if let Some(dose) = &words.not_given {
            entries.push(taken_back(&view, dose, &words.reason)?);
        }
        if let Some(to) = &words.hand_to {
            entries.push(Entry::Handover {
                to: self.find_colleague(to)?,
                reason: words.reason.clone(),
            });
        }
        let mut links = Vec::new();
        for (other, same) in &words.links {
            let other = self.find_case(other)?;
            if other == id {
                return Err(Refusal::LinkedToItself);
            }
            entries.push(Entry::Link { other, same: *same });
            links.push((other, *same));
        }
        if entries.is_empty() {
            return Err(Refusal::NothingToAdd);
        }
        self.add(Some(id), row.area, entries, request)?;
        // The other case learns of it too, under a number that follows from this one's.
        for (n, (other, same)) in (1u8..).zip(links) {
            let (row, _) = self.open_case(other)?;
            let mut request = request;
            request[15] ^= n;
            self.add(
                Some(other),
                row.area,
                vec![Entry::Link { other: id, same }],
                request,
            )?;
        }
        // What was said is kept even where the rules cannot judge it: the screen says so.
        let _ = self.reassess(id, request);
        self.case_show(&id.to_string())
    }

    /// A phone by its id, the beginning of it, or the name of its certificate: one that was met,
    /// one that is lost, this one.
    pub(super) fn find_phone(&self, text: &str) -> Result<DeviceId, Refusal> {
        if let Ok(device) = text.parse() {
            return Ok(device);
        }
        let mut known: BTreeMap<DeviceId, String> = self
            .store
            .peers()?
            .into_iter()
            .map(|peer| (peer.device, peer.name))
            .collect();
        let forerunner = self.restored_from();
        let others = self
            .agent
            .lost()
            .map(|(lost, _)| *lost)
            .chain(forerunner)
            .chain([self.agent.id()]);
        known.extend(others.map(|device| (device, self.name_of(&device))));
        let is = |(device, name): &(&DeviceId, &String)| {
            name.as_str() == text || (text.len() >= 8 && device.to_string().starts_with(text))
        };
        match known.iter().filter(is).collect::<Vec<_>>().as_slice() {
            [(only, _)] => Ok(**only),
            [] => Err(Refusal::NoSuchPhone(text.to_owned(), false)),
            _ => Err(Refusal::NoSuchPhone(text.to_owned(), true)),
        }
    }

    /// The phone of whose backup this one was made.
    pub(super) fn restored_from(&self) -> Option<DeviceId> {
        DeviceId::from_slice(&self.store.setting(setting::RESTORED_FROM).ok()??)
    }
}

fn value_json(value: &FindingValue) -> Json {
    match value {
        FindingValue::Number(number) => json!(number),
        other => json!(other.words()),
    }
}
