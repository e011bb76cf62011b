//! Every decoder that reads what a peer, a file or a stranger wrote. A target must neither panic nor hold more than its limit,
//! whatever the bytes; where bytes are accepted, writing them again gives what was read.

use distribution::bundle::{Fetch, Groups};
use distribution::{ReleaseList, Root, TrustedState, tree};
use inference::logic::Expr;
use inference::{Findings, RulePack, TriageModel};
use protocol::certificate::{Certificate, CertificateRequest};
use protocol::frame::{Frame, FrameReader};
use protocol::signed::Role;
use protocol::{Area, CaseId, Chain, DeviceKeys, Digest, Signed};
use sync::reconcile::read_words;
use sync::{Case, Envelope, Grant};

/// A target: its name, as its corpus folder is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("frame", frame),
    ("signed", signed),
    ("chain", chain),
    ("envelope", envelope),
    ("case", case),
    ("bundle", bundle),
    ("model", model),
    ("findings", findings),
    ("rules", rules),
    ("words", words),
];

/// A stream of frames, cut anywhere.
pub fn frame(data: &[u8]) {
    let step = data.first().map_or(1, |b| usize::from(*b) + 1);
    let mut reader = FrameReader::default();
    for chunk in data.chunks(step) {
        reader.push(chunk.to_vec());
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    let bytes = frame.to_bytes();
                    let again = Frame::from_bytes(bytes.get(4..).unwrap_or_default());
                    assert!(again.is_ok_and(|f| f.to_bytes() == bytes), "{} does not read back", frame.name());
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Every kind of signed document.
pub fn signed(data: &[u8]) {
    if let Ok(root) = Signed::<Root>::from_bytes(data) {
        let _ = TrustedState::new(&root);
    }
    if let Ok(list) = Signed::<ReleaseList>::from_bytes(data) {
        let _ = list.read();
    }
    if let Ok(certificate) = Signed::<Certificate>::from_bytes(data) {
        let _ = certificate.verify(&Role::single(DeviceKeys::from_seed([1; 32]).id()));
    }
    let _ = Signed::<CertificateRequest>::from_bytes(data).map(|r| r.read());
    let _ = Signed::<Grant>::from_bytes(data).map(|g| g.read());
}

/// Certificate chains.
pub fn chain(data: &[u8]) {
    if let Ok(chain) = Chain::from_bytes(data) {
        let _ = chain.verify(&Role::single(DeviceKeys::from_seed([1; 32]).id()));
    }
}

/// The outside of envelopes.
pub fn envelope(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data.to_vec()) {
        assert_eq!(envelope.bytes(), data);
    }
}

/// Automerge's loaders, behind our net: a stored document, and a change from another phone.
pub fn case(data: &[u8]) {
    let id = CaseId([1; 16]);
    if let Ok(case) = Case::load(id, data) {
        let _ = case.view();
    }
    let mut case = Case::new(id);
    let before = case.save();
    if case.apply(&[data]).is_err() {
        assert_eq!(case.save(), before, "a refused change changed the case");
    }
}

/// Tree lists, have-maps and groups.
pub fn bundle(data: &[u8]) {
    let bytes = data.len() as u64 * 300;
    let mut fetch = Fetch::new(Digest::of(data), bytes);
    let _ = fetch.accept_tree(0, data);
    let _ = fetch.check_groups(data.first().map_or(0, |b| u64::from(*b)), data);
    let groups = Groups::from_bits(data, tree::group_count(bytes));
    assert!(groups.held() <= groups.count());
}

/// Model files.
pub fn model(data: &[u8]) {
    let _ = TriageModel::load("fuzz", data);
}

/// Findings files, JSON and TOML.
pub fn findings(data: &[u8]) {
    if let (Ok(text), Ok(pack)) = (std::str::from_utf8(data), RulePack::built_in()) {
        let _ = Findings::parse(text, &pack);
    }
}

/// Rule packs and their conditions.
pub fn rules(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = RulePack::parse(text);
        let _ = Expr::parse(text);
        let _ = Area::parse(text);
    }
}

/// Lists of ids.
pub fn words(data: &[u8]) {
    let _ = read_words(data);
}
