//! What a person or the host can ask of the phone. A refusal says why and what to do, and changes
//! nothing.

use std::collections::BTreeSet;

use distribution::activation::Module;
use distribution::{Offer, Release, Root, TrustedState};
use protocol::certificate::{Certificate, CertificateError, CertificateRequest};
use protocol::signed::{Role, Signed};
use protocol::{Area, CaseId, Chain, DeviceId, Digest, EnvelopeId, Now, Right, Rights};
use record::Entry;
use sync::Grant;
use sync::epoch::Member;
use sync::space::open_grant;

use super::cases::Target;
use super::{Event, Phone, setting};
use crate::api::{Paper, Refusal};
use crate::store::{Store, StoreError};

/// What can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Trust this ministry. Only once: a phone has one ministry.
    InstallTrust(Signed<Root>),
    /// Take this chain as our own certificates.
    InstallChain(Chain),
    /// Keep these chains, of whatever phones: certificates that were made anew, to be shown to
    /// their phones at a meeting.
    KeepChains(Vec<Chain>),
    /// Take the key of a space, granted by the device of this chain.
    InstallGrant(Box<(Signed<Grant>, Chain)>),
    /// Begin the space of an area: make its key.
    CreateSpace(Area),
    /// Give the key of the space of an area to the device of this chain. Answers with the grant's
    /// bytes.
    GrantSpace(Area, Chain),
    /// Certify a device. Answers with its chain's bytes.
    Certify {
        /// What the device asked for.
        request: Signed<CertificateRequest>,
        /// What people call it.
        name: String,
        /// Where.
        area: Area,
        /// What it may do.
        rights: Rights,
        /// What it may let others do.
        passes_on: Rights,
        /// Days after which it is given no new keys; `None`: never.
        valid_days: Option<u64>,
    },
    /// Take a newer document of the ministry's.
    Offer(Box<Offer>),
    /// A bundle has been put into the store from outside, whole.
    BundleImported(Digest),
    /// Begin a case, or add to one. Answers with the case's id.
    AddToCase {
        /// The case, or a new one.
        case: Option<CaseId>,
        /// The area whose space it lies in.
        area: Area,
        /// What is added.
        entries: Vec<Entry>,
        /// A number for this request: asked again after a crash, it is not done twice.
        request: [u8; 16],
    },
    /// Add to a case, or begin one, with what a file says, whose writer has seen nothing of it: where
    /// it differs, that is a question. Answers with the case's id.
    TakeFromFile {
        /// The case, or a new one.
        case: Option<CaseId>,
        /// The area whose space it lies in.
        area: Area,
        /// What the file says.
        entries: Vec<Entry>,
        /// As in `AddToCase`.
        request: [u8; 16],
        /// Settings under which the case is found again when the file comes again.
        known_as: Vec<String>,
    },
    /// Keep the visit that is under way, sealed; `None`: it is over.
    KeepVisit(Option<Vec<u8>>),
    /// Keep what was worked out of what is kept already: settings and their values.
    Remember(Vec<(String, Vec<u8>)>),
    /// Take in a case from an archive, whose writer has been judged. What is new in it leaves this
    /// phone like its own words.
    TakeCase {
        /// Which.
        case: CaseId,
        /// The area whose space it lies in here, if it is not here yet.
        area: Area,
        /// Its changes.
        changes: Vec<Vec<u8>>,
    },
    /// A sealed photo has been put into the store: it is kept, and follows its case once that
    /// leaves.
    KeepPhoto(Digest, u64),
    /// Change the key of a space: from now on it is sealed to all its members but these and those
    /// that are lost.
    RotateSpace(Area, Vec<DeviceId>),
    /// Lease the keys of a space for so many days of use; 0: without end.
    SetLease(Area, u32),
    /// Unlock the keys of a space, whose lease has ended, with a code.
    Unlock(Area, String),
    /// The code that unlocks the keys of a space for a phone. Answers with its letters.
    UnlockCode(Area, DeviceId),
    /// Say that a phone of an area is lost, and why.
    Revoke(Area, DeviceId, String),
    /// Let in what lost phones wrote late: these envelopes, or all that wait.
    Countersign(Vec<EnvelopeId>),
    /// End the older keys of a space. What they sealed goes, but for open cases and those changed
    /// here since this second.
    Retire(Area, u64),
    /// How many bytes of envelopes that have reached their readers may lie here.
    SetCarryQuota(u64),
    /// A delta did not make what it should: it is thrown away and not tried again.
    DeltaFailed(Digest, String),
    /// How many bytes of bundles may lie here.
    SetQuota(u64),
    /// A release is about to be tried or loaded. Answers `Unchanged` if it must not be: it has
    /// brought the program down.
    AttemptBegins {
        /// Its module.
        module: String,
        /// Its bundle.
        digest: Digest,
    },
    /// The attempt has come to an end, well or not.
    AttemptEnds {
        /// Its module.
        module: String,
    },
    /// The host has tried a release and switched to it; what was checked is kept.
    Activated(Box<Release>, Vec<u8>),
    /// The host has tried a release and it failed.
    ActivationFailed(Box<Release>, String),
    /// Return to what ran before.
    GoBack(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// It was so already.
    Unchanged,
    /// The case it is about.
    Case(CaseId),
    /// A document.
    Document(Vec<u8>),
}

