//! Urgency: the colours that workers are trained on.

use serde::{Deserialize, Serialize};

/// How soon. Ordered: a later one is never lowered to an earlier one by a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Urgency {
    /// Treat at home.
    Green = 0,
    /// Treat, or see soon.
    Yellow = 1,
    /// Refer urgently.
    Pink = 2,
}

impl Urgency {
    /// All of them, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Green, Self::Yellow, Self::Pink];

    /// The urgency of a byte on an envelope.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| *urgency as u8 == byte)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Pink => "pink",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|urgency| urgency.name() == text)
    }
}

// The order of urgency is that of its bytes.
const _: () = {
    let (mut all, mut byte): (&[Urgency], u8) = (&Urgency::ALL, 0);
    while let [urgency, rest @ ..] = all {
        assert!(*urgency as u8 == byte);
        all = rest;
        byte += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_words_come_back_and_nothing_else_is_an_urgency() {
        for urgency in Urgency::ALL {
            assert_eq!(Urgency::from_byte(urgency as u8), Some(urgency));
            assert_eq!(Urgency::parse(urgency.name()), Some(urgency));
        }
        assert_eq!((Urgency::from_byte(3), Urgency::parse("red")), (None, None));
        assert!(Urgency::Green < Urgency::Yellow && Urgency::Yellow < Urgency::Pink);
    }
}
