//! How old this phone's knowledge is, in words.

use super::Body;
use crate::store::Store;

impl Body {
    /// What a person should know of how old this phone's knowledge is. Nothing here stops anything.
    pub(super) fn warnings(&self) -> Vec<String> {
        const YEAR_S: u64 = 365 * 86_400;
        let Some(trust) = self.agent.trust() else {
            return Vec::new();
        };
        let fresh = trust.freshness();
        let mut warnings = Vec::new();
        let (wall_s, floor_s) = (self.now().wall_s, fresh.floor_s);
        if wall_s + 86_400 < floor_s {
            warnings
                .push("this phone's clock is behind the ministry's last word: set it".to_owned());
        } else if wall_s > floor_s.saturating_add(YEAR_S) {
            warnings
                .push("either this phone's clock is far ahead, or it has heard nothing new for over a year".to_owned());
        }
        if fresh.list_expired {
            let meetings = self.agent.meetings_without_news();
            warnings.push(format!("the release list is older than the ministry meant it to be; {meetings} meetings since brought none newer. What runs goes on"));
        }
        if fresh.root_expired {
            warnings.push("the ministry's root is older than it meant it to be".to_owned());
        }
        if let Some(list) = fresh.newer_list {
            warnings.push(format!(
                "release list {list} exists and has not come here: meet your supervisor"
            ));
        }
        if fresh.newer_recall.is_some() {
            warnings.push(
                "a recall exists that has not come here: meet your supervisor before you trust the model".to_owned(),
            );
        }
        if fresh.list_retired {
            warnings.push(
                "the keys of the release list have been retired: nothing is fetched until the next list comes"
                    .to_owned(),
            );
        }
        for recalled in trust
            .recall()
            .iter()
            .flat_map(|r| &r.recalled)
            .rev()
            .take(3)
        {
            let name = trust
                .list()
                .and_then(|l| l.releases.iter().find(|r| r.digest == recalled.digest));
            let name = name.map_or(format!("bundle {}", recalled.digest.short()), |r| {
                format!("{} {}", r.module, r.version)
            });
            warnings.push(format!(
                "the ministry has recalled {name}: {}. This phone does not run it",
                recalled.reason
            ));
        }
        if self.agent.certificate().is_none()
            && self.store.setting("chain").ok().flatten().is_some()
        {
            warnings.push(
                "this phone's certificate counts no more: its signer has left or it was revoked; ask your supervisor to enrol it again"
                    .to_owned(),
            );
        }
        for row in self.store.spaces().unwrap_or_default() {
            if crate::agent::locked(row.space, &self.store).unwrap_or(false) {
                warnings.push(format!(
                    "the keys of {0} are locked after their time: call whoever keeps the space for a code, then kijiti enrol unlock CODE --area {0}",
                    row.area
                ));
            }
        }
        let expired = self
            .agent
            .certificate()
            .is_some_and(|c| self.agent.judge(c.chain()).is_err());
        if expired {
            warnings.push(
                "this phone's certificate has expired: it works on with what it has, and gets no new keys; ask your supervisor"
                    .to_owned(),
            );
        }
        let ends_s = self
            .agent
            .certificate()
            .and_then(|c| c.expires_s)
            .filter(|ends_s| !expired && wall_s >= *ends_s);
        if let Some(ends_s) = ends_s {
            warnings.push(format!(
                "by this phone's clock its certificate ended on {}: ask your supervisor for a new one before the ministry's next word ends it",
                clinical::date::instant(ends_s)
            ));
        }
        let own = self.agent.id();
        if let Some(reason) = trust.revoked(&own) {
            warnings.push(format!(
                "this phone has been revoked ({reason}): its cases stay readable here, and others take nothing from it"
            ));
        }
        warnings
    }
}
