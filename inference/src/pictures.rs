//! What a picture can be read as. A reading is no finding: rules never see it, the worker is shown it, and
//! a model takes it as one more thing that it is told, in rows of its own (`photo.eye=pus`), none where
//! the reader of pictures abstains or does not run. So whoever leaves the reader out leaves nothing else out.
//!
//! NOT CLINICALLY VALIDATED: readers are taught by rendered pictures, to prove the path.

use std::collections::BTreeMap;

/// Something that is photographed, and what it can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: &'static str,
    /// The readings, from the mildest on.
    pub readings: &'static [&'static str],
}

/// All of them.
pub const SUBJECTS: [Subject; 6] = [
    subject("rapid_test", &["negative", "positive", "invalid"]),
    subject("slide", &["negative", "positive"]),
    subject("muac_tape", &["green", "yellow", "red"]),
    subject("eye", &["normal", "pus", "clouded"]),
    subject("mouth", &["normal", "shallow_ulcers", "deep_ulcers"]),
    subject(
        "skin",
        &[
            "normal",
            "scabies",
            "ringworm",
            "chickenpox",
            "impetigo",
            "abscess",
            "cellulitis",
        ],
    ),
];

const fn subject(name: &'static str, readings: &'static [&'static str]) -> Subject {
    Subject { name, readings }
}

/// How the name of a reading begins where findings are written down.
pub const PREFIX: &str = "photo.";

/// Readings by subject.
pub type Readings = BTreeMap<&'static str, &'static str>;

/// A subject by its name.
pub fn subject_named(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

/// A subject and one of its readings, by their names.
pub fn reading_named(subject: &str, reading: &str) -> Option<(&'static str, &'static str)> {
    let subject = subject_named(subject)?;
    let reading = subject.readings.iter().find(|known| **known == reading)?;
    Some((subject.name, reading))
}
