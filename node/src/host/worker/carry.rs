//! Carrying by a folder: what this phone holds is put there sealed, and what lies there is taken in
//! by the rules of a meeting.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use distribution::Offer;
use distribution::plan::wanted;
use protocol::frame::CarriedReceipt;
use protocol::limits::{PARCEL_BYTES_MAX, PARCEL_ITEMS_MAX};
use protocol::{BundleId, BundleKind, Chain, Digest, EnvelopeId, Right, codec};
use sync::Envelope;
use sync::parcel::{self, ItemKind};

use super::super::links::folder::{self, Card, FILE_BYTES_MAX, Shelf, pass_over};
use super::Worker;
use crate::agent::{Command, Parcel, Reply};
use crate::api::views::carry::{CarriedIn, CarriedOut, PassedOver, Why};
use crate::api::{Cx, Look, Refusal, Trouble};
use crate::store::{BundleStore, CaseStore, EnvelopeStore, Setting, TrustStore};

/// Bytes after which a parcel is closed and another one begun.
const PARCEL_BYTES: usize = 8 << 20;
/// Items after which it is.
const PARCEL_ITEMS: usize = 16 << 10;
// A draft is looked at after each item: whatever the last one was, the parcel can still be written.
const _: () = assert!(PARCEL_BYTES as u64 * 2 <= PARCEL_BYTES_MAX);
const _: () = assert!(PARCEL_ITEMS * 2 <= PARCEL_ITEMS_MAX);

/// Bytes of envelopes that are taken in at once.
const TAKEN_BYTES: usize = 1 << 20;
/// How often documents are offered again: one may be believed only after another.
const ROUNDS: usize = 4;
/// Documents of a card that are looked at; no ministry has as many.
const DOCUMENTS_MAX: usize = 10_000;

/// Items on their way into a parcel.
#[derive(Default)]
struct Draft {
    items: Vec<(ItemKind, Vec<u8>)>,
    bytes: usize,
    envelopes: u64,
    chains: BTreeSet<Digest>,
}

impl Draft {
    fn push(&mut self, kind: ItemKind, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.envelopes += u64::from(kind == ItemKind::Envelope);
        self.items.push((kind, bytes));
    }

    fn is_full(&self) -> bool {
        self.bytes >= PARCEL_BYTES || self.items.len() >= PARCEL_ITEMS
    }
}

impl Worker {
    /// What opens parcels of this phone's ministry, once it may carry cases.
    fn parcel_key(&self) -> Result<[u8; 32], Refusal> {
        let known = self.known();
        let key = known.discovery_key().ok_or(Refusal::NoMinistry)?;
        let own = known.certificate().ok_or(Refusal::NotCertified)?;
        match own.rights.has(Right::Carry) || own.rights.has(Right::Read) {
            true => Ok(key),
            false => Err(Refusal::MayNotCarry),
        }
    }

    /// Puts what this phone holds into a folder, as far as it is not there yet: sealed cases first.
    pub(super) fn carry_out(&mut self, path: &str) -> Result<CarriedOut, Refusal> {
        let key = self.parcel_key()?;
        let card = Card::open(Path::new(path))?;
        let own = std::fs::canonicalize(&self.desk.folder).ok();
        let meant = std::fs::canonicalize(path).ok();
        if own
            .zip(meant)
            .is_some_and(|(own, meant)| meant.starts_with(own))
        {
            let why = Trouble::Other("it is this phone's own folder".to_owned());
            return Err(Refusal::Card(path.to_owned(), why));
        }
        card.prepare()?;
        let mut out = CarriedOut {
            waiting: self.moment.store.outbox()?.len(),
            ..CarriedOut::default()
        };
        let there = items_there(&card, &key, &mut out.passed_over)?;
        self.cases_out(&card, &key, &there, &mut out)?;
        self.photos_out(&card, &mut out)?;
        self.bundles_out(&card, &mut out)?;
        Ok(out)
    }