pub(super) type Answer = Result<Reply, Refusal>;

pub(super) fn no(refusal: Refusal) -> Result<Answer, StoreError> {
    Ok(Err(refusal))
}

impl Phone {
    pub(super) fn handle_command(
        &mut self,
        now: Now,
        command: Command,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        match command {
            Command::InstallTrust(root) => self.install_trust(&root, store),
            Command::InstallChain(chain) => self.install_chain(&chain, store),
            Command::KeepChains(chains) => self.keep_chains(&chains, store),
            Command::InstallGrant(grant) => self.install_grant(now, &grant.0, &grant.1, store),
            Command::CreateSpace(area) => self.create_space(now, area, store),
            Command::GrantSpace(area, chain) => self.grant_space(now, &area, &chain, store),
            Command::TakeCase {
                case,
                area,
                changes,
            } => self.take_case(now, case, &area, &changes, store),
            Command::KeepPhoto(digest, bytes) => {
                store.open_bundle(&protocol::BundleId::photo(digest), bytes)?;
                store.put_setting(&super::cases::photo_setting(&digest), &[1])?;
                Ok(Ok(Reply::Done))
            }
            Command::RotateSpace(area, without) => self.rotate_space(now, &area, &without, store),
            Command::SetLease(area, days) => self.set_lease(now, &area, days, store),
            Command::Unlock(area, code) => self.unlock(now, &area, &code, store),
            Command::UnlockCode(area, device) => self.say_unlock_code(&area, &device, store),
            Command::Revoke(area, device, reason) => self.revoke(now, &area, device, reason, store),
            Command::Countersign(envelopes) => self.countersign(now, envelopes, store),
            Command::Retire(area, since_s) => self.retire(now, &area, since_s, store),
            Command::SetCarryQuota(bytes) => {
                store.put_setting(setting::CARRY_QUOTA, &bytes.to_le_bytes())?;
                self.carry_quota_bytes = if bytes == 0 { u64::MAX } else { bytes };
                self.let_go_of_delivered(store)?;
                Ok(Ok(Reply::Done))
            }
            Command::Certify {
                request,
                name,
                area,
                rights,
                passes_on,
                valid_days,
            } => {
                // From the ministry's time, as it will be judged, or a clock that is ahead of it.
                let now_s = now
                    .wall_s
                    .max(self.trust.as_ref().map_or(0, |t| t.freshness().floor_s));
                let expires_s =
                    valid_days.map(|days| now_s.saturating_add(days.saturating_mul(86_400)));
                // Nobody gives more time than there is: what the issuer's own certificate allows.
                let own_end_s = self.certificate.as_ref().and_then(|own| own.expires_s);
                let expires_s = expires_s.into_iter().chain(own_end_s).min();
                self.certify(
                    now,
                    &request,
                    name,
                    area,
                    (rights, passes_on, expires_s),
                    store,
                )
            }
            Command::Offer(offer) => self.offer(&offer, store),
            Command::BundleImported(digest) => self.bundle_imported(&digest, store),
            Command::DeltaFailed(digest, reason) => self.delta_failed(digest, &reason, store),
            Command::SetQuota(bytes) => {
                store.put_setting(setting::QUOTA, &bytes.to_le_bytes())?;
                self.quota_bytes = if bytes == 0 { u64::MAX } else { bytes };
                self.make_room(store)?;
                Ok(Ok(Reply::Done))
            }
            Command::AttemptBegins { module, digest } => {
                let may = self
                    .activations
                    .entry(module)
                    .or_default()
                    .begin_attempt(digest);
                self.save_activations(store)?;
                Ok(Ok(if may { Reply::Done } else { Reply::Unchanged }))
            }
            Command::AttemptEnds { module } => {
                self.activations.entry(module).or_default().end_attempt();
                self.save_activations(store)?;
                Ok(Ok(Reply::Done))
            }
            Command::AddToCase {
                case,
                area,
                entries,
                request,
            } => {
                let target = case.map_or(Target::New, Target::Seen);
                self.add_to_case(now, target, &area, &entries, &request, store)
            }
            Command::TakeFromFile {
                case,
                area,
                entries,
                request,
                known_as,
            } => {
                let target = case.map_or(Target::New, Target::Unseen);
                let taken = self.add_to_case(now, target, &area, &entries, &request, store)?;
                if let Ok(Reply::Case(id)) = &taken {
                    for setting in known_as {
                        store.put_setting(&setting, id.as_bytes())?;
                    }
                }
                Ok(taken)
            }
            Command::KeepVisit(visit) => {
                store.put_visit(visit.as_deref())?;
                Ok(Ok(Reply::Done))
            }
            Command::Remember(settings) => {
                for (name, value) in settings {
                    store.put_setting(&name, &value)?;
                }
                Ok(Ok(Reply::Done))
            }
            Command::Activated(release, checks) => self.activated(&release, &checks, store),
            Command::ActivationFailed(release, reason) => {
                self.activation_failed(&release, &reason, store)
            }
            Command::GoBack(module) => self.go_back(&module, store),
        }
    }

