//! What a person or the host can ask of the phone. A refusal says why and what to do, and changes
//! nothing.

use std::collections::BTreeSet;

use distribution::{Offer, Release, Root, TrustedState};
use protocol::certificate::{Certificate, CertificateError, CertificateRequest};
use protocol::signed::{Role, Signed};
use protocol::{
    Area, BundleId, CaseId, Chain, DeviceId, Digest, EnvelopeId, Invariant, Right, Rights, always,
    never,
};
use record::Entry;
use sync::Grant;
use sync::epoch::Member;
use sync::space::open_grant;

use super::Phone;
use super::import::{FileKnows, ImportStep};
use super::parcels::Parcel;
use super::records::Target;
use super::tx::Consequence;
use crate::api::{Paper, Refusal};
use crate::store::{Setting, Store, StoreError};

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
    /// A sealed photo that somebody here waits for has been put into the store from outside, whole.
    PhotoImported(Digest),
    /// The file of a bundle is not what it should be: it is fetched anew.
    BundleDoubted(BundleId),
    /// Take in what a parcel holds, as a meeting would. Answers how much was new.
    TakeParcel(Parcel),
    /// All of some parcels has been taken in.
    ParcelsTaken,
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
    /// The same with what a file says, whose writer has seen nothing of it: where it differs, that is a question.
    TakeFromFile {
        /// The case, or a new one.
        case: Option<CaseId>,
        /// The area whose space it lies in.
        area: Area,
        /// What the file says.
        entries: Vec<Entry>,
        /// As in `AddToCase`.
        request: [u8; 16],
        /// By what the case is found again when the file comes again.
        known: FileKnows,
        /// How far the file is with it, as [`ImportStep::Note`] notes it.
        so_far: Vec<u8>,
    },
    /// Keep the visit that is under way, sealed; `None`: it is over.
    KeepVisit(Option<Vec<u8>>),
    /// A step of taking in a file of cases.
    Import(ImportStep),
    /// Keep what was worked out of what is kept already: how cases stand.
    Remember(Vec<(CaseId, Vec<u8>)>),
    /// Take in a case from an archive, whose writer has been judged; its news leave this phone like its own words.
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
    /// A release is about to be tried or loaded. Answers `Unchanged` if it must not be yet: the
    /// program has come down over it.
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
        /// Its bundle.
        digest: Digest,
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
    /// Of a parcel: envelopes that were new here, and those that are nothing for this phone.
    Taken(u64, u64),
}

pub(super) type Answer = Result<Reply, Refusal>;

pub(super) fn no(refusal: Refusal) -> Result<Answer, StoreError> {
    Ok(Err(refusal))
}

