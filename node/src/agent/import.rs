//! Steps of taking in a file of cases: it is kept until all of it is in, and how far it is is noted.

use crate::store::{Setting, Store, StoreError};

/// A step of taking in a file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportStep {
    /// Keep the file, sealed; `None`: it is in.
    Keep(Option<Vec<u8>>),
    /// Note how far it is.
    Note(Vec<u8>),
    /// It is left before all of it is in: a person is to hear of it.
    GiveUp,
}

impl ImportStep {
    pub(super) fn take(self, store: &mut dyn Store) -> Result<(), StoreError> {
        match self {
            Self::Keep(file) => {
                // One that is in, or has begun, is the last word of any before it.
                if store.setting(&Setting::import_given_up())?.is_some() {
                    store.put_setting(&Setting::import_given_up(), &[])?;
                }
                store.put_import(file.as_deref())
            }
            Self::Note(so_far) => store.put_setting(&Setting::import_so_far(), &so_far),
            Self::GiveUp => {
                store.put_setting(&Setting::import_given_up(), &[1])?;
                store.put_import(None)
            }
        }
    }
}
