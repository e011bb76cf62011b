//! Level of care: whose instruments and medicines there are.

use serde::{Deserialize, Serialize};

/// A level of care, for which rule packs have a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Community health workers (iCCM 2011): the default.
    #[default]
    Iccm,
    /// First-level facilities (IMCI).
    Imci,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Iccm, Self::Imci];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iccm => "iccm",
            Self::Imci => "imci",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == text)
    }
}
