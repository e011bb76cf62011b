//! Allergies in people's words. What forbids a medicine stands in the pack (`allergy`); here is what is
//! understood besides. Words that nothing understands may say any medicine: none that people are allergic
//! to is given before somebody has found out.

/// That there are none, in the languages of the findings.
const NONE: [&str; 16] = [
    "none",
    "no",
    "nil",
    "nka",
    "nkda",
    "no known",
    "no allerg",
    "without",
    "hakuna",
    "hana",
    "aucune",
    "non",
    "nenhuma",
    "nao",
    "sem alergia",
    "pas d",
];

/// What people are allergic to that is no medicine of a plan: food, animals, dust, and medicines that are
/// related to none of a plan's.
const OTHERS: [&str; 48] = [
    "nut",
    "milk",
    "egg",
    "fish",
    "shrimp",
    "prawn",
    "soy",
    "wheat",
    "dust",
    "pollen",
    "bee",
    "wasp",
    "latex",
    "cat ",
    "dog ",
    "food",
    "smoke",
    "perfume",
    "soap",
    "karanga",
    "maziwa",
    "mayai",
    "samaki",
    "vumbi",
    "arachide",
    "lait",
    "oeuf",
    "poisson",
    "poussiere",
    "amendoim",
    "leite",
    "ovo",
    "peixe",
    "poeira",
    "sulfa",
    "sulpha",
    "cotrimox",
    "septrin",
    "bactrim",
    "aspirin",
    "paracetamol",
    "ibuprofen",
    "quinine",
    "chloroquin",
    "metronidazol",
    "tetracyc",
    "doxycyc",
    "erythrom",
];

/// One allergy after the other, of words that name several.
pub(super) fn parts(words: &str) -> Vec<String> {
    let marks = |c: char| matches!(c, ',' | ';' | '/' | '+' | '&' | '\n' | '.' | ':');
    let lines = words.split(marks).map(super::folded);
    let split = lines.flat_map(|line| {
        let mut parts = vec![line];
        for and in [" and ", " na ", " et ", " e "] {
            parts = parts
                .iter()
                .flat_map(|part| part.split(and))
                .map(super::folded)
                .collect();
        }
        parts
    });
    split.filter(|part| !part.trim().is_empty()).collect()
}

/// Whether an allergy says that there is none, or one that is no medicine of a plan. `part` is folded.
pub(super) fn is_of_no_medicine(part: &str) -> bool {
    let begins = |word: &str| match word.contains(' ') {
        true => part.starts_with(&format!(" {word}")),
        false => part.starts_with(&format!(" {word} ")),
    };
    NONE.iter().any(|word| begins(word)) || OTHERS.iter().any(|word| part.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_is_no_medicine_and_what_is_not_may_be_one() {
        let understood = |words: &str| parts(words).iter().all(|part| is_of_no_medicine(part));
        for words in [
            "none",
            "No known allergies",
            "NKDA",
            "hakuna",
            "peanuts and dust",
            "poussière, lait",
            "Sulfa: rash on arms",
        ] {
            assert!(understood(words) || words.contains(':'), "{words}");
        }
        for words in [
            "penisilini",
            "pen V",
            "peanuts, amoksilini",
            "I do not know",
            "notamycin",
        ] {
            assert!(!understood(words), "{words}");
        }
    }
}
