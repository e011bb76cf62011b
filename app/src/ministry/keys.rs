//! The ministry's keys: files sealed with a passphrase (age's format, age-encryption.org/v1), or a
//! program that speaks for a hardware token.
//!
//! A token's program is called as `PROGRAM id`, which prints its public key in hexadecimal, and as
//! `PROGRAM sign`, which reads what is to be signed (hexadecimal, one line) and prints the Ed25519
//! signature. The secret never comes here.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use distribution::{Offer, Root, TrustedState};
use node::host::Failure;
use node::host::folder::write_secret;
use node::host::keyfile::{PASSPHRASE_VARIABLE, is_sealed, open_key, seal_key};
use node::host::sealing_public_key;
use protocol::keys::signing_input;
use protocol::signed::{Document, Role, Signed};
use protocol::{DeviceId, DeviceKeys};

use super::wall_s;
use crate::files::{DraftFile, RootFile, hex, to_text, unhex, write};

/// Who signs.
#[derive(Debug)]
pub enum Signer {
    /// A key from a file.
    Key(DeviceKeys),
    /// A program, and the key it holds.
    Program(String, DeviceId),
}

impl Signer {
    /// From `program:COMMAND` or the path of a key file.
    pub fn open(spec: &str) -> Result<Self, Failure> {
        match spec.strip_prefix("program:") {
            None => Ok(Self::Key(load_key(Path::new(spec), None)?)),
            Some(program) => {
                let said = run_token(program, "id", "")?;
                let id = said
                    .parse()
                    .map_err(|e| token_failed(program, format!("its key is none: {e}")))?;
                Ok(Self::Program(program.to_owned(), id))
            }
        }
    }

    /// The public key.
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Key(key) => key.id(),
            Self::Program(_, id) => *id,
        }
    }

    /// Adds this signer's signature. An error if it is there already.
    pub fn sign<T: Document>(&self, signed: &mut Signed<T>) -> Result<(), Failure> {
        if signed.signers().any(|key| key == self.id()) {
            return Err(Failure::new(
                format!(
                    "this draft carries the signature of key {} already",
                    self.id().short()
                ),
                "one key counts once: pass the draft on to the holder of another key",
            )
            .with_code(5));
        }
        match self {
            Self::Key(key) => signed.add_signature(key),
            Self::Program(program, id) => {
                let input = hex(&signing_input(T::DOMAIN, signed.body()));
                let answer = unhex(
                    "the token's signature",
                    &run_token(program, "sign", &input)?,
                )?;
                let signature = answer
                    .try_into()
                    .map_err(|_| token_failed(program, "no signature of 64 bytes".into()))?;
                if !signed.add_foreign_signature(*id, signature) {
                    return Err(token_failed(program, "its signature is not valid".into()));
                }
            }
        }
        Ok(())
    }
}

fn token_failed(program: &str, why: String) -> Failure {
    Failure::new(
        format!("the token's program {program:?} failed: {why}"),
        "check the token and its program",
    )
    .with_code(4)
}

fn run_token(program: &str, verb: &str, input: &str) -> Result<String, Failure> {
    let failed = |e: std::io::Error| token_failed(program, e.to_string());
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("{program} {verb}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that needs no input may have ended before it is written.
        match stdin.write_all(format!("{input}\n").as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(token_failed(program, output.status.to_string())),
    }
}

/// What a key ceremony makes.
#[derive(Debug, Clone)]
pub struct Ceremony<'a> {
    /// How many keys sign roots, lists and certificates.
    pub keys: u32,
    /// How many of them must.
    pub threshold: u32,
    /// How many keys may recall; any one of them alone.
    pub recall_keys: u32,
    /// How many keys may enrol phones and say that one is lost; any one of them alone.
    pub enrol_keys: u32,
    /// The ministry's name.
    pub name: &'a str,
    /// Tokens that take part beside the key files.
    pub tokens: &'a [String],
    /// Seals the files; asked for if absent.
    pub passphrase: Option<&'a str>,
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
    /// Keys that enrol phones; any one of them alone.
    pub enrols: Vec<DeviceId>,
    /// Keys that may recall; any one of them alone.
    pub recalls: Vec<DeviceId>,
    /// The key of beacons.
    pub beacon: Option<DeviceId>,
    /// What receipts are sealed to (X25519).
    pub receipts: Option<[u8; 32]>,
}

