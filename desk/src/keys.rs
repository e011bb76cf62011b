//! Key ceremony: the ministry's keys as files sealed with a passphrase, and its first root.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use distribution::{Offer, Root, TrustedState};
use keyfile::KeyFileError;
use protocol::signed::{Role, Signed};
use protocol::{DeviceId, DeviceKeys};
use sync::space::sealing_public_key;

use crate::Refusal;
use crate::draft::{offer_of, wall_s};
use crate::files::{DraftFile, RootFile, to_text, write};
use crate::sign::Signer;

/// Gives the passphrase of a key file, however it is asked for.
pub type Asks<'a> = &'a dyn Fn(&Path) -> Result<String, Refusal>;
/// Gives a new passphrase, however it is asked for.
pub type NewPassphrase<'a> = &'a dyn Fn() -> Result<String, Refusal>;

/// What a key ceremony makes.
#[derive(Debug, Clone)]
pub struct Ceremony<'a> {
    /// How many keys sign roots, lists and certificates.
    pub keys: u32,
    /// How many of them must.
    pub threshold: u32,
    /// How many keys may recall; any one of them alone.
    pub recall_keys: u32,
    /// How many keys may enrol phones and say that one is lost.
    pub enrol_keys: u32,
    /// How many of those must sign.
    pub enrol_threshold: u32,
    /// The ministry's name.
    pub name: &'a str,
    /// Tokens that take part beside the key files.
    pub tokens: &'a [String],
    /// log2 of scrypt's cost; by default what takes this machine about a second.
    pub work_factor: Option<u8>,
}

/// What a first root names.
#[derive(Debug, Clone)]
pub struct FirstRoot<'a> {
    /// The ministry's name.
    pub name: &'a str,
    /// Keys that sign roots and releases.
    pub keys: Vec<DeviceId>,
    /// How many of them must.
    pub threshold: u32,
    /// Keys that enrol phones.
    pub enrols: Vec<DeviceId>,
    /// How many of those must sign.
    pub enrol_threshold: u32,
    /// Keys that may recall; any one of them alone.
    pub recalls: Vec<DeviceId>,
    /// The key of beacons.
    pub beacon: Option<DeviceId>,
    /// What receipts are sealed to (X25519).
    pub receipts: Option<[u8; 32]>,
}

/// The ministry's first root, without signatures.
pub fn first_root(of: &FirstRoot<'_>) -> Result<Root, Refusal> {
    let max = protocol::limits::SIGNATURES_MAX;
    let (threshold, signers) = (of.threshold, of.keys.len());
    let most = [signers, of.enrols.len(), of.recalls.len()]
        .into_iter()
        .max()
        .unwrap_or(0);
    if threshold == 0 || threshold as usize > signers || of.enrols.is_empty() || most > max {
        return Err(Refusal::ThresholdImpossible(threshold, signers));
    }
    let (enrol, enrols) = (of.enrol_threshold, of.enrols.len());
    if enrol == 0 || enrol as usize > enrols {
        return Err(Refusal::ThresholdImpossible(enrol, enrols));
    }
    let role = |keys: &[DeviceId], threshold| {
        Role::new(keys.iter().copied(), threshold).map_err(Refusal::NotARole)
    };
    let signing = role(&of.keys, threshold)?;
    Ok(Root {
        ministry: of.name.to_owned(),
        version: 1,
        issued_s: wall_s(),
        root: signing.clone(),
        releases: signing,
        enrolment: role(&of.enrols, of.enrol_threshold)?,
        recall: if of.recalls.is_empty() {
            None
        } else {
            Some(role(&of.recalls, 1)?)
        },
        beacon: of.beacon.map(Role::single),
        expires_s: None,
        receipts: of.receipts,
        distrusted: Vec::new(),
    })
}

/// The root file of a draft that carries enough signatures by its own keys.
pub fn finish_root(draft: &DraftFile) -> Result<RootFile, Refusal> {
    let Offer::Root(signed) = offer_of(draft)? else {
        return Err(Refusal::NotARoot(draft.kind.clone()));
    };
    let version = signed.read().map_or(0, |root| root.version);
    if version != 1 {
        return Err(Refusal::NotTheFirst(version));
    }
    TrustedState::new(&signed).map_err(Refusal::RootUnfinished)?;
    Ok(RootFile {
        schema: "kijiti.root/1".into(),
        root: to_text(&signed),
    })
}

