//! Enrolment at the ministry's desk; phones enrol each other through their own agent.

use std::path::Path;

use distribution::TrustedState;
use node::host::Failure;
use protocol::certificate::{Certificate, CertificateRequest, Rights};
use protocol::signed::{Role, Signed};
use protocol::{Area, Chain};

use crate::files::{EnrolmentFile, hex, to_text};
use crate::ministry::keys::enrolment_keys;
use crate::ministry::{load_root, wall_s};

/// So long after its root was signed a ministry's clock is believed.
const CLOCK_AHEAD_S: u64 = 5 * 366 * 86_400;

/// Certifies a device with the ministry's own keys, as many as its threshold asks for.
pub fn sign_as_ministry(
    folder: &Path,
    request: &Signed<CertificateRequest>,
    area: &str,
    rights: &str,
    passes_on: &str,
    valid_days: Option<u64>,
    passphrase: Option<&str>,
) -> Result<EnrolmentFile, Failure> {
    let usage = |e: String, hint: &str| Failure::new(e, hint).with_code(2);
    let root = load_root(&folder.join("root.json"))?;
    let trust = TrustedState::new(&root).map_err(|e| Failure::new(e, "use the ministry's own folder"))?;
    let root_s = trust.root().map_or(0, |root| root.issued_s);
    if wall_s().saturating_add(86_400) < root_s || wall_s() > root_s.saturating_add(CLOCK_AHEAD_S) {
        let words = "this machine's clock is years away from when the ministry's root was signed";
        return Err(usage(words.into(), "set the clock; a root older than five years is rotated first"));
    }
    let claimed = request.read().map_err(|e| usage(e.to_string(), "ask for the request again"))?;
    request
        .verify(&Role::single(claimed.device))
        .map_err(|e| usage(format!("the request is damaged: {e}"), "ask for the request again"))?;
    let read = |text: &str| Rights::parse(text).map_err(|e| usage(e, "for example --rights carry,read,write"));
    let certificate = Certificate {
        device: claimed.device,
        sealing_key: claimed.sealing_key,
        name: claimed.name,
        area: Area::parse(area).map_err(|e| usage(e.to_string(), "for example north/kilifi"))?,
        rights: read(rights)?,
        passes_on: read(passes_on)?,
        issued_s: wall_s(),
        expires_s: valid_days.map(|days| wall_s().saturating_add(days.saturating_mul(86_400))),
        binding: claimed.binding,
    };
    let mut signed = Signed::unsigned(&certificate);
    let enrols = trust.root().map(|root| root.enrolment.keys.clone()).unwrap_or_default();
    let threshold = trust.root().map_or(1, |r| r.enrolment.threshold) as usize;
    let keys = enrolment_keys(folder, &enrols, passphrase)?;
    keys.iter().take(threshold).for_each(|k| signed.add_signature(k));
    let chain = Chain { certificates: vec![signed] };
    match trust.verify_chain(&chain) {
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            return Err(Failure::new(
                error,
                "as many of the ministry's keys as its threshold asks for must be in the folder",
            )
            .with_code(4));
        }
        None => return Err(Failure::new("the root is empty", "use the ministry's own folder")),
    }
    Ok(EnrolmentFile {
        schema: "kijiti.enrolment/1".into(),
        roots: vec![to_text(&root)],
        chain: Some(hex(&chain.to_bytes())),
        grants: Vec::new(),
    })
}
