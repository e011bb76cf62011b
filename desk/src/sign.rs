//! Signing: keys from files, or a program that speaks for a hardware token.
//!
//! A token's program is called as `PROGRAM id`, which prints its public key in hexadecimal, and as
//! `PROGRAM sign`, which reads what is to be signed (hexadecimal, one line) and prints the Ed25519
//! signature. The secret never comes here.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use distribution::Offer;
use protocol::keys::signing_input;
use protocol::signed::{Document, Role, Signed};
use protocol::{DeviceId, DeviceKeys};

use crate::Refusal;
use crate::draft::offer_of;
use crate::files::{DraftFile, hex, unhex};
use crate::keys::{Asks, load_key};

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
    pub fn open(spec: &str, ask: Asks<'_>) -> Result<Self, Refusal> {
        match spec.strip_prefix("program:") {
            None => Ok(Self::Key(load_key(Path::new(spec), ask)?)),
            Some(program) => Self::open_token(program),
        }
    }

    /// From the command of a token's program.
    pub fn open_token(program: &str) -> Result<Self, Refusal> {
        let said = run_token(program, "id", "")?;
        let id = said.parse();
        let id = id.map_err(|e| token_failed(program, format!("its key is none: {e}")))?;
        Ok(Self::Program(program.to_owned(), id))
    }

    /// The public key.
    pub fn id(&self) -> DeviceId {
        match self {
            Self::Key(key) => key.id(),
            Self::Program(_, id) => *id,
        }
    }

    /// Adds this signer's signature. An error if it is there already.
    pub fn sign<T: Document>(&self, signed: &mut Signed<T>) -> Result<(), Refusal> {
        if signed.signers().any(|key| key == self.id()) {
            return Err(Refusal::SignedAlready(self.id()));
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

fn token_failed(program: &str, why: String) -> Refusal {
    Refusal::Token(program.to_owned(), why)
}

fn run_token(program: &str, verb: &str, input: &str) -> Result<String, Refusal> {
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

/// Adds a signature to a draft. How many it carries then.
pub fn sign(draft: &mut DraftFile, signer: &Signer) -> Result<usize, Refusal> {
    fn add<T: Document>(signed: &mut Signed<T>, signer: &Signer) -> Result<usize, Refusal> {
        signed
            .read()
            .map_err(|e| Refusal::Damaged("draft", Some(e)))?;
        signer.sign(signed)?;
        Ok(signed.signers().count())
    }
    let mut offer = offer_of(draft)?;
    intact(&offer)?;
    let count = match &mut offer {
        Offer::Root(d) => add(d, signer),
        Offer::Recall(d) => add(d, signer),
        Offer::Revocations(d) => add(d, signer),
        Offer::List(d) => add(d, signer),
        Offer::Delegated(d) => add(d, signer),
        Offer::Beacon(d) => add(d, signer),
    }?;
    draft.document = hex(&offer.to_bytes());
    Ok(count)
}

/// Whether every signature on a document is good: a document that was changed since must not gather
/// more.
pub(crate) fn unspoilt<T: Document>(signed: &Signed<T>) -> Result<(), Refusal> {
    let spoilt = signed
        .signers()
        .find(|id| signed.valid_signatures(&Role::single(*id)) == 0);
    spoilt.map_or(Ok(()), |id| Err(Refusal::ChangedSince(id)))
}

/// The same of a draft, whatever it is.
fn intact(offer: &Offer) -> Result<(), Refusal> {
    match offer {
        Offer::Root(d) => unspoilt(d),
        Offer::Recall(d) => unspoilt(d),
        Offer::Revocations(d) => unspoilt(d),
        Offer::List(d) => unspoilt(d),
        Offer::Delegated(d) => unspoilt(d),
        Offer::Beacon(d) => unspoilt(d),
    }
}
