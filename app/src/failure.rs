//! What a person is told when something could not be done. Every error that is printed has this
//! form.

use keyfile::KeyFileError;

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What went wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
    /// The program's exit code: 1 failed, 2 usage, 4 needs a key, 5 refused.
    pub code: u8,
    /// The running program does not answer: it may have died, and can be asked again.
    pub gone: bool,
}

impl Failure {
    /// A failure with a hint.
    pub fn new(reason: impl ToString, hint: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            hint: hint.to_string(),
            code: 1,
            gone: false,
        }
    }

    /// The same with another exit code.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl From<node::store::StoreError> for Failure {
    fn from(error: node::store::StoreError) -> Self {
        node::api::Refusal::from(error).into()
    }
}

/// What is said of a key file that does not open.
pub(crate) fn key_file(shown: &str, error: &KeyFileError) -> Failure {
    let (reason, hint) = match error {
        KeyFileError::WrongPassphrase => (
            format!("wrong passphrase for {shown}"),
            "type it again; nothing was changed",
        ),
        KeyFileError::Malformed => (
            format!("{shown} is not a key file, or damaged"),
            "put it back from a copy, or use another",
        ),
        KeyFileError::NotSealed(why) => (format!("cannot seal the key: {why}"), "try again"),
    };
    Failure::new(reason, hint).with_code(4)
}