    fn cases_out(
        &mut self,
        card: &Card,
        key: &[u8; 32],
        there: &BTreeSet<Digest>,
        out: &mut CarriedOut,
    ) -> Result<(), Refusal> {
        let mut draft = Draft::default();
        let news = |bytes: &[u8]| !there.contains(&Digest::of(bytes));
        let full = |draft: &mut Draft, out: &mut CarriedOut| match draft.is_full() {
            true => write(card, key, std::mem::take(draft), out),
            false => Ok(()),
        };
        let mut lacking = Vec::new();
        for space in self.moment.store.spaces()? {
            lacking.extend(self.moment.store.envelope_ids(space.space)?);
        }
        let before = lacking.len();
        lacking.retain(|(id, _)| !there.contains(&Digest(id.0)));
        out.there = (before - lacking.len()) as u64;
        lacking.sort_by_key(|(_, urgency)| std::cmp::Reverse(*urgency)); // stable: oldest first within
        for (id, _) in lacking {
            let Some(bytes) = self.moment.store.envelope(&id)?.filter(|b| !b.is_empty()) else {
                continue; // only its id is kept
            };
            self.authors_of(&bytes, &mut draft)?;
            draft.push(ItemKind::Envelope, bytes);
            full(&mut draft, out)?;
        }
        let trust = self.known().trust().map(|trust| trust.records());
        for (kind, signed) in trust.iter().flat_map(|records| records.iter()) {
            let item = parcel::document(kind, signed);
            if news(&item) {
                draft.push(ItemKind::Document, item);
                full(&mut draft, out)?;
            }
        }
        for item in self.receipts()?.into_iter().filter(|item| news(item)) {
            draft.push(ItemKind::Receipt, item);
            full(&mut draft, out)?;
        }
        match draft.items.is_empty() {
            true => Ok(()),
            false => write(card, key, draft, out),
        }
    }

    /// Certificates of an envelope's author, once for each parcel, so that each stands alone.
    fn authors_of(&self, envelope: &[u8], draft: &mut Draft) -> Result<(), Refusal> {
        let Ok(envelope) = Envelope::parse(envelope.to_vec()) else {
            return Ok(());
        };
        let own = self.known().certificate().map(|own| own.chain().to_bytes());
        let ours = sync::envelope::author_key(&self.known().id()) == envelope.author;
        let mut chains = self.moment.store.chains(envelope.author)?;
        chains.extend(own.filter(|_| ours));
        for chain in chains {
            if draft.chains.insert(Digest::of(&chain)) {
                draft.push(ItemKind::Chain, chain);
            }
        }
        Ok(())
    }