impl Phone {
    pub(super) fn handle_command(
        &mut self,
        command: Command,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        match command {
            Command::InstallTrust(root) => self.install_trust(&root, store),
            Command::InstallChain(chain) => self.install_chain(&chain, store),
            Command::KeepChains(chains) => self.keep_chains(&chains, store),
            Command::InstallGrant(grant) => self.install_grant(&grant.0, &grant.1),
            Command::CreateSpace(area) => self.create_space(area, store),
            Command::GrantSpace(area, chain) => self.grant_space(&area, &chain, store),
            Command::Certify {
                request,
                name,
                area,
                rights,
                passes_on,
                valid_days,
            } => {
                let expires_s = self.end_of_term(valid_days);
                let may = (rights, passes_on, expires_s);
                self.certify(&request, name, area, may, store)
            }
            Command::Offer(offer) => self.offer(&offer, store),
            Command::Retire(area, since_s) => self.end_keys(&area, since_s, store),
            Command::SetCarryQuota(bytes) => self.set_carry_quota(bytes, store),
            Command::BundleImported(digest) => self.imported(BundleId::release(digest), store),
            Command::PhotoImported(digest) => self.imported(BundleId::photo(digest), store),
            Command::BundleDoubted(id) => self.doubted(id, store),
            Command::TakeParcel(parcel) => self.take_parcel(parcel, store),
            Command::ParcelsTaken => self.parcels_taken(store),
            Command::KeepPhoto(digest, bytes) => {
                store.open_bundle(&BundleId::photo(digest), bytes)?;
                store.put_setting(&Setting::photo(&digest), &[1])?;
                Ok(Ok(Reply::Done))
            }
            Command::KeepVisit(visit) => {
                store.put_visit(visit.as_deref()).map(|()| Ok(Reply::Done))
            }
            Command::Import(step) => step.take(store).map(|()| Ok(Reply::Done)),
            Command::Remember(settings) => {
                for (case, value) in settings {
                    if store.case_row(&case)?.is_some() {
                        store.put_setting(&Setting::now(&case), &value)?;
                    }
                }
                Ok(Ok(Reply::Done))
            }
            Command::RotateSpace(..)
            | Command::SetLease(..)
            | Command::Unlock(..)
            | Command::UnlockCode(..)
            | Command::Revoke(..)
            | Command::Countersign(..) => self.handle_space_command(command, store),
            Command::AddToCase { .. } | Command::TakeFromFile { .. } | Command::TakeCase { .. } => {
                self.handle_case_command(command, store)
            }
            Command::DeltaFailed(..)
            | Command::SetQuota(_)
            | Command::AttemptBegins { .. }
            | Command::AttemptEnds { .. }
            | Command::Activated(..)
            | Command::ActivationFailed(..)
            | Command::GoBack(_) => self.handle_release_command(command, store),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    fn handle_space_command(
        &mut self,
        command: Command,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let (spaces, _, _, mut tx) = self.parts(store);
        match command {
            Command::RotateSpace(area, without) => {
                if !tx.own.keeps(&area) || !spaces.reads(&area) {
                    return no(Refusal::NotKeeper(area));
                }
                spaces.make_key(&area, &without, &mut tx)?;
                Ok(Ok(Reply::Done))
            }
            Command::SetLease(area, days) => spaces.set_lease(&area, days, &mut tx),
            Command::Unlock(area, code) => spaces.unlock(&area, &code, &mut tx),
            Command::UnlockCode(area, device) => spaces.say_unlock_code(&area, &device, tx.own),
            Command::Revoke(area, device, reason) => spaces.revoke(&area, device, reason, &mut tx),
            Command::Countersign(envelopes) => spaces.countersign(&envelopes, &mut tx),
            _ => no(Refusal::Nothing),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    fn handle_case_command(
        &mut self,
        command: Command,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let (spaces, records, _, mut tx) = self.parts(store);
        match command {
            Command::AddToCase {
                case,
                area,
                entries,
                request,
            } => {
                let target = case.map_or(Target::New, Target::Seen);
                records.add_to_case(target, &area, (&entries, &request), spaces, &mut tx)
            }
            Command::TakeFromFile {
                case,
                area,
                entries,
                request,
                known,
                so_far,
            } => {
                let target = case.map_or(Target::NewOfFile, Target::OfFile);
                let said = (entries.as_slice(), &request);
                let taken = records.add_to_case(target, &area, said, spaces, &mut tx)?;
                if let Ok(Reply::Case(id)) = &taken {
                    tx.store.put_setting(&Setting::import_so_far(), &so_far)?;
                    known.keep(id, tx.store)?;
                }
                Ok(taken)
            }
            Command::TakeCase {
                case,
                area,
                changes,
            } => records.take_case(case, &area, &changes, spaces, &mut tx),
            _ => no(Refusal::Nothing),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    fn handle_release_command(
        &mut self,
        command: Command,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let (spaces, _, releases, mut tx) = self.parts(store);
        match command {
            Command::DeltaFailed(digest, reason) => {
                releases.delta_failed(digest, &reason, &mut tx)?;
                Ok(Ok(Reply::Done))
            }
            Command::SetQuota(bytes) => {
                releases.set_quota(bytes, spaces, &mut tx)?;
                Ok(Ok(Reply::Done))
            }
            Command::AttemptBegins { module, digest } => {
                releases.begin_attempt(module, digest, &mut tx)
            }
            Command::AttemptEnds { module, digest } => {
                releases.end_attempt(module, &digest, &mut tx)
            }
            Command::Activated(release, checks) => releases.activated(&release, &checks, &mut tx),
            Command::ActivationFailed(release, reason) => {
                releases.activation_failed(&release, &reason, &mut tx)
            }
            Command::GoBack(module) => releases.go_back(&module, &mut tx),
            _ => no(Refusal::Nothing),
        }
    }

    /// When a certificate that is given for so many days ends.
    fn end_of_term(&self, valid_days: Option<u64>) -> Option<u64> {
        // From the ministry's time, as it will be judged, or a clock that is ahead of it.
        let now_s = self.now.wall_s.max(self.own.floor_s());
        let ends = |days: u64| now_s.saturating_add(days.saturating_mul(86_400));
        // Nobody gives more time than there is: what the issuer's own certificate allows.
        let own_end_s = self.own.certificate.as_ref().and_then(|own| own.expires_s);
        valid_days.map(ends).into_iter().chain(own_end_s).min()
    }

    fn set_carry_quota(&mut self, bytes: u64, store: &mut dyn Store) -> Result<Answer, StoreError> {
        store.put_setting(&Setting::carry_quota(), &bytes.to_le_bytes())?;
        self.records.carry_quota_bytes = if bytes == 0 { u64::MAX } else { bytes };
        self.evict_delivered(store)?;
        Ok(Ok(Reply::Done))
    }

    /// What is held may be opened, and what is ready be activated, in another light.
    pub(super) fn look_at_bundles(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        self.out.changed();
        let (spaces, records, releases, mut tx) = self.parts(store);
        releases.open_bundles(spaces, records, &mut tx)?;
        releases.announce_ready(&mut tx);
        Ok(())
    }

    fn install_trust(
        &mut self,
        root: &Signed<Root>,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let trust = match TrustedState::new(root) {
            Ok(trust) => trust,
            Err(error) => return no(Refusal::RootNotTrusted(error)),
        };
        if let Some(held) = &self.own.trust {
            if held.ministry() == trust.ministry() {
                return Ok(Ok(Reply::Unchanged));
            }
            return no(Refusal::OtherMinistry);
        }
        self.own.trust = Some(trust);
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
            Some(Err(error)) => return no(Refusal::ChainRefused(error)),
            None => return no(Refusal::NoMinistry),
        };
        if verified.device != self.own.id() {
            return no(Refusal::OtherPhonesChain);
        }
        store.put_setting(&Setting::chain(), &verified.chain().to_bytes())?;
        self.spaces.keep_chain(&verified, store)?;
        // Those above are known by name from now on, before any of them is met.
        for above in (1..chain.certificates.len()).filter_map(|n| chain.certificates.get(..n)) {
            if let Some(Ok(above)) = self.judge(&Chain {
                certificates: above.to_vec(),
            }) {
                self.spaces.keep_chain(&above, store)?;
            }
        }
        self.own.certificate = Some(verified);
        self.spaces.unchecked = true;
        self.look_at_bundles(store)?;
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
                    return no(Refusal::ChainRefused(error));
                }
                None => return no(Refusal::NoMinistry),
            }
        }
        for chain in judged {
            match chain.device == self.own.id() {
                true => self.take_renewed(chain, store)?,
                false => self.spaces.keep_chain(&chain, store)?,
            }
        }
        self.out.changed();
        Ok(Ok(Reply::Done))
    }

    fn install_grant(
        &mut self,
        grant: &Signed<Grant>,
        issuer: &Chain,
    ) -> Result<Answer, StoreError> {
        let issuer = match self.judge(issuer) {
            Some(Ok(issuer)) => issuer,
            Some(Err(error)) => return no(Refusal::ChainRefused(error)),
            None => return no(Refusal::NoMinistry),
        };
        let verified = match grant.verify(&Role::single(issuer.device)) {
            Ok(verified) => verified,
            Err(error) => {
                return no(Refusal::GrantNotSigned(error));
            }
        };
        if !issuer.rights.has(Right::Grant) || !issuer.area.covers(&verified.area) {
            return no(Refusal::MayNotGrantThis);
        }
        let key = match open_grant(&verified, &self.own.keys) {
            Ok(key) => key,
            Err(error) => return no(Refusal::GrantForAnother(error)),
        };
        if self.spaces.keys.contains(&key) {
            return Ok(Ok(Reply::Unchanged));
        }
        self.out.follow(Consequence::TakeKey(key));
        Ok(Ok(Reply::Done))
    }

    fn create_space(&mut self, area: Area, store: &mut dyn Store) -> Result<Answer, StoreError> {
        let Some(certificate) = &self.own.certificate else {
            return no(Refusal::NotCertified);
        };
        if !certificate.rights.has(Right::Grant) || !certificate.area.covers(&area) {
            return no(Refusal::MayNotBegin(area));
        }
        if self.spaces.keys.iter().any(|key| *key.area() == area) {
            return Ok(Ok(Reply::Unchanged));
        }
        let (spaces, _, _, mut tx) = self.parts(store);
        spaces.make_key(&area, &[], &mut tx)?;
        always!(spaces.reads(&area), "who begins a space reads it");
        Ok(Ok(Reply::Done))
    }

    fn grant_space(
        &mut self,
        area: &Area,
        chain: &Chain,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(key) = self.spaces.write_key(area, &self.own).cloned() else {
            return no(Refusal::NoKeyFor(area.clone()));
        };
        let may = self.own.keeps(area);
        let to = match self.judge(chain) {
            Some(Ok(to)) if may => to,
            Some(Err(error)) => return no(Refusal::ChainRefused(error)),
            _ => {
                return no(Refusal::MayNotGrant);
            }
        };
        if !to.rights.has(Right::Read) {
            return no(Refusal::MayNotRead(to.name.clone()));
        }
        self.spaces.keep_chain(&to, store)?;
        self.spaces.unchecked |= self.spaces.is_orphaned(&to.device);
        let member = Member {
            device: to.device,
            sealing_key: to.sealing_key,
            area: to.area.clone(),
        };
        let (spaces, _, _, mut tx) = self.parts(store);
        spaces.share_key(&key, &[], &[member], &BTreeSet::new(), &mut tx)?;
        match Grant::seal(&key, to.device, &to.sealing_key, &mut self.own.rng) {
            Ok(grant) => Ok(Ok(Reply::Document(
                Signed::by(&grant, &self.own.keys).to_bytes(),
            ))),
            Err(error) => no(Refusal::GrantForAnother(error)),
        }
    }

    fn certify(
        &mut self,
        request: &Signed<CertificateRequest>,
        name: String,
        area: Area,
        (rights, passes_on, expires_s): (Rights, Rights, Option<u64>),
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(own) = &self.own.certificate else {
            return no(Refusal::NotCertified);
        };
        let claimed = match request.read() {
            Ok(claimed) => claimed,
            Err(error) => return no(Refusal::Damaged(Paper::Request, Some(error.into()))),
        };
        if let Err(error) = request.verify(&Role::single(claimed.device)) {
            return no(Refusal::Damaged(Paper::Request, Some(error)));
        }
        let certificate = Certificate {
            device: claimed.device,
            sealing_key: claimed.sealing_key,
            name,
            area,
            rights,
            passes_on,
            issued_s: self.now.wall_s,
            expires_s,
            binding: claimed.binding,
        };
        let chain = own
            .chain()
            .extended(Signed::by(&certificate, &self.own.keys));
        match self.judge(&chain) {
            Some(Ok(issued)) => {
                always!(issued.device == certificate.device);
                self.spaces.keep_chain(&issued, store)?; // so that this phone knows whom it has certified before they have met
                Ok(Ok(Reply::Document(chain.to_bytes())))
            }
            Some(Err(error @ CertificateError::Expired(_))) => no(Refusal::CertifiesPast(error)),
            Some(Err(error)) => no(Refusal::MayNotCertify(error)),
            None => no(Refusal::NoMinistry),
        }
    }

    fn offer(&mut self, offer: &Offer, store: &mut dyn Store) -> Result<Answer, StoreError> {
        let Some(trust) = self.own.trust.as_mut() else {
            return no(Refusal::NoMinistry);
        };
        let before = trust.root_version();
        match trust.offer(offer) {
            Ok(false) => Ok(Ok(Reply::Unchanged)),
            Ok(true) => {
                never!(Invariant::TrustMonotone, trust.root_version() < before)?;
                self.trust_changed(store)?;
                Ok(Ok(Reply::Done))
            }
            Err(error) => no(Refusal::NotTrusted(error)),
        }
    }
}
