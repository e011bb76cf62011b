//! Releases, and the signed list of all that are current. List and snapshot are one document, so
//! that nothing can be mixed and matched (TUF's targets and snapshot roles in one).

use minicbor::{Decode, Encode};
use protocol::always;
use protocol::codec::{self, CodecError};
use protocol::limits::{
    BUNDLE_BYTES_MAX, DELEGATIONS_MAX, DELTAS_PER_RELEASE_MAX, RELEASES_MAX, SUBGROUPS_MAX,
};
use protocol::signed::Document;
use protocol::{Area, DeviceId, Digest};

use crate::delegation::Delegation;
use crate::module::ModuleKind;

/// One release of one module: a bundle of bytes, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// What it replaces: `triage-model`, `rules-iccm`, a form, a language.
    #[n(0)]
    pub module: String,
    /// Counts up within a module; never back.
    #[n(1)]
    pub version: u64,
    /// BLAKE3 of the whole bundle.
    #[n(2)]
    pub digest: Digest,
    /// Bytes of the bundle.
    #[n(3)]
    pub bytes: u64,
    /// Where it is meant to run.
    #[n(4)]
    pub area: Area,
    /// A BCP 47 tag, or `und` for any language.
    #[n(5)]
    pub language: String,
    /// The oldest engine that can run it.
    #[n(6)]
    pub engine_min: u32,
    /// Words for people about this version.
    #[n(7)]
    pub notes: String,
    /// Ways to it from bundles that a phone may hold already.
    #[cbor(n(8), default, skip_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    /// Who runs it first; `None`: everyone.
    #[n(9)]
    pub stage: Option<Stage>,
    /// Where it comes from, if it was made out of another release.
    #[n(10)]
    pub lineage: Option<Lineage>,
    /// What it is, and so what loads it and tries it.
    #[cbor(n(11), default, skip_if = "ModuleKind::is_other")]
    pub kind: ModuleKind,
}

/// A bundle that makes a release out of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delta {
    /// The whole bundle it starts from.
    #[n(0)]
    pub base: Digest,
    /// BLAKE3 of the delta.
    #[n(1)]
    pub digest: Digest,
    /// Bytes of the delta.
    #[n(2)]
    pub bytes: u64,
    /// What it makes, if that is not the release itself but a step on the way to it.
    #[n(3)]
    pub makes: Option<Step>,
}

/// A bundle on the way from an old release to a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Step {
    /// The bundle.
    #[n(0)]
    pub digest: Digest,
    /// Its bytes.
    #[n(1)]
    pub bytes: u64,
}

/// A staged rollout: all carry, some run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stage {
    /// Of a thousand phones, so many run it.
    #[n(0)]
    pub permille: u32,
    /// Only in these areas; empty for all.
    #[cbor(n(1), default, skip_if = "Vec::is_empty")]
    pub areas: Vec<Area>,
}

/// Where a fine-tune comes from: what a regulator's change-control plan asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lineage {
    /// The bundle it was made from.
    #[n(0)]
    pub parent: Digest,
    /// What it was trained on, and with whose consent.
    #[n(1)]
    pub data: String,
    /// The modification protocol that was followed.
    #[n(2)]
    pub protocol: String,
    /// How it does on each group of patients.
    #[n(3)]
    pub subgroups: Vec<Subgroup>,
    /// The version to return to if it must go.
    #[n(4)]
    pub return_to: Option<u64>,
}

/// A release's results on one group of patients.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subgroup {
    /// Which group: `girls 2-11 months`.
    #[n(0)]
    pub name: String,
    /// Cases in it.
    #[n(1)]
    pub cases: u32,
    /// Of a thousand severe ones, found.
    #[n(2)]
    pub sensitivity_permille: u32,
    /// Of a thousand others, rightly left.
    #[n(3)]
    pub specificity_permille: u32,
}

/// A release that is not current any more. It stays in the list, so that nothing vanishes and comes
/// back older.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Withdrawn {
    /// Its module.
    #[n(0)]
    pub module: String,
    /// Its area.
    #[n(1)]
    pub area: Area,
    /// Its language.
    #[n(2)]
    pub language: String,
    /// The last version there was.
    #[n(3)]
    pub version: u64,
}

/// Every current release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReleaseList {
    /// Counts up with every list; a phone never goes back.
    #[n(0)]
    pub version: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(1)]
    pub issued_s: u64,
    /// The releases; at most one of each module, area and language.
    #[n(2)]
    pub releases: Vec<Release>,
    /// The root under which it was signed; absent: the first.
    #[n(3)]
    pub root: Option<u64>,
    /// Seconds since 1970 after which a newer list should be sought; phones warn and go on.
    #[n(4)]
    pub expires_s: Option<u64>,
    /// What was current once and is not now.
    #[cbor(n(5), default, skip_if = "Vec::is_empty")]
    pub withdrawn: Vec<Withdrawn>,
    /// Who else may release what, and where.
    #[cbor(n(6), default, skip_if = "Vec::is_empty")]
    pub delegations: Vec<Delegation>,
}

impl Document for ReleaseList {
    const DOMAIN: &'static str = "release-list";

