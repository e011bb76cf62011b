//! Who is meant: phones and authors by name, by id, or by the beginning of one.

use crate::store::Setting;
use std::collections::BTreeMap;

use protocol::{Certificate, Chain, DeviceId};
use sync::envelope::{AuthorKey, author_key};

use super::views::status::Phone;
use super::{Look, Refusal};

/// The last certificates of all chains that are kept of an author.
pub fn leaves(cx: &dyn Look, author: AuthorKey) -> Vec<Certificate> {
    let chains = cx.store().chains(author).unwrap_or_default();
    chains.iter().filter_map(|chain| leaf_of(chain)).collect()
}

fn leaf_of(chain: &[u8]) -> Option<Certificate> {
    let chain = Chain::from_bytes(chain).ok()?;
    chain.certificates.last()?.read().ok()
}

/// The name that a phone's certificate gives it.
pub fn name_of(cx: &dyn Look, device: &DeviceId) -> String {
    certified_name(cx, device).unwrap_or_else(|| format!("phone {}", device.short()))
}

/// The same, if there ever was one.
pub fn certified_name(cx: &dyn Look, device: &DeviceId) -> Option<String> {
    let named = leaves(cx, author_key(device))
        .into_iter()
        .rfind(|leaf| leaf.device == *device);
    named.map(|leaf| leaf.name)
}

/// The name of an author.
pub fn name_of_author(cx: &dyn Look, author: AuthorKey) -> String {
    let leaf = leaves(cx, author).into_iter().next();
    leaf.map_or_else(|| "a clinic".to_owned(), |leaf| leaf.name)
}

/// The phone of whose backup this one was made.
pub fn restored_from(cx: &dyn Look) -> Option<DeviceId> {
    DeviceId::from_slice(&cx.store().setting(&Setting::restored_from()).ok()??)
}

/// The phone that somebody means, with its name.
pub fn named(cx: &dyn Look, text: &str) -> Result<Phone, Refusal> {
    let device = find_phone(cx, text)?;
    let name = certified_name(cx, &device);
    Ok(Phone { device, name })
}

/// A phone by its id, the beginning of it, or the name of its certificate: one whose certificate is kept, one
/// that was met, one that is lost, this one.
pub fn find_phone(cx: &dyn Look, text: &str) -> Result<DeviceId, Refusal> {
    let text = text.trim();
    if let Ok(device) = text.parse() {
        return Ok(device);
    }
    let peers = cx.store().peers()?.into_iter();
    let mut known: BTreeMap<DeviceId, String> =
        peers.map(|peer| (peer.device, peer.name)).collect();
    let every = cx.store().every_chain()?;
    let leaf = |bytes: &Vec<u8>| leaf_of(bytes).map(|leaf| (leaf.device, leaf.name));
    known.extend(every.iter().filter_map(leaf)); // the newest of a phone's last
    let lost = cx.known().lost().map(|(lost, _)| *lost);
    let others = lost.chain(restored_from(cx)).chain([cx.known().id()]);
    known.extend(others.map(|device| (device, name_of(cx, &device))));
    let is = |(device, name): &(&DeviceId, &String)| {
        name.to_lowercase() == text.to_lowercase()
            || (text.len() >= 8 && device.to_string().starts_with(text))
    };
    let mut meant: Vec<_> = known.iter().filter(is).collect();
    if meant.is_empty() && !text.is_empty() {
        // The first words of a name, as far as they are one phone's alone.
        let starts = |(_, name): &(&DeviceId, &String)| {
            name.to_lowercase()
                .starts_with(&format!("{} ", text.to_lowercase()))
        };
        meant = known.iter().filter(starts).collect();
    }
    match meant.as_slice() {
        [(only, _)] => Ok(**only),
        several => Err(Refusal::NoSuchPhone(text.to_owned(), !several.is_empty())),
    }
}