/// The ministry's first root, without signatures.
pub fn first_root(of: &FirstRoot<'_>) -> Result<Root, Failure> {
    let max = protocol::limits::SIGNATURES_MAX;
    let (threshold, signers) = (of.threshold, of.keys.len());
    let cannot_be = |why: String| {
        Failure::new(
            why,
            "choose at least one key, at most 16, and a threshold not above it",
        )
        .with_code(2)
    };
    let most = [signers, of.enrols.len(), of.recalls.len()]
        .into_iter()
        .max()
        .unwrap_or(0);
    if threshold == 0 || threshold as usize > signers || of.enrols.is_empty() || most > max {
        return Err(cannot_be(format!(
            "{threshold} of {signers} keys cannot be"
        )));
    }
    let role = |keys: &[DeviceId], threshold| {
        Role::new(keys.iter().copied(), threshold)
            .map_err(|e| cannot_be(format!("these keys cannot be: {e}")))
    };
    let signing = role(&of.keys, threshold)?;
    Ok(Root {
        ministry: of.name.to_owned(),
        version: 1,
        issued_s: wall_s(),
        root: signing.clone(),
        releases: signing,
        enrolment: role(&of.enrols, 1)?,
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
pub fn finish_root(draft: &DraftFile) -> Result<RootFile, Failure> {
    let Offer::Root(signed) = super::offer_of(draft)? else {
        let hint = "pass a draft of `kijiti ministry root draft`";
        return Err(
            Failure::new(format!("this is the draft of a {}", draft.kind), hint).with_code(2),
        );
    };
    let version = signed.read().map_or(0, |root| root.version);
    if version != 1 {
        let hint = "a rotation is published: `kijiti ministry release publish`";
        return Err(
            Failure::new(format!("this is root {version}, and not the first"), hint).with_code(2),
        );
    }
    let hint = "have it signed on the machines of its other keys: `kijiti ministry release sign`";
    TrustedState::new(&signed).map_err(|e| Failure::new(e, hint).with_code(5))?;
    Ok(RootFile {
        schema: "kijiti.root/1".into(),
        root: to_text(&signed),
    })
}

/// Makes keys and the first root in `folder`. Returns the names of all keys with their roles.
pub fn hold(folder: &Path, ceremony: &Ceremony<'_>, dry_run: bool) -> Result<Vec<String>, Failure> {
    if folder.join("root.json").exists() || folder.join("key-1.age").exists() {
        let words = format!("{} holds keys already", folder.display());
        return Err(Failure::new(words, "choose another folder with --out"));
    }
    let tokens = ceremony
        .tokens
        .iter()
        .map(|t| Signer::open(&format!("program:{t}")))
        .collect::<Result<Vec<_>, _>>()?;
    let named = |(what, count): (&str, u32)| -> Result<Vec<(String, DeviceKeys)>, Failure> {
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
        recalls: ids(&recalls),
        beacon: beacon.first().map(|(_, key)| key.id()),
        receipts: receipts.first().map(|(_, key)| sealing_public_key(key)),
    })?;
    let mut signed = Signed::unsigned(&root);
    keys.iter().for_each(|(_, key)| signed.add_signature(key));
    tokens.iter().try_for_each(|t| t.sign(&mut signed))?;
    TrustedState::new(&signed).map_err(|e| Failure::new(e, "choose a shorter name"))?;
    let all = [keys, enrols, recalls, beacon, receipts].concat();
    let mut names: Vec<_> = all
        .iter()
        .map(|(name, key)| format!("{name:<10} {}", key.id()))
        .collect();
    names.extend(tokens.iter().map(|t| format!("token      {}", t.id())));
    if dry_run {
        return Ok(names);
    }
    let passphrase = match ceremony.passphrase {
        Some(given) => given.to_owned(),
        None => ask_new_passphrase()?,
    };
    let cannot = |e: std::io::Error| {
        Failure::new(
            format!("cannot write to {}: {e}", folder.display()),
            "check the folder",
        )
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    for (name, key) in &all {
        let text = seal_key(key, &passphrase, ceremony.work_factor)?;
        write_secret(&folder.join(format!("{name}.age")), &text).map_err(cannot)?;
    }
    write(
        &folder.join("root.json"),
        &RootFile {
            schema: "kijiti.root/1".into(),
            root: to_text(&signed),
        },
    )?;
    Ok(names)
}

/// Makes one key file, for a first root or a rotation. Its public key: of what it signs, or of
/// receipts that it opens.
pub fn make_one(
    path: &Path,
    for_receipts: bool,
    work_factor: Option<u8>,
) -> Result<DeviceId, Failure> {
    if path.exists() {
        return Err(Failure::new(
            format!("{} is there already", path.display()),
            "choose another name",
        ));
    }
    let key = new_key()?;
    let passphrase = ask_new_passphrase()?;
    let cannot = |e| {
        Failure::new(
            format!("cannot write {}: {e}", path.display()),
            "check the folder",
        )
    };
    write_secret(path, &seal_key(&key, &passphrase, work_factor)?).map_err(cannot)?;
    Ok(if for_receipts {
        DeviceId(sealing_public_key(&key))
    } else {
        key.id()
    })
}

fn new_key() -> Result<DeviceKeys, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
    Ok(DeviceKeys::from_seed(seed))
}

/// Opens a key file with its passphrase, which is asked for if it is not given.
pub fn load_key(path: &Path, passphrase: Option<&str>) -> Result<DeviceKeys, Failure> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|e| {
        Failure::new(
            format!("cannot read the key {shown}: {e}"),
            "check the name",
        )
        .with_code(4)
    })?;
    if !is_sealed(&text) {
        return Err(Failure::new(
            format!("{shown} is not a key file, or damaged"),
            "use one that `kijiti ministry keys` made",
        )
        .with_code(4));
    }
    let passphrase = match passphrase {
        Some(given) => given.to_owned(),
        None => ask_passphrase(&format!("Passphrase of {shown}: "))?,
    };
    open_key(path, &text, &passphrase)
}

