//! Enrolment at the ministry's desk: certificates for phones, and renewal in bulk. Phones enrol each
//! other through their own agent.

use std::collections::BTreeMap;
use std::path::Path;

use distribution::TrustedState;
use protocol::certificate::{Certificate, CertificateRequest, Rights};
use protocol::limits::RENEWAL_DAYS;
use protocol::signed::{Role, Signed};
use protocol::{Area, Chain, DeviceId, DeviceKeys};

use crate::Refusal;
use crate::draft::{DAY_S, load_root, wall_s};
use crate::files::{EnrolDraftFile, EnrolmentFile, from_text, hex, to_text};
use crate::keys::{Asks, enrolment_keys};
use crate::sign::unspoilt;

/// So long after the newest time that the ministry has signed its clock is believed without a word.
const CLOCK_AHEAD_S: u64 = 400 * DAY_S;

/// The ministry's desk of enrolment: the roots that phones walk, and keys that may enrol under the
/// newest of them.
#[derive(Debug)]
pub struct EnrolmentDesk {
    trust: TrustedState,
    keys: Vec<DeviceKeys>,
}

/// What came of signing at one desk.
#[derive(Debug)]
pub enum Signing {
    /// Enough keys have signed: the answer, or certificates to be carried.
    Done(EnrolmentFile),
    /// Other keys must sign too, at other desks.
    GoesOn {
        /// The draft that goes there.
        file: EnrolDraftFile,
        /// Signatures that count.
        have: usize,
        /// Signatures that are needed.
        needed: usize,
    },
}

impl Signing {
    /// What is done, for whom no other desk is at hand.
    pub fn done(self) -> Result<EnrolmentFile, Refusal> {
        match self {
            Self::Done(file) => Ok(file),
            Self::GoesOn { have, needed, .. } => Err(Refusal::MoreMustSign(have, needed)),
        }
    }
}

/// A certificate that the ministry makes anew, for whoever looks at the list before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The phone.
    pub device: DeviceId,
    /// What people call it.
    pub name: String,
    /// Where.
    pub area: Area,
    /// Why it is made anew.
    pub why: Why,
}

/// Why a certificate is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has ended.
    Ended,
    /// A key that signed it is distrusted since.
    Distrusted,
    /// It ends soon.
    EndsSoon,
    /// Somebody asked for all.
    Asked,
}

impl EnrolmentDesk {
    /// Opens the keys in `folder`. The roots are those of `held`, where a phone of this ministry is
    /// at hand: after a rotation the folder's own root is old.
    pub fn open(folder: &Path, held: Option<TrustedState>, ask: Asks<'_>) -> Result<Self, Refusal> {
        let root = load_root(&folder.join("root.json"))?;
        let own = TrustedState::new(&root).map_err(Refusal::Trust)?;
        let trust = held
            .filter(|held| held.ministry() == own.ministry())
            .unwrap_or(own);
        let root = trust.root().ok_or(Refusal::EmptyRoot)?;
        let mut keys = enrolment_keys(folder, &root.enrolment.keys, ask)?;
        keys.truncate(root.enrolment.threshold as usize);
        Ok(Self { keys, trust })
    }

    /// The newest time that the ministry is known to have signed, if this machine's clock is far
    /// from it: a certificate's term counts from the clock.
    pub fn clock_is_off(&self) -> Option<u64> {
        let newest_s = self.trust.freshness().floor_s;
        let believed = newest_s.saturating_sub(DAY_S)..=newest_s.saturating_add(CLOCK_AHEAD_S);
        (!believed.contains(&wall_s())).then_some(newest_s)
    }