    fn check(&self) -> Result<(), CodecError> {
        if self.version == 0 {
            return Err(CodecError::malformed("release list", "version 0"));
        }
        check_releases(&self.releases)?;
        if self.withdrawn.len() > RELEASES_MAX || self.delegations.len() > DELEGATIONS_MAX {
            return Err(CodecError::malformed(
                "release list",
                "too many withdrawn releases or delegations",
            ));
        }
        if self
            .withdrawn
            .iter()
            .any(|w| self.releases.iter().any(|r| r.key() == w.key()))
        {
            return Err(CodecError::malformed(
                "release list",
                "a release that is both current and withdrawn",
            ));
        }
        self.withdrawn
            .iter()
            .try_for_each(|w| check_words(&[("module", &w.module), ("language", &w.language)]))?;
        let mut names: Vec<_> = self.delegations.iter().map(|d| &d.name).collect();
        names.sort();
        if names
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
        {
            return Err(CodecError::malformed(
                "release list",
                "two delegations of one name",
            ));
        }
        self.delegations.iter().try_for_each(Delegation::check)
    }
}

/// What both lists of releases keep to.
pub(crate) fn check_releases(releases: &[Release]) -> Result<(), CodecError> {
    if releases.len() > RELEASES_MAX {
        return Err(CodecError::TooLong {
            what: "releases".into(),
            bytes: releases.len(),
            max: RELEASES_MAX,
        });
    }
    releases.iter().try_for_each(Release::check)?;
    let mut keys: Vec<_> = releases.iter().map(Release::key).collect();
    keys.sort();
    if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(CodecError::malformed(
            "release list",
            "two releases of one module, area and language",
        ));
    }
    Ok(())
}

fn check_words(words: &[(&'static str, &String)]) -> Result<(), CodecError> {
    words
        .iter()
        .try_for_each(|(what, text)| codec::check_name(what, text))
}

/// A module's name: a–z, 0–9, `-` and `.`.
pub fn check_module(module: &str) -> Result<(), CodecError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if module.is_empty() || !module.bytes().all(plain) {
        return Err(CodecError::malformed("module", "write a–z, 0–9, - and ."));
    }
    Ok(())
}

impl Withdrawn {
    /// What it is a version of.
    pub fn key(&self) -> (&str, &Area, &str) {
        (&self.module, &self.area, &self.language)
    }
}

impl Release {
    /// What it is a version of.
    pub fn key(&self) -> (&str, &Area, &str) {
        (&self.module, &self.area, &self.language)
    }

    /// What a delta of this release makes.
    pub fn made_by(&self, delta: &Delta) -> Step {
        delta.makes.unwrap_or(Step {
            digest: self.digest,
            bytes: self.bytes,
        })
    }

    /// Whether a phone in `area` is among those that run it now. Which phones come first is fixed
    /// by the release's digest and the phone's name, so that a phone does not fall out of a stage
    /// that grows, and the same are not always first.
    pub fn staged_for(&self, device: &DeviceId, area: &Area) -> bool {
        let Some(stage) = &self.stage else {
            return true;
        };
        let mut input = self.digest.0.to_vec();
        input.extend_from_slice(&device.0);
        let Digest([a, b, c, d, ..]) = Digest::of(&input);
        let draw = (u64::from(u32::from_le_bytes([a, b, c, d])) * 1000) >> 32;
        always!(draw < 1000, "a whole stage leaves nobody out");
        draw < u64::from(stage.permille)
            && (stage.areas.is_empty() || stage.areas.iter().any(|a| a.covers(area)))
    }

    fn check(&self) -> Result<(), CodecError> {
        check_words(&[
            ("module", &self.module),
            ("language", &self.language),
            ("notes", &self.notes),
        ])?;
        check_module(&self.module)?;
        let steps = self.deltas.iter().filter_map(|d| d.makes).map(|s| s.bytes);
        let sizes = self
            .deltas
            .iter()
            .map(|d| d.bytes)
            .chain([self.bytes])
            .chain(steps);
        if let Some(bytes) = sizes.into_iter().find(|b| *b == 0 || *b > BUNDLE_BYTES_MAX) {
            return Err(CodecError::malformed(
                "release",
                format!("a bundle of {bytes} bytes"),
            ));
        }
        if self.deltas.len() > DELTAS_PER_RELEASE_MAX {
            return Err(CodecError::malformed(
                "release",
                format!("{} deltas", self.deltas.len()),
            ));
        }
        if self
            .stage
            .as_ref()
            .is_some_and(|s| s.permille > 1000 || s.areas.len() > RELEASES_MAX)
        {
            return Err(CodecError::malformed(
                "stage",
                "more than 1000 of a thousand phones, or too many areas",
            ));
        }
        self.lineage.as_ref().map_or(Ok(()), Lineage::check)
    }
}

impl Lineage {
    fn check(&self) -> Result<(), CodecError> {
        check_words(&[("training data", &self.data), ("protocol", &self.protocol)])?;
        if self.subgroups.len() > SUBGROUPS_MAX {
            return Err(CodecError::malformed(
                "lineage",
                format!("{} subgroups", self.subgroups.len()),
            ));
        }
        self.subgroups
            .iter()
            .try_for_each(|s| codec::check_name("subgroup", &s.name))
    }
}