    fn install_trust(
        &mut self,
        root: &Signed<Root>,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let trust = match TrustedState::new(root) {
            Ok(trust) => trust,
            Err(error) => return no(Refusal::RootNotTrusted(error.to_string())),
        };
        if let Some(held) = &self.trust {
            if held.ministry() == trust.ministry() {
                return Ok(Ok(Reply::Unchanged));
            }
            return no(Refusal::OtherMinistry);
        }
        self.trust = Some(trust);
        self.trust_changed(store)?;
        Ok(Ok(Reply::Done))
    }

    fn install_chain(
        &mut self,
        chain: &Chain,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let verified = match self.judge(chain) {
            Some(Ok(verified)) => verified,
            Some(Err(error)) => return no(Refusal::ChainRefused(error.to_string())),
            None => return no(Refusal::NoMinistry),
        };
        if verified.device != self.keys.id() {
            return no(Refusal::OtherPhonesChain);
        }
        store.put_setting(setting::CHAIN, &verified.chain().to_bytes())?;
        self.keep_chain(&verified, store)?;
        // Those above are known by name from now on, before any of them is met.
        for above in (1..chain.certificates.len()).filter_map(|n| chain.certificates.get(..n)) {
            if let Some(Ok(above)) = self.judge(&Chain {
                certificates: above.to_vec(),
            }) {
                self.keep_chain(&above, store)?;
            }
        }
        self.certificate = Some(verified);
        self.check_keys = true;
        self.changed();
        self.open_bundles(store)?;
        self.announce_ready(store)?;
        Ok(Ok(Reply::Done))
    }

