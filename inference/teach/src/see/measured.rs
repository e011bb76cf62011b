//! What a reader does with pictures that it has not learned from, and with what foes make of them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use inference::pictures::SUBJECTS;
use inference::vision::{Defences, Look, Picture, PictureReader};

use super::{REPORTED, Tower, some};
use crate::learn::Fail;
use crate::pictures::TONES;

/// How many were looked at, read, and read rightly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Looked at.
    pub all: usize,
    /// Read at all.
    pub read: usize,
    /// Read rightly.
    pub right: usize,
}

impl Count {
    /// The share that is read.
    pub fn read(&self) -> f64 {
        self.read as f64 / self.all.max(1) as f64
    }

    /// Of those, the share that is right.
    pub fn right(&self) -> f64 {
        self.right as f64 / self.read.max(1) as f64
    }

    fn add(&mut self, other: (bool, bool)) {
        self.all += 1;
        self.read += usize::from(other.0);
        self.right += usize::from(other.0 && other.1);
    }
}

/// What a reader does with pictures that it has not learned from.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// All that are something.
    pub all: Count,
    /// By group: subject, skin tone, light, blur.
    pub groups: BTreeMap<String, Count>,
    /// Those of nothing, and those of something else than is said.
    pub nothing: Count,
    /// The same with the defence off that asks what it is.
    pub nothing_undefended: Count,
}

fn looked(
    reader: &PictureReader,
    picture: &Picture,
    (at, reading): (usize, usize),
    defences: Defences,
) -> (bool, bool) {
    let Some(subject) = SUBJECTS.get(at) else {
        return (false, false);
    };
    match reader.look_with(picture, subject, defences) {
        Ok(Look::Reads(said, _)) => (true, subject.readings.get(reading) == Some(&said)),
        _ => (false, false),
    }
}

/// Measures a reader on pictures of which it has seen none.
pub fn measure(reader: &PictureReader, pictures: usize) -> Report {
    let drawn = some(REPORTED, 0, pictures);
    let off = Defences {
        what: false,
        ..Defences::ALL
    };
    let seen: Vec<_> = drawn
        .par_iter()
        .enumerate()
        .map(|(n, drawn)| {
            // Of nothing, and as something else: said to be any subject but what it is.
            let other =
                (drawn.subject.unwrap_or(n) + 1 + n % (SUBJECTS.len() - 1)) % SUBJECTS.len();
            let asked = (other, usize::MAX);
            let own = drawn
                .subject
                .map(|at| looked(reader, &drawn.picture, (at, drawn.reading), Defences::ALL));
            let wrongly = looked(reader, &drawn.picture, asked, Defences::ALL);
            (own, wrongly, looked(reader, &drawn.picture, asked, off))
        })
        .collect();
    let mut report = Report::default();
    for (drawn, (own, wrongly, undefended)) in drawn.iter().zip(seen) {
        report.nothing.add(wrongly);
        report.nothing_undefended.add(undefended);
        let Some((own, at)) = own.zip(drawn.subject) else {
            continue;
        };
        report.all.add(own);
        let name = SUBJECTS.get(at).map_or("", |s| s.name);
        let light = match drawn.taken.light {
            ..0.7 => "dark",
            ..1.1 => "well lit",
            _ => "bright",
        };
        for group in [
            format!("subject {name}"),
            format!("skin tone {} of {}", drawn.tone + 1, TONES.len()),
            format!("light: {light}"),
            format!("blurred over {} of 112 pixels", drawn.taken.blur),
        ] {
            report.groups.entry(group).or_default().add(own);
        }
    }
    report
}

/// Pictures that a foe has changed by up to `far` of 255 so that the network is wrong: what is read of
/// them, and rightly, with all defences and with none.
///
/// # Errors
/// What the library says.
pub fn foes(
    tower: &Tower,
    reader: &PictureReader,
    pictures: usize,
    far: u8,
) -> Result<[Count; 2], Fail> {
    let mut drawn = some(REPORTED + 1, 0, pictures * 7 / 6);
    drawn.retain(|drawn| drawn.subject.is_some());
    let mut counts = [Count::default(); 2];
    for drawn in drawn.chunks(32) {
        let fooled = tower.fool(drawn, far, 10)?;
        for (drawn, picture) in drawn.iter().zip(fooled) {
            let asked = (drawn.subject.unwrap_or_default(), drawn.reading);
            let none = Defences {
                what: false,
                views: false,
            };
            for (count, defences) in counts.iter_mut().zip([Defences::ALL, none]) {
                count.add(looked(reader, &picture, asked, defences));
            }
        }
    }
    Ok(counts)
}
