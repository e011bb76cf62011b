//! What those do who keep a space or enrol phones: keys, lost phones, late envelopes, old cases; and
//! who and how this phone is.

use std::collections::BTreeMap;

use clinical::date::instant;
use distribution::{Offer, Root, TrustError};
use protocol::certificate::{CertificateRequest, Right, Rights};
use protocol::signed::{Document, Signed};
use protocol::{Area, Chain, DeviceId, Digest, EnvelopeId, always};

use super::views::idle::Idle;
use super::views::status::{
    Added, Certificates, Code, Document as Paperwork, Documents, Done, EnrolRequest, Enrolment,
    Granted, Lost, Near, Peer, Quarantined, Receipts, Retired, SetAside, Space, Status, Village,
    Waiting,
};
use super::{Cx, HostFacts, Look, Paper, Refusal, case_view, freshness, names};
use crate::agent::{self, Command, LinkClass, heard};
use crate::store::Aside;

/// Bytes of hexadecimal text.
pub(super) fn from_hex(what: Paper, text: &str) -> Result<Vec<u8>, Refusal> {
    let digits = |i: usize| {
        text.get(i..i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    let decoded = (0..text.len()).step_by(2).map(digits);
    decoded
        .collect::<Option<Vec<_>>>()
        .ok_or(Refusal::Damaged(what, None))
}

/// Hexadecimal text.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    always!(text.len() == 2 * bytes.len(), "it can be read back");
    text
}

fn parse_signed<T: Document>(what: Paper, text: &str) -> Result<Signed<T>, Refusal> {
    Signed::from_bytes(&from_hex(what, text)?).map_err(|e| Refusal::Damaged(what, Some(e.into())))
}

/// A document of the ministry's.
pub(super) fn parse_offer(kind: &str, text: &str) -> Result<Offer, Refusal> {
    Offer::from_bytes(kind, &from_hex(Paper::Document, text)?).map_err(|error| {
        if let TrustError::Malformed(why) = error {
            return Refusal::Damaged(Paper::Document, Some(why.into()));
        }
        Refusal::NotTrusted(error)
    })
}

/// A chain of certificates.
pub(super) fn parse_chain(text: &str) -> Result<Chain, Refusal> {
    Chain::from_bytes(&from_hex(Paper::Chain, text)?)
        .map_err(|e| Refusal::Damaged(Paper::Chain, Some(e.into())))
}

/// What this phone has cost since it began.
pub(super) fn idle(cx: &dyn Look, host: &HostFacts) -> Idle {
    let cost = host.cost.unwrap_or_default();
    Idle {
        since_ms: cx.now().mono_ms,
        wakeups: cost.wakeups,
        processor_ms: cost.processor_ms,
        meetings: cx.known().meetings_so_far(),
        spent: cost.spent,
        running: host.cost.is_some(),
    }
}

/// Who and how this phone is.
pub(super) fn status(cx: &dyn Look, host: HostFacts) -> Result<Status, Refusal> {
    let (known, store) = (cx.known(), cx.store());
    let (trust, certificate) = (known.trust(), known.certificate());
    let (rules, model) = cx.assessor().running();
    let readable = |space| known.space_keys().iter().any(|k| k.space() == space);
    let spaces = store.spaces()?.into_iter().map(|row| Space {
        area: row.area,
        envelopes: row.envelopes,
        bytes: row.bytes,
        readable: readable(row.space),
    });
    let peers = store.peers()?.into_iter().map(|p| Peer {
        device: p.device,
        // One whose certificate counts no more is known by the name that it had.
        name: match p.name.is_empty() {
            true => names::certified_name(cx, &p.device).unwrap_or_default(),
            false => p.name,
        },
        meetings: p.meetings,
        last_met_s: p.last_met_s,
        in_step: p.in_step,
        meetings_ago: known.meetings_so_far().saturating_sub(p.at_meeting),
        root: p.held.0,
        release_list: p.held.1,
    });
    let lost = |(device, why): (&DeviceId, &str)| Lost {
        device: *device,
        name: names::name_of(cx, device),
        why: why.to_owned(),
    };
    Ok(Status {
        device: known.id(),
        listening: host.listening,
        data: host.data,
        ministry: trust.and_then(|t| t.root()).map(|r| r.ministry.clone()),
        root: trust.map(|t| t.root_version()),
        release_list: trust.map(|t| t.list_version()),
        warnings: freshness::warnings(cx),
        restored_from: names::restored_from(cx),
        name: certificate.map(|c| c.name.clone()),
        area: certificate.map(|c| c.area.clone()),
        rights: certificate.map(|c| c.rights.to_string()),
        cases: store.cases()?.len(),
        quarantined: quarantined(cx)?,
        unsent: store.outbox()?.len(),
        lost: known.lost().map(lost).collect(),
        perhaps_lost: known.perhaps_lost().map(lost).collect(),
        set_aside: host.set_aside,
        villages: villages(cx)?,
        meetings: known.meetings_so_far(),
        spaces: spaces.collect(),
        bundle_bytes: host.bundle_bytes,
        rules,
        model,
        peers: peers.collect(),
        near: known.near().iter().map(|near| near_by(cx, near)).collect(),
        strangers_heard: host.cost.map(|cost| cost.spent.strangers),
    })
}

/// A phone that is near, by its name.
fn near_by(cx: &dyn Look, near: &agent::Near) -> Near {
    Near {
        device: near.device,
        name: names::name_of(cx, &near.device),
        bluetooth: near.radio == LinkClass::Bluetooth,
        noticed_s: near.noticed_s,
        standing: near.standing,
    }
}

/// For every area from which cases have come: how many of this phone's meetings ago the last did.
fn villages(cx: &dyn Look) -> Result<Vec<Village>, Refusal> {
    let mut ages: BTreeMap<Area, u64> = BTreeMap::new();
    for (author, meeting) in heard(cx.store())? {
        let writers = names::leaves(cx, author).into_iter();
        for leaf in writers.filter(|leaf| leaf.rights.has(Right::Write)) {
            let ago = cx.known().meetings_so_far().saturating_sub(meeting);
            let held = ages.entry(leaf.area).or_insert(ago);
            *held = ago.min(*held);
        }
    }
    let village = |(area, meetings_ago)| Village { area, meetings_ago };
    Ok(ages.into_iter().map(village).collect())
}

fn author_of(cx: &dyn Look, id: &EnvelopeId) -> Result<Option<String>, Refusal> {
    let bytes = cx.store().envelope(id)?;
    let envelope = bytes.and_then(|bytes| sync::Envelope::parse(bytes).ok());
    Ok(envelope.map(|envelope| names::name_of_author(cx, envelope.author)))
}

/// Envelopes that are set aside: which, whose, and why.
fn quarantined(cx: &dyn Look) -> Result<Vec<Quarantined>, Refusal> {
    let rows = cx.store().quarantined()?.into_iter();
    let row = |(id, why): (EnvelopeId, Aside)| {
        Ok(Quarantined {
            envelope: Digest(id.0),
            author: author_of(cx, &id)?,
            why,
        })
    };
    rows.map(row).collect()
}

/// What envelopes that are set aside would add, for whoever must judge them; none named: all.
pub(super) fn set_aside(cx: &dyn Look, named: &[Digest]) -> Result<SetAside, Refusal> {
    let rows = cx.store().quarantined()?.into_iter();
    let chosen = rows.filter(|(id, _)| named.is_empty() || named.contains(&Digest(id.0)));
    let waiting = chosen.map(|(id, why)| waiting(cx, &id, why));
    let waiting = waiting.collect::<Result<Vec<_>, _>>()?;
    always!(named.is_empty() || waiting.len() <= named.len());
    Ok(SetAside { waiting })
}

fn waiting(cx: &dyn Look, id: &EnvelopeId, why: Aside) -> Result<Waiting, Refusal> {
    let (case, said) = cx.known().preview(id, cx.store())?.unzip();
    let title = match &case {
        Some(case) => cx.store().case_row(case)?.map(|row| row.title),
        None => None,
    };
    let adds = said
        .unwrap_or_default()
        .into_iter()
        .map(|(stamp, entry)| Added {
            by: names::name_of(cx, &stamp.by),
            by_their_clock: instant(stamp.at_s),
            said: case_view::said(cx, &entry),
        });
    let (author, adds) = (author_of(cx, id)?, adds.collect());
    Ok(Waiting {
        envelope: Digest(id.0),
        author,
        why,
        case,
        title,
        adds,
    })
}

/// Ends the older keys of a space. Days are counted from the newest time that the ministry has
/// signed, or an earlier clock: one that is ahead deletes nothing early.
pub(super) fn retire(cx: &mut dyn Cx, area: Area, keep_days: u64) -> Result<Retired, Refusal> {
    let floor_s = cx
        .known()
        .trust()
        .map_or(0, |trust| trust.freshness().floor_s);
    let now_s = cx.now().wall_s.min(floor_s);
    let since_s = match keep_days {
        0 => u64::MAX, // all that are closed
        days => now_s.saturating_sub(days.saturating_mul(86_400)),
    };
    let before = cx.store().cases()?.len();
    cx.command(Command::Retire(area, since_s))?;
    let cases_gone = before.saturating_sub(cx.store().cases()?.len());
    Ok(Retired {
        cases_gone,
        counted_from: instant(now_s),
    })
}

/// The code that unlocks a space for a phone.
pub(super) fn unlock_code(cx: &mut dyn Cx, area: Area, device: DeviceId) -> Result<Code, Refusal> {
    let code = cx.document(Command::UnlockCode(area, device))?;
    Ok(Code {
        code: String::from_utf8_lossy(&code).into_owned(),
    })
}

/// The key of a space for a phone.
pub(super) fn grant(cx: &mut dyn Cx, area: Area, chain: &str) -> Result<Granted, Refusal> {
    let grant = to_hex(&cx.document(Command::GrantSpace(area, parse_chain(chain)?))?);
    let issuer = cx
        .known()
        .certificate()
        .map(|c| to_hex(&c.chain().to_bytes()));
    Ok(Granted { grant, issuer })
}

/// This phone's request for a certificate.
pub(super) fn enrol_request(cx: &dyn Look, name: String) -> Result<EnrolRequest, Refusal> {
    protocol::codec::check_new_name("name", &name).map_err(Refusal::NameRefused)?;
    let signed = cx.known().certificate_request(name);
    signed.read().map_err(Refusal::NameRefused)?;
    Ok(EnrolRequest {
        device: cx.known().id(),
        request: to_hex(&signed.to_bytes()),
    })
}

/// What a phone is certified for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// What it may do.
    pub rights: &'a str,
    /// What it may pass on.
    pub passes_on: &'a str,
    /// Days after which it is given no new keys.
    pub valid_days: Option<u64>,
}

