//! A phone's typed interface: requests, replies, views and refusals, and the rules about what a
//! person may do. Command line, pages and phone apps are renderers of the same records.
//!
//! What it is not: no words for people, no files, no clock. It runs on an agent and its store
//! ([`Cx`]), in the simulator as on a phone.
//!
//! Flow: a [`Request`] → [`answer`] → commands to the agent, one transaction each → a [`Reply`], or a
//! [`Refusal`]: a code with values.

pub mod assess;
mod beside;
mod case_view;
pub mod cases;
pub mod consent;
mod cx;
pub mod decide;
pub mod entries;
pub mod exchange;
mod freshness;
pub mod handover;
mod keeping;
mod lists;
pub mod meetings;
pub mod names;
mod plan;
mod refusal;
pub mod releases;
mod request;
pub mod views;
mod visit;

pub use assess::{Assessor, PatientFile};
pub use case_view::show as show_case;
pub use cx::{Cx, Look};
pub use refusal::{Class, Paper, Refusal, Trouble};
pub use request::{
    Answer, CaseWords, Concern, DecisionInput, Format, PhotoWords, Request, RequestId, VisitOf,
};
pub use views::Reply;

use crate::agent::Command;
use keeping::Terms;
use protocol::CaseId;
use views::status::Done;

/// What only the host knows of a phone.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// Where it listens.
    pub listening: Vec<String>,
    /// Its data folder.
    pub data: String,
    /// What was found damaged since the program began.
    pub set_aside: Vec<String>,
    /// Bytes of bundles.
    pub bundle_bytes: u64,
    /// What it has cost; `None`: it is not running.
    pub cost: Option<Cost>,
}

/// What a running phone has cost since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Times that a thread was woken.
    pub wakeups: Option<u64>,
    /// Milliseconds of processor.
    pub processor_ms: Option<u64>,
    /// What its radios did.
    pub spent: views::idle::Spent,
}

/// What a look at a phone gives: the answer and, beside it, what was judged on the way. That is no part
/// of reading: whoever asked may have the phone remember it ([`Command::Remember`]), and a full disk
/// only makes the next look slower.
#[derive(Debug)]
pub struct Looked {
    /// The answer.
    pub reply: Reply,
    /// How cases stand, to be remembered.
    pub judged: Vec<(CaseId, Vec<u8>)>,
}

impl<R: Into<Reply>> From<R> for Looked {
    fn from(reply: R) -> Self {
        let (reply, judged) = (reply.into(), Vec::new());
        Self { reply, judged }
    }
}

/// Answers a request. `None`: it is about files or links, which only a host has.
pub fn answer(
    cx: &mut dyn Cx,
    request: Request,
    host: HostFacts,
) -> Option<Result<Reply, Refusal>> {
    match request.concern() {
        Concern::Views => Some(look(cx, request, host).map(|looked| {
            if !looked.judged.is_empty() {
                let _ = cx.command(Command::Remember(looked.judged));
            }
            looked.reply
        })),
        Concern::Cases => Some(write_case(cx, request)),
        Concern::Visit => Some(write_visit(cx, request)),
        Concern::Keeping => Some(keep(cx, request, host)),
        Concern::Links | Concern::FilesOut | Concern::FilesIn => None,
    }
}