/// Makes keys and the first root in `folder`. Returns the names of all keys with their roles.
pub fn hold(
    folder: &Path,
    ceremony: &Ceremony<'_>,
    ask: NewPassphrase<'_>,
    dry_run: bool,
) -> Result<Vec<(String, DeviceId)>, Refusal> {
    let cannot = |e| Refusal::Unwritable(folder.to_owned(), e);
    if !dry_run {
        finish(folder).map_err(cannot)?; // what was cut off the last time
    }
    if folder.join("root.json").exists() || folder.join("key-1.age").exists() {
        return Err(Refusal::KeysThere(folder.to_owned()));
    }
    let tokens = ceremony
        .tokens
        .iter()
        .map(|t| Signer::open_token(t))
        .collect::<Result<Vec<_>, _>>()?;
    let named = |(what, count): (&str, u32)| -> Result<Vec<(String, DeviceKeys)>, Refusal> {
        let most = count.min(protocol::limits::SIGNATURES_MAX as u32 + 1); // more are refused below
        (1..=most)
            .map(|i| Ok((format!("{what}-{i}"), new_key()?)))
            .collect()
    };
    let counts = [
        ("key", ceremony.keys),
        ("enrol", ceremony.enrol_keys),
        ("recall", ceremony.recall_keys),
    ];
    let [keys, enrols, recalls] = counts.map(named);
    let (keys, enrols, recalls) = (keys?, enrols?, recalls?);
    let [beacon, receipts] = [named(("beacon", 1))?, named(("receipts", 1))?];
    let ids =
        |keys: &[(String, DeviceKeys)]| keys.iter().map(|(_, key)| key.id()).collect::<Vec<_>>();
    let root = first_root(&FirstRoot {
        name: ceremony.name,
        keys: ids(&keys)
            .into_iter()
            .chain(tokens.iter().map(Signer::id))
            .collect(),
        threshold: ceremony.threshold,
        enrols: ids(&enrols),
        enrol_threshold: ceremony.enrol_threshold,
        recalls: ids(&recalls),
        beacon: beacon.first().map(|(_, key)| key.id()),
        receipts: receipts.first().map(|(_, key)| sealing_public_key(key)),
    })?;
    let mut signed = Signed::unsigned(&root);
    keys.iter().for_each(|(_, key)| signed.add_signature(key));
    tokens.iter().try_for_each(|t| t.sign(&mut signed))?;
    TrustedState::new(&signed).map_err(Refusal::RootRefused)?;
    let all = [keys, enrols, recalls, beacon, receipts].concat();
    let mut names: Vec<_> = all
        .iter()
        .map(|(name, key)| (name.clone(), key.id()))
        .collect();
    names.extend(tokens.iter().map(|t| ("token".to_owned(), t.id())));
    if dry_run {
        return Ok(names);
    }
    let passphrase = ask()?;
    // All of them or none: half a set would pass for a ministry's, and its root would be nobody's.
    let draft = folder.join(MAKING);
    let made = (|| {
        std::fs::create_dir_all(&draft).map_err(cannot)?;
        for (name, key) in &all {
            let text = sealed(key, folder, &passphrase, ceremony.work_factor)?;
            write_secret(&draft.join(format!("{name}.age")), &text).map_err(cannot)?;
        }
        write(
            &draft.join("root.json"),
            &RootFile {
                schema: "kijiti.root/1".into(),
                root: to_text(&signed),
            },
        )?;
        finish(folder).map_err(cannot)
    })();
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&draft);
        let _ = std::fs::remove_dir(folder); // unless something was there before
    }
    made.map(|()| names)
}

/// Where a set of keys is made until it is whole.
const MAKING: &str = ".making";

/// Puts a whole set in its place, its root last; takes away one that is not whole.
fn finish(folder: &Path) -> std::io::Result<()> {
    let draft = folder.join(MAKING);
    if !draft.is_dir() {
        return Ok(());
    }
    // Over another set that came to lie there meanwhile nothing is put.
    if draft.join("root.json").exists() && !folder.join("root.json").exists() {
        for file in std::fs::read_dir(&draft)? {
            let name = file?.file_name();
            if name != "root.json" {
                std::fs::rename(draft.join(&name), folder.join(&name))?;
            }
        }
        std::fs::rename(draft.join("root.json"), folder.join("root.json"))?;
    }
    std::fs::remove_dir_all(&draft)
}

/// Makes one key file, for a first root or a rotation. Its public key: of what it signs, or of
/// receipts that it opens.
pub fn make_one(
    path: &Path,
    for_receipts: bool,
    work_factor: Option<u8>,
    ask: NewPassphrase<'_>,
) -> Result<DeviceId, Refusal> {
    if path.exists() {
        return Err(Refusal::Exists(path.to_owned()));
    }
    let key = new_key()?;
    let text = sealed(&key, path, &ask()?, work_factor)?;
    write_secret(path, &text).map_err(|e| Refusal::Unwritable(path.to_owned(), e))?;
    Ok(if for_receipts {
        DeviceId(sealing_public_key(&key))
    } else {
        key.id()
    })
}

fn new_key() -> Result<DeviceKeys, Refusal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    Ok(DeviceKeys::from_seed(seed))
}

fn sealed(
    key: &DeviceKeys,
    path: &Path,
    passphrase: &str,
    work_factor: Option<u8>,
) -> Result<String, Refusal> {
    keyfile::seal_key(key, passphrase, work_factor)
        .map_err(|e| Refusal::KeyFile(path.to_owned(), e))
}

/// Opens a key file with its passphrase.
pub fn load_key(path: &Path, ask: Asks<'_>) -> Result<DeviceKeys, Refusal> {
    let text = std::fs::read(path).map_err(|e| Refusal::KeyUnreadable(path.to_owned(), e))?;
    let refused = |e| Refusal::KeyFile(path.to_owned(), e);
    if !keyfile::is_sealed(&text) {
        return Err(refused(KeyFileError::Malformed));
    }
    keyfile::open_key(&text, &ask(path)?).map_err(refused)
}

/// The keys called `name-1`, `name-2` … in a ministry's folder.
pub fn load_keys(folder: &Path, name: &str, ask: Asks<'_>) -> Result<Vec<DeviceKeys>, Refusal> {
    let files =
        (1..=protocol::limits::SIGNATURES_MAX).map(|i| folder.join(format!("{name}-{i}.age")));
    files
        .filter(|path| path.exists())
        .map(|path| load_key(&path, ask))
        .collect()
}

/// The keys in a folder that may enrol under a root: those made for it, or those that sign
/// everything.
pub fn enrolment_keys(
    folder: &Path,
    role: &[DeviceId],
    ask: Asks<'_>,
) -> Result<Vec<DeviceKeys>, Refusal> {
    for name in ["enrol", "key"] {
        let mut found = load_keys(folder, name, ask)?;
        found.retain(|key| role.contains(&key.id()));
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Refusal::NoEnrolmentKey(folder.to_owned()))
}

/// Writes a key file that only its owner reads, whole or not at all.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    let mut file = options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