/// Certifies another phone by this one.
pub(super) fn enrol_sign(
    cx: &mut dyn Cx,
    request: &str,
    name: Option<String>,
    area: Area,
    terms: Terms<'_>,
) -> Result<Enrolment, Refusal> {
    let request: Signed<CertificateRequest> = parse_signed(Paper::Request, request)?;
    let claimed = request
        .read()
        .map_err(|e| Refusal::Damaged(Paper::Request, Some(e.into())))?;
    let read = |text: &str| Rights::parse(text).map_err(Refusal::NotRights);
    let name = name.unwrap_or(claimed.name);
    protocol::codec::check_new_name("name", &name).map_err(Refusal::NameRefused)?;
    let chain = cx.document(Command::Certify {
        request,
        name,
        area,
        rights: read(terms.rights)?,
        passes_on: read(terms.passes_on)?,
        valid_days: terms.valid_days,
    })?;
    // Whom this phone has certified it knows by name.
    if let Ok(signed) = Chain::from_bytes(&chain) {
        let _ = cx.command(Command::KeepChains(vec![signed])); // signed it is, known or not
    }
    let trust = cx.known().trust().map(|t| t.roots()).unwrap_or_default();
    let roots = trust
        .iter()
        .map(|r| to_hex(&r.signed().to_bytes()))
        .collect();
    Ok(Enrolment {
        roots,
        chain: to_hex(&chain),
        grants: Vec::new(),
    })
}