    fn keep_chains(
        &mut self,
        chains: &[Chain],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let mut judged = Vec::new();
        for chain in chains {
            match self.judge(chain) {
                Some(Ok(verified)) => judged.push(verified),
                Some(Err(error)) => {
                    return no(Refusal::ChainRefused(error.to_string()));
                }
                None => return no(Refusal::NoMinistry),
            }
        }
        for chain in judged {
            match chain.device == self.keys.id() {
                true => self.take_renewed(chain, store)?,
                false => self.keep_chain(&chain, store)?,
            }
        }
        self.changed();
        Ok(Ok(Reply::Done))
    }

    fn install_grant(
        &mut self,
        now: Now,
        grant: &Signed<Grant>,
        issuer: &Chain,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let issuer = match self.judge(issuer) {
            Some(Ok(issuer)) => issuer,
            Some(Err(error)) => return no(Refusal::ChainRefused(error.to_string())),
            None => return no(Refusal::NoMinistry),
        };
        let verified = match grant.verify(&Role::single(issuer.device)) {
            Ok(verified) => verified,
            Err(error) => {
                return no(Refusal::GrantNotSigned(error.to_string()));
            }
        };
        if !issuer.rights.has(Right::Grant) || !issuer.area.covers(&verified.area) {
            return no(Refusal::MayNotGrantThis);
        }
        let key = match open_grant(&verified, &self.keys) {
            Ok(key) => key,
            Err(error) => return no(Refusal::GrantForAnother(error.to_string())),
        };
        if self.space_keys.contains(&key) {
            return Ok(Ok(Reply::Unchanged));
        }
        self.take_key(now, key, store)?;
        Ok(Ok(Reply::Done))
    }

    fn create_space(
        &mut self,
        now: Now,
        area: Area,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(certificate) = &self.certificate else {
            return no(Refusal::NotCertified);
        };
        if !certificate.rights.has(Right::Grant) || !certificate.area.covers(&area) {
            return no(Refusal::MayNotBegin(area));
        }
        if self.space_keys.iter().any(|key| *key.area() == area) {
            return Ok(Ok(Reply::Unchanged));
        }
        self.make_key(now, &area, &[], store)?;
        Ok(Ok(Reply::Done))
    }

    fn grant_space(
        &mut self,
        now: Now,
        area: &Area,
        chain: &Chain,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(key) = self.write_key(area).cloned() else {
            return no(Refusal::NoKeyFor(area.clone()));
        };
        let may = self.keeps(area);
        let to = match self.judge(chain) {
            Some(Ok(to)) if may => to,
            Some(Err(error)) => return no(Refusal::ChainRefused(error.to_string())),
            _ => {
                return no(Refusal::MayNotGrant);
            }
        };
        if !to.rights.has(Right::Read) {
            return no(Refusal::MayNotRead(to.name.clone()));
        }
        self.keep_chain(&to, store)?;
        self.check_keys |= self.keyring.is_orphaned(&to.device);
        let member = Member {
            device: to.device,
            sealing_key: to.sealing_key,
            area: to.area.clone(),
        };
        self.share_key(now, &key, &[], &[member], &BTreeSet::new(), store)?;
        match Grant::seal(&key, to.device, &to.sealing_key, &mut self.rng) {
            Ok(grant) => Ok(Ok(Reply::Document(
                Signed::by(&grant, &self.keys).to_bytes(),
            ))),
            Err(error) => no(Refusal::GrantForAnother(error.to_string())),
        }
    }

