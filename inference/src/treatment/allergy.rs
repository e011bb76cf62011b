//! Allergies in people's words. What forbids a medicine stands in the pack (`allergy`); here is what is
//! understood besides. One word that nothing understands may be any medicine's name, written as people hear
//! it: none that people are allergic to is given before somebody has found out.

/// Words that name no medicine of a plan: that there are none, food, animals, dust, medicines that are
/// related to none of a plan's, and what happens. Whole words, folded, in the languages of the findings.
const WORDS: &str = "none no nil nka nkda known allergy allergies allergic to drug drugs medicine medicines any the a \
    hakuna hana mzio aucune allergie allergies non pas d de nenhuma nao sem alergia alergias \
    nut nuts peanut peanuts groundnut groundnuts milk egg eggs fish shrimp prawns soy wheat dust pollen bee bees sting \
    stings wasp wasps latex cat cats dog dogs food smoke perfume soap karanga maziwa mayai samaki vumbi arachide \
    arachides lait oeuf oeufs poisson poussiere amendoim leite ovo ovos peixe poeira \
    sulfa sulpha sulfonamides cotrimoxazole septrin bactrim aspirin paracetamol ibuprofen quinine chloroquine \
    metronidazole tetracycline doxycycline erythromycin \
    rash rashes itch itching hives swelling vomiting sneezing mild severe skin face arms on with and of upele";

/// Whether every word of an allergy is understood: it is one of [`WORDS`], or names a medicine by one of
/// `stems`. `words` is folded.
pub(super) fn is_understood<'a>(words: &str, stems: impl Iterator<Item = &'a str> + Clone) -> bool {
    // Names of several words first.
    let several = stems.clone().filter(|stem| stem.contains(' '));
    let left = several.fold(words.to_owned(), |left, stem| left.replace(stem, " "));
    left.split_whitespace().all(|word| {
        WORDS.split_whitespace().any(|known| known == word)
            || stems
                .clone()
                .any(|stem| !stem.contains(' ') && word.contains(stem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_that_nobody_understands_may_be_a_medicine() {
        let stems = ["penicil", "pen v"];
        let is = |words: &str| is_understood(&super::super::folded(words), stems.into_iter());
        for words in [
            "none",
            "No known allergies",
            "NKDA",
            "hakuna",
            "peanuts and dust",
            "poussière, lait",
            "Sulfa: rash on arms",
            "Penicillin, pen V",
        ] {
            assert!(is(words), "{words}");
        }
        for words in [
            "penisilini",
            "no penecilin",
            "has been ill of penecilin",
            "peanuts, amoksilini",
            "dust: and penecilin too",
            "I do not know",
            "notamycin",
        ] {
            assert!(!is(words), "{words}");
        }
    }
}
