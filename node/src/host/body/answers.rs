//! Requests of people, answered from the agent and its store.

use std::path::Path;

use distribution::activation::Module;
use distribution::{Offer, Release, Root, tree};
use protocol::certificate::{CertificateRequest, Rights};
use protocol::signed::Signed;
use protocol::{Area, CaseId, Chain};
use serde_json::{Value as Json, json};
use sync::space::sealing_public_key;

use super::super::backup;
use super::super::requests::Request;
use super::*;
use crate::api::Paper;

pub(super) type Answered = Result<Json, Refusal>;

pub(super) fn meeting_answer(summary: &MeetingSummary) -> Answered {
    let json = json!({
        "schema": "kijiti.meeting/1",
        "name": summary.name,
        "complete": summary.complete,
        "in_step": summary.in_step,
        "not_in_step": summary.not_in_step,
        "envelopes_sent": summary.envelopes_sent,
        "envelopes_taken": summary.envelopes_taken,
        "bundle_bytes_sent": summary.bundle_bytes_sent,
        "bundle_bytes_taken": summary.bundle_bytes_taken,
        "bytes_sent": summary.bytes_sent,
        "bytes_received": summary.bytes_received,
        "finding_bytes": summary.finding_bytes,
        "finding_round_trips": f64::from(summary.turns) / 2.0,
        "reason": summary.reason,
    });
    match summary.complete {
        true => Ok(json),
        false if summary.refused => Err(Refusal::MeetingRefused(summary.reason.clone())),
        false => Err(Refusal::MeetingCut(summary.reason.clone())),
    }
}

/// What was checked of a release before its own test, in words.
pub(super) fn release_checks(agent: &Agent, release: &Release) -> Vec<String> {
    let Some(trust) = agent.trust() else {
        return Vec::new();
    };
    let Some((root, list)) = trust.root().zip(trust.list()) else {
        return Vec::new();
    };
    let signed = list.signed().valid_signatures(&root.releases);
    vec![
        format!(
            "root version {} reached from the anchor of {}",
            root.version, root.ministry
        ),
        match trust.list_binds() {
            true => {
                format!(
                    "release list {} signed by {signed} keys, {} needed",
                    list.version, root.releases.threshold
                )
            }
            false => format!(
                "release list {} was in force when it came; its keys are retired since",
                list.version
            ),
        },
        "no list or release older than one held before".to_owned(),
        format!(
            "all {} groups and the whole {} bytes match digest {}",
            tree::group_count(release.bytes),
            release.bytes,
            release.digest.short()
        ),
        format!(
            "meant for area {} and engine {} or newer",
            release.area, release.engine_min
        ),
    ]
}

/// A release that is active and no longer in the list.
pub(super) fn release_of(module: &str, current: &Module) -> Release {
    Release {
        module: module.to_owned(),
        version: current.version,
        digest: current.digest,
        bytes: 0,
        area: Area::default(),
        language: "und".into(),
        engine_min: 0,
        notes: String::new(),
        deltas: Vec::new(),
        stage: None,
        lineage: None,
    }
}

