//! The receipts lane: each side says which phones' receipts it holds, and gives the newer ones.

use std::collections::{BTreeMap, VecDeque};

use protocol::defence::{self, Defence};
use protocol::frame::{CarriedReceipt, Frame, Receipts, ReceiptsHeld};
use protocol::limits::{RECEIPT_BYTES_MAX, RECEIPTS_HELD_MAX, RECEIPTS_PER_ISSUER_MAX};
use protocol::{DeviceId, always};
use sync::receipt::verify;

use super::talk::{End, Talk, refuse};
use crate::agent::Phone;
use crate::store::{Store, StoreError};

/// Bytes of receipts in one frame.
const FRAME_RECEIPTS_BYTES: usize = 128 * 1024;

/// What stands for a device in the list of receipts held.
fn short(device: &DeviceId) -> [u8; 8] {
    device.0.first_chunk::<8>().copied().unwrap_or_default()
}

/// What is left to give.
#[derive(Default)]
pub(super) struct ReceiptLane {
    /// The other has said what it holds.
    heard: bool,
    /// Receipts that the other lacks, and has not been sent yet.
    to_send: VecDeque<DeviceId>,
}

impl ReceiptLane {
    /// A frame of this lane.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn handle(
        &mut self,
        frame: Frame,
        talk: &Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        match frame {
            Frame::ReceiptsHeld(held) => self.handle_receipts_held(&held, store),
            Frame::Receipts(receipts) => self.handle_receipts(talk, &receipts, phone, store),
            other => refuse(format!("{} out of its place", other.name())),
        }
    }

    pub(super) fn say_receipts_held(
        &mut self,
        talk: &mut Talk,
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        let row = |(device, number, _): (DeviceId, u64, Vec<u8>)| {
            [short(&device), number.to_le_bytes()].concat()
        };
        let held: Vec<u8> = store
            .receipts()?
            .into_iter()
            .take(RECEIPTS_HELD_MAX)
            .flat_map(row)
            .collect();
        always!(held.len().is_multiple_of(16), "as they are read");
        talk.say(Frame::ReceiptsHeld(ReceiptsHeld { held }));
        Ok(())
    }

    /// Gives what the other lacks.
    fn handle_receipts_held(
        &mut self,
        theirs: &ReceiptsHeld,
        store: &dyn Store,
    ) -> Result<(), End> {
        let (rows, rest) = theirs.held.as_chunks::<16>();
        if !rest.is_empty() || rows.len() > RECEIPTS_HELD_MAX || self.heard {
            return refuse("ReceiptsHeld that no phone says");
        }
        self.heard = true;
        let known: BTreeMap<_, _> = rows
            .iter()
            .filter_map(|row| {
                Some((
                    *row.first_chunk::<8>()?,
                    u64::from_le_bytes(*row.last_chunk::<8>()?),
                ))
            })
            .collect();
        let lacks = |(device, number, _): &(DeviceId, u64, Vec<u8>)| {
            known
                .get(&short(device))
                .is_none_or(|theirs| theirs < number)
        };
        self.to_send = store
            .receipts()?
            .into_iter()
            .filter(lacks)
            .map(|(device, ..)| device)
            .collect();
        Ok(())
    }

    /// The next receipts that the other lacks, made when the link can take them.
    pub(super) fn next_receipts(
        &mut self,
        phone: &Phone,
        store: &dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        if self.to_send.is_empty() {
            return Ok(None);
        }
        let mut held: BTreeMap<_, _> = store
            .receipts()?
            .into_iter()
            .map(|(d, _, r)| (d, r))
            .collect();
        let (mut receipts, mut bytes) = (Vec::new(), 0);
        while let Some(device) = self.to_send.pop_front() {
            let Some(receipt) = held.remove(&device) else {
                continue;
            };
            let chain = match phone
                .own
                .certificate
                .as_ref()
                .filter(|own| own.device == device)
            {
                Some(own) => Some(own.chain().clone()),
                None => phone
                    .spaces
                    .chain_of(&device, &phone.own, store)?
                    .map(|chain| chain.chain().clone()),
            };
            let Some(chain) = chain else { continue };
            bytes += receipt.len() + chain.to_bytes().len();
            receipts.push(CarriedReceipt { receipt, chain });
            if bytes >= FRAME_RECEIPTS_BYTES {
                break;
            }
        }
        always!(!receipts.is_empty() || self.to_send.is_empty());
        Ok((!receipts.is_empty()).then_some(Frame::Receipts(Receipts { receipts })))
    }

    /// Takes what is newer than what is held, of devices that are certified. A receipt is only ever
    /// believed to be from the device that signed it.
    fn handle_receipts(
        &mut self,
        talk: &Talk,
        theirs: &Receipts,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        if talk.is_stranger() {
            return refuse("receipts from a phone without a certificate");
        }
        let held: BTreeMap<_, _> = store
            .receipts()?
            .into_iter()
            .map(|(d, n, _)| (d, n))
            .collect();
        (theirs.receipts.iter()).try_for_each(|carried| take_one(carried, &held, phone, store))
    }
}

/// Takes a receipt that is newer than what is `held` of its phone, if that is certified.
pub(in crate::agent) fn take_one(
    carried: &CarriedReceipt,
    held: &BTreeMap<DeviceId, u64>,
    phone: &mut Phone,
    store: &mut dyn Store,
) -> Result<(), End> {
    let CarriedReceipt { receipt, chain } = carried;
    if receipt.len() > 2 * RECEIPT_BYTES_MAX {
        return refuse("a receipt that is far too long");
    }
    let receipt = verify(receipt).or_else(refuse)?;
    let judged = phone
        .judge_met(chain)
        .and_then(Result::ok)
        .filter(|chain| chain.device == receipt.device);
    let newer = held
        .get(&receipt.device)
        .is_none_or(|number| receipt.sequence > *number);
    let Some(chain) = judged.filter(|_| newer && receipt.device != phone.own.id()) else {
        return Ok(());
    };
    let issuer = chain.chain().issuer();
    let full = match issuer {
        Some(issuer) => store.receipts_of(&issuer)? >= RECEIPTS_PER_ISSUER_MAX as u64,
        None => false,
    };
    let another = full && !held.contains_key(&receipt.device);
    if another && defence::stands(Defence::IssuerBudgets) {
        return Ok(());
    }
    phone.spaces.keep_chain(&chain, store)?;
    store.put_receipt(&receipt, issuer, &phone.own.id())?;
    phone.out.changed();
    Ok(())
}
