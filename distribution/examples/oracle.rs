//! The trusted state as a program, for a rig that compares it with another implementation of TUF's
//! rules. One event a line on standard input, in words; `new`, `same` or `refused: why` a line on
//! standard output.
//!
//! ```text
//! begin                                          forget everything
//! root VERSION KEYS/THRESHOLD KEYS/THRESHOLD SIGNERS   a root: its root role, its release role, who signed
//! list VERSION UNDER-ROOT SIGNERS                a release list
//! ```
//! Keys are numbers separated by commas.

use std::io::{BufRead, Write};

use distribution::{Offer, ReleaseList, Root, TrustedState};
use protocol::signed::{Document, Role};
use protocol::{DeviceKeys, Signed};

fn key(number: &str) -> Option<DeviceKeys> {
    Some(DeviceKeys::from_seed([number.parse().ok()?; 32]))
}

fn role(text: &str) -> Option<Role> {
    let (keys, threshold) = text.split_once('/')?;
    let ids = keys
        .split(',')
        .map(|n| Some(key(n)?.id()))
        .collect::<Option<Vec<_>>>()?;
    Role::new(ids, threshold.parse().ok()?).ok()
}

fn sign<T: Document>(document: &T, signers: &str) -> Option<Signed<T>> {
    let mut signed = Signed::unsigned(document);
    for number in signers.split(',').filter(|n| *n != "-") {
        signed.add_signature(&key(number)?);
    }
    Some(signed)
}

fn offer(words: &[&str]) -> Option<Offer> {
    match words {
        ["root", version, root, releases, signers] => {
            let (root, releases) = (role(root)?, role(releases)?);
            let document = Root {
                ministry: "oracle".into(),
                version: version.parse().ok()?,
                issued_s: 0,
                enrolment: root.clone(),
                root,
                releases,
                recall: None,
                beacon: None,
                expires_s: None,
                receipts: None,
                distrusted: Vec::new(),
            };
            Some(Offer::Root(sign(&document, signers)?))
        }
        ["list", version, under, signers] => {
            let root = Some(under.parse().ok()?);
            let document = ReleaseList {
                version: version.parse().ok()?,
                root,
                ..ReleaseList::default()
            };
            Some(Offer::List(sign(&document, signers)?))
        }
        _ => None,
    }
}

fn main() {
    let mut trust: Option<TrustedState> = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<_> = line.split_whitespace().collect();
        let said = match (words.as_slice(), &mut trust) {
            (["begin"], _) => {
                trust = None;
                "same".to_owned()
            }
            (words, state) => match (offer(words), state) {
                (None, _) => "refused: not an event".to_owned(),
                (Some(Offer::Root(root)), None) => match TrustedState::new(&root) {
                    Ok(new) => {
                        trust = Some(new);
                        "new".to_owned()
                    }
                    Err(error) => format!("refused: {error}"),
                },
                (Some(_), None) => "refused: no root".to_owned(),
                (Some(offer), Some(state)) => match state.offer(&offer) {
                    Ok(true) => "new".to_owned(),
                    Ok(false) => "same".to_owned(),
                    Err(error) => format!("refused: {error}"),
                },
            },
        };
        if writeln!(out, "{said}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
