//! Releases: what is listed, what runs, and what was checked of it.

use distribution::ModuleKind;
use protocol::{Area, Digest};
use serde::{Deserialize, Serialize};

/// Releases in the list, and what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.model-list/2")]
pub struct Releases {
    /// The version of the release list.
    pub release_list: Option<u64>,
    /// Its releases.
    pub releases: Vec<Release>,
    /// What runs, by module.
    pub active: Vec<Running>,
}

/// A release in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The module.
    pub module: String,
    /// Its version.
    pub version: u64,
    /// Its bundle.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// For which area.
    pub area: Area,
    /// In which language.
    pub language: String,
    /// What it is: `rules`, `triage`, `adapter`, …
    pub kind: ModuleKind,
    /// Words for people.
    pub notes: String,
    /// How it stands here.
    #[serde(flatten)]
    pub state: State,
}

/// How a release stands on a phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "why", rename_all = "snake_case")]
pub enum State {
    /// Recalled by the ministry, for a reason.
    Recalled(String),
    /// It runs.
    Active,
    /// An adapter that runs, and says nothing: the model that it stands beside does not run here.
    WaitsForBase(Digest),
    /// It failed here, for a reason.
    Parked(String),
    /// The program has come down while it was being loaded.
    TriedAgain {
        /// How often.
        fell: u32,
        /// How long the program has to be up before it is tried again, in seconds.
        wait_s: u64,
    },
    /// Whole, and waits for its turn in a staged rollout.
    WaitsForStage,
    /// Whole, and carried for others.
    CarriedForOthers,
    /// Whole.
    Whole,
    /// Not all of it is here.
    Partial,
}

/// What runs of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The module.
    pub module: String,
    /// What it is.
    pub kind: ModuleKind,
    /// What runs.
    pub current: Option<Version>,
    /// What ran before, and can run again.
    pub previous: Option<Version>,
}

/// A version of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its version.
    pub version: u64,
    /// Its bundle.
    pub digest: Digest,
}

/// A release that runs, and what was checked before it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.model/2")]
pub struct Active {
    /// The module.
    pub module: String,
    /// Its version.
    pub version: u64,
    /// Its bundle.
    pub digest: Digest,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What its makers say of a model.
    pub card: Option<String>,
}

/// A release that was checked again from the signatures down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.model-verify/2")]
pub struct Verified {
    /// The module.
    pub module: String,
    /// Its version.
    pub version: u64,
    /// What holds.
    pub checks: Vec<Check>,
}

/// Something that was checked of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Check {
    /// The root was reached from the anchor.
    Root {
        /// Its version.
        version: u64,
        /// Of which ministry.
        ministry: String,
    },
    /// The list is signed.
    List {
        /// Its version.
        version: u64,
        /// Valid signatures.
        signed: usize,
        /// Signatures that are needed.
        needed: u32,
    },
    /// The list was in force when it came; its keys are retired since.
    ListRetired {
        /// Its version.
        version: u64,
    },
    /// No list or release is older than one held before.
    NotOlder,
    /// Every group and the whole match the digest.
    Digest {
        /// Groups.
        groups: u64,
        /// Bytes.
        bytes: u64,
        /// The digest.
        digest: Digest,
    },
    /// It is meant for this area and engine.
    MeantFor {
        /// The area.
        area: Area,
        /// The least engine.
        engine: u32,
    },
    /// An adapter says which model it stands beside.
    StandsBeside {
        /// The model's bundle.
        base: Digest,
    },
    /// A model loads within its limits.
    ModelLoads {
        /// Its labels.
        labels: usize,
    },
    /// A model's golden cases come out as published on this phone.
    ModelGolden {
        /// How many.
        cases: usize,
    },
    /// A reader's golden pictures come out as published on this phone.
    PicturesGolden {
        /// How many.
        pictures: usize,
    },
    /// Every rule of a pack reads known findings.
    RulesRead {
        /// The pack.
        pack: String,
    },
    /// Golden cases come out as they must, by the pack's rules alone.
    RulesGolden {
        /// How many.
        cases: usize,
    },
    /// Every pink rule of the pack before is there, or given up by an explicit word.
    RulesKept {
        /// The pack before.
        before: String,
    },
}

/// A bundle that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.bundle/1")]
pub struct Imported {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: u64,
}
