//! What is said of a patient: phrases by concept and language, spoken as people do, with dialect and
//! misspelling. Those to learn from and those to be tried with are never the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rand::{Rng, RngExt};
use serde::Deserialize;

use super::World;

/// Languages, by their ISO 639-1 code.
pub const LANGUAGES: [&str; 4] = ["en", "sw", "fr", "pt"];

const FILES: [&str; 4] = [
    include_str!("../../phrases/en.toml"),
    include_str!("../../phrases/sw.toml"),
    include_str!("../../phrases/fr.toml"),
    include_str!("../../phrases/pt.toml"),
];

/// What is true of a visit and says nothing about illness.
const BACKGROUND: &str = "background";

#[derive(Debug, Deserialize)]
struct Said {
    teach: Vec<String>,
    held: Vec<String>,
}

type Phrases = BTreeMap<String, Said>;

fn phrases(language: usize) -> Option<&'static Phrases> {
    static READ: OnceLock<Vec<Phrases>> = OnceLock::new();
    let all = READ.get_or_init(|| {
        let files = FILES.iter().map(|file| toml::from_str(file));
        files.map(Result::unwrap_or_default).collect()
    });
    all.get(language)
}

/// Which phrases are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// Those to learn from.
    Teach,
    /// Those that are kept back to report on: every other one.
    Held,
    /// Those to learn from and those to report on, half and half.
    Both,
    /// Those to learn from and the rest of those kept back, half and half: to calibrate on.
    Calibrate,
}

/// Whether every concept that a factor speaks of has phrases of both kinds in every language.
///
/// # Errors
/// The first that has not.
pub fn check<'a>(concepts: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for concept in concepts.chain([BACKGROUND]) {
        for (at, language) in LANGUAGES.iter().enumerate() {
            let said = phrases(at).and_then(|phrases| phrases.get(concept));
            let Some(said) = said.filter(|s| s.teach.len() >= 12 && s.held.len() >= 5) else {
                return Err(format!("{language} has too few phrases for {concept}"));
            };
            if let Some(both) = said.held.iter().find(|held| said.teach.contains(held)) {
                return Err(format!(
                    "{language} {concept}: {both:?} is taught and kept back"
                ));
            }
        }
    }
    Ok(())
}

/// All phrases to learn from, for the vocabulary.
pub fn taught() -> impl Iterator<Item = &'static str> {
    let all = (0..LANGUAGES.len())
        .filter_map(phrases)
        .flat_map(BTreeMap::values);
    all.flat_map(|said| said.teach.iter().map(String::as_str))
}

fn pick<'a>(from: &[&'a String], rng: &mut impl Rng) -> &'a str {
    match from.len() {
        0 => "",
        count => from
            .get(rng.random_range(0..count))
            .map_or("", |phrase| phrase.as_str()),
    }
}

/// What somebody says who means these concepts; whether every phrase of it is one to learn from.
pub(super) fn speak(
    concepts: &[&str],
    language: usize,
    world: &World,
    rng: &mut impl Rng,
) -> (String, bool) {
    let Some(phrases) = phrases(language) else {
        return (String::new(), true);
    };
    let background = world.chatter > 0.0 && rng.random_bool(world.chatter);
    let mut parts = Vec::new();
    let mut all_taught = true;
    for concept in concepts
        .iter()
        .copied()
        .chain(background.then_some(BACKGROUND))
    {
        let Some(said) = phrases.get(concept) else {
            continue;
        };
        let held = match world.wording {
            Wording::Teach => false,
            Wording::Held => true,
            Wording::Both | Wording::Calibrate => rng.random_bool(0.5),
        };
        let odd = usize::from(world.wording != Wording::Calibrate);
        all_taught &= !held;
        let kept: Vec<&String> = said.held.iter().skip(odd).step_by(2).collect();
        let from = if held {
            kept
        } else {
            said.teach.iter().collect()
        };
        let phrase = pick(&from, rng);
        parts.push(write_down(phrase, world, rng));
    }
    for i in (1..parts.len()).rev() {
        parts.swap(i, rng.random_range(0..=i));
    }
    const JOINTS: [[&str; 3]; 4] = [
        [", ", " and ", " "],
        [", ", " na ", " "],
        [", ", " et ", " "],
        [", ", " e ", " "],
    ];
    let mut text = String::new();
    for part in &parts {
        if !text.is_empty() {
            let joints = JOINTS.get(language).copied().unwrap_or_default();
            text += joints.get(rng.random_range(0..3)).copied().unwrap_or(", ");
        }
        text += part;
    }
    (text, all_taught)
}

/// A phrase as it is typed on a small phone in a hurry.
pub(super) fn write_down(phrase: &str, world: &World, rng: &mut impl Rng) -> String {
    let mut phrase = phrase.to_owned();
    for (from, to) in world.dialect {
        if rng.random_bool(0.8) {
            phrase = phrase.replace(from, to);
        }
    }
    let mut words: Vec<String> = phrase.split(' ').map(str::to_owned).collect();
    // A word left out, of a phrase that has some.
    if words.len() > 3 && rng.random_bool(world.hurry) {
        words.remove(rng.random_range(0..words.len()));
    }
    if world.lost > 0.0 && words.len() > 2 {
        let kept: Vec<String> = words
            .iter()
            .filter(|_| !rng.random_bool(world.lost))
            .cloned()
            .collect();
        if kept.len() > 1 {
            words = kept;
        }
    }
    for word in &mut words {
        if word.chars().count() > 3 && rng.random_bool(world.misspelling) {
            *word = misspell(word, rng);
        }
    }
    words.join(" ")
}

/// One slip: two letters swapped, one left out, one twice, or a neighbour on the keyboard.
fn misspell(word: &str, rng: &mut impl Rng) -> String {
    const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let mut letters: Vec<char> = word.chars().collect();
    let at = rng.random_range(1..letters.len());
    match rng.random_range(0..4u8) {
        0 => letters.swap(at, at - 1),
        1 => drop(letters.remove(at)),
        2 => {
            let letter = letters.get(at).copied().unwrap_or('a');
            letters.insert(at, letter);
        }
        _ => {
            let beside = |letter: char| {
                let row = ROWS.iter().find(|row| row.contains(letter))?;
                let place = row.find(letter)?;
                row.get(place + 1..place + 2)?.chars().next()
            };
            if let Some(letter) = letters.get_mut(at) {
                *letter = beside(*letter).unwrap_or('e');
            }
        }
    }
    letters.into_iter().collect()
}
