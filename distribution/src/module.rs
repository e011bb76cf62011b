//! What kind of module a release is: signed with it, so that a phone never guesses from a name what it
//! is about to run.

use std::fmt;

use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};
use protocol::always;
use serde::{Deserialize, Serialize};

/// What a release is, which says what loads it, what its golden cases are and where it runs. A phone
/// carries every kind and runs those that its engine knows.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ModuleKind {
    /// None of the others, or one of a newer version.
    #[default]
    Other = 0,
    /// A rule pack.
    Rules = 1,
    /// A triage model.
    Triage = 2,
    /// A model that reads pictures.
    Vision = 3,
    /// A model that reads or writes words.
    Language = 4,
    /// A fine-tune that runs over a base it names.
    Adapter = 5,
    /// A guide for people.
    Guide = 6,
    /// A form.
    Form = 7,
    /// The words of an interface.
    Words = 8,
}

const _: () = assert!(
    ModuleKind::ALL.len() == ModuleKind::Words as usize + 1,
    "every kind is in the list"
);

impl ModuleKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Other,
        Self::Rules,
        Self::Triage,
        Self::Vision,
        Self::Language,
        Self::Adapter,
        Self::Guide,
        Self::Form,
        Self::Words,
    ];

    /// Its name, as it is typed and kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Rules => "rules",
            Self::Triage => "triage",
            Self::Vision => "vision",
            Self::Language => "language",
            Self::Adapter => "adapter",
            Self::Guide => "guide",
            Self::Form => "form",
            Self::Words => "words",
        }
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is of no kind that is known, and so not written.
    pub(crate) fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

impl fmt::Display for ModuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<C> Encode<C> for ModuleKind {
    fn encode<W: Write>(
        &self,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        always!(
            Self::ALL.get(usize::from(*self as u8)) == Some(self),
            "what is written can be read"
        );
        to.u8(*self as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ModuleKind {
    /// A number of a newer version is [`ModuleKind::Other`]: carried, and not run.
    fn decode(from: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let number = from.u64()?;
        let kind = Self::ALL.into_iter().find(|kind| *kind as u64 == number);
        Ok(kind.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_keeps_its_number_and_its_name_and_a_newer_one_is_none_of_them() {
        for (number, kind) in (0u8..).zip(ModuleKind::ALL) {
            let bytes = minicbor::to_vec(kind).unwrap();
            assert_eq!(bytes, [number], "{kind}");
            assert_eq!(minicbor::decode::<ModuleKind>(&bytes).unwrap(), kind);
            assert_eq!(ModuleKind::named(kind.name()), Some(kind));
        }
        for newer in [&[9][..], &[0x18, 200], &[0x1b, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(
                minicbor::decode::<ModuleKind>(newer).unwrap(),
                ModuleKind::Other
            );
        }
        assert!(minicbor::decode::<ModuleKind>(&[0x61, b'x']).is_err());
        assert_eq!(ModuleKind::named("triage-model"), None);
    }
}
