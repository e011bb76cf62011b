//! Receipts: this phone's own, made anew whenever what it runs changes, and those it carries for others towards the ministry.

use protocol::DeviceId;
use protocol::frame::{Frame, Receipts, ReceiptsHeld};
use protocol::limits::{RECEIPT_BYTES_MAX, RECEIPTS_HELD_MAX};
use sync::receipt::{Receipt, Running, seal, verify};

use super::meeting::{End, Meeting, refuse};
use super::{Phone, setting};
use crate::store::{Store, StoreError};

/// Bytes of receipts in one frame.
const FRAME_RECEIPTS_BYTES: usize = 128 * 1024;

/// What stands for a device in the list of receipts held.
fn short(device: &DeviceId) -> [u8; 8] {
    device.0.first_chunk::<8>().copied().unwrap_or_default()
}

impl Phone {
    /// Writes this phone's receipt anew if it does not say what is so.
    pub(super) fn write_receipt(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(trust) = &self.trust else { return Ok(()) };
        let (Some(ministry), Some(own)) = (trust.root().and_then(|r| r.receipts), &self.certificate) else {
            return Ok(());
        };
        let runs = self.activations.iter().filter_map(|(module, a)| {
            let current = a.current.as_ref()?;
            Some(Running { module: module.clone(), version: current.version, digest: current.digest })
        });
        let (root, list) = (trust.root_version(), trust.list_version());
        let receipt = Receipt { chain: own.chain().clone(), root, list, runs: runs.collect() };
        let says = protocol::Digest::of(&protocol::codec::encode(&receipt));
        if store.setting(setting::RECEIPT)?.as_deref() == Some(says.as_bytes().as_slice()) {
            return Ok(());
        }
        let id = self.keys.id();
        let last = store.receipts()?.iter().find(|(device, ..)| *device == id).map_or(0, |(_, n, _)| *n);
        let Ok(sealed) = seal(&receipt, last + 1, &ministry, &self.keys, &mut self.rng) else { return Ok(()) };
        if let Ok(verified) = verify(&sealed.to_bytes()) {
            store.put_receipt(&verified)?;
            store.put_setting(setting::RECEIPT, says.as_bytes())?;
            self.changed();
        }
        Ok(())
    }
}

impl Meeting {
    pub(super) fn say_receipts_held(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let row = |(device, number, _): (DeviceId, u64, Vec<u8>)| [short(&device), number.to_le_bytes()].concat();
        let held: Vec<u8> = store.receipts()?.into_iter().take(RECEIPTS_HELD_MAX).flat_map(row).collect();
        self.say(Frame::ReceiptsHeld(ReceiptsHeld { held }));
        Ok(())
    }

    /// Gives what the other lacks.
    pub(super) fn handle_receipts_held(&mut self, theirs: &ReceiptsHeld, store: &dyn Store) -> Result<(), End> {
        let (rows, rest) = theirs.held.as_chunks::<16>();
        if !rest.is_empty() || rows.len() > RECEIPTS_HELD_MAX || self.receipts_heard {
            return refuse("ReceiptsHeld that no phone says");
        }
        self.receipts_heard = true;
        let known: std::collections::BTreeMap<_, _> = rows
            .iter()
            .filter_map(|row| Some((*row.first_chunk::<8>()?, u64::from_le_bytes(*row.last_chunk::<8>()?))))
            .collect();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (device, number, receipt) in store.receipts()? {
            if known.get(&short(&device)).is_some_and(|theirs| *theirs >= number) {
                continue;
            }
            bytes += receipt.len();
            batch.push(receipt.into());
            if bytes >= FRAME_RECEIPTS_BYTES {
                self.say(Frame::Receipts(Receipts { receipts: std::mem::take(&mut batch) }));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.say(Frame::Receipts(Receipts { receipts: batch }));
        }
        Ok(())
    }

    /// Takes what is newer than what is held. A receipt is only ever believed to be from the device that signed it.
    pub(super) fn handle_receipts(
        &mut self,
        theirs: &Receipts,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let held: std::collections::BTreeMap<_, _> = store.receipts()?.into_iter().map(|(d, n, _)| (d, n)).collect();
        for bytes in &theirs.receipts {
            if bytes.len() > 2 * RECEIPT_BYTES_MAX {
                return refuse("a receipt that is far too long");
            }
            let receipt = verify(bytes).or_else(refuse)?;
            if held.get(&receipt.device).is_none_or(|number| receipt.sequence > *number) {
                store.put_receipt(&receipt)?;
                phone.changed();
            }
        }
        Ok(())
    }
}