/// Takes a ministry's roots, certificates and grants.
pub(super) fn enrol_accept(
    cx: &mut dyn Cx,
    roots: &[String],
    chain: Option<&str>,
    grants: &[(String, String)],
    certificates: &[String],
) -> Result<(), Refusal> {
    for (i, root) in roots.iter().enumerate() {
        let root: Signed<Root> = parse_signed(Paper::Root, root)?;
        let name = root.read().map(|root| root.ministry).unwrap_or_default();
        let known = cx.known().trust().is_some();
        let command = match i == 0 && !known {
            true => Command::InstallTrust(root),
            false => Command::Offer(Box::new(Offer::Root(root))),
        };
        cx.command(command).map_err(|e| match known {
            true => Refusal::RootsDoNotFollow(name, Box::new(e)),
            false => e,
        })?;
    }
    if let Some(chain) = chain {
        cx.command(Command::InstallChain(parse_chain(chain)?))?;
    }
    for (grant, issuer) in grants {
        let grant = parse_signed(Paper::Grant, grant)?;
        cx.command(Command::InstallGrant(Box::new((
            grant,
            parse_chain(issuer)?,
        ))))?;
    }
    // Who gave a grant is known by name from then on.
    let issuers = grants.iter().map(|(_, issuer)| issuer);
    let kept = certificates
        .iter()
        .chain(issuers)
        .map(|chain| parse_chain(chain))
        .collect::<Result<Vec<_>, _>>()?;
    if !kept.is_empty() {
        cx.command(Command::KeepChains(kept))?;
    }
    Ok(())
}

/// Lets in what lost phones wrote late; none named: all that wait.
pub(super) fn countersign(cx: &mut dyn Cx, named: &[Digest]) -> Result<Done, Refusal> {
    let ids = named.iter().map(|digest| EnvelopeId(digest.0)).collect();
    Ok(Done {
        changed: cx.done(Command::Countersign(ids))?,
    })
}

/// Sealed receipts of phones that are carried here.
pub(super) fn receipts(cx: &dyn Look) -> Result<Receipts, Refusal> {
    let receipts = cx.store().receipts()?;
    Ok(Receipts {
        receipts: receipts.iter().map(|(_, _, bytes)| to_hex(bytes)).collect(),
    })
}

/// All certificate chains that this phone keeps.
pub(super) fn certificates(cx: &dyn Look) -> Result<Certificates, Refusal> {
    let chains = cx.store().every_chain()?;
    Ok(Certificates {
        chains: chains.iter().map(|bytes| to_hex(bytes)).collect(),
    })
}

/// Every document of the ministry's that is held, roots first.
pub(super) fn documents(cx: &dyn Look) -> Documents {
    let records = cx.known().trust().map(|trust| trust.records());
    let document = |(kind, bytes): (&str, &[u8])| Paperwork {
        kind: kind.to_owned(),
        document: to_hex(bytes),
    };
    let documents = records
        .iter()
        .flat_map(|records| records.iter())
        .map(document);
    Documents {
        documents: documents.collect(),
    }
}