    /// Receipts of phones that are carried here, each with its certificates.
    fn receipts(&self) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut items = Vec::new();
        for (device, _, receipt) in self.moment.store.receipts()? {
            let author = sync::envelope::author_key(&device);
            let own = self
                .known()
                .certificate()
                .filter(|own| own.device == device);
            let held = self.moment.store.chains(author)?.into_iter().rev();
            let mut held = held.filter_map(|bytes| Chain::from_bytes(&bytes).ok());
            let chain = own.map(|own| own.chain().clone()).or_else(|| held.next());
            let carried = chain.map(|chain| CarriedReceipt { receipt, chain });
            items.extend(carried.map(|carried| codec::encode(&carried)));
        }
        Ok(items)
    }

    fn photos_out(&self, card: &Card, out: &mut CarriedOut) -> Result<(), Refusal> {
        for row in self.moment.store.bundles()? {
            let BundleId { kind, digest } = row.id;
            if kind != BundleKind::Photo || !row.whole || !self.known().knows_photo(&digest) {
                continue;
            }
            let withheld = self.moment.store.setting(&Setting::withheld(&digest))?;
            if withheld.is_some_and(|mark| !mark.is_empty()) {
                continue;
            }
            out.photos += self.copy_out(card, Shelf::Photos, &row.id, row.bytes, out)?;
        }
        Ok(())
    }

    fn bundles_out(&self, card: &Card, out: &mut CarriedOut) -> Result<(), Refusal> {
        let trust = self.known().trust();
        let named: BTreeSet<_> = trust
            .iter()
            .flat_map(|trust| trust.releases())
            .flat_map(|r| {
                r.deltas
                    .iter()
                    .map(|d| d.digest)
                    .chain([r.digest])
                    .collect::<Vec<_>>()
            })
            .collect();
        for row in self.moment.store.bundles()? {
            let listed = row.id.kind == BundleKind::Release && named.contains(&row.id.digest);
            if listed && row.whole {
                out.bundles += self.copy_out(card, Shelf::Bundles, &row.id, row.bytes, out)?;
            }
        }
        Ok(())
    }

    /// Copies a file that is not there yet, or not right; 1 if it did.
    fn copy_out(
        &self,
        card: &Card,
        shelf: Shelf,
        id: &BundleId,
        bytes: u64,
        out: &mut CarriedOut,
    ) -> Result<u64, Refusal> {
        let name = id.digest.to_string();
        let to = card.file(shelf, &name);
        if bytes > FILE_BYTES_MAX {
            pass_over(&mut out.passed_over, &to, Why::TooLongForCard);
            return Ok(0);
        }
        if folder::holds(&to, &id.digest, bytes) {
            return Ok(0);
        }
        if to.is_dir() {
            pass_over(&mut out.passed_over, &to, Why::InTheWay);
            return Ok(0);
        }
        let from = self.moment.store.bundles.path(id);
        if !folder::holds(&from, &id.digest, bytes) {
            pass_over(&mut out.passed_over, &from, Why::NotWhatItSays);
            return Ok(0);
        }
        let unreadable = |e: std::io::Error| Refusal::Unreadable(name.clone(), e.to_string());
        let mut file = File::open(&from).map_err(unreadable)?;
        out.bytes += card.put(shelf, &name, &mut file)?;
        Ok(1)
    }

    /// Takes in what lies in a folder, or in one file.
    pub(super) fn carry_in(&mut self, path: &str) -> Result<CarriedIn, Refusal> {
        let key = self.parcel_key()?;
        let card = Card::open(Path::new(path))?;
        let mut taken = CarriedIn::default();
        let before = self.cases_now()?;
        if let Some((digest, file)) = card.loose() {
            let known = self.known();
            let named = known.trust().is_some_and(|trust| {
                let releases = trust.releases().into_iter();
                let mut digests =
                    releases.flat_map(|r| r.deltas.iter().map(|d| d.digest).chain([r.digest]));
                digests.any(|named| named == digest)
            });
            if !named && !known.knows_photo(&digest) {
                pass_over(&mut taken.passed_over, &file, Why::NotAParcel);
            }
        }
        let mut parcels = Vec::new();
        for path in card.parcels(&mut taken.passed_over)? {
            if look(&path, &key, &mut taken.passed_over, |_| {}) {
                parcels.push(path);
            }
        }
        taken.parcels = parcels.len() as u64;
        self.documents_in(&parcels, &key, &mut taken)?;
        let mut held = BTreeSet::new();
        for space in self.moment.store.spaces()? {
            let ids = self.moment.store.envelope_ids(space.space)?.into_iter();
            held.extend(ids.map(|(id, _)| id));
        }
        for path in &parcels {
            self.cases_in((path, &held), &key, &mut taken)?;
        }
        if taken.envelopes > 0 {
            self.command(Command::ParcelsTaken)?;
        }
        self.bundles_in(&card, &mut taken)?;
        self.photos_in(&card, &mut taken)?;
        let after = self.cases_now()?;
        taken.cases = after.difference(&before).map(|(id, _)| *id).collect();
        Ok(taken)
    }

    fn cases_now(&self) -> Result<BTreeSet<(protocol::CaseId, u64)>, Refusal> {
        let rows = self.moment.store.cases()?.into_iter();
        Ok(rows.map(|row| (row.id, row.entries)).collect())
    }

    fn documents_in(
        &mut self,
        parcels: &[std::path::PathBuf],
        key: &[u8; 32],
        taken: &mut CarriedIn,
    ) -> Result<(), Refusal> {
        for _ in 0..ROUNDS {
            let (mut news, mut offered) = (0, BTreeSet::new());
            for path in parcels {
                // A card may hold more than the memory does: a parcel at a time, and each document once.
                let Ok(file) = folder::read_parcel(path) else {
                    continue;
                };
                let Ok(parcel) = parcel::open(key, &file) else {
                    continue;
                };
                let mut documents = Vec::new();
                let new = |item: &parcel::Item| {
                    item.kind == ItemKind::Document
                        && offered.len() < DOCUMENTS_MAX
                        && offered.insert(item.id)
                };
                parcel.read(new, |_, bytes| {
                    documents.extend(bytes.and_then(|bytes| parcel::read_document(&bytes)));
                });
                for document in documents {
                    let Ok(offer) = Offer::from_bytes(&document.kind, &document.signed) else {
                        continue;
                    };
                    // An older one is refused as from any courier; what is newer beside it is taken.
                    let taken = self.command(Command::Offer(Box::new(offer)));
                    news += u64::from(taken == Ok(Reply::Done));
                }
            }
            taken.documents += news;
            if news == 0 {
                break;
            }
        }
        Ok(())
    }

    fn cases_in(
        &mut self,
        (path, held): (&Path, &BTreeSet<EnvelopeId>),
        key: &[u8; 32],
        taken: &mut CarriedIn,
    ) -> Result<(), Refusal> {
        let Ok(file) = folder::read_parcel(path) else {
            return Ok(());
        };
        let Ok(opened) = parcel::open(key, &file) else {
            return Ok(());
        };
        let (mut parcel, mut envelopes) = (Parcel::default(), Vec::new());
        opened.read(
            |item| item.kind != ItemKind::Document && !held.contains(&EnvelopeId(item.id.0)),
            |item, bytes| {
                let Some(bytes) = bytes else { return };
                match item.kind {
                    ItemKind::Chain => parcel.chains.extend(Chain::from_bytes(&bytes)),
                    ItemKind::Receipt => parcel
                        .receipts
                        .extend(codec::decode::<CarriedReceipt>("receipt", &bytes)),
                    ItemKind::Envelope => envelopes.push(bytes),
                    ItemKind::Document => {}
                }
            },
        );
        let mut waiting = 0;
        for envelope in envelopes {
            waiting += envelope.len();
            parcel.envelopes.push(envelope);
            if waiting >= TAKEN_BYTES {
                waiting = 0;
                self.take(std::mem::take(&mut parcel), taken)?;
            }
        }
        self.take(parcel, taken)
    }

    fn take(&mut self, parcel: Parcel, taken: &mut CarriedIn) -> Result<(), Refusal> {
        if let Reply::Taken(envelopes, nothing) = self.command(Command::TakeParcel(parcel))? {
            taken.envelopes += envelopes;
            taken.not_for_us += nothing;
        }
        Ok(())
    }

    /// Takes what is missing here of what the ministry has signed for this phone, the cheapest way.
    fn bundles_in(&mut self, card: &Card, taken: &mut CarriedIn) -> Result<(), Refusal> {
        let mut there = card.by_digest(Shelf::Bundles);
        let whole = |digest: &Digest| self.moment.store.bundles.whole(&BundleId::release(*digest));
        let certificate = self.known().certificate();
        let area = certificate.map(|own| own.area.clone()).unwrap_or_default();
        let Some(trust) = self.known().trust() else {
            return Ok(());
        };
        let wanted = wanted(trust.releases_for(&area), whole, |d| there.contains_key(d));
        for (digest, bytes) in wanted {
            let Some(file) = there.remove(&digest) else {
                continue;
            };
            if !folder::holds(&file, &digest, bytes) {
                pass_over(&mut taken.passed_over, &file, Why::NotWhatItSays);
                continue;
            }
            if self.import_as(&BundleId::release(digest), &file)? {
                self.command(Command::BundleImported(digest))?;
                taken.bundles += 1;
            }
        }
        Ok(())
    }

    fn photos_in(&mut self, card: &Card, taken: &mut CarriedIn) -> Result<(), Refusal> {
        for (digest, file) in card.by_digest(Shelf::Photos) {
            let id = BundleId::photo(digest);
            if self.moment.store.bundles.whole(&id) || !self.known().knows_photo(&digest) {
                continue;
            }
            let bytes = std::fs::metadata(&file).map_or(0, |there| there.len());
            let announced = self.known().photo_has_size(&digest, bytes);
            if !announced || !folder::holds(&file, &digest, bytes) {
                pass_over(&mut taken.passed_over, &file, Why::NotWhatItSays);
                continue;
            }
            if self.import_as(&id, &file)? {
                self.command(Command::PhotoImported(digest))?;
                taken.photos += 1;
            }
        }
        Ok(())
    }

    /// Takes a file in; `false`: it was another one by then (a card is written to by others).
    fn import_as(&mut self, id: &BundleId, file: &Path) -> Result<bool, Refusal> {
        let import = self.moment.store.bundles.import(id.kind, file);
        let unusable = |e: std::io::Error| super::super::folder::unusable(&self.desk.folder, &e);
        let (digest, _) = import.map_err(unusable)?;
        if digest == id.digest {
            return Ok(true);
        }
        let kind = id.kind;
        self.moment
            .store
            .bundles
            .remove(&BundleId { kind, digest })?;
        Ok(false)
    }
}

