//! `kijiti ministry release log`: what a phone believes of its ministry.

use distribution::TrustedState;
use protocol::signed::Role;
use serde_json::{Value as Json, json};

use super::fields::{list, number, text};

/// Everything that a phone believes of its ministry, for people and their programs.
pub(super) fn trust_json(trust: &TrustedState) -> Json {
    let role = |r: &Role| json!({ "threshold": r.threshold, "keys": r.keys.iter().map(ToString::to_string).collect::<Vec<_>>() });
    let roots: Vec<_> = trust
        .roots()
        .iter()
        .map(|r| {
            json!({ "version": r.version, "issued_s": r.issued_s, "root": role(&r.root), "releases": role(&r.releases),
                "enrolment": role(&r.enrolment), "recall": r.recall.as_ref().map(role), "beacon": r.beacon.as_ref().map(role) })
        })
        .collect();
    let list = trust.list().map(|l| {
        let withdrawn: Vec<_> = l.withdrawn.iter().map(|w| json!({ "module": w.module, "area": w.area.to_string(), "version": w.version })).collect();
        let delegations: Vec<_> = l
            .delegations
            .iter()
            .map(|d| json!({ "name": d.name, "modules": d.modules,
                "kinds": d.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(), "area": d.area.to_string(), "both": d.both, "role": role(&d.role) }))
            .collect();
        json!({ "version": l.version, "issued_s": l.issued_s, "expires_s": l.expires_s,
            "signed_by": l.signed().signers().map(|k| k.to_string()).collect::<Vec<_>>(),
            "withdrawn": withdrawn, "delegations": delegations })
    });
    let releases: Vec<_> = trust
        .releases()
        .iter()
        .map(|r| {
            let deltas: Vec<_> = r.deltas.iter().map(|d| json!({ "from": d.base.to_string(), "digest": d.digest.to_string(), "bytes": d.bytes })).collect();
            json!({ "module": r.module, "kind": r.kind.name(), "version": r.version, "digest": r.digest.to_string(),
                "bytes": r.bytes, "area": r.area.to_string(), "language": r.language, "engine_min": r.engine_min, "notes": r.notes, "deltas": deltas,
                "first_permille": r.stage.as_ref().map(|s| s.permille), "parent": r.lineage.as_ref().map(|l| l.parent.to_string()) })
        })
        .collect();
    let recalled: Vec<_> = trust
        .recall()
        .iter()
        .flat_map(|r| r.recalled.iter())
        .map(|r| json!({ "digest": r.digest.to_string(), "reason": r.reason }))
        .collect();
    let revoked: Vec<_> = trust
        .revocations()
        .iter()
        .flat_map(|r| r.revoked.iter())
        .map(|r| json!({ "device": r.device.to_string(), "reason": r.reason }))
        .collect();
    let fresh = trust.freshness();
    json!({
        "schema": "kijiti.trust/1",
        "ministry": trust.root().map(|r| r.ministry.clone()),
        "anchor": trust.ministry().to_string(),
        "roots": roots, "list": list, "releases": releases, "recalled": recalled, "revoked": revoked,
        "beacon": trust.beacon().map(|b| json!({ "time_s": b.time_s, "root": b.root, "list": b.list, "recall": b.recall })),
        "newest_time_s": fresh.floor_s, "list_expired": fresh.list_expired, "newer_list": fresh.newer_list,
        "list_retired": fresh.list_retired,
    })
}

pub(super) fn show_log(log: &Json) {
    println!(
        "{}, anchor {}",
        text(log, "ministry"),
        text(log, "anchor").get(..12).unwrap_or_default()
    );
    for root in list(log, "roots") {
        let role = root.get("releases").unwrap_or(&Json::Null);
        let (threshold, keys) = (number(role, "threshold"), list(role, "keys").len());
        println!(
            "root {}: {threshold} of {keys} keys sign releases",
            number(root, "version")
        );
    }
    if let Some(held) = log.get("list").filter(|l| !l.is_null()) {
        show_list(held);
    }
    for r in list(log, "releases") {
        println!(
            "  {} version {}, {} bytes, for {}",
            text(r, "module"),
            number(r, "version"),
            number(r, "bytes"),
            text(r, "area")
        );
    }
    for r in list(log, "recalled") {
        println!(
            "recalled: {} ({})",
            text(r, "digest").get(..12).unwrap_or_default(),
            text(r, "reason")
        );
    }
    for r in list(log, "revoked") {
        println!(
            "revoked: {} ({})",
            text(r, "device").get(..12).unwrap_or_default(),
            text(r, "reason")
        );
    }
    if let Some(b) = log.get("beacon").filter(|b| !b.is_null()) {
        println!(
            "beacon: list {} was the newest at {} s since 1970",
            number(b, "list"),
            number(b, "time_s")
        );
    }
}

fn show_list(held: &Json) {
    println!(
        "release list {}, signed by {} keys",
        number(held, "version"),
        list(held, "signed_by").len()
    );
    for gone in list(held, "withdrawn") {
        println!(
            "  withdrawn: {} version {}",
            text(gone, "module"),
            number(gone, "version")
        );
    }
    for d in list(held, "delegations") {
        let names = |key: &str| {
            let named = list(d, key).iter().filter_map(Json::as_str);
            named.collect::<Vec<_>>().join(", ")
        };
        let kinds = match names("kinds") {
            none if none.is_empty() => "what no phone runs".into(),
            kinds => format!("kind {kinds}"),
        };
        println!(
            "  delegated: {} ({kinds}) to {} for {}",
            names("modules"),
            text(d, "name"),
            text(d, "area")
        );
    }
}
