//! Steps of taking in a file of cases: it is kept until all of it is in, and how far it is is noted.

use protocol::CaseId;

use crate::store::{Setting, Store, StoreError};

/// By what a case is found again when a file comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileKnows {
    /// Settings that then name it.
    pub as_names: Vec<Setting>,
    /// What is kept beside it ([`Setting::from_files`]); empty: nothing new.
    pub beside: Vec<u8>,
}

impl FileKnows {
    pub(super) fn keep(&self, case: &CaseId, store: &mut dyn Store) -> Result<(), StoreError> {
        for setting in &self.as_names {
            store.put_setting(setting, case.as_bytes())?;
        }
        match self.beside.is_empty() {
            true => Ok(()),
            false => store.put_setting(&Setting::from_files(case), &self.beside),
        }
    }
}

/// A step of taking in a file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportStep {
    /// Keep the file, sealed; `None`: it is in.
    Keep(Option<Vec<u8>>),
    /// Note how far it is.
    Note(Vec<u8>),
    /// Note by what a case is found again of which the file has said nothing new.
    Know(CaseId, FileKnows),
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
            Self::Know(case, known) => known.keep(&case, store),
            Self::GiveUp => {
                store.put_setting(&Setting::import_given_up(), &[1])?;
                store.put_import(None)
            }
        }
    }
}