/// Answers a request that only looks, on what a phone knew and kept at one moment.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn look(cx: &dyn Look, request: Request, host: HostFacts) -> Result<Looked, Refusal> {
    Ok(match request {
        Request::Receipts => keeping::receipts(cx)?.into(),
        Request::Idle => keeping::idle(cx, &host).into(),
        Request::Documents => keeping::documents(cx).into(),
        Request::Certificates => keeping::certificates(cx)?.into(),
        Request::FindPhone { who } => names::named(cx, &who)?.into(),
        Request::Meetings => meetings::list(cx)?.into(),
        Request::ModelList => releases::list(cx)?.into(),
        Request::CaseList { find, after, limit } => {
            let (list, judged) = lists::list(cx, &find, (after, limit))?;
            let reply = list.into();
            Looked { reply, judged }
        }
        Request::CaseShow { case } => case_view::show(cx, &case)?.into(),
        Request::CaseHistory { case } => cases::history(cx, &case)?.into(),
        Request::CasePlan { case } => plan::of_case(cx, &case)?.into(),
        Request::CaseDuplicates => lists::duplicates(cx)?.into(),
        Request::Triage { findings, profile } => {
            let assessor = cx.assessor();
            match assessor.read_file(&findings, &assess::Ages::new()) {
                Ok(file) => assessor.assess(&file, profile).into(),
                // A danger sign is one at any age, or none.
                Err(why @ clinical::FindingsError::Age(_)) => {
                    let file = assessor.read_ageless(&findings);
                    let floor = file.and_then(|file| assessor.by_floor(&file.values));
                    floor.ok_or(Refusal::Findings(why))?.into()
                }
                Err(why) => return Err(Refusal::Findings(why)),
            }
        }
        Request::Status => keeping::status(cx, host)?.into(),
        _ => return Err(Refusal::Nothing), // not of Concern::Views
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn write_case(cx: &mut dyn Cx, request: Request) -> Result<Reply, Refusal> {
    Ok(match request {
        Request::CaseNew {
            findings,
            profile,
            head,
            consent,
            area,
            decision,
            request,
        } => {
            let head = entries::head(&head, &consent)?;
            let with = cases::Beginning {
                head,
                area,
                decision,
                request,
            };
            cases::begin(cx, &findings, profile, with)?.into()
        }
        Request::CaseBegin {
            fields,
            profile,
            consent,
            area,
            decision,
            request,
        } => {
            let head = entries::head(&fields, &consent)?;
            let with = cases::Beginning {
                head,
                area,
                decision,
                request,
            };
            cases::begin_with_fields(cx, profile, with)?.into()
        }
        Request::CaseDecide {
            case,
            decision,
            request,
        } => cases::decide_on(cx, &case, &decision, request)?.into(),
        Request::CaseAdd {
            case,
            words,
            request,
        } => {
            let id = cases::add_words(cx, &case, &words, request)?;
            case_view::show(cx, &id.to_string())?.into()
        }
        Request::ImportGoesOn => exchange::go_on(cx)?.into(),
        Request::CaseHandOver {
            cases,
            from,
            to,
            reason,
            request,
        } => {
            let who = (from.as_deref(), to.as_str());
            handover::hand_over(cx, &cases, who, &reason, request)?.into()
        }
        _ => return Err(Refusal::Nothing), // not of Concern::Cases
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn write_visit(cx: &mut dyn Cx, request: Request) -> Result<Reply, Refusal> {
    Ok(match request {
        Request::VisitOpen { of } => visit::interrupted(cx, of)?.into(),
        Request::VisitBegin {
            of,
            profile,
            anew,
            request,
            area,
        } => {
            if of != VisitOf::Triage {
                cases::may_begin(cx, area)?;
            }
            visit::begin(cx, of, (profile, request), anew)?.into()
        }
        Request::VisitAnswer { of, name, answer } => visit::answer(cx, of, &name, &answer)?.into(),
        Request::VisitBack { of } => visit::back(cx, of)?.into(),
        Request::VisitEnd { of } => visit::end(cx, of)?.into(),
        _ => return Err(Refusal::Nothing), // not of Concern::Visit
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn keep(cx: &mut dyn Cx, request: Request, host: HostFacts) -> Result<Reply, Refusal> {
    let done = |changed: bool| Reply::from(Done { changed });
    Ok(match request {
        Request::EnrolRequest { name } => keeping::enrol_request(cx, name)?.into(),
        Request::EnrolSign {
            request,
            name,
            area,
            rights,
            passes_on,
            valid_days,
        } => {
            let terms = Terms {
                rights: &rights,
                passes_on: &passes_on,
                valid_days,
            };
            keeping::enrol_sign(cx, &request, name, area, terms)?.into()
        }
        Request::EnrolAccept {
            roots,
            chain,
            grants,
            certificates,
        } => {
            keeping::enrol_accept(cx, &roots, chain.as_deref(), &grants, &certificates)?;
            keeping::status(cx, host)?.into()
        }
        Request::SpaceCreate { area } => done(cx.done(Command::CreateSpace(area))?),
        Request::SpaceGrant { area, chain } => keeping::grant(cx, area, &chain)?.into(),
        Request::SpaceRotate { area, without } => {
            done(cx.done(Command::RotateSpace(area, without))?)
        }
        Request::SpaceRetire { area, keep_days } => keeping::retire(cx, area, keep_days)?.into(),
        Request::SpaceLease { area, days } => done(cx.done(Command::SetLease(area, days))?),
        Request::SpaceUnlock { area, code } => done(cx.done(Command::Unlock(area, code))?),
        Request::UnlockCode { area, device } => keeping::unlock_code(cx, area, device)?.into(),
        Request::Revoke {
            area,
            device,
            reason,
        } => done(cx.done(Command::Revoke(area, device, reason))?),
        Request::Countersign {
            envelopes,
            show: true,
        } => keeping::set_aside(cx, &envelopes)?.into(),
        Request::Countersign {
            envelopes,
            show: false,
        } => keeping::countersign(cx, &envelopes)?.into(),
        Request::CarryQuota { bytes } => done(cx.done(Command::SetCarryQuota(bytes))?),
        Request::Offer { kind, document } => {
            let offer = keeping::parse_offer(&kind, &document)?;
            done(cx.done(Command::Offer(Box::new(offer)))?)
        }
        Request::Quota { bytes } => done(cx.done(Command::SetQuota(bytes))?),
        _ => return Err(Refusal::Nothing), // not of Concern::Keeping
    })
}
