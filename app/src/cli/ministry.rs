//! The words of `kijiti ministry`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use distribution::ModuleKind;

/// The ministry's desk.
#[derive(Subcommand, Debug)]
pub enum MinistryCommand {
    /// Make the ministry's keys and its first root.
    Keys {
        /// The folder for key files and root (must not hold keys yet).
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// How many keys.
        #[arg(long, default_value_t = 3)]
        keys: u32,
        /// How many of them must sign.
        #[arg(long, default_value_t = 2)]
        threshold: u32,
        /// How many keys may recall a release; any one of them is enough.
        #[arg(long, default_value_t = 2)]
        recall_keys: u32,
        /// How many keys may enrol phones and say that one is lost.
        #[arg(long, default_value_t = 2)]
        enrol_keys: u32,
        /// How many of those must sign a certificate; with more than one, it goes from desk to desk.
        #[arg(long, value_name = "KEYS", default_value_t = 1)]
        enrol_threshold: u32,
        /// A program that speaks for a hardware token, to take part as one more key.
        #[arg(long, value_name = "COMMAND")]
        token: Vec<String>,
        /// The ministry's name.
        #[arg(long, default_value = "Ministry of Health")]
        name: String,
        /// log2 of the cost of guessing the passphrase; by default a second of this machine.
        #[arg(long)]
        work_factor: Option<u8>,
        /// This machine's clock is right, though it is far from when this program was written.
        #[arg(long)]
        clock_is_right: bool,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make one key file, on the machine where it stays: for the first root, or for a rotation.
    NewKey {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// It opens receipts, and signs nothing.
        #[arg(long)]
        for_receipts: bool,
        /// As for `keys`.
        #[arg(long)]
        work_factor: Option<u8>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// The first root, of keys that were made one per machine.
    Root {
        /// Which step.
        #[command(subcommand)]
        command: RootCommand,
    },
    /// Releases.
    Release {
        /// Which step.
        #[command(subcommand)]
        command: ReleaseCommand,
    },
    /// Draft a recall: phones stop running a bundle at once.
    Recall {
        /// The module, if its bundle is in the list; of one that was withdrawn, give the bundle.
        #[arg(long, default_value = "triage-model")]
        module: String,
        /// The bundle, if it is not the one in the list.
        #[arg(long, value_name = "DIGEST")]
        bundle: Option<String>,
        /// Why, for the workers.
        #[arg(long)]
        reason: String,
        /// Where to write the draft.
        #[command(flatten)]
        to: DraftTo,
    },
    /// Draft a revocation: a phone, and all that it certified, is believed no more.
    Revoke {
        /// The phone: its id or, where this phone knows it, its name.
        device: String,
        /// Why, for people.
        #[arg(long, default_value = "lost")]
        reason: String,
        /// Where to write the draft.
        #[command(flatten)]
        to: DraftTo,
    },
    /// Draft a list that lets somebody else release modules for an area; without keys, ends it.
    Delegate(DelegateArgs),
    /// Draft the next root: keys that join and keys that leave.
    Rotate {
        /// A public key that joins those of the root and of releases.
        #[arg(long, value_name = "KEY")]
        add: Vec<String>,
        /// A public key that leaves every role; what it certified goes on counting.
        #[arg(long, value_name = "KEY")]
        drop: Vec<String>,
        /// A public key that joins those that enrol.
        #[arg(long, value_name = "KEY")]
        enrol: Vec<String>,
        /// A key of enrolment that was stolen: it leaves, and what it certified counts no more.
        #[arg(long, value_name = "KEY")]
        distrust: Vec<String>,
        /// How many must sign from then on.
        #[arg(long)]
        threshold: Option<u32>,
        /// A new beacon key.
        #[arg(long, value_name = "KEY")]
        beacon: Option<String>,
        /// A public key that joins those that may recall.
        #[arg(long, value_name = "KEY")]
        recall: Vec<String>,
        /// Where to write the draft.
        #[command(flatten)]
        to: DraftTo,
    },
    /// Sign and publish today's beacon.
    Beacon {
        /// The beacon's key file.
        #[arg(long, value_name = "FILE")]
        key: String,
        /// This machine's clock is right, though it is far from what was signed last.
        #[arg(long)]
        clock_is_right: bool,
        /// Only say what would be published.
        #[arg(long)]
        dry_run: bool,
    },
    /// Which phones run what, by area, from the receipts that couriers have brought to this phone.
    Coverage {
        /// The key file that opens receipts.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// A rule pack as a table that a clinician can read and sign: every rule, definition and dose; or what
    /// one edition changes against another.
    Pack {
        /// The pack; without it, the guideline's that is built in.
        file: Option<PathBuf>,
        /// Say only what changes against this pack.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Say only what changes against the guideline's pack that is built in.
        #[arg(long, conflicts_with = "against")]
        against_built_in: bool,
    },
    /// A token in software, for rehearsals.
    #[command(hide = true)]
    SoftToken {
        /// Its secret, 64 hexadecimal digits.
        seed: String,
        /// `id` or `sign`.
        verb: String,
    },
}

/// Steps of the first root.
#[derive(Subcommand, Debug)]
pub enum RootCommand {
    /// Draft it from public keys. Have it signed with `kijiti ministry release sign`, on the
    /// machine of each key.
    Draft {
        /// The ministry's name.
        #[arg(long, default_value = "Ministry of Health")]
        name: String,
        /// A public key that signs roots and releases.
        #[arg(long, value_name = "KEY", required = true)]
        key: Vec<String>,
        /// How many of them must sign.
        #[arg(long)]
        threshold: u32,
        /// A public key that enrols phones and says that one is lost.
        #[arg(long, value_name = "KEY", required = true)]
        enrol: Vec<String>,
        /// How many of those must sign a certificate.
        #[arg(long, value_name = "KEYS", default_value_t = 1)]
        enrol_threshold: u32,
        /// A public key that may recall a release; any one of them is enough.
        #[arg(long, value_name = "KEY")]
        recall: Vec<String>,
        /// The public key of beacons.
        #[arg(long, value_name = "KEY")]
        beacon: Option<String>,
        /// The public key that receipts are sealed to (`kijiti ministry new-key --for-receipts`).
        #[arg(long, value_name = "KEY")]
        receipts: Option<String>,
        /// This machine's clock is right, though it is far from when this program was written.
        #[arg(long)]
        clock_is_right: bool,
        /// Where to write the draft.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the root file of a draft that enough keys have signed. It is public: phones trust it at
    /// enrolment.
    Finish {
        /// The draft.
        draft: PathBuf,
        /// Where to write it: root.json, in the folder with the keys that enrol.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Where a draft goes.
#[derive(Args, Debug, Clone)]
pub struct DraftTo {
    /// Where to write the draft.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    pub out: Option<PathBuf>,
    /// Only show what it would say.
    #[arg(long)]
    pub dry_run: bool,
    /// This machine's clock is right, though it is far from what was signed last.
    #[arg(long)]
    pub clock_is_right: bool,
}

/// Steps of a release.
#[derive(Subcommand, Debug)]
pub enum ReleaseCommand {
    /// Draft the next release list with one more release.
    Draft(Box<DraftArgs>),
    /// Quantize new weights against the model that phones have, so that the delta is small; prints
    /// what it gains and costs.
    Requantize {
        /// The model that phones have (GGUF).
        #[arg(long, value_name = "FILE")]
        old: PathBuf,
        /// The weights of which that was made (GGUF of floats): without them a part of what was
        /// learnt is lost.
        #[arg(long, value_name = "FILE")]
        old_weights: Option<PathBuf>,
        /// The new weights (GGUF of floats).
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// Where to write the new model.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Only measure.
        #[arg(long)]
        dry_run: bool,
    },
    /// Draft the next release list without one release.
    Withdraw {
        /// The module.
        #[arg(long, default_value = "triage-model")]
        module: String,
        /// Its area.
        #[arg(long, default_value = "all")]
        area: String,
        /// Its language.
        #[arg(long, default_value = "und")]
        language: String,
        /// Where to write the draft.
        #[command(flatten)]
        to: DraftTo,
    },
    /// Look at a draft: what it changes, who has signed, and whether its bundles do what they
    /// should.
    Check {
        /// The draft.
        draft: PathBuf,
        /// The ministry's root file, if this phone is not enrolled.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// A pink rule that a rule pack of the draft gives up, and may. Say it once for each.
        #[arg(long, value_name = "RULE")]
        gives_up: Vec<String>,
    },
    /// Sign a draft with one key. Pass the draft from desk to desk.
    Sign {
        /// The draft.
        draft: PathBuf,
        /// A key file, or `program:COMMAND` for a token.
        #[arg(long, value_name = "FILE")]
        key: String,
        /// This machine's clock is right, though it is far from the draft's date.
        #[arg(long)]
        clock_is_right: bool,
        /// Only say what would be signed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Publish a draft from this phone: bundles and document.
    Publish {
        /// The draft.
        draft: PathBuf,
        /// A pink rule that a rule pack of the draft gives up, and may. Say it once for each.
        #[arg(long, value_name = "RULE")]
        gives_up: Vec<String>,
        /// Only check that it would be accepted.
        #[arg(long)]
        dry_run: bool,
    },
    /// The ministry's documents on this phone: roots, list, recalls, revocations, delegations,
    /// beacon.
    Log,
}

/// A kind of module by its name.
fn module_kind(name: &str) -> Result<ModuleKind, String> {
    let kinds = || ModuleKind::ALL.map(ModuleKind::name).join(", ");
    ModuleKind::named(name).ok_or_else(|| format!("one of {} is meant", kinds()))
}

/// What somebody else may release.
#[derive(Args, Debug)]
pub struct DelegateArgs {
    /// What people call it, such as university-of-nairobi.
    pub name: String,
    /// A public key of theirs.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 1)]
    pub threshold: u32,
    /// A module that they may release.
    #[arg(long)]
    pub module: Vec<String>,
    /// What kind of module it may be: rules, triage, adapter, …; by default what those modules
    /// are in the list.
    #[arg(long, value_parser = module_kind)]
    pub kind: Vec<ModuleKind>,
    /// Within this area.
    #[arg(long, default_value = "all")]
    pub area: String,
    /// The ministry must sign each of their lists too.
    #[arg(long)]
    pub both: bool,
    /// The least version of their lists that counts; by default above what keys before these
    /// have signed.
    #[arg(long)]
    pub version_min: Option<u64>,
    /// Where to write the draft.
    #[command(flatten)]
    pub to: DraftTo,
}

/// What a draft of the next release list is made of.
#[derive(Args, Debug)]
pub struct DraftArgs {
    /// The bundle; without it the list is drafted as it stands.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The module it replaces, such as triage-model.
    #[arg(long, default_value = "triage-model")]
    pub module: String,
    /// What kind of module it is: rules, triage, vision, language, adapter, guide, form, words
    /// or other; by default what its file says.
    #[arg(long, value_parser = module_kind)]
    pub kind: Option<ModuleKind>,
    /// Its version; by default one more than the one in the list.
    #[arg(long)]
    pub version_number: Option<u64>,
    /// Where it is meant to run.
    #[arg(long, default_value = "all")]
    pub area: String,
    /// Its language.
    #[arg(long, default_value = "und")]
    pub language: String,
    /// Words for people.
    #[arg(long, default_value = "")]
    pub notes: String,
    /// An earlier bundle, from which a delta is made for phones that have it.
    #[arg(long, value_name = "FILE")]
    pub delta_from: Vec<PathBuf>,
    /// Of an adapter: the model that it stands beside, to try it with.
    #[arg(long, value_name = "FILE")]
    pub base: Vec<PathBuf>,
    /// Run it first on so many of a thousand phones.
    #[arg(long, value_name = "PHONES", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub first_permille: Option<u32>,
    /// Run it first in this area.
    #[arg(long, value_name = "AREA")]
    pub first_area: Vec<String>,
    /// Where a fine-tune comes from: JSON with parent, data, protocol, subgroups and return_to.
    #[arg(long, value_name = "FILE")]
    pub lineage: Option<PathBuf>,
    /// Draft for this delegation instead of the ministry's own list.
    #[arg(long, value_name = "NAME")]
    pub delegation: Option<String>,
    /// Days after which phones say that the list is old.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub expires_days: Option<u64>,
    /// Where to write the draft.
    #[command(flatten)]
    pub to: DraftTo,
}
