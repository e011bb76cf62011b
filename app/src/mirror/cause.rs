//! Why something cannot be had from a mirror, or put there, and what to do about it.

use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

use node::api::Refusal;
use node::host::links::folder::unusable;
use reqwest::StatusCode;

use crate::Failure;

/// A cause.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cause {
    /// It is no place that a mirror can be in.
    NoSuchPlace(String),
    /// A web server, which takes nothing.
    ReadsOnly,
    /// The file is not there.
    NotThere,
    /// A web page came instead of it: a captive portal's (RFC 8952), or somebody else's.
    Page,
    /// The network asks for a login (status 511, RFC 6585).
    Portal,
    /// Something else lies where it should be.
    InTheWay,
    /// It is longer than any file of its kind.
    TooLong,
    /// It is packed in a way that nobody here unpacks.
    Packed(String),
    /// The server lets nobody in, or not with these keys.
    Forbidden(u16),
    /// No keys were given for a bucket.
    NoKeys,
    /// Another answer of the server's.
    Status(u16),
    /// Nobody knows the name of the server.
    NoSuchName,
    /// The server is not reached.
    NotReached(String),
    /// The server's certificate is not one that this machine trusts.
    Certificate(String),
    /// Nothing came for a minute.
    Silent,
    /// It broke off, or holds no sense.
    Broken(String),
    /// The folder or card.
    Local(Refusal),
}

/// Every word of an error and of what caused it.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let words = error.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        next = error.source();
    }
    said
}

impl Cause {
    /// Of a file in a folder.
    pub(super) fn of_file(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() == ErrorKind::NotFound {
            true => Self::NotThere,
            false if path.is_dir() => Self::InTheWay,
            false => Self::Local(unusable(path, error)),
        }
    }

    /// Of a web server's answer.
    pub(super) fn of_status(status: StatusCode, page: bool) -> Self {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotThere,
            StatusCode::NETWORK_AUTHENTICATION_REQUIRED => Self::Portal,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Forbidden(status.as_u16()),
            other if other.is_success() && page => Self::Page,
            other => Self::Status(other.as_u16()),
        }
    }

    /// Of a request that came to nothing.
    pub(super) fn of_web(error: &reqwest::Error) -> Self {
        Self::of_words(error.is_connect(), error.is_timeout(), chain(error))
    }

    /// Of a bucket.
    pub(super) fn of_bucket(error: &object_store::Error) -> Self {
        // The libraries below say some causes by their words only.
        let words = chain(error);
        if words.contains("169.254.169.254") {
            return Self::NoKeys; // where machines of a cloud ask for theirs
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the others are told by their words"
        )]
        match error {
            object_store::Error::NotFound { .. } => Self::NotThere,
            object_store::Error::PermissionDenied { .. } => Self::Forbidden(403),
            object_store::Error::Unauthenticated { .. } => Self::Forbidden(401),
            _ => Self::of_words(words.contains("connect"), false, words),
        }
    }

    fn of_words(connects: bool, late: bool, words: String) -> Self {
        let says = |some: &[&str]| some.iter().any(|word| words.contains(word));
        if says(&["certificate", "UnknownIssuer", "CaUsedAsEndEntity"]) {
            return Self::Certificate(words);
        }
        if says(&["dns error", "failed to lookup", "Name or service"]) {
            return Self::NoSuchName;
        }
        match (late, connects) {
            (true, _) => Self::Silent,
            (_, true) => Self::NotReached(words),
            _ => Self::Broken(words),
        }
    }

    /// Whether asking again in a while may help: the network, not what lies there. And whether it says something
    /// of one file only, so that others may still be had.
    fn reach(&self) -> (bool, bool) {
        match self {
            Self::NotReached(_) | Self::Silent | Self::Broken(_) => (true, false),
            Self::Status(status) => (*status >= 500 || *status == 429, true),
            Self::NotThere
            | Self::InTheWay
            | Self::TooLong
            | Self::Packed(_)
            | Self::Forbidden(_) => (false, true),
            Self::NoSuchPlace(_)
            | Self::ReadsOnly
            | Self::Page
            | Self::Portal
            | Self::NoKeys
            | Self::NoSuchName
            | Self::Certificate(_)
            | Self::Local(_) => (false, false),
        }
    }

    /// Whether asking again in a while may help.
    pub(super) fn passes(&self) -> bool {
        self.reach().0
    }

    /// Whether others may still be had.
    pub(super) fn is_of_one_file(&self) -> bool {
        self.reach().1
    }

    /// In words, of a mirror called `name`.
    pub(super) fn at(self, name: &str) -> Failure {
        const AGAIN: &str = "check the network and run it again: it goes on where it stopped";
        let (reason, hint) = match self {
            Self::Local(refusal) => return refusal.into(),
            Self::NoSuchPlace(why) => {
                let hint = "write a folder, https://… or s3://BUCKET/PREFIX";
                return Failure::new(format!("{name}: {why}"), hint).with_code(2);
            }
            Self::ReadsOnly => {
                let hint = "push to a folder and let the web server serve it, or use s3://";
                return Failure::new("a plain web server cannot be written to", hint).with_code(2);
            }
            Self::NotThere => (
                "the file is not there".to_owned(),
                "is this a mirror? It has kijiti/index.json; `kijiti mirror push` puts there what is missing",
            ),
            Self::InTheWay => (
                "something else lies where it should be".to_owned(),
                "`kijiti mirror push` of a phone that has it puts it there anew",
            ),
            Self::Page | Self::Portal => (
                "a web page answers in the mirror's place, as where one has to log in to a network"
                    .to_owned(),
                "open any page in a browser and log in, then run it again; or check the address",
            ),
            Self::TooLong => (
                "the file is far too long".to_owned(),
                "this is no mirror, or not kijiti's: check the address",
            ),
            Self::Packed(how) => (
                format!("the server packs its files in a way that is not read here ({how})"),
                "switch that off for the mirror's files (Content-Encoding)",
            ),
            Self::Forbidden(status) => (
                format!("the server does not let this phone in ({status})"),
                "check the address, and for s3:// the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            Self::NoKeys => (
                "no keys were given for the bucket".to_owned(),
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public one",
            ),
            Self::Status(status @ 500..) => (
                format!("the server is in trouble ({status})"),
                "run it again later: it goes on where it stopped",
            ),
            Self::Status(status) => (
                format!("the server answers with {status}"),
                "check the address",
            ),
            Self::NoSuchName => (
                "nobody on this network knows that server".to_owned(),
                "check the address, and whether there is internet here",
            ),
            Self::NotReached(why) => (format!("the server is not reached: {why}"), AGAIN),
            Self::Certificate(why) => (
                format!("the server does not prove who it is: {why}"),
                "check this machine's date (`date`), its ca-certificates, and whether the network asks for a login",
            ),
            Self::Silent => ("nothing came for a minute".to_owned(), AGAIN),
            Self::Broken(why) => (format!("it broke off: {why}"), AGAIN),
        };
        Failure::new(format!("{name}: {reason}"), hint)
    }
}
