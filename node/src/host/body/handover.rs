//! Handing cases to a colleague: one, some, or everything open that a phone cares for (its worker
//! goes on leave, or it is lost).

use protocol::certificate::Right;
use protocol::{Chain, DeviceId};
use record::Entry;
use serde_json::json;
use sync::envelope::author_key;

use super::answers::{Answered, parse_request};
use super::*;

impl Body {
    /// Hands over the cases named or, without any, all open ones that `from` (without it, this
    /// phone) cares for.
    pub(super) fn case_hand_over(
        &mut self,
        cases: &[String],
        from: Option<&str>,
        to: &str,
        reason: &str,
        request: &str,
    ) -> Answered {
        let request = parse_request(request)?;
        let to = self.find_colleague(to)?;
        let from = from.map_or(Ok(self.agent.id()), |from| self.find_phone(from))?;
        if to == from && cases.is_empty() {
            return Err(Refusal::TheirsAlready);
        }
        let named = cases
            .iter()
            .map(|case| self.find_case(case))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut chosen, mut kept, mut disputed) = (Vec::new(), 0, Vec::new());
        for row in self.store.cases()? {
            let (_, view) = self.open_case(row.id)?;
            let wanted = match named.is_empty() {
                true => !view.closed() && view.responsible().contains(&from),
                false => named.contains(&row.id),
            };
            match wanted && view.responsible() != [to] {
                // Handed to several apart: that is a question of its own, not answered by the way.
                true if named.is_empty()
                    && view.care.as_ref().is_some_and(|care| care.disputed) =>
                {
                    disputed.push(row.id.to_string());
                }
                true if view.consents("share") => chosen.push(row),
                true => kept += 1, // it would be nobody's: it cannot leave this phone
                false => {}
            }
        }
        for row in &chosen {
            // A number of its own for every case: asked again, none is handed over twice.
            let mut number = request;
            number
                .iter_mut()
                .zip(row.id.as_bytes())
                .for_each(|(byte, of_case)| *byte ^= of_case);
            let entry = Entry::Handover {
                to,
                reason: record::clip(reason),
            };
            self.add(Some(row.id), row.area.clone(), vec![entry], number)?;
        }
        let cases: Vec<_> = chosen
            .iter()
            .map(|row| json!({ "case": row.id.to_string(), "title": row.title }))
            .collect();
        Ok(
            json!({ "schema": "kijiti.case-hand-over/1", "to": self.name_of(&to), "cases": cases, "kept": kept,
                   "disputed": disputed }),
        )
    }

    /// A phone that can care for cases; one that is known to carry only is refused.
    pub(super) fn find_colleague(&self, text: &str) -> Result<DeviceId, Refusal> {
        let device = self.find_phone(text)?;
        let met = self.store.peers()?.iter().any(|peer| peer.device == device)
            || device == self.agent.id();
        if !met && self.store.chains(author_key(&device))?.is_empty() {
            return Err(Refusal::PhoneUnknown(device));
        }
        if self.agent.lost().any(|(lost, _)| *lost == device) {
            return Err(Refusal::Lost(self.name_of(&device)));
        }
        let chains = self.store.chains(author_key(&device))?;
        let leaves: Vec<_> = chains
            .iter()
            .filter_map(|bytes| {
                Chain::from_bytes(bytes)
                    .ok()?
                    .certificates
                    .last()?
                    .read()
                    .ok()
            })
            .filter(|leaf| leaf.device == device)
            .collect();
        match leaves.iter().any(|leaf| leaf.rights.has(Right::Read)) || leaves.is_empty() {
            true => Ok(device),
            false => Err(Refusal::CarriesOnly(self.name_of(&device))),
        }
    }
}