    /// Certifies a device.
    pub fn certify(
        &self,
        request: &Signed<CertificateRequest>,
        area: &str,
        (rights, passes_on): (&str, &str),
        valid_days: Option<u64>,
    ) -> Result<Signing, Refusal> {
        let claimed = request
            .read()
            .map_err(|e| Refusal::Damaged("request", Some(e)))?;
        let own = Role::single(claimed.device);
        request.verify(&own).map_err(Refusal::RequestDamaged)?;
        let read = |text: &str| Rights::parse(text).map_err(Refusal::NotRights);
        protocol::codec::check_new_name("name", &claimed.name)
            .map_err(|e| Refusal::Damaged("request", Some(e)))?;
        let certificate = Certificate {
            device: claimed.device,
            sealing_key: claimed.sealing_key,
            name: claimed.name,
            area: Area::parse(area).map_err(Refusal::NotAnArea)?,
            rights: read(rights)?,
            passes_on: read(passes_on)?,
            issued_s: wall_s(),
            expires_s: ends_s(valid_days),
            binding: claimed.binding,
        };
        self.sign(vec![Signed::unsigned(&certificate)], true)
    }

    /// Adds this desk's signatures to a draft of another desk's.
    pub fn sign_draft(&self, draft: &EnrolDraftFile) -> Result<Signing, Refusal> {
        let first = self.file().roots.into_iter().next();
        if draft.roots.first() != first.as_ref() {
            return Err(Refusal::OtherMinistry);
        }
        self.sign(certificates_of(draft)?, draft.answers)
    }

    /// Which of the ministry's own certificates are to be made anew, of all that are `known`: what
    /// a key signed that is distrusted since, and what ends soon; with `all`, the rest too. Lost
    /// phones and those of `without` are left out.
    pub fn due(
        &self,
        known: &[Chain],
        all: bool,
        without: &[DeviceId],
    ) -> Vec<(Renewal, Certificate)> {
        let mut newest: BTreeMap<DeviceId, (Certificate, Chain)> = BTreeMap::new();
        for first in known.iter().filter_map(|chain| chain.certificates.first()) {
            let chain = Chain {
                certificates: vec![first.clone()],
            };
            let Some(certificate) = self.was_certified(&chain) else {
                continue;
            };
            let left_out = self.trust.revoked(&certificate.device).is_some()
                || without.contains(&certificate.device);
            // Of several the one that counts, and of those the newest.
            let rank = |certificate: &Certificate, chain: &Chain| {
                (
                    matches!(self.trust.verify_chain(chain), Some(Ok(_))),
                    certificate.issued_s,
                )
            };
            let held = newest.get(&certificate.device);
            let older =
                held.is_some_and(|(other, held)| rank(other, held) >= rank(&certificate, &chain));
            if !left_out && !older {
                newest.insert(certificate.device, (certificate, chain));
            }
        }
        let soon_s = wall_s().saturating_add(RENEWAL_DAYS * DAY_S);
        let due = newest.into_values().filter_map(|(certificate, chain)| {
            let ends_soon = certificate.expires_s.is_some_and(|end_s| end_s < soon_s);
            let why = match self.trust.verify_chain(&chain) {
                Some(Err(protocol::CertificateError::Expired(_))) => Why::Ended,
                Some(Err(_)) => Why::Distrusted,
                _ if ends_soon => Why::EndsSoon,
                _ if all => Why::Asked,
                _ => return None,
            };
            let (name, area) = (certificate.name.clone(), certificate.area.clone());
            Some((
                Renewal {
                    device: certificate.device,
                    name,
                    area,
                    why,
                },
                certificate,
            ))
        });
        due.collect()
    }

    /// A certificate that a key of enrolment has signed, of any root and whatever became of that
    /// key since.
    fn was_certified(&self, chain: &Chain) -> Option<Certificate> {
        let roles = self.trust.roots().iter().map(|root| root.enrolment.clone());
        let verified = roles.filter_map(|role| chain.verify(&role).ok()).next()?;
        verified.chain().certificates.first()?.read().ok()
    }