/// What the parcels of a folder hold, as far as it can be read: what is damaged there counts as
/// missing, and is put there again.
fn items_there(
    card: &Card,
    key: &[u8; 32],
    passed: &mut Vec<PassedOver>,
) -> Result<BTreeSet<Digest>, Refusal> {
    let mut there = BTreeSet::new();
    for path in card.parcels(passed)? {
        look(&path, key, passed, |item| {
            there.insert(item);
        });
    }
    Ok(there)
}

/// Looks a parcel through: each item that is right is told. `false`: nothing of it can be read.
fn look(
    path: &Path,
    key: &[u8; 32],
    passed: &mut Vec<PassedOver>,
    mut right: impl FnMut(Digest),
) -> bool {
    let mut damaged = 0;
    let looked = folder::read_parcel(path).and_then(|file| {
        let parcel = parcel::open(key, &file)?;
        parcel.read(
            |_| true,
            |item, bytes| match bytes {
                Some(_) => right(item.id),
                None => damaged += 1,
            },
        );
        Ok(())
    });
    match looked {
        Ok(()) if damaged == 0 => {}
        Ok(()) => pass_over(passed, path, Why::Damaged(damaged)),
        Err(why) => {
            pass_over(passed, path, why);
            return false;
        }
    }
    true
}