    fn certify(
        &mut self,
        now: Now,
        request: &Signed<CertificateRequest>,
        name: String,
        area: Area,
        (rights, passes_on, expires_s): (Rights, Rights, Option<u64>),
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(own) = &self.certificate else {
            return no(Refusal::NotCertified);
        };
        let claimed = match request.read() {
            Ok(claimed) => claimed,
            Err(error) => return no(Refusal::Damaged(Paper::Request, error.to_string())),
        };
        if let Err(error) = request.verify(&Role::single(claimed.device)) {
            return no(Refusal::Damaged(Paper::Request, error.to_string()));
        }
        let certificate = Certificate {
            device: claimed.device,
            sealing_key: claimed.sealing_key,
            name,
            area,
            rights,
            passes_on,
            issued_s: now.wall_s,
            expires_s,
            binding: claimed.binding,
        };
        let chain = own.chain().extended(Signed::by(&certificate, &self.keys));
        match self.judge(&chain) {
            Some(Ok(issued)) => {
                self.keep_chain(&issued, store)?; // so that this phone knows whom it has certified before they have met
                Ok(Ok(Reply::Document(chain.to_bytes())))
            }
            Some(Err(error @ CertificateError::Expired(_))) => {
                no(Refusal::CertifiesPast(error.to_string()))
            }
            Some(Err(error)) => no(Refusal::MayNotCertify(error.to_string())),
            None => no(Refusal::NoMinistry),
        }
    }

    fn offer(&mut self, offer: &Offer, store: &mut dyn Store) -> Result<Answer, StoreError> {
        let Some(trust) = self.trust.as_mut() else {
            return no(Refusal::NoMinistry);
        };
        match trust.offer(offer) {
            Ok(false) => Ok(Ok(Reply::Unchanged)),
            Ok(true) => {
                self.trust_changed(store)?;
                Ok(Ok(Reply::Done))
            }
            Err(error) => no(Refusal::NotTrusted(error.to_string())),
        }
    }

    fn delta_failed(
        &mut self,
        digest: Digest,
        reason: &str,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        self.bad_deltas.insert(digest);
        let kept: Vec<u8> = self.bad_deltas.iter().flat_map(|d| d.0).collect();
        store.put_setting(setting::BAD_DELTAS, &kept)?;
        self.bundles.remove(&protocol::BundleId::release(digest));
        store.remove_bundle(&protocol::BundleId::release(digest))?;
        self.event(Event::DeltaRefused {
            digest,
            reason: reason.to_owned(),
        });
        Ok(Ok(Reply::Done))
    }

    fn bundle_imported(
        &mut self,
        digest: &Digest,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        self.bundles.remove(&protocol::BundleId::release(*digest));
        self.open_bundles(store)?;
        self.changed();
        self.announce_ready(store)?;
        Ok(Ok(Reply::Done))
    }

    fn activated(
        &mut self,
        release: &Release,
        checks: &[u8],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        if !self.releases().contains(release) {
            return no(Refusal::NotListed(release.module.clone()));
        }
        let activation = self.activations.entry(release.module.clone()).or_default();
        activation.switch(Module {
            digest: release.digest,
            version: release.version,
        });
        self.save_activations(store)?;
        store.put_setting(&format!("checks/{}", release.module), checks)?;
        self.event(Event::Activated {
            module: release.module.clone(),
            version: release.version,
        });
        Ok(Ok(Reply::Done))
    }

    fn activation_failed(
        &mut self,
        release: &Release,
        reason: &str,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        self.activations
            .entry(release.module.clone())
            .or_default()
            .park(release.digest, reason);
        self.save_activations(store)?;
        Ok(Ok(Reply::Done))
    }

    fn go_back(&mut self, module: &str, store: &mut dyn Store) -> Result<Answer, StoreError> {
        let Some(activation) = self.activations.get_mut(module) else {
            return no(Refusal::NotActive(module.to_owned()));
        };
        let left = activation.current.clone();
        if !activation.go_back() {
            return no(Refusal::NoEarlier(module.to_owned()));
        }
        if let Some(left) = left {
            activation.park(left.digest, "returned from by hand");
        }
        self.save_activations(store)?;
        Ok(Ok(Reply::Done))
    }
}