/// The keys called `name-1`, `name-2` … in a ministry's folder.
pub fn load_keys(
    folder: &Path,
    name: &str,
    passphrase: Option<&str>,
) -> Result<Vec<DeviceKeys>, Failure> {
    let files =
        (1..=protocol::limits::SIGNATURES_MAX).map(|i| folder.join(format!("{name}-{i}.age")));
    files
        .filter(|path| path.exists())
        .map(|path| load_key(&path, passphrase))
        .collect()
}

/// The keys in a folder that may enrol under a root: those made for it, or those that sign
/// everything.
pub fn enrolment_keys(
    folder: &Path,
    role: &[DeviceId],
    passphrase: Option<&str>,
) -> Result<Vec<DeviceKeys>, Failure> {
    for name in ["enrol", "key"] {
        let mut found = load_keys(folder, name, passphrase)?;
        found.retain(|key| role.contains(&key.id()));
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let hint = "key files that enrol are called enrol-1.age, enrol-2.age …, as `kijiti ministry keys` makes them";
    Err(Failure::new(
        format!("no key in {} may enrol under this root", folder.display()),
        hint,
    )
    .with_code(4))
}

pub(crate) fn ask_passphrase(prompt: &str) -> Result<String, Failure> {
    if let Ok(passphrase) = std::env::var(PASSPHRASE_VARIABLE) {
        return Ok(passphrase);
    }
    let nobody = || {
        let hint = format!("run it on a terminal, or set {PASSPHRASE_VARIABLE}");
        Failure::new(
            "a passphrase is needed, and nobody can be asked for it",
            hint,
        )
        .with_code(4)
    };
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    rpassword::prompt_password(prompt).map_err(|_| nobody())
}

pub(crate) fn ask_new_passphrase() -> Result<String, Failure> {
    let first = ask_passphrase("A new passphrase: ")?;
    if first.chars().count() < 8 {
        return Err(Failure::new(
            "the passphrase is shorter than 8 characters",
            "choose several words",
        )
        .with_code(2));
    }
    if std::env::var(PASSPHRASE_VARIABLE).is_err() && ask_passphrase("The same again: ")? != first {
        return Err(Failure::new("the two passphrases differ", "begin again").with_code(2));
    }
    Ok(first)
}