fn write(card: &Card, key: &[u8; 32], draft: Draft, out: &mut CarriedOut) -> Result<(), Refusal> {
    let Some((name, file)) = parcel::write(key, &draft.items) else {
        return Err(Refusal::Nothing); // drafts are closed at half of what a parcel holds
    };
    let there = card.file(Shelf::Cases, &name);
    let name = match there.is_dir() {
        false => name,
        true => {
            // Somebody's folder has that name: what it holds says what a parcel is, not what it is called.
            pass_over(&mut out.passed_over, &there, Why::InTheWay);
            format!("1-{name}")
        }
    };
    out.bytes += card.put(Shelf::Cases, &name, &mut Cursor::new(file))?;
    out.parcels += 1;
    out.envelopes += draft.envelopes;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many of the longest items as anybody likes: each draft that is closed where it should be can be
    /// written, and left open it could not.
    #[test]
    fn a_draft_is_closed_before_it_is_too_long_to_write() {
        let longest = protocol::limits::SIGNED_BYTES_MAX;
        let (mut closed, mut draft) = (0, Draft::default());
        for n in 0..200_u32 {
            let mut item = vec![0; longest];
            item[..4].copy_from_slice(&n.to_le_bytes());
            draft.push(ItemKind::Receipt, item);
            if draft.is_full() {
                let full = std::mem::take(&mut draft);
                assert!(parcel::write(&[7; 32], &full.items).is_some());
                closed += 1;
            }
        }
        assert!(closed > 3);
        (0..200).for_each(|_| draft.push(ItemKind::Receipt, vec![0; longest]));
        assert!(
            parcel::write(&[7; 32], &draft.items).is_none(),
            "the control"
        );
    }
}
