//! This phone's own receipt, made anew whenever what it runs changes.

use protocol::{Digest, always, codec};
use sync::receipt::{Receipt, Running, seal, verify};

use super::Releases;
use crate::agent::tx::Tx;
use crate::store::{Setting, StoreError};

impl Releases {
    /// Writes this phone's receipt anew if it does not say what is so.
    pub(in crate::agent) fn write_receipt(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(trust) = &tx.own.trust else {
            return Ok(());
        };
        let ministry = trust.root().and_then(|r| r.receipts);
        let (Some(ministry), Some(own)) = (ministry, &tx.own.certificate) else {
            return Ok(());
        };
        let runs = self.activations.iter().filter_map(|(module, a)| {
            let current = a.current.as_ref()?;
            Some(Running {
                module: module.clone(),
                version: current.version,
                digest: current.digest,
            })
        });
        let receipt = Receipt {
            chain: own.chain().clone(),
            root: trust.root_version(),
            list: trust.list_version(),
            runs: runs.collect(),
        };
        let says = Digest::of(&codec::encode(&receipt));
        let said = tx.store.setting(&Setting::receipt())?;
        if said.as_deref() == Some(says.as_bytes().as_slice()) {
            return Ok(());
        }
        let (id, issuer) = (tx.own.id(), own.chain().issuer());
        let receipts = tx.store.receipts()?;
        let last = receipts.iter().find(|(device, ..)| *device == id);
        let number = last.map_or(0, |(_, number, _)| *number) + 1;
        let (keys, rng) = (&tx.own.keys, &mut tx.own.rng);
        let Ok(sealed) = seal(&receipt, number, &ministry, keys, rng) else {
            return Ok(());
        };
        if let Ok(verified) = verify(&sealed.to_bytes()) {
            always!(verified.device == id && verified.sequence == number);
            tx.store.put_receipt(&verified, issuer, &id)?;
            tx.store.put_setting(&Setting::receipt(), says.as_bytes())?;
            tx.out.changed();
        }
        Ok(())
    }
}
