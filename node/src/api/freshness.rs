//! How old a phone's knowledge is.

use super::views::status::Warning;
use super::{Look, exchange};
use crate::store::Setting;

const YEAR_S: u64 = 365 * 86_400;
/// Recalled bundles that are named: the last ones.
const RECALLS_NAMED: usize = 3;

/// What a person should know of how old this phone's knowledge is. Nothing here stops anything.
pub(super) fn warnings(cx: &dyn Look) -> Vec<Warning> {
    let known = cx.known();
    let Some(trust) = known.trust() else {
        return Vec::new();
    };
    let (fresh, wall_s) = (trust.freshness(), cx.now().wall_s);
    let mut warnings = Vec::new();
    warnings.extend(exchange::is_cut_off(cx).then_some(Warning::ImportCutOff));
    let given_up = cx.store().setting(&Setting::import_given_up());
    let given_up = given_up.is_ok_and(|set| set.is_some_and(|set| set == [1]));
    warnings.extend(given_up.then_some(Warning::ImportGivenUp));
    if wall_s + 86_400 < fresh.floor_s {
        warnings.push(Warning::ClockBehind);
    } else if wall_s > fresh.floor_s.saturating_add(YEAR_S) {
        warnings.push(Warning::ClockAheadOrNoNews);
    }
    if fresh.list_expired {
        warnings.push(Warning::ListExpired {
            meetings: known.meetings_without_news(),
        });
    }
    if fresh.root_expired {
        warnings.push(Warning::RootExpired);
    }
    warnings.extend(
        fresh
            .newer_list
            .map(|version| Warning::NewerList { version }),
    );
    warnings.extend(fresh.newer_recall.map(|_| Warning::NewerRecall));
    if fresh.list_retired {
        warnings.push(Warning::ListRetired);
    }
    let recall = trust.recall();
    let recalled = recall
        .iter()
        .flat_map(|r| &r.recalled)
        .rev()
        .take(RECALLS_NAMED);
    warnings.extend(recalled.map(|recalled| {
        let listed = trust
            .list()
            .and_then(|l| l.releases.iter().find(|r| r.digest == recalled.digest));
        Warning::Recalled {
            release: listed.map(|r| format!("{} {}", r.module, r.version)),
            digest: recalled.digest,
            reason: recalled.reason.clone(),
        }
    }));
    warnings.extend(of_certificate(cx, wall_s));
    let twin = cx.store().setting(&Setting::twin()).ok().flatten();
    let twin = twin.and_then(|at_s| at_s.try_into().ok());
    warnings.extend(twin.map(|at_s| Warning::KeyElsewhere {
        at: clinical::date::instant(u64::from_le_bytes(at_s)),
    }));
    let reason = trust.revoked(&known.id()).map(|reason| reason.to_string());
    warnings.extend(reason.map(|reason| Warning::Revoked { reason }));
    warnings
}

/// What there is to say of this phone's own certificate, and of the keys that it may use.
fn of_certificate(cx: &dyn Look, wall_s: u64) -> Vec<Warning> {
    let (known, store) = (cx.known(), cx.store());
    let mut warnings = Vec::new();
    if known.certificate().is_none() && store.setting(&Setting::chain()).ok().flatten().is_some() {
        warnings.push(Warning::NotCertifiedAnyMore);
    }
    for row in store.spaces().unwrap_or_default() {
        if crate::agent::locked(row.space, store).unwrap_or(false) {
            warnings.push(Warning::Locked { area: row.area });
        }
    }
    let Some(own) = known.certificate() else {
        return warnings;
    };
    let ended = own.expires_s.filter(|ends_s| wall_s >= *ends_s);
    match (known.judge(own.chain()).is_err(), ended) {
        (true, _) => warnings.push(Warning::CertificateExpired),
        (false, Some(ends_s)) => {
            let at = clinical::date::instant(ends_s);
            warnings.push(Warning::CertificateEnded { at });
        }
        (false, None) => {}
    }
    warnings
}