pub(super) fn from_hex(what: Paper, text: &str) -> Result<Vec<u8>, Refusal> {
    let digits = |i: usize| {
        text.get(i..i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    let decoded = (0..text.len()).step_by(2).map(digits);
    decoded
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Refusal::Damaged(what, String::new()))
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn parse_area(text: &str) -> Result<Area, Refusal> {
    Area::parse(text).map_err(|e| Refusal::NotAnArea(e.to_string()))
}

fn parse_signed<T: protocol::signed::Document>(
    what: Paper,
    text: &str,
) -> Result<Signed<T>, Refusal> {
    Signed::from_bytes(&from_hex(what, text)?).map_err(|e| Refusal::Damaged(what, e.to_string()))
}

fn parse_offer(kind: &str, text: &str) -> Result<Offer, Refusal> {
    Offer::from_bytes(kind, &from_hex(Paper::Document, text)?)
        .map_err(|e| Refusal::Damaged(Paper::Document, e.to_string()))
}

pub(super) fn parse_chain(text: &str) -> Result<Chain, Refusal> {
    Chain::from_bytes(&from_hex(Paper::Chain, text)?)
        .map_err(|e| Refusal::Damaged(Paper::Chain, e.to_string()))
}

pub(super) fn parse_request(text: &str) -> Result<[u8; 16], Refusal> {
    text.parse::<CaseId>()
        .map(|id| id.0)
        .map_err(|e| Refusal::NotAnId(e.to_string()))
}

impl Body {
    pub(super) fn handle_request(&mut self, request: Request, reply: ReplyTo) {
        if let Request::Meet { peer, address } = &request {
            return match (peer.parse(), address.parse()) {
                (Ok(peer), Ok(address)) if self.links.is_some() => {
                    self.call(peer, address, Some(reply))
                }
                _ => {
                    let _ = reply.send(Answer::Done(Err(Refusal::NotAnAddress)));
                }
            };
        }
        self.input(Input::Woke); // a day on which somebody only reads is a day of use too
        let answer = self.answer_request(request);
        let _ = reply.send(Answer::Done(answer));
    }

    fn answer_request(&mut self, request: Request) -> Answered {
        match request {
            Request::Status => self.status(),
            Request::CaseNew {
                findings,
                profile,
                head,
                consent,
                area,
                decision,
                request,
            } => {
                let area = self.default_area(area.as_deref())?;
                self.case_new(
                    &findings,
                    profile,
                    words::head(&head, &consent)?,
                    area,
                    decision,
                    &request,
                )
            }
            Request::CaseBegin {
                fields,
                consent,
                area,
                decision,
                request,
            } => {
                let area = self.default_area(area.as_deref())?;
                self.case_begin(words::head(&fields, &consent)?, area, decision, &request)
            }
            Request::CaseDecide {
                case,
                decision,
                request,
            } => self.case_decide(&case, &decision, &request),
            Request::CaseHandOver {
                cases,
                from,
                to,
                reason,
                request,
            } => self.case_hand_over(&cases, from.as_deref(), &to, &reason, &request),
            Request::CaseAdd {
                case,
                words,
                request,
            } => self.case_add(&case, &words, &request),
            Request::CaseList => self.case_list(),
            Request::CaseShow { case } => self.case_show(&case),
            Request::CasePhoto {
                case,
                path,
                words,
                request,
            } => self.case_photo(&case, &path, words, &request),
            Request::CasePhotoOut { case, number, path } => {
                self.case_photo_out(&case, number, &path)
            }
            Request::CaseHistory { case } => self.case_history(&case),
            Request::CaseDuplicates => self.case_duplicates(),
            Request::CaseExport { cases, format, to } => {
                self.case_export(&cases, &format, to.as_deref())
            }
            Request::CaseImport { format, text, area } => {
                self.case_import(&format, &text, area.as_deref())
            }
            Request::Triage { findings, profile } => {
                let assessed = self.engine.assess(&findings, profile);
                assessed
                    .map(|(_, a)| json!(a.said()))
                    .map_err(|e| Refusal::Findings(e))
            }
            Request::VisitOpen => self.visit_open(),
            Request::VisitBegin { profile, anew } => self.visit_begin(profile, anew),
            Request::VisitAnswer { name, answer } => self.visit_answer(&name, &answer),
            Request::VisitBack => self.visit_back(),
            Request::VisitEnd => self.visit_end(),
            Request::Meet { .. } => Err(Refusal::NotAnAddress),
            Request::ModelList => self.model_list(),
            Request::ModelShow { module } => self.model_show(&module),
            Request::ModelVerify { module } => self.model_verify(&module),
            Request::ModelBack { module } => self.model_back(&module),
            Request::EnrolRequest { name } => self.enrol_request(name),
            Request::EnrolSign {
                request,
                name,
                area,
                rights,
                passes_on,
                valid_days,
            } => self.enrol_sign(&request, name, &area, (&rights, &passes_on), valid_days),
            Request::EnrolAccept {
                roots,
                chain,
                grants,
                certificates,
            } => self.enrol_accept(&roots, chain.as_deref(), &grants, &certificates),
            Request::SpaceCreate { area } => {
                let reply = self.command(Command::CreateSpace(parse_area(&area)?))?;
                Ok(json!({ "created": reply == Reply::Done }))
            }
            Request::SpaceGrant { area, chain } => self
                .document(Command::GrantSpace(
                    parse_area(&area)?,
                    parse_chain(&chain)?,
                ))
                .map(|grant| {
                    let issuer = self
                        .agent
                        .certificate()
                        .map(|c| to_hex(&c.chain().to_bytes()));
                    json!({ "grant": grant, "issuer": issuer })
                }),
            Request::SpaceRotate { area, without } => self.space_rotate(&area, &without),
            Request::SpaceRetire { area, keep_days } => self.space_retire(&area, keep_days),
            Request::SpaceLease { area, days } => {
                self.command(Command::SetLease(parse_area(&area)?, days))?;
                Ok(json!({ "area": area, "days": days }))
            }
            Request::SpaceUnlock { area, code } => {
                self.command(Command::Unlock(parse_area(&area)?, code))?;
                Ok(json!({ "area": area, "unlocked": true }))
            }
            Request::UnlockCode { area, device } => self.unlock_code(&area, &device),
            Request::Revoke {
                area,
                device,
                reason,
            } => self.revoke(&area, &device, reason),
            Request::Countersign { envelopes, show } => self.countersign(&envelopes, show),
            Request::BackUp { to, passphrase } => {
                let phone = (self.folder.path(), &self.keys);
                let bytes =
                    backup::back_up(&self.store, phone, Path::new(&to), passphrase.as_deref())?;
                Ok(json!({ "schema": "kijiti.backup/1", "to": to, "bytes": bytes }))
            }
            Request::CarryQuota { bytes } => {
                self.command(Command::SetCarryQuota(bytes))?;
                Ok(json!({ "carry_quota_bytes": bytes }))
            }
            Request::Import { path } => self.import(&path),
            Request::Offer { kind, document } => {
                let offer = parse_offer(&kind, &document)?;
                let reply = self.command(Command::Offer(Box::new(offer)))?;
                Ok(json!({ "changed": reply == Reply::Done }))
            }
            Request::Quota { bytes } => {
                self.command(Command::SetQuota(bytes))?;
                Ok(json!({ "quota_bytes": bytes }))
            }
            Request::Receipts => {
                let receipts: Vec<_> = self
                    .store
                    .receipts()?
                    .iter()
                    .map(|(_, _, bytes)| to_hex(bytes))
                    .collect();
                Ok(json!({ "schema": "kijiti.receipts/1", "receipts": receipts }))
            }
            Request::Certificates => {
                let chains = self.store.every_chain().map_err(Refusal::from)?;
                let chains: Vec<_> = chains.iter().map(|bytes| to_hex(bytes)).collect();
                Ok(json!({ "schema": "kijiti.certificates/1", "chains": chains }))
            }
            Request::Documents => {
                let documents: Vec<_> = self
                    .agent
                    .trust()
                    .iter()
                    .flat_map(|t| {
                        let records = t.records();
                        records
                            .iter()
                            .map(|(kind, bytes)| json!({ "kind": kind, "document": to_hex(bytes) }))
                            .collect::<Vec<_>>()
                    })
                    .collect();
                Ok(json!({ "schema": "kijiti.documents/1", "documents": documents }))
            }
        }
    }

    fn document(&mut self, command: Command) -> Result<String, Refusal> {
        match self.command(command)? {
            Reply::Document(bytes) => Ok(to_hex(&bytes)),
            Reply::Done | Reply::Unchanged | Reply::Case(_) => Err(Refusal::Nothing),
        }
    }

    fn status(&mut self) -> Answered {
        let trust = self.agent.trust();
        let certificate = self.agent.certificate();
        let spaces: Vec<_> = self.store.spaces()?.iter().map(|row| {
            let readable = self.agent.space_keys().iter().any(|k| k.space() == row.space);
            json!({ "area": row.area.to_string(), "envelopes": row.envelopes, "bytes": row.bytes, "readable": readable })
        }).collect();
        let peers: Vec<_> = self
            .store
            .peers()?
            .iter()
            .map(|p| {
                // One whose certificate counts no more is known by the name that it had.
                let name = if p.name.is_empty() { self.certified_name(&p.device) } else { Some(p.name.clone()) };
                json!({ "device": p.device.to_string(), "name": name.unwrap_or_default(), "meetings": p.meetings,
                    "last_met_s": p.last_met_s, "in_step": p.in_step,
                    "meetings_ago": self.agent.meetings_so_far().saturating_sub(p.at_meeting) })
            })
            .collect();
        let addresses: Vec<_> = self
            .links
            .as_ref()
            .map(Links::addresses)
            .unwrap_or_default();
        Ok(json!({
            "schema": "kijiti.status/1",
            "device": self.agent.id().to_string(),
            "listening": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "data": self.folder.path().display().to_string(),
            "ministry": trust.and_then(|t| t.root()).map(|r| r.ministry.clone()),
            "root": trust.map(|t| t.root_version()),
            "release_list": trust.map(|t| t.list_version()),
            "warnings": self.warnings(),
            "restored_from": self.restored_from().map(|device| device.to_string()),
            "name": certificate.map(|c| c.name.clone()),
            "area": certificate.map(|c| c.area.to_string()),
            "rights": certificate.map(|c| c.rights.to_string()),
            "cases": self.store.cases()?.len(),
            "quarantined": self.quarantined()?,
            "unsent": self.store.unsent()?.len(),
            "lost": self.lost(),
            "perhaps_lost": self.perhaps_lost(),
            "set_aside": self.aside,
            "villages": self.villages()?,
            "meetings": self.agent.meetings_so_far(),
            "spaces": spaces,
            "bundle_bytes": self.store.bundles.bytes_held(),
            "rules": format!("{} {}", self.engine.pack.id, self.engine.pack.edition),
            "model": self.engine.model.as_ref().map(|m| m.name().to_owned()),
            "peers": peers,
        }))
    }

    fn model_list(&self) -> Answered {
        let list = self.agent.trust().and_then(|t| t.list());
        let held = self.store.bundles()?;
        let releases: Vec<_> = list
            .iter()
            .flat_map(|l| l.releases.iter())
            .map(|r| {
                let activation = self.agent.activation(&r.module);
                let runs = |m: Option<&Module>| m.is_some_and(|m| m.digest == r.digest);
                let parked = activation.and_then(|a| a.parked.iter().find(|p| p.digest == r.digest));
                let recalled = self.agent.trust().and_then(|t| t.recalled(&r.digest));
                let state = match (runs(activation.and_then(|a| a.current.as_ref())), parked) {
                    _ if recalled.is_some() => format!("recalled: {}", recalled.unwrap_or_default()),
                    (true, _) => "active".to_owned(),
                    (false, Some(parked)) => format!("parked: {}", parked.reason),
                    (false, None) if held.iter().any(|b| b.id == protocol::BundleId::release(r.digest) && b.whole) => {
                        let area = self.agent.certificate().map(|c| c.area.clone()).unwrap_or_default();
                        match (r.area.covers(&area), r.staged_for(&self.agent.id(), &area)) {
                            (true, false) => "whole; waits until its stage reaches this phone".to_owned(),
                            (false, _) => "whole; carried for others".to_owned(),
                            (true, true) => "whole".to_owned(),
                        }
                    }
                    (false, None) => "not all here".to_owned(),
                };
                json!({ "module": r.module, "version": r.version, "digest": r.digest.to_string(), "bytes": r.bytes,
                    "area": r.area.to_string(), "language": r.language, "notes": r.notes, "state": state })
            })
            .collect();
        let active: Vec<_> = self
            .agent
            .activations()
            .map(|(module, a)| {
                let name = |m: &Option<Module>| {
                    m.as_ref().map(|m| json!({ "version": m.version, "digest": m.digest.to_string() }))
                };
                json!({ "module": module, "current": name(&a.current), "previous": name(&a.previous) })
            })
            .collect();
        Ok(
            json!({ "schema": "kijiti.model-list/1", "release_list": list.map(|l| l.version), "releases": releases, "active": active }),
        )
    }

    fn active_module(&self, module: &str) -> Result<Module, Refusal> {
        self.agent
            .activation(module)
            .and_then(|a| a.current.clone())
            .ok_or_else(|| Refusal::NotActive(module.to_owned()))
    }

    fn model_show(&self, module: &str) -> Answered {
        let current = self.active_module(module)?;
        let checks = self
            .store
            .setting(&format!("checks/{module}"))?
            .unwrap_or_default();
        let checks: Vec<String> = serde_json::from_slice(&checks).unwrap_or_default();
        let card = self
            .engine
            .model
            .as_ref()
            .filter(|_| module.starts_with(super::super::triage::MODEL_MODULE));
        Ok(
            json!({ "schema": "kijiti.model/1", "module": module, "version": current.version,
                   "digest": current.digest.to_string(), "checks": checks, "card": card.map(|m| m.card().to_owned()) }),
        )
    }

    fn model_verify(&mut self, module: &str) -> Answered {
        let current = self.active_module(module)?;
        let list = self.agent.trust().and_then(|t| t.list());
        let release = list
            .and_then(|l| l.releases.iter().find(|r| r.digest == current.digest))
            .cloned();
        let Some(release) = release else {
            return Err(Refusal::NotListed(module.to_owned()));
        };
        let bytes = self
            .store
            .bundles
            .read_whole(&protocol::BundleId::release(release.digest))?;
        if protocol::Digest::of(&bytes) != release.digest {
            return Err(Refusal::BundleDamaged);
        }
        let mut checks = release_checks(&self.agent, &release);
        let (_, passed) =
            try_release(&release, &bytes, &self.engine.pack).map_err(|e| Refusal::TestFailed(e))?;
        checks.extend(passed);
        Ok(
            json!({ "schema": "kijiti.model-verify/1", "module": module, "version": release.version, "checks": checks }),
        )
    }

    fn model_back(&mut self, module: &str) -> Answered {
        self.command(Command::GoBack(module.to_owned()))?;
        self.engine.model = None;
        self.load_active();
        let current = self.active_module(module)?;
        Ok(json!({ "module": module, "version": current.version }))
    }

    fn enrol_request(&mut self, name: String) -> Answered {
        let request = CertificateRequest::of(&self.keys, sealing_public_key(&self.keys), name);
        let signed = Signed::by(&request, &self.keys);
        signed
            .read()
            .map_err(|e| Refusal::NameRefused(e.to_string()))?;
        Ok(
            json!({ "schema": "kijiti.enrol-request/1", "device": self.keys.id().to_string(),
                   "request": to_hex(&signed.to_bytes()) }),
        )
    }

    fn enrol_sign(
        &mut self,
        request: &str,
        name: Option<String>,
        area: &str,
        (rights, passes_on): (&str, &str),
        valid_days: Option<u64>,
    ) -> Answered {
        let request: Signed<CertificateRequest> = parse_signed(Paper::Request, request)?;
        let claimed = request
            .read()
            .map_err(|e| Refusal::Damaged(Paper::Request, e.to_string()))?;
        let read = |text: &str| Rights::parse(text).map_err(Refusal::NotRights);
        let chain = self.document(Command::Certify {
            request,
            name: name.unwrap_or(claimed.name),
            area: parse_area(area)?,
            rights: read(rights)?,
            passes_on: read(passes_on)?,
            valid_days,
        })?;
        let trust = self.agent.trust().map(|t| t.roots()).unwrap_or_default();
        let roots: Vec<_> = trust
            .iter()
            .map(|r| to_hex(&r.signed().to_bytes()))
            .collect();
        Ok(json!({ "schema": "kijiti.enrolment/1", "roots": roots, "chain": chain, "grants": [] }))
    }

    fn enrol_accept(
        &mut self,
        roots: &[String],
        chain: Option<&str>,
        grants: &[(String, String)],
        certificates: &[String],
    ) -> Answered {
        for (i, root) in roots.iter().enumerate() {
            let root: Signed<Root> = parse_signed(Paper::Root, root)?;
            let name = root.read().map(|root| root.ministry).unwrap_or_default();
            let known = self.agent.trust().is_some();
            let command = if i == 0 && !known {
                Command::InstallTrust(root)
            } else {
                Command::Offer(Box::new(Offer::Root(root)))
            };
            self.command(command).map_err(|e| match known {
                true => Refusal::RootsDoNotFollow(name.clone(), Box::new(e)),
                false => e,
            })?;
        }
        if let Some(chain) = chain {
            self.command(Command::InstallChain(parse_chain(chain)?))?;
        }
        for (grant, issuer) in grants {
            let grant = parse_signed(Paper::Grant, grant)?;
            self.command(Command::InstallGrant(Box::new((
                grant,
                parse_chain(issuer)?,
            ))))?;
        }
        let kept = certificates
            .iter()
            .map(|chain| parse_chain(chain))
            .collect::<Result<Vec<_>, _>>()?;
        if !kept.is_empty() {
            self.command(Command::KeepChains(kept))?;
        }
        self.status()
    }

    fn import(&mut self, path: &str) -> Answered {
        let plain = super::super::folder::open_plain(Path::new(path)).map(drop);
        let imported = plain.and_then(|()| {
            self.store
                .bundles
                .import(protocol::BundleKind::Release, Path::new(path))
        });
        let (digest, bytes) =
            imported.map_err(|e| Refusal::Unreadable(path.to_owned(), e.to_string()))?;
        self.command(Command::BundleImported(digest))?;
        Ok(json!({ "digest": digest.to_string(), "bytes": bytes }))
    }
}
