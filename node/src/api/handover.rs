//! Handing cases to a colleague: one, some, or everything open that a phone cares for (its worker
//! goes on leave, or it is lost).

use protocol::DeviceId;
use protocol::certificate::Right;
use record::Entry;
use sync::envelope::author_key;

use super::consent::may_leave;
use super::views::cases::{Handed, HandedOver};
use super::{Cx, Look, Refusal, RequestId, cases, names};
use crate::agent::Command;

/// Hands over the cases named or, without any, all open ones that `from` (without it, this phone)
/// cares for.
pub fn hand_over(
    cx: &mut dyn Cx,
    named: &[String],
    (from, to): (Option<&str>, &str),
    reason: &str,
    request: RequestId,
) -> Result<HandedOver, Refusal> {
    let to = colleague(cx, to)?;
    let from = from.map_or(Ok(cx.known().id()), |from| names::find_phone(cx, from))?;
    if to == from && named.is_empty() {
        return Err(Refusal::TheirsAlready);
    }
    let named = named
        .iter()
        .map(|case| cases::find(cx, case))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut chosen, mut kept, mut disputed) = (Vec::new(), 0, Vec::new());
    for row in cx.store().cases()? {
        let (_, same) = cases::open_all(cx, row.id)?;
        let Some(view) = record::Case::view_of_same(&same) else {
            continue;
        };
        let wanted = match named.is_empty() {
            true => !view.closed() && view.responsible().contains(&from),
            false => named.contains(&row.id),
        };
        let asked = view.care.as_ref().is_some_and(|care| care.disputed);
        match wanted && view.responsible() != [to] {
            // Handed to several apart: that is a question of its own, not answered by the way.
            true if named.is_empty() && asked => disputed.push(row.id),
            true if may_leave(&same) => chosen.push(row),
            true => kept += 1, // it would be nobody's: it cannot leave this phone
            false => {}
        }
    }
    for row in &chosen {
        // A number of its own for every case: asked again, none is handed over twice.
        let mut number = request.0;
        let of_case = row.id.as_bytes();
        number
            .iter_mut()
            .zip(of_case)
            .for_each(|(byte, of_case)| *byte ^= of_case);
        let entry = Entry::Handover {
            to,
            reason: record::clip(reason),
        };
        cx.command(Command::AddToCase {
            case: Some(row.id),
            area: row.area.clone(),
            entries: vec![entry],
            request: number,
        })?;
    }
    let cases = chosen
        .into_iter()
        .map(|row| Handed {
            case: row.id,
            title: row.title,
        })
        .collect();
    Ok(HandedOver {
        to: names::name_of(cx, &to),
        cases,
        kept,
        disputed,
    })
}

/// A phone that can care for cases; one that is known to carry only is refused.
pub fn colleague(cx: &dyn Look, text: &str) -> Result<DeviceId, Refusal> {
    let device = names::find_phone(cx, text)?;
    let met =
        cx.store().peers()?.iter().any(|peer| peer.device == device) || device == cx.known().id();
    if !met && cx.store().chains(author_key(&device))?.is_empty() {
        return Err(Refusal::PhoneUnknown(device));
    }
    if cx.known().lost().any(|(lost, _)| *lost == device) {
        return Err(Refusal::Lost(names::name_of(cx, &device)));
    }
    let leaves = names::leaves(cx, author_key(&device));
    let mut leaves = leaves
        .iter()
        .filter(|leaf| leaf.device == device)
        .peekable();
    match leaves.peek().is_none() || leaves.any(|leaf| leaf.rights.has(Right::Read)) {
        true => Ok(device),
        false => Err(Refusal::CarriesOnly(names::name_of(cx, &device))),
    }
}