    /// The same certificates for a new term, in one file for couriers. Whoever they certified needs
    /// nothing: those phones are told by the ones that certified them.
    pub fn renew(
        &self,
        due: &[(Renewal, Certificate)],
        valid_days: Option<u64>,
    ) -> Result<Signing, Refusal> {
        let anew = |certificate: &Certificate| {
            // Later than the one before, which it would be taken for if it said the same.
            let (issued_s, expires_s) = (
                wall_s().max(certificate.issued_s.saturating_add(1)),
                ends_s(valid_days),
            );
            Signed::unsigned(&Certificate {
                issued_s,
                expires_s,
                ..certificate.clone()
            })
        };
        self.sign(due.iter().map(|(_, c)| anew(c)).collect(), false)
    }

    fn file(&self) -> EnrolmentFile {
        let roots = self
            .trust
            .roots()
            .iter()
            .map(|root| to_text(root.signed()))
            .collect();
        let schema = "kijiti.enrolment/1".into();
        EnrolmentFile {
            schema,
            roots,
            chain: None,
            grants: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Adds signatures up to the threshold: done if those are enough and the certificates believed, else
    /// they go on to the next desk.
    fn sign(
        &self,
        mut certificates: Vec<Signed<Certificate>>,
        answers: bool,
    ) -> Result<Signing, Refusal> {
        let role = &self.trust.root().ok_or(Refusal::EmptyRoot)?.enrolment;
        let needed = role.threshold as usize;
        for signed in &mut certificates {
            let before = signed.valid_signatures(role);
            for key in &self.keys {
                let signs = signed.signers().all(|signer| signer != key.id());
                if signs && signed.valid_signatures(role) < needed {
                    signed.add_signature(key);
                }
            }
            if let Some(key) = self.keys.first()
                && before < needed
                && signed.valid_signatures(role) == before
            {
                return Err(Refusal::SignedAlready(key.id()));
            }
        }
        let valid = certificates.iter().map(|c| c.valid_signatures(role));
        let have = valid.min().unwrap_or_default();
        if have < needed {
            let file = EnrolDraftFile {
                schema: EnrolDraftFile::SCHEMA.into(),
                roots: self.file().roots,
                certificates: certificates.iter().map(to_text).collect(),
                answers,
            };
            return Ok(Signing::GoesOn { file, have, needed });
        }
        let chains = certificates.into_iter().map(|signed| {
            let chain = Chain {
                certificates: vec![signed],
            };
            match self.trust.verify_chain(&chain) {
                Some(Ok(_)) => Ok(hex(&chain.to_bytes())),
                Some(Err(error)) => Err(Refusal::Certificate(error)),
                None => Err(Refusal::EmptyRoot),
            }
        });
        let mut chains = chains.collect::<Result<Vec<_>, _>>()?;
        let chain = answers.then(|| chains.pop()).flatten();
        Ok(Signing::Done(EnrolmentFile {
            chain,
            certificates: chains,
            ..self.file()
        }))
    }
}

/// The certificates of a draft, each with good signatures: one that was changed since must not gather more.
pub fn certificates_of(draft: &EnrolDraftFile) -> Result<Vec<Signed<Certificate>>, Refusal> {
    let damaged = || Refusal::Damaged("draft", None);
    if draft.certificates.is_empty() || (draft.answers && draft.certificates.len() > 1) {
        return Err(damaged());
    }
    let read = |text: &String| {
        let signed: Signed<Certificate> = from_text("draft", text)?;
        let certificate = signed
            .read()
            .map_err(|e| Refusal::Damaged("draft", Some(e)))?;
        protocol::codec::check_new_name("name", &certificate.name)
            .map_err(|e| Refusal::Damaged("draft", Some(e)))?;
        unspoilt(&signed)?;
        Ok(signed)
    };
    draft.certificates.iter().map(read).collect()
}

fn ends_s(valid_days: Option<u64>) -> Option<u64> {
    valid_days.map(|days| wall_s().saturating_add(days.saturating_mul(DAY_S)))
}
